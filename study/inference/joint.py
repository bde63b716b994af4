"""Terms of several estimates with their joint sampling distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.inference.covariance import Wald, covariance, wald
from study.panel import FloatArray


@dataclass(frozen=True, eq=False)
class Joint:
    """Terms of several estimates with their joint sampling distribution.

    Attributes
    ----------
    names : tuple of str
    effect : ndarray, shape (K,)
    influence : ndarray, shape (n, K)
        On the union of the estimates' units; a unit outside an estimate's sample has a zero there.
    cluster : ndarray of int, shape (n,)
    """

    names: tuple[str, ...]
    effect: FloatArray
    influence: FloatArray
    cluster: NDArray[np.int64]

    def covariance(self) -> FloatArray:
        """Return the joint covariance: CR0 times G/(G-1)."""
        return covariance(self.influence, self.cluster, "CR1")

    def differences(self) -> Joint:
        """Return every effect less the first one."""
        return Joint(
            tuple(f"{name} - {self.names[0]}" for name in self.names[1:]),
            self.effect[1:] - self.effect[0],
            self.influence[:, 1:] - self.influence[:, :1],
            self.cluster,
        )

    def test(self) -> Wald:
        """Test that all effects are zero."""
        return wald(self.effect, self.covariance())


def stack(
    names: Sequence[str],
    effects: Sequence[FloatArray],
    influences: Sequence[FloatArray],
    unit_ids: Sequence[NDArray[Any]],
    clusters: Sequence[NDArray[Any]],
) -> Joint:
    """Stack estimates on the union of their units; each influence is multiplied by n_union / n_sample."""
    union, first = np.unique(np.concatenate(unit_ids), return_index=True)
    labels = np.concatenate(clusters)[first]
    blocks = []
    for influence, units in zip(influences, unit_ids, strict=True):
        block = np.zeros((len(union), influence.shape[1]))
        block[np.searchsorted(union, units)] = influence * (len(union) / len(units))
        blocks.append(block)
    return Joint(
        tuple(names), np.concatenate(effects), np.hstack(blocks), np.unique(labels, return_inverse=True)[1]
    )
