"""How sentences put names together, and how they stand on a page of a terminal."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable

WIDTH = 100
# Smaller p-values are said to be below it, in tables and in sentences.
SMALLEST_P = 0.001


def capital(text: str) -> str:
    """Return a text that can open a sentence."""
    return text[:1].upper() + text[1:]


def listed(items: Iterable[str], word: str = "and") -> str:
    """Return items as a list in a sentence."""
    *most, last = items
    return f"{', '.join(most)} {word} {last}" if most else last


def p_text(value: float) -> str:
    """Return a p-value for a sentence: three decimals, or that it is below them."""
    if math.isnan(value):
        return "(none)"
    return f"below {SMALLEST_P:g}" if value < SMALLEST_P else f"{value:.3f}"


def p_is(value: float) -> str:
    """Return a p-value with its sign: ``p = 0.030`` or ``p < 0.001``."""
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
