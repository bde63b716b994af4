"""Every number of the paper's text as a LaTeX macro, with a table of where each comes from."""

from __future__ import annotations

import csv
import re
import textwrap
from collections.abc import Iterable
from dataclasses import asdict, fields
from io import StringIO
from pathlib import Path

from study.core import DataError, unknown
from study.paper.exhibits.exhibit import Exhibited, Source, Traced
from study.report import escape, render

FILE = "numbers.csv"
LABELS = {
    "quantity": "What it is",
    "exhibit": "Made by the exhibit",
    "question": "Question",
    "design": "Design",
    "options": "Options",
    "data": "Data",
    "checksum": "Checksum",
    "seed": "Seed",
    "command": "Command",
}


def collected(exhibited: Iterable[Exhibited]) -> tuple[Traced, ...]:
    """Return the numbers of all exhibits.

    Raises
    ------
    ValueError
        If two have one name, or a name that LaTeX does not take.
    """
    numbers: dict[str, Traced] = {}
    for shown in exhibited:
        for traced in shown.numbers:
            if traced.name in numbers or not (traced.name.isascii() and traced.name.isalpha()):
                raise ValueError(
                    f"The number {traced.name} is made twice, or its name is not of letters only."
                )
            numbers[traced.name] = traced._replace(value=re.sub(r"^-(?=\d)", "\N{MINUS SIGN}", traced.value))
    return tuple(numbers.values())


def numbers_file(numbers: Iterable[Traced]) -> bytes:
    """Return the numbers as LaTeX macros."""
    return render("numbers.tex", macros={traced.name: escape(traced.value) for traced in numbers})


def sources_file(numbers: Iterable[Traced]) -> bytes:
    """Return a CSV file of all numbers with their sources."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["name", "value", *(field.name for field in fields(Source))])
    for traced in numbers:
        writer.writerow([traced.name, traced.value, *asdict(traced.source).values()])
    return text.getvalue().encode()


def read_sources(folder: Path) -> dict[str, Traced]:
    """Return the numbers of a paper by name.

    Raises
    ------
    DataError
        If the file is missing or lacks a column.
    """
    path = folder / FILE
    if not path.is_file():
        raise DataError(f"{path}: there are no numbers to trace; write them with `study run`.")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = ["name", "value", *(field.name for field in fields(Source))]
    missing = [column for column in wanted if not rows or column not in rows[0]]
    if missing:
        raise DataError(f"{path}: column {missing[0]} is missing; write the numbers anew with `study run`.")
    return {
        row["name"]: Traced(
            row["name"], row["value"], Source(**{f.name: row[f.name] for f in fields(Source)})
        )
        for row in rows
    }


def find(numbers: dict[str, Traced], name: str) -> Traced:
    """Return a number by its macro's name, with or without the backslash and braces.

    Raises
    ------
    QuestionError
        If there is none; the error names the nearest ones.
    """
    bare = name.strip("\\{}")
    if bare not in numbers:
        from rapidfuzz import process

        near = [match for match, *_ in process.extract(bare, list(numbers), limit=5)]
        raise unknown("number", name, near, "study trace")
    return numbers[bare]


def traced_text(traced: Traced) -> str:
    """Return a number and its source as text for a terminal, a line for each part of it."""
    lines = [f"\\{traced.name} is printed as {traced.value}"]
    for name, label in LABELS.items():
        value = getattr(traced.source, name)
        if value:
            lines.append(
                textwrap.fill(
                    f"{label}: {value}",
                    100,
                    initial_indent="  ",
                    subsequent_indent="    ",
                    break_long_words=False,
                    break_on_hyphens=False,
                )
            )
    return "\n".join(lines)
