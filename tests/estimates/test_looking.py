"""What an estimate shows of itself: tidy and glance tables, printed lines, and files."""

from __future__ import annotations

import numpy as np
import pytest
import simulated

from study import Question, compare, estimate

ASKED = Question("y", "event", cluster="state")


@pytest.fixture(scope="module")
def panel():
    return simulated.panel(n=120)


@pytest.fixture(scope="module")
def fit(panel):
    return estimate(panel, ASKED, "callaway_santanna")


def test_a_tidy_table_says_what_each_term_is_of(fit):
    table = fit.tidy()
    for row in table.itertuples():
        assert row.term == f"ATT({row.cohort:g},{row.period:g})"
        assert row.event_time == row.period - row.cohort
    assert set(table.outcome) == {"y"}
    assert set(table.design) == {"callaway_santanna"}
    path, average = fit.aggregate("event").tidy(), fit.headline.tidy()
    assert list(path.event_time) == [-6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4]
    assert path[["cohort", "period"]].isna().all(axis=None)
    assert average[["event_time", "cohort", "period"]].isna().all(axis=None)


def test_a_comparison_keeps_its_own_labels_of_designs(panel):
    table = compare(panel, ASKED, [("twfe", {}, "Two-way"), ("imputation", {}, "Imputed")], draws=99).tidy()
    assert list(table.design) == ["Two-way", "Imputed"]
    assert list(table.outcome) == ["y", "y"]


def test_a_glance_is_one_row_of_what_an_estimate_rests_on(fit, panel):
    row = fit.under("CR1").glance()
    assert len(row) == 1
    expected = {
        "design": "callaway_santanna",
        "estimand": "group-time ATT",
        "outcome": "y",
        "event": "event",
        "nobs": 120 * 8,
        "n_units": 120,
        "n_treated": int(np.isfinite(panel.first_treated["event"]).sum()),
        "n_cohorts": 3,
        "n_clusters": 17,
        "cluster": "state",
        "convention": "CR1",
        "n_terms": len(fit.terms),
        "panel": "simulated",
        "panel_checksum": panel.checksum,
    }
    assert row.iloc[0][list(expected)].to_dict() == expected
    assert estimate(panel, ASKED.replace(cluster=None), "twfe").glance()["cluster"].item() == "unit"
