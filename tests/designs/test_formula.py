"""The formula of those who come from fixest: the same panel, question and estimate as without it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from plans import PANEL

import study
from study import Estimate, Panel, Question, QuestionError
from study.designs.formula import read_formula


def by_hand(design: str, path: bool = False, **fields: Any) -> Estimate:
    event = {"treatment" if path else "first_treated": "on" if path else "first_treated"}
    panel = Panel.from_long(
        table(),
        unit="unit",
        time="time",
        outcomes="y",
        covariates=["x1", "x2"],
        attributes="cluster",
        **event,
    )
    return study.estimate(panel, Question("y", *event.values(), **fields), design)


def table() -> pd.DataFrame:
    data = pd.read_csv(PANEL)
    return data.assign(on=((data["first_treated"] > 0) & (data["time"] >= data["first_treated"])) * 1)


@pytest.mark.parametrize(
    ("formula", "options", "fields"),
    [
        ("y ~ 1 | unit + time", {}, {}),
        (
            "y~1|unit+time",
            {"cluster": "cluster", "average": "event_average", "horizon": 2},
            {"cluster": "cluster", "average": "event_average", "horizon": 2},
        ),
        ("y ~ x1 | unit + time", {"design": "callaway_santanna"}, {"covariates": ("x1",)}),
        ("y ~ 1 + x2 | unit + time", {}, {"covariates": ("x2",)}),
        ("`y` ~ 1 | `unit` + time", {"population": "cluster!=1"}, {"population": "cluster!=1"}),
        (
            "y ~ 1 | unit + time",
            {"cluster": "unit", "average": "cohort_average"},
            {"average": "cohort_average"},
        ),
    ],
)
def test_a_formula_asks_what_panel_and_question_ask(
    formula: str, options: dict[str, Any], fields: dict[str, Any]
) -> None:
    asked = {"design": "sun_abraham"} | options
    fit = study.did(formula, table(), first_treated="first_treated", **asked)
    expected = by_hand(asked["design"], **fields)
    assert fit.sample.question == expected.sample.question
    np.testing.assert_array_equal(fit.effect, expected.effect)
    np.testing.assert_array_equal(fit.std_error, expected.std_error)


def test_a_formula_takes_options_of_the_design_a_convention_and_an_event_of_0_and_1() -> None:
    fit = study.did("y ~ x1 | unit + time", table(), treatment="on", method="reg", vcov="CR0")
    assert fit.options["method"] == "reg"
    assert fit.vcov == "CR0"
    expected = by_hand("callaway_santanna", path=True, covariates=("x1",))
    assert fit.headline.effect[0] == pytest.approx(expected.headline.effect[0], rel=0.05)
    assert fit.sample.n_treated == expected.sample.n_treated


def test_a_formula_takes_periods_and_never_as_a_panel_does() -> None:
    data, words = table(), {"first_treated": "first_treated", "design": "twfe"}
    biennial = data.assign(time=2 * data["time"], first_treated=2 * data["first_treated"].fillna(0))
    biennial.loc[biennial["first_treated"] == 0, "first_treated"] = 9999
    fit = study.did("y ~ 1 | unit + time", biennial, period="rank", never=9999, **words)
    assert fit.effect[0] == study.did("y ~ 1 | unit + time", data, **words).effect[0]


def test_a_file_is_read_as_a_table_is() -> None:
    asked = ("y ~ 1 | unit + time", {"first_treated": "first_treated", "design": "twfe"})
    assert (
        study.did(asked[0], PANEL, **asked[1]).effect[0] == study.did(asked[0], table(), **asked[1]).effect[0]
    )


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("y", "it has no ~"),
        ("y ~ 1 | unit + time ~ z", "it has more than one ~"),
        ("y ~ 1", "it does not say | unit + time"),
        ("y ~ 1 | unit + time | x1", "instruments are named by instrument="),
        ("y + z ~ 1 | unit + time", "it has several outcomes; give them to study.compare"),
        ("y ~ 1 | unit", "after | stand the unit and the period, and nothing else"),
        ("y ~ | unit + time", "a name is missing; write 1 where there is no covariate"),
        ("y ~ 2x | unit + time", '"2x" is no column name; make a column of it, or set scale= for logs'),
    ],
)
def test_a_refused_formula_is_named_with_what_is_wrong_in_it(formula: str, why: str) -> None:
    with pytest.raises(QuestionError) as error:
        read_formula(formula)
    form = "outcome ~ covariates | unit + time"
    assert str(error.value) == f'did: the formula "{formula}" is not of the form {form}: {why}.'


def test_signs_within_backticks_are_of_the_name() -> None:
    asked = "`papers | year` ~ `R&D + grants` + `a~b` + x | `lab+` + year"
    assert read_formula(asked) == ("papers | year", ("R&D + grants", "a~b", "x"), ("lab+", "year"))
