"""Who gains from the event, and who should be given it: effects by group and unit, and the allocation of grants.

Everything here is about the change of a unit's outcome over the window (:mod:`study.designs.long_change`) and
rests on the same doubly robust scores, made once by :func:`score`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from study.heterogeneity.allocation import Policy, policy
    from study.heterogeneity.calibrated import Calibration, calibration
    from study.heterogeneity.causal_forest import ForestEffects, forest
    from study.heterogeneity.group_effects import GroupEffects, effects_by_group
    from study.heterogeneity.page import Gains, report
    from study.heterogeneity.scored import Scores, score

_HOMES = {
    "Calibration": "calibrated",
    "ForestEffects": "causal_forest",
    "Gains": "page",
    "GroupEffects": "group_effects",
    "Policy": "allocation",
    "Scores": "scored",
    "calibration": "calibrated",
    "effects_by_group": "group_effects",
    "forest": "causal_forest",
    "policy": "allocation",
    "report": "page",
    "score": "scored",
}

__all__ = [
    "Calibration",
    "ForestEffects",
    "Gains",
    "GroupEffects",
    "Policy",
    "Scores",
    "calibration",
    "effects_by_group",
    "forest",
    "policy",
    "report",
    "score",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"study.heterogeneity.{_HOMES[name]}"), name)
