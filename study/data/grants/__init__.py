"""What awards of NSF's instrument and campus programmes bought, which contest they won, and whose they are."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from study.data.grants.bought import (
    CLUSTER,
    KINDS,
    NETWORK,
    OTHER,
    OTHER_INSTRUMENT,
    STORAGE,
    accelerators,
    bought,
)
from study.data.grants.contests import CC, MRI, contest, first_issues, programme

__all__ = [
    "CC",
    "CLUSTER",
    "KINDS",
    "MRI",
    "NETWORK",
    "OTHER",
    "OTHER_INSTRUMENT",
    "STORAGE",
    "classify",
    "concerned",
]


def concerned(record: Mapping[str, str]) -> bool:
    """Tell whether an award is of one of the two programmes: what ``study.data.sources.nsf.read`` may ``keep``."""
    return bool(programme(record["title"], record["programme_elements"], record["programme_references"]))


def classify(awards: pd.DataFrame) -> pd.DataFrame:
    """Tell what each award of the two programmes bought.

    Parameters
    ----------
    awards : DataFrame
        The table of ``study.data.sources.nsf.read``.

    Returns
    -------
    DataFrame
        The awards of MRI and CC* with all their columns, and: programme ("MRI" or "CC*"), contest,
        kind (one of ``KINDS``), reason (where the phrase stands that decided, and the phrase),
        accelerators (the first word for one in title or abstract, or empty) and reissue_of (the number of the
        award of which this one is the re-issue, or empty).
    """
    records = awards.to_dict("records")
    chosen = [
        (record, name)
        for record in records
        if (name := programme(record["title"], record["programme_elements"], record["programme_references"]))
    ]
    again = first_issues(
        (record["award_id"], record["title"], record["abstract"], record["expires"]) for record, _ in chosen
    )
    rows = []
    for record, name in chosen:
        title, abstract = record["title"], record["abstract"]
        kind, reason = bought(name, title, abstract)
        first = again.get(record["award_id"], "")
        rows.append(
            {
                **record,
                "programme": name,
                "contest": contest(name, first or record["award_id"], title),
                "kind": kind,
                "reason": reason,
                "accelerators": accelerators(title, abstract),
                "reissue_of": first,
            }
        )
    added = ["programme", "contest", "kind", "reason", "accelerators", "reissue_of"]
    return pd.DataFrame(rows, columns=[*awards.columns, *added])
