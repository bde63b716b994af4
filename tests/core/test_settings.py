"""How work is done: settings that change no number, answers that are looked up, and options at the command line."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from command_line import command
from plans import PANEL, PLAN, files_of

import study.learners.nuisances as fits
from study import QuestionError, settings
from study.commands.options import read_options
from study.core import current_settings, telling
from study.core.context import expecting
from study.paper import run as running
from study.paper.plan import read_plan

pytestmark = pytest.mark.usefixtures("fonts_that_take_no_time")
LEARNS = """
[[designs]]
name = "dml_panel"
label = "DML"
options = { learner = "lightgbm", repetitions = 1, folds = 2 }
question = { covariates = ["x1"] }
[inference]
"""


def test_settings_hold_inside_and_are_what_they_were_afterwards(tmp_path):
    with settings(jobs=2):
        with settings(cache=tmp_path):
            assert (current_settings().jobs, current_settings().cache) == (2, tmp_path)
        assert current_settings().cache is None
        with pytest.raises(ZeroDivisionError), settings(jobs=7):
            raise ZeroDivisionError
        assert current_settings().jobs == 2
    assert current_settings().jobs == 1


def test_a_cluster_needs_its_name_and_its_address_and_a_setting_that_is_none_is_refused():
    for given, said in (
        ({"backend": "dask"}, "settings: backend is dask, address None; a cluster needs both, as in "),
        (
            {"address": "tcp://a:1"},
            "settings: backend is loky, address tcp://a:1; a cluster needs both, as in ",
        ),
        ({"job": 2}, 'settings: there is no setting "job". Did you mean "jobs"?'),
        ({"jobs": 0}, "settings: jobs is 0; give a number of processes, or -1 for all cores."),
        ({"max_rows": 0}, "settings: max_rows is 0; it must be a whole number, at least 1."),
    ):
        with pytest.raises(QuestionError) as refused, settings(**given):
            pass
        assert str(refused.value).startswith(said)


def test_steps_are_told_with_what_they_are_part_of_and_how_many_there_will_be():
    class Bar(list):
        def expect(self, steps):
            self.append(steps)

        def __call__(self, step):
            self.append(step)

    told = Bar()
    with settings(progress=told):
        expecting(4)
        with telling("DML"):
            current_settings().progress("fold 1")
        current_settings().progress("done")
    with telling("nobody"):
        assert current_settings().progress is None
        expecting(3)
    assert told == [4, "DML, fold 1", "done"]


def learns(tmp_path):
    (tmp_path / "study.toml").write_text(PLAN.replace("[inference]\n", LEARNS))
    plan = read_plan(tmp_path / "study.toml")
    return plan, running.load(plan)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The plan's files, made in one process without answers to look up."""
    plan, panel = learns(tmp_path_factory.mktemp("alone"))
    return files_of(plan, panel, running.run(plan, panel, jobs=1))


def test_a_second_run_learns_nothing_even_without_its_answers(tmp_path, monkeypatch, alone):
    plan, panel = learns(tmp_path)
    folder = tmp_path / "cache"
    running.run(plan, panel, jobs=1, cache=folder)
    for answer in folder.glob("*.answer"):
        answer.unlink()
    monkeypatch.setattr(fits, "learned", None)
    again = running.run(plan, panel, jobs=1, cache=folder)
    assert files_of(plan, panel, again) == alone
    shutil.rmtree(folder)
    with pytest.raises(TypeError):
        running.run(plan, panel, jobs=1, cache=folder)


def test_what_is_learned_of_treatment_serves_every_scale(tmp_path, monkeypatch):
    plan, panel = learns(tmp_path)
    calls, original = [], fits.learned
    monkeypatch.setattr(fits, "learned", lambda *a: calls.append(1) or original(*a))
    running.run(plan, panel, jobs=1, cache=tmp_path / "cache")
    assert len(calls) == 2 * 2 + 2  # two folds: the outcome on two scales, treatment once


def test_it_is_said_what_draws_leave_to_chance(tmp_path, monkeypatch):
    monkeypatch.setattr("study.paper.exhibits.exhibit.drawn", lambda *_: b"")
    plan, panel = learns(tmp_path)
    (tmp_path / "study.toml").write_text(
        (tmp_path / "study.toml").read_text().replace("repetitions = 1", "repetitions = 2")
    )
    often = read_plan(tmp_path / "study.toml")
    results = running.run(often, panel, jobs=1)
    made = [results["sim1", scale, "count", "DML"] for scale in ("log1p", "proportional")]
    most = max(one.draw_error / one.headline.std_error for one in made)

    def sentences(plan, results):
        return " ".join(running.exhibit(plan, panel, results, jobs=1).exhibited["designs"].sentences)

    assert (
        f"leave to chance, which no standard error counts, is at most {most:.2f} standard errors"
        in sentences(often, results)
    )
    assert "leave to chance" not in sentences(plan, running.run(plan, panel, jobs=1))


def test_files_of_a_plan_with_learners_do_not_depend_on_jobs_or_cache(tmp_path, alone):
    plan, panel = learns(tmp_path)
    assert files_of(plan, panel, running.run(plan, panel, jobs=2, cache=tmp_path / "cache")) == alone


def test_options_at_the_command_line_are_numbers_where_they_look_so():
    read = read_options(["learner=forest", "folds=3", "trim=0.05", "normalize=true"])
    assert read == {"learner": "forest", "folds": 3, "trim": 0.05, "normalize": True}
    for bad in ("folds", "=3"):
        with pytest.raises(QuestionError, match="write NAME=VALUE"):
            read_options([bad])


def test_a_design_with_learners_is_estimated_from_a_file_with_its_options(tmp_path):
    shutil.copy(PANEL, tmp_path / "mine.csv")
    given = [
        "estimate",
        "--panel",
        "mine.csv",
        "--outcome",
        "y",
        "--event",
        "first_treated",
        "--covariate",
        "x1",
    ]
    options = ["--option", "learner=lightgbm", "--option", "repetitions=1"]
    alone, together = (
        command(*given, "--design", "dml_panel", *options, "--jobs", jobs, cwd=tmp_path)
        for jobs in ("1", "2")
    )
    assert alone.returncode == 0, alone.stderr
    assert alone.stdout == together.stdout
    assert np.all([word in alone.stdout for word in ("treatment", "coefficient")])
    wrong = command(*given, "--design", "dml_panel", "--option", "learner=trees", cwd=tmp_path)
    assert wrong.returncode == 2
    assert 'there is no learner "trees"' in wrong.stderr
    assert len(wrong.stderr.strip().splitlines()) == 1
