"""Countries with their regions of the United Nations (M49)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache

from study.core import DataError
from study.panel.shipped import shipped

FILE = "countries.csv"


@dataclass(frozen=True)
class Country:
    """A country or territory: ISO 3166 alpha-2 code, English name, M49 region and sub-region."""

    iso2: str
    name: str
    region: str
    subregion: str


@cache
def countries() -> dict[str, Country]:
    """Return all countries of the shipped table by their codes.

    The table has all officially assigned codes and XK (Kosovo). M49 has neither Taiwan nor Kosovo: they
    stand with their neighbours, in Eastern Asia and in Southern Europe.
    """
    with shipped("data", FILE).open(encoding="utf-8", newline="") as stream:
        return {row["iso2"]: Country(**row) for row in csv.DictReader(stream)}


def region(iso2: str) -> str:
    """Return the M49 region of a country ("Africa", "Americas", "Asia", "Europe", "Oceania", "Antarctica").

    Raises
    ------
    DataError
        If the code is not in the table.
    """
    found = countries().get(iso2)
    if found is None:
        raise DataError(
            f'countries: "{iso2}" is no ISO 3166 alpha-2 code of {FILE}; correct it, or add it there.'
        )
    return found.region
