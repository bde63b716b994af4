"""Queries of a table of units for a question: who is in it, what makes strata of them, and sums by stratum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial, reduce
from operator import and_
from typing import Any

import ibis
import numpy as np
import pandas as pd

from study.core import BoolArray, FloatArray, IntArray, QuestionError, WorkerError, grouped, sums_by
from study.panel.drawing import (
    AMBIGUOUS,
    COMPARED,
    EVERYONE,
    Term,
    bound_of,
    changing,
    is_attribute,
    labels_of,
    logarithm,
    terms_in,
    terms_of,
)
from study.panel.engines import MOST_VALUES, Engine
from study.panel.panel import Panel, interval_text
from study.panel.question import Question
from study.panel.summed import Products, Rows, Summed, checksum, rows_of
from study.panel.unit_table import ENDLESS, UnitTable, first_unit, first_values, words_of

# Sums in one query.
MOST_SUMS = 400
# Of the largest part that a feature has in a value.
ROUNDING = 1e-12
# Stands for what is missing in a column by which units are in strata, since not every engine joins empty cells.
MISSING = -1.5e300
OTHERS = " others"  # no label begins with a space


@dataclass(frozen=True)
class Stratified:
    """Units in an engine with the columns that make strata of them, none of which is empty, and features f0, f1, ...

    Attributes
    ----------
    engine : Engine
    table : ibis.Table
    keys : mapping of str to str
        Columns whose values make a stratum, and what each is in words.
    n_features : int
    """

    engine: Engine
    table: ibis.Table
    keys: Mapping[str, str]
    n_features: int

    @cached_property
    def number(self) -> int:
        """How many strata there are."""
        return self._distinct(list(self.keys))

    def refuse_many(self, limit: int) -> None:
        """Refuse more strata than a limit, and say what makes them."""
        if self.number <= limit:
            return
        kinds = grouped((what, key) for key, what in self.keys.items())
        counts = {what: self._distinct(keys) for what, keys in kinds.items()}
        what = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count > 1)
        raise QuestionError(
            f"{self.engine.label}: the units are in {self.number:,} strata, more than limit={limit:,}: {what}; use "
            'coarser weights, covariates or clusters, missing="balanced", or a larger limit (more memory).'
        )

    def _distinct(self, keys: list[str]) -> int:
        return int(self.engine.number(self.table.select(*keys).distinct().count()))

    def sizes_and_means(self) -> tuple[pd.DataFrame, FloatArray, FloatArray]:
        """Return the keys of the strata in their order, how many units each has, and the means of their features."""
        table = self.table
        sums = {f"f{j}": table[f"f{j}"].sum() for j in range(self.n_features)}
        frame = self.engine.frame(table.group_by(list(self.keys)).aggregate(n=table.count(), **sums))
        frame = frame.sort_values(list(self.keys), ignore_index=True)
        size = frame["n"].to_numpy(dtype=float)
        mean = frame[list(sums)].to_numpy(dtype=float) / size[:, None]
        return frame[list(self.keys)], size, mean

    def products(self, of: pd.DataFrame, size: FloatArray, mean: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return means and sums of products of deviations from them by stratum, as :func:`rows_of` takes them.

        Sums of deviations from the means correct these for what adding large numbers has lost.
        """
        n, p = mean.shape
        joined = self.with_columns(of, {f"mean{j}": mean[:, j] for j in range(p)})
        deviations = {f"d{j}": joined[f"f{j}"] - joined[f"mean{j}"] for j in range(p)}
        table = joined.select("s", **deviations)
        pairs = [(j, k) for j in range(p) for k in range(j, p)]
        sums: dict[str, Any] = {"n": table.count()} | {f"sum{j}": table[f"d{j}"].sum() for j in range(p)}
        sums |= {f"of{j}_{k}": (table[f"d{j}"] * table[f"d{k}"]).sum() for j, k in pairs}
        totals = self._by_stratum(table, sums, n, "adding up products")
        if not np.array_equal(totals["n"], size):
            raise WorkerError(
                f"{self.engine.label}: the engine finds other units in a stratum than it counted; was the table "
                "changed meanwhile? Open the panel again."
            )
        lost = np.column_stack([totals[f"sum{j}"] for j in range(p)]) / size[:, None]
        block = np.empty((n, p, p))
        for j, k in pairs:
            block[:, j, k] = block[:, k, j] = totals[f"of{j}_{k}"]
        with np.errstate(over="ignore", invalid="ignore"):
            block -= size[:, None, None] * lost[:, :, None] * lost[:, None]
        if not np.isfinite(block).all():
            raise QuestionError(
                f"{self.engine.label}: the outcome or a covariate is too large to be squared; divide it by a number."
            )
        return mean + lost, block

    def fourths(self, of: pd.DataFrame, rows: Rows) -> Callable[[FloatArray], FloatArray]:
        """Return what adds up (sum_r value^2)^2 over the units of each stratum, from values at the rows."""

        def summed(values: FloatArray) -> FloatArray:
            maps = _without_rounding(rows.affine(values), rows)
            total = np.zeros((len(maps), maps.shape[2]))
            live = maps.reshape(len(maps), -1).any(axis=1)
            terms = np.count_nonzero(maps.any(axis=0), axis=(0, 2))
            queries = np.cumsum(terms) // MOST_SUMS
            for query in np.unique(queries[terms > 0]):
                functions = np.flatnonzero((queries == query) & (terms > 0))
                total[:, functions] = self._fourths(of, maps[:, :, functions], live)
            return total

        return summed

    def _fourths(self, of: pd.DataFrame, maps: FloatArray, live: Any) -> FloatArray:
        n, width, n_functions, several = maps.shape
        used = [(j, f, r) for f, r, j in np.ndindex(n_functions, several, width) if maps[:, j, f, r].any()]
        joined = self.with_columns(of, {f"c{j}_{f}_{r}": maps[:, j, f, r] for j, f, r in used}, live)
        values: dict[tuple[int, int], Any] = {}
        for j, f, r in used:
            term = joined[f"c{j}_{f}_{r}"] * (joined[f"f{j - 1}"] if j else 1.0)
            values[f, r] = values.get((f, r), 0.0) + term
        squares: dict[int, Any] = {}
        for (f, _), value in values.items():
            squares[f] = squares.get(f, 0.0) + value * value
        table = joined.select("s", **{f"q{f}": square for f, square in squares.items()})
        sums = {f"sum{f}": (table[f"q{f}"] * table[f"q{f}"]).sum() for f in squares}
        totals = self._by_stratum(table, sums, n, "adding up fourth powers")
        return np.column_stack([totals.get(f"sum{f}", np.zeros(n)) for f in range(n_functions)])

    def with_columns(
        self, of: pd.DataFrame, columns: Mapping[str, FloatArray], live: Any = slice(None)
    ) -> ibis.Table:
        """Return the units of some strata with columns by stratum, whose number is s."""
        by_stratum = pd.concat([of, pd.DataFrame({"s": np.arange(len(of)), **columns})], axis=1)[live]
        return self.table.inner_join(ibis.memtable(by_stratum), list(self.keys))

    def _by_stratum(
        self, table: ibis.Table, sums: Mapping[str, Any], n: int, step: str
    ) -> dict[str, FloatArray]:
        """Return sums by stratum, zero where it has no units there."""
        totals: dict[str, FloatArray] = {}
        every = list(sums)
        batches = [every[start : start + MOST_SUMS] for start in range(0, len(every), MOST_SUMS)]
        for number, names in enumerate(batches):
            self.engine.tell(step + (f", part {number + 1} of {len(batches)}" if len(batches) > 1 else ""))
            frame = self.engine.frame(table.group_by("s").aggregate(**{name: sums[name] for name in names}))
            for name in names:
                totals[name] = np.zeros(n)
                totals[name][frame["s"].to_numpy(dtype=np.int64)] = frame[name].to_numpy(dtype=float)
        return totals


def _without_rounding(maps: FloatArray, rows: Rows) -> FloatArray:
    """Return maps without the slopes that solving has left of zero, so that queries are about few features."""
    n, p = len(maps), rows.points.shape[1]
    size = np.bincount(rows.stratum, minlength=n)
    centre = sums_by(rows.points / size[rows.stratum, None], rows.stratum, n)
    spread = np.zeros((n, p))
    np.maximum.at(spread, rows.stratum, np.abs(rows.points - centre[rows.stratum]))
    moved = np.abs(maps[:, 1:]) * spread[:, :, None, None]
    left = np.where(moved < ROUNDING * moved.max(axis=1, keepdims=True, initial=0.0), maps[:, 1:], 0.0)
    constant = maps[:, :1] + np.einsum("sp,spfr->sfr", centre, left)[:, None]
    return np.concatenate([constant, maps[:, 1:] - left], axis=1)


class Query:
    """What a question needs of a table of units, from its engine."""

    def __init__(self, question: Question, units: UnitTable, empty: Panel) -> None:
        self.question, self.units, self.empty = question, units, empty
        self.reading, self.engine, self.roles = units.reading, units.reading.engine, units.reading.roles
        self.names = {
            role: {column: k for k, column in enumerate(getattr(self.roles, role))}
            for role in ("outcomes", "first_treated", "treatment", "covariates", "attributes")
        }

    def refuse_single_units(self) -> None:
        """Refuse what depends on more of each unit than its stratum's sums."""
        question, where = self.question, f"Question about {self.empty.name}"
        needs = "which needs the rows of single units; draw a sample of units and read it with study.Panel.from_long"
        if question.event not in self.empty.first_treated:
            unit = self._first_unit(f"off{self.names['treatment'][question.event]}")
            raise QuestionError(f"{where}: {question.event} goes back to 0, first for {unit}, {needs}.")
        for name in question.instruments:
            raise QuestionError(f"{where}: {name} is an instrument, {needs}.")
        for name in question.covariates:
            for flag, columns, how in (
                ("varies", self.units.varying, "changes over time"),
                ("holes", self.units.patchy, "is missing in some rows"),
            ):
                if name in columns:
                    unit = self._first_unit(f"{flag}_x{self.names['covariates'][name]}")
                    raise QuestionError(
                        f"{where}: covariate {name} {how} within units, first in {unit}, {needs}."
                    )

    def _first_unit(self, flag: str) -> Any:
        return first_unit(self.engine, self.units.table, self.units.table[flag])

    def answer(self, limit: int) -> Panel:
        """Return the rows, of as many strata at most.

        Covariates that make more strata than that are added up by their products, where they are numbers.
        """
        table, dropped = self._selected()
        k, n_periods = self.names["outcomes"][self.question.outcome], len(self.empty.periods)
        outcome = [table[f"y{k}_{place}"] for place in range(n_periods)]
        if self.question.scale == "log1p":
            least = ibis.least(*(y.fill_null(0.0) for y in outcome))
            if self.engine.number(table.count(where=least <= -1.0)):  # refused if a sample has them
                table = table.mutate(**{f"raw{place}": y for place, y in enumerate(outcome)})
            outcome = [_log1p(y) for y in outcome]
        self.engine.tell("counting strata")
        added: tuple[str, ...] = ()
        units = self._stratified(table, outcome, added)
        numbers = tuple(name for name in self.question.covariates if name in self.names["covariates"])
        if numbers and numbers == self.question.covariates and units.number > limit:
            units, added = self._stratified(table, outcome, numbers), numbers
        units.refuse_many(limit)
        self.engine.tell("adding up means")
        (of, size, mean), products = units.sizes_and_means(), None
        if self.question.cluster is None:
            mean, products = units.products(of, size, mean)
        rows = rows_of(size, mean, products)
        summed = Summed(
            frequency=rows.frequency,
            stratum=rows.stratum,
            fourths=units.fourths(of, rows),
            checksum=checksum([*of.astype("string").to_numpy().ravel(), size, _certain(mean)]),
            dropped=dropped,
            products=_products(rows.points, len(added), n_periods) if added else None,
            of=self.question.of_rows,
            refuse=partial(self._refuse_logarithm, units, of) if "raw0" in units.table.columns else None,
        )
        return self._panel(of, rows.points, summed, added)

    def _stratified(self, table: ibis.Table, outcome: list[Any], added: tuple[str, ...]) -> Stratified:
        """Return units with what makes strata of them, and features: level, changes since, and those of covariates.

        Covariates that are added up are centred and scaled; features are they, their products with each other and with
        changes.
        """
        n_periods = len(self.empty.periods)
        events = {event: f"p{k}" for event, k in self.names["treatment"].items()}
        events |= {event: f"d{k}" for event, k in self.names["first_treated"].items()}
        date = table[events[self.question.event]].fill_null(MISSING)
        keys: dict[str, tuple[Any, str]] = {"date": (date, "event dates")}
        keys |= {f"key{place}": value for place, value in enumerate(self._by_unit(table, added).values())}
        columns = {f"y{place}": y for place, y in enumerate(outcome)}
        columns |= {key: value for key, (value, _) in keys.items()}
        columns |= {f"seen{word}": self._pattern(outcome, places) for word, places in words_of(n_periods)}
        columns |= {f"x{j}": value for j, value in enumerate(self._standardised(table, added))}
        raw = [name for name in table.columns if name.startswith("raw")]
        table = table.select("u", *raw, **columns, level=ibis.coalesce(*outcome))
        changes = [(table[f"y{t}"] - table.level).fill_null(0.0) for t in range(n_periods)]
        x = [table[f"x{j}"] for j in range(len(added))]
        features = [table.level.fill_null(0.0), *changes, *x]
        features += [x[j] * x[k] for j in range(len(x)) for k in range(j, len(x))]
        features += [each * change for each in x for change in changes]
        patterns = {f"seen{word}": table[f"seen{word}"] for word, _ in words_of(n_periods)}
        if self.question.missing == "balanced":
            # Units with gaps are left out all the same, so that one pattern can stand for all of theirs.
            full = [table[f"seen{word}"] == 2 ** len(places) - 1 for word, places in words_of(n_periods)]
            some = table.level.notnull() & ~reduce(and_, full)
            features = [ibis.ifelse(some, 0.0, value) for value in features]
            patterns = {word: ibis.ifelse(some, int(word == "seen0"), of) for word, of in patterns.items()}
        named = {key: what for key, (_, what) in keys.items()}
        named |= dict.fromkeys(patterns, "patterns of missing cells")
        numbered = {f"f{j}": value for j, value in enumerate(features)}
        chosen = table.select("u", *raw, *keys, **patterns, **numbered)
        return Stratified(self.engine, chosen, named, len(features))

    def _standardised(self, table: ibis.Table, added: tuple[str, ...]) -> list[Any]:
        """Return covariates less their means and over their standard deviations, zero where they are missing."""
        columns = [table[f"x{self.names['covariates'][name]}"] for name in added]
        if not columns:
            return []
        sums = {f"{what}{j}": getattr(x, what)() for j, x in enumerate(columns) for what in ("mean", "std")}
        moments = self.engine.frame(table.aggregate(**sums)).astype(float).iloc[0]
        scale = [moments[f"std{j}"] if moments[f"std{j}"] > 0 else 1.0 for j in range(len(columns))]
        return [((x - float(moments[f"mean{j}"])) / scale[j]).fill_null(0.0) for j, x in enumerate(columns)]

    def _panel(self, of: pd.DataFrame, points: FloatArray, summed: Summed, added: tuple[str, ...]) -> Panel:
        """Return the rows as a panel."""
        question, periods = self.question, self.empty.periods
        stratum, dates, n_periods = summed.stratum, _numbers(of["date"]), len(periods)
        bits = [
            of[f"seen{word}"].to_numpy(dtype=np.int64)[:, None] >> np.arange(len(places)) & 1
            for word, places in words_of(n_periods)
        ]
        seen: BoolArray = np.concatenate(bits, axis=1)[stratum] == 1
        y = np.where(seen, points[:, :1] + points[:, 1 : 1 + n_periods], np.nan)
        names = ["never" if np.isnan(date) else self.empty.period_name(date) for date in dates]
        needed = self._by_unit(self.units.table, added)
        by_unit = {column: of[f"key{place}"] for place, column in enumerate(needed)}
        known = {name: values for name, values in by_unit.items() if name in self.names["covariates"]}
        numbers = {name: _numbers(values)[stratum] for name, values in known.items()}
        for j, name in enumerate(added):
            there = by_unit[f"whether {name} is there"].to_numpy(dtype=bool)[stratum]
            numbers[name] = np.where(there, points[:, 1 + n_periods + j], np.nan)
        labels = {name: values for name, values in by_unit.items() if name in self.names["attributes"]}
        path = (periods >= dates[stratum][:, None]).astype(float)
        return replace(
            self.empty,
            units=_labels([names[s] for s in stratum]),
            outcomes={question.outcome: y},
            covariates={name: np.outer(values, np.ones(n_periods)) for name, values in numbers.items()},
            first_treated={question.event: dates[stratum]},
            treatment={question.event: path} if question.event in self.names["treatment"] else {},
            attributes={name: values.to_numpy(dtype=str)[stratum] for name, values in labels.items()},
            summed=summed,
        )

    def _selected(self) -> tuple[ibis.Table, tuple[tuple[str, int], ...]]:
        """Return the units of the population whose event date is known, and why others are not among them."""
        question, table = self.question, self.units.table
        dropped: list[tuple[str, int]] = []
        if question.population != EVERYONE:
            inside = [self._holds(term) for term in terms_of(question.population, self.empty)]
            if inside:
                belongs = reduce(and_, inside).fill_null(False)
                outside = int(self.engine.number(table.count(where=~belongs)))
                if outside:
                    dropped.append((f"outside the population {question.population}", outside))
                table = table.filter(belongs)
        if question.event in self.names["treatment"] and question.event not in self.names["first_treated"]:
            k = self.names["treatment"][question.event]
            unknown = table[f"early{k}"] < table[f"late{k}"]
            if self.empty.ambiguous_rule == "drop":
                between = table.filter(unknown).group_by(early=table[f"early{k}"], late=table[f"late{k}"])
                dates = self.engine.frame(between.aggregate(n=lambda units: units.count()))
                dates = dates.replace({-ENDLESS: -np.inf, ENDLESS: np.inf}).sort_values(["early", "late"])
                for early, late, units in dates[["early", "late", "n"]].to_numpy():
                    text = interval_text(early, late, self.empty.period_name)
                    dropped.append((f"{AMBIGUOUS}, {text}", int(units)))
                table = table.filter(~unknown)
        if question.weights in self.units.varying:
            first = first_values(self.reading, table, self.names["covariates"][question.weights])
            k = self.names["covariates"][question.weights]
            values = {f"x{k}": ibis.coalesce(first["first"], table[f"x{k}"])}
            table = table.left_join(first, "u").mutate(**values)
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
            raise changing(term, self.empty, str(self._first_unit(f"varies_x{k}")))
        return COMPARED[term.sign](table[f"x{k}"], bound)

    def _known(self, labels: Any, term: Term) -> list[str]:
        """Return the labels that units have: those that a term names if they all are among them, else all labels."""
        distinct = self.units.table.select(label=labels).distinct()
        named = distinct.filter(distinct.label.isin([*term.labels, term.value]))
        there = self.engine.frame(named)["label"].tolist()
        if term.value in there or {*term.labels} <= {*there}:
            return there
        return [*there, *self.engine.frame(distinct.limit(MOST_VALUES))["label"].tolist()]

    def _by_unit(self, table: ibis.Table, added: tuple[str, ...]) -> dict[str, tuple[Any, str]]:
        """Return what a question needs of units beside dates and outcomes, by column, and what it makes in words.

        Of a column that only rules are about, what the rules distinguish is enough; of a covariate that is added up,
        whether it is there.
        """
        question = self.question
        plain = [name for name in question.covariates if not terms_in(name) and name not in added]
        full = [name for name in (*plain, question.weights, question.cluster) if name is not None]
        rules = [*filter(terms_in, question.covariates), *filter(None, [question.group])]
        terms = [term for rule in rules for term in terms_of(rule, self.empty)]
        needed: dict[str, tuple[Any, str]] = {}
        for name in added:
            there = table[f"x{self.names['covariates'][name]}"].notnull().cast("int8")
            needed[f"whether {name} is there"] = there, f"whether {name} is there"
        for name in dict.fromkeys([*full, *(term.name for term in terms)]):
            own = [term for term in terms if term.name == name]
            what = {question.cluster: "clusters", question.weights: "weights"}.get(name, f"values of {name}")
            if name in self.names["attributes"]:
                labels = table[f"a{self.names['attributes'][name]}"]
                if name not in full:
                    named = {label for term in own for label in (term.value, *term.labels)}
                    labels = ibis.ifelse(labels.isin(sorted(named)), labels, OTHERS)
                needed[name] = labels, what
            else:
                values = table[f"x{self.names['covariates'][name]}"]
                if name not in full:
                    values = _between(values, sorted({bound_of(term, self.empty) for term in own}))
                needed[name] = values.fill_null(MISSING), what
        for term in terms:
            self._holds(term)
        return needed

    def _pattern(self, outcome: list[Any], places: range) -> Any:
        bits = [ibis.ifelse(outcome[t].notnull(), 2**bit, 0).cast("int64") for bit, t in enumerate(places)]
        return sum(bits[1:], bits[0])

    def _refuse_logarithm(
        self, units: Stratified, of: pd.DataFrame, strata: IntArray, used: BoolArray
    ) -> None:
        """Refuse outcomes of some strata that have no log(1 + y) in the periods that are used."""
        table = units.with_columns(of, {}, np.isin(np.arange(len(of)), strata))
        names = [f"raw{place}" for place in np.flatnonzero(used)]
        least = ibis.least(*(table[name].fill_null(0.0) for name in names))
        bad = table.filter(least <= -1.0).order_by(table.u.cast("string")).limit(1)
        witness = self.engine.frame(bad.select("u", *names))
        values = witness[names].to_numpy(dtype=float)
        logarithm(self.question, values, self.empty, witness["u"].to_numpy(), self.empty.periods[used])


def _products(points: FloatArray, p: int, n_periods: int) -> Products:
    """Return the products of the constant and p covariates among the features of rows."""
    pairs, first = np.empty((len(points), 1 + p, 1 + p)), 1 + n_periods
    pairs[:, 0, 0] = 1.0
    pairs[:, 0, 1:] = pairs[:, 1:, 0] = points[:, first : first + p]
    j, k = np.triu_indices(p)
    pairs[:, 1 + j, 1 + k] = pairs[:, 1 + k, 1 + j] = points[:, first + p : first + p + len(j)]
    cross = points[:, first + p + len(j) :].reshape(len(points), p, n_periods)
    return Products(pairs, np.concatenate([points[:, None, 1:first], cross], axis=1))


def _log1p(y: Any) -> Any:
    """Return log(1 + y) to all its digits where y is small (Kahan), since ibis has no function of the name.

    It is zero where it does not exist, which is refused unless the unit is in no sample.
    """
    sum_ = 1.0 + y
    return ibis.cases((sum_ <= 0.0, 0.0), (sum_ == 1.0, y), else_=sum_.ln() * y / (sum_ - 1.0))


def _between(values: Any, bounds: list[float]) -> Any:
    """Return numbers that stand to some bounds as the values do, and are few."""
    # Where the number below a bound is another bound, nothing lies between.
    below = [np.nextafter(bound, -np.inf) for bound in bounds]
    pairs = zip(bounds, map(float, below), strict=True)
    cases = [case for bound, less in pairs for case in ((values < bound, less), (values == bound, bound))]
    return ibis.cases(*cases, (values > bounds[-1], float(np.nextafter(bounds[-1], np.inf))), else_=None)


def _certain(means: FloatArray) -> FloatArray:
    """Return multiples of means by stratum of which no order of adding changes the first digits.

    What may be left of a zero is zero, and no multiple by pi lies half-way between two numbers of few digits, as means
    of few decimals do.
    """
    return np.pi * np.where(np.abs(means) < 1e-9 * np.abs(means).max(axis=0, initial=0.0), 0.0, means)


def _numbers(values: pd.Series) -> FloatArray:
    """Return the numbers of a column of strata, NaN where they are missing."""
    numbers = values.to_numpy(dtype=float)
    return np.where(numbers == MISSING, np.nan, numbers)


def _labels(names: list[str]) -> Any:
    """Return labels of rows: a name and the number of the row among those of the name."""
    number = pd.Series(names).groupby(names).cumcount() + 1
    return np.array([f"{name}/{place}" for name, place in zip(names, number, strict=True)], dtype=str)
