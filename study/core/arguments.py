"""Arguments of public functions, held to their type hints before anything is computed."""

from __future__ import annotations

import inspect
import math
import reprlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, wraps
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np

from study.core.errors import QuestionError, unknown

P = ParamSpec("P")
R = TypeVar("R")

# Beyond them whole numbers do not fit what libraries count in, squares do not fit a float, and draws no memory.
LARGEST = 2**31 - 1
LARGEST_FLOAT = 1e100
MOST_DRAWS = 10_000_000
# By name, as an option means the same wherever it is taken: the least and the most that it may be.
RANGES: Mapping[str, tuple[int, int]] = {
    "seed": (0, 2**32 - 1),
    "draws": (1, MOST_DRAWS),
    "permutations": (0, MOST_DRAWS),
    "repetitions": (1, 10_000),
    "replications": (2, 100_000),
    "trees": (1, 1_000_000),
    "seeds": (2, 10_000),
    "digits": (0, 10),
    "max_bytes": (1, 2**62),
    **dict.fromkeys(("before", "bin_at", "budget", "degree", "folds", "most"), (1, LARGEST)),
    **dict.fromkeys(("max_rows", "max_columns", "max_cell"), (1, LARGEST)),
    **dict.fromkeys(("after", "factors", "knots", "leads", "periods_late", "placebos"), (0, LARGEST)),
}
SHARES = {"level": 0.95, "power": 0.8, "size": 0.05}  # with an example of each
POSITIVE = ("bound",)
# In words: one of a kind, and several.
PLAIN: Mapping[Any, tuple[str, str]] = {
    int: ("a whole number", "whole numbers"),
    float: ("a finite number", "finite numbers"),
    bool: ("True or False", "True or False"),
    str: ("a text", "texts"),
    None: ("None", "None"),
    NoneType: ("None", "None"),
    Callable: ("a function", "functions"),
}


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function refuse arguments that are not of its type hints, in one line.

    Keyword arguments that it takes without a name (the options of a design) are for it to check, and so are the texts
    that a sequence holds and the size of its numbers: it says better what it needs there.
    """
    signature = inspect.signature(function)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        hints, given = hints_of(function), signature.bind(*args, **kwargs).arguments
        for name, value in given.items():
            kind = signature.parameters[name].kind
            for each in value if kind is inspect.Parameter.VAR_POSITIONAL else [value]:
                if kind is not inspect.Parameter.VAR_KEYWORD and not _left_to_function(each, hints.get(name)):
                    _refuse_swapped(function.__qualname__, hints, given, name)
                    check(function.__qualname__, hints, {name: each})
        return function(*args, **kwargs)

    return called


def _refuse_swapped(where: str, hints: Mapping[str, Any], given: Mapping[str, Any], name: str) -> None:
    """Refuse an argument that is no value for its name, where another has its value and it has that one's."""
    wrong = [each for each, value in given.items() if each in hints and not _is(value, hints[each])]
    for other in wrong if name in wrong else ():
        if _is(given[other], hints[name]) and _is(given[name], hints[other]):
            raise QuestionError(
                f"{where}: {name} and {other} are swapped; write {where}({', '.join(given)})."
            )


def _left_to_function(value: Any, hint: Any) -> bool:
    """Say whether a value is a sequence of texts, or of numbers of any size, where a hint has sequences."""
    of = _in_sequences(hint)
    values = list(value) if of and is_listed(value) else []
    if values and all(isinstance(each, str) for each in values):
        return bool(of) and not {int, float} & of
    return float in of and is_listed(value) and all(_is(each, float) or _is_float(each) for each in values)


@cache
def _in_sequences(hint: Any) -> frozenset[Any]:
    """Return of what a hint has sequences."""
    kinds = filter(_is_sequence, _kinds(hint))
    return frozenset(each for kind in kinds for each in _kinds(*get_args(kind)[:1]))


def _kinds(hint: Any = None) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _kind(hint: Any) -> Any:
    """Return what a hint is of: NDArray of numpy 2.5, with Python 3.12, is a name for a hint."""
    kind = get_origin(hint) or hint
    return _kind(kind.__value__) if hasattr(kind, "__value__") else kind


def _is_sequence(hint: Any) -> bool:
    kind = _kind(hint)
    return isinstance(kind, type) and issubclass(kind, Sequence) and kind is not str


def check(where: str, hints: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse the first value that is not what its hint says; where names the function, design or class.

    Raises
    ------
    QuestionError
        Naming the argument, its value and what is allowed.
    """
    for name, value in given.items():
        if name == "self" or name not in hints:
            continue
        hint = hints[name]
        if not _is(value, hint):
            texts = _texts(hint)
            if isinstance(value, str) and texts:
                raise unknown("average" if name == "of" else name, value, texts, where)
            words = f"{where}: {name} is {shown(value)}; it must be {allowed(hint)}"
            raise QuestionError(f"{words}{_brackets(name, value, hint)}.")
        for each in value if is_listed(value) else [value]:
            if _is_number(each):
                _check_range(where, name, each)


def refuse_unknown(kind: str, names: str | Iterable[str], known: Collection[str], where: str) -> None:
    """Raise the error of :func:`unknown` for a name, or the first of several, that is not known."""
    for name in [names] if isinstance(names, str) else names:
        if name not in known:
            raise unknown(kind, name, known, where)


def _brackets(name: str, value: Any, hint: Any) -> str:
    """Say how to write several texts where one is given without brackets, and one where several are."""
    if isinstance(value, str):
        return f', as in {name}=["{value}"]' if any(map(_is_sequence, _kinds(hint))) else ""
    if not is_listed(value) or not len(value) or not (str in _kinds(hint) or _texts(hint)):
        return ""
    return (
        "; give one, or several to study.compare" if name in ("design", "outcome") else "; give one at a time"
    )


def _check_range(where: str, name: str, value: Any) -> None:
    value = _plain(value)
    given = f"{where}: {name} is {shown(value)}"
    if name == "jobs" and value == 0:
        raise QuestionError(f"{given}; give a number of processes, or -1 for all cores.")
    if _is_float(value) and LARGEST_FLOAT < abs(value) < math.inf:
        raise QuestionError(f"{given}; it must be a number of ordinary size.")
    if name in SHARES and not 0 < value < 1:
        raise QuestionError(f"{given}; it must lie between 0 and 1, for example {SHARES[name]}.")
    if name in POSITIVE and value <= 0:
        raise QuestionError(f"{given}; it must be a finite number above 0.")
    least, most = RANGES.get(name, (-LARGEST, LARGEST))
    if isinstance(value, int) and not least <= value <= most:
        bounds = f"at least {least}" if value < least else f"at most {most}"
        raise QuestionError(f"{given}; it must be a whole number, {bounds}.")


def shown(value: Any) -> str:
    """Return a value as one short line says it: texts and numbers as they are, other things by their class."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    value = _plain(value)
    if value is None or isinstance(value, str | bytes | int | float | complex | list | tuple | dict | set):
        return " ".join(reprlib.repr(value).split())
    name = type(value).__name__
    return f"{'an' if name[:1] in 'AEIOUaeiou' else 'a'} {name}"


@cache
def hints_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the type hints of a function; those that only a type checker can read are left out."""
    module = sys.modules.get(function.__module__)  # none in a process to which only the function was sent
    known, hints = vars(module) if module else function.__globals__, {}
    for name, hint in inspect.get_annotations(function).items():
        try:
            hints[name] = eval(hint, known) if isinstance(hint, str) else hint
        except NameError:
            continue
    return hints


def _is(value: Any, hint: Any) -> bool:
    """Say whether a value is what a hint says, as far as the hint can be read here."""
    if type(value) is hint and hint is not float:
        return True
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar | str):
        return True
    if hint is None or hint is NoneType:
        return value is None
    if len(_kinds(hint)) > 1:
        return any(_is(value, each) for each in inner)
    if origin is Literal:
        return any(type(value) is type(each) and value == each for each in inner) or (
            isinstance(value, str) and str(value) in inner
        )
    if hint is bool:
        return isinstance(value, bool | np.bool_)
    if hint is int:
        return isinstance(value, int | np.integer) and not isinstance(value, bool)
    if hint is float:
        return _is_number(value) and abs(_plain(value)) <= sys.float_info.max
    kind = _kind(hint)
    if kind is Callable:
        return callable(value)
    if origin is tuple and isinstance(value, tuple) and len(inner) > 1 and inner[-1] is not Ellipsis:
        return len(value) == len(inner) and all(map(_is, value, inner))
    if origin is tuple:
        return isinstance(value, tuple) and _all(value, inner[:1])
    if not isinstance(kind, type):
        return True
    if kind is np.ndarray:
        return isinstance(value, np.ndarray) and value.dtype.kind in "iufb"
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and _all(value, inner[:1]) and _all(value.values(), inner[1:])
    if _is_sequence(kind):
        return is_listed(value) and _all(value, inner)
    if getattr(kind, "_is_protocol", False):
        needed = [name for name in vars(kind) if not name.startswith("_")]
        return not isinstance(value, type) and all(hasattr(value, name) for name in needed)
    return isinstance(value, kind)


def is_listed(value: Any) -> bool:
    """Say whether a value is a sequence, be it a column of a table, and not a text."""
    if isinstance(value, Sequence):
        return not isinstance(value, str | bytes)
    return hasattr(value, "__array__") and getattr(value, "ndim", 0) == 1


def _all(values: Iterable[Any], hint: tuple[Any, ...]) -> bool:
    return not hint or all(_is(value, hint[0]) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _is_float(value: Any) -> bool:
    return isinstance(value, float | np.floating)


def _plain(value: Any) -> Any:
    """Return numpy's numbers as Python's, which are compared with large ones in double precision."""
    return value.item() if isinstance(value, np.generic) else value


def _texts(hint: Any) -> tuple[str, ...]:
    """Return the texts that a hint lists, none where it takes others or none."""
    listed = [each for kind in _kinds(hint) if get_origin(kind) is Literal for each in get_args(kind)]
    return tuple(each for each in listed if isinstance(each, str))


def allowed(hint: Any, several: bool = False) -> str:
    """Return in words what a hint allows, one of it or several."""
    kind, inner = _kind(hint), get_args(hint)
    if kind in PLAIN:
        return PLAIN[kind][several]
    if len(_kinds(hint)) > 1:
        return " or ".join(dict.fromkeys(allowed(each, several) for each in inner))
    if kind is Literal:
        return f"{'one of ' if len(inner) > 1 else ''}{', '.join(map(str, inner))}"
    if not isinstance(kind, type):
        return str(hint)
    if several:
        return f"{kind.__name__}s"
    if issubclass(kind, Mapping):
        return "a mapping"
    if issubclass(kind, Sequence):
        of = f" of {allowed(inner[0], True)}" if inner and inner[0] is not Any else ""
        return f"a {'tuple' if kind is tuple else 'sequence'}{of}"
    if getattr(kind, "_is_protocol", False):
        return f"an object with {' and '.join(name for name in vars(kind) if not name.startswith('_'))}"
    return f"{'an' if kind.__name__[:1] in 'AEIOU' else 'a'} {kind.__name__}"
