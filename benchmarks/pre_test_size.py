"""How often joint tests of effects before treatment reject where there are none: python benchmarks/pre_test_size.py.

Outcomes are independent noise of 300 units in 8 periods, with five cohorts of a size; the design is callaway_santanna.
The seed is fixed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from study import Question, estimate
from study.pre_tests import pre_test

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import simulated

SIZE = 0.05
COHORTS = (4, 5, 6, 7, 8)


def rejections(
    cohort_size: int, panels: int, *, draws: int = 499, seed: int = 20261125
) -> tuple[float, float]:
    """Return the rates at which the Wald test and the largest t reject at 5%."""
    rng, base = np.random.default_rng(seed), simulated.panel(n=300)
    first = np.full(base.n_units, np.nan)
    first[: cohort_size * len(COHORTS)] = np.repeat(COHORTS, cohort_size)
    found = []
    for _ in range(panels):
        y = rng.standard_normal(base.outcomes["y"].shape)
        panel = replace(base, outcomes={"y": y}, first_treated={"event": first})
        fit = estimate(panel, Question("y", "event", min_cohort_size=1), "callaway_santanna")
        test = pre_test(fit.aggregate("event"), draws=draws)
        found.append((test.p_value <= SIZE, test.p_largest <= SIZE))
    by_wald, by_largest = np.mean(found, axis=0)
    return float(by_wald), float(by_largest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=2000)
    chosen = parser.parse_args()
    for cohort_size in (6, 12, 30):
        by_wald, by_largest = rejections(cohort_size, chosen.panels)
        print(f"Five cohorts of {cohort_size}: Wald {by_wald:.1%}, largest t {by_largest:.1%}", flush=True)


if __name__ == "__main__":
    main()
