"""Progress is shown on the error stream: what is done, how much of it, and the pace."""

from __future__ import annotations

from rich.progress import TextColumn, TimeElapsedColumn, TimeRemainingColumn

from study.commands.options import OfWorkers
from study.core import Steps, arrived, current_settings, progress_bar


def test_the_bar_stays_on_the_error_stream_with_counts_the_time_so_far_and_the_time_left(capsys):
    with progress_bar() as bar:
        move = Steps(bar, 3)
        assert bar.tasks[0].description == "Estimating"
        move("twfe")
        move("dcdh")
    out, err = capsys.readouterr()
    assert out == ""
    assert "dcdh" in err.splitlines()[-1]
    assert "2/3" in err
    assert "left:" in err
    texts = [column.text_format for column in bar.columns if isinstance(column, TextColumn)]
    assert texts == ["{task.description}", "left:"]
    assert {TimeElapsedColumn, TimeRemainingColumn} <= {type(column) for column in bar.columns}
    assert bar.speed_estimate_period == 600


def test_a_bar_without_a_number_of_steps_says_what_is_done_and_expects_those_that_are_announced():
    with progress_bar() as bar:
        move = Steps(bar, None)
        assert (bar.tasks[0].description, bar.tasks[0].total) == ("Reading", None)
        move("first")
        other = Steps(bar, None, "Simulating")
        other("a block")
        move.expect(4)
        assert [(task.description, task.completed, task.total) for task in bar.tasks] == [
            ("first", 1, 5),
            ("a block", 1, None),
        ]


def test_learning_is_done_in_the_processes_that_are_asked_for_and_told_of_to_a_bar(capsys):
    before = current_settings()
    with OfWorkers(jobs=2).learning(None):
        assert current_settings().jobs == 2
    assert current_settings() == before
    assert "Learning" in capsys.readouterr().err
    with OfWorkers(jobs=1).learning(None):
        current_settings().progress("fold 3 of 5")
    assert "fold 3 of 5" in capsys.readouterr().err


def test_a_download_shows_the_end_of_its_address_and_how_much_of_it_is_there():
    with progress_bar() as bar:
        shown = arrived(bar)
        assert (bar.tasks[0].description, bar.tasks[0].total) == ("Downloading", None)
        shown("https://host/folder/works.csv", 30, 120)
        assert [bar.tasks[0].description, bar.tasks[0].completed, bar.tasks[0].total] == [
            "works.csv",
            30,
            120,
        ]
