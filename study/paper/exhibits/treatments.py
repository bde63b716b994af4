"""Definitions of treatment side by side: whom they treat when, with what, and whether they tell who holds GPUs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import chain

import pandas as pd

from study.core import capital
from study.panel import shipped
from study.paper import Part, Piece, Setting, cell_of, exhibit
from study.paper.exhibits import gpu_stock, machines, timing
from study.report import COLUMNS, REFUSED, Block, Cell, Line, Number, Table

COUNTS = ("already_treated", "n_treated", "n_cohorts", "never_treated")
BOUGHT = {"usable": "Usable", "no_gpu": "No GPU", "not_theirs": "Hosted"}


@exhibit("Definitions of treatment", Part.QUESTION)
def treatments(setting: Setting) -> Iterator[Piece]:
    """Yield one table of the definitions of treatment; its numbers are those of timing, machines and stocks of GPUs."""
    plan, panel = setting.plan, setting.panel
    events = {event.label: event for event in plan.every_event if event.name in panel.first_treated}
    shown = [timing.timed_event(plan, panel, events[label]) for label in plan.treatments if label in events]
    if not shown:
        return
    behind = machines.machines_behind(machines.read(*machines.FILE))
    stock = pd.read_csv(shipped(*gpu_stock.FILE), index_col="event")
    lines: dict[str, list[Line]] = {}
    for of_event in shown:
        name = of_event.event.name
        had = machines.bought(behind, name, of_event.treated)
        counts = [of_event.counts[column] for column in COUNTS]
        counts += [had.get(column, math.nan) for column in BOUGHT]
        among = capital(timing.AMONG.get(of_event.rule, of_event.rule))
        whom = f"{plan.text.units} of the panel" if of_event.rule == "all" else "alone"
        cells = [*(cell_of(COLUMNS["count"], count) for count in counts), *_separation(stock, name)]
        title = f"{among} {whom} ({of_event.counts['population']})"
        lines.setdefault(title, []).append(Line(of_event.event.short, cells))
    has_dash = any(REFUSED in line.cells for line in chain(*lines.values()))
    units, heads = plan.text.units, timing.headings(panel)
    counted = sorted({f"{total:.0f}" for total in stock["n_with"] + stock["n_without"]})
    over = {f"{capital(units)}, by first treatment": COUNTS, "Machines of the treated": BOUGHT}
    yield Table(
        name="treatments",
        caption=f"Definitions of treatment: {units} by date, their machines, and later stock of GPUs",
        headings=[*(heads[name] for name in COUNTS), *BOUGHT.values(), "N", "AUC, 95% interval"],
        spans=[*((title, len(columns)) for title, columns in over.items()), ("Later GPU stock", 2)],
        blocks=[Block(title, own) for title, own in lines.items()],
        notes=[
            f"{timing.window_note(panel)} {heads['later']}: not shown. Usable: own or shared GPUs that train. "
            "No GPU: none of the event's machines trains. Hosted: national or one-field machines alone. These two "
            "overlap. AUC: probability that a university of the United States with the event later holds more GPUs "
            f"than one without, of {' or '.join(counted)} on a third party's list, whatever the population above (N: "
            "with it); one half separates nobody.",
            *([f"{REFUSED} : not known."] if has_dash else []),
        ],
    )
    first = shown[0]
    yield (
        f"{first.event.short} treats {len(first.treated)} {units} inside the window, in {len(first.by_period)} "
        f"{panel.period_unit}s."
    )


def _separation(stock: pd.DataFrame, name: str) -> list[Cell]:
    """Return how many have an event, and its AUC with the interval, dashes where the table of stocks has none."""
    if name not in stock.index or math.isnan(stock.at[name, "auc"]):
        return [REFUSED] * 2
    row = stock.loc[name]
    auc = Number(row["auc"], gpu_stock.COLUMNS["auc"].digits)
    return [Number(row["n_with"], 0), f"{auc.text} {gpu_stock.interval(row, 'auc')}"]
