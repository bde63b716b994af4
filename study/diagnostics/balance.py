"""Whether treated and comparison units were alike before treatment, cohort by cohort."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, capital, checked, unknown
from study.designs.covariates import baseline_matrix
from study.diagnostics.finding import Finding
from study.diagnostics.overlap import Overlap, overlap
from study.diagnostics.registry import Section, diagnostic
from study.estimates import cohorts_with_base
from study.figures import BAND, COLOUR, GREY, SECOND, legend_above, on_axes
from study.figures.canvas import canvas
from study.learners.nuisances import outcome_in_words
from study.panel import Sample, first_observed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


ROUNDING = 1e-12


class Side(NamedTuple):
    """A covariate of some units and their weights, shapes (m,)."""

    x: FloatArray
    weight: FloatArray

    @property
    def mean(self) -> float:
        """The weighted mean."""
        return float(self.weight @ self.x / self.weight.sum())

    @property
    def variance(self) -> float:
        """The weighted variance, times m / (m - 1); zero where it is rounding error, NaN for one unit."""
        m = len(self.x)
        if m < 2:
            return np.nan
        squares = float(self.weight @ (self.x - self.mean) ** 2 / self.weight.sum()) * m / (m - 1)
        return squares if squares > (ROUNDING * float(np.abs(self.x).max())) ** 2 else 0.0

    def scaled(self, total: float) -> Side:
        """Return the side with weights that add up to a total."""
        return Side(self.x, self.weight * (total / self.weight.sum()))


def stacked(sides: Sequence[Side]) -> Side:
    """Return several sides as one."""
    return Side(np.concatenate([side.x for side in sides]), np.concatenate([side.weight for side in sides]))


def contrast(treated: Side, compared: Side) -> dict[str, Any]:
    """Return the normalised difference (Imbens and Rubin 2015, equation (14.1)) and the ratio of variances.

    Where one of the groups has one unit, the standard deviation is the other's.

    Returns
    -------
    dict of str to object
        n_treated, n_comparison, mean_treated, mean_comparison; std_deviation, the root of the mean variance;
        difference, that of the means over it; variance_ratio, of treated to comparison units. A number that is not
        defined is NaN, and note says why.
    """
    ours, theirs = treated.variance, compared.variance
    known = [variance for variance in (ours, theirs) if not np.isnan(variance)]
    spread = float(np.sqrt(np.mean(known))) if known else 0.0
    difference = treated.mean - compared.mean
    notes = [
        f"one {name} unit: standardised by the {other} units' standard deviation, no variance ratio"
        for variance, name, other in ((ours, "treated", "comparison"), (theirs, "comparison", "treated"))
        if np.isnan(variance) and known
    ]
    same = abs(difference) <= ROUNDING * max(abs(treated.mean), abs(compared.mean))
    if not known:
        notes.append("one unit in each group: no standard deviation")
    elif spread == 0:
        notes.append(
            "it does not vary" if same else "it does not vary within the groups: no standardised difference"
        )
    elif theirs == 0:
        notes.append("it does not vary among comparison units: no variance ratio")
    return {
        "n_treated": len(treated.x),
        "n_comparison": len(compared.x),
        "mean_treated": treated.mean,
        "mean_comparison": compared.mean,
        "std_deviation": spread if known else np.nan,
        "difference": difference / spread if spread > 0 else (0.0 if same and known else np.nan),
        "variance_ratio": ours / theirs if theirs > 0 else np.nan,
        "note": "; ".join(notes),
    }


WHO = "balance"
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


class Group(NamedTuple):
    """A cohort and its comparison units, by number, and the number of its base period."""

    cohort: str
    treated: NDArray[np.int64]
    compared: NDArray[np.int64]
    base: int


class _Sides(NamedTuple):
    """A covariate of a cohort, of its comparison units, and of these under the odds weights."""

    covariate: str
    cohort: str
    treated: Side
    compared: Side
    reweighed: Side | None


@diagnostic(
    WHO,
    title="Balance before treatment",
    question="Were treated and comparison units alike before treatment?",
    section=Section.AGAINST,
)
@checked
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
        If the treatment is not absorbing, a name is unknown, an attribute has more than 12 labels, a covariate of the
        question is collinear with those before it, or no cohort has a comparison unit.

    References
    ----------
    Imbens, G. W., and Rubin, D. B. (2015). Causal Inference for Statistics, Social, and Biomedical Sciences,
    chapter 14.
    """
    if sample.first_treated is None:
        raise QuestionError(
            f"{WHO}: {sample.question.event} is not absorbing, so there are no cohorts with a time before treatment; "
            "use an event that stays."
        )
    if isinstance(covariates, str):
        raise QuestionError(f'{WHO}: covariates is one text, "{covariates}"; give a sequence of names.')
    names = sample.question.covariates if covariates is None else covariates
    x = baseline_matrix(sample, WHO) if sample.question.covariates else None
    groups, notes = cohort_groups(sample)
    overlaps: dict[str, Overlap | str] = (
        {} if x is None else {g.cohort: overlap(x, sample.weights, g.treated, g.compared) for g in groups}
    )
    sides = []
    for g, name, values in compared_variables(sample, groups, names):
        pair = _sides(sample, g, name, values, overlaps.get(g.cohort))
        if pair is None:
            notes.append(
                f"in cohort {g.cohort}, {name} is not compared: one of the groups has no value of it"
            )
        else:
            sides.append(pair)
    notes += [
        f"cohort {g.cohort} has one period before treatment, so no growth is compared"
        for g in groups
        if g.base == 0
    ]
    frame = _frame(sides, overlaps)
    never = sample.question.comparison == "never_treated"
    details: dict[str, Any] = {
        "overlaps": overlaps,
        "sizes": {g.cohort: (len(g.treated), len(g.compared)) for g in groups},
        "comparison": "never treated" if never else "not yet treated",
    }
    verdict, *evidence = _sentences(frame[frame["cohort"] == POOLED], **details)
    return Finding(
        name=WHO,
        title="Balance before treatment",
        verdict=verdict,
        evidence=(*evidence, *(f"{capital(note)}." for note in notes)),
        frame=frame,
        chart=partial(_chart, scores=estimated(overlaps)),
        details=details,
    )


def estimated(overlaps: Mapping[str, Overlap | str]) -> dict[str, Overlap]:
    """Return the cohorts whose propensity score can be estimated."""
    return {cohort: scores for cohort, scores in overlaps.items() if isinstance(scores, Overlap)}


def cohort_groups(sample: Sample) -> tuple[list[Group], list[str]]:
    """Return each cohort with its comparison units, and a note on each cohort that has none.

    Raises
    ------
    QuestionError
        If no cohort has a comparison unit.
    """
    first, d = sample.first_treated, sample.question.anticipation
    assert first is not None
    cohorts, notes = cohorts_with_base(sample)
    groups = []
    for g in cohorts:
        now = int(g - d - sample.periods[0])
        seen = sample.observed[:, [now - 1, now]]
        usable = seen.any(axis=1) if sample.question.missing == "cells" else seen.all(axis=1)
        untreated = np.isnan(first)
        if sample.question.comparison == "not_yet_treated":
            untreated = ~(first <= g)
        treated, compared = (np.flatnonzero(usable & who) for who in (first == g, untreated))
        if len(treated) and len(compared):
            groups.append(Group(f"{g:g}", treated, compared, now - 1))
        else:
            which = "comparison" if len(treated) else "treated"
            notes.append(f"cohort {g:g} left out: no {which} unit is observed when it is first treated")
    if not groups:
        raise QuestionError(f"{WHO}: no cohort can be compared: {'; '.join(notes)}.")
    return groups, notes


def compared_variables(
    sample: Sample, groups: Sequence[Group], names: Sequence[str]
) -> Iterator[tuple[Group, str, FloatArray]]:
    """Yield what each cohort is compared in, by name: values of all units, shape (n,).

    Raises
    ------
    QuestionError
        As :func:`fixed_variables`.
    """
    fixed = fixed_variables(sample, names)
    for group in groups:
        for name, values in (fixed | outcome_variables(sample, group.base)).items():
            yield group, name, values


def fixed_variables(sample: Sample, names: Sequence[str]) -> dict[str, FloatArray]:
    """Return what does not vary over time: covariates by first observed value, and a dummy for each label.

    Raises
    ------
    QuestionError
        If a name is neither a covariate nor an attribute of the panel, or an attribute has too many labels.
    """
    panel = sample.panel
    place = {unit: i for i, unit in enumerate(panel.units.tolist())}
    rows = np.array([place[unit] for unit in sample.unit_ids.tolist()])
    columns = {}
    for name in names:
        if name in panel.covariates:
            columns[name] = first_observed(panel.covariates[name])[rows]
        elif name in panel.attributes:
            values = sample.attributes[name].astype(str)
            labels = np.unique(values)
            if len(labels) > MOST_LABELS:
                raise QuestionError(
                    f"{WHO}: attribute {name} has {len(labels)} labels, too many to compare; give one with at most "
                    f"{MOST_LABELS}."
                )
            columns |= {f"{name} {label}": (values == label).astype(float) for label in labels}
        else:
            raise unknown("covariate or attribute", name, (*panel.covariates, *panel.attributes), WHO)
    return columns


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
    outcome = outcome_in_words(sample.question)
    columns = {f"mean {outcome} before": mean}
    return columns | {f"{GROWTH} {outcome} before": growth} if base > 0 else columns


def _sides(
    sample: Sample, group: Group, name: str, values: FloatArray, scores: Overlap | str | None
) -> _Sides | None:
    """Return a covariate of the units that have it; comparison weights add up to the treated units'."""
    ours, theirs = values[group.treated], values[group.compared]
    known = ~np.isnan(theirs)
    treated = Side(ours[~np.isnan(ours)], sample.weights[group.treated][~np.isnan(ours)])
    if not len(treated.x) or not known.any():
        return None
    total = float(treated.weight.sum())
    compared = Side(theirs[known], sample.weights[group.compared][known]).scaled(total)
    reweighed = None
    if isinstance(scores, Overlap) and scores.weight[known].sum() > 0:
        reweighed = Side(theirs[known], scores.weight[known]).scaled(total)
    return _Sides(name, group.cohort, treated, compared, reweighed)


def _frame(sides: Sequence[_Sides], overlaps: Mapping[str, Overlap | str]) -> pd.DataFrame:
    """Return a row a cohort and covariate, and one a covariate for all cohorts."""
    import pandas as pd

    names = dict.fromkeys(s.covariate for s in sides)
    rows = [_row(s.cohort, [s], overlaps) for s in sides]
    rows += [_row(POOLED, [s for s in sides if s.covariate == name], overlaps) for name in names]
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(cohort: str, sides: Sequence[_Sides], overlaps: Mapping[str, Overlap | str]) -> dict[str, Any]:
    """Compare the stacked sides of some cohorts; those without odds weights are no part of the weighted mean."""
    row = contrast(stacked([s.treated for s in sides]), stacked([s.compared for s in sides]))
    weighed = [(s.treated, s.reweighed) for s in sides if s.reweighed is not None]
    row |= {"cohort": cohort, "covariate": sides[0].covariate, "weighted_difference": np.nan}
    if weighed and row["std_deviation"] > 0:
        after = stacked([t for t, _ in weighed]).mean - stacked([r for _, r in weighed]).mean
        row["weighted_difference"] = after / row["std_deviation"]
    elif row["std_deviation"] > 0:
        why = overlaps.get(cohort, "no cohort has a propensity score") if overlaps else NO_COVARIATES
        row["note"] = "; ".join(filter(None, [row["note"], f"not weighted: {why}"]))
    return row


def _sentences(
    pooled: pd.DataFrame,
    overlaps: Mapping[str, Overlap | str],
    sizes: Mapping[str, tuple[int, int]],
    comparison: str,
) -> Iterator[str]:
    known = pooled.dropna(subset="difference")
    if len(known):
        yield from _differences(known)
    for row in pooled[pooled["difference"].isna()].itertuples():
        yield f"{row.covariate} has no standardised difference: {row.note}."
    others = [n for _, n in sizes.values()]
    between = f"{min(others):,} to {max(others):,}" if min(others) < max(others) else f"{others[0]:,}"
    yield (
        f"{sum(n for n, _ in sizes.values()):,} treated units in {_counted(len(sizes), 'cohort')} are compared with "
        f"{between} units that are {comparison}, up to the cohort's base period, in: {', '.join(pooled['covariate'])}."
    )
    for row in pooled[pooled["covariate"].str.startswith(GROWTH)].itertuples():
        growth = (
            f"Up to the base period the treated units' outcome grew by {row.mean_treated:.3g} a period and that of the "
            f"comparison units by {row.mean_comparison:.3g}"
        )
        if not np.isnan(row.difference):
            growth += f", a difference of {row.difference:.2f} standard deviations"
        if not np.isnan(row.weighted_difference):
            growth += f" and of {row.weighted_difference:.2f} after weighting"
        yield f"{growth}."
    yield from _propensity(overlaps, sizes)


def _differences(known: pd.DataFrame) -> Iterator[str]:
    most = known.loc[known["difference"].abs().idxmax()]
    large = int((known["difference"].abs() > LARGE).sum())
    yield (
        f"Pooled over cohorts, treated and comparison units differ most in {most['covariate']}, by "
        f"{most['difference']:.2f} standard deviations (means {most['mean_treated']:.3g} and "
        f"{most['mean_comparison']:.3g}); {large} of {len(known)} differences {'is' if large == 1 else 'are'} above "
        f"{LARGE}, beyond which a regression's adjustment depends on its functional form."
    )
    weighted = known.dropna(subset="weighted_difference")
    if len(weighted):
        left = weighted.loc[weighted["weighted_difference"].abs().idxmax()]
        yield (
            "With comparison units weighted by the estimated odds of treatment, the largest difference left is "
            f"{left['weighted_difference']:.2f} standard deviations, in {left['covariate']}."
        )


def _propensity(overlaps: Mapping[str, Overlap | str], sizes: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    if not overlaps:
        yield f"No propensity score is estimated, since {NO_COVARIATES}."
    scores = estimated(overlaps)
    if scores:
        fewest = min(scores, key=lambda cohort: scores[cohort].effective)
        heaviest = max(scores, key=lambda cohort: scores[cohort].largest_share)
        outside = sum(int(o.outside.sum()) for o in scores.values())
        treated = sum(len(o.treated) for o in scores.values())
        yield (
            f"Weighted by the odds, the comparison units are worth between {scores[fewest].effective:,.0f} (cohort "
            f"{fewest}) and {max(o.effective for o in scores.values()):,.0f} equally weighted ones; one unit has up to "
            f"{scores[heaviest].largest_share:.0%} of the weight (cohort {heaviest})."
        )
        yield (
            f"{outside} of {_counted(treated, 'treated unit')} ({outside / treated:.0%}) "
            f"{'has' if outside == 1 else 'have'} a propensity score outside the range of their comparison units."
        )
    for cohort, why in overlaps.items():
        if isinstance(why, str):
            treated_units = _counted(sizes[cohort][0], "unit")
            yield f"The propensity score of cohort {cohort} ({treated_units}) cannot be estimated: {why}."
    for cohort, o in scores.items():
        if o.unlike:
            yield (
                f"The covariates tell {_counted(o.unlike, 'comparison unit')} from all units of cohort {cohort}: their "
                "odds are zero."
            )


def _counted(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


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
    place = {name: k for k, name in enumerate(pooled["covariate"])}

    def points(rows: pd.DataFrame, column: str, marker: str, label: str, **style: Any) -> None:
        axis.plot(rows[column].abs(), rows["covariate"].map(place), marker, label=label, **style)

    for at, style in ((SMALL, ":"), (LARGE, "--")):
        axis.axvline(at, color=GREY, linewidth=0.8, linestyle=style)
    far = each[each["difference"].abs() > FARTHEST]
    points(each.drop(far.index), "difference", "|", "each cohort", color="0.6", markersize=6)
    if len(far):
        far = far.assign(difference=float(FARTHEST))
        points(far, "difference", ">", f"cohort beyond {FARTHEST}", color="0.6", markersize=4)
    points(pooled, "difference", "o", "pooled", color=COLOUR, markersize=5)
    if weighted:
        hollow = {"markerfacecolor": "white", "color": SECOND, "markersize": 5}
        points(pooled, "weighted_difference", "^", "pooled, weighted by the odds", **hollow)
    axis.set_yticks(range(len(place)), list(place))
    axis.set_ylim(len(place) - 0.5, -0.5)
    axis.set_xlim(left=0)


def _draw_scores(axis: Axes, both: Sequence[tuple[FloatArray, FloatArray]]) -> None:
    """Draw the pooled log odds; comparison units of a cohort have together the weight of its treated units."""
    total = sum(len(ours) for ours, _ in both)
    ours, theirs = (np.concatenate(side) for side in zip(*both, strict=True))
    share = np.concatenate([np.full(len(them), len(us) / len(them) / total) for us, them in both])
    low = min(float(np.quantile(theirs, LEFT_OUT)), float(ours.min()))
    edges = np.linspace(low, max(float(theirs.max()), float(ours.max())) + 1e-9, BINS).tolist()
    axis.hist(np.maximum(theirs, low), bins=edges, weights=100 * share, color=BAND, label="comparison")
    each = np.full(total, 100 / total)
    axis.hist(ours, bins=edges, weights=each, histtype="step", color=SECOND, linewidth=1.2, label="treated")
    axis.set_xlabel("Log odds of treatment, less the cohort's average")
    axis.set_ylabel("Share of units, %")
    axis.legend(frameon=False, fontsize=8)
