"""Designs side by side: their differences, whether they agree, and what is left out of the test and why."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated
from command_line import command
from matplotlib.figure import Figure
from plans import PANEL
from scipy import stats
from tex import assert_compiles_alone, needs_tex

from study import Comparison, Panel, Question, QuestionError, all_designs, compare, estimate, joint
from study.core.influence import Influence
from study.diagnostics.placebos import placebo_outcomes
from study.estimates.joint import ALONE, Stacked, stack
from study.inference.agreement import agreement_of, kind
from study.report import as_tables, comparison_in

QUESTION = Question("y", "event", average="event_average", horizon=2)
PAIR = ["callaway_santanna", "event_study"]
METHODS = [("callaway_santanna", {"method": method}) for method in ("dr", "ipw", "reg")]


def two_outcomes(n: int = 150) -> Panel:
    panel = simulated.panel(n=n, level=9.0)
    noise = np.random.default_rng(5).normal(size=panel.outcomes["y"].shape)
    return replace(panel, outcomes={"y": panel.outcomes["y"], "z": 3 * panel.outcomes["y"] + noise})


def sentence(found: Comparison, *words: str) -> str:
    """Return the only note that has all the words."""
    (note,) = [note for note in found.notes if all(word in note for word in words)]
    return note


def test_the_table_has_what_each_design_says_alone() -> None:
    panel = two_outcomes()
    table = compare(panel, QUESTION, ["twfe", *PAIR], ["y", "z"], draws=99).tidy()
    assert list(zip(table.outcome, table.design, strict=True)) == [
        (outcome, design) for outcome in ("y", "z") for design in ("twfe", *PAIR)
    ]
    for row in table.itertuples():
        alone = estimate(panel, QUESTION.replace(outcome=row.outcome), row.design).headline.tidy()
        assert row.estimate == alone.estimate[0]
        assert row.std_error == alone.std_error[0]
        assert row.conf_low == alone.conf_low[0]


def test_tables_have_the_numbers_of_each_outcomes_estimates_differences_and_tests() -> None:
    designs, panel = [*PAIR, "imputation", "twfe", "dml_iv"], two_outcomes(120)
    found = compare(panel, QUESTION, designs, ["y", "z"], draws=99)
    table, differences, tests = found.tidy(), found.differences(), found.tests()
    assert table.equals(found.tidy(0.95))
    assert tests["outcome"].tolist() == ["y", "z"]
    for k, outcome in enumerate(("y", "z")):
        agreement, rows = found.agreement[outcome], differences[differences["outcome"] == outcome]
        assert agreement.labels == (*PAIR, "imputation")
        assert list(zip(rows["first"], rows["second"], strict=True)) == list(agreement.pairs)
        for name in ("difference", "std_error", "p_adjusted"):
            np.testing.assert_array_equal(rows[name], getattr(agreement, name))
        np.testing.assert_allclose(rows["statistic"], rows["difference"] / rows["std_error"])
        assert not rows["equal"].any()
        of_wald, of_sup_t = agreement.wald._asdict(), agreement.sup_t._asdict()
        expected = {f"sup_t_{name}": value for name, value in of_sup_t.items()}
        expected |= {f"wald_{name}": value for name, value in of_wald.items()}
        assert tests.iloc[k].to_dict() == {"outcome": outcome, "designs": 3} | expected
        for design in designs[:-1]:
            (row,) = table[(table["outcome"] == outcome) & (table["design"] == design)].to_dict("records")
            fit = found.estimates[outcome, design]
            alone = fit.tidy().iloc[0]
            for name in ("term", "statistic", "p_value", "conf_high"):
                assert row[name] == alone[name]
            sizes = (row["vcov"], row["n_units"], row["n_obs"], row["compared"], row["refusal"])
            assert sizes == ("jackknife", 120, fit.n_obs, design != "twfe", "")
            assert row["p_holm"] == found.adjusted[outcome, design].holm
            assert row["p_romano_wolf"] == found.adjusted[outcome, design].romano_wolf
    assert set(found.refusals) == {("y", "dml_iv"), ("z", "dml_iv")}
    assert not any(refusal.startswith("dml_iv") for refusal in found.refusals.values())
    assert list(table["refusal"] != "") == 2 * [False, False, False, False, True]


def test_what_is_said_of_one_outcome_is_what_is_said_of_it_alone() -> None:
    designs, panel = [*PAIR, "dml_iv"], two_outcomes(90)
    part = compare(panel, QUESTION, designs, ["y", "z"], draws=99).about(["z"])
    alone = compare(panel, QUESTION.replace(outcome="z"), designs, draws=99)
    assert part.outcomes == alone.outcomes == ("z",)
    assert part.estimates.keys() == part.fits.keys() == alone.estimates.keys()
    assert part.refusals == alone.refusals
    assert (part.notes, part.refused) == (alone.notes, alone.refused)
    assert part.tests().equals(alone.tests())
    assert not {"p_holm", "p_romano_wolf"} & {*part.tidy(), *alone.tidy()}
    facts, of_both = repr(alone), repr(compare(panel, QUESTION, designs, ["y", "z"], draws=99))
    for outcome in ("y", "z"):
        assert f"{PAIR[0]}, {outcome}" in of_both
        assert f"{PAIR[0]}, {outcome}" not in facts
    assert PAIR[0] in facts
    assert "test that all effects are equal: sup-t" in facts
    assert part.has(("z", "dml_iv"))
    assert not part.has(("y", "dml_iv"))
    with pytest.raises(QuestionError, match=r'ax is one axis for 2 outcomes.*about\(\["y"\]\)'):
        compare(panel, QUESTION, PAIR, ["y", "z"], draws=99).plot(Figure().subplots())


def test_outcomes_side_by_side_have_the_designs_on_one_axis() -> None:
    left, right = compare(two_outcomes(), QUESTION, PAIR, ["y", "z"], draws=99).plot().axes
    assert left.get_shared_y_axes().joined(left, right)
    assert not left.get_shared_x_axes().joined(left, right)


def test_variants_of_one_design_have_rows_by_their_labels() -> None:
    found = compare(two_outcomes(), QUESTION, METHODS, draws=99)
    assert len(set(found.labels)) == len(METHODS)
    assert found.tidy().design.tolist() == list(found.labels)


def test_averages_are_compared_as_the_estimates_that_they_are_of() -> None:
    panel = simulated.panel(n=120)
    fits = {design: estimate(panel, QUESTION, design) for design in PAIR}
    whole = agreement_of(fits, draws=99)
    alone = agreement_of({design: fit.headline for design, fit in fits.items()}, draws=99)
    assert alone.labels == whole.labels == tuple(PAIR)
    np.testing.assert_array_equal(alone.difference, whole.difference)
    np.testing.assert_array_equal(alone.std_error, whole.std_error)


@pytest.mark.parametrize("cluster", [None, "state"])
def test_the_error_of_a_difference_is_that_of_the_summed_differences_of_influence(
    cluster: str | None,
) -> None:
    panel = simulated.panel(n=120, gaps=0.05)
    question = QUESTION.replace(cluster=cluster)
    row = compare(panel, question, PAIR, draws=99).differences().iloc[0]
    one, other = (estimate(panel, question, design).headline for design in PAIR)
    groups = panel.units if cluster is None else panel.attributes["state"]
    sums = pd.Series((one.errors.dense() - other.errors.dense())[:, 0]).groupby(groups).sum()
    variance = (sums**2).sum() / 120**2
    assert row.difference == pytest.approx(one.effect[0] - other.effect[0], rel=1e-12)
    assert row.std_error == pytest.approx(np.sqrt(variance), rel=1e-9)
    assert row.statistic == pytest.approx(row.difference / row.std_error, rel=1e-12)


def test_the_error_of_a_difference_is_near_that_of_leaving_out_one_unit_at_a_time() -> None:
    panel = simulated.panel(n=80)
    row = compare(panel, QUESTION, PAIR, draws=99).differences().iloc[0]
    without = []
    for i in range(80):
        part = simulated.subset(panel, np.arange(80) != i)
        one, other = (estimate(part, QUESTION, design).headline.effect[0] for design in PAIR)
        without.append(one - other)
    assert row.std_error == pytest.approx(np.sqrt(79 * np.var(without)), rel=0.1)


def test_estimates_of_different_units_are_compared_on_the_union_of_them() -> None:
    panel = simulated.panel(n=120)
    some = np.arange(120) % 4 > 0
    whole = estimate(panel, QUESTION)
    part = estimate(simulated.subset(panel, some), QUESTION, "event_study")
    found = agreement_of({"whole": whole, "part": part}, draws=99)
    padded = np.zeros(120)
    padded[some] = part.headline.errors.dense()[:, 0] * 120 / some.sum()
    apart = whole.headline.errors.dense()[:, 0] - padded
    assert found.std_error[0] == pytest.approx(np.sqrt(np.sum(apart**2)) / 120, rel=1e-9)
    assert found.difference[0] == pytest.approx(whole.headline.effect[0] - part.headline.effect[0])


@pytest.mark.parametrize("cluster", [None, "state"])
def test_both_tests_are_those_of_their_textbook_formulas(cluster: str | None) -> None:
    panel = simulated.panel(n=120)
    question, designs = QUESTION.replace(cluster=cluster), ["twfe", *PAIR]
    compared = compare(panel, question, designs, force=True)
    found = compared.agreement["y"]
    assert found.sup_t is not None
    assert compared.draws == found.sup_t.draws == 9999
    fits = [estimate(panel, question, design).headline for design in designs]
    groups = panel.units if cluster is None else panel.attributes["state"]
    influence = pd.DataFrame(np.hstack([fit.errors.dense() for fit in fits])).groupby(groups).sum().to_numpy()
    effect = np.concatenate([fit.effect for fit in fits])
    g = len(influence)
    less_first, sums = effect[1:] - effect[0], influence[:, 1:] - influence[:, :1]
    cov = sums.T @ sums / 120**2
    assert found.wald.statistic == pytest.approx(less_first @ np.linalg.solve(cov, less_first), rel=1e-6)
    pairs = list(combinations(range(3), 2))
    apart = np.column_stack([influence[:, i] - influence[:, j] for i, j in pairs])
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=(9999, g))
    drawn = np.abs(signs @ apart / np.sqrt((apart**2).sum(axis=0))).max(axis=1)
    assert found.sup_t.critical_value == pytest.approx(np.quantile(drawn, 0.95), abs=0.06)
    first, second = np.array(pairs).T
    differences = joint(*fits).combined([""] * 3, np.eye(3)[:, first] - np.eye(3)[:, second])
    two_sided = 2 * stats.t.sf(np.abs(found.difference / found.std_error), differences.degrees_of_freedom)
    assert found.p_adjusted == pytest.approx(
        np.mean(drawn[:, None] >= stats.norm.isf(two_sided / 2), axis=0), abs=0.02
    )


def test_designs_that_are_algebraically_equal_are_reported_as_equal_and_not_tested() -> None:
    found = compare(simulated.panel(n=120), QUESTION, METHODS, draws=99)
    agreement = found.agreement["y"]
    assert agreement.equal == (found.labels,)
    assert agreement.sup_t is None
    assert agreement.wald is None
    assert found.differences()["equal"].all()
    assert (found.differences()["difference"] == 0).all()
    assert "(method=dr), callaway_santanna (method=ipw)" in sentence(found, "Algebraically equal")


def test_two_designs_that_are_one_on_a_balanced_panel_are_distinguished_only_on_one_with_gaps() -> None:
    designs = ["imputation", "etwfe", "event_study"]
    balanced = compare(simulated.panel(n=120), QUESTION, designs, draws=99).agreement["y"]
    assert balanced.equal == (("imputation", "etwfe"),)
    gaps = compare(simulated.panel(n=120, gaps=0.1), QUESTION, designs, draws=99).agreement["y"]
    assert gaps.equal == ()
    assert gaps.wald.rank == balanced.wald.rank + 1 == 2


def test_equal_designs_neither_add_to_the_rank_nor_move_the_test() -> None:
    panel = simulated.panel(n=120)
    plain = compare(panel, QUESTION, PAIR, draws=999).agreement["y"]
    more = compare(panel, QUESTION, [*METHODS, "event_study"], draws=999).agreement["y"]
    assert len(more.pairs) == 6
    assert more.wald.rank == plain.wald.rank == 1
    assert more.wald.statistic == pytest.approx(plain.wald.statistic, rel=1e-6)
    assert more.sup_t.statistic == pytest.approx(plain.sup_t.statistic, rel=1e-9)
    # with more terms the normal draws are others, which moves a p-value by their error
    assert more.sup_t.p_value == pytest.approx(plain.sup_t.p_value, abs=4 * np.sqrt(0.25 / 999))


def test_methods_that_covariates_make_different_are_tested() -> None:
    found = compare(simulated.panel(n=150), QUESTION.replace(covariates=("x1",)), METHODS, draws=99)
    assert found.agreement["y"].equal == ()
    assert found.agreement["y"].wald.rank == 2


def test_a_difference_without_variance_is_neither_equal_nor_tested() -> None:
    fit = estimate(simulated.panel(n=120), QUESTION)
    found = agreement_of({"one": fit, "other": replace(fit, effect_level=fit.effect_level + 1)}, draws=99)
    assert found.equal == ()
    assert found.sup_t is None
    assert found.difference[0] == pytest.approx(-1)
    assert "one - other is -1 without a sampling variance" in found.notes[0]


def test_an_estimate_without_variance_is_not_compared() -> None:
    fit = estimate(simulated.panel(n=120), QUESTION)
    none = Influence.none(fit.sample.n_units, len(fit.terms))
    fixed = replace(fit, level_influence=none, cohort_weights=None)
    found = agreement_of(
        {"one": fit, "other": estimate(simulated.panel(n=120), QUESTION, "event_study"), "x": fixed}
    )
    assert found.labels == ("one", "other")
    assert "x has no sampling variance" in found.notes[0]


def test_a_refusal_is_shown_in_one_line_and_the_others_are_compared() -> None:
    question = QUESTION.replace(comparison="never_treated", covariates=("x1",))
    found = compare(simulated.panel(n=150), question, [*METHODS, "event_study"], draws=99)
    assert found.agreement["y"].labels == found.labels[:3]
    (refusal,) = found.refusals.values()
    assert 'comparison="never_treated"' in refusal
    assert "\n" not in refusal
    assert f"– : refused. event_study: {refusal}" in " ".join(as_tables(found)[0].notes)
    row = found.tidy().iloc[-1]
    assert np.isnan(row.estimate)
    assert row.refusal == refusal
    assert not row.compared


def test_fewer_than_two_answers_are_one_sentence_and_no_error() -> None:
    question = QUESTION.replace(comparison="never_treated")
    found = compare(simulated.panel(n=80), question, PAIR)
    assert found.notes == (
        "Fewer than two designs have estimates that can be compared, so there is no difference to test.",
    )
    assert found.differences().empty
    assert np.isnan(found.tests().sup_t_p_value[0])
    assert "Tests that the designs agree" not in comparison_in("latex", found)


def test_a_coefficient_is_in_the_table_but_compared_only_when_forced() -> None:
    panel = simulated.panel(n=120)
    left = compare(panel, QUESTION, ["twfe", *PAIR], draws=99)
    assert left.agreement["y"].labels == tuple(PAIR)
    assert "event average over event times 0 to 2" in sentence(left, "Not compared: twfe", "coefficient")
    assert list(left.tidy().compared) == [False, True, True]
    assert left.tidy().estimate.notna().all()
    forced = compare(panel, QUESTION, ["twfe", *PAIR], draws=99, force=True)
    assert forced.agreement["y"].wald.rank == 2
    assert set(forced.agreement["y"].pairs) == set(combinations(["twfe", *PAIR], 2))
    assert sentence(forced, "Compared all the same: twfe", "coefficient")


@pytest.mark.parametrize(
    ("other", "said"),
    [({"scale": "log1p"}, "scale log1p"), ({"average": "event_average", "horizon": 1}, "event times 0 to 1")],
)
def test_estimates_of_unlike_scale_or_window_are_compared_only_when_forced(
    other: dict[str, object], said: str
) -> None:
    panel = simulated.panel(n=120, level=9.0)
    fits = {
        "first": estimate(panel, QUESTION),
        "second": estimate(panel, QUESTION, "event_study"),
        "unlike": estimate(panel, QUESTION.replace(**other)),
    }
    found = agreement_of(fits, draws=99)
    assert found.labels == ("first", "second")
    assert found.notes[0].startswith("Not compared: unlike, of another kind")
    assert said in found.notes[0]
    assert agreement_of(fits, draws=99, force=True).labels == tuple(fits)


def test_estimates_that_cluster_differently_have_no_joint_distribution() -> None:
    panel = simulated.panel(n=80)
    fits = {
        "unit": estimate(panel, QUESTION),
        "state": estimate(panel, QUESTION.replace(cluster="state"), "event_study"),
    }
    with pytest.raises(QuestionError, match=r"^compare: the estimates cluster by state and unit"):
        agreement_of(fits)


def test_the_p_value_of_one_difference_is_near_the_normal_one() -> None:
    found = compare(simulated.panel(n=300), QUESTION, PAIR, draws=9999)
    agreement = found.agreement["y"]
    assert agreement.sup_t.p_value == pytest.approx(agreement.wald.p_value, abs=0.02)
    assert agreement.sup_t.critical_value == pytest.approx(1.96, abs=0.08)
    assert agreement.sup_t.p_value == agreement.p_adjusted[0]


def test_designs_that_differ_by_far_have_the_smallest_p_value_that_the_draws_allow() -> None:
    panel = simulated.panel(n=120)
    tripled = replace(panel, outcomes={"y": 3 * panel.outcomes["y"]})
    fits = {"one": estimate(panel, QUESTION), "three": estimate(tripled, QUESTION)}
    found = agreement_of(fits, draws=199)
    assert found.sup_t.p_value == 1 / 200
    assert found.wald.p_value < 1e-9


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_draws() -> None:
    panel = two_outcomes(90)
    runs = [compare(panel, QUESTION, ["twfe", *PAIR], ["y", "z"], draws=199, seed=s) for s in (3, 3, 4)]
    texts = [str(found) + comparison_in("latex", found) for found in runs]
    assert texts[0] == texts[1]
    assert runs[0].tests().sup_t_p_value.tolist() != runs[2].tests().sup_t_p_value.tolist()


def test_without_names_every_design_that_draws_nothing_is_compared() -> None:
    found = compare(simulated.panel(n=120), QUESTION, draws=99)
    assert set(found.labels) == {name for name, d in all_designs().items() if not d.draws}
    assert "dml_panel" not in found.labels
    assert "twfe" in found.labels


def test_an_estimate_with_errors_that_are_not_those_of_sampling_is_pointed_out() -> None:
    designs = [("callaway_santanna", {"variance": "drdid"}), "event_study"]
    found = compare(simulated.panel(n=120), QUESTION, designs, draws=99)
    assert sentence(found, 'variance="drdid"', "not those of sampling")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"designs": ["twef"]}, 'no design "twef"'),
        ({"designs": "twfe"}, r'as in designs=\["twfe"\]'),
        ({"designs": []}, "designs is empty"),
        ({"designs": ["twfe", "twfe"]}, 'two designs have the label "twfe"'),
        ({"designs": [("twfe", {"metod": 1})]}, 'no option "metod"'),
        ({"designs": [("twfe", "dr")]}, "is no design"),
        ({"designs": [7]}, r"designs is \[7\]; it must be a sequence of texts or tuples"),
        ({"outcomes": ["y", "y"]}, "different names"),
        ({"outcomes": "y"}, r'as in outcomes=\["y"\]'),
        ({"outcomes": ["yy"]}, 'Did you mean "y"'),
        ({"draws": 0}, "draws is 0"),
    ],
)
def test_a_mistake_in_what_is_asked_is_one_clear_line(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(QuestionError, match=said) as error:
        compare(simulated.panel(n=60), QUESTION, **({"designs": PAIR} | arguments))
    assert "\n" not in str(error.value)


def test_the_command_prints_the_table_the_differences_and_the_tests(tmp_path) -> None:
    shared = ["compare", "--panel", PANEL, "--event", "first_treated", "--outcome", "y", "--draws", 199]
    shared += [part for design in ("twfe", *PAIR) for part in ("--design", design)]
    done = command(*shared, "--outcome", "count", "--average", "event_average", "--horizon", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    panel = Panel.from_long(
        PANEL, unit="unit", time="time", first_treated="first_treated", outcomes=["y", "count"]
    )
    question = Question("y", "first_treated", average="event_average", horizon=3)
    expected = compare(panel, question, ["twfe", *PAIR], ["y", "count"], draws=199)
    assert done.stdout.rstrip("\n") == str(expected)
    assert "\ncount:\n" in done.stdout
    forced = command(*shared, "--force", "--latex", cwd=tmp_path)
    assert forced.stdout.count(r"\begin{tabular}") == 2
    assert "(1) less (2)" in forced.stdout
    wrong = command(*shared, "--design", "imputatoin", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@needs_tex
def test_the_tables_compile_alone_without_overfull_boxes(tmp_path) -> None:
    panel = two_outcomes()
    panel = replace(panel, outcomes={"y_50%": panel.outcomes["y"], "z": panel.outcomes["z"]})
    designs = ["twfe", "event_study", *METHODS, ("callaway_santanna", {"method": "dr"}, "a & b_1")]
    found = compare(
        panel, QUESTION.replace(outcome="z", covariates=("x1",)), designs, ["y_50%", "z"], draws=199
    )
    assert len(found.refused) == 1
    assert_compiles_alone(tmp_path, comparison_in("latex", found).encode())


def test_the_sup_t_test_of_designs_that_agree_rejects_at_its_size_with_thirty_treated() -> None:
    rng = np.random.default_rng(20261124)
    designs = [*PAIR, "imputation"]
    panels, rejected = 150, 0
    for _ in range(panels):
        found = compare(simulated.few_treated(rng, 120), QUESTION, designs, draws=299).agreement["y"]
        assert found.wald.rank == 2
        rejected += found.sup_t.p_value <= 0.05
    assert abs(rejected / panels - 0.05) <= 3 * np.sqrt(0.05 * 0.95 / panels)


def test_one_event_time_is_said_to_be_one() -> None:
    made = simulated.panel(40)
    fit = estimate(
        made,
        Question("y", "event", average="event_average", horizon=0, min_cohort_size=1),
        "callaway_santanna",
    )
    assert kind(fit) == "event average over event time 0"


def test_effects_since_a_first_switch_are_not_compared_with_those_of_treated_periods() -> None:
    rows = [
        {"unit": i, "time": t, "on": on, "y": float((i * 7 + t * 3) % 5 + 2 * on)}
        for i in range(24)
        for t in range(8)
        for on in [int(i % 3 > 0 and 2 + i % 2 <= t < 5 * (i % 3))]
    ]
    made = Panel.from_long(pd.DataFrame(rows), unit="unit", time="time", treatment="on", outcomes="y")
    found = compare(
        made, Question("y", "on", average="event_average", horizon=3), ["dcdh", "imputation"], draws=99
    )
    assert found.agreement["y"].sup_t is None
    assert "since the first switch, those without treatment included" in sentence(found, "Not compared")


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("dcdh", {"normalized": True}, "per unit of treatment"),
        ("lp_did", {}, "cohorts weighted by the variance of treatment"),
        ("lp_did", {"weighting": "equal"}, ""),
    ],
)
def test_averages_by_other_weights_are_not_compared(name: str, options: dict[str, Any], said: str) -> None:
    designs = ["callaway_santanna", (name, options)]
    found = compare(simulated.panel(40), Question("y", "event", min_cohort_size=1), designs, draws=99)
    assert said in sentence(found, "Not compared" if said else "Algebraically equal")


@pytest.mark.parametrize("comparison", ["never_treated", "not_yet_treated"])
def test_equal_estimators_are_equal_also_where_they_leave_units_out_in_other_ways(comparison: str) -> None:
    question = QUESTION.replace(comparison=comparison)
    found = compare(simulated.panel(n=60), question, ["callaway_santanna", "dcdh", "imputation"], draws=99)
    assert "callaway_santanna, dcdh." in sentence(found, "Algebraically equal")
    errors = [fit.std_error[0] for fit in found.estimates.values()]
    assert len(np.unique(np.round(errors[:2], 9))) == (2 if comparison == "not_yet_treated" else 1)
    assert found.differences()["equal"].tolist() == [True, False, False]


def test_a_cluster_whose_units_cancel_out_counts_in_a_joint_test_as_in_the_estimates_own() -> None:
    cluster, second = np.repeat(np.arange(12), 2), np.tile([0, 1], 12)
    change = np.where(cluster % 6 > 3, 2 * second, 2 * (cluster % 2)) - 1.0
    panel = Panel.from_long(
        pd.DataFrame(
            {
                "unit": np.repeat(np.arange(24), 2),
                "year": np.tile([1, 2], 24),
                "y": np.column_stack([np.zeros(24), change]).ravel(),
                "event": np.repeat(np.where(cluster < 6, 2.0, np.nan), 2),
                "pair": np.repeat(cluster, 2).astype(str),
            }
        ),
        unit="unit",
        time="year",
        outcomes="y",
        first_treated="event",
        attributes="pair",
    )
    fit = estimate(panel, Question("y", "event", cluster="pair")).headline
    together = joint(fit)
    np.testing.assert_allclose(together.degrees_of_freedom, fit.degrees_of_freedom, rtol=1e-12)
    assert together.test().degrees == pytest.approx(fit.degrees_of_freedom[0], rel=1e-12)


def test_units_without_influence_do_not_count_in_a_joint_test() -> None:
    rows = [
        (unit, year, event, (year > 1) * (-1.0) ** unit)
        for unit, event in enumerate(np.repeat([2.0, 3.0, np.nan], 8))
        for year in (1, 2, 3)
    ]
    panel = Panel.from_long(
        pd.DataFrame(rows, columns=["unit", "year", "event", "y"]),
        unit="unit",
        time="year",
        outcomes="y",
        first_treated="event",
    )
    asked = Question("y", "event", comparison="never_treated", min_cohort_size=1)
    path = estimate(panel, asked, "callaway_santanna").aggregate("event")
    last = path.select(path.event_time == 1)  # of units treated in year 2 alone
    np.testing.assert_allclose(joint(last).degrees_of_freedom, last.degrees_of_freedom, rtol=1e-12)
    assert last.degrees_of_freedom[0] < 16


@pytest.mark.parametrize(
    "asked",
    [{}, {"cluster": "state"}, {"average": "event_average", "balance": 2}, {"weights": "size"}],
    ids=str,
)
@pytest.mark.parametrize("design", ["callaway_santanna", "sun_abraham"])
def test_joint_tests_of_an_estimate_count_clusters_as_its_intervals_do(design: str, asked: Any) -> None:
    drawn = simulated.panel(n=24, seed=2)
    panel = replace(drawn, outcomes={"y": np.round(drawn.outcomes["y"] / 3)})
    path = estimate(panel, Question("y", "event", min_cohort_size=1, **asked), design).by_event_time
    for fit in (path, path.headline):
        together = joint(fit)
        np.testing.assert_allclose(together.degrees_of_freedom, fit.degrees_of_freedom[fit.varies], rtol=1e-9)
        assert together.test().degrees == pytest.approx(fit.test().degrees, rel=1e-9)


def test_units_are_alike_to_a_joint_test_where_they_are_to_each_estimate() -> None:
    sample = QUESTION.sample(simulated.panel(n=60))
    one = np.ones((60, 1))
    halves, thirds = np.arange(60) % 2, np.arange(60) % 3

    def alike(*strata: Any) -> Any:
        parts = [Stacked(sample, np.zeros(1), one, True, one, one > 0, stratum) for stratum in strata]
        return stack(["a", "b"], parts).stratum

    pairs = alike(halves, thirds)
    assert len({*pairs}) == 6
    assert {*zip(pairs, halves, thirds, strict=True)} == {
        *zip(pairs[:6], halves[:6], thirds[:6], strict=True)
    }
    assert (alike(halves, None) == ALONE).all()


def test_a_combination_that_does_not_vary_has_no_error_and_no_test() -> None:
    panel = simulated.panel(n=60)
    y = panel.outcomes["y"]
    moved = replace(panel, outcomes={"y": y, "same": y, "shifted": y + 1e3})
    fits = [estimate(moved, QUESTION.replace(outcome=name)).headline for name in moved.outcomes]
    apart = joint(*fits).differences()
    np.testing.assert_array_equal(apart.std_error, [0, 0])
    assert np.isnan(apart.degrees_of_freedom).all()
    with pytest.raises(QuestionError, match=r"^Wald test: a term has no sampling variance; leave it out\.$"):
        apart.test()
    for name in ("same", "shifted"):
        with pytest.raises(
            QuestionError, match="a placebo outcome moves exactly as the outcome; leave it out"
        ):
            placebo_outcomes(moved, QUESTION, [name], "callaway_santanna")


def test_terms_of_which_none_varies_have_no_joint_distribution() -> None:
    one = replace(simulated.panel(n=2), first_treated={"event": np.array([5.0, np.nan])})
    with pytest.raises(QuestionError, match=r"^joint: no term of the estimates has a sampling variance"):
        joint(estimate(one, Question("y", "event"), "event_study"))
