"""One estimate under several methods of inference, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import QuestionError, checked
from study.designs import find_design
from study.diagnostics.finding import Finding
from study.diagnostics.refits import Progress, check, headline, with_interval
from study.diagnostics.registry import Section, diagnostic
from study.estimates import (
    SIZE,
    Convention,
    Effect,
    Estimate,
    effective_clusters,
    effects_frame,
    exceeded,
    few_clusters_warning,
    largest_draws,
    treated_clusters,
)
from study.estimates.covariance import covariance
from study.figures import dot_figure
from study.inference import Randomization, cr3, wild_bootstrap
from study.inference.leave_out import LeaveOut
from study.inference.randomization import randomization as permuted
from study.inference.wild import WildBootstrap
from study.panel import Sample, Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CONVENTIONS: tuple[Convention, ...] = ("CR0", "CR1", "CR1_fixest", "CR1_areg")
RANDOMIZATION = "randomization of event dates"


@diagnostic(
    "uncertainty",
    title="Alternative inference",
    question="Do other methods of inference give the same interval?",
    section=Section.UNCERTAINTY,
    shown=3,
)
@checked
def uncertainty(
    sample: Sample,
    design: str,
    *,
    strata: str | None = None,
    permutations: int = 999,
    randomization: Randomization | None = None,
    draws: int = 9999,
    level: float = 0.95,
    seed: int = 0,
    progress: Progress = None,
    **options: Any,
) -> Finding:
    """Set the intervals of a design's headline beside one another, with the randomization test.

    The design's own convention; the other named conventions with the same critical values; the multiplier
    bootstrap-t with Webb's weights; for linear regressions CR3 with t(G-1) and the restricted wild cluster
    bootstrap; and for designs that fit no learners the randomization test.

    Parameters
    ----------
    sample : Sample
    design : str
    strata : str, optional
        Attribute within which event dates are permuted.
    permutations : int
        Of the randomization test; 0 leaves it out.
    randomization : Randomization, optional
        The test where it was made elsewhere, which is taken instead of permuting.
    draws, seed : int
    level : float
    progress : callable, optional
        Called after each permutation.
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row a method, the design's own first: inference, estimate, std_error, p_value, conf_low,
        conf_high, n_units, n_treated; the randomization test has a p-value only. Details: ``rows``, the effects;
        ``randomization``, the test or None; ``refused``, pairs of a method that the design does not offer and why;
        ``n_clusters``, ``treated_clusters`` and ``effective_clusters``
        (:func:`study.estimates.jackknife.effective_number`); ``warning``, where few clusters carry the variance.

    Raises
    ------
    QuestionError
        If the design refuses the question, or the headline has no sampling variance.
    """
    check("uncertainty", design, options, level)
    options = find_design(design).seeded(options, seed)
    fit = headline(sample, design, options)
    rows = [_named(fit, convention, level) for convention in _ordered(fit)]
    rows.append(_bootstrapped(fit, draws, level, seed))
    refused: list[tuple[str, str]] = []
    try:
        rows.append(_left_out(fit, cr3(sample, design, **options), level))
        wild = wild_bootstrap(sample, design, draws=draws, level=level, seed=seed, **options)
        rows.append(_wild(fit, wild))
    except QuestionError as reason:
        refused.append(("CR3 and the wild cluster bootstrap", str(reason)))
    if randomization is None and permutations and find_design(design).draws:
        refused.append((RANDOMIZATION, f"{design} would fit its learners anew for each permutation."))
    elif randomization is None and permutations:
        randomization = permuted(
            sample, design, strata=strata, permutations=permutations, seed=seed, progress=progress, **options
        )
    details = {
        "rows": tuple(rows),
        "randomization": randomization,
        "refused": tuple(refused),
        "n_clusters": fit.n_clusters,
        "treated_clusters": treated_clusters(fit),
        "effective_clusters": float(effective_clusters(fit)[0]),
        "warning": few_clusters_warning(fit),
    }
    scale, p_value, objection = sample.question.effect_scale, None, ""
    if randomization is not None:
        p_value = randomization.p_value
        objection = f"the randomization test, which does not reject no effect (p = {p_value:.2g})"
    verdict, *evidence = _sentences(scale, details)
    return Finding(
        name="uncertainty",
        title="Alternative inference",
        verdict=verdict,
        evidence=tuple(evidence),
        frame=_frame(rows, p_value),
        chart=partial(_chart, scale=scale, level=level, p_value=p_value),
        against=None if p_value is None else rows[0].excludes_zero and p_value >= SIZE,
        objection=objection,
        details=details,
    )


def _sentences(scale: Scale, details: Mapping[str, Any]) -> Iterator[str]:
    rows: Sequence[Effect] = details["rows"]
    excluding = [row.label for row in rows if row.excludes_zero]
    widest = max(rows, key=lambda row: row.conf_high - row.conf_low)
    conclusion = {0: "No interval excludes zero", len(rows): "All intervals exclude zero"}.get(
        len(excluding), f"Zero is excluded by {', '.join(excluding)} and by no other"
    )
    yield (
        f"{conclusion}; {rows[0].label} gives {rows[0].interval(scale)}, and the widest, {widest.label}, "
        f"{widest.interval(scale)}."
    )
    if details["randomization"] is not None:
        yield details["randomization"].sentences[0]
    yield details["warning"] or (
        f"Of {details['n_clusters']} clusters {details['treated_clusters']} have treated units; the variance rests on "
        f"about {details['effective_clusters']:.0f}."
    )
    for label, reason in details["refused"]:
        yield f"Not offered: {label}, because {reason}"


def _frame(rows: Sequence[Effect], p_value: float | None) -> pd.DataFrame:
    """Return a row a method; the randomization test has a p-value and no interval."""
    own, test = rows[0], []
    if p_value is not None:
        test = [
            Effect(RANDOMIZATION, own.estimate, p_value=p_value, n_units=own.n_units, n_treated=own.n_treated)
        ]
    return effects_frame([*rows, *test]).rename(columns={"label": "inference"})


def _chart(frame: pd.DataFrame, ax: Axes | None, scale: Scale, level: float, p_value: float | None) -> Figure:
    finite = frame[np.isfinite(frame["conf_high"] - frame["conf_low"])]
    figure = dot_figure(
        finite, ax, xlabel=scale.axis(), labels="inference", percent=scale.percent, level=level
    )
    if p_value is not None:
        (ax or figure.axes[0]).set_title(f"Randomization p-value {p_value:.3f}", fontsize=8)
    return figure


def _ordered(fit: Estimate) -> list[Convention]:
    """Return the design's own convention first, then those that its counts allow."""
    allowed = CONVENTIONS if fit.df_k else CONVENTIONS[:2]
    return [fit.convention, *(c for c in allowed if c != fit.convention)]


def _named(fit: Estimate, convention: Convention, level: float) -> Effect:
    """Return the interval under a named convention, with its degrees of freedom."""
    row = Effect.of(convention, fit.under(convention), level)
    half = row.conf_high - row.estimate
    return with_interval(row, row.estimate, row.std_error, row.p_value, half, row.degrees)


def _bootstrapped(fit: Estimate, draws: int, level: float, seed: int) -> Effect:
    """Return the percentile-t interval, for which each draw has a standard error of its own."""
    own = Effect.of("multiplier bootstrap-t", fit, level)
    sums = fit.influence_map.cluster_sums(fit.sample.cluster)
    error = float(np.sqrt(covariance(fit.influence_map, fit.sample.cluster, "CR1")[0, 0]))
    drawn = largest_draws(sums, draws, seed, "webb", "drawn")
    p_value = float(exceeded(drawn, abs(own.estimate / error)))
    return with_interval(own, own.estimate, error, p_value, float(np.quantile(drawn, level)) * error)


def _left_out(fit: Estimate, without: LeaveOut, level: float) -> Effect:
    """Return the interval from leaving out each cluster, with t(G-1)."""
    own = Effect.of("CR3, t(G-1)", fit, level)
    half, degrees = without.interval(level)[1] - without.effect, without.n_clusters - 1
    return with_interval(own, own.estimate, without.std_error, without.p_value, half, degrees)


def _wild(fit: Estimate, wild: WildBootstrap) -> Effect:
    effect = Effect.of("wild cluster bootstrap", fit, wild.level)
    low, high = wild.interval
    return replace(effect, std_error=wild.std_error, p_value=wild.p_value, conf_low=low, conf_high=high)
