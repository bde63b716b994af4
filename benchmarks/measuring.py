"""Runs measured in processes of their own: warm-up, clock, peak memory, how they end, tables and records of them."""

from __future__ import annotations

import gc
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

Effects = dict[float, tuple[float, float]]
GIBIBYTE = 2**30
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS", "POLARS_MAX_THREADS")


class Run(NamedTuple):
    """What a run came to: "finished" or why not, what it took, and its effects, small and full."""

    outcome: str
    seconds: float = np.nan
    cpu: float = np.nan
    peak: float = np.nan
    above: float = np.nan
    warm: Effects | None = None
    effects: Effects | None = None

    @property
    def finished(self) -> bool:
        return self.outcome == "finished"


def memory(field: str) -> float:
    """Return VmRSS or VmHWM of this process in GiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split(f"{field}:")[1].split()[0]) / 2**20


def forget_peak() -> None:
    """Make the resident memory of now the highest so far (Linux)."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def work(
    fit: Callable[[pd.DataFrame], Effects], small: pd.DataFrame, load: Callable[[], pd.DataFrame]
) -> None:
    """Warm up on the small table, run on the full one, and write a line of JSON after each.

    What packages print themselves goes to the standard error. The limit of memory that the environment names
    holds from the warm-up on.
    """
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    limit = float(os.environ.get("BENCHMARK_MEMORY", "inf"))
    if np.isfinite(limit):
        resource.setrlimit(resource.RLIMIT_AS, (int(limit * GIBIBYTE),) * 2)
    try:
        warm = fit(small)
        data = load()
        gc.collect()
        forget_peak()
        before = memory("VmRSS")
        print(json.dumps(list(warm.items())), file=report, flush=True)
        started, cpu = time.perf_counter(), time.process_time()
        effects = fit(data)
        seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
        peak = memory("VmHWM")
        line = {"outcome": "finished", "seconds": seconds, "cpu": cpu, "peak": peak, "above": peak - before}
        line["effects"] = list(effects.items())
    except MemoryError:
        line = {"outcome": "out of memory"}
    except Exception as error:
        line = {"outcome": f"failed: {type(error).__name__}: {error}".splitlines()[0][:200]}
    print(json.dumps(line), file=report, flush=True)


def run(
    command: list[str],
    limit: float,
    memory_limit: float | None,
    threads: int | None,
    needs: tuple[str, ...] = (),
) -> Run:
    """Run a worker, stop it when its measured part takes longer than the limit in seconds.

    No process is started where the command's interpreter lacks one of the packages that it needs.
    """
    if lacking := missing(command[0], needs):
        return Run(f"not installed: {', '.join(lacking)}")
    environment = dict(os.environ)
    if threads is not None:
        environment.update(dict.fromkeys(THREADS, str(threads)))
    if memory_limit is not None:
        environment["BENCHMARK_MEMORY"] = str(memory_limit)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            bufsize=0,  # so that the first line is read to its end and no further
            env=environment,
            start_new_session=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline().decode()
        try:
            rest = process.communicate(timeout=limit)[0].decode()
        except subprocess.TimeoutExpired:
            return _came_to([first], f"not finished in {limit:g} s")
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().splitlines()[-5:] or [""]
    out_of_memory = "memory" in " ".join(said).lower() or process.returncode == -signal.SIGKILL
    died = "out of memory" if out_of_memory else f"ended with {process.returncode}: {said[-1][:150]}"
    return _came_to([first, *rest.splitlines()], died)


def _came_to(lines: list[str], died: str) -> Run:
    """Return the run of which a worker wrote these lines; without the last of them, it died."""
    read = [json.loads(line) for line in lines if line]
    warm = _effects(read[0]) if read and isinstance(read[0], list) else None
    if not read or isinstance(read[-1], list):
        return Run(died, warm=warm)
    effects = _effects(read[-1].pop("effects", []))
    return Run(**read[-1], warm=warm, effects=effects)


def _effects(pairs: list[Any]) -> Effects:
    return {float(key): (value[0], value[1]) for key, value in pairs}


def differences(ours: Effects | None, theirs: Effects | None) -> tuple[float, float, int]:
    """Return the largest relative difference of effects and of standard errors, and over how many event times.

    Effects relative to the larger of the effect and its standard error.
    """
    common = sorted(set(ours or {}) & set(theirs or {}))
    if ours is None or theirs is None or not common:
        return np.nan, np.nan, 0
    effect = max(abs(ours[e][0] - theirs[e][0]) / max(abs(theirs[e][0]), theirs[e][1]) for e in common)
    error = max(abs(ours[e][1] / theirs[e][1] - 1) for e in common)
    return effect, error, len(common)


def outcome(runs: list[Run]) -> tuple[str, str, str, str]:
    """Return median seconds, median CPU seconds and the highest peaks in GiB, or a reason not to have finished."""
    for run in runs:
        if not run.finished:
            return run.outcome, "-", "-", "-"
    if not runs:
        return "-", "-", "-", "-"
    cpu = statistics.median(run.cpu for run in runs)
    peak, above = max(run.peak for run in runs), max(run.above for run in runs)
    return spread([run.seconds for run in runs]), f"{cpu:.2f}", f"{peak:.2f}", f"{above:.2f}"


def ratio(ours: list[Run], theirs: list[Run], stopped: float) -> str:
    """Return the median of how many times as long the second took, pair by pair, or a bound where it was stopped."""
    values = times_as_fast(ours, theirs, stopped)
    if not theirs and values:
        return f"more than {values[0]:.0f}"
    return spread(values, 1) if values else "-"


def times_as_fast(ours: list[Run], theirs: list[Run], stopped: float = np.nan) -> list[float]:
    """Return how many times as long the second took, pair by pair, or the bound alone where it was stopped."""
    if not theirs and np.isfinite(stopped) and all(run.finished for run in ours):
        return [stopped / statistics.median(run.seconds for run in ours)]
    pairs = zip(ours, theirs, strict=False)
    return [b.seconds / a.seconds for a, b in pairs if a.finished and b.finished]


def record(
    benchmark: str,
    workload: str,
    rows: int,
    ours: list[Run],
    theirs: list[Run],
    peer: str = "",
    why: str = "",
    stopped: float = np.nan,
) -> None:
    """Add a comparison as a line of JSON to the file that BENCHMARK_RECORD names, where it names one.

    ``why`` says why there is no peer, where there is none.
    """
    if "BENCHMARK_RECORD" not in os.environ:
        return
    line = {
        **{"benchmark": benchmark, "workload": workload, "rows": rows},
        **({"peer": peer} if theirs else {"why": why}),
        **{"study": _cost(ours), "other": _cost(theirs)},
        "ratios": [_short(value) for value in times_as_fast(ours, theirs, stopped)],
    }
    with Path(os.environ["BENCHMARK_RECORD"]).open("a", encoding="utf-8") as file:
        print(json.dumps(line), file=file)


def _cost(runs: list[Run]) -> dict[str, Any]:
    """Return the median seconds and the highest peak in GiB, or why a run did not finish."""
    failed = [run.outcome for run in runs if not run.finished]
    if failed or not runs:
        return {"outcome": failed[0] if failed else "not run", "seconds": None, "peak": None}
    seconds, peak = statistics.median(run.seconds for run in runs), max(run.peak for run in runs)
    return {"outcome": "finished", "seconds": _short(seconds), "peak": _short(peak)}


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def machine() -> str:
    """Return the processors, the memory, the system and how busy it is."""
    known = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    models = [line.split(":", 1)[1].strip() for line in known if line.startswith("model name")]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIBIBYTE
    return (
        f"{os.cpu_count()} processors ({models[0] if models else platform.machine()}), {total:.0f} GiB of memory, "
        f"{platform.platform()}, load {os.getloadavg()[0]:.1f} at the start"
    )


@cache
def versions(python: str) -> dict[str, str]:
    """Return the versions of an interpreter and of all packages that it has."""
    code = (
        "import importlib.metadata as m, json, platform\n"
        "found = {d.name.lower().replace('_', '-'): d.version for d in m.distributions()}\n"
        "print(json.dumps({'Python': platform.python_version()} | found))"
    )
    found: dict[str, str] = json.loads(
        subprocess.run([python, "-c", code], check=True, capture_output=True).stdout
    )
    return found


def named_versions(python: str, packages: Iterable[str]) -> str:
    """Return the versions of an interpreter and of those of the packages that it has, as text."""
    found = versions(python)
    names = ("Python", *packages, "pandas", "numpy", "scipy")
    return ", ".join(f"{name} {found[name]}" for name in names if name in found)


def missing(python: str, packages: Iterable[str]) -> list[str]:
    """Return those of the packages that an interpreter lacks."""
    return [name for name in packages if name not in versions(python)]


def spread(values: list[float], digits: int = 2) -> str:
    """Return the median with the smallest and the largest value."""
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print(
        "|", " | ".join(str(cell).replace("|", r"\|").replace("nan", "-") for cell in cells), "|", flush=True
    )


def heading(title: str, *columns: str) -> None:
    """Print the head of a Markdown table."""
    print(f"\n{title}\n")
    row(*columns)
    row(*("---" for _ in columns))
