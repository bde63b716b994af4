"""The state of the code that an answer depends on: checksums of files, versions of packages."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

# What the study's own numbers and figures are made with, besides what these require.
NUMERICS = (
    "numpy", "scipy", "pandas", "statsmodels", "scikit-learn", "lightgbm", "doubleml", "econml", "linearmodels",
    "rapidfuzz", "matplotlib",
)  # fmt: skip


@cache
def versions(names: Iterable[str] = NUMERICS) -> tuple[tuple[str, str], ...]:
    """Return the versions of Python, of distributions, and of all that these require, in order of their names."""
    found = {"python": sys.version}
    waiting = [*names]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            found[name] = ""
            continue
        found[name] = installed.version
        required = [text for text in installed.requires or () if "extra ==" not in text]
        waiting += [match[0] for text in required if (match := re.match(r"[\w.-]+", text))]
    return tuple(sorted(found.items()))


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
