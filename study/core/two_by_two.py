"""Two groups, two periods: the difference between treated and comparison units, with covariates adjusted for.

Sant'Anna and Zhao (2020). Each function returns an estimate and its influence by row, scaled so that the
estimate's error is the mean of the influence over the rows.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit

from study.core.arrays import BoolArray, FloatArray, IntArray
from study.core.normal_equations import solvable

Method = Literal["dr", "ipw", "reg"]
Rows = BoolArray

NEAR_CERTAIN = 0.999
TRIM_COMPARISON = 0.995
STEPS = 100
CONVERGED = 1e-12
# Below this, relative to the size of covariates, a combination of them does not vary.
DISTINCT = 1e-9


class Unidentified(Exception):
    """A cell has no estimate; the text says why, in words that follow its cohort and period."""


class Effect(NamedTuple):
    """An estimate, its influence by row or unit, and which comparison rows resemble no treated one, if any."""

    estimate: FloatArray
    influence: FloatArray
    unlike: Rows | None = None


def raw_gap(y: FloatArray, members: IntArray, treated: Rows, compared: Rows, weights: FloatArray) -> Effect:
    """Return weighted means of treated less comparison units, cell by cell.

    Parameters
    ----------
    y : ndarray, shape (K, n)
        Anything finite where a unit is in neither group.
    members : ndarray of int, shape (m,)
        Units that may be treated.
    treated : ndarray of bool, shape (K, m)
        Which of them are, by cell.
    compared : ndarray of bool, shape (K, n)
    weights : ndarray, shape (n,)

    Returns
    -------
    Effect
        Shapes (K,) and (K, n); NaN in a cell that lacks one of the groups.
    """
    n = y.shape[1]
    ours = group_mean(y[:, members], treated, weights[members], n)
    theirs = group_mean(y, compared, weights, n)
    influence = np.negative(theirs.influence, out=theirs.influence)
    influence[:, members] += ours.influence
    return Effect(ours.estimate - theirs.estimate, influence)


def group_mean(y: FloatArray, group: Rows, weights: FloatArray, n: int) -> Effect:
    """Return the weighted mean of a group, cell by cell, with its influence among n units.

    Shapes: y and group (K, m), weights (m,); the m units hold all of the group.
    """
    weight = weights * group
    with np.errstate(invalid="ignore", divide="ignore"):
        weight *= (n / weight.sum(axis=1))[:, None]
    mean = np.einsum("ki,ki->k", weight, y) / n
    weight *= y - mean[:, None]
    return Effect(mean, weight)


def panel_att(
    change: FloatArray, treated: Rows, x: FloatArray, weights: FloatArray, method: Method
) -> Effect:
    """Return the ATT from changes of the same units, with covariates.

    Sant'Anna and Zhao (2020), equation (3.1) for "dr"; Heckman, Ichimura and Todd (1997) for "reg";
    Abadie (2005) with weights that sum to one for "ipw".

    Parameters
    ----------
    change : ndarray, shape (n,) or (K, n)
        Outcome after less outcome before; K of them are estimated at once.
    treated : ndarray of bool, shape (n,)
    x : ndarray, shape (n, p)
        Covariates, the constant among them.
    weights : ndarray, shape (n,)
    method : {"dr", "ipw", "reg"}

    Returns
    -------
    Effect
        Shapes () and (n,), or (K,) and (K, n).

    Raises
    ------
    Unidentified
        If a regression is singular, or the propensity score does not exist or comes near one.
    """
    odds = None if method == "reg" else comparison_odds(treated, x, weights)
    return _gap(change, np.ones(len(x), dtype=bool), treated, x, weights, method, odds)


def repeated_att(
    y: FloatArray,
    post: Rows,
    treated: Rows,
    x: FloatArray,
    weights: FloatArray,
    method: Method,
    *,
    as_drdid: bool,
) -> Effect:
    """Return the ATT from cells of two periods, which need not be of the same units, with covariates.

    Sant'Anna and Zhao (2020), equation (3.4), the locally efficient estimator, for "dr". One row a cell;
    the other arguments are those of :func:`panel_att`. DRDID 1.2.3 adds the influence of the comparison
    regression before treatment in two terms of "dr" where the delta method subtracts it; ``as_drdid`` does
    as it does. The two are equal in the limit if the propensity model is right.
    """
    odds = None if method == "reg" else comparison_odds(treated, x, weights)
    after = _gap(y, post, treated, x, weights, method, odds)
    before = _gap(y, ~post, treated, x, weights, method, odds, as_drdid=as_drdid)
    return Effect(after.estimate - before.estimate, after.influence - before.influence, after.unlike)


class Odds(NamedTuple):
    """Propensity odds of comparison rows and scores of all, shape (n,); influence of the logit's coefficients, (n, p).

    ``unlike`` are comparison rows that the covariates tell from all treated ones, whose odds and scores are zero.
    """

    odds: FloatArray
    score: FloatArray
    influence: FloatArray
    unlike: Rows | None = None


def comparison_odds(treated: Rows, x: FloatArray, weights: FloatArray) -> Odds:
    """Return p(x) / (1 - p(x)) of comparison rows from a logit, zero where p reaches 0.995.

    Where the logit does not exist since the covariates tell some comparison rows from all treated ones, the odds are
    its limit: zero for those, and the logit's among the others.

    Raises
    ------
    Unidentified
        If there is no such limit, no comparison row is left in it, or a score reaches 0.999.
    """
    try:
        return _odds(treated, x, weights)
    except Unidentified:
        like = ~unlike_treated(treated, x)
        if like.all() or treated[like].all():
            raise
    # Some covariates may not vary in what is left: the logit is in those directions in which they do.
    centred = x[like, 1:] - x[like, 1:].mean(axis=0)
    _, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    varying = directions[sizes > DISTINCT * max(1.0, sizes.max(initial=0.0))]
    reduced = np.column_stack([x[like, 0], x[like, 1:] @ varying.T])
    limit = _odds(treated[like], reduced, weights[like])
    odds, score, influence = np.zeros(len(x)), np.zeros(len(x)), np.zeros(x.shape)
    odds[like], score[like] = limit.odds, limit.score
    influence[like, 0], influence[like, 1:] = limit.influence[:, 0], limit.influence[:, 1:] @ varying
    return Odds(odds, score, influence * (len(x) / len(reduced)), ~like)


def unlike_treated(treated: Rows, x: FloatArray) -> Rows:
    """Return which comparison rows some combination of covariates tells from all treated rows, which it puts at zero.

    Such a combination d has x'd = 0 for the treated and x'd <= 0 for the others: along it the likelihood of a logit
    grows for ever. Those below zero for one of them are found at once, by a linear program.
    """
    from scipy.optimize import linprog

    rows, of_row = np.unique(x[~treated], axis=0, return_inverse=True)
    away = rows @ _directions(x[treated])[1].T
    away[np.abs(away) < DISTINCT] = 0.0
    n, k = away.shape
    below = np.zeros(n, dtype=bool)
    if k == 1 and not away.min() < 0 < away.max():
        below = away[:, 0] != 0
    elif k > 1 and away.any():
        program = linprog(
            np.repeat([0.0, -1.0], [k, n]),
            A_ub=np.hstack([away, np.eye(n)]),
            b_ub=np.zeros(n),
            bounds=[(None, None)] * k + [(0.0, 1.0)] * n,
        )
        below = program.x[k:] > 0.5
    unlike = np.zeros(len(x), dtype=bool)
    unlike[~treated] = below[of_row.reshape(-1)]
    return unlike


def _directions(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the directions in which rows differ from zero, and those in which none does, shapes (r, p), (p - r, p)."""
    _, sizes, directions = np.linalg.svd(np.linalg.qr(x, mode="r"))
    rank = int(np.sum(sizes > DISTINCT * sizes.max()))
    return directions[:rank], directions[rank:]


def _odds(treated: Rows, x: FloatArray, weights: FloatArray) -> Odds:
    """Return the odds from a logit that exists."""
    score = logit_scores(treated, x, weights)
    if score.max() >= NEAR_CERTAIN:
        raise Unidentified(f"no overlap, a propensity score reaches {NEAR_CERTAIN}")
    information = _information(score, x, weights) / len(x)
    influence = solved(information, x * (weights * (treated - score))[:, None], "the propensity score")
    compared = ~treated & (score < TRIM_COMPARISON)
    return Odds(np.where(compared, score / (1 - score), 0.0), score, influence)


def logit_scores(treated: Rows, x: FloatArray, weights: FloatArray) -> FloatArray:
    """Return maximum-likelihood logit scores by Newton's method with halved steps, shape (n,).

    The first column of x is the constant.
    """
    _refuse_singular((x * weights[:, None]).T @ x, "the propensity score")
    share = weights @ treated / weights.sum()
    coefficient = np.zeros(x.shape[1])
    coefficient[0] = np.log(share / (1 - share))
    best = _log_likelihood(coefficient, treated, x, weights)
    for _ in range(STEPS):
        score = expit(x @ coefficient)
        try:
            step = np.linalg.solve(_information(score, x, weights), x.T @ (weights * (treated - score)))
        except np.linalg.LinAlgError:
            break
        likelihood = _log_likelihood(coefficient + step, treated, x, weights)
        while likelihood < best - 1e-9 * abs(best) and np.abs(step).max() > CONVERGED:
            step = step / 2
            likelihood = _log_likelihood(coefficient + step, treated, x, weights)
        coefficient, best = coefficient + step, likelihood
        if np.abs(step).max() <= CONVERGED * max(1.0, np.abs(coefficient).max()):
            return np.asarray(expit(x @ coefficient), dtype=np.float64)
    raise Unidentified("the propensity score does not exist, the covariates separate treated from comparison")


def solved(gram: FloatArray, rows: FloatArray, what: str) -> FloatArray:
    """Return rows @ inverse(gram), or raise Unidentified where ``gram`` is singular to rounding."""
    _refuse_singular(gram, what)
    return np.asarray(np.linalg.solve(gram, rows.T).T, dtype=np.float64)


def _refuse_singular(gram: FloatArray, what: str) -> None:
    if gram.shape == (1, 1) and 0 < gram[0, 0] < np.inf:  # the constant alone
        return
    if not solvable(gram):
        raise Unidentified(f"the covariates do not identify {what}")


def _information(score: FloatArray, x: FloatArray, weights: FloatArray) -> FloatArray:
    return np.asarray((x * (weights * score * (1 - score))[:, None]).T @ x)


def _log_likelihood(coefficient: FloatArray, treated: Rows, x: FloatArray, weights: FloatArray) -> float:
    index = x @ coefficient
    return float(weights @ (treated * index - np.logaddexp(0.0, index)))


class _Regression(NamedTuple):
    """Fitted values and errors, shape (n,) or (K, n), weighted regressors (n, p) and their products (p, p)."""

    fitted: FloatArray
    error: FloatArray
    weighted: FloatArray
    gram: FloatArray

    def influence(self, slope: FloatArray) -> FloatArray:
        """Return the influence of x'b at x = slope, shaped like the errors."""
        return (self.weighted @ np.linalg.solve(self.gram, slope)) * self.error


def _regression(y: FloatArray, used: Rows, x: FloatArray, weights: FloatArray, what: str) -> _Regression:
    """Regress y on x over the rows that are used."""
    weighted = x * (weights * used)[:, None]
    gram = weighted.T @ x / len(x)
    fitted: FloatArray = solved(gram, y @ weighted / len(x), what) @ x.T
    return _Regression(fitted, y - fitted, weighted, gram)


def _gap(
    y: FloatArray,
    here: Rows,
    treated: Rows,
    x: FloatArray,
    weights: FloatArray,
    method: Method,
    odds: Odds | None,
    as_drdid: bool = False,
) -> Effect:
    """Return the treated mean of y in one period less what the comparison rows imply for the treated.

    With D the treated, w_1 their weights in this period, w_D in both, w_0 the odds weights of comparison
    rows, all with mean one, and m_1, m_0 regressions by group in this period:
    E[w_1 (y - m_1)] - E[w_0 (y - m_0)] + E[w_D (m_1 - m_0)]. "ipw" has m_1 = m_0 = 0, "reg" m_1 = 0 and
    no middle term. If all rows are of this period, w_1 = w_D and m_1 cancels.
    """
    n = len(x)
    of_treated = weights * treated
    of_treated = of_treated / of_treated.mean()
    of_here = weights * (treated & here)
    of_here = of_here / of_here.mean()
    m_1, m_0, influence = np.zeros((3, *y.shape))
    if method == "dr" and not here.all():
        # What does not vary among the treated of this period tells nothing of them, unless it does in the other.
        spanned, null = _directions(x[treated & here])
        own = x @ spanned.T if len(null) else x
        if len(null) and np.abs(x[treated] @ null.T).max() > DISTINCT:
            raise Unidentified("the covariates do not identify the treated units' regression")
        regression = _regression(y, treated & here, own, weights, "the treated units' regression")
        m_1 = regression.fitted
        influence += regression.influence((of_treated - of_here) @ own / n)
    if method != "ipw":
        regression = _regression(y, ~treated & here, x, weights, "the comparison units' regression")
        m_0 = regression.fitted
        influence -= regression.influence(of_treated @ x / n)
    ours, implied = (y - m_1) @ of_here / n, (m_1 - m_0) @ of_treated / n
    influence += of_here * (y - m_1 - ours[..., None]) + of_treated * (m_1 - m_0 - implied[..., None])
    if odds is None:
        return Effect(ours + implied, influence)
    of_odds = weights * here * odds.odds
    of_odds = of_odds / of_odds.mean()
    theirs = (y - m_0) @ of_odds / n
    error = of_odds * (y - m_0 - theirs[..., None])
    influence -= error + (error @ x / n) @ odds.influence.T
    if method == "dr":
        influence += regression.influence(of_odds @ x / n)
        if as_drdid:
            influence += 2 * regression.influence((of_here - of_odds) @ x / n)
    return Effect(ours + implied - theirs, influence, odds.unlike)
