"""Every notebook runs from top to bottom, in an empty namespace."""

from __future__ import annotations

import jupytext
import pytest
from plans import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.py"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_a_refusal(path, capsys):
    notebook = jupytext.read(path)
    names = {}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, path.name, "exec"), names)
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) >= 3
    assert "never_treated" in capsys.readouterr().out


def test_there_is_a_tour():
    assert [path.stem for path in NOTEBOOKS] == ["tour"]
