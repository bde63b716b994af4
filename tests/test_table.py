"""A table says the same in LaTeX, HTML and Markdown, whatever its labels are."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser

import pytest
from tex import assert_compiles_alone, needs_tex

from study.errors import QuestionError
from study.report.table import Block, Line, Number, Span, Table, error

AWKWARD = r"""a_b & 50% #1 {x} <y> ~ ^ \ $ | * `c` "q" [z]"""
TABLE = Table(
    name="awkward",
    caption=f"Caption {AWKWARD}",
    headings=["Effect of something long", AWKWARD, "Words"],
    spans=[Span("Both", 2), Span("", 1)],
    blocks=[
        Block(
            f"Panel A. {AWKWARD}",
            [Line(AWKWARD, [Number(-1.2345), Number(12, 0), AWKWARD]), Line("", [error(0.5), "", "–"])],
        ),
        Block("", [Line("nothing", [Number(math.nan), Number(-0.0001), ""])]),
    ],
    notes=[f"First {AWKWARD}.", "Second."],
    widths=[3.0, 0, 0, 3.0],
)


class Cells(HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.text, self.open = [], "", []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_html_is_well_formed_and_holds_every_label_literally():
    parser = Cells()
    parser.feed(TABLE.html().decode())
    assert parser.open == []
    assert parser.text.count(AWKWARD) == 6
    assert [len(row) for row in parser.rows] == [
        3,
        4,
        1,
        4,
        3,
        4,
    ]  # a label stands over its standard error too
    assert parser.rows[3] == [AWKWARD, "\N{MINUS SIGN}1.234", "12", AWKWARD]
    assert parser.rows[4] == ["(0.500)", "", "–"]


def test_every_row_of_the_markdown_table_has_as_many_cells():
    rows = [line for line in TABLE.markdown().decode().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert "Both: Effect of something long" in rows[0]
    assert rows[1] == "|---|---:|---:|---|"


def test_numbers_are_never_minus_zero_or_nan():
    assert Number(-0.0001).text == "0.000"
    assert Number(math.nan).text == error(math.nan).text == ""
    assert "nan" not in TABLE.latex().decode() + TABLE.html().decode() + TABLE.markdown().decode()


def test_the_same_table_is_the_same_bytes():
    for kind in ("latex", "html", "md"):
        assert TABLE.formatted(kind) == TABLE.formatted(kind)
    with pytest.raises(QuestionError, match='no format "word"'):
        TABLE.formatted("word")


def test_a_line_with_too_few_cells_or_spans_that_do_not_cover_are_refused():
    with pytest.raises(ValueError, match="has 1 of 2 cells"):
        Table("x", "x", ["a", "b"], [Block("", [Line("short", ["1"])])], [])
    with pytest.raises(ValueError, match="do not cover"):
        Table("x", "x", ["a", "b"], [], [], spans=[Span("one", 1)])


def test_decimals_are_aligned_with_room_for_sign_and_parentheses():
    text = TABLE.latex().decode()
    first, second = re.findall(r"S\[table-format=([-\d.]+)", text)
    assert (first, second) == ("-1.3", "2.3")
    assert "{(}0.500{)}" in text


@needs_tex
def test_it_compiles_alone_without_overfull_boxes(tmp_path):
    assert_compiles_alone(tmp_path, TABLE.latex())
