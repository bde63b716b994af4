"""LaTeX that has to compile alone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FONT = "DejaVu Serif"


def _has_unicode_engine() -> bool:
    """Say whether XeLaTeX is here with the font of these tests."""
    if not all(map(shutil.which, ("xelatex", "fc-list"))):
        return False
    return bool(subprocess.run(["fc-list", FONT], capture_output=True, check=False).stdout.strip())


needs_tex = pytest.mark.skipif(
    shutil.which("pdflatex") is None, reason="no TeX is installed; see REPLICATION.md"
)
needs_unicode_engine = pytest.mark.skipif(
    not _has_unicode_engine(), reason=f"XeLaTeX is not installed with the font {FONT}"
)
PREAMBLE = rb"""\documentclass{article}
\usepackage[utf8]{inputenc}\usepackage[T1]{fontenc}\usepackage{lmodern}
\usepackage{array,booktabs,siunitx,makecell,adjustbox,tabularx,xltabular}
\begin{document}
"""
UNICODE_PREAMBLE = rb"""\documentclass{article}
\usepackage{fontspec}\setmainfont{DejaVu Serif}
\usepackage{array,booktabs,siunitx,makecell,adjustbox,tabularx,xltabular}
\begin{document}
"""
END = rb"\end{document}"


def assert_compiles_alone(folder: Path, body: bytes) -> None:
    """Compile LaTeX in a folder with the packages that tables need, and find it within its margins."""
    log = compiled("pdflatex", folder, PREAMBLE + body + END)
    assert "Overfull" not in log
    assert "Float too large" not in log


def assert_compiles_with_any_letter(folder: Path, body: bytes) -> None:
    """Compile LaTeX with a font of the system, and find every letter in it."""
    assert "Missing character" not in compiled("xelatex", folder, UNICODE_PREAMBLE + body + END)


def compiled(engine: str, folder: Path, text: bytes) -> str:
    """Return what an engine says of a document that it takes."""
    (folder / "alone.tex").write_bytes(text)
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "alone.tex"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout
