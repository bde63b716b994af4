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
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any

import pandas as pd

from study.core import DataError, read_toml
from study.panel import shipped

AREAS = ("vision", "language", "speech", "reinforcement learning", "robotics", "theory", "graphics", "other")

_BETWEEN_WORDS = re.compile(r"[\W_]+")
_WILD = {"*": r"\w*", "+": r"\w+"}


# Whether words, with one space before and after each and with their capitals, name a group of terms.
_Test = Callable[[str], bool]


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
    # A list of texts is read several times as fast as a column of them.
    titles = titles.tolist() if isinstance(titles, pd.Series) else titles
    for number, title in enumerate(titles, start=1):
        if not isinstance(title, str):
            raise DataError(f"topics: title {number} is {type(title).__name__} and no text; mend or drop it.")
    not_heavy, any_heavy, heavy, never_heavy, areas = _rules()

    def is_heavy(words: str) -> bool:
        if not any_heavy(words) or never_heavy(words):
            return False
        return all(any(names(each) for names in heavy) for each in {words, not_heavy.sub(" ", words)})

    plain = (_BETWEEN_WORDS.sub(" ", unicodedata.normalize("NFKC", title)).strip() for title in titles)
    texts = [f" {title} " for title in plain]
    named = [next((area for area, names in areas if names(words)), "other") for words in texts]
    heavy_titles = pd.Series(list(map(is_heavy, texts)), index, bool)
    return pd.DataFrame({"compute_heavy": heavy_titles, "area": pd.Series(named, index, str)})


@cache
def _rules() -> tuple[re.Pattern[str], _Test, tuple[_Test, ...], _Test, tuple[tuple[str, _Test], ...]]:
    """Return what is not heavy, all terms of what is, its groups, those that never are, and the groups by area."""
    table = read_toml(shipped("data", "topics.toml"))
    alone = _merged(group for group in table["heavy"] if "only_with" not in group)
    paired = [group for group in table["heavy"] if "only_with" in group]
    heavy = tuple(map(_test, (alone, *paired)))
    not_heavy = re.compile(_pattern(table["not_heavy"]["terms"]).pattern, re.IGNORECASE)
    never_heavy = _test(next(group for group in table["area"] if group.get("never_heavy")))
    areas = tuple((group["area"], _test(group)) for group in table["area"])
    return not_heavy, _test(_merged([alone, *paired])), heavy, never_heavy, areas


def _merged(groups: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the terms of several groups as those of one."""
    listed = list(groups)
    return {key: [term for group in listed for term in group.get(key, [])] for key in ("terms", "cased")}


def _test(group: dict[str, Any]) -> _Test:
    """Return the test for the terms of a group, any case, or its cased ones, beside those that it is `only_with`."""
    terms = _pattern(group["terms"])
    cased, only_with = (_pattern(group[key]) if group.get(key) else None for key in ("cased", "only_with"))

    def named(words: str) -> bool:
        lower = words.lower()
        term = terms.search(lower) or (cased and cased.search(words))
        return bool(term) and (only_with is None or bool(only_with.search(lower)))

    return named


def _pattern(terms: Iterable[str]) -> re.Pattern[str]:
    """Return the pattern of whole words: a final s is optional, * stands for letters and digits, + for one or more."""
    starts = frozenset(term[1:] if term.startswith("*") else f" {term}" for term in terms)
    return re.compile(rf"{_tree(starts)}s?(?= )")


def _tree(endings: frozenset[str]) -> str:
    """Return one pattern for all of the endings, common beginnings only once: ten times as fast as a plain list."""
    rest: dict[str, set[str]] = {}
    for ending in endings - {""}:
        rest.setdefault(ending[0], set()).add(ending[1:])
    branches = [_WILD.get(first, re.escape(first)) + _tree(frozenset(rest[first])) for first in sorted(rest)]
    return f"(?:{'|'.join([*branches, ''] if '' in endings else branches)})" if branches else ""
