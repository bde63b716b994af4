"""What the readings of the three audits say, from the verdicts that ship."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from study.data import topics_audit
from study.data.grants import audit as grants_audit
from study.data.institutions import audit as matching_audit
from study.panel.shipped import shipped

READERS = (
    "All verdicts are readings by language models that were given the definitions and the texts, and neither the "
    "rule's method nor its score; a second reading was made by another instance of the same model, so that its "
    "agreement says how clear the definitions are and not how right both are. They are one reading."
)


def results(folder: Path | None = None) -> str:
    """Return the results of the audits in a folder (the one that ships, if none is given) as Markdown."""
    folder = folder or shipped("data", "audits")
    parts = [READERS, *_matching(folder), *_grants(folder), *_topics(folder)]
    return "\n\n".join(parts) + "\n"


def _matching(folder: Path) -> list[str]:
    parts = ["### Which university a string names: 400 strings with a credited university, 200 without"]
    for prefix, what in (("matching", "The rule as it stands"), ("matching_first", "Before its last change")):
        verdicts = pd.read_csv(folder / f"{prefix}_sample.csv", dtype={"id": str}, keep_default_na=False)
        found = matching_audit.summary(verdicts, pd.read_csv(folder / f"{prefix}_strata.csv"))
        lines = [
            f"{what}:",
            "",
            f"- precision, credited strings in which every credited university is named: {found.precision}",
            f"- credited strings that miss none either: {found.complete}",
            f"- strings without credit that name a university: {found.missed}",
            f"- recall, strings with all their universities credited among those that name one: {found.recall}",
            f"- weighted by papers: precision {found.precision_of_papers}, recall {found.recall_of_papers}",
            f"- read twice, same verdict: {found.agreement}; kappa {found.kappa:.2f}",
        ]
        parts.append("\n".join(lines))
    return parts


def _grants(folder: Path) -> list[str]:
    parts = ["### Which award buys a cluster: 200 awards of the MRI and CC* programmes"]
    for prefix, what in (
        ("nsf", "The rule as it stands, on awards that include those it was developed on"),
        ("nsf_first", "Before its last change, on awards that nobody had looked at"),
    ):
        verdicts = pd.read_csv(folder / f"{prefix}_verdicts.csv", dtype=str, keep_default_na=False)
        found = grants_audit.audit(
            verdicts, pd.read_csv(folder / f"{prefix}_design.csv", dtype={"award_id": str})
        )
        low, high = found.recall_interval
        lines = [
            f"{what}:",
            "",
            f"- precision: {found.precision}",
            f"- recall, each award weighted by its stratum: {found.recall:.3f} (95% {low:.3f} to {high:.3f})",
            f"- clusters on which reader and rule agree whether accelerators are named: {found.accelerators}",
        ]
        parts.append("\n".join(lines))
    return parts


def _topics(folder: Path) -> list[str]:
    parts = ["### Which titles are compute-heavy: 100 called so, 100 not"]
    for prefix, what in (("topics", "The words as they stand"), ("topics_first", "Before their last change")):
        sample = topics_audit.read(folder / f"{prefix}_sample.csv")
        counts = pd.read_csv(folder / f"{prefix}_strata.csv")
        lines = [f"{what}:", ""]
        for question, asked in (
            ("verdict", "the title itself names a compute-heavy topic"),
            ("deep", "the work most likely trains or runs deep networks"),
        ):
            found = topics_audit.reading(sample, counts, question)
            low, high = found.recall_interval
            lines.append(
                f"- {asked}: precision {found.precision}; missed among the rest {found.missed}; recall "
                f"{found.recall:.3f} ({low:.3f} to {high:.3f}); read twice, same answer: "
                f"{topics_audit.agreement(sample, question)}"
            )
        heavy, rest, weighted = topics_audit.area_agreement(sample, counts)
        lines.append(
            f"- task area, reader and words agree: {heavy} of the heavy, {rest} of the rest, {weighted:.3f} weighted"
        )
        parts.append("\n".join(lines))
    return parts
