"""What a design by double machine learning learns, so that its quality can be shown beside the estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from study.core import FloatArray, IntArray
from study.learners.cross_fitting import Folds, Nuisance, cross_fit
from study.learners.problem import Kind
from study.panel import Question


class Part(NamedTuple):
    """Rows on which nuisance functions are learned at once.

    Attributes
    ----------
    unit : ndarray of int, shape (N,)
        The sample's unit of each row.
    x : ndarray, shape (N, p)
    period : ndarray of int, shape (N,)
    functions : mapping of str to Nuisance
    folds : Folds
    seed : int, optional
        Where it is not that of all parts.
    """

    unit: IntArray
    x: FloatArray
    period: IntArray
    functions: Mapping[str, Nuisance]
    folds: Folds
    seed: int | None = None


class Judged(NamedTuple):
    """Units, targets, shape (N,), and predictions, shape (N, R), of the rows on which a function is judged."""

    unit: IntArray
    target: FloatArray
    predicted: FloatArray


@dataclass(frozen=True, eq=False)
class Nuisances:
    """The nuisance functions of a design on a sample, before any of them is learned.

    A design with options of type ``Learner`` gives the catalogue a function that returns them and takes the
    sample, a :class:`study.learners.learning.Learning` and the design's other options: ``@design(...,
    nuisances=nuisances)``. It refuses what the design refuses before it learns. The
    design learns the same functions under the same names with the same seed, for each fit draws from these.

    Attributes
    ----------
    parts : tuple of Part
    seed : int
        Of learners that draw.
    said : mapping of str to str
        What each function predicts, as words that can follow "predicts": "adoption", "the change of papers".
        Functions of the same words, those of several event times, for example, are judged together.
    treatment : str
        The function that predicts treatment (of an instrumented design the instrument): a propensity, or the mean of
        a change.
    without : str
        What is known of a mean without covariates, and taken out before it is learned.
    limits : tuple of float
        What the propensity is clipped to before the design divides by it.
    """

    parts: tuple[Part, ...]
    seed: int
    said: Mapping[str, str]
    treatment: str = "treatment"
    without: str = "its period's mean"
    limits: tuple[float, float] = (0.0, 1.0)

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of what each words of ``said`` stand for, that of treatment first."""
        kinds = {self.said[name]: of.kind for part in self.parts for name, of in part.functions.items()}
        first = self.said[self.treatment]
        return {first: kinds[first]} | kinds

    def predicted(self) -> tuple[dict[str, FloatArray], ...]:
        """Return the cross-fitted predictions of each part's functions, shape (N, R), as the design has them."""
        return tuple(self._cross_fitted(part, part.x, part.functions) for part in self.parts)

    def known(self) -> tuple[dict[str, FloatArray], ...]:
        """Return what is predicted without covariates, shape (N, R), by the training folds.

        For a mean what is taken out of it before a learner sees it, for a probability the share.
        """
        return tuple(
            self._cross_fitted(
                part,
                part.x[:, :0],
                {name: of._replace(learner="linear") for name, of in part.functions.items()},
            )
            for part in self.parts
        )

    def _cross_fitted(
        self, part: Part, x: FloatArray, functions: Mapping[str, Nuisance]
    ) -> dict[str, FloatArray]:
        seed = self.seed if part.seed is None else part.seed
        return cross_fit(x, part.period, functions, part.folds, seed)

    def judged(self, words: str, predictions: Sequence[Mapping[str, FloatArray]]) -> Judged:
        """Return the rows that functions of the same words may be learned from, with their predictions."""
        pieces = []
        for part, predicted in zip(self.parts, predictions, strict=True):
            for name, of in part.functions.items():
                if self.said[name] == words:
                    rows = np.ones(len(of.target), dtype=bool) if of.among is None else of.among
                    pieces.append((part.unit[rows], of.target[rows], predicted[name][rows]))
        return Judged(*map(np.concatenate, zip(*pieces, strict=True)))


def outcome_in_words(question: Question) -> str:
    """Return what the outcome of a question is called on its scale."""
    return f"log(1 + {question.outcome})" if question.scale == "log1p" else question.outcome
