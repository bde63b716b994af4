"""One question under several ways of inference, for designs that allow each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from study.core import QuestionError
from study.designs import find_design
from study.diagnostics import refits
from study.diagnostics.uncertainty import Uncertainty
from study.estimates import Effect, Estimate, effective_clusters
from study.panel import Scale
from study.paper.exhibits.exhibit import RUN, Exhibited, Setting, Traced
from study.paper.exhibits.verdicts import found, main_row, on_scale, scale_title, task_of, traced
from study.report import REFUSED, Block, Cell, Line, Number, Span, Table, p_cell, p_text

EXHIBIT = "inference"
OWN = " (own)"
NEIGHBOURS = "clustered by {}"
# Ways of study.diagnostics.uncertainty in the order of the table, in words.
WAYS = {
    "jackknife": "Leaving each cluster out, t",
    "CR0": "No small-sample factor",
    "CR1": "Factor G/(G-1)",
    "CR1_fixest": "Regression factor, t(G-1)",
    "CR1_areg": "Same, counting unit effects",
    NEIGHBOURS: "Clustered by {}",
    "multiplier bootstrap-t": "Multiplier bootstrap-t",
    "CR3, t(G-1)": "CR3 by refitting, t(G-1)",
    "wild cluster bootstrap": "Wild cluster bootstrap",
}
RANDOMIZATION = "Randomization of dates"
PARTS = {
    "jackknife": "Default",
    "CR0": "Plain",
    "CR1_fixest": "Regression",
    NEIGHBOURS: "Neighbours",
    "CR3, t(G-1)": "Jackknife",
    "wild cluster bootstrap": "Wild",
    "multiplier bootstrap-t": "Multiplier",
}


@dataclass(frozen=True, eq=False)
class Inferred:
    """One design's answer on one scale under several ways of inference.

    Attributes
    ----------
    scale, label : str
        The label is that of the plan's row.
    found : Uncertainty
    neighbours : Effect or None
        Under the design's own convention, clustered by the plan's neighbours; None where that is refused.
    worth : tuple of float
        Number of clusters of neighbours, and how many of them carry the variance, effectively; NaN without any.
    refused : tuple of str
    """

    scale: str
    label: str
    found: Uncertainty
    neighbours: Effect | None
    worth: tuple[float, float]
    refused: tuple[str, ...]

    @property
    def rows(self) -> dict[str, Effect]:
        """The ways by name."""
        made = {row.label: row for row in self.found.rows}
        return made if self.neighbours is None else made | {NEIGHBOURS: self.neighbours}


def inference(setting: Setting) -> Exhibited:
    """Return the table of standard errors, intervals and p-values by way of inference, a panel for each design."""
    made, refused = [], []
    for label in shown_labels(setting):
        for scale in setting.plan.scales:
            one = inferred(setting, scale, label)
            if isinstance(one, str):
                refused.append(f"{label}, {scale}: {one}")
            else:
                made.append(one)
    if not made:
        return Exhibited()
    return Exhibited(
        tables=(_table(setting, made, refused),),
        numbers=tuple(traced_ for one in made for traced_ in _numbers(setting, one)),
        sentences=tuple(_sentences(setting, made, refused)),
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
    """Return a row's answer on a scale under several ways of inference, or why there is none."""
    made = found(setting, scale, "uncertainty", Uncertainty, label)
    if isinstance(made, str):
        return made
    neighbours = _by_neighbours(setting, scale, label)
    refused = [f"{way}: {why}" for way, why in made.refused]
    if isinstance(neighbours, str):
        refused.append(f"{WAYS[NEIGHBOURS].format(setting.plan.neighbours)}: {neighbours}")
    if not isinstance(neighbours, Estimate):
        return Inferred(scale, label, made, None, (math.nan, math.nan), tuple(refused))
    row = Effect.of(NEIGHBOURS, neighbours, made.level)
    worth = (float(neighbours.n_clusters), float(effective_clusters(neighbours)[0]))
    return Inferred(scale, label, made, row, worth, tuple(refused))


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


def _table(setting: Setting, made: list[Inferred], refused: list[str]) -> Table:
    plan = setting.plan
    scales = list(dict.fromkeys(one.scale for one in made))
    labels = list(dict.fromkeys(one.label for one in made))
    by_key = {(one.label, one.scale): one for one in made}
    ways = {name: words for name, words in WAYS.items() if any(name in one.rows for one in made)}
    blocks = []
    for label in labels:
        shown = [by_key.get((label, scale)) for scale in scales]
        lines = [Line("Estimate", [cell for one in shown for cell in _estimate(one)])]
        for name, words in ways.items():
            own = any(one is not None and one.found.rows[0].label == name for one in shown)
            cells = [cell for one in shown for cell in _cells(one, name)]
            lines.append(Line(words.format(plan.neighbours) + (OWN if own else ""), cells))
        tested = [cell for one in shown for cell in ("", "", "", _randomized(one))]
        lines.append(Line(RANDOMIZATION, tested))
        blocks.append(Block(label, lines))
    return Table(
        name=EXHIBIT,
        caption=f"Inference on the effect of the {plan.events[0].title}",
        headings=["SE", "Low", "High", "p"] * len(scales),
        spans=[Span(scale_title(scale), 4) for scale in scales],
        blocks=blocks,
        notes=_notes(setting, made, refused),
        widths=[4.9],
    )


def _cells(one: Inferred | None, name: str) -> list[Cell]:
    if one is None or name not in one.rows:
        return [REFUSED, "", "", ""]
    row = one.rows[name]
    return [Number(row.std_error), Number(row.conf_low), Number(row.conf_high), p_cell(row.p_value)]


def _estimate(one: Inferred | None) -> list[Cell]:
    return ["" if one is None else Number(one.found.rows[0].estimate), "", "", ""]


def _randomized(one: Inferred | None) -> Cell:
    test = None if one is None else one.found.randomization
    return REFUSED if test is None else p_cell(test.p_value)


def _notes(setting: Setting, made: list[Inferred], refused: list[str]) -> list[str]:
    plan, first = setting.plan, made[0].found
    tests = [one.found.randomization for one in made if one.found.randomization is not None]
    notes = [
        f"Outcome: {plan.text.outcome}, {next(iter(plan.outcomes.values())).lower()}; averages over event times 0 to "
        f"the horizon, or a coefficient for a design without event times. SE, Low and High: standard error and "
        f"{first.level:.0%} interval; p: two-sided. {OWN.strip()[1:-1].capitalize()}: what the other tables print.",
        f"Clusters are {first.n_clusters} {plan.text.units} unless said otherwise; those with treated units: "
        f"{first.treated_clusters}. The first line leaves each cluster out and "
        "has the degrees of freedom that the clusters on both sides of the comparison leave; the next ones, among them "
        "the convention first specified for each design, have no such correction; the "
        f"multiplier bootstrap draws Webb's weights and the restricted wild bootstrap signs, {plan.band_draws} times.",
    ]
    worth = [one.worth for one in made if one.neighbours is not None]
    if worth:
        few, most = (f"{pick(effective for _, effective in worth):.0f}" for pick in (min, max))
        notes.append(
            f"Clustered by {plan.neighbours}: {worth[0][0]:.0f} clusters, of which {few} to {most} carry the variance "
            "(effective number); with so few, the standard errors and p-values of this line may be too small."
        )
    if tests:
        notes.append(
            f"Randomization: the share of {tests[0].permutations} assignments of event dates within "
            f"{plan.strata} whose t statistic is as large; it tests that no unit has an effect, and has no interval."
        )
    if any(one.refused for one in made) or refused:
        told = dict.fromkeys(_reason(why) for one in made for why in one.refused)
        notes.append(f"{REFUSED} : not offered. {' '.join((*told, *refused))}")
    return notes


def _reason(why: str) -> str:
    """Return a refusal without the functions that it recommends."""
    return f"{why.split('. For it')[0].replace(': cr3:', ':').rstrip('.')}."


def _numbers(setting: Setting, one: Inferred) -> Iterator[Traced]:
    task, scale, unit = task_of(setting, one.scale, one.label), one.scale, Scale(one.scale).printed
    names = ("inference", scale, one.label)
    for way, part in PARTS.items():
        row, words = one.rows.get(way), WAYS[way].format(setting.plan.neighbours)
        if row is None:
            continue
        told = [
            (f"{part}Error", Scale(scale).number(row.std_error), f"standard error, {words}, {unit}"),
            (f"{part}Low", Scale(scale).number(row.conf_low), f"lower end of the interval, {words}, {unit}"),
            (
                f"{part}High",
                Scale(scale).number(row.conf_high),
                f"upper end of the interval, {words}, {unit}",
            ),
            (f"{part}P", p_text(row.p_value), f"p-value, {words}"),
        ]
        yield from traced(setting, EXHIBIT, task, names, told, command=RUN)
    test = one.found.randomization
    p_value = math.nan if test is None else test.p_value
    told = [
        ("RandomizationP", p_text(p_value), "p-value of the randomization test"),
        ("Effective", f"{one.found.effective_clusters:.0f}", "clusters that carry the variance, effectively"),
        ("NeighboursEffective", _whole(one.worth[1]), "the same, clustered by neighbours"),
    ]
    yield from traced(setting, EXHIBIT, task, names, told, command=RUN)


def _whole(value: float) -> str:
    return "(none)" if math.isnan(value) else f"{value:.0f}"


def _sentences(setting: Setting, made: list[Inferred], refused: list[str]) -> Iterator[str]:
    for one in made:
        if one.label == main_row(setting.plan).label:
            yield from (on_scale(one.scale, told) for told in one.found.sentences[:3])
    for one in made:
        if one.label != main_row(setting.plan).label:
            yield on_scale(one.scale, f"{one.label}: {one.found.sentences[0]}")
    yield from (f"Not made, {why}" for why in refused)
