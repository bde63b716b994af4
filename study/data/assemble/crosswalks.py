"""The tables that say which string was taken for which institution."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from study.data.institutions import Hit
from study.data.institutions.credit import Sites

# Pieces that stayed unmatched are listed from this many papers on: below it most name a person's own unit or street.
MINIMUM_UNMATCHED = 3


def sites(matched: Sites) -> pd.DataFrame:
    """Return one row a site of a supercomputer and institution, or one without where none was found."""
    records = [
        {"site": site, "country": country, **_columns(hit)}
        for (site, country), hits in sorted(matched.items())
        for hit in hits or (Hit(site, None, "unmatched"),)
    ]
    return pd.DataFrame(records)


def affiliations(pieces: Mapping[Hit, int]) -> pd.DataFrame:
    """Return every piece of an affiliation that was matched, and what stayed unmatched in several papers."""
    records = [
        {"segment": hit.piece, **_columns(hit), "papers": count}
        for hit, count in pieces.items()
        if hit.entity is not None or (hit.method in ("ambiguous", "unmatched") and count >= MINIMUM_UNMATCHED)
    ]
    return pd.DataFrame(records).sort_values(
        ["segment", "institution", "country_of_institution"], ignore_index=True
    )


def _columns(hit: Hit) -> dict[str, str]:
    entity = hit.entity
    return {
        "institution": entity.name if entity else "",
        "country_of_institution": entity.country if entity else "",
        "kind": entity.kind if entity else "",
        "method": hit.method,
        "score": f"{hit.score:.1f}",
    }
