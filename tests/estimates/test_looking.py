"""What an estimate shows of itself: tidy and glance tables, printed lines, and files."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import simulated

from study import DataError, OutputError, Question, QuestionError, compare, estimate, load_estimate
from study.designs import find_design
from study.report import plugin

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
    row = fit.with_vcov("CR1").glance()
    assert len(row) == 1
    expected = {
        "design": "callaway_santanna",
        "estimand": "group-time ATT",
        "outcome": "y",
        "event": "event",
        "scale": "level",
        "nobs": 120 * 8,
        "n_units": 120,
        "n_treated": int(np.isfinite(panel.first_treated["event"]).sum()),
        "n_cohorts": 3,
        "n_periods": 8,
        "n_clusters": 17,
        "cluster": "state",
        "vcov": "CR1",
        "df": np.inf,
        "treated_clusters": 17,
        "comparison_clusters": 16,
        "n_terms": len(fit.terms),
        "n_fixed_effects": 0,
        "seed": None,
        "panel": "simulated",
        "panel_checksum": panel.checksum,
    }
    assert row.iloc[0].to_dict() == expected
    assert list(row) == list(expected)
    assert estimate(panel, ASKED, "twfe").glance()["n_fixed_effects"].item() == 120
    assert estimate(panel, ASKED.replace(cluster=None), "twfe").glance()["cluster"].item() == "unit"


@pytest.mark.parametrize(("horizon", "shown"), [(None, range(-6, 5)), (1, range(-2, 2)), (0, (-1, 0))])
def test_a_path_shows_as_many_event_times_before_the_event_as_after_it(panel, horizon, shown):
    path = estimate(
        panel, ASKED.replace(average="event_average", horizon=horizon), "callaway_santanna"
    ).aggregate("event")
    assert list(path.event_time[path.in_window]) == list(shown)
    assert list(path.event_time[path.pre]) == [-6, -5, -4, -3, -2, -1]


SAVED = {
    "callaway_santanna": ASKED.replace(scale="proportional"),
    "sun_abraham": ASKED.replace(cluster=None),
    "event_study": ASKED.replace(covariates=("moving",)),
    "dml_panel": ASKED.replace(covariates=("x1",)),
    "twfe": ASKED,
}


def whole(fit):
    """Everything that an estimate says in numbers."""
    parts = [fit, fit.headline, *([fit.aggregate("event")] if fit.estimand.has_path else [])]
    for part in parts:
        yield part.effect
        yield part.covariance()
        yield part.minimum_detectable_effect()
        yield part.band(0.9, draws=99)[["band_low", "band_high"]].to_numpy()
        yield part.test()
        for vcov in ("jackknife", "CR0", "CR1_fixest"):
            yield part.with_vcov(vcov).tidy().select_dtypes("number").to_numpy()


@pytest.mark.parametrize("design", SAVED)
def test_a_saved_estimate_is_read_back_with_all_it_says(design, tmp_path):
    panel = simulated.panel(n=90, level=20.0)
    options = {"learner": "linear", "repetitions": 2} if design == "dml_panel" else {}
    fit = estimate(panel, SAVED[design], design, **options)
    fit.save(tmp_path / "fit.npz")
    read = load_estimate(tmp_path / "fit.npz")
    for ours, saved in zip(whole(read), whole(fit), strict=True):
        np.testing.assert_allclose(ours, saved, rtol=1e-9, atol=1e-12)
    pd.testing.assert_frame_equal(read.glance(), fit.glance())
    assert (str(read), repr(read), read.notes) == (str(fit), repr(fit), fit.notes)
    assert read.tidy().attrs == fit.tidy().attrs
    assert read.options == fit.options
    if fit.estimand.has_path:
        drawn = [line.get_ydata() for one in (read, fit) for line in one.plot().axes[0].lines]
        for ours, saved in zip(drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :], strict=True):
            np.testing.assert_allclose(ours, saved, rtol=1e-9)
    again = find_design(design)(read.sample, **options)  # the sample is all that a design needs
    np.testing.assert_allclose(again.effect, fit.effect, rtol=1e-9)


def test_what_looks_at_more_than_the_sample_of_a_saved_estimate_asks_for_its_panel(fit, panel, tmp_path):
    path = tmp_path / "fit.npz"
    fit.save(path)
    alone, whole_again = load_estimate(path), load_estimate(path, panel)
    with pytest.raises(QuestionError, match=r"give it back by study\.load_estimate\(path, panel\)"):
        ASKED.sample(alone.sample.panel)
    assert repr(alone.sample.panel)
    assert ASKED.sample(whole_again.sample.panel).n_units == fit.sample.n_units
    with pytest.raises(QuestionError, match="give the panel that the estimate was made on"):
        load_estimate(path, simulated.panel(n=120, seed=1))


def test_a_saved_estimate_names_its_periods(tmp_path):
    panel = simulated.panel(n=120)
    names = tuple(f"2010-{month:02d}" for month in range(1, 1 + len(panel.periods)))
    named = replace(panel, period="month", period_names=names)
    estimate(named, ASKED, "twfe").save(tmp_path / "fit.npz")
    read = load_estimate(tmp_path / "fit.npz").sample
    assert read.period_name(read.periods[0]) == "2010-01"
    assert (read.panel.window(), read.panel.period_unit) == ("2010-01 to 2010-08", "month")


def test_saving_twice_writes_the_same_bytes_and_no_pickle(fit, tmp_path):
    fit.save(str(tmp_path / "one.npz"))
    fit.save(tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with np.load(tmp_path / "one.npz", allow_pickle=False) as file:
        assert all(file[name].dtype.kind in "fiubU" for name in file.files)


def test_what_maketables_asks_of_an_estimate_is_there(fit):
    assert fit.__maketables_var_labels__ == plugin.AVERAGES
    assert fit.__maketables_stat_labels__ == plugin.LABELS
    assert fit.__maketables_default_stat_keys__ == plugin.DEFAULTS
    assert fit.__maketables_depvar__ == fit.sample.question.outcome


@pytest.mark.parametrize("cluster", [None, "state"])
def test_an_estimate_without_terms_is_an_empty_table(cluster):
    question = Question("y", "event", cluster=cluster)
    whole = estimate(simulated.panel(n=60), question, "callaway_santanna")
    none = whole.select(np.zeros(len(whole.terms), dtype=bool))
    assert none.tidy().empty
    assert list(none.tidy()) == list(whole.tidy())
    with pytest.raises(QuestionError, match="no term has a sampling variance, so there is no band"):
        none.band()


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def test_files_that_cannot_be_written_or_read_are_refused_in_one_line(fit, tmp_path):
    with pytest.raises(OutputError, match=r"fit\.csv does not end in \.npz"):
        fit.save(tmp_path / "fit.csv")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write here"):
        fit.save(tmp_path / "file" / "fit.npz")
    with pytest.raises(DataError, match=r"there is no file .*none\.npz"):
        load_estimate(tmp_path / "none.npz")
    fit.save(tmp_path / "fit.npz")
    content = (tmp_path / "fit.npz").read_bytes()
    np.savez(tmp_path / "other.npz", np.arange(3))
    np.save(tmp_path / "pickled.npy", np.array([fit.estimand], dtype=object), allow_pickle=True)
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    (tmp_path / "flipped.npz").write_bytes(content[:300] + bytes([content[300] ^ 255]) + content[301:])
    for name in ("other.npz", "pickled.npy", "cut.npz", "flipped.npz", "."):
        with pytest.raises(DataError, match="is damaged, or no file that"):
            load_estimate(tmp_path / name)
    np.savez(
        tmp_path / "planted.npz", np.array([Planted(tmp_path / "mark")]), text=np.zeros(1, dtype=np.uint8)
    )
    with pytest.raises(DataError, match="is damaged, or no file that"):
        load_estimate(tmp_path / "planted.npz")
    assert not (tmp_path / "mark").exists()
    labels = np.array([object()] * fit.sample.n_units)
    odd = replace(fit, sample=replace(fit.sample, attributes={"state": labels}))
    with pytest.raises(OutputError, match="cannot be written, since no file holds"):
        odd.save(tmp_path / "odd.npz")
