"""OpenAlex works, as files of the snapshot or pages of the API, counted by institution, year and topic out of core."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from study.core import DataError, OutputError, tell
from study.data.sources import damaged, is_page, json_value
from study.data.sources.openalex_counts import COLUMNS, COUNTS, institution_years
from study.panel.engines import open_duckdb

# The subfields in which most of machine learning stands. Any topic, subfield, field or venue (source) can be named.
TOPICS = ("subfields/1702", "subfields/1707")

# Works are assigned by their number to parts that are counted one after the other, so that memory does not grow with
# the snapshot: a part is what about so many bytes of compressed files hold. Files are read in batches.
PART_BYTES = 1 << 28
MOST_PARTS = 256
BATCH_BYTES = 4 << 30
LONGEST_RECORD = 1 << 25

_TOPIC = re.compile(r"[TS]\d+|(?:subfields|fields)/\d+")


def aggregate(
    paths: Sequence[Path],
    *,
    merged: Sequence[Path] = (),
    topics: Sequence[str] = TOPICS,
    memory_limit: str = "2GB",
    temp: Path | None = None,
    threads: int | None = None,
) -> pd.DataFrame:
    """Count the papers of each academic institution, year and topic; what counts as what is in ``openalex_counts``.

    Parameters
    ----------
    paths : sequence of Path
        Works: JSON lines compressed by gzip (``*.gz``) or Parquet (``*.parquet``). Where a work is in several
        partitions ``updated_date=YYYY-MM-DD``, the newest counts.
    merged : sequence of Path
        Files ``merged_ids/works/*.csv.gz`` of snapshots before 2026: works that were merged into others do not count.
    topics : sequence of str
        Topics ("T10320"), subfields ("subfields/1702"), fields ("fields/17") or venues ("S4306400194") that get rows
        of their own, beside those of all papers.
    memory_limit : str
        What DuckDB may hold in memory before it spills to disk; the process needs more than that.
    temp : Path, optional
        Folder for what is spilled, which needs about as much space as the files themselves.
    threads : int, optional
        All cores where not given.

    Returns
    -------
    DataFrame
        One row an academic institution (OpenAlex's type "education"), year and topic ("all", or one of ``topics``)
        with papers, in that order: ror (nine characters), institution, country (two letters, None where not known),
        year, topic, papers (a work counts once for each institution), papers_fractional (shared evenly among its
        authors, and an author's share among that author's institutions), papers_academic_only (without any author at
        a company), papers_with_industry (with one), papers_first_author, papers_last_author (an author in that
        position is there; the only author is both), papers_collaborative (of two institutions of any kind, or more).

    Raises
    ------
    DataError
        If a file is missing, empty, cut off, no JSON lines or Parquet, or a record is not as documented.
    OutputError
        If memory or disk do not suffice.
    QuestionError
        If ibis is not installed, or DuckDB does not take memory_limit or threads.
    """
    for topic in topics:
        if not _TOPIC.fullmatch(topic):
            examples = "T10320, subfields/1702, fields/17 or S4306400194"
            raise DataError(f'OpenAlex: "{topic}" is no topic; name them as {examples}.')
    if not paths:
        raise DataError("OpenAlex: there are no files of works; fetch them first.")
    for path in paths:
        check_start(path)
    limits: dict[str, Any] = {"memory_limit": memory_limit, "threads": threads, "temp": temp}
    try:
        with closing(open_duckdb("OpenAlex", **limits, progress=None)) as engine:
            connection, scratch = engine.connection.con, engine.scratch
            assert scratch is not None
            _list_merged(connection, merged)
            parts = _assign(connection, paths, scratch / "parts")
            _count(engine.connection, parts, topics)
            return _summed(connection)
    except (duckdb.OutOfMemoryException, duckdb.IOException, OSError) as error:
        fault = f"OpenAlex: memory or disk do not suffice ({_first_line(error)})"
        raise OutputError(f"{fault}; give a larger memory_limit, or a temp folder with more space.") from None


def _list_merged(connection: duckdb.DuckDBPyConnection, merged: Sequence[Path]) -> None:
    """Make the table ``merged_ids``."""
    connection.execute("CREATE TABLE merged_ids (work_id BIGINT)")
    columns = "{'merge_date': 'DATE', 'id': 'VARCHAR', 'merge_into_id': 'VARCHAR'}"
    ids = f"SELECT CAST(substr(id, 2) AS BIGINT) FROM read_csv(?, header = true, delim = ',', columns = {columns})"
    for path in merged:
        try:
            connection.execute(f"INSERT INTO merged_ids {ids}", [str(path)])
        except duckdb.Error as error:
            fault = f"merged_ids/{path.name}: no list of merged works ({_first_line(error)})"
            raise DataError(f"{fault}; fetch it again.") from None


def _assign(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path], folder: Path) -> list[Path]:
    """Write what is needed of all records below ``folder``, one subfolder a part of the works, and return these."""
    connection.execute(f"SET partitioned_write_max_open_files = {MOST_PARTS}")
    ends = list(accumulate(path.stat().st_size for path in paths))
    parts = min(MOST_PARTS, 1 + ends[-1] // PART_BYTES)
    batches = groupby(zip(paths, ends, strict=True), lambda file: (file[0].suffix, file[1] // BATCH_BYTES))
    done = 0
    for number, ((suffix, _), files) in enumerate(batches):
        batch = [path for path, _ in files]
        done += len(batch)
        tell(f"OpenAlex works: to file {done} of {len(paths)}")
        options = f"PARTITION_BY (part), OVERWRITE_OR_IGNORE, FILENAME_PATTERN 'batch{number}_{{i}}'"
        copy = f"COPY ({_records(suffix, parts)}) TO {_quoted(folder)} (FORMAT parquet, {options})"
        try:
            connection.execute(copy, [list(map(str, batch))])
        except duckdb.Error as error:
            named = [path for path in batch if str(path) in str(error)]
            if isinstance(error, duckdb.OutOfMemoryException | duckdb.IOException) and not named:
                raise
            raise _fault(connection, batch, named, error) from None
    # Fields without which there is nothing to count.
    query = f"""
        SELECT count(publication_year) AS publication_year, count(type) AS type, count(authorships) AS authorships,
            count(primary_topic.id) AS primary_topic, count(*) AS works
        FROM read_parquet({_quoted(folder / "*" / "*.parquet")})
    """
    counts = connection.execute(query).df().iloc[0]
    for field in counts.index[counts == 0]:
        raise DataError(f"OpenAlex: none of {counts['works']} works has {field}; has OpenAlex renamed it?")
    return sorted(folder.iterdir())


def _records(suffix: str, parts: int) -> str:
    """Return the query of the records of files, with the part that each belongs to."""
    columns = {name: _type(part) for name, part in SHAPE.items()}
    json_lines = f"columns = {columns}, format = 'newline_delimited', maximum_object_size = {LONGEST_RECORD}"
    parquet = ("read_parquet", "union_by_name = true")
    reader, options = ("read_json", json_lines) if suffix == ".gz" else parquet
    fields = {name: f"CAST({name} AS {kind})" for name, kind in columns.items()}
    fields["id"] = (
        f"CASE WHEN regexp_full_match(id, '{WORK_ID}') THEN id ELSE error('no work in ' || filename) END"
    )
    fields["updated_date"] = f"""
        regexp_extract(filename, 'updated_date=([-0-9]+)', 1) || ' ' || coalesce({fields["updated_date"]}, '')"""
    fields["publication_year"] = f"""
        CASE WHEN publication_year IS NULL THEN NULL
             WHEN regexp_full_match(CAST(publication_year AS VARCHAR), '{YEAR}')
             THEN CAST(publication_year AS INTEGER) ELSE error('no year in ' || filename) END"""
    return f"""
        SELECT {", ".join(f"{field} AS {name}" for name, field in fields.items())},
            CAST(substr(id, 23) AS BIGINT) % {parts} AS part
        FROM {reader}(?, filename = true, hive_partitioning = false, {options})
    """


def _count(database: Any, parts: Sequence[Path], topics: Sequence[str]) -> None:
    """Count one part after the other into the table ``counts``; a part is deleted when it is counted."""
    import ibis

    merged = database.table("merged_ids")
    for number, part in enumerate(parts, start=1):
        tell(f"OpenAlex works: part {number} of {len(parts)}")
        works = database.read_parquet(part / "*.parquet", hive_partitioning=False)
        query = ibis.to_sql(institution_years(works, topics, merged))
        database.raw_sql(f"{'CREATE TABLE counts AS' if number == 1 else 'INSERT INTO counts'} {query}")
        shutil.rmtree(part)


def _summed(connection: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """Return the sums over the parts."""
    sums = ", ".join(f"CAST(sum({name}) AS BIGINT) AS {name}" for name in ("papers", *COUNTS))
    query = f"""
        SELECT ror, max(institution) AS institution, max(country) AS country, year, topic, {sums},
            sum(papers_fractional) AS papers_fractional
        FROM counts GROUP BY ror, year, topic ORDER BY ror, year, topic
    """
    table = connection.execute(query).df()[list(COLUMNS)]
    if table.empty:
        raise DataError("OpenAlex: no paper names an academic institution with a ROR id; are these works?")
    return table


def _fault(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[Path], named: Sequence[Path], error: duckdb.Error
) -> DataError:
    """Return the error of the file that a failed reading was about, else of the first with a fault."""
    for path in named or paths:
        try:
            refuse_fault(path)
            connection.execute(f"SELECT * FROM ({_records(path.suffix, 1)}) LIMIT 1", [[str(path)]])
        except DataError as fault:
            return fault
        except duckdb.Error as unlike:
            return changed(name_of(path), f"not as documented ({_first_line(unlike)})")
    where = ", ".join(map(name_of, named)) or "OpenAlex works"
    return DataError(f"{where}: not readable ({_first_line(error)}); fetch the files again.")


def changed(where: str, fault: str) -> DataError:
    """Return the error of what is not as OpenAlex documents it."""
    return DataError(f"{where}: {fault}; has OpenAlex changed its format?")


def _quoted(path: Path) -> str:
    """Return a path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].removeprefix("Invalid Input Error: ")


# A work as the API and the snapshot document it, cut down to what is counted: nothing on persons.
_INSTITUTION = {"id": str, "ror": str, "display_name": str, "country_code": str, "type": str}
SHAPE: dict[str, Any] = {
    "id": str,
    "updated_date": str,
    "publication_year": int,
    "type": str,
    "is_retracted": bool,
    "is_xpac": bool,
    "primary_topic": {"id": str, "subfield": {"id": str}, "field": {"id": str}},
    "primary_location": {"source": {"id": str}},
    "authorships": [{"author_position": str, "institutions": [_INSTITUTION]}],
}
WORK_ID = r"https://openalex\.org/W\d+"
YEAR = r"\d{1,4}"

_NAMES = {str: "text", int: "a whole number", bool: "true or false", dict: "an object", list: "a list"}


def _type(shape: Any) -> str:
    """Return DuckDB's type of a field; numbers are read as text, so that 2020.5 is not rounded."""
    if isinstance(shape, dict):
        return "STRUCT(" + ", ".join(f'"{name}" {_type(part)}' for name, part in shape.items()) + ")"
    if isinstance(shape, list):
        return _type(shape[0]) + "[]"
    return "BOOLEAN" if shape is bool else "VARCHAR"


def trimmed(record: Any, shape: Any = SHAPE) -> Any:
    """Return a record with the fields that are read and no others."""
    if isinstance(shape, dict):
        return record and {name: trimmed(record.get(name), part) for name, part in shape.items()}
    if isinstance(shape, list):
        return record and [trimmed(item, shape[0]) for item in record]
    return record


def mismatch(record: Any) -> str:
    """Return what is not as documented in a record: empty, or the first fault in a few words."""
    if fault := next(_mismatches(record, SHAPE, ""), ""):
        return fault
    work_id, year = record.get("id"), record.get("publication_year")
    if not re.fullmatch(WORK_ID, work_id or ""):
        return f"id is {json.dumps(work_id)[:60]} and none of a work"
    return "" if year is None or re.fullmatch(YEAR, str(year)) else f"publication_year is {year}"


def _mismatches(value: Any, shape: Any, field: str) -> Iterator[str]:
    """Yield the faults of a value at a place (empty: the record itself) that should have a shape."""
    kind: Any = shape if isinstance(shape, type) else type(shape)
    if type(value) is not kind:
        if value is not None or not field:
            yield f"{field or 'the record'} is {json.dumps(value)[:60]}, {_NAMES[kind]} is expected"
    elif kind is dict:
        for name, part in shape.items():
            yield from _mismatches(value.get(name), part, f"{field}.{name}".lstrip("."))
    elif kind is list:
        for number, item in enumerate(value):
            yield from _mismatches(item, shape[0], f"{field}[{number}]")


def name_of(path: Path) -> str:
    """Return how a file is called in messages: its name, after its partition where it is in one."""
    partition = path.parent.name
    return f"{partition}/{path.name}" if partition.startswith("updated_date=") else path.name


def check_start(path: Path) -> None:
    """Raise if a file is missing or is by its first bytes no file of works, before hours go into others.

    Raises
    ------
    DataError
        If it is.
    """
    name = name_of(path)
    if path.suffix not in (".gz", ".parquet"):
        raise DataError(f"{name}: neither JSON lines (.gz) nor Parquet (.parquet).")
    if not path.is_file():
        raise DataError(f"{name} is missing in {path.parent}; fetch the works again.")
    with path.open("rb") as stream:
        start = stream.read(512)
    if not start.strip():
        raise damaged(name, "the file is empty")
    if is_page(start):
        raise damaged(f"{name}, line 1", "this is a web page and no file of works")
    if path.suffix == ".parquet" and start[:4] != b"PAR1":
        raise damaged(name, "no Parquet file")
    if path.suffix == ".gz" and not next(_lines(path), (0, b""))[1].strip():
        raise damaged(f"{name}, line 1", "no record")


def refuse_fault(path: Path) -> None:
    """Raise the error of the first fault of a file, if one is found.

    The file is read record by record, which is slow: for files of which a fault is known.

    Raises
    ------
    DataError
        With the line of the fault.
    """
    name = name_of(path)
    if path.suffix == ".parquet":
        try:
            columns = duckdb.execute("DESCRIBE FROM read_parquet(?)", [str(path)]).df()["column_name"]
        except duckdb.Error as error:
            raise damaged(name, f"not readable as Parquet ({_first_line(error)})") from None
        if missing := ", ".join(field for field in SHAPE if field not in set(columns)):
            raise DataError(f"{name}: no column {missing}; has OpenAlex renamed it?")
        return
    for number, line in _lines(path):
        where = f"{name}, line {number}"
        if fault := mismatch(json_value(line, where)):
            raise damaged(where, fault)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) as stream:
            for number, line in enumerate(stream, start=1):
                yield number, line
    except (EOFError, OSError, zlib.error) as error:
        cut = "the compressed file is cut off or damaged there"
        what = str(error) if isinstance(error, gzip.BadGzipFile) else cut
        raise damaged(f"{name_of(path)}, line {number + 1}", what) from None
