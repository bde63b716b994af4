"""The quality of nuisance functions in words and as a figure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from study.core.arrays import FloatArray
from study.diagnostics.losses import STANDARD_ERRORS, Score
from study.diagnostics.refits import said

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from study.diagnostics.nuisances import NuisanceQuality
    from study.diagnostics.propensities import Propensities
    from study.learners.nuisances import Nuisances

BINS = 24
BELOW_LEGEND = 0.72  # share of the height that is drawn on
# Shares of rows at each end, which the first and last bins hold; of the treated there are few.
OUTSIDE, OUTSIDE_TREATED = 0.001, 0.02
NEAREST = 1e-4  # to 0 and 1 on the logit axis
TICKS = (0.0001, 0.001, 0.01, 0.03, 0.1, 0.3, 0.7, 0.9, 0.97, 0.99, 0.999)


def sentences(found: NuisanceQuality) -> tuple[str, ...]:
    """Return what was found: the verdict on treatment, how far the estimate moves, then the other functions."""
    first, *others = (found.of(name) for name in found.names)
    return (
        quality(first, found.asked),
        *moved(found),
        *ranked(first),
        *(quality(scores, found.asked) for scores in others),
        overlap_in_words(found),
        _how(found),
        *(f"Without an estimate: {learner}, because {reason}" for learner, reason in found.refused),
    )


def _how(found: NuisanceQuality) -> str:
    """Return how predictions were made and judged."""
    folds, draws = found.asked.parts[0].folds.number, found.asked.parts[0].folds.place.shape[1]
    made = (
        f"cross-fitted, and losses averaged over {draws} {'draw' if draws == 1 else 'draws'} of {folds} folds"
    )
    if folds == 1:
        made = "not cross-fitted, for there is one fold, so that they look better than they are"
    return f"Predictions are {made}; better and worse mean by more than {STANDARD_ERRORS:g} clustered standard errors."


def quality(scores: tuple[Score, ...], asked: Nuisances) -> str:
    """Return how well one function is predicted, by learner."""
    name, log = scores[0].nuisance, scores[0].log
    plain = asked.without if log is None else "its share"
    better, worse = ([s.learner for s in scores if getattr(s.judged, side)] for side in ("better", "worse"))
    if better:
        verdict = f"{capital(name)} is predicted better than by {plain} by {listed(better)}"
        verdict += f", and worse by {listed(worse)}" if worse else ""
    else:
        verdict = f"No learner predicts {name} better than {plain}"
        verdict += f", and {listed(worse)} {'do' if len(worse) > 1 else 'does'} worse" if worse else ""
    its = "its cross-fitted" if asked.parts[0].folds.number > 1 else "its"
    if log is None:
        values = ", ".join(f"{number(s.squared.saved)} ({s.learner})" for s in scores)
        return f"{verdict}: {its} R2 is {values}."
    values = ", ".join(f"{s.log.value:.4f} ({s.learner})" for s in scores if s.log is not None)
    return f"{verdict}: {its} log loss is {values}, and that of the share {log.without:.4f}."


def moved(found: NuisanceQuality) -> tuple[str, ...]:
    """Return how far the estimate moves between learners."""
    if len(found.fits) < 2:
        return ()
    low, *_, high = sorted(found.fits, key=lambda row: row.estimate)
    ends = (f"{said(row.estimate, found.question)} ({row.label})" for row in (low, high))
    return (
        f"Between learners the estimate moves from {' to '.join(ends)}, by {found.moves:.2f} standard errors of that "
        f"with {found.fits[0].label}.",
    )


def ranked(scores: tuple[Score, ...]) -> tuple[str, ...]:
    """Return how often who is treated is predicted above who is not, where treatment is 0 or 1."""
    known = [s for s in scores if s.auc is not None]
    if not known:
        return ()
    values = ", ".join(f"{s.auc:.0%} ({s.learner})" for s in known)
    return (
        f"Of two rows, one with {known[0].nuisance} and one without, covariates rank the one with it higher in "
        f"{values} of all pairs, where chance gives 50%.",
    )


def overlap_in_words(found: NuisanceQuality) -> str:
    """Return how predicted treatment differs between who is treated and who is not, under the first learner."""
    learner, rows = next(iter(found.propensities.items()))
    name = found.asked.said[found.asked.treatment]
    middle = len(rows.quantiles(True)) // 2
    medians = (rows.quantiles(group)[middle] for group in (True, False))
    ours, theirs = (f"{value:.2%}" if rows.shares else f"{value:.3g}" for value in medians)
    told = (
        f"Under {learner} the prediction of {name} has the median {ours} in rows {rows.groups[0]} and {theirs} in rows "
        f"{rows.groups[1]}, and {rows.above:.0%} of the former are above all of the latter"
    )
    if rows.limits is None:
        return f"{told}."
    clipped = rows.clipped(True) + rows.clipped(False)
    units = len(np.unique(rows.unit[~rows.treated]))
    return (
        f"{told}; the number of clipped propensities is {clipped:,.0f}, and under their odds the {units:,} comparison "
        f"units are worth {rows.effective:,.0f} equally weighted ones."
    )


def number(value: float) -> str:
    """Write an R2, without the sign of a rounded zero."""
    return f"{round(value, 3) + 0.0:.3f}"


def capital(text: str) -> str:
    """Return a text that can open a sentence."""
    return text[0].upper() + text[1:]


def listed(names: Iterable[str]) -> str:
    """Write names with commas and an and."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def drawing(found: NuisanceQuality) -> Figure:
    """Draw a panel of dots for each function, and predicted treatment by group below."""
    from study.figures.canvas import WIDTH, canvas

    dots = 0.8 + 0.16 * len(found.learners)
    heights = [dots] * len(found.names) + [2.4]
    with canvas(WIDTH, sum(heights)) as figure:
        axes = figure.subplots(len(heights), 1, gridspec_kw={"height_ratios": heights})
        for axis, name in zip(axes, found.names, strict=False):
            _draw_quality(axis, found.of(name), found.asked.without)
        learner, rows = next(iter(found.propensities.items()))
        _draw_groups(axes[-1], rows, found.asked.said[found.asked.treatment], learner)
    return figure


def _draw_quality(axis: Axes, scores: tuple[Score, ...], without: str) -> None:
    """Draw the share of the loss that each learner saves."""
    from study.figures.canvas import COLOUR, GREY

    saved = 100 * np.array([s.judged.saved for s in scores])
    half = 100 * STANDARD_ERRORS * np.array([s.judged.error for s in scores])
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.errorbar(saved, range(len(scores)), xerr=half, fmt="o", markersize=3.5, linewidth=1.0, color=COLOUR)
    axis.set_yticks(range(len(scores)), [s.learner for s in scores])
    axis.tick_params(axis="y", length=0)
    axis.set_ylim(len(scores) - 0.4, -0.6)
    axis.set_title(capital(scores[0].nuisance), loc="left")
    measure = f"R² against {without}" if scores[0].log is None else "Log loss saved against its share"
    axis.set_xlabel(f"{measure}, % (bars: {STANDARD_ERRORS:g} standard errors)", fontsize=8)


def _draw_groups(axis: Axes, rows: Propensities, name: str, learner: str) -> None:
    """Draw the shares of each group's rows by predicted treatment, all draws of the folds together."""
    from study.figures.canvas import BAND, GREY, SECOND

    groups = {treated: _placed(rows, rows.of(treated).ravel()) for treated in (True, False)}
    edges = np.linspace(*_ends(groups[True], groups[False]), BINS + 1)
    for treated, filled, colour in ((False, True, BAND), (True, False, SECOND)):
        values = np.clip(groups[treated], edges[0], edges[-1])
        share = 100 * np.histogram(values, edges)[0] / len(values)
        label = f"{rows.groups[0 if treated else 1]} ({(rows.treated == treated).sum():,} rows)"
        axis.stairs(share, edges, fill=filled, color=colour, linewidth=1.5, label=label)
    if rows.limits is not None:
        for limit in rows.limits:
            if 0 < limit < 1:
                place = float(_logit(np.array(limit)))
                axis.axvline(place, ymax=BELOW_LEGEND, color=GREY, linewidth=0.9, linestyle="--")
        low, high = axis.get_xlim()
        places = [(float(_logit(np.array(tick))), f"{100 * tick:g}") for tick in TICKS]
        axis.set_xticks(*zip(*[place for place in places if low <= place[0] <= high], strict=True))
    axis.set_title(f"Prediction of {name} by {learner}", loc="left")
    dashed = "; dashed: where clipped" if rows.limits is not None else ""
    clipped = ", logit axis" if rows.limits is not None else ""
    axis.set_xlabel(
        f"Prediction of {name}{', %' if rows.shares else ''}{clipped}\n(end bins: all beyond{dashed})",
        fontsize=8,
    )
    axis.set_ylabel("Share of rows, %")
    axis.set_ylim(0, axis.dataLim.y1 / BELOW_LEGEND)
    axis.legend(loc="upper right", frameon=False, fontsize=7.5)


def _placed(rows: Propensities, values: FloatArray) -> FloatArray:
    """Return where predictions lie on the axis: logits of propensities, percent of means."""
    if rows.limits is not None:
        return _logit(values)
    return 100 * values if rows.shares else values


def _logit(share: FloatArray) -> FloatArray:
    inside = np.clip(share, NEAREST, 1 - NEAREST)
    placed: FloatArray = np.log(inside / (1 - inside))
    return placed


def _ends(treated: FloatArray, compared: FloatArray) -> tuple[float, float]:
    """Return the ends of the axis, beyond which few rows of each group are; the end bins hold these."""
    ends = [
        np.quantile(group, (share, 1 - share))
        for group, share in ((treated, OUTSIDE_TREATED), (compared, OUTSIDE))
    ]
    low, high = float(min(end[0] for end in ends)), float(max(end[1] for end in ends))
    return (low, high) if high > low else (low - 1, high + 1)
