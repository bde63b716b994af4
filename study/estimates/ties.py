"""Which drawn statistics count as at least as large as the observed one, on every machine the same."""

from __future__ import annotations

from typing import Any, overload

import numpy as np

from study.core import FloatArray

# Far above what rounding leaves of equal statistics in double precision, far below what draws differ by.
TIE = 1e-9


@overload
def least_as_large(observed: float, scale: float | None = None) -> float: ...
@overload
def least_as_large(observed: FloatArray, scale: FloatArray | float | None = None) -> FloatArray: ...
def least_as_large(observed: Any, scale: Any = None) -> Any:
    """Return the smallest drawn size that counts as at least as large as the observed one.

    Draws that are equal to the observed statistic count, and which are equal must not depend on the order in which
    a processor adds: equal are two that differ by less than :data:`TIE` times the larger of the observed size and
    ``scale``, where one is given. All are in double precision.

    Parameters
    ----------
    observed : float or ndarray
        Absolute statistics.
    scale : float or ndarray, optional
        What draws are in the order of, where the observed size may be zero but for rounding.
    """
    return observed * (1 - TIE) if scale is None else observed - TIE * np.maximum(observed, scale)
