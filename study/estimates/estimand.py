"""What the terms of designs are."""

from __future__ import annotations

from enum import StrEnum


class Estimand(StrEnum):
    """What a design's terms are."""

    GROUP_TIME_ATT = "group-time ATT"
    EVENT_TIME_ATT = "event-time effect"
    COEFFICIENT = "coefficient"
    LONG_CHANGE = "effect on the change over the window"
    GROUP_TIME_ACRT = "group-time average causal response to the dose"

    @property
    def has_path(self) -> bool:
        """Whether its terms are, or can be averaged to, effects by event time."""
        return self.in_cells or self is Estimand.EVENT_TIME_ATT

    @property
    def in_cells(self) -> bool:
        """Whether its terms are by cohort and period."""
        return self in (Estimand.GROUP_TIME_ATT, Estimand.GROUP_TIME_ACRT)

    @property
    def has_comparison(self) -> bool:
        """Whether there have to be comparison units: slopes of the effect in the dose need none."""
        return self is not Estimand.GROUP_TIME_ACRT

    @property
    def with_article(self) -> str:
        """Its name in a sentence."""
        return f"{'an' if self[0] in 'aeiou' else 'a'} {self}"
