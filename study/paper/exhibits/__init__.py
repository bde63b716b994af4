"""The exhibits of the paper and of the report page: one a file, each a function of a setting with its decorator."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from study.core import refuse_unknown
from study.paper.exhibits.exhibit import REGISTERED, Exhibit


def find_exhibit(name: str) -> Exhibit:
    """Return an exhibit by name, which is that of its file and of its function.

    Raises
    ------
    QuestionError
        If there is none of that name.
    """
    names = [module.name for module in pkgutil.iter_modules(__path__) if module.name != "exhibit"]
    refuse_unknown("exhibit", name, names, "study.toml, exhibits")
    import_module(f"{__name__}.{name}")
    return REGISTERED[name]
