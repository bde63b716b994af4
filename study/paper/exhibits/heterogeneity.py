"""Who gains from the main event, by group or by rule for giving grants."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from study.core import QuestionError, one_thread
from study.heterogeneity.allocation import Policy, policy
from study.heterogeneity.group_effects import GroupEffects, effects_by_group, group_figure
from study.heterogeneity.grouping import plain
from study.heterogeneity.page import caveats, usual_groupings
from study.heterogeneity.scored import score
from study.learners import Learner
from study.paper.exhibits.exhibit import Exhibited, Setting, Traced, draw
from study.paper.exhibits.verdicts import traced
from study.paper.plan import Task
from study.report import REFUSED, Block, Line, Number, Table, error, p_cell, p_text

EXHIBIT = "heterogeneity"
LEARNER: Learner = "forest"
# Half as many draws of the folds as `study gains` makes, and no causal forest, so that it takes a minute or two.
REPETITIONS = 5


@dataclass(frozen=True, eq=False)
class Heterogeneity:
    """Effects by grouping, the value of rules for grants or None, and what could not be made."""

    task: Task
    groups: tuple[GroupEffects, ...]
    policy: Policy | None
    caveats: tuple[str, ...]
    refused: tuple[str, ...]


def heterogeneity(setting: Setting) -> Exhibited:
    """Return the table and figure of effects by group, or why there is none."""
    try:
        made = found(setting)
    except QuestionError as refusal:
        return Exhibited(sentences=(f"Not made: {refusal}",))
    if not made.groups:
        return Exhibited(sentences=tuple(f"Not made: {why}" for why in made.refused))
    event, plan = made.task.event, setting.plan
    drawing = draw(
        EXHIBIT,
        f"Average effects of the {event.title} on the treated by group, with simultaneous bands over the groups of a "
        f"grouping and pointwise intervals at {plan.level:.0%}. Outcome: the change of {plan.text.outcome} over the "
        "window.",
        group_figure(made.groups),
        "Dots with intervals and bands by group, one panel for each grouping; in brackets treated of all units.",
    )
    return Exhibited(
        tables=(_table(setting, made),),
        figures=(drawing,),
        numbers=tuple(_numbers(setting, made)),
        sentences=(
            *(one.sentences[0] for one in made.groups),
            *([made.policy.sentences[0]] if made.policy is not None else []),
            *made.caveats,
            *(f"Not made: {why}" for why in made.refused),
        ),
    )


def found(setting: Setting) -> Heterogeneity:
    """Return effects by the usual groupings and the value of rules, from the same scores.

    The scale is that of the outcome's own units, which grants are counted in.

    Raises
    ------
    QuestionError
        As in :func:`study.heterogeneity.score`.
    """
    plan = setting.plan
    task = plan.with_level().ask(f"{plan.events[0].label}/{next(iter(plan.outcomes))}")
    sample = task.question.sample(setting.panel)
    by = usual_groupings(sample, task.strata)
    within = tuple(one for one in by if one not in setting.panel.covariates)
    tests: dict[str, Any] = {"level": plan.level, "draws": plan.band_draws, "seed": plan.seed}
    with one_thread():
        scores = score(sample, learner=LEARNER, groups=within, repetitions=REPETITIONS, seed=plan.seed)
        groups, refused = [], []
        for one in by:
            try:
                groups.append(effects_by_group(scores, one, **tests))
            except QuestionError as why:
                refused.append(str(why))
        try:
            rules = policy(scores, **tests)
        except QuestionError as why:
            rules = None
            refused.append(str(why))
    return Heterogeneity(task, tuple(groups), rules, caveats(sample, task.event.title), tuple(refused))


def _table(setting: Setting, made: Heterogeneity) -> Table:
    plan, question = setting.plan, made.task.question
    blocks = [Block(_heading(one), _lines(one)) for one in made.groups]
    if made.policy is not None:
        blocks.append(_policy_block(made.policy))
    return Table(
        name=EXHIBIT,
        caption=f"Who gains from the {made.task.event.title}",
        headings=["Effect", "(SE)", "Low", "High", "p", "MDE", "Treated", "All"],
        blocks=blocks,
        notes=[
            f"Average effects on the treated of a group: the change of {plan.text.outcome} from the first to the last "
            f"period, against others with the same {', '.join(question.covariates)} and in the same groups. Doubly "
            f"robust scores by {LEARNER}s, cross-fitted over {REPETITIONS} draws of the folds; standard errors in "
            f"parentheses, clustered by {question.cluster or plan.text.unit}. Low and High: simultaneous "
            f"{plan.level:.0%} band over the groups of a grouping. p: of all pairs of groups or rules together "
            f"({plan.band_draws} draws). MDE: for groups, what a pointwise test finds with 80% power.",
            *(
                [
                    f"Rules give {made.policy.budget} grants to {made.policy.candidates} {plan.text.units}; an effect "
                    f"is what a grant adds to the outcome, with pointwise intervals; {_random(made.policy)}"
                ]
                if made.policy is not None
                else []
            ),
            *_left_out(made),
            made.caveats[1],
        ],
        widths=[4.4],
    )


def _heading(one: GroupEffects) -> str:
    by = plain(one.groups.by)
    equal = "" if one.equal is None else f" (all equal, Wald: p = {p_text(one.equal.p_value)})"
    return f"By {by}{equal}"


def _lines(one: GroupEffects) -> list[Line]:
    detectable = one.fit.minimum_detectable_effect()
    lines = [
        Line(
            term.removeprefix(one.groups.by).strip() or plain(term),
            [
                Number(row.estimate, 2),
                error(row.std_error, 2),
                Number(row.band_low, 2),
                Number(row.band_high, 2),
                "",
                Number(float(least), 2),
                Number(treated, 0),
                Number(units, 0),
            ],
        )
        for term, row, least, (units, treated) in zip(
            one.fit.terms, one.band.itertuples(), detectable, one.sizes, strict=True
        )
    ]
    if one.pairs is not None and not math.isnan(one.pairs.p_value):
        lines.append(Line("All pairs of groups", ["", "", "", "", p_cell(one.pairs.p_value), "", "", ""]))
    return lines


def _policy_block(rules: Policy) -> Block:
    lines = [
        Line(
            row.rule[:1].upper() + row.rule[1:],
            [
                Number(row.value, 2),
                error(row.std_error, 2),
                Number(row.conf_low, 2),
                Number(row.conf_high, 2),
                *[""] * 4,
            ],
        )
        for row in rules.tidy().itertuples()
    ]
    lines.append(Line("All pairs of rules", ["", "", "", "", p_cell(rules.pairs.p_value), "", "", ""]))
    return Block(f"What a grant adds, by rule for {rules.budget} grants", lines)


def _random(rules: Policy) -> str:
    apart = rules.apart_from_random
    if apart:
        return f"significantly different from giving them at random: {', '.join(apart)}."
    return "no rule differs significantly from giving them at random."


def _left_out(made: Heterogeneity) -> list[str]:
    named = [
        f"{label} ({treated} treated of {units})"
        for one in made.groups
        for label, units, treated in one.left_out
    ]
    told = [f"Too few for an effect: {', '.join(dict.fromkeys(named))}."] if named else []
    return told + ([f"{REFUSED} : not made. {' '.join(made.refused)}"] if made.refused else [])


def _numbers(setting: Setting, made: Heterogeneity) -> Iterator[Traced]:
    command = f"study gains {made.task.event.label}/{made.task.outcome} --repetitions {REPETITIONS}"
    unit = setting.plan.text.outcomes_with_units

    def numbered(names: tuple[str, ...], told: list[tuple[str, str, str]]) -> Iterator[Traced]:
        yield from traced(setting, EXHIBIT, made.task, ("gains", *names), told, command=command)

    for one in made.groups:
        by = one.groups.by
        for term, row in zip(one.fit.terms, one.band.itertuples(), strict=True):
            words = f"the treated by {by}: {term}"
            told = [
                ("Estimate", _decimals(row.estimate), f"effect on {words}, {unit}"),
                (
                    "Low",
                    _decimals(row.band_low),
                    f"lower end of the simultaneous band of the effect on {words}",
                ),
                (
                    "High",
                    _decimals(row.band_high),
                    f"upper end of the simultaneous band of the effect on {words}",
                ),
            ]
            yield from numbered((by, term.removeprefix(by).strip() or term), told)
        if one.pairs is not None and one.equal is not None:
            k = one.pairs.largest
            told = [
                ("PairsP", p_text(one.pairs.p_value), f"p-value of all pairs of groups by {by}"),
                ("EqualP", p_text(one.equal.p_value), f"Wald p-value that effects by {by} are equal"),
                (
                    "Detectable",
                    _decimals(float(one.pairs.detectable[k])),
                    f"detectable difference by {by}, {unit}",
                ),
            ]
            yield from numbered((by,), told)
    apart = str(sum(one.apart for one in made.groups))
    yield from numbered((), [("Apart", apart, "groupings whose groups differ significantly")])
    if made.policy is not None:
        told = [
            ("PolicyP", p_text(made.policy.pairs.p_value), "p-value of all pairs of rules for giving grants"),
            ("PolicyGrants", str(made.policy.budget), "grants that rules give"),
            (
                "PolicyApart",
                str(len(made.policy.apart_from_random)),
                "rules that differ significantly from giving at random",
            ),
        ]
        for row in made.policy.tidy().itertuples():
            name = row.rule.title().replace(" ", "")
            told.append((f"Policy{name}", _decimals(row.value), f"what a grant adds, {row.rule}, {unit}"))
        yield from numbered((), told)


def _decimals(value: float) -> str:
    return "(none)" if math.isnan(value) else f"{round(value, 2) + 0.0:.2f}".replace("-", "\N{MINUS SIGN}")
