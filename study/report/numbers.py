"""Every number of the paper's text as a LaTeX macro."""

from __future__ import annotations

import math

from study.panel import Panel
from study.plan import Event, Plan
from study.report.latex import escape, macro_name, render
from study.report.tables import Results
from study.results import Result, Term


def numbers(plan: Plan, panel: Panel, results: Results) -> dict[str, str]:
    """Return the macros of the paper's text, their values formatted.

    Returns
    -------
    dict of str to str
        Proportional effects are in percent with one decimal, others with three decimals; macro names are
        the event's label, the scale, the outcome and the quantity in capitals.
    """
    macros = {
        "Headline": plan.headline.label,
        "FigureDesign": plan.figure_row.label,
        "WindowFirst": str(abs(plan.window[0])),
        "WindowLast": str(plan.window[1]),
        "PanelUniversities": str(panel.n_units),
        "FirstYear": str(panel.periods[0]),
        "LastYear": str(panel.periods[-1]),
        "Permutations": str(plan.permutations),
        "Level": _trimmed(100 * plan.level),
        "Horizon": str(plan.question.get("horizon", "")),
        "PanelChecksum": panel.checksum,
    }
    for event in plan.events:
        macros |= _sample_numbers(event, plan, results)
        for scale in plan.scales:
            for outcome in plan.outcomes:
                result = results[event.label, scale, outcome, plan.headline.label]
                macros |= _result_numbers(macro_name(event.label, scale, outcome), result)
                macros |= _path_numbers(macro_name(event.label, scale, outcome), result, plan.window)
                agreeing = [results[event.label, scale, outcome, row.label].headline for row in plan.rows]
                macros |= _spread(macro_name(event.label, scale, outcome), scale, agreeing)
    return macros


def numbers_file(macros: dict[str, str]) -> bytes:
    """Return the macros as a LaTeX file."""
    return render("numbers.tex", macros={name: escape(value) for name, value in macros.items()})


def _sample_numbers(event: Event, plan: Plan, results: Results) -> dict[str, str]:
    result = results[event.label, next(iter(plan.scales)), next(iter(plan.outcomes)), plan.headline.label]
    never = sum(step.units for step in result.flow if step.reason == "never treated")
    already = sum(step.units for step in result.flow if step.reason.startswith("already treated"))
    sizes = [s.units for s in result.flow if s.kept and s.reason.startswith("first treated in ")]
    prefix = macro_name(event.label)
    return {
        f"{prefix}Units": str(result.n_units),
        f"{prefix}Treated": str(result.n_treated),
        f"{prefix}Cohorts": str(result.n_cohorts),
        f"{prefix}Clusters": str(result.n_clusters),
        f"{prefix}Never": str(never),
        f"{prefix}Already": str(already),
        f"{prefix}SmallestCohort": str(min(sizes, default=0)),
        f"{prefix}LargestCohort": str(max(sizes, default=0)),
    }


def _result_numbers(prefix: str, result: Result) -> dict[str, str]:
    """Return a result's numbers; the same names whatever the design, "(none)" for what it does not give."""
    scale, term = result.task.scale, result.headline
    p_value = math.nan if result.randomization is None else result.randomization.p_value
    return {
        f"{prefix}Estimate": _effect(term.estimate if term else math.nan, scale),
        f"{prefix}Error": _effect(term.std_error if term else math.nan, scale),
        f"{prefix}Low": _effect(term.conf_low if term else math.nan, scale),
        f"{prefix}High": _effect(term.conf_high if term else math.nan, scale),
        f"{prefix}P": _p_value(term.p_value if term else math.nan),
        f"{prefix}Mde": _effect(result.power.effect, scale),
        f"{prefix}PreP": _p_value(result.pre_test[0]),
        f"{prefix}PreRank": str(result.pre_test[1]),
        f"{prefix}RandomizationP": _p_value(p_value),
    }


def _path_numbers(prefix: str, result: Result, window: tuple[int, int]) -> dict[str, str]:
    """Return the effects at the first and last event time that the figures show."""
    macros = {}
    by_time = {term.event_time: term for term in result.path}
    for name, time in zip(("Lead", "Last"), window, strict=True):
        term = by_time.get(time)
        values = (term.estimate, term.conf_low, term.conf_high) if term else (math.nan,) * 3
        for part, value in zip(("", "Low", "High"), values, strict=True):
            macros[f"{prefix}{name}{part}"] = _effect(value, result.task.scale)
    return macros


def _spread(prefix: str, scale: str, terms: list[Term | None]) -> dict[str, str]:
    """Return the smallest and largest estimate over the designs, and how many exclude zero."""
    answered = [term for term in terms if term is not None]
    estimates = [term.estimate for term in answered]
    excluding = [term for term in answered if not term.conf_low <= 0 <= term.conf_high]
    return {
        f"{prefix}Smallest": _effect(min(estimates, default=math.nan), scale),
        f"{prefix}Largest": _effect(max(estimates, default=math.nan), scale),
        f"{prefix}Excluding": str(len(excluding)),
        f"{prefix}Answered": str(len(answered)),
    }


def _effect(value: float, scale: str) -> str:
    if math.isnan(value):
        return "(none)"
    digits = 1 if scale == "proportional" else 3
    shown = round(100 * value if scale == "proportional" else value, digits) + 0.0
    return f"{shown:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def _p_value(value: float) -> str:
    if math.isnan(value):
        return "(none)"
    return "below 0.001" if value < 0.001 else f"{value:.3f}"


def _trimmed(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
