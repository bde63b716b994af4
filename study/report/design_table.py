"""Designs by outcomes as tables: estimates, whether they agree, what they could have found, on whom."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from study.designs import Assumes, find_design
from study.estimates import UNKNOWN, Effect, Estimand, Estimate, Power, few_clusters_warning, smallest_effect
from study.inference import LEVEL, Comparison
from study.report.columns import CONVENTIONS, LETTERS, POWER_OF, effect_lines, lettered, p_cell, refused_notes
from study.report.comparison import JOINT, last_event_time, left_out, sentences_of, span_of, title_of
from study.report.table import Block, Cell, Format, Line, Number, Table, error

COLUMNS = 4  # of a table of outcomes; more are on tables of their own
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
    """

    name: str
    caption: str
    outcomes: Mapping[str, str]
    scales: Mapping[str, str]
    unit: str = "unit"
    units: str = "units"
    outcome_units: str = "units of the outcome"
    heading: str = "Units"


class Answers(NamedTuple):
    """What designs answer about outcomes on one scale: a panel of the tables.

    Attributes
    ----------
    scale : str
    effects : mapping of str to sequence of Effect or None
        By the design's label, one an outcome; None where it refuses.
    powers : mapping of str to sequence of Power
        What each could have found, in the same order.
    tests : sequence of Line
        Lines below the effects.
    """

    scale: str
    effects: Mapping[str, Sequence[Effect | None]]
    powers: Mapping[str, Sequence[Power]]
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


def design_tables(words: Words, comparisons: Sequence[Comparison]) -> tuple[Table, ...]:
    """Return comparisons of the same designs for the same outcomes as tables.

    Parameters
    ----------
    words : Words
    comparisons : sequence of Comparison
        One a scale, each a panel of the tables.

    Returns
    -------
    tuple of Table
        Designs by outcomes with standard errors, tests that the designs agree and sizes of the samples; then, where
        a design answers, each design's minimum detectable effect in the outcome's units and in percent. Many outcomes
        are in several tables.
    """
    powers = _pages(words, comparisons, _powers, COLUMNS // 2) if _fits(comparisons) else []
    return *_pages(words, comparisons, _estimates), *powers


def comparison_tables(comparison: Comparison, kind: Format = "latex") -> bytes:
    """Return the tables of a comparison one after another, as "latex", "html" or "md"."""
    return b"\n".join(table.formatted(kind) for table in as_tables(comparison))


def as_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Return the averages and the tests that they agree, and the differences of each outcome.

    The averages of many outcomes are in several tables.
    """
    names = {outcome: outcome for outcome in comparison.outcomes}
    words = Words("comparison", "", names, {comparison.question.scale: "Averages"})
    averages = _pages(words, [comparison], lambda words, some: _averages(words, some[0], comparison))
    tested = [outcome for outcome, agreement in comparison.agreement.items() if agreement.pairs]
    return (*averages, *(_differences(comparison, outcome) for outcome in tested))


def _pages(
    words: Words, comparisons: Sequence[Comparison], table: Callable[..., Table], most: int = COLUMNS
) -> list[Table]:
    """Return the table of comparisons of the same outcomes, or several with at most so many of them each."""
    outcomes, tables = comparisons[0].outcomes, []
    for first in range(0, len(outcomes), most):
        some = outcomes[first : first + most]
        last = first + len(some)
        which = f"outcome {last}" if len(some) == 1 else f"outcomes {first + 1} to {last}"
        part = f" ({which} of {len(outcomes)})" if len(some) < len(outcomes) else ""
        headings = {outcome: words.outcomes[outcome] for outcome in some}
        of_some = replace(words, caption=words.caption + part, outcomes=headings)
        tables.append(table(of_some, [comparison.about(some) for comparison in comparisons]))
    if len(tables) == 1:
        return tables
    return [replace(page, name=f"{page.name}-{number}") for number, page in enumerate(tables, start=1)]


def _estimates(words: Words, comparisons: Sequence[Comparison]) -> Table:
    """Return designs by outcomes for a question, with the tests that designs agree and the sizes of samples."""
    units, by_outcome = words.units.capitalize(), [_fits(comparisons, outcome) for outcome in words.outcomes]
    lines = [
        Line(units, [_range([fit.sample.n_units for fit in fits]) for fits in by_outcome]),
        Line(f"{units} treated", [_range([fit.sample.n_treated for fit in fits]) for fits in by_outcome]),
        Line("Clusters", [_range([fit.n_clusters for fit in fits]) for fits in by_outcome]),
    ]
    answers = [_answers(comparison, _tests(comparison)) for comparison in comparisons]
    more = [("Sample", lines)] if _fits(comparisons) else []
    return effects_table(words, answers, _notes(words, comparisons), more)


def _powers(words: Words, comparisons: Sequence[Comparison]) -> Table:
    words = replace(words, caption=f"{words.caption}: minimum detectable effects")
    return power_table(words, [_answers(comparison) for comparison in comparisons])


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


def _answers(comparison: Comparison, tests: Sequence[Line] = ()) -> Answers:
    rows = {f"{_number(comparison, label)} {label}": _row(comparison, label) for label in comparison.labels}
    effects = {name: [Effect.of(name, fit) if fit else None for fit in row] for name, row in rows.items()}
    powers = {name: [smallest_effect(fit) if fit else UNKNOWN for fit in row] for name, row in rows.items()}
    return Answers(comparison.question.scale, effects, powers, tests)


def _tests(comparison: Comparison) -> list[Line]:
    """Return the lines below the estimates: whether the designs agree, and what the first could have found."""
    lines = []
    agreements = [comparison.agreement[outcome] for outcome in comparison.outcomes]
    if any(agreement.sup_t for agreement in agreements):
        lines += [
            _test_line("Designs agree, p-value", comparison, "sup_t_p_value", p_cell),
            _test_line("Designs agree, Wald p", comparison, "wald_p_value", p_cell),
            Line("Designs compared", [Number(len(a.labels), 0) if a.labels else "" for a in agreements]),
        ]
    first = next((label for label in comparison.labels if any(_row(comparison, label))), None)
    if first is not None:
        power = [smallest_effect(fit).effect if fit else math.nan for fit in _row(comparison, first)]
        lines.append(Line(f"Detectable effect, {_number(comparison, first)}", [Number(x) for x in power]))
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


def _fits(comparisons: Sequence[Comparison], outcome: str | None = None) -> list[Estimate]:
    """Return the estimates of all comparisons, of one outcome or of all."""
    return [fit for c in comparisons for (of, _), fit in c.estimates.items() if outcome in (None, of)]


def _range(counts: Sequence[int]) -> Cell:
    if len(set(counts)) == 1:
        return Number(counts[0], 0)
    return span_of(counts) if counts else ""


def _notes(words: Words, comparisons: Sequence[Comparison]) -> list[str]:
    fits = _fits(comparisons)
    refused = refused_notes(sentence for c in comparisons for sentence in c.refused)
    if not fits:
        return refused
    clusters = dict.fromkeys(fit.sample.question.cluster or words.unit for fit in fits)
    conventions = _by_design(_numbered(comparisons, lambda fit: CONVENTIONS[fit.convention]))
    tested = any(agreement.sup_t for c in comparisons for agreement in c.agreement.values())
    test = (
        f"That the designs agree is tested over all differences between them, by the largest absolute t "
        f"({comparisons[0].draws} draws) and by a Wald test; with few treated units both reject less often than their "
        f"level says. {JOINT}"
    )
    panel, dropped = fits[0].sample.panel, left_out(fits[0].sample)
    return [
        f"Estimand: {_by_design(_numbered(comparisons, _estimand))}.",
        f"Standard errors in parentheses, clustered by {' or '.join(clusters)}: {conventions}.",
        f"An estimate is an effect of the event only if what its design assumes holds: {_assumptions(comparisons)}.",
        *([test] if tested else []),
        *dict.fromkeys(note for c in comparisons for note in c.notes),
        "The detectable effect is what a two-sided 5% test finds with 80% power.",
        f"Panel of {panel.n_units} {words.units}: {panel.name}, checksum {panel.checksum}."
        + (f" Left out: {'; '.join(dropped)}." if dropped else ""),
        *_few_clusters(words, comparisons)[:1],
        *refused,
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
