"""Panels in the shape of textbook examples, which every design that fits their treatment answers by default.

They are simulated: numbers of units, periods and treated units by date are those of the examples, outcomes are not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from study import Panel, Question
from study.designs import all_designs, estimate

# Designs that need what these panels do not have: an instrument, a dose, a group, a treatment that ends.
OTHERS = {
    "dcdh",
    "dml_iv",
    "dose_response",
    "heterogeneous_adoption",
    "iv",
    "three_way",
    "triple_difference",
}
# Of these two periods one is before treatment, where weights of periods, factors and a penalty need two.
NEED_TWO_BEFORE = {"generalized_synthetic_control", "matrix_completion", "synthetic_did"}


def shaped(
    units: int, periods: int, cohorts: Sequence[tuple[int, int]], *, gaps: float = 0.0, seed: int = 0
) -> Panel:
    """Return a panel with so many units first treated in each of some periods, and autocorrelated errors."""
    rng = np.random.default_rng(seed)
    first = np.full(units, np.nan)
    dates = np.repeat([float(date) for date, _ in cohorts], [number for _, number in cohorts])
    first[: len(dates)] = dates
    error = rng.normal(size=(units, periods))
    for t in range(1, periods):
        error[:, t] = 0.5 * error[:, t - 1] + np.sqrt(0.75) * error[:, t]
    since = np.arange(1, periods + 1) >= first[:, None]
    y = 2 + rng.normal(0, 0.3, (units, 1)) + rng.normal(0, 0.05, periods).cumsum() + 0.1 * error + 0.1 * since
    y[rng.random(y.shape) < gaps] = np.nan
    return Panel(
        name="textbook",
        units=np.arange(units),
        periods=np.arange(1, periods + 1),
        outcomes={"y": y},
        first_treated={"event": first},
        treatment={},
        covariates={},
        attributes={},
    )


PANELS = {
    "castle doctrine": shaped(50, 11, [(6, 1), (7, 13), (8, 4), (9, 2), (10, 1)]),
    "minimum wage by county (mpdta)": shaped(500, 5, [(2, 20), (4, 40), (5, 131)]),
    "Card and Krueger, two periods": shaped(77, 2, [(2, 60)]),
    "unilateral divorce": shaped(
        51,
        33,
        [*((5 + k, 1) for k in range(8)), *((13 + 2 * k, 2) for k in range(7)), (6, 5), (8, 7)],
    ),
    "minimum wage by state, with gaps": shaped(48, 12, [(4, 1), (6, 4), (8, 9), (11, 1)], gaps=0.06),
}


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
@pytest.mark.parametrize("design", sorted({*all_designs()} - OTHERS))
def test_every_design_that_fits_the_treatment_answers_by_default(design: str, panel: Panel) -> None:
    if len(panel.periods) == 2 and design in NEED_TWO_BEFORE:
        pytest.skip("it needs two periods before treatment")
    average = estimate(panel, Question("y", "event"), design).headline
    assert np.isfinite(average.effect[0])
    assert average.std_error[0] > 0
    assert np.isfinite(average.tidy()[["p_value", "conf_low", "conf_high"]]).all(axis=None)
    assert abs(average.effect[0] - 0.1) < 6 * average.std_error[0]
