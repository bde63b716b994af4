"""The designs of the catalogue by name, with the options that make estimators of their own of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import simulated

from study import Estimate, Panel, Question, estimate

ASKED = Question("y", "event")
Options = Mapping[str, Any]
LINEAR: dict[str, tuple[str, Options]] = {
    "callaway_santanna": ("callaway_santanna", {}),
    "sun_abraham": ("sun_abraham", {}),
    "imputation": ("imputation", {"leads": 0}),
    "etwfe": ("etwfe", {"effects": "cohort"}),
    "etwfe unit": ("etwfe", {"effects": "unit"}),
    "stacked": ("stacked", {"before": 2, "after": 1}),
}
POISSON: dict[str, tuple[str, Options]] = {
    "etwfe poisson": ("etwfe", {"family": "poisson", "effects": "cohort"}),
    "etwfe poisson unit": ("etwfe", {"family": "poisson", "effects": "unit"}),
}
GROUP_TIME = LINEAR | POISSON
OTHERS: dict[str, tuple[str, Options]] = {
    "lee_wooldridge": ("lee_wooldridge", {}),
    "lee_wooldridge detrend": ("lee_wooldridge", {"transform": "detrend"}),
    "twfe": ("twfe", {}),
    "panel_ols": ("panel_ols", {}),
    "event_study": ("event_study", {}),
    "lp_did": ("lp_did", {"weighting": "equal"}),
    "dcdh": ("dcdh", {}),
    "poisson_twfe one": ("poisson_twfe", {"terms": "treatment"}),
    "poisson_twfe events": ("poisson_twfe", {"terms": "event_time"}),
    "dml_did": ("dml_did", {"folds": 2, "repetitions": 1}),
    "dml_irm": ("dml_irm", {"folds": 2, "repetitions": 1}),
    "dml_panel": ("dml_panel", {"folds": 2, "repetitions": 1}),
    "dml_panel within": ("dml_panel", {"approach": "within", "folds": 2, "repetitions": 1}),
    "dml_stacked": ("dml_stacked", {"folds": 2, "repetitions": 1}),
    "synthetic_did": ("synthetic_did", {}),
    "synthetic_did control": ("synthetic_did", {"method": "synthetic_control"}),
    "generalized_synthetic_control": ("generalized_synthetic_control", {}),
    "changes_in_changes": ("changes_in_changes", {}),
    "matrix_completion": ("matrix_completion", {}),
}
EVERY = GROUP_TIME | OTHERS
# They need a panel without gaps, and are asked of the units that have none.
OF_BLOCKS = {"synthetic_did", "generalized_synthetic_control"}
WITHOUT_GAPS = OF_BLOCKS | {"lee_wooldridge"}
# Its invariances are tested in its own file, since it takes no weights.
OF_FACTORS = {"matrix_completion"}
# They ask for something that the other designs refuse.
WITH_QUESTIONS_OF_THEIR_OWN = {
    "dml_iv",
    "dose_response",
    "heterogeneous_adoption",
    "iv",
    "three_way",
    "triple_difference",
}


def answer(name: str, panel: Panel, question: Question = ASKED) -> Estimate:
    """Return the answer of one of the designs."""
    design, options = EVERY[name]
    asked = question.replace(missing="balanced") if design in WITHOUT_GAPS else question
    return estimate(panel, asked, design, **options)


def suited(name: str, panel: Panel) -> Panel:
    """Return the panel, of counts for a Poisson regression."""
    return simulated.counts(panel) if "poisson" in name else panel


def finite(fit: Estimate) -> bool:
    """Say whether all terms and the average have an effect and, but for references, an error."""
    return all(
        np.isfinite(made.effect).all() and np.isfinite(made.std_error[~made.reference]).all()
        for made in (fit, fit.headline)
    )
