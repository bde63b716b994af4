"""Keys of answers: all that an answer depends on, so that none is looked up after a change of any of it."""

from __future__ import annotations

from typing import Any

from study.core import code_of, key_of, root_of, versions
from study.designs import all_designs, entries
from study.panel import Panel


def answer_key(*what: object) -> str | None:
    """Return the key of an answer to what is asked, or None where not all that it depends on can be known."""
    designs = state_of_designs()
    return None if designs is None else key_of((code_of("study"), versions(), designs, what))


def panel_state(panel: Panel) -> tuple[Any, ...]:
    """Return what of a panel an answer can depend on: its data, their roles and order, its name and populations."""
    blocks = (panel.outcomes, panel.covariates, panel.first_treated, panel.treatment, panel.attributes)
    return panel.name, panel.checksum, tuple(tuple(block) for block in blocks), dict(panel.populations)


def state_of_designs() -> tuple[Any, ...] | None:
    """Return where designs are from and the state of other distributions, or None if a design is from a session.

    Nobody can say what a function that was made in a session calls there.
    """
    modules = {name: design.function.__module__ for name, design in all_designs().items()}
    roots = {root_of(entry.module) for entry in entries()}
    if not {*map(root_of, modules.values())} <= {"study", *roots}:
        return None
    codes = tuple((root, code_of(root)) for root in sorted(roots))
    names = tuple(entry.dist.name for entry in entries() if entry.dist is not None)
    return modules, codes, versions(names)
