"""How many random inputs a test tries: few with the others, many under STUDY_SEARCH=full (`make test-slow`)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

FULL = os.environ.get("STUDY_SEARCH") == "full"
TRIED: Counter[tuple[str, str]] = Counter()


def examples(small: int, full: int) -> Callable[[Any], Any]:
    """Return the settings of a search by hypothesis: the same inputs in every run, as many as are asked for."""
    return settings(
        max_examples=samples(small, full),
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


def samples(small: int, full: int) -> int:
    """Return how many samples a simulation draws, as many as are asked for; its test has the mark "search"."""
    return full if FULL else small


def count(search: str, outcome: str) -> None:
    """Count one input of a search, by what became of it."""
    TRIED[search, outcome] += 1


def report() -> list[str]:
    """Return one line for each search, with its inputs by what became of them, and their sum."""
    lines = []
    for search in sorted({search for search, _ in TRIED}):
        of_search = {outcome: n for (name, outcome), n in sorted(TRIED.items()) if name == search}
        told = ", ".join(f"{n} {outcome}" for outcome, n in of_search.items())
        lines.append(f"{sum(of_search.values()):7d}  {search}: {told}")
    return [*lines, f"{sum(TRIED.values()):7d}  inputs in all"]
