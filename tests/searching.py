"""How many inputs a search tries: few with the other tests, many under STUDY_SEARCH=full (`make test-slow`)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

FULL = os.environ.get("STUDY_SEARCH") == "full"
TRIED: Counter[str] = Counter()


def examples(small: int, full: int) -> Callable[[Any], Any]:
    """Return the settings of a search by hypothesis: the same inputs in every run, as many as are asked for."""
    return settings(
        max_examples=full if FULL else small,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )


def report() -> list[str]:
    """Return one line for each kind of input that was tried, and their sum."""
    total = sum(TRIED.values())
    return [f"{count:7d}  {name}" for name, count in sorted(TRIED.items())] + [f"{total:7d}  inputs in all"]
