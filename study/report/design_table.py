"""Designs by outcomes as tables: estimates, whether they agree, what they could have found, on whom."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_type_hints

import numpy as np

from study.core import QuestionError, capital, check, checked, p_text, refuse_unknown, shown
from study.designs import Assumes, all_designs, find_design
from study.estimates import UNKNOWN, Effect, Estimand, Estimate, Power, few_clusters_warning, smallest_effect
from study.inference import LEVEL, Comparison, agreement_of, answered
from study.panel import Panel, Question, Sample
from study.report.columns import (
    CONVENTIONS,
    LETTERS,
    POWER_OF,
    effect_lines,
    lettered,
    p_cell,
    refused_notes,
)
from study.report.comparison import JOINT, last_event_time, left_out, sentences_of, span_of, title_of
from study.report.table import Block, Cell, Line, Number, Table, error

COLUMNS = {"outcomes": 4, "designs": 6}  # of a table; more are on tables of their own
WHO = "study table"
STARS = (0.1, 0.05, 0.01)
SCALES = {
    "level": "Effect in units of the outcome",
    "log1p": "Effect on log(1 + outcome)",
    "proportional": "Effect as a share of the counterfactual mean",
}
EQUAL = "equal"
AVERAGES = {
    "event_average": "the average over {times}, with equal weights",
    "treated_average": "the average over all treated units and periods",
    "cohort_average": "the average over cohorts, weighted by their size",
    "calendar_average": "the average over calendar periods, with equal weights",
}


@dataclass(frozen=True)
class Words:
    """What a table calls its parts.

    Attributes
    ----------
    name : str
        Of the table, in its LaTeX label.
    caption : str
    outcomes, scales : mapping of str to str
        The headings of the columns and the titles of the panels.
    unit, units : str
        What a unit and several are called.
    outcome_units, heading : str
        In what minimum detectable effects are given beside percent, in a sentence and as the heading of a column.
    labels : mapping of str to str
        What the columns of the panel are called beside the outcomes: clusters, covariates, events.
    """

    name: str
    caption: str
    outcomes: Mapping[str, str]
    scales: Mapping[str, str]
    unit: str = "unit"
    units: str = "units"
    outcome_units: str = "units of the outcome"
    heading: str = "Units"
    labels: Mapping[str, str] = field(default_factory=dict)

    def named(self, name: str) -> str:
        """Return what a column of the panel is called."""
        return self.labels.get(name, name)

    def under(self, labels: Mapping[str, str]) -> Words:
        """Return the words with labels in the place of some of them, by the names of what they stand for."""
        outcomes, scales = (
            {n: labels.get(n, t) for n, t in of.items()} for of in (self.outcomes, self.scales)
        )
        units = {name: labels.get(name, getattr(self, name)) for name in ("unit", "units")}
        return replace(self, outcomes=outcomes, scales=scales, labels=labels, **units)


@dataclass(frozen=True)
class Style:
    """How a table of models is set.

    Attributes
    ----------
    columns : {"outcomes", "designs"}
        What stands in columns; the other stands in rows.
    stars : tuple of float
        Levels: an effect has a star for each that its p-value is below.
    digits : int
        Decimals of effects and standard errors.
    notes : {"short", "full", "none"}
        Short ones say how standard errors are made; with none, only what stars and dashes mean is said.
    mde : bool
        Whether each effect stands over its minimum detectable effect.

    Raises
    ------
    QuestionError
        If a value is none of these.
    """

    columns: Literal["outcomes", "designs"] = "outcomes"
    stars: tuple[float, ...] = ()
    digits: int = 3
    notes: Literal["short", "full", "none"] = "full"
    mde: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        check(WHO, get_type_hints(type(self)), vars(self))
        if not all(0 < level < 1 for level in self.stars):
            raise QuestionError(
                f"{WHO}: stars is {self.stars}; give levels between 0 and 1, such as 0.1, 0.05, 0.01."
            )


class Answers(NamedTuple):
    """What designs answer about outcomes on one scale: a panel of the tables.

    Attributes
    ----------
    scale : str
    effects : mapping of str to sequence of Effect or None
        By the design's label, one an outcome; None where it refuses.
    powers : mapping of str to sequence of Power
        What each could have found, in the same order, where it is asked.
    tests : sequence of Line
        Lines below the effects.
    """

    scale: str
    effects: Mapping[str, Sequence[Effect | None]]
    powers: Mapping[str, Sequence[Power]] = MappingProxyType({})
    tests: Sequence[Line] = ()


def effects_table(
    words: Words,
    answers: Sequence[Answers],
    notes: Sequence[str],
    more: Sequence[tuple[str, list[Line]]] = (),
) -> Table:
    """Return the table of designs by outcomes: estimates over their standard errors, a panel a scale and some more."""
    panels = []
    for of in answers:
        estimates = [line for label, effects in of.effects.items() for line in effect_lines(label, effects)]
        panels.append((words.scales[of.scale], [*estimates, *of.tests]))
    blocks = lettered([*panels, *more])
    return Table(_in_letters(words.name), words.caption, list(words.outcomes.values()), blocks, notes)


def power_table(words: Words, answers: Sequence[Answers], digits: int = 3) -> Table:
    """Return the table of what each design could have found: in the outcome's units, and in percent."""
    panels, percent = [], []
    for letter, of in zip(LETTERS, answers, strict=False):
        percent.append(f"of {POWER_OF[of.scale]} (Panel {letter})")
        lines = [
            Line(label, [cell for p in powers for cell in (Number(p.units, digits), Number(p.percent, 1))])
            for label, powers in of.powers.items()
        ]
        panels.append((words.scales[of.scale], lines))
    return Table(
        name=_in_letters(f"{words.name}-power"),
        caption=words.caption,
        headings=[words.heading, "%"] * len(words.outcomes),
        spans=[(title, 2) for title in words.outcomes.values()],
        blocks=lettered(panels),
        notes=[
            "The smallest effect that a two-sided 5% test finds with 80% power, by design, in "
            f"{words.outcome_units} and in percent {' and '.join(percent)}.",
            "An empty cell is a mean that is not positive or not implied, or a design that refuses the question.",
        ],
    )


def _in_letters(name: str) -> str:
    """Return a name that LaTeX and HTML take for a label."""
    return re.sub(r"[^0-9A-Za-z]+", "-", name)


def design_tables(
    words: Words, comparisons: Sequence[Comparison], style: Style = Style()
) -> tuple[Table, ...]:
    """Return comparisons of the same designs for the same outcomes as tables.

    Parameters
    ----------
    words : Words
    comparisons : sequence of Comparison
        One a scale, each a panel of the tables.
    style : Style

    Returns
    -------
    tuple of Table
        Designs by outcomes with standard errors, tests that the designs agree, and what the models rest on.
        Many columns are in several tables.
    """
    if style.columns == "outcomes":
        return tuple(
            _pages(
                words,
                comparisons[0].outcomes,
                "outcome",
                lambda of, some: _of_outcomes(of, comparisons, some, style),
            )
        )
    labels = comparisons[0].labels
    return tuple(_pages(words, labels, "design", lambda of, some: models_table(of, comparisons, some, style)))


def _of_outcomes(words: Words, comparisons: Sequence[Comparison], some: Sequence[str], style: Style) -> Table:
    return models_table(
        _about(words, some), [comparison.about(some) for comparison in comparisons], some, style
    )


def comparison_tables(comparison: Comparison, kind: str = "latex") -> bytes:
    """Return the tables of a comparison one after another, as "latex", "html" or "md"."""
    return b"\n".join(table.formatted(kind) for table in as_tables(comparison))


def as_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Return the averages and the tests that they agree, and the differences of each outcome.

    The averages of many outcomes are in several tables.
    """
    names = {outcome: outcome for outcome in comparison.outcomes}
    words = Words("comparison", "", names, {comparison.question.scale: "Averages"})

    def averages(of: Words, some: Sequence[str]) -> Table:
        return _averages(_about(of, some), comparison.about(some), comparison)

    tested = [outcome for outcome, agreement in comparison.agreement.items() if agreement.pairs]
    return (
        *_pages(words, comparison.outcomes, "outcome", averages),
        *(_differences(comparison, outcome) for outcome in tested),
    )


def _about(words: Words, outcomes: Sequence[str]) -> Words:
    return replace(words, outcomes={outcome: words.outcomes[outcome] for outcome in outcomes})


def _pages(
    words: Words, columns: Sequence[str], kind: str, table: Callable[[Words, Sequence[str]], Table]
) -> list[Table]:
    """Return the table of some columns, or several with at most so many of them each."""
    most, tables = COLUMNS[f"{kind}s"], []
    for first in range(0, len(columns), most):
        some = columns[first : first + most]
        last = first + len(some)
        which = f"{kind} {last}" if len(some) == 1 else f"{kind}s {first + 1} to {last}"
        part = f" ({which} of {len(columns)})" if len(some) < len(columns) else ""
        tables.append(table(replace(words, caption=words.caption + part), some))
    if len(tables) == 1:
        return tables
    return [replace(page, name=f"{page.name}-{number}") for number, page in enumerate(tables, start=1)]


def models_table(
    words: Words, comparisons: Sequence[Comparison], columns: Sequence[str], style: Style
) -> Table:
    """Return the table of some outcomes, or designs: effects, a panel a scale, and what they rest on."""
    first, by_outcome = comparisons[0], style.columns == "outcomes"
    tags = {label: _number(first, label) for label in first.labels} if by_outcome else words.outcomes
    designs = {label: f"{_number(first, label)} {label}" for label in first.labels}
    titles = designs if by_outcome else words.outcomes
    panels, models = [], []
    for comparison in comparisons:
        rows = {row: [(column, row) if by_outcome else (row, column) for column in columns] for row in tags}
        rows = {row: keys for row, keys in rows.items() if any(map(comparison.has, keys))}
        fits_of = {row: [comparison.estimates.get(key) for key in keys] for row, keys in rows.items()}
        lines = []
        for row, fits in fits_of.items():
            effects = [Effect.of(row, fit) if fit else None for fit in fits]
            effect, *below = effect_lines(titles[row], effects, style.digits, style.stars)
            known = map(comparison.has, rows[row])
            lines.append(
                Line(effect.label, [c if a else "" for c, a in zip(effect.cells, known, strict=True)])
            )
            lines += [*below, *(_detectable(fits, style.digits) if style.mde else [])]
        lines += _tests(comparison) if by_outcome else []
        tagged = [(tags[row], fits) for row, fits in fits_of.items()]
        lines += _rows_of("R²", tagged, lambda fit: Number(fit.r_squared))
        panels.append((words.scales[comparison.question.scale], lines))
        models += tagged
    rests_on = [
        line
        for name, cell in _statistics(words, models, style.digits).items()
        for line in _rows_of(name, models, cell)
    ]
    headings = [words.outcomes[column] if by_outcome else designs[column] for column in columns]
    blocks = lettered([*panels, ("Sample", rests_on)] if rests_on else panels)
    return Table(_in_letters(words.name), words.caption, headings, blocks, _said(words, comparisons, style))


def _detectable(fits: Sequence[Estimate | None], digits: int) -> list[Line]:
    """Return the lines of minimum detectable effects, on the scale of the effects and in percent."""
    powers = [smallest_effect(fit) if fit else UNKNOWN for fit in fits]
    return [
        Line("Minimum detectable effect", [Number(power.effect, digits) for power in powers]),
        Line("Minimum detectable effect, %", [Number(power.percent, 1) for power in powers]),
    ]


Models = Sequence[tuple[str, Sequence[Estimate | None]]]


def _statistics(words: Words, models: Models, digits: int) -> dict[str, Callable[[Estimate], Cell]]:
    """Return what models rest on, by the label of its line; the specification where it differs."""
    units, every = capital(words.units), [fit for _, fits in models for fit in fits if fit]
    lines: dict[str, Callable[[Estimate], Cell]] = {
        "Observations": lambda fit: Number(fit.n_obs, 0),
        units: lambda fit: Number(fit.sample.n_units, 0),
        f"{units} treated": lambda fit: Number(fit.sample.n_treated, 0),
        "Clusters": lambda fit: Number(fit.n_clusters, 0),
        "Outcome mean": lambda fit: Number(_outcome_mean(fit.sample), digits),
        "Fixed effects": lambda fit: f"{words.unit}, period" if fit.n_fixed_effects else "",
        "Covariates": lambda fit: ", ".join(map(words.named, fit.sample.question.covariates)),
    }
    for name in [f.name for f in fields(Question) if f.name not in ("outcome", "scale", "covariates")]:
        values = {getattr(fit.sample.question, name) for fit in every}
        if len(values) > 1:
            lines[capital(name.replace("_", " "))] = partial(_specified, words, name)
    return lines


def _specified(words: Words, name: str, fit: Estimate) -> str:
    """Return a value of a question as a cell, empty where it is none."""
    value = getattr(fit.sample.question, name)
    if name == "cluster":
        value = value or words.unit
    return "" if value is None else words.named(str(value))


def _outcome_mean(sample: Sample) -> float:
    """Return the mean of the observed outcome in its own units."""
    y = np.expm1(sample.y) if sample.question.scale == "log1p" else sample.y
    weights = np.broadcast_to(sample.weights[:, None], y.shape)[sample.observed]
    return float(np.average(y[sample.observed], weights=weights))


def _rows_of(name: str, models: Models, cell: Callable[[Estimate], Cell]) -> list[Line]:
    """Return what models rest on as one line, or one for the rows that are alike where they differ.

    Counts that differ are a range; what no model has is no line.
    """
    rows = [(tag, [cell(fit) if fit else None for fit in fits]) for tag, fits in models]
    columns = [
        [c for c in column if c is not None] for column in zip(*(cells for _, cells in rows), strict=True)
    ]
    if not any(_shown(c) for column in columns for c in column):
        return []
    if all(isinstance(c, Number) and isinstance(c.value, int) for column in columns for c in column):
        return [Line(name, [_range([int(c.value) for c in column]) for column in columns])]
    if all(len(set(map(_shown, column))) < 2 for column in columns):
        return [Line(name, [column[0] if column else "" for column in columns])]
    alike: dict[tuple[str, ...], tuple[list[Cell], dict[str, None]]] = {}
    for tag, cells in rows:
        shown = tuple(map(_shown, cells))
        if any(shown):
            alike.setdefault(shown, ([c or "" for c in cells], {}))[1][tag] = None
    return [Line(f"{name}, {', '.join(tags)}", cells) for cells, tags in alike.values()]


def _shown(cell: Cell | None) -> str:
    return cell or "" if not isinstance(cell, Number) else cell.text


def _averages(words: Words, comparison: Comparison, family: Comparison) -> Table:
    """Return the averages of a comparison, whose p-values are adjusted for the outcomes of another."""
    words = replace(words, caption=title_of(comparison) + words.caption)
    notes = ["Standard errors in parentheses.", *sentences_of(comparison, family)]
    agreements, more = list(comparison.agreement.values()), []
    if any(agreement.sup_t for agreement in agreements):
        lines = [
            Line("Differences tested", [Number(agreement.tested, 0) for agreement in agreements]),
            _test_line("Largest absolute t", comparison, "sup_t_statistic"),
            _test_line(f"{LEVEL:.0%} critical value", comparison, "sup_t_critical_value"),
            _test_line("p-value (sup-t)", comparison, "sup_t_p_value", p_cell),
            _test_line("Wald chi-squared", comparison, "wald_statistic"),
            _test_line("Rank", comparison, "wald_rank", lambda rank: Number(rank, 0)),
            _test_line("p-value (Wald)", comparison, "wald_p_value", p_cell),
        ]
        more.append(("Tests that the designs agree", lines))
    if comparison.adjusted:
        lines = []
        for label in comparison.labels:
            adjusted = [comparison.adjusted.get((outcome, label)) for outcome in comparison.outcomes]
            for method, name in {"Romano-Wolf": "romano_wolf", "Holm": "holm"}.items():
                if any(adjusted):
                    cells = [p_cell(getattr(p_values, name)) if p_values else "" for p_values in adjusted]
                    lines.append(Line(f"{_number(comparison, label)}, {method}", cells))
        more.append(("p-values adjusted for the outcomes", lines))
    return effects_table(words, [_answers(comparison)], notes, more)


def _differences(comparison: Comparison, outcome: str) -> Table:
    agreement = comparison.agreement[outcome]
    lines = []
    for row in comparison.differences().query("outcome == @outcome").itertuples():
        first, second = (_number(comparison, label) for label in (row.first, row.second))
        difference: Cell = EQUAL if row.equal else Number(row.difference)
        cells = [difference, error(row.std_error), Number(row.statistic), p_cell(row.p_adjusted)]
        lines.append(Line(f"{first} less {second}", cells))
    compared = ", ".join(f"{_number(comparison, label)} {label}" for label in agreement.labels)
    notes = [f"{compared}.", JOINT]
    if agreement.sup_t is not None:
        notes.append(
            f"p-values are adjusted for all differences; the {LEVEL:.0%} critical value of the absolute t for all of "
            f"them at once is {agreement.sup_t.critical_value:.3f} ({agreement.sup_t.draws} draws)."
        )
    return Table(
        name=f"differences:{comparison.outcomes.index(outcome) + 1}",
        caption=f"Differences between the designs: {outcome}",
        headings=["Difference", "Std. error", "t", "p-value"],
        blocks=[Block("The first less the second", lines)],
        notes=notes,
    )


def _answers(comparison: Comparison) -> Answers:
    rows = {f"{_number(comparison, label)} {label}": _row(comparison, label) for label in comparison.labels}
    effects = {name: [Effect.of(name, fit) if fit else None for fit in row] for name, row in rows.items()}
    return Answers(comparison.question.scale, effects)


def _tests(comparison: Comparison) -> list[Line]:
    """Return the lines below the estimates: whether the designs agree."""
    lines = []
    agreements = [comparison.agreement[outcome] for outcome in comparison.outcomes]
    if any(agreement.sup_t for agreement in agreements):
        lines += [
            _test_line("Designs agree, p-value", comparison, "sup_t_p_value", p_cell),
            _test_line("Designs agree, Wald p", comparison, "wald_p_value", p_cell),
            Line("Designs compared", [Number(len(a.labels), 0) if a.labels else "" for a in agreements]),
        ]
    return lines


def _test_line(
    label: str, comparison: Comparison, column: str, cell: Callable[[float], Cell] = Number
) -> Line:
    """Return the line of a column of the tests that designs agree, empty where there is no test."""
    values = comparison.tests()[column].astype(float)
    return Line(label, ["" if math.isnan(value) else cell(value) for value in values])


def _number(comparison: Comparison, label: str) -> str:
    return f"({comparison.labels.index(label) + 1})"


def _row(comparison: Comparison, label: str) -> list[Estimate | None]:
    return [comparison.estimates.get((outcome, label)) for outcome in comparison.outcomes]


def _fits(comparisons: Sequence[Comparison]) -> list[Estimate]:
    """Return the estimates of all comparisons."""
    return [fit for comparison in comparisons for fit in comparison.estimates.values()]


def _range(counts: Sequence[int]) -> Cell:
    if len(set(counts)) == 1:
        return Number(counts[0], 0)
    return span_of(counts) if counts else ""


def _said(words: Words, comparisons: Sequence[Comparison], style: Style) -> list[str]:
    """Return the notes below a table of models, as long as its style has them."""
    fits = _fits(comparisons)
    notes = []
    if fits and style.notes != "none":
        clusters = (fit.sample.question.cluster for fit in fits)
        by = dict.fromkeys(words.named(cluster) if cluster else words.unit for cluster in clusters)
        conventions = _by_design(_numbered(comparisons, lambda fit: CONVENTIONS[fit.convention]))
        notes.append(f"Standard errors in parentheses, clustered by {' or '.join(by)}: {conventions}.")
    if fits and style.notes == "full":
        notes = [
            f"Estimand: {_by_design(_numbered(comparisons, _estimand))}.",
            *notes,
            *_more(words, comparisons, style),
        ]
    if style.mde and style.notes != "none":
        notes.append("The minimum detectable effect is what a two-sided 5% test finds with 80% power.")
    if fits and style.notes != "none":
        notes += _few_clusters(words, comparisons)[:1]
    if style.stars:
        levels = sorted(style.stars, reverse=True)
        notes.append(", ".join(f"{'*' * k} p < {level:g}" for k, level in enumerate(levels, start=1)) + ".")
    return [*notes, *refused_notes(sentence for c in comparisons for sentence in c.refused)]


def _more(words: Words, comparisons: Sequence[Comparison], style: Style) -> list[str]:
    """Return what full notes say more: under what an estimate is an effect, of tests, and of the panel."""
    first = _fits(comparisons)[0].sample
    tested = [a for c in comparisons for a in c.agreement.values() if a.sup_t]
    test = (
        f"That the designs agree is tested over all differences between them, by the largest absolute t "
        f"({comparisons[0].draws} draws) and by a Wald test; with few treated units both reject less often than their "
        f"level says. {JOINT}"
    )
    if style.columns == "designs":
        p_values = [
            f"{words.outcomes[outcome]} ({words.scales[c.question.scale]}) {p_text(agreement.sup_t.p_value)}"
            for c in comparisons
            for outcome, agreement in c.agreement.items()
            if agreement.sup_t
        ]
        test += f" p-values by the largest t: {'; '.join(p_values)}."
    dropped = left_out(first)
    return [
        f"An estimate is an effect of the event only if what its design assumes holds: {_assumptions(comparisons)}.",
        *([test] if tested else []),
        *dict.fromkeys(note for c in comparisons for note in c.notes),
        f"Panel of {first.panel.n_units} {words.units}: {first.panel.name}, checksum {first.panel.checksum}."
        + (f" Left out: {'; '.join(dropped)}." if dropped else ""),
    ]


def _numbered(
    comparisons: Sequence[Comparison], words_of: Callable[[Estimate], str]
) -> dict[str, dict[str, None]]:
    """Return the words for estimates, with the numbers of the designs that they hold for."""
    numbers: dict[str, dict[str, None]] = {}
    for comparison in comparisons:
        for label in comparison.labels:
            for fit in filter(None, _row(comparison, label)):
                numbers.setdefault(words_of(fit), {})[_number(comparison, label)] = None
    return numbers


def _by_design(numbers: Mapping[str, Iterable[str]]) -> str:
    """Return words with the designs that they hold for, without these where it is one thing."""
    if len(numbers) == 1:
        return next(iter(numbers))
    return "; ".join(f"{words} in {', '.join(designs)}" for words, designs in numbers.items())


def _estimand(fit: Estimate) -> str:
    if fit.estimand is Estimand.COEFFICIENT:
        return "a coefficient, not an average effect"
    if not fit.estimand.has_path:
        return fit.estimand.with_article
    average, last = fit.sample.question.average, last_event_time(fit.sample)
    if average == "event_average" and last == 0:
        return "the effect at event time 0"
    times = "all event times from 0" if last is None else f"event times 0 to {last}"
    return AVERAGES[average].format(times=times)


def _assumptions(comparisons: Sequence[Comparison]) -> str:
    """Say under which assumptions an estimate is an effect: those that all designs share, then the others."""
    everything = [assumed(fit) for fit in _fits(comparisons)]
    shared = [a for a in everything[0] if all(a in each for each in everything)]
    others = _numbered(comparisons, lambda fit: ", ".join(a for a in assumed(fit) if a not in shared))
    own = [f"{words} in {', '.join(designs)}" for words, designs in others.items() if words]
    return "; ".join([", ".join(shared), *own] if shared else own)


def assumed(fit: Estimate) -> list[Assumes]:
    """Return what an estimate's design assumes, with or without covariates as its question has them."""
    plain, given = Assumes.PARALLEL_TRENDS, Assumes.CONDITIONAL_PARALLEL_TRENDS
    has = bool(fit.sample.question.covariates)
    own = [(given if has else plain) if a in (plain, given) else a for a in find_design(fit.design).assumes]
    return [a for a in dict.fromkeys(own) if has or a is not Assumes.OVERLAP]


def _few_clusters(words: Words, comparisons: Sequence[Comparison]) -> list[str]:
    """Return the warnings of designs for which few clusters carry the variance, with their outcomes."""
    several = len(words.outcomes) > 1
    return [
        warning.replace(f"{fit.design}:", f"{_number(c, label)}{f', {words.outcomes[of]}' * several}:", 1)
        for c in comparisons
        for (of, label), fit in c.estimates.items()
        if (warning := few_clusters_warning(fit)) is not None
    ]


@checked
def table(
    models: Estimate | Comparison | Sequence[Estimate | Comparison] | Mapping[str, Estimate],
    *,
    columns: Literal["designs", "outcomes"] = "designs",
    stars: bool | Sequence[float] = False,
    digits: int = 3,
    labels: Mapping[str, str] | None = None,
    notes: Literal["short", "full", "none"] = "short",
    mde: bool = False,
    caption: str = "",
    name: str = "models",
) -> Table:
    """Return estimates and comparisons as one table of designs and outcomes, a panel a scale.

    Parameters
    ----------
    models : Estimate, Comparison, sequence of these, or mapping of label to Estimate
        Each estimate is shown as its headline.
    columns : {"designs", "outcomes"}
        What stands in columns; the other stands in rows.
    stars : bool or sequence of float
        Levels of stars; 0.1, 0.05 and 0.01 for True.
    digits : int
        Decimals of effects and standard errors.
    labels : mapping of str to str, optional
        What outcomes, events, clusters, covariates, designs and scales are called, and "unit" and "units".
    notes : {"short", "full", "none"}
        With none, only what stars and dashes mean is said.
    mde : bool
        Whether each effect stands over its minimum detectable effect, on its scale and in percent.
    caption, name : str
        Above the table, and in its label in LaTeX.

    Returns
    -------
    Table
        ``print`` shows it as text, ``save`` writes it as LaTeX, HTML, Markdown, Word, CSV or text.

    Raises
    ------
    QuestionError
        If there is no model, two have one name, or a label is of nothing in the table.

    Examples
    --------
    >>> table = study.table([fit, other], stars=True, labels={"papers": "Papers a year"})  # doctest: +SKIP
    >>> table.save("effects.tex")  # doctest: +SKIP
    """
    levels = (STARS if stars else ()) if isinstance(stars, bool) else tuple(stars)
    style, labels = Style(columns, levels, digits, notes, mde), labels or {}
    every = [_as_comparison(model, label) for label, model in _given(models)]
    for comparison in every:
        panel = next((fit.sample.panel for fit in comparison.estimates.values()), None)
        check_labels(labels, panel, comparison.labels, WHO)
    comparisons = _by_scale(_told_apart([_relabelled(comparison, labels) for comparison in every]))
    first = comparisons[0]
    words = Words(name, caption, {outcome: outcome for outcome in first.outcomes}, SCALES).under(labels)
    events = dict.fromkeys(labels.get(c.question.event, c.question.event) for c in every)
    if not caption:
        words = replace(
            words, caption=f"Effect of {' and of '.join(events)} on {', '.join(words.outcomes.values())}"
        )
    return models_table(words, comparisons, first.labels if columns == "designs" else first.outcomes, style)


def check_labels(labels: Mapping[str, str], panel: Panel | None, more: Iterable[str], where: str) -> None:
    """Refuse a label of what is no column of the panel, design or scale, nor one of some more names."""
    known = {"unit", "units", *SCALES, *all_designs(), *more}
    if panel is not None:
        known |= {*panel.outcomes, *panel.events, *panel.covariates, *panel.attributes}
    refuse_unknown("name to label", labels, known, where)


def _given(models: Any) -> list[tuple[str, Estimate | Comparison]]:
    """Return models with their labels, which are empty where they are given without."""
    if isinstance(models, Mapping):
        return list(models.items())
    every = [models] if isinstance(models, Estimate | Comparison) else list(models)
    if not every or any(isinstance(model, str) for model in every):
        raise QuestionError(f"{WHO}: models is {shown(models)}; give estimates or comparisons, one at least.")
    return [("", model) for model in every]


def _as_comparison(model: Estimate | Comparison, label: str) -> Comparison:
    """Return an estimate as the comparison of one design, whose label is its name where none is given."""
    if isinstance(model, Comparison):
        return model
    question, label = model.sample.question, label or model.design
    estimates = {(question.outcome, label): answered(model.headline)}
    return Comparison(question, (label,), (question.outcome,), estimates, {}, {}, {}, 0)


def _relabelled(comparison: Comparison, labels: Mapping[str, str]) -> Comparison:
    """Return a comparison whose designs have given labels, or their titles in the place of their names."""
    designs = all_designs()
    titles = {label: designs[label].title if label in designs else label for label in comparison.labels}
    return _renamed(comparison, {label: labels.get(label, title) for label, title in titles.items()})


def _renamed(comparison: Comparison, names: Mapping[str, str]) -> Comparison:
    by_label: dict[str, Any] = {
        field: {
            (outcome, names[label]): value for (outcome, label), value in getattr(comparison, field).items()
        }
        for field in ("estimates", "refusals", "adjusted")
    }
    return replace(comparison, labels=tuple(names[label] for label in comparison.labels), **by_label)


def _told_apart(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons whose labels say what estimates of one label, outcome and scale differ by."""
    cells = Counter((c.question.scale, key) for c in comparisons for key in c.estimates)
    twice = {label for (_, (_, label)), count in cells.items() if count > 1}
    specified: dict[str, list[dict[str, Any]]] = {label: [] for label in twice}
    for comparison in comparisons:
        for (_, label), fit in comparison.estimates.items():
            if label in twice:
                specified[label].append(_specification(fit))
    apart = []
    for comparison in comparisons:
        names = {}
        for (_, label), fit in comparison.estimates.items():
            own = _specification(fit) if label in twice else {}
            differing = [k for k in own if any(other.get(k) != own[k] for other in specified[label])]
            names[label] = label + f" ({', '.join(_told(k, own[k]) for k in differing)})" * bool(differing)
        apart.append(_renamed(comparison, {label: names.get(label, label) for label in comparison.labels}))
    for (_, (outcome, label)), count in Counter(
        (c.question.scale, key) for c in apart for key in c.estimates
    ).items():
        if count > 1:
            raise QuestionError(
                f'{WHO}: {count} models of {outcome} are "{label}"; give each a label: '
                'study.table({"first": fit, "second": other}).'
            )
    return apart


def _told(name: str, value: Any) -> str:
    """Return what an estimate has of a name for its label."""
    told, words = ", ".join(value) if isinstance(value, tuple) else value, name.replace("_", " ")
    return f"no {words}" if told in (None, "") else f"{words} {told}"


def _specification(fit: Estimate) -> dict[str, Any]:
    """Return what may tell an estimate apart from another by the same design for the same outcome."""
    fields_of = {k: v for k, v in vars(fit.sample.question).items() if k not in ("outcome", "scale")}
    return fields_of | {"convention": fit.convention, "panel": fit.sample.panel.name} | dict(fit.options)


def _by_scale(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons as one a scale, all of the same designs for the same outcomes."""
    labels = tuple(dict.fromkeys(label for c in comparisons for label in c.labels))
    outcomes = tuple(dict.fromkeys(outcome for c in comparisons for outcome in c.outcomes))
    untested = dict.fromkeys(outcomes, replace(agreement_of({}), notes=()))
    joined: dict[str, Comparison] = {}
    for comparison in comparisons:
        scale = comparison.question.scale
        both = joined.get(scale)
        joined[scale] = replace(
            comparison,
            labels=labels,
            outcomes=outcomes,
            estimates=(both.estimates if both else {}) | comparison.estimates,
            refusals=(both.refusals if both else {}) | comparison.refusals,
            agreement=untested if both else untested | comparison.agreement,
        )
    return list(joined.values())
