"""What a design's terms are."""

from __future__ import annotations

from enum import StrEnum


class Estimand(StrEnum):
    """What a design's terms are."""

    GROUP_TIME_ATT = "group-time ATT"
    EVENT_TIME_ATT = "event-time effect"
    COEFFICIENT = "coefficient"
    LONG_CHANGE = "effect on the change over the window"

    @property
    def has_path(self) -> bool:
        """Whether its terms are, or can be averaged to, effects by event time."""
        return self in (Estimand.GROUP_TIME_ATT, Estimand.EVENT_TIME_ATT)

    @property
    def with_article(self) -> str:
        """Its name in a sentence."""
        return f"{'an' if self[0] in 'aeiou' else 'a'} {self}"
