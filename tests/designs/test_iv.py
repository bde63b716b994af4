"""iv against dense dummies, linearmodels itself, plain loops and known truths."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import searching
import simulated
from interval_coverage import covers
from linearmodels.iv import IV2SLS, IVGMM, IVLIML
from scipy import stats

from study import Panel, Question, QuestionError, estimate, few_treated, randomization
from study.designs import find_design
from study.designs.iv import rows_of
from study.diagnostics.uncertainty import RANDOMIZATION, uncertainty
from study.estimates.weak_instrument import anderson_rubin, in_words, lottery_sides
from study.panel import Sample

EXACT = 1e-10
METHODS = ("2sls", "liml", "gmm")
TWO = ("push", "pull")


def panel(n: int = 60, seed: int = 0, gaps: float = 0.0, strength: float = 0.6) -> Panel:
    """Return units in 20 clusters whose dose has a hidden cause in common with the outcome; its effect is 1.

    Instruments are "push", whose effect on the dose differs by unit, and "pull"; "lottery" is fixed in time.
    """
    rng = np.random.default_rng(seed)
    base = simulated.panel(n, seed)
    shape, cluster = (n, 8), np.arange(n) % 20
    push, pull, x = np.cumsum(rng.normal(size=(3, *shape)), axis=2) / 2 + rng.normal(size=(3, *shape))
    hidden = np.cumsum(rng.normal(size=shape), axis=1) / 2 + rng.normal(size=shape)
    hidden += rng.normal(size=(20, 8))[cluster] / 2
    varied = strength * rng.gamma(4, 1 / 4, size=(n, 1))
    dose = (
        rng.normal(size=(n, 1)) + varied * push + strength * pull + 0.3 * x + hidden + rng.normal(size=shape)
    )
    y = rng.normal(size=(n, 1)) + 0.2 * np.arange(8) + dose + 0.5 * x - 1.5 * hidden + rng.normal(size=shape)
    y[rng.random(shape) < gaps] = np.nan
    lottery = np.outer(rng.random(n) < 0.5, np.ones(8))
    return replace(
        base,
        outcomes={"y": y},
        covariates={"push": push, "pull": pull, "x": x, "lottery": lottery, "size": base.covariates["size"]},
        first_treated={},
        treatment={},
        doses={"dose": dose},
        attributes={"state": np.array([f"s{c:02d}" for c in cluster])},
    )


def dated(**changes: Any) -> Panel:
    """Return the panel where the event is dated, from the fourth period on, more often for winners of the lottery."""
    made = panel(**changes)
    rng = np.random.default_rng(1)
    treated = rng.random(made.n_units) < 0.2 + 0.5 * made.covariates["lottery"][:, 0]
    first = np.where(treated, rng.integers(4, 8, size=made.n_units), np.nan)
    post = made.covariates["lottery"] * (simulated.PERIODS >= 4)
    y = made.outcomes["y"] + (first[:, None] <= simulated.PERIODS)
    return replace(
        made,
        outcomes={"y": y},
        first_treated={"dose": first},
        doses={},
        covariates=dict(made.covariates) | {"lottery_post": post},
    )


def dated_by(first: np.ndarray, won: np.ndarray) -> Panel:
    """Return the dated panel with given dates and winners of the lottery."""
    post = np.outer(won, simulated.PERIODS >= 4).astype(float)
    made = with_columns(dated(), lottery_post=post)
    return replace(made, first_treated={"dose": first})


def ask(*instruments: str, **fields: Any) -> Question:
    return Question("y", "dose", instrument=instruments, **({"covariates": ("x",)} | fields))


class Dense(NamedTuple):
    """Unit-periods with dummies for units and periods among the columns of x."""

    y: np.ndarray
    d: np.ndarray
    x: np.ndarray
    z: np.ndarray
    unit: np.ndarray
    period: np.ndarray


def dense(sample: Sample) -> Dense:
    unit, period = np.nonzero(sample.observed)
    dummies = np.column_stack([unit[:, None] == np.unique(unit), period[:, None] == np.unique(period)[1:]])
    x, z = (
        np.column_stack([np.empty((len(unit), 0)), *(block[unit, period] for block in blocks)])
        for blocks in (sample.x_by_period, sample.instruments_by_period)
    )
    treatment = sample.treatment[unit, period]
    return Dense(sample.y[unit, period], treatment, np.column_stack([x, dummies]), z, unit, period)


def by_definition(sample: Sample, method: str, often: np.ndarray | None = None) -> float:
    """Return the coefficient of treatment where clusters are drawn so often, shape (C,), by loops over them."""
    rows = dense(sample)
    cluster = sample.cluster[rows.unit]
    often = np.ones(cluster.max() + 1) if often is None else often
    weight = sample.weights[rows.unit]
    root = np.sqrt(weight * often[cluster])[:, None]

    def left(columns: np.ndarray) -> np.ndarray:
        return columns - rows.x @ np.linalg.lstsq(rows.x * root, columns * root, rcond=None)[0]

    y, d, *z = left(np.column_stack([rows.y, rows.d, rows.z])).T
    moments = np.array(z).T

    def summed(left_side: np.ndarray, right_side: np.ndarray) -> np.ndarray:
        parts = []
        for c in range(cluster.max() + 1):
            own = cluster == c
            parts.append(often[c] * (weight[own, None] * left_side[own]).T @ right_side[own])
        return np.sum(parts, axis=0)

    both = np.column_stack([y, d])
    zz, onto = summed(moments, moments), summed(moments, both)
    inside = onto.T @ np.linalg.solve(zz, onto)
    if method == "2sls":
        return inside[0, 1] / inside[1, 1]
    if method == "liml":
        total = summed(both, both)
        kappa = np.linalg.eigvals(np.linalg.solve(total - inside, total)).real.min()
        kept = total - kappa * (total - inside)
        return kept[0, 1] / kept[1, 1]
    first = inside[0, 1] / inside[1, 1]
    meat = np.zeros(zz.shape)
    for c in range(cluster.max() + 1):
        own = cluster == c
        score = (weight[own] * (y[own] - first * d[own])) @ moments[own]
        meat += often[c] * np.outer(score, score)
    of_y, of_d = np.linalg.solve(meat, onto).T
    return (of_y @ onto[:, 1]) / (of_d @ onto[:, 1])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("weights", [None, "size"])
def test_coefficients_are_those_of_the_definition_with_dummies(
    method: str, gaps: float, weights: str | None
) -> None:
    sample = ask(*TWO, weights=weights, cluster="state").sample(panel(gaps=gaps))
    fit = find_design("iv")(sample, method=method)
    assert fit.effect[0] == pytest.approx(by_definition(sample, method), rel=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("instruments", [TWO, ("push",)])
@pytest.mark.parametrize("weights", [None, "size"])
def test_influence_is_the_derivative_by_how_often_a_cluster_is_drawn(
    method: str, instruments: tuple[str, ...], weights: str | None
) -> None:
    sample = ask(*instruments, weights=weights, cluster="state").sample(panel(gaps=0.1))
    fit = find_design("iv")(sample, method=method)
    sums, step = np.bincount(sample.cluster, weights=fit.influence[:, 0]), 1e-4
    for c in (0, 7, 13):
        up, down = np.ones((2, 20))
        up[c], down[c] = 1 + step, 1 - step
        derivative = sample.n_units * (
            by_definition(sample, method, up) - by_definition(sample, method, down)
        )
        assert sums[c] == pytest.approx(derivative / (2 * step), abs=1e-6 * np.abs(sums).max())


@pytest.mark.parametrize("method", ["2sls", "liml"])
def test_influence_is_the_derivative_by_unit_weights(method: str) -> None:
    sample = ask(*TWO, weights="size").sample(panel(gaps=0.1))
    simulated.check_influence(sample, lambda s: find_design("iv")(s, method=method))


@pytest.mark.parametrize("stage", ["first", "reduced"])
@pytest.mark.parametrize("instrument", ["push", "lottery"])
def test_influence_of_the_stages_is_the_derivative_by_unit_weights(stage: str, instrument: str) -> None:
    sample = ask(instrument, weights="size").sample(dated())
    simulated.check_influence(sample, lambda s: find_design("iv")(s, stage=stage))
    fit = find_design("iv")(sample, stage=stage)
    combined = fit.form.regression()[0].coefficient @ fit.form.combination
    np.testing.assert_allclose(combined, fit.effect_level, rtol=1e-9, atol=1e-9)


def covariances(sample: Sample, method: str) -> dict[str, float]:
    """Return the variances of linearmodels, asked with dummies for units and periods, but for GMM."""
    rows = dense(sample)
    root = np.sqrt(sample.weights[rows.unit])[:, None]
    y, d, x, z = (part.reshape(len(root), -1) * root for part in (rows.y, rows.d, rows.x, rows.z))
    cluster = sample.cluster[rows.unit]
    by = {"cov_type": "clustered", "clusters": cluster}
    how = {"unadjusted": {"cov_type": "unadjusted"}, "robust": {"cov_type": "robust"}, "clustered": by}
    if method == "gmm":  # the covariance of moments of dummies is singular by unit
        y, d, z = (part - x @ np.linalg.lstsq(x, part, rcond=None)[0] for part in (y, d, z))
        model = IVGMM(y, None, d, z, weight_type="clustered", clusters=cluster)
        return {name: model.fit(iter_limit=2, **each).cov.iloc[-1, -1] for name, each in how.items()}
    how["twoway"] = by | {"clusters": np.column_stack([cluster, rows.period])}
    model = {"2sls": IV2SLS, "liml": IVLIML}[method](y, x, d, z)
    return {name: model.fit(**each).cov.iloc[-1, -1] for name, each in how.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("weights", [None, "size"])
def test_named_covariances_are_those_of_linearmodels_with_dummies(method: str, weights: str | None) -> None:
    sample = ask(*TWO, covariates=(), weights=weights, cluster="state").sample(panel(gaps=0.15))
    fit = find_design("iv")(sample, method=method)
    theirs = covariances(sample, method)
    assert list(fit.given) == list(theirs)
    for name, variance in theirs.items():
        assert fit.with_vcov(name).std_error[0] == pytest.approx(np.sqrt(variance), rel=EXACT)
        assert np.isinf(fit.with_vcov(name).degrees_of_freedom).all()


@pytest.mark.parametrize("method", METHODS)
def test_with_one_instrument_every_method_is_the_reduced_form_over_the_first_stage(method: str) -> None:
    sample = ask("push").sample(panel(gaps=0.1))
    design = find_design("iv")
    reduced, first = (design(sample, stage=stage) for stage in ("reduced", "first"))
    fit = design(sample, method=method)
    assert fit.effect[0] == pytest.approx(reduced.effect[0] / first.effect[0], rel=EXACT)
    np.testing.assert_allclose(
        fit.influence[:, 0],
        (reduced.influence[:, 0] - fit.effect[0] * first.influence[:, 0]) / first.effect[0],
        atol=1e-8,
    )
    assert fit.with_vcov("CR0").std_error[0] == pytest.approx(
        fit.with_vcov("clustered").std_error[0], rel=EXACT
    )


def test_with_two_periods_and_a_lottery_it_is_the_wald_ratio_of_changes() -> None:
    rng = np.random.default_rng(3)
    won = rng.random(80) < 0.5
    treated = rng.random(80) < 0.2 + 0.5 * won
    table = pd.DataFrame({"unit": np.repeat(np.arange(80), 2), "year": np.tile([2010, 2011], 80)})
    table["first"] = np.repeat(np.where(treated, 2011.0, np.nan), 2)
    table["won_post"] = np.repeat(won, 2) * (table["year"] == 2011)
    table["y"] = rng.normal(size=160) + 2 * (table["first"] == table["year"])
    made = Panel.from_long(
        table, unit="unit", time="year", first_treated="first", outcomes="y", covariates="won_post"
    )
    fit = estimate(made, Question("y", "first", instrument="won_post"), "iv")
    change = np.diff(table["y"].to_numpy().reshape(80, 2), axis=1)[:, 0]
    wald = (change[won].mean() - change[~won].mean()) / (treated[won].mean() - treated[~won].mean())
    assert fit.effect[0] == pytest.approx(wald, rel=EXACT)


@pytest.mark.parametrize("stage", ["first", "reduced"])
def test_a_fixed_instrument_is_taken_by_period_as_with_dummies(stage: str) -> None:
    sample = ask("lottery", weights="size").sample(dated(gaps=0.1))
    fit = find_design("iv")(sample, stage=stage)
    outcome = (
        sample
        if stage == "reduced"
        else replace(sample, y=np.where(sample.observed, sample.treatment, np.nan))
    )
    rows = dense(outcome)
    by_period = [rows.z[:, 0] * (rows.period == t) for t in range(8) if t != 2]
    x = np.column_stack([*by_period, rows.x])
    root = np.sqrt(sample.weights[rows.unit])
    expected = np.linalg.lstsq(x * root[:, None], rows.y * root, rcond=None)[0]
    np.testing.assert_allclose(fit.effect[~fit.reference], expected[:7], atol=1e-9)
    assert list(fit.event_time) == [-3, -2, -1, 0, 1, 2, 3, 4]
    assert list(fit.event_time[fit.reference]) == [-1]
    assert fit.sample.question.outcome == ("y" if stage == "reduced" else "dose")
    assert "event time 0 is 4." in fit.notes[0]
    assert len(fit.plot().axes[0].get_lines()) > 0
    assert fit.headline.terms == ("treated_average",)


def test_a_fixed_instrument_has_its_value_where_the_outcome_is_seen() -> None:
    made = dated()
    y, lottery = made.outcomes["y"].copy(), made.covariates["lottery"].astype(float)
    y[:20, 0] = np.nan
    other = lottery.copy()
    other[:20, 0] = 1 - other[:20, 0]
    fits = [
        estimate(
            replace(made, outcomes={"y": y}, covariates=dict(made.covariates) | {"lottery": values}),
            ask("lottery"),
            "iv",
            stage="reduced",
        )
        for values in (lottery, other)
    ]
    np.testing.assert_array_equal(*(fit.effect for fit in fits))


def test_the_reduced_form_by_period_says_what_it_is_of() -> None:
    squared = dated()
    squared = replace(squared, outcomes={"y": squared.outcomes["y"] ** 2})
    fit = estimate(squared, ask("lottery", scale="log1p"), "iv", stage="reduced")
    assert fit.notes[0].startswith(
        "What one more of lottery does to log(1 + y), against the last period before"
    )


def test_with_anticipation_the_path_starts_earlier() -> None:
    made = dated()
    fit = estimate(made, ask("lottery", anticipation=1), "iv", stage="first")
    assert fit.event_time[fit.reference] == [-2]
    assert "event time -1 is 3." in fit.notes[0]


def statistic(theta: float, psi_b: np.ndarray, psi_a: np.ndarray, cluster: np.ndarray) -> float:
    """Return the clustered statistic of means of zero, by loops over clusters."""
    scores = psi_b + theta * psi_a
    total, meat = scores.sum(axis=0), np.zeros((scores.shape[1],) * 2)
    for c in np.unique(cluster):
        meat += np.outer(scores[cluster == c].sum(axis=0), scores[cluster == c].sum(axis=0))
    return float(total @ np.linalg.solve(meat, total))


@pytest.mark.parametrize("n_instruments", [2, 3])
@pytest.mark.parametrize("strength", [0.0, 0.15, 0.8])
@pytest.mark.parametrize("apart", [0.0, 3.0])
def test_the_anderson_rubin_set_of_several_instruments_is_where_the_statistic_does_not_reject(
    n_instruments: int, strength: float, apart: float
) -> None:
    rng = np.random.default_rng(7)
    z = rng.normal(size=(120, n_instruments)) * [1000.0, 1.0, 0.01][:n_instruments]
    hidden = rng.normal(size=120)
    d = strength * z @ (1 / np.array([1000.0, 1.0, 0.01][:n_instruments])) + hidden + rng.normal(size=120)
    y = 2 * d + hidden + rng.normal(size=120) + apart * z[:, 1]
    psi_b, psi_a, cluster = z * y[:, None], -z * d[:, None], np.arange(120) % 40
    found = anderson_rubin(psi_b, psi_a, cluster)
    critical = stats.chi2.ppf(0.95, n_instruments)
    for theta in np.concatenate([np.linspace(-20, 20, 161), [-1e5, 1e5]]):
        inside = any(low <= theta <= high for low, high in found)
        assert inside == (statistic(theta, psi_b, psi_a, cluster) <= critical), theta
    assert in_words(found).endswith(".")


def test_sets_of_any_shape_are_said_in_one_sentence() -> None:
    assert "is empty: no one effect agrees" in in_words(())
    assert "is from 1 to 2 and from 3 to 4." in in_words(((1.0, 2.0), (3.0, 4.0)))
    inf = np.inf
    three = in_words(((-inf, 1.0), (2.0, 3.0), (4.0, inf)))
    assert "is everything below 1, from 2 to 3 and everything above 4." in three


DRAWS = searching.samples(100, 400)


@cache
def of_twenty_clusters(seed: int) -> Sample:
    return ask(*TWO, cluster="state").sample(panel(seed=seed))


@pytest.mark.search
@pytest.mark.parametrize("method", METHODS)
def test_intervals_cover_with_strong_instruments_and_twenty_clusters(method: str) -> None:
    covered = 0
    for seed in range(DRAWS):
        covered += covers(find_design("iv")(of_twenty_clusters(seed), method=method), 1.0)
    assert covered >= stats.binom.ppf(0.001, DRAWS, 0.94)


@pytest.mark.search
@pytest.mark.parametrize("clusters", [12, 60])
def test_the_anderson_rubin_set_covers_with_weak_instruments_and_few_clusters(clusters: int) -> None:
    covered = 0
    for seed in range(DRAWS):
        sample = ask(*TWO, covariates=()).sample(panel(clusters, seed, strength=0.02))
        columns = np.stack([sample.treatment, *sample.instruments_by_period], axis=2)
        rows = rows_of(sample, columns, sample.observed)
        accepted = anderson_rubin(rows.z * rows.y[:, None], -rows.z * rows.d[:, None], rows.unit)
        covered += any(low <= 1 <= high for low, high in accepted)
    assert covered >= stats.binom.ppf(0.001, DRAWS, 0.95)


def test_the_influence_counts_that_instruments_move_units_of_other_effects() -> None:
    estimates, errors = [], []
    for seed in range(60):
        rng = np.random.default_rng(1000 + seed)
        made = panel(seed=seed)
        push, pull = (made.covariates[name] for name in TWO)
        amount = 1 + 0.5 * rng.normal(size=(60, 1))
        dose = amount * push + (2 - amount) * pull + rng.normal(size=push.shape)
        y = 4 * amount * push + rng.normal(size=push.shape)  # 4 for each unit of dose by push, 0 by pull
        made = replace(made, outcomes={"y": y}, doses={"dose": dose})
        fit = estimate(made, ask(*TWO, covariates=()), "iv")
        estimates.append(fit.effect[0])
        errors.append([fit.with_vcov(name).std_error[0] for name in ("CR0", "clustered")])
    ours, conventional = np.mean(errors, axis=0) / np.std(estimates)
    assert abs(ours - 1) < 0.2
    assert conventional < 0.85


WEAK = "It is weak (the effective F is below 10)"


def test_notes_say_how_much_the_instruments_move_treatment() -> None:
    strong, weak = (
        " ".join(estimate(panel(strength=strength), ask(*TWO), "iv").notes) for strength in (0.6, 0.02)
    )
    assert "the effective F of push and pull is" in strong
    assert WEAK not in strong
    assert WEAK in weak
    three = with_columns(panel(), third=panel().covariates["push"] ** 2)
    for names, degrees in ((TWO, "1 degree"), ((*TWO, "third"), "2 degrees")):
        agree = estimate(three, ask(*names), "iv", method="gmm").notes[-1]
        said = rf"the instruments agree on the effect: J = (\S+) with {degrees} of freedom \((.*)\)\."
        j, p = re.fullmatch(f"Hansen's test that {said}", agree).groups()
        assert float(p.removeprefix("p = ")) == pytest.approx(
            stats.chi2.sf(float(j), int(degrees[0])), abs=2e-3
        )


def test_gmm_takes_as_many_clusters_as_moments_and_has_no_share_explained() -> None:
    three = replace(panel(), attributes={"state": np.arange(60) % 3})
    fit = estimate(three, ask(*TWO, cluster="state"), "iv", method="gmm")
    assert np.isfinite(fit.effect).all()
    assert np.isnan(fit.r_squared)
    assert "Hansen's test" not in " ".join(estimate(panel(), ask("push"), "iv", method="gmm").notes)


@pytest.mark.parametrize("cluster", [None, "state"])
def test_the_effective_f_of_one_instrument_is_the_squared_t_statistic_of_the_first_stage(
    cluster: str | None,
) -> None:
    made, asked = panel(gaps=0.05), ask("push", cluster=cluster)
    first = estimate(made, asked, "iv", stage="first", vcov="CR1_fixest")
    f = (first.effect[0] / first.std_error[0]) ** 2
    (note,) = (note for note in estimate(made, asked, "iv").notes if note.startswith("First stage"))
    assert note == f"First stage: the effective F of push is {f:.3g} (Montiel Olea and Pflueger 2013)."


def test_where_the_instrument_is_the_treatment_it_is_least_squares() -> None:
    made = panel()
    same = replace(made, covariates=dict(made.covariates) | {"same": made.doses["dose"]})
    fit = estimate(same, ask("same"), "iv")
    assert fit.effect[0] == pytest.approx(estimate(same, ask(), "panel_ols").effect[0], rel=EXACT)
    assert "say exactly who is treated and when" in fit.notes[0]


SAME: dict[str, Any] = {
    "scale": (lambda p: replace(p, outcomes={"y": -1000 * p.outcomes["y"]}), -1000.0),
    "units of the instruments": (lambda p: with_columns(p, push=5 - 1e4 * p.covariates["push"]), 1.0),
    "instruments mixed": (
        lambda p: with_columns(p, pull=p.covariates["pull"] + 2 * p.covariates["push"]),
        1.0,
    ),
    "unit constants": (
        lambda p: with_columns(p, pull=p.covariates["pull"] + 9 * np.arange(60)[:, None]),
        1.0,
    ),
    "period constants": (lambda p: replace(p, outcomes={"y": p.outcomes["y"] + 50 * np.cos(p.periods)}), 1.0),
    "amounts": (lambda p: replace(p, doses={"dose": 3 + p.doses["dose"] / 10}), 10.0),
}


def with_columns(source: Panel, **columns: np.ndarray) -> Panel:
    return replace(source, covariates=dict(source.covariates) | columns)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", SAME)
def test_invariance(method: str, name: str) -> None:
    change, factor = SAME[name]
    ours, theirs = (estimate(p, ask(*TWO), "iv", method=method) for p in (panel(), change(panel())))
    assert theirs.effect[0] == pytest.approx(factor * ours.effect[0], rel=1e-8)
    assert theirs.std_error[0] == pytest.approx(abs(factor) * ours.std_error[0], rel=1e-7)


REFUSED: dict[str, tuple[Any, Question, dict[str, Any], str]] = {
    "no instrument": (panel, ask(), {}, "iv: the question has no instrument; name one with"),
    "fixed": (
        dated,
        ask("lottery"),
        {},
        r"iv: the instrument lottery is fixed within units.*lottery x \(period >= 4\)",
    ),
    "fixed and another": (
        dated,
        ask("lottery", "push"),
        {"stage": "first"},
        "iv: lottery is fixed within units and taken",
    ),
    "always treated": (
        panel,
        ask("lottery"),
        {"stage": "reduced"},
        "some unit is treated in 1, so no period is before",
    ),
    "method of a stage": (
        panel,
        ask("push"),
        {"stage": "first", "method": "liml"},
        'stage="first" is by least squares',
    ),
    "collinear": (
        lambda: with_columns(panel(), double=2 * panel().covariates["push"] + 1),
        ask("push", "double"),
        {},
        "iv: push, double are explained by the fixed effects and the other regressors",
    ),
    "proportional": (
        panel,
        ask("push", scale="proportional"),
        {},
        'iv: it cannot answer a question with scale="prop',
    ),
    "nothing to weigh": (
        lambda: replace(panel(), outcomes={"y": np.zeros((60, 8))}),
        ask(*TWO),
        {"method": "gmm"},
        "iv: unit and period effects explain all of y, so GMM has nothing to weigh moments by",
    ),
    "nothing but periods": (
        lambda: replace(panel(), outcomes={"y": np.tile(np.sin(np.arange(8.0)), (60, 1))}),
        ask(*TWO),
        {"method": "liml"},
        "iv: unit and period effects explain all of y, so LIML has",
    ),
    "nothing but treatment": (
        lambda: replace(panel(), outcomes={"y": 2 * ask(*TWO).sample(panel()).treatment}),
        ask(*TWO),
        {"method": "liml"},
        "iv: linearmodels finds no answer, since",
    ),
    "nothing left": (
        lambda: panel(n=4, gaps=0.5, seed=4),
        ask(*TWO),
        {"method": "liml"},
        "iv: 14 observations leave LIML no degree of freedom",
    ),
    "as often treated": (
        lambda: dated_by(np.where(np.arange(60) % 3 == 0, 4.0, np.nan), np.arange(60) < 21),
        ask("lottery_post", covariates=()),
        {},
        "iv: less fixed effects and covariates, lottery_post and treatment are uncorrelated",
    ),
    "few clusters": (
        lambda: replace(panel(), attributes={"state": np.arange(60) % 2}),
        ask(*TWO, cluster="state"),
        {"method": "gmm"},
        "iv: GMM cannot weigh 3 moments by the covariance of 2 clusters",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_answer_is_refused_in_one_line(name: str) -> None:
    make, question, options, message = REFUSED[name]
    with pytest.raises(QuestionError, match=message):
        estimate(make(), question, "iv", **options)


def test_one_instrument_designs_refuse_several() -> None:
    with pytest.raises(
        QuestionError, match="dml_iv: it cannot answer a question with several instruments; iv can"
    ):
        estimate(dated(), ask("lottery", "push"), "dml_iv")


def lottery_panel(winners: int) -> Panel:
    """Return 60 units of which some win a lottery and are treated, and half of the others are treated anyway."""
    rng = np.random.default_rng(winners)
    won, late = np.arange(60) < winners, np.arange(4) >= 2
    treated = np.outer(won | (np.arange(60) % 2 == 0), late)
    columns = {
        "unit": np.repeat(np.arange(60), 4),
        "year": np.tile(np.arange(2010, 2014), 60),
        "y": (rng.normal(size=(60, 4)) + treated).ravel(),
        "d": treated.ravel().astype(int),
        "lottery": np.repeat(won, 4).astype(float),
        "post": np.outer(won, late).ravel().astype(float),
    }
    return Panel.from_long(
        pd.DataFrame(columns),
        unit="unit",
        time="year",
        outcomes="y",
        treatment="d",
        covariates=["lottery", "post"],
    )


LINEAR = {"learner": "linear", "propensity": "linear", "repetitions": 1}


@pytest.mark.parametrize(
    ("design", "instrument", "options"),
    [
        ("iv", "post", {}),
        ("iv", "post", {"stage": "reduced"}),
        ("dml_iv", "lottery", LINEAR | {"model": "pliv"}),
        ("dml_iv", "lottery", LINEAR),
    ],
)
def test_the_sides_of_a_lottery_are_its_winners_and_losers(design, instrument, options):
    asked = Question("y", "d", instrument=instrument)
    fit = estimate(lottery_panel(3), asked, design, **options)
    won = np.array([int(unit) < 3 for unit in fit.sample.unit_ids])
    h = np.where(won, 1 / 3, 1 / 57)
    expected = np.sqrt(np.sum((fit.influence[:, 0] / (1 - h)) ** 2)) / 60
    np.testing.assert_allclose(fit.std_error[0], expected, rtol=1e-12)
    few = f"{design}: 3 clusters that {instrument} moves and 57 others carry the variance of"
    assert fit.notes[-1].startswith(few)
    assert fit.notes[-1].endswith("on a side the interval need not hold its level.")
    of_nine = estimate(lottery_panel(9), asked, design, **options)
    assert not any("carry" in note for note in of_nine.notes)
    told = of_nine.with_vcov("CR0").notes[-1]
    size = 2 * stats.t.sf(stats.norm.ppf(0.975), 8)  # of 9 winners, though 35 are treated
    assert told.startswith(
        f"{design}: of 60 clusters {instrument} moves 9, and the average's variance rests on"
    )
    assert told.endswith(f'in at least about {size:.0%} of samples, so use vcov="jackknife".')


def test_few_losers_are_warned_of_as_few_winners_are():
    fit = estimate(lottery_panel(53), Question("y", "d", instrument="post"), "iv", vcov="CR1")
    assert f"in at least about {2 * stats.t.sf(stats.norm.ppf(0.975), 6):.0%} of samples" in fit.notes[-1]


def test_an_estimate_by_an_instrument_without_a_variance_names_no_test_that_is_refused():
    made = lottery_panel(9)
    flat = replace(made, outcomes={"y": np.zeros(made.outcomes["y"].shape)})
    fit = estimate(flat, Question("y", "d", instrument="post"), "iv", vcov="CR0")
    assert fit.notes[-1].endswith("that can be estimated (of 60 clusters post moves 9).")


@pytest.mark.parametrize("test", [randomization, few_treated])
def test_dates_are_not_permuted_where_the_instrument_is_what_is_random(test):
    sample = Question("y", "d", instrument="post").sample(lottery_panel(9))
    with pytest.raises(QuestionError, match="with an instrument post is as good as random and treatment"):
        test(sample, "iv")
    found = uncertainty(sample, "iv", draws=99)
    assert found["randomization"] is None
    assert any(label == RANDOMIZATION and "as good as random" in why for label, why in found["refused"])


def test_a_first_stage_of_winners_who_are_all_treated_has_its_standard_error():
    fit = estimate(lottery_panel(9), Question("y", "d", instrument="post"), "iv", stage="first")
    assert np.isfinite(fit.std_error[0])


def test_several_instruments_have_the_sides_of_the_treated():
    assert estimate(dated(), ask("lottery_post"), "iv").contrast.group is not None
    assert estimate(dated(), ask("lottery_post", "push"), "iv").contrast.group is None


def test_a_lottery_moves_at_one_date_or_never():
    seen = np.ones((4, 3), dtype=bool)
    always, at_second, at_third, never = [1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]

    def won(*rows: list[int]) -> list[int] | None:
        sides = lottery_sides(np.array(rows, dtype=float), seen, 1)
        return sides.group.tolist() if sides else None

    assert won(always, always, never, never) == [1, 1, 0, 0]
    assert won(always, at_second, at_second, never) == [0, 1, 1, 0]
    assert won(at_second, at_third, never, never) is None  # by stages, between which winners are losers
    assert won(at_second, at_second, at_second, at_second) is None
    assert won([2, 2, 2], always, never, never) is None
