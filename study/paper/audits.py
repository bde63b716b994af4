"""What the readings of the audits say, from the verdicts that ship."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from study.data.assemble import machines
from study.data.audits import (
    area_agreement,
    grants_audit,
    matching_audit,
    read_titles,
    readings_agree,
    topics_audit,
)
from study.panel.shipped import shipped

READERS = (
    "All verdicts are readings by language models that were given the definitions and the texts, and neither the "
    "rule's method nor its score; a second reading was made by another instance of the same model, so that its "
    "agreement says how clear the definitions are and not how right both are. They are one reading."
)
KNOWING = "one reading, whose reader had seen the rule but not what it said of an award"
QUESTIONS = {
    "verdict": "the title itself names a compute-heavy topic",
    "deep": "the work most likely trains or runs deep networks",
}


def results(folder: Path | None = None) -> str:
    """Return the results of the audits in a folder (the one that ships, if none is given) as Markdown."""
    folder = folder or shipped("data", "audits")
    parts = [
        READERS,
        "### Which university a string names: 400 strings with a credited university, 200 without",
        _matching(folder, "matching", "The rule as it stands"),
        _matching(folder, "matching_first", "Before its last change"),
        "### Which award buys a cluster: 200 awards of the MRI and CC* programmes",
        _grants(folder, "nsf", "The rule as it stands, on awards that include those it was developed on"),
        _grants(folder, "nsf_first", "Before its last change, on awards that nobody had looked at"),
        "### Which award of the CRI programme buys a cluster: 150 awards, all that the rule calls so among them",
        _grants(
            folder, "cri", f"The rule as it stands, on a programme that it was not written for; {KNOWING}"
        ),
        "### Which titles are compute-heavy: 100 called so, 100 not",
        _topics(folder, "topics", "The words as they stand"),
        _topics(folder, "topics_first", "Before their last change"),
        _machines(folder.parent / "machines.csv"),
    ]
    return "\n\n".join(parts) + "\n"


def _matching(folder: Path, prefix: str, rule: str) -> str:
    verdicts = pd.read_csv(folder / f"{prefix}_sample.csv", dtype={"id": str}, keep_default_na=False)
    audit = matching_audit(verdicts, pd.read_csv(folder / f"{prefix}_strata.csv"))
    return f"""{rule}:

- precision, credited strings in which every credited university is named: {audit.precision}
- credited strings that miss none either: {audit.complete}
- strings without credit that name a university: {audit.missed}
- recall, strings with all their universities credited among those that name one: {audit.recall}
- weighted by papers: precision {audit.precision_of_papers}, recall {audit.recall_of_papers}
- read twice, same verdict: {audit.agreement}; kappa {audit.kappa:.2f}"""


def _grants(folder: Path, prefix: str, rule: str) -> str:
    verdicts = pd.read_csv(folder / f"{prefix}_verdicts.csv", dtype=str, keep_default_na=False)
    design = pd.read_csv(folder / f"{prefix}_design.csv", dtype={"award_id": str})
    audit = grants_audit(verdicts, design)
    return f"""{rule}:

- precision: {audit.precision}
- recall, each award weighted by its stratum: {audit.recall}
- clusters on which reader and rule agree whether accelerators are named: {audit.accelerators}"""


def _topics(folder: Path, prefix: str, words: str) -> str:
    sample = read_titles(folder / f"{prefix}_sample.csv")
    counts = pd.read_csv(folder / f"{prefix}_strata.csv")
    lines = [f"{words}:", ""]
    for column, question in QUESTIONS.items():
        reading = topics_audit(sample, counts, column)
        low, high = reading.recall.interval
        lines.append(
            f"- {question}: precision {reading.precision}; missed among the rest {reading.missed}; recall "
            f"{reading.recall.value:.3f} ({low:.3f} to {high:.3f}); read twice, same answer: {reading.agreement}"
        )
    heavy, rest, weighted = area_agreement(sample, counts)
    lines.append(
        f"- task area, reader and words agree: {heavy} of the heavy, {rest} of the rest, {weighted:.3f} weighted"
    )
    return "\n".join(lines)


def _machines(path: Path) -> str:
    table = machines.read(path)
    (device, device_kappa), (owner, owner_kappa) = (
        readings_agree(table, name) for name in ("device", "owner")
    )
    return f"""### What a machine is and whose: all {len(table)} of `machines.csv`, read twice

- device, both readers say the same: {device}; kappa {device_kappa:.2f}
- owner, both readers say the same: {owner}; kappa {owner_kappa:.2f}"""
