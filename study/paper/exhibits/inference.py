"""One question under several methods of inference, for designs that allow each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from study.core import QuestionError
from study.designs import find_design
from study.diagnostics import refits
from study.diagnostics.uncertainty import FEW_TREATED, RANDOMIZATION
from study.estimates import Effect, effective_clusters, effects_frame, treated_clusters
from study.paper.exhibits.exhibit import RUN, Part, Piece, Setting, exhibit
from study.paper.exhibits.verdicts import Findings, findings_of, main_row, scale_title
from study.report import COLUMNS, REFUSED, Block, Cell, Column, Line, Table

EXHIBIT = "inference"
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
    FEW_TREATED: "Errors of comparison units",
    RANDOMIZATION: "Randomization of dates",
}
CELLS = ("std_error", "conf_low", "conf_high", "p_value")
CLUSTERS = ["n_clusters", "treated_clusters", "effective_clusters"]
OF_INFERENCE = {
    "std_error": Column("standard error", "effect"),
    "treated_clusters": Column("clusters with treated units", "count"),
    "effective_clusters": Column("effective number of clusters", "count"),
}


# By the label of a row and the scale; see :func:`inferred`.
Frames = Mapping[tuple[str, str], pd.DataFrame]


@exhibit("Inference", Part.OBJECTIONS)
def inference(setting: Setting) -> Iterator[Piece]:
    """Yield the table of standard errors, intervals and p-values by method of inference, a panel for each design."""
    labels, methods = shown_labels(setting), methods_of(setting)
    every = findings_of(setting, ["uncertainty"], labels)
    every.sort(key=lambda findings: labels.index(findings.label))
    shown = [findings for findings in every if findings.by_name]
    refusals = [f"{row.label}, {row.scale}: {why}" for row in every for why in row.refused]
    if not shown:
        return
    frames: dict[tuple[str, str], pd.DataFrame] = {}
    reasons: list[str] = []
    for findings in shown:
        frames[findings.label, findings.scale], refused = inferred(findings)
        reasons += map(_reason, refused)
    yield _table(shown, frames)
    # The run of the plan, since the diagnostics of a task do not show it clustered by neighbours.
    how: dict[str, Any] = {"columns": OF_INFERENCE, "command": RUN}
    for findings, frame in zip(shown, frames.values(), strict=True):
        for name, row in frame.iterrows():
            values, quantity = row.dropna().to_dict(), methods[name]
            yield from findings.numbers(EXHIBIT, values, findings.label, name, quantity=quantity, **how)
    yield from (
        findings.says(f"{findings.label}: {findings.by_name['uncertainty'].verdict}") for findings in shown
    )
    yield from (f"Not offered, {reason}" for reason in dict.fromkeys(reasons))
    yield from (f"Not made, {refusal}" for refusal in refusals)


def shown_labels(setting: Setting) -> list[str]:
    """Return the main row, and the first of each other design of the plan that fits no learners."""
    plan = setting.plan
    labels: dict[str, str] = {}
    for row in (main_row(plan), *(row for row in plan.rows if not find_design(row.name).draws)):
        labels.setdefault(row.name, row.label)
    return list(labels.values())


def inferred(findings: Findings) -> tuple[pd.DataFrame, list[str]]:
    """Return a row's answer on a scale by method of inference, the design's own first, and the methods refused.

    The frame has estimate, std_error, conf_low, conf_high and p_value, and where clusters are counted n_clusters,
    treated_clusters and effective_clusters.
    """
    task, plan, finding = findings.task, findings.setting.plan, findings.by_name["uncertainty"]
    effects, clustered = list(finding["rows"]), CLUSTERED.format(plan.neighbours)
    clusters = {effects[0].label: [finding[name] for name in CLUSTERS]}
    refused = [f"{method}: {reason}" for method, reason in finding["refused"]]
    if plan.neighbours and task.question.cluster != plan.neighbours:
        try:
            sample = task.question.replace(cluster=plan.neighbours).sample(findings.setting.panel)
            fit = refits.headline(sample, task.row.name, task.options)
        except QuestionError as refusal:
            refused.append(f"{methods_of(findings.setting)[clustered]}: {refusal}")
        else:
            effects.append(Effect.of(clustered, fit, plan.level))
            clusters[clustered] = [fit.n_clusters, treated_clusters(fit), float(effective_clusters(fit)[0])]
    if finding["randomization"] is not None:
        effects.append(Effect(RANDOMIZATION, p_value=finding["randomization"].p_value))
    frame = effects_frame(effects).set_index("label")[["estimate", *CELLS]]
    return frame.join(pd.DataFrame.from_dict(clusters, orient="index", columns=CLUSTERS)), refused


def methods_of(setting: Setting) -> dict[str, str]:
    """Return the words of each method by its name in the frames."""
    neighbours = setting.plan.neighbours
    return {name.format(neighbours): words.format(neighbours) for name, words in METHODS.items()}


def _table(shown: Sequence[Findings], frames: Frames) -> Table:
    labels, scales = (list(dict.fromkeys(names)) for names in zip(*frames, strict=True))
    columns, setting = COLUMNS | OF_INFERENCE, shown[0].setting

    def cells(frame: pd.DataFrame | None, method: str) -> list[Cell]:
        if frame is None or method not in frame.index:
            return ["", "", "", REFUSED] if method == RANDOMIZATION else [REFUSED, "", "", ""]
        return [columns[name].cell(frame.loc[method, name]) for name in CELLS]

    def lines(label: str) -> Iterator[Line]:
        of_scales = [frames.get((label, scale)) for scale in scales]
        first = ("" if f is None else columns["estimate"].cell(f["estimate"].iloc[0]) for f in of_scales)
        yield Line("Estimate", [cell for estimate in first for cell in (estimate, "", "", "")])
        for name, words in methods_of(setting).items():
            if name == RANDOMIZATION or any(name in frame.index for frame in frames.values()):
                own = any(frame is not None and frame.index[0] == name for frame in of_scales)
                yield Line(words + " (own)" * own, [cell for f in of_scales for cell in cells(f, name)])

    return Table(
        name=EXHIBIT,
        caption=f"{setting.event.short}: inference by method",
        headings=["SE", "Low", "High", "p"] * len(scales),
        spans=[(scale_title(scale), len(CELLS)) for scale in scales],
        blocks=[Block(label, list(lines(label))) for label in labels],
        notes=_notes(shown, frames),
    )


def _notes(shown: Sequence[Findings], frames: Frames) -> list[str]:
    plan, results = shown[0].setting.plan, [findings.by_name["uncertainty"] for findings in shown]
    first, tests = results[0], [finding["randomization"] for finding in results if finding["randomization"]]
    name = CLUSTERED.format(plan.neighbours)
    clusters = pd.DataFrame([f.loc[name, CLUSTERS] for f in frames.values() if name in f.index])
    notes = [
        f"SE, Low, High: standard error and {plan.level:.0%} interval. Own: what other tables print. Clusters: "
        f"{first['n_clusters']} {plan.text.units}, {first['treated_clusters']} of them treated. Bootstraps draw "
        f"{plan.band_draws} times."
    ]
    if len(clusters):
        few, most = clusters["effective_clusters"].agg(["min", "max"])
        notes.append(
            f"Clustered by {plan.neighbours}: {clusters['n_clusters'].iloc[0]:.0f} clusters, of which {few:.0f} to "
            f"{most:.0f} carry the variance."
        )
    if tests:
        notes.append(
            f"Randomization: {tests[0].permutations} assignments of event dates within {plan.strata}; it tests that "
            "no unit has an effect, and has no interval."
        )
    return [*notes, f"{REFUSED} : not offered for the design or scale."]


def _reason(why: str) -> str:
    """Return a refusal without the functions that it recommends."""
    return f"{why.split('. For it')[0].replace(': cr3:', ':').rstrip('.')}."
