"""Replications of a tournament: what designs answer on panels that data-generating processes draw.

A replication is one draw, which all entrants share. Draw r of every process is made with the same seed sequence, so
that processes differ by what they are and not by chance, and nothing depends on how many jobs there are, on their
order, or on which entrants take part.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache as once
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from study.core import (
    FloatArray,
    IntArray,
    QuestionError,
    StudyError,
    current_settings,
    each_kept,
    grouped,
    key_of,
    refuse_unknown,
    settings,
    tell,
)
from study.designs import answer_key, find_design
from study.estimates import NONE, Effect, Estimate, few_clusters_warning, pre_test
from study.panel import Sample, panel_state
from study.simulate.process import Process, truth

# Draws of the largest t of the leads: (DRAWS + 1) times 5% is a whole number, so that the test has that size.
DRAWS = 999
# Replications that are worked out in one go and kept together: some seconds of work.
BLOCK, SLOW_BLOCK = 50, 5
# What an entrant may change in the question: not the event, the outcome, the scale or the average.
CHANGES = (
    "population", "comparison", "base", "covariates", "cluster", "weights", "missing", "instrument",
)  # fmt: skip


class Entrant(NamedTuple):
    """A row of a tournament: a design with its options, and what it changes in the question.

    One that asks about some of the units alone is held to the effect on all whom the tournament's question is about.
    """

    label: str
    design: str
    options: Mapping[str, Any] = {}
    changes: Mapping[str, Any] = {}


class Answer(NamedTuple):
    """What a design says of one panel, on the question's scale; NaN where it does not say it.

    Attributes
    ----------
    estimate, std_error : float
        The headline and its standard error with default standard errors.
    low, high : float
        Its interval.
    published_low, published_high : float
        Its interval with the standard errors of the design's reference implementation.
    p_wald, p_largest : float
        Of the joint tests that effects before treatment are zero; NaN where the design has none. The second is by
        :data:`DRAWS` draws B and a multiple of 1 / (B + 1), so that a test of size a rejects where it is at most a.
    mde : float
        Of the headline; see :attr:`study.estimates.Effect.mde`.
    """

    estimate: float
    std_error: float
    low: float
    high: float
    published_low: float
    published_high: float
    p_wald: float
    p_largest: float
    mde: float


@dataclass(frozen=True, eq=False)
class Replications:
    """What D entrants answer on R panels of one process.

    Attributes
    ----------
    dials : mapping of str to float
    scale : str
        Of the question.
    labels : tuple of str, length D
    answers : ndarray, shape (D, R, 9)
        The fields of :class:`Answer`, NaN where an entrant has no answer or was not run.
    ran : ndarray of int, shape (D,)
        Of how many panels each entrant was asked, the first ones.
    truths : ndarray, shape (R, 2)
        Of each panel the average effect and the untreated mean of the same cells; see
        :func:`study.simulate.process.truth`.
    refused : tuple of (str, str, int)
        Label, first reason and how often, of entrants that have panels without an estimate or its interval.
    level : float
        Of the intervals.
    """

    dials: Mapping[str, float]
    scale: str
    labels: tuple[str, ...]
    answers: FloatArray
    ran: IntArray
    truths: FloatArray
    refused: tuple[tuple[str, str, int], ...] = ()
    level: float = 0.95


class Block(NamedTuple):
    """Some replications of some entrants on one process: what is worked out, and kept on disk, in one go.

    Attributes
    ----------
    answers : ndarray, shape (D, B, 9)
    truths : ndarray, shape (B, 2)
    reasons : tuple of (int, str)
        Place among the block's entrants and reason, of those without an answer.
    """

    answers: FloatArray
    truths: FloatArray
    reasons: tuple[tuple[int, str], ...]


class Task(NamedTuple):
    """Which process and which entrants a block is of, its first replication and the one after its last."""

    process: str
    entrants: tuple[int, ...]
    first: int
    end: int


def is_slow(entrant: Entrant) -> bool:
    """Whether an entrant gets the smaller number of replications.

    So that it is the same on every machine, this is what is known of the design and not how long it took: that its
    answer is no closed form, see :attr:`study.Design.closed_form`, or that linearmodels fits it for each covariance.
    """
    return entrant.design in ("panel_ols", "iv") or not find_design(entrant.design).closed_form


def tasks_of(
    processes: Collection[str], entrants: Sequence[Entrant], repetitions: int, slow_repetitions: int
) -> list[Task]:
    """Return the blocks of a tournament, those that take longest first."""
    slow = tuple(k for k, entrant in enumerate(entrants) if is_slow(entrant))
    fast = tuple(k for k in range(len(entrants)) if k not in slow)
    groups = ((slow, min(slow_repetitions, repetitions), SLOW_BLOCK), (fast, repetitions, BLOCK))
    return [
        Task(name, group, first, min(first + size, number))
        for group, number, size in groups
        for first in range(0, number if group else 0, size)
        for name in processes
    ]


def samples_of(own: Sample, entrants: Sequence[Entrant]) -> tuple[Sample, ...]:
    """Return the sample of each entrant's question, the same object where questions are equal.

    Raises
    ------
    QuestionError
        If an entrant changes what is estimated or asks about others than the given sample has, or its design cannot
        answer.
    """
    samples = {own.question: own}
    for entrant in entrants:
        design = find_design(entrant.design)
        design.check_options(dict(entrant.options))
        who = f"tournament: {entrant.label}"
        refuse_unknown("change of the question", entrant.changes, CHANGES, who)
        question = own.question.replace(**entrant.changes)
        if question not in samples:
            samples[question] = question.sample(own.panel)
            _refuse_others(who, own, samples[question], entrant.changes)
        design.refuse(samples[question])
    return tuple(samples[own.question.replace(**entrant.changes)] for entrant in entrants)


def _refuse_others(who: str, own: Sample, sample: Sample, changes: Mapping[str, Any]) -> None:
    """Refuse a sample whose units or periods a process does not have, or that depend on who adopted when."""
    others = ~np.isin(sample.unit_ids, own.unit_ids)
    if others.any() or not np.array_equal(sample.periods, own.periods):
        what = f"{others.sum()} units" if others.any() else "periods"
        raise QuestionError(
            f"{who}: it asks about {what} that the tournament's question leaves out; ask about fewer."
        )
    if "comparison" in changes and sample.n_units != own.n_units:
        raise QuestionError(
            f"{who}: comparison={sample.question.comparison!r} leaves out units by their dates, which are "
            "drawn anew; ask the tournament's question with it."
        )


def replicate(
    processes: Mapping[str, Process],
    entrants: Sequence[Entrant],
    *,
    repetitions: int,
    slow_repetitions: int,
    seed: int,
    level: float = 0.95,
) -> dict[str, Replications]:
    """Ask every entrant about panels that every process draws.

    Jobs, progress and the folder in which finished blocks are kept are those of :func:`study.settings`.

    Parameters
    ----------
    processes : mapping of str to Process
    entrants : sequence of Entrant
    repetitions, slow_repetitions : int
        Panels a process, for entrants whose answer is a closed form and for the others; see :func:`is_slow`.
    seed : int
    level : float
        Of the intervals.

    Returns
    -------
    dict of str to Replications
        By process.

    Raises
    ------
    QuestionError
        If an entrant cannot answer the question, before anything is drawn.
    """
    entrants = tuple(entrants)
    sampled = once(partial(samples_of, entrants=entrants))
    samples = {name: sampled(process.sample) for name, process in processes.items()}
    tasks = tasks_of(processes, entrants, repetitions, slow_repetitions)
    states = {name: state_of(process) for name, process in processes.items()}
    keys: dict[Task, str | None] = {}
    for task in tasks:
        state, own = states[task.process], [entrants[k] for k in task.entrants]
        # Other entrants and names of processes have no part in it.
        keys[task] = state and answer_key("replications", state, own, task.first, task.end, seed, level)
    make, folder = partial(block, processes, entrants, samples, seed, level), current_settings().cache
    blocks: dict[Task, Block] = {}
    for task, result in each_kept(make, dict(zip(tasks, tasks, strict=True)), keys, folder, (Block,)):
        blocks[task] = result
        tell(f"{task.process}: replications {task.first + 1} to {task.end}")
    return {name: _joined(name, processes[name], entrants, blocks, level) for name in processes}


def state_of(process: Process) -> str | None:
    """Return the key of all that draws of a process depend on, or None where no key can hold it."""
    held = replace(process.sample, **dict[str, Any](panel=None))
    return key_of((replace(process, sample=held), panel_state(process.sample.panel)))


def _joined(
    name: str, process: Process, entrants: Sequence[Entrant], blocks: Mapping[Task, Block], level: float
) -> Replications:
    """Put the blocks of a process together."""
    own = sorted((task, result) for task, result in blocks.items() if task.process == name)
    number = max(task.end for task, _ in own)
    answers = np.full((len(entrants), number, len(Answer._fields)), np.nan)
    truths, ran = np.empty((number, 2)), np.zeros(len(entrants), dtype=np.int64)
    for task, result in own:
        answers[list(task.entrants), task.first : task.end] = result.answers
        truths[task.first : task.end] = result.truths
        ran[list(task.entrants)] = np.maximum(ran[list(task.entrants)], task.end)
    reasons = grouped(
        (task.entrants[place], reason) for task, result in own for place, reason in result.reasons
    )
    refused = tuple((entrants[k].label, given[0], len(given)) for k, given in sorted(reasons.items()))
    labels = tuple(entrant.label for entrant in entrants)
    scale = process.sample.question.scale
    return Replications(dict(process.dials), scale, labels, answers, ran, truths, refused, level)


@settings(jobs=1, progress=None, cache=None)
def block(
    processes: Mapping[str, Process],
    entrants: Sequence[Entrant],
    samples: Mapping[str, Sequence[Sample]],
    seed: int,
    level: float,
    task: Task,
) -> Block:
    """Draw the replications of a block and ask its entrants.

    What learners find on a drawn panel is not kept: it serves nothing else.
    """
    process, templates = processes[task.process], samples[task.process]
    answers = np.full((len(task.entrants), task.end - task.first, len(Answer._fields)), np.nan)
    truths, reasons = np.empty((task.end - task.first, 2)), []
    # Entrants with the same question have the same sample, which works out once what all of them need of it.
    distinct = {id(template): template for template in (process.sample, *templates)}
    for row, replication in enumerate(range(task.first, task.end)):
        sequence = np.random.SeedSequence(seed, spawn_key=(replication,))
        draw = process.draw(np.random.default_rng(sequence))
        own = int(sequence.spawn(1)[0].generate_state(1)[0])
        drawn = {at: process.sample_of(draw, template) for at, template in distinct.items()}
        truths[row] = truth(draw, drawn[id(process.sample)])
        for place, k in enumerate(task.entrants):
            try:
                answers[place, row], why = answer(entrants[k], drawn[id(templates[k])], level, own)
            except (StudyError, np.linalg.LinAlgError) as refusal:
                why = str(refusal)
            if why:
                reasons.append((place, why))
    return Block(answers, truths, tuple(reasons))


def answer(entrant: Entrant, sample: Sample, level: float, seed: int) -> tuple[Answer, str]:
    """Return what an entrant says of a sample, and why it has no estimate or no interval, if so."""
    design, options = find_design(entrant.design), dict(entrant.options)
    if design.draws or options.get("seed") is not None:
        options["seed"] = seed
    fit = design(sample, **options)
    _refuse_shorter(fit)
    headline, tests = fit.headline, NONE
    path = fit.aggregate("event") if fit.estimand.has_path and fit.joint else None
    if path is not None and path.pre.any():
        tests = pre_test(path.select(path.pre), draws=DRAWS, seed=seed)
    own, published = (
        Effect.of("", each, level) for each in (headline, headline.with_vcov(headline.published))
    )
    intervals = (own.conf_low, own.conf_high, published.conf_low, published.conf_high)
    values = Answer(own.estimate, own.std_error, *intervals, tests.p_value, tests.p_largest, own.mde)
    return values, "" if headline.varies[0] else _why_none(fit, headline)


def _refuse_shorter(fit: Estimate) -> None:
    """Refuse an estimate that ends at an earlier event time than the true average, which it would be held to."""
    sample, question = fit.sample, fit.sample.question
    if sample.first_treated is None or not fit.estimand.has_path:
        return
    last = question.last if question.average == "event_average" else np.inf
    last = last if question.balance is None else min(last, question.balance)
    since = sample.periods - sample.first_treated[:, None]
    seen = sample.observed & np.any(sample.observed & (since == question.reference), axis=1)[:, None]
    ends = float(np.max(since, where=seen & (since <= last), initial=-np.inf))
    if not np.any(fit.event_time >= ends):
        raise QuestionError(
            f"{fit.design}: its {question.average} ends at event time {np.nanmax(fit.event_time):g}, and the effect "
            f"that it would be held to at {ends:g}; ask for event_average with a horizon at which the design ends."
        )


def _why_none(fit: Estimate, headline: Estimate) -> str:
    if not np.isfinite(headline.effect[0]):
        return f"{fit.design}: there is no average; the counterfactual mean that it implies is not positive."
    return few_clusters_warning(fit) or f"{fit.design}: the average has no sampling variance."
