"""The effect on each unit as a causal forest predicts it, held against units that the forest has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray, IntArray, QuestionError, p_is
from study.designs.long_change import long_change
from study.diagnostics import Finding, titled
from study.estimates import NUMBERS
from study.figures import BAND, COLOUR, GREY, SECOND, WIDTH, Axes, Figure, draw_intervals, on_axes, panels
from study.heterogeneity.scored import EQUAL, Predicted, Scores, averaged, score, seed_of, weighted_means
from study.learners import Learner, rounded, standardised
from study.panel import Question, Sample, Scale

LEARNERS = {"forest": "Causal forest", "linear": "Linear doubly robust learner"}
COLUMNS = "unit", "treated", *(f"{learner}{end}" for learner in LEARNERS for end in ("", "_low", "_high"))
LEAST_LEAF = 5
IN_A_BAG = 4  # trees of one half sample, whose spread tells the error of the trees from that of sampling
# The rule that was set before any result: a half with fewer treated units says nothing of heterogeneity.
LEAST_PER_HALF = 50
QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


@titled("Effects by unit, causal forest and doubly robust learner")
def forest(
    scores: Scores,
    *,
    by: tuple[str, ...] = (),
    prior_name: str | None = None,
    trees: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Finding:
    """Return the effect on the long change of each unit, as a function of its covariates.

    econml's CausalForest with honest trees, and the doubly robust learner that is linear in the covariates beside it.
    Both get the cross-fitted predictions of ``scores``, the mean over its draws, in place of nuisance functions of
    their own, so that folds are by cluster: they are CausalForestDML and LinearDRLearner of econml on these. Intervals
    of the forest are those of its little bags (Athey, Tibshirani and Wager 2019, section 4.1), of the linear learner
    the usual ones of least squares (HC1); both are pointwise and by unit.

    Parameters
    ----------
    scores : Scores
    by : tuple of str
        Groupings by which effects are summarised; see :func:`study.heterogeneity.scored.grouping`.
    prior_name : str, optional
        The covariate on the figure's horizontal axis; the question's last number where none is given.
    trees : int
        A multiple of 4.
    level : float
    seed : int

    Returns
    -------
    Finding
        The frame has a row a unit: unit, treated, the covariate of ``prior_name``, forest and linear (its effect by
        either learner) with their pointwise intervals, and its group in each grouping. Details: ``n_off_mean``,
        units whose interval excludes the forest's mean effect.

    Raises
    ------
    QuestionError
        If a name or number is impossible or a name that of a column of the frame, or the scale is proportional.

    References
    ----------
    Athey, S., J. Tibshirani and S. Wager (2019). Generalized random forests. Annals of Statistics 47(2).
    """
    from statsmodels.api import OLS

    refuse_proportional("forest", scores.sample)
    if trees % IN_A_BAG:
        raise QuestionError(f"forest: trees is {trees!r}; it must be a whole multiple of {IN_A_BAG}.")
    rows, question = scores.rows, scores.sample.question
    name, size = scores.prior(prior_name)
    for taken in {name, *by} & {*COLUMNS}:
        raise QuestionError(f'forest: "{taken}" is a column of the effects by unit; give yours another name.')
    groupings = [scores.groups(each) for each in by]
    x, predicted = standardised(scores.x), scores.predicted.mean()
    units = scores.sample.unit_ids[rows.unit]
    table = pd.DataFrame({"unit": units, "treated": rows.treated.astype(int), name: size})
    model, unit = causal_forest(x, rows.change, rows.treated, predicted, trees, seed)
    intervals = model.predict(x), *model.predict_interval(x, alpha=1 - level)
    table["forest"], table["forest_low"], table["forest_high"] = unit * np.hstack(intervals).T
    constant, effects = np.column_stack([np.ones(len(x)), x]), predicted.effects(rows.change, rows.treated)
    linear = OLS(effects, constant).fit(cov_type="HC1").get_prediction()
    table["linear"] = linear.predicted_mean
    table[["linear_low", "linear_high"]] = linear.conf_int(alpha=1 - level)
    for groups in groupings:
        if groups.by != name:
            table[groups.by] = np.array([*groups.labels, ""])[groups.member]
    n_off_mean = _excluding(table, table["forest"].mean())
    means = {groups.by: groups.means(table[["forest", "linear"]]) for groups in groupings}
    by_group = (_by_group(by, of_groups, question.effect_scale) for by, of_groups in means.items())
    return Finding.of(
        [*_sentences(table, n_off_mean, question, level), *by_group],
        table,
        partial(_chart, prior_name=name, scale=question.effect_scale, level=level),
        details={"n_off_mean": n_off_mean},
    )


def causal_forest(
    x: FloatArray, change: FloatArray, treated: FloatArray, predicted: Predicted, trees: int, seed: int
) -> tuple[Any, float]:
    """Return econml's causal forest on N rows less given predictions, each of shape (N,), and its effects' unit."""
    from econml.grf import CausalForest

    mean = predicted.untreated + predicted.propensity * (predicted.treated - predicted.untreated)
    options = {"min_samples_leaf": leaf(treated), "subforest_size": IN_A_BAG, "honest": True, "n_jobs": 1}
    model = CausalForest(n_estimators=trees, random_state=seed, **options)
    (given, of_given), (target, of_target) = rounded(treated - predicted.propensity), rounded(change - mean)
    return model.fit(x, given, target), of_target / of_given


def leaf(treated: FloatArray) -> int:
    """Return the smallest number of units in a leaf: econml's five, or as many as have one treated among them."""
    return max(LEAST_LEAF, int(np.ceil(1 / treated.mean())))


def refuse_proportional(who: str, sample: Sample) -> None:
    """Refuse the scale that has no effect of a single unit."""
    if sample.question.scale == "proportional":
        raise QuestionError(
            f"{who}: scale is proportional, a ratio of two means, which a single unit does not have; ask on the "
            "scale level or log1p."
        )


def _excluding(table: pd.DataFrame, value: float) -> int:
    """Return how many of the forest's intervals exclude a value."""
    return int(((table["forest_low"] > value) | (table["forest_high"] < value)).sum())


def _sentences(table: pd.DataFrame, n_off_mean: int, question: Question, level: float) -> Iterator[str]:
    scale, effect = question.effect_scale, table["forest"]
    low, high, linear_low, linear_high = (
        scale.text(table[learner].quantile(share)) for learner in LEARNERS for share in (0.05, 0.95)
    )
    of_units = "The intervals take each unit for its own and not its cluster"
    clusters = f" {of_units} ({question.cluster})." if question.cluster is not None else ""
    yield (
        f"The causal forest's effects run from {low} to {high} {scale.unit} (5th to 95th percentile) around a mean of "
        f"{scale.text(effect.mean())}; {n_off_mean:,} of {len(effect):,} pointwise {100 * level:g}% intervals exclude "
        f"that mean, taken as known, and {_excluding(table, 0):,} exclude zero.{clusters}"
    )
    others, treated = (scale.text(mean) for mean in effect.groupby(table["treated"]).mean())
    yield f"The mean effect is {treated} over the treated units and {others} over the others."
    ranks = table[[*LEARNERS]].rank()
    ranking = "one of them ranks no unit before another."
    if (ranks.nunique() > 1).all():
        ranking = (
            f"its ranking of the units has a correlation of {ranks.corr().iloc[0, 1]:.2f} with the forest's."
        )
    yield (
        f"The doubly robust learner, linear in the covariates, has effects from {linear_low} to {linear_high}; "
        f"{ranking}"
    )


def _by_group(by: str, means: pd.DataFrame, scale: Scale) -> str:
    texts = (f"{label} {' and '.join(map(scale.text, both))}" for label, *both in means.itertuples())
    return f"Mean effects of forest and linear learner by {by}: {'; '.join(texts)}."


def _chart(frame: pd.DataFrame, ax: Axes | None, prior_name: str, scale: Scale, level: float) -> Figure:
    """Draw the effect on each unit against its prior output: by both learners, or by the forest on given axes."""
    from matplotlib.ticker import LogFormatter

    xlabel = f"{prior_name} of the unit, before treatment"
    x, treated = frame[prior_name].to_numpy(), frame["treated"].to_numpy() == 1
    square: Any = {"color": SECOND, "mec": "black", "mew": 0.4, "ms": 3.6, "label": "treated unit"}
    with panels(ax, 1, 2, WIDTH + 1.8, 3.0, legend=3) as (figure, axes):
        for axis, (learner, title) in zip(axes, LEARNERS.items(), strict=False):
            effect, low, high = (frame[f"{learner}{end}"].to_numpy() for end in ("", "_low", "_high"))
            axis.axhline(0, color=GREY, linewidth=0.8)
            axis.vlines(x, low, high, color=BAND, linewidth=0.6, alpha=0.5)
            axis.plot([], [], color=BAND, linewidth=3, label=f"{100 * level:g}% interval, pointwise")
            axis.plot(x[~treated], effect[~treated], "o", color=COLOUR, ms=2, label="untreated unit")
            axis.plot(x[treated], effect[treated], "s", **square)
            if np.nanmin(x) > 0:
                axis.set_xscale("log")
                axis.xaxis.set(major_formatter=LogFormatter(), minor_formatter=LogFormatter())
            axis.set_title(title)
        if ax is None:
            figure.supxlabel(xlabel, fontsize=9)
            figure.supylabel(scale.axis(), fontsize=9)
        else:
            ax.set(xlabel=xlabel, ylabel=scale.axis())
    return figure


@titled("Calibration of predicted effects")
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
    Halves are drawn several times, and slope and influence are the averages. Standard errors are clustered, and hold
    however much the slopes of the two halves go together.

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
    options: dict[str, Any] = {"learner": learner, "propensity": propensity, "groups": groups, "seed": seed}
    scores = score(sample, before=before, after=after, folds=2, repetitions=repetitions, **options)
    predicted = predictions(scores, trees)
    if np.any(np.ptp(predicted, axis=0) < EQUAL * scores.effects.std()):
        raise QuestionError(
            "calibration: the forest of one half predicts the same effect for all units, so there is no difference "
            "to look for; use more trees or ask for the average effect."
        )
    quarter, explained = np.zeros(predicted.shape, dtype=np.int64), []
    for r, _, inside in scores.held_out():
        own = predicted[inside, r]
        quarter[inside, r] = len(QUARTERS) * np.argsort(np.argsort(own, kind="stable")) // len(own)
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
    r_squared, scale, on_all = float(np.mean(explained)), sample.question.effect_scale, table.iloc[0]
    p_value = float(on_all.p_value)
    rejects = bool(p_value < 1 - level and on_all.estimate > 0)
    estimates = {"slope": slope, "quarters": quarters}
    by_quarter = "; ".join(
        f"{row.term} {scale.text(row.estimate)} (predicted {scale.text(row.predicted)})"
        for row in table.iloc[1:].itertuples()
    )
    return Finding.of(
        [
            f"Differences between units in the effect, as a forest of one half of them predicts, "
            f"{'are there' if rejects else 'cannot be found'} in the other half: the scores have a slope of "
            f"{on_all.estimate:.2g} on the predictions, {100 * level:g}% interval [{on_all.conf_low:.2g}, "
            f"{on_all.conf_high:.2g}], {p_is(p_value)}; it is 1 where predictions are right.",
            f"Mean scores by quarter of the prediction, {scale.unit}: {by_quarter}; calibration R squared "
            f"{r_squared:.2f}.",
            *slope.notes,
        ],
        table,
        partial(_calibration_chart, scale=scale, level=level),
        details=estimates | {"p_value": p_value, "rejects": rejects, "r_squared": r_squared},
    )


def predictions(scores: Scores, trees: int) -> FloatArray:
    """Predict effects by causal forests of the rows outside each fold, which have seen nothing of it, shape (N, R)."""
    x = standardised(scores.x)
    predicted = np.zeros(scores.folds.place.shape)
    for r, k, inside in scores.held_out():
        change, treated = scores.rows.change[~inside], scores.rows.treated[~inside]
        seed = seed_of(scores.learning.seed, r, k)
        model, unit = causal_forest(x[~inside], change, treated, scores.outside[r, k], trees, seed)
        predicted[inside, r] = unit * model.predict(x[inside])[:, 0]
    return predicted


def best_linear_predictor(
    effects: FloatArray, predicted: FloatArray, fold: IntArray
) -> tuple[float, FloatArray]:
    """Return the slope of scores on predictions with a constant for each fold, and its influence by row.

    What a fold is predicted to be comes from the scores of the others, which are predicted from its own. Where there is
    nothing to predict the folds' slopes therefore go together, though each has the right error given its predictions;
    errors of K folds that go together add up to at most the root of K times what independent ones would.

    Parameters
    ----------
    effects, predicted : ndarray, shape (N,)
    fold : ndarray of int, shape (N,)

    Returns
    -------
    float, ndarray of shape (N,)
        Scaled so that the slope's error is the mean of its influence over the rows, times the root of K.
    """
    size = np.bincount(fold)
    regressor = predicted - (np.bincount(fold, predicted) / size)[fold]
    outcome = effects - (np.bincount(fold, effects) / size)[fold]
    squares = regressor @ regressor
    slope = float(regressor @ outcome / squares)
    return slope, len(size) ** 0.5 * len(fold) * regressor * (outcome - slope * regressor) / squares


def calibration_score(effects: FloatArray, predicted: FloatArray, quarter: IntArray) -> float:
    """Return 1 less the distance of mean scores by quarter to mean predictions over that to the mean of all scores."""
    size = np.bincount(quarter)
    own, predictions_of = (np.bincount(quarter, values) / size for values in (effects, predicted))
    return float(1 - size @ np.abs(own - predictions_of) / (size @ np.abs(own - effects.mean())))


def _calibration_chart(frame: pd.DataFrame, ax: Axes | None, scale: Scale, level: float) -> Figure:
    """Draw mean scores by quarter against mean predictions, with the line on which they are the same."""
    quarters = frame.iloc[1:]
    predicted = quarters["predicted"]
    with on_axes(ax, legend=2) as (figure, axis):
        ends = np.array([predicted.min(), predicted.max()])
        axis.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--", label="prediction is right")
        axis.axhline(0, color=GREY, linewidth=0.8)
        estimate, *ends = quarters[["estimate", "conf_low", "conf_high"]].to_numpy().T
        label = f"mean score, {100 * level:g}% interval"
        draw_intervals(axis, estimate, predicted, ends, upright=True, label=label)
        axis.set(xlabel="Mean predicted effect in a quarter of the units", ylabel=scale.axis())
    return figure
