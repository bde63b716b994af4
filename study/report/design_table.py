"""Designs by outcomes as tables: estimates, whether they agree, what they could have found, on whom."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from study.designs import Assumes, find_design
from study.estimates import UNKNOWN, Effect, Estimand, Estimate, Power, few_clusters_warning, smallest_effect
from study.inference import LEVEL, Agreement, Comparison
from study.panel import Sample
from study.report.columns import CONVENTIONS, LETTERS, POWER_OF, effect_lines, p_cell, refused_notes
from study.report.comparison import JOINT, last_event_time, left_out, sentences_of, span_of, title_of
from study.report.table import Block, Cell, Format, Line, Number, Span, Table, error

COLUMNS = 4


def pages(
    comparisons: Sequence[Comparison],
    made: Callable[[Sequence[Comparison], str], Table],
    columns: int = 1,
) -> list[Table]:
    """Return a table of comparisons, or several with as many of the outcomes as :data:`COLUMNS` allows.

    Parameters
    ----------
    comparisons : sequence of Comparison
        Of the same outcomes, one a scale.
    made : callable
        Makes the table of comparisons; its second argument is what the caption says of the outcomes.
    columns : int
        Of an outcome.
    """
    outcomes, each = comparisons[0].outcomes, COLUMNS // columns
    tables = []
    for first in range(0, len(outcomes), each):
        which = range(first, min(first + each, len(outcomes)))
        some = [c.about(outcomes[which.start : which.stop]) for c in comparisons]
        tables.append(made(some, _counted(which, len(outcomes))))
    if len(tables) == 1:
        return tables
    return [replace(table, name=f"{table.name}-{k}") for k, table in enumerate(tables, start=1)]


def _counted(which: range, total: int) -> str:
    """Say which of the outcomes a table has, or nothing where it has all."""
    if len(which) == total:
        return ""
    if len(which) == 1:
        return f" (outcome {which.stop} of {total})"
    return f" (outcomes {which.start + 1} to {which.stop} of {total})"


EQUAL = "equal"
AVERAGES: dict[str, str] = {
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


def effects_table(words: Words, answers: Sequence[Answers], notes: Sequence[str]) -> Table:
    """Return the table of designs by outcomes: estimates over their standard errors, a panel a scale."""
    lines = [
        [line for label, effects in of.effects.items() for line in effect_lines(label, effects)]
        for of in answers
    ]
    return Table(
        name=_in_letters(words.name),
        caption=words.caption,
        headings=list(words.outcomes.values()),
        blocks=_panels(words, answers, [[*own, *of.tests] for own, of in zip(lines, answers, strict=True)]),
        notes=notes,
    )


def effects_between(
    label: str, effects: Sequence[Effect | None], before: Sequence[Cell] = (), after: Sequence[Cell] = ()
) -> list[Line]:
    """Return the lines of effects and of their standard errors, with cells before and after those of the first."""
    estimates, *below = effect_lines(label, effects)
    errors: Sequence[Cell] = below[0].cells if below else [""] * len(effects)
    blank = [""] * len(before), [""] * len(after)
    return [Line(label, [*before, *estimates.cells, *after]), Line("", [*blank[0], *errors, *blank[1]])]


def power_table(words: Words, answers: Sequence[Answers], digits: int = 3) -> Table:
    """Return the table of what each design could have found: in the outcome's units, and in percent."""
    percent = " and ".join(
        f"of {POWER_OF[of.scale]} (Panel {letter})" for letter, of in zip(LETTERS, answers, strict=False)
    )
    lines = [
        [
            Line(label, [cell for p in powers for cell in (Number(p.units, digits), Number(p.percent, 1))])
            for label, powers in of.powers.items()
        ]
        for of in answers
    ]
    return Table(
        name=_in_letters(f"{words.name}-power"),
        caption=words.caption,
        headings=[words.heading, "%"] * len(words.outcomes),
        spans=[Span(title, 2) for title in words.outcomes.values()],
        blocks=_panels(words, answers, lines),
        notes=[
            "The smallest effect that a two-sided 5% test finds with 80% power, by design, in "
            f"{words.outcome_units} and in percent {percent}.",
            "An empty cell is a mean that is not positive or not implied, or a design that refuses the question.",
        ],
    )


def _panels(words: Words, answers: Sequence[Answers], lines: Sequence[Sequence[Line]]) -> list[Block]:
    return [
        Block(f"Panel {letter}. {words.scales[of.scale]}", own)
        for letter, of, own in zip(LETTERS, answers, lines, strict=False)
    ]


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
    answered = any(c.estimates for c in comparisons)
    powers = pages(comparisons, partial(_powers, words), columns=2) if answered else []
    return *pages(comparisons, partial(_estimates, words)), *powers


def _estimates(words: Words, comparisons: Sequence[Comparison], of_caption: str) -> Table:
    answers = [_answers(c, _tests_of(c)) for c in comparisons]
    table = effects_table(_about(words, comparisons, of_caption), answers, _notes(words, comparisons))
    if _of(comparisons):
        sizes = Block(f"Panel {LETTERS[len(answers)]}. Sample", _sizes(words, comparisons))
        table = replace(table, blocks=[*table.blocks, sizes])
    return table


def _powers(words: Words, comparisons: Sequence[Comparison], of_caption: str) -> Table:
    words = _about(words, comparisons, f"{of_caption}: minimum detectable effects")
    return power_table(words, [_answers(c) for c in comparisons])


def _about(words: Words, comparisons: Sequence[Comparison], of_caption: str) -> Words:
    """Return the words of a table of some of the outcomes."""
    outcomes = {outcome: words.outcomes[outcome] for outcome in comparisons[0].outcomes}
    return replace(words, outcomes=outcomes, caption=words.caption + of_caption)


def _answers(comparison: Comparison, tests: Sequence[Line] = ()) -> Answers:
    fits = {f"{_number(comparison, label)} {label}": _row(comparison, label) for label in comparison.labels}
    return Answers(
        scale=comparison.question.scale,
        effects={
            label: [Effect.of(label, fit) if fit else None for fit in row] for label, row in fits.items()
        },
        powers={
            label: [smallest_effect(fit) if fit else UNKNOWN for fit in row] for label, row in fits.items()
        },
        tests=tests,
    )


def _tests_of(comparison: Comparison) -> list[Line]:
    """Return the lines below the estimates: whether the designs agree, and what the first could have found."""
    lines = []
    agreements = [comparison.agreement[outcome] for outcome in comparison.outcomes]
    if any(agreement.sup_t for agreement in agreements):
        sup_t, wald = [a.sup_t for a in agreements], [a.wald for a in agreements]
        lines += [
            Line("Designs agree, p-value", [p_cell(s.p_value) if s else "" for s in sup_t]),
            Line("Designs agree, Wald p", [p_cell(w.p_value) if w else "" for w in wald]),
            Line("Designs compared", [Number(len(a.labels), 0) if a.labels else "" for a in agreements]),
        ]
    first = next((label for label in comparison.labels if any(_row(comparison, label))), None)
    if first is not None:
        power = [smallest_effect(fit).effect if fit else math.nan for fit in _row(comparison, first)]
        lines.append(Line(f"Detectable effect, {_number(comparison, first)}", [Number(x) for x in power]))
    return lines


def _number(comparison: Comparison, label: str) -> str:
    return f"({comparison.labels.index(label) + 1})"


def _row(comparison: Comparison, label: str) -> list[Estimate | None]:
    return [comparison.estimates.get((outcome, label)) for outcome in comparison.outcomes]


def _sizes(words: Words, comparisons: Sequence[Comparison]) -> list[Line]:
    counts: dict[str, Callable[[Estimate], int]] = {
        words.units.capitalize(): lambda fit: fit.sample.n_units,
        f"{words.units.capitalize()} treated": _treated,
        "Clusters": lambda fit: fit.n_clusters,
    }
    return [
        Line(what, [_range([count(fit) for fit in _of(comparisons, o)]) for o in comparisons[0].outcomes])
        for what, count in counts.items()
    ]


def _treated(fit: Estimate) -> int:
    return int((fit.sample.treatment == 1).any(axis=1).sum())


def _of(comparisons: Sequence[Comparison], outcome: str | None = None) -> list[Estimate]:
    """Return the estimates of all comparisons, of one outcome or of all."""
    return [fit for c in comparisons for (o, _), fit in c.estimates.items() if outcome in (None, o)]


def _range(counts: Sequence[int]) -> Cell:
    if len(set(counts)) == 1:
        return Number(counts[0], 0)
    return span_of(counts) if counts else ""


def _notes(words: Words, comparisons: Sequence[Comparison]) -> list[str]:
    fits = _of(comparisons)
    refused = refused_notes(sentence for c in comparisons for sentence in c.refused)
    if not fits:
        return refused
    return [
        f"Estimand: {_by_design(_numbered(comparisons, _estimand))}.",
        _errors(words, comparisons),
        _assumptions(comparisons),
        *_tests(comparisons),
        "The detectable effect is what a two-sided 5% test finds with 80% power.",
        _left_out(words, fits[0]),
        *_few_clusters(words, comparisons),
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
    if fit.estimand.has_path:
        return _average(fit.sample)
    if fit.estimand is Estimand.COEFFICIENT:
        return "a coefficient, not an average effect"
    return fit.estimand.with_article


def _average(sample: Sample) -> str:
    average, last = sample.question.average, last_event_time(sample)
    if average == "event_average" and last == 0:
        return "the effect at event time 0"
    times = "all event times from 0" if last is None else f"event times 0 to {last}"
    return AVERAGES[average].format(times=times)


def _errors(words: Words, comparisons: Sequence[Comparison]) -> str:
    """Say what parentheses mean."""
    clusters = dict.fromkeys(fit.sample.question.cluster or words.unit for fit in _of(comparisons))
    conventions = _numbered(comparisons, lambda fit: CONVENTIONS[fit.convention])
    return f"Standard errors in parentheses, clustered by {' or '.join(clusters)}: {_by_design(conventions)}."


def _assumptions(comparisons: Sequence[Comparison]) -> str:
    """Say under which assumptions an estimate is an effect: those that all designs share, then the others."""
    everything = [assumed(fit) for fit in _of(comparisons)]
    shared = [a for a in everything[0] if all(a in each for each in everything)]
    others = _numbered(comparisons, lambda fit: ", ".join(a for a in assumed(fit) if a not in shared))
    own = [f"{words} in {', '.join(designs)}" for words, designs in others.items() if words]
    assumptions = "; ".join([", ".join(shared), *own] if shared else own)
    return f"An estimate is an effect of the event only if what its design assumes holds: {assumptions}."


def assumed(fit: Estimate) -> list[str]:
    """Return what an estimate's design assumes, with or without covariates as its question has them."""
    plain, given = Assumes.PARALLEL_TRENDS, Assumes.CONDITIONAL_PARALLEL_TRENDS
    has = bool(fit.sample.question.covariates)
    own = [(given if has else plain) if a in (plain, given) else a for a in find_design(fit.design).assumes]
    return [a for a in dict.fromkeys(own) if has or a is not Assumes.OVERLAP]


def _tests(comparisons: Sequence[Comparison]) -> list[str]:
    """Say how it is tested that designs agree, and what is not compared."""
    notes = list(dict.fromkeys(note for c in comparisons for note in c.notes))
    if not any(agreement.sup_t for c in comparisons for agreement in c.agreement.values()):
        return notes
    test = (
        f"That the designs agree is tested over all differences between them, by the largest absolute t "
        f"({comparisons[0].draws} draws) and by a Wald test; with few treated units both reject less often than their "
        f"level says. {JOINT}"
    )
    return [test, *notes]


def _left_out(words: Words, fit: Estimate) -> str:
    """Say which panel the sample is from, and who is not in it."""
    panel = fit.sample.panel
    dropped = left_out(fit.sample)
    left = f" Left out: {'; '.join(dropped)}." if dropped else ""
    return f"Panel of {panel.n_units} {words.units}: {panel.name}, checksum {panel.checksum}.{left}"


def _few_clusters(words: Words, comparisons: Sequence[Comparison]) -> list[str]:
    """Return the warning of the first design for which few clusters carry the variance, with its outcome."""
    for comparison in comparisons:
        for (outcome, label), fit in comparison.estimates.items():
            warning = few_clusters_warning(fit)
            if warning is not None:
                number = _number(comparison, label)
                alone = len(comparison.outcomes) == 1
                who = number if alone else f"{number}, {words.outcomes[outcome]}"
                return [warning.replace(f"{fit.design}:", f"{who}:", 1)]
    return []


def comparison_tables(comparison: Comparison, kind: Format = "latex") -> bytes:
    """Return the tables of a comparison one after another, as "latex", "html" or "md"."""
    return b"\n".join(table.formatted(kind) for table in as_tables(comparison))


def as_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Return the averages and the tests that they agree, and the differences of each outcome.

    The averages of many outcomes are in several tables.
    """
    averages = pages([comparison], lambda some, counted: _averages(some[0], comparison, counted))
    outcomes = [outcome for outcome, agreement in comparison.agreement.items() if agreement.pairs]
    return (*averages, *(_differences(comparison, outcome) for outcome in outcomes))


def _averages(comparison: Comparison, family: Comparison, counted: str) -> Table:
    """Return the averages of a comparison, whose p-values are adjusted for the outcomes of another."""
    agreements = list(comparison.agreement.values())
    words = Words(
        name="comparison",
        caption=title_of(comparison) + counted,
        outcomes={outcome: outcome for outcome in comparison.outcomes},
        scales={comparison.question.scale: "Averages"},
    )
    notes = ["Standard errors in parentheses.", *sentences_of(comparison, family)]
    table = effects_table(words, [_answers(comparison)], notes)
    blocks = list(table.blocks)
    if any(agreement.sup_t for agreement in agreements):
        blocks.append(Block("Panel B. Tests that the designs agree", _test_lines(agreements)))
    if comparison.adjusted:
        title = f"Panel {LETTERS[len(blocks)]}. p-values adjusted for the outcomes"
        blocks.append(Block(title, _adjusted_lines(comparison)))
    return replace(table, blocks=blocks)


def _test_lines(agreements: Sequence[Agreement]) -> list[Line]:
    sup_t, wald = [a.sup_t for a in agreements], [a.wald for a in agreements]
    return [
        Line("Differences tested", [Number(a.tested, 0) for a in agreements]),
        Line("Largest absolute t", [Number(s.statistic) if s else "" for s in sup_t]),
        Line(f"{LEVEL:.0%} critical value", [Number(s.critical_value) if s else "" for s in sup_t]),
        Line("p-value (sup-t)", [p_cell(s.p_value) if s else "" for s in sup_t]),
        Line("Wald chi-squared", [Number(w.statistic) if w else "" for w in wald]),
        Line("Rank", [Number(w.rank, 0) if w else "" for w in wald]),
        Line("p-value (Wald)", [p_cell(w.p_value) if w else "" for w in wald]),
    ]


def _adjusted_lines(comparison: Comparison) -> list[Line]:
    lines = []
    for number, label in enumerate(comparison.labels, start=1):
        adjusted = [comparison.adjusted.get((outcome, label)) for outcome in comparison.outcomes]
        if any(adjusted):
            stepped = [p_cell(a.romano_wolf) if a else "" for a in adjusted]
            lines.append(Line(f"({number}), Romano-Wolf", stepped))
            lines.append(Line(f"({number}), Holm", [p_cell(a.holm) if a else "" for a in adjusted]))
    return lines


def _differences(comparison: Comparison, outcome: str) -> Table:
    agreement = comparison.agreement[outcome]
    rows = comparison.differences()
    lines = []
    for row in rows[rows["outcome"] == outcome].itertuples():
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
