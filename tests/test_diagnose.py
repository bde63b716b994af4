"""The verdict: what is on the page follows from what was found, and every finding has its files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from plans import PANEL, PLAN

from study import QuestionError
from study import run as running
from study.diagnose import SECTIONS, Verdict, diagnose
from study.plan import read_plan
from study.report.verdict import conclusion, details, verdict_text

EXTRA = f"""
[diagnose.placebos.other]
file = "{PANEL.with_name("sim_unbalanced.csv")}"
unit = "unit"
time = "time"
first_treated = ["first_treated"]
outcomes = ["count"]
"""


def written(folder: Path, text: str = PLAN + EXTRA) -> Path:
    path = folder / "study.toml"
    path.write_text(text)
    return path


def made(folder: Path, question: str, design: str | None = None, text: str = PLAN + EXTRA) -> Verdict:
    plan = read_plan(written(folder, text))
    task = plan.ask(question, design)
    return diagnose(plan, task, running.load(plan), running.placebo_panels(plan))


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    return made(tmp_path_factory.mktemp("diagnose"), "sim1/count/log1p")


def test_every_section_has_findings_and_each_finding_its_figure_and_table(verdict: Verdict) -> None:
    assert {check.job.section for check in verdict.checks} == set(SECTIONS)
    files = verdict.files()
    for check in verdict.checks:
        assert check.finding is not None, check.refusal
        for kind, head in (("pdf", b"%PDF"), ("png", b"\x89PNG"), ("csv", b"")):
            assert files[f"{check.job.name}.{kind}"].startswith(head)
        table = files[f"{check.job.name}.csv"].decode()
        assert len(table.splitlines()) > 1


def test_the_page_opens_each_finding_with_its_verdict_and_the_details_have_all_of_it(
    verdict: Verdict,
) -> None:
    page, everything = (re.sub(r"\s+", " ", text) for text in (verdict_text(verdict), details(verdict)))
    for check in verdict.checks:
        assert check.finding is not None
        for k, sentence in enumerate(check.finding.sentences):
            assert re.sub(r"\s+", " ", sentence) in everything
            assert (sentence in page) == (k < check.job.told), sentence
    assert "nan" not in page
    assert "nan" not in everything


def test_no_sentence_is_cut_short(verdict: Verdict) -> None:
    for check in verdict.checks:
        assert check.finding is not None
        assert check.finding.title
        for sentence in check.finding.sentences:
            assert (
                sentence[0].isupper()
                or sentence[0].isdigit()
                or sentence.split(":")[0] == verdict.design.name
            )
            assert sentence.endswith(".")


def test_an_interval_with_zero_has_no_sign_and_one_without_is_bounded_or_objected_to(
    verdict: Verdict, tmp_path: Path
) -> None:
    for found in (verdict, made(tmp_path, "sim1/count/proportional", "twfe")):
        row = found.fit.headline.tidy(found.task.level).iloc[0]
        excludes = not row.conf_low <= 0 <= row.conf_high
        text = " ".join(conclusion(found))
        assert ("sign is not established" in text) == (not excludes)
        objected, fine = "What speaks against" in text, "Nothing that was looked at" in text
        assert not (objected and fine)
        assert objected or fine or not excludes


def test_placebos_that_move_are_an_objection(verdict: Verdict) -> None:
    assert "outcomes that should have none (other)" in " ".join(conclusion(verdict))


def test_a_static_coefficient_is_decomposed_and_has_no_pre_trends(tmp_path: Path) -> None:
    names = [check.job.name for check in made(tmp_path, "sim1/count/log1p", "twfe").checks]
    assert {"goodman_bacon", "negative_weights"} <= set(names)
    assert not {"pretrends", "honest_smoothness"} & set(names)


def test_what_cannot_be_made_is_said_on_the_page(tmp_path: Path) -> None:
    neighbours = '[diagnose]\nneighbours = "cluster"\n'
    text = PLAN.replace("horizon = 3", 'horizon = 3\nbase = "varying"') + neighbours
    found = made(tmp_path, "sim1", text=text)
    refused = {check.job.name: check.refusal for check in found.checks if check.finding is None}
    assert set(refused) == {"pretrends", "spillovers", "honest_relative_magnitudes", "honest_smoothness"}
    page = re.sub(r"\s+", " ", verdict_text(found))
    for reason in refused.values():
        assert f"Not made: {re.sub(' +', ' ', reason)}" in page


def test_the_same_question_has_the_same_files(verdict: Verdict, tmp_path: Path) -> None:
    again = made(tmp_path, "sim1/count/log1p")
    assert verdict_text(again) == verdict_text(verdict)
    first, second = verdict.files(), again.files()
    assert first == second


def test_the_command_prints_the_page_and_writes_the_files(tmp_path: Path) -> None:
    plan = written(tmp_path, PLAN.replace("permutations = 19", "permutations = 9"))
    command = [
        sys.executable,
        "-c",
        "from study.cli import main; main()",
        "diagnose",
        "sim1",
        "--plan",
        str(plan),
    ]
    done = subprocess.run(
        [*command, "--design", "ES"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert 'there is no design "ES"' in done.stderr
    assert not (tmp_path / "build").exists()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "build/diagnose/sim1/callaway_santanna"
    assert done.stdout.startswith((folder / "verdict.txt").read_text().rstrip())
    assert (folder / "honest_relative_magnitudes.pdf").exists()


def test_a_question_that_is_not_in_the_plan_is_refused_before_any_work(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path))
    with pytest.raises(QuestionError, match="there is no question"):
        plan.ask("sim2")
    wrong = read_plan(written(tmp_path, f'{PLAN}[diagnose]\nneighbours = "country"\n'))
    with pytest.raises(QuestionError, match=r"diagnose\.neighbours"):
        running.load(wrong)
