"""What is asked of fields: the table ``[fields]`` of a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from study.core import not_known
from study.paper.plan_keys import Count, Name, Period, Proportion, Share, Titles

Method = Literal["regression", "synthetic_did", "synthetic_control"]
Permuted = Literal["within_venue", "any_fields", "areas", "doses"]


@dataclass(frozen=True)
class Line:
    """One comparison of treated with other fields.

    Attributes
    ----------
    label, title : str
    panel : str
        Name of a panel of fields that ships.
    method : {"regression", "synthetic_did", "synthetic_control"}
        Effects of each field and of each venue and year, cells weighted by papers; or synthetic comparisons.
    permuted : {"within_venue", "any_fields", "areas", "doses"}
        What the assignments are: fields of each venue swapped, any fields, areas at all venues
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

    label: Name
    title: Name
    panel: Name
    method: Method
    permuted: Permuted
    last_before: Period | None = None
    years: tuple[Period, ...] = ()
    papers: Count | None = None
    dose_years: Count = 1

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.in_block != (self.permuted == "any_fields"):
            raise ValueError(
                f'method "{self.method}" does not go with permuted "{self.permuted}"; synthetic comparisons take '
                '"any_fields", a regression takes another.'
            )
        if self.in_block and (not self.years or self.last_before is None):
            raise ValueError("a synthetic comparison needs years and last_before.")

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

    lines: Annotated[tuple[Line, ...], Field(min_length=1)]
    main: Name
    outcomes: Titles
    level: Share
    papers: Count
    coverage: Proportion

    def __post_init__(self) -> None:
        """Refuse labels that are not of one line alone, and a main line that is not there."""
        labels = [line.label for line in self.lines]
        if len(set(labels)) < len(labels):
            raise ValueError("two lines have the same label; each needs its own.")
        if self.main not in labels:
            raise not_known("line", self.main, labels)

    @property
    def outcome(self) -> str:
        """The first outcome, of the verdict."""
        return next(iter(self.outcomes))
