"""Randomization tests, which deal event dates anew: in every way where there are few ways, else at random."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, one_thread
from study.estimates import least_as_large

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Order = NDArray[np.int64]
Statistic = Callable[[Order], float]
Kind = Literal["t", "estimate"]

AT_ONCE = 25
BINS = 40
TAIL = 0.005


@dataclass(frozen=True, eq=False)
class Randomization:
    """A randomization test.

    Attributes
    ----------
    statistic : float
        Of the event dates as they are.
    p_value : float
        Two-sided.
    permutations : int
        Assignments that the p-value rests on: all there are, the actual one among them, if ``exact``.
    exact : bool
    drawn : ndarray, shape (permutations,)
        The statistic of each assignment; NaN where it is not defined, which counts as extreme.
    kind : {"t", "estimate"}
        What the statistic is.
    of : str
        Whose statistic it is.
    null : float
        The effect that every treated unit has under the hypothesis.
    among : str
        Between whom dates were permuted.
    units : str
        Of the estimate, for the figure.
    caveats : tuple of str
        What has to be known besides, in sentences.
    """

    statistic: float
    p_value: float
    permutations: int
    exact: bool
    drawn: FloatArray = field(repr=False)
    kind: Kind = "t"
    of: str = "the estimate"
    null: float = 0.0
    among: str = "units"
    units: str = ""
    caveats: tuple[str, ...] = ()

    @property
    def undefined(self) -> int:
        """Number of assignments for which the statistic is not defined."""
        return int(np.isnan(self.drawn).sum())

    @property
    def title(self) -> str:
        """What was tested."""
        return f"Randomization test of {self.of}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was tested, what came out, and what it rests on."""
        outcome, hypothesis = "", "no effect on any unit in any period"
        if self.null:
            outcome = f"On outcomes freed of an effect of {self.null:g} in every treated period: "
            hypothesis = "this effect on every treated unit in every treated period"
        found = (
            f"{outcome}{'with' if outcome else 'With'} event dates permuted between {self.among}, {self._name} of "
            f"{self.of} is at least as far from zero as the actual {self.statistic:.3g} in a share of "
            f"{self.p_value:.3g}, the p-value of the hypothesis that the event has {hypothesis}."
        )
        return (found, self._basis, *self._not_defined, *self.caveats)

    @property
    def _name(self) -> str:
        return "the t statistic" if self.kind == "t" else "the estimate"

    @property
    def _basis(self) -> str:
        valid = "It needs no large sample, but that every assignment was as likely as the actual one"
        if self.exact:
            return (
                f"{valid}; there are {self.permutations:,} ways and each was computed once, so that the smallest "
                f"possible p-value is {1 / self.permutations:.2g}."
            )
        error = math.sqrt(self.p_value * (1 - self.p_value) / self.permutations)
        return (
            f"{valid}; {self.permutations:,} ways were drawn, so that another seed would move the p-value by about "
            f"{max(error, 1 / (self.permutations + 1)):.2g}."
        )

    @property
    def _not_defined(self) -> tuple[str, ...]:
        if not self.undefined:
            return ()
        return (
            f"In {self.undefined:,} of the {self.permutations:,} ways {self._name} is not defined, because the design "
            "refuses these dates, or the effect or its standard error does not exist; they count as at least as far "
            "from zero, which can only make the p-value larger.",
        )

    def tidy(self) -> pd.DataFrame:
        """Return one row: what was tested, the statistic, its p-value and what it rests on."""
        import pandas as pd

        return pd.DataFrame(
            {
                "term": [self.of],
                "kind": [self.kind],
                "null": [self.null],
                "statistic": [self.statistic],
                "p_value": [self.p_value],
                "permutations": [self.permutations],
                "exact": [self.exact],
                "undefined": [self.undefined],
            }
        )

    def plot(self) -> Figure:
        """Draw the distribution of the statistic over assignments, with the actual one."""
        from study.figures import canvas

        drawn, size = self.drawn[~np.isnan(self.drawn)], abs(self.statistic)
        values = np.append(drawn, (-size, size))
        low = min(float(np.quantile(values, TAIL, method="lower")), -size)
        high = max(float(np.quantile(values, 1 - TAIL, method="higher")), size)
        label = f"{self._name.removeprefix('the ')} with event dates permuted"
        if self.units and self.kind == "estimate":
            label += f"\n({self.units})"
        if np.any((drawn < low) | (drawn > high)):
            label += "\n(the outermost bars hold all beyond them)"
        with canvas.canvas() as figure:
            axes = figure.subplots()
            bins = list(np.linspace(low, high or 1.0, BINS + 1))
            axes.hist(
                np.clip(drawn, low, high), bins=bins, color=canvas.BAND, edgecolor="white", linewidth=0.4
            )
            axes.axvline(self.statistic, color=canvas.SECOND, label=f"actual dates: {self.statistic:.3g}")
            axes.axvline(-self.statistic, color=canvas.SECOND, linestyle=":", label="the same, other sign")
            axes.set_xlabel(label)
            axes.set_ylabel("assignments" if self.exact else "draws")
            axes.set_title(f"{self.title}\np = {self.p_value:.3f}", loc="left")
            figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return figure


def randomization_test(
    statistic: Statistic,
    strata: NDArray[Any],
    *,
    permutations: int,
    seed: int,
    dates: NDArray[Any] | None = None,
    jobs: int = 1,
    progress: Callable[[], None] | None = None,
) -> Randomization:
    """Compare a statistic with its distribution when event dates are permuted within strata.

    Valid, in finite samples, for the sharp null of no effect on any unit if dates are exchangeable
    within strata (Fisher 1935; for staggered adoption, Roth and Sant'Anna 2023).

    Parameters
    ----------
    statistic : callable
        Takes the order in which the units' event dates are permuted, shape (n,): unit i has the date of unit
        ``order[i]``. Larger in absolute value is more extreme, and NaN, not defined, is most extreme.
        With more than one job it has to be fit for pickling.
    strata : ndarray, shape (n,)
        Dates are exchanged only between units of one stratum.
    permutations, seed : int
        Where there are no more assignments than ``permutations``, each is taken once and nothing is drawn.
    dates : ndarray, shape (n,)
        Equal where units have the same date; without them, no two units have.
    jobs : int
        Processes; the result does not depend on it.
    progress : callable, optional
        Called once for each permutation.

    Returns
    -------
    Randomization
        With p = (1 + draws at least as extreme) / (1 + draws), or the share of all ways that are.

    Raises
    ------
    QuestionError
        If the statistic is not defined for the dates as they are, or there is one assignment only.
    """
    groups = [np.flatnonzero(strata == label) for label in np.unique(strata)]
    dated = np.arange(len(strata)) if dates is None else np.unique(dates, return_inverse=True)[1]
    ways = number_of_assignments([dated[members] for members in groups])
    if ways <= 1:
        raise QuestionError(
            "randomization: all units of a stratum have the same event date, so that there is nothing to deal; "
            "take coarser strata."
        )
    with one_thread():
        observed = statistic(np.arange(len(strata)))
    if np.isnan(observed):
        raise QuestionError("randomization: the statistic is not defined for the event dates as they are.")
    exact = ways <= permutations
    orders = every_order(groups, dated) if exact else drawn_orders(groups, permutations, seed)
    drawn = np.array(_statistics(statistic, orders, jobs, progress))
    size = np.abs(drawn)
    typical = float(np.median(size[~np.isnan(size)])) if not np.isnan(size).all() else 0.0
    extreme = int(np.sum(~(size < least_as_large(abs(observed), typical))))
    p_value = extreme / len(drawn) if exact else (1 + extreme) / (1 + len(drawn))
    return Randomization(observed, p_value, len(drawn), exact, drawn)


def number_of_assignments(dates: list[NDArray[Any]]) -> float:
    """Return in how many ways units can have the dates of their strata; infinity for more than 1e12.

    The product over strata of multinomial coefficients, where the same date of two units makes no two ways.
    """
    log = 0.0
    for own in dates:
        log += math.lgamma(len(own) + 1)
        log -= sum(math.lgamma(size + 1) for size in np.unique(own, return_counts=True)[1])
    return float(round(math.exp(log))) if log < math.log(1e12) else math.inf


def every_order(groups: list[Order], dates: NDArray[np.int64]) -> Iterator[Order]:
    """Yield one order for each assignment; dates are numbers from 0 on, shape (n,)."""
    holder = np.unique(dates, return_index=True)[1]
    for permuted in _together([dates[members] for members in groups]):
        order = np.empty(len(dates), dtype=np.int64)
        for members, own in zip(groups, permuted, strict=True):
            order[members] = holder[list(own)]
        yield order


def _together(strata: list[NDArray[np.int64]]) -> Iterator[tuple[tuple[int, ...], ...]]:
    """Yield each combination of arrangements of the numbers of each stratum."""
    if not strata:
        yield ()
        return
    for first in _rearranged(strata[0]):
        for others in _together(strata[1:]):
            yield first, *others


def _rearranged(numbers: NDArray[np.int64]) -> Iterator[tuple[int, ...]]:
    """Yield each distinct arrangement of numbers once, in lexicographic order."""
    row = sorted(numbers.tolist())
    while True:
        yield tuple(row)
        k = next((k for k in range(len(row) - 2, -1, -1) if row[k] < row[k + 1]), None)
        if k is None:
            return
        other = next(m for m in range(len(row) - 1, k, -1) if row[m] > row[k])
        row[k], row[other] = row[other], row[k]
        row[k + 1 :] = row[:k:-1]


def drawn_orders(groups: list[Order], permutations: int, seed: int) -> Iterator[Order]:
    """Yield random orders, each a permutation within strata."""
    rng, identity = np.random.default_rng(seed), np.arange(sum(map(len, groups)))
    for _ in range(permutations):
        order = identity.copy()
        for members in groups:
            order[members] = rng.permutation(members)
        yield order


def _statistics(
    statistic: Statistic, orders: Iterator[Order], jobs: int, progress: Callable[[], None] | None
) -> list[float]:
    """Return the statistic of each order."""
    if jobs == 1:
        return _each(statistic, orders, progress)
    from joblib import Parallel, delayed

    parts = iter(lambda: list(islice(orders, AT_ONCE)), [])
    found: list[float] = []
    for part in Parallel(n_jobs=jobs, return_as="generator")(delayed(_each)(statistic, p) for p in parts):
        found += part
        for _ in part if progress is not None else ():
            assert progress is not None
            progress()
    return found


def _each(
    statistic: Statistic, orders: Iterable[Order], progress: Callable[[], None] | None = None
) -> list[float]:
    found = []
    with one_thread():  # processes have fewer threads, with which sums round in another order
        for order in orders:
            found.append(statistic(order))
            if progress is not None:
                progress()
    return found
