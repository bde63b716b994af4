"""Every number of the paper's text is cited by its address, and every address can be traced to its source."""

from __future__ import annotations

import re
import shlex
from functools import cache

import pandas as pd
import pytest
import typer.main
from command_line import command
from plans import ROOT
from typer.testing import CliRunner

from study import panel as panels
from study.commands.cli import app
from study.core import fits_of, settings
from study.core.errors import DataError, QuestionError
from study.designs import Design
from study.estimates import Estimate
from study.panel import Sample
from study.paper import numbers, read_plan
from study.paper import run as running
from study.paper.exhibits.exhibit import Source, Traced

PAPER = ROOT / "paper"
TEXTS = [PAPER / name for name in ("main.tex", "appendix.tex")]


def used() -> set[str]:
    return {at for text in TEXTS for at in re.findall(r"\\result\{([^}]*)\}", text.read_text())}


def test_the_results_that_are_written_are_those_that_the_texts_cite():
    traced = numbers.read_sources(PAPER)
    assert len(used()) > 100
    texts = [*TEXTS, ROOT / "README.md", ROOT / "REPLICATION.md"]
    assert set(numbers.cited_in(texts)) == traced.keys()
    assert running.cited(read_plan(PAPER / "study.toml"), PAPER) == numbers.cited_in(texts)
    assert numbers.numbers_file(traced.values()).decode() == (PAPER / "numbers.tex").read_text()


def test_a_negative_number_keeps_its_sign_in_a_text_that_declares_none():
    one = next(iter(numbers.read_sources(PAPER).values()))
    written = numbers.numbers_file([one._replace(value="\N{MINUS SIGN}0.778")]).decode()
    assert r"\endcsname{\ensuremath{-}0.778}" in written
    assert written.isascii()


def test_every_number_of_the_text_says_where_it_comes_from():
    traced = numbers.read_sources(PAPER)
    commands = command("--help", cwd=ROOT).stdout
    for name in used():
        source = traced[name].source
        assert source.quantity, name
        assert source.data, name
        assert re.fullmatch(r"[0-9a-f]{16}", source.checksum), name
        assert re.search(rf"│ {source.command.split()[1]}\b", commands), name
        if (
            source.exhibit not in ("plan", "facts", "sample", "raw_means", "timing", "machines", "gpu_stock")
            and source.command != "study data audit"
        ):
            assert source.question, name
            assert source.design, name


def test_a_headline_number_is_the_recorded_estimate():
    table = pd.read_csv(PAPER / "estimates.csv")
    traced = numbers.read_sources(PAPER)["main/papers/log1p/headline/estimate"]
    row = table[
        (table.event == "first_gpu_system")
        & (table.outcome == "papers")
        & (table.scale == "log1p")
        & (table.label == traced.source.design.rsplit(" (", 1)[0])
        & (table.term == "event_average")
    ].iloc[0]
    assert traced.value == f"{row.estimate:.3f}".replace("-", "\N{MINUS SIGN}")
    assert traced.source.checksum == row.panel_checksum
    assert traced.source.seed == str(row.seed)


def test_study_trace_prints_the_source_line_by_line():
    done = command("trace", r"\result{main/papers/proportional/headline/estimate}", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for label in ("Question", "Design", "Options", "Checksum", "Seed", "Command"):
        assert re.search(rf"^  {label}: \S", done.stdout, re.M), label
    assert "event=first_gpu_system" in done.stdout


def test_study_trace_without_an_address_prints_each_sentence_with_its_numbers():
    done = command("trace", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for name in used():
        assert re.search(rf"^    \S.*  {re.escape(name)}  \(\w+\)$", done.stdout, re.M), name
    for text in TEXTS:
        first = re.search(rf"^{text.name}, line (\d+): \S", done.stdout, re.M)
        assert r"\result" in "\n".join(text.read_text().splitlines()[int(first[1]) - 1 :][:9])
    assert r"\result" not in done.stdout


def shown(text: str) -> list[float]:
    return [
        float(x.replace("\N{MINUS SIGN}", "-"))
        for x in re.findall(r"[\N{MINUS SIGN}-]?\d[\d,]*(?:\.\d+)?", text.replace(",", ""))
    ]


def commands(prefix: str) -> dict[str, list[Traced]]:
    """Return the commands that numbers of the text are shown by, each with its numbers."""
    traced, told = numbers.read_sources(PAPER), {}
    for name in sorted(used()):
        if traced[name].source.command.startswith(prefix):
            told.setdefault(traced[name].source.command, []).append(traced[name])
    return told


# Forty commands are of the same few panels and of some questions that others ask too: each is read, and answered, once.
# So are the options of all commands, which each call makes anew.
read_once, made_once = cache(panels.load_panel), cache(typer.main.get_command)
answer = Design.__call__
ANSWERS: dict[object, Estimate] = {}


def answered_once(design: Design, sample: Sample, **given: object) -> Estimate:
    key = (design.name, sample.question, sample.panel, str(sorted(given.items())))
    if key not in ANSWERS:
        ANSWERS[key] = answer(design, sample, **given)
    return ANSWERS[key]


# Processes change no number, and each loads all libraries once more.
IN_ONE_PROCESS = {name: ["--jobs", "1"] for name in ("study table", "study estimate", "study run --only")}


@pytest.mark.parametrize("prefix", ["study estimate", "study table", "study data audit", "study run --only"])
def test_a_command_shows_the_numbers_that_it_is_said_to_show(prefix, monkeypatch):
    for module in (panels, running):
        monkeypatch.setattr(module, "load_panel", read_once)
    monkeypatch.setattr(Design, "__call__", answered_once)
    monkeypatch.setattr("typer.testing._get_command", made_once)
    told = commands(prefix)
    assert told
    for typed, traced in told.items():
        with settings(cache=fits_of(PAPER / "study.toml", None)):  # where `study table` keeps what is learnt
            done = CliRunner().invoke(app, [*shlex.split(typed)[1:], *IN_ONE_PROCESS.get(prefix, [])])
        assert done.exit_code == 0, done.output
        found = shown(done.output)
        for number in traced:
            if number.value.startswith("below"):
                continue
            value, digits = (
                float(number.value.replace("\N{MINUS SIGN}", "-").replace(",", "")),
                len(number.value.partition(".")[2]),
            )
            scales = (1, 100) if "percent" in number.source.quantity else (1,)
            # Commands print four decimals, which are rounded once more here.
            close = [abs(scale * x - value) <= 0.6 * 10**-digits for x in found for scale in scales]
            assert any(close), (number.address, number.value, typed)


def test_an_unknown_number_or_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(QuestionError, match='there is no cited result "main/papers/log1p/headline/estimat"'):
        numbers.find(numbers.read_sources(PAPER), "main/papers/log1p/headline/estimat")
    with pytest.raises(QuestionError, match=r"no text beside the plan cites one; cite it in main\.tex"):
        numbers.find({}, "main/papers/log1p/headline/estimate")
    with pytest.raises(DataError, match="write them with `study run`"):
        numbers.read_sources(tmp_path)
    (tmp_path / numbers.FILE).write_text("address,value\na,b\n")
    with pytest.raises(DataError, match="column exhibit is missing"):
        numbers.read_sources(tmp_path)


def test_two_numbers_of_one_address_and_what_is_no_address_are_refused():
    source = Source("x", "a number", "panel", "0", "study run")
    one = Traced("a/b", "-1.5", source)
    assert numbers.select([one], ["a/b"])["a/b"].value == "\N{MINUS SIGN}1.5"
    assert numbers.select([one], []) == {}
    with pytest.raises(ValueError, match="a/b is made twice"):
        numbers.select([one, one], [])
    for at in ("One", "a", "a/B", "a//b", "a/b c"):
        with pytest.raises(ValueError, match="its address is none"):
            numbers.select([one._replace(address=at)], [])


def test_a_text_that_cites_what_there_is_not_is_told_where_and_what_is_near(tmp_path):
    text = tmp_path / "main.tex"
    text.write_text("Papers rose\nby \\result{main/papers/log1p/headline/estimat}\\%.\n")
    cited = numbers.cited_in([text])
    said = numbers.missing(cited, ["main/papers/log1p/headline/estimate", "plan/level"])
    assert said == [
        "main.tex, line 2: there is no result main/papers/log1p/headline/estimat; near are "
        "main/papers/log1p/headline/estimate, plan/level."
    ]
    assert numbers.missing(cited, ["main/papers/log1p/headline/estimat"]) == []
    with pytest.raises(DataError, match="there is no such text"):
        numbers.cited_in([tmp_path / "other.md"])
    with pytest.raises(DataError, match=r"cited in \.tex and \.md files"):
        numbers.cited_in([tmp_path / "main.docx"])
