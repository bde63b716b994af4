"""Panels larger than memory through the commands: the numbers of a panel in memory, and nothing left behind."""

from __future__ import annotations

import io
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from command_line import command

COLUMNS = ("--unit", "author", "--time", "month", "--period", "month")
ASKED = (*COLUMNS, "--event", "grant", "--outcome", "papers")
TEMP = ("--temp", "scratch")
DUCKDB = ("--engine", "duckdb", *TEMP)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 60 authors over eight months as one Parquet file, and as two in a folder; some cells are missing."""
    made, draws, n = tmp_path_factory.mktemp("large"), np.random.default_rng(8), 60
    months = pd.period_range("2019-09", periods=8, freq="M").astype(str)
    start = np.repeat(np.resize([3, 5, 99], n), 8)
    table = pd.DataFrame({"author": np.repeat([f"a{i}" for i in range(n)], 8), "month": np.tile(months, n)})
    treated = np.tile(np.arange(8), n) >= start
    table["papers"] = draws.poisson(6 + 2 * treated).astype(float)
    table["cites"] = table["papers"] * draws.random(len(table))
    table["grant"] = [months[k] if k < 8 else None for k in start]
    table["on"] = treated.astype(float)
    table["size"] = np.repeat(draws.choice([1.0, 2.0], n), 8)
    table["field"] = np.repeat(np.resize(["vision", "robots", "speech", "text"], n), 8)
    table = table.drop(index=range(6, 80, 24))
    table.to_parquet(made / "all.parquet", index=False)
    for name, parts in {"data": (table[:200], table[200:]), "schemas": (table, table.astype(str))}.items():
        (made / name).mkdir()
        for number, part in enumerate(parts):
            part.to_parquet(made / name / f"{number}.parquet", index=False)
    table["papers"] = ["many", *table["papers"].astype(str)[1:]]
    table.to_parquet(made / "mixed.parquet", index=False)
    (made / "broken.parquet").write_bytes(b"PAR1 broken")
    return made


def tidy(*arguments: str, cwd: Path) -> pd.DataFrame:
    done = command(*arguments, "--format", "csv", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return pd.read_csv(io.StringIO(done.stdout))


def left(folder: Path) -> list[Path]:
    """Return what is left in the folder of scratch folders."""
    return [*(folder / "scratch").glob("*")]


@pytest.mark.parametrize(
    ("panel", "more"),
    [
        ("data", ["--design", "callaway_santanna,twfe"]),
        ("data/*.parquet", ["--design", "imputation", "--terms", "event_time", "--scale", "log1p"]),
        ("all.parquet", ["--design", "sun_abraham", "--weights", "size", "--population", "field!=text"]),
        ("data", ["--outcome", "cites", "--cluster", "field", "--anticipation", "1"]),
    ],
    ids=["folder", "pattern", "file", "two outcomes"],
)
def test_estimates_of_an_engine_are_those_of_the_table_in_memory(folder, panel, more):
    ours = tidy("estimate", "--panel", panel, *DUCKDB, *ASKED, *more, cwd=folder)
    theirs = tidy("estimate", "--panel", "all.parquet", *ASKED, *more, cwd=folder)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9)
    assert not left(folder)


def test_the_mean_of_logarithms_that_are_added_up_is_unknown(folder):
    logs = ["--panel", "data", *DUCKDB, *ASKED, "--scale", "log1p"]
    done = command("estimate", *logs, cwd=folder)
    assert "(80% power, 5% size): an unknown number (" in done.stdout
    table = tidy("table", *logs, "--designs", "twfe,imputation", cwd=folder)
    assert not table.iloc[:, 1].str.contains("Outcome mean").any()


def test_treatment_may_be_a_path_and_the_answer_a_file(folder, tmp_path):
    path = [
        *COLUMNS,
        "--outcome",
        "papers",
        "--event",
        "on",
        "--binary",
        "--label",
        "papers=Papers a month",
    ]
    where = ["--output", tmp_path / "table.tex", "--plot", tmp_path / "path.svg"]
    done = command("estimate", "--panel", "data", *DUCKDB, *path, *where, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "60 units" in (tmp_path / "table.tex").read_text()
    assert "Papers a month" in (tmp_path / "path.svg").read_text()
    named, progress = done.stderr.splitlines()
    assert named.startswith(f"Scratch folder, removed in the end: {Path('scratch', 'study-')}")
    assert "data: " in progress
    assert not left(folder)


def test_designs_are_compared_and_tabulated_and_by_default_those_that_can_answer(folder):
    ours = tidy("compare", "--panel", "data", *DUCKDB, *ASKED, cwd=folder)
    able = ["--design", ",".join(ours["design"])]
    theirs = tidy("compare", "--panel", "all.parquet", *ASKED, *able, cwd=folder)
    pd.testing.assert_frame_equal(ours, theirs, rtol=1e-9)
    assert ours["estimate"].notna().all()
    named = ["--design", "callaway_santanna,imputation"]
    ours, theirs = (
        tidy("table", "--panel", panel, *more, *ASKED, *named, "--scale", "level,proportional", cwd=folder)
        for panel, more in (("data", DUCKDB), ("all.parquet", ()))
    )
    pd.testing.assert_frame_equal(ours, theirs)
    assert not left(folder)


REFUSED = [
    # Without an engine
    ("estimate", "data", ASKED, "data: several Parquet files are read by study estimate with --engine duckdb"),
    ("estimate", "data/*.parquet", ASKED, "several Parquet files are read by study estimate with --engine duckdb"),
    ("estimate", "all.parquet", [*ASKED, "--memory-limit", "1GB"], "--memory-limit is about an engine; add --engine"),
    ("diagnose", "data", [*COLUMNS, *DUCKDB], "--engine is an option of study estimate, study compare and study table"),
    ("simulate", "data", [*ASKED, *DUCKDB], "--engine is an option of study estimate, study compare and study table"),
    # Before it reads
    ("estimate", "data", [*ASKED, "--engine", "spark"], '--engine: there is no engine "spark". Known: duckdb.'),
    ("estimate", "data", [*ASKED, *DUCKDB, "--dose", "size"], "--dose is given, which needs the rows of single units"),
    ("estimate", "data", [*ASKED, *DUCKDB, "--design", "dml_panel"], "--engine does not go with dml_panel, which"),
    ("compare", "data", [*ASKED, *DUCKDB, "--outcome", "cites"], "an engine adds outcomes up one at a time"),
    ("table", "data", [*ASKED, *DUCKDB, "--outcome", "cites"], "an engine adds outcomes up one at a time"),
    ("table", "data", [*ASKED, *DUCKDB, "--label", "paper=P"], 'no name to label "paper". Did you mean "papers"?'),
    ("table", "none", [*ASKED, *DUCKDB, "--output", "all.parquet/t.tex"], "all.parquet: cannot write here"),
    ("estimate", "none", [*ASKED, *DUCKDB, "--output", "none.parquet/../data.csv/"], "none: there is no such file"),
    ("estimate", "none", [*ASKED, *DUCKDB, "--plot", "all.parquet/t.png"], "all.parquet: cannot write here"),
    ("estimate", "data", [*ASKED, *DUCKDB, "--temp", "all.parquet/x"], "--temp all.parquet/x: cannot write here"),
    # What it reads
    ("estimate", "none", [*ASKED, *DUCKDB], "none: there is no such file or folder."),
    ("estimate", "data", [*ASKED, *DUCKDB, "--time", "monht"], 'there is no column "monht".'),
    ("estimate", "data", [*ASKED, *DUCKDB, "--period", "week"], '--period: there is no period "week"'),
    ("estimate", "data", [*ASKED, *DUCKDB, "--memory-limit", "much"], "write --memory-limit as in 4GB"),
    ("estimate", "schemas", [*ASKED, *DUCKDB], "schemas: the files have two schemas: papers is double in 0.parquet"),
    ("estimate", "mixed.parquet", [*ASKED, *DUCKDB], 'mixed.parquet: column papers holds "many" on the row of (a0,'),
    ("estimate", "broken.parquet", [*ASKED, *DUCKDB], "broken.parquet: DuckDB cannot read this"),
    ("estimate", "data", [*ASKED, *DUCKDB, "--limit", "2"], "strata, more than --limit 2: 3 event dates"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("which", "panel", "more", "said"), REFUSED, ids=[f"{w} {p} {' '.join(m[-2:])}" for w, p, m, _ in REFUSED]
)
def test_what_cannot_be_is_one_line_and_leaves_nothing(folder, which, panel, more, said):
    before = {path for path in folder.rglob("*") if path.name != "scratch"}
    done = command(which, "--panel", panel, *more, cwd=folder)
    assert done.returncode == 2
    assert not done.stdout
    assert said in done.stderr.splitlines()[-1]
    assert {path for path in folder.rglob("*") if path.name != "scratch"} == before


def test_an_engine_that_is_not_installed_is_one_line(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "ibis", None)
    done = command("estimate", "--panel", "data", *DUCKDB, *ASKED, cwd=folder)
    assert done.returncode == 2
    assert (
        'ibis-framework is not installed; install "compute-access-study[large]"'
        in done.stderr.splitlines()[-1]
    )
    assert not left(folder)


def test_a_disk_that_fills_up_is_one_line(folder):
    given = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**13, given[1]))
    try:
        done = command("estimate", "--panel", "data", *DUCKDB, *ASKED, cwd=folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, given)
    assert done.returncode == 2
    assert not done.stdout
    assert "File too large" in done.stderr.splitlines()[-1]
    assert not left(folder)


def test_an_interruption_stops_the_query_and_leaves_no_scratch_folder(tmp_path):
    duckdb.sql(
        "COPY (SELECT u AS author, 2000 + t AS year, random() AS papers, CASE WHEN u % 2 = 0 THEN 2005.0 END AS grant "
        f"FROM range(300000) a(u), range(12) b(t)) TO '{tmp_path / 'big.parquet'}'"
    )
    asked = ["--unit", "author", "--time", "year", "--outcome", "papers", "--event", "grant", *DUCKDB]
    typed = [sys.executable, "-m", "study", "estimate", "--panel", "big.parquet", *asked]
    running = subprocess.Popen(typed, cwd=tmp_path, stdout=-1, stderr=-1, text=True)
    while running.poll() is None and not any(path.is_file() for path in tmp_path.glob("scratch/**/*")):
        time.sleep(0.01)
    running.send_signal(signal.SIGINT)
    printed, said = running.communicate()
    assert running.returncode == 130, said
    assert not printed
    assert said.splitlines()[-1].startswith("study: interrupted; nothing was half-written")
    assert not left(tmp_path)
