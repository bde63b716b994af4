"""Seconds and memory of the designs, side by side with the fastest of the other packages in the same run.

    python benchmarks/designs.py --peer-python PATH

From a long table in memory to standard errors of the event study and of its average. The data are simulated: no record
is real; the seed is fixed. Every run is a process of its own, which imports everything, warms up on a panel of 1,000
units (imports and compilation do not count), loads the table, and starts the clock. First every peer runs once; then
the package and the fastest peer take turns. ``--scaling`` adds 1,000 to 1,000,000 units, ``--small`` shows the study's
own size. Needs Linux, whose ``/proc`` gives the highest resident memory.
"""

from __future__ import annotations

import argparse
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import measuring
import numpy as np
import pandas as pd
import peers
from measuring import Effects, Run, differences, heading, outcome, ratio, record, row
from peers import Peer

SEED = 20261124
WARM_UNITS = 1_000
SCALES = (1_000, 10_000, 100_000, 1_000_000)
SMALL_UNITS, SMALL_PERIODS, SMALL_REPEATS = 300, 12, 200


@dataclass(frozen=True)
class Workload:
    """A design with its options and the fields of its question, and how many multiplier draws it makes."""

    design: str
    options: dict[str, Any] = field(default_factory=dict)
    question: dict[str, Any] = field(default_factory=dict)
    outcome: str = "y"
    draws: int = 0
    event: str = "first"

    @property
    def covariates(self) -> tuple[str, ...]:
        return tuple(self.question.get("covariates", ()))

    @property
    def attributes(self) -> tuple[str, ...]:
        return ("eligible",) if "group" in self.question else ()

    @property
    def columns(self) -> tuple[str, ...]:
        dose = ("dose",) if "dose" in self.question else ()
        return ("unit", "time", self.event, self.outcome, *self.covariates, *self.attributes, *dose)

    @property
    def settings(self) -> str:
        given = self.options | self.question | ({"draws": self.draws} if self.draws else {})
        return f"{self.design}({', '.join(f'{name}={value!r}' for name, value in given.items())})"


NEVER = {"comparison": "never_treated"}
ADJUSTED = NEVER | {"covariates": peers.COVARIATES}
DOSED = NEVER | {"dose": "dose", "average": "cohort_average"}
GROUP = {"group": "eligible=1"}
WORKLOADS = {
    "twfe": Workload("twfe"),
    "event_study": Workload("event_study"),
    "callaway_santanna": Workload("callaway_santanna", question=NEVER),
    "callaway_santanna, 999 draws": Workload("callaway_santanna", question=NEVER, draws=peers.DRAWS),
    "dr": Workload("callaway_santanna", question=ADJUSTED),
    "dr, 999 draws": Workload("callaway_santanna", question=ADJUSTED, draws=peers.DRAWS),
    "triple_difference": Workload("triple_difference", question=NEVER | GROUP),
    "triple_difference, dr": Workload("triple_difference", question=ADJUSTED | GROUP),
    "imputation": Workload("imputation", {"leads": 0}),
    "sun_abraham": Workload("sun_abraham"),
    "stacked": Workload("stacked", {"before": peers.BEFORE, "after": peers.AFTER}),
    "etwfe": Workload("etwfe"),
    "lp_did": Workload("lp_did"),
    "dcdh": Workload("dcdh", {"placebos": peers.PLACEBOS}, {"horizon": peers.EFFECTS - 1}, event="path"),
    "dose_response": Workload("dose_response", {"doses": peers.DOSES}, DOSED),
    "poisson_twfe": Workload("poisson_twfe", question={"scale": "proportional"}, outcome="count"),
}


def simulate(units: int, periods: int) -> dict[str, np.ndarray]:
    """Return the columns of a simulated long panel: ten cohorts and never-treated, two baseline covariates, a dose.

    Effects grow with event time, trends depend on the first covariate; ``count`` is Poisson with a proportional effect.
    ``path`` is a treatment that ends after one to eight periods.
    """
    rng = np.random.default_rng(SEED)
    time_ = np.arange(1, periods + 1)
    cohorts = np.linspace(periods // 4, 3 * periods // 4 - 1, 10).round().astype(int)
    first = rng.choice(np.append(0, cohorts), size=units)
    x1, x2 = rng.normal(size=(2, units))
    treated = (first[:, None] > 0) & (time_ >= first[:, None])
    event_time = time_ - first[:, None]
    y = rng.normal(size=(units, 1)) + 0.2 * time_ + 0.1 * x1[:, None] * time_
    y += np.where(treated, 1 + 0.2 * event_time, 0.0) + rng.normal(size=y.shape)
    mean = np.exp(0.5 + 0.3 * rng.normal(size=(units, 1)) + 0.02 * time_ + 0.3 * treated)
    return {
        "unit": np.repeat(np.arange(units), periods),
        "time": np.tile(time_, units),
        "first": np.repeat(first, periods),
        "y": y.ravel(),
        "count": rng.poisson(mean).ravel().astype(float),
        "x1": np.repeat(x1, periods),
        "x2": np.repeat(x2, periods),
        "D": treated.ravel().astype(float),
        "path": (treated & (event_time <= np.arange(units)[:, None] % 8)).ravel().astype(float),
        "rel": np.where(first[:, None] > 0, event_time, -1).ravel(),
        "cell": np.where(treated, first[:, None] * 1000 + time_, 0).ravel(),
        "dose": np.repeat(np.where(first > 0, rng.uniform(0.5, 3.0, size=units), 0.0), periods),
        "eligible": np.repeat(rng.integers(0, 2, size=units), periods),
    }


def table(source: Any, columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.DataFrame({name: source[name] for name in columns})


def to_panel(workload: Workload, data: pd.DataFrame) -> Any:
    import study

    of_doses = [name for name in workload.columns if name in ("dose", "path")]
    return study.Panel.from_long(
        data,
        unit="unit",
        time="time",
        first_treated=() if workload.event == "path" else "first",
        outcomes=[workload.outcome],
        covariates=list(workload.covariates),
        doses=of_doses,
        attributes=list(workload.attributes),
    )


def answer(workload: Workload, panel: Any) -> Effects:
    """Return the package's effects with standard errors, after its headline's and its bands."""
    import study

    question = study.Question(outcome=workload.outcome, event=workload.event, **workload.question)
    fit = study.estimate(panel, question, workload.design, **workload.options)
    if fit.estimand is study.Estimand.COEFFICIENT or len(fit.terms) == 1:
        return {0.0: (float(fit.effect[0]), float(fit.std_error[0]))}
    event = fit.aggregate("event")
    errors = event.std_error
    assert np.isfinite(fit.headline.std_error).all()
    if fit.at is not None:
        curve = fit.aggregate("dose")
        return peers.collect(curve.at, curve.effect, curve.std_error)
    if workload.draws:
        event.band(draws=workload.draws, seed=1)
    return peers.collect(event.event_time, event.effect, errors)


def work(who: str, name: str, file: str, periods: int) -> None:
    """Do one measured run in this process: of the package, or of the peer with that number."""
    if who == "study":
        workload = WORKLOADS[name]
        measured = Peer(
            "study", "", workload.columns, lambda data: answer(workload, to_panel(workload, data))
        )
    else:
        peers.use_fastest_settings()
        measured = peers.PEERS[name][int(who)]
    small = table(simulate(WARM_UNITS, periods), measured.columns)
    measuring.work(measured.fit, small, lambda: table(np.load(file), measured.columns))


class Bench(NamedTuple):
    """The file of simulated data and what the user set."""

    file: Path
    options: argparse.Namespace

    def run(self, name: str, peer: int | None = None) -> Run:
        """Run a workload in a process of its own: the package, or the peer with that number."""
        python = sys.executable if peer is None else self.options.peer_python
        who = "study" if peer is None else str(peer)
        command = [python, __file__, "--worker", who, name, str(self.file), str(self.options.periods)]
        memory, needs = (
            (None, ()) if peer is None else (self.options.memory, (peers.PEERS[name][peer].package,))
        )
        return measuring.run(command, self.options.limit, memory, self.options.threads, needs)


def save(file: Path, columns: dict[str, np.ndarray], shuffled: bool) -> None:
    """Write the columns, with their rows in the order of units and periods or in random order."""
    rows = np.random.default_rng(SEED).permutation(len(columns["unit"])) if shuffled else slice(None)
    np.savez(file, allow_pickle=False, **{name: column[rows] for name, column in columns.items()})


def first_round(bench: Bench, names: list[str]) -> dict[str, list[Run]]:
    """Run the package and every peer once; return the runs by workload, the package's first."""
    heading(
        "First round, one run each",
        *("workload", "package", "settings", "s", "CPU s", "peak, GiB", "above the data"),
    )
    runs: dict[str, list[Run]] = {}
    for name in names:
        runs[name] = [bench.run(name)]
        row(name, "study", WORKLOADS[name].settings, *outcome(runs[name]))
        for number, peer in enumerate(peers.PEERS[name] if bench.options.peers else ()):
            runs[name].append(bench.run(name, number))
            row(name, peer.package, peer.settings, *outcome(runs[name][-1:]))
    return runs


def take_turns(bench: Bench, first: dict[str, list[Run]]) -> None:
    """Print the paired runs of the package and of the fastest peer of each workload."""
    heading(
        f"Paired runs, {bench.options.runs} each: medians (smallest to largest), highest peaks",
        *("workload", "times as fast", "study: s", "CPU s", "peak, GiB", "above the data"),
        *("peer: s", "CPU s", "peak, GiB", "above the data", "fastest peer"),
    )
    for name, (package, *others) in first.items():
        rows = bench.options.units * bench.options.periods
        why = "; ".join(dict.fromkeys(run.outcome for run in others))
        number = fastest(others)
        if not package.finished:
            record("designs", name, rows, [package], [], title(name, number), why)
            continue
        ours, theirs = [], []
        for _ in range(bench.options.runs):
            ours.append(bench.run(name))
            if number is not None:
                theirs.append(bench.run(name, number))
        stopped = bench.options.limit if "not finished" in why else np.nan
        row(name, ratio(ours, theirs, stopped), *outcome(ours), *outcome(theirs), title(name, number))
        record("designs", name, rows, ours, theirs, title(name, number), why, stopped)


def fastest(runs: list[Run]) -> int | None:
    """Return the number of the fastest peer, None where none finished."""
    finished = [(run.seconds, number) for number, run in enumerate(runs) if run.finished]
    return min(finished)[1] if finished else None


def title(name: str, number: int | None) -> str:
    if number is None:
        return "-"
    return f"{peers.PEERS[name][number].package}, {peers.PEERS[name][number].settings}"


def compare_effects(first: dict[str, list[Run]]) -> None:
    """Print how far the package and each peer differ, on the small panel and on the full one."""
    heading(
        "Largest relative differences of effects (to the larger of effect and standard error) and of standard errors",
        *("workload", "peer", "settings", "event times"),
        *(f"{what}, {size}" for size in (f"{WARM_UNITS:,} units", "all") for what in ("effects", "errors")),
    )
    for name, (ours, *others) in first.items():
        for peer, theirs in zip(peers.PEERS[name], others, strict=False):
            small, full = differences(ours.warm, theirs.warm), differences(ours.effects, theirs.effects)
            shown = (f"{value:.1e}" for value in (*small[:2], *full[:2]))
            row(name, peer.package, peer.settings, small[2], *shown)


def scaling(options: argparse.Namespace, file: Path, against: dict[str, int | None]) -> None:
    """Print seconds at several numbers of units, one run each, and b of seconds = a * units ** b above the smallest.

    The peer with the number that is given for a workload runs below the size of the comparison.
    """
    runs: dict[str, list[Run]] = {name: [] for name in options.designs}
    for units in SCALES:
        save(file, simulate(units, options.periods), options.shuffle)
        bench = Bench(file, options)
        for name in options.designs:
            number = against[name] if units < options.units else None
            theirs = [] if number is None else [bench.run(name, number)]
            runs[name].append(bench.run(name))
            record("scaling", name, units * options.periods, runs[name][-1:], theirs, title(name, number))
    sizes = [f"{units:,} units" for units in SCALES]
    heading(
        "Seconds and highest resident memory in GiB of the package, one run each, by number of units",
        *("workload", *(f"{size}, s" for size in sizes), "exponent", *(f"{size}, GiB" for size in sizes)),
    )
    for name, made in runs.items():
        cells = [outcome([run]) for run in made]
        known = [(units, run.seconds) for units, run in zip(SCALES, made, strict=True) if run.finished][1:]
        exponent = np.polyfit(*np.log(np.transpose(known)), 1)[0] if len(known) > 1 else np.nan
        row(name, *(cell[0] for cell in cells), f"{exponent:.2f}", *(cell[2] for cell in cells))


def small(names: list[str]) -> None:
    """Print milliseconds at the study's own size, in this process, after everything is imported and warm."""
    heading(
        f"{SMALL_UNITS} units x {SMALL_PERIODS} periods, median of {SMALL_REPEATS} repeats in one process",
        *("workload", "from Panel, ms", "from the long table, ms"),
    )
    source = simulate(SMALL_UNITS, SMALL_PERIODS)
    for name in names:
        workload = WORKLOADS[name]
        data = table(source, workload.columns)
        panel = to_panel(workload, data)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(SMALL_REPEATS + 1):
            started = time.perf_counter()
            answer(workload, panel)
            middle = time.perf_counter()
            answer(workload, to_panel(workload, data))
            times[0].append(middle - started)
            times[1].append(time.perf_counter() - middle)
        row(name, *(f"{1000 * statistics.median(made[1:]):.2f}" for made in times))


def describe(options: argparse.Namespace) -> None:
    order = "random order" if options.shuffle else "the order of units and periods"
    print(f"Simulated panels, seed {SEED}, rows in {order};")
    print(f"{options.units:,} units x {options.periods} periods where not said otherwise.")
    threads = "as many threads as each takes" if options.threads is None else f"threads: {options.threads}"
    print(f"Machine: {measuring.machine()}; {threads}.")
    print(f"study: {measuring.named_versions(sys.executable, ['compute-access-study'])}.")
    if options.peers and not options.small:
        print(f"Peers: {measuring.named_versions(options.peer_python, peers.PACKAGES)};")
        settings = ", ".join(f"{name}={value}" for name, value in peers.ENVIRONMENT.items())
        print(f"{settings}; stopped after {options.limit:g} s; at most {options.memory:g} GiB of addresses.")
        for package in measuring.missing(options.peer_python, peers.PACKAGES):
            rows = [
                name for name, asked in peers.PEERS.items() if package in (peer.package for peer in asked)
            ]
            print(
                f"{package} is not installed there, so not measured: {'; '.join(rows) or 'other benchmarks'}."
            )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--periods", type=int, default=20)
    parser.add_argument("--designs", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME")
    parser.add_argument("--runs", type=int, default=5, help="paired runs of each workload")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--shuffle", action="store_true", help="rows in random order")
    parser.add_argument("--threads", type=int, help="of either side; where not given, what each takes")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds after which a run is stopped")
    parser.add_argument("--memory", type=float, default=20.0, help="GiB of addresses that a peer may take")
    parser.add_argument(
        "--scaling", action="store_true", help="also at several numbers of units, the peer up to --units"
    )
    parser.add_argument("--small", action="store_true", help="the package alone at the study's own size")
    return parser.parse_args()


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        who, workload, data, periods = sys.argv[2:]
        work(who, workload, data, int(periods))
        return
    # An interpreter that is told to end skips what stops its workers, unless it ends by an exception.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = arguments()
    describe(options)
    if options.small:
        small(options.designs)
        return
    with tempfile.TemporaryDirectory(prefix="designs-simulated-") as name:
        file = Path(name) / "panel.npz"
        save(file, simulate(options.units, options.periods), options.shuffle)
        first = first_round(Bench(file, options), options.designs)
        take_turns(Bench(file, options), first)
        if options.peers:
            compare_effects(first)
        if options.scaling:
            scaling(options, file, {name: fastest(others) for name, (_, *others) in first.items()})


if __name__ == "__main__":
    main()
