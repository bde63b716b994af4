"""balance against loops over units, statsmodels' logit, and the weights that callaway_santanna uses."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated
import statsmodels.api as sm
from matplotlib.figure import Figure
from paper_inputs import paper_panel

from study import Panel, Question
from study.core.errors import QuestionError
from study.designs import find_design
from study.diagnostics import Finding
from study.diagnostics.balance import balance, cohort_groups, contrast, estimated, outcome_variables
from study.diagnostics.overlap import Overlap, overlap
from study.panel.question import Sample

ASKED = Question(outcome="y", event="event", covariates=("x1", "x2"))
CASES: list[dict[str, Any]] = [
    {},
    {"comparison": "never_treated"},
    {"anticipation": 1, "weights": "size"},
    {"missing": "balanced", "weights": "size", "comparison": "never_treated"},
    {"missing": "cells", "scale": "level"},
]


def drawn(panel: Panel | None = None, **changes: Any) -> Sample:
    return ASKED.replace(**changes).sample(simulated.panel(gaps=0.05) if panel is None else panel)


def with_covariate(x: np.ndarray, **changes: Any) -> Panel:
    """Return a panel whose covariate x1 is given by unit."""
    panel = simulated.panel(**changes)
    spread = x[:, None] * np.ones(len(simulated.PERIODS))
    return replace(panel, covariates=dict(panel.covariates) | {"x1": spread})


def two_groups(treated: np.ndarray, compared: np.ndarray) -> dict[str, Any]:
    """Return the contrast of treated and of comparison units of one weight each."""
    groups = {True: treated, False: compared}
    return contrast(
        pd.concat([pd.DataFrame({"treated": k, "x": x, "weight": 1.0}) for k, x in groups.items()])
    )


def pooled(found: Finding) -> pd.DataFrame:
    """Return the rows of all cohorts together, by covariate."""
    return found.frame[found.frame["cohort"] == "pooled"].set_index("covariate")


def scores(found: Finding) -> dict[str, Overlap]:
    """Return the propensity scores that can be estimated, by cohort."""
    return estimated(found["overlaps"])


def by_hand(sample: Sample, cohort: float, column: np.ndarray) -> tuple[float, float, float, float]:
    """Return means, standardised difference and variance ratio of one cohort by loops over its units."""
    now = list(sample.periods).index(cohort - sample.question.anticipation)
    sides: tuple[list[tuple[float, float]], ...] = ([], [])
    for i in range(sample.n_units):
        date = sample.first_treated[i]
        seen = [not np.isnan(sample.y[i, t]) for t in (now - 1, now)]
        if not (any(seen) if sample.question.missing == "cells" else all(seen)) or np.isnan(column[i]):
            continue
        if date == cohort:
            sides[0].append((column[i], sample.weights[i]))
        elif np.isnan(date) or (sample.question.comparison == "not_yet_treated" and date > cohort):
            sides[1].append((column[i], sample.weights[i]))
    means, variances = [], []
    for side in sides:
        total = sum(w for _, w in side)
        mean = sum(w * v for v, w in side) / total
        variances.append(sum(w * (v - mean) ** 2 for v, w in side) / total * len(side) / (len(side) - 1))
        means.append(mean)
    spread = ((variances[0] + variances[1]) / 2) ** 0.5
    return means[0], means[1], (means[0] - means[1]) / spread, variances[0] / variances[1]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_cohort_equals_loops_over_units(case: dict[str, Any]) -> None:
    sample = drawn(**case)
    table = balance(sample).tidy()
    compared = 0
    for k, name in enumerate(("x1", "x2")):
        for g in sample.cohorts:
            row = table[(table["covariate"] == name) & (table["cohort"] == f"{g:g}")].iloc[0]
            ours = row[["mean_treated", "mean_comparison", "difference", "variance_ratio"]].astype(float)
            np.testing.assert_allclose(ours, by_hand(sample, g, sample.x_baseline[:, k]), rtol=1e-9)
            compared += 1
    assert compared == 6


def test_pooled_differences_weigh_cohorts_by_their_treated_units() -> None:
    table = balance(drawn()).tidy()
    for _, rows in table.groupby("covariate"):
        cohorts, all_ = rows[rows["cohort"] != "pooled"], rows[rows["cohort"] == "pooled"].iloc[0]
        for side in ("mean_treated", "mean_comparison"):
            assert np.average(cohorts[side], weights=cohorts["n_treated"]) == pytest.approx(all_[side])
        gap = (cohorts["weighted_difference"] * cohorts["std_deviation"]).to_numpy()
        after = np.average(gap, weights=cohorts["n_treated"]) / all_["std_deviation"]
        assert all_["weighted_difference"] == pytest.approx(after, rel=1e-9)


def test_one_cohort_pooled_is_the_cohort() -> None:
    table = balance(drawn(simulated.panel(cohorts=(6,)))).tidy().drop(columns="cohort")
    half = len(table) // 2
    np.testing.assert_allclose(
        table[:half].iloc[:, 1:-1].astype(float), table[half:].iloc[:, 1:-1].astype(float), rtol=1e-9
    )


def test_scores_and_weights_are_those_of_a_logit() -> None:
    sample = drawn(weights="size")
    found, groups = balance(sample), {g.cohort: g for g in cohort_groups(sample)[0]}
    assert len(scores(found)) == 3
    for cohort, made in scores(found).items():
        rows = np.concatenate([groups[cohort].treated, groups[cohort].compared])
        treated = np.arange(len(rows)) < len(groups[cohort].treated)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            logit = sm.GLM(
                treated.astype(float),
                sm.add_constant(sample.x_baseline[rows]),
                sm.families.Binomial(),
                freq_weights=sample.weights[rows],
            ).fit(tol=1e-12)
        score = logit.predict()
        np.testing.assert_allclose(made.treated, score[treated], rtol=1e-8)
        np.testing.assert_allclose(made.compared, score[~treated], rtol=1e-8)
        weight = (sample.weights[rows] * score / (1 - score))[~treated]
        assert made.effective == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=1e-8)
        assert made.largest_share == pytest.approx(weight.max() / weight.sum(), rel=1e-8)


@pytest.mark.parametrize("case", CASES[:3], ids=str)
def test_the_weights_give_the_estimates_of_callaway_santanna_by_ipw(case: dict[str, Any]) -> None:
    sample = drawn(**case)
    fit = find_design("callaway_santanna")(sample, method="ipw")
    found = balance(sample)
    for group in cohort_groups(sample)[0]:
        change = sample.y[:, group.base + 1] - sample.y[:, group.base]
        made = scores(found)[group.cohort]
        ours = np.average(change[group.treated], weights=sample.weights[group.treated])
        ours -= made.weight @ change[group.compared]
        cell = (fit.cohort == float(group.cohort)) & (fit.period == sample.periods[group.base + 1])
        assert fit.effect[cell] == pytest.approx(ours, rel=1e-9)


def test_a_shift_of_the_treated_is_found_in_standard_deviations_and_weighting_takes_it_away() -> None:
    first = simulated.panel(n=4000).first_treated["event"]
    x = np.random.default_rng(1).normal(size=4000) + 0.7 * ~np.isnan(first)
    sample = drawn(with_covariate(x, n=4000), comparison="never_treated", covariates=("x1",))
    row = balance(sample).frame.set_index("cohort").loc["pooled"].iloc[0]
    assert row["difference"] == pytest.approx(0.7, abs=0.05)
    assert row["variance_ratio"] == pytest.approx(1, abs=0.1)
    assert abs(row["weighted_difference"]) < 0.05


def test_the_same_values_in_both_groups_do_not_differ() -> None:
    x = np.array([1.0, 2.0, 5.0])
    made = two_groups(x, np.tile(x, 2))
    assert made["difference"] == pytest.approx(0, abs=1e-15)
    assert (made["n_treated"], made["n_comparison"], made["note"]) == (3, 6, "")


def test_growth_is_the_slope_of_a_straight_outcome_also_with_gaps() -> None:
    panel = simulated.panel()
    slope = np.random.default_rng(2).normal(size=(100, 1))
    y = 3 + slope * simulated.PERIODS
    y[::5, 0] = y[::7, 1] = np.nan
    sample = drawn(replace(panel, outcomes={"y": y}))
    mean, growth = outcome_variables(sample, base=4).values()
    np.testing.assert_allclose(growth, slope[:, 0], rtol=1e-9)
    np.testing.assert_allclose(mean, np.nanmean(y[:, :5], axis=1))
    short = outcome_variables(drawn(replace(panel, outcomes={"y": y})), base=1)
    assert np.isnan(short["growth of y before"][0])


def test_later_outcomes_do_not_matter() -> None:
    panel = simulated.panel()
    changed = replace(panel, outcomes={"y": panel.outcomes["y"] + 100 * (simulated.PERIODS >= 7)})
    same, other = balance(drawn(panel)).tidy(), balance(drawn(changed)).tidy()
    numeric = same.columns[2:-1]
    np.testing.assert_array_equal(same[numeric], other[numeric])


def test_order_names_time_and_units_of_measurement_do_not_matter() -> None:
    panel = simulated.panel(gaps=0.05)
    rows = np.random.default_rng(3).permutation(panel.n_units)
    later = {"periods": panel.periods + 9, "first_treated": {"event": panel.first_treated["event"] + 9}}
    scaled = {name: 100 - 7 * block if name == "x1" else block for name, block in panel.covariates.items()}
    base = balance(drawn(panel)).tidy()
    numeric = ["n_treated", "n_comparison", "difference", "weighted_difference", "variance_ratio"]
    for changed in (
        simulated.ordered(panel, rows),
        replace(panel, units=np.array([f"z{i}" for i in rows])),
        replace(panel, **later),
        replace(panel, outcomes={"y": 5 + 3 * panel.outcomes["y"]}),
    ):
        np.testing.assert_allclose(
            balance(drawn(changed)).tidy()[numeric], base[numeric], rtol=1e-7, atol=1e-9
        )
    turned = balance(drawn(replace(panel, covariates=scaled))).tidy()
    sign = np.where(base["covariate"] == "x1", -1, 1)
    for name in ("difference", "weighted_difference"):
        np.testing.assert_allclose(turned[name] * sign, base[name], rtol=1e-7, atol=1e-9)


def test_who_is_compared_is_told_and_counted() -> None:
    sample = drawn(simulated.panel())
    first = sample.first_treated
    found = balance(sample)
    for cohort, (treated, compared) in found["sizes"].items():
        assert treated == np.sum(first == float(cohort))
        assert compared == np.sum(~(first <= float(cohort)))
    total, sizes = np.sum(~np.isnan(first)), [n for _, n in found["sizes"].values()]
    told = f"{total} treated units in 3 cohorts are compared with {min(sizes)} to {max(sizes)} units that are not yet"
    assert any(sentence.startswith(told) for sentence in found.sentences)
    never = balance(drawn(simulated.panel(), comparison="never_treated"))
    assert {n for _, n in never["sizes"].values()} == {np.isnan(first).sum()}
    assert any("units that are never treated" in sentence for sentence in never.sentences)


def test_without_covariates_the_outcome_before_treatment_is_compared() -> None:
    found = balance(drawn(covariates=()))
    assert set(found.frame["covariate"]) == {"mean y before", "growth of y before"}
    assert "No propensity score is estimated, since the question has no covariates." in found.sentences
    assert len(found.plot().axes) == 1
    assert set(found.tidy()["note"]) == {"not weighted: the question has no covariates"}


def test_other_covariates_and_labels_of_attributes_can_be_compared() -> None:
    panel = simulated.panel()
    half = replace(panel, attributes={"half": np.where(np.arange(100) < 50, "first", "second")})
    found = balance(drawn(half), covariates=("size", "half"))
    rows = pooled(found)
    assert list(rows.index)[:3] == ["size", "half first", "half second"]
    assert rows["difference"]["half first"] == pytest.approx(-rows["difference"]["half second"])
    treated = drawn(half).first_treated > 0
    assert rows["mean_treated"]["half first"] == pytest.approx(np.mean(np.arange(100)[treated] < 50))
    assert scores(found).keys() == scores(balance(drawn(half))).keys()


def undefined_are_explained(found: Finding) -> bool:
    table = found.tidy()
    return bool(np.all(~table.isna().any(axis=1) | (table["note"] != "")))


def test_separated_cohorts_are_told_with_the_reason_and_the_others_estimated() -> None:
    first = simulated.panel().first_treated["event"]
    x = np.random.default_rng(4).normal(size=100) + 20 * (first == 7)
    found = balance(drawn(with_covariate(x), comparison="never_treated", covariates=("x1",)))
    assert list(scores(found)) == ["4", "6"]
    assert isinstance(found["overlaps"]["7"], str)
    told = [s for s in found.sentences if "cannot be estimated" in s]
    assert len(told) == 1
    assert told[0].startswith("The propensity score of cohort 7 (")
    assert "separate treated from comparison" in told[0]
    assert undefined_are_explained(found)
    table = found.tidy()
    assert table[table["cohort"] == "7"]["weighted_difference"].isna().all()
    assert len(found.plot().axes) == 2


def test_comparison_units_that_the_covariates_tell_from_all_treated_ones_have_odds_of_zero() -> None:
    first = simulated.panel().first_treated["event"]
    x = np.random.default_rng(4).integers(0, 2, size=100) * (first != 7.0)
    found = balance(drawn(with_covariate(x.astype(float)), comparison="never_treated", covariates=("x1",)))
    score, never = scores(found)["7"], np.isnan(first)
    assert score.unlike == np.sum(x[never]) > 0
    np.testing.assert_allclose(score.weight[x[never] == 1], 0, atol=0)
    assert score.effective == pytest.approx(np.sum(x[never] == 0))
    assert (
        f"The covariates tell {score.unlike} comparison units from all units of cohort 7: their odds are zero."
        in (found.sentences)
    )
    assert all(np.isfinite(side).all() for side in score.relative_log_odds)
    assert len(found.plot().axes) == 2


def test_a_cohort_of_one_is_measured_in_the_comparison_units_standard_deviations() -> None:
    panel = simulated.panel()
    first = panel.first_treated["event"].copy()
    first[first == 7] = np.nan
    first[3] = 7
    found = balance(
        drawn(replace(panel, first_treated={"event": first}), min_cohort_size=1, covariates=("x1",))
    )
    row = found.frame.set_index(["cohort", "covariate"]).loc["7", "x1"]
    x = panel.covariates["x1"][:, 0]
    others = x[np.isnan(first)]
    assert row["difference"] == pytest.approx((x[3] - others.mean()) / others.std(ddof=1))
    assert np.isnan(row["variance_ratio"])
    assert "one treated unit" in row["note"]
    assert undefined_are_explained(found)


def test_too_few_units_for_the_regression_are_told() -> None:
    x = np.column_stack([np.ones(5), np.random.default_rng(0).normal(size=(5, 5))])
    assert overlap(x, np.ones(5), np.array([0, 1]), np.array([2, 3, 4])) == (
        "5 units are too few for a regression on 5 covariates and a constant"
    )


def test_treated_units_outside_the_range_of_comparison_units_are_counted_at_both_ends() -> None:
    made = Overlap(np.array([0.05, 0.2, 0.9]), np.array([0.1, 0.2, 0.5]), np.array([0.2, 0.3, 0.5]))
    assert made.outside.tolist() == [True, False, True]
    assert made.effective == pytest.approx(1 / 0.38)
    assert made.largest_share == 0.5
    ours, theirs = replace(made, treated=made.treated[1:]).relative_log_odds
    np.testing.assert_allclose(np.exp(theirs), 1.5 * np.array([1 / 9, 1 / 4, 1.0]))
    np.testing.assert_allclose(np.exp(ours), 1.5 * np.array([1 / 4, 9.0]))


def test_what_does_not_vary_is_told() -> None:
    ones = np.ones(4)
    constant = two_groups(ones, ones)
    assert (constant["difference"], constant["note"]) == (0.0, "it does not vary")
    apart = two_groups(ones, 2 * ones)
    assert np.isnan(apart["difference"])
    assert "no standardised difference" in apart["note"]
    single = two_groups(ones[:1], 2 * ones[:1])
    assert np.isnan(single["difference"])
    assert single["note"] == "one unit in each group: no standard deviation"
    first = simulated.panel().first_treated["event"]
    marked = balance(
        drawn(with_covariate((first > 0).astype(float)), covariates=("x2",), comparison="never_treated"),
        covariates=("x1",),
    )
    assert any(
        s.startswith("x1 has no standardised difference: it does not vary within") for s in marked.sentences
    )
    assert undefined_are_explained(marked)


def test_a_cohort_with_one_period_before_treatment_has_no_growth() -> None:
    found = balance(drawn(simulated.panel(cohorts=(2, 6))))
    assert "Cohort 2 has one period before treatment, so no growth is compared." in found.sentences
    assert list(found.frame.set_index("covariate")["cohort"]["growth of y before"]) == ["6", "pooled"]


def test_a_cohort_that_is_not_observed_when_treated_is_left_out_and_told() -> None:
    panel = simulated.panel()
    y = panel.outcomes["y"].copy()
    y[panel.first_treated["event"] == 6, 5] = np.nan
    found = balance(drawn(replace(panel, outcomes={"y": y})))
    assert list(found["sizes"]) == ["4", "7"]
    assert "Cohort 6 left out: no treated unit is observed when it is first treated." in found.sentences


def test_the_figure_shows_every_pooled_difference_and_scores_that_add_up() -> None:
    found = balance(drawn())
    love, scores = found.plot().axes
    plain = next(line for line in love.get_lines() if line.get_label() == "pooled")
    np.testing.assert_allclose(plain.get_xdata(), pooled(found)["difference"].abs())
    weighted = next(line for line in love.get_lines() if line.get_label() == "pooled, weighted by the odds")
    np.testing.assert_allclose(weighted.get_xdata(), pooled(found)["weighted_difference"].abs())
    bars = sum(patch.get_height() for patch in scores.patches[:-1])
    assert bars == pytest.approx(100)


def test_on_given_axes_the_differences_are_drawn_without_the_scores() -> None:
    figure = Figure()
    axis = figure.subplots()
    assert balance(drawn()).plot(axis) is figure
    assert figure.axes == [axis]
    assert [label.get_text() for label in axis.get_yticklabels()][:2] == ["x1", "x2"]


def test_the_study_itself_is_answered_with_its_separated_cohort_told() -> None:
    question = Question(
        outcome="papers",
        event="first_accelerator",
        scale="log1p",
        covariates=("log_baseline_papers", "baseline_papers"),
        min_cohort_size=1,
        average="event_average",
        horizon=4,
    )
    sample = question.sample(paper_panel())
    found, fit = balance(sample), find_design("callaway_santanna")(sample)
    apart = {note.split()[1] for note in fit.notes if "propensity" in note}
    assert {cohort for cohort, made in scores(found).items() if made.unlike} == apart == {"2019"}
    assert undefined_are_explained(found)


@pytest.mark.parametrize(
    ("asked", "covariates", "message"),
    [
        (
            {},
            ("x3",),
            r'balance: there is no covariate or attribute "x3"\. .*Known: moving, size, state, twice, x1',
        ),
        ({}, "x1", "covariates is 'x1'; it must be a sequence of texts"),
        ({}, ("state",), "attribute state has 17 labels; give one with at most 12"),
        ({"covariates": ("x1", "twice")}, None, "balance: covariate twice is explained by"),
    ],
)
def test_questions_without_an_answer_are_refused(
    asked: dict[str, Any], covariates: Any, message: str
) -> None:
    panel = simulated.panel()
    panel = replace(panel, covariates=dict(panel.covariates) | {"twice": 2 * panel.covariates["x1"]})
    with pytest.raises(QuestionError, match=message):
        balance(drawn(panel, **asked), covariates=covariates)


def test_a_treatment_that_switches_off_is_refused() -> None:
    panel = simulated.panel()
    path = (np.add.outer(np.arange(100), simulated.PERIODS) % 3 == 0).astype(float)
    panel = replace(panel, first_treated={}, treatment={"event": path})
    with pytest.raises(QuestionError, match="event is not absorbing"):
        balance(drawn(panel, covariates=()))
