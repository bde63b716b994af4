"""Seconds and memory of the diagnostics, side by side with the fastest of the other packages in the same run.

    python benchmarks/diagnostics.py --peer-python PATH

The package starts once from a long table in memory, as the peers do, and once from a Panel; both end with all
comparisons or weights and what is said of them. Simulated panels, processes, warm-up and clock are those of
``designs.py``: no record is real. Needs Linux.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import designs
import measuring
import numpy as np
import pandas as pd
import peers
from designs import WARM_UNITS, fastest, save, simulate, table
from measuring import Effects, Run, differences, heading, outcome, ratio, record, row
from peers import Peer

NEVER = 0.0


def key(treated: float, other: float) -> float:
    """Return one number for a pair of periods; the never-treated are 0."""
    return 10_000 * float(treated) + float(other)


def of_comparisons(found: Any) -> Effects:
    compared = pd.to_numeric(found.frame["compared"], errors="coerce").fillna(NEVER)
    rows = found.frame.assign(compared=compared).itertuples()
    return {key(row.treated, row.compared): (row.estimate, row.weight) for row in rows}


def goodman_bacon(sample: Any) -> Effects:
    """Return estimate and weight of every comparison."""
    from study.diagnostics.two_way_weights import goodman_bacon

    found = goodman_bacon(sample)
    assert found.sentences
    return of_comparisons(found)


def negative_weights(sample: Any) -> Effects:
    """Return the coefficient and the least spread of effects."""
    from study.diagnostics.two_way_weights import negative_weights

    found = negative_weights(sample)
    assert found.sentences
    return {0.0: (found["coefficient"], found["sigma_zero"])}


def diff_diff_bacon(weights: str) -> Peer:
    def fit(data: pd.DataFrame) -> Effects:
        import diff_diff

        made = diff_diff.BaconDecomposition(weights=weights).fit(data, "y", "unit", "time", "first")
        effects = {}
        for part in made.comparisons:
            other = NEVER if part.control_group == "never_treated" else part.control_group
            effects[key(part.treated_group, other)] = (float(part.estimate), float(part.weight))
        return effects

    return Peer("diff-diff", f'BaconDecomposition(weights="{weights}")', peers.PANEL, fit)


def diff_diff_weights(data: pd.DataFrame) -> Effects:
    import diff_diff

    made = diff_diff.twowayfeweights(data, "y", unit="unit", time="time", treatment="D")
    return {0.0: (float(made.beta_fe), float(made.sigma_fe))}


class Workload(NamedTuple):
    """A diagnostic of the package and the peers' answers to the same."""

    answer: Callable[[Any], Effects]
    peers: tuple[Peer, ...]


WORKLOADS = {
    "goodman_bacon": Workload(goodman_bacon, (diff_diff_bacon("exact"), diff_diff_bacon("approximate"))),
    "negative_weights": Workload(
        negative_weights,
        (Peer("diff-diff", "twowayfeweights()", ("unit", "time", "y", "D"), diff_diff_weights),),
    ),
}
FROM_TABLE, FROM_PANEL = "from the long table", "from a Panel"


def to_panel(data: pd.DataFrame) -> Any:
    return designs.to_panel(designs.WORKLOADS["twfe"], data)


def answer(name: str, panel: Any) -> Effects:
    import study

    return WORKLOADS[name].answer(study.Question(outcome="y", event="first").sample(panel))


def work(who: str, name: str, file: str, periods: int) -> None:
    """Do one measured run in this process: of the package from a table or a Panel, or of a peer by its number."""
    small = simulate(WARM_UNITS, periods)
    if who == FROM_PANEL:

        def load() -> Any:
            return to_panel(table(np.load(file), peers.PANEL))

        measuring.work(lambda panel: answer(name, panel), to_panel(table(small, peers.PANEL)), load)
        return
    if who == FROM_TABLE:
        measured = Peer("study", "", peers.PANEL, lambda data: answer(name, to_panel(data)))
    else:
        peers.use_fastest_settings()
        measured = WORKLOADS[name].peers[int(who)]
    measuring.work(
        measured.fit, table(small, measured.columns), lambda: table(np.load(file), measured.columns)
    )


class Bench(NamedTuple):
    """The file of simulated data and what the user set."""

    file: Path
    options: argparse.Namespace

    def run(self, name: str, who: str | int) -> Run:
        """Run a workload in a process of its own: the package from a table or a Panel, or a peer by its number."""
        ours = isinstance(who, str)
        python = sys.executable if ours else self.options.peer_python
        command = [python, __file__, "--worker", str(who), name, str(self.file), str(self.options.periods)]
        memory, needs = (
            (None, ()) if ours else (self.options.memory, (WORKLOADS[name].peers[int(who)].package,))
        )
        return measuring.run(command, self.options.limit, memory, self.options.threads, needs)


def measure(bench: Bench, name: str) -> None:
    """Print a first round of every peer, then paired runs with the fastest, and how far the answers differ."""
    first = [bench.run(name, number) for number in range(len(WORKLOADS[name].peers))]
    package = bench.run(name, FROM_TABLE)
    heading(f"{name}, one run each", "package", "settings", "s", "CPU s", "peak, GiB", "above the data")
    row("study", FROM_TABLE, *outcome([package]))
    for peer, made in zip(WORKLOADS[name].peers, first, strict=True):
        row(peer.package, peer.settings, *outcome([made]))
    number = fastest(first)
    runs: dict[str | int, list[Run]] = {FROM_TABLE: [], FROM_PANEL: []} | (
        {} if number is None else {number: []}
    )
    for _ in range(bench.options.runs):
        for who, made in runs.items():
            made.append(bench.run(name, who))
    theirs = [] if number is None else runs.pop(number)
    why = "; ".join(dict.fromkeys(run.outcome for run in first))
    stopped = bench.options.limit if "not finished" in why else np.nan
    rows = bench.options.units * bench.options.periods
    heading(
        f"{name}, paired runs, {bench.options.runs} each: medians (smallest to largest), highest peaks",
        *("start", "times as fast", "study: s", "CPU s", "peak, GiB", "above the data"),
        *("peer: s", "CPU s", "peak, GiB", "above the data", "fastest peer"),
    )
    for start, made in runs.items():
        title = "-" if number is None else f"{WORKLOADS[name].peers[number].package}, "
        title += "" if number is None else WORKLOADS[name].peers[number].settings
        row(start, ratio(made, theirs, stopped), *outcome(made), *outcome(theirs), title)
        record("diagnostics", f"{name} {start}", rows, made, theirs, title, why, stopped)
    heading(
        f"{name}, largest relative differences; of comparisons the estimates and the weights, of the coefficient the "
        "coefficient and the least spread of effects",
        *("peer", "settings", "compared", f"first, {WARM_UNITS:,} units", "second", "first, all", "second"),
    )
    for peer, made in zip(WORKLOADS[name].peers, first, strict=True):
        warm, full = differences(package.warm, made.warm), differences(package.effects, made.effects)
        row(peer.package, peer.settings, full[2], *(f"{value:.1e}" for value in (*warm[:2], *full[:2])))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--periods", type=int, default=20)
    parser.add_argument(
        "--diagnostics", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME"
    )
    parser.add_argument("--runs", type=int, default=5, help="paired runs of each workload")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--shuffle", action="store_true", help="rows in random order")
    parser.add_argument("--threads", type=int, help="of either side; where not given, what each takes")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds after which a run is stopped")
    parser.add_argument("--memory", type=float, default=20.0, help="GiB of addresses that a peer may take")
    return parser.parse_args()


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        who, name, file, periods = sys.argv[2:]
        work(who, name, file, int(periods))
        return
    # An interpreter that is told to end skips what stops its workers, unless it ends by an exception.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    options = arguments()
    options.small, options.scaling, options.peers = False, False, True
    designs.describe(options)
    with tempfile.TemporaryDirectory(prefix="diagnostics-simulated-") as folder:
        file = Path(folder) / "panel.npz"
        save(file, simulate(options.units, options.periods), options.shuffle)
        for name in options.diagnostics:
            measure(Bench(file, options), name)


if __name__ == "__main__":
    main()
