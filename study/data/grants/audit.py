"""How right the rule is: a sample to be read by somebody who does not know what the rule said, and what follows.

Two samples ship, each as the drawn numbers, the design (with what the rule said when the sample was drawn) and what
the reader said. The first (``nsf_first_*``) came from 1304 awards that nobody had worked with, three in ten of all,
and judged the rule before its last change: the awards that the rule missed in it led to that change, so
that it says nothing of the rule as it stands. The second (``nsf_*``) judges the rule as it stands; it was drawn from
all other awards than the 200 of the first, among them those on which the rule was developed. It is a fresh reading,
but no test on awards that the rule has never met.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from study.core import DataError
from study.data.audit import Estimate, Share, weighted
from study.data.grants.bought import CLUSTER

YES, NO = "cluster", "not_cluster"


@dataclass(frozen=True)
class Audit:
    """What a read sample says of the rule.

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


def audit(verdicts: pd.DataFrame, design: pd.DataFrame) -> Audit:
    """Compare the rule with a reader.

    Parameters
    ----------
    verdicts : DataFrame
        award_id, verdict ("cluster" or "not_cluster"), accelerators ("yes" or "no").
    design : DataFrame
        Of ``draw``, by the rule that is judged.

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
    return Audit(
        precision=Share.of(theirs[ours]),
        recall=Estimate(*(clusters / (clusters + each) for each in missed)),
        missed=tuple(read.loc[~ours & theirs, "award_id"]),
        accelerators=Share.of(named[ours & theirs]),
    )
