"""Tasks of the tests of parallel work, which other processes import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from study.core import in_parallel


def summed(task: int) -> tuple[int, float]:
    return task, float(np.random.default_rng(task).normal(size=100).sum())


def nested(task: int) -> list[tuple[int, float]]:
    return list(in_parallel(summed, range(task), jobs=2))


def own_process(_: object) -> int:
    return os.getpid()


def processes(_: object) -> set[int]:
    """Return the processes of a task and of those that it has in its turn."""
    return {os.getpid(), *in_parallel(own_process, range(4), jobs=2)}


class Counting:
    """Return the process of a task, and how many it has had."""

    def __init__(self) -> None:
        self.tasks: list[int] = []

    def __call__(self, task: int) -> tuple[int, int]:
        self.tasks.append(task)
        return os.getpid(), len(self.tasks)


def threads(_: object) -> set[int]:
    """Return how many threads libraries of linear algebra have in a task."""
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def fatal_once(marker: Path, task: int) -> tuple[int, float]:
    """End the process at the fourth task, the first time."""
    if task == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return summed(task)
