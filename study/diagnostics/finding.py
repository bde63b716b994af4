"""What every diagnostic answers with: sentences, a table and a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Finding(Protocol):
    """The answer of a diagnostic."""

    @property
    def title(self) -> str:
        """What was looked at, as a heading."""
        ...

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, in complete sentences for a reader who knows the field but not the package.

        The first one is the verdict.
        """
        ...

    def tidy(self) -> pd.DataFrame:
        """Return the table."""
        ...

    def plot(self) -> Figure:
        """Draw the figure."""
        ...
