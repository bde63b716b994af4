"""A table says the same in LaTeX, HTML and Markdown, whatever its labels are."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from typing import get_args

import pytest
from browsers import NARROW, WIDE, opened_page, seen_at
from docx import Document
from rich.cells import cell_len
from tex import (
    assert_compiles_alone,
    assert_compiles_with_any_letter,
    assert_within_margins,
    compiled,
    logs_of_parts,
    needs_tex,
    needs_unicode_engine,
    pages_of_parts,
)

from study.core.errors import OutputError, QuestionError
from study.report import latex
from study.report.table import (
    AMONG,
    HEADING,
    PAGE_LINES,
    PROSE,
    Block,
    Format,
    Line,
    Number,
    Table,
    document,
    error,
)

CYRILLIC = "\N{CYRILLIC SMALL LETTER ZHE}\N{CYRILLIC SMALL LETTER YA}"
AWKWARD = r"""a_b & 50% #1 {x} <y> ~ ^ \ $ | * `c` "q" [z]"""
TABLE = Table(
    name="awkward",
    caption=f"Caption {AWKWARD}",
    headings=["Effect of something long", AWKWARD, "Words"],
    spans=[("Both", 2), ("", 1)],
    blocks=[
        Block(
            f"Panel A. {AWKWARD}",
            [Line(AWKWARD, [Number(-1.2345), Number(12, 0), AWKWARD]), Line("", [error(0.5), "", "–"])],
        ),
        Block("", [Line("nothing", [Number(math.nan), Number(-0.0001), ""])]),
    ],
    notes=[f"First {AWKWARD}.", "Second."],
    prose=(0, 3),
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
    parser.feed(TABLE.html())
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
    rows = [line for line in TABLE.markdown().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {5}
    assert "Both: Effect of something long" in rows[0]
    assert rows[1] == "|---|---:|---:|---|"


def test_a_half_is_rounded_as_it_is_meant_and_not_as_it_was_added_up():
    for half in (0.0625, 0.1875, 12.4375):
        assert {Number(half * (1 + rounding)).text for rounding in (-1e-14, 0.0, 1e-14)} == {f"{half:.3f}"}


def test_numbers_are_never_minus_zero_or_nan():
    assert Number(-0.0001).text == "0.000"
    assert Number(math.nan).text == error(math.nan).text == ""
    assert "nan" not in TABLE.latex() + TABLE.html() + TABLE.markdown()


def test_the_same_table_is_the_same_bytes():
    for kind in get_args(Format):
        assert TABLE.formatted(kind) == TABLE.formatted(kind)
    with pytest.raises(QuestionError, match='no format "word"'):
        TABLE.formatted("word")


def test_a_line_with_too_few_cells_or_spans_that_do_not_cover_are_refused():
    with pytest.raises(ValueError, match="has 1 of 2 cells"):
        Table("x", "x", ["a", "b"], [Block("", [Line("short", ["1"])])], [])
    with pytest.raises(ValueError, match="do not cover"):
        Table("x", "x", ["a", "b"], [], [], spans=[("one", 1)])


def test_decimals_are_aligned_with_room_for_sign_and_parentheses():
    text = TABLE.latex()
    assert re.findall(r"S\[table-format=([^]]+)\]", text) == ["{{(}-1.3{)}}", "2.3"]
    assert "{(}0.500{)}" in text


def table_of(label="a", heading="y", spans=(), lines=(), notes=(), **more):
    cells = lines or [Line(label, [Number(0.5)] * max(1, sum(columns for _, columns in spans)))]
    headings = [heading] * len(cells[0].cells)
    return Table("x", "A table", headings, [Block("", cells)], notes, spans, **more)


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("papers_academic_only", r"\makecell[b]{papers\_ \\ academic\_only}"),
        ("Papers.in/some.journal", r"\makecell[b]{Papers.in/ \\ some.journal}"),
        ("Academic-only teams", r"\makecell[b]{Academic-only \\ teams}"),
        ("Representations of", r"\makecell[b]{Representations \\ of}"),
        ("x" * 30, rf"\makecell[b]{{{'x' * 24} \\ {'x' * 6}}}"),
        ("two\nlines", "two lines"),
        ("", ""),
    ],
)
def test_a_heading_breaks_between_words_then_in_names_and_at_last_anywhere(text, typed):
    assert f"{{{typed}}}" in table_of(heading=text).latex()


def test_titles_over_columns_fold_to_their_columns():
    text = table_of(spans=[("Teams with industry and with others", 2)]).latex()
    assert r"\multicolumn{2}{c}{\makecell[b]{Teams with industry and with \\ others}}" in text
    text = table_of(spans=[("Teams with industry", 2)]).latex()
    assert r"\multicolumn{2}{c}{Teams with industry}" in text
    assert len("Teams with industry") <= 2 * HEADING


def test_a_table_without_notes_ends_with_its_lines():
    assert table_of().latex().endswith("\\end{tabular}\n\\end{adjustbox}\n\\end{table}\n")
    assert "minipage" in table_of(notes=["A note."]).latex()


def tall(notes=(), rows=60, first=40):
    lines = [x for k in range(rows) for x in (Line(f"({k})", [Number(k / 7)]), Line("", [error(k / 70)]))]
    blocks = [Block("Panel A. First", lines[: 2 * first]), Block("Panel B. Second", lines[2 * first :])]
    return Table("tall", "A table", ["y"], blocks, notes)


def test_a_table_of_more_lines_or_notes_than_a_page_holds_goes_over_several():
    assert tall().is_long
    assert r"\begin{longtable}{lS[" in tall().latex()
    short = table_of()
    assert not short.is_long
    assert r"\begin{adjustbox}{max width=\linewidth}" in short.latex()
    assert replace(short, notes=["A note of some words. " * 30] * PAGE_LINES).is_long


def test_labels_and_words_of_a_long_table_fold_where_its_columns_may_be_wider_than_a_page():
    lines = [Line("A label of some words and more", [*line.cells] * 6) for line in tall().lines]
    wide = replace(tall(), headings=["y"] * 6, blocks=[Block("", lines)])
    assert rf"\begin{{xltabular}}{{\linewidth}}{{{PROSE}S[" in wide.latex()
    words = [line._replace(cells=["Words that need a line", *line.cells[1:]]) for line in lines]
    columns = replace(wide, blocks=[Block("", words)]).latex()
    assert f"X{PROSE}S[" in columns


def row_ends(table):
    """Say of each line of the table's panels whether the next stands on its page."""
    body = table.latex().partition("endhead")[2]
    return [end == "*" for end in re.findall(r"^(?!\\multicolumn).*\\\\(\*?)$", body, re.M)]


def test_a_long_table_breaks_neither_after_a_title_nor_before_a_standard_error():
    assert r"{l}{\emph{Panel A. First}} \\*" in tall().latex()
    panel = [True, True, True, *[False, True] * 38, False]
    assert row_ends(tall()) == [*panel, *panel[:3], *panel[-37:]]
    assert r"\\*" not in table_of().latex()


def test_a_long_table_has_its_number_on_each_page():
    first, others = tall().latex().split(r"\endfirsthead")
    assert r"\caption{A table}" in first
    assert r"\multicolumn{2}{c}{\small\tablename~\thetable, continued}" in others.partition(r"\endhead")[0]
    assert "continued" not in table_of().latex()


def test_the_rest_of_a_label_stands_on_the_page_of_its_estimate_and_two_rows_stand_below_a_head():
    estimate, rest = Line("A label that", [Number(0.5)]), Line("goes on", [error(0.1)])
    refused = [Line("Another that", ["–"]), Line("goes on", [""])]
    body = [*[estimate, rest] * 40, *refused, Line("last", [Number(1)])]
    ends = row_ends(replace(tall(), blocks=[Block("", body)]))
    assert ends == [True, True, *[True, False] * 40, False]
    singles = [Block("A panel", [Line("row", [Number(1)])])] * 60
    assert not any(row_ends(replace(tall(), blocks=singles)))


@needs_tex
@pytest.mark.parametrize("least", [26, 32, 38])
def test_no_head_of_a_long_table_below_some_lines_stands_at_the_end_of_a_page(tmp_path, least):
    table = rb"\setlength{\parindent}{0pt}%b" + tall(rows=30, first=10).latex().encode()
    below = {str(lines): table.replace(b"%b", b"A line.\n\n" * lines) for lines in range(least, least + 6)}
    for lines, pages in pages_of_parts(tmp_path, logs_of_parts(tmp_path, below)).items():
        assert "".join(pages).count("A line.") == int(lines)
        (first,) = (page for page in pages if "Table 1:" in page)
        assert "Panel A" in first, lines
        for page in pages:
            assert len(re.findall(r"^ *y$", page, re.M)) <= 1, lines
            head, _, rows = page.rpartition("Panel ")
            assert not head or rows.count("(0.") >= 2, lines


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("supercomputing algebraically", "supercomputing algebraically"),
        ("Callaway-Sant'Anna accelerators", "Callaway-Sant'Anna accelerators"),
        ("a_name_of_parts", r"a\_\allowbreak{}name\_\allowbreak{}of\_\allowbreak{}parts"),
        ("x_abcdefgh-abcdefgh", r"x\_\allowbreak{}abcdefgh-\allowbreak{}abcdefgh"),
        ("y" * 30, r"\-".join(["y" * 8, "y" * 8, "y" * 8, "y" * 6])),
    ],
)
def test_words_are_broken_by_tex_and_names_where_they_are_joined(text, typed):
    assert f"\\caption{{{typed}}}" in replace(table_of(), caption=text).latex()


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("from -5 on, (-0.3) [-12.3%, 44.6%], -.5", "from −5 on, (−0.3) [−12.3%, 44.6%], −.5"),
        ("2014-2016, 2007-18, 10-49 papers, 0.5-0.7", "2014–2016, 2007–18, 10–49 papers, 0.5–0.7"),
        ("2016-03, 2024-01-05, 07-510, 2016-1", "2016-03, 2024-01-05, 07-510, 2016-1"),
        ("GPT-4, run-2, t-1, a_2014-2016, f(x)-1", "GPT-4, run-2, t-1, a_2014-2016, f(x)-1"),
        ("study run --design twfe, academic-only", "study run --design twfe, academic-only"),
    ],
)
def test_minus_and_ranges_are_printed_alike_in_every_format_that_is_printed(text, printed):
    table = Table("x", text, [text], [Block(text, [Line(text, [text])])], [text], [(text, 1)])
    unescaped = re.sub(r"\\(makecell\[..?\])?", "", table.latex())
    for made in (table.html(), table.markdown().replace("\\", "")):
        assert made.count(printed) == 7
    assert table._printed.caption == table._printed.rows[1][1] == printed
    assert printed in re.sub(r"{([][]|)}", r"\1", unescaped.replace("ensuremath{-}", "−"))
    assert text in table.csv()


def test_numbers_of_five_digits_stand_without_a_mark():
    assert "group-digits=none" in table_of(lines=[Line("a", [Number(11086, 0)])]).latex()
    assert "group-digits" not in table_of(lines=[Line("a", [Number(1360, 0)])]).latex()


def highest(panels, notes):
    """Return the highest table of so many panels and notes that does not go over pages."""
    lines = [Line(f"Row {k}", [Number(k / 7)]) for k in range(60)]

    def of(count):
        blocks = [Block("A panel", lines[k:count:panels]) for k in range(panels)]
        said = ["A note of some words, with others after it."] * notes
        return Table("high", "A caption " * 9, ["A heading on several lines"], blocks, said)

    count = max(k for k in range(60) if not of(k).is_long)
    assert of(count + 1).is_long
    return of(count)


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("two\nlines\n\n\there", "two lines here"),
        ("bell\x07, soft\u00adhyphen, mark\ufeff", "bell, softhyphen, mark"),
        ("\u03b2 \u2192 \u2265", r"\ensuremath{\beta} {\textrightarrow} \ensuremath{\geq}"),
        ("\u03b2\u0302, x\u0304", r"\ensuremath{\hat{\beta}}, \={x}"),
        ("\u2260 \u2261", r"\ensuremath{\neq} \ensuremath{\equiv}"),
        ("CO\u2082, \u1ebf", r"CO\ensuremath{_2}, \'{\^{e}}"),
        ("\u00e9 e\u0301 \u00d7 \u2013 \u20ac", "\u00e9 \u00e9 \u00d7 \u2013 \u20ac"),
    ],
)
def test_signs_become_what_latex_takes(text, typed):
    assert latex.escape(text) == typed
    assert not latex.needs_other_fonts(typed)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1570582916.5021, 3, "1570582916.502"),
        (-193699401.5931, 3, "-193699401.593"),
        (123456789012.4, 0, "123456789012"),
        (1422260060.5435, 0, "1422260061"),
        (1234567.67851, 3, "1234567.679"),
        (0.1875 - 1e-14, 3, "0.188"),
        (-0.0004, 3, "0.000"),
    ],
)
def test_a_number_has_the_decimals_that_it_is(value, digits, text):
    assert Number(value, digits).text == text


@needs_tex
def test_an_interval_without_an_end_compiles(tmp_path):
    numbers = [Number(-math.inf, stars="*"), error(math.inf), Number(-1.5)]
    table = Table("ends", "Ends", ["a"], [Block("", [Line("x", [number]) for number in numbers])], [])
    assert_compiles_alone(tmp_path, table.latex().encode())
    assert [row.split(",")[2] for row in table.csv().splitlines()[1:]] == [
        "-inf*",
        "(inf)",
        "-1.500",
    ]


def test_a_label_is_one_line_in_markdown():
    assert latex.pipe("two\nlines\n\n|here") == r"two lines \|here"
    assert latex.pipe("$x$ ~~no~~") == r"\$x\$ \~\~no\~\~"  # no mathematics and not struck out
    lines = replace(TABLE, headings=["a\nb", "c\r\n\r\nd", "e"]).markdown().splitlines()
    assert lines[2] == "| | Both: a b | Both: c d | e |"


def test_letters_that_pdflatex_lacks_are_told_at_the_head_and_only_they():
    for name, told in ((CYRILLIC, True), ("\u8ad6\u6587", True), ("\u03b2 \u2265 \u00e9 \u2212", False)):
        text = replace(TABLE, headings=[name, "b", "c"]).latex()
        assert ("XeLaTeX" in text.splitlines()[0]) is told
        assert "\u2212" not in text
    assert "XeLaTeX" not in TABLE.latex()


SIGNS = (
    "αβγδεζηθικλμνξοπρςστυφχψωϵϑϕΓΔΘΛΞΠΣΥΦΨΩΑΒΕΖΗΙΚΜΝΟΡΤΧ≥≤≠≈≡≪≫∼≃≅∝∞∓⋅∗√∑∏∫∂∇∆∈∉∩∪⊂⊆∅∀∃∧∨⊥→←↔↑↓⇒⇐⇔′″⋯ℓ★"
    "₀₁₂₃₄₅₆₇₈₉⁰⁴⁵⁶⁷⁸⁹"
)


def of_every_sign():
    """Return a table with every sign that is not told."""
    latin = [chr(k) for k in range(0xA0, 0x180) if not latex.needs_other_fonts(latex.escape(chr(k)))]
    signs = [*latin, *SIGNS, *latex._SIGNS, "x\u0304", "\u03b2\u0302", "\u1ebf", "\u1e25", "\u1e0f"]
    lines = [Line(" ".join(signs[k : k + 8]), ["1"]) for k in range(0, len(signs), 8)]
    return Table(
        "signs", "\u03b2 \u2265 2", ["\u03b1\n\n\u2192"], [Block("\u2260", lines)], ["\u2212 \u221e."]
    )


@needs_unicode_engine
def test_other_letters_compile_with_a_font_that_has_them(tmp_path):
    named = replace(TABLE, headings=[CYRILLIC, f"{CYRILLIC} \u2265 \u03b2", "c"], caption=CYRILLIC)
    assert_compiles_with_any_letter(tmp_path, named.latex().encode())


def of_long_names():
    """Return a table whose names have to break in labels, captions and notes."""
    names = [f"outcome_number_{k}_{'long' * (k % 3)}" for k in range(30)]
    label = "a_design_with_a_very_long_name/and_more " + "x" * 70
    said = f"The outcomes are {', '.join(names)}."
    return Table("x", said, ["y"], [Block("", [Line(label, [Number(1.0)])])], [said])


def of_unlike_numbers():
    """Return a long table of three columns whose numbers have many digits before the decimals or behind them."""
    numbers = [Number(-1234567890, 0, stars="***"), Number(-1.234, stars="***"), error(987654321, 0)]
    lines = [Line("A label of several words", [number] * 3) for number in 20 * numbers]
    return table_of(lines=lines, heading="Two-way effects")


def of_many_columns():
    """Return a long table with more columns of numbers than a page has room for."""
    lines = [Line(f"Event time {k}", [Number(column + k / 100) for column in range(8)]) for k in range(60)]
    return table_of(lines=lines, heading="Two-way effects")


def test_a_long_table_wider_than_a_page_is_several_with_some_of_the_columns_each():
    made = of_many_columns()
    text = made.latex()
    assert re.findall(r"\\label{(.*?)}", text) == ["tab:x-1", "tab:x-2"]
    assert re.findall(r"\\caption{(.*?)}", text) == [
        "A table (columns 1 to 7 of 8)",
        "A table (column 8 of 8)",
    ]
    assert text.count(r"\begin{longtable}") == 2
    shown = sorted(re.findall(r"& (\d\.\d{3})", text))
    assert shown == sorted(cell.text for line in made.lines for cell in line.cells)


def test_parts_of_a_long_table_come_in_order_though_one_of_them_fits_a_page():
    last = Line("a_design_with_a_very_long_name/and_more", [*[""] * 7, "words " * 20])
    made = of_many_columns()
    few = replace(made, blocks=[Block("", [*made.lines[:40], *[last] * 4])])
    assert few.is_long
    assert r"\begin{table}" not in few.latex()


def test_words_among_numbers_are_on_lines_that_are_no_wider_than_a_few_columns():
    names = ", ".join(f"covariate_number_{k}" for k in range(6))
    table = table_of(lines=[Line("Effect", [Number(1.0)]), Line("Covariates", [names])])
    (cell,) = re.findall(r"& {\\makecell\[t\]{(.*)}} ", table.latex())
    lines = cell.replace(r"\_", "_").split(r" \\ ")
    assert max(map(len, lines)) <= AMONG
    assert " ".join(lines) == names


# Made when they are asked for.
ALONE = {
    "awkward": lambda: TABLE,
    **{f"highest of {n} panels and {k} notes": partial(highest, n, k) for n in (1, 8) for k in (0, 9, 60)},
    "tall": lambda: tall(["A note."] * 99),
    "tall with words": lambda: replace(tall(["A note."] * 99), prose=(0,)),
    "wide": lambda: table_of(
        lines=[Line("A label that is not short", [Number(-1234.5678)] * 12)], heading="Representation"
    ),
    "option": lambda: replace(table_of(), caption="--design"),
    "every sign": of_every_sign,
    "long names": of_long_names,
    "unlike numbers": of_unlike_numbers,
    "many columns": of_many_columns,
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Where these tables are compiled with no packages but those that tables need, and what is said of each."""
    folder = tmp_path_factory.mktemp("alone")
    return folder, logs_of_parts(folder, {name: made().latex().encode() for name, made in ALONE.items()})


@needs_tex
@pytest.mark.parametrize("name", ALONE)
def test_a_table_compiles_alone_within_the_margins_and_over_pages_only_where_it_is_too_high_for_one(
    alone, name
):
    assert_within_margins(alone[1][name])


@needs_tex
def test_numbers_are_those_of_the_table_whatever_a_document_sets_for_its_own(tmp_path):
    of_document = rb"\sisetup{round-mode=places,round-precision=1,exponent-mode=scientific,input-ignore=.}"
    table = table_of(
        lines=[Line("a", [Number(0.285)]), Line("", [error(0.044)]), Line("n", [Number(900, 0)])]
    )
    logs = logs_of_parts(tmp_path, {"own": of_document + table.latex().encode()})
    (page,) = filter(str.strip, pages_of_parts(tmp_path, logs)["own"])
    assert [*map("".join, re.findall(r"(0\.\d+)|(9[\d.]+)", page))] == ["0.285", "0.044", "900"]


@needs_tex
def test_options_keep_their_two_hyphens_in_print(alone):
    assert "--design" in "".join(pages_of_parts(*alone)["option"])


def test_parts_of_addresses_are_small_letters_whatever_the_parts_are():
    made = {
        "R&D spend": "r_d_spend",
        "papers.total": "papers.total",
        "\u00e9l\u00e8ves": "eleves",
        "my.csv": "my.csv",
        "a\u2013b": "a_b",
        "50% ": "50",
        "Callaway-Sant'Anna (conditional on size)": "callaway_santanna_conditional_on_size",
        "-5": "-5",
    }
    assert {part: latex.address_part(part) for part in made} == made
    other = [latex.address_part(name) for name in (CYRILLIC, CYRILLIC[::-1], "\u8ad6")]
    assert all(re.fullmatch(r"[a-z0-9_.-]+", name) for name in other)
    assert len(set(other)) == 3


STARRED = Table(
    name="starred",
    caption="Starred",
    headings=["y", "z"],
    blocks=[
        Block(
            "Panel A. Effects",
            [Line("a", [Number(-1.5, stars="***"), Number(2.0)]), Line("", [error(0.5), error(1)])],
        ),
        Block("", [Line("Units", [Number(1500, 0), "none"])]),
    ],
    notes=["*** p < 0.01."],
)


def test_text_is_aligned_at_decimals_with_stars_and_parentheses_behind_them():
    assert STARRED.text() == str(STARRED)
    lines = str(STARRED).splitlines()
    assert lines[0] == "Starred"
    assert lines[-1] == "Notes. *** p < 0.01."
    rows = {line.split()[0]: line for line in lines if line and line[0] not in "=-"}
    second = next(line for line in lines if "(0.500)" in line)
    assert rows["a"] == "a        -1.500***   2.000"
    assert second == "         (0.500)    (1.000)"
    assert rows["Units"].index("1500") + 4 == rows["a"].index(".")
    assert len(set(map(len, (line for line in lines if line[:1] in ("=", "-"))))) == 1


def test_text_of_wide_letters_is_aligned_and_a_title_over_columns_has_room():
    wide = table_of("\u8ad6\u6587", spans=[("A title that is longer than its columns", 2)])
    lines = str(wide).splitlines()
    assert "A title that is longer than its columns" in lines[2]
    assert {cell_len(lines[k]) for k in (1, 2, 3, 5)} == {cell_len(lines[1])}


def test_csv_is_read_back_with_every_label_and_number():
    rows = list(csv.reader(io.StringIO(STARRED.csv())))
    assert rows[0] == ["panel", "", "y", "z"]
    assert rows[1] == ["Panel A. Effects", "a", "-1.500***", "2.000"]
    assert rows[2] == ["Panel A. Effects", "", "(0.500)", "(1.000)"]
    awkward = list(csv.reader(io.StringIO(TABLE.csv())))
    assert {len(row) for row in awkward} == {5}
    assert awkward[1][1] == awkward[1][4] == AWKWARD


@pytest.mark.parametrize("label", ["=1+1", "@SUM(A1)", "+1", "-cmd"])
def test_no_label_is_a_formula_in_a_spreadsheet(label):
    assert list(csv.reader(io.StringIO(table_of(label).csv())))[1][1] == f"'{label}"


def test_stars_stand_behind_their_number_in_every_format():
    assert "-1.500{***}" in STARRED.latex()
    assert "table-format={{(}-4.3{***}}]" in STARRED.latex()
    assert '1.500<span class="stars">***</span></td>' in STARRED.html()
    assert r"1.500\*\*\* |" in STARRED.markdown()


def test_a_word_file_has_the_rows_the_caption_and_the_notes(tmp_path):
    path = TABLE.save(tmp_path / "out" / "t.docx")
    found = Document(path)
    (grid,) = found.tables
    assert [cell.text for cell in grid.rows[1].cells] == ["", *TABLE.headings]
    assert [cell.text for cell in grid.rows[3].cells] == [AWKWARD, "\N{MINUS SIGN}1.234", "12", AWKWARD]
    assert found.paragraphs[0].text == TABLE.caption
    assert found.paragraphs[-1].text == f"Notes. {' '.join(TABLE.notes)}"
    starred = Document(STARRED.save(tmp_path / "s.docx")).tables[0]
    for made in (grid, starred):
        ruled = [len(cell.xpath(".//w:tcBorders")) for row in made.rows for cell in row._tr.tc_lst]
        assert max(ruled) == 1
        assert (
            len(made._tbl.xpath(".//w:tcBorders/w:bottom")) > len(made._tbl.xpath(".//w:tcBorders/w:top")) > 0
        )
    assert starred.rows[2].cells[1].text == "\N{MINUS SIGN}1.500***"


def test_a_file_is_what_its_suffix_says(tmp_path):
    for name, beginning in {
        "t.tex": "% Written by",
        "t.html": "<!DOCTYPE html>",
        "t.HTM": "<!DOCTYPE html>",
        "t.md": "**Caption",
        "t.csv": "panel,",
        "t.txt": "Caption",
    }.items():
        assert TABLE.save(tmp_path / name).read_text(encoding="utf-8").startswith(beginning)
    for name in ("t.xlsx", "t", "t.pdf"):
        with pytest.raises(QuestionError, match=r"use \.tex, \.html, \.md, \.docx, \.csv or \.txt"):
            TABLE.save(tmp_path / name)
        assert not (tmp_path / name).exists()


def test_a_word_file_without_python_docx_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("study.report.table.find_spec", lambda name: None)
    with pytest.raises(OutputError, match="python-docx, which is not installed"):
        TABLE.save(tmp_path / "t.docx")


def test_a_page_of_html_is_whole_and_well_formed():
    text = document([TABLE, STARRED], "html").decode()
    assert '<meta charset="utf-8">' in text
    assert "<style>" in text
    parser = Cells()
    parser.feed(re.sub(r"<!DOCTYPE html>|<meta[^>]*>", "", text))
    assert parser.open == []
    assert parser.text.count(AWKWARD) == 7


@needs_tex
def test_latex_that_stands_alone_compiles(tmp_path):
    text = document([TABLE, STARRED], "latex", standalone=True)
    log = compiled("pdflatex", tmp_path, text)
    assert "Overfull" not in log
    assert b"documentclass" not in document([TABLE], "latex")


def test_latex_that_stands_alone_says_first_that_it_needs_another_engine():
    named = replace(TABLE, headings=[CYRILLIC, "b", "c"])
    text = document([TABLE, named], "latex", standalone=True).decode()
    assert "XeLaTeX" in text.splitlines()[0]
    assert text.count("XeLaTeX") == 1
    assert "fontspec}" in text
    assert "inputenc" not in text


def test_stars_and_long_names_stay_within_a_narrow_page(tmp_path):
    name = "average_number_of_peer_reviewed_publications"
    wide = table_of(lines=[Line(name, [Number(1.5, stars="***")] * 9)], heading="Representations")
    page = replace(wide, caption=f"Effect on {name}").save(tmp_path / "x.html")
    with opened_page(page, tmp_path / "profile") as browser:
        for width in (NARROW, WIDE):
            seen_at(browser, width)
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
