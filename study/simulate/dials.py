"""The dials of a simulated panel: one a violation or a feature, each with its unit and its range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple

from study.core import QuestionError, refuse_unknown


class Dial(NamedTuple):
    """What can be turned: its unit, its range, where it stands without calibration, and what it does."""

    unit: str
    low: float
    high: float
    neutral: float
    does: str


NO_EFFECT = "no effect"  # the title of a process in which tests are of their size
MEAN = "share of the counterfactual mean"
DIALS: dict[str, Dial] = {
    "effect": Dial(MEAN, -0.9, 10.0, 0.0, "average effect of treatment"),
    "heterogeneity": Dial("standard deviation between units, share of the effect", 0.0, 2.0, 0.0,
                          "effects that differ between units"),
    "dynamics": Dial("share of the first effect, a period since treatment", -0.5, 2.0, 0.0, "growth of effects"),
    "early": Dial("share of the effect, a period of adoption", -0.5, 0.5, 0.0, "larger effects of earlier cohorts"),
    "dose": Dial("elasticity of the effect, where there is a dose", 0.0, 2.0, 1.0, "effects that grow with the dose"),
    "size_growth": Dial("share of growth", 0.0, 2.0, 0.0, "growth in proportion to a unit's size"),
    "factor": Dial("standard deviation between units, share of the mean, first to last period", 0.0, 3.0, 0.0,
                   "an unobserved factor that units load on differently"),
    "shocks": Dial("standard deviation, share of the mean", 0.0, 3.0, 0.0, "shocks beyond Poisson noise"),
    "persistence": Dial("autocorrelation", 0.0, 0.99, 0.0, "how long shocks last"),
    "zeros": Dial("share of unit-periods", 0.0, 0.9, 0.0, "zeros beyond those of the counts, at the same mean"),
    "selection": Dial("multiple of the fitted hazard", -5.0, 5.0, 0.0, "adoption by recent growth"),
    "trends": Dial("share of the mean, first to last period", -0.9, 10.0, 0.0, "adopters that grow more anyway"),
    "linear": Dial("share of the mean, first to last period, a standard deviation of the covariate", -0.9, 3.0, 0.0,
                   "growth and adoption that depend on a covariate linearly"),
    "nonlinear": Dial("share of the mean, first to last period, a standard deviation of the square", -0.9, 3.0, 0.0,
                      "growth and adoption that depend on a covariate's square, beyond what is linear"),
    "anticipation": Dial("share of the effect", 0.0, 1.0, 0.0, "an effect in the period before treatment"),
    "spillovers": Dial("share of the effect", -1.0, 1.0, 0.0, "what untreated neighbours of the treated have of it"),
    "hidden": Dial("share of the never-treated", 0.0, 0.9, 0.0, "treatment that is not recorded"),
    "unfounded": Dial("share of the recorded events", 0.0, 0.9, 0.0, "events without treatment"),
    "reversal": Dial("share of the treated, a period", 0.0, 0.9, 0.0, "treatment that is lost and recorded as kept"),
    "missing": Dial("share of unit-periods", 0.0, 0.9, 0.0, "cells that are not observed besides those of the panel"),
}  # fmt: skip


def effect_title(effect: float) -> str:
    """Return what the calibrated process with an effect is called."""
    return f"effect of {100 * effect:g}%" if effect else NO_EFFECT


def checked_dials(dials: Mapping[str, float], who: str) -> dict[str, float]:
    """Return dials as numbers, or refuse an unknown name or a value outside its range in one line."""
    refuse_unknown("dial", dials, DIALS, who)
    for name, value in dials.items():
        dial = DIALS[name]
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and dial.low <= value <= dial.high):
            raise QuestionError(
                f"{who}: dial {name} is {value}; it is from {dial.low:g} to {dial.high:g} ({dial.unit})."
            )
    return {name: float(value) for name, value in dials.items()}
