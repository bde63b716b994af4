"""What learners predicted, kept by the content of what they were given."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from study.core import FloatArray, checksum, code_of, keep, key_of, places_of, stored, versions
from study.learners import Kind, Learner, Problem, learned


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
