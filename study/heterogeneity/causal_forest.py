"""The effect on each unit, by econml's causal forest and by a regression of the doubly robust scores."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray, QuestionError, checked, quantile
from study.diagnostics import Finding
from study.figures import BAND, COLOUR, GREY, SECOND, WIDTH, Axes, Figure, legend_above, panels
from study.heterogeneity.grouping import NOBODY, Grouping, prior
from study.heterogeneity.scored import Predicted, Scores
from study.learners import standardised
from study.panel import Question, Sample, Scale

LEARNERS = {"forest": "Causal forest", "linear": "Linear doubly robust learner"}
LEAST_LEAF = 5
IN_A_BAG = 4  # trees of one half sample, whose spread tells the error of the trees from that of sampling


@checked
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
        Groupings by which effects are summarised; see :func:`study.heterogeneity.grouping.grouping`.
    prior_name : str, optional
        The covariate on the figure's horizontal axis; the question's last where none is given.
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
        If a name or number is impossible, or the scale is proportional.

    References
    ----------
    Athey, S., J. Tibshirani and S. Wager (2019). Generalized random forests. Annals of Statistics 47(2).
    """
    refuse_proportional("forest", scores.sample)
    if trees % IN_A_BAG:
        raise QuestionError(f"forest: trees is {trees!r}; it must be a whole multiple of {IN_A_BAG}.")
    rows, question = scores.rows, scores.sample.question
    name = prior_name or question.covariates[-1]
    size, groupings = prior(scores.sample, name)[rows.unit], [scores.groups(each) for each in by]
    x, predicted = standardised(scores.x), scores.predicted.mean()
    units = scores.sample.unit_ids[rows.unit]
    table = pd.DataFrame({"unit": units, "treated": rows.treated.astype(int), name: size})
    model = causal_forest(x, rows.change, rows.treated, predicted, trees, seed)
    low, high = model.predict_interval(x, alpha=1 - level)
    table["forest"], table["forest_low"], table["forest_high"] = model.predict(x)[:, 0], low[:, 0], high[:, 0]
    effect, error = linear_effects(x, predicted.effects(rows.change, rows.treated))
    half = quantile((1 + level) / 2) * error
    table["linear"], table["linear_low"], table["linear_high"] = effect, effect - half, effect + half
    for groups in groupings:
        if groups.by != name:
            table[groups.by] = np.array([*groups.labels, ""])[groups.member]
    n_off_mean = _excluding(table, table["forest"].mean())
    by_group = (_by_group(table, groups, question.effect_scale) for groups in groupings)
    return Finding.of(
        [*_sentences(table, n_off_mean, question, level), *by_group],
        table,
        partial(_chart, prior_name=name, scale=question.effect_scale, level=level),
        name="forest",
        title="Effects by unit, causal forest and doubly robust learner",
        details={"n_off_mean": n_off_mean},
    )


def causal_forest(
    x: FloatArray, change: FloatArray, treated: FloatArray, predicted: Predicted, trees: int, seed: int
) -> Any:
    """Return econml's fitted causal forest on N rows less given predictions, each of shape (N,)."""
    from econml.grf import CausalForest

    mean = predicted.untreated + predicted.propensity * (predicted.treated - predicted.untreated)
    options = {"min_samples_leaf": leaf(treated), "subforest_size": IN_A_BAG, "honest": True, "n_jobs": 1}
    model = CausalForest(n_estimators=trees, random_state=seed, **options)
    return model.fit(x, treated - predicted.propensity, change - mean)


def leaf(treated: FloatArray) -> int:
    """Return the smallest number of units in a leaf: econml's five, or as many as have one treated among them."""
    return max(LEAST_LEAF, int(np.ceil(1 / treated.mean())))


def linear_effects(x: FloatArray, effects: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the fit of scores, shape (N,), on a constant and covariates by row, and its standard error (HC1)."""
    regressors = np.column_stack([np.ones(len(x)), x])
    inverse = np.linalg.pinv(regressors)
    coefficient = inverse @ effects
    influence = regressors @ (inverse * (effects - regressors @ coefficient))
    factor = len(x) / (len(x) - regressors.shape[1])
    return regressors @ coefficient, np.sqrt(factor * (influence**2).sum(axis=1))


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
        f"{scale.text(effect.mean())}; {n_off_mean:,} of {len(effect):,} pointwise {level:.0%} intervals exclude that "
        f"mean, taken as known, and {_excluding(table, 0):,} exclude zero.{clusters}"
    )
    others, treated = (scale.text(mean) for mean in effect.groupby(table["treated"]).mean())
    yield f"The mean effect is {treated} over the treated units and {others} over the others."
    ranking = table["forest"].corr(table["linear"], method="spearman")
    yield (
        f"The doubly robust learner, linear in the covariates, has effects from {linear_low} to {linear_high}; its "
        f"ranking of the units has a correlation of {ranking:.2f} with the forest's."
    )


def _by_group(table: pd.DataFrame, groups: Grouping, scale: Scale) -> str:
    means = table[["forest", "linear"]].groupby(groups.member).mean()
    texts = (
        f"{groups.labels[g]} {scale.text(forest)} and {scale.text(linear)}"
        for g, forest, linear in means.drop(NOBODY, errors="ignore").itertuples()
    )
    return f"Mean effects of forest and linear learner by {groups.by}: {'; '.join(texts)}."


def _chart(frame: pd.DataFrame, ax: Axes | None, prior_name: str, scale: Scale, level: float) -> Figure:
    """Draw the effect on each unit against its prior output: by both learners, or by the forest on given axes."""
    xlabel = f"{prior_name} of the unit, before treatment"
    x, treated = frame[prior_name].to_numpy(), frame["treated"].to_numpy() == 1
    square: Any = {"color": SECOND, "mec": "black", "mew": 0.4, "ms": 3.6, "label": "treated unit"}
    with panels(ax, 1, 2, WIDTH + 1.8, 3.0) as (figure, axes):
        for axis, (learner, title) in zip(axes, LEARNERS.items(), strict=False):
            effect, low, high = (frame[f"{learner}{end}"].to_numpy() for end in ("", "_low", "_high"))
            axis.axhline(0, color=GREY, linewidth=0.8)
            axis.vlines(x, low, high, color=BAND, linewidth=0.6, alpha=0.5)
            axis.plot([], [], color=BAND, linewidth=3, label=f"{level:.0%} interval, pointwise")
            axis.plot(x[~treated], effect[~treated], "o", color=COLOUR, ms=2, label="untreated unit")
            axis.plot(x[treated], effect[treated], "s", **square)
            if np.nanmin(x) > 0:
                axis.set_xscale("log")
            axis.set_title(title)
        if ax is None:
            figure.supxlabel(xlabel, fontsize=9)
            figure.supylabel(scale.axis(), fontsize=9)
            legend_above(figure, axes[0], 3)
        else:
            ax.set(xlabel=xlabel, ylabel=scale.axis())
    return figure
