"""The machines behind events, by device and owner, and how far two readings of them agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import pandas as pd

from study.data.assemble.machines import DEVICES, JOINED, OWNERS, SOURCES, USABLE
from study.data.audits import readings_agree
from study.panel import checksum, shipped
from study.paper import Part, Piece, Setting, exhibit
from study.paper.exhibits.timing import timed_event
from study.report import Block, Column, Line, Number, Table

FILE = ("data", "machines.csv")
READ = ("share", "low", "high", "kappa")
FIRST = "first_accelerator"  # the event as first specified
COLUMNS = {
    "machines": Column("machines behind events", "count"),
    "universities": Column("universities with such a machine", "count"),
    "share": Column("share of machines of which both readers say the same", "percent"),
    "low": Column("lower end of its 95% interval", "percent"),
    "high": Column("upper end of its 95% interval", "percent"),
    "kappa": Column("Cohen's kappa of the two readings", digits=2),
    "treated": Column("universities first treated inside the window", "count"),
    "no_gpu": Column("of them, those none of whose machines on that list trains", "count"),
    "not_theirs": Column("of them, those that host a national or one-field machine and no other", "count"),
    "usable": Column("of them, those with a GPU machine of their own or shared", "count"),
}


@exhibit("Machines behind events", Part.QUESTION)
def machines(setting: Setting) -> Iterator[Piece]:
    """Yield the table of machines by device and owner, and what it says of who is treated by which event."""
    every = read(*FILE)
    about = partial(setting.numbers, columns=COLUMNS, data="/".join(FILE), checksum=checksum(*FILE))
    yield _table(every)
    yield from about("all", counts(every))
    for (device, name), (owner, whose) in product(DEVICES.items(), OWNERS.items()):
        rows = every[(every["device"] == device) & (every["owner"] == owner)]
        yield from about((device, owner), counts(rows), quantity=f"{name}, {whose}")
    usable = every[(every["device"] == "gpu") & every["owner"].isin(USABLE)]
    yield f"{len(usable)} of {len(every)} machines behind events have GPUs that train and are own or shared."
    for what in ("device", "owner"):
        both, kappa = readings_agree(every, what)
        values = dict(zip(READ, (both.value, *both.interval, kappa), strict=True))
        yield from about(what, values, quantity=what)
        low, high = (f"{100 * end:.1f}" for end in both.interval)
        yield f"Both readers say the same {what} of {both.value:.1%} of machines (95% {low} to {high})."
    behind = machines_behind(every)
    events = {event.name: event for event in reversed(setting.plan.every_event)}  # the first of each name
    for name, event in reversed(events.items()):
        if name not in setting.panel.first_treated:
            continue
        if of_event := bought(behind, name, timed_event(setting.plan, setting.panel, event).treated):
            yield from about(name, of_event, quantity=event.title)
            if name == FIRST:
                yield (
                    f"Of the {of_event['treated']} universities first treated by their first accelerator system, "
                    f"{of_event['no_gpu']} had no machine on that list that trains, and {of_event['not_theirs']} host "
                    f"a national or one-field machine and no other."
                )


def read(*file: str) -> pd.DataFrame:
    """Return a table that ships as text, with nothing missing."""
    return pd.read_csv(shipped(*file), dtype=str, keep_default_na=False)


def counts(rows: pd.DataFrame) -> dict[str, int]:
    """Return the numbers of machines and of the universities that hold them, partners of shared ones too."""
    names = (rows["university"] + ";" + rows["partners"]).str.split(";").explode()
    names = names.str.replace(JOINED, "", regex=True).str.strip()
    return {"machines": len(rows), "universities": names[names != ""].nunique()}


def machines_behind(every: pd.DataFrame) -> pd.DataFrame:
    """Return the machines of the table that date universities' events: event, university, device, owner.

    Grants and events that are made from the table name their machine; the event as first specified names a list, and
    its machines are those first on it.
    """
    names = ("top500", "machines", "nsf")
    systems, named, grants = (read("data", "events", f"{name}.csv") for name in names)
    listed = every.assign(date=every["machine"].str.split(":").str[1])[every["source"] == "top500"]
    systems = systems[systems["event"] == FIRST].merge(listed, on=["university", "date"])
    grants = grants.assign(machine="nsf:" + grants["award_id"])
    dated = pd.concat([systems, named, grants])[["event", "university", "machine"]]
    return dated.merge(every[["machine", "device", "owner"]], on="machine")


def bought(behind: pd.DataFrame, event: str, treated: Sequence[str]) -> dict[str, int]:
    """Return what the universities treated by an event had then; empty where the table has no machine of theirs."""
    own = behind[(behind["event"] == event) & behind["university"].isin(treated)]
    if own.empty:
        return {}
    own = own.assign(gpu=own["device"] == "gpu", theirs=own["owner"].isin(USABLE))
    own = own.assign(usable=own["theirs"] & own["gpu"])
    has = own.groupby("university")[["gpu", "theirs", "usable"]].any().sum()
    n = own["university"].nunique()
    return {"treated": n, "no_gpu": n - has["gpu"], "not_theirs": n - has["theirs"], "usable": has["usable"]}


def _table(every: pd.DataFrame) -> Table:
    """Return the counts by source and device in lines, by owner in columns."""
    blocks = []
    for source, title in {"": "All", **SOURCES}.items():
        lines = []
        for device, name in DEVICES.items():
            rows = every[(every["device"] == device) & every["source"].str.startswith(source)]
            held = [counts(rows[rows["owner"] == owner]) for owner in OWNERS]
            cells = [Number(of[what], 0) for what in ("machines", "universities") for of in held]
            lines += [Line(name, cells)] if len(rows) else []
        blocks.append(Block(title, lines))
    devices, owners = (readings_agree(every, what)[0].value for what in ("device", "owner"))
    return Table(
        name="machines",
        caption="Machines behind events, by device and owner",
        headings=[*OWNERS.values()] * 2,
        spans=[("Machines", len(OWNERS)), ("Universities", len(OWNERS))],
        blocks=blocks,
        notes=[
            "GPUs that train: those that frameworks use through CUDA, ROCm or oneAPI; other: accelerators that they do "
            "not use (Xeon Phi, Cell, FPGAs). Shared: with named partners; national: a national or regional service; "
            "one field: bound to one science. Each holder of a machine counts as a university.",
            f"Two readings by instances of one language model agree on {devices:.1%} of devices and {owners:.1%} of "
            f"owners: how clear the definitions are, not that they are right. Data: {'/'.join(FILE)}.",
        ],
    )
