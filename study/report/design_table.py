"""Designs by outcomes as tables: estimates, whether they agree, what they could have found, on whom."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from itertools import product
from typing import Literal, get_type_hints

import numpy as np

from study.core import QuestionError, capital, check, decimals, grouped, p_text
from study.designs import Assumes, find_design
from study.estimates import UNKNOWN, Effect, Estimand, Estimate, few_clusters_warning, smallest_effect
from study.inference import LEVEL, Comparison
from study.panel import Question, Sample, Scale
from study.report.columns import (
    COLUMNS,
    STANDARD_ERRORS,
    UNCLUSTERED,
    effects_between,
    lettered,
    p_cell,
    refused_notes,
)
from study.report.latex import MINUS
from study.report.table import Block, Cell, Line, Number, Table, in_parts

MOST_COLUMNS = {"outcomes": 4, "designs": 6}  # of a table; more are on tables of their own
WHO = "study table"
STARS = (0.1, 0.05, 0.01)
SCALES = {
    "level": "Effect in units of the outcome",
    "log1p": "Effect on log(1 + outcome)",
    "proportional": "Effect, % of the counterfactual mean",
}
EQUAL = "equal"
JOINT = "Standard errors of differences are from the joint influence of the designs."
Terms = Literal["average", "event_time", "cohort", "period"]
# By the labels of terms: what they are averaged to, what they are in a sentence, and as labels of lines.
TERMS = {
    "event_time": ("event", "effects by event time, averaged over cohorts by their size", "Event time"),
    "cohort": ("cohort", "effects by cohort, averaged over its treated periods", "Cohort"),
    "period": (
        "calendar",
        "effects by calendar period, averaged over treated cohorts by their size",
        "Period",
    ),
}
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
        What a unit and several are called; a unit has the name of its column where none is given.
    labels : mapping of str to str
        What the columns of the panel are called beside the outcomes: clusters, covariates, events.
    """

    name: str
    caption: str
    outcomes: Mapping[str, str]
    scales: Mapping[str, str]
    unit: str = ""
    units: str = "units"
    labels: Mapping[str, str] = field(default_factory=dict)

    def named(self, name: str) -> str:
        """Return what a column of the panel is called."""
        return self.labels.get(name, name)

    def cluster(self, fit: Estimate) -> str:
        """Return what an estimate's standard errors are clustered by."""
        cluster = fit.sample.question.cluster
        return self.named(cluster) if cluster else self.unit_of(fit)

    def unit_of(self, fit: Estimate) -> str:
        """Return what a unit of an estimate is called."""
        return self.unit or fit.sample.panel.unit

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
    terms : {"average", "event_time", "cohort", "period"}
        What is shown of an estimate: the question's average, or a line an event time, cohort or calendar period.
    tests : {"short", "full"}
        Whether the tests that designs agree are their p-values alone, or all their numbers and the p-values adjusted
        for several outcomes.

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
    terms: Terms = "average"
    tests: Literal["short", "full"] = "short"

    def __post_init__(self) -> None:
        """Check the values."""
        check(WHO, get_type_hints(type(self)), vars(self))
        if not all(0 < level < 1 for level in self.stars):
            raise QuestionError(
                f"{WHO}: stars is {self.stars}; give levels between 0 and 1, such as 0.1, 0.05, 0.01."
            )


def in_letters(name: str) -> str:
    """Return a name that LaTeX and HTML take for a label; letters beyond ASCII, by which it may differ, as numbers."""
    plain = "".join(c if c.isascii() or not c.isalnum() else f"u{ord(c):x}" for c in name)
    return re.sub(r"[^0-9A-Za-z]+", "-", plain)


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
    comparisons = [by_terms(comparison, style.terms) for comparison in comparisons]
    family, by_outcome = comparisons[0].outcomes, style.columns == "outcomes"
    columns = family if by_outcome else comparisons[0].labels
    tables = []
    for part, which, number in in_parts(len(columns), MOST_COLUMNS[style.columns], style.columns):
        some = columns[part]
        of = replace(words, caption=words.caption + which, name=words.name + number)
        about = comparisons
        if by_outcome:
            of = replace(of, outcomes={outcome: words.outcomes[outcome] for outcome in some})
            about = [comparison.about(some) for comparison in comparisons]
        tables.append(models_table(of, about, some, style, family))
    return tuple(tables)


def by_terms(comparison: Comparison, terms: Terms) -> Comparison:
    """Return a comparison with its estimates by event time, cohort or period, those without such terms as refusals."""
    if terms == "average":
        return comparison
    estimates, refusals = {}, dict(comparison.refusals)
    for key, fit in comparison.fits.items():
        try:
            estimates[key] = fit.aggregate(TERMS[terms][0])
        except QuestionError as refusal:
            refusals[key] = str(refusal).removeprefix(f"{fit.design}: ")
    return replace(comparison, estimates=estimates, refusals=refusals)


def as_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Return the averages with the tests that they agree, and the differences of each outcome.

    The averages of many outcomes are in several tables.
    """
    names = {outcome: outcome for outcome in comparison.outcomes}
    words = Words("comparison", f"Effect of {comparison.question.event}, by design", names, SCALES)
    tested = [outcome for outcome, agreement in comparison.agreement.items() if agreement.pairs]
    return (
        *design_tables(words, [comparison], Style(mde=True, tests="full")),
        *(_differences(comparison, outcome) for outcome in tested),
    )


def models_table(
    words: Words,
    comparisons: Sequence[Comparison],
    columns: Sequence[str],
    style: Style,
    family: Sequence[str] = (),
) -> Table:
    """Return the table of some outcomes, or designs: effects, a panel a scale, and what they rest on.

    P-values are adjusted for the outcomes of a ``family``.
    """
    first, by_outcome = comparisons[0], style.columns == "outcomes"
    tags = {label: _number(first, label) for label in first.labels} if by_outcome else words.outcomes
    designs = {label: f"{_number(first, label)} {label}" for label in first.labels}
    titles = designs if by_outcome else words.outcomes
    panels: list[tuple[str, list[Line]]] = []
    models: list[tuple[str, list[Estimate | None]]] = []
    more: list[tuple[str, list[Line]]] = []
    for comparison in comparisons:
        rows = {row: [(column, row) if by_outcome else (row, column) for column in columns] for row in tags}
        rows = {row: keys for row, keys in rows.items() if any(map(comparison.has, keys))}
        fits_of = {row: [comparison.estimates.get(key) for key in keys] for row, keys in rows.items()}
        lines: list[Line] = []
        for row, fits in fits_of.items():
            known = [*map(comparison.has, rows[row])]
            terms = {} if style.terms == "average" else _by_term(fits, style)
            if terms:
                lines.append(Line(titles[row], [""] * len(fits)))
            for title, own in (terms or {titles[row]: fits}).items():
                # A dash is a design that refuses; an empty cell a term that it does not have.
                has = [
                    np.isfinite(fit.effect[0]) if fit else k and not f
                    for fit, k, f in zip(own, known, fits, strict=True)
                ]
                lines += _effect_lines(title, own, has, style, comparison.question.effect_scale)
        tests = _tests(comparison, style)
        if style.tests == "full":
            further = {
                "Tests that the designs agree": tests,
                "p-values adjusted for the outcomes": [*_adjusted(comparison)],
            }
            more += [(title, own) for title, own in further.items() if own]
        else:
            lines += tests
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
    blocks = lettered([*panels, *more, *([("Sample", rests_on)] if rests_on else [])])
    notes = _notes(words, comparisons, style, family)
    return Table(in_letters(words.name), words.caption, headings, blocks, notes)


def _by_term(fits: Sequence[Estimate | None], style: Style) -> dict[str, list[Estimate | None]]:
    """Return estimates of one term each by the label that they share: an event time, a cohort or a period.

    Periods are those of each estimate's own panel, which may count them in another unit.
    Event times are those of the window of the estimates' figures.
    """
    label, name = style.terms, TERMS[style.terms][2]
    paths = [fit.select(fit.in_window) if fit and label == "event_time" else fit for fit in fits]
    at: dict[str, float] = {}
    texts = []
    for path in paths:
        values = getattr(path, label) if path else np.empty(0)
        in_words = path.sample.period_name if path and label != "event_time" else _signed
        texts.append(np.array([in_words(value) for value in values]))
        at |= {text: value for text, value in zip(texts[-1], values, strict=True) if text not in at}
    return {
        f"{name} {text}": [
            path.select(own == text) if path and (own == text).any() else None
            for path, own in zip(paths, texts, strict=True)
        ]
        for text in sorted(at, key=lambda text: at[text])
    }


def _signed(value: float) -> str:
    """Return an event time as it is printed."""
    return f"{value:g}".replace("-", MINUS)


def _effect_lines(
    title: str, fits: Sequence[Estimate | None], has: Sequence[bool], style: Style, scale: Scale
) -> list[Line]:
    """Return the lines of estimates of one term; a dash where a column ``has`` none that answers."""
    effects = [Effect.of(title, fit) if fit else None for fit in fits]
    effect, errors = effects_between(title, effects, style.digits, style.stars, scale=scale)
    cells = [cell if known else "" for cell, known in zip(effect.cells, has, strict=True)]
    below = [errors] if any(map(str, errors.cells)) else []
    return [Line(title, cells), *below, *(_detectable(fits, style.digits, scale) if style.mde else [])]


def _detectable(fits: Sequence[Estimate | None], digits: int, scale: Scale) -> list[Line]:
    """Return the lines of minimum detectable effects, on the scale of effects and in percent, where there are any."""
    powers = [smallest_effect(fit) if fit else UNKNOWN for fit in fits]
    values = {"Minimum detectable effect, %": (1, [power.percent for power in powers])}
    if not scale.percent:
        values = {"Minimum detectable effect": (digits, [power.effect for power in powers])} | values
    return [
        Line(name, [Number(value, decimals(least, value)) for value in own])
        for name, (least, own) in values.items()
        if not all(map(math.isnan, own))
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
        "Outcome mean": lambda fit: _mean_cell(fit.sample, digits),
        "Fixed effects": lambda fit: f"{words.unit_of(fit)}, period" if fit.n_fixed_effects else "",
        "Covariates": lambda fit: ", ".join(map(words.named, fit.sample.question.covariates)),
        "Weights": partial(_specified, words, "weights"),
    }
    for name in [f.name for f in fields(Question) if f.name not in ("outcome", "scale", "covariates")]:
        values = {getattr(fit.sample.question, name) for fit in every}
        if len(values) > 1:
            lines[capital(name.replace("_", " "))] = partial(_specified, words, name)
    return lines


def _specified(words: Words, name: str, fit: Estimate) -> str:
    """Return a value of a question as a cell, empty where it is none."""
    if name == "cluster":
        return words.cluster(fit)
    value = getattr(fit.sample.question, name)
    return "" if value is None else words.named(str(value))


def _mean_cell(sample: Sample, digits: int) -> Cell:
    """Return the mean of the observed outcome in its own units; empty of units whose logarithms are added up."""
    if sample.summed is not None and sample.question.scale == "log1p":
        return ""
    y = np.expm1(sample.y) if sample.question.scale == "log1p" else sample.y
    weights = np.broadcast_to(sample.weights[:, None], y.shape)[sample.observed]
    mean = float(np.average(y[sample.observed], weights=weights))
    return Number(mean, decimals(digits, mean))


def _rows_of(name: str, models: Models, cell: Callable[[Estimate], Cell]) -> list[Line]:
    """Return what models rest on as one line, or one for the rows that are alike where they differ.

    Counts that differ are a range; what no model has is no line. A row may have models on several scales.
    """
    rows: list[tuple[str, list[Cell | None]]] = []
    for tag, fits in models:
        cells = [cell(fit) if fit else None for fit in fits]
        of_row = (own for name, own in rows if name == tag and _is_same(own, cells))
        if same := next(of_row, None):
            same[:] = [old if new is None else new for old, new in zip(same, cells, strict=True)]
        else:
            rows.append((tag, cells))
    every = zip(*(cells for _, cells in rows), strict=True)
    columns = [[c for c in column if c is not None] for column in every]
    if not any(str(c) for column in columns for c in column):
        return []
    if all(isinstance(c, Number) and isinstance(c.value, int) for column in columns for c in column):
        return [Line(name, [_range([int(c.value) for c in column]) for column in columns])]
    if all(len(set(map(str, column))) < 2 for column in columns):
        return [Line(name, [column[0] if column else "" for column in columns])]
    alike: dict[tuple[str, ...], tuple[list[Cell], dict[str, None]]] = {}
    for tag, cells in rows:
        shown = [c or "" for c in cells]
        if any(map(str, shown)):
            alike.setdefault(tuple(map(str, shown)), (shown, {}))[1][tag] = None
    return [Line(f"{name}, {', '.join(tags)}", cells) for cells, tags in alike.values()]


def _is_same(first: Sequence[Cell | None], second: Sequence[Cell | None]) -> bool:
    """Say whether the cells that two rows both have are the same."""
    return all(None in pair or str(pair[0]) == str(pair[1]) for pair in zip(first, second, strict=True))


def _differences(comparison: Comparison, outcome: str) -> Table:
    agreement, scale = comparison.agreement[outcome], comparison.question.effect_scale
    lines = []
    for row in comparison.differences().query("outcome == @outcome").itertuples():
        first, second = (_number(comparison, label) for label in (row.first, row.second))
        difference = COLUMNS["estimate"].cell(row.difference, scale, row.std_error)
        std_error = COLUMNS["std_error"].cell(row.std_error, scale, row.difference)
        cells = [EQUAL if row.equal else difference, std_error, Number(row.statistic), p_cell(row.p_adjusted)]
        lines.append(Line(f"{first} less {second}", cells))
    compared = ", ".join(f"{_number(comparison, label)} {label}" for label in agreement.labels)
    notes = [f"{compared}.", JOINT]
    if agreement.sup_t is not None:
        notes.append(
            f"p-values are adjusted for all differences; the {LEVEL:.0%} critical value of the absolute t for all of "
            f"them at once, each put on the normal scale by its degrees of freedom, is "
            f"{agreement.sup_t.critical_value:.3f} ({agreement.sup_t.draws} draws)."
        )
    return Table(
        name=f"differences:{comparison.outcomes.index(outcome) + 1}",
        caption=f"Differences between the designs: {outcome}",
        headings=["Difference", "Std. error", "t", "p-value"],
        blocks=[Block(f"The first less the second{f', {scale.column}' * scale.percent}", lines)],
        notes=notes,
    )


def _tests(comparison: Comparison, style: Style) -> list[Line]:
    """Return the lines of the tests that designs agree, none where there is no test."""
    agreements = [comparison.agreement[outcome] for outcome in comparison.outcomes]
    if style.columns == "designs" or style.terms != "average" or not any(a.sup_t for a in agreements):
        return []
    compared = Line("Designs compared", [Number(len(a.labels), 0) if a.labels else "" for a in agreements])
    p_values = [
        _test_line("Designs agree, p-value", comparison, "sup_t_p_value", p_cell),
        _test_line("Designs agree, Wald p", comparison, "wald_p_value", p_cell),
    ]
    if style.tests == "short":
        return [*p_values, compared]
    return [
        compared,
        Line("Differences tested", [Number(agreement.tested, 0) for agreement in agreements]),
        _test_line("Designs agree, sup-t", comparison, "sup_t_statistic"),
        _test_line(f"{LEVEL:.0%} critical value", comparison, "sup_t_critical_value"),
        p_values[0],
        _test_line("Designs agree, Wald chi-squared", comparison, "wald_statistic"),
        _test_line("Degrees of freedom", comparison, "wald_rank", lambda rank: Number(rank, 0)),
        p_values[1],
    ]


def _adjusted(comparison: Comparison) -> Iterator[Line]:
    """Yield the lines of p-values adjusted for several outcomes, two a design."""
    for label in comparison.labels:
        adjusted = [comparison.adjusted.get((outcome, label)) for outcome in comparison.outcomes]
        for method, name in {"Romano-Wolf": "romano_wolf", "Holm": "holm"}.items():
            if any(adjusted):
                cells = [p_cell(getattr(p_values, name)) if p_values else "" for p_values in adjusted]
                yield Line(f"{_number(comparison, label)}, {method}", cells)


def _test_line(
    label: str, comparison: Comparison, column: str, cell: Callable[[float], Cell] = Number
) -> Line:
    """Return the line of a column of the tests that designs agree, empty where there is no test."""
    values = comparison.tests()[column].astype(float)
    return Line(label, ["" if math.isnan(value) else cell(value) for value in values])


def _number(comparison: Comparison, label: str) -> str:
    return f"({comparison.labels.index(label) + 1})"


def _fits(comparisons: Sequence[Comparison]) -> list[Estimate]:
    """Return the estimates of all comparisons."""
    return [fit for comparison in comparisons for fit in comparison.estimates.values()]


def _range(counts: Sequence[int]) -> Cell:
    if len(set(counts)) == 1:
        return Number(counts[0], 0)
    return f"{min(counts)} to {max(counts)}" if counts else ""


def _notes(words: Words, comparisons: Sequence[Comparison], style: Style, family: Sequence[str]) -> list[str]:
    """Return the notes below a table of models, as long as its style has them."""
    fits = _fits(comparisons)
    notes = []
    if fits and style.notes != "none":
        by = dict.fromkeys(words.cluster(fit) for fit in fits if fit.vcov not in UNCLUSTERED)
        errors = _by_design(_said(comparisons, lambda fit: STANDARD_ERRORS[fit.errors_by]))
        clustered = f", clustered by {' or '.join(by)}" if by else ""
        notes.append(f"Standard errors in parentheses{clustered}: {errors}.")
        notes += _degrees(comparisons) if style.terms == "average" else []
    if fits and style.notes == "full":
        notes = [
            f"Estimand: {_by_design(_said(comparisons, lambda fit: _estimand(fit, style.terms)))}.",
            *notes,
            *_more(words, comparisons, style),
        ]
    if style.terms != "average" and style.notes != "none":
        notes.append(
            "An effect without a standard error is zero by normalisation or has no sampling variance; an empty "
            "cell is an effect that the design does not have, or a share of a mean that is not positive."
        )
        if any(c.question.scale == "proportional" for c in comparisons):
            own = TERMS[style.terms][2].lower()
            notes.append(f"Effects in percent are of the counterfactual mean at their own {own}.")
        for sentence, designs in _said(comparisons, partial(_bases, terms=style.terms)).items():
            notes.append(f"{sentence} in {designs}.")
    if style.tests == "full" and comparisons[0].adjusted:
        notes.append(
            f"The family of each design is its averages for {len(family)} outcomes ({', '.join(family)}), less those "
            "that it refuses. Rejecting where an adjusted p-value is below 5% rejects any true hypothesis of the "
            "family in at most 5% of large samples: Romano and Wolf's with the joint distribution of the outcomes' "
            f"errors ({comparisons[0].draws} draws), Holm's whatever it is. Designs answer the same question and are "
            "not part of a family."
        )
    if style.mde and style.notes != "none":
        notes.append("The minimum detectable effect is what a two-sided 5% test finds with 80% power.")
    if fits and style.notes != "none":
        notes += _few_clusters(words, comparisons)
    if style.stars:
        levels = sorted(style.stars, reverse=True)
        notes.append(", ".join(f"{'*' * k} p < {level:g}" for k, level in enumerate(levels, start=1)) + ".")
    return [*notes, *refused_notes(sentence for c in comparisons for sentence in c.refused)]


def _more(words: Words, comparisons: Sequence[Comparison], style: Style) -> list[str]:
    """Return what full notes say more: under what an estimate is an effect, of tests, and of the panel."""
    tested = [a for c in comparisons for a in c.agreement.values() if a.sup_t and style.terms == "average"]
    test = (
        "The null that the designs have the same effect is tested by the sup-t statistic, the largest absolute t of "
        f"their pairwise differences ({comparisons[0].draws} draws), and by a Wald test; with few treated units both "
        f"reject less often than their level says. {JOINT}"
    )
    if style.columns == "designs":
        p_values = [
            f"{words.outcomes[outcome]} ({words.scales[c.question.scale]}) {p_text(agreement.sup_t.p_value)}"
            for c in comparisons
            for outcome, agreement in c.agreement.items()
            if agreement.sup_t
        ]
        test += f" p-values by sup-t: {'; '.join(p_values)}."
    return [
        f"An estimate is an effect of the event only if what its design assumes holds: {_assumptions(comparisons)}.",
        *([test] if tested else []),
        *dict.fromkeys(note for c in comparisons for note in c.notes),
        *_panels(words, comparisons),
    ]


def _panel(sample: Sample, words: Words) -> str:
    """Say what panel a sample is drawn from, and what of it is left out."""
    dropped = left_out(sample)
    panel = f"Panel of {sample.panel.n_units} {words.units}: {sample.panel.name}, checksum {sample.panel.checksum}."
    return panel + (f" Left out: {'; '.join(dropped)}." if dropped else "")


def _panels(words: Words, comparisons: Sequence[Comparison]) -> list[str]:
    """Say which panel estimates are of, and of which it is said where that differs."""
    about = _said(comparisons, lambda fit: _panel(fit.sample, words), words.outcomes)
    return [*about] if len(about) == 1 else [f"{places}: {panel}" for panel, places in about.items()]


def _said(
    comparisons: Sequence[Comparison],
    says: Callable[[Estimate], str | None],
    outcomes: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return what is said of estimates, with the designs, and the titles of several outcomes, that it holds for."""
    about: dict[str, dict[str, None]] = {}
    titles = outcomes if outcomes and len(outcomes) > 1 else {}
    for comparison in comparisons:
        for label, outcome in product(comparison.labels, comparison.outcomes):
            fit = comparison.estimates.get((outcome, label))
            if fit and (sentence := says(fit)):
                place = ", ".join(filter(None, (_number(comparison, label), titles.get(outcome))))
                about.setdefault(sentence, {})[place] = None
    return {sentence: ("; " if titles else ", ").join(places) for sentence, places in about.items()}


def _by_design(numbers: Mapping[str, str]) -> str:
    """Return words with the designs that they hold for, without these where it is one thing."""
    if len(numbers) == 1:
        return next(iter(numbers))
    return "; ".join(f"{words} in {designs}" for words, designs in numbers.items())


def _degrees(comparisons: Sequence[Comparison]) -> list[str]:
    """Say how many degrees of freedom the t statistics of each design have, over its outcomes and scales."""
    by_design: dict[str, list[Estimate]] = {}
    for comparison in comparisons:
        for (_, label), fit in comparison.estimates.items():
            by_design.setdefault(_number(comparison, label), []).append(fit)
    said = {design: degrees_in_words(fits) for design, fits in by_design.items()}
    grouped_by = grouped((text, design) for design, text in said.items() if text)
    numbers = {text: ", ".join(designs) for text, designs in grouped_by.items()}
    return [f"Degrees of freedom of t: {_by_design(numbers)}."] if numbers else []


def degrees_in_words(fits: Iterable[Estimate]) -> str:
    """Say how many degrees of freedom t statistics have, or from how few to how many; nothing of normal ones."""
    every = np.concatenate([np.empty(0), *(fit.degrees_of_freedom[fit.varies] for fit in fits)])
    finite = every[np.isfinite(every)]
    ends = (finite.min(), finite.max()) if len(finite) else ()
    return " to ".join(dict.fromkeys(f"{each:.1f}" for each in ends))


def _estimand(fit: Estimate, terms: Terms) -> str:
    if terms != "average":
        return TERMS[terms][1]
    if fit.estimand is Estimand.COEFFICIENT:
        return "a coefficient, not an average effect"
    if not fit.estimand.has_path:
        return fit.estimand.with_article
    average, last = fit.sample.question.average, last_event_time(fit.sample)
    if average == "event_average" and last == 0:
        return "the effect at event time 0"
    times = "all event times from 0" if last is None else f"event times 0 to {last}"
    if (balance := fit.sample.question.balance) is not None:
        times += f" of the cohorts seen up to event time {balance}"
    return AVERAGES[average].format(times=times)


def _bases(fit: Estimate, terms: Terms) -> str | None:
    """Say which effects of an estimate by event time are against what, where they are not against one base."""
    if terms != "event_time" or fit.against == "base" or not (fit.event_time < 0).any():
        return None
    return (
        "Effects after the event are against all periods before it, and those before it against other ones,"
    )


def _assumptions(comparisons: Sequence[Comparison]) -> str:
    """Say under which assumptions an estimate is an effect: those that all designs share, then the others."""
    everything = [assumed(fit) for fit in _fits(comparisons)]
    shared = [a for a in everything[0] if all(a in each for each in everything)]
    others = _said(comparisons, lambda fit: ", ".join(a for a in assumed(fit) if a not in shared))
    own = [f"{words} in {designs}" for words, designs in others.items()]
    return "; ".join([", ".join(shared), *own] if shared else own)


def assumed(fit: Estimate) -> list[Assumes]:
    """Return what an estimate's design assumes, with or without covariates as its question has them."""
    plain, given = Assumes.PARALLEL_TRENDS, Assumes.CONDITIONAL_PARALLEL_TRENDS
    has = bool(fit.sample.question.covariates)
    own = [(given if has else plain) if a in (plain, given) else a for a in find_design(fit.design).assumes]
    return [a for a in dict.fromkeys(own) if has or a is not Assumes.OVERLAP]


def _few_clusters(words: Words, comparisons: Sequence[Comparison]) -> list[str]:
    """Return the first warning that few clusters carry a variance, and which other estimates have one."""

    def says(fit: Estimate) -> str:
        return (few_clusters_warning(fit) or "").removeprefix(f"{fit.design}: ")

    about = _said(comparisons, says, words.outcomes)
    notes = [f"{places}: {warning}" for warning, places in about.items()]
    like = ("; " if len(words.outcomes) > 1 else ", ").join([*about.values()][1:])
    return [*notes[:1], *([f"A like warning holds for {like}."] if like else [])]


def last_event_time(sample: Sample) -> int | None:
    """Return the last event time of an average: the horizon or, where it is earlier, that of the first cohort."""
    horizon = sample.question.horizon
    if horizon is None or sample.first_treated is None or not len(sample.cohorts):
        return horizon
    return min(horizon, int(sample.periods[-1] - min(sample.cohorts)))


def notes_of(fit: Estimate) -> list[str]:
    """Return what is left out of an estimate's sample, and its notes, as sentences without full stops.

    The name of a design keeps its letters.
    """
    dropped, notes = left_out(fit.sample), (note.rstrip(".") for note in fit.notes)
    own = (note if note.startswith(f"{fit.design}:") else capital(note) for note in notes)
    return [*([f"Left out: {'; '.join(dropped)}"] if dropped else []), *own]


def left_out(sample: Sample) -> list[str]:
    """Say what each rule took out of the sample; one that took out periods counts them in its reason."""
    steps = [step for step in sample.flow if not step.kept]
    return [f"{step.units} {step.reason}" if step.units else step.reason for step in steps]
