"""Does compute access cause changes in academic representation in machine-learning research?

Panels of institutions x years with compute-access events, difference-in-differences and double-ML designs
under one contract, and the LaTeX tables of the paper.
"""

import lazy_loader

from study.core import __version__ as __version__

__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)

# What dir() lists, in the order of the documentation's index; all of ``__all__`` can be imported.
INDEX = (
    *("load_panel", "Panel", "LargePanel", "Question"),
    *("estimate", "did", "compare", "joint", "adjusted_p_values"),
    *("table", "event_plot", "Estimate", "Comparison", "load_estimate"),
    *("diagnostics", "heterogeneity"),
    *("randomization", "few_treated", "conformal", "wild_bootstrap", "cr3", "leave_one_cluster_out"),
    *("all_designs", "Design", "design", "Estimand"),
    *("tournament", "calibrate", "settings", "StudyError"),
)


def __dir__() -> list[str]:
    return list(INDEX)
