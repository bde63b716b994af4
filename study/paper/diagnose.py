"""The verdict on one question and design: what it assumes, what speaks against it, what would overturn its sign."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, get_args

from study.core import Progress, QuestionError, counted, listed, one_thread, paragraph, section
from study.designs import Assumes
from study.diagnostics.finding import Diagnostic, Finding, Needs, Section, fitting
from study.estimates import Effect, Estimand, Estimate, smallest_effect
from study.inference import Randomization
from study.panel import Comparison, Panel, ScaleName
from study.paper.plan import Plan, Row, Task, worded
from study.report import POWER_OF, assumed, notes_of

ASSUMED: dict[Assumes, str] = {
    Assumes.PARALLEL_TRENDS: "Without the event the treated {units} would have changed as the others did.",
    Assumes.STRONG_PARALLEL_TRENDS: "With each dose the {units} that have it would have changed as all treated ones "
    "with that dose, on average; averages over doses do not need it.",
    Assumes.CONDITIONAL_PARALLEL_TRENDS: "Without the event the treated {units} would have changed as others with the "
    "same covariates did.",
    Assumes.INDEX_PARALLEL_TRENDS: "Without the event the mean outcome of the treated {units} would have changed by "
    "the same percentage as that of the others.",
    Assumes.PARALLEL_DIFFERENCES: "Without the event the eligible {units} would have moved away from the others where "
    "they were treated as they did elsewhere.",
    Assumes.WEIGHTED_TRENDS: "Without the event the treated {units} would have changed as those others did that, "
    "weighted, moved as they did before.",
    Assumes.FACTORS: "Without the event the outcomes of all {units} would have been their own level, a path "
    "common to all, and a few factors that each follows with a loading of its own.",
    Assumes.LIMITED_ANTICIPATION: "The event has no effect before it, less the anticipation that the question allows.",
    Assumes.OVERLAP: "At every covariate value of the treated there are comparison {units}.",
    Assumes.HOMOGENEOUS_EFFECTS: "The effect is the same in every cohort and event time; where it is not, the "
    "coefficient is no average of effects.",
    Assumes.HOMOGENEOUS_COHORTS: "The path of effects is the same in every cohort.",
    Assumes.NUISANCE_RATES: "The learners find the nuisance functions fast enough for their errors not to matter.",
    Assumes.RANDOM_INSTRUMENT: "Among {units} with the same covariates the instrument is as good as random.",
    Assumes.EXCLUSION: "The instrument moves who is treated, and the outcome in no other way.",
    Assumes.MONOTONICITY: "The instrument keeps none of the {units} from treatment that would be treated without it.",
    Assumes.QUASI_UNTREATED: "Some {units} have so small a dose that they are as good as untreated.",
    Assumes.STABLE_RANKS: "Without the event the outcome of all {units} would have risen in the same way with a trait "
    "that nobody observes, whose distribution among the treated and among the others does not change.",
}


# Options in words.
METHODS = {
    "method reg": "outcome regression",
    "method dr": "doubly robust",
    "method ipw": "inverse-probability weights",
}


class Check(NamedTuple):
    """A diagnostic with its finding, or why there is none."""

    diagnostic: Diagnostic
    finding: Finding | None
    refusal: str = ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, or why nothing was."""
        refused = f"Not made, {self.diagnostic.title}: {self.refusal}"
        return self.finding.sentences if self.finding else (refused,)


@dataclass(frozen=True, eq=False)
class Verdict:
    """One answer with its diagnostics.

    Attributes
    ----------
    plan : Plan
    task : Task
    fit : Estimate
    known : mapping
        What diagnostics may ask for: arguments by name.
    diagnostics : dict of str to Diagnostic
        Those that are about the design and have what they need.
    checks : tuple of Check
        Those of them that are made so far.
    """

    plan: Plan
    task: Task
    fit: Estimate
    known: Mapping[str, Any]
    diagnostics: dict[str, Diagnostic]
    checks: tuple[Check, ...] = ()

    def check(self, name: str) -> Check:
        """Make one diagnostic, or say why it cannot be made."""
        diagnostic, known, options = self.diagnostics[name], dict(self.known), self.task.options
        if Needs.LEARNERS in diagnostic.needs:
            design = self.task.row.design
            options = {key: design.options[key] for key in design.learners} | options
        if Needs.LEVELS in diagnostic.needs and self.task.scale == "proportional":
            known["sample"] = self.task.question.replace(scale="level").sample(self.fit.sample.panel)
        try:
            return Check(diagnostic, diagnostic(known, options))
        except QuestionError as refusal:
            return Check(diagnostic, None, str(refusal))

    def finding(self, name: str) -> Finding | None:
        """Return a finding by its diagnostic's name, None where there is none."""
        return next((check.finding for check in self.checks if check.diagnostic.name == name), None)

    def files(self) -> dict[str, bytes]:
        """Return the figure of each finding as PDF and PNG, and its table as CSV, by file name."""
        found = (check.finding for check in self.checks if check.finding is not None)
        return {name: content for finding in found for name, content in finding.files().items()}


def answered(
    plan: Plan, task: Task, panel: Panel, placebos: Mapping[str, Panel], test: Randomization | None = None
) -> Verdict:
    """Answer a task, and gather what its diagnostics may ask for; none of them is made yet.

    Parameters
    ----------
    plan : Plan
    task : Task
    panel : Panel
    placebos : mapping of str to Panel
        By label, panels on whose outcome the event should have no effect.
    test : Randomization, optional
        The task's randomization test, where it was made already.

    Raises
    ------
    QuestionError
        If the design cannot answer the question.
    """
    design, sample = task.row.design, task.question.sample(panel)
    fit = task.fit(sample)
    rows = [row for row in plan.rows if not row.design.draws]
    known = {name: getattr(plan, name) for name in ("level", "seed", "strata", "permutations")}
    known |= {
        "fit": fit,
        "sample": sample,
        "panel": panel,
        "question": task.question,
        "design": task.row.name,
        "draws": plan.band_draws,
        "randomization": test,
        "outcomes": {label: (other, task.outcome) for label, other in placebos.items()},
        "by": plan.neighbours,
        "eras": plan.eras,
        "hidden": plan.hidden_shares(task.event),
        # What a specification curve runs over.
        "designs": labelled_designs(rows),
        "scales": [scale for scale in plan.scales if scale in get_args(ScaleName)],
        "populations": {
            worded(panel.populations.get(rule, rule), {}).replace(">=", " >= "): rule
            for rule in plan.populations
        },
        "comparisons": get_args(Comparison),
        "covariate_sets": labelled_covariates(
            plan.task(task.event, task.outcome, task.scale, row).question.covariates for row in rows
        ),
    }
    has = {
        Needs.PATH: fit.estimand.has_path,
        Needs.COVARIATES: bool(task.question.covariates),
        Needs.LEARNERS: design.nuisances is not None,
        Needs.DRAWS: design.draws,
        Needs.PLACEBO_PANELS: bool(placebos),
        Needs.NEIGHBOURS: bool(plan.neighbours),
        Needs.ENDS: sample.first_treated is None,
        Needs.ERAS: bool(plan.eras) and fit.estimand is Estimand.GROUP_TIME_ATT,
    }
    about = {each.name: each for each in fitting(design.name, [need for need in has if has[need]])}
    return Verdict(plan, task, fit, known, about)


def labelled_designs(rows: Sequence[Row]) -> list[tuple[str, Mapping[str, Any], str]]:
    """Return the designs of rows with their options, each once, by a label that says nothing of the question."""
    labelled: dict[tuple[str, str], tuple[str, Mapping[str, Any], str]] = {}
    for row in rows:
        # Options that any row of the design gives distinguish them all.
        given = row.design.options | row.options
        named = dict.fromkeys(name for each in rows if each.name == row.name for name in each.options)
        options = ", ".join(METHODS.get(f"{name} {given[name]}", f"{name} {given[name]}") for name in named)
        options = f" ({options})" if options else ""
        short, known = row.label.split(" (")[0] + options, [label for *_, label in labelled.values()]
        label = row.label + options if short in known else short
        labelled.setdefault((row.name, options), (row.name, row.options, label))
    return list(labelled.values())


def labelled_covariates(sets: Iterable[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return sets of covariates by label, none first; larger sets name what they add to the first that has any."""
    sets = sorted(dict.fromkeys(sets), key=bool)
    first = next(filter(None, sets), ())
    labels: dict[str, tuple[str, ...]] = {}
    for names in sets:
        is_larger = len(names) > len(first) > 0 and names[: len(first)] == first
        shown = ("the same", *names[len(first) :]) if is_larger else names
        labels[", ".join(shown).replace("=", " ") or "none"] = names
    return labels


def diagnose(
    plan: Plan, task: Task, panel: Panel, placebos: Mapping[str, Panel], progress: Progress | None = None
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
    with one_thread():
        verdict, checks = answered(plan, task, panel, placebos), []
        for name in verdict.diagnostics:
            checks.append(verdict.check(name))
            if progress is not None:
                progress(name)
    return replace(verdict, checks=tuple(checks))


def verdict_text(verdict: Verdict) -> str:
    """Return the page: what is asked and assumed, what speaks against it, what would overturn it."""
    task = verdict.task
    parts = [
        paragraph(
            f"Question: the effect of {task.event.called} on {task.outcome} ({task.question.scale}); "
            f"{task.row.label} ({verdict.task.row.name}), panel {verdict.fit.sample.panel.name}, checksum "
            f"{verdict.fit.sample.panel_checksum}, seed {task.seed}."
        ),
        section("Verdict", conclusion(verdict)),
        section("Sample", on_whom(verdict.fit)),
        section("What the design assumes", assumptions(verdict)),
    ]
    for place in Section:
        checks = [check for check in verdict.checks if check.diagnostic.section == place]
        if checks:
            sentences = [s for check in checks for s in check.sentences[: check.diagnostic.shown]]
            parts.append(section(place, sentences))
    return "\n\n".join(parts)


def on_whom(fit: Estimate) -> list[str]:
    """Return how many units and observations an answer rests on, who is left out of it and why, and its notes."""
    sample = fit.sample
    return [
        f"{counted(sample.n_units, 'unit')}, {sample.n_treated} of them treated; {counted(fit.n_obs, 'observation')}; "
        f"{counted(fit.n_clusters, 'cluster')}.",
        *(f"{note}." for note in notes_of(fit)),
    ]


def details(verdict: Verdict) -> str:
    """Return everything that the diagnostics say, each under its title."""
    return "\n\n".join(section(check.diagnostic.title, check.sentences) for check in verdict.checks)


def assumptions(verdict: Verdict) -> list[str]:
    """Return what the design assumes, in sentences, with what the question makes of it."""
    question = verdict.task.question
    named = assumed(verdict.fit)
    sentences = [ASSUMED[a].format(units=verdict.plan.text.units) for a in named]
    if Assumes.EXCLUSION in named:
        return sentences
    scale = "log(1 + outcome)" if question.scale == "log1p" else "the outcome itself"
    given = f", given {', '.join(question.covariates)}" if question.covariates else ""
    group = question.comparison.replace("_", " ")
    weighted = f", units weighted by {question.weights}" if question.weights else ""
    return [*sentences, f"Trends are those of {scale}{given}{weighted}; the comparison group is {group}."]


def conclusion(verdict: Verdict) -> Iterator[str]:
    """Yield the estimate, what it could have found, and what may be concluded from it."""
    question, average = verdict.task.question, verdict.fit.headline
    scale = question.effect_scale
    row = Effect.of(average.terms[0], average, verdict.task.level)
    tests = [c for c in verdict.checks if c.finding is not None and c.finding.against is not None]
    objections = [c.finding.objection for c in tests if c.finding is not None and c.finding.against]
    tested = sum(c.diagnostic.section is Section.AGAINST for c in tests)
    is_known = not math.isnan(row.conf_low)
    interval = (
        f"{100 * verdict.task.level:g}% interval {row.interval(scale)}; the minimum detectable effect (80% power) is "
        f"{smallest_effect(average)} in units of {verdict.plan.text.outcomes_with_units} (percent of "
        f"{POWER_OF[question.scale]})"
    )
    without = "without an interval, so that its sign is not established"
    size, *_ = scale.texts(row.estimate, row.conf_low, row.conf_high)
    yield f"The estimate is {size} {scale.unit}, {interval if is_known else without}."
    estimand = verdict.fit.estimand
    if not estimand.has_path:
        yield f"It is {estimand.with_article} and no average of effects by event time."
    if is_known and not row.excludes_zero:
        yield "Its sign is not established: the interval has zero in it, even if all assumptions hold."
    if objections:
        yield f"What speaks against the assumptions: {'; '.join(objections)}."
        if row.excludes_zero:
            yield (
                "So the estimate is not to be read as an effect of the event without a reason why this does not matter."
            )
    elif row.excludes_zero:
        which = "The one test" if tested == 1 else f"None of the {tested} tests"
        nothing = f"{which} of the assumptions {'does not reject' if tested == 1 else 'rejects'} them."
        yield nothing if tested else "No diagnostic tested the assumptions."
        yield from _unjudged(verdict)
        yield _bound(verdict)


def _unjudged(verdict: Verdict) -> Iterator[str]:
    """Name what was looked at beside the tests and has no verdict."""
    titles = [
        f'"{check.diagnostic.title}"'
        for check in verdict.checks
        if check.diagnostic.section is Section.AGAINST and check.finding and check.finding.against is None
    ]
    if titles:
        decided = "it" if len(titles) == 1 else "them"
        yield f"For the reader to judge, since no test decides {decided}: {listed(titles)}."


def _bound(verdict: Verdict) -> str:
    honest = verdict.finding("honest_relative_magnitudes")
    if honest is None:
        return "How strong a violation of parallel trends would overturn it could not be bounded."
    if honest["breakdown"] is None:
        return "The honest interval has zero in it whatever the bound on violations of parallel trends."
    return (
        f"Its sign holds unless trends differ after treatment by more than {honest['breakdown']:.2g} times as much a "
        "period as the largest change seen before."
    )
