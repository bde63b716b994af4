"""The wheel in a fresh environment that does not see the checkout: commands work in an empty folder."""

from __future__ import annotations

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
# Everything that `study run` does with the plan that ships before it estimates.
PREPARED = """
from study.commands.options import folder_of_paper, plan_of
from study.paper import read_plan, run
import study
path = plan_of()
plan = read_plan(path)
panel = run.load(plan)
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
def study(installed, tmp_path):
    """Call a program of the environment in an empty folder of the user's."""

    def called(*arguments: object, program: str = "study") -> CompletedProcess[str]:
        unseen = ("PYTHONPATH", "COVERAGE_PROCESS_START")
        environment = {name: value for name, value in os.environ.items() if name not in unseen}
        return subprocess.run(
            [installed / program, *map(str, arguments)],
            cwd=tmp_path,
            env=environment | {"STUDY_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )

    return called


def printed(done: CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_plan_that_ships_is_read_with_all_that_it_names(study, installed):
    file, folder, checksum, cited = printed(study("-c", PREPARED, program="python")).splitlines()
    assert Path(file).is_relative_to(installed.parent)
    assert (folder, checksum) == ("paper", "c07b1147d27cad01")
    assert int(cited) > 100


def test_questions_of_the_plan_that_ships_are_answered(study, tmp_path):
    assert "printed as 18.7" in printed(study("trace", ADDRESS))
    table = printed(study("table", "main/papers", "--designs", "callaway_santanna", "--format", "md"))
    assert "| 0.187 |" in table
    assert "--plan" not in printed(study("trace", ADDRESS)), "nothing inside the environment is named"
    refused = study("diagnose", "main/paper")
    assert 'there is no outcome "paper"' in refused.stderr
    assert not (tmp_path / "paper").exists()


def test_a_plan_is_run_checked_traced_and_diagnosed(study, tmp_path):
    (tmp_path / "study.toml").write_text(PLAN)
    assert "report.html" in printed(study("run", "--plan", "study.toml", "--jobs", "1"))
    assert "agree with the fresh run" in printed(study("check", "--plan", "study.toml", "--jobs", "1"))
    assert (tmp_path / "build" / "report.html").is_file()
    assert (tmp_path / "tables" / "sample.tex").is_file()
    (tmp_path / "main.tex").write_text("\\begin{document}A text.\\end{document}\n")
    printed(study("run", "--plan", "study.toml", "--jobs", "1", "--output", "out"))
    made = {"report.html", "numbers.csv", "main.tex", "tables", "figures"}
    assert made <= {path.name for path in (tmp_path / "out").iterdir()}, "the text goes with the paper"
    diagnosed = study("diagnose", "sim1", "--plan", "study.toml", "--jobs", "1")
    assert "Verdict" in printed(diagnosed)
