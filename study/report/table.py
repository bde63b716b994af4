"""A table as what it says: numbers, words and notes, rendered as LaTeX, HTML or Markdown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from study.errors import unknown
from study.report.latex import escape, render

Format = Literal["latex", "html", "md"]
HEADING = 13
MINUS = "\N{MINUS SIGN}"


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
        shown = f"{round(self.value, self.digits) + 0.0:.{self.digits}f}"
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
    """

    name: str
    caption: str
    headings: Sequence[str]
    blocks: Sequence[Block]
    notes: Sequence[str]
    spans: Sequence[Span] = ()
    widths: Sequence[float] = ()

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
        return render(
            "table.tex",
            table=self,
            column_spec="".join(self._columns()),
            headings=[_stacked(heading) for heading in self.headings],
            spans=_rules(self.spans),
            blocks=[
                (block.title, [(x.label, [_latex(c) for c in x.cells]) for x in block.lines])
                for block in self.blocks
            ],
        )

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
            numbers = [line.cells[k] for line in self.lines if isinstance(line.cells[k], Number)]
            yield _decimals(numbers) if numbers and not width else _words(width)

    def _titles(self) -> list[str]:
        """Return each column's heading after the one over it, for formats that have one line of headings."""
        over = [span.title for span in self.spans for _ in range(span.columns)] or [""] * len(self.headings)
        return [
            f"{title}: {heading}" if title else heading
            for title, heading in zip(over, self.headings, strict=True)
        ]


def _stacked(heading: str) -> str:
    """Return a heading on lines of few letters, so that it does not widen its column."""
    lines = [escape(line) for line in textwrap.wrap(heading, HEADING, break_long_words=False)]
    stacked = r" \\ ".join(lines)
    return rf"{{\shortstack{{{stacked}}}}}" if len(lines) > 1 else f"{{{stacked}}}"


def _words(width: float) -> str:
    return rf">{{\raggedright\arraybackslash}}p{{{width:g}cm}}" if width else "l"


def _decimals(cells: Sequence[Cell]) -> str:
    """Return a siunitx column that is wide enough for its numbers."""
    numbers = [cell for cell in cells if isinstance(cell, Number) and cell.text]
    bare = [cell.text.strip("()") for cell in numbers] or ["0"]
    whole = max(len(text.split(".")[0].lstrip("-")) for text in bare)
    decimals = max(len(text.partition(".")[2]) for text in bare)
    sign = "-" if any(text.startswith("-") for text in bare) else ""
    brackets = ""
    if any(cell.bracketed for cell in numbers):
        brackets = ",table-space-text-pre={(},table-space-text-post={)},table-align-text-pre=false"
    return f"S[table-format={sign}{whole}.{decimals}{brackets}]"


def _latex(cell: Cell) -> str:
    if isinstance(cell, str):
        return f"{{{escape(cell)}}}" if cell else ""
    if cell.bracketed and cell.text:
        return f"{{(}}{cell.text.strip('()')}{{)}}"
    return cell.text


def _rules(spans: Sequence[Span]) -> list[tuple[str, int, str]]:
    """Return each span's title, its columns and the rule below it."""
    first, told = 2, []
    for span in spans:
        last = first + span.columns - 1
        told.append((span.title, span.columns, rf"\cmidrule(lr){{{first}-{last}}}" if span.title else ""))
        first = last + 1
    return told


def _numeric(cell: Cell) -> bool:
    return isinstance(cell, Number)


def _typeset(cell: Cell) -> str:
    """Return a cell as a reader of HTML or Markdown sees it."""
    return cell if isinstance(cell, str) else cell.text.replace("-", MINUS)
