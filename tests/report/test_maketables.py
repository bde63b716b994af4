"""Estimates in one table with those of linearmodels, statsmodels and pyfixest, as maketables makes it."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated
import statsmodels.formula.api as formulas
from linearmodels.panel import PanelOLS

from study import Estimate, Question, estimate

maketables = pytest.importorskip("maketables", reason="maketables is not installed, so no table can be mixed")

PANEL = simulated.panel(n=60, gaps=0.1)  # simulated, with gaps, so that N is not units x periods
TERMS = ["treatment", "moving"]
KEEP = [f"^{term}$" for term in TERMS]
FORMAT = "b:.6f \n (se:.6f)"


@pytest.fixture(scope="module")
def fit() -> Estimate:
    return estimate(PANEL, Question("y", "event", covariates=("moving",)), "twfe")


@pytest.fixture(scope="module")
def data(fit: Estimate) -> pd.DataFrame:
    """Return the cells that are seen, under the names that this package gives its terms."""
    long = pd.DataFrame(
        {
            "unit": np.repeat(PANEL.units, len(PANEL.periods)),
            "period": np.tile(PANEL.periods, PANEL.n_units),
            "y": PANEL.outcomes["y"].ravel(),
            "treatment": fit.sample.treatment.ravel(),
            "moving": PANEL.covariates["moving"].ravel(),
        }
    )
    return long.dropna().reset_index(drop=True)


@pytest.fixture(scope="module")
def others(data: pd.DataFrame) -> list[object]:
    """Return the same regression by the three other packages, clustered by unit with one small-sample factor.

    It is G/(G-1) (N-1)/(N-k) with all fixed effects counted in k: statsmodels' only one, linearmodels' with all three
    corrections asked for, fixest's with k_fixef="full", and "CR1_areg" here. By default fixest, and this package for
    regressions, leave unit effects out of k, since they are nested in clusters.
    """
    pyfixest = pytest.importorskip("pyfixest", reason="pyfixest is not installed, so no table has it")
    indexed = data.set_index(["unit", "period"])
    # By formula: of a model without one, maketables 0.2.0 cannot tell the outcome's name, and fails.
    model = PanelOLS.from_formula("y ~ treatment + moving + EntityEffects + TimeEffects", indexed)
    panel = model.fit(
        cov_type="clustered", cluster_entity=True, debiased=True, count_effects=True, group_debias=True
    )
    groups = data["unit"].astype("category").cat.codes
    dummies = formulas.ols("y ~ treatment + moving + C(unit) + C(period)", data).fit(
        cov_type="cluster", cov_kwds={"groups": groups}
    )
    fixest = pyfixest.feols(
        "y ~ treatment + moving | unit + period",
        data,
        vcov={"CRV1": "unit"},
        ssc=pyfixest.ssc(k_fixef="full"),
    )
    return [panel, dummies, fixest]


def cells(table) -> dict[str, list[str]]:
    """Return the rows of a table's HTML by label."""
    rows = {}
    for row in re.findall(r"<tr[^>]*>(.*?)</tr>", table.make("html"), re.S):
        label, *rest = (
            re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", cell)).strip()
            for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.S)
        )
        rows[label] = rest
    return rows


def test_four_packages_print_the_same_estimates_and_errors_in_one_table(fit, others) -> None:
    same = replace(fit, vcov="CR1_areg")
    table = maketables.ETable([same, *others], coef_fmt=FORMAT, keep=KEEP)
    rows, tex = cells(table), table.make("tex")
    for k, term in enumerate(TERMS):
        value, error = f"{same.effect[k]:.6f}", f"({same.std_error[k]:.6f})"
        assert rows[term] == [f"{value} {error}"] * 4
        assert tex.count(value) == tex.count(error) == 4
    assert rows["Observations"] == [str(np.isfinite(PANEL.outcomes["y"]).sum())] * 4
    assert {column[0] for column in table.df.columns} == {"y"}, "one outcome heads all four"


def test_under_its_published_convention_pyfixest_alone_agrees_to_the_last_p_value(fit, data, others) -> None:
    pyfixest = pytest.importorskip("pyfixest", reason="pyfixest is not installed, so no table has it")
    fixest = pyfixest.feols("y ~ treatment + moving | unit + period", data, vcov={"CRV1": "unit"})
    everything = "b:.6f se:.6f t:.6f p:.6f ci95l:.6f ci95u:.6f"
    published = fit.with_vcov("CR1_fixest")
    ours, theirs = cells(maketables.ETable([published, fixest], coef_fmt=everything))["treatment"]
    assert ours == theirs
    errors = [
        cells(maketables.ETable([m], coef_fmt="se:.6f", keep=KEEP))["treatment"][0]
        for m in (published, *others)
    ]
    assert len(set(errors)) == 2
    assert float(errors[0]) < float(errors[1]), "the others count unit effects"


def test_the_foot_says_what_the_estimate_rests_on(fit, others) -> None:
    rows = cells(maketables.ETable([fit, others[-1]]))
    treated = np.isfinite(PANEL.first_treated["event"]).sum()
    assert rows["Units"][0] == str(PANEL.n_units)
    assert rows["Units first treated in the window"][0] == str(treated)
    assert rows["Clusters"] == [str(PANEL.n_units)] * 2
    assert rows["Standard errors"] == ["jackknife, by: unit", "by: unit"]
    assert (rows["unit"][0], rows["period"][0]) == ("x", "x")
    smallest = fit.headline.minimum_detectable_effect()[0]
    assert float(rows["Minimum detectable effect"][0]) == pytest.approx(smallest, abs=5e-4)
    assert rows["Minimum detectable effect"][1] == "-"


def test_a_cluster_that_is_not_the_unit_is_named_and_counted() -> None:
    fit = estimate(PANEL, Question("y", "event", cluster="state"), "callaway_santanna").headline
    rows = cells(maketables.ETable(fit))
    assert rows["Standard errors"] == ["jackknife, by: state"]
    assert rows["Clusters"] == ["17"]
    assert "unit" not in rows, "a design without a regression has no fixed effects to mark"


def test_paths_with_a_reference_term_and_an_average_share_one_table() -> None:
    question = Question("y", "event", average="event_average", horizon=2)
    path = estimate(PANEL, question, "event_study")
    other = estimate(PANEL, question, "callaway_santanna")
    models = [path, other.aggregate("event"), other.headline]
    table = maketables.ETable(models, coef_fmt="b:.3f \n (se:.3f)")
    rows = cells(table)
    assert rows["event -1"] == ["0.000 (-)", "0.000 (-)", ""]
    at = list(path.terms).index("event 2")
    assert rows["event 2"][0] == f"{path.effect[at]:.3f} ({path.std_error[at]:.3f})"
    average = f"{other.headline.effect[0]:.3f} ({other.headline.std_error[0]:.3f})"
    assert rows["Average over event times"] == ["", "", average]
    assert rows["Minimum detectable effect"][:2] == ["-", "-"], "a path has one for each of its terms"
    assert rows["Minimum detectable effect"][2] != "-"
    assert "_" not in table.make("tex"), "which TeX would read as a command"


@pytest.mark.parametrize(
    ("scale", "heading"), [("level", "y"), ("log1p", "log(1 + y)"), ("proportional", "y, as a share")]
)
def test_unlike_scales_do_not_share_a_heading(scale: str, heading: str) -> None:
    panel = simulated.panel(n=60, level=9.0)
    fit = estimate(panel, Question("y", "event", scale=scale), "twfe")
    plain = estimate(panel, Question("y", "event"), "twfe")
    rows = cells(maketables.ETable([plain, fit]))
    assert heading in {*rows, *(cell for row in rows.values() for cell in row)}
    columns = maketables.ETable([plain, fit]).df.columns
    assert (columns[0][0] == columns[1][0]) == (scale == "level")


def test_what_an_estimate_does_not_have_is_a_dash() -> None:
    fit = estimate(PANEL, Question("y", "event"), "twfe")
    rows = cells(maketables.ETable(fit, model_stats=["N", "r2", "seed", "design", "estimand", "scale"]))
    assert rows["Seed"] == ["-"]
    assert float(rows["R2"][0]) == pytest.approx(fit.r_squared, abs=5e-4)
    average = estimate(PANEL, Question("y", "event"), "callaway_santanna").headline
    assert cells(maketables.ETable(average, model_stats=["r2"]))["R2"] == ["-"]
    assert rows["Observations"] == [str(fit.n_obs)]
    assert rows["Design"] == ["Two-way fixed effects, static"]
    assert (rows["Estimand"], rows["Scale"]) == (["coefficient"], ["level"])


def test_effects_of_a_tiny_outcome_have_digits_with_the_format_that_is_named() -> None:
    tiny = replace(PANEL, outcomes={"y": 1e-8 * PANEL.outcomes["y"]})
    fit = estimate(tiny, Question("y", "event"), "callaway_santanna").headline
    rows = cells(maketables.ETable(fit, coef_fmt="b:.3g \n (se:.3g)"))
    assert rows["Average over treated cells"] == [f"{fit.effect[0]:.3g} ({fit.std_error[0]:.3g})"]
    assert rows["Minimum detectable effect"] == [f"{fit.minimum_detectable_effect()[0]:.3g}"]
