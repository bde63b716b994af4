"""To which units a fixed number of grants should go, and whether that makes a difference."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray, QuestionError, counted, p_is
from study.diagnostics import Finding, titled
from study.estimates import NUMBERS
from study.figures import ROW_HEIGHT, WIDTH, Axes, Figure, beside, draw_dots, panels
from study.heterogeneity.scored import Scores, all_pairs, seed_of, weighted_means, without_error
from study.learners import rounded

DEPTH = 2
# Of the half of the units that fill a tree's leaves (the other half chooses its splits): below a twentieth there is
# hardly a treated unit in a leaf.
LEAST_SHARE = 0.05


def chances(priority: FloatArray, budget: float) -> FloatArray:
    """Return each unit's chance of a grant by its priority, shape (N,); of units that are equal it is the same."""
    group, size = np.unique(-priority, return_inverse=True, return_counts=True)[1:]
    before = np.cumsum(size) - size
    return np.asarray(np.clip((budget - before) / size, 0, 1)[group])


def tree_chances(scores: Scores, budget: float, seed: int) -> FloatArray:
    """Return the chances that policy trees give, by draw of the folds, shape (N, R).

    The tree of a fold is grown on the scores of the rows outside it, which have seen nothing of the fold. Each fold
    gets its share of the budget: the leaves of different trees have values that were learned from different
    units, and a fold whose own units did well by luck would be thought less of.
    """
    x = scores.x[:, distinct(scores.x)]
    given = np.zeros(scores.folds.place.shape)
    for r, k, inside in scores.held_out():
        effects = scores.outside[r, k].effects(scores.rows.change[~inside], scores.rows.treated[~inside])
        tree = policy_tree(x[~inside], effects, seed_of(seed, r, k))
        value = np.asarray(tree.predict_value(x[inside]))[:, 1]
        given[inside, r] = chances(value, budget * inside.sum() / len(x))
    return given


def policy_tree(x: FloatArray, effects: FloatArray, seed: int) -> Any:
    """Return econml's honest policy tree for a grant whose price is the mean effect, in standard deviations.

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

    tree = PolicyTree(max_depth=DEPTH, min_samples_leaf=least_leaf(len(x)), honest=True, random_state=seed)
    gain, _ = rounded(effects - effects.mean())
    return tree.fit(x, np.column_stack([np.zeros(len(x)), gain]))


def least_leaf(rows: int) -> int:
    """Return the smallest number of units in a leaf."""
    return max(5, int(np.ceil(LEAST_SHARE * rows / 2)))


def distinct(x: FloatArray) -> list[int]:
    """Return the columns that order units differently, of those that order them alike the last."""
    orders = {np.unique(column, return_inverse=True)[1].tobytes(): k for k, column in enumerate(x.T)}
    return sorted(orders.values())


def tree_text(tree: Any, x: FloatArray, names: Sequence[str], effects: FloatArray) -> tuple[str, ...]:
    """Return one line a leaf: the conditions on columns of x with these names, and the mean of the effects in it."""
    grown, price, size = tree.tree_, effects.mean(), rounded(effects - effects.mean())[1]
    is_group = np.all((x == 0) | (x == 1), axis=0)

    def below(node: int, conditions: tuple[str, ...]) -> list[str]:
        if grown.children_left[node] < 0:
            value = float(grown.value[node, 1, 0]) * size + price
            return [f"{' and '.join(conditions) or 'all units'}: {value:.3g} a grant"]
        column, cut = grown.feature[node], f"{grown.threshold[node]:.4g}"
        name = names[column]
        fewer, more = (f"not {name}", name) if is_group[column] else (f"{name} <= {cut}", f"{name} > {cut}")
        left, right = grown.children_left[node], grown.children_right[node]
        return below(left, (*conditions, fewer)) + below(right, (*conditions, more))

    return tuple(below(0, ()))


RANDOM, LARGEST, SMALLEST, TREE = "at random", "largest first", "smallest first", "policy tree"


@titled("The allocation of grants")
def policy(
    scores: Scores,
    budget: int | None = None,
    *,
    prior_name: str | None = None,
    level: float = 0.95,
    draws: int = 9999,
    seed: int = 0,
) -> Finding:
    """Return what a grant adds to the outcome under rules that allocate a budget of them.

    Candidates are all units, by their covariates at the start of the window, when none was treated: the data say what
    being treated in the window did to units that looked so at its start, and nothing of units as they look now.
    The rules are: at random, largest first, smallest first, and by the leaf of an honest policy tree of depth 2 (at
    least a twentieth of the units in a leaf) that was grown without the unit's fold, its scores included. Units that a
    rule does not distinguish have equal chances. The value of a rule is the mean doubly robust score of those chosen
    (Athey and Wager 2021), sum_i pi_i Gamma_i / sum_i pi_i; its influence takes the chances pi as given.

    Parameters
    ----------
    scores : Scores
    budget : int, optional
        Grants; as many as units were treated in the window where none is given.
    prior_name : str, optional
        The covariate that says how large a unit was; the question's last number where none is given.
    level : float
    draws, seed : int
        Of normal errors, for the test of all pairs, and of the trees.

    Returns
    -------
    Finding
        The frame has a row a rule: its value (the outcome that a grant adds, on average of those who get one) with
        pointwise interval, and its difference from a random allocation with the half width, p-value and minimum
        detectable difference of all pairs together. Details: ``budget`` and ``candidates``; ``fit``, with a term for
        each rule; ``chances`` of a grant by row and rule, shape (N, 4), on average of the draws; ``pairs`` of rules;
        ``differ_from_random``, the rules that differ significantly from a random allocation; ``tree``, the leaves of
        one tree that is grown on all units, for a reader.

    Raises
    ------
    QuestionError
        If the scale is not level, the budget is not below the number of candidates, or a name is unknown.

    References
    ----------
    Athey, S. and S. Wager (2021). Policy learning with observational data. Econometrica 89(1).
    """
    question, rows = scores.sample.question, scores.rows
    if question.scale != "level":
        raise QuestionError(
            f"policy: scale is {question.scale}, in which the effects on different units do not add up to an outcome; "
            'ask with scale="level".'
        )
    n = len(rows.unit)
    budget = int(rows.treated.sum()) if budget is None else budget
    if budget >= n:
        raise QuestionError(
            f"policy: budget is {budget!r}; it must be a whole number of grants, at least 1 and fewer than the {n:,} "
            "candidates."
        )
    name, size = scores.prior(prior_name)
    missing = int(np.isnan(size).sum())
    if missing:
        raise QuestionError(
            f"policy: {name} is missing for {counted(missing, 'unit', ',')}; name another covariate."
        )
    by_tree = tree_chances(scores, budget, seed)
    priorities = {RANDOM: np.zeros(n), LARGEST: size, SMALLEST: -size}
    given = {
        rule: np.broadcast_to(chances(priority, budget)[:, None], by_tree.shape)
        for rule, priority in priorities.items()
    }
    given[TREE] = by_tree
    fit = weighted_means(scores, given, "policy")
    pairs = all_pairs(fit, level=level, draws=draws, seed=seed)
    table = fit.tidy(level)[["term", *NUMBERS]].rename(columns={"term": "rule", "estimate": "value"})
    for column, numbers in (
        ("less_random", -pairs.difference),
        ("std_error_less_random", pairs.std_error),
        ("half_width_less_random", pairs.critical * pairs.std_error),
        ("p_adjusted_less_random", pairs.p_adjusted),
        ("detectable_difference", pairs.detectable),
    ):
        # The first pairs are random less each other rule.
        table[column] = [np.nan, *numbers[: len(given) - 1]]
    differs = table["p_adjusted_less_random"] <= 1 - level + 1e-12
    outcome, scale = question.outcome, question.effect_scale
    added = "; ".join(
        f"{row.rule} {scale.text(row.value)} {scale.interval(row.conf_low, row.conf_high)}"
        for row in table.itertuples()
    )
    columns, effects = distinct(scores.x), scores.effects.mean(axis=1)
    x, names = scores.x[:, columns], [scores.names[k] for k in columns]
    tree = tree_text(policy_tree(x, effects, seed), x, names, effects)
    return Finding.of(
        [
            _verdict(table, differs, pairs.p_value, f"{budget:,}", outcome),
            f"What a grant adds to {outcome} by the end of the window, with pointwise {100 * level:g}% intervals: "
            f"{added}.",
            f"There are {budget:,} grants for {n:,} units, none of which had one at the window's start; largest and "
            f"smallest go by {name}.",
            f"A tree of depth {DEPTH} grown on all units, to look at (the rule follows trees that have not seen the "
            f"unit, and its value is none of these): {'; '.join(tree)}.",
            *without_error(fit),
            *fit.notes,
        ],
        table,
        partial(_chart, outcome=outcome, level=level),
        details={
            "budget": budget,
            "candidates": n,
            "fit": fit,
            "chances": np.column_stack([chance.mean(axis=1) for chance in given.values()]),
            "pairs": pairs,
            "differ_from_random": tuple(table["rule"][differs]),
            "tree": tree,
        },
    )


def _verdict(table: pd.DataFrame, differs: pd.Series, p_value: float, budget: str, outcome: str) -> str:
    if differs.any():
        rules = "; ".join(
            f"{row.rule} {row.less_random:+.3g} ({p_is(row.p_adjusted_less_random)})"
            for row in table[differs].itertuples()
        )
        return (
            f"Significantly different from {budget} grants given at random, in {outcome} a grant, by the test of all "
            f"pairs of rules: {rules}."
        )
    if np.isnan(p_value):
        return f"Rules for {budget} grants are not compared: no difference between two has a standard error."
    differences = table.set_index("rule")["detectable_difference"].dropna()
    detectable = ", ".join(f"{difference:.3g} for {rule}" for rule, difference in differences.items())
    return (
        f"No rule for {budget} grants differs significantly from giving them at random (all pairs together, "
        f"{p_is(p_value)}); the minimum detectable difference in {outcome} a grant is {detectable or 'not finite'}."
    )


def _chart(frame: pd.DataFrame, ax: Axes | None, outcome: str, level: float) -> Figure:
    """Draw what a grant adds under each rule, and on a figure of its own the difference from a random allocation."""
    values = frame.rename(columns={"rule": "label", "value": "estimate"})
    added = f"{outcome} added by a grant\n({100 * level:g}% pointwise intervals)"
    estimate, half = frame["less_random"], frame["half_width_less_random"]
    less_random = values.assign(estimate=estimate, conf_low=estimate - half, conf_high=estimate + half)
    less = f"{outcome}, less those of a random grant\n({100 * level:g}%, all pairs together)"
    labels = beside(added), beside(less)
    height = 0.85 + 0.15 * (1 + max(label.count("\n") for label in labels)) + ROW_HEIGHT * len(frame)
    with panels(ax, 1, 2, WIDTH + 1.4, height, sharey=True) as (figure, axes):
        for axis, rows, label in zip(axes, (values, less_random), labels, strict=False):
            draw_dots(axis, rows)
            axis.set_xlabel(label)
    return figure
