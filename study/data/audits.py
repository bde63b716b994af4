"""What readers say of universities, cluster grants, topics and machines, from ``data/audits/`` and ``data/``.

``tests/audit_samples.py`` draws the samples; ``study data audit`` prints what they say.

Universities: a sample of affiliation strings, credited or not, of which somebody said who is named in them.

Cluster grants: two samples ship, each as the drawn numbers, the design (with what the rule said when the sample was
drawn) and what the reader said. The first (``nsf_first_*``) came from 1304 awards that nobody had worked with, three in
ten of all, and judged the rule before its last change: the awards that the rule missed in it led to that change, so
that it says nothing of the rule as it stands. The second (``nsf_*``) judges the rule as it stands; it was drawn from
all other awards than the 200 of the first, among them those on which the rule was developed. It is a fresh reading,
but no test on awards that the rule has never met. A third (``cri_*``) judges the same rule on the CRI programme, for
which it was not written: all awards that it calls clusters there, and 90 of the others. Machines that are themselves
what is studied (a test-bed of servers, a cluster whose energy use is measured) count as none, as in the other two.

Topics: the titles are drawn from all accepted main-track papers in two strata of equal size, those called compute-heavy
and the rest, at random within each. Judges see title, venue and year, shuffled. They answer three questions of each:
does the title itself name a compute-heavy topic (``verdict``, what the words try to find), does the work most likely
train or run deep networks, venue and year considered (``deep``, what the words stand for), and which area is it
(``area``). Two samples ship, and each judged the words as they stood when it was drawn. ``topics_first_sample.csv``
(seed 20261124) judged the first list; what it missed and what it called heavy wrongly was then used to write the
present one, of which it therefore says nothing. ``topics_sample.csv`` (seed 20261128) judges the present list,
on titles that are not in the first sample. The ``_strata`` file of each counts what it was drawn from.

Machines: no sample, all rows of ``data/machines.csv`` were read twice.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.metrics import cohen_kappa_score

from study.core import DataError
from study.data.assemble import machines
from study.data.audit import Estimate, Share, bounded, weighted
from study.data.grants import CLUSTER
from study.data.sources import RESTORE, Rule, csv_table, one_of
from study.data.topics import AREAS
from study.panel import shipped
from study.report import render

CREDITED, NONE = "credited", "none"
VERDICTS = {CREDITED: ("correct", "wrong", "incomplete"), NONE: ("correctly_none", "missed")}


@dataclass(frozen=True)
class MatchingAudit:
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


def matching_audit(verdicts: pd.DataFrame, population: pd.DataFrame) -> MatchingAudit:
    """Return what the judgements of a sample of affiliation strings say.

    Parameters
    ----------
    verdicts : DataFrame
        One row a judged string: id, stratum, papers, verdict, second_verdict (empty where judged once).
    population : DataFrame
        stratum, strings, papers: what the sample was drawn from.

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
    of_papers = weighted(complete, credited["papers"]), weighted(missed, none["papers"])

    def recall(complete: Share | Estimate, missed: Share | Estimate, sizes: pd.Series) -> Estimate:
        """Return M a / (M + U b) of the shares a and b."""
        of_credited, of_none = sizes[CREDITED], sizes[NONE]
        return bounded(lambda a, b: float(of_credited * a / (of_credited + of_none * b)), complete, missed)

    agree, kappa = agreement(verdicts["verdict"], verdicts["second_verdict"])
    return MatchingAudit(
        precision=Share.of(right),
        complete=Share.of(complete),
        missed=Share.of(missed),
        recall=recall(Share.of(complete), Share.of(missed), size["strings"]),
        precision_of_papers=weighted(right, credited["papers"]),
        recall_of_papers=recall(*of_papers, size["papers"]),
        agreement=agree,
        kappa=kappa,
    )


def cohens_kappa(first: list[str], second: list[str]) -> float:
    """Return Cohen's kappa (p_o - p_e) / (1 - p_e) of two lists of verdicts on the same items."""
    # Without two different verdicts chance alone would agree always.
    return float(cohen_kappa_score(first, second)) if len({*first, *second}) > 1 else math.nan


def readings_agree(table: pd.DataFrame, column: str) -> tuple[Share, float]:
    """Return the agreement of the columns ``column_1`` and ``column_2``, of the rows read twice, and Cohen's kappa."""
    return agreement(table[f"{column}_1"], table[f"{column}_2"])


def agreement(first: pd.Series, second: pd.Series) -> tuple[Share, float]:
    """Return how often two readers gave the same answer, of what both read, and Cohen's kappa."""
    both = (first != "") & (second != "")
    return Share.of((first == second)[both]), cohens_kappa(list(first[both]), list(second[both]))


YES, NO = "cluster", "not_cluster"


@dataclass(frozen=True)
class GrantsAudit:
    """What a read sample of awards says of the rule for cluster grants.

    Attributes
    ----------
    precision : Share
        Of the awards that the rule calls clusters, those that the reader calls so.
    recall : Estimate
        Of the clusters, those that the rule finds; each award read stands for as many as its weight says. The
        interval is from Wilson's 95% interval of the share of clusters among the awards that the rule calls none, at
        Kish's effective size of that part of the sample; without the stratum that names no computing at all.
    missed : tuple of str
        Numbers of the awards that are clusters to the reader alone.
    accelerators : Share
        Clusters of which reader and rule say the same on whether accelerators are named.
    """

    precision: Share
    recall: Estimate
    missed: tuple[str, ...]
    accelerators: Share


def grants_audit(verdicts: pd.DataFrame, design: pd.DataFrame) -> GrantsAudit:
    """Compare the rule for cluster grants with a reader.

    Parameters
    ----------
    verdicts : DataFrame
        award_id, verdict ("cluster" or "not_cluster"), accelerators ("yes" or "no").
    design : DataFrame
        Of the sample, by the rule that is judged.

    Raises
    ------
    DataError
        If an award has two verdicts, or an award of the design none, or one that is neither of the two.
    """
    for number in verdicts.loc[verdicts["award_id"].duplicated(), "award_id"]:
        raise DataError(f"audit: award {number} has two verdicts; keep one.")
    read = design.merge(verdicts, on="award_id", how="left", suffixes=("", "_read"))
    for number in read.loc[~read["verdict"].isin([YES, NO]), "award_id"]:
        raise DataError(f'audit: award {number} has no verdict "{YES}" or "{NO}"; judge it.')
    ours, theirs = read["kind"] == CLUSTER, read["verdict"] == YES
    weight = read["population"] / read["sampled"]
    clusters = float(weight[ours & theirs].sum())
    out = ~ours & (read["stratum"] != "none")
    lost, total = weighted(theirs[out], weight[out]), float(weight[out].sum())
    missed = float(weight[~ours & theirs].sum()), lost.high * total, lost.low * total
    named = (read["accelerators"] == 1) == (read["accelerators_read"] == "yes")
    return GrantsAudit(
        precision=Share.of(theirs[ours]),
        recall=Estimate(*(clusters / (clusters + each) for each in missed)),
        missed=tuple(read.loc[~ours & theirs, "award_id"]),
        accelerators=Share.of(named[ours & theirs]),
    )


KEYS = ["venue", "year", "row"]
HEAVY, REST = "heavy", "rest"
ANSWERS = {"verdict": ("yes", "no"), "deep": ("yes", "no"), "area": AREAS}
COLUMNS = ("id", *KEYS, "stratum", "words_area", *ANSWERS, *(f"second_{name}" for name in ANSWERS))


@dataclass(frozen=True)
class TopicsAudit:
    """What the judges' yes says of the words: right among the heavy, missed among the rest, recall of both weighted.

    The interval of recall goes from the least favourable to the most favourable ends of the two 95% Wilson intervals,
    and so is wider than 95%. The agreement is that of two judges, of the titles that both judged.
    """

    precision: Share
    missed: Share
    recall: Estimate
    agreement: Share


def read_titles(path: Path) -> pd.DataFrame:
    """Read a judged sample of titles.

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
    table = csv_table(path, COLUMNS, unique=("id",), rules=rules, remedy=RESTORE)
    return table.reset_index(drop=True).astype(dict.fromkeys(numbers, int))


def topics_audit(sample: pd.DataFrame, counts: pd.DataFrame, question: str = "verdict") -> TopicsAudit:
    """Return precision and recall of the words against one of the judges' yes-or-no questions.

    Parameters
    ----------
    sample
        A judged sample, as `read_titles` returns it.
    counts
        The population: venue, year, papers, heavy.
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

    agree, _ = agreement(sample[question], sample[f"second_{question}"])
    return TopicsAudit(precision, missed, bounded(recall, precision, missed), agree)


def area_agreement(sample: pd.DataFrame, counts: pd.DataFrame) -> tuple[Share, Share, float]:
    """Return how often the words give the judges' area: among the heavy, among the rest, weighted by the population.

    Raises
    ------
    DataError
        If a title is not judged yet.
    """
    heavy, rest = _shares(sample, "area", sample["area"] == sample["words_area"])
    weight = counts[HEAVY].sum() / counts["papers"].sum()
    return heavy, rest, float(weight * heavy.value + (1 - weight) * rest.value)


def _shares(sample: pd.DataFrame, question: str, marks: pd.Series[bool]) -> tuple[Share, Share]:
    """Return the shares that are marked, of the titles called heavy and of the rest; all must be judged."""
    for number in sample.loc[sample[question] == "", "id"][:1]:
        raise DataError(f"topics audit: {question} of title {number} is empty; judge it first.")
    heavy = sample["stratum"] == HEAVY
    return Share.of(marks[heavy]), Share.of(marks[~heavy])


# Audits by the beginning of their files' names: the question of each, and what it is about.
MATCHING = {"matching": "The rule as it stands", "matching_first": "Before its last change"}
GRANTS = {
    "Which award buys a cluster: 200 awards of the MRI and CC* programmes": {
        "nsf": "The rule as it stands, on awards that include those it was developed on",
        "nsf_first": "Before its last change, on awards that nobody had looked at",
    },
    "Which award of the CRI programme buys a cluster: 150 awards, all that the rule calls so among them": {
        "cri": "The rule as it stands, on a programme that it was not written for; one reading, whose reader had seen "
        "the rule but not what it said of an award"
    },
}
TOPICS = {"topics": "The words as they stand", "topics_first": "Before their last change"}
QUESTIONS = {
    "verdict": "the title itself names a compute-heavy topic",
    "deep": "the work most likely trains or runs deep networks",
}


def results() -> str:
    """Return the results of the audits that ship as Markdown."""
    folder = shipped("data", "audits")
    table = machines.read(folder.parent / "machines.csv")

    def each(audit: Callable[[Path, str], Any], rules: dict[str, str]) -> dict[str, Any]:
        return {rule: audit(folder, prefix) for prefix, rule in rules.items()}

    return render(
        "audits.md",
        matching=each(_matching, MATCHING),
        grants={title: each(_grants, rules) for title, rules in GRANTS.items()},
        topics=each(_topics, TOPICS),
        machines=table,
        read_twice={name: readings_agree(table, name) for name in ("device", "owner")},
    ).decode()


def _matching(folder: Path, prefix: str) -> MatchingAudit:
    verdicts = pd.read_csv(folder / f"{prefix}_sample.csv", dtype={"id": str}, keep_default_na=False)
    return matching_audit(verdicts, pd.read_csv(folder / f"{prefix}_strata.csv"))


def _grants(folder: Path, prefix: str) -> GrantsAudit:
    verdicts = pd.read_csv(folder / f"{prefix}_verdicts.csv", dtype=str, keep_default_na=False)
    return grants_audit(verdicts, pd.read_csv(folder / f"{prefix}_design.csv", dtype={"award_id": str}))


def _topics(folder: Path, prefix: str) -> tuple[Any, ...]:
    sample = read_titles(folder / f"{prefix}_sample.csv")
    counts = pd.read_csv(folder / f"{prefix}_strata.csv")
    readings = {question: topics_audit(sample, counts, column) for column, question in QUESTIONS.items()}
    return readings, *area_agreement(sample, counts)
