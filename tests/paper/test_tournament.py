"""The paper's tournament: a record that a run can trust or refuses in a line, whose values the exhibit prints."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawings import drawn_as
from paper_inputs import paper_panel, paper_plan
from plans import PLAN, ROOT

from study import Panel, Question, QuestionError, estimate
from study.core import DataError
from study.paper import run as running
from study.paper import tournament as recording
from study.paper.exhibits.exhibit import Exhibited, Setting
from study.paper.exhibits.tournament import (
    ACTUAL,
    DETAILS,
    SIMULATED,
    broken_by,
    explained,
    headline_label,
    tournament,
)
from study.paper.numbers import select
from study.paper.plan import Plan, read_plan
from study.paper.results import answer
from study.report import REFUSED, Number
from study.report.latex import MINUS
from study.simulate.calibrate import calibrate
from study.simulate.performance import performance, standing
from study.simulate.process import DIALS, Process
from study.simulate.replications import replicate

TABLE = """
[tournament]
question = "sim1/count/proportional"
record = "tournament.csv"
repetitions = 6
slow_repetitions = 2
learned = { repetitions = 1 }
effects = [0.0, 0.2]
effect = 0.2
[[tournament.designs]]
name = "imputation"
label = "Imputation"
[[tournament.designs]]
name = "dml_panel"
label = "Double ML"
options = { learner = "linear", repetitions = 3 }
question = { covariates = ["x1"] }
[[tournament.designs]]
name = "callaway_santanna"
label = "Balanced"
question = { balance = 2 }
[tournament.violations]
"adopters' own trends" = { trends = 0.5 }
[diagnose]
hidden = "checked.csv"
"""
CHECKED = "event,some_without,above_without\nfirst_treated,0.4,1\n"
Made = tuple[Process, dict[str, Process]]
TRENDS = "adopters' own trends"
ENTRANTS = ["CS", "ES", "TWFE", "Imputation", "Double ML"]
PROCESSES = ["no effect", "effect of 20%", TRENDS, "hidden treatment of 40%"]


def plan_of(folder: Path, old: str = "", new: str = "") -> Plan:
    text = PLAN.replace('label = "CS"', 'label = "CS"\nquestion = { covariates = ["x1"] }') + TABLE
    assert text.count(old)
    (folder / "checked.csv").write_text(CHECKED)
    (folder / "study.toml").write_text(text.replace(old, new, 1))
    return read_plan(folder / "study.toml")


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    """Return the small plan with its record beside it."""
    folder = tmp_path_factory.mktemp("recorded")
    plan = plan_of(folder)
    panel = running.load(plan)
    recorded = recording.simulated(plan, panel)
    for name, content in recording.files(recorded, folder / "tournament.csv").items():
        (folder / name).write_bytes(content)
    return Setting(plan, panel, {})


@pytest.fixture(scope="module")
def made(setting: Setting) -> Made:
    return recording.contest(setting.plan, setting.panel)


@pytest.fixture(scope="module", autouse=True)
def calibrated_once(setting: Setting, made: Made) -> Iterator[None]:
    """Let no test calibrate to the panel once more what the record and the contest were, each anew."""
    known = {(setting.panel, recording.base_question(setting.plan)): made[0]}

    def calibrated(panel: Panel, question: Question, **how: Any) -> Process:
        return known.get((panel, question)) or calibrate(panel, question, **how)

    with pytest.MonkeyPatch.context() as patch, drawn_as("png"):
        patch.setattr(recording, "calibrate", calibrated)
        yield


@pytest.fixture(scope="module")
def shown(setting: Setting, calibrated_once: None) -> Exhibited:
    return exhibited(setting)


def exhibited(setting: Setting) -> Exhibited:
    """Make the exhibit, or take it from the cache beside the plan."""
    plan, cache = (
        replace(setting.plan, exhibits=("tournament",)),
        Path(setting.plan.tournament.record).parent / "cache",
    )
    return running.exhibit(plan, setting.panel, {}, jobs=1, cache=cache).exhibited["tournament"]


def copied(setting: Setting, folder: Path) -> Path:
    """Put the record into another folder."""
    source = Path(setting.plan.tournament.record)
    for path in (source, recording.beside(source)):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / source.name


def test_the_record_is_what_the_designs_answered_on_the_processes_of_the_plan(
    setting: Setting, made: Made
) -> None:
    plan = setting.plan
    entrants, processes = recording.entrants(plan), made[1]
    assert [entrant.label for entrant in entrants] == ENTRANTS
    assert entrants[-1].options == {"learner": "linear", "repetitions": 1}
    assert [*processes] == PROCESSES
    assert processes[TRENDS].dials["trends"] == 0.5
    assert processes["hidden treatment of 40%"].dials["hidden"] == 0.4
    # One entrant alone, in one process, answers as it did among the others.
    alone = replicate(
        {TRENDS: processes[TRENDS]},
        [entrants[1]],
        repetitions=6,
        slow_repetitions=2,
        seed=plan.seed,
        level=plan.level,
    )
    (expected,) = performance(alone).to_dict("records")
    recorded = recording.read_record(plan, setting.panel).rows.set_index(recording.KEY).loc[(TRENDS, "ES")]
    for name in ("bias", "rmse", "coverage", "rejects", "mde", "truth", "bias_mc"):
        assert recorded[name] == pytest.approx(expected[name], rel=1e-6, nan_ok=True), name
    first = recorded[recording.FIRST].to_numpy(dtype=float)
    np.testing.assert_allclose(first, alone[TRENDS].answers[0, 0, :2], rtol=1e-12)


def test_another_headline_reads_the_same_record(setting: Setting) -> None:
    for design in ("event_study", "sun_abraham"):
        other = setting.plan.under(design)
        assert recording.specification(other, setting.panel) == recording.specification(
            setting.plan, setting.panel
        )
    labels = {
        name: headline_label(replace(setting, plan=setting.plan.under(name))) for name in ("twfe", "stacked")
    }
    assert labels == {"twfe": "TWFE", "stacked": "CS"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seed = 3", "seed = 4", "seed is recorded as 3 and is 4 in the plan"),
        ("level = 0.9", "level = 0.8", "level is recorded as 0.9 and is 0.8 in the plan"),
        ("horizon = 3", "horizon = 2", "question: horizon is recorded as 3 and is 2 in the plan"),
        ("repetitions = 6", "repetitions = 7", "repetitions is recorded as 6 and is 7 in the plan"),
        ("trends = 0.5", "trends = 0.4", f"processes: {TRENDS}: trends is recorded as 0.5"),
        ("[0.0, 0.2]", "[0.0, 0.2, 0.4]", "processes: effect of 40% is recorded as 'absent'"),
        ('label = "Imputation"', 'label = "I"', "designs: I is recorded as 'absent'"),
        (
            'label = "ES"',
            'label = "ES"\nquestion = { base = "universal", covariates = ["x1"] }',
            "designs: ES is recorded as ['event_study', {}, ",
        ),
        ('hidden = "checked.csv"', 'hidden = ""', "processes: hidden treatment of 40% is recorded as"),
        ("[diagnose]", '[diagnose]\nneighbours = "cluster"', "neighbours is recorded as '' and is 'cluster'"),
    ],
)
def test_a_record_of_something_else_is_refused_in_one_line(
    setting: Setting, tmp_path: Path, old: str, new: str, message: str
) -> None:
    copied(setting, tmp_path)
    plan = plan_of(tmp_path, old, new)
    with pytest.raises(DataError, match=re.escape(message)) as refused:
        recording.read_record(plan, setting.panel)
    assert "study simulate --record" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_record_of_another_panel_or_none_is_refused(setting: Setting, tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    with pytest.raises(DataError, match="there is no such record"):
        recording.read_record(plan, setting.panel)
    path = copied(setting, tmp_path)
    first, *others = setting.panel.outcomes
    changed = {first: setting.panel.outcomes[first] + 1} | {
        name: setting.panel.outcomes[name] for name in others
    }
    with pytest.raises(DataError, match="panel is recorded as"):
        recording.read_record(plan, replace(setting.panel, outcomes=changed))
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="its rows are not those of"):
        recording.read_record(plan, setting.panel)
    recording.beside(path).write_text("{")
    with pytest.raises(DataError, match="not a readable record"):
        recording.read_record(plan, setting.panel)


def test_panels_are_drawn_again_with_the_numbers_of_the_record_to_the_last_digit(
    setting: Setting, made: Made
) -> None:
    """Where a search ends depends on the processor: what was calibrated is a part of the record."""
    recorded = recording.read_record(setting.plan, setting.panel)
    assert recorded.calibrated == recording.numbers_of(made[0])
    for name in recording.CALIBRATED:
        near = (np.array(recorded.calibrated[name]) * (1 + 1e-5)).tolist()
        other = recorded._replace(calibrated=recorded.calibrated | {name: near})
        again, processes = recording.contest(setting.plan, setting.panel, other)
        assert recording.numbers_of(again) == other.calibrated
        assert all(recording.numbers_of(process)[name] == near for process in processes.values())


@pytest.mark.parametrize("name", [*recording.CALIBRATED, "family", "dials"])
def test_a_record_of_another_calibration_is_refused(setting: Setting, name: str) -> None:
    recorded = recording.read_record(setting.plan, setting.panel)
    was = recorded.calibrated[name]
    other = (np.array(was) * 1.01 + 1e-3).tolist() if name in recording.CALIBRATED else {"other": was}
    moved = recorded._replace(calibrated=recorded.calibrated | {name: other})
    with pytest.raises(DataError, match=f"calibrated to another {name} now; run `study simulate --record`"):
        recording.contest(setting.plan, setting.panel, moved)


@pytest.mark.parametrize("column", recording.FIRST)
def test_a_first_replication_that_is_other_now_is_noticed(setting: Setting, made: Made, column: str) -> None:
    rows = recording.read_record(setting.plan, setting.panel).rows
    recording.check_first(setting.plan, made[1], rows)
    place = rows.index[(rows["process"] == TRENDS) & (rows["design"] == "TWFE")]
    rows.loc[place, column] += 2e-9
    with pytest.raises(DataError, match=f"TWFE under {TRENDS}: {column.replace('_', ' ')} is recorded"):
        recording.check_first(setting.plan, made[1], rows)


def test_a_run_refuses_a_record_before_any_estimate(setting: Setting, tmp_path: Path) -> None:
    from command_line import command

    plan_of(tmp_path, "seed = 3", 'seed = 3\nexhibits = ["tournament"]')
    done = command("run", "--plan", str(tmp_path / "study.toml"), "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "tournament.csv: there is no such record of the tournament" in done.stderr
    assert not (tmp_path / "estimates.csv").exists()


def test_an_exhibit_at_hand_is_made_anew_from_another_record(setting: Setting, shown: Exhibited) -> None:
    path = Path(setting.plan.tournament.record)
    kept = path.read_bytes()
    rows = pd.read_csv(path)
    rows.loc[rows["process"] == "effect of 20%", "bias"] += 0.1
    try:
        path.write_text(rows.to_csv(index=False))
        with drawn_as():
            other = exhibited(setting)
    finally:
        path.write_bytes(kept)
    at = [*SIMULATED].index("bias")
    biases = [[line.cells[at].value for line in each.tables[0].lines] for each in (shown, other)]
    np.testing.assert_allclose(np.diff(biases, axis=0), 10)


def test_the_tables_of_designs_have_the_recorded_values(setting: Setting, shown: Exhibited) -> None:
    rows = recording.read_record(setting.plan, setting.panel).rows.set_index(recording.KEY)
    for table, names in ((shown.tables[0], SIMULATED), (shown.tables[1], DETAILS)):
        assert sorted(line.label for line in table.lines) == sorted(ENTRANTS)
        for line in table.lines:
            at, none = rows.loc[("effect of 20%", line.label)], rows.loc[("no effect", line.label)]
            expected = 100 * at.drop("repetitions").drop(recording.FIRST).astype(float)
            expected["power"], expected["repetitions"] = 100 * at["rejects"], at["repetitions"]
            expected["size"], expected["bias_without"] = 100 * none["rejects"], 100 * none["bias"]
            for name, cell in zip(names, line.cells, strict=False):
                if np.isnan(expected[name]):
                    assert cell == REFUSED, name
                else:
                    assert isinstance(cell, Number)
                    assert cell.value == pytest.approx(expected[name]), name


def test_designs_stand_by_whether_their_intervals_cover_and_by_their_rmse(
    setting: Setting, shown: Exhibited
) -> None:
    recorded = recording.read_record(setting.plan, setting.panel)
    rows = recorded.rows[recorded.rows["process"].isin(setting.plan.calibrated_processes())]
    stand = standing(rows, setting.plan.level)
    assert [line.label for line in shown.tables[0].lines] == [*stand.index]
    (covering,) = (len(b.lines) for b in shown.tables[0].blocks if "cover at each effect" in b.title)
    assert covering == len(recorded.recommendation.trusted)


def test_what_designs_say_of_the_actual_panel_is_their_answer(setting: Setting, shown: Exhibited) -> None:
    """The tables' answers where there are any: of designs with learners these have all draws of the folds."""
    task = setting.plan.ask(setting.plan.tournament.question)
    fit = estimate(setting.panel, task.question.replace(covariates=()), "imputation").headline
    cells = {line.label: [*line.cells[-len(ACTUAL) :]] for line in shown.tables[0].lines}
    expected = [100 * fit.effect[0], 100 * fit.std_error[0]]
    assert [cell.value for cell in cells["Imputation"][:2]] == pytest.approx(expected)
    assert cells["Imputation"][1].bracketed
    row = next(row for row in setting.plan.entrants if row.label == "CS")
    own = setting.plan.task(task.event, task.outcome, task.scale, row)
    known = answer(own, setting.panel)
    kept = replace(known, headline=replace(known.headline, estimate=0.4321))
    with drawn_as():
        other = tournament(replace(setting, results={own.key: kept}))
    numbers = {number.address: number.value for number in other.numbers}
    assert numbers["tournament/actual/cs/estimate"] == "43.2"


def test_violations_are_bias_and_coverage_of_every_process_with_the_effect(
    setting: Setting, shown: Exhibited
) -> None:
    table = shown.tables[2]
    rows = recording.read_record(setting.plan, setting.panel).rows.set_index(recording.KEY)
    assert table.headings[0] == "CS"
    assert len({*table.headings}) == 4
    assert table.notes[-1] == "Numbers of unfounded and hidden units are rounded down."
    for block, name in zip(table.blocks, ("bias", "coverage"), strict=True):
        assert [line.label.lower() for line in block.lines] == ["as calibrated", *PROCESSES[2:]]
        for line, process in zip(block.lines, PROCESSES[1:], strict=True):
            expected = [100 * rows.loc[(process, label), name] for label in table.headings]
            assert [cell.value for cell in line.cells] == pytest.approx(expected)


def test_a_note_on_a_dial_begins_with_words_of_the_table() -> None:
    processes = {
        "no effect": {},
        "hidden treatment of 40%": {"hidden": 0.4},
        "a tenth lost": {"reversal": 0.1},
    }
    assert explained(processes) == {"hidden": DIALS["hidden"], "a tenth lost": DIALS["reversal"]}


def test_tables_have_short_notes_and_can_be_written(shown: Exhibited) -> None:
    assert [table.name for table in shown.tables] == [
        "tournament",
        "tournament-details",
        "tournament-violations",
        "tournament-calibration",
    ]
    for table in shown.tables:
        assert sum(len(note.split()) for note in table.notes) <= 80
        assert table.latex()
        assert table.html()
        assert table.markdown()
    assert [figure.name for figure in shown.figures] == ["tournament"]


def test_results_have_addresses_of_their_own_for_the_headline_each_design_and_what_is_said(
    setting: Setting, shown: Exhibited
) -> None:
    addresses = [number.address for number in shown.numbers]
    values = {at: number.value for at, number in select(shown.numbers, addresses).items()}
    recorded = recording.read_record(setting.plan, setting.panel)
    rows = recorded.rows.set_index(recording.KEY)
    assert values["tournament/headline/label"] == "CS"
    assert values["tournament/headline/power"] == f"{100 * rows.loc[('effect of 20%', 'CS'), 'rejects']:.1f}"
    without = f"{100 * rows.loc[('no effect', 'CS'), 'bias']:.1f}"
    assert values["tournament/headline/bias_without"] == without.replace("-", MINUS)
    assert values["tournament/no_effect/double_ml/repetitions"] == "2"
    assert values["tournament/verdict/sentence"] == recorded.sentences[0] == shown.sentences[0]
    assert values["tournament/verdict/clause"] + "." == recorded.sentences[0]
    second = values.get("tournament/verdict/runner_up", recorded.sentences[1])
    assert second == recorded.sentences[1]
    assert values["tournament/summary/designs"] == "5"
    assert values["tournament/summary/violations"] == "2"
    texts = "".join((ROOT / "paper" / name).read_text() for name in ("main.tex", "appendix.tex"))
    cited = re.findall(r"\\result\{(tournament/[^}]*)\}", texts)
    assert len(cited) > 10
    # Those of single processes and designs are of the paper's plan.
    shared = [at for at in cited if at.split("/")[1] in ("headline", "recommended", "summary", "verdict")]
    assert len(shared) > 8
    assert {*shared} <= values.keys()
    assert all(number.value not in ("", "nan") and number.source.quantity for number in shown.numbers)


def test_what_breaks_the_recommended_design_is_said_of_the_other_processes(setting: Setting) -> None:
    recorded = recording.read_record(setting.plan, setting.panel)
    rows = recorded.rows.assign(coverage=0.9, coverage_mc=0.01)
    rows.loc[rows["process"] == TRENDS, "coverage"] = 0.85  # below 0.9 by more than 0.02 + 2 x 0.01
    rows.loc[rows["process"] == "hidden treatment of 40%", "coverage"] = 0.87
    said = broken_by(recorded._replace(rows=rows), 0.9, setting.plan.calibrated_processes())
    label = recorded.recommendation.design or recorded.recommendation.nearest
    assert said == (
        f"Under 1 of the 2 other processes the intervals of {label} cover in less than 88% of panels by more than two "
        f"Monte-Carlo errors; they cover least with {TRENDS} (85%)."
    )
    rows.loc[rows["process"] == TRENDS, "coverage"] = 0.865
    said = broken_by(recorded._replace(rows=rows), 0.9, setting.plan.calibrated_processes())
    assert said.startswith(
        f"Under none of the 2 other processes the intervals of {label} cover in less than 88%"
    )
    assert said.endswith(f"they cover least with {TRENDS} (86%).")


def test_a_tournament_without_violations_has_its_other_tables(setting: Setting, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, TABLE[TABLE.index("[tournament.violations]") :])
    recorded = recording.read_record(setting.plan, setting.panel)
    rows = recorded.rows[recorded.rows["process"].isin(plan.calibrated_processes())]
    asked = recording.specification(plan, setting.panel)
    recorded = recorded._replace(specification=asked, rows=rows)
    for name, content in recording.files(recorded, tmp_path / "tournament.csv").items():
        (tmp_path / name).write_bytes(content)
    shown = exhibited(Setting(plan, setting.panel, {}))
    assert "tournament-violations" not in [table.name for table in shown.tables]
    assert "No process is simulated in which an assumption fails." in shown.sentences


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("trends = 0.5", "trend = 0.5", 'there is no dial "trend". Did you mean "trends"?'),
        ("trends = 0.5", "trends = 50.0", "dial trends is 50"),
        ("[0.0, 0.2]", "[0.1, 0.2]", "tournament.effects must have 0 and tournament.effect"),
        ("effect = 0.2", "effect = 0.3", "tournament.effects must have 0 and tournament.effect"),
        ("repetitions = 6", "repetitions = 0", "repetitions is 0; it must be a whole number, 1 or more"),
        ("sim1/count/proportional", "sim2", 'there is no question "sim2"'),
        ('label = "Imputation"', 'label = "TWFE"', "would have the same address"),
        ("adopters' own trends", "no effect", "tournament.violations has the title of an effect"),
        ('name = "dml_panel"', 'name = "dml_panels"', "dml_panels"),
    ],
)
def test_a_tournament_that_cannot_be_held_is_refused_in_one_line(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    with pytest.raises(QuestionError, match=re.escape(message)) as refused:
        running.load(plan_of(tmp_path, old, new))
    assert "\n" not in str(refused.value)


def test_the_exhibit_needs_the_table_of_the_plan(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(PLAN.replace("seed = 3", 'seed = 3\nexhibits = ["tournament"]'))
    with pytest.raises(
        QuestionError, match=re.escape("is made of the table [tournament], which is not there")
    ):
        running.load(read_plan(tmp_path / "study.toml"))


def test_the_paper_simulates_mistakes_in_treatment_at_the_rates_of_its_check() -> None:
    plan = paper_plan()
    stock = pd.read_csv(ROOT / "data/gpu_stock.csv").set_index("event").loc["first_gpu_system"]
    dials = plan.processes().values()
    hidden = {each["hidden"] for each in dials if "hidden" in each}
    assert hidden == {float(stock["above_without"]), float(stock["some_without"])}
    (unfounded,) = [each["unfounded"] for each in dials if "unfounded" in each]
    assert stock["some_with"] == 1
    assert unfounded == pytest.approx(1 - stock["some_with_low"], abs=0.005)


def test_the_record_of_the_paper_is_of_its_plan() -> None:
    plan = paper_plan()
    if not Path(plan.tournament.record).is_file():
        pytest.skip("the record is not written yet")
    recorded = recording.read_record(plan, paper_panel())
    said = json.loads(recording.beside(Path(plan.tournament.record)).read_text())
    assert said["sentences"] == [*recorded.sentences]
