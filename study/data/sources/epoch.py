"""Epoch AI's tables of machine-learning models (December 2023 and current)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from study.core import DataError
from study.data.sources.reading import Progress, csv_rows, silent

if TYPE_CHECKING:
    from study.data.sources.fetching import Fetcher

ADDRESS = "https://epoch.ai/data"
# Epoch does not keep old tables on its site; this one is a commit of its own study of training costs.
DECEMBER_ADDRESS = (
    "https://raw.githubusercontent.com/epoch-research/training-cost-trends/6eed5c2a/data/"
    "All%20ML%20Systems%20-%20full%20view.csv"
)
DECEMBER_SHA256 = "c07e0cc4d4e17d3fcaa95d135427ac38c370f464339d464a0e81fbf322031cef"
DECEMBER_FILE = "all_ml_systems_2023-12-20.csv"

Vintage = Literal["december_2023", "current"]

# Our names of what is read, and the heading of each in both vintages or in the one.
_HEADINGS = {
    "date": "Publication date",
    "domains": "Domain",
    "organisations": "Organization",
    "categories": "Organization categorization",
    "training_compute": "Training compute (FLOP)",
    "parameters": "Parameters",
    "criteria": "Notability criteria",
    "confidence": "Confidence",
}
LAYOUTS: dict[Vintage, dict[str, str]] = {
    "current": {
        "model": "Model",
        "countries": "Country (of organization)",
        "accessibility": "Model accessibility",
        **_HEADINGS,
    },
    "december_2023": {
        "model": "System",
        "countries": "Country (from Organization)",
        "accessibility": "Open-source",
        **_HEADINGS,
    },
}

KINDS = ("academia", "industry", "government", "research collective", "non-profit")
# The December 2023 table says with brackets to which side a collaboration leans; that is not read.
_COLLABORATION = "industry - academia collaboration"
CRITERIA = (
    "highly cited",
    "sota improvement",
    "historical significance",
    "significant use",
    "training cost",
    "discretionary",
)
_OPEN = ("fully open-source", "permissive license")
FIRST_YEAR = 1940
MOST_COMPUTE = 1e30
MOST_PARAMETERS = 1e16

_DATE = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")
_CURRENT = re.compile(r"notable_ai_models_(\d{4}-\d\d-\d\d)\.csv")
_BRACKETS = re.compile(r"\s*\(.*\)")


def fetch(
    raw: Path,
    fetcher: Fetcher,
    *,
    progress: Progress = silent,
    base: str = ADDRESS,
    december: str = DECEMBER_ADDRESS,
    december_sha256: str = DECEMBER_SHA256,
    today: date | None = None,
) -> list[Path]:
    """Download the current table (named by today's date) and that of December 2023 into ``raw/epoch``.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    progress : callable, optional
        Called with a short text before each file.
    base, december : str
        Addresses of Epoch's data, and of the table of December 2023.
    december_sha256 : str
        Checksum that the table of December 2023 must have.
    today : date, optional
        Vintage that the current table is named by.
    """
    day = (today or date.today()).isoformat()
    files = (
        (f"{base}/notable_ai_models.csv", f"notable_ai_models_{day}.csv", None),
        (december, DECEMBER_FILE, december_sha256),
    )
    paths = []
    for url, name, sha256 in files:
        progress(f"Epoch {name}")
        paths.append(fetcher.download(url, raw / "epoch" / name, sha256=sha256))
    return paths


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
        empty), precision ("day", "month", "year", empty), year (Int64); domains, organisations, categories
        (of :data:`KINDS`, each once), countries and criteria (of :data:`CRITERIA`; free text in that column
        is none) as tuples; kinds (a tuple: the category of each organisation, empty where the table does
        not say); training_compute (FLOP, NaN if not known), parameters (NaN if not known), notable
        (any criterion), accessibility (as given), open_weights (boolean, NA if not known), confidence
        (as given), vintage ("YYYY-MM-DD").

    Raises
    ------
    DataError
        If the file is missing, damaged or of another layout, a model is there twice, or a date, number or
        category cannot be right.
    """
    path, day = _file(folder, vintage)
    layout = LAYOUTS[vintage]
    named = tuple(layout[name] for name in ("model", "date", "organisations"))
    records = []
    for line, row in csv_rows(path, tuple(layout.values()), unique=named):
        fields = {name: row[heading] for name, heading in layout.items()}
        where = f"{path.name}, line {line}"
        if not fields["model"]:
            raise DataError(f"{where}: the model has no name; download the file again.")
        records.append(_record(fields, where, day))
    return pd.DataFrame(records).astype({"year": "Int64", "open_weights": "boolean"})


def _file(folder: Path, vintage: Vintage) -> tuple[Path, str]:
    if vintage == "december_2023":
        return folder / DECEMBER_FILE, DECEMBER_FILE.removesuffix(".csv")[-10:]
    found = {match[1]: path for path in folder.glob("*.csv") if (match := _CURRENT.fullmatch(path.name))}
    if not found:
        raise DataError(
            f"epoch: no notable_ai_models_YYYY-MM-DD.csv in {folder}; download the table of notable models "
            "from epoch.ai/data into it, named by the day."
        )
    return found[max(found)], max(found)


def _record(fields: Mapping[str, str], where: str, vintage: str) -> dict[str, object]:
    year, precision = _date(fields["date"], where, int(vintage[:4]) + 1)
    organisations = _parts(fields["organisations"])
    labels = [_BRACKETS.sub("", label).lower() for label in _parts(fields["categories"])]
    unknown = next((label for label in labels if label not in (*KINDS, _COLLABORATION)), None)
    if unknown is not None:
        raise DataError(
            f'{where}: category "{unknown}" is none of {", ".join(KINDS)}; correct it, or add it to KINDS.'
        )
    sides = [side for label in labels for side in (KINDS[:2] if label == _COLLABORATION else (label,))]
    criteria = tuple(part for part in map(str.lower, _parts(fields["criteria"])) if part in CRITERIA)
    return {
        "model": fields["model"],
        "date": fields["date"],
        "precision": precision,
        "year": year,
        "domains": tuple(map(str.lower, _parts(fields["domains"]))),
        "organisations": organisations,
        # The labels stand in the order of the organisations where there is one for each.
        "kinds": tuple(labels)
        if len(labels) == len(organisations) and _COLLABORATION not in labels
        else ("",) * len(organisations),
        "categories": tuple(kind for kind in KINDS if kind in sides),
        "countries": tuple(dict.fromkeys(_parts(fields["countries"]))),
        "training_compute": _number(fields["training_compute"], "training compute", MOST_COMPUTE, where),
        "parameters": _number(fields["parameters"], "number of parameters", MOST_PARAMETERS, where),
        "criteria": criteria,
        "notable": bool(criteria),
        "accessibility": fields["accessibility"],
        "open_weights": _open(fields["accessibility"].lower()),
        "confidence": fields["confidence"],
        "vintage": vintage,
    }


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in map(str.strip, text.split(",")) if part)


def _open(accessibility: str) -> bool | None:
    return accessibility.startswith("open weights") or accessibility in _OPEN if accessibility else None


def _date(text: str, where: str, last_year: int) -> tuple[int | None, str]:
    """Return the year of a date and how precise it is."""
    if not text:
        return None, ""
    match = _DATE.fullmatch(text)
    try:
        if match is None:
            raise ValueError
        year = date(int(match[1]), int(match[2] or 1), int(match[3] or 1)).year
    except ValueError:
        raise DataError(f'{where}: date "{text}" is no date; download the file again.') from None
    if not FIRST_YEAR <= year <= last_year:
        raise DataError(f'{where}: date "{text}" is not between {FIRST_YEAR} and {last_year}; correct it.')
    return year, "day" if match[3] else "month" if match[2] else "year"


def _number(text: str, what: str, most: float, where: str) -> float:
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise DataError(f'{where}: {what} "{text}" is no number; download the file again.') from None
    if not 0 < value <= most:
        raise DataError(f"{where}: {what} {text} is not above 0 and at most {most:g}; correct it.")
    return value
