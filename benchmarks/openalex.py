"""Time and memory of counting a simulated OpenAlex snapshot by institution, year and topic, at five sizes.

    python benchmarks/openalex.py --works 20000000 --memory 2GB

The snapshot is simulated: no record in it is real. It has the publisher's layout (JSON lines compressed by gzip, in
partitions ``updated_date=YYYY-MM-DD``) and nested records with the fields that are read and about as much beside them.
Ten authors at the most; few institutions have most authors; one work in a hundred stands in two partitions. The seed is
fixed. Every size is counted in a process of its own, whose highest resident memory is read from Linux's ``/proc``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import duckdb
import numpy as np

from study.data.sources.openalex_works import aggregate

SEED = 20261124
GROUPS = 20
POINTS = (1, 2, 5, 10, 20)
REPEATED = 5
FILE_WORKS = 250_000
INSTITUTIONS = 30_000
OLD, NEW = "2024-01-01", "2024-07-01"
AGAIN = 100


def _uniform(*salt: object) -> str:
    """Return SQL of a number between 0 and 1 that depends on the seed and the salt alone."""
    return f"((hash({', '.join(map(str, (SEED, *salt)))}) % 1000003) / 1000003.0)"


def records(first: int, count: int, step: int, date: str) -> str:
    """Return the SQL of simulated records of the works first, first + step, ... as they were on a date."""
    draw = int(date.replace("-", ""))
    return f"""
    WITH drawn AS (
        SELECT
            i,
            CAST(2025 - floor(35 * power({_uniform("i", draw, 0)}, 2)) AS INTEGER) AS year,
            CAST(1 + floor(10 * power({_uniform("i", draw, 1)}, 2)) AS INTEGER) AS authors,
            CAST(floor({INSTITUTIONS} * power({_uniform("i", draw, 2)}, 3)) AS BIGINT) AS home,
            CAST(hash({SEED}, i, 3) % 4500 AS BIGINT) AS topic,
            CAST(hash({SEED}, i, {draw}, 4) % 1000000007 AS BIGINT) AS h
        FROM range({first}, {first + count}, {step}) AS numbers(i)
    ),
    teams AS (
        SELECT *, list_transform(range(authors), lambda k: {{
            'k': k,
            'named': CASE WHEN (h + k * 7) % 10 = 0 THEN 0 WHEN (h + k * 13) % 7 = 0 THEN 2 ELSE 1 END,
            'person': (h + k * 7919) % 40000000,
            'place': CASE WHEN (h + k) % 2 = 0 THEN home
                          ELSE CAST(floor({INSTITUTIONS} * power({_uniform("i", "k")}, 3)) AS BIGINT) END
        }}) AS team
        FROM drawn
    )
    SELECT
        'https://openalex.org/W' || (1000000000 + i) AS id,
        'https://doi.org/10.5555/simulated.' || i AS doi,
        'A simulated work, number ' || i || ', on topic ' || topic AS display_name,
        year AS publication_year,
        year || '-06-15' AS publication_date,
        'en' AS language,
        ['article', 'article', 'article', 'preprint', 'book-chapter', 'dataset'][1 + h % 6] AS type,
        h % 5000 = 0 AS is_retracted,
        h % 50 = 1 AS is_xpac,
        {{
            'id': 'https://openalex.org/T' || (10000 + topic),
            'display_name': 'Topic ' || topic,
            'score': 0.9,
            'subfield': {{'id': 'https://openalex.org/subfields/' || (1600 + topic % 252), 'display_name': 'Subfield'}},
            'field': {{'id': 'https://openalex.org/fields/' || (10 + topic % 26), 'display_name': 'Field'}},
            'domain': {{'id': 'https://openalex.org/domains/' || (1 + topic % 4), 'display_name': 'Domain'}}
        }} AS primary_topic,
        {{
            'is_oa': h % 2 = 0,
            'landing_page_url': 'https://doi.org/10.5555/simulated.' || i,
            'source': {{
                'id': 'https://openalex.org/S' || (h % 60000),
                'display_name': 'Simulated journal ' || (h % 60000),
                'type': 'journal'
            }},
            'version': 'publishedVersion'
        }} AS primary_location,
        list_transform(team, lambda one: {{
            'author_position': CASE WHEN one.k = 0 THEN 'first' WHEN one.k = authors - 1 THEN 'last' ELSE 'middle' END,
            'author': {{
                'id': 'https://openalex.org/A' || (5000000000 + one.person),
                'display_name': 'Simulated author ' || one.person,
                'orcid': NULL
            }},
            'institutions': list_transform(range(one.named), lambda j: {{
                'id': 'https://openalex.org/I' || (one.place + j * 11),
                'display_name': 'Simulated institution ' || (one.place + j * 11),
                'ror': 'https://ror.org/0' || lpad(CAST(one.place + j * 11 AS VARCHAR), 8, '0'),
                'country_code': chr(CAST(65 + (one.place + j * 11) % 26 AS INTEGER)) || 'X',
                'type': ['education', 'education', 'education', 'company', 'healthcare'][1 + (one.place + j * 11) % 5],
                'lineage': ['https://openalex.org/I' || (one.place + j * 11)]
            }}),
            'countries': [chr(CAST(65 + one.place % 26 AS INTEGER)) || 'X'],
            'is_corresponding': one.k = 0,
            'raw_author_name': 'Simulated author ' || one.person,
            'raw_affiliation_strings': ['Department of Simulation, Institution ' || one.place]
        }}) AS authorships,
        list_transform(range(h % 20), lambda j: 'https://openalex.org/W' || (1000000000 + (h + j * 104729) % (i + 1)))
            AS referenced_works,
        h % 200 AS cited_by_count,
        '2023-01-01' AS created_date,
        '{date}T03:00:00.000000' AS updated_date
    FROM teams
    """


def write_file(path: Path, first: int, count: int, step: int, date: str) -> int:
    """Write one file of the snapshot, and return its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_suffix(".jsonl")
    with duckdb.connect(config={"threads": 1, "memory_limit": "1GB"}) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(f"COPY ({records(first, count, step, date)}) TO '{plain}' (FORMAT json)")
    with plain.open("rb") as source, gzip.open(path, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target, 1 << 20)
    plain.unlink()
    return path.stat().st_size


def plan(folder: Path, works: int, group: int) -> list[tuple[Path, int, int, int, str]]:
    """Return what :func:`write_file` needs for each file of a group of works."""
    count = works // GROUPS
    files = []
    for number, first in enumerate(range(group * count, (group + 1) * count, FILE_WORKS)):
        size = min(FILE_WORKS, (group + 1) * count - first)
        path = folder / f"updated_date={OLD}" / f"part_{group:02d}{number:02d}.gz"
        files.append((path, first, size, 1, OLD))
    path = folder / f"updated_date={NEW}" / f"part_{group:02d}.gz"
    return [*files, (path, group * count, count, AGAIN, NEW)]


def write_snapshot(folder: Path, works: int, processes: int) -> int:
    """Write the simulated snapshot, and return its size in bytes."""
    files = [file for group in range(GROUPS) for file in plan(folder, works, group)]
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        return sum(pool.map(write_file, *zip(*files, strict=True)))


def count_groups(folder: Path, works: int, groups: int, memory: str, threads: int | None) -> dict[str, float]:
    """Count the first groups in this process, and return what it took."""
    paths = [file[0] for group in range(groups) for file in plan(folder, works, group)]
    started = time.perf_counter()
    table = aggregate(paths, memory_limit=memory, threads=threads, temp=folder)
    return {
        "works": groups * (works // GROUPS),
        "gigabytes": sum(path.stat().st_size for path in paths) / 1e9,
        "seconds": time.perf_counter() - started,
        "cpu": sum(os.times()[:2]),
        "peak": peak_memory(),
        "rows": len(table),
        "papers": int(table.loc[table["topic"] == "all", "papers"].sum()),
    }


def peak_memory() -> float:
    """Return the highest resident memory of this process in GiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 2**20


def measure(options: argparse.Namespace, folder: Path, groups: int) -> dict[str, float]:
    """Count the first groups in a new process, several times where they are few, and return the fastest run.

    The peak is that of the run that needed most.
    """
    command = [sys.executable, __file__, "--works", str(options.works), "--memory", options.memory]
    command += ["--folder", str(folder), "--groups", str(groups)]
    if options.threads is not None:
        command += ["--threads", str(options.threads)]
    runs = [
        json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(options.repeats if groups <= REPEATED else 1)
    ]
    return {**min(runs, key=lambda run: run["seconds"]), "peak": max(run["peak"] for run in runs)}


def exponent(points: list[dict[str, float]], cost: str) -> float:
    """Return b of cost = a * works ** b, by least squares of the logarithms."""
    works, costs = (np.log([point[name] for point in points]) for name in ("works", cost))
    return float(np.polyfit(works, costs, 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--works", type=int, default=20_000_000, help="works of the largest size")
    parser.add_argument("--memory", default="2GB", help="memory_limit of the count")
    parser.add_argument("--threads", type=int, help="of the count (all cores where not given)")
    parser.add_argument("--processes", type=int, default=2, help="that write the snapshot")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each of the three smallest sizes")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=POINTS, help=f"counted, in parts of {GROUPS} of the largest"
    )
    parser.add_argument("--folder", type=Path, help="where the snapshot is written, and deleted afterwards")
    parser.add_argument("--groups", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.groups is not None:
        print(
            json.dumps(
                count_groups(options.folder, options.works, options.groups, options.memory, options.threads)
            )
        )
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="openalex-simulated-") as name:
        started = time.perf_counter()
        size = write_snapshot(Path(name), options.works, options.processes)
        print(
            f"Simulated snapshot: {options.works:,} works, {size / 1e9:.2f} GB, seed {SEED}, "
            f"written in {time.perf_counter() - started:.0f} s.\n"
        )
        print("| works | GB | seconds | CPU seconds | peak memory, GiB | rows | papers |")
        print("|---:|---:|---:|---:|---:|---:|---:|", flush=True)
        points = []
        for groups in options.sizes:
            points.append(point := measure(options, Path(name), groups))
            print(
                f"| {point['works']:,} | {point['gigabytes']:.2f} | {point['seconds']:.1f} | {point['cpu']:.1f} | "
                f"{point['peak']:.2f} | {point['rows']:,} | {point['papers']:,} |",
                flush=True,
            )
        print(
            f"\nCost grows with works to the power {exponent(points, 'seconds'):.2f} (seconds), "
            f"{exponent(points, 'cpu'):.2f} (CPU seconds)."
        )


if __name__ == "__main__":
    main()
