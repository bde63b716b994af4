"""The pandera schema of a panel, and every row of a table that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.panel.roles import Roles
from study.panel.rows import Rows
from study.panel.rules import Rule, panel_rules

if TYPE_CHECKING:
    from pandera.pandas import Check, DataFrameSchema

COLUMNS = ["column", "rule", "unit", "time", "line", "value"]
TABLE = "the table"
FILLED = "must have rows"
PRESENT = "must be a column of the table"
SINGLE = "must be one column only"


def panel_schema(roles: Roles, more: Iterable[Rule] = ()) -> DataFrameSchema:
    """Return the pandera schema of a long table.

    Rules about one column are checks of the column, the others checks of the table; the name of a check is
    the text of its rule. Validate with ``lazy=True`` to see all that is broken.

    Parameters
    ----------
    roles : Roles
    more : iterable of Rule
        Rules beside those that any panel keeps.

    Returns
    -------
    pandera.DataFrameSchema
    """
    columns, rules = _of_panel(roles, more)
    return table_schema(columns, rules, roles.unit, roles.time)


def table_schema(
    columns: Iterable[str],
    rules: Iterable[Rule],
    unit: str = "",
    time: str = "",
    parsed: Rows | None = None,
) -> DataFrameSchema:
    """Return the pandera schema of any table with some columns that keep some rules.

    Where ``parsed`` is given, the schema is for that table alone, and its checks do not parse it again.
    """
    import pandera.pandas as pandera

    def rows_of(table: pd.DataFrame) -> Rows:
        return Rows(table, None, unit, time) if parsed is None else parsed

    alone: dict[str, list[Check]] = {column: [] for column in columns}
    together = [pandera.Check(_filled, name=FILLED)]
    for rule in rules:
        check = pandera.Check(
            _table_check(rule, rows_of) if rule.needs else _column_check(rule),
            name=rule.text,
            title=rule.column,
            # An empty cell can break a rule; pandera would pass it over.
            ignore_na=False,
            n_failure_cases=1,
        )
        (together if rule.needs else alone[rule.column]).append(check)
    return pandera.DataFrameSchema(
        {column: pandera.Column(nullable=True, checks=checks) for column, checks in alone.items()},
        checks=together,
    )


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
    columns, rules = _of_panel(roles, more)
    return broken_rows(Rows(table, lines, roles.unit, roles.time), columns, rules)


def broken_rows(rows: Rows, columns: Sequence[str], rules: Sequence[Rule]) -> pd.DataFrame:
    """Return every row of any table that breaks a rule, as :func:`violations` does."""
    import pandera.pandas as pandera

    headings = [str(heading) for heading in rows.table.columns]
    doubled = [heading for heading in dict.fromkeys(headings) if headings.count(heading) > 1]
    if doubled:
        return _listed([_whole(column, SINGLE) for column in doubled])
    try:
        table_schema(columns, rules, parsed=rows).validate(rows.table, lazy=True)
    except pandera.errors.SchemaErrors as error:
        found = [_rows_of(failure, rows) for failure in error.schema_errors]
    else:
        return _listed([])
    every = [
        *((column, PRESENT) for column in columns),
        (TABLE, FILLED),
        *((r.column, r.text) for r in rules),
    ]
    place = {key: number for number, key in enumerate(every)}
    return _listed(sorted(found, key=lambda part: place[part["column"].iloc[0], part["rule"].iloc[0]]))


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


def _of_panel(roles: Roles, more: Iterable[Rule]) -> tuple[list[str], list[Rule]]:
    """Return the columns of a panel, and its rules without those that say the same of the same column."""
    rules: dict[tuple[str, str], Rule] = {}
    for rule in (*panel_rules(roles), *more):
        rules.setdefault((rule.column, rule.text), rule)
    return list(dict.fromkeys([*roles.columns, *(column for column, _ in rules)])), list(rules.values())


def _filled(table: pd.DataFrame) -> bool:
    return len(table) > 0


def _column_check(rule: Rule) -> Callable[[pd.Series], pd.Series]:
    def holds(cells: pd.Series) -> pd.Series:
        rows = Rows(cells.to_frame(rule.column), None, rule.column, rule.column)
        return pd.Series(~rule.broken(rows), index=cells.index)

    return holds


def _table_check(rule: Rule, rows_of: Callable[[pd.DataFrame], Rows]) -> Callable[[pd.DataFrame], pd.Series]:
    def holds(table: pd.DataFrame) -> pd.Series:
        # A column that is not there has its own violation.
        if any(column not in table.columns for column in (rule.column, *rule.needs)):
            return pd.Series(True, index=table.index)
        return pd.Series(~rule.broken(rows_of(table)), index=table.index)

    return holds


def _whole(column: str, rule: str) -> pd.DataFrame:
    return pd.DataFrame([{"column": column, "rule": rule}], columns=COLUMNS)


def _rows_of(failure: Any, rows: Rows) -> pd.DataFrame:
    """Return what one failed check of pandera says, row by row."""
    if failure.check == "column_in_dataframe":
        return _whole(str(failure.failure_cases), PRESENT)
    if failure.check_output is None:
        raise failure
    if failure.check.name == FILLED:
        return _whole(TABLE, FILLED)
    broken = np.flatnonzero(~np.asarray(failure.check_output, dtype=bool))
    column, headings = failure.check.title, rows.table.columns
    return pd.DataFrame(
        {
            "column": column,
            "rule": failure.check.name,
            "unit": rows.texts(rows.unit, broken) if rows.unit in headings else None,
            "time": rows.texts(rows.time, broken) if rows.time in headings else None,
            "line": broken + 1 if rows.lines is None else rows.lines[broken],
            "value": rows.texts(column, broken),
        }
    )


def _listed(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=COLUMNS)
    return table.astype({"line": "Int64"})
