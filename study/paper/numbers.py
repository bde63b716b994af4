"""The numbers that texts cite by address, ``\\result{...}``, with a table of where each comes from."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from study.core import DataError, unknown
from study.paper.exhibits.exhibit import Source, Traced
from study.paper.record import csv_file, read_texts
from study.report import escape, render

FILE = "numbers.csv"
NEAREST = 3
COLUMNS = ["address", "value", *(field.name for field in fields(Source))]
WRAP = textwrap.TextWrapper(100, "  ", "    ", break_long_words=False, break_on_hyphens=False)
# How a text cites a result: in LaTeX by a command, in Markdown by a comment before the number.
CITED = {".tex": r"\\result\{([^{}]+)\}", ".md": r"<!--([\w./-]+)-->"}
# What the parts of a source are called, in the order in which they are shown.
LABELS = {"quantity": "What it is", "exhibit": "Made by the exhibit"}
LABELS |= {
    name: name.capitalize()
    for name in ("question", "design", "options", "data", "checksum", "seed", "command")
}


def cited_in(texts: Iterable[Path]) -> dict[str, str]:
    """Return the addresses that texts cite, each with the file and line that do so first.

    Raises
    ------
    DataError
        If a text is missing, or is neither LaTeX nor Markdown.
    """
    places: dict[str, str] = {}
    for path in texts:
        if path.suffix not in CITED:
            raise DataError(
                f"{path}: results are cited in {' and '.join(CITED)} files; leave it out of texts."
            )
        if not path.is_file():
            raise DataError(f"{path}: there is no such text; take it out of texts in study.toml.")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for at in re.findall(CITED[path.suffix], line):
                places.setdefault(at, f"{path.name}, line {number}")
    return places


def select(numbers: Iterable[Traced], cited: Collection[str]) -> dict[str, Traced]:
    """Return the numbers that are cited, by address.

    Raises
    ------
    ValueError
        If two numbers have one address, or one has an address that is none.
    """
    seen: set[str] = set()
    chosen: dict[str, Traced] = {}
    for traced in numbers:
        if traced.address in seen or not re.fullmatch(r"[a-z0-9_.-]+(/[a-z0-9_.-]+)+", traced.address):
            raise ValueError(f"The number {traced.address} is made twice, or its address is none.")
        seen.add(traced.address)
        if traced.address in cited:
            value = re.sub(r"^-(?=\d)", "\N{MINUS SIGN}", traced.value)
            chosen[traced.address] = traced._replace(value=value)
    return {at: chosen[at] for at in sorted(chosen)}


def missing(cited: Mapping[str, str], known: Sequence[str]) -> list[str]:
    """Say which cited addresses no result has, where they are cited, and which ones are near."""
    return [
        f"{place}: there is no result {at}; near are {', '.join(_nearest(at, known, NEAREST)) or 'none'}."
        for at, place in cited.items()
        if at not in known
    ]


def _nearest(at: str, known: Collection[str], most: int) -> list[str]:
    from rapidfuzz import process

    return [match for match, *_ in process.extract(at, known, limit=most)]


def numbers_file(numbers: Iterable[Traced]) -> bytes:
    """Return the numbers as LaTeX, for the command that cites them."""
    return render("numbers.tex", values={traced.address: escape(traced.value) for traced in numbers})


def sources_file(numbers: Iterable[Traced]) -> bytes:
    """Return a CSV file of numbers with their sources."""
    rows = [[traced.address, traced.value, *asdict(traced.source).values()] for traced in numbers]
    return csv_file(pd.DataFrame(rows, columns=COLUMNS))


def read_sources(folder: Path) -> dict[str, Traced]:
    """Return the numbers of a paper by address.

    Raises
    ------
    DataError
        If the file is missing, cannot be read or lacks a column.
    """
    table = read_texts(folder / FILE, COLUMNS, "there are no numbers to trace; write them", "numbers")
    return {at: Traced(at, value, Source(*source)) for at, value, *source in table.itertuples(index=False)}


def find(numbers: Mapping[str, Traced], at: str) -> Traced:
    r"""Return a number by its address, bare or as a text cites it, ``\result{...}``.

    Raises
    ------
    QuestionError
        If no text cites it; the error names the nearest ones that are cited.
    """
    bare = re.sub(r"^\\result\{(.*)\}$", r"\1", at)
    if bare not in numbers:
        raise unknown("cited result", at, _nearest(bare, list(numbers), 5), "study trace")
    return numbers[bare]


def traced_text(traced: Traced) -> str:
    """Return a number and its source as text for a terminal, a line for each part of it."""
    parts = {label: getattr(traced.source, name) for name, label in LABELS.items()}
    lines = [WRAP.fill(f"{label}: {text}") for label, text in parts.items() if text]
    return "\n".join([f"{traced.address} is printed as {traced.value}", *lines])
