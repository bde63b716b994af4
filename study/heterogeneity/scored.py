"""Doubly robust scores of the effect on the change over the window, cross-fitted, for units or groups of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations, compress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.core import (
    BoolArray,
    FloatArray,
    Influence,
    IntArray,
    QuestionError,
    checked,
    counted,
    distinct_texts,
    effective_size,
    refuse_unknown,
    same_tail,
    t_quantile,
    unknown,
)
from study.designs import find_design
from study.designs.long_change import LongChange, long_change
from study.estimates import POWER, Estimand, Estimate, Stacked, coefficients, exceeded, stack, sup_t
from study.learners import Folds, Learner, Learning, Nuisance, cross_fit, draw_folds, spread_of_draws
from study.panel import Sample, first_observed, population

THIRDS = (1 / 3, 2 / 3)
NOBODY = -1
# Propensities nearer to 0 or 1 are set to this: no score has a weight above a hundred.
NEAREST = 0.01
# Fewer units carry no model of the treated, which is learned from four fifths of four fifths of them.
LEAST_TREATED = 20
LEAST_IN_GROUP = 5


class Grouping(NamedTuple):
    """Which group each unit of a sample is in.

    Attributes
    ----------
    by : str
        What groups them.
    labels : tuple of str, length G
    member : ndarray of int, shape (n,)
        Number of each unit's group, -1 where it is in none.
    """

    by: str
    labels: tuple[str, ...]
    member: IntArray

    def of_rows(self, unit: IntArray) -> Grouping:
        """Return the grouping of rows of which each is one of the units, shape (N,)."""
        return self._replace(member=self.member[unit])

    def sizes(self, marked: FloatArray | None = None) -> IntArray:
        """Return how many units each group has, or how many of those that are marked by 1, shape (G,)."""
        inside = self.member != NOBODY
        marked = np.ones(len(inside)) if marked is None else marked
        return np.bincount(self.member[inside], marked[inside], len(self.labels)).astype(np.int64)

    def means(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the means of a table's columns, whose rows are the units, by the label of each group with units."""
        means = table.groupby(self.member).mean().drop(NOBODY, errors="ignore")
        return means.set_axis([self.labels[group] for group in means.index])

    def named(self, group: int) -> str:
        """Return what a group is called where it is not said what groups it."""
        label = self.labels[group]
        return label if self.by in label else f"{self.by} {label}"


def grouping(sample: Sample, by: str) -> Grouping:
    """Return the groups that an attribute, a rule or a covariate makes.

    Parameters
    ----------
    sample : Sample
    by : str
        An attribute of the panel (a group for each of its labels, and one of the units without); a rule of
        :func:`study.panel.population`, such as "country=US" (those in it, and the others); or a covariate (thirds by
        its first observed value; equal values stay together).

    Raises
    ------
    QuestionError
        If there is no such attribute or covariate, or the rule cannot be read.
    """
    panel = sample.panel
    if by in sample.attributes:
        label = np.array([name or f"no {by}" for name in sample.attributes[by].astype(str)])
        labels = sorted(set(label.tolist()), key=_natural)
        return Grouping(by, tuple(labels), np.asarray(pd.Index(labels).get_indexer(label)))
    if by in panel.covariates:
        return _thirds(by, prior(sample, by))
    if by in panel.populations or any(sign in by for sign in "=<>"):
        inside = population(by, panel)[sample.panel_rows]
        return Grouping(by, (by, "others"), np.where(inside, 0, 1))
    raise unknown("attribute or covariate", by, [*panel.attributes, *panel.covariates], "heterogeneity, by")


def prior(sample: Sample, name: str) -> FloatArray:
    """Return each unit's first observed value of a covariate of the panel, NaN where there is none, shape (n,).

    Raises
    ------
    QuestionError
        If the panel has no such covariate.
    """
    refuse_unknown("covariate", name, sample.panel.covariates, "heterogeneity, prior")
    return first_observed(sample.panel.covariates[name])[sample.panel_rows]


def prior_of(sample: Sample, name: str | None) -> str:
    """Return the covariate that is named, or the question's last number, of more than two values if any is."""
    numbers = [each for each in sample.question.covariates if each in sample.panel.covariates]
    numbers.sort(key=lambda each: pd.Series(sample.panel.covariates[each].ravel()).nunique() > 2)
    return name or (*sample.question.covariates, *numbers)[-1]


def _natural(label: str) -> list[tuple[int, str]]:
    """Return what puts labels in the order of the numbers that stand in them."""
    parts = re.split(r"(\d+)", label)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts if part]


def _thirds(by: str, value: FloatArray) -> Grouping:
    seen = ~np.isnan(value)
    third = np.searchsorted(np.nanquantile(value, THIRDS), value[seen], side="left")
    member = np.full(len(value), NOBODY, dtype=np.int64)
    member[seen] = np.unique(third, return_inverse=True)[1]
    ends = pd.Series(value[seen]).groupby(member[seen]).agg(["min", "max"])

    def labels(digits: int) -> list[str]:
        to = (f" to {high:.{digits}g}" if low < high else "" for _, low, high in ends.itertuples())
        return [f"{by} {low:.{digits}g}{end}" for low, end in zip(ends["min"], to, strict=True)]

    return Grouping(by, tuple(distinct_texts(labels, 4)), member)


def plain(by: str) -> str:
    """Return what groups units, such as "country=US", in words for a title."""
    return by.replace("=", " ").replace("_", " ")


# A difference of terms that are the same number has a standard error of rounding alone.
EQUAL = 1e-9


@dataclass(frozen=True, eq=False)
class Pairs:
    """All differences of two terms, with a simultaneous test that all of them are zero.

    Attributes
    ----------
    pairs : tuple of (str, str), length P
    difference, std_error : ndarray, shape (P,)
        The first of a pair less the second, and its standard error by the estimate's ``vcov``; NaN where the
        two are the same, or one has none.
    degrees_of_freedom : ndarray, shape (P,)
        Of the pair's t statistic.
    p_adjusted : ndarray, shape (P,)
        Share of draws whose largest absolute t over all pairs is at least as extreme as the pair's.
    critical : ndarray, shape (P,)
        Critical values of all pairs together, at ``level``: t statistics with the same tail.
    p_value : float
        Of the test that all differences are zero, by the largest absolute t; NaN without a difference.
    level : float
    """

    pairs: tuple[tuple[str, str], ...]
    difference: FloatArray
    std_error: FloatArray
    degrees_of_freedom: FloatArray
    p_adjusted: FloatArray
    critical: FloatArray
    p_value: float
    level: float

    @property
    def detectable(self) -> FloatArray:
        """Minimum detectable differences of all pairs together, with 80% power, shape (P,)."""
        return (self.critical + t_quantile(POWER, self.degrees_of_freedom)) * self.std_error

    @property
    def largest(self) -> int:
        """Number of the pair with the largest absolute t."""
        return int(np.nanargmax(np.abs(self.difference / self.std_error)))

    @property
    def differ(self) -> bool:
        """Whether terms differ significantly at the level."""
        return self.p_value <= 1 - self.level + 1e-12

    def tidy(self) -> pd.DataFrame:
        """Return one row a pair, with the simultaneous interval of its difference."""
        half = self.critical * self.std_error
        return pd.DataFrame(self.pairs, columns=["first", "second"]).assign(
            difference=self.difference,
            std_error=self.std_error,
            p_adjusted=self.p_adjusted,
            band_low=self.difference - half,
            band_high=self.difference + half,
            detectable_difference=self.detectable,
        )


def all_pairs(fit: Estimate, *, level: float, draws: int, seed: int) -> Pairs:
    """Compare the terms of an estimate, two by two.

    The largest |t|, each put on the normal scale by its degrees of freedom, is held against normal draws with the
    covariance of the differences.
    """
    first, second = np.triu_indices(len(fit.terms), 1)
    effect, varies = fit.effect[first] - fit.effect[second], fit.varies[first] & fit.varies[second]
    error, degrees, p_adjusted, critical = np.full((4, len(effect)), np.nan)
    if varies.any():
        # Of those with a standard error alone: one that is no number would make all differences none.
        _, differences = stack([*compress(fit.terms, fit.varies)], [Stacked.of(fit, fit.varies)]).pairwise()
        equal = differences.std_error <= EQUAL * fit.std_error[fit.varies].max()
        effect[varies] = np.where(equal, 0.0, effect[varies])
        varies[varies] = ~equal
    if varies.any():
        tested = differences.select(~equal)
        statistics, largest = tested.largest_t(draws, seed)
        error[varies], degrees[varies] = tested.std_error, tested.degrees_of_freedom
        p_adjusted[varies] = exceeded(largest, statistics)
        critical[varies] = same_tail(sup_t(largest, level), tested.degrees_of_freedom)
    p_value = float(np.nanmin(p_adjusted)) if varies.any() else np.nan
    pairs = tuple(combinations(fit.terms, 2))
    return Pairs(pairs, effect, error, degrees, p_adjusted, critical, p_value, level)


class Predicted(NamedTuple):
    """E[change | X, D = 0], E[change | X, D = 1] and P(D = 1 | X), each of one shape."""

    untreated: FloatArray
    treated: FloatArray
    propensity: FloatArray

    def effects(self, change: FloatArray, treated: FloatArray) -> FloatArray:
        """Return the doubly robust score of each row; change and treated have the shape of the predictions."""
        return (
            self.treated
            - self.untreated
            + treated * (change - self.treated) / self.propensity
            - (1 - treated) * (change - self.untreated) / (1 - self.propensity)
        )

    @property
    def odds(self) -> FloatArray:
        """Odds of treatment."""
        return self.propensity / (1 - self.propensity)

    def limited(self) -> Predicted:
        """Return the predictions with propensities no nearer to 0 or 1 than the limit."""
        return self._replace(propensity=np.clip(self.propensity, NEAREST, 1 - NEAREST))

    def mean(self) -> Predicted:
        """Return the mean of the draws, shape (N,)."""
        return Predicted(*(block.mean(axis=1) for block in self))


@dataclass(frozen=True, eq=False)
class Scores:
    """The cross-section of long changes with cross-fitted nuisance functions and doubly robust scores.

    Attributes
    ----------
    sample : Sample
    rows : LongChange
        N units.
    x : ndarray, shape (N, p)
        Covariates of the nuisance functions: the question's, and 0/1 columns of groups.
    names : tuple of str, length p
    folds : Folds
        By cluster; R draws.
    predicted : Predicted, shapes (N, R)
        Each unit's by learners that have not seen its fold.
    clipped : int
        Units whose propensity was set to the limit in some draw.
    learning : Learning
    """

    sample: Sample = field(repr=False)
    rows: LongChange = field(repr=False)
    x: FloatArray = field(repr=False)
    names: tuple[str, ...]
    folds: Folds = field(repr=False)
    predicted: Predicted = field(repr=False)
    clipped: int
    learning: Learning

    @cached_property
    def effects(self) -> FloatArray:
        """Doubly robust scores, shape (N, R), whose mean in a group of units is its average effect.

        mu_1(X) - mu_0(X) + D (Y - mu_1(X)) / e(X) - (1 - D) (Y - mu_0(X)) / (1 - e(X)).
        """
        return self.predicted.effects(self.rows.change[:, None], self.rows.treated[:, None])

    @cached_property
    def on_treated(self) -> FloatArray:
        """Scores whose sum over a group, divided by its treated units, is their average effect, shape (N, R).

        (D - (1 - D) e(X) / (1 - e(X))) (Y - mu_0(X)).
        """
        treated = self.rows.treated[:, None]
        weight = treated - (1 - treated) * self.predicted.odds
        return weight * (self.rows.change[:, None] - self.predicted.untreated)

    @property
    def cluster(self) -> IntArray:
        """Cluster of each row, shape (N,)."""
        return self.sample.cluster[self.rows.unit]

    @cached_property
    def outside(self) -> dict[tuple[int, int], Predicted]:
        """By draw r and fold k: predictions for the rows outside fold k, cross-fitted among these rows alone.

        A rule that is learned from them has seen nothing of fold k, not even through the nuisance functions.
        """
        predicted = {}
        for r, k, inside in self.held_out():
            rows, seed = ~inside, seed_of(self.learning.seed, r, k)
            treated = self.rows.treated[rows]
            folds = draw_folds(self.cluster[rows], 1 - treated.astype(int), self.folds.number, 1, seed)
            folds.check_both("heterogeneity", self.sample, self.rows.unit[rows], treated == 1, "treated")
            raw = _fitted(self.x[rows], self.rows.change[rows], treated, folds, self.learning, seed)
            predicted[r, k] = raw.limited().mean()
        return predicted

    def held_out(self) -> Iterator[tuple[int, int, BoolArray]]:
        """Yield each draw r and fold k with which rows are in the fold, shape (N,)."""
        for r, fold in enumerate(self.folds.fold.T):
            for k in range(self.folds.number):
                yield r, k, fold == k

    def to_units(self, values: FloatArray) -> FloatArray:
        """Return an array by row, shape (N, K), as one by unit of the sample, shape (n, K), zero without a row."""
        out = np.zeros((self.sample.n_units, values.shape[1]))
        out[self.rows.unit] = values
        return out

    def prior(self, name: str | None) -> tuple[str, FloatArray]:
        """Return the covariate that is named, or that of :func:`prior_of`, and what each row had of it, shape (N,)."""
        name = prior_of(self.sample, name)
        return name, prior(self.sample, name)[self.rows.unit]

    def groups(self, by: str) -> Grouping:
        """Return a grouping of the rows; see :func:`study.heterogeneity.scored.grouping`."""
        return grouping(self.sample, by).of_rows(self.rows.unit)

    @property
    def overlap(self) -> str:
        """How many equally weighted units each comparison is worth (Kish 1965), in a sentence."""
        treated = self.rows.treated == 1
        ours, theirs = 1 / self.predicted.propensity[treated], self.predicted.odds[~treated]
        worth = [effective_size(w).mean() for w in (theirs, ours)]
        return (
            f"For the effect on the {int(treated.sum()):,} treated units the {int((~treated).sum()):,} others are "
            f"worth {worth[0]:,.0f} equally weighted ones; for the effect on all units, on which the allocation of "
            f"grants rests, the treated are worth {worth[1]:,.0f}, and {self.clipped:,} units have a propensity set to "
            f"a limit ({NEAREST:g} or {1 - NEAREST:g}) in some draw of the folds."
        )


@checked
def score(
    sample: Sample,
    *,
    learner: Learner = "forest",
    propensity: Learner | None = None,
    groups: tuple[str, ...] = (),
    before: int = 1,
    after: int = 1,
    folds: int = 5,
    repetitions: int = 10,
    seed: int = 0,
) -> Scores:
    """Return doubly robust scores of the effect of being treated by the end of the window on the long change.

    Parameters
    ----------
    sample : Sample
        Its question names the covariates given which trends are taken to be parallel.
    learner : str or scikit-learn regressor
        A name of ``study.learners``, of the change among the untreated and among the treated. The default,
        a forest, predicts no change beyond those it has seen.
    propensity : str or scikit-learn classifier, optional
        Of treatment; the same as ``learner`` where none is given.
    groups : tuple of str
        Attributes or rules whose groups are covariates of the nuisance functions, too, so that like is
        compared with like within them. Groups with fewer than five treated units are one group.
    before, after : int
        Periods at the two ends of the window; see :func:`study.designs.long_change.long_change`.
    folds, repetitions : int
        Folds by cluster, treated units spread over them evenly, and the times that they are drawn.
    seed : int
        Of the folds and of learners that draw.

    Returns
    -------
    Scores
        What :func:`study.heterogeneity.effects_by_group`, ``forest``, ``calibration`` and ``policy`` take.

    Raises
    ------
    QuestionError
        If an option is impossible, :func:`study.designs.dml_irm` cannot answer the question, whose scores these are,
        fewer than 20 units are treated or not, or there are no covariates or one is missing.
    """
    sample.needs_units("score")
    learning = Learning(learner, folds, repetitions, seed, learner if propensity is None else propensity)
    learning.check("heterogeneity")
    if refusal := find_design("dml_irm").refusal(sample):
        raise QuestionError(f"heterogeneity, by the scores of {refusal}")
    rows = long_change(sample, before, after, "heterogeneity")
    question = sample.question
    if not question.covariates:
        raise QuestionError(
            "heterogeneity: the question has no covariates, so nothing says how treated units differ from others; name "
            "what was known before treatment."
        )
    for name, column in zip(sample.covariates, rows.x.T, strict=True):
        if np.isnan(column).any():
            raise QuestionError(
                f"heterogeneity: covariate {name} is missing for {counted(np.isnan(column).sum(), 'unit')}; leave it "
                "out."
            )
    for count, word in ((rows.treated.sum(), "treated"), ((1 - rows.treated).sum(), "not treated")):
        if count < LEAST_TREATED:
            raise QuestionError(
                f"heterogeneity: {count:.0f} units are {word} by the end of the window, and at least "
                f"{LEAST_TREATED} are needed to learn of heterogeneity; ask for the average effect with a design "
                "instead."
            )
    x, names = _covariates(sample, rows, groups)
    assigned = learning.draw("heterogeneity", sample, rows.unit, 1 - rows.treated.astype(int))
    assigned.check_both("heterogeneity", sample, rows.unit, rows.treated == 1, "treated")
    raw = _fitted(x, rows.change, rows.treated, assigned, learning, seed)
    predicted = raw.limited()
    at_limit = int(np.any(predicted.propensity != raw.propensity, axis=1).sum())
    return Scores(sample, rows, x, names, assigned, predicted, at_limit, learning)


def weighted_means(scores: Scores, weights: Mapping[str, FloatArray], design: str) -> Estimate:
    """Return the mean doubly robust score under each weighting of the rows, shape (N, R).

    The influence takes the weights as given.
    """
    weight = np.stack([*weights.values()])
    total = weight.sum(axis=1, keepdims=True)
    mean = (weight * scores.effects).sum(axis=1, keepdims=True) / total
    influence = (scores.sample.n_units / total * weight * (scores.effects - mean)).mean(axis=2).T
    return averaged(scores, tuple(weights), mean[:, 0], influence, design=design)


def averaged(
    scores: Scores, terms: tuple[str, ...], of_draw: FloatArray, influence: FloatArray, **fields: Any
) -> Estimate:
    """Return effects on the long change, averaged over the draws of the folds.

    Parameters
    ----------
    scores : Scores
    terms : tuple of str, length K
    of_draw : ndarray, shape (K, R)
        Effects by draw.
    influence : ndarray, shape (N, K)
        By row, averaged over the draws.
    **fields
        The design, and other fields of the estimate.
    """
    sample, draws = scores.sample, of_draw.shape[1]
    units, effect = scores.to_units(influence), of_draw.mean(axis=1)
    fields |= {"notes": scores.rows.notes, "n_obs": len(scores.rows.unit), "published": "CR1"}
    fit = coefficients(sample, terms, effect, units, estimand=Estimand.LONG_CHANGE, **fields)
    if draws == 1 or not fit.varies.any():
        return fit
    most = spread_of_draws(sample, of_draw, Influence.of(units))[fit.varies].max()
    note = (
        f"One draw of the folds has a standard deviation of up to {most:.2f} CR0 standard errors, so the average of "
        f"{draws} still has {most / draws**0.5:.2f} of one that is not in the standard errors."
    )
    return replace(fit, remarks=(*fit.remarks, note))


def without_error(fit: Estimate) -> tuple[str, ...]:
    """Say of which terms there is no standard error."""
    none = ", ".join(compress(fit.terms, np.isfinite(fit.effect) & ~fit.varies))
    return (f"No standard error and no test, with too few clusters on a side: {none}.",) if none else ()


def seed_of(seed: int, draw: int, fold: int) -> int:
    """Return the seed of what is drawn for one fold of one draw."""
    return int(np.random.SeedSequence(seed, spawn_key=(draw, fold)).generate_state(1)[0]) % 2**31


def _covariates(
    sample: Sample, rows: LongChange, groups: tuple[str, ...]
) -> tuple[FloatArray, tuple[str, ...]]:
    """Return the question's covariates and the 0/1 columns of groups, shape (N, p), with their names."""
    columns, names = [*rows.x.T], [*sample.covariates]
    for by in groups:
        of_rows = grouping(sample, by).of_rows(rows.unit)
        enough = of_rows.sizes(rows.treated) >= LEAST_IN_GROUP
        if enough.all():  # then the largest group is the one that others are compared with
            enough[of_rows.sizes().argmax()] = False
        columns += [(of_rows.member == g).astype(float) for g in np.flatnonzero(enough)]
        names += [of_rows.named(int(g)) for g in np.flatnonzero(enough)]
    return np.column_stack(columns), tuple(names)


def _fitted(
    x: FloatArray, change: FloatArray, treated: FloatArray, folds: Folds, learning: Learning, seed: int
) -> Predicted:
    is_treated = treated == 1
    nuisances = {
        "untreated": Nuisance(change, learning.learner, among=~is_treated),
        "treated": Nuisance(change, learning.learner, among=is_treated),
        "propensity": Nuisance(treated, learning.propensity, "probability"),
    }
    return Predicted(**cross_fit(x, np.zeros(len(x), dtype=np.int64), nuisances, folds, seed))
