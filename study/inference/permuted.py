"""The randomization test of a design, which it answers anew for every assignment of event dates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, unknown
from study.designs import find_design
from study.inference.randomization import Kind, Order, Randomization, randomization_test
from study.panel import Sample

UNITS = {
    "level": "units of the outcome",
    "log1p": "log(1 + outcome)",
    "proportional": "share of the counterfactual mean",
}


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
    progress: Callable[[], None] | None = None,
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
        Processes; the result does not depend on it. A design made in this session needs ``jobs=1``.
    progress : callable, optional
        Called once for each permutation.
    **options
        Options of the design.

    Returns
    -------
    Randomization

    Raises
    ------
    QuestionError
        If an argument is not one of those above, the design cannot answer the question, its statistic is not
        defined for the dates as they are, there is one assignment only, or dates would have to be permuted
        between clusters that lie in two strata.

    References
    ----------
    Roth, J., and Sant'Anna, P. H. C. (2023). Efficient estimation for staggered rollout designs. Journal of
    Political Economy Microeconomics 1(4).
    Wu, J., and Ding, P. (2021). Randomization tests for weak null hypotheses in randomized experiments. Journal
    of the American Statistical Association 116(536).
    """
    _check(sample, statistic, {"permutations": permutations, "seed": seed}, jobs, null, strata)
    chosen = find_design(design)
    options = chosen.seeded(options, seed)
    freed = replace(sample, y=without(sample, null)) if null else sample
    headline = chosen(freed, **options).headline
    of = f"{design}'s {headline.terms[0]}"
    if np.isnan(_value(headline.effect, headline.std_error, statistic)):
        raise QuestionError(
            f"randomization: {of} has no {'standard error' if statistic == 't' else 'value'} with the event dates as "
            f"they are, so that there is nothing to compare{_instead(headline.effect, statistic)}."
        )
    labels, caveats = _dealt_between(sample)
    of_unit = np.unique(labels, return_index=True, return_inverse=True)
    refit = _Refit(freed, design, options, statistic, of_unit[1], of_unit[2])
    stratum = _strata(sample, strata, refit)
    test = randomization_test(
        refit,
        stratum,
        permutations=permutations,
        seed=seed,
        dates=_dates(sample)[refit.source],
        jobs=jobs,
        progress=progress,
    )
    among = f"{len(refit.source):,} {'units' if labels is sample.unit_ids else 'clusters'}"
    if strata is not None:
        among += f" within {len(np.unique(stratum))} strata of {strata}"
    return replace(
        test,
        kind=statistic,
        of=of,
        null=float(null),
        among=among,
        units=UNITS[sample.question.scale],
        caveats=caveats,
    )


@dataclass(frozen=True, eq=False)
class _Refit:
    """A design's statistic as a function of the order in which units or clusters have their dates permuted.

    ``source`` is a unit of each of them, shape (m,), and ``place`` says which of them each unit is of, (n,).
    """

    sample: Sample
    design: str
    options: dict[str, Any]
    kind: Kind
    source: Order
    place: Order

    def __call__(self, order: Order) -> float:
        """Return the statistic, NaN where the design refuses these dates."""
        design, permuted = find_design(self.design), self.sample.permuted(self.source[order][self.place])
        try:
            headline = design(permuted, **self.options).headline
        except QuestionError:
            return np.nan
        return _value(headline.effect, headline.std_error, self.kind)


def without(sample: Sample, effect: float) -> FloatArray:
    """Return the outcome, on the scale of ``sample.y``, less an effect on every treated cell, shape (n, T)."""
    if sample.question.scale == "proportional":
        return sample.y / (1 + effect * sample.treatment)
    return sample.y - effect * sample.treatment


def _value(effect: FloatArray, std_error: FloatArray, kind: Kind) -> float:
    return float(effect[0] / std_error[0]) if kind == "t" else float(effect[0])


def _instead(effect: FloatArray, kind: Kind) -> str:
    return '; use statistic="estimate"' if kind == "t" and np.isfinite(effect[0]) else ""


def _check(
    sample: Sample, statistic: str, numbers: dict[str, int], jobs: int, null: float, strata: str | None
) -> None:
    """Refuse arguments that have no meaning."""
    if statistic not in get_args(Kind):
        raise unknown("statistic", str(statistic), get_args(Kind), "randomization")
    for name, value in numbers.items():
        least = int(name == "permutations")
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
            raise QuestionError(
                f"randomization: {name} is {value!r}; it must be a whole number from {least} on."
            )
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs == 0:
        raise QuestionError(
            f"randomization: jobs is {jobs!r}; give a number of processes, or -1 for all cores."
        )
    lowest = -1.0 if sample.question.scale == "proportional" else -np.inf
    if isinstance(null, bool) or not isinstance(null, (int, float)) or not lowest < null < np.inf:
        bound = " above -1" if lowest == -1 else ""
        raise QuestionError(f"randomization: null is {null!r}; it must be a finite number{bound}.")
    if strata is not None and strata not in sample.attributes:
        raise unknown("attribute", str(strata), sample.attributes or ["(none)"], "randomization, strata")


def _dates(sample: Sample) -> NDArray[np.int64]:
    """Number the distinct event dates, or paths, of the units, shape (n,)."""
    if sample.first_treated is not None:
        return np.unique(sample.first_treated, return_inverse=True)[1]
    assert sample.path is not None
    return np.unique(np.nan_to_num(sample.path, nan=-1.0), axis=0, return_inverse=True)[1].reshape(-1)


def _dealt_between(sample: Sample) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return the label of the unit or cluster to which dates are permuted, shape (n,), and what to say of it."""
    cluster = sample.question.cluster
    if cluster is None:
        return sample.unit_ids, ()
    pairs = np.unique(np.column_stack([sample.cluster, _dates(sample)]), axis=0)
    mixed = len(pairs) - len(np.unique(sample.cluster))
    if mixed == 0:
        return sample.cluster_labels, (
            f"No cluster ({cluster}) has units with two event dates, so dates were permuted between whole clusters.",
        )
    return sample.unit_ids, (
        f"Some clusters ({cluster}) have units with two event dates, so dates were permuted between units; the p-value "
        "is valid if units of one cluster adopt independently of one another.",
    )


def _strata(sample: Sample, strata: str | None, refit: _Refit) -> NDArray[Any]:
    """Return the stratum of each unit or cluster to which dates are permuted, shape (m,)."""
    if strata is None:
        return np.zeros(len(refit.source), dtype=np.int64)
    of_unit = sample.attributes[strata].astype(str)
    own: NDArray[Any] = of_unit[refit.source]
    straddling = np.flatnonzero(own[refit.place] != of_unit)
    if len(straddling):
        cluster = sample.cluster_labels[straddling[0]]
        raise QuestionError(
            f"randomization: cluster {cluster} of {sample.question.cluster} has units in two strata of {strata}, but "
            "dates are permuted between whole clusters; take strata that hold whole clusters, or none."
        )
    return own
