"""Values held to type hints, whatever the libraries' hints are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import TypeAliasType

from study import Estimate, Panel, QuestionError
from study.core.arguments import check, checked, shown

Number = TypeVar("Number", bound=np.generic)
# What NDArray is in numpy 2.5 with Python 3.12 and newer.
Named: Any = TypeAliasType("Named", np.ndarray[Any, np.dtype[Number]], type_params=(Number,))


@pytest.mark.parametrize("hint", [NDArray[np.float64], Named[np.float64], Named[np.float64] | None])
def test_a_hint_that_is_a_name_for_an_array_takes_arrays_alone(hint):
    check("f", {"x": hint}, {"x": np.ones(2)})
    for other in (object(), np.array(["a"]), 3):
        with pytest.raises(QuestionError, match=r"f: x is .*; it must be an? ndarray"):
            check("f", {"x": hint}, {"x": other})


METHOD = Literal["dr", "ipw"]
REFUSED: list[tuple[Any, Any, str]] = [
    (int, "a", "'a'; it must be a whole number."),
    (int, True, "True; it must be a whole number."),
    (int, np.float64(2.5), "2.5; it must be a whole number."),
    (int | None, 1.5, "1.5; it must be a whole number or None."),
    (float, math.nan, "nan; it must be a finite number."),
    (float, -math.inf, "-inf; it must be a finite number."),
    (float, np.float32("inf"), "inf; it must be a finite number."),
    (float, 1e101, "1e+101; it must be a number of ordinary size."),
    (bool, 1, "1; it must be True or False."),
    (str, 3, "3; it must be a text."),
    (str, ["a"], "['a']; it must be a text; give one at a time."),
    (METHOD, 3, "3; it must be one of dr, ipw."),
    (METHOD, ("dr", "ipw"), "('dr', 'ipw'); it must be one of dr, ipw; give one at a time."),
    (Literal["dr"], 3, "3; it must be dr."),
    (Sequence[str], 3, "3; it must be a sequence of texts."),
    (Sequence[str], "ab", "'ab'; it must be a sequence of texts, as in x=[\"ab\"]."),
    (Sequence[int | str], [1.5], "[1.5]; it must be a sequence of whole numbers or texts."),
    (Sequence[Panel], 3, "3; it must be a sequence of Panels."),
    (tuple[float, ...], [1.0], "[1.0]; it must be a tuple of finite numbers."),
    (Mapping[str, int], {1: 2}, "{1: 2}; it must be a mapping."),
    (Mapping[str, int], {"a": "b"}, "{'a': 'b'}; it must be a mapping."),
    (Callable[..., int], 3, "3; it must be a function."),
    (Panel, int, "the class int; it must be a Panel."),
    (Estimate, object(), "an object; it must be an Estimate."),
    (int, 2**31, "2147483648; it must be a whole number, at most 2147483647."),
    (Sequence[int], [0, -(2**31)], "-2147483648; it must be a whole number, at least -2147483647."),
]


@pytest.mark.parametrize(("hint", "value", "said"), REFUSED)
def test_what_is_no_value_of_a_hint_is_refused_in_words_that_say_what_is(hint, value, said):
    with pytest.raises(QuestionError) as refused:
        check("f", {"x": hint}, {"x": value})
    assert str(refused.value) == f"f: x is {said}"


@pytest.mark.parametrize(
    ("hint", "value"),
    [
        (int, np.int64(3)),
        (int, -(2**31) + 1),
        (float, 3),
        (float, np.float32(0.5)),
        (float, 1e100),
        (bool, np.True_),
        (str | None, None),
        (METHOD, np.str_("dr")),
        (Sequence[str], ("a", "b")),
        (Sequence[float], np.array([1.0, 2.0])),
        (tuple[int, str], (1, "a")),
        (Mapping[str, int], {"a": 1}),
        (Callable[..., int], len),
        (Any, object()),
        (TypeVar("T"), object()),
    ],
)
def test_what_is_a_value_of_a_hint_is_taken(hint, value):
    check("f", {"x": hint}, {"x": value, "self": 3, "without_a_hint": object()})


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("seed", 0, 2**32 - 1),  # numpy's and scikit-learn's
        ("draws", 1, 10_000_000),
        ("permutations", 0, 10_000_000),
        ("folds", 1, None),
        ("repetitions", 1, 10_000),
        ("replications", 2, 100_000),
        ("trees", 1, 1_000_000),
        ("seeds", 2, 10_000),
        ("most", 1, None),
        ("periods_late", 0, None),
        ("budget", 1, None),
        ("digits", 0, 10),
        ("leads", 0, None),
        ("factors", 0, None),
        ("before", 1, None),
        ("after", 0, None),
        ("bin_at", 1, None),
        ("placebos", 0, None),
        ("degree", 1, None),
        ("knots", 0, None),
        ("max_rows", 1, None),
        ("max_columns", 1, None),
        ("max_bytes", 1, 2**62),
        ("max_cell", 1, None),
    ],
)
def test_a_number_lies_in_the_range_that_its_name_has_wherever_it_is_taken(name, least, most):
    most = 2**31 - 1 if most is None else most
    for value in (least, most, np.int64(most)):
        check("f", {name: int}, {name: value})
    for value, bound in ((least - 1, f"at least {least}"), (most + 1, f"at most {most}")):
        with pytest.raises(QuestionError) as refused:
            check("f", {name: int}, {name: value})
        assert str(refused.value) == f"f: {name} is {shown(value)}; it must be a whole number, {bound}."


@pytest.mark.parametrize("name", ["level", "power", "size"])
def test_a_share_lies_between_zero_and_one_without_them(name):
    check("f", {name: float}, {name: 0.01})
    check("f", {name: float}, {name: 0.99})
    for value in (0.0, 1.0, 1, -0.5):
        with pytest.raises(
            QuestionError, match=rf"^f: {name} is .*; it must lie between 0 and 1, for example 0"
        ):
            check("f", {name: float}, {name: value})


def test_of_a_design_or_an_outcome_several_can_be_compared_and_of_a_text_the_nearest_is_named():
    for name in ("design", "outcome"):
        with pytest.raises(QuestionError, match=r"; give one, or several to study\.compare\.$"):
            check("f", {name: str}, {name: ["a", "b"]})
    with pytest.raises(
        QuestionError, match=r'^f: there is no x "ip". Did you mean "ipw"\? Known: dr, ipw\.$'
    ):
        check("f", {"x": METHOD}, {"x": "ip"})
    with pytest.raises(QuestionError, match=r'^f: there is no average "or". Known: dr, ipw\.$'):
        check("f", {"of": METHOD}, {"of": "or"})
    with pytest.raises(
        QuestionError, match=r"^f: jobs is 0; give a number of processes, or -1 for all cores\.$"
    ):
        check("f", {"jobs": int}, {"jobs": 0})


class Reads(Protocol):
    def read(self) -> str: ...

    def _hidden(self) -> str: ...


class Book:
    def read(self) -> str:
        return "text"


class Paper:
    def read(self) -> str:
        return "text"


def test_a_protocol_takes_objects_with_what_it_names_and_a_class_takes_its_own_alone():
    check("f", {"x": Reads}, {"x": Book()})
    for other, said in ((Book, "the class Book"), (object(), "an object")):
        with pytest.raises(QuestionError, match=rf"^f: x is {said}; it must be an object with read\.$"):
            check("f", {"x": Reads}, {"x": other})
    check("f", {"x": Book}, {"x": Book()})
    with pytest.raises(QuestionError, match=r"^f: x is a Paper; it must be a Book\.$"):
        check("f", {"x": Book}, {"x": Paper()})


@checked
def asked(panel: Panel, name: str, *more: int, factor: float = 1.0, **options: int) -> str:
    return f"{name} {more} {factor} {options}"


def test_a_function_names_itself_where_it_refuses_and_leaves_its_named_options_to_itself():
    panel = Panel("p", np.array(["a"]), np.array([1]), {"y": np.ones((1, 1))}, {}, {}, {}, {})
    assert asked(panel, "a", 1, 2, other="text") == "a (1, 2) 1.0 {'other': 'text'}"
    with pytest.raises(
        QuestionError, match=r"^asked: panel and name are swapped; write asked\(panel, name\)\.$"
    ):
        asked("a", panel)
    with pytest.raises(QuestionError, match=r"^asked: more is 2\.5; it must be a whole number\.$"):
        asked(panel, "a", 1, 2.5)
    with pytest.raises(QuestionError, match=r"^asked: factor is 'a'; it must be a finite number\.$"):
        asked(panel, "a", factor="a")
