"""The git repository of the Open Science Grid's registry, YAML files and history, as the tables of ``osg``."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from study.core import DataError

Rows = list[tuple[str, ...]]

TAG = "CC*"
_OTHER_FILES = re.compile(r"(SITE|FACILITY|.*_downtime)\.ya?ml")
_AWARD = re.compile(r"(?:NSF|award|grant)\D{0,40}\b(\d{7})\b", re.IGNORECASE)
_SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def tables(address: str, progress: Callable[[str], None] | None = None) -> tuple[Rows, Rows, Rows]:
    """Clone the repository into a temporary folder and return groups with CC* resources, projects, institutions.

    Raises
    ------
    DataError
        If git is not installed or fails, or a file is no YAML of the expected form.
    """
    say = progress if progress is not None else _silent
    with tempfile.TemporaryDirectory(prefix="study-osg-") as folder:
        clone = Path(folder) / "topology"
        say("OSG registry: clone of the repository")
        _git(Path(folder), "clone", "--quiet", "--no-tags", address, clone.name)
        say("OSG registry: resource groups")
        groups = _groups(clone)
        say("OSG registry: projects and institutions")
        return groups, _projects(clone), _institutions(clone)


def _groups(clone: Path) -> Rows:
    rows = []
    for path in sorted(clone.glob("topology/*/*/*.y*ml")):
        if _OTHER_FILES.fullmatch(path.name):
            continue
        text = path.read_text(encoding="utf-8")
        if TAG not in text:
            continue
        name = path.relative_to(clone).as_posix()
        resources = _mapping(text, name).get("Resources")
        if not isinstance(resources, dict) or not all(isinstance(each, dict) for each in resources.values()):
            raise DataError(f"{name}: holds no named resources; has its form changed?")
        tagged = sum(TAG in (resource.get("Tags") or ()) for resource in resources.values())
        if tagged:
            facility, site = path.parts[-3:-1]
            award = _AWARD.search(text)
            row = (
                name,
                facility,
                site,
                path.stem,
                str(tagged),
                _first_tagged(clone, name),
                award[1] if award else "",
            )
            rows.append(row)
    return sorted(rows, key=lambda row: (row[5], row[0]))


def _first_tagged(clone: Path, name: str) -> str:
    """Return the day of the first commit that put the tag into the file, under whatever name it had then."""
    log = _git(clone, "log", "--follow", "--format=%as", f"-S{TAG}", "--", name)
    return min(log.split(), default="")


def _projects(clone: Path) -> Rows:
    first = _first_added(clone, "projects")
    rows = []
    for path in sorted(clone.glob("projects/*.yaml")):
        name = path.relative_to(clone).as_posix()
        if path.name.startswith("_"):
            continue
        project = _mapping(path.read_text(encoding="utf-8"), name)
        fields = (
            project.get(key) for key in ("Organization", "InstitutionID", "FieldOfScience", "Department")
        )
        rows.append((name, *(" ".join(str(field or "").split()) for field in fields), first.get(name, "")))
    return rows


def _first_added(clone: Path, folder: str) -> dict[str, str]:
    """Return the day on which each file was added under its present name."""
    log = _git(
        clone,
        "log",
        "--reverse",
        "--no-renames",
        "--diff-filter=A",
        "--format=:%as",
        "--name-only",
        "--",
        folder,
    )
    first: dict[str, str] = {}
    day = ""
    for line in filter(None, log.splitlines()):
        if line.startswith(":"):
            day = line[1:]
        else:
            first.setdefault(line, day)
    return first


def _institutions(clone: Path) -> Rows:
    name = "mappings/institution_ids.yaml"
    path = clone / name
    if not path.is_file():
        raise DataError(f"OSG registry: {name} is not in the repository; has it been renamed?")
    entries = _parsed(path.read_text(encoding="utf-8"), name)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{name}: holds no list of institutions; has its form changed?")
    return [tuple(str(entry.get(key) or "") for key in ("name", "id", "ror_id")) for entry in entries]


def _mapping(text: str, name: str) -> dict[str, Any]:
    value = _parsed(text, name)
    if not isinstance(value, dict):
        raise DataError(f"{name}: holds no named values; has its form changed?")
    return value


def _parsed(text: str, name: str) -> Any:
    try:
        return yaml.load(text, Loader=_SAFE_LOADER)
    except yaml.YAMLError as error:
        raise DataError(f"{name}: broken YAML ({' '.join(str(error).split())}); clone it again.") from None


def _git(folder: Path, *arguments: str) -> str:
    command: Iterable[str] = ("git", "-c", "core.quotePath=false", *arguments)
    try:
        done = subprocess.run(
            list(command),
            cwd=folder,
            env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
    except FileNotFoundError:
        raise DataError(
            "OSG registry: git is not installed, and the dates are in the repository's history; install it."
        ) from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise DataError(
            f"OSG registry: git {arguments[0]} fails ({said}); check the network and fetch again."
        )
    return done.stdout


def _silent(_: str) -> None:
    """Say nothing."""
