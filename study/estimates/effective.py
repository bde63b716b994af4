"""How many clusters an estimate's variance rests on, and a warning where they are few."""

from __future__ import annotations

import math

import numpy as np

from study.core import FloatArray, QuestionError, quantile, two_sided_p
from study.estimates.estimate import Estimate
from study.estimates.jackknife import effective_number

# With 20 degrees of freedom a 5% test with normal critical values rejects a true null in 6.4% of samples; below,
# it is soon a different test (7.8% with 10, 10.7% with 5).
FEW = 20
FEW_ON_A_SIDE = 5


def effective_clusters(fit: Estimate) -> FloatArray:
    """Return the effective number of clusters of each term, shape (K,); NaN for terms without a variance.

    At most the number of clusters that the estimate rests on; see :func:`effective_number` for the formula.
    It is an estimate, and a rough one where few clusters carry the variance: one that does by design but whose
    own sum happens to be small, or a small cohort whose residuals are small because it determines its own effect,
    is not seen. Compare it with the number of treated clusters.
    """
    used = fit.varies
    found = np.full(len(fit.terms), np.nan)
    if used.any():
        sums = fit.influence_map.select(used).cluster_sums(fit.sample.cluster)
        found[used] = np.minimum(effective_number(sums), fit.n_clusters)
    return found


def treated_clusters(fit: Estimate) -> int:
    """Return the number of clusters with a treated unit."""
    treated = (fit.sample.treatment == 1).any(axis=1)
    return len(np.unique(fit.sample.cluster[treated]))


def few_clusters_warning(fit: Estimate) -> str | None:
    """Say in one sentence why the headline's interval is not to be trusted, or return None.

    Under "jackknife" it warns where fewer than 5 clusters are on the treated or on the comparison side: no variance
    estimate is reliable with so few. Under the other conventions it warns where the smaller of the effective number of
    clusters and the number of treated clusters is below 20. With as many degrees of freedom as the smaller of them has,
    where each cohort takes one of the treated clusters' for its mean, a t statistic exceeds the normal 5% critical
    value as often as the sentence says, or somewhat oftener, because the variance estimate is too small as well.
    """
    try:
        headline = fit.headline
    except QuestionError:  # whoever asks for the average is told why there is none
        return None
    if fit.convention == "jackknife":
        return _few_on_a_side(fit, headline)
    effective, treated = effective_clusters(headline)[0], treated_clusters(headline)
    if np.isnan(effective):
        return (
            f"{fit.design}: the average has no sampling variance that can be estimated ({treated} treated clusters of "
            f"{fit.n_clusters}); use randomization inference over event dates."
        )
    if min(effective, treated) >= FEW:
        return None
    degrees = max(1.0, min(effective, treated - max(len(fit.sample.cohorts), 1)))
    size = float(two_sided_p(quantile(0.975), degrees))
    return (
        f"{fit.design}: of {fit.n_clusters} clusters {treated} have treated units, and the average's variance rests "
        f"on about {effective:.0f}; a 5% test with normal critical values then rejects a true null in at "
        f'least about {size:.0%} of samples, so use convention "jackknife" or randomization inference.'
    )


def _few_on_a_side(fit: Estimate, headline: Estimate) -> str | None:
    """Say that few clusters are on a side of the headline, or that it therefore has no standard error."""
    treated, compared = (int(number) for number in headline.leave_out.clusters[:, 0])
    what = f"{fit.design}: {treated} treated and {compared} comparison clusters carry {headline.terms[0]}"
    if not headline.leave_out.estimable[0]:
        if treated == compared == 0:
            return f"{fit.design}: the outcome does not vary, so {headline.terms[0]} has no standard error."
        if min(treated, compared) >= 2:
            what = f"{fit.design}: {_without_error(fit)} in {headline.terms[0]} rest on one treated cluster"
        return (
            f"{what}, so it has no standard error; use study.randomization over event dates, or average over fewer "
            "event times with horizon=."
        )
    if fit.sample.first_treated is None or min(treated, compared) >= FEW_ON_A_SIDE:
        return None
    return (
        f"{what}; with fewer than {FEW_ON_A_SIDE} on a side the interval need not hold its level, so use "
        "study.randomization over event dates."
    )


def _without_error(fit: Estimate) -> str:
    """Name the effects of an average that have no sampling variance."""
    try:
        path, question = fit.by_event_time, fit.sample.question
    except QuestionError:  # an average that was made already, or a coefficient
        return "some effects"
    last = math.inf if question.horizon is None else question.horizon
    averaged = ~path.pre & (path.event_time <= last)
    alone = path.event_time[averaged & ~(path.leave_out.estimable | path.reference)]
    return f"effects at event time {', '.join(f'{e:g}' for e in alone)}" if len(alone) else "some effects"
