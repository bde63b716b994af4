"""GPUs of US universities, compiled by a third party with a language model: for totals, no row of it ships."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from study.data.sources import AMOUNT, FILLED, Fetcher, csv_table

ADDRESS = "https://raw.githubusercontent.com/Fchaubard/GPUsPerStudent.org"
VERSION = "dbd5d58"
FILE = "master_data.csv"
SHA256 = {"dbd5d58": "18844a0f43537d9876f38236f498c5777a7c28641b7d229410f3af2d839f9812"}
# When the table was compiled.
MONTH = "2025-12"


def read(folder: Path) -> pd.DataFrame:
    """Read the table.

    Returns
    -------
    DataFrame
        One row a university: university (as written there), h100_equivalent (GPUs by market price, in H100); the index
        is the line of the file.

    Raises
    ------
    DataError
        If the file is missing or damaged, a university is there twice, or an amount is no number.
    """
    rules = {"university": FILLED, "h100_equivalent": AMOUNT}
    table = csv_table(folder / FILE, tuple(rules), unique=("university",), rules=rules)
    return table.astype({"h100_equivalent": float})


def fetch(raw: Path, fetcher: Fetcher, *, version: str = VERSION) -> list[Path]:
    """Download the table into ``raw/gpus_per_student/``, unless it is there.

    Parameters
    ----------
    raw : Path
        Folder of originals.
    fetcher : Fetcher
        The client that downloads.
    version : str
        Branch or commit.

    Returns
    -------
    list of Path
        The file.

    Raises
    ------
    DataError
        If it cannot be downloaded.
    """
    path, address = raw / "gpus_per_student" / FILE, f"{ADDRESS}/{version}/data/{FILE}"
    return [fetcher.download(address, path, sha256=SHA256.get(version))]
