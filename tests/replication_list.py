"""The list of exhibits and programs of REPLICATION.md: what it says of each exhibit."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from plans import ROOT

from study.paper.page import numbered

DOCUMENTS = [ROOT / "paper/main.tex", ROOT / "paper/appendix.tex"]


class Row(NamedTuple):
    """A row of the list: what it calls its tables and figures, what they are, the exhibit's name and its files."""

    called: str
    what: str
    exhibit: str
    files: set[Path]

    def names(self, kind: str) -> set[str]:
        """Return the names of its tables or figures."""
        return {path.stem for path in self.files if path.parent.name == f"{kind.lower()}s"}


def rows() -> list[Row]:
    """Return the rows that are about exhibits."""
    text = (ROOT / "REPLICATION.md").read_text()
    found = re.findall(
        r"^\| (?:((?:Tables?|Figures?) [^:|]*): )?([^|]*) \| `study/paper/exhibits/(\w+)\.py` \| ([^|]*) \|",
        text,
        re.M,
    )
    return [
        Row(
            called,
            what,
            exhibit,
            {path for each in re.findall("`([^`]*)`", files) for path in ROOT.glob(each)},
        )
        for called, what, exhibit, files in found
    ]


def numbers(kind: str, names: set[str]) -> dict[str, str]:
    """Return the numbers of tables or figures in the paper and its appendix, of those that are in one: "A3"."""
    texts = "\n".join(path.read_text() for path in DOCUMENTS)
    called = {name: number.split()[1] for name, number in numbered(kind, sorted(names), texts).items()}
    return {name: number for name, number in called.items() if not number.startswith("R")}


def listing(tables: list[str], figures: list[str]) -> str:
    """Return numbers as a row begins with them: Tables 1, A3-A5, Figure A2."""
    parts = []
    for kind, called in (("Table", tables), ("Figure", figures)):
        split = sorted((re.sub(r"\d", "", each), int(re.sub(r"\D", "", each))) for each in called)
        runs = [
            [f"{prefix}{number}" for _, (prefix, number) in run]
            for _, run in groupby(enumerate(split), lambda at: (at[1][0], at[1][1] - at[0]))
        ]
        said = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(run) for run in runs]
        parts += [f"{kind}{'s' * (len(called) > 1)} {', '.join(said)}"] if called else []
    return ", ".join(parts)
