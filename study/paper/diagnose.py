"""The verdict on one question and design: what it assumes, what speaks against it, what would overturn its sign."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, TypeVar, get_args

from study import diagnostics as of
from study.core import QuestionError, one_thread
from study.designs import Design, find_design
from study.diagnostics.finding import Finding
from study.estimates import Estimate
from study.panel import Comparison, Panel, Sample, ScaleName
from study.paper.plan import Plan, Task

AGAINST = "What the data say against it"
OVERTURNS = "How strong a violation would overturn the sign"
UNCERTAINTY = "Whether the uncertainty can be trusted"
SECTIONS = (AGAINST, OVERTURNS, UNCERTAINTY)

Found = TypeVar("Found")
Restricted = Literal["relative_magnitudes", "smoothness"]


class Job(NamedTuple):
    """A diagnostic to be made: its name, the section it belongs to, how many of its sentences are on the page."""

    name: str
    section: str
    told: int
    make: Callable[[], Finding]


class Check(NamedTuple):
    """A diagnostic that was made, or why it cannot be."""

    job: Job
    finding: Finding | None
    refusal: str = ""


@dataclass(frozen=True, eq=False)
class Verdict:
    """One answer with all its diagnostics.

    Attributes
    ----------
    plan : Plan
    task : Task
    design : Design
    fit : Estimate
    checks : tuple of Check
    """

    plan: Plan
    task: Task
    design: Design
    fit: Estimate
    checks: tuple[Check, ...]

    def found(self, name: str, kind: type[Found]) -> Found | None:
        """Return a finding of a kind by its diagnostic's name, None where it was not made."""
        findings = (check.finding for check in self.checks if check.job.name == name)
        return next((finding for finding in findings if isinstance(finding, kind)), None)

    def files(self) -> dict[str, bytes]:
        """Return the figure of each finding as PDF and PNG, and its table as CSV, by file name."""
        from study.figures import drawn

        written: dict[str, bytes] = {}
        for check in self.checks:
            if check.finding is not None:
                figure, name = check.finding.plot(), check.job.name
                written |= {f"{name}.{kind}": drawn(figure, kind) for kind in ("pdf", "png")}
                written[f"{name}.csv"] = check.finding.tidy().to_csv(index=False).encode()
        return written


def diagnose(
    plan: Plan,
    task: Task,
    panel: Panel,
    placebos: Mapping[str, Panel],
    progress: Callable[[str], None] | None = None,
) -> Verdict:
    """Make every diagnostic that a task's design allows.

    Parameters
    ----------
    plan : Plan
    task : Task
    panel : Panel
    placebos : mapping of str to Panel
        By label, panels on whose outcome the event should have no effect.
    progress : callable, optional
        Called with the name of each diagnostic once it is done.

    Raises
    ------
    QuestionError
        If the design cannot answer the question.
    """
    design = find_design(task.row.name)
    with one_thread():
        sample = task.question.sample(panel)
        fit = design(sample, **task.options)
        checks = []
        for job in jobs_of(plan, task, sample, fit, placebos):
            checks.append(checked(job))
            if progress is not None:
                progress(job.name)
    return Verdict(plan, task, design, fit, tuple(checks))


def checked(job: Job) -> Check:
    """Make one diagnostic, or say why it cannot be made."""
    try:
        return Check(job, job.make())
    except QuestionError as refusal:
        return Check(job, None, str(refusal))


def jobs_of(
    plan: Plan, task: Task, sample: Sample, fit: Estimate, placebos: Mapping[str, Panel]
) -> Iterator[Job]:
    """Yield the diagnostics in the order of the page, without those that are about other designs.

    Parameters
    ----------
    plan : Plan
    task : Task
    sample : Sample
        Of the task's question.
    fit : Estimate
        The task's answer.
    placebos : mapping of str to Panel
        By label, panels on whose outcome the event should have no effect.
    """
    yield from _against(plan, task, sample, fit, placebos)
    yield from _overturning(plan, task, sample, fit)
    uncertain = partial(
        of.uncertainty,
        sample,
        task.row.name,
        strata=plan.strata,
        permutations=plan.permutations,
        draws=plan.band_draws,
        level=task.level,
        **{"seed": task.seed, **task.options},
    )
    yield Job("uncertainty", UNCERTAINTY, 3, uncertain)
    if find_design(task.row.name).draws:
        seeds = partial(of.seeds, sample, task.row.name, level=task.level, **task.options)
        yield Job("seeds", UNCERTAINTY, 2, seeds)


def _against(
    plan: Plan, task: Task, sample: Sample, fit: Estimate, placebos: Mapping[str, Panel]
) -> Iterator[Job]:
    """Yield what can speak against the assumptions."""
    name, options, level = task.row.name, task.options, task.level
    if fit.estimand.has_path:
        yield Job("pretrends", AGAINST, 2, partial(of.pretrends, fit, level=level))
    yield Job("balance", AGAINST, 1, partial(of.balance, sample))
    design = find_design(name)
    if design.nuisances is not None:
        own = {key: design.options[key] for key in design.learners} | options
        yield Job("nuisances", AGAINST, 4, partial(of.nuisances, sample, name, level=level, **own))
    if name == "twfe":
        yield Job("goodman_bacon", AGAINST, 2, partial(of.goodman_bacon, sample))
        yield Job("negative_weights", AGAINST, 1, partial(of.negative_weights, sample))
    if name == "event_study":
        contaminated = partial(of.contamination_weights, sample, **options)
        yield Job("contamination_weights", AGAINST, 1, contaminated)
    dates = partial(of.placebo_dates, sample, name, level=level, **{"seed": task.seed, **options})
    yield Job("placebo_dates", AGAINST, 1, dates)
    if placebos:
        outcomes = {label: (panel, task.outcome) for label, panel in placebos.items()}
        asked = partial(of.placebo_outcomes, sample.panel, task.question, outcomes, name)
        yield Job("placebo_outcomes", AGAINST, 1, partial(asked, level=level, **options))
    if plan.neighbours:
        near = partial(of.spillovers, sample, name, by=plan.neighbours, level=level, **options)
        yield Job("spillovers", AGAINST, 1, near)


def _overturning(plan: Plan, task: Task, sample: Sample, fit: Estimate) -> Iterator[Job]:
    """Yield what says how strong a violation has to be."""
    name, options, level = task.row.name, task.options, task.level
    if fit.estimand.has_path:
        for restriction in get_args(Restricted):
            bounded = partial(of.honest_did, fit, restriction=restriction, level=level)
            yield Job(f"honest_{restriction}", OVERTURNS, 2, bounded)
    if task.question.covariates:
        linear = sample
        if task.scale == "proportional":
            linear = task.question.replace(scale="level").sample(sample.panel)
        yield Job("sensitivity", OVERTURNS, 1, partial(of.sensitivity, linear, name, level=level, **options))
        yield Job("oster", OVERTURNS, 1, partial(of.oster, linear, name, **options))
    for diagnostic in (of.misclassification, of.leave_one_cohort_out, of.leave_one_unit_out):
        made = partial(diagnostic, sample, name, level=level, **options)
        yield Job(diagnostic.__name__, OVERTURNS, 1, made)
    yield Job(
        "specification_curve", OVERTURNS, 1 + len(plan.scales), partial(_curve, plan, task, sample.panel)
    )


def _curve(plan: Plan, task: Task, panel: Panel) -> Finding:
    """Return the curve over the plan's designs, covariates and scales, its populations and both comparison groups."""
    rows = [row for row in plan.rows if not find_design(row.name).draws]
    designs = {(row.name, tuple(row.options.items())): row for row in rows}
    covariates = dict.fromkeys(tuple(row.question.get("covariates", ())) for row in rows)
    return of.specification_curve(
        panel,
        task.question.replace(covariates=()),
        designs=[(row.name, row.options) for row in designs.values()],
        scales=sorted(set(get_args(ScaleName)) & set(plan.scales), key=list(plan.scales).index),
        populations=plan.populations,
        comparisons=get_args(Comparison),
        covariates=list(covariates),
        draws=plan.band_draws,
        seed=task.seed,
    )
