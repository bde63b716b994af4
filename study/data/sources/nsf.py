"""NSF award records: the agency's yearly zips (JSON or XML, one file an award) into one table."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from study.core import DataError, tell
from study.data.sources import Fetcher, damaged, iso_day, json_value, number, refuse_elsewhere, unzipped

# The catalogue behind nsf.gov/awardsearch/download-awards, which took the place of download.jsp: a zip of
# JSON a fiscal year, each with an address that is valid for a while.
CATALOGUE = "https://api.nsf.gov/services/v2/s3/list-files"
# Where it says that the files are: in 2025 in one bucket of the agency.
HOSTS = (".nsf.gov", "dis-prod-awardsearch.s3.amazonaws.com")
FIRST_YEAR = 2007

# Where each column is in a JSON record, and in an XML one (None where it is not in these).
_PLACES: dict[str, tuple[str, str | None]] = {
    "award_id": ("awd_id", "AwardID"),
    "title": ("awd_titl_txt", "AwardTitle"),
    "abstract": ("awd_abstract_narration", "AbstractNarration"),
    "awardee": ("inst/inst_name", "Institution/Name"),
    "performer": ("perf_inst/perf_inst_name", None),
    "state": ("inst/inst_state_code", "Institution/StateCode"),
    "country": ("inst/inst_country_name", "Institution/CountryName"),
    "amount": ("awd_amount", "AwardAmount"),
    "effective": ("awd_eff_date", "AwardEffectiveDate"),
    "letter": ("awd_min_amd_letter_date", "MinAmdLetterDate"),
    "expires": ("awd_exp_date", "AwardExpirationDate"),
}
_OPTIONAL = frozenset({None, "perf_inst/perf_inst_name", "MinAmdLetterDate"})
_MISSING = "field {} is missing (has the publisher renamed it?)"
# The lists of programmes in a JSON record with code and name of each, and in an XML one.
_CODED = {
    "programme_elements": ("pgm_ele", "pgm_ele_code", "pgm_ele_name", "ProgramElement"),
    "programme_references": ("pgm_ref", "pgm_ref_code", "pgm_ref_txt", "ProgramReference"),
}
COLUMNS = (*_PLACES, *_CODED, "collaborative")

_TAG = re.compile(r"</?(?:br|p|b|i|em|strong|sub|sup|ul|ol|li|div|span)\s*/?>", re.IGNORECASE)

Row = dict[str, Any]


def fetch(raw: Path, fetcher: Fetcher, *, years: Iterable[int] | None = None) -> list[Path]:
    """Download the yearly dumps of all awards into ``raw/nsf/json``; a year that is there, as JSON or XML, is kept.

    A year has about twelve thousand awards in some 100 MB.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
        The client that downloads.
    years : iterable of int, optional
        Fiscal years (October to September, by the award letter); by default all from 2007 on that the
        catalogue lists.

    Returns
    -------
    list of Path
        The zips of the years asked for.

    Raises
    ------
    DataError
        If the catalogue or a file cannot be had, or a year is not in the catalogue.
    """
    listed = _catalogue(fetcher.json(CATALOGUE))
    paths = []
    for year in sorted(year for year in listed if year >= FIRST_YEAR) if years is None else years:
        places = [raw / "nsf" / kind / f"{year}.zip" for kind in ("json", "xml")]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            if year not in listed:
                raise DataError(f"{CATALOGUE}: no file {year}.zip in it; take another year.")
            refuse_elsewhere(CATALOGUE, CATALOGUE, listed[year], HOSTS)
            path = fetcher.download(listed[year], places[0], hosts=HOSTS)
            if not zipfile.is_zipfile(path):
                path.unlink()
                raise damaged(CATALOGUE, f"{year}.zip is no whole zip file")
        paths.append(path)
    return paths


def read(folder: Path, *, keep: Callable[[Row], bool] | None = None) -> pd.DataFrame:
    """Read all yearly zips of ``folder/json`` and ``folder/xml``.

    Parameters
    ----------
    folder : Path
        Holds ``json/YYYY.zip`` (the dumps since January 2025) and ``xml/YYYY.zip`` (the dumps before), one file an
        award.
    keep : callable, optional
        Takes a row (a dict with the keys of the table) and tells whether it is wanted: a full dump has some
        twelve thousand awards a year.

    Returns
    -------
    DataFrame
        One row an award, in the order of award_id: award_id (seven digits), title, abstract,
        programme_elements and programme_references ("code name" parted by "|"),
        awardee, performer (where the work is done; empty in XML), state, country (name) of the awardee,
        amount (obligated so far, dollars), effective, letter (date of the first award letter) and expires
        ("YYYY-MM-DD", empty if not given), collaborative (the title says that it is one of several awards).

    Raises
    ------
    DataError
        If there is no zip, one is broken, a record is no award, or an award is there twice.
    """
    zips = [path for kind in ("json", "xml") for path in sorted((folder / kind).glob("*.zip"))]
    if not zips:
        fault = f"NSF: no json/YYYY.zip or xml/YYYY.zip in {folder}"
        raise DataError(f"{fault}; download the yearly files into it.")
    rows: list[Row] = []
    places: dict[str, str] = {}
    for path in zips:
        tell(f"NSF awards {path.parent.name}/{path.name}")
        for where, row in _awards(path):
            award = row["award_id"]
            if award in places:
                raise DataError(f"{where}: award {award} is also in {places[award]}; keep one file.")
            places[award] = where
            if keep is None or keep(row):
                rows.append(row)
    return pd.DataFrame(sorted(rows, key=lambda row: row["award_id"]), columns=COLUMNS)


def _awards(path: Path) -> Iterable[tuple[str, Row]]:
    """Yield every award of a zip, with its place for messages."""
    name, kind = f"{path.parent.name}/{path.name}", path.parent.name
    parse = _from_json if kind == "json" else _from_xml
    with unzipped(path, name) as archive:
        members = sorted(member for member in archive.namelist() if member.lower().endswith(f".{kind}"))
        if not members:
            raise DataError(f"{name}: no file *.{kind} in it; is this the yearly zip of {kind.upper()}?")
        for member in members:
            where = f"{name}, {member}"
            yield where, _checked(parse(archive.read(member), where), where)


def _catalogue(answer: Any) -> dict[int, str]:
    """Return the addresses of the yearly zips; the catalogue also lists one of historical awards."""
    try:
        files = {str(entry["fileName"]): str(entry["downloadUrl"]) for entry in answer["files"]}
    except (KeyError, TypeError):
        fault = f"{CATALOGUE}: no list of files with fileName and downloadUrl; has the publisher changed it?"
        remedy = "Download the yearly zips by hand from nsf.gov/awardsearch/download-awards into nsf/json."
        raise DataError(f"{fault} {remedy}") from None
    return {int(name[:4]): url for name, url in files.items() if name[4:] == ".zip" and name[:4].isdigit()}


def _from_json(content: bytes, where: str) -> Row:
    """Return the row of a JSON record; ``where`` names it in errors."""
    record = json_value(content, where)
    if not isinstance(record, dict):
        raise damaged(where, "holds no award")
    try:
        row = {name: _value(record, place) for name, (place, _) in _PLACES.items()}
        for name, (listed, code, text, _) in _CODED.items():
            row[name] = _joined((each[code], each[text]) for each in record[listed] or ())
    except KeyError as error:
        raise damaged(where, _MISSING.format(error.args[0])) from None
    except (TypeError, AttributeError, IndexError):
        raise damaged(where, "a field is no list of named values") from None
    return row


def _value(record: Any, place: str) -> Any:
    """Return the value at a place of a JSON record; of several institutions the first counts."""
    *outer, name = place.split("/")
    for key in outer:
        record = record.get(key) or {}
        record = record[0] if isinstance(record, list) else record
    return record.get(name) if place in _OPTIONAL else record[name]


def _from_xml(content: bytes, where: str) -> Row:
    """Return the row of an XML record; ``where`` names it in errors."""
    try:
        award = ElementTree.fromstring(content).find("Award")
    except ElementTree.ParseError as error:
        raise damaged(where, f"broken XML ({error})") from None
    if award is None:
        raise damaged(where, "holds no element Award")
    row: Row = {name: place and award.findtext(place) for name, (_, place) in _PLACES.items()}
    for name, (_, place) in _PLACES.items():
        if row[name] is None and place not in _OPTIONAL:
            raise damaged(where, _MISSING.format(place))
    for name, (*_, tag) in _CODED.items():
        row[name] = _joined((each.findtext("Code"), each.findtext("Text")) for each in award.findall(tag))
    return row


def _joined(programmes: Iterable[tuple[Any, Any]]) -> str:
    return "|".join(f"{_clean(code)} {_clean(text)}" for code, text in programmes)


def _checked(row: Row, where: str) -> Row:
    """Return a row with clean texts, dates and numbers."""
    award_id = str(row["award_id"])
    if not re.fullmatch(r"\d{7}", award_id):
        raise damaged(where, f'award number "{award_id}" is no seven digits')
    row = {name: _clean(value) for name, value in row.items()}
    for name in ("effective", "letter", "expires"):
        row[name] = iso_day(row[name], f"{where}: {name}")
    row["amount"] = number(row["amount"].replace(",", ""), f"{where}: amount")
    for name in ("title", "awardee", "effective"):
        if not row[name]:
            raise damaged(where, f"{name} is empty")
    return row | {"collaborative": row["title"].lower().startswith("collaborative")}


def _clean(value: Any) -> str:
    """Return a text without markup, character references and line breaks."""
    text = "" if value is None else html.unescape(html.unescape(str(value)))
    return " ".join(_TAG.sub(" ", text).split())
