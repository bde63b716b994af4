"""The numbers that texts cite by address, ``\\result{...}``: their values, where each is from, who cites them."""

from __future__ import annotations

import math
import re
import shlex
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from study.core import DataError, QuestionError, grouped, unknown
from study.estimates import POWER, SIZE, Effect
from study.paper import RUN, Result, Setting, Source, Task, Traced, address, addressed, estimate_command
from study.paper.record import csv_file, read_texts
from study.report import Column, effect_values, escape, render

FILE = "numbers.csv"
NEAREST = 3
COLUMNS = ["address", "value", *(field.name for field in fields(Source))]
WRAP = textwrap.TextWrapper(100, "  ", "    ", break_long_words=False, break_on_hyphens=False)
# How a text cites a result: in LaTeX by a command, in Markdown by a comment before the number.
CITED = {".tex": r"\\result\{([^{}]+)\}", ".md": r"<!--([\w./-]+)-->"}
# What the parts of a source are called, in the order in which they are shown.
LABELS = {"quantity": "What it is", "exhibit": "Made by the exhibit"}
LABELS |= {
    name: name.capitalize()
    for name in ("question", "design", "options", "data", "checksum", "seed", "command")
}
# What `study estimate` prints of an answer, by column.
ESTIMATED = (
    "estimate", "std_error", "conf_low", "conf_high", "p_value", "n_units", "n_treated", "n_cohorts", "n_clusters",
    "already_treated",
)  # fmt: skip
OF_ANSWERS = {
    "smallest": Column("smallest estimate of all designs", "effect"),
    "largest": Column("largest estimate of all designs", "effect"),
    **{
        f"{how}_covariates_{end}": Column(
            f"{end} average over event times of designs {how} covariates", "effect"
        )
        for how in ("with", "without")
        for end in ("smallest", "largest")
    },
    "excluding_zero": Column("designs whose interval excludes zero", "count"),
    "answered": Column("designs that answer", "count"),
    "never_treated": Column("units never treated", "count"),
    "already_treated": Column("units already treated at the window's start, dropped", "count"),
    "smallest_cohort": Column("units in the smallest cohort", "count"),
    "largest_cohort": Column("units in the largest cohort", "count"),
}
# The values of one row of the answers by column: its address, them, what the row is about, the task it answers.
Values = tuple[str, Mapping[str, Any], str, Task]
RESULT = re.compile(CITED[".tex"])
_ARGUMENT = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
# What stands by itself: a caption, a heading; and what parts passages: an empty line, an item, a row of a table.
_ALONE = (
    rf"\\exhibit\{{[^}}]*\}}\{{[^}}]*\}}{_ARGUMENT}|\\(?:caption|(?:sub)*section\*?|paragraph){_ARGUMENT}"
)
_BETWEEN = r"\n[ \t]*\n|\\item\b|\\\\|\\(?:begin|end|input|bibliography\w*)\{[^}]*\}|\\(?:top|mid|bottom)rule"
_CUT = re.compile(rf"({_ALONE})|{_BETWEEN}")
# Ends of sentences: not after an abbreviation or an initial, and after a value that is a sentence, which has the mark.
_MARK = "\0"
_END = re.compile(rf"(?<=[.?!{_MARK}])(?<!\bal\.)(?<!\b[a-zA-Z]\.)(?<!vs\.)(?<!cf\.)[)}}']*\s+(?=[^a-z\s])")


def cited_in(texts: Iterable[Path]) -> dict[str, str]:
    """Return the addresses that texts cite, each with the file and line that do so first.

    Raises
    ------
    DataError
        If a text is missing, or is neither LaTeX nor Markdown.
    """
    places: dict[str, str] = {}
    for path in texts:
        if path.suffix not in CITED:
            raise DataError(
                f"{path}: results are cited in {' and '.join(CITED)} files; leave it out of texts."
            )
        if not path.is_file():
            raise DataError(f"{path}: there is no such text; take it out of texts in study.toml.")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for at in re.findall(CITED[path.suffix], line):
                places.setdefault(at, f"{path.name}, line {number}")
    return places


def select(numbers: Iterable[Traced], cited: Collection[str]) -> dict[str, Traced]:
    """Return the numbers that are cited, by address.

    Raises
    ------
    ValueError
        If two numbers have one address, or one has an address that is none.
    """
    seen: set[str] = set()
    chosen: dict[str, Traced] = {}
    for traced in numbers:
        if traced.address in seen or not re.fullmatch(r"[a-z0-9_.-]+(/[a-z0-9_.-]+)+", traced.address):
            raise ValueError(f"The number {traced.address} is made twice, or its address is none.")
        seen.add(traced.address)
        if traced.address in cited:
            value = re.sub(r"^-(?=\d)", "\N{MINUS SIGN}", traced.value)
            chosen[traced.address] = traced._replace(value=value)
    return {at: chosen[at] for at in sorted(chosen)}


def missing(cited: Mapping[str, str], known: Sequence[str]) -> list[str]:
    """Say which cited addresses no result has, where they are cited, and which ones are near."""
    return [
        f"{place}: there is no result {at}; near are {', '.join(_nearest(at, known, NEAREST)) or 'none'}."
        for at, place in cited.items()
        if at not in known
    ]


def _nearest(at: str, known: Collection[str], most: int) -> list[str]:
    from rapidfuzz import process

    return [match for match, *_ in process.extract(at, known, limit=most)]


def numbers_file(numbers: Iterable[Traced]) -> bytes:
    """Return the numbers as LaTeX, for the command that cites them."""
    return render("numbers.tex", values={traced.address: escape(traced.value) for traced in numbers})


def sources_file(numbers: Iterable[Traced]) -> bytes:
    """Return a CSV file of numbers with their sources."""
    rows = [[traced.address, traced.value, *asdict(traced.source).values()] for traced in numbers]
    return csv_file(pd.DataFrame(rows, columns=COLUMNS))


def read_sources(folder: Path) -> dict[str, Traced]:
    """Return the numbers of a paper by address.

    Raises
    ------
    DataError
        If the file is missing, cannot be read or lacks a column.
    """
    table = read_texts(folder / FILE, COLUMNS, "there are no numbers to trace; write them", "numbers")
    return {at: Traced(at, value, Source(*source)) for at, value, *source in table.itertuples(index=False)}


def find(numbers: Mapping[str, Traced], at: str) -> Traced:
    r"""Return a number by its address, bare or as a text cites it, ``\result{...}``.

    Raises
    ------
    QuestionError
        If no text cites it; the error names the nearest ones that are cited.
    """
    bare = re.sub(r"^\\result\{(.*)\}$", r"\1", at)
    if not numbers:
        raise QuestionError(
            "study trace: there is no result to trace, since no text beside the plan cites one; cite it in main.tex, "
            r"as \result{address}, and run the plan again."
        )
    if bare not in numbers:
        raise unknown("cited result", at, _nearest(bare, list(numbers), 5), "study trace")
    return numbers[bare]


def traced_text(traced: Traced) -> str:
    """Return a number and its source as text for a terminal, a line for each part of it."""
    parts = {label: getattr(traced.source, name) for name, label in LABELS.items()}
    lines = [WRAP.fill(f"{label}: {text}") for label, text in parts.items() if text]
    return "\n".join([f"{traced.address} is printed as {traced.value}", *lines])


def answer_numbers(setting: Setting, cited: Collection[str] | None = None) -> Iterator[Traced]:
    """Yield the numbers that a plan and its answers give, those that a text cites or all.

    Parameters
    ----------
    setting : Setting
    cited : collection of str, optional
        Addresses. An answer's is ``EVENT/OUTCOME/SCALE/ROW`` and the column, where the row is the design's label or
        ``headline``; an effect of its path is at ``event_time/-3``, ``window_first`` or ``window_last`` below it;
        ``EVENT/OUTCOME/SCALE/designs`` has the spread over designs, ``EVENT/sample`` the sample, ``plan`` the plan.

    Yields
    ------
    Traced
        Proportional effects are in percent with one decimal, others have three decimals.
    """
    yield from (number for number in _of_plan(setting) if cited is None or number.address in cited)
    for at, values, quantity, task in _rows(setting):
        for column, value in values.items():
            if cited is None or f"{at}/{column}" in cited:
                how = {"quantity": quantity, "command": _command(setting, at, column, task)}
                how["exhibit"] = "designs" if task.event in setting.plan.events else "families"
                yield from addressed(at, {column: value}, setting.source(task, **how), task.scale, OF_ANSWERS)


def _of_plan(setting: Setting) -> Iterator[Traced]:
    plan, panel = setting.plan, setting.panel
    values: dict[str, tuple[str, Any]] = {
        "headline": ("the headline design", plan.headline.label),
        "figure_row": ("the design of the event-study figures", plan.figure_row.label),
        "window_first": (f"{panel.period_unit}s before the event that figures show", abs(plan.window[0])),
        "window_last": (f"{panel.period_unit}s after the event that figures show", plan.window[1]),
        "n_units": (f"{plan.text.units} in the panel", panel.n_units),
        "first_period": ("first period of the panel", panel.periods[0]),
        "last_period": ("last period of the panel", panel.periods[-1]),
        "permutations": ("permutations of the randomization test", plan.permutations),
        "power": ("power at which minimum detectable effects are given, percent", f"{100 * POWER:g}"),
        "size": ("size of tests, percent", f"{100 * SIZE:g}"),
        "band_draws": ("draws of bands and tests", plan.band_draws),
        "level": ("level of intervals, percent", f"{100 * plan.level:g}"),
        "horizon": ("last event time in the average", plan.question.get("horizon", "")),
        "designs": ("designs in the main tables", len(plan.rows)),
        "families": ("families of events beside the main ones", len(plan.families)),
        "seed": ("seed", plan.seed),
        "checksum": ("checksum of the panel", panel.checksum),
    }
    for name, (words, value) in values.items():
        columns = {name: Column(words, "text")}
        yield from setting.numbers("plan", {name: value}, columns, exhibit="plan", seed=str(plan.seed))


def _rows(setting: Setting) -> Iterator[Values]:
    plan, results = setting.plan, setting.results
    for event in plan.every_event:
        labels = [row.label for row in (plan.rows if event in plan.events else (plan.headline,))]
        yield _sample(setting.answers(event, setting.scale)[0])
        for scale in plan.scales:
            for outcome in plan.outcomes:
                at = address(event.label, outcome, scale)
                answers = {label: results[event.label, scale, outcome, label] for label in labels}
                headline = answers[plan.headline.label]
                yield from _answer(f"{at}/headline", headline, plan.window)
                for label, result in answers.items():
                    yield from _answer(f"{at}/{address(label)}", result, plan.window)
                yield f"{at}/designs", _spread(answers.values()), "", headline.task


def _spread(answers: Iterable[Result]) -> dict[str, float]:
    """Return how many designs answer, and the ends of all estimates, and of averages with covariates and without."""
    answered = [(result.headline, result.task) for result in answers if result.headline]
    averages = [(effect, task.question) for effect, task in answered if task.row.design.estimand.has_path]
    estimates = {"": [effect.estimate for effect, _ in answered]} | grouped(
        ("with_covariates_" if question.covariates else "without_covariates_", effect.estimate)
        for effect, question in averages
    )
    excluding = sum(effect.excludes_zero for effect, _ in answered)
    return {"answered": len(answered), "excluding_zero": excluding} | {
        f"{how}{name}": end(own, default=math.nan)
        for how, own in estimates.items()
        for name, end in (("smallest", min), ("largest", max))
    }


def _sample(result: Result) -> Values:
    flow = result.flow
    cohorts = [step.units for step in flow if step.kept and step.reason.startswith("first treated in ")]
    values = _counts(result) | {
        "never_treated": sum(step.units for step in flow if step.reason == "never treated"),
        "already_treated": sum(step.units for step in flow if step.reason.startswith("already treated")),
        "smallest_cohort": min(cohorts, default=0),
        "largest_cohort": max(cohorts, default=0),
    }
    return address(result.task.event.label, "sample"), values, "", result.task


def _answer(at: str, result: Result, window: tuple[int, int]) -> Iterator[Values]:
    """Yield the values of an answer: its headline, and its effects by event time; NaN where the design gives none."""
    test = result.randomization
    values = effect_values(result.headline or Effect("")) | {"mde": result.power.effect} | _counts(result)
    values |= {
        "n_obs": result.n_obs,
        "randomization_p": math.nan if test is None else test.p_value,
        "leads_p_wald": result.pre_test.p_value,
        "leads_rank": result.pre_test.rank,
        "leads_p_largest": result.pre_test.p_largest,
    }
    yield at, values, "", result.task
    by_time = {effect.event_time: effect for effect in result.path}
    times = {address("event_time", f"{time:g}"): time for time in by_time}
    for name, time in (times | dict(zip(("window_first", "window_last"), window, strict=True))).items():
        effect = by_time.get(time, Effect(""))
        values = effect_values(effect) | {"band_low": effect.band_low, "band_high": effect.band_high}
        # That of the sample: who is in an effect by event time is counted by the exhibit "composition".
        del values["n_treated"]
        yield f"{at}/{name}", values, f"at event time {time:g}", result.task


def _counts(result: Result) -> dict[str, float]:
    return {name: getattr(result, name) for name in ("n_units", "n_treated", "n_cohorts", "n_clusters")}


def _command(setting: Setting, at: str, column: str, task: Task) -> str:
    """Return the command that prints a number of an answer."""
    if any(part in at.split("/") for part in ("event_time", "window_first", "window_last")):
        return RUN if column.startswith("band") else estimate_command(task, setting.panel, path=True)
    if column in ESTIMATED:
        return estimate_command(task, setting.panel)
    if column == "mde":
        return shlex.join(["study", "table", task.address, "--designs", task.row.name, "--mde"])
    return RUN


class Sentence(NamedTuple):
    """A sentence of a text in LaTeX: the line that it begins on, and what is written."""

    line: int
    text: str

    @property
    def cited(self) -> list[str]:
        """The addresses that it cites."""
        return RESULT.findall(self.text)


def passages(text: str) -> Iterator[Sentence]:
    """Yield the paragraphs, items, captions, headings and rows of a text in LaTeX, each with its first line."""
    text = re.sub(r"(?<!\\)%.*", "", text)
    at = max(text.find(r"\begin{document}"), 0)
    for cut in [*_CUT.finditer(text, at), None]:
        for start, end in ((at, cut.start() if cut else len(text)), cut.span(1) if cut else (0, 0)):
            written = text[start:end]
            if written.strip():
                begin = start + len(written) - len(written.lstrip())
                yield Sentence(text.count("\n", 0, begin) + 1, written.strip())
        at = cut.end() if cut else at


def sentences(text: str, numbers: Mapping[str, Traced]) -> Iterator[Sentence]:
    """Yield the sentences of a text in LaTeX; a number whose value is a sentence is one by itself."""
    whole = {at for at, traced in numbers.items() if traced.value.endswith((".", "?"))}
    for line, passage in passages(text):
        at = 0
        marked = RESULT.sub(lambda cited: cited[0] + _MARK * (cited[1] in whole), passage)
        for end in [*(match.end() for match in _END.finditer(marked)), len(marked)]:
            yield Sentence(line + marked.count("\n", 0, at), marked[at:end].replace(_MARK, "").strip())
            at = end


def filled(sentence: Sentence, numbers: Mapping[str, Traced]) -> str:
    """Return a sentence as it is read, with the values that it cites and the names of what it refers to.

    On lines below it is each value with its address and the exhibit that makes it.
    """
    from pylatexenc.latex2text import LatexNodes2Text

    values = {at: numbers[at].value if at in numbers else f"[no result {at}]" for at in sentence.cited}
    bare = re.sub(r"\\label\{[^}]*\}|\\exhibit\{[^}]*\}\{[^}]*\}", "", sentence.text)
    named = re.sub(r"\\(?:ref|cite\w*|texttt)\{([^}]*)\}", r"\1", bare)
    typed = RESULT.sub(lambda cited: values[cited[1]].replace("%", r"\%"), named)
    read = " ".join(LatexNodes2Text().latex_to_text(typed).split())
    sources = [f"    {values[at]}  {at}  ({numbers[at].source.exhibit})" for at in values if at in numbers]
    return "\n".join([read, *sources])
