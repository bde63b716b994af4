"""Finished answers on disk, so that an interrupted run goes on where it stopped.

A file says which format it has, and the SHA-256 of its key and content: one that does not agree, or is not of this
format, is no answer, and the answer is found anew.
"""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import shutil
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

from study.core.codec import Other, decoded, encoded, refused
from study.core.errors import OutputError
from study.core.outputs import STAGING, write_all

PACKAGE = "compute-access-study"
FORMAT = b"study answer, format 1"
FITS = "fits"
# What backup programs look for, and the first file that is written: whether there can be others.
TAG = {"CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55\n# Answers that can be found anew.\n"}
ABANDONED = 3600.0  # seconds after which a half-written file is nobody's

_logger = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return the folder of what can be had again: STUDY_CACHE, or the study's place among the user's caches."""
    chosen = os.environ.get("STUDY_CACHE")
    return Path(chosen) if chosen else platformdirs.user_cache_path(PACKAGE, appauthor=False)


def folder_of(plan: Path | None) -> Path:
    """Return the folder of a plan's answers: ``build/cache`` beside ``paper``, or beside a plan that is elsewhere.

    Without a plan, or for one that is installed with the package, it is among the user's caches.
    """
    if plan is None or plan.resolve().is_relative_to(Path(__file__).parents[1]):
        return cache_folder() / "answers"
    home = plan.resolve().parent
    return (home.parent if home.name == "paper" else home) / "build" / "cache"


def fits_of(plan: Path | None, cache: Path | None) -> Path:
    """Return the folder of what learners found for a plan, in a folder of answers that is given or the plan's."""
    return (cache or folder_of(plan)) / FITS


def key_of(what: object, other: Other = refused) -> str | None:
    """Return the key of what an answer depends on, or None where it has something that no key can hold."""
    try:
        return hashlib.sha256(encoded(what, other)).hexdigest()
    except TypeError:
        return None


def stored(folder: Path, key: str, kinds: Sequence[type[Any]]) -> Any:
    """Return the answer of a key, or None where there is none that can be verified.

    Parameters
    ----------
    folder : Path
    key : str
    kinds : sequence of type
        What the answer is, and the types that may be in it.
    """
    try:
        form, checksum, content = _place(folder, key).read_bytes().split(b"\n", 2)
        if (form, checksum) != (FORMAT, _checksum(key, content)):
            return None
        answer = decoded(content, kinds)
    except Exception:  # Whatever is wrong with a file, there is another way to the answer.
        return None
    return answer if isinstance(answer, kinds[0]) else None


def keep(folder: Path, key: str, answer: object) -> None:
    """Keep an answer, or say that it cannot be."""
    try:
        content = encoded(answer)
        write_all(folder, {_place(folder, key).name: b"\n".join((FORMAT, _checksum(key, content), content))})
    except (OutputError, TypeError) as error:
        _say_lost(str(error))


@cache
def prepare(folder: Path) -> None:
    """Take away what interrupted runs left half-written, and say it now if nothing can be kept."""
    for left in folder.glob(f"{STAGING}*"):
        try:
            if time.time() - left.stat().st_mtime > ABANDONED:
                shutil.rmtree(left)
        except OSError:  # another run took it away
            pass
    try:
        write_all(folder, TAG)
    except OutputError as error:
        _say_lost(str(error))


def _place(folder: Path, key: str) -> Path:
    return folder / f"{key}.answer"


def _checksum(key: str, content: bytes) -> bytes:
    return hashlib.sha256(b"\n".join((FORMAT, key.encode(), content))).hexdigest().encode()


@cache
def _say_lost(why: str) -> None:
    """Say once why answers are not kept; of several processes, the one that the user started does."""
    if multiprocessing.parent_process() is None:
        _logger.warning("study: %s Answers are not kept.", why)
