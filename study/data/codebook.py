"""The codebook, written from the catalogue of columns and the headings of the tables that ship."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study.core import DataError
from study.panel import Catalogue, Entry, Roles, panel_entries, read_catalogue

INTRODUCTION = """\
# Codebook

This file is written by `study assemble` from `columns.toml` and `panels.toml`; do not change it by hand.

CSV files are UTF-8 with commas, one heading and "\\n" at line ends, those with ".gz" compressed. A column without a
word under "empty" has no empty cell. Countries are ISO 3166 alpha-2 codes. `study validate FILE` prints every row
of a panel that breaks a rule."""


def codebook(
    panels_toml: Path, columns_toml: Path, headings: Mapping[str, Sequence[str]] | None = None
) -> str:
    """Return the codebook as Markdown.

    Parameters
    ----------
    panels_toml, columns_toml : Path
        How the panels are read, and what the columns mean.
    headings : mapping, optional
        Columns by path of a table below the data folder, for tables that are not written yet; those of the
        other tables are read from the folder of ``panels_toml``.

    Returns
    -------
    str
        First every column that means the same in all panels, then the panels with the roles of their
        columns, then the other tables with theirs.

    Raises
    ------
    DataError
        If a table of the catalogue is missing, or a column has no entry.
    """
    panels, catalogue = panel_entries(panels_toml), read_catalogue(columns_toml)
    files = dict.fromkeys(entry["file"] for entry in panels.values())
    others = [table for table in catalogue.tables if table not in files]
    heads = {
        table: (headings or {}).get(table) or heading(panels_toml.parent / table)
        for table in (*files, *others)
    }
    keys = [_shared(catalogue, file, column) for file in files for column in heads[file]]
    sections = [
        INTRODUCTION,
        "## Columns of the panels\n\nThey mean the same in all panels that have them.",
        _table({name: catalogue.columns[name] for name in keys if name}),
    ]
    for name, entry in panels.items():
        sections += _panel(catalogue, name, entry, heads[entry["file"]])
    for table in others:
        entries = {column: catalogue.entry(table, column) for column in heads[table]}
        sections += [f"## {table}", catalogue.rows(table), _table(entries)]
    return "\n\n".join(sections) + "\n"


def heading(path: Path) -> list[str]:
    """Return the columns of a CSV file, plain or ``.gz``.

    Raises
    ------
    DataError
        If there is no such file.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such file, but the catalogue of columns has it.")
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8", newline="") as stream:
        return next(csv.reader(stream), [])


def _shared(catalogue: Catalogue, table: str, column: str) -> str | None:
    key = catalogue.key(table, column)
    return None if table in catalogue.tables and key in catalogue.tables[table].columns else key


def _panel(catalogue: Catalogue, name: str, entry: Mapping[str, Any], columns: Sequence[str]) -> list[str]:
    roles, file = Roles.of_entry(entry), entry["file"]
    by_role: dict[str, list[str]] = {}
    for column in columns:
        by_role.setdefault(roles.role(column) or "not read", []).append(f"`{column}`")
    listed = "\n".join(f"- {role}: {', '.join(names)}" for role, names in by_role.items())
    sections = [f"## {file}", f"Panel `{name}`. {catalogue.rows(file)}", listed]
    if own := {c: catalogue.entry(file, c) for c in columns if _shared(catalogue, file, c) is None}:
        sections += ["Columns with a meaning of their own in this panel:", _table(own)]
    if populations := entry.get("populations"):
        rules = "\n".join(f"- `{key}`: `{rule}`" for key, rule in populations.items())
        sections += ["Populations by name, for `Question.population`:", rules]
    return sections


def _table(entries: Mapping[str, Entry]) -> str:
    rows = ["| column | meaning | type | unit | rules | empty | source |", "| --- " * 7 + "|"]
    for name, entry in entries.items():
        rules = "; ".join(entry.rule_texts)
        cells = (f"`{name}`", entry.meaning, entry.type, entry.unit, rules, entry.empty, entry.source)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
