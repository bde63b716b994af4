"""Finished answers on disk, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar

from study.threads import one_thread
from study.work import working

Kept = TypeVar("Kept")
FITS = "fits"
NUMERICS = ("numpy", "scipy", "scikit-learn", "lightgbm", "doubleml")


@cache
def _code_checksum() -> bytes:
    """Return the checksum of everything but the data that an answer can depend on."""
    digest = hashlib.sha256(" ".join(f"{name} {version(name)}" for name in NUMERICS).encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


def place(folder: Path, what: object, *checksums: str) -> Path:
    """Return the file of an answer: its name changes with what is asked, the data, the code and its packages."""
    digest = hashlib.sha256(_code_checksum())
    digest.update(f"{what!r} {' '.join(checksums)}".encode())
    return folder / f"{digest.hexdigest()[:32]}.pickle"


def stored(path: Path, kind: type[Kept]) -> Kept | None:
    """Return a stored answer of a kind, or None where there is none that can be read."""
    try:
        result = pickle.loads(path.read_bytes())
    except (OSError, pickle.UnpicklingError, EOFError, AttributeError):
        return None
    return result if isinstance(result, kind) else None


def kept(path: Path | None, make: Callable[[], Kept]) -> Kept:
    """Make an answer in one thread, and keep it and what learners found on the way if a path is given.

    What is learned of treatment for one answer serves every outcome and scale.
    """
    fits = None if path is None else path.parent / FITS
    with one_thread(), working(cache=fits):  # more threads would add in another order than processes with one
        result = make()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(pickle.dumps(result))
        os.replace(file.name, path)
    return result
