"""World universities and their domains (the list of Hipo), one JSON file, into one table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from study.data.sources import Fetcher, damaged, json_file, only_one

ADDRESS = "https://raw.githubusercontent.com/Hipo/university-domains-list"
BRANCH = "master"
FILE = "world_universities_and_domains.json"
MINIMUM = 5_000


def read(folder: Path) -> pd.DataFrame:
    """Read the list.

    Returns
    -------
    DataFrame
        One row a university: name, country (English name), iso2, domains (tuple of str).

    Raises
    ------
    DataError
        If the file is missing, broken or too short to be the list.
    """
    records = json_file(only_one(folder, FILE))
    if not isinstance(records, list):
        raise damaged(FILE, "holds no list of universities")
    if len(records) < MINIMUM:
        raise damaged(FILE, f"{len(records)} universities, at least {MINIMUM} are expected in a whole file")
    rows = [_row(f"{FILE}, record {number}", record) for number, record in enumerate(records, start=1)]
    return pd.DataFrame(rows, columns=["name", "country", "iso2", "domains"])


def fetch(raw: Path, fetcher: Fetcher, *, version: str = BRANCH) -> list[Path]:
    """Download the list into ``raw/universities/``, unless it is there.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
        The client that downloads.
    version : str
        Branch or commit; the branch's list grows, and with it the universities that can be matched.

    Returns
    -------
    list of Path
        The file.

    Raises
    ------
    DataError
        If it cannot be downloaded.
    """
    return [fetcher.download(f"{ADDRESS}/{version}/{FILE}", raw / "universities" / FILE)]


def _row(where: str, record: Any) -> tuple[str, str, str, tuple[str, ...]]:
    try:
        name, country, iso2 = (record[key].strip() for key in ("name", "country", "alpha_two_code"))
        domains = tuple(domain.strip().lower() for domain in record["domains"])
    except (KeyError, TypeError, AttributeError) as error:
        fault = f"name, country, alpha_two_code or domains is missing or no text ({error})"
        raise damaged(where, fault) from None
    if not name or len(iso2) != 2:
        raise damaged(where, f'name "{name}" or country code "{iso2}" is not valid')
    return name, country, iso2, domains
