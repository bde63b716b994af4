"""The sources by name: their fetching from the publishers, and the record of what was read (checksums, terms)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from study.core import DataError, read_toml, refuse_unknown, tell
from study.data.sources import Fetcher, csv_rows, paperlists, record_checksums, sha256_of, top500
from study.panel import shipped

# Title, terms and how to obtain it of each source, with version and checksum of the files behind the tables that ship.
RECORDED: dict[str, Any] = read_toml(shipped("data", "sources.toml"))
# Those that `study data assemble` reads, but for what is cut from another one's files, or compiled by hand.
READ = [name for name in RECORDED if name not in ("nsf_cri", "entity_list")]
SOURCES = (*READ, "openalex")


@dataclass(frozen=True)
class Fetched:
    """What came of fetching one source: its files, or why there are none."""

    source: str
    files: tuple[Path, ...] = ()
    error: str = ""


def source(name: str) -> ModuleType:
    """Return the module of a source, with its ``fetch`` and ``read``.

    Raises
    ------
    QuestionError
        If there is no such source.
    """
    refuse_unknown("source", name, SOURCES, "study data fetch")
    return import_module(f"study.data.sources.{name}")


def fetch(names: Iterable[str], raw: Path, fetcher: Fetcher) -> list[Fetched]:
    """Fetch sources from their publishers into ``raw/<name>/``; one that fails does not stop the others.

    The checksums of the files are recorded in ``raw/SHA256SUMS``.

    Parameters
    ----------
    names : iterable of str
        Names among ``SOURCES``, checked before anything is fetched.
    raw : Path
        Folder of originals; what is there already is kept.
    fetcher : Fetcher
        The client that downloads.

    Returns
    -------
    list of Fetched
        In the order of the names.

    Raises
    ------
    QuestionError
        If there is no source of a name.
    OutputError
        If the folder cannot be written to.
    """
    modules = {name: source(name) for name in names}
    results = []
    for name, module in modules.items():
        tell(name)
        try:
            results.append(Fetched(name, tuple(module.fetch(raw, fetcher))))
        except DataError as error:
            results.append(Fetched(name, error=str(error)))
    files = [path for result in results for path in result.files]
    if files:
        record_checksums(raw, files)
    return results


def sources_toml(raw: Path) -> str:
    """Return the record of what was read: version, combined checksum and terms of each source."""
    lines = [
        "# Version, files and sha256 are written by study data assemble. A checksum is the SHA-256 over the lines",
        '# "<sha256 of the file>  <its name>" of all files read, in the order of their names.',
        "",
    ]
    for name, known in RECORDED.items():
        files, version = sorted(path for path in (raw / name).rglob("*") if path.is_file()), ""
        if name == "top500":
            lists = top500.lists(raw / name)
            files, version = list(lists.values()), f"lists {min(lists)} to {max(lists)}"
        elif name == "paperlists":
            files = [paperlists.locate(raw / name, venue, year) for venue, year in paperlists.known_files()]
            version = _paperlists_versions(raw)
        digest = checksum(files)
        # Of other files than those that ship the checksum alone is known.
        version = version or (known["version"] if digest == known["sha256"] else "not recorded")
        entry = known | {"version": version, "files": len(files), "sha256": digest}
        lines += [f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in entry.items()), ""]
    return "\n".join(lines)


def checksum(paths: Iterable[Path]) -> str:
    """Return one SHA-256 over several files: of the lines "<sha256 of the content>  <name>" by name.

    Compressed files count with the name and the bytes that they have on disk.
    """
    lines = (f"{sha256_of(path)}  {path.name}\n" for path in paths)
    return hashlib.sha256("".join(sorted(lines, key=lambda line: line[66:])).encode()).hexdigest()


def _paperlists_versions(raw: Path) -> str:
    """Return the range of commits and dates of the files read; empty where the folder does not record them."""
    path = raw / "paperlists_versions.csv"
    if not path.is_file():
        return ""
    wanted = {f"{venue}/{venue}{year}.json" for venue, year in paperlists.known_files()}
    rows = csv_rows(path, ("path", "commit", "commit_date"), remedy="restore or delete it")
    commits = sorted({(row["commit_date"], row["commit"][:8]) for _, row in rows if row["path"] in wanted})
    named = [f"{commit} ({day})" for day, commit in commits]
    return f"{len(named)} commits, {named[0]} to {named[-1]}" if named else ""
