"""How far an estimate moves with its seed, against refits by hand, on panels simulated here."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simulated
from plans import PLAN

from study import Panel, Question, QuestionError, diagnostics, settings
from study.designs import all_designs, find_design
from study.diagnostics import Finding, Section
from study.diagnostics.refits import Refits
from study.diagnostics.uncertainty import over_seeds
from study.estimates import Effect
from study.paper import run as running
from study.paper.diagnose import Verdict, answered, conclusion
from study.paper.plan import read_plan

QUESTION = Question(
    "y",
    "event",
    min_cohort_size=1,
    average="event_average",
    horizon=1,
    cluster="state",
    covariates=("x1", "x2"),
)
FEW: dict[str, Any] = {"learner": "linear", "folds": 2, "repetitions": 1}


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulated.panel(120)


@pytest.fixture(scope="module")
def found(panel: Panel) -> Finding:
    return diagnostics.seeds(QUESTION.sample(panel), "dml_panel", seeds=6, seed=4, **FEW)


def test_rows_are_refits_under_the_seeds_that_follow_the_options(panel: Panel, found: Finding) -> None:
    fits = [find_design("dml_panel")(QUESTION.sample(panel), seed=s, **FEW).headline for s in range(4, 10)]
    table = found.tidy()
    assert list(table["seed"]) == list(range(4, 10))
    np.testing.assert_array_equal(table["estimate"], [fit.effect[0] for fit in fits])
    np.testing.assert_array_equal(table["std_error"], [fit.std_error[0] for fit in fits])
    ends = [(fit.tidy()["conf_low"][0], fit.tidy()["conf_high"][0]) for fit in fits]
    np.testing.assert_allclose(table[["conf_low", "conf_high"]], ends, rtol=1e-12)
    assert len(set(table["estimate"])) == 6
    estimates = [fit.effect[0] for fit in fits]
    mean = sum(estimates) / 6
    deviation = np.sqrt(sum((e - mean) ** 2 for e in estimates) / 5)
    assert found["spread"] == pytest.approx(
        deviation / np.mean([fit.std_error[0] for fit in fits]), rel=1e-12
    )


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_the_average_has_the_average_influence(scale: str) -> None:
    sample = QUESTION.replace(scale=scale).sample(simulated.panel(120, level=20.0))
    made = diagnostics.seeds(sample, "dml_panel", seeds=3, **FEW)
    fits = [find_design("dml_panel")(sample, seed=s, **FEW).headline for s in range(3)]
    psi = np.mean([fit.errors.dense()[:, 0] for fit in fits], axis=0)
    sums = np.bincount(sample.cluster, weights=psi)
    assert made["average"].estimate == pytest.approx(np.mean([fit.effect[0] for fit in fits]), rel=1e-12)
    assert made["average"].std_error == pytest.approx(np.sqrt(np.sum(sums**2)) / sample.n_units, rel=1e-12)
    assert ("%" in made.sentences[1]) == (scale == "proportional")


def test_more_repetitions_leave_less_between_seeds(panel: Panel) -> None:
    sample = QUESTION.sample(panel)
    one, many = (
        diagnostics.seeds(sample, "dml_panel", seeds=10, **(FEW | {"repetitions": r}))["spread"]
        for r in (1, 9)
    )
    assert 0.15 < many / one < 0.65


def moved(found: Finding, estimates: list[float], error: float = 1.0, repetitions: int | None = 1) -> Finding:
    """Return the finding with other estimates, all with one standard error."""
    rows = [
        Effect(f"seed {k}", e, error, 0.5, e - 1.96 * error, e + 1.96 * error, n_units=120, n_treated=80)
        for k, e in enumerate(estimates)
    ]
    return over_seeds(Refits(tuple(rows), ()), found["average"], QUESTION.effect_scale, 0.95, repetitions)


@pytest.mark.parametrize(
    ("estimates", "excluding", "positive", "agrees"),
    [
        ([1.0, 1.2, 1.1], "0 of them", "3 of the 3 seeds", True),
        ([1.9, 2.0, 2.1], "2 of them", "3 of the 3 seeds", False),
        ([2.5, 2.6, 2.1], "3 of them", "3 of the 3 seeds", True),
        ([-0.1, 0.1, 0.2], "0 of them", "2 of the 3 seeds", True),
        ([-2.5, 2.5, 2.2], "3 of them", "2 of the 3 seeds", False),
    ],
)
def test_the_sentences_count_the_seeds(
    estimates: list[float], excluding: str, positive: str, agrees: bool, found: Finding
) -> None:
    made = moved(found, estimates)
    first, second, *_ = made.sentences
    assert f"standard deviation of {np.std(estimates, ddof=1):.2f} of its standard error" in first
    assert f"(from {min(estimates):.3g} to {max(estimates):.3g})" in first
    assert f"the interval excludes zero under {excluding}." in first
    assert f"It is positive under {positive}; " in second
    assert made.against == (abs(estimates[0]) > 1.96 and not agrees)


def test_it_says_how_many_draws_would_do_where_there_are_too_few(found: Finding) -> None:
    wide, narrow = moved(found, [0.0, 0.3, 0.6]), moved(found, [0.0, 0.05, 0.1])
    assert any("1 draw of the folds; about 9 would bring" in sentence for sentence in wide.sentences)
    assert not any("would bring" in sentence for sentence in narrow.sentences)
    assert not any(
        "would bring" in sentence for sentence in moved(found, [0.0, 0.3, 0.6], repetitions=None).sentences
    )


def test_a_design_without_anything_to_draw_between_seeds_does_not_move(panel: Panel) -> None:
    sample = QUESTION.sample(panel)
    options = {"learner": "linear", "propensity": "linear", "folds": 1, "repetitions": 1}
    made = diagnostics.seeds(sample, "dml_stacked", seeds=2, **options)
    assert made["spread"] == 0
    assert "standard deviation of 0.00" in made.sentences[0]


def test_a_seed_that_is_refused_is_named(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["study.diagnostics.uncertainty"]
    original = module.headline

    def refusing(sample: Any, design: str, options: Any) -> Any:
        if options["seed"] in refused:
            raise QuestionError("dml_panel: not these folds.")
        return original(sample, design, options)

    monkeypatch.setattr(module, "headline", refusing)
    refused = {1}
    made = diagnostics.seeds(QUESTION.sample(panel), "dml_panel", seeds=3, **FEW)
    assert list(made.tidy()["seed"]) == [0, 2]
    assert "Without an estimate: seed 1, because dml_panel: not these folds." in made.sentences
    refused = {0, 1}
    with pytest.raises(QuestionError, match="seeds: dml_panel: not these folds"):
        diagnostics.seeds(QUESTION.sample(panel), "dml_panel", seeds=3, **FEW)


def test_the_number_of_jobs_changes_nothing_and_steps_are_told_with_their_seed(panel: Panel) -> None:
    steps: list[str] = []
    with settings(progress=steps.append):
        one = diagnostics.seeds(QUESTION.sample(panel), "dml_panel", seeds=2, **FEW)
    with settings(jobs=2):
        two = diagnostics.seeds(QUESTION.sample(panel), "dml_panel", seeds=2, **FEW)
    assert one.tidy().equals(two.tidy())
    assert len(steps) == 10
    assert all(step.startswith("seed 0, ") for step in steps[:4])
    assert steps[4] == "seed 0"
    assert all(step.startswith("seed 1, ") for step in steps[5:9])
    assert steps[9] == "seed 1"


def test_the_figure_has_a_line_a_seed(found: Finding) -> None:
    (axis,) = found.plot().axes
    assert [label.get_text() for label in axis.get_yticklabels()] == [f"seed {s}" for s in range(4, 10)]


@pytest.mark.parametrize("design", [name for name, made in all_designs().items() if not made.draws])
def test_a_design_that_draws_nothing_is_refused(design: str, panel: Panel) -> None:
    with pytest.raises(QuestionError, match=f"{design} draws nothing at random, .*dml_panel.* do") as refused:
        diagnostics.seeds(QUESTION.sample(panel), design)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seeds": 1}, "seeds is 1; it must be a whole number, at least 2"),
        ({"seeds": True}, "seeds is True"),
        ({"seeds": 2.5}, "seeds is 2.5"),
        ({"level": 0.0}, "level is 0.0"),
        ({"seed": -1}, "seed is -1; it must be a whole number, at least 0"),
        ({"folds": 1}, "dml_panel: folds is 1"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_learned(
    asked: dict[str, Any], message: str, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.learners.nuisances.learned", None)
    with pytest.raises(QuestionError, match=message) as refused:
        diagnostics.seeds(QUESTION.sample(panel), "dml_panel", **asked)
    assert "\n" not in str(refused.value)


TEXT = PLAN.replace(
    '[[designs]]\nname = "twfe"',
    '[[designs]]\nname = "dml_panel"\nlabel = "DML"\nquestion = { covariates = ["x1"] }\n'
    'options = { learner = "linear", folds = 2, repetitions = 1 }\n[[designs]]\nname = "twfe"',
)


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Verdict]:
    path = tmp_path_factory.mktemp("seeds") / "study.toml"
    path.write_text(TEXT)
    plan = read_plan(path)
    panel = running.load(plan)
    made = {}
    for name in ("dml_panel", "callaway_santanna"):
        known = answered(plan, plan.ask("sim1/count/log1p", name), panel, {})
        checks = tuple(known.check(d) for d in known.diagnostics if d in ("nuisances", "seeds"))
        made[name] = replace(known, checks=checks)
    return made


def test_the_verdict_on_a_design_that_draws_shows_its_learners_and_its_seeds(
    verdicts: dict[str, Verdict],
) -> None:
    made = verdicts["dml_panel"]
    assert [(check.diagnostic.name, check.diagnostic.section) for check in made.checks] == [
        ("nuisances", Section.AGAINST),
        ("seeds", Section.UNCERTAINTY),
    ]
    quality, drawn = made.finding("nuisances"), made.finding("seeds")
    assert quality is not None
    assert drawn is not None
    learners = [row.label for row in quality["rows"]]
    assert learners == ["linear", "lasso", "forest", "lightgbm", "ensemble"]
    assert [row.label for row in drawn["rows"]] == [f"seed {s}" for s in range(3, 23)]
    own = made.fit.headline.effect[0]
    assert quality["rows"][0].estimate == own
    assert drawn["rows"][0].estimate == own
    assert verdicts["callaway_santanna"].checks == ()


def test_seeds_that_disagree_are_an_objection_where_the_interval_excludes_zero(
    verdicts: dict[str, Verdict],
) -> None:
    made = verdicts["dml_panel"]
    drawn = made.finding("seeds")
    assert drawn is not None
    for estimates, objected in (([2.5, 2.1, 1.9], True), ([2.5, 2.1, 2.2], False), ([1.9, 2.5, 2.1], False)):
        checks = tuple(
            check._replace(finding=moved(drawn, estimates)) if check.diagnostic.name == "seeds" else check
            for check in made.checks
        )
        objections = " ".join(conclusion(replace(made, checks=checks)))
        assert ("the seed, since the interval excludes zero under 2 of 3" in objections) == objected
