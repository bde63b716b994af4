"""Finished answers on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

from study.panel import Panel
from study.plan import Task
from study.results import Result, answer
from study.threads import one_thread
from study.work import working

FITS = "fits"
NUMERICS = ("numpy", "scipy", "scikit-learn", "lightgbm", "doubleml")


@cache
def _code_checksum() -> bytes:
    """Return the checksum of everything but the data that an answer can depend on."""
    digest = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in NUMERICS).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def place(folder: Path, task: Task, panel: Panel) -> Path:
    """Return the file of a task's answer: its name changes with the task, the panel, the code and its packages."""
    digest = hashlib.sha256(_code_checksum())
    digest.update(f"{task!r} {panel.checksum}".encode())
    return folder / f"{digest.hexdigest()[:32]}.pickle"


def stored(path: Path) -> Result | None:
    """Return a stored answer, or None where there is none that can be read."""
    try:
        result = pickle.loads(path.read_bytes())
    except (OSError, pickle.UnpicklingError, EOFError, AttributeError):
        return None
    return result if isinstance(result, Result) else None


def answer_and_store(task: Task, panel: Panel, path: Path | None) -> Result:
    """Answer a task, and keep the answer and what learners found on the way if a path is given.

    What one task learns of treatment serves every outcome and scale.
    """
    kept = None if path is None else path.parent / FITS
    with one_thread(), working(cache=kept):  # more threads would add in another order than processes with one
        result = answer(task, panel)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(pickle.dumps(result))
        os.replace(file.name, path)
    return result
