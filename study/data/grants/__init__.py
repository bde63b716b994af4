"""What awards of NSF's instrument and campus programmes bought, which contest they won, and whose they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from study.data.grants.bought import accelerators, bought, contest, first_issues, programme


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
        kind (one of ``bought.KINDS``), reason (where the phrase stands that decided, and the phrase),
        accelerators (the first word for one in title or abstract, or empty) and reissue_of (the number of the
        award of which this one is the re-issue, or empty).
    """
    named = [
        programme(*texts) for texts in _columns(awards, "title", "programme_elements", "programme_references")
    ]
    chosen = awards.assign(programme=named)
    chosen = chosen[chosen["programme"] != ""].reset_index(drop=True)
    again = first_issues(_columns(chosen, "award_id", "title", "abstract", "expires"))
    first = [again.get(number, "") for number in chosen["award_id"]]
    found = [bought(*texts) for texts in _columns(chosen, "programme", "title", "abstract")]
    proposed = chosen.assign(
        award_id=[one or own for one, own in zip(first, chosen["award_id"], strict=True)]
    )
    return chosen.assign(
        contest=[contest(*texts) for texts in _columns(proposed, "programme", "award_id", "title")],
        kind=[kind for kind, _ in found],
        reason=[reason for _, reason in found],
        accelerators=[accelerators(*texts) for texts in _columns(chosen, "title", "abstract")],
        reissue_of=first,
    )


def _columns(table: pd.DataFrame, *names: str) -> Iterator[Any]:
    return table[list(names)].itertuples(index=False, name=None)
