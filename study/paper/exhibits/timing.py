"""When units are first treated, for each family of events."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from study.core import capital, counted
from study.figures import COLOUR, FULL, GREY, SECOND, Figure, luminance, on_axes
from study.panel import Panel, dates_with_lag, population
from study.paper import Event, Part, Piece, Plan, Setting, draw, exhibit
from study.report import Block, Column, Line, Number, Table

# Letters of the names of the events that ship, in words.
LETTERS = {
    "MRI": "Major Research Instrumentation",
    "CC*": "Campus Cyberinfrastructure",
    "CRI": "Computing Research Infrastructure",
    "3IA": "interdisciplinary AI institutes of France",
}
FEW = 5
MOST_LETTERS = 60  # of all names of periods above the columns
COLUMNS = {
    "population": Column("in the population of the event", "count"),
    "already_treated": Column("already treated at the window's start", "count"),
    "later": Column("first treated after the window", "count"),
    "never_treated": Column("never treated", "count"),
    "losers": Column("never treated that lost the contest", "count"),
}

# Programmes that came too early for the panel of the paper: shown beside the plan's events, not estimated.
EARLY = "Shared and donated clusters"
CLUSTER = "cluster of IBM and Google"
# By population: title, short name and label.
TOO_EARLY = {
    "donated_cluster": (f"share in the {CLUSTER} for universities", "Cluster of IBM and Google", "donated"),
    "clue": (f"NSF grant for work on the {CLUSTER} (CluE)", "CluE grants on that cluster", "clue"),
}
EARLIER = [Event(f"first_{at}", *text, EARLY, question={"population": at}) for at, text in TOO_EARLY.items()]
# Populations in the words of a table; any other rule is shown as it is written.
AMONG = {
    "all": "all",
    "united_states": "United States",
    "nsf_contests": "contest winners",
    "cri_contest": "contest winners",
    "all_contests": "winners and losers",
    "all_contests and country=US": "winners, NSF alone",
    "china_entity_list": "China, unlisted",
    "uk_gpu": "United Kingdom",
    "donated_cluster": "United States",
    "clue": "United States",
    "facebook_gpu": "eight countries",
    "india_nsm": "India",
    "korea_ai_school": "South Korea",
    "france_3ia": "candidate sites",
}


@dataclass(frozen=True)
class Timed:
    """When the units of a population are first treated by an event.

    Attributes
    ----------
    event : Event
    rule : str
        Of the population.
    lag : int
        Periods by which the question moves the event.
    treated : tuple of str
        Units first treated inside the panel's window.
    by_period : dict of int to int
        How many of them in each period that has some.
    counts : dict of str to int
        In the order of the table's columns: units of the population; those treated at the panel's first period or
        before, or at a date that may stand for an earlier one, which no design uses; those first treated inside the
        window, and their adoption periods; after it; never; of these, those that lost the contest (NaN where losers
        are not known).
    """

    event: Event
    rule: str
    lag: int
    treated: tuple[str, ...]
    by_period: dict[int, int]
    counts: dict[str, float]

    @property
    def group(self) -> str:
        """The heading that the event stands under."""
        return self.event.group or "Main events"

    @property
    def is_contrast(self) -> bool:
        """Whether the event is a contrast, such as one without a machine; its group or short name says so."""
        return "contrast" in f"{self.event.group} {self.event.short}".lower()


@exhibit("First treatment, by family of events", Part.QUESTION)
def timing(setting: Setting) -> Iterator[Piece]:
    """Yield the figure of who is first treated when, and the table of the families with their comparison."""
    events, absent = timed(setting.plan, setting.panel)
    if not events:
        return
    units, panel = setting.plan.text.units, setting.panel
    yield _table(setting, events)
    dashed = f"; dashed: {'events without a machine' if setting.ships else 'contrasts'}"
    yield draw(
        "timing",
        f"When {units} are first treated, by family of events"
        f"{dashed if any(row.is_contrast for row in events) else ''}.",
        figure(setting, events),
        f"A matrix with a row for each event and a column for each {panel.period_unit}; each cell has the number of "
        f"{units} that are first treated then, darker where there are more.",
    )
    for row in events:
        question = f"event={row.event.name}, population={row.rule}, lag={row.lag}"
        how: Any = {"quantity": f"{units}, {row.event.title}", "question": question}
        yield from setting.numbers(row.event.label, row.counts, COLUMNS, **how)
    yield from _sentences(units, panel.period_unit, events, absent)


def timed(plan: Plan, panel: Panel) -> tuple[list[Timed], list[Event]]:
    """Return when units are first treated by each event, grouped by family, and the events the panel does not date."""
    names = [event.name for event in plan.every_event]
    early = [e for e in EARLIER if e.name not in names and e.question["population"] in panel.populations]
    every = [*plan.every_event, *early]
    dated = [event for event in every if event.name in panel.first_treated]
    rows = [timed_event(plan, panel, event) for event in dated]
    groups = list(dict.fromkeys(row.group for row in rows))
    return sorted(rows, key=lambda row: groups.index(row.group)), [e for e in every if e not in dated]


def timed_event(plan: Plan, panel: Panel, event: Event) -> Timed:
    """Count an event's dates as a question about it would treat them, by the rules of ``study.panel.drawing``."""
    question = plan.question | event.question
    lag, rule = question.get("lag", 0), question.get("population", "all")
    member = population(rule, panel)
    dates = dates_with_lag(panel, event.name, lag)[member]
    first, last = panel.periods[0], panel.periods[-1]
    start = dates - question.get("anticipation", 0)
    inside, never = (start > first) & (start <= last), np.isnan(dates)
    lost = panel.first_treated.get(f"{event.name}_loser")
    by_period = dict(sorted(Counter(dates[inside].astype(int).tolist()).items()))
    counts = {
        "population": int(member.sum()),
        "already_treated": int((start <= first).sum()),
        "n_treated": int(inside.sum()),
        "n_cohorts": len(by_period),
        "later": int((start > last).sum()),
        "never_treated": int(never.sum()),
        "losers": math.nan if lost is None else int((never & ~np.isnan(lost[member])).sum()),
    }
    return Timed(event, rule, lag, tuple(panel.units[member][inside]), by_period, counts)


def figure(setting: Setting, events: Sequence[Timed]) -> Figure:
    """Draw a matrix of counts: rows events under the headings of their families, columns years."""
    from matplotlib.transforms import blended_transform_factory

    periods = setting.panel.periods.tolist()
    n = len(periods) - 1
    outside = {"already_treated": 0.0, "later": n + 1.9, "never_treated": n + 3.4}
    places = {year: 1.4 + k for k, year in enumerate(periods[1:])}
    rows = [row for group, members in groupby(events, lambda row: row.group) for row in (group, *members)]
    most = max(max(row.by_period.values(), default=1) for row in events)
    middle: Any = {"ha": "center", "va": "center", "fontsize": 8}
    with on_axes(None, FULL, 0.55 + 0.215 * len(rows)) as (drawing, axis):
        across = blended_transform_factory(drawing.transFigure, axis.transData)
        titles = {}
        for y, row in enumerate(rows):
            if isinstance(row, str):
                heading = axis.text(0.008, y, row, transform=across, weight="bold", **middle | {"ha": "left"})
                heading.set_in_layout(False)
                continue
            titles[y] = f"{row.event.short} ({row.counts['population']})"
            for year, count in row.by_period.items():
                shade = _shade(count / most, row.is_contrast)
                line, edge = ("--", SECOND) if row.is_contrast else ("-", shade)
                how: Any = {"color": shade, "linewidth": 0.9, "linestyle": line, "edgecolor": edge}
                axis.bar(places[year], 0.84, 0.9, y - 0.42, **how)
                ink = "white" if luminance(shade) < 0.55 else "black"
                axis.text(places[year], y, f"{count}", color=ink, **middle)
            for name, place in outside.items():
                axis.text(place, y, f"{row.counts[name]}", color=GREY, **middle)
            axis.vlines((0.7, n + 1.1), y - 0.5, y + 0.5, color=GREY, linewidth=0.8)
        axis.set(xlim=(-0.7, n + 4.1), ylim=(len(rows) - 0.4, -0.6))
        axis.set_yticks(list(titles), list(titles.values()))
        first, *names = map(setting.panel.period_name, periods)
        names = [f"\u2019{name[2:]}" if re.fullmatch(r"\d{4}", name) else name for name in names]
        labels = [*names, f"to\n{first}", "later", "never"]
        axis.set_xticks([*places.values(), *outside.values()], labels)
        if sum(map(len, names)) > MOST_LETTERS:
            axis.tick_params(axis="x", rotation=90)
        axis.xaxis.tick_top()
        axis.tick_params(length=0, pad=2)
        axis.spines[:].set_visible(False)
    return drawing


def _shade(share: float, light: bool) -> tuple[float, float, float]:
    """Return a colour between white and the first colour, darker for more; light all through for a contrast."""
    from matplotlib.colors import to_rgb

    depth = 0.08 if light else 0.2 + 0.8 * math.sqrt(share)
    red, green, blue = (1 - depth * (1 - c) for c in to_rgb(SECOND if light else COLOUR))
    return red, green, blue


def _table(setting: Setting, events: Sequence[Timed]) -> Table:
    """Return the table of events: among whom, and how many are treated when."""
    units, lagged = setting.plan.text.units, any(row.lag for row in events)
    since = ", since the machine serves later" if setting.ships else ""
    lost = [f"{row.event.short}, {row.counts['losers']}" for row in events if row.counts["losers"] >= 0]
    named = " ".join(f"{row.group} {row.event.short}" for row in events) if setting.ships else ""
    letters = [f"{short}: {words}" for short, words in LETTERS.items() if short in named]
    return Table(
        name="timing",
        caption=f"Families of events: who is compared, and when {units} are first treated",
        headings=["Among", "All", *headings(setting.panel).values()],
        blocks=[Block(group, [*map(_line, rows)]) for group, rows in groupby(events, lambda row: row.group)],
        notes=[
            f"Counts of {units}. {window_note(setting.panel)} Those treated after it are compared until then.",
            *[f"{'Awards' if setting.ships else 'Events'} are moved by the question's lag{since}."] * lagged,
            *[f"Never treated, and named as losers of the contest: {'; '.join(lost)}."] * bool(lost),
            *[f"{'; '.join(letters)}."] * bool(letters),
        ],
    )


def _line(row: Timed) -> Line:
    counts = [Number(count, 0) for name, count in row.counts.items() if name != "losers"]
    return Line(row.event.short, [AMONG.get(row.rule, row.rule), *counts])


def headings(panel: Panel) -> dict[str, str]:
    """Return the headings of numbers of units by first treatment, by their names in :attr:`Timed.counts`."""
    start, end = map(panel.period_name, panel.periods[[1, -1]])
    return {
        "already_treated": f"Before {start}",
        "n_treated": "Treated",
        "n_cohorts": f"{capital(panel.period_unit)}s of adoption",
        "later": f"After {end}",
        "never_treated": "Never",
    }


def window_note(panel: Panel) -> str:
    """Say when the treated ones of a table are treated, and who is dropped."""
    start = panel.period_name(panel.periods[1])
    return f"Treated: first in {panel.window(panel.periods[1:])}; those before {start} are dropped."


def _sentences(units: str, step: str, events: Sequence[Timed], absent: Sequence[Event]) -> Iterator[str]:
    least, most = (end(events, key=lambda row: row.counts["n_treated"]) for end in (min, max))
    fewest = f"between {least.counts['n_treated']} ({least.event.short}) and "
    are, treat = ("are", f"they treat {fewest}") if len(events) > 1 else ("is", "it treats ")
    yield (
        f"{counted(len(events), 'event')} {are} dated in this panel; inside its window {treat}"
        f"{most.counts['n_treated']} {units} ({most.event.short})."
    )
    dated = [row for row in events if row.by_period]
    early = [row.event.short for row in events if not row.by_period]
    untreated = {row.event.short: row.counts["never_treated"] + row.counts["later"] for row in dated}
    named = {
        f"First treated in a single {step}, so that an effect cannot be distinguished from other news of that {step} "
        f"that reached the same {units}": [row.event.short for row in events if len(row.by_period) == 1],
        f"Fewer than {FEW} {units} are untreated throughout the window, so that the last to be treated are the "
        "comparison": [f"{event} ({count})" for event, count in untreated.items() if count < FEW],
        "Too early for this panel, since nobody is first treated inside it": early,
        "Not dated in this panel and left out": [event.short for event in absent],
    }
    yield from (f"{about}: {'; '.join(names)}." for about, names in named.items() if names)
