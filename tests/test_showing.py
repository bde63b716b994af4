"""What the public objects show of themselves: a few lines, never arrays, and HTML without a user's tags."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest
import simulated

import study
from study import Question, compare, estimate
from study.diagnostics import pretrends
from study.panel import Scale
from study.report import Column
from study.report.estimates import as_table
from study.report.latex import MINUS

ASKED = Question("y", "event", scale="log1p", cluster="state", average="event_average", horizon=2)


@pytest.fixture(scope="module")
def shown():
    """Every kind of object that users look at."""
    panel = simulated.panel(n=120, level=20.0)
    fit = estimate(panel, ASKED)
    compared = compare(panel, ASKED, ["twfe", "callaway_santanna", "dml_did", "poisson_twfe"], draws=99)
    learned = Question("y", "event", covariates=("x1",)).sample(panel)
    return {
        "panel": panel,
        "question": ASKED,
        "sample": fit.sample,
        "influence": fit.level_influence,
        "estimate": fit,
        "headline": fit.headline,
        "cohorts": fit.aggregate("cohort"),
        "comparison": compared,
        "finding": pretrends(fit),
        "table": as_table(fit.headline),
        "joint": study.joint(fit.headline, estimate(panel, ASKED, "imputation").headline),
        "cr3": study.cr3(fit.sample, "twfe"),
        "scores": study.heterogeneity.score(learned, learner="linear", repetitions=2),
    }


def test_an_object_is_a_few_lines_without_arrays(shown):
    for name, value in shown.items():
        text = repr(value)
        assert len(text) < 900, name
        assert len(text.splitlines()) <= 9, name
        assert "array(" not in text, name
        assert "dtype" not in text, name


def test_an_estimate_says_design_estimand_question_headline_and_sizes(shown):
    fit = shown["estimate"]
    row = fit.headline.tidy().iloc[0]
    size, low, high = ASKED.effect_scale.texts(row.estimate, row.conf_low, row.conf_high)
    assert repr(fit).splitlines() == [
        "Group-time ATT (Callaway and Sant'Anna): effect of event on y",
        "  estimand: group-time ATT, scale log1p, not-yet-treated comparison",
        f"  event average: {size} log points (95% CI {low} to {high}), p < 0.001",
        f"  sample: 120 units of simulated, {fit.sample.n_treated} treated in 3 cohorts; 960 observations",
        "  errors: jackknife; 17 clusters, by state",
        "  terms: 24, ATT(4,1) to ATT(7,8)",
    ]
    assert "average" not in repr(shown["cohorts"])  # which no average can be formed of
    assert repr(replace(fit, design="made by hand")).startswith("made by hand: effect of event on y")


def test_an_effect_and_its_interval_have_as_many_decimals():
    level = Scale("level")
    assert level.texts(10.3, 6.712, 14.02) == ["10.3", "6.7", "14.0"]
    assert level.texts(12345.6, -3.2, 24693.0) == ["12346", "-3", "24693"]
    assert level.texts(0.5, -0.0004, math.inf) == ["0.500", "0.000", "inf"]
    assert level.texts(0.0, math.nan, math.nan) == ["0", "nan", "nan"]
    assert Scale("proportional").texts(0.103, 0.06712, 0.14) == ["10.3%", "6.7%", "14.0%"]
    assert level.interval(6.712, 14.02) == "[6.7, 14.0]"
    assert [Scale("proportional").text(-0.0004), level.text(-0.0)] == ["0.0%", "0"]


def test_a_text_and_a_table_have_the_same_digits_also_where_a_half_is_rounded():
    scale, percent = Scale("proportional"), Column("share", "percent")
    for value in (0.0035, 0.0185, 0.1435, -0.0035):
        shown = percent.cell(value).text.replace("-", MINUS)
        assert shown == percent.text(value, scale) == scale.number(value)


def test_an_average_that_cannot_be_formed_says_why():
    below_zero = estimate(
        simulated.panel(n=60, level=-20.0), ASKED.replace(scale="proportional", cluster=None)
    )
    assert np.isnan(below_zero.headline.effect[0])
    assert "event average: no estimate, because a mean to divide by is not positive" in str(below_zero)


def test_a_summary_has_the_headline_the_path_and_the_notes_at_its_level(shown):
    fit = shown["estimate"]
    text = fit.summary(0.9)
    assert text.startswith(repr(fit).splitlines()[0])
    assert "90% CI" in text
    path = fit.aggregate("event").tidy(0.9)
    for row in path.itertuples():
        assert row.term in text
        assert np.isnan(row.conf_low) or f"{row.conf_low:.4f}" in text
    assert "ATT(4,5)" not in text.split("terms:")[1].partition("\n")[2]
    assert "Minimum detectable effect of event_average" in text
    assert "cohort 4" in str(fit.aggregate("cohort"))  # which no average can be formed of
    assert "<0.001" in text
    assert repr(fit.summary()) == fit.summary() == str(fit)  # a session shows lines, no literal
    assert "Cohort 4 was left out." in str(replace(fit, remarks=("Cohort 4 was left out.",)))


def test_a_question_is_the_call_that_makes_it():
    text = repr(ASKED)
    written = "outcome='y', event='event', scale='log1p', cluster='state', horizon=2, average='event_average'"
    assert text == f"Question({written})"
    assert eval(text) == ASKED


def test_a_panel_counts_the_units_of_each_event_and_names_what_it_holds(shown):
    panel = shown["panel"]
    lines = repr(panel).splitlines()
    assert lines[0] == "Panel simulated: 120 units, 8 periods from 1 to 8"
    assert f"  events: event ({np.isfinite(panel.first_treated['event']).sum()} units)" in lines
    assert "  covariates: x1, x2, moving, size" in lines
    many = replace(panel, attributes={f"a{k}": panel.attributes["state"] for k in range(9)})
    assert "  attributes: a0, a1, a2, a3, a4, a5, and 3 more" in repr(many).splitlines()


def test_a_comparison_has_a_line_a_design_and_prints_its_tests(shown):
    compared = shown["comparison"]
    lines = repr(compared).splitlines()
    assert lines[0] == "Comparison of 4 designs: effect of event on y, scale log1p"
    assert [line.split(":")[0].strip() for line in lines[1:3]] == ["twfe", "callaway_santanna"]
    average = compared.estimates["y", "twfe"].headline.tidy().iloc[0]
    size, low, high = ASKED.effect_scale.texts(average.estimate, average.conf_low, average.conf_high)
    assert lines[1] == f"  twfe: {size} (95% CI {low} to {high})"
    assert compared.refusals["y", "poisson_twfe"][:40] in " ".join(repr(compared).split())
    text = str(compared)
    assert "jackknife standard errors by state" in text
    assert "Test that designs agree: sup-t" in text
    assert len(text.splitlines()) <= 25


@pytest.mark.parametrize(
    "design", ["callaway_santanna", "twfe", "event_study", "imputation", "synthetic_did"]
)
def test_a_headline_is_printed_in_eight_lines_that_say_what_it_rests_on(design: str) -> None:
    panel = simulated.panel(n=60, gaps=0.0)
    first = panel.first_treated["event"].copy()
    first[[0, 1]] = 5.0, 8.0  # cohorts of one
    fit = estimate(replace(panel, first_treated={"event": first}), Question("y", "event"), design)
    text = str(fit.headline)
    assert len(text.splitlines()) <= 8
    row = fit.headline.tidy().iloc[0]
    if np.isfinite(row.df):
        assert f"t = {row.statistic:.2f} on {row.df:.1f} df" in text
    assert fit.glance()["df"].item() == pytest.approx(row.df)
    treated, compared = (int(fit.glance()[f"{side}_clusters"].item()) for side in ("treated", "comparison"))
    assert f"{treated} treated and {compared} comparison clusters" in text


def test_few_degrees_of_freedom_are_said_in_one_sentence_with_what_to_do() -> None:
    panel = simulated.panel(n=60)
    y, first = panel.outcomes["y"].copy(), np.full(60, np.nan)
    first[:12] = 5.0
    y[0, 4:] += 100.0  # one of twelve treated units has nearly all of the variance
    fit = estimate(replace(panel, outcomes={"y": y}, first_treated={"event": first}), Question("y", "event"))
    assert fit.headline.degrees_of_freedom[0] < 4
    (note,) = [note for note in fit.notes if "degrees of freedom" in note]
    assert all(word in note for word in ("study.randomization", "log1p", "proportional", "study.few_treated"))


def test_html_shows_the_numbers_and_escapes_what_users_name(shown):
    hostile = simulated.panel(n=60)
    hostile = replace(hostile, name="<b>lab</b>", outcomes={"<i>y</i>": hostile.outcomes["y"]})
    fit = estimate(hostile, Question("<i>y</i>", "event"))
    compared = compare(hostile, Question("<i>y</i>", "event"), ["twfe", "imputation"], draws=99)
    for value in (hostile, fit.sample.question, fit.sample, fit, compared, as_table(fit)):
        page = value._repr_html_()
        assert "<i>" not in page
        assert "<b>" not in page
    assert f"{fit.headline.effect[0]:.3g}" in fit._repr_html_()
    assert all(f"{row.estimate:.4g}" in compared._repr_html_() for row in compared.tidy().itertuples())
    assert "<td" in shown["table"]._repr_html_()
    looked_at = ("panel", "question", "sample", "estimate", "comparison", "finding", "table")
    assert all(hasattr(shown[name], "_repr_html_") for name in looked_at)


def test_the_package_lists_its_public_names_and_ships_its_types():
    names = dir(study)
    assert len(names) <= 30
    assert {*names} < {*study.__all__}
    assert {"Panel", "Question", "estimate", "compare", "load_panel", "load_estimate", "diagnostics"} <= {
        *names
    }
    assert all(getattr(study, name) is not None for name in names)
    assert (files("study") / "py.typed").is_file()
