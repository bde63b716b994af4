"""bacondecomp (Flack and Jee) as a question to goodman_bacon: every comparison, its weight, and their sum."""

from __future__ import annotations

from typing import Any

import goldens
import numpy as np

from references.comparison import Comparison, Numbers, fit, matched
from references.fixest import question
from study.diagnostics.two_way_weights import Kind, goodman_bacon

KINDS = {
    "never treated": "Treated vs Untreated",
    "treated after the window": "Treated vs Untreated",
    "treated later": "Earlier vs Later Treated",
    "already treated": "Later vs Earlier Treated",
}


def bacondecomp(panel: str, run: dict[str, Any]) -> Comparison:
    """Return the estimate and the weight of every comparison, by kind, treated and untreated date."""
    asked = question("y", "twfe", "cl_unit")
    made = goodman_bacon(asked.sample(goldens.panel(panel, "unit")))
    assert Kind.AFTER_WINDOW not in set(made.frame["kind"]), (
        "bacondecomp would not tell these from the never-treated"
    )
    coefficient = float(fit(panel, asked, "twfe").effect[0])
    ours: Numbers = {
        "weighted_sum": (made["coefficient"], np.nan),
        "twfe": (coefficient, np.nan),
    }
    for row in made.frame.itertuples():
        pair = KINDS[row.kind], row.treated, None if row.kind == Kind.NEVER else float(row.compared)
        ours["estimate", *pair] = row.estimate, np.nan
        ours["weight", *pair] = row.weight, np.nan
    theirs = [{"term": term, "estimate": run[term]} for term in ("weighted_sum", "twfe")]
    for part in run["decomposition"]:
        pair = part["type"], part["treated"], part["untreated"]
        theirs += [{"term": (what, *pair), "estimate": part[what]} for what in ("estimate", "weight")]
    counts = {"comparisons": (len(made.frame), len(run["decomposition"]))}
    return Comparison(matched(ours, theirs), counts)
