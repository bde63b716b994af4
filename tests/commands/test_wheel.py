"""The wheel in a fresh environment that does not see the checkout: commands work in an empty folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from contextlib import chdir
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

import pandas as pd
import pytest
from plans import PLAN, ROOT

ADDRESS = "main/papers/proportional/headline/estimate"
PRINTED = pd.read_csv(ROOT / "paper" / "numbers.csv", dtype=str).set_index("address")["value"][ADDRESS]
# Everything that `study run` does with the plan that ships before it estimates; then commands one after another, each
# in its folder, in one process that loads its libraries once. Prints what became of each.
CALLS = """
import io, json, os, sys
from contextlib import redirect_stderr, redirect_stdout
from study.commands.cli import main
from study.commands.options import folder_of_paper, plan_of
from study.figures import drawing
from study.paper import read_plan, run, tournament
import study
drawing.STYLE["pdf.fonttype"] = 3  # fonts, whose subsets take a third of drawing a figure, are not in the wheel
path = plan_of()
plan = read_plan(path)
panel = run.load(plan)
tournament.read_record(plan, panel)
ships = [study.__file__, str(folder_of_paper(path)), panel.checksum, len(run.cited(plan, path.parent))]
ended = []
for folder, arguments in json.loads(sys.argv[1]):
    os.chdir(folder)
    sys.argv = ["study", *arguments.split()]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors:
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code or 0
    ended.append([code, out.getvalue(), errors.getvalue()])
print(json.dumps([ships, ended]))
"""
IN_EMPTY = ("table main/papers --designs callaway_santanna --format md", "diagnose main/paper")
TOLD = "--plan study.toml --jobs 1"
IN_OWN = (
    f"run {TOLD}",
    f"check {TOLD}",
    f"run {TOLD} --output out",
    f"diagnose sim1 {TOLD} --design twfe",
)
TEXTS = ("main.tex", "appendix.tex", "preamble.tex")


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Give the programs of an environment with the wheel, and with the packages of this one but not the checkout."""
    hatchling = pytest.importorskip("hatchling.build", reason="hatchling, which builds the wheel, is missing")
    pytest.importorskip("pip", reason="pip, which installs the wheel, is missing")
    folder = tmp_path_factory.mktemp("wheel")
    with chdir(ROOT):
        wheel = folder / hatchling.build_wheel(str(folder))
    venv.create(folder / "venv")
    programs = folder / "venv" / "bin"
    (site,) = folder.glob("venv/lib/python*/site-packages")
    # A path that a .pth file adds is not searched for .pth files, such as that of the editable checkout.
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [sys.executable, "-m", "pip", "--python", programs / "python", "install", "--quiet"]
    offline = ["--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check", "--ignore-installed"]
    subprocess.run([*pip, *offline, wheel], check=True, capture_output=True)
    return programs


@pytest.fixture(scope="module")
def program(installed, tmp_path_factory):
    """Call a program of the environment in a folder of the user's."""
    cache = tmp_path_factory.mktemp("cache")

    def called(name: str, *arguments: str, cwd: Path) -> str:
        unseen = ("PYTHONPATH", "COVERAGE_PROCESS_START")
        environment = {name: value for name, value in os.environ.items() if name not in unseen}
        done = subprocess.run(
            [installed / name, *arguments],
            cwd=cwd,
            env=environment | {"STUDY_CACHE": str(cache), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return printed(done)

    return called


def printed(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Calls(NamedTuple):
    """What is said of the plan that ships, and what became of commands in an empty folder and in a plan's."""

    plan: list[str | int]
    empty: Path
    there: list[CompletedProcess[str]]
    own: Path
    beside: list[CompletedProcess[str]]


@pytest.fixture(scope="module")
def calls(program, tmp_path_factory) -> Calls:
    empty, own = (tmp_path_factory.mktemp(name) for name in ("empty", "own"))
    (own / "study.toml").write_text(PLAN)
    for name in TEXTS:
        (own / name).write_text("\\begin{document}A text.\\end{document}\n")
    typed = [*((str(empty), each) for each in IN_EMPTY), *((str(own), each) for each in IN_OWN)]
    plan, ended = json.loads(program("python", "-c", CALLS, json.dumps(typed), cwd=empty))
    done = [CompletedProcess(one, *what) for one, what in zip(typed, ended, strict=True)]
    return Calls(plan, empty, done[: len(IN_EMPTY)], own, done[len(IN_EMPTY) :])


def test_the_plan_that_ships_is_read_with_all_that_it_names(calls, installed):
    file, folder, checksum, cited = calls.plan
    assert Path(file).is_relative_to(installed.parent)
    assert (folder, checksum) == ("paper", "652364169568b214")
    assert cited > 100


def test_a_question_of_the_plan_that_ships_is_traced_by_the_program(program, tmp_path):
    traced = program("study", "trace", ADDRESS, cwd=tmp_path)
    assert f"printed as {PRINTED}" in traced
    assert "--plan" not in traced, "nothing inside the environment is named"
    assert not (tmp_path / "paper").exists()


def test_questions_of_the_plan_that_ships_are_answered(calls):
    table, refused = calls.there
    assert f"| {PRINTED} |" in printed(table)
    assert 'there is no outcome "paper"' in refused.stderr
    assert not (calls.empty / "paper").exists()


def test_a_plan_is_run_checked_and_diagnosed(calls):
    own = calls.own
    ran, checked, _, diagnosed = map(printed, calls.beside)
    assert "report.html" in ran
    assert "agree with the fresh run" in checked
    assert (own / "build" / "report.html").is_file()
    assert (own / "tables" / "sample.tex").is_file()
    made = {"report.html", "numbers.csv", *TEXTS, "tables", "figures"}
    assert made <= {path.name for path in (own / "out").iterdir()}, "the text goes with the paper"
    assert "Verdict" in diagnosed
