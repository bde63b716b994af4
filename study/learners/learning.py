"""How nuisance functions are learned: by what, over which folds, how often, and how far propensities are trimmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from study.core import IntArray
from study.learners import Learner, refuse_unfit
from study.learners.clipping import check_trim
from study.learners.cross_fitting import Folds, check_counts, draw_folds


@dataclass(frozen=True)
class Learning:
    """What a design by double machine learning is told of its learners.

    Attributes
    ----------
    learner : Learner
        Of conditional means.
    folds, repetitions, seed : int
        Folds of one draw, draws, and the seed of both and of learners that draw.
    propensity : Learner, optional
        Of probabilities, where the design has some.
    trim : float, optional
        The bound of propensities, where the design divides by some.
    """

    learner: Learner
    folds: int
    repetitions: int
    seed: int
    propensity: Learner = "lasso"
    trim: float = 0.01

    @classmethod
    def split(cls, options: Mapping[str, Any]) -> tuple[Learning, dict[str, Any]]:
        """Return the options of a design that are about learning, and the others."""
        own = {field.name for field in fields(cls)}
        learning = cls(**{name: value for name, value in options.items() if name in own})
        return learning, {name: value for name, value in options.items() if name not in own}

    def check(self, who: str, *, least_folds: int = 2) -> None:
        """Refuse what cannot be learned with, before anything is."""
        check_counts(
            who, least_folds=least_folds, folds=self.folds, repetitions=self.repetitions, seed=self.seed
        )
        refuse_unfit(who, "learner", self.learner, "mean")
        refuse_unfit(who, "propensity", self.propensity, "probability")
        check_trim(who, self.trim)

    def draw(self, cluster: IntArray, stratum: IntArray) -> Folds:
        """Deal clusters into folds, spreading each stratum over them; shapes (N,)."""
        return draw_folds(cluster, stratum, self.folds, self.repetitions, self.seed)
