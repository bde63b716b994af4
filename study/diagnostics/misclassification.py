"""How a headline moves if some never-treated units were treated, or treated units earlier than recorded."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from study.core import FloatArray, IntArray, QuestionError, counted, listed, quantile, tell, with_ties
from study.diagnostics import Finding, Refits, Section, diagnostic, event_dates, headline, redated, refit
from study.estimates import Effect, Estimand, Estimate, covariance, effects_frame
from study.figures import BAND, COLOUR, GREY, SECOND, SIDE, WIDTH, Axes, Figure, draw_dots, panels
from study.panel import Sample, Scale

Row = tuple[str, int, float, int, float, float, float, float]

WHO = "misclassification"
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)
COLUMNS = ["kind", "periods_earlier", "share", "units_trimmed", "low", "high", "conf_low", "conf_high"]
SCANNED = (0.01, 0.02, 0.05, *(k / 10 for k in range(1, 10)), 0.95, 1.0)


class End(NamedTuple):
    """One end of the bounds: the headline without the trimmed units, and its standard error."""

    estimate: float
    std_error: float
    degrees_of_freedom: float


class Breakdown(NamedTuple):
    """The least share of hidden treatment at which a conclusion is lost, with the number of units.

    ``share`` is None where no share loses it; ``refused`` says why the design has no estimate from that share on,
    where that is what ends the search.
    """

    share: float | None
    units: int
    refused: str = ""


@dataclass(frozen=True, eq=False)
class Trimming:
    """Headlines without the never-treated units that raise, or lower, the headline most: one end of the bounds.

    Attributes
    ----------
    sample : Sample
    fit : Estimate
        The headline with all of them.
    suspects : ndarray of int
        Numbers of the never-treated units in the order in which they are trimmed, those whose absence lowers (or
        raises) the headline most first.
    """

    sample: Sample
    fit: Estimate
    suspects: IntArray

    @classmethod
    def of(cls, sample: Sample, fit: Estimate, lower: bool) -> Trimming:
        """Order the never-treated units by their influence on the headline, per unit of weight, for one end."""
        # Of a third difference those that treatment is for can hide it.
        eligible = True if sample.group is None else sample.group
        never = np.flatnonzero(np.isnan(event_dates(sample, WHO)) & eligible)
        influence, weights = fit.influence_map.dense()[never, 0], sample.weights[never]
        change = with_ties((-1 if lower else 1) * influence / weights)
        # Of those that change it alike, units of little weight go first, so that a share is exceeded by the least.
        return cls(sample, fit, never[np.lexsort((weights, change))])

    @property
    def shares(self) -> FloatArray:
        """The shares of all suspects' weight that 1, 2, ... trimmed units have."""
        weight = self.sample.weights[self.suspects]
        return np.cumsum(weight) / weight.sum()

    def trimmed(self, share: float) -> int:
        """Return how many units are trimmed so that their weight is at least a share of all suspects'."""
        return 0 if share == 0 else int(np.argmax(self.shares >= share * (1 - 1e-12))) + 1

    @cached_property
    def end(self) -> Callable[[int], End]:
        """The end by the number of trimmed units, made once for each; it refuses where the design does without them."""
        return cache(self._refit)

    def _refit(self, trimmed: int) -> End:
        n = self.sample.n_units
        keep = np.ones(n, dtype=bool)
        keep[self.suspects[:trimmed]] = False
        try:
            sample = self.sample.only(keep, "trimmed") if trimmed else self.sample
            fit = headline(sample, self.fit.design, self.fit.options)
        finally:
            tell(f"without {trimmed} units")
        influence = np.zeros(n)
        influence[keep] = fit.errors.dense()[:, 0] * (n / sample.n_units)
        if trimmed:
            share = float(self.shares[trimmed - 1])
            influence += threshold_influence(influence, self.sample.weights, self.suspects, trimmed, share)
        variance = covariance(influence[:, None], self.sample.cluster)
        return End(float(fit.effect[0]), math.sqrt(variance[0, 0]), float(fit.degrees_of_freedom[0]))


def threshold_influence(
    influence: FloatArray, weights: FloatArray, ordered: IntArray, trimmed: int, share: float
) -> FloatArray:
    """Return what the estimation of the trimming quantile adds to the influence by unit, shape (n,).

    With c the change of a unit, q the quantile at which a share pi is trimmed and mu the mean that is left, the
    influence on mu is (c - q)/(1 - pi) + q - mu for units that are kept and q - mu for those trimmed, of which
    the refit knows (c - mu)/(1 - pi) for the kept. The unit at the quantile is the first that is kept.

    Parameters
    ----------
    influence : ndarray, shape (n,)
        Of the refit, on the scale of all n units.
    weights : ndarray, shape (n,)
    ordered : ndarray of int
        The suspects, the ``trimmed`` first of which are left out.
    trimmed : int
    share : float
        Of the suspects' weight that is trimmed.
    """
    edge = ordered[min(trimmed, len(ordered) - 1)]
    added = np.zeros(len(influence))
    added[ordered] = np.where(np.arange(len(ordered)) < trimmed, 1 - share, -share)
    return added * (influence[edge] / weights[edge]) * weights


def imbens_manski(width: float, error: float, level: float, degrees: float) -> float:
    """Return the critical value c of Imbens and Manski (2004), equation (7).

    It solves F(c + width / error) - F(-c) = level, so that [low - c s_low, high + c s_high] covers the effect,
    which lies anywhere between the ends, with the given probability.
    """
    cumulative = special.ndtr if math.isinf(degrees) else partial(special.stdtr, degrees)
    low, high = quantile(level, degrees), quantile((1 + level) / 2, degrees)
    for _ in range(60):
        middle = (low + high) / 2
        inside = cumulative(middle + width / error) - cumulative(-middle)
        low, high = (middle, high) if inside < level else (low, middle)
    return high


def first_true(holds: Callable[[int], bool], points: Sequence[int]) -> int | None:
    """Return the least number at which a condition holds: by steps over ascending points, then by bisection."""
    low = 0
    for point in points:
        if holds(point):
            return low + 1 + bisect_left(range(low + 1, point), True, key=holds)
        low = point
    return None


def worst_cases(
    down: Trimming, up: Trimming, grid: Sequence[float], level: float
) -> tuple[list[Row], list[tuple[str, str]]]:
    """Return the rows of the frame at the shares of a grid, and which shares have none and why.

    A larger share, which allows every smaller one, never narrows.
    """
    rows, refused = [], []
    low = high = down.end(0)
    for share in grid:
        lowering, raising = down.trimmed(share), up.trimmed(share)
        try:
            low, high = min(low, down.end(lowering)), max(high, up.end(raising))
            ends = (low.estimate, high.estimate, *confidence(low, high, level))
            rows.append(("worst case", 0, share, max(lowering, raising), *ends))
        except QuestionError as refusal:
            refused.append((f"the worst case with {100 * share:.3g}% hidden", str(refusal)))
    return rows, refused


def confidence(low: End, high: End, level: float) -> tuple[float, float]:
    """Return the interval that covers an effect between two estimated ends."""
    error = max(low.std_error, high.std_error)
    c = imbens_manski(high.estimate - low.estimate, error, level, low.degrees_of_freedom)
    return low.estimate - c * low.std_error, high.estimate + c * high.std_error


def breakdown(trimming: Trimming, keeps: Callable[[int], bool]) -> Breakdown:
    """Find the least number of hidden treatments at which a conclusion is lost."""
    refusals: dict[int, str] = {}

    def lost(trimmed: int) -> bool:
        try:
            return not keeps(trimmed)
        except QuestionError as refusal:
            refusals[trimmed] = str(refusal)
            return True

    most = len(trimming.suspects) - 1
    least = first_true(lost, sorted({min(trimming.trimmed(share), most) for share in SCANNED} - {0}))
    if least is None:
        return Breakdown(None, 0)
    return Breakdown(float(trimming.shares[least - 1]), least, refusals.get(least, ""))


@diagnostic(
    "Hidden or late treatment",
    "What if some never-treated units were treated, or treated units earlier than recorded?",
    Section.OVERTURNS,
)
def misclassification(
    sample: Sample,
    design: str,
    *,
    shares: Sequence[float] = SHARES,
    hidden: Sequence[float] = (),
    periods_late: int = 2,
    level: float = 0.95,
    **options: Any,
) -> Finding:
    """Ask what the headline would be if some never-treated units were treated, or dates were recorded late.

    If a share pi of the comparison group is treated when the treated are and has their average effect, the
    headline is (1 - pi) times the effect (Lewbel 2007; Denteh and Kedagni 2022), and on the proportional scale an
    effect p is seen as p (1 - pi) / (1 + pi p). Without any assumption on their effects, the change of the
    comparison group without treatment lies between its means after trimming the share pi of the never-treated that
    raises, or lowers, the headline most (Horowitz and Manski 1995). The never-treated are ordered by their
    influence on the headline, and the headline is refitted without them. The order is exact for differences of means
    with comparison="never_treated" and neither covariates nor gaps; elsewhere, as with changes_in_changes and
    synthetic controls, it is right to first order, and the worst case can be wider (Broderick, Giordano and Meager
    2020). Standard errors carry the estimation of the trimming quantile (Lee 2009, Proposition 3), and intervals cover
    the effect and not the identified set (Imbens and Manski 2004).

    Parameters
    ----------
    sample : Sample
    design : str
    shares : sequence of float
        Largest shares of the never-treated (of their weight) that are in truth treated, in [0, 1); 0 is added.
    hidden : sequence of float
        Shares that a check outside the panel finds, at which there are bounds too and about which the sentences are.
    periods_late : int
        Events are also moved 1, ..., this many periods earlier.
    level : float
        Coverage of the intervals.
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
        If the event is not absorbing, nobody is never treated, effects are slopes in the dose, a share or number of
        periods is out of range, or the design refuses the sample. Refits that it refuses are listed.

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
    first = event_dates(sample, WHO)
    grid = sorted({0.0, *map(float, (*shares, *hidden))})
    if not all(0 <= share < 1 for share in grid):
        raise QuestionError(f"{WHO}: shares is {(*shares, *hidden)!r}; each must lie in [0, 1), 0.05 for 5%.")
    if not np.isnan(first).any():
        raise QuestionError(
            f"{WHO}: every unit is treated by {sample.question.event} at some time, so no unit can hide its treatment."
        )
    fit, scale = headline(sample, design, options), sample.question.effect_scale
    if fit.estimand is Estimand.GROUP_TIME_ACRT:
        raise QuestionError(
            f"{WHO}: slopes in the dose compare treated units with each other, so that hidden treatment of the others "
            'does not move them; use curve="levels".'
        )
    full = Effect.of("as recorded", fit, level)
    down, up = (Trimming.of(sample, fit, lower) for lower in (True, False))
    same, refused = [], []
    for share in grid:
        ends = unattenuated(np.array(_ends(full)), share, scale.percent)
        if np.isfinite(ends).all():
            same.append(("same effect", 0, share, 0, *ends))
        else:
            reason = "no effect that the comparison group shares is seen as one so large."
            refused.append((f"the same effect with {100 * share:.3g}% hidden", reason))
    worst, not_bounded = worst_cases(down, up, grid, level)
    shifts = {f"{counted(k, 'period')} earlier": k for k in range(1, periods_late + 1)}
    moved = {label: partial(redated, sample, first - k) for label, k in shifts.items()}
    dates = refit(moved, design, options, level)
    refits = Refits(dates.rows, (*refused, *not_bounded, *dates.refused))
    earlier = [("earlier dates", shifts[row.label], 0.0, 0, *_ends(row)) for row in dates.rows]
    towards_zero, sign = (down, 1) if full.estimate > 0 else (up, -1)

    def keeps_sign(trimmed: int) -> bool:
        return sign * towards_zero.end(trimmed).estimate > 0

    def excludes_zero(trimmed: int) -> bool:
        ends = confidence(down.end(trimmed), up.end(trimmed), level)
        return min(sign * end for end in ends) > 0

    details = {
        "full_sample": full,
        "n_never_treated": len(down.suspects),
        "weighted": bool(sample.question.weights),
        "breakdown_sign": breakdown(towards_zero, keeps_sign),
        "breakdown_significance": breakdown(towards_zero, excludes_zero) if full.excludes_zero else None,
        "rows": refits.rows,
        "refused": refits.refused,
    }
    frame = pd.DataFrame([*same, *worst, *earlier], columns=COLUMNS)
    details["checked"] = [*_at_shares(scale, level, frame, details, hidden)] if hidden else []
    return Finding.of(
        [*_sentences(scale, level, frame, details), *refits.refusals],
        frame,
        partial(_chart, dates=(full, *dates.rows), scale=scale, level=level),
        details=details,
    )


def _ends(effect: Effect) -> tuple[float, float, float, float]:
    return effect.estimate, effect.estimate, effect.conf_low, effect.conf_high


def unattenuated(effect: FloatArray, share: float, proportional: bool) -> FloatArray:
    """Return the effects that are seen as given ones where a share of the comparison group has them too.

    effect / (1 - share), and as a share of the counterfactual mean effect / (1 - share (1 + effect)); NaN where
    no effect is seen as one so large.
    """
    left = 1 - share * (1 + effect) if proportional else np.full(np.shape(effect), 1 - share)
    return np.divide(effect, left, out=np.full(np.shape(effect), np.nan), where=left > 0)


def _sentences(scale: Scale, level: float, frame: pd.DataFrame, details: Mapping[str, Any]) -> Iterator[str]:
    full, n, percent = details["full_sample"], details["n_never_treated"], f"{100 * level:g}%"
    yield _breakdown_sentence("the sign of the estimate", details["breakdown_sign"], details)
    yield (
        f"The effect on {scale.outcome} is {scale.text(full.estimate)} {scale.unit}, interval {full.interval(scale)}, "
        f"taking the {n} never-treated units as recorded."
    )
    yield from details["checked"] or _at_shares(scale, level, frame, details)
    significance = details["breakdown_significance"]
    if significance is None:
        yield f"The {percent} interval includes zero without any hidden treatment."
    else:
        yield _breakdown_sentence("the exclusion of zero from the interval", significance, details)
    for row in details["rows"]:
        yield (
            f"If all events were {row.label} than recorded, the effect is {scale.text(row.estimate)}, interval "
            f"{row.interval(scale)}, with {counted(row.n_treated, 'treated unit')} instead of {full.n_treated}."
        )


def _of_never(percent: str, units: int, details: Mapping[str, Any], more: str = "") -> str:
    """Say how much of the never-treated a share is, which is of their weight, and how many units have it."""
    weight = "weight of the " * details["weighted"]
    return f"{percent}% of the {weight}never-treated ({units} of {details['n_never_treated']} units{more})"


def _at_shares(
    scale: Scale, level: float, frame: pd.DataFrame, details: Mapping[str, Any], hidden: Sequence[float] = ()
) -> Iterator[str]:
    """Say what the effect is at the shares that a check finds, else at the largest one, and in its bounds' middle."""
    same, worst = (frame[frame["kind"] == kind] for kind in ("same effect", "worst case"))
    if hidden:
        shares = listed(f"{100 * share:.3g}%" for share in hidden)
        yield f"Of those never-treated units that a check outside of the panel covers, it finds {shares} treated."
        same, worst = (rows[rows["share"].isin(hidden)] for rows in (same, worst))
    else:
        same, worst = same.iloc[-1:], worst.iloc[[len(worst) // 2]]
    shared = [
        f"with a share of {100 * row['share']:.3g}% hidden the effect is {scale.text(row['low'])}"
        for row in same.to_dict("records")
    ]
    if shared:
        yield (
            "If hidden treatments in the comparison group began with the recorded ones and had the same average "
            f"effect, the estimate is too near to zero and its sign is right: {listed(shared)}."
        )
    for row in worst.to_dict("records"):
        share, units = row["share"], row["units_trimmed"]
        more = units > share * details["n_never_treated"] * (1 + 1e-12)
        up = ", rounded up" if details["weighted"] or more else ""
        yield (
            f"Whatever their effects, if at most {_of_never(f'{100 * share:.3g}', units, details, up)} are in truth "
            f"treated, the effect lies between {scale.text(row['low'])} and {scale.text(row['high'])}, and the "
            f"{100 * level:g}% interval for it is {scale.interval(row['conf_low'], row['conf_high'])}."
        )


def _breakdown_sentence(conclusion: str, at: Breakdown, details: Mapping[str, Any]) -> str:
    if at.share is None:
        return f"No share of hidden treatment loses {conclusion}."
    share = _of_never(f"{100 * at.share:.{2 if at.share < 0.99 else 3}g}", at.units, details)
    if not at.refused:
        return f"In the worst case {share} suffice to lose {conclusion}."
    return f"The worst case keeps {conclusion} up to {share}, from where there is no estimate: {at.refused}"


def _chart(
    frame: pd.DataFrame, ax: Axes | None, dates: Sequence[Effect], scale: Scale, level: float
) -> Figure:
    """Draw the bounds by share of hidden treatment, and below them the headlines with earlier dates.

    On given axes there are the bounds alone.
    """
    shown = scale.factor * frame.assign(share=100 * frame["share"]).set_index(["kind", "share"])
    worst, same = shown.loc["worst case"], shown.loc["same effect"]
    same = same[same.index <= 50]  # from where it would leave no room for the bounds; the table has it
    height, ratios = 3.8 + 0.2 * len(dates), (2.3, 0.35 + 0.2 * len(dates))
    with panels(ax, 2, 1, WIDTH, height, legend=3, height_ratios=ratios) as (figure, (axis, *others)):
        axis.axhline(0, color=GREY, linewidth=0.8)
        interval: Any = {"label": f"{100 * level:g}% interval", "color": BAND, "alpha": 0.5, "linewidth": 0}
        axis.fill_between(worst.index, worst["conf_low"], worst["conf_high"], **interval)
        for end, label in (("low", "worst-case bounds"), ("high", None)):
            axis.plot(worst[end], "o-", color=COLOUR, markersize=3, label=label)
        axis.plot(same["low"], "s--", color=SECOND, markersize=3, label="same effect")
        of = "Hidden treatment, % of the never-treated\n(same effect: of all comparison units)"
        axis.set(xlabel=of, ylabel=scale.axis(longest=SIDE))
        for below in others:
            draw_dots(below, effects_frame(dates), percent=scale.percent)
            below.set_xlabel(f"{scale.axis()} ({100 * level:g}% intervals)")
    return figure
