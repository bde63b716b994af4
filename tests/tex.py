"""LaTeX that has to compile alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no TeX is installed; see the README")
PREAMBLE = rb"""\documentclass{article}
\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{lmodern}
\usepackage{array,booktabs,siunitx,threeparttable}
\begin{document}
"""


def assert_compiles_alone(folder: Path, body: bytes) -> None:
    """Compile LaTeX in a folder with the packages that tables need, and find it within its margins."""
    (folder / "alone.tex").write_bytes(PREAMBLE + body + rb"\end{document}")
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "alone.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "Float too large" not in done.stdout
