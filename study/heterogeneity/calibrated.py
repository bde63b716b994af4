"""Whether predicted effects are there in units that were not used to predict them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from study.core import FloatArray, IntArray, QuestionError, checked, two_sided_p
from study.designs.long_change import long_change
from study.estimates import Estimate
from study.figures import COLOUR, GREY, legend_above
from study.figures.canvas import canvas
from study.heterogeneity.causal_forest import causal_forest, refuse_proportional, standardised
from study.heterogeneity.pairs import EQUAL, on_long_change
from study.heterogeneity.scored import Scores, check_level, score, seed_of, spread_of_draws
from study.learners import Learner
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


# The rule that was set before any result: a half with fewer treated units says nothing of who gains.
LEAST_PER_HALF = 50
QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


class Halved(NamedTuple):
    """By draw of the halves: predictions for each row by a forest of the other half, and the quarter of its half."""

    predicted: FloatArray
    quarter: IntArray


@dataclass(frozen=True, eq=False)
class Calibration:
    """Doubly robust scores of one half against effects that were predicted from the other.

    Attributes
    ----------
    slope : Estimate
        Of the scores on the predictions: 1 where predictions are right, 0 where they predict nothing.
    quarters : Estimate
        Mean score in each quarter of the predictions.
    predicted : ndarray, shape (4,)
        Mean prediction in each quarter.
    r_squared : float
        1 less the distance of the quarters' scores to their predictions over that to their mean.
    treated : int
    level : float
    """

    slope: Estimate
    quarters: Estimate
    predicted: FloatArray
    r_squared: float
    treated: int
    level: float

    title = "Calibration of predicted effects"

    @property
    def p_value(self) -> float:
        """Of the test that predictions predict nothing."""
        return float(two_sided_p(self.slope.effect / self.slope.std_error)[0])

    @property
    def rejects(self) -> bool:
        """Whether the scores grow with the predictions."""
        return self.p_value < 1 - self.level and self.slope.effect[0] > 0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found; the first is the verdict."""
        scale = self.slope.sample.question.effect_scale
        row = self.slope.tidy(self.level).iloc[0]
        told = "are there" if self.rejects else "cannot be found"
        quarters = "; ".join(
            f"{name} {scale.text(found)} (predicted {scale.text(predicted)})"
            for name, found, predicted in zip(QUARTERS, self.quarters.effect, self.predicted, strict=True)
        )
        return (
            f"Differences between units in the effect, as a forest of one half of them predicts, {told} in the other "
            f"half: the scores have a slope of {row.estimate:.2g} on the predictions, {self.level:.0%} interval "
            f"[{row.conf_low:.2g}, {row.conf_high:.2g}], p = {self.p_value:.2g}; it is 1 where predictions are right.",
            f"Mean scores by quarter of the prediction, {scale.unit}: {quarters}; calibration R squared "
            f"{self.r_squared:.2f}.",
            *self.slope.notes,
        )

    def tidy(self) -> pd.DataFrame:
        """Return the slope and the quarters."""
        import pandas as pd

        quarters = self.quarters.tidy(self.level)
        quarters["predicted"] = self.predicted
        return pd.concat([self.slope.tidy(self.level), quarters], ignore_index=True)

    def plot(self) -> Figure:
        """Draw the quarters' scores against their predictions."""
        return calibration_figure(self)


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
) -> Calibration:
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

    Raises
    ------
    QuestionError
        If fewer than 50 units of a half are treated or untreated, the scale is proportional, or as in ``score``.

    References
    ----------
    Chernozhukov, V., M. Demirer, E. Duflo and I. Fernandez-Val (2025). Fisher-Schultz lecture: Generic machine learning
    inference on heterogeneous treatment effects in randomized experiments. Econometrica 93(4).
    """
    check_level("calibration", level)
    refuse_proportional("calibration", sample)
    treated = long_change(sample, before, after, "gains").treated
    fewer = int(min(treated.sum(), (1 - treated).sum()))
    if fewer < 2 * LEAST_PER_HALF:
        word = "treated" if treated.sum() == fewer else "untreated"
        raise QuestionError(
            f"calibration: {fewer} units are {word}, {fewer // 2} in each half, and the rule that was set before any "
            f"result asks for {LEAST_PER_HALF}; whether predicted effects are there cannot be tested."
        )
    scores = score(
        sample,
        learner=learner,
        propensity=propensity,
        groups=groups,
        before=before,
        after=after,
        folds=2,
        repetitions=repetitions,
        seed=seed,
    )
    halved = predictions(scores, trees)
    draws = range(repetitions)
    if any(np.ptp(halved.predicted[:, r]) < EQUAL * scores.effects.std() for r in draws):
        raise QuestionError(
            "calibration: the forest of one half predicts the same effect for all units, so there is no difference "
            "to look for; use more trees or ask for the average effect."
        )
    slopes = [
        best_linear_predictor(scores.effects[:, r], halved.predicted[:, r], scores.folds.fold[:, r])
        for r in draws
    ]
    share = scores.sample.n_units / len(scores.rows.unit)
    influence = share * np.mean([one for _, one in slopes], axis=0)[:, None]
    of_draw = np.array([[slope for slope, _ in slopes]])
    notes = (*scores.rows.notes, *spread_of_draws(scores, of_draw, influence))
    slope = on_long_change(
        scores.sample,
        ("slope",),
        of_draw.mean(axis=1),
        scores.to_units(influence),
        design="calibration",
        notes=notes,
    )
    quarters, means = _quarters(scores, halved)
    fits = [
        calibration_score(scores.effects[rows, r], halved.predicted[rows, r], halved.quarter[rows, r])
        for r in draws
        for rows in (scores.folds.fold[:, r] == k for k in range(2))
    ]
    return Calibration(slope, quarters, means, float(np.mean(fits)), int(treated.sum()), level)


def predictions(scores: Scores, trees: int) -> Halved:
    """Predict effects by causal forests of the rows outside each fold, which have seen nothing of it."""
    x = standardised(scores.x)
    predicted = np.zeros(scores.folds.place.shape)
    quarter = np.zeros(predicted.shape, dtype=np.int64)
    for r, fold in enumerate(scores.folds.fold.T):
        for k in range(scores.folds.number):
            inside, seed = fold == k, seed_of(scores.seed, r, k)
            change, treated = scores.rows.change[~inside], scores.rows.treated[~inside]
            model = causal_forest(x[~inside], change, treated, scores.outside[r, k], trees, seed)
            predicted[inside, r] = model.effect(x[inside])
            rank = np.argsort(np.argsort(predicted[inside, r], kind="stable"), kind="stable")
            quarter[inside, r] = len(QUARTERS) * rank // inside.sum()
    return Halved(predicted, quarter)


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
    own = other = 0.0
    for q in np.unique(quarter):
        rows = quarter == q
        own += rows.mean() * abs(effects[rows].mean() - predicted[rows].mean())
        other += rows.mean() * abs(effects[rows].mean() - effects.mean())
    return 1 - own / other


def _quarters(scores: Scores, halved: Halved) -> tuple[Estimate, FloatArray]:
    """Return mean scores and mean predictions by quarter, averaged over the draws."""
    n, found, means, influence = scores.sample.n_units, [], [], []
    for q in range(len(QUARTERS)):
        member = (halved.quarter == q).astype(float)
        total = member.sum(axis=0)
        mean = (member * scores.effects).sum(axis=0) / total
        found.append(mean.mean())
        means.append(((member * halved.predicted).sum(axis=0) / total).mean())
        influence.append((n / total * member * (scores.effects - mean)).mean(axis=1))
    units = scores.to_units(np.column_stack(influence))
    return on_long_change(scores.sample, QUARTERS, np.array(found), units, design="calibration"), np.array(
        means
    )


def calibration_figure(found: Calibration) -> Figure:
    """Draw mean scores by quarter against mean predictions, with the line on which they are the same."""
    table = found.quarters.tidy(found.level)
    with canvas() as figure:
        axis = figure.subplots()
        ends = np.array([found.predicted.min(), found.predicted.max()])
        axis.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--", label="prediction is right")
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.errorbar(
            found.predicted,
            table["estimate"],
            yerr=np.array([table["estimate"] - table["conf_low"], table["conf_high"] - table["estimate"]]),
            fmt="o",
            color=COLOUR,
            markersize=3.5,
            linewidth=1.0,
            label=f"mean score, {found.level:.0%} interval",
        )
        axis.set_xlabel("Mean predicted effect in a quarter of the units")
        axis.set_ylabel(found.slope.sample.question.effect_scale.axis())
        legend_above(figure, axis)
    return figure
