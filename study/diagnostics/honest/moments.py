"""The moment inequalities of a hypothesis about the effect, reduced to the few vertices of their dual program.

The hypothesis that the effect is theta and delta is in a set A delta <= d says that for some effects tau by event
time with l'tau = theta, all means of Y - A_post tau are at most zero, with Y = A betahat - d. Its statistic is
(Andrews, Roth and Pakes 2023)

    eta(theta) = min over eta, tau of eta  such that  Y - A_post tau <= eta * sd(Y),  l'tau = theta
               = max over gamma of gamma'(Y - A_post l theta / l'l)  such that  gamma >= 0, gamma'sd = 1,
                                                                     gamma'A_post proportional to l'.

The rows of A come in pairs, +change and -change less the same bound, and the changes after treatment are one for
one with the event times. So gamma differs between the two rows of a pair by a multiple of the one vector u of
``Restriction.exposure``, and the vertices are known: u's positive part on one side and its negative part on the
other, in both orders, and equal weights on the two rows of one pair. With D the estimate that the set is centred
on, V the bound for M = 1 and m = M sum|u|, the values of the vertices are

    (D - theta - m V) / s1,   (theta - D - m V) / s2,   -2 M V / (sd_j+ + sd_j-) for each pair j,

of which only the pairs with the smallest and the largest sum of deviations can be the maximum. No program has to
be solved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from study.core import FloatArray
from study.diagnostics.honest.restrictions import Restriction

N_VERTICES = 4


@dataclass(frozen=True, eq=False)
class Moments:
    """The vertices of Q problems: one for each value of M and each set of the union.

    Attributes
    ----------
    value : ndarray, shape (Q, 4)
        Values of the vertices at theta = 0; they are normal.
    slope : ndarray, shape (Q, 4)
        Their derivatives by theta: negative, positive, zero, zero.
    forms : ndarray, shape (Q, 4, 2)
        Their coefficients on D and V.
    spread : ndarray, shape (Q, 2, 2)
        Covariance of D and V.
    """

    value: FloatArray
    slope: FloatArray
    forms: FloatArray
    spread: FloatArray

    @property
    def covariance(self) -> FloatArray:
        """Covariance of the vertices' values, shape (Q, 4, 4)."""
        return self.forms @ self.spread @ self.forms.transpose(0, 2, 1)

    def at(self, theta: FloatArray) -> FloatArray:
        """Return the values at G values of theta for each problem, shape (Q, G) to (Q, G, 4)."""
        return self.value[:, None, :] + self.slope[:, None, :] * theta[:, :, None]


def moments(
    betahat: FloatArray, sigma: FloatArray, weights: FloatArray, restriction: Restriction, m: FloatArray
) -> Moments:
    """Return the vertices for all values of M and all sets of the restriction, M by M.

    Parameters
    ----------
    betahat, sigma : ndarray, shapes (K,), (K, K)
    weights : ndarray, shape (n_post,)
        The effect is ``weights @ tau``.
    restriction : Restriction
    m : ndarray, shape (m,)
        Not negative.
    """
    u = restriction.exposure(weights)
    up, down = np.maximum(u, 0), np.maximum(-u, 0)
    above, below = _deviations(sigma, restriction, m)
    first, second = above @ up + below @ down, above @ down + below @ up
    pairs = 2 * m[:, None, None] / (above + below)
    bound = m[:, None] * np.abs(u).sum()

    forms = np.zeros((len(m), len(restriction.within), N_VERTICES, 2))
    forms[..., 0, 0], forms[..., 1, 0] = 1 / first, -1 / second
    forms[..., 0, 1], forms[..., 1, 1] = -bound / first, -bound / second
    forms[..., 2, 1], forms[..., 3, 1] = -pairs.max(axis=2), -pairs.min(axis=2)

    centre, size = u @ restriction.change, restriction.within
    means = np.stack(np.broadcast_arrays(centre @ betahat, size @ betahat + restriction.constant), axis=-1)
    spread = np.empty((len(size), 2, 2))
    spread[:, 0, 0] = centre @ sigma @ centre
    spread[:, 0, 1] = spread[:, 1, 0] = size @ sigma @ centre
    spread[:, 1, 1] = np.einsum("pk,kj,pj->p", size, sigma, size)

    value = np.einsum("mpvf,pf->mpv", forms, means)
    flat = (-1, N_VERTICES)
    return Moments(
        value=value.reshape(flat),
        slope=-forms[..., 0].reshape(flat),
        forms=forms.reshape(-1, N_VERTICES, 2),
        spread=np.tile(spread, (len(m), 1, 1)),
    )


def _deviations(sigma: FloatArray, restriction: Restriction, m: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return sd(change_j - M within_p) and sd(-change_j - M within_p), shapes (m, P, n_post)."""
    change, within, m = restriction.change, restriction.within, m[:, None, None]
    of_change = np.einsum("jk,kl,jl->j", change, sigma, change)
    of_within = np.einsum("pk,kl,pl->p", within, sigma, within)[:, None]
    shared = within @ sigma @ change.T
    common = of_change + m**2 * of_within
    return np.sqrt(common - 2 * m * shared), np.sqrt(common + 2 * m * shared)
