"""How pytest orders the tests, which random inputs they have, and what it says at its end of the searches by them."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import searching
from hypothesis import settings

# Before numpy is loaded: two processes that share cores, each with threads of its own, wait for one another, and small
# matrices are no faster on two threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Every process and every program that tests start would compile the same modules anew, here as under `make test`. Those
# that try mutants keep none, as a file can be two of them in a second.
if os.environ.get("PYTHONDONTWRITEBYTECODE") != "mutants":
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False

# A shell that starts the tests in the background has them ignore interruptions, which some tests wait for.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Random inputs are the same in every run; `make test-slow` draws many.
settings.register_profile("study", derandomize=True)
settings.load_profile("study")

# Files whose tests take longest, which start first so that no process waits for one at the end.
LONGEST = (
    "test_replication",
    "test_originals",
    "test_assemble",
    "test_coverage",
    "test_kernels",
    "test_randomization",
    "test_wheel",
    "test_diagnose",
    "test_exhibits_robustness",
    "test_exhibits_data",
    "test_readme",
    "test_notebooks",
    "test_cli",
    "test_report",
    "test_pages_of_the_paper",
)


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Put the longest files first; all else stays in its order."""
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collectstart() -> None:
    """Look for no garbage among objects that stay."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Spare the collector of garbage what was collected here, millions of objects, and look seldom."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="module")
def fonts_that_take_no_time() -> Iterator[None]:
    """Spare a file that is not about the fonts in a figure their subsets, which take a third of drawing it."""
    from study.figures import drawing

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(drawing.STYLE, "pdf.fonttype", 3)
        yield


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many inputs the full searches tried, and what became of them."""
    if searching.FULL and searching.TRIED:
        terminalreporter.section("inputs that were tried")
        terminalreporter.write_line("\n".join(searching.report()))
