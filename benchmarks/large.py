"""Seconds, memory and disk of panels larger than memory, of 10 million to 1 billion rows.

    python benchmarks/large.py --folder FOLDER --shuffle

The table is simulated: no record is real; the seed is fixed, and a row is the same in whatever order rows are written.
It has 20 periods, twelve cohorts and 40% never-treated, counts with levels of units, and 3% of units in one of five
patterns of missing periods. Every run is a process of its own, which imports everything, warms up on 1,000 units, and
starts the clock: from Parquet files to the headline with its standard error and degrees of freedom. Other packages
hold the table in memory; the smallest size is compared with :class:`study.Panel`, and with diff-diff where an
interpreter has it. Needs Linux, whose ``/proc`` gives the highest resident memory, and 40 bytes of disk a row.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import peers
from measuring import (
    Effects,
    Run,
    differences,
    forget_peak,
    heading,
    machine,
    memory,
    missing,
    record,
    row,
)
from peers import collect

SIZES = (10_000_000, 100_000_000, 1_000_000_000)
WARM_ROWS = 20_000
BYTES_A_ROW = 40
IN_MEMORY = 20_000_000  # rows that are also read into memory, 0.2 GiB a million
STEPS = ("table of units", "sums", "estimate", "degrees of freedom")
PEER = "callaway_santanna"
NEEDS = ("diff-diff", "pyarrow")
SEED = 20261129
FIRST_PERIOD, PERIODS = 2000, 20
COHORTS = np.arange(2005, 2017)
NEVER_SHARE, MISSING_SHARE, STATES = 0.4, 0.03, 50
MISSING = ((0,), (19,), (0, 1, 2), (9, 10), (16, 17, 18, 19))  # periods that a unit of the pattern lacks
BATCH, ROW_GROUP = 5_000_000, 500_000
# A prime: its multiples modulo the number of rows visit every row once, far from the last one.
STEP = 618_033_989


def uniform(numbers: np.ndarray, stream: int) -> np.ndarray:
    """Return a number in [0, 1) for each integer, the same in whatever order they come (splitmix64)."""
    word = numbers.astype(np.uint64)
    word += np.uint64((SEED + stream) * 0x9E3779B97F4A7C15 % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        word ^= word >> np.uint64(shift)
        word *= np.uint64(factor)
    word ^= word >> np.uint64(31)
    return (word >> np.uint64(11)) * 2.0**-53


def normal(numbers: np.ndarray, stream: int) -> np.ndarray:
    """Return nearly standard normal numbers: a logistic, divided by its standard deviation."""
    share = uniform(numbers, stream) + 2.0**-54
    return np.log(share / (1 - share)) * (np.sqrt(3) / np.pi)


def rows(start: int, stop: int, total: int, shuffled: bool) -> dict[str, np.ndarray]:
    """Return the columns of rows start to stop of the simulated table of total rows, less those missing."""
    cell = np.arange(start, stop)
    if shuffled:
        cell = cell * STEP % total
    unit, period = np.divmod(cell, PERIODS)
    lot = uniform(unit, 1)
    pattern = np.where(lot < MISSING_SHARE, lot / MISSING_SHARE * len(MISSING), len(MISSING)).astype(int)
    seen = np.ones((len(MISSING) + 1, PERIODS), dtype=bool)
    for number, lacks in enumerate(MISSING):
        seen[number, list(lacks)] = False
    kept = seen[pattern, period]
    cell, unit, period = cell[kept], unit[kept], period[kept]
    lot = (uniform(unit, 2) - NEVER_SHARE) / (1 - NEVER_SHARE)
    first = np.where(lot < 0, 0, COHORTS[np.maximum(lot * len(COHORTS), 0).astype(int)])
    event = FIRST_PERIOD + period - first
    mean = np.exp(1.5 + 0.7 * normal(unit, 3)) + 0.1 * period
    mean += np.where((first > 0) & (event >= 0), 0.5 + 0.1 * event, 0.0)
    y = np.maximum(np.round(mean + np.sqrt(mean) * normal(cell, 4)), 0.0)
    return {
        "unit": 1_000_000_007 + 3 * unit,
        "time": (FIRST_PERIOD + period).astype(np.int32),
        "y": y,
        "first_treated": first.astype(np.int32),
        "state": (uniform(unit, 5) * STATES).astype(np.int32),
    }


def write(folder: Path, total: int, shuffled: bool) -> None:
    """Write the simulated table as Parquet files of ten batches each; never-treated units have no date."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    for number, start in enumerate(range(0, total, 10 * BATCH)):
        stop = min(start + 10 * BATCH, total)
        writer: pq.ParquetWriter | None = None
        for begin in range(start, stop, BATCH):
            columns = rows(begin, min(begin + BATCH, stop), total, shuffled)
            never = {"first_treated": columns["first_treated"] == 0}
            table = pa.table({name: pa.array(x, mask=never.get(name)) for name, x in columns.items()})
            writer = writer or pq.ParquetWriter(folder / f"part-{number:03d}.parquet", table.schema)
            writer.write_table(table, row_group_size=ROW_GROUP)
            done = min(begin + BATCH, stop)
            print(f"\rsimulating, {done:,} of {total:,} rows", end="", file=sys.stderr, flush=True)
        assert writer is not None
        writer.close()
    print(file=sys.stderr)


def size_of(folder: Path) -> float:
    """Return the gigabytes of a folder, whose files may be removed meanwhile."""
    total = 0
    for name, _, files in os.walk(folder):
        for file in files:
            try:
                total += os.stat(os.path.join(name, file)).st_size
            except FileNotFoundError:
                continue
    return total / 1e9


@contextmanager
def watched(folder: Path) -> Iterator[list[float]]:
    """Yield a list whose one number is the most gigabytes that the folder has held so far."""
    most, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            most[0] = max(most[0], size_of(folder))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def tell(started: float, step: str) -> None:
    """Say after how many seconds a step began."""
    print(
        f"{time.perf_counter() - started:8.2f} s, {memory('VmRSS'):.2f} GiB: {step}",
        file=sys.stderr,
        flush=True,
    )


def ask(options: argparse.Namespace, source: Path, temp: Path) -> tuple[dict[str, float], Effects]:
    """Return the seconds of each step from Parquet files to the headline, and the event study."""
    import study

    clustered: dict[str, Any] = {"cluster": "state"} if options.cluster else {}
    question = study.Question("y", "first_treated", comparison="never_treated", **clustered)
    started = time.perf_counter()
    marks = []
    with study.LargePanel.from_parquet(
        source,
        unit="unit",
        time="time",
        first_treated="first_treated",
        outcomes="y",
        attributes=tuple(clustered.values()),
        memory_limit=options.memory,
        threads=options.threads,
        temp=temp,
        progress=None if options.quiet else partial(tell, started),
    ) as panel:
        marks.append(time.perf_counter())
        panel.rows(question)
        marks.append(time.perf_counter())
        fit = study.estimate(panel, question, "callaway_santanna")
        marks.append(time.perf_counter())
        fit.headline.tidy()
        marks.append(time.perf_counter())
        event = fit.aggregate("event")
        event.tidy()
        more = time.perf_counter() - marks[-1]
        effects = collect(event.event_time, event.effect, event.std_error)
    seconds = dict(zip(STEPS, np.diff([started, *marks]).tolist(), strict=True))
    return seconds | {"seconds": marks[-1] - started, "event study": more}, effects


def ask_in_memory(options: argparse.Namespace, data: pd.DataFrame) -> Effects:
    """Return the event study from a long table in memory, after its headline."""
    import study

    clustered: dict[str, Any] = {"cluster": "state"} if options.cluster else {}
    panel = study.Panel.from_long(
        data,
        unit="unit",
        time="time",
        first_treated="first_treated",
        outcomes="y",
        attributes=tuple(clustered.values()),
    )
    question = study.Question("y", "first_treated", comparison="never_treated", **clustered)
    fit = study.estimate(panel, question, "callaway_santanna")
    fit.headline.tidy()
    event = fit.aggregate("event")
    event.tidy()
    return collect(event.event_time, event.effect, event.std_error)


def ask_peer(data: pd.DataFrame) -> Effects:
    """Return the event study of diff-diff from a long table in memory."""
    named = data.rename(columns={"first_treated": "first"})
    return peers.PEERS[PEER][0].fit(named.assign(first=named["first"].fillna(0).astype(int)))


def work(options: argparse.Namespace) -> None:
    """Do one measured run in this process, after the same on a small table, and write a line of JSON."""
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    temp = options.folder / "scratch"
    line: dict[str, Any] = {}
    with watched(temp) as most:
        for source in (options.folder / "warm", options.source):
            options.quiet = source != options.source
            if options.worker == "large":
                forget_peak()
                most[0] = 0.0
                cpu = time.process_time()
                seconds, effects = ask(options, source, temp)
                line = seconds | {"cpu": time.process_time() - cpu}
            else:
                started = time.perf_counter()
                data = pd.read_parquet(source)
                reading = time.perf_counter() - started
                forget_peak()
                started, cpu = time.perf_counter(), time.process_time()
                effects = ask_in_memory(options, data) if options.worker == "memory" else ask_peer(data)
                took = time.perf_counter() - started
                line = {"seconds": reading + took, "reading": reading, "cpu": time.process_time() - cpu}
    line |= {"peak": memory("VmHWM"), "disk": most[0], "effects": list(effects.items())}
    print(json.dumps(line), file=report, flush=True)


def measure(options: argparse.Namespace, worker: str, source: Path, python: str) -> dict[str, Any]:
    """Do one run in a new process, and return what it took, or say why it did not finish."""
    command = [python, __file__, "--worker", worker, "--source", str(source), "--folder", str(options.folder)]
    command += ["--memory", options.memory, *(["--cluster"] if options.cluster else [])]
    command += [] if options.threads is None else ["--threads", str(options.threads)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=None if options.verbose else errors,
            start_new_session=True,
        )
        try:
            said = process.communicate()[0].decode()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                process.communicate()
        errors.seek(0)
        last = (errors.read().decode(errors="replace").strip().splitlines() or [""])[-1]
    if process.returncode:
        return {"failed": f"ended with {process.returncode}: {last[:150]}"}
    line: dict[str, Any] = json.loads(said)
    line["effects"] = {e: (effect, error) for e, (effect, error) in line["effects"]}
    return line


def table_of(folder: Path, total: int, shuffled: bool) -> Path:
    """Return the folder of the simulated table of that size, which is made if an earlier run has not kept it."""
    place = folder / f"{'shuffled' if shuffled else 'ordered'}-{total}"
    if not place.exists():
        unfinished = place.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        write(unfinished, total, shuffled)
        unfinished.rename(place)
    return place


def exponent(points: list[dict[str, Any]], cost: str) -> float:
    """Return b of cost = a * rows ** b, by least squares of the logarithms."""
    if len(points) < 2:
        return np.nan
    return float(np.polyfit(np.log([p["rows"] for p in points]), np.log([p[cost] for p in points]), 1)[0])


def scaling(options: argparse.Namespace) -> dict[str, Any] | None:
    """Print what each size takes, and return the run of the smallest one."""
    heading(
        "From Parquet files to the headline",
        *("rows", "Parquet, GB", "s", "CPU s", "peak, GiB", "its temporary files, GB"),
        *(f"{step}, s" for step in STEPS),
        "the whole event study besides, s",
    )
    points: list[dict[str, Any]] = []
    for total in sorted(options.rows):
        free, needed = shutil.disk_usage(options.folder).free / 1e9, BYTES_A_ROW * total / 1e9
        if free < needed:
            print(
                f"{total:,} rows skipped: {needed:.1f} GB of disk are needed, {free:.1f} GB are free.",
                file=sys.stderr,
            )
            row(f"{total:,}", f"skipped, {free:.0f} GB of disk free, {needed:.0f} needed", *["-"] * 9)
            continue
        source = table_of(options.folder, total, options.shuffle)
        runs = [measure(options, "large", source, sys.executable) for _ in range(options.runs)]
        size = size_of(source)
        if not (options.keep or total == min(options.rows)):
            shutil.rmtree(source)
        failed = [run["failed"] for run in runs if "failed" in run]
        if failed:
            row(f"{total:,}", f"{size:.2f}", failed[0], *["-"] * 8)
            continue
        best = min(runs, key=lambda run: run["seconds"])
        best |= {name: max(run[name] for run in runs) for name in ("peak", "disk")} | {"rows": total}
        points.append(best)
        row(
            *(f"{total:,}", f"{size:.2f}", f"{best['seconds']:.2f}", f"{best['cpu']:.2f}"),
            *(f"{best['peak']:.2f}", f"{best['disk']:.2f}"),
            *(f"{best[name]:.2f}" for name in (*STEPS, "event study")),
        )
    costs = ("seconds", "cpu", "peak")
    print(
        "\nExponents in the number of rows:",
        ", ".join(
            f"{what} {exponent(points, cost):.2f}"
            for what, cost in zip(("seconds", "CPU seconds", "peak"), costs, strict=True)
        )
        + ".",
    )
    return points[0] if points and points[0]["rows"] == min(options.rows) <= IN_MEMORY else None


def as_run(line: dict[str, Any]) -> Run:
    """Return what a worker said in the form of the other benchmarks."""
    return Run(
        line.get("failed", "finished"), *(line.get(cost, np.nan) for cost in ("seconds", "cpu", "peak"))
    )


def compare(options: argparse.Namespace, ours: dict[str, Any]) -> None:
    """Print what holding the smallest table in memory takes, by the package and by diff-diff."""
    total = min(options.rows)
    source = options.folder / f"{'shuffled' if options.shuffle else 'ordered'}-{total}"
    heading(
        f"{total:,} rows, held in memory or not; reading the files counts",
        *("how", "s", "of which reading, s", "CPU s", "peak, GiB", "effects differ by", "errors differ by"),
    )
    row(
        "`study.LargePanel.from_parquet`",
        f"{ours['seconds']:.2f}",
        "-",
        f"{ours['cpu']:.2f}",
        f"{ours['peak']:.2f}",
        "",
        "",
    )
    others = {"memory": ("`study.Panel.from_long`", sys.executable)}
    if options.peer_python and not options.cluster:
        others["peer"] = ("diff-diff, " + peers.PEERS[PEER][0].settings, options.peer_python)
    for worker, (name, python) in others.items():
        lacking = missing(python, NEEDS) if worker == "peer" else []
        run = (
            {"failed": f"not installed: {', '.join(lacking)}"}
            if lacking
            else measure(options, worker, source, python)
        )
        if worker == "peer":
            record("large", f"{PEER} from Parquet files", total, [as_run(ours)], [as_run(run)], name)
        if "failed" in run:
            row(name, run["failed"], *["-"] * 5)
            continue
        effect, error, _ = differences(ours["effects"], run["effects"])
        cells = (f"{run[cost]:.2f}" for cost in ("seconds", "reading", "cpu", "peak"))
        row(name, *cells, f"{effect:.1e}", f"{error:.1e}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--folder", type=Path, help="where the tables and temporary files are written")
    parser.add_argument("--keep", action="store_true", help="keep the tables, and use those that are there")
    parser.add_argument("--shuffle", action="store_true", help="rows in random order")
    parser.add_argument("--cluster", action="store_true", help="by state instead of by unit")
    parser.add_argument("--runs", type=int, default=1, help="of each size, of which the fastest is shown")
    parser.add_argument("--memory", default="4GB", help="memory_limit of the panel")
    parser.add_argument("--threads", type=int, help="of the panel (all cores where not given)")
    parser.add_argument("--peer-python", help="interpreter that has diff-diff and pyarrow")
    parser.add_argument("--verbose", action="store_true", help="show each step with its time")
    parser.add_argument("--worker", choices=("large", "memory", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = arguments()
    # An interpreter that is told to end skips what removes its files, unless it ends by an exception.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if options.worker:
        work(options)
        return
    base = options.folder
    if base is not None:
        base.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=base, prefix="large-simulated-") as name:
        options.folder = base if options.keep and base is not None else Path(name)
        shutil.rmtree(options.folder / "warm", ignore_errors=True)
        write(options.folder / "warm", WARM_ROWS, False)
        order = "random order" if options.shuffle else "the order of units and periods"
        threads = "all cores" if options.threads is None else f"{options.threads} threads"
        print(
            f"Simulated tables of {PERIODS} periods, seed {SEED}, rows in {order};",
            f"memory_limit {options.memory}, {threads}.",
        )
        print(f"Machine: {machine()}.")
        if options.peer_python and (lacking := missing(options.peer_python, NEEDS)):
            print(f"Not installed there, so that diff-diff is not measured: {', '.join(lacking)}.")
        print("Clusters: states." if options.cluster else "Clusters: units.")
        smallest = scaling(options)
        if smallest is not None:
            compare(options, smallest)
        print("\nNo other package that we know of estimates these from tables that do not fit into memory.")
        shutil.rmtree(options.folder / "warm", ignore_errors=True)
        shutil.rmtree(options.folder / "scratch", ignore_errors=True)


if __name__ == "__main__":
    main()
