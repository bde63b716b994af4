"""Which design would have found the effect: the design tournament on simulated panels like the study's."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from study.core import capital
from study.diagnostics import Finding
from study.figures import performance_figure
from study.paper import Part, Piece, Setting, Task, cell_of, draw, estimate_command, exhibit, headline_effect
from study.paper.tournament import KEY, Recorded, check_first, contest, entered, read_record, tournament_of
from study.report import COLUMNS, REFUSED, Block, Column, Line, Number, Table, effect_values, lettered
from study.simulate.calibrate import DEVIATIONS, calibration
from study.simulate.performance import ERRORS, TOLERANCE, runner_up_sentence, standing
from study.simulate.process import DIALS, NO_EFFECT, Dial, effect_title

# Of a process and design, as the record has them.
MEASURES = {
    "truth": Column("effect of the simulated panels", "effect"),
    "bias": Column("bias", "effect"),
    "rmse": Column("root mean squared error", "effect"),
    "coverage": Column("coverage of intervals with default standard errors", "percent"),
    "published_coverage": Column("coverage of intervals with published standard errors", "percent"),
    "rejects": Column("how often the interval excludes zero", "percent"),
    "mde": Column("minimum detectable effect, by the spread of estimates", "effect"),
    "pretest_rejects": Column("how often the test of effects before treatment rejects", "percent"),
    "bias_after": Column("bias where that test does not reject", "effect"),
    "coverage_after": Column("coverage where that test does not reject", "percent"),
    "repetitions": Column("simulated panels", "count"),
}
ACTUAL = {"estimate": "Effect", "std_error": "(SE)", "mde": "MDE"}
# Of a design: on simulated panels without an effect and with that of the plan, and about the actual panel.
OF_DESIGN = MEASURES | {f"actual_{name}": COLUMNS[name] for name in ACTUAL}
OF_DESIGN |= {
    "bias_without": Column("mean of estimates without an effect", "effect"),
    "size": Column("how often the interval excludes zero without an effect", "percent"),
    "power": Column("how often the interval excludes zero with the effect", "percent"),
    "centred_coverage": Column("coverage of the mean estimate with default standard errors", "percent"),
    "published_centred_coverage": Column("the same with published standard errors", "percent"),
    "label": Column("name", "text"),
}
SIMULATED = {
    "bias_without": "Bias",
    "size": "Size",
    "bias": "Bias",
    "rmse": "RMSE",
    "coverage": "Coverage",
    "power": "Power",
}
DETAILS = {
    "published_coverage": "Published",
    "centred_coverage": "Default",
    "published_centred_coverage": "Published",
    "pretest_rejects": "Rejects",
    "bias_after": "Bias after",
    "mde": "MDE",
    "repetitions": "Panels",
}
# Minimum detectable effects above so many of the largest simulated effects are a dash.
FAR = 10
# Dials that say how treatment is recorded, which the titles of processes cannot.
EXPLAINED = ("unfounded", "hidden", "reversal")
# Designs that the figure colours and the table of violations has: the headline, and others by where they stand.
NAMED = 4
OF_ALL = {
    "sentence": Column("what is said of it", "text"),
    "clause": Column("the same without its full stop", "text"),
    "runner_up": Column("what is said of the runner-up", "text"),
    "designs": Column("designs", "count"),
    "processes": Column("processes", "count"),
    "violations": Column("processes besides the calibrated ones", "count"),
    "largest_error": Column("largest Monte-Carlo standard error of a coverage", "percent"),
    "covering": Column("designs whose intervals cover under the calibrated process", "count"),
    "effect": Column("effect", "effect"),
    "repetitions": Column("simulated panels of each process", "count"),
    "slow_repetitions": Column(
        "simulated panels of each process that designs with learners are asked", "count"
    ),
    "checks": Column("moments that the calibration does not aim at", "count"),
    "checks_met": Column(
        "those of them that simulated panels have, within three standard deviations", "count"
    ),
    "default": Column(
        "coverage of the mean estimate with default standard errors, mean of designs", "percent"
    ),
    "published": Column("the same with published standard errors", "percent"),
}
OF_MOMENT = {
    "panel": Column("in the panel"),
    "simulated": Column("mean of simulated panels"),
    "spread": Column("standard deviation between simulated panels"),
}
FITTED = {True: "Moments that the process is fitted to", False: "Moments that it is not fitted to"}


@exhibit("Which design would have found the effect", Part.OBJECTIONS)
def tournament(setting: Setting) -> Iterator[Piece]:
    """Yield what designs do on simulated panels, from the record, whose first replication is repeated."""
    plan, options = setting.plan, tournament_of(setting.plan)
    recorded = read_record(plan, setting.panel)
    process, processes = contest(plan, setting.panel, recorded)
    check_first(plan, processes, recorded.rows)
    calibrated = calibration(process, seed=plan.seed)
    rows = recorded.rows.set_index(KEY)
    at, none = rows.loc[effect_title(options.effect)], rows.loc[NO_EFFECT]
    task = plan.ask(options.question)
    effects = recorded.rows[recorded.rows["process"].isin(plan.calibrated_processes())]
    stand = standing(effects, plan.level)
    actual = {}
    for label, own in entered(plan).items():  # the tables' answer, or the entrant's own where they have none
        result = setting.results.get(own.key)
        effect = (result and result.headline) or headline_effect(own, setting.panel, label)
        actual[label] = effect_values(effect)
    of_actual = pd.DataFrame.from_dict(actual, orient="index")[[*ACTUAL]].add_prefix("actual_")
    simulated = at.assign(size=none["rejects"], bias_without=none["bias"], power=at["rejects"])
    designs = simulated.join(of_actual).loc[stand.index].assign(trusted=stand["trusted"])
    headline = headline_label(setting)
    named = [headline, *(label for label in stand.index if label != headline)][:NAMED]
    yield from _tables(setting, designs, task)
    if len(plan.processes()) > len(options.effects):
        yield _of_violations(setting, rows, named, task)
    yield _of_calibration(setting, calibrated)
    yield draw(
        "tournament",
        f"Designs on panels simulated like the study's: RMSE and bias with an effect of {options.effect:.0%}, lowest "
        "coverage over all effects, and power. Filled markers: intervals cover at each effect.",
        performance_figure(
            effects,
            # Coverage and order are those over all effects, by which designs are recommended.
            table=stand.assign(rmse=at["rmse"], rmse_mc=at["rmse_mc"], bias=at["bias"].abs()),
            scale=task.question.effect_scale,
            level=plan.level,
            named=named,
        ),
        "A row a design with markers at its RMSE and its bias, filled where its intervals cover, and a curve a design "
        "of how often its test rejects, by the effect.",
    )
    yield from recorded.sentences
    broken = broken_by(recorded, plan.level, plan.calibrated_processes())
    yield broken
    yield from calibrated.sentences[:2]
    yield from _numbers(setting, recorded, designs, broken, calibrated)


def headline_label(setting: Setting) -> str:
    """Return the headline's label, or that of the plan's file where another headline is not in the tournament."""
    labels = [row.label for row in setting.plan.entrants]
    label = setting.plan.headline.label
    return label if label in labels else labels[0]


def _tables(setting: Setting, designs: pd.DataFrame, task: Task) -> Iterator[Table]:
    """Yield what designs find on simulated panels and say of the actual one, and more of the former."""
    plan, options, scale = setting.plan, tournament_of(setting.plan), task.question.effect_scale
    effect = f"{options.effect:.0%}"
    titles = {
        "Designs whose intervals cover at each effect": designs["trusted"],
        "Designs whose intervals are missing or cover too seldom at some effect": ~designs["trusted"],
    }

    designs = designs.assign(mde=designs["mde"].mask(designs["mde"] > FAR * max(options.effects)))

    def line(label: Any, names: Iterable[str]) -> Line:
        return Line(label, [cell_of(OF_DESIGN[name], designs.at[label, name], scale) for name in names])

    def blocks(names: Collection[str]) -> list[Block]:
        of_titles = {title: designs.index[which] for title, which in titles.items() if which.any()}
        return lettered({title: [line(label, names) for label in own] for title, own in of_titles.items()})

    errors = 100 * max(designs[f"{name}_mc"].max() for name in ("coverage", "rejects"))
    yield Table(
        name="tournament",
        caption="What designs find on panels simulated like the study's, and what they say of the actual one",
        headings=[*SIMULATED.values(), *ACTUAL.values()],
        spans=[("No effect", 2), (f"Effect of {effect}", 4), ("Actual panel", 3)],
        blocks=blocks([*SIMULATED, *(f"actual_{name}" for name in ACTUAL)]),
        notes=[
            f"{plan.outcomes[task.outcome]}. Bias, RMSE (root mean squared error), estimates, standard errors and MDE "
            f"(minimum detectable effect): {scale.column}{' (points)' * scale.percent}. Size, coverage of "
            f"{100 * plan.level:g}% intervals and power: % of {options.repetitions} simulated panels, of "
            f"{options.slow_repetitions} for designs with learners (Monte-Carlo errors at most {errors:.1f} points). "
            f"Intervals cover if they do in {plan.level - TOLERANCE:.0%} of panels, less {ERRORS:g} Monte-Carlo "
            "errors. Designs are in the order of their RMSE over all effects."
        ],
    )
    yield Table(
        name="tournament-details",
        caption=f"Conventions of intervals and tests before treatment, on simulated panels with an effect of {effect}",
        headings=[*DETAILS.values()],
        spans=[("Coverage, %", 1), ("Of the mean, %", 2), ("Pre-test", 2), ("", 2)],
        blocks=blocks(DETAILS),
        notes=[
            f"Intervals at {100 * plan.level:g}%; published: with standard errors of the design's reference. Of the "
            "mean: the mean estimate is in the interval, which leaves bias aside. Pre-test: % of panels in which the "
            f"largest effect before treatment is significant at 5%, and bias ({scale.column}) in the others. MDE: "
            f"minimum detectable effect by the spread of estimates, in the same unit. {REFUSED} : no effects before "
            f"treatment; MDE above {FAR} times the largest simulated effect."
        ],
    )


def _of_violations(setting: Setting, rows: pd.DataFrame, named: Sequence[str], task: Task) -> Table:
    plan, options, scale = setting.plan, tournament_of(setting.plan), task.question.effect_scale
    calibrated = plan.calibrated_processes()
    others = [process for process in rows.index.unique("process") if process not in calibrated]
    shown = {effect_title(options.effect): "as calibrated"} | {process: process for process in others}
    panels = {f"Bias, {scale.column}": "bias", f"Coverage of {100 * plan.level:g}% intervals, %": "coverage"}

    def line(process: str, name: str) -> Line:
        values = (rows.at[(process, label), name] for label in named)
        return Line(capital(shown[process]), [cell_of(OF_DESIGN[name], value, scale) for value in values])

    dials = explained(plan.processes())
    rounded = {DIALS["unfounded"], DIALS["hidden"]} & {*dials.values()}
    return Table(
        name="tournament-violations",
        caption=f"Designs where assumptions fail, on simulated panels with an effect of {options.effect:.0%}",
        headings=named,
        blocks=lettered({title: [line(p, name) for p in shown] for title, name in panels.items()}),
        notes=[
            "The headline, and the other designs that stand first by the rule of recommendation. Each process differs "
            "from the calibrated one in what its line says.",
            *(f"{capital(name)}: {dial.does} ({dial.unit})." for name, dial in dials.items()),
            *(["Numbers of unfounded and hidden units are rounded down."] if rounded else []),
        ],
    )


def explained(processes: Mapping[str, Mapping[str, float]]) -> dict[str, Dial]:
    """Return dials of how treatment is recorded, by their own word if it is in a process's title, or by that title."""
    turned = {name: process for process, dials in processes.items() for name in dials}
    shown = [name for name in EXPLAINED if name in turned]
    return {name if name in turned[name] else turned[name]: DIALS[name] for name in shown}


def _of_calibration(setting: Setting, calibrated: Finding) -> Table:
    lines: dict[str, list[Line]] = {title: [] for title in FITTED.values()}
    for row in varying(calibrated).to_dict("records"):
        own = Line(capital(row["moment"]), [Number(row[name]) for name in OF_MOMENT])
        lines[FITTED[row["targeted"]]].append(own)
    return Table(
        name="tournament-calibration",
        caption="The panel beside panels that are simulated like it",
        headings=["Panel", "Simulated", "Spread"],
        blocks=lettered(lines),
        notes=[
            "Simulated: mean of simulated panels without an effect of their own; spread: standard deviation between "
            f"them. Means are of {setting.plan.text.outcomes_with_units}. Numbers of adopters a "
            f"{setting.panel.period_unit} are the panel's own."
        ],
    )


def varying(calibrated: Finding) -> pd.DataFrame:
    """Return the moments of a calibration that simulated panels differ in; numbers of adopters a year are given."""
    return calibrated.frame[calibrated.frame["spread"] > 0]


def broken_by(recorded: Recorded, level: float, calibrated: Sequence[str]) -> str:
    """Say under which violations the intervals of the recommended design, or of the nearest, cover too seldom."""
    label = recorded.recommendation.design or recorded.recommendation.nearest
    rows = recorded.rows[(recorded.rows["design"] == label) & ~recorded.rows["process"].isin([*calibrated])]
    if rows.empty:
        return "No process is simulated in which an assumption fails."
    enough = rows["coverage"] + ERRORS * rows["coverage_mc"] + TOLERANCE >= level
    worst = rows.sort_values("coverage", kind="stable").iloc[0]
    return (
        f"Under {(~enough).sum() or 'none'} of the {len(rows)} other processes the intervals of {label} cover in less "
        f"than {level - TOLERANCE:.0%} of panels by more than two Monte-Carlo errors; they cover least with "
        f"{worst['process']} ({worst['coverage']:.0%})."
    )


def _numbers(
    setting: Setting, recorded: Recorded, designs: pd.DataFrame, broken: str, calibrated: Finding
) -> Iterator[Piece]:
    plan, options = setting.plan, tournament_of(setting.plan)
    task, tasks = plan.ask(options.question), entered(plan)
    for (process, label), row in recorded.rows.set_index(KEY)[[*MEASURES]].iterrows():
        about = f"{process}, simulated panels"
        yield from setting.numbers((process, label), row, MEASURES, tasks[label], quantity=about)
    for label, entry in tasks.items():
        values = {name: designs.at[label, f"actual_{name}"] for name in ACTUAL}
        result = setting.results.get(entry.key)
        own = result.task if result else entry  # with the options of the tables, if it is theirs
        how: Any = {"quantity": label, "command": estimate_command(own, setting.panel)}
        yield from setting.numbers(("actual", label), values, task=own, **how)
    chosen = recorded.recommendation
    named = {"headline": headline_label(setting), "recommended": chosen.design or chosen.nearest}
    for name, label in named.items():
        values = designs.loc[label, [*SIMULATED, *DETAILS]].to_dict() | {"label": label}
        about = f"effect of {options.effect:.0%}, simulated panels"
        yield from setting.numbers(name, values, OF_DESIGN, tasks[label], quantity=about)
    checks = varying(calibrated).query("not targeted")
    met = (checks["simulated"] - checks["panel"]).abs() <= DEVIATIONS * checks["spread"]
    means = designs[["centred_coverage", "published_centred_coverage"]].dropna().mean()
    values = {
        "designs": len(designs),
        "processes": len(plan.processes()),
        "violations": len(plan.processes()) - len(options.effects),
        "largest_error": recorded.rows["coverage_mc"].max(),
        "covering": len(chosen.trusted),
        "effect": options.effect,
        "repetitions": options.repetitions,
        "slow_repetitions": options.slow_repetitions,
        "checks": len(checks),
        "checks_met": met.sum(),
        **dict(zip(("default", "published"), means, strict=True)),
    }
    yield from setting.numbers("summary", values, OF_ALL, task, quantity="the design tournament")
    verdict, second = recorded.sentences[0], runner_up_sentence(chosen, task.question.effect_scale)
    sentences = {
        "verdict": {"sentence": verdict, "clause": verdict.removesuffix(".")},
        "violations": {"sentence": broken},
        "calibration": {"sentence": calibrated.verdict},
    }
    if second:
        sentences["verdict"]["runner_up"] = second
    for name, parts in sentences.items():
        yield from setting.numbers(name, parts, OF_ALL, task, quantity=name)
    for name, row in calibrated.frame.set_index("moment")[[*OF_MOMENT]].iterrows():
        yield from setting.numbers(("moments", name), row, OF_MOMENT, task, quantity=name)
