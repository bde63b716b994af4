"""The digits that a number is recorded and written with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

# What is recorded of an estimate: ten times finer than references are met, a million times coarser than rounding.
RECORDED = 8


def significant(value: float, digits: int = RECORDED, *, beside: float = 0.0) -> float:
    """Return a number with some significant digits, counted from the larger of it and another one.

    An effect is counted from its standard error where that is larger: what is below is rounding, which differs
    between processors.

    Parameters
    ----------
    value : float
    digits : int
    beside : float
        Of the same unit; NaN and 0 count for nothing.
    """
    largest = max(abs(value), abs(beside)) if math.isfinite(beside) else abs(value)
    if not (math.isfinite(value) and largest):
        return value
    exponent = int(f"{largest:.{digits - 1}e}".partition("e")[2])
    decimals = digits - 1 - exponent
    return round(round(value, decimals + 4), decimals) + 0.0  # a half as it is meant, not as it was added up


def decimals(digits: int, *values: float) -> int:
    """Return decimals, or as many more as leave three significant digits where these leave nothing of any value.

    Below 1e-12 there is only rounding.
    """
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return digits if largest < 1e-12 or round(largest, digits) else 2 - math.floor(math.log10(largest))


def distinct_texts(texts: Callable[[int], Sequence[str]], digits: int) -> Sequence[str]:
    """Return texts of numbers with some significant digits, or with as many more as make no two texts the same."""
    with_digits = map(texts, range(digits, 18))
    return next((each for each in with_digits if len({*each}) == len(each)), texts(17))
