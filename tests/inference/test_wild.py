"""The wild cluster bootstrap: golden numbers, every refit written out, what must not matter, size, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dense
import goldens
import numpy as np
import pytest
import simulated
from plain_inference import Plain, bootstrap_t, plain, square
from references.wildboot import wildboot
from scipy import stats

from study import Panel, Question, QuestionError, estimate
from study.core import p_is
from study.designs import find_design
from study.inference import wild as wild_draws
from study.inference.leave_out import ROW
from study.inference.wild import WildBootstrap, wild_bootstrap
from study.panel.question import Sample

RUNS = [
    (panel, name)
    for panel in ("sim_clustered", "sim_clustered_states")
    for name in goldens.runs(panel, "wildboot_cr3")
    if not name.endswith(("HC2", "HC3"))
]


@pytest.mark.parametrize(("panel", "name"), RUNS)
def test_a_run_of_fwildclusterboot_summclust_or_sandwich_is_met(panel: str, name: str) -> None:
    found = wildboot(panel, goldens.runs(panel, "wildboot_cr3")[name])
    assert found.estimates < goldens.TOLERANCE
    if found.has_errors:
        assert found.std_errors < goldens.TOLERANCE
    assert all(ours == theirs for ours, theirs in found.counts.values())
    assert all(share <= 1 for share in found.digits.values()), found.digits


def few_clusters(n: int = 60, clusters: int = 6, gaps: float = 0.0, seed: int = 3) -> Panel:
    """Return a simulated panel whose units are in few states, which are treated in part."""
    panel = simulated.panel(n, seed=seed, gaps=gaps)
    return replace(panel, attributes={"state": np.array([f"s{i % clusters}" for i in range(n)])})


def asked(panel: Panel, **fields: Any) -> Sample:
    return Question("y", "event", cluster="state", **fields).sample(panel)


def twfe_with_gaps() -> tuple[Sample, Plain]:
    sample = asked(few_clusters(gaps=0.1), covariates=("moving",), weights="size")
    at = dense.rows(sample, np.ones(sample.n_units, dtype=bool))
    terms = np.column_stack([sample.treatment[at], sample.x_varying[:, :, 0][at]])
    return sample, plain(sample, at, sample.y[at], terms, dense.two_way(at), np.array([1.0, 0.0]))


def event_study_average() -> tuple[Sample, Plain]:
    sample = asked(few_clusters(), average="event_average", horizon=2)
    at = dense.rows(sample, np.ones(sample.n_units, dtype=bool))
    since = sample.periods[at.period] - sample.first_treated[at.unit]
    times = [e for e in np.unique(since[~np.isnan(since)]) if e != -1]
    terms = (since[:, None] == np.array(times)).astype(float)
    average = np.array([1 / 3 if 0 <= e <= 2 else 0.0 for e in times])
    return sample, plain(sample, at, sample.y[at], terms, dense.two_way(at), average)


def etwfe_average() -> tuple[Sample, Plain]:
    sample = asked(few_clusters(), average="event_average", horizon=1)
    at = dense.rows(sample, np.ones(sample.n_units, dtype=bool))
    cells = dense.cells_of_cohorts(sample, 0)
    terms = dense.in_cells(sample, at, cells)
    sizes = {g: int(np.sum(sample.first_treated == g)) for g in sample.cohorts}
    total = {e: sum(sizes[g] for g, t in cells if t - g == e) for e in (0, 1)}
    average = np.array([sizes[g] / total[t - g] / 2 if t - g <= 1 else 0.0 for g, t in cells])
    first = np.nan_to_num(sample.first_treated[at.unit])
    others = np.hstack([dense.dummies(first), dense.dummies(at.period)[:, 1:]])
    return sample, plain(sample, at, sample.y[at], terms, others, average)


TWINS = {"twfe": twfe_with_gaps, "event_study": event_study_average, "etwfe": etwfe_average}


@pytest.mark.parametrize("impose_null", [True, False])
@pytest.mark.parametrize("kind", ["C", "S", "V", "B"])
@pytest.mark.parametrize("design", TWINS)
def test_each_draw_is_the_statistic_of_the_regression_run_again(
    design: str, kind: Any, impose_null: bool
) -> None:
    sample, written = TWINS[design]()
    null, draws = 0.7, 4
    made = wild_bootstrap(
        sample, design, null=null, impose_null=impose_null, weights="webb", kind=kind, draws=draws
    )
    d, delta = made.drawn, made.effect - null
    ours = (d.n0 + delta * d.n1) / np.sqrt(d.d0 + 2 * delta * d.d1 + delta**2 * d.d2)
    (weights,) = wild_draws.weight_blocks("webb", made.n_clusters, draws, 0)
    theirs = [bootstrap_t(written, null, impose_null, kind, w) for w in weights]
    assert np.allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    assert d.square == pytest.approx(square(written, written.y, kind in ("V", "B")), rel=1e-9)


def test_the_classic_standard_error_is_that_of_the_fit() -> None:
    sample = asked(few_clusters())
    fit = find_design("twfe")(sample)
    made = wild_bootstrap(sample, "twfe")
    assert made.std_error == pytest.approx(fit.with_vcov("CR1_fixest").std_error[0], rel=1e-10)
    assert made.effect == pytest.approx(fit.effect[0], rel=1e-12)


def test_enumerated_draws_are_all_patterns_of_signs_and_the_data_are_one_of_them() -> None:
    made = wild_bootstrap(asked(few_clusters()), "twfe", null=1.0)
    assert made.enumerated
    assert made.draws == 2**6
    patterns = np.concatenate(
        [p for p in wild_draws.sign_patterns(6)] + [-p for p in wild_draws.sign_patterns(6)]
    )
    assert len(np.unique(patterns, axis=0)) == 2**6
    assert made.p_value - made.p_value_at(1.0, strict=True) >= 2 / 2**6 - 1e-12
    assert made.p_value * 2**5 == pytest.approx(round(made.p_value * 2**5), abs=1e-9)


@pytest.mark.parametrize("kind", ["C", "V"])
def test_no_null_is_so_far_away_that_the_data_are_no_longer_one_of_all_patterns(kind: Any) -> None:
    made = wild_bootstrap(asked(few_clusters()), "event_study", kind=kind)
    assert {made.p_value_at(sign * 10.0**power) for power in range(3, 13) for sign in (-1, 1)} == {2 / 2**6}


def test_random_signs_approach_the_enumerated_p_value() -> None:
    sample = asked(few_clusters(clusters=10))
    exact = wild_bootstrap(sample, "twfe", null=0.95)
    drawn = wild_bootstrap(sample, "twfe", null=0.95, draws=1000, seed=5)
    assert exact.enumerated
    assert not drawn.enumerated
    assert abs(drawn.p_value - exact.p_value) < 4 * np.sqrt(exact.p_value * (1 - exact.p_value) / 1000)


def test_the_data_count_as_a_draw_unless_they_are_one() -> None:
    sample = asked(few_clusters(clusters=10))
    drawn = wild_bootstrap(sample, "twfe", null=0.95, weights="webb", draws=199)
    extreme = round(drawn.p_value_at(0.95, strict=True) * 199)
    assert drawn.p_value == pytest.approx((1 + extreme) / 200)
    enumerated = wild_bootstrap(sample, "twfe", null=0.95, impose_null=False)
    extreme = round(enumerated.p_value_at(0.95, strict=True) * 2**10)
    assert enumerated.p_value == pytest.approx((1 + extreme) / (1 + 2**10))


@pytest.mark.parametrize("kind", ["C", "B"])
@pytest.mark.parametrize("impose_null", [True, False])
def test_the_interval_ends_where_the_test_of_its_end_turns(kind: Any, impose_null: bool) -> None:
    sample = asked(few_clusters(clusters=10))
    made = wild_bootstrap(sample, "twfe", kind=kind, impose_null=impose_null, level=0.9)
    for end, outward in zip(made.interval, (-1, 1), strict=True):
        inside, outside = (
            wild_bootstrap(sample, "twfe", null=end + sign * 1e-5, kind=kind, impose_null=impose_null).p_value
            for sign in (-outward, outward)
        )
        assert outside <= 0.1 < inside


def test_the_usual_test_is_of_no_effect_with_restricted_residuals_signs_and_9999_draws() -> None:
    sample = Question("y", "event").sample(simulated.panel(30, seed=1))
    made = wild_bootstrap(sample, "twfe")
    usual: dict[str, Any] = {"null": 0.0, "impose_null": True, "weights": "rademacher", "kind": "C"}
    usual |= {"draws": 9999, "level": 0.95, "seed": 0, "term": None}
    said = wild_bootstrap(sample, "twfe", **usual)
    assert (made.p_value, made.interval) == (said.p_value, said.interval)
    assert (made.draws, made.level, made.null, made.kind) == (9999, 0.95, 0.0, "C")
    assert "a 95% interval of" in made.sentences[0]
    for draws, all_of_them in ((2**6 - 1, False), (2**6, True)):
        assert wild_bootstrap(asked(few_clusters()), "twfe", draws=draws).enumerated == all_of_them


def test_an_interval_of_too_few_patterns_of_signs_has_no_ends() -> None:
    made = wild_bootstrap(asked(few_clusters(clusters=4)), "twfe")
    assert made.interval == (-np.inf, np.inf)
    assert "no end" in made.sentences[-1]
    assert made.tidy()["conf_low"][0] == -np.inf
    finite = wild_bootstrap(asked(few_clusters(clusters=4)), "twfe", level=0.75, weights="webb")
    assert np.all(np.isfinite(finite.interval))


def test_an_end_is_found_however_small_the_step() -> None:
    made = wild_bootstrap(asked(few_clusters(clusters=10)), "twfe", level=0.9)
    with_step = [made.drawn.interval(made.effect, 0.9, made.std_error * size) for size in (1e-10, 1.0, 1e3)]
    assert np.allclose(with_step, made.interval, rtol=1e-7)


def test_ends_are_in_the_unit_of_the_outcome() -> None:
    panel = few_clusters(clusters=10)
    made = wild_bootstrap(asked(panel), "twfe", level=0.9)
    large = changed(panel, outcomes={"y": 1e9 * panel.outcomes["y"]})
    np.testing.assert_allclose(
        wild_bootstrap(asked(large), "twfe", level=0.9).interval, 1e9 * np.array(made.interval), rtol=1e-7
    )


@pytest.mark.parametrize("kind", ["C", "S", "V", "B"])
def test_the_p_value_far_away_is_that_of_distant_nulls(kind: Any) -> None:
    few = wild_bootstrap(asked(few_clusters(clusters=4)), "twfe", kind=kind)
    many = wild_bootstrap(asked(few_clusters(clusters=9)), "twfe", kind=kind)
    for made in (few, many):
        assert made.drawn.p_value_far_away() == made.p_value_at(1e4) == made.p_value_at(-1e4)
    assert few.drawn.p_value_far_away() > 0.05 > many.drawn.p_value_far_away()


def changed(panel: Panel, **fields: Any) -> Panel:
    return replace(panel, **fields)


def test_what_does_not_change_the_question_does_not_change_the_answer() -> None:
    panel = few_clusters(clusters=8)
    y = panel.outcomes["y"]
    rng = np.random.default_rng(1)
    made = wild_bootstrap(asked(panel), "event_study", null=0.5)
    shifted = y + 100 * rng.normal(size=(len(y), 1)) + 100 * rng.normal(size=(1, y.shape[1]))
    scaled = wild_bootstrap(asked(changed(panel, outcomes={"y": 1e4 * shifted})), "event_study", null=0.5e4)
    assert scaled.p_value == made.p_value
    assert np.allclose(np.array(scaled.interval) / 1e4, made.interval, atol=1e-6)

    order = rng.permutation(len(y))
    moved = Panel(
        name="moved",
        units=np.sort(panel.units),
        periods=panel.periods + 1990,
        outcomes={"y": y[order]},
        covariates={},
        first_treated={"event": panel.first_treated["event"][order] + 1990},
        treatment={},
        attributes={"state": np.array([f"other {label}" for label in panel.attributes["state"][order]])},
    )
    again = wild_bootstrap(asked(moved), "event_study", null=0.5)
    assert again.p_value == made.p_value
    assert np.allclose(again.interval, made.interval, atol=1e-7)


def test_draws_depend_on_the_seed_and_not_on_how_many_are_made_at_once(monkeypatch: Any) -> None:
    sample = Question("y", "event").sample(simulated.panel(60))
    for weights in ("rademacher", "mammen", "webb"):
        made = wild_bootstrap(sample, "twfe", null=1.5, draws=999, weights=weights, seed=3)
        assert (
            made.drawn.n0.tobytes()
            == wild_bootstrap(sample, "twfe", null=1.5, draws=999, weights=weights, seed=3).drawn.n0.tobytes()
        )
        assert not np.allclose(
            made.drawn.n0, wild_bootstrap(sample, "twfe", draws=999, weights=weights, seed=4).drawn.n0
        )
        blocks = [np.concatenate(list(wild_draws.weight_blocks(weights, 60, 999, 3)))]
        with monkeypatch.context() as patch:
            patch.setattr(wild_draws, "NUMBERS_AT_ONCE", 7 * 60)
            blocks.append(np.concatenate(list(wild_draws.weight_blocks(weights, 60, 999, 3))))
            few = wild_bootstrap(sample, "twfe", null=1.5, draws=999, weights=weights, seed=3)
        assert np.array_equal(*blocks)
        assert few.p_value == made.p_value


@pytest.mark.parametrize("weights", ["rademacher", "mammen", "webb"])
def test_weights_have_mean_zero_and_variance_one(weights: Any) -> None:
    drawn = np.concatenate(list(wild_draws.weight_blocks(weights, 40, 20_000, 0)))
    assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)
    assert abs(drawn.var() - 1) < 4 * 1.3 / np.sqrt(drawn.size)
    assert np.abs(np.corrcoef(drawn[:, :5].T) - np.eye(5)).max() < 0.04


def test_many_and_few_clusters_are_solved_alike() -> None:
    sample = Question("y", "event").sample(simulated.panel(120))
    many = wild_bootstrap(sample, "twfe", draws=50)
    assert many.n_clusters > 2 * 9
    of = many.drawn
    written = dense.rows(sample, np.ones(sample.n_units, dtype=bool))
    p = plain(
        sample,
        written,
        sample.y[written],
        sample.treatment[written][:, None],
        dense.two_way(written),
        np.ones(1),
    )
    (weights,) = wild_draws.weight_blocks("rademacher", many.n_clusters, 50, 0)
    delta = many.effect
    ours = (of.n0 + delta * of.n1) / np.sqrt(of.d0 + 2 * delta * of.d1 + delta**2 * of.d2)
    theirs = [bootstrap_t(p, 0.0, True, "C", w) for w in weights[:2]]
    assert np.allclose(ours[:2], theirs, rtol=1e-9)


def sampled(rng: np.random.Generator, treated: int, clusters: int = 12, units: int = 2) -> Sample:
    """Return a sample without effects: clusters of units, of which some are treated at one date."""
    n, periods = clusters * units, 6
    state = np.repeat(np.arange(clusters), units)
    shock = np.cumsum(rng.normal(size=(clusters, periods)), axis=1)[state]
    panel = Panel(
        name="null",
        units=np.arange(n),
        periods=np.arange(1, periods + 1),
        outcomes={"y": shock + rng.normal(size=(n, periods))},
        covariates={},
        first_treated={"event": np.where(state < treated, 4.0, np.nan)},
        treatment={},
        attributes={"state": state.astype(str)},
    )
    return Question("y", "event", cluster="state").sample(panel)


def test_with_few_treated_clusters_the_bootstrap_keeps_its_size_where_cr1_does_not() -> None:
    rng, tests = np.random.default_rng(20261124), 400
    bootstrap, classic = np.zeros((2, tests), dtype=bool)
    for k in range(tests):
        made = wild_bootstrap(sampled(rng, treated=3), "twfe")
        bootstrap[k] = made.p_value <= 0.05
        classic[k] = 2 * stats.t.sf(abs(made.statistic), made.n_clusters - 1) <= 0.05
    assert classic.mean() > 0.075
    assert abs(bootstrap.mean() - 0.05) < 0.025
    assert bootstrap.mean() < classic.mean() - 0.02


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"draws": 0}, "draws is 0"),
        ({"draws": 99.5}, "draws is 99.5"),
        ({"level": 1.0}, "level is 1.0"),
        ({"null": np.nan}, "null is nan"),
        ({"weights": "normal"}, 'no weights "normal"'),
        ({"kind": "13"}, 'no kind "13"'),
        ({"term": "treatments"}, 'Did you mean "treatment"'),
        ({"leads": 3}, 'no option "leads"'),
    ],
)
def test_an_argument_out_of_range_is_one_error(options: dict[str, Any], said: str) -> None:
    with pytest.raises(QuestionError, match=said):
        wild_bootstrap(asked(few_clusters()), "twfe", **options)


@pytest.mark.parametrize("design", ["callaway_santanna", "imputation", "dml_panel", "poisson_twfe"])
def test_a_design_that_is_no_regression_is_refused_before_it_is_fitted(design: str, monkeypatch: Any) -> None:
    chosen = find_design(design)
    monkeypatch.setattr(type(chosen), "__call__", lambda *_, **__: pytest.fail("it was fitted"))
    with pytest.raises(
        QuestionError,
        match=rf"^wild_bootstrap: {design} is not.*linear.*twfe, event_study.*leave_one_cluster_out",
    ):
        wild_bootstrap(asked(few_clusters()), design)


def test_poisson_and_proportional_effects_are_refused() -> None:
    with pytest.raises(QuestionError, match=r"^wild_bootstrap: etwfe is not"):
        wild_bootstrap(asked(few_clusters()), "etwfe", family="poisson")
    with pytest.raises(QuestionError, match=r"^wild_bootstrap: a proportional effect is a ratio"):
        wild_bootstrap(asked(few_clusters(), scale="proportional"), "twfe")


def test_clusters_that_cannot_tell_are_refused() -> None:
    panel = few_clusters()
    one = replace(panel, attributes={"state": np.full(60, "s")})
    with pytest.raises(QuestionError, match=r"^wild_bootstrap: there is one cluster"):
        wild_bootstrap(asked(one), "twfe")
    treated = ~np.isnan(panel.first_treated["event"])
    with pytest.raises(QuestionError, match=r"^wild_bootstrap: only cluster t is treated"):
        wild_bootstrap(
            asked(replace(panel, attributes={"state": np.where(treated, "t", panel.attributes["state"])})),
            "twfe",
        )
    never = np.where(treated, panel.attributes["state"], "n")
    apart = asked(replace(panel, attributes={"state": never}))
    with pytest.raises(QuestionError, match=r"^wild_bootstrap: ATT\(4,8\) has no estimate without cluster n"):
        wild_bootstrap(apart, "sun_abraham", term="ATT(4,8)", kind="V")


def test_the_reference_term_is_refused() -> None:
    with pytest.raises(QuestionError, match=r"^wild_bootstrap: event -1 is the reference"):
        wild_bootstrap(asked(few_clusters()), "event_study", term="event -1")


@pytest.mark.parametrize(
    ("treated", "sides"), [(2, "2 clusters on the treated and 10"), (10, "10 clusters on the")]
)
def test_few_clusters_on_either_side_are_told(treated: int, sides: str) -> None:
    rng = np.random.default_rng(0)
    few = wild_bootstrap(sampled(rng, treated=treated), "twfe", draws=99)
    assert few.treated_clusters == treated
    assert few.sentences[1].startswith(sides)
    assert "this bootstrap rarely rejects, whatever the effect (" in few.sentences[1]
    free = wild_bootstrap(sampled(rng, treated=treated), "twfe", impose_null=False, draws=99)
    assert "this bootstrap rejects too often (" in free.sentences[1]
    assert len(wild_bootstrap(sampled(rng, treated=4), "twfe").sentences) == 1


def test_clusters_are_counted_that_carry_the_term_and_not_all_that_are_treated() -> None:
    panel = simulated.panel(60)
    first = panel.first_treated["event"].copy()
    first[np.flatnonzero(first == 7)[2:]] = 6
    sample = Question("y", "event").sample(replace(panel, first_treated={"event": first}))
    made = wild_bootstrap(sample, "sun_abraham", term="ATT(7,8)", draws=99)
    assert made.treated_clusters == 2
    assert "rarely rejects" in made.sentences[1]


def test_treatment_that_switches_needs_no_cluster_that_is_never_treated() -> None:
    panel, rng = simulated.panel(30), np.random.default_rng(0)
    path = rng.integers(0, 2, panel.outcomes["y"].shape).astype(float)
    switching = replace(panel, first_treated={}, treatment={"event": path})
    assert len(wild_bootstrap(Question("y", "event").sample(switching), "twfe", draws=99).sentences) == 1


def test_units_that_are_clusters_have_their_draws_in_whatever_order_a_panel_made_by_hand_has_them() -> None:
    panel = simulated.panel(40)
    one, other = (
        wild_bootstrap(Question("y", "event").sample(p), "event_study", draws=199)
        for p in (panel, simulated.ordered(panel, np.random.default_rng(0).permutation(40)))
    )
    assert other.p_value == one.p_value
    np.testing.assert_allclose(other.interval, one.interval, atol=1e-7)


def test_another_null_is_a_number() -> None:
    made = wild_bootstrap(asked(few_clusters()), "twfe")
    with pytest.raises(QuestionError, match=r"p_value_at: null is nan; it must be a finite number"):
        made.p_value_at(np.nan)


def test_an_outcome_without_errors_is_refused() -> None:
    panel = few_clusters()
    exact = simulated.effects(panel.first_treated["event"], 1.0) > 0
    with pytest.raises(QuestionError, match=r"^wild_bootstrap: treatment has no variance between clusters"):
        wild_bootstrap(asked(replace(panel, outcomes={"y": exact.astype(float)})), "twfe")


def test_the_answer_is_told_with_its_numbers() -> None:
    made = wild_bootstrap(asked(few_clusters(clusters=10)), "sun_abraham", term="treated_average", null=0.5)
    assert isinstance(made, WildBootstrap)
    said, given = made.sentences
    assert "as given" in given
    low, high = made.interval
    for number in (
        f"{made.effect:.4g}",
        p_is(made.p_value),
        f"{low:.4g} to {high:.4g}",
        "1024 all patterns",
    ):
        assert number in said
    row = made.tidy().iloc[0]
    assert row["estimate"] == made.effect
    assert row["statistic"] == pytest.approx((made.effect - 0.5) / made.std_error)
    assert row.to_dict() == dict(
        zip(
            ROW,
            (made.term, made.effect, made.std_error, made.statistic, made.p_value, *made.interval),
            strict=True,
        )
    )
    assert "drawn=" not in repr(made)
    fit = estimate(few_clusters(clusters=10), Question("y", "event", cluster="state"), "sun_abraham")
    assert made.effect == pytest.approx(fit.aggregate("treated_average").effect[0], rel=1e-10)
