"""How many clusters an estimate rests on, and what is said where they are few."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np

from study.core import FloatArray, QuestionError, counted, first_of, quantile, two_sided_p
from study.estimates.vcov.degrees import effective_number

if TYPE_CHECKING:
    from study.estimates.estimate import Estimate

# With 20 degrees of freedom a 5% test with normal critical values rejects a true null in 6.4% of samples; below,
# it is soon a different test (7.8% with 10, 10.7% with 5).
FEW = 20
FEW_ON_A_SIDE = 5
FEW_DEGREES = 4.0


def effective_clusters(fit: Estimate) -> FloatArray:
    """Return the effective number of clusters of each term, shape (K,); NaN for terms without a variance.

    At most the number of clusters that the estimate rests on; see :func:`effective_number` for the formula.
    It is an estimate, and a rough one where few clusters carry the variance: one that does by design but whose
    own sum happens to be small, or a small cohort whose residuals are small because it determines its own effect,
    is not seen. Compare it with the number of treated clusters.
    """
    used = fit.varies
    effective = np.full(len(fit.terms), np.nan)
    if used.any() and fit.joint:
        sums = fit.influence_map.select(used).cluster_sums(fit.sample.cluster, fit.sample.copies)
        effective[used] = np.minimum(effective_number(sums, fit.sample.replicas), fit.n_clusters)
    return effective


def treated_clusters(fit: Estimate) -> int:
    """Return the number of clusters with a treated unit."""
    return fit.sample.n_clusters(fit.sample.ever_treated)


def of_one_cluster(fit: Estimate) -> Iterator[str]:
    """Name the cohorts or terms that rest on one treated or one comparison cluster, in one sentence."""
    sample, pooled = fit.sample, fit.on_one_cluster
    if not pooled.any():
        return
    kind = "cluster" if fit.n_clusters < sample.n_units else "unit"
    if len(fit.terms) == 1:
        who = f"{fit.terms[0]} rests in part on one {kind} of a side"
    elif np.isnan(fit.cohort[pooled]).any():
        who = f"{first_of(compress(fit.terms, pooled))} rest on one {kind} of a side"
    else:
        cohorts = [sample.period_name(g) for g in np.unique(fit.cohort[pooled])]
        several = "cohort" if len(cohorts) == 1 else "cohorts"
        who = f"effects of {several} {', '.join(cohorts)} rest on one {kind} of a side"
    yield f"{who}: their standard errors take the pooled variance of treated and comparison units"


def few_clusters_warning(fit: Estimate) -> str | None:
    """Say in one sentence why the headline's interval is not to be trusted, or return None.

    Under "jackknife" it warns where fewer than 5 clusters are on the treated or on the comparison side: no variance
    estimate is reliable with so few. With other covariance estimators it warns where the smaller of the effective
    number of clusters and the number of treated clusters, or the fewer of winners and losers of a lottery, is below 20.
    With as many degrees of freedom as the smaller of them has, where each cohort takes one of the treated clusters' for
    its mean, a t statistic exceeds the normal 5% critical value as often as the sentence says, or somewhat oftener,
    because the variance estimate is too small as well.
    """
    if not fit.joint:
        return None
    try:
        headline = fit.headline
    except QuestionError:  # whoever asks for the average is told why there is none
        return None
    if fit.by_clusters:
        return _few_on_a_side(fit, headline)
    if fit.vcov == "pooled":
        return _of_pooled(fit)
    instrument, effective = fit.sample.question.instrument, effective_clusters(headline)[0]
    few, means = treated_clusters(headline), max(len(fit.sample.cohorts), 1)
    who = f"{few} {'has' if few == 1 else 'have'} treated units"
    if instrument is not None and fit.contrast.group is not None:  # winners and losers of a lottery
        won = fit.sides.treated[fit.contrast.group, 0] > 0
        winners, losers = (fit.sample.n_clusters(side) for side in (won, ~won))
        few, means, who = min(winners, losers), 1, f"{instrument} moves {winners}"
    if np.isnan(effective):
        instead = "" if instrument is not None else "; use randomization inference over event dates"
        return (
            f"{fit.design}: the average has no sampling variance that can be estimated (of {fit.n_clusters} clusters "
            f"{who}){instead}."
        )
    if min(effective, few) >= FEW:
        return None
    degrees = max(1.0, min(effective, few - means))
    size = float(two_sided_p(quantile(0.975), degrees))
    instead = "" if instrument is not None else " or randomization inference"
    return (
        f"{fit.design}: of {fit.n_clusters} clusters {who}, and the average's variance rests on about {effective:.0f}; "
        "a 5% test with normal critical values then rejects a true null in at least about "
        f'{size:.0%} of samples, so use vcov="jackknife"{instead}.'
    )


def _few_on_a_side(fit: Estimate, headline: Estimate) -> str | None:
    """Say that few clusters are on a side of the headline, or that it therefore has no standard error."""
    treated, compared = (int(number) for number in headline.leave_out.clusters[:, 0])
    if fit.sample.n_clusters() == 2 and headline.sides.both:  # sums over all of a side are zero
        treated, compared = max(treated, 1), max(compared, 1)
    instrument = fit.sample.question.instrument
    who = f"treated and {counted(compared, 'comparison cluster')}"
    if instrument is not None and fit.contrast.group is not None:
        who = f"clusters that {instrument} moves and {compared} others"
    what = f"{fit.design}: {treated} {who} carry the variance of {headline.terms[0]}"
    estimable, one = headline.leave_out.estimable[0], (treated, compared) == (1, 0)  # without pseudo-values
    if headline.fits_exactly[0] and not one and (estimable or 0 in (treated, compared)):
        exact = "outcomes do not vary between clusters beyond what the design fits"
        return f"{fit.design}: {exact}, so {headline.terms[0]} has no standard error."
    if not estimable:
        if min(treated, compared) >= 2 or one:
            effects, side = _without_error(fit)
            side = side if fit.sample.group is None else "one cluster of a group"
            side = side if instrument is None else "one cluster of winners or losers"
            what = f"{fit.design}: {effects} in {headline.terms[0]} rest on {side}"
        if instrument is not None:
            return f"{what}, so it has no standard error."
        fewer = ", or average over fewer event times by a smaller horizon"
        fewer = fewer if headline.terms[0] == "event_average" else ""
        return f"{what}, so it has no standard error; use study.randomization over event dates{fewer}."
    sides = headline.sides
    fewest = min(treated, compared) if sides.both else max(treated, compared)
    if fewest >= FEW_ON_A_SIDE or (fit.sample.first_treated is None and not sides.both):
        return _few_degrees(fit, headline)
    instead = "" if instrument is not None else ", so use study.randomization over event dates"
    return f"{what}; with fewer than {FEW_ON_A_SIDE} on a side the interval need not hold its level{instead}."


def _few_degrees(fit: Estimate, headline: Estimate) -> str | None:
    """Say that the variance of the headline has few degrees of freedom."""
    degrees, sample = float(headline.degrees_of_freedom[0]), fit.sample
    if not degrees < FEW_DEGREES:
        return None
    scale = (
        ""
        if sample.question.scale != "level"
        else ', a scale that tames skewed counts ("log1p", "proportional")'
    )
    able = sample.first_treated is not None and sample.question.instrument is None
    instead = f"; consider study.randomization{scale} or study.few_treated" if able else ""
    return (
        f"{fit.design}: the standard error of {headline.terms[0]} has {degrees:.1f} degrees of freedom, as if "
        f"{counted(round(degrees) + 1, 'cluster')} carried it{instead}."
    )


def _of_pooled(fit: Estimate) -> str | None:
    """Say what a pooled variance takes for granted where dates differ or few clusters are treated."""
    question, treated = fit.sample.question, treated_clusters(fit)
    refused = question.cluster or question.instrument or question.group  # by few_treated
    if len(fit.sample.cohorts) != 1:
        instead = 'vcov="jackknife"' if refused else "study.few_treated"
        return (
            f"{fit.design}: with several dates comparison clusters are compared over averages of the treated clusters' "
            "periods, which vary less than those of one date, so that the pooled test of an average over dates "
            f"rejects too often; use {instead}."
        )
    if treated >= FEW_ON_A_SIDE:
        return None
    instead = "" if refused else "; study.few_treated needs the second alone, or how errors vary with size"
    return (
        f"{fit.design}: the errors of {counted(treated, 'treated cluster')} are taken to be normal and to vary as "
        f"those of comparison clusters do{instead}."
    )


def _without_error(fit: Estimate) -> tuple[str, str]:
    """Name the effects of an average that have no sampling variance, and the one cluster that they rest on."""
    try:
        path, question = fit.by_event_time, fit.sample.question
    except QuestionError:  # an average that was made already, or a coefficient
        return "some effects", "one treated cluster"
    averaged = ~path.pre & (path.event_time <= question.last)
    alone = averaged & ~(path.leave_out.estimable | path.reference)
    side = "comparison" if np.any(path.leave_out.clusters[1, alone] == 1) else "treated"
    times = ", ".join(f"{e:g}" for e in path.event_time[alone])
    return f"effects at event time {times}" if times else "some effects", f"one {side} cluster"
