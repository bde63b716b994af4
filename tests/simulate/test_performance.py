"""Measures of designs on simulated panels: as counted by hand, nominal on normal draws, and what is recommended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from study.figures import performance_figure
from study.figures.drawing import apart
from study.figures.performance import has_curves
from study.panel import Scale
from study.simulate.performance import findings_of, measures, performance, recommendation, standing
from study.simulate.replications import Answer, Replications

PERCENT = Scale("proportional", "papers")
MEASURES = (
    "bias", "rmse", "coverage", "published_coverage", "centred_coverage", "published_centred_coverage", "error_ratio",
    "rejects", "mde", "mde_by_error", "pretest_rejects", "wald_rejects", "bias_after", "coverage_after",
)  # fmt: skip


def replications(
    answers: np.ndarray,
    truths: np.ndarray | None = None,
    *,
    effect: float = 0.0,
    scale: str = "level",
    ran: Sequence[int] | None = None,
    labels: Sequence[str] = (),
    refused: tuple[tuple[str, str, int], ...] = (),
) -> Replications:
    """Return the answers of D designs on R panels, shape (D, R, 9), with a constant truth where none is given."""
    count, panels = answers.shape[:2]
    truths = np.tile([effect, 1.0], (panels, 1)) if truths is None else truths
    labels = tuple(labels) or tuple(f"design {k}" for k in range(count))
    asked = np.full(count, panels) if ran is None else np.array(ran)
    return Replications({"effect": effect}, scale, labels, answers, asked, truths, refused)


def normal(
    rng: np.random.Generator, panels: int, *, sd: float = 1.0, mean: float = 0.0, error: float = 1.0
) -> np.ndarray:
    """Return answers of one design, shape (R, 9), with normal estimates and constant errors, and uniform p-values."""
    estimate, std_error = mean + sd * rng.normal(size=panels), np.full(panels, sd * error)
    low, high = estimate - 1.959964 * std_error, estimate + 1.959964 * std_error
    p_values = rng.random((2, panels))
    mde = (1.959964 + 0.8416212) * std_error
    return np.column_stack([estimate, std_error, low, high, low + 0.5 * sd, high - 0.5 * sd, *p_values, mde])


@pytest.fixture(scope="module")
def small() -> Replications:
    """Return three designs on nine panels; one has gaps, one neither leads nor the last panels."""
    rng = np.random.default_rng(3)
    answers = np.stack([normal(rng, 9, sd=2.0, mean=k, error=0.6) for k in range(3)])
    answers[1, 2] = np.nan
    answers[1, 4, 1:] = np.nan
    answers[2, 5:], answers[2, :, 6:] = np.nan, np.nan
    answers[0, :4, 7] = 0.01
    answers[0, 8, 8] = np.inf  # of an unbounded interval, which says nothing
    truths = np.column_stack([rng.normal(1.0, 0.3, 9), rng.normal(5.0, 0.5, 9)])
    return replications(answers, truths, effect=0.2, ran=[9, 9, 5])


def by_hand(one: Replications, design: int) -> dict[str, float]:
    """Count a design's measures panel by panel."""
    effects, untreated = one.truths.T
    truth = effects.sum() / untreated.sum() if one.scale == "proportional" else effects.sum() / len(effects)
    rows = [Answer(*row) for row in one.answers[design, : one.ran[design]] if not np.isnan(row[0])]
    with_interval = [row for row in rows if not np.isnan(row.low)]
    mean = sum(row.estimate for row in rows) / len(rows)
    sd = (sum((row.estimate - mean) ** 2 for row in rows) / (len(rows) - 1)) ** 0.5

    def share(which: Sequence[bool]) -> float:
        return sum(which) / len(which) if which else np.nan

    passing = [row for row in rows if row.p_largest > 0.05]
    said = [row.mde for row in with_interval if np.isfinite(row.mde)]
    errors = [row.std_error for row in with_interval]
    return {
        "bias": mean - truth,
        "rmse": (sum((row.estimate - truth) ** 2 for row in rows) / len(rows)) ** 0.5,
        "coverage": share([row.low <= truth <= row.high for row in with_interval]),
        "published_coverage": share([row.published_low <= truth <= row.published_high for row in with_interval]),
        "centred_coverage": share([row.low <= mean <= row.high for row in with_interval]),
        "published_centred_coverage": share([row.published_low <= mean <= row.published_high for row in with_interval]),
        "error_ratio": sum(errors) / len(errors) / sd,
        "rejects": share([not row.low <= 0 <= row.high for row in with_interval]),
        "mde": 2.8015852 * sd,
        "mde_by_error": sum(said) / len(said) if said else np.nan,
        "pretest_rejects": share([row.p_largest <= 0.05 for row in rows if not np.isnan(row.p_largest)]),
        "wald_rejects": share([row.p_wald <= 0.05 for row in rows if not np.isnan(row.p_wald)]),
        "bias_after": sum(row.estimate for row in passing) / len(passing) - truth if passing else np.nan,
        "coverage_after": share([row.low <= truth <= row.high for row in passing if not np.isnan(row.low)]),
    }  # fmt: skip


@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_measures_are_those_counted_panel_by_panel(small, scale):
    one = Replications({"effect": 0.2}, scale, small.labels, small.answers, small.ran, small.truths)
    frame = performance({"p": one})
    for design, row in frame.iterrows():
        expected = by_hand(one, int(str(design)))
        assert row[list(expected)].to_dict() == pytest.approx(expected, rel=1e-6, nan_ok=True)
    assert frame["repetitions"].tolist() == [9, 9, 5]
    assert frame["without_answer"].tolist() == [0, 1, 0]
    assert frame["without_interval"].tolist() == [0, 1, 0]
    assert frame["passing"].tolist()[2] == 0


def test_every_measure_has_its_error_beside_it(small):
    frame = performance({"p": small})
    for name in MEASURES:
        assert list(frame).index(f"{name}_mc") == list(frame).index(name) + 1
        assert (frame[name].isna() == frame[f"{name}_mc"].isna()).all()


def test_errors_are_the_textbook_ones_where_the_truth_is_known():
    answers = np.stack([normal(np.random.default_rng(1), 400, sd=3.0, mean=0.5)])
    row = performance({"p": replications(answers)}).iloc[0]
    estimate = answers[0, :, 0]
    assert row["bias_mc"] == pytest.approx(estimate.std() / 20)
    assert row["coverage_mc"] == pytest.approx((row["coverage"] * (1 - row["coverage"]) / 400) ** 0.5)
    squares = estimate**2
    assert row["rmse_mc"] == pytest.approx(squares.std() / 20 / (2 * squares.mean() ** 0.5))
    assert row["mde_mc"] == pytest.approx(row["mde"] / (2 * 400) ** 0.5, rel=0.15)


def test_errors_are_the_spread_of_measures_between_tournaments():
    """Truths vary and are part of the estimates; designs run on fewer panels; effects are in proportion."""
    rng, found = np.random.default_rng(7), []
    for _ in range(400):
        truths = np.column_stack([rng.normal(2.0, 1.0, 60), rng.normal(10.0, 1.0, 60)])
        answers = np.stack([normal(rng, 60, sd=0.1, mean=0.75, error=0.9) for _ in range(2)])
        answers[:, :, 0] += truths[:, 0] / truths[:, 1] - 0.2
        answers[1, 30:] = np.nan
        found.append(measures(replications(answers, truths, scale="proportional", ran=[60, 30])))
    for name in ("bias", "rmse", "mde", "pretest_rejects", "mde_by_error", "error_ratio", "bias_after"):
        values, errors = (np.array([getattr(of[name], part) for of in found]) for part in ("value", "error"))
        assert np.sqrt((errors**2).mean(axis=0)) == pytest.approx(values.std(axis=0), rel=0.12, abs=1e-12), (
            name
        )


def test_normal_draws_have_nominal_coverage_size_and_power():
    rng, panels = np.random.default_rng(0), 20_000
    none = replications(np.stack([normal(rng, panels)]))
    row = performance({"p": none}).iloc[0]
    for name, nominal in {
        "coverage": 0.95,
        "centred_coverage": 0.95,
        "rejects": 0.05,
        "pretest_rejects": 0.05,
    }.items():
        assert row[name] == pytest.approx(nominal, abs=3 * row[f"{name}_mc"])
    assert abs(row["bias"]) < 3 * row["bias_mc"]
    assert row["rmse"] == pytest.approx(1, abs=3 * row["rmse_mc"])
    assert row["error_ratio"] == pytest.approx(1, abs=3 * row["error_ratio_mc"])
    # What is found with 80% power is; both ways to say how large it is agree where errors are right.
    effect = 1.959964 + 0.8416212
    some = replications(np.stack([normal(rng, panels, mean=effect)]), effect=effect)
    power = performance({"p": some}).iloc[0]
    assert power["rejects"] == pytest.approx(0.8, abs=3 * power["rejects_mc"])
    assert power["mde"] == pytest.approx(effect, abs=3 * power["mde_mc"])
    assert power["mde_by_error"] == pytest.approx(effect)


def test_estimates_that_pass_a_pretest_of_the_same_noise_are_selected():
    """Roth (2022): where an estimate and its leads share noise, those that pass are not a random part."""
    rng = np.random.default_rng(2)
    answers = normal(rng, 20_000)
    answers[:, 7] = np.where(answers[:, 0] > 1, 0.01, 0.5)
    row = performance({"p": replications(answers[None])}).iloc[0]
    below = answers[answers[:, 0] <= 1, 0]
    assert row["bias_after"] == pytest.approx(below.mean())
    assert row["bias_after"] < -0.2
    assert row["passing"] == len(below)
    assert row["pretest_rejects"] == pytest.approx(1 - len(below) / 20_000)


def test_nothing_is_made_up_where_there_is_nothing():
    answers = np.full((2, 5, 9), np.nan)
    answers[1, :1] = normal(np.random.default_rng(0), 1)
    frame = performance({"p": replications(answers)})
    assert frame.loc[0, list(MEASURES)].isna().all()
    assert frame["without_answer"].tolist() == [5, 4]
    assert np.isnan(frame.loc[1, "mde"])  # one estimate has no spread


def entered(**designs: dict[str, float]) -> dict[str, Replications]:
    """Return two processes with designs of some spread, mean error and error of their errors, on common noise."""
    found = {}
    for name, effect in {"no effect": 0.0, "effect of 20%": 0.2}.items():
        rows = []
        for k, how in enumerate(designs.values()):
            rng = np.random.default_rng(5)
            shift = how.get("bias", 0.0) * (effect > 0)
            rows.append(
                normal(rng, 400, sd=how.get("sd", 0.1), mean=effect + shift, error=how.get("error", 1.0))
            )
            own = 0.01 * np.random.default_rng(k).normal(size=400)
            rows[-1][:, :6] += np.outer(own, [1, 0, 1, 1, 1, 1])
        found[name] = replications(np.stack(rows), effect=effect, scale="proportional", labels=list(designs))
    return found


def test_a_test_rejects_where_its_p_value_is_its_size():
    answers = normal(np.random.default_rng(0), 4)[None]
    answers[0, :, 7] = [0.01, 0.05, 0.0501, 0.5]
    row = performance({"p": replications(answers)}).iloc[0]
    assert row["pretest_rejects"] == 0.5
    assert row["passing"] == 2
    assert row["bias_after"] == pytest.approx(answers[0, 2:, 0].mean())


def test_the_rule_allows_two_points_and_two_errors_below_nominal_in_every_process():
    shared = {
        "process": ["p", "q"],
        "rmse": 1.0,
        "rmse_mc": 0.1,
        "bias": 0.0,
        "repetitions": 100,
        "coverage_mc": 0.01,
    }
    none = {"without_answer": [0, 3], "without_interval": [0, 2]}
    columns = {"a": [0.95, 0.9101], "b": [0.95, 0.9099], "c": [0.99, np.nan]}
    frame = pd.concat(
        pd.DataFrame(shared | none | {"design": name, "coverage": values}) for name, values in columns.items()
    ).reset_index(drop=True)
    assert standing(frame)["trusted"].to_dict() == {"a": True, "b": False, "c": False}
    assert standing(frame, level=0.9)["trusted"].to_dict() == {"a": True, "b": True, "c": False}
    fewer = frame.assign(without_interval=[0, 3] * 3)
    assert not standing(fewer)["trusted"].any()


def test_the_smallest_rmse_is_recommended_of_designs_whose_intervals_cover():
    # The one with the smallest RMSE has errors that are too small; another is biased in one process alone.
    entrants = entered(
        wide={"sd": 0.15}, narrow={"sd": 0.1}, short={"sd": 0.05, "error": 0.6}, biased={"sd": 0.06, "bias": 0.1}
    )  # fmt: skip
    frame = performance(entrants)
    chosen = recommendation(entrants, standing(frame))
    assert chosen.trusted == ("narrow", "wide") == (chosen.design, chosen.runner_up)
    table = standing(frame)
    assert table.loc["biased", "lowest_in"] == "effect of 20%"
    assert chosen.rmse == pytest.approx(frame[frame["design"] == "narrow"]["rmse"].mean())
    found = findings_of(entrants, PERCENT)
    assert found.verdict.startswith(
        f"On panels like this one narrow has the smallest RMSE ({100 * chosen.rmse:.1f}% of the counterfactual mean) "
        "of the 2 designs whose intervals cover."
    )
    assert found.evidence[0].startswith(
        f"The RMSE of the runner-up, wide, is {100 * chosen.difference:.2g} points larger"
    )
    assert "no clear difference" not in found.evidence[0]
    assert any(s.startswith("Intervals of biased, short cover too seldom") or
               s.startswith("Intervals of short, biased cover too seldom") for s in found.evidence)  # fmt: skip


def test_designs_on_the_same_panels_are_compared_with_a_smaller_error():
    """The error of the difference is its spread between tournaments, far below that of unpaired panels."""
    values, errors, unpaired = [], [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        common, entrants = rng.normal(size=(2, 80)), {}
        for p in range(2):
            rows = []
            for sd in (1.0, 1.1):
                row = normal(rng, 80)
                row[:, :6] = (sd * (common[0] + 0.3 * common[1] * p) + 0.1 * rng.normal(size=80))[:, None]
                row[:, [2, 4]] -= 10
                row[:, [3, 5]] += 10
                rows.append(row)
            entrants[f"p{p}"] = replications(np.stack(rows), labels=["a", "b"])
        frame = performance(entrants)
        chosen = recommendation(entrants, standing(frame))
        sign = 1 if chosen.design == "a" else -1
        values.append(sign * chosen.difference)
        errors.append(chosen.error)
        unpaired.append(np.sqrt((frame["rmse_mc"] ** 2).sum()) / 2)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.2)
    assert np.mean(errors) < np.mean(unpaired) / 4


def test_designs_that_cannot_be_distinguished_are_said_to_be_close():
    found = findings_of(entered(one={"sd": 0.1}, other={"sd": 0.1}), PERCENT)
    assert found.evidence[0].endswith(", which is no clear difference.")


def test_designs_with_the_same_estimates_are_no_runners_up_of_one_another():
    entrants = entered(first={"sd": 0.1}, twin={"sd": 0.1}, other={"sd": 0.2})
    for one in entrants.values():
        one.answers[0] = one.answers[1] * (1 + 1e-15)
    found = findings_of(entrants, PERCENT)
    chosen = found["recommendation"]
    assert (chosen.design, chosen.same, chosen.runner_up) == ("first", ("twin",), "other")
    assert "first (and twin, with the same estimates) has the smallest RMSE" in found.verdict
    assert "of the 2 designs whose" in found.verdict
    for one in entrants.values():
        one.answers[0] *= 1 + 1e-14
    assert findings_of(entrants, PERCENT).verdict == found.verdict  # whichever rounds to less


def test_estimates_of_a_small_outcome_are_not_the_same_for_being_small():
    runs = entered(first={"sd": 0.08}, other={"sd": 0.1})
    small = {
        name: replace(run, answers=1e-9 * run.answers, truths=1e-9 * run.truths, scale="level")
        for name, run in runs.items()
    }
    assert recommendation(small, standing(performance(small)))[:2] == ("first", "other")


def test_where_no_design_covers_the_nearest_is_named():
    found = findings_of(entered(worse={"error": 0.4}, better={"error": 0.6}), PERCENT)
    assert found["recommendation"].design is None
    assert found.verdict.startswith("No design is to be trusted on panels like this one")
    assert "intervals of each are missing or cover too seldom" in found.verdict
    assert "The nearest is better, whose intervals cover 7" in found.verdict


def test_a_design_that_seldom_answers_is_not_recommended():
    entrants = entered(full={"sd": 0.2}, partial={"sd": 0.1})
    for one in entrants.values():
        one.answers[1, ::4, 1:6] = np.nan
    found = findings_of(entrants, PERCENT)
    assert found["recommendation"].trusted == ("full",)
    assert "full is the only one of 2 designs whose intervals cover" in found.verdict
    assert "Without an interval on more than 5% of the panels of some process: partial." in found.evidence


def test_conventions_are_judged_leaving_bias_aside():
    """Published intervals are too short by half a standard deviation on either side."""
    found = findings_of(entered(a={"sd": 0.1}, b={"sd": 0.1, "bias": 0.3}), PERCENT)
    default, published = found.frame[["centred_coverage", "published_centred_coverage"]].mean()
    assert default == pytest.approx(0.95, abs=0.015)
    assert published == pytest.approx(0.856, abs=0.04)
    of_both, of_designs = (each for each in found.evidence if "default standard errors" in each)
    assert f"cover {default:.1%} with default standard errors and {published:.1%} with" in of_both
    assert of_designs.endswith("nearer to 95% for 2 of 2 designs.")


def test_the_error_of_the_difference_of_conventions_is_that_of_panels_in_pairs():
    """Two processes with the same panels say no more than one."""
    answers = normal(np.random.default_rng(1), 400)[None]
    answers[..., 4:6] += 0.1  # so that neither interval is inside the other
    mean = answers[0, :, 0].mean()
    inside = (answers[0, :, [2, 4]] <= mean) & (mean <= answers[0, :, [3, 5]])
    error = 100 * (inside[0].astype(float) - inside[1]).std() / 20
    alone = normal(np.random.default_rng(2), 400)[None]
    alone[..., 2:4] = np.nan  # without an interval with default standard errors it is not compared
    for every in (answers, np.concatenate([answers, alone])):
        found = findings_of({"p": replications(every), "q": replications(every)}, PERCENT)
        assert f"(Monte-Carlo error of the difference {error:.2g} points)" in " ".join(found.evidence)


def test_conventions_that_are_the_same_are_not_judged():
    entrants = entered(a={"sd": 0.1})
    for one in entrants.values():
        one.answers[:, :, 4:6] = one.answers[:, :, 2:4]
    assert not any("standard errors" in each for each in findings_of(entrants, PERCENT).evidence)


def test_few_panels_are_not_enough_to_trust_a_design():
    few = {name: replications(one.answers[:, :30], effect=one.dials["effect"], labels=one.labels)
           for name, one in entered(a={"sd": 0.1}).items()}  # fmt: skip
    assert any("simulate more panels" in each for each in findings_of(few, Scale("level", "papers")).evidence)
    assert not any("simulate more panels" in each for each in findings_of(entered(a={}), PERCENT).evidence)


def test_fewer_panels_and_refusals_are_said():
    entrants = entered(a={"sd": 0.1}, b={"sd": 0.2})
    one = entrants["no effect"]
    one.answers[1, 40:] = np.nan
    why = (("b", "b: it cannot.", 3),)
    entrants["no effect"] = Replications(
        one.dials, one.scale, one.labels, one.answers, np.array([400, 40]), one.truths, why
    )
    found = findings_of(entrants, PERCENT)
    assert any(
        s.startswith("b, which takes long, was asked of 40 panels and not of 400") for s in found.evidence
    )
    assert "b has no answer on 3 panels: b: it cannot." in found.evidence
    entrants["no effect"] = replace(entrants["no effect"], refused=(("b", "b: it cannot.", 1),))
    assert "b has no answer on 1 panel: b: it cannot." in findings_of(entrants, PERCENT).evidence
    assert found["refused"].to_dict("records") == [
        {"process": "no effect", "design": "b", "reason": "b: it cannot.", "panels": 3}
    ]


def test_ends_of_curves_are_moved_apart_no_further_than_needed():
    given = np.array([10.0, 12.0, 13.0, 80.0])
    moved = apart(given, 8.0, 100.0)
    assert moved == pytest.approx([35 / 3 - 8, 35 / 3, 35 / 3 + 8, 80.0])
    assert apart(np.array([99.0, 99.5]), 8.0, 100.0) == pytest.approx([92.0, 100.0])


def test_the_chart_shows_every_design_by_name_and_the_curves_in_colour_by_a_number():
    entrants = entered(**{f"design_{k}": {"sd": 0.05 + 0.02 * k, "error": 1 - 0.05 * k} for k in range(14)})
    found = findings_of(entrants, PERCENT)
    left, right = found.plot().axes
    names = [label.get_text() for label in left.get_yticklabels()]
    first, rest = np.split(found["standing"].index, [5])
    assert names == [*(f"{design}  {k}" for k, design in enumerate(first, 1)), *rest]
    numbers = [text.get_text() for text in right.texts if text.get_text().isdigit()]
    assert sorted(numbers) == ["1", "2", "3", "4", "5"]
    assert "% of the counterfactual mean" in left.get_xlabel()
    assert (left.get_xlim()[0], right.get_ylim()[0]) == (0, 0)


def test_filled_markers_are_of_designs_to_be_trusted_and_a_far_one_is_written_at_the_end():
    found = findings_of(entered(a={"sd": 0.1}, b={"sd": 0.11, "error": 0.5}, far={"sd": 9.0}), PERCENT)
    table = found["standing"]
    axis = found.plot().axes[0]
    markers = {line.get_ydata()[0]: line for line in axis.lines if line.get_marker() not in ("|", "None")}
    for k, (design, trusted) in enumerate(table["trusted"].items()):
        assert (markers[k].get_markerfacecolor() != "white") == trusted
        assert (markers[k].get_marker() == ">") == (design == "far")
    assert f"{100 * table.loc['far', 'rmse']:.0f}" in [text.get_text() for text in axis.texts]
    assert axis.get_xlim()[1] < 100


def test_a_far_error_that_is_no_percentage_has_its_digits_and_errors_of_near_ones_are_not_cut():
    found = findings_of(entered(a={"sd": 0.1}, b={"sd": 0.11}, far={"sd": 0.6}), Scale("level", "share"))
    table = found["standing"].assign(rmse_mc=0.05)
    axis = performance_figure(found.frame, table=table, scale=Scale("level", "share")).axes[0]
    assert f"{table.loc['far', 'rmse']:.3g}" in [text.get_text() for text in axis.texts]
    assert axis.get_xlim()[1] == pytest.approx(table["rmse"].drop("far").max() + 0.1)


def test_power_is_drawn_where_processes_differ_by_their_effect_alone():
    frame = performance(entered(a={"sd": 0.1}))
    several = pd.concat([frame, frame.assign(process="another")])
    assert has_curves(frame)
    assert not has_curves(several)
    table = standing(frame)
    assert len(performance_figure(several, table=table, scale=PERCENT).axes) == 1
    curve = performance_figure(frame, table=table, scale=PERCENT).axes[1].containers[0].lines[0]  # type: ignore[attr-defined]
    assert curve.get_xydata()[:, 0] == pytest.approx([0, 20])
    assert curve.get_xydata()[:, 1] == pytest.approx(100 * frame["rejects"])
