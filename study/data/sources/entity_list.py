"""Chinese universities on the US Entity List: a table of dates compiled from public pages."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from study.data.sources import FILLED, Rule, csv_table, one_of

FILE = "entity_list_universities_dates.csv"
COLUMNS = ("university", "country", "date", "how_dated", "confidence", "source", "note")
RULES: dict[str, Rule] = {
    "university": FILLED,
    "country": (re.compile("CN"), "CN"),
    "date": (re.compile(r"(19|20)\d\d-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?"), "YYYY-MM or YYYY-MM-DD"),
    "confidence": one_of(("high", "medium", "low")),
}


def read(folder: Path) -> pd.DataFrame:
    """Read the table.

    Returns
    -------
    DataFrame
        One row a university, all text: the columns ``COLUMNS``; the index is the line of the file.

    Raises
    ------
    DataError
        If the file is missing or damaged, a university is there twice, or a date or confidence is not as it must be.
    """
    remedy = "correct it, or take the table again from where you had it"
    return csv_table(folder / FILE, COLUMNS, unique=("university",), rules=RULES, remedy=remedy)
