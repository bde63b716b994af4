"""Balance in sentences and as a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core.arrays import FloatArray
from study.diagnostics.balance import GROWTH, LARGE, NO_COVARIATES, POOLED, SMALL, Balance, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure


FARTHEST = 3
BINS = 26
LEFT_OUT = 0.005  # comparison units with still lower odds are drawn in the first bin


def sentences(found: Balance) -> tuple[str, ...]:
    """Return what was found, in sentences."""
    return (
        *_differences(found),
        _compared(found),
        *(_growth(row) for row in found.pooled if row.covariate.startswith(GROWTH)),
        *_propensity(found),
        *(f"{note[0].upper()}{note[1:]}." for note in found.notes),
    )


def _compared(found: Balance) -> str:
    treated = sum(n for n, _ in found.sizes.values())
    others = [n for _, n in found.sizes.values()]
    names = ", ".join(row.covariate for row in found.pooled)
    between = f"{min(others):,} to {max(others):,}" if min(others) < max(others) else f"{others[0]:,}"
    return (
        f"{treated:,} treated units in {_cohorts(len(found.sizes))} are compared with {between} units that are "
        f"{found.comparison}, up to the cohort's base period, in: {names}."
    )


def _differences(found: Balance) -> list[str]:
    known = [row for row in found.pooled if not np.isnan(row.found.difference)]
    told = [
        f"{row.covariate} has no standardised difference: {row.found.note}."
        for row in found.pooled
        if np.isnan(row.found.difference)
    ]
    if not known:
        return told
    most = max(known, key=lambda row: abs(row.found.difference))
    large = sum(abs(row.found.difference) > LARGE for row in known)
    are = "is" if large == 1 else "are"
    told.append(
        f"Pooled over cohorts, treated and comparison units differ most in {most.covariate}, by "
        f"{most.found.difference:.2f} standard deviations (means {most.found.mean_treated:.3g} and "
        f"{most.found.mean_compared:.3g}); {large} of {len(known)} differences {are} above {LARGE}, beyond which a "
        "regression's adjustment hangs on its functional form."
    )
    weighted = [row for row in known if row.weighted is not None]
    if weighted:
        left = max(weighted, key=lambda row: abs(row.weighted or 0.0))
        told.append(
            "With comparison units weighted by the estimated odds of treatment, the largest difference left is "
            f"{left.weighted:.2f} standard deviations, in {left.covariate}."
        )
    return told


def _growth(row: Row) -> str:
    made = row.found
    in_spreads = (
        "" if np.isnan(made.difference) else f", a difference of {made.difference:.2f} standard deviations"
    )
    weighted = "" if row.weighted is None else f" and of {row.weighted:.2f} after weighting"
    return (
        f"Up to the base period the treated units' outcome grew by {made.mean_treated:.3g} a period and that of the "
        f"comparison units by {made.mean_compared:.3g}{in_spreads}{weighted}."
    )


def _propensity(found: Balance) -> list[str]:
    if not found.overlaps:
        return [f"No propensity score is estimated, since {NO_COVARIATES}."]
    told = [
        f"The propensity score of cohort {cohort} ({_units(found.sizes[cohort][0])}) cannot be estimated: {why}."
        for cohort, why in found.overlaps.items()
        if isinstance(why, str)
    ]
    told += [
        f"The covariates tell {_units(o.unlike, 'comparison ')} from all units of cohort {cohort}: their odds are zero."
        for cohort, o in found.estimated.items()
        if o.unlike
    ]
    if not found.estimated:
        return told
    effective = {cohort: o.effective for cohort, o in found.estimated.items()}
    share = {cohort: o.largest_share for cohort, o in found.estimated.items()}
    fewest, heaviest = min(effective, key=lambda c: effective[c]), max(share, key=lambda c: share[c])
    outside = sum(int(o.outside.sum()) for o in found.estimated.values())
    treated = sum(len(o.treated) for o in found.estimated.values())
    return [
        f"Weighted by the odds, the comparison units are worth between {effective[fewest]:,.0f} (cohort {fewest}) "
        f"and {max(effective.values()):,.0f} equally weighted ones; one unit has up to {share[heaviest]:.0%} of the "
        f"weight (cohort {heaviest}).",
        f"{outside} of {_units(treated, 'treated ')} ({outside / treated:.0%}) {'has' if outside == 1 else 'have'} a "
        "propensity score outside the range of their comparison units.",
        *told,
    ]


def _cohorts(n: int) -> str:
    return "1 cohort" if n == 1 else f"{n} cohorts"


def _units(n: int, kind: str = "") -> str:
    return f"{n:,} {kind}unit{'' if n == 1 else 's'}"


def drawing(found: Balance) -> Figure:
    """Draw absolute standardised differences and, below them, propensity scores where they are estimated."""
    from study.figures.canvas import canvas

    names = [row.covariate for row in found.pooled]
    top, below = 1.1 + 0.24 * len(names), 1.9
    with canvas(height=top + (below if found.estimated else 0.0)) as figure:
        if not found.estimated:
            _love_plot(figure, found, names)
            return figure
        parts: Any = figure.subfigures(2, 1, height_ratios=(top, below))
        _love_plot(parts[0], found, names)
        _propensities(parts[1], found)
    return figure


def _love_plot(part: Any, found: Balance, names: list[str]) -> None:
    from study.figures.canvas import COLOUR, GREY, SECOND

    def points(rows: Iterable[Row], value: Callable[[Row], float | None]) -> FloatArray:
        pairs = [(value(row), names.index(row.covariate)) for row in rows]
        known = [(abs(v), k) for v, k in pairs if v is not None and not np.isnan(v)]
        return np.array(known, dtype=float).reshape(-1, 2).T

    axis = part.subplots()
    for at, style in ((SMALL, ":"), (LARGE, "--")):
        axis.axvline(at, color=GREY, linewidth=0.8, linestyle=style)
    each = points((row for row in found.rows if row.cohort != POOLED), lambda row: row.found.difference)
    near, far = each[:, each[0] <= FARTHEST], each[:, each[0] > FARTHEST]
    axis.plot(*near, "|", color="0.6", markersize=6, label="each cohort")
    if far.size:
        axis.plot(
            np.full(far.shape[1], FARTHEST), far[1], ">", color="0.6", ms=4, label=f"cohort beyond {FARTHEST}"
        )
    pooled = points(found.pooled, lambda row: row.found.difference)
    axis.plot(*pooled, "o", color=COLOUR, markersize=5, label="pooled")
    if found.estimated:
        weighted = points(found.pooled, lambda row: row.weighted)
        axis.plot(
            *weighted, "^", mfc="white", color=SECOND, markersize=5, label="pooled, weighted by the odds"
        )
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set_xlim(left=0)
    part.supxlabel(f"Absolute difference, standard deviations (dotted {SMALL}, dashed {LARGE})", fontsize=9)
    handles, labels = axis.get_legend_handles_labels()
    part.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=8)


def _propensities(part: Any, found: Balance) -> None:
    """Draw the pooled log odds; comparison units of a cohort have together the weight of its treated units."""
    from study.figures.canvas import BAND, SECOND

    both = [o.relative_log_odds for o in found.estimated.values()]
    total = sum(len(ours) for ours, _ in both)
    ours, theirs = (np.concatenate(side) for side in zip(*both, strict=True))
    share = np.concatenate([np.full(len(them), len(us) / len(them) / total) for us, them in both])
    low = min(float(np.quantile(theirs, LEFT_OUT)), float(ours.min()))
    bins = np.linspace(low, max(float(theirs.max()), float(ours.max())) + 1e-9, BINS)
    axis = part.subplots()
    axis.hist(np.maximum(theirs, low), bins=bins, weights=100 * share, color=BAND, label="comparison")
    each = np.full(total, 100 / total)
    axis.hist(ours, bins=bins, weights=each, histtype="step", color=SECOND, linewidth=1.2, label="treated")
    axis.set_xlabel("Log odds of treatment, less the cohort's average")
    axis.set_ylabel("Share of units, %")
    axis.legend(frameon=False, fontsize=8)
