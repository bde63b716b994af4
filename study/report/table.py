"""A table as what it says: numbers, words and notes, rendered as LaTeX, HTML, Markdown, Word, CSV or text."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import textwrap
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from rich.cells import cell_len

from study.core import OutputError, QuestionError, fixed, listed, refuse_unknown, write_all
from study.report.latex import MINUS, escape, needs_other_fonts, one_line, render, with_signs

Format = Literal["latex", "html", "md", "docx", "csv", "txt"]
PRINTED_FORMATS = ("latex", "html", "md", "csv", "txt")
# Formats by the suffix of a file.
SUFFIXES: dict[str, Format] = {".tex": "latex", ".htm": "html"}
SUFFIXES |= {f".{kind}": kind for kind in get_args(Format) if kind != "latex"}
# Letters of a line of a heading, a label and words among numbers, and of what may break: names, and the longest words.
HEADING, LABEL, AMONG, NAME, WORD = 14, 44, 28, 12, 24
# Lines of a page beside a table's rules and the space around its caption, letters of a line of notes, and letters of
# columns that surely are as narrow as a page.
PAGE_LINES, NOTE_LINE, PAGE_LETTERS = 56, 100, 80
# Where a word may break: after _ and /, and after . and - between words of two letters and more.
_BREAK = re.compile(r"(?<=[_/])(?=\w)|(?<=[^\W\d_]{2}[.-])(?=[^\W\d_]{2})")
_NAME_BREAK = re.compile(r"(?<=[_/])(?=\w)|(?<=[^\W\d_]{2}[.])(?=[^\W\d_]{2})")
_PIECE = re.compile(".{1,8}-*")  # of a part of a name; no line begins with a hyphen
# TeX hyphenates the first word of a column only after a space.
PROSE = r">{\raggedright\arraybackslash\hspace{0pt}}X"
# The environment of a table by whether it is long, and then by whether it has prose.
KINDS = (("tabular", "tabularx"), ("longtable", "xltabular"))
OTHER_FONTS = """\
% Labels of this table have letters that pdfLaTeX's usual fonts lack: it needs XeLaTeX or LuaLaTeX, and by
% the package fontspec a font that has them.
"""
UNMARKED = 4  # digits that siunitx sets without a mark
# What a file's parts are dated, so that the same tables are the same bytes.
DATE = (1980, 1, 1, 0, 0, 0)
POINTS = 9


class Number(NamedTuple):
    """A number with its decimals and stars, in parentheses if it is an uncertainty; NaN is an empty cell."""

    value: float
    digits: int = 3
    bracketed: bool = False
    stars: str = ""

    @property
    def text(self) -> str:
        """The number as it is printed, without its stars, with a hyphen for minus; never minus zero."""
        if math.isnan(self.value):
            return ""
        shown = fixed(self.value, self.digits)
        return f"({shown})" if self.bracketed else shown

    def __str__(self) -> str:
        """Return the number with its stars."""
        return self.text + self.stars


Cell = Number | str


def error(value: float, digits: int = 3) -> Number:
    """Return a standard error: a number in parentheses."""
    return Number(value, digits, bracketed=True)


class Line(NamedTuple):
    """One line of a table: its label and its cells."""

    label: str
    cells: Sequence[Cell]


class Block(NamedTuple):
    """A titled panel of a table."""

    title: str
    lines: Sequence[Line]


@dataclass(frozen=True, repr=False)
class Table:
    """A table.

    Attributes
    ----------
    name : str
        Of its file and, after "tab:", its LaTeX label.
    caption : str
    headings : sequence of str
        One a column, without that of the labels.
    blocks : sequence of Block
        Its panels; a block without a title has no title line.
    notes : sequence of str
        Sentences: estimand, sample, clusters, what parentheses mean.
    spans : sequence of tuple of str and int
        Headings over the headings, each with its number of columns; an empty one leaves them without.
    prose : collection of int
        Columns of sentences, that of the labels is 0: they share the width that the others leave. HTML and Markdown
        break lines by themselves.
    """

    name: str
    caption: str
    headings: Sequence[str]
    blocks: Sequence[Block]
    notes: Sequence[str]
    spans: Sequence[tuple[str, int]] = ()
    prose: Collection[int] = ()

    def __post_init__(self) -> None:
        """Refuse a line that has more or fewer cells than the table has columns."""
        for line in self.lines:
            if len(line.cells) != len(self.headings):
                raise ValueError(
                    f"{self.name}: {line.label!r} has {len(line.cells)} of {len(self.headings)} cells."
                )
        if self.spans and sum(columns for _, columns in self.spans) != len(self.headings):
            raise ValueError(f"{self.name}: the spans do not cover the {len(self.headings)} columns.")

    def __repr__(self) -> str:
        """Return its name, caption and size."""
        return f"<Table {self.name}: {self.caption}, {len(self.lines)} lines, {len(self.headings)} columns>"

    def _repr_html_(self) -> str:
        return self.html()

    @property
    def lines(self) -> list[Line]:
        """The lines of all panels."""
        return [line for block in self.blocks for line in block.lines]

    def worded(self, say: Callable[[str], str]) -> Table:
        """Return the table with each of its texts as a function says it."""

        def said(cell: Cell) -> Cell:
            return say(cell) if isinstance(cell, str) else cell

        blocks = [
            Block(say(title), [Line(say(label), [*map(said, cells)]) for label, cells in lines])
            for title, lines in self.blocks
        ]
        return replace(
            self,
            caption=say(self.caption),
            headings=[*map(say, self.headings)],
            blocks=blocks,
            notes=[*map(say, self.notes)],
            spans=[(say(title), columns) for title, columns in self.spans],
        )

    @property
    def _printed(self) -> Table:
        """The table with the signs of print for minus and for ranges of numbers."""
        return self.worded(with_signs)

    def latex(self) -> str:
        """Return the table as a LaTeX float, or where it is longer than a page as one that goes over several.

        A long one whose columns of numbers are wider than a page is several with some of them each. They need the
        packages array, booktabs, siunitx, makecell, adjustbox, tabularx and xltabular.
        """
        return "\n".join(part._latex(self.is_long) for part in self._across)

    def _latex(self, is_long: bool) -> str:
        text = render(
            "table.tex",
            table=self._printed,
            kind=KINDS[is_long][bool(self._prose)],
            column_spec="".join(self._columns()),
            heading=lambda text: f"{{{_folded(text, HEADING)}}}",
            spans=self._printed._rules(),
            label=_sentence if 0 in self._prose else lambda text: _folded(text, LABEL, "tl"),
            together=_together,
            cell=lambda cell, k: _latex(cell, AMONG if k + 1 not in self._prose and self._numbers(k) else 0),
            sentence=_sentence,
        ).decode()
        return (OTHER_FONTS if needs_other_fonts(text) else "") + text

    @cached_property
    def is_long(self) -> bool:
        """Whether it is higher than a page: its caption, head, lines, panels and notes."""
        taken = sum(width for k, width in enumerate(self._widths) if k not in self.prose)
        prose = dict.fromkeys(self.prose, max(HEADING, (NOTE_LINE - taken) // max(1, len(self.prose))))
        rooms = [prose.get(k, self._room(k)) for k in range(len(self.headings) + 1)]
        head = max((_height(heading, HEADING) for heading in self.headings), default=0)
        body = sum(max(map(_height, _in_row(line), rooms)) for line in self.lines)
        panels = sum(1.6 if block.title else 0.6 for block in self.blocks)
        around = 1 + _height(self.caption, PAGE_LETTERS) + _height(self.noted, PAGE_LETTERS)
        return head + body + panels + around > PAGE_LINES

    @cached_property
    def _widths(self) -> list[int]:
        """How many letters wide its columns are, that of the labels first, with two between them."""
        heads = [max(_Folding(HEADING).wrap(heading), key=len) for heading in self.headings]
        columns = [[line.label for line in self.lines], *self._texts]
        return [
            min(max(map(len, [head, *cells])), self._room(k)) + 2
            for k, (head, cells) in enumerate(zip(["", *heads], columns, strict=True))
        ]

    def _room(self, k: int) -> int:
        """How many letters a line of a column has at most, that of the labels is 0."""
        return LABEL if k == 0 else AMONG if self._numbers(k - 1) else PAGE_LETTERS

    @property
    def _texts(self) -> list[list[str]]:
        """The cells of each column as text, with numbers aligned at their decimals."""
        return [_aligned([line.cells[k] for line in self.lines]) for k in range(len(self.headings))]

    @property
    def _across(self) -> list[Table]:
        """The table, or where it is long and its columns of numbers are wider than a page several with some of them."""
        first, *widths = self._widths
        wordy = any(width > LABEL // 2 and not self._numbers(k) for k, width in enumerate(widths))
        room = PAGE_LETTERS - min(first, LABEL // 2)
        if not self.is_long or self.prose or self.spans or wordy or sum(widths) <= room:
            return [self]
        tables = []
        for part, which, number in in_parts(len(widths), room // max(widths) or 1, "columns"):
            blocks = [
                Block(title, [Line(label, cells[part]) for label, cells in lines])
                for title, lines in self.blocks
            ]
            name, caption = self.name + number, self.caption + which
            tables.append(
                replace(self, name=name, caption=caption, headings=self.headings[part], blocks=blocks)
            )
        return tables

    @cached_property
    def _prose(self) -> Collection[int]:
        """The columns of sentences; of a long table that may be wider than its page, labels and columns of words.

        Labels are as wide as they are where that leaves others room.
        """
        widths = self._widths
        if self.prose:
            others = [k for k in self.prose if k]
            taken = sum(width for k, width in enumerate(widths) if k not in others)
            fits = taken + 2 * HEADING * len(others) <= (NOTE_LINE if others else PAGE_LETTERS)
            return others if fits else self.prose
        if not self.is_long or sum(widths) <= PAGE_LETTERS:
            return ()
        wide = (k for k, width in enumerate(widths) if width > LABEL // 2 and k and not self._numbers(k - 1))
        return (0, *wide)

    def html(self, number: str = "") -> str:
        """Return the table as an HTML fragment, with the classes that the report's style knows.

        Parameters
        ----------
        number : str
            What it is called before its caption, as a link to it: "Table 4".
        """
        return render("table.html", table=self._printed, shown=_typeset, number=number).decode()

    def markdown(self) -> str:
        """Return the table as a Markdown pipe table with its caption and notes."""
        numbers = [bool(self._numbers(column)) for column in range(len(self.headings))]
        printed = self._printed
        filled = render("table.md", table=printed, shown=_starred, numbers=numbers, titles=printed._titles)
        return filled.decode()

    def csv(self) -> str:
        """Return the cells as CSV: the panel, the label and a column each, without caption and notes."""
        rows = [["panel", "", *self._titles]]
        rows += [[b.title, line.label, *map(str, line.cells)] for b in self.blocks for line in b.lines]
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows([_no_formula(cell) for cell in row] for row in rows)
        return out.getvalue()

    def text(self) -> str:
        """Return the table as plain text, with numbers aligned at their decimals."""
        columns = self._texts
        heads = [_Folding(HEADING).wrap(heading) for heading in self.headings]
        widths = [max(map(cell_len, [*cells, *head])) for cells, head in zip(columns, heads, strict=True)]
        over, at = [], 0
        for title, count in self.spans:
            widths[at] += max(0, cell_len(one_line(title)) - sum(widths[at : at + count]) - 2 * (count - 1))
            over.append((one_line(title), sum(widths[at : at + count]) + 2 * (count - 1)))
            at += count
        first = max((cell_len(one_line(line.label)) for line in self.lines), default=0)

        def row(label: str, cells: Iterable[str], widths: Iterable[int] = tuple(widths)) -> str:
            padded = [
                " " * (width - cell_len(cell)) + cell for cell, width in zip(cells, widths, strict=True)
            ]
            return "  ".join([label + " " * (first - cell_len(label)), *padded]).rstrip()

        deep = max(map(len, heads), default=0)
        top = [row("", [title for title, _ in over], [width for _, width in over])] if over else []
        top += [
            row("", line) for line in zip(*([""] * (deep - len(head)) + head for head in heads), strict=True)
        ]
        body: list[str | None] = []  # None is a rule
        cells = zip(*columns, strict=True)
        for block in self.blocks:
            body += [None, *([one_line(block.title)] if block.title else [])]
            body += [row(one_line(line.label), next(cells)) for line in block.lines]
        wide = max(map(cell_len, [*top, *filter(None, body)]), default=0)
        head, foot = (
            textwrap.wrap(one_line(text), max(wide, NOTE_LINE)) for text in (self.caption, self.noted)
        )
        lines = ["-" * wide if line is None else line for line in body]
        return "\n".join([*head, "=" * wide, *top, *lines, "=" * wide, *foot, ""])

    @property
    def rows(self) -> list[list[str]]:
        """The texts of its lines, a label and its cells; the title of a panel is a row of one text."""
        every = (([block.title] * bool(block.title), *map(_in_row, block.lines)) for block in self.blocks)
        return [row for of_block in every for row in of_block if row]

    @property
    def noted(self) -> str:
        """The notes below it, as one text."""
        return f"Notes. {' '.join(self.notes)}" if self.notes else ""

    def __str__(self) -> str:
        """Return the table as plain text."""
        return self.text()

    def formatted(self, kind: str) -> bytes:
        """Return the table in a format, HTML and LaTeX without what stands around them in a document."""
        refuse_unknown("format", kind, get_args(Format), "study table")
        if kind == "docx":
            return document([self], "docx")
        make: dict[str, Callable[[], str]] = {"latex": self.latex, "html": self.html, "md": self.markdown}
        make |= {"csv": self.csv, "txt": self.text}
        return make[kind]().encode()

    def save(self, path: str | Path, *, standalone: bool = False) -> Path:
        """Write the table to a file, in the format of its suffix.

        Parameters
        ----------
        path : str or Path
            Ends in .tex, .html, .md, .docx, .csv or .txt.
        standalone : bool
            Whether a .tex file is a document that compiles alone, and not one for ``\\input``.

        Raises
        ------
        QuestionError, OutputError
            If the suffix is another, python-docx is missing, or the file cannot be written.

        Examples
        --------
        >>> study.table([fit]).save("effects.docx")  # doctest: +SKIP
        """
        path = Path(path)
        content = document([self], format_of(path, "Table.save"), standalone=standalone)
        return write_all(path.parent, {path.name: content})[0]

    @property
    def _titles(self) -> list[str]:
        """The headings, each after what stands over it."""
        over = [title for title, columns in self.spans for _ in range(columns)] or [""] * len(self.headings)
        return [": ".join(filter(None, pair)) for pair in zip(over, self.headings, strict=True)]

    def _columns(self) -> Iterable[str]:
        yield PROSE if 0 in self._prose else "l"
        for column in range(len(self.headings)):
            numbers = self._numbers(column)
            yield PROSE if column + 1 in self._prose else _decimals(numbers) if numbers else "l"

    def _rules(self) -> list[tuple[str, int, str]]:
        """Return each span's title on its lines, its columns and the rule below it.

        Where labels lack room no title is wider than its columns.
        """
        rules, last = [], 1
        for title, columns in self.spans:
            rule = rf"\cmidrule(lr){{{last + 1}-{last + columns}}}" if title else ""
            room = sum(self._widths[last : last + columns]) if 0 in self._prose else HEADING * columns
            rules.append((_folded(title, max(HEADING, room)), columns, rule))
            last += columns
        return rules

    def _numbers(self, column: int) -> list[Number]:
        return [cell for line in self.lines if isinstance(cell := line.cells[column], Number)]


class _Folding(textwrap.TextWrapper):
    """Lines that also break inside names, and are as wide as the longest word that does not; one at least."""

    wordsep_re = re.compile(rf"(\s+)|{_BREAK.pattern}")

    def wrap(self, text: str) -> list[str]:
        text = one_line(text)
        longest = max(map(len, re.split(rf"\s+|{_BREAK.pattern}", text)))
        self.width = max(self.width, min(longest, WORD))
        return super().wrap(text) or [""]


def _folded(text: str, letters: int, place: str = "b") -> str:
    """Return text for LaTeX on lines of some letters, as far as its words and the parts of its names allow."""
    lines = [escape(line) for line in _Folding(letters).wrap(text)]
    stacked = r" \\ ".join(lines)
    return rf"\makecell[{place}]{{{stacked}}}" if len(lines) > 1 else stacked


def _height(text: str, letters: int) -> int:
    """Return on how many lines of some letters a text stands, one if it is empty."""
    return len(_Folding(letters).wrap(text))


def _sentence(text: str) -> str:
    """Return a sentence for LaTeX, where long names may break; words and hyphens TeX breaks by itself."""
    words = []
    for word in one_line(text).split(" "):
        is_name = re.search("[_/]", word)
        room, mark = (NAME, r"\allowbreak{}") if is_name else (WORD, r"\-")
        parts = _NAME_BREAK.split(word) if len(word) > NAME else [word]
        pieces = [
            mark.join(map(escape, _PIECE.findall(part) if len(part) > room else [part])) for part in parts
        ]
        words.append(r"\allowbreak{}".join(pieces))
    return " ".join(words)


def _together(lines: Sequence[Line]) -> list[bool]:
    """Say of each line of a panel whether the next stands on its page.

    An estimate's error and the rest of its label do, and at least two rows stand below a head.
    """
    goes_on = [not line.label or _is_below(line.cells) for line in lines]
    rows = list(itertools.accumulate(not on for on in goes_on))
    return [on or row < 2 for on, row in zip(goes_on[1:], rows[:-1], strict=True)] + [False]


def _is_below(cells: Sequence[Cell]) -> bool:
    """Say whether cells are the errors of those above them, or the empty ones beside the rest of a label."""
    return all(not cell if isinstance(cell, str) else cell.bracketed or not cell.text for cell in cells)


def _decimals(numbers: Sequence[Number]) -> str:
    """Return a siunitx column that is wide enough for its numbers."""
    bare = [number.text.strip("()") for number in numbers if math.isfinite(number.value)] or ["0"]
    sign = "-" if any(text.startswith("-") for text in bare) else ""
    before = max(len(text.split(".")[0].lstrip("-")) for text in bare)
    after = max(len(text.partition(".")[2]) for text in bare)
    bracketed = any(number.bracketed for number in numbers if number.text)
    behind = max((number.stars for number in numbers), key=len) or ")" * bracketed
    size = f"{sign}{before}.{after}"
    if behind:
        size = f"{{{'{(}' * bracketed}{size}{{{behind}}}}}"
    unmarked = ",group-digits=none" if max(before, after) > UNMARKED else ""
    return f"S[table-format={size}{unmarked}]"


def _latex(cell: Cell, letters: int = 0) -> str:
    """Return a cell for LaTeX, words on lines of some letters if these are given."""
    if isinstance(cell, str):
        return f"{{{_folded(cell, letters, 't') if letters else escape(cell)}}}" if cell else ""
    if math.isinf(cell.value):  # which siunitx takes for no number
        return rf"{{\ensuremath{{{cell.text.replace('inf', chr(92) + 'infty')}}}{cell.stars}}}"
    if cell.bracketed and cell.text:
        return f"{{(}}{cell.text.strip('()')}{{)}}"
    return f"{cell.text}{{{cell.stars}}}" if cell.stars else cell.text


def _typeset(cell: Cell) -> str:
    """Return a cell as a reader of HTML or Markdown sees it."""
    return cell if isinstance(cell, str) else cell.text.replace("-", MINUS)


def _starred(cell: Cell) -> str:
    """Return a cell as a reader of Markdown or Word sees it, with its stars."""
    return cell if isinstance(cell, str) else str(cell).replace("-", MINUS)


def _no_formula(text: str) -> str:
    """Return a cell that a spreadsheet does not take for a formula, which is no number either."""
    spaced = one_line(text)
    is_number = re.fullmatch(r"-?([\d.]+|inf)\**", spaced)
    return f"'{spaced}" if spaced[:1] in ("=", "+", "-", "@") and not is_number else spaced


def _aligned(column: Sequence[Cell]) -> list[str]:
    """Return the cells of a column as text, with room behind numbers for the decimals, brackets and stars of others."""
    texts = [one_line(str(cell)) for cell in column]
    numbers = [k for k, cell in enumerate(column) if isinstance(cell, Number) and cell.text]
    behind = {k: len(re.sub(r"^\(?-?\d+", "", texts[k])) for k in numbers}
    most = max(behind.values(), default=0)
    return [text + " " * (most - behind.get(k, most)) for k, text in enumerate(texts)]


def _in_row(line: Line) -> list[str]:
    return [line.label, *map(_starred, line.cells)]


def in_parts(count: int, most: int, kind: str) -> Iterator[tuple[slice, str, str]]:
    """Yield columns, so many at most, with what the caption and the name of their table say where there are several."""
    for first in range(0, count, most):
        last = min(first + most, count)
        which = f"{kind.removesuffix('s')} {last}" if last == first + 1 else f"{kind} {first + 1} to {last}"
        several = count > most
        yield slice(first, last), several * f" ({which} of {count})", several * f"-{first // most + 1}"


def format_of(path: Path, where: str) -> Format:
    """Return the format of a file by its suffix.

    Raises
    ------
    QuestionError
        If the suffix is that of no format.
    OutputError
        If it is .docx and python-docx is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        ending = f"{suffix} is no kind of table" if suffix else "the file has no suffix"
        kinds = listed((known for known in SUFFIXES if known != ".htm"), "or")
        raise QuestionError(f"{where}: {path.name}: {ending}; use {kinds}.")
    if SUFFIXES[suffix] == "docx" and find_spec("docx") is None:
        raise OutputError(
            f"{where}: {path.name}: Word files are written by python-docx, which is not installed; install "
            "it with: pip install 'compute-access-study[word]'."
        )
    return SUFFIXES[suffix]


def document(tables: Sequence[Table], kind: Format, *, standalone: bool = False) -> bytes:
    """Return tables as the contents of one file.

    Parameters
    ----------
    tables : sequence of Table
    kind : {"latex", "html", "md", "docx", "csv", "txt"}
        HTML is a whole page.
    standalone : bool
        Whether LaTeX is a document that compiles alone.
    """
    if kind == "docx":
        return word_file([table._printed for table in tables])
    parts = b"\n".join(table.formatted(kind) for table in tables).decode()
    if kind == "html":
        return render("tables.html", title=tables[0].caption, body=parts)
    if kind == "latex" and standalone:
        body = parts.replace(OTHER_FONTS, "")
        return render("tables.tex", body=body, head=OTHER_FONTS if body != parts else "")
    return parts.encode()


def word_file(tables: Sequence[Table]) -> bytes:
    """Return tables as a .docx file, each between caption and notes; the same bytes for the same tables."""
    from docx import Document

    document = Document()
    for table in tables:
        document.add_paragraph(one_line(table.caption), style="Caption")
        _add(document, table)
        _say(document.add_paragraph(), table.noted)
    written, dated = io.BytesIO(), io.BytesIO()
    document.save(written)
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(dated, "w") as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name, DATE), old.read(name), zipfile.ZIP_DEFLATED)
    return dated.getvalue()


def _add(document: Any, table: Table) -> None:
    """Add a table whose cells stand to the right, with rules above and below it and below its headings."""
    above = [table.spans] if table.spans else []
    written = [["", *table.headings], *table.rows]
    rows = document.add_table(len(above) + len(written), len(written[0])).rows
    for row, spans in zip(rows, above, strict=False):
        at, cells = 1, row.cells
        for title, columns in spans:
            _say(cells[at].merge(cells[at + columns - 1]).paragraphs[0], title, "CENTER")
            at += columns
    for row, texts in zip(rows[len(above) :], written, strict=True):
        cells = row.cells
        if len(texts) == 1:
            cells[0].merge(cells[-1])
        for k, text in enumerate(texts):
            _say(cells[k].paragraphs[0], text, "RIGHT" if k else "LEFT")
    _rule(rows[0], "top", *["bottom"] * (not above))
    _rule(rows[-1], "bottom")
    if above:
        _rule(rows[1], "bottom")


def _say(paragraph: Any, text: str, side: str = "LEFT") -> None:
    """Write a text, on one line and in small letters, into an empty paragraph."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.shared import Pt

    paragraph.add_run(one_line(text)).font.size = Pt(POINTS)
    paragraph.paragraph_format.space_after = Pt(0)
    paragraph.alignment = getattr(WD_ALIGN_PARAGRAPH, side)


def _rule(row: Any, *sides: str) -> None:
    """Draw rules along sides of a row that has none."""
    from docx.oxml import OxmlElement
    from docx.oxml.ns import qn

    for cell in row._tr.tc_lst:
        rules = OxmlElement("w:tcBorders")
        for side in sides:
            rule = OxmlElement(f"w:{side}")
            for name, value in {"val": "single", "sz": "6", "space": "0", "color": "auto"}.items():
                rule.set(qn(f"w:{name}"), value)
            rules.append(rule)
        cell.get_or_add_tcPr().append(rules)
