"""Finished answers on disk, as bytes that are data and nothing else, under keys of the code that made them."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import re
import struct
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from datetime import date
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from numpy.typing import NDArray

from study.core.errors import OutputError
from study.core.outputs import settle, write_scratch

Other = Callable[[Any], Any]


def refused(value: object) -> Any:
    """Refuse a value that no file can hold."""
    raise TypeError(f"no file holds a value of the type {_name(type(value))}.")


def encoded(value: object, other: Other = refused, arrays: list[NDArray[Any]] | None = None) -> bytes:
    """Return a value as bytes, equal only for equal values.

    Parameters
    ----------
    value : object
        Of None, bool, int, float, str, bytes, dates, numpy's arrays and scalars, and of lists, tuples, dicts, named
        tuples and dataclasses of these.
    other : callable
        Gives for any other value one of these in its place.
    arrays : list, optional
        Is given the arrays, each once, which are then not in the bytes.

    Raises
    ------
    TypeError
        If a value is none of these.
    """
    return json.dumps(_packed(value, other, arrays), separators=(",", ":")).encode()


def decoded(content: bytes, types: Iterable[type] = (), arrays: Sequence[NDArray[Any]] = ()) -> Any:
    """Return the value that :func:`encoded` made bytes of.

    Parameters
    ----------
    content : bytes
    types : iterable of type
        The dataclasses and named tuples that may be in it; any other name is an error.
    arrays : sequence of ndarray
        Those that are not in the bytes.
    """
    known = {_name(kind): kind for kind in types}

    def unpacked(item: dict[str, Any]) -> Any:
        ((name, value),) = item.items()
        if name == "apart":
            return arrays[value]
        if name in _READ:
            return _READ[name](value)
        kind = known[name]
        return kind(**dict(zip(_parts(kind), value, strict=True)))

    return json.loads(content, object_hook=unpacked)


def _packed(value: Any, other: Other, arrays: list[NDArray[Any]] | None) -> Any:
    kind, packed = type(value), partial(_packed, other=other, arrays=arrays)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return {"float": struct.pack("<d", value).hex()}
    if kind is bytes:
        return {"bytes": b64encode(value).decode()}
    if kind is date:
        return {"date": value.isoformat()}
    if kind is np.ndarray or isinstance(value, np.generic):
        if value.dtype.hasobject:
            return refused(value)
        if arrays is not None and kind is np.ndarray:
            known = (k for k, array in enumerate(arrays) if array is value)
            place = next(known, len(arrays))
            arrays += [value] if place == len(arrays) else []
            return {"apart": place}
        buffer = BytesIO()
        np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=False)
        return {"array" if kind is np.ndarray else "scalar": b64encode(buffer.getvalue()).decode()}
    if kind is list:
        return [packed(item) for item in value]
    if kind is tuple:
        return {"tuple": [packed(item) for item in value]}
    if kind is dict:
        return {"dict": [[packed(key), packed(item)] for key, item in value.items()]}
    if parts := _parts(kind):
        return {_name(kind): [packed(getattr(value, part)) for part in parts]}
    return packed(other(value))


def _parts(kind: type) -> tuple[str, ...]:
    """Return the names of what a dataclass or named tuple is made with; nothing for other types."""
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind) if field.init)
    return getattr(kind, "_fields", ()) if issubclass(kind, tuple) else ()


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _array(text: str) -> Any:
    return np.lib.format.read_array(BytesIO(b64decode(text, validate=True)), allow_pickle=False)


_READ: dict[str, Callable[[Any], Any]] = {
    "float": lambda text: struct.unpack("<d", bytes.fromhex(text))[0],
    "bytes": lambda text: b64decode(text, validate=True),
    "date": date.fromisoformat,
    "array": _array,
    "scalar": lambda text: _array(text)[()],
    "tuple": tuple,
    "dict": dict,
}


# What the study's own numbers and figures are made with, besides what these require.
NUMERICS = (
    "numpy", "scipy", "pandas", "statsmodels", "scikit-learn", "lightgbm", "doubleml", "econml", "linearmodels",
    "rapidfuzz", "matplotlib",
)  # fmt: skip


@cache
def versions(names: Iterable[str] = NUMERICS) -> tuple[tuple[str, str], ...]:
    """Return the versions of Python, of distributions, and of all that these require, in order of their names."""
    versions = {"python": sys.version}
    waiting = [*names]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in versions:
            continue
        versions[name] = ""
        with suppress(PackageNotFoundError):
            installed = distribution(name)
            versions[name] = installed.version
            required = [text for text in installed.requires or () if "extra ==" not in text]
            waiting += [match[0] for text in required if (match := re.match(r"[\w.-]+", text))]
    return tuple(sorted(versions.items()))


@cache
def code_of(module: str) -> str | None:
    """Return the checksum of all files of a module's package, of a module in none, or None if there is no file."""
    folders, file = places_of(module)
    if folders:
        return checksum(*folders)
    return None if file is None else hashlib.sha256(file.read_bytes()).hexdigest()


def places_of(module: str) -> tuple[list[Path], Path | None]:
    """Return the folders of the package that a module is in, and the file of a module that is in none."""
    try:
        spec = find_spec(root_of(module))
    except (ImportError, ValueError):  # made in a session
        spec = None
    if spec is None:
        return [], None
    folders = [Path(place) for place in spec.submodule_search_locations or ()]
    return folders, Path(spec.origin) if spec.has_location and spec.origin else None


def root_of(module: str) -> str:
    """Return the name of the package that a module is in, or of the module itself."""
    return module.partition(".")[0]


def checksum(*folders: Path) -> str:
    """Return the checksum of all files of folders and their names, without compiled Python, made of the others."""
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = path.relative_to(folder).as_posix()
                digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


PACKAGE = "compute-access-study"
FORMAT = b"study answer, format 1"
FITS = "fits"
# What backup programs look for, and the first file that is written: whether there can be others.
TAG = {"CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55\n# Answers that can be found anew.\n"}

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


def if_here(folder: Path | None) -> Path | None:
    """Return a folder of the process that asks, or None on a machine that has no such folder."""
    return folder if folder is not None and folder.is_dir() else None


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
        write_scratch(_place(folder, key), b"\n".join((FORMAT, _checksum(key, content), content)))
    except (OutputError, TypeError) as error:
        _say_lost(folder, error)


@cache
def prepare(folder: Path) -> None:
    """Take away what interrupted runs left half-written, and say it now if nothing can be kept."""
    try:
        settle(folder, only_if_free=True)
        for name, content in TAG.items():
            write_scratch(folder / name, content)
    except OutputError as error:
        _say_lost(folder, error)


def _place(folder: Path, key: str) -> Path:
    return folder / f"{key}.answer"


def _checksum(key: str, content: bytes) -> bytes:
    return hashlib.sha256(b"\n".join((FORMAT, key.encode(), content))).hexdigest().encode()


def _say_lost(folder: Path, error: Exception) -> None:
    # The folder of fits is in the one that the user knows.
    _say(str(error).replace(str(folder), str(folder.parent), 1) if folder.name == FITS else str(error))


@cache
def _say(why: str) -> None:
    """Say once why answers are not kept; of several processes, the one that the user started does."""
    if multiprocessing.parent_process() is None:
        _logger.warning("study: %s Answers are not kept.", why)
