"""A table as what it says: numbers, words and notes, rendered as LaTeX, HTML or Markdown."""

from __future__ import annotations

import csv
import math
import re
import textwrap
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Literal, NamedTuple, get_args

from study.core import significant, unknown
from study.report.latex import escape, needs_other_fonts, one_line, render

Format = Literal["latex", "html", "md"]
# Letters of a line of a heading and of a label, and of names in sentences that may break.
HEADING, LABEL, NAME = 14, 44, 12
# Lines of a page, and letters of a line of notes.
PAGE_LINES, NOTE_LINE = 60, 100
# Where a word may break: after _ and /, and after . and - between words of two letters and more.
_BREAK = re.compile(r"(?<=[_/])(?=\w)|(?<=[^\W\d_]{2}[.-])(?=[^\W\d_]{2})")
_NAME_BREAK = re.compile(r"(?<=[_/])(?=\w)|(?<=[^\W\d_]{2}[.])(?=[^\W\d_]{2})")
PROSE = r">{\raggedright\arraybackslash}X"
# The environment of a table by whether it is long and whether it has prose.
KINDS = {(False, False): "tabular", (False, True): "tabularx", (True, True): "xltabular"}
OTHER_FONTS = b"""\
% Labels of this table have letters that pdfLaTeX's usual fonts lack: it needs XeLaTeX or LuaLaTeX, and by
% the package fontspec a font that has them.
"""
MINUS = "\N{MINUS SIGN}"
# Significant digits of a number that are more than rounding.
MEANT = 11


class Number(NamedTuple):
    """A number with its decimals, in parentheses if it is an uncertainty; NaN is an empty cell."""

    value: float
    digits: int = 3
    bracketed: bool = False

    @property
    def text(self) -> str:
        """The number as it is printed, with a hyphen for minus; never minus zero."""
        if math.isnan(self.value):
            return ""
        value = significant(self.value, MEANT)  # a half as it is meant, not as it was added up
        shown = f"{round(value, self.digits) + 0.0:.{self.digits}f}"
        return f"({shown})" if self.bracketed else shown


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
        return self.html().decode()

    @property
    def lines(self) -> list[Line]:
        """The lines of all panels."""
        return [line for block in self.blocks for line in block.lines]

    def latex(self) -> bytes:
        """Return the table as a LaTeX float, or where it is longer than a page as an xltabular over several.

        It needs the packages booktabs, siunitx, makecell, adjustbox, tabularx and xltabular.
        """
        text = render(
            "table.tex",
            table=self,
            kind=KINDS[self.is_long, bool(self._prose)],
            column_spec="".join(self._columns()),
            heading=lambda text: f"{{{_folded(text, HEADING)}}}",
            spans=_rules(self.spans),
            label=_sentence if 0 in self._prose else lambda text: _folded(text, LABEL, "tl"),
            cell=_latex,
            sentence=_sentence,
        ).decode()
        # Text that is escaped keeps this sign for the numbers of the paper, which declares it.
        text = text.replace(MINUS, r"\ensuremath{-}")
        return (OTHER_FONTS if needs_other_fonts(text) else b"") + text.encode()

    @property
    def is_long(self) -> bool:
        """Whether its lines or its notes are more than a page holds."""
        noted = sum(len(note) for note in self.notes) / NOTE_LINE
        return len(self.lines) + 2 * len(self.blocks) > PAGE_LINES or noted > PAGE_LINES / 2

    @property
    def _prose(self) -> Collection[int]:
        """The columns of sentences; labels, where nothing else could make a long table as narrow as its page."""
        return self.prose or ((0,) if self.is_long else ())

    def html(self, number: str = "") -> bytes:
        """Return the table as an HTML fragment, with the classes that the report's style knows.

        Parameters
        ----------
        number : str
            What it is called before its caption, as a link to it: "Table 4".
        """
        return render("table.html", table=self, shown=_typeset, number=number)

    def markdown(self) -> bytes:
        """Return the table as a Markdown pipe table with its caption and notes."""
        numbers = [bool(self._numbers(column)) for column in range(len(self.headings))]
        return render("table.md", table=self, shown=_typeset, numbers=numbers, titles=self._titles)

    def csv(self) -> bytes:
        """Return the cells as CSV: the panel, the label and a column each, without caption and notes."""
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["panel", "", *self._titles])
        for block in self.blocks:
            for line in block.lines:
                cells = [cell if isinstance(cell, str) else cell.text for cell in line.cells]
                writer.writerow([block.title, line.label, *cells])
        return text.getvalue().encode()

    @property
    def _titles(self) -> list[str]:
        over = [title for title, columns in self.spans for _ in range(columns)] or [""] * len(self.headings)
        return [": ".join(filter(None, pair)) for pair in zip(over, self.headings, strict=True)]

    def formatted(self, kind: str) -> bytes:
        """Return the table as "latex", "html" or "md"."""
        if kind not in get_args(Format):
            raise unknown("format", kind, get_args(Format), "study table")
        return {"latex": self.latex, "html": self.html, "md": self.markdown}[kind]()

    def _columns(self) -> Iterable[str]:
        yield PROSE if 0 in self._prose else "l"
        for column in range(len(self.headings)):
            numbers = self._numbers(column)
            yield PROSE if column + 1 in self._prose else _decimals(numbers) if numbers else "l"

    def _numbers(self, column: int) -> list[Number]:
        return [cell for line in self.lines if isinstance(cell := line.cells[column], Number)]


class _Folding(textwrap.TextWrapper):
    """Lines that also break inside names."""

    wordsep_re = re.compile(rf"(\s+)|{_BREAK.pattern}")


def _folded(text: str, letters: int, place: str = "b") -> str:
    """Return text for LaTeX on lines of some letters, as far as its words and the parts of its names allow."""
    lines = [escape(line) for line in _Folding(letters).wrap(one_line(text))] or [""]
    stacked = r" \\ ".join(lines)
    return rf"\makecell[{place}]{{{stacked}}}" if len(lines) > 1 else stacked


def _sentence(text: str) -> str:
    """Return a sentence for LaTeX, where long names may break; at hyphens TeX breaks by itself."""
    words = []
    for word in one_line(text).split(" "):
        parts = _NAME_BREAK.split(word) if len(word) > NAME else [word]
        pieces = [
            piece for part in parts for piece in (textwrap.wrap(part, 8) if len(part) > NAME else [part])
        ]
        words.append(r"\allowbreak{}".join(map(escape, pieces)))
    return " ".join(words)


def _decimals(numbers: Sequence[Number]) -> str:
    """Return a siunitx column that is wide enough for its numbers."""
    bare = [number.text.strip("()") for number in numbers if number.text] or ["0"]
    sign = "-" if any(text.startswith("-") for text in bare) else ""
    before = max(len(text.split(".")[0].lstrip("-")) for text in bare)
    after = max(len(text.partition(".")[2]) for text in bare)
    brackets = ",table-space-text-pre={(},table-space-text-post={)},table-align-text-pre=false"
    bracketed = any(number.bracketed for number in numbers if number.text)
    return f"S[table-format={sign}{before}.{after}{brackets if bracketed else ''}]"


def _latex(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"{{{escape(cell)}}}" if cell else ""
    if cell.bracketed and cell.text:
        return f"{{(}}{cell.text.strip('()')}{{)}}"
    return cell.text


def _rules(spans: Sequence[tuple[str, int]]) -> list[tuple[str, int, str]]:
    """Return each span's title on its lines, its columns and the rule below it."""
    rules, last = [], 1
    for title, columns in spans:
        rule = rf"\cmidrule(lr){{{last + 1}-{last + columns}}}" if title else ""
        rules.append((_folded(title, HEADING * columns), columns, rule))
        last += columns
    return rules


def _typeset(cell: Cell) -> str:
    """Return a cell as a reader of HTML or Markdown sees it."""
    return cell if isinstance(cell, str) else cell.text.replace("-", MINUS)
