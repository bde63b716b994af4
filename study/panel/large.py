"""Panels larger than memory: an engine reads the long table, and what designs need of it are a few rows by stratum."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from study.core import (
    BoolArray,
    Described,
    FloatArray,
    IntArray,
    Progress,
    QuestionError,
    checked,
    current_settings,
    first_of,
)
from study.panel.drawing import AMBIGUOUS, _check
from study.panel.engines import Engine, connection_of, open_duckdb, open_parquet, parquet_files
from study.panel.panel import Ambiguous, Panel, interval_text
from study.panel.populations import (
    EVERYONE,
    Term,
    bound_of,
    changing,
    compared,
    is_attribute,
    labels_of,
    terms_in,
    terms_of,
)
from study.panel.question import LargerThanMemory, Question
from study.panel.rules import Names, Roles
from study.panel.strata import Stratified
from study.panel.summed import Summed, checksum, rows_of
from study.panel.unit_table import (
    ENDLESS,
    MOST_VALUES,
    Reading,
    UnitTable,
    first_unit,
    first_values,
    unit_table,
    words_of,
)

if TYPE_CHECKING:
    import ibis
    import pandas as pd

LargePeriod = Literal["year", "quarter", "month"]
# Stands for what is missing in a column by which units are in strata, since not every engine joins empty cells.
MISSING = -1.5e300
OTHERS = "(others)"


class LargePanel(LargerThanMemory, Described):
    """A panel in an engine: DuckDB over Parquet files, or whatever holds a table of ibis.

    Designs whose estimates are linear in outcomes answer a question of it exactly as they do one of a
    :class:`study.Panel`. Whatever needs the rows of single units refuses in one line. It is a context manager; what was
    kept on disk is removed when it is closed, at exit and on interruption.

    Attributes
    ----------
    name : str
    periods : ndarray of int, shape (T,)
    scratch : Path, optional
        Where what DuckDB keeps and spills lies, if the panel was made from files.

    Examples
    --------
    >>> with study.LargePanel.from_parquet("works/*.parquet", unit="author", time="month", period="month",
    ...                                    first_treated="grant", outcomes="papers") as panel:  # doctest: +SKIP
    ...     fit = study.estimate(panel, study.Question("papers", "grant"), "callaway_santanna")
    """

    def __init__(self, reading: Reading, units: UnitTable, empty: Panel, limit: int) -> None:
        """Hold what the class methods made."""
        self._reading, self._units, self._empty, self._limit = reading, units, empty, limit
        self._engine = reading.engine
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
            A file, a folder with all Parquet files below it, or a pattern such as "data/*.parquet".
        unit, time, first_treated, treatment, outcomes, covariates, attributes, populations, ambiguous, never
            As for :meth:`study.Panel.from_long`.
        name : str, optional
            By default the name of the file or folder.
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
        _refuse_period(period)
        roles = _roles(unit, time, first_treated, treatment, outcomes, covariates, attributes)
        label = name or Path(path).name or str(path)
        files = parquet_files(path)
        engine = open_duckdb(
            label,
            memory_limit=memory_limit,
            threads=threads,
            temp=None if temp is None else Path(temp),
            progress=progress or current_settings().progress,
        )
        try:
            table = open_parquet(engine, files, roles.columns)
            return cls._of(Reading(engine, table, roles, period, never, ambiguous), populations, limit)
        except BaseException:
            engine.close()
            raise

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
        _refuse_period(period)
        roles = _roles(unit, time, first_treated, treatment, outcomes, covariates, attributes)
        connection = connection_of(table, "LargePanel.from_table")
        engine = Engine(name or "panel", connection, progress=progress or current_settings().progress)
        try:
            return cls._of(Reading(engine, table, roles, period, never, ambiguous), populations, limit)
        except BaseException:
            engine.close()
            raise

    @classmethod
    def _of(cls, reading: Reading, populations: Mapping[str, str] | None, limit: int) -> LargePanel:
        units = unit_table(reading)
        roles, nothing = units.roles, np.empty((0, len(units.periods)))
        absorbing = [column for column in roles.treatment if column not in units.switching]
        empty = Panel(
            name=reading.engine.label,
            units=np.empty(0, dtype=str),
            periods=units.periods,
            outcomes=dict.fromkeys(roles.outcomes, nothing),
            covariates=dict.fromkeys(roles.covariates, nothing),
            first_treated=dict.fromkeys([*roles.first_treated, *absorbing], np.empty(0)),
            treatment=dict.fromkeys(roles.treatment, nothing),
            attributes=dict.fromkeys(roles.attributes, np.empty(0, dtype=str)),
            populations=dict(populations or {}),
            ambiguous_rule=reading.ambiguous,
            period=reading.period,
            period_names=units.period_names,
        )
        return cls(reading, units, empty, limit)

    def __enter__(self) -> LargePanel:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Remove what the engine has kept for this panel, and its scratch folder; answers stay what they are."""
        self._engine.close()

    @property
    def name(self) -> str:
        """What the panel is called in messages and outputs."""
        return self._empty.name

    @property
    def scratch(self) -> Path | None:
        """The folder of what DuckDB keeps and spills for this panel, where it was made from files."""
        return self._engine.scratch

    @property
    def periods(self) -> IntArray:
        """Consecutive periods."""
        return self._empty.periods

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self._units.units

    @property
    def n_observations(self) -> int:
        """Number of rows of the long table."""
        return self._units.rows

    @property
    def events(self) -> tuple[str, ...]:
        """Names of the events."""
        return self._empty.events

    @property
    def outcomes(self) -> tuple[str, ...]:
        """Names of the outcomes."""
        return tuple(self._empty.outcomes)

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
        are in no row.

        Raises
        ------
        QuestionError
            As :meth:`study.Question.sample`; if the question needs the rows of single units, or there are more strata
            than the limit.
        """
        _check(question, self._empty)
        asked = _Asked(question, self._reading, self._units, self._empty)
        asked.refuse_single_units()
        key = asked.key
        if key not in self._answers:
            self._answers[key] = asked.answer(self._limit)
        return self._answers[key]


def _refuse_period(period: Any) -> None:
    known = get_args(LargePeriod)
    if isinstance(period, str) and period not in known:
        raise QuestionError(
            f"LargePanel: period is {period}; an engine reads {', '.join(known)}, and whole numbers if it is not said."
        )


def _roles(
    unit: str,
    time: str,
    first_treated: Names,
    treatment: Names,
    outcomes: Names,
    covariates: Names,
    attributes: Names,
) -> Roles:
    return Roles.of(
        unit,
        time,
        first_treated=first_treated,
        treatment=treatment,
        outcomes=outcomes,
        covariates=covariates,
        attributes=attributes,
    )


class _Asked:
    """A question of a table of units."""

    def __init__(self, question: Question, reading: Reading, units: UnitTable, empty: Panel) -> None:
        self.question, self.reading, self.units, self.empty = question, reading, units, empty
        self.engine, self.roles = reading.engine, units.roles
        self.names = {
            role: {column: k for k, column in enumerate(getattr(self.roles, role))}
            for role in ("outcomes", "first_treated", "treatment", "covariates", "attributes")
        }

    @property
    def key(self) -> tuple[Any, ...]:
        """What an answer depends on."""
        asked = self.question
        on_log = (asked.anticipation, asked.lag) if asked.scale == "log1p" else None
        rules = (asked.population, asked.covariates, asked.cluster, asked.weights, asked.group)
        return asked.outcome, asked.event, asked.scale == "log1p", on_log, asked.missing == "balanced", rules

    def refuse_single_units(self) -> None:
        """Refuse what depends on more of each unit than its stratum's sums."""
        asked, where = self.question, f"Question about {self.empty.name}"
        needs = "which needs the rows of single units; draw a sample of units and read it with study.Panel.from_long"
        if asked.event not in self.empty.first_treated:
            k = self.names["treatment"][asked.event]
            unit = first_unit(self.engine, self.units.table, self.units.table[f"off{k}"])
            raise QuestionError(f"{where}: {asked.event} goes back to 0, first for {unit}, {needs}.")
        for name in asked.instruments:
            raise QuestionError(f"{where}: {name} is an instrument, {needs}.")
        for name in asked.covariates:
            for broken, how in (
                (self.units.varying, "changes over time"),
                (self.units.patchy, "is missing in some rows"),
            ):
                if name in broken:
                    what = "varies" if broken is self.units.varying else "holes"
                    k = self.names["covariates"][name]
                    unit = first_unit(self.engine, self.units.table, self.units.table[f"{what}{k}"])
                    raise QuestionError(
                        f"{where}: covariate {name} {how} within units, first in {unit}, {needs}."
                    )

    def answer(self, limit: int) -> Panel:
        """Return the rows."""
        table, dropped = self._selected()
        n_periods = len(self.empty.periods)
        k = self.names["outcomes"][self.question.outcome]
        outcome = [table[f"y{k}_{place}"] for place in range(n_periods)]
        if self.question.scale == "log1p":
            self._refuse_logarithm(table)
            outcome = [(1.0 + y).ln() for y in outcome]
        ibis = _ibis()
        keys: dict[str, tuple[Any, str]] = {"date": (self._date(table).fill_null(MISSING), "event dates")}
        for place, (values, what) in enumerate(self._by_unit(table).values()):
            keys[f"key{place}"] = values, what
        words = [word for word, _ in words_of(n_periods)]
        seen = {f"seen{word}": self._pattern(outcome, places) for word, places in words_of(n_periods)}
        columns = {f"y{place}": y for place, y in enumerate(outcome)} | {
            key: value for key, (value, _) in keys.items()
        }
        table = table.select(**columns, **seen, level=ibis.coalesce(*outcome))
        changes = {f"f{t + 1}": (table[f"y{t}"] - table.level).fill_null(0.0) for t in range(n_periods)}
        features = {"f0": table.level.fill_null(0.0), **changes}
        patterns = {f"seen{word}": table[f"seen{word}"] for word in words}
        if self.question.missing == "balanced":
            full = [table[f"seen{word}"] == 2 ** len(places) - 1 for word, places in words_of(n_periods)]
            some = table.level.notnull() & ~_all(full)
            features = {name: ibis.ifelse(some, 0.0, value) for name, value in features.items()}
            patterns = {
                name: ibis.ifelse(some, int(name == "seen0"), value) for name, value in patterns.items()
            }
        named = {key: what for key, (_, what) in keys.items()} | dict.fromkeys(
            patterns, "patterns of missing cells"
        )
        units = Stratified(self.engine, table.select(*keys, **patterns, **features), named, len(features))
        self.engine.tell("counting strata")
        units.refuse_many(limit)
        self.engine.tell("adding up means")
        of, size, mean = units.sizes_and_means()
        strata = units.strata(of, size, mean, products=self.question.cluster is None)
        rows = rows_of(strata)
        summed = Summed(
            frequency=rows.frequency,
            stratum=rows.stratum,
            fourths=units.fourths(of, rows),
            checksum=checksum([self.empty.name, *of.astype("string").to_numpy().ravel(), size, strata.mean]),
            dropped=dropped,
        )
        return self._panel(of, rows.points, summed)

    def _panel(self, of: pd.DataFrame, points: FloatArray, summed: Summed) -> Panel:
        """Return the rows as a panel."""
        asked, periods, m = self.question, self.empty.periods, len(points)
        stratum, dates = summed.stratum, _numbers(of["date"])
        bits = [
            of[f"seen{word}"].to_numpy(dtype=np.int64)[:, None] >> np.arange(len(places)) & 1
            for word, places in words_of(len(periods))
        ]
        seen: BoolArray = np.concatenate(bits, axis=1)[stratum] == 1
        y = np.where(seen, points[:, :1] + points[:, 1:], np.nan)
        names = ["never" if np.isnan(date) else self.empty.period_name(date) for date in dates]
        covariates: dict[str, FloatArray] = {}
        attributes: dict[str, Any] = {}
        by_unit = self._by_unit(self.units.table)
        for place, column in enumerate(by_unit):
            values = of[f"key{place}"]
            if column in self.names["covariates"]:
                covariates[column] = np.broadcast_to(_numbers(values)[stratum][:, None], (m, len(periods)))
            else:
                attributes[column] = values.to_numpy(dtype=str)[stratum]
        path = (periods >= dates[stratum][:, None]).astype(float)
        return Panel(
            name=self.empty.name,
            units=_labels([names[s] for s in stratum]),
            periods=periods,
            outcomes={asked.outcome: y},
            covariates=covariates,
            first_treated={asked.event: dates[stratum]},
            treatment={asked.event: path} if asked.event in self.names["treatment"] else {},
            attributes=attributes,
            populations=self.empty.populations,
            ambiguous_rule=self.empty.ambiguous_rule,
            period=self.empty.period,
            period_names=self.empty.period_names,
            summed=summed,
        )

    def _selected(self) -> tuple[ibis.Table, tuple[tuple[str, int], ...]]:
        """Return the units of the population whose event date is known, and why others are not among them."""
        asked, table, ibis = self.question, self.units.table, _ibis()
        dropped: list[tuple[str, int]] = []
        if asked.population != EVERYONE:
            inside = [self._holds(term) for term in terms_of(asked.population, self.empty)]
            if inside:
                belongs = _all(inside).fill_null(False)
                outside = int(
                    self.engine.frame(table.aggregate(n=(~belongs).cast("int64").sum()))["n"].iloc[0] or 0
                )
                if outside:
                    dropped.append((f"outside the population {asked.population}", outside))
                table = table.filter(belongs)
        if asked.event in self.names["treatment"] and asked.event not in self.names["first_treated"]:
            k = self.names["treatment"][asked.event]
            unknown = table[f"early{k}"] < table[f"late{k}"]
            if self.empty.ambiguous_rule == "drop":
                between = table.filter(unknown).group_by(early=table[f"early{k}"], late=table[f"late{k}"])
                found = self.engine.frame(between.aggregate(n=lambda units: units.count()))
                found = found.replace({-ENDLESS: -np.inf, ENDLESS: np.inf}).sort_values(["early", "late"])
                for early, late, units in found[["early", "late", "n"]].to_numpy():
                    text = interval_text(early, late, self.empty.period_name)
                    dropped.append((f"{AMBIGUOUS}, {text}", int(units)))
                table = table.filter(~unknown)
        if asked.weights in self.units.varying:
            first = first_values(self.reading, table, self.names["covariates"][asked.weights])
            k = self.names["covariates"][asked.weights]
            table = table.left_join(first, "u").mutate(
                **{f"x{k}": ibis.coalesce(first["first"], table[f"x{k}"])}
            )
        return table, tuple(dropped)

    def _holds(self, term: Term) -> Any:
        """Return the condition that a unit is as a term of a rule says."""
        table = self.units.table
        if is_attribute(term, self.empty):
            labels = table[f"a{self.names['attributes'][term.name]}"]
            named = labels_of(term, self._known(labels, term), self.empty)
            return labels.isin(named) if term.sign == "=" else labels.notin(named)
        bound, k = bound_of(term, self.empty), self.names["covariates"][term.name]
        if term.name in self.units.varying:
            raise changing(term, self.empty, str(first_unit(self.engine, table, table[f"varies{k}"])))
        return compared(term, table[f"x{k}"], bound)

    def _known(self, labels: Any, term: Term) -> list[str]:
        """Return the labels that units have: those that a term names if they all are among them, else all labels."""
        named = {label.strip() for label in term.value.split("|")}
        distinct = self.units.table.select(label=labels).distinct()
        there = self.engine.frame(distinct.filter(distinct.label.isin([*named, term.value])))[
            "label"
        ].tolist()
        if term.value in there or named <= {*there}:
            return there
        return [*there, *self.engine.frame(distinct.limit(MOST_VALUES))["label"].tolist()]

    def _date(self, table: ibis.Table) -> Any:
        """Return the first treated period of units, empty for never."""
        event = self.question.event
        if event in self.names["first_treated"]:
            return table[f"d{self.names['first_treated'][event]}"]
        return table[f"p{self.names['treatment'][event]}"]

    def _by_unit(self, table: ibis.Table) -> dict[str, tuple[Any, str]]:
        """Return what a question needs of units beside dates and outcomes, by column, and what it makes in words.

        Of a column that only rules are about, what the rules tell apart is enough.
        """
        asked, ibis = self.question, _ibis()
        plain = [name for name in asked.covariates if not terms_in(name)]
        whole = [name for name in (*plain, asked.weights, asked.cluster) if name is not None]
        rules = [
            *(name for name in asked.covariates if terms_in(name)),
            *([asked.group] if asked.group else []),
        ]
        terms = [term for rule in rules for term in terms_of(rule, self.empty)]
        needed: dict[str, tuple[Any, str]] = {}
        for name in dict.fromkeys([*whole, *(term.name for term in terms)]):
            own = [term for term in terms if term.name == name]
            what = (
                "weights"
                if name == asked.weights
                else "clusters"
                if name == asked.cluster
                else f"values of {name}"
            )
            if name in self.names["attributes"]:
                labels = table[f"a{self.names['attributes'][name]}"]
                if name not in whole:
                    named = {
                        label
                        for term in own
                        for label in (term.value, *map(str.strip, term.value.split("|")))
                    }
                    labels = ibis.ifelse(labels.isin(sorted(named)), labels, OTHERS)
                needed[name] = labels, what
            else:
                values = table[f"x{self.names['covariates'][name]}"]
                if name not in whole:
                    bounds = sorted({bound_of(term, self.empty) for term in own})
                    values = _between(values, bounds)
                needed[name] = values.fill_null(MISSING), what
        for term in terms:
            self._holds(term)
        return needed

    def _pattern(self, outcome: list[Any], places: range) -> Any:
        ibis = _ibis()
        return sum(
            (ibis.ifelse(outcome[t].notnull(), 2 ** (t - places[0]), 0).cast("int64") for t in places[1:]),
            ibis.ifelse(outcome[places[0]].notnull(), 1, 0).cast("int64"),
        )

    def _refuse_logarithm(self, table: ibis.Table) -> None:
        """Refuse outcomes that have no log(1 + y), of units that are not treated already."""
        asked, ibis = self.question, _ibis()
        k = self.names["outcomes"][asked.outcome]
        date, first = self._date(table), self.empty.periods[0]
        known_from = float(first + (asked.event in self.empty.treatment))
        moved = ibis.ifelse(date < known_from, date, date + asked.lag)
        already = (moved - asked.anticipation <= float(first)).fill_null(False)
        outcome = [table[f"y{k}_{place}"] for place in range(len(self.empty.periods))]
        least = ibis.least(*(y.fill_null(0.0) for y in outcome))
        bad = table.filter((least <= -1.0) & ~already).order_by(table.u.cast("string")).limit(1)
        found = self.engine.frame(bad.select("u", *(f"y{k}_{place}" for place in range(len(outcome)))))
        if len(found):
            values = found.iloc[0, 1:].to_numpy(dtype=float)
            place = int(np.argmax(values <= -1))
            where = f"({found.iloc[0, 0]}, {self.empty.period_name(self.empty.periods[place])})"
            raise QuestionError(
                f"Question: scale log1p needs outcomes above -1, but {asked.outcome} is {values[place]:g} for {where}; "
                'use scale="level".'
            )


def _ibis() -> Any:
    import ibis

    return ibis


def _all(conditions: list[Any]) -> Any:
    every = conditions[0]
    for condition in conditions[1:]:
        every &= condition
    return every


def _between(values: Any, bounds: list[float]) -> Any:
    """Return numbers that stand to some bounds as the values do, and are few."""
    below = [bounds[0] - 1.0, *((low + high) / 2 for low, high in pairwise(bounds))]
    pairs = zip(bounds, below, strict=True)
    cases = [case for bound, less in pairs for case in ((values < bound, less), (values == bound, bound))]
    return _ibis().cases(*cases, (values > bounds[-1], bounds[-1] + 1.0), else_=None)


def _numbers(values: pd.Series) -> FloatArray:
    """Return the numbers of a column of strata, NaN where they are missing."""
    numbers = values.to_numpy(dtype=float)
    return np.where(numbers == MISSING, np.nan, numbers)


def _labels(names: list[str]) -> Any:
    """Return labels of rows: a name and the number of the row among those of the name."""
    count: dict[str, int] = {}
    labels = []
    for name in names:
        count[name] = count.get(name, 0) + 1
        labels.append(f"{name}/{count[name]}")
    return np.array(labels, dtype=str)
