"""callaway_santanna against did and DRDID, plain loops, derivatives by weights, and known truths."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import goldens
import numpy as np
import pytest
import simulated
import statsmodels.api as sm
from goldens import TOLERANCE, distance

from study import Estimate, Panel, Question, QuestionError, estimate, inference, two_by_two
from study.designs import find_design
from study.question import Sample

RUNS = goldens.all_ids("did_251", "did_230", "drdid")
BOOTSTRAP = "simulated: tests/test_inference.py holds its critical values to 3%"
OUT_OF_SCOPE = {
    "bootstrap_biters9999_unit": BOOTSTRAP,
    "bootstrap_biters9999_cluster": BOOTSTRAP,
    "nevertreated__varying__ant0__x1x2__dr": "x2 at each base period; here a covariate is its first value",
    **{
        f"{estimator}__{x}": why
        for x in ("1", "x1", "x1+x2")
        for estimator, why in {
            "drdid_imp_panel": "calibrated propensity score, not in did",
            "drdid_imp_rc": "calibrated propensity score, not in did",
            "drdid_imp_rc1": "calibrated propensity score, not in did",
            "drdid_rc1": "not locally efficient, not in did",
            "ipw_did_panel": "weights that do not sum to one, not in did",
            "ipw_did_rc": "weights that do not sum to one, not in did",
            "twfe_did_panel": "a two-way regression",
            "twfe_did_rc": "a two-way regression",
        }.items()
    },
}
IN_SCOPE = [run for run in RUNS if run[2] not in OUT_OF_SCOPE]
ESTIMATORS = {"drdid": "dr", "reg_did": "reg", "std_ipw_did": "ipw"}


def did_fit(panel: str, name: str) -> Estimate:
    """Answer the question of a did run; 1{cohort of one} cells are kept, as did keeps them."""
    *options, method = name.split("__")
    covariates = {"x1": ("x1",), "x1x1sq": ("x1", "x1sq")}
    question = Question(
        outcome="y",
        event="first_treated",
        comparison="not_yet_treated" if "notyettreated" in options else "never_treated",
        base="universal" if "universal" in options else "varying",
        anticipation=int("ant1" in options),
        covariates=next((covariates[o] for o in options if o in covariates), ()),
        cluster="cluster" if "clustered" in options else None,
        missing=did_missing(panel, options),
        min_cohort_size=1,
    )
    unit = "row" if "repeated_cs" in options else "unit"
    return estimate(
        goldens.panel(panel, unit), question, "callaway_santanna", method=method, variance="drdid"
    )


def did_missing(panel: str, options: list[str]) -> str:
    if "balanced_subset" in options:
        return "balanced"
    return "cells" if panel == "sim_unbalanced" or "repeated_cs" in options else "pairs"


def by_label(prefix: str, label: str, by: Estimate, overall: Estimate) -> dict[str, tuple[float, float]]:
    ours = {f"{prefix}_overall": (overall.effect[0], overall.std_error[0])}
    labels = getattr(by, label)
    return ours | {
        f"{prefix}_{k:g}": pair
        for k, pair in zip(labels, zip(by.effect, by.std_error, strict=True), strict=True)
    }


def did_sections(fit: Estimate) -> dict[str, dict[str, tuple[float, float]]]:
    """Return every aggregation of did by its names, as (estimate, standard error)."""
    event, average = fit.aggregate("event"), fit.aggregate("event_average")
    simple = fit.aggregate("treated_average")
    balanced, short = fit.aggregate("event", balance=1), fit.aggregate("event_average", horizon=3)
    return {
        "simple": {"simple_overall": (simple.effect[0], simple.std_error[0])},
        "group": by_label("group", "cohort", fit.aggregate("cohort"), fit.aggregate("cohort_average")),
        "calendar": by_label(
            "calendar", "period", fit.aggregate("calendar"), fit.aggregate("calendar_average")
        ),
        "dynamic": by_label("dynamic", "event_time", event, average),
        "dynamic_min_m3_max3": by_label("dynamic", "event_time", event, short),
        "dynamic_balance_e1": by_label(
            "dynamic", "event_time", balanced, fit.aggregate("event_average", balance=1)
        ),
    }


def worst(ours: dict[Any, tuple[float, float]], theirs: dict[Any, tuple[float, float | None]]) -> float:
    """Return the largest relative difference in estimates and in standard errors."""
    assert set(theirs) <= set(ours)
    largest = 0.0
    for key, (value, error) in theirs.items():
        if value is None:
            continue
        assert (error is None) == np.isnan(ours[key][1]), key
        largest = max(largest, distance(ours[key][0], value, error or 0.0))
        if error is not None:
            largest = max(largest, distance(ours[key][1], error, 0.0))
    return largest


def check_did(panel: str, run: dict[str, Any]) -> None:
    fit = did_fit(panel, run["id"])
    cells = {
        (g, t): pair
        for g, t, pair in zip(
            fit.cohort, fit.period, zip(fit.effect, fit.std_error, strict=True), strict=True
        )
    }
    theirs = {(r["group"], r["time"]): (r["att"], r["se"]) for r in run["att_gt"]}
    assert set(cells) == {key for key, (att, _) in theirs.items() if att is not None}
    assert worst(cells, theirs) <= TOLERANCE
    for name, section in did_sections(fit).items():
        if name in run:
            reference = {r["term"]: (r["estimate"], r["se"]) for r in run[name]}
            assert worst(section, reference) <= TOLERANCE, name
    if "esvcov" in run:
        event = fit.aggregate("event")
        assert list(event.event_time) == run["esvcov"]["e"]
        by_unit = np.arange(fit.sample.n_units)  # did reports it by unit in clustered runs too
        ours = inference.covariance(event.influence, by_unit)
        errors = np.sqrt(np.diag(ours))
        known = np.array(run["esvcov"]["vcov"], dtype=float)
        seen = ~np.isnan(known)
        assert distance(ours[seen], known[seen], np.outer(errors, errors)[seen]) <= TOLERANCE
    if run.get("wald") is not None:
        wald = fit.test(fit.period < fit.cohort, "CR0")
        assert distance(wald.statistic, run["wald"], 0.0) <= TOLERANCE
        assert wald.p_value == pytest.approx(run["wald_p"], abs=6e-6)


def check_drdid(run: dict[str, Any]) -> None:
    name, covariates = run["id"].split("__")
    estimator, kind = name.rsplit("_", 1)
    data = goldens.table("sim_small")
    data = data[data["first_treated"].isin([0, 8]) & data["time"].isin([7, 8])]
    if kind == "panel":
        before, after = (data[data["time"] == t].reset_index(drop=True) for t in (7, 8))
        rows, y = before, (after["y"] - before["y"]).to_numpy()
    else:
        rows, y = data, data["y"].to_numpy()
    names = [] if covariates == "1" else covariates.split("+")
    x = np.column_stack([np.ones(len(rows)), rows[names]])
    treated, weights = (rows["first_treated"] == 8).to_numpy(), np.ones(len(rows))
    method: Any = ESTIMATORS[estimator]
    if kind == "panel":
        fit = two_by_two.panel_att(y, treated, x, weights, method)
    else:
        fit = two_by_two.repeated_att(
            y, (rows["time"] == 8).to_numpy(), treated, x, weights, method, as_drdid=True
        )
    error = np.sqrt(np.sum(fit.influence**2)) / len(y)
    reference = run["estimates"][0]
    assert (
        worst({"ATT": (fit.estimate, error)}, {"ATT": (reference["estimate"], reference["se"])}) <= TOLERANCE
    )


@pytest.mark.parametrize(("panel", "package", "name"), IN_SCOPE, ids=["-".join(run) for run in IN_SCOPE])
def test_equals_the_reference(panel: str, package: str, name: str) -> None:
    run = goldens.runs(panel, package)[name]
    if package == "drdid":
        check_drdid(run)
    else:
        check_did(panel, run)


def test_every_reference_run_is_tested_or_out_of_scope_for_a_reason() -> None:
    names = {name for _, _, name in RUNS}
    assert set(OUT_OF_SCOPE) <= names
    assert set(OUT_OF_SCOPE) | {name for _, _, name in IN_SCOPE} == names
    assert len(RUNS) == 326


def by_loops(sample: Sample, method: str) -> dict[tuple[float, float], float]:
    """Return ATT(g,t) by statsmodels, one two-by-two comparison at a time, on pairs."""
    q, periods, first = sample.question, list(sample.periods), np.nan_to_num(sample.first_treated, nan=np.inf)
    found = {}
    for g in sample.cohorts:
        for t in periods:
            base = g - q.anticipation - 1
            if q.base == "varying" and t <= base:
                base = t - 1
            if t == base or base not in periods:
                continue
            change = sample.y[:, periods.index(t)] - sample.y[:, periods.index(base)]
            late = (
                np.isinf(first) if q.comparison == "never_treated" else first > max(t, base) + q.anticipation
            )
            used = ~np.isnan(change) & ((first == g) | late)
            x = sm.add_constant(sample.x_baseline[used], has_constant="add")
            d, w, dy = (first == g)[used], sample.weights[used], change[used]
            m = np.zeros(len(d))
            if method != "ipw":
                m = x @ sm.WLS(dy[~d], x[~d], w[~d]).fit().params
            odds = np.zeros(len(d))
            if method != "reg":
                p = sm.GLM(1.0 * d, x, sm.families.Binomial(), freq_weights=w).fit(tol=1e-14).fittedvalues
                odds = w * p / (1 - p)
            att = np.average((dy - m)[d], weights=w[d])
            if method != "reg":
                att -= np.average((dy - m)[~d], weights=odds[~d])
            found[g, t] = att
    return found


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"covariates": ("x1", "x2")},
        {"covariates": ("x1",), "comparison": "never_treated", "anticipation": 1},
        {"base": "varying", "anticipation": 2},
        {"covariates": ("x2",), "base": "varying", "weights": "size"},
    ],
    ids=str,
)
def test_equals_plain_loops_on_a_panel_with_gaps(options: dict[str, Any], method: str) -> None:
    sample = Question("y", "event", **options).sample(simulated.panel(n=150, gaps=0.15))
    fit = find_design("callaway_santanna")(sample, method=method)
    slow = by_loops(sample, method)
    keys = list(zip(fit.cohort[~fit.reference], fit.period[~fit.reference], strict=True))
    assert set(keys) == set(slow)
    np.testing.assert_allclose(fit.effect[~fit.reference], [slow[key] for key in keys], rtol=0, atol=1e-9)


@pytest.mark.parametrize("method", ["dr", "ipw", "reg"])
@pytest.mark.parametrize("missing", ["pairs", "cells"])
@pytest.mark.parametrize("covariates", [(), ("x1", "x2")])
@pytest.mark.parametrize("scale", ["level", "proportional"])
def test_influence_is_the_derivative_by_unit_weights(
    method: str, missing: str, covariates: tuple[str, ...], scale: str
) -> None:
    question = Question("y", "event", missing=missing, covariates=covariates, scale=scale, weights="size")
    sample = question.sample(simulated.panel(n=90, gaps=0.1, level=9.0))
    fit = find_design("callaway_santanna")
    simulated.check_influence(sample, lambda s: fit(s, method=method))


def test_drdid_influence_of_repeated_cells_equals_the_delta_method_if_the_propensity_model_is_right() -> None:
    rng = np.random.default_rng(3)
    n = 200_000
    x = np.column_stack([np.ones(n), rng.normal(size=n)])
    treated, post = rng.random(n) < 1 / (1 + np.exp(-x @ [-0.5, 0.7])), rng.random(n) < 0.5
    y = x @ [1.0, 2.0] + treated * post + rng.normal(size=n)
    errors = []
    for as_drdid in (True, False):
        fit = two_by_two.repeated_att(y, post, treated, x, np.ones(n), "dr", as_drdid=as_drdid)
        errors.append(np.sqrt(np.sum(fit.influence**2)) / n)
    assert errors[0] == pytest.approx(errors[1], rel=0.005)


def test_units_first_treated_after_the_window_are_not_yet_treated_and_never_never_treated() -> None:
    panel = simulated.panel(n=120, seed=2)
    never = np.isnan(panel.first_treated["event"])
    late = never & (np.arange(len(never)) % 2 == 0)
    dates = np.where(late, panel.periods[-1] + 3, panel.first_treated["event"])
    moved = replace(panel, first_treated={"event": dates})
    not_yet = Question("y", "event")
    np.testing.assert_allclose(
        estimate(moved, not_yet).effect, estimate(panel, not_yet).effect, rtol=0, atol=1e-12
    )
    only_never = not_yet.but(comparison="never_treated")
    without = simulated.subset(panel, ~late)
    np.testing.assert_allclose(
        estimate(moved, only_never).effect, estimate(without, only_never).effect, rtol=0, atol=1e-12
    )


def with_single_unit_cohort() -> Panel:
    """Return a panel whose cohort 4 has one unit."""
    panel = simulated.panel(n=100, seed=5)
    fours = np.flatnonzero(panel.first_treated["event"] == 4)
    keep = np.ones(panel.n_units, dtype=bool)
    keep[fours[1:]] = False
    return simulated.subset(panel, keep)


def test_a_cohort_of_one_unit_is_refused_unless_the_question_says_what_to_do() -> None:
    panel, question = with_single_unit_cohort(), Question("y", "event")
    with pytest.raises(QuestionError) as refusal:
        estimate(panel, question)
    assert str(refusal.value) == (
        "callaway_santanna: cohort 4 has one unit; its variance cannot be estimated. Set min_cohort_size=1 to "
        "keep it with randomization inference, min_cohort_size=2 to leave it out, or pool adoption years with "
        "cohort_width."
    )
    assert 4 not in estimate(panel, question.but(min_cohort_size=2)).cohort
    kept = estimate(panel, question.but(min_cohort_size=1))
    assert 4 in kept.cohort
    assert any("cohort 4" in note and "one treated unit" in note for note in kept.notes)


def test_a_cell_without_treated_or_comparison_units_is_left_out_and_named() -> None:
    panel = simulated.panel(n=100, seed=5)
    y, first = panel.outcomes["y"].copy(), panel.first_treated["event"]
    y[first == 4, 6] = np.nan
    y[np.isnan(first) | (first > 6), 7] = np.nan
    fit = estimate(replace(panel, outcomes={"y": y}), Question("y", "event"))
    cells = set(zip(fit.cohort, fit.period, strict=True))
    assert (4, 7) not in cells
    assert not {(g, t) for g, t in cells if t == 8}
    assert "cohort 4 in 7 left out: no treated unit is observed" in fit.notes
    assert any(note.endswith("left out: no comparison unit is observed") for note in fit.notes)
    assert np.isfinite(fit.effect).all()
    assert np.isfinite(fit.headline.std_error).all()


def test_a_pooled_cohort_whose_base_lies_before_the_window_is_left_out_and_named() -> None:
    panel = simulated.panel(n=200, seed=1, cohorts=(3, 5, 6))
    fit = estimate(panel, Question("y", "event", cohort_width=2, anticipation=1))
    assert 2 not in fit.cohort
    assert "cohort 2 left out: its base period lies before 1" in fit.notes


def test_perfect_separation_is_left_out_by_cohort_and_period_never_silently() -> None:
    panel = simulated.panel(n=120, seed=4)
    noise = np.random.default_rng(0).uniform(size=panel.n_units)
    apart = np.where(panel.first_treated["event"] == 6, 2.0, 0.0) + noise
    panel = replace(panel, covariates={"apart": apart[:, None] + 0 * panel.outcomes["y"]})
    question = Question("y", "event", covariates=("apart",), comparison="never_treated")
    fit = estimate(panel, question)
    assert set(fit.cohort[~fit.reference]) == {4, 7}
    (note,) = fit.notes
    assert note.startswith("cohort 6 in 1, 2, 3, 4, 6, 7, 8 left out: ")
    assert "propensity score" in note
    assert set(estimate(panel, question, method="reg").cohort) == {4, 6, 7}


def test_a_covariate_that_does_not_vary_among_a_cell_s_units_is_left_out_by_cohort_and_period() -> None:
    panel = simulated.panel(n=120, seed=4)
    only = np.where(panel.first_treated["event"] == 6, 1.0, 0.0)[:, None] + 0 * panel.outcomes["y"]
    question = Question("y", "event", covariates=("only",), comparison="never_treated")
    with pytest.raises(
        QuestionError, match=r"no effect can be estimated: cohort 4 in 1, 2, 4, 5, 6, 7, 8 left"
    ):
        estimate(replace(panel, covariates={"only": only}), question)


def test_a_near_certain_propensity_score_is_left_out_by_cohort_and_period() -> None:
    panel = simulated.panel(n=400, seed=4)
    six = panel.first_treated["event"] == 6
    x = np.random.default_rng(0).normal(size=len(six)) + np.where(six, 7.0, 0.0)
    x[np.flatnonzero(six)[0]], x[np.flatnonzero(~six)[:3]] = 2.0, 4.5
    panel = replace(panel, covariates={"x": x[:, None] + 0 * panel.outcomes["y"]})
    fit = estimate(panel, Question("y", "event", covariates=("x",)))
    assert 6 not in set(fit.cohort[~fit.reference])
    assert any("cohort 6" in note and "a propensity score reaches 0.999" in note for note in fit.notes)


@pytest.mark.parametrize("bad", ["same", "constant"])
def test_a_collinear_covariate_is_refused_by_name(bad: str) -> None:
    panel = simulated.panel(n=80)
    x1 = panel.covariates["x1"]
    extra = {"same": 3 * x1 - 1e3, "constant": 0 * x1 + 5.0}
    panel = replace(panel, covariates=dict(panel.covariates) | extra)
    with pytest.raises(QuestionError, match=f"callaway_santanna: covariate {bad} is explained by"):
        estimate(panel, Question("y", "event", covariates=("x1", bad)))


def test_a_covariate_of_huge_scale_changes_nothing() -> None:
    panel = simulated.panel(n=120)
    scaled = {"x1": panel.covariates["x1"] * 1e9 + 1e10}
    question = Question("y", "event", covariates=("x1",))
    np.testing.assert_allclose(
        estimate(replace(panel, covariates=scaled), question).effect,
        estimate(panel, question).effect,
        rtol=0,
        atol=1e-8,
    )


def test_missing_pairs_on_a_balanced_panel_equals_cells_without_covariates() -> None:
    panel = simulated.panel(n=100)
    pairs, cells = (estimate(panel, Question("y", "event", missing=m)) for m in ("pairs", "cells"))
    np.testing.assert_allclose(cells.effect, pairs.effect, rtol=0, atol=1e-12)
    np.testing.assert_allclose(cells.influence, pairs.influence, rtol=0, atol=1e-11)


def test_n_obs_counts_the_cells_that_estimates_rest_on() -> None:
    panel = simulated.panel(n=60)
    question = Question("y", "event", comparison="never_treated")
    assert estimate(panel, question).n_obs == np.isfinite(panel.outcomes["y"]).sum()
    late = replace(
        panel, first_treated={"event": np.where(np.isnan(panel.first_treated["event"]), np.nan, 5.0)}
    )
    gaps = panel.outcomes["y"].copy()
    gaps[0, 3] = np.nan  # the base period of all: unit 0 is in no pair
    expected = np.isfinite(gaps[1:]).sum()
    assert estimate(replace(late, outcomes={"y": gaps}), question).n_obs == expected


def test_intervals_of_the_event_average_cover_at_their_level() -> None:
    draws = np.random.default_rng(20240611)
    n_draws, covered = 500, 0
    for _ in range(n_draws):
        panel, truth = simulated.draw(draws, n=200)
        fit = estimate(panel, Question("y", "event", horizon=2, min_cohort_size=1)).headline
        half = fit.critical_value() * fit.std_error[0]
        covered += abs(fit.effect[0] - truth) <= half
    assert abs(covered / n_draws - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / n_draws)


@pytest.mark.parametrize("method", ["dr", "reg", "ipw"])
@pytest.mark.filterwarnings("error")
def test_a_period_that_nobody_observes_is_left_out_without_a_warning(method: str) -> None:
    whole = simulated.panel(n=300)
    gap = whole.outcomes["y"].copy()
    gap[:, 3] = np.nan
    question = Question("y", "event", covariates=("size",), min_cohort_size=1)
    fit = estimate(replace(whole, outcomes={"y": gap}), question, design="callaway_santanna", method=method)
    assert whole.periods[3] not in fit.period[np.isfinite(fit.effect)]
    assert np.isfinite(fit.headline.effect).all()
