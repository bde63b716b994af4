"""What the design tournament costs: python benchmarks/tournament.py [--repetitions 1000] [--jobs 2].

**Simulated** panels of as many universities and years as the study's own, then of 300 of them with all the treated,
drawn from six processes calibrated to it. All designs with closed forms answer each panel, with the intervals of two
covariance estimators and the pre-test. With fewer repetitions than 1,000 the minutes are those of 1,000 by rule of
three.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import islice

import measuring
import numpy as np

import study
from study.simulate.performance import VIOLATIONS, able
from study.simulate.process import Process
from study.simulate.replications import Entrant, replicate

QUESTION = study.Question(
    "papers", "first_accelerator", scale="proportional", average="event_average", horizon=4
)
PROCESSES, SMALL, FULL = 6, 300, 1000


def some_units(process: Process, units: int) -> Process:
    """Return the process on all treated units and the first others, as many as are asked for."""
    treated = process.sample.ever_treated
    keep = treated | (np.cumsum(~treated) <= units - treated.sum())
    return replace(
        process, sample=process.sample.only(keep, "not in the benchmark"), size=process.size[:, keep]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=FULL)
    parser.add_argument("--jobs", type=int, default=2)
    chosen = parser.parse_args()
    calibrated = study.calibrate(study.load_panel("cvpr"), QUESTION)
    entrants, _ = able(calibrated, seed=0)
    measuring.heading(
        f"{len(entrants)} designs, {PROCESSES} processes, {chosen.repetitions} repetitions, {chosen.jobs} jobs",
        *("panel", "seconds", f"minutes for {FULL}", "ms a panel and design on one core"),
    )
    for process in (calibrated, some_units(calibrated, SMALL)):
        processes = {name: process.turned(**dials) for name, dials in islice(VIOLATIONS.items(), PROCESSES)}
        with study.settings(jobs=chosen.jobs):
            run(processes, entrants, 2 * chosen.jobs)  # processes start and import
            started = time.perf_counter()
            run(processes, entrants, chosen.repetitions)
        seconds = time.perf_counter() - started
        each = 1000 * seconds * chosen.jobs / (chosen.repetitions * PROCESSES * len(entrants))
        size = " x ".join(f"{count:,}" for count in process.sample.y.shape)
        measuring.row(
            size, f"{seconds:.1f}", f"{seconds * FULL / chosen.repetitions / 60:.1f}", f"{each:.1f}"
        )


def run(processes: dict[str, Process], entrants: list[Entrant], repetitions: int) -> None:
    replicate(processes, entrants, repetitions=repetitions, slow_repetitions=repetitions, seed=0)


if __name__ == "__main__":
    main()
