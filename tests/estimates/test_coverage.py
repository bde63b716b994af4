"""Intervals of every design cover at their level where its assumptions hold, with few units on a side too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
import searching
import simulated
from interval_coverage import CASES, Case, Setting, ask, covers, draw

from study import Estimate, Panel, Question
from study.core import normal_score, quantile
from study.designs import find_design

DRAWS, UNITS = searching.samples(170, 500), 200
DIFFERENT = Question("y", "event", average="event_average", horizon=2, min_cohort_size=1)
FLAT, GROWING = DIFFERENT.replace(outcome="flat"), DIFFERENT.replace(outcome="growing")
COUNT = DIFFERENT.replace(outcome="count", scale="proportional")


class Fit(NamedTuple):
    """A design with the question that its assumptions allow it to answer, and the true answer."""

    design: str
    question: Question
    truth: float
    options: Mapping[str, Any] = {}

    def __str__(self) -> str:
        options = "".join(f", {value}" for value in self.options.values())
        return f"{self.design}{options}: {self.question.outcome}"


TRUTH = simulated.event_average()
FITS = [
    Fit("sun_abraham", DIFFERENT, TRUTH),
    Fit("imputation", DIFFERENT, TRUTH),
    Fit("etwfe", DIFFERENT, TRUTH),
    Fit("stacked", DIFFERENT, simulated.event_average((4, 6)), {"before": 3, "after": 2}),
    Fit("lp_did", DIFFERENT, TRUTH, {"weighting": "equal"}),
    Fit("lee_wooldridge", DIFFERENT, TRUTH),
    Fit("lp_did", GROWING, 1.5, {"weighting": "variance"}),
    Fit("event_study", GROWING, 1.5),
    Fit("twfe", FLAT, 1.0),
    Fit("poisson_twfe", COUNT, 0.25),
    Fit("etwfe", COUNT, 0.25, {"family": "poisson"}),
    Fit("etwfe", COUNT, 0.25, {"family": "poisson", "effects": "unit"}),
]


def score(headline: Estimate, truth: float) -> float:
    """Return the normal score of the t statistic that the headline is the truth; within 1.96 the interval covers it."""
    t = (headline.effect[0] - truth) / headline.std_error[0]
    return float(normal_score(t, headline.degrees_of_freedom[0]))


@pytest.fixture(scope="module")
def scores() -> np.ndarray:
    """Return the scores of the truth in each draw, shape (DRAWS, fits)."""
    rng, found = np.random.default_rng(20241124), np.empty((DRAWS, len(FITS)))
    for row in found:
        different, _ = simulated.draw(rng, UNITS)
        alike = simulated.draw_alike(rng, UNITS)
        samples = {
            q: q.sample(different if q.outcome == "y" else alike) for q in {fit.question for fit in FITS}
        }
        for k, fit in enumerate(FITS):
            headline = find_design(fit.design)(samples[fit.question], **fit.options).headline
            row[k] = score(headline, fit.truth)
    return found


@pytest.mark.search
@pytest.mark.parametrize("k", range(len(FITS)), ids=map(str, FITS))
def test_intervals_of_the_event_average_cover_at_their_level(k: int, scores: np.ndarray) -> None:
    covered = np.mean(scores[:, k] <= quantile(0.975))
    assert abs(covered - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / DRAWS)
    # A standard error that is wrong by a factor moves the mean square as far from one as coverage in 300 draws.
    assert abs(np.mean(scores[:, k] ** 2) - 1) <= 3 * np.sqrt(2 / DRAWS)


FEW, PANELS = 12, searching.samples(100, 150)
QUICK = [
    case for case in CASES if not (case.slow or case.counts or {"reg", "dr"} & set(case.options.values()))
]


@pytest.fixture(scope="module", params=[FEW, 150 - FEW], ids=["few treated", "few comparison units"])
def panels(request: pytest.FixtureRequest) -> list[Panel]:
    """Return panels of 150 units, 12 of them on one side."""
    rng = np.random.default_rng(20261127)
    return [draw(rng, Setting(request.param)) for _ in range(PANELS)]


@pytest.mark.search
@pytest.mark.parametrize("case", QUICK, ids=str)
def test_intervals_cover_with_twelve_units_on_a_side(case: Case, panels: list[Panel]) -> None:
    fits = [ask(case, panel) for panel in panels]
    covered = np.mean([fit is not None and covers(fit.headline, 1.0) for fit in fits])
    assert covered >= 0.955 - 3 * np.sqrt(0.955 * 0.045 / PANELS)
