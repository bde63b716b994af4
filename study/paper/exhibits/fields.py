"""Fields whose compute grows against others: every line of the plan with exact randomization inference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from study.data import topics_audit
from study.panel import Panel, checksum, load_panel
from study.panel.shipped import shipped
from study.paper.exhibits.exhibit import RUN, Exhibited, Setting, Source, Traced, draw
from study.paper.fields.answers import Answer, answers
from study.paper.fields.figures import randomization_figure, shares_figure
from study.paper.fields.plan import FieldsPlan
from study.paper.fields.sentences import randomization_in_words, sentences, shares_in_words
from study.paper.fields.tables import results_table, units_table
from study.report import macro_name, p_text

EXHIBIT, COMMAND = "fields", RUN
Answers = Mapping[tuple[str, str], Answer]


def fields(setting: Setting) -> Exhibited:
    """Return the exhibit for the plan's table ``[fields]``; nothing where it has none."""
    return Exhibited() if setting.plan.fields is None else fields_exhibit(setting.plan.fields)


def fields_exhibit(plan: FieldsPlan) -> Exhibited:
    """Return the tables, figures, numbers and sentences of a plan of fields."""
    panels = {name: load_panel(name) for name in dict.fromkeys(line.panel for line in plan.lines)}
    found = answers(panels, plan)
    return Exhibited(
        tables=(results_table(plan, found), units_table(plan, found, panels)),
        figures=(
            draw(
                "fields_shares",
                f"{next(iter(plan.outcomes.values()))} by field and year. Left: share of all papers of the main "
                "line's fields, hollow where a year has fewer than 20 papers. Others: means over the fields of the "
                "blocks without gaps, whose lines cross years that are left out, and the synthetic "
                "difference-in-differences comparison, moved so that it meets the concerned fields in base years as "
                "time weights count them. Dotted line: end of the base.",
                shares_figure(plan, found, panels),
                shares_in_words(plan, found),
            ),
            draw(
                "fields_randomization",
                "Estimates under every way of naming the concerned fields, by line of the table; p-value and number of "
                "ways on the right.",
                randomization_figure(plan, found),
                randomization_in_words(plan, found),
            ),
        ),
        numbers=(*_numbers(plan, found, panels), *_read()),
        sentences=sentences(plan, found),
    )


def _numbers(plan: FieldsPlan, found: Answers, panels: Mapping[str, Panel]) -> Iterator[Traced]:
    for (label, outcome), made in found.items():
        title = plan.outcomes[outcome].lower()
        prefix = macro_name("fields", label, outcome.removeprefix("share"))
        unit = (
            "points for an order of magnitude a year"
            if made.line.permuted == "doses"
            else "percentage points"
        )
        for part, value, quantity in (
            ("Estimate", f"{made.estimate:.1f}", f"{title}: {made.line.title.lower()}, {unit}"),
            ("Size", f"{abs(made.estimate):.1f}", f"{title}: absolute value of the estimate, {unit}"),
            ("P", p_text(made.p_value), f"{title}: exact randomization p-value"),
            ("Low", _end(made.interval.low), f"{title}: lower end of the confidence set, {unit}"),
            ("High", _end(made.interval.high), f"{title}: upper end of the confidence set, {unit}"),
            ("Mde", _detectable(made), f"{title}: minimum detectable effect, {unit}"),
        ):
            yield Traced(f"{prefix}{part}", value, _source(plan, made, panels, quantity))
    outcome = next(iter(plan.outcomes))
    for line in plan.lines:
        made = found[line.label, outcome]
        concerned = made.cells.concerned > 0
        counts = {
            "Ways": (f"{len(made.estimates):,}", "ways of naming the concerned fields"),
            "SmallestP": (p_text(made.smallest_p), "smallest p-value that is possible"),
            "Venues": (str(len(np.unique(made.cells.venues))), "venues"),
            "Concerned": (str(int(concerned.sum())), "concerned fields, or those with a dose"),
            "Other": (str(int((~concerned).sum())), "other fields"),
            "Papers": (f"{made.cells.papers.sum():,.0f}", "papers"),
            "PapersBefore": (
                f"{(made.cells.papers * ~made.cells.after)[concerned].sum():,.0f}",
                "papers of concerned fields in base years",
            ),
            "FirstYear": (str(made.cells.years[0]), "first year"),
            "LastYear": (str(made.cells.years[-1]), "last year"),
        }  # fmt: skip
        for part, (value, quantity) in counts.items():
            yield Traced(
                macro_name("fields", line.label) + part, value, _source(plan, made, panels, f"{line.title}: {quantity}")
            )  # fmt: skip
    main = found[plan.main, outcome]
    lines = [found[line.label, outcome] for line in plan.lines]
    for name, count, quantity in (
        ("FieldsLines", len(plan.lines), "comparisons of fields"),
        ("FieldsChances", len(found), "comparisons times outcomes"),
        (
            "FieldsRejecting",
            sum(made.rejects(plan) for made in lines),
            "comparisons that reject no change of the first outcome",
        ),
        (
            "FieldsRejectingAll",
            sum(made.rejects(plan) for made in found.values()),
            "comparisons and outcomes that reject no change",
        ),
    ):
        yield Traced(name, str(count), _source(plan, main, panels, quantity))


def _read() -> Iterator[Traced]:
    """Return how many compute-heavy papers the words of titles find, by the readings that ship."""
    path = shipped("data", "audits", "topics_sample.csv")
    sample, counts = topics_audit.read(path), pd.read_csv(path.with_name("topics_strata.csv"))
    for part, question, quantity in (
        ("Title", "verdict", "share of titles that name a compute-heavy topic which the words find"),
        ("Deep", "deep", "share of papers that train or run deep networks whose titles the words find"),
    ):
        yield Traced(
            f"FieldsRecall{part}",
            f"{topics_audit.reading(sample, counts, question).recall:.3f}",
            Source(
                exhibit=EXHIBIT,
                quantity=quantity,
                data=path.name,
                checksum=checksum("data", "audits", path.name),
                command="study audit",
            ),
        )


def _source(plan: FieldsPlan, made: Answer, panels: Mapping[str, Panel], quantity: str) -> Source:
    panel, line = panels[made.line.panel], made.line
    base = f"base to {line.last_before}" if line.last_before else "base to the event at each venue"
    years = f", years {'+'.join(map(str, line.years))}" if line.years else ""
    least = plan.papers if line.papers is None else line.papers
    return Source(
        exhibit=EXHIBIT,
        quantity=quantity,
        data=panel.name,
        checksum=panel.checksum,
        command=COMMAND,
        question=f"outcome={made.outcome}, event=gpu_shock, {base}{years}",
        design=f"{line.method}, permuted {line.permuted}",
        options=f"papers={least}, coverage={plan.coverage:g}, level={plan.level:g}",
    )


def _end(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "(unbounded)"


def _detectable(made: Answer) -> str:
    return "(none)" if np.isnan(made.detectable) else f"{made.detectable:.1f}"
