"""Every row of a table that breaks a rule of its columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.panel.rows import Rows
from study.panel.rules import Roles, Rule, panel_rules

COLUMNS = ["column", "rule", "unit", "time", "line", "value"]
TABLE = "the table"
FILLED = "must have rows"
PRESENT = "must be a column of the table"
SINGLE = "must be one column only"


def violations(
    table: pd.DataFrame,
    roles: Roles,
    more: Iterable[Rule] = (),
    lines: NDArray[np.int64] | None = None,
) -> pd.DataFrame:
    """Return every row that breaks a rule of a panel.

    Parameters
    ----------
    table : DataFrame
        One row a unit and period.
    roles : Roles
    more : iterable of Rule
        Rules beside those that any panel keeps.
    lines : ndarray of int, shape (rows,), optional
        Line of the file on which each row stands; rows are counted from one without it.

    Returns
    -------
    DataFrame
        column, rule (the rest of a sentence that begins with the column), unit, time, line, value (of the
        cell); a rule about the table as a whole has no unit, time, line and value. Rules come in the
        order in which a panel is checked, rows in that of the table.
    """
    rules: dict[tuple[str, str], Rule] = {}
    for rule in (*panel_rules(roles), *more):
        rules.setdefault((rule.column, rule.text), rule)
    columns = dict.fromkeys([*roles.columns, *(column for column, _ in rules)])
    return broken_rows(Rows(table, lines, roles.unit, roles.time), columns, rules.values())


def broken_rows(rows: Rows, columns: Iterable[str], rules: Iterable[Rule]) -> pd.DataFrame:
    """Return every row of any table that breaks a rule, as :func:`violations` does."""
    parts = list(_broken(rows, columns, rules)) or [pd.DataFrame(columns=COLUMNS)]
    return pd.concat(parts, ignore_index=True).astype({"line": "Int64"})


def _broken(rows: Rows, columns: Iterable[str], rules: Iterable[Rule]) -> Iterator[pd.DataFrame]:
    headings = [str(heading) for heading in rows.table.columns]
    doubled = [heading for heading in dict.fromkeys(headings) if headings.count(heading) > 1]
    if doubled:
        yield from (_whole(column, SINGLE) for column in doubled)
        return
    yield from (_whole(column, PRESENT) for column in columns if column not in headings)
    if not len(rows):
        yield _whole(TABLE, FILLED)
        return
    for rule in rules:
        # A column that is not there has its own violation.
        if {rule.column, *rule.needs} <= {*headings} and (broken := rule.broken(rows)).any():
            yield _rows_of(rule, rows, np.flatnonzero(broken))


def describe(found: pd.DataFrame, counted: str = "line") -> str:
    """Return violations as plain sentences, one a rule, each with the rows that break it.

    Parameters
    ----------
    found : DataFrame
        Of :func:`violations`.
    counted : str
        What a row is called: "line" of a file, or "row".
    """
    blocks = []
    for (column, rule), broken in found.groupby(["column", "rule"], sort=False):
        placed = broken[broken["line"].notna()]
        if placed.empty:
            blocks.append(f"{column} {rule}.")
            continue
        number = f"1 {counted} breaks" if len(placed) == 1 else f"{len(placed)} {counted}s break"
        blocks.append(f"{column} {rule}; {number} this rule:")
        cells = zip(*(placed[name] for name in ("line", "unit", "time", "value")), strict=True)
        blocks += [f'  {counted} {line}{_of(unit, time)}: "{value}"' for line, unit, time, value in cells]
    return "\n".join(blocks) or "No rule is broken."


def _of(unit: Any, time: Any) -> str:
    named = ", ".join(str(part) for part in (unit, time) if not pd.isna(part) and str(part))
    return f" ({named})" if named else ""


def _whole(column: str, rule: str) -> pd.DataFrame:
    return pd.DataFrame([{"column": column, "rule": rule}], columns=COLUMNS)


def _rows_of(rule: Rule, rows: Rows, broken: NDArray[np.int64]) -> pd.DataFrame:
    headings = rows.table.columns
    return pd.DataFrame(
        {
            "column": rule.column,
            "rule": rule.text,
            "unit": rows.texts(rows.unit, broken) if rows.unit in headings else None,
            "time": rows.texts(rows.time, broken) if rows.time in headings else None,
            "line": broken + 1 if rows.lines is None else rows.lines[broken],
            "value": rows.texts(rule.column, broken),
        }
    )
