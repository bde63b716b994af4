"""When units are first treated, for each family of compute-access events."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import capital
from study.panel import Panel
from study.panel.population import population
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Part,
    Setting,
    Source,
    Traced,
    address,
    addressed,
    draw,
    exhibit,
)
from study.paper.plan import Event, Plan
from study.report import REFUSED, Block, Cell, Column, Line, Number, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EXHIBIT = "timing"
MAIN = "Main events"
LOSERS = "_loser"
CONTRAST = "contrast"
FEW = 5
COLUMNS = {
    "population": Column("in the population of the event", "count"),
    "already_treated": Column("already treated at the window's start", "count"),
    "later": Column("first treated after the window", "count"),
    "never_treated": Column("never treated", "count"),
    "losers": Column("never treated that lost the contest", "count"),
}

# Programmes that came too early for the panel of the paper: shown beside the plan's events, not estimated.
EARLY = "Shared and donated clusters"
EARLIER = (
    Event(
        "first_donated_cluster",
        "share in the cluster of IBM and Google for universities",
        "Cluster of IBM and Google",
        "donated",
        EARLY,
        question={"population": "donated_cluster"},
    ),
    Event(
        "first_clue",
        "NSF grant for work on the cluster of IBM and Google (CluE)",
        "CluE grants on that cluster",
        "clue",
        EARLY,
        question={"population": "clue"},
    ),
)
# Populations in the words of a table; any other rule is shown as it is written.
AMONG = {
    "all": "all",
    "united_states": "United States",
    "nsf_contests": "winners in these contests",
    "uk_gpu": "United Kingdom",
    "donated_cluster": "United States",
    "clue": "United States",
    "facebook_gpu": "eight European countries",
    "india_nsm": "India",
    "korea_ai_school": "South Korea",
    "france_3ia": "winning and losing sites",
}


@dataclass(frozen=True)
class Timed:
    """When the units of a population are first treated by an event.

    Attributes
    ----------
    event : Event
    among : str
        The population, in words.
    units : int
        In the population.
    already : int
        Treated at the panel's first period or before, or at a date that may stand for an earlier one; no design
        uses them.
    by_period : dict of int to int
        Units first treated in each period that has some, inside the panel's window.
    later, never, losers : int
        Treated after the window; never; of these, those that lost the contest (NaN where losers are not known).
    lag : int
        Periods by which the question moves the event.
    """

    event: Event
    among: str
    units: int
    already: int
    by_period: dict[int, int]
    later: int
    never: int
    losers: float
    lag: int

    @property
    def treated(self) -> int:
        """Units first treated inside the window."""
        return sum(self.by_period.values())

    @property
    def counts(self) -> dict[str, float]:
        """How many units are treated when, in the order of the table's columns."""
        return {
            "population": self.units,
            "already_treated": self.already,
            "n_treated": self.treated,
            "n_cohorts": len(self.by_period),
            "later": self.later,
            "never_treated": self.never,
            "losers": self.losers,
        }

    @property
    def is_contrast(self) -> bool:
        """Whether the event brings no machine; its group or short name says so."""
        return CONTRAST in f"{self.event.group} {self.event.short}".lower()


@exhibit("When compute arrives, by family of events", Part.QUESTION)
def timing(setting: Setting) -> Exhibited:
    """Return the figure of who is first treated when, and the table of the families with their comparison."""
    events, absent = timed(setting.plan, setting.panel)
    if not events:
        return Exhibited()
    unit = setting.plan.text.units
    drawing = draw(
        EXHIBIT,
        f"When {unit} are first treated, by family of events: counts by period. Already treated: in "
        f"{_first(setting)} or before, or at a date that may stand for an earlier one; they are dropped. Light cells "
        "with dashed edges are events without a machine.",
        figure(setting, events),
        f"A matrix with a row for each event and a column for each year; each cell has the number of {unit} that are "
        "first treated then, darker where there are more.",
    )
    return Exhibited(
        tables=(table(setting, events),),
        figures=(drawing,),
        numbers=tuple(_numbers(setting, events)),
        sentences=tuple(_sentences(setting, events, absent)),
    )


def timed(plan: Plan, panel: Panel) -> tuple[list[Timed], list[Event]]:
    """Return when units are first treated by each event, grouped by family, and the events the panel does not date."""
    names = [event.name for event in (*plan.events, *plan.families)]
    early = [event for event in EARLIER if event.name not in names]
    every = [*plan.events, *plan.families, *early]
    dated = [event for event in every if event.name in panel.first_treated and _has_population(event, panel)]
    groups = list(dict.fromkeys(group_of(event) for event in dated))
    dated.sort(key=lambda event: groups.index(group_of(event)))
    return [timed_event(plan, panel, event) for event in dated], [e for e in every if e not in dated]


def timed_event(plan: Plan, panel: Panel, event: Event) -> Timed:
    """Count an event's dates as a question about it would treat them, by the rules of ``study.panel.question``."""
    question = plan.question | event.question
    rule, lag = question.get("population", "all"), question.get("lag", 0)
    member = population(rule, panel)
    dates = panel.first_treated[event.name][member]
    first, last = panel.periods[0], panel.periods[-1]
    # A date in the first period may be a censored one, so no lag makes an event of it (study.panel.question).
    start = np.where(dates <= first, dates, dates + lag - question.get("anticipation", 0))
    inside = (start > first) & (start <= last)
    lost = panel.first_treated.get(event.name + LOSERS)
    never = np.isnan(dates)
    return Timed(
        event=event,
        among=AMONG.get(rule, str(rule)),
        units=int(member.sum()),
        already=int((start <= first).sum()),
        by_period=dict(sorted(Counter((dates[inside] + lag).astype(int).tolist()).items())),
        later=int((start > last).sum()),
        never=int(never.sum()),
        losers=math.nan if lost is None else float((never & ~np.isnan(lost[member])).sum()),
        lag=lag,
    )


def group_of(event: Event) -> str:
    """Return the heading that an event stands under."""
    return event.group or MAIN


def figure(setting: Setting, events: Sequence[Timed]) -> Figure:
    """Draw a matrix of counts: rows events under the headings of their families, columns years."""
    from matplotlib.transforms import blended_transform_factory

    from study.figures import FULL, GREY
    from study.figures.canvas import canvas

    panel = setting.panel
    years = panel.periods[1:].tolist()
    columns: dict[Any, float] = {"before": 0.0, **{year: 1.4 + k for k, year in enumerate(years)}}
    columns |= {"after": len(years) + 1.9, "never": len(years) + 3.4}
    lines = _lines(events)
    with canvas(FULL, 0.55 + 0.215 * len(lines)) as drawing:
        axis = drawing.subplots()
        across = blended_transform_factory(drawing.transFigure, axis.transData)
        most = max(max(t.by_period.values(), default=1) for t in events)
        for y, line in enumerate(lines):
            if isinstance(line, str):
                heading: dict[str, Any] = {
                    "fontsize": 8,
                    "fontweight": "bold",
                    "va": "center",
                    "in_layout": False,
                }
                axis.text(0.008, y, line, transform=across, **heading)
            else:
                _draw_line(axis, columns, y, line, most)
                axis.vlines((0.7, len(years) + 1.1), y - 0.5, y + 0.5, color=GREY, linewidth=0.8)
        axis.set_xlim(-0.7, columns["never"] + 0.7)
        axis.set_ylim(len(lines) - 0.4, -0.6)
        axis.set_yticks(
            [y for y, line in enumerate(lines) if not isinstance(line, str)],
            [f"{line.event.short} ({line.units:,})" for line in lines if not isinstance(line, str)],
        )
        labels = [f"to\n{panel.periods[0]}", *(_short(year) for year in years), "later", "never"]
        axis.set_xticks(list(columns.values()), labels)
        axis.xaxis.tick_top()
        axis.tick_params(length=0, pad=2)
        for side in axis.spines.values():
            side.set_visible(False)
    return drawing


def _short(year: int) -> str:
    return f"\N{RIGHT SINGLE QUOTATION MARK}{year % 100:02d}" if year >= 1000 else str(year)


def _lines(events: Sequence[Timed]) -> list[str | Timed]:
    lines: list[str | Timed] = []
    for group, members in groupby(events, lambda t: group_of(t.event)):
        lines += [group, *members]
    return lines


def _draw_line(axis: Axes, columns: dict[Any, float], y: int, line: Timed, most: int) -> None:
    """Draw an event's cells: shades inside the window, numbers alone outside of it."""
    from study.figures import GREY, SECOND, luminance

    for year, count in line.by_period.items():
        shade = _shade(count / most, line.is_contrast)
        axis.bar(
            columns[year],
            0.84,
            0.9,
            y - 0.42,
            color=shade,
            linewidth=0.9,
            edgecolor=SECOND if line.is_contrast else shade,
            linestyle="--" if line.is_contrast else "-",
        )
        ink = "white" if luminance(shade) < 0.55 else "black"
        axis.text(columns[year], y, f"{count}", ha="center", va="center", fontsize=8, color=ink)
    for place, count in (("before", line.already), ("after", line.later), ("never", line.never)):
        axis.text(columns[place], y, f"{count:,}", ha="center", va="center", fontsize=8, color=GREY)


def _shade(share: float, light: bool) -> tuple[float, float, float]:
    """Return a colour between white and the first colour, darker for more; light all through for a contrast."""
    from matplotlib.colors import to_rgb

    from study.figures import COLOUR, SECOND

    depth = 0.08 if light else 0.2 + 0.8 * math.sqrt(share)
    red, green, blue = (1 - depth * (1 - c) for c in to_rgb(SECOND if light else COLOUR))
    return red, green, blue


def table(setting: Setting, events: Sequence[Timed]) -> Table:
    """Return the table of events: among whom, and how many are treated when."""
    plan, panel = setting.plan, setting.panel
    window = f"{panel.periods[0] + 1}-{panel.periods[-1]}"
    blocks = [
        Block(group, [Line(capital(t.event.title), _cells(t)) for t in members])
        for group, members in groupby(events, lambda t: group_of(t.event))
    ]
    lagged = [t.event.short for t in events if t.lag]
    notes = [
        f"Counts of {plan.text.units}. Already: first treated in {_first(setting)} or before, or at a date that may "
        "stand for an earlier one because the record begins there; they are dropped. Treated: first treated in "
        f"{window}, in so many different years (cohorts). Later: first treated after the window; these are compared "
        f"until then. Losers: never treated, and named as losers of the contest; {REFUSED} where no list of losers "
        "is known.",
        f"Dates are the first periods whose outcome could respond to the event, in the panel {panel.name}.",
    ]
    if lagged:
        notes.append(
            f"Dates of {', '.join(lagged)} are those of an award, and are moved by the question's lag, since the "
            "machine serves later."
        )
    return Table(
        name=EXHIBIT,
        caption=f"Families of events: who is compared, and when {plan.text.units} are first treated",
        headings=["Among", "All", "Already", "Treated", "Cohorts", "Later", "Never", "Losers"],
        blocks=blocks,
        notes=notes,
    )


def _cells(line: Timed) -> list[Cell]:
    counts = line.counts.values()
    return [line.among, *(REFUSED if math.isnan(count) else Number(count, 0) for count in counts)]


def _numbers(setting: Setting, events: Sequence[Timed]) -> Iterator[Traced]:
    panel = setting.panel
    for timed in events:
        rule = (setting.plan.question | timed.event.question).get("population", "all")
        question = f"event={timed.event.name}, population={rule}, lag={timed.lag}"
        source = Source(EXHIBIT, setting.plan.text.units, panel.name, panel.checksum, RUN, question=question)
        yield from addressed(address(EXHIBIT, timed.event.label), timed.counts, source, columns=COLUMNS)


def _sentences(setting: Setting, events: Sequence[Timed], absent: Sequence[Event]) -> Iterator[str]:
    units = setting.plan.text.units
    most, least = max(events, key=lambda t: t.treated), min(events, key=lambda t: t.treated)
    yield (
        f"{len(events)} events are dated in this panel; inside its window they treat between {least.treated} "
        f"({least.event.short}) and {most.treated} {units} ({most.event.short})."
    )
    single = [t.event.short for t in events if len(t.by_period) == 1]
    if single:
        yield (
            "First treated in a single year, so that an effect cannot be told from other news of that year that "
            f"reached the same {units}: {'; '.join(single)}."
        )
    compared = {t.event.short: t.never + t.later for t in events if t.by_period}
    few = [f"{event} ({count})" for event, count in compared.items() if count < FEW]
    if few:
        yield (
            f"Fewer than {FEW} {units} are untreated throughout the window, so that the last to be "
            f"treated are the comparison: {'; '.join(few)}."
        )
    empty = [t.event.short for t in events if not t.by_period]
    if empty:
        yield f"Too early for this panel, since nobody is first treated inside it: {'; '.join(empty)}."
    if absent:
        yield f"Not dated in this panel and left out: {'; '.join(event.short for event in absent)}."


def _has_population(event: Event, panel: Panel) -> bool:
    rule = event.question.get("population", "all")
    return event not in EARLIER or rule in panel.populations


def _first(setting: Setting) -> int:
    return int(setting.panel.periods[0])
