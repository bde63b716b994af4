"""What README and REPLICATION say is so: code runs, commands exist, findings are the recorded ones."""

from __future__ import annotations

import io
import re
import runpy
import shlex
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pytest
from command_line import command
from plans import PLAN, ROOT

import study
import study.diagnostics
from study import designs
from study.data.sources.paperlists import FILES, known_files
from study.designs import all_designs
from study.diagnostics import placebo_dates, placebo_outcomes
from study.heterogeneity.page import usual_groupings
from study.heterogeneity.scored import plain
from study.paper import Exhibited, Traced, numbers
from study.paper import run as running
from study.paper.exhibits.exhibit import Setting, Source
from study.paper.page import numbered
from study.paper.plan import read_plan
from study.report import Block, Table

README, REPLICATION = ((ROOT / name).read_text() for name in ("README.md", "REPLICATION.md"))
BLOCKS = re.findall(r"```python\n(.*?)```", REPLICATION, re.S)
PDFS = ("paper/main.pdf", "paper/appendix.pdf")
TEXTS = pytest.mark.parametrize("text", [README, REPLICATION], ids=["README", "REPLICATION"])


def test_the_readme_is_short_with_one_figure():
    assert len(README.split()) <= 1200
    (figure,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert (ROOT / figure).is_file()
    assert "](REPLICATION.md)" in README


def test_the_python_of_the_readme_runs_and_prints_what_it_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    printed, names = io.StringIO(), {}
    with redirect_stdout(printed):
        for block in re.findall(r"```python\n(.*?)```", README, re.S):
            exec(block, names)
    (said,) = re.findall(r"```text\n(.*?)```", README, re.S)
    assert printed.getvalue() == said


def test_the_readme_names_every_design():
    named = re.search(r"`design=` is one word:(.*?)\.\s", README, re.S)[1]
    ours = {name for name, made in all_designs().items() if made.function.__module__.startswith("study.")}
    assert set(re.findall(r"`(\w+)`", named)) == ours


def test_the_python_of_the_replication_runs_as_it_stands(tmp_path, monkeypatch, capsys):
    tour, diagnosed, learning, own, others, new = BLOCKS
    frame = (
        "import pandas as pd\n"
        "df = pd.DataFrame({'lab': list('aabbcc'), 'year': [1, 2] * 3, 'cluster': [0, 1, 0, 0, 0, 0], 'papers': 1.0})\n"
    )
    use = (
        "fit = study.estimate(study.load_panel('cvpr'), question.replace(scale='level'), design='long_difference')\n"
        "print(fit.tidy())\n"
    )
    # Processes change no number, and each loads all libraries once more.
    assert "jobs=2" in learning
    learning = learning.replace("jobs=2", "jobs=1")
    script = tmp_path / "readme.py"
    script.write_text(tour + diagnosed + learning + frame + own + others + new + use)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(designs, "_registered", designs._registered.copy())
    runpy.run_path(str(script), run_name="__main__")
    assert "change" in capsys.readouterr().out


@TEXTS
def test_every_file_and_command_that_a_text_names_exists(text):
    for path in re.findall(r"`((?:paper|data|study|tests|notebooks)/[\w./*-]+)`", text):
        assert list(ROOT.glob(path.rstrip("/"))) or path in PDFS, path
    help_text = command("--help", cwd=ROOT).stdout
    for name in set(
        re.findall(r"\bstudy ([a-z]+)\b(?= |`|\n)", " ".join(re.findall(r"`[^`]*`|    .*", text)))
    ):
        assert re.search(rf"│ {name}\b", help_text), name


def test_commands_on_a_file_of_ones_own_run_as_they_stand(tmp_path):
    labs = pd.DataFrame({"lab": np.arange(24).repeat(8), "year": np.tile(np.arange(2012, 2020), 24)})
    labs["first_cluster"] = labs["first_grant"] = labs["lab"].map(lambda lab: (2015, 2017, np.nan)[lab % 3])
    labs["cluster"] = (labs["year"] >= labs["first_cluster"]).astype(int)
    labs["papers"] = labs["talks"] = np.random.default_rng(1).poisson(4 + 2 * labs["cluster"])
    labs.to_csv(tmp_path / "my.csv", index=False)
    (tmp_path / "works").mkdir()
    labs.rename(columns={"lab": "author"}).to_parquet(tmp_path / "works" / "1.parquet")
    started, large = (
        (ROOT / "docs" / f"{name}.md").read_text() for name in ("get_started", "larger_than_memory")
    )
    text = "\n".join((README, REPLICATION, started, large)).replace("\\\n", "")
    lines = re.findall(r"^(?: {4})?(?:\.venv/bin/)?study (.* (?:my\.csv|\"works/).*)$", text, re.M)
    assert len(lines) > 9
    for line in lines:
        done = command(*shlex.split(line, comments=True), cwd=tmp_path)
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"


def test_the_readme_of_the_data_counts_the_universities_of_its_panels():
    said = " ".join((ROOT / "data" / "README.md").read_text().split())
    counted = {
        "iclr_2018": r"of ([\d,]+) universities get a first GPU system",
        "entrants": r"three years later: (\d+) universities",
        "ml_2007": r"eight fields \((\d+)\)",
    }
    for panel, sentence in counted.items():
        assert int(re.search(sentence, said)[1].replace(",", "")) == study.load_panel(panel).n_units


def test_the_readmes_count_the_files_and_venues_of_papers_and_the_zeros_of_the_panel():
    said = " ".join((ROOT / "data" / "README.md").read_text().split())
    assert f"{len(known_files())} files, {len(FILES)} venues;" in said
    assert set(re.findall(r"(\d+) venues \|", REPLICATION)) == {str(len(FILES))}
    assert f"records of papers of {len(FILES)} venues" in REPLICATION
    zero = (study.load_panel("cvpr").outcomes["papers"] == 0).mean()
    assert f"{zero:.0%} of the cells of `cvpr` are zero" in said


def test_the_list_of_exhibits_has_the_numbers_of_both_documents_and_leaves_none_out():
    rows = re.findall(
        r"^\| ((?:Table|Figure) \w+)\. .+ \| `(study/paper/exhibits/\w+\.py)` \| `paper/(\w+)/([\w-]+)\.\w+` \|$",
        re.search(r"<!-- exhibits -->\n(.*?)<!-- /exhibits -->", REPLICATION, re.DOTALL)[1],
        re.MULTILINE,
    )
    latex = "\n".join((ROOT / "paper" / name).read_text() for name in ("main.tex", "appendix.tex"))
    for kind, folder in {"Table": "tables", "Figure": "figures"}.items():
        listed = {name: number for number, _, place, name in rows if place == folder}
        assert listed.keys() == {path.stem for path in (ROOT / "paper" / folder).iterdir()}
        assert listed == numbered(kind, list(listed), latex)
        assert len(set(listed.values())) == len(listed)
    assert all((ROOT / program).is_file() for _, program, _, _ in rows)


def test_a_run_writes_the_numbers_that_markdown_cites_and_its_list_of_exhibits(tmp_path, monkeypatch):
    monkeypatch.setattr(running.numbers, "answer_numbers", lambda *_: ())
    cited = "One <!--one/n-->-1.5% of <!--one/m-->7, <!--one/none-->2 and <!--one/id-->12ab; 3.\n"
    text = f"{cited}<!-- exhibits -->\n{{}}<!-- /exhibits -->\n"
    (tmp_path / "text.md").write_text(text.format("old\n"))
    (tmp_path / "bare.md").write_text("A text of 40.4% without addresses.\n")
    (tmp_path / "study.toml").write_text(f'texts = ["text.md", "bare.md"]\n{PLAN}')
    plan = read_plan(tmp_path / "study.toml")
    source = Source("one", "", "", "")
    values = {"one/n": "\N{MINUS SIGN}12.25", "one/m": "below 0.001", "one/id": "34cd"}
    shown = Exhibited(
        tables=(Table("a", "A | table. More.", ["n"], [Block("", [])], []),),
        numbers=tuple(Traced(at, value, source) for at, value in values.items()),
    )
    paper = running.Paper(Setting(plan, running.load(plan), {}), {"sample": shown})
    listed = (
        "| exhibit | program | output |\n|---|---|---|\n"
        "| Table 1. A \\| table | `study/paper/exhibits/sample.py` | `paper/tables/a.tex` |\n"
    )
    expected = text.format(listed).replace("-1.5", values["one/n"]).replace("-->7", "-->below 0.001")
    assert paper.texts(tmp_path) == {
        tmp_path / "text.md": expected.encode(),
        tmp_path / "bare.md": b"A text of 40.4% without addresses.\n",
    }


def test_placebo_fields_and_dates_are_as_the_paper_says():
    plan = read_plan(ROOT / "paper/study.toml")
    task, panel = plan.ask("main/papers/log1p"), running.load(plan)
    outcomes = {label: (other, "papers") for label, other in running.other_panels(plan.placebos).items()}
    placebos = placebo_outcomes(panel, task.question, outcomes, task.row.name, **task.options)
    effect = placebos.frame.set_index("outcome")["estimate"]
    assert effect["robotics"] < effect["papers"]
    assert not placebos["moved"]
    sample = task.question.sample(panel)
    assert placebo_dates(sample, task.row.name, draws=999, **task.options)["p_joint"] > 0.05


def test_who_gains_cannot_be_distinguished_as_the_paper_says():
    """In what is recorded, which a fresh run is held to."""
    plan = read_plan(ROOT / "paper/study.toml")
    sample = plan.ask("main").question.replace(scale="level").sample(running.load(plan))
    by = usual_groupings(sample, plan.ask("main").strata)
    assert by == ("tier", "region", "country=US", "baseline_papers")
    table = (ROOT / "paper/tables/heterogeneity.md").read_text()
    for grouping in by:
        assert f"| *By {plain(grouping)} (all equal, Wald: p = " in table
    assert sample.ever_treated.sum() == 50
    assert "rule for 50 grants" in table
    traced = numbers.read_sources(ROOT / "paper")
    assert traced["heterogeneity/summary/differ"].value == "0"
    assert float(traced["heterogeneity/policy/p_random"].value) > 0.05


def test_the_findings_are_six_lines_of_recorded_numbers():
    said = re.search(r"<!-- findings -->\n(.*?)<!-- /findings -->", README, re.S)[1].splitlines()
    traced = numbers.read_sources(ROOT / "paper")
    assert [line[:5] for line in said] == [f"{k}. **" for k in range(1, 7)]
    for line in said:
        cited = re.findall(r"<!--([\w./-]+)-->([-\N{MINUS SIGN}]?\d+(?:\.\d+)?)", line)
        assert cited, line
        for sentence in re.split(r"(?<=[.)]) (?=[A-Z])", line):
            assert sentence.count("<!--") <= 3, sentence
        assert [traced[at].value for at, _ in cited] == [value for _, value in cited]
        bare = re.sub(r"<!--[\w./-]+-->\S+", "", line)
        assert not re.search(r"\d+\.\d", bare), "a number in the findings has no source"


def test_the_questions_of_a_referee_name_every_diagnostic():
    table = re.search(r"\| question of a referee \|(.*?)\n\n", REPLICATION, re.S)[1]
    functions = {found.function.__name__ for found in study.diagnostics.all_diagnostics().values()}
    assert functions <= set(re.findall(r"`(\w+)`", table))
