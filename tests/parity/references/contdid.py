"""contdid (Callaway, Goodman-Bacon and Sant'Anna 2024) as questions to dose_response."""

from __future__ import annotations

from functools import cache
from typing import Any

import goldens
import numpy as np
from numpy.typing import NDArray

from references.comparison import Comparison, Row
from study import Estimate, Panel, Question, estimate

Array = NDArray[np.float64]
ASKED = Question("y", "first_treated", dose="dose", base="varying", average="cohort_average")


@cache
def panel_of(name: str) -> Panel:
    """Return a reference panel with its doses."""
    columns: dict[str, Any] = {"first_treated": "first_treated", "doses": "dose", "outcomes": "y"}
    return Panel.from_long(goldens.table(name), unit="unit", time="time", name=name, **columns)


@cache
def answer(name: str, curve: str, degree: int, knots: int, doses: tuple[float, ...] | None) -> Estimate:
    """Answer a run with shares taken as given, as contdid takes them on curves."""
    options: dict[str, Any] = {"curve": curve, "degree": degree, "knots": knots, "doses": doses}
    return estimate(panel_of(name), ASKED, "dose_response", vcov="CR0", variance="conditional", **options)


def read(panel: str, run: dict[str, Any]) -> Comparison:
    """Return the averages and either the curves by dose or the slopes by event time of a run.

    It repeats what the package does to influence functions, see tests/parity/conventions.py: slopes of a cell times
    its share of treated units, comparison units' part of ATT(d) with the other sign, shares of cohorts among the
    treated as if among all.
    """
    by_dose = run["aggregation"] == "dose"
    doses = tuple(term["dose"] for term in run["terms"]) if by_dose else None
    fits = [answer(panel, curve, run["degree"], run["num_knots"], doses) for curve in ("levels", "slopes")]
    levels, slopes = (Cells(fit) for fit in fits)
    diluted = slopes.influence * slopes.share_treated
    overall = {term["term"]: (term["estimate"], term["se_if"]) for term in run["overall"]}
    ours = {
        "ATT_overall": levels.by_cohort(levels.influence, shares=True),
        "ACRT_overall": slopes.by_cohort(diluted, shares=not by_dose),
    }
    rows = [Row(name, *ours[name], *theirs) for name, theirs in overall.items()]
    if not by_dose:
        for term in run["terms"]:
            event_time = int(term["term"].removeprefix("event_"))
            made = slopes.by_event_time(event_time, diluted)
            rows.append(Row(term["term"], *made, term["estimate"], term["se_if"]))
        errors = dict(zip(slopes.labels, zip(slopes.effect, error(diluted), strict=True), strict=True))
        for cell in run["att_gt"]:
            key = cell["group"], cell["time"]
            rows.append(Row(key, *errors[key], cell["att"], cell["se_if"]))
        return Comparison(tuple(rows))
    turned = fits[0].aggregate("dose").influence - 2 * levels.compared @ levels.weight[:, None]
    curves = {"att": (fits[0], error(turned)), "acrt": (fits[1], fits[1].aggregate("dose").std_error)}
    for name, (fit, errors) in curves.items():
        curve = fit.aggregate("dose")
        for k, term in enumerate(run["terms"]):
            numbers = (curve.effect[k], errors[k], term[name], term[f"{name}_se_if"])
            rows.append(Row((name, term["dose"]), *numbers))
    return Comparison(tuple(rows))


def error(influence: Array) -> Array:
    return np.sqrt(np.sum(influence**2, axis=0)) / len(influence)


class Cells:
    """Effects or slopes by cohort and period, the influence on them, and contdid's weights of cohorts."""

    def __init__(self, fit: Estimate) -> None:
        cells = fit.select(np.isnan(fit.at))
        first = np.nan_to_num(fit.sample.first_treated)[:, None]
        own = first == cells.cohort
        self.first, self.own, self.effect, self.influence = first, own, cells.effect, cells.influence
        self.cohort, self.event_time = cells.cohort, cells.event_time
        self.labels = list(zip(cells.cohort, cells.period, strict=True))
        self.compared = np.where(own, 0.0, cells.influence)
        free = (first == 0) | (first > cells.period)
        self.share_treated = own.sum(axis=0) / (own | free).sum(axis=0)
        self.share = own.sum(axis=0) / np.sum(first > 0)
        after = cells.event_time >= 0
        periods = np.sum(after & (cells.cohort[:, None] == cells.cohort), axis=1)
        self.weight = np.where(after, self.share / periods, 0.0)

    def by_cohort(self, influence: Array, *, shares: bool) -> tuple[float, float]:
        """Average over cohorts, each over its periods after treatment."""
        total = influence @ self.weight
        cohorts = np.unique(self.cohort)
        if shares:
            mean = [np.sum((self.weight * self.effect / self.share)[self.cohort == g]) for g in cohorts]
            share = np.array([self.share[self.cohort == g][0] for g in cohorts])
            total = total + self.of_shares(cohorts, share, np.array(mean))
        return float(self.weight @ self.effect), float(error(total[:, None])[0])

    def by_event_time(self, event_time: int, influence: Array) -> tuple[float, float]:
        """Average over cohorts at an event time."""
        at = self.event_time == event_time
        share, effect = self.share[at], self.effect[at]
        of_shares = self.of_shares(self.cohort[at], share, effect)
        total = influence[:, at] @ (share / share.sum()) + of_shares
        return float(share @ effect / share.sum()), float(error(total[:, None])[0])

    def of_shares(self, cohorts: Array, share: Array, effect: Array) -> Array:
        mean = share @ effect / share.sum()
        return np.asarray(((self.first == cohorts) - share) @ (effect - mean) / share.sum())
