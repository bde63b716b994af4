"""Baseline covariates as a design's matrix."""

from __future__ import annotations

import numpy as np

from study.core import FloatArray, QuestionError
from study.panel import Sample

COLLINEAR = 1e-7


def baseline_matrix(sample: Sample, design: str) -> FloatArray:
    """Return the constant and the baseline covariates, centred and scaled, shape (n, 1 + p).

    A regression or a logit with a constant does not change with the scaling, but its conditioning does.

    Raises
    ------
    QuestionError
        If a covariate is explained by the constant and those before it.
    """
    x = sample.x_baseline - sample.x_baseline.mean(axis=0)
    spread = x.std(axis=0)
    x = x / np.where(spread > COLLINEAR * np.abs(sample.x_baseline).max(axis=0), spread, np.inf)
    diagonal = np.abs(np.diag(np.linalg.qr(x, mode="r"))) / np.sqrt(len(x))
    for k, name in enumerate(sample.question.covariates):
        if k >= len(diagonal) or diagonal[k] < COLLINEAR:
            raise QuestionError(
                f"{design}: covariate {name} is explained by the constant and the covariates before it; leave it "
                "out."
            )
    return np.column_stack([np.ones(len(x)), x])
