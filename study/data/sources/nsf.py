"""NSF award records: the agency's yearly zips (JSON or XML, one file an award) into one table."""

from __future__ import annotations

import html
import math
import re
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from study.core import DataError
from study.data.sources.reading import Progress, json_value, silent, unzipped

if TYPE_CHECKING:
    from study.data.sources.fetching import Fetcher

# The catalogue behind nsf.gov/awardsearch/download-awards, which took the place of download.jsp: a zip of
# JSON a fiscal year, each with an address that is valid for a while.
CATALOGUE = "https://api.nsf.gov/services/v2/s3/list-files"
FIRST_YEAR = 2007

# Where each column is in a JSON record, and in an XML one (None where it is not in these).
_PLACES: dict[str, tuple[str, str | None]] = {
    "award_id": ("awd_id", "AwardID"),
    "title": ("awd_titl_txt", "AwardTitle"),
    "abstract": ("awd_abstract_narration", "AbstractNarration"),
    "awardee": ("inst/inst_name", "Institution/Name"),
    "performer": ("perf_inst/perf_inst_name", None),
    "city": ("inst/inst_city_name", "Institution/CityName"),
    "state": ("inst/inst_state_code", "Institution/StateCode"),
    "country": ("inst/inst_country_name", "Institution/CountryName"),
    "amount": ("awd_amount", "AwardAmount"),
    "amount_intended": ("tot_intn_awd_amt", "AwardTotalIntnAmount"),
    "effective": ("awd_eff_date", "AwardEffectiveDate"),
    "letter": ("awd_min_amd_letter_date", "MinAmdLetterDate"),
    "expires": ("awd_exp_date", "AwardExpirationDate"),
    "instrument": ("awd_istr_txt", "AwardInstrument/Value"),
}
_OPTIONAL = frozenset({"perf_inst/perf_inst_name", "AwardTotalIntnAmount", "MinAmdLetterDate"})
# The lists of programmes in a JSON record with code and name of each, and in an XML one.
_CODED = {
    "programme_elements": ("pgm_ele", "pgm_ele_code", "pgm_ele_name", "ProgramElement"),
    "programme_references": ("pgm_ref", "pgm_ref_code", "pgm_ref_txt", "ProgramReference"),
}
COLUMNS = (*_PLACES, *_CODED, "collaborative")

_AWARD_ID = re.compile(r"\d{7}")
_TAG = re.compile(r"</?(?:br|p|b|i|em|strong|sub|sup|ul|ol|li|div|span)\s*/?>", re.IGNORECASE)
_SLASHED = re.compile(r"(\d{2})/(\d{2})/(\d{4})")
_COLLABORATIVE = re.compile(r"collaborative", re.IGNORECASE)

Row = dict[str, Any]


def fetch(
    raw: Path,
    fetcher: Fetcher,
    *,
    progress: Progress = silent,
    years: Iterable[int] | None = None,
    catalogue: str = CATALOGUE,
) -> list[Path]:
    """Download the yearly dumps of all awards into ``raw/nsf/json``; a year that is there, as JSON or XML, is kept.

    A year has about twelve thousand awards in some 100 MB.

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
                raise DataError(f"{catalogue}: no file {year}.zip in it; take another year.")
            progress(f"NSF awards {year}")
            path = fetcher.download(listed[year], raw / "nsf" / "json" / f"{year}.zip")
            if not zipfile.is_zipfile(path):
                path.unlink()
                raise DataError(f"{catalogue}: {year}.zip is no whole zip file; fetch it again.")
        paths.append(path)
    return paths


def read(
    folder: Path, progress: Progress = silent, *, keep: Callable[[Row], bool] | None = None
) -> pd.DataFrame:
    """Read all yearly zips of ``folder/json`` and ``folder/xml``.

    Parameters
    ----------
    folder : Path
        Holds ``json/YYYY.zip`` (the dumps since January 2025) and ``xml/YYYY.zip`` (the dumps before), one file an
        award.
    progress : callable, optional
        Called with a short text before each zip.
    keep : callable, optional
        Takes a row (a dict with the keys of the table) and tells whether it is wanted: a full dump has some
        twelve thousand awards a year.

    Returns
    -------
    DataFrame
        One row an award, in the order of award_id: award_id (seven digits), title, abstract,
        programme_elements and programme_references ("code name" parted by "|"),
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
    parse = _from_json if kind == "json" else _from_xml
    with unzipped(path, name) as archive:
        members = sorted(member for member in archive.namelist() if member.lower().endswith(f".{kind}"))
        if not members:
            raise DataError(f"{name}: no file *.{kind} in it; is this the yearly zip of {kind.upper()}?")
        for member in members:
            where = f"{name}, {member}"
            yield where, _checked(parse(archive.read(member), where), where)


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


def _from_json(content: bytes, where: str) -> Row:
    """Return the row of a JSON record; ``where`` names it in errors."""
    record = json_value(content, where)
    if not isinstance(record, dict):
        raise DataError(f"{where}: holds no award; download the zip again.")
    try:
        row = {name: _found(record, place) for name, (place, _) in _PLACES.items()}
        for name, (listed, code, text, _) in _CODED.items():
            row[name] = "|".join(
                f"{_clean(each[code])} {_clean(each[text])}" for each in record[listed] or ()
            )
    except KeyError as error:
        raise _missing(str(error), where) from None
    except (TypeError, AttributeError, IndexError):
        raise DataError(f"{where}: a field is no list of named values; download the zip again.") from None
    return row


def _found(record: Any, place: str) -> Any:
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
        raise DataError(f"{where}: broken XML ({error}); download the zip again.") from None
    if award is None:
        raise DataError(f"{where}: holds no element Award; download the zip again.")
    row: Row = {}
    for name, (_, place) in _PLACES.items():
        found = None if place is None else award.find(place)
        if found is None and place is not None and place not in _OPTIONAL:
            raise _missing(place, where)
        row[name] = None if found is None else found.text
    for name, (*_, tag) in _CODED.items():
        entries = ((each.findtext("Code"), each.findtext("Text")) for each in award.findall(tag))
        row[name] = "|".join(f"{_clean(code)} {_clean(text)}" for code, text in entries)
    return row


def _checked(row: Row, where: str) -> Row:
    """Return a row with clean texts, dates and numbers."""
    number = str(row["award_id"])
    if _AWARD_ID.fullmatch(number) is None:
        raise DataError(f'{where}: award number "{number}" is no seven digits; download the zip again.')
    cleaned: Row = {"award_id": number}
    for name, value in row.items():
        if name in ("effective", "letter", "expires"):
            cleaned[name] = _day(value, name, where)
        elif name in ("amount", "amount_intended"):
            cleaned[name] = _dollars(value, name, where)
        elif name != "award_id":
            cleaned[name] = _clean(value)
    for name in ("title", "awardee", "effective"):
        if not cleaned[name]:
            raise DataError(f"{where}: {name} is empty; download the zip again.")
    cleaned["collaborative"] = bool(_COLLABORATIVE.match(cleaned["title"]))
    return cleaned


def _missing(field: str, where: str) -> DataError:
    return DataError(
        f"{where}: field {field.strip(chr(39))} is missing; has the publisher renamed it? Download the zip again."
    )


def _clean(value: Any) -> str:
    """Return a text without markup, character references and line breaks."""
    if value is None:
        return ""
    text = html.unescape(html.unescape(str(value)))
    return " ".join(_TAG.sub(" ", text).split())


def _day(value: str | None, name: str, where: str) -> str:
    """Return a day as "YYYY-MM-DD": the dumps write 2016-03-15 in JSON and 03/15/2016 in XML."""
    text = _clean(value)
    if not text:
        return ""
    match = _SLASHED.fullmatch(text)
    try:
        return date.fromisoformat(f"{match[3]}-{match[1]}-{match[2]}" if match else text).isoformat()
    except ValueError:
        raise DataError(f'{where}: {name} "{text}" is no date; download the zip again.') from None


def _dollars(value: Any, name: str, where: str) -> float:
    text = _clean(value)
    if not text:
        return math.nan
    try:
        return float(text.replace(",", ""))
    except ValueError:
        raise DataError(f'{where}: {name} "{text}" is no number; download the zip again.') from None
