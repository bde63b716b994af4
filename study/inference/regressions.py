"""One term of a linear regression as inference that refits needs it, and why a question has none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import QuestionError, Target, one_thread, target, unknown
from study.designs import Design, find_design
from study.estimates import Estimand, Estimate
from study.panel import AVERAGES, Sample

REGRESSIONS = ("twfe", "event_study", "sun_abraham", "etwfe", "stacked", "lp_did")
INSTEAD = (
    "leave_one_cluster_out refits any design, study.randomization deals event dates anew, and Estimate.band draws "
    "multipliers"
)


class Asked(NamedTuple):
    """A term of one regression: its estimate, and the labels of its G clusters, shape (G,)."""

    fit: Estimate
    target: Target
    clusters: NDArray[Any]

    @property
    def term(self) -> str:
        """Name of the term."""
        return self.fit.terms[0]

    @property
    def shares_given(self) -> bool:
        """Whether it is an average over cohorts, whose shares are estimated but taken as given here."""
        of_one_cell = np.isfinite(self.fit.cohort[0]) and np.isfinite(self.fit.period[0])
        return self.fit.estimand is Estimand.GROUP_TIME_ATT and not of_one_cell


def regression_term(
    who: str, sample: Sample, design: str, term: str | None, options: Mapping[str, Any]
) -> Asked:
    """Fit a design and return one of its terms as a combination of the coefficients of one regression.

    Raises
    ------
    QuestionError
        If the sample has one cluster or one that is treated, the design, an option or the scale makes it no linear
        regression, or there is no such term.
    """
    chosen = find_design(design)
    refuse_few_clusters(who, sample)
    refuse_other_models(who, sample, chosen, options)
    fit = chosen_term(who, chosen(sample, **options), term)
    if fit.form is None:
        raise QuestionError(_no_regression(who, design))
    with one_thread():
        equations, unit = fit.form.made
        seen = np.flatnonzero(equations.seen() > 0)
        used, number = np.unique(sample.cluster[unit[seen]], return_inverse=True)
        cluster = np.zeros(len(unit), dtype=np.int64)
        cluster[seen] = number
        numbers, first = np.unique(sample.cluster, return_index=True)
        made = target(equations, fit.form.combination[:, 0], cluster)
    return Asked(fit, made, sample.cluster_labels[first[np.isin(numbers, used)]])


def refuse_few_clusters(who: str, sample: Sample) -> None:
    """Refuse a sample with one cluster, or with one cluster that is treated."""
    if len(np.unique(sample.cluster)) < 2:
        raise QuestionError(
            f"{who}: there is one cluster, so nothing can be left out or drawn; cluster by units instead."
        )
    treated = np.unique(sample.cluster[np.any(sample.treatment > 0, axis=1)])
    if len(treated) == 1:
        label = sample.cluster_labels[np.flatnonzero(sample.cluster == treated[0])[0]]
        raise QuestionError(
            f"{who}: only cluster {label} is treated, so the effect's variance between clusters cannot be learned; use "
            "study.randomization, or cluster by units."
        )


def refuse_other_models(who: str, sample: Sample, design: Design, options: Mapping[str, Any]) -> None:
    """Refuse, before anything is fitted, what is known not to be a linear regression."""
    design.check_options(dict(options))
    ours = design.function.__module__.startswith("study.designs.")
    if (ours and design.name not in REGRESSIONS) or options.get("family") == "poisson":
        raise QuestionError(_no_regression(who, design.name))
    if sample.question.scale == "proportional":
        raise QuestionError(
            f'{who}: a proportional effect is a ratio and no coefficient; ask with scale="level" or "log1p". For it '
            f"{INSTEAD}."
        )


def _no_regression(who: str, design: str) -> str:
    return (
        f"{who}: {design} is not, with these options, a linear regression that can be solved without a cluster; "
        f"{', '.join(REGRESSIONS)} are. For it {INSTEAD}."
    )


def chosen_term(who: str, fit: Estimate, term: str | None) -> Estimate:
    """Return the headline, an average by name, or a term by name, by cohort and period or by event time."""
    if term is None:
        return fit.headline
    if term in AVERAGES:
        return fit.aggregate(term)
    known = dict.fromkeys(fit.terms, fit)
    if np.any(np.isfinite(fit.cohort)):
        known |= dict.fromkeys(fit.by_event_time.terms, fit.by_event_time)
    if term not in known:
        raise unknown("term", term, (*known, *AVERAGES), who)
    which = np.array(known[term].terms) == term
    if known[term].reference[which].all():
        raise QuestionError(f"{who}: {term} is the reference, zero by normalisation; choose another term.")
    return known[term].select(which)
