"""What the data say against an estimate's assumptions: one diagnostic a file.

Each is a function of an Estimate, or of a Sample and a design where it refits, and answers with a
:class:`study.diagnostics.finding.Finding`: sentences, a table and a figure.
"""

from study.diagnostics.balance import balance
from study.diagnostics.contamination_weights import contamination_weights
from study.diagnostics.goodman_bacon import goodman_bacon
from study.diagnostics.honest_did import honest_did
from study.diagnostics.leave_one_out import leave_one_cohort_out, leave_one_unit_out
from study.diagnostics.misclassification import misclassification
from study.diagnostics.negative_weights import negative_weights
from study.diagnostics.nuisances import nuisances
from study.diagnostics.oster import oster
from study.diagnostics.placebo_dates import placebo_dates
from study.diagnostics.placebo_outcomes import placebo_outcomes
from study.diagnostics.pretrends import pretrends
from study.diagnostics.seeds import seeds
from study.diagnostics.sensitivity import sensitivity
from study.diagnostics.specification_curve import specification_curve
from study.diagnostics.spillovers import spillovers
from study.diagnostics.uncertainty import uncertainty

__all__ = [
    "balance",
    "contamination_weights",
    "goodman_bacon",
    "honest_did",
    "leave_one_cohort_out",
    "leave_one_unit_out",
    "misclassification",
    "negative_weights",
    "nuisances",
    "oster",
    "placebo_dates",
    "placebo_outcomes",
    "pretrends",
    "seeds",
    "sensitivity",
    "specification_curve",
    "spillovers",
    "uncertainty",
]
