"""The main event's effect beside effects where or when there should be none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from study.diagnostics.placebo_dates import PlaceboDates
from study.diagnostics.placebo_outcomes import PlaceboOutcomes
from study.estimates import Effect
from study.figures import draw_dots
from study.panel import Scale
from study.paper.exhibits.exhibit import Drawn, Exhibited, Setting, Traced, draw, panel_title
from study.paper.exhibits.verdicts import found, on_scale, scale_title, task_of, traced
from study.report import LETTERS, Block, Cell, Line, Number, Span, Table, error, p_cell, p_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EXHIBIT = "placebos"
DIFFERENCE = " less that on "


@dataclass(frozen=True, eq=False)
class Placebos:
    """What there is on one scale: effects on other outcomes, at other dates, or why not.

    Attributes
    ----------
    scale : str
    outcomes : PlaceboOutcomes or None
    dates : PlaceboDates or None
    refused : tuple of str
    """

    scale: str
    outcomes: PlaceboOutcomes | None
    dates: PlaceboDates | None
    refused: tuple[str, ...]

    @property
    def whole(self) -> Effect:
        """The effect on the outcome itself, at the true dates."""
        made = self.outcomes or self.dates
        assert made is not None
        return made.whole

    @property
    def rows(self) -> tuple[Effect, ...]:
        """The placebo effects: outcomes, then dates."""
        made = [one.refits.rows for one in (self.outcomes, self.dates) if one is not None]
        return tuple(row for rows in made for row in rows)


def placebos(setting: Setting) -> Exhibited:
    """Return the table and figure of placebo outcomes and placebo dates, on each scale."""
    made = [of_scale(setting, scale) for scale in setting.plan.scales]
    shown = [one for one in made if one.rows]
    if not shown:
        return Exhibited()
    return Exhibited(
        tables=(_table(setting, shown),),
        figures=(_drawn(setting, shown),),
        numbers=tuple(traced_ for one in shown for traced_ in _numbers(setting, one)),
        sentences=tuple(sentence for one in made for sentence in _sentences(one)),
    )


def of_scale(setting: Setting, scale: str) -> Placebos:
    """Return the placebo effects on a scale."""
    asked = found(setting, scale, "placebo_outcomes", PlaceboOutcomes) if setting.placebos else None
    dates = found(setting, scale, "placebo_dates", PlaceboDates)
    return Placebos(
        scale,
        asked if isinstance(asked, PlaceboOutcomes) else None,
        dates if isinstance(dates, PlaceboDates) else None,
        tuple(why for why in (asked, dates) if isinstance(why, str)),
    )


def _table(setting: Setting, shown: Sequence[Placebos]) -> Table:
    plan = setting.plan
    task = task_of(setting, shown[0].scale)
    blocks = [
        Block(f"Panel {letter}. {plan.scales[one.scale]}", _lines(setting, one))
        for letter, one in zip(LETTERS, shown, strict=False)
    ]
    notes = [
        f"Effects of the {task.event.title}, {task.row.label}, averaged over event times 0 to the horizon; standard "
        f"errors in parentheses, clustered by {task.question.cluster or plan.text.unit}. MDE: the minimum detectable "
        f"effect, which a test at {1 - task.level:.0%} finds with 80% power. Treated of all {plan.text.units}.",
    ]
    if any(one.outcomes for one in shown):
        notes.append(
            "Placebo outcomes: the same event, question and design on papers of fields that need few accelerators, in "
            "the panel of that field; p by Holm's method over them. Difference: the effect on the outcome less that "
            "on the placebo, with its error by the joint influence of both. It is the effect of the machine only if "
            "growth without the machine would have been the same in both fields."
        )
    if any(one.dates for one in shown):
        notes.append(
            "Placebo dates: events moved earlier by k periods, with outcomes before the true event only, which leaves "
            "event times 0 to k-1, so that they are not compared with the average effect. The joint test is of all of "
            f"them by the largest t ({plan.band_draws} draws); their other p-values are not adjusted."
        )
    return Table(
        name=EXHIBIT,
        caption=f"Placebos: effects of the {task.event.title} where or when there should be none",
        headings=["Effect", "(SE)", "p", "Difference", "(SE)", "p", "MDE", "Treated", "All"],
        spans=[Span("Effect on it", 3), Span("Outcome less placebo", 3), Span("", 3)],
        blocks=blocks,
        notes=notes,
        widths=[3.7],
    )


def own_name(setting: Setting) -> str:
    """Return what the question's own outcome is called beside placebos."""
    return f"{panel_title(setting.panel)} (the outcome)"


def _lines(setting: Setting, one: Placebos) -> list[Line]:
    lines = [Line(own_name(setting), _cells(one.whole, one.whole.p_value))]
    if one.outcomes is not None:
        told = zip(
            one.outcomes.refits.rows,
            one.outcomes.p_holm,
            one.outcomes.difference,
            one.outcomes.difference_error,
            one.outcomes.difference_p,
            strict=True,
        )
        for row, p_value, gap, gap_error, gap_p in told:
            difference = [Number(float(gap)), error(float(gap_error)), p_cell(float(gap_p))]
            lines.append(Line(_capital(row.label), _cells(row, float(p_value), difference)))
    if one.dates is not None:
        lines += [Line(f"Events {row.label}", _cells(row, row.p_value)) for row in one.dates.refits.rows]
        lines.append(Line("All placebo dates", ["", "", p_cell(one.dates.p_joint), *[""] * 6]))
    return lines


def _cells(row: Effect, p_value: float, difference: Sequence[Cell] = ("", "", "")) -> list[Cell]:
    return [
        Number(row.estimate),
        error(row.std_error),
        p_cell(p_value),
        *difference,
        Number(row.mde),
        Number(row.n_treated, 0),
        Number(row.n_units, 0),
    ]


def _drawn(setting: Setting, shown: Sequence[Placebos]) -> Drawn:
    task = task_of(setting, shown[0].scale)
    return draw(
        EXHIBIT,
        f"Effects of the {task.event.title} on the outcome (circle), on placebo outcomes and at placebo dates "
        f"(squares), {task.row.label}, with pointwise {task.level:.0%} intervals. Placebo dates move events earlier by "
        "the number of periods, and use only outcomes before the true event.",
        figure(setting, shown),
        "Dots with intervals, one row for the outcome and one for each placebo outcome and placebo date, side by side "
        "for each scale.",
    )


def figure(setting: Setting, shown: Sequence[Placebos]) -> Figure:
    """Draw a row for the outcome and one a placebo, an axis for each scale."""
    from study.figures import FULL
    from study.figures.canvas import canvas

    names = list(dict.fromkeys(row.label for one in shown for row in one.rows))
    with canvas(FULL, 1.1 + 0.22 * (1 + len(names))) as drawing:
        axes = drawing.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axis, letter, one in zip(axes, LETTERS, shown, strict=False):
            task = task_of(setting, one.scale)
            by_label = {row.label: row for row in one.rows}
            rows = [replace(one.whole, label=own_name(setting))]
            rows += [by_label.get(name, _missing(name)) for name in names]
            marked = [False, *[True] * len(names)]
            draw_dots(axis, rows, marked=marked, percent=Scale(one.scale).percent)
            axis.set_yticks(range(len(rows)), [_capital(row.label) for row in rows], fontsize=8)
            axis.set_xlabel(task.question.effect_scale.axis("papers"))
            axis.set_title(f"{letter}. {scale_title(one.scale)}", loc="left")
    return drawing


def _missing(label: str) -> Effect:
    return Effect(label)


def _numbers(setting: Setting, one: Placebos) -> Iterator[Traced]:
    task, scale = task_of(setting, one.scale), one.scale
    unit = Scale(scale).printed

    def told(row: Effect, what: str) -> list[tuple[str, str, str]]:
        return [
            ("Estimate", Scale(scale).number(row.estimate), f"effect {what}, {unit}"),
            (
                "Low",
                Scale(scale).number(row.conf_low),
                f"lower end of the interval of the effect {what}, {unit}",
            ),
            (
                "High",
                Scale(scale).number(row.conf_high),
                f"upper end of the interval of the effect {what}, {unit}",
            ),
            ("Mde", Scale(scale).number(row.mde), f"minimum detectable effect {what}, {unit}"),
        ]

    if one.outcomes is not None:
        made = one.outcomes
        for k, row in enumerate(made.refits.rows):
            gap, gap_error = float(made.difference[k]), float(made.difference_error[k])
            yield from traced(
                setting,
                EXHIBIT,
                task,
                ("placebo", scale, row.label),
                [
                    *told(row, f"on {row.label}"),
                    ("P", p_text(float(made.p_holm[k])), f"Holm's p-value of the effect on {row.label}"),
                    (
                        "Less",
                        Scale(scale).number(gap),
                        f"effect on the outcome less that on {row.label}, {unit}",
                    ),
                    (
                        "LessError",
                        Scale(scale).number(gap_error),
                        f"standard error of that difference, {unit}",
                    ),
                    ("LessP", p_text(float(made.difference_p[k])), "p-value of that difference"),
                ],
            )
        moved = str(len(made.moved))
        yield from traced(
            setting,
            EXHIBIT,
            task,
            ("placebo", scale),
            [("Moved", moved, "placebo outcomes that move with the event")],
        )
    if one.dates is not None:
        largest = max(one.dates.refits.rows, key=lambda row: abs(row.estimate))
        yield from traced(
            setting,
            EXHIBIT,
            task,
            ("placebo", scale, "dates"),
            [
                *told(largest, f"at the placebo date that moves most, {largest.label}"),
                ("P", p_text(one.dates.p_joint), "p-value of the joint test of all placebo dates"),
            ],
        )


def _sentences(one: Placebos) -> Iterator[str]:
    for made in (one.outcomes, one.dates):
        if made is not None:
            yield on_scale(one.scale, made.sentences[0])
    if one.outcomes is not None:
        yield from (on_scale(one.scale, told) for told in one.outcomes.sentences if DIFFERENCE in told)
    yield from (on_scale(one.scale, f"Not made: {why}") for why in one.refused)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
