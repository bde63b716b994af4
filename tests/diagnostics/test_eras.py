"""Effects by era of adoption: what refits without the other cohorts give, on simulated panels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import simulated

from study import Panel, Question, QuestionError, diagnostics, estimate
from study.core import two_sided_p
from study.diagnostics import Finding

ERAS = [(3, 5), (6, 8)]  # cohorts 4; 6 and 7
ASKED = Question("y", "event", comparison="never_treated", average="event_average", horizon=2)


def found(
    panel: Panel,
    question: Question = ASKED,
    eras: list[tuple[int, int]] = ERAS,
    design: str = "callaway_santanna",
) -> Finding:
    return diagnostics.eras(estimate(panel, question, design), eras)


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_against_the_never_treated_each_row_is_the_refit_without_the_other_cohorts(scale: str) -> None:
    panel, question = simulated.panel(n=300, seed=1, level=9.0), ASKED.replace(scale=scale)
    frame = found(panel, question).frame
    assert list(frame["label"]) == ["3-5", "6-8", "without 3-5", "without 6-8"]
    for row, cohorts in zip(frame.itertuples(), ([4], [6, 7], [6, 7], [4]), strict=True):
        first = panel.first_treated["event"]
        some = simulated.subset(panel, np.isnan(first) | np.isin(first, cohorts))
        refit = estimate(some, question).headline
        assert row.estimate == pytest.approx(refit.effect[0], rel=1e-9)
        assert row.std_error == pytest.approx(refit.std_error[0], rel=1e-9)
        assert row.n_treated == refit.sample.n_treated


def test_the_test_of_two_eras_is_the_t_test_of_their_difference() -> None:
    fit = estimate(simulated.panel(n=200, seed=5), ASKED)
    a, b = (
        fit.select((fit.cohort >= first) & (fit.cohort <= last)).aggregate("event_average")
        for first, last in ERAS
    )
    difference = float(a.effect[0] - b.effect[0])
    error = np.linalg.norm(a.errors.dense() - b.errors.dense()) / fit.sample.n_units
    finding = diagnostics.eras(fit, ERAS, draws=40_000)
    assert finding["p_wald"] == pytest.approx(two_sided_p(difference / error, np.inf), abs=0.03)
    assert finding["p_equal"] == pytest.approx(finding["p_wald"], abs=0.02)


def test_eras_of_unlike_effects_are_told_and_those_of_like_effects_are_not() -> None:
    panel = simulated.panel(n=300, seed=2)
    assert found(panel)["p_equal"] > 0.05
    early = (panel.first_treated["event"] == 4)[:, None] & (panel.periods >= 4)
    finding = found(replace(panel, outcomes={"y": panel.outcomes["y"] + 3.0 * early}))
    assert finding["p_equal"] < 0.01
    assert "rejects at 5%" in finding.verdict


def test_order_of_eras_and_adopters_outside_of_all_change_nothing_but_the_rows() -> None:
    panel = simulated.panel(n=200, seed=3)
    rows = found(panel).frame.set_index("label")["estimate"]
    turned = found(panel, eras=ERAS[::-1]).frame.set_index("label")["estimate"]
    assert rows.to_dict() == pytest.approx(turned.to_dict(), abs=1e-12)
    one = found(panel, eras=[(3, 5)])
    assert one.frame.set_index("label")["estimate"].to_dict() == pytest.approx(
        rows[["3-5", "without 3-5"]].to_dict(), abs=1e-12
    )
    assert np.isnan(one["p_equal"])


def test_an_era_without_adopters_is_listed_with_the_reason() -> None:
    finding = found(simulated.panel(n=200), eras=[*ERAS, (1, 2)])
    assert finding["refused"] == (("1-2", "nobody is first treated in it."),)
    assert "Without an estimate: 1-2, because nobody is first treated in it." in finding.sentences


@pytest.mark.parametrize(
    ("eras", "design", "said"),
    [
        ([], "callaway_santanna", r"eras is \[\]; give first and last periods, as in"),
        ([(3, 5, 6)], "callaway_santanna", r"eras is \[\(3, 5, 6\)\]; give first and last periods"),
        ([(5, 3)], "callaway_santanna", "an era begins in 5 and ends in 3; turn it round."),
        ([(3, 6), (6, 8)], "callaway_santanna", "two eras have 6 in them; each adopter is of one."),
        (ERAS, "event_study", "event_study has no effects by cohort"),
        ([(1, 2)], "callaway_santanna", "no changed sample has an estimate. 1-2: nobody is first treated"),
    ],
)
def test_eras_that_cannot_be_are_refused(eras: list[tuple[int, int]], design: str, said: str) -> None:
    with pytest.raises(QuestionError, match=f"^eras: .*{said}"):
        found(simulated.panel(n=100), Question("y", "event"), eras, design)


def test_it_is_drawn() -> None:
    figure = found(simulated.panel(n=100)).plot()
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()][:2] == ["3-5", "6-8"]


def test_an_average_whose_untreated_mean_is_not_positive_is_refused_for_that() -> None:
    panel = simulated.panel(n=100, level=-50.0)
    with pytest.raises(QuestionError, match="3-5: its untreated mean is not positive"):
        found(panel, ASKED.replace(scale="proportional"))


@pytest.mark.parametrize("design", ["callaway_santanna", "sun_abraham"])
def test_adopters_of_other_eras_are_said_to_be_compared_with_only_where_the_design_does(design: str) -> None:
    panel = simulated.panel(n=150, seed=1)
    finding = found(panel, ASKED.replace(comparison="not_yet_treated"), [(4, 4)], design)
    first = panel.first_treated["event"]
    alone = estimate(simulated.subset(panel, np.isnan(first) | (first == 4)), ASKED, design).headline
    stands = abs(finding.frame["estimate"].iloc[0] - alone.effect[0]) > 1e-9
    assert stands == (design == "callaway_santanna")
    assert "until their own event where the design compares with the not yet treated." in finding.sentences[3]
