"""The paper's PDF, compiled by the TeX that is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from study.core import OutputError

PACKAGES = "texlive-latex-recommended texlive-latex-extra texlive-science texlive-fonts-recommended lmodern"


def compile_paper(folder: Path) -> Path:
    """Compile ``main.tex`` of a folder into ``main.pdf`` beside it.

    Raises
    ------
    OutputError
        If no TeX is installed, the text or a generated file is missing, or the compilation fails; it names the
        first error of the log.
    """
    if shutil.which("pdflatex") is None or shutil.which("bibtex") is None:
        raise OutputError(
            "paper: no pdflatex or bibtex is installed; on Debian or Ubuntu install them with: "
            f"apt-get install {PACKAGES}."
        )
    text, numbers = folder / "main.tex", folder / "numbers.tex"
    if not text.is_file():
        raise OutputError(
            f"paper: {text} is missing; it is the paper's text, which is yours to write beside the plan; it takes in "
            "the files that `study run` writes there (see paper/main.tex)."
        )
    if not numbers.is_file():
        raise OutputError(f"paper: {numbers} is missing; write the generated files with `study run`.")
    with tempfile.TemporaryDirectory() as build:
        work = Path(build) / "paper"
        shutil.copytree(folder, work)
        for command in (_latex(), ["bibtex", "main"], _latex(), _latex()):
            finished = subprocess.run(
                command, cwd=work, capture_output=True, text=True, errors="replace", check=False
            )
            if finished.returncode:
                raise OutputError(f"paper: {command[0]} failed: {_first_error(finished.stdout)}")
        shutil.copyfile(work / "main.pdf", folder / "main.pdf")
        shutil.copyfile(work / "main.log", folder / "main.log")
    return folder / "main.pdf"


def _latex() -> list[str]:
    return ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]


def _first_error(log: str) -> str:
    lines = log.splitlines()
    at = next((k for k, line in enumerate(lines) if line.startswith("!")), None)
    return " ".join(lines[-3:] if at is None else lines[at : at + 3])
