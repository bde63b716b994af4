"""What a diagnostic, an analysis of heterogeneity or a fact found: a verdict, its evidence, a frame and a chart."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    Chart = Callable[[pd.DataFrame, Axes | None], Figure]


@dataclass(frozen=True, eq=False, kw_only=True)
class Finding:
    """What was found, in sentences, as a table and as a figure.

    Attributes
    ----------
    name : str
        Of the function that found it; a diagnostic has that under which it is registered.
    title : str
        What was looked at, as a heading; a diagnostic has that under which it is registered.
    verdict : str
        What was found, in one sentence.
    evidence : tuple of str
        What it rests on and what else was found, the most important first.
    frame : DataFrame
        The table behind it.
    chart : callable
        Draws the frame, on given axes or on a figure of its own; one of :mod:`study.figures` with its labels.
    against : bool or None
        Whether it speaks against the design's assumptions; None where it says how strong a violation would have to be,
        or what an estimate rests on, and not whether there is one.
    objection : str
        Where it speaks against them, what does, as the end of a sentence.
    details : mapping
        Numbers and tables by name, besides the frame; ``finding["name"]`` looks one up.
    """

    name: str = ""
    title: str = ""
    verdict: str
    evidence: tuple[str, ...]
    frame: pd.DataFrame
    chart: Chart
    against: bool | None = None
    objection: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """Return a detail by its name."""
        if name not in self.details:
            raise KeyError(f"{self.name} has no {name!r}; it has {', '.join(self.details)}.")
        return self.details[name]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict and its evidence."""
        return (self.verdict, *self.evidence)

    def tidy(self) -> pd.DataFrame:
        """Return the table."""
        return self.frame.copy()

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draw the figure, on given axes where there are some."""
        return self.chart(self.frame, ax)

    def __str__(self) -> str:
        """The title and the sentences, one a line."""
        return "\n".join([self.title, *self.sentences])

    def _repr_html_(self) -> str:
        paragraphs = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.sentences)
        table = self.frame.to_html(index=False, na_rep="", float_format="%.4g", border=0)
        return f"<h4>{html.escape(self.title)}</h4>{paragraphs}{table}"
