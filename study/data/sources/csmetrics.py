"""Papers of 309 venues of computer science by institution, 2007-2018, from csmetrics, into two tables."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections import Counter
from pathlib import Path
from zipfile import ZipFile

import pandas as pd

from study.core import DataError, tell, write_all
from study.data.sources import FILLED, Fetcher, Rule, csv_table, damaged, json_value, only_one, unzipped

VERSION = "2a872972"
ADDRESS = "https://github.com/csmetrics/csmetrics.org/archive"
# Where GitHub sends for zips.
HOSTS = ("codeload.github.com",)
FILE, COVERAGE = "venue_year_institution_2007_2019.csv", "coverage_by_venue_year.csv"
# The Microsoft Academic Graph, from which the affiliations are, has hardly any of 2019.
YEARS = tuple(range(2007, 2019))

_COUNTS = ("papers", "first_author", "last_author", "papers_with_company")
_LABELS = ("venue", "year", "institution", "name", "type", "country")
_OF_VENUE = ("papers", "papers_with_affiliation", "papers_with_company")
_COUNT: Rule = (re.compile(r"\d+"), "a number of papers")
_RULES = {"venue": FILLED, "year": (re.compile("20[01][0-9]"), "a year"), "institution": FILLED}
_PAPERS = re.compile(r".*/data/filtered_papers/([^/]+)_(\d{4})\.json")


def fetch(raw: Path, fetcher: Fetcher, *, version: str = VERSION) -> list[Path]:
    """Download the repository's zip and write its two tables of counts into ``raw/csmetrics``.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    version : str
        Branch or commit.

    Raises
    ------
    DataError
        If the zip cannot be downloaded, is damaged or holds no files of papers.
    """
    folder = raw / "csmetrics"
    archive = fetcher.download(f"{ADDRESS}/{version}.zip", folder / f"csmetrics-{version}.zip", hosts=HOSTS)
    tell("csmetrics: counts")
    with unzipped(archive, archive.name) as opened:
        counts, coverage = _counted(opened, archive.name)
    packed = gzip.compress(_csv([*_LABELS, *_COUNTS], counts), mtime=0)
    written = {f"{FILE}.gz": packed, COVERAGE: _csv(["venue", "year", *_OF_VENUE], coverage)}
    return write_all(folder, written)


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the counts by institution, and what is known of each venue and year.

    Returns
    -------
    institutions : DataFrame
        One row a venue, year of :data:`YEARS` and institution: venue, year, institution (key of csmetrics), name
        (the key where it has none), type (Education, Company ...), country (English name), both empty if not known,
        papers (each once for each of its institutions), first_author, last_author, papers_with_company.
    venues : DataFrame
        One row a venue and such a year in which it had papers: venue, year, papers, papers_with_affiliation,
        papers_with_company.

    Raises
    ------
    DataError
        If a file is missing, truncated, of another layout, has a record twice or an impossible count.
    """
    institutions = _table(only_one(folder, FILE), _LABELS, _COUNTS)
    institutions["name"] = institutions["name"].mask(institutions["name"] == "", institutions["institution"])
    venues = _table(folder / COVERAGE, ("venue", "year"), _OF_VENUE)
    return institutions, venues[venues["papers"] > 0].reset_index(drop=True)


def _table(path: Path, labels: tuple[str, ...], counts: tuple[str, ...]) -> pd.DataFrame:
    """Return the counts by venue, year and, if the table has it, institution."""
    rules = {name: rule for name, rule in _RULES.items() if name in labels} | dict.fromkeys(counts, _COUNT)
    table = csv_table(path, (*labels, *counts), unique=labels[:3], rules=rules)
    table = table.astype(dict.fromkeys(("year", *counts), int))
    # No part of the papers is larger than all of them.
    for line in table.index[(table[list(counts[1:])].gt(table["papers"], axis=0)).any(axis=1)][:1]:
        raise damaged(f"{path.name}, line {line}", "a count is larger than that of all papers")
    return table[table["year"].isin(YEARS)].reset_index(drop=True)


def _counted(archive: ZipFile, where: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Return the rows of both tables from the files of papers; the first record of a paper in the graph is it."""
    names = {match[0]: match for match in map(_PAPERS.fullmatch, sorted(archive.namelist())) if match}
    listed = [name for name in archive.namelist() if name.endswith("/inst_full_clean.csv")]
    if not names or not listed:
        raise DataError(f"{where}: no files of papers or no list of institutions; has its layout changed?")
    text = io.StringIO(archive.read(listed[0]).decode("utf-8"))
    known = {row[0]: (row[1], row[2], row[4]) for row in csv.reader(text) if len(row) > 4}
    rows: list[tuple[object, ...]] = []
    coverage: list[tuple[object, ...]] = []
    for name, match in names.items():
        counts: dict[str, Counter[str]] = {column: Counter() for column in _COUNTS}
        affiliated = companies = 0
        records = json_value(archive.read(name), name)
        try:
            for record in records:
                matches = record["MAG papers"]
                authors = (matches[0].get("Affiliations") if matches else None) or [None]
                signed = {each for each in authors if each}
                company = any(known.get(each, ("", "", ""))[1] == "Company" for each in signed)
                affiliated, companies = affiliated + bool(signed), companies + company
                counts["papers"].update(signed)
                counts["first_author"].update(filter(None, authors[:1]))
                counts["last_author"].update(filter(None, authors[-1:]))
                counts["papers_with_company"].update(signed if company else ())
        except (AttributeError, KeyError, TypeError) as error:
            raise damaged(name, f"no list of papers with their affiliations ({error})") from None
        venue, year = match[1], match[2]
        coverage.append((venue, year, len(records), affiliated, companies))
        for institution in sorted(counts["papers"]):
            label = known.get(institution, ("", "", ""))
            of_all = (counts[column][institution] for column in _COUNTS)
            rows.append((venue, year, institution, *label, *of_all))
    return rows, coverage


def _csv(heading: list[str], rows: list[tuple[object, ...]]) -> bytes:
    return pd.DataFrame(rows, columns=heading).to_csv(index=False, lineterminator="\n").encode()
