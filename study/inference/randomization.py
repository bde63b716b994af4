"""Randomization tests, which permute event dates: every assignment where there are few, else random ones."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, combinations, islice, product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from study.core import (
    FloatArray,
    QuestionError,
    checked,
    in_parallel,
    listed,
    p_is,
    p_text,
    refuse_unknown,
    tell,
)
from study.designs import Design, find_design
from study.estimates import Estimate, p_of_draws
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


Order = NDArray[np.int64]
Kind = Literal["t", "estimate"]

AT_ONCE = 50
TAIL = 0.005  # of the draws, on a side, may lie beyond the figure
UNITS = {
    "level": "units of the outcome",
    "log1p": "log(1 + outcome)",
    "proportional": "share of the counterfactual mean",
}


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
    def sentences(self) -> tuple[str, ...]:
        """What was tested, what came out, and what it rests on."""
        statistic = "the t statistic" if self.kind == "t" else "the estimate"
        opening, hypothesis = "With", "no effect on any unit in any period"
        if self.null:
            opening = f"On outcomes freed of an effect of {self.null:g} in every treated period: with"
            hypothesis = "this effect on every treated unit in every treated period"
        if self.exact:
            basis = (
                f"there are {self.permutations:,} assignments and each was computed once, so that the smallest "
                f"possible p-value is {1 / self.permutations:.2g}."
            )
        else:
            error = math.sqrt(self.p_value * (1 - self.p_value) / self.permutations)
            basis = (
                f"{self.permutations:,} assignments were drawn, so that another seed would move the p-value by about "
                f"{max(error, 1 / (self.permutations + 1)):.2g}."
            )
        sentences = [
            f"{opening} event dates permuted between {self.among}, {statistic} of {self.of} is at least as far from "
            f"zero as the actual {self.statistic:.3g} in a share of {p_text(self.p_value)}, the p-value of the "
            f"hypothesis that the event has {hypothesis}.",
            f"It needs no large sample, but that every assignment was as likely as the actual one; {basis}",
        ]
        if self.undefined:
            sentences.append(
                f"In {self.undefined:,} of the {self.permutations:,} assignments {statistic} is not defined, because "
                "the design refuses these dates, or the effect or its standard error does not exist; they count as at "
                "least as far from zero, which can only make the p-value larger."
            )
        return (*sentences, *self.caveats)

    def tidy(self) -> pd.DataFrame:
        """Return one row: what was tested, the statistic, its p-value and what it rests on."""
        import pandas as pd

        names = ("kind", "null", "statistic", "p_value", "permutations", "exact", "undefined")
        return pd.DataFrame([{"term": self.of} | {name: getattr(self, name) for name in names}])

    def plot(self) -> Figure:
        """Draw the distribution of the statistic over assignments, with the actual one."""
        label = f"{'t statistic' if self.kind == 't' else 'estimate'} with event dates permuted"
        if self.units and self.kind == "estimate":
            label += f"\n({self.units})"
        title = f"Randomization test of {self.of}\n{p_is(self.p_value)}"
        return histogram(self.drawn, self.statistic, label, "actual dates", self.exact, title)


def histogram(drawn: FloatArray, actual: float, label: str, of: str, exact: bool, title: str) -> Figure:
    """Draw the distribution of draws, of shape (B,), with the actual value, whose name is ``of``, and its opposite."""
    from study.figures import BAND, SECOND, canvas

    drawn, size = drawn[~np.isnan(drawn)], abs(actual)
    values = np.append(drawn, (-size, size))
    low, high = np.quantile(values, TAIL, method="lower"), np.quantile(values, 1 - TAIL, method="higher")
    low, high = min(low, -size), max(high, size)
    if np.any((drawn < low) | (drawn > high)):
        label += "\n(the outermost bars hold all beyond them)"
    bins = np.linspace(low, high or 1.0, 41).tolist()
    with canvas() as figure:
        axes = figure.subplots()
        bars: Any = {"color": BAND, "edgecolor": "white", "linewidth": 0.4}
        axes.hist(np.clip(drawn, low, high), bins=bins, **bars)
        axes.axvline(actual, color=SECOND, label=f"{of}: {actual:.3g}")
        axes.axvline(-actual, color=SECOND, linestyle=":", label="the same, other sign")
        axes.set(xlabel=label, ylabel="assignments" if exact else "draws")
        axes.set_title(title, loc="left")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def number_of_assignments(dates: list[NDArray[Any]]) -> float:
    """Return how many assignments of dates to units their strata allow; infinity for more than 1e12.

    The product over strata of multinomial coefficients, where the same date of two units makes no two assignments.
    """
    log = 0.0
    for own in dates:
        log += math.lgamma(len(own) + 1)
        log -= sum(math.lgamma(size + 1) for size in np.unique(own, return_counts=True)[1])
    return float(round(math.exp(log))) if log < math.log(1e12) else math.inf


def every_order(groups: list[Order], dates: NDArray[np.int64]) -> Iterator[Order]:
    """Yield one order for each assignment; dates are numbers from 0 on, shape (n,)."""
    holder = np.unique(dates, return_index=True)[1]
    own_dates = [np.sort(dates[members]) for members in groups]
    choices = (every_choice(np.bincount(own).tolist(), m) for own, m in zip(own_dates, groups, strict=True))
    for takers in product(*choices):
        order = np.empty(len(dates), dtype=np.int64)
        for own, units in zip(own_dates, takers, strict=True):
            order[list(units)] = holder[own]
        yield order


def every_choice(sizes: list[int], free: Iterable[int]) -> Iterator[tuple[int, ...]]:
    """Yield free units for places, of which there are ``sizes`` of each kind, without regard to order within a kind."""
    if not sizes:
        yield ()
        return
    units = tuple(free)
    for chosen in combinations(units, sizes[0]):
        rest = (unit for unit in units if unit not in chosen)
        yield from (chosen + others for others in every_choice(sizes[1:], rest))


def drawn_orders(groups: list[Order], permutations: int, seed: int) -> Iterator[Order]:
    """Yield random orders, each a permutation within strata."""
    rng, identity = np.random.default_rng(seed), np.arange(sum(map(len, groups)))
    for _ in range(permutations):
        order = identity.copy()
        for members in groups:
            order[members] = rng.permutation(members)
        yield order


@checked
def randomization(
    sample: Sample,
    design: str,
    *,
    strata: str | None = None,
    permutations: int = 999,
    statistic: Kind = "t",
    null: float = 0.0,
    seed: int = 0,
    jobs: int = 1,
    **options: Any,
) -> Randomization:
    """Test a sharp null with a design's headline, permuting the units' event dates (or treatment paths).

    The p-value is valid in finite samples, however few units are treated, if every assignment was as likely
    as the actual one. With the t statistic the test is moreover valid in large samples for the weak null that
    the average effect is zero (Wu and Ding 2021; for staggered adoption, Roth and Sant'Anna 2023, Section 4.3).
    Outcomes, covariates, weights and gaps stay with their units.

    Dates are permuted between units of one stratum. With ``Question.cluster``, where no cluster has two dates, they
    are permuted between whole clusters of one stratum, since then it is clusters that adopt; where some cluster has
    two, between units, which needs units of one cluster to adopt independently (or dates to be exchangeable
    within clusters, with the cluster for ``strata``).

    Parameters
    ----------
    sample : Sample
    design : str
        Name of a design of the catalogue.
    strata : str, optional
        An attribute of the panel; all units are one stratum where none is given.
    permutations : int
        Where there are no more assignments, each is computed once and the p-value is the share of those at
        least as extreme, the actual one among them; otherwise so many are drawn, and p = (1 + those at least as
        extreme) / (1 + permutations).
    statistic : {"t", "estimate"}
        The headline over its standard error, or the headline alone. Its absolute value is compared;
        assignments that the design refuses, or for which it is not defined, count as at least as extreme.
    null : float
        The effect on every treated unit in every treated period, periods of anticipation among them, on the
        question's scale; the test is one of no effect on outcomes that are freed of it.
    seed : int
        Of the draws, and of the design where it draws itself. The draws do not change with the order of the units,
        but with their labels.
    jobs : int
        Processes; the result does not depend on it.
    **options
        Options of the design.

    Returns
    -------
    Randomization

    Raises
    ------
    QuestionError
        If an argument is not one of those above, the question has an instrument, the design cannot answer it, its
        statistic is not defined for the dates as they are, there is one assignment only, or dates would have to be
        permuted between clusters that lie in two strata.

    References
    ----------
    Roth, J., and Sant'Anna, P. H. C. (2023). Efficient estimation for staggered rollout designs. Journal of
    Political Economy Microeconomics 1(4).
    Wu, J., and Ding, P. (2021). Randomization tests for weak null hypotheses in randomized experiments. Journal
    of the American Statistical Association 116(536).
    """
    sample.needs_units("randomization")
    if permutations < 1:
        raise QuestionError(
            f"randomization: permutations is {permutations}; it must be a whole number from 1 on."
        )
    if sample.question.scale == "proportional" and null <= -1:
        raise QuestionError(f"randomization: null is {null!r}; it must be a finite number above -1.")
    refuse_instruments("randomization", sample)
    if strata is not None:
        refuse_unknown("attribute", strata, sample.attributes, "randomization, strata")
    chosen = find_design(design)
    options = chosen.seeded(options, seed)
    freed = replace(sample, y=without(sample, null)) if null else sample
    headline = chosen(freed, **options).headline
    of = f"{design}'s {headline.terms[0]}"
    observed = _value(headline, statistic)
    if np.isnan(observed):
        instead = '; use statistic="estimate"' if statistic == "t" and np.isfinite(headline.effect[0]) else ""
        raise QuestionError(
            f"randomization: {of} has no {'standard error' if statistic == 't' else 'value'} with the event dates as "
            f"they are, so that there is nothing to compare{instead}."
        )
    labels, caveats = _permuted_between(sample)
    _, source, place = np.unique(labels, return_index=True, return_inverse=True)
    stratum = _strata(sample, strata, source, place)
    among = f"{len(source):,} {'units' if labels is sample.unit_ids else 'clusters'}"
    if strata is not None:
        among += f" within {len(np.unique(stratum))} strata of {strata}"
    dates = np.unique(numbers_of_dates(sample)[source], return_inverse=True)[1]
    groups = [np.flatnonzero(stratum == label) for label in np.unique(stratum)]
    assignments = number_of_assignments([dates[members] for members in groups])
    if assignments <= 1:
        raise QuestionError(
            f"randomization: {among} have the same date of {sample.question.event} as all others of their stratum, so "
            "that there is nothing to permute; take coarser strata."
        )
    exact = assignments <= permutations
    orders = every_order(groups, dates) if exact else drawn_orders(groups, permutations, seed)
    blocks = iter(lambda: list(islice(orders, AT_ONCE)), [])
    refit, drawn = _Refit(freed, chosen, options, statistic, source, place), []
    for value in chain.from_iterable(in_parallel(refit.each, blocks, jobs=jobs)):
        drawn.append(value)
        tell(f"permutation {len(drawn)}")
    return Randomization(
        statistic=observed,
        p_value=p_of_draws(np.array(drawn), observed, exact=exact),
        permutations=len(drawn),
        exact=exact,
        drawn=np.array(drawn),
        kind=statistic,
        of=of,
        null=float(null),
        among=among,
        units=UNITS[sample.question.scale],
        caveats=caveats,
    )


@dataclass(frozen=True, eq=False)
class _Refit:
    """A design's statistic with the dates of units or clusters permuted.

    ``source`` is a unit of each of them, shape (m,), and ``place`` says which of them each unit is of, (n,).
    """

    sample: Sample
    design: Design
    options: dict[str, Any]
    kind: Kind
    source: Order
    place: Order

    def __call__(self, order: Order) -> float:
        """Return the statistic, NaN where the design refuses these dates."""
        try:
            permuted = self.sample.permuted(self.source[order][self.place])
            return _value(self.design(permuted, **self.options).headline, self.kind)
        except QuestionError:
            return np.nan

    def each(self, orders: list[Order]) -> list[float]:
        """Return the statistic of each order, of all together where the design can, and else one by one."""
        units = self.source[np.stack(orders)][:, self.place]
        every = self.design.assigned and self.design.assigned(self.sample, units, **self.options)
        if every is None:
            return [*map(self, orders)]
        effect, std_error, known = every
        values = effect / std_error if self.kind == "t" else effect
        return [v if k else self(order) for order, v, k in zip(orders, values.tolist(), known, strict=True)]


def refuse_instruments(who: str, sample: Sample) -> None:
    """Refuse questions with an instrument, which moves nobody to treatment once dates are permuted.

    The statistic of ``iv`` is then of an instrument without a first stage, which is no draw of its distribution.
    """
    names = sample.question.instruments
    if names:
        raise QuestionError(
            f"{who}: with an instrument {listed(names)} is as good as random and treatment, whose dates are given to "
            "other units here, is not; take the date at which it starts as the event, without an instrument."
        )


def without(sample: Sample, effect: float) -> FloatArray:
    """Return the outcome, on the scale of ``sample.y``, less an effect on every treated cell, shape (n, T)."""
    if sample.question.scale == "proportional":
        return sample.y / (1 + effect * sample.treatment)
    return sample.y - effect * sample.treatment


def _value(headline: Estimate, kind: Kind) -> float:
    return float(headline.effect[0] / headline.std_error[0] if kind == "t" else headline.effect[0])


def numbers_of_dates(sample: Sample) -> NDArray[np.int64]:
    """Number the distinct event dates with their doses, or paths, of the units, shape (n,)."""
    rows = sample.path
    if sample.first_treated is not None:
        if sample.dose is None:
            return sample.group_number
        rows = np.column_stack([sample.group_number, sample.dose])
    assert rows is not None
    return np.unique(np.nan_to_num(rows, nan=-1.0), axis=0, return_inverse=True)[1].reshape(-1)


def _permuted_between(sample: Sample) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the label of the unit or cluster to which dates are permuted, shape (n,), and what to say of it."""
    cluster = sample.question.cluster
    if cluster is None:
        return sample.unit_ids, ()
    pairs = np.unique(np.column_stack([sample.cluster, numbers_of_dates(sample)]), axis=0)
    if len(pairs) == len(np.unique(sample.cluster)):
        return sample.cluster_labels, (
            f"No cluster ({cluster}) has units with two event dates, so dates were permuted between whole clusters.",
        )
    two = "two event dates" if sample.dose is None else "two event dates or doses"
    return sample.unit_ids, (
        f"Some clusters ({cluster}) have units with {two}, so dates were permuted between units; the p-value is valid "
        "if units of one cluster adopt independently of one another.",
    )


def _strata(sample: Sample, strata: str | None, source: Order, place: Order) -> NDArray[Any]:
    """Return the stratum of each unit or cluster to which dates are permuted, shape (m,)."""
    if strata is None:
        return np.zeros(len(source), dtype=np.int64)
    of_unit = sample.attributes[strata].astype(str)
    own: NDArray[Any] = of_unit[source]
    straddling = np.flatnonzero(own[place] != of_unit)
    if len(straddling):
        cluster = sample.cluster_labels[straddling[0]]
        raise QuestionError(
            f"randomization: cluster {cluster} of {sample.question.cluster} has units in two strata of {strata}, but "
            "dates are permuted between whole clusters; take strata that hold whole clusters, or none."
        )
    return own
