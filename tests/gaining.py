"""Small panels in which large units gain from the event, or all units alike, for tests of who gains."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from study import Panel, Question
from study.panel.question import Sample

PERIODS = np.arange(1, 5)
GAIN = 3.0


def panel(n: int = 400, seed: int = 0, *, only_large: bool = True, share: float = 0.5) -> Panel:
    """Return n units x 4 periods; large ones are treated more often, grow faster, and gain 3 (or all gain 1.5)."""
    rng = np.random.default_rng(seed)
    size, other = rng.normal(size=(2, n))
    odds = share / (1 - share) * np.exp(0.5 * size)
    treated = rng.random(n) < odds / (1 + odds)
    first = np.where(treated, rng.choice([2.0, 3.0, 4.0], size=n), np.nan)
    effect = GAIN * (size > 0) if only_large else np.full(n, GAIN / 2)
    since = np.where(treated, first, np.inf)[:, None] <= PERIODS
    y = rng.normal(size=(n, 1)) + (0.5 + 0.4 * size[:, None]) * PERIODS + effect[:, None] * since
    across = np.ones(len(PERIODS))
    return Panel(
        name="gaining",
        units=np.array([f"u{i:04d}" for i in range(n)]),
        periods=PERIODS,
        outcomes={"y": y + 0.7 * rng.normal(size=y.shape) + 20},
        covariates={"size": np.outer(size, across), "other": np.outer(other, across)},
        first_treated={"event": first},
        treatment={},
        attributes={
            "large": np.where(size > 0, "large", "small"),
            "side": np.where(np.arange(n) % 3 == 0, "left", "right"),
            "state": np.array([f"s{i % 80:02d}" for i in range(n)]),
            "rare": np.where(np.arange(n) < 6, "few", "many"),
        },
    )


def sample(
    n: int = 400, seed: int = 0, *, only_large: bool = True, share: float = 0.5, **asks: object
) -> Sample:
    question = Question("y", "event", covariates=("other", "size"), **asks)
    return question.sample(panel(n, seed, only_large=only_large, share=share))


class Given(BaseEstimator):
    """A learner for econml that predicts what stands in the last columns: X, then E[Y | D = 0], E[Y | D = 1], P(D)."""

    def fit(self, X, y, sample_weight=None):
        self.classes_ = np.array([0, 1])
        return self


class GivenOutcome(RegressorMixin, Given):
    """E[Y | X, D] from columns X, W, D."""

    def predict(self, X):
        return np.where(X[:, -1] == 1, X[:, -3], X[:, -4])


class GivenMean(RegressorMixin, Given):
    """E[Y | X] from columns X, W."""

    def predict(self, X):
        untreated, treated, propensity = X[:, -3:].T
        return untreated + propensity * (treated - untreated)


class GivenPropensity(ClassifierMixin, Given):
    """P(D = 1 | X) from columns X, W."""

    def predict_proba(self, X):
        return np.column_stack([1 - X[:, -1], X[:, -1]])

    def predict(self, X):
        return (X[:, -1] > 0.5).astype(int)
