"""Inference from influence functions; what refits a design is in modules of its own here."""

from study.inference.covariance import Convention, Wald, covariance, small_sample_factor, wald
from study.inference.joint import Joint, stack
from study.inference.multipliers import largest_draws, sup_t
from study.inference.randomization import Randomization, randomization_test

__all__ = [
    "Convention",
    "Joint",
    "Randomization",
    "Wald",
    "covariance",
    "largest_draws",
    "randomization_test",
    "small_sample_factor",
    "stack",
    "sup_t",
    "wald",
]
