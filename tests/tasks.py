"""Tasks of the tests of parallel work, which other processes import."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np

from study.core import in_parallel


def summed(task: int) -> tuple[int, float]:
    return task, float(np.random.default_rng(task).normal(size=100).sum())


def nested(task: int) -> list[tuple[int, float]]:
    return list(in_parallel(summed, range(task), jobs=2))


def fatal_once(marker: Path, task: int) -> tuple[int, float]:
    """End the process at the fourth task, the first time."""
    if task == 3 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return summed(task)
