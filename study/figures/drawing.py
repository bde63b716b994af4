"""The look of all figures: colours, sizes, and bytes that do not depend on the day."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from textwrap import fill
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from study.core import FloatArray, IntArray, QuestionError, first_of, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.figure import SubFigure
    from matplotlib.path import Path
else:
    # For annotations: what draws need not load matplotlib before it does.
    Axes = Figure = Any

# Okabe and Ito's colours and two lighter blues, which colour-blind readers can tell apart, of unlike shade in grey
# print too: COLOUR, SECOND, THIRD and BAND are a tenth of the way from black to white apart, or more.
COLOUR = "#0072B2"
BAND = "#9ECAE9"
SECOND = "#D55E00"
THIRD = "#E69F00"
GREY = "0.35"
LIGHT = "0.9"
BLACK = "#000000"
SKY = "#85C8F2"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # names of columns may have dollars
    "pdf.fonttype": 42,
    "svg.hashsalt": "study",
}
# The usual font, and those with letters that it lacks, of which a figure takes what this machine has.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Microsoft YaHei", "PingFang SC", "Yu Gothic", "Malgun Gothic")
# In inches, as printed: a figure of the usual width takes seven tenths of the paper's text, a full one all of it.
WIDTH, HEIGHT = 4.6, 2.9
FULL = 6.45
TITLE = 54  # letters of a line of a title across a figure of the usual width
SIDE = 30  # of a line beside a vertical axis
LONGEST = 36  # of the label of a line
TICK_LETTERS = 36  # of all labels below a horizontal axis together
ABOVE = "outside upper center"  # of a legend
# Decimals of a coordinate, in points of a PDF or dots of a PNG: more cannot be seen, and would show how a processor
# rounds.
DECIMALS = 2
# By the ending of a figure's file: what would put a date or a version into it.
DATED = {"pdf": ("CreationDate", "Producer", "Creator"), "png": ("Software",), "svg": ("Date", "Creator")}


class Series(NamedTuple):
    """How one of several lines is drawn: by shade, marker and dashes, so that no reader needs its colour."""

    colour: str
    marker: str
    dashes: Any


# In this order each is lighter than the one before.
SERIES = (
    Series(BLACK, "o", "-"),
    Series(COLOUR, "s", (0, (5, 1.2))),
    Series(SECOND, "^", (0, (3, 1.2, 1, 1.2))),
    Series(THIRD, "D", (0, (1.2, 1))),
    Series(SKY, "v", "-"),
)
LOOK: dict[str, Any] = {"markersize": 3.6, "linewidth": 1.2}


def series_look(series: Series, **other: Any) -> dict[str, Any]:
    """Return how a line with a marker at each point is drawn."""
    return LOOK | {"color": series.colour, "marker": series.marker, "linestyle": series.dashes} | other


def luminance(colour: Any) -> float:
    """Return how light a colour is in grey print, from 0 (black) to 1 (white); Rec. 601's weights."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue


@contextmanager
def styled() -> Iterator[None]:
    """Put the common style in the place of whatever settings the reader's machine has for figures."""
    from matplotlib import style
    from matplotlib.font_manager import get_font_names

    known = {*get_font_names()}
    fonts = [name for name in FONTS if name in known]
    with style.context(["default", STYLE | {"font.family": fonts}]):
        yield


@contextmanager
def _lacking_told_once() -> Iterator[None]:
    """Put one note in the place of a warning for each letter that no font has."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    lacking = set()
    for each in caught:
        if glyph := re.match(r"Glyph (\d+) .* missing from", str(each.message)):
            lacking.add(chr(int(glyph[1])))
        else:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    if lacking:
        message = (
            f"figure: no font of this machine that figures take has {first_of(sorted(lacking))}; boxes stand in "
            f"their place. Install one that has them, such as {FONTS[1]}."
        )
        warnings.warn(message, stacklevel=1)


@contextmanager
def canvas(width: float = WIDTH, height: float = HEIGHT) -> Iterator[Figure]:
    """Give a figure, in inches, to draw on in the common style."""
    with styled():
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine

        class Rounded(Figure):
            """A figure whose coordinates have no more decimals than can be seen."""

            def draw(self, renderer: Any) -> None:
                rounding: Any = _Rounding(renderer)
                engine = self.get_layout_engine()
                with _lacking_told_once():
                    # A file is drawn without the engine, after a draw for the layout alone.
                    if self.axes and self.canvas.is_saving() and isinstance(engine, ConstrainedLayoutEngine):
                        engine.execute(self)
                    else:
                        super().draw(rounding)

        yield Rounded(figsize=(width, height), layout="constrained")


@contextmanager
def panels(
    ax: Axes | None, rows: int, columns: int, *inches: float, legend: int = 0, size: float = 7.5, **how: Any
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Give the panels of a chart with their figure: given axes for the first of them alone, or a figure of its own.

    The latter has a width and height in inches as :func:`canvas` takes them, and above it the legend of its first
    panel, once all is drawn, in so many columns (none where it is 0) and in letters of a size.
    """
    if ax is not None:
        figure = ax.get_figure(root=True) if hasattr(ax, "get_figure") else None
        if figure is None:
            raise QuestionError(f"plot: ax is {shown(ax)}; give matplotlib axes that are on a figure.")
        yield figure, [ax]
        return
    with canvas(*inches) as figure:
        axes = figure.subplots(rows, columns, squeeze=False, **how).ravel().tolist()
        yield figure, axes
        if legend:
            legend_above(figure, axes[0], legend, size)


@contextmanager
def on_axes(
    ax: Axes | None, width: float = WIDTH, height: float = HEIGHT, **legend: Any
) -> Iterator[tuple[Figure, Axes]]:
    """Give axes to draw on with their figure: those given, in the style that they have, or new ones.

    A figure of its own has a legend as :func:`panels` says.
    """
    with panels(ax, 1, 1, width, height, **legend) as (figure, (axis,)):
        yield figure, axis


class _Rounding:
    """A renderer that hands coordinates on to another one, rounded to :data:`DECIMALS`."""

    def __init__(self, renderer: Any) -> None:
        self._renderer = renderer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._renderer, name)

    def draw_path(self, gc: Any, path: Path, transform: Any, face: Any = None) -> None:
        self._renderer.draw_path(_clipped(gc), *_placed(path, transform), face)

    def draw_markers(
        self, gc: Any, marker: Path, marker_transform: Any, path: Path, transform: Any, face: Any = None
    ) -> None:
        self._renderer.draw_markers(_clipped(gc), marker, marker_transform, *_placed(path, transform), face)

    def draw_path_collection(self, gc: Any, *collection: Any, **more: Any) -> None:
        transform, paths, transforms, offsets, offset_transform, *how = collection
        raw = self._renderer._iter_collection_raw_paths(transform, paths, transforms)
        shapes = [_placed(*pair)[0] for pair in raw]
        places, same = _rounded(offset_transform.transform(offsets)), _identity()
        rest = (np.empty((0, 3, 3)), places, same, *how)
        self._renderer.draw_path_collection(_clipped(gc), same, shapes, *rest, **more)

    def draw_text(self, gc: Any, x: float, y: float, *what: Any, **more: Any) -> None:
        self._renderer.draw_text(_clipped(gc), *_rounded((x, y)).tolist(), *what, **more)


def _rounded(coordinates: Any) -> Any:
    """Return coordinates with few decimals; widths of letters are whole 64ths, whose halves must stay halves."""
    return np.round(np.round(coordinates, 9), DECIMALS)


def _identity() -> Any:
    from matplotlib.transforms import IdentityTransform

    return IdentityTransform()


def _placed(path: Path, transform: Any) -> tuple[Path, Any]:
    """Return a path at its rounded coordinates on the page, and the transform that leaves it there."""
    placed = transform.transform_path(path).deepcopy()
    placed.vertices = _rounded(placed.vertices)
    return placed, _identity()


def _clipped(gc: Any) -> Any:
    """Return a graphics context with the rectangle that it clips to rounded."""
    from matplotlib.transforms import Bbox

    rectangle = gc.get_clip_rectangle()
    if rectangle is not None:
        gc.set_clip_rectangle(Bbox(_rounded(rectangle.get_points())))
    return gc


def drawn(figure: Figure, kind: str) -> bytes:
    """Return a figure as "pdf", "png" or "svg" with no date or version in it."""
    buffer = BytesIO()
    with styled():  # Fonts are embedded, and ticks made, when the file is.
        figure.savefig(buffer, format=kind, dpi=200, metadata=dict.fromkeys(DATED[kind]))
    return buffer.getvalue()


def figure_files(name: str, figure: Figure) -> dict[str, bytes]:
    """Return a figure's files by their names, as :func:`study.core.outputs.write_all` takes them."""
    return {f"{name}.{kind}": drawn(figure, kind) for kind in ("pdf", "png")}


def in_lines(figure: Figure, text: str) -> str:
    """Break a title or the name of a horizontal axis into lines that fit a figure."""
    return fill(text, int(TITLE * figure.get_figwidth() / WIDTH))


def beside(text: str) -> str:
    """Break the name of a vertical axis into lines that are no longer than the axis."""
    return "\n".join(fill(line, SIDE) for line in text.splitlines())


def shortened(label: str, most: int = LONGEST) -> str:
    """Take the middle out of a label that would leave no room for its line: names may begin alike."""
    begin = 2 * most // 3
    return label if len(label) <= most else f"{label[:begin].rstrip()}…{label[begin + 1 - most :].lstrip()}"


def name_periods(
    axis: Axes, periods: IntArray, name_of: Callable[[float], str], letters: int = TICK_LETTERS
) -> None:
    """Write a panel's own names of periods below the horizontal axis, as many as there is room for."""
    from matplotlib.ticker import MaxNLocator

    longest = max(len(name_of(period)) for period in periods[[0, -1]])
    count = max(2, letters // longest)
    axis.xaxis.set_major_locator(MaxNLocator(nbins=count, integer=True, min_n_ticks=1))
    axis.xaxis.set_major_formatter(lambda period, _: name_of(period))


def labelled(*axes: Axes) -> dict[str, Any]:
    """Return what a legend of axes shows by its label, each once."""
    handles: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    return handles


def legend_above(figure: Figure | SubFigure, axis: Axes, columns: int = 2, size: float | None = 7.5) -> None:
    """Draw the legend of an axis above its figure, if it has any."""
    draw_legend(figure, axis, loc=ABOVE, ncols=columns, fontsize=size)


def draw_legend(on: Figure | SubFigure | Axes, *axes: Axes, order: Sequence[str] = (), **how: Any) -> None:
    """Draw one legend of axes, if they have any, each label once, in an order if one is given."""
    handles = labelled(*axes)
    labels = [label for label in order or handles if label in handles]
    if labels:
        on.legend([handles[label] for label in labels], labels, frameon=False, **how)


def label_ends(
    figure: Figure,
    *axes: Axes,
    edge: float | None = None,
    place: float = 1.06,
    step: float = 8.75,
    linewidth: float = 0.7,
) -> None:
    """Write the label of each line at its right end, apart from one another, with a line that leads to it.

    Parameters
    ----------
    figure : Figure
    *axes : Axes
        Lines without a label, and those of which no point is known, are left out.
    edge, place : float
        Where leading lines begin, at the ends of the lines if it is not given, and where labels stand: as shares of
        the axis.
    step, linewidth : float
        Points between labels, and of leading lines.
    """
    figure.draw_without_rendering()
    for axis in axes:
        every: Any = axis.get_lines()
        ends: dict[Any, FloatArray] = {}
        for line in every:
            points = line.get_xydata()
            known = points[~np.isnan(points[:, 1])]
            if len(known) and not str(line.get_label()).startswith("_"):
                drawn_at = line.get_transform().transform(known[-1])
                ends[line] = axis.transAxes.inverted().transform(drawn_at)
        lines = sorted(ends, key=lambda line: ends[line][1])
        height = axis.get_window_extent().height * 72 / figure.dpi
        places = apart(height * np.array([ends[line][1] for line in lines]), step, height) / height
        for line, at in zip(lines, places, strict=True):
            x, y = ends[line]
            leader = {"arrowstyle": "-", "relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 3}
            axis.annotate(
                line.get_label(), (x if edge is None else edge, y), (place, at), "axes fraction", "axes fraction",
                fontsize=7, va="center", annotation_clip=False,
                arrowprops=leader | {"color": line.get_color(), "linewidth": linewidth},
            )  # fmt: skip


def apart(places: FloatArray, step: float, height: float) -> FloatArray:
    """Return ascending places, at least a step apart and between 0 and a height, as near to given ones as can be.

    By least squares.
    """
    from scipy.optimize import isotonic_regression

    shift = step * np.arange(len(places))
    fitted = isotonic_regression(places - shift).x
    return np.clip(fitted, 0, max(height - step * (len(places) - 1), 0)) + shift
