"""Designs by outcomes as one table: estimates, whether they agree, what they could have found, on whom."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from study.designs import Assumes, find_design
from study.estimates import UNKNOWN, Estimand, Estimate, Power, few_clusters_warning, smallest_effect
from study.inference import Comparison
from study.panel import Sample
from study.report.comparison import JOINT, about, counted, estimate_lines, last_event_time, left_out
from study.report.notes import CONVENTIONS, LETTERS, POWER_OF, REFUSED, p_cell
from study.report.table import Block, Cell, Line, Number, Span, Table, letters
from study.report.table_pages import TALLEST, height, label_width, numbered, parts, together

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
    """

    name: str
    caption: str
    outcomes: Mapping[str, str]
    scales: Mapping[str, str]
    unit: str = "unit"
    units: str = "units"


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
        a design answers, each design's minimum detectable effect in the outcome's units and in percent. Each is one
        table or, where that is wider than a page, one for as many outcomes as fit; where it is taller, one a scale
        or, if need be, a part of the designs.
    """
    answered = any(c.estimates for c in comparisons)
    powers = _pages(words, comparisons, _powers, 2) if answered else []
    return *_pages(words, comparisons, _estimates, 1), *powers


def _pages(
    words: Words,
    comparisons: Sequence[Comparison],
    made: Callable[[Words, Sequence[Comparison]], Table],
    each: int,
) -> list[Table]:
    """Return the table that a function makes, with some columns an outcome, as tables that fit on a page each."""
    outcomes, pages = comparisons[0].outcomes, []
    for which in together(letters(made(words, comparisons)), each):
        caption = words.caption + counted(which, len(outcomes))
        some = [about(c, outcomes[which.start : which.stop]) for c in comparisons]
        whole = made(replace(words, caption=caption), some)
        if height(whole) <= TALLEST or len(some) == 1:
            pages += parts(whole)
            continue
        for c in some:
            titled = replace(words, caption=f"{caption}. {words.scales[c.question.scale]}")
            pages += parts(made(titled, [c]))
    return numbered(pages)


def _estimates(words: Words, comparisons: Sequence[Comparison]) -> Table:
    blocks = [*_panels(words, comparisons, _lines)]
    if _of(comparisons):
        blocks.append(Block(f"Panel {LETTERS[len(blocks)]}. Sample", _sizes(words, comparisons)))
    table = Table(
        name=_in_letters(words.name),
        caption=words.caption,
        headings=[words.outcomes[outcome] for outcome in comparisons[0].outcomes],
        blocks=blocks,
        notes=_notes(words, comparisons),
        narrow=True,
    )
    return replace(table, widths=[label_width(letters(table))])


def _powers(words: Words, comparisons: Sequence[Comparison]) -> Table:
    spans = [Span(words.outcomes[outcome], 2) for outcome in comparisons[0].outcomes]
    percent = " and ".join(
        f"of {POWER_OF[c.question.scale]} (Panel {letter})"
        for letter, c in zip(LETTERS, comparisons, strict=False)
    )
    table = Table(
        name=_in_letters(f"{words.name}-power"),
        caption=f"{words.caption}: minimum detectable effects",
        headings=["Units", "%"] * len(spans),
        spans=spans,
        blocks=_panels(words, comparisons, _power_lines),
        notes=[
            "The smallest effect that a two-sided 5% test finds with 80% power, by design, in units of the outcome and "
            f"in percent {percent}.",
            "An empty cell is a refusal, or a mean that is not positive.",
        ],
        narrow=True,
    )
    return replace(table, widths=[label_width(letters(table))])


def _panels(
    words: Words, comparisons: Sequence[Comparison], lines: Callable[[Comparison], list[Line]]
) -> list[Block]:
    return [
        Block(f"Panel {letter}. {words.scales[c.question.scale]}", lines(c))
        for letter, c in zip(LETTERS, comparisons, strict=False)
    ]


def _in_letters(name: str) -> str:
    """Return a name that LaTeX and HTML take for a label."""
    return re.sub(r"[^0-9A-Za-z]+", "-", name)


def _lines(comparison: Comparison) -> list[Line]:
    lines = []
    for number, label in enumerate(comparison.labels, start=1):
        lines += estimate_lines(f"({number}) {label}", _row(comparison, label))
    found = [comparison.agreement[outcome] for outcome in comparison.outcomes]
    if any(agreement.sup_t for agreement in found):
        sup_t, wald = [f.sup_t for f in found], [f.wald for f in found]
        lines += [
            Line("Designs agree, p-value", [p_cell(s.p_value) if s else "" for s in sup_t]),
            Line("Designs agree, Wald p", [p_cell(w.p_value) if w else "" for w in wald]),
            Line("Designs compared", [Number(len(f.labels), 0) if f.labels else "" for f in found]),
        ]
    first = next((label for label in comparison.labels if any(_row(comparison, label))), None)
    if first is not None:
        power = [p.effect for p in _power(comparison, first)]
        lines.append(Line(f"Detectable effect, {_number(comparison, first)}", [Number(x) for x in power]))
    return lines


def _power_lines(comparison: Comparison) -> list[Line]:
    return [
        Line(
            f"{_number(comparison, label)} {label}",
            [cell for p in _power(comparison, label) for cell in (Number(p.units), Number(p.percent, 1))],
        )
        for label in comparison.labels
    ]


def _power(comparison: Comparison, label: str) -> list[Power]:
    return [smallest_effect(fit) if fit else UNKNOWN for fit in _row(comparison, label)]


def _number(comparison: Comparison, label: str) -> str:
    return f"({comparison.labels.index(label) + 1})"


def _row(comparison: Comparison, label: str) -> list[Estimate | None]:
    return [comparison.estimates.get((outcome, label)) for outcome in comparison.outcomes]


def _sizes(words: Words, comparisons: Sequence[Comparison]) -> list[Line]:
    counted: dict[str, Callable[[Estimate], int]] = {
        words.units.capitalize(): lambda fit: fit.sample.n_units,
        f"{words.units.capitalize()} treated": _treated,
        "Clusters": lambda fit: fit.n_clusters,
    }
    return [
        Line(what, [_range(count(fit) for fit in _of(comparisons, o)) for o in comparisons[0].outcomes])
        for what, count in counted.items()
    ]


def _treated(fit: Estimate) -> int:
    return int((fit.sample.treatment == 1).any(axis=1).sum())


def _of(comparisons: Sequence[Comparison], outcome: str | None = None) -> list[Estimate]:
    """Return the estimates of all comparisons, of one outcome or of all."""
    return [fit for c in comparisons for (o, _), fit in c.estimates.items() if outcome in (None, o)]


def _range(counts: Iterable[int]) -> Cell:
    different = sorted(set(counts))
    if len(different) < 2:
        return Number(different[0], 0) if different else ""
    return f"{different[0]} to {different[-1]}"


def _notes(words: Words, comparisons: Sequence[Comparison]) -> list[str]:
    fits = _of(comparisons)
    told = []
    if fits:
        told += [_estimands(comparisons), _errors(words, comparisons), _assumptions(comparisons)]
        told += _tests(comparisons)
        told.append("The detectable effect is what a two-sided 5% test finds with 80% power.")
        told += _left_out(words, fits[0])
        told += _few_clusters(words, comparisons)
    told += _refusals(comparisons)
    return told


def _numbered(
    comparisons: Sequence[Comparison], said: Callable[[Estimate], str]
) -> dict[str, dict[str, None]]:
    """Return what is said of estimates, with the numbers of the designs that it holds for."""
    found: dict[str, dict[str, None]] = {}
    for comparison in comparisons:
        for label in comparison.labels:
            for fit in _row(comparison, label):
                numbers = found.setdefault(said(fit), {}) if fit else {}
                numbers[_number(comparison, label)] = None
    return found


def _by_design(found: Mapping[str, Iterable[str]]) -> str:
    """Return what is said with the designs that it holds for, without them where it is one thing."""
    if len(found) == 1:
        return next(iter(found))
    return "; ".join(f"{what} in {', '.join(numbers)}" for what, numbers in found.items())


def _estimands(comparisons: Sequence[Comparison]) -> str:
    """Say what the estimates are of, by design where they are not of one thing."""
    return f"Estimand: {_by_design(_numbered(comparisons, _estimand))}."


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
    found = _numbered(comparisons, lambda fit: ", ".join(a for a in assumed(fit) if a not in shared))
    others = [f"{what} in {', '.join(numbers)}" for what, numbers in found.items() if what]
    said = "; ".join([", ".join(shared), *others] if shared else others)
    return f"An estimate is an effect of the event only if what its design assumes holds: {said}."


def assumed(fit: Estimate) -> list[str]:
    """Return what an estimate's design assumes, with or without covariates as its question has them."""
    plain, given = Assumes.PARALLEL_TRENDS, Assumes.CONDITIONAL_PARALLEL_TRENDS
    has = bool(fit.sample.question.covariates)
    said = [(given if has else plain) if a in (plain, given) else a for a in find_design(fit.design).assumes]
    return [a for a in dict.fromkeys(said) if has or a is not Assumes.OVERLAP]


def _tests(comparisons: Sequence[Comparison]) -> list[str]:
    """Say how it is tested that designs agree, and what is not compared."""
    told = []
    if any(found.sup_t for c in comparisons for found in c.agreement.values()):
        told = [
            f"That the designs agree is tested over all differences between them, by the largest absolute t "
            f"({comparisons[0].draws} draws) and by a Wald test; with few treated units both reject "
            "less often than their level says. "
            f"{JOINT}"
        ]
    return told + _once(note for c in comparisons for note in c.notes)


def _left_out(words: Words, fit: Estimate) -> list[str]:
    """Say which panel the sample is from, and who is not in it."""
    panel = fit.sample.panel
    dropped = left_out(fit.sample)
    left = f" Left out: {'; '.join(dropped)}." if dropped else ""
    return [f"Panel of {panel.n_units} {words.units}: {panel.name}, checksum {panel.checksum}.{left}"]


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


def _refusals(comparisons: Sequence[Comparison]) -> list[str]:
    """Say what a dash stands for."""
    refused = _once(sentence for c in comparisons for sentence in c.refused)
    return [f"{REFUSED} : refused. {' '.join(refused)}"] if refused else []


def _once(sentences: Iterable[str]) -> list[str]:
    return [sentence for sentence in dict.fromkeys(sentences) if sentence]
