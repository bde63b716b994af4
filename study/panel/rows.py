"""A long table read column by column: labels, numbers, periods, dates of events, and where each row stands."""

from __future__ import annotations

import datetime
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import wraps
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast, get_args

import numpy as np
from numpy.typing import NDArray

from study.core import BoolArray, FloatArray, IntArray, short

if TYPE_CHECKING:
    import pandas as pd

PeriodUnit = Literal["year", "quarter", "month", "week", "day", "rank"]
UNITS: tuple[str, ...] = get_args(PeriodUnit)
# How pandas calls them, from coarse to fine; how many make a year; with which number 1970 starts.
FREQUENCIES = {"year": "Y", "quarter": "Q", "month": "M", "week": "W", "day": "D"}
A_YEAR = {"year": 1, "quarter": 4, "month": 12, "week": 52, "day": 366}
LATEST_YEAR = 9999
START = {"year": 1970, "quarter": 4 * 1970, "month": 12 * 1970, "week": 0, "day": 0}
# Texts that say one date only: the year stands first. "3/4/2010" may be a day of March or of April.
FORMS = {
    "Y": re.compile(r"(?P<year>\d{4})"),
    "Q": re.compile(r"(?P<year>\d{4})[-/. ]?[qQ](?P<quarter>[1-4])"),
    # 2010.1 may be January, October that has lost its zero, a first quarter or a tenth of a year.
    "M": re.compile(r"(?P<year>\d{4})(?:[-/mM]|\.?(?=\d\d$))(?P<month>\d{1,2})"),
    "D": re.compile(r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})(?:[ T/].*)?"),
}
_DAY = re.compile(r"(\d{4})(\d\d)(\d\d)")


def number_of(value: Any, unit: str, fiscal: str = "") -> float:
    """Return the number of the period that a date is in, as :func:`name_of` reads it; NaN where that is not certain.

    A year is no date in a quarter or month, and a month none in a week or day. A number of more digits than a year has,
    such as 200101, is no date in a year: who writes months means months. A finer date than the unit is in the period of
    that name by a ``fiscal`` frequency of pandas, such as "Y-JUN", if one is given.
    """
    import pandas as pd

    integer = _integer(value)
    if unit == "year" and integer is not None:
        return float(integer) if abs(integer) <= LATEST_YEAR else np.nan
    frequency = FREQUENCIES[unit]
    try:
        if isinstance(value, datetime.date | np.datetime64):
            period: pd.Period | None = pd.Period(pd.Timestamp(value).tz_localize(None), "D")
        elif isinstance(value, pd.Period):
            period = value
        else:
            period = _of_text(str(value).strip() if integer is None else str(integer))
        coarse = list(FREQUENCIES.values())
        if period is None or (period.freqstr[0] in coarse[: coarse.index(frequency)]):
            return np.nan
        if fiscal and period.freqstr[0] != frequency:
            period = _of_text(str(period.asfreq(fiscal))) or period
        return float(period.asfreq(frequency).ordinal + START[unit])
    except (ValueError, OverflowError):
        return np.nan


def finer_than_year(text: str) -> str:
    """Return the units in which a number of more digits than a year is a date: six are a month, eight a day."""
    return {6: '"month"', 8: '"day" or "month"'}.get(len(str(_integer(text))), "")


def _of_text(text: str) -> pd.Period | None:
    import pandas as pd

    text = _DAY.sub(r"\1-\2-\3", text) if _DAY.fullmatch(text) else text
    for frequency, form in FORMS.items():
        if match := form.fullmatch(text):
            parts = {key: int(part) for key, part in match.groupdict().items()}
            # pandas makes January of the next year of a thirteenth month.
            datetime.date(parts["year"], parts.get("month", 1), parts.get("day", 1))
            return pd.Period(freq=frequency, **parts)
    return None


def as_float(value: Any) -> float:
    """Return what is or says a number as a float, NaN for anything else."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def _integer(value: Any) -> int | None:
    number = as_float(value)
    return int(number) if number.is_integer() and abs(number) < 1e9 else None


def name_of(number: float, unit: str | None) -> str:
    """Return a period of the calendar in words, for example "2010-03" for the number of a month."""
    if unit not in FREQUENCIES or unit == "year" or not np.isfinite(number):
        return f"{number:.0f}"
    import pandas as pd

    period = pd.Period(ordinal=int(number) - START[unit], freq=FREQUENCIES[unit])
    return str(period.start_time.date()) if unit == "week" else str(period)


@dataclass(frozen=True)
class Ranks:
    """Distinct labels in their order; the rank of the first is 1.

    Attributes
    ----------
    labels : tuple of str
    keys : tuple
        By label, what is compared.
    categories : tuple of str
        All labels in their order where the user says it; empty where numbers in the labels do.
    """

    labels: tuple[str, ...]
    keys: tuple[Any, ...]
    categories: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: Sequence[str], categories: Sequence[str] = ()) -> Ranks:
        """Order labels; those whose place is not certain are left out.

        It is certain where they are numbers, or differ in numbers alone: "wave 2" and "wave 10", "2010/11" and
        "2011/12". Of several numbers in a label the first has to be a year; of years with two digits, such as "FY98"
        and "FY03", no order is certain across a century.
        """
        keys = {text: key for text in texts if (key := _key(text, categories)) is not None}
        usual = Counter(key[0] for key in keys.values()).most_common(1)
        first: dict[Any, str] = {}
        for text, (kind, numbers) in keys.items():
            if kind == usual[0][0]:
                first.setdefault(numbers, text)
        ordered = sorted(first)
        short = all(re.fullmatch(r"\D*\d\d\D*", text) for text in first.values())
        if short and any(after[0] - before[0] > 50 for before, after in pairwise(ordered)):
            ordered = []  # 98 and 99 stand before 00, if they are years
        return cls(tuple(first[key] for key in ordered), tuple(ordered), tuple(categories))

    def rank(self, text: str) -> float:
        """Return the rank of a label, or of the first one after it; NaN where its place is not certain.

        A date before the first label has its rank. One after the last is as many steps later as the last two labels
        that are numbers are apart, and otherwise beyond any lag.
        """
        key = _key(text, self.categories)
        own = _key(self.labels[0], self.categories) if self.labels else None
        if key is None or own is None or key[0] != own[0] or _may_be_month(text, self.labels):
            return np.nan
        place = bisect_left(self.keys, key[1])
        if place < len(self.keys):
            return place + 1.0
        if own[0] == () and place > 1:
            (before,), (last,), (date,) = *self.keys[-2:], key[1]
            return float(place + np.ceil((date - last) / (last - before)))
        return 2.0 * place


def _may_be_month(text: str, beside: Sequence[str]) -> bool:
    """Return whether a label such as 2010.10 or 2010.11 is no decimal, or may be none: 2010.9 stands beside it."""
    if not re.fullmatch(r"\d{4}\.(\d+0|1[0-2])", text):
        return False
    return any(len(other) < len(text) and re.fullmatch(r"\d{4}\.[1-9]\d*", other) for other in beside)


def _key(text: str, categories: Sequence[str]) -> tuple[tuple[str, ...], tuple[float, ...]] | None:
    """Return what a label is beside its numbers, and these."""
    if categories:
        return (("category",), (float(categories.index(text)),)) if text in categories else None
    number = as_float(text)
    if np.isfinite(number) and "_" not in text:  # Python reads 2010_11 as 201011
        return (), (number,)
    parts = re.split(r"(\d+)", text)
    numbers = parts[1::2]
    if not numbers or (len(numbers) > 1 and len(numbers[0]) != 4):
        return None
    return tuple(parts[::2]), tuple(map(float, numbers))


# Periods that one whole number says whether they are seen, a bit each; more bits are no plain integers to every engine.
BITS = 30
COMMA = r"^[+-]?\d+,\d+$"  # a number as much of Europe writes it, and no label
NO_NUMBER = ("", "na", "nan", "<na>", "none", "nat")
TRUTH = {"true": 1.0, "false": 0.0}
# What other packages write for never, beside an empty cell and 0.
ENDLESS = ("inf", "+inf", "infinity")
# Beyond it a float does not tell neighbouring whole numbers apart.
LARGEST = {"float64": 2.0**53, "float32": 2.0**24}
LARGEST_NUMBER = int(np.finfo(float).max)
# Among the ``attrs`` of a table: by column, the labels of numbers that stand for them, as Stata keeps them.
VALUE_LABELS = "value_labels"
# Among them too: columns of times whose zone a Parquet file has not kept, so that only midnight has a certain day.
ZONE_LOST = "zone_lost"
# And by column, what pandas wrote of which a Parquet file has kept numbers or texts alone.
TYPES_LOST = "types_lost"
ORDERED = "ordered category"
# What a time ends with that says nothing, as engines leave it out.
_MIDNIGHT_OR_ZEROS = re.compile(r" 00:00:00$|(\.\d*[1-9])0+(?!\d)")
_FLOAT_OR_EMPTY = re.compile(r"-?\d+\.0|")
# Objects of these kinds, as pandas infers them, are read as they are.
PLAIN = ("string", "floating", "boolean", "decimal", "empty")


Method = TypeVar("Method", bound=Callable[..., Any])


def _once(read: Method) -> Method:
    """Make a method of a table read what it says once for each of its arguments."""

    @wraps(read)
    def parsed(rows: Rows, *args: Any) -> Any:
        key = (read.__name__, *args)
        if key not in rows._parsed:
            rows._parsed[key] = read(rows, *args)
        return rows._parsed[key]

    return cast("Method", parsed)


@dataclass(frozen=True, eq=False)
class Rows:
    """A long table, its columns parsed once each.

    Attributes
    ----------
    table : DataFrame
    lines : ndarray of int, optional
        Line of the file on which each row stands; rows of a table in memory count from one.
    unit, time : str
        Columns that identify a row.
    period : str, optional
        What periods are counted in, see :mod:`study.panel.rows`; whole numbers if it is not said.
    never : float or str, optional
        What stands for never in a column of first treated periods, beside an empty cell, Inf, and 0 before the first
        period.
    """

    table: pd.DataFrame
    lines: IntArray | None = None
    unit: str = ""
    time: str = ""
    period: str | None = None
    never: float | str | None = None
    _parsed: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def place(self, row: int) -> str:
        """Name a row as its user counts, for example "line 5"."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def cell(self, column: str, row: int) -> str:
        """Return what a cell holds, as text without spaces around it; the beginning of a long one."""
        return short(str(self.texts(column, np.array([row]))[0]))

    def texts(self, column: str, rows: IntArray) -> NDArray[Any]:
        """Return what the cells of some rows hold, as in :meth:`cell`."""
        return self.plain(column).iloc[rows].astype("string").str.strip().fillna("").to_numpy(dtype=object)

    def _raw(self, column: str) -> pd.Series:
        """Return a column as it is, lists and the like of the Arrow format as objects."""
        import pandas as pd

        raw = self.table[column]
        return raw.astype(object) if isinstance(raw.dtype, pd.ArrowDtype) and raw.dtype.kind == "O" else raw

    @_once
    def plain(self, column: str) -> pd.Series:
        """Return a column whose cells are one value each: annual periods as years, lists and the like as texts."""
        import pandas as pd

        raw = self._raw(column)
        if isinstance(raw.dtype, pd.CategoricalDtype) and raw.cat.categories.dtype.kind in "Oc":
            raw = raw.astype(object)
        kind = pd.api.types.infer_dtype(raw, skipna=True) if raw.dtype == object else ""
        if kind == "period" and len(steps := {each.freqstr for each in raw.dropna()}) == 1:
            raw = raw.astype(f"period[{steps.pop()}]")
        if isinstance(raw.dtype, pd.PeriodDtype):
            years = re.fullmatch(r"period\[[YA](-[A-Z]+)?\]", str(raw.dtype))
            # pandas has -1 for the year of a period that is missing.
            return raw.dt.year.astype("Int64").where(raw.notna()) if years else raw.astype("string")
        if raw.dtype.kind == "c" or (raw.dtype == object and kind not in PLAIN):
            return raw.astype(object).map(_scalar)
        return raw

    def compound(self, column: str) -> BoolArray:
        """Return which cells hold several values: a list, a mapping, an array."""
        import pandas as pd

        raw = self._raw(column)
        if raw.dtype != object or pd.api.types.infer_dtype(raw, skipna=True) in PLAIN:
            return np.zeros(len(raw), dtype=bool)
        several = [pd.api.types.is_list_like(cell) and not isinstance(cell, bytearray) for cell in raw]
        return np.array(several, dtype=bool)

    @_once
    def each(self) -> int:
        """Return T where the table lists unit after unit, each with the same T periods in the same order, else 1."""
        import pandas as pd

        # A heading may be empty, as the name of no unit is.
        if not self.unit or self.unit not in self.table or self.time not in self.table:
            return 1
        if self.plain(self.unit).isna().any() or self.plain(self.time).isna().any():
            return 1
        unit, time = self.plain(self.unit).to_numpy(), self.plain(self.time).to_numpy()
        changes = np.asarray(unit[1:] != unit[:-1])
        each = int(changes.argmax()) + 1 if changes.any() else len(unit)
        if each < 2 or len(unit) % each or not _constant(unit.reshape(-1, each)):
            return 1
        if not np.all(time.reshape(-1, each) == time[:each]) or len(pd.unique(self._when(each))) < each:
            return 1
        return each if len(self._names(self.unit, each)[0]) == len(unit) // each else 1

    @_once
    def fixed(self, column: str) -> bool:
        """Say whether a column is seen at once not to change within units, since the table lists unit after unit."""
        if self.each() == 1:
            return False
        cells = self.plain(column)
        # Codes are compared faster than texts.
        cells = self._coded(column)[0] if _all_texts(cells) else cells.to_numpy()
        return _constant(cells.reshape(-1, self.each()))

    @_once
    def _coded(self, column: str) -> tuple[IntArray, pd.Series]:
        """Return the number of each cell's value, and the values."""
        import pandas as pd

        codes, values = pd.factorize(self.plain(column))
        return codes, pd.Series(values)

    def distinct(self, column: str) -> tuple[NDArray[Any], IntArray, int]:
        """Return labels as :meth:`labels` does, with one code for as many rows on end as the last value says."""
        each = self.each() if self.fixed(column) else 1
        return (*self._names(column, each), each)

    @_once
    def _names(self, column: str, each: int) -> tuple[NDArray[Any], IntArray]:
        import pandas as pd

        codes, values = pd.factorize(self.plain(column).iloc[::each])
        words = {} if column == self.time else self.table.attrs.get(VALUE_LABELS, {}).get(column, {})
        # A float of 32 bits has its own digits, and not those of the nearest of 64.
        there = [*values.to_numpy()] if values.dtype == np.float32 else values.tolist()
        texts = [str(value).strip() for value in ([words.get(v, v) for v in there] if words else there)]
        if values.dtype.kind == "M":
            texts = [_MIDNIGHT_OR_ZEROS.sub(r"\1", text) for text in texts]
        # Whole numbers beside empty cells are floats in some files, and in others not.
        if all(map(_FLOAT_OR_EMPTY.fullmatch, texts)):
            texts = [text.removesuffix(".0") for text in texts]
        if (codes == -1).any():
            codes, texts = np.where(codes == -1, len(texts), codes), [*texts, ""]
        names, position = np.unique(np.array(texts, dtype=str), return_inverse=True)
        return names, position[codes]

    @_once
    def compact(self, column: str) -> tuple[FloatArray, BoolArray, int]:
        """Return numbers as :meth:`numbers` does, with one for as many rows on end as the last value says."""
        each = self.each() if self.fixed(column) else 1
        if _all_texts(self.plain(column)):  # each text is read once
            codes, texts = self._coded(column)
            values, bad = _read(texts)
            return values[codes[::each]], bad[codes[::each]], each
        return (*_read(self.plain(column).iloc[::each]), each)

    def in_words(self, column: str) -> bool:
        """Return whether a column of the table has words alone, or three numbers or more that all stand for words.

        Two numbers are the same covariate as two words.
        """
        if list(self.table.columns).count(column) != 1:
            return False
        values, bad, _ = self.compact(column)
        if np.isnan(values).all():
            return bool(bad.any()) and not any(re.match(COMMA, name) for name in self.labels(column)[0])
        words = self.table.attrs.get(VALUE_LABELS, {}).get(column, {})
        numbers = {*values[~np.isnan(values)]} if words else set()  # a column of millions is no set in vain
        return len(numbers) > 2 and numbers <= words.keys()

    def rounded(self, column: str) -> BoolArray:
        """Return which labels are floats so large that whole numbers beside them are the same float."""
        import pandas as pd

        kind = self.plain(column).dtype
        if isinstance(kind, pd.StringDtype) or kind.kind not in "fO":
            return np.zeros(len(self), dtype=bool)
        codes, values = self._coded(column)
        single = values.dtype.kind == "f" and values.dtype.itemsize == 4
        limit = LARGEST["float32" if single else "float64"]
        large = [isinstance(value, float) and abs(value) >= limit for value in values.tolist()]
        return np.array([*large, False])[codes]

    @_once
    def labels(self, column: str) -> tuple[NDArray[Any], IntArray]:
        """Return the distinct labels of a column, sorted, and the number of each row's label.

        Labels are text without spaces around them; an empty cell has the label "".
        """
        names, codes, each = self.distinct(column)
        return names, spread(codes, each)

    @_once
    def numbers(self, column: str) -> tuple[FloatArray, BoolArray]:
        """Return a column as float64 with NaN in empty cells, and which cells hold something else."""
        values, bad, each = self.compact(column)
        return spread(values, each), spread(bad, each)

    @_once
    def when(self) -> FloatArray:
        """Return the periods of the rows as whole numbers, NaN where it is not certain which."""
        return np.tile(self.when_first(), len(self) // max(len(self.when_first()), 1))

    @_once
    def when_first(self) -> FloatArray:
        """Return the periods of the first rows, which all others repeat: of the first unit, or of all rows."""
        return self._when(self.each() if self.each() > 1 else len(self))

    @_once
    def _when(self, number: int) -> FloatArray:
        """Return the periods of so many first rows."""
        rows = Rows(self.table[:number], time=self.time, period=self.period)
        if self.period is not None:
            return rows._numbered(self.time, 1)
        values = rows.numbers(self.time)[0]
        integer = (values == np.round(values)) & (np.abs(values) < LARGEST["float64"])
        return np.where(integer, values, np.nan)

    @_once
    def periods(self) -> IntArray:
        """Return the distinct periods, ascending."""
        import pandas as pd

        periods = np.sort(pd.unique(self.when_first()))
        return periods[~np.isnan(periods)].astype(np.int64)

    @_once
    def ranks(self) -> Ranks:
        """Return the periods in their order, where they are counted by rank."""
        import pandas as pd

        raw = self.table[self.time]
        ordered = isinstance(raw.dtype, pd.CategoricalDtype) and raw.cat.ordered
        names = self.labels(self.time)[0]
        return Ranks.of([name for name in names if name], [*map(str, raw.cat.categories)] if ordered else ())

    def _numbered(self, column: str, each: int) -> FloatArray:
        """Return the number of the period that each cell of a column names, NaN where it is not certain which.

        Of every so many rows on end one is read.
        """
        import pandas as pd

        if self.period == "rank":
            names, codes = self._names(column, each)
            return np.array([self.ranks().rank(name) if name else np.nan for name in names])[codes]
        cells, unit, when = self.plain(column), str(self.period), self.table[self.time]
        if when.dtype.kind == "M" and _frequency(self.table[column])[:1] == FREQUENCIES[unit]:
            # A fiscal quarter is not that of the calendar.
            cells = self.table[column].map(lambda period: period.end_time, na_action="ignore")
        codes, values = pd.factorize(cells.iloc[::each])
        frequency = _frequency(when)
        number = np.array([*(number_of(value, unit, frequency) for value in values), np.nan])
        if column in self.table.attrs.get(ZONE_LOST, ()):
            number[:-1][values != values.normalize()] = np.nan
        return number[codes]

    @_once
    def period_names(self) -> tuple[str, ...]:
        """Return the periods, ascending, as the table writes them where it does so in one way; () for whole numbers."""
        import pandas as pd

        if self.period is None:
            return ()
        if self.period == "rank":
            return self.ranks().labels
        values = pd.factorize(self.plain(self.time))[1]
        written: dict[float, set[Any]] = {}
        for value in values:
            written.setdefault(number_of(value, self.period), set()).add(value)
        names = []
        for period in self.periods():
            alike = written.get(float(period), set())
            text = next(iter(alike)) if len(alike) == 1 else None
            if not isinstance(text, str) or as_float(text) == period:  # "2010.00" from a database is 2010
                text = name_of(period, self.period)
            names.append(text.strip())
        return tuple(names)

    def period_name(self, period: float) -> str:
        """Return a period as the table writes it."""
        return period_name(period, self.periods(), self.period_names(), self.period)

    @_once
    def dates(self, column: str) -> tuple[FloatArray, BoolArray]:
        """Return first treated periods as the numbers of periods, NaN for never, and which cells are no date.

        A zero before the first period is what other packages write for never.
        """
        values, bad, each = self.compact_dates(column)
        return spread(values, each), spread(bad, each)

    @_once
    def compact_dates(self, column: str) -> tuple[FloatArray, BoolArray, int]:
        """Return dates as :meth:`dates` does, with one for as many rows on end as the last value says."""
        numbers, bad, each = self.compact(column)
        never, strange = np.isnan(numbers) & ~bad, np.flatnonzero(bad)
        stated = str(self.never).strip()
        texts = [text.lower() for text in self.texts(column, strange * each)]
        never[strange] = np.isin(texts, (*ENDLESS, stated.lower()))
        if self.never is not None:
            never |= numbers == as_float(stated)
        never |= (numbers == 0) & (self.first_number() > 0)
        if self.period is None:
            return np.where(never, np.nan, numbers), bad & ~never, each
        values = self._numbered(column, each)
        return np.where(never, np.nan, values), np.isnan(values) & ~never, each

    def first_number(self) -> float:
        """Return the first period where periods are numbers of the user's own, infinity where they are not."""
        if self.period is None:
            return float(min(self.periods(), default=-np.inf))
        first = as_float(self.ranks().labels[0]) if self.period == "rank" and self.ranks().labels else np.nan
        return np.inf if np.isnan(first) else first

    @_once
    def cells(self, unit: str) -> IntArray:
        """Return a number that two rows share only if they are of one unit and period; -1 where either is unknown."""
        names, codes = self.labels(unit)
        known = ~np.isnan(self.when()) & (names != "")[codes]
        position = np.searchsorted(self.periods(), np.nan_to_num(self.when()))
        return np.where(known, codes * len(self.periods()) + position, -1)

    @_once
    def first_of(self, column: str) -> IntArray:
        """Return for each label, as :meth:`labels` sorts them, the first row that has it."""
        codes = self.labels(column)[1]
        first = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
        # Of repeated indices numpy keeps the last assignment, which in reversed order is the first row.
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        return first


def spread(values: NDArray[Any], each: int) -> NDArray[Any]:
    """Repeat each value for as many rows on end as it stands for."""
    if each > 1 and values.dtype == bool and not values.any():
        return np.zeros(len(values) * each, dtype=bool)
    return values if each == 1 else np.repeat(values, each)


def period_name(period: float, periods: IntArray, names: Sequence[str], unit: str | None) -> str:
    """Return a period in words: its name among those of the panel, or what the calendar calls it.

    Parameters
    ----------
    period : float
    periods : ndarray of int, shape (T,)
    names : sequence of str
        Of the periods; none for whole numbers.
    unit : str, optional
        What periods are counted in.
    """
    if names and period in periods:
        return names[int(np.argmax(periods == period))]
    if names and unit == "rank":
        return f"after {names[-1]}" if period > periods[0] else f"before {names[0]}"
    return name_of(period, unit)


def _frequency(cells: pd.Series) -> str:
    """Return the frequency of periods of pandas, such as "Q-JUN"; nothing of other cells."""
    return getattr(next(iter(cells.dropna()), None), "freqstr", "")


def _scalar(cell: Any) -> Any:
    """Return what is one number or label, or the text of what is not; a number that is too large is infinite."""
    import pandas as pd

    if isinstance(cell, np.bool_ | np.number):  # numpy's do not compare with integers beyond its own
        cell = cell.item()
    if isinstance(cell, complex):
        return cell.real if cell.imag == 0 else str(cell)
    if isinstance(cell, int) and abs(cell) > LARGEST_NUMBER:
        return np.inf if cell > 0 else -np.inf
    if isinstance(cell, bytes | bytearray):
        return cell.decode(errors="backslashreplace")
    if isinstance(cell, np.ndarray) and cell.ndim == 0:
        return cell.item()
    return " ".join(str(cell).split()) if pd.api.types.is_list_like(cell) else cell


def _all_texts(cells: pd.Series) -> bool:
    import pandas as pd

    return isinstance(cells.dtype, pd.StringDtype) and not cells.isna().any()


def _read(raw: pd.Series) -> tuple[FloatArray, BoolArray]:
    """Return cells as float64 with NaN in empty ones, and which hold something else."""
    import pandas as pd

    if raw.dtype.kind in "mM":
        raw = raw.astype("string")
    if isinstance(raw.dtype, np.dtype) and raw.dtype.kind in "fiu":
        values = raw.to_numpy(dtype=float)
        bad = np.isinf(values)
    else:
        values = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=float, na_value=np.nan, copy=True)
        bad = np.isinf(values)
        if raw.dtype == object:  # texts of pandas 2, whose parser misses the last digit of some numbers
            read = np.flatnonzero(np.isfinite(values))
            values[read] = raw.iloc[read].to_numpy(dtype=object).astype(float)
        unread = np.flatnonzero(np.isnan(values))
        codes, there = pd.factorize(raw.iloc[unread])
        words = [str(value).strip().lower() for value in there]
        # The parser of pandas takes a no-break space for a letter.
        parsed = pd.to_numeric(pd.Series(words, dtype=object), errors="coerce").to_numpy(dtype=float)
        parsed = np.array([TRUTH.get(word, number) for word, number in zip(words, parsed, strict=True)])
        strange = np.array([word not in NO_NUMBER for word in words], dtype=bool) & ~np.isfinite(parsed)
        filled = codes >= 0
        bad[unread[filled]] = strange[codes[filled]]
        values[unread[filled]] = parsed[codes[filled]]
    return (np.where(bad, np.nan, values) if bad.any() else values), bad


def _constant(blocks: NDArray[Any]) -> bool:
    """Say whether rows hold one value each; objects with missing ones among them are not looked at."""
    import pandas as pd

    if blocks.dtype == object and pd.isna(blocks).any():
        return False
    same = np.asarray(blocks == blocks[:, :1])
    if not same.all() and blocks.dtype.kind == "f":
        same |= np.isnan(blocks) & np.isnan(blocks[:, :1])
    return bool(same.all())


def rows_by(group: IntArray) -> list[IntArray]:
    """Return the rows of each group 0..G-1, ascending; shape (n,)."""
    return np.split(np.argsort(group, kind="stable"), np.cumsum(np.bincount(group))[:-1])


def strata(group: IntArray, seen: BoolArray, covariates: FloatArray, outcome: FloatArray) -> IntArray:
    """Number the sets of units of one group, seen in the same periods, with the same covariates, shape (n,).

    Units alone in their set, or with the same outcomes as all others in it, have -1: of one path of outcomes nobody can
    say whether it is by chance that it has no influence. seen and outcome have shape (n, T), covariates (n, p).
    """
    parts = np.split(seen, range(BITS, seen.shape[1], BITS), axis=1)
    words = [part @ 2 ** np.arange(part.shape[1]) for part in parts]
    number = group
    for column in [*words, *covariates.T]:
        distinct, code = np.unique(column, return_inverse=True)
        number = np.unique(number * len(distinct) + code, return_inverse=True)[1]
    first = np.unique(number, return_index=True)[1]
    differs = np.any((outcome != outcome[first[number]]) & seen, axis=1)
    return np.where(np.bincount(number, differs)[number] > 0, number, -1)
