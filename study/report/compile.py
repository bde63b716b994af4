"""The paper's PDF, compiled by the TeX that is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from study.core import OutputError

PACKAGES = "texlive-latex-recommended texlive-latex-extra texlive-science texlive-fonts-recommended lmodern"

LATEX = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
NEEDED = {
    "main.tex": "it is the paper's text, which is yours to write beside the plan; it takes in the files that `study "
    "run` writes there (see paper/main.tex)",
    "numbers.tex": "write the generated files with `study run`",
}


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
    for name, what in NEEDED.items():
        if not (folder / name).is_file():
            raise OutputError(f"paper: {folder / name} is missing; {what}.")
    with tempfile.TemporaryDirectory() as build:
        work = Path(build) / "paper"
        shutil.copytree(folder, work)
        for command in (LATEX, ["bibtex", "main"], LATEX, LATEX):
            done = subprocess.run(
                command, cwd=work, capture_output=True, text=True, errors="replace", check=False
            )
            if done.returncode:
                lines = done.stdout.splitlines()
                at = next((k for k, line in enumerate(lines) if line.startswith("!")), -3)
                raise OutputError(f"paper: {command[0]} failed: {' '.join(lines[at:][:3])}")
        for name in ("main.pdf", "main.log"):
            shutil.copyfile(work / name, folder / name)
    return folder / "main.pdf"
