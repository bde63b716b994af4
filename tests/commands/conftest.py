"""For all commands that a process of the tests calls: panels and options are read once, and fonts are embedded fast."""

from __future__ import annotations

from functools import cache

import pytest
import typer.main

from study import Panel, load_panel
from study.commands import design_pages
from study.figures import drawing


@cache
def read_once(name: str) -> Panel:
    """Return a panel that ships, whose arrays cannot be changed."""
    panel = load_panel(name)
    for blocks in (panel.outcomes, panel.covariates, panel.first_treated, panel.treatment, panel.doses):
        for block in blocks.values():
            block.setflags(write=False)
    return panel


# The options of all commands, which are made of their functions each time that `study` is called.
made_once = cache(typer.main.get_command)


@pytest.fixture(autouse=True)
def _options_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(typer.main, "get_command", made_once)


@pytest.fixture(autouse=True)
def _panels_that_ship(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.panel.load_panel", read_once)
    monkeypatch.setattr(design_pages, "load_panel", read_once)


@pytest.fixture(autouse=True)
def _fonts_that_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No command's test is about the fonts in a figure, whose subsets take a third of drawing it."""
    monkeypatch.setitem(drawing.STYLE, "pdf.fonttype", 3)
