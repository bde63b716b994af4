"""HonestDiD 0.2.7 (Rambachan and Roth): its intervals beside ours, each end as a share of what its numerics allow.

HonestDiD simulates two critical values that we integrate: the least favourable one from 1,000 draws, and quantiles of
the folded normal from a million. Its draws are those of R's generator with seed 0, which ``r_draws`` repeats. With
the critical values from its draws, the ends of its sets, which are the outermost points of a grid that are not
rejected, have to be within one step of ours; and its draws have to agree with our critical values within their error.
"""

from __future__ import annotations

from typing import Any

import goldens
import numpy as np
from numpy.typing import NDArray

from references import r_draws
from references.comparison import Comparison, Row
from study.diagnostics import honest
from study.diagnostics.honest import (
    RESTRICTIONS,
    FirstStage,
    Problem,
    Restriction,
    folded_normal_quantile,
    hulls,
    least_favourable,
    moments,
    slope_bounds,
)

Array = NDArray[np.float64]

NAMES = {"DeltaRM": "relative_magnitudes", "DeltaSDRM": "smoothness_relative", "DeltaSD": "smoothness"}
FIRST = 0.005
SECOND = (0.05 - FIRST) / (1 - FIRST)
LF_DRAWS = 1000
ERRORS = 3
GRID = 1000
BOUND_GRID = 3
STEPS = 2
SOLVER = 1e-4
NOT_SHORTEST = 2e-4
ROUNDING = 1e-6


def honestdid(panel: str, run: dict[str, Any]) -> Comparison:
    """Return a run of HonestDiD beside our answer."""
    if "ci" not in run:
        return _bounds(panel, run)
    rows: list[Row] = []
    digits: dict[str, float] = {}
    for made in run["ci"]:
        if made["method"] == "Original":
            rows += _original(panel, run, made)
        elif made["method"] == "FLCI":
            digits |= _fixed_length(panel, run, made)
        else:
            digits |= _set(panel, run, made)
    return Comparison(tuple(rows), digits=digits)


def event_study(panel: str) -> tuple[Array, Array, int, int]:
    """Return the estimates, their covariance, and the numbers of event times before and after."""
    first = next(iter(goldens.runs(panel, "honestdid").values()))
    return (
        np.array(first["betahat"]),
        np.array(first["sigma"]),
        first["numPrePeriods"],
        first["numPostPeriods"],
    )


def inequalities(restriction: Restriction, piece: int, m: float) -> tuple[Array, Array]:
    """Return A and d with A delta <= d for one of the sets, shapes (2 n_post, K) and (2 n_post,)."""
    bound = m * restriction.within[piece]
    rows = np.vstack([restriction.change - bound, -restriction.change - bound])
    return rows, np.full(len(rows), m * restriction.constant)


def problem(panel: str, run: dict[str, Any], delta: str) -> Problem:
    """Return the run's effect and restriction."""
    betahat, sigma, n_pre, n_post = event_study(panel)
    weights = np.array(run["l_vec"])
    restriction = RESTRICTIONS[NAMES[delta]](n_pre, n_post)
    return Problem(betahat, sigma, weights / weights.sum(), restriction)


def _original(panel: str, run: dict[str, Any], made: dict[str, Any]) -> list[Row]:
    asked = problem(panel, run, "DeltaRM")
    n_pre = asked.restriction.n_pre
    centre = asked.weights @ asked.betahat[n_pre:]
    error = np.sqrt(asked.weights @ asked.sigma[n_pre:, n_pre:] @ asked.weights)
    half = folded_normal_quantile(0.95, 0.0) * error
    ends = {"lb": centre - half, "ub": centre + half}
    return [Row(end, ours, np.nan, made[end], np.nan) for end, ours in ends.items()]


def _set(panel: str, run: dict[str, Any], made: dict[str, Any]) -> dict[str, float]:
    """Return how far the ends of a set are from ours, as a share of the step of the grid."""
    asked = problem(panel, run, made["Delta"])
    m = np.array([made.get("Mbar", made.get("M"))], dtype=float)
    method = made["method"]
    step = run.get("grid_step") or _step(asked, m, method)
    digits = {}
    if method == "Conditional":
        ours = honest.conditional(asked, m)
    elif method == "C-LF":
        ours, digits = _simulated_least_favourable(asked, m)
    else:
        ours = _simulated_fixed_length(asked, m)
    slack = STEPS * step if method == "C-F" else step  # its first stage is not quite the shortest interval
    ends = zip(("lb", "ub"), ours, strict=True)
    return digits | {f"{end} {m[0]:g}": abs(float(value[0]) - made[end]) / slack for end, value in ends}


def _step(asked: Problem, m: Array, method: str) -> float:
    """Return the step of HonestDiD's default grid under smoothness, of 1,000 points.

    It spans the bounds around zero and 20 standard errors on either side; for "C-F" the first stage's interval.
    """
    if method == "C-F":
        return 2 * asked.shortest(m, 0.995)[0].half / (GRID - 1)
    n_pre = asked.restriction.n_pre
    error = np.sqrt(asked.weights @ asked.sigma[n_pre:, n_pre:] @ asked.weights)
    return float(40 * error + 2 * m[0] * np.abs(asked.exposure).sum()) / (GRID - 1)


def _simulated_least_favourable(asked: Problem, m: Array) -> tuple[honest.Ends, dict[str, float]]:
    """Return the hull with HonestDiD's critical values, and how its draws agree with ours: a binomial share."""
    made = moments(asked.betahat, asked.sigma, asked.weights, asked.restriction, m)
    ours = least_favourable(made, FIRST)
    theirs, error = np.empty(len(ours)), np.sqrt(FIRST * (1 - FIRST) / LF_DRAWS)
    digits = {}
    for piece, forms in enumerate(made.forms):
        draws = _statistics(asked, piece, float(m[0]), forms)
        theirs[piece] = np.quantile(draws, 1 - FIRST)
        digits[f"draws {m[0]:g} {piece}"] = abs(np.mean(draws > ours[piece]) - FIRST) / (ERRORS * error)
    low, high = hulls(made, FirstStage.capped(made, theirs), SECOND)
    return (np.array([np.nanmin(low)]), np.array([np.nanmax(high)])), digits


def _statistics(asked: Problem, piece: int, m: float, forms: Array) -> Array:
    """Return the statistic at HonestDiD's draws of the moments, shape (1000,)."""
    rows, _ = inequalities(asked.restriction, piece, m)
    drawn = r_draws.multivariate(LF_DRAWS, rows @ asked.sigma @ rows.T)
    above, below = drawn[:, : len(rows) // 2], drawn[:, len(rows) // 2 :]
    centre = (above - below) / 2 @ asked.exposure
    bound = np.zeros(LF_DRAWS) if m == 0 else -(above + below)[:, 0] / (2 * m)
    return (np.stack([centre, bound], axis=1) @ forms.T).max(axis=1)


def _simulated_fixed_length(asked: Problem, m: Array) -> honest.Ends:
    """Return the hull of the hybrid whose first stage has HonestDiD's quantile of the folded normal."""
    (one,) = asked.shortest(m, 1 - FIRST)
    deviation = np.sqrt(one.weights @ asked.sigma @ one.weights)
    bias = _bias(asked, one.weights, float(m[0]))
    half = deviation * r_draws.folded_normal_quantile(1 - FIRST, bias / deviation)
    made = moments(asked.betahat, asked.sigma, asked.weights, asked.restriction, m)
    centre = asked.exposure @ asked.restriction.change
    shared = made.forms[:, :, 0] * (centre @ asked.sigma @ one.weights)
    first = FirstStage(np.array([np.inf]), np.array([one.centre]), np.array([half]), shared)
    return hulls(made, first, SECOND)


def _bias(asked: Problem, weights: Array, m: float) -> float:
    """Return an estimator's largest bias: M times the sum of its weights on changes of slope."""
    changes = np.vstack([asked.restriction.before, asked.restriction.change])
    return m * float(np.abs(np.linalg.lstsq(changes.T, weights)[0]).sum())


def _fixed_length(panel: str, run: dict[str, Any], made: dict[str, Any]) -> dict[str, float]:
    """Return how far a fixed-length interval is from ours.

    Its estimator has to be on our frontier, its exact half-length not shorter than ours and as good as shortest,
    and its critical value that of its draws.
    """
    asked, m = problem(panel, run, made["Delta"]), made["M"]
    centre, half = (made["lb"] + made["ub"]) / 2, (made["ub"] - made["lb"]) / 2
    shortest = asked.shortest(np.array([m]), 0.95)[0]
    kappa = _nearest(asked, centre)
    bias, deviation = asked.bias_and_deviation(kappa)
    excess = deviation * folded_normal_quantile(0.95, m * bias / deviation) / shortest.half - 1
    assert excess > -1e-12, "the interval is not the shortest"
    theirs = deviation * r_draws.folded_normal_quantile(0.95, m * bias / deviation)
    off = float(asked.affine(kappa) @ asked.betahat) - centre
    return {
        f"estimator {m:g}": abs(off) / deviation / SOLVER,
        f"length {m:g}": excess / NOT_SHORTEST,
        f"critical value {m:g}": abs(half / theirs - 1) / ROUNDING,
    }


def _nearest(asked: Problem, centre: float) -> Array:
    """Return the weights on the frontier whose estimate is nearest."""
    knots, kappas = asked.path
    penalties = np.linspace(0, knots[-1], 100_001)
    every = np.stack([np.interp(penalties, knots, column) for column in kappas.T], axis=1)
    estimates = asked.centre + every @ (asked.restriction.before @ asked.betahat)
    return every[np.abs(estimates - centre).argmin()]


def _bounds(panel: str, run: dict[str, Any]) -> Comparison:
    """Return the bounds on M from the periods before treatment; the lower one, from a grid, may be beyond it."""
    betahat, sigma, n_pre, _ = event_study(panel)
    before = betahat[:n_pre], sigma[:n_pre, :n_pre]
    lower, upper = slope_bounds(*before, 0.95)
    last = BOUND_GRID * np.sqrt(np.diag(before[1]).max())
    if run["lower"] is None:
        digits = {"lower": last / lower}
    else:
        digits = {"lower": abs(run["lower"] - lower) / (last / (GRID - 1))}
    return Comparison((Row("upper", upper, np.nan, run["upper"], np.nan),), digits=digits)
