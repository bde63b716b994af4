"""Where the files that ship with the package are: beside it in a checkout, inside it in a wheel."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

Entries = Mapping[str, Mapping[str, Any]]

PANELS = "panels.toml"
_PACKAGE = Path(__file__).parents[1]


def shipped(*parts: str) -> Path:
    """Return the path of a shipped file or folder, for example ``shipped("data", "panels", "cvpr.csv")``."""
    inside = _PACKAGE / "_shipped"
    return (inside if inside.is_dir() else _PACKAGE.parent).joinpath(*parts)


def checksum(*parts: str) -> str:
    """Return the first 16 hexadecimal digits of a shipped file's SHA-256."""
    return hashlib.sha256(shipped(*parts).read_bytes()).hexdigest()[:16]


def panel_entries(path: Path | None = None) -> Entries:
    """Return how the columns of each shipped panel are read, by name, from ``data/panels.toml`` or another such file.

    A table may be ``like`` another one, whose keys it takes over and may replace; a table without a file is
    only there for that.
    """
    return _entries((path or shipped("data", PANELS)).read_text(encoding="utf-8"))


@cache
def _entries(text: str) -> Entries:
    """Return how the columns of each panel are read, which cannot be changed: each cited number asks what ships."""
    tables = tomllib.loads(text)

    def entry(table: dict[str, Any]) -> dict[str, Any]:
        model = entry(tables[table["like"]]) if "like" in table else {}
        own = {key: value for key, value in table.items() if key != "like"}
        populations = {**model.get("populations", {}), **own.get("populations", {})}
        return {**model, **own, **({"populations": populations} if populations else {})}

    ships = {name: entry(table) for name, table in tables.items() if "file" in table}
    return MappingProxyType({name: MappingProxyType(table) for name, table in ships.items()})
