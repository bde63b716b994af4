"""Run a plan: every estimate in parallel with progress, then all files of the paper at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from study.cache import answer_and_store, place, stored
from study.panel import Panel, load_panel
from study.plan import Plan, Task
from study.report import canvas, figures, numbers, record, tables
from study.report.tables import Results

Step = Callable[[str], None]


def load(plan: Plan) -> Panel:
    """Load a plan's panel and refuse, before any work, what cannot be asked of it."""
    panel = _read(plan.panel)
    plan.check(panel)
    return panel


def placebo_panels(plan: Plan) -> dict[str, Panel]:
    """Load the panels on whose outcomes a plan's events should have no effect, by label."""
    return {label: _read(entry) for label, entry in plan.placebos.items()}


def _read(entry: str | dict[str, Any]) -> Panel:
    if isinstance(entry, str):
        return load_panel(entry)
    arguments = dict(entry)
    return Panel.from_long(arguments.pop("file"), **arguments)


def run(
    plan: Plan, panel: Panel, *, jobs: int = -1, progress: Step | None = None, cache: Path | None = None
) -> Results:
    """Answer every task of a plan.

    Parameters
    ----------
    plan : Plan
    panel : Panel
    jobs : int
        Processes; the results do not depend on it. All cores by default.
    progress : callable, optional
        Called with each finished task's description.
    cache : Path, optional
        Folder in which answers are kept as they are found, and looked up first.

    Returns
    -------
    dict
        Results by event label, scale, outcome and row label, in the order of the tables.
    """
    from joblib import Parallel, delayed

    tasks = list(plan.tasks())
    paths = {task.key: None if cache is None else place(cache, task, panel) for task in tasks}
    found = {key: stored(path) for key, path in paths.items() if path is not None}
    results = {key: result for key, result in found.items() if result is not None}
    if progress is not None:
        for result in results.values():
            progress(describe(result.task))
    # The longest tasks first, so that no process waits for one at the end.
    left = sorted((t for t in tasks if t.key not in results), key=lambda task: -task.permutations)
    workers = Parallel(n_jobs=jobs, return_as="generator_unordered")
    for result in workers(delayed(answer_and_store)(task, panel, paths[task.key]) for task in left):
        results[result.task.key] = result
        if progress is not None:
            progress(describe(result.task))
    return {task.key: results[task.key] for task in tasks}


def describe(task: Task) -> str:
    """Say what a task is, for the progress display."""
    return f"{task.row.label}: {task.outcome}, {task.scale}, {task.event.name}"


def files(plan: Plan, panel: Panel, results: Results) -> dict[str, bytes]:
    """Return every file of the paper that is generated, by its path below ``paper/``."""
    written = {"estimates.csv": record.record_file(record.record(results))}
    for event in plan.events:
        written[f"tables/{event.label}.tex"] = tables.main_table(plan, event, results)
    written["tables/sample.tex"] = tables.sample_table(plan, panel, results)
    for event in plan.events:
        for scale in plan.scales:
            figure = figures.of_results(plan, event, scale, results)
            for kind in ("pdf", "png"):
                written[f"figures/{event.label}_{scale}.{kind}"] = canvas.drawn(figure, kind)
    written["numbers.tex"] = numbers.numbers_file(numbers.numbers(plan, panel, results))
    return written


def paper_folder(plan_path: Path) -> Path:
    """Return the folder into which a plan's files go: the one the plan is in."""
    return plan_path.resolve().parent
