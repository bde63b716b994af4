"""The record of what was read: versions, combined checksums, terms."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from study.errors import DataError
from study.sources import paperlists, top500, universities


def sources_toml(raw: Path, papers: Sequence[tuple[str, int]]) -> str:
    """Return the record of what was read: version, combined checksum and terms of each source."""
    versions = _paperlists_versions(raw, papers)
    lists = top500.lists(raw / "top500")
    months = list(lists)
    paths = [paperlists.locate(raw / "paperlists", venue, year) for venue, year in papers]
    return "\n".join(
        [
            "# Written by study assemble. A checksum is the SHA-256 over the lines",
            '# "<sha256 of the file>  <its name>" of all files read, in the order of their names.',
            "",
            *_source(
                "top500",
                title="TOP500 lists, sublist as Excel, one file a list",
                version=f"lists {months[0]} to {months[-1]}",
                date=months[-1],
                files=list(lists.values()),
                licence="none stated for redistribution: only derived events are shipped",
                obtain="top500.org, Lists, download as Excel (free login); save as top500/TOP500_YYYYMM.xls or .xlsx",
            ),
            *_source(
                "paperlists",
                title="papercopilot/paperlists: accepted papers with affiliations, one JSON a venue and year",
                version=versions[0],
                date=versions[1],
                files=paths,
                licence="none stated: only counts are shipped, no titles, names, abstracts or addresses",
                obtain="GitHub repository papercopilot/paperlists; keep its folders under paperlists/",
            ),
            *_source(
                "universities",
                title="Hipo/university-domains-list: university names, domains, countries",
                version="commit bb07faf0",
                date="",
                files=[raw / "universities" / universities.FILE],
                licence="MIT",
                obtain=f"GitHub repository Hipo/university-domains-list; save {universities.FILE} under universities/",
            ),
        ]
    )


def checksum(paths: Iterable[Path]) -> str:
    """Return one SHA-256 over several files: of the lines "<sha256 of the content>  <name>" by name.

    Compressed files count with the name and the bytes that they have on disk.
    """
    lines = (f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)
    return hashlib.sha256("".join(sorted(lines, key=lambda line: line[66:])).encode()).hexdigest()


def _source(name: str, *, files: Sequence[Path], **fields: str) -> list[str]:
    lines = [f"[{name}]", *(f'{field} = "{value}"' for field, value in fields.items() if value)]
    return [*lines, f"files = {len(files)}", f'sha256 = "{checksum(files)}"', ""]


def _paperlists_versions(raw: Path, read: Sequence[tuple[str, int]]) -> tuple[str, str]:
    """Return the range of commits and dates of the files read, where the folder records them."""
    path = raw / "paperlists_versions.csv"
    if not path.is_file():
        return "not recorded", ""
    wanted = {f"{venue}/{venue}{year}.json" for venue, year in read}
    with path.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row.get("path") in wanted]
    try:
        commits = sorted({(row["commit_date"], row["commit"][:8]) for row in rows})
    except KeyError as error:
        raise DataError(f"{path.name}: column {error} is missing; restore it or delete the file.") from None
    if not commits:
        return "not recorded", ""
    (first_date, first), (last_date, last) = commits[0], commits[-1]
    return f"{len(commits)} commits, {first} ({first_date}) to {last} ({last_date})", last_date
