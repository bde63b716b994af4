"""Every comparison with other packages: RESULTS.md, results.json and cost.svg beside this file.

    python benchmarks/bench.py --peer-python PATH            # make bench
    python benchmarks/bench.py --peer-python PATH --check    # make bench-check

``--check`` measures anew into build/bench and reports every ratio to the fastest peer that is less than two thirds of
what results.json has, or could not be measured; it then ends with 1. Ratios, since seconds differ between machines.
``--quick`` is a rehearsal at tiny sizes, whose numbers mean nothing, into build/bench too.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import measuring
import peers
from measuring import spread

from study.figures.drawing import COLOUR, FULL, SECOND, canvas, drawn, labelled

HERE = Path(__file__).resolve().parent
SCRATCH = HERE.parent / "build" / "bench"
RECORD, RESULTS, PLOT = "results.json", "RESULTS.md", "cost.svg"
KEPT = 2 / 3  # of a recorded ratio, below which it has fallen
# Each command, its options, and those of a rehearsal. A million rows, so that all takes some 20 minutes.
SUITE = (
    ("designs.py", "--units 50000 --runs 3 --limit 60", "--units 1500 --runs 1 --limit 20"),
    ("diagnostics.py", "--units 50000 --runs 3 --limit 60", "--units 1500 --runs 1 --limit 20"),
    ("wild.py", "--runs 3", "--runs 1 --draws 99"),
    ("synthetic.py", "--runs 3", "--runs 1 --units 60"),
    ("learners.py", "--beside-doubleml --runs 3", "--beside-doubleml --runs 1"),
    ("large.py", "--shuffle --rows 10000000", "--shuffle --rows 100000"),
)
WITHOUT_PEERS = ("learners.py",)  # its peer is a dependency of the package
OURS = ("compute-access-study", "doubleml", "lightgbm", "duckdb")
Line = dict[str, Any]


def measure(options: argparse.Namespace) -> tuple[list[Line], list[str]]:
    """Run every command; return what they recorded, and which of them failed."""
    failed = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        written = Path(folder) / "record"
        written.touch()
        for script, usual, quick in SUITE:
            command = [sys.executable, str(HERE / script), *shlex.split(quick if options.quick else usual)]
            command += [] if script in WITHOUT_PEERS else ["--peer-python", options.peer_python]
            command += (
                ["--scaling"] if script == "designs.py" and not (options.check or options.quick) else []
            )
            print(f"\n# {script} {shlex.join(command[2:])}", flush=True)
            process = subprocess.Popen(command, env=os.environ | {"BENCHMARK_RECORD": str(written)})
            try:
                if process.wait():
                    failed.append(f"{script} ended with {process.returncode}; its message is above.")
            finally:
                if process.poll() is None:
                    process.terminate()
                    process.wait()
        return [json.loads(line) for line in written.read_text(encoding="utf-8").splitlines()], failed


def of_scaling(line: Line) -> bool:
    """Whether a comparison only shows how cost grows."""
    return str(line["benchmark"]) == "scaling"


def ratio(line: Line) -> float | None:
    """Return how many times as fast as the fastest peer the package was, the median of pairs."""
    return statistics.median(line["ratios"]) if line["ratios"] else None


def falls(recorded: list[Line], measured: list[Line]) -> list[str]:
    """Return a sentence for each recorded ratio that is now less than two thirds, or could not be measured.

    What only shows how cost grows is left out.
    """

    def key(line: Line) -> tuple[str, str, int]:
        return line["benchmark"], line["workload"], line["rows"]

    now = {key(line): line for line in measured}
    sentences = []
    for line in recorded:
        before, new = ratio(line), now.get(key(line))
        if before is None or of_scaling(line):
            continue
        after = ratio(new) if new else None
        what = f"{line['benchmark']}, {line['workload']}, {line['rows']:,} rows: "
        what += f"{before:.1f} times as fast as {peer(line)}"
        if new is None or after is None:
            sentences.append(f"{what} on record, not measured now ({reason(new) if new else 'not run'}).")
        elif after < KEPT * before:
            sentences.append(f"{what} on record, {after:.1f} times as fast as {peer(new)} now.")
    return sentences


def reason(line: Line) -> str:
    """Return why there is no ratio."""
    sides = (line["study"]["outcome"], line["other"]["outcome"] if "peer" in line else line["why"])
    return "; ".join(side for side in sides if side != "finished") or "no peer"


def peer(line: Line) -> str:
    """Return the name of the fastest peer, or why there is none."""
    return line["peer"].split(",")[0] if "peer" in line else line["why"] or "no peer"


def cell(value: float | None, outcome: str = "finished") -> str:
    """Return a number of a table with two decimals, or two significant digits where it is small."""
    if value is None:
        return "–" if outcome in ("finished", "not run") else outcome
    return f"{value:.2f}" if value >= 0.095 else f"{value:.2g}"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(each.replace('|', chr(92) + '|') for each in line)} |" for line in lines)


def report(made: dict[str, Any]) -> str:
    """Return RESULTS.md."""
    lines = made["comparisons"]
    scaling = {(line["workload"], line["rows"]): line["study"] for line in lines if of_scaling(line)}
    rows = []
    for line in lines:
        if of_scaling(line):
            continue
        study, other = line["study"], line["other"]
        times = spread(line["ratios"], 1) if line["ratios"] else "–"
        if line["ratios"] and "peer" not in line:
            times = f"more than {ratio(line):.0f}"
        rows.append(
            (
                *(line["benchmark"], f"`{line['workload']}`", f"{line['rows']:,}", peer(line)),
                *(cell(side["seconds"], side["outcome"]) for side in (other, study)),
                times,
                *(cell(side["peak"]) for side in (other, study)),
            )
        )
    head = ("benchmark", "workload", "rows", "fastest peer", "peer, s", "study, s", "times as fast")
    parts = [
        "# Results of the benchmarks",
        f"Measured on {made['date']}; `make bench` writes this file, `README.md` says how each is measured.",
        f"Machine: {made['machine']}.",
        f"The package: {made['study']}. Peers: {made['peers']}.",
        f"Not installed, so not compared: {', '.join(made['missing'])}." if made["missing"] else "",
        "Medians of runs in turns, ratios with the smallest and largest, highest resident memory of the process.",
        table((*head, "peak of the peer, GiB", "of study, GiB"), rows),
        *made["failed"],
    ]
    if scaling:
        names, sizes = dict.fromkeys(name for name, _ in scaling), sorted({size for _, size in scaling})
        costs = {name: [scaling[name, size] for size in sizes] for name in names}
        largest = f"peak at {sizes[-1]:,} rows, GiB"
        parts += [
            "## Cost by number of rows",
            f"![Seconds of the package and of the fastest peer of each workload by number of rows]({PLOT})",
            "One run each of the package:",
            table(
                ("workload", *(f"{size:,} rows, s" for size in sizes), largest),
                [
                    (f"`{name}`", *(cell(c["seconds"], c["outcome"]) for c in each), cell(each[-1]["peak"]))
                    for name, each in costs.items()
                ],
            ),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plot(lines: list[Line]) -> bytes:
    """Return an SVG of seconds by rows, a panel a workload, of the package and of the fastest peer."""
    from matplotlib.ticker import EngFormatter, LogLocator

    of_designs = [line for line in lines if line["benchmark"] in ("designs", "scaling")]
    names = list(dict.fromkeys(line["workload"] for line in of_designs))
    columns = 4
    with canvas(FULL, 0.5 + 1.5 * -(-len(names) // columns)) as figure:
        grid = figure.subplots(-(-len(names) // columns), columns, sharex=True, sharey=True, squeeze=False)
        for axis, name in zip(grid.flat, names, strict=False):
            mine = sorted(
                (line for line in of_designs if line["workload"] == name), key=lambda line: line["rows"]
            )
            for side, look, label in (
                ("study", {"color": COLOUR, "marker": "o"}, "study"),
                ("other", {"color": SECOND, "marker": "s", "linestyle": "--"}, "fastest peer"),
            ):
                points = [(line["rows"], line[side]["seconds"]) for line in mine if line[side]["seconds"]]
                if points:
                    axis.plot(*zip(*points, strict=True), markersize=3.5, label=label, **look)
            rivals = {peer(line) for line in mine if line["other"]["seconds"]}
            axis.set_title(f"{name}\nand {', '.join(rivals) or 'no peer'}", fontsize=6.5)
            axis.set(xscale="log", yscale="log")
            axis.grid(color="0.9", linewidth=0.5)
            for each in (axis.xaxis, axis.yaxis):
                each.set_major_locator(LogLocator(numticks=10))
                each.set_minor_locator(LogLocator(numticks=1))
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            axis.yaxis.set_major_formatter("{x:g}")
        for axis in grid.flat[len(names) :]:
            axis.set_axis_off()
        figure.supxlabel("rows", fontsize=8)
        figure.supylabel("seconds", fontsize=8)
        handles = labelled(*grid.flat)
        figure.legend([*handles.values()], [*handles], loc="outside upper center", ncols=2, frameon=False)
        return drawn(figure, "svg")


def read(path: Path) -> list[Line]:
    """Return the comparisons on record."""
    lines: list[Line] = json.loads(path.read_text(encoding="utf-8"))["comparisons"] if path.exists() else []
    return lines


def main() -> int:
    """Measure, write and compare with the record."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter that has the peers")
    parser.add_argument("--check", action="store_true", help="report ratios that fell, and leave the record")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that all of it runs")
    options = parser.parse_args()
    recorded = read(HERE / RECORD)
    if options.check and not any(line["ratios"] for line in recorded):
        parser.error(f"benchmarks/{RECORD} has no ratios to compare with; make bench writes it.")
    if shutil.which(options.peer_python) is None:
        parser.error(
            f"--peer-python: {options.peer_python} is no interpreter; make bench makes one that has the peers."
        )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    today = datetime.date.today()
    made: dict[str, Any] = {
        "date": f"{today.day} {today:%B %Y}",
        "machine": measuring.machine(),
        "study": measuring.named_versions(sys.executable, OURS),
        "peers": measuring.named_versions(options.peer_python, peers.PACKAGES),
        "missing": measuring.missing(options.peer_python, peers.PACKAGES),
    }
    for name, value in made.items():
        print(f"{name}: {value if isinstance(value, str) else ', '.join(value) or 'none'}", flush=True)
    made["comparisons"], made["failed"] = measure(options)
    folder = SCRATCH if options.check or options.quick else HERE
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / RESULTS).write_text(report(made), encoding="utf-8")
    (folder / PLOT).write_bytes(plot(made["comparisons"]))
    print(f"\n{report(made)}")
    fallen = [] if options.quick else falls(recorded, made["comparisons"])
    print(*fallen, *made["failed"], sep="\n")
    return int(bool(made["failed"] or (options.check and fallen)))


if __name__ == "__main__":
    sys.exit(main())
