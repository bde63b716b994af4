"""The committed paper is what the committed panel gives: `study check` on the real plan."""

from __future__ import annotations

import subprocess
import sys

from plans import ROOT


def test_a_fresh_run_agrees_with_the_recorded_estimates_cell_by_cell():
    done = subprocess.run(
        [sys.executable, "-c", "from study.cli import main; main()", "check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "recorded estimates agree" in done.stdout
