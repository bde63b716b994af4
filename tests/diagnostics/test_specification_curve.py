"""All specifications of one question: each is the estimate that it is alone, and their tests have their size."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import pytest
import searching
import simulated
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from study import Panel, Question, QuestionError, estimate, settings
from study.diagnostics.finding import Finding
from study.diagnostics.specification_curve import Specification, _on_scale, specification_curve
from study.figures import drawn
from study.inference.agreement import first_equal, largest_test, median_test, null_statistics, share_test

QUESTION = Question("y", "event", average="event_average", horizon=2)
PAIR = ["callaway_santanna", "event_study"]
CHOICES = {
    "designs": PAIR,
    "scales": ["level", "log1p", "proportional"],
    "populations": {"everyone": "all", "some": "half=a"},
    "comparisons": ["not_yet_treated", "never_treated"],
    "covariate_sets": [(), ("x1",)],
}


def panel(n: int = 120, seed: int = 0, gaps: float = 0.0) -> Panel:
    made = simulated.panel(n=n, seed=seed, level=9.0, gaps=gaps)
    half = np.array(["a", "a", "b"])[np.arange(n) % 3]
    return replace(made, attributes=dict(made.attributes) | {"half": half})


def curve(made: Panel | None = None, **changes: object) -> Finding:
    arguments = CHOICES | {"draws": 199} | changes
    return specification_curve(panel() if made is None else made, QUESTION, **arguments)


@cache
def usual(draws: int = 199) -> Finding:
    """Return the curve of all choices, which many tests look at and none changes."""
    return curve(draws=draws)


def answered(found: Finding) -> pd.DataFrame:
    table = found.tidy()
    return table[table["refusal"] == ""]


def refusals(found: Finding) -> pd.DataFrame:
    return found.frame[found.frame["refusal"] != ""]


def test_every_combination_is_there_once_with_the_estimate_that_it_is_alone() -> None:
    found = usual()
    table = found.tidy()
    assert len(table) == 2 * 3 * 2 * 2 * 2
    sets = {"none": (), "x1": ("x1",)}
    expected = set(product(CHOICES["scales"], PAIR, CHOICES["populations"], CHOICES["comparisons"], sets))
    assert set(table[list(Specification._fields)].itertuples(index=False, name=None)) == expected
    for row in table.itertuples():
        question = QUESTION.replace(
            scale=row.scale,
            population=CHOICES["populations"][row.population],
            comparison=row.comparison,
            covariates=sets[row.covariates],
        )
        if row.refusal:
            with pytest.raises(QuestionError) as refusal:
                estimate(panel(), question, row.design)
            assert str(refusal.value).removeprefix(f"{row.design}: ") == row.refusal
        else:
            fit = estimate(panel(), question, row.design)
            alone = fit.headline.tidy().iloc[0]
            for name in ("estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"):
                assert getattr(row, name) == pytest.approx(alone[name], rel=1e-12)
            assert row.n_units == fit.sample.n_units
    assert set(table["refusal"] == "") == {True, False}


def test_rows_are_in_order_of_scale_and_size_with_refusals_last() -> None:
    table = usual().tidy()
    shown = table[table["refusal"] == ""]
    assert list(table.index[: len(shown)]) == list(shown.index)
    assert list(dict.fromkeys(shown["scale"])) == CHOICES["scales"]
    assert all(rows["estimate"].is_monotonic_increasing for _, rows in shown.groupby("scale"))


def test_the_joint_covariance_is_that_of_the_summed_influence_on_the_union_of_units() -> None:
    made = panel()
    found = curve(made, covariate_sets=None, comparisons=None)
    columns = []
    for row in answered(found).itertuples():
        question = QUESTION.replace(scale=row.scale, population=CHOICES["populations"][row.population])
        alone = estimate(made, question, row.design).headline
        influence = np.zeros(made.n_units)
        influence[np.isin(made.units, alone.sample.unit_ids)] = (
            alone.errors.dense()[:, 0] / alone.sample.n_units
        )
        columns.append(influence)
        assert row.estimate == alone.effect[0]
    stacked = np.column_stack(columns)
    np.testing.assert_allclose(found["joint"].covariance(), stacked.T @ stacked, rtol=1e-9, atol=1e-15)


def test_the_tests_are_those_of_their_definitions_by_brute_force() -> None:
    found = curve(comparisons=None, weights="webb")
    shown = answered(found)
    distinct = [k for k, j in enumerate(shown["equal_to"]) if j == k]
    table = shown.iloc[distinct]
    sums = found["joint"].influence[:, distinct]
    null = null_statistics(sums, draws=199, seed=0, weights="webb").astype(float)
    null *= np.sqrt(np.diag(found["joint"].covariance())[distinct]) / table["std_error"].to_numpy()
    t = table["statistic"].abs().to_numpy()
    own = ((table["conf_high"] - table["estimate"]) / table["std_error"]).to_numpy()
    largest = [max(abs(x) for x in row) for row in null]
    assert found["largest"].statistic == pytest.approx(t.max())
    assert found["largest"].critical_value == pytest.approx(np.quantile(largest, 0.95), rel=1e-6)
    assert found["largest"].p_value == (1 + sum(x >= t.max() for x in largest)) / 200
    for scale, row_of_scale in found["by_scale"].iterrows():
        of = (table["scale"] == scale).to_numpy()
        effects = [np.median(row[of] * table["std_error"][of]) for row in null]
        assert row_of_scale["median"] == pytest.approx(table["estimate"][of].median(), rel=1e-12)
        as_far = sum(abs(x) >= abs(row_of_scale["median"]) for x in effects)
        assert row_of_scale["p_median"] == (1 + as_far) / 200
        shares = [np.sum(np.abs(row[of]) > own[of]) for row in null]
        significant = row_of_scale["significant"]
        assert significant == np.sum(t[of] > own[of])
        assert row_of_scale["p_share"] == (1 + sum(x >= significant for x in shares)) / 200
        assert row_of_scale["expected"] == pytest.approx(np.mean(shares) / of.sum())
    assert found["share"].significant == found["by_scale"]["significant"].sum()


def test_the_band_contains_the_intervals_and_covers_with_the_critical_value() -> None:
    found = usual(draws=999)
    table = answered(found)
    assert found["largest"].critical_value > 2.1
    assert (table["band_low"] < table["conf_low"]).all()
    assert (table["band_high"] > table["conf_high"]).all()
    half = found["largest"].critical_value * table["std_error"]
    np.testing.assert_allclose(table["band_high"], table["estimate"] + half, rtol=1e-12)


def test_specifications_that_are_equal_are_shown_and_count_once() -> None:
    more = [*PAIR, ("callaway_santanna", {"method": "reg"}), ("event_study", {}, "again")]
    plain = curve(covariate_sets=None, comparisons=None)
    found = curve(covariate_sets=None, comparisons=None, designs=more)
    assert len(answered(found)) == 2 * len(answered(plain))
    by_scale, by_scale_once = found["by_scale"], plain["by_scale"]
    assert list(by_scale["distinct"]) == [4, 4, 4]
    for scale, once in by_scale_once.iterrows():
        assert by_scale.loc[scale, "median"] == pytest.approx(once["median"], rel=1e-9)
        for name in ("p_median", "significant", "distinct", "expected"):
            assert by_scale.loc[scale, name] == pytest.approx(once[name], abs=0.011)
    assert found["largest"] == pytest.approx(plain["largest"], rel=1e-4)
    assert any("Only 12 of the 24 estimates are distinct" in sentence for sentence in found.sentences)


def test_only_effects_on_one_scale_with_the_same_error_are_equal() -> None:
    sums = np.random.default_rng(0).normal(size=(30, 2))
    effect = np.array([1.0, 1.0, 1.0, 1.0, 1.0 + 1e-3])
    sums = sums[:, [0, 0, 1, 0, 0]]
    unit = np.array([0, 0, 0, 1, 0])
    assert first_equal(effect, sums, unit, 1e-7).tolist() == [0, 0, 2, 3, 4]


def test_units_in_another_order_and_other_units_of_the_outcome_change_no_test() -> None:
    made = panel()
    order = np.random.default_rng(1).permutation(120)
    found, other = usual(), curve(simulated.ordered(made, order))
    scaled = replace(made, outcomes={"y": 1000 * made.outcomes["y"]})
    level, in_thousands = (curve(p, scales=["level"]) for p in (made, scaled))
    median, in_thousand = (one["by_scale"].loc["level", "median"] for one in (level, in_thousands))
    assert in_thousand == pytest.approx(1000 * median, rel=1e-9)
    for one, two in ((found, other), (level, in_thousands)):
        assert one["largest"] == pytest.approx(two["largest"], rel=1e-4)
        by_one, by_two = one["by_scale"], two["by_scale"]
        assert list(by_one["p_median"]) == pytest.approx(list(by_two["p_median"]), abs=0.011)
        assert list(by_one["significant"]) == list(by_two["significant"])


def test_the_same_seed_gives_the_same_bytes_and_another_seed_or_weight_others() -> None:
    one, same, seed, weights = (
        curve(scales=["level"], populations=["all"], **changes)
        for changes in ({}, {}, {"seed": 1}, {"weights": "mammen"})
    )
    assert one.tidy().to_csv() == same.tidy().to_csv()
    assert one.sentences == same.sentences
    assert one["largest"].critical_value != seed["largest"].critical_value
    assert one["largest"].critical_value != weights["largest"].critical_value


def test_clusters_are_drawn_together() -> None:
    made = panel()
    question = QUESTION.replace(cluster="state")
    found = specification_curve(made, question, designs=PAIR, draws=199)
    assert found["joint"].cluster.max() == 16
    sums = pd.DataFrame(found["joint"].influence).groupby(made.attributes["state"]).sum().to_numpy()
    own = np.sqrt(np.sum(sums**2, axis=0)) / 120 / answered(found)["std_error"].to_numpy()
    drawn_t = null_statistics(sums, draws=199, seed=0, weights="rademacher") * own
    expected = np.quantile(np.abs(drawn_t).max(axis=1), 0.95)
    assert found["largest"].critical_value == pytest.approx(expected, rel=1e-5)
    assert own == pytest.approx(1, rel=1e-9)


def null_panel(rng: np.random.Generator) -> Panel:
    made = panel(120)
    first = rng.choice([np.nan, *simulated.COHORTS], size=120, p=[0.4, 0.25, 0.2, 0.15])
    y = 20 + rng.normal(size=(120, 1)) + np.cumsum(rng.normal(size=(120, 8)), axis=1) * 0.6
    y = y + 0.3 * simulated.PERIODS + rng.normal(size=y.shape)
    return replace(made, outcomes={"y": y}, first_treated={"event": first}, covariates={})


@pytest.mark.search
def test_without_any_effect_all_tests_reject_in_five_percent_of_samples() -> None:
    rng = np.random.default_rng(20261125)
    samples, p_values = searching.samples(60, 120), []
    for seed in range(samples):
        found = specification_curve(
            null_panel(rng),
            QUESTION,
            designs=["callaway_santanna", "twfe"],
            scales=["level", "log1p"],
            populations=["all", "half=a"],
            draws=199,
            seed=seed,
        )
        medians = found["by_scale"].loc[["level", "log1p"], "p_median"]
        p_values.append([found["largest"].p_value, found["share"].p_value, *medians])
    rejected = np.mean(np.array(p_values) <= 0.05, axis=0)
    error = np.sqrt(0.05 * 0.95 / samples)
    assert (rejected <= 0.05 + 3 * error).all()
    assert np.abs(rejected[[0, 2, 3]] - 0.05).max() <= 3 * error


def test_curves_of_pure_noise_have_uniform_p_values_whatever_their_correlation() -> None:
    rng = np.random.default_rng(3)
    found = []
    for seed in range(500):
        y = rng.normal(size=(16, 1)) * 0.8 + rng.normal(size=(16, 9)) * 0.6
        sums, error = y - y.mean(axis=0), y.std(axis=0, ddof=1) / np.sqrt(16)
        null = null_statistics(sums, draws=199, seed=seed, weights="rademacher")
        t = y.mean(axis=0) / error
        found.append(
            (
                largest_test(t, np.abs(null).max(axis=1), 0.95).p_value,
                median_test(y.mean(axis=0), error, null),
                share_test(t, np.full(9, 2.13), null).p_value,
            )
        )
    for level in (0.05, 0.2):
        rejected = np.mean(np.array(found) <= level + 1e-12, axis=0)
        error = np.sqrt(level * (1 - level) / 500)
        assert np.abs(rejected[:2] - level).max() <= 3 * error
        assert rejected[2] <= level + 3 * error


def test_a_strong_effect_is_found_by_all_tests_and_the_sentences_say_so() -> None:
    found = usual(draws=999)
    assert found["largest"].p_value == 0.001
    assert (found["by_scale"]["p_median"] < 0.01).all()
    told = " ".join(found.sentences)
    assert "Of 48 specifications of the effect of event on y, " in told
    assert "all combinations of 3 scales, 2 designs, 2 populations" in told
    assert f"and {(found.frame['refusal'] != '').sum()} are refused" in told
    assert "in % of the counterfactual mean" in told
    assert "p = 0.001" in told


def test_refusals_are_listed_with_their_reason_and_nothing_is_dropped() -> None:
    found = curve(designs=[*PAIR, "poisson_twfe"])
    table, refused = found.tidy(), refusals(found)
    assert len(answered(found)) + len(refused) == len(table) == 72
    assert table["estimate"].isna().sum() == len(refused)
    poisson = table[(table["design"] == "poisson_twfe") & (table["scale"] == "log1p")]
    assert (poisson["refusal"] != "").all()
    assert any('comparison="never_treated"' in sentence for sentence in found.sentences)
    for reason in set(refused["refusal"]):
        assert any(sentence.endswith(reason) for sentence in found.sentences)


def test_one_refusal_is_one_and_a_long_title_stands_within_the_figure() -> None:
    made, name = panel(), "papers_of_all_teams_at_any_of_the_venues_that_are_covered_by_the_panel"
    made = replace(made, outcomes={name: made.outcomes["y"]})
    found = specification_curve(made, QUESTION.replace(outcome=name), designs=[*PAIR, "iv"], draws=99)
    assert any(sentence.startswith("Refused, 1 specification of iv: ") for sentence in found.sentences)
    figure = found.plot()
    FigureCanvasAgg(figure).draw()
    box = figure.axes[0].title.get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.x1
    ticks = figure.axes[-1].get_xticks()
    assert (ticks == np.round(ticks)).all()


def test_a_population_without_treated_units_is_a_refusal_of_its_specifications() -> None:
    made = panel()
    never = np.where(np.isnan(made.first_treated["event"]), "never", "treated")
    made = replace(made, attributes={"role": never})
    found = specification_curve(made, QUESTION, designs=PAIR, populations=["all", "role=never"], draws=99)
    assert set(refusals(found)["population"]) == {"role=never"}
    assert len(answered(found)) == 2


def test_an_estimate_without_variance_is_a_refusal_and_of_another_kind_is_told() -> None:
    made = panel()
    y = np.where(np.array(made.attributes["half"] == "b")[:, None], 0.0, made.outcomes["y"])
    found = specification_curve(
        replace(made, outcomes={"y": y}),
        QUESTION,
        designs=[*PAIR, "twfe"],
        populations=["all", "half=b"],
        draws=99,
    )
    assert all("without a sampling variance" in reason for reason in refusals(found)["refusal"])
    assert len(refusals(found)) == 3
    told = " ".join(found.sentences)
    assert "of different kinds, and none is left out" in told
    assert "coefficient (twfe)" in told


def test_few_treated_clusters_are_told() -> None:
    made = simulated.few_treated(np.random.default_rng(2), treated=9)
    question = QUESTION.replace(min_cohort_size=1)
    found = specification_curve(made, question, designs=PAIR, draws=99)
    assert any("at least 9 treated" in sentence for sentence in found.sentences)
    assert (found.tidy()["treated_clusters"] == 9).all()
    assert not any("at least" in sentence for sentence in curve(panel(200), populations=None).sentences)


def test_sets_of_covariates_take_the_place_of_the_questions_own() -> None:
    given = specification_curve(panel(), QUESTION.replace(covariates=("x1",)), **CHOICES, draws=199)
    pd.testing.assert_frame_equal(given.frame, usual().frame)


def test_each_scale_has_a_verdict_of_its_own_about_its_estimates() -> None:
    found = usual()
    assert tuple(found["verdict_by_scale"].values()) == found.sentences[:3]
    for scale, row in found["by_scale"].iterrows():
        rows = answered(found)[answered(found)["scale"] == scale]
        positive = int((rows["estimate"] > 0).sum())
        assert found["verdict_by_scale"][scale].startswith(f"Of {len(rows)} estimates in ")
        assert f" {positive} are positive; " in found["verdict_by_scale"][scale]
        assert row["count"] == len(rows)
        assert (row["smallest"], row["largest"]) == (rows["estimate"].min(), rows["estimate"].max())
        assert row["positive"] == (rows["estimate"] > 0).mean()
        assert row["excluding_zero"] == ((rows["conf_low"] > 0) | (rows["conf_high"] < 0)).mean()


@pytest.mark.parametrize(
    ("scale", "said"), [("log1p", "0.200"), ("proportional", "20.0%")], ids=["log", "share"]
)
def test_the_median_has_the_decimals_of_the_other_estimates_and_its_unit(scale: str, said: str) -> None:
    others = ["count", "positive", "distinct", "p_median", "p_share", "significant", "expected"]
    row = dict.fromkeys(others, 1.0) | {"smallest": 0.087, "median": 0.2, "largest": 0.533}
    verdict, runs, _ = _on_scale(scale, pd.Series(row), QUESTION)
    assert verdict.endswith(f" are positive; their median is {said}.")
    assert {"log1p": "from 0.087 to 0.533", "proportional": "from 8.7% to 53.3%"}[scale] in runs


def test_progress_is_told_of_each_specification() -> None:
    told: list[str] = []
    with settings(progress=told.append):
        found = curve(scales=["level"])
    assert len(set(told)) == len(told) == len(found.frame) == 16


def test_the_figure_has_a_column_a_scale_and_a_mark_for_every_choice_of_every_estimate() -> None:
    found = usual()
    figure = found.plot()
    assert len(figure.axes) == 6
    table = answered(found)
    varied = ("design", "population", "comparison", "covariates")
    for column, scale in enumerate(CHOICES["scales"]):
        rows = table[table["scale"] == scale].reset_index(drop=True)
        marks = [line for line in figure.axes[3 + column].lines if line.get_marker() in ("o", "|")]
        assert sum(len(line.get_xdata()) for line in marks) == len(varied) * len(rows)
        design = [line.get_xdata() for line in marks[:2]]
        for name, places in zip(PAIR, design, strict=True):
            assert list(rows.index[rows["design"] == name] + 1) == list(places)
    shown = [label.get_text() for label in figure.axes[3].get_yticklabels()]
    assert shown[:3] == ["Design", "callaway santanna", "event study"]
    axes = Figure().subplots()
    assert found.plot(axes) is axes.figure
    assert axes.get_title() == figure.axes[0].get_title()
    assert drawn(figure, "png") == drawn(found.plot(), "png")


def test_one_specification_is_a_curve_too() -> None:
    found = specification_curve(panel(), QUESTION, designs=["callaway_santanna"], draws=999)
    alone = estimate(panel(), QUESTION).headline
    assert found["by_scale"].loc["level", "median"] == pytest.approx(alone.effect[0], rel=1e-12)
    assert found["largest"].critical_value == pytest.approx(1.96, abs=0.15)
    assert len(found.plot().axes) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"designs": ["twef"]}, 'no design "twef"'),
        ({"designs": []}, "specification_curve: designs is empty"),
        ({"designs": ["twfe", "twfe"]}, 'two designs have the label "twfe"'),
        ({"scales": ["levle"]}, 'no scale "levle".* Did you mean "level"'),
        ({"scales": "level"}, r'as in scales=\["level"\]'),
        ({"scales": []}, "scales is .*; give a list"),
        ({"comparisons": ["never_treated", "never_treated"]}, "give different ones"),
        ({"populations": ["half=c"]}, 'no half "c"'),
        ({"populations": "all"}, r'as in populations=\["all"\]'),
        ({"weights": "gaussian"}, 'no weights "gaussian"'),
        ({"populations": {"one": "all", "two": "all"}}, "give different ones"),
        ({"covariate_sets": ["x1"]}, "each has to be a tuple"),
        ({"covariate_sets": [("x9",)]}, 'no covariate "x9"'),
        ({"draws": 0}, "draws is 0"),
        ({"weights": "webbs"}, 'no weights "webbs"'),
    ],
)
def test_a_mistake_in_what_is_asked_is_one_clear_line(arguments: dict[str, object], said: str) -> None:
    told: list[str] = []
    with settings(progress=told.append), pytest.raises(QuestionError, match=said) as error:
        curve(**arguments)
    assert "\n" not in str(error.value)
    assert told == []


def test_a_question_that_no_specification_answers_is_an_error_with_the_first_reason() -> None:
    with pytest.raises(QuestionError, match=r"none of 2 specifications has an estimate; .*anyone"):
        specification_curve(panel(), QUESTION.replace(outcome="anyone"), designs=PAIR)
    made = replace(panel(), attributes={"one": np.full(120, "a")})
    with pytest.raises(QuestionError, match="there is one cluster"):
        specification_curve(made, QUESTION.replace(cluster="one"), designs=["callaway_santanna"])
