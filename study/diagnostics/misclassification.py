"""How a headline moves if some never-treated units were treated, or treated units earlier than recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, QuestionError, checked
from study.diagnostics.finding import Finding
from study.diagnostics.refits import Progress, Refits, answers, check, event_dates, headline, redated
from study.diagnostics.registry import Section, diagnostic
from study.diagnostics.trimming import Bound, Breakdown, Trimming, breakdown, clear, side, worst_cases
from study.estimates import Effect, effects_frame
from study.figures import BAND, COLOUR, GREY, HEIGHT, SECOND, WIDTH, draw_dots, legend_above, on_axes
from study.figures.canvas import canvas
from study.panel import Question, Sample, Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


@diagnostic(
    "misclassification",
    title="Hidden or late treatment",
    question="What if some never-treated units were treated, or treated units earlier than recorded?",
    section=Section.OVERTURNS,
)
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
) -> Finding:
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
    Finding
        The frame has a row a share and assumption, and one a date moved: kind ("same effect": hidden treatments have
        the average effect of the recorded ones; "worst case": whichever units they are and whatever their effects;
        "earlier dates"), periods_earlier, share, units_trimmed, low, high (the same where the effect is a point),
        conf_low, conf_high. Details: ``full_sample``, the headline as recorded; ``n_never_treated``;
        ``breakdown_sign`` and ``breakdown_significance``, where the worst case loses the sign and where its interval
        reaches zero (None where it already does); ``rows``, the headlines with earlier dates; ``refused``, label and
        reason of what has no estimate.

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
    full, trimming = Effect.of("as recorded", fit, level), Trimming.of(sample, fit, options, progress)
    corrected, not_corrected = _corrected(full, grid, sample.question)
    worst, not_bounded = worst_cases(trimming, grid, level)
    moved = {
        f"{k} period{'s' if k > 1 else ''} earlier": partial(redated, sample, first - k)
        for k in range(1, periods_late + 1)
    }
    dates = Refits.of(answers(moved, design, options, progress), level)
    refits = Refits(dates.rows, (*not_corrected, *not_bounded, *dates.refused))
    lower = full.estimate > 0
    sign = breakdown(trimming, lower, lambda m: side(trimming.end(m, lower), lower))
    significance = (
        breakdown(trimming, lower, lambda m: clear(trimming, m, lower, level)) if full.excludes_zero else None
    )
    n, scale = len(trimming.suspects), sample.question.effect_scale
    return Finding(
        name="misclassification",
        title="Hidden treatment among the never-treated, and late dates",
        verdict=_breakdown_sentence("the sign of the estimate", sign, n),
        evidence=tuple(_evidence(scale, level, full, n, corrected, worst, significance, refits)),
        frame=_frame(corrected, worst, refits.rows),
        chart=partial(_chart, dates=(full, *refits.rows), scale=scale, level=level),
        details={
            "full_sample": full,
            "n_never_treated": n,
            "breakdown_sign": sign,
            "breakdown_significance": significance,
            "rows": refits.rows,
            "refused": refits.refused,
        },
    )


def _breakdown_sentence(conclusion: str, at: Breakdown, n: int) -> str:
    if at.share is None:
        return f"No share of hidden treatment loses {conclusion}."
    share = f"{100 * at.share:.2g}% of the never-treated ({at.units} of {n} units)"
    if at.refused:
        return (
            f"The worst case keeps {conclusion} up to {share}, from where there is no estimate: {at.refused}"
        )
    return f"In the worst case {share} suffice to lose {conclusion}."


def _evidence(
    scale: Scale,
    level: float,
    full: Effect,
    n: int,
    corrected: Sequence[Bound],
    worst: Sequence[Bound],
    significance: Breakdown | None,
    refits: Refits,
) -> Iterator[str]:
    yield (
        f"The effect on {scale.outcome} is {scale.text(full.estimate)} {scale.unit}, interval {full.interval(scale)}, "
        f"taking the {n} never-treated units as recorded."
    )
    if corrected:
        last = corrected[-1]
        yield (
            "If hidden treatments in the comparison group began with the recorded ones and had the same average "
            "effect, the estimate is too near to zero and its sign is right: with a share of "
            f"{100 * last.share:g}% hidden the effect is {scale.text(last.low)}."
        )
    if worst:
        middle = worst[len(worst) // 2]
        yield (
            f"Whatever their effects, if at most {100 * middle.share:g}% of the never-treated ({middle.units_trimmed} "
            f"units) are in truth treated, the effect lies between {scale.text(middle.low)} and "
            f"{scale.text(middle.high)}, and the {100 * level:g}% interval for it is "
            f"{scale.interval(middle.conf_low, middle.conf_high)}."
        )
    if significance is None:
        yield f"The {100 * level:g}% interval includes zero without any hidden treatment."
    else:
        yield _breakdown_sentence("the exclusion of zero from the interval", significance, n)
    for row in refits.rows:
        yield (
            f"If all events were {row.label} than recorded, the effect is {scale.text(row.estimate)}, interval "
            f"{row.interval(scale)}, with {row.n_treated} treated units instead of {full.n_treated}."
        )
    yield from refits.refusals


def _frame(corrected: Sequence[Bound], worst: Sequence[Bound], dates: Sequence[Effect]) -> pd.DataFrame:
    import pandas as pd

    rows = [("same effect", 0, bound) for bound in corrected] + [("worst case", 0, bound) for bound in worst]
    for row in dates:
        bound = Bound(0.0, 0, row.estimate, row.estimate, row.conf_low, row.conf_high)
        rows.append(("earlier dates", int(row.label.split()[0]), bound))
    return pd.DataFrame([{"kind": kind, "periods_earlier": k} | bound._asdict() for kind, k, bound in rows])


def _chart(
    frame: pd.DataFrame, ax: Axes | None, dates: Sequence[Effect], scale: Scale, level: float
) -> Figure:
    """Draw the bounds by share of hidden treatment, and below them the headlines with earlier dates.

    On given axes there are the bounds alone.
    """
    if ax is not None:
        with on_axes(ax) as (figure, axis):
            _draw_bounds(axis, frame, scale, level)
        return figure
    with canvas(WIDTH, HEIGHT + 0.75 + 0.2 * len(dates)) as figure:
        above, below = figure.subplots(2, 1, height_ratios=(HEIGHT - 0.6, 0.35 + 0.2 * len(dates)))
        _draw_bounds(above, frame, scale, level)
        draw_dots(below, effects_frame(dates), percent=scale.percent)
        below.set_xlabel(f"{scale.axis()} ({100 * level:g}% intervals)")
        legend_above(figure, above, 3)
    return figure


def _draw_bounds(axis: Axes, frame: pd.DataFrame, scale: Scale, level: float) -> None:
    worst, same = (frame[frame["kind"] == kind] for kind in ("worst case", "same effect"))
    share, limits = 100 * worst["share"], scale.factor * worst[["conf_low", "conf_high", "low", "high"]]
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.fill_between(
        share,
        limits["conf_low"],
        limits["conf_high"],
        color=BAND,
        alpha=0.5,
        linewidth=0,
        label=f"{100 * level:g}% interval",
    )
    axis.plot(share, limits["low"], "o-", color=COLOUR, markersize=3, label="worst-case bounds")
    axis.plot(share, limits["high"], "o-", color=COLOUR, markersize=3)
    corrected = scale.factor * same["low"]
    axis.plot(100 * same["share"], corrected, "s--", color=SECOND, markersize=3, label="same effect")
    axis.set_xlabel("Hidden treatment, % of the never-treated")
    axis.set_ylabel(scale.axis())


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
    full: Effect, grid: Sequence[float], question: Question
) -> tuple[tuple[Bound, ...], list[tuple[str, str]]]:
    bounds, refused = [], []
    seen = np.array([full.estimate, full.conf_low, full.conf_high])
    for share in grid:
        true = unattenuated(seen, share, question.scale == "proportional")
        if np.isfinite(true).all():
            bounds.append(Bound(share, 0, float(true[0]), *map(float, true)))
        else:
            reason = "no effect that the comparison group shares is seen as one so large."
            refused.append((f"the same effect with {100 * share:g}% hidden", reason))
    return tuple(bounds), refused
