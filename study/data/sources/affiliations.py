"""NeurIPS 2019-20 and ICLR 2018-19 as others copied their lists of papers, in the columns of ``paperlists``."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pandas as pd

from study.data.sources import FILLED, Fetcher, content_of, csv_rows, damaged, json_file, only_one, text_of
from study.data.sources.paperlists import COLUMNS

ADDRESS = "https://raw.githubusercontent.com"
# Of several conferences, a row an author.
TABLE = ("raw_icml_nips_iclr_2019_martenlienen.csv", "martenlienen/icml-nips-iclr-dataset/9752e17/papers.csv")
# The file of each edition, and where it is from.
FILES = {
    ("nips", 2019): (
        "raw_neurips2019_dcharrezt.txt",
        "dcharrezt/NeurIPS-2019-Stats/ad78a71/data/raw_data.txt",
    ),
    ("nips", 2020): (
        "raw_neurips2020_mzolfaghari.json",
        "mzolfaghari/NeurIPS-2020-Paper-Statistics/bad9cb3/data/neurips2020.json",
    ),
    ("iclr", 2018): TABLE,
    ("iclr", 2019): TABLE,
}
SHA256 = {
    "raw_icml_nips_iclr_2019_martenlienen.csv": "e38c1a0047705752f3b515fa3bc9bd29724d5a2bb827bd845f5d44b53bbcc81e",
    "raw_neurips2019_dcharrezt.txt": "d0636886abf99d61646ea5a65690997f9aff7c6f880f6615cbd6a0a603cab96b",
    "raw_neurips2020_mzolfaghari.json": "e2a2491c8d87f64eb4862ad2042bc8c58e2787a5895939b529d93d459564a992",
}
# An edition has as many papers or more; a file with fewer is cut off (lists by line have no other end).
FEWEST = {("nips", 2019): 1_400, ("nips", 2020): 1_400, ("iclr", 2018): 336, ("iclr", 2019): 501}

_PAPER = re.compile(r"<p><b>(.+)</b><br><i>(.+)</i></p>")
_AUTHOR = re.compile(r"(.*?) \((.*)\)")


def fetch(raw: Path, fetcher: Fetcher) -> list[Path]:
    """Download all files into ``raw/affiliations``, but for those that are there.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    """
    into, files = raw / "affiliations", dict.fromkeys(FILES.values())
    return [fetcher.download(f"{ADDRESS}/{place}", into / name, sha256=SHA256[name]) for name, place in files]


def read(folder: Path) -> pd.DataFrame:
    """Read all editions.

    Returns
    -------
    DataFrame
        One row a paper with the columns of ``paperlists.read`` (track is "main"); authors and
        affiliations are parted by ";", several of one author by "+".

    Raises
    ------
    DataError
        If a file is missing, cut off or of another layout.
    """
    rows = []
    for (venue, year), (name, _) in FILES.items():
        path = only_one(folder, name)
        list_of = {2019: _of_2019, 2020: _of_2020}
        papers = list(list_of[year](path) if venue == "nips" else _by_author(path, venue, year))
        if len(papers) < (fewest := FEWEST[venue, year]):
            fault = f"{len(papers)} papers of {venue} {year}, at least {fewest} are expected in a whole file"
            raise damaged(path.name, fault)
        seen: dict[tuple[str, str], int] = {}
        for row, (title, authors) in enumerate(papers, start=1):
            names = ";".join(author for author, _ in authors)
            if (first := seen.setdefault((title, names), row)) != row:
                raise damaged(f"{path.name}, record {row}", f"this paper is also record {first}")
            signed = ";".join("+".join(each) for _, each in authors)
            rows.append((venue, year, row, title, names, signed, "", "main", "Accept"))
    return pd.DataFrame(rows, columns=COLUMNS)


Paper = tuple[str, list[tuple[str, list[str]]]]


def _of_2019(path: Path) -> Iterator[Paper]:
    """Yield title and authors of each line of the list."""
    for line, paper in enumerate(text_of(content_of(path), path.name).splitlines(), start=1):
        match = _PAPER.fullmatch(paper.strip())
        if match is None:
            raise damaged(f"{path.name}, line {line}", "no title with its authors")
        authors = []
        for author in match[2].split(" &middot; "):
            signed = _AUTHOR.fullmatch(author)
            name, affiliation = signed.groups() if signed else (author, "")
            # Several affiliations of one author are parted by slashes with spaces.
            authors.append((_plain(name), [_plain(each) for each in affiliation.split(" / ") if each]))
        yield _plain(match[1]), authors


def _of_2020(path: Path) -> Iterator[Paper]:
    """Yield title and authors of each paper of the JSON."""
    papers = json_file(path)
    if not isinstance(papers, dict):
        raise damaged(path.name, "holds no papers by title")
    for row, (title, paper) in enumerate(papers.items(), start=1):
        try:
            authors = [(_plain(name), list(map(_plain, each))) for name, each in paper["authors"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise damaged(f"{path.name}, record {row}", f"no authors with affiliations ({error})") from None
        yield _plain(title), authors


def _by_author(path: Path, venue: str, year: int) -> Iterator[Paper]:
    """Yield title and authors of each paper of an edition, whose authors stand below each other."""
    columns = ("Conference", "Year", "Title", "Author", "Affiliation")
    rules = {"Title": FILLED, "Year": (re.compile(r"\d{4}"), "a year")}
    rows = [row for _, row in csv_rows(path, columns, rules=rules)]
    edition = (row for row in rows if (row["Conference"], row["Year"]) == (venue.upper(), str(year)))
    for title, authors in groupby(edition, itemgetter("Title")):
        signed = [(row["Author"], row["Affiliation"]) for row in authors]
        # "None" is written where an author named no affiliation.
        yield _plain(title), [(_plain(name), [_plain(aff)] if aff != "None" else []) for name, aff in signed]


def _plain(text: str) -> str:
    """Return a text without the marks that part authors and affiliations."""
    return re.sub(r"[;+]", ",", html.unescape(text)).strip()
