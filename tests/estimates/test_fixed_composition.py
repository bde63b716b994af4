"""Averages of fixed composition: which cohorts are in them, against a plain version, and what they do not depend on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simulated

from study import Estimate, Panel, Question, QuestionError, estimate
from study.designs import Supports, find_design
from study.inference import agreement_of
from study.inference.leave_out import leave_one_cluster_out

BALANCED = Question("y", "event", average="event_average", balance=2, min_cohort_size=1)


def drawn(seed: int = 3, gaps: float = 0.0, n: int = 120) -> Panel:
    return simulated.panel(n=n, seed=seed, gaps=gaps)


def answer(panel: Panel, question: Question = BALANCED, **options: Any) -> Estimate:
    return estimate(panel, question, vcov="CR0", **options)


def by_hand(panel: Panel, question: Question, w: np.ndarray) -> Any:
    """Return the balanced average as a function of the units' weights, cell by cell."""
    y, first = panel.outcomes["y"], panel.first_treated["event"]
    time, d, balance = panel.periods, question.anticipation, question.balance
    kept = ~(first - d <= time[0])
    path = []
    for event in range(balance + 1):
        total = share = 0.0
        for g in [g for g in np.unique(first[kept]) if time[-1] - g >= balance]:
            now, base = (int(np.flatnonzero(time == t)[0]) for t in (g + event, g - 1 - d))
            change = y[:, now] - y[:, base]
            seen = kept & ~np.isnan(change)
            later = seen & ~(first - d <= max(time[now], time[base]))
            own = seen & (first == g)
            effect = [(w[who] * change[who]).sum() / w[who].sum() for who in (own, later)]
            size = w[kept & (first == g)].sum()
            total, share = total + size * (effect[0] - effect[1]), share + size
        path.append(total / share)
    return sum(path) / len(path)


@pytest.mark.parametrize("gaps", [0.0, 0.15])
@pytest.mark.parametrize("anticipation", [0, 1])
@pytest.mark.parametrize("balance", [0, 2, 4])
def test_estimate_and_error_are_those_of_a_plain_version(
    balance: int, anticipation: int, gaps: float
) -> None:
    panel = drawn(seed=balance, gaps=gaps)
    question = BALANCED.replace(average="event_average", balance=balance, anticipation=anticipation)
    fit = answer(panel, question).headline
    ones = np.ones(panel.n_units)
    kept = ~(panel.first_treated["event"] - anticipation <= panel.periods[0])
    tiny = 1e-40
    influence = [by_hand(panel, question, ones + 1j * tiny * e).imag / tiny for e in np.eye(len(ones))[kept]]
    assert fit.effect[0] == pytest.approx(by_hand(panel, question, ones), abs=1e-9)
    assert fit.std_error[0] == pytest.approx(np.linalg.norm(influence), rel=1e-9)


def test_the_path_ends_at_the_balance_and_is_of_the_same_cohorts_at_each_event_time() -> None:
    fit = answer(drawn())
    path = fit.by_event_time
    assert "averaged over cohorts seen up to event time 2" in " ".join(str(fit).split())
    assert path.event_time.max() == 2
    treated = path.contrast.treated[:, path.event_time >= 0]
    assert (treated > 0).any(axis=1).sum() < len(fit.sample.cohorts)
    np.testing.assert_array_equal(treated, treated[:, :1].repeat(3, axis=1))
    np.testing.assert_array_equal(path.effect, fit.aggregate("event", balance=2).effect)


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_against_the_never_treated_it_is_the_average_of_a_panel_without_the_later_cohorts(scale: str) -> None:
    panel = simulated.panel(n=200, seed=4, level=9.0)
    question = BALANCED.replace(comparison="never_treated", scale=scale)
    first = panel.first_treated["event"]
    early = simulated.subset(panel, ~(first > panel.periods[-1] - 2))
    ours, refit = (
        estimate(panel, question),
        estimate(early, question.replace(balance=None, average="event_average", horizon=2)),
    )
    for name in ("effect", "std_error", "degrees_of_freedom"):
        np.testing.assert_allclose(getattr(ours.headline, name), getattr(refit.headline, name), rtol=1e-9)


def test_outcomes_of_cohorts_seen_for_less_count_only_while_they_are_untreated() -> None:
    panel, fit = drawn(), answer(drawn()).headline
    first, time = panel.first_treated["event"][:, None], panel.periods
    late = first > time[-1] - 2
    for cells, alike in ((late & (time >= first), True), (late & (time < first), False)):
        moved = replace(panel, outcomes={"y": panel.outcomes["y"] + 5.0 * cells * np.arange(len(time))})
        assert np.isclose(answer(moved).headline.effect[0], fit.effect[0], atol=1e-12) == alike


def test_the_average_does_not_depend_on_labels_of_periods_or_the_order_of_units() -> None:
    panel, fit = drawn(gaps=0.1), answer(drawn(gaps=0.1)).headline
    later = replace(
        panel, periods=panel.periods + 40, first_treated={"event": panel.first_treated["event"] + 40}
    )
    turned = simulated.ordered(panel, np.arange(panel.n_units)[::-1])
    for other in (later, turned):
        again = answer(other).headline
        np.testing.assert_allclose([again.effect, again.std_error], [fit.effect, fit.std_error], rtol=1e-12)


def test_a_cohort_without_an_effect_at_one_of_the_event_times_is_out_of_all() -> None:
    panel = drawn()
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    y[first == 4, panel.periods == 5] = np.nan
    fit = answer(replace(panel, outcomes={"y": y}))
    gone = fit.sample.groups[0] == 4
    assert fit.contrast.treated[gone].any()
    assert not fit.by_event_time.contrast.treated[gone].any()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"balance": -1}, "balance is -1; it must be at least 0"),
        (
            {"average": "cohort_average"},
            "balance is 2, which is of effects by event time, and the average is",
        ),
        (
            {"average": "event_average", "horizon": 3},
            "horizon is 3, but with balance=2 effects end at event time 2",
        ),
        (
            {"average": "event_average", "balance": 7},
            "balance is 7, but no cohort of simulated is seen later than event time",
        ),
        ({"event": "path"}, "path is not absorbing, so it has no cohorts to balance"),
    ],
)
def test_a_balance_that_cannot_be_is_refused(changes: dict[str, Any], said: str) -> None:
    panel = drawn()
    path = np.zeros_like(panel.outcomes["y"])
    path[:9, 3] = 1
    with pytest.raises(QuestionError, match=said):
        BALANCED.replace(**changes).sample(replace(panel, treatment={"path": path}))


def test_designs_without_effects_by_cohort_refuse_and_name_those_with_them() -> None:
    said = "event_study: it cannot answer a question with a balance of cohorts; callaway_santanna, "
    with pytest.raises(QuestionError, match=said):
        estimate(drawn(), BALANCED, "event_study")
    assert Supports.BALANCE in find_design("imputation").supports


def test_no_cohort_with_all_effects_is_refused() -> None:
    panel = drawn()
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    for g in np.unique(first[~np.isnan(first)]):
        y[first == g] = np.where(panel.periods == g + 1, np.nan, y[first == g])
    with pytest.raises(QuestionError, match="no cohort has an effect at every event time from 0 to 2"):
        _ = answer(replace(panel, outcomes={"y": y})).headline


def test_averages_of_unlike_composition_are_not_compared() -> None:
    fit = answer(drawn(), BALANCED.replace(balance=None, average="event_average", horizon=2))
    agreement = agreement_of({"all": fit, "fixed": fit.balanced(2)})
    assert agreement.sup_t is None
    assert "balanced to 2" in " ".join(agreement.notes)


def test_a_cluster_whose_cohort_is_in_no_balanced_average_can_be_left_out() -> None:
    panel = drawn()
    first = panel.first_treated["event"].copy()
    first[np.flatnonzero(np.isnan(first))[0]] = 8.0
    alone = replace(panel, first_treated={"event": first})
    left = leave_one_cluster_out(BALANCED.sample(alone), "callaway_santanna")
    assert left.std_error == pytest.approx(estimate(alone, BALANCED).headline.std_error[0], rel=0.05)
    with pytest.raises(QuestionError):
        leave_one_cluster_out(BALANCED.replace(balance=None).sample(alone), "callaway_santanna")
