"""Panels that ship are read once for all commands that a process of the tests calls, and fonts are embedded fast."""

from __future__ import annotations

from functools import cache

import pytest

from study import Panel, load_panel
from study.commands import designs_for
from study.figures import drawing


@cache
def read_once(name: str) -> Panel:
    """Return a panel that ships, whose arrays cannot be changed."""
    panel = load_panel(name)
    for blocks in (panel.outcomes, panel.covariates, panel.first_treated, panel.treatment, panel.doses):
        for block in blocks.values():
            block.setflags(write=False)
    return panel


@pytest.fixture(autouse=True)
def _panels_that_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.panel.load_panel", read_once)
    monkeypatch.setattr(designs_for, "load_panel", read_once)


@pytest.fixture(autouse=True)
def _fonts_that_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command's test is about the fonts in a figure, whose subsets take a third of drawing it."""
    monkeypatch.setitem(drawing.STYLE, "pdf.fonttype", 3)
