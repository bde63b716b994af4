"""Cross-fitting: nuisance functions predicted for each cluster by learners that have not seen its fold.

Folds are assigned by cluster, and drawn several times. A fit depends on its rows, its learner and its seed alone, so
that it is the same in any process, and is kept by its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from study.core import (
    FloatArray,
    IntArray,
    QuestionError,
    checksum,
    code_of,
    current_settings,
    keep,
    key_of,
    places_of,
    prepare,
    stored,
    versions,
)
from study.learners import ENSEMBLE, Kind, Learner, Problem, learned
from study.learners.problem import Rows, period_means
from study.panel import Sample

Centre = Callable[[FloatArray, IntArray, Rows], FloatArray]


def by_period(target: FloatArray, period: IntArray, train: Rows) -> FloatArray:
    """Return for each row its period's mean over the training rows, shape (N,)."""
    return period_means(target[:, None], period, train)[:, 0]


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
    """

    target: FloatArray
    learner: Learner
    kind: Kind = "mean"
    among: Rows | None = None
    centre: Centre = by_period


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

    def masks(self, repetition: int, fold: int, among: Rows | None) -> tuple[Rows, Rows]:
        """Return which rows train and which are predicted."""
        asked = self.fold[:, repetition] == fold
        train = ~asked if self.number > 1 else np.ones(len(asked), dtype=bool)
        return (train if among is None else train & among), asked


def deal(cluster: IntArray, stratum: IntArray, rng: np.random.Generator) -> IntArray:
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
    """Deal clusters into folds, once for each repetition; arguments as in :func:`deal`, shapes (N,)."""
    rngs = np.random.default_rng(seed).spawn(repetitions)
    return Folds(np.column_stack([deal(cluster, stratum, rng) for rng in rngs]), folds)


def check_counts(who: str, *, least_folds: int = 2, **values: int) -> None:
    """Refuse folds, repetitions or a seed that is not a whole number, or too small."""
    least = {"folds": least_folds, "repetitions": 1, "seed": 0}
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least[name]:
            raise QuestionError(
                f"{who}: {name} is {value!r}; it must be a whole number, at least {least[name]}."
            )


def kind_of_cluster(sample: Sample) -> str:
    """Return what folds are assigned by, in the plural."""
    return "units" if sample.question.cluster is None else f"clusters ({sample.question.cluster})"


def check_number(who: str, sample: Sample, cluster: IntArray, folds: int, where: str) -> None:
    """Refuse more folds than there are pairs of clusters; ``where`` says where these are seen."""
    n_clusters = len(np.unique(cluster))
    if n_clusters < 2 * folds:
        kind = kind_of_cluster(sample)
        raise QuestionError(
            f"{who}: {folds} folds of at least two {kind} need {2 * folds}, but {n_clusters} are {where}; use fewer "
            "folds or another design."
        )


def check_both(who: str, sample: Sample, marked: Rows, cluster: IntArray, folds: Folds, what: str) -> None:
    """Refuse folds outside one of which a 0/1 variable is nearly constant.

    Parameters
    ----------
    who : str
    sample : Sample
    marked : ndarray of bool, shape (N,)
    cluster : ndarray of int, shape (N,)
    folds : Folds
    what : str
        What marked rows are: "treated", for example.
    """
    kind = kind_of_cluster(sample)
    for fold in folds.fold.T:
        for k in range(folds.number):
            train = fold != k if folds.number > 1 else np.ones(len(fold), dtype=bool)
            for side, word in ((marked, what), (~marked, f"not {what}")):
                if len(np.unique(cluster[train & side])) < 2:
                    raise QuestionError(
                        f"{who}: outside one of the {folds.number} folds fewer than two {kind} are {word} "
                        f"({len(np.unique(cluster[side]))} of {len(np.unique(cluster))} are in all), too few to learn "
                        "from; use fewer folds or another design."
                    )


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
        The learner "ensemble" is a weighted mean of those in ``study.learners.ENSEMBLE``, with the weights that
        predict best: non-negative least squares of the target on their cross-fitted predictions, scaled to add
        up to one.
    """
    from joblib import Parallel, delayed

    singles = {
        (name, part): nuisance._replace(learner=part)
        for name, nuisance in nuisances.items()
        for part in parts_of(nuisance.learner)
    }
    shape = folds.place.shape
    predicted = {key: np.empty(shape) for key in singles}
    steps = list(product(singles, range(shape[1]), range(folds.number)))
    work = current_settings()
    if work.cache is not None:
        prepare(work.cache)
    made = Parallel(n_jobs=work.jobs, return_as="generator")(
        delayed(_one)(
            x, period, singles[key], folds, repetition, fold, _seed(seed, key, repetition, fold), work.cache
        )
        for key, repetition, fold in steps
    )
    for (key, repetition, fold), values in zip(steps, made, strict=True):
        predicted[key][folds.fold[:, repetition] == fold, repetition] = values
        if work.progress is not None:
            work.progress(f"{key[0]}, draw {repetition + 1} of {shape[1]}")
    return {
        name: _combined(nuisance, [predicted[name, part] for part in parts_of(nuisance.learner)])
        for name, nuisance in nuisances.items()
    }


def parts_of(learner: Learner) -> tuple[Any, ...]:
    """Return the learners that one is made of: itself, or those of the ensemble."""
    return ENSEMBLE if isinstance(learner, str) and learner == "ensemble" else (learner,)


def _seed(seed: int, key: tuple[str, Any], repetition: int, fold: int) -> int:
    """Return the seed of one fit, which differs between nuisances, repetitions and folds."""
    name = int.from_bytes(hashlib.sha256(key[0].encode()).digest()[:4], "little")
    made = np.random.SeedSequence(seed, spawn_key=(name, repetition, fold)).generate_state(1)[0]
    return int(made) % 2**31


def _one(
    x: FloatArray,
    period: IntArray,
    nuisance: Nuisance,
    folds: Folds,
    repetition: int,
    fold: int,
    seed: int,
    folder: Path | None,
) -> FloatArray:
    """Predict one fold of one repetition."""
    train, asked = folds.masks(repetition, fold, nuisance.among)
    if nuisance.kind == "probability":
        if not x.shape[1]:
            return np.full(int(asked.sum()), nuisance.target[train].mean())
        known = np.zeros(len(asked))
    else:
        known = nuisance.centre(nuisance.target, period, train)
        if not x.shape[1]:
            return known[asked]
    place = folds.place[:, repetition]
    problem = Problem(x, period, nuisance.target - known, place, train, asked, seed)
    return known[asked] + predictions(problem, nuisance.learner, nuisance.kind, folder)


def _combined(nuisance: Nuisance, parts: list[FloatArray]) -> FloatArray:
    """Return the predictions of one learner, or the weighted mean of several, shape (N, R)."""
    if len(parts) == 1:
        return parts[0]
    used = np.ones(len(nuisance.target), dtype=bool) if nuisance.among is None else nuisance.among
    repetitions = range(parts[0].shape[1])
    of_draw = [np.column_stack([part[:, r] for part in parts]) for r in repetitions]
    return np.column_stack(
        [columns @ ensemble_weights(nuisance.target[used], columns[used]) for columns in of_draw]
    )


def ensemble_weights(target: FloatArray, predictions: FloatArray) -> FloatArray:
    """Return the weights of learners, shape (L,), from their cross-fitted predictions, shape (N, L)."""
    from scipy.optimize import nnls

    centre = target.mean()
    weights: FloatArray = nnls(predictions - centre, target - centre)[0]
    return weights / weights.sum() if weights.sum() > 0 else np.full(len(weights), 1 / len(weights))


def predictions(problem: Problem, learner: Learner, kind: Kind, folder: Path | None) -> FloatArray:
    """Return what a learner predicts of the rows that are asked for, looked up first where there is a folder."""
    key = None if folder is None else fit_key(problem, learner, kind)
    if folder is None or key is None:
        return _learn(problem, learner, kind)
    known: FloatArray | None = stored(folder, key, [np.ndarray])
    if known is not None and known.dtype == np.float64 and known.shape == (problem.asked.sum(),):
        return known
    made = _learn(problem, learner, kind)
    keep(folder, key, made)
    return made


def _learn(problem: Problem, learner: Learner, kind: Kind) -> FloatArray:
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # two threads that share cores with other work were four times slower
        return learned(problem, learner, kind)


def fit_key(problem: Problem, learner: Learner, kind: Kind) -> str | None:
    """Return the key of a fit, or None where an estimator's settings do not say all that it depends on."""
    rows = [_content(part) if isinstance(part, np.ndarray) else part for part in problem]
    return key_of((code_of_learners(), rows, learner, kind), _estimator)


@cache
def code_of_learners() -> str:
    """Return the checksum of everything but the rows and settings that a fit depends on."""
    code = checksum(Path(__file__).parent)
    return hashlib.sha256(f"{code} {versions()}".encode()).hexdigest()


def _content(array: np.ndarray[Any, Any]) -> tuple[str, tuple[int, ...], str]:
    return (
        array.dtype.str,
        array.shape,
        hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest(),
    )


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
