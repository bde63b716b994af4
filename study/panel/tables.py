"""Tables of files, of other libraries and of databases as a DataFrame, each cell as it is there."""

from __future__ import annotations

import base64
import csv
import glob
import gzip
import io
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import (
    DataError,
    IntArray,
    csv_within,
    file_content,
    refuse_large_workbook,
    refuse_larger,
    short,
    shown,
)
from study.panel.rows import ORDERED, TYPES_LOST, VALUE_LABELS, ZONE_LOST

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyRelation

_OTHER_FORMATS = (
    (b"PK\x03\x04", "an Excel workbook or another zip archive"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook"),
    (b"PAR1", "a Parquet file"),
    (b"\xff\xfe", "text in UTF-16"),
    (b"\xfe\xff", "text in UTF-16"),
    (b"<stata_dta>", "a Stata file"),
    (b"ARROW1", "an Arrow or Feather file"),
    (b"FEA1", "a Feather file"),
    (b"\xff\xff\xff\xff", "a stream in the Arrow format"),
    (b"$FL", "an SPSS file"),
    (b"\0" * 12 + b"\xc2\xea\x81\x60", "a SAS file"),
    (b"HEADER RECORD*", "a SAS transport file"),
    (b"RDX", "an R workspace"),
    (b"X\n\0\0", "an R object"),
    (b"MATLAB", "a MATLAB file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite format", "an SQLite database"),
    (b"%PDF", "a PDF"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\x80\x04", "a Python pickle"),
    (b"\x80\x05", "a Python pickle"),
    (b"<", "a web page or XML"),
    (b"{", "JSON"),
    (b"[", "JSON"),
)
# How DuckDB calls times with a zone, those of nanoseconds last.
ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
# A cell of a sheet's XML with a formula and no value; a text may be empty.
_UNCALCULATED = re.compile(
    rb'<c\b(?![^>]*\bt="str")[^>]*>(?:<f\b[^>]*/>|<f\b[^>]*>[^<]*</f>)(?:<v\s*/>|<v></v>)?</c>'
)
# A cell of it that is an error, such as #DIV/0!.
_ERROR = re.compile(
    rb'<c\b(?=[^>]*\br="([A-Z]+)(\d+)")(?=[^>]*\bt="e")[^>]*>(?:<f\b[^>]*/>|<f\b[^>]*>[^<]*</f>)?<v>([^<]*)</v>'
)
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def read_table(path: Path) -> tuple[pd.DataFrame, IntArray | None]:
    """Read the table of a file without guessing what its columns are.

    Parameters
    ----------
    path : Path
        By its suffix a file of Parquet (.parquet, .pq), Feather (.feather, .arrow), Stata (.dta) or Excel (.xlsx, .xls,
        .xlsm, .xlsb, .ods; the first sheet that shows), and else of CSV: UTF-8 with commas and one heading, plain or
        gzip. Lines with nothing on them, or with commas alone, are passed over.

    Returns
    -------
    table : DataFrame
        Texts, of a CSV file.
    lines : ndarray of int, shape (rows,), or None
        The line of a CSV file on which each row begins, or the row of an Excel sheet.

    Raises
    ------
    DataError
        If the file is missing or something else, larger than ``study.settings`` allow, two columns share a name, or
        a row has more or fewer fields than the heading.
    """
    kind = next((kind for kind, (suffixes, _) in _READERS.items() if path.suffix.lower() in suffixes), None)
    try:
        if not path.is_file():
            if several_files(path):
                raise DataError(
                    f"{path}: several Parquet files are read by study estimate with --engine duckdb, and by "
                    "study.LargePanel.from_parquet; or name one file."
                )
            raise DataError(f"{path}: there is no such file.")
        if kind is None:
            return _read_csv(path)
        size = path.stat().st_size
        refuse_larger(str(path), "max_bytes", size, f"the file has {size:,} bytes")
        table, lines = _READERS[kind][1](path)
    except OSError as error:
        raise DataError(f"{path}: it cannot be read ({error.strerror or error}).") from None
    except DataError:
        raise
    except Exception as error:  # of whatever kind the libraries have for a damaged file
        if kind is None:
            raise
        why = short(" ".join(str(error).split()), 200) or type(error).__name__
        raise DataError(
            f"{path}: not a readable {kind} file ({why}); save it anew, or as UTF-8 CSV."
        ) from None
    refuse_larger(str(path), "max_rows", len(table), f"it has {len(table):,} rows")
    _check_heading(path, [*map(str, table.columns)])
    return table, lines


def several_files(path: Path) -> bool:
    """Return whether a path names Parquet files together: a folder of them, or a pattern."""
    ending = "*.parquet"
    if path.is_dir():
        return any(any(path.glob(inside)) for inside in (ending, f"*=*/{ending}"))
    return glob.has_magic(str(path)) and path.match(ending)


def frame_of(data: Any, where: str) -> pd.DataFrame:
    """Return a table in memory as a DataFrame of pandas.

    Parameters
    ----------
    data : object
        A DataFrame of pandas, Dask or Spark, a relation of DuckDB, or whatever gives its columns in the Arrow format: a
        DataFrame of polars, a table of pyarrow.
    where : str
        What the error begins with.

    Raises
    ------
    DataError
        If it is none of these, or pyarrow, which reads the Arrow format, is not installed or has no type for a column.
    """
    if isinstance(data, type):
        pass
    elif type(data).__name__ == "LazyFrame" and hasattr(data, "collect"):
        return frame_of(data.collect(), where)
    elif hasattr(data, "dask") and hasattr(data, "compute"):
        return frame_of(data.compute(), where)
    elif hasattr(data, "toPandas"):  # of Spark
        return frame_of(data.toPandas(), where)
    elif hasattr(data, "columns") and hasattr(data, "iloc"):
        return data
    elif type(data).__name__ == "DuckDBPyRelation":
        return _of_relation(data)
    elif hasattr(data, "__arrow_c_stream__"):
        pyarrow = _pyarrow(where)
        try:
            return _of_arrow(pyarrow.table(data))
        except pyarrow.ArrowException as error:
            why = short(" ".join(str(error).split()), 200)
            raise DataError(
                f"{where}: pyarrow cannot read data ({why}); cast what it has no type for."
            ) from None
    raise DataError(
        f"{where}: data is {shown(data)}; give a DataFrame of pandas or polars, an Arrow table, a DuckDB relation or a "
        "path."
    )


def _pyarrow(where: str) -> Any:
    try:
        import pyarrow
        import pyarrow.feather
    except ImportError:
        raise DataError(
            f"{where}: it is in the Arrow format, which pyarrow reads; install pyarrow."
        ) from None
    return pyarrow


def _of_arrow(table: Any) -> pd.DataFrame:
    """Return an Arrow table as a DataFrame, whose whole numbers of 64 bits stay apart where cells are empty."""
    import pandas as pd

    kinds = {"int64": pd.Int64Dtype(), "uint64": pd.UInt64Dtype()}
    return table.to_pandas(types_mapper=lambda kind: kinds.get(str(kind)))


def _of_relation(table: DuckDBPyRelation) -> pd.DataFrame:
    """Return a relation of DuckDB as a DataFrame, with decimals as texts: pandas would have floats of fewer digits."""
    names = ['"{}"'.format(name.replace('"', '""')) for name in table.columns]
    kinds = zip(names, map(str, table.types), strict=True)
    exact = [f"{name}::VARCHAR AS {name}" for name, kind in kinds if re.match("DECIMAL|U?HUGEINT", kind)]
    return table.project(f"* REPLACE ({', '.join(exact)})").df() if exact else table.df()


def _read_parquet(path: Path) -> tuple[pd.DataFrame, None]:
    import duckdb

    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")  # else times with a zone have the day of this machine's
        table = connection.read_parquet(glob.escape(str(path)))
        refuse_doubled(str(path), connection, [glob.escape(str(path))])
        _refuse_large_relation(str(path), table)
        frame = _of_relation(table)
        kinds = zip(table.columns, table.types, strict=True)
        frame.attrs[ZONE_LOST] = [column for column, kind in kinds if str(kind) in ZONED]
        frame.attrs[TYPES_LOST] = types_lost(connection, [glob.escape(str(path))])
        return frame, None


def refuse_doubled(where: str, connection: Any, files: Sequence[str]) -> None:
    """Refuse Parquet files with two columns of one name, of which DuckDB calls the second another."""
    query = """SELECT path_in_schema FROM parquet_metadata(?) WHERE row_group_id = 0
        GROUP BY file_name, path_in_schema HAVING count(*) > 1"""
    for (name,) in connection.execute(query, [files]).fetchall():
        raise DataError(f'{where}: a file has two columns called "{short(name)}"; name them apart.')


def types_lost(connection: Any, files: Sequence[str]) -> dict[str, str]:
    """Return by column what was written and Parquet has no type for: periods, spans of time, orders of categories."""
    lost: dict[str, str] = {}
    query = "SELECT decode(key), decode(value) FROM parquet_kv_metadata(?) WHERE key IN ('pandas', 'ARROW:schema')"
    for key, text in connection.execute(query, [files]).fetchall():
        if key != "pandas":
            with suppress(ImportError):
                import pyarrow.ipc

                schema = pyarrow.ipc.read_schema(pyarrow.py_buffer(base64.b64decode(text)))
                lost = {f.name: str(f.type) for f in schema if pyarrow.types.is_duration(f.type)} | lost
            continue
        for column in json.loads(text)["columns"]:
            kind = str(column["numpy_type"])
            if kind.startswith(("period", "timedelta")):
                lost[column["name"]] = kind
            elif (column["metadata"] or {}).get("ordered"):
                lost[column["name"]] = ORDERED
    return lost


def _refuse_large_relation(where: str, table: DuckDBPyRelation) -> None:
    """Refuse a table that is small in its file alone, before it is in memory."""
    refuse_larger(where, "max_columns", len(table.columns), f"it has {len(table.columns):,} columns")
    rows = int(table.count("*").fetchall()[0][0])
    refuse_larger(where, "max_rows", rows, f"it has {rows:,} rows")
    size = 8 * rows * len(table.columns)
    for name, kind in zip(table.columns, table.types, strict=True):
        if str(kind) in ("VARCHAR", "BLOB"):
            column = '"' + name.replace('"', '""') + '"'
            measured = f"max(strlen({column}::VARCHAR)), sum(strlen({column}::VARCHAR))"
            longest, total = (int(each or 0) for each in table.aggregate(measured).fetchall()[0])
            refuse_larger(where, "max_cell", longest, f"a cell of column {short(name)} has {longest:,} bytes")
            size += total
    refuse_larger(where, "max_bytes", size, f"it expands to {size:,} bytes")


def _read_feather(path: Path) -> tuple[pd.DataFrame, None]:
    table = _pyarrow(str(path)).feather.read_table(path)
    refuse_larger(str(path), "max_bytes", table.nbytes, f"it expands to {table.nbytes:,} bytes")
    return _of_arrow(table), None


def _read_stata(path: Path) -> tuple[pd.DataFrame, None]:
    """Return a Stata file's table, numbers as numbers; what they stand for is kept beside them."""
    from pandas.io.stata import StataReader

    with StataReader(path, convert_categoricals=False) as reader:
        table = reader.read()
        labels = reader.value_labels()
        # pandas knows which column has which set of labels, and says it to nobody.
        names = dict(zip(reader._varlist, reader._lbllist, strict=True))
    labels = {name: _told_apart(of_values) for name, of_values in labels.items()}
    table.attrs[VALUE_LABELS] = {column: labels[name] for column, name in names.items() if name in labels}
    return table, None


def _told_apart(labels: Mapping[int, str]) -> dict[int, str]:
    """Return the labels of values, with the value after one that several have: they are not the same unit for that."""
    plain = {value: label.strip() for value, label in labels.items()}
    times = Counter(plain.values())
    return {k: label if times[label] == 1 else f"{label} ({k})" for k, label in plain.items()}


def _read_excel(path: Path) -> tuple[pd.DataFrame, IntArray]:
    """Return the first sheet that shows, as it stands there: "NA" is a text, rows without a cell are passed over."""
    import pandas as pd
    from python_calamine import SheetTypeEnum, SheetVisibleEnum

    if zipfile.is_zipfile(path):
        refuse_large_workbook(path, str(path))
        _refuse_uncalculated(path)
    with pd.ExcelFile(path, engine="calamine") as workbook:
        plain, sheets = (SheetTypeEnum.WorkSheet, SheetVisibleEnum.Visible), workbook.book.sheets_metadata
        number = next((k for k, each in enumerate(sheets) if (each.typ, each.visible) == plain), None)
        if number is None:
            raise DataError(f"{path}: it has no sheet that shows.")
        how: dict[str, Any] = {"header": None, "dtype": object, "keep_default_na": False, "na_values": [""]}
        sheet = pd.read_excel(workbook, sheets[number].name, **how)
    for row, column, error in _errors(path, number):
        sheet.iat[row, column] = error
    there = np.flatnonzero(sheet.notna().any(axis=1))
    if not len(there):
        raise DataError(f"{path}: the first sheet is empty.")
    heading, rows = sheet.iloc[there[0]], there[1:]
    used = heading.notna() | sheet.iloc[rows].notna().any(axis=0)
    table = sheet.iloc[rows].loc[:, used].reset_index(drop=True)
    table.columns = pd.Index(["" if pd.isna(name) else str(name).strip() for name in heading[used]])
    return table, rows + 1


def _errors(path: Path, number: int) -> Iterator[tuple[int, int, str]]:
    """Yield row, column and text of the errors on a sheet of a workbook in XML, which are read as empty cells."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if "xl/workbook.xml" not in archive.namelist():
            return
        keys = re.findall(rb'<(?:\w+:)?sheet\b[^>]*?:id="([^"]+)"', archive.read("xl/workbook.xml"))
        links = re.findall(rb"<(?:\w+:)?Relationship\b[^>]*>", archive.read("xl/_rels/workbook.xml.rels"))
        key = b' Id="%s"' % b"".join(keys[number : number + 1])
        target = re.search(rb'Target="(?:/?xl/)?([^"]+)"', b"".join(link for link in links if key in link))
        name = f"xl/{target[1].decode()}" if target else ""
        content = archive.read(name) if name in archive.namelist() else b""
    for letters, row, error in _ERROR.findall(content):
        column = sum((letter - 64) * 26**place for place, letter in enumerate(reversed(letters)))
        yield int(row) - 1, column - 1, error.decode()


def _refuse_uncalculated(path: Path) -> None:
    """Refuse a workbook with a formula whose value was never saved, which would be read as an empty cell."""
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.startswith("xl/worksheets/") and (cell := _UNCALCULATED.search(archive.read(name))):
                place = (re.search(rb'\br="(\w+)"', cell[0]) or [b"", b"without a name"])[1].decode()
                raise DataError(
                    f"{path}: cell {place} is a formula whose value was never calculated; open the workbook in a "
                    "spreadsheet program and save it."
                )


_Reader = Callable[[Path], tuple["pd.DataFrame", IntArray | None]]
_READERS: Mapping[str, tuple[Sequence[str], _Reader]] = {
    "Parquet": ((".parquet", ".pq"), _read_parquet),
    "Feather": ((".feather", ".arrow"), _read_feather),
    "Stata": ((".dta",), _read_stata),
    "Excel": ((".xlsx", ".xls", ".xlsm", ".xlsb", ".ods"), _read_excel),
}


def _read_csv(path: Path) -> tuple[pd.DataFrame, IntArray]:
    import pandas as pd

    try:
        content = file_content(path, str(path))
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _unreadable(path, f"the gzip archive is damaged: {error}") from None
    _refuse_other(path, content)
    try:
        (heading, *rows), lines = _lines(path, content)
        how: dict[str, Any] = {"dtype": str, "keep_default_na": False, "skip_blank_lines": False}
        table = pd.read_csv(io.BytesIO(content), header=heading, **how)
    except (csv.Error, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise _unreadable(path, str(error).strip()) from None
    if len(rows) < len(table):
        table = table.iloc[np.array(rows, dtype=np.int64) - heading - 1].reset_index(drop=True)
    return table, lines


def _unreadable(path: Path, why: str) -> DataError:
    return DataError(f"{path}: not a readable CSV table ({why}); save it as UTF-8 CSV.")


def _refuse_other(path: Path, content: bytes) -> None:
    """Refuse what is no text in UTF-8."""
    start = content[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise _unreadable(path, "it is empty")
    for mark, what in _OTHER_FORMATS:
        if start.startswith(mark):
            raise _unreadable(path, f"it is {what}")
    try:
        content.decode()
        place, why = content.find(b"\0"), "is zero, which no text has"  # pandas may end the cell there
    except UnicodeDecodeError as error:
        place, why = error.start, "is not UTF-8"
    if place >= 0:
        line = content.count(b"\n", 0, place) + 1
        raise _unreadable(path, f"byte {place} on line {line} {why}")


def _lines(path: Path, content: bytes) -> tuple[list[int], IntArray]:
    """Return the number of the heading and each row, beside those with nothing in them, and the line of each row.

    Rows that do not fit the heading are refused.
    """
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline=""))
    width, start, numbers, lines, unfit = 0, 1, [], [], []
    for number, fields in enumerate(csv_within(str(path), reader)):
        filled = any(field.strip() for field in fields)
        if filled or len(fields) > 1:
            if not width:
                _check_heading(path, fields)
                width = len(fields)
            elif len(fields) != width:
                unfit.append((start, len(fields)))
            if filled:
                numbers.append(number)
                lines.append(start)
        start = reader.line_num + 1
    if unfit:
        (line, width_there), *more = unfit
        others = f" (and {len(more)} more such lines)" if more else ""
        raise DataError(
            f"{path}: line {line} has {width_there} fields, the heading has {width}{others}; the file is cut "
            "off, a text with a comma stands without quotes, or what stands first is no heading."
        )
    if not lines:
        raise _unreadable(path, "it is empty")
    return numbers, np.array(lines[1:], dtype=np.int64)


def _check_heading(path: Path, heading: list[str]) -> None:
    refuse_larger(str(path), "max_columns", len(heading), f"it has {len(heading):,} columns")
    for name, times in Counter(heading).items():
        if times > 1:
            doubled = f'"{short(name)}" more than once' if name else f"{times} columns without a name"
            raise DataError(
                f"{path}: the heading has {doubled}; name the columns apart, on the first line that is not empty."
            )
    for separator, name in _SEPARATORS.items():
        if len(heading) == 1 and separator in heading[0]:
            raise DataError(
                f"{path}: its fields are separated by {name}, not by commas; save it with commas, or as an "
                "Excel workbook."
            )
