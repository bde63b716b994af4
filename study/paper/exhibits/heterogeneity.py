"""For whom the effect of the main event is larger, by group, and rules for giving grants."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from study.core import QuestionError, capital, p_is
from study.diagnostics import Finding
from study.heterogeneity.page import Report, caveats, report, short_label, usual_groupings
from study.heterogeneity.scored import plain
from study.paper import Part, Piece, Setting, Task, Traced, exhibit
from study.report import COLUMNS, REFUSED, Block, Column, Line, Table, cells

LEARNER = "forest"
# Half as many draws of the folds as `study heterogeneity` makes, and no causal forest: a minute or two.
REPETITIONS = 5
COLUMNS_HERE = {
    name: column._replace(digits=2) for name, column in COLUMNS.items() if column.kind in ("effect", "error")
} | {
    "value": Column("what a grant adds", "effect", 2),
    "p_pairs": Column("p-value of all pairs", "p"),
    "p_random": Column(
        "smallest p-value of a rule against random grants, adjusted for all pairs of rules", "p"
    ),
    "p_equal": Column("p-value of the Wald test that all effects are equal", "p"),
    "detectable_difference": Column("minimum detectable difference", "effect", 2),
    "budget": Column("grants that rules give", "count"),
    "differ": Column("significantly different", "count"),
    "n_treated": Column("treated units", "count"),
    "n_units": Column("units", "count"),
}
# A band on fewer degrees of freedom says nothing but that.
LEAST_DEGREES = 4
# What stands in the columns of the table, by kind of line.
OF_GROUP = ("estimate", "std_error", "band_low", "band_high", "", "mde", "n_treated", "n_units")
OF_RULE = ("value", "std_error", "conf_low", "conf_high")
OF_PAIRS = ("", "", "", "", "p_pairs")


@exhibit("Heterogeneity of the effect", Part.EFFECTS)
def heterogeneity(setting: Setting) -> Iterator[Piece]:
    """Yield the table of effects by group, or why there is none."""
    plan = setting.plan
    # In the outcome's own units, which grants are counted in.
    task = plan.with_level().ask(f"{setting.event.label}/{setting.outcome}")
    how: Any = {"level": plan.level, "draws": plan.band_draws, "seed": plan.seed, "event": task.event.called}
    how |= {"learner": LEARNER, "repetitions": REPETITIONS, "analyses": ("groups", "policy")}
    try:
        sample = task.question.sample(setting.panel)
        analyses = report(sample, by=usual_groupings(sample, task.strata), **how)
    except QuestionError as refusal:
        yield f"Not made: {refusal}"
        return
    findings = {name: _with_bands(f) if f in analyses.groups else f for name, f in analyses.findings.items()}
    analyses = replace(analyses, findings=findings)
    if analyses.groups:
        yield _table(setting, task, analyses)
        yield from _numbers(setting, task, analyses)
        # The test alone; what differs most is in the table.
        yield from (f"{finding.verdict.split(';')[0].rstrip('.')}." for finding in analyses.findings.values())
        yield from caveats(analyses.sample, analyses.event)
        yield from _left_out(analyses)
    yield from (f"Not made: {reason}" for reason in analyses.refused.values())


def _table(setting: Setting, task: Task, analyses: Report) -> Table:
    plan, blocks = setting.plan, []
    for finding in analyses.groups:
        wald = finding["p_equal"]
        equal = "" if math.isnan(wald) else f" (all equal, Wald: {p_is(wald)})"
        lines = [_line(label, values, OF_GROUP) for label, values in _groups(finding)]
        if _is_tested(finding):
            lines.append(_line("All pairs of groups", {"p_pairs": finding["pairs"].p_value}, OF_PAIRS))
        blocks.append(Block(f"By {plain(finding['by'])}{equal}", lines))
    notes = [
        f"Average effects on the treated: the change of {plan.text.outcome} from the first to the last period. Doubly "
        f"robust scores by {LEARNER}s, {REPETITIONS} draws of the folds; standard errors in parentheses, clustered by "
        f"{task.question.cluster or plan.text.unit}. Low, High: simultaneous {100 * plan.level:g}% band over groups; "
        f"{REFUSED} : fewer than {LEAST_DEGREES} degrees of freedom. p: adjusted for all pairs. MDE: minimum "
        "detectable effect, pointwise."
    ]
    if rules := analyses.findings.get("policy"):
        lines = [_line(capital(row["rule"]), row, OF_RULE) for row in rules.frame.to_dict("records")]
        lines.append(_line("Any rule against random", {"p_pairs": against_random(rules)}, OF_PAIRS))
        lines.append(_line("All pairs of rules", {"p_pairs": rules["pairs"].p_value}, OF_PAIRS))
        blocks.append(Block(f"What a grant adds, by rule for {rules['budget']} grants", lines))
        units = plan.text.units
        notes.append(f"Rules give grants to {rules['candidates']} {units}; their intervals are pointwise.")
    return Table(
        name="heterogeneity",
        caption=f"{task.event.short}: effects by group, and what a grant adds by rule",
        headings=["Effect", "(SE)", "Low", "High", "p", "MDE", "Treated", "All"],
        blocks=blocks,
        notes=notes,
    )


def _line(label: str, values: Mapping[str, Any], columns: tuple[str, ...]) -> Line:
    shown = iter(cells(COLUMNS_HERE, {name: values[name] for name in columns if name}))
    line = [next(shown) if name else "" for name in columns]
    if math.isnan(values.get("band_low", 0.0)):
        line[2] = REFUSED
    return Line(label, line + [""] * (len(OF_GROUP) - len(line)))


def _groups(finding: Finding) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the groups that have an effect, with its values by column."""
    known = finding.frame[finding.frame["estimate"].notna()]
    for row in known.assign(mde=finding["fit"].minimum_detectable_effect()).to_dict("records"):
        yield short_label(finding["by"], row["group"]), {name: row[name] for name in OF_GROUP if name}


def _with_bands(finding: Finding) -> Finding:
    """Return effects by group without the bands that rest on too few degrees of freedom."""
    few = finding["fit"].degrees_of_freedom < LEAST_DEGREES
    frame = finding.frame.copy()
    frame.loc[frame.index[: len(few)][few], ["band_low", "band_high"]] = math.nan
    return replace(finding, frame=frame)


def against_random(rules: Finding) -> float:
    """Return the smallest p-value of a rule against random grants, adjusted for all pairs of rules."""
    return float(rules.frame["p_adjusted_less_random"].min())


def _is_tested(finding: Finding) -> bool:
    """Say whether there is a test of all pairs of groups."""
    return finding["pairs"] is not None and not math.isnan(finding["pairs"].p_value)


def _left_out(analyses: Report) -> list[str]:
    named = [
        f"{row.group} ({row.n_treated} treated of {row.n_units})"
        for finding in analyses.groups
        for row in finding.frame[finding.frame["estimate"].isna()].itertuples()
    ]
    return [f"Too few for an effect: {', '.join(dict.fromkeys(named))}."] if named else []


def _numbers(setting: Setting, task: Task, analyses: Report) -> Iterator[Traced]:
    question = f"{task.event.label}/{task.outcome}"
    command = shlex.join(["study", "heterogeneity", question, "--repetitions", str(REPETITIONS)])

    def numbers(quantity: str, values: Mapping[str, Any], *parts: Any) -> Iterator[Traced]:
        return setting.numbers(parts, values, COLUMNS_HERE, task, quantity=quantity, command=command)

    for finding in analyses.groups:
        by, pairs = finding["by"], finding["pairs"]
        for label, values in _groups(finding):
            yield from numbers(f"effect on the treated by {by}: {label}", values, by, label)
        if _is_tested(finding):
            values = {"p_pairs": pairs.p_value, "p_equal": finding["p_equal"]}
            values["detectable_difference"] = pairs.detectable[pairs.largest]
            yield from numbers(f"groups by {by}", values, by)
    differ = sum(finding["differ"] for finding in analyses.groups)
    yield from numbers("groupings whose effects differ", {"differ": differ}, "summary")
    if rules := analyses.findings.get("policy"):
        for rule, row in rules.frame.set_index("rule")[[*OF_RULE]].iterrows():
            yield from numbers(f"grants {rule}", row, "policy", rule)
        values = {
            "p_pairs": rules["pairs"].p_value,
            "p_random": against_random(rules),
            "budget": rules["budget"],
            "differ": len(rules["differ_from_random"]),
        }
        yield from numbers("rules for giving grants, against giving them at random", values, "policy")
