"""How a headline moves if some never-treated units were treated, or treated units earlier than recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, QuestionError, checked
from study.diagnostics.refits import (
    Compared,
    Progress,
    Refits,
    answers,
    check,
    event_dates,
    headline,
    redated,
)
from study.diagnostics.trimming import Bound, Breakdown, Trimming, breakdown, clear, side, worst_cases
from study.estimates import Effect
from study.figures import draw_dots
from study.panel import Question, Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True, eq=False)
class Misclassification(Compared):
    """The headline under hidden treatment of never-treated units, and under dates that were recorded late.

    Attributes
    ----------
    suspects : int
        Number of never-treated units.
    corrected : tuple of Bound
        By share, if the hidden treatments have the average effect of the recorded ones: low equals high.
    worst : tuple of Bound
        By share, whichever units they are and whatever their effects.
    sign, significance : Breakdown
        Where the worst case loses the sign, and where its interval reaches zero (None where it already does).
    dates : Refits
        The headlines with all events 1, 2, ... periods earlier.
    refused : tuple of (str, str)
        Shares without an answer, with the reason.
    """

    suspects: int
    corrected: tuple[Bound, ...]
    worst: tuple[Bound, ...]
    sign: Breakdown
    significance: Breakdown | None
    dates: Refits
    refused: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """Heading."""
        return "Hidden treatment among the never-treated, and late dates"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What hidden treatment and late dates would do."""
        q = self.question
        return (
            self._lost("the sign of the estimate", self.sign),
            f"The effect on {q.outcome} is {self.scale.text(self.whole.estimate)} {self.scale.unit}, interval "
            f"{self.whole.interval(self.scale)}, taking the {self.suspects} never-treated units as recorded.",
            *self._corrected,
            *self._worst,
            *(
                [self._lost("the exclusion of zero from the interval", self.significance)]
                if self.significance is not None
                else [f"The {100 * self.level:g}% interval includes zero without any hidden treatment."]
            ),
            *self._late,
            *(f"Without an answer: {label}, because {reason}" for label, reason in self.refused),
            *self.dates.told,
        )

    @property
    def _corrected(self) -> list[str]:
        if not self.corrected:
            return []
        last = self.corrected[-1]
        return [
            "If hidden treatments in the comparison group began with the recorded ones and had the same average "
            "effect, the estimate is too near to zero and its sign is right: with a share of "
            f"{100 * last.share:g}% hidden the effect is {self.scale.text(last.low)}."
        ]

    @property
    def _worst(self) -> list[str]:
        if not self.worst:
            return []
        scale, some = self.scale, self.worst[len(self.worst) // 2]
        return [
            f"Whatever their effects, if at most {100 * some.share:g}% of the never-treated ({some.trimmed} units) are "
            f"in truth treated, the effect lies between {scale.text(some.low)} and {scale.text(some.high)}, and the "
            f"{100 * self.level:g}% interval for it is {scale.interval(some.conf_low, some.conf_high)}."
        ]

    def _lost(self, what: str, breakdown: Breakdown) -> str:
        if breakdown.share is None:
            return f"No share of hidden treatment loses {what}."
        of = f"{100 * breakdown.share:.2g}% of the never-treated ({breakdown.units} of {self.suspects} units)"
        if breakdown.refused:
            return f"The worst case keeps {what} up to {of}, from where there is no estimate: {breakdown.refused}"
        return f"In the worst case {of} suffice to lose {what}."

    @property
    def _late(self) -> list[str]:
        return [
            f"If all events were {row.label} than recorded, the effect is {self.scale.text(row.estimate)}, interval "
            f"{row.interval(self.scale)}, with {row.n_treated} treated units instead of {self.whole.n_treated}."
            for row in self.dates.rows
        ]

    def tidy(self) -> pd.DataFrame:
        """Return a row for each share and assumption, and for each date moved.

        ``kind`` is "same effect", "worst case" or "earlier dates"; ``low`` equals ``high`` where the effect is a
        point.
        """
        import pandas as pd

        bounds = [("same effect", b) for b in self.corrected] + [("worst case", b) for b in self.worst]
        rows = [
            {"kind": kind, "periods_earlier": 0, "share": b.share, "units_trimmed": b.trimmed}
            | {"low": b.low, "high": b.high, "conf_low": b.conf_low, "conf_high": b.conf_high}
            for kind, b in bounds
        ]
        rows += [
            {"kind": "earlier dates", "periods_earlier": int(row.label.split()[0]), "share": 0.0}
            | {"units_trimmed": 0, "low": row.estimate, "high": row.estimate}
            | {"conf_low": row.conf_low, "conf_high": row.conf_high}
            for row in self.dates.rows
        ]
        return pd.DataFrame(rows)

    def plot(self) -> Figure:
        """Draw the bounds by share of hidden treatment above the headlines with earlier dates."""
        from study.figures import BAND, COLOUR, GREY, HEIGHT, SECOND, WIDTH
        from study.figures.canvas import canvas, legend_above

        factor, rows = 100 if self.scale.percent else 1, (self.whole, *self.dates.rows)
        with canvas(WIDTH, HEIGHT + 0.75 + 0.2 * len(rows)) as figure:
            above, below = figure.subplots(2, 1, height_ratios=(HEIGHT - 0.6, 0.35 + 0.2 * len(rows)))
            table = self.tidy()
            worst, same = (table[table["kind"] == kind] for kind in ("worst case", "same effect"))
            share, limits = 100 * worst["share"], factor * worst[["conf_low", "conf_high", "low", "high"]]
            above.axhline(0, color=GREY, linewidth=0.8)
            above.fill_between(
                share,
                limits["conf_low"],
                limits["conf_high"],
                color=BAND,
                alpha=0.5,
                linewidth=0,
                label=f"{100 * self.level:g}% interval",
            )
            above.plot(share, limits["low"], "o-", color=COLOUR, markersize=3, label="worst-case bounds")
            above.plot(share, limits["high"], "o-", color=COLOUR, markersize=3)
            above.plot(
                100 * same["share"],
                factor * same["low"],
                "s--",
                color=SECOND,
                markersize=3,
                label="same effect",
            )
            above.set_xlabel("Hidden treatment, % of the never-treated")
            above.set_ylabel(self.scale.axis())
            draw_dots(below, rows, percent=self.scale.percent)
            below.set_xlabel(f"{self.scale.axis()} ({100 * self.level:g}% intervals)")
            legend_above(figure, above, 3, 7.5)
        return figure


@checked
def misclassification(
    sample: Sample,
    design: str,
    *,
    shares: Sequence[float] = SHARES,
    periods_late: int = 2,
    level: float = 0.95,
    progress: Progress = None,
    **options: Any,
) -> Misclassification:
    """Ask what the headline would be if some never-treated units were treated, or dates were recorded late.

    If a share pi of the comparison group is treated when the treated are and has their average effect, the
    headline is (1 - pi) times the effect (Lewbel 2007; Denteh and Kedagni 2022), and on the proportional scale an
    effect p is seen as p (1 - pi) / (1 + pi p). Without any assumption on their effects, the change of the
    comparison group without treatment lies between its means after trimming the share pi of the never-treated that
    raises, or lowers, the headline most (Horowitz and Manski 1995). The never-treated are ordered by their
    influence on the headline, and the headline is refitted without them. The order is exact with
    comparison="never_treated" and neither covariates nor gaps; elsewhere it is right to first order, and the worst
    case can be a little wider (Broderick, Giordano and Meager 2020). Standard errors carry the estimation of the
    trimming quantile (Lee 2009, Proposition 3), and intervals cover the effect and not the whole set (Imbens and
    Manski 2004).

    Parameters
    ----------
    sample : Sample
    design : str
    shares : sequence of float
        Largest shares of the never-treated (of their weight) that are in truth treated, in [0, 1); 0 is added.
    periods_late : int
        Events are also moved 1, ..., this many periods earlier.
    level : float
        Coverage of the intervals.
    progress : callable, optional
        Called after each refit.
    **options
        Options of the design.

    Returns
    -------
    Misclassification

    Raises
    ------
    QuestionError
        If the event is not absorbing, nobody is never treated, a share or number of periods is out of range, or the
        design refuses the sample. Refits that it refuses are listed.

    References
    ----------
    Lewbel, A. (2007). Estimation of average treatment effects with misclassification. Econometrica 75(2).
    Denteh, A., and Kedagni, D. (2022). Misclassification in difference-in-differences models. arXiv:2207.11890.
    Horowitz, J. L., and Manski, C. F. (1995). Identification and robustness with contaminated and corrupted data.
    Econometrica 63(2).
    Broderick, T., Giordano, R., and Meager, R. (2020). An automatic finite-sample robustness metric: when can
    dropping a little data make a big difference? arXiv:2011.14999.
    Imbens, G. W., and Manski, C. F. (2004). Confidence intervals for partially identified parameters.
    Econometrica 72(6).
    Lee, D. S. (2009). Training, wages, and sample selection: estimating sharp bounds on treatment effects. Review
    of Economic Studies 76(3).
    """
    check("misclassification", design, options, level)
    first = event_dates(sample, "misclassification")
    grid = _grid(shares, periods_late)
    if not np.isnan(first).any():
        raise QuestionError(
            f"misclassification: every unit is treated by {sample.question.event} at some time, so no unit can hide "
            "its treatment."
        )
    fit = headline(sample, design, options)
    whole, trimming = Effect.of("as recorded", fit, level), Trimming.of(sample, fit, options, progress)
    corrected, refused = _corrected(whole, grid, sample.question)
    worst, more = worst_cases(trimming, grid, level)
    moved = {
        f"{k} period{'s' if k > 1 else ''} earlier": partial(redated, sample, first - k)
        for k in range(1, periods_late + 1)
    }
    lower = whole.estimate > 0
    return Misclassification(
        sample.question,
        design,
        level,
        whole,
        len(trimming.suspects),
        corrected,
        worst,
        breakdown(trimming, lower, lambda m: side(trimming.end(m, lower), lower)),
        breakdown(trimming, lower, lambda m: clear(trimming, m, lower, level))
        if whole.excludes_zero
        else None,
        Refits.of(answers(moved, design, options, progress), level),
        (*refused, *more),
    )


def _grid(shares: Sequence[float], periods_late: int) -> list[float]:
    try:
        grid = sorted({0.0, *(float(share) for share in shares)})
    except (TypeError, ValueError) as error:
        raise QuestionError(f"misclassification: shares is {shares!r}; give numbers in [0, 1).") from error
    if not all(0 <= share < 1 for share in grid):
        raise QuestionError(f"misclassification: shares is {shares!r}; each must lie in [0, 1), 0.05 for 5%.")
    if isinstance(periods_late, bool) or not isinstance(periods_late, (int, np.integer)) or periods_late < 0:
        raise QuestionError(
            f"misclassification: periods_late is {periods_late!r}; it must be a whole number."
        )
    return grid


def unattenuated(effect: FloatArray, share: float, proportional: bool) -> FloatArray:
    """Return the effects that are seen as given ones where a share of the comparison group has them too.

    effect / (1 - share), and as a share of the counterfactual mean effect / (1 - share (1 + effect)); NaN where
    no effect is seen as one so large.
    """
    left = 1 - share * (1 + effect) if proportional else np.full(np.shape(effect), 1 - share)
    return np.divide(effect, left, out=np.full(np.shape(effect), np.nan), where=left > 0)


def _corrected(
    whole: Effect, grid: Sequence[float], question: Question
) -> tuple[tuple[Bound, ...], list[tuple[str, str]]]:
    bounds, refused = [], []
    seen = np.array([whole.estimate, whole.conf_low, whole.conf_high])
    for share in grid:
        true = unattenuated(seen, share, question.scale == "proportional")
        if np.isfinite(true).all():
            bounds.append(Bound(share, 0, float(true[0]), *map(float, true)))
        else:
            reason = "no effect that the comparison group shares is seen as one so large."
            refused.append((f"the same effect with {100 * share:g}% hidden", reason))
    return tuple(bounds), refused
