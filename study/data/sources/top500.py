"""TOP500 lists: one Excel or XML file a list, as the publisher has them, into one table of systems."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
from python_calamine import CalamineError, CalamineWorkbook

from study.core import DataError, tell
from study.data.sources import Fetcher, damaged, is_page, number, one_line, refuse_missing

ADDRESS = "https://www.top500.org"
# Public code that downloads the lists reports that quick sequences of requests are blocked.
PAUSE = 15.0

FIRST_LIST = "1993-06"
FIRST_ACCELERATOR_LIST = "2011-06"
FIRST_TERAFLOP_LIST = "2017-06"
FIRST_XLSX_LIST = "2020-06"
ROWS = 500
NAMESPACE = "http://www.top500.org/xml/top500/1.0"
# The codes of area-of-installation, found by comparing XML and Excel files of June 2014 and June 2017.
_SEGMENTS = ("Academic", "Classified", "Government", "Industry", "Others", "Research", "Vendor")
SEGMENTS = {str(code): segment for code, segment in enumerate(_SEGMENTS, start=1)}

_FILE = re.compile(r"TOP500_(\d{4})(06|11)(?:\.xlsx?|(?:_all)?\.xml)")
_NAMED_ACCELERATOR = re.compile(
    r"nvidia|\bgpu\b|\btesla\b|superchip|radeon|\bati hd\b|firepro|instinct|vega 20|powerxcell|clearspeed"
    r"|\baccelerator\b|intel mic\b|xeon phi(?! (?:7[02]|cpu))|pezy|matrix-2000|mn-core|deep computing processor",
    re.IGNORECASE,
)
_REQUIRED = ("rank", "site", "country", "computer", "segment", "rmax")
_FIELDS = (*_REQUIRED, "rpeak", "name", "year", "accelerator")
_ELEMENTS = {
    "rank": "rank",
    "site": "installation-site/installation-site-name",
    "country": "country",
    "name": "system-name",
    "computer": "computer",
    "segment": "area-of-installation",
    "rmax": "r-max",
    "rpeak": "r-peak",
    "year": "year",
}

# A system as the file has it: where it is there, and its fields as text.
_System = tuple[str, dict[str, str]]


def lists(folder: Path) -> dict[str, Path]:
    """Return the files of all lists in ``folder`` by month ("YYYY-MM"), with no list of the sequence missing.

    Raises
    ------
    DataError
        If there is none, one is there twice, or one between June 1993 and the newest is missing.
    """
    files = _present(folder)
    if not files:
        raise DataError(f"TOP500: no TOP500_YYYYMM.xls, .xlsx or .xml in {folder}; download the lists.")
    for month in _sequence(max(files)):
        if month not in files:
            fault = f"TOP500: list {month} is missing in {folder}, but later ones are there"
            raise DataError(f"{fault}; download {_file_name(month)} into it.")
    return dict(sorted(files.items()))


def read_list(path: Path, month: str) -> pd.DataFrame:
    """Read one list.

    Returns
    -------
    DataFrame
        500 rows: list, rank, site, country, segment, system (name and computer), rmax_tflops,
        rpeak_tflops (Rmax where the list does not say it),
        accelerator (empty = none), year_installed (Int64; empty where the list has no such column).
        Excel lists before June 2011 and all XML lists do not say which accelerator there is: there
        it is "named in the system" where the description names one. On the Excel lists from June
        2011 to June 2026, which say it, the descriptions name 3,946 of 3,986 accelerators (99.0%),
        and 28 of the 3,974 that they name are none by the column (0.7%).

    Raises
    ------
    DataError
        If the file is no Excel or XML file, lacks a column or element, or has not exactly the
        ranks 1 to 500.
    """
    tell(f"TOP500 list {month}")
    if path.stat().st_size == 0:
        raise damaged(path.name, "the file is empty")
    systems = _xml_systems(path) if path.suffix == ".xml" else _excel_systems(path, month)
    if len(systems) != ROWS:
        raise damaged(path.name, f"{len(systems)} systems, a list has {ROWS}; the file is incomplete")
    unit = 1e-3 if path.suffix == ".xml" or month < FIRST_TERAFLOP_LIST else 1.0
    table = pd.DataFrame([{"list": month} | _record(*system, unit) for system in systems])
    # Rank repeats where systems tie, so the order and the count are checked rather than the set of ranks.
    rank, before = table["rank"], table["rank"].shift(fill_value=1)
    for place in table.index[~rank.between(before, table.index + 1)]:
        where = systems[place][0]
        raise DataError(f"{where}: rank {rank[place]} follows {before[place]}; restore the order.")
    return table.astype({"year_installed": "Int64"})


def read(folder: Path) -> pd.DataFrame:
    """Read all lists of a folder into one table, in the order of time and rank."""
    tables = [read_list(path, month) for month, path in lists(folder).items()]
    return pd.concat(tables, ignore_index=True)


def fetch(raw: Path, fetcher: Fetcher, *, last: str | None = None) -> list[Path]:
    """Download the lists that are not in ``raw/top500/`` yet, in whatever format, as Excel files.

    The publisher has asked for a free login at times. Where it does, download the lists with a
    browser and put them into the folder under the publisher's names; they are kept as they are.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
        The client that downloads.
    last : str, optional
        Month ("YYYY-MM") of the last list; where none is given, the newest that is out for sure
        (lists come out in June and November).

    Returns
    -------
    list of Path
        The files of all lists.

    Raises
    ------
    DataError
        If a list cannot be downloaded; those that could be stay.
    """
    folder = raw / "top500"
    there = _present(folder)
    months = list(_sequence(last or _newest(date.today())))
    for month in [month for month in months if month not in there]:
        name = _file_name(month)
        url = f"{ADDRESS}/lists/top500/{month.replace('-', '/')}/download/{name}"
        try:
            there[month] = fetcher.download(url, folder / name, pause=PAUSE)
        except DataError as error:
            missing = sum(other not in there for other in months)
            raise DataError(f"{error} {missing} of {len(months)} lists are missing in {folder}.") from None
    return [there[month] for month in months]


def _present(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("TOP500_*")):
        if match := _FILE.fullmatch(path.name):
            month = f"{match[1]}-{match[2]}"
            if files.setdefault(month, path) != path:
                both = f"{files[month].name}, {path.name}"
                raise DataError(f"TOP500: {month} is there twice ({both}); keep one.")
    return files


def _file_name(month: str) -> str:
    return f"TOP500_{month.replace('-', '')}.{'xlsx' if month >= FIRST_XLSX_LIST else 'xls'}"


def _newest(today: date) -> str:
    """Return the month of the newest list that is out for sure: that of June from July, of November from December."""
    month = f"{today:%Y-%m}"
    return max(earlier for earlier in _sequence(month) if earlier < month)


def _sequence(last: str) -> Iterable[str]:
    years = range(int(FIRST_LIST[:4]), int(last[:4]) + 1)
    months = (f"{year}-{half}" for year in years for half in ("06", "11"))
    return (month for month in months if month <= last)


def _excel_systems(path: Path, month: str) -> list[_System]:
    if is_page(path.read_bytes()):
        raise DataError(f"{path.name}: this is a web page and no Excel file; log in and download it again.")
    try:
        rows = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0).to_python()
    # The Excel library signals broken containers in several ways, none of which a user could distinguish.
    except (CalamineError, OSError, ValueError, IndexError) as error:
        raise damaged(path.name, f"not readable as Excel ({error})") from error
    labels = enumerate([_label(cell) for cell in row] for row in rows)
    place, heading = next(((place, row) for place, row in labels if {"rank", "site"} <= set(row)), (0, []))
    if not heading:
        raise DataError(f"{path.name}: no row with the headings Rank and Site; is this a TOP500 list?")
    needed = (*_REQUIRED, "accelerator") if month >= FIRST_ACCELERATOR_LIST else _REQUIRED
    refuse_missing(f"{path.name}, row {place + 1}", needed, heading)
    columns = {name: heading.index(name) for name in _FIELDS if name in heading}
    return [
        (f"{path.name}, row {number}", {name: one_line(row[column]) for name, column in columns.items()})
        for number, row in enumerate(rows[place + 1 :], start=place + 2)
        if any(str(cell).strip() for cell in row)
    ]


def _label(cell: Any) -> str:
    label = re.sub(r"\s*[\[(].*", "", str(cell)).strip().casefold()
    return "accelerator" if label == "accelerator/co-processor" else label


def _xml_systems(path: Path) -> list[_System]:
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        where = f"{path.name}, line {error.position[0]}, column {error.position[1] + 1}"
        what = str(error).partition(":")[0]
        raise DataError(f"{where}: broken XML ({what}); log in and download it again.") from None
    except ValueError as error:
        raise damaged(path.name, f"not readable as XML ({error})") from None
    if root.tag != f"{{{NAMESPACE}}}list":
        raise DataError(f"{path.name}: the root is {root.tag}, no top500:list; log in and download it again.")
    systems, namespaces = [], {"": NAMESPACE}
    for place, site in enumerate(root.findall("site", namespaces), start=1):
        where, fields = f"{path.name}, system {place}", {}
        for name, element in _ELEMENTS.items():
            text = site.findtext(element, None, namespaces)
            if text is None:
                raise damaged(where, f"no element {element}")
            fields[name] = one_line(text)
        code = fields["segment"]
        if code not in SEGMENTS:
            raise damaged(where, f'area-of-installation "{code}" is none of 1 to 7')
        systems.append((where, fields | {"segment": SEGMENTS[code]}))
    return systems


def _record(where: str, fields: Mapping[str, str], unit: float) -> dict[str, Any]:
    """Return the row of a system, whose Rmax is in a unit of so many TFlop/s."""
    for name in ("site", "country"):
        if not fields[name]:
            raise damaged(where, f"{name} is empty")
    year = fields.get("year", "")
    try:
        rank, rmax = int(float(fields["rank"])), float(fields["rmax"])
        installed = int(float(year)) if year else None
    except (ValueError, OverflowError):
        values = f'rank "{fields["rank"]}", Rmax "{fields["rmax"]}" and year "{year}"'
        raise damaged(where, f"{values} must be numbers") from None
    if not 0 < rmax < math.inf:
        raise damaged(where, f"Rmax is {rmax}, it must be above 0")
    rpeak = number(fields.get("rpeak", ""), f"{where}: Rpeak")
    system = ", ".join(filter(None, (fields.get("name"), fields["computer"])))
    named = "named in the system" if _NAMED_ACCELERATOR.search(system) else ""
    accelerator = fields.get("accelerator", named)
    return {
        "rank": rank,
        **{name: fields[name] for name in ("site", "country", "segment")},
        "system": system,
        "rmax_tflops": rmax * unit,
        "rpeak_tflops": (rpeak if rpeak > 0 else rmax) * unit,
        "accelerator": "" if accelerator == "None" else accelerator,
        "year_installed": installed,
    }
