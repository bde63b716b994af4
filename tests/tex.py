"""LaTeX that has to compile alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
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
    assert_within_margins(compiled("pdflatex", folder, PREAMBLE + body + END))


def logs_of_parts(folder: Path, parts: Mapping[str, bytes]) -> dict[str, str]:
    """Compile LaTeX as parts of one document, each on pages of its own; return what was said of each by its name."""
    head = rb"\clearpage\setcounter{table}{0}\typeout{Part %b from page \thepage.}"
    text = b"".join(head % name.encode() + b"\n" + body + b"\n" for name, body in parts.items())
    said = compiled("pdflatex", folder, PREAMBLE + text + rb"\clearpage" + END)
    return dict(zip(parts, re.split(r"^Part .* from page ", said, flags=re.MULTILINE)[1:], strict=True))


def assert_within_margins(log: str) -> None:
    """Find nothing wider or higher than a page in what was said of LaTeX."""
    assert "Overfull" not in log
    assert "Float too large" not in log


def pages_of_parts(folder: Path, logs: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the text of each part's pages."""
    done = subprocess.run(
        ["pdftotext", "-layout", "alone.pdf", "-"], cwd=folder, capture_output=True, text=True, check=True
    )
    pages, first = done.stdout.split("\f"), [int(log.partition(".")[0]) - 1 for log in logs.values()]
    ends = [*first[1:], len(pages)]
    return {name: pages[start:end] for name, start, end in zip(logs, first, ends, strict=True)}


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
