"""How good the matching is: what readers said of a sample of strings, which ``tests/audit_samples.py`` draws."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from study.core import DataError
from study.data.audit import Estimate, Share, agreement, bounded, weighted

CREDITED, NONE = "credited", "none"
VERDICTS = {CREDITED: ("correct", "wrong", "incomplete"), NONE: ("correctly_none", "missed")}


@dataclass(frozen=True)
class Summary:
    """What the judgements of a sample of affiliation strings say.

    Attributes
    ----------
    precision : Share
        Credited strings whose universities are all named in the string (``correct`` or ``incomplete``).
    complete : Share
        Credited strings whose universities are all those named (``correct``).
    missed : Share
        Strings without credit that name a university.
    recall : Estimate
        Strings credited with all universities that they name, among those that name one: both strata
        weighted by their numbers of strings. A string wrongly credited counts as one that names another.
    precision_of_papers, recall_of_papers : Estimate
        The same with each string weighted by the papers that it stands in.
    agreement : Share
        Strings judged twice whose two verdicts are the same.
    kappa : float
        Cohen's kappa of the two verdicts (Cohen 1960); NaN where chance alone would agree always.
    """

    precision: Share
    complete: Share
    missed: Share
    recall: Estimate
    precision_of_papers: Estimate
    recall_of_papers: Estimate
    agreement: Share
    kappa: float


def summary(verdicts: pd.DataFrame, population: pd.DataFrame) -> Summary:
    """Return what the judgements say.

    Parameters
    ----------
    verdicts : DataFrame
        One row a judged string: id, stratum, papers, verdict, second_verdict (empty where judged once).
    population : DataFrame
        As of ``strata``.

    Raises
    ------
    DataError
        If a verdict is none of its stratum's, or a stratum is missing.
    """
    columns = ["id", "stratum", "verdict", "second_verdict"]
    for number, stratum, verdict, second in verdicts[columns].itertuples(index=False, name=None):
        allowed = VERDICTS.get(stratum, ())
        if verdict not in allowed or second not in (*allowed, ""):
            raise DataError(
                f'matching audit, id {number}: verdict "{verdict}" or second verdict "{second}" is none of '
                f'stratum "{stratum}"; correct it to one of {VERDICTS}.'
            )
    size = population.set_index("stratum")
    for stratum in set(VERDICTS) - (set(size.index) & set(verdicts["stratum"])):
        raise DataError(f'matching audit: stratum "{stratum}" is missing; draw the sample again.')
    credited, none = (verdicts[verdicts["stratum"] == stratum] for stratum in VERDICTS)
    right = credited["verdict"].isin(["correct", "incomplete"])
    complete = credited["verdict"] == "correct"
    missed = none["verdict"] == "missed"

    def recall(complete: Share | Estimate, missed: Share | Estimate, sizes: pd.Series) -> Estimate:
        """Return M a / (M + U b) of the shares a and b."""
        of_credited, of_none = sizes[CREDITED], sizes[NONE]
        return bounded(lambda a, b: float(of_credited * a / (of_credited + of_none * b)), complete, missed)

    twice = verdicts[verdicts["second_verdict"] != ""]
    return Summary(
        precision=Share.of(right),
        complete=Share.of(complete),
        missed=Share.of(missed),
        recall=recall(Share.of(complete), Share.of(missed), size["strings"]),
        precision_of_papers=weighted(right, credited["papers"]),
        recall_of_papers=recall(
            weighted(complete, credited["papers"]), weighted(missed, none["papers"]), size["papers"]
        ),
        agreement=agreement(verdicts["verdict"], verdicts["second_verdict"]),
        kappa=cohens_kappa(list(twice["verdict"]), list(twice["second_verdict"])),
    )


def cohens_kappa(first: list[str], second: list[str]) -> float:
    """Return Cohen's kappa (p_o - p_e) / (1 - p_e) of two lists of verdicts on the same items."""
    # Without two different verdicts chance alone would agree always.
    return float(cohen_kappa_score(first, second)) if len({*first, *second}) > 1 else math.nan
