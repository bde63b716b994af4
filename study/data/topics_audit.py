"""How far the words of ``data/topics.toml`` agree with people who read 200 titles without knowing what the words said.

The titles are drawn from all accepted main-track papers in two strata of equal size, those called compute-heavy and
the rest, at random within each. Judges see title, venue and year, shuffled. They answer three questions of each: does
the title itself name a compute-heavy topic (``verdict``, what the words try to find), does the work most likely train
or run deep networks, venue and year considered (``deep``, what the words stand for), and which area is it (``area``).

Two samples ship, and each judged the words as they stood when it was drawn. ``topics_first_sample.csv`` (seed 20261124)
judged the first list; what it missed and what it called heavy wrongly was then used to write the present one, of which
it therefore says nothing. ``topics_sample.csv`` (seed 20261128) judges the present list, on titles that are not in the
first sample. The ``_strata`` file of each counts what it was drawn from; ``tests/audit_samples.py`` draws them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.core import DataError
from study.data import audit
from study.data.audit import Share
from study.data.sources.reading import RESTORE, csv_rows
from study.data.topics import AREAS

KEYS = ["venue", "year", "row"]
HEAVY, REST = "heavy", "rest"
_NUMBER = re.compile(r"[1-9]\d*")
ANSWERS = {"verdict": ("yes", "no"), "deep": ("yes", "no"), "area": AREAS}
COLUMNS = (
    "id",
    "venue",
    "year",
    "row",
    "stratum",
    "words_area",
    *ANSWERS,
    *(f"second_{name}" for name in ANSWERS),
)


@dataclass(frozen=True)
class Reading:
    """What the judges' yes says of the words: right among the heavy, missed among the rest, recall of both weighted.

    The interval of recall goes from the least favourable to the most favourable ends of the two 95% Wilson intervals,
    and so is wider than 95%.
    """

    precision: Share
    missed: Share
    recall: float
    recall_interval: tuple[float, float]


def read(path: Path) -> pd.DataFrame:
    """Read a judged sample.

    Returns
    -------
    DataFrame
        The columns `COLUMNS`; id, year and row are integers, unanswered questions empty.

    Raises
    ------
    DataError
        If a column is missing, an id stands twice, a number is none, or an answer is not one that was to be given.
    """
    allowed = {"stratum": (HEAVY, REST), "words_area": AREAS}
    allowed |= {
        f"{reading}{name}": (*answers, "") for reading in ("", "second_") for name, answers in ANSWERS.items()
    }
    rows = csv_rows(path, COLUMNS, unique=("id",), remedy=RESTORE)
    for line, row in rows:
        for column, values in allowed.items():
            if row[column] not in values:
                raise DataError(
                    f'{path.name}, line {line}: {column} is "{row[column]}"; it must be one of '
                    f"{', '.join(repr(value) for value in values)}."
                )
        for column in ("id", "year", "row"):
            if not _NUMBER.fullmatch(row[column]):
                raise DataError(f'{path.name}, line {line}: {column} is "{row[column]}", no whole number.')
    return pd.DataFrame([row for _, row in rows], columns=list(COLUMNS)).astype(
        {"id": int, "year": int, "row": int}
    )


def reading(sample: pd.DataFrame, counts: pd.DataFrame, question: str = "verdict") -> Reading:
    """Return precision and recall of the words against one of the judges' yes-or-no questions.

    Parameters
    ----------
    sample
        A judged sample, as `read` returns it.
    counts
        The population by stratum, as `strata` returns it.
    question
        "verdict" or "deep".

    Raises
    ------
    DataError
        If a title is not judged yet.
    """
    _answered(sample, question)
    precision, missed = (Share.of(sample.loc[part, question] == "yes") for part in _parts(sample))
    heavy = int(counts[HEAVY].sum())
    rest = int(counts["papers"].sum()) - heavy
    (right_low, right_high), (missed_low, missed_high) = precision.interval, missed.interval
    return Reading(
        precision,
        missed,
        _recall(heavy * precision.value, rest * missed.value),
        (_recall(heavy * right_low, rest * missed_high), _recall(heavy * right_high, rest * missed_low)),
    )


def area_agreement(sample: pd.DataFrame, counts: pd.DataFrame) -> tuple[Share, Share, float]:
    """Return how often the words give the judges' area: among the heavy, among the rest, weighted by the population.

    Raises
    ------
    DataError
        If a title is not judged yet.
    """
    _answered(sample, "area")
    same = sample["area"] == sample["words_area"]
    heavy, rest = (Share.of(same[part]) for part in _parts(sample))
    weight = counts[HEAVY].sum() / counts["papers"].sum()
    return heavy, rest, float(weight * heavy.value + (1 - weight) * rest.value)


def agreement(sample: pd.DataFrame, question: str = "verdict") -> Share:
    """Return how often two judges gave the same answer, of the titles that both judged."""
    return audit.agreement(sample[question], sample[f"second_{question}"])


def _parts(sample: pd.DataFrame) -> Iterable[pd.Series]:
    return sample["stratum"] == HEAVY, sample["stratum"] == REST


def _answered(sample: pd.DataFrame, question: str) -> None:
    for number in sample.loc[sample[question] == "", "id"][:1]:
        raise DataError(f"topics audit: {question} of title {number} is empty; judge it first.")


def _recall(found: float, lost: float) -> float:
    return found / (found + lost) if found + lost else float("nan")
