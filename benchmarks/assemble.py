"""Time and peak memory of making all panels from the originals: python benchmarks/assemble.py RAW [RUNS]."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KIBIBYTE = 1024


def once(raw: Path) -> float:
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        command = [sys.executable, "-m", "study", "assemble", "--raw", str(raw), "--output", out]
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start


def main() -> None:
    raw = Path(sys.argv[1])
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    seconds = [once(raw) for _ in range(runs)]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * KIBIBYTE / 2**30
    files = sum(1 for path in (raw / "paperlists").rglob("*.json*"))
    lists = sum(1 for path in (raw / "top500").iterdir())
    print(f"study data assemble, {files} files of papers, {lists} lists, {runs} runs")
    print(f"seconds: median {statistics.median(seconds):.1f}, from {min(seconds):.1f} to {max(seconds):.1f}")
    print(f"peak memory: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
