"""The record of every estimate, and its comparison with a fresh run, cell by cell."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from study.core import DataError, settle, significant
from study.paper.results import Result, Results

TASK = ["event", "outcome", "scale", "design", "label", "options", "question"]
NUMBERS = ["estimate", "std_error"]
SAMPLE = ["n_units", "n_obs", "clusters", "seed", "panel_checksum", "tolerance", "draws"]
COLUMNS = [*TASK, "term", *NUMBERS, *SAMPLE]
KEY = ["event", "outcome", "scale", "label", "term"]
EXACT = [column for column in COLUMNS if column not in (*KEY, *NUMBERS, "tolerance")]

# Relative to the larger of the value and its standard error, or to one for p-values, by class of computation.
TOLERANCES = {"deterministic": 1e-6, "machine learning": 0.05}
# A p-value that counts draws may count so many more or fewer, such as one that a learner's rounding moves.
SIMULATED, DRAWS_APART = "simulated", 2


def record(results: Results) -> pd.DataFrame:
    """Return one row an estimate, in the order of the tables, with the digits that are meant."""
    return pd.DataFrame([row for result in results.values() for row in _rows(result)], columns=COLUMNS)


def csv_file(table: pd.DataFrame) -> bytes:
    """Return the record, or another table, as CSV, whose numbers read back to the same."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def read_record(path: Path) -> pd.DataFrame:
    """Read a record.

    Raises
    ------
    DataError
        If the file is missing or lacks a column.
    """
    table = read_texts(path, COLUMNS, "there is no record to check against; write one", "record")
    for column in NUMBERS:
        numbers = pd.to_numeric(table[column], errors="coerce")
        bad = table.index[numbers.isna() & (table[column] != "")]
        if len(bad):
            raise DataError(
                f'{path}: column {column} holds "{table[column][bad[0]]}" on line {bad[0] + 2}; it must be a number.'
            )
        table[column] = numbers
    return table


def read_texts(path: Path, columns: Sequence[str], absent: str, what: str) -> pd.DataFrame:
    """Read columns of a CSV file that a run wrote, as texts; errors say what is absent, and what is to be written."""
    settle(path.parent)
    if not path.is_file():
        raise DataError(f"{path}: {absent} with `study run`.")
    try:
        table = pd.read_csv(path, keep_default_na=False, dtype=str)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path}: not a readable record ({error}); write it anew with `study run`."
        ) from error
    for column in columns:
        if column not in table:
            raise DataError(f"{path}: column {column} is missing; write the {what} anew with `study run`.")
    return table[columns].copy()


def differences(recorded: pd.DataFrame, fresh: pd.DataFrame) -> list[str]:
    """Say in which cells two records differ: text in any way, numbers by more than their class allows."""
    old, new = recorded.set_index(KEY), fresh.set_index(KEY)
    cells = [(key, "estimate", "absent", "present") for key in new.index.difference(old.index)]
    cells += [(key, "estimate", "present", "absent") for key in old.index.difference(new.index)]
    common = old.index.intersection(new.index, sort=False)
    old, new = old.loc[common], new.loc[common]
    draws = pd.to_numeric(new["draws"], errors="coerce")
    order = new["std_error"].fillna(1.0)  # a p-value has no error
    apart = old[EXACT].astype(str) != new[EXACT].astype(str)
    for column in NUMBERS:
        distance = (old[column] - new[column]).abs()
        allowed = new["tolerance"].map(TOLERANCES) * np.maximum(new[column].abs(), order)
        allowed = allowed.where(new["tolerance"] != SIMULATED, (DRAWS_APART + 0.5) / (1 + draws))
        apart[column] = (distance > allowed) | (old[column].isna() != new[column].isna())
    for row, which in np.argwhere(apart):
        column = apart.columns[which]
        shown = "{:.10g}" if column in NUMBERS else "{}"
        cells.append((common[row], column, *(shown.format(table[column].iloc[row]) for table in (old, new))))
    return [
        f"{', '.join(key)}: {column} is recorded as {was}, the fresh run gives {now}."
        for key, column, was, now in cells
    ]


def _rows(result: Result) -> Iterator[tuple[object, ...]]:
    if result.headline is None:
        return
    task, pre_test, test = result.task, result.pre_test, result.randomization
    learns = task.row.design.draws
    question = {k: v for k, v in vars(task.question).items() if k not in ("outcome", "event", "scale")}
    if task.question.instrument is None:  # records are older than instruments
        del question["instrument"]

    def row(
        term: str, estimate: float, std_error: float = math.nan, draws: int | None = None
    ) -> tuple[object, ...]:
        """Return the row of an effect, or of a p-value that counts draws where their number is given."""
        return (
            *(task.event.name, task.outcome, task.scale, task.row.name, task.row.label),
            *(json.dumps(each, sort_keys=True) for each in (result.options, question)),
            term,
            significant(estimate, beside=1.0 if math.isnan(std_error) else std_error),
            significant(std_error),
            *(result.n_units, result.n_obs, result.n_clusters, task.seed, result.panel_checksum),
            SIMULATED if draws else "machine learning" if learns else "deterministic",
            draws or "",
        )

    path = [term for term in result.path if not math.isnan(term.std_error)]  # without the reference
    for effect in (result.headline, *path):
        yield row(effect.label, effect.estimate, effect.std_error)
    if test is not None:
        yield row("randomization p-value", test.p_value, draws=None if test.exact else test.permutations)
    if pre_test.rank:
        yield row("pre-period joint p-value", pre_test.p_value)
        yield row("pre-period largest-t p-value", pre_test.p_largest, draws=task.band_draws)
