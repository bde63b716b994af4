"""Replications depend on their seed alone, and what was finished is there after whatever stops a run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import simulated
from rich.progress import TimeRemainingColumn

from study import Question, QuestionError, settings
from study.core import Steps, encoded, progress_bar
from study.designs import all_designs, find_design
from study.estimates import pre_test
from study.simulate import replications as module
from study.simulate.process import Process, truth
from study.simulate.replications import DRAWS, Answer, Entrant, Task, answer, is_slow, replicate, tasks_of

QUESTION = Question("y", "event")
TWFE, SUN = Entrant("twfe", "twfe"), Entrant("sun", "sun_abraham")
SYNTHETIC = Entrant("sdid", "synthetic_did")
DRAWN = Entrant("drawn", "synthetic_did", {"inference": "placebo", "replications": 5, "seed": 0})
LEARNED = Entrant("learned", "dml_panel", {"learner": "linear", "repetitions": 1}, {"covariates": ("x1",)})


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Let fast designs answer four replications at a time, so that few of them are several blocks."""
    monkeypatch.setattr(module, "BLOCK", 4)


def process(n: int = 60, question: Question = QUESTION, gaps: float = 0.0, **dials: float) -> Process:
    sample = question.sample(simulated.panel(n, gaps=gaps))
    growth = 0.3 * np.arange(8.0)
    size = np.stack([np.zeros(n), np.ones(n)])[:, : sample.n_units]
    return Process(
        sample, "continuous", size, growth, 0.0, 1.0, np.array([0.3, 0.0]), {"shocks": 1.0} | dials
    )


def run(processes=None, entrants=(TWFE, SUN), repetitions=6, slow=6, seed=3, **how):
    with settings(**how):
        made = replicate(
            processes or {"none": process(), "some": process(effect=0.5)},
            entrants,
            repetitions=repetitions,
            slow_repetitions=slow,
            seed=seed,
        )
    return made


@cache
def whole():
    """Return the usual run, which others are to be like."""
    return run()


def same(one, other) -> bool:
    return bool(encoded(one) == encoded(other))


def blocks(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.answer")}


@pytest.mark.parametrize("entrant", [TWFE, SUN, Entrant("cs", "callaway_santanna")])
def test_an_answer_is_what_the_design_says_of_the_panel_that_the_seed_draws(entrant):
    made, of = run({"some": process(effect=0.5)}, (entrant,), repetitions=3)["some"], process(effect=0.5)
    for r in range(3):
        sequence = np.random.SeedSequence(3, spawn_key=(r,))
        draw = of.draw(np.random.default_rng(sequence))
        sample = of.sample_of(draw)
        fit = find_design(entrant.design)(sample)
        rows = [fit.headline.tidy(0.95).iloc[0], fit.headline.with_vcov(fit.published).tidy(0.95).iloc[0]]
        expected = [rows[0].estimate, rows[0].std_error]
        expected += [end for row in rows for end in (row.conf_low, row.conf_high)]
        np.testing.assert_allclose(made.answers[0, r, :6], expected, rtol=1e-12)
        assert tuple(made.truths[r]) == truth(draw, sample)
        tests = Answer(*made.answers[0, r])
        assert tests.mde == pytest.approx(fit.headline.minimum_detectable_effect()[0], rel=1e-12)
        if entrant is TWFE:
            assert np.isnan([tests.p_wald, tests.p_largest]).all()
            continue
        exact = pre_test(fit.aggregate("event"), draws=99_999)
        assert tests.p_wald == pytest.approx(exact.p_value, rel=1e-9)
        assert tests.p_largest == pytest.approx(exact.p_largest, abs=4 * 0.5 / np.sqrt(DRAWS))
        assert tests.p_largest * (DRAWS + 1) == pytest.approx(round(tests.p_largest * (DRAWS + 1)))


def test_a_design_that_draws_has_the_seed_of_its_replication():
    options = {"learner": "linear", "propensity": "linear", "folds": 2, "repetitions": 1}
    entrant, sample = Entrant("learned", "dml_stacked", options), process().sample
    estimates = [answer(entrant, sample, 0.95, seed)[0].estimate for seed in (1, 2)]
    fits = [find_design("dml_stacked")(sample, **options, seed=seed) for seed in (1, 2)]
    assert estimates == [fit.headline.effect[0] for fit in fits]
    assert estimates[0] != estimates[1]


def test_numbers_do_not_depend_on_jobs_order_or_other_entrants(monkeypatch):
    entrants = (TWFE, SYNTHETIC, DRAWN)
    one = run(entrants=entrants, slow=2)
    assert same(one, run(entrants=entrants, slow=2, jobs=2))
    alone = run({"some": process(effect=0.5)}, (DRAWN,), slow=2)["some"].answers[0]
    np.testing.assert_array_equal(alone, one["some"].answers[2, :2])
    assert alone[0, 1] != alone[1, 1]

    def shuffled(*args):
        tasks = tasks_of(*args)
        random.Random(0).shuffle(tasks)
        return tasks

    in_order = whole()
    monkeypatch.setattr(module, "tasks_of", shuffled)
    assert same(in_order, run())


def test_more_replications_begin_with_the_same_ones_and_another_seed_has_others():
    some = {"some": process(effect=0.5)}
    few, more, other = run(some, repetitions=4), run(some, repetitions=30), run(some, repetitions=4, seed=4)
    np.testing.assert_array_equal(few["some"].answers, more["some"].answers[:, :4])
    np.testing.assert_array_equal(few["some"].truths, more["some"].truths[:4])
    assert not np.isin(other["some"].answers[:, :, 0], few["some"].answers[:, :, 0]).any()
    assert len(np.unique(more["some"].answers[0, :, 0])) == 30


def test_processes_have_the_same_random_numbers():
    made = run({"a": process(), "b": process(), "c": process(effect=0.5)}, repetitions=20)
    np.testing.assert_array_equal(made["a"].answers, made["b"].answers)
    shifts = made["c"].answers[0, :, 0] - made["a"].answers[0, :, 0]
    assert shifts.std() < 0.2 * made["a"].answers[0, :, 0].std()
    assert shifts.mean() == pytest.approx(0.5, abs=0.1)


def test_slow_designs_get_fewer_replications_by_what_they_are():
    assert [is_slow(each) for each in (TWFE, SUN, SYNTHETIC, LEARNED)] == [False, False, True, True]
    made = run(entrants=(SYNTHETIC, TWFE), repetitions=8, slow=3)["none"]
    assert made.ran.tolist() == [3, 8]
    assert np.isnan(made.answers[0, 3:]).all()
    assert np.isfinite(made.answers[:, :3, :4]).all()
    assert np.isfinite(made.answers[1, :, :6]).all()
    assert made.truths.shape == (8, 2)
    assert all(not d.closed_form for name, d in all_designs().items() if name.startswith("dml"))


def test_what_refuses_a_panel_is_counted_with_its_reason_and_what_refuses_the_question_is_refused_first():
    gappy = process(missing=0.6)
    made = run({"gaps": gappy}, (TWFE, SYNTHETIC), repetitions=5, slow=4)["gaps"]
    ((label, reason, number),) = made.refused
    assert (label, number) == ("sdid", 4)
    assert "gaps in the outcome" in reason
    assert np.isnan(made.answers[1]).all()
    assert np.isfinite(made.answers[0, :, 0]).all()
    varying = process(question=QUESTION.replace(base="varying"))
    with pytest.raises(QuestionError, match=r"^synthetic_did: it cannot answer a question with base"):
        run({"varying": varying}, (SYNTHETIC,))


@pytest.mark.parametrize(
    ("design", "options", "average", "horizon", "ends"),
    [
        ("dcdh", {}, "treated_average", None, None),
        ("dcdh", {}, "event_average", 2, None),
        ("stacked", {"before": 1}, "event_average", None, 3),
        ("stacked", {"before": 1}, "event_average", 3, None),
        ("stacked", {"before": 1, "after": 1}, "event_average", 2, 1),
    ],
)
def test_a_design_that_ends_early_is_not_held_to_an_average_that_does_not(
    design, options, average, horizon, ends
):
    asked = process(question=QUESTION.replace(average=average, horizon=horizon))
    entrants = (Entrant("cs", "callaway_santanna"), Entrant("other", design, options))
    made = run({"some": asked}, entrants, repetitions=2)["some"]
    assert np.isfinite(made.answers[0, :, 0]).all()
    assert [label for label, *_ in made.refused] == ["other"] * (ends is not None)
    if ends is not None:
        assert f"{design}: its {average} ends at event time {ends}, and the effect" in made.refused[0][1]


def test_a_design_that_ends_where_the_question_s_balance_does_is_held_to_it():
    asked = process(question=QUESTION.replace(average="event_average", balance=1, horizon=None))
    made = run({"some": asked}, (Entrant("short", "stacked", {"before": 1, "after": 1}),), repetitions=2)[
        "some"
    ]
    assert np.isfinite(made.answers[0, :, 0]).all(), made.refused


@pytest.mark.parametrize(
    ("entrant", "message"),
    [
        (Entrant("a", "twf"), 'design "twf"'),
        (Entrant("a", "twfe", {"lag": 1}), "lag is part of what is asked"),
        (Entrant("a", "twfe", {}, {"scale": "log1p"}), "tournament: a: "),
        (Entrant("a", "twfe", {}, {"covariates": ("x3",)}), "x3"),
        (Entrant("a", "twfe", {}, {"population": "all"}), "units that the tournament's question leaves out"),
    ],
)
def test_an_entrant_that_cannot_take_part_is_refused_in_one_line(entrant, message):
    of = process(question=QUESTION.replace(population="x1>=0"))
    with pytest.raises(QuestionError) as refusal:
        run({"some": of}, (entrant,), repetitions=2)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_who_adopts_late_is_drawn_anew_so_that_units_cannot_be_left_out_by_their_dates():
    late = QUESTION.sample(simulated.with_late_units(60))
    of = replace(process(), sample=late, size=process().size[:, : late.n_units])
    never = Entrant("never", "callaway_santanna", {}, {"comparison": "never_treated"})
    with pytest.raises(QuestionError, match="leaves out units by their dates"):
        run({"late": of}, (never,), repetitions=2)


def test_entrants_may_ask_about_some_of_the_units_with_covariates():
    asked = Entrant("some", "callaway_santanna", {}, {"population": "x1>=0", "covariates": ("x2",)})
    made = run({"some": process(200)}, (asked, SUN), repetitions=2)["some"]
    assert np.isfinite(made.answers[:, :, 0]).all()
    assert (made.answers[0, :, 0] != made.answers[1, :, 0]).all()


def test_finished_blocks_are_kept_and_a_damaged_one_is_worked_out_again(tmp_path):
    told: list[str] = []
    assert same(whole(), run(cache=tmp_path, progress=told.append))
    kept = blocks(tmp_path)
    assert len(kept) == len(told) == 4  # of 4 replications, the rest, by process
    assert same(whole(), run(cache=tmp_path))
    assert blocks(tmp_path) == kept
    damaged = sorted(tmp_path.glob("*.answer"))[0]
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-30] + b"0" + content[-29:])
    assert same(whole(), run(cache=tmp_path))
    assert damaged.read_bytes() == content
    again = blocks(tmp_path)
    assert {name for name in kept if again[name] != kept[name]} == {damaged.name}
    run(cache=tmp_path, seed=4)
    assert len(blocks(tmp_path)) == 8
    run({"none": process(), "turned": process(effect=0.1)}, cache=tmp_path)
    assert len(blocks(tmp_path)) == 10


def test_a_name_and_other_entrants_are_no_part_of_a_blocks_key(tmp_path):
    run(cache=tmp_path)
    run({"other name": process()}, (TWFE, SUN, SYNTHETIC), cache=tmp_path)
    assert len(blocks(tmp_path)) == 4 + 2


def test_an_interrupt_leaves_what_was_finished(tmp_path):
    done: list[str] = []

    def stop(words: str) -> None:
        done.append(words)
        if len(done) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(cache=tmp_path, progress=stop)
    kept = blocks(tmp_path)
    assert len(kept) == 2
    assert same(whole(), run(cache=tmp_path))
    assert kept.items() <= blocks(tmp_path).items()
    assert len(blocks(tmp_path)) == 4


def test_progress_is_told_how_many_steps_there_will_be(tmp_path, monkeypatch):
    class Bar:
        def __init__(self) -> None:
            self.expected, self.told = [], []

        def __call__(self, words: str) -> None:
            self.told.append(words)

        def expect(self, steps: int) -> None:
            self.expected.append(steps)

    bar = Bar()
    run(entrants=(TWFE, SYNTHETIC), progress=bar)
    assert bar.expected == [len(bar.told)] == [8]  # of 6 slow replications 5 and 1
    assert bar.told[:: len(bar.told) - 1] == ["none: replications 1 to 5", "some: replications 5 to 6"]
    with settings(cache=tmp_path):
        run({"none": process()}, progress=None)
        bar = Bar()
        run(progress=bar)
    assert len(bar.told) == 4
    assert bar.expected == [2]  # what was kept takes no time
    monkeypatch.undo()
    assert tasks_of(["a"], [TWFE], 51, 2) == [Task("a", (0,), 0, 50), Task("a", (0,), 50, 51)]


def test_the_progress_bar_estimates_the_time_left_once_it_knows_how_many_steps_there_are():
    with progress_bar() as bar:
        step = Steps(bar, None, "Simulating")
        step("on its way")
        assert bar.tasks[0].time_remaining is None
        run(progress=step)
        assert (bar.tasks[0].completed, bar.tasks[0].total) == (5, 5)
        step.expect(7)
        for _ in range(3):
            time.sleep(0.01)
            step("more")
        assert (bar.tasks[0].completed, bar.tasks[0].total) == (8, 12)
        assert bar.tasks[0].time_remaining >= 1
        assert any(isinstance(column, TimeRemainingColumn) for column in bar.columns)


KILLED = """
import sys
sys.path[:0] = sys.argv[2:]
from pathlib import Path
from test_replications import long_run
long_run(Path(sys.argv[1]))
"""


# Of each of two processes, four of ten replications by the fast designs and one of five by the slow one.
BLOCKS = 10


def long_run(folder: Path):
    with mock.patch.object(module, "BLOCK", 10):
        return run(entrants=(TWFE, SUN, SYNTHETIC), repetitions=40, slow=5, cache=folder)


def test_a_run_that_is_killed_goes_on_where_it_was_with_the_same_bytes(tmp_path):
    folders = [
        str(Path(__file__).parent),
        str(Path(__file__).parents[1]),
        str(Path(module.__file__).parents[2]),
    ]
    killed = tmp_path / "killed"
    started = subprocess.Popen([sys.executable, "-c", KILLED, str(killed), *folders], start_new_session=True)
    try:
        until = time.monotonic() + 120
        while len(blocks(killed)) < 3 and time.monotonic() < until and started.poll() is None:
            time.sleep(0.005)
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
    kept = blocks(killed)
    assert 3 <= len(kept) < BLOCKS
    assert same(long_run(killed), long_run(tmp_path / "whole"))
    assert kept.items() <= blocks(killed).items()
    assert len(blocks(killed)) == BLOCKS


def test_an_estimate_without_an_error_is_kept_and_counted():
    sample = process().sample
    only = np.flatnonzero(sample.first_treated == 6)[:1]
    never = np.flatnonzero(np.isnan(sample.first_treated))[:1]
    few = sample.only(np.isin(np.arange(60), [*only, *never]), "one is treated and one is not")
    of = replace(process(), sample=few, size=process().size[:, : few.n_units])
    made = run({"one": of}, (TWFE,), repetitions=4)["one"]
    assert np.isfinite(made.answers[0, :, 0]).all()
    assert np.isnan(made.answers[0, :, 1:4]).all()
    ((label, reason, number),) = made.refused
    assert (label, number) == ("twfe", 4)
    assert "comparison cluster carry the variance of treatment, so it has no standard error" in reason
