"""The plan that a panel of one's own begins with: what can be told from the panel, and a comment on each choice."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from study.core import DataError, QuestionError
from study.designs import find_design
from study.panel import Panel, Question
from study.panel.files import Reading, describe

# In this order; the first that answers is the headline.
CANDIDATES = ("callaway_santanna", "sun_abraham", "imputation", "event_study", "lp_did", "twfe")
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
        If no design can answer for any of the events.
    """
    if reading.panel is None:
        first = describe(reading.violations.head(1)).replace("\n", " ")
        raise DataError(f"{Path(file).name}: {first} `study validate` lists all that has to be mended.")
    panel, horizon = reading.panel, max(min(LONGEST_HORIZON, len(reading.panel.periods) - 2), 0)
    shared: dict[str, Any] = {"min_cohort_size": 1, "missing": "pairs"}
    answers = {event: _able(panel, event, shared) for event in panel.events}
    events = [event for event, able in answers.items() if able]
    if not events:
        raise QuestionError(f"{panel.name}: no design can answer; {panel.profile().designs['why'].iloc[0]}")
    designs = [name for name in CANDIDATES if all(name in answers[event] for event in events)]
    if not designs:
        events, designs = events[:1], answers[events[0]]
    if all(event in panel.first_treated for event in events):
        shared["horizon"] = horizon
    entry = {
        "file": file,
        **{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(reading.roles).items() if v},
    }
    others = [name for name in reading.headings if name not in reading.roles.columns]
    lines = [
        f"# What is estimated on {panel.name}, as `study init` wrote it from the panel alone. Read it and change",
        "# what is not as you mean it; then study run, study diagnose and study heterogeneity take it by --plan.",
        "",
        f"title = {_text(f'Effects of {events[0]} in {panel.name}')}",
        f"headline = {_text(designs[0])}   # the design of the text; `study designs` says what each assumes",
        "seed = 1",
        'exhibits = ["sample", "designs"]   # study/paper/exhibits/ has more',
        "",
        "[panel]   # how the file is read: the arguments of study.Panel.from_long",
        *(f"{key} = {_value(value)}" for key, value in (entry | dict(extra)).items()),
        *(["# Columns without a role, for covariates (numbers) or attributes (labels):"] if others else []),
        *(f"# {line}" for line in textwrap.wrap(", ".join(map(_text, others)), 100)),
        "",
        "[text]   # words of captions and notes",
        'unit = "unit"',
        'units = "units"',
        f"outcome = {_text(reading.roles.outcomes[0])}",
        f"outcomes_with_units = {_text(reading.roles.outcomes[0])}",
        "sample_notes = []",
        "",
        "[question]   # fields of study.Question that all estimates share",
        *(f"{key} = {_value(value)}" for key, value in shared.items()),
        'comparison = "not_yet_treated"   # or "never_treated"',
        "# cluster = an attribute above the unit at which treatment was assigned; covariates = [...]; lag = 0 ...",
        "",
        "[outcomes]   # columns of the tables, with their headings",
        *(f"{_key(name)} = {_text(name)}" for name in reading.roles.outcomes),
        "",
        "[scales]   # panels of the tables; the first is the main one",
        'level = "Effect in units of the outcome"',
        '# log1p = "Effect on log(1 + outcome)"',
        '# proportional = "Effect as a share of the counterfactual mean"',
    ]
    labels: list[str] = []
    for number, event in enumerate(events):
        label = re.sub(r"[^\w-]+", "-", event).strip("-_") or "event"
        labels.append(label if label not in labels else f"{label}-{number + 1}")
        names = {"name": event, "title": event, "short": event, "label": labels[-1]}
        lines += [
            "",
            "[[events]]   # label is what commands call it",
            *(f"{k} = {_text(v)}" for k, v in names.items()),
        ]
    for name in designs:
        lines += ["", "[[designs]]", f"name = {_text(name)}", f"label = {_text(find_design(name).title)}"]
    lines += [
        "",
        "[inference]",
        "level = 0.95",
        "band_draws = 9999",
        "permutations = 999   # of event dates, for the headline's randomization p-value",
        "# strata = an attribute, within whose labels dates are permuted; among all units without it",
        "",
        "[figure]",
        f"window = [{-max(horizon, 1)}, {horizon}]   # first and last event time shown",
    ]
    return "\n".join(lines) + "\n"


def _able(panel: Panel, event: str, shared: Mapping[str, Any]) -> list[str]:
    """Return the candidates that answer for an event and every outcome."""
    able = []
    for name in CANDIDATES:
        try:
            for outcome in panel.outcomes:
                find_design(name)(Question(outcome, event, **shared).sample(panel))
        except QuestionError:
            continue
        able.append(name)
    return able


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    return _text(value) if isinstance(value, str) else repr(value)
