"""The comparison of designs as text for a terminal and as tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from study.estimates import Effect, few_clusters_warning, smallest_effect
from study.inference import LEVEL, Agreement, Comparison
from study.panel import Sample
from study.report.columns import effect_lines
from study.report.notes import CONVENTIONS, LETTERS, POWER_OF, p_cell
from study.report.table import Block, Cell, Format, Line, Number, Table, error
from study.report.table_pages import fitted, numbered, pages, parts

EQUAL = "equal"
JOINT = "Standard errors of differences are from the joint influence of the designs."


def comparison_text(comparison: Comparison) -> str:
    """Return the averages, their differences, the tests and the notes as text for a terminal."""
    import pandas as pd

    columns = {"design": list(comparison.labels)}
    for outcome in comparison.outcomes:
        columns[outcome] = [_cell(comparison, outcome, label) for label in comparison.labels]
    averages = pd.DataFrame(columns).to_string(index=False)
    parts = [f"{_title(comparison)}; standard errors in parentheses", averages, ""]
    if comparison.adjusted:
        parts += [*_adjusted_text(comparison), ""]
    apart = comparison.differences()
    if len(apart):
        numbers = [f"{difference:.4f}" for difference in apart["difference"]]
        shown = apart.assign(difference=np.where(apart["equal"], "equal", numbers)).drop(columns="equal")
        parts += [
            "Differences, the first less the second; p-values are adjusted for all of them",
            shown.to_string(index=False, na_rep="", float_format=lambda v: f"{v:.4f}"),
            "",
        ]
    return "\n".join([*parts, *_tested(comparison), *_sentences(comparison, comparison)])


def _adjusted_text(comparison: Comparison) -> list[str]:
    """Return the p-values before and after they are adjusted for the outcomes."""
    rows = comparison.tidy().dropna(subset="p_holm")
    rows = rows.sort_values("design", key=lambda names: names.map(comparison.labels.index), kind="stable")
    shown = rows[["design", "outcome", "p_value", "p_romano_wolf", "p_holm"]]
    return [
        "P-values, of each test alone and adjusted for all outcomes",
        shown.to_string(index=False, float_format=lambda v: f"{v:.4f}"),
    ]


def comparison_tables(comparison: Comparison, kind: Format = "latex") -> bytes:
    """Return the tables of a comparison one after another, as "latex", "html" or "md"."""
    return b"\n".join(table.formatted(kind) for table in as_tables(comparison))


def as_tables(comparison: Comparison) -> tuple[Table, ...]:
    """Return the averages and the tests that they agree, and the differences of each outcome.

    Each is one table, or several where it is wider or taller than a page.
    """
    averages = pages([comparison], lambda some, counted: _averages(some[0], comparison, counted))
    outcomes = [outcome for outcome, found in comparison.agreement.items() if found.pairs]
    differences = [numbered(parts(_differences(comparison, outcome))) for outcome in outcomes]
    return (*averages, *(table for tables in differences for table in tables))


def _averages(comparison: Comparison, family: Comparison, counted: str) -> Table:
    """Return the averages of a comparison, whose p-values are adjusted for the outcomes of another."""
    averages = []
    for label in comparison.labels:
        fits = [comparison.estimates.get((outcome, label)) for outcome in comparison.outcomes]
        effects = [Effect.of(label, fit) if fit else None for fit in fits]
        averages += effect_lines(_numbered(comparison, label), effects)
    blocks = [Block("Panel A. Averages", averages)]
    found = list(comparison.agreement.values())
    if any(agreement.sup_t for agreement in found):
        blocks.append(Block("Panel B. Tests that the designs agree", _test_lines(found)))
    if comparison.adjusted:
        letter = LETTERS[len(blocks)]
        blocks.append(
            Block(f"Panel {letter}. p-values adjusted for the outcomes", _adjusted_lines(comparison))
        )
    table = Table(
        name="comparison",
        caption=_title(comparison) + counted,
        headings=comparison.outcomes,
        blocks=blocks,
        notes=["Standard errors in parentheses.", *_sentences(comparison, family)],
    )
    return fitted(table)


def _test_lines(found: Sequence[Agreement]) -> list[Line]:
    sup_t, wald = [f.sup_t for f in found], [f.wald for f in found]
    return [
        Line("Differences tested", [Number(f.tested, 0) for f in found]),
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
    found = comparison.agreement[outcome]
    rows = comparison.differences()
    lines = []
    for row in rows[rows["outcome"] == outcome].itertuples():
        first, second = (comparison.labels.index(label) + 1 for label in (row.first, row.second))
        difference: Cell = EQUAL if row.equal else Number(row.difference)
        cells = [difference, error(row.std_error), Number(row.statistic), p_cell(row.p_adjusted)]
        lines.append(Line(f"({first}) less ({second})", cells))
    compared = ", ".join(_numbered(comparison, label) for label in found.labels)
    notes = [f"{compared}.", JOINT]
    if found.sup_t is not None:
        notes.append(
            f"p-values are adjusted for all differences; the {LEVEL:.0%} critical value of the absolute t for all of "
            f"them at once is {found.sup_t.critical_value:.3f} ({found.sup_t.draws} draws)."
        )
    return Table(
        name=f"differences:{comparison.outcomes.index(outcome) + 1}",
        caption=f"Differences between the designs: {outcome}",
        headings=["Difference", "Std. error", "t", "p-value"],
        blocks=[Block("The first less the second", lines)],
        notes=notes,
        narrow=True,
    )


def _numbered(comparison: Comparison, label: str) -> str:
    return f"({comparison.labels.index(label) + 1}) {label}"


def _title(comparison: Comparison) -> str:
    question, outcomes = comparison.question, ", ".join(comparison.outcomes)
    average = question.average.replace("_", " ")
    if question.average == "event_average" and question.horizon is not None:
        lasts = [last_event_time(fit.sample) for fit in comparison.estimates.values()]
        times = [time for time in lasts if time is not None] or [question.horizon]
        average += f" over event times 0 to {max(times)}"
    return f"Effect of {question.event} on {outcomes}, by design ({average}, scale {question.scale})"


def last_event_time(sample: Sample) -> int | None:
    """Return the last event time of an average: the horizon or, where it is earlier, that of the first cohort."""
    horizon = sample.question.horizon
    if horizon is None or sample.first_treated is None or not len(sample.cohorts):
        return horizon
    return min(horizon, int(sample.periods[-1] - min(sample.cohorts)))


def left_out(sample: Sample) -> list[str]:
    """Say what each rule took out of the sample; one that took out periods counts them in its reason."""
    steps = [step for step in sample.flow if not step.kept]
    return [f"{step.units} {step.reason}" if step.units else step.reason for step in steps]


def _cell(comparison: Comparison, outcome: str, label: str) -> str:
    fit = comparison.estimates.get((outcome, label))
    return "refused" if fit is None else f"{fit.effect[0]:.4f} ({fit.std_error[0]:.4f})"


def _tested(comparison: Comparison) -> list[str]:
    """Say what the tests found, a sentence an outcome."""
    return [
        f"Do they agree on {outcome}? Differences tested: {found.tested}; largest absolute t "
        f"{found.sup_t.statistic:.3f}, {LEVEL:.0%} critical value {found.sup_t.critical_value:.3f}, "
        f"p = {found.sup_t.p_value:.4f} ({found.sup_t.draws} draws); "
        f"Wald chi-squared {found.wald.statistic:.3f} of rank {found.wald.rank}, p = {found.wald.p_value:.4f}."
        for outcome, found in comparison.agreement.items()
        if found.sup_t is not None and found.wald is not None
    ]


def _sentences(comparison: Comparison, family: Comparison) -> list[str]:
    """Say with what uncertainty, what was left out or equal, and what was refused.

    P-values are adjusted for the outcomes of ``family``.
    """
    fits = list(comparison.estimates.values())
    told = []
    if fits:
        used = dict.fromkeys(fit.convention for fit in fits)
        said = "; ".join(
            f"{', '.join(dict.fromkeys(fit.design for fit in fits if fit.convention == c))}: {CONVENTIONS[c]}"
            for c in used
        )
        units = _range([fit.sample.n_units for fit in fits])
        treated = _range([int((fit.sample.treatment == 1).any(axis=1).sum()) for fit in fits])
        cluster = comparison.question.cluster or "unit"
        told.append(f"{units} units, {treated} of them treated; clustered by {cluster}. {said}.")
        told += [_power(comparison, outcome) for outcome in comparison.outcomes]
        told += _few_clusters(comparison)
    if any(found.sup_t for found in comparison.agreement.values()):
        told.append(JOINT)
    if comparison.adjusted:
        told.append(
            f"The family of each design is its averages for {len(family.outcomes)} outcomes "
            f"({', '.join(family.outcomes)}), less those that it refuses. Rejecting where an adjusted p-value is "
            "below 5% rejects any true hypothesis of the family in at most 5% of large samples: Romano and Wolf's with "
            f"the joint distribution of the outcomes' errors ({comparison.draws} draws), Holm's whatever it is. "
            "Designs answer the same question and are not part of a family."
        )
    return [*told, *comparison.notes, *(f"Refused: {sentence}" for sentence in comparison.refused)]


def _few_clusters(comparison: Comparison) -> list[str]:
    """Say for which designs few clusters carry the variance, with the outcomes where these are not all."""
    outcomes_of: dict[str, list[str]] = {}
    for (outcome, _), fit in comparison.estimates.items():
        warning = few_clusters_warning(fit)
        if warning is not None and outcome not in outcomes_of.setdefault(warning, []):
            outcomes_of[warning].append(outcome)
    return [
        warning if len(outcomes) == len(comparison.outcomes) else f"{', '.join(outcomes)}: {warning}"
        for warning, outcomes in outcomes_of.items()
    ]


def _power(comparison: Comparison, outcome: str) -> str:
    """Say what each design could have found for an outcome."""
    answered = {
        x: comparison.estimates[outcome, x] for x in comparison.labels if (outcome, x) in comparison.estimates
    }
    said = "; ".join(f"{label} {smallest_effect(fit)}" for label, fit in answered.items()) or "none"
    return (
        f"Minimum detectable effects at 80% power and 5% size, in units of {outcome} (percent of "
        f"{POWER_OF[comparison.question.scale]}): {said}."
    )


def _range(values: Sequence[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"
