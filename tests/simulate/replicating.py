"""What designs answer on many draws of one process, and how far Monte-Carlo error lets a rate be from its value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import simulated
from numpy.typing import NDArray
from scipy import stats

from study import Estimate, Question
from study.designs import find_design
from study.panel import Sample
from study.simulate.process import Process, truth

FloatArray = NDArray[np.float64]
UNITS = 160
PERIODS = len(simulated.PERIODS)
# Tests of rates and means over draws reject once in a thousand runs each where they hold; seeds are fixed.
CRITICAL = float(stats.norm.isf(0.0005))


@dataclass(frozen=True, eq=False)
class Case:
    """A design with its options and fields of its question."""

    design: str
    options: Mapping[str, Any] = field(default_factory=dict)
    question: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return "-".join([self.design, *(str(v) for v in {**self.options, **self.question}.values())])


@dataclass(frozen=True, eq=False)
class Answers:
    """Estimates over draws, shape (R,), and the effect that they are of."""

    fits: Sequence[Estimate]
    estimate: FloatArray
    effect: float

    @cached_property
    def half(self) -> FloatArray:
        """Half of each default 95% interval, shape (R,), which takes longer than the estimate."""
        return np.array([fit.critical_value()[0] * fit.std_error[0] for fit in self.fits])

    @property
    def low(self) -> FloatArray:
        return self.estimate - self.half

    @property
    def high(self) -> FloatArray:
        return self.estimate + self.half

    @property
    def coverage(self) -> float:
        """Share of the intervals that hold the effect; every draw has one."""
        assert np.isfinite(self.low).all()
        return float(np.mean((self.low <= self.effect) & (self.effect <= self.high)))

    @property
    def bias(self) -> float:
        """Average estimate less the effect."""
        return float(self.estimate.mean() - self.effect)

    @property
    def error(self) -> float:
        """Monte-Carlo standard error of the bias."""
        return float(self.estimate.std(ddof=1) / np.sqrt(len(self.estimate)))


def process(
    family: str = "continuous",
    *,
    units: int = UNITS,
    cohorts: tuple[int, ...] = simulated.COHORTS,
    growth: FloatArray | None = None,
    hazard: tuple[float, float] = (0.0, 0.0),
    **dials: float,
) -> Process:
    """Return a process on the template's units: sizes of mean 10, standard deviations of 2 or, of counts, 4."""
    panel = simulated.panel(units, seed=1, cohorts=cohorts)
    sample = Question(
        outcome="y", event="event", average="event_average", horizon=1, covariates=("x1",)
    ).sample(panel)
    ones = np.ones(units)
    size = np.array([10 * ones, 2 * ones] if family == "continuous" else [6 * ones, 0.6 * ones])
    path = np.linspace(0, 2, PERIODS) if growth is None else growth
    return Process(sample, family, size, path, 10.0, 1.0, np.array(hazard), dials)


@lru_cache(maxsize=2)
def _drawn(
    source: Process, question: Question, repetitions: int, seed: int
) -> tuple[list[Sample], FloatArray]:
    """Return draws and their truths, once for the designs that are asked in turn."""
    template = question.sample(source.sample.panel)
    panels = [source.draw(np.random.default_rng((seed, r))) for r in range(repetitions)]
    samples = [source.sample_of(panel, template) for panel in panels]
    return samples, np.array([truth(*pair) for pair in zip(panels, samples, strict=True)])


def ask(case: Case, source: Process, repetitions: int, seed: int = 20261128) -> Answers:
    """Ask a design about new draws; draw r is the same for all designs and dials."""
    answer = find_design(case.design)
    changed = source.sample.question.replace(**{"covariates": ()} | dict(case.question))
    samples, truths = _drawn(source, changed, repetitions, seed)
    fits = [answer(sample, **case.options).headline for sample in samples]
    effect, untreated = truths.mean(axis=0)
    estimate = np.array([fit.effect[0] for fit in fits])
    return Answers(fits, estimate, effect / untreated if changed.scale == "proportional" else effect)
