"""Every design, diagnostic, command and public name has a page that a contents list leads to."""

from __future__ import annotations

import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import assumptions
import check_links
import generate
import joblib
import pytest
from command_line import command
from plans import ROOT
from typer.main import get_command

import study
from study.commands.cli import app, data_app
from study.designs import Assumes, Design, Supports
from study.diagnostics import Finding, all_diagnostics
from study.panel import Sample, Scale
from study.paper import Result, read_plan
from study.simulate.process import DIALS

tournament = import_module("study.simulate.performance")
DOCS = ROOT / "docs"
LISTED = re.compile(r"```\{toctree\}\n(.*?)```", flags=re.DOTALL)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    # What numpydoc makes of a docstring needs Sphinx, of the extra docs; the build of the site has it.
    with mock.patch.object(generate, "numpydoc", inspect.getdoc):
        return generate.pages()


def test_every_design_and_diagnostic_has_a_page_with_an_example_and_its_figure(pages: dict[str, str]) -> None:
    for name, design in study.all_designs().items():
        page = pages[f"designs/{name}.md"]
        assert f'"{name}"' in page
        assert design.title in page
        assert all(f"{each.name.lower()}.png" in page for each in design.assumes)
        assert ('fit.aggregate("event").plot()' in page) == design.estimand.has_path
    for name, diagnostic in all_diagnostics().items():
        page = pages[f"diagnostics/{name}.md"]
        assert diagnostic.question in page
        assert f"study.diagnostics.{diagnostic.function.__name__}(" in page
        assert "finding.plot()" in page


def test_every_public_name_and_command_is_documented(pages: dict[str, str]) -> None:
    assert {f"api/{name}.md" for name in study.__all__ if name != "__version__"} < set(pages)
    for group, prefix in ((app, "study"), (data_app, "study data")):
        for each in group.registered_commands:
            name = each.name or each.callback.__name__.replace("_", "-")
            assert f"## {prefix} {name}\n" in pages["commands.md"]
    for name in generate.PUBLIC:
        thing = getattr(study, name)
        if inspect.isfunction(thing) and name not in ("design", "settings"):
            words = re.findall(r"\w+", thing.__doc__)
            assert {*inspect.signature(thing).parameters, "Returns"} <= {*words}, name


def test_public_methods_that_take_arguments_say_what_these_are_and_what_they_return() -> None:
    for kind in (study.Panel, study.Question, study.Estimate, Finding, Result, Sample, Scale):
        for name, method in inspect.getmembers(kind, callable):
            signature = None if name.startswith("_") else inspect.signature(method)
            if signature and (taken := set(signature.parameters) - {"self"}):
                words = re.findall(r"\w+", method.__doc__)
                sections = {"Parameters"} | ({"Returns"} if signature.return_annotation != "None" else set())
                assert taken | sections <= {*words}, f"{kind.__name__}.{name}"


def test_each_row_of_the_guide_to_designs_is_there_once_and_names_designs_that_can() -> None:
    text = (DOCS / "which_design.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| ")]
    assert len({case for _, case, *_ in rows}) == len(rows)
    named = re.findall(r"designs/(\w+)\.md", "".join(line for _, case, line, _ in rows if "can end" in case))
    assert all(Supports.SWITCHING in study.all_designs()[name].supports for name in named)


def test_options_of_commands_that_a_text_shows_exist() -> None:
    commands = get_command(app).commands
    for path in (
        *DOCS.glob("*.md"),
        *(ROOT / "notebooks").glob("*.py"),
        ROOT / "README.md",
        ROOT / "REPLICATION.md",
    ):
        text = re.sub(r"\\\n#?", " ", path.read_text(encoding="utf-8"))
        for name, rest in re.findall(r"(?:^|[`!]| {4})study ([a-z]+)((?: [^\n`#]*)?)", text, re.MULTILINE):
            known = {flag for each in commands[name].params for flag in (*each.opts, *each.secondary_opts)}
            assert set(re.findall(r" (--[a-z-]+)", rest)) <= known, f"{path.name}: study {name}{rest}"


def test_no_help_has_a_bracket_that_a_terminal_takes_for_markup() -> None:
    for name, each in get_command(app).commands.items():
        helps = [each.help, *(getattr(option, "help", "") for option in each.params)]
        assert "[" not in "".join(text or "" for text in helps), name


def test_every_page_is_in_a_contents_list(pages: dict[str, str]) -> None:
    texts = {f"generated/{name}": text for name, text in pages.items() if name.endswith(".md")}
    texts |= {path.name: path.read_text(encoding="utf-8") for path in DOCS.glob("*.md")}
    listed = {
        str(Path(page).parent / re.sub(r".*<(.*)>", r"\1", line))
        for page, text in texts.items()
        for tree in LISTED.findall(text)
        for line in tree.splitlines()
        if line and not line.startswith(":")
    }
    notebooks = {f"generated/notebooks/{path.stem}" for path in (ROOT / "notebooks").glob("*.py")}
    assert {name.removesuffix(".md") for name in texts} - {"index"} | notebooks == listed


def test_every_example_of_a_design_runs_in_python_and_in_a_terminal(
    pages: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learners' take seconds; the build of the site executes them all."""
    read_once = cache(study.load_panel)
    for module in ("study", "study.panel"):
        monkeypatch.setattr(f"{module}.load_panel", read_once)
    # Of one sample to its last cell, which both ask about, an answer takes seconds.
    answer, answers = Design.__call__, {}

    def answered_once(design: Design, sample: Sample, **options: Any) -> study.Estimate:
        asked = joblib.hash((design.name, sample, options))
        if asked not in answers:
            answers[asked] = answer(design, sample, **options)
        return answers[asked]

    monkeypatch.setattr(Design, "__call__", answered_once)
    for name, design in study.all_designs().items():
        if not design.draws:
            cells = re.findall(
                r"```\{code-cell\} ipython3\n(import.*?)```", pages[f"designs/{name}.md"], re.DOTALL
            )
            names: dict[str, object] = {}
            exec(cells[0], names)
            assert names["fit"].design == name
            if "table" in names:
                names["table"].to_csv(tmp_path / "labs.csv", index=False)
            told = command(*generate.terminal(design).split()[1:], cwd=tmp_path)
            assert (told.returncode, told.stderr) == (0, "")
            # A panel from a table in memory has no name.
            assert told.stdout.replace("labs.csv", "panel").strip() == str(names["fit"].headline).strip()


def test_the_page_on_ones_own_data_runs_and_its_plan_can_be_read(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (DOCS / "own_data.md").read_text(encoding="utf-8")
    cells = re.findall(r"```\{code-cell\} ipython3\n(?:---\n.*?---\n)?(.*?)```", text, re.DOTALL)
    names: dict[str, object] = {}
    for cell in cells[1:]:
        if not cell.startswith("!"):
            exec(cell, names)
            continue
        for line in cell.replace("\\\n", " ").splitlines():
            words = line.removeprefix("!").partition("|")[0].split()
            if words[0] == "study":
                done = command(*words[1:], cwd=tmp_path)
                assert done.returncode == 0, done.stderr
    assert [event.label for event in read_plan(tmp_path / "study.toml").events] == ["entry"]


def test_the_page_on_the_tournament_runs_and_lists_every_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    # Both of its tournaments calibrate to the same panel.
    for name in ("calibrate", "calibration"):
        monkeypatch.setattr(tournament, name, cache(getattr(tournament, name)))
    text = (DOCS / "which_to_trust.md").read_text(encoding="utf-8")
    cells = re.findall(r"```\{code-cell\} ipython3\n(?:---\n.*?---\n)?(.*?)```", text, re.DOTALL)
    names: dict[str, Any] = {}
    (tour,) = (k for k, cell in enumerate(cells) if "found = study.tournament(" in cell)
    # No number of the tour is compared, so that few repetitions show what many do.
    assert "repetitions=50" in cells[tour]
    cells[tour] = cells[tour].replace("repetitions=50", "repetitions=5")
    for cell in cells[1:]:
        # Processes have the same random numbers, so that a few panels show what a trend adds to the bias.
        exec(cell.replace("repetitions=50", "repetitions=15"), names)
    assert names["found"].frame["process"].nunique() == 4
    biases = names["trends"].frame.set_index(["process", "design"])["bias"].unstack()
    assert (biases.loc["adopters grow by 20% more"] > biases.loc["as calibrated"]).all()
    assert "generated/dials.inc" in text
    assert all(f"| `{name}` |" in generate.dials_table() for name in DIALS)


def test_the_page_of_findings_has_the_readme_s_lines_and_the_paper_s_exhibits_in_its_order() -> None:
    page = generate.findings_page()
    assert re.findall(r"^(\d)\. \*\*", page, re.MULTILINE) == [*"123456"]
    assert "<!--" not in page
    text = (ROOT / "paper" / "main.tex").read_text(encoding="utf-8")
    taken = re.findall(
        r"^\\(input)\{tables/|^\\(exhibit)\{|\\begin\{(table)\}",
        text.split(r"\begin{document}")[1],
        re.MULTILINE,
    )
    shown = re.findall(r"^(?:\*\*)?(Table|Figure) (\d+)\. ", page, re.MULTILINE)
    assert [kind for kind, _ in shown] == ["Figure" if figure else "Table" for _, figure, _ in taken]
    for kind in ("Table", "Figure"):
        numbers = [int(number) for of, number in shown if of == kind]
        assert numbers == [*range(1, len(numbers) + 1)]
    for picture in re.findall(r"\{figure\} (\S+)", page):
        assert (DOCS / "generated" / picture).resolve().is_file()


def test_a_table_that_is_written_by_hand_is_shown_with_the_numbers_that_it_refers_to() -> None:
    paper = r"""\begin{document}
\exhibit{1}{drawn}{What is drawn.\label{fig:seen}}
\begin{table}
\caption{By hand}
\label{tab:hand}
\begin{tabularx}{\linewidth}{lX}
\toprule
Question & Where \\
\midrule
Is it seen? & Figure~\ref{fig:seen}, Table~\ref{tab:hand}, and elsewhere \citep{roth2022} \\
\addlinespace[2pt]
Is it known? & -- \\
\bottomrule
\end{tabularx}
\end{table}"""
    lines = generate.exhibit_shown("tab-hand", paper).splitlines()
    assert "**Table 1. By hand**" in lines
    assert "| Is it seen? | Figure 1, Table 1, and elsewhere |" in lines
    assert "| Is it known? | – |" in lines
    assert "Figure 1. What is drawn." in generate.exhibit_shown("fig-drawn", paper)


@pytest.mark.parametrize("entry", generate.entries(), ids=lambda entry: entry["title"])
def test_our_call_has_the_numbers_of_the_call_beside_it(entry: dict) -> None:
    assert generate.answered(entry["ours"]) == pytest.approx(entry["theirs"], rel=generate.TOLERANCE)


def test_a_call_with_other_numbers_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = generate.entries()[0]
    other = entry | {"theirs": (entry["theirs"][0] * 1.00001, entry["theirs"][1])}
    monkeypatch.setattr(generate, "entries", lambda: [other])
    with pytest.raises(ValueError, match=re.escape(entry["title"])):
        generate.side_by_side()


@pytest.mark.parametrize("assumption", Assumes)
def test_every_assumption_has_a_picture(assumption: Assumes) -> None:
    (axis,) = assumptions.picture(assumption).axes
    assert len(axis.get_children()) > 12


def test_a_link_to_no_page_or_place_is_found(tmp_path: Path) -> None:
    text = '<a href="other.html#here">a</a><a href="other.html#there">b</a><a href="none.html">c</a>'
    (tmp_path / "index.html").write_text(f'{text}<a href="https://example.org/none">d</a>')
    (tmp_path / "other.html").write_text('<p id="here">e</p>')
    assert check_links.broken(tmp_path) == [
        "index.html: none.html is no file.",
        "index.html: other.html#there is no place on that page.",
    ]


def test_a_page_that_loads_from_a_network_is_a_broken_one(tmp_path: Path) -> None:
    far = "https://cdn.example.org/formulas"
    (tmp_path / "linked.html").write_text(f'<a href="{far}">a link is not loaded</a>')
    assert check_links.broken(tmp_path) == []
    (tmp_path / "index.html").write_text(
        f'<script src="{far}.js"></script><link rel="stylesheet" href="{far}.css">'
    )
    assert check_links.broken(tmp_path) == [
        f"index.html: {far}{end} is loaded from a network." for end in (".css", ".js")
    ]
