"""Engines that hold tables larger than memory: how they are opened, asked, interrupted and closed."""

from __future__ import annotations

import glob
import re
import shutil
import tempfile
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from study.core import DataError, OutputError, Progress, QuestionError, StudyError, WorkerError, shown
from study.panel.rules import Roles, problems_of_types
from study.panel.tables import refuse_doubled, types_lost

if TYPE_CHECKING:
    import ibis
    import pandas as pd

T = TypeVar("T")

# Different values of a column that is taken in, and strata of a question where nobody says otherwise.
MOST_VALUES = 10_000
LONGEST_FAULT = 200
# What engines call a disk or a memory that is full, in lower case.
_FULL = (
    *("out of memory", "outofmemory", "heap space", "memory_limit", "max_temp_directory_size"),
    *("no space left", "file too large", "could not write", "not enough space"),
)
_SILENT = ("connection", "refused", "stopped", "py4j", "closed", "timed out", "unreachable", "setcallsite")
# Types of DuckDB that can stand for each other.
_NUMBERS = re.compile(r"U?(TINY|SMALL|BIG)INT|U?INTEGER|HUGEINT|FLOAT|DOUBLE|DECIMAL")


@dataclass(eq=False)
class Engine:
    """A connection of ibis, and what is kept by it for one panel.

    Attributes
    ----------
    label : str
        What the panel is called in messages.
    connection : ibis backend
    scratch : Path, optional
        The folder of what is kept and spilled, where the connection is the panel's own.
    progress : callable, optional
        Called with a short text before each step.
    """

    label: str
    connection: Any
    scratch: Path | None = None
    progress: Progress | None = None
    _kept: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        """Have the engine closed at exit, or when nobody holds it any more."""
        if self.scratch is not None:
            self._kept.callback(shutil.rmtree, self.scratch, ignore_errors=True)
            self._kept.callback(self.connection.disconnect)
        self._close = weakref.finalize(self, _closed, self._kept)

    @property
    def name(self) -> str:
        """What the engine is called, for example "duckdb"."""
        return str(self.connection.name)

    def close(self) -> None:
        """Forget what was kept and remove the scratch folder; twice is as good as once."""
        self._close()

    def tell(self, step: str) -> None:
        """Tell progress what is done next."""
        if self.progress is not None:
            self.progress(f"{self.label}: {step}")

    def frame(self, table: ibis.Table) -> pd.DataFrame:
        """Return the rows of a small table."""
        return self.run(lambda: self.connection.to_pyarrow(table).to_pandas())

    def number(self, value: ibis.Value) -> float:
        """Return what adding up or counting gives."""
        return float(self.frame(value.name("n").as_table())["n"].iloc[0])

    def keep(
        self, table: ibis.Table, query: Callable[[ibis.Table], ibis.Table], parts: int, step: str, key: str
    ) -> ibis.Table:
        """Return what a query makes of the rows of a table, computed once.

        Parameters
        ----------
        table : ibis.Table
        query : callable
            From rows of the table, all of those that share a key, to a table.
        parts : int
            A power of two. Where the connection is the panel's own, rows are first assigned to so many parts by their
            key and written to the scratch folder, and the query is made of one part after the other, so that it need
            have memory for one only.
        step : str
            What is done, in words.
        key : str
            The column by which rows belong together.
        """
        name = f"study_panel_{id(self)}"
        if self.scratch is None:
            self.tell(step)
            return self.run(lambda: self._kept_by_connection(query(table), name))
        split = self.scratch / name
        if parts > 1:
            self.tell(f"{step}, rows into {parts} parts")
            assigned = table.mutate(part=table[key].hash() & (parts - 1))
            self.run(lambda: self._split(assigned, split, parts))
        for part in range(parts):
            self.tell(step if parts == 1 else f"{step}, part {part + 1} of {parts}")
            own = split / f"part={part}"
            if parts == 1 or own.exists():
                self.run(partial(self._add, name, table if parts == 1 else own, query))
                shutil.rmtree(own, ignore_errors=True)
        return self.run(lambda: self.connection.table(name))

    def _split(self, assigned: ibis.Table, folder: Path, parts: int) -> None:
        """Write rows by the number of their part; buffers of many parts are smaller."""
        self.connection.raw_sql(f"SET partitioned_write_flush_threshold = {min(2**19, 2**24 // parts)}")
        self.connection.raw_sql(f"SET partitioned_write_max_open_files = {max(100, parts)}")
        self.connection.to_parquet(assigned, folder, partition_by="part")

    def _add(self, name: str, rows: ibis.Table | Path, query: Callable[[ibis.Table], ibis.Table]) -> None:
        """Add what a query makes of rows to a table of the panel's own connection."""
        if isinstance(rows, Path):
            files = f"{glob.escape(str(rows))}/*.parquet"
            rows = self.connection.read_parquet(files, hive_partitioning=False)
        if name in self.connection.raw_sql("SHOW TABLES").df()["name"].tolist():
            self.connection.insert(name, query(rows))
        else:
            self.connection.create_table(name, query(rows))

    def _kept_by_connection(self, table: ibis.Table, name: str) -> ibis.Table:
        if self.name != "duckdb":
            # Spark's cache does not know the small tables that a query joins until another query has brought them.
            self.connection.to_pyarrow(table.limit(0))
            kept = table.cache()
            self._kept.callback(kept.release)
            return kept
        kept = self.connection.create_table(name, table, temp=True)
        # ibis's own drop_table writes a statement without the name with sqlglot 30.18 and later.
        self._kept.callback(self.connection.raw_sql, f"DROP TABLE IF EXISTS temp.main.{name}")
        return kept

    @property
    def memory(self) -> float:
        """Bytes that the engine may hold in memory, where it is the panel's own; infinite where it is not."""
        if self.scratch is None:
            return float("inf")
        text = self.connection.raw_sql("SELECT current_setting('memory_limit')").fetchall()[0][0]
        number, unit = text.split()
        return float(number) * 1024 ** ("bytes", "KiB", "MiB", "GiB", "TiB").index(unit)

    def run(self, query: Callable[[], T]) -> T:
        """Return what a function returns that has the engine work; an interruption stops it and closes the panel.

        Raises
        ------
        DataError, OutputError, WorkerError
            In one line, where the data cannot be read, memory or disk do not suffice, or the engine fails.
        """
        if not self._close.alive:
            raise QuestionError(f"{self.label}: the panel was closed; open it again.")
        # In a thread of its own a query does not keep this one from being interrupted.
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(query)
            try:
                # A signal that another thread receives does not wake this one.
                while not running.done():
                    wait([running], timeout=0.5)
                return running.result()
            except StudyError:
                raise
            except Exception as error:
                raise _fault(self.label, self.name, error) from None
            except BaseException:
                with suppress(BaseException):
                    self._stop(running)
                self.close()
                raise

    def _stop(self, running: Future[Any]) -> None:
        """Interrupt what runs until it has ended, for a minute at most: a query may begin after an interruption."""
        for _ in range(120):
            self._interrupt()
            if wait([running], timeout=0.5).done:
                return

    def _interrupt(self) -> None:
        with suppress(Exception):
            if self.name == "duckdb":
                self.connection.con.interrupt()
            elif self.name == "pyspark":
                self.connection._session.sparkContext.cancelAllJobs()


def _closed(kept: ExitStack) -> None:
    with suppress(Exception):  # each is forgotten, whatever another one says
        kept.close()


def ibis_here(where: str) -> Any:
    """Return ibis, or say in one line that it is not installed."""
    try:
        import ibis
        import pyarrow
    except ImportError as error:
        missing = "ibis-framework" if "ibis" in str(error) else str(error.name)
        raise QuestionError(
            f"{where}: engines are asked through ibis, and {missing} is not installed; install "
            '"compute-access-study[large]".'
        ) from None
    assert pyarrow
    return ibis


def open_duckdb(
    label: str, *, memory_limit: str, threads: int | None, temp: Path | None, progress: Progress | None
) -> Engine:
    """Return DuckDB with a memory limit, and a scratch folder of its own for what it keeps and spills."""
    ibis = ibis_here(label)
    try:
        if temp is not None:
            temp.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=temp, prefix="study-panel-"))
    except OSError as error:
        raise OutputError(
            f"{temp}: cannot write here ({error.strerror}); name another temp folder."
        ) from None
    config: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": str(scratch / "spilled")}
    config |= {"preserve_insertion_order": False} | ({} if threads is None else {"threads": threads})
    try:
        connection = ibis.duckdb.connect(scratch / "units.duckdb", **config)
        with suppress(Exception):  # in Jupyter without ipywidgets it has no bar, nor this setting
            connection.raw_sql("SET enable_progress_bar = false")
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if not isinstance(error, Exception):
            raise
        why = f"DuckDB cannot be opened ({_line(error)})"
        raise QuestionError(f"{label}: {why}; write memory_limit as in 4GB, threads as a number.") from None
    return Engine(label, connection, scratch, progress)


def parquet_files(path: str | Path) -> list[str]:
    """Return the Parquet files that a path names: a file, a folder with all below it, or a pattern with ``*``.

    Raises
    ------
    DataError
        If there is none.
    """
    place = Path(path)
    if place.is_dir():
        files = sorted(str(file) for file in place.rglob("*") if file.suffix in (".parquet", ".pq"))
        hint = "the folder has no file *.parquet"
    else:
        files = [str(place)] if place.is_file() else sorted(glob.glob(str(path), recursive=True))
        pattern = glob.has_magic(str(path))
        hint = "no file matches the pattern" if pattern else "there is no such file or folder"
    if not files:
        raise DataError(f"{path}: {hint}.")
    return files


def open_parquet(engine: Engine, files: Sequence[str], roles: Roles) -> ibis.Table:
    """Return the table of Parquet files of one schema.

    Raises
    ------
    DataError
        If a file is no Parquet, or a column with a role is not the same in two of them, of two meanings, or of a type
        that Parquet does not keep.
    """
    columns = roles.columns
    for file in files:
        with open(file, "rb") as content:
            if content.read(4) != b"PAR1":
                raise DataError(
                    f"{file}: it is no Parquet file; name a folder or a pattern that has Parquet files only."
                )
    patterns = [glob.escape(file) for file in files]  # DuckDB takes every name for one
    schemas = engine.run(
        lambda: engine.connection.con.execute(
            "SELECT file_name, name, duckdb_type FROM parquet_schema(?) WHERE num_children IS NULL",
            [patterns],
        ).fetchall()
    )
    of_file: dict[str, dict[str, str]] = {file: {} for file in files}
    for file, name, kind in schemas:
        of_file[file].setdefault(name, kind)
    for file in files[1:]:
        for column in columns:
            kinds = {each: of_file[each].get(column) for each in (files[0], file)}
            if len({*map(_kind, kinds.values())}) > 1:
                what = [f"{column} is {_in_words(kind)} in {Path(name).name}" for name, kind in kinds.items()]
                raise DataError(
                    f"{engine.label}: the files have two schemas: {' and '.join(what)}; write them alike."
                )
    engine.run(lambda: refuse_doubled(engine.label, engine.connection.con, patterns))
    lost = engine.run(lambda: types_lost(engine.connection.con, patterns))
    for problem in problems_of_types(lost, roles):
        raise DataError(f"{engine.label}: {problem}")
    # DuckDB takes what a folder's name says, as in year=2010, for more than what its files hold.
    inside = {*of_file[files[0]]} & {*columns}
    absent = {*columns} - inside
    for column in inside if absent else ():
        if any(part.startswith(f"{column}=") for part in Path(files[0]).parts):
            raise DataError(
                f"{engine.label}: column {column} is in the files and in the name of a folder above them; rename the "
                "folder."
            )
    how = {"binary_as_string": True} | ({} if absent else {"hive_partitioning": False})
    return engine.run(lambda: engine.connection.read_parquet(patterns, union_by_name=True, **how))


def _kind(of_column: str | None) -> str | None:
    """Return what a type of DuckDB holds; whole numbers and others are numbers alike."""
    return "numbers" if of_column and _NUMBERS.fullmatch(of_column.split("(")[0]) else of_column


def _in_words(of_column: str | None) -> str:
    return "missing" if of_column is None else {"VARCHAR": "text"}.get(of_column, of_column.lower())


def _fault(label: str, name: str, error: Exception) -> StudyError:
    """Return what an engine's error means, in one line."""
    text, kind = _line(error), type(error).__name__
    low = f"{kind} {error}".lower()
    if isinstance(error, MemoryError) or any(word in low for word in _FULL):
        return OutputError(
            f"{label}: memory or disk do not suffice ({text}); give a larger memory_limit, or a temp folder with more "
            "space."
        )
    if name == "duckdb":
        if isinstance(error, OSError) or kind == "IOException":
            return OutputError(
                f"{label}: cannot read or write here ({text}); see to the files and the temp folder."
            )
        if "interrupt" in low:
            return WorkerError(f"{label}: the query was interrupted.")
        return DataError(f"{label}: DuckDB cannot read this ({text}).")
    silent = isinstance(error, OSError) or any(word in low for word in _SILENT)
    why = "does not answer" if silent else "fails"
    return WorkerError(f"{label}: the engine {name} {why} ({text}); see to it, and open the panel again.")


def _line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[0].strip()[:LONGEST_FAULT]


def connection_of(table: Any, where: str) -> Any:
    """Return the connection that a table of ibis belongs to.

    Raises
    ------
    QuestionError
        If it is no such table, or belongs to none.
    """
    ibis = ibis_here(where)
    if not isinstance(table, ibis.Table):
        raise QuestionError(
            f"{where}: table is {shown(table)}; give a table of ibis, as connection.table(name) is."
        )
    try:
        return table.get_backend()
    except Exception as error:
        raise QuestionError(
            f"{where}: table has no connection ({_line(error)}); give one of a connection."
        ) from None
