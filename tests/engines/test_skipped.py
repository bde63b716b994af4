"""Where Spark cannot start, its tests are skipped with a word; this runs without Spark."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from missing import missing


@pytest.mark.parametrize("home", [None, "no-java"])
def test_missing_java_is_told(home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if home is None:
        monkeypatch.delenv("JAVA_HOME", raising=False)
    else:
        monkeypatch.setenv("JAVA_HOME", str(tmp_path / home))
    assert "Java, which is not installed" in missing()


def test_missing_pyspark_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    java = tmp_path / "bin" / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr("missing.find_spec", lambda name: None)
    assert "pyspark, which is not installed" in missing()


def test_without_java_every_test_of_spark_is_skipped_and_says_why(tmp_path: Path) -> None:
    without = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    command = [sys.executable, "-m", "pytest", "-n", "0", "-m", "engines", str(Path(__file__).parent)]
    run = subprocess.run(
        command,
        env=without | {"PATH": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
    assert "Spark needs Java, which is not installed" in run.stdout
    assert "passed" not in run.stdout
