"""Whether a definition of treatment tells who holds GPUs later, by a third party's count."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

import pandas as pd

from study.core import capital
from study.figures import dot_figure
from study.panel import checksum
from study.panel.shipped import shipped
from study.paper.exhibits.exhibit import Part, Piece, Setting, draw, exhibit
from study.paper.exhibits.verdicts import findings_of
from study.report import REFUSED, Block, Cell, Column, Line, Table

EXHIBIT = "gpu_stock"
FILE = ("data", "gpu_stock.csv")
HALF = 0.5
MEASURES = {
    "n": Column("number", "count"),
    "some": Column("share that holds GPUs", "percent"),
    "median": Column("median stock, H100-equivalents", digits=0),
}
ENDS = {"": "", "_low": ", lower end of its 95% interval", "_high": ", upper end of its 95% interval"}
COLUMNS = {
    f"{name}_{side}{end}": column._replace(words=f"{column.words}{words} ({side} the event)")
    for (name, column), side, (end, words) in product(MEASURES.items(), ("with", "without"), ENDS.items())
} | {f"auc{end}": Column(f"AUC{words}", digits=2) for end, words in ENDS.items()}
COLUMNS["above_without"] = Column(
    "share without the event whose stock exceeds the median of those with it", "percent"
)


@exhibit("Does the treatment measure compute?", Part.QUESTION)
def gpu_stock(setting: Setting) -> Iterator[Piece]:
    """Yield the later stock of GPUs of universities with and without each event, and which events separate them."""
    titles = {event.name: event.short for event in reversed(setting.plan.every_event)}
    table = pd.read_csv(shipped(*FILE))
    words = table["event"].str.removeprefix("first_").str.replace("_", " ").map(capital)
    table = table.assign(label=table["event"].map(titles).fillna(words))
    yield _table(table)
    ends = {"auc": "estimate", "auc_low": "conf_low", "auc_high": "conf_high"}
    yield draw(
        EXHIBIT,
        "Later stock of GPUs by definition of treatment: the probability that a university with the event holds more "
        "than one without it (AUC), of universities of the United States. At one half the definition separates nobody.",
        dot_figure(table.rename(columns=ends).dropna(subset="estimate"), xlabel="AUC", null=HALF),
        "One dot with its interval a definition of treatment, around a line at one half.",
    )
    about = partial(setting.numbers, columns=COLUMNS, data="/".join(FILE), checksum=checksum(*FILE))
    for row in table.to_dict("records"):
        values = {name: row[name] for name in COLUMNS if name in row}
        yield from about((EXHIBIT, row["event"]), values, quantity=row["label"])
    yield verdict(table)
    for row in findings_of(setting, ("misclassification",)):
        yield from (row.says(s) for finding in row.by_name.values() for s in finding["checked"])


def verdict(table: pd.DataFrame) -> str:
    """Say which definitions separate holders of GPUs from others, and which nobody."""
    low, high, labels = table["auc_low"], table["auc_high"], table["label"]
    above, around = labels[low > HALF], labels[(low <= HALF) & (high >= HALF)]
    first, second = ("; ".join(names) or "none" for names in (above, around))
    return (
        f"The interval of the AUC of later stocks of GPUs lies above one half for {len(above)} of {len(table)} "
        f"definitions of treatment ({first}). It has one half in it for {len(around)} ({second}): by this check they "
        "are not shown to separate anybody, and a null of theirs says little about compute."
    )


def _table(table: pd.DataFrame) -> Table:
    return Table(
        name="gpu-stock",
        caption="Later stock of GPUs of universities with and without each event",
        headings=[*("Number", "Some, %", "Median", "95% interval") * 2, "AUC", "95% interval"],
        spans=[("With the event", 4), ("Without", 4), ("Separation", 2)],
        blocks=[Block("", [Line(row["label"], [*_cells(row)]) for row in table.to_dict("records")])],
        notes=[
            "Universities of the United States that the table of GPUs names, with the event by its month and without. "
            "Median: GPUs in H100-equivalents, with order statistics as its interval. AUC: the probability that one "
            "with the event holds more than one without (DeLong, DeLong and Clarke-Pearson 1988); an interval with one "
            "half in it separates nobody, also where few universities make it wide.",
            "Limits: the stock is of one date, after treatment; a third party compiled it with a language model; it "
            "covers the United States alone. It checks definitions, and is no treatment and no outcome. Data: "
            f"{'/'.join(FILE)}; no row of the third party's table ships.",
        ],
    )


def _cells(row: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield the values of a line, medians and the AUC with their intervals, a dash where there is none."""
    for name in ("n_with", "some_with", "median_with", "n_without", "some_without", "median_without", "auc"):
        yield COLUMNS[name].cell(row[name])
        if name.startswith(("median", "auc")):
            low, high = (f"{row[name + end]:.{COLUMNS[name].digits}f}" for end in ("_low", "_high"))
            yield REFUSED if math.isnan(row[f"{name}_low"]) else f"{low} to {high}"
