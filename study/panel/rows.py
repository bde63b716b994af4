"""A long table, of a CSV file or in memory, read column by column: labels, numbers, and where each row stands."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from study.core import BoolArray, DataError, FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

NO_NUMBER = ("", "na", "nan", "<na>", "none", "nat")
# Beyond it float64 does not tell neighbouring whole numbers apart.
LARGEST_WHOLE = 2.0**53
LARGEST_NUMBER = int(np.finfo(float).max)
LONGEST_SHOWN = 80
# Objects of these kinds, as pandas infers them, are read as they are.
PLAIN = ("string", "floating", "boolean", "decimal", "empty")


Method = TypeVar("Method", bound=Callable[..., Any])


def _once(read: Method) -> Method:
    """Make a method of a table read what it says once for each of its arguments."""

    @wraps(read)
    def parsed(rows: Rows, *args: Any) -> Any:
        key = (read.__name__, *args)
        if key not in rows._parsed:
            rows._parsed[key] = read(rows, *args)
        return rows._parsed[key]

    return cast("Method", parsed)


@dataclass(frozen=True, eq=False)
class Rows:
    """A long table, its columns parsed once each.

    Attributes
    ----------
    table : DataFrame
    lines : ndarray of int, optional
        Line of the file on which each row stands; rows of a table in memory count from one.
    unit, time : str
        Columns that identify a row.
    """

    table: pd.DataFrame
    lines: IntArray | None = None
    unit: str = ""
    time: str = ""
    _parsed: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.table)

    def place(self, row: int) -> str:
        """Name a row as its user counts, for example "line 5"."""
        return f"row {row + 1}" if self.lines is None else f"line {self.lines[row]}"

    def cell(self, column: str, row: int) -> str:
        """Return what a cell holds, as text without spaces around it; the beginning of a long one."""
        text = str(self.texts(column, np.array([row]))[0])
        return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."

    def texts(self, column: str, rows: IntArray) -> NDArray[Any]:
        """Return what the cells of some rows hold, as in :meth:`cell`."""
        return self.plain(column).iloc[rows].astype("string").str.strip().fillna("").to_numpy(dtype=object)

    @_once
    def plain(self, column: str) -> pd.Series:
        """Return a column whose cells are one value each: annual periods as years, lists and the like as texts."""
        import pandas as pd

        raw = self.table[column]
        if isinstance(raw.dtype, pd.CategoricalDtype) and raw.cat.categories.dtype.kind in "Oc":
            raw = raw.astype(object)
        kind = pd.api.types.infer_dtype(raw, skipna=True) if raw.dtype == object else ""
        if kind == "period" and len(steps := {each.freqstr for each in raw.dropna()}) == 1:
            raw = raw.astype(f"period[{steps.pop()}]")
        if isinstance(raw.dtype, pd.PeriodDtype):
            years = re.fullmatch(r"period\[[YA](-[A-Z]+)?\]", str(raw.dtype))
            return raw.dt.year.astype("Int64") if years else raw.astype("string")
        if raw.dtype.kind == "c" or (raw.dtype == object and kind not in PLAIN):
            return raw.astype(object).map(_one_value)
        return raw

    def compound(self, column: str) -> BoolArray:
        """Return which cells hold several values: a list, a mapping, an array."""
        import pandas as pd

        raw = self.table[column]
        if raw.dtype != object or pd.api.types.infer_dtype(raw, skipna=True) in PLAIN:
            return np.zeros(len(raw), dtype=bool)
        return np.array([pd.api.types.is_list_like(cell) for cell in raw], dtype=bool)

    @_once
    def each(self) -> int:
        """Return T where the table lists unit after unit, each with the same T periods in the same order, else 1."""
        import pandas as pd

        if self.unit not in self.table or self.time not in self.table:
            return 1
        if self.plain(self.unit).isna().any() or self.plain(self.time).isna().any():
            return 1
        unit, time = self.plain(self.unit).to_numpy(), self.plain(self.time).to_numpy()
        changes = np.asarray(unit[1:] != unit[:-1])
        each = int(changes.argmax()) + 1 if changes.any() else len(unit)
        if each < 2 or len(unit) % each or not _constant(unit.reshape(-1, each)):
            return 1
        if not np.all(time.reshape(-1, each) == time[:each]) or len(pd.unique(time[:each])) < each:
            return 1
        return each if len(self._names(self.unit, each)[0]) == len(unit) // each else 1

    @_once
    def fixed(self, column: str) -> bool:
        """Say whether a column is seen at once not to change within units, since the table lists unit after unit."""
        return self.each() > 1 and _constant(self.plain(column).to_numpy().reshape(-1, self.each()))

    def distinct(self, column: str) -> tuple[NDArray[Any], IntArray, int]:
        """Return labels as :meth:`labels` does, with one code for as many rows on end as the last value says."""
        each = self.each() if self.fixed(column) else 1
        return (*self._names(column, each), each)

    @_once
    def _names(self, column: str, each: int) -> tuple[NDArray[Any], IntArray]:
        import pandas as pd

        codes, values = pd.factorize(self.plain(column).iloc[::each])
        texts = [str(value).strip() for value in values.tolist()]
        if (codes == -1).any():
            codes, texts = np.where(codes == -1, len(texts), codes), [*texts, ""]
        names, position = np.unique(np.array(texts, dtype=str), return_inverse=True)
        return names, position[codes]

    @_once
    def compact(self, column: str) -> tuple[FloatArray, BoolArray, int]:
        """Return numbers as :meth:`numbers` does, with one for as many rows on end as the last value says."""
        import pandas as pd

        each = self.each() if self.fixed(column) else 1
        raw = self.plain(column).iloc[::each]
        if raw.dtype.kind in "mM":
            raw = raw.astype("string")
        if isinstance(raw.dtype, np.dtype) and raw.dtype.kind in "fiu":
            values = raw.to_numpy(dtype=float)
            bad = np.isinf(values)
        else:
            values = pd.to_numeric(raw, errors="coerce").to_numpy(dtype=float, na_value=np.nan, copy=True)
            bad = np.isinf(values)
            unread = np.flatnonzero(np.isnan(values))
            codes, there = pd.factorize(raw.iloc[unread])
            strange = np.array([str(value).strip().lower() not in NO_NUMBER for value in there], dtype=bool)
            bad[unread[codes >= 0]] = strange[codes[codes >= 0]]
        return (np.where(bad, np.nan, values) if bad.any() else values), bad, each

    @_once
    def labels(self, column: str) -> tuple[NDArray[Any], IntArray]:
        """Return the distinct labels of a column, sorted, and the number of each row's label.

        Labels are text without spaces around them; an empty cell has the label "".
        """
        names, codes, each = self.distinct(column)
        return names, spread(codes, each)

    @_once
    def numbers(self, column: str) -> tuple[FloatArray, BoolArray]:
        """Return a column as float64 with NaN in empty cells, and which cells hold something else."""
        values, bad, each = self.compact(column)
        return spread(values, each), spread(bad, each)

    @_once
    def when(self) -> FloatArray:
        """Return the periods of the rows, NaN where there is no whole number."""
        return np.tile(self.when_first(), len(self) // max(len(self.when_first()), 1))

    @_once
    def when_first(self) -> FloatArray:
        """Return the periods of the first rows, which all others repeat: of the first unit, or of all rows."""
        rows = Rows(self.table[: self.each()]) if self.each() > 1 else self
        values = rows.numbers(self.time)[0]
        whole = (values == np.round(values)) & (np.abs(values) < LARGEST_WHOLE)
        return np.where(whole, values, np.nan)

    @_once
    def periods(self) -> IntArray:
        """Return the distinct periods, ascending."""
        import pandas as pd

        periods = np.sort(pd.unique(self.when_first()))
        return periods[~np.isnan(periods)].astype(np.int64)

    @_once
    def cells(self, unit: str) -> IntArray:
        """Return a number that two rows share only if they are of one unit and period; -1 where either is unknown."""
        names, codes = self.labels(unit)
        known = ~np.isnan(self.when()) & (names != "")[codes]
        position = np.searchsorted(self.periods(), np.nan_to_num(self.when()))
        return np.where(known, codes * len(self.periods()) + position, -1)

    @_once
    def first_rows(self, column: str) -> IntArray:
        """Return for each row the first row with the same label."""
        return self.first_of(column)[self.labels(column)[1]]

    @_once
    def first_of(self, column: str) -> IntArray:
        """Return for each label, as :meth:`labels` sorts them, the first row that has it."""
        codes = self.labels(column)[1]
        first = np.empty(int(codes.max(initial=-1)) + 1, dtype=np.int64)
        # Of repeated indices numpy keeps the last assignment, which in reversed order is the first row.
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        return first


def spread(values: NDArray[Any], each: int) -> NDArray[Any]:
    """Repeat each value for as many rows on end as it stands for."""
    if each > 1 and values.dtype == bool and not values.any():
        return np.zeros(len(values) * each, dtype=bool)
    return values if each == 1 else np.repeat(values, each)


def _one_value(cell: Any) -> Any:
    """Return what is one number or label, or the text of what is not; a number that is too large is infinite."""
    import pandas as pd

    if isinstance(cell, np.bool_ | np.number):  # numpy's do not compare with integers beyond its own
        cell = cell.item()
    if isinstance(cell, complex):
        return cell.real if cell.imag == 0 else str(cell)
    if isinstance(cell, int) and abs(cell) > LARGEST_NUMBER:
        return np.inf if cell > 0 else -np.inf
    if isinstance(cell, bytes):
        return cell.decode(errors="backslashreplace")
    if isinstance(cell, np.ndarray) and cell.ndim == 0:
        return cell.item()
    return " ".join(str(cell).split()) if pd.api.types.is_list_like(cell) else cell


def _constant(blocks: NDArray[Any]) -> bool:
    """Say whether rows hold one value each; objects with missing ones among them are not looked at."""
    import pandas as pd

    if blocks.dtype == object and pd.isna(blocks).any():
        return False
    same = np.asarray(blocks == blocks[:, :1])
    if not same.all() and blocks.dtype.kind == "f":
        same |= np.isnan(blocks) & np.isnan(blocks[:, :1])
    return bool(same.all())


_OTHER_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook or another zip archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
    (b"<stata_dta>", "a Stata file"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"FEA1", "a Feather file"),
    (b"$FL2", "an SPSS file"),
    (b"RDX", "an R workspace"),
    (b"X\n\0\0", "an R object"),
    (b"MATLAB", "a MATLAB file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format", "an SQLite database"),
    (b"%PDF", "a PDF"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)
_GZIP = b"\x1f\x8b"
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read_table(path: Path) -> tuple[pd.DataFrame, IntArray]:
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


def _lines(path: Path, content: bytes) -> IntArray:
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
