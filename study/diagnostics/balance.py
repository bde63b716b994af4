"""Whether treated and comparison units were alike before treatment, cohort by cohort."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.core import FloatArray, IntArray, QuestionError, capital, counted, refuse_unknown
from study.designs.did_cells import baseline_matrix, cells_of, comparisons
from study.diagnostics import Finding, Section, diagnostic, event_dates, refuse_group
from study.diagnostics.overlap import Overlap, overlap
from study.figures import BAND, COLOUR, GREY, SECOND, Axes, Figure, canvas, legend_above, on_axes, shortened
from study.panel import Sample, first_observed

WHO = "balance"
ROUNDING = 1e-12
SMALL, LARGE = 0.1, 0.25
MOST_LABELS = 12
POOLED = "pooled"
GROWTH = "growth of"
COLUMNS = [
    *("cohort", "covariate", "n_treated", "n_comparison", "mean_treated", "mean_comparison", "std_deviation"),
    *("difference", "weighted_difference", "variance_ratio", "note"),
]
NO_COVARIATES = "the question has no covariates"
FARTHEST = 3  # standard deviations that the figure shows
BINS = 26
LEFT_OUT = 0.005  # comparison units with still lower odds are drawn in the first bin

Overlaps = Mapping[str, Overlap | str]  # by cohort


def moments(x: FloatArray, weight: FloatArray) -> tuple[float, float]:
    """Return the weighted mean and variance of m values, the latter times m / (m - 1).

    The variance is zero where it is rounding error, and NaN for one value.
    """
    m, mean = len(x), float(weight @ x / weight.sum())
    if m < 2:
        return mean, np.nan
    variance = float(weight @ (x - mean) ** 2 / weight.sum()) * m / (m - 1)
    return mean, variance if variance > (ROUNDING * float(np.abs(x).max())) ** 2 else 0.0


def contrast(units: pd.DataFrame, weight: str = "weight") -> dict[str, Any]:
    """Return the normalised difference (Imbens and Rubin 2015, equation (14.1)) and the ratio of variances.

    Where one of the groups has one unit, the standard deviation is the other's.

    Parameters
    ----------
    units : DataFrame
        Whether a unit is treated, its covariate x, and its weight in a column.
    weight : str
        The column of the weights.

    Returns
    -------
    dict of str to object
        n_treated, n_comparison, mean_treated, mean_comparison; std_deviation, the root of the mean variance;
        difference, that of the means over it; variance_ratio, of treated to comparison units. A number that is not
        defined is NaN, and note says why.
    """
    treated, x, weights = (units[name].to_numpy() for name in ("treated", "x", weight))
    (mean, ours), (other_mean, theirs) = (moments(x[side], weights[side]) for side in (treated, ~treated))
    alone, other_alone = np.isnan(ours), np.isnan(theirs)
    spread = np.nan if alone and other_alone else float(np.sqrt(np.nanmean([ours, theirs])))
    difference = mean - other_mean
    same = abs(difference) <= ROUNDING * max(abs(mean), abs(other_mean))
    notes = []
    if alone and other_alone:
        notes = ["one unit in each group: no standard deviation"]
    elif alone or other_alone:
        single, other = ("treated", "comparison") if alone else ("comparison", "treated")
        by_other = f"standardised by the {other} units' standard deviation, no variance ratio"
        notes = [f"one {single} unit: {by_other}"]
    if spread == 0:
        notes.append(f"it does not vary{'' if same else ' within the groups: no standardised difference'}")
    elif theirs == 0:
        notes.append("it does not vary among comparison units: no variance ratio")
    return {
        "n_treated": int(treated.sum()),
        "n_comparison": int((~treated).sum()),
        "mean_treated": mean,
        "mean_comparison": other_mean,
        "std_deviation": spread,
        "difference": difference / spread if spread > 0 else (0.0 if same and spread == 0 else np.nan),
        "variance_ratio": ours / theirs if theirs > 0 else np.nan,
        "note": "; ".join(notes),
    }


class Group(NamedTuple):
    """A cohort and its comparison units, by number, and the number of its base period."""

    cohort: str
    treated: IntArray
    compared: IntArray
    base: int


@diagnostic(
    "Balance before treatment",
    "Were treated and comparison units alike before treatment?",
    Section.AGAINST,
    shown=2,
)
def balance(sample: Sample, *, covariates: Sequence[str] | None = None) -> Finding:
    """Compare each cohort with its comparison units in the covariates and in the outcome before treatment.

    A cohort's comparison units are those of its first effect: never treated, or not treated by the first period in
    which the cohort is, as the question says, and with an outcome where the question needs it. Besides the
    covariates, the outcome's mean up to the base period and its growth a period from the first to the last period
    seen by then are compared, on the question's scale. Pooled, each cohort's comparison units have the cohort's
    total weight.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment.
    covariates : sequence of str, optional
        Covariates of the panel, by first observed value, or attributes, of which each label is compared; by default
        the question's. The propensity score is that of the question's covariates in any case, over units that are
        seen; with missing="cells", callaway_santanna stacks both periods instead.

    Returns
    -------
    Finding
        The frame has a row a cohort and covariate, the pooled ones last: cohort, covariate, n_treated, n_comparison
        (pooled: once for each cohort that they are compared with), mean_treated, mean_comparison, std_deviation,
        difference and weighted_difference, that after weighting comparison units by the odds of the propensity score
        (both in standard deviations), variance_ratio, note; a number that is not defined is NaN, and the note says
        why. Details: ``overlaps``, by cohort the :class:`study.diagnostics.overlap.Overlap` of its propensity score,
        or why it cannot be estimated, empty if the question has no covariates; ``sizes``, by cohort the numbers of
        treated and comparison units; ``comparison``, who the latter are.

    Raises
    ------
    QuestionError
        If the treatment is not absorbing, the question is a third difference, a name is unknown, an attribute has more
        than 12 labels, a covariate of the question is collinear with those before it, or no cohort has a comparison
        unit.

    References
    ----------
    Imbens, G. W., and Rubin, D. B. (2015). Causal Inference for Statistics, Social, and Biomedical Sciences,
    chapter 14.
    """
    groups, notes = cohort_groups(sample)
    overlaps: dict[str, Overlap | str] = {}
    if sample.question.covariates:
        x = baseline_matrix(sample, WHO)
        overlaps = {g.cohort: overlap(x, sample.weights, g.treated, g.compared) for g in groups}
    parts, of_name = [], defaultdict(list)
    names = sample.question.covariates if covariates is None else covariates
    for g, name, values in compared_variables(sample, groups, names):
        units = _units(sample, g, values, overlaps.get(g.cohort))
        if units["treated"].nunique() == 2:
            parts.append((g.cohort, name, units))
            of_name[name].append(units)
        else:
            why = "is not compared: one of the groups has no value of it"
            notes.append(f"in cohort {g.cohort}, {name} {why}")
    none = "has one period before treatment, so no growth is compared"
    notes += [f"cohort {g.cohort} {none}" for g in groups if g.base == 0]
    parts += [(POOLED, name, pd.concat(units)) for name, units in of_name.items()]
    frame = pd.DataFrame([_row(*part, overlaps) for part in parts], columns=COLUMNS)
    details: dict[str, Any] = {
        "overlaps": overlaps,
        "sizes": {g.cohort: (len(g.treated), len(g.compared)) for g in groups},
        "comparison": sample.question.comparison.replace("_", " "),
    }
    sentences = _sentences(frame[frame["cohort"] == POOLED], **details)
    return Finding.of(
        [*sentences, *(f"{capital(note)}." for note in notes)],
        frame,
        partial(_chart, scores=estimated(overlaps)),
        details=details,
    )


def estimated(overlaps: Overlaps) -> dict[str, Overlap]:
    """Return the cohorts whose propensity score can be estimated."""
    return {cohort: scores for cohort, scores in overlaps.items() if isinstance(scores, Overlap)}


def cohort_groups(sample: Sample) -> tuple[list[Group], list[str]]:
    """Return each cohort with its comparison units, and a note on each cohort that has none.

    Raises
    ------
    QuestionError
        If the event is not absorbing, or no cohort has a comparison unit.
    """
    event_dates(sample, WHO)
    refuse_group(WHO, sample)
    cells, groups, notes = cells_of(sample, sample.cohorts), [], list[str]()
    first = cells.select(cells.period == cells.cohort - sample.question.anticipation)
    for g, cell in zip(sample.cohorts, comparisons(sample, first), strict=True):
        name, treated = sample.period_name(g), cell.members[(cell.treated_now | cell.treated_base)[0]]
        compared = np.flatnonzero((cell.compared_now | cell.compared_base)[0])
        if len(treated) and len(compared):
            groups.append(Group(name, treated, compared, int(cell.base[0])))
        else:
            which = "comparison" if len(treated) else "treated"
            notes.append(f"cohort {name} left out: no {which} unit is observed when it is first treated")
    if not groups:
        raise QuestionError(f"{WHO}: no cohort can be compared: {'; '.join(notes)}.")
    return groups, notes


def compared_variables(
    sample: Sample, groups: Sequence[Group], names: Sequence[str]
) -> Iterator[tuple[Group, str, FloatArray]]:
    """Yield what each cohort is compared in, by name: values of all units, shape (n,).

    They are covariates by first observed value, a dummy for each label of attributes, and the outcome before treatment.

    Raises
    ------
    QuestionError
        If a name is neither a covariate nor an attribute of the panel, or an attribute has too many labels.
    """
    panel, fixed = sample.panel, {}
    for name in names:
        if name in sample.covariates:
            fixed[name] = sample.x_baseline[:, sample.covariates.index(name)]
            continue
        if name in panel.covariates:
            fixed[name] = first_observed(panel.covariates[name])[sample.panel_rows]
            continue
        refuse_unknown("covariate or attribute", name, (*panel.covariates, *panel.attributes), WHO)
        values = sample.attributes[name].astype(str)
        labels = np.unique(values)
        if len(labels) > MOST_LABELS:
            raise QuestionError(
                f"{WHO}: attribute {name} has {len(labels)} labels; give one with at most {MOST_LABELS}."
            )
        fixed |= {f"{name} {label}": (values == label).astype(float) for label in labels}
    for group in groups:
        for name, values in (fixed | outcome_variables(sample, group.base)).items():
            yield group, name, values


def outcome_variables(sample: Sample, base: int) -> dict[str, FloatArray]:
    """Return the outcome's mean up to the base period and, if it is not the first, its growth a period by then.

    NaN for units that are not observed (for growth, in two periods) by then.
    """
    y, seen = sample.y[:, : base + 1], sample.observed[:, : base + 1]
    count, every = seen.sum(axis=1), np.arange(len(y))
    mean = np.where(count > 0, np.nansum(y, axis=1) / np.maximum(count, 1), np.nan)
    start, end = seen.argmax(axis=1), base - seen[:, ::-1].argmax(axis=1)
    apart = np.where(count > 1, end - start, 1)
    growth = np.where(count > 1, (y[every, end] - y[every, start]) / apart, np.nan)
    outcome = sample.question.outcome_in_words
    columns = {f"mean {outcome} before": mean}
    return columns | {f"{GROWTH} {outcome} before": growth} if base > 0 else columns


def _units(sample: Sample, group: Group, values: FloatArray, scores: Overlap | str | None) -> pd.DataFrame:
    """Return the units of a cohort that have a covariate x, by whether they are treated.

    Weights of comparison units, and their weights by the odds, add up to those of the treated; odds are NaN without a
    propensity score.
    """
    rows = np.concatenate([group.treated, group.compared])
    treated, weight = np.arange(len(rows)) < len(group.treated), sample.weights[rows]
    odds = np.append(weight[treated], scores.weight) if isinstance(scores, Overlap) else np.nan
    units = pd.DataFrame({"treated": treated, "x": values[rows], "weight": weight, "odds": odds})
    units = units.dropna(subset="x")
    total, compared = units.loc[units["treated"], "weight"].sum(), ~units["treated"]
    for column in ("weight", "odds"):
        own = units.loc[compared, column].sum()
        units.loc[compared, column] *= total / own if own > 0 else np.nan
    return units if units["odds"].notna().all() else units.assign(odds=np.nan)


def _row(cohort: str, covariate: str, units: pd.DataFrame, overlaps: Overlaps) -> dict[str, Any]:
    """Compare the units of some cohorts; those without odds weights are no part of the weighted mean."""
    row = contrast(units) | {"cohort": cohort, "covariate": covariate}
    weighed = units.dropna(subset="odds")
    if row["std_deviation"] > 0 and len(weighed):
        after = contrast(weighed, "odds")
        row["weighted_difference"] = (after["mean_treated"] - after["mean_comparison"]) / row["std_deviation"]
    elif row["std_deviation"] > 0:
        why = overlaps.get(cohort, "no cohort has a propensity score") if overlaps else NO_COVARIATES
        row["note"] = "; ".join(filter(None, [row["note"], f"not weighted: {why}"]))
    return row


def _sentences(
    pooled: pd.DataFrame, overlaps: Overlaps, sizes: Mapping[str, tuple[int, int]], comparison: str
) -> Iterator[str]:
    known = pooled.dropna(subset="difference")
    if len(known):
        most = known.loc[known["difference"].abs().idxmax()]
        large = int((known["difference"].abs() > LARGE).sum())
        yield (
            f"Treated and comparison units differ most in {most['covariate']}, by {most['difference']:.2f} standard "
            f"deviations; {large} of {len(known)} differences {'is' if large == 1 else 'are'} large."
        )
        yield (
            f"Pooled over cohorts, its means are {most['mean_treated']:.3g} and {most['mean_comparison']:.3g}; "
            f"differences above {LARGE} are large, since a regression's adjustment for them depends on its functional "
            "form."
        )
    weighted = known.dropna(subset="weighted_difference")
    if len(weighted):
        left = weighted.loc[weighted["weighted_difference"].abs().idxmax()]
        yield (
            "With comparison units weighted by the estimated odds of treatment, the largest difference left is "
            f"{left['weighted_difference']:.2f} standard deviations, in {left['covariate']}."
        )
    for row in pooled[pooled["difference"].isna()].itertuples():
        yield f"{row.covariate} has no standardised difference: {row.note}."
    treated, others = zip(*sizes.values(), strict=True)
    between = f"{min(others)} to {max(others)}" if min(others) < max(others) else others[0]
    yield (
        f"{sum(treated)} treated units in {counted(len(sizes), 'cohort')} are compared with {between} units "
        f"that are {comparison}, up to the cohort's base period, in: {', '.join(pooled['covariate'])}."
    )
    for row in pooled[pooled["covariate"].str.startswith(GROWTH)].itertuples():
        text = (
            f"Up to the base period the treated units' outcome grew by {row.mean_treated:.3g} a period and that of the "
            f"comparison units by {row.mean_comparison:.3g}"
        )
        if not np.isnan(row.difference):
            text += f", a difference of {row.difference:.2f} standard deviations"
        if not np.isnan(row.weighted_difference):
            text += f" and of {row.weighted_difference:.2f} after weighting"
        yield f"{text}."
    yield from _propensity(overlaps, sizes)


def _propensity(overlaps: Overlaps, sizes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    if not overlaps:
        yield f"No propensity score is estimated, since {NO_COVARIATES}."
    scores = estimated(overlaps)
    if scores:
        worth = pd.Series({cohort: o.effective for cohort, o in scores.items()})
        share = pd.Series({cohort: o.largest_share for cohort, o in scores.items()})
        outside = sum(int(o.outside.sum()) for o in scores.values())
        treated = sum(len(o.treated) for o in scores.values())
        yield (
            f"Weighted by the odds, the comparison units are worth between {worth.min():.0f} (cohort "
            f"{worth.idxmin()}) and {worth.max():.0f} equally weighted ones; one unit has up to "
            f"{share.max():.0%} of the weight (cohort {share.idxmax()})."
        )
        yield (
            f"{outside} of {counted(treated, 'treated unit')} ({outside / treated:.0%}) "
            f"{'has' if outside == 1 else 'have'} a propensity score outside the range of their comparison units."
        )
    for cohort, why in overlaps.items():
        if isinstance(why, str):
            units = counted(sizes[cohort][0], "unit")
            yield f"The propensity score of cohort {cohort} ({units}) cannot be estimated: {why}."
    for cohort, o in scores.items():
        if o.unlike:
            yield (
                f"The covariates tell {counted(o.unlike, 'comparison unit')} from all units of cohort {cohort}: "
                "their odds are zero."
            )


def _chart(frame: pd.DataFrame, ax: Axes | None, scores: Mapping[str, Overlap]) -> Figure:
    """Draw absolute standardised differences and, on a figure of its own, the propensity scores below them."""
    label = f"Absolute difference, standard deviations (dotted {SMALL}, dashed {LARGE})"
    if ax is not None:
        with on_axes(ax) as (figure, axis):
            _love_plot(axis, frame, bool(scores))
            axis.set_xlabel(label)
        return figure
    top, below = 1.1 + 0.24 * int((frame["cohort"] == POOLED).sum()), 1.9
    with canvas(height=top + (below if scores else 0.0)) as figure:
        parts: Any = figure.subfigures(2, 1, height_ratios=(top, below)) if scores else [figure]
        axis = parts[0].subplots()
        _love_plot(axis, frame, bool(scores))
        parts[0].supxlabel(label, fontsize=9)
        legend_above(parts[0], axis, 2, 8)
        if scores:
            _draw_scores(parts[1].subplots(), [o.relative_log_odds for o in scores.values()])
    return figure


def _love_plot(axis: Axes, frame: pd.DataFrame, weighted: bool) -> None:
    pooled, each = frame[frame["cohort"] == POOLED], frame[frame["cohort"] != POOLED]
    names = list(pooled["covariate"])

    def points(rows: pd.DataFrame, values: pd.Series, marker: str, label: str, **style: Any) -> None:
        axis.plot(values, rows["covariate"].map(names.index), marker, label=label, **style)

    for at, style in ((SMALL, ":"), (LARGE, "--")):
        axis.axvline(at, color=GREY, linewidth=0.8, linestyle=style)
    size, far = each["difference"].abs(), each["difference"].abs() > FARTHEST
    points(each[~far], size[~far], "|", "each cohort", color="0.6", markersize=6)
    if far.any():
        beyond = size[far].clip(upper=FARTHEST)
        points(each[far], beyond, ">", f"cohort beyond {FARTHEST}", color="0.6", markersize=4)
    points(pooled, pooled["difference"].abs(), "o", "pooled", color=COLOUR, markersize=5)
    if weighted:
        hollow = {"markerfacecolor": "white", "color": SECOND, "markersize": 5}
        points(pooled, pooled["weighted_difference"].abs(), "^", "pooled, weighted by the odds", **hollow)
    axis.set_yticks(range(len(names)), [shortened(name.replace("_", " ")) for name in names])
    axis.set(ylim=(len(names) - 0.5, -0.5), xlim=(0, None))


def _draw_scores(axis: Axes, scores: Sequence[tuple[FloatArray, FloatArray]]) -> None:
    """Draw the pooled log odds; comparison units of a cohort have together the weight of its treated units."""
    treated, compared = (np.concatenate(side) for side in zip(*scores, strict=True))
    each = 100 / len(treated)  # percent of the treated
    weights = [np.full(len(theirs), each * len(ours) / len(theirs)) for ours, theirs in scores]
    low = min(float(np.quantile(compared, LEFT_OUT)), float(treated.min()))
    edges = np.linspace(low, max(float(compared.max()), float(treated.max())) + 1e-9, BINS).tolist()
    inside, share = np.maximum(compared, low), np.concatenate(weights)
    axis.hist(inside, bins=edges, weights=share, color=BAND, label="comparison")
    own = np.full(len(treated), each)
    axis.hist(treated, bins=edges, weights=own, histtype="step", color=SECOND, linewidth=1.2, label="treated")
    axis.set(xlabel="Log odds of treatment, less the cohort's average", ylabel="Share of units, %")
    axis.legend(frameon=False, fontsize=8)
