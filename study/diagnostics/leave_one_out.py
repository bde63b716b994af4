"""How much of a headline rests on one cohort, one unit, or the adopters of one era."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd

from study.core import FloatArray, IntArray, QuestionError, counted, first_of, p_is, shown, with_ties
from study.diagnostics import Finding, Needs, Refits, Section, diagnostic, dots, event_dates, headline, refit
from study.estimates import SIZE, Effect, Estimand, Estimate, effects_frame
from study.inference import agreement_of
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
        is no refit, and errors where the refit has none, which changes no significance. Details: ``full_sample``, the
        headline; ``rows``, those without each cohort; ``refused``, label and reason of each that the design refuses.

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
    members = {sample.period_name(g): np.flatnonzero(first == g) for g in sample.cohorts}
    outs = {f"cohort {g} ({counted(len(units), 'unit')})": units for g, units in members.items()}
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
        size = with_ties(np.abs(fit.influence_map.dense()[:, 0]))
        refitted = [str(sample.unit_ids[i]) for i in np.argsort(-size, kind="stable")[:most]]
    return _finding("unit", sample, fit, outs, refitted, level)


def _finding(
    kind: str, sample: Sample, fit: Estimate, outs: Outs, chosen: list[str], level: float
) -> Finding:
    """Refit without some of the sets of units that could be left out, and say what each set changes."""
    scale, everyone = sample.question.effect_scale, np.arange(sample.n_units)
    keep = {name: ~np.isin(everyone, outs[name]) for name in chosen}
    samples = {name: partial(sample.only, units, f"leaving out {name}") for name, units in keep.items()}
    refits = refit(samples, fit.design, fit.options, level, varies=False)
    refits.refuse_none(f"leave_one_{kind}_out")
    full, rows = Effect.of("all units", fit, level), effects_frame(refits.rows)
    rows.insert(1, "change", rows["estimate"] - full.estimate)
    rows.insert(2, "dfbeta", (full.estimate - rows["estimate"]) / full.std_error)
    rows["sign_changes"] = rows["estimate"] * full.estimate <= 0
    rows["significance_changes"] = [row.excludes_zero != full.excludes_zero for row in refits.rows]
    rows["significance_changes"] &= rows["std_error"].notna()
    influence = np.full(len(outs), np.nan)
    if fit.joint:
        influence = first_order_changes(fit.influence_map.dense()[:, 0], list(outs.values()))
    frame = pd.DataFrame({"label": list(outs), "influence": influence}).merge(rows, on="label", how="left")
    size = with_ties(frame["change"].fillna(frame["influence"]).abs().to_numpy())
    order = np.lexsort([-size, frame["change"].isna().to_numpy()])
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
    changed, without = rows["label"][rows["significance_changes"]], rows["label"][rows["std_error"].isna()]
    these = "those with a standard error" if len(without) else these
    if len(changed):
        yield f"{zero}; leaving out one {kind} changes that for {len(changed)} of them: {first_of(changed, SHOWN)}."
    else:
        yield f"{zero}, whichever one of {these} is left out."
    if len(without):
        yield f"Without one of these {kind}s the effect has no standard error: {first_of(without, SHOWN)}."


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


@diagnostic(
    "Effects by era of adoption",
    "Is the average of one era of adopters alone?",
    Section.OVERTURNS,
    needs=(Needs.ERAS,),
    shown=3,
)
def eras(
    fit: Estimate, eras: Sequence[Sequence[int]], *, level: float = 0.95, draws: int = 9999, seed: int = 0
) -> Finding:
    """Average the effects of the cohorts of each era alone, and of all others, and test that the eras' are equal.

    Nothing is fitted anew: averages of one estimate's effects by cohort have their errors from its influence. So the
    comparison group of each effect is that of the full estimate, and adopters of an era that is left out stand in it
    until their own event where the design compares with the not yet treated.

    Parameters
    ----------
    fit : Estimate
        With effects by cohort.
    eras : sequence of (int, int)
        First and last adoption period of each era.
    level : float
        Coverage of the intervals; the test is at 5%.
    draws, seed : int
        Of the normal draws of the largest ``|t|``.

    Returns
    -------
    Finding
        The frame has a row an era and one without each era: label, without (whether it is left out), estimate,
        std_error, p_value, conf_low, conf_high, n_units, n_treated (of the average). Details: ``full_sample``, the
        headline; ``rows``, those of the frame; ``p_equal`` and ``p_wald``, of the test that the average is the same in
        all eras, NaN with one era; ``parts``, the effects by cohort of each row; ``refused``, label and reason of each
        that has no average.

    Raises
    ------
    QuestionError
        If the estimate has no effects by cohort, eras overlap or are empty, or none has an average.
    """
    sample, scale = fit.sample, fit.sample.question.effect_scale
    if fit.estimand is not Estimand.GROUP_TIME_ATT or np.isnan(fit.cohort).all():
        raise QuestionError(f"eras: {fit.design} has no effects by cohort; use a design that has.")
    if not len(eras) or any(isinstance(era, str) or len(era) != 2 for era in eras):
        raise QuestionError(
            f"eras: eras is {shown(eras)}; give first and last periods, as in [(2014, 2016), (2017, 2019)]."
        )
    name = sample.period_name
    for first, last in eras:
        if first > last:
            raise QuestionError(
                f"eras: an era begins in {name(first)} and ends in {name(last)}; turn it round."
            )
    for (_, last), (first, _) in pairwise(sorted(map(tuple, eras))):
        if first <= last:
            raise QuestionError(f"eras: two eras have {name(first)} in them; each adopter is of one.")
    own = {
        sample.panel.window(np.array(era)): (fit.cohort >= era[0]) & (fit.cohort <= era[1]) for era in eras
    }
    parts = {era: fit.select(which) for era, which in own.items()}
    parts |= {f"without {era}": fit.select(~which) for era, which in own.items() if which.any()}
    averages = Refits.of({label: partial(_average, part) for label, part in parts.items()}, level, keep=True)
    averages.refuse_none("eras")
    rows = [replace(row, n_treated=int(treated_units(averages.fits[row.label])[0])) for row in averages.rows]
    frame = effects_frame(rows)
    frame.insert(1, "without", ~frame["label"].isin(own))
    full = Effect.of("all eras", fit.headline, level)
    if math.isnan(full.std_error):
        raise QuestionError(f"eras: {fit.design}'s average over all eras has no sampling variance.")
    alone = {era: average for era, average in averages.fits.items() if era in own}
    test = agreement_of(alone, force=True, draws=draws, seed=seed)
    p_equal, p_wald = (t.p_value if t else np.nan for t in (test.sup_t, test.wald))

    def phrase(row: Effect, where: str) -> str:
        return f"{scale.text(row.estimate)} {scale.unit} (interval {row.interval(scale)}) {where}"

    equal = "There is no test that eras of adoption have the same effect."
    if test.sup_t and test.wald:
        equal = (
            f"The test that eras of adoption have the same effect {'rejects' if p_equal < SIZE else 'does not reject'} "
            f"at {SIZE:.0%} by the largest t ({p_is(p_equal)}); the Wald test has {p_is(p_wald)}."
        )
    by_era = "; ".join(phrase(r, f"in {r.label} ({r.n_treated} treated)") for r in rows if r.label in own)
    left_out = "".join(f"; {phrase(row, row.label)}" for row in rows if row.label not in own)
    marked, names = frame["without"].tolist(), ("the era alone", "all others")
    return Finding.of(
        [
            equal,
            f"By era of adoption the effect is {by_era}."
            if by_era
            else "No era of adoption alone has an average.",
            f"It is {phrase(full, 'with all eras')}{left_out}.",
            "All are averages of one estimate by cohort, and nothing is fitted anew: the comparison group is that "
            "of the full estimate, in which adopters of an era that is left out stand until their own event where the "
            "design compares with the not yet treated.",
            *averages.refusals,
        ],
        frame,
        dots(scale, level, frame["label"], behind=full, marked=marked, names=names),
        details={"full_sample": full, "p_equal": p_equal, "p_wald": p_wald, "refused": averages.refused}
        | {"rows": tuple(rows), "parts": parts},
    )


def _average(part: Estimate) -> Estimate:
    """Return the question's average of an estimate of some cohorts."""
    if not part.terms:
        raise QuestionError("nobody is first treated in it.")
    if np.isnan(part.headline.effect[0]):
        raise QuestionError("its untreated mean is not positive.")
    if not part.headline.varies[0]:
        raise QuestionError("its average has no sampling variance.")
    return part.headline


def treated_units(fit: Estimate) -> IntArray:
    """Return how many treated units are in the cohorts that each term is of, shape (K,)."""
    assert fit.contrast.treated is not None
    sizes = np.array([fit.sample.ever_treated[rows].sum() for rows in fit.sample.groups[1]])
    return np.asarray(sizes @ (fit.contrast.treated > 0))
