"""Cross-fitting: nuisance functions predicted for each cluster by learners that have not seen its fold.

Folds are assigned by cluster, and drawn several times. A fit depends on its rows, its learner and its seed alone, so
that it is the same in any process, and is kept by its content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from study import core
from study.core import (
    FloatArray,
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
    versions,
)
from study.learners.named import ENSEMBLE, Learner, learned
from study.learners.problem import Kind, Problem, Rows, group_means
from study.panel import Sample

Centre = Callable[[FloatArray, IntArray, Rows], FloatArray]


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
        (name, single): nuisance._replace(learner=single)
        for name, nuisance in nuisances.items()
        for single in parts_of(nuisance.learner)
    }
    now, shape = current_settings(), folds.place.shape
    predicted = {key: np.empty((2, *shape)) for key in singles}
    fits = list(product(singles, range(shape[1]), range(folds.number)))
    folder = now.cache and now.cache.absolute()  # the settings themselves do not go to other processes
    if folder is not None:
        prepare(folder)

    def predict(fit: tuple[tuple[str, Learner], int, int]) -> FloatArray:
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
        name: _combined(nuisance, [predicted[name, single] for single in parts_of(nuisance.learner)])
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
