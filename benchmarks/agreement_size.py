"""How often the tests that designs agree reject when they do: python benchmarks/agreement_size.py [--panels 2000].

Every panel is drawn anew with 30 treated among 300 units, 8 periods, errors that persist within units, and effects that
are the same in every cohort, so that all designs estimate the same average. The seed is fixed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from study import Question, compare

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import simulated

SIZE = 0.05
LINEAR = ("callaway_santanna", "event_study", "sun_abraham", "imputation", "etwfe", "stacked")


def rejections(
    designs: tuple[str, ...], panels: int, *, treated: int = 30, draws: int = 999, seed: int = 20261124
) -> tuple[float, float, float]:
    """Return the rates at which sup-t and Wald reject at 5%, and the mean rank of the Wald test."""
    rng = np.random.default_rng(seed)
    question = Question("y", "event", average="event_average", horizon=2)
    found = []
    for _ in range(panels):
        made = compare(simulated.few_treated(rng, treated=treated), question, list(designs), draws=draws)
        tests = made.agreement["y"]
        assert tests.sup_t is not None
        assert tests.wald is not None
        found.append((tests.sup_t.p_value <= SIZE, tests.wald.p_value <= SIZE, tests.wald.rank))
    sup_t, wald, rank = np.mean(found, axis=0)
    return float(sup_t), float(wald), float(rank)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panels", type=int, default=2000)
    parser.add_argument("--treated", type=int, default=30)
    chosen = parser.parse_args()
    print(f"{chosen.treated} treated of 300 units, {chosen.panels} panels, nominal size {SIZE:.0%}")
    for count in range(2, len(LINEAR) + 1):
        sup_t, wald, rank = rejections(LINEAR[:count], chosen.panels, treated=chosen.treated)
        print(
            f"{', '.join(LINEAR[:count])}: sup-t {sup_t:.1%}, Wald {wald:.1%} (mean rank {rank:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
