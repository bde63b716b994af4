"""Every notebook runs from top to bottom in an emptied kernel, shows what it computes, and types no result."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest
from jupyter_client import KernelManager
from plans import ROOT

NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.py"))}
FIGURES = {"tour": 2, "swapping_designs": 1}
SHOWN = {
    "tour": [
        "universities kept: first treated in",
        "Are all years before the event zero? p =",
        "would pass this test in 50% of samples",
        "Not compared: twfe",
    ],
    "swapping_designs": [
        'twfe: it cannot answer a question with comparison="never_treated"',
        "randomization p =",
    ],
    "own_panel": [
        "appears twice",
        "The file is not fit to use",
        r"\begin{tabular}",
        'Did you mean "horizon"',
    ],
    "adding_design": ["first_year: it cannot answer a question with covariates", "Algebraically equal"],
}


def read(name: str) -> nbformat.NotebookNode:
    return jupytext.read(NOTEBOOKS[name])


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KernelManager]:
    """Install a kernel of this interpreter where nobody else's are, and start it."""
    folder = tmp_path_factory.mktemp("jupyter")
    spec = {
        "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        "display_name": "The interpreter of the tests",
        "language": "python",
    }
    place = folder / "kernels" / "of_the_tests"
    place.mkdir(parents=True)
    (place / "kernel.json").write_text(json.dumps(spec))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("PYTHONPATH", str(ROOT))
        manager = KernelManager(kernel_name=place.name)
        manager.start_kernel(cwd=str(ROOT / "notebooks"))
        yield manager
        manager.shutdown_kernel(now=True)


def execute(notebook: nbformat.NotebookNode, kernel: KernelManager) -> None:
    """Execute a notebook in the kernel, with nothing left of the one before."""
    emptied = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%reset -f")])
    for each in (emptied, notebook):
        nbclient.NotebookClient(each, km=kernel, timeout=300).execute()


def written(cell: nbformat.NotebookNode) -> str:
    """Return what a cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_runs_and_each_cell_shows_something(name: str, kernel: KernelManager) -> None:
    notebook = read(name)
    execute(notebook, kernel)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    assert all(cell.outputs for cell in code)
    assert [output.text for output in outputs if output.get("name") == "stderr"] == []
    printed = "".join(map(written, code))
    for sentence in SHOWN[name]:
        assert sentence in printed
    assert "nan%" not in printed
    assert sum("image/png" in output.get("data", ()) for output in outputs) == FIGURES.get(name, 0)


def test_the_kernel_is_the_interpreter_of_the_tests(kernel: KernelManager) -> None:
    asked = nbformat.v4.new_code_cell("import sys, study; print(sys.executable, study.__file__)")
    notebook = nbformat.v4.new_notebook(cells=[asked])
    execute(notebook, kernel)
    executable, module = written(notebook.cells[0]).split()
    assert executable == sys.executable
    assert Path(module).is_relative_to(ROOT)


def test_a_notebook_that_fails_would_be_seen(kernel: KernelManager) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 / 0")])
    with pytest.raises(nbclient.exceptions.CellExecutionError, match="ZeroDivisionError"):
        execute(notebook, kernel)


def test_all_four_are_there_and_name_one_another() -> None:
    assert set(NOTEBOOKS) == set(SHOWN)
    tour = "".join(cell.source for cell in read("tour").cells)
    assert all(f"`{name}.py`" in tour for name in SHOWN if name != "tour")


def prose(text: str) -> str:
    """Return markdown without code, formulas and the names that have digits."""
    without_blocks = re.sub(r"(?m)^ {4}.*$", "", text)
    without_code = re.sub(r"`[^`]*`", "", without_blocks)
    return re.sub(r"\$\$.*?\$\$|\$[^$]*\$|TOP500", "", without_code, flags=re.S)


@pytest.mark.parametrize("name", SHOWN)
def test_no_number_of_a_result_is_typed_in_the_text(name: str) -> None:
    texts = [cell.source for cell in read(name).cells if cell.cell_type == "markdown"]
    assert len(texts) >= 6
    assert [number for text in texts for number in re.findall(r"\S*\d\S*", prose(text))] == []


def test_a_typed_number_would_be_seen() -> None:
    assert re.findall(r"\d", prose("The effect is 18.7%."))
    assert not re.findall(r"\d", prose("`scale=1` and $x_1$ in the TOP500\n\n    study --horizon 3\n"))


def test_the_tour_is_read_in_ten_minutes() -> None:
    words = [
        word for cell in read("tour").cells if cell.cell_type == "markdown" for word in cell.source.split()
    ]
    assert len(words) / 200 <= 10  # two hundred words a minute is slow reading


@pytest.mark.parametrize("name", SHOWN)
def test_a_notebook_has_no_output_and_no_path_of_a_machine(name: str) -> None:
    text = NOTEBOOKS[name].read_text(encoding="utf-8")
    assert not re.search(r"/(home|tmp|root|work|Users)/", text)
