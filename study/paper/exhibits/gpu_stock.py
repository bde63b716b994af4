"""Whether a definition of treatment tells who holds GPUs later, by a third party's count."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import product
from typing import Any

import pandas as pd

from study.core import capital
from study.panel import checksum, shipped
from study.paper import Part, Piece, Setting, cell_of, exhibit
from study.report import REFUSED, Block, Column, Line, Number, Table

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
ABOVE = "share without the event whose stock exceeds the median of those with it"
COLUMNS["above_without"] = Column(ABOVE, "percent")


@exhibit("Does the treatment measure compute?", Part.QUESTION)
def gpu_stock(setting: Setting) -> Iterator[Piece]:
    """Yield the later stock of GPUs of universities with and without each event, and which events separate them."""
    titles = {event.name: event.short for event in reversed(setting.plan.every_event)}
    table = pd.read_csv(shipped(*FILE))
    words = table["event"].str.removeprefix("first_").str.replace("_", " ").map(capital)
    table = table.assign(label=table["event"].map(titles).fillna(words))
    lines = [line for row in table.to_dict("records") for line in _lines(row)]
    yield Table(
        name="gpu-stock",
        caption="Later stock of GPUs of universities with and without each event",
        headings=["N", "Some, %", "Median", "N", "Some, %", "Median", "Above, %", "AUC"],
        spans=[("With the event", 3), ("Without the event", 4), ("", 1)],
        blocks=[Block("", lines)],
        notes=[
            "US universities that a third party's list of GPUs names, without those with the event since an unknown "
            "month. Some: share that holds GPUs. Median: in H100-equivalents, its interval by "
            "order statistics. Above: share without the event above the median of those with it. AUC: probability that "
            "one with the event holds more than one without (DeLong et al. 1988). Below: 95% intervals. The list is of "
            "one date after treatment, compiled with a language model.",
            f"Data: {'/'.join(FILE)}.",
        ],
    )
    about = partial(setting.numbers, columns=COLUMNS, data="/".join(FILE), checksum=checksum(*FILE))
    for row in table.to_dict("records"):
        values = {name: row[name] for name in COLUMNS if name in row}
        yield from about(row["event"], values, quantity=row["label"])
    yield verdict(table)
    for row in setting.findings_of(("misclassification",)):
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


def _lines(row: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the values of a definition and below them the intervals, dashes where there are none."""
    shown = [*(f"{name}_{side}" for side in ("with", "without") for name in MEASURES), "above_without", "auc"]
    yield Line(row["label"], [cell_of(COLUMNS[name], row[name]) for name in shown])
    yield Line("", [interval(row, name) if f"{name}_low" in row else "" for name in shown])


def interval(row: Mapping[str, Any], name: str) -> str:
    """Return the interval of a value of a definition, a dash where there is none."""
    ends = [row[f"{name}_{end}"] for end in ("low", "high")]
    if any(map(math.isnan, ends)):
        return REFUSED
    kind, digits = COLUMNS[name].kind, COLUMNS[name].digits
    low, high = (Number(100 * end, 0) if kind == "percent" else Number(end, digits) for end in ends)
    return f"[{low.text}, {high.text}]"
