"""What README and REPLICATION say is so: code runs, commands exist, findings are the recorded ones."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from contextlib import redirect_stdout

import pytest
import replication_list
from command_line import command
from plans import ROOT

import study
import study.diagnostics
import study.heterogeneity
from study.designs import all_designs
from study.diagnostics import placebo_dates, placebo_outcomes
from study.heterogeneity.page import usual_groupings
from study.paper import numbers
from study.paper import run as running
from study.paper.plan import read_plan

README, REPLICATION = ((ROOT / name).read_text() for name in ("README.md", "REPLICATION.md"))
BLOCKS = re.findall(r"```python\n(.*?)```", REPLICATION, re.S)
TEXTS = pytest.mark.parametrize("text", [README, REPLICATION], ids=["README", "REPLICATION"])


def test_the_readme_is_short_with_one_figure_and_one_table():
    assert len(README.split()) <= 1200
    (figure,) = re.findall(r"!\[[^]]+\]\(([^)]+)\)", README)
    assert (ROOT / figure).is_file()
    assert len(re.findall(r"^\|[-:|]+\|$", README, re.M)) == 1
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


def test_the_python_of_the_replication_runs_as_it_stands(tmp_path):
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
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "change" in done.stdout


@TEXTS
def test_every_file_and_command_that_a_text_names_exists(text):
    for path in re.findall(r"`((?:paper|data|study|tests|notebooks)/[\w./*-]+)`", text):
        assert list(ROOT.glob(path.rstrip("/"))) or path in ("paper/main.pdf", "paper/appendix.pdf"), path
    help_text = command("--help", cwd=ROOT).stdout
    for name in set(
        re.findall(r"\bstudy ([a-z]+)\b(?= |`|\n)", " ".join(re.findall(r"`[^`]*`|    .*", text)))
    ):
        assert re.search(rf"│ {name}\b", help_text), name


def test_the_list_of_exhibits_has_the_numbers_of_both_documents_and_leaves_none_out():
    listed = replication_list.rows()
    every = {
        kind: {path.stem for path in ROOT.glob(f"paper/{kind.lower()}s/*")} for kind in ("Table", "Figure")
    }
    called = {kind: replication_list.numbers(kind, names) for kind, names in every.items()}
    shown = [
        [[called[kind][n] for n in row.names(kind) & called[kind].keys()] for kind in called]
        for row in listed
    ]
    wanted = [replication_list.listing(*each) for each in shown]
    mended = [
        f"| {': '.join(filter(None, (each, row.what)))} | {row.exhibit}.py"
        for each, row in zip(wanted, listed, strict=True)
    ]
    assert [row.called for row in listed] == wanted, "the rows should begin:\n" + "\n".join(mended)
    for k, (kind, names) in enumerate(called.items()):
        assert sorted(number for each in shown for number in each[k]) == sorted(names.values()), kind


def test_a_list_of_numbers_is_as_short_as_it_can_be_said():
    assert replication_list.listing(["A5", "2", "A3", "A4", "A12"], ["1"]) == "Tables 2, A3-A5, A12, Figure 1"
    assert replication_list.listing(["A9", "A10"], []) == "Tables A9, A10"
    assert replication_list.listing([], []) == ""


def test_placebo_fields_and_dates_are_as_the_findings_say():
    plan = read_plan(ROOT / "paper/study.toml")
    task, panel = plan.ask("main/papers/log1p"), running.load(plan)
    outcomes = {label: (other, "papers") for label, other in running.other_panels(plan.placebos).items()}
    placebos = placebo_outcomes(panel, task.question, outcomes, task.row.name, **task.options)
    effect = placebos.frame.set_index("outcome")["estimate"]
    assert effect["robotics"] < effect["papers"]
    assert not placebos["moved"]
    sample = task.question.sample(panel)
    assert placebo_dates(sample, task.row.name, draws=999, **task.options)["p_joint"] > 0.05


def test_who_gains_cannot_be_told_apart_as_the_findings_say():
    plan = read_plan(ROOT / "paper/study.toml")
    sample = plan.ask("main").question.replace(scale="level").sample(running.load(plan))
    by = usual_groupings(sample, plan.ask("main").strata)
    assert by == ("tier", "region", "country=US", "baseline_papers")
    shown = ("groups", "policy")
    found = study.heterogeneity.report(sample, by=by, repetitions=1, seed=plan.seed, analyses=shown)
    assert found.findings["policy"]["budget"] == 50
    assert not any(finding["differ"] for finding in found.groups)
    assert not found.findings["policy"]["differ_from_random"]


def test_one_university_has_two_thirds_of_the_weight_in_the_change_over_the_window_as_the_findings_say():
    plan = read_plan(ROOT / "paper/study.toml")
    question = plan.ask("main/papers/log1p").question
    fit = study.estimate(running.load(plan), question, "dml_irm", repetitions=3, seed=plan.seed)
    (share,) = re.findall(r"has the largest share, (\d+)%", " ".join(fit.notes))
    assert 60 <= int(share) <= 73


@TEXTS
def test_the_findings_are_the_recorded_ones(text):
    said = re.search(r"<!-- findings -->(.*?)<!-- /findings -->", text, re.S)[1]
    traced = numbers.read_sources(ROOT / "paper")
    sources = re.findall(r"<!--([\w./-]+)-->(-?\d+(?:\.\d+)?)", said)
    assert len(sources) >= 10
    for at, value in sources:
        assert traced[at].value.replace("\N{MINUS SIGN}", "-") == value, at
    bare = re.sub(r"<!--[\w./-]+-->\S+", "", said)
    assert not re.search(r"\d+\.\d", bare), "a number in the findings has no source"


def test_the_questions_of_a_referee_name_every_diagnostic():
    table = re.search(r"\| question of a referee \|(.*?)\n\n", REPLICATION, re.S)[1]
    functions = {found.function.__name__ for found in study.diagnostics.all_diagnostics().values()}
    assert functions <= set(re.findall(r"`(\w+)`", table))
