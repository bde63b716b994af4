"""The jackknife over clusters: algebra against refits, leverages written out, what must not matter, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simulated
from plain_inference import square, without_each
from test_wild import TWINS, asked, few_clusters, sampled

from study import Estimate, Panel, Question, QuestionError, settings
from study.core.distributions import two_sided_p
from study.designs import find_design
from study.estimates import Effect
from study.inference.leave_out import REGRESSIONS, ROW, cr3, leave_one_cluster_out
from study.panel.question import Sample

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str | None]] = {
    "static": ("twfe", {}, {"covariates": ("moving",)}, None),
    "dynamic": ("event_study", {}, {"weights": "size", "average": "event_average"}, None),
    "binned": ("event_study", {"bin_at": 2}, {"average": "event_average", "horizon": 1}, None),
    "a cell of sun_abraham": ("sun_abraham", {}, {"covariates": ("moving",)}, "ATT(4,6)"),
    "a lead of sun_abraham": ("sun_abraham", {}, {}, "ATT(6,2)"),
    "a cell of etwfe": ("etwfe", {}, {}, "ATT(6,8)"),
    "a cell of etwfe with unit effects": ("etwfe", {"effects": "unit"}, {"weights": "size"}, "ATT(6,8)"),
    "a lead of etwfe": ("etwfe", {"effects": "unit"}, {"comparison": "never_treated"}, "ATT(7,3)"),
    "a cell of stacked": ("stacked", {"before": 2, "after": 1}, {"weights": "size"}, "ATT(6,7)"),
    "local projections": ("lp_did", {}, {"weights": "size", "average": "event_average"}, None),
    "a lead of local projections": ("lp_did", {}, {"anticipation": 1}, "event -3"),
}


@pytest.mark.parametrize("gaps", [0.0, 0.08])
@pytest.mark.parametrize("case", CASES)
def test_the_effect_without_a_cluster_is_that_of_a_refit(case: str, gaps: float) -> None:
    design, options, fields, term = CASES[case]
    sample = asked(few_clusters(n=90, gaps=gaps, clusters=7, seed=5), **fields)
    solved = cr3(sample, design, term=term, **options)
    refitted = leave_one_cluster_out(sample, design, term=term, **options)
    assert np.allclose(solved.without, refitted.without, rtol=1e-9, atol=1e-9)
    assert solved.effect == pytest.approx(refitted.effect, rel=1e-10)
    assert list(solved.clusters) == list(refitted.clusters)
    assert solved.std_error == pytest.approx(refitted.std_error, rel=1e-7)


def test_units_as_clusters_are_left_out_one_by_one() -> None:
    for gaps in (0.0, 0.08):
        question = Question("y", "event", weights="size", average="event_average")
        sample = question.sample(simulated.panel(40, gaps=gaps, seed=2))
        solved = cr3(sample, "event_study", bin_at=3)
        refitted = leave_one_cluster_out(sample, "event_study", bin_at=3)
        assert np.allclose(solved.without, refitted.without, rtol=1e-9, atol=1e-9)


def test_clusters_of_one_unit_keep_their_labels_in_any_order() -> None:
    panel = simulated.panel(30, cohorts=(4,))
    labels = np.array([f"s{k:02d}" for k in np.random.default_rng(4).permutation(30)])
    sample = asked(replace(panel, attributes={"state": labels}))
    for design, options in (("twfe", {}), ("stacked", {"before": 2, "after": 1})):
        solved = cr3(sample, design, **options)
        refitted = leave_one_cluster_out(sample, design, **options)
        assert list(solved.clusters) == list(refitted.clusters) == sorted(labels)
        assert np.allclose(solved.without, refitted.without, rtol=1e-9, atol=1e-9)


def test_a_treatment_that_switches_off_is_left_out_too() -> None:
    rng = np.random.default_rng(3)
    base = few_clusters(n=40)
    path = (rng.random((40, 8)) < 0.4).astype(float)
    panel = replace(base, first_treated={}, treatment={"event": path})
    sample = Question("y", "event", cluster="state").sample(panel)
    assert np.allclose(
        cr3(sample, "twfe").without, leave_one_cluster_out(sample, "twfe").without, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("twin", TWINS)
def test_everything_is_as_written_out_with_dummies(twin: str) -> None:
    sample, p = TWINS[twin]()
    found = cr3(sample, twin)
    assert np.allclose(found.without, without_each(p, p.y), rtol=1e-9, atol=1e-9)
    g = found.n_clusters
    assert found.std_error == pytest.approx(np.sqrt((g - 1) / g * square(p, p.y, True)), rel=1e-9)
    inverse = np.linalg.pinv(p.x.T @ p.x, rcond=1e-11, hermitian=True)
    hat = np.einsum("ij,jk,ik->i", p.x, inverse, p.x)
    units = 0 if twin == "etwfe" else np.bincount(sample.cluster)
    assert np.allclose(found.leverage + units, np.bincount(p.cluster, hat), rtol=1e-9)
    rests_on = (p.x @ inverse @ p.combination) ** 2
    share = np.bincount(p.cluster, rests_on) / rests_on.sum()
    assert np.allclose(found.partial_leverage, share, rtol=1e-9)
    spread = np.mean((share / share.mean() - 1) ** 2)
    assert found.effective_clusters == pytest.approx(g / (1 + spread), rel=1e-9)


@pytest.mark.parametrize(
    ("design", "options"),
    [
        *((design, {}) for design in REGRESSIONS),
        ("lp_did", {"weighting": "equal"}),
        ("etwfe", {"effects": "unit"}),
    ],
)
def test_every_term_and_average_of_a_regression_is_a_combination_of_its_coefficients(
    design: str, options: dict[str, Any]
) -> None:
    for gaps in (0.0, 0.08):
        sample = asked(few_clusters(n=90, gaps=gaps, clusters=7, seed=5))
        fit = find_design(design)(sample, **options)
        answers: list[Estimate] = [fit, fit.headline]
        if design in ("sun_abraham", "etwfe", "stacked"):
            answers += [fit.aggregate(to) for to in ("event", "cohort", "calendar", "treated_average")]
            answers.append(fit.aggregate("event").select(fit.aggregate("event").event_time >= 0))
        for answer in answers:
            assert answer.form is not None
            combined = answer.form.regression()[0].coefficient @ answer.form.combination
            assert np.allclose(combined, answer.effect_level, rtol=1e-9, atol=1e-9)


def test_averages_take_shares_as_given_where_refits_estimate_them() -> None:
    sample = asked(few_clusters(n=90, clusters=7, seed=5))
    solved, refitted = cr3(sample, "sun_abraham"), leave_one_cluster_out(sample, "sun_abraham")
    assert not np.allclose(solved.without, refitted.without, rtol=1e-4)
    assert solved.effect == pytest.approx(refitted.effect, rel=1e-10)
    assert "same weights" in solved.sentences[-1]
    assert not any("same weights" in said for said in refitted.sentences)
    cell = cr3(sample, "sun_abraham", term="ATT(4,6)")
    assert not cell.shares_given


def test_centres_differ_by_the_bias_of_the_jackknife() -> None:
    sample = asked(few_clusters())
    around, mean = cr3(sample, "twfe"), cr3(sample, "twfe", centre="mean")
    g, bias = around.n_clusters, np.mean(around.without) - around.effect
    assert around.std_error**2 - mean.std_error**2 == pytest.approx((g - 1) * bias**2, rel=1e-6)
    assert around.std_error > mean.std_error


def test_a_test_is_by_t_with_as_many_degrees_of_freedom_as_clusters_less_one() -> None:
    found = cr3(asked(few_clusters()), "twfe")
    row = found.tidy(0.9).iloc[0]
    assert row["p_value"] == pytest.approx(float(two_sided_p(np.array(row["statistic"]), 5)))
    assert two_sided_p(np.array((row["conf_high"] - found.effect) / found.std_error), 5) == pytest.approx(0.1)
    assert (row["conf_low"] + row["conf_high"]) / 2 == pytest.approx(found.effect)


def test_what_does_not_change_the_question_does_not_change_the_answer() -> None:
    panel = few_clusters(clusters=8)
    rng = np.random.default_rng(1)
    y = panel.outcomes["y"]
    shifted = y + 50 * rng.normal(size=(len(y), 1)) + 50 * rng.normal(size=(1, y.shape[1]))
    order = rng.permutation(len(y))
    moved = Panel(
        name="moved",
        units=np.sort(panel.units),
        periods=panel.periods + 1990,
        outcomes={"y": -1e3 * shifted[order]},
        covariates={},
        first_treated={"event": panel.first_treated["event"][order] + 1990},
        treatment={},
        attributes={"state": panel.attributes["state"][order]},
    )
    one, other = cr3(asked(panel), "event_study"), cr3(asked(moved), "event_study")
    places = {label: k for k, label in enumerate(other.clusters)}
    same = [places[label] for label in one.clusters]
    assert np.allclose(other.without[same], -1e3 * one.without, rtol=1e-8)
    assert np.allclose(other.leverage[same], one.leverage, rtol=1e-9)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-7)


def test_any_design_can_be_refitted_and_reports_each_refit() -> None:
    panel = few_clusters(n=60, clusters=5)
    counts = replace(panel, outcomes={"y": np.round(np.exp(panel.outcomes["y"] / 4))})
    for design, used, fields in (
        ("callaway_santanna", panel, {"average": "event_average", "horizon": 1}),
        ("poisson_twfe", counts, {"scale": "proportional"}),
    ):
        sample, calls = asked(used, **fields), []
        with settings(progress=calls.append):
            found = leave_one_cluster_out(sample, design)
        assert len(calls) == 5
        left = [find_design(design)(sample.only(sample.cluster != c, "out")) for c in range(5)]
        by_hand = np.array([fit.headline.effect[0] for fit in left])
        assert np.allclose(found.without, by_hand, rtol=1e-12)
        assert found.std_error == pytest.approx(np.sqrt(0.8 * np.sum((by_hand - found.effect) ** 2)))
        assert found.leverage is None
        assert found.effective_clusters is None
        assert list(found.by_cluster().columns) == ["cluster", "without"]


def with_a_cohort_in_one_state(**fields: Any) -> Sample:
    panel = few_clusters(n=60)
    first = panel.first_treated["event"]
    state = np.where(first == 4, "alone", panel.attributes["state"])
    return asked(replace(panel, attributes={"state": state}), **fields)


def test_event_times_beyond_the_horizon_may_be_gone_without_a_cluster() -> None:
    sample = with_a_cohort_in_one_state(average="event_average", horizon=1)
    refitted = leave_one_cluster_out(sample, "event_study")
    assert np.allclose(cr3(sample, "event_study").without, refitted.without, rtol=1e-9)
    with pytest.raises(QuestionError, match=r"without cluster alone .* the same question: event 3, event 4"):
        leave_one_cluster_out(with_a_cohort_in_one_state(), "event_study")


def test_horizon_and_balance_excuse_no_event_time_of_an_average_that_they_do_not_limit() -> None:
    gone = r"without cluster alone .* the same question: ATT\(4,4\), .*ATT\(4,8\)"
    for fields, term in (
        ({"horizon": 1, "average": "event_average"}, "treated_average"),
        ({"balance": 1, "average": "event_average"}, "treated_average"),
    ):
        with pytest.raises(QuestionError, match=gone):
            leave_one_cluster_out(with_a_cohort_in_one_state(**fields), "callaway_santanna", term=term)


def test_a_term_that_one_cluster_identifies_is_refused_by_the_name_of_the_cluster() -> None:
    sample = with_a_cohort_in_one_state()
    for design in ("sun_abraham", "etwfe"):
        with pytest.raises(
            QuestionError, match=r"^cr3: treated_average has no estimate without cluster alone;"
        ):
            cr3(sample, design)
    with pytest.raises(QuestionError, match=r"without cluster alone .* the same question: ATT\(4,4\)"):
        leave_one_cluster_out(sample, "sun_abraham")
    with pytest.raises(QuestionError, match=r"without cluster alone .*ATT\(4,5\)"):
        leave_one_cluster_out(sample, "sun_abraham", term="ATT(4,5)")
    with pytest.raises(QuestionError, match=r"without cluster alone .* the same question: ATT\(4,1\)"):
        leave_one_cluster_out(sample, "sun_abraham", term="event -3")
    assert np.all(np.isfinite(cr3(sample, "sun_abraham", term="ATT(6,7)").without))


def of_one_treated(panel: Panel) -> np.ndarray:
    """Return states of which the one of the treated units is neither first nor last."""
    never = np.isnan(panel.first_treated["event"])
    return np.where(never, np.resize(["a", "z"], panel.n_units), "m")


def test_a_question_without_an_answer_is_one_error() -> None:
    panel = few_clusters()
    one = asked(replace(panel, attributes={"state": np.full(60, "s")}))
    treated = asked(replace(panel, attributes={"state": of_one_treated(panel)}))
    for refits in (cr3, leave_one_cluster_out):
        with pytest.raises(QuestionError, match=f"^{refits.__name__}: there is one cluster"):
            refits(one, "twfe")
        with pytest.raises(QuestionError, match=f"^{refits.__name__}: only cluster m is treated"):
            refits(treated, "twfe")
        with pytest.raises(QuestionError, match='no centre "median"'):
            refits(asked(panel), "twfe", centre="median")
        with pytest.raises(QuestionError, match=f'^{refits.__name__}: there is no term "event 9"'):
            refits(asked(panel), "event_study", term="event 9")
        with pytest.raises(QuestionError, match=f"^{refits.__name__}: event -1 is the reference"):
            refits(asked(panel), "event_study", term="event -1")
        with pytest.raises(QuestionError, match='no design "tfwe"'):
            refits(asked(panel), "tfwe")
    with pytest.raises(QuestionError, match=r"imputation is not.*leave_one_cluster_out"):
        cr3(asked(panel), "imputation")


def test_a_cluster_without_observations_is_not_counted() -> None:
    panel = simulated.panel(60, cohorts=(4,))
    panel = replace(panel, attributes={"state": few_clusters().attributes["state"]})
    y = panel.outcomes["y"].copy()
    y[panel.attributes["state"] == "s2", :4] = np.nan
    sample = asked(replace(panel, outcomes={"y": y}))
    found = cr3(sample, "stacked", before=2, after=1, term="ATT(4,5)")
    assert found.n_clusters == 5
    assert "s2" not in found.clusters
    y[panel.attributes["state"] == "s2", 4:7] = np.nan
    changes = cr3(asked(replace(panel, outcomes={"y": y})), "lp_did")
    assert changes.n_clusters == 5
    assert "s2" not in changes.clusters


def test_the_finding_is_told_with_its_numbers() -> None:
    found = cr3(asked(few_clusters(clusters=7)), "twfe")
    said = " ".join(found.sentences)
    low, high = found.interval()
    for number in (f"{found.effect:.4g}", f"{found.std_error:.4g}", f"{low:.4g} to {high:.4g}", "7 clusters"):
        assert number in said
    assert found.clusters[np.argmin(found.without)] in said
    assert f"{found.partial_leverage.max():.0%}" in said
    assert f"; {found.clusters[np.argmax(found.partial_leverage)]} has the largest share of it" in said
    assert f"worth {found.effective_clusters:.1f} clusters" in said
    assert f"{found.without.max():.4g} (without {found.clusters[np.argmax(found.without)]})" in said
    assert f"{found.without.min():.4g} (without {found.clusters[np.argmin(found.without)]})" in said
    row = found.tidy().iloc[0].to_dict()
    numbers = (found.effect, found.std_error, found.effect / found.std_error, found.p_value, low, high)
    assert row == dict(zip(ROW, (found.term, *numbers), strict=True))
    assert found.interval() == found.interval(0.95)
    with pytest.raises(QuestionError, match="level is 95; it must lie between 0 and 1"):
        found.interval(95)
    assert repr(found) == (
        f"LeaveOut(design='twfe', term='treatment', effect={found.effect!r}, centre='estimate', shares_given=False)"
    )
    table = found.by_cluster()
    assert table["partial_leverage"].sum() == pytest.approx(1)
    assert np.array_equal(table["without"], found.without)


def test_the_jackknife_covers_with_few_treated_clusters() -> None:
    rng, tests = np.random.default_rng(20261125), 400
    rejected = np.zeros((tests, 3), dtype=bool)
    for k in range(tests):
        sample = sampled(rng, treated=3)
        fit = find_design("twfe")(sample)
        named = fit.with_vcov("CR1_fixest")
        p_values = cr3(sample, "twfe").p_value, *(Effect.of("", f).p_value for f in (named, fit))
        rejected[k] = np.array(p_values) <= 0.05
    assert abs(rejected[:, 0].mean() - 0.05) < 0.025
    assert rejected[:, 1].mean() > rejected[:, 0].mean() + 0.02
    assert rejected[:, 2].mean() < 0.075


@pytest.mark.parametrize("treated", [2, 10])
def test_few_clusters_on_a_side_are_told(treated: int) -> None:
    sample = sampled(np.random.default_rng(0), treated=treated)
    sides = f"{treated} clusters on the treated and {12 - treated} on the comparison side carry the variance of treat"
    for found in (cr3(sample, "twfe"), leave_one_cluster_out(sample, "twfe")):
        assert found.sentences[-1].startswith(sides)
    enough = cr3(sampled(np.random.default_rng(0), treated=6), "twfe")
    assert "may reject too often" not in " ".join(enough.sentences)


def test_an_outcome_without_errors_is_refused() -> None:
    panel = few_clusters()
    exact = simulated.effects(panel.first_treated["event"], 1.0) > 0
    sample = asked(replace(panel, outcomes={"y": exact.astype(float)}))
    for refits in (cr3, leave_one_cluster_out):
        with pytest.raises(QuestionError, match=r"^twfe: treatment is the same without every cluster"):
            refits(sample, "twfe")
