"""Cross-sectional regressions of transformed outcomes by Lee and Wooldridge (2023, 2025)."""

from __future__ import annotations

from typing import Literal

import numpy as np

from study.core import BoolArray, FloatArray, Influence, QuestionError, Unidentified, panel_att
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_cells import Effects, baseline_matrix, cells_of, comparisons, effects_in_cells
from study.estimates import Estimate, cohort_means

Transform = Literal["demean", "detrend"]
Variance = Literal["sampling", "OLS", "HC0", "HC1", "HC2", "HC3", "HC4"]

DESIGN = "lee_wooldridge"
FULL = 1 - 1e-9  # a leverage that leaves no residual


@design(
    title="Transformed outcomes, cross-sectional regression (Lee and Wooldridge)",
    reference="lee2023",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON - {Supports.MISSING_CELLS} | {Supports.WEIGHTS, Supports.NEVER_TREATED},
)
def lee_wooldridge(
    sample: Sample, *, transform: Transform = "demean", variance: Variance = "sampling"
) -> Estimate:
    """Regress each unit's outcome less what its own past predicts on being treated, one cross-section a period.

    With S_g = {t < g - d} the periods before treatment less the anticipation d, the outcome of unit i in t is, for
    cohort g, y_it less the mean of y_is over S_g ("demean"), or less the line in s that is fitted to y_is over S_g
    ("detrend"). ATT(g,t) is the coefficient of cohort g in the regression of that outcome on cohort g, among it and its
    comparison units, with covariates and their products with cohort g, centred at its mean. As regressions of a cohort
    differ in their outcomes only, averages over periods are those of regressions of averaged outcomes.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. Covariates enter by their first observed value. There are no
        gaps: means over different periods before treatment would leave effects of periods in the outcome.
    transform : {"demean", "detrend"}
        "detrend" allows each unit a linear trend of its own, and needs two periods before treatment.
    variance : {"sampling", "OLS", "HC0", "HC1", "HC2", "HC3", "HC4"}
        The delta method, or the regression's own errors given covariates: of equal variance, or one of MacKinnon and
        White's (1985) and Cribari-Neto's (2004). They are those with published standard errors, "CR0". "OLS" is of one
        regression, and not of averages over cohorts, whose regressions share comparison units: a note says so. Without
        covariates the default "jackknife" is HC3, and "pooled" OLS with its t(N - 2). That is exact for
        one cohort if errors are normal and vary alike, however few units are treated.

    Returns
    -------
    Estimate
        One term for each cohort and period from g - d on; there are none before, where outcomes less their own mean are
        no effects. "Proportional" divides by the treated units' mean in the period less ATT(g,t).

    Raises
    ------
    QuestionError
        If no effect can be estimated, a covariate is collinear, or ``variance`` is a regression's own and the question
        has weights or clusters, or a treated unit has a residual of zero by construction (HC2 to HC4).

    References
    ----------
    Lee, S. J., and Wooldridge, J. M. (2023). A simple transformation approach to difference-in-differences estimation
    for panel data. SSRN 4516518.
    Lee, S. J., and Wooldridge, J. M. (2025). Simple approaches to inference with difference-in-differences estimators
    with small cross-sectional sample sizes. SSRN 5325686.
    """
    question = sample.question
    if variance != "sampling" and (question.weights or question.cluster):
        raise QuestionError(
            f"{DESIGN}: variance={variance!r} is of a regression of units without weights; leave weights and cluster "
            'out of the question, or take variance="sampling".'
        )
    cells = cells_of(sample, sample.cohorts)
    cells = cells.select(cells.now > cells.base)
    x = baseline_matrix(sample, DESIGN) if question.covariates else np.ones((sample.n_units, 1))
    n, n_terms = sample.n_units, len(cells.cohort)
    means, reasons = cohort_means(sample), np.full(n_terms, "", dtype=object)
    estimate, influence = np.zeros(n_terms), np.zeros((n_terms, n))
    used = np.zeros(sample.y.shape, dtype=bool)
    for c in comparisons(sample, cells):
        own, start, treated = c.own, int(c.base[0]) + 1, np.isin(np.arange(n), c.members)
        if transform == "detrend" and start == 1:
            reasons[own] = "one period before treatment has no trend"
            continue
        y, why = transformed(sample.y, start, transform)[:, c.now].T, c.unseen
        for k in np.flatnonzero(why == ""):
            cell = y[k], treated, c.compared_now[k], x, sample.weights, variance
            try:
                estimate[own[k]], influence[own[k]] = _regressed(*cell)
            except Unidentified as error:
                why[k] = str(error)
        reasons[own] = why
        rows = (treated | c.compared_now) & (why == "")[:, None]
        used[:, c.now] |= rows.T
        used[:, :start] |= np.any(rows, axis=0)[:, None]
    of_several = variance == "OLS" and len(sample.cohorts) > 1
    notes = ['variance="OLS" does not hold for averages over several cohorts; "HC3" does'] * of_several
    of_treated = means.pooled(means.cells(cells.cohort, cells.now))
    size, errors = means.sizes(cells.cohort, cells.now), Influence.of(influence.T)
    effects = Effects(estimate, errors, *of_treated, size, reasons, int(used.sum()))
    return effects_in_cells(DESIGN, sample, cells, effects, notes, against="all_before")


def transformed(y: FloatArray, start: int, transform: Transform) -> FloatArray:
    """Return outcomes less what each unit's own outcomes before period number ``start`` predict, shape (n, T)."""
    time, terms = np.arange(y.shape[1]), 1 if transform == "demean" else 2
    every = np.vander(time - start, terms)
    # Less the first outcome, so that changes keep their digits where levels dwarf them.
    left = y - y[:, :1]
    return np.asarray(left - left[:, :start] @ np.linalg.pinv(every[:start]).T @ every.T)


def _regressed(
    y: FloatArray,
    treated: BoolArray,
    compared: BoolArray,
    x: FloatArray,
    weights: FloatArray,
    variance: Variance,
) -> tuple[float, FloatArray]:
    """Return the effect in one cross-section of y, shape (n,), and its influence by unit.

    The regressors are x, their products with being treated, centred at the treated mean: a regression on each side,
    whose values at that mean are compared. With l_i the weight of unit i in the difference, e_i its residual and h_i
    its leverage, the square of the error is sum l_i^2 e_i^2 (HC0), e_i^2 divided by (1 - h_i) to the power of 1 (HC2),
    2 (HC3) or min(4, N h_i / K) (HC4).
    """
    n, rows = len(y), np.flatnonzero(treated | compared)
    if variance == "sampling":
        fit = panel_att(y[rows], treated[rows], x[rows], weights[rows], "reg")
        influence = np.zeros(n)
        influence[rows] = fit.influence * (n / len(rows))
        return float(fit.estimate), influence
    centre, k = x[treated].mean(axis=0) - np.eye(x.shape[1])[0], 2 * x.shape[1]
    effect, score, weight, leverage = 0.0, *np.zeros((3, n))
    for side, sign in ((treated, 1.0), (compared, -1.0)):
        own = x[side] - centre
        if np.linalg.matrix_rank(own) < own.shape[1]:
            who = "treated" if sign > 0 else "comparison"
            raise Unidentified(f"the covariates do not identify the {who} units' regression")
        inverse = np.linalg.inv(own.T @ own)
        slope = inverse @ own.T @ y[side]
        effect += sign * slope[0]
        weight[side], score[side] = sign * own @ inverse[:, 0], y[side] - own @ slope
        leverage[side] = np.einsum("ip,pq,iq->i", own, inverse, own)
    if variance in ("HC2", "HC3", "HC4") and leverage.max() > FULL:
        raise QuestionError(
            f"{DESIGN}: {variance} is not defined with a unit that has a residual of zero by construction, such as the "
            'only one of its cohort; take variance="OLS" or vcov="pooled".'
        )
    left = len(rows) - k
    if left < 1 and variance in ("OLS", "HC1"):
        raise Unidentified(f"{len(rows)} units leave the regression of {k} coefficients no degree of freedom")
    if variance == "OLS":
        return effect, n * score * np.sqrt(weight @ weight / left)
    power = {"HC2": 1.0, "HC3": 2.0, "HC4": np.minimum(4.0, len(rows) * leverage / k)}.get(variance, 0.0)
    factor = len(rows) / left if variance == "HC1" else 1.0
    return effect, n * weight * score * np.sqrt(factor / (1 - np.minimum(leverage, FULL)) ** power)
