"""The figure of who makes large-scale models: by year, and by training compute among the models of the year."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from study.figures import FULL, SERIES
from study.figures.canvas import canvas
from study.paper.facts.models import (
    CLASSES,
    SECTORS,
    Definition,
    Years,
    by_class,
    large_scale,
    of_vintage,
    shares,
    spanned,
)
from study.paper.facts.recomputed import EARLY, LATE

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GAP = 3.8
HATCHES = ("", "////", "....")
STYLES = dict(zip(SECTORS, zip(SERIES, HATCHES, strict=False), strict=True))


def shares_figure(models: pd.DataFrame, vintage: str, chosen: Definition) -> Figure:
    """Return the figure of one vintage.

    Parameters
    ----------
    models : DataFrame
        Of :func:`study.paper.facts.models.load_models`.
    vintage : str
    chosen : Definition
        Of large-scale models.
    """
    used = large_scale(of_vintage(models, vintage), chosen)
    from matplotlib.legend_handler import HandlerTuple

    with canvas(FULL, 3.2) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
        lines = _by_year(left, used)
        bars = _by_class(right, used)
        handles: list[Any] = list(zip(lines, bars, strict=True))
        figure.legend(
            handles, list(SECTORS.values()), loc="outside lower center", ncols=3, frameon=False,
            handler_map={tuple: HandlerTuple(None, pad=0.6)}, handlelength=4.5,
        )  # fmt: skip
    return figure


def _by_year(axis: Axes, used: pd.DataFrame) -> list[Any]:
    """Draw the shares by year with the number of models above them, and return the lines."""
    years = list(spanned(used, EARLY.first))
    found = {year: shares(used, Years(year, year)) for year in years}
    lines = []
    for sector, (look, _) in STYLES.items():
        # The share of a year without models is NaN, which breaks the line.
        values = [100 * found[year][sector].value for year in years]
        lines += axis.plot(
            years, values, color=look.colour, marker=look.marker, linestyle=look.dashes, markersize=4,
            linewidth=1.3,
        )  # fmt: skip
    for year in years:
        axis.text(year, 106, str(found[year]["academia"].total), ha="center", va="bottom", fontsize=7)
    axis.text(years[0] - 0.9, 106, "n", ha="right", va="bottom", fontsize=7, style="italic")
    axis.set(ylim=(-4, 104), ylabel="Share of the models of the year, %", xlabel="Year of publication")
    axis.set_xticks(years[::2])
    axis.set_title("By year", pad=16)
    return lines


def _by_class(axis: Axes, used: pd.DataFrame) -> list[Any]:
    """Draw the shares by thirds of training compute with their counts beside them, and return one bar a sector."""
    places, names, drawn = [], [], {}
    for block, window in enumerate((EARLY, LATE)):
        axis.text(0, GAP * block - 0.5, str(window), fontsize=8, va="bottom", weight="bold")
        for place, (name, found) in enumerate(by_class(used, window).items()):
            places.append(GAP * block + place)
            names.append(name)
            start = 0.0
            for sector, (look, hatch) in STYLES.items():
                width = 100 * found[sector].value if found[sector].total else 0.0
                drawn[sector] = axis.barh(
                    places[-1], width, left=start, height=0.76, color=look.colour, edgecolor="white",
                    hatch=hatch, linewidth=0.6,
                )  # fmt: skip
                start += width
            counts = " / ".join(str(share.successes) for share in found.values())
            axis.text(103, places[-1], counts, va="center", fontsize=7)
    axis.text(103, -0.62, "n", va="bottom", fontsize=7, style="italic")
    axis.set_yticks(places, names)
    axis.set(xlim=(0, 100), xlabel="Share of models, %")
    axis.set_ylim(GAP + len(CLASSES) - 0.4, -1.2)
    axis.tick_params(axis="y", length=0)
    axis.set_title("By training compute among models of the year", pad=16)
    return [drawn[sector] for sector in STYLES]
