"""TOML files as dataclasses: pydantic holds them to their types, and what it refuses is one line."""

from __future__ import annotations

import re
import reprlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import GetPydanticSchema, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema
from typing_extensions import is_typeddict

from study.core.errors import DataError, QuestionError, unknown

T = TypeVar("T")

UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")
# What a value must be, where its type says no more.
WORDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "dict_type": "a table",
    "dataclass_type": "a table",
    "too_short": "a list with one entry or more",
}


def must_be(text: str) -> GetPydanticSchema:
    """Return an annotation of a type: what its value must be, in the words of the error."""
    return GetPydanticSchema(
        lambda source, handler: core_schema.custom_error_schema(
            handler(source), custom_error_type="must_be", custom_error_message=text
        )
    )


def not_known(kind: str, name: str, known: Iterable[str]) -> PydanticCustomError:
    """Return what a check of a table raises for an unknown name; the error says where it stands, and the nearest."""
    return PydanticCustomError("not_known", "unknown", {"kind": kind, "name": name, "known": list(known)})


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    DataError
        If the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: not valid TOML: {error}.") from None


def from_toml(kind: type[T], content: Mapping[str, Any], where: str, context: Any = None) -> T:
    """Return the content of a file as a dataclass of dataclasses.

    Parameters
    ----------
    kind : type
        Its ``__pydantic_config__`` is that of all tables inside; its defaults are those of the file.
    content : mapping
        The file as TOML gives it.
    where : str
        What to call the file in errors.
    context : object, optional
        For validators that take it.

    Raises
    ------
    QuestionError
        If a key is unknown or missing, or a value is not what it must be: the first, with its place; all keys that
        are missing.
    """
    try:
        return TypeAdapter(kind).validate_python(content, context=context)
    except ValidationError as refused:
        # A key that is missing may be one that is misspelt.
        errors = sorted(refused.errors(), key=lambda details: details["type"] not in UNKNOWN)
        missing = [details["loc"] for details in errors if details["type"] == "missing"]
        if errors[0]["type"] != "missing" or len(missing) < 2:
            raise _error(errors[0], kind, content, where) from None
        keys = [
            f"{_place('', _inside(content, loc)).removeprefix(', ')} {loc[-1]}".strip() for loc in missing
        ]
        raise QuestionError(f"{where}: {len(keys)} keys are missing: {'; '.join(keys)}; add them.") from None


def _inside(content: Any, loc: Sequence[str | int]) -> list[str | int]:
    """Return the parts of a place that are in the file; others are missing, or a branch of a union."""
    path: list[str | int] = []
    for part in loc:
        if isinstance(content, list) or (isinstance(content, dict) and part in content):
            content = content[part]  # type: ignore[index]  # of a list it is a number
            path.append(part)
    return path


def _error(details: ErrorDetails, kind: type, content: Any, where: str) -> QuestionError:
    loc, why, given = details["loc"], details["type"], details.get("ctx", {})
    path: list[Any] = _inside(content, loc)
    for part in path:
        content = content[part]
    if why == "missing":
        return QuestionError(f"{_place(where, path)}: the key '{loc[-1]}' is missing; add it.")
    if why == "not_known":
        return unknown(given["kind"], given["name"], given["known"], _place(where, path))
    if why == "value_error":
        return QuestionError(f"{_place(where, path)}: {given['error']}")
    place, key = _place(where, path[:-1]), path[-1]
    if why in UNKNOWN:
        return unknown("key", key, get_type_hints(_table_at(kind, loc[:-1])), place)
    if why == "literal_error" and isinstance(content, str):
        return unknown(key, content, re.findall("'(.*?)'", given["expected"]), place)
    must_be = WORDS.get(why) or details["msg"].removeprefix("Input should be ")
    named = f"number {key + 1}" if isinstance(key, int) else key
    return QuestionError(f"{place}: {named} is {reprlib.repr(content)}; it must be {must_be}.")


def _table_at(kind: type, loc: Sequence[str | int]) -> type:
    """Return the class of the table at a place; numbers, labels and branches of unions are passed over."""
    for part in loc:
        kind = _table_in(get_type_hints(kind).get(str(part))) or kind
    return kind


def _table_in(hint: Any) -> type | None:
    """Return the class of tables that a type speaks of, if any."""
    if is_dataclass(hint) or is_typeddict(hint):
        return hint
    return next(filter(None, map(_table_in, get_args(hint))), None)


def _place(where: str, path: Sequence[str | int]) -> str:
    """Name a table of a file as it is headed there: [diagnose.placebos], [[events]] number 2."""
    if not path:
        return where
    at = next((at for at, part in enumerate(path) if isinstance(part, int)), len(path))
    table, entry = ".".join(map(str, path[:at])), path[at:]
    if not entry:
        return f"{where}, [{table}]"
    return ", ".join([f"{where}, [[{table}]] number {int(entry[0]) + 1}", *map(str, entry[1:])])
