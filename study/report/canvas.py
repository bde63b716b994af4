"""The look of all figures: colours, sizes, and bytes that do not depend on the day."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart; shade and marker differ for grey print.
COLOUR = "#0072B2"
BAND = "#9ECAE9"
SECOND = "#D55E00"
THIRD = "#009E73"
GREY = "0.35"
STYLE: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "study",
}
WIDTH, HEIGHT = 4.6, 2.9


@contextmanager
def canvas(width: float = WIDTH, height: float = HEIGHT) -> Iterator[Figure]:
    """Give a figure, in inches, to draw on in the common style."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        from matplotlib.figure import Figure

        yield Figure(figsize=(width, height), layout="constrained")


def drawn(figure: Figure, kind: str) -> bytes:
    """Return a figure as "pdf" or "png" with no date or version in it."""
    buffer = BytesIO()
    metadata = (
        {"CreationDate": None, "Producer": None, "Creator": None} if kind == "pdf" else {"Software": None}
    )
    figure.savefig(buffer, format=kind, dpi=200, metadata=metadata)
    return buffer.getvalue()
