"""A table as what it says: numbers, words and notes, rendered as LaTeX, HTML or Markdown."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, get_args

from study.core import significant, unknown
from study.report.latex import escape, needs_other_fonts, one_line, render

Format = Literal["latex", "html", "md"]
# Letters of a line of a heading, of a word in it that is not cut, of a path in a sentence that does not break, and of
# what a label's word is cut to.
HEADING, LONGEST, PATH, SYLLABLE = 13, 16, 24, 8
# Centimetres: a letter in a table's type size, the gap between columns.
LETTER, GAP = 0.15, 0.32
# Where a word may break: after _ and /, and after . and - between words of two letters and more.
_BREAK = re.compile(r"(?<=[_/])(?=\w)|(?<=[^\W\d_]{2}[.-])(?=[^\W\d_]{2})")
_NAME_BREAK = re.compile(r"(?<=[_/])(?=\w)|(?<=[^\W\d_]{2}[.])(?=[^\W\d_]{2})")
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


class Span(NamedTuple):
    """A heading over several columns; an empty title leaves them without."""

    title: str
    columns: int


@dataclass(frozen=True)
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
    spans : sequence of Span
        Headings over the headings.
    widths : sequence of float
        Centimetres of each column, that of the labels first, for words that need several lines; 0 or nothing
        is the natural width. HTML and Markdown break lines by themselves.
    narrow : bool
        Made for a page of 12 cm and names that are anything: headings over several columns fold to their width, and
        names in sentences may break. Otherwise only what is longer than words are does.
    """

    name: str
    caption: str
    headings: Sequence[str]
    blocks: Sequence[Block]
    notes: Sequence[str]
    spans: Sequence[Span] = ()
    widths: Sequence[float] = ()
    narrow: bool = False

    def __post_init__(self) -> None:
        """Refuse a line that has more or fewer cells than the table has columns."""
        for line in self.lines:
            if len(line.cells) != len(self.headings):
                raise ValueError(
                    f"{self.name}: {line.label!r} has {len(line.cells)} of {len(self.headings)} cells."
                )
        if self.spans and sum(span.columns for span in self.spans) != len(self.headings):
            raise ValueError(f"{self.name}: the spans do not cover the {len(self.headings)} columns.")

    @property
    def lines(self) -> list[Line]:
        """The lines of all panels."""
        return [line for block in self.blocks for line in block.lines]

    def latex(self) -> bytes:
        """Return the table as a LaTeX float; it needs booktabs, siunitx, threeparttable and array."""
        width = self.widths[0] if self.widths else 0.0
        text = render(
            "table.tex",
            table=self,
            column_spec="".join(self._columns()),
            headings=[f"{{{_stacked(wrapped(heading))}}}" for heading in self.headings],
            spans=_rules(self.spans, span_lines(self)),
            blocks=[
                (
                    block.title,
                    [(_label(x.label, width), [_latex(c) for c in x.cells]) for x in block.lines],
                )
                for block in self.blocks
            ],
            sentence=partial(_sentence, longest=HEADING if self.narrow else PATH),
        ).decode()
        # Text that is escaped keeps this sign for the numbers of the paper, which declares it.
        text = text.replace(MINUS, r"\ensuremath{-}")
        return (OTHER_FONTS if needs_other_fonts(text) else b"") + text.encode()

    def html(self) -> bytes:
        """Return the table as an HTML fragment, with the classes that the report's style knows."""
        return render("table.html", table=self, shown=_typeset, numeric=_numeric)

    def markdown(self) -> bytes:
        """Return the table as a Markdown pipe table with its caption and notes."""
        numbers = [
            any(isinstance(line.cells[k], Number) for line in self.lines) for k in range(len(self.headings))
        ]
        return render("table.md", table=self, shown=_typeset, numbers=numbers, titles=self._titles())

    def formatted(self, kind: str) -> bytes:
        """Return the table as "latex", "html" or "md"."""
        if kind not in get_args(Format):
            raise unknown("format", kind, get_args(Format), "study table")
        return {"latex": self.latex, "html": self.html, "md": self.markdown}[kind]()

    def _columns(self) -> Iterable[str]:
        widths = [*self.widths, *[0.0] * (1 + len(self.headings) - len(self.widths))]
        yield _words(widths[0])
        for k, width in enumerate(widths[1:]):
            cells = [line.cells[k] for line in self.lines]
            numbers = [cell for cell in cells if isinstance(cell, Number)]
            yield _decimals(numbers) if numbers and not width else _words(width)

    def _titles(self) -> list[str]:
        """Return each column's heading after the one over it, for formats that have one line of headings."""
        over = [span.title for span in self.spans for _ in range(span.columns)] or [""] * len(self.headings)
        return [
            f"{title}: {heading}" if title else heading
            for title, heading in zip(over, self.headings, strict=True)
        ]


def wrapped(text: str, width: int = HEADING) -> list[str]:
    """Return text on lines of at most some letters, as far as its words allow.

    A word may break after ``_``, ``/``, ``.`` and ``-``, which stay at the end of the line. What is longer than any
    line even so, and than :data:`LONGEST`, is cut.
    """
    lines: list[str] = []
    for word in text.split():
        gap = " "
        for piece in (cut for part in _BREAK.split(word) for cut in _cut(part, max(width, LONGEST))):
            if lines and len(lines[-1]) + len(gap) + len(piece) <= width:
                lines[-1] += gap + piece
            else:
                lines.append(piece)
            gap = ""
    return lines or [""]


def _cut(word: str, width: int) -> list[str]:
    return [word[k : k + width] for k in range(0, len(word), width)]


def measured(text: str) -> float:
    """Return how wide text is, in letters as wide as a digit."""
    return sum(_letter(character) for character in text)


def _letter(character: str) -> float:
    if character in "mwMW%&@—…" or unicodedata.east_asian_width(character) in "WF":
        return 2.0
    if character.isupper():
        return 1.5
    return 1.1 if character.isalpha() else 1.0


def letters(table: Table) -> list[float]:
    """Return how many letters each column is wide, without that of the labels."""
    wide = _own_letters(table)
    first = 0
    for span, lines in zip(table.spans, span_lines(table), strict=True):
        own = sum(wide[first : first + span.columns]) + (span.columns - 1) * GAP / LETTER
        more = max(0.0, max(measured(line) for line in lines) - own) / span.columns
        for k in range(first, first + span.columns):
            wide[k] += more
        first += span.columns
    return wide


def _own_letters(table: Table) -> list[float]:
    """Return how many letters each column is wide without what is over several."""
    wide = []
    for k, heading in enumerate(table.headings):
        if len(table.widths) > k + 1 and table.widths[k + 1]:
            wide.append(table.widths[k + 1] / LETTER)
            continue
        cells = [line.cells[k] for line in table.lines]
        words = [cell for cell in cells if isinstance(cell, str)]
        numbers = [cell for cell in cells if isinstance(cell, Number)]
        room = _reserved(numbers).letters if numbers else 0.0
        wide.append(max(room, *(measured(text) for text in (*wrapped(heading), *words))))
    return wide


def span_lines(table: Table) -> list[list[str]]:
    """Return the lines of each heading over several columns, folded to their width."""
    if not table.spans:
        return []
    wide, first, folded = _own_letters(table), 0, []
    for span in table.spans:
        room = sum(wide[first : first + span.columns]) + (span.columns - 1) * GAP / LETTER
        fold = table.narrow or any(len(word) > LONGEST for word in span.title.split())
        folded.append(wrapped(span.title, max(HEADING, round(room))) if fold else [span.title])
        first += span.columns
    return folded


def _stacked(lines: Sequence[str]) -> str:
    """Return lines above one another in LaTeX, so that a heading does not widen its column."""
    stacked = r" \\ ".join(escape(line) for line in lines)
    return rf"\shortstack{{{stacked}}}" if len(lines) > 1 else stacked


def _label(text: str, width: float) -> str:
    """Return a label for LaTeX, where what is longer than its column may break."""
    room = width / LETTER
    words = one_line(text).split(" ")
    return " ".join(
        _pieces(word, room) if width and measured(word) > room else escape(word) for word in words
    )


def _pieces(word: str, room: float) -> str:
    """Return a word that is longer than its column for LaTeX, which may break it as :func:`wrapped` does."""
    cut = [_cut(part, SYLLABLE) if measured(part) > room else [part] for part in _BREAK.split(word)]
    pieces = [escape(piece) for part in cut for piece in part]
    # After a hyphen TeX breaks by itself.
    return "".join(p if p.endswith("-") else rf"{p}\allowbreak{{}}" for p in pieces[:-1]) + pieces[-1]


def _sentence(text: str, longest: int) -> str:
    """Return a sentence for LaTeX, where longer names may break; at hyphens TeX breaks by itself."""
    return " ".join(
        r"\allowbreak{}".join(escape(piece) for piece in _NAME_BREAK.split(word))
        if len(word) > longest
        else escape(word)
        for word in one_line(text).split(" ")
    )


def _words(width: float) -> str:
    return rf">{{\raggedright\arraybackslash}}p{{{width:g}cm}}" if width else "l"


class Reserved(NamedTuple):
    """What a column of numbers has room for."""

    sign: str
    whole: int
    decimals: int
    brackets: bool

    @property
    def letters(self) -> float:
        """How many letters that is wide; TeX's minus is wider than a digit, its point is narrower."""
        return len(self.sign) + self.whole + 1 + self.decimals + 2 * self.brackets


def _reserved(numbers: Sequence[Number]) -> Reserved:
    bare = [number.text.strip("()") for number in numbers if number.text] or ["0"]
    return Reserved(
        sign="-" if any(text.startswith("-") for text in bare) else "",
        whole=max(len(text.split(".")[0].lstrip("-")) for text in bare),
        decimals=max(len(text.partition(".")[2]) for text in bare),
        brackets=any(number.bracketed for number in numbers if number.text),
    )


def _decimals(numbers: Sequence[Number]) -> str:
    """Return a siunitx column that is wide enough for its numbers."""
    room = _reserved(numbers)
    brackets = ",table-space-text-pre={(},table-space-text-post={)},table-align-text-pre=false"
    return f"S[table-format={room.sign}{room.whole}.{room.decimals}{brackets if room.brackets else ''}]"


def _latex(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"{{{escape(cell)}}}" if cell else ""
    if cell.bracketed and cell.text:
        return f"{{(}}{cell.text.strip('()')}{{)}}"
    return cell.text


def _rules(spans: Sequence[Span], lines: Sequence[Sequence[str]]) -> list[tuple[str, int, str]]:
    """Return each span's title on its lines, its columns and the rule below it."""
    first, told = 2, []
    for span, folded in zip(spans, lines, strict=True):
        last = first + span.columns - 1
        rule = rf"\cmidrule(lr){{{first}-{last}}}" if span.title else ""
        told.append((_stacked(folded), span.columns, rule))
        first = last + 1
    return told


def _numeric(cell: Cell) -> bool:
    return isinstance(cell, Number)


def _typeset(cell: Cell) -> str:
    """Return a cell as a reader of HTML or Markdown sees it."""
    return cell if isinstance(cell, str) else cell.text.replace("-", MINUS)
