"""The committed paper is what the committed data give: `study run` from nothing, on the real plan."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys

import pytest
from browsers import NARROW, opened_page, seen_at
from plans import ROOT

from study.paper import numbers, record
from study.paper.plan import read_plan

LEARNED = ("dml_", "learner", "forest")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fresh")
    as_users_have_it = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from study.commands.cli import main; main()", "run"),
            *("--output", str(folder / "paper"), "--cache", str(folder / "cache")),
        ],
        cwd=ROOT,
        env=as_users_have_it,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "paper"


def test_a_fresh_run_agrees_with_the_recorded_estimates_cell_by_cell(fresh):
    recorded, made = (record.read_record(folder / "estimates.csv") for folder in (ROOT / "paper", fresh))
    assert [str(found) for found in record.differences(recorded, made)] == []


def test_a_fresh_run_writes_the_same_files(fresh):
    committed = {
        path.relative_to(ROOT / "paper")
        for folder in ("tables", "figures")
        for path in (ROOT / "paper" / folder).iterdir()
    }
    made = {
        path.relative_to(fresh) for folder in ("tables", "figures") for path in (fresh / folder).iterdir()
    }
    assert made == committed


def test_a_fresh_run_keeps_every_answer_and_exhibit_so_that_another_run_makes_none(fresh):
    plan = read_plan(ROOT / "paper" / "study.toml")
    kept = list((fresh.parent / "cache").glob("*.answer"))
    assert len(kept) == len(list(plan.tasks())) + len(plan.exhibits)


def test_a_fresh_run_prints_the_numbers_of_the_text_to_their_last_digit(fresh):
    """Numbers without learners; those with them may move with the processor, and are held by the record."""
    recorded, made = (numbers.read_sources(folder) for folder in (ROOT / "paper", fresh))
    assert made.keys() == recorded.keys()
    apart = {
        name: (traced.value, made[name].value)
        for name, traced in recorded.items()
        if not _alike(traced.value, made[name].value)
        and not any(word in f"{traced.source.design} {traced.source.options}" for word in LEARNED)
    }
    assert apart == {}
    sources = {name: traced.source for name, traced in recorded.items()}
    assert {name: traced.source for name, traced in made.items()} == sources


def _alike(one: str, other: str) -> bool:
    """Whether two numbers differ by no more than one in the last printed digit, or are the same text."""
    try:
        a, b = (float(text.replace("\N{MINUS SIGN}", "-").replace(",", "")) for text in (one, other))
    except ValueError:
        return one == other
    digits = len(one.partition(".")[2])
    return digits == len(other.partition(".")[2]) and abs(a - b) < 1.5 * 10**-digits


def test_the_report_page_is_written_beside_the_paper(fresh):
    page = (fresh / "report.html").read_text()
    plan = (ROOT / "paper/study.toml").read_text().splitlines()[0]
    assert plan in page
    for path in (fresh / "tables").glob("*.html"):
        assert f'id="tab-{path.stem}"' in page


def test_no_raw_name_of_a_column_or_design_is_on_the_report_page(fresh):
    page = re.sub(r"(?s)<(code|pre|script|style)\b.*?</\1>", " ", (fresh / "report.html").read_text())
    page += " ".join(re.findall(r'(?:alt|aria-label)="([^"]*)"', page))
    text = html.unescape(re.sub(r"<[^>]*>", " ", page))
    words = {*re.findall(r"(?<![\w/.:])[A-Za-z]\w*(?![\w/])", text)}
    assert {word for word in words if "_" in word or word in ("log1p", "twfe", "etwfe")} == set()


def test_the_report_page_opens_without_a_complaint_offline_and_on_a_phone(fresh, tmp_path):
    with opened_page(fresh / "report.html", tmp_path / "profile") as browser:
        assert browser.logged == []
        assert {url.split(":")[0] for url in browser.requested} <= {"file", "data"}
        loaded = browser.execute_script(
            "return [...document.querySelectorAll('.drawing img')]"
            ".map(image => image.complete && image.naturalWidth > 0)"
        )
        assert len(loaded) == len(list((fresh / "figures").glob("*.png")))
        assert all(loaded)
        seen_at(browser, NARROW)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= NARROW
