"""The paper's PDFs, compiled by the TeX that is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from study.core import OutputError, settle

PACKAGES = "texlive-latex-recommended texlive-latex-extra texlive-science texlive-fonts-recommended lmodern"

# The documents of a paper, of which the second need not be there, or may be a part that the first takes in.
DOCUMENTS = ("main", "appendix")
LATEX = ("pdflatex", "-interaction=nonstopmode", "-halt-on-error")
NEEDED = {
    "main.tex": "it is the paper's text, which is yours to write beside the plan; it takes in the files that `study "
    "run` writes there (see paper/main.tex)",
    "numbers.tex": "write the generated files with `study run`",
}
# What the runs begin with until references are those of a text with its bibliography: columns of numbers are centred,
# as setting them is most of the work, then as wide as they will be; and later ones, for tables that go over pages.
CENTRED = (
    rb"\ifdefined\sisetup\expandafter\DeclareDocumentCommand\csname NC@rewrite@S\endcsname"
    rb"{O{}}{\csname NC@find\endcsname c}\fi "
)
NOT_ALIGNED = rb"\ifdefined\sisetup\sisetup{parse-numbers=false}\fi "
RUNS = (CENTRED, CENTRED, NOT_ALIGNED, b"", b"", b"")
BEGIN = rb"\begin{document}"


def compile_paper(folder: Path) -> list[Path]:
    """Compile ``main.tex`` of a folder, and ``appendix.tex`` where there is one, into PDFs beside them.

    Each can refer to the other's tables, figures and sections by the package xr-hyper.

    Raises
    ------
    OutputError
        If no TeX is installed, the text or a generated file is missing, or the compilation fails; it names the
        document and the first error of its log.
    """
    if shutil.which("pdflatex") is None or shutil.which("bibtex") is None:
        raise OutputError(
            "paper: no pdflatex or bibtex is installed; on Debian or Ubuntu install them with: "
            f"apt-get install {PACKAGES}."
        )
    settle(folder)
    for name, what in NEEDED.items():
        if not (folder / name).is_file():
            raise OutputError(f"paper: {folder / name} is missing; {what}.")
    documents = [name for name in DOCUMENTS if name == "main" or _is_document(folder / f"{name}.tex")]
    with tempfile.TemporaryDirectory() as build:
        copy = Path(build) / "paper"
        # What an editor's own run left there could be of an older text.
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*.aux", "*.bbl", "*.out"))
        for run, setting in enumerate(RUNS):
            for name in documents:
                text = (folder / f"{name}.tex").read_bytes()
                (copy / f"{name}.tex").write_bytes(text.replace(BEGIN, BEGIN + setting, 1))
            draft = ["-draftmode"] if setting else []
            logs = [_done(copy, *LATEX, *draft, f"{name}.tex") for name in documents]
            for name in documents:
                if run == 0 and r"\citation{" in (copy / f"{name}.aux").read_text(errors="replace"):
                    _done(copy, "bibtex", name)
            if not setting and not any("Rerun " in each for each in logs):
                break
        for name in (f"{name}.{kind}" for name in documents for kind in ("log", "pdf")):
            shutil.copyfile(copy / name, folder / name)
    return [folder / f"{name}.pdf" for name in documents]


def _is_document(path: Path) -> bool:
    return path.is_file() and BEGIN in path.read_bytes()


def _done(folder: Path, *command: str) -> str:
    """Return what a command of TeX says in a folder, the document last in it."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        lines = done.stdout.splitlines()
        at = next((k for k, line in enumerate(lines) if line.startswith("!")), -3)
        raise OutputError(f"paper: {command[0]} {command[-1]} failed: {' '.join(lines[at:][:3])}")
    return done.stdout
