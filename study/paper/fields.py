"""The second question: does a field whose compute grows lose academic-only teams?

Few fields are seen, so every assignment of the treated ones is computed (Abadie, Diamond and Hainmueller 2010; Ahmed
and Wahed 2020 ask the question of venues with generalized synthetic control).

With T_a(tau) the estimate under assignment a from outcomes freed of an effect tau, 0 the actual one, the p-value of tau
is the share of assignments whose |T_a(tau)| is at least |T_0(tau)|. For a contrast T_a(tau) = A_a - tau B_a.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations, permutations, product
from math import comb, factorial, prod
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from study.core import (
    BoolArray,
    FloatArray,
    QuestionError,
    not_known,
    one_thread,
    synthetic_control_weights,
    time_weights,
    unit_weights,
)
from study.estimates import POWER, SIZE, TIE, least_as_large
from study.panel import Panel
from study.paper.plan_keys import Count, Name, Period, Proportion, Share, Titles

Method = Literal["regression", "synthetic_did", "synthetic_control"]
Permuted = Literal["within_venue", "any_fields", "areas", "doses"]
EVENT = "gpu_shock"
# All pairs of assignments are compared for the minimum detectable effect.
MOST = 5_000
POINTS = 100.0
Answers = Mapping[tuple[str, str], "Answer"]


@dataclass(frozen=True)
class Line:
    """One comparison of treated with other fields.

    Attributes
    ----------
    label, title : str
    panel : str
        Name of a panel of fields that ships.
    method : {"regression", "synthetic_did", "synthetic_control"}
        Effects of each field and of each venue and year, cells weighted by papers; or synthetic comparisons.
    permuted : {"within_venue", "any_fields", "areas", "doses"}
        What the assignments are: fields of each venue swapped, any fields, areas at all venues
        together, or areas' doses.
    last_before : int, optional
        Last base year; by default that before the event at the field's venue.
    years : tuple of int
        The block's years; empty for all that are known.
    papers : int, optional
        Papers that a field needs before and after (in a block each year); by default the plan's.
    dose_years : int
        Years after the base in which a dose must be known.
    """

    label: Name
    title: Name
    panel: Name
    method: Method
    permuted: Permuted
    last_before: Period | None = None
    years: tuple[Period, ...] = ()
    papers: Count | None = None
    dose_years: Count = 1

    def __post_init__(self) -> None:
        """Refuse what does not go together."""
        if self.in_block != (self.permuted == "any_fields"):
            raise ValueError(
                f'method "{self.method}" does not go with permuted "{self.permuted}"; synthetic comparisons take '
                '"any_fields", a regression takes another.'
            )
        if self.in_block and (not self.years or self.last_before is None):
            raise ValueError("a synthetic comparison needs years and last_before.")

    @property
    def in_block(self) -> bool:
        """Whether it needs every field in every year."""
        return self.method != "regression"


@dataclass(frozen=True)
class FieldsPlan:
    """All comparisons and what they share.

    Attributes
    ----------
    lines : tuple of Line
    main : str
        Label of the line that gives the verdict, on the first outcome.
    outcomes : mapping of str to str
        Shares of the panels and what they are called.
    level : float
        Of the confidence sets.
    papers : int
        Papers that a field needs before and after.
    coverage : float
        Least share of a venue's papers with an affiliation in a year that is used.
    """

    lines: Annotated[tuple[Line, ...], Field(min_length=1)]
    main: Name
    outcomes: Titles
    level: Share
    papers: Count
    coverage: Proportion

    def __post_init__(self) -> None:
        """Refuse labels that are not of one line alone, and a main line that is not there."""
        labels = [line.label for line in self.lines]
        if len(set(labels)) < len(labels):
            raise ValueError("two lines have the same label; each needs its own.")
        if self.main not in labels:
            raise not_known("line", self.main, labels)

    @property
    def outcome(self) -> str:
        """The first outcome, of the verdict."""
        return next(iter(self.outcomes))


@dataclass(frozen=True, eq=False)
class Cells:
    """n fields over T years.

    Attributes
    ----------
    fields, venues, kinds : ndarray of str, shape (n,)
        Names; venues; topics or areas.
    years : ndarray of int, shape (T,)
    papers : ndarray, shape (n, T)
        Zero where the year is not used.
    after : ndarray of bool, shape (n, T)
        Years after the base.
    assigned : ndarray, shape (n,)
        1 for treated fields, else 0; or the dose.
    event_year : int
        Last year that no venue could yet write in after the event.
    """

    fields: NDArray[Any]
    venues: NDArray[Any]
    kinds: NDArray[Any]
    years: NDArray[np.int64]
    papers: FloatArray
    after: BoolArray
    assigned: FloatArray
    event_year: int

    @property
    def used(self) -> BoolArray:
        """Which cells have papers, shape (n, T)."""
        return self.papers > 0

    @property
    def treated(self) -> BoolArray:
        """Which fields are treated, or have a dose, shape (n,)."""
        return self.assigned > 0

    def treatment(self, assigned: FloatArray) -> FloatArray:
        """Return a field's number in years after the base, else 0, shape (..., n, T); takes shape (..., n)."""
        return assigned[..., None] * self.after


def cells_of(panel: Panel, line: Line, plan: FieldsPlan) -> Cells:
    """Return what a line compares, by the rules of the plan.

    Raises
    ------
    QuestionError
        If no treated and other field, or no two doses, are left.
    """
    kind = panel.attributes["topic" if "topic" in panel.attributes else "area"].astype(str)
    venue = panel.attributes["venue"].astype(str)
    shock = panel.first_treated[EVENT]
    seen = (panel.outcomes["papers"] > 0) & (panel.covariates["coverage"] >= plan.coverage)
    if line.years:
        seen &= np.isin(panel.periods, line.years)
    papers = np.where(seen, panel.outcomes["papers"], 0.0)
    after = panel.periods >= _first_after(line, venue, shock)[:, None]
    assigned = (~np.isnan(shock)).astype(float)
    least = plan.papers if line.papers is None else line.papers
    if line.in_block:
        keep = papers[:, np.isin(panel.periods, line.years)].min(axis=1) >= least
    else:
        keep = np.minimum((papers * after).sum(axis=1), (papers * ~after).sum(axis=1)) >= least
    if line.permuted == "doses":
        assigned = doses(panel, after, line.dose_years)
        keep &= ~np.isnan(assigned)
    if not line.in_block:
        # Fields of a venue that has two kept fields with different numbers.
        compared = [v for v in np.unique(venue) if len(np.unique(assigned[keep & (venue == v)])) > 1]
        keep &= np.isin(venue, compared)
    if not keep.any() or len(np.unique(assigned[keep])) < 2:
        raise QuestionError(
            f"[fields], {line.label}: no treated and other field with {least} papers or more is left in "
            f"{panel.name}; ask for fewer papers or other years."
        )
    cells = np.ix_(keep, papers[keep].any(axis=0))
    names = panel.units[keep], venue[keep], kind[keep], panel.periods[papers[keep].any(axis=0)]
    return Cells(*names, papers[cells], after[cells], assigned[keep], int(np.nanmin(shock)) - 1)


def _first_after(line: Line, venue: NDArray[Any], shock: FloatArray) -> FloatArray:
    """Return the first year after the base of each field: the plan's, or that of the event at its venue."""
    if line.last_before is not None:
        return np.full(len(venue), line.last_before + 1.0)
    of_venue = {v: np.nanmin(shock[venue == v], initial=np.inf) for v in np.unique(venue)}
    return np.array([of_venue[v] for v in venue])


def doses(panel: Panel, after: BoolArray, least: int) -> FloatArray:
    """Return the mean growth of compute after the base of each field with a domain of its own, shape (n,).

    Orders of magnitude a year; NaN for fields that stand beside all models, and where fewer than ``least`` years
    have a number.
    """
    growth = np.where(after, panel.covariates["compute_growth"], np.nan)
    count = (~np.isnan(growth)).sum(axis=1)
    own = (panel.attributes["compute_field"].astype(str) != "all") & (count >= max(least, 1))
    mean = np.nansum(growth, axis=1) / np.maximum(count, 1)
    return np.where(own, mean, np.nan)


def regression_contrasts(cells: Cells, permuted: FloatArray) -> FloatArray:
    """Return the contrasts whose sums are the coefficients of the field's number after the base, shape (m, n, T).

    By weighted least squares with effects of each field and of each venue and year; a cell weighs its papers
    (Frisch, Waugh and Lovell). NaN where a number does not vary beside these effects.

    Parameters
    ----------
    cells : Cells
    permuted : ndarray, shape (m, n)
    """
    used = cells.used
    field, year = np.nonzero(used)
    venue = np.unique(cells.venues, return_inverse=True)[1][field]
    venue_year = np.unique(venue * len(cells.years) + year, return_inverse=True)[1]
    root = np.sqrt(cells.papers[used])[:, None]
    effects = np.hstack([np.eye(field.max() + 1)[field], np.eye(venue_year.max() + 1)[venue_year]]) * root
    u, size, _ = np.linalg.svd(effects, full_matrices=False)
    basis = u[:, size > 1e-9 * size.max()]
    regressor = cells.treatment(permuted)[:, used].T * root
    left = regressor - basis @ (basis.T @ regressor)
    squares = (left**2).sum(axis=0)
    identified = squares > 1e-9 * np.maximum((regressor**2).sum(axis=0), 1.0)
    contrasts = np.zeros((len(permuted), *used.shape))
    contrasts[:, used] = np.where(identified, left * root / np.where(identified, squares, 1.0), np.nan).T
    return contrasts


def synthetic_units(cells: Cells, y: FloatArray, permuted: FloatArray, method: Method) -> FloatArray:
    """Return what each field weighs in the contrasts of a block without gaps under each assignment, shape (m, n).

    Outcomes y have shape (n, T), of which those of the base years count; permuted has shape (m, n) and is 0 or 1.
    """
    before, n_after = y[:, ~cells.after[0]], int(cells.after[0].sum())
    units = np.zeros(permuted.shape)
    for unit, named in zip(units, permuted > 0, strict=True):
        mean, n_treated = before[named].mean(axis=0), int(named.sum())
        if method == "synthetic_did":
            compared = unit_weights(before[~named], mean, n_treated * n_after)
        else:
            compared = synthetic_control_weights(before[~named], mean).unit
        unit[named], unit[~named] = 1 / n_treated, -compared
    return units


def synthetic_contrasts(
    cells: Cells, y: FloatArray, permuted: FloatArray, units: FloatArray, method: Method
) -> FloatArray:
    """Return the contrasts of synthetic comparisons, shape (m, n, T), from what :func:`synthetic_units` returns.

    The weights of periods are those for outcomes y.
    """
    before, after = y[:, ~cells.after[0]], y[:, cells.after[0]]
    times = np.full((len(units), y.shape[1]), 1 / after.shape[1])
    times[:, ~cells.after[0]] = 0.0
    if method == "synthetic_did":
        for time, named in zip(times, permuted > 0, strict=True):
            time[~cells.after[0]] = -time_weights(before[~named], after[~named])
    return units[:, :, None] * times[:, None, :]


def assignments(cells: Cells, permuted: Permuted) -> FloatArray:
    """Return each field's number under every assignment, each once, shape (m, n).

    Parameters
    ----------
    cells : Cells
    permuted : {"within_venue", "any_fields", "areas", "doses"}
        Which fields of each venue are treated, as many as are; which fields, of any venue; which areas, at all
        venues; or which area has which dose.

    Raises
    ------
    QuestionError
        If there are more than 5,000.
    """
    number, group, of_field = cells.assigned, cells.venues, np.arange(len(cells.fields))
    if permuted in ("areas", "doses"):
        _, first, of_field = np.unique(cells.kinds, return_index=True, return_inverse=True)
        number = cells.assigned[first]
    if permuted != "within_venue":
        group = np.zeros(len(number))
    members = [np.flatnonzero(group == name) for name in np.unique(group)]
    treated = [(rows, int(number[rows].sum())) for rows in members]
    is_order = permuted == "doses"
    count = factorial(len(number)) if is_order else prod(comb(len(rows), k) for rows, k in treated)
    if count > MOST:  # before any is listed
        raise QuestionError(
            f"[fields]: there are {count:,} assignments ({permuted}), more than {MOST:,}; use fewer fields."
        )
    if is_order:
        every = [np.array(order) for order in permutations(number)]
    else:
        choices = product(*(combinations(rows, k) for rows, k in treated))
        every = [np.isin(np.arange(len(number)), np.concatenate(chosen)).astype(float) for chosen in choices]
    distinct = np.unique(np.array(every)[:, of_field], axis=0)
    actual = (distinct == cells.assigned).all(axis=1)
    return np.vstack([cells.assigned, distinct[~actual]])


# No effect on a share in percentage points is larger.
LARGEST = 100.0


class Interval(NamedTuple):
    """The hull of the effects that are not rejected, and whether these are connected; may be infinite."""

    low: float
    high: float
    connected: bool


def p_value(statistics: FloatArray) -> FloatArray:
    """Return the share of assignments as extreme as the actual one, the first; shape (m, ...) to shape (...)."""
    size = np.abs(statistics)
    share: FloatArray = np.mean(size >= least_as_large(size[0], size.max(axis=0)), axis=0)
    return share


def rejected(p: FloatArray | float, size: float) -> BoolArray:
    """Say whether p-values are at most a size, to rounding."""
    return np.asarray(p <= size + TIE)


def linear_set(actual: FloatArray, slope: FloatArray, level: float) -> Interval:
    """Return the confidence set of a contrast, exactly.

    The p-value is a step function of tau, which changes where ``|A_a - tau B_a| = |A_0 - tau B_0|``.

    Parameters
    ----------
    actual, slope : ndarray, shape (m,)
        A and B.
    level : float
    """

    def not_rejected(tau: FloatArray) -> BoolArray:
        return ~rejected(p_value(actual[:, None] - slope[:, None] * tau), 1 - level)

    with np.errstate(divide="ignore", invalid="ignore"):
        changes = np.concatenate([(actual - s * actual[0]) / (slope - s * slope[0]) for s in (1.0, -1.0)])
    changes = np.unique(changes[np.isfinite(changes)])
    if not len(changes):
        return Interval(-np.inf, np.inf, connected=True)
    span = max(1.0, float(np.ptp(changes)))
    between = (changes[1:] + changes[:-1]) / 2
    # The values of tau in order: those before the first change, the first change, those up to the second, ...
    inside = np.empty(2 * len(changes) + 1, dtype=bool)
    inside[1::2] = not_rejected(changes)
    inside[::2] = not_rejected(np.concatenate([[changes[0] - span], between, [changes[-1] + span]]))
    if not inside.any():
        return Interval(np.nan, np.nan, connected=True)
    ends = np.concatenate([[-np.inf], changes, [np.inf]])
    first, last = np.flatnonzero(inside)[[0, -1]]
    low, high = float(ends[(first + 1) // 2]), float(ends[last // 2 + 1])
    return Interval(low, high, connected=bool(inside[first : last + 1].all()))


def searched_set(statistics: Callable[[float], FloatArray], estimate: float, level: float) -> Interval:
    """Return the confidence set of an estimate that is no contrast, as an interval around it by bisection.

    Ends are within 0.01; beyond 100 in absolute value they are infinite.

    Parameters
    ----------
    statistics : callable
        Takes tau, returns T_a(tau), shape (m,).
    estimate : float
        With a p-value of one.
    level : float
    """

    def not_rejected(tau: float) -> bool:
        return not bool(rejected(p_value(statistics(tau)), 1 - level))

    ends = []
    for sign in (-1.0, 1.0):
        inner, step = estimate, 1.0
        while abs(inner) <= LARGEST and not_rejected(estimate + sign * step):
            inner, step = estimate + sign * step, 2 * step
        outer = estimate + sign * step
        while abs(inner) <= LARGEST and abs(outer - inner) > 0.01:
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if not_rejected(middle) else (inner, middle)
        ends.append(sign * np.inf if abs(inner) > LARGEST else (inner + outer) / 2)
    return Interval(ends[0], ends[1], connected=True)


def detectable(null: FloatArray, response: FloatArray, most: float = 4 * LARGEST) -> float:
    """Return the smallest effect that is found in 80% of the assignments, of either sign, at 5%.

    Each assignment in turn is taken for the actual one, with the effect added to its fields.

    Parameters
    ----------
    null : ndarray, shape (m,)
        Estimates under each assignment from outcomes freed of the estimated effect.
    response : ndarray, shape (m, m)
        Estimate under assignment a (rows) from the treatment of assignment b (columns).
    most : float
        The largest effect that is tried.

    Returns
    -------
    float
        Within 0.01, positive; NaN where no effect is found that often, for example because there are too few
        assignments.
    """
    if not power(null, response, most) >= POWER:
        return float("nan")
    grid = np.geomspace(most / 1000, most, 400)
    first = next(k for k, effect in enumerate(grid) if power(null, response, effect) >= POWER)
    low, high = (float(grid[first - 1]) if first else 0.0), float(grid[first])
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (low, middle) if power(null, response, middle) >= POWER else (middle, high)
    return high


def power(null: FloatArray, response: FloatArray, effect: float) -> float:
    """Return the share of assignments, of both signs of the effect, in which the test at 5% rejects."""
    rejecting = []
    for sign in (-1.0, 1.0):
        size = np.abs(null[:, None] + sign * effect * response)
        p = np.mean(size >= least_as_large(np.diag(size), size.max(axis=0)), axis=0)
        rejecting.append(rejected(p, SIZE))
    return float(np.mean(rejecting))


@dataclass(frozen=True, eq=False)
class Answer:
    """One line's estimate for one outcome, in percentage points.

    Attributes
    ----------
    line : Line
    outcome : str
    cells : Cells
    estimates : ndarray, shape (m,)
        Under every assignment, the actual one first.
    p_value : float
    interval : Interval
        All effects that the test does not reject.
    detectable : float
        Minimum detectable effect; NaN where there is none.
    contrast : ndarray, shape (n, T)
        The weight of each cell in the estimate.
    """

    line: Line
    outcome: str
    cells: Cells
    estimates: FloatArray
    p_value: float
    interval: Interval
    detectable: float
    contrast: FloatArray

    @property
    def estimate(self) -> float:
        """Under the actual assignment."""
        return float(self.estimates[0])

    def rejects(self, plan: FieldsPlan) -> bool:
        """Whether no change is rejected at the plan's level."""
        return bool(rejected(self.p_value, 1 - plan.level))

    @property
    def unit(self) -> str:
        """What the estimate is measured in."""
        is_dose = self.line.permuted == "doses"
        return "points for an order of magnitude a year" if is_dose else "percentage points"

    @property
    def values(self) -> dict[str, float]:
        """The estimate and its exact inference, by column."""
        return {
            "estimate": self.estimate,
            "size": abs(self.estimate),
            "p_value": self.p_value,
            "conf_low": self.interval.low,
            "conf_high": self.interval.high,
            "mde": self.detectable,
        }

    @property
    def counts(self) -> dict[str, float]:
        """What the line compares, by column; of doses all fields count as treated.

        The smallest p-value is that of the assignment with the largest estimate, which may have a mirror image.
        """
        cells, size = self.cells, np.abs(self.estimates)
        treated = cells.treated | (self.line.permuted == "doses")
        return {
            "assignments": len(self.estimates),
            "smallest_p": float(np.mean(size >= least_as_large(size.max()))),
            "n_venues": len(np.unique(cells.venues)),
            "n_treated": int(treated.sum()),
            "n_comparison": int((~treated).sum()),
            "papers": int(cells.papers.sum()),
            "papers_before": int((cells.papers * ~cells.after)[treated].sum()),
            "papers_before_event": int(cells.papers[treated][:, cells.years <= cells.event_year].sum()),
            "n_late": int((cells.papers[treated][:, cells.years <= cells.event_year].sum(axis=1) == 0).sum()),
            "event_year": cells.event_year,
            "base_end": self.line.last_before or np.nan,
            "first_year": int(cells.years[0]),
            "last_year": int(cells.years[-1]),
        }

    @property
    def weight(self) -> FloatArray:
        """How much of a constant effect each field carries into the estimate, shape (n,); they add up to one."""
        carried: FloatArray = (self.contrast * self.cells.treatment(self.cells.assigned)).sum(axis=1)
        return carried


def outcomes_of(panel: Panel, cells: Cells, outcome: str) -> FloatArray:
    """Return an outcome of the line's fields in percentage points, shape (n, T); zero in cells that are not used."""
    columns = np.searchsorted(panel.periods, cells.years)
    share = panel.outcomes[outcome][np.ix_(panel.rows_of(cells.fields), columns)]
    return np.where(cells.used, POINTS * share, 0.0)


def answer(panel: Panel, line: Line, outcome: str, plan: FieldsPlan) -> Answer:
    """Answer one line for one outcome.

    Raises
    ------
    QuestionError
        If the data cannot answer it.
    """
    with one_thread():
        cells = cells_of(panel, line, plan)
        y, permuted = outcomes_of(panel, cells, outcome), assignments(cells, line.permuted)
        actual = cells.treatment(permuted[0])
        # There is no effect in the base years, so that units weigh the same whatever it is.
        units = None if line.method == "regression" else synthetic_units(cells, y, permuted, line.method)

        def contrasts(tau: float) -> FloatArray:
            """Return the contrasts of each assignment, of synthetic comparisons for outcomes freed of an effect."""
            if units is None:
                return regression_contrasts(cells, permuted)
            return synthetic_contrasts(cells, y - tau * actual, permuted, units, line.method)

        observed = contrasts(0.0)
        estimates = _sums(observed, y)
        if none := int(np.isnan(estimates).sum()):
            raise QuestionError(
                f"[fields], {line.label}: {none} of {len(estimates)} assignments have no estimate, since they treat "
                "all fields of a venue or none; ask for other papers or years."
            )
        estimate = float(estimates[0])
        if line.method == "synthetic_did":
            freed = contrasts(estimate)  # the minimum detectable effect holds the weights at these
            interval = searched_set(lambda tau: _sums(contrasts(tau), y - tau * actual), estimate, plan.level)
        else:  # weights of synthetic control rest on the base years, in which there is no effect
            freed, interval = observed, linear_set(estimates, _sums(observed, actual), plan.level)
        mde = detectable(_sums(freed, y - estimate * actual), _sums(freed, cells.treatment(permuted)))
    p = float(p_value(estimates))
    return Answer(line, outcome, cells, estimates, p, interval, mde, observed[0])


def of_outcome(plan: FieldsPlan, results: Answers) -> dict[str, Answer]:
    """Return the answers for the first outcome, by label of the line."""
    return {line.label: results[line.label, plan.outcome] for line in plan.lines}


def answers(panels: Mapping[str, Panel], plan: FieldsPlan) -> dict[tuple[str, str], Answer]:
    """Answer all lines for all outcomes, by label and outcome; panels by name."""
    return {
        (line.label, outcome): answer(panels[line.panel], line, outcome, plan)
        for line in plan.lines
        for outcome in plan.outcomes
    }


def _sums(contrasts: FloatArray, y: FloatArray) -> FloatArray:
    """Return each contrast of outcomes, shape (m,), or of several, shape (m, b) for y of shape (b, n, T)."""
    flat = contrasts.reshape(len(contrasts), -1)
    return flat @ y.reshape(-1) if y.ndim == 2 else flat @ y.reshape(len(y), -1).T
