"""Effects by event time around one reference, as the diagnostics of pre-trends take them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated

from study import Estimate, Panel, Question, QuestionError, diagnostics, estimate
from study.diagnostics.event_path import event_path

QUESTION = Question("y", "event", min_cohort_size=1, average="event_average", horizon=1)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulated.panel(150, level=6.0)


def by_time(fit: Estimate) -> dict[float, float]:
    path = fit.aggregate("event")
    return dict(zip(path.event_time, path.effect, strict=True))


def test_it_is_the_path_without_its_reference(panel: Panel) -> None:
    fit = estimate(panel, QUESTION)
    path = event_path(fit, "test")
    assert list(path.event_time) == [-3, -2, 0, 1]
    assert (path.reference, path.n_pre, path.n_post) == (-1, 2, 2)
    np.testing.assert_array_equal(path.effect, [by_time(fit)[e] for e in path.event_time])
    errors = dict(zip(fit.aggregate("event").event_time, fit.aggregate("event").std_error, strict=True))
    expected = [errors[e] ** 2 for e in path.event_time]
    np.testing.assert_allclose(np.diag(path.covariance), expected, rtol=1e-12)


def test_terms_in_another_order_are_the_same_path(panel: Panel) -> None:
    fit = estimate(panel, QUESTION, "event_study")
    turned = np.arange(len(fit.terms))[::-1]
    reversed_fit = replace(
        fit,
        terms=tuple(fit.terms[k] for k in turned),
        effect_level=fit.effect_level[turned],
        level_influence=fit.level_influence @ np.eye(len(turned))[:, turned],
        event_time=fit.event_time[turned],
        reference=fit.reference[turned],
        form=None,
    )
    path, again = event_path(fit, "test"), event_path(reversed_fit, "test")
    np.testing.assert_array_equal(again.event_time, path.event_time)
    np.testing.assert_allclose(again.effect, path.effect, rtol=1e-12)
    np.testing.assert_allclose(again.covariance, path.covariance, rtol=1e-9)


def test_the_window_can_be_chosen_and_with_anticipation_the_reference_moves(panel: Panel) -> None:
    fit = estimate(panel, QUESTION.replace(anticipation=1))
    path = event_path(fit, "test", before=1, after=0)
    assert (list(path.event_time), path.reference) == ([-3, -1, 0], -2)


def test_shares_have_one_mean_so_that_their_average_is_the_headline(panel: Panel) -> None:
    fit = estimate(panel, QUESTION.replace(scale="proportional"))
    path = event_path(fit, "test")
    weights = np.where(path.event_time >= 0, 1 / path.n_post, 0.0)
    assert weights @ path.effect == pytest.approx(fit.headline.effect[0], rel=1e-12)
    variance = fit.headline.std_error[0] ** 2
    assert weights @ path.covariance @ weights == pytest.approx(variance, rel=1e-10)


def test_diagnostics_say_which_mean_effects_are_shares_of(panel: Panel) -> None:
    level, share = (estimate(panel, QUESTION.replace(scale=scale)) for scale in ("level", "proportional"))
    for diagnostic, mean in (
        (diagnostics.leads, "divided by the counterfactual mean at its own event time; the tests are of"),
        (diagnostics.pretrends, "divided by one mean, that of the average effect"),
        (diagnostics.honest_did, "divided by one mean, that of the average effect"),
    ):
        assert mean in diagnostic(share).sentences[-1]
        assert "divided by" not in str(diagnostic(level))


def test_shares_before_treatment_do_not_explode_where_their_own_mean_is_small(panel: Panel) -> None:
    low = replace(panel, outcomes={"y": panel.outcomes["y"] - 6.0})
    question = QUESTION.replace(scale="proportional")
    levels = event_path(estimate(low, QUESTION), "test").effect
    shares = event_path(estimate(low, question), "test").effect
    np.testing.assert_allclose(shares / levels, shares[0] / levels[0], rtol=1e-10)


@pytest.mark.parametrize(
    ("question", "design", "window", "message"),
    [
        (QUESTION, "twfe", {}, "one coefficient and no effects by event time"),
        (QUESTION.replace(base="varying"), "callaway_santanna", {}, 'base="universal"'),
        (QUESTION, "imputation", {}, "does not shift both alike"),
        (
            QUESTION,
            "callaway_santanna",
            {"needs_pre": 9},
            "2 event times before the reference -1 and it takes 9",
        ),
        (QUESTION, "callaway_santanna", {"before": 0}, "0 event times before the reference"),
    ],
)
def test_what_has_no_path_is_refused_by_name(panel: Panel, question, design, window, message) -> None:
    with pytest.raises(QuestionError, match=message):
        event_path(estimate(panel, question, design), "test", **window)


def test_one_cluster_and_a_singular_covariance_are_refused() -> None:
    one = simulated.panel(40)
    one = replace(one, attributes={"state": np.full(40, "a")})
    with pytest.raises(QuestionError, match="one cluster"):
        event_path(estimate(one, QUESTION.replace(cluster="state")), "test")
    few = replace(one, attributes={"state": np.array(["a", "b", "c"])[np.arange(40) % 3]})
    with pytest.raises(QuestionError, match="has rank 3"):
        event_path(estimate(few, QUESTION.replace(cluster="state")), "test")


def test_a_mean_that_is_not_positive_gives_no_shares() -> None:
    low = simulated.panel(100, level=-50.0)
    with pytest.raises(QuestionError, match='scale="level"'):
        event_path(estimate(low, QUESTION.replace(scale="proportional")), "test")


def test_effects_over_unlike_amounts_of_treatment_have_no_common_unit() -> None:
    panel = simulated.panel(60)
    amount = np.cumsum(panel.periods >= panel.first_treated["event"][:, None], axis=1).astype(float)
    dosed = replace(panel, first_treated={}, doses={"event": amount})
    question = Question("y", "event", average="event_average", horizon=1)
    with pytest.raises(QuestionError, match="use normalized=False"):
        event_path(estimate(dosed, question, "dcdh", normalized=True), "test")
    assert event_path(estimate(dosed, question, "dcdh"), "test").n_pre == 2


def on_one_unit(panel: Panel, *times: float) -> Estimate:
    """Return an event study whose effects at some event times rest on one unit."""
    fit = estimate(panel, QUESTION.replace(average="event_average", horizon=2), "event_study")
    only = np.where(np.isin(fit.event_time, times), 0, -1)
    return replace(fit, contrast=replace(fit.contrast, only=only))


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        (
            (1,),
            "event times 1 to 2 are left out, since event time 1 rests on one cluster.",
        ),
        ((2,), "event time 2 rests on one cluster and is left out."),
        (
            (-3,),
            "event times -4 to -3 are left out, since event time -3 rests on one cluster.",
        ),
    ],
)
def test_event_times_that_a_term_of_one_unit_cuts_off_are_named(
    panel: Panel, times: tuple[float, ...], sentence: str
) -> None:
    fit = on_one_unit(panel, *times)
    for diagnostic in (diagnostics.pretrends, diagnostics.honest_did):
        assert diagnostic(fit).verdict.endswith(f"; {sentence}")
        assert "left out" not in str(diagnostic(estimate(panel, QUESTION, "event_study")))


def test_leads_that_rest_on_one_unit_are_said_not_to_be_in_the_joint_test(panel: Panel) -> None:
    found = diagnostics.leads(on_one_unit(panel, -3, -4, 1), draws=99)
    assert (
        "before the event, but for event -4 and event -3 that rest on one unit or have no standard error, are"
        in found.verdict
    )
    assert found.frame.set_index("event_time").loc[[-4, -3], "std_error"].notna().all()
