"""What a read sample says of a rule: precision, recall and agreement, with Wilson intervals."""

from __future__ import annotations

from dataclasses import dataclass

from statsmodels.stats.proportion import proportion_confint


@dataclass(frozen=True)
class Share:
    """A share of a sample with its 95% Wilson interval."""

    successes: int
    total: int

    @property
    def value(self) -> float:
        """The share; NaN of an empty sample."""
        return self.successes / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's interval (Wilson 1927) at 95%."""
        if not self.total:
            return 0.0, 1.0
        low, high = proportion_confint(self.successes, self.total, method="wilson")
        return float(low), float(high)

    def __str__(self) -> str:
        """Return the share, its interval and the counts, ready to print."""
        low, high = self.interval
        return f"{self.value:.3f} (95% {low:.3f} to {high:.3f}; {self.successes} of {self.total})"
