"""Values as bytes that are data and nothing else, read back bit by bit: no code is run and no name imported.

JSON, in which an object has one key that says what its value is; floats and arrays stand in it as their bytes.
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from io import BytesIO
from typing import Any

import numpy as np

Other = Callable[[Any], Any]


def refused(value: object) -> Any:
    """Refuse a value that no file can hold."""
    raise TypeError(f"no file holds a value of the type {_name(type(value))}.")


def encoded(value: object, other: Other = refused) -> bytes:
    """Return a value as bytes, equal only for equal values.

    Parameters
    ----------
    value : object
        Of None, bool, int, float, str, bytes, numpy's arrays and scalars, and of lists, tuples, dicts, named tuples
        and dataclasses of these.
    other : callable
        Gives for any other value one of these in its place.

    Raises
    ------
    TypeError
        If a value is none of these.
    """
    return json.dumps(_packed(value, other), separators=(",", ":")).encode()


def decoded(content: bytes, types: Iterable[type] = ()) -> Any:
    """Return the value that :func:`encoded` made bytes of.

    Parameters
    ----------
    content : bytes
    types : iterable of type
        The dataclasses and named tuples that may be in it; any other name is an error.
    """
    known = {_name(kind): kind for kind in types}

    def unpacked(item: dict[str, Any]) -> Any:
        ((name, value),) = item.items()
        if name in _READ:
            return _READ[name](value)
        kind = known[name]
        return kind(**dict(zip(_parts(kind), value, strict=True)))

    return json.loads(content, object_hook=unpacked)


def _packed(value: Any, other: Other) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return {"float": struct.pack("<d", value).hex()}
    if kind is bytes:
        return {"bytes": b64encode(value).decode()}
    if kind is np.ndarray or isinstance(value, np.generic):
        if value.dtype.hasobject:
            return refused(value)
        buffer = BytesIO()
        np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=False)
        return {"array" if kind is np.ndarray else "scalar": b64encode(buffer.getvalue()).decode()}
    if kind is list:
        return [_packed(item, other) for item in value]
    if kind is tuple:
        return {"tuple": [_packed(item, other) for item in value]}
    if kind is dict:
        return {"dict": [[_packed(key, other), _packed(item, other)] for key, item in value.items()]}
    if parts := _parts(kind):
        return {_name(kind): [_packed(getattr(value, part), other) for part in parts]}
    return _packed(other(value), other)


def _parts(kind: type) -> tuple[str, ...]:
    """Return the names of what a dataclass or named tuple is made of; nothing for other types."""
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind))
    return getattr(kind, "_fields", ()) if issubclass(kind, tuple) else ()


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _array(text: str) -> Any:
    return np.lib.format.read_array(BytesIO(b64decode(text, validate=True)), allow_pickle=False)


_READ: dict[str, Callable[[Any], Any]] = {
    "float": lambda text: struct.unpack("<d", bytes.fromhex(text))[0],
    "bytes": lambda text: b64decode(text, validate=True),
    "array": _array,
    "scalar": lambda text: _array(text)[()],
    "tuple": tuple,
    "dict": dict,
}
