"""Terms of several estimates with their joint sampling distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, Influence, normal_score
from study.estimates.covariance import Wald, wald
from study.estimates.jackknife import covariance_degrees
from study.estimates.multipliers import largest_draws


@dataclass(frozen=True, eq=False)
class Joint:
    """Terms of several estimates with their joint sampling distribution.

    Attributes
    ----------
    names : tuple of str
    effect : ndarray, shape (K,)
    influence : ndarray, shape (n, K)
        On the union of the estimates' units, under each one's convention; a unit outside an estimate's sample has a
        zero there.
    cluster : ndarray of int, shape (n,)
    treated : ndarray of bool, shape (C,)
        Which clusters have a treated unit.
    by_clusters : bool
        Whether the degrees of freedom of the covariance are those that the clusters leave, or infinite.
    """

    names: tuple[str, ...]
    effect: FloatArray
    influence: FloatArray
    cluster: NDArray[np.int64]
    treated: NDArray[np.bool_]
    by_clusters: bool

    @cached_property
    def sums(self) -> FloatArray:
        """Influence added up by cluster, shape (C, K)."""
        return Influence.of(self.influence).cluster_sums(self.cluster)

    def covariance(self) -> FloatArray:
        """Return the joint covariance."""
        return self.sums.T @ self.sums / len(self.influence) ** 2

    @cached_property
    def std_error(self) -> FloatArray:
        """Standard errors of the terms, shape (K,)."""
        return np.sqrt(np.diag(self.covariance()))

    @cached_property
    def degrees_of_freedom(self) -> FloatArray:
        """Degrees of freedom of the t statistics, shape (K,)."""
        if not self.by_clusters:
            return np.full(len(self.effect), np.inf)
        columns = ([column] for column in range(len(self.effect)))
        return np.array([covariance_degrees(self.sums[:, column], self.treated) for column in columns])

    def combined(self, names: Sequence[str], weight: FloatArray) -> Joint:
        """Return linear combinations of the terms; weight has shape (K, M)."""
        return replace(
            self, names=tuple(names), effect=self.effect @ weight, influence=self.influence @ weight
        )

    def select(self, which: NDArray[np.bool_]) -> Joint:
        """Return some of the terms, shape (K,)."""
        names = tuple(name for name, used in zip(self.names, which, strict=True) if used)
        return replace(self, names=names, effect=self.effect[which], influence=self.influence[:, which])

    def differences(self) -> Joint:
        """Return every effect less the first one."""
        against_first = np.vstack([-np.ones(len(self.names) - 1), np.eye(len(self.names) - 1)])
        return self.combined([f"{name} - {self.names[0]}" for name in self.names[1:]], against_first)

    def largest_t(self, draws: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Return each effect's absolute t on the normal scale, shape (K,), and the largest one of each draw, (draws,).

        The draws are normal with the covariance of the effects, of which none is zero by construction.
        """
        statistics = normal_score(self.effect / self.std_error, self.degrees_of_freedom)
        return statistics, largest_draws(self.sums, draws, seed)

    def test(self) -> Wald:
        """Test that all effects are zero."""
        degrees = covariance_degrees(self.sums, self.treated) if self.by_clusters else np.inf
        return wald(self.effect, self.covariance(), degrees)


def stack(
    names: Sequence[str],
    effects: Sequence[FloatArray],
    influences: Sequence[FloatArray],
    unit_ids: Sequence[NDArray[Any]],
    clusters: Sequence[NDArray[Any]],
    treated: Sequence[NDArray[np.bool_]],
    by_clusters: bool,
) -> Joint:
    """Stack estimates on the union of their units; each influence is multiplied by n_union / n_sample.

    ``treated`` says by estimate which of its units are treated, shape (n,).
    """
    union, first = np.unique(np.concatenate(unit_ids), return_index=True)
    labels = np.concatenate(clusters)[first]
    blocks = []
    for influence, units in zip(influences, unit_ids, strict=True):
        block = np.zeros((len(union), influence.shape[1]))
        block[np.searchsorted(union, units)] = influence * (len(union) / len(units))
        blocks.append(block)
    cluster = np.unique(labels, return_inverse=True)[1]
    on_treated = np.zeros(int(cluster.max()) + 1, dtype=bool)
    for units, which in zip(unit_ids, treated, strict=True):
        on_treated[cluster[np.searchsorted(union, units[which])]] = True
    return Joint(tuple(names), np.concatenate(effects), np.hstack(blocks), cluster, on_treated, by_clusters)
