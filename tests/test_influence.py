"""The map that an influence function is kept as does what its array would."""

from __future__ import annotations

import numpy as np
import pytest

from study.influence import COLUMNS_AT_ONCE, Block, Influence

N, K = 30, 4
RNG = np.random.default_rng(0)
ROWS = tuple(np.sort(part) for part in np.split(RNG.permutation(N), [7, 16]))
SOME = np.array([1, 5, 20])


def block(rows: np.ndarray | None, p: int = 3) -> Block:
    m = N if rows is None else len(rows)
    return Block(rows, RNG.normal(size=(m, p)), RNG.normal(size=(p, K)))


def same_values_again(made: Block) -> Block:
    return made._replace(coefficient=RNG.normal(size=made.coefficient.shape))


GROUPS = Influence((N, K), tuple(block(rows) for rows in ROWS))
MAPS = {
    "groups that share no unit": GROUPS,
    "one array": Influence.of(RNG.normal(size=(N, K))),
    "a map of all units": Influence((N, K), (block(None),)),
    "two blocks of the same units": Influence((N, K), (block(ROWS[0]), block(ROWS[0], 5), block(ROWS[1]))),
    "groups that share units": Influence((N, K), (block(ROWS[0]), block(SOME), block(None))),
    "an array and a map": Influence((N, K), (Block(None, RNG.normal(size=(N, K)), None), block(ROWS[2]))),
    "values of some units": Influence((N, K), (Block(SOME, RNG.normal(size=(3, K)), None), block(SOME))),
    "a group without units": Influence((N, K), (block(ROWS[0][:0]), block(ROWS[1]))),
    "the same values twice": Influence((N, K), tuple(same_values_again(b) for b in GROUPS.blocks)),
    "nothing": Influence.none(N, K),
}
CLUSTERS = {"units": np.arange(N), "clusters": np.arange(N) % 6, "one cluster": np.zeros(N, dtype=np.int64)}
made = pytest.mark.parametrize("made", MAPS.values(), ids=MAPS)


def by_loops(influence: Influence) -> np.ndarray:
    """Add up the blocks one unit at a time."""
    out = np.zeros(influence.shape)
    for rows, values, coefficient in influence.blocks:
        for place, i in enumerate(range(N) if rows is None else rows):
            out[i] += values[place] if coefficient is None else values[place] @ coefficient
    return out


def same(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)


@made
def test_its_array_is_the_sum_of_its_blocks_and_its_means_are_their_means(made: Influence) -> None:
    same(made.dense(), by_loops(made))
    same(made.means(), by_loops(made).mean(axis=0))


@made
@pytest.mark.parametrize("cluster", CLUSTERS.values(), ids=CLUSTERS)
def test_its_products_are_those_of_sums_over_clusters(made: Influence, cluster: np.ndarray) -> None:
    array = by_loops(made)
    sums = np.stack([array[cluster == c].sum(axis=0) for c in np.unique(cluster)])
    same(made.cluster_sums(cluster), sums)
    same(made.products(cluster), sums.T @ sums)
    same(made.squares(cluster), np.diag(sums.T @ sums))


def test_squares_of_more_terms_than_are_held_at_once_are_those_of_each_term() -> None:
    many = GROUPS @ RNG.normal(size=(K, 2 * COLUMNS_AT_ONCE + 5))
    for cluster in CLUSTERS.values():
        same(many.squares(cluster), np.diag(many.products(cluster)))


@made
def test_terms_can_be_selected_scaled_and_combined(made: Influence) -> None:
    array = by_loops(made)
    which, factor, weights = np.array([True, False, True, True]), RNG.normal(size=K), RNG.normal(size=(K, 3))
    same(made.select(which).dense(), array[:, which])
    same(made.scaled(factor).dense(), array * factor)
    same((made @ weights).dense(), array @ weights)
    same(
        (made.select(which) @ weights[:3]).products(CLUSTERS["clusters"]),
        _clustered(array[:, which] @ weights[:3]),
    )


def _clustered(array: np.ndarray) -> np.ndarray:
    sums = np.stack([array[CLUSTERS["clusters"] == c].sum(axis=0) for c in range(6)])
    return sums.T @ sums


@made
@pytest.mark.parametrize("other", MAPS.values(), ids=MAPS)
def test_sums_and_differences_are_those_of_the_arrays(made: Influence, other: Influence) -> None:
    same((made + other).dense(), by_loops(made) + by_loops(other))
    same((made - other).dense(), by_loops(made) - by_loops(other))
    array = by_loops(made) - by_loops(other)
    same((made - other).products(CLUSTERS["units"]), array.T @ array)
    same((made - other).squares(CLUSTERS["units"]), np.diag(array.T @ array))


def test_a_sum_joins_the_blocks_of_values_that_both_have() -> None:
    assert len((GROUPS + MAPS["the same values twice"]).blocks) == len(ROWS)
    assert len((GROUPS + GROUPS @ np.eye(K)).blocks) == len(ROWS)
    apart = Influence((N, K), tuple(block(rows) for rows in ROWS))
    assert len((GROUPS + apart).blocks) == 2 * len(ROWS)


def test_groups_with_their_own_maps_are_put_in_their_units_rows() -> None:
    values, maps = [RNG.normal(size=(len(rows), 2)) for rows in ROWS], RNG.normal(size=(3, 2, K))
    array = Influence.by_group(N, ROWS, values, maps).dense()
    for rows, value, coefficient in zip(ROWS, values, maps, strict=True):
        same(array[rows], value @ coefficient)
