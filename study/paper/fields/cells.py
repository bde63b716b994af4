"""The fields and years that a line compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.core import BoolArray, FloatArray, QuestionError, synthetic_control_weights, synthetic_did_weights
from study.panel import Panel
from study.paper.fields.plan import FieldsPlan, Line, Method

EVENT = "gpu_shock"


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


def synthetic_contrasts(cells: Cells, y: FloatArray, permuted: FloatArray, method: Method) -> FloatArray:
    """Return the contrasts of synthetic comparisons of a block without gaps, shape (m, n, T).

    The weights of each assignment are those for outcomes y, shape (n, T); permuted has shape (m, n) and is 0 or 1.
    """
    before, after = y[:, ~cells.after[0]], y[:, cells.after[0]]
    contrasts = np.zeros((len(permuted), *y.shape))
    for contrast, named in zip(contrasts, permuted > 0, strict=True):
        mean, n_treated = before[named].mean(axis=0), int(named.sum())
        if method == "synthetic_did":
            cells_treated = n_treated * after.shape[1]
            weights = synthetic_did_weights(before[~named], after[~named], mean, cells_treated)
        else:
            weights = synthetic_control_weights(before[~named], mean)
        unit = np.where(named, 1 / n_treated, 0.0)
        unit[~named] = -weights.unit
        time = np.full(y.shape[1], 1 / after.shape[1])
        time[~cells.after[0]] = -weights.time
        contrast[:] = np.outer(unit, time)
    return contrasts
