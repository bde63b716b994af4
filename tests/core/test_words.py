"""Small p-values are said by one rule, wherever a sentence or a table has them."""

from __future__ import annotations

import re

import pytest
from plans import ROOT

from study.core import p_is, p_text
from study.report import COLUMNS, p_cell


@pytest.mark.parametrize(
    ("value", "text", "equation"),
    [
        (0.00004, "below 0.001", "p < 0.001"),
        (0.001, "0.001", "p = 0.001"),
        (0.03, "0.030", "p = 0.030"),
        (1.0, "1.000", "p = 1.000"),
        (float("nan"), "(none)", "p = (none)"),
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
