"""A calibrated process has the parameters of the process that drew the panel, or its panel is refused in one line."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import gamma, nbinom
from statsmodels.duration.hazard_regression import PHReg

from study import Panel, Question, QuestionError, calibrate, calibration
from study.simulate.calibrate import LARGEST, Adoption, _cells, level_outcome, moments, moments_of
from study.simulate.process import Family, Process
from study.simulate.untreated_cells import (
    RESOLVED,
    Cells,
    Dials,
    Level,
    _count_sizes,
    _expected_zeros,
    fit,
    gamma_of,
    level_of,
)

PERIODS = np.arange(2001, 2011)
GROWTH = 3 * np.linspace(0, 1, len(PERIODS)) ** 1.5
QUESTION = Question("y", "event")


def dated(n: int, share: float = 0.25) -> Panel:
    """Return a panel of which only who adopts when is of interest."""
    first = np.full(n, np.nan)
    treated = int(share * n)
    first[:treated] = np.resize([2004, 2006, 2007, 2009], treated)
    rng, across = np.random.default_rng(5), np.ones(len(PERIODS))
    return Panel(
        name="drawn",
        units=np.array([f"u{i:05d}" for i in range(n)]),
        periods=PERIODS,
        outcomes={"y": np.outer(np.arange(n), across) % 3},
        covariates={
            "weight": np.outer(rng.uniform(0.5, 2, n), across),
            "z": np.outer(rng.normal(size=n), across),
        },
        first_treated={"event": first},
        treatment={},
        attributes={
            "state": np.array(["", *"abc"])[np.arange(n) % 4],
            "name": np.array([f"n{i}" for i in range(n)]),
        },
    )


def drawing(
    n: int, family: Family = "count", hazard: tuple[float, float] = (0.5, 0.5), **dials: float
) -> Process:
    """Return a process whose sizes have mean 2 and standard deviation 2, or 5 and 1."""
    size = np.full((2, n), [[1.0], [0.5]] if family == "count" else [[5.0], [1.0]])
    growth, mean = (GROWTH, 2.0) if family == "count" else (GROWTH / 3, 5.0)
    sample = QUESTION.sample(dated(n))
    return Process(sample, family, size, growth, mean, 1.0, np.array(hazard), {"selection": 1.0, **dials})


def drawn(process: Process, seed: int = 0) -> Panel:
    draw, panel = process.draw(np.random.default_rng(seed)), process.sample.panel
    return replace(panel, outcomes={"y": draw.y}, first_treated={"event": draw.first_treated})


def treated_in(first: np.ndarray) -> np.ndarray:
    return np.subtract.outer(PERIODS, first).T >= 0


@cache
def example() -> tuple[Panel, Process]:
    panel = drawn(drawing(400, size_growth=1.0, shocks=0.5, persistence=0.6))
    return panel, calibrate(panel, QUESTION)


# Truth, and how far from it estimates may be: about four standard deviations over seeds.
COUNTS = {
    "parallel in levels": (
        {"size_growth": 0.0},
        {"size_growth": 0.2, "factor": 0.2, "shocks": 0.2, "zeros": 0.05},
    ),
    "parallel in proportion": ({"size_growth": 1.0}, {"size_growth": 0.2, "factor": 0.3, "shocks": 0.2}),
    "between both": ({"size_growth": 0.5}, {"size_growth": 0.25, "factor": 0.25, "zeros": 0.05}),
    "shocks": (
        {"size_growth": 1.0, "shocks": 0.6, "persistence": 0.5},
        {"shocks": 0.2, "persistence": 0.25, "zeros": 0.06},
    ),
    "factor": ({"size_growth": 1.0, "factor": 0.8}, {"factor": 0.3, "size_growth": 0.3}),
    "zeros": ({"size_growth": 1.0, "zeros": 0.25}, {"zeros": 0.06, "shocks": 0.25}),
}
CONTINUOUS = {
    "shocks": ({"shocks": 0.5}, {"shocks": 0.06, "persistence": 0.1, "size_growth": 0.1, "factor": 0.2}),
    "persistent shocks": ({"shocks": 1.0, "persistence": 0.7}, {"shocks": 0.1, "persistence": 0.1}),
    "size growth": ({"shocks": 0.5, "size_growth": 0.5}, {"size_growth": 0.2, "shocks": 0.06}),
    "factor": ({"shocks": 0.5, "factor": 1.0}, {"factor": 0.2, "shocks": 0.1, "size_growth": 0.15}),
}
CASES = [("count", *case) for case in COUNTS.values()] + [
    ("continuous", *case) for case in CONTINUOUS.values()
]
NAMES = [*(f"count, {name}" for name in COUNTS), *(f"continuous, {name}" for name in CONTINUOUS)]


@pytest.mark.parametrize(("family", "dials", "tolerance"), CASES, ids=NAMES)
def test_dials_and_growth_are_recovered(
    family: Family, dials: dict[str, float], tolerance: dict[str, float]
) -> None:
    process = drawing(1500, family, **dials)
    panel = drawn(process)
    sample = QUESTION.sample(panel)
    cells = Cells(sample.y, Adoption.of(sample).untreated, sample.weights, family)
    found = fit(cells)
    unit = cells.spread if family == "continuous" else 1.0
    for name, most in tolerance.items():
        in_units = unit if name in ("factor", "shocks") else 1.0
        assert found.dials[name] * in_units == pytest.approx(process.dials[name], abs=most), name
    assert found.mean_size == pytest.approx(process.mean_size, rel=0.1)
    np.testing.assert_allclose(found.growth, process.growth, atol=0.12 * process.growth.max())
    of_sizes = np.sqrt(found.sizes.mean.var() + found.sizes.variance.mean())
    assert of_sizes == pytest.approx(2.0 if family == "count" else 1.0, rel=0.2)


@pytest.mark.parametrize("family", ["count", "continuous"])
def test_squares_of_sizes_are_unbiased_however_little_is_known_of_each(family: Family) -> None:
    """With counts of 0.1 a period, and shocks twice as large as sizes differ, noise is most of what is seen."""
    process = drawing(
        4000,
        family,
        size_growth=1.0 if family == "count" else 0.0,
        shocks=2.0 if family == "continuous" else 0.0,
    )
    if family == "count":
        process = replace(process, size=process.size * [[1.0], [20.0]], growth=GROWTH / 20, mean_size=0.1)
    sample = QUESTION.sample(drawn(process))
    cells = Cells(sample.y, Adoption.of(sample).untreated, sample.weights, family)
    start = process.mean_size + process.growth
    if family == "count":
        level, variance = level_of(cells, Dials(1.0, 0.0, 0.0, 0.5, 1.0), start), 0.01
    else:
        dials = Dials(0.0, 0.0, 4 / cells.spread**2, 0.0, 1 / cells.spread**2)
        level, variance = level_of(cells, dials, start), 1.0
    assert level.square.mean() - level.size.mean() ** 2 == pytest.approx(variance, rel=0.2)


def few_counts(n: int = 24) -> tuple[Cells, Level, Dials, np.ndarray, np.ndarray]:
    """Return cells with gaps and weights, a level, dials, and what sizes are multiplied by and what is added."""
    rng, growth, mean = np.random.default_rng(0), np.array([0, 0.5, 1, 3.0]), 3.0
    size = rng.gamma(1.0, mean, n)
    y = rng.poisson(size[:, None] + growth).astype(float)
    cells = Cells(y, rng.random(y.shape) < 0.7, rng.uniform(0.5, 2, n), "count")
    dials = Dials(0.5, 0.1, 0.1, 0.5, 1.0, 0.05)
    return cells, Level(growth, mean, size, size**2), dials, 1 + growth / 6, growth / 2


def test_sizes_are_those_of_the_posterior_by_quadrature() -> None:
    cells, level, dials, slope, added = few_counts()
    lag, tau = np.abs(np.subtract.outer(range(4), range(4))), np.linspace(0, 1, 4)
    moved = np.exp(0.1 * np.outer(tau, tau) + 0.1 * 0.5**lag) / np.where(lag == 0, 0.95, 1.0) - 1
    size = np.exp(np.linspace(np.log(1e-4), np.log(60), 300))
    nodes, share = np.polynomial.hermite_e.hermegauss(20)
    likelihood = []
    for y, seen in zip(cells.y, cells.untreated, strict=True):
        path, total = (3 + level.growth) * seen, y[seen].sum()
        variance = np.log1p(path @ moved @ path / max(path.sum(), 1e-9) ** 2)
        index = np.exp(np.sqrt(variance) * nodes - variance / 2)
        mean = np.maximum((size * (slope @ seen) + added @ seen)[:, None] * index, 1e-12)
        likelihood.append(nbinom.pmf(total, 1 / RESOLVED, 1 / (1 + RESOLVED * mean)) @ share)

    def posterior(shape: float) -> np.ndarray:
        return np.array(likelihood) * gamma.pdf(size, shape, scale=3 / shape) * size

    def unlikely(log_shape: float) -> float:
        return -float(cells.weights @ np.log(posterior(np.exp(log_shape)).sum(axis=1)))

    best = posterior(np.exp(minimize_scalar(unlikely, bounds=(-3, 4), method="bounded").x))
    first, second = (best @ size**k / best.sum(axis=1) for k in (1, 2))
    scale = 3 / np.average(first, weights=cells.weights)
    found = _count_sizes(cells, level, dials)
    np.testing.assert_allclose(found.mean, scale * first, rtol=0.03)
    np.testing.assert_allclose(found.variance, scale**2 * (second - first**2), rtol=0.06)


def test_as_many_zeros_are_expected_as_quadrature_finds() -> None:
    cells, level, dials, slope, added = few_counts()
    (shape, rate), expected = gamma_of(_count_sizes(cells, level, dials)), []
    nodes, share = np.polynomial.hermite_e.hermegauss(30)
    for i, t in zip(*np.nonzero(cells.untreated), strict=True):
        size = gamma.ppf((np.arange(200) + 0.5) / 200, shape[i], scale=1 / rate[i])
        variance = 0.1 + 0.1 * (t / 3) ** 2
        index = np.exp(np.sqrt(variance) * nodes - variance / 2) / 0.95
        none = np.exp(-np.outer(slope[t] * size + added[t], index))
        expected.append(none.mean(axis=0) @ share / share.sum())
    assert _expected_zeros(cells, level, dials) == pytest.approx(np.mean(expected), rel=1e-3)


def test_who_adopts_does_not_bias_growth() -> None:
    """All the largest adopt early, so that the mean of those who are left falls below that of all."""
    process = drawing(1500, hazard=(3.0, 0.0), size_growth=1.0, shocks=0.4, persistence=0.5)
    sample = QUESTION.sample(drawn(process))
    cells = Cells(sample.y, Adoption.of(sample).untreated, sample.weights, "count")
    assert cells.means[-1] < 0.6 * (process.mean_size + process.growth[-1])
    np.testing.assert_allclose(fit(cells).growth, process.growth, atol=0.12 * process.growth.max())


def test_the_hazard_finds_adopters_as_large_and_as_fast_as_the_real_ones() -> None:
    process = example()[1]
    found = calibration(process, draws=40, seed=9)
    frame = found.frame.set_index("moment")
    for name in ("adopters' mean over that of all", "adopters' growth less that of all"):
        row = frame.loc[name]
        assert row["targeted"]
        assert abs(row["simulated"] - row["panel"]) < max(0.1 * abs(row["panel"]), 5 * row["mc_error"])
    assert process.hazard[0] > 0.2
    assert process.hazard[1] > 0.1
    assert (found["hazard"] > 0).all()
    assert (found["hazard_std_error"] > 0).all()


def test_adopters_are_as_large_where_little_is_known_of_sizes() -> None:
    """Sizes that are known with error make the fitted hazard too flat; it is moved."""
    sparse = drawing(1000, hazard=(1.0, 0.0), size_growth=1.0)
    sparse = replace(sparse, size=np.full((2, 1000), [[0.5], [5.0]]), growth=GROWTH / 20, mean_size=0.1)
    found = calibration(calibrate(drawn(sparse, 2), QUESTION), draws=40, seed=9)
    row = found.frame.set_index("moment").loc["adopters' mean over that of all"]
    assert abs(row["simulated"] - row["panel"]) < 4 * row["mc_error"] + 0.05
    assert abs(found["moved"][0] - found["hazard"][0]) > 0.1


def test_the_hazard_is_that_of_a_cox_regression_among_those_not_yet_treated() -> None:
    panel = drawn(drawing(300, "continuous", hazard=(1.0, 0.5), shocks=0.5))
    process = calibrate(panel, QUESTION)
    finding, first, y = calibration(process, draws=2), panel.first_treated["event"], panel.outcomes["y"]
    size = (process.size[0] - process.size[0].mean()) / process.size[0].std()
    rows = []
    for date in (2004, 2006, 2007, 2009):
        t = date - 2001
        growth = (y[:, t - 1] - y[:, t - 3]) / process.spread
        rows += [(size[i], growth[i], first[i] == date, date) for i in np.flatnonzero(~(first < date))]
    table = np.array(rows)
    peer = PHReg(
        np.ones(len(table)), table[:, :2], status=table[:, 2], strata=table[:, 3], ties="breslow"
    ).fit()
    np.testing.assert_allclose(finding["hazard"], peer.params, atol=0.01)
    np.testing.assert_allclose(finding["hazard_std_error"], peer.bse, rtol=0.01)


@pytest.mark.parametrize("scale", [1e-9, 1.0])
def test_outcomes_are_themselves_after_their_logarithm(scale: float) -> None:
    panel = example()[0]
    y = scale * panel.outcomes["y"]
    sample = QUESTION.replace(scale="log1p").sample(replace(panel, outcomes={"y": y}))
    there = y[panel.rows_of(sample.unit_ids)]
    np.testing.assert_allclose(level_outcome(sample), there[:, : len(sample.periods)], rtol=1e-12)


def test_adopters_are_as_large_in_logs_where_the_question_is() -> None:
    panel, levels = example()
    logs = calibrate(panel, QUESTION.replace(scale="log1p"))
    assert logs.dials == levels.dials
    frame = calibration(logs, draws=40, seed=9).frame.set_index("moment")
    row = frame.loc["adopters' log(1 + y) less that of all"]
    assert row["targeted"]
    assert row["simulated"] == pytest.approx(row["panel"], abs=5 * row["mc_error"] + 0.02)


def test_a_calibration_shows_each_moment_of_the_panel_beside_those_simulated() -> None:
    panel, process = example()
    finding = calibration(process, draws=20)
    assert list(finding.frame.columns) == ["moment", "panel", "simulated", "mc_error", "spread", "targeted"]
    frame = finding.frame.set_index("moment")
    y, first = panel.outcomes["y"], panel.first_treated["event"]
    untreated = ~treated_in(first)
    assert frame.loc["mean, 2008", "panel"] == pytest.approx(y[untreated[:, 7], 7].mean())
    assert frame.loc["share of zeros", "panel"] == pytest.approx((y[untreated] == 0).mean())
    assert frame.loc["treated from 2006 on", "panel"] == (first == 2006).sum()
    assert frame.loc["treated from 2006 on", "spread"] == 0
    change = (np.log1p(y[:, 9]) - np.log1p(y[:, 0]))[untreated[:, 9]]
    assert frame.loc["variance of log change, 9 periods", "panel"] == pytest.approx(change.var())
    at = [(i, int(date) - 2002) for i, date in enumerate(first) if date == date]
    ratio = sum(y[i, t] for i, t in at) / sum(y[untreated[:, t], t].mean() for _, t in at)
    assert frame.loc["adopters' mean over that of all", "panel"] == pytest.approx(ratio)
    draws = [
        moments_of(process, process.draw(np.random.default_rng(s)))
        for s in np.random.SeedSequence(0).spawn(20)
    ]
    zeros = np.array([draw["share of zeros"].value for draw in draws])
    row = frame.loc["share of zeros"]
    assert row["simulated"] == pytest.approx(zeros.mean())
    assert row["mc_error"] == pytest.approx(zeros.std(ddof=1) / np.sqrt(20))
    assert not finding["unmet"]
    assert finding.verdict.startswith(f"Simulated panels have {frame['targeted'].sum()} of the")
    assert finding.plot().axes


@pytest.mark.parametrize(("moved", "family"), [(0.0, "count"), (-1.0, "continuous"), (0.5, "continuous")])
def test_counts_are_whole_and_none_is_negative(moved: float, family: Family) -> None:
    panel = dated(40)
    sample = QUESTION.sample(replace(panel, outcomes={"y": panel.outcomes["y"] + moved}))
    assert _cells(sample).family == family


@pytest.mark.parametrize("unseen", [[], [2]], ids=["all seen", "a period of nobody"])
@pytest.mark.parametrize("family", ["count", "continuous"])
def test_moments_are_those_of_loops_over_units_and_periods(family: Family, unseen: list[int]) -> None:
    rng, n, last, count = np.random.default_rng(0), 60, 6, family == "count"
    start = np.resize([-1, -1, 0, 1, 3, 4, 5, 7], n)
    untreated = np.arange(last) < np.where(start < 0, last, start)[:, None]
    y = rng.poisson(2.0, (n, last)).astype(float) if count else rng.normal(size=(n, last))
    y[rng.random(y.shape) < 0.2], w = np.nan, rng.uniform(0.5, 2.0, n)
    y[:, unseen] = np.nan
    seen, spread = untreated & ~np.isnan(y), 3.0
    names = [f"t{t}" for t in range(last)]
    found = moments(Cells(y, seen, w, family), Adoption(start, untreated), names, spread, logs=True)

    def mean(values: Any, rows: Any) -> float:
        return float(np.average(np.asarray(values)[rows], weights=w[rows])) if np.any(rows) else np.nan

    def total(values: np.ndarray) -> float:
        return float(np.nansum(w[:, None] * values))

    y = np.where(seen, y, np.nan)
    means = np.array([mean(y[:, t], seen[:, t]) for t in range(last)])
    log = np.log1p(y) if count else y
    log_means = np.array([mean(log[:, t], seen[:, t]) for t in range(last)])
    sd = np.sqrt(total((y - means) ** 2) / total(seen))
    expected = {f"mean, t{t}": m for t, m in enumerate(means)} | {"standard deviation": sd}

    def of(t: int, s: int) -> float:
        rows = seen[:, t] & seen[:, s]
        one, other = mean(y[:, t], rows), mean(y[:, s], rows)
        product = mean(y[:, t] * (y[:, s] - (count and t == s)), rows)
        return product / (one * other) if count else (product - one * other) / sd**2

    pairs = {(t, s): of(t, s) for t in range(last) for s in range(last)}
    for part, inside in {
        "same period": lambda t, s: t == s,
        "adjacent": lambda t, s: abs(t - s) == 1,
        "distant": lambda t, s: abs(t - s) >= 4,
        "first half": lambda t, s: abs(t - s) <= 1 and t + s < last,
        "second half": lambda t, s: abs(t - s) <= 1 and t + s >= last,
    }.items():
        of_part = np.nanmean([value for pair, value in pairs.items() if inside(*pair)])
        expected[f"{'products over means' if count else 'covariance over variance'}, {part}"] = of_part
    left = y - means
    if count:
        expected["share of zeros"] = np.mean(y[seen] == 0)
        path = np.where(seen, means, np.nan)
        model = path * (np.nansum(y, axis=1) / np.maximum(np.nansum(path, axis=1), 1e-9))[:, None]
        expected["variance within units over mean"] = total((y - model) ** 2) / total(model)
        left = (y - model) / np.sqrt(np.where(model > 0, model, 1.0))
    else:
        left = left - (np.nansum(left, axis=1) / np.maximum(seen.sum(axis=1), 1))[:, None]
        expected["standard deviation within units"] = np.sqrt(total(left**2) / total(seen))
    for lag in (1, 2, 3):
        lead, lagged = left[:, lag:], left[:, :-lag]
        both = np.where(np.isnan(lead + lagged), np.nan, 1.0)
        size = np.sqrt(total(both * lead**2) * total(both * lagged**2))
        expected[f"autocorrelation within, lag {lag}"] = total(lead * lagged) / size
    for lag, words in ((1, "1 period"), (3, "3 periods"), (5, "5 periods")):
        change = log[:, lag:] - log[:, :-lag]
        rows = ~np.isnan(change)
        for t in range(last - lag):
            change[:, t] -= mean(change[:, t], rows[:, t])
        what = "log change" if count else "change"
        expected[f"variance of {what}, {words}"] = total(change**2) / total(rows)
    at = [(i, g - 1) for i, g in enumerate(start) if 0 < g < last and seen[i, g - 1]]
    units, before = map(list, zip(*at, strict=True))
    if count:
        largest = np.sort(y[units, before])[-LARGEST:].sum() / y[units, before].sum()
        expected[f"share of the {LARGEST} largest adopters"] = largest
        expected["adopters' mean over that of all"] = w[units] @ y[units, before] / (w[units] @ means[before])
        more = np.average(log[units, before] - log_means[before], weights=w[units])
        expected["adopters' log(1 + y) less that of all"] = more
    else:
        more = np.average(y[units, before] - means[before], weights=w[units]) / spread
        expected["adopters' mean less that of all, in sd"] = more
    growth = []
    for g in (3, 4, 5):
        change = (log[:, g - 1] - log[:, g - 3]) / (1 if count else spread)
        known = ~np.isnan(change)
        growth += [(w[i], change[i] - mean(change, known)) for i in np.flatnonzero(known & (start == g))]
    share, change = np.transpose(growth)
    expected["adopters' growth less that of all"] = np.average(change, weights=share)
    expected |= {f"treated from t{t} on": (start == t).sum() for t in (0, 1, 3, 4, 5)}
    assert {name: moment.value for name, moment in found.items()} == pytest.approx(expected, nan_ok=True)
    targeted = {name for name, moment in found.items() if moment.targeted}
    assert not {name for name in targeted if "within" in name or "change" in name or "treated from" in name}


def test_the_same_panel_has_the_same_process() -> None:
    panel, process = example()
    again = calibrate(panel, QUESTION)
    assert again.dials == process.dials
    for name in ("size", "growth", "hazard"):
        np.testing.assert_array_equal(getattr(again, name), getattr(process, name))


def test_the_order_of_units_does_not_matter() -> None:
    process = drawing(300, size_growth=1.0, shocks=0.5)
    sample = QUESTION.sample(drawn(process))
    cells = Cells(sample.y, Adoption.of(sample).untreated, np.linspace(0.5, 1.5, 300), "count")
    order = np.random.default_rng(1).permutation(300)
    other = Cells(cells.y[order], cells.untreated[order], cells.weights[order], "count")
    one, two = fit(cells), fit(other)
    np.testing.assert_allclose(two.sizes.mean, one.sizes.mean[order], rtol=1e-3)
    np.testing.assert_allclose(two.growth, one.growth, rtol=1e-3, atol=1e-6)
    assert two.dials == pytest.approx(one.dials, abs=2e-3)


def test_an_effect_of_treatment_does_not_enter() -> None:
    panel, process = example()
    treated = treated_in(panel.first_treated["event"])
    moved = replace(
        panel, outcomes={"y": np.where(treated, 7 * panel.outcomes["y"] + 100, panel.outcomes["y"])}
    )
    other = calibrate(moved, QUESTION)
    assert other.dials == process.dials
    np.testing.assert_array_equal(other.size, process.size)
    np.testing.assert_array_equal(other.hazard, process.hazard)


def test_anticipation_ends_what_is_fitted() -> None:
    panel, _ = example()
    before = panel.first_treated["event"][:, None] - PERIODS == 1
    moved = replace(panel, outcomes={"y": np.where(before, 1000.0, panel.outcomes["y"])})
    question = QUESTION.replace(anticipation=1)
    assert fitted(moved, question).dials == fitted(panel, question).dials


def test_adopters_have_grown_by_the_hazard_before_what_they_anticipate() -> None:
    growth = []
    for anticipation in (0, 1, 2):
        sample = QUESTION.replace(anticipation=anticipation).sample(dated(1500))
        process = replace(drawing(1500, hazard=(0.0, 1.5), shocks=0.5), sample=sample)
        draws = (process.draw(np.random.default_rng(seed)) for seed in range(3))
        growth.append([moments_of(process, d)["adopters' growth less that of all"].value for d in draws])
    assert np.mean(growth[0]) > 0.5
    np.testing.assert_allclose(np.mean(growth, axis=1), np.mean(growth[0]), rtol=0.25)


def fitted(panel: Panel, question: Question = QUESTION) -> Any:
    sample = question.sample(panel)
    untreated = sample.observed & Adoption.of(sample).untreated
    return fit(Cells(sample.y, untreated, sample.weights, "count"))


def test_gaps_are_as_observed_and_do_not_move_what_is_fitted_far() -> None:
    panel = drawn(drawing(1500, size_growth=1.0, shocks=0.5, persistence=0.5))
    y = panel.outcomes["y"].copy()
    y[np.random.default_rng(3).random(y.shape) < 0.2] = np.nan
    y[:, 4] = np.nan
    gaps = fitted(replace(panel, outcomes={"y": y}))
    np.testing.assert_allclose(gaps.growth, GROWTH, atol=0.15 * GROWTH.max())
    assert gaps.dials["shocks"] == pytest.approx(0.5, abs=0.2)
    assert gaps.dials["size_growth"] == pytest.approx(1.0, abs=0.2)


def test_who_is_never_seen_untreated_says_nothing_of_growth() -> None:
    panel = drawn(drawing(400, size_growth=1.0))
    first, y = panel.first_treated["event"], panel.outcomes["y"].copy()
    y[(first == 2009)[:, None] & ~treated_in(first)] = np.nan
    hidden = replace(panel, outcomes={"y": y})
    without = replace(panel, first_treated={"event": np.where(first == 2009, 2001, first)})
    np.testing.assert_allclose(fitted(hidden).growth, fitted(without).growth, rtol=1e-4)


def test_a_panel_with_gaps_is_simulated_with_the_same_gaps() -> None:
    panel, _ = example()
    y = panel.outcomes["y"].copy()
    y[::3, 5] = np.nan
    process = calibrate(replace(panel, outcomes={"y": y}), QUESTION)
    draw = process.draw(np.random.default_rng(0))
    np.testing.assert_array_equal(np.isnan(draw.y), np.isnan(y))


def test_growth_is_weighted_as_the_sample_is() -> None:
    panel, _ = example()
    question = QUESTION.replace(weights="weight")
    process = calibrate(panel, question)
    sample = question.sample(panel)
    first = sample.weights @ sample.y[:, 0] / sample.weights.sum()
    simulated = calibration(process, draws=60).frame.set_index("moment")
    assert simulated.loc["mean, 2001", "panel"] == pytest.approx(first)
    row = simulated.loc["mean, 2010"]
    assert row["simulated"] == pytest.approx(row["panel"], abs=5 * row["mc_error"] + 0.05 * row["panel"])


def test_a_continuous_outcome_and_a_path_are_calibrated() -> None:
    panel = drawn(drawing(300, "continuous", shocks=0.5))
    first = panel.first_treated["event"]
    path = (treated_in(first) & ~treated_in(first + 2)).astype(float)
    switched = replace(panel, first_treated={}, treatment={"event": path})
    process = calibrate(switched, QUESTION)
    assert process.family == "continuous"
    assert process.dials["shocks"] * process.spread == pytest.approx(0.5, abs=0.1)
    assert process.draw(np.random.default_rng(0)).path is not None


def test_neighbours_are_those_with_the_same_label() -> None:
    panel, _ = example()
    process = calibrate(panel, QUESTION, neighbours="state")
    group, state = process.neighbours, panel.attributes["state"]
    assert group is not None
    for label in "abc":
        assert len(np.unique(group[state == label])) == 1
    assert len(np.unique(group)) == 3 + (state == "").sum()


def refused(panel: Panel, question: Question = QUESTION, **options: Any) -> str:
    with pytest.raises(QuestionError) as error:
        calibrate(panel, question, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_what_is_not_identified_is_refused_in_one_line() -> None:
    panel, first = dated(40), np.full(40, np.nan)
    first[:20] = 2002
    y = panel.outcomes["y"]
    assert "one period before" in refused(replace(panel, first_treated={"event": first}))
    assert "nobody" in refused(replace(panel, first_treated={"event": np.full(40, np.nan)}))
    assert "y is 0 in every" in refused(replace(panel, outcomes={"y": 0 * y}))
    assert "y is 3 in every" in refused(replace(panel, outcomes={"y": 0 * y + 3}))
    first[:20] = 2011
    late = refused(replace(panel, first_treated={"event": first}), QUESTION.replace(anticipation=1))
    assert "but for anticipation" in late
    first[:39] = 2005
    few = refused(replace(panel, first_treated={"event": first}))
    assert "untreated units that are observed in 2005 are 1" in few
    assert "instrument z" in refused(panel, QUESTION.replace(instrument="z"))
    assert "group state=a" in refused(panel, QUESTION.replace(group="state=a"))
    assert 'no attribute "stat"' in refused(panel, neighbours="stat")
    assert "log1p" in refused(replace(panel, outcomes={"y": y + 0.5}), QUESTION.replace(scale="log1p"))


def test_a_moment_that_no_process_has_is_refused_by_name_with_both_values() -> None:
    """Counts of equal units that vary less than Poisson counts do."""
    panel = dated(400)
    even = replace(panel, outcomes={"y": 5.0 + (np.indices((400, len(PERIODS))).sum(axis=0) % 2)})
    message = refused(even)
    assert "products over means, same period: 0.8" in message
    assert "simulated panels" in message
