"""The tournament asks those designs that can answer, on panels like the given one, and says what it did."""

from __future__ import annotations

from functools import cache
from importlib import import_module

import numpy as np
import pytest
import simulated

import study
from study import Question, QuestionError, settings
from study.simulate.performance import VIOLATIONS
from study.simulate.process import checked_dials
from study.simulate.replications import Entrant, is_slow

tournament = import_module("study.simulate.performance")
QUESTION = Question("y", "event", average="event_average", horizon=2)
PANEL = simulated.panel(120, seed=1)


@pytest.fixture(scope="module", autouse=True)
def _calibrated_once():
    """Calibrate to the panel, and look at the calibration, once for all tournaments."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("calibrate", "calibration"):
            patch.setattr(tournament, name, cache(getattr(tournament, name)))
        yield


@pytest.fixture(scope="module")
def found():
    return study.tournament(PANEL, QUESTION, effects=[0, 0.5], repetitions=3)


def test_by_default_all_closed_forms_take_part_that_can_answer(found):
    asked, left_out = found["panels"], found["left_out"]
    assert {"twfe", "callaway_santanna", "imputation", "sun_abraham", "lp_did"} <= asked.keys()
    assert {"triple_difference", "poisson_twfe", "dose_response"} <= left_out.keys()
    assert {
        name for name in study.all_designs() if not is_slow(Entrant(name, name))
    } == asked.keys() | left_out
    assert left_out["triple_difference"].startswith("triple_difference: the question has no group;")
    assert left_out["poisson_twfe"].startswith(
        "poisson_twfe: a Poisson regression needs outcomes of 0 or more"
    )
    assert any(sentence.startswith("Not asked") and "poisson_twfe" in sentence for sentence in found.evidence)


def test_the_finding_has_a_row_a_process_and_design_and_says_how_it_was_made(found):
    assert found.name == "tournament"
    frame = found.tidy()
    assert list(frame["process"].unique()) == ["no effect", "effect of 0.5 standard deviations"]
    assert len(frame) == 2 * len(found["panels"])
    assert (frame["repetitions"] == 3).all()
    assert {each["effect"] for each in found["processes"].values()} == {0, 0.5}
    assert found["calibration"].verdict == found.evidence[-1]
    spread = tournament.calibrate(PANEL, QUESTION, neighbours=None, seed=0).spread
    np.testing.assert_allclose(frame.groupby("effect")["truth"].first(), [0, 0.5 * spread], atol=1e-12)


def test_processes_and_dials_are_those_that_are_named():
    made = study.tournament(
        PANEL,
        QUESTION,
        [Entrant("x", "callaway_santanna", {"method": "reg"}, {"covariates": ("x1",)}), "twfe"],
        dials={"shocks": 2.0},
        processes={"none": {}, "trends": {"trends": 0.5, "shocks": 1.0}},
        repetitions=2,
    )
    assert list(made["panels"]) == ["x", "twfe"]
    dials = made["processes"]
    assert (dials["none"]["shocks"], dials["none"]["trends"]) == (2.0, 0.0)
    assert (dials["trends"]["shocks"], dials["trends"]["trends"]) == (1.0, 0.5)


def test_slow_designs_are_asked_of_a_tenth_of_the_panels_and_the_finding_says_so(tmp_path):
    asked = {"designs": ["twfe", "synthetic_did"], "effects": [0.0], "repetitions": 30}
    with settings(cache=tmp_path):
        made = study.tournament(PANEL, QUESTION, **asked)
        kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.answer")}
        again = study.tournament(PANEL, QUESTION, **asked)
    assert made["panels"] == {"twfe": 30, "synthetic_did": 3}
    assert any("synthetic_did" in each and "3 panels" in each for each in made.evidence)
    assert len(kept) == 2
    assert kept == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.answer")}
    assert again.tidy().equals(made.tidy())


def test_every_violation_turns_known_dials_within_their_ranges():
    for name, dials in VIOLATIONS.items():
        assert checked_dials(dials, name) == dials
    assert len({tuple(sorted(dials.items())) for dials in VIOLATIONS.values()}) == len(VIOLATIONS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"repetitions": 1}, "tournament: repetitions is 1; it must be a whole number, at least 2."),
        (
            {"slow_repetitions": 1},
            "tournament: slow_repetitions is 1; it must be a whole number, at least 2.",
        ),
        ({"repetitions": 2.5}, "repetitions is 2.5"),
        ({"seed": -1}, "seed is -1"),
        ({"level": 1.5}, "level is 1.5"),
        ({"designs": []}, "tournament: designs is a list of names"),
        ({"designs": "twfe"}, "designs"),
        ({"designs": ["twfe", "twfe"]}, "twfe is in designs more than once"),
        ({"designs": ["twfee"]}, 'design "twfee"'),
        ({"designs": [3]}, "designs"),
        ({"designs": ["triple_difference"]}, "triple_difference: the question has no group"),
        ({"designs": [Entrant("a", "twfe", {"learner": "lasso"})]}, 'no option "learner"'),
        ({"dials": {"trend": 0.5}}, 'no dial "trend"'),
        ({"dials": {"trends": 50}}, "dial trends is 50"),
        ({"dials": {"effect": 0.1}}, "name it in effects= instead"),
        ({"effects": []}, "tournament: there is no process"),
        ({"effects": [0.1, 0.0, 0.1]}, "tournament: effects has one effect twice; name each once."),
        ({"effects": [np.nan]}, "effect"),
        ({"processes": {}}, "tournament: there is no process"),
        ({"processes": {"a": {"reversed": 1}}}, 'tournament, process "a": there is no dial "reversed"'),
        ({"neighbours": "country"}, "country"),
    ],
)
def test_bad_input_is_refused_in_one_line(arguments, message):
    with pytest.raises(QuestionError) as refusal:
        study.tournament(PANEL, QUESTION, **arguments)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
