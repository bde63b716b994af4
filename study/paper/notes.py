"""What the notes of the paper's tables say of samples and refusals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from study.paper.plan import Plan
from study.paper.results import Result
from study.report import CONVENTIONS, refused_notes


def conventions(results: Iterable[Result]) -> str:
    """Say the conventions of the standard errors that results have."""
    return "; ".join(CONVENTIONS[c] for c in dict.fromkeys(r.convention for r in results if r.convention))


def clustered(plan: Plan, results: Sequence[Result]) -> str:
    """Say what parentheses mean, and what errors are clustered by."""
    return f"Standard errors in parentheses, clustered by {cluster_of(plan)} ({conventions(results)})."


def cluster_of(plan: Plan) -> str:
    """Say what the standard errors of a plan's questions are clustered by."""
    return str(plan.question.get("cluster") or plan.text.unit)


def window_of(result: Result) -> str:
    """Say over which event times a question's average goes."""
    horizon = result.task.question.horizon
    return "all event times from 0" if horizon is None else f"event times 0 to {horizon}"


def refusals(results: Iterable[Result]) -> list[str]:
    """Say what a dash stands for, with the reason of each refusal once."""
    return refused_notes(sorted(note for r in results if r.headline is None for note in r.notes))
