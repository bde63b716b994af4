"""Rows that stand for many units: designs make of them what they make of the units."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from added_up import added_up
from simulated import panel as simulated

import study
from study import Question

DESIGNS = (
    "twfe",
    "event_study",
    "callaway_santanna",
    "sun_abraham",
    "imputation",
    "stacked",
    "etwfe",
    "lp_did",
)
TOLERANCE = 1e-9


def panels(gaps: bool):
    panel = simulated(240, seed=3, level=5.0)
    y = panel.outcomes["y"].copy()
    if gaps:
        rng = np.random.default_rng(1)
        patterns = np.ones((4, y.shape[1]), dtype=bool)
        patterns[1, 0] = patterns[2, 4] = patterns[3, 6:] = False
        y[~patterns[rng.integers(0, 4, len(y))]] = np.nan
    size = np.random.default_rng(2).choice([0.5, 1.0, 3.0], len(y))[:, None] * np.ones(y.shape[1])
    binary = np.random.default_rng(4).integers(0, 2, len(y))[:, None] * np.ones(y.shape[1])
    return replace(
        panel, outcomes={"y": np.exp(y / 4)}, covariates=panel.covariates | {"size": size, "binary": binary}
    )


def same(ours: study.Estimate, theirs: study.Estimate) -> None:
    assert ours.terms == theirs.terms
    for name in ("effect", "std_error", "degrees_of_freedom"):
        a, b = getattr(ours, name), getattr(theirs, name)
        np.testing.assert_allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * np.nanmax(np.abs(theirs.std_error)))
    assert (ours.n_obs, ours.sample.n_units, ours.n_clusters) == (
        theirs.n_obs,
        theirs.sample.n_units,
        theirs.n_clusters,
    )


QUESTIONS = {
    "plain": {},
    "log1p": {"scale": "log1p"},
    "proportional": {"scale": "proportional"},
    "weights": {"weights": "size"},
    "clusters": {"cluster": "state"},
    "anticipation": {"anticipation": 1, "lag": -1},
    "never": {"comparison": "never_treated"},
    "balanced": {"missing": "balanced"},
}


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("asked", QUESTIONS)
@pytest.mark.parametrize("design", DESIGNS)
def test_designs_answer_from_sums(design, asked, gaps):
    panel = panels(gaps)
    question = Question("y", "event", **QUESTIONS[asked])
    rows = added_up(panel, question)
    assert rows.n_rows < panel.n_units or question.cluster or gaps
    try:
        theirs = study.estimate(panel, question, design)
    except study.QuestionError as refusal:
        with pytest.raises(study.QuestionError) as ours:
            study.estimate(rows, question, design)
        assert str(ours.value) == str(refusal)
        return
    ours = study.estimate(rows, question, design)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same(ours, theirs)
        same(ours.headline, theirs.headline)
        if theirs.estimand.has_path:
            same(ours.by_event_time, theirs.by_event_time)
    assert ours.sample.flow == theirs.sample.flow
    assert ours.notes == theirs.notes
