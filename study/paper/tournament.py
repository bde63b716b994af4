"""The record of the plan's design tournament: a thousand replications take minutes, so that `study run` reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.core import DataError, QuestionError, settle, significant
from study.panel import Panel, Question
from study.paper.plan import Plan, Row, Task, Tournament
from study.simulate.calibrate import calibrate
from study.simulate.performance import Recommendation, findings_of, performance, standing
from study.simulate.process import Process
from study.simulate.replications import Entrant, Replications, is_slow, replicate

KEY = ["process", "design"]
# Of the first replication, which is repeated whenever the record is read.
FIRST = ["first_estimate", "first_std_error"]
# Between that and its repetition, in units of the larger of the value and one.
APART = 1e-9
# What a calibration finds, which the record has, and by which share one that is made anew may differ: where searches
# end depends on the processor, and a count that is drawn from another mean can be another one.
CALIBRATED = ("size", "growth", "mean_size", "spread", "hazard")
ALIKE = 1e-3
AGAIN = "run `study simulate --record`"
DIGITS = 7


class Recorded(NamedTuple):
    """A record of the plan's tournament.

    Attributes
    ----------
    specification : dict
        What was simulated, as :func:`specification` returns it.
    rows : DataFrame
        A row a process and design: columns of :func:`study.simulate.performance.performance`, and FIRST.
    recommendation : Recommendation
    sentences : tuple of str
        What was found under the calibrated process, the verdict first.
    calibrated : dict
        The numbers of that process, as :func:`numbers_of` returns them.
    """

    specification: dict[str, Any]
    rows: pd.DataFrame
    recommendation: Recommendation
    sentences: tuple[str, ...]
    calibrated: dict[str, Any]


def contest(plan: Plan, panel: Panel, recorded: Recorded | None = None) -> tuple[Process, dict[str, Process]]:
    """Calibrate the tournament's process to the panel, and turn its dials as the plan says: all processes by title.

    Parameters
    ----------
    plan : Plan
    panel : Panel
    recorded : Recorded, optional
        The process has the numbers of this record, to the last digit.

    Raises
    ------
    DataError
        If the record's numbers are not those that the panel is calibrated to now.
    """
    question = base_question(plan)
    calibrated = calibrate(panel, question, neighbours=plan.neighbours or None, seed=plan.seed)
    if recorded is not None:
        calibrated = _as_recorded(plan, calibrated, recorded)
    processes = {title: calibrated.turned(**dials) for title, dials in plan.processes().items()}
    return calibrated, processes


def numbers_of(calibrated: Process) -> dict[str, Any]:
    """Return what a calibration found, as JSON has it."""
    numbers = {name: np.asarray(getattr(calibrated, name)).tolist() for name in CALIBRATED}
    return {"family": calibrated.family, **numbers, "dials": dict(calibrated.dials)}


def _as_recorded(plan: Plan, calibrated: Process, recorded: Recorded) -> Process:
    """Return a process with the numbers of a record, which must be its own but for the last digits."""
    own = numbers_of(calibrated)
    for name, now in own.items():
        was = recorded.calibrated[name]
        is_number = name in CALIBRATED and np.shape(was) == np.shape(now)
        if was != now and not (is_number and np.allclose(was, now, rtol=ALIKE, atol=ALIKE**2)):
            raise DataError(
                f"{beside(Path(tournament_of(plan).record))}: the panel is calibrated to another {name} now; {AGAIN}."
            )
    numbers: dict[str, Any] = {name: np.array(recorded.calibrated[name])[()] for name in CALIBRATED}
    return replace(calibrated, **numbers)


def base_question(plan: Plan) -> Question:
    """Return what is asked of the simulated panels, as the headline of the plan's file asks it."""
    return next(iter(entered(plan).values())).question


def entrants(plan: Plan) -> tuple[Entrant, ...]:
    """Return the designs that enter, the headline of the plan's file first."""
    base = base_question(plan)
    return tuple(entrant_of(task.row, task.question, base) for task in entered(plan).values())


def entrant_of(row: Row, own: Question, base: Question) -> Entrant:
    """Return a row as an entrant, which changes a tournament's question to its own."""
    changes = {name: value for name, value in vars(own).items() if value != getattr(base, name)}
    return Entrant(row.label, row.name, row.options, changes)


def simulated(plan: Plan, panel: Panel) -> Recorded:
    """Run the plan's tournament, with jobs, progress and a folder of finished blocks as in :func:`study.settings`."""
    options, (process, processes) = tournament_of(plan), contest(plan, panel)
    replications = replicate(
        processes,
        entrants(plan),
        repetitions=options.repetitions,
        slow_repetitions=options.slow_repetitions,
        seed=plan.seed,
        level=plan.level,
    )
    # Where assumptions fail no design is expected to cover: what is recommended is so on panels as calibrated.
    calibrated = {title: replications[title] for title in plan.calibrated_processes()}
    finding = findings_of(calibrated, base_question(plan).effect_scale)
    firsts = pd.DataFrame(_firsts(replications), columns=[*KEY, *FIRST])
    rows = performance(replications).merge(firsts, on=KEY)
    numbers = numbers_of(process)
    return Recorded(specification(plan, panel), rows, finding["recommendation"], finding.sentences, numbers)


def specification(plan: Plan, panel: Panel) -> dict[str, Any]:
    """Return all that the plan's tournament depends on besides the code, as JSON has it."""
    options = tournament_of(plan)
    named = {
        "panel": f"{panel.name}, checksum {panel.checksum}",
        "question": vars(base_question(plan)),
        "processes": plan.processes(),
        "designs": {entrant.label: entrant[1:] for entrant in entrants(plan)},
        "repetitions": options.repetitions,
        "slow_repetitions": options.slow_repetitions,
        "seed": plan.seed,
        "level": plan.level,
        "neighbours": plan.neighbours,
    }
    return dict(json.loads(json.dumps(named)))


def files(recorded: Recorded, path: Path) -> dict[str, bytes]:
    """Return the files of a record by their names; of the first replication they have all digits."""
    table = recorded.rows
    numbers = [name for name in table.select_dtypes("float") if name not in FIRST]
    short = {name: [significant(value, DIGITS) for value in table[name]] for name in numbers}
    saved = {
        "asked": recorded.specification,
        "recommendation": recorded.recommendation._asdict(),
        "sentences": recorded.sentences,
        "calibrated": recorded.calibrated,
    }
    return {
        path.name: table.assign(**short).to_csv(index=False, lineterminator="\n").encode(),
        beside(path).name: (json.dumps(saved, indent=1, ensure_ascii=False) + "\n").encode(),
    }


def beside(path: Path) -> Path:
    """Return the file with the specification, and with what needs all replications: what is recommended."""
    return path.with_suffix(".json")


def read_record(plan: Plan, panel: Panel) -> Recorded:
    """Read the record of the plan's tournament.

    Raises
    ------
    DataError
        If there is none, or it is of another panel, question, seed, level, or of other processes, designs or numbers
        of repetitions than the plan's.
    """
    path = Path(tournament_of(plan).record)
    settle(path.parent)
    for file in (path, beside(path)):
        if not file.is_file():
            raise DataError(f"{file}: there is no such record of the tournament; {AGAIN}.")
    try:
        saved = json.loads(beside(path).read_text(encoding="utf-8"))
        recorded = Recorded(
            dict(saved["asked"]),
            pd.read_csv(path, dtype=dict.fromkeys(KEY, str)),
            Recommendation(**saved["recommendation"] | {"trusted": (*saved["recommendation"]["trusted"],)}),
            (*saved["sentences"],),
            {name: saved["calibrated"][name] for name in ("family", *CALIBRATED, "dials")},
        )
        calibrated = recorded.rows[recorded.rows["process"].isin(plan.calibrated_processes())]
        trusted = standing(calibrated, plan.level)["trusted"]
        firsts = recorded.rows.set_index(KEY)[FIRST]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not a readable record ({error}); {AGAIN}.") from error
    expected = specification(plan, panel)
    if different := _difference(recorded.specification, expected):
        raise DataError(f"{beside(path)}: {different}; {AGAIN}.")
    pairs = [*product(expected["processes"], expected["designs"])]
    if [*firsts.index] != pairs or (*trusted.index[trusted],) != recorded.recommendation.trusted:
        raise DataError(f"{path}: its rows are not those of {beside(path).name}; {AGAIN}.")
    return recorded


def _difference(recorded: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Say where a recorded specification first differs from that of the plan."""
    for name in dict.fromkeys((*expected, *recorded)):
        was, now = (each.get(name, "absent") for each in (recorded, expected))
        if isinstance(was, dict) and isinstance(now, dict):
            if inside := _difference(was, now):
                return f"{name}: {inside}"
        elif was != now:
            return f"{name} is recorded as {was!r} and is {now!r} in the plan"
    return ""


def kept(plan: Plan) -> tuple[bytes, ...]:
    """Return the contents of the record's files, of which what is made of it depends."""
    if plan.tournament is None:
        return ()
    path = Path(plan.tournament.record)
    return tuple(file.read_bytes() for file in (path, beside(path)) if file.is_file())


def check_first(plan: Plan, processes: dict[str, Process], rows: pd.DataFrame) -> None:
    """Repeat the first replication of every process by the designs with closed forms, and compare it with the record.

    Raises
    ------
    DataError
        If an estimate or a standard error differs: the code or the processor computes other numbers now.
    """
    again = tuple(entrant for entrant in entrants(plan) if not is_slow(entrant))
    fresh = replicate(processes, again, repetitions=1, slow_repetitions=1, seed=plan.seed, level=plan.level)
    recorded = rows.set_index(KEY)[FIRST]
    for process, label, *values in _firsts(fresh):
        for name, was, now in zip(FIRST, recorded.loc[(process, label)], values, strict=True):
            if not np.isclose(was, now, rtol=0, atol=APART * max(1, abs(now)), equal_nan=True):
                what = f"{tournament_of(plan).record}: {label} under {process}: {name.replace('_', ' ')}"
                raise DataError(f"{what} is recorded as {was:.12g} and is {now:.12g} now; {AGAIN}.")


def tournament_of(plan: Plan) -> Tournament:
    """Return the plan's tournament, or refuse a plan without one."""
    if plan.tournament is None:
        raise QuestionError(f"{plan.source}: there is no table [tournament]; add it, or name a question.")
    return plan.tournament


def entered(plan: Plan) -> dict[str, Task]:
    """Return the tournament's question under each row that enters, by label, the headline of the plan's file first."""
    task = plan.ask(tournament_of(plan).question)
    return {row.label: plan.task(task.event, task.outcome, task.scale, row) for row in plan.entrants}


def _firsts(replications: dict[str, Replications]) -> Iterator[tuple[str, str, float, float]]:
    for process, each in replications.items():
        for label, answers in zip(each.labels, each.answers, strict=True):
            yield process, label, float(answers[0, 0]), float(answers[0, 1])
