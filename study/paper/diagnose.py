"""The verdict on one question and design: what it assumes, what speaks against it, what would overturn its sign."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, get_args

from study.core import QuestionError, one_thread
from study.designs import Design, find_design
from study.diagnostics import Diagnostic, Finding, Needs
from study.diagnostics.registry import fitting
from study.estimates import Estimate
from study.inference import Randomization
from study.panel import Comparison, Panel, ScaleName
from study.paper.plan import Plan, Task


class Check(NamedTuple):
    """A diagnostic with its finding, or why there is none."""

    diagnostic: Diagnostic
    finding: Finding | None
    refusal: str = ""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, or why nothing was."""
        return self.finding.sentences if self.finding else (f"Not made: {self.refusal}",)


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

    @property
    def design(self) -> Design:
        """The design that answers."""
        return find_design(self.task.row.name)

    def check(self, name: str) -> Check:
        """Make one diagnostic, or say why it cannot be made."""
        diagnostic, known, options = self.diagnostics[name], dict(self.known), self.task.options
        if Needs.LEARNERS in diagnostic.needs:
            options = {key: self.design.options[key] for key in self.design.learners} | options
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
        from study.figures.canvas import figure_files

        written: dict[str, bytes] = {}
        for diagnostic, finding, _ in self.checks:
            if finding is not None:
                written |= figure_files(diagnostic.name, finding.plot())
                written[f"{diagnostic.name}.csv"] = finding.tidy().to_csv(index=False).encode()
        return written


def answered(
    plan: Plan,
    task: Task,
    panel: Panel,
    placebos: Mapping[str, Panel],
    randomization: Randomization | None = None,
) -> Verdict:
    """Answer a task, and gather what its diagnostics may ask for; none of them is made yet.

    Parameters
    ----------
    plan : Plan
    task : Task
    panel : Panel
    placebos : mapping of str to Panel
        By label, panels on whose outcome the event should have no effect.
    randomization : Randomization, optional
        The task's randomization test, where it was made already.

    Raises
    ------
    QuestionError
        If the design cannot answer the question.
    """
    design, sample = find_design(task.row.name), task.question.sample(panel)
    fit = design(sample, **task.options)
    rows = [row for row in plan.rows if not find_design(row.name).draws]
    designs = {(row.name, tuple(row.options.items())): (row.name, row.options) for row in rows}
    known = {
        "fit": fit,
        "sample": sample,
        "panel": panel,
        "question": task.question,
        "design": task.row.name,
        "level": task.level,
        "seed": task.seed,
        "draws": plan.band_draws,
        "strata": plan.strata,
        "permutations": plan.permutations,
        "randomization": randomization,
        "outcomes": {label: (other, task.outcome) for label, other in placebos.items()},
        "by": plan.neighbours,
        # What a specification curve runs over.
        "designs": list(designs.values()),
        "scales": [scale for scale in plan.scales if scale in get_args(ScaleName)],
        "populations": plan.populations,
        "comparisons": get_args(Comparison),
        "covariate_sets": list(dict.fromkeys(tuple(row.question.get("covariates", ())) for row in rows)),
    }
    has = {
        Needs.PATH: fit.estimand.has_path,
        Needs.COVARIATES: bool(task.question.covariates),
        Needs.LEARNERS: design.nuisances is not None,
        Needs.DRAWS: design.draws,
        Needs.PLACEBO_PANELS: bool(placebos),
        Needs.NEIGHBOURS: bool(plan.neighbours),
    }
    about = fitting(design.name, [need for need, there in has.items() if there])
    return Verdict(plan, task, fit, known, {diagnostic.name: diagnostic for diagnostic in about})


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
    with one_thread():
        verdict, checks = answered(plan, task, panel, placebos), []
        for name in verdict.diagnostics:
            checks.append(verdict.check(name))
            if progress is not None:
                progress(name)
    return replace(verdict, checks=tuple(checks))
