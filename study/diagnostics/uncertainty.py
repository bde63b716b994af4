"""One estimate under several ways of inference, side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import QuestionError, checked
from study.designs import find_design
from study.diagnostics.refits import Progress, check, headline, treated
from study.estimates import (
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
from study.inference.randomization import randomization
from study.panel import Question, Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

CONVENTIONS: tuple[Convention, ...] = ("CR0", "CR1", "CR1_fixest", "CR1_areg")


@dataclass(frozen=True)
class Uncertainty:
    """Intervals and p-values of one estimate.

    Attributes
    ----------
    design : str
    question : Question
    level : float
    rows : tuple of Row
        One way of inference each; the first is the design's own.
    randomization : Randomization, optional
        Its p-value stands beside the rows; it has no interval.
    refused : tuple of (str, str)
        Ways that this design does not offer, and why.
    n_clusters, treated_clusters : int
    effective_clusters : float
        See :func:`study.estimates.jackknife.effective_number`.
    warning : str, optional
        Where few clusters carry the variance.
    """

    design: str
    question: Question
    level: float
    rows: tuple[Effect, ...]
    randomization: Randomization | None
    refused: tuple[tuple[str, str], ...]
    n_clusters: int
    treated_clusters: int
    effective_clusters: float
    warning: str | None

    @property
    def title(self) -> str:
        """Heading."""
        return f"Uncertainty: {self.design}"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found."""
        own, excluding = self.rows[0], [row for row in self.rows if row.excludes_zero]
        widest = max(self.rows, key=lambda row: row.conf_high - row.conf_low)
        if not excluding:
            agreed = "No interval excludes zero"
        elif len(excluding) == len(self.rows):
            agreed = "All intervals exclude zero"
        else:
            agreed = f"Zero is excluded by {', '.join(row.label for row in excluding)} and by no other"
        said = [
            f"{agreed}; {own.label} gives {own.interval(self.question.effect_scale)}, and the widest, {widest.label}, "
            f"{widest.interval(self.question.effect_scale)}."
        ]
        if self.randomization is not None:
            said.append(self.randomization.sentences[0])
        said.append(
            self.warning
            or f"Of {self.n_clusters} clusters {self.treated_clusters} have treated units; the variance rests on about "
            f"{self.effective_clusters:.0f}."
        )
        return (*said, *(f"Not offered: {label}, because {reason}" for label, reason in self.refused))

    def with_test(self, randomization: Randomization) -> Uncertainty:
        """Return the same with a randomization test that was made elsewhere."""
        return replace(self, randomization=randomization)

    def tidy(self) -> pd.DataFrame:
        """Return one row a way of inference; the randomization test has a p-value only."""
        import pandas as pd

        table = effects_frame(self.rows).rename(columns={"label": "inference"})
        if self.randomization is None:
            return table
        first = self.rows[0]
        test = {
            "inference": "randomization of event dates",
            "estimate": first.estimate,
            "p_value": self.randomization.p_value,
            "units": first.n_units,
            "treated": first.n_treated,
        }
        return pd.concat([table, pd.DataFrame([test])], ignore_index=True)

    def plot(self) -> Figure:
        """Draw the intervals, one below the other."""
        finite = [row for row in self.rows if np.isfinite(row.conf_high - row.conf_low)]
        figure = dot_figure(
            finite,
            xlabel=self.question.effect_scale.axis(),
            percent=self.question.effect_scale.percent,
            level=self.level,
        )
        if self.randomization is not None:
            figure.axes[0].set_title(f"Randomization p-value {self.randomization.p_value:.3f}", fontsize=8)
        return figure


@checked
def uncertainty(
    sample: Sample,
    design: str,
    *,
    strata: str | None = None,
    permutations: int = 999,
    draws: int = 9999,
    level: float = 0.95,
    seed: int = 0,
    progress: Progress = None,
    **options: Any,
) -> Uncertainty:
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
    draws, seed : int
    level : float
    progress : callable, optional
        Called after each permutation.
    **options
        Options of the design.

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
        rows.append(_left_out(fit, sample, design, level, options))
        wild = wild_bootstrap(sample, design, draws=draws, level=level, seed=seed, **options)
        low, high = wild.interval
        rows.append(
            replace(rows[0], label="wild cluster bootstrap", std_error=wild.std_error, p_value=wild.p_value)
        )
        rows[-1] = replace(rows[-1], conf_low=low, conf_high=high)
    except QuestionError as reason:
        refused.append(("CR3 and the wild cluster bootstrap", str(reason)))
    test = None
    if permutations and find_design(design).draws:
        refused.append(
            ("randomization of event dates", f"{design} would fit its learners anew for each permutation.")
        )
    elif permutations:
        test = randomization(
            sample,
            design,
            strata=strata,
            permutations=permutations,
            seed=seed,
            progress=progress,
            **options,
        )
    return Uncertainty(
        design,
        sample.question,
        level,
        tuple(rows),
        test,
        tuple(refused),
        fit.n_clusters,
        treated_clusters(fit),
        float(effective_clusters(fit)[0]),
        few_clusters_warning(fit),
    )


def _ordered(fit: Estimate) -> list[Convention]:
    """Return the design's own convention first, then those that its counts allow."""
    allowed = CONVENTIONS if fit.df_k else CONVENTIONS[:2]
    return [fit.convention, *(c for c in allowed if c != fit.convention)]


def _named(fit: Estimate, convention: Convention, level: float) -> Effect:
    """Return the interval under a named convention, with its degrees of freedom."""
    row = fit.under(convention).tidy(level).iloc[0]
    return _row(convention, fit, row["std_error"], row["p_value"], row["conf_high"] - row["estimate"])


def _bootstrapped(fit: Estimate, draws: int, level: float, seed: int) -> Effect:
    """Return the percentile-t interval, for which each draw has a standard error of its own."""
    sums = fit.influence_map.cluster_sums(fit.sample.cluster)
    error = float(np.sqrt(covariance(fit.influence_map, fit.sample.cluster, "CR1")[0, 0]))
    drawn = largest_draws(sums, draws, seed, "webb", "drawn")
    p_value = float(exceeded(drawn, abs(fit.effect[0] / error)))
    half = float(np.quantile(drawn, level)) * error
    return _row("multiplier bootstrap-t", fit, error, p_value, half)


def _left_out(fit: Estimate, sample: Sample, design: str, level: float, options: dict[str, Any]) -> Effect:
    """Return the interval from leaving out each cluster, with t(G-1)."""
    found = cr3(sample, design, **options)
    half = found.interval(level)[1] - found.effect
    return _row("CR3, t(G-1)", fit, found.std_error, found.p_value, half)


def _row(label: str, fit: Estimate, error: float, p_value: float, half: float) -> Effect:
    effect = float(fit.effect[0])
    sizes = fit.sample.n_units, int(treated(fit.sample).sum())
    return Effect(
        label,
        effect,
        error,
        float(p_value),
        effect - half,
        effect + half,
        n_units=sizes[0],
        n_treated=sizes[1],
    )
