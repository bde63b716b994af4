"""What the tables of a plan's file may hold, by key."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from study.core import QuestionError, unknown


class Kind(NamedTuple):
    """What a value must be, in words and as a test."""

    said: str
    holds: Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _is_window(value: Any) -> bool:
    if not (isinstance(value, list) and len(value) == 2 and all(map(_is_whole, value))):
        return False
    first, last = value
    return first <= 0 <= last and first < last


def _whole(least: int) -> Kind:
    return Kind(f"a whole number, {least} or more", lambda value: _is_whole(value) and value >= least)


TEXT = Kind("a text that is not empty", _is_text)
MAYBE_EMPTY = Kind("a text", lambda value: isinstance(value, str))
# Labels are names of files, and parts of questions such as main/papers.
LABEL = Kind("a text that is not empty, without slashes", lambda v: _is_text(v) and not {*v} & {*"/\\"})
TEXTS = Kind("a list of texts", _are_texts)
SOME_TEXTS = Kind("a list of one or more texts", lambda value: bool(value) and _are_texts(value))
NAMES = Kind("a text or a list of texts", lambda value: _is_text(value) or _are_texts(value))
TABLE = Kind("a table", lambda value: isinstance(value, dict))
TABLES = Kind(
    "a list of tables", lambda value: isinstance(value, list) and all(isinstance(v, dict) for v in value)
)
SOME_TABLES = Kind("a list of one or more tables", lambda value: bool(value) and TABLES.holds(value))
TITLES = Kind(
    "a table of one or more texts",
    lambda value: bool(value) and TABLE.holds(value) and all(map(_is_text, value.values())),
)
PANEL = Kind("the name of a panel or a table", lambda value: _is_text(value) or TABLE.holds(value))

# The keys of each table: those that it needs, then those that it may have.
Keys = Mapping[str, Kind]
PLAN: Keys = {
    "panel": PANEL,
    "headline": TEXT,
    "seed": _whole(0),
    "text": TABLE,
    "question": TABLE,
    "outcomes": TITLES,
    "scales": TITLES,
    "events": SOME_TABLES,
    "designs": SOME_TABLES,
    "inference": TABLE,
    "figure": TABLE,
}
PLAN_TOO: Keys = {
    "title": MAYBE_EMPTY,
    "exhibits": TEXTS,
    "families": TABLES,
    "venues": TABLE,
    "diagnose": TABLE,
    "fields": TABLE,
}
# The arguments of Panel.from_long.
OF_PANEL: Keys = {"file": TEXT, "unit": TEXT, "time": TEXT, "outcomes": NAMES}
OF_PANEL_TOO: Keys = {
    **dict.fromkeys(("first_treated", "treatment", "covariates", "attributes"), NAMES),
    "name": TEXT,
    "provenance": TABLE,
    "populations": TITLES,
    "ambiguous": TEXT,
}
WORDS: Keys = {
    **dict.fromkeys(("unit", "units", "outcome", "outcomes_with_units"), TEXT),
    "sample_notes": TEXTS,
}
EVENT: Keys = {"name": TEXT, "title": TEXT, "short": TEXT, "label": LABEL}
EVENT_TOO: Keys = {
    **dict.fromkeys(("group", "threat", "contrast"), MAYBE_EMPTY),
    "question": TABLE,
}
DESIGN: Keys = {"name": TEXT, "label": TEXT}
DESIGN_TOO: Keys = {"options": TABLE, "question": TABLE}
INFERENCE: Keys = {
    "level": Kind("a number between 0 and 1", _is_share),
    "band_draws": _whole(1),
    "permutations": _whole(0),
    "strata": TEXT,
}
FIGURE: Keys = {"window": Kind("two event times, a first and a later one, with 0 among them", _is_window)}
DIAGNOSE: Keys = {"neighbours": MAYBE_EMPTY, "populations": SOME_TEXTS, "placebos": TABLE}
# Names in a question; its other fields are checked by the question itself.
ASKED: Keys = {"covariates": TEXTS, "cluster": TEXT, "weights": TEXT, "instrument": TEXT}
NAMED_ELSEWHERE = {"outcome": "[outcomes]", "event": "[[events]]", "scale": "[scales]"}


def check_content(content: Mapping[str, Any], where: str) -> None:
    """Refuse keys that a plan does not have, and values that are not what they must be."""
    _check(content, where, PLAN, PLAN_TOO)
    _check(content["text"], f"{where}, [text]", WORDS)
    _check(content["inference"], f"{where}, [inference]", INFERENCE)
    _check(content["figure"], f"{where}, [figure]", FIGURE)
    _check_question(content, where)
    for name, needed, other in (
        ("designs", DESIGN, DESIGN_TOO),
        ("events", EVENT, EVENT_TOO),
        ("families", EVENT, EVENT_TOO),
    ):
        for number, entry in enumerate(content.get(name, ()), start=1):
            place = f"{where}, [[{name}]] number {number}"
            _check(entry, place, needed, other)
            _check_question(entry, place)
    diagnose = content.get("diagnose", {})
    _check(diagnose, f"{where}, [diagnose]", {}, DIAGNOSE)
    panels = {"panel": content["panel"]}
    panels |= {f"venues.{label}": entry for label, entry in content.get("venues", {}).items()}
    panels |= {f"diagnose.placebos.{label}": entry for label, entry in diagnose.get("placebos", {}).items()}
    for name, entry in panels.items():
        _check_value(name, entry, PANEL, where)
        if isinstance(entry, dict):
            _check(entry, f"{where}, [{name}]", OF_PANEL, OF_PANEL_TOO)


def _check_question(table: Mapping[str, Any], where: str) -> None:
    asked = table.get("question", {})
    place = f"{where}, question"
    for key, elsewhere in NAMED_ELSEWHERE.items():
        if key in asked:
            raise QuestionError(
                f"{place}: {key} does not belong here; the table {elsewhere} says it. Take it out."
            )
    for key, kind in ASKED.items():
        if key in asked:
            _check_value(key, asked[key], kind, place)


def _check(table: Mapping[str, Any], where: str, needed: Keys, other: Keys | None = None) -> None:
    known = {**needed, **(other or {})}
    odd = [key for key in table if key not in known]
    for key in needed:
        if key not in table:
            there = f', and there is no key "{odd[0]}"' if odd else ""
            raise QuestionError(
                f"{where}: the key '{key}' is missing{there}; see paper/study.toml for all of them."
            )
    for key in odd:
        raise unknown("key", key, known, where)
    for key, value in table.items():
        _check_value(key, value, known[key], where)


def _check_value(key: str, value: Any, kind: Kind, where: str) -> None:
    if not kind.holds(value):
        raise QuestionError(f"{where}: {key} is {reprlib.repr(value)}; it must be {kind.said}.")
