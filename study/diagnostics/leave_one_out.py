"""How much of a headline rests on one cohort or one unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from study.core import FloatArray, IntArray, QuestionError, counted, first_of
from study.diagnostics import Finding, Section, diagnostic, dots, event_dates, headline, refit
from study.estimates import Effect, Estimate, effects_frame
from study.panel import Sample, Scale

Outs = Mapping[str, IntArray]  # numbers of the units of each set that is left out, by its name

NAMED = 3
DRAWN = 60
SHOWN = 10


@diagnostic("Leaving out one cohort", "Does the estimate rest on one cohort?", Section.OVERTURNS, shown=2)
def leave_one_cohort_out(sample: Sample, design: str, *, level: float = 0.95, **options: Any) -> Finding:
    """Refit the headline without each cohort.

    Parameters
    ----------
    sample : Sample
    design : str
    level : float
        Coverage of the intervals.
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row a cohort, those that change the headline most first: without_cohort, influence (the change
        to first order, NaN where standard errors are those of replicates), change (the exact one), dfbeta (the headline
        less that without the cohort, in standard errors of the headline), estimate, std_error, p_value, conf_low,
        conf_high, n_units, n_treated, sign_changes, significance_changes; all but the first two are empty where there
        is no refit. Details: ``full_sample``, the headline; ``rows``, those without each cohort; ``refused``, label and
        reason of each that the design refuses.

    Raises
    ------
    QuestionError
        If the event is not absorbing, there is one cohort, or the design refuses the sample. A refit that it refuses
        is listed.
    """
    first = event_dates(sample, "leave_one_cohort_out")
    if len(sample.cohorts) < 2:
        raise QuestionError("leave_one_cohort_out: there is one cohort; without it nobody is treated.")
    fit = headline(sample, design, options)
    members = {g: np.flatnonzero(first == g) for g in sample.cohorts}
    outs = {
        f"cohort {sample.period_name(g)} ({counted(len(units), 'unit')})": units
        for g, units in members.items()
    }
    return _finding("cohort", sample, fit, outs, list(outs), level)


@diagnostic("Leaving out one unit", "Does the estimate rest on one unit?", Section.OVERTURNS, shown=2)
def leave_one_unit_out(
    sample: Sample,
    design: str,
    *,
    units: Literal["treated", "all"] = "treated",
    most: int = 20,
    level: float = 0.95,
    **options: Any,
) -> Finding:
    """Refit the headline without each treated unit, or without the most influential of all units.

    Parameters
    ----------
    sample : Sample
    design : str
    units : {"treated", "all"}
        Refit without each unit that is treated inside the window; or order all units by the first-order change
        -psi_i/(n-1), with psi the influence function, and refit without the first of them.
    most : int
        How many of "all" units are refitted.
    level : float
        Coverage of the intervals.
    **options
        Options of the design.

    Returns
    -------
    Finding
        Frame and details are those of :func:`leave_one_cohort_out`, with a row a unit, first those that are refitted.

    Raises
    ------
    QuestionError
        If ``units`` or ``most`` is not one of those above, or the design refuses the sample. A refit that it
        refuses is listed.

    References
    ----------
    Belsley, D. A., Kuh, E., and Welsch, R. E. (1980). Regression Diagnostics. Wiley, Section 2.1.
    """
    fit = headline(sample, design, options)
    chosen = np.flatnonzero(sample.ever_treated) if units == "treated" else np.arange(sample.n_units)
    outs = {str(sample.unit_ids[i]): np.array([i]) for i in chosen}
    refitted = list(outs)
    if units == "all":
        if not fit.joint:
            raise QuestionError(f'leave_one_unit_out: units="all" are ordered by influence; {fit.not_joint}')
        size = np.abs(fit.influence_map.dense()[:, 0])
        refitted = [str(sample.unit_ids[i]) for i in np.argsort(-size, kind="stable")[:most]]
    return _finding("unit", sample, fit, outs, refitted, level)


def _finding(
    kind: str, sample: Sample, fit: Estimate, outs: Outs, chosen: list[str], level: float
) -> Finding:
    """Refit without some of the sets of units that could be left out, and say what each set changes."""
    scale, everyone = sample.question.effect_scale, np.arange(sample.n_units)
    keep = {name: ~np.isin(everyone, outs[name]) for name in chosen}
    samples = {name: partial(sample.only, units, f"leaving out {name}") for name, units in keep.items()}
    refits = refit(samples, fit.design, fit.options, level)
    refits.refuse_none(f"leave_one_{kind}_out")
    full, rows = Effect.of("all units", fit, level), effects_frame(refits.rows)
    rows.insert(1, "change", rows["estimate"] - full.estimate)
    rows.insert(2, "dfbeta", (full.estimate - rows["estimate"]) / full.std_error)
    rows["sign_changes"] = rows["estimate"] * full.estimate <= 0
    rows["significance_changes"] = [row.excludes_zero != full.excludes_zero for row in refits.rows]
    influence = np.full(len(outs), np.nan)
    if fit.joint:
        influence = first_order_changes(fit.influence_map.dense()[:, 0], list(outs.values()))
    frame = pd.DataFrame({"label": list(outs), "influence": influence}).merge(rows, on="label", how="left")
    size = frame["change"].fillna(frame["influence"]).abs()
    order = np.lexsort([-size.to_numpy(), frame["change"].isna().to_numpy()])
    frame = frame.astype({"n_units": "Int64", "n_treated": "Int64"}).iloc[order].reset_index(drop=True)
    # Cohorts are drawn in the order of their dates, units by what they change.
    drawn = frame.iloc[np.argsort(order)] if kind == "cohort" else frame.head(DRAWN)
    drawn = drawn.dropna(subset="change")
    zero = f"same, interval {'includes' if full.excludes_zero else 'excludes'} zero"
    names, marked = (f"without the {kind}", zero), drawn["significance_changes"].tolist()
    return Finding.of(
        [*_sentences(kind, scale, level, full, frame, rows, len(samples)), *refits.refusals],
        frame.rename(columns={"label": f"without_{kind}"}),
        dots(scale, level, drawn["label"], behind=full, marked=marked, names=names),
        details={"full_sample": full, "rows": refits.rows, "refused": refits.refused},
    )


def _sentences(
    kind: str, scale: Scale, level: float, full: Effect, frame: pd.DataFrame, rows: pd.DataFrame, tried: int
) -> Iterator[str]:
    low, high = rows.loc[rows["estimate"].idxmin()], rows.loc[rows["estimate"].idxmax()]
    least, largest, full_sample = scale.texts(low["estimate"], high["estimate"], full.estimate)
    yield (
        f"Without one {kind} the effect on {scale.outcome} lies between {least} and {largest}; with all of them it "
        f"is {full_sample} {scale.unit}."
    )
    yield f"It is smallest without {low['label']} and largest without {high['label']}."
    n, these, some, others = len(frame), f"these {kind}s", "", "; the others have the first-order change only"
    if len(rows) < tried:
        these, some = "those with an estimate", f" ({len(rows)} of them with an estimate)"
    which = (
        f"{n} {kind}s{some}" if tried == n else f"the {tried} most influential of {n} {kind}s{some}{others}"
    )
    yield f"The estimate was refitted without each of {which}."
    named = frame.dropna(subset="change").head(NAMED)
    most = (f"{row.label} ({row.dfbeta:+.2f})" for row in named.itertuples())
    yield f"The most influential, with what each adds to the estimate in standard errors: {', '.join(most)}."
    signs = rows["label"][rows["sign_changes"]]
    if len(signs):
        yield f"Leaving out one {kind} changes the sign: {first_of(signs, SHOWN)}."
    else:
        yield f"Leaving out any one of {these} keeps the sign."
    where = "outside" if full.excludes_zero else "inside"
    zero = f"Zero is {where} the {100 * level:g}% interval of all, {full.interval(scale)}"
    changed = rows["label"][rows["significance_changes"]]
    if len(changed):
        yield f"{zero}; leaving out one {kind} changes that for {len(changed)} of them: {first_of(changed, SHOWN)}."
    else:
        yield f"{zero}, whichever one of {these} is left out."


def first_order_changes(influence: FloatArray, outs: Sequence[IntArray]) -> FloatArray:
    """Return the changes of an estimate without sets of units, to first order in the influence function.

    Parameters
    ----------
    influence : ndarray, shape (n,)
    outs : sequence of ndarray of int
        Numbers of the units of each set.

    Returns
    -------
    ndarray, shape (K,)
        -(sum of psi_i over the set) / (n - size of the set): the mean of the influence over the units kept.
    """
    n = len(influence)
    return np.array([-influence[out].sum() / (n - len(out)) for out in outs])
