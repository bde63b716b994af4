"""Every run of the reference packages that is in scope, held to their numbers; the report that is made of it."""

from __future__ import annotations

import goldens
import numpy as np
import parity
import pytest
from manifest import RULES, TOLERANCES, Run, every_run, rules_of

RUNS = list(every_run())
IN_SCOPE = [run for run in RUNS if run.in_scope]
NEVER = "pois_never__cl_unit__coef"
needs_shared = pytest.mark.skipif(not goldens.SHARED.exists(), reason="the shared folder is absent here")


@pytest.mark.parametrize("run", IN_SCOPE, ids=["-".join(run[:3]) for run in IN_SCOPE])
def test_equals_the_reference(run: Run) -> None:
    made, tolerance = parity.measured(run), TOLERANCES[run.rule.kind]
    assert made.estimates <= tolerance.estimates
    assert made.std_errors <= tolerance.std_errors
    for what, (ours, theirs) in made.counts.items():
        assert ours == theirs, what
    for what, share in made.digits.items():
        assert share <= 1, what


OF_OTHER_FORM = ("did_251", "did_230", "bacondecomp", "pretrends", "honestdid", "sensemakr", "wildboot_cr3")
OF_OTHER_FORM += ("linearmodels", "fixest_iv", "ivdiag_ivmodel", "didhad", "contdid", "lwdid")
OF_OTHER_FORM += ("triplediff", "triplediff_corrected")
OF_OTHER_FORM += ("fect_tests", "scinference")
WHOLE = [run for run in IN_SCOPE if not run.rule.left_out and run.package not in OF_OTHER_FORM]


@pytest.mark.parametrize("run", WHOLE, ids=["-".join(run[:3]) for run in WHOLE])
def test_every_term_is_compared_unless_the_manifest_leaves_it_out(run: Run) -> None:
    reported = goldens.runs(run.panel, run.package)[run.name]["estimates"]
    compared = {row.term for row in parity.measured(run).rows}
    assert compared == {r["term"] for r in reported}


@pytest.mark.parametrize("copied", [True, False], ids=["copied", "shared"])
def test_every_run_falls_under_exactly_one_rule(copied: bool) -> None:
    paths = list(goldens.HERE.glob("*.json")) if copied else goldens.shared_files()
    if not paths:
        pytest.skip("the shared folder is absent here")
    files = [(*path.stem.split("__"), goldens.read(path)["runs"]) for path in paths]
    runs = [(panel, package, run["id"]) for panel, package, of_file in files for run in of_file]
    assert [run for run in runs if len(rules_of(*run)) != 1] == []
    assert sorted(run[:3] for run in every_run(paths)) == sorted(runs)


@needs_shared
def test_every_rule_names_some_run_and_every_run_in_scope_is_copied() -> None:
    shared = list(every_run(goldens.shared_files()))
    assert {run.rule for run in shared} == set(RULES)
    assert [run for run in shared if run.in_scope] == IN_SCOPE


@needs_shared
@pytest.mark.parametrize("path", sorted(goldens.HERE.glob("*.json")), ids=lambda path: path.stem)
def test_copied_numbers_are_those_of_the_shared_file(path: goldens.Path) -> None:
    (shared,) = (goldens.read(other) for other in goldens.shared_files() if other.name == path.name)
    without_timings = [{k: v for k, v in run.items() if k != "seconds"} for run in shared["runs"]]
    assert goldens.read(path) == shared | {"runs": without_timings}


def test_a_run_that_is_not_compared_says_why() -> None:
    assert all(rule.reason.endswith(".") for rule in RULES if rule.kind not in TOLERANCES)


@needs_shared
def test_the_report_is_what_the_code_makes() -> None:
    assert parity.REPORT.read_text(encoding="utf-8") == parity.report()


def test_emfx_gives_a_single_cell_another_standard_error_than_its_own_regression() -> None:
    runs = goldens.runs("mpdta", "etwfe")
    regression = {r["term"]: r["se"] for r in runs["notyet__cl_unit__coef"]["estimates"]}
    averages = {r["term"]: r["se"] for r in runs["notyet__cl_unit__emfx_group"]["estimates"]}
    gap = goldens.distance(
        averages["first_treated_2007"], regression[".Dtreat:first_treated::2007:time::2007"], 0
    )
    assert TOLERANCES["exact"].std_errors < gap < TOLERANCES["differenced"].std_errors


def test_poisson_errors_of_the_reference_are_those_of_the_step_before_its_last() -> None:
    data = goldens.table("sim_unbalanced")
    y, first, time = (data[name].to_numpy() for name in ("count", "first_treated", "time"))
    cells = [(g, t) for g in (4, 6, 8, 10) for t in range(1, 13) if t != g - 1]
    of_cell = np.column_stack([(first == g) & (time == t) for g, t in cells])
    x = np.column_stack([first[:, None] == [0, 4, 6, 8, 10], time[:, None] == range(2, 13), of_cell]) * 1.0
    before, mean = y, y + 0.1  # where R's Poisson family starts
    for _ in range(5):  # fixest stops here: the deviance changes by 3e-12 of itself, after 1e-6
        settings = np.log(mean) + (y - mean) / mean
        bread = np.linalg.inv(x.T @ (x * mean[:, None]))
        before, mean = mean, np.exp(x @ bread @ x.T @ (mean * settings))
    scores = np.zeros((200, x.shape[1]))
    np.add.at(scores, np.unique(data["unit"], return_inverse=True)[1], x * (y - mean)[:, None])
    factor = 200 / 199 * (len(y) - 1) / (len(y) - x.shape[1])
    reported = {
        r["term"]: r["se"] for r in goldens.runs("sim_unbalanced", "etwfe_poisson")[NEVER]["estimates"]
    }
    theirs = [reported[f".Dtreat:first_treated::{g}:time::{t}"] for g, t in cells]

    def gap(weights: np.ndarray) -> float:
        bread = np.linalg.inv(x.T @ (x * weights[:, None]))
        errors = np.sqrt(factor * np.diag(bread @ scores.T @ scores @ bread))[-len(cells) :]
        return goldens.distance(errors, theirs, 0)

    assert gap(before) < 1e-9
    assert TOLERANCES["exact"].std_errors < gap(mean) < TOLERANCES["iterative"].std_errors
