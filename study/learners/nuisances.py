"""What a design by double machine learning learns: nuisance functions, cross-fitted, kept beside the estimate.

Folds are assigned by cluster, and drawn several times: a cluster is predicted by learners that have not seen its fold.
A fit depends on its rows, its learner and its seed alone, so that it is the same in any process, and is kept by its
content.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from study import core
from study.core import (
    FloatArray,
    Influence,
    IntArray,
    QuestionError,
    checksum,
    code_of,
    current_settings,
    if_here,
    in_parallel,
    keep,
    key_of,
    places_of,
    prepare,
    stored,
    sums_by,
    versions,
)
from study.learners.named import (
    ENSEMBLE,
    Kind,
    Learner,
    Problem,
    Rows,
    group_means,
    learned,
    refuse_unfit,
    standardised,
)
from study.panel import Sample

Centre = Callable[[FloatArray, IntArray, Rows], FloatArray]
# doubleml clips to bounds above zero, and warns of what is beyond these.
LEAST = 1e-12
# Of units, that have to have others who are like them.
ALIKE = 0.1
BOTH_ENDS = "seen at both ends of the window"


class Nuisance(NamedTuple):
    """A conditional mean or probability that is to be learned.

    Attributes
    ----------
    target : ndarray, shape (N,)
        Anything finite in rows that are not ``among``.
    learner : str or estimator
        A name of ``study.learners`` or a scikit-learn estimator.
    kind : {"mean", "probability"}
    among : ndarray of bool, shape (N,), optional
        Rows that may be learned from; all of them where it is None.
    centre : callable
        For means: what is known exactly from target, period and training rows, shape (N,), and taken out
        before the learner sees the target.
    words : str
        What it predicts, as words that can follow "predicts": "adoption", "the change of papers".
    """

    target: FloatArray
    learner: Learner
    kind: Kind = "mean"
    among: Rows | None = None
    centre: Centre = group_means
    words: str = ""


class Folds(NamedTuple):
    """How rows are assigned: ``place`` of the row's cluster in a random order, shape (N, R), modulo ``number``.

    With one fold nothing is left out: every row is learned from and predicted.
    """

    place: IntArray
    number: int

    @property
    def fold(self) -> IntArray:
        """Fold of each row in each repetition, shape (N, R)."""
        return self.place % self.number

    def masks(self, repetition: int, fold: int) -> tuple[Rows, Rows]:
        """Return which rows train and which are predicted."""
        left_out = self.place[:, repetition] % self.number == fold
        return (~left_out if self.number > 1 else np.ones_like(left_out)), left_out

    def training(self) -> Iterator[Rows]:
        """Yield the rows that train, shape (N,), for each draw and fold."""
        for repetition, fold in product(range(self.place.shape[1]), range(self.number)):
            yield self.masks(repetition, fold)[0]

    def of(self, rows: IntArray | Rows) -> Folds:
        """Return the folds of some rows."""
        return Folds(self.place[rows], self.number)

    def check_both(self, who: str, sample: Sample, unit: IntArray, marked: Rows, what: str) -> None:
        """Refuse folds outside one of which a 0/1 variable is nearly constant.

        Parameters
        ----------
        who : str
        sample : Sample
        unit : ndarray of int, shape (N,)
            The sample's unit of each row.
        marked : ndarray of bool, shape (N,)
        what : str
            What marked rows are: "treated", for example.
        """
        cluster = sample.cluster[unit]
        for train in self.training():
            for side, words in ((marked, what), (~marked, f"not {what}")):
                if np.count_nonzero(np.bincount(cluster[train & side])) < 2:
                    raise QuestionError(
                        f"{who}: outside one of the {self.number} folds fewer than two "
                        f"{sample.question.clusters_in_words} are {words} ({len(np.unique(cluster[side]))} of "
                        f"{len(np.unique(cluster))} are in all), too few to learn from; use fewer folds or another "
                        "design."
                    )


def places(cluster: IntArray, stratum: IntArray, rng: np.random.Generator) -> IntArray:
    """Return each row's place in a random order of the clusters, stratum after stratum.

    Places modulo the number of folds are the folds: equal in size, and in each stratum, up to one. The stratum
    of a cluster is the least of its rows.
    """
    present, index = np.unique(cluster, return_inverse=True)
    least = np.full(len(present), np.iinfo(np.int64).max)
    np.minimum.at(least, index, stratum)
    shuffled = rng.permutation(len(present))
    place = np.empty(len(present), dtype=np.int64)
    place[shuffled[np.argsort(least[shuffled], kind="stable")]] = np.arange(len(present))
    return place[index]


def draw_folds(cluster: IntArray, stratum: IntArray, folds: int, repetitions: int, seed: int) -> Folds:
    """Assign clusters to folds, once for each repetition; arguments as in :func:`places`, shapes (N,)."""
    rngs = np.random.default_rng(seed).spawn(repetitions)
    return Folds(np.column_stack([places(cluster, stratum, rng) for rng in rngs]), folds)


def cross_fit(
    x: FloatArray, period: IntArray, nuisances: Mapping[str, Nuisance], folds: Folds, seed: int
) -> dict[str, FloatArray]:
    """Predict each nuisance function for all rows, in each repetition.

    Parameters
    ----------
    x : ndarray, shape (N, p)
    period : ndarray of int, shape (N,)
    nuisances : mapping of str to Nuisance
    folds : Folds
    seed : int
        Of learners that draw; each fit has its own from it.

    Returns
    -------
    dict of str to ndarray, shape (N, R)
        The learner "ensemble" is a weighted mean of those in ``study.learners.named.ENSEMBLE``, with the weights that
        predict best: non-negative least squares of the target on their cross-fitted predictions, both less what
        is known exactly, scaled to add up to one.
    """
    singles = {
        (name, number): nuisance._replace(learner=single)
        for name, nuisance in nuisances.items()
        for number, single in enumerate(parts_of(nuisance.learner))
    }
    now, shape = current_settings(), folds.place.shape
    predicted = {key: np.empty((2, *shape)) for key in singles}
    fits = list(product(singles, range(shape[1]), range(folds.number)))
    folder = now.cache and now.cache.absolute()  # the settings themselves do not go to other processes
    if folder is not None:
        prepare(folder)

    def predict(fit: tuple[tuple[str, int], int, int]) -> FloatArray:
        """Return what is known and what one learner adds to it, shape (2, m), in one fold of one repetition."""
        key, repetition, fold = fit
        nuisance = singles[key]
        train, test = folds.masks(repetition, fold)
        if nuisance.among is not None:
            train = train & nuisance.among
        if nuisance.kind == "mean":
            known = nuisance.centre(nuisance.target, period, train)
        else:
            known = np.full(len(test), 0.0 if x.shape[1] else nuisance.target[train].mean())
        if not (x.shape[1] and test.any()):
            return np.stack([known[test], np.zeros(test.sum())])
        place = folds.place[:, repetition]
        own_seed = _seed(seed, key[0], repetition, fold)
        problem = Problem(x, period, nuisance.target - known, place, train, test, own_seed)
        added = _looked_up_or_learned(problem, nuisance.learner, nuisance.kind, if_here(folder))
        return np.stack([known[test], added])

    for (key, repetition, fold), values in zip(fits, in_parallel(predict, fits), strict=True):
        predicted[key][:, folds.masks(repetition, fold)[1], repetition] = values
        if now.progress is not None:
            now.progress(f"{key[0]}, draw {repetition + 1} of {shape[1]}")
    return {
        name: _combined(nuisance, [predicted[own, number] for own, number in singles if own == name])
        for name, nuisance in nuisances.items()
    }


def parts_of(learner: Learner) -> tuple[Any, ...]:
    """Return the learners that one is made of: itself, or those of the ensemble."""
    return ENSEMBLE if isinstance(learner, str) and learner == "ensemble" else (learner,)


def _seed(seed: int, name: str, repetition: int, fold: int) -> int:
    """Return the seed of one fit, which differs between nuisances, repetitions and folds."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    state = np.random.SeedSequence(seed, spawn_key=(number, repetition, fold)).generate_state(1)
    return int(state[0]) % 2**31


def _combined(nuisance: Nuisance, parts: list[FloatArray]) -> FloatArray:
    """Return the predictions of one learner, or the weighted mean of several, shape (N, R); parts are (2, N, R)."""
    known, added = parts[0][0], np.stack([part[1] for part in parts], axis=2)
    if len(parts) == 1:
        return known + added[:, :, 0]
    used = slice(None) if nuisance.among is None else nuisance.among
    of_draws = [
        columns @ ensemble_weights((nuisance.target - of_draw)[used], columns[used])
        for of_draw, columns in zip(known.T, added.swapaxes(0, 1), strict=True)
    ]
    return known + np.column_stack(of_draws)


def ensemble_weights(target: FloatArray, predictions: FloatArray) -> FloatArray:
    """Return the weights of learners, shape (L,), from their cross-fitted predictions, shape (N, L)."""
    from scipy.optimize import nnls

    centre = target.mean()
    weights: FloatArray = nnls(predictions - centre, target - centre)[0]
    return weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))


def _looked_up_or_learned(problem: Problem, learner: Learner, kind: Kind, folder: Path | None) -> FloatArray:
    """Return what a learner predicts of the rows that are asked for, looked up first where there is a folder."""
    key = fit_key(problem, learner, kind) if folder else None
    known: FloatArray | None = stored(folder, key, [np.ndarray]) if folder and key else None
    if known is not None and known.dtype == np.float64 and known.shape == (problem.test.sum(),):
        return known
    with _threads(learner if isinstance(learner, str) else type(learner)).limit(limits=1):
        values = learned(problem, learner, kind)
    if folder and key:
        keep(folder, key, values)
    return values


@cache
def _threads(kind: str | type) -> Any:
    """Return what limits the threads of a kind of learner: two that share cores with other work are four times slower.

    The libraries are looked for once, which takes longer than a small fit.
    """
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


def fit_key(problem: Problem, learner: Learner, kind: Kind) -> str | None:
    """Return the key of a fit, or None where an estimator's settings do not say all that it depends on."""
    rows = [_content(part) if isinstance(part, np.ndarray) else part for part in problem]
    return key_of((code_of_learners(), rows, learner, kind), _estimator)


@cache
def code_of_learners() -> str:
    """Return the checksum of everything but the rows and settings that a fit depends on."""
    code = checksum(Path(__file__).parent, Path(core.__file__).parent)
    return hashlib.sha256(f"{code} {versions()}".encode()).hexdigest()


def _content(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], str]:
    digest = hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()
    return array.dtype.str, array.shape, digest


def _estimator(value: Any) -> Any:
    """Return what an estimator depends on: its class, all code of the package of that, and its settings.

    Raises
    ------
    TypeError
        If it is no estimator, or its class is in no package: nobody can say what else a script's class calls.
    """
    kind = type(value)
    folders, _ = places_of(kind.__module__)
    if not folders or not hasattr(value, "get_params"):
        raise TypeError(f"{kind.__module__}.{kind.__qualname__} has no settings that say all.")
    return kind.__module__, kind.__qualname__, code_of(kind.__module__), value.get_params(deep=False)


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
        cluster = sample.cluster[unit]
        n_clusters, needed = len(np.unique(cluster)), 2 * self.folds
        if n_clusters < needed:
            raise QuestionError(
                f"{who}: {self.folds} folds of at least two {sample.question.clusters_in_words} need {needed}, but "
                f"{n_clusters} are {where}; use fewer folds or another design."
            )
        return draw_folds(cluster, stratum, self.folds, self.repetitions, self.seed)


def refuse_explained(who: str, what: str, target: FloatArray, *predicted: FloatArray) -> None:
    """Refuse predictions, each of shape (N, R), that leave nothing of a target, shape (N,), but rounding."""
    left = ((target[:, None] - np.hstack(predicted)) ** 2).mean(axis=0)
    if not (left > 1e-12 * target.var()).all():
        raise QuestionError(
            f"{who}: covariates explain all of {what}, so nothing of it is left to compare; leave out those that are "
            "made from it."
        )


def least_squares(target: FloatArray, x: FloatArray) -> FloatArray:
    """Return the fit of a target, shape (N,), on covariates, (N, p), by least squares, shape (N, 1).

    Learners that shrink leave an error of their own of what covariates explain; this fit leaves rounding. It is the
    mean where there are as many covariates as a quarter of the rows, since these explain nearly anything.
    """
    few = 4 * x.shape[1] < len(x)
    z, mean = standardised(x if few else x[:, :0]), target.mean()
    return mean + z @ np.linalg.lstsq(z, target[:, None] - mean, rcond=None)[0]


def share_alike(d: FloatArray, m: FloatArray, x: FloatArray, *, both: bool) -> float:
    """Return how many units weighted to be like others add up to, as a share of these, in the least draw of (N, R).

    With the true m, units of d = 0 that are weighted by m / (1 - m) add up to the number of those of d = 1, for which
    they stand, and if ``both`` the other way round as well; if covariates tell d of each unit, to nothing. So they do
    if one covariate is larger for all of one kind, or least squares on x, shape (N, p), finds d: learners that shrink,
    or whose leaves are large, do not see it among few units.
    """
    ones, others = x[d == 1], x[d == 0]
    apart = (ones.min(axis=0) > others.max(axis=0)) | (ones.max(axis=0) < others.min(axis=0))
    if apart.any() or np.allclose(least_squares(d, x)[:, 0], d, rtol=0, atol=1e-6):
        return 0.0
    odds = np.where(d[:, None] == 1, (1 - m) / m if both else 0.0, m / (1 - m))
    return float(np.min(odds.sum(axis=0) / (len(d) if both else d.sum())))


def refuse_separated(who: str, what: str, d: FloatArray, m: FloatArray, x: FloatArray, *, both: bool) -> None:
    """Refuse probabilities of d, shape (N, R), by which next to no unit is like those that it is compared with."""
    share = share_alike(d, m, x, both=both)
    if not share > ALIKE:
        raise QuestionError(
            f"{who}: covariates nearly tell {what} of each unit: the units that others are compared with, weighted "
            f"to be like these, add up to {share:.1%} of their number, and below {ALIKE:.0%} nobody is alike; "
            "leave out covariates, or use another learner or design."
        )


class Averaged(NamedTuple):
    """A coefficient, shape (1,), with its influence by unit, shape (n, 1), and by draw of the folds, shape (R,)."""

    coefficient: FloatArray
    influence: FloatArray
    of_draw: FloatArray

    def notes(self, sample: Sample) -> tuple[str, ...]:
        """Say how much the estimate moves with the folds, and what doubleml's median of the draws is."""
        if len(self.of_draw) == 1:
            return ()
        (spread,) = spread_of_draws(sample, self.of_draw[None], Influence.of(self.influence))
        return (
            f"Over {len(self.of_draw)} draws of the folds the coefficient of one has a standard deviation of "
            f"{spread:.2f} CR0 standard errors; doubleml's median of them, in {sample.question.outcome_in_words}, "
            f"is {np.median(self.of_draw):.4g}.",
        )


def spread_of_draws(sample: Sample, of_draw: FloatArray, influence: Influence) -> FloatArray:
    """Return the standard deviation of estimates over draws, shape (K, R), in CR0 standard errors; zero without any."""
    error = np.sqrt(influence.squares(sample.cluster)) / sample.n_units
    return np.divide(of_draw.std(axis=1, ddof=1), error, out=np.zeros(len(error)), where=error > 0)


def of_predictions(
    model: Any, data: Any, predictions: Mapping[str, FloatArray], probabilities: str = "", **options: Any
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


def averaged(
    of_draw: FloatArray, psi: FloatArray, psi_a: FloatArray, unit: IntArray, n_units: int
) -> Averaged:
    """Return an estimate and its influence, averaged over draws of the folds.

    The influence of a unit is n times the sum of its scores over minus the sum of the scores' derivatives.

    Parameters
    ----------
    of_draw : ndarray, shape (R,)
        Estimates by draw of the folds.
    psi, psi_a : ndarray, shape (N, R)
        Scores psi = psi_a theta + psi_b at the estimates, and their derivatives.
    unit : ndarray of int, shape (N,)
        The unit of each row.
    n_units : int
    """
    influence = n_units * (sums_by(psi, unit, n_units) / -psi_a.sum(axis=0)).mean(axis=1, keepdims=True)
    return Averaged(of_draw.mean(keepdims=True), influence, of_draw)


def averaged_model(model: Any, unit: IntArray, n_units: int) -> Averaged:
    """Return what :func:`averaged` does of a fitted doubleml model of one treatment with a linear score."""
    return averaged(model.all_coef[0], model.psi[:, :, 0], model.psi_deriv[:, :, 0], unit, n_units)
