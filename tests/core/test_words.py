"""Names in sentences."""

from __future__ import annotations

import pytest

from study.core import capital, listed


@pytest.mark.parametrize(
    ("items", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_names_are_listed_with_commas_and_an_and(items: list[str], text: str) -> None:
    assert listed(items) == text
    assert listed(iter(items), "or") == text.replace("and", "or")


def test_a_sentence_starts_with_a_capital_and_the_rest_stays() -> None:
    assert [capital(text) for text in ("the R2", "log(1 + y)", "")] == ["The R2", "Log(1 + y)", ""]
