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

import pytest
from plans import PLAN, ROOT

ADDRESS = "main/papers/proportional/headline/estimate"
# Calls commands one after another, in one process that loads its libraries once, and prints what became of each.
CALLS = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from study.commands.cli import main
ended = []
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["study", *arguments]
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as errors:
        try:
            main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code or 0
    ended.append([code, out.getvalue(), errors.getvalue()])
print(json.dumps(ended))
"""
# Everything that `study run` does with the plan that ships before it estimates.
PREPARED = """
from study.commands.options import folder_of_paper, plan_of
from study.paper import read_plan, run, tournament
import study
path = plan_of()
plan = read_plan(path)
panel = run.load(plan)
tournament.read_record(plan, panel)
print(study.__file__, folder_of_paper(path), panel.checksum, len(run.cited(plan, path.parent)), sep="\\n")
"""


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


@pytest.fixture
def program(installed, tmp_path):
    """Call a program of the environment in an empty folder of the user's."""

    def called(name: str, *arguments: str) -> CompletedProcess[str]:
        unseen = ("PYTHONPATH", "COVERAGE_PROCESS_START")
        environment = {name: value for name, value in os.environ.items() if name not in unseen}
        return subprocess.run(
            [installed / name, *arguments],
            cwd=tmp_path,
            env=environment | {"STUDY_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return called


@pytest.fixture
def study(program):
    """Call commands of the environment, one after another."""

    def called(*commands: str) -> list[CompletedProcess[str]]:
        typed = [command.split() for command in commands]
        ended = json.loads(printed(program("python", "-c", CALLS, json.dumps(typed))))
        return [CompletedProcess(one, *what) for one, what in zip(typed, ended, strict=True)]

    return called


def printed(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plan_that_ships_is_read_with_all_that_it_names(program, installed):
    file, folder, checksum, cited = printed(program("python", "-c", PREPARED)).splitlines()
    assert Path(file).is_relative_to(installed.parent)
    assert (folder, checksum) == ("paper", "00895229d655ea7b")
    assert int(cited) > 100


def test_a_question_of_the_plan_that_ships_is_traced_by_the_program(program, tmp_path):
    traced = printed(program("study", "trace", ADDRESS))
    assert "printed as 16.2" in traced
    assert "--plan" not in traced, "nothing inside the environment is named"
    assert not (tmp_path / "paper").exists()


def test_questions_of_the_plan_that_ships_are_answered(study, tmp_path):
    table, refused = study("table main/papers --designs callaway_santanna --format md", "diagnose main/paper")
    assert "| 0.162 |" in printed(table)
    assert 'there is no outcome "paper"' in refused.stderr
    assert not (tmp_path / "paper").exists()


def test_a_plan_is_run_checked_and_diagnosed(study, tmp_path):
    (tmp_path / "study.toml").write_text(PLAN)
    texts = ("main.tex", "appendix.tex", "preamble.tex")
    for name in texts:
        (tmp_path / name).write_text("\\begin{document}A text.\\end{document}\n")
    told = "--plan study.toml --jobs 1"
    done = study(
        f"run {told}", f"check {told}", f"run {told} --output out", f"diagnose sim1 {told} --design twfe"
    )
    ran, checked, _, diagnosed = map(printed, done)
    assert "report.html" in ran
    assert "agree with the fresh run" in checked
    assert (tmp_path / "build" / "report.html").is_file()
    assert (tmp_path / "tables" / "sample.tex").is_file()
    made = {"report.html", "numbers.csv", *texts, "tables", "figures"}
    assert made <= {path.name for path in (tmp_path / "out").iterdir()}, "the text goes with the paper"
    assert "Verdict" in diagnosed
