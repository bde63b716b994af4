"""Values held to type hints, whatever the libraries' hints are made of."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray
from typing_extensions import TypeAliasType

from study.core import QuestionError
from study.core.arguments import check

Number = TypeVar("Number", bound=np.generic)
# What NDArray is in numpy 2.5 with Python 3.12 and newer.
Named: Any = TypeAliasType("Named", np.ndarray[Any, np.dtype[Number]], type_params=(Number,))


@pytest.mark.parametrize("hint", [NDArray[np.float64], Named[np.float64], Named[np.float64] | None])
def test_a_hint_that_is_a_name_for_an_array_takes_arrays_alone(hint):
    check("f", {"x": hint}, {"x": np.ones(2)})
    for other in (object(), np.array(["a"]), 3):
        with pytest.raises(QuestionError, match=r"f: x is .*; it must be an? ndarray"):
            check("f", {"x": hint}, {"x": other})
