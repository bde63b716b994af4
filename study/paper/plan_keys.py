"""What the values of a plan's file may be, as types that pydantic holds them to."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Required

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, GetPydanticSchema, Tag, ValidationInfo
from typing_extensions import TypedDict

from study.core import must_be

Name = Annotated[str, Field(pattern=r"\S"), must_be("a text that is not empty")]
# Labels are names of files, and parts of questions such as main/papers.
Label = Annotated[
    str, Field(pattern=r"^[^/\\]*[^/\\\s][^/\\]*$"), must_be("a text that is not empty, without slashes")
]
Texts = Annotated[tuple[Name, ...], must_be("a list of texts")]
SomeTexts = Annotated[tuple[Name, ...], Field(min_length=1), must_be("a list of one or more texts")]
Names = Annotated[Name | tuple[Name, ...], must_be("a text or a list of texts")]
Titles = Annotated[dict[str, Name], Field(min_length=1), must_be("a table of one or more texts")]
Period = Annotated[int, Field(strict=True)]
NonNegative = Annotated[Period, Field(ge=0), must_be("a whole number, 0 or more")]
Count = Annotated[Period, Field(ge=1), must_be("a whole number, 1 or more")]
Number = Annotated[float, Field(strict=True)]
Day = Annotated[date, Field(strict=True), must_be("a date such as 2026-11-25, without quotes")]
Share = Annotated[Number, Field(gt=0, lt=1), must_be("a number between 0 and 1")]
Proportion = Annotated[Number, Field(ge=0, le=1), must_be("a number from 0 to 1")]

NAMED_ELSEWHERE = {"outcome": "[outcomes]", "event": "[[events]]", "scale": "[scales]"}


def _first_to_last(least: int) -> AfterValidator:
    """Refuse pairs whose last period is fewer than so many after the first one."""

    def checked(pair: tuple[int, int]) -> tuple[int, int]:
        if pair[1] - pair[0] < least:
            raise ValueError
        return pair

    return AfterValidator(checked)


Window = Annotated[
    tuple[Annotated[Period, Field(le=0)], Annotated[Period, Field(ge=0)]],
    _first_to_last(1),
    must_be("two event times, a first and a later one, with 0 among them"),
]


Era = Annotated[
    tuple[Period, Period], _first_to_last(0), must_be("two periods of adoption, a first and a last one")
]


def _beside(file: str, info: ValidationInfo) -> str:
    """Return a file's path, which is given from the plan's folder."""
    return str(info.context / file) if isinstance(info.context, Path) else file


Beside = Annotated[str, AfterValidator(lambda file, info: file and _beside(file, info))]


class PanelEntry(TypedDict, total=False):
    """The arguments of :meth:`study.Panel.from_long`, with the CSV file as ``file``."""

    file: Required[Annotated[Name, AfterValidator(_beside)]]
    unit: Required[Name]
    time: Required[Name]
    outcomes: Required[Names]
    first_treated: Names
    treatment: Names
    covariates: Names
    attributes: Names
    name: Name
    provenance: dict[str, Any]
    populations: Titles
    ambiguous: Name
    period: Name
    never: Number | Name
    doses: Names
    group: Name


AnyPanel = Annotated[
    Annotated[Name, must_be("the name of a panel or a table"), Tag("name")]
    | Annotated[PanelEntry, Tag("entry")],
    Discriminator(lambda value: "entry" if isinstance(value, dict) else "name"),
]


class _Question(TypedDict, total=False):
    """Names in a question; its other fields are checked by the question itself."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]  # pydantic reads it

    covariates: Texts
    cluster: Name
    weights: Name
    instrument: Names
    dose: Name
    group: Name


def _names_nothing_else(question: dict[str, Any]) -> dict[str, Any]:
    for key, elsewhere in NAMED_ELSEWHERE.items():
        if key in question:
            raise ValueError(f"{key} does not belong here; the table {elsewhere} says it. Take it out.")
    return question


SomeOfQuestion = Annotated[
    dict[str, Any],
    GetPydanticSchema(lambda _, handler: handler(_Question)),
    AfterValidator(_names_nothing_else),
]
