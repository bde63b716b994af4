"""The verdict: what is on the page follows from what was found, and every finding has its files."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import command
from plans import PANEL, PLAN

from study import QuestionError
from study.diagnostics import Section, leads
from study.estimates import pre_test
from study.figures.drawing import drawn
from study.paper import run as running
from study.paper.diagnose import (
    Verdict,
    _bound,
    answered,
    conclusion,
    details,
    diagnose,
    labelled_covariates,
    labelled_designs,
    on_whom,
    verdict_text,
)
from study.paper.exhibits.verdicts import ANSWERS, lines_of
from study.paper.plan import Row, read_plan
from study.report.design_table import left_out

pytestmark = pytest.mark.usefixtures("fonts_that_take_no_time")
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


def made(
    folder: Path, question: str, design: str | None = None, text: str = PLAN + EXTRA, *, make: Any = diagnose
) -> Verdict:
    """Return the verdict on a question of a plan, with all its diagnostics or, if make is answered, before them."""
    plan = read_plan(written(folder, text))
    task = plan.ask(question, design)
    return make(plan, task, running.load(plan), running.other_panels(plan.placebos))


@pytest.fixture(scope="module")
def verdict(tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    return made(tmp_path_factory.mktemp("diagnose"), "sim1/count/log1p")


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Ask the command the same; return what it printed and the folder that it wrote."""
    home = tmp_path_factory.mktemp("command")
    done = command("diagnose", "sim1/count/log1p", "--plan", written(home), cwd=home)
    assert done.returncode == 0, done.stderr
    (folder,) = (home / "build/diagnose").rglob("callaway_santanna")
    return done.stdout, folder


def test_every_section_has_findings_and_each_finding_its_figure_and_table(
    verdict: Verdict, ran: tuple[str, Path]
) -> None:
    assert {check.diagnostic.section for check in verdict.checks} == set(Section)
    for check in verdict.checks:
        assert check.finding is not None, check.refusal
        for kind, head in (("pdf", b"%PDF"), ("png", b"\x89PNG"), ("csv", b"")):
            assert (ran[1] / f"{check.diagnostic.name}.{kind}").read_bytes().startswith(head)
        table = (ran[1] / f"{check.diagnostic.name}.csv").read_text()
        assert len(table.splitlines()) > 1


def test_the_page_opens_each_finding_with_its_verdict_and_the_details_have_all_of_it(
    verdict: Verdict,
) -> None:
    page, everything = (re.sub(r"\s+", " ", text) for text in (verdict_text(verdict), details(verdict)))
    for check in verdict.checks:
        assert check.finding is not None
        for k, sentence in enumerate(check.finding.sentences):
            assert re.sub(r"\s+", " ", sentence) in everything
            assert (sentence in page) == (k < check.diagnostic.shown), sentence
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
                or sentence.split(":")[0] == verdict.task.row.name
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
        objected, fine = "What speaks against" in text, "tests of the assumptions rejects them" in text
        assert not (objected and fine)
        assert objected or fine or not excludes


def test_what_no_diagnostic_tested_is_not_said_to_be_clear(tmp_path: Path) -> None:
    found = made(tmp_path, "sim1/count/proportional", "twfe", make=answered)
    for checks in ((), (found.check("uncertainty"),)):
        text = " ".join(conclusion(replace(found, checks=checks)))
        assert "No diagnostic tested the assumptions." in text


def test_the_conclusion_counts_the_tests_and_names_what_has_no_verdict(tmp_path: Path) -> None:
    found = made(tmp_path, "sim1/count/proportional", "twfe", make=answered)
    checks = {
        name: found.check(name) for name in ("balance", "goodman_bacon", "placebo_dates", "placebo_outcomes")
    }
    calm = {
        name: check._replace(
            finding=replace(check.finding, against=None if check.finding.against is None else False)
        )
        for name, check in checks.items()
        if check.finding is not None
    }
    text = " ".join(conclusion(replace(found, checks=tuple(calm.values()))))
    assert "None of the 2 tests of the assumptions rejects them." in text
    judged = '"Balance before treatment" and "Comparisons in the coefficient"'
    assert f"For the reader to judge, since no test decides them: {judged}." in text
    one = " ".join(conclusion(replace(found, checks=(calm["placebo_dates"],))))
    assert "The one test of the assumptions does not reject them." in one
    assert "For the reader" not in one


@pytest.mark.parametrize(
    ("breakdown", "said"), [(0.5, "more than 0.5 times"), (None, "zero in it whatever the bound")]
)
def test_how_strong_a_violation_overturns_the_sign_is_what_the_honest_intervals_say(
    verdict: Verdict, breakdown: float | None, said: str
) -> None:
    checks = []
    for check in verdict.checks:
        if check.diagnostic.name == "honest_relative_magnitudes":
            assert check.finding is not None
            details = {**check.finding.details, "breakdown": breakdown}
            check = check._replace(finding=replace(check.finding, details=details))
        checks.append(check)
    assert said in _bound(replace(verdict, checks=tuple(checks)))
    assert "could not be bounded" in _bound(replace(verdict, checks=()))


def test_placebos_that_move_are_an_objection(verdict: Verdict) -> None:
    assert "outcomes that should have none (other)" in " ".join(conclusion(verdict))


def changed(found: Verdict, **findings: Any) -> str:
    """Return the conclusion with some findings put in place of those that were made."""
    checks = tuple(c._replace(finding=findings.get(c.diagnostic.name, c.finding)) for c in found.checks)
    return " ".join(conclusion(replace(found, checks=checks)))


def test_what_speaks_against_the_assumptions_is_the_findings_own_word_on_page_and_in_table(
    verdict: Verdict,
) -> None:
    answers = {line.label: line.cells[1] for lines in lines_of(verdict).values() for line in lines}
    for check in verdict.checks:
        assert check.finding is not None
        against = check.finding.against
        assert answers[check.diagnostic.title] == ANSWERS[against]
        name, objection = check.diagnostic.name, check.finding.objection
        if against is not None:
            assert objection in changed(verdict, **{name: replace(check.finding, against=True)})
            assert objection not in changed(verdict, **{name: replace(check.finding, against=False)})


def test_the_joint_test_before_treatment_is_an_objection_only_where_it_rejects(verdict: Verdict) -> None:
    draws, seed = verdict.plan.band_draws, verdict.task.seed
    made = verdict.finding("leads")
    assert made is not None
    assert made["p_largest"] == pre_test(verdict.fit.by_event_time, draws=draws, seed=seed).p_largest
    assert made.against == (made["p_largest"] < 0.05)
    before = verdict.fit.event_time < 0
    bent = np.where(before, 50.0 * np.abs(verdict.fit.event_time), verdict.fit.effect_level)
    trending = replace(verdict.fit, effect_level=np.where(verdict.fit.reference, 0.0, bent))
    assert leads(trending, draws=draws, seed=seed).against
    flat = replace(verdict.fit, effect_level=np.where(before, 0.0, verdict.fit.effect_level))
    assert not leads(flat, draws=draws, seed=seed).against


def test_shares_have_the_sensitivity_of_the_coefficient_in_levels(tmp_path: Path) -> None:
    text = PLAN.replace(
        'label = "CS"', 'label = "CS"\noptions = { method = "reg" }\nquestion = { covariates = ["x1"] }'
    )
    found = made(tmp_path, "sim1/count/proportional", text=text, make=answered)
    for name in ("sensitivity", "oster"):
        assert found.check(name).finding is not None, name


def test_a_static_coefficient_is_decomposed_and_has_no_pre_trends(tmp_path: Path) -> None:
    names = set(made(tmp_path, "sim1/count/log1p", "twfe", make=answered).diagnostics)
    assert {"goodman_bacon", "negative_weights"} <= names
    assert not {"pretrends", "honest_smoothness"} & names


def test_what_cannot_be_made_is_said_on_the_page(tmp_path: Path) -> None:
    neighbours = '[diagnose]\nneighbours = "cluster"\n'
    text = PLAN.replace("horizon = 3", 'horizon = 3\nbase = "varying"') + neighbours
    found = made(tmp_path, "sim1", text=text)
    refused = {check.diagnostic.name: check for check in found.checks if check.finding is None}
    assert set(refused) == {"pretrends", "spillovers", "honest_relative_magnitudes", "honest_smoothness"}
    page = re.sub(r"\s+", " ", verdict_text(found))
    for check in refused.values():
        assert f"Not made, {check.diagnostic.title}: {re.sub(' +', ' ', check.refusal)}" in page


def test_the_command_prints_the_page_and_another_run_makes_the_same_files(
    verdict: Verdict, ran: tuple[str, Path], tmp_path: Path
) -> None:
    done = command(
        "diagnose", "sim1/count/log1p", "--plan", written(tmp_path), "--design", "ES", cwd=tmp_path
    )
    assert done.returncode == 2
    assert 'there is no design "ES"' in done.stderr
    assert not (tmp_path / "build").exists()
    printed, folder = ran
    page = (folder / "verdict.txt").read_text()
    assert page.startswith(verdict_text(verdict))
    assert printed.startswith(page.rstrip())
    # One figure as a PNG as well, which shows what is in the PDF.
    files = replace(verdict, checks=verdict.checks[:1]).files()
    for diagnostic, finding, _ in verdict.checks[1:]:
        assert finding is not None
        files[f"{diagnostic.name}.pdf"] = drawn(finding.plot(), "pdf")
        files[f"{diagnostic.name}.csv"] = finding.tidy().to_csv(index=False).encode()
    assert {name: (folder / name).read_bytes() for name in files} == files


def test_a_question_that_is_not_in_the_plan_is_refused_before_any_work(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path))
    with pytest.raises(QuestionError, match="there is no question"):
        plan.ask("sim2")
    wrong = read_plan(written(tmp_path, f'{PLAN}[diagnose]\nneighbours = "country"\n'))
    with pytest.raises(QuestionError, match=r"diagnose\.neighbours"):
        running.load(wrong)


def test_options_of_a_design_reach_the_diagnostics_about_it_and_no_other(tmp_path: Path) -> None:
    text = PLAN.replace('label = "ES"', 'label = "ES"\noptions = { bin_at = 2 }')
    found, plain = (
        made(tmp_path, "sim1/count/log1p", "event_study", written_text, make=answered)
        for written_text in (text, PLAN)
    )
    one, other = (f.check("contamination_weights").finding for f in (found, plain))
    assert one is not None
    assert other is not None
    assert len(one.frame) < len(other.frame)
    with_method = PLAN.replace('label = "CS"', 'label = "CS"\noptions = { method = "reg" }')
    by_regression = made(tmp_path, "sim1/count/log1p", text=with_method, make=answered)
    honest = by_regression.check("honest_relative_magnitudes").finding
    assert honest is not None  # whose own argument method is another


def test_specifications_are_named_by_what_distinguishes_them() -> None:
    def row(label: str, **options: str) -> Row:
        return Row("callaway_santanna", label, options)

    rows = [row("CS (size)", method="reg"), row("CS"), row("CS (size, region)", method="reg")]
    assert labelled_covariates([("x1",), (), ("x1", "region=EU")]) == {
        "none": (),
        "x1": ("x1",),
        "the same, region EU": ("x1", "region=EU"),
    }
    labelled = [(label, options) for _, options, label in labelled_designs(rows)]
    assert labelled == [("CS (outcome regression)", {"method": "reg"}), ("CS (doubly robust)", {})]


def test_covariates_of_the_question_are_in_the_specifications(tmp_path: Path) -> None:
    text = PLAN.replace("[question]\n", '[question]\ncovariates = ["x1"]\n')
    assert made(tmp_path, "sim1/count/log1p", text=text, make=answered).known["covariate_sets"] == {
        "x1": ("x1",)
    }


def test_the_page_says_who_is_left_out_and_what_the_design_notes(tmp_path: Path) -> None:
    text = PLAN.replace("[question]", "[question]\npopulation = 'x1>0'")
    found = made(tmp_path, "sim1/count", text=text, make=answered)
    page = re.sub(r"\s+", " ", verdict_text(found))
    dropped = left_out(found.fit.sample)
    assert dropped
    assert f"{found.fit.sample.n_units} units, {found.fit.sample.n_treated} of them treated; " in page
    assert f"Left out: {'; '.join(dropped)}." in page
    assert all(" ".join(note.split()) in page for note in found.fit.notes)
    fit = replace(found.fit, remarks=("cohort 4 rests on one unit",))
    assert on_whom(fit)[2] == "Cohort 4 rests on one unit."


def test_an_estimate_without_an_interval_has_no_zero_in_it(verdict: Verdict) -> None:
    sample = verdict.fit.sample
    keep = np.zeros(sample.n_units, dtype=bool)
    for side in (sample.ever_treated, ~sample.ever_treated):
        keep[np.flatnonzero(side)[0]] = True
    alone = sample.only(keep, "all but one treated and one comparison unit")
    text = " ".join(conclusion(replace(verdict, fit=verdict.task.row.design(alone), checks=())))
    assert "without an interval, so that its sign is not established." in text
    assert not re.search(r"nan|zero in it", text)
