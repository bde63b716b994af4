"""The record of what was read: versions, combined checksums, terms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from study.core import read_toml
from study.data.sources import csv_rows, paperlists, sha256_of, top500
from study.panel import shipped

# Title, terms and how to obtain it of each source, with version and checksum of the files behind the tables that ship.
SOURCES: dict[str, Any] = read_toml(shipped("data", "sources.toml"))


def sources_toml(raw: Path, papers: Sequence[tuple[str, int]]) -> str:
    """Return the record of what was read: version, combined checksum and terms of each source."""
    lines = [
        "# Version, files and sha256 are written by study assemble. A checksum is the SHA-256 over the lines",
        '# "<sha256 of the file>  <its name>" of all files read, in the order of their names.',
        "",
    ]
    for name, known in SOURCES.items():
        files, version = sorted(path for path in (raw / name).rglob("*") if path.is_file()), ""
        if name == "top500":
            lists = top500.lists(raw / name)
            files, version = list(lists.values()), f"lists {min(lists)} to {max(lists)}"
        elif name == "paperlists":
            files = [paperlists.locate(raw / name, venue, year) for venue, year in papers]
            version = _paperlists_versions(raw, papers)
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


def _paperlists_versions(raw: Path, read: Sequence[tuple[str, int]]) -> str:
    """Return the range of commits and dates of the files read; empty where the folder does not record them."""
    path = raw / "paperlists_versions.csv"
    if not path.is_file():
        return ""
    wanted = {f"{venue}/{venue}{year}.json" for venue, year in read}
    rows = csv_rows(path, ("path", "commit", "commit_date"), remedy="restore or delete it")
    commits = sorted({(row["commit_date"], row["commit"][:8]) for _, row in rows if row["path"] in wanted})
    named = [f"{commit} ({day})" for day, commit in commits]
    return f"{len(named)} commits, {named[0]} to {named[-1]}" if named else ""
