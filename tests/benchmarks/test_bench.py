"""Comparisons with other packages are recorded as they were measured, and a ratio that fell is reported."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import bench
import designs
import measuring
import numpy as np
import pytest
from measuring import Run

ABSENT = "no-such-package"


def runs(*seconds: float, peak: float = 0.5) -> list[Run]:
    return [Run("finished", each, each, peak) for each in seconds]


def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **given) -> dict:
    """Return the one line that a record of these runs adds to a file."""
    file = tmp_path / "record"
    file.unlink(missing_ok=True)
    monkeypatch.setenv("BENCHMARK_RECORD", str(file))
    usual = {"benchmark": "designs", "workload": "twfe", "rows": 1000, "peer": "pyfixest, feols()"}
    measuring.record(**usual | given)
    (line,) = file.read_text(encoding="utf-8").splitlines()
    return json.loads(line, parse_constant=pytest.fail)


def test_ratios_are_of_pairs_and_not_of_medians():
    assert measuring.times_as_fast(runs(1, 2, 4), runs(10, 10, 10)) == [10, 5, 2.5]


def test_a_pair_of_which_one_did_not_finish_has_no_ratio():
    stopped = Run("not finished in 60 s")
    assert measuring.times_as_fast([*runs(1), stopped, *runs(2)], [*runs(3), *runs(3), stopped]) == [3]


def test_a_peer_that_was_stopped_gives_a_bound_by_the_median():
    assert measuring.times_as_fast(runs(1, 2, 9), [], 60) == [30]
    assert measuring.times_as_fast([Run("out of memory")], [], 60) == []
    assert measuring.ratio(runs(1, 2, 9), [], 60) == "more than 30"


def test_a_record_has_medians_highest_peaks_and_the_median_ratio(tmp_path, monkeypatch):
    ours = [*runs(3, 1, peak=0.25), *runs(2, peak=2)]
    line = recorded(tmp_path, monkeypatch, ours=ours, theirs=runs(6, 10, 8))
    assert line["study"] == {"outcome": "finished", "seconds": 2, "peak": 2}
    assert line["other"] == {"outcome": "finished", "seconds": 8, "peak": 0.5}
    assert line["ratios"] == [2, 10, 4]
    assert bench.ratio(line) == 4


def test_a_record_says_why_there_is_no_ratio(tmp_path, monkeypatch):
    line = recorded(tmp_path, monkeypatch, ours=runs(1), theirs=[], why=f"not installed: {ABSENT}")
    assert (bench.ratio(line), bench.peer(line)) == (None, f"not installed: {ABSENT}")
    line = recorded(tmp_path, monkeypatch, ours=runs(1), theirs=[Run("out of memory")])
    assert (bench.ratio(line), bench.reason(line)) == (None, "out of memory")


def test_nothing_is_recorded_unless_asked(monkeypatch):
    monkeypatch.delenv("BENCHMARK_RECORD", raising=False)
    measuring.record("designs", "twfe", 1, runs(1), runs(2))


def test_no_process_starts_for_a_package_that_is_not_installed(tmp_path):
    def run(*needs: str) -> Run:
        command = [sys.executable, "-c", f"open({str(tmp_path / 'started')!r}, 'w')"]
        return measuring.run(command, 60, None, None, needs)

    assert run("numpy", ABSENT) == Run(f"not installed: {ABSENT}")
    assert not (tmp_path / "started").exists()
    run("numpy")
    assert (tmp_path / "started").exists()


def test_what_is_not_installed_is_said_before_anything_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(measuring, "missing", lambda python, packages: ["linearmodels"])
    given = {"peers": True, "small": False, "shuffle": False, "threads": None, "units": 1, "periods": 1}
    designs.describe(argparse.Namespace(**given, limit=1, memory=1, peer_python=sys.executable))
    (said,) = (line for line in capsys.readouterr().out.splitlines() if "not installed" in line)
    assert said.startswith("linearmodels is not installed there")
    assert said.endswith("twfe; event_study.")


def line(ratio: float | None, **given) -> dict:
    """Return a comparison as it is on record."""
    side = {"outcome": "finished", "seconds": 1.0, "peak": 0.5}
    usual = {"benchmark": "designs", "workload": "twfe", "rows": 1000, "peer": "pyfixest, feols()"}
    usual |= {"study": side, "other": side if ratio else side | {"outcome": "out of memory", "seconds": None}}
    return usual | {"ratios": [ratio] if ratio else []} | given


def test_a_ratio_that_fell_by_more_than_a_third_is_reported_and_a_rise_is_not():
    before = [line(9.0), line(9.0, workload="etwfe"), line(9.0, workload="lp_did")]
    now = [line(5.9), line(6.1, workload="etwfe"), line(90.0, workload="lp_did")]
    assert bench.falls(before, now) == [
        "designs, twfe, 1,000 rows: 9.0 times as fast as pyfixest on record, 5.9 times as fast as pyfixest now."
    ]


def test_a_ratio_that_could_not_be_measured_is_reported():
    (failed,) = bench.falls([line(9.0)], [line(None)])
    assert failed.endswith("on record, not measured now (out of memory).")
    (other_size,) = bench.falls([line(9.0)], [line(9.0, rows=10)])
    assert other_size.endswith("on record, not measured now (not run).")


def test_what_has_no_ratio_on_record_or_only_shows_growth_is_not_compared():
    assert bench.falls([line(None), line(9.0, benchmark="scaling")], []) == []


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Put the record and what is measured into a folder of the test, and give what is measured."""
    measured: list[dict] = []
    monkeypatch.setattr(bench, "HERE", tmp_path)
    monkeypatch.setattr(bench, "SCRATCH", tmp_path / "scratch")
    monkeypatch.setattr(bench, "measure", lambda options: (measured, []))
    monkeypatch.setattr(bench.signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["bench.py"])
    return measured


@pytest.mark.parametrize(("now", "code"), [(5.0, 1), (9.0, 0), (20.0, 0)])
def test_the_check_ends_with_one_if_a_ratio_fell_and_leaves_the_record(place, tmp_path, capsys, now, code):
    place.append(line(9.0))
    assert bench.main() == 0
    kept = (tmp_path / bench.RECORD).read_bytes()
    place[:] = [line(now)]
    sys.argv.append("--check")
    capsys.readouterr()
    assert bench.main() == code
    assert ("5.0 times as fast as pyfixest now." in capsys.readouterr().out) == bool(code)
    assert (tmp_path / bench.RECORD).read_bytes() == kept
    assert bench.read(tmp_path / "scratch" / bench.RECORD) == place


def test_a_check_without_ratios_on_record_is_refused_before_it_measures(place, monkeypatch, capsys):
    monkeypatch.setattr(bench, "measure", lambda options: pytest.fail("measured"))
    sys.argv.append("--check")
    with pytest.raises(SystemExit, match="2"):
        bench.main()
    assert "results.json has no ratios to compare with; make bench writes it" in capsys.readouterr().err


def test_the_results_have_every_comparison_versions_and_a_plot_of_all_sizes(place, tmp_path):
    names = list(designs.WORKLOADS)
    for rank, name in enumerate(names):
        place.append(line(7.25, workload=name))
        for rows in 10 ** np.arange(4, 8):
            cost = {"outcome": "finished", "seconds": float(rows) * 1e-6 * (1 + rank), "peak": 1.5}
            place.append(line(7.25, benchmark="scaling", workload=name, rows=int(rows), study=cost))
    place.append(line(500.0, workload="bound", why="not finished in 60 s"))
    del place[-1]["peer"]
    assert bench.main() == 0
    text = (tmp_path / bench.RESULTS).read_text(encoding="utf-8")
    assert text.count("| 7.2 |") == len(names)
    assert "| not finished in 60 s | 1.00 | 1.00 | more than 500 |" in text
    assert "| `twfe` | 0.01 | 0.10 | 1.00 | 10.00 | 1.50 |" in text
    assert f"numpy {np.__version__}" in text
    assert f"]({bench.PLOT})" in text
    picture = (tmp_path / bench.PLOT).read_bytes()
    assert b"<svg" in picture
    assert len(picture) < 200_000
