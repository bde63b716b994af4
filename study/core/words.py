"""How sentences put names together."""

from __future__ import annotations

from collections.abc import Iterable


def capital(text: str) -> str:
    """Return a text that can open a sentence."""
    return text[:1].upper() + text[1:]


def listed(items: Iterable[str], word: str = "and") -> str:
    """Return items as a list in a sentence."""
    *most, last = items
    return f"{', '.join(most)} {word} {last}" if most else last
