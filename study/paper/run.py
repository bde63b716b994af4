"""Run a plan: every estimate and exhibit in parallel with progress, then all files of the paper at once."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache as remembered
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, Unpack

from study.core import DataError, Progress, WorkerError, checksum, each_kept, settings
from study.core import cache as disk
from study.designs import answer_key
from study.estimates import Effect, Power, PreTest
from study.inference import Randomization
from study.panel import FlowStep, Panel, Question, load_panel, panel_state, shipped
from study.paper import PanelEntry, Result, Results, answer, find_exhibit, numbers, record
from study.paper.exhibits.exhibit import Drawn, Exhibit, Exhibited, Setting, Source, Traced
from study.paper.page import exhibits_list, page, provenance_of
from study.paper.plan import Event, Plan, Row, Task, words_of
from study.paper.tournament import kept
from study.report import DOCUMENTS, Block, Line, Number, Table

# What is kept on disk, and the types that may be in it.
ANSWER = (Result, Task, Event, Row, Question, Effect, Power, PreTest, Randomization, FlowStep)
EXHIBITED = (Exhibited, Table, Block, Line, Number, Drawn, Traced, Source)

# A number in a Markdown text with the comment that cites it, and the list of exhibits that a text may have.
IN_MARKDOWN = re.compile(
    numbers.CITED[".md"] + r"(?:below )?[-\N{MINUS SIGN}]?\d+(?:,\d{3})*(?:\.\d+)?(?!\w)"
)
LIST = re.compile(r"(<!-- exhibits -->\n).*?(<!-- /exhibits -->)", re.DOTALL)


def load(plan: Plan) -> Panel:
    """Load a plan's panel and refuse, before any work, what cannot be asked of it."""
    for name in plan.exhibits:
        find_exhibit(name, plan.source)
    panel = _read(plan.panel)
    plan.check(panel)
    return panel


def other_panels(entries: Mapping[str, str | PanelEntry]) -> dict[str, Panel]:
    """Load the placebo panels or the other venues of a plan, by label."""
    return {label: _read(entry) for label, entry in entries.items()}


def changed(plan: Plan, sources: Iterable[Source]) -> list[str]:
    """Return the names of the plan's own files of panels that are no longer what numbers were made from."""
    further = [entry.panel for entry in plan.further if entry.panel is not None]
    entries = [plan.panel, *plan.placebos.values(), *plan.venues.values(), *further]
    panels = [_read(entry) for entry in entries if not isinstance(entry, str)]
    made = {(source.data, source.checksum) for source in sources}
    stale = made - {(panel.name, panel.checksum) for panel in panels}
    return sorted({panel.name for panel in panels} & {name for name, _ in stale})


def _read(entry: str | PanelEntry) -> Panel:
    if isinstance(entry, str):
        return load_panel(entry)
    arguments: dict[str, Any] = {**entry}
    try:
        return Panel.from_long(arguments.pop("file"), **arguments)
    except DataError as error:  # what it says of arguments is of the plan's keys, not of a command's options
        message = re.sub(r"\b(unit|time)=\.", r"\1 in the plan's table of the panel.", str(error))
        raise DataError(re.sub(r'\b(\w+)=(?=["\d-])', r"\1 = ", message)) from None


class How(TypedDict, total=False):
    """How steps are made.

    Attributes
    ----------
    jobs : int
        Processes; the results do not depend on it. All cores by default.
    progress : callable, optional
        Called with the words of each finished step.
    cache : Path, optional
        Folder in which answers are kept as they are found, and looked up first.
    """

    jobs: int
    progress: Progress | None
    cache: Path | None


def run(plan: Plan, panel: Panel, **how: Unpack[How]) -> Results:
    """Answer every task of a plan.

    Parameters
    ----------
    plan : Plan
    panel : Panel
    **how
        As :class:`How` has it.

    Returns
    -------
    dict
        Results by event label, scale, outcome and row label, in the order of the tables.
    """
    tasks, state = list(plan.tasks()), panel_state(panel)
    # The longest tasks first, so that no process waits for one at the end.
    steps = {
        task.key: Step(
            f"{task.row.label}: {task.outcome}, {task.scale}, {task.event.name}",
            partial(answer, task),
            (task, state),
        )
        for task in sorted(tasks, key=lambda task: (not task.row.design.draws, -task.permutations))
    }
    results = _run_steps(steps, panel, ANSWER, how)
    return {task.key: results[task.key] for task in tasks}


def exhibit(plan: Plan, panel: Panel, results: Results, **how: Unpack[How]) -> Paper:
    """Make every exhibit of a plan from its answers.

    Parameters
    ----------
    plan : Plan
    panel : Panel
    results : dict
        As :func:`run` returns them.
    **how
        As :class:`How` has it.

    Returns
    -------
    Paper
        Its exhibits are in the plan's order.
    """
    further = {entry.label: entry.panel for entry in plan.further if entry.panel is not None}
    others = map(other_panels, (plan.placebos, plan.venues, further))
    setting = Setting(plan, panel, results, *others)
    states = [panel_state(each) for each in setting.panels]
    depends_on = plan, plan.hidden_shares(setting.event), kept(plan), states, _shipped_data()
    steps = {
        name: Step(
            f"Exhibit: {name.replace('_', ' ')}",
            partial(_exhibited, find_exhibit(name).make, _shipped_data()),
            (name, *depends_on),
        )
        for name in plan.exhibits[::-1]  # diagnostics, which take longest, stand last
    }
    exhibits = _run_steps(steps, setting, EXHIBITED, how)
    return Paper(setting, {name: exhibits[name] for name in plan.exhibits})


class Step(NamedTuple):
    """What is made in one go: its words for progress, the function that makes it, and all that it depends on.

    The function takes what all steps are made from.
    """

    words: str
    make: Callable[[Any], Any]
    depends_on: tuple[object, ...]


def _run_steps(
    steps: Mapping[Any, Step], source: Any, kinds: Sequence[type[Any]], how: How
) -> dict[Any, Any]:
    """Make from a source what is not kept on disk, and keep it; show the words of each step as it is done."""
    jobs, progress, cache = how.get("jobs", -1), how.get("progress"), how.get("cache")
    answers: dict[Any, Any] = {}
    keys: dict[Any, str | None] = {}
    fits = None
    if cache is not None:
        fits = (cache / disk.FITS).absolute()
        disk.prepare(cache)
        disk.prepare(fits)
        keys = {at: answer_key(*step.depends_on) for at, step in steps.items()}
    tasks = {at: step.make for at, step in steps.items()}
    with warnings.catch_warnings():
        # joblib starts a process anew when it has grown: nothing that a reader of the paper could act on.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
        for at, output in each_kept(partial(_run_step, source, fits), tasks, keys, cache, kinds, jobs):
            answers[at] = output
            if progress is not None:
                progress(steps[at].words)
    return answers


def _run_step(source: Any, fits: Path | None, make: Callable[[Any], Any]) -> Any:
    with settings(cache=disk.if_here(fits)):  # what learners found serves other outcomes and scales
        return make(source)


def _exhibited(make: Callable[[Setting], Exhibited], data: str, setting: Setting) -> Exhibited:
    """Make an exhibit, on a machine that has the same shipped data as the one that asks."""
    if _shipped_data() != data:
        raise WorkerError(
            "run: a worker has other shipped data than the process that asks; install the same there."
        )
    return make(setting)


@remembered
def _shipped_data() -> str:
    """Return the checksum of all data that ship, some of which exhibits read besides the plan's panels."""
    return checksum(shipped("data"))


def cited(plan: Plan, folder: Path) -> dict[str, str]:
    """Return the addresses that the plan's texts cite, each with the place that does so first."""
    return numbers.cited_in(texts_of(plan, folder))


def texts_of(plan: Plan, folder: Path) -> list[Path]:
    """Return the plan's texts, or where it names none ``main.tex`` and ``appendix.tex``, as far as they are there."""
    named = [folder / text for text in plan.texts]
    return named or [path for name in DOCUMENTS if (path := folder / f"{name}.tex").is_file()]


class Paper(NamedTuple):
    """A plan with its answers and the exhibits that are made of them.

    Attributes
    ----------
    setting : Setting
    exhibited : dict of str to Exhibited
        By the exhibit's name.
    """

    setting: Setting
    exhibited: dict[str, Exhibited]

    def files(self, folder: Path) -> dict[str, bytes]:
        """Return every file that is generated, by its path below ``paper/``; the plan's texts are in a folder."""
        written = {"estimates.csv": record.csv_file(record.record(self.setting.results))}
        written |= self.exhibit_files
        traced = self.cited_numbers(folder).values()
        written["numbers.tex"] = numbers.numbers_file(traced)
        written[numbers.FILE] = numbers.sources_file(traced)
        return written

    @property
    def exhibit_files(self) -> dict[str, bytes]:
        """The tables and figures of the exhibits, by path below ``paper/``."""
        written: dict[str, bytes] = {}
        for shown in self.exhibited.values():
            for table in shown.tables:
                texts = {"tex": table.latex(), "html": table.html(), "md": table.markdown()}
                written |= {f"tables/{table.name}.{kind}": text.encode() for kind, text in texts.items()}
            for figure in shown.figures:
                kinds = {"pdf": figure.pdf, "png": figure.png}
                written |= {f"figures/{figure.name}.{kind}": content for kind, content in kinds.items()}
        return written

    def texts(self, folder: Path) -> dict[Path, bytes]:
        """Return the plan's Markdown texts by path, with the numbers that they cite and their list of exhibits."""
        traced = self.cited_numbers(folder)
        listed = exhibits_list(self.every_exhibit, self.latex(folder))

        def cite(match: re.Match[str]) -> str:
            return f"<!--{match[1]}-->{traced[match[1]].value}" if match[1] in traced else match[0]

        texts = {path: path.read_text(encoding="utf-8") for path in texts_of(self.setting.plan, folder)}
        cited = {path: IN_MARKDOWN.sub(cite, text) for path, text in texts.items() if path.suffix == ".md"}
        return {
            path: LIST.sub(lambda match: match[1] + listed + match[2], text).encode()
            for path, text in cited.items()
        }

    @property
    def every_exhibit(self) -> list[tuple[Exhibit, Exhibited]]:
        """Every exhibit with what it gives."""
        return [(find_exhibit(name), each) for name, each in self.exhibited.items()]

    def latex(self, folder: Path) -> str:
        """Return the plan's texts in LaTeX, one after another."""
        texts = (text for text in texts_of(self.setting.plan, folder) if text.suffix == ".tex")
        return "\n".join(text.read_text(encoding="utf-8") for text in texts)

    def cited_numbers(self, folder: Path) -> dict[str, Traced]:
        """Return the numbers that the plan's texts cite, by address."""
        places = cited(self.setting.plan, folder)
        return numbers.select(self.every_number(places), places)

    def every_number(self, addresses: Collection[str] | None = None) -> Iterator[Traced]:
        """Yield the numbers that a text can cite: of the plan's answers those at some addresses, of exhibits all."""
        yield from numbers.answer_numbers(self.setting, addresses)
        for shown in self.exhibited.values():
            yield from shown.numbers

    def unresolved(self, folder: Path) -> list[str]:
        """Say which results the texts in a folder cite that there are not."""
        places = cited(self.setting.plan, folder)
        if places.keys() <= {traced.address for traced in self.every_number(places)}:
            return []
        return numbers.missing(places, [traced.address for traced in self.every_number()])

    def page(self, text: str, folder: Path) -> bytes:
        """Return the report page, with the plan's text as its file in a folder has it and the exhibits' numbers."""
        plan = self.setting.plan
        provenance = provenance_of(plan, text, self.setting.panels)
        return page(self.every_exhibit, provenance, self.latex(folder), words_of(plan, self.setting.panel))
