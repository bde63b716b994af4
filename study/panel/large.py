"""Panels larger than memory: an engine reads the long table, and what designs need of it are a few rows by stratum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from study.core import Described, Progress, checked, current_settings, first_of
from study.panel.drawing import refuse_names
from study.panel.engines import MOST_VALUES, Engine, connection_of, open_duckdb, open_parquet, parquet_files
from study.panel.panel import Ambiguous, Panel
from study.panel.question import LargePanel as AnyLargePanel
from study.panel.question import Question
from study.panel.rules import Names, Roles

if TYPE_CHECKING:
    from study.panel.unit_table import UnitTable

LargePeriod = Literal["year", "quarter", "month"]


class LargePanel(AnyLargePanel, Described, AbstractContextManager["LargePanel"]):
    """A panel in an engine: DuckDB over Parquet files, or whatever holds a table of ibis.

    Designs whose estimates are linear in outcomes answer a question of it exactly as they do one of a
    :class:`study.Panel`. Whatever needs the rows of single units refuses in one line. It is a context manager; what was
    kept on disk is removed when it is closed, at exit and on interruption.

    Attributes
    ----------
    name : str
        What the panel is called in messages and outputs.
    periods : ndarray of int, shape (T,)
        Consecutive periods.
    n_units, n_observations : int
        Number of units, and of rows of the long table.
    events, outcomes : tuple of str
    scratch : Path, optional
        The folder of what DuckDB keeps and spills for this panel, if it was made from files.

    Examples
    --------
    >>> with study.LargePanel.from_parquet("works/*.parquet", unit="author", time="month", period="month",
    ...                                    first_treated="grant", outcomes="papers") as panel:  # doctest: +SKIP
    ...     fit = study.estimate(panel, study.Question("papers", "grant"), "callaway_santanna")
    """

    def __init__(self, units: UnitTable, empty: Panel, limit: int) -> None:
        """Hold what the class methods made."""
        self._units, self._empty, self._limit = units, empty, limit
        self._engine = units.reading.engine
        self.name, self.periods, self.scratch = empty.name, empty.periods, self._engine.scratch
        self.n_units, self.n_observations = units.units, units.rows
        self.events, self.outcomes = empty.events, tuple(empty.outcomes)
        self._answers: dict[Any, Panel] = {}

    @classmethod
    @checked
    def from_parquet(
        cls,
        path: str | Path,
        *,
        unit: str,
        time: str,
        first_treated: Names = (),
        treatment: Names = (),
        outcomes: Names,
        covariates: Names = (),
        attributes: Names = (),
        name: str | None = None,
        populations: Mapping[str, str] | None = None,
        ambiguous: Ambiguous = "drop",
        period: LargePeriod | None = None,
        never: float | str | None = None,
        memory_limit: str = "4GB",
        threads: int | None = None,
        temp: str | Path | None = None,
        progress: Progress | None = None,
        limit: int = MOST_VALUES,
    ) -> LargePanel:
        """Read a long table in Parquet files by DuckDB, out of core.

        Parameters
        ----------
        path : str or Path
            A file, a folder with all Parquet files below it, or a pattern such as ``data/*.parquet``.
        unit, time, first_treated, treatment, outcomes, covariates, attributes, populations, ambiguous, never
            As for :meth:`study.Panel.from_long`.
        name : str, optional
            By default the name of the file or folder, or the pattern.
        period : {"year", "quarter", "month"}, optional
            What periods are counted in where they are dates, or texts with the year first; whole numbers otherwise.
        memory_limit : str
            What DuckDB may hold in memory before it spills to disk; the process needs more than that.
        threads : int, optional
            All cores where not given.
        temp : str or Path, optional
            Folder for the scratch folder, which needs about as much space as the files themselves, and twice that while
            they are read; by default the system's.
        progress : callable, optional
            Called with a short text before each step; by default that of :func:`study.settings`.
        limit : int
            Most strata: units of the same event date, pattern of missing cells, weight, covariates and cluster.

        Raises
        ------
        DataError
            As :meth:`study.Panel.from_long`, or if no file is there or two differ in their columns.
        QuestionError
            If ibis is not installed, or an argument is not one of these.
        OutputError
            If memory or disk do not suffice.
        """
        events = {"first_treated": first_treated, "treatment": treatment}
        others = {"outcomes": outcomes, "covariates": covariates, "attributes": attributes}
        roles = Roles.of(unit, time, None, **events, **others)
        label = name or (str(path) if has_magic(str(path)) else Path(path).resolve().name)
        files = parquet_files(path)
        engine = open_duckdb(
            label,
            memory_limit=memory_limit,
            threads=threads,
            temp=None if temp is None else Path(temp),
            progress=progress or current_settings().progress,
        )
        opened = partial(open_parquet, engine, files, roles)
        return cls._of(populations, limit, opened, engine, roles, period, never, ambiguous)

    @classmethod
    @checked
    def from_table(
        cls,
        table: Any,
        *,
        unit: str,
        time: str,
        first_treated: Names = (),
        treatment: Names = (),
        outcomes: Names,
        covariates: Names = (),
        attributes: Names = (),
        name: str | None = None,
        populations: Mapping[str, str] | None = None,
        ambiguous: Ambiguous = "drop",
        period: LargePeriod | None = None,
        never: float | str | None = None,
        progress: Progress | None = None,
        limit: int = MOST_VALUES,
    ) -> LargePanel:
        """Read a long table of ibis by the engine that holds it: DuckDB and Spark are tested.

        The table of units is kept by the connection, DuckDB's as a temporary table and another's in its cache, until
        the panel is closed. Parameters are those of :meth:`from_parquet`.

        Raises
        ------
        DataError, QuestionError, OutputError
            As :meth:`from_parquet`.
        WorkerError
            If the engine fails or does not answer.
        """
        events = {"first_treated": first_treated, "treatment": treatment}
        others = {"outcomes": outcomes, "covariates": covariates, "attributes": attributes}
        roles = Roles.of(unit, time, None, **events, **others)
        connection = connection_of(table, "LargePanel.from_table")
        engine = Engine(name or "panel", connection, progress=progress or current_settings().progress)
        return cls._of(populations, limit, lambda: table, engine, roles, period, never, ambiguous)

    @classmethod
    def _of(
        cls, populations: Any, limit: int, opened: Callable[[], Any], engine: Engine, *how: Any
    ) -> LargePanel:
        # Only where an engine is open, since it needs ibis.
        from study.panel.unit_table import Reading, unit_table

        try:
            reading = Reading(engine, opened(), *how)
            units = unit_table(reading)
        except BaseException:
            engine.close()
            raise
        roles, calendar = units.reading.roles, units.reading.calendar
        nothing = np.empty((0, len(calendar.periods())))
        absorbing = [column for column in roles.treatment if column not in units.switching]
        empty = Panel(
            name=reading.engine.label,
            units=np.empty(0, dtype=str),
            periods=calendar.periods(),
            outcomes=dict.fromkeys(roles.outcomes, nothing),
            covariates=dict.fromkeys(roles.covariates, nothing),
            first_treated=dict.fromkeys([*roles.first_treated, *absorbing], np.empty(0)),
            treatment=dict.fromkeys(roles.treatment, nothing),
            attributes=dict.fromkeys(roles.attributes, np.empty(0, dtype=str)),
            populations=dict(populations or {}),
            ambiguous_rule=reading.ambiguous,
            period=reading.period,
            period_names=calendar.period_names(),
            unit=roles.unit,
        )
        return cls(units, empty, limit)

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Remove what the engine has kept for this panel, and its scratch folder.

        Estimates stay, but degrees of freedom that nobody has looked at are refused.
        """
        self._engine.close()

    def period_name(self, period: float) -> str:
        """Return a period as its user writes it, for example "2014" or "2014Q1"."""
        return self._empty.period_name(period)

    def _described(self) -> tuple[str, dict[str, str]]:
        first, last = map(self.period_name, self.periods[[0, -1]])
        title = f"LargePanel {self.name}: {self.n_units:,} units, {len(self.periods)} periods from {first} to {last}"
        names = {"outcomes": self.outcomes, "events": self.events, "covariates": self._empty.covariates}
        names |= {"attributes": self._empty.attributes, "populations": self._empty.populations}
        facts = {kind: first_of(known) for kind, known in names.items() if known}
        where = "" if self.scratch is None else f", scratch folder {self.scratch}"
        return title, {"rows": f"{self.n_observations:,}"} | facts | {"engine": f"{self._engine.name}{where}"}

    @checked
    def rows(self, question: Question) -> Panel:
        """Return the panel of rows that stand for the units as far as a question goes; see :class:`Summed`.

        Its outcome is on the question's scale. Units outside the population, and those whose event date is ambiguous,
        are in no row, so that questions of another population, scale or the like are refused.

        Raises
        ------
        QuestionError
            As :meth:`study.Question.sample`; if the question needs the rows of single units, or there are more strata
            than the limit.
        """
        from study.panel.strata import Query

        refuse_names(question, self._empty)
        query = Query(question, self._units, self._empty)
        query.refuse_single_units()
        key = question.of_rows
        if key not in self._answers:
            self._answers[key] = query.answer(self._limit)
        return self._answers[key]
