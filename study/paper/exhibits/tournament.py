"""Which design would have found the effect: the design tournament on simulated panels like the study's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from study.core import capital, first_of
from study.diagnostics import Finding
from study.figures import performance_figure
from study.paper.exhibits.exhibit import Part, Piece, Setting, Traced, draw, exhibit
from study.paper.plan import NO_EFFECT, Task, effect_title
from study.paper.tournament import Recorded, asked_of, check_first, contest, read_record
from study.report import Block, Cell, Column, Line, Number, Table
from study.simulate.calibrate import DEVIATIONS, calibration
from study.simulate.recommendation import ERRORS, TOLERANCE, standing

EXHIBIT = "tournament"
# Of a process and design, as the record has them.
MEASURES = {
    "truth": Column("effect of the simulated panels", "effect"),
    "bias": Column("bias", "effect"),
    "rmse": Column("root mean squared error", "effect"),
    "coverage": Column("coverage of intervals under the default convention", "percent"),
    "published_coverage": Column("coverage of intervals under the published convention", "percent"),
    "rejects": Column("how often the interval excludes zero", "percent"),
    "mde": Column("minimum detectable effect, by the spread of estimates", "effect"),
    "pretest_rejects": Column("how often the test of effects before treatment rejects", "percent"),
    "bias_after": Column("bias where that test does not reject", "effect"),
    "coverage_after": Column("coverage where that test does not reject", "percent"),
    "repetitions": Column("simulated panels", "count"),
}
# Of a design, with the effect of the plan and without one.
OF_DESIGN = MEASURES | {
    "size": Column("how often the interval excludes zero without an effect", "percent"),
    "bias_without": Column("mean of estimates without an effect", "effect"),
    "power": Column("how often the interval excludes zero with the effect", "percent"),
    "label": Column("name", "text"),
}
SHOWN = (
    *("bias", "rmse", "coverage", "published_coverage", "size", "power", "mde"),
    *("pretest_rejects", "bias_after", "repetitions"),
)
HEADINGS = (
    *("Bias", "RMSE", "Coverage", "(Published)", "Size", "Power", "MDE", "Pre-test", "Bias after", "Panels"),
)
OF_ALL = {
    "sentence": Column("what is said of it", "text"),
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
        "coverage of the mean estimate under the default convention, mean of designs", "percent"
    ),
    "published": Column("the same under the published conventions", "percent"),
}
OF_MOMENT = {
    "panel": Column("in the panel"),
    "simulated": Column("mean of simulated panels"),
    "spread": Column("standard deviation between simulated panels"),
}


@exhibit("Which design would have found the effect", Part.OBJECTIONS)
def tournament(setting: Setting) -> Iterator[Piece]:
    """Yield what designs do on simulated panels, from the record, whose first replication is repeated."""
    plan, asked = setting.plan, asked_of(setting.plan)
    recorded = read_record(plan, setting.panel)
    made = contest(plan, setting.panel, recorded)
    check_first(plan, made, recorded.rows)
    calibrated = calibration(made.calibrated, seed=plan.seed)
    by_process = {
        str(name): rows.set_index("design") for name, rows in recorded.rows.groupby("process", sort=False)
    }
    at, none = by_process[effect_title(asked.effect)], by_process[NO_EFFECT]
    designs = at.assign(size=none["rejects"], bias_without=none["bias"], power=at["rejects"])
    task = plan.ask(asked.question)
    yield _table(setting, designs, task)
    yield _of_violations(setting, by_process, task)
    yield _of_calibration(setting, calibrated)
    effects = recorded.rows[recorded.rows["process"].isin(plan.calibrated_processes())]
    yield draw(
        EXHIBIT,
        f"Designs on panels simulated like the study's. Above: coverage of {plan.level:.0%} intervals and RMSE, over "
        "all effects. Below: how often each design's interval excludes zero, by the effect.",
        performance_figure(
            effects, table=standing(effects, plan.level), scale=task.question.effect_scale, level=plan.level
        ),
        "A point a design by RMSE and coverage, with a line at nominal coverage, and below it a curve a design that "
        "rises with the effect.",
    )
    yield from recorded.sentences
    broken = broken_by(recorded, plan.level, plan.calibrated_processes())
    yield broken
    yield from calibrated.sentences[:2]
    yield from _numbers(setting, recorded, by_process, designs, broken, calibrated)


def headline_label(setting: Setting) -> str:
    """Return the headline's label, or that of the plan's file where another headline is not in the tournament."""
    labels = [row.label for row in setting.plan.entrants]
    label = setting.plan.headline.label
    return label if label in labels else labels[0]


def _table(setting: Setting, designs: pd.DataFrame, task: Task) -> Table:
    plan, asked = setting.plan, asked_of(setting.plan)
    rows = [row.label for row in plan.rows]
    lines = {label: Line(str(label), [*_cells(row)]) for label, row in designs.iterrows()}
    groups = {
        "Designs of the tables": [line for label, line in lines.items() if label in rows],
        "Other designs": [line for label, line in lines.items() if label not in rows],
    }
    errors = max(designs[f"{name}_mc"].max() for name in ("coverage", "rejects"))
    return Table(
        name=EXHIBIT,
        caption=f"What designs find on panels simulated like the study's, with an effect of {asked.effect:.0%}",
        headings=HEADINGS,
        spans=[("Estimates", 2), ("Intervals cover, %", 2), ("Reject, %", 2), ("", 4)],
        blocks=[Block(title, own) for title, own in groups.items() if own],
        notes=[
            f"Estimates: {plan.scales[task.scale].lower()}, {plan.outcomes[task.outcome].lower()}. Intervals are at "
            f"{plan.level:.0%}; published: under the convention of the design's reference. Size: without an effect. "
            "MDE: minimum detectable effect (80% power), by the spread of estimates. Pre-test: percent in which the "
            "largest effect before treatment is significant at 5%; bias after: where it is not. Monte-Carlo standard "
            f"errors of percentages are at most {100 * errors:.1f} points."
        ],
    )


def _cells(row: pd.Series) -> Iterator[Cell]:
    for name in SHOWN:
        cell = OF_DESIGN[name].cell(row[name])
        yield (
            cell._replace(bracketed=True)
            if name == "published_coverage" and isinstance(cell, Number)
            else cell
        )


def _of_violations(setting: Setting, by_process: Mapping[str, pd.DataFrame], task: Task) -> Table:
    plan, asked = setting.plan, asked_of(setting.plan)
    calibrated = effect_title(asked.effect)
    shown = {"as calibrated": by_process[calibrated]} | {
        title: rows for title, rows in by_process.items() if title not in plan.calibrated_processes()
    }
    labels = [row.label for row in plan.entrants]

    def panel(title: str, name: str, factor: int, digits: int) -> Block:
        rows = {label: [factor * by.loc[label, name] for by in shown.values()] for label in labels}
        return Block(title, [Line(label, [Number(v, digits) for v in own]) for label, own in rows.items()])

    units = task.question.effect_scale
    key = "; ".join(f"({number}) {title}" for number, title in enumerate(shown, 1))
    return Table(
        name=f"{EXHIBIT}-violations",
        caption=f"Designs where assumptions fail, on simulated panels with an effect of {asked.effect:.0%}",
        headings=[f"({number})" for number in range(1, len(shown) + 1)],
        blocks=[
            panel(f"Panel A. Bias, {units.column}", "bias", units.factor, 0 if units.percent else 2),
            panel(f"Panel B. Coverage of {plan.level:.0%} intervals, %", "coverage", 100, 0),
        ],
        notes=[f"{capital(key)}."],
    )


def _of_calibration(setting: Setting, calibrated: Finding) -> Table:
    lines = [
        Line(row["moment"], [*(Number(row[name]) for name in OF_MOMENT), "yes" if row["targeted"] else ""])
        for row in varying(calibrated).to_dict("records")
    ]
    return Table(
        name=f"{EXHIBIT}-calibration",
        caption="The panel beside panels that are simulated like it",
        headings=["Panel", "Simulated", "Spread", "Targeted"],
        blocks=[Block("", lines)],
        notes=[
            "Simulated: mean of simulated panels without an effect of their own; spread: standard deviation between "
            "them. Targeted: the process was fitted to it; the other moments are a check. Numbers of adopters a year "
            "are the panel's own."
        ],
    )


def varying(calibrated: Finding) -> pd.DataFrame:
    """Return the moments of a calibration that simulated panels differ in; numbers of adopters a year are given."""
    return calibrated.frame[calibrated.frame["spread"] > 0]


def broken_by(recorded: Recorded, level: float, calibrated: Sequence[str]) -> str:
    """Say under which violations the intervals of the recommended design, or of the nearest, cover too seldom."""
    label = recorded.recommendation.design or recorded.recommendation.nearest
    rows = recorded.rows[(recorded.rows["design"] == label) & ~recorded.rows["process"].isin([*calibrated])]
    enough = rows["coverage"] + ERRORS * rows["coverage_mc"] + TOLERANCE >= level
    failing = rows[~enough].sort_values("coverage", kind="stable")
    named = [f"{row['process']} ({row['coverage']:.0%})" for row in failing.to_dict("records")]
    return (
        f"Under {len(failing) or 'none'} of the {len(rows)} other processes the intervals of {label} cover too seldom"
        f"{f': {first_of(named)}' if named else ''}."
    )


def _numbers(
    setting: Setting,
    recorded: Recorded,
    by_process: Mapping[str, pd.DataFrame],
    designs: pd.DataFrame,
    broken: str,
    calibrated: Finding,
) -> Iterator[Traced]:
    plan, asked = setting.plan, asked_of(setting.plan)
    task = plan.ask(asked.question)
    tasks = {row.label: plan.task(task.event, task.outcome, task.scale, row) for row in plan.entrants}
    for process, rows in by_process.items():
        for label, row in rows[[*MEASURES]].to_dict("index").items():
            about = f"{process}, simulated panels"
            yield from setting.numbers((EXHIBIT, process, label), row, MEASURES, tasks[label], quantity=about)
    chosen = recorded.recommendation
    named = {"headline": headline_label(setting), "recommended": chosen.design or chosen.nearest}
    for name, label in named.items():
        values = designs.loc[label, [*SHOWN, "bias_without"]].to_dict() | {"label": label}
        about = f"effect of {asked.effect:.0%}, simulated panels"
        yield from setting.numbers((EXHIBIT, name), values, OF_DESIGN, tasks[label], quantity=about)
    checks = varying(calibrated).query("not targeted")
    met = (checks["simulated"] - checks["panel"]).abs() <= DEVIATIONS * checks["spread"]
    means = designs[["centred_coverage", "published_centred_coverage"]].dropna().mean()
    values = {
        "designs": len(designs),
        "processes": len(by_process),
        "violations": len(by_process) - len(asked.effects),
        "largest_error": recorded.rows["coverage_mc"].max(),
        "covering": len(chosen.trusted),
        "effect": asked.effect,
        "repetitions": asked.repetitions,
        "slow_repetitions": asked.slow_repetitions,
        "checks": len(checks),
        "checks_met": met.sum(),
        **dict(zip(("default", "published"), means, strict=True)),
    }
    yield from setting.numbers((EXHIBIT, "summary"), values, OF_ALL, task, quantity="the design tournament")
    sentences = {"verdict": recorded.sentences[0], "violations": broken, "calibration": calibrated.verdict}
    for name, sentence in sentences.items():
        yield from setting.numbers((EXHIBIT, name), {"sentence": sentence}, OF_ALL, task, quantity=name)
    for row in calibrated.frame.to_dict("records"):
        values = {name: row[name] for name in OF_MOMENT}
        yield from setting.numbers(
            (EXHIBIT, "moments", row["moment"]), values, OF_MOMENT, quantity=row["moment"]
        )
