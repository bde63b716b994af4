"""Exhibits of designs, of who is in the average, of further questions and of what was known, on a simulated panel."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawings import drawn_as
from plans import PANEL, PLAN

import study
from study.designs import Design
from study.diagnostics.leave_one_out import eras
from study.panel import Scale
from study.paper.diagnose import answered
from study.paper.exhibits import exhibit
from study.paper.exhibits.composition import Composed, composition
from study.paper.exhibits.designs import designs
from study.paper.exhibits.exhibit import Exhibited, Setting
from study.paper.exhibits.families import families
from study.paper.exhibits.further import further
from study.paper.exhibits.known import known
from study.paper.numbers import answer_numbers
from study.paper.plan import Task, read_plan
from study.paper.results import agreement, answer, comparison
from study.paper.run import load, other_panels
from study.report.table import Number, Table

MORE = """
[[events]]
name = "later"
title = "the 2nd event"
short = "Later"
label = "sim2"
[[designs]]
name = "callaway_santanna"
label = "CS-x1"
question = { covariates = ["x1"] }
[[designs]]
name = "imputation"
label = "Refused"
question = { base = "varying" }
[[designs]]
name = "callaway_santanna"
label = "Fixed"
question = { balance = 3 }
[diagnose]
eras = [[2, 5], [6, 12]]
[[known]]
specification = "First"
written = 2026-11-25
known = "Nothing but who is in the panel."
[[known]]
specification = "Later dates"
written = 2026-11-27
known = "The estimates of the first."
differs = "The first was a year early."
[[further]]
name = "imputation"
label = "Another design"
event = "later"
asks = "the later event by another design."
question = { horizon = 1 }
[[further]]
name = "dcdh"
label = "Another panel"
event = "first_treated"
asks = "the first event where rows are missing."
options = { normalized = true }
panel = { file = "gaps.csv", unit = "unit", time = "time", first_treated = "first_treated", outcomes = "count" }
[[further]]
name = "dose_response"
label = "Refused further"
event = "later"
asks = "what has no dose."
"""
LABELS = ("CS", "CS-x1", "ES", "Fixed")


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("plan")
    table = pd.read_csv(PANEL)
    table["later"] = table["first_treated"].replace(0, np.nan) + 1
    table.to_csv(folder / "panel.csv", index=False)
    pd.read_csv(PANEL.with_name("sim_unbalanced.csv")).to_csv(folder / "gaps.csv", index=False)
    text = PLAN.replace(str(PANEL), "panel.csv").replace('["first_treated"]', '["first_treated", "later"]')
    (folder / "study.toml").write_text(text + MORE)
    plan = read_plan(folder / "study.toml")
    panel = load(plan)
    panels = other_panels({entry.label: entry.panel for entry in plan.further if entry.panel is not None})
    return Setting(plan, panel, {task.key: answer(task, panel) for task in plan.tasks()}, further=panels)


@pytest.fixture(scope="module")
def composed(setting: Setting) -> Exhibited:
    return composition(setting)


@pytest.fixture(scope="module")
def by_design(setting: Setting) -> Exhibited:
    with drawn_as("png"):
        return designs(setting)


def cells(table: Table, panel: int) -> dict[str, list[float]]:
    lines = table.blocks[panel].lines
    return {
        line.label: [c.value for c in line.cells if isinstance(c, Number)] for line in lines if line.label
    }


def fitted(setting: Setting, event: str = "first_treated", **changes: object) -> study.Estimate:
    question = study.Question("count", event, scale="log1p", average="event_average", horizon=3).replace(
        **changes
    )
    return study.estimate(setting.panel, question)


def test_composition_has_the_full_and_the_fixed_average_and_each_era(
    composed: Exhibited, setting: Setting
) -> None:
    assert [table.name for table in composed.tables] == [
        "composition",
        "composition-sim2",
        "composition-treated",
        "composition-designs",
    ]
    for table, event in zip(composed.tables[:2], ("first_treated", "later"), strict=True):
        shown = cells(table, 1)
        labels = ["All cohorts", "Seen up to event time 3"]
        assert list(shown) == [*labels, "2-5", "6-12", "Eras equal, p-value"]
        # Of two eras, one without the other is that era.
        assert table.notes[-2:] == ["Without 2-5: as 6-12.", "Without 6-12: as 2-5."]
        assert shown[labels[0]][0] == pytest.approx(fitted(setting, event).headline.effect[0])
        assert shown[labels[1]][0] == pytest.approx(fitted(setting, event, balance=3).headline.effect[0])


def test_counts_are_those_of_units_seen_at_an_event_time(composed: Exhibited, setting: Setting) -> None:
    first, periods = setting.panel.first_treated["first_treated"], setting.panel.periods
    table, (start, end) = composed.tables[2], setting.plan.window
    window = range(start, end + 1)
    assert table.headings == [str(e) for e in window]
    assert ": \N{MINUS SIGN}3 |" in table.markdown()
    shown = cells(table, 0)
    treated = first[np.isfinite(first)]
    seen = [int(np.isin(treated + e, periods).sum()) for e in window]
    assert shown["All cohorts"] == seen
    fixed, late = (treated[keep] for keep in (treated + 3 <= periods[-1], treated >= 6))
    # Fixed from the event on, and before it of those of them that are seen.
    before = [int(np.isin(fixed + e, periods).sum()) for e in range(start, 4)]
    assert before[-4:] == [len(fixed)] * 4
    assert shown["Seen up to event time 3"] == [*before, *[0] * (end - 3)]
    assert shown["6-12"] == [int(np.isin(late + e, periods).sum()) for e in window]
    numbers = {number.address: number.value for number in composed.numbers}
    for e, number in zip(window, seen, strict=True):
        assert numbers[f"composition/sim1/full/event_time/{e}/n_treated"] == str(number)


def test_events_that_the_plan_sets_side_by_side_are_columns_of_one_table(setting: Setting) -> None:
    plan = replace(setting.plan, definitions=("sim1", "sim2"))
    own, beside = composition(setting), composition(replace(setting, plan=plan))
    names = ["composition", "composition-treated", "composition-designs"]
    assert [table.name for table in beside.tables] == names
    both, alone = cells(beside.tables[0], 1), [cells(table, 1) for table in own.tables[:2]]
    assert both == {label: [*first, *alone[1][label]] for label, first in alone[0].items()}
    assert beside.numbers == own.numbers


def test_its_numbers_are_the_cells_of_its_tables(composed: Exhibited, setting: Setting) -> None:
    numbers = {number.address: number.value for number in composed.numbers}
    fit = fitted(setting, balance=3).headline
    at = "composition/sim1/count/log1p/balanced"
    assert numbers[f"{at}/estimate"] == f"{fit.effect[0]:.3f}"
    assert numbers[f"{at}/std_error"] == f"{fit.std_error[0]:.3f}"
    first = setting.panel.first_treated["first_treated"]
    assert numbers[f"{at}/n_treated"] == str(np.sum(first + 3 <= setting.panel.periods[-1]))
    assert {f"composition/sim2/without_2_5/event_time/{e}/n_treated" for e in range(4)} <= set(numbers)


def test_each_design_with_effects_of_all_cohorts_has_a_column(composed: Exhibited, setting: Setting) -> None:
    table = composed.tables[-1]
    assert table.headings == ["CS-x1"]  # the headline is a column of the event's own table
    for panel, scale in enumerate(setting.plan.scales):
        fit, fixed = (fitted(setting, scale=scale, covariates=("x1",), balance=b) for b in (None, 3))
        by_era = eras(fit, setting.plan.eras, draws=setting.plan.band_draws, seed=setting.plan.seed)
        averages = [fit.headline.effect[0], fixed.headline.effect[0], *by_era.frame["estimate"][:2]]
        shown, factor = cells(table, panel), Scale(scale).factor
        effects = [factor * average for average in averages]
        assert [row[0] for row in shown.values()] == pytest.approx([*effects, by_era["p_equal"]])
    numbers = {number.address: number.value for number in composed.numbers}
    without, equal = shown["6-12"][0], shown["Eras equal, p-value"][0]
    assert "composition/sim1/count/log1p/cs/without_2_5/estimate" in numbers
    assert numbers["composition/sim1/count/log1p/cs_x1/without_2_5/estimate"] == f"{without:.3f}"
    assert numbers["composition/sim1/count/log1p/cs_x1/p_joint"] == f"{equal:.3f}"


def test_designs_without_a_column_are_named_once_with_the_reason(composed: Exhibited) -> None:
    said = " ".join(composed.sentences)
    for label, why in {"ES": "event-time effect", "TWFE": "coefficient"}.items():
        assert said.count(f"{label}: no effects of all cohorts one by one ({why}).") == 1
    assert "Fixed: no effects of all cohorts one by one (of fixed composition itself)." in said
    assert said.count('Refused: imputation: it cannot answer a question with base="varying"') == 1


def test_no_answer_is_estimated_twice(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("study.paper.exhibits.composition")
    make, keys = module.composed, []

    def counted(setting: Setting, task: Task) -> Composed:
        keys.append(task.key)
        return make(setting, task)

    monkeypatch.setattr(module, "composed", counted)
    composition(setting)
    asked = {
        (task.event.label, task.row.label, task.question.scale): task.key for task in setting.plan.tasks()
    }
    ours = [
        key
        for (event, label, _), key in asked.items()
        if label == "CS" or (event, label) == ("sim1", "CS-x1")
    ]
    # A row that refuses on one scale is not asked on the others.
    assert sorted(keys) == sorted([*ours, asked["sim1", "Refused", setting.scale]])


def test_a_headline_without_effects_by_cohort_says_so(setting: Setting) -> None:
    shown = composition(replace(setting, plan=setting.plan.under("event_study")))
    assert [table.headings for table in shown.tables] == [["CS", "CS-x1"]]
    assert sum("event_study has no effects by cohort" in sentence for sentence in shown.sentences) == 2


def test_diagnose_makes_the_eras_of_the_plan_for_designs_with_effects_by_cohort(setting: Setting) -> None:
    plan = setting.plan
    verdict = answered(plan, plan.ask("sim1/count/log1p"), setting.panel, {})
    finding = verdict.check("eras").finding
    assert finding is not None
    assert list(finding.frame["label"]) == ["2-5", "6-12", "without 2-5", "without 6-12"]
    for other, design in ((plan, "event_study"), (replace(plan, eras=()), None)):
        assert "eras" not in answered(other, other.ask("sim1", design), setting.panel, {}).diagnostics


def test_definitions_stand_side_by_side_with_the_answers_of_the_plan(
    setting: Setting, by_design: Exhibited, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tables(*definitions: str) -> dict[str, Table]:
        made = designs(replace(setting, plan=replace(setting.plan, definitions=definitions)))
        return {table.name: table for table in made.tables}

    monkeypatch.setattr(exhibit, "drawn", lambda *_: b"")  # the figures are those of by_design
    assert setting.plan.definitions == ()
    beside, alone = tables("sim1", "sim2"), {table.name: table for table in by_design.tables}
    assert list(beside) == ["sim1", "sim1-power"]
    assert list(alone) == ["sim1", "sim2"] == list(tables("sim2"))
    assert beside["sim1"].headings == ["Event", "Later"]
    for panel, scale in enumerate(setting.plan.scales):
        for row in setting.plan.rows:
            answers = [setting.results[label, scale, "count", row.label] for label in ("sim1", "sim2")]
            factor, refused = Scale(scale).factor, not any(a.headline for a in answers)
            expected = [factor * a.headline.estimate for a in answers if a.headline]
            # A regression coefficient has a mark, and so has an average that no test of agreement has.
            marked = row.label + {"TWFE": "†", "Fixed": "‡"}.get(row.label, "")
            assert refused or cells(beside["sim1"], panel)[marked] == pytest.approx(expected)
            mdes = [[factor * a.headline.estimate, factor * a.power.effect] for a in answers if a.headline]
            shown = [cells(alone[label], panel)[marked] for label in ("sim1", "sim2")]
            assert refused or shown == [pytest.approx(own) for own in mdes]
        own = [cells(alone[label], panel) for label in ("sim1", "sim2")]
        for test in ("Randomization p-value", "Averages agree, p-value"):
            assert cells(beside["sim1"], panel)[test] == [each[test][0] for each in own]
    treated = [setting.results[label, "log1p", "count", "CS"] for label in ("sim1", "sim2")]
    assert beside["sim1"].lines[-1].cells == [f"{r.n_treated} of {r.n_units}" for r in treated]
    powers = [
        value
        for label in ("sim1", "sim2")
        for row in setting.plan.rows
        if (result := setting.results[label, "log1p", "count", row.label]).headline
        for value in (result.power.units, result.power.percent)
    ]
    panels = [cells(beside["sim1-power"], panel) for panel in (1, 3)]
    drawn = [value for panel in panels for own in panel.values() for value in own if np.isfinite(value)]
    assert drawn == pytest.approx(powers)


def test_more_outcomes_than_a_page_is_wide_are_on_several_tables(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhibit, "drawn", lambda *_: b"")
    monkeypatch.setattr(
        "study.paper.exhibits.designs.agreement", lambda *_: agreement({}, setting.panel, 9, 0)
    )
    names = {f"count{k}": f"Count {k}" for k in range(5)}
    results = {
        (event, scale, name, label): replace(result, task=replace(result.task, outcome=name))
        for name in names
        for (event, scale, _, label), result in setting.results.items()
    }
    panel = replace(setting.panel, outcomes=dict.fromkeys(names, setting.panel.outcomes["count"]))
    many = replace(setting, plan=replace(setting.plan, outcomes=names), panel=panel, results=results)
    first, second, *later = designs(many).tables
    assert [t.name for t in (first, second, *later)] == ["sim1-1", "sim1-2", "sim2-1", "sim2-2"]
    assert [title for title, _ in (*first.spans, *second.spans)] == [*names.values()]
    assert first.caption.endswith(" (outcomes 1 to 4 of 5)")
    assert second.caption.endswith(" (outcome 5 of 5)")


def test_where_the_headline_refuses_there_is_no_figure_of_its_path_and_the_tables_stand(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhibit, "drawn", lambda *_: b"")
    refused = {"path": (), "headline": None, "joint": None, "vcov": ""}
    answers = {
        key: replace(result, **refused) if key[1] == "log1p" else result
        for key, result in setting.results.items()
    }
    made = designs(replace(setting, results=answers))
    scales = [name for name in setting.plan.scales if name != "log1p"]
    events = [event.label for event in setting.plan.events]
    assert [figure.name for figure in made.figures] == [f"{e}_{s}" for e in events for s in scales]
    assert made.tables
    assert "()" not in setting.errors(result for key, result in answers.items() if key[1] == "log1p")


def test_tests_that_designs_agree_rest_on_answers_and_are_those_of_the_estimates(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, panel = setting.plan, setting.panel
    rows = [row for row in plan.rows if row.design.estimand.has_path]
    for event, scale in product(plan.events, plan.scales):
        estimated = comparison(plan, panel, event, scale, ["count"], rows).agreement["count"]
        answers = {row.label: setting.results[event.label, scale, "count", row.label] for row in rows}
        test = agreement(answers, panel, plan.band_draws, plan.seed)
        assert len(test.labels) > 1
        assert (test.labels, test.sup_t, test.wald) == (estimated.labels, estimated.sup_t, estimated.wald)
        for numbers in ("difference", "std_error", "p_adjusted"):
            np.testing.assert_array_equal(getattr(test, numbers), getattr(estimated, numbers))

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("an exhibit of answers asks a design")

    monkeypatch.setattr(exhibit, "drawn", lambda *_: b"")
    monkeypatch.setattr(Design, "__call__", asked)
    shown = designs(setting)
    assert shown.tables
    assert shown.figures
    assert all(f"pointwise intervals at {100 * plan.level:g}%" in figure.caption for figure in shown.figures)

    monkeypatch.setattr("study.paper.exhibits.designs.agreement", lambda *_: agreement({}, panel, 99, 0))
    of_tests = [n.source.quantity for n in designs(setting).numbers if n.address.endswith("agree_p")]
    assert set(of_tests) == {"sup-t p-value, that the averages of designs agree"}


def test_answers_of_equal_designs_are_equal_also_where_they_leave_units_out_in_other_ways(
    setting: Setting,
) -> None:
    task, names = setting.task("level"), ("callaway_santanna", "dcdh")
    rows = {name: replace(task.row, name=name, options={}) for name in names}
    question = task.question.replace(covariates=())
    answers = {
        name: answer(replace(task, row=row, question=question, permutations=0), setting.panel)
        for name, row in rows.items()
    }
    assert len({result.headline.std_error for result in answers.values() if result.headline}) == 2
    assert agreement(answers, setting.panel, 99, 0).equal == (names,)


def test_errors_that_are_no_sum_over_units_are_in_no_test_that_answers_agree(setting: Setting) -> None:
    task = setting.task("level")
    of_placebos = replace(task.row, name="synthetic_did", options={"inference": "placebo", "replications": 5})
    kept = np.arange(setting.panel.n_units) % 8 == 0
    dates = {name: np.where(kept, first, np.nan) for name, first in setting.panel.first_treated.items()}
    panel = replace(setting.panel, first_treated=dates)
    result = answer(replace(task, row=of_placebos, permutations=0), panel)
    assert result.headline is not None, result.notes
    assert result.joint is None
    assert agreement({"one": result, "other": result}, panel, 99, 0).labels == ()


def test_known_is_the_plan_s_record(setting: Setting) -> None:
    (table,) = known(setting).tables
    (block,) = table.blocks
    assert [line.label for line in block.lines] == ["First", "Later dates"]
    assert block.lines[1].cells == [
        "2026-11-27",
        "The estimates of the first.",
        "The first was a year early.",
    ]


def test_further_questions_have_their_own_design_event_and_panel(setting: Setting) -> None:
    made = further(setting)
    (table,) = made.tables
    own = study.Question("count", "later", scale="log1p", average="event_average", horizon=1)
    other = study.Question("count", "first_treated", scale="log1p", average="event_average", horizon=3)
    fits = [
        study.estimate(setting.panel, own, "imputation").headline,
        study.estimate(setting.further["Another panel"], other, "dcdh", normalized=True).headline,
    ]
    assert table.headings[-2:] == ["MDE", "df"]
    shown = cells(table, 1)
    for label, fit in zip(("Another design", "Another panel"), fits, strict=True):
        assert shown[label][2] == pytest.approx(fit.effect[0], rel=1e-12)
        address = f"further/{label.lower().replace(' ', '_')}/count/log1p/estimate"
        (number,) = [each for each in made.numbers if each.address == address]
        assert number.source.design.endswith(f"({fit.design})")
        assert number.source.checksum == fit.sample.panel_checksum
    assert shown["Refused further"] == []
    assert table.notes[-1] == "– : refused."
    assert any("the question has no dose" in sentence for sentence in made.sentences)
    assert "Another design: the later event by another design." in made.sentences
    assert "of 2 intervals by further question exclude zero" in made.sentences[0]


@pytest.mark.parametrize(
    ("n", "said"),
    [(1, "1 of 3 intervals by line excludes zero (0)."), (0, "0 of 3 intervals by line exclude zero.")],
)
def test_one_interval_excludes_zero_and_none_exclude_it(n: int, said: str) -> None:
    effects: Any = {f"{k}": SimpleNamespace(exists=True, excludes_zero=k < n) for k in range(3)}
    assert list(exhibit.excluding_zero({"Levels": effects}, "line")) == [f"Levels: {said}"]


def test_tables_are_whole_in_every_format(
    composed: Exhibited, by_design: Exhibited, setting: Setting
) -> None:
    for table in (*composed.tables, *by_design.tables, *known(setting).tables):
        assert table.notes
        for kind in ("latex", "html", "md"):
            assert b"nan" not in table.formatted(kind).lower()


def test_where_no_cohort_is_seen_for_long_enough_the_row_is_refused_and_the_others_stand(
    setting: Setting,
) -> None:
    first = setting.panel.first_treated["first_treated"]
    late = np.where(first < 10, np.nan, first)
    panel = replace(setting.panel, first_treated={"first_treated": late, "later": late})
    made = composition(replace(setting, panel=panel))
    table, *_, by_design = made.tables
    assert "All cohorts" in cells(by_design, 0)
    assert "6-12: as all cohorts." in by_design.notes
    assert any(sentence.startswith("CS-x1, balanced: ") for sentence in made.sentences)
    assert "All cohorts" in cells(table, 1)
    assert "Seen up to event time 3" not in cells(table, 1)
    assert any("no cohort has an effect at every event time from 0 to 3" in s for s in made.sentences)


def test_the_ends_of_averages_are_those_of_designs_with_and_without_covariates(setting: Setting) -> None:
    numbers = {n.address: n.value for n in answer_numbers(setting)}
    answers = {label: setting.results["sim1", "log1p", "count", label].headline for label in LABELS}
    effect = {label: answer.estimate for label, answer in answers.items() if answer}
    at = "sim1/count/log1p/designs"
    without = [effect[label] for label in ("CS", "ES", "Fixed")]
    assert numbers[f"{at}/with_covariates_smallest"] == numbers[f"{at}/with_covariates_largest"]
    assert numbers[f"{at}/with_covariates_largest"] == f"{effect['CS-x1']:.3f}"
    assert numbers[f"{at}/without_covariates_smallest"] == f"{min(without):.3f}"
    assert numbers[f"{at}/without_covariates_largest"] == f"{max(without):.3f}"


def test_families_have_their_tests_beside_each_other_by_scale(setting: Setting) -> None:
    first, second = setting.plan.events
    few = {key: replace(r, n_treated=2) if key[0] == "sim2" else r for key, r in setting.results.items()}
    plan = replace(setting.plan, events=(first,), families=(replace(second, group="A"),))
    made = families(replace(setting, plan=plan, results=few))
    names = ["families", "families-log1p", "families-tests", "families-dates"]
    assert [table.name for table in made.tables] == names
    answers = [few["sim2", scale, "count", "CS"] for scale in plan.scales]
    expected = [
        value
        for scale, a in zip(plan.scales, answers, strict=True)
        for value in (
            a.randomization.p_value if a.randomization else np.nan,
            a.pre_test.p_value,
            a.pre_test.p_largest,
            Scale(scale).factor * a.power.effect,
        )
    ]
    assert cells(made.tables[2], 0)["Later"] == pytest.approx(expected)
    assert not re.search("compute|machine|could have", " ".join(str(table) for table in made.tables))
    assert answers[0].headline
    assert answers[0].headline.excludes_zero
    assert made.sentences[0].endswith("Not to be read, with fewer than 5 treated: Later.")
    numbers = {number.address: number.value for number in made.numbers}
    assert numbers["families/summary/excluding_zero_few"] == "1"


def test_numbers_are_below_their_exhibit_unless_their_source_names_another(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhibit, "REGISTERED", {})

    @exhibit.exhibit("Own", exhibit.Part.QUESTION)
    def own(setting: Setting) -> Iterator[exhibit.Piece]:
        columns = {"count": exhibit.Column("a count")}
        yield from setting.numbers("row", {"count": 1}, columns)
        yield from setting.numbers(("main", "row"), {"count": 2}, columns, exhibit="designs")

    named = {number.address: number.source.exhibit for number in own(setting).numbers}
    assert named == {"own/row/count": "own", "main/row/count": "designs"}
