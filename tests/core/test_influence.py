"""The map that an influence function is kept as does what its array would."""

from __future__ import annotations

import numpy as np
import pytest

from study.core import influence as influences
from study.core.influence import COLUMNS_AT_ONCE, Influence, Part, Values, side_by_side

N, K = 30, 4
RNG = np.random.default_rng(0)
GROUPS = tuple(np.sort(part) for part in np.split(RNG.permutation(N), [7, 16]))
SOME = np.array([1, 5, 20])


def part(*rows: np.ndarray | None, p: int = 3) -> Part:
    """Return random values of groups of units with a random map for each."""
    arrays = tuple(RNG.normal(size=(N if r is None else len(r), p)) for r in rows)
    return Part(Values(rows, arrays), RNG.normal(size=(len(rows), p, K)))


def array(rows: np.ndarray | None) -> Part:
    """Return the random influence of some units, or of all, itself."""
    return part(rows, p=K)._replace(coefficient=None)


def mapped_again(made: Part) -> Part:
    return made._replace(coefficient=RNG.normal(size=made.coefficient.shape))


FIRST = part(*GROUPS)
MAPS = {
    name: Influence((N, K), parts)
    for name, parts in {
        "groups that share no unit": (FIRST,),
        "one array": (array(None),),
        "a map of all units": (part(None),),
        "other values of the same units": (part(*GROUPS), part(*GROUPS, p=5), part(GROUPS[0])),
        "groups that share units": (part(GROUPS[0]), part(SOME), part(None)),
        "an array and maps": (array(None), part(GROUPS[2], GROUPS[1]), part(None)),
        "arrays of some units": (array(SOME), part(SOME), array(SOME)),
        "a group without units": (part(GROUPS[0][:0], GROUPS[1]),),
        "the same values twice": (mapped_again(FIRST),),
        "nothing": (),
    }.items()
}
CLUSTERS = {
    "units": np.arange(N),
    "units in another order": np.arange(N)[::-1],
    "clusters": np.arange(N) % 6,
    "one cluster": np.zeros(N, dtype=np.int64),
}
made = pytest.mark.parametrize("made", MAPS.values(), ids=MAPS)


def by_loops(influence: Influence) -> np.ndarray:
    """Add up the parts one unit at a time."""
    out = np.zeros(influence.shape)
    for values, coefficient in influence.parts:
        for g, (rows, numbers) in enumerate(zip(values.rows, values.arrays, strict=True)):
            for place, i in enumerate(range(N) if rows is None else rows):
                out[i] += numbers[place] if coefficient is None else numbers[place] @ coefficient[g]
    return out


def same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


@made
def test_its_array_is_the_sum_of_its_parts_and_its_means_are_their_means(made: Influence) -> None:
    same(made.dense(), by_loops(made))
    same(made.means(), by_loops(made).mean(axis=0))
    units = np.random.default_rng(0).permutation(N)[:5]
    same(made.at(units), by_loops(made)[units])


@made
@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
def test_its_products_are_those_of_sums_over_clusters(made: Influence, cluster: np.ndarray) -> None:
    dense = by_loops(made)
    sums = np.stack([dense[cluster == c].sum(axis=0) for c in np.unique(cluster)])
    same(made.cluster_sums(cluster), sums)
    same(made.products(cluster), sums.T @ sums)
    same(made.squares(cluster), np.diag(sums.T @ sums))


@made
def test_one_array_a_group_holds_the_same_influence(made: Influence, monkeypatch: pytest.MonkeyPatch) -> None:
    assert made.by_groups(GROUPS) is made  # so few numbers are kept as they are
    monkeypatch.setattr(influences, "KEPT", 0)
    sorted_out = made.by_groups(GROUPS)
    same(sorted_out.dense(), by_loops(made))
    group = np.empty(N, dtype=np.int64)
    for g, rows in enumerate(GROUPS):
        group[rows] = g
    if any(rows is SOME for values, _ in made.parts for rows in values.rows):
        assert sorted_out is made  # one array has some units of a group only
        return
    assert sorted_out.within(group)
    dense = by_loops(made)
    for found, power in zip(sorted_out.powers_by_group(group), (2, 4), strict=True):
        expected = np.stack([np.sum(dense[rows] ** power, axis=0) for rows in GROUPS])
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_squares_of_more_terms_than_are_held_at_once_are_those_of_each_term() -> None:
    many = MAPS["groups that share no unit"] @ RNG.normal(size=(K, 2 * COLUMNS_AT_ONCE + 5))
    for cluster in CLUSTERS.values():
        same(many.squares(cluster), np.diag(many.products(cluster)))


@made
def test_terms_can_be_selected_scaled_and_combined(made: Influence) -> None:
    dense = by_loops(made)
    which, factor, weights = np.array([True, False, True, True]), RNG.normal(size=K), RNG.normal(size=(K, 3))
    same(made.select(which).dense(), dense[:, which])
    same(made.scaled(factor).dense(), dense * factor)
    same((made @ weights).dense(), dense @ weights)
    same(
        (made.select(which) @ weights[:3]).products(CLUSTERS["clusters"]),
        _clustered(dense[:, which] @ weights[:3]),
    )


def _clustered(dense: np.ndarray) -> np.ndarray:
    sums = np.stack([dense[CLUSTERS["clusters"] == c].sum(axis=0) for c in range(6)])
    return sums.T @ sums


@made
@pytest.mark.parametrize("other", MAPS.values(), ids=MAPS)
def test_sums_and_differences_are_those_of_the_arrays(made: Influence, other: Influence) -> None:
    same((made + other).dense(), by_loops(made) + by_loops(other))
    difference = by_loops(made) - by_loops(other)
    same((made - other).dense(), difference)
    products = difference.T @ difference
    same((made - other).products(CLUSTERS["units"]), products)
    same((made - other).squares(CLUSTERS["units"]), np.diag(products))


def test_a_sum_adds_the_maps_of_values_that_both_have() -> None:
    groups, again = MAPS["groups that share no unit"], MAPS["the same values twice"]
    assert len((groups + again).parts) == 1
    assert len((groups + groups @ np.eye(K)).parts) == 1
    assert len((groups + MAPS["other values of the same units"]).parts) == 4


def test_the_influence_on_all_terms_is_that_of_each_part_side_by_side() -> None:
    together = side_by_side(list(MAPS.values()))
    same(together.dense(), np.hstack([by_loops(made) for made in MAPS.values()]))


def test_an_array_of_some_units_is_zero_for_all_others() -> None:
    numbers = RNG.normal(size=(3, K))
    expected = np.zeros((N, K))
    expected[SOME] = numbers
    same(Influence.of(numbers, SOME, N).dense(), expected)


def test_groups_with_their_own_maps_are_put_in_their_units_rows() -> None:
    whole = Influence.by_group(N, FIRST.values, FIRST.coefficient).dense()
    for rows, numbers, coefficient in zip(GROUPS, FIRST.values.arrays, FIRST.coefficient, strict=True):
        same(whole[rows], numbers @ coefficient)
