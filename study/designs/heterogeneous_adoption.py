"""Heterogeneous adoption without untreated units: de Chaisemartin, Ciccia, D'Haultfoeuille and Knau (2025).

The intercept is that of a local polynomial regression at zero, the lower end of the dose. Its bandwidth is the one at
which the asymptotic mean squared error of the local linear intercept is least, with plug-in pilots as in Calonico,
Cattaneo and Farrell (2019), Section 2.3. Estimating the bias of that intercept with the same bandwidth and taking it
off gives the intercept of the local quadratic regression (Calonico, Cattaneo and Farrell 2018).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtr

from study.core import (
    BoolArray,
    FloatArray,
    Influence,
    IntArray,
    QuestionError,
    Unidentified,
    counted,
    p_is,
    solvable,
    sums_by,
)
from study.designs import Assumes, Estimand, Sample, Supports, all_designs, design
from study.designs.did_cells import refuse_no_effect
from study.estimates import TIE, Contrast, Estimate, LeftOut, coefficients

Dose = Literal["current", "cumulative"]
Trends = Literal["common", "linear"]
KernelName = Literal["epanechnikov", "triangular", "uniform", "gaussian"]
SIZE = 0.05
MATCHES = 3
# The fewest rows that a bandwidth may hold, and how often the variance of a derivative is added to its square.
FEWEST = 21
REGULARISED = 3.0
COLLINEAR = 1e-10


@design(
    title="Heterogeneous adoption without untreated units (de Chaisemartin, Ciccia, D'Haultfoeuille and Knau)",
    reference="dechaisemartin2025",
    estimand=Estimand.EVENT_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION, Assumes.QUASI_UNTREATED),
    supports=(
        Supports.DOSE_PATH,
        Supports.LEVELS,
        Supports.SWITCHING,
        Supports.MISSING_CELLS,
        Supports.CLUSTERS,
    ),
)
def heterogeneous_adoption(
    sample: Sample,
    *,
    kernel: KernelName = "epanechnikov",
    dose: Dose = "current",
    trends: Trends = "common",
    variance: Literal["sampling", "robust"] = "sampling",
) -> Estimate:
    """Compare the changes of all units with those of units whose dose is close to zero.

    All units get a dose from one period F on. With dy the change since F-1 and D the dose, the weighted average slope
    is [mean(dy) - m(0)] / mean(D), where m(0), the mean change at dose zero, is the intercept of a local linear
    regression of dy on D less its estimated bias. It is the effect per unit of dose, averaged with doses as weights.

    Parameters
    ----------
    sample : Sample
        The event is a dose that is zero for every unit before F and positive from F on.
    kernel : {"epanechnikov", "triangular", "uniform", "gaussian"}
    dose : {"current", "cumulative"}
        What dose an effect is of: that of its period, or the sum of all since F, for outcomes that past doses move too.
    trends : {"common", "linear"}
        "linear" takes out each unit's change from F-2 to F-1, times the periods since F-1.
    variance : {"sampling", "robust"}
        "robust" is the error of m(0) alone, robust to bias and with residuals from nearest neighbours, as nprobust and
        DIDHAD report it; it leaves out that mean(dy) and mean(D) vary, which matters where effects differ.

    Returns
    -------
    Estimate
        One term for each event time, ascending, the reference among them, each bias-corrected, so that intervals are
        centred on it. A placebo l periods before F-1 ("linear": F-2) is per unit of the dose of event time l-1. The
        default errors leave each unit (or cluster) out at the bandwidth of the full sample; "CR0" with
        variance="robust" is the package's. Notes say what the bandwidths hold, and the estimates without bias
        correction.

    Raises
    ------
    QuestionError
        If units are untreated, begin to be treated at different times, have doses that are negative, go back to zero or
        do not differ, or no effect can be estimated.

    References
    ----------
    de Chaisemartin, C., Ciccia, D., D'Haultfoeuille, X., and Knau, F. (2025). Difference-in-differences estimators when
    no unit remains untreated. arXiv 2405.04465.
    Calonico, S., Cattaneo, M. D., and Farrell, M. H. (2018). On the effect of bias estimation on coverage accuracy in
    nonparametric inference. Journal of the American Statistical Association 113(522).
    """
    changes, notes = changes_by_dose(sample, dose, trends), []
    smallest, p_value = quasi_untreated_test(changes[0].dose)
    if p_value < SIZE:
        notes.append(
            f"no unit is close to untreated: the smallest {sample.question.event} is {smallest:.4g}, and the test that "
            f"doses reach zero rejects ({p_is(p_value)}), so that the change at dose zero is extrapolated"
        )
    fits: dict[float, Slope] = {}
    for change in changes:
        try:
            fits[change.event_time] = weighted_average_slope(sample, change, kernel, variance)
        except Unidentified as why:
            notes.append(f"event {change.event_time:g} left out: {why}")
    refuse_no_effect("heterogeneous_adoption", fits, notes)
    times = np.sort([*fits, -1.0, *([-2.0] if trends == "linear" else [])])
    reference, n = ~np.isin(times, [*fits]), sample.n_units
    used, start = np.zeros(sample.y.shape, dtype=bool), _first_dose(sample)
    for change in changes:
        if change.event_time in fits:
            at = start + np.append(times[reference], change.event_time).astype(int)
            used[np.ix_(change.known, at)] = True
    known = {change.event_time: sample.weights * change.known for change in changes}
    none = Slope(0.0, 0.0, 0.0, 0, np.zeros(n), np.zeros(n), estimable=True)
    terms = [fits.get(time, none) for time in times]
    left_out = LeftOut(
        Influence.of(np.column_stack([term.left_out for term in terms])),
        None,
        np.array([[len(np.unique(sample.cluster))] * len(terms), [0] * len(terms)]),
        np.array([term.estimable for term in terms]),
    )
    shown = [
        f"event {time:g} {fit.bandwidth:.3g} ({fit.within}, {fit.conventional:.4g})"
        for time, fit in fits.items()
    ]
    notes.append(f"effects are per unit of {sample.question.event}")
    notes.append(f"bandwidths (units within, effect without bias correction): {'; '.join(shown)}")
    notes += _yatchew_tests([change for change in changes if change.event_time in fits])
    return coefficients(
        sample,
        tuple(f"event {time:g}" for time in times),
        np.array([term.slope for term in terms]),
        np.column_stack([term.influence for term in terms]),
        n_obs=int(used.sum()),
        estimand=Estimand.EVENT_TIME_ATT,
        event_time=times,
        reference=reference,
        cohort_weights=Influence.of(np.column_stack([known.get(time, np.zeros(n)) for time in times])),
        shares="fixed",
        contrast=Contrast(left_out=left_out if variance == "sampling" else None),
        notes=tuple(notes),
    )


def _yatchew_tests(changes: list[DoseChange]) -> Iterator[str]:
    """Say what speaks against parallel trends, and for or against effects that are linear in the dose."""
    for before, order, null in (
        (True, 0, "before it do not depend on"),
        (False, 1, "since then are linear in"),
    ):
        tests = [
            f"event {change.event_time:g} {p_is(yatchew_test(change, order).p_value)}"
            for change in changes
            if (change.event_time < 0) is before
        ]
        if tests:
            yield f"Yatchew tests that changes from the base period to those {null} the dose: {', '.join(tests)}"


class DoseChange(NamedTuple):
    """Change of the outcome to an event time and the dose that it is per unit of, shapes (n,), NaN where not known."""

    event_time: float
    outcome: FloatArray
    dose: FloatArray

    @property
    def known(self) -> BoolArray:
        """Of which units both are known, shape (n,)."""
        return ~np.isnan(self.outcome + self.dose)


def changes_by_dose(sample: Sample, dose: Dose = "current", trends: Trends = "common") -> list[DoseChange]:
    """Return the change at each event time: effects, then placebos, each in the order of its distance from F-1."""
    start = _first_dose(sample)
    assert sample.path is not None
    y, base, linear = sample.y, start - 1, trends == "linear"
    if linear and base == 0:
        raise QuestionError(
            'heterogeneous_adoption: trends="linear" takes two periods before the first dose.'
        )
    doses = sample.path[:, start:] if dose == "current" else np.cumsum(sample.path[:, start:], axis=1)
    trend = y[:, base] - y[:, base - 1] if linear else np.zeros(len(y))
    changes = [
        DoseChange(float(k), y[:, start + k] - y[:, base] - (k + 1) * trend, amount)
        for k, amount in enumerate(doses.T)
    ]
    base -= linear
    return changes + [
        DoseChange(float(base - k - start), y[:, base - k] - y[:, base] + k * trend, doses[:, k - 1])
        for k in range(1, min(base, doses.shape[1]) + 1)
    ]


def _first_dose(sample: Sample) -> int:
    """Return the number of period F, before which no unit has a dose and from which on all have one."""
    event, path, name = sample.question.event, sample.path, sample.period_name
    assert path is not None
    able = [
        each.name for each in all_designs().values() if {Supports.DOSE, Supports.LEVELS} & {*each.supports}
    ]
    others = ", ".join(design for design in able if design != "heterogeneous_adoption")

    def refuse(text: str) -> None:
        raise QuestionError(f"heterogeneous_adoption: {text}.")

    units, positive = sample.unit_ids, path > 0
    start, first = int(positive.any(axis=0).argmax()), positive.argmax(axis=1)
    at, zero = sample.periods[start], path[:, start:] == 0
    untreated, back = zero.any(axis=1) & ~positive.any(axis=1), zero.any(axis=1)
    later = zero[:, 0] & ~untreated
    if (path < 0).any():
        refuse(f"{event} is negative for {units[(path < 0).any(axis=1)][0]}; doses start at zero")
    if untreated.any():
        refuse(
            f"{event} never begins for {counted(untreated.sum(), 'unit')}, first {units[untreated][0]}; compare with "
            f"them: {others}"
        )
    if later.any():
        then = name(sample.periods[first[later][0]])
        refuse(
            f"{event} begins in {name(at)}, but for {units[later][0]} in {then}; designs for several dates: {others}"
        )
    if back.any():
        refuse(f"{event} goes back to 0 for {units[back][0]}; designs for that: {others}")
    if start == 0:
        refuse(f"{event} begins in {name(at)}, the first period, so there is none before it")
    if np.nanmin(path[:, start]) == np.nanmax(path[:, start]):
        refuse(f"{event} is the same for all units in {name(at)}, so none is closer to untreated")
    return start


class Slope(NamedTuple):
    """The weighted average slope at one event time.

    Attributes
    ----------
    slope, conventional : float
        With and without bias correction.
    bandwidth : float
    within : int
        Units with a dose up to the bandwidth.
    influence, left_out : ndarray, shape (n,)
        Influence, and n times what leaving the unit's cluster out takes off, shared among the units of the cluster.
    estimable : bool
        Whether there is a slope without each cluster.
    """

    slope: float
    conventional: float
    bandwidth: float
    within: int
    influence: FloatArray
    left_out: FloatArray
    estimable: bool


def weighted_average_slope(
    sample: Sample, change: DoseChange, kernel: KernelName, variance: Literal["sampling", "robust"]
) -> Slope:
    """Return [mean(dy) - m(0)] / mean(D), m(0) by local linear regression less its bias.

    Raises
    ------
    Unidentified
        If too few units, or too few different doses, are close to zero.
    """
    n, known = sample.n_units, np.flatnonzero(change.known)
    order = known[np.argsort(change.dose[known], kind="stable")]
    y, d = change.outcome[order], change.dose[order]
    bandwidth = mse_bandwidth(d, y, kernel)
    linear, quadratic = (local_polynomial(d, p, bandwidth, kernel) for p in (1, 2))
    rows, of_outcome = quadratic.rows, quadratic.of_outcome
    conventional, corrected = (
        (y.mean() - fit.of_outcome[0] @ y[fit.rows]) / d.mean() for fit in (linear, quadratic)
    )
    influence, left_out = np.zeros((2, n))
    if variance == "robust":
        residual = nearest_residuals(d[rows], y[rows])
    else:
        residual = y[rows] - quadratic.powers @ (of_outcome @ y[rows])
        influence[order] = (y - y.mean() - corrected * (d - d.mean())) / len(y)
    influence[order[rows]] -= of_outcome[0] * residual

    cluster = sample.cluster[order]
    without = _without_clusters(y, d, quadratic, cluster, int(sample.cluster.max()) + 1)
    estimable = bool(np.isfinite(without).all())
    left_out[order] = n * (corrected - without[cluster]) / np.bincount(cluster)[cluster]
    within = int(np.sum(d <= bandwidth))
    return Slope(corrected, conventional, bandwidth, within, n * influence / d.mean(), left_out, estimable)


def _without_clusters(
    y: FloatArray, d: FloatArray, fit: Local, cluster: IntArray, n_clusters: int
) -> FloatArray:
    """Return the slope without each cluster, shape (G,), from all sums less its own; NaN where there is none."""

    def others(values: FloatArray, of: IntArray) -> FloatArray:
        return np.asarray(values.sum(axis=0) - sums_by(values, of, n_clusters))

    weighted, local = fit.weight[:, None] * fit.powers, cluster[fit.rows]
    gram = others(weighted[:, :, None] * fit.powers[:, None, :], local)
    cross = others(weighted * y[fit.rows, None], local)
    known = solvable(gram)
    gram[~known] = np.eye(gram.shape[1])
    at_zero = np.where(known, np.linalg.solve(gram, cross[:, :, None])[:, 0, 0], np.nan)
    size, total, dose = others(np.column_stack([np.ones(len(y)), y, d]), cluster).T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((total - size * at_zero) / dose)


def quasi_untreated_test(dose: FloatArray) -> tuple[float, float]:
    """Return the smallest dose, and the p-value of the test that doses reach down to zero.

    With D(1) and D(2) the smallest two, T = D(1) / [D(2) - D(1)] has the distribution of a ratio of two exponentials
    where the density of doses at zero is positive, so that p = 1 / (1 + T).
    """
    first, second = np.sort(dose[~np.isnan(dose)])[:2]
    return float(first), float((second - first) / second)


class Yatchew(NamedTuple):
    """Variance of the errors about a polynomial and from neighbours in the dose, the statistic, and its p-value."""

    of_fit: float
    of_differences: float
    statistic: float
    p_value: float


def yatchew_test(change: DoseChange, order: int, *, robust: bool = True) -> Yatchew:
    """Test that the mean change is a polynomial of an order in the dose (Yatchew 1997, and its robust version).

    With units in the order of their doses, e the residuals of the polynomial, and s2 half the mean squared difference
    of neighbours' changes, T = sqrt(n) [var(e) - s2] / sd is standard normal under the null, which large values speak
    against; sd^2 is the mean of (e_i e_(i-1))^2, or s2 squared where errors are as variable at every dose.
    """
    y, d = change.outcome[change.known], change.dose[change.known]
    ranks = np.lexsort((y, d))
    y, d = y[ranks], d[ranks] / d.mean()
    basis = np.linalg.qr(d[:, None] ** np.arange(order + 1))[0]
    error = y - basis @ (basis.T @ y)
    of_fit, of_differences = float(error.var(ddof=1)), float(np.mean(np.diff(y) ** 2) / 2)
    spread = float(np.sqrt(np.mean((error[1:] * error[:-1]) ** 2))) if robust else of_differences
    statistic = np.sqrt(len(y)) * (of_fit - of_differences) / spread if spread > 0 else np.nan
    return Yatchew(of_fit, of_differences, float(statistic), float(ndtr(-statistic)))


class Kernel(NamedTuple):
    """Weights by distance in bandwidths, and the constant of its rule-of-thumb bandwidth for a density."""

    weight: Callable[[FloatArray], Any]
    constant: float


KERNELS: dict[KernelName, Kernel] = {
    "epanechnikov": Kernel(lambda u: 0.75 * np.maximum(1 - u**2, 0.0), 2.34),
    "triangular": Kernel(lambda u: np.maximum(1 - u, 0.0), 2.576),
    "uniform": Kernel(lambda u: 0.5 * (u <= 1), 1.843),
    "gaussian": Kernel(lambda u: np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi), 1.06),
}


class Local(NamedTuple):
    """A regression on powers of x over the bandwidth, in the rows that have a weight.

    Attributes
    ----------
    rows : ndarray of int, shape (m,)
    weight : ndarray, shape (m,)
    powers, of_outcome : ndarray, shapes (m, p + 1), (p + 1, m)
        Regressors, and the matrix that makes coefficients of outcomes.
    """

    rows: IntArray
    weight: FloatArray
    powers: FloatArray
    of_outcome: FloatArray


def local_polynomial(x: FloatArray, order: int, bandwidth: float, kernel: KernelName) -> Local:
    """Regress on powers of x, which is positive and ascends, weighted by a kernel at zero.

    Raises
    ------
    Unidentified
        If x has too few distinct values within the bandwidth.
    """
    weight = KERNELS[kernel].weight(x / bandwidth)
    rows = np.flatnonzero(weight)
    weight, powers = weight[rows], (x[rows, None] / bandwidth) ** np.arange(order + 1)
    root = np.sqrt(weight)[:, None]
    q, r = np.linalg.qr(root * powers)
    diagonal = np.abs(np.diag(r))
    if len(diagonal) <= order or diagonal.min() < COLLINEAR * diagonal.max():
        raise Unidentified(f"too few distinct values near zero for a polynomial of order {order}")
    return Local(rows, weight, powers, solve_triangular(r, (q * root).T))


def mse_bandwidth(x: FloatArray, y: FloatArray, kernel: KernelName) -> float:
    """Return the bandwidth of least mean squared error of the local linear intercept, from plug-in pilots.

    Each stage estimates the variance at a rule-of-thumb bandwidth, and the bias there with the derivative that the
    bandwidth of the stage before estimates best.

    Raises
    ------
    Unidentified
        If x has too few values, or too few distinct ones near zero.
    """
    if len(x) < FEWEST:
        raise Unidentified(f"{len(x)} units, and it takes {FEWEST} to choose a bandwidth")
    low, high = np.quantile(x, [0.25, 0.75])
    spread = min(float(x.std(ddof=1)), float(high - low) / 1.349)

    def bounded(bandwidth: float) -> float:
        return float(np.fmax(np.fmin(bandwidth, x[-1]), x[FEWEST - 1]))

    pilot = bounded(KERNELS[kernel].constant * spread * len(x) ** -0.2)

    def best(order: int, derivative: int, of_bias: float, regularised: float) -> float:
        near, wide = (local_polynomial(x, p, h, kernel) for p, h in ((order, pilot), (order + 1, of_bias)))
        spread_near, spread_wide = (
            fit.of_outcome[row] * nearest_residuals(x[fit.rows], y[fit.rows])
            for fit, row in ((near, derivative), (wide, -1))
        )
        bias = near.of_outcome[derivative] @ (x[near.rows] / of_bias) ** (order + 1)
        coefficient = wide.of_outcome[-1] @ y[wide.rows]
        squared = bias**2 * (coefficient**2 + regularised * np.sum(spread_wide**2))
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = (2 * derivative + 1) * np.sum(spread_near**2) / (2 * (order + 1 - derivative) * squared)
        return bounded(pilot * ratio ** (1 / (2 * order + 3)))

    third = best(3, 3, float(x[-1] - x[0]), 0.0)
    second = best(2, 2, third, REGULARISED)
    return best(1, 0, second, REGULARISED)


def nearest_residuals(x: FloatArray, y: FloatArray) -> FloatArray:
    """Return outcomes less the mean of the three nearest others, and all as near, scaled to the errors' variance.

    Abadie and Imbens (2006): with J others the factor is sqrt(J / (J + 1)).
    """
    n = len(x)
    place = np.arange(n)[:, None] + np.arange(-MATCHES, MATCHES + 1)
    inside = (place >= 0) & (place < n)
    value = x[np.clip(place, 0, n - 1)]
    distance = np.where(inside, np.abs(value - x[:, None]), np.inf)
    near = inside & (distance <= (1 + TIE) * np.sort(distance, axis=1)[:, [MATCHES]])
    first = np.searchsorted(x, np.where(near, value, np.inf).min(axis=1), side="left")
    after = np.searchsorted(x, np.where(near, value, -np.inf).max(axis=1), side="right")
    deviation = y - y.mean()
    total = np.concatenate([[0.0], np.cumsum(deviation)])
    others = after - first - 1
    mean = (total[after] - total[first] - deviation) / others
    return np.asarray(np.sqrt(others / (others + 1)) * (deviation - mean))
