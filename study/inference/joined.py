"""The joint sampling distribution of several estimates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study.core import QuestionError, checked
from study.estimates import Estimate, Joint, stack


@checked
def joint(*estimates: Estimate) -> Joint:
    """Return all terms that vary with their joint sampling distribution, on the union of the samples.

    Raises
    ------
    QuestionError
        If there is no estimate, or they differ in scale or cluster by different attributes.
    """
    if not estimates:
        raise QuestionError("joint: there is no estimate; give at least one.")
    scales = {estimate.sample.question.scale for estimate in estimates}
    clusters = {estimate.sample.question.cluster for estimate in estimates}
    if len(scales) > 1 or len(clusters) > 1:
        raise QuestionError(
            f"joint: the estimates differ in scale ({', '.join(sorted(scales))}) or cluster "
            f"({', '.join(sorted(str(c) for c in clusters))}); compare like with like."
        )
    return stack(
        [f"{e.design} {t}" for e in estimates for t, used in zip(e.terms, e.varies, strict=True) if used],
        [e.effect[e.varies] for e in estimates],
        [e.errors.select(e.varies).dense() for e in estimates],
        *_units(estimates),
    )


def terms_of(fit: Estimate) -> Joint:
    """Return all terms of one estimate, also those that do not vary, with their joint sampling distribution."""
    return stack(fit.terms, [fit.effect], [fit.errors.dense()], *_units([fit]))


def joined_headlines(headlines: Mapping[str, Estimate], who: str) -> Joint:
    """Stack averages of one term on the union of their samples' units.

    Raises
    ------
    QuestionError
        If the estimates cluster by different attributes.
    """
    fits = list(headlines.values())
    clusters = {str(fit.sample.question.cluster or "unit") for fit in fits}
    if len(clusters) > 1:
        raise QuestionError(
            f"{who}: the estimates cluster by {' and '.join(sorted(clusters))}, so they have no joint "
            "distribution; give all the same cluster."
        )
    return stack(
        list(headlines),
        [fit.effect for fit in fits],
        [fit.errors.dense() for fit in fits],
        *_units(fits),
    )


def _units(fits: Sequence[Estimate]) -> tuple[Any, ...]:
    """Return the units of each estimate, their clusters, which of them are treated, and how errors are distributed."""
    return (
        [fit.sample.unit_ids for fit in fits],
        [fit.sample.cluster_labels for fit in fits],
        [(fit.sample.treatment == 1).any(axis=1) for fit in fits],
        all(fit.convention == "jackknife" for fit in fits),
    )
