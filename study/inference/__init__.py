"""Inference from influence functions; what refits a design is in modules of its own here."""

from study.estimates.covariance import Convention, Wald, covariance, small_sample_factor, wald
from study.estimates.effective import effective_clusters, few_clusters_warning
from study.estimates.joint import Joint, stack
from study.estimates.multipliers import Errors, Weights, exceeded, largest_draws, sup_t
from study.inference.families import adjusted_p_values
from study.inference.randomization import Randomization, randomization_test

__all__ = [
    "Convention",
    "Errors",
    "Joint",
    "Randomization",
    "Wald",
    "Weights",
    "adjusted_p_values",
    "covariance",
    "effective_clusters",
    "exceeded",
    "few_clusters_warning",
    "largest_draws",
    "randomization_test",
    "small_sample_factor",
    "stack",
    "sup_t",
    "wald",
]
