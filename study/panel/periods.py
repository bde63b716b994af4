"""What periods are counted in: whole numbers, years, quarters, months, weeks, days, or ranks of what has an order."""

from __future__ import annotations

import datetime
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

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


def number_of(value: Any, unit: str) -> float:
    """Return the number of the period that a date is in, as :func:`name_of` reads it; NaN where that is not certain.

    A year is no date in a quarter or month, and a month none in a week or day. A number of more digits than a year has,
    such as 200101, is no date in a year: who writes months means months.
    """
    import pandas as pd

    integer = _integer(value)
    if unit == "year" and integer is not None:
        return float(integer) if abs(integer) <= LATEST_YEAR else np.nan
    frequency = FREQUENCIES[unit]
    try:
        if isinstance(value, datetime.date | np.datetime64):
            period: pd.Period | None = pd.Period(pd.Timestamp(value).tz_localize(None), frequency)
        elif isinstance(value, pd.Period):
            period = value
        else:
            period = _of_text(str(value).strip() if integer is None else str(integer))
        coarse = list(FREQUENCIES.values())
        if period is None or (period.freqstr[0] in coarse[: coarse.index(frequency)]):
            return np.nan
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
        "2011/12". Of several numbers in a label the first has to be a year.
        """
        keys = {text: key for text in texts if (key := _key(text, categories)) is not None}
        usual = Counter(key[0] for key in keys.values()).most_common(1)
        first: dict[Any, str] = {}
        for text, (kind, numbers) in keys.items():
            if kind == usual[0][0]:
                first.setdefault(numbers, text)
        ordered = sorted(first)
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
