"""The machines behind events, by device and owner, and how far two readings of them agree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import pandas as pd

from study.data.assemble.machines import EVENTS, JOINED
from study.data.audits import readings_agree
from study.panel import checksum
from study.panel.shipped import shipped
from study.paper.exhibits.exhibit import Part, Piece, Setting, exhibit
from study.paper.exhibits.timing import timed_event
from study.report import Block, Column, Line, Number, Table

EXHIBIT = "machines"
FILE, DATED = ("data", "machines.csv"), ("data", "events", "top500.csv")
DEVICES = {"gpu": "GPUs that train", "other": "Other accelerator", "none": "No accelerator"}
OWNERS = {"own": "Own", "shared": "Shared", "national": "National", "field": "One field"}
SOURCES = {
    "top500": "TOP500 systems",
    "nsf": "NSF awards",
    "osg": "Campus resources",
    "programme": "Programmes",
}
USABLE = ("own", "shared")
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
    every, panel = pd.read_csv(shipped(*FILE), dtype=str, keep_default_na=False), setting.panel
    about = partial(setting.numbers, columns=COLUMNS, data="/".join(FILE), checksum=checksum(*FILE))
    yield _table(every)
    yield from about((EXHIBIT, "all"), counts(every))
    for (device, name), (owner, whose) in product(DEVICES.items(), OWNERS.items()):
        rows = every[(every["device"] == device) & (every["owner"] == owner)]
        yield from about((EXHIBIT, device, owner), counts(rows), quantity=f"{name}, {whose}")
    usable = every[(every["device"] == "gpu") & every["owner"].isin(USABLE)]
    yield f"{len(usable)} of {len(every)} machines behind events have GPUs that train and are own or shared."
    for what in ("device", "owner"):
        both, kappa = readings_agree(every, what)
        values = dict(zip(READ, (both.value, *both.interval, kappa), strict=True))
        yield from about((EXHIBIT, what), values, quantity=what)
        yield f"Both readers say the same of the {what} for a share of {both}; kappa {kappa:.2f}."
    if FIRST in panel.first_treated:
        dates = panel.first_treated[FIRST]
        inside = (dates > panel.periods[0]) & (dates <= panel.periods[-1])
        bought = first_specified(every, panel.units[inside])
        yield from about((EXHIBIT, FIRST), bought, quantity="first accelerator system")
        yield (
            f"Of the {bought['treated']} universities first treated by their first accelerator system, "
            f"{bought['no_gpu']} had no machine on that list that trains, and {bought['not_theirs']} host a national "
            f"or one-field machine and no other; {bought['usable']} have GPUs of their own or shared."
        )
    events = [
        timed_event(setting.plan, panel, e) for e in setting.plan.every_event if e.name in (FIRST, *EVENTS)
    ]
    if adopters := [f"{timed.event.short} {timed.counts['n_treated']}" for timed in events]:
        yield f"Universities first treated inside the window: {', '.join(adopters)}."


def counts(rows: pd.DataFrame) -> dict[str, int]:
    """Return the numbers of machines and of the universities that hold them, partners of shared ones too."""
    names = (rows["university"] + ";" + rows["partners"]).str.split(";").explode()
    names = names.str.replace(JOINED, "", regex=True).str.strip()
    return {"machines": len(rows), "universities": names[names != ""].nunique()}


def first_specified(every: pd.DataFrame, treated: Sequence[str]) -> dict[str, int]:
    """Return what universities treated by their first accelerator system had: the machines first listed then."""
    events = pd.read_csv(shipped(*DATED), dtype=str, keep_default_na=False)
    events = events[(events["event"] == FIRST) & events["university"].isin(treated)]
    listed = every[every["source"] == "top500"]
    listed = listed.assign(date=listed["machine"].str.split(":").str[1], theirs=listed["owner"].isin(USABLE))
    own = events[["university", "date"]].merge(listed, on=["university", "date"])
    own = own.assign(gpu=own["device"] == "gpu", usable=own["theirs"] & (own["device"] == "gpu"))
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
    return Table(
        name=EXHIBIT,
        caption="Machines behind events, by device and owner",
        headings=[*OWNERS.values()] * 2,
        spans=[("Machines", len(OWNERS)), ("Universities", len(OWNERS))],
        blocks=blocks,
        notes=[
            "GPUs that train: those that frameworks use through CUDA, ROCm or oneAPI. Other: accelerators that they do "
            "not use (Xeon Phi, Cell, FPGAs, old Radeon). Own; shared with named partners; national: a national or "
            "regional service that a university hosts; one field: bound to one science. A machine with several holders "
            "counts once, and each of them as a university.",
            "Each machine was read twice by instances of one language model: agreement says how clear the definitions "
            f"are, not that they are right. Data: {'/'.join(FILE)}.",
        ],
    )
