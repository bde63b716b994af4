"""Matrix completion: what it is without factors, where it settles, errors by refits, leads, invariances, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import goldens
import numpy as np
import pytest
import simulated
from references.completion import fect
from references.completion import sample as reference
from test_generalized_synthetic_control import with_factors

from study import Panel, Question, QuestionError, estimate
from study.designs import find_design
from study.designs.matrix_completion import Rank, complete

NAME = "matrix_completion"
QUESTION = Question("y", "event")
RANKS: tuple[dict[str, Any], ...] = ({"penalty": 0.02}, {"factors": 1})


def noisy(seed: int = 0, gaps: float = 0.0) -> Panel:
    """Return a panel of one factor with two cohorts, whose periods before treatment suffice to see their loadings."""
    rng = np.random.default_rng(seed)
    panel = with_factors(n=50, noise=0.3, seed=seed)
    first = panel.first_treated["event"].copy()
    first[np.flatnonzero(first == 6)[::2]] = 7
    y = panel.outcomes["y"].copy()
    y[rng.random(y.shape) < gaps] = np.nan
    return replace(panel, outcomes={"y": y}, first_treated={"event": first})


@pytest.mark.parametrize("gaps", [0.0, 0.05])
@pytest.mark.parametrize("asks", [{}, {"covariates": ("moving",)}, {"scale": "proportional"}], ids=str)
def test_without_factors_it_is_imputation(asks: dict[str, Any], gaps: float) -> None:
    panel = simulated.panel(n=70, gaps=gaps, level=9.0)
    question = QUESTION.replace(**asks)
    plain = estimate(panel, question, "imputation", leads=0)
    made = estimate(panel, question, NAME, factors=0)
    large = estimate(panel, question, NAME, penalty=50.0)
    for to in ("event", "cohort", "calendar", "event_average", "treated_average"):
        for fit in (made, large):
            np.testing.assert_allclose(fit.aggregate(to).effect, plain.aggregate(to).effect, rtol=1e-11)
    np.testing.assert_allclose(made.headline.std_error, plain.headline.std_error, rtol=0.06)


@pytest.mark.parametrize("n_factors", [1, 2])
def test_without_noise_the_effect_is_found_exactly(n_factors: int) -> None:
    panel = with_factors(n_factors=n_factors)
    made = estimate(panel, QUESTION, NAME, factors=n_factors)
    assert made.effect == pytest.approx(np.full(3, 2.0), abs=1e-8)


def test_with_all_cells_it_shrinks_the_singular_values_of_what_two_way_effects_leave() -> None:
    y, penalty = np.random.default_rng(1).normal(size=(30, 7)), 0.01
    fit = complete(y, np.empty((30, 7, 0)), np.full(y.shape, True), Rank(penalty))
    left = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    u, s, v = np.linalg.svd(left, full_matrices=False)
    assert fit.largest_penalty == pytest.approx(s[0] / y.size, rel=1e-12)
    assert fit.beyond == pytest.approx(left - (u * np.maximum(s - penalty * y.size, 0)) @ v, abs=1e-10)


def plain_steps(
    y: np.ndarray, seen: np.ndarray, steps: int | None, rank: dict[str, Any], start: np.ndarray | None = None
) -> np.ndarray:
    """Return the fit after filling in and fitting by turns so many times, or until nothing moves."""
    fit, done = np.zeros(y.shape) if start is None else start, 0
    for phase in (0, 1) if start is None else (1,):  # two-way effects alone first
        for done in range(1, 100_000):
            filled = np.where(seen, y, fit)
            two_way = filled.mean(axis=0) + filled.mean(axis=1, keepdims=True) - filled.mean()
            u, s, v = np.linalg.svd(filled - two_way, full_matrices=False)
            kept = np.zeros(len(s))
            if phase and "penalty" in rank:
                kept = np.maximum(s - rank["penalty"] * y.size, 0.0)
            elif phase:
                kept[: rank["factors"]] = s[: rank["factors"]]
            moved = two_way + (u * kept) @ v
            change, fit = np.abs(moved - fit).max(), moved
            if (phase and done == steps) or change < 1e-13:
                break
    return fit


@pytest.mark.parametrize("run", ["mc_l0.01", "mc_l0.05", "ife_r1", "ife_r2"])
def test_the_reference_stops_short_of_where_plain_steps_and_the_design_end(run: str) -> None:
    asked, reported = reference("sim_gsynth", (), 5), goldens.runs("sim_gsynth", "fect")[run]
    rank = {"penalty": reported["lambda_cv"]} if run.startswith("mc") else {"factors": int(run[-1])}
    seen = asked.treatment == 0
    stopped = (asked.y - plain_steps(asked.y, seen, reported["niter"], rank))[~seen].mean()
    assert stopped == pytest.approx(reported["estimates"][0]["estimate"], rel=1e-9)
    settled = (asked.y - plain_steps(asked.y, seen, None, rank))[~seen].mean()
    made = find_design(NAME)(asked, **rank).aggregate("treated_average")
    assert made.effect[0] == pytest.approx(settled, rel=1e-10)


@pytest.mark.parametrize("options", RANKS, ids=str)
def test_influence_is_the_jackknife_of_refits(options: dict[str, Any]) -> None:
    panel = noisy()
    made, sample = estimate(panel, QUESTION, NAME, **options), QUESTION.sample(panel)
    without, whole = [], plain_steps(sample.y, sample.treatment == 0, None, options)
    for i in range(50):
        kept = np.arange(50) != i
        y, seen = sample.y[kept], sample.treatment[kept] == 0
        beyond = y - plain_steps(y, seen, None, options, start=whole[kept])
        cells = zip(made.cohort, made.period, strict=True)
        without.append([beyond[sample.first_treated[kept] == g, int(t) - 1].mean() for g, t in cells])
    left = np.array(without)
    assert made.influence == pytest.approx(49 * (left.mean(axis=0) - left), abs=1e-6)
    spread = np.sum((left - left.mean(axis=0)) ** 2, axis=0)
    assert made.with_vcov("CR1").std_error == pytest.approx(np.sqrt(49 / 50 * spread), rel=1e-7)
    assert made.std_error == pytest.approx(np.sqrt(spread), rel=1e-7)


def test_errors_of_averages_are_those_of_leaving_out_each_unit() -> None:
    sample = QUESTION.sample(noisy())
    since = sample.periods - sample.first_treated[:, None]

    def averages(which: np.ndarray) -> list[float]:
        y, x, after = sample.y[which], sample.x_varying[which], since[which]
        beyond = complete(y, x, ~(after >= 0), Rank(factors=1)).beyond
        return [beyond[after >= 0].mean(), np.mean([beyond[after == e].mean() for e in range(3)])]

    whole, fit = averages(np.full(50, True)), find_design(NAME)(sample, factors=1)
    moved = np.array([averages(np.arange(50) != i) for i in range(50)]) - whole
    for k, to in enumerate(("treated_average", "event_average")):
        average = fit.aggregate(to)
        assert average.effect == pytest.approx([whole[k]], rel=1e-9)
        assert average.std_error == pytest.approx([np.sqrt(np.sum(moved[:, k] ** 2))], rel=0.03)


def test_leads_are_effects_in_periods_that_are_held_out_and_have_a_band_with_the_others() -> None:
    panel = noisy()
    made = estimate(panel, QUESTION, NAME, penalty=0.02, leads=3)
    sample = QUESTION.sample(panel)
    for lead in (1, 2, 3):
        held = sample.periods == sample.first_treated[:, None] - lead
        y = np.where(held, np.nan, sample.y)
        fit = complete(y, sample.x_varying, sample.treatment == 0, Rank(0.02))
        prediction = (
            sample.y
            - complete(sample.y, sample.x_varying, ~np.isnan(y) & (sample.treatment == 0), Rank(0.02)).beyond
        )
        np.testing.assert_allclose(sample.y - fit.beyond, np.where(held, np.nan, prediction), rtol=1e-9)
        for g in (6, 7):
            own = (sample.first_treated == g) & held.any(axis=1)
            beyond = (sample.y - prediction)[own, g - lead - 1].mean()
            term = (made.cohort == g) & (made.event_time == -lead)
            assert made.effect[term] == pytest.approx([beyond], rel=1e-8)
    after = made.select(~made.pre)
    assert after.effect == pytest.approx(estimate(panel, QUESTION, NAME, penalty=0.02).effect, rel=1e-12)
    path = made.aggregate("event")
    assert path.event_time.tolist() == [-3, -2, -1, 0, 1, 2]
    band = path.band(draws=999)
    assert (band["band_high"] - band["estimate"] >= 1.9 * path.std_error).all()


def test_the_last_period_before_an_anticipated_event_is_one_of_treatment() -> None:
    panel = noisy()
    earlier = replace(panel, first_treated={"event": panel.first_treated["event"] - 1})
    asked = estimate(panel, QUESTION.replace(anticipation=1), NAME, penalty=0.02, leads=1)
    dated = estimate(earlier, QUESTION, NAME, penalty=0.02, leads=1)
    assert asked.effect == pytest.approx(dated.effect, rel=1e-10)
    assert set(asked.event_time) == {-2, -1, 0, 1, 2}


def test_a_treatment_that_ends_has_an_effect_for_each_period_since_it_began() -> None:
    panel = with_factors(effect=0.0)
    path = np.zeros((60, 8))
    path[:15, 3:5] = path[5:20, 6:8] = 1.0
    path[20, :2] = 1.0  # nobody knows since when
    panel = replace(
        panel,
        outcomes={"y": panel.outcomes["y"] + 2 * path},
        first_treated={},
        treatment={"grant": path},
    )
    made = estimate(panel, Question("y", "grant"), NAME, factors=1)
    assert made.event_time.tolist() == [0, 1]
    assert made.effect == pytest.approx([2, 2], abs=1e-8)
    with pytest.raises(QuestionError, match="leads is 1, but grant is not absorbing"):
        estimate(panel, Question("y", "grant"), NAME, factors=1, leads=1)


def test_the_penalty_that_predicts_held_out_cells_best_is_taken_whatever_the_order_and_the_units() -> None:
    panel = noisy(seed=3)
    made = estimate(panel, QUESTION, NAME)
    note = made.notes[0]
    assert "by cross-validation" in note
    errors = [float(part.split(" with ")[0].split()[-1]) for part in note.split("errors are ")[1].split(", ")]
    shares = [float(part.split(" with ")[1]) for part in note.split("errors are ")[1].split(", ")]
    assert f"{shares[int(np.argmin(errors))]:.2g} of the least one" in note
    assert min(errors) < 0.7 * errors[0]  # one factor is there to be found
    order = np.random.default_rng(0).permutation(50)
    same = estimate(simulated.ordered(panel, order), QUESTION, NAME)
    assert same.effect == pytest.approx(made.effect, rel=1e-8)
    scaled = estimate(replace(panel, outcomes={"y": 100 * panel.outcomes["y"]}), QUESTION, NAME)
    assert scaled.effect == pytest.approx(100 * made.effect, rel=1e-8)
    assert scaled.std_error == pytest.approx(100 * made.std_error, rel=1e-7)


@pytest.mark.parametrize("seed", [1, 6])
def test_of_penalties_that_predict_alike_but_for_rounding_the_largest_is_taken(seed: int) -> None:
    panel = simulated.panel(n=11, seed=seed)
    panel = replace(panel, first_treated={"event": np.array([2.0] * 6 + [4.0] * 4 + [np.nan])})
    y, question = panel.outcomes["y"], QUESTION.replace(covariates=("moving",))
    for factor in (1e-5, 1, 7, 1000):
        made = estimate(replace(panel, outcomes={"y": factor * y}), question, NAME)
        assert "by cross-validation, 1 of the least one" in made.notes[0]


def test_a_penalty_is_tried_on_every_fifth_period_before_treatment_until_three_in_a_row_predict_worse() -> (
    None
):
    panel = noisy(seed=3)
    sample, since = QUESTION.sample(panel), panel.periods - panel.first_treated["event"][:, None]
    known, none = ~(since >= 0), sample.x_varying
    largest = complete(sample.y, none, known, Rank()).largest_penalty
    errors: list[float] = []
    for step in range(9):  # down to a thousandth
        squares = []
        for fold in ([-1, -6], [-2, -7], [-3], [-4], [-5]):
            held = np.isin(since, fold)
            fit = complete(sample.y, none, known & ~held, Rank(largest * 1000 ** (-step / 8)))
            squares.extend(fit.beyond[held][~np.isnan(fit.beyond[held])] ** 2)
        errors.append(float(np.mean(squares)))
        if step - int(np.argmin(errors)) == 3:
            break
    assert len(errors) < 9
    best = largest * 1000 ** (-int(np.argmin(errors)) / 8)
    made = estimate(panel, QUESTION, NAME)
    listed = ", ".join(f"{error:.4g} with {1000 ** (-k / 8):.2g}" for k, error in enumerate(errors))
    assert made.notes[0] == (
        f"penalty {best:.4g} by cross-validation, {best / largest:.2g} of the least one with which there are no "
        f"factors; mean squared prediction errors are {listed}"
    )
    assert made.effect == pytest.approx(estimate(panel, QUESTION, NAME, penalty=best).effect, rel=1e-9)


@pytest.mark.parametrize("options", RANKS, ids=str)
@pytest.mark.parametrize("gaps", [0.0, 0.03])
def test_order_labels_time_and_constants_of_units_and_periods_change_nothing(
    options: dict[str, Any], gaps: float
) -> None:
    panel, rng = noisy(seed=1, gaps=gaps), np.random.default_rng(1)
    question = QUESTION.replace(cluster="state")
    made = estimate(panel, question, NAME, leads=1, **options)
    named = np.array([f"v{i:03d}" for i in rng.permutation(50)])
    moved = panel.outcomes["y"] + 100 * rng.normal(size=(50, 1)) + 100 * rng.normal(size=8)
    later = replace(
        panel, periods=panel.periods + 1000, first_treated={"event": panel.first_treated["event"] + 1000}
    )
    others = (
        simulated.ordered(panel, rng.permutation(50)),
        simulated.ordered(replace(panel, units=named), np.argsort(named)),
        later,
        replace(panel, outcomes={"y": moved}),
    )
    for other in others:
        fit = estimate(other, question, NAME, leads=1, **options)
        assert fit.effect == pytest.approx(made.effect, abs=1e-8)
        assert fit.std_error == pytest.approx(made.std_error, rel=1e-6)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
@pytest.mark.parametrize("options", RANKS, ids=str)
def test_effects_and_errors_have_the_units_of_the_outcome_however_small_or_large(
    options: dict[str, Any], factor: float
) -> None:
    panel = noisy(seed=1, gaps=0.03)
    made = estimate(panel, QUESTION, NAME, leads=1, **options)
    scaled = {name: value * factor if name == "penalty" else value for name, value in options.items()}
    measured = replace(panel, outcomes={"y": panel.outcomes["y"] * factor})
    other = estimate(measured, QUESTION, NAME, leads=1, **scaled)
    assert other.effect == pytest.approx(factor * made.effect, rel=1e-6, abs=1e-8 * factor)
    assert other.std_error == pytest.approx(factor * made.std_error, rel=1e-6)


def test_a_unit_without_enough_untreated_cells_is_left_out_with_a_note() -> None:
    panel = noisy()
    y = panel.outcomes["y"].copy()
    own = int(np.flatnonzero(panel.first_treated["event"] == 6)[0])
    y[own, :4] = np.nan
    panel = replace(panel, outcomes={"y": y})
    made = estimate(panel, QUESTION, NAME, factors=1)
    without = estimate(simulated.subset(panel, np.arange(50) != own), QUESTION, NAME, factors=1)
    assert made.effect == pytest.approx(without.effect, rel=1e-9)
    assert made.n_obs == without.n_obs == 49 * 8
    assert made.notes[0] == (
        "3 treated unit-periods of 1 unit left out: the unit is not observed in 2 untreated periods, or its "
        "covariates are not"
    )


def test_the_onset_of_a_spell_without_a_prediction_is_counted_among_those_left_out() -> None:
    panel = simulated.switching()
    y, path = panel.outcomes["y"].copy(), panel.treatment["event"]
    y[1, path[1] == 0] = np.nan
    made = estimate(replace(panel, outcomes={"y": y}), QUESTION, NAME, factors=0)
    assert f"{int(path[1].sum())} treated unit-periods of 1 unit left out" in " ".join(made.notes)


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_the_unit_of_a_covariate_does_not_matter(factor: float) -> None:
    panel, question = simulated.panel(n=70, level=9.0), QUESTION.replace(covariates=("moving",))
    made = estimate(panel, question, NAME, factors=0)
    measured = replace(panel, covariates=panel.covariates | {"moving": factor * panel.covariates["moving"]})
    other = estimate(measured, question, NAME, factors=0)
    np.testing.assert_allclose(other.effect, made.effect, rtol=1e-8)
    np.testing.assert_allclose(other.std_error, made.std_error, rtol=1e-7)


def test_labels_of_which_nothing_is_predicted_have_no_mean() -> None:
    sample = QUESTION.sample(noisy())
    fit = complete(sample.y, sample.x_varying, sample.treatment == 0, Rank())
    labels = np.where(sample.treatment == 1, 0, -1)
    mean = fit.effects(labels, 3)
    assert mean[0] == pytest.approx(fit.beyond[sample.treatment == 1].mean(), rel=1e-12)
    assert np.isnan(mean[1:]).all()


def test_effects_that_one_unit_identifies_have_no_error() -> None:
    panel = noisy()
    y = panel.outcomes["y"].copy()
    free = np.flatnonzero(np.isnan(panel.first_treated["event"]))
    y[free[1:], 7] = np.nan
    made = estimate(replace(panel, outcomes={"y": y}), QUESTION, NAME, penalty=0.02)
    assert np.isfinite(made.effect).all()
    assert np.isnan(made.std_error).all()
    assert f"without some unit, such as {panel.units[free[0]]}" in " ".join(made.notes)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"penalty": 0.1, "factors": 1}, "penalty is 0.1 and factors is 1; give one"),
        ({"penalty": 0.0}, "penalty is 0; it must be above 0, or factors be given in its place"),
        ({"factors": 7}, "factors is 7, but 8 periods allow for 6 at most; ask for fewer"),
        ({"factors": 5}, "factors is 5, but no treated unit is observed in 6 untreated periods or more"),
        ({"penalty": "large"}, "penalty is 'large'; it must be a finite number"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(QuestionError, match=said) as refused:
        estimate(with_factors(), QUESTION, NAME, **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("factors", [None, 0, 2])
def test_treated_units_that_are_never_seen_untreated_are_refused(factors: int | None) -> None:
    panel = noisy()
    y = panel.outcomes["y"].copy()
    treated = panel.first_treated["event"] > 0
    before = np.arange(8) < panel.first_treated["event"][:, None]
    y[treated[:, None] & before] = np.nan
    with pytest.raises(
        QuestionError, match="no treated unit is observed in an untreated period, so no effect is identified"
    ):
        estimate(replace(panel, outcomes={"y": y}), QUESTION, NAME, factors=factors)


def test_a_penalty_cannot_be_chosen_where_nothing_can_be_held_out_and_is_none_where_nothing_varies() -> None:
    panel = noisy()
    early = replace(panel, first_treated={"event": np.where(panel.first_treated["event"] > 0, 2.0, np.nan)})
    with pytest.raises(
        QuestionError, match="of which one could be held out to choose a penalty; give penalty="
    ):
        estimate(early, QUESTION, NAME)
    assert np.isfinite(estimate(early, QUESTION, NAME, factors=0).effect).all()
    flat = estimate(replace(panel, outcomes={"y": np.ones((50, 8))}), QUESTION, NAME)
    assert flat.effect == pytest.approx(np.zeros(5), abs=1e-12)


def test_what_is_not_identified_is_refused() -> None:
    panel = noisy()
    y = panel.outcomes["y"].copy()
    y[np.isnan(panel.first_treated["event"]), 7] = np.nan
    with pytest.raises(QuestionError, match="do not connect all periods"):
        estimate(replace(panel, outcomes={"y": y}), QUESTION, NAME, factors=1)
    group, part = np.arange(50) % 3, np.array([0, 0, 0, 1, 1, 1, 2, 2])  # three parts
    y = np.where(group[:, None] == part, panel.outcomes["y"], np.nan)
    with pytest.raises(QuestionError, match="do not connect all periods"):
        estimate(replace(panel, outcomes={"y": y}), QUESTION, NAME, factors=0)
    with pytest.raises(QuestionError, match="a covariate is explained by unit and period effects"):
        estimate(panel, QUESTION.replace(covariates=("x1",)), NAME, factors=1)
    with pytest.raises(QuestionError, match="the factors do not settle"):
        estimate(simulated.panel(n=100, level=9.0), QUESTION, NAME, factors=1)


@pytest.mark.parametrize("seed", [29, 38])
def test_loadings_and_period_effects_that_the_factors_do_not_identify_are_refused(seed: int) -> None:
    with pytest.raises(QuestionError, match=r"factors=1\) are collinear in the untreated periods of a unit"):
        estimate(short(10, 3, seed, gaps=0.2), QUESTION, NAME, factors=1)


def test_loadings_that_are_not_identified_without_some_unit_leave_no_error() -> None:
    made = estimate(short(20, 4, seed=1), QUESTION, NAME, factors=1)
    assert np.abs(made.effect).max() < 3
    assert np.isnan(made.std_error).all()
    assert "not identified without some unit, such as u0005" in made.notes[0]


def short(n: int, start: int, seed: int, gaps: float = 0.0) -> Panel:
    """Return the last periods of noise, of which treated units are treated in the very last."""
    panel = simulated.panel(n=n, seed=seed, cohorts=(8,), gaps=gaps)
    y = panel.outcomes["y"][:, start:]
    return replace(panel, periods=panel.periods[start:], outcomes={"y": y}, covariates={})


@pytest.mark.parametrize("panel", ["sim_gsynth", "sim_small"])
def test_leads_without_factors_are_the_references_that_leave_out_one_period(panel: str) -> None:
    made = fect(panel, goldens.runs(panel, "fect_tests")["fe_loo"])
    assert made.estimates <= goldens.TOLERANCE
    assert made.std_errors <= goldens.TOLERANCE
