"""The report page as a reader gets it: opened in a headless Chromium that can reach nothing."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from browsers import NARROW, WIDE, opened_page, seen_at
from paper_inputs import paper_panel
from plans import PLAN

from study.designs import all_designs
from study.figures import FULL, HEIGHT, WIDTH, canvas
from study.paper import run as running
from study.paper.exhibits.exhibit import Exhibit, Exhibited, Source, Traced, draw
from study.paper.page import anchor, numbered, origins, page, picture, provenance_of
from study.paper.plan import read_plan, worded, words_of
from study.report.latex import MINUS
from study.report.table import Block, Line, Number, Table, error


def hostile(place: str) -> str:
    """Return a text that a page which does not escape it would run, load or fill in."""
    return f'<script>alert("{place}")</script> & <img src="https://example.org/{place}.png"> \\VAR{{7*7}}'


PLACES = re.findall(
    r"\w+",
    "title plan headline panel package section exhibit verdict sentence caption heading span block label cell "
    "note figure name value quantity question command",
)


def table(name: str, columns: int, caption: str, place: Callable[[str], str] = str) -> Table:
    """Return a table with numbers, words, a refused cell, an empty label and a column of words."""
    numbers = [Number(-0.125 * k) for k in range(columns - 1)]
    errors = [error(0.5), *["–"] * (columns - 2)]
    return Table(
        name=name,
        caption=caption,
        headings=[*(f"Outcome {k}" for k in range(columns - 1)), place("heading")],
        blocks=[
            Block(
                "Panel A. Shares",
                [
                    Line("A design", [*numbers, "departments that grow ask for it"]),
                    Line("", [*errors, "none"]),
                ],
            ),
            Block(place("block"), [Line(place("label"), [*numbers, place("cell")])]),
        ],
        notes=["Standard errors in parentheses.", place("note")],
        spans=[(place("span"), columns - 1), ("", 1)],
    )


def figure(name: str, width: float):
    with canvas(width, HEIGHT) as drawing:
        axis = drawing.subplots()
        axis.plot([0, 1, 2], [1, -1, 0.5], "o-", label="estimate")
        axis.legend()
    return draw(
        name, f"{name}: {hostile('figure')}", drawing, f"A line that falls and rises: {hostile('seen')}"
    )


def traced(name: str, value: str, command: str) -> Traced:
    source = Source("one", f"what {name} is", "cvpr", "abc123", command, question="event=x", seed="3")
    return Traced(name, value, source)


ONE, TWO = "Institutions: effects", f"What speaks against it: {hostile('section')}"


@pytest.fixture(scope="module")
def shown() -> list[tuple[Exhibit, Exhibited]]:
    source = replace(
        traced("Beta", "", hostile("command")).source,
        quantity=hostile("quantity"),
        question=hostile("question"),
    )
    unlike = Traced(hostile("name"), hostile("value"), source)
    numbers = (traced("Alpha", "0.1%", "study run"), unlike)
    first = Exhibited(
        tables=(table("small", 2, "A small table"), table("large:1", 14, hostile("caption"), hostile)),
        figures=(figure("usual", WIDTH), figure("whole", FULL)),
        numbers=(*numbers, traced("Gamma", "7", "study run")),
        sentences=("The first finding.", hostile("sentence")),
    )
    second = Exhibited(
        tables=(table("third", 3, "A third table"),),
        numbers=(traced("Delta", "8", "study run"),),
        sentences=(hostile("verdict"),),
    )

    def unused(setting):
        raise AssertionError("a page asks no exhibit anything")

    return [
        (Exhibit("one", "Every design", ONE, unused), first),
        (Exhibit("two", hostile("exhibit"), TWO, unused), second),
        (Exhibit("three", "Who gains", ONE, unused), Exhibited(sentences=("Nobody can be distinguished.",))),
        (
            Exhibit("designs", "The head", ONE, unused),
            Exhibited(figures=(figure("head", FULL),), sentences=("Said.",)),
        ),
    ]


@pytest.fixture(scope="module")
def provenance() -> dict[str, object]:
    return dict(
        title=hostile("title"),
        plan=f"headline = 1 # {hostile('plan')}\n" + "x" * 300,
        headline=hostile("headline"),
        panels=(("cvpr", "c07b1147d27cad01"), (hostile("panel"), "00112233445566aa")),
        seed=2401,
        package="0.1.0",
        versions=(("Python", "3.11.7"), (hostile("package"), "2.4.6")),
    )


# What the paper takes in, in another order than the page, and a comment that takes in nothing.
PAPER = r"""
\newcommand{\exhibit}[3]{\includegraphics{figures/#2}}
\begin{document}
% \input{tables/small}
\input{tables/third}
\exhibit{0.8}{whole}{A caption.}
\input{tables/large:1}
\includegraphics[width=\textwidth]{figures/usual}
\end{document}
"""
TAKEN_IN = ("third", "whole", "large:1", "usual")
CALLED = {"third": "Table 1", "large:1": "Table 2", "small": "Table R1"}
DRAWN = {"whole": "Figure 1", "usual": "Figure 2", "head": "Figure R1"}


@pytest.fixture(scope="module")
def content(shown, provenance) -> bytes:
    return page(shown, provenance, PAPER)


@pytest.fixture(scope="module")
def browser(content, tmp_path_factory):
    """Give the page in Chromium, with all that the browser logged while it loaded."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "report.html").write_bytes(content)
    with opened_page(folder / "report.html", folder / "profile") as driver:
        folded(driver, False)
        yield driver


def folded(browser, yes: bool) -> None:
    browser.execute_script(
        "for (const d of document.querySelectorAll('details.part')) d.open = !arguments[0]", yes
    )


def test_the_browser_logs_nothing_and_asks_for_nothing_but_the_file(browser) -> None:
    assert browser.logged == []
    assert any(url.startswith("file:") and url.endswith("report.html") for url in browser.requested)
    assert {url.split(":")[0] for url in browser.requested} <= {"file", "data"}


def test_the_page_forbids_the_browser_to_load_anything(browser) -> None:
    browser.execute_script(
        "const i = new Image(); i.id = 'probe'; i.onerror = () => { window.refused = true; };"
        "i.src = new URL('other.png', location.href).href; document.body.append(i);"
    )
    refused = browser.execute_async_script(
        "const done = arguments[0]; const look = () => window.refused ? done(true) : setTimeout(look, 20); look();"
    )
    browser.execute_script("document.getElementById('probe').remove()")
    assert refused
    assert any("Content Security Policy" in entry["message"] for entry in browser.get_log("browser"))


def test_all_figures_are_drawn_with_their_alternative_and_caption(browser, shown) -> None:
    images = browser.execute_script(
        "return [...document.querySelectorAll('.drawing img')].map(i => ({alt: i.alt,"
        " loaded: i.complete && i.naturalWidth > 0,"
        " natural: i.naturalWidth / i.naturalHeight, box: i.clientWidth / i.clientHeight,"
        " caption: i.closest('figure').querySelector('figcaption').textContent}))"
    )
    figures = [drawn for drawn in _in_page_order(shown) if drawn.name in DRAWN]
    assert [image["alt"] for image in images] == [drawn.alternative for drawn in figures]
    assert [image["caption"] for image in images] == [f"{DRAWN[x.name]} {x.caption}" for x in figures]
    assert all(image["loaded"] for image in images)
    for image in images:
        assert image["box"] == pytest.approx(image["natural"], rel=0.01)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("width", [NARROW, 700, WIDE])
def test_the_page_never_scrolls_sideways(browser, width: int, opened: bool) -> None:
    seen_at(browser, width)
    try:
        browser.execute_script(
            "for (const d of document.querySelectorAll('details:not(.part)')) d.open = arguments[0]", opened
        )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        widest = browser.execute_script(
            "return Math.max(...[...document.querySelectorAll('h1,h2,h3,p,dd,figcaption,nav,details')]"
            ".map(e => e.getBoundingClientRect().right))"
        )
        assert widest <= width
        wide = browser.execute_script(
            "const box = document.querySelector('[id=\"tab-large:1\"] .scroll');"
            "return box.scrollWidth > box.clientWidth"
        )
        assert wide, "the wide table scrolls in its own container"
    finally:
        browser.execute_script(
            "for (const d of document.querySelectorAll('details:not(.part)')) d.open = false"
        )
        seen_at(browser, WIDE)


def test_every_table_stands_with_its_caption_cells_and_notes(browser, shown) -> None:
    found = browser.execute_script(
        "return [...document.querySelectorAll('figure.table')].map(f => ({id: f.id,"
        " caption: f.querySelector('figcaption').textContent,"
        " named: document.getElementById(f.querySelector('table').getAttribute('aria-labelledby')).textContent,"
        " notes: f.querySelector('.notes').textContent,"
        " rows: [...f.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent))}))"
    )
    tables = [made for made in _in_page_order(shown) if made.name in CALLED]
    assert [made["id"] for made in found] == [f"tab-{made.name}" for made in tables]
    for made, expected in zip(found, tables, strict=True):
        assert made["caption"] == made["named"] == f"{CALLED[expected.name]} {expected.caption}"
        assert made["notes"] == f"Notes. {' '.join(expected.notes)}"
        # A line without a label is the second line of the one before, whose label stands beside both.
        lines = [
            [
                *([line.label] if line.label else []),
                *(c if isinstance(c, str) else c.text.replace("-", MINUS) for c in line.cells),
            ]
            for line in expected.lines
        ]
        titles = [[block.title] for block in expected.blocks]
        assert made["rows"] == [titles[0], *lines[:2], titles[1], *lines[2:]]


def _in_page_order(shown):
    """Return the paper's tables and figures in its order, and then all others by section."""
    items = {
        made.name: made
        for section in (ONE, TWO)
        for exhibit, exhibited in shown
        if exhibit.section == section
        for made in (*exhibited.tables, *exhibited.figures)
    }
    return [items.pop(name) for name in TAKEN_IN] + [*items.values()]


def test_numbers_and_their_headings_stand_to_the_right_and_words_to_the_left(browser) -> None:
    sides = browser.execute_script(
        "const table = document.querySelector('[id=\"tab-large:1\"] table');"
        "return [...table.querySelectorAll('thead tr:last-child, tbody tr')]"
        ".map(r => [...r.querySelectorAll('th[scope=col], td:not(:empty)')].map(c => getComputedStyle(c).textAlign))"
        ".filter(r => r.length)"
    )
    assert sides == [["right"] * 13 + ["left"]] * 4
    ends = browser.execute_script(
        "const end = c => { const r = document.createRange(); r.selectNodeContents(c);"
        " return r.getBoundingClientRect().right; };"
        "return [...document.querySelectorAll('#tab-small td.number')].map(end)"
    )
    assert ends[1] - ends[0] == pytest.approx(5, abs=4), "the closing parenthesis hangs beyond the digits"


def test_every_heading_cell_says_what_it_heads_and_none_is_empty(browser) -> None:
    heads = browser.execute_script(
        "return [...document.querySelectorAll('th')].map(h => [h.getAttribute('scope'), h.textContent.trim()])"
    )
    assert {scope for scope, _ in heads} == {"col", "colgroup", "row", "rowgroup"}
    assert all(text for _, text in heads)


def test_headings_go_down_one_level_at_a_time(browser) -> None:
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert levels.count(3) == 4


def test_every_link_leads_to_one_place_and_every_exhibit_is_in_the_contents(browser) -> None:
    links = browser.execute_script(
        "return [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
    )
    links = [link for link in links if not link.startswith("data:")]
    assert all(link.startswith("#") for link in links)
    ids = browser.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links} <= set(ids)
    contents = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => [a.getAttribute('href'), a.textContent])"
    )
    assert contents == [
        ["#paper", "The paper’s tables and figures"],
        ["#tab-third", f"Table 1: {hostile('exhibit')}"],
        ["#fig-whole", "Figure 1: Every design"],
        ["#tab-large:1", "Table 2: Every design"],
        ["#fig-usual", "Figure 2: Every design"],
        [f"#{anchor(ONE)}", ONE],
        ["#exhibit-one", "Every design"],
        ["#exhibit-three", "Who gains"],
        ["#exhibit-designs", "The head"],
        [f"#{anchor(TWO)}", TWO],
        ["#exhibit-two", hostile("exhibit")],
        ["#provenance", "Provenance"],
    ]
    references = browser.execute_script(
        "return [...document.querySelectorAll('[aria-labelledby]')].map(e => e.getAttribute('aria-labelledby'))"
    )
    assert set(references) <= set(ids)


def test_the_first_key_press_offers_to_skip_to_the_content(browser) -> None:
    browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    browser.find_element("tag name", "body").send_keys("\ue004")
    focused = browser.execute_script(
        "const e = document.activeElement, b = e.getBoundingClientRect(); return [e.textContent, b.top >= 0]"
    )
    assert focused == ["Skip to the content", True]


def test_the_page_names_its_language_and_its_title(browser, provenance) -> None:
    assert browser.execute_script("return document.documentElement.lang") == "en"
    assert browser.title == provenance["title"]


CONTRAST = """
const channel = v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = c => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const parts = s => s.match(/[0-9.]+/g).map(Number);
const behind = e => {
  for (; e; e = e.parentElement) {
    const c = parts(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const own = e => e.tagName !== 'SCRIPT' && [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
for (const d of document.querySelectorAll('details')) d.open = true;
const found = [...document.body.querySelectorAll('*')].filter(own).map(e => {
  const a = light(parts(getComputedStyle(e).color)), b = light(behind(e));
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + ' ' + e.className];
});
for (const d of document.querySelectorAll('details:not(.part)')) d.open = false;
return found;
"""


def test_all_text_has_contrast_enough(browser) -> None:
    found = browser.execute_script(CONTRAST)
    assert {"P notes", "TD number", "FIGCAPTION ", "A ", "SUMMARY ", "PRE "} <= {what for _, what in found}
    assert [(ratio, what) for ratio, what in found if ratio < 4.5] == []


@pytest.mark.parametrize("place", PLACES)
def test_text_that_looks_like_html_or_a_template_appears_as_it_is(browser, place: str) -> None:
    assert hostile(place) in browser.execute_script("return document.documentElement.textContent")


def test_no_text_becomes_a_script_or_an_image(browser, shown, content) -> None:
    counted = browser.execute_script("return [document.scripts.length, document.images.length]")
    # Its own script, which it names by its checksum.
    assert counted == [1, sum(len(exhibited.figures) for _, exhibited in shown)]
    (script,) = re.findall(rb"<script>(.*?)</script>", content, re.S)
    checksum = base64.b64encode(hashlib.sha256(script).digest()).decode()
    assert f"script-src 'sha256-{checksum}'\"" in content.decode()


def test_every_exhibit_has_a_link_to_itself_with_its_number_in_the_paper(browser) -> None:
    links = browser.execute_script(
        "return [...document.querySelectorAll('main a.number')].map(a => [a.getAttribute('href'), a.textContent,"
        " a.closest('figure').id])"
    )
    named = {f"tab-{name}": called for name, called in CALLED.items()}
    named |= {f"fig-{name}": called for name, called in DRAWN.items()}
    assert {place: called for _, called, place in links} == named
    assert all(link == f"#{place}" for link, _, place in links)


def test_exhibits_have_numbers_of_their_own_where_there_is_no_paper() -> None:
    assert numbered("Table", ["b", "a"], "") == {"b": "Table 1", "a": "Table 2"}
    assert numbered("Figure", ["usual", "b"], PAPER) == {"usual": "Figure 2", "b": "Figure R1"}


def test_exhibits_of_the_appendix_have_its_prefix_and_tables_written_by_hand_a_number() -> None:
    appendix = r"""
\renewcommand{\thetable}{A\arabic{table}}
\renewcommand{\thefigure}{B\arabic{figure}}
\begin{document}
\exhibit{1}{late}{A caption.\label{fig:late}}
\begin{table}\caption{By hand.}\label{tab:hand}\end{table}
\input{tables/small}
\input{tables/third}
\end{document}
"""
    called = numbered("Table", ["alone", "small", "third"], PAPER + appendix)
    assert called == {"alone": "Table R1", "small": "Table A2", "third": "Table 1"}
    assert numbered("Figure", ["late", "usual"], PAPER + appendix) == {
        "late": "Figure B1",
        "usual": "Figure 2",
    }


def test_what_a_paper_takes_in_and_no_exhibit_makes_is_no_part_of_the_page(
    shown, provenance, content
) -> None:
    paper = PAPER.replace(r"\end{document}", r"\input{tables/absent}" + "\n" + r"\end{document}")
    assert paper != PAPER
    assert page(shown, provenance, paper) == content


def test_each_table_and_figure_can_be_downloaded_as_it_is(content, shown) -> None:
    files = re.findall(r'<a download="([^"]+)" href="data:[\w/.-]+;base64,([^"]+)"', content.decode())
    given = {html.unescape(name): base64.b64decode(link) for name, link in files}
    expected = {}
    for _, exhibited in shown:
        for made in exhibited.tables:
            expected |= {f"{made.name}.tex": made.latex().encode(), f"{made.name}.csv": made.csv().encode()}
        for drawn in exhibited.figures:
            expected |= {f"{drawn.name}.pdf": drawn.pdf, f"{drawn.name}.png": drawn.png}
    assert given == expected


def test_a_table_as_csv_has_its_panels_labels_and_numbers() -> None:
    rows = list(csv.reader(table("small", 2, "A small table").csv().splitlines()))
    assert rows[0] == ["panel", "", "span: Outcome 0", "heading"]
    assert rows[1][:3] == ["Panel A. Shares", "A design", "0.000"]
    assert rows[2][:3] == ["Panel A. Shares", "", "(0.500)"]


@pytest.fixture
def new_tab(browser):
    """Give the page as it is when it is opened, in a tab of its own."""
    address, before = browser.current_url.partition("#")[0], browser.current_window_handle
    browser.switch_to.new_window("tab")
    browser.get(address)
    yield browser
    browser.close()
    browser.switch_to.window(before)


def test_sections_are_folded_until_a_link_leads_into_one(new_tab) -> None:
    opened = "return [...document.querySelectorAll('details.part')].map(d => d.open)"
    assert new_tab.execute_script(opened) == [False, False]
    assert new_tab.execute_script("return document.getElementById('tab-third').checkVisibility()")
    new_tab.execute_script("location.hash = 'tab-small'")
    assert new_tab.execute_script(opened) == [True, False]
    unfold = new_tab.find_element("id", "unfold")
    unfold.click()
    assert new_tab.execute_script(opened) == [True, True]
    assert unfold.text == "Fold all sections"
    unfold.click()
    assert new_tab.execute_script(opened) == [False, False]


def test_the_head_has_the_first_sentences_of_the_papers_exhibits_and_the_first_of_these_follows(
    browser,
) -> None:
    said = browser.execute_script(
        "return [...document.querySelectorAll('.findings li')]"
        ".map(e => [e.textContent.trim(), ...[...e.querySelectorAll('a')].map(a => a.hash)])"
    )
    assert said == [
        [f"{hostile('verdict')} Table 1", "#tab-third"],
        ["The first finding. Table 2 Figure 2 Figure 1", "#tab-large:1", "#fig-usual", "#fig-whole"],
    ]
    browser.execute_script("window.scrollTo(0, 0)")
    first = "return document.getElementById('tab-third').getBoundingClientRect().top"
    assert browser.execute_script(first) < 900


def test_the_contents_mark_where_one_is(browser) -> None:
    marked = (
        "const [where, done] = arguments; document.getElementById(where).scrollIntoView();"
        "requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() =>"
        " done([...document.querySelectorAll('nav [aria-current]')].map(a => a.hash)), 50)))"
    )
    for place, link in {
        "exhibit-one": "#exhibit-one",
        "tab-small": "#exhibit-one",
        "tab-large:1": "#tab-large:1",
    }.items():
        assert browser.execute_async_script(marked, place) == [link]


def test_on_a_phone_a_link_leads_to_the_top(browser) -> None:
    shown = "return document.querySelector('a.top').checkVisibility()"
    assert not browser.execute_script(shown)
    seen_at(browser, NARROW)
    try:
        assert browser.execute_script(shown)
        browser.execute_script("window.scrollTo(0, 2000); document.querySelector('a.top').click()")
        assert browser.execute_script("return scrollY") == 0
    finally:
        seen_at(browser, WIDE)


def test_names_of_columns_and_designs_are_words(shown, provenance) -> None:
    said = "Given log_baseline_papers, where country=US, twfe rejects (see study/core/some_file.py)."
    words = {"twfe": "Two-way fixed effects"}
    expected = "Given log baseline papers, where country US, Two-way fixed effects rejects"
    assert worded(said, words) == f"{expected} (see study/core/some_file.py)."
    one, two = Exhibit("x", "X", ONE, None), replace(table("x", 2, said), notes=[said])
    made = page([(one, Exhibited(tables=(two,), sentences=(said,)))], provenance, "", words).decode()
    assert '<details class="part" open>' in made  # without a paper
    assert made.count(expected) == 4  # at the head, in the text, in caption and notes
    assert "log_baseline_papers" not in made


def test_the_words_of_a_plan_are_its_events_and_the_titles_of_designs(tmp_path) -> None:
    (tmp_path / "study.toml").write_text(PLAN.replace('short = "Event"', 'short = "CT_scan of my_lab"'))
    plan = read_plan(tmp_path / "study.toml")
    panel = running.load(plan)
    words = words_of(plan, replace(panel, units=np.array([f"unit_{k}" for k in range(panel.n_units)])))
    assert worded("CT_scan of my_lab: A_count without unit_7, by x_1", words) == (
        "CT_scan of my_lab: A_count without unit_7, by x 1"
    )
    assert words["first_treated"] == "the 1st event"
    assert words["count"] == "A_count"
    assert words["twfe"] == all_designs()["twfe"].title


def test_numbers_stand_closed_with_their_sources_once_for_all_that_share_them(browser, content) -> None:
    rows = browser.execute_script(
        "return [...document.querySelectorAll('details.numbers tbody tr')]"
        ".map(r => [...r.cells].map(c => c.textContent.trim()))"
    )
    folds = [b'<details class="part">', b'<details class="numbers">'] * 2 + [b"<details>"]
    assert re.findall(rb"<details[^>]*>", content) == folds, "none is open"
    source = "Question: {} Data: cvpr Checksum: abc123 Seed: 3 Command: {}"
    assert rows == [
        [source.format("event x", "study run")],
        ["Alpha", "what Alpha is", "0.1%"],
        ["Gamma", "what Gamma is", "7"],
        [source.format(hostile("question"), hostile("command"))],
        [hostile("name"), hostile("quantity"), hostile("value")],
        [source.format("event x", "study run")],
        ["Delta", "what Delta is", "8"],
    ]


def test_provenance_tells_plan_panels_seed_and_versions(browser, provenance) -> None:
    section = browser.execute_script("return document.getElementById('provenance').parentElement.textContent")
    told = [
        provenance["headline"],
        provenance["plan"],
        "2401",
        "version 0.1.0",
        f"Python 3.11.7, {hostile('package')} 2.4.6",
    ]
    told += [text for panel in provenance["panels"] for text in panel]
    assert [text for text in told if text not in section] == []


def test_in_print_nothing_is_cut_off_and_no_navigation_is_left(browser) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    folded(browser, True)
    try:
        assert browser.execute_script("return document.getElementById('tab-third').checkVisibility()")
        hidden, overflow = browser.execute_script(
            "const of = (s, k) => getComputedStyle(document.querySelector(s))[k];"
            "return [of('nav', 'display'), of('.scroll', 'overflowX')]"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        folded(browser, False)
    assert (hidden, overflow) == ("none", "visible")
    printed = browser.execute_cdp_cmd("Page.printToPDF", {})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF")


class Sources(HTMLParser):
    """What a page's tags name as something to load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loading = {"src", "srcset", "poster", "data", "action"} | ({"href"} if tag == "link" else set())
        self.found += [value or "" for name, value in attrs if name in loading]


def test_nothing_is_named_that_would_have_to_be_loaded(content) -> None:
    parser = Sources()
    parser.feed(content.decode())
    assert len(parser.found) == 4
    assert all(source.startswith("data:") for source in parser.found)
    style = re.search(r"<style>(.*?)</style>", content.decode(), re.S)
    assert style
    assert not re.search(r"url\(|@import", style[1])


def test_the_same_exhibits_give_the_same_bytes(shown, provenance, content) -> None:
    assert page(shown, provenance, PAPER) == content
    assert page(shown, provenance | {"seed": 1}, PAPER) != content


@pytest.mark.parametrize(("kind", "name"), [("exhibits", "one"), ("tables", "small"), ("figures", "usual")])
def test_two_things_of_one_name_are_refused(shown, provenance, kind: str, name: str) -> None:
    exhibit, exhibited = shown[0]
    if kind == "exhibits":
        twin = (exhibit, Exhibited())
    else:
        twin = (exhibit._replace(name="four"), Exhibited(**{kind: getattr(exhibited, kind)}))
    with pytest.raises(ValueError, match=f"two {kind} are named {name}"):
        page([*shown, twin], provenance)


def test_a_figure_keeps_its_proportions_and_only_a_wide_one_may_scroll(shown) -> None:
    narrow, wide = (picture(drawn) for drawn in shown[0][1].figures)
    assert narrow["width"] / narrow["height"] == pytest.approx(WIDTH / HEIGHT, rel=0.01)
    assert wide["width"] / narrow["width"] == pytest.approx(FULL / WIDTH, rel=0.01)
    assert wide["wide"]


def test_numbers_of_another_seed_have_a_source_of_their_own() -> None:
    one, other = traced("A", "1", "study run"), traced("B", "2", "study run")
    other = other._replace(source=replace(other.source, seed="4"))
    assert [len(numbers) for numbers in origins([one, other, one]).values()] == [2, 1]


def test_provenance_is_that_of_the_plan_and_names_no_machine(tmp_path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(PLAN)
    plan, panel = read_plan(path), paper_panel()
    made = provenance_of(plan, PLAN, [panel, panel])
    assert made["headline"] == "CS"
    assert made["panels"] == (("cvpr", panel.checksum),)
    assert made["seed"] == 3
    versions = dict(made["versions"])
    assert {"Python", "numpy", "scipy", "pandas", "scikit-learn", "doubleml"} <= set(versions)
    assert all(re.fullmatch(r"\d+(\.\w+)+", number) for number in versions.values())


def test_an_exhibit_of_which_nothing_could_be_made_says_so(shown, provenance):
    (exhibit, _), *_ = shown
    assert b"Not made: the plan has nothing" in page([(exhibit, Exhibited())], provenance)
    assert b"Not made" not in page(shown, provenance)


def test_without_a_paper_numbers_go_up_as_one_reads_though_the_plan_goes_back_to_a_section(provenance):
    tables = [Exhibited(tables=(table(name, 2, name),)) for name in "abc"]
    sections = [ONE, TWO, ONE]
    exhibits = [Exhibit(str(k), "X", section, None) for k, section in enumerate(sections)]
    shown = [*zip(exhibits, tables, strict=True)]
    made = page(shown, provenance).decode()
    assert page(shown, provenance, "A text that takes none of them in.").decode() == made
    assert re.findall(r"Table (\d) as", made) == ["1", "2", "3"]
