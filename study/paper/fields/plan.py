"""What is asked of fields: the table ``[fields]`` of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from study.core import QuestionError, unknown

Method = Literal["regression", "synthetic_did", "synthetic_control"]
Dealt = Literal["within_venue", "any_fields", "areas", "doses"]


@dataclass(frozen=True)
class Line:
    """One comparison of concerned with other fields.

    Attributes
    ----------
    label, title : str
    panel : str
        Name of a panel of fields that ships.
    method : {"regression", "synthetic_did", "synthetic_control"}
        Effects of each field and of each venue and year, cells weighted by papers; or synthetic comparisons.
    dealt : {"within_venue", "any_fields", "areas", "doses"}
        What the ways of naming concerned fields are: fields of each venue swapped, any fields, areas at all venues
        together, or areas' doses.
    last_before : int, optional
        Last base year; by default that before the event at the field's venue.
    years : tuple of int
        The block's years; empty for all that are known.
    papers : int, optional
        Papers that a field needs before and after (in a block each year); by default the plan's.
    dose_years : int
        Years after the base in which a dose must be known.
    """

    label: str
    title: str
    panel: str
    method: Method
    dealt: Dealt
    last_before: int | None = None
    years: tuple[int, ...] = ()
    papers: int | None = None
    dose_years: int = 1

    @property
    def in_block(self) -> bool:
        """Whether it needs every field in every year."""
        return self.method != "regression"


@dataclass(frozen=True)
class FieldsPlan:
    """All comparisons and what they share.

    Attributes
    ----------
    lines : tuple of Line
    main : str
        Label of the line that gives the verdict, on the first outcome.
    outcomes : mapping of str to str
        Shares of the panels and what they are called.
    level : float
        Of the confidence sets.
    papers : int
        Papers that a field needs before and after.
    coverage : float
        Least share of a venue's papers with an affiliation in a year that is used.
    """

    lines: tuple[Line, ...]
    main: str
    outcomes: Mapping[str, str]
    level: float
    papers: int
    coverage: float

    @property
    def main_line(self) -> Line:
        """The line that gives the verdict."""
        return next(line for line in self.lines if line.label == self.main)


def read_fields(content: Mapping[str, Any], where: str) -> FieldsPlan:
    """Read the table ``[fields]``.

    Parameters
    ----------
    content : mapping
        The table as TOML gives it.
    where : str
        What to call its file in messages.

    Raises
    ------
    QuestionError
        If a key is missing or unknown, a value is not one of those that exist, or the main line is not there.
    """
    place = f"{where}, [fields]"
    _check_keys(content, FieldsPlan, place)
    if not content["lines"]:
        raise QuestionError(f"{place}: there is no line; give at least one [[fields.lines]].")
    lines = tuple(_line(entry, place) for entry in content["lines"])
    labels = [line.label for line in lines]
    if len(set(labels)) < len(labels):
        raise QuestionError(f"{place}: two lines have the same label; each needs its own.")
    if content["main"] not in labels:
        raise unknown("line", str(content["main"]), labels, f"{place}, main")
    if not 0 < content["level"] < 1:
        raise QuestionError(f"{place}: level is {content['level']}; it must be between 0 and 1.")
    return FieldsPlan(**{**content, "lines": lines, "outcomes": dict(content["outcomes"])})


def _line(entry: Mapping[str, Any], where: str) -> Line:
    _check_keys(entry, Line, f"{where}, lines")
    for name in ("method", "dealt"):
        allowed = get_args(get_type_hints(Line)[name])
        if entry[name] not in allowed:
            raise unknown(name, str(entry[name]), allowed, f"{where}, {entry['label']}")
    line = Line(**{**entry, "years": tuple(entry.get("years", ()))})
    if line.in_block != (line.dealt == "any_fields"):
        raise QuestionError(
            f'{where}, {line.label}: method "{line.method}" does not go with dealt "{line.dealt}"; synthetic '
            'comparisons take "any_fields", a regression takes another.'
        )
    if line.in_block and (not line.years or line.last_before is None):
        raise QuestionError(f"{where}, {line.label}: a synthetic comparison needs years and last_before.")
    return line


def _check_keys(entry: Mapping[str, Any], kind: type, where: str) -> None:
    known = fields(kind)
    for key in entry:
        if key not in [f.name for f in known]:
            raise unknown("key", key, [f.name for f in known], where)
    needed = ("label", "title", "panel", "method", "dealt") if kind is Line else [f.name for f in known]
    for name in needed:
        if name not in entry:
            raise QuestionError(f"{where}: the key {name} is missing; see paper/study.toml.")
