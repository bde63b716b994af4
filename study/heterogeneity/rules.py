"""Rules that give a budget of grants to units: at random, by size, and by a policy tree that has not seen them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from study.core import FloatArray
from study.heterogeneity.scored import Scores, seed_of

DEPTH = 2
# Of the half of the units that fill a tree's leaves (the other half chooses its splits): below a twentieth there is
# hardly a treated unit in a leaf.
LEAST_SHARE = 0.05


def chances(priority: FloatArray, budget: float) -> FloatArray:
    """Return each unit's chance of a grant by its priority, shape (N,); of units that are equal it is the same."""
    group, size = np.unique(-priority, return_inverse=True, return_counts=True)[1:]
    before = np.cumsum(size) - size
    share: FloatArray = np.clip((budget - before) / size, 0, 1)
    return share[group]


def tree_chances(scores: Scores, budget: float, seed: int) -> FloatArray:
    """Return the chances that policy trees give, by draw of the folds, shape (N, R).

    The tree of a fold is grown on the scores of the rows outside it, which have seen nothing of the fold. Each fold
    gets its share of the budget: the leaves of different trees have values that were learned from different
    units, and a fold whose own units did well by luck would be thought less of.
    """
    x = scores.x[:, distinct(scores.x)]
    given = np.zeros(scores.folds.place.shape)
    for r, k, inside in scores.held_out():
        tree = policy_tree(x[~inside], scores.effects_outside(r, k), seed_of(seed, r, k))
        value = np.asarray(tree.predict_value(x[inside]))[:, 1]
        given[inside, r] = chances(value, budget * inside.sum() / len(x))
    return given


def policy_tree(x: FloatArray, effects: FloatArray, seed: int) -> Any:
    """Return econml's honest policy tree for a grant whose price is the mean effect.

    A tree for grants without a price has nothing to divide where all gain, and one for the few who get a grant
    has to find out where they gain more than a unit drawn at random.

    Parameters
    ----------
    x : ndarray, shape (N, p)
    effects : ndarray, shape (N,)
        Doubly robust scores.
    seed : int
    """
    from econml.policy import PolicyTree

    tree = PolicyTree(
        max_depth=DEPTH,
        min_samples_leaf=least_leaf(len(x)),
        min_samples_split=2 * least_leaf(len(x)),
        honest=True,
        random_state=seed,
    )
    return tree.fit(x, np.column_stack([np.zeros(len(x)), effects - effects.mean()]))


def least_leaf(rows: int) -> int:
    """Return the smallest number of units in a leaf."""
    return max(5, int(np.ceil(LEAST_SHARE * rows / 2)))


def distinct(x: FloatArray) -> list[int]:
    """Return the columns that order units differently, of those that order them alike the last."""
    orders = {np.unique(column, return_inverse=True)[1].tobytes(): k for k, column in enumerate(x.T)}
    return sorted(orders.values())


def tree_text(tree: Any, x: FloatArray, names: Sequence[str], price: float) -> tuple[str, ...]:
    """Return one line a leaf: the conditions on columns of x with these names, and the mean effect in it."""
    grown = tree.tree_
    is_group = np.all((x == 0) | (x == 1), axis=0)

    def below(node: int, conditions: tuple[str, ...]) -> list[str]:
        if grown.children_left[node] < 0:
            value = float(grown.value[node, 1, 0]) + price
            return [f"{' and '.join(conditions) or 'all units'}: {value:.3g} a grant"]
        column, cut = grown.feature[node], f"{grown.threshold[node]:.4g}"
        name = names[column]
        fewer, more = (f"not {name}", name) if is_group[column] else (f"{name} <= {cut}", f"{name} > {cut}")
        return [
            *below(grown.children_left[node], (*conditions, fewer)),
            *below(grown.children_right[node], (*conditions, more)),
        ]

    return tuple(below(0, ()))
