"""Seconds of synthetic DiD with 200 placebos beside diff-diff's, in turns, and of matrix completion with its jackknife.

    python benchmarks/synthetic.py --peer-python PATH [--units 500] [--periods 20] [--runs 7]

From a long table in memory to the average effect with its standard error; the data are simulated, two factors and ten
treated units. Every run is a process of its own, which imports everything and warms up on the same table first.
diff-diff stops Frank and Wolfe's steps short of the minimum, so that its numbers are near and not the same.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from typing import Any

import measuring
import numpy as np
import pandas as pd
from measuring import Effects

SEED, TREATED, REPLICATIONS = 20261128, 10, 200
PEER = "diff-diff"
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "synthetic_did, 200 placebos": ("synthetic_did", {"inference": "placebo", "replications": REPLICATIONS}),
    "synthetic_did, jackknife": ("synthetic_did", {}),
    "generalized_synthetic_control, 2 factors, 200 samples": (
        "generalized_synthetic_control",
        {"factors": 2, "inference": "parametric_bootstrap", "replications": REPLICATIONS},
    ),
    "matrix_completion, cross-validated, jackknife": ("matrix_completion", {}),
    "matrix_completion, 2 factors, jackknife": ("matrix_completion", {"factors": 2}),
}


def simulate(units: int, periods: int) -> pd.DataFrame:
    """Return a long table of a block: the last two fifths of the periods are treated for ten units."""
    rng = np.random.default_rng(SEED)
    start, time = 1 + 3 * periods // 5, np.arange(1, periods + 1)
    factors = np.cumsum(rng.normal(size=(periods, 2)), axis=0)
    treated = np.arange(units) < TREATED
    y = rng.normal(size=(units, 2)) @ factors.T + rng.normal(size=(units, 1)) + 0.2 * time
    y = y + rng.normal(size=y.shape) + 1.0 * (treated[:, None] & (time >= start))
    return pd.DataFrame(
        {
            "unit": np.repeat(np.arange(units), periods),
            "time": np.tile(time, units),
            "first": np.repeat(np.where(treated, start, 0), periods),
            "y": y.ravel(),
        }
    )


def ours(name: str, data: pd.DataFrame) -> Effects:
    import study

    design, options = OURS[name]
    panel = study.Panel.from_long(data, unit="unit", time="time", first_treated="first", outcomes="y")
    average = study.estimate(panel, study.Question("y", "first"), design, **options).headline
    return {0.0: (float(average.effect[0]), float(average.std_error[0]))}


def theirs(data: pd.DataFrame) -> Effects:
    from diff_diff import SyntheticDiD

    treated = (data["first"] > 0).astype(int)
    start = int(data["first"].max())
    made = SyntheticDiD(variance_method="placebo", n_bootstrap=REPLICATIONS, seed=1).fit(
        data.assign(treated=treated),
        outcome="y",
        treatment="treated",
        unit="unit",
        time="time",
        post_periods=list(range(start, int(data["time"].max()) + 1)),
    )
    return {0.0: (float(made.att), float(made.se))}


def main() -> None:
    """Print one line a run, and the ratio of the medians of those in turns."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--peer-python")
    arguments.add_argument("--units", type=int, default=500)
    arguments.add_argument("--periods", type=int, default=20)
    arguments.add_argument("--runs", type=int, default=7)
    arguments.add_argument("--worker", nargs="*")
    given = arguments.parse_args()
    if given.worker:
        data = simulate(given.units, given.periods)
        name = given.worker[0]
        measuring.work(theirs if name == PEER else lambda table: ours(name, table), data, lambda: data)
        return

    def run(python: str, name: str) -> measuring.Run:
        size = ["--units", str(given.units), "--periods", str(given.periods)]
        needs = () if name in OURS else (name,)
        return measuring.run([python, __file__, *size, "--worker", name], 600, None, 1, needs)

    def line(name: str, runs: list[measuring.Run]) -> None:
        if not all(each.finished for each in runs):
            print(f"{name:55} {runs[-1].outcome}", flush=True)
            return
        (effect, error), seconds = (runs[0].effects or {})[0.0], [each.seconds for each in runs]
        print(
            f"{name:55} {statistics.median(seconds):8.3f} s ({min(seconds):.3f} to {max(seconds):.3f})  "
            f"CPU {statistics.median(each.cpu for each in runs):8.3f} s  {effect:.4f} ({error:.4f})",
            flush=True,
        )

    if given.peer_python and measuring.missing(given.peer_python, [PEER]):
        print(f"{PEER} is not installed there, and is not measured.")
    first, *others = OURS
    pairs = []
    for _ in range(given.runs):
        own = run(sys.executable, first)
        pairs.append((own, run(given.peer_python, PEER) if given.peer_python else own))
    mine, peers = (list(each) for each in zip(*pairs, strict=True))
    line(first, mine)
    if given.peer_python:
        line("diff-diff SyntheticDiD, 200 placebos", peers)
        measuring.record(
            "synthetic", first, given.units * given.periods, mine, peers, f"{PEER}, SyntheticDiD()"
        )
        for what in ("seconds", "cpu"):
            ratio = statistics.median(getattr(p, what) / getattr(m, what) for m, p in pairs)
            print(f"times as fast, median of pairs, {what}: {ratio:.1f}")
    for name in others:
        line(name, [run(sys.executable, name)])


if __name__ == "__main__":
    main()
