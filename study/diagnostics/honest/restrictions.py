"""Restrictions on how trends may differ, as bounds on changes of the difference between treated and untreated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import numpy as np

from study.core import FloatArray


class Restriction(NamedTuple):
    """A union of P sets of differential trends delta, which has K event times without the reference.

    Set p bounds all changes after treatment: ``|change @ delta| <= M * (constant + within[p] @ delta)``.

    Attributes
    ----------
    change : ndarray, shape (n_post, K)
        Changes of delta that reach after treatment. Their part after treatment is square and invertible.
    within : ndarray, shape (P, K)
        The change before treatment that bounds them; zero where the bound is M itself.
    constant : float
        1 where the bound is M itself, else 0.
    before : ndarray, shape (R, K)
        The changes of delta before treatment.
    n_pre : int
    """

    change: FloatArray
    within: FloatArray
    constant: float
    before: FloatArray
    n_pre: int

    def exposure(self, weights: FloatArray) -> FloatArray:
        """Return u with ``u @ change @ delta`` = weights @ delta after treatment + terms before, (n_post,).

        The bias of the weighted effect is then at most the bound on the changes times the sum of ``|u|``.
        """
        return np.asarray(np.linalg.solve(self.change[:, self.n_pre :].T, weights))


def relative(n_pre: int, n_post: int, order: int) -> Restriction:
    """Return Delta^RM or Delta^SDRM: no change exceeds M times the largest one before treatment.

    Changes are first differences, from one period to the next, or second ones, of the slope. Those before treatment
    include that into the reference.

    References
    ----------
    Rambachan and Roth (2023), Delta^RM (order 1) and Delta^SDRM (order 2).
    """
    changes = differences(n_pre, n_post, order)
    before = changes[:-n_post]
    return Restriction(changes[-n_post:], np.vstack([before, -before]), 0.0, before, n_pre)


def smoothness(n_pre: int, n_post: int) -> Restriction:
    """Return Delta^SD: no change of slope that reaches after treatment exceeds M.

    References
    ----------
    Rambachan and Roth (2023), equation (8). Bounds on changes before treatment alone do not bear on the effect:
    tests leave them out, as HonestDiD does, and fixed-length intervals use them.
    """
    changes = differences(n_pre, n_post, 2)
    return Restriction(changes[-n_post:], np.zeros((1, n_pre + n_post)), 1.0, changes[:-n_post], n_pre)


RESTRICTIONS: Mapping[str, Callable[[int, int], Restriction]] = {
    "relative_magnitudes": partial(relative, order=1),
    "smoothness": smoothness,
    "smoothness_relative": partial(relative, order=2),
}


def differences(n_pre: int, n_post: int, order: int) -> FloatArray:
    """Return the matrix of first or second differences over periods, without the column of the reference."""
    return np.delete(np.diff(np.eye(n_pre + 1 + n_post), n=order, axis=0), n_pre, axis=1)
