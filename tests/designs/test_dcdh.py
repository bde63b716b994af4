"""dcdh beside jackknives by hand and callaway_santanna, its refusals, and what inference makes of its paths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import searching
import simulated
from interval_coverage import covers
from twins import switching

from study import Estimate, Panel, Question, QuestionError, estimate, load_estimate
from study.designs import find_design
from study.diagnostics.honest_did import honest_did
from study.diagnostics.pretrends import leads
from study.estimates import Stacked, stack
from study.inference.randomization import randomization

dcdh = find_design("dcdh")
PERIODS = np.arange(1, 9)


def panel(
    n: int = 60, seed: int = 0, gaps: float = 0.0, levels: bool = False, switch: int | None = None
) -> Panel:
    """Return units whose treatment goes up, down and back, some of them treated in the first period.

    An hour of treatment adds 1 on average, more for some units than for others, and trends differ by first treatment.
    """
    rng = np.random.default_rng(seed)
    start = rng.choice([3, 4, 6, 99], size=n, p=[0.2, 0.2, 0.2, 0.4])
    if switch is not None:
        start = np.where(np.arange(n) < switch, np.resize([3, 4, 6], n), 99)
    first = (rng.random(n) < 0.25).astype(float)
    on = (start[:, None] <= PERIODS) & (start + rng.integers(1, 6, size=n) > PERIODS[:, None]).T
    dose = rng.integers(1, 4, size=(n, 1)) if levels else 1.0 - 2.0 * first[:, None]
    path = first[:, None] + on * dose
    size = 1 + 0.5 * rng.normal(size=(n, 1))
    y = rng.normal(size=(n, 1)) + 0.2 * PERIODS * (1 + first[:, None]) + size * path
    y = y + 0.4 * np.cumsum(rng.normal(size=path.shape), axis=1) + rng.normal(size=path.shape)
    y[rng.random(y.shape) < gaps] = np.nan
    whole = simulated.panel(n=n)
    return replace(whole, outcomes={"y": y + 9}, first_treated={}, doses={"D": path})


ASKED = Question("y", "D")


@pytest.mark.parametrize(
    ("asked", "options", "gaps"),
    [
        ({}, {}, 0.0),
        ({"weights": "size"}, {"normalized": True}, 0.05),
        ({"comparison": "never_treated"}, {"trends_nonparam": "half"}, 0.05),
        ({"scale": "proportional"}, {"switchers": "in"}, 0.05),
    ],
    ids=str,
)
def test_the_default_errors_are_those_of_leaving_out_each_unit(
    asked: dict[str, Any], options: dict[str, Any], gaps: float
) -> None:
    whole = panel(n=30, gaps=gaps, levels=True, seed=4)
    whole = replace(whole, attributes={"half": np.array(["a", "b"] * 15)})
    sample = ASKED.replace(**asked).sample(whole)
    fit, alone = dcdh(sample, **options), 0
    for i in range(30):
        rest = np.arange(30) != i
        left = replace(sample.only(rest, "left out"), weights=sample.weights[rest])
        other = dcdh(left, **options)
        for k in np.flatnonzero(fit.leave_out.estimable & ~fit.reference):
            without = other.terms.index(fit.terms[k])
            for ours, of_other, influence in (
                (fit.effect_level, other.effect_level, fit.leave_out.level),
                (fit.untreated_mean, other.untreated_mean, fit.leave_out.untreated),
            ):
                if influence is not None:
                    gap = 30 * (ours[k] - of_other[without])
                    assert influence.dense()[i, k] == pytest.approx(gap, abs=1e-9)
                    alone += 1
    assert alone


def test_with_clusters_that_switch_as_one_errors_are_those_of_leaving_out_each_cluster() -> None:
    whole, of = panel(n=45, gaps=0.05, levels=True, seed=2), np.arange(45) // 3
    whole = replace(
        whole, doses={"D": whole.doses["D"][3 * of]}, attributes={"state": np.char.mod("s%02d", of)}
    )
    sample = ASKED.replace(cluster="state", weights="size").sample(whole)
    fit = dcdh(sample)
    errors = fit.leave_out.level.cluster_sums(sample.cluster)
    used = fit.leave_out.estimable & ~fit.reference
    assert used.sum() > 5
    assert fit.leave_out.clusters.max() <= 15
    for state in range(15):
        rest = sample.cluster != state
        other = dcdh(replace(sample.only(rest, "left out"), weights=sample.weights[rest]))
        without = [other.terms.index(term) for term, is_used in zip(fit.terms, used, strict=True) if is_used]
        gap = 45 * (fit.effect_level[used] - other.effect_level[without])
        np.testing.assert_allclose(errors[state, used], gap, rtol=0, atol=1e-9)


def test_with_clusters_of_one_unit_errors_are_those_of_units() -> None:
    whole = panel(gaps=0.05, levels=True)
    whole = replace(whole, attributes={"own": whole.units, "reverse": whole.units[::-1]})
    fit = estimate(whole, ASKED, "dcdh")
    for cluster in ("own", "reverse"):
        other = estimate(whole, ASKED.replace(cluster=cluster), "dcdh")
        np.testing.assert_allclose(other.std_error, fit.std_error, rtol=1e-9)
        np.testing.assert_allclose(other.degrees_of_freedom, fit.degrees_of_freedom, rtol=1e-9)


@pytest.mark.parametrize(
    "more", [{}, {"comparison": "never_treated"}, {"weights": "size", "cluster": "state"}], ids=str
)
def test_effects_and_influence_of_an_absorbing_treatment_are_those_of_callaway_and_santanna(
    more: dict[str, Any],
) -> None:
    whole, question = simulated.panel(n=120, seed=1), Question("y", "event", **more)
    ours, theirs = estimate(whole, question, "dcdh"), estimate(whole, question)
    for kind in ("event", "event_average", "treated_average"):
        mine, yours = ours.aggregate(kind), theirs.aggregate(kind)
        after, of_theirs = (~(fit.event_time < 0) for fit in (mine, yours))
        np.testing.assert_allclose(mine.effect[after], yours.effect[of_theirs], rtol=0, atol=1e-12)
        np.testing.assert_allclose(
            mine.influence[:, after], yours.influence[:, of_theirs], rtol=0, atol=1e-11
        )


def test_dates_are_the_path_that_they_mean() -> None:
    whole = simulated.panel(n=80, gaps=0.05)
    path = (whole.first_treated["event"][:, None] <= PERIODS).astype(float)
    whole = replace(whole, doses={"D": path})
    by_date, by_path = (estimate(whole, Question("y", event), "dcdh") for event in ("event", "D"))
    np.testing.assert_array_equal(by_date.effect, by_path.effect)
    np.testing.assert_array_equal(by_date.std_error, by_path.std_error)
    pooled = [fit.with_vcov("pooled").std_error for fit in (by_date, by_path)]
    np.testing.assert_array_equal(*pooled)
    assert np.isfinite(pooled[0][~by_path.reference]).all()


def test_a_switch_to_less_is_a_switch_to_more_of_its_opposite() -> None:
    whole = panel()
    opposite = replace(whole, doses={"D": 1 - whole.doses["D"]}, outcomes={"y": -whole.outcomes["y"]})
    ours, theirs = estimate(whole, ASKED, "dcdh"), estimate(opposite, ASKED, "dcdh")
    np.testing.assert_allclose(ours.effect, theirs.effect, atol=1e-12)
    out = estimate(whole, ASKED, "dcdh", switchers="out")
    np.testing.assert_allclose(
        out.effect, estimate(opposite, ASKED, "dcdh", switchers="in").effect, atol=1e-12
    )


def test_the_average_is_per_unit_of_treatment_and_normalized_effects_have_no_units_of_it() -> None:
    whole = panel(levels=True)
    hours = replace(whole, doses={"D": 60 * whole.doses["D"]})
    ours, theirs = (estimate(p, ASKED, "dcdh", normalized=True) for p in (whole, hours))
    np.testing.assert_allclose(ours.effect, 60 * theirs.effect, rtol=1e-12)
    np.testing.assert_allclose(ours.std_error, 60 * theirs.std_error, rtol=1e-9)
    assert ours.aggregate("event_average").terms == ("event_average",)
    total = estimate(whole, ASKED.replace(average="treated_average"), "dcdh").headline
    assert total.terms == ("treated_average",)
    assert total.effect[0] == pytest.approx(1.0, abs=4 * total.std_error[0])


def test_units_without_a_label_are_not_compared_with_one_another() -> None:
    whole = panel(n=60)
    label = np.where(np.arange(60) < 12, "", np.where(np.arange(60) % 2, "a", "b"))
    whole = replace(whole, attributes={"half": label})
    labelled = label != ""
    kept = replace(
        whole,
        units=whole.units[labelled],
        outcomes={"y": whole.outcomes["y"][labelled]},
        covariates={},
        doses={"D": whole.doses["D"][labelled]},
        attributes={"half": label[labelled]},
    )
    fit = estimate(whole, ASKED, "dcdh", trends_nonparam="half")
    without = estimate(kept, ASKED, "dcdh", trends_nonparam="half")
    np.testing.assert_allclose(fit.effect, without.effect, rtol=0, atol=1e-12)
    np.testing.assert_allclose(fit.std_error, without.std_error, rtol=1e-9)
    assert fit.n_obs == without.n_obs
    assert "without a label of half, so compared with nobody: 12 units" in fit.notes


def test_an_average_rests_on_all_units_that_some_effect_is_compared_with() -> None:
    fit = estimate(panel(gaps=0.05), ASKED.replace(horizon=None), "dcdh")
    effects = fit.event_time >= 0
    compared, average = fit.leave_out.clusters[1][effects], fit.leave_out.clusters[1][-1]
    assert compared.min() < compared.max() <= average
    assert fit.n_obs > 0.5 * fit.sample.observed.sum()


def test_observations_are_the_cells_in_changes_and_those_that_slopes_of_covariates_rest_on() -> None:
    made = panel()
    drawn = np.random.default_rng(1).normal(size=made.outcomes["y"].shape)
    same = np.array([0, 1, 1, 1, 4, 4, 6, 7])  # does not move when units switch
    made = replace(made, covariates={"drawn": drawn, "still": drawn[:, same]})
    path = made.doses["D"]
    start = np.where((path != path[:, :1]).any(axis=1), (path != path[:, :1]).argmax(axis=1), len(PERIODS))
    at_switch = np.isin(np.arange(len(PERIODS)), np.unique(start[start < len(PERIODS)]))
    around = at_switch | np.append(at_switch[1:], False)
    until = np.arange(len(PERIODS)) <= start[:, None]
    asked = ASKED.replace(average="event_average", horizon=0)
    assert estimate(made, asked, "dcdh", placebos=0).n_obs == (until & around).sum()
    for name in ("drawn", "still"):
        assert estimate(made, asked.replace(covariates=(name,)), "dcdh", placebos=0).n_obs == until.sum()


@pytest.mark.parametrize("same", [False, True])
def test_same_switchers_are_in_every_effect_up_to_the_horizon(same: bool) -> None:
    fit = estimate(
        panel(gaps=0.05), ASKED.replace(average="event_average", horizon=2), "dcdh", same_switchers=same
    )
    switchers = fit.leave_out.clusters[0][fit.event_time >= 0]
    assert (len(np.unique(switchers)) == 1) == same
    assert fit.event_time[-2] == 2
    path = fit.sample.treatment
    moved = int((path != path[:, :1]).any(axis=1).sum())
    skipped = moved - switchers[-1]
    assert (skipped > 3) == same
    assert (f"{skipped} of {moved} units that switch are in no effect" in fit.notes) == (skipped > 0)


def test_units_leave_when_treatment_has_been_above_and_below_the_first_and_before_an_unknown_switch() -> None:
    path = np.zeros((8, 5))
    path[0] = [1, 2, 0, 2, 2]  # above, then below from the third period on
    path[1] = [1, np.nan, 2, 2, 2]  # compared with in the first period, which is no change
    path[2] = [1, 2, 2, 2, 2]
    path[3:6] = 1
    rng = np.random.default_rng(0)
    whole = replace(
        simulated.panel(n=8),
        periods=np.arange(1, 6),
        outcomes={"y": rng.normal(size=path.shape)},
        covariates={},
        first_treated={},
        doses={"D": path},
    )
    fit = estimate(whole, ASKED, "dcdh")
    y = whole.outcomes["y"]
    own = y[:, 1] - y[:, 0]
    assert fit.effect[fit.event_time == 0][0] == pytest.approx(own[[0, 2]].mean() - own[3:6].mean())
    assert np.isfinite(fit.std_error[fit.event_time == 0]).all()  # of two switchers
    pooled = (2 * own[[0, 2]].var() + 3 * own[3:6].var()) / (2 + 3 - 2) * (1 / 2 + 1 / 3)
    assert fit.with_vcov("pooled").std_error[fit.event_time == 0][0] == pytest.approx(np.sqrt(pooled))
    assert np.isfinite(fit.std_error[fit.event_time == 1]).all()
    assert not any("in no effect" in note for note in fit.notes)
    own = y[:, 2] - y[:, 0]
    assert fit.effect[fit.event_time == 1][0] == pytest.approx(own[2] - own[3:6].mean())
    assert fit.notes[:2] == (
        "switch when D is not known, and compared with up to then: 1 unit",
        "left out from when D has been above and below its first value: 1 unit",
    )


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("covariates", [(), ("moving",)])
def test_equals_plain_loops_where_outcomes_and_treatment_have_gaps(
    covariates: tuple[str, ...], seed: int
) -> None:
    rng, whole = np.random.default_rng(seed), panel(gaps=0.15, seed=seed)
    path = whole.doses["D"].copy()
    path[rng.random(path.shape) < 0.08] = rng.integers(0, 3)
    path[rng.random(path.shape) < 0.1] = np.nan
    moving = {"moving": rng.normal(size=path.shape)}
    whole = replace(whole, doses={"D": path}, covariates=whole.covariates | moving)
    sample = ASKED.replace(covariates=covariates, weights="size").sample(whole)
    fit, slow = dcdh(sample), switching.dcdh(sample)
    order = np.argsort([event for _, _, event in slow.terms])  # the average at the end
    effects = np.real(slow.at(sample.weights).effect_level)[order]
    np.testing.assert_allclose(fit.effect[~fit.reference], effects, atol=1e-9)
    assert fit.n_obs == slow.n_obs


def test_the_mean_at_the_reference_is_that_of_switchers_the_period_before() -> None:
    sample = ASKED.replace(weights="size").sample(panel())
    fit, moved = dcdh(sample, switchers="in"), sample.treatment != sample.treatment[:, :1]
    start = moved.argmax(axis=1)
    switchers = np.flatnonzero(moved.any(axis=1) & (sample.treatment[:, 0] == 0))
    before = sample.y[switchers, start[switchers] - 1]
    expected = np.average(before, weights=sample.weights[switchers])
    assert fit.untreated_mean is not None
    assert fit.untreated_mean[fit.reference][0] == pytest.approx(expected)


def test_who_switches_a_period_later_is_compared_with() -> None:
    path = (np.arange(5) >= np.repeat([2, 3], 3)[:, None]).astype(float)
    y, whole = np.random.default_rng(0).normal(size=path.shape), simulated.panel(n=6)
    own = {"outcomes": {"y": y}, "covariates": {}, "first_treated": {}, "doses": {"D": path}}
    fit = estimate(replace(whole, periods=np.arange(1, 6), **own), ASKED, "dcdh")
    change = y[:, 2] - y[:, 1]
    assert fit.effect[fit.event_time == 0][0] == pytest.approx(change[:3].mean() - change[3:].mean())


def unknown(whole: Panel) -> Panel:
    path = whole.doses["D"].copy()
    path[(path == 1) & (np.arange(8) == 6)] = np.nan
    return replace(whole, doses={"D": path})


def constant(whole: Panel) -> Panel:
    return replace(whole, doses={"D": np.ones(whole.doses["D"].shape)})


def rising(whole: Panel) -> Panel:
    return replace(whole, doses={"D": np.maximum.accumulate(whole.doses["D"], axis=1)})


def falling(whole: Panel) -> Panel:
    return replace(whole, doses={"D": np.minimum.accumulate(whole.doses["D"], axis=1)})


def all_different(whole: Panel) -> Panel:
    return replace(whole, doses={"D": whole.doses["D"] + 2.0 * np.arange(60)[:, None]})


@pytest.mark.parametrize(
    ("change", "asked", "options", "said"),
    [
        (constant, {}, {}, "D switches for no unit in a period that is known"),
        (
            rising,
            {},
            {"switchers": "out"},
            r"D switches to less for no unit in a period that is known, so no effect",
        ),
        (
            falling,
            {},
            {"switchers": "in"},
            r"D switches to more for no unit in a period that is known, so no effect",
        ),
        (lambda p: p, {}, {"switchers": "out"}, None),
        (all_different, {}, {}, "nobody of the same first treatment to compare with"),
        (all_different, {}, {"variance": "didmultiplegt"}, "nobody of the same first treatment"),
        (lambda p: p, {}, {"same_switchers": True}, r"name it with Question\(horizon=\.\.\.\)"),
        (unknown, {}, {"normalized": True}, "cannot be normalized"),
        (lambda p: p, {"scale": "proportional"}, {}, 'take switchers="in" or "out"'),
        (lambda p: p, {"covariates": ("x1",)}, {}, "covariates' slopes are not identified"),
        (lambda p: p, {}, {"trends_nonparam": "stat"}, 'no attribute "stat".*Did you mean "state"'),
        (
            lambda p: p,
            {"base": "varying"},
            {},
            'cannot answer a question with base="varying"; callaway_santanna',
        ),
        (lambda p: p, {}, {"placebos": -1}, "placebos is -1; it must be a whole number, at least 0"),
    ],
)
def test_what_it_cannot_answer_it_refuses_in_one_line(change, asked, options, said) -> None:
    whole = change(panel())
    if said is None:
        assert np.isfinite(estimate(whole, ASKED.replace(**asked), "dcdh", **options).effect).all()
        return
    with pytest.raises(QuestionError, match=f"^dcdh: .*{said}") as error:
        estimate(whole, ASKED.replace(**asked), "dcdh", **options)
    assert "\n" not in str(error.value)


def test_designs_of_dates_and_of_zero_and_one_name_it_for_levels() -> None:
    with pytest.raises(QuestionError, match=r"^twfe: .*a treatment of several levels; .*dcdh"):
        estimate(panel(levels=True), ASKED, "twfe")
    with pytest.raises(QuestionError, match=r"^callaway_santanna: .*dcdh"):
        estimate(panel(), ASKED)


def test_tests_of_leads_and_sensitivity_to_trends_take_its_path(tmp_path) -> None:
    fit = estimate(panel(n=200), ASKED.replace(average="event_average", horizon=3), "dcdh")
    found = leads(fit, draws=999)
    assert found.tidy()["event_time"].tolist() == [-4, -3, -2]
    assert found.details["p_wald"] == pytest.approx(fit.test(fit.pre).p_value)
    assert len(honest_did(fit).tidy()) > 3
    equal = stack(fit.terms, [Stacked.of(fit)]).select(fit.event_time >= 0).differences().test()
    assert equal.rank == 3
    fit.save(tmp_path / "fit.npz")
    again = load_estimate(tmp_path / "fit.npz")
    np.testing.assert_array_equal(again.std_error, fit.std_error)
    np.testing.assert_array_equal(again.degrees_of_freedom, fit.degrees_of_freedom)


def test_randomization_permutes_its_paths() -> None:
    whole = panel(n=60)
    none = replace(whole, outcomes={"y": whole.outcomes["y"] - whole.doses["D"]})
    samples = [ASKED.replace(average="event_average", horizon=1).sample(each) for each in (whole, none)]
    p_values = [randomization(sample, "dcdh", permutations=99).p_value for sample in samples]
    assert p_values[0] < 0.05 < p_values[1]


def drawn(rng: np.random.Generator, switch: int) -> Estimate:
    whole = panel(n=60, seed=int(rng.integers(2**31)), switch=switch)
    asked = ASKED.replace(horizon=2, average="event_average")
    return estimate(whole, asked, "dcdh", placebos=0).aggregate("treated_average")


@pytest.mark.search
@pytest.mark.parametrize("switch", [8, 30, 52])
def test_intervals_cover_with_few_switchers_and_with_few_that_have_not_switched(switch: int) -> None:
    rng, draws = np.random.default_rng(20261128), searching.samples(300, 1000)
    covered = np.mean([covers(drawn(rng, switch).headline, 1.0) for _ in range(draws)])
    assert abs(covered - 0.955) <= 3 * np.sqrt(0.95 * 0.05 / draws)
