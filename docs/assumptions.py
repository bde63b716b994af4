"""A picture of each assumption: what the design takes the treated units to have done without the event."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from study.designs import Assumes
from study.figures import BAND, COLOUR, GREY, SECOND, Axes, Figure, canvas

T = np.arange(9.0)
EVENT = 4
SHRINK = 20  # points between an arrow and the middle of a word
AFTER = EVENT <= T
EFFECT = np.where(AFTER, 1.2 + 0.25 * (T - EVENT), 0)


def picture(assumption: Assumes) -> Figure:
    """Draw an assumption: the treated in orange, the comparison in blue, what is assumed dashed."""
    with canvas(3.0, 1.9) as figure:
        axis = figure.subplots()
        axis.set_xticks([])
        axis.set_yticks([])
        _DRAWING[assumption](axis)
    return figure


def _paths(
    axis: Axes, treated: np.ndarray, comparison: np.ndarray, without: np.ndarray, event: int = EVENT
) -> None:
    axis.axvline(event - 0.5, color=GREY, linestyle=":", linewidth=0.8)
    axis.plot(T, comparison, color=COLOUR, marker="o", markersize=3)
    axis.plot(T[event - 1 :], without[event - 1 :], color=SECOND, linestyle="--", linewidth=1)
    axis.plot(T, treated, color=SECOND, marker="^", markersize=4)
    axis.set_xlabel("Period")
    axis.set_ylabel("Outcome")
    _name(axis, T[-1], treated[-1], "treated", SECOND)
    _name(axis, T[-1], comparison[-1], "comparison", COLOUR)


def _name(axis: Axes, x: float, y: float, text: str, colour: str = GREY) -> None:
    axis.annotate(text, (x, y), (4, 0), textcoords="offset points", fontsize=7, color=colour, va="center")


def _parallel(axis: Axes) -> None:
    comparison = 1 + 0.25 * T
    without = comparison + 1
    _paths(axis, without + EFFECT, comparison, without)


def _at_every_dose(axis: Axes) -> None:
    dose = np.linspace(0.5, 3, 20)
    for own, colour, place, name in (
        (dose <= 1.8, COLOUR, (0.5, 1.5), "those with small doses"),
        (dose >= 1.7, SECOND, (1.7, 1.05), "those with large doses"),
    ):
        effect = np.sqrt(dose) + 0.02 * (colour == COLOUR)
        axis.plot(dose, effect, color=colour, linestyle="--", linewidth=1)
        axis.plot(dose[own], effect[own], color=colour, linewidth=2.2)
        axis.text(*place, name, fontsize=7, color=colour)
    axis.set_xlabel("Dose")
    axis.set_ylabel("Effect")


def _conditional(axis: Axes) -> None:
    for level, slope, name in ((1.0, 0.1, "small"), (4.5, 0.6, "large")):
        comparison = level + slope * T
        _paths(axis, comparison + 0.9 + 0.7 * EFFECT, comparison, comparison + 0.9)
        axis.text(0, level + 1.5 + 3 * slope, f"{name} units", fontsize=7, color=GREY)


def _index(axis: Axes) -> None:
    comparison = 1 * 1.18**T
    without = 2.2 * comparison
    _paths(axis, without + 1.5 * EFFECT, comparison, without)
    axis.text(0, 6.5, "same growth\nin percent", fontsize=7, color=GREY)


def _differences(axis: Axes) -> None:
    _parallel(axis)
    axis.set_ylabel("Eligible less others")


def _weighted(axis: Axes) -> None:
    rng = np.random.default_rng(1)
    without = 3 + 0.2 * T + 0.6 * np.sin(T)
    for each in np.cumsum(rng.normal(0.1, 0.5, (6, len(T))), axis=1) + rng.uniform(0, 4, (6, 1)):
        axis.plot(T, each, color=BAND, linewidth=0.7)
    _paths(axis, without + EFFECT, without - 0.8, without)
    _name(axis, T[-1], without[-1] - 1.5, "(weighted)", COLOUR)


def _factors(axis: Axes) -> None:
    factor = np.sin(0.8 * T) + 0.2 * T
    for loading in (0.3, 0.7, 1.1):
        axis.plot(T, loading * factor + 1, color=BAND, linewidth=0.9)
    without = 1.7 * factor + 1
    _paths(axis, without + EFFECT, 0.7 * factor + 1, without)


def _anticipation(axis: Axes) -> None:
    _parallel(axis)
    axis.axvspan(EVENT - 2.5, EVENT - 0.5, color=BAND, alpha=0.5, linewidth=0)
    axis.text(EVENT - 1.5, 5.2, "may\nrespond", fontsize=7, color=GREY, ha="center")
    axis.text(0.4, 5.2, "no\neffect", fontsize=7, color=GREY, ha="center")


def _overlap(axis: Axes) -> None:
    x = np.linspace(-4, 5, 200)
    for mean, colour, name in ((0.0, COLOUR, "comparison"), (1.0, SECOND, "treated")):
        density = np.exp(-((x - mean) ** 2) / (2.4 if colour == COLOUR else 1.2))
        axis.plot(x, density, color=colour)
        axis.fill_between(x, density, color=colour, alpha=0.15)
        axis.text(mean + (0.9 if mean else -3.2), 0.85, name, fontsize=7, color=colour)
    axis.set_xlabel("Covariate")
    axis.set_ylabel("Units")


def _by_cohort(axis: Axes, effects: tuple[tuple[float, float], ...]) -> None:
    times = np.arange(-3.0, 6)
    axis.axvline(-0.5, color=GREY, linestyle=":", linewidth=0.8)
    for k, (jump, slope) in enumerate(effects):
        path = np.where(times >= 0, jump + slope * times, 0) + 0.05 * k
        axis.plot(times, path, color=(COLOUR, SECOND)[k], marker="o^"[k], markersize=3)
        _name(
            axis,
            times[-1],
            path[-1] + 0.18 * (2 * k - 1),
            ("early cohort", "late cohort")[k],
            (COLOUR, SECOND)[k],
        )
    axis.set_xlabel("Event time")
    axis.set_ylabel("Effect")
    axis.set_ylim(-0.5, 2.4)


def _rates(axis: Axes) -> None:
    n = np.geomspace(1e2, 1e4, 50)
    axis.loglog(n, n**-0.25, color=GREY, linestyle="--")
    axis.loglog(n, 1.1 * n**-0.36, color=COLOUR)
    _name(axis, n[-1], n[-1] ** -0.25, "n to the -1/4")
    _name(axis, n[-1], 1.1 * n[-1] ** -0.36, "learner", COLOUR)
    axis.minorticks_off()
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_xlabel("Units")
    axis.set_ylabel("Error of prediction")


def _arrows(axis: Axes, *, hidden_moves_instrument: bool) -> None:
    places = {
        "instrument": (0.05, 0.3),
        "treatment": (0.5, 0.3),
        "outcome": (0.95, 0.3),
        "unobserved": (0.7, 0.85),
    }
    arrows = [("instrument", "treatment"), ("treatment", "outcome")]
    arrows += [("unobserved", "treatment"), ("unobserved", "outcome")]
    missing = ("unobserved", "instrument") if hidden_moves_instrument else ("instrument", "outcome")
    for start, end in [*arrows, missing]:
        ruled_out = (start, end) == missing
        bend = "arc3,rad=0.4" if missing[0] == start == "instrument" else "arc3"
        look = {
            "arrowstyle": "->",
            "color": SECOND if ruled_out else COLOUR,
            "linestyle": "--" if ruled_out else "-",
            "connectionstyle": bend if ruled_out else "arc3",
            "shrinkA": SHRINK,
            "shrinkB": SHRINK,
        }
        axis.annotate("", places[end], places[start], arrowprops=look)
    for name, (x, y) in places.items():
        axis.text(x, y, name, fontsize=7, ha="center", va="center")
    x, y = (0.37, 0.6) if hidden_moves_instrument else (0.5, -0.02)
    axis.text(
        x, y, "none", fontsize=8, color=SECOND, ha="center", va="center", bbox={"color": "white", "pad": 1}
    )
    axis.set_xlim(-0.1, 1.1)
    axis.set_ylim(-0.2, 1)
    axis.set_axis_off()


def _monotone(axis: Axes) -> None:
    shares = (
        ("always treated", 0.25, COLOUR),
        ("treated if drawn", 0.45, SECOND),
        ("never treated", 0.3, BAND),
    )
    left = 0.0
    for name, share, colour in shares:
        axis.barh(0, share, left=left, color=colour)
        axis.text(left + share / 2, -0.62, name, fontsize=6.5, ha="center")
        left += share
    axis.text(0.5, 0.55, "none is treated only if not drawn", fontsize=7, color=GREY, ha="center")
    axis.set_ylim(-1, 1)
    axis.set_axis_off()


def _quasi_untreated(axis: Axes) -> None:
    rng = np.random.default_rng(2)
    dose = rng.uniform(0, 3, 60)
    change = 1 + 0.8 * dose + rng.normal(0, 0.25, 60)
    near = dose < 0.6
    axis.plot(dose[~near], change[~near], "^", color=SECOND, markersize=3)
    axis.plot(dose[near], change[near], "o", color=COLOUR, markersize=3)
    axis.axhline(1, color=SECOND, linestyle="--", linewidth=1)
    axis.text(3, 1.08, "change without a dose", fontsize=7, color=GREY, ha="right")
    axis.set_xlabel("Dose")
    axis.set_ylabel("Change")


def _stable_ranks(axis: Axes) -> None:
    rank = np.linspace(0, 1, 50)
    for curve, look, name in (
        (rank + 0.2, "-", "before"),
        (1 + rank**2 + 0.6 * rank, "--", "after, without the event"),
    ):
        axis.plot(rank, curve, color=GREY, linestyle=look, linewidth=1)
        _name(axis, 0.0, curve[0] + (0.3 if look == "-" else 0.65), name)
        for at, colour, marker in ((0.35, COLOUR, "o"), (0.75, SECOND, "^")):
            axis.plot(at, np.interp(at, rank, curve), marker, color=colour, markersize=5)
    axis.set_xlabel("Unobserved trait")
    axis.set_ylabel("Outcome")


_DRAWING: dict[Assumes, Callable[[Axes], None]] = {
    Assumes.PARALLEL_TRENDS: _parallel,
    Assumes.STRONG_PARALLEL_TRENDS: _at_every_dose,
    Assumes.CONDITIONAL_PARALLEL_TRENDS: _conditional,
    Assumes.INDEX_PARALLEL_TRENDS: _index,
    Assumes.PARALLEL_DIFFERENCES: _differences,
    Assumes.WEIGHTED_TRENDS: _weighted,
    Assumes.FACTORS: _factors,
    Assumes.LIMITED_ANTICIPATION: _anticipation,
    Assumes.OVERLAP: _overlap,
    Assumes.HOMOGENEOUS_EFFECTS: lambda axis: _by_cohort(axis, ((1.2, 0.0), (1.2, 0.0))),
    Assumes.HOMOGENEOUS_COHORTS: lambda axis: _by_cohort(axis, ((0.7, 0.25), (0.7, 0.25))),
    Assumes.NUISANCE_RATES: _rates,
    Assumes.RANDOM_INSTRUMENT: lambda axis: _arrows(axis, hidden_moves_instrument=True),
    Assumes.EXCLUSION: lambda axis: _arrows(axis, hidden_moves_instrument=False),
    Assumes.MONOTONICITY: _monotone,
    Assumes.QUASI_UNTREATED: _quasi_untreated,
    Assumes.STABLE_RANKS: _stable_ranks,
}
