"""What the periods before treatment say of M under smoothness: bounds on the largest change of slope."""

from __future__ import annotations

import numpy as np

from study.core import BoolArray, FloatArray, quantile
from study.diagnostics.honest.conditional import HALVINGS, FirstStage, Moments, accepted
from study.diagnostics.honest.restrictions import differences

TRIED = 400


def largest_slope_change(betahat: FloatArray) -> float:
    """Return the largest change of slope before treatment, the reference included; betahat has shape (n_pre,)."""
    return float(np.abs(differences(len(betahat), 0, 2) @ betahat).max())


def upper_bound(betahat: FloatArray, sigma: FloatArray, level: float) -> float:
    """Return the largest upper end of one-sided intervals for the changes of slope before treatment.

    Parameters
    ----------
    betahat, sigma : ndarray, shapes (n_pre,), (n_pre, n_pre)
        At least two event times before the reference.
    level : float

    References
    ----------
    HonestDiD, whose default grid of M ends there.
    """
    changes = differences(len(betahat), 0, 2)
    deviation = np.sqrt(np.einsum("rk,kl,rl->r", changes, sigma, changes))
    return float(np.max(np.abs(changes @ betahat) + quantile(level) * deviation))


def lower_bound(betahat: FloatArray, sigma: FloatArray, level: float) -> float:
    """Return the smallest M that the conditional test does not reject from the periods before treatment.

    Parameters are those of :func:`upper_bound`.

    References
    ----------
    Andrews, Roth and Pakes (2023), the conditional test without nuisance parameters.
    """
    changes = differences(len(betahat), 0, 2)
    rows = np.vstack([changes, -changes])
    scale = 1 / np.sqrt(np.einsum("rk,kl,rl->r", rows, sigma, rows))
    forms = rows * scale[:, None]
    moments = Moments((forms @ betahat)[None], -scale[None], forms[None], sigma[None])

    def keeps(m: FloatArray) -> BoolArray:
        return accepted(moments, FirstStage.none(moments), 1 - level, m[None])[0]

    tried = np.linspace(0, largest_slope_change(betahat), TRIED)
    first = int(keeps(tried).argmax())
    if first == 0:
        return 0.0
    outside, inside = tried[first - 1], tried[first]
    for _ in range(HALVINGS):
        middle = (outside + inside) / 2
        outside, inside = (outside, middle) if keeps(np.array([middle]))[0] else (middle, inside)
    return float(inside)
