"""To which units a fixed number of grants should go, and whether that makes a difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from study.core import FloatArray, QuestionError, checked
from study.estimates import Estimate
from study.figures import GREY, ROW_HEIGHT, WIDTH, draw_intervals, label_rows
from study.figures.canvas import canvas
from study.heterogeneity.grouping import prior
from study.heterogeneity.pairs import Pairs, all_pairs, on_long_change
from study.heterogeneity.rules import DEPTH, chances, distinct, policy_tree, tree_chances, tree_text
from study.heterogeneity.scored import Scores, check_level, spread_of_draws

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


RANDOM, LARGEST, SMALLEST, TREE = "at random", "largest first", "smallest first", "policy tree"


@dataclass(frozen=True, eq=False)
class Policy:
    """What a grant yields under each rule.

    Attributes
    ----------
    budget : int
        Grants.
    candidates : int
    prior_name : str
        What "largest" and "smallest" go by.
    fit : Estimate
        A term for each rule: the outcome that a grant adds, on average of those who get one.
    chances : ndarray, shape (N, 4)
        Chance of a grant by row and rule, on average of the draws.
    pairs : Pairs
    tree : tuple of str
        The leaves of one tree that is grown on all units, for a reader.
    level : float
    """

    budget: int
    candidates: int
    prior_name: str
    fit: Estimate
    chances: FloatArray
    pairs: Pairs
    tree: tuple[str, ...]
    level: float

    title = "The allocation of grants"

    @property
    def apart_from_random(self) -> tuple[str, ...]:
        """The rules that differ significantly from a random allocation, beside all other pairs."""
        found = zip(self.pairs.pairs, self.pairs.p_adjusted, strict=True)
        return tuple(
            second for (first, second), p in found if first == RANDOM and p <= 1 - self.level + 1e-12
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found; the first is the verdict."""
        return (self._verdict(), self._values(), *self._tree(), *self.fit.notes)

    def _verdict(self) -> str:
        outcome = self.fit.sample.question.outcome
        against = [k for k, (first, _) in enumerate(self.pairs.pairs) if first == RANDOM]
        apart = self.apart_from_random
        if apart:
            told = [
                f"{self.pairs.pairs[k][1]} {-self.pairs.difference[k]:+.3g} (p = {self.pairs.p_adjusted[k]:.2g})"
                for k in against
                if self.pairs.pairs[k][1] in apart
            ]
            return (
                f"Told apart from {self.budget:,} grants given at random, in {outcome} a grant, beside all pairs of "
                f"rules: {'; '.join(told)}."
            )
        missed = ", ".join(
            f"{self.pairs.detectable[k]:.3g} for {self.pairs.pairs[k][1]}"
            for k in against
            if not np.isnan(self.pairs.detectable[k])
        )
        return (
            f"No rule for {self.budget:,} grants differs significantly from giving them at random (all pairs together, "
            f"p = {self.pairs.p_value:.2g}); the minimum detectable difference in {outcome} a grant is "
            f"{missed or 'not finite'}."
        )

    def _values(self) -> str:
        question = self.fit.sample.question
        scale = question.effect_scale
        table = self.tidy()
        told = "; ".join(
            f"{row.rule} {scale.text(row.value)} {scale.interval(row.conf_low, row.conf_high)}"
            for row in table.itertuples()
        )
        return (
            f"What a grant adds to {question.outcome} by the end of the window, with pointwise {self.level:.0%} "
            f"intervals: {told}. There are {self.budget:,} grants for {self.candidates:,} units, none of which had one "
            f"at the window's start; largest and smallest go by {self.prior_name}."
        )

    def _tree(self) -> tuple[str, ...]:
        return (
            f"A tree of depth {DEPTH} grown on all units, to look at (the rule follows trees that have not seen the "
            f"unit, and its value is none of these): {'; '.join(self.tree)}.",
        )

    def tidy(self) -> pd.DataFrame:
        """Return one row a rule: its value with pointwise interval, and its difference from random."""
        table = self.fit.tidy(self.level).rename(columns={"term": "rule", "estimate": "value"})
        against = {s: k for k, (f, s) in enumerate(self.pairs.pairs) if f == RANDOM}
        for name, values in (
            ("less_random", -self.pairs.difference),
            ("std_error_less_random", self.pairs.std_error),
            ("half_width_less_random", self.pairs.critical * self.pairs.std_error),
            ("p_adjusted_less_random", self.pairs.p_adjusted),
            ("detectable_difference", self.pairs.detectable),
        ):
            table[name] = [values[against[rule]] if rule in against else np.nan for rule in table["rule"]]
        return table

    def plot(self) -> Figure:
        """Draw the value of each rule with its interval."""
        return policy_figure(self)


@checked
def policy(
    scores: Scores,
    budget: int | None = None,
    *,
    prior_name: str | None = None,
    level: float = 0.95,
    draws: int = 9999,
    seed: int = 0,
) -> Policy:
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
        The covariate that says how large a unit was; the question's last where none is given.
    level : float
    draws, seed : int
        Of normal errors, for the test of all pairs, and of the trees.

    Raises
    ------
    QuestionError
        If the scale is not level, the budget is not below the number of candidates, or a name is unknown.

    References
    ----------
    Athey, S. and S. Wager (2021). Policy learning with observational data. Econometrica 89(1).
    """
    check_level("policy", level, draws)
    question = scores.sample.question
    if question.scale != "level":
        raise QuestionError(
            f"policy: scale is {question.scale}, in which the gains of different units do not add up to an outcome; "
            'ask with scale="level".'
        )
    n = len(scores.rows.unit)
    budget = int(scores.rows.treated.sum()) if budget is None else budget
    if isinstance(budget, bool) or not isinstance(budget, (int, np.integer)) or not 1 <= budget < n:
        raise QuestionError(
            f"policy: budget is {budget!r}; it must be a whole number of grants, at least 1 and fewer than the {n:,} "
            "candidates."
        )
    name = prior_name or question.covariates[-1]
    size = prior(scores.sample, name)[scores.rows.unit]
    if np.isnan(size).any():
        raise QuestionError(
            f"policy: {name} is missing for {int(np.isnan(size).sum()):,} units; name another covariate."
        )
    draws_of_folds = np.ones((1, scores.folds.place.shape[1]))
    given = {
        RANDOM: chances(np.zeros(n), budget)[:, None] * draws_of_folds,
        LARGEST: chances(size, budget)[:, None] * draws_of_folds,
        SMALLEST: chances(-size, budget)[:, None] * draws_of_folds,
        TREE: tree_chances(scores, budget, seed),
    }
    fit = _values(scores, given)
    columns = distinct(scores.x)
    mean_scores = scores.effects.mean(axis=1)
    whole = policy_tree(scores.x[:, columns], mean_scores, seed)
    return Policy(
        budget=budget,
        candidates=n,
        prior_name=name,
        fit=fit,
        chances=np.column_stack([one.mean(axis=1) for one in given.values()]),
        pairs=all_pairs(fit, level=level, draws=draws, seed=seed),
        tree=tree_text(
            whole, scores.x[:, columns], [scores.names[k] for k in columns], float(mean_scores.mean())
        ),
        level=level,
    )


def _values(scores: Scores, given: dict[str, FloatArray]) -> Estimate:
    """Return the value of each rule with its influence, averaged over the draws of the folds."""
    of_draw, influence = [], []
    for chance in given.values():
        total = chance.sum(axis=0)
        value = (chance * scores.effects).sum(axis=0) / total
        of_draw.append(value)
        influence.append((scores.sample.n_units / total * chance * (scores.effects - value)).mean(axis=1))
    by_row = np.column_stack(influence)
    return on_long_change(
        scores.sample,
        tuple(given),
        np.array([value.mean() for value in of_draw]),
        scores.to_units(by_row),
        design="policy",
        notes=(*scores.rows.notes, *spread_of_draws(scores, np.array(of_draw), by_row)),
    )


def policy_figure(found: Policy) -> Figure:
    """Draw what a grant adds under each rule, and its difference from a random allocation."""
    table = found.tidy()
    places = np.arange(len(table))
    with canvas(WIDTH + 1.4, 1.15 + ROW_HEIGHT * len(table)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for axis in (left, right):
            axis.axvline(0, color=GREY, linewidth=0.8)
        draw_intervals(left, table["value"].to_numpy(), places, table[["conf_low", "conf_high"]].to_numpy().T)
        outcome = found.fit.sample.question.outcome
        left.set_xlabel(f"{outcome} added by a grant\n({100 * found.level:g}% pointwise intervals)")
        apart = table["less_random"].to_numpy()
        half = table["half_width_less_random"].to_numpy()
        known = ~np.isnan(half)
        draw_intervals(right, apart[known], places[known], np.array([apart - half, apart + half])[:, known])
        right.set_xlabel(
            f"{outcome}, less those of a random grant\n({100 * found.level:g}%, all pairs together)"
        )
        label_rows(left, list(table["rule"]))
        right.tick_params(axis="y", length=0)
    return figure
