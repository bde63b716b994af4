"""How much of a headline rests on one cohort or one unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, unknown
from study.diagnostics.refits import (
    Compared,
    Progress,
    Refits,
    answers,
    check,
    event_dates,
    headline,
    treated,
)
from study.estimates import Effect, Estimate, effects_frame
from study.figures import dot_figure
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Units = Literal["treated", "all"]

NAMED = 3
DRAWN = 60


@dataclass(frozen=True, eq=False)
class LeaveOneOut(Compared):
    """The headline without each cohort or unit.

    Attributes
    ----------
    kind : {"cohort", "unit"}
    labels : tuple of str, length K
        What is left out.
    influence : ndarray, shape (K,)
        Change of the headline to first order: -(sum of psi_i)/(n - m) over the m units left out.
    refits : Refits
        The headlines without each, of those that were refitted, by label.
    """

    kind: Literal["cohort", "unit"]
    labels: tuple[str, ...]
    influence: FloatArray
    refits: Refits

    @property
    def title(self) -> str:
        """Heading."""
        return f"The estimate without each {self.kind}"

    @property
    def dfbeta(self) -> FloatArray:
        """The headline less that without each row of ``refits``, in standard errors of the headline."""
        return (self.whole.estimate - self.refits.estimates) / self.whole.std_error

    @property
    def ranked(self) -> tuple[Effect, ...]:
        """The refitted rows, those that change the headline most first."""
        order = np.argsort(-np.abs(self.dfbeta), kind="stable")
        return tuple(self.refits.rows[k] for k in order)

    @property
    def sentences(self) -> tuple[str, ...]:
        """What rests on one cohort or unit."""
        scale, rows, whole = self.scale, self.refits.rows, self.whole
        low, high = (pick(rows, key=lambda row: row.estimate) for pick in (min, max))
        most = ", ".join(
            f"{row.label} ({(whole.estimate - row.estimate) / whole.std_error:+.2f})"
            for row in self.ranked[:NAMED]
        )
        refitted = (
            f"The estimate was refitted without each of the {len(rows)} most influential of {len(self.labels)} "
            f"{self.kind}s; the others have the first-order change only."
            if len(rows) + len(self.refits.refused) < len(self.labels)
            else f"The estimate was refitted without each of {len(self.labels)} {self.kind}s."
        )
        return (
            f"The effect on {scale.outcome} is {scale.text(whole.estimate)} {scale.unit} (interval "
            f"{whole.interval(scale)}); without one {self.kind} it lies between {scale.text(low.estimate)} (without "
            f"{low.label}) and {scale.text(high.estimate)} (without {high.label}).",
            refitted,
            f"The most influential, with what each adds to the estimate in standard errors: {most}.",
            self._signs,
            self._significance,
            *self.refits.refusals,
        )

    @property
    def _signs(self) -> str:
        changed = [r.label for r in self.refits.rows if r.estimate * self.whole.estimate <= 0]
        if not changed:
            return f"Leaving out any one of these {self.kind}s keeps the sign."
        return f"Leaving out one {self.kind} changes the sign: {_listed(changed)}."

    @property
    def _significance(self) -> str:
        inside = "outside" if self.whole.excludes_zero else "inside"
        changed = [r.label for r in self.refits.rows if r.excludes_zero != self.whole.excludes_zero]
        start = f"Zero is {inside} the {100 * self.level:g}% interval"
        if not changed:
            return f"{start}, whichever one of these {self.kind}s is left out."
        return f"{start}; leaving out one {self.kind} changes that for {len(changed)} of them: {_listed(changed)}."

    def tidy(self) -> pd.DataFrame:
        """Return a row for each cohort or unit, those that change the headline most first.

        ``influence`` is the first-order change of the headline, ``change`` the exact one; ``change`` and what
        follows it is empty where nothing was refitted.
        """
        import pandas as pd

        exact = effects_frame(self.refits.rows)
        exact.insert(1, "change", self.refits.estimates - self.whole.estimate)
        exact.insert(2, "dfbeta", self.dfbeta)
        exact["sign_changes"] = exact["estimate"] * self.whole.estimate <= 0
        exact["significance_changes"] = [
            r.excludes_zero != self.whole.excludes_zero for r in self.refits.rows
        ]
        table = pd.DataFrame({"label": self.labels, "influence": self.influence}).merge(
            exact, on="label", how="left"
        )
        table = table.astype({"units": "Int64", "treated": "Int64"})
        size = table["change"].fillna(table["influence"]).abs()
        order = np.lexsort([-size.to_numpy(), table["change"].isna().to_numpy()])
        return table.iloc[order].reset_index(drop=True).rename(columns={"label": f"without_{self.kind}"})

    def plot(self) -> Figure:
        """Draw the headline without each cohort in its order, or without the most influential units."""
        rows: Sequence[Effect] = self.refits.rows if self.kind == "cohort" else self.ranked[:DRAWN]
        return dot_figure(
            rows,
            xlabel=self.scale.axis(),
            whole=self.whole,
            marked=[row.excludes_zero != self.whole.excludes_zero for row in rows],
            names=(
                f"without the {self.kind}",
                f"same, interval {'includes' if self.whole.excludes_zero else 'excludes'} zero",
            ),
            percent=self.scale.percent,
            level=self.level,
        )


@checked
def leave_one_cohort_out(
    sample: Sample, design: str, *, level: float = 0.95, progress: Progress = None, **options: Any
) -> LeaveOneOut:
    """Refit the headline without each cohort.

    Parameters
    ----------
    sample : Sample
    design : str
    level : float
        Coverage of the intervals.
    progress : callable, optional
        Called after each refit.
    **options
        Options of the design.

    Returns
    -------
    LeaveOneOut
        DFBETA is the headline less that without the cohort, in standard errors of the headline.

    Raises
    ------
    QuestionError
        If the event is not absorbing, there is one cohort, or the design refuses the sample. A refit that it refuses
        is listed.
    """
    check("leave_one_cohort_out", design, options, level)
    first = event_dates(sample, "leave_one_cohort_out")
    if len(sample.cohorts) < 2:
        raise QuestionError("leave_one_cohort_out: there is one cohort; without it nobody is treated.")
    fit = headline(sample, design, options)
    members = [np.flatnonzero(first == g) for g in sample.cohorts]
    outs = {f"cohort {g:g} ({len(m)} units)": m for g, m in zip(sample.cohorts, members, strict=True)}
    return _left_out("cohort", sample, fit, outs, list(outs), design, level, progress, options)


@checked
def leave_one_unit_out(
    sample: Sample,
    design: str,
    *,
    units: Units = "treated",
    most: int = 20,
    level: float = 0.95,
    progress: Progress = None,
    **options: Any,
) -> LeaveOneOut:
    """Refit the headline without each treated unit, or without the most influential of all units.

    Parameters
    ----------
    sample : Sample
    design : str
    units : {"treated", "all"}
        Refit without each unit that is treated inside the window; or order all units by the first-order change
        -psi_i/(n-1), with psi the influence function, and refit without the first of them.
    most : int
        How many of "all" units are refitted.
    level : float
        Coverage of the intervals.
    progress : callable, optional
        Called after each refit.
    **options
        Options of the design.

    Returns
    -------
    LeaveOneOut
        DFBETA is the headline less that without the unit, in standard errors of the headline.

    Raises
    ------
    QuestionError
        If ``units`` or ``most`` is not one of those above, or the design refuses the sample. A refit that it
        refuses is listed.

    References
    ----------
    Belsley, D. A., Kuh, E., and Welsch, R. E. (1980). Regression Diagnostics. Wiley, Section 2.1.
    """
    check("leave_one_unit_out", design, options, level)
    if units not in ("treated", "all"):
        raise unknown("choice of units", str(units), ("treated", "all"), "leave_one_unit_out")
    if isinstance(most, bool) or not isinstance(most, (int, np.integer)) or most < 1:
        raise QuestionError(f"leave_one_unit_out: most is {most!r}; it must be a whole number from 1 on.")
    fit = headline(sample, design, options)
    chosen = np.flatnonzero(treated(sample)) if units == "treated" else np.arange(sample.n_units)
    outs = {str(sample.unit_ids[i]): np.array([i]) for i in chosen}
    names = list(outs)
    if units == "all":
        size = np.abs(fit.influence_map.dense()[:, 0])
        names = [str(sample.unit_ids[i]) for i in np.argsort(-size, kind="stable")[:most]]
    return _left_out("unit", sample, fit, outs, names, design, level, progress, options)


def _left_out(
    kind: Literal["cohort", "unit"],
    sample: Sample,
    fit: Estimate,
    outs: dict[str, NDArray[np.int64]],
    refitted: Sequence[str],
    design: str,
    level: float,
    progress: Progress,
    options: dict[str, Any],
) -> LeaveOneOut:
    made: dict[str, Callable[[], Sample]] = {
        name: partial(_without, sample, outs[name], name) for name in refitted
    }
    refits = Refits.of(answers(made, design, options, progress), level)
    refits.refuse_none(f"leave_one_{kind}_out")
    return LeaveOneOut(
        sample.question,
        design,
        level,
        Effect.of("all units", fit, level),
        kind,
        tuple(outs),
        first_order_changes(fit.influence_map.dense()[:, 0], list(outs.values())),
        refits,
    )


def _without(sample: Sample, out: NDArray[np.int64], name: str) -> Sample:
    keep = np.ones(sample.n_units, dtype=bool)
    keep[out] = False
    return sample.only(keep, f"leaving out {name}")


def first_order_changes(influence: FloatArray, outs: Sequence[NDArray[np.int64]]) -> FloatArray:
    """Return the changes of an estimate without sets of units, to first order in the influence function.

    Parameters
    ----------
    influence : ndarray, shape (n,)
    outs : sequence of ndarray of int
        Numbers of the units of each set.

    Returns
    -------
    ndarray, shape (K,)
        -(sum of psi_i over the set) / (n - size of the set): the mean of the influence over the units kept.
    """
    n = len(influence)
    return np.array([-influence[out].sum() / (n - len(out)) for out in outs])


def _listed(names: Sequence[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
