"""Whether treated and comparison units were alike before treatment, cohort by cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core.arguments import checked
from study.core.arrays import FloatArray
from study.core.errors import QuestionError, unknown
from study.designs.covariates import baseline_matrix
from study.diagnostics.contrasts import Contrast, Side, contrast, stacked
from study.diagnostics.overlap import Overlap, overlap
from study.estimates.cohorts import cohorts_with_base
from study.panel.question import Sample
from study.panel.sampling import first_observed

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

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
        from study.diagnostics.balance_shown import sentences

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
        from study.diagnostics.balance_shown import drawing

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
        If the treatment switches off, a name is unknown, an attribute has more than 12 labels, a covariate of the
        question is collinear with those before it, or no cohort has a comparison unit.

    References
    ----------
    Imbens, G. W., and Rubin, D. B. (2015). Causal Inference for Statistics, Social, and Biomedical Sciences,
    chapter 14.
    """
    if sample.first_treated is None:
        raise QuestionError(
            f"{WHO}: {sample.question.event} switches off, so there are no cohorts with a time before treatment; "
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
