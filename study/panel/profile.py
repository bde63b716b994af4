"""What a panel holds, before anything is asked of it, with what each design could do with it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from study.core import QuestionError, counted, first_of, section
from study.panel.panel import Panel, interval_text
from study.panel.question import Question

# Designs are tried on the panel itself where it has no more cells than take a moment each.
TRIED_UP_TO = 20_000
SHOWN = 10


@dataclass(frozen=True, eq=False)
class Profile:
    """Cohorts, share treated, gaps, switch-offs and ambiguous dates of a panel, and the designs that can answer.

    ``print`` shows it in words; each part is a table of its own.

    Attributes
    ----------
    panel : Panel
    covariates : tuple of str
        Given which designs are asked.
    """

    panel: Panel
    covariates: tuple[str, ...] = ()

    @cached_property
    def cohorts(self) -> pd.DataFrame:
        """Units by event and first treated period: columns event, first_treated, units; never is empty."""
        rows: list[tuple[str, str, int]] = []
        for event, dates in self.panel.first_treated.items():
            distinct, units = np.unique(dates, return_counts=True)
            names = ["" if np.isnan(date) else self.panel.period_name(date) for date in distinct]
            rows += zip([event] * len(names), names, units.tolist(), strict=True)
        return pd.DataFrame(rows, columns=["event", "first_treated", "units"])

    @cached_property
    def treated(self) -> pd.DataFrame:
        """Share of units treated, of those whose treatment is known: columns event, period, share."""
        rows: list[tuple[str, str, float]] = []
        for event in self.panel.events:
            if event in self.panel.treatment or event in self.panel.doses:
                path = self.panel.path(event)
                known = ~np.isnan(path)
                share = (np.nan_to_num(path) != 0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
            else:
                share = (self.panel.periods >= self.panel.first_treated[event][:, None]).mean(axis=0)
            names = map(self.panel.period_name, self.panel.periods)
            rows += zip([event] * len(share), names, share.tolist(), strict=True)
        return pd.DataFrame(rows, columns=["event", "period", "share"])

    @cached_property
    def gaps(self) -> pd.DataFrame:
        """Cells without a value: columns outcome, cells, units (with a gap), never_observed (units)."""
        rows = []
        for outcome, values in self.panel.outcomes.items():
            missing = np.isnan(values)
            units = missing.any(axis=1).sum(), missing.all(axis=1).sum()
            rows.append((outcome, int(missing.sum()), *map(int, units)))
        return pd.DataFrame(rows, columns=["outcome", "cells", "units", "never_observed"])

    @cached_property
    def switch_offs(self) -> pd.DataFrame:
        """Where a 0/1 treatment goes back to 0: columns event, unit, period."""
        rows, units = [], self.panel.units
        names = [*map(self.panel.period_name, self.panel.periods)]
        for event, path in self.panel.treatment.items():
            known_before = pd.DataFrame(path).ffill(axis=1).shift(axis=1).to_numpy()
            off = np.argwhere(((known_before == 1) & (path == 0)).T)
            rows += [(event, units[unit], names[period]) for period, unit in off]
        return pd.DataFrame(rows, columns=["event", "unit", "period"])

    @cached_property
    def ambiguous(self) -> pd.DataFrame:
        """Units whose adoption date the treatment does not tell: columns event, unit, first_treated (in words)."""
        rows = [
            (event, unit, interval_text(*interval, self.panel.period_name))
            for event, intervals in self.panel.ambiguous.items()
            for unit, interval in intervals.items()
        ]
        return pd.DataFrame(rows, columns=["event", "unit", "first_treated"])

    @cached_property
    def designs(self) -> pd.DataFrame:
        """What each design says to the first outcome: columns event, design, answers, why (not, in one line).

        A design that draws is asked by what the question needs alone; any other one estimates, unless the panel is
        large.
        """
        from study.designs import all_designs

        rows = []
        outcome = next(iter(self.panel.outcomes))
        for event in self.panel.events:
            for name, design in all_designs().items():
                try:
                    sample = Question(outcome, event, covariates=self.covariates).sample(self.panel)
                    design.refuse(sample)
                    if not design.draws and sample.y.size <= TRIED_UP_TO:
                        design(sample)
                    why = ""
                except QuestionError as refusal:
                    why = str(refusal).removeprefix(f"{name}: ")
                rows.append((event, name, not why, why))
        return pd.DataFrame(rows, columns=["event", "design", "answers", "why"])

    def __str__(self) -> str:
        """Everything in words, an event after another; of long lists the beginning."""
        panel, parts = self.panel, []
        size = f"{counted(panel.n_units, 'unit')}, {counted(len(panel.periods), 'period')}, {panel.window()}"
        for outcome, cells, units, never in self.gaps.itertuples(index=False):
            gaps = (
                f"{counted(cells, 'cell')} of {counted(units, 'unit')} not observed" if cells else "no gaps"
            )
            unseen = f", {counted(never, 'unit')} in no period" if never else ""
            parts.append(f"{outcome}: {gaps}{unseen}.")
        events = [section(f"Event: {event}", self._of_event(event)) for event in panel.events]
        return "\n\n".join([section(f"{panel.name}: {size}", parts), *events])

    def _of_event(self, event: str) -> list[str]:
        cohorts, offs, unclear, treated, designs = (
            frame[frame["event"] == event]
            for frame in (self.cohorts, self.switch_offs, self.ambiguous, self.treated, self.designs)
        )
        lines = []
        if len(cohorts):
            units = [f"{date or 'never'} {number}" for _, date, number in cohorts.itertuples(index=False)]
            lines.append(f"Cohorts (first treated, units): {', '.join(units)}.")
            alone = cohorts[(cohorts["units"] == 1) & (cohorts["first_treated"] != "")]["first_treated"]
            if len(alone):
                lines.append(
                    f"Cohorts of one unit, whose effects have the pooled variance of all units: {', '.join(alone)}."
                )
        shares = [f"{period} {share:.0%}" for _, period, share in treated.itertuples(index=False)]
        lines.append(f"Share treated: {', '.join(shares)}.")
        for frame, what in ((offs, "goes back to 0"), (unclear, "has no certain adoption date")):
            named = [f"{unit} ({when})" for _, unit, when in frame.itertuples(index=False)]
            if named:
                lines.append(f"Treatment {what}: {first_of(named, SHOWN)}.")
        if len(unclear):
            rule = self.panel.ambiguous_rule
            left_out = "Such units are left out, unless ambiguous is earliest or latest"
            lines.append(f"{left_out if rule == 'drop' else f'Such units have the {rule} possible date'}.")
        able = designs[designs["answers"]]["design"]
        given = f", given {', '.join(self.covariates)}" if self.covariates else ""
        lines.append(f"Designs that can answer{given}: {', '.join(able) or 'none'}.")
        # What follows is whom or how to ask instead, which is for who asks.
        refused = designs[~designs["answers"]]
        reasons = refused["why"].str.partition("; ")[0].str.rstrip(".")
        refusals = refused["design"].groupby(reasons, sort=False)
        return lines + [f"Not {', '.join(names)}: {why}." for why, names in refusals]
