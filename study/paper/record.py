"""The record of every estimate, and its comparison with a fresh run, cell by cell."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from study.core import DataError, significant
from study.designs import find_design
from study.estimates import Effect
from study.paper.results import Result, Results

COLUMNS = (
    "event",
    "outcome",
    "scale",
    "design",
    "label",
    "options",
    "question",
    "term",
    "estimate",
    "std_error",
    "n_units",
    "n_obs",
    "clusters",
    "seed",
    "panel_checksum",
    "tolerance",
    "draws",
)
KEY = ["event", "outcome", "scale", "label", "term"]
EXACT = ["design", "options", "question", "n_units", "n_obs", "clusters", "seed", "panel_checksum", "draws"]

# Relative to the larger of the value and its standard error, or to one for p-values, by class of computation.
TOLERANCES = {"deterministic": 1e-6, "machine learning": 0.05}
# A p-value that counts draws may count so many more or fewer, such as one that a learner's rounding moves.
SIMULATED, DRAWS_APART = "simulated", 2


class Difference(NamedTuple):
    """A cell in which a fresh run differs from the record."""

    where: str
    column: str
    recorded: str
    fresh: str

    def __str__(self) -> str:
        """Say the difference in one line."""
        return (
            f"{self.where}: {self.column} is recorded as {self.recorded}, the fresh run gives {self.fresh}."
        )


def record(results: Results) -> pd.DataFrame:
    """Return one row an estimate, in the order of the tables, with the digits that are meant."""
    rows = [row for result in results.values() for row in _rows(result)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def record_file(table: pd.DataFrame) -> bytes:
    """Return the record as CSV, whose numbers read back to the same."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def read_record(path: Path) -> pd.DataFrame:
    """Read a record.

    Raises
    ------
    DataError
        If the file is missing or lacks a column.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no record to check against; write one with `study run`.")
    try:
        table = pd.read_csv(
            path, keep_default_na=False, na_values={"estimate": [""], "std_error": [""]}, dtype=str
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a readable record ({error}); write it anew with `study run`."
        ) from error
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{path}: column {missing[0]} is missing; write the record anew with `study run`.")
    for column in ("estimate", "std_error"):
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = table.index[numbers.isna() & table[column].notna()]
        if len(bad):
            raise DataError(
                f'{path}: column {column} holds "{table[column][bad[0]]}" on line {bad[0] + 2}; it must be a number.'
            )
        table[column] = numbers
    return table[list(COLUMNS)]


def differences(recorded: pd.DataFrame, fresh: pd.DataFrame) -> list[Difference]:
    """Compare two records: text exactly, numbers within the tolerance of their class, simulated ones by draws."""
    fresh = pd.read_csv(_buffer(fresh), keep_default_na=False, dtype=str)
    for column in ("estimate", "std_error"):
        fresh[column] = pd.to_numeric(fresh[column], errors="coerce")
    left, right = (table.set_index(KEY) for table in (recorded, fresh))
    found = [
        Difference(_where(key), "estimate", "absent", "present") for key in right.index.difference(left.index)
    ]
    found += [
        Difference(_where(key), "estimate", "present", "absent") for key in left.index.difference(right.index)
    ]
    for key in left.index.intersection(right.index, sort=False):
        old, new = left.loc[key], right.loc[key]
        found += [
            Difference(_where(key), column, str(old[column]), str(new[column]))
            for column in EXACT
            if str(old[column]) != str(new[column])
        ]
        for column in ("estimate", "std_error"):
            if _apart(old, new, column) or pd.isna(old[column]) != pd.isna(new[column]):
                found.append(Difference(_where(key), column, f"{old[column]:.10g}", f"{new[column]:.10g}"))
    return found


def _apart(old: pd.Series, new: pd.Series, column: str) -> bool:
    """Say whether a number of two rows of one estimate differs by more than its class allows."""
    distance = abs(old[column] - new[column])
    if new["tolerance"] == SIMULATED:
        return bool(distance * (1 + int(new["draws"])) > DRAWS_APART + 0.5)
    order = max(abs(new[column]), _order(new["std_error"]))
    return bool(distance > TOLERANCES[new["tolerance"]] * order)


def _order(std_error: float) -> float:
    """Return what an effect's digits are counted from where it is smaller; a p-value, which has no error, is of one."""
    return 1.0 if math.isnan(std_error) else std_error


def _rows(result: Result) -> Iterator[tuple[object, ...]]:
    if result.headline is None:
        return
    yield _row(result, result.headline.label, result.headline.estimate, result.headline.std_error)
    for term in result.path:
        if not _is_reference(term):
            yield _row(result, term.label, term.estimate, term.std_error)
    if result.randomization is not None:
        test = result.randomization
        drawn = None if test.exact else test.permutations
        yield _row(result, "randomization p-value", test.p_value, draws=drawn)
    if result.pre_test.rank:
        yield _row(result, "pre-period joint p-value", result.pre_test.p_value)
        largest = result.pre_test.p_largest
        yield _row(result, "pre-period largest-t p-value", largest, draws=result.task.band_draws)


def _is_reference(term: Effect) -> bool:
    return term.std_error != term.std_error


def _row(
    result: Result, term: str, estimate: float, std_error: float = math.nan, *, draws: int | None = None
) -> tuple[object, ...]:
    """Return the row of an effect, or of a p-value that counts draws where their number is given."""
    task = result.task
    question = {k: v for k, v in vars(task.question).items() if k not in ("outcome", "event", "scale")}
    if task.question.instrument is None:  # records are older than instruments
        del question["instrument"]
    return (
        task.event.name,
        task.outcome,
        task.scale,
        task.row.name,
        task.row.label,
        json.dumps(result.options, sort_keys=True),
        json.dumps(question, sort_keys=True),
        term,
        significant(estimate, beside=_order(std_error)),
        significant(std_error),
        result.n_units,
        result.n_obs,
        result.n_clusters,
        task.seed,
        result.panel_checksum,
        SIMULATED if draws else "machine learning" if find_design(task.row.name).draws else "deterministic",
        draws or "",
    )


def _where(key: tuple[str, ...]) -> str:
    return ", ".join(key)


def _buffer(table: pd.DataFrame) -> object:
    from io import BytesIO

    return BytesIO(record_file(table))
