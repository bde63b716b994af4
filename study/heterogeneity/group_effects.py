"""Average effects on the change over the window within groups, and whether they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from study.core import Influence, IntArray, QuestionError, checked, unknown
from study.estimates import Estimate, Wald
from study.figures import BAND, GREY, ROW_HEIGHT, WIDTH, draw_intervals, label_rows, legend_above
from study.figures.canvas import canvas
from study.heterogeneity.grouping import Grouping, plain
from study.heterogeneity.pairs import Pairs, all_pairs, on_long_change
from study.heterogeneity.scored import LEAST_IN_GROUP, Scores, check_level, spread_of_draws, treated_by_group
from study.inference import joint

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


Of = Literal["treated", "all"]


@dataclass(frozen=True, eq=False)
class GroupEffects:
    """Effects by group.

    Attributes
    ----------
    groups : Grouping
        By row of the scores.
    of : {"treated", "all"}
        Whose average effect it is.
    fit : Estimate
        A term for each group that has one.
    sizes : tuple of (int, int)
        Units and treated units of these groups.
    left_out : tuple of (str, int, int)
        The other groups: label, units, treated units.
    band : DataFrame
        Simultaneous over the groups; see :meth:`study.estimates.estimate.Estimate.band`.
    equal : Wald or None
        That all groups have the same effect; None with one group.
    pairs : Pairs or None
    overlap : str
        What the comparisons are worth, in a sentence.
    level : float
    """

    groups: Grouping
    of: Of
    fit: Estimate
    sizes: tuple[tuple[int, int], ...]
    left_out: tuple[tuple[str, int, int], ...]
    band: pd.DataFrame
    equal: Wald | None
    pairs: Pairs | None
    overlap: str
    level: float

    @property
    def title(self) -> str:
        """What was looked at, as a heading."""
        whom = "the treated" if self.of == "treated" else "all units"
        return f"Effects on {whom} by {self.groups.by}"

    @property
    def apart(self) -> bool:
        """Whether effects differ significantly between groups."""
        return self.pairs is not None and self.pairs.apart

    @property
    def nonzero(self) -> tuple[str, ...]:
        """The groups whose band excludes zero."""
        low, high = self.band["band_low"].to_numpy(), self.band["band_high"].to_numpy()
        return tuple(term for term, out in zip(self.fit.terms, (low > 0) | (high < 0), strict=True) if out)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found; the first is the verdict."""
        return (*self._equality(), self._each(), *self._left_out(), self.overlap, *self.fit.notes)

    def _equality(self) -> list[str]:
        scale = self.fit.sample.question.effect_scale
        if self.pairs is None or self.equal is None:
            return [
                f"Groups by {self.groups.by} are not compared: {len(self.fit.terms)} of them has an effect."
            ]
        if np.isnan(self.pairs.p_value):
            return [f"Groups by {self.groups.by} are not compared: their effects are the same number."]
        k = self.pairs.largest
        first, second = self.pairs.pairs[k]
        told = "differ" if self.apart else "do not differ significantly"
        return [
            f"Effects by {self.groups.by} {told}: the test of all pairs has p = {self.pairs.p_value:.2g}, the Wald "
            f"test that all are equal p = {self.equal.p_value:.2g} (rank {self.equal.rank}); the largest t is that "
            f"of {first} less {second}, {scale.text(self.pairs.difference[k])} {scale.unit}; its minimum "
            f"detectable difference is {scale.text(self.pairs.detectable[k])}."
        ]

    def _each(self) -> str:
        scale = self.fit.sample.question.effect_scale
        rows = [
            f"{term} {scale.text(row.estimate)} {scale.interval(row.band_low, row.band_high)} "
            f"({treated} treated of {units:,})"
            for term, row, (units, treated) in zip(
                self.fit.terms, self.band.itertuples(), self.sizes, strict=True
            )
        ]
        whom = "the treated units" if self.of == "treated" else "all units"
        return (
            f"Average effects on {whom} with a simultaneous {self.level:.0%} band, "
            f"{scale.unit}: {'; '.join(rows)}. The band excludes zero for "
            f"{', '.join(self.nonzero) or 'none of them'}."
        )

    def _left_out(self) -> list[str]:
        if not self.left_out:
            return []
        named = ", ".join(
            f"{label} ({treated} treated of {units:,})" for label, units, treated in self.left_out
        )
        return [
            f"Not estimated, with fewer than {LEAST_IN_GROUP} treated or {LEAST_IN_GROUP} other units: {named}."
        ]

    def tidy(self) -> pd.DataFrame:
        """Return one row a group, those that are not estimated with NaN."""
        import pandas as pd

        known = self.band.drop(columns="event_time").rename(columns={"term": "group"})
        known["units"], known["treated"] = zip(*self.sizes, strict=True)
        rest = pd.DataFrame(self.left_out, columns=["group", "units", "treated"])
        table = pd.concat([known, rest], ignore_index=True) if len(rest) else known
        table.insert(0, "by", self.groups.by)
        return table

    def plot(self) -> Figure:
        """Draw the groups with their simultaneous band."""
        return group_figure([self])


@checked
def effects_by_group(
    scores: Scores, by: str, *, of: Of = "treated", level: float = 0.95, draws: int = 9999, seed: int = 0
) -> GroupEffects:
    """Return the average effect on the long change within groups that are fixed before treatment.

    The effect on the treated of a group is the sum of its scores (D - (1 - D) e/(1 - e)) (Y - mu_0) over its treated
    units; that on all is the mean of its doubly robust scores (Chernozhukov et al. 2018, section 5). The first is
    the default: where few are treated the weights 1/e of the second reach a hundred, and E[Y | X, D = 1] has to be
    said of units whose like are hardly ever treated, while the odds e/(1 - e) of the first stay small.

    Parameters
    ----------
    scores : Scores
        Of :func:`study.heterogeneity.score`, best with this attribute or rule among its ``groups``.
    by : str
        An attribute, a rule or a covariate; see :func:`study.heterogeneity.grouping.grouping`.
    of : {"treated", "all"}
    level : float
        Of the simultaneous band over groups and of all pairs.
    draws, seed : int
        Of normal errors, for the band and the test of all pairs.

    Raises
    ------
    QuestionError
        If there is no such group, a number is impossible, no group has five treated and five other units, or the
        scale is proportional for ``of="all"``, which implies no untreated mean.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural parameters.
    Econometrics Journal 21(1).
    """
    if of not in get_args(Of):
        raise unknown("average", str(of), get_args(Of), "effects_by_group")
    check_level("effects_by_group", level, draws)
    question = scores.sample.question
    if question.scale == "proportional" and of == "all":
        raise QuestionError(
            'effects_by_group: of is "all", which implies no counterfactual mean to divide by; take of="treated" '
            "or the scale level."
        )
    groups = scores.groups(by)
    units = np.array([int(np.sum(groups.member == g)) for g in range(len(groups.labels))])
    treated = treated_by_group(groups, scores.rows.treated)
    kept = np.minimum(treated, units - treated) >= LEAST_IN_GROUP
    if not kept.any():
        raise QuestionError(
            f"effects_by_group: no group by {by} has {LEAST_IN_GROUP} treated and {LEAST_IN_GROUP} other units; take "
            "larger groups."
        )
    chosen = np.flatnonzero(kept)
    fit = _estimate(scores, groups, chosen, of)
    several = len(chosen) > 1
    return GroupEffects(
        groups=groups,
        of=of,
        fit=fit,
        sizes=tuple((int(units[g]), int(treated[g])) for g in chosen),
        left_out=tuple(
            (groups.labels[g], int(units[g]), int(treated[g])) for g in np.flatnonzero(~kept) if units[g]
        ),
        band=fit.band(level, draws=draws, seed=seed),
        equal=_equal(fit) if several else None,
        pairs=all_pairs(fit, level=level, draws=draws, seed=seed) if several else None,
        overlap=scores.overlap,
        level=level,
    )


def _estimate(scores: Scores, groups: Grouping, chosen: IntArray, of: Of) -> Estimate:
    """Return the averages by group with their influence, both averaged over the draws of the folds."""
    n, rows = scores.sample.n_units, scores.rows
    member = (groups.member[:, None] == chosen).astype(float)
    counted = member * rows.treated[:, None] if of == "treated" else member
    total = counted.sum(axis=0)
    values = scores.on_treated if of == "treated" else scores.effects
    of_draw = member.T @ values / total[:, None]
    effects = of_draw.mean(axis=1)
    influence = n / total * (member * values.mean(axis=1, keepdims=True) - counted * effects)
    mean = counted.T @ rows.at_end / total
    of_mean = n / total * counted * (rows.at_end[:, None] - mean)
    untreated = {
        "untreated_mean": mean - effects,
        "untreated_influence": Influence.of(scores.to_units(of_mean - influence)),
    }
    return on_long_change(
        scores.sample,
        tuple(groups.labels[g] for g in chosen),
        effects,
        scores.to_units(influence),
        design="effects_by_group",
        notes=(*rows.notes, *spread_of_draws(scores, of_draw, influence)),
        **(untreated if of == "treated" else {}),
    )


def _equal(fit: Estimate) -> Wald | None:
    """Test that all terms are the same, None where they are the same number."""
    differences = joint(fit).differences()
    return differences.test() if np.all(differences.std_error > 0) else None


def group_figure(found: Sequence[GroupEffects]) -> Figure:
    """Draw effects by group, a panel for each grouping, with simultaneous bands and pointwise intervals."""
    rows = [len(one.fit.terms) for one in found]
    scale = found[0].fit.sample.question.effect_scale
    factor = scale.factor
    with canvas(WIDTH, 1.1 + sum(0.38 + ROW_HEIGHT * n for n in rows)) as figure:
        axes = figure.subplots(
            len(found), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [n + 0.6 for n in rows]}
        )[:, 0]
        for axis, one in zip(axes, found, strict=True):
            inner = one.fit.tidy(one.level)
            estimate = factor * one.fit.effect
            places = np.arange(len(estimate))
            axis.use_sticky_edges = False
            axis.axvline(0, color=GREY, linewidth=0.8)
            low, high = (factor * one.band[side].to_numpy() for side in ("band_low", "band_high"))
            axis.barh(places, high - low, left=low, height=0.5, color=BAND, label="simultaneous band")
            ends = factor * inner[["conf_low", "conf_high"]].to_numpy().T
            draw_intervals(axis, estimate, places, ends, "effect, pointwise interval")
            labels = [
                f"{term.removeprefix(one.groups.by).strip() or plain(term)} ({treated} of {units:,})"
                for term, (units, treated) in zip(one.fit.terms, one.sizes, strict=True)
            ]
            label_rows(axis, labels)
            axis.set_title(f"By {plain(one.groups.by)}", loc="left")
        axes[-1].set_xlabel(f"{scale.axis()}\n({100 * found[0].level:g}%; in brackets treated of all)")
        legend_above(figure, axes[0])
    return figure
