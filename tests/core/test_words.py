"""Sentences and facts stand on a page as they should; small p-values are said by one rule, wherever there are some."""

from __future__ import annotations

import re

import pandas as pd
import pytest
from plans import ROOT

from study.core import p_is, p_text
from study.core.words import (
    Described,
    Text,
    capital,
    counted,
    decimals,
    first_of,
    html_page,
    lines,
    listed,
    paragraph,
    section,
    short,
)
from study.report import COLUMNS, p_cell


@pytest.mark.parametrize(
    ("value", "text", "equation"),
    [
        (0.00004, "below 0.001", "p < 0.001"),
        (0.001, "0.001", "p = 0.001"),
        (0.03, "0.030", "p = 0.030"),
        (1.0, "1.000", "p = 1.000"),
        (float("nan"), "(none)", "no p-value"),
    ],
)
def test_a_p_value_has_three_decimals_or_is_below_them(value, text, equation):
    assert (p_text(value), p_is(value)) == (text, equation)


def test_tables_have_the_same_rule():
    assert p_cell(0.00004) == "<0.001"
    assert p_cell(0.001).text == "0.001"
    assert COLUMNS["p_value"].cell(0.00004) == "<0.001"


def test_no_sentence_has_a_rule_of_its_own():
    own = re.compile(r"\bp = \{[^}]*:\.|p-value \{[^}]*:\.|\{[\w.]*p_\w+:\.\d+g\}")
    drawn = "set_title"  # where a figure's title has three decimals and no small value can come
    for path in (ROOT / "study").rglob("*.py"):
        lines = [line for line in path.read_text().splitlines() if own.search(line) and drawn not in line]
        assert [line for line in lines if "{row.p_value:.3f} ({len(row" not in line] == [], path


def test_a_list_has_one_word_before_its_last_item_and_a_long_one_says_how_many_are_left_out():
    assert [listed("a"), listed("ab"), listed("abc", "or")] == ["a", "a and b", "a, b or c"]
    # One more is named rather than counted.
    assert first_of("abcdefg") == "a, b, c, d, e, f, g"
    assert first_of("abcdefgh") == "a, b, c, d, e, f, and 2 more"
    assert first_of("abcd", 2) == "a, b, and 2 more"
    assert first_of("") == ""


def test_a_sentence_begins_with_a_capital_and_the_rest_stays_as_it_is():
    assert [capital("aB c"), capital("é"), capital("")] == ["AB c", "É", ""]


def test_a_quoted_text_is_cut_after_sixty_characters_and_has_no_invisible_ones():
    assert short("x" * 60) == "x" * 60
    assert short("x" * 61) == "x" * 60 + "..."
    assert short("abc", 2) == "ab..."
    assert short("a\tb") == r"a\tb"


def test_paragraphs_fill_a_hundred_characters_and_break_no_word():
    words = "word " * 40
    assert paragraph(words).splitlines() == ["word " * 19 + "word", "word " * 19 + "word"]
    assert paragraph(words, "  - ").splitlines() == [
        "  - " + "word " * 18 + "word",
        "    " + "word " * 18 + "word",
        "    word word",
    ]
    assert paragraph("x" * 49 + " " + "y" * 50) == "x" * 49 + " " + "y" * 50
    assert paragraph("x" * 50 + " " + "y" * 50) == "x" * 50 + "\n" + "y" * 50
    assert paragraph("x" * 101 + " y").splitlines() == ["x" * 101, "y"]


def test_a_section_says_each_sentence_once_and_facts_stand_below_their_title():
    assert section("Title", ["one", "two", "one"]) == "Title\n  - one\n  - two"
    assert lines("Title", {"unit": "lab", "years": "8"}) == "Title\n  unit: lab\n  years: 8"


def test_a_page_in_a_session_has_four_digits_no_markup_from_names_and_nothing_where_a_number_is_missing():
    frame = pd.DataFrame({"p": [0.00012345678, 1e-7, float("nan")]})
    made = html_page("a < b", ["<i>", "two"], frame)
    assert made.startswith('<h4>a &lt; b</h4><p>&lt;i&gt;</p><p>two</p><table class="dataframe">')
    assert re.findall("<t[dh]>(.*)</t[dh]>", made) == ["p", "0.0001235", "1e-07", ""]


class Lab(Described):
    def _described(self):
        return "lab <a>", {"years & weeks": "8", "of": "<1>"}


def test_an_object_describes_itself_in_lines_and_as_a_table_and_a_text_reads_as_it_is():
    assert repr(Lab()) == "lab <a>\n  years & weeks: 8\n  of: <1>"
    assert Lab()._repr_html_() == (
        "<h4>lab &lt;a&gt;</h4><table><tr><th>years &amp; weeks</th><td>8</td></tr>"
        "<tr><th>of</th><td>&lt;1&gt;</td></tr></table>"
    )
    assert repr(Text("a\nb")) == "a\nb"


def test_of_one_the_word_is_singular_and_of_none_or_several_it_is_not():
    assert [counted(n, "unit") for n in (0, 1, 2)] == ["0 units", "1 unit", "2 units"]
    assert counted(1200, "unit", ",") == "1,200 units"
    assert counted(1.0, "period", "g") == "1 period"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((482481.2, 26988.636), 0),
        ((482481.2, 0.4), 3),
        ((26988.636, 812.1), 3),
        ((250000.0, 0.0), 0),
        ((0.00012,), 6),
    ],
)
def test_large_numbers_and_those_beside_them_have_no_decimals_unless_these_are_small(values, expected):
    assert decimals(3, *values) == expected
