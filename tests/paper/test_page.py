"""The report page as a reader gets it: opened in a headless Chromium that can reach nothing."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from browsers import NARROW, WIDE, opened_page, seen_at
from plans import PLAN

from study.figures import FULL, HEIGHT, WIDTH, canvas
from study.panel.panel import load_panel
from study.paper.exhibits.exhibit import Exhibit, Exhibited, Source, Traced, draw
from study.paper.page import anchor, origins, page, picture, provenance_of
from study.paper.plan import read_plan
from study.report.table import MINUS, Block, Line, Number, Table, error


def hostile(place: str) -> str:
    """Return a text that a page which does not escape it would run, load or fill in."""
    return f'<script>alert("{place}")</script> & <img src="https://example.org/{place}.png"> \\VAR{{7*7}}'


PLACES = re.findall(
    r"\w+",
    "title summary plan headline panel package section exhibit verdict sentence caption heading span block label cell "
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
        (Exhibit("three", "Who gains", ONE, unused), Exhibited(sentences=("Nobody can be told apart.",))),
    ]


@pytest.fixture(scope="module")
def provenance() -> dict[str, object]:
    return dict(
        title=hostile("title"),
        summary=("No effect is seen.", hostile("summary")),
        plan=f"headline = 1 # {hostile('plan')}\n" + "x" * 300,
        headline=hostile("headline"),
        panels=(("cvpr", "c07b1147d27cad01"), (hostile("panel"), "00112233445566aa")),
        seed=2401,
        package="0.1.0",
        versions=(("Python", "3.11.7"), (hostile("package"), "2.4.6")),
    )


@pytest.fixture(scope="module")
def content(shown, provenance) -> bytes:
    return page(shown, provenance)


@pytest.fixture(scope="module")
def browser(content, tmp_path_factory):
    """Give the page in Chromium, with all that the browser logged while it loaded."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "report.html").write_bytes(content)
    with opened_page(folder / "report.html", folder / "profile") as driver:
        yield driver


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
        "return [...document.images].map(i => ({loaded: i.complete && i.naturalWidth > 0, alt: i.alt,"
        " natural: i.naturalWidth / i.naturalHeight, box: i.clientWidth / i.clientHeight,"
        " caption: i.closest('figure').querySelector('figcaption').textContent}))"
    )
    figures = [drawn for _, exhibited in shown for drawn in exhibited.figures]
    assert [image["alt"] for image in images] == [drawn.alternative for drawn in figures]
    assert [image["caption"] for image in images] == [drawn.caption for drawn in figures]
    assert all(image["loaded"] for image in images)
    for image in images:
        assert image["box"] == pytest.approx(image["natural"], rel=0.01)


@pytest.mark.parametrize("opened", [False, True])
@pytest.mark.parametrize("width", [NARROW, 700, WIDE])
def test_the_page_never_scrolls_sideways(browser, width: int, opened: bool) -> None:
    seen_at(browser, width)
    try:
        browser.execute_script(
            "for (const d of document.querySelectorAll('details')) d.open = arguments[0]", opened
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
        browser.execute_script("for (const d of document.querySelectorAll('details')) d.open = false")
        seen_at(browser, WIDE)


def test_every_table_stands_with_its_caption_cells_and_notes(browser, shown) -> None:
    found = browser.execute_script(
        "return [...document.querySelectorAll('figure.table')].map(f => ({id: f.id,"
        " caption: f.querySelector('figcaption').textContent,"
        " named: document.getElementById(f.querySelector('table').getAttribute('aria-labelledby')).textContent,"
        " notes: f.querySelector('.notes').textContent,"
        " rows: [...f.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent))}))"
    )
    tables = [made for _, exhibited in _in_page_order(shown) for made in exhibited.tables]
    assert [made["id"] for made in found] == [f"tab-{made.name}" for made in tables]
    for made, expected in zip(found, tables, strict=True):
        assert made["caption"] == made["named"] == expected.caption
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
    return [pair for section in (ONE, TWO) for pair in shown if pair[0].section == section]


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
    assert levels.count(3) == 3


def test_every_link_leads_to_one_place_and_every_exhibit_is_in_the_contents(browser) -> None:
    links = browser.execute_script(
        "return [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
    )
    assert all(link.startswith("#") for link in links)
    ids = browser.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in links} <= set(ids)
    contents = browser.execute_script(
        "return [...document.querySelectorAll('nav a')].map(a => [a.getAttribute('href'), a.textContent])"
    )
    assert contents == [
        ["#findings", "What each exhibit says"],
        [f"#{anchor(ONE)}", ONE],
        ["#exhibit-one", "Every design"],
        ["#exhibit-three", "Who gains"],
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
const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
for (const d of document.querySelectorAll('details')) d.open = true;
const found = [...document.body.querySelectorAll('*')].filter(own).map(e => {
  const a = light(parts(getComputedStyle(e).color)), b = light(behind(e));
  return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), e.tagName + ' ' + e.className];
});
for (const d of document.querySelectorAll('details')) d.open = false;
return found;
"""


def test_all_text_has_contrast_enough(browser) -> None:
    found = browser.execute_script(CONTRAST)
    assert {"P notes", "TD number", "FIGCAPTION ", "A ", "SUMMARY ", "PRE "} <= {what for _, what in found}
    assert [(ratio, what) for ratio, what in found if ratio < 4.5] == []


@pytest.mark.parametrize("place", PLACES)
def test_text_that_looks_like_html_or_a_template_appears_as_it_is(browser, place: str) -> None:
    assert hostile(place) in browser.execute_script("return document.documentElement.textContent")


def test_no_text_becomes_a_script_or_an_image(browser, shown) -> None:
    counted = browser.execute_script("return [document.scripts.length, document.images.length]")
    assert counted == [0, sum(len(exhibited.figures) for _, exhibited in shown)]


def test_numbers_stand_closed_with_their_sources_once_for_all_that_share_them(browser, content) -> None:
    rows = browser.execute_script(
        "return [...document.querySelectorAll('details.numbers tbody tr')]"
        ".map(r => [...r.cells].map(c => c.textContent.trim()))"
    )
    assert re.findall(rb"<details[^>]*>", content) == [b'<details class="numbers">'] * 2 + [b"<details>"], (
        "none is open"
    )
    source = "Question: {} Data: cvpr Checksum: abc123 Seed: 3 Command: {}"
    assert rows == [
        [source.format("event=x", "study run")],
        ["Alpha", "what Alpha is", "0.1%"],
        ["Gamma", "what Gamma is", "7"],
        [source.format(hostile("question"), hostile("command"))],
        [hostile("name"), hostile("quantity"), hostile("value")],
        [source.format("event=x", "study run")],
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
    try:
        hidden, overflow = browser.execute_script(
            "const of = (s, k) => getComputedStyle(document.querySelector(s))[k];"
            "return [of('nav', 'display'), of('.scroll', 'overflowX')]"
        )
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
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
    assert len(parser.found) == 3
    assert all(source.startswith("data:") for source in parser.found)
    style = re.search(r"<style>(.*?)</style>", content.decode(), re.S)
    assert style
    assert not re.search(r"url\(|@import", style[1])


def test_the_same_exhibits_give_the_same_bytes(shown, provenance, content) -> None:
    assert page(shown, provenance) == content
    assert page(shown, provenance | {"seed": 1}) != content


@pytest.mark.parametrize(("kind", "name"), [("exhibits", "one"), ("tables", "small"), ("figures", "usual")])
def test_two_things_of_one_name_are_refused(shown, provenance, kind: str, name: str) -> None:
    exhibit, exhibited = shown[0]
    if kind == "exhibits":
        twin = (exhibit, Exhibited())
    else:
        twin = (exhibit._replace(name="four"), Exhibited(**{kind: getattr(exhibited, kind)}))
    with pytest.raises(ValueError, match=f"two {kind} are named {name}"):
        page([*shown, twin], provenance)


def test_a_figure_keeps_its_proportions_and_only_a_wide_one_may_scroll() -> None:
    narrow, wide = picture(figure("usual", WIDTH)), picture(figure("whole", FULL))
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
    plan, panel = read_plan(path), load_panel("cvpr")
    made = provenance_of(["One."], plan, PLAN, [panel, panel])
    assert made["headline"] == "CS (callaway_santanna)"
    assert made["panels"] == (("cvpr", panel.checksum),)
    assert made["seed"] == 3
    versions = dict(made["versions"])
    assert {"Python", "numpy", "scipy", "pandas", "scikit-learn", "doubleml"} <= set(versions)
    assert all(re.fullmatch(r"\d+(\.\w+)+", number) for number in versions.values())


def test_an_exhibit_of_which_nothing_could_be_made_says_so(shown, provenance):
    (exhibit, _), *_ = shown
    assert b"Not made: the plan has nothing" in page([(exhibit, Exhibited())], provenance)
    assert b"Not made" not in page(shown, provenance)
