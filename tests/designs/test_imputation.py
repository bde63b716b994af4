"""imputation against regressions on dummies, explicit weights, stacked moments and derivatives by weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import dense
import numpy as np
import pytest
import simulated

from study import Estimate, Question, QuestionError
from study.designs import find_design
from study.designs.imputation import NO_CARRY_OVER
from study.panel.question import Sample

imputation = find_design("imputation")
ASKED: list[dict[str, Any]] = [
    {},
    {"comparison": "never_treated", "cluster": "state"},
    {"anticipation": 1, "weights": "size", "cluster": "state"},
    {"covariates": ("moving", "drifting"), "comparison": "never_treated", "weights": "size"},
    {"covariates": ("moving",), "anticipation": 1, "cluster": "state"},
]


class Imputed(NamedTuple):
    """Untreated and treated cells, the columns of both, and what treated cells have beyond their prediction."""

    before: dense.Rows
    after: dense.Rows
    x_before: np.ndarray
    x_after: np.ndarray
    residual: np.ndarray
    tau: np.ndarray


def by_dummies(sample: Sample) -> Imputed:
    """Fit dummies and covariates to untreated cells, and predict the treated cells of units among them."""
    compared = dense.compared(sample)[:, None]
    before = dense.rows(sample, compared & (sample.treatment == 0))
    known = np.isin(np.arange(sample.n_units), before.unit)[:, None]
    after = dense.rows(sample, compared & known & (sample.treatment == 1))

    def columns(at: dense.Rows) -> np.ndarray:
        unit = at.unit[:, None] == np.unique(before.unit)
        period = at.period[:, None] == np.arange(1, len(sample.periods))
        return np.hstack([unit, period, sample.x_varying[at]]).astype(float)

    x, root = columns(before), np.sqrt(sample.weights[before.unit])
    theta = np.linalg.lstsq(x * root[:, None], sample.y[before] * root, rcond=None)[0]
    x_after = columns(after)
    return Imputed(before, after, x, x_after, sample.y[before] - x @ theta, sample.y[after] - x_after @ theta)


def sets_of_cells(sample: Sample, at: dense.Rows, fit: Estimate) -> np.ndarray:
    """Return which treated cells each treated term of an estimate, or of its averages, rests on, (m, K)."""
    first, time = sample.first_treated[at.unit], sample.periods[at.period]
    columns = []
    for g, t, e in zip(fit.cohort, fit.period, fit.event_time, strict=True):
        if not (np.isnan(g) and np.isnan(t) and e < -sample.question.anticipation):
            inside = time >= first if np.isnan([g, t, e]).all() else np.ones(len(first), dtype=bool)
            for label, value in ((g, first), (t, time), (e, time - first)):
                inside &= np.isnan(label) | (value == label)
            columns.append(inside)
    return np.column_stack(columns).astype(float)


def treated_terms(fit: Estimate) -> np.ndarray:
    return ~(
        np.isnan(fit.cohort) & np.isnan(fit.period) & (fit.event_time < -fit.sample.question.anticipation)
    )


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_equals_means_beyond_a_prediction_from_dummies(asked: dict[str, Any], gaps: float) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(gaps=gaps))
    slow = by_dummies(sample)
    fit = imputation(sample)
    for made in (fit, fit.aggregate("event")):
        weight = sets_of_cells(sample, slow.after, made) * sample.weights[slow.after.unit][:, None]
        expected = slow.tau @ weight / weight.sum(axis=0)
        np.testing.assert_allclose(made.effect[treated_terms(made)], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("leads", [None, 2])
@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_leads_equal_a_regression_of_untreated_cells_on_dummies(
    asked: dict[str, Any], gaps: float, leads: int | None
) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(gaps=gaps))
    fit = imputation(sample, leads=leads)
    last = -1 - sample.question.anticipation
    compared = dense.compared(sample)[:, None]
    at = dense.rows(sample, compared & (sample.treatment == 0))
    since = sample.periods[at.period] - sample.first_treated[at.unit]
    times = np.array([last - 1, last]) if leads else np.unique(since[since < last])
    slow = dense.least_squares(
        sample.y[at],
        (since[:, None] == times).astype(float),
        np.hstack([dense.two_way(at), sample.x_varying[at]]),
        sample.weights[at.unit],
        sample.cluster[at.unit],
    )
    lead = np.isnan(fit.cohort) & ~fit.reference
    assert list(fit.event_time[lead]) == list(times)
    assert list(fit.event_time[fit.reference]) == ([] if leads else [last])
    np.testing.assert_allclose(fit.effect[lead], slow.effect, rtol=0, atol=1e-9)
    np.testing.assert_allclose(fit.covariance("CR0")[np.ix_(lead, lead)], slow.covariance, rtol=0, atol=1e-9)


def by_cluster(sample: Sample, unit: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Add up values of observations over clusters, shape (G, K)."""
    sums = np.zeros((sample.cluster.max() + 1, values.shape[1]))
    np.add.at(sums, sample.cluster[unit], values)
    return sums


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_conservative_errors_equal_explicit_weights_times_residuals(
    asked: dict[str, Any], gaps: float
) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(gaps=gaps))
    slow, fit = by_dummies(sample), imputation(sample, variance="conservative")
    omega, treated = sample.weights[slow.before.unit], sample.weights[slow.after.unit]
    bread = np.linalg.pinv((slow.x_before * omega[:, None]).T @ slow.x_before)
    cells = sets_of_cells(sample, slow.after, fit)
    mean = (slow.tau * treated**2) @ cells / (treated**2 @ cells)
    residual = slow.tau - cells @ mean
    for made in (fit, fit.aggregate("event"), fit.aggregate("treated_average")):
        chosen = sets_of_cells(sample, slow.after, made)
        v_after = chosen * treated[:, None] / (treated @ chosen)
        v_before = -omega[:, None] * (slow.x_before @ bread @ slow.x_after.T @ v_after)
        estimate = sample.y[slow.after] @ v_after + sample.y[slow.before] @ v_before
        errors = by_cluster(sample, slow.after.unit, v_after * residual[:, None])
        errors += by_cluster(sample, slow.before.unit, v_before * slow.residual[:, None])
        terms = treated_terms(made)
        np.testing.assert_allclose(made.effect[terms], estimate, rtol=0, atol=1e-9)
        np.testing.assert_allclose(
            made.covariance("CR0")[np.ix_(terms, terms)], errors.T @ errors, rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("asked", ASKED, ids=str)
def test_sampling_errors_equal_those_of_stacked_moments(asked: dict[str, Any], gaps: float) -> None:
    sample = Question("y", "event", **asked).sample(simulated.with_late_units(gaps=gaps))
    slow, fit = by_dummies(sample), imputation(sample)
    omega, treated = sample.weights[slow.before.unit], sample.weights[slow.after.unit]
    for made in (fit, fit.aggregate("event"), fit.aggregate("treated_average")):
        chosen = sets_of_cells(sample, slow.after, made)
        weighted = chosen * treated[:, None]
        p, k = slow.x_before.shape[1], chosen.shape[1]
        slope = np.zeros((p + k, p + k))
        slope[:p, :p] = (slow.x_before * omega[:, None]).T @ slow.x_before
        slope[p:, :p] = weighted.T @ slow.x_after
        slope[p:, p:] = np.diag(weighted.sum(axis=0))
        effect = slow.tau @ weighted / weighted.sum(axis=0)
        first = slow.x_before * (omega * slow.residual)[:, None]
        second = weighted * (slow.tau[:, None] - effect)
        moments = np.hstack(
            [by_cluster(sample, slow.before.unit, first), by_cluster(sample, slow.after.unit, second)]
        )
        inverse = np.linalg.inv(slope)
        covariance = (inverse @ moments.T @ moments @ inverse.T)[p:, p:]
        terms = treated_terms(made)
        np.testing.assert_allclose(
            made.covariance("CR0")[np.ix_(terms, terms)], covariance, rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("scale", ["level", "proportional"])
@pytest.mark.parametrize("gaps", [0.0, 0.05])
@pytest.mark.parametrize("covariates", [(), ("moving",)])
def test_influence_is_the_derivative_by_unit_weights(
    gaps: float, scale: str, covariates: tuple[str, ...]
) -> None:
    question = Question("y", "event", weights="size", scale=scale, covariates=covariates)
    sample = question.sample(simulated.panel(n=90, gaps=gaps, level=9.0))
    simulated.check_influence(sample, imputation, units=2)


def test_leads_rest_on_cells_that_are_seen_with_their_covariates() -> None:
    panel = simulated.panel(n=60, level=9.0, cohorts=(4,))
    moving = panel.covariates["moving"].copy()
    treated = panel.first_treated["event"] == 4
    moving[treated, 2] = np.nan
    moving[np.flatnonzero(treated)[:3], 1] = np.nan
    question = Question("y", "event", covariates=("moving",), scale="proportional")
    sample = question.sample(replace(panel, covariates={"moving": moving}))
    fit = imputation(sample, leads=2)
    assert list(fit.event_time[np.isnan(fit.cohort)]) == [-2.0]
    level = imputation(replace(sample, question=question.replace(scale="level")), leads=2)
    mean = panel.outcomes["y"][treated, 1][3:].mean()
    assert fit.effect[-1] == pytest.approx(level.effect[-1] / (mean - level.effect[-1]), rel=1e-9)


def test_cells_without_an_estimate_and_units_without_a_prediction_are_named() -> None:
    panel = simulated.panel(n=60, cohorts=(4, 6))
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    four, six = (np.flatnonzero(first == g) for g in (4, 6))
    y[four[:2], :3] = np.nan
    y[four[:-1], 4] = np.nan
    y[six, 7] = np.nan
    y[np.isnan(first), 6] = np.nan
    fit = imputation(Question("y", "event").sample(replace(panel, outcomes={"y": y})), leads=0)
    assert fit.terms == ("ATT(4,4)", "ATT(4,5)", "ATT(4,6)", "ATT(4,8)", "ATT(6,6)")
    assert fit.remarks[:4] == (
        "8 treated unit-periods of 2 units left out: the unit or its covariates are not observed before treatment",
        "cohort 4 in 7 left out: no untreated unit is observed",
        "cohort 6 in 7 left out: no untreated unit is observed",
        "cohort 6 in 8 left out: no treated unit is observed both then and before treatment",
    )
    assert fit.untreated_mean is not None
    assert fit.untreated_mean[0] + fit.effect[0] == pytest.approx(y[four[2:], 3].mean())


def test_leads_that_the_fixed_effects_explain_are_named() -> None:
    panel = simulated.panel(n=60, cohorts=(4, 7))
    keep = ~np.isnan(panel.first_treated["event"])
    fit = imputation(Question("y", "event").sample(simulated.subset(panel, keep)))
    made = set(fit.event_time[np.isnan(fit.cohort)])
    named = [
        note.split(" left out: the fixed effects and the other leads explain it")[0] for note in fit.notes
    ]
    left = {e for e in range(-6, 0) if f"event {e}" in named}
    assert left
    assert made | left == set(range(-6, 0))
    assert not made & left


def test_who_is_treated_in_a_lead_is_in_the_panel_then_and_others_may_be_treated_then() -> None:
    sample = Question("y", "event", anticipation=1).sample(simulated.panel(n=60))
    fit, dates = imputation(sample), sample.groups[0]
    assert fit.contrast.treated is not None
    assert fit.contrast.treated_then is not None
    for k, (g, t, e) in enumerate(zip(fit.cohort, fit.period, fit.event_time, strict=True)):
        own = [d == g if g == g else d + e in sample.periods for d in dates]
        np.testing.assert_array_equal(fit.contrast.treated[:, k], own)
        np.testing.assert_array_equal(fit.contrast.treated_then[:, k], [t >= d - 1 for d in dates])


def test_spells_average_what_has_an_onset_and_a_prediction_and_the_rest_is_counted() -> None:
    panel = simulated.switching()
    path = panel.treatment["event"].copy()  # of every other unit, in periods 3 and 6
    path[1::2, 3] = 1.0
    path[5, 4] = 1.0
    path[1, :2] = 1.0
    path[3] = 1.0
    path[:, 7] = 1.0
    sample = Question("y", "event").sample(replace(panel, treatment={"event": path}))
    fit = imputation(sample)
    unit, period = np.nonzero(path == 0)
    x, of_period = np.zeros((len(unit), 108)), 100 + period
    x[np.arange(len(unit)), unit] = x[np.arange(len(unit)), of_period] = 1.0
    theta = np.linalg.lstsq(x, sample.y[unit, period], rcond=None)[0]
    tau = sample.y - theta[:100, None] - theta[100:]
    since = np.full(path.shape, np.nan)
    since[1::2, [2, 3, 5]] = [0, 1, 0]
    since[5, 2:6] = range(4)
    since[1, :4] = since[3] = np.nan
    known = ~np.isnan(since)
    assert list(fit.event_time) == [0.0, 1.0, 2.0, 3.0]
    np.testing.assert_allclose(fit.effect, [tau[since == e].mean() for e in range(4)], rtol=1e-9)
    assert fit.aggregate("treated_average").effect[0] == pytest.approx(tau[known].mean(), rel=1e-9)
    assert np.isfinite(fit.with_vcov("pooled").std_error[:2]).all()
    lost = int((path == 1).sum() - known.sum())
    assert lost == 4 + 8 + 99
    assert fit.remarks == (
        NO_CARRY_OVER,
        "111 treated unit-periods left out: the onset of the spell, or the unit or the period untreated, is not "
        "observed",
    )
    assert (fit.n_obs, fit.published) == (800, "CR0")


def test_spells_without_any_onset_have_no_effect() -> None:
    panel = simulated.switching()
    path = np.zeros((100, 8))
    path[::2, :6] = 1.0
    sample = Question("y", "event").sample(replace(panel, treatment={"event": path}))
    with pytest.raises(QuestionError) as error:
        imputation(sample)
    assert str(error.value) == (
        "imputation: no effect can be estimated: no treated unit is observed untreated before its spell, in periods in "
        "which an untreated unit is."
    )


@pytest.mark.parametrize(
    ("options", "asked"),
    [({"leads": 2}, "leads=2"), ({"variance": "conservative"}, 'variance="conservative"')],
)
def test_spells_have_no_leads_and_no_conservative_error(options: dict[str, Any], asked: str) -> None:
    sample = Question("y", "event").sample(simulated.switching())
    with pytest.raises(QuestionError) as error:
        imputation(sample, **options)
    assert str(error.value) == (
        f"imputation: {asked} needs cohorts, and event is not absorbing; leave it out. "
        "study.diagnostics.placebo_periods looks at periods before treatment."
    )
