"""A CSV file as a table of texts with the line of each row, or the one error that says what the file is instead."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from study.core import DataError

if TYPE_CHECKING:
    import pandas as pd

_OTHER_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook or another zip archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)
_GZIP = b"\x1f\x8b"
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read_table(path: Path) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Read a CSV file without guessing types.

    Parameters
    ----------
    path : Path
        A UTF-8 file with commas and one heading, plain or gzip. Lines with nothing on them are passed over.

    Returns
    -------
    table : DataFrame of str
    lines : ndarray of int, shape (rows,)
        The line of the file on which each row begins.

    Raises
    ------
    DataError
        If the file is missing or something else, two columns share a name, or a row has more or fewer
        fields than the heading.
    """
    import pandas as pd

    try:
        if not path.is_file():
            raise DataError(f"{path}: there is no such file.")
        packed = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: it cannot be read ({error.strerror}).") from None
    content = _content(path, packed)
    try:
        lines = _lines(path, content)
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise _unreadable(path, str(error).strip()) from None
    return table, lines


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(f"{path}: not a readable CSV table ({why}); save it as UTF-8 CSV.")


def _content(path: Path, content: bytes) -> bytes:
    """Return the text of a file, without its compression; refuse what is something else."""
    if content.startswith(_GZIP):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(path, f"the gzip archive is damaged: {error}") from None
    start = content[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise _unreadable(path, "it is empty")
    for mark, what in _OTHER_FORMATS:
        if start.startswith(mark):
            raise _unreadable(path, f"it is {what}")
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"byte {error.start} on line {line} is not UTF-8") from None
    return content


def _lines(path: Path, content: bytes) -> NDArray[np.int64]:
    """Return the line on which each row begins; refuse rows that do not fit the heading."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline=""))
    width, start, lines, unfit = 0, 1, [], []
    for fields in reader:
        if len(fields) > 1 or (fields and fields[0].strip()):
            if not width:
                _check_heading(path, fields)
                width = len(fields)
            elif len(fields) != width:
                unfit.append((start, len(fields)))
            lines.append(start)
        start = reader.line_num + 1
    if unfit:
        (line, width_there), *more = unfit
        others = f" (and {len(more)} more such lines)" if more else ""
        raise DataError(
            f"{path}: line {line} has {width_there} fields, the heading has {width}{others}; the file is cut "
            "off, or a text with a comma stands without quotes."
        )
    return np.array(lines[1:], dtype=np.int64)


def _check_heading(path: Path, heading: list[str]) -> None:
    for name, times in Counter(heading).items():
        if times > 1:
            raise DataError(f'{path}: the heading has "{name}" more than once; name the columns apart.')
    for separator, name in _SEPARATORS.items():
        if len(heading) == 1 and separator in heading[0]:
            raise _unreadable(path, f"its fields are parted by {name}, not by commas")
