"""Topics of papers, told from their titles by the word lists of ``data/topics.toml``.

`compute_heavy` means that a title names a large neural model, the training or running of one, or a task that only such
models do. The compute divide of Besiroglu et al. (2024) is about topics, foundation models and large self-supervised
ones above all; Ahmed and Wahed (2020) date it from the rise of deep learning. A title does not tell how large a network
is, so the line drawn here is deep learning. Radiance fields, Gaussian splats, graph networks and spiking networks are
out, since one desktop GPU trains them. A title that announces a proof or a bound is theory and never heavy.

These words are names of methods, and methods got their names over time: that the share rises from about nothing before
2012 is partly the phenomenon and partly the vocabulary, and a title that names only a task (detection, in 2023) is not
heavy although a network did it. `area` goes by the task, whose words are older than the methods: a panel that fixes its
topics by area leaves the change of methods inside them. Both read a title of 1987 and one of 2025 by the same words.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import pandas as pd

from study.core import DataError
from study.panel.shipped import shipped

AREAS = ("vision", "language", "speech", "reinforcement learning", "robotics", "theory", "graphics", "other")

_BETWEEN_WORDS = re.compile(r"[\W_]+")
_WILD = {"*": r"\w*", "+": r"\w+"}


class _Words(NamedTuple):
    """A title or a list of areas as words, one space before and after each, with capitals and without."""

    cased: str
    lower: str

    @classmethod
    def of(cls, text: str) -> _Words:
        cased = f" {_BETWEEN_WORDS.sub(' ', unicodedata.normalize('NFKC', text)).strip()} "
        return cls(cased, cased.lower())


@dataclass(frozen=True)
class _Group:
    """Patterns of one group of words; `only_with` is None where the words suffice by themselves."""

    terms: re.Pattern[str]
    cased: re.Pattern[str] | None
    only_with: re.Pattern[str] | None

    def has(self, words: _Words) -> bool:
        found = self.terms.search(words.lower) or (self.cased and self.cased.search(words.cased))
        return bool(found) and (self.only_with is None or bool(self.only_with.search(words.lower)))


@dataclass(frozen=True)
class _Rules:
    not_heavy: re.Pattern[str]
    heavy: tuple[_Group, ...]
    never_heavy: _Group
    areas: tuple[tuple[str, _Group], ...]

    def is_heavy(self, words: _Words) -> bool:
        if not self.names_heavy(words) or self.never_heavy.has(words):
            return False
        cased = self.not_heavy.sub(" ", words.cased)
        return self.names_heavy(_Words(cased, cased.lower()))

    def names_heavy(self, words: _Words) -> bool:
        return any(group.has(words) for group in self.heavy)

    def area_of(self, words: _Words) -> str:
        return next((area for area, group in self.areas if group.has(words)), "other")


def topics(titles: Sequence[str] | pd.Series) -> pd.DataFrame:
    """Return the topic of each title.

    Parameters
    ----------
    titles
        Titles of papers, n of them.

    Returns
    -------
    DataFrame
        n rows, with the index of `titles` if it has one: ``compute_heavy`` (bool) and ``area`` (one of `AREAS`).

    Raises
    ------
    DataError
        If a title is no text.
    """
    index = titles.index if isinstance(titles, pd.Series) else pd.RangeIndex(len(titles))
    for number, title in enumerate(titles, start=1):
        if not isinstance(title, str):
            raise DataError(
                f"topics: title {number} is {type(title).__name__}, text is expected; mend or drop it."
            )
    rules = _rules()
    words = [_Words.of(title) for title in titles]
    heavy, area = map(rules.is_heavy, words), map(rules.area_of, words)
    return pd.DataFrame(
        {"compute_heavy": pd.Series(list(heavy), index, bool), "area": pd.Series(list(area), index, str)}
    )


@cache
def _rules() -> _Rules:
    table = tomllib.loads(shipped("data", "topics.toml").read_text(encoding="utf-8"))
    alone = [group for group in table["heavy"] if "only_with" not in group]
    merged = {key: [term for group in alone for term in group.get(key, [])] for key in ("terms", "cased")}
    paired = [group for group in table["heavy"] if "only_with" in group]
    return _Rules(
        not_heavy=re.compile(_pattern(table["not_heavy"]["terms"]).pattern, re.IGNORECASE),
        heavy=tuple(_group(group) for group in (merged, *paired)),
        never_heavy=_group(next(group for group in table["area"] if group.get("never_heavy"))),
        areas=tuple((group["area"], _group(group)) for group in table["area"]),
    )


def _group(group: dict[str, Any]) -> _Group:
    cased, only_with = group.get("cased"), group.get("only_with")
    return _Group(_pattern(group["terms"]), cased and _pattern(cased), only_with and _pattern(only_with))


def _pattern(terms: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of whole words: a final s is optional, * stands for letters and digits, + for one or more."""
    starts = frozenset(term[1:] if term.startswith("*") else f" {term}" for term in terms)
    return re.compile(rf"{_tree(starts)}s?(?= )")


def _tree(endings: frozenset[str]) -> str:
    """Return one pattern for all of the endings, common beginnings only once: ten times as fast as a plain list."""
    after: dict[str, set[str]] = {}
    for ending in endings - {""}:
        after.setdefault(ending[0], set()).add(ending[1:])
    branches = [
        (_WILD.get(first) or re.escape(first)) + _tree(frozenset(rest))
        for first, rest in sorted(after.items())
    ]
    return f"(?:{'|'.join([*branches, ''] if '' in endings else branches)})" if branches else ""
