"""Does compute access cause changes in academic representation in machine-learning research?

Panels of institutions x years with compute-access events, difference-in-differences and double-ML designs
under one contract, and the LaTeX tables of the paper.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from study.core.version import __version__ as __version__

if TYPE_CHECKING:
    from study import diagnostics, heterogeneity
    from study.core.errors import DataError, OutputError, QuestionError, StudyError
    from study.core.work import working
    from study.designs import Design, all_designs, design, estimate
    from study.estimates.estimand import Estimand
    from study.estimates.estimate import Estimate
    from study.inference.comparison import Comparison, compare
    from study.inference.families import adjusted_p_values
    from study.inference.joined import joint
    from study.inference.leave_out import cr3, leave_one_cluster_out
    from study.inference.permuted import randomization
    from study.inference.wild import wild_bootstrap
    from study.panel.panel import Panel, load_panel
    from study.panel.question import Question, Sample


_HOMES = {
    "Comparison": "study.inference.comparison",
    "DataError": "study.core.errors",
    "Design": "study.designs",
    "Estimand": "study.estimates.estimand",
    "Estimate": "study.estimates.estimate",
    "OutputError": "study.core.errors",
    "Panel": "study.panel.panel",
    "Question": "study.panel.question",
    "QuestionError": "study.core.errors",
    "Sample": "study.panel.question",
    "StudyError": "study.core.errors",
    "adjusted_p_values": "study.inference",
    "all_designs": "study.designs",
    "compare": "study.inference.comparison",
    "cr3": "study.inference.leave_out",
    "design": "study.designs",
    "estimate": "study.designs",
    "joint": "study.inference.joined",
    "leave_one_cluster_out": "study.inference.leave_out",
    "load_panel": "study.panel.panel",
    "randomization": "study.inference.permuted",
    "wild_bootstrap": "study.inference.wild",
    "working": "study.core.work",
}

_ROOMS = ("diagnostics", "heterogeneity")

__all__ = [
    "Comparison",
    "DataError",
    "Design",
    "Estimand",
    "Estimate",
    "OutputError",
    "Panel",
    "Question",
    "QuestionError",
    "Sample",
    "StudyError",
    "adjusted_p_values",
    "all_designs",
    "compare",
    "cr3",
    "design",
    "diagnostics",
    "estimate",
    "heterogeneity",
    "joint",
    "leave_one_cluster_out",
    "load_panel",
    "randomization",
    "wild_bootstrap",
    "working",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that ``study --help`` answers at once."""
    if name in _ROOMS:
        return import_module(f"study.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
