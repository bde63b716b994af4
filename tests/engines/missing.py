"""What the tests of engines need beside the test extra, in words."""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from pathlib import Path


def missing() -> str:
    """Return what Spark needs and is not installed, and what to do; empty where all is there."""
    home = os.environ.get("JAVA_HOME")
    if not shutil.which("java", path=str(Path(home) / "bin") if home else None):
        return "Spark needs Java, which is not installed: apt-get install default-jre-headless"
    if find_spec("pyspark") is None:
        return "Spark needs pyspark, which is not installed: make test-engines installs it"
    return ""
