"""What `study designs` says of one design, or of those that can answer a question about a panel."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from study.commands.options import OF_FILE, OfColumns, described, flag, in_quotes
from study.core import StudyError, allowed, as_typed, hints_of, section
from study.designs import Design, Supports, all_designs
from study.panel import Panel, Question, Scale, load_panel, panel_entries
from study.paper import ASSUMED, Plan, read_plan, run, tournament
from study.simulate.performance import standing

# What the example adds where a design needs it.
GROUPED = "--panel cs_2007 --group group=learning"
NEEDS = {
    "dml_iv": "--covariate baseline_papers --instrument herd_federal --option model=pliv",
    "iv": "--instrument herd_federal",
    "three_way": GROUPED,
    "triple_difference": GROUPED,
}
# Options of the example where no shipped panel has what a design needs.
LABS = "--panel labs.csv --unit lab --time year --outcome papers"
OF_A_FILE = {
    "dose_response": f"{LABS} --event cluster --dose gpu_hours",
    "heterogeneous_adoption": f"{LABS} --event gpu_hours --levels",
}


class Fitting(NamedTuple):
    """A design and why it cannot answer, if it cannot; where its rows stand in a tournament, by label."""

    design: str
    refusal: str | None
    standing: dict[str, dict[str, Any]]


class DesignsFor(NamedTuple):
    """The designs for a panel.

    Attributes
    ----------
    panel : Panel
    question : Question
        The plan's where the panel is that of a plan, else of its first event and outcome.
    fitting : list of Fitting
        Those that can answer first, and of these as they stand in the tournament.
    verdict : str
        What the recorded tournament recommends, or why there is none and how to run one.
    """

    panel: Panel
    question: Question
    fitting: list[Fitting]
    verdict: str

    def text(self) -> str:
        """Return a page for a terminal."""
        question, why = self.question, dict[str, list[str]]()
        able = [each for each in self.fitting if each.refusal is None]
        # In the order in which they stand; what is in no tournament needs no line of its own.
        sentences = [_sentence(each, question.effect_scale) for each in able if each.standing]
        others = [each.design for each in able if not each.standing]
        if others:
            sentences.append(f"{'Without a recorded tournament: ' if sentences else ''}{', '.join(others)}")
        for each in self.fitting:
            if each.refusal is not None:
                reason = each.refusal.removeprefix(f"{each.design}: ").partition(";")[0].rstrip(".")
                why.setdefault(reason, []).append(each.design)
        parts = [
            f"Panel {self.panel.name}: the effect of {question.event} on {question.outcome} ({question.scale})",
            section("Design tournament", [self.verdict]),
            section("Designs that can answer", sentences or ["none"]),
        ]
        if why:
            refused = [f"{', '.join(names)}: {reason}" for reason, names in why.items()]
            parts.append(section("Designs that cannot", refused))
        return "\n\n".join(parts)

    def record(self) -> dict[str, Any]:
        """Return the same for JSON."""
        return {
            "panel": self.panel.name,
            "question": vars(self.question),
            "designs": [each._asdict() for each in self.fitting],
            "tournament": self.verdict,
        }


def designs_for(named: str, columns: OfColumns, path: Path) -> DesignsFor:
    """Return the designs for a panel.

    Parameters
    ----------
    named : str
        A shipped panel's name, or a file as ``study validate`` reads it.
    columns : OfColumns
        Of a file.
    path : Path
        A plan, whose question and record are shown where it is about this panel.

    Raises
    ------
    DataError, QuestionError
        If the panel or the plan cannot be read.
    """
    given, questions = read_plan(path), dict[str, list[Question]]()
    plan: Plan | None = given
    if not _is_about(given, named):
        ships = named in panel_entries() or not Path(named).suffix
        plan = None if ships else columns.plan(Path(named), path)
    if plan is None:
        panel = load_panel(named)
        question = Question(next(iter(panel.outcomes)), panel.events[0])
    else:
        panel = run.load(plan)
        task = plan.ask(plan.tournament.question if plan.tournament else plan.events[0].label)
        question = task.question
        # A row of the plan may ask without what its design cannot take account of.
        for row in plan.entrants or plan.rows:
            own = plan.task(task.event, task.outcome, task.scale, row).question
            questions.setdefault(row.name, []).append(own)
    entered, verdict = _recorded(plan, panel, question)
    refusals = {}
    for name, design in all_designs().items():
        reasons = [design.refusal(each.sample(panel)) for each in questions.get(name, [question])]
        refusals[name] = None if None in reasons else reasons[0]
    order = sorted(dict.fromkeys([*entered, *refusals]), key=lambda name: refusals[name] is not None)
    fitting = [Fitting(name, refusals[name], entered.get(name, {})) for name in order]
    return DesignsFor(panel, question, fitting, verdict)


def _is_about(plan: Plan, named: str) -> bool:
    """Return whether a plan is about a panel."""
    if isinstance(plan.panel, str):
        return plan.panel == named
    return Path(plan.panel["file"]).resolve() == Path(named).resolve()


def _recorded(
    plan: Plan | None, panel: Panel, question: Question
) -> tuple[dict[str, dict[str, dict[str, Any]]], str]:
    """Return where the rows of each design stand in the plan's recorded tournament, with its verdict."""
    if plan is None or plan.tournament is None:
        how, kind = {"panel": panel.name}, ""
        if plan is not None and not isinstance(plan.panel, str):
            own: dict[str, Any] = {**plan.panel, "group_column": plan.panel.get("group")}
            how = {"panel": as_typed(Path(own["file"]))}
            how |= {name: own[name] for name in OF_FILE if own.get(name)}
            roles = {"treatment": " --binary", "doses": " --levels"}
            kind = "".join(typed for role, typed in roles.items() if question.event in own.get(role, ()))
        how |= {"outcome": question.outcome, "event": question.event}
        asked = [*how.items(), *(("covariate", in_quotes(name)) for name in question.covariates)]
        options = " ".join(f"{flag(name)} {quote(str(value))}" for name, value in asked)
        return {}, f"None is recorded of this panel; run `study simulate {options}{kind}`."
    try:
        recorded = tournament.read_record(plan, panel)
    except StudyError as error:
        return {}, str(error)
    rows = recorded.rows
    table = standing(rows[rows["process"].isin(plan.calibrated_processes())], plan.level)
    entered: dict[str, dict[str, dict[str, Any]]] = {}
    for label, row in table.iterrows():
        design = recorded.specification["designs"][label][0]
        entered.setdefault(design, {})[str(label)] = row.to_dict()
    return entered, recorded.sentences[0]


def _sentence(each: Fitting, scale: Scale) -> str:
    parts = [
        f"{label}: {'' if row['trusted'] else 'not to be trusted; '}intervals cover {row['coverage']:.1%} at the "
        f"lowest ({row['lowest_in']}), RMSE {scale.text(row['rmse'])} {scale.unit}"
        for label, row in each.standing.items()
    ]
    return f"{each.design}: {'; '.join(parts)}"


def design_page(design: Design) -> str:
    """Return the page of a design."""
    beginning, text_of = described(design.function)
    assumptions = [f"{each}: {ASSUMED[each].format(units='units')}" for each in design.assumes]
    refused = [str(trait).partition(",")[0] for trait in Supports if trait not in design.supports]
    hints = hints_of(design.function)
    taken = [
        f"{name}={default}: {allowed(hints[name])}. {text_of.get(name, '')}".rstrip()
        for name, default in design.options.items()
    ]
    references = re.split(r"References\n-+\n", inspect.getdoc(design.function) or "")[1:]
    example = OF_A_FILE.get(design.name, "--outcome papers --event first_accelerator --min-cohort-size 2")
    parts = [
        f"{design.name}: {design.title}",
        re.sub(r":\w+:`~?([^`]+)`", r"\1", beginning),
        f"Estimand: {design.estimand}",
        section("Assumes", assumptions),
        section("Supports", map(str, design.supports)),
        *([section("Refuses", refused)] if refused else []),
        section("Options, with their defaults", taken or ["none"]),
        section("References", [" ".join(each.split()) for each in "".join(references).split("\n\n")]),
        f"Example\n  study estimate {example} --design {design.name} {NEEDS.get(design.name, '')}".rstrip(),
    ]
    return "\n\n".join(parts)
