"""Tasks done in parallel: in processes of this machine, or by the workers of a cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from study.core.arrays import one_thread
from study.core.cache import keep, prepare, stored
from study.core.cluster import KEPT, on_cluster
from study.core.context import current_settings, expecting
from study.core.errors import WorkerError

K = TypeVar("K")
T = TypeVar("T")
R = TypeVar("R")

GLANCE = 1.0  # seconds between two looks at whether the parent is still there

_in_task: ContextVar[bool] = ContextVar("in_task", default=False)


def in_parallel(
    function: Callable[[T], R], tasks: Iterable[T], *, jobs: int | None = None, ordered: bool = True
) -> Iterator[R]:
    """Yield what a function returns for each task, with one thread of linear algebra.

    Where this is called inside a task that is itself done by another process, its tasks are done there, one after
    another: processes that wait for processes could wait for ever.

    Parameters
    ----------
    function : callable
        Takes a task. It goes to each worker once, so what tasks share belongs into it; fit for cloudpickle.
    tasks : iterable
        Taken as they are needed. What a task returns must depend on the task alone.
    jobs : int, optional
        Processes of this machine, -1 for all cores; those of ``study.settings`` where it is not given. A cluster has
        as many as it has workers, whatever this is.
    ordered : bool
        In the order of the tasks, or else as they are done.

    Raises
    ------
    WorkerError
        If processes or the cluster were lost, or the cluster is not what this process is.
    Exception
        Whatever a task raises.
    """
    now = current_settings()
    jobs = now.jobs if jobs is None else jobs
    if now.address is not None and not _in_task.get():
        return on_cluster(now.address, partial(_done_apart, function), tasks, ordered)
    if jobs == 1 or _in_task.get():
        return (_done(function, task) for task in tasks)
    return _in_processes(function, tasks, jobs, ordered)


def each_kept(
    make: Callable[[T], R],
    tasks: Mapping[K, T],
    keys: Mapping[K, str | None],
    folder: Path | None,
    kinds: Sequence[type[Any]],
    jobs: int | None = None,
) -> Iterator[tuple[K, R]]:
    """Yield the answer to each task by its name: first those that a folder has, then the others as they are made.

    The progress of ``study.settings`` is told how many these are.

    Parameters
    ----------
    make : callable
        Answers a task; fit for :func:`in_parallel`.
    tasks, keys : mapping
        By name: tasks, and the keys of their answers in the folder; an answer without a key is not kept.
    folder : Path or None
        Takes each answer as soon as it is made; without one none is looked up or kept.
    kinds : sequence of type
        What an answer is, and the types that may be in it.
    jobs : int, optional
        As for :func:`in_parallel`.
    """
    waiting = dict(tasks)
    if folder is not None:
        prepare(folder)
        for name, key in keys.items():
            known = None if key is None else stored(folder, key, kinds)
            if known is not None:
                del waiting[name]
                yield name, known
    expecting(len(waiting))
    for name, answer in in_parallel(partial(_named, make), waiting.items(), jobs=jobs, ordered=False):
        if folder is not None and (key := keys[name]) is not None:
            keep(folder, key, answer)
        yield name, answer


def _named(make: Callable[[T], R], task: tuple[K, T]) -> tuple[K, R]:
    name, argument = task
    return name, make(argument)


def _in_processes(function: Callable[[T], R], tasks: Iterable[T], jobs: int, ordered: bool) -> Iterator[R]:
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    sent = _Sent(uuid4().hex, function)
    calls = (delayed(_done_apart)(sent, task) for task in tasks)
    order = "generator" if ordered else "generator_unordered"
    try:
        with _uninterrupted():  # which processes keep that are started here
            results = Parallel(n_jobs=jobs, return_as=order, initializer=_end_with_parent)(calls)
        yield from results
    except TerminatedWorkerError as error:
        raise WorkerError(
            f"jobs: a process was ended from outside, for want of memory perhaps; {KEPT}"
        ) from error


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Do what is inside before Ctrl-C is heard; it is the first process that answers it, for all."""
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this process soon after the one that started it, which cannot say so where it is killed."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == parent.pid:
            time.sleep(GLANCE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@dataclass(frozen=True)
class _Sent:
    """A function as it comes with each task: a process keeps the first copy, and what that remembers."""

    call: str
    function: Callable[[Any], Any] = field(compare=False)

    def __call__(self, task: Any) -> Any:
        return _first_copy(self)(task)


@lru_cache(maxsize=1)
def _first_copy(sent: _Sent) -> Callable[[Any], Any]:
    return sent.function


def _done_apart(function: Callable[[T], R], task: T) -> R:
    """Return what a function returns for a task in a process that is there for tasks."""
    token = _in_task.set(True)
    try:
        return _done(function, task)
    finally:
        _in_task.reset(token)


def _done(function: Callable[[T], R], task: T) -> R:
    with one_thread():  # more of them would add in another order than one
        return function(task)
