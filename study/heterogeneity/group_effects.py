"""Average effects on the change over the window within groups, and whether they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from study.core import BoolArray, Influence, IntArray, QuestionError, p_is
from study.diagnostics import Finding, titled
from study.estimates import Estimate, Wald
from study.figures import BAND, ROW_HEIGHT, Axes, Figure, canvas, draw_dots, legend_above, on_axes
from study.heterogeneity.scored import (
    LEAST_IN_GROUP,
    Grouping,
    Pairs,
    Scores,
    all_pairs,
    averaged,
    plain,
    without_error,
)
from study.inference import joint
from study.panel import Scale

Of = Literal["treated", "all"]


@titled("Effects by group")
def effects_by_group(
    scores: Scores, by: str, *, of: Of = "treated", level: float = 0.95, draws: int = 9999, seed: int = 0
) -> Finding:
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
        An attribute, a rule or a covariate; see :func:`study.heterogeneity.scored.grouping`.
    of : {"treated", "all"}
    level : float
        Of the simultaneous band over groups and of all pairs.
    draws, seed : int
        Of normal errors, for the band and the test of all pairs.

    Returns
    -------
    Finding
        The frame has a row a group, those that are not estimated with NaN: by, group, estimate, std_error, conf_low,
        conf_high, band_low, band_high (simultaneous over the groups), n_units, n_treated. Details: ``by``; ``fit``,
        the estimate with a term for each group that has one; ``pairs``, all differences of two groups, or None with one
        that has a standard error; ``p_equal``, of the Wald test that all effects with one are equal; ``differ``,
        whether the test of all pairs rejects.

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
    question = scores.sample.question
    if question.scale == "proportional" and of == "all":
        raise QuestionError(
            'effects_by_group: of is "all", which implies no counterfactual mean to divide by; take of="treated" '
            "or the scale level."
        )
    groups = scores.groups(by)
    n_units, n_treated = groups.sizes(), groups.sizes(scores.rows.treated)
    estimated = np.minimum(n_treated, n_units - n_treated) >= LEAST_IN_GROUP
    if not estimated.any():
        raise QuestionError(
            f"effects_by_group: no group by {by} has {LEAST_IN_GROUP} treated and {LEAST_IN_GROUP} other units; take "
            "larger groups."
        )
    fit = _estimate(scores, groups, np.flatnonzero(estimated), of)
    pairs, equal = None, None
    if fit.varies.sum() > 1:
        pairs, differences = all_pairs(fit, level=level, draws=draws, seed=seed), joint(fit).differences()
        # Effects that are the same number are not tested.
        equal = differences.test() if np.all(differences.std_error > 0) else None
    order = np.concatenate([np.flatnonzero(estimated), np.flatnonzero(~estimated & (n_units > 0))])
    columns = ["estimate", "std_error", "conf_low", "conf_high", "band_low", "band_high"]
    bands = fit.band(level, draws=draws, seed=seed)[["band_low", "band_high"]]
    table = fit.tidy(level).join(bands)[columns].reindex(range(len(order)))
    table.insert(0, "by", by)
    table.insert(1, "group", [groups.labels[g] for g in order])
    table["n_units"], table["n_treated"] = n_units[order], n_treated[order]
    whom = "the treated" if of == "treated" else "all units"
    each_group = _each_group(table, whom, level, question.effect_scale)
    return Finding.of(
        [_verdict(by, fit, pairs, equal), *each_group, *without_error(fit), scores.overlap, *fit.notes],
        table,
        partial(_chart, scale=question.effect_scale, level=level),
        title=f"Effects on {whom} by {by}",
        details={
            "by": by,
            "fit": fit,
            "pairs": pairs,
            "p_equal": np.nan if equal is None else equal.p_value,
            "differ": pairs is not None and pairs.differ,
        },
    )


def _estimate(scores: Scores, groups: Grouping, chosen: IntArray, of: Of) -> Estimate:
    """Return the averages by group with their influence, both averaged over the draws of the folds."""
    n, rows = scores.sample.n_units, scores.rows
    member = (groups.member[:, None] == chosen).astype(float)
    weights = member * rows.treated[:, None] if of == "treated" else member
    total = weights.sum(axis=0)
    values = scores.on_treated if of == "treated" else scores.effects
    of_draw = member.T @ values / total[:, None]
    effects = of_draw.mean(axis=1)
    influence = n / total * (member * values.mean(axis=1, keepdims=True) - weights * effects)
    untreated: dict[str, Any] = {}
    if of == "treated":
        mean = weights.T @ rows.at_end / total
        of_mean = n / total * weights * (rows.at_end[:, None] - mean)
        untreated["untreated_mean"] = mean - effects
        untreated["untreated_influence"] = Influence.of(scores.to_units(of_mean - influence))
    labels = tuple(groups.labels[g] for g in chosen)
    return averaged(scores, labels, of_draw, influence, design="effects_by_group", **untreated)


def excludes_zero(table: pd.DataFrame) -> BoolArray:
    """Return for which groups of a frame the simultaneous band excludes zero."""
    return np.asarray((table["band_low"] > 0) | (table["band_high"] < 0))


def _verdict(by: str, fit: Estimate, pairs: Pairs | None, equal: Wald | None) -> str:
    if pairs is None:
        return f"Groups by {by} are not compared: 1 of them has an effect with a standard error."
    if np.isnan(pairs.p_value):
        return f"Groups by {by} are not compared: their effects are the same number."
    scale, k = fit.sample.question.effect_scale, pairs.largest
    first, second = pairs.pairs[k]
    wald = f", the Wald test that all are equal {p_is(equal.p_value)} (rank {equal.rank})" if equal else ""
    return (
        f"Effects by {by} {'differ' if pairs.differ else 'do not differ significantly'}: the test of all pairs has "
        f"{p_is(pairs.p_value)}{wald}; the largest t is that of {first} less {second}, "
        f"{scale.text(pairs.difference[k])} {scale.unit}; its minimum detectable difference is "
        f"{scale.text(pairs.detectable[k])}."
    )


def _each_group(table: pd.DataFrame, whom: str, level: float, scale: Scale) -> Iterator[str]:
    """Yield the effects of the groups, and which groups are too small for one."""
    known, rest = table[table["estimate"].notna()], table[table["estimate"].isna()]
    effects = [
        f"{row.group} {scale.text(row.estimate)} {scale.interval(row.band_low, row.band_high)} "
        f"({row.n_treated} treated of {row.n_units:,})"
        for row in known.itertuples()
    ]
    nonzero = ", ".join(known["group"][excludes_zero(known)]) or "none of them"
    units = "the treated units" if whom == "the treated" else whom
    yield (
        f"Average effects on {units} with a simultaneous {100 * level:g}% band, {scale.unit}: {'; '.join(effects)}. "
        f"The band excludes zero for {nonzero}."
    )
    if len(rest):
        sizes = zip(rest["group"], rest["n_treated"], rest["n_units"], strict=True)
        named = ", ".join(f"{group} ({treated} treated of {n:,})" for group, treated, n in sizes)
        yield f"Not estimated, with fewer than {LEAST_IN_GROUP} treated or {LEAST_IN_GROUP} other units: {named}."


def short_label(by: str, group: str) -> str:
    """Return what a group is called where it is said what groups units."""
    return group.removeprefix(by).strip() or plain(group)


def _chart(frame: pd.DataFrame, ax: Axes | None, scale: Scale, level: float) -> Figure:
    """Draw the groups that have an effect with simultaneous bands and pointwise intervals."""
    known = frame[frame["estimate"].notna()]
    by = known["by"].iloc[0]
    sizes = zip(known["group"], known["n_treated"], known["n_units"], strict=True)
    labels = [f"{short_label(by, group)} ({treated} of {n:,})" for group, treated, n in sizes]
    low, high = (scale.factor * known[side].to_numpy() for side in ("band_low", "band_high"))
    with on_axes(ax, height=_height([known])) as (figure, axis):
        axis.use_sticky_edges = False
        band: Any = {"height": 0.5, "color": BAND, "label": "simultaneous band"}
        axis.barh(np.arange(len(known)), high - low, left=low, **band)
        draw_dots(
            axis, known.assign(label=labels), names=("effect, pointwise interval", ""), percent=scale.percent
        )
        axis.set_title(f"By {plain(by)}", loc="left")
        axis.set_xlabel(f"{scale.axis()}\n({100 * level:g}%; in brackets treated of all)")
        if ax is None:
            legend_above(figure, axis)
    return figure


def _height(tables: Sequence[pd.DataFrame]) -> float:
    return 1.1 + sum(0.38 + ROW_HEIGHT * len(table) for table in tables)


def group_figure(findings: Sequence[Finding]) -> Figure:
    """Draw effects by group, a panel for each grouping."""
    tables = [finding.frame[finding.frame["estimate"].notna()] for finding in findings]
    with canvas(height=_height(tables)) as figure:
        ratios = {"height_ratios": [len(table) + 0.6 for table in tables]}
        axes = figure.subplots(len(tables), 1, sharex=True, squeeze=False, gridspec_kw=ratios)[:, 0]
        for axis, finding in zip(axes, findings, strict=True):
            finding.plot(axis)
        for axis in axes[:-1]:
            axis.set_xlabel("")
        legend_above(figure, axes[0])
    return figure
