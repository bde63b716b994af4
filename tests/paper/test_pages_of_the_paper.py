"""The pages of the paper and its appendix as they are printed: few, full, within their margins, whole."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plans import ROOT
from tex import needs_tex

from study.paper.page import TAKEN_IN
from study.report.compile import DOCUMENTS, compile_paper
from study.report.table import Block, Line, Number, Table, error

needs_poppler = pytest.mark.skipif(
    not all(map(shutil.which, ("pdftoppm", "pdffonts", "pdfinfo"))),
    reason="no poppler-utils is installed; see REPLICATION.md",
)
pytestmark = [needs_tex, needs_poppler]
EACH = pytest.mark.parametrize("name", DOCUMENTS)
PAGES, TABLES, FIGURES = 12, 6, 4
# Dots an inch of pages that are looked at, and dots of their margins (2.3 cm).
DOTS, MARGIN = 30, 27


def set_unscaled(source: Path, folder: Path) -> Path:
    """Compile a copy of a paper in which no table is made smaller than it is set."""
    shutil.copytree(source, folder)
    for path in (folder / f"{name}.tex" for name in DOCUMENTS):
        begin = r"\begin{document}"
        path.write_text(path.read_text().replace(begin, rf"\renewenvironment{{adjustbox}}[1]{{}}{{}}{begin}"))
    compile_paper(folder)
    return folder


def complaints(folder: Path, name: str) -> list[str]:
    """Return what TeX says of what is too wide or too high, is not there or twice, after the file that it reads."""
    log = (folder / f"{name}.log").read_text(errors="replace")
    wrong = r"overfull|float too large|undefined|multiply|rerun (?:to|latex)"
    said, file = [], name
    for match in re.finditer(rf"(?im)\(\./([\w/-]+)\.tex|^.*(?:{wrong}).*$", log):
        file = match[1] or file
        said += [] if match[1] else [f"{file}: {match[0]}"]
    return said


def taken_in(text: str, kind: str) -> list[str]:
    """Return the names of the tables or figures that a text takes in."""
    body = re.sub(r"(?<!\\)%.*", "", text).partition(r"\begin{document}")[2]
    return [found[kind] for found in TAKEN_IN.finditer(body) if found[kind]]


def unreferred(text: str) -> list[str]:
    """Return the labels of a text's tables and figures that it does not refer to, and figures that have none."""
    labels = re.findall(r"\\label\{(fig:[^}]+)\}", text) + [f"tab:{name}" for name in taken_in(text, "Table")]
    without = len(taken_in(text, "Figure")) - sum(label.startswith("fig:") for label in labels)
    return (
        sorted({*labels} - set(re.findall(r"\\ref\{([^}]*)\}", text)))
        + ["a figure without a label"] * without
    )


def page_count(folder: Path, name: str) -> int:
    said = subprocess.run(
        ["pdfinfo", folder / f"{name}.pdf"], capture_output=True, text=True, check=True
    ).stdout
    return int(re.search(r"^Pages: +(\d+)", said, re.M)[1])


def empty_pages(folder: Path, name: str) -> list[str]:
    """Return the pages but the last on which text and exhibits have less than half of the height."""
    subprocess.run(["pdftoppm", "-r", str(DOTS), "-gray", folder / f"{name}.pdf", folder / name], check=True)
    shares = [filled(np.asarray(Image.open(path))) for path in sorted(folder.glob(f"{name}-*.pgm"))]
    return [
        f"page {k} of {len(shares)}: {share:.0%}" for k, share in enumerate(shares[:-1], 1) if share < 0.5
    ]


def filled(page: np.ndarray) -> float:
    """Return how much of a page's height has text and exhibits, with white of up to half an inch between them."""
    bottom = len(page) - MARGIN + 3  # descenders; the page's number is below
    ink = np.flatnonzero((page[:bottom] < 200).any(axis=1))
    return float(np.minimum(np.diff(ink), DOTS // 2).sum() / (len(page) - 2 * MARGIN))


def fonts_apart(path: Path) -> list[str]:
    """Return the fonts of a PDF that are not in it, or are made of dots."""
    fonts = subprocess.run(
        ["pdffonts", path], capture_output=True, text=True, check=True
    ).stdout.splitlines()[2:]
    return [font for font in fonts if "Type 3" in font or not re.search(r" yes (?:yes|no) ", font)]


@pytest.fixture(scope="session")
def printed(tmp_path_factory) -> Path:
    return set_unscaled(ROOT / "paper", tmp_path_factory.mktemp("printed") / "paper")


def test_the_paper_has_few_pages_tables_and_figures(printed):
    text = (printed / "main.tex").read_text()
    assert page_count(printed, "main") <= PAGES
    assert len(taken_in(text, "Table")) <= TABLES
    assert len(taken_in(text, "Figure")) <= FIGURES


@EACH
def test_without_scaling_all_is_within_the_margins_and_nothing_is_undefined(printed, name):
    assert not (said := complaints(printed, name)), "\n".join(said)


def test_no_table_is_set_smaller_than_the_notes(printed):
    for path in [*printed.glob("*.tex"), *printed.glob("tables/*.tex")]:
        assert not re.search(r"\\(?:scriptsize|tiny|resizebox|scalebox|fontsize)\b", path.read_text()), (
            path.name
        )


@EACH
def test_each_page_but_the_last_is_filled_to_half(printed, name):
    assert not (found := empty_pages(printed, name)), "\n".join(found)


@EACH
def test_each_table_and_figure_is_referred_to(printed, name):
    text = (printed / f"{name}.tex").read_text()
    assert taken_in(text, "Table")
    assert taken_in(text, "Figure")
    assert not (lacking := unreferred(text)), "\n".join(lacking)


def test_all_fonts_of_the_paper_and_its_figures_are_embedded(printed):
    files = [*printed.glob("*.pdf"), *printed.glob("figures/*.pdf")]
    assert len(files) > 10
    assert {path.name: apart for path in files if (apart := fonts_apart(path))} == {}


@pytest.fixture(scope="session")
def poor(tmp_path_factory) -> Path:
    """Print a paper that has what a good one has not: each is found by what the tests of the paper call."""
    source = tmp_path_factory.mktemp("poor")
    (source / "tables").mkdir()
    (source / "figures").mkdir()
    lines = [Line("A label", [Number(1.5)] * 40), Line("", [error(0.5)] * 40)]
    wide = Table("wide", "A wide table", ["y"] * 40, [Block("", lines)], [])
    (source / "tables/wide.tex").write_text(wide.latex())
    shutil.copy(ROOT / "paper/figures/raw_means.pdf", source / "figures")
    shutil.copy(ROOT / "paper/preamble.tex", source)
    (source / "numbers.tex").write_text("")
    page = r"Words. \rule{1pt}{0.9\textheight} \clearpage "
    head = r"\documentclass[11pt]{article}\input{preamble}\externaldocument[][nocite]{%s}"
    text = head + r"\begin{document}%s\end{document}"
    drawn = r"\exhibit{0.2}{raw_means}{A.\label{fig:%s}}"
    bad = rf"{page} Table~\ref{{tab:none}}. \clearpage \input{{tables/wide}}{drawn % 'a'}\clearpage Last."
    good = rf"{page} Table~\ref{{tab:wide}} and Figure~\ref{{fig:b}}. {drawn % 'b'}"
    (source / "main.tex").write_text(text % ("appendix", bad))
    (source / "appendix.tex").write_text(text % ("main", good))
    return set_unscaled(source, source.parent / "printed-poor")


def test_what_a_reader_should_not_meet_would_be_found(poor):
    said = " ".join(complaints(poor, "main"))
    assert "Overfull" in said
    assert "`tab:none' on page" in said
    assert page_count(poor, "main") == 4
    assert [each.split(":")[0] for each in empty_pages(poor, "main")] == ["page 2 of 4", "page 3 of 4"]
    text = (poor / "main.tex").read_text()
    assert unreferred(text) == ["fig:a", "tab:wide"]
    assert (taken_in(text, "Table"), taken_in(text, "Figure")) == (["wide"], ["raw_means"])


def test_what_a_reader_may_meet_is_not_found(poor):
    assert complaints(poor, "appendix") == []
    assert page_count(poor, "appendix") == 2
    assert empty_pages(poor, "appendix") == []
    assert unreferred((poor / "appendix.tex").read_text()) == []
    assert fonts_apart(poor / "appendix.pdf") == []


@pytest.mark.parametrize("setting", [{"pdf.use14corefonts": True}, {"pdf.fonttype": 3}])
def test_a_font_that_is_not_embedded_or_is_of_dots_would_be_found(tmp_path, setting):
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(setting):
        figure = Figure()
        figure.text(0, 0, "Words")
        figure.savefig(tmp_path / "words.pdf")
    assert len(fonts_apart(tmp_path / "words.pdf")) == 1
