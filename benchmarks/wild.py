"""Seconds of the wild cluster bootstrap, side by side with pyfixest's in the same run.

    python benchmarks/wild.py --peer-python PATH

A static two-way regression of 500 units in 50 clusters over 20 periods, 9,999 draws of signs with the null imposed.
"From the table" is everything from the long table in memory to the p-value; "the bootstrap" starts where each
package's own function does: ours from a Sample, so that it fits the regression and also inverts the test for the
interval, pyfixest's from a fitted Feols, and it has no interval. The data are simulated, the seed is fixed. Every run
is a process of its own, which warms up on the same panel with other draws, so that imports and compilation do not
count; the two packages take turns, with one thread each unless ``--threads`` says otherwise. The t statistics differ
by the covariance estimator: pyfixest's counts the unit dummies that it makes. Needs Linux, whose ``/proc`` gives
resident memory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import measuring
import numpy as np
import pandas as pd
from measuring import Effects, Run, heading, missing, outcome, ratio, record, row

SEED = 20261125
UNITS, PERIODS, CLUSTERS = 500, 20, 50
DRAWS = 9_999
STAGES = {"from the table": "the table", "the bootstrap": "a Sample, or a fitted Feols"}


class Stage(NamedTuple):
    """What is done to the table before the clock starts, and what is measured: the statistic with its p-value."""

    prepare: Callable[[pd.DataFrame], Any]
    measured: Callable[[Any], Effects]


def simulate(units: int, periods: int, clusters: int) -> pd.DataFrame:
    """Return a simulated long panel: clusters of units with a common shock, half of them treated in five cohorts."""
    rng = np.random.default_rng(SEED)
    time = np.arange(1, periods + 1)
    cluster = np.arange(units) % clusters
    start = rng.integers(periods // 4, 3 * periods // 4, size=clusters)
    first = np.where(np.arange(clusters) % 2 == 0, start, 0)[cluster]
    treated = (first[:, None] > 0) & (time >= first[:, None])
    shock = np.cumsum(rng.normal(size=(clusters, periods)), axis=1)[cluster]
    y = (
        rng.normal(size=(units, 1))
        + 0.2 * time
        + 0.5 * treated
        + 0.3 * shock
        + rng.normal(size=(units, periods))
    )
    columns = {
        "unit": np.repeat(np.arange(units), periods),
        "time": np.tile(time, units),
        "cluster": np.repeat(cluster, periods),
        "first": np.repeat(first, periods),
        "D": treated.ravel().astype(float),
        "y": y.ravel(),
    }
    return pd.DataFrame(columns)


def ours(stage: str, draws: int, seed: int) -> Stage:
    """Return this package's part."""

    def sample(data: pd.DataFrame) -> Any:
        import study

        panel = study.Panel.from_long(
            data, unit="unit", time="time", first_treated="first", outcomes="y", attributes="cluster"
        )
        return study.Question("y", "first", cluster="cluster").sample(panel)

    def bootstrap(of: Any) -> Effects:
        from study.inference.wild import wild_bootstrap

        made = wild_bootstrap(of, "twfe", draws=draws, seed=seed)
        assert np.isfinite(made.interval).all()
        return {0.0: (made.statistic, made.p_value)}

    if stage == "the bootstrap":
        return Stage(sample, bootstrap)
    return Stage(lambda data: data, lambda data: bootstrap(sample(data)))


def theirs(stage: str, draws: int, seed: int) -> Stage:
    """Return pyfixest's part."""

    def fit(data: pd.DataFrame) -> Any:
        import pyfixest

        return pyfixest.feols("y ~ D | unit + time", data, vcov={"CRV1": "cluster"})

    def bootstrap(fitted: Any) -> Effects:
        made = fitted.wildboottest(reps=draws, cluster="cluster", param="D", seed=seed)
        return {0.0: (float(made["t value"]), float(made["Pr(>|t|)"]))}

    if stage == "the bootstrap":
        return Stage(fit, bootstrap)
    return Stage(lambda data: data, lambda data: bootstrap(fit(data)))


PACKAGES = {"study": ours, "pyfixest": theirs}
NEEDS = ("pyfixest", "wildboottest")


def work(package: str, stage: str, chosen: argparse.Namespace) -> None:
    """Do one measured run in this process."""
    data = simulate(chosen.units, chosen.periods, chosen.clusters)
    warm, measured = (PACKAGES[package](stage, chosen.draws, seed) for seed in (1, 2))
    first = [True]

    def fit(prepared: Any) -> Effects:
        return (warm if first and first.pop() else measured).measured(prepared)

    measuring.work(fit, warm.prepare(data), lambda: measured.prepare(data))


def run(package: str, stage: str, chosen: argparse.Namespace) -> Run:
    """Do one measured run in a process of its own."""
    python = sys.executable if package == "study" else chosen.peer_python
    sizes = [f"--{name}={getattr(chosen, name)}" for name in ("units", "periods", "clusters", "draws")]
    command = [python, __file__, "--worker", package, stage, *sizes]
    needs = () if package == "study" else NEEDS
    return measuring.run(command, chosen.limit, None, chosen.threads, needs)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", help="an interpreter that has pyfixest and wildboottest")
    parser.add_argument("--runs", type=int, default=5, help="paired runs")
    parser.add_argument("--units", type=int, default=UNITS)
    parser.add_argument("--periods", type=int, default=PERIODS)
    parser.add_argument("--clusters", type=int, default=CLUSTERS)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds after which a run is stopped")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        work(*chosen.worker, chosen)
        return
    if not chosen.peer_python:
        parser.error("--peer-python is missing: the interpreter that has pyfixest and wildboottest")
    print(
        f"{chosen.units} units x {chosen.periods} periods, {chosen.clusters} clusters, {chosen.draws} draws, "
        f"{chosen.threads} thread(s), {chosen.runs} paired runs: medians (smallest to largest)"
    )
    if lacking := missing(chosen.peer_python, NEEDS):
        print(f"Not installed there, so that pyfixest is not measured: {', '.join(lacking)}.")
    heading(
        "Wild cluster bootstrap",
        "stage",
        "starts from",
        "times as fast",
        "study: s",
        "pyfixest: s",
        "t and p of both",
    )
    for stage, start in STAGES.items():
        pairs = [tuple(run(package, stage, chosen) for package in PACKAGES) for _ in range(chosen.runs)]
        made, peer = ([pair[k] for pair in pairs] for k in (0, 1))
        answers = " | ".join(_told(runs[0]) for runs in (made, peer))
        row(stage, start, ratio(made, peer, np.nan), outcome(made)[0], outcome(peer)[0], answers)
        record("wild", stage, chosen.units * chosen.periods, made, peer, "pyfixest, wildboottest")


def _told(one: Run) -> str:
    if not one.finished or one.effects is None:
        return one.outcome
    statistic, p_value = one.effects[0.0]
    return f"{statistic:.4f}, {p_value:.4f}"


if __name__ == "__main__":
    main()
