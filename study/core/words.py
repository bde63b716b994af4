"""How sentences put names together, and how they stand on a page of a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

WIDTH = 100


def capital(text: str) -> str:
    """Return a text that can open a sentence."""
    return text[:1].upper() + text[1:]


def listed(items: Iterable[str], word: str = "and") -> str:
    """Return items as a list in a sentence."""
    *most, last = items
    return f"{', '.join(most)} {word} {last}" if most else last


def paragraph(text: str, bullet: str = "") -> str:
    """Return a text in lines of a terminal's page, after a bullet where there is one."""
    return textwrap.fill(
        text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_long_words=False
    )


def section(title: str, sentences: Iterable[str]) -> str:
    """Return sentences as the points of a section, each once."""
    return "\n".join([title, *(paragraph(sentence, "  - ") for sentence in dict.fromkeys(sentences))])
