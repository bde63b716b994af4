"""How a value is written in tables and in texts by what it is: decimals, percent and small p-values in one place."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from string import ascii_uppercase
from typing import Any, Literal, NamedTuple

from study.core import SMALLEST_P, decimals, fixed, p_text
from study.estimates import Effect
from study.panel import Scale
from study.report.latex import MINUS
from study.report.table import Block, Cell, Line, Number, error

STANDARD_ERRORS: dict[str, str] = {
    "jackknife": "standard errors that leave out each cluster in turn, t distribution with the degrees of freedom of "
    "the clusters on both sides of the comparison",
    "bell_mccaffrey": "standard errors that leave out each cluster in turn, t distribution with Bell and McCaffrey's "
    "degrees of freedom, which follow from the clusters' weights",
    "pooled": "standard errors of one variance for treated and comparison clusters, t distribution with C - 2 degrees "
    "of freedom for C clusters",
    "CR0": "influence-function standard errors without a small-sample factor, normal critical values",
    "CR1": "standard errors with the factor G/(G-1)",
    "CR1_fixest": "regression standard errors with fixest's small-sample factor and t(G-1)",
    "CR1_areg": "regression standard errors with the small-sample factor that counts unit effects and t(G-1)",
    "unadjusted": "standard errors of linearmodels for independent errors of equal variance",
    "robust": "standard errors of linearmodels for independent errors",
    "clustered": "standard errors of linearmodels, by cluster",
    "twoway": "standard errors of linearmodels, by cluster and by period",
    "driscoll_kraay": "standard errors of Driscoll and Kraay as linearmodels has them, by period",
    "placebo": "standard deviation of effects on comparison units taken as treated, normal critical values",
    "parametric_bootstrap": "standard deviation of effects in samples from the fitted model, normal critical values",
}
UNCLUSTERED = ("unadjusted", "robust", "driscoll_kraay")

POWER_OF: dict[str, str] = {
    "level": "the counterfactual mean",
    "proportional": "the counterfactual mean",
    "log1p": "one plus the mean before treatment",
}
LETTERS = ascii_uppercase
REFUSED = "–"
A_DASH = f"{REFUSED} : refused."


def refused_notes(reasons: Iterable[str]) -> list[str]:
    """Say what a dash stands for, with each reason once; nothing where there is none."""
    once = " ".join(reason for reason in dict.fromkeys(reasons) if reason)
    return [f"{A_DASH} {once}"] if once else []


def lettered(lines: Mapping[str, Sequence[Line]] | Iterable[tuple[str, Sequence[Line]]]) -> list[Block]:
    """Return lines by title as the panels of a table, each with its letter."""
    panels = zip(LETTERS, lines.items() if isinstance(lines, Mapping) else lines, strict=False)
    return [Block(f"Panel {letter}. {title}", own) for letter, (title, own) in panels]


def p_cell(value: float) -> Cell:
    """Return a p-value as a cell: three decimals, or that it is below them."""
    return f"<{SMALLEST_P:g}" if value < SMALLEST_P else Number(value)


Kind = Literal["effect", "error", "p", "count", "number", "percent", "text"]
EFFECTS = ("effect", "error")
ABSENT, UNBOUNDED = "(none)", "(unbounded)"
# What values are multiplied by, and their decimals, where a column does not say these.
PRINTED: dict[str, tuple[int, int]] = {"percent": (100, 1), "count": (1, 0)}


class Column(NamedTuple):
    """A column of a frame: what it is in words, and how its values are written.

    Effects and their errors have the unit and decimals of their scale in texts; in tables they have three decimals.
    """

    words: str
    kind: Kind = "number"
    digits: int = 3

    def text(self, value: Any, scale: Scale) -> str:
        """Return a value as a text prints it, without its unit."""
        if self.kind in EFFECTS:
            return scale.number(float(value))
        if self.kind == "text":
            return str(value)
        if self.kind == "p":
            return p_text(float(value))
        if not math.isfinite(value):
            return ABSENT if math.isnan(value) else UNBOUNDED
        factor, digits = PRINTED.get(self.kind, (1, self.digits))
        return fixed(factor * float(value), digits).replace("-", MINUS)

    def cell(self, value: Any, scale: Scale | None = None, *beside: float) -> Cell:
        """Return a value as a cell of a table, effects and errors in the unit of their scale; NaN is empty.

        With what an effect stands ``beside`` it has more decimals where all of these would be zero.
        """
        if self.kind == "text":
            return str(value)
        if self.kind == "p":
            return "" if math.isnan(value) else p_cell(float(value))
        effect = self.kind in EFFECTS
        factor, digits = _printed(scale, self.digits) if effect else PRINTED.get(self.kind, (1, self.digits))
        if effect and beside:
            digits = decimals(digits, *(factor * each for each in (value, *beside)))
        return Number(factor * float(value), digits, bracketed=self.kind == "error")

    def unit(self, scale: Scale) -> str:
        """Return the unit in which a text prints a value, if it has one."""
        if self.kind in EFFECTS:
            return scale.printed
        return "percent" if self.kind == "percent" else ""


def _printed(scale: Scale | None, digits: int) -> tuple[int, int]:
    """Return what effects of a scale are multiplied by in a table, and their decimals: percent has two fewer."""
    return (scale.factor, max(digits - 2, 0)) if scale and scale.percent else (1, digits)


def cells(columns: Mapping[str, Column], values: Mapping[str, Any], scale: Scale | None = None) -> list[Cell]:
    """Return the values of one line, by column, as cells; effects have decimals in which not all are zero."""
    beside = [float(value) for name, value in values.items() if columns[name].kind in EFFECTS]
    return [columns[name].cell(value, scale, *beside) for name, value in values.items()]


# The columns that more than one table, finding or answer has; an exhibit says its own beside them.
COLUMNS: dict[str, Column] = {
    "estimate": Column("estimate", "effect"),
    "std_error": Column("standard error", "error"),
    "p_value": Column("p-value", "p"),
    "conf_low": Column("lower end of the interval", "effect"),
    "conf_high": Column("upper end of the interval", "effect"),
    "band_low": Column("lower end of the simultaneous band", "effect"),
    "band_high": Column("upper end of the simultaneous band", "effect"),
    "mde": Column("minimum detectable effect", "effect"),
    "n_units": Column("units in the sample", "count"),
    "n_treated": Column("units first treated inside the window", "count"),
    "n_cohorts": Column("adoption periods", "count"),
    "n_clusters": Column("clusters", "count"),
    "n_obs": Column("observations", "count"),
    "randomization_p": Column("randomization p-value", "p"),
    "leads_p_wald": Column("p-value of the joint Wald test of effects before treatment", "p"),
    "leads_rank": Column("rank of the joint Wald test of effects before treatment", "count"),
    "leads_p_largest": Column("p-value of the largest absolute t of effects before treatment", "p"),
    "p_joint": Column("p-value of the joint test", "p"),
    "p_holm": Column("p-value by Holm's method", "p"),
    "share": Column("share", "percent"),
    "count": Column("count", "count"),
}


def effect_values(effect: Effect) -> dict[str, float]:
    """Return what a text may say of an effect, by column."""
    columns = ("estimate", "std_error", "conf_low", "conf_high", "p_value", "mde", "n_units", "n_treated")
    return {name: getattr(effect, name) for name in columns}


def effects_between(
    label: str,
    effects: Sequence[Effect | None],
    digits: int = 3,
    stars: Sequence[float] = (),
    letters: int = 0,
    scale: Scale | None = None,
) -> list[Line]:
    """Return the line of effects, a dash where there is none, above that of their standard errors.

    Both are in the unit of their scale, if it is given. An effect has a star for each level that its p-value is below.
    A label of more than so many ``letters`` goes on beside the errors.
    """
    pairs = [_with_error(effect, scale, digits, stars) for effect in effects]
    first, *more = textwrap.wrap(label, letters, break_on_hyphens=False) if letters else [label]
    return [Line(first, [size for size, _ in pairs]), Line(" ".join(more), [below for _, below in pairs])]


def effects_beside(
    label: str,
    effects: Sequence[Effect | None],
    before: Sequence[Cell] = (),
    after: Sequence[Cell] = (),
    scale: Scale | None = None,
) -> Line:
    """Return one line of effects, a dash where there is none, each with its standard error in the next column."""
    pairs = (_with_error(effect, scale) for effect in effects)
    return Line(label, [*before, *itertools.chain(*pairs), *after])


def _with_error(
    effect: Effect | None, scale: Scale | None, digits: int = 3, stars: Sequence[float] = ()
) -> tuple[Cell, Cell]:
    """Return an effect and its standard error in the unit of their scale, a dash and nothing where there is none."""
    if effect is None or not effect.exists:
        return REFUSED, ""
    factor, digits = _printed(scale, digits)
    size, std_error = factor * effect.estimate, factor * effect.std_error
    digits = decimals(digits, size, std_error)
    starred = "*" * sum(effect.p_value < level for level in stars)
    return Number(size, digits, stars=starred), error(std_error, digits)
