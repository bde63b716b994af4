"""Whether treated and comparison units were alike before treatment, cohort by cohort."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, unknown
from study.designs.covariates import baseline_matrix
from study.diagnostics.contrasts import Contrast, Side, contrast, stacked
from study.diagnostics.overlap import Overlap, overlap
from study.estimates import cohorts_with_base
from study.panel import Sample, first_observed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

FARTHEST = 3
BINS = 26
LEFT_OUT = 0.005  # comparison units with still lower odds are drawn in the first bin


WHO = "balance"
SMALL, LARGE = 0.1, 0.25
MOST_LABELS = 12
POOLED = "pooled"
GROWTH = "growth of"
NO_COVARIATES = "the question has no covariates"


class Row(NamedTuple):
    """One covariate of one cohort, or of all of them pooled.

    ``weighted`` is the standardised difference after weighting comparison units by the odds of the propensity
    score, None where it is not estimated.
    """

    cohort: str
    covariate: str
    found: Contrast
    weighted: float | None


@dataclass(frozen=True, eq=False)
class Balance:
    """Treated beside comparison units before treatment.

    Attributes
    ----------
    rows : tuple of Row
        By cohort and covariate; the pooled ones last.
    overlaps : dict of str to Overlap or str
        By cohort: its propensity score, or why it cannot be estimated; empty if the question has no covariates.
    sizes : dict of str to (int, int)
        By cohort: treated and comparison units.
    comparison : str
        Who the comparison units are.
    notes : tuple of str
        What is left out, and why, in sentences.
    """

    rows: tuple[Row, ...]
    overlaps: dict[str, Overlap | str]
    sizes: dict[str, tuple[int, int]]
    comparison: str
    notes: tuple[str, ...]

    @property
    def title(self) -> str:
        """The heading."""
        return "Were treated and comparison units alike before treatment?"

    @property
    def pooled(self) -> tuple[Row, ...]:
        """The rows of all cohorts together."""
        return tuple(row for row in self.rows if row.cohort == POOLED)

    @property
    def estimated(self) -> dict[str, Overlap]:
        """The cohorts whose propensity score can be estimated."""
        return {cohort: found for cohort, found in self.overlaps.items() if isinstance(found, Overlap)}

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in sentences."""
        return sentences(self)

    def tidy(self) -> pd.DataFrame:
        """Return one row a cohort and covariate, the pooled ones last.

        Returns
        -------
        DataFrame
            cohort, covariate, n_treated, n_comparison (pooled: once for each cohort that they are compared with),
            mean_treated, mean_comparison, std_deviation, difference and weighted_difference (in standard
            deviations), variance_ratio, note; a number that is not defined is NaN, and the note says why.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "cohort": row.cohort,
                    "covariate": row.covariate,
                    "n_treated": row.found.n_treated,
                    "n_comparison": row.found.n_compared,
                    "mean_treated": row.found.mean_treated,
                    "mean_comparison": row.found.mean_compared,
                    "std_deviation": row.found.spread,
                    "difference": row.found.difference,
                    "weighted_difference": np.nan if row.weighted is None else row.weighted,
                    "variance_ratio": row.found.variance_ratio,
                    "note": "; ".join(filter(None, [row.found.note, self._unweighted(row)])),
                }
                for row in self.rows
            ]
        )

    def _unweighted(self, row: Row) -> str:
        """Say why a row has no difference after weighting."""
        if row.weighted is not None or not row.found.spread > 0:
            return ""
        if not self.overlaps:
            return f"not weighted: {NO_COVARIATES}"
        return f"not weighted: {self.overlaps.get(row.cohort, 'no cohort has a propensity score')}"

    def plot(self) -> Figure:
        """Draw the absolute standardised differences, and below them the propensity scores where there are any."""
        return drawing(self)


class Group(NamedTuple):
    """A cohort and its comparison units, by number, and the number of its base period."""

    cohort: str
    treated: NDArray[np.int64]
    compared: NDArray[np.int64]
    base: int


@checked
def balance(sample: Sample, *, covariates: Sequence[str] | None = None) -> Balance:
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
    Balance

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
    names, fixed = fixed_variables(sample, sample.question.covariates if covariates is None else covariates)
    x = baseline_matrix(sample, WHO) if sample.question.covariates else None
    groups, notes = cohort_groups(sample)
    overlaps: dict[str, Overlap | str] = (
        {} if x is None else {g.cohort: overlap(x, sample.weights, g.treated, g.compared) for g in groups}
    )
    sides: dict[str, list[_Sides]] = {}
    for g in groups:
        outcome_names, outcome = outcome_variables(sample, g.base)
        if g.base == 0:
            notes.append(f"cohort {g.cohort} has one period before treatment, so no growth is compared")
        found = overlaps.get(g.cohort)
        shares = found.weight if isinstance(found, Overlap) else None
        for name, values in zip((*names, *outcome_names), (*fixed, *outcome), strict=True):
            made = _sides(sample, g, values, shares)
            if made is None:
                notes.append(
                    f"in cohort {g.cohort}, {name} is not compared: one of the groups has no value of it"
                )
            else:
                sides.setdefault(name, []).append(made)
    rows = [_row(s.cohort, name, [s]) for name, of_name in sides.items() for s in of_name]
    rows.sort(key=lambda row: [g.cohort for g in groups].index(row.cohort))
    rows += [_row(POOLED, name, of_name) for name, of_name in sides.items()]
    never = sample.question.comparison == "never_treated"
    return Balance(
        rows=tuple(rows),
        overlaps=overlaps,
        sizes={g.cohort: (len(g.treated), len(g.compared)) for g in groups},
        comparison="never treated" if never else "not yet treated",
        notes=tuple(notes),
    )


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


def fixed_variables(sample: Sample, names: Sequence[str]) -> tuple[list[str], list[FloatArray]]:
    """Return what does not vary over time: covariates by first observed value, and a dummy for each label.

    Raises
    ------
    QuestionError
        If a name is neither a covariate nor an attribute of the panel, or an attribute has too many labels.
    """
    panel, labels, columns = sample.panel, [], []
    place = {unit: i for i, unit in enumerate(panel.units.tolist())}
    rows = np.array([place[unit] for unit in sample.unit_ids.tolist()])
    for name in names:
        if name in panel.covariates:
            labels.append(name)
            columns.append(first_observed(panel.covariates[name])[rows])
        elif name in panel.attributes:
            values = panel.attributes[name][rows].astype(str)
            found = np.unique(values)
            if len(found) > MOST_LABELS:
                raise QuestionError(
                    f"{WHO}: attribute {name} has {len(found)} labels, too many to compare; give one with at most "
                    f"{MOST_LABELS}."
                )
            labels += [f"{name} {label}" for label in found]
            columns += [(values == label).astype(float) for label in found]
        else:
            raise unknown("covariate or attribute", name, (*panel.covariates, *panel.attributes), WHO)
    return labels, columns


def outcome_variables(sample: Sample, base: int) -> tuple[list[str], list[FloatArray]]:
    """Return the outcome's mean up to the base period and, if it is not the first, its growth a period by then.

    NaN for units that are not observed (for growth, in two periods) by then.
    """
    y, seen = sample.y[:, : base + 1], sample.observed[:, : base + 1]
    count, every = seen.sum(axis=1), np.arange(len(y))
    mean = np.where(count > 0, np.nansum(y, axis=1) / np.maximum(count, 1), np.nan)
    start, end = seen.argmax(axis=1), base - seen[:, ::-1].argmax(axis=1)
    apart = np.where(count > 1, end - start, 1)
    growth = np.where(count > 1, (y[every, end] - y[every, start]) / apart, np.nan)
    shown = (
        f"log(1 + {sample.question.outcome})" if sample.question.scale == "log1p" else sample.question.outcome
    )
    names, columns = [f"mean {shown} before", f"{GROWTH} {shown} before"], [mean, growth]
    return (names, columns) if base > 0 else (names[:1], columns[:1])


class _Sides(NamedTuple):
    """A covariate of a cohort, of its comparison units, and of these under the odds weights."""

    cohort: str
    treated: Side
    compared: Side
    reweighed: Side | None


def _sides(sample: Sample, group: Group, values: FloatArray, shares: FloatArray | None) -> _Sides | None:
    """Return a covariate of the units that have it; comparison weights add up to the treated units'."""
    ours, theirs = values[group.treated], values[group.compared]
    known = ~np.isnan(theirs)
    treated = Side(ours[~np.isnan(ours)], sample.weights[group.treated][~np.isnan(ours)])
    if not len(treated.x) or not known.any():
        return None
    total = float(treated.weight.sum())
    compared = Side(theirs[known], sample.weights[group.compared][known]).scaled(total)
    if shares is None or not shares[known].sum() > 0:
        return _Sides(group.cohort, treated, compared, None)
    return _Sides(group.cohort, treated, compared, Side(theirs[known], shares[known]).scaled(total))


def _row(cohort: str, covariate: str, sides: Sequence[_Sides]) -> Row:
    """Compare the stacked sides of some cohorts; those without odds weights are no part of the weighted mean."""
    found = contrast(stacked([s.treated for s in sides]), stacked([s.compared for s in sides]))
    weighed = [(s.treated, s.reweighed) for s in sides if s.reweighed is not None]
    if not weighed or not found.spread > 0:
        return Row(cohort, covariate, found, None)
    after = stacked([t for t, _ in weighed]).mean - stacked([r for _, r in weighed]).mean
    return Row(cohort, covariate, found, after / found.spread)


def sentences(found: Balance) -> tuple[str, ...]:
    """Return what was found, in sentences."""
    return (
        *_differences(found),
        _compared(found),
        *(_growth(row) for row in found.pooled if row.covariate.startswith(GROWTH)),
        *_propensity(found),
        *(f"{note[0].upper()}{note[1:]}." for note in found.notes),
    )


def _compared(found: Balance) -> str:
    treated = sum(n for n, _ in found.sizes.values())
    others = [n for _, n in found.sizes.values()]
    names = ", ".join(row.covariate for row in found.pooled)
    between = f"{min(others):,} to {max(others):,}" if min(others) < max(others) else f"{others[0]:,}"
    return (
        f"{treated:,} treated units in {_cohorts(len(found.sizes))} are compared with {between} units that are "
        f"{found.comparison}, up to the cohort's base period, in: {names}."
    )


def _differences(found: Balance) -> list[str]:
    known = [row for row in found.pooled if not np.isnan(row.found.difference)]
    told = [
        f"{row.covariate} has no standardised difference: {row.found.note}."
        for row in found.pooled
        if np.isnan(row.found.difference)
    ]
    if not known:
        return told
    most = max(known, key=lambda row: abs(row.found.difference))
    large = sum(abs(row.found.difference) > LARGE for row in known)
    are = "is" if large == 1 else "are"
    told.append(
        f"Pooled over cohorts, treated and comparison units differ most in {most.covariate}, by "
        f"{most.found.difference:.2f} standard deviations (means {most.found.mean_treated:.3g} and "
        f"{most.found.mean_compared:.3g}); {large} of {len(known)} differences {are} above {LARGE}, beyond which a "
        "regression's adjustment depends on its functional form."
    )
    weighted = [row for row in known if row.weighted is not None]
    if weighted:
        left = max(weighted, key=lambda row: abs(row.weighted or 0.0))
        told.append(
            "With comparison units weighted by the estimated odds of treatment, the largest difference left is "
            f"{left.weighted:.2f} standard deviations, in {left.covariate}."
        )
    return told


def _growth(row: Row) -> str:
    made = row.found
    in_spreads = (
        "" if np.isnan(made.difference) else f", a difference of {made.difference:.2f} standard deviations"
    )
    weighted = "" if row.weighted is None else f" and of {row.weighted:.2f} after weighting"
    return (
        f"Up to the base period the treated units' outcome grew by {made.mean_treated:.3g} a period and that of the "
        f"comparison units by {made.mean_compared:.3g}{in_spreads}{weighted}."
    )


def _propensity(found: Balance) -> list[str]:
    if not found.overlaps:
        return [f"No propensity score is estimated, since {NO_COVARIATES}."]
    told = [
        f"The propensity score of cohort {cohort} ({_units(found.sizes[cohort][0])}) cannot be estimated: {why}."
        for cohort, why in found.overlaps.items()
        if isinstance(why, str)
    ]
    told += [
        f"The covariates tell {_units(o.unlike, 'comparison ')} from all units of cohort {cohort}: their odds are zero."
        for cohort, o in found.estimated.items()
        if o.unlike
    ]
    if not found.estimated:
        return told
    effective = {cohort: o.effective for cohort, o in found.estimated.items()}
    share = {cohort: o.largest_share for cohort, o in found.estimated.items()}
    fewest, heaviest = min(effective, key=lambda c: effective[c]), max(share, key=lambda c: share[c])
    outside = sum(int(o.outside.sum()) for o in found.estimated.values())
    treated = sum(len(o.treated) for o in found.estimated.values())
    return [
        f"Weighted by the odds, the comparison units are worth between {effective[fewest]:,.0f} (cohort {fewest}) "
        f"and {max(effective.values()):,.0f} equally weighted ones; one unit has up to {share[heaviest]:.0%} of the "
        f"weight (cohort {heaviest}).",
        f"{outside} of {_units(treated, 'treated ')} ({outside / treated:.0%}) {'has' if outside == 1 else 'have'} a "
        "propensity score outside the range of their comparison units.",
        *told,
    ]


def _cohorts(n: int) -> str:
    return "1 cohort" if n == 1 else f"{n} cohorts"


def _units(n: int, kind: str = "") -> str:
    return f"{n:,} {kind}unit{'' if n == 1 else 's'}"


def drawing(found: Balance) -> Figure:
    """Draw absolute standardised differences and, below them, propensity scores where they are estimated."""
    from study.figures.canvas import canvas

    names = [row.covariate for row in found.pooled]
    top, below = 1.1 + 0.24 * len(names), 1.9
    with canvas(height=top + (below if found.estimated else 0.0)) as figure:
        if not found.estimated:
            _love_plot(figure, found, names)
            return figure
        parts: Any = figure.subfigures(2, 1, height_ratios=(top, below))
        _love_plot(parts[0], found, names)
        _propensities(parts[1], found)
    return figure


def _love_plot(part: Any, found: Balance, names: list[str]) -> None:
    from study.figures import COLOUR, GREY, SECOND, legend_above

    def points(rows: Iterable[Row], value: Callable[[Row], float | None]) -> FloatArray:
        pairs = [(value(row), names.index(row.covariate)) for row in rows]
        known = [(abs(v), k) for v, k in pairs if v is not None and not np.isnan(v)]
        return np.array(known, dtype=float).reshape(-1, 2).T

    axis = part.subplots()
    for at, style in ((SMALL, ":"), (LARGE, "--")):
        axis.axvline(at, color=GREY, linewidth=0.8, linestyle=style)
    each = points((row for row in found.rows if row.cohort != POOLED), lambda row: row.found.difference)
    near, far = each[:, each[0] <= FARTHEST], each[:, each[0] > FARTHEST]
    axis.plot(*near, "|", color="0.6", markersize=6, label="each cohort")
    if far.size:
        axis.plot(
            np.full(far.shape[1], FARTHEST), far[1], ">", color="0.6", ms=4, label=f"cohort beyond {FARTHEST}"
        )
    pooled = points(found.pooled, lambda row: row.found.difference)
    axis.plot(*pooled, "o", color=COLOUR, markersize=5, label="pooled")
    if found.estimated:
        weighted = points(found.pooled, lambda row: row.weighted)
        axis.plot(
            *weighted, "^", mfc="white", color=SECOND, markersize=5, label="pooled, weighted by the odds"
        )
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(left=0)
    part.supxlabel(f"Absolute difference, standard deviations (dotted {SMALL}, dashed {LARGE})", fontsize=9)
    legend_above(part, axis, 2, 8)


def _propensities(part: Any, found: Balance) -> None:
    """Draw the pooled log odds; comparison units of a cohort have together the weight of its treated units."""
    from study.figures import BAND, SECOND

    both = [o.relative_log_odds for o in found.estimated.values()]
    total = sum(len(ours) for ours, _ in both)
    ours, theirs = (np.concatenate(side) for side in zip(*both, strict=True))
    share = np.concatenate([np.full(len(them), len(us) / len(them) / total) for us, them in both])
    low = min(float(np.quantile(theirs, LEFT_OUT)), float(ours.min()))
    bins = np.linspace(low, max(float(theirs.max()), float(ours.max())) + 1e-9, BINS)
    axis = part.subplots()
    axis.hist(np.maximum(theirs, low), bins=bins, weights=100 * share, color=BAND, label="comparison")
    each = np.full(total, 100 / total)
    axis.hist(ours, bins=bins, weights=each, histtype="step", color=SECOND, linewidth=1.2, label="treated")
    axis.set_xlabel("Log odds of treatment, less the cohort's average")
    axis.set_ylabel("Share of units, %")
    axis.legend(frameon=False, fontsize=8)
