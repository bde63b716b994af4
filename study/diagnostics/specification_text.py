"""What a specification curve says, in sentences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from study.estimates.effective import FEW
from study.inference.agreement import LEVEL

if TYPE_CHECKING:
    from study.diagnostics.specification_curve import SpecificationCurve

CHOICES = {
    "scale": ("scale", "scales"),
    "design": ("design", "designs"),
    "population": ("population", "populations"),
    "comparison": ("comparison group", "comparison groups"),
    "covariates": ("set of covariates", "sets of covariates"),
}


def sentences(curve: SpecificationCurve) -> tuple[str, ...]:
    """Return what was asked, what was found by scale and over all, and what qualifies it."""
    return (
        _asked(curve),
        *(_of_scale(curve, scale) for scale in curve.medians),
        _over_all(curve),
        "These p-values are from the influence functions of all specifications, which were multiplied by one random "
        f"weight a cluster ({curve.weights}, {curve.draws} draws) in place of permuting the data and estimating "
        "everything again; tests with few treated clusters reject more often than their level says.",
        *_qualified(curve),
        *_refused(curve),
    )


def _asked(curve: SpecificationCurve) -> str:
    counts = {name: len(labels) for name, labels in curve.choices.items()}
    told = ", ".join(f"{n} {CHOICES[name][n > 1]}" for name, n in counts.items())
    answered, refused = len(curve.answers), len(curve.refused)
    return (
        f"Of {answered + refused} specifications of the effect of {curve.question.event} on "
        f"{curve.question.outcome} ({told}), {answered} have an estimate and {refused} are refused."
    )


def _of_scale(curve: SpecificationCurve, scale: str) -> str:
    effects = np.array([curve.answers[k].fit.effect[0] for k in curve.of_scale(scale)])
    median, share = curve.medians[scale], curve.shares[scale]
    factor, unit = (100, "% of the mean without treatment") if scale == "proportional" else (1, "log points")
    unit = curve.question.outcome if scale == "level" else unit
    low, middle, high = (f"{factor * v:.3g}" for v in (effects.min(), median.value, effects.max()))
    return (
        f"On the scale {scale}, in {unit}, the {len(effects)} estimates run from {low} to {high}, "
        f"{np.sum(effects > 0)} of them positive, with the median {middle} (p = {median.p_value:.4f} if no "
        "specification had an effect); "
        f"{share.significant} of {share.distinct} are significant at 5% alone, where {share.expected:.1%} would be "
        f"without any effect (p = {share.p_value:.4f})."
    )


def _over_all(curve: SpecificationCurve) -> str:
    largest, share = curve.largest, curve.share
    return (
        f"Over all scales the largest absolute t is {largest.statistic:.2f}, with a critical value of "
        f"{largest.critical_value:.2f} for all {share.distinct} at once (p = {largest.p_value:.4f} if no specification "
        f"had an effect), and {share.significant} of {share.distinct} are significant alone "
        f"(p = {share.p_value:.4f}); the band covers every specification's effect with {LEVEL:.0%} at once."
    )


def _qualified(curve: SpecificationCurve) -> Iterator[str]:
    """Say which specifications are equal, of unlike kinds, of unlike errors, or rest on few clusters."""
    repeated = int(np.sum(curve.first != np.arange(len(curve.first))))
    if repeated:
        whole = len(curve.answers)
        yield (
            f"Only {whole - repeated} of the {whole} estimates are distinct, as the others are algebraically equal to "
            "one of them on their sample; all are shown, and each counts once in the median, the shares and the tests."
        )
    kinds: dict[str, list[str]] = {}
    for answer in curve.answers:
        kinds.setdefault(str(answer.kind._replace(scale="")).removesuffix(", scale "), []).append(
            answer.specification.design
        )
    if len(kinds) > 1:
        told = "; ".join(f"{k} ({', '.join(dict.fromkeys(designs))})" for k, designs in kinds.items())
        yield f"The estimates are of different kinds, and none is left out: {told}."
    unlike = Counter(
        a.specification.design
        for a in curve.answers
        if a.fit.options.get("variance", "sampling") != "sampling"
    )
    if unlike:
        yield f"The standard errors of {', '.join(unlike)} are not those of sampling, as its option variance says."
    table = curve.tidy().iloc[: len(curve.answers)]
    treated, effective = table["treated_clusters"].min(), table["effective_clusters"]
    few = int(((effective < FEW) | (table["treated_clusters"] < FEW)).sum())
    if few:
        yield (
            f"In {few} specifications fewer than {FEW} clusters are treated or carry the variance (at least {treated} "
            f"treated, {effective.min():.0f} effective), so that their standard errors may be too small; "
            "randomization inference holds for them too."
        )


def _refused(curve: SpecificationCurve) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for specification, reason in curve.refused.items():
        reasons.setdefault(reason, []).append(specification.design)
    for reason, designs in reasons.items():
        yield f"Refused, {len(designs)} specifications of {', '.join(dict.fromkeys(designs))}: {reason}"
