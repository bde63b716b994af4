"""The numbers of the text that come from the answers of the plan: samples, headline estimates, paths, spread."""

from __future__ import annotations

import math
from collections.abc import Iterator

from study.estimates import POWER, SIZE, Effect
from study.panel import Panel, Scale
from study.paper.exhibits.exhibit import RUN, Setting, Source, Traced, estimate_command, source_of
from study.paper.plan import Event, Task
from study.paper.results import Result
from study.report import macro_name, p_text

EXHIBIT = "designs"
# Parts of names of numbers that `study estimate` prints.
OF_ESTIMATE = ("Estimate", "Error", "Low", "High", "P", "Units", "Treated", "Cohorts", "Clusters", "Already")


def headline_numbers(setting: Setting) -> tuple[Traced, ...]:
    """Return the macros of what the plan says, of each event's sample, and of the headline's answers.

    Returns
    -------
    tuple of Traced
        Proportional effects are in percent with one decimal, others have three decimals; macro names are the
        event's label, the scale, the outcome and the quantity in capitals.
    """
    return (
        *_of_plan(setting),
        *(traced for event in setting.plan.events for traced in _of_event(setting, event)),
    )


def _of_plan(setting: Setting) -> Iterator[Traced]:
    plan, panel = setting.plan, setting.panel
    for name, value, quantity in (
        ("Headline", plan.headline.label, "the headline design"),
        ("FigureDesign", plan.figure_row.label, "the design of the event-study figures"),
        ("WindowFirst", str(abs(plan.window[0])), "years before the event that figures show"),
        ("WindowLast", str(plan.window[1]), "years after the event that figures show"),
        ("PanelUniversities", str(panel.n_units), f"{plan.text.units} in the panel"),
        ("FirstYear", str(panel.periods[0]), "first period of the panel"),
        ("LastYear", str(panel.periods[-1]), "last period of the panel"),
        ("Permutations", str(plan.permutations), "permutations of the randomization test"),
        ("Power", f"{100 * POWER:g}", "power at which minimum detectable effects are given, percent"),
        ("TestSize", f"{100 * SIZE:g}", "size of tests, percent"),
        ("BandDraws", str(plan.band_draws), "draws of bands and tests"),
        ("Level", f"{100 * plan.level:g}", "level of intervals, percent"),
        ("Horizon", str(plan.question.get("horizon", "")), "last event time in the average"),
        ("DesignRows", str(len(plan.rows)), "designs in the main tables"),
        ("Families", str(len(plan.families)), "families of events beside the main ones"),
        ("Seed", str(plan.seed), "seed"),
        ("PanelChecksum", panel.checksum, "checksum of the panel"),
    ):
        yield Traced(
            name,
            value,
            Source("plan", quantity, panel.name, panel.checksum, RUN, seed=str(plan.seed)),
        )


def _of_event(setting: Setting, event: Event) -> Iterator[Traced]:
    plan = setting.plan
    first = plan.task(event, next(iter(plan.outcomes)), next(iter(plan.scales)), plan.headline)
    yield from _traced(setting, first, macro_name(event.label), sample_numbers(setting.results[first.key]))
    for scale in plan.scales:
        for outcome in plan.outcomes:
            task = plan.task(event, outcome, scale, plan.headline)
            result = setting.results[task.key]
            answers = [setting.results[event.label, scale, outcome, row.label].headline for row in plan.rows]
            told = result_numbers(result) | _path_numbers(result, plan.window) | _spread(scale, answers)
            yield from _traced(setting, task, macro_name(event.label, scale, outcome), told)


def _traced(
    setting: Setting, task: Task, prefix: str, told: dict[str, tuple[str, str]], exhibit: str = EXHIBIT
) -> Iterator[Traced]:
    for part, (value, quantity) in told.items():
        source = source_of(exhibit, quantity, task, setting.panel, shown_by(part, task, setting.panel))
        yield Traced(f"{prefix}{part}", value, source)


def shown_by(part: str, task: Task, panel: Panel) -> str:
    """Return the command that prints a number of an answer, by the last part of its name."""
    if part in OF_ESTIMATE:
        return estimate_command(task, panel)
    if part.startswith(("Lead", "Last")):
        return estimate_command(task, panel, path=True)
    if part == "Mde":
        return f"study table {task.event.label}/{task.outcome}/{task.scale} --designs {task.row.name}"
    return RUN


def sample_numbers(result: Result) -> dict[str, tuple[str, str]]:
    """Return the numbers of a result's sample, each with what it is."""
    never = sum(step.units for step in result.flow if step.reason == "never treated")
    already = sum(step.units for step in result.flow if step.reason.startswith("already treated"))
    sizes = [s.units for s in result.flow if s.kept and s.reason.startswith("first treated in ")]
    return {
        "Units": (str(result.n_units), "units in the sample"),
        "Treated": (str(result.n_treated), "units first treated inside the window"),
        "Cohorts": (str(result.n_cohorts), "adoption periods"),
        "Clusters": (str(result.n_clusters), "clusters"),
        "Never": (str(never), "units never treated"),
        "Already": (str(already), "units already treated at the window's start, dropped"),
        "SmallestCohort": (str(min(sizes, default=0)), "units in the smallest cohort"),
        "LargestCohort": (str(max(sizes, default=0)), "units in the largest cohort"),
    }


def result_numbers(result: Result) -> dict[str, tuple[str, str]]:
    """Return a result's numbers; the same names whatever the design, "(none)" for what it does not give."""
    scale, term = result.task.scale, result.headline
    unit = Scale(scale).printed
    p_value = math.nan if result.randomization is None else result.randomization.p_value
    return {
        "Estimate": (Scale(scale).number(term.estimate if term else math.nan), f"estimate, {unit}"),
        "Error": (Scale(scale).number(term.std_error if term else math.nan), f"standard error, {unit}"),
        "Low": (
            Scale(scale).number(term.conf_low if term else math.nan),
            f"lower end of the interval, {unit}",
        ),
        "High": (
            Scale(scale).number(term.conf_high if term else math.nan),
            f"upper end of the interval, {unit}",
        ),
        "P": (p_text(term.p_value if term else math.nan), "p-value"),
        "Mde": (Scale(scale).number(result.power.effect), f"minimum detectable effect, {unit}"),
        "PreP": (
            p_text(result.pre_test.p_value),
            "p-value of the joint Wald test of effects before treatment",
        ),
        "PreRank": (str(result.pre_test.rank), "rank of the joint Wald test of effects before treatment"),
        "PreLargestP": (
            p_text(result.pre_test.p_largest),
            "p-value of the largest absolute t of effects before treatment",
        ),
        "RandomizationP": (p_text(p_value), "randomization p-value"),
    }


def _path_numbers(result: Result, window: tuple[int, int]) -> dict[str, tuple[str, str]]:
    """Return the effects at the first and last event time that the figures show."""
    told = {}
    by_time = {term.event_time: term for term in result.path}
    for name, time in zip(("Lead", "Last"), window, strict=True):
        term = by_time.get(time)
        values = (term.estimate, term.conf_low, term.conf_high) if term else (math.nan,) * 3
        parts = (("", "effect"), ("Low", "lower end of the interval of the effect"), ("High", "upper end"))
        for (part, what), value in zip(parts, values, strict=True):
            quantity = f"{what} at event time {time}, {Scale(result.task.scale).printed}"
            told[f"{name}{part}"] = (Scale(result.task.scale).number(value), quantity)
    return told


def _spread(scale: str, terms: list[Effect | None]) -> dict[str, tuple[str, str]]:
    """Return the smallest and largest estimate over the designs, and how many exclude zero."""
    answered = [term for term in terms if term is not None]
    estimates = [term.estimate for term in answered]
    excluding = [term for term in answered if not term.conf_low <= 0 <= term.conf_high]
    unit = Scale(scale).printed
    return {
        "Smallest": (
            Scale(scale).number(min(estimates, default=math.nan)),
            f"smallest estimate of all designs, {unit}",
        ),
        "Largest": (
            Scale(scale).number(max(estimates, default=math.nan)),
            f"largest estimate of all designs, {unit}",
        ),
        "Excluding": (str(len(excluding)), "designs whose interval excludes zero"),
        "Answered": (str(len(answered)), "designs that answer"),
    }
