"""One question under several methods of inference, for designs that allow each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from study.core import QuestionError
from study.designs import find_design
from study.diagnostics import Finding, refits
from study.diagnostics.uncertainty import RANDOMIZATION
from study.estimates import Effect, Estimate, effective_clusters, effects_frame, treated_clusters
from study.paper.exhibits.exhibit import (
    RUN,
    Exhibited,
    Part,
    Setting,
    Traced,
    address,
    addressed,
    exhibit,
    source_of,
)
from study.paper.exhibits.verdicts import found, main_row, on_scale, scale_title, task_of
from study.report import COLUMNS, REFUSED, Block, Cell, Column, Line, Span, Table

if TYPE_CHECKING:
    import pandas as pd

EXHIBIT = "inference"
OWN = " (own)"
CLUSTERED = "clustered by {}"
# Methods of study.diagnostics.uncertainty in the order of the table, in words.
METHODS = {
    "jackknife": "Leaving each cluster out, t",
    "CR0": "No small-sample factor",
    "CR1": "Factor G/(G-1)",
    "CR1_fixest": "Regression factor, t(G-1)",
    "CR1_areg": "Same, counting unit effects",
    CLUSTERED: "Clustered by {}",
    "multiplier bootstrap-t": "Multiplier bootstrap-t",
    "CR3, t(G-1)": "CR3 by refitting, t(G-1)",
    "wild cluster bootstrap": "Wild cluster bootstrap",
    RANDOMIZATION: "Randomization of dates",
}
CELLS = ("std_error", "conf_low", "conf_high", "p_value")
CLUSTERS = ["n_clusters", "treated_clusters", "effective_clusters"]
OF_INFERENCE = {
    "std_error": Column("standard error", "effect"),
    "treated_clusters": Column("clusters with treated units", "count"),
    "effective_clusters": Column("effective number of clusters", "count"),
}


class Inferred(NamedTuple):
    """One design's answer on one scale under several methods of inference.

    Attributes
    ----------
    finding : Finding
        Of the diagnostic "uncertainty".
    frame : DataFrame
        By method, the design's own first: estimate, std_error, conf_low, conf_high, p_value; and where clusters are
        counted n_clusters, treated_clusters, effective_clusters.
    refused : tuple of str
    """

    finding: Finding
    frame: pd.DataFrame
    refused: tuple[str, ...]


Answers = Mapping[tuple[str, str], Inferred]


@exhibit("Inference", Part.OBJECTIONS)
def inference(setting: Setting) -> Exhibited:
    """Return the table of standard errors, intervals and p-values by method of inference, a panel for each design."""
    asked = {
        (label, scale): inferred(setting, scale, label)
        for label in shown_labels(setting)
        for scale in setting.plan.scales
    }
    answers = {key: answer for key, answer in asked.items() if isinstance(answer, Inferred)}
    refusals = [f"{', '.join(key)}: {answer}" for key, answer in asked.items() if isinstance(answer, str)]
    if not answers:
        return Exhibited()
    return Exhibited(
        tables=(_table(setting, answers, refusals),),
        numbers=tuple(_numbers(setting, answers)),
        sentences=tuple(_sentences(setting, answers, refusals)),
    )


def shown_labels(setting: Setting) -> list[str]:
    """Return the main row, and the first of each other design of the plan that fits no learners."""
    plan = setting.plan
    main = main_row(plan)
    first = {main.name: main.label}
    for row in plan.rows:
        if not find_design(row.name).draws:
            first.setdefault(row.name, row.label)
    return list(first.values())


def inferred(setting: Setting, scale: str, label: str) -> Inferred | str:
    """Return a row's answer on a scale under several methods of inference, or why there is none."""
    import pandas as pd

    finding = found(setting, scale, "uncertainty", label)
    if isinstance(finding, str):
        return finding
    effects, neighbours = list(finding["rows"]), setting.plan.neighbours
    clusters = {effects[0].label: [finding[name] for name in CLUSTERS]}
    refused = [f"{method}: {reason}" for method, reason in finding["refused"]]
    clustered = _by_neighbours(setting, scale, label)
    if isinstance(clustered, str):
        refused.append(f"{METHODS[CLUSTERED].format(neighbours)}: {clustered}")
    elif clustered is not None:
        effects.append(Effect.of(CLUSTERED.format(neighbours), clustered, setting.plan.level))
        effective = float(effective_clusters(clustered)[0])
        clusters[effects[-1].label] = [clustered.n_clusters, treated_clusters(clustered), effective]
    if finding["randomization"] is not None:
        effects.append(Effect(RANDOMIZATION, p_value=finding["randomization"].p_value))
    frame = effects_frame(effects).set_index("label")[["estimate", *CELLS]]
    frame = frame.join(pd.DataFrame.from_dict(clusters, orient="index", columns=CLUSTERS))
    return Inferred(finding, frame, tuple(refused))


def _by_neighbours(setting: Setting, scale: str, label: str) -> Estimate | str | None:
    """Return the answer clustered by the plan's neighbours, why there is none, or None where it is not asked."""
    task, neighbours = task_of(setting, scale, label), setting.plan.neighbours
    if not neighbours or task.question.cluster == neighbours:
        return None
    try:
        sample = task.question.replace(cluster=neighbours).sample(setting.panel)
        return refits.headline(sample, task.row.name, task.options)
    except QuestionError as refusal:
        return str(refusal)


def _table(setting: Setting, answers: Answers, refusals: list[str]) -> Table:
    plan = setting.plan
    scales = list(dict.fromkeys(scale for _, scale in answers))
    return Table(
        name=EXHIBIT,
        caption=f"Inference on the effect of the {plan.events[0].title}",
        headings=["SE", "Low", "High", "p"] * len(scales),
        spans=[Span(scale_title(scale), len(CELLS)) for scale in scales],
        blocks=[
            Block(label, list(_lines(setting, answers, label, scales)))
            for label in dict.fromkeys(label for label, _ in answers)
        ],
        notes=_notes(setting, answers, refusals),
    )


def _methods(setting: Setting) -> dict[str, str]:
    """Return the words of each method by its name in the frames."""
    neighbours = setting.plan.neighbours
    return {name.format(neighbours): words.format(neighbours) for name, words in METHODS.items()}


def _lines(setting: Setting, answers: Answers, label: str, scales: list[str]) -> Iterator[Line]:
    shown = [answers.get((label, scale)) for scale in scales]
    estimates = [COLUMNS["estimate"].cell(one.frame["estimate"].iloc[0]) if one else "" for one in shown]
    yield Line("Estimate", [cell for estimate in estimates for cell in (estimate, "", "", "")])
    for name, words in _methods(setting).items():
        if name == RANDOMIZATION or any(name in one.frame.index for one in answers.values()):
            own = any(one is not None and one.frame.index[0] == name for one in shown)
            yield Line(f"{words}{OWN if own else ''}", [cell for one in shown for cell in _cells(one, name)])


def _cells(answer: Inferred | None, method: str) -> list[Cell]:
    if answer is None or method not in answer.frame.index:
        refused: list[Cell] = [REFUSED, "", "", ""]
        return refused[::-1] if method == RANDOMIZATION else refused
    columns = COLUMNS | OF_INFERENCE
    return [columns[name].cell(answer.frame.loc[method, name]) for name in CELLS]


def _notes(setting: Setting, answers: Answers, refusals: list[str]) -> list[str]:
    plan, first = setting.plan, next(iter(answers.values())).finding
    tests = [one.finding["randomization"] for one in answers.values() if one.finding["randomization"]]
    name = CLUSTERED.format(plan.neighbours)
    clusters = [one.frame.loc[name, CLUSTERS] for one in answers.values() if name in one.frame.index]
    notes = [
        f"Outcome: {plan.text.outcome}, {next(iter(plan.outcomes.values())).lower()}; averages over event times 0 to "
        f"the horizon, or a coefficient for a design without event times. SE, Low and High: standard error and "
        f"{plan.level:.0%} interval; p: two-sided. {OWN.strip()[1:-1].capitalize()}: what the other tables print.",
        f"Clusters are {first['n_clusters']} {plan.text.units} unless said otherwise; those with treated units: "
        f"{first['treated_clusters']}. The first line leaves each cluster out and "
        "has the degrees of freedom that the clusters on both sides of the comparison leave; the next ones, among them "
        "the convention first specified for each design, have no such correction; the "
        f"multiplier bootstrap draws Webb's weights and the restricted wild bootstrap signs, {plan.band_draws} times.",
    ]
    if clusters:
        few, most = (pick(row["effective_clusters"] for row in clusters) for pick in (min, max))
        notes.append(
            f"Clustered by {plan.neighbours}: {clusters[0]['n_clusters']:.0f} clusters, of which {few:.0f} to "
            f"{most:.0f} carry the variance (effective number); with so few, the standard errors and p-values of this "
            "line may be too small."
        )
    if tests:
        notes.append(
            f"Randomization: the share of {tests[0].permutations} assignments of event dates within "
            f"{plan.strata} whose t statistic is as large; it tests that no unit has an effect, and has no interval."
        )
    if any(one.refused for one in answers.values()) or refusals:
        reasons = dict.fromkeys(_reason(why) for one in answers.values() for why in one.refused)
        notes.append(f"{REFUSED} : not offered. {' '.join((*reasons, *refusals))}")
    return notes


def _reason(why: str) -> str:
    """Return a refusal without the functions that it recommends."""
    return f"{why.split('. For it')[0].replace(': cr3:', ':').rstrip('.')}."


def _numbers(setting: Setting, answers: Answers) -> Iterator[Traced]:
    methods = _methods(setting)
    for (label, scale), answer in answers.items():
        task = task_of(setting, scale, label)
        for name, row in answer.frame.iterrows():
            # The run of the plan, since the diagnostics of a task do not show it clustered by neighbours.
            source = source_of(EXHIBIT, methods[name], task, setting.panel, RUN)
            at = address(EXHIBIT, scale, label, name)
            yield from addressed(at, row.dropna(), source, scale, OF_INFERENCE)


def _sentences(setting: Setting, answers: Answers, refusals: list[str]) -> Iterator[str]:
    main = main_row(setting.plan).label
    for (label, scale), answer in answers.items():
        if label == main:
            yield from (on_scale(scale, sentence) for sentence in answer.finding.sentences[:3])
    for (label, scale), answer in answers.items():
        if label != main:
            yield on_scale(scale, f"{label}: {answer.finding.verdict}")
    yield from (f"Not made, {refusal}" for refusal in refusals)
