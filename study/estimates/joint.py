"""Terms of several estimates with their joint sampling distribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, compress
from typing import NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, normal_score
from study.estimates.contrast import largest, present
from study.estimates.estimate import Estimate
from study.estimates.multiplier import largest_draws
from study.estimates.vcov.degrees import covariance_degrees, treated_together
from study.estimates.wald import Wald, wald
from study.panel import Sample, Summed

# A combination does not vary where its standard error is below this share of its terms' own: far above rounding and
# what Poisson iterations leave, far below any difference that matters.
EQUAL = 1e-7
ALONE, OUTSIDE = -1, -2  # strata of units that are like no other, and of those that are not in a sample


@dataclass(frozen=True, eq=False)
class Joint:
    """Terms of several estimates with their joint sampling distribution.

    Attributes
    ----------
    names : tuple of str
    effect : ndarray, shape (K,)
    influence : ndarray, shape (n, K)
        On the union of the estimates' units, under each one's vcov; a unit outside an estimate's sample has a
        zero there.
    sampling : ndarray, shape (n, K)
        The same without small-sample corrections: estimators that are equal have the same.
    cluster : ndarray of int, shape (n,)
    treated : ndarray of bool, shape (n, K)
        Which units are on the treated side of a term.
    replicas : Summed, optional
        What clusters stand for, where their numbers stand for several.
    by_clusters : bool
        Whether the degrees of freedom of the covariance are those that the clusters leave, or infinite.
    stratum : ndarray of int, shape (n,), optional
        As :class:`study.estimates.contrast.Sides` has it, of units that all estimates treat alike.
    """

    names: tuple[str, ...]
    effect: FloatArray = field(repr=False)
    influence: FloatArray = field(repr=False)
    sampling: FloatArray = field(repr=False)
    cluster: IntArray = field(repr=False)
    treated: BoolArray = field(repr=False)
    by_clusters: bool
    replicas: Summed | None = field(default=None, repr=False)
    stratum: IntArray | None = field(default=None, repr=False)

    @cached_property
    def sums(self) -> FloatArray:
        """Influence added up by cluster, shape (C, K), as :func:`study.core.Influence.cluster_sums` has it."""
        sums = Influence.of(self.influence).cluster_sums(self.cluster)
        return sums if self.replicas is None else sums / np.sqrt(self.replicas.frequency)[:, None]

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
        return np.array([self._degrees([column]) for column in range(len(self.effect))])

    def _degrees(self, terms: list[int] | slice) -> float:
        """Return those of the covariance of some terms, by the rule that the intervals of an estimate have.

        A cluster counts if one of its units, or of the units of their strata, has influence, which may add up to zero,
        and is on the treated side if one of these is.
        """
        if not self.by_clusters:
            return np.inf
        if not np.any(self.sums[:, terms], axis=0).all():  # one does not vary
            return np.nan
        influence = self.influence[:, terms]
        if self.replicas is not None:
            influence = influence / self.replicas.frequency[self.cluster][:, None]
        used = present(influence if self.stratum is None else largest(influence, self.stratum)) > 0
        on_treated = self.treated[:, terms]
        treated, some = np.zeros((2, int(self.cluster.max()) + 1), dtype=bool)
        for counts, which in ((treated, used & on_treated), (some, used)):
            counts[self.cluster[which.any(axis=1)]] = True
        together = np.zeros(len(some), dtype=np.int64)
        np.maximum.at(together, self.cluster, treated_together(on_treated))
        return covariance_degrees(self.sums[:, terms], treated, self.replicas, some, together)

    def combined(self, names: Sequence[str], weight: FloatArray) -> Joint:
        """Return linear combinations of the terms; weight has shape (K, M).

        One of which rounding is all that varies has no influence, so that its standard error is zero.
        """
        influence, sampling = self.influence @ weight, self.sampling @ weight
        treated = self.treated.astype(float) @ (weight != 0) > 0
        own = replace(self, names=tuple(names), effect=self.effect @ weight, treated=treated)
        own = replace(own, influence=influence, sampling=sampling)
        negligible = own.std_error <= EQUAL * (self.std_error @ np.abs(weight))
        return replace(own, influence=np.where(negligible, 0.0, influence)) if negligible.any() else own

    def select(self, which: BoolArray) -> Joint:
        """Return some of the terms, shape (K,)."""
        names, effect = tuple(compress(self.names, which)), self.effect[which]
        influence, sampling = self.influence[:, which], self.sampling[:, which]
        own = replace(self, names=names, effect=effect, treated=self.treated[:, which])
        return replace(own, influence=influence, sampling=sampling)

    def differences(self) -> Joint:
        """Return every effect less the first one."""
        against_first = np.vstack([-np.ones(len(self.names) - 1), np.eye(len(self.names) - 1)])
        return self.combined([f"{name} - {self.names[0]}" for name in self.names[1:]], against_first)

    def pairwise(self) -> tuple[tuple[tuple[str, str], ...], Joint]:
        """Return all pairs of terms, and of each pair the first less the second."""
        pairs, identity = tuple(combinations(self.names, 2)), np.eye(len(self.names))
        first, second = np.triu_indices(len(self.names), 1)
        return pairs, self.combined(
            [f"{a} - {b}" for a, b in pairs], identity[:, first] - identity[:, second]
        )

    def largest_t(self, draws: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Return each effect's absolute t on the normal scale, shape (K,), and the largest one of each draw, (draws,).

        The draws are normal with the covariance of the effects, of which none is zero by construction.
        """
        statistics = normal_score(self.effect / self.std_error, self.degrees_of_freedom)
        return statistics, largest_draws(self.sums, draws, seed)

    def test(self) -> Wald:
        """Test that all effects are zero."""
        return wald(self.effect, self.covariance(), self._degrees(slice(None)))


class Stacked(NamedTuple):
    """Terms of one estimate as a stack takes them: numbers, and the sample that they are of.

    Attributes
    ----------
    sample : Sample
    effect : ndarray, shape (K,)
    influence : ndarray, shape (n, K)
        Under the estimate's vcov.
    by_clusters : bool
        As :class:`Joint` has it.
    sampling : ndarray, shape (n, K)
    treated : ndarray of bool, shape (n, K)
    stratum : ndarray of int, shape (n,), optional
    """

    sample: Sample
    effect: FloatArray
    influence: FloatArray
    by_clusters: bool
    sampling: FloatArray
    treated: BoolArray
    stratum: IntArray | None = None

    @classmethod
    def of(cls, fit: Estimate, terms: BoolArray | None = None) -> Stacked:
        """Return some of an estimate's terms, shape (K,), or all."""
        which = np.ones(len(fit.terms), dtype=bool) if terms is None else terms
        influence, sampling = (each.select(which).dense() for each in (fit.errors, fit.influence_map))
        sides, by_clusters = fit.sides, fit.by_clusters
        treated = sides.treated[sides.group][:, which] > 0
        return cls(fit.sample, fit.effect[which], influence, by_clusters, sampling, treated, sides.stratum)


def stack(names: Sequence[str], parts: Sequence[Stacked]) -> Joint:
    """Stack terms of estimates on the union of their units; each influence is multiplied by n_union / n_sample."""
    samples = [part.sample for part in parts]
    panel = samples[0].panel
    replicas = samples[0].replicas
    if any(sample.summed is not None and sample.panel is not panel for sample in samples):
        raise QuestionError(
            f"{panel.name}: its units are added up for one outcome and event at a time, so that these estimates have "
            "no joint distribution with others; compare designs on one question."
        )
    union, first = np.unique(np.concatenate([sample.unit_ids for sample in samples]), return_index=True)
    labels = np.concatenate([sample.cluster_labels for sample in samples])[first]
    cluster = np.unique(labels, return_inverse=True)[1]
    blocks, treated, strata = [], [], []
    for part in parts:
        rows, k = np.searchsorted(union, part.sample.unit_ids), part.influence.shape[1]
        block = np.zeros((2, len(union), k))
        block[:, rows] = np.stack([part.influence, part.sampling]) * (len(union) / len(rows))
        blocks.append(block)
        side, stratum = np.zeros((len(union), k), dtype=bool), np.full(len(union), OUTSIDE)
        side[rows], stratum[rows] = part.treated, ALONE if part.stratum is None else part.stratum
        treated.append(side)
        strata.append(stratum)
    alike = np.unique(np.stack(strata), axis=1, return_inverse=True)[1].reshape(-1)
    alike[np.any(np.stack(strata) == ALONE, axis=0)] = ALONE
    effect, by_clusters = np.concatenate([part.effect for part in parts]), all(p.by_clusters for p in parts)
    if replicas is not None and panel.summed is not None:
        replicas = panel.summed.select(panel.rows_of(union))
    influence, sampling = np.concatenate(blocks, axis=2)
    sides = np.concatenate(treated, axis=1)
    return Joint(tuple(names), effect, influence, sampling, cluster, sides, by_clusters, replicas, alike)
