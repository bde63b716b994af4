"""What each column of a long table is for, and the rules that it keeps: functions from a table to their breaches."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from study.core import BoolArray, DataError, FloatArray, unknown
from study.panel.rows import A_YEAR, ORDERED, TYPES_LOST, Rows, finer_than_year, spread

if TYPE_CHECKING:
    import pandas as pd

FARTHEST_EVENT = 200
READ_DATES = 'Dates are read with period="year", or quarter or month, and in memory also week or day.'
BETWEEN = ": "  # of a unit and a group, in the name of the pair


Names = str | Sequence[str] | None

FEWEST_PERIODS_IN_A_HEADING = 3
ZERO_OR_ONE = "must be 0, 1 or empty"
OR_NEVER = "for never, or the one word or number for it that never= names"

# Roles of columns, in words.
WORDS = {
    "unit": "unit",
    "time": "period",
    "first_treated": "event: first treated period",
    "treatment": "event: 0/1 path",
    "doses": "dose",
    "outcomes": "outcome",
    "covariates": "covariate",
    "attributes": "attribute",
    "group": "group within the unit",
}


@dataclass(frozen=True)
class Roles:
    """The columns of a panel by what they are for; the names are those of :meth:`study.Panel.from_long`."""

    unit: str
    time: str
    first_treated: tuple[str, ...] = ()
    treatment: tuple[str, ...] = ()
    outcomes: tuple[str, ...] = ()
    covariates: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    doses: tuple[str, ...] = ()
    group: str | None = None

    @classmethod
    def of(cls, unit: str, time: str, group: str | None = None, **several: Names) -> Roles:
        """Build roles from one name or several each."""
        return cls(unit, time, group=group, **{role: columns_of(names) for role, names in several.items()})

    @classmethod
    def of_entry(cls, entry: Mapping[str, Any]) -> Roles:
        """Build roles from an entry of ``panels.toml``, which has other keys beside them."""
        return cls.of(**{role: entry[role] for role in WORDS if role in entry})

    def with_labels(self, words: Sequence[str]) -> Roles:
        """Return the roles in which covariates that are words are attributes."""
        numbers = tuple(column for column in self.covariates if column not in words)
        return replace(self, covariates=numbers, attributes=tuple(dict.fromkeys([*self.attributes, *words])))

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that has a role, once."""
        return tuple(dict.fromkeys(name for role in WORDS for name in columns_of(getattr(self, role))))

    def role(self, column: str) -> str:
        """Return what a column is for, in words; empty for a column without a role."""
        return next((word for role, word in WORDS.items() if column in columns_of(getattr(self, role))), "")

    def missing(self, headings: Sequence[str]) -> list[str]:
        """Return the columns with a role that a table does not have."""
        return [column for column in self.columns if column not in headings]


def wide_hint(headings: Sequence[str]) -> str:
    """Return a sentence for headings of which several are periods, as in a wide table; else nothing."""
    periods = [name for heading in headings if (name := str(heading).strip()).isdigit() and len(name) == 4]
    if len(periods) < FEWEST_PERIODS_IN_A_HEADING:
        return ""
    return (
        f" The columns {', '.join(periods[:3])}, ... look like periods: make the table long, with one row a "
        "unit and period (pandas.melt does it)."
    )


def groups_as_units(table: pd.DataFrame, roles: Roles, label: str) -> tuple[pd.DataFrame, Roles]:
    """Return the table and the roles in which groups within units are the units, and both labels attributes of them.

    They are returned as they are where there is no group, or the table lacks a column and is refused for that.
    """
    within, group = roles.unit, roles.group
    if within == group:
        raise DataError(f"{label}: {group} is both the unit and the group; name two columns.")
    if group is None or {within, group} - {*map(str, table.columns)}:
        return table, roles
    rows = Rows(table, None, within, roles.time)
    (units, of_unit), (groups, of_group) = rows.labels(within), rows.labels(group)
    pairs, of_row = np.unique(of_unit * len(groups) + of_group, return_inverse=True)
    first, second = units[pairs // len(groups)], groups[pairs % len(groups)]
    known = (first != "") & (second != "")
    names = np.where(known, [f"{a}{BETWEEN}{b}" for a, b in zip(first, second, strict=True)], "")
    pair = f"{within}{BETWEEN}{group}"
    labels = tuple(dict.fromkeys([within, group, *roles.attributes]))
    return table.assign(**{pair: names[of_row]}), replace(roles, unit=pair, attributes=labels, group=None)


def columns_of(columns: Names) -> tuple[str, ...]:
    """Return the names of columns, be they one or several."""
    return (columns,) if isinstance(columns, str) else tuple(map(str, () if columns is None else columns))


@dataclass(frozen=True)
class Rule:
    """What must hold of a column.

    Attributes
    ----------
    column : str
    text : str
        The rest of a sentence that begins with the column's name: "must be a number or empty".
    broken : callable
        From a table to the rows that break the rule, boolean of shape (rows,).
    says : callable, optional
        From a table and a row that breaks the rule to a sentence about it; by default what the cell holds.
    needs : tuple of str
        Other columns that it looks at.
    required : bool
        Whether a panel can be built only where it holds; else it is advice.
    """

    column: str
    text: str
    broken: Callable[[Rows], BoolArray]
    says: Callable[[Rows, int], str] | None = None
    needs: tuple[str, ...] = ()
    required: bool = True

    def sentence(self, rows: Rows, row: int) -> str:
        """Return what is wrong with a row that breaks the rule, and where it stands."""
        return self.says(rows, row) if self.says else f"{_holds(rows, self.column, row)}; it {self.text}."


def panel_rules(roles: Roles) -> Iterator[Rule]:
    """Yield the rules that any panel keeps, in the order in which their breaches are reported."""
    yield integer_period(roles.time)
    for column in (roles.unit, *roles.attributes):
        yield single_value(column)
        yield exact(column)
    yield not_empty(roles.unit)
    yield once(roles.unit, roles.time)
    yield consecutive(roles.time)
    for column in roles.treatment:
        yield zero_or_one(column, roles)
    for column in roles.first_treated:
        yield dated(column, roles)
        yield date(column)
        yield plausible(column, roles)
        yield same(column, roles.unit, "unit", event_dates)
    for column in dict.fromkeys((*roles.outcomes, *roles.covariates, *roles.doses)):
        yield number(column)
    for column in roles.attributes:
        yield same(column, roles.unit, "unit", lambda rows, column: rows.labels(column)[1])
    for column in (roles.unit, *roles.attributes):
        yield spelt_alike(column)


def refuse_first(rows: Rows, roles: Roles, label: str) -> None:
    """Raise a DataError for the first rule that a table breaks, naming its first row."""
    for problem in _problems(rows, roles):
        raise DataError(f"{label}: {problem}")


def _problems(rows: Rows, roles: Roles) -> Iterator[str]:
    yield from problems_of_headings(rows.table, roles)
    if not len(rows):
        yield "the table has no rows."
    yield from problems_of_roles(roles)
    lost = rows.table.attrs.get(TYPES_LOST, {})
    needed = {roles.time} if rows.period == "rank" else set()
    yield from problems_of_types(lost, roles, needed)
    for rule in panel_rules(roles):
        if rule.required and (broken := rule.broken(rows)).any():
            yield rule.sentence(rows, int(broken.argmax()))


def problems_of_headings(table: pd.DataFrame, roles: Roles) -> Iterator[str]:
    """Yield what keeps the columns of a table from being those with a role."""
    headings, levels = list(table.columns), table.columns.nlevels
    if levels > 1:
        yield f"the columns have {levels} levels of names; give each column one text."
    for column in roles.missing(headings):
        if column in map(str, headings):
            yield f"the name of column {column} is no text; rename it, for example by data.rename(columns=str)."
        if f"{column}_1" in headings and column.lower() in [str(heading).lower() for heading in headings]:
            yield f"the file has columns called {column} in letters of another case too; name them apart."
        if column in table.index.names:
            yield f"{column} is in the index of the table; make it a column, by reset_index()."
        absent = unknown("column", column, map(str, headings), "")
        named = next((role for role in ("unit", "time") if column == getattr(roles, role)), "")
        which = f" Name the {WORDS[named]} column with {named}=." if named else ""
        yield f"{absent}{which}{wide_hint(headings)}".removeprefix(": ")
    for column in roles.columns:
        if headings.count(column) > 1:
            yield f"{headings.count(column)} columns are called {column}; name them apart."


def problems_of_roles(roles: Roles) -> Iterator[str]:
    """Yield which roles of a panel no column has."""
    if not roles.outcomes:
        yield "no outcome is named; say which columns are outcomes."
    if not roles.first_treated and not roles.treatment and not roles.doses:
        yield "no event is named; give first_treated=, treatment= or doses=."


def problems_of_types(lost: Mapping[str, str], roles: Roles, ordered: Collection[str] = ()) -> Iterator[str]:
    """Yield which columns were of types that a file has lost; the order of categories is needed of ``ordered``."""
    for column in roles.columns:
        if column in lost and (lost[column] != ORDERED or column in ordered):
            yield (
                f"column {column} was written as {lost[column]}, which Parquet does not keep; write numbers, "
                "dates or texts, or a Feather file."
            )


def number(column: str) -> Rule:
    """Return the rule that cells are finite numbers or empty."""
    text = "must be a number such as 1234.5, or empty"
    return Rule(column, text, lambda rows: spread(*rows.compact(column)[1:]))


def date(column: str) -> Rule:
    """Return the rule that cells name a period, or are empty or otherwise never."""

    def says(rows: Rows, row: int) -> str:
        what = _period_in_words(rows, column, row) if rows.period else "a number"
        never = f'Where never is written as a word or a number of your own, name it: never="{rows.cell(column, row)}".'
        hint = READ_DATES if _is_date(rows, column, row) else never
        return f"{_holds(rows, column, row)}; it must be {what}, or empty for never. {hint}"

    text = f"must be a period, or empty {OR_NEVER}"
    return Rule(column, text, lambda rows: rows.dates(column)[1], says)


def single_value(column: str) -> Rule:
    """Return the rule that a cell is one label, and no list or mapping."""
    return Rule(column, "must be one label", lambda rows: rows.compound(column))


def exact(column: str) -> Rule:
    """Return the rule that a label is no float that has lost its last digits, so that two units may be one."""
    text = "must be a whole number or text, not a float so large that its last digits are lost"
    return Rule(column, text, lambda rows: rows.rounded(column))


def integer_period(column: str) -> Rule:
    """Return the rule that every row has a period: a whole number, or what the user says periods are counted in."""

    def says(rows: Rows, row: int) -> str:
        if rows.period is not None:
            return f"{_holds(rows, column, row)}; it must be {_period_in_words(rows, column, row)}."
        hint = f", such as the year of a date. {READ_DATES}" if _is_date(rows, column, row) else "."
        return f"{_holds(rows, column, row)}; a period is a whole number{hint}"

    text = 'must be a whole number, or a date of the unit of time that is named, year first, as with period="quarter"'
    return Rule(column, text, lambda rows: np.isnan(rows.when()), says)


def _is_date(rows: Rows, column: str, row: int) -> bool:
    """Return whether a cell looks like a date, and nothing is said of what periods are counted in."""
    dated = re.match(r"\d{4}( ?[-/.]\d| ?-?[qQmM]\d)", rows.cell(column, row))
    return rows.period is None and dated is not None


def _period_in_words(rows: Rows, column: str, row: int) -> str:
    period = str(rows.period)
    if period == "year" and (units := finer_than_year(rows.cell(column, row))):
        return f"a year, which has four digits (or say period={units}, if such numbers are dates)"
    if period == "rank":
        return (
            "a label whose place is certain: a number, a date, an ordered category, or one that differs from the "
            "others in numbers alone, with four digits of a year"
        )
    example = {"year": "2010", "quarter": "2010Q1", "month": "2010-03"}.get(period, "2010-03-31")
    return f"a date in a certain {period}, with the year first, for example {example}"


def not_empty(column: str) -> Rule:
    """Return the rule that no cell is empty."""

    def broken(rows: Rows) -> BoolArray:
        names, codes, each = rows.distinct(column)
        return spread((names == "")[codes], each)

    def says(rows: Rows, row: int) -> str:
        return f"column {column} is empty on {rows.place(row)}; every row needs one."

    return Rule(column, "must not be empty", broken, says)


def once(unit: str, time: str) -> Rule:
    """Return the rule that no unit-period stands twice; all rows of one that does break it."""

    def broken(rows: Rows) -> BoolArray:
        import pandas as pd

        if rows.each() > 1 and unit == rows.unit:
            return np.zeros(len(rows), dtype=bool)
        return (rows.cells(unit) != -1) & pd.Series(rows.cells(unit)).duplicated(keep=False).to_numpy()

    def says(rows: Rows, row: int) -> str:
        cells = rows.cells(unit)
        second = np.flatnonzero(cells == cells[row])[1]
        places = f" on {rows.place(row)} and {rows.place(second)}"
        return twice(rows, row, len(np.unique(cells[broken(rows)])), places)

    return Rule(unit, "must not have a period twice", broken, says, needs=(time,))


def twice(rows: Rows, row: int, pairs: int, places: str = "") -> str:
    """Return the sentence on unit-periods that stand twice, of which a row is the first."""
    appear = "unit-period appears" if pairs == 1 else "unit-periods appear"
    first = f"{rows.cell(rows.unit, row)}, {rows.period_name(rows.when()[row])}"
    return f"{pairs} {appear} twice, first ({first}){places}; keep one row each, or their mean."


def consecutive(time: str) -> Rule:
    """Return the rule that periods have no gap; the first row after one breaks it."""

    def broken(rows: Rows) -> BoolArray:
        if np.all(np.diff(rows.periods()) == 1):
            return np.zeros(len(rows), dtype=bool)
        periods, first = np.unique(rows.when_first(), return_index=True)
        return np.isin(np.arange(len(rows)), first[1:][np.diff(periods) > 1])

    def says(rows: Rows, row: int) -> str:
        gap = int(np.argmax(np.diff(rows.periods()) != 1))
        earlier, later = map(rows.period_name, rows.periods()[[gap, gap + 1]])
        return (
            f"periods jump from {earlier} to {later}; number them consecutively or add the missing ones. Where no "
            'period lies between (a biennial panel), use period="rank".'
        )

    return Rule(time, "must not jump over periods", broken, says)


def zero_or_one(column: str, roles: Roles) -> Rule:
    """Return the rule that a treatment path is 0, 1 or empty."""

    def broken(rows: Rows) -> BoolArray:
        values, bad = rows.numbers(column)
        return bad | ~np.isin(np.nan_to_num(values), (0, 1))

    def says(rows: Rows, row: int) -> str:
        if rows.numbers(column)[1][row]:
            return f"{_holds(rows, column, row)}; a treatment is 0 or 1, or empty where it is not known."
        where = f"({rows.cell(roles.unit, row)}, {rows.period_name(rows.when()[row])})"
        dates = rows.numbers(column)[0]
        others = rows.dates(column)[0][~np.isnan(dates) & (dates > 1)]
        hint = ""
        if np.isin(others, rows.periods()).any():
            hint = f' It looks like first treated periods: give it as first_treated="{column}".'
        return f"column {column} is {dates[row]:g} for {where}; a treatment is 0 or 1.{hint}"

    return Rule(column, ZERO_OR_ONE, broken, says)


def event_dates(rows: Rows, column: str) -> FloatArray:
    """Return the first treated period of each row's unit, NaN for never."""
    return rows.dates(column)[0]


def dated(column: str, roles: Roles) -> Rule:
    """Return the rule that an event is given by its dates, and not by a treatment of 0 and 1."""

    def broken(rows: Rows) -> BoolArray:
        if not (rows.compact(column)[0] == 1).any():
            return np.zeros(len(rows), dtype=bool)
        (numbers, bad), (dates, strange) = rows.numbers(column), rows.dates(column)
        never = np.isnan(dates) & ~strange
        binary = np.isin(numbers[~bad & ~np.isnan(numbers)], (0, 1)).all() and not (bad & ~never).any()
        treated = (numbers == 1) & ~never
        far = len(rows.periods()) > 0 and abs(rows.first_number() - 1) > FARTHEST_EVENT
        return treated & (binary and (far or same(column, roles.unit, "unit").broken(rows).any()))

    def says(rows: Rows, row: int) -> str:
        return (
            f"column {column} holds 0 and 1 (1 for {rows.cell(roles.unit, row)} on {rows.place(row)}), "
            f'which is a treatment by period and no first treated period; give it as treatment="{column}".'
        )

    text = "must hold first treated periods, not a treatment of 0 and 1"
    return Rule(column, text, broken, says, needs=(roles.unit, roles.time))


def plausible(column: str, roles: Roles) -> Rule:
    """Return the rule that the date of an event is a whole period not far from the panel's."""

    def broken(rows: Rows) -> BoolArray:
        (dates, _, each), periods = rows.compact_dates(column), rows.periods()
        if not len(periods):
            return np.zeros(len(rows), dtype=bool)
        farthest = FARTHEST_EVENT * A_YEAR.get(rows.period or "", 1)
        far = (dates < periods[0] - farthest) | (dates > periods[-1] + farthest)
        return spread(~np.isnan(dates) & ((dates != np.round(dates)) | far), each)

    def says(rows: Rows, row: int) -> str:
        first, last = map(rows.period_name, rows.periods()[[0, -1]])
        date = rows.cell(column, row) if rows.period else f"{event_dates(rows, column)[row]:g}"
        return (
            f"column {column} is {date} for {rows.cell(roles.unit, row)} on {rows.place(row)}, an "
            f"impossible event period for a panel of {first} to {last}; correct it, or leave it "
            f"empty if the unit is never treated (or say never={date})."
        )

    text = f"must be a whole period, no more than {FARTHEST_EVENT} from the panel's, or empty {OR_NEVER}"
    return Rule(column, text, broken, says, needs=(roles.unit, roles.time))


def spelt_alike(column: str) -> Rule:
    """Return the advice that labels differ in more than case or spaces; the first row of each is named."""

    def letters(name: str) -> str:
        # é is one letter or two, and nobody sees a mark without width.
        plain = unicodedata.normalize("NFKC", name).casefold()
        return "".join(each for each in plain if each.isprintable() and not each.isspace())

    def broken(rows: Rows) -> BoolArray:
        alike = [*map(letters, rows.labels(column)[0])]
        times = Counter(alike)
        first = rows.first_of(column)[[times[each] > 1 for each in alike]]
        return np.isin(np.arange(len(rows)), first)

    text = "should not have labels that differ only in case or spaces"
    return Rule(column, text, broken, required=False)


def same(
    column: str,
    key: str,
    kind: Literal["unit", "period"],
    values: Callable[[Rows, str], NDArray[Any]] = lambda rows, column: rows.numbers(column)[0],
) -> Rule:
    """Return the rule that a value, a number if not given, is one for a unit or a period; ``key`` is that column."""

    def broken(rows: Rows) -> BoolArray:
        if key == rows.unit and rows.fixed(column):
            return np.zeros(len(rows), dtype=bool)
        names, codes = rows.labels(key)
        here = np.nan_to_num(values(rows, column), nan=np.inf)
        return (here != here[rows.first_of(key)[codes]]) & (names != "")[codes]

    def says(rows: Rows, row: int) -> str:
        earlier = int(rows.first_of(key)[rows.labels(key)[1][row]])
        return (
            f"column {column} changes within {rows.cell(key, row)} between "
            f"{rows.place(earlier)} and {rows.place(row)}; it must be one value a {kind}."
        )

    return Rule(column, f"must be the same in all rows of a {kind}", broken, says, needs=(key,))


def _holds(rows: Rows, column: str, row: int) -> str:
    return f'column {column} holds "{rows.cell(column, row)}" on {rows.place(row)}'
