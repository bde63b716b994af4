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
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from study.core import DataError
from study.data import audit
from study.data.sources import RESTORE, Rule, csv_rows, one_of
from study.data.topics import AREAS

KEYS = ["venue", "year", "row"]
HEAVY, REST = "heavy", "rest"
ANSWERS = {"verdict": ("yes", "no"), "deep": ("yes", "no"), "area": AREAS}
COLUMNS = ("id", *KEYS, "stratum", "words_area", *ANSWERS, *(f"second_{name}" for name in ANSWERS))


@dataclass(frozen=True)
class Reading:
    """What the judges' yes says of the words: right among the heavy, missed among the rest, recall of both weighted.

    The interval of recall goes from the least favourable to the most favourable ends of the two 95% Wilson intervals,
    and so is wider than 95%. The agreement is that of two judges, of the titles that both judged.
    """

    precision: audit.Share
    missed: audit.Share
    recall: audit.Estimate
    agreement: audit.Share


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
    numbers = ("id", "year", "row")
    rules: dict[str, Rule] = dict.fromkeys(numbers, (re.compile(r"[1-9]\d*"), "a whole number"))
    rules |= {"stratum": one_of((HEAVY, REST)), "words_area": one_of(AREAS)}
    for name, answers in ANSWERS.items():
        rules |= dict.fromkeys((name, f"second_{name}"), one_of((*answers, "")))
    rows = csv_rows(path, COLUMNS, unique=("id",), rules=rules, remedy=RESTORE)
    return pd.DataFrame([row for _, row in rows], columns=list(COLUMNS)).astype(dict.fromkeys(numbers, int))


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
    precision, missed = _shares(sample, question, sample[question] == "yes")
    heavy = int(counts[HEAVY].sum())
    rest = int(counts["papers"].sum()) - heavy

    def recall(right: float, wrong: float) -> float:
        total = heavy * right + rest * wrong
        return heavy * right / total if total else float("nan")

    both = audit.agreement(sample[question], sample[f"second_{question}"])
    return Reading(precision, missed, audit.bounded(recall, precision, missed), both)


def area_agreement(sample: pd.DataFrame, counts: pd.DataFrame) -> tuple[audit.Share, audit.Share, float]:
    """Return how often the words give the judges' area: among the heavy, among the rest, weighted by the population.

    Raises
    ------
    DataError
        If a title is not judged yet.
    """
    heavy, rest = _shares(sample, "area", sample["area"] == sample["words_area"])
    weight = counts[HEAVY].sum() / counts["papers"].sum()
    return heavy, rest, float(weight * heavy.value + (1 - weight) * rest.value)


def _shares(sample: pd.DataFrame, question: str, marks: pd.Series[bool]) -> tuple[audit.Share, audit.Share]:
    """Return the shares that are marked, of the titles called heavy and of the rest; all must be judged."""
    for number in sample.loc[sample[question] == "", "id"][:1]:
        raise DataError(f"topics audit: {question} of title {number} is empty; judge it first.")
    heavy = sample["stratum"] == HEAVY
    return audit.Share.of(marks[heavy]), audit.Share.of(marks[~heavy])
