"""Prediction errors of untreated cells that are hidden from the fit, with the jackknife over clusters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from study.core import BoolArray, FloatArray, IntArray, QuestionError, one_thread, quantile, two_sided_p
from study.designs import PredictionErrors, find_design
from study.diagnostics.equivalence import equivalence_p, small_bound
from study.diagnostics.refits import Progress
from study.estimates import Effect
from study.estimates.jackknife import covariance_degrees
from study.estimates.sandwich import Wald, wald
from study.panel import Sample

NCP = 0.5  # of the F test of equivalence, for each treated unit: the bound that fect (Liu, Wang and Xu 2024) takes


class Fit(NamedTuple):
    """One fit: the cells hidden from it, shape (n, T), and the sets of cells that are averaged, (n, T, K)."""

    hidden: BoolArray
    cells: BoolArray


@dataclass(frozen=True, eq=False)
class HiddenErrors:
    """Mean prediction errors of sets of cells, and without each of G clusters.

    Attributes
    ----------
    effect : ndarray, shape (K,)
    without : ndarray, shape (G, K)
        NaN where a set has no cell without a cluster.
    n_cells : ndarray of int, shape (K,)
    treated : ndarray of bool, shape (G,)
        Which clusters have a treated unit.
    n_units, n_treated : int
    bound : float
        Below which an effect is small.
    """

    effect: FloatArray
    without: FloatArray
    n_cells: IntArray
    treated: BoolArray
    n_units: int
    n_treated: int
    bound: float

    @cached_property
    def sums(self) -> FloatArray:
        """What each cluster adds to the errors, shape (G, K): their squares add up to the jackknife's variance."""
        g = len(self.without)
        return np.sqrt((g - 1) / g) * (self.without.mean(axis=0) - self.without)

    @property
    def covariance(self) -> FloatArray:
        """(G-1)/G times the sum of products of deviations without each cluster, shape (K, K)."""
        return self.sums.T @ self.sums

    @cached_property
    def std_error(self) -> FloatArray:
        """Jackknife standard errors, shape (K,); NaN where there are none."""
        error = np.sqrt(np.diag(self.covariance))
        return np.where(error > 0, error, np.nan)

    @cached_property
    def degrees(self) -> FloatArray:
        """Degrees of freedom of the t statistics, which the clusters on both sides leave, shape (K,)."""
        known = ~np.isnan(self.std_error)
        return np.array(
            [
                covariance_degrees(self.sums[:, [k]], self.treated) if known[k] else np.nan
                for k in range(len(known))
            ]
        )

    @property
    def p_equivalence(self) -> FloatArray:
        """P-values of errors as large as the bound, shape (K,)."""
        return equivalence_p(self.effect, self.std_error, self.bound, self.degrees)

    def effects(self, labels: Sequence[str], level: float) -> list[Effect]:
        """Return the errors as effects."""
        p_value = two_sided_p(self.effect / self.std_error, self.degrees)
        rows = []
        for k, label in enumerate(labels):
            estimate, error, degrees = (float(v[k]) for v in (self.effect, self.std_error, self.degrees))
            half = quantile((1 + level) / 2, degrees) * error if error > 0 else np.nan
            numbers = (estimate, error, float(p_value[k]), estimate - half, estimate + half)
            rows.append(
                Effect(label, *numbers, n_units=self.n_units, n_treated=self.n_treated, degrees=degrees)
            )
        return rows

    def select(self, which: BoolArray) -> HiddenErrors:
        """Return some of the sets, shape (K,)."""
        kept = (self.effect[which], self.without[:, which], self.n_cells[which])
        return HiddenErrors(*kept, self.treated, self.n_units, self.n_treated, self.bound)

    def test(self) -> tuple[Wald, float]:
        """Test that all errors are zero, and that they are not small: the F test and its equivalence version.

        The second is of the F statistic against a noncentral F distribution, with half the degrees of freedom plus one
        for its noncentrality; a small p-value says that the errors are jointly smaller than that.
        """
        degrees = covariance_degrees(self.sums, self.treated)
        zero = wald(self.effect, self.covariance, degrees)
        return zero, equivalence_f(zero)


def equivalence_f(zero: Wald) -> float:
    """Return the p-value of the equivalence version of an F test; NaN where it has no degrees of freedom."""
    left = zero.degrees - zero.rank + 1
    if not left > 0:
        return np.nan
    statistic = zero.statistic * left / (zero.degrees * zero.rank)
    return float(special.ncfdtr(zero.rank, left, NCP * (zero.degrees + 1), statistic))


def hidden_errors(
    who: str,
    sample: Sample,
    design: str,
    options: Mapping[str, Any],
    fits: Sequence[Fit],
    bound: float | None,
    progress: Progress = None,
) -> HiddenErrors:
    """Return the mean prediction errors of the sets of cells of all fits, in their order.

    Units without a cell that some fit uses are left out, and are no clusters of the jackknife.

    Raises
    ------
    QuestionError
        If the question is asked in proportion, the design does not predict untreated outcomes, no hidden cell can be
        predicted, there is one treated cluster, or without some cluster there is no answer.
    """
    if sample.question.scale == "proportional":
        raise QuestionError(f'{who}: predictions are in levels, and so is the bound; ask with scale="level".')
    chosen = find_design(design)
    predict = chosen.predicts(who, sample, dict(options))
    fitted = (sample.treatment == 0) & ~np.isnan(sample.outcome_with_covariates)
    used = np.any([(fitted & ~fit.hidden).any(axis=1) for fit in fits], axis=0)
    if not used.all():
        sample, fitted = sample.only(used, "no cell is left to fit"), fitted[used]
        fits = [Fit(fit.hidden[used], fit.cells[used]) for fit in fits]
    bound = (
        small_bound(sample, np.any([fitted & ~f.hidden for f in fits], axis=0)) if bound is None else bound
    )
    clusters = np.unique(sample.cluster)
    treated = np.zeros(len(clusters), dtype=bool)
    treated[sample.cluster[sample.ever_treated]] = True
    if treated.sum() < 2:
        raise QuestionError(
            f"{who}: one cluster is treated, so errors have no variance between clusters; use study.conformal."
        )
    with one_thread():
        effect, n_cells = _means(sample, predict, fitted, fits)
        if np.isnan(effect).all():
            raise QuestionError(f"{who}: no hidden cell can be predicted by {design}; hide fewer periods.")
        without = np.empty((len(clusters), len(effect)))
        for c in clusters:
            keep = sample.cluster != c
            try:
                rest = sample.only(keep, "a cluster is left out")
                parts = [Fit(fit.hidden[keep], fit.cells[keep]) for fit in fits]
                without[c] = _means(rest, predict, fitted[keep], parts)[0]
            except QuestionError as error:
                label = sample.cluster_labels[np.flatnonzero(~keep)[0]]
                raise QuestionError(f"{who}: no answer without cluster {label}: {error}") from error
            if progress is not None:
                progress()
    return HiddenErrors(effect, without, n_cells, treated, sample.n_units, sample.n_treated, bound)


def _means(
    sample: Sample, predict: PredictionErrors, fitted: BoolArray, fits: Sequence[Fit]
) -> tuple[FloatArray, IntArray]:
    """Return the weighted mean errors of all sets of cells, and of how many cells they are, shapes (K,)."""
    means, counts = [], []
    for fit in fits:
        error = predict(sample, fitted & ~fit.hidden)
        known = fit.cells & ~np.isnan(error)[:, :, None]
        cells = known.reshape(error.size, -1).astype(float)
        weight = np.repeat(sample.weights, error.shape[1])
        with np.errstate(invalid="ignore"):
            means.append((weight * np.nan_to_num(error).ravel()) @ cells / (weight @ cells))
        counts.append(known.sum(axis=(0, 1)))
    return np.concatenate(means), np.concatenate(counts)
