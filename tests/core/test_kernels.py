"""What is recorded is the same under every kernel of linear algebra and of arrays that the processor can run."""

from __future__ import annotations

import re
import subprocess
import sys
import zlib

import kernel_parts
import kernels
import pytest

PARTS = kernels.ROOT / "tests/kernel_parts.py"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folders and reports of what draws or iterates, made under each choice of kernels at the same time.

    This process, which has loaded its libraries, makes its own.
    """
    folder, found = tmp_path_factory.mktemp("kernels"), kernels.environments()
    started = {
        name: subprocess.Popen(
            [sys.executable, "-W", "ignore", str(PARTS), str(folder / name)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, environment in found.items()
        if name != "own"
    }
    own = kernel_parts.main(folder / "own")
    ended = {name: process.communicate() for name, process in started.items()}
    assert {name: err for name, (_, err) in ended.items() if started[name].returncode} == {}
    reports = {"own": own} | {name: report.strip() for name, (report, _) in ended.items()}
    return {name: (folder / name, report) for name, report in reports.items()}


def test_kernels_that_are_shown_to_differ_record_the_same_bytes(made):
    reports = [report for _, report in made.values()]
    if len(made) == 1:
        pytest.skip(f"this processor, or its libraries, has no other kernels to choose: {reports[0]}")
    assert len(set(reports)) == len(reports)
    own = made["own"][0]
    assert len(list(own.rglob("*.*"))) > 10
    apart = {name: kernels.differing(own, folder) for name, (folder, _) in made.items()}
    assert not any(apart.values()), apart


def test_a_figure_that_differs_in_a_coordinate_is_not_the_same_and_one_compressed_otherwise_is(
    tmp_path, made
):
    path = next((made["own"][0] / "figures").glob("*.pdf"))
    stream = next(s for s in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", path.read_bytes(), re.DOTALL))
    for name, replaced in (("one", stream), ("stored", zlib.compress(zlib.decompress(stream), 1)),
                           ("moved", zlib.compress(zlib.decompress(stream).replace(b"1", b"2", 1)))):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / path.name).write_bytes(path.read_bytes().replace(stream, replaced))
    assert kernels.differing(tmp_path / "one", tmp_path / "stored") == []
    assert kernels.differing(tmp_path / "one", tmp_path / "moved") == [path.name]
