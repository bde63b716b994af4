"""Observed covariates as benchmarks of unobserved ones: which, how many times as strong, and in which words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from study.core import QuestionError, unknown
from study.diagnostics.omitted_variable_bias import bound
from study.diagnostics.partialled import Partialled
from study.panel import Sample, Scale

WHO = "sensitivity"
TITLE = "Unobserved confounding"

Groups = tuple[tuple[str, ...], ...]
Multiples = Sequence[float | tuple[float, float]]
Kind = Literal["none", "bound", "observed", "extreme"]


class Scenario(NamedTuple):
    """A confounder, by its partial R2 with treatment and with the outcome.

    ``kind`` is "none"; "bound", as strong as a multiple of a benchmark; "observed", with the partial R2 of the
    benchmark itself; or "extreme", with the R2_D of the benchmark and all that is left of the outcome.
    ``multiple`` is how many times as strong it is as the ``benchmark``.
    """

    kind: Kind
    label: str
    r2_treatment: float
    r2_outcome: float
    benchmark: str = ""
    multiple: str = ""


def confounders(
    regression: Partialled,
    groups: Groups,
    multiples: Multiples,
) -> tuple[tuple[Scenario, ...], tuple[str, ...]]:
    """Return the confounders to look at, and sentences on those that cannot exist."""
    scenarios, impossible = [Scenario("none", "no confounder", 0.0, 0.0)], []
    for group in groups:
        name = " with ".join(group)
        strength = regression.strength(group)
        scenarios.append(Scenario("observed", name, *strength, name))
        scenarios.append(Scenario("extreme", f"{name} and all of the outcome", strength.treatment, 1.0, name))
        too_much = []
        for k_treatment, k_outcome in map(pair, multiples):
            label = times(k_treatment, k_outcome, name)
            limits = bound(*strength, k_treatment, k_outcome)
            if limits is None:
                too_much.append(shown(k_treatment, k_outcome))
            else:
                scenarios.append(Scenario("bound", label, *limits, name, shown(k_treatment, k_outcome)))
        impossible += none_so_strong(too_much, name, "treatment")
    return tuple(scenarios), tuple(impossible)


def pair(multiple: float | tuple[float, float]) -> tuple[float, float]:
    """Return how many times as strong with treatment and with outcome."""
    return (multiple[0], multiple[1]) if isinstance(multiple, tuple) else (multiple, multiple)


def times(k_treatment: float, k_outcome: float, name: str) -> str:
    """Return how strong a confounder is, in words."""
    if k_treatment != k_outcome:
        return f"{k_treatment:g} times with treatment and {k_outcome:g} times with the outcome as strong as {name}"
    return f"as strong as {name}" if k_treatment == 1 else f"{k_treatment:g} times as strong as {name}"


def shown(k_treatment: float, k_outcome: float) -> str:
    """Return the multiple as figures show it: one number, or that with treatment / that with the outcome."""
    return f"{k_treatment:g}" if k_treatment == k_outcome else f"{k_treatment:g}/{k_outcome:g}"


def listed(items: Sequence[str], word: str = "and") -> str:
    """Return items as a list in a sentence."""
    return f" {word} ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else items[0]


def none_so_strong(multiples: Sequence[str], name: str, what: str) -> list[str]:
    """Return the sentence, if there is one to say, that no confounder is so many times as strong as a benchmark."""
    if not multiples:
        return []
    return [
        f"No confounder can be {listed(multiples, 'or')} times as strong as {name}: it would explain more of {what} "
        "than is left to explain."
    ]


def benchmark_groups(sample: Sample, benchmarks: Sequence[str | tuple[str, ...]] | None) -> Groups:
    """Return the benchmarks as groups of covariates of the question.

    Raises
    ------
    QuestionError
        If there are none, or one is not among the question's covariates.
    """
    known = sample.question.covariates
    if not known:
        raise QuestionError(
            f"{WHO}: the question has no covariates to serve as benchmarks; name some in Question.covariates."
        )
    if isinstance(benchmarks, str):
        raise QuestionError(f'{WHO}: benchmarks is one text, "{benchmarks}"; give a tuple of names.')
    if benchmarks is None:
        return (*((name,) for name in known), *((known,) if len(known) > 1 else ()))
    groups = tuple((b,) if isinstance(b, str) else tuple(b) for b in benchmarks)
    if not groups or not all(groups):
        raise QuestionError(f"{WHO}: benchmarks is empty; name covariates, such as {known[0]}.")
    for name in (name for group in groups for name in group):
        if name not in known and name in sample.panel.covariates:
            raise QuestionError(
                f"{WHO}: {name} is a covariate of the panel but not of the question; add it to Question.covariates, "
                "since a benchmark has to be in the regression."
            )
        if name not in known:
            raise unknown("benchmark", str(name), known, WHO)
    return groups


def without(sample: Sample, group: Iterable[str]) -> Sample:
    """Return the sample of the question without some of its covariates."""
    names = sample.question.covariates
    kept = [k for k, name in enumerate(names) if name not in set(group)]
    return replace(
        sample,
        question=sample.question.replace(covariates=tuple(names[k] for k in kept)),
        x_baseline=sample.x_baseline[:, kept],
        x_by_period=tuple(sample.x_by_period[k] for k in kept),
    )


def check_range(q: float, level: float, multiples: Multiples) -> None:
    """Refuse numbers out of their range."""
    if not 0 < q <= 1:
        raise QuestionError(f"{WHO}: q is {q}; it must be above 0 and at most 1.")
    if not 0 < level < 1:
        raise QuestionError(f"{WHO}: level is {level}; it must be between 0 and 1.")
    for multiple in multiples:
        if not all(k > 0 and math.isfinite(k) for k in pair(multiple)):
            raise QuestionError(f"{WHO}: a multiple is {multiple}; multiples must be above 0.")


def units_of(sample: Sample) -> str:
    """Return what effects are measured in."""
    return Scale(sample.question.scale, f"units of {sample.question.outcome}").unit


def percent(share: float) -> str:
    """Return a share as a percentage with two significant digits, or "less than 0.01 %"."""
    value = 100 * share
    if value == 0 or value >= 0.01:
        return f"{value:.2g} %" if value < 10 else f"{value:.1f} %"
    return "less than 0.01 %"
