"""Run the tests with the oldest and the newest versions that pyproject.toml allows: ``make matrix``.

Makes one environment after the other in a temporary folder (1 to 1.5 GB each, removed after its tests) with uv, which
finds Python 3.11 and 3.13 on this machine, and writes versions, results and dates into ``tests/MATRIX.md``. With
names of environments (``python tests/matrix.py 3.11-oldest``) it runs these and keeps what is recorded of the others;
``--whole`` runs all tests and not those of :data:`PART`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "tests" / "MATRIX.md"
# The Python, how versions are chosen, and what else must hold, of each environment.
ENVIRONMENTS = {
    f"{python}-{name}": (python, resolution, also)
    for python in ("3.11", "3.13")
    for name, resolution, also in (
        ("oldest", "lowest-direct", ""),
        ("newest-pandas-2", "highest", "pandas<3"),
        ("newest", "highest", ""),
    )
}
EXTRAS = ("arrow", "word", "dask", "large")
# Of the extra `test`: what the part needs, so that tools do not raise the versions of what they test.
TOOLS = ("pytest", "pytest-xdist", "hypothesis", "polars")
# What touches the dependencies: numbers against references (numpy, scipy), reading (pandas, duckdb, pyarrow, calamine),
# learners (scikit-learn, lightgbm, DoubleML, EconML), linearmodels, statsmodels, work in parallel (joblib, dask),
# figures, tables, the command line (typer, rich), plans (pydantic), downloads (requests, urllib3), names (rapidfuzz).
PART = (
    "tests/parity/test_parity.py",
    "tests/panel",
    "tests/core/test_fixed_effects.py",
    "tests/core/test_parallel.py",
    "tests/core/test_settings.py",
    "tests/learners",
    "tests/designs/test_designs.py",
    "tests/designs/test_dml_irm.py",
    "tests/designs/test_heterogeneous_adoption.py",
    "tests/designs/test_panel_ols.py",
    "tests/designs/test_poisson_twfe.py",
    "tests/heterogeneity/test_causal_forest.py",
    "tests/estimates/test_inference.py",
    "tests/figures",
    "tests/commands/test_cli.py",
    "tests/data/test_fetching.py",
    "tests/data/test_hostile_servers.py",
    "tests/data/test_institutions.py",
    "tests/data/test_openalex.py",
    "tests/data/test_osg.py",
    "tests/data/test_sources.py",
    "tests/paper/test_plan.py",
)
INTRODUCTION = """\
# Versions that were run

Written by `make matrix` (tests/matrix.py). "Oldest" has the lowest version of every direct dependency that
pyproject.toml and the others allow, "newest" the highest, with pandas 3 and with pandas 2. {what}
"""


def main(arguments: list[str]) -> int:
    """Run the environments that are named, or all, and return 1 if a test failed."""
    whole = "--whole" in arguments
    names = [name for name in arguments if not name.startswith("-")] or list(ENVIRONMENTS)
    if unknown := [name for name in names if name not in ENVIRONMENTS]:
        sys.exit(f"matrix: no environment {unknown[0]}; there are {', '.join(ENVIRONMENTS)}.")
    if shutil.which("uv") is None:
        sys.exit("matrix: uv is not installed, which chooses the versions; install it (pip install uv).")
    failed = False
    for name in names:
        with tempfile.TemporaryDirectory(prefix="study-matrix-") as folder:
            section, passed = run(name, Path(folder), whole)
            record(name, section)
        failed |= not passed
    return int(failed)


def run(name: str, folder: Path, whole: bool) -> tuple[str, bool]:
    """Return what is to be recorded of one environment, and whether all of its tests passed."""
    python, resolution, also = ENVIRONMENTS[name]
    print(f"{name}: making the environment", flush=True)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = declared["optional-dependencies"]
    tools = [line for line in extras["test"] if re.split(r"[<>=;]", line)[0] in TOOLS]
    (folder / "also.in").write_text("\n".join([*tools, also]), encoding="utf-8")
    interpreter, lock = folder / "env" / "bin" / "python", folder / "lock.txt"
    chosen = [word for extra in EXTRAS for word in ("--extra", extra)]
    commands = (
        ["venv", "--python", python, folder / "env"],
        ["pip", "compile", "--python", interpreter, "--resolution", resolution, *chosen, "--only-binary", ":all:",
         "--no-header", "--no-annotate", "--output-file", lock, ROOT / "pyproject.toml", folder / "also.in"],
        ["pip", "install", "--python", interpreter, "--requirement", lock],
    )  # fmt: skip
    for command in commands:
        # A cache would be as large again.
        made = subprocess.run(
            ["uv", *map(str, command), "--quiet", "--no-cache"], cwd=folder, capture_output=True, text=True
        )
        if made.returncode:
            return f"{date.today()}: no environment: {' '.join(made.stderr.split())[:500]}\n", False
    print(f"{name}: tests", flush=True)
    tests = subprocess.run(
        [interpreter, "-m", "pytest", "--numprocesses", "0", "--continue-on-collection-errors",
         "--basetemp", folder / "tests", *(() if whole else PART)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    log = ROOT / "build" / "matrix" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(tests.stdout + tests.stderr, encoding="utf-8")
    lines = tests.stdout.splitlines()
    broken = sorted({line.split(" - ")[0] for line in lines if line.startswith(("FAILED ", "ERROR "))})
    result = next((line for line in reversed(lines) if " passed" in line or " error" in line), "no result")
    versions = dict(line.split("==") for line in lock.read_text(encoding="utf-8").splitlines())
    direct = [*declared["dependencies"], *(line for extra in EXTRAS for line in extras[extra])]
    names = sorted({re.split(r"[<>=;\[]", line)[0] for line in direct})
    release = subprocess.run([interpreter, "-V"], capture_output=True, text=True).stdout.split()[-1]
    print(f"{name}: {result}; {log.relative_to(ROOT)}", flush=True)
    listed = "".join(f"- {line}\n" for line in broken)
    what = "all tests" if whole else "the part"
    said = f"{date.today()}, Python {release}, {what}: {re.sub(r' in [0-9.]+s.*', '', result.strip('= '))}.\n"
    packages = ", ".join(f"{name} {versions[name]}" for name in names)
    return f"{said}\n{packages}\n{listed and chr(10) + listed}", tests.returncode == 0


def record(name: str, section: str) -> None:
    """Put the section of an environment in its place in the record."""
    text = RECORD.read_text(encoding="utf-8") if RECORD.is_file() else ""
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    sections[name] = f"\n{section}"
    what = "The part of the tests that touches the dependencies is\n" + ", ".join(
        f"`{path}`" for path in PART
    )
    ordered = "".join(
        f"\n## {each}\n{sections[each].rstrip()}\n" for each in ENVIRONMENTS if each in sections
    )
    RECORD.write_text(INTRODUCTION.format(what=f"{what}.") + ordered, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
