"""Tables of many outcomes, as several with some columns each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from study.inference import Comparison
from study.report.table import Table

COLUMNS = 4


def pages(
    comparisons: Sequence[Comparison],
    made: Callable[[Sequence[Comparison], str], Table],
    columns: int = 1,
) -> list[Table]:
    """Return a table of comparisons, or several with as many of the outcomes as :data:`COLUMNS` allows.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Of the same outcomes, one a scale.
    made : callable
        Makes the table of comparisons; its second argument is what the caption says of the outcomes.
    columns : int
        Of an outcome.
    """
    outcomes, each = comparisons[0].outcomes, COLUMNS // columns
    tables = []
    for first in range(0, len(outcomes), each):
        which = range(first, min(first + each, len(outcomes)))
        some = [c.about(outcomes[which.start : which.stop]) for c in comparisons]
        tables.append(made(some, _counted(which, len(outcomes))))
    if len(tables) == 1:
        return tables
    return [replace(table, name=f"{table.name}-{k}") for k, table in enumerate(tables, start=1)]


def _counted(which: range, total: int) -> str:
    """Say which of the outcomes a table has, or nothing where it has all."""
    if len(which) == total:
        return ""
    if len(which) == 1:
        return f" (outcome {which.stop} of {total})"
    return f" (outcomes {which.start + 1} to {which.stop} of {total})"
