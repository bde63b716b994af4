"""qte (Callaway) as questions to changes_in_changes: the mean effect and nineteen quantiles."""

from __future__ import annotations

from functools import cache
from typing import Any

import goldens
import numpy as np
import pandas as pd

from references.comparison import Comparison, matched
from study import Panel, Question, estimate

QUANTILES = tuple(np.round(np.arange(0.05, 0.96, 0.05), 2).tolist())


@cache
def panel(name: str) -> Panel:
    """Return a reference panel."""
    path = goldens.panel_file(name)
    assert path is not None
    columns: dict[str, Any] = {
        "outcomes": ["y", "y_disc"],
        "covariates": "w",
        "first_treated": "first_treated",
    }
    return Panel.from_long(pd.read_csv(path), unit="unit", time="time", **columns)


def qte(name: str, run: dict[str, Any]) -> Comparison:
    """Return a run of cic; its errors are bootstrapped."""
    question = Question(
        "y_disc" if run["id"] == "cic_disc" else "y",
        "first_treated",
        weights="w" if "weightsname" in run["call"] else None,
        missing="cells" if "panel=FALSE" in run["call"] else "pairs",
    )
    fit = estimate(panel(name), question, "changes_in_changes", quantiles=QUANTILES)
    names = ["ATT", *(f"QTT_{level:.2f}" for level in QUANTILES)]
    ours = {term: (effect, np.nan) for term, effect in zip(names, fit.effect[~fit.reference], strict=True)}
    return Comparison(matched(ours, [{**reported, "se": None} for reported in run["terms"]]))
