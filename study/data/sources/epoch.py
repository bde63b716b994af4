"""Epoch AI's tables of machine-learning models (December 2023 and current)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Literal

import pandas as pd

from study.core import DataError
from study.data.sources import FILLED, Fetcher, csv_rows, damaged, number

ADDRESS = "https://epoch.ai/data"
# Epoch does not keep old tables on its site; this one is a commit of its own study of training costs.
_COMMIT = "https://raw.githubusercontent.com/epoch-research/training-cost-trends/6eed5c2a"
DECEMBER_ADDRESS = f"{_COMMIT}/data/All%20ML%20Systems%20-%20full%20view.csv"
DECEMBER_SHA256 = "c07e0cc4d4e17d3fcaa95d135427ac38c370f464339d464a0e81fbf322031cef"
DECEMBER_FILE = "all_ml_systems_2023-12-20.csv"

Vintage = Literal["december_2023", "current"]

# Our names of what is read, and the heading of each in the current table.
_LAYOUT = {
    "model": "Model",
    "date": "Publication date",
    "domains": "Domain",
    "organisations": "Organization",
    "categories": "Organization categorization",
    "training_compute": "Training compute (FLOP)",
    "criteria": "Notability criteria",
    "accessibility": "Model accessibility",
}
_RENAMED = {"model": "System", "accessibility": "Open-source"}
LAYOUTS: dict[Vintage, dict[str, str]] = {"current": _LAYOUT, "december_2023": _LAYOUT | _RENAMED}

KINDS = ("academia", "industry", "government", "research collective", "non-profit")
# The December 2023 table says with brackets to which side a collaboration leans; that is not read.
_COLLABORATION = "industry - academia collaboration"
_OF_THE_MODEL = ("highly cited", "sota improvement", "historical significance")
CRITERIA = (*_OF_THE_MODEL, "significant use", "training cost", "discretionary")
FIRST_YEAR = 1940
MOST_COMPUTE = 1e30

_CURRENT = "notable_ai_models_[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].csv"
_BRACKETS = re.compile(r"\s*\(.*\)")


def fetch(raw: Path, fetcher: Fetcher) -> list[Path]:
    """Download the current table (named by today's date) and that of December 2023 into ``raw/epoch``.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher

    Raises
    ------
    DataError
        If a table cannot be downloaded, or that of December 2023 has another checksum.
    """
    current = f"notable_ai_models_{date.today()}.csv"
    return [
        fetcher.download(f"{ADDRESS}/notable_ai_models.csv", raw / "epoch" / current),
        fetcher.download(DECEMBER_ADDRESS, raw / "epoch" / DECEMBER_FILE, sha256=DECEMBER_SHA256),
    ]


def read(folder: Path, vintage: Vintage = "current") -> pd.DataFrame:
    """Read the table of models of one vintage.

    Parameters
    ----------
    folder : Path
        Holds ``all_ml_systems_2023-12-20.csv`` (vintage "december_2023": all systems, notable or not) and
        ``notable_ai_models_YYYY-MM-DD.csv`` (vintage "current": notable models; the newest is read).
    vintage : str
        "current" or "december_2023".

    Returns
    -------
    DataFrame
        One row a model in the order of the file: model; date as given ("YYYY-MM-DD", "YYYY-MM", "YYYY",
        empty), year (Int64); domains, organisations, categories (of :data:`KINDS`, each once) and criteria
        (of :data:`CRITERIA`; free text in that column is none) as tuples; kinds (a tuple: the category of
        each organisation, empty where the table does not say); training_compute (FLOP, NaN if not known),
        notable (any criterion), accessibility (as given), vintage ("YYYY-MM-DD").

    Raises
    ------
    DataError
        If the file is missing, damaged or of another layout, a model is there twice, or a date, number or
        category cannot be right.
    """
    newest = max(folder.glob(_CURRENT), default=None)
    path = newest if vintage == "current" else folder / DECEMBER_FILE
    if path is None:
        fault = f"epoch: no notable_ai_models_YYYY-MM-DD.csv in {folder}"
        raise DataError(f"{fault}; download the notable models from epoch.ai/data into it, named by the day.")
    layout = LAYOUTS[vintage]
    key = tuple(layout[name] for name in ("model", "date", "organisations"))
    records = []
    for line, row in csv_rows(path, tuple(layout.values()), unique=key, rules={layout["model"]: FILLED}):
        fields = {name: row[heading] for name, heading in layout.items()}
        records.append(_record(fields, f"{path.name}, line {line}", path.stem[-10:]))
    return pd.DataFrame(records).astype({"year": "Int64"})


def _record(fields: Mapping[str, str], where: str, vintage: str) -> dict[str, object]:
    organisations = _parts(fields["organisations"])
    labels = [_BRACKETS.sub("", label).lower() for label in _parts(fields["categories"])]
    for label in labels:
        if label not in (*KINDS, _COLLABORATION):
            raise DataError(f'{where}: category "{label}" is none of {", ".join(KINDS)}; correct or add it.')
    sides = [side for label in labels for side in (KINDS[:2] if label == _COLLABORATION else (label,))]
    # The labels stand in the order of the organisations where there is one for each.
    ordered = len(labels) == len(organisations) and _COLLABORATION not in labels
    criteria = tuple(part for part in map(str.lower, _parts(fields["criteria"])) if part in CRITERIA)
    return {
        **{name: fields[name] for name in ("model", "date", "accessibility")},
        "year": _year(fields["date"], where, int(vintage[:4]) + 1),
        "domains": tuple(map(str.lower, _parts(fields["domains"]))),
        "organisations": organisations,
        "kinds": tuple(labels) if ordered else ("",) * len(organisations),
        "categories": tuple(kind for kind in KINDS if kind in sides),
        "training_compute": _compute(fields["training_compute"], f"{where}: training compute"),
        "criteria": criteria,
        "notable": bool(criteria),
        "vintage": vintage,
    }


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in map(str.strip, text.split(",")) if part)


def _year(text: str, where: str, last_year: int) -> int | None:
    """Return the year of a day, month or year."""
    if not text:
        return None
    try:
        year = date.fromisoformat(text + "-01-01"[len(text) - 4 :] if len(text) in (4, 7, 10) else "").year
    except ValueError:
        raise damaged(where, f'date "{text}" is no date') from None
    if not FIRST_YEAR <= year <= last_year:
        raise DataError(f'{where}: date "{text}" is not between {FIRST_YEAR} and {last_year}; correct it.')
    return year


def _compute(text: str, where: str) -> float:
    compute = number(text, where)
    if text and not 0 < compute <= MOST_COMPUTE:
        raise DataError(f"{where} {text} is not above 0 and at most {MOST_COMPUTE:g}; correct it.")
    return compute
