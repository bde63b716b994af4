"""Changes in changes of Athey and Imbens (2006)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, first_of
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_cells import Comparison, cells_of, comparisons, known_cells, whole_cohorts
from study.estimates import Estimate, group_time_effects, left_out_by_period

# Shares are sums of weights, which round: a share that another equals but for rounding is reached.
ROUNDING = 1e-13
# A value that so large a share of a group has makes the outcome a discrete one.
MASS = 0.05
# Up to so many comparison clusters are left out exactly: more move distributions as derivatives say.
MANY = 100


@design(
    title="Changes in changes (Athey and Imbens)",
    reference="athey2006",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.STABLE_RANKS, Assumes.LIMITED_ANTICIPATION, Assumes.OVERLAP),
    supports=COMMON - {Supports.COVARIATES}
    | {Supports.REPEATED_CELLS, Supports.WEIGHTS, Supports.NEVER_TREATED, Supports.VARYING_BASE},
)
def changes_in_changes(sample: Sample, *, quantiles: Sequence[float] | None = (0.25, 0.5, 0.75)) -> Estimate:
    """Move each treated unit as comparison units at its outcome moved, and compare distributions.

    With F00 and F01 the distributions of the comparison units' outcomes in the base and in the later period, a treated
    unit's outcome y of the base period becomes F01^-1(F00(y)) without treatment (Theorem 3.1). What parallel trends ask
    of means this asks of ranks, so that it holds for every monotone scale of the outcome.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. Each cohort and period is compared as in :func:`callaway_santanna`.
    quantiles : sequence of float, optional
        At which the distributions of outcomes of the treated with and without treatment are compared besides the means.

    Returns
    -------
    Estimate
        One term for each cohort and period, with a reference at the base, which averages are of; then for each period
        from treatment on one for each quantile, ``at`` which it is. Standard errors are analytic, as in Section 5:
        derivatives of inverse distributions from neighbouring outcomes for the means, from kernel densities at the
        quantiles. Default errors of means leave each of up to 100 comparison clusters out exactly, since inverse
        distributions of few units have no derivative. Where a group has many units at one value the outcome is
        discrete: effects are then the lower ends of the bounds of Theorem 4.1, a note has the upper ends, and quantiles
        have no standard errors.

    Raises
    ------
    QuestionError
        If a quantile is not between 0 and 1, or no effect can be estimated.

    References
    ----------
    Athey, S., and Imbens, G. W. (2006). Identification and inference in nonlinear difference-in-differences models.
    Econometrica 74(2).
    """
    levels = np.unique(() if quantiles is None else quantiles)
    if not np.all((levels > 0) & (levels < 1)):
        raise QuestionError(f"changes_in_changes: quantiles are {quantiles}; they must be between 0 and 1.")
    cells, notes = cells_of(sample, sample.cohorts), list[str]()
    n_cells, used = len(cells.cohort), np.zeros(sample.y.T.shape, dtype=bool)
    reasons, size = np.full(n_cells, "", dtype=object), np.zeros(n_cells, dtype=np.int64)
    by_cell: dict[int, Changes] = {}
    without: dict[int, FloatArray] = {}
    for c in comparisons(sample, cells):
        reasons[c.own], size[c.own] = c.unseen, c.treated_now.sum(axis=1)
        for k in np.flatnonzero(c.unseen == ""):
            base = _groups(sample, c, c.base[k], c.compared_base[k], c.treated_base[k])
            now = _groups(sample, c, c.now[k], c.compared_now[k], c.treated_now[k])
            if c.now[k] == c.base[k]:
                by_cell[int(c.own[k])] = no_change(now[1], levels, sample.n_units)
            else:
                by_cell[int(c.own[k])] = changes(base, now, levels, sample.n_units)
                if np.count_nonzero(np.bincount(sample.cluster[now[0].rows])) <= MANY:
                    without[int(c.own[k])] = without_each(base, now[0], sample.cluster)
        used |= c.used(np.flatnonzero((c.unseen == "") & (c.now != c.base)), len(used))
    known = known_cells("changes_in_changes", sample, cells, reasons, notes)

    # Means in all cells, then quantiles in those from treatment on.
    after = known & (cells.period >= cells.cohort - sample.question.anticipation)
    pairs = [(k, 0) for k in np.flatnonzero(known).tolist()]
    pairs += [(k, j) for k in np.flatnonzero(after).tolist() for j in range(1, len(levels) + 1)]
    cell, column = np.array(pairs).T

    def each(name: str) -> FloatArray:
        return np.stack([getattr(by_cell[k], name)[..., j] for k, j in pairs], axis=-1)

    fit = group_time_effects(
        sample,
        cells.cohort[cell],
        cells.period[cell],
        each("effect"),
        Influence.of(each("influence")),
        reference=cells.reference[cell],
        untreated_mean=each("untreated"),
        untreated_influence=Influence.of(each("of_untreated")),
        n_obs=int(used.sum()),
        contrast=whole_cohorts(sample, cells.select(cell)),
    )
    if sample.question.missing == "cells":
        influence, of_base = each("influence"), each("of_base")
        parts = influence - of_base, of_base, influence + each("of_untreated")
        fit = left_out_by_period(fit, *map(Influence.of, parts))
    if without:
        none = np.full(sample.n_units, np.nan)
        anew = [without.get(k, none) if j == 0 else none for k, j in pairs]
        fit = _left_out_anew(fit, np.column_stack(anew))
    notes += _range_and_bounds({fit.terms[i]: by_cell[k] for i, (k, j) in enumerate(pairs) if j == 0})
    at = np.array([np.nan, *levels])[column]
    of_quantile = [
        f"quantile {u:g} {term.removeprefix('ATT')}" for term, u in zip(fit.terms, at, strict=True)
    ]
    terms = tuple(np.where(np.isnan(at), fit.terms, of_quantile).tolist())
    return replace(fit, terms=terms, at=at, at_name="quantile", remarks=tuple(notes))


def _groups(
    sample: Sample, c: Comparison, period: int, compared: BoolArray, treated: BoolArray
) -> list[Group]:
    """Return the outcomes of the comparison and of the treated units that are seen in a period."""
    rows = np.flatnonzero(compared), c.members[treated]
    return [Group.of(units, sample.y[units, period], sample.weights[units]) for units in rows]


def _left_out_anew(fit: Estimate, anew: FloatArray) -> Estimate:
    """Return an estimate that loses with clusters of comparison units what is given, shape (n, K), NaN elsewhere."""
    left, given = fit.leave_out, ~np.isnan(anew)
    level = Influence.of(np.where(given, anew, left.level.dense()))
    untreated = left.untreated
    if untreated is not None:
        untreated = Influence.of(np.where(given, -anew, untreated.dense()))
    left = left._replace(level=level, untreated=untreated, own=np.any(given, axis=0))
    return replace(fit, contrast=replace(fit.contrast, left_out=left))


def _range_and_bounds(by_term: Mapping[str, Changes]) -> Iterator[str]:
    """Say how many treated units have no comparison unit at their outcome, and the bounds of discrete outcomes."""
    outside = [f"{name} {each.outside} of {each.treated}" for name, each in by_term.items() if each.outside]
    if outside:
        yield (
            "treated units whose base outcome is below or above those of all comparison units, so that the smallest or "
            f"largest later outcome of these stands for them: {first_of(outside)}"
        )
    upper = [f"{name} {each.upper:.4g}" for name, each in by_term.items() if not np.isnan(each.upper)]
    if upper:
        yield (
            "the outcome is discrete: effects are the lower ends of bounds, whose upper ends are "
            f"{first_of(upper)}; quantiles have no standard errors, and those of means take outcomes as continuous"
        )


class Group(NamedTuple):
    """Outcomes of a group in a period, ascending: units, outcomes, shares of weight, and their sums; shapes (m,)."""

    rows: IntArray
    y: FloatArray
    share: FloatArray
    total: FloatArray

    @classmethod
    def of(cls, rows: IntArray, y: FloatArray, weights: FloatArray) -> Group:
        """Put units in the order of their outcomes."""
        order = np.argsort(y, kind="stable")
        total = np.cumsum(weights[order])
        return cls(rows[order], y[order], weights[order] / total[-1:], total / total[-1:])

    def distribution(self, y: FloatArray, side: Literal["left", "right"] = "right") -> FloatArray:
        """Return the share of the weight of outcomes up to, or below, each of some values."""
        return np.concatenate([[0.0], self.total])[np.searchsorted(self.y, y, side=side)]

    def place(self, share: FloatArray, side: Literal["left", "right"] = "left") -> IntArray:
        """Return the place of the first outcome up to which a share, or more than it, of the weight is."""
        shift = -ROUNDING if side == "left" else ROUNDING
        return np.minimum(np.searchsorted(self.total, share + shift, side=side), len(self.y) - 1)

    def slope(self, y: FloatArray) -> FloatArray:
        """Return the derivative of the inverse distribution at some outcomes, from the next ones on both sides."""
        last = np.append(self.y[1:] != self.y[:-1], True)
        value, total = self.y[last], self.total[last]
        place = np.searchsorted(value, y)
        above, below = np.minimum(place + 1, len(value) - 1), np.maximum(place - 1, 0)
        share = total[above] - total[below]
        return np.divide(value[above] - value[below], share, out=np.zeros(len(y)), where=share > 0)

    def sparsity(self, y: FloatArray) -> FloatArray:
        """Return one over the density at some values, by a Gaussian kernel with Silverman's bandwidth."""
        low, high = self.y[self.place(np.array([0.25, 0.75]))]
        deviation = float(np.sqrt(self.share @ (self.y - self.share @ self.y) ** 2))
        width = 0.9 * min(deviation, (high - low) / 1.349) * len(self.y) ** -0.2
        if width <= 0:
            return np.zeros(len(y))
        density = (
            self.share @ np.exp(-(((self.y[:, None] - y) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
        )
        return np.divide(1.0, density, out=np.zeros(len(y)), where=density > 0)

    @property
    def discrete(self) -> bool:
        """Whether several units at one value have more than so large a share of the weight."""
        value = np.unique(self.y, return_inverse=True)[1]
        return bool(np.any((np.bincount(value, self.share) > MASS) & (np.bincount(value) > 1)))


class Changes(NamedTuple):
    """Effects in one cell, of the mean and then of each quantile.

    Attributes
    ----------
    effect, untreated : ndarray, shape (1 + Q,)
    influence, of_untreated, of_base : ndarray, shape (n, 1 + Q)
        On effects and on untreated outcomes, and the part of the former that outcomes in the base period have.
    upper : float
        Upper end of the bounds of the mean effect of a discrete outcome, of which ``effect`` is the lower; else NaN.
    outside, treated : int
        Treated units beyond the comparison units in the base period, and all.
    """

    effect: FloatArray
    untreated: FloatArray
    influence: FloatArray
    of_untreated: FloatArray
    of_base: FloatArray
    upper: float
    outside: int
    treated: int


def without_each(base: Sequence[Group], now: Group, cluster: IntArray) -> FloatArray:
    """Return n times what leaving out each comparison unit's cluster takes from the mean effect, shape (n,).

    The units of a cluster share it; NaN of units that are not compared with.
    """
    compared, treated = base
    units = np.union1d(compared.rows, now.rows)
    left, number, size = np.unique(cluster[units], return_inverse=True, return_counts=True)
    kept = (group.share * (cluster[group.rows] != left[:, None]) for group in (compared, now))
    early, late = (np.cumsum(each, axis=1) / np.maximum(each.sum(axis=1), ROUNDING)[:, None] for each in kept)
    # A counterfactual outcome is the first up to which the share is that of the comparison units below the treated
    # unit; samples without a cluster stand one above the other.
    apart = 2.0 * np.arange(len(left))[:, None]
    share = np.maximum(np.pad(early, ((0, 0), (1, 0))) - ROUNDING, ROUNDING)
    place = np.searchsorted((late + apart).ravel(), (share + apart).ravel()).reshape(share.shape) % len(now.y)
    below = np.searchsorted(compared.y, treated.y, side="right")
    mean = now.y[place] @ np.bincount(below, treated.share, len(compared.y) + 1)
    full = treated.share @ now.y[now.place(compared.distribution(treated.y))]
    taken = np.full(len(cluster), np.nan)
    taken[units] = (len(cluster) * (mean - full) / size)[number]
    return taken


def no_change(treated: Group, levels: FloatArray, n_units: int) -> Changes:
    """Return the effects at the base itself, which are zero, and the treated units' mean there."""
    effect, (none, of_mean) = np.zeros(1 + len(levels)), np.zeros((2, n_units, 1 + len(levels)))
    mean = treated.share @ treated.y
    of_mean[treated.rows] = (n_units * treated.share * (treated.y - mean))[:, None]
    return Changes(effect, effect + mean, none, of_mean, none, np.nan, 0, len(treated.y))


def changes(base: Sequence[Group], now: Sequence[Group], levels: FloatArray, n_units: int) -> Changes:
    """Return the effects on the mean and on quantiles, with their influence among n units.

    With k(y) = F01^-1(F00(y)) and k' the derivative of F01^-1 at F00(y), the counterfactual mean E k(Y10) has influence
    E[k'(Y10) (1{y00 <= Y10} - 1{y01 <= k(Y10)})] of comparison units and k(y10) of treated units, each less its mean.

    Parameters
    ----------
    base, now : sequence of Group
        Comparison units, then treated ones.
    levels : ndarray, shape (Q,)
        Of the quantiles.
    n_units : int
    """
    (compared_base, treated_base), (compared_now, treated_now) = base, now
    z, share = treated_base.y, treated_base.share
    counterfactual = treated_base._replace(
        y=compared_now.y[compared_now.place(compared_base.distribution(z))]
    )
    k = counterfactual.y

    # From above: what a share more up to an outcome of the comparison units adds to the mean.
    total = np.concatenate([[0.0], np.cumsum(share * compared_now.slope(k))])
    of_base, of_now = (
        total[-1] - total[np.searchsorted(values, group.y)]
        for values, group in ((z, compared_base), (k, compared_now))
    )
    at, treated_at = z[treated_base.place(levels)], treated_now.y[treated_now.place(levels)]
    k_at = k[counterfactual.place(levels)]
    rank, own = compared_now.sparsity(k_at), counterfactual.sparsity(k_at)
    untreated = np.concatenate([[share @ k], k_at])
    effect = np.concatenate([[treated_now.share @ treated_now.y], treated_at]) - untreated

    before, after, of_treated = np.zeros((3, n_units, 1 + len(levels)))
    for out, group, of_mean, of_quantiles in (
        (before, compared_base, of_base, rank * (compared_base.y[:, None] <= at)),
        (after, compared_now, -of_now, -rank * (compared_now.y[:, None] <= k_at)),
        (before, treated_base, k, -own * (z[:, None] <= at)),
        (
            of_treated,
            treated_now,
            treated_now.y,
            -treated_now.sparsity(treated_at) * (treated_now.y[:, None] <= treated_at),
        ),
    ):
        value = np.column_stack([of_mean, of_quantiles])
        out[group.rows] += n_units * group.share[:, None] * (value - group.share @ value)
    upper = np.nan
    if any(group.discrete for group in (compared_base, compared_now, treated_base, treated_now)):
        before[:, 1:] = after[:, 1:] = of_treated[:, 1:] = 0.0
        lowest = compared_now.y[compared_now.place(compared_base.distribution(z, "left"), "right")]
        upper = float(treated_now.share @ treated_now.y - share @ np.minimum(lowest, k))
    outside = int(np.sum((z < compared_base.y[0]) | (z > compared_base.y[-1])))
    of_untreated = before + after
    return Changes(
        effect, untreated, of_treated - of_untreated, of_untreated, -before, upper, outside, len(z)
    )
