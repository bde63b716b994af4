"""A few faults of each kind put into commands that write; `make test-faults` puts in all, in minutes."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from plans import ROOT


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked, and disks mounted")
@pytest.mark.parametrize(
    "which", [["--sample"], pytest.param([], marks=pytest.mark.faults)], ids=["sample", "all"]
)
def test_outputs_are_whole_or_absent_after_a_fault_and_the_next_run_is_right(which):
    """In a process of its own: it forks, and so must not have any threads."""
    done = subprocess.run(
        [sys.executable, ROOT / "tests/faults.py", *which], capture_output=True, text=True, cwd=ROOT
    )
    print(done.stdout)
    counted = re.search(r"^(\d+) faults, 0 wrong$", done.stdout, re.MULTILINE)
    assert counted, done.stdout + done.stderr
    assert int(counted[1]) >= (20 if which else 300)
    assert done.returncode == 0
