"""The plan that a panel of one's own begins with: what the panel shows, and a comment on each choice."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from itertools import chain, count
from pathlib import Path
from typing import Any

from study.core import DataError, QuestionError
from study.designs import find_design
from study.panel import Panel, Question, Reading, describe
from study.paper.plan import Plan, check_addresses
from study.report import address_part, render

# In this order; the first that answers is the headline.
CANDIDATES = ("callaway_santanna", "sun_abraham", "imputation", "etwfe", "event_study", "lp_did", "twfe")
LONGEST_HORIZON = 4


def plan_text(reading: Reading, file: str, extra: Mapping[str, Any]) -> str:
    """Return a commented plan for a file that was read as a panel.

    Parameters
    ----------
    reading : Reading
    file : str
        The file's path as the plan names it.
    extra : mapping
        Further arguments of :meth:`study.Panel.from_long`: period, never, ambiguous.

    Raises
    ------
    DataError
        If the file is not fit to be a panel; it names the first rule that is broken.
    QuestionError
        If no design can answer for any of the events, or outcomes have names that a plan cannot tell apart.
    """
    if reading.panel is None:
        (_, broken), *_ = reading.violations.groupby(["column", "rule"], sort=False)
        rule, line, rows = describe(broken).partition("\n  line ")
        first = " ".join("".join([rule, line, *rows.splitlines()[:1]]).split())
        raise DataError(
            f"{Path(file).name}: {first.removesuffix('.')}. `study validate` lists all that has to be mended."
        )
    panel, horizon = reading.panel, max(min(LONGEST_HORIZON, len(reading.panel.periods) - 2), 0)
    shared: dict[str, Any] = {"min_cohort_size": 1, "missing": "pairs"}
    if (
        reading.roles.covariates
    ):  # a column that is named as a covariate is controlled for, as by study estimate
        shared["covariates"] = list(reading.roles.covariates)
    refusals = {event: _refusals(panel, event, shared) for event in panel.events}
    answers = {event: [name for name, why in of.items() if not why] for event, of in refusals.items()}
    check_addresses("outcome", panel.outcomes, panel.name)
    events = [event for event, able in answers.items() if able]
    if not events:
        raise QuestionError(f"{panel.name}: no design can answer; {refusals[panel.events[0]][CANDIDATES[0]]}")
    designs = [name for name in CANDIDATES if all(name in answers[event] for event in events)]
    if not designs:
        events, designs = events[:1], answers[events[0]]
    if all(event in panel.first_treated for event in events):
        shared["horizon"] = horizon
    roles = {role: columns for role, columns in asdict(reading.roles).items() if columns}
    others = [_toml(name) for name in reading.headings if name not in reading.roles.columns]
    labels: list[str] = []
    taken = {*Plan.exhibits}
    for event in events:
        label = re.sub(r"[^\w-]+", "-", event).strip("-_") or "event"
        free = chain([label], (f"{label}-{number}" for number in count(2)))
        labels.append(next(each for each in free if address_part(each) not in taken))
        taken.add(address_part(labels[-1]))
    return render(
        "plan.toml",
        panel=panel,
        title=f"Effects of {events[0]} in {panel.name}",
        entry={"file": file} | roles | dict(extra),
        others=textwrap.fill(", ".join(others), 102, initial_indent="# ", subsequent_indent="# "),
        question=shared,
        outcomes=reading.roles.outcomes,
        left_out=", ".join(_toml(event) for event in panel.events if event not in events),
        events=[*zip(labels, events, strict=True)],
        designs=[find_design(name) for name in designs],
        refused={
            name: re.sub(r"[\x00-\x20\x7f]+", " ", why.removeprefix(f"{name}: ").partition("; ")[0])
            for event in events
            for name, why in refusals[event].items()
            if why
        },
        window=[-max(horizon, 1), horizon],
        toml=_toml,
        key=lambda name: name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name),
    ).decode()


def _refusals(panel: Panel, event: str, shared: Mapping[str, Any]) -> dict[str, str]:
    """Return why each candidate cannot answer for an event and every outcome, nothing for those that can."""
    refusals = dict.fromkeys(CANDIDATES, "")
    for name in CANDIDATES:
        try:
            for outcome in panel.outcomes:
                find_design(name)(Question(outcome, event, **shared).sample(panel))
        except QuestionError as error:
            refusals[name] = str(error)
    return refusals


def _toml(value: Any) -> str:
    """Return a text, a list of texts or a number as TOML has it."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
