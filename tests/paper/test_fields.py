"""Fields: exact tests against enumeration by hand, contrasts against regressions, what the exhibit promises."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
from drawings import drawn_as
from paper_inputs import paper_plan

from study import Panel, Question, QuestionError, estimate, load_panel
from study.core import from_toml
from study.paper.exhibits.exhibit import Exhibited, Setting
from study.paper.exhibits.fields import fields, interval_text
from study.paper.fields import (
    FieldsPlan,
    Line,
    answer,
    assignments,
    cells_of,
    detectable,
    linear_set,
    outcomes_of,
    p_value,
    power,
    regression_contrasts,
    searched_set,
    synthetic_contrasts,
    synthetic_units,
)
from study.paper.plan import PlanFile

pytestmark = pytest.mark.usefixtures("fonts_that_take_no_time")
STUDY = paper_plan()
PLAN = STUDY.fields
PANELS = {name: load_panel(name) for name in ("fields", "areas")}
REGRESSIONS = [line for line in PLAN.lines if line.method == "regression"]
MAIN, OUTCOME = next(line for line in PLAN.lines if line.label == PLAN.main), "share_academic_only"


def line(label: str) -> Line:
    return next(line for line in PLAN.lines if line.label == label)


def test_the_main_line_is_the_test_that_flips_the_sign_of_each_venues_change() -> None:
    panel, by_hand, weight = PANELS["fields"], [], []
    made = answer(panel, MAIN, OUTCOME, PLAN)
    venue, heavy = panel.attributes["venue"], panel.attributes["topic"] == "compute_heavy"
    papers, share = panel.outcomes["papers"], panel.outcomes[OUTCOME]
    after = panel.periods > 2013
    for name in np.unique(made.cells.venues):
        a, b = np.flatnonzero((venue == name) & heavy)[0], np.flatnonzero((venue == name) & ~heavy)[0]
        seen = (papers[a] > 0) & (papers[b] > 0) & (panel.covariates["coverage"][a] >= 0.5)
        gap, w = share[a] - share[b], papers[a] * papers[b] / (papers[a] + papers[b])
        level = {k: np.average(gap[seen & k_], weights=w[seen & k_]) for k, k_ in ((0, ~after), (1, after))}
        sums = [w[seen & k].sum() for k in (~after, after)]
        by_hand.append(100 * (level[1] - level[0]))
        weight.append(sums[0] * sums[1] / (sums[0] + sums[1]))
    change, weight = np.array(by_hand), np.array(weight) / np.sum(weight)
    signed = [np.dot(np.array(s) * weight, change) for s in product((1, -1), repeat=len(change))]
    assert made.estimate == pytest.approx(weight @ change, rel=1e-9)
    assert sorted(made.estimates) == pytest.approx(sorted(signed), abs=1e-8)
    assert made.p_value == np.mean(np.abs(signed) >= abs(weight @ change) - 1e-9)
    kept = made.weight > 0
    assert made.weight[kept] == pytest.approx(weight, rel=1e-9)


@pytest.mark.parametrize("asked", REGRESSIONS, ids=lambda asked: asked.label)
def test_a_contrast_is_the_coefficient_of_a_weighted_regression_with_dummies(asked: Line) -> None:
    panel = PANELS[asked.panel]
    cells = cells_of(panel, asked, PLAN)
    permuted = assignments(cells, asked.permuted)[:3]
    y = outcomes_of(panel, cells, OUTCOME)
    contrasts = regression_contrasts(cells, permuted)
    field, year = np.nonzero(cells.used)
    labels = [f"{cells.venues[i]} {t}" for i, t in zip(field, year, strict=True)]
    venue_year = np.unique(labels, return_inverse=True)[1]
    dummies = np.hstack([np.eye(len(cells.fields))[field], np.eye(venue_year.max() + 1)[venue_year]])
    root = np.sqrt(cells.papers[cells.used])
    for contrast, assigned in zip(contrasts, permuted, strict=True):
        x = np.column_stack([assigned[field] * cells.after[cells.used], dummies])
        coefficient = np.linalg.lstsq(x * root[:, None], y[cells.used] * root, rcond=None)[0][0]
        assert np.sum(contrast * y) == pytest.approx(coefficient, abs=1e-7)


@pytest.mark.parametrize("label", ["topics_synthetic_did", "areas_synthetic_control"])
def test_a_synthetic_line_is_the_design_on_its_block(label: str) -> None:
    asked = line(label)
    cells = cells_of(PANELS[asked.panel], asked, PLAN)
    y = outcomes_of(PANELS[asked.panel], cells, OUTCOME)
    block = Panel(
        name="block",
        units=cells.fields,
        periods=np.arange(len(cells.years)),
        outcomes={"y": y},
        covariates={},
        first_treated={"event": np.where(cells.assigned > 0, float((~cells.after[0]).sum()), np.nan)},
        treatment={},
        attributes={},
    )
    design = estimate(block, Question("y", "event"), "synthetic_did", method=asked.method)
    permuted = cells.assigned[None]
    units = synthetic_units(cells, y, permuted, asked.method)
    (contrast,) = synthetic_contrasts(cells, y, permuted, units, asked.method)
    assert np.sum(contrast * y) == pytest.approx(design.headline.effect[0], rel=1e-9)


def test_there_are_as_many_assignments_as_the_plan_says_and_the_actual_one_is_first() -> None:
    counts = {}
    for asked in PLAN.lines:
        cells = cells_of(PANELS[asked.panel], asked, PLAN)
        permuted = assignments(cells, asked.permuted)
        assert (permuted[0] == cells.assigned).all()
        assert len(np.unique(permuted, axis=0)) == len(permuted)
        assert (np.sort(permuted, axis=1).sum(axis=1) > 0).all()
        counts[asked.label] = len(permuted)
    assert counts["topics"] == 2**7
    assert counts["topics_before_shock"] == 2**4
    assert counts["topics_synthetic_did"] == 70
    assert counts["areas_synthetic_did"] == 220
    assert counts["areas"] == 28
    assert counts["dose"] == 24


def test_an_area_is_named_at_all_its_venues_together() -> None:
    cells = cells_of(PANELS["areas"], line("areas"), PLAN)
    for permuted in assignments(cells, "areas"):
        assert len({(kind, d) for kind, d in zip(cells.kinds, permuted, strict=True)}) == len(
            set(cells.kinds)
        )


def test_base_years_end_in_2013_or_before_the_events_own_date() -> None:
    wide = cells_of(PANELS["fields"], MAIN, PLAN)
    narrow = cells_of(PANELS["fields"], line("topics_before_shock"), PLAN)
    assert wide.years[wide.after[0]].min() == 2014
    first = {v: narrow.years[row].min() for v, row in zip(narrow.venues, narrow.after, strict=True)}
    assert first == {"aistats": 2014, "icra": 2014, "iros": 2013, "nips": 2013}


def test_papers_before_the_event_are_fewer_than_those_in_base_years() -> None:
    """Papers of 2013 could respond to the event of October 2012 but count as base years."""
    panel, counts = PANELS["fields"], answer(PANELS["fields"], MAIN, OUTCOME, PLAN).counts
    heavy = panel.attributes["topic"] == "compute_heavy"
    papers = np.where(panel.covariates["coverage"] >= 0.5, np.nan_to_num(panel.outcomes["papers"]), 0)[heavy]
    kept = np.isin(panel.attributes["venue"][heavy], cells_of(panel, MAIN, PLAN).venues)
    before = papers[kept][:, panel.periods <= 2012].sum(axis=1)
    assert (counts["event_year"], counts["base_end"]) == (2012, 2013)
    assert counts["papers_before_event"] == before.sum() == 104
    assert counts["papers_before"] == papers[kept][:, panel.periods <= 2013].sum() == 154
    assert counts["n_late"] == (before == 0).sum() == 3  # CVPR, ICCV and ICML are known from 2013 on


def test_a_dose_is_the_mean_of_the_years_after_the_base_that_are_known() -> None:
    cells, panel = cells_of(PANELS["areas"], line("dose"), PLAN), PANELS["areas"]
    row = int(np.flatnonzero(panel.units == cells.fields[0])[0])
    growth = panel.covariates["compute_growth"][row][panel.periods > 2013]
    assert cells.assigned[0] == pytest.approx(np.nanmean(growth))
    assert set(cells.kinds) == {"language", "reinforcement learning", "speech", "vision"}


@pytest.mark.parametrize("seed", range(4))
def test_a_confidence_set_is_the_effects_that_a_grid_does_not_reject(seed: int) -> None:
    rng = np.random.default_rng(seed)
    actual, slope = rng.normal(size=60), rng.uniform(-1, 1, size=60)
    actual[0], slope[0] = 2.0, 1.0
    found = linear_set(actual, slope, 0.9)
    grid = np.linspace(-8, 8, 4001)
    kept = grid[p_value(actual[:, None] - slope[:, None] * grid) > 0.1]
    assert max(found.low, -8) == pytest.approx(kept.min(), abs=0.005)
    assert min(found.high, 8) == pytest.approx(kept.max(), abs=0.005)
    if found.connected:
        assert np.allclose(np.diff(kept), 0.004)


@pytest.mark.parametrize(
    "asked", [MAIN, line("areas"), line("topics_synthetic_control")], ids=lambda a: a.label
)
def test_effects_inside_the_set_survive_in_data_freed_of_them_and_effects_outside_do_not(asked: Line) -> None:
    panel = PANELS[asked.panel]
    made = answer(panel, asked, OUTCOME, PLAN)
    cells = made.cells
    rows, columns = np.searchsorted(panel.units, cells.fields), np.searchsorted(panel.periods, cells.years)
    for tau, survives in (
        (made.interval.low + 0.1, True),
        (made.interval.high - 0.1, True),
        (made.interval.low - 0.1, False),
        (made.interval.high + 0.1, False),
    ):
        freed = panel.outcomes[OUTCOME].copy()
        freed[np.ix_(rows, columns)] -= tau / 100 * cells.treatment(cells.assigned)
        again = answer(replace(panel, outcomes={**panel.outcomes, OUTCOME: freed}), asked, OUTCOME, PLAN)
        assert (again.p_value > 0.05) == survives


def test_weights_of_periods_are_those_of_outcomes_freed_of_the_effect_that_is_tried() -> None:
    asked = line("topics_synthetic_did")
    made = answer(PANELS[asked.panel], asked, OUTCOME, PLAN)
    cells, permuted = made.cells, assignments(made.cells, asked.permuted)
    y = outcomes_of(PANELS[asked.panel], cells, OUTCOME)
    for end, inwards in ((made.interval.low, 1), (made.interval.high, -1)):
        for tau, survives in ((end + 0.02 * inwards, True), (end - 0.02 * inwards, False)):
            freed = y - tau * cells.treatment(cells.assigned)
            units = synthetic_units(cells, freed, permuted, asked.method)
            contrasts = synthetic_contrasts(cells, freed, permuted, units, asked.method)
            assert (p_value(np.einsum("ant,nt->a", contrasts, freed)) > 0.05) == survives


def test_a_searched_set_is_the_exact_one_where_both_can_be_had() -> None:
    rng = np.random.default_rng(7)
    actual, slope = rng.normal(size=50), rng.uniform(-0.3, 0.3, size=50)
    actual[0], slope[0] = 3.0, 1.0
    exact = linear_set(actual, slope, 0.95)
    searched = searched_set(lambda tau: actual - tau * slope, 3.0, 0.95)
    assert exact.connected
    assert searched.low == pytest.approx(exact.low, abs=0.02)
    assert searched.high == pytest.approx(exact.high, abs=0.02)


def test_under_the_sharp_null_no_more_assignments_than_five_in_a_hundred_reject() -> None:
    for asked in REGRESSIONS:
        cells = cells_of(PANELS[asked.panel], asked, PLAN)
        permuted = assignments(cells, asked.permuted)
        contrasts = regression_contrasts(cells, permuted).reshape(len(permuted), -1)
        y = np.random.default_rng(1).normal(size=cells.papers.size)
        assert (
            power(contrasts @ y, contrasts @ cells.treatment(permuted).reshape(len(permuted), -1).T, 0.0)
            <= 0.05
        )


def test_the_detectable_effect_is_found_in_four_of_five_assignments_and_half_of_it_is_not() -> None:
    made = answer(PANELS["fields"], MAIN, OUTCOME, PLAN)
    cells, permuted = made.cells, assignments(made.cells, MAIN.permuted)
    y = outcomes_of(PANELS["fields"], cells, OUTCOME) - made.estimate * cells.treatment(cells.assigned)
    contrasts = regression_contrasts(cells, permuted)
    rejected = {}
    for effect in (made.detectable, made.detectable / 2):
        found = []
        for way, sign in product(range(len(permuted)), (1, -1)):
            treated = y + sign * effect * cells.treatment(permuted[way])
            estimates = np.einsum("ant,nt->a", contrasts, treated)
            found.append(np.mean(np.abs(estimates) >= abs(estimates[way]) - 1e-9) <= 0.05)
        rejected[effect] = np.mean(found)
    assert rejected[made.detectable] >= 0.8
    assert rejected[made.detectable / 2] < 0.8


def test_too_few_assignments_have_no_detectable_effect_and_no_end_of_the_set() -> None:
    made = answer(PANELS["fields"], line("topics_before_shock"), OUTCOME, PLAN)
    assert made.counts["smallest_p"] == 0.125
    assert np.isnan(made.detectable)
    assert interval_text(made.interval) == "all values"
    assert np.isnan(detectable(np.array([1.0, -1.0]), np.array([[1.0, -1.0], [-1.0, 1.0]])))


def test_venues_that_have_no_papers_in_a_year_are_missing_and_not_zero() -> None:
    cells = cells_of(PANELS["fields"], MAIN, PLAN)
    cvpr = np.flatnonzero(cells.venues == "cvpr")
    assert not cells.used[cvpr][:, cells.years < 2013].any()
    assert (regression_contrasts(cells, cells.assigned[None])[0][~cells.used] == 0).all()


def fields_exhibit(plan: FieldsPlan) -> Exhibited:
    return fields(Setting(replace(STUDY, fields=plan), PANELS["fields"], {}))


SHORT = replace(PLAN, lines=tuple(x for x in PLAN.lines if not x.label.endswith("synthetic_did")))


def test_the_exhibit_has_what_it_promises_and_the_same_bytes_twice() -> None:
    with drawn_as("pdf"):
        first, again = fields_exhibit(SHORT), fields_exhibit(SHORT)
    assert [table.name for table in first.tables] == ["fields", "fields-kinds", "fields_units"]
    assert [figure.name for figure in first.figures] == ["fields_shares", "fields_randomization"]
    addresses = [number.address for number in first.numbers]
    assert len(set(addresses)) == len(addresses)
    assert all(re.fullmatch("fields/[a-z0-9_/]+", address) for address in addresses)
    assert all(number.source.checksum and number.source.quantity for number in first.numbers)
    assert first.figures == again.figures
    assert [table.latex() for table in first.tables] == [table.latex() for table in again.tables]
    numbers = {number.address: number.value for number in first.numbers}
    shown = {x.label: x.cells for x in first.tables[0].blocks[0].lines}[MAIN.title]
    assert numbers["fields/topics/academic_only/estimate"] == shown[0].text.replace("-", "\N{MINUS SIGN}")
    assert numbers["fields/topics/academic_only/p_value"] == shown[1].text
    assert numbers["fields/topics_before_shock/academic_only/conf_low"] == "(unbounded)"
    assert numbers["fields/topics_before_shock/academic_only/mde"] == "(none)"
    assert numbers["fields/topics/academic_only/size"] in first.sentences[0]
    units = first.tables[2]
    coverage = [line.cells[units.headings.index("Coverage, %")] for line in units.lines]
    assert all(40 <= int(end) <= 100 for cell in coverage for end in cell.split("-"))
    assert [numbers[f"fields/recall/{name}"] for name in ("title", "deep")] == ["70.0", "47.1"]
    panels = [[line.label for line in block.lines] for table in first.tables[:2] for block in table.blocks]
    assert panels == [[line.title for line in SHORT.lines]] * len(SHORT.outcomes)
    assert all(sentence.endswith(".") for sentence in first.sentences)


def test_the_verdict_is_no_change_where_the_main_line_does_not_reject() -> None:
    other = replace(SHORT, main="areas", lines=tuple(x for x in SHORT.lines if x.method == "regression"))
    with drawn_as():  # as above
        sentence, least, *_ = fields_exhibit(other).sentences
    assert sentence.startswith("No change is significant")
    assert "minimum detectable effect is" in least
    assert "compute did it" not in sentence


def content() -> dict[str, object]:
    import tomllib

    from study.panel import shipped

    return tomllib.loads(shipped("paper", "study.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("coverage"), "the key 'coverage' is missing"),
        (lambda c: c.update(colour="red"), 'no key "colour"'),
        (lambda c: c.update(main="topic"), 'no line "topic".*Did you mean "topics'),
        (lambda c: c.update(lines=[]), r"lines is \[\]; it must be a list with one entry or more"),
        (lambda c: c.update(level=95), "level is 95; it must be a number between 0 and 1"),
        (lambda c: c["lines"][0].update(method="regresion"), 'no method "regresion".*"regression"'),
        (lambda c: c["lines"][0].update(permuted="any_fields"), 'does not go with permuted "any_fields"'),
        (lambda c: c["lines"][2].pop("years"), "needs years and last_before"),
        (lambda c: c["lines"][1].update(label="topics"), "two lines have the same label"),
        (lambda c: c["lines"][1].pop("title"), r"\[\[fields.lines\]\] number 2: the key 'title' is missing"),
        (lambda c: c["lines"][2].update(years="2013"), "years is '2013'; it must be a list"),
        (lambda c: c.update(papers="many"), "papers is 'many'; it must be a whole number, 1 or more"),
    ],
)
def test_a_plan_with_an_error_is_refused_in_one_line(change, said: str) -> None:
    changed = content()
    change(changed["fields"])
    with pytest.raises(QuestionError, match=said) as refused:
        from_toml(PlanFile, changed, "study.toml")
    assert re.match(r"study\.toml, (\[fields\]|\[\[fields\.lines\]\] number \d): ", str(refused.value))
    assert "\n" not in str(refused.value)


def test_what_the_data_cannot_answer_is_refused_in_one_line() -> None:
    with pytest.raises(
        QuestionError, match="no treated and other field with 999999 papers or more is left in fields"
    ):
        cells_of(PANELS["fields"], replace(MAIN, papers=999_999), PLAN)
    wide = replace(line("areas_synthetic_did"), papers=1, years=(2013, 2014))
    with pytest.raises(QuestionError, match=r"assignments .* more than 5,000"):
        assignments(cells_of(PANELS["areas"], wide, PLAN), "any_fields")


def small(treated: str, **areas: str) -> Panel:
    """Return a panel of areas, one a letter, at venues by name."""
    rng = np.random.default_rng(0)
    rows = [
        (f"{venue}, {area}", venue, area, year, 50, rng.random(), 1.0, 2013 if area in treated else np.nan)
        for venue, letters in areas.items()
        for area, year in product(letters, range(2008, 2018))
    ]
    names = ["field", "venue", "area", "year", "papers", OUTCOME, "coverage", "gpu_shock"]
    return Panel.from_long(
        pd.DataFrame(rows, columns=names), unit="field", time="year", first_treated=["gpu_shock"],
        outcomes=["papers", OUTCOME], covariates=["coverage"], attributes=["venue", "area"],
    )  # fmt: skip


def test_assignments_without_an_estimate_are_refused_and_no_small_p_value() -> None:
    # To treat both areas of one venue, and none of the other, compares nothing.
    with pytest.raises(QuestionError, match="2 of 6 assignments have no estimate"):
        answer(small("ac", V="ab", W="cd"), line("areas"), OUTCOME, PLAN)


@pytest.mark.parametrize(("letters", "smallest"), [("ab", 2 / 4), ("abe", 1 / 9)])
def test_the_smallest_p_value_counts_mirror_images_where_there_are_some(
    letters: str, smallest: float
) -> None:
    panel = small("ac", V=letters, W=letters.translate(str.maketrans("abe", "cdf")))
    assert answer(panel, MAIN, OUTCOME, PLAN).counts["smallest_p"] == pytest.approx(smallest)


def test_the_papers_plan_is_read_whole() -> None:
    assert isinstance(PLAN, FieldsPlan)
    assert len(PLAN.lines) == len(content()["fields"]["lines"])
    assert next(iter(PLAN.outcomes)) == OUTCOME
