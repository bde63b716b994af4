"""Replications of a tournament: what each design answers on panels that data-generating processes draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from study.core import FloatArray, IntArray


class Entrant(NamedTuple):
    """A row of a tournament: a design with its options, and what it changes in the question."""

    label: str
    design: str
    options: Mapping[str, Any] = {}
    changes: Mapping[str, Any] = {}


class Answer(NamedTuple):
    """What a design says of one panel, on the question's scale; all NaN where it has no answer.

    Attributes
    ----------
    estimate, std_error : float
        The headline and its standard error under the default convention.
    low, high : float
        Its interval.
    published_low, published_high : float
        Its interval under the convention of the design's reference implementation.
    p_wald, p_largest : float
        Of the joint tests that effects before treatment are zero; NaN where the design has none. The second is by
        :data:`DRAWS` draws B and a multiple of 1 / (B + 1), so that a test of size a rejects where it is at most a.
    """

    estimate: float
    std_error: float
    low: float
    high: float
    published_low: float
    published_high: float
    p_wald: float
    p_largest: float


@dataclass(frozen=True, eq=False)
class Replications:
    """What D entrants answer on R panels of one process.

    Attributes
    ----------
    process : str
    dials : mapping of str to float
    scale : str
        Of the question.
    labels : tuple of str, length D
    answers : ndarray, shape (D, R, 8)
        The fields of :class:`Answer`, NaN where an entrant has no answer or was not run.
    ran : ndarray of int, shape (D,)
        Of how many panels each entrant was asked, the first ones.
    truths : ndarray, shape (R, 2)
        Of each panel the average effect and the untreated mean of the same cells; see
        :func:`study.simulate.process.truth`.
    refused : tuple of (str, str, int)
        Label, first reason and how often, of entrants that have panels without an answer.
    level : float
        Of the intervals.
    """

    process: str
    dials: Mapping[str, float]
    scale: str
    labels: tuple[str, ...]
    answers: FloatArray
    ran: IntArray
    truths: FloatArray
    refused: tuple[tuple[str, str, int], ...] = field(default=())
    level: float = 0.95
