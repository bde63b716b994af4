"""`study simulate` and `study designs --for`: what they print is the tournament's, and bad input is one line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from command_line import command
from plans import PANEL, PLAN

from study import Panel, Question, tournament
from study.commands.options import labels, pairs, read_options
from study.core import QuestionError
from study.simulate import calibrate
from study.simulate.performance import VIOLATIONS

QUICK = ("--reps", 6, "--jobs", 1)
OWN = (
    "--panel",
    "my.csv",
    "--unit",
    "unit",
    "--time",
    "time",
    "--outcome",
    "count",
    "--event",
    "first_treated",
)
RECORD = """
[tournament]
question = "sim1/count"
record = "tournament.csv"
repetitions = 6
slow_repetitions = 2
effects = [0.0, 0.5]
effect = 0.5
[tournament.violations]
"adopters' own trends" = { trends = 0.5 }
[[tournament.designs]]
name = "imputation"
label = "BJS"
"""


@pytest.fixture(scope="module", autouse=True)
def _few_draws() -> Iterator[None]:
    """Let calibrations, whose numbers are tested elsewhere, draw few panels."""
    simulated = calibrate._simulated
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "_simulated", lambda of, draws, seed: simulated(of, min(draws, 4), seed))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a panel, a plan about it, and one with a tournament that is recorded."""
    path = tmp_path_factory.mktemp("simulate")
    pd.read_csv(PANEL).to_csv(path / "my.csv", index=False)
    plan = PLAN.replace(str(PANEL), "my.csv")
    (path / "study.toml").write_text(plan)
    (path / "recorded.toml").write_text(plan + RECORD)
    (path / "absent.toml").write_text((plan + RECORD).replace("tournament.csv", "none.csv"))
    return path


@pytest.fixture(scope="module")
def printed(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the page and the record of a question of the plan, whose figures are in the folder "out"."""
    asked = ("simulate", "sim1/count", "--plan", "study.toml", *QUICK, "--format", "json", "--output", "out")
    done = command(*asked, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "files written to out" in done.stderr
    return (folder / "out" / "tournament.txt").read_text(), json.loads(done.stdout)


def test_rows_of_the_plan_take_part_with_their_labels(printed):
    text, record = printed
    assert {row["design"] for row in record["performance"]} == {"CS", "ES", "TWFE"}
    assert [*record["processes"]] == ["no effect", "effect of 10%", "effect of 20%", "effect of 40%"]
    assert all(row["repetitions"] == 6 for row in record["performance"])
    assert record["level"] == 0.9  # the plan's
    assert record["seed"] == 3
    lines = " ".join(text.split())
    assert "Question: the effect of first_treated on count (proportional); panel my.csv" in lines
    assert record["verdict"] in lines


def test_cells_of_the_table_are_the_measures(printed):
    text, record = printed
    first = record["performance"][0]
    cells = next(line for line in text.split("\n") if line.startswith("CS ")).split()
    assert cells[1] == "6"
    expected = [
        f"{100 * first[name]:.1f}"
        for name in ("bias", "rmse", "coverage", "published_coverage", "rejects", "mde")
    ]
    assert [cell for cell in cells[2:] if not cell.startswith("(")] == expected
    errors = [f"({100 * first[f'{name}_mc']:.1f})" for name in ("bias", "rmse")]
    assert [cell for cell in cells[2:] if cell.startswith("(")][:2] == errors
    after = text[text.index("that pass the pre-test") :].split("\n")
    passing = [str(row["passing"]) for row in record["performance"] if row["pretest_rejects"] is not None]
    assert [line.split()[1] for line in after if line.startswith(("CS ", "ES "))] == passing
    assert set(passing) != {"6"}


def test_figures_and_tables_are_written(folder, printed):
    written = {path.name for path in (folder / "out").iterdir()}
    assert {
        "tournament.txt",
        "tournament.csv",
        "tables.tex",
        "tournament.pdf",
        "tournament.png",
    } <= written
    assert "tournament.tex" not in written  # which LaTeX would make into tournament.pdf, the figure
    assert {"calibration.csv", "calibration.pdf"} <= written
    _, record = printed
    frame = pd.read_csv(folder / "out" / "tournament.csv")
    assert frame["rmse"].tolist() == pytest.approx([row["rmse"] for row in record["performance"]])


def test_designs_are_restricted_by_name_to_rows_of_the_plan_or_of_its_tournament(folder):
    asked = (
        "simulate",
        "sim1/count",
        "--plan",
        "recorded.toml",
        "--designs",
        "twfe,imputation,lp_did",
        *QUICK,
    )
    done = command(*asked, cwd=folder)
    assert done.returncode == 0, done.stderr
    table = done.stdout.split("No effect\n")[1].split("----")[0]
    shown = [line.split("  ")[0] for line in table.strip().split("\n")]
    assert shown == ["TWFE", "BJS", "Local projections (Dube, Girardi, Jordà and Taylor)"]


def test_an_own_panel_is_asked_as_in_python(folder):
    given = (
        "--scale",
        "proportional",
        "--average",
        "event_average",
        "--horizon",
        3,
        "--designs",
        "twfe,imputation",
        "--seed",
        5,
    )
    done = command("simulate", *OWN, *given, *QUICK, "--dial", "trends=0.5", "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    panel = Panel.from_long(
        folder / "my.csv", unit="unit", time="time", first_treated=["first_treated"], outcomes=["count"]
    )
    question = Question("count", "first_treated", scale="proportional", average="event_average", horizon=3)
    found = tournament(panel, question, ["twfe", "imputation"], dials={"trends": 0.5}, repetitions=6, seed=5)
    assert record["verdict"] == found.verdict
    assert record["processes"]["no effect"]["trends"] == 0.5
    measured = pd.DataFrame(record["performance"]).astype({"wald_rejects": float, "pretest_rejects": float})
    for name in ("estimate", "bias", "coverage", "pretest_rejects"):
        if name in found.frame:
            assert np.allclose(measured[name], found.frame[name], equal_nan=True), name


def test_violations_take_the_place_of_effects(folder):
    asked = ("simulate", "sim1/count", "--plan", "study.toml", "--reps", 2, "--jobs", 1, "--violations")
    done = command(*asked, "--designs", "twfe", "--format", "json", cwd=folder)
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert [*record["processes"]] == [*VIOLATIONS]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dial", "trend=1"], 'no dial "trend"'),
        (["--dial", "trends"], "--dial trends: write NAME=VALUE"),
        (["--dial", "trends=much"], "--dial trends=much: write NAME=VALUE"),
        (["--dial", "hidden=2"], "dial hidden is 2"),
        (["--dial", "trends=1", "--dial", "trends=2"], "--dial trends is set twice"),
        (["--reps", "1"], "--reps is 1; it must be"),
        (["--designs", "twff"], 'no design "twff"'),
        (["--designs", "iv"], "does not take part: iv: it cannot answer"),
        (["--unit", "lab"], "--unit goes with --outcome and --event"),
        (["--record", "--reps", "10"], "--reps is not for --record"),
        (["--record"], "there is no table [tournament]"),
        (["--backend", "dask"], "backend is dask"),
        (["--outcome", "count"], "--outcome goes with"),
        (["--format", "yaml"], 'no format "yaml"'),
        (["--jobs", "0"], "--jobs is 0"),
    ],
)
def test_bad_input_is_one_line_and_simulates_nothing(folder, arguments, message):
    done = command("simulate", "--plan", "study.toml", *arguments, cwd=folder)
    assert done.returncode == 2
    assert done.stdout == ""
    errors = [line for line in done.stderr.split("\n") if line.startswith("study: ")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "replications" not in done.stderr


def test_a_question_that_the_plan_does_not_have_is_refused(folder):
    done = command("simulate", "sim2", "--plan", "study.toml", cwd=folder)
    assert 'no question "sim2"' in done.stderr
    assert done.returncode == 2


def test_dials_are_numbers_by_name():
    how = "NAME=VALUE, for example trends=0.5"
    assert pairs("--dial", ["trends=0.5", "hidden=1e-1"], how, float) == {"trends": 0.5, "hidden": 0.1}
    with pytest.raises(QuestionError, match="write NAME=VALUE"):
        pairs("--dial", ["=0.5"], how, float)


def test_an_option_or_a_label_that_is_given_twice_is_refused():
    with pytest.raises(QuestionError, match="--option folds is set twice; set it once"):
        read_options(["folds=5", "folds=6"])
    with pytest.raises(QuestionError, match="--label papers is set twice"):
        labels(["papers=Papers", "papers=Works"])


def test_designs_for_a_panel_say_how_to_run_a_tournament_where_none_is_recorded(folder):
    done = command("designs", "--for", "my.csv", "--outcome", "count", cwd=folder)
    assert done.returncode == 0, done.stderr
    text = " ".join(done.stdout.split())
    assert "Panel my.csv: the effect of first_treated on count" in text
    how = text.split("None is recorded of this panel; run `")[1].split("`")[0]
    able = text.split("Designs that can answer")[1].split("Designs that cannot")[0]
    assert "callaway_santanna" in able
    assert "dml_iv, iv: the question has no instrument" in text
    again = command(*how.split()[1:], "--designs", "twfe", "--reps", 2, "--jobs", 1, cwd=folder)
    assert again.returncode == 0, again.stderr
    table = pd.read_csv(folder / "my.csv")
    table["the access"] = (table["time"] >= table["first_treated"]).astype(int)
    table["time"] = (table["time"] + 2000).astype(str) + "-03-31"
    (folder / "own").mkdir()
    table.drop(columns="first_treated").to_csv(folder / "own" / "path.csv", index=False)
    roles = ("--treatment", "the access", "--period", "year")
    done = command("designs", "--for", "own/path.csv", "--outcome", "count", *roles, cwd=folder)
    assert done.returncode == 0, done.stderr
    how = " ".join(done.stdout.split()).split("run `")[1].split("`")[0]
    again = command(*shlex.split(how)[1:], "--designs", "twfe", "--reps", 2, "--jobs", 1, cwd=folder)
    assert again.returncode == 0, again.stderr
    given = command("designs", "--for", "my.csv", "--outcome", "count", "--covariate", "x1", cwd=folder)
    assert "--event first_treated --covariate x1`." in " ".join(given.stdout.split()), given.stderr
    ships = command("designs", "--for", "cs_2007", cwd=folder)
    assert "run `study simulate --panel cs_2007 --outcome papers --event" in " ".join(ships.stdout.split())


def test_the_recorded_tournament_is_told_design_by_design(folder):
    made = command("simulate", "--plan", "recorded.toml", "--record", "--jobs", 1, cwd=folder)
    assert made.returncode == 0, made.stderr
    assert (folder / "tournament.csv").is_file()
    asked = ("designs", "--for", "my.csv", "--plan", "recorded.toml")
    record = json.loads(command(*asked, "--format", "json", cwd=folder).stdout)
    text = " ".join(command(*asked, cwd=folder).stdout.split())
    assert record["tournament"] in text
    assert record["tournament"] in " ".join(made.stdout.split())
    standing = {label: row for each in record["designs"] for label, row in each["standing"].items()}
    assert set(standing) == {"CS", "ES", "TWFE", "BJS"}
    frame = pd.read_csv(folder / "tournament.csv")
    rows = frame[(frame["design"] == "CS") & frame["process"].isin(["no effect", "effect of 50%"])]
    assert standing["CS"]["rmse"] == pytest.approx(rows["rmse"].mean())
    assert standing["CS"]["coverage"] == pytest.approx(rows["coverage"].min())
    assert f"intervals cover {rows['coverage'].min():.1%} at the lowest" in text


def test_a_record_that_is_missing_is_said_in_one_line(folder):
    done = command("designs", "--for", "my.csv", "--plan", "absent.toml", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "none.csv: there is no such record of the tournament" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--for", "nope"], 'no panel "nope"'),
        (["--for", "nope.csv"], "nope.csv: there is no such file"),
        (["twfe", "--for", "my.csv"], "not both"),
        (["--unit", "unit"], "options about columns go with --for"),
    ],
)
def test_designs_for_nothing_are_refused(folder, arguments, message):
    done = command("designs", *arguments, cwd=folder)
    assert done.returncode == 2
    assert message in done.stderr
