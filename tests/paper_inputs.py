"""The paper's plan and panel, which the tests of several files read and none changes."""

from __future__ import annotations

from functools import cache

from plans import ROOT

from study import Panel, load_panel
from study.paper.plan import Plan, read_plan


@cache
def paper_plan() -> Plan:
    """Return the plan of the paper."""
    return read_plan(ROOT / "paper/study.toml")


@cache
def paper_panel() -> Panel:
    """Return the panel of the paper."""
    return load_panel("cvpr")
