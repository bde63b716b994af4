"""How much of a headline rests on one cohort or one unit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, unknown
from study.diagnostics.finding import Finding
from study.diagnostics.refits import Progress, Refits, answers, check, event_dates, headline, treated
from study.diagnostics.registry import Section, diagnostic
from study.estimates import Effect, Estimate, effects_frame
from study.figures import dot_figure
from study.panel import Sample, Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Kind = Literal["cohort", "unit"]
Units = Literal["treated", "all"]

NAMED = 3
DRAWN = 60


@diagnostic(
    "leave_one_cohort_out",
    title="Leaving out one cohort",
    question="Does the estimate rest on one cohort?",
    section=Section.OVERTURNS,
)
@checked
def leave_one_cohort_out(
    sample: Sample, design: str, *, level: float = 0.95, progress: Progress = None, **options: Any
) -> Finding:
    """Refit the headline without each cohort.

    Parameters
    ----------
    sample : Sample
    design : str
    level : float
        Coverage of the intervals.
    progress : callable, optional
        Called after each refit.
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row a cohort, those that change the headline most first: without_cohort, influence (the change
        to first order), change (the exact one), dfbeta (the headline less that without the cohort, in standard errors
        of the headline), estimate, std_error, p_value, conf_low, conf_high, n_units, n_treated, sign_changes,
        significance_changes; all but the first two are empty where there is no refit. Details: ``full_sample``, the
        headline; ``rows``, those without each cohort; ``refused``, label and reason of each that the design refuses.

    Raises
    ------
    QuestionError
        If the event is not absorbing, there is one cohort, or the design refuses the sample. A refit that it refuses
        is listed.
    """
    check("leave_one_cohort_out", design, options, level)
    first = event_dates(sample, "leave_one_cohort_out")
    if len(sample.cohorts) < 2:
        raise QuestionError("leave_one_cohort_out: there is one cohort; without it nobody is treated.")
    fit = headline(sample, design, options)
    members = [np.flatnonzero(first == g) for g in sample.cohorts]
    outs = {f"cohort {g:g} ({len(m)} units)": m for g, m in zip(sample.cohorts, members, strict=True)}
    return _finding("cohort", sample, fit, outs, list(outs), level, options, progress)


@diagnostic(
    "leave_one_unit_out",
    title="Leaving out one unit",
    question="Does the estimate rest on one unit?",
    section=Section.OVERTURNS,
)
@checked
def leave_one_unit_out(
    sample: Sample,
    design: str,
    *,
    units: Units = "treated",
    most: int = 20,
    level: float = 0.95,
    progress: Progress = None,
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
    progress : callable, optional
        Called after each refit.
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
    check("leave_one_unit_out", design, options, level)
    if units not in ("treated", "all"):
        raise unknown("choice of units", str(units), ("treated", "all"), "leave_one_unit_out")
    if isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1:
        raise QuestionError(f"leave_one_unit_out: most is {most!r}; it must be a whole number from 1 on.")
    fit = headline(sample, design, options)
    chosen = np.flatnonzero(treated(sample)) if units == "treated" else np.arange(sample.n_units)
    outs = {str(sample.unit_ids[i]): np.array([i]) for i in chosen}
    refitted = list(outs)
    if units == "all":
        size = np.abs(fit.influence_map.dense()[:, 0])
        refitted = [str(sample.unit_ids[i]) for i in np.argsort(-size, kind="stable")[:most]]
    return _finding("unit", sample, fit, outs, refitted, level, options, progress)


def _finding(
    kind: Kind,
    sample: Sample,
    fit: Estimate,
    outs: Mapping[str, NDArray[np.int64]],
    refitted: Sequence[str],
    level: float,
    options: Mapping[str, Any],
    progress: Progress,
) -> Finding:
    samples = {name: partial(_without, sample, outs[name], name) for name in refitted}
    refits = Refits.of(answers(samples, fit.design, options, progress), level)
    refits.refuse_none(f"leave_one_{kind}_out")
    scale, full = sample.question.effect_scale, Effect.of("all units", fit, level)
    influence = first_order_changes(fit.influence_map.dense()[:, 0], list(outs.values()))
    frame = _frame(kind, full, list(outs), influence, refits.rows)
    in_order = [row.label for row in refits.rows]
    drawn = in_order if kind == "cohort" else frame["without_unit"][: min(DRAWN, len(in_order))]
    verdict, *evidence = _sentences(kind, scale, level, full, refits, frame)
    return Finding(
        name=f"leave_one_{kind}_out",
        title=f"Leaving out one {kind}",
        verdict=verdict,
        evidence=tuple(evidence),
        frame=frame,
        chart=partial(_chart, kind=kind, drawn=list(drawn), full=full, scale=scale, level=level),
        details={"full_sample": full, "rows": refits.rows, "refused": refits.refused},
    )


def _without(sample: Sample, out: NDArray[np.int64], name: str) -> Sample:
    return sample.only(~np.isin(np.arange(sample.n_units), out), f"leaving out {name}")


def _frame(
    kind: Kind, full: Effect, labels: Sequence[str], influence: FloatArray, rows: Sequence[Effect]
) -> pd.DataFrame:
    import pandas as pd

    refitted = effects_frame(rows)
    refitted.insert(1, "change", refitted["estimate"] - full.estimate)
    refitted.insert(2, "dfbeta", (full.estimate - refitted["estimate"]) / full.std_error)
    refitted["sign_changes"] = refitted["estimate"] * full.estimate <= 0
    refitted["significance_changes"] = [row.excludes_zero != full.excludes_zero for row in rows]
    table = pd.DataFrame({"label": labels, "influence": influence}).merge(refitted, on="label", how="left")
    table = table.astype({"n_units": "Int64", "n_treated": "Int64"})
    size = table["change"].fillna(table["influence"]).abs()
    order = np.lexsort([-size.to_numpy(), table["change"].isna().to_numpy()])
    return table.iloc[order].reset_index(drop=True).rename(columns={"label": f"without_{kind}"})


def _sentences(
    kind: Kind, scale: Scale, level: float, full: Effect, refits: Refits, frame: pd.DataFrame
) -> Iterator[str]:
    rows, n = refits.rows, len(frame)
    low, high = (pick(rows, key=lambda row: row.estimate) for pick in (min, max))
    yield (
        f"The effect on {scale.outcome} is {scale.text(full.estimate)} {scale.unit} (interval {full.interval(scale)}); "
        f"without one {kind} it lies between {scale.text(low.estimate)} (without {low.label}) and "
        f"{scale.text(high.estimate)} (without {high.label})."
    )
    if len(rows) + len(refits.refused) < n:
        yield (
            f"The estimate was refitted without each of the {len(rows)} most influential of {n} {kind}s; the others "
            "have the first-order change only."
        )
    else:
        yield f"The estimate was refitted without each of {n} {kind}s."
    top = frame.dropna(subset="change").head(NAMED)
    most = [
        f"{label} ({dfbeta:+.2f})"
        for label, dfbeta in zip(top[f"without_{kind}"], top["dfbeta"], strict=True)
    ]
    yield f"The most influential, with what each adds to the estimate in standard errors: {', '.join(most)}."
    signs = [row.label for row in rows if row.estimate * full.estimate <= 0]
    yield (
        f"Leaving out one {kind} changes the sign: {_listed(signs)}."
        if signs
        else f"Leaving out any one of these {kind}s keeps the sign."
    )
    zero = f"Zero is {'outside' if full.excludes_zero else 'inside'} the {100 * level:g}% interval"
    changed = [row.label for row in rows if row.excludes_zero != full.excludes_zero]
    yield (
        f"{zero}; leaving out one {kind} changes that for {len(changed)} of them: {_listed(changed)}."
        if changed
        else f"{zero}, whichever one of these {kind}s is left out."
    )
    yield from refits.refusals


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _chart(
    frame: pd.DataFrame,
    ax: Axes | None,
    kind: Kind,
    drawn: Sequence[str],
    full: Effect,
    scale: Scale,
    level: float,
) -> Figure:
    """Draw the headline without each cohort in its order, or without the most influential units."""
    rows = frame.rename(columns={f"without_{kind}": "label"}).set_index("label").loc[drawn].reset_index()
    return dot_figure(
        rows,
        ax,
        xlabel=scale.axis(),
        behind=full,
        marked=rows["significance_changes"].tolist(),
        names=(
            f"without the {kind}",
            f"same, interval {'includes' if full.excludes_zero else 'excludes'} zero",
        ),
        percent=scale.percent,
        level=level,
    )


def first_order_changes(influence: FloatArray, outs: Sequence[NDArray[np.int64]]) -> FloatArray:
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
