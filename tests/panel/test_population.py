"""Populations: which units a rule holds, and which rules cannot be told before treatment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simulated

from study import Panel, Question, QuestionError, load_panel
from study.panel import panel_entries
from study.panel.drawing import population

GAP = np.nan


def test_how_panels_are_read_is_the_same_for_all_who_ask():
    with pytest.raises(TypeError):
        panel_entries()["cvpr"]["file"] = "other.csv"
    with pytest.raises(TypeError):
        panel_entries()["other"] = {}


def panel(**changes: Any) -> Panel:
    """Return four universities, their country, band of size and papers before treatment."""
    made = Panel(
        name="own",
        units=np.array(["A", "B", "C", "D"]),
        periods=np.arange(2014, 2017),
        outcomes={"papers": np.arange(12.0).reshape(4, 3)},
        covariates={
            "size": np.outer([1.0, 10.0, 50.0, GAP], np.ones(3)),
            "partly_seen": np.array([[GAP, 1, GAP], [GAP, GAP, 2], [3, 3, 3], [4, GAP, 4]]),
            "moving": np.arange(12.0).reshape(4, 3),
        },
        first_treated={"machine": np.array([2015, GAP, GAP, GAP])},
        treatment={},
        attributes={
            "country": np.array(["CH", "US", "US", "IN"]),
            "tier": np.array(["1 paper", "10-49 papers", "50+ papers", "not known"]),
            "kind": np.array(["arts and crafts", "a=b", "x|y", ""]),
        },
        populations={"american": "country=US", "large": "size>=10", "both": "american and large"},
    )
    return replace(made, **changes)


def named(rule: str) -> str:
    """Return the units that a rule holds, as one word."""
    return "".join(panel().units[population(rule, panel())])


HELD = {
    "all": "ABCD",
    "country=US": "BC",
    "country = US ": "BC",
    "country!=US": "AD",
    "country=US|CH": "ABC",
    "country!=US|CH": "D",
    "country=US|FR": "BC",
    "country!=FR": "ABCD",
    "tier=50+ papers": "C",
    "tier=1 paper|50+ papers": "AC",
    "kind=arts and crafts": "A",
    "kind=arts and crafts and country=CH": "A",
    "kind=a=b": "B",
    "kind=x|y": "C",
    "kind=": "D",
    "kind!=": "ABC",
    "size>=10": "BC",
    "size>10": "C",
    "size<=10": "AB",
    "size<10": "A",
    "size<1e9": "ABC",
    "partly_seen<=2": "AB",
    "country=US and size>=50": "C",
    "country=US and tier!=50+ papers and size>=1": "B",
    "all and country=CH": "A",
    "american": "BC",
    "american and size>=50": "C",
    "american and large": "BC",
    "large and country!=US": "",
}


@pytest.mark.parametrize("rule", HELD)
def test_a_rule_holds_the_units_that_it_says(rule: str) -> None:
    assert named(rule) == HELD[rule]


REFUSED = {
    "americans": 'there is no population "americans". Did you mean "american"? Known: all, american, both, large.',
    "": 'there is no population "".',
    "country": 'Or write a rule such as "attribute=label" or "covariate>=number", with country, kind, tier for',
    "both": 'population both is "american and large", in which "american" is no term; write it with',
    "contry=US": 'there is no attribute or covariate "contry". Did you mean "country"?',
    "=US": 'there is no population "=US".',
    "country=FR": 'there is no country "FR". Known: CH, IN, US.',
    "country=FR|GB": 'there is no country "FR".',
    "tier=1 paper|50+ paper": 'there is no tier "50+ paper". Did you mean "50+ papers"?',
    "tier!=1 papers": 'there is no tier "1 papers". Did you mean "1 paper"?',
    "country!=us": 'there is no country "us".',
    "country>=US": 'country is an attribute, so "country>=US" has no meaning; use = or !=.',
    "size=10": 'size is a covariate, so "size=10" has no meaning; use >=, <=, > or <.',
    "size>=ten": '"size>=ten" has no number right of >=.',
    "size>=nan": '"size>=nan" has no number right of >=.',
    "size>=": '"size>=" has no number right of >=.',
    "moving>=1": "covariate moving changes over time (first in A), and later values could be consequences",
    "papers>=1": "papers is an outcome, and a population is fixed before treatment; use an attribute, or a",
    "machine=2015": "machine is an event, and a population is fixed before treatment",
}


@pytest.mark.parametrize("rule", ["county!=1", "county=1|06", "county!=6.0"])
def test_a_number_without_the_zeros_before_it_is_refused_as_a_slip(rule: str) -> None:
    codes = panel(attributes={"county": np.array(["01", "01", "06", "12"])})
    with pytest.raises(QuestionError, match=r'there is no county "(1|6\.0)"\.'):
        population(rule, codes)


@pytest.mark.parametrize("rule", REFUSED)
def test_a_rule_that_cannot_be_read_or_is_not_fixed_before_treatment_is_refused(rule: str) -> None:
    with pytest.raises(QuestionError) as error:
        population(rule, panel())
    assert str(error.value).startswith("Question about own: ")
    assert REFUSED[rule] in str(error.value)
    assert "\n" not in str(error.value)


def test_a_covariate_that_is_fixed_where_it_is_seen_is_fixed() -> None:
    block = np.array([[1, GAP, 1], [GAP, GAP, GAP], [2, 2, GAP], [0, 0, 0]])
    gappy = panel(covariates={"size": block})
    assert list(population("size>=1", gappy)) == [True, False, True, False]
    assert list(population("size<=5", gappy)) == [True, False, True, True]


def test_a_sample_has_the_population_s_units_and_counts_the_others() -> None:
    made = simulated.panel(n=200)
    size = made.covariates["size"][:, 0]
    kept = (made.attributes["state"] != "s03") & (size > 1.5)
    question = Question("y", "event", population="state!=s03 and size>1.5")
    sample = question.sample(made)
    assert list(sample.unit_ids) == list(made.units[kept])
    outside = next(step for step in sample.flow if not step.kept)
    assert (outside.units, outside.reason) == (
        int((~kept).sum()),
        "outside the population state!=s03 and size>1.5",
    )


def test_a_population_by_name_is_that_of_its_rule() -> None:
    made = replace(simulated.panel(n=200), populations={"heavy": "size>1.5"})
    by_name, by_rule = (
        Question("y", "event", population=rule).sample(made) for rule in ("heavy", "size>1.5")
    )
    assert list(by_name.unit_ids) == list(by_rule.unit_ids)
    assert 0 < by_name.n_units < made.n_units


def test_every_named_population_is_a_part_of_the_main_panel() -> None:
    shipped = load_panel("cvpr")
    held = {key: int(population(key, shipped).sum()) for key in shipped.populations}
    assert len(held) > 10
    assert all(0 < count < shipped.n_units for count in held.values()), held
