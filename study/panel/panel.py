"""Panels: units x periods as wide arrays, with the first period of every kind of event."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from study.core import (
    BoolArray,
    Described,
    FloatArray,
    IntArray,
    QuestionError,
    check,
    checked,
    counted,
    first_of,
    read_toml,
    refuse_unknown,
    settle,
    shown,
)
from study.panel.packaged import panel_entries, shipped
from study.panel.rows import PeriodUnit, Rows, period_name
from study.panel.rules import Names, Roles, event_dates, groups_as_units, refuse_first
from study.panel.summed import Summed
from study.panel.tables import frame_of, read_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from study.panel.profile import Profile

Ambiguous = Literal["drop", "earliest", "latest"]


@dataclass(frozen=True, eq=False, repr=False)
class Panel(Described):
    """Outcomes, covariates and events of n units over T consecutive periods.

    Attributes
    ----------
    name : str
        What the panel is called in messages and outputs.
    units : ndarray of str, shape (n,)
        Unit labels, sorted where a table was read; a sample has them sorted whatever their order is.
    periods : ndarray of int, shape (T,)
        Consecutive periods.
    outcomes, covariates : dict of ndarray of float, shape (n, T)
        NaN marks a cell that is not observed.
    first_treated : dict of ndarray of float, shape (n,)
        By event: the first treated period, NaN = never. It may lie outside the window.
    treatment : dict of ndarray of float, shape (n, T)
        By event: a 0/1 path, for events that were given as one. One that never goes back to 0
        is in ``first_treated`` as well.
    ambiguous : dict of dict of (float, float)
        By event that was given as a path and is absorbing, then by unit: the first and the last period in
        which the unit may have been treated first, where the path does not say; infinite where that may be
        before the first period, or after the last or never.
    ambiguous_rule : {"drop", "earliest", "latest"}
        What ``first_treated`` says of these units, see :meth:`from_long`; "drop" leaves them out of every sample.
    period : str, optional
        What periods are counted in, see :meth:`from_long`; they are the user's own whole numbers if it is not said.
    period_names : tuple of str
        What the user calls the periods, shape (T,); empty for whole numbers. They are no data and not in the checksum.
    attributes : dict of ndarray, shape (n,)
        Fixed labels of units: country, tier, cluster.
    doses : dict of ndarray of float, shape (n, T)
        Amounts of treatment by period. An event may be one, as a treatment of several levels, or have one, as the
        question's ``dose``.
    within : str, optional
        The attribute that says what each unit lies in, where units are groups within something that is treated as a
        whole: the fields of a university. Questions that name no cluster are clustered by it.
    provenance : dict
        Where the data come from (sources, versions, checksums), as recorded with the panel.
    populations : dict of str to str
        Rules of populations by name (see :func:`study.panel.population`); they are no data and not in the checksum.
    summed : Summed, optional
        What its rows stand for, where they are not units: those of a :class:`study.LargePanel`.
    unit : str
        What a unit is called: the name of the column of units. It is no data and not in the checksum.
    """

    name: str
    units: NDArray[Any]
    periods: IntArray
    outcomes: Mapping[str, FloatArray]
    covariates: Mapping[str, FloatArray]
    first_treated: Mapping[str, FloatArray]
    treatment: Mapping[str, FloatArray]
    attributes: Mapping[str, NDArray[Any]]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    populations: Mapping[str, str] = field(default_factory=dict)
    ambiguous: Mapping[str, Mapping[str, tuple[float, float]]] = field(default_factory=dict)
    ambiguous_rule: Ambiguous = "drop"
    period: PeriodUnit | None = None
    period_names: tuple[str, ...] = ()
    doses: Mapping[str, FloatArray] = field(default_factory=dict)
    within: str | None = None
    summed: Summed | None = None
    unit: str = "unit"

    def __post_init__(self) -> None:
        """Refuse in a panel made by hand arrays of another shape or kind, and periods with gaps.

        Numbers are read as float64, since those of few bits overflow; event times would count a gap as one period.
        """
        check(f"Panel {self.name}", dict.fromkeys(DATA, Mapping), vars(self))
        n, t = np.size(self.units), np.size(self.periods)
        given: list[tuple[str, Any, str, tuple[int, ...]]] = [
            ("units", self.units, "labels", (n,)),
            ("periods", self.periods, "int64", (t,)),
        ]
        for block in DATA:
            kind = "labels" if block == "attributes" else "float64"
            shape: tuple[int, ...] = (n,) if block in ("attributes", "first_treated") else (n, t)
            if not isinstance(values := getattr(self, block), NotSaved):
                numbers = {
                    name: array.astype(float)
                    for name, array in values.items()
                    if isinstance(array, np.ndarray) and array.dtype != float and array.dtype.kind in "biuf"
                }
                if numbers and kind == "float64":
                    values = {**values, **numbers}
                    object.__setattr__(self, block, values)
                given += [(f'{block}["{name}"]', array, kind, shape) for name, array in values.items()]
        for where, array, kind, shape in given:
            is_array = isinstance(array, np.ndarray)
            if not is_array or array.shape != shape or kind not in ("labels", array.dtype.name):
                found = f"of {array.dtype}, shape {array.shape}" if is_array else shown(array)
                raise QuestionError(
                    f"Panel {self.name}: {where} is {found}; it must be an array of {kind}, shape {shape}"
                    f"{', of units by periods' if shape == (n, t) else ''}."
                )
        if (np.diff(self.periods) != 1).any():
            raise QuestionError(
                f"Panel {self.name}: periods are not consecutive whole numbers in order; Panel.from_long reads others."
            )

    @property
    def n_rows(self) -> int:
        """Number of rows of its arrays."""
        return len(self.units)

    def rows_of(self, units: NDArray[Any]) -> IntArray:
        """Return the row of each of some units, whose order in a panel made by hand can be any.

        Parameters
        ----------
        units : ndarray of str, shape (m,)
            Labels of units, each one of the panel's.

        Returns
        -------
        ndarray of int, shape (m,)
            Rows of the panel's arrays.

        Raises
        ------
        QuestionError
            If the panel has no unit of one of the labels.
        """
        import pandas as pd

        rows = pd.Index(self.units).get_indexer(units)
        if (rows < 0).any():
            raise QuestionError(
                f'{self.name}: there is no unit "{units[rows < 0][0]}"; write labels as in panel.units.'
            )
        return rows

    @property
    def n_units(self) -> int:
        """Number of units."""
        if self.summed is None:
            return self.n_rows
        return round(self.summed.frequency.sum()) + sum(units for _, units in self.summed.dropped)

    def _described(self) -> tuple[str, dict[str, str]]:
        first, last = map(self.period_name, self.periods[[0, -1]])
        size = f"{counted(self.n_units, 'unit')}, {counted(len(self.periods), 'period')}"
        title = f"Panel {self.name}: {size} from {first} to {last}"
        if isinstance(self.outcomes, NotSaved):
            return title, {"not here": "what it holds, since it was not saved with its estimate"}
        dates = {name: ~np.isnan(first) for name, first in self.first_treated.items()}
        paths = {name: (path == 1).any(axis=1) for name, path in self.treatment.items()}
        events = [f"{name} ({counted(treated.sum(), 'unit')})" for name, treated in (paths | dates).items()]
        names = {"outcomes": self.outcomes, "events": events, "doses": self.doses}
        names |= {kind: getattr(self, kind) for kind in ("covariates", "attributes", "populations")}
        return title, {kind: first_of(known) for kind, known in names.items() if known}

    def period_name(self, period: float) -> str:
        """Return a period as its user writes it, for example "2014", "2014Q1" or "wave 3".

        Parameters
        ----------
        period : float
            One of ``periods``, or a number before or after them.

        Returns
        -------
        str
        """
        return period_name(period, self.periods, self.period_names, self.period)

    @property
    def period_unit(self) -> str:
        """What one period is called: what periods are counted in, or a year where they are numbers of four digits."""
        if self.period is not None:
            return "period" if self.period == "rank" else self.period
        return "year" if 1000 <= self.periods[0] <= self.periods[-1] <= 2999 else "period"

    def profile(self) -> Profile:
        """Return what the panel holds: cohort sizes, share treated, gaps, switch-offs, ambiguous dates, able designs.

        Examples
        --------
        >>> print(study.load_panel("cvpr").profile())  # doctest: +SKIP
        """
        from study.panel.profile import Profile

        return Profile(self)

    def window(self, periods: IntArray | FloatArray | None = None) -> str:
        """Return the first and the last of some periods, or of all, in words: "2013-2024", "-5 to 5".

        Parameters
        ----------
        periods : ndarray of int, optional
            In ascending order; all of the panel's where none are given.

        Returns
        -------
        str
            The one period, where first and last are the same.
        """
        first, last = map(self.period_name, (self.periods if periods is None else periods)[[0, -1]])
        if first == last:
            return first
        return f"{first} to {last}" if self.period_names or "-" in first else f"{first}-{last}"

    @property
    def events(self) -> tuple[str, ...]:
        """Names of the events of which the panel knows the dates, the path or the dose."""
        return tuple(dict.fromkeys([*self.first_treated, *self.treatment, *self.doses]))

    def path(self, event: str) -> FloatArray:
        """Return the path of an event that was given by period, 0 and 1 or the amounts of a dose, shape (n, T).

        Parameters
        ----------
        event : str
            One of ``treatment`` or ``doses``.

        Returns
        -------
        ndarray of float, shape (n, T)
            NaN where treatment is not known.

        Raises
        ------
        KeyError
            If the event was given by its first treated period, or is not in the panel.
        """
        return self.treatment[event] if event in self.treatment else self.doses[event]

    @cached_property
    def checksum(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of everything that an estimate can depend on."""
        if self.summed is not None:
            return self.summed.checksum
        digest = hashlib.sha256()

        def add(text: str) -> None:
            digest.update(text.encode(errors="surrogatepass"))

        add("\0".join(map(str, self.units)))
        digest.update(self.periods.astype("<i8").tobytes())
        for block in (self.outcomes, self.covariates, self.first_treated, self.treatment, self.doses):
            for key in sorted(block):
                add(f"{key}\0")
                values = np.where(np.isnan(block[key]), np.nan, block[key]) + 0.0
                digest.update(values.astype("<f8").tobytes())
        for key in sorted(self.attributes):
            add("\0".join([key, *map(str, self.attributes[key])]))
        for key in sorted(self.ambiguous) if self.ambiguous_rule == "drop" else ():
            add(repr((key, sorted(self.ambiguous[key].items()))))
        return digest.hexdigest()[:16]

    def plot(
        self,
        event: str,
        outcome: str | None = None,
        *,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Figure:
        """Draw which cohorts are treated when, and the mean outcome of each; see :func:`study.figures.adoption_plot`.

        Parameters
        ----------
        event : str
            An event of the panel.
        outcome : str, optional
            The panel's first where none is given.
        title : str, optional
        labels : mapping of str to str, optional
            What the event, the outcome and the unit of the period are called on the figure, by their names.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        QuestionError
            If the panel has no such event or outcome, or the event has more treatment histories than a figure can show.

        Examples
        --------
        >>> study.load_panel("cvpr").plot("first_accelerator", "papers")  # doctest: +SKIP
        """
        from study.figures import adoption_plot

        return adoption_plot(self, event, outcome, title=title, labels=labels)

    @classmethod
    @checked
    def from_long(
        cls,
        data: Any,
        *,
        unit: str,
        time: str,
        first_treated: Names = (),
        treatment: Names = (),
        outcomes: Names,
        covariates: Names = (),
        attributes: Names = (),
        name: str | None = None,
        provenance: Mapping[str, Any] | None = None,
        populations: Mapping[str, str] | None = None,
        ambiguous: Ambiguous = "drop",
        period: PeriodUnit | None = None,
        never: float | str | None = None,
        doses: Names = (),
        group: str | None = None,
    ) -> Panel:
        """Build a panel from one row a unit and period.

        Parameters
        ----------
        data : DataFrame, Arrow table, DuckDB relation or path
            A long table (a DataFrame of pandas, polars, Dask or Spark, an Arrow table, a DuckDB relation), or the path
            of a file of one: CSV (UTF-8, comma-separated, with a header, plain or gzip), Parquet, Feather, Stata or
            Excel (its first sheet that shows). The same table has the same checksum by any of them. In a Stata file
            labels of values name units, attributes, and a covariate of three values or more that all have one.
        unit, time : str
            Columns that identify a row. Periods are whole numbers, unless ``period`` says what they are.
        first_treated : str or sequence of str
            Columns with the first treated period of the row's unit; empty, Inf, or 0 before the first
            period, is never treated.
        treatment : str or sequence of str
            Columns that are 1 in treated cells and 0 elsewhere; empty is not known.
        outcomes, covariates : str or sequence of str
            Number columns; empty is not observed. A covariate without a single number is an attribute.
        attributes : str or sequence of str
            Label columns that do not change within a unit (country, tier, cluster).
        name : str, optional
            Name of the panel; by default the file's name, or "panel".
        provenance : dict, optional
            Where the data come from.
        populations : dict of str to str, optional
            Rules of populations by name, for :attr:`study.Question.population`.
        ambiguous : {"drop", "earliest", "latest"}
            What to do with a unit whose 0/1 treatment is not observed when it may have started, since the row is
            missing or the cell is empty: it is 0 in 2013, not known in 2014 and 1 in 2015. "drop" leaves it out of
            every sample about this event, counted in the sample's flow; "earliest" dates it by the first period in
            which it may have been treated (2014), "latest" by the first in which it is observed treated (2015).
            A unit that is treated when it is first observed after the first period may have been treated before the
            panel: by "earliest" it is already treated. A unit that is never observed treated, but has an outcome in
            a later period than its last 0, may be treated by then: by "latest" it is never treated. What is not
            known before the last 0 or after the first 1 of a unit is harmless, and a treatment that is not absorbing
            has no date: its paths are taken as they are.
        period : {"year", "quarter", "month", "week", "day", "rank"}, optional
            What periods are counted in, where they are no consecutive whole numbers. Dates, and texts with the year
            first ("2010-03-31", "2010m3", "2010Q1"), are put into their year, quarter, month, week or day; a year has
            four digits, and 201003 is a month. "rank" takes whatever has an order: a biennial panel, waves, school
            years, an ordered category; lags and event times then count waves, and an event between two of them starts
            in the later one. Event dates are written like periods.
        never : float or str, optional
            What stands for never treated in ``first_treated`` as well, for example 9999 or "never".
        doses : str or sequence of str
            Number columns with the amount of treatment in each period, 0 where there is none; empty is not known.
        group : str, optional
            A column of labels, where the table has one row a unit, group and period (a university, a field and a year).
            The panel's units are then the groups within units, "ETH Zurich: vision", with both labels as attributes,
            and questions are clustered by the unit, which is what is treated.

        Returns
        -------
        Panel

        Raises
        ------
        DataError
            If the data are no table, a column is missing or not numeric, a unit-period stands twice,
            periods have a gap, an event period is impossible, or a label changes within a unit; the message
            names the first row concerned.

        Examples
        --------
        >>> Panel.from_long("labs.dta", unit="lab", time="month", period="month",
        ...                 first_treated="cluster", never=9999, outcomes="papers")  # doctest: +SKIP
        """
        import pandas as pd

        events = {"first_treated": first_treated, "treatment": treatment, "doses": doses}
        others = {"outcomes": outcomes, "covariates": covariates, "attributes": attributes}
        roles = Roles.of(unit, time, group, **events, **others)
        if isinstance(data, str | Path):
            label, (table, lines) = name or Path(data).name, read_table(Path(data))
        else:
            label, lines = name or "panel", None
            table = data if isinstance(data, pd.DataFrame) else frame_of(data, "Panel.from_long")
        table, roles = groups_as_units(table, roles, label)
        rows = Rows(table, lines, roles.unit, time, period, never)
        roles = roles.with_labels([column for column in roles.covariates if rows.in_words(column)])
        refuse_first(rows, roles, label)
        units, codes, each = rows.distinct(roles.unit)
        periods, shape = rows.periods(), (len(units), len(rows.periods()))
        listed = each > 1
        order = np.argsort(codes) if listed else np.empty(0, dtype=np.int64)
        columns = np.argsort(rows.when_first()) if listed else order
        first = order * each if listed else rows.first_of(roles.unit)

        def wide(column: str) -> FloatArray:
            if listed:
                values, _, on_end = rows.compact(column)
                if on_end > 1:
                    return np.broadcast_to(values[order][:, None], shape)
                block = values.reshape(shape)[order]
                return block if np.all(np.diff(columns) == 1) else block[:, columns]
            block = np.full(len(units) * len(periods), np.nan)
            block[rows.cells(roles.unit)] = rows.numbers(column)[0]
            return block.reshape(shape)

        observed = {column: wide(column) for column in roles.outcomes}
        paths = {column: wide(column) for column in roles.treatment}
        dates = {column: event_dates(rows, column)[first] for column in roles.first_treated}
        intervals: dict[str, dict[str, tuple[float, float]]] = {}
        for column, path in paths.items():
            if column not in dates and not switched_off(path).any():
                dates[column] = first_ones(path, periods)
                between = adoption_intervals(path, periods, observed.values())
                which = np.flatnonzero(between[:, 0] < between[:, 1])
                if len(which):
                    pairs = map(tuple, between[which].tolist())
                    intervals[column] = dict(zip(units[which].tolist(), pairs, strict=True))
                if ambiguous == "earliest":
                    dates[column][which] = np.maximum(between[which, 0], periods[0])
        labels = {column: rows.labels(column) for column in roles.attributes}
        return cls(
            name=label,
            units=units,
            periods=periods,
            outcomes=observed,
            covariates={column: wide(column) for column in roles.covariates},
            first_treated=dates,
            treatment=paths,
            attributes={column: names[of_row[first]] for column, (names, of_row) in labels.items()},
            provenance=dict(provenance or {}),
            populations=dict(populations or {}),
            ambiguous=intervals,
            ambiguous_rule=ambiguous,
            period=period,
            period_names=rows.period_names(),
            doses={column: wide(column) for column in roles.doses},
            within=None if group is None else roles.attributes[0],
            unit=roles.unit,
        )


class NotSaved(Mapping[str, Any]):
    """A block of the panel of an estimate that was saved without it: whoever looks into it is told so."""

    def _refuse(self, *_: object) -> Any:
        raise QuestionError(
            "Panel: a saved estimate has the arrays of its sample and not its panel, which this needs; give "
            "it back by study.load_estimate(path, panel)."
        )

    __getitem__ = __iter__ = __len__ = __contains__ = _refuse


# What a panel holds besides its units and periods: data, and what is known of them.
DATA = ("outcomes", "covariates", "first_treated", "treatment", "attributes", "doses")
BLOCKS = (*DATA, "provenance", "populations", "ambiguous")


@checked
def load_panel(name: str) -> Panel:
    """Load a panel that ships with the package.

    Parameters
    ----------
    name : str
        Name of the panel, for example "cvpr"; ``data/panels.toml`` lists them.

    Returns
    -------
    Panel

    Raises
    ------
    QuestionError
        If there is no such panel.
    """
    settle(shipped("data"))  # if `study data assemble` was killed while it wrote
    catalogue = panel_entries()
    refuse_unknown("panel", name, catalogue, "load_panel")
    entry = dict(catalogue[name])
    sources = read_toml(shipped("data", "sources.toml"))
    return Panel.from_long(shipped("data", entry.pop("file")), name=name, provenance=sources, **entry)


def switched_off(path: FloatArray) -> BoolArray:
    """Return which observed 0 follow an observed 1 of the same unit, shape (n, T)."""
    treated = np.maximum.accumulate(np.nan_to_num(path), axis=1)
    return np.asarray((treated == 1) & (path == 0))


def since_onset(treatment: FloatArray) -> FloatArray:
    """Return periods since the onset of a unit's spell of treatment, or to its next one as negative, shape (n, T).

    NaN where there is none, or a spell begins before the unit is seen untreated.
    """
    on, off, time = treatment == 1, treatment == 0, np.arange(float(treatment.shape[1]))
    starts = np.zeros(on.shape, dtype=bool)
    starts[:, 1:] = on[:, 1:] & off[:, :-1]
    last, untreated = (np.maximum.accumulate(np.where(at, time, -np.inf), axis=1) for at in (starts, off))
    following = np.minimum.accumulate(np.where(starts, time, np.inf)[:, ::-1], axis=1)[:, ::-1]
    since = np.where(on & (last > untreated), time - last, np.where(off, time - following, np.nan))
    return np.where(np.isfinite(since), since, np.nan)


def since_end(treatment: FloatArray) -> FloatArray:
    """Return periods since a unit was last treated where it is not, from 1 on, shape (n, T); NaN elsewhere."""
    time = np.arange(float(treatment.shape[1]))
    since = time - np.maximum.accumulate(np.where(treatment == 1, time, -np.inf), axis=1)
    return np.where((treatment == 0) & np.isfinite(since), since, np.nan)


def first_ones(path: FloatArray, periods: IntArray) -> FloatArray:
    """Return the first period with a 1 by unit, NaN where there is none."""
    ones = path == 1
    return np.where(ones.any(axis=1), periods[ones.argmax(axis=1)].astype(float), np.nan)


def interval_text(earliest: float, latest: float, name: Callable[[float], str] = "{:.0f}".format) -> str:
    """Return in words between which periods a unit may be treated first, as :attr:`Panel.ambiguous` has it."""
    if np.isinf(earliest) and np.isinf(latest):
        return "treatment is never observed"
    if np.isinf(latest):
        return f"in {name(earliest)} or later, or never"
    if np.isinf(earliest):
        return f"in {name(latest)} or before"
    return f"between {name(earliest)} and {name(latest)}"


def adoption_intervals(path: FloatArray, periods: IntArray, outcomes: Iterable[FloatArray]) -> FloatArray:
    """Return the first and the last period in which each unit may be treated first, shape (n, 2).

    They are equal where the path says it. Before the first period is minus infinity; after the last, or never, is
    infinity. A unit that is not observed treated, and has no outcome, shape (n, T) each, after its last 0, is never
    treated as far as it matters.
    """
    first = first_ones(path, periods)
    both = np.column_stack([first, first])
    both[np.isnan(first)] = np.inf
    if not np.isnan(path).any():
        return both
    last_zero = np.where(path == 0, periods.astype(float), -np.inf).max(axis=1)
    seen = np.any([~np.isnan(outcome) for outcome in outcomes], axis=0)
    last_seen = np.where(seen, periods.astype(float), -np.inf).max(axis=1)
    earliest = np.where(first == periods[0], periods[0], last_zero + 1)
    open_ended = np.isnan(first) & (last_seen <= last_zero)
    both[~open_ended, 0] = earliest[~open_ended]
    return both


def panel_state(panel: Panel) -> tuple[Any, ...]:
    """Return what of a panel an answer can depend on: its data, their roles and order, its populations, its words."""
    held = tuple(tuple(getattr(panel, block)) for block in DATA)
    words = panel.name, panel.unit, panel.period, panel.period_names
    return *words, panel.checksum, held, dict(panel.populations), panel.within
