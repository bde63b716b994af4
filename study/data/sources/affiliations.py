"""NeurIPS 2019 and 2020 as others copied its lists of papers, in the columns of ``paperlists``, which lacks them."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from study.data.sources import Fetcher, Progress, content_of, damaged, is_page, json_value, only_one, silent
from study.data.sources.paperlists import COLUMNS

ADDRESS = "https://raw.githubusercontent.com"
# The file of each year, and where it is from.
FILES = {
    2019: ("raw_neurips2019_dcharrezt.txt", "dcharrezt/NeurIPS-2019-Stats/ad78a71/data/raw_data.txt"),
    2020: (
        "raw_neurips2020_mzolfaghari.json",
        "mzolfaghari/NeurIPS-2020-Paper-Statistics/bad9cb3/data/neurips2020.json",
    ),
}
# An edition has more papers; a file with fewer is cut off (the list of 2019 has no other end).
FEWEST = 1_400

_PAPER = re.compile(r"<p><b>(.+)</b><br><i>(.+)</i></p>")
_AUTHOR = re.compile(r"(.*?) \((.*)\)")


def fetch(raw: Path, fetcher: Fetcher, *, progress: Progress = silent) -> list[Path]:
    """Download both years into ``raw/affiliations``, but for those that are there.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
    progress : callable, optional
        Called with a short text before each file.
    """
    paths = []
    for year, (name, place) in FILES.items():
        progress(f"NeurIPS {year}")
        path = raw / "affiliations" / name
        if not path.with_name(f"{name}.gz").is_file():
            fetcher.download(f"{ADDRESS}/{place}", path)
        paths.append(only_one(path.parent, name))
    return paths


def read(folder: Path) -> pd.DataFrame:
    """Read both years.

    Returns
    -------
    DataFrame
        One row a paper with the columns of ``paperlists.read`` (venue is "nips", track "main"); authors and
        affiliations are parted by ";", several of one author by "+".

    Raises
    ------
    DataError
        If a file is missing, cut off or of another layout.
    """
    rows = []
    for year, (name, _) in FILES.items():
        path = only_one(folder, name)
        papers = list((_of_2019 if year == 2019 else _of_2020)(path))
        if len(papers) < FEWEST:
            raise damaged(path.name, f"{len(papers)} papers, at least {FEWEST} are expected in a whole file")
        seen: dict[tuple[str, str], int] = {}
        for row, (title, authors) in enumerate(papers, start=1):
            names = ";".join(author for author, _ in authors)
            if (first := seen.setdefault((title, names), row)) != row:
                raise damaged(f"{path.name}, record {row}", f"this paper is also record {first}")
            signed = ";".join("+".join(each) for _, each in authors)
            rows.append(("nips", year, row, title, names, signed, "", "main", "Accept", "", ""))
    return pd.DataFrame(rows, columns=COLUMNS)


Paper = tuple[str, list[tuple[str, list[str]]]]


def _of_2019(path: Path) -> Iterator[Paper]:
    """Yield title and authors of each line of the list."""
    try:
        text = content_of(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path.name, f"byte {error.start} is not UTF-8") from None
    for line, paper in enumerate(text.splitlines(), start=1):
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
    content = content_of(path)
    if is_page(content):
        raise damaged(path.name, "this is a web page and no JSON")
    papers: Any = json_value(content, path.name)
    if not isinstance(papers, dict):
        raise damaged(path.name, "holds no papers by title")
    for row, (title, paper) in enumerate(papers.items(), start=1):
        try:
            authors = [(_plain(name), list(map(_plain, each))) for name, each in paper["authors"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise damaged(f"{path.name}, record {row}", f"no authors with affiliations ({error})") from None
        yield _plain(title), authors


def _plain(text: str) -> str:
    """Return a text without the marks that part authors and affiliations."""
    return re.sub(r"[;+]", ",", html.unescape(text)).strip()
