"""One question under several methods of inference, for designs that allow each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from study.diagnostics.uncertainty import CLUSTERED, FEW_TREATED, RANDOMIZATION, SHARES_GIVEN
from study.paper import RUN, Findings, Part, Piece, Setting, exhibit
from study.report import COLUMNS, REFUSED, Block, Cell, Column, Line, Table, cells

# Methods of study.diagnostics.uncertainty in the order of the table, in words.
METHODS = {
    "jackknife": "Jackknife",
    CLUSTERED: "Jackknife, by {}",
    "CR0": "CR0 (no factor)",
    "CR1": "CR1 (clusters)",
    "CR1_fixest": "CR1 (fixest)",
    "CR1_areg": "CR1 (Stata's areg)",
    "CR3, t(G-1)": "CR3 (refits)",
    "multiplier bootstrap-t": "Multiplier bootstrap-t",
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
    every = setting.findings_of(["uncertainty"], labels)
    every.sort(key=lambda findings: labels.index(findings.label))
    shown = [findings for findings in every if findings.by_name]
    if not shown:
        return
    frames = {(findings.label, findings.scale): inferred(findings) for findings in shown}
    yield _table(shown, frames)
    # The run of the plan, since the diagnostics of a task do not show it clustered by neighbours.
    how: dict[str, Any] = {"columns": OF_INFERENCE, "command": RUN}
    for findings, frame in zip(shown, frames.values(), strict=True):
        for name, row in frame.iterrows():
            values, quantity = row.dropna().to_dict(), methods[name]
            yield from findings.numbers(values, findings.label, name, quantity=quantity, **how)
    yield from (row.says(f"{row.label}: {row.by_name['uncertainty'].verdict}") for row in shown)
    refused = (pair for findings in shown for pair in findings.by_name["uncertainty"]["refused"])
    yield from dict.fromkeys(f"Not offered, {_reason(f'{method}: {why}')}" for method, why in refused)
    yield from (f"Not made, {row.label}, {row.scale}: {why}" for row in every for why in row.refused)


def shown_labels(setting: Setting) -> list[str]:
    """Return the main row, and the first of each other design of the plan that fits no learners."""
    plan = setting.plan
    labels: dict[str, str] = {}
    for row in (setting.main_row, *(row for row in plan.rows if not row.design.draws)):
        labels.setdefault(row.name, row.label)
    return list(labels.values())


def inferred(findings: Findings) -> pd.DataFrame:
    """Return a row's answer on a scale by method of inference, the design's own first.

    The frame has estimate, std_error, conf_low, conf_high and p_value, and where clusters are counted n_clusters,
    treated_clusters and effective_clusters.
    """
    finding = findings.by_name["uncertainty"]
    frame = finding.frame.set_index("inference")[["estimate", *CELLS]]
    clusters = pd.DataFrame.from_dict(finding["clusters"], orient="index", columns=CLUSTERS)
    return frame.join(clusters)


def methods_of(setting: Setting) -> dict[str, str]:
    """Return the words of each method by its name in the frames."""
    neighbours = setting.plan.neighbours
    return {name.format(neighbours): words.format(neighbours) for name, words in METHODS.items()}


def _table(shown: Sequence[Findings], frames: Frames) -> Table:
    labels, scales = (list(dict.fromkeys(names)) for names in zip(*frames, strict=True))
    columns, setting = COLUMNS | OF_INFERENCE, shown[0].setting
    units = {findings.scale: findings.task.question.effect_scale for findings in shown}

    def title(label: str) -> str:
        own = (units[scale].text(f["estimate"].iloc[0]) for (at, scale), f in frames.items() if at == label)
        return f"{label}: estimates {', '.join(own)}"

    def shown_cells(scale: str, label: str, method: str) -> list[Cell]:
        frame = frames.get((label, scale))
        if frame is None or method not in frame.index:
            return ["", "", "", REFUSED] if method == RANDOMIZATION else [REFUSED, "", "", ""]
        return cells(columns, frame.loc[method, [*CELLS]].to_dict(), units[scale])

    def lines(label: str) -> Iterator[Line]:
        firsts = {frame.index[0] for (at, _), frame in frames.items() if at == label}
        for name, words in methods_of(setting).items():
            if name == RANDOMIZATION or any(name in frame.index for frame in frames.values()):
                of_scales = [cell for scale in scales for cell in shown_cells(scale, label, name)]
                yield Line(words + ", own" * (name in firsts), of_scales)

    return Table(
        name="inference",
        caption=f"{setting.event.short}: inference by method",
        headings=["SE", "Low", "High", "p"] * len(scales),
        spans=[(setting.plan.scales[scale], len(CELLS)) for scale in scales],
        blocks=[Block(title(label), list(lines(label))) for label in labels],
        notes=_notes(shown, frames),
    )


def _notes(shown: Sequence[Findings], frames: Frames) -> list[str]:
    plan, results = shown[0].setting.plan, [findings.by_name["uncertainty"] for findings in shown]
    first, tests = results[0], [finding["randomization"] for finding in results if finding["randomization"]]
    name, (total, treated, _) = CLUSTERED.format(plan.neighbours), next(iter(first["clusters"].values()))
    clusters = pd.DataFrame([f.loc[name, CLUSTERS] for f in frames.values() if name in f.index])
    notes = [
        f"SE, Low, High: standard error and {100 * plan.level:g}% interval. Own: as in other tables. Clusters: "
        f"{total} {plan.text.units}, {treated} of them treated. CR1: factors of the clusters alone, of fixest, and of "
        f"areg, which counts {plan.text.unit} effects. CR3: refits without each cluster. Bootstraps draw "
        f"{plan.band_draws} times."
    ]
    notes += [SHARES_GIVEN] * any(SHARES_GIVEN in finding.evidence for finding in results)
    if len(clusters):
        few, most = clusters["effective_clusters"].agg(["min", "max"])
        notes.append(
            f"By {plan.neighbours}: {clusters['n_clusters'].iloc[0]:.0f} clusters, "
            f"{clusters['treated_clusters'].iloc[0]:.0f} of them with treated {plan.text.units}; {few:.0f} to "
            f"{most:.0f} carry the variance."
        )
    if tests:
        notes.append(
            f"Randomization: {tests[0].permutations} assignments of dates within {plan.strata}, without an "
            "interval."
        )
    return [*notes, f"{REFUSED} : not offered for the design or scale."]


def _reason(why: str) -> str:
    """Return a refusal without the functions that it recommends."""
    return f"{why.split('. For it')[0].replace(': cr3:', ':').rstrip('.')}."
