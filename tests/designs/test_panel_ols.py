"""panel_ols is twfe, with linearmodels' covariances by name; what a covariance that is a matrix has and has not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import simulated
from linearmodels.panel import PanelOLS

import study
from study import Panel, Question, QuestionError, estimate
from study.designs import find_design
from study.estimates.vcov.names import GIVEN
from study.inference import agreement_of

EXACT = 1e-10
ASKED = Question("y", "event", covariates=("moving",))


def switching(gaps: float) -> Panel:
    """Return a panel of which the treatment goes on and off."""
    made = simulated.panel(n=60, gaps=gaps)
    path = np.random.default_rng(2).random(made.outcomes["y"].shape) < 0.4
    return replace(made, first_treated={}, treatment={"event": path.astype(float)})


def graded(gaps: float) -> Panel:
    """Return a panel of which the treatment has levels."""
    made = simulated.panel(n=60, gaps=gaps)
    amount = np.random.default_rng(2).normal(size=made.outcomes["y"].shape).round(1)
    return replace(made, first_treated={}, doses={"event": amount})


KINDS = {"dated": lambda gaps: simulated.panel(n=60, gaps=gaps), "switching": switching, "graded": graded}


@pytest.mark.parametrize("kind", ["dated", "switching"])
@pytest.mark.parametrize("weights", [None, "size"])
@pytest.mark.parametrize("cluster", [None, "state"])
def test_it_is_twfe(kind: str, weights: str | None, cluster: str | None) -> None:
    question = ASKED.replace(weights=weights, cluster=cluster)
    sample = question.sample(KINDS[kind](0.1))
    ours, theirs = (find_design(name)(sample) for name in ("panel_ols", "twfe"))
    np.testing.assert_allclose(ours.effect, theirs.effect, rtol=0, atol=1e-10)
    np.testing.assert_allclose(ours.influence, theirs.influence, rtol=0, atol=1e-8)
    for vcov in ("jackknife", "CR0", "CR1_fixest", "CR1_areg"):
        mine, other = ours.with_vcov(vcov), theirs.with_vcov(vcov)
        np.testing.assert_allclose(mine.std_error, other.std_error, rtol=1e-9)
        np.testing.assert_allclose(mine.degrees_of_freedom, other.degrees_of_freedom, rtol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gaps", [0.0, 0.1])
def test_it_is_linearmodels(kind: str, gaps: float) -> None:
    question = ASKED.replace(weights="size", cluster="state")
    sample = question.sample(KINDS[kind](gaps))
    fit = find_design("panel_ols")(sample)
    n, t = sample.y.shape
    blocks = {"y": sample.y, "treatment": sample.treatment, "moving": sample.x_varying[:, :, 0]}
    table = pd.DataFrame({name: block.ravel() for name, block in blocks.items()})
    table["weights"], table["state"] = np.repeat(sample.weights, t), np.repeat(sample.cluster, t)
    table.index = pd.MultiIndex.from_product([range(n), range(t)])
    table = table.dropna()
    model = PanelOLS(
        table["y"],
        table[["treatment", "moving"]],
        weights=table["weights"],
        entity_effects=True,
        time_effects=True,
    )
    how: dict[str, dict[str, Any]] = {
        "unadjusted": {"cov_type": "unadjusted"},
        "robust": {"cov_type": "robust"},
        "clustered": {"cov_type": "clustered", "clusters": table[["state"]]},
        "twoway": {"cov_type": "clustered", "clusters": table[["state"]], "cluster_time": True},
        "driscoll_kraay": {"cov_type": "kernel"},
    }
    assert list(fit.given) == list(how) == list(GIVEN)
    for name, options in how.items():
        theirs, ours = model.fit(**options), fit.with_vcov(name)
        np.testing.assert_allclose(ours.effect, theirs.params, rtol=EXACT)
        np.testing.assert_allclose(ours.covariance(), theirs.cov, rtol=EXACT)
        np.testing.assert_allclose(ours.tidy()["p_value"], theirs.pvalues, rtol=1e-8, atol=1e-14)
        interval = theirs.conf_int()
        np.testing.assert_allclose(ours.tidy()["conf_low"], interval["lower"], rtol=1e-8)


def test_the_influence_of_a_treatment_of_levels_is_the_derivative_by_unit_weights() -> None:
    sample = ASKED.replace(weights="size").sample(graded(0.1))
    simulated.check_influence(sample, find_design("panel_ols"))


def test_a_matrix_has_errors_and_tests_of_its_terms() -> None:
    fit = estimate(simulated.panel(), ASKED, "panel_ols", vcov="driscoll_kraay")
    assert fit.headline.std_error[0] == fit.std_error[0]
    np.testing.assert_array_equal(fit.covariance("twoway"), fit.with_vcov("twoway").covariance())
    test = fit.test()
    assert test.statistic == pytest.approx(fit.effect @ np.linalg.solve(fit.covariance(), fit.effect))
    assert "Driscoll and Kraay" in fit._repr_html_()


def test_a_matrix_outlives_saving(tmp_path: Path) -> None:
    fit = estimate(simulated.panel(), ASKED, "panel_ols", vcov="twoway")
    fit.save(tmp_path / "fit.npz")
    loaded = study.load_estimate(tmp_path / "fit.npz")
    np.testing.assert_array_equal(loaded.std_error, fit.std_error)
    np.testing.assert_array_equal(loaded.degrees_of_freedom, fit.degrees_of_freedom)


def test_what_needs_influence_by_unit_says_so() -> None:
    fit = estimate(simulated.panel(), ASKED, "panel_ols", vcov="driscoll_kraay")
    message = (
        'panel_ols: the covariance "driscoll_kraay" is a matrix and no sum over units, so it has no band'
    )
    for refused in (fit.band, lambda: fit.errors):
        with pytest.raises(QuestionError, match=message):
            refused()
    assert np.isfinite(fit.with_vcov("jackknife").band()["band_low"]).all()


def test_a_design_without_matrices_says_what_it_has() -> None:
    with pytest.raises(QuestionError, match='twfe: there is no vcov "twoway"'):
        estimate(simulated.panel(), ASKED, "twfe", vcov="twoway")
    with pytest.raises(
        QuestionError, match=r'iv: there is no vcov "driscoll_kraay"\. Known: .*clustered, .*robust, twoway'
    ):
        estimate(
            simulated.panel(),
            ASKED.replace(covariates=(), instrument="moving"),
            "iv",
            vcov="driscoll_kraay",
        )


def test_a_variance_below_zero_is_no_error() -> None:
    fit = estimate(simulated.panel(), ASKED, "panel_ols", vcov="twoway")
    negative = replace(fit, given={"twoway": np.diag([-1.0, 4.0])})
    np.testing.assert_array_equal(negative.std_error, [np.nan, 2.0])
    assert np.isnan(negative.covariance()[0]).all()


def test_errors_that_count_fixed_effects_need_an_observation_more_than_there_are_coefficients() -> None:
    made = simulated.panel(n=3, cohorts=(2,))
    path = np.array([[0.0, 1, 0], [0, 0, 1], [0, 0, 0]])
    y = made.outcomes["y"][:, :3].copy()
    short = replace(
        made,
        periods=made.periods[:3],
        outcomes={"y": y},
        covariates={},
        first_treated={},
        treatment={"event": path},
    )
    asked = Question("y", "event")
    assert np.isfinite(estimate(short, asked, "panel_ols", vcov="robust").std_error).all()
    y[2, 1] = y[0, 2] = np.nan  # of 7 observations 3 + 2 fixed effects and a coefficient leave 1 degree
    assert estimate(short, asked, "panel_ols", vcov="robust").degrees_of_freedom == [1]
    y[1, 2] = np.nan
    with pytest.raises(
        QuestionError,
        match=r"^panel_ols: 6 observations leave no degree of freedom beside 1 regressors and the fixed effects; use",
    ):
        estimate(short, asked, "panel_ols")


def test_one_cluster_leaves_the_covariances_that_do_not_need_several() -> None:
    made = simulated.panel(n=30)
    one = replace(made, attributes={"state": np.full(30, "s")})
    fit = estimate(one, Question("y", "event", cluster="state"), "panel_ols")
    assert set(fit.given) == {"unadjusted", "robust", "driscoll_kraay"}
    alone = estimate(made, Question("y", "event"), "panel_ols", vcov="robust")
    np.testing.assert_array_equal(fit.with_vcov("robust").std_error, alone.std_error)


def test_collinear_regressors_are_named() -> None:
    with pytest.raises(QuestionError, match="panel_ols: x1 is explained by the fixed effects"):
        estimate(simulated.panel(), ASKED.replace(covariates=("x1",)), "panel_ols")


def test_a_table_does_not_call_errors_clustered_that_are_not() -> None:
    fit = estimate(simulated.panel(), ASKED, "panel_ols")
    for name, clustered in (("robust", "none"), ("twoway", "unit"), ("CR0", "unit")):
        assert fit.with_vcov(name).__maketables_vcov_info__ == {"vcov_type": name, "clustervar": clustered}
    plain, usual = (str(study.table([fit.with_vcov(name)])) for name in ("robust", "CR0"))
    assert "Standard errors in parentheses: standard errors of linearmodels for independent errors" in plain
    assert "clustered by" in usual


def test_a_covariance_that_is_a_matrix_is_not_compared_with_others_and_the_reason_is_its_own() -> None:
    panel, question = simulated.panel(n=60), Question("y", "event")
    fits = {name: estimate(panel, question, name) for name in ("twfe", "event_study", "panel_ols")}
    assert fits["panel_ols"].joint
    fits["panel_ols"] = fits["panel_ols"].with_vcov("twoway")
    assert not fits["panel_ols"].joint
    notes = agreement_of(fits, draws=99, seed=1).notes
    (note,) = [each for each in notes if each.startswith("panel_ols is not compared")]
    assert 'the covariance "twoway" is a matrix' in note
    assert "placebo" not in note
