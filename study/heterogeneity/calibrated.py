"""Whether predicted effects are there in units that were not used to predict them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from study.core import FloatArray, IntArray, QuestionError, checked, p_is, two_sided_p
from study.designs.long_change import long_change
from study.diagnostics import Finding
from study.estimates import NUMBERS
from study.figures import GREY, Axes, Figure, draw_intervals, legend_above, on_axes
from study.heterogeneity.causal_forest import causal_forest, refuse_proportional
from study.heterogeneity.grouping import EQUAL
from study.heterogeneity.scored import Scores, averaged, score, seed_of, weighted_means
from study.learners import Learner, standardised
from study.panel import Sample, Scale

# The rule that was set before any result: a half with fewer treated units says nothing of heterogeneity.
LEAST_PER_HALF = 50
QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


@checked
def calibration(
    sample: Sample,
    *,
    learner: Learner = "forest",
    propensity: Learner | None = None,
    groups: tuple[str, ...] = (),
    before: int = 1,
    after: int = 1,
    trees: int = 200,
    repetitions: int = 5,
    level: float = 0.95,
    seed: int = 0,
) -> Finding:
    """Regress doubly robust scores of one half of the clusters on effects that a forest of the other half predicts.

    The best linear predictor of Chernozhukov, Demirer, Duflo and Fernandez-Val (2025, section 3) with doubly robust
    scores, as in econml's DRTester: nuisance functions and the causal forest are learned in one half, the forest's
    own nuisances by cross-fitting within that half, and judged in the other; each half has its own constant.
    Halves are drawn several times, and slope and influence are the averages. Standard errors are clustered.

    Parameters
    ----------
    sample, learner, propensity, groups, before, after, seed
        As in :func:`study.heterogeneity.score`.
    trees : int
        Of each forest.
    repetitions : int
        Draws of the halves.
    level : float

    Returns
    -------
    Finding
        The frame has a row for the slope of the scores on the predictions (1 where predictions are right, 0 where they
        predict nothing) and one a quarter of the predictions with its mean score and, in ``predicted``, its mean
        prediction. Details: ``slope`` and ``quarters``, their estimates; ``p_value``, that predictions predict nothing;
        ``rejects``, whether the scores grow with the predictions; ``r_squared``, 1 less the distance of the quarters'
        scores to their predictions over that to their mean.

    Raises
    ------
    QuestionError
        If fewer than 50 units of a half are treated or untreated, the scale is proportional, or as in ``score``.

    References
    ----------
    Chernozhukov, V., M. Demirer, E. Duflo and I. Fernandez-Val (2025). Fisher-Schultz lecture: Generic machine learning
    inference on heterogeneous treatment effects in randomized experiments. Econometrica 93(4).
    """
    refuse_proportional("calibration", sample)
    treated = long_change(sample, before, after, "heterogeneity").treated
    fewer = int(min(treated.sum(), (1 - treated).sum()))
    if fewer < 2 * LEAST_PER_HALF:
        word = "treated" if treated.sum() == fewer else "untreated"
        raise QuestionError(
            f"calibration: {fewer} units are {word}, {fewer // 2} in each half, and the rule that was set before any "
            f"result asks for {LEAST_PER_HALF}; whether predicted effects are there cannot be tested."
        )
    learners: dict[str, Any] = {"learner": learner, "propensity": propensity, "groups": groups}
    drawn: dict[str, Any] = {"folds": 2, "repetitions": repetitions, "seed": seed}
    scores = score(sample, before=before, after=after, **learners, **drawn)
    predicted = predictions(scores, trees)
    if np.any(np.ptp(predicted, axis=0) < EQUAL * scores.effects.std()):
        raise QuestionError(
            "calibration: the forest of one half predicts the same effect for all units, so there is no difference "
            "to look for; use more trees or ask for the average effect."
        )
    quarter, explained = np.zeros(predicted.shape, dtype=np.int64), []
    for r, _, inside in scores.held_out():
        own = predicted[inside, r]
        quarter[inside, r] = len(QUARTERS) * (rankdata(own, "ordinal") - 1) // len(own)
        explained.append(calibration_score(scores.effects[inside, r], own, quarter[inside, r]))
    draws = zip(scores.effects.T, predicted.T, scores.folds.fold.T, strict=True)
    slopes, influences = zip(*(best_linear_predictor(*draw) for draw in draws), strict=True)
    by_row = sample.n_units / len(predicted) * np.mean(influences, axis=0)[:, None]
    slope = averaged(scores, ("slope",), np.array([slopes]), by_row, design="calibration")
    members = {name: (quarter == q).astype(float) for q, name in enumerate(QUARTERS)}
    quarters = weighted_means(scores, members, "calibration")
    means = [((m * predicted).sum(axis=0) / m.sum(axis=0)).mean() for m in members.values()]
    frames = [slope.tidy(level), quarters.tidy(level).assign(predicted=means)]
    table = pd.concat(frames, ignore_index=True)[["term", *NUMBERS, "predicted"]]
    p_value = float(two_sided_p(slope.effect / slope.std_error)[0])
    rejects = bool(p_value < 1 - level and slope.effect[0] > 0)
    r_squared, scale, on_all = float(np.mean(explained)), sample.question.effect_scale, table.iloc[0]
    estimates = {"slope": slope, "quarters": quarters}
    by_quarter = "; ".join(
        f"{row.term} {scale.text(row.estimate)} (predicted {scale.text(row.predicted)})"
        for row in table.iloc[1:].itertuples()
    )
    return Finding.of(
        [
            f"Differences between units in the effect, as a forest of one half of them predicts, "
            f"{'are there' if rejects else 'cannot be found'} in the other half: the scores have a slope of "
            f"{on_all.estimate:.2g} on the predictions, {level:.0%} interval [{on_all.conf_low:.2g}, "
            f"{on_all.conf_high:.2g}], {p_is(p_value)}; it is 1 where predictions are right.",
            f"Mean scores by quarter of the prediction, {scale.unit}: {by_quarter}; calibration R squared "
            f"{r_squared:.2f}.",
            *slope.notes,
        ],
        table,
        partial(_chart, scale=scale, level=level),
        name="calibration",
        title="Calibration of predicted effects",
        details=estimates | {"p_value": p_value, "rejects": rejects, "r_squared": r_squared},
    )


def predictions(scores: Scores, trees: int) -> FloatArray:
    """Predict effects by causal forests of the rows outside each fold, which have seen nothing of it, shape (N, R)."""
    x = standardised(scores.x)
    predicted = np.zeros(scores.folds.place.shape)
    for r, k, inside in scores.held_out():
        change, treated = scores.rows.change[~inside], scores.rows.treated[~inside]
        seed = seed_of(scores.learning.seed, r, k)
        model = causal_forest(x[~inside], change, treated, scores.outside[r, k], trees, seed)
        predicted[inside, r] = model.predict(x[inside])[:, 0]
    return predicted


def best_linear_predictor(
    effects: FloatArray, predicted: FloatArray, fold: IntArray
) -> tuple[float, FloatArray]:
    """Return the slope of scores on predictions with a constant for each fold, and its influence by row.

    Parameters
    ----------
    effects, predicted : ndarray, shape (N,)
    fold : ndarray of int, shape (N,)

    Returns
    -------
    float, ndarray of shape (N,)
        Scaled so that the slope's error is the mean of its influence over the rows.
    """
    size = np.bincount(fold)
    regressor = predicted - (np.bincount(fold, predicted) / size)[fold]
    outcome = effects - (np.bincount(fold, effects) / size)[fold]
    squares = regressor @ regressor
    slope = float(regressor @ outcome / squares)
    return slope, len(fold) * regressor * (outcome - slope * regressor) / squares


def calibration_score(effects: FloatArray, predicted: FloatArray, quarter: IntArray) -> float:
    """Return 1 less the distance of mean scores by quarter to mean predictions over that to the mean of all scores."""
    size = np.bincount(quarter)
    own, predictions_of = (np.bincount(quarter, values) / size for values in (effects, predicted))
    return float(1 - size @ np.abs(own - predictions_of) / (size @ np.abs(own - effects.mean())))


def _chart(frame: pd.DataFrame, ax: Axes | None, scale: Scale, level: float) -> Figure:
    """Draw mean scores by quarter against mean predictions, with the line on which they are the same."""
    quarters = frame.iloc[1:]
    predicted = quarters["predicted"]
    with on_axes(ax) as (figure, axis):
        ends = np.array([predicted.min(), predicted.max()])
        axis.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--", label="prediction is right")
        axis.axhline(0, color=GREY, linewidth=0.8)
        estimate, *ends = quarters[["estimate", "conf_low", "conf_high"]].to_numpy().T
        label = f"mean score, {level:.0%} interval"
        draw_intervals(axis, estimate, predicted, ends, upright=True, label=label)
        axis.set(xlabel="Mean predicted effect in a quarter of the units", ylabel=scale.axis())
        if ax is None:
            legend_above(figure, axis)
    return figure
