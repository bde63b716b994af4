"""What effects are measured in: their factor, unit and label on each scale, said in one place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from textwrap import fill
from typing import Literal

from study.core import decimals, fixed

ScaleName = Literal["level", "log1p", "proportional"]

MEAN = "the counterfactual mean"
LONGEST = 42  # letters of a line below an axis


@dataclass(frozen=True)
class Scale:
    """The scale of an effect on an outcome.

    Attributes
    ----------
    name : {"level", "log1p", "proportional"}
    outcome : str
        What the outcome is called.
    """

    name: str
    outcome: str = "outcome"

    @property
    def percent(self) -> bool:
        """Whether effects are shares, which are shown in percent."""
        return self.name == "proportional"

    @property
    def factor(self) -> int:
        """By which an effect is multiplied to be shown."""
        return 100 if self.percent else 1

    @property
    def unit(self) -> str:
        """The unit that follows an effect as :meth:`text` writes it."""
        return self._which(self.outcome, "log points", f"of {MEAN}")

    @property
    def column(self) -> str:
        """The unit of shown numbers, as in the heading of a column or beside an axis."""
        return f"% {self.unit}" if self.percent else self.unit

    @property
    def title(self) -> str:
        """What the scale is called over a panel of a figure and before a sentence."""
        return self._which("In the outcome's units", "Log(1 + outcome)", "Proportional")

    @property
    def quantity(self) -> str:
        """What the effect is on, so that outcomes on unlike scales do not share a heading."""
        return self._which(self.outcome, f"log(1 + {self.outcome})", f"{self.outcome}, as a share")

    @property
    def printed(self) -> str:
        """The unit in which :meth:`number` prints effects, without the outcome's name."""
        return self._which("in units of the outcome", "on log(1 + outcome)", f"percent of {MEAN}")

    def _which(self, level: str, log1p: str, proportional: str) -> str:
        return {"level": level, "log1p": log1p}.get(self.name, proportional)

    def text(self, value: float) -> str:
        """Write an effect for a sentence, in percent where it is a share.

        Parameters
        ----------
        value : float
            On the scale: a share of the counterfactual mean for "proportional".

        Returns
        -------
        str

        Examples
        --------
        >>> Scale("proportional").text(0.187)
        '18.7%'
        """
        return f"{fixed(100 * value, 1)}%" if self.percent else f"{value + 0.0:.3g}"

    def texts(self, *values: float) -> list[str]:
        """Write effects of one sentence with as many decimals as leave the largest of them three digits.

        Parameters
        ----------
        *values : float
            On the scale, as for :meth:`text`.

        Returns
        -------
        list of str

        Examples
        --------
        >>> Scale("level", "papers").texts(5.0134, 1.793, 8.2)
        ['5.01', '1.79', '8.20']
        """
        if self.percent:
            return [*map(self.text, values)]
        largest = max((abs(value) for value in values if math.isfinite(value) and value), default=100.0)
        digits = max(0, 2 - math.floor(math.log10(largest)))
        return [fixed(value, digits) for value in values]

    def interval(self, low: float, high: float) -> str:
        """Write an interval for a sentence.

        Parameters
        ----------
        low, high : float
            Its ends on the scale, as for :meth:`text`.

        Returns
        -------
        str
        """
        return f"[{', '.join(self.texts(low, high))}]"

    def number(self, value: float) -> str:
        """Write an effect without its unit: percent with one decimal, else three decimals.

        Parameters
        ----------
        value : float
            On the scale, as for :meth:`text`.

        Returns
        -------
        str
            "(none)" for NaN.
        """
        if math.isnan(value):
            return "(none)"
        digits = 1 if self.percent else decimals(3, value)
        return fixed(self.factor * value, digits).replace("-", "\N{MINUS SIGN}")

    def axis(self, outcome: str | None = None, longest: int = LONGEST) -> str:
        """Name an axis of effects, in several lines if one is too short.

        Parameters
        ----------
        outcome : str, optional
            What the outcome is called here; the scale's own where none is given.
        longest : int
            Letters of a line.

        Returns
        -------
        str
        """
        name = self.outcome if outcome is None else outcome
        if self.name == "level" and self.unit == name:
            return fill(f"Effect on {name}", longest)
        apart = " " if len(f"Effect on {name}, {self.column}") <= longest else "\n"
        return "\n".join(fill(line, longest) for line in f"Effect on {name},{apart}{self.column}".split("\n"))

    def short_axis(self) -> str:
        """Name an axis beside others of the same outcome."""
        if self.percent:
            return "Effect, % of the\ncounterfactual mean"
        return f"Effect on {self.quantity}"
