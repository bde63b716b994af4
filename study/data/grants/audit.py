"""How right the rule is: a sample to be read by somebody who does not know what the rule said, and what follows.

Two samples ship, each as the drawn numbers, the design (with what the rule said when the sample was drawn) and what
the reader said. The first (``nsf_first_*``) came from 1304 awards that nobody had worked with, three in ten of all,
and judged the rule before its last change: the awards that the rule missed in it led to that change, so
that it says nothing of the rule as it stands. The second (``nsf_*``) judges the rule as it stands; it was drawn from
all other awards than the 200 of the first, among them those on which the rule was developed. It is a fresh reading,
but no test on awards that the rule has never met.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from study.core import DataError
from study.data.audit import Share
from study.data.grants import words
from study.data.grants.bought import CLUSTER
from study.data.grants.contests import CC

# Awards are drawn by how near they are to a computer. Those of the last stratum name nothing of the kind in title or
# abstract, so that nobody could read a cluster into them; a few are read all the same.
STRATA = ("cluster", "campus", "near", "mention", "none")
# How the second sample was drawn.
SIZES = {"cluster": 60, "near": 80, "campus": 30, "mention": 20, "none": 10}
SEED = 20261127
YES, NO = "cluster", "not_cluster"

_MENTION = words.words(
    r"\w*comput\w*",
    r"cluster\w*",
    r"servers?\b",
    r"\w*GPU\w*",
    r"processors?\b",
    r"HPC\w*",
    r"cyber\w*",
    r"cores\b",
)


@dataclass(frozen=True)
class Audit:
    """What a read sample says of the rule.

    Attributes
    ----------
    precision : Share
        Of the awards that the rule calls clusters, those that the reader calls so.
    recall : float
        Of the clusters, those that the rule finds; each award read stands for as many as its weight says.
    recall_interval : tuple of float
        From Wilson's 95% interval of the share of clusters among the awards that the rule calls none, at
        Kish's effective size of that part of the sample; without the stratum that names no computing at all.
    missed, mistaken : tuple of str
        Numbers of the awards that are clusters to the reader alone, and to the rule alone.
    accelerators : Share
        Clusters of which reader and rule say the same on whether accelerators are named.
    """

    precision: Share
    recall: float
    recall_interval: tuple[float, float]
    missed: tuple[str, ...]
    mistaken: tuple[str, ...]
    accelerators: Share


def stratum(record: Mapping[str, str]) -> str:
    """Return the stratum of a classified award."""
    if record["kind"] == CLUSTER:
        return "cluster"
    if record["programme"] == CC:
        return "campus"
    title, abstract = record["title"], record["abstract"]
    if words.HINT.search(title) or words.COMPUTING.search(title) or words.BOUGHT.search(abstract):
        return "near"
    return "mention" if _MENTION.search(f"{title} {abstract}") else "none"


def draw(classified: pd.DataFrame, sizes: Mapping[str, int], seed: int) -> pd.DataFrame:
    """Draw a sample by strata.

    Returns
    -------
    DataFrame
        award_id, stratum, population and sampled (awards of the stratum in the table that was drawn from, and
        how many of them were drawn), kind and accelerators (0/1) as the rule says. By number, so
        that the order tells nothing. A stratum of fewer awards is taken whole.
    """
    strata = pd.Series([stratum(record) for record in classified.to_dict("records")], classified.index)
    generator = np.random.default_rng(seed)
    parts = []
    for name in STRATA:
        numbers = np.sort(classified.loc[strata == name, "award_id"].to_numpy(str))
        chosen = generator.permutation(numbers)[: sizes.get(name, 0)]
        parts.append(
            pd.DataFrame(
                {"award_id": chosen, "stratum": name, "population": len(numbers), "sampled": len(chosen)}
            )
        )
    said = classified[["award_id", "kind"]].assign(
        accelerators=(classified["accelerators"] != "").astype(int)
    )
    return pd.concat(parts).merge(said, on="award_id").sort_values("award_id", ignore_index=True)


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
    twice = verdicts.loc[verdicts["award_id"].duplicated(), "award_id"]
    if len(twice):
        raise DataError(f"audit: award {twice.iloc[0]} has two verdicts; keep one.")
    read = design.merge(verdicts, on="award_id", how="left", suffixes=("", "_read"))
    odd = read.loc[~read["verdict"].isin([YES, NO]), "award_id"]
    if len(odd):
        raise DataError(f'audit: award {odd.iloc[0]} has no verdict "{YES}" or "{NO}"; judge it.')
    ours, theirs = read["kind"] == CLUSTER, read["verdict"] == YES
    weight = read["population"] / read["sampled"]
    found = float(weight[ours & theirs].sum())
    out = ~ours & (read["stratum"] != "none")
    low, high = _share(theirs[out], weight[out])
    total = float(weight[out].sum())
    named = (read["accelerators"] == 1) == (read["accelerators_read"] == "yes")
    both = ours & theirs
    return Audit(
        precision=Share(int(both.sum()), int(ours.sum())),
        recall=found / (found + float(weight[~ours & theirs].sum())),
        recall_interval=(found / (found + high * total), found / (found + low * total)),
        missed=tuple(read.loc[~ours & theirs, "award_id"]),
        mistaken=tuple(read.loc[ours & ~theirs, "award_id"]),
        accelerators=Share(int((named & both).sum()), int(both.sum())),
    )


def _share(yes: pd.Series, weight: pd.Series) -> tuple[float, float]:
    """Return Wilson's interval of a weighted share at Kish's effective size (0 to 1 of an empty sample)."""
    if not len(yes):
        return 0.0, 1.0
    total = float(weight.sum())
    size = total**2 / float((weight**2).sum())
    low, high = proportion_confint(float(weight[yes].sum()) / total * size, size, method="wilson")
    return float(low), float(high)
