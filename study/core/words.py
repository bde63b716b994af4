"""How numbers, sentences and facts stand on a page: of a terminal, or in a session that shows an object."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from study.core.errors import visible

if TYPE_CHECKING:
    import pandas as pd

K = TypeVar("K")
V = TypeVar("V")
# What is recorded of an estimate: ten times finer than references are met, a million times coarser than rounding.
RECORDED = 8
WITHOUT_DECIMALS, THREE_DIGITS = 100_000, 100
# Significant digits of a number that are more than rounding.
MEANT = 11


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


def fixed(value: float, digits: int) -> str:
    """Return a number with so many decimals, a half as it is meant and not as it was added up; never minus zero."""
    # Large numbers have too few of the digits that are meant behind those shown.
    is_large = abs(value) >= 10.0 ** (MEANT - 4 - digits)
    return f"{round(value if is_large else significant(value, MEANT), digits) + 0.0:.{digits}f}"


def decimals(digits: int, *values: float) -> int:
    """Return decimals, or as many more as leave three significant digits where these leave nothing of any value.

    Below 1e-12 there is only rounding. There are none where the largest value has six digits before the point and all
    others, but for 0, have three.
    """
    sizes = [abs(value) for value in values if math.isfinite(value) and value]
    largest = max(sizes, default=0.0)
    if largest >= WITHOUT_DECIMALS and min(sizes) >= THREE_DIGITS:
        return 0
    return digits if largest < 1e-12 or round(largest, digits) else 2 - math.floor(math.log10(largest))


def distinct_texts(texts: Callable[[int], Sequence[str]], digits: int) -> Sequence[str]:
    """Return texts of numbers with some significant digits, or with as many more as make no two texts the same."""
    with_digits = map(texts, range(digits, 18))
    return next((each for each in with_digits if len({*each}) == len(each)), texts(17))


WIDTH = 100
SHOWN = 6  # of names in a row
LONGEST_QUOTED = 60
# Smaller p-values are said to be below it, in tables and in sentences.
SMALLEST_P = 0.001


def capital(text: str) -> str:
    """Return a text that can open a sentence."""
    return text[:1].upper() + text[1:]


def listed(items: Iterable[str], word: str = "and") -> str:
    """Return items as a list in a sentence."""
    *most, last = items
    return f"{', '.join(most)} {word} {last}" if most else last


def grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    """Return values by what they stand under, which is in the order in which it first comes.

    >>> grouped([("b", 1), ("a", 2), ("b", 3)])
    {'b': [1, 3], 'a': [2]}
    """
    together: dict[K, list[V]] = {}
    for key, value in pairs:
        together.setdefault(key, []).append(value)
    return together


def counted(number: float, what: str, form: str = "") -> str:
    """Return how many there are of what: ``1 unit``, ``2 units``; the number in a form of its own if one is given."""
    return f"{number:{form}} {what}{'' if number == 1 else 's'}"


def p_text(value: float) -> str:
    """Return a p-value for a sentence: three decimals, or that it is below them."""
    if math.isnan(value):
        return "(none)"
    return f"below {SMALLEST_P:g}" if value < SMALLEST_P else f"{value:.3f}"


def p_is(value: float) -> str:
    """Return a p-value with its sign: ``p = 0.030`` or ``p < 0.001``; where it is NaN, that there is none."""
    if math.isnan(value):
        return "no p-value"
    text = p_text(value)
    return f"p < {SMALLEST_P:g}" if text.startswith("below") else f"p = {text}"


def paragraph(text: str, bullet: str = "") -> str:
    """Return a text in lines of a terminal's page, after a bullet where there is one."""
    return textwrap.fill(
        text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_long_words=False
    )


def section(title: str, sentences: Iterable[str]) -> str:
    """Return sentences as the points of a section, each once."""
    return "\n".join([title, *(paragraph(sentence, "  - ") for sentence in dict.fromkeys(sentences))])


def first_of(items: Iterable[str], most: int = SHOWN) -> str:
    """Return the first few items, and how many there are besides."""
    names = [*items]
    more = [f"and {len(names) - most} more"] if len(names) > most + 1 else []
    return ", ".join([*(names[:most] if more else names), *more])


def short(text: str, most: int = LONGEST_QUOTED) -> str:
    """Return a text as a message quotes it: the beginning of a long one, with what is no visible character in code."""
    return visible(text if len(text) <= most else f"{text[:most]}...")


def lines(title: str, facts: Mapping[str, str]) -> str:
    """Return a title and, below it, facts by what they are."""
    return "\n".join([title, *(paragraph(f"{name}: {fact}", "  ") for name, fact in facts.items())])


def html_page(title: str, sentences: Iterable[str], frame: pd.DataFrame) -> str:
    """Return a title, sentences and a table as HTML."""
    paragraphs = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in sentences)
    table = frame.to_html(index=False, na_rep="", float_format="%.4g", border=0)
    return f"<h4>{html.escape(title)}</h4>{paragraphs}{table}"


class Text(str):
    """A text that a session shows as it reads, and not as a literal."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the text."""
        return str(self)


class Described:
    """An object that shows itself by its title and a few facts, as lines of text or as HTML."""

    def _described(self) -> tuple[str, Mapping[str, str]]:
        """Return a title, and facts by what they are."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return the title and the facts, one a line."""
        return lines(*self._described())

    def _repr_html_(self) -> str:
        title, facts = self._described()
        cells = (
            f"<tr><th>{html.escape(name)}</th><td>{html.escape(fact)}</td></tr>"
            for name, fact in facts.items()
        )
        return f"<h4>{html.escape(title)}</h4><table>{''.join(cells)}</table>"
