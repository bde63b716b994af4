"""The look of all figures: colours, sizes, and bytes that do not depend on the day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours and two lighter blues, which colour-blind readers can tell apart, of unlike shade in grey
# print too: COLOUR, SECOND, THIRD and BAND are a tenth of the way from black to white apart, or more.
COLOUR = "#0072B2"
BAND = "#9ECAE9"
SECOND = "#D55E00"
THIRD = "#E69F00"
GREY = "0.35"
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
    "pdf.fonttype": 42,
    "svg.hashsalt": "study",
}
# In inches, as printed: a figure of the usual width takes seven tenths of the paper's text, a full one all of it.
WIDTH, HEIGHT = 4.6, 2.9
FULL = 6.45


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


def luminance(colour: Any) -> float:
    """Return how light a colour is in grey print, from 0 (black) to 1 (white); Rec. 601's weights."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue


@contextmanager
def styled() -> Iterator[None]:
    """Put the common style in the place of whatever settings the reader's machine has for figures."""
    from matplotlib import style

    with style.context(["default", STYLE]):
        yield


@contextmanager
def canvas(width: float = WIDTH, height: float = HEIGHT) -> Iterator[Figure]:
    """Give a figure, in inches, to draw on in the common style."""
    with styled():
        from matplotlib.figure import Figure

        yield Figure(figsize=(width, height), layout="constrained")


def drawn(figure: Figure, kind: str) -> bytes:
    """Return a figure as "pdf" or "png" with no date or version in it."""
    buffer = BytesIO()
    metadata = (
        {"CreationDate": None, "Producer": None, "Creator": None} if kind == "pdf" else {"Software": None}
    )
    with styled():  # Fonts are embedded, and ticks made, when the file is.
        figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()


def figure_files(name: str, figure: Figure) -> dict[str, bytes]:
    """Return a figure's files by their names, as :func:`study.outputs.write_all` takes them."""
    return {f"{name}.{kind}": drawn(figure, kind) for kind in ("pdf", "png")}
