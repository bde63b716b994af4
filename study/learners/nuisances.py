"""What a design by double machine learning learns, so that its quality can be shown beside the estimate."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import numpy as np

from study.core import FloatArray, Influence, IntArray, QuestionError, sums_by
from study.learners.cross_fitting import Folds, Nuisance, cross_fit, draw_folds
from study.learners.named import Learner, refuse_unfit
from study.learners.problem import Kind
from study.panel import Sample

# doubleml clips to bounds above zero, and warns of what is beyond these.
LEAST = 1e-12
BOTH_ENDS = "seen at both ends of the window"


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
    seed : int
        Of learners that draw.
    """

    unit: IntArray
    x: FloatArray
    period: IntArray
    functions: Mapping[str, Nuisance]
    folds: Folds
    seed: int


class Judged(NamedTuple):
    """Units, targets, shape (N,), and predictions, shape (N, R), of the rows on which a function is judged."""

    unit: IntArray
    target: FloatArray
    predicted: FloatArray


@dataclass(frozen=True, eq=False)
class Nuisances:
    """The nuisance functions of a design on a sample, before any of them is learned.

    A design with options of type ``Learner`` gives the catalogue a function that returns them and takes the
    sample, a :class:`study.learners.nuisances.Learning` and the design's other options: ``@design(...,
    nuisances=nuisances)``. It refuses what the design refuses before it learns. The
    design learns the same functions under the same names with the same seed, for each fit draws from these.

    Attributes
    ----------
    parts : tuple of Part
    treatment : str
        The function that predicts treatment (of an instrumented design the instrument): a propensity, or the mean of
        a change.
    layout : Any
        What the design has made of the sample to find them, which its score needs too.
    without : str
        What is known of a mean without covariates, and taken out before it is learned.
    limits : tuple of float
        What the propensity is clipped to before the design divides by it.
    """

    parts: tuple[Part, ...]
    treatment: str = "treatment"
    layout: Any = None
    without: str = "its period's mean"
    limits: tuple[float, float] = (0.0, 1.0)

    @property
    def words(self) -> dict[str, str]:
        """The words of each function; functions of the same words, of several event times, say, are judged at once."""
        return {name: of.words for part in self.parts for name, of in part.functions.items()}

    @property
    def kinds(self) -> dict[str, Kind]:
        """The kind of what each of ``words`` stands for, that of treatment first."""
        kinds = {of.words: of.kind for part in self.parts for of in part.functions.values()}
        first = self.words[self.treatment]
        return {first: kinds[first]} | kinds

    def predicted(self) -> tuple[dict[str, FloatArray], ...]:
        """Return the cross-fitted predictions of each part's functions, shape (N, R), as the design has them."""
        return tuple(cross_fit(p.x, p.period, p.functions, p.folds, p.seed) for p in self.parts)

    def known(self) -> tuple[dict[str, FloatArray], ...]:
        """Return what is predicted without covariates, shape (N, R), by the training folds.

        For a mean what is taken out of it before a learner sees it, for a probability the share.
        """
        parts = []
        for part in self.parts:
            functions = {name: of._replace(learner="linear") for name, of in part.functions.items()}
            parts.append(part._replace(x=part.x[:, :0], functions=functions))
        return replace(self, parts=tuple(parts)).predicted()

    def judged(self, words: str, predictions: Sequence[Mapping[str, FloatArray]]) -> Judged:
        """Return the rows that functions of the same words may be learned from, with their predictions."""
        pieces = []
        for part, predicted in zip(self.parts, predictions, strict=True):
            for name, of in part.functions.items():
                if of.words == words:
                    rows = np.ones(len(of.target), dtype=bool) if of.among is None else of.among
                    pieces.append((part.unit[rows], of.target[rows], predicted[name][rows]))
        return Judged(*map(np.concatenate, zip(*pieces, strict=True)))

    def clipped(self, propensity: FloatArray) -> FloatArray:
        """Return propensity scores, shape (N, R), moved to the nearest of the limits where they are beyond."""
        return np.clip(propensity, max(self.limits[0], LEAST), min(self.limits[1], 1 - LEAST))

    def clipping_note(self, propensity: FloatArray, predictions: str, rows: str = "units") -> str:
        """Say how many predictions, shape (N, R), lie beyond the limits; a lower limit of zero stands for none."""
        (number, draws), (lower, upper) = propensity.shape, self.limits
        times = f" in each of {draws} draws" if draws > 1 else ""
        below = f"{(propensity < lower).sum()} below {lower:g} and " if lower > 0 else ""
        lowest = (
            "" if lower > 0 else " Low ones are left as they are, since their units weigh next to nothing."
        )
        return (
            f"Of the {propensity.size} {predictions} ({number} {rows}{times}) {below}{(propensity > upper).sum()} "
            f"above {upper:g} are set to that bound.{lowest}"
        )


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
        if self.folds < least_folds:
            raise QuestionError(
                f"{who}: folds is {self.folds}; it must be a whole number, at least {least_folds}."
            )
        refuse_unfit(who, "learner", self.learner, "mean")
        refuse_unfit(who, "propensity", self.propensity, "probability")
        if not 0 < self.trim < 0.5:
            raise QuestionError(f"{who}: trim is {self.trim!r}; it must be a number above 0 and below 0.5.")

    def draw(
        self, who: str, sample: Sample, unit: IntArray, stratum: IntArray, where: str = BOTH_ENDS
    ) -> Folds:
        """Assign the clusters of rows to folds, spreading each stratum over them.

        Parameters
        ----------
        who : str
        sample : Sample
        unit, stratum : ndarray of int, shape (N,)
            The sample's unit of each row, and what is spread over the folds evenly.
        where : str
            Where the clusters are, in words.

        Raises
        ------
        QuestionError
            If there are more folds than pairs of clusters.
        """
        n_clusters, needed = len(np.unique(sample.cluster[unit])), 2 * self.folds
        if n_clusters < needed:
            raise QuestionError(
                f"{who}: {self.folds} folds of at least two {sample.question.clusters_in_words} need {needed}, but "
                f"{n_clusters} are {where}; use fewer folds or another design."
            )
        return draw_folds(sample.cluster[unit], stratum, self.folds, self.repetitions, self.seed)


def refuse_explained(who: str, what: str, target: FloatArray, predicted: FloatArray) -> None:
    """Refuse predictions, shape (N, R), that leave nothing of a target, shape (N,), but rounding."""
    left = ((target[:, None] - predicted) ** 2).mean(axis=0)
    if not (left > 1e-12 * target.var()).all():
        raise QuestionError(
            f"{who}: covariates explain all of {what}, so nothing of it is left to compare; leave out those that are "
            "made from it."
        )


class Averaged(NamedTuple):
    """A coefficient, shape (1,), with its influence by unit, shape (n, 1), and by draw of the folds, shape (R,)."""

    coefficient: FloatArray
    influence: FloatArray
    of_draw: FloatArray
    median: float

    def notes(self, sample: Sample) -> tuple[str, ...]:
        """Say how much the estimate moves with the folds, and what doubleml's median of the draws is."""
        if len(self.of_draw) == 1:
            return ()
        (spread,) = spread_of_draws(sample, self.of_draw[None], Influence.of(self.influence))
        return (
            f"Over {len(self.of_draw)} draws of the folds the coefficient of one has a standard deviation of "
            f"{spread:.2f} standard errors; doubleml's median of them is {self.median:.4g}.",
        )


def spread_of_draws(sample: Sample, of_draw: FloatArray, influence: Influence) -> FloatArray:
    """Return the standard deviation of estimates over draws, shape (K, R), in standard errors; zero without any."""
    error = np.sqrt(influence.squares(sample.cluster)) / sample.n_units
    return np.divide(of_draw.std(axis=1, ddof=1), error, out=np.zeros(len(error)), where=error > 0)


def of_predictions(
    model: Any,
    data: Any,
    predictions: Mapping[str, FloatArray],
    probabilities: str = "",
    **options: Any,
) -> Any:
    """Return a doubleml model with its coefficients and scores by draw of the folds, from predictions made here.

    doubleml would tell its learners neither which rows are of one cluster nor which column is the period.

    Parameters
    ----------
    model : class
        One of doubleml's.
    data : DoubleMLData
    predictions : mapping of str to ndarray, shape (N, R)
        Cross-fitted, by doubleml's names without "ml_", each of which starts with its learner's letter; propensities
        are clipped.
    probabilities : str
        The letters of those learners that predict probabilities.
    **options
        Other arguments of the model.
    """
    from doubleml.utils import DMLDummyClassifier, DMLDummyRegressor, PSProcessorConfig

    if probabilities:
        options["ps_processor_config"] = PSProcessorConfig(clipping_threshold=LEAST)
    for name in predictions:
        dummy = DMLDummyClassifier if name[0] in probabilities else DMLDummyRegressor
        options[f"ml_{name[0]}"] = dummy()
    fitted = model(data, draw_sample_splitting=False, **options)
    # doubleml checks each fold at length and uses none where predictions are given: halves stand for the rows that
    # are predicted, nothing for those that are learned from.
    n_rows, draws = next(iter(predictions.values())).shape
    none = np.empty(0, dtype=np.int64)
    halves = [(none, half) for half in np.array_split(np.arange(n_rows), 2)]
    fitted.set_sample_splitting([halves] * draws)
    given = {data.d_cols[0]: {f"ml_{name}": values for name, values in predictions.items()}}
    with warnings.catch_warnings():  # of its sensitivity analysis, which is not asked for here
        warnings.filterwarnings("ignore", "The estimated nu2|invalid value encountered in divide")
        return fitted.fit(external_predictions=given)


def averaged(model: Any, unit: IntArray, n_units: int) -> Averaged:
    """Return a fitted doubleml model's estimate and influence, averaged over its draws of the folds.

    The influence of a unit is n times the sum of its scores over minus the sum of the scores' derivatives.

    Parameters
    ----------
    model : DoubleML
        Of one treatment, with a linear score psi = psi_a theta + psi_b.
    unit : ndarray of int, shape (N,)
        The unit of each row of the model's data.
    n_units : int
    """
    theta, psi, psi_a = model.all_coef[0], model.psi[:, :, 0], model.psi_deriv[:, :, 0]
    influence = n_units * (sums_by(psi, unit, n_units) / -psi_a.sum(axis=0)).mean(axis=1, keepdims=True)
    return Averaged(theta.mean(keepdims=True), influence, theta, float(model.coef[0]))
