"""Spillovers are found where they are, and exposed and unexposed comparison units are who they should be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import searching
import simulated
from simulated import PERIODS

from study import Panel, Question, QuestionError, estimate
from study.diagnostics.spillovers import EARTH_RADIUS_KM, by_distance, by_label, spillovers
from study.panel.question import Sample

QUESTION = Question("y", "event", comparison="never_treated", average="event_average", horizon=2)
DESIGN = "callaway_santanna"


def regions(n: int = 400, seed: int = 0, spill: float = 0.0, dates: tuple[int, int] = (4, 6)) -> Panel:
    """Return a panel of 40 regions, in half of which three units in ten are treated, all in one period of two.

    The effect is 1, and untreated units of those regions change by ``spill`` after the first event there.
    """
    rng = np.random.default_rng(seed)
    region = np.arange(n) % 40
    date = np.where(region < 20, np.array(dates, dtype=float)[region % 2], np.nan)
    first = np.where(rng.random(n) < 0.3, date, np.nan)
    near = np.isnan(first) & (region < 20)
    y = rng.normal(size=(n, 1)) + 0.3 * PERIODS + rng.normal(size=(n, len(PERIODS)))
    y += (first[:, None] <= PERIODS) * 1.0 + (near[:, None] & (date[:, None] <= PERIODS)) * spill
    return replace(
        simulated.panel(n=n),
        outcomes={"y": y},
        first_treated={"event": first},
        covariates={},
        attributes={"region": np.array([f"r{k:02d}" for k in region])},
    )


def unexposed(exposure: dict[str, np.ndarray]) -> np.ndarray:
    """Return the units beyond all rings."""
    return np.all([np.isnan(dates) for dates in exposure.values()], axis=0)


def test_no_lag_moves_a_neighbour_that_was_treated_before_the_panel_into_it() -> None:
    panel = regions()
    first = panel.first_treated["event"].copy()
    first[first == 4] = 0.0  # one period before the panel
    early = replace(panel, first_treated={"event": first})
    plain, moved = (
        by_label(QUESTION.replace(lag=lag).sample(early), "region")["in the same region"] for lag in (0, 2)
    )
    assert set(plain[~np.isnan(plain)]) == {0.0, 6.0}
    np.testing.assert_array_equal(moved, np.where(plain == 6, 8.0, plain))


def test_the_spillover_and_the_effect_are_recovered() -> None:
    found = spillovers(QUESTION.sample(regions(2000, spill=0.6, dates=(5, 5))), DESIGN, by="region")
    far, near = found["comparisons"]
    (neighbours,), (difference,) = found["neighbours"], found["differences"]
    assert far.label == "unexposed units only"
    for row, truth in ((far, 1.0), (near, 0.4), (neighbours, 0.6), (difference, 0.6)):
        assert abs(row.estimate - truth) < 4 * row.std_error
        assert row.std_error < 0.1
    assert found["full_sample"].conf_high < 1.0
    assert found.against
    assert "neighbours in the same region" in found.objection
    assert any(s.startswith("At a familywise error of 5% these differ from zero: ") for s in found.sentences)


def test_whether_there_are_spillovers_does_not_depend_on_the_coverage_of_the_intervals() -> None:
    sample = QUESTION.sample(regions(200, 5))
    found = [spillovers(sample, DESIGN, by="region", level=level) for level in (0.3, 0.95)]
    tests = [(*each["differences"], *each["neighbours"]) for each in found]
    assert any(row.excludes_zero for row in tests[0])
    assert not any(row.excludes_zero for row in tests[1])
    assert [each.against for each in found] == [False, False]


def test_one_of_several_tests_that_rejects_alone_is_no_objection_at_their_familywise_error() -> None:
    found = spillovers(QUESTION.sample(regions(200, 32)), DESIGN, by="region")
    p_values = [row.p_value for row in (*found["differences"], *found["neighbours"])]
    assert 0.05 / len(p_values) < min(p_values) < 0.05
    assert found.against is False
    assert found.verdict.endswith("is different from zero at the 5% level (Holm).")


@pytest.mark.search
def test_without_spillovers_nothing_is_seen_at_the_nominal_rate() -> None:
    seen, panels = np.zeros(2), searching.samples(100, 150)
    for seed in range(panels):
        found = spillovers(QUESTION.sample(regions(200, seed)), DESIGN, by="region")
        seen += [found["differences"][0].excludes_zero, found["neighbours"][0].excludes_zero]
        if not any(found[name][0].excludes_zero for name in ("differences", "neighbours")):
            assert found.sentences[0].endswith("is different from zero at the 5% level.")
    assert np.all(seen / panels >= 0.01)
    assert np.all(seen / panels <= 0.13)


def test_the_headline_is_the_average_over_far_and_near_comparison_units() -> None:
    found = spillovers(QUESTION.sample(regions(300, 1)), DESIGN, by="region")
    sizes = np.array([found["counts"]["unexposed"], found["counts"]["in the same region"]])
    full, estimates = found["full_sample"], [row.estimate for row in found["comparisons"]]
    assert full.estimate == pytest.approx(np.average(estimates, weights=sizes), rel=1e-10)
    assert sizes.sum() == full.n_units - full.n_treated


def one_cohort(n: int = 240) -> tuple[Sample, np.ndarray, np.ndarray, np.ndarray]:
    """Return a sample with one cohort, each unit's part in the headline, and who is near and far."""
    made = regions(n, 2)
    first = np.where(np.isnan(made.first_treated["event"]), np.nan, 4.0)
    sample = QUESTION.sample(replace(made, first_treated={"event": first}))
    part = sample.y[:, 3:6].mean(axis=1) - sample.y[:, 2]
    with_treated = np.unique(made.attributes["region"][first == 4])
    near = np.isnan(first) & np.isin(made.attributes["region"], with_treated)
    return sample, part, near, np.isnan(first) & ~near


def test_the_difference_and_its_error_are_those_of_two_means() -> None:
    sample, part, near, far = one_cohort()
    labels = sample.attributes["region"]
    found = spillovers(sample, DESIGN, by="region")["differences"][0]
    assert found.estimate == pytest.approx(part[near].mean() - part[far].mean(), rel=1e-9)
    square = 0.0
    for which in (near, far):
        for region in np.unique(labels[which]):
            without = part[which & (labels != region)].mean()
            square += (without - part[which].mean()) ** 2
    assert found.std_error == pytest.approx(np.sqrt(square), rel=1e-9)


def test_with_coordinates_the_error_of_the_difference_is_by_unit() -> None:
    sample, part, near, far = one_cohort()
    place = np.column_stack([np.zeros(240), 4.0 * (np.arange(240) % 40)])
    found = spillovers(sample, DESIGN, by=place, rings=(1.0,))["differences"][0]
    square = sum(part[which].var() / (which.sum() - 1) ** 2 * which.sum() for which in (near, far))
    assert found.std_error == pytest.approx(np.sqrt(square), rel=1e-9)


def test_the_effect_on_neighbours_is_the_answer_to_its_own_question() -> None:
    made = regions(300, 3, spill=0.5)
    found = spillovers(QUESTION.sample(made), DESIGN, by="region")["neighbours"][0]
    first, region = made.first_treated["event"], made.attributes["region"]
    exposed = np.array([np.nanmin([np.inf, *first[region == r]]) for r in region])
    untreated = np.isnan(first)
    asked = replace(made, first_treated={"event": np.where(np.isfinite(exposed), exposed, np.nan)})
    expected = estimate(
        simulated.subset(asked, untreated), QUESTION.replace(cluster="region"), DESIGN
    ).headline
    assert found.estimate == pytest.approx(expected.effect[0], rel=1e-10)
    assert found.std_error == pytest.approx(expected.std_error[0], rel=1e-10)


def test_units_treated_before_the_window_have_neighbours_too() -> None:
    made = regions(200, 4)
    first = made.first_treated["event"].copy()
    early = np.flatnonzero(made.attributes["region"] == "r30")[0]
    first[early] = -3
    sample = QUESTION.sample(replace(made, first_treated={"event": first}))
    assert made.units[early] not in sample.unit_ids
    near = by_label(sample, "region")
    beside = sample.attributes["region"] == "r30"
    assert not unexposed(near)[beside].any()
    found = spillovers(sample, DESIGN, by="region")
    assert found["exposed_from_start"] == beside.sum()
    assert any(
        f"Not in that: {beside.sum()} exposed units, without a period" in sentence
        for sentence in found.sentences
    )


def test_units_treated_after_the_window_are_no_source() -> None:
    made = regions(200, 5)
    first = made.first_treated["event"].copy()
    late = np.flatnonzero(made.attributes["region"] == "r31")[0]
    first[late] = 20
    sample = QUESTION.replace(comparison="not_yet_treated").sample(
        replace(made, first_treated={"event": first})
    )
    assert unexposed(by_label(sample, "region"))[sample.attributes["region"] == "r31"].all()


def kilometres(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Return the distances of points from one, in degrees, by the angle between their directions."""
    directions = []
    for latitude, longitude in (np.radians(here).T, np.radians(there)):
        flat = np.cos(latitude) * np.array([np.cos(longitude), np.sin(longitude)])
        directions.append(np.array([*flat, np.sin(latitude)]))
    first, second = directions
    across = np.linalg.norm(np.cross(first.T, second), axis=1)
    return EARTH_RADIUS_KM * np.arctan2(across, second @ first)


def test_distances_are_those_of_the_globe() -> None:
    quarter = EARTH_RADIUS_KM * np.pi / 2
    degree = quarter / 90
    here = np.array([[0.0, 1.0], [1.0, 0.0], [90.0, 12.0], [0.0, 180.0], [0.0, -90.0]])
    london, paris = (51.5074, -0.1278), (48.8566, 2.3522)
    sydney, santiago = (-33.8688, 151.2093), (-33.4489, -70.6693)
    apart = [degree, degree, quarter, 2 * quarter, quarter]
    cases = [((0.0, 0.0), point, at) for point, at in zip(here, apart, strict=True)]
    cases += [(london, paris, 343.6), (sydney, santiago, 11340)]
    whole = simulated.panel(n=2)
    first = replace(whole, first_treated={"event": np.array([5.0, np.nan])})
    sample = QUESTION.replace(min_cohort_size=1).sample(first)
    for there, point, expected in cases:
        places = np.array([there, point])
        assert kilometres(places[1:], places[0])[0] == pytest.approx(expected, rel=0.01)
        for share, within in ((1.01, True), (0.99, False)):
            near = by_distance(sample, places, (share * expected,))
            assert np.isfinite(next(iter(near.values()))[1]) == within


def test_rings_are_those_of_the_nearest_treated_unit_and_dates_those_of_the_first() -> None:
    sample = QUESTION.sample(regions(80, 6))
    rng = np.random.default_rng(0)
    place = np.column_stack([rng.uniform(40, 50, 80), rng.uniform(0, 15, 80)])
    rings = (80.0, 250.0)
    near = by_distance(sample, place, rings)
    assert list(near) == ["at 0-80 km", "at 80-250 km"]
    since = np.array(list(near.values()))
    assert sample.first_treated is not None
    treated = np.flatnonzero(~np.isnan(sample.first_treated))
    for i in range(80):
        apart = kilometres(place[treated], place[i])
        expected = np.full(2, np.nan)
        ring = int(np.searchsorted(rings, apart.min()))
        if ring < 2:
            expected[ring] = sample.first_treated[treated][apart <= rings[ring]].min()
        np.testing.assert_array_equal(since[:, i], expected)
    assert np.isfinite(since).any(axis=1).all()
    assert unexposed(near).any()


def test_coordinates_by_unit_equal_those_in_order_and_count_units_outside_the_sample() -> None:
    made = regions(120, 7)
    first = made.first_treated["event"].copy()
    first[np.flatnonzero(np.isnan(first))[0]] = -1
    sample = QUESTION.sample(replace(made, first_treated={"event": first}))
    rng = np.random.default_rng(1)
    place = {u: (rng.uniform(40, 50), rng.uniform(0, 15)) for u in made.units}
    ordered = np.array([place[u] for u in sample.unit_ids])
    inside = {u: place[u] for u in sample.unit_ids}
    by_order, by_name = (
        by_distance(sample, ordered, (90,)),
        by_distance(sample, inside, (90,)),
    )
    np.testing.assert_equal(by_order, by_name)
    wider = by_distance(sample, place, (90,))
    gone = next(u for u in made.units if u not in inside)
    beside = kilometres(ordered, np.array(place[gone])) <= 90
    assert beside.any()
    np.testing.assert_array_equal(unexposed(wider), unexposed(by_order) & ~beside)


def test_rows_may_stand_in_any_order() -> None:
    made = regions(200, 8)
    shuffled = simulated.ordered(made, np.random.default_rng(0).permutation(200))
    plain, other = (spillovers(QUESTION.sample(p), DESIGN, by="region").tidy() for p in (made, shuffled))
    numbers = ["estimate", "std_error", "p_value", "conf_low", "conf_high"]
    np.testing.assert_allclose(plain[numbers], other[numbers], rtol=1e-8)


@pytest.mark.parametrize("design", [DESIGN, "imputation", "twfe", "etwfe"])
def test_every_kind_of_design_answers_and_the_figure_has_a_line_for_each_row(design: str) -> None:
    question = QUESTION.replace(comparison="not_yet_treated")
    found = spillovers(question.sample(regions(160, 10)), design, by="region")
    table = found.tidy()
    assert list(table["kind"]) == [*["effect by comparison"] * 3, "difference", "effect on neighbours"]
    assert not table.isna().any(axis=None)
    assert len(found.plot().axes[0].get_yticks()) == 5
    assert all(sentence.endswith(".") for sentence in found.sentences)


def test_bad_input_is_one_clear_error() -> None:
    made = regions(200, 11)
    sample = QUESTION.sample(made)
    place = np.zeros((200, 2))
    blank = replace(
        sample, attributes={"region": np.where(np.arange(200) == 3, "", made.attributes["region"])}
    )
    nobody = replace(sample, attributes={"region": np.array([f"{i}" for i in range(200)])})
    nobody = replace(nobody, panel=replace(made, attributes=nobody.attributes))
    together = replace(sample, attributes={"region": np.repeat("x", 200)})
    together = replace(together, panel=replace(made, attributes=together.attributes))
    switching = replace(sample, first_treated=None, path=sample.treatment)
    some = {u: (0.0, 0.0) for u in sample.unit_ids[:-1]}
    outside = place.copy()
    outside[5, 0] = 95.0
    unknown_place = place.copy()
    unknown_place[5, 1] = np.nan
    for bad, said in (
        (lambda: spillovers(sample, DESIGN, by="regoin"), 'Did you mean "region"'),
        (lambda: spillovers(sample, DESIGN), 'no attribute "country"'),
        (
            lambda: spillovers(blank, DESIGN, by="region"),
            f"region is empty for 1 unit, first {made.units[3]}",
        ),
        (lambda: spillovers(nobody, DESIGN, by="region"), "every comparison unit is unexposed"),
        (lambda: spillovers(together, DESIGN, by="region"), "no comparison unit is unexposed"),
        (lambda: spillovers(switching, "twfe", by="region"), "is not absorbing"),
        (lambda: spillovers(sample, DESIGN, by="region", rings=(5,)), "rings are for coordinates"),
        (lambda: spillovers(sample, DESIGN, by=place), "ascending limits"),
        (lambda: spillovers(sample, DESIGN, by=place, rings=(50, 20)), "ascending limits"),
        (lambda: spillovers(sample, DESIGN, by=place, rings=(0, 20)), "ascending limits"),
        (lambda: spillovers(sample, DESIGN, by=some, rings=(20,)), f"first {sample.unit_ids[-1]}"),
        (lambda: spillovers(sample, DESIGN, by=place[:5], rings=(20,)), "latitude and longitude of each"),
        (lambda: spillovers(sample, DESIGN, by=outside, rings=(20,)), f"{sample.unit_ids[5]} are"),
        (lambda: spillovers(sample, DESIGN, by=unknown_place, rings=(20,)), f"{sample.unit_ids[5]} are"),
    ):
        with pytest.raises(QuestionError, match=said):
            bad()
