"""The answer to one task as plain numbers: what tables, figures, the record and the check read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from study.core import QuestionError
from study.estimates import (
    NONE,
    UNKNOWN,
    Effect,
    Estimate,
    Power,
    PreTest,
    Stacked,
    effects,
    few_clusters_warning,
    pre_test,
    smallest_effect,
    stack,
)
from study.inference import Agreement, Comparison, Randomization, agree, answers_of, kind, usual_kind
from study.inference.randomization import randomization
from study.panel import FlowStep, Panel, Sample
from study.paper.plan import Event, Plan, Row, Task


@dataclass(frozen=True)
class Result:
    """The answer to a task, or the design's refusal.

    Attributes
    ----------
    task : Task
    headline : Effect or None
        The question's average; None where the design refused.
    path : tuple of Effect
        Effects by event time with their simultaneous band; empty for a coefficient.
    vcov : str
    n_units, n_treated, n_cohorts, n_clusters, n_obs : int
        Of the sample; treated are those first treated inside the window.
    untreated_mean : float
        The treated units' counterfactual mean over the headline's cells, NaN where not implied.
    power : Power
        The minimum detectable effect of the headline, in the question's scale, in units and in percent.
    pre_test : PreTest
        Joint tests of the effects before treatment; NaN and 0 without any.
    randomization : Randomization or None
    flow : tuple of FlowStep
    options : dict
        All options of the design, defaults included.
    notes : tuple of str
        What the design left out; the refusal where it refused.
    few_clusters : str or None
        The warning where few clusters carry the headline's variance.
    draw_error : float
        Standard deviation of the headline over draws of the folds, which its standard error leaves out; NaN where
        there is one draw or none.
    kind : str
        What the headline is an average of, in words.
    against : {"base", "all_before"}
        As :class:`study.Estimate` has it.
    joint : dict, optional
        What :class:`study.estimates.Stacked` has of the headline besides its sample, on which tests of differences
        between answers rest; None where its variance is no sum over units.
    """

    task: Task
    n_units: int
    n_treated: int
    n_cohorts: int
    n_clusters: int
    flow: tuple[FlowStep, ...]
    options: dict[str, Any]
    panel_checksum: str
    notes: tuple[str, ...]
    headline: Effect | None = None
    path: tuple[Effect, ...] = ()
    vcov: str = ""
    n_obs: int = 0
    untreated_mean: float = np.nan
    power: Power = UNKNOWN
    pre_test: PreTest = NONE
    randomization: Randomization | None = None
    few_clusters: str | None = None
    draw_error: float = np.nan
    kind: str = ""
    against: str = "base"
    joint: dict[str, Any] | None = field(default=None, repr=False, compare=False)


Results = dict[tuple[str, str, str, str], Result]


def answer(task: Task, panel: Panel) -> Result:
    """Answer one task; the result has the refusal in its notes where the design cannot answer the question."""
    design, sample = task.row.design, task.question.sample(panel)
    refused = Result(
        task=task,
        n_units=sample.n_units,
        n_treated=sample.n_treated,
        n_cohorts=len(sample.cohorts),
        n_clusters=int(sample.cluster.max()) + 1,
        flow=sample.flow,
        options=design.options | task.options,
        panel_checksum=sample.panel_checksum,
        notes=(),
    )
    try:
        fit = _fitted(task, sample)
    except QuestionError as refusal:
        return replace(refused, notes=(str(refusal),))
    headline = fit.headline
    path, pre_test = _path(fit, task)
    undefined = [f"{term.event_time:g}" for term in path if np.isnan(term.estimate)]
    why = f"No proportional effect at event times {', '.join(undefined)}: the counterfactual mean is not positive"
    test = None
    if task.permutations:
        permuting = {"strata": task.strata, "permutations": task.permutations, "seed": task.seed}
        test = randomization(sample, design.name, **task.options | permuting)
    return replace(
        refused,
        headline=effects(headline, task.level)[0],
        path=path,
        vcov=fit.vcov,
        n_obs=fit.n_obs,
        untreated_mean=np.nan if headline.untreated_mean is None else float(headline.untreated_mean[0]),
        power=smallest_effect(headline),
        pre_test=pre_test,
        randomization=test,
        options=dict(fit.options),
        notes=(*fit.remarks, why) if undefined else fit.remarks,
        few_clusters=few_clusters_warning(fit),
        draw_error=float(headline.draw_error[0]),
        kind=kind(fit),
        against=fit.against,
        joint=_joint(headline) if fit.joint else None,
    )


def headline_effect(task: Task, panel: Panel, label: str = "") -> Effect:
    """Answer a task with its average alone, without its path and tests; the note says why there is none."""
    try:
        return Effect.of(label, _fitted(task, task.question.sample(panel)).headline, task.level)
    except QuestionError as refusal:
        return Effect(label, note=str(refusal))


def comparison(
    plan: Plan, panel: Panel, event: Event, scale: str, outcomes: Sequence[str], rows: Sequence[Row]
) -> Comparison:
    """Return what rows of a plan answer about an event on one scale, each with its own options and covariates."""

    def fit_of(row: Row, outcome: str) -> Estimate:
        task = plan.task(event, outcome, scale, row)
        return task.fit(task.question.sample(panel))

    question = plan.task(event, outcomes[0], scale, plan.headline).question
    labels, draws = tuple(row.label for row in rows), plan.band_draws
    answers = answers_of(rows, outcomes, fit_of, draws=draws, seed=plan.seed)
    return Comparison(question, labels, tuple(outcomes), **answers, adjusted={}, draws=draws)


def agreement(answers: Mapping[str, Result], panel: Panel, draws: int, seed: int) -> Agreement:
    """Test that answers with the same clusters agree, of those on the kind of average that most of them are."""
    usual = usual_kind(result.kind for result in answers.values() if result.joint is not None)
    alike = {
        label: Stacked(result.task.question.sample(panel), **result.joint)
        for label, result in answers.items()
        if result.joint is not None and result.kind == usual
    }
    return agree(stack(list(alike), list(alike.values())) if len(alike) > 1 else None, (), draws, seed)


def _joint(headline: Estimate) -> dict[str, Any]:
    return {name: part for name, part in Stacked.of(headline)._asdict().items() if name != "sample"}


def _fitted(task: Task, sample: Sample) -> Estimate:
    """Return the estimate of a task's design, or refuse one whose average is no answer."""
    design, fit = task.row.design, task.fit(sample)
    if fit.headline.varies[0]:
        return fit
    mean = fit.headline.untreated_mean
    if mean is not None and not mean[0] > 0:
        raise QuestionError(
            f"{design.title}: there is no average; the counterfactual mean that it implies is not positive, so that "
            "there is no share of it."
        )
    raise QuestionError(few_clusters_warning(fit) or f"{design.title}: the average has no sampling variance.")


def _path(fit: Estimate, task: Task) -> tuple[tuple[Effect, ...], PreTest]:
    """Return the effects by event time with their band, and the joint tests of those before treatment."""
    if not fit.estimand.has_path:
        return (), NONE
    path = fit.aggregate("event")
    if not (path.joint and path.varies.any()):
        return effects(path, task.level), NONE
    band = path.band(task.level, draws=task.band_draws, seed=task.seed)
    terms = tuple(
        replace(term, band_low=row.band_low, band_high=row.band_high)
        for term, row in zip(effects(path, task.level), band.itertuples(), strict=True)
    )
    return terms, pre_test(path, draws=task.band_draws, seed=task.seed)
