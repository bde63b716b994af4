from __future__ import annotations

import pytest

from study.core.errors import DataError
from study.panel.files import countries, region


@pytest.mark.parametrize(
    ("iso2", "continent", "part"),
    [
        ("US", "Americas", "Northern America"),
        ("BR", "Americas", "Latin America and the Caribbean"),
        ("TW", "Asia", "Eastern Asia"),
        ("HK", "Asia", "Eastern Asia"),
        ("MO", "Asia", "Eastern Asia"),
        ("IL", "Asia", "Western Asia"),
        ("TR", "Asia", "Western Asia"),
        ("XK", "Europe", "Southern Europe"),
        ("GB", "Europe", "Northern Europe"),
        ("RU", "Europe", "Eastern Europe"),
        ("NA", "Africa", "Sub-Saharan Africa"),
        ("AU", "Oceania", "Australia and New Zealand"),
    ],
)
def test_countries_lie_where_the_united_nations_place_them(iso2: str, continent: str, part: str) -> None:
    assert (region(iso2), countries()[iso2]["subregion"]) == (continent, part)


def test_all_249_codes_and_kosovo_are_there_once_with_a_name_of_their_own() -> None:
    table = countries()
    assert len(table) == 250
    assert len({country["name"] for country in table.values()}) == 250
    assert all(len(code) == 2 and code.isupper() for code in table)


def test_each_part_lies_in_one_continent() -> None:
    pairs = {(country["subregion"], country["region"]) for country in countries().values()}
    assert len(pairs) == len({part for part, _ in pairs}) == 18


@pytest.mark.parametrize("code", ["ZZ", "uk", ""])
def test_a_code_that_is_none_is_refused(code: str) -> None:
    with pytest.raises(DataError, match=f'"{code}" is no ISO 3166'):
        region(code)
