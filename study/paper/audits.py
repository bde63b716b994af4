"""What the readings of the audits say, from the verdicts that ship."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from study.data.assemble import machines
from study.data.audits import (
    GrantsAudit,
    MatchingAudit,
    area_agreement,
    grants_audit,
    matching_audit,
    read_titles,
    readings_agree,
    topics_audit,
)
from study.panel import shipped
from study.report import render

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
    grants = {
        title: {rule: _grants(folder, prefix) for prefix, rule in rules.items()}
        for title, rules in GRANTS.items()
    }
    return render(
        "audits.md",
        matching={rule: _matching(folder, prefix) for prefix, rule in MATCHING.items()},
        grants=grants,
        topics={words: _topics(folder, prefix) for prefix, words in TOPICS.items()},
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
