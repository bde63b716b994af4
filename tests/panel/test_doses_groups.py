"""Doses, and groups within units: how they are read, and what a question takes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from study import DataError, Panel, Question, QuestionError, all_designs, estimate
from study.designs import Supports, find_design


def table() -> pd.DataFrame:
    """Return three universities with two fields each in four years; two are treated, one at an amount not known."""
    rows = [
        (
            f"lab {u}",
            field,
            year,
            10.0 * u + year,
            first,
            (u + 1.0 if u else np.nan) * (year >= 3) if u < 2 else 0.0,
        )
        for u, first in enumerate((3, 3, np.nan))
        for field in ("ml", "theory")
        for year in range(1, 5)
    ]
    return pd.DataFrame(rows, columns=["lab", "field", "year", "papers", "event", "chips"])


def read(data: pd.DataFrame, **more: Any) -> Panel:
    how: dict[str, Any] = {"unit": "lab", "time": "year", "group": "field", "outcomes": "papers"}
    return Panel.from_long(data, first_treated="event", doses="chips", **(how | more))


def test_units_are_the_groups_within_units_whatever_the_order_of_rows() -> None:
    panel, shuffled = read(table()), read(table().sample(frac=1, random_state=1))
    assert list(panel.units[:2]) == ["lab 0: ml", "lab 0: theory"]
    assert list(panel.attributes["lab"]) == ["lab 0"] * 2 + ["lab 1"] * 2 + ["lab 2"] * 2
    assert panel.within == "lab"
    assert panel.checksum == shuffled.checksum


def test_a_row_twice_is_named_by_unit_and_group() -> None:
    twice = pd.concat([table(), table()[:1]])
    with pytest.raises(DataError, match=r"\(lab 0: ml, 1\)"):
        read(twice)
    with pytest.raises(DataError, match="both the unit and the group"):
        read(table(), group="lab")
    with pytest.raises(DataError, match='there is no column "feld"'):
        read(table(), group="feld")
    empty = table()
    empty.loc[3, "field"] = ""
    with pytest.raises(DataError, match="lab: field is empty on row 4"):
        read(empty)


def test_errors_are_clustered_by_what_is_treated_unless_the_question_says_otherwise() -> None:
    panel = read(table())
    assert Question("papers", "event").sample(panel).question.cluster == "lab"
    assert Question("papers", "event", cluster="field").sample(panel).question.cluster == "field"


def test_the_dose_is_the_amount_at_entry_and_units_without_one_are_counted() -> None:
    sample = Question("papers", "event", dose="chips").sample(read(table()))
    assert sample.dose is not None
    assert list(sample.dose) == [2, 2, 0, 0]
    (lost,) = [step for step in sample.flow if "without a known and positive chips" in step.reason]
    assert lost.units == 2
    later = Question("papers", "event", dose="chips", lag=1).sample(read(table()))
    assert later.dose is not None
    assert list(later.dose) == [2, 2, 0, 0]
    grown = table()
    grown["chips"] += (grown["year"] == 4) * (
        grown["chips"] > 0
    )  # capacity is added after the first treated period
    added = Question("papers", "event", dose="chips", lag=1).sample(read(grown))
    assert added.dose is not None
    assert list(added.dose) == [2, 2, 0, 0]
    order = np.array([2, 3, 0, 1])
    assert list(sample.permuted(order).dose) == [0, 0, 2, 2]  # type: ignore[arg-type]  # there is a dose


def test_an_event_may_be_a_dose_which_has_several_levels() -> None:
    panel = read(table().fillna({"chips": 0.0}))
    sample = Question("papers", "chips").sample(panel)
    assert sample.has_levels
    assert sample.n_treated == 2
    able = [d.name for d in all_designs().values() if Supports.LEVELS in d.supports]
    with pytest.raises(QuestionError, match="a treatment of several levels"):
        find_design("callaway_santanna")(sample)
    assert "callaway_santanna" not in able
    with pytest.raises(
        QuestionError, match="has no dates, so there is no first treated period to take chips in"
    ):
        Question("papers", "chips", dose="chips").sample(panel)


def test_the_third_difference_is_a_rule_that_holds_for_some_units() -> None:
    panel = read(table())
    sample = Question("papers", "event", group="field=ml").sample(panel)
    assert sample.group is not None
    assert list(sample.group) == [True, False] * 3
    some = sample.only(np.array([True, False, True, True, True, True]), "by test")
    assert some.group is not None
    assert list(some.group) == [True, True, False, True, False]
    with pytest.raises(QuestionError, match="holds for every unit of panel"):
        Question("papers", "event", group="field=ml|theory").sample(panel)
    with pytest.raises(QuestionError, match=r"cannot answer a question with a third difference \(group\)"):
        estimate(panel, Question("papers", "event", group="field=ml"), "twfe")


def test_several_instruments_have_one_name_each() -> None:
    data = table().assign(z=1.0, w=np.arange(24.0))
    panel = read(data, covariates=["z", "w"])
    one = Question("papers", "event", instrument=["z"])
    assert one.instrument == "z"
    several = Question("papers", "event", instrument=["z", "w"])
    assert several.instruments == ("z", "w")
    sample = several.sample(panel)
    assert sample.instrument is None
    np.testing.assert_array_equal(sample.instruments_by_period[1], panel.covariates["w"])
    with pytest.raises(QuestionError, match="w is both the instrument and a covariate"):
        Question("papers", "event", instrument=["z", "w"], covariates=["w"])


@pytest.mark.parametrize("role", ["covariates", "instrument"])
def test_a_column_that_is_named_twice_is_refused(role: str) -> None:
    with pytest.raises(QuestionError, match='Question: "z" is named twice; name it once'):
        Question("papers", "event", **{role: ["z", "w", "z"]})
