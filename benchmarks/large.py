"""Seconds, memory and disk of panels larger than memory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

SEED = 20261129
FIRST_PERIOD, PERIODS = 2000, 20
COHORTS = np.arange(2005, 2017)
NEVER_SHARE, MISSING_SHARE, STATES = 0.4, 0.03, 50
MISSING = ((0,), (19,), (0, 1, 2), (9, 10), (16, 17, 18, 19))  # periods that a unit of the pattern lacks
BATCH = 5_000_000
STEP = 618_033_989  # prime; its multiples modulo the number of rows visit every row once, far from the last one


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
        writer = None
        for begin in range(start, min(start + 10 * BATCH, total), BATCH):
            columns = rows(begin, min(begin + BATCH, total), total, shuffled)
            never = columns["first_treated"] == 0
            table = pa.table(
                {name: pa.array(x, mask=never if name == "first_treated" else None) for name, x in columns.items()}
            )
            writer = writer or pq.ParquetWriter(folder / f"part-{number:03d}.parquet", table.schema)
            writer.write_table(table, row_group_size=500_000)
            print(f"\r{begin + BATCH:,} of {total:,} rows", end="", file=sys.stderr)
        writer.close()
    print(file=sys.stderr)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "shuffled")
