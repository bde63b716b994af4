"""Definitions of treatment side by side: whom they treat when, with what, and whether they tell who holds GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pandas as pd

from study.core import capital
from study.panel.shipped import shipped
from study.paper.exhibits import gpu_stock, machines, timing
from study.paper.exhibits.exhibit import Part, Piece, Setting, exhibit
from study.report import REFUSED, Block, Cell, Column, Line, Number, Table

EXHIBIT = "treatments"
# Of the paper's events, from the main one to the placebo; a plan that has none of them shows its own main events.
EVENTS = (
    "first_gpu_system",
    "first_accelerator",
    "first_own_gpu_system",
    "first_gpu_access",
    "first_cluster_grant",
    "first_gpu_grant",
    "first_other_accelerator",
)
COUNTS = {
    "already_treated": "Already",
    "n_treated": "Treated",
    "n_cohorts": "Years",
    "later": "Later",
    "never_treated": "Never",
}
BOUGHT = {"no_gpu": "No GPU", "not_theirs": "Hosted"}
ENDS = ("auc_low", "auc_high")


@exhibit("Definitions of treatment", Part.QUESTION, shows=("timing", "machines", "gpu_stock"))
def treatments(setting: Setting) -> Iterator[Piece]:
    """Yield one table of the definitions of treatment; its numbers are those of timing, machines and stocks of GPUs."""
    by_name = machines.treated_by(setting)
    names = [name for name in EVENTS if name in by_name] or [
        e.name for e in setting.plan.events if e.name in by_name
    ]
    if not names:
        return
    every = pd.read_csv(shipped(*machines.FILE), dtype=str, keep_default_na=False)
    behind = machines.machines_behind(every)
    stock = pd.read_csv(shipped(*gpu_stock.FILE), index_col="event")
    lines = []
    for name in names:
        of_event = by_name[name]
        had = machines.bought(behind, name, of_event.treated)
        cells = [_count(of_event.counts[column]) for column in COUNTS]
        cells += [_count(had.get(column, math.nan)) for column in BOUGHT]
        lines.append(Line(of_event.event.short, [*cells, *_separation(stock, name)]))
    yield _table(setting, [by_name[name] for name in names], lines)
    first = by_name[names[0]]
    yield (
        f"{first.event.short} treats {len(first.treated)} {setting.plan.text.units} inside the window, in "
        f"{len(first.by_period)} {setting.panel.period_unit}s."
    )


def _count(value: float) -> Cell:
    return REFUSED if math.isnan(value) else Number(value, 0)


def _separation(stock: pd.DataFrame, name: str) -> tuple[Cell, Cell]:
    """Return the AUC of an event and its interval, dashes where the table of stocks has none."""
    if name not in stock.index or math.isnan(stock.at[name, "auc"]):
        return REFUSED, REFUSED
    auc: Column = gpu_stock.COLUMNS["auc"]
    return auc.cell(stock.at[name, "auc"]), gpu_stock.interval(stock.loc[name], "auc")


def _table(setting: Setting, events: list[timing.Timed], lines: list[Line]) -> Table:
    """Return the table, with a note on the events whose comparison is narrower than the panel."""
    units, panel = setting.plan.text.units, setting.panel
    narrower: dict[str, list[str]] = {}
    for of_event in events:
        if of_event.rule != "all":
            narrower.setdefault(of_event.rule, []).append(of_event.event.short)
    return Table(
        name=EXHIBIT,
        caption=f"Definitions of treatment: {units} by date, their machines, and later stock of GPUs",
        headings=[*COUNTS.values(), *BOUGHT.values(), "AUC", "95% interval"],
        spans=[(f"{capital(units)}, by first treatment", 5), ("Of the treated", 2), ("Later GPU stock", 2)],
        blocks=[Block("", lines)],
        notes=[
            f"Already: in {panel.window(panel.periods[:1])} or before, and dropped. Treated: in "
            f"{panel.window(panel.periods[1:])}, in so many {panel.period_unit}s. No GPU: none of the machines of the "
            "event trains. Hosted: national or one-field machines alone. AUC: probability that a university of the "
            "United States with the event later holds more GPUs than one without; one half separates nobody.",
            *(
                f"Among {timing.AMONG.get(rule, rule)} alone: {'; '.join(shorts)}."
                for rule, shorts in narrower.items()
            ),
            f"{REFUSED} : not known.",
        ],
    )
