"""NSF award records: the agency's yearly zips (JSON or XML, one file an award) and its awards API, into one table."""

from __future__ import annotations

import io
import json
import zipfile
from calendar import monthrange
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from study.core import DataError, write_all
from study.data.sources.fetching import Fetcher
from study.data.sources.nsf_records import Row, from_json, from_xml
from study.data.sources.rows import DAMAGED_ZIP

# The catalogue behind nsf.gov/awardsearch/download-awards, which took the place of download.jsp: a zip of
# JSON a fiscal year, each with an address that is valid for a while.
CATALOGUE = "https://api.nsf.gov/services/v2/s3/list-files"
API = "https://api.nsf.gov/services/v1/awards.json"
FIRST_YEAR = 2007

# What the awards of the study's programmes are found by.
QUERIES = ('"Major Research Instrumentation"', '"Campus Cyberinfrastructure"', '"CC*"')
# The documented size of a page, and how many answers to a query the API gives.
PAGE, WINDOW = 25, 10_000
# What is asked for and kept: no names, addresses or telephone numbers of persons.
FIELDS = (
    "id",
    "title",
    "abstractText",
    "transType",
    "awardeeName",
    "awardeeCity",
    "awardeeStateCode",
    "awardeeCountryCode",
    "perfLocation",
    "fundsObligatedAmt",
    "estimatedTotalAmt",
    "startDate",
    "expDate",
    "date",
    "initAmendmentDate",
    "progEleCode",
    "progRefCode",
)

COLUMNS = (
    "award_id",
    "title",
    "abstract",
    "programme_elements",
    "programme_references",
    "awardee",
    "performer",
    "city",
    "state",
    "country",
    "amount",
    "amount_intended",
    "effective",
    "letter",
    "expires",
    "instrument",
    "collaborative",
)

Progress = Callable[[str], None]


def fetch(
    raw: Path,
    fetcher: Fetcher,
    *,
    progress: Progress | None = None,
    years: Iterable[int] | None = None,
    catalogue: str = CATALOGUE,
) -> list[Path]:
    """Download the yearly dumps of all awards into ``raw/nsf/json``; a year that is there, as JSON or XML, is kept.

    A year has about twelve thousand awards in some 100 MB. For the study's two programmes alone,
    :func:`fetch_search` asks the API instead.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
        The client that downloads.
    progress : callable, optional
        Called with a short text before each file.
    years : iterable of int, optional
        Fiscal years (October to September, by the award letter); by default all from 2007 on that the
        catalogue lists.
    catalogue : str
        Address of the catalogue.

    Returns
    -------
    list of Path
        The zips of the years asked for.

    Raises
    ------
    DataError
        If the catalogue or a file cannot be had, or a year is not in the catalogue.
    """
    listed = _catalogue(fetcher.json(catalogue), catalogue)
    wanted = sorted(year for year in listed if year >= FIRST_YEAR) if years is None else list(years)
    paths = []
    for year in wanted:
        path = _there(raw, year)
        if path is None:
            if year not in listed:
                raise DataError(
                    f"{catalogue}: no file {year}.zip in it; take another year, or ask the API (fetch_search)."
                )
            if progress is not None:
                progress(f"NSF awards {year}")
            path = fetcher.download(listed[year], raw / "nsf" / "json" / f"{year}.zip")
            if not zipfile.is_zipfile(path):
                path.unlink()
                raise DataError(f"{catalogue}: {year}.zip is no whole zip file; fetch it again.")
        paths.append(path)
    return paths


def fetch_search(
    raw: Path,
    fetcher: Fetcher,
    year: int,
    *,
    progress: Progress | None = None,
    queries: Iterable[str] = QUERIES,
    page: int = PAGE,
    api: str = API,
) -> Path:
    """Ask the awards API for a fiscal year of awards, and write them to ``raw/nsf/json/YEAR.zip``, one file an award.

    The API searches by keyword: a phrase in quotes stands for itself, and a word finds more than is
    wanted, which ``read`` leaves out by its ``keep``. It is asked month by month, since it gives no more than
    10,000 answers to a query.

    Parameters
    ----------
    raw, fetcher, progress
        As in :func:`fetch`.
    year : int
        Fiscal year: awards dated from October of the year before to September.
    queries : iterable of str
        Keywords or quoted phrases; what any of them finds is taken.
    page : int
        Answers a page; 25 is documented.
    api : str
        Address of the API.

    Raises
    ------
    DataError
        If the year is there already, the API refuses, its answers end early or have not the documented
        form, a month has more answers than it gives, or there is none in the whole year.
    """
    there = _there(raw, year)
    if there is not None:
        raise DataError(
            f"NSF: {there.parent.name}/{there.name} is there; move it away to ask for {year} again."
        )
    records: dict[str, dict[str, Any]] = {}
    for query in queries:
        for first, last in _months(year):
            if progress is not None:
                progress(f"NSF awards API {query} {first}")
            asked = {"keyword": query, "dateStart": first, "dateEnd": last, "printFields": ",".join(FIELDS)}
            for record in _answers(fetcher, api, asked, page):
                records[str(record.get("id"))] = {name: record[name] for name in FIELDS if name in record}
    if not records:
        raise DataError(
            f"{api}: no award of fiscal year {year} for {', '.join(queries)}; nothing is written."
        )
    name = f"json/{year}.zip"
    return write_all(raw / "nsf", {name: _zip(records)})[0]


def read(
    folder: Path, progress: Progress | None = None, *, keep: Callable[[Row], bool] | None = None
) -> pd.DataFrame:
    """Read all yearly zips of ``folder/json`` and ``folder/xml``.

    Parameters
    ----------
    folder : Path
        Holds ``json/YYYY.zip`` (the dumps since January 2025, or answers of the API) and ``xml/YYYY.zip``
        (the dumps before), one file an award.
    progress : callable, optional
        Called with a short text before each zip.
    keep : callable, optional
        Takes a row (a dict with the keys of the table) and tells whether it is wanted: a full dump has some
        twelve thousand awards a year.

    Returns
    -------
    DataFrame
        One row an award, in the order of award_id: award_id (seven digits), title, abstract,
        programme_elements and programme_references ("code name" parted by "|"; the API gives codes only),
        awardee, performer (where the work is done; empty in XML), city, state, country (name) of the awardee,
        amount (obligated so far, dollars), amount_intended (dollars; NaN if not given), effective, letter
        (date of the first award letter) and expires ("YYYY-MM-DD", empty if not given), instrument (of the
        award: "Standard Grant"), collaborative (the title says that it is one of several awards).

    Raises
    ------
    DataError
        If there is no zip, one is broken, a record is no award, or an award is there twice.
    """
    zips = [path for kind in ("json", "xml") for path in sorted((folder / kind).glob("*.zip"))]
    if not zips:
        raise DataError(
            f"NSF: no json/YYYY.zip or xml/YYYY.zip in {folder}; download the yearly award files into it."
        )
    rows: dict[str, Row] = {}
    places: dict[str, str] = {}
    for path in zips:
        if progress is not None:
            progress(f"NSF awards {path.parent.name}/{path.name}")
        for where, row in _awards(path):
            award = row["award_id"]
            if award in places:
                raise DataError(
                    f"{where}: award {award} is also in {places[award]}; keep one of the two files."
                )
            places[award] = where
            if keep is None or keep(row):
                rows[award] = row
    return pd.DataFrame([rows[award] for award in sorted(rows)], columns=COLUMNS)


def _awards(path: Path) -> Iterable[tuple[str, Row]]:
    """Yield every award of a zip, with its place for messages."""
    name, kind = f"{path.parent.name}/{path.name}", path.parent.name
    if path.stat().st_size == 0:
        raise DataError(f"{name}: the file is empty; download it again.")
    parse = from_json if kind == "json" else from_xml
    try:
        with zipfile.ZipFile(path) as archive:
            members = sorted(member for member in archive.namelist() if member.lower().endswith(f".{kind}"))
            if not members:
                raise DataError(f"{name}: no file *.{kind} in it; is this the yearly zip of {kind.upper()}?")
            for member in members:
                where = f"{name}, {member}"
                yield where, parse(archive.read(member), where)
    except DAMAGED_ZIP as error:
        raise DataError(f"{name}: not a whole zip file ({error}); download it again.") from None


def _there(raw: Path, year: int) -> Path | None:
    paths = (raw / "nsf" / kind / f"{year}.zip" for kind in ("json", "xml"))
    return next((path for path in paths if path.is_file()), None)


def _catalogue(answer: Any, address: str) -> dict[int, str]:
    """Return the addresses of the yearly zips; the catalogue also lists one of historical awards."""
    try:
        files = {entry["fileName"]: entry["downloadUrl"] for entry in answer["files"]}
    except (KeyError, TypeError):
        raise DataError(
            f"{address}: no list of files with fileName and downloadUrl; has the publisher changed it? "
            "Download the yearly zips by hand from nsf.gov/awardsearch/download-awards into nsf/json."
        ) from None
    return {int(name[:4]): url for name, url in files.items() if name[4:] == ".zip" and name[:4].isdigit()}


def _months(year: int) -> Iterable[tuple[str, str]]:
    """Yield first and last day of each month of a fiscal year, as the API writes dates."""
    for month in range(10, 22):
        calendar_year, number = year - (month <= 12), (month - 1) % 12 + 1
        last = monthrange(calendar_year, number)[1]
        yield f"{number:02d}/01/{calendar_year}", f"{number:02d}/{last:02d}/{calendar_year}"


def _answers(fetcher: Fetcher, api: str, asked: Mapping[str, str], page: int) -> Iterable[Mapping[str, Any]]:
    """Yield all answers to a query; pages may overlap where the API counts from one."""
    where = f"{api} (keyword {asked['keyword']}, {asked['dateStart']} to {asked['dateEnd']})"
    seen: set[str] = set()
    offset = 0
    while True:
        answer = fetcher.json(api, {**asked, "rpp": str(page), "offset": str(offset)})
        records, total = _page(answer, where)
        if total >= WINDOW:
            raise DataError(
                f"{where}: {total} answers or more, the API gives {WINDOW}; use a narrower keyword."
            )
        yield from records
        seen.update(str(record.get("id")) for record in records)
        offset += page
        if len(seen) >= total:
            return
        if not records or offset >= WINDOW:
            raise DataError(f"{where}: the answers end at {len(seen)} of {total}; fetch again later.")


def _page(answer: Any, where: str) -> tuple[list[Mapping[str, Any]], int]:
    """Return the awards of one page and the number of all; the API tells of errors with status 200."""
    response = answer.get("response") if isinstance(answer, dict) else None
    if not isinstance(response, dict):
        raise DataError(f"{where}: an answer without response; has the API changed?")
    for notice in response.get("serviceNotification") or ():
        raise DataError(
            f"{where}: the API refuses ({notice.get('notificationCode')}: {notice.get('notificationMessage')}); "
            "correct the query, or fetch again later."
        )
    records = response.get("award")
    try:
        total = int(response["metadata"]["totalCount"])
    except (KeyError, TypeError, ValueError):
        raise DataError(f"{where}: an answer without metadata.totalCount; has the API changed?") from None
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(f"{where}: an answer without a list of awards; has the API changed?")
    return records, total


def _zip(records: Mapping[str, Mapping[str, Any]]) -> bytes:
    """Return a zip of one JSON file an award, the same bytes for the same awards."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in sorted(records):
            member = zipfile.ZipInfo(f"{number}.json")
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, json.dumps(records[number], indent=1, ensure_ascii=False))
    return content.getvalue()
