"""What the data say against an estimate's assumptions, a file for each kind of question.

Each is a function of an Estimate, or of a Sample and a design where it refits, under the decorator
:func:`study.diagnostics.finding.diagnostic`, and answers with a :class:`study.diagnostics.finding.Finding`: a verdict,
its evidence, a table and a figure. A file of this folder that registers one is all it takes to add it.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import Any

from study.diagnostics.finding import Diagnostic, Finding, Needs, Section, all_diagnostics, diagnostic
from study.diagnostics.finding import titled as titled
from study.diagnostics.refits import Refits as Refits
from study.diagnostics.refits import at_each as at_each
from study.diagnostics.refits import dots as dots
from study.diagnostics.refits import equivalence_p as equivalence_p
from study.diagnostics.refits import event_dates as event_dates
from study.diagnostics.refits import excluded as excluded
from study.diagnostics.refits import headline as headline
from study.diagnostics.refits import redated as redated
from study.diagnostics.refits import refit as refit
from study.diagnostics.refits import refuse_group as refuse_group
from study.diagnostics.refits import refuse_no_coefficients as refuse_no_coefficients
from study.diagnostics.refits import with_error as with_error

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
_functions = {each.function.__name__: each.function for each in all_diagnostics().values()}
globals().update(_functions)

__all__ = ["Diagnostic", "Finding", "Needs", "Section", "all_diagnostics", "diagnostic"]
__all__ += sorted(_functions)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"There is no diagnostic {name!r}; there are {', '.join(sorted(__all__))}.")
