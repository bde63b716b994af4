"""Open Science Grid's registry: campus resources of the CC* programme, projects and institutions."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from study.core import DataError, write_all
from study.data.sources.rows import csv_rows

if TYPE_CHECKING:
    from study.data.sources.fetching import Fetcher

REPOSITORY = "https://github.com/opensciencegrid/topology.git"
GROUPS_FILE = "osg_topology_ccstar_resource_groups.csv"
PROJECTS_FILE = "osg_projects_by_institution.csv"
INSTITUTIONS_FILE = "osg_institution_ids_ror.csv"
GROUPS_HEADING = ("file", "facility", "site", "group", "n_cc_resources", "first_registered", "grantish")
PROJECTS_HEADING = ("file", "org", "inst_id", "field", "dept", "first")
INSTITUTIONS_HEADING = ("name", "id", "ror_id")

_ROR = re.compile(r"https://ror\.org/0[0-9a-z]{6}\d{2}")


def fetch(
    raw: Path,
    fetcher: Fetcher,
    *,
    progress: Callable[[str], None] | None = None,
    base: str = REPOSITORY,
) -> list[Path]:
    """Clone the registry's repository and write its three tables into ``raw/osg``.

    Dates of registration are known only from the history of the repository, so that git does the download
    and ``fetcher`` is not used; it takes some minutes.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
        Not used.
    progress : callable, optional
        Called with a short text before each step.
    base : str
        Address of the repository.

    Raises
    ------
    DataError
        If git is not installed, the repository cannot be cloned, or a file of it is damaged.
    """
    # PyYAML is needed to fetch alone.
    from study.data.sources.osg_repository import tables

    names = GROUPS_FILE, PROJECTS_FILE, INSTITUTIONS_FILE
    headings = GROUPS_HEADING, PROJECTS_HEADING, INSTITUTIONS_HEADING
    found = tables(base, progress)
    contents = {
        name: pd.DataFrame(rows, columns=heading).to_csv(index=False, lineterminator="\n").encode()
        for name, heading, rows in zip(names, headings, found, strict=True)
    }
    return write_all(raw / "osg", contents)


def read(folder: Path) -> pd.DataFrame:
    """Read the resource groups in which CC* is mentioned.

    Returns
    -------
    DataFrame
        One row a group in the order of the file: file (in the repository), facility, site, group,
        ccstar_resources (how many resources have the tag CC*; 0 if it is only mentioned), first_registered
        ("YYYY-MM-DD", empty if not known), award (number of an NSF award that the group names, empty if none).

    Raises
    ------
    DataError
        If the file is missing, damaged or of another layout, or a group is there twice.
    """
    path = folder / GROUPS_FILE
    records = []
    seen: dict[str, int] = {}
    for line, row in csv_rows(path, GROUPS_HEADING):
        where = f"{path.name}, line {line}"
        _once(row["file"], line, seen, path.name)
        if not row["facility"] or not row["n_cc_resources"].isdigit():
            raise DataError(f"{where}: facility or number of resources is missing; derive the table again.")
        records.append(
            {
                "file": row["file"],
                "facility": row["facility"],
                "site": row["site"],
                "group": row["group"],
                "ccstar_resources": int(row["n_cc_resources"]),
                "first_registered": _day(row["first_registered"], where),
                "award": row["grantish"],
            }
        )
    return pd.DataFrame(records)


def read_projects(folder: Path) -> pd.DataFrame:
    """Read the projects.

    Returns
    -------
    DataFrame
        One row a project in the order of the file: file, organisation, institution (OSG's address of it, empty
        if it is none), field, department, first_registered ("YYYY-MM-DD", empty if not known; all that were
        taken over from the registry before have 2018-04-06).
    """
    path = folder / PROJECTS_FILE
    records = []
    seen: dict[str, int] = {}
    for line, row in csv_rows(path, PROJECTS_HEADING):
        where = f"{path.name}, line {line}"
        _once(row["file"], line, seen, path.name)
        records.append(
            {
                "file": row["file"],
                "organisation": row["org"],
                "institution": row["inst_id"] if row["inst_id"].startswith("https://") else "",
                "field": row["field"],
                "department": row["dept"],
                "first_registered": _day(row["first"], where),
            }
        )
    return pd.DataFrame(records)


def read_institutions(folder: Path) -> pd.DataFrame:
    """Read the institutions.

    Returns
    -------
    DataFrame
        One row an institution in the order of the file: name, id (OSG's address of it), ror (the address at
        ror.org, empty if it has none).
    """
    path = folder / INSTITUTIONS_FILE
    records = []
    seen: dict[str, int] = {}
    for line, row in csv_rows(path, INSTITUTIONS_HEADING):
        _once(row["id"], line, seen, path.name)
        if row["ror_id"] and _ROR.fullmatch(row["ror_id"]) is None:
            raise DataError(f'{path.name}, line {line}: "{row["ror_id"]}" is no ROR id; correct it.')
        records.append({"name": row["name"], "id": row["id"], "ror": row["ror_id"]})
    return pd.DataFrame(records)


def _once(key: str, line: int, seen: dict[str, int], name: str) -> None:
    if not key:
        raise DataError(f"{name}, line {line}: the first field is empty; derive the table again.")
    if key in seen:
        raise DataError(f"{name}, line {line}: {key} is also on line {seen[key]}; keep one of the two.")
    seen[key] = line


def _day(text: str, where: str) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise DataError(f'{where}: date "{text}" is no date; derive the table again.') from None
