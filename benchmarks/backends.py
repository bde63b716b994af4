"""What a cluster costs beside processes of one machine: python benchmarks/backends.py [--rounds 5].

A scheduler and two workers on this machine, loky's two processes, and this process take turns, so that what else the
machine does falls on all of them; medians, with the smallest and largest. The panel and the question are the paper's.
Nothing of what is estimated is shown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from cloudpickle import dumps
from distributed import Client
from measuring import heading, row, spread
from randomization import PLAN, cases

import study
from study.core import in_parallel, settings
from study.inference.randomization import randomization
from study.paper.plan import read_plan

EMPTY = 200
PLACES = ("this process", "loky, 2 processes", "dask, 2 workers")


def nothing(_: object) -> None:
    """Do no work."""


def seconds(work: Callable[[], object]) -> float:
    """Return how long something takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(code: str) -> float:
    """Return how long a process of Python takes for some code."""
    return seconds(partial(subprocess.run, [sys.executable, "-c", code], check=True))


def main() -> None:
    """Start a cluster, measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--rounds", type=int, default=5)
    rounds = arguments.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder, "scheduler.json")
        modules = {"scheduler": ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(known)]}
        modules |= {"worker": ["--scheduler-file", str(known), "--nthreads", "1", "--nworkers", "2"]}
        start, quiet = [sys.executable, "-m"], subprocess.DEVNULL
        processes = [
            subprocess.Popen(
                [*start, f"distributed.cli.dask_{name}", "--no-dashboard", *given],
                cwd=folder,
                stderr=quiet,
            )
            for name, given in modules.items()
        ]
        try:
            with Client(scheduler_file=str(known), timeout=60, set_as_default=False) as client:
                client.wait_for_workers(2, timeout=60)
                address = client.scheduler.address
            measure(address, rounds)
        finally:
            for process in processes[::-1]:
                process.terminate()
                process.wait()


def measure(address: str, rounds: int) -> None:
    """Print what connecting, tasks, the panel and two kinds of work take."""
    plan = read_plan(PLAN)
    assert isinstance(plan.panel, str)
    panel = study.load_panel(plan.panel)
    _, design, question, options = cases(plan)[0]
    sample = question.sample(panel)
    learn = partial(study.estimate, panel, question, "dml_panel", learner="lightgbm", repetitions=20, seed=1)
    test = partial(
        randomization, sample, design, permutations=999, seed=plan.seed, strata=plan.strata, **options
    )
    work: dict[str, Callable[[int], object]] = {
        f"{EMPTY} empty tasks": lambda jobs: list(in_parallel(nothing, range(EMPTY), jobs=jobs)),
        "2 empty tasks that have the panel": lambda jobs: list(
            in_parallel(partial(_ignoring, panel), range(2), jobs=jobs)
        ),
        "999 permutations of the headline": lambda jobs: test(jobs=jobs),
        "dml_panel, lightgbm, 20 draws of 5 folds": lambda jobs: learn(),
    }
    connecting: list[float] = []
    taken = {(what, place): list[float]() for what in work for place in PLACES}
    for k in range(rounds + 1):  # the first one loads libraries
        for what, function in work.items():
            for place in PLACES:
                jobs = 1 if place == PLACES[0] else 2
                there = {"backend": "dask", "address": address} if place == PLACES[2] else {}
                begun = time.perf_counter()
                with settings(jobs=jobs, **there):
                    if there and k:
                        connecting.append(time.perf_counter() - begun)
                    took = seconds(partial(function, jobs))
                if k:
                    taken[what, place].append(took)
    heading("Seconds", "work", *PLACES, "dask over loky")
    for what in work:
        here, loky, dask = (taken[what, place] for place in PLACES)
        ratio = [b / a for a, b in zip(loky, dask, strict=True)]
        row(what, *(spread(each, 3) for each in (here, loky, dask)), spread(ratio, 1))
    load = "from study import settings"
    connect = f"{load}\nwith settings(backend='dask', address={address!r}): pass"
    cold = [run(connect) - run(load) for _ in range(rounds)]
    row("connecting in a new process", "", "", spread(cold), "")
    row("connecting again", "", "", spread(connecting, 3), "")
    for name, sent in {"panel": panel, "sample of the question": sample}.items():
        row(f"{name}, MB", "", "", f"{len(dumps(sent)) / 1e6:.2f}", "")


def _ignoring(_: object, __: object) -> None:
    """Do no work with what is sent."""


if __name__ == "__main__":
    main()
