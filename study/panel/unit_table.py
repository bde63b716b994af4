"""The table of units that an engine makes of a long table: one row a unit, held to the rules of any panel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from operator import or_
from typing import Any

import ibis
import numpy as np
import pandas as pd

from study.core import DataError, IntArray
from study.panel import rules
from study.panel.engines import MOST_VALUES, Engine
from study.panel.panel import Ambiguous
from study.panel.rows import A_YEAR, BITS, LARGEST, NO_NUMBER, TRUTH, PeriodUnit, Rows

# Stands for infinity, which not every engine writes alike.
ENDLESS = 1e300
# Rows of which the first is named, and the others are looked at for what is wrong with it.
FEW = 50
# Bytes that DuckDB holds of a unit while it adds up its rows, for each number and each label, with what hashing needs.
OF_A_SUM = 64
OF_A_LABEL = 128
NO_ROWS = Rows(pd.DataFrame())
# What Python takes for spaces around a text, and engines in part; numbers, of which some engines read more.
SPACES = "[\\s\x0b\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$"
# Whole numbers as floats have them, and empty ones; all labels of a column have to be.
WHOLE = r"^(-?\d+\.0)?$"


@dataclass(frozen=True)
class UnitTable:
    """One row a unit, in an engine.

    Attributes
    ----------
    table : ibis.Table
        By number of the column in its role: ``y{k}_{t}``, outcomes by place of the period, empty where not observed;
        ``d{k}``, dates of events, empty for never; ``p{k}``, the same of 0/1 paths by the rule for ambiguous ones, with
        ``early{k}`` and ``late{k}``, between which it may be; ``a{k}``, labels; ``x{k}``, covariates, and whether they
        change (``varies_x{k}``) or are missing in some rows (``holes_x{k}``). The unit is ``u``.
    reading : Reading
        Of the long table, as it turned out.
    units, rows : int
    switching : tuple of str
        Paths that go back to 0.
    varying, patchy : tuple of str
        Covariates that change within a unit, and that some of its rows have and others not.
    """

    table: ibis.Table
    reading: Reading
    units: int
    rows: int
    switching: tuple[str, ...]
    varying: tuple[str, ...]
    patchy: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Witnesses(Rows):
    """A few rows of a large table, named by their unit and period, with the periods of the full table."""

    calendar: Rows = field(default=NO_ROWS, repr=False)

    def place(self, row: int) -> str:
        return f"the row of ({self.cell(self.unit, row)}, {self.cell(self.time, row)})"

    def periods(self) -> IntArray:
        return self.calendar.periods()

    def period_names(self) -> tuple[str, ...]:
        return self.calendar.period_names()


@dataclass(frozen=True)
class Reading:
    """A long table in an engine, and how it is read; the names are those of :meth:`study.Panel.from_long`.

    ``calendar`` has its periods alone, once they are read.
    """

    engine: Engine
    table: ibis.Table
    roles: rules.Roles
    period: PeriodUnit | None = None
    never: float | str | None = None
    ambiguous: Ambiguous = "drop"
    calendar: Rows = NO_ROWS

    def refuse(self, rule: rules.Rule, rows: Rows, row: int = 0) -> None:
        """Raise the error of a row that breaks a rule."""
        raise DataError(f"{self.engine.label}: {rule.sentence(rows, row)}")

    def refuse_zone(self, column: str) -> None:
        """Refuse times with a zone."""
        kind = self.table[column].type()
        # ibis knows times of nanoseconds with a zone by their name alone.
        if (kind.is_timestamp() and kind.timezone is not None) or "TIMESTAMPTZ" in str(kind):
            raise DataError(
                f"{self.engine.label}: column {column} holds times of a time zone, and the day of one depends on where "
                "it is read; write days, or times without a zone."
            )

    def witnesses(self, condition: Any, most: int | None = FEW) -> _Witnesses:
        """Return the rows for which a condition holds, first by unit and period, at most so many."""
        unit, time = self.table[self.roles.unit], self.table[self.roles.time]
        rows = self.table.filter(condition).order_by(unit.cast("string"), time)
        return self.rows_of(self.engine.frame(rows.limit(most).select(*self.roles.columns)))

    def refuse_values(self, rows: Rows, column: str, kept: Iterable[rules.Rule], most: str) -> None:
        """Refuse different values of a column, each in a row, that break a rule, or that are too many."""
        for rule in kept:
            broken = rule.broken(rows)
            if broken.any():
                value = rows.table[column].iloc[int(broken.argmax())]
                self.refuse(rule, self.witnesses(self.equals(column, value)))
        if len(rows) > MOST_VALUES:
            raise DataError(
                f"{self.engine.label}: column {column} has more than {MOST_VALUES:,} different values; {most}"
            )

    def rows_of(self, frame: pd.DataFrame) -> _Witnesses:
        """Return a few rows as a long table."""
        return _Witnesses(
            frame, None, self.roles.unit, self.roles.time, self.period, self.never, calendar=self.calendar
        )

    def values(self, column: str) -> pd.Series:
        """Return the different values of a column, of times their days."""
        distinct = self.table.select(value=_key(self.table[column])).distinct().limit(MOST_VALUES + 1)
        values = self.engine.frame(distinct)["value"].rename(column)
        return values.sort_values(key=lambda cells: cells.astype("string").fillna(""), ignore_index=True)

    def equals(self, column: str, value: Any) -> Any:
        """Return the condition that a column has a value, or none."""
        key = _key(self.table[column])
        if pd.isna(value):
            return key.isnull() | _is_nan(key) if key.type().is_floating() else key.isnull()
        if isinstance(value, np.generic):
            value = value.item()
        return key == (value.date() if isinstance(value, pd.Timestamp) and key.type().is_date() else value)


def unit_table(reading: Reading) -> UnitTable:
    """Return the table of units of a long table, whose rows may stand in any order.

    Parameters
    ----------
    reading : Reading

    Raises
    ------
    DataError
        As :meth:`study.Panel.from_long`, with unit and period in place of the row.
    """
    engine, roles = reading.engine, reading.roles
    heading = pd.DataFrame(columns=list(reading.table.columns))
    for problem in (*rules.problems_of_headings(heading, roles), *rules.problems_of_roles(roles)):
        raise DataError(f"{engine.label}: {problem}")
    engine.tell("reading periods")
    reading = replace(reading, calendar=_calendar(reading))
    engine.tell("checking columns")
    reading, rows = _checked(reading)
    never = {column: _checked_dates(reading, column) for column in reading.roles.first_treated}
    cells, query = _cells(reading, never), partial(_by_unit, reading)
    table = engine.keep(cells, query, _parts(reading), "making the table of units", key="u")
    return _checked_units(reading, table, rows)


def _parts(reading: Reading) -> int:
    """Return into how many parts to split the rows by unit, so that the units of one fit into the engine's memory."""
    memory, roles = reading.engine.memory, reading.roles
    if np.isinf(memory):
        return 1
    units = reading.engine.number(reading.table[roles.unit].approx_nunique())
    of_others = len(roles.first_treated) + len(roles.treatment) + len(roles.covariates)
    several = len(roles.outcomes) * len(reading.calendar.periods()) + 3 * of_others
    each = OF_A_SUM * several + OF_A_LABEL * (1 + 2 * len(roles.attributes))
    return int(2 ** np.ceil(np.log2(max(1.0, units * each / memory))))


def _key(column: Any) -> Any:
    return column.date() if column.type().is_timestamp() else column


def _calendar(reading: Reading) -> Rows:
    """Return the periods of a table as a table of their own; refuse what is no period, and periods with a gap."""
    time = reading.roles.time
    values = reading.values(time)
    if not len(values):
        raise DataError(f"{reading.engine.label}: the table has no rows.")
    if reading.table[time].type().is_nested():
        reading.refuse(rules.single_value(time), reading.witnesses(True))
    rows = Rows(pd.DataFrame({time: values}), None, "", time, reading.period, reading.never)
    reading.refuse_values(rows, time, [rules.integer_period(time)], "is it the period?")
    gap = rules.consecutive(time)
    if gap.broken(rows).any():
        reading.refuse(gap, rows)
    return rows


def _checked(reading: Reading) -> tuple[Reading, int]:
    """Return the reading, covariates in words as attributes, and the number of rows; refuse what is no number."""
    table, roles = reading.table, reading.roles
    broken: list[tuple[rules.Rule, Any]] = []
    for column in (roles.unit, *roles.attributes):
        kind = table[column].type()
        if kind.is_nested():
            reading.refuse(rules.single_value(column), reading.witnesses(table[column].notnull()))
        if kind.is_floating():
            largest = LARGEST["float32" if kind.is_float32() else "float64"]
            broken.append((rules.exact(column), (table[column].abs() >= largest) & ~_is_nan(table[column])))
    broken.append((rules.not_empty(roles.unit), _trimmed(table[roles.unit]).isnull()))
    for column in roles.attributes:
        reading.refuse_zone(column)
    for column in roles.treatment:
        value, bad = _number(table[column])
        broken.append((rules.zero_or_one(column, roles), bad | (value.notnull() & ~value.isin((0, 1)))))
    for column in dict.fromkeys((*roles.outcomes, *roles.covariates)):
        broken.append((rules.number(column), _number(table[column])[1]))
    others = [c for c in roles.covariates if c not in roles.outcomes and not _is_number(table[c].type())]
    texts = {column: _number(table[column].cast("string").replace(",", "."))[0] for column in others}
    counts = {f"broken{i}": table.count(where=condition) for i, (_, condition) in enumerate(broken)}
    counts |= {f"numbers{i}": table.count(where=x.notnull()) for i, x in enumerate(texts.values())}
    totals = reading.engine.frame(table.aggregate(rows=table.count(), **counts)).iloc[0]
    refused = {rule.column for i, (rule, _) in enumerate(broken) if totals[f"broken{i}"]}
    words = [column for i, column in enumerate(texts) if column in refused and not totals[f"numbers{i}"]]
    for i, (rule, condition) in enumerate(broken):
        if totals[f"broken{i}"] and rule.column not in words:
            reading.refuse(rule, reading.witnesses(condition))
    return replace(reading, roles=roles.with_labels(words)), int(totals["rows"])


def _checked_dates(reading: Reading, column: str) -> list[Any]:
    """Return the values of a column of first treated periods that stand for never; refuse what is no date."""
    roles, values = reading.roles, reading.values(column)
    units, first = map(str, range(len(values))), reading.calendar.table[roles.time].iloc[0]
    rows = reading.rows_of(pd.DataFrame({roles.unit: [*units], roles.time: first, column: values}))
    kept = rules.dated(column, roles), rules.date(column), rules.plausible(column, roles)
    reading.refuse_values(rows, column, kept, "a first treated period is one of few.")
    return values[np.isnan(rows.dates(column)[0])].dropna().tolist()


def _number(column: Any) -> tuple[Any, Any]:
    """Return a column as numbers, empty where it has none, and where it holds something else."""
    kind, empty = column.type(), ibis.null("float64")
    if _is_number(kind) and not kind.is_floating():
        return column.cast("float64"), ibis.literal(False)
    if kind.is_floating():
        value = column.cast("float64")
        endless = _infinite(value).fill_null(False)
        return ibis.ifelse(_is_nan(value) | endless, empty, value), endless
    if not kind.is_string():
        return empty, column.notnull()
    text = _stripped(column).lower()
    number = ibis.ifelse(text.re_search(NUMBER), text, ibis.null("string")).try_cast("float64")
    value = text.cases(*TRUTH.items(), else_=number)
    known = value.notnull() & ~(_is_nan(value) | _infinite(value))
    bad = column.notnull() & ~known & ~text.isin(NO_NUMBER)
    return ibis.ifelse(known, value, empty), bad.fill_null(False)


def _is_number(kind: Any) -> bool:
    return bool(kind.is_boolean() or kind.is_numeric())


def _stripped(column: Any) -> Any:
    return column.re_replace(f"^{SPACES}|{SPACES}$", "")


def _trimmed(column: Any) -> Any:
    """Return labels such that two are the same if their texts are, nothing where a cell is empty."""
    kind = column.type()
    if kind.is_string():
        return _stripped(column).nullif("")
    return ibis.ifelse(_is_nan(column), ibis.null(kind), column) if kind.is_floating() else column


def _is_nan(value: Any) -> Any:
    """Return whether numbers are NaN.

    DuckDB takes ``isnan`` for false everywhere in a Parquet file whose statistics, which leave NaN out, are finite.
    """
    return (value - value != 0) & ~_infinite(value)


def _infinite(value: Any) -> Any:
    """Return whether numbers are infinite; ibis's own ``isinf`` is false everywhere on Spark."""
    return value.abs() == float("inf")


def label_of(column: Any) -> Any:
    """Return trimmed labels as text, "" where they are empty."""
    kind, text = column.type(), column.cast("string")
    if kind.is_timestamp():
        text = text.re_replace(r" 00:00:00(\.0+)?$", "")
    if kind.is_boolean():
        text = text.capitalize()
    return text.fill_null("")


def _cells(reading: Reading, never: Mapping[str, list[Any]] = {}) -> ibis.Table:
    """Return the rows with what is needed of them, under short names: unit, place of the period, and by role."""
    table, roles = reading.table, reading.roles
    columns: dict[str, Any] = {"u": _trimmed(table[roles.unit]), "time": table[roles.time]}
    columns |= {f"y{k}": _number(table[column])[0] for k, column in enumerate(roles.outcomes)}
    columns |= {f"p{k}": _number(table[column])[0] for k, column in enumerate(roles.treatment)}
    columns |= {f"a{k}": _trimmed(table[column]) for k, column in enumerate(roles.attributes)}
    columns |= {f"x{k}": _number(table[column])[0] for k, column in enumerate(roles.covariates)}
    columns |= {f"d{k}": table[column] for k, column in enumerate(roles.first_treated)}
    cells = table.select(**columns)
    cells = _numbered(reading, cells, "time", roles.time, [])
    for k, column in enumerate(roles.first_treated):
        cells = _numbered(reading, cells, f"d{k}", column, never.get(column, []))
    first = int(reading.calendar.periods()[0])
    return cells.mutate(t=(cells.time - first).cast("int32")).drop("time")


def _numbered(reading: Reading, cells: ibis.Table, name: str, column: str, never: list[Any]) -> ibis.Table:
    """Put the numbers of periods in place of a column that names them, nothing in place of what stands for never."""
    raw, kind, period = cells[name], cells[name].type(), reading.period
    if period is not None:
        reading.refuse_zone(column)
    if period is None or (period == "year" and not (kind.is_temporal() or kind.is_string())):
        numbers = _number(raw)[0]
    elif kind.is_temporal():
        # DuckDB 2.0.1 leaves out rows where a part of a TIMESTAMP_NS is compared; not so with a part of a day.
        day = _key(raw)
        months = (day.month() - 1) * A_YEAR[period] / 12
        numbers = (day.year() * A_YEAR[period] + months.floor()).cast("float64")
    else:
        values = reading.values(column).dropna()
        rows = Rows(pd.DataFrame({column: values}), None, "", column, period)
        there = ~np.isnan(rows.when())
        pairs = pd.DataFrame({"key": values[there].to_numpy(), "number": rows.when()[there]})
        known = ibis.memtable(pairs)
        cells = cells.left_join(known, raw == known.key).drop("key")
        raw, numbers = cells[name], cells.number
    if never:
        numbers = ibis.ifelse(_key(raw).isin(never), ibis.null("float64"), numbers)
    return cells.mutate(**{name: numbers}).drop(*({"number"} & {*cells.columns}))


def words_of(n_periods: int) -> Iterator[tuple[int, range]]:
    """Yield the whole numbers that have a bit a period: their place, and the places of their periods."""
    for word, start in enumerate(range(0, n_periods, BITS)):
        yield word, range(start, min(start + BITS, n_periods))


def _by_unit(reading: Reading, cells: ibis.Table) -> ibis.Table:
    """Return the query of the table of units, with what tells whether their rows keep the rules."""
    roles, t, n_periods = reading.roles, cells.t, len(reading.calendar.periods())
    sums: dict[str, Any] = {"n": cells.count()}
    for k in range(len(roles.outcomes)):
        sums |= {f"y{k}_{place}": cells[f"y{k}"].sum(where=t == place) for place in range(n_periods)}
    bit = (ibis.literal(1, "int32") << (t % BITS)).cast("float64")
    for word, places in words_of(n_periods):
        inside = (t >= places[0]) & (t <= places[-1]) if n_periods > BITS else None
        sums[f"bits{word}"] = bit.sum(where=inside)
    for name, _ in _fixed(roles):
        sums |= {name: cells[name].min(), f"max_{name}": cells[name].max(), f"n_{name}": cells[name].count()}
    for k in range(len(roles.treatment)):
        path = cells[f"p{k}"]
        sums |= {f"one{k}": t.min(where=path == 1), f"zero{k}": t.max(where=path == 0)}
    if roles.treatment:
        seen = [cells[f"y{k}"].notnull() for k in range(len(roles.outcomes))]
        sums["last"] = t.max(where=reduce(or_, seen))
    by_unit = cells.group_by("u").aggregate(**sums)
    return by_unit.select(**_columns(reading, by_unit))


def _fixed(roles: rules.Roles) -> Iterator[tuple[str, str]]:
    """Yield the columns that are one value a unit, or may be: dates, labels and covariates, after their short names."""
    for letter, columns in (("d", roles.first_treated), ("a", roles.attributes), ("x", roles.covariates)):
        yield from ((f"{letter}{k}", column) for k, column in enumerate(columns))


def _columns(reading: Reading, by_unit: ibis.Table) -> dict[str, Any]:
    """Return what is kept of each unit."""
    periods = reading.calendar.periods()
    kept: dict[str, Any] = {"u": by_unit.u}
    kept |= {name: by_unit[name] for name in by_unit.columns if name.startswith("y")}
    # Bits of a sum of powers of two are as many as its terms, unless two of them are the same.
    different = ibis.literal(0.0)
    for word, places in words_of(len(periods)):
        bits = by_unit[f"bits{word}"].fill_null(0.0)
        # Carried bits of periods that stand twice may lie beyond the word, and only make the sum smaller.
        for place in range(len(places)):
            different += (bits / 2.0**place).floor() % 2
    kept["twice"] = different < by_unit.n
    for k in range(len(reading.roles.treatment)):
        kept |= _adoption(k, by_unit, int(periods[0]), reading.ambiguous)
    for name, _ in _fixed(reading.roles):
        low, high, known = by_unit[name], by_unit[f"max_{name}"], by_unit[f"n_{name}"]
        kept[name] = label_of(low) if name.startswith("a") else low
        kept[f"varies_{name}"] = (low != high).fill_null(False)
        kept[f"holes_{name}"] = (known > 0) & (known < by_unit.n)
    return kept


def _adoption(k: int, by_unit: ibis.Table, first: int, rule: Ambiguous) -> dict[str, Any]:
    """Return when a unit is treated first by its 0/1 path, as :func:`study.panel.panel.adoption_intervals` says it."""
    onset, zero, last = by_unit[f"one{k}"], by_unit[f"zero{k}"], by_unit["last"]
    start = (onset + first).cast("float64")
    open_ended = onset.isnull() & (last.isnull() | (last <= zero).fill_null(False))
    after_zero = (zero + first + 1).cast("float64").fill_null(-ENDLESS)
    early = ibis.cases((open_ended, ENDLESS), ((onset == 0).fill_null(False), start), else_=after_zero)
    late = start.fill_null(ENDLESS)
    date = start
    if rule == "earliest":
        date = ibis.ifelse(early < late, ibis.ifelse(early < first, float(first), early), start)
    off = (zero > onset).fill_null(False)
    return {f"p{k}": date, f"early{k}": early, f"late{k}": late, f"off{k}": off}


def _checked_units(reading: Reading, table: ibis.Table, rows: int) -> UnitTable:
    """Return the table of units, unless a rule is broken within a unit."""
    roles = reading.roles
    flags = ["twice", *(f"off{k}" for k in range(len(roles.treatment)))]
    flags += [f"{what}_{name}" for what in ("varies", "holes") for name, _ in _fixed(roles)]
    reading.engine.tell("checking units")
    counts = {flag: table[flag].cast("int64").sum() for flag in flags}
    labels = [f"a{k}" for k in range(len(roles.attributes))]
    counts |= {f"other_{name}": table.count(where=~table[name].re_search(WHOLE)) for name in labels}
    totals = reading.engine.frame(table.aggregate(units=table.count(), **counts)).iloc[0]
    if totals["twice"]:
        raise DataError(f"{reading.engine.label}: {_twice(reading, table)}")
    for name, _ in _fixed(roles):
        if not name.startswith("x") and (totals[f"varies_{name}"] or totals[f"holes_{name}"]):
            here = _rows_of_first(reading, table, table[f"varies_{name}"] | table[f"holes_{name}"])
            rules.refuse_first(here, roles, reading.engine.label)
    covariates = [(name, column) for name, column in _fixed(roles) if name.startswith("x")]
    whole = [name for name in labels if not totals[f"other_{name}"]]
    return UnitTable(
        table=table.mutate(**{name: table[name].re_replace(r"\.0$", "") for name in whole}),
        reading=reading,
        units=int(totals["units"]),
        rows=rows,
        switching=tuple(column for k, column in enumerate(roles.treatment) if totals[f"off{k}"]),
        varying=tuple(column for name, column in covariates if totals[f"varies_{name}"]),
        patchy=tuple(column for name, column in covariates if totals[f"holes_{name}"]),
    )


def first_unit(engine: Engine, table: ibis.Table, condition: Any) -> Any:
    """Return the first unit, by its text, for which a condition holds."""
    first = table.filter(condition).order_by(table.u.cast("string")).limit(1).select("u")
    return engine.frame(first)["u"].tolist()[0]


def _rows_of_first(reading: Reading, table: ibis.Table, condition: Any) -> _Witnesses:
    """Return all rows of the first unit for which a condition holds."""
    unit = first_unit(reading.engine, table, condition)
    column = reading.table[reading.roles.unit]
    return reading.witnesses(_trimmed(column) == unit, most=None)


def _twice(reading: Reading, table: ibis.Table) -> str:
    """Return the sentence on unit-periods that stand twice."""
    roles, here = reading.roles, _rows_of_first(reading, table, table.twice)
    first = int(pd.Series(here.cells(roles.unit)).duplicated(keep=False).argmax())
    cells = _cells(reading).semi_join(table.filter(table.twice), "u")
    several = cells.group_by("u", "t").aggregate(n=cells.count())
    pairs = int(reading.engine.number(several.count(where=several.n > 1)))
    return rules.twice(here, first, pairs)


def first_values(reading: Reading, table: ibis.Table, k: int) -> ibis.Table:
    """Return the first observed value of a covariate for the units in which it changes, by unit."""
    cells = _cells(reading).select("u", "t", x=lambda rows: rows[f"x{k}"])
    changing = cells.semi_join(table.filter(table[f"varies_x{k}"]), "u").filter(lambda rows: rows.x.notnull())
    start = changing.group_by("u").aggregate(t=changing.t.min())
    return changing.inner_join(start, ["u", "t"]).select("u", first="x")
