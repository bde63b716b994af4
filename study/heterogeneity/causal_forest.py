"""The effect on each unit, by a causal forest and by a doubly robust linear learner, both of econml."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from study.core import FloatArray, QuestionError, checked
from study.diagnostics.finding import Finding
from study.figures import BAND, COLOUR, GREY, SECOND, WIDTH, legend_above, on_axes
from study.figures.canvas import canvas
from study.heterogeneity.grouping import Grouping, prior
from study.heterogeneity.scored import NEAREST, Predicted, Scores, check_level
from study.panel import Question, Sample, Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def controls(predicted: Predicted) -> FloatArray:
    """Return predictions of N rows as the controls that the learners below read, shape (N, 3)."""
    return np.column_stack(predicted)


class GivenOutcome(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """E[Y | X, D], from the columns X, W, D of econml's doubly robust learners."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GivenOutcome:
        """Learn nothing."""
        self.fitted_ = True
        return self

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the prediction of each row's treatment."""
        return np.where(X[:, -1] == 1, X[:, -3], X[:, -4])


class GivenMean(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """E[Y | X], from the columns X, W of econml's partially linear learners."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GivenMean:
        """Learn nothing."""
        self.fitted_ = True
        return self

    def predict(self, X: FloatArray) -> FloatArray:
        """Return the mean of both treatments by the propensity."""
        untreated, treated, propensity = X[:, -3:].T
        return np.asarray(untreated + propensity * (treated - untreated))


class GivenPropensity(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """P(D = 1 | X), from the columns X, W."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> GivenPropensity:
        """Learn nothing but the two classes."""
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: FloatArray) -> FloatArray:
        """Return both probabilities."""
        return np.column_stack([1 - X[:, -1], X[:, -1]])

    def predict(self, X: FloatArray) -> Any:
        """Return the likelier class."""
        return (X[:, -1] > 0.5).astype(int)


UNTREATED: Any = {"marker": "o", "color": COLOUR, "ms": 2, "label": "untreated unit"}
TREATED: Any = {
    "marker": "s",
    "color": SECOND,
    "mec": "black",
    "mew": 0.4,
    "ms": 3.6,
    "label": "treated unit",
}
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

    econml's CausalForestDML with honest trees, and its LinearDRLearner beside it. Both get the cross-fitted
    predictions of ``scores``, the mean over its draws, in place of nuisance functions of their own, so that folds are
    by cluster. Intervals of the forest are those of its little bags (Athey, Tibshirani and Wager 2019, section 4.1),
    of the linear learner the usual ones of least squares (HC1); both are pointwise and by unit.

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
    check_level("forest", level)
    refuse_proportional("forest", scores.sample)
    if isinstance(trees, bool) or not isinstance(trees, int) or trees < IN_A_BAG or trees % IN_A_BAG:
        raise QuestionError(f"forest: trees is {trees!r}; it must be a whole multiple of {IN_A_BAG}.")
    question = scores.sample.question
    name = prior_name or question.covariates[-1]
    output = prior(scores.sample, name)[scores.rows.unit]
    groupings = tuple(scores.groups(one) for one in by)
    table = _frame(scores, trees, level, seed)
    table.insert(2, name, output)
    for groups in groupings:
        if groups.by != name:
            table[groups.by] = np.array([*groups.labels, ""])[groups.member]
    n_off_mean = _excluding(table, table["forest"].to_numpy().mean())
    verdict, *evidence = _sentences(table, n_off_mean, question, level)
    return Finding(
        name="forest",
        title="Effects by unit, causal forest and doubly robust learner",
        verdict=verdict,
        evidence=(*evidence, *(_by_group(table, groups, question.effect_scale) for groups in groupings)),
        frame=table,
        chart=partial(_chart, prior_name=name, scale=question.effect_scale, level=level),
        details={"n_off_mean": n_off_mean},
    )


def causal_forest(
    x: FloatArray, change: FloatArray, treated: FloatArray, predicted: Predicted, trees: int, seed: int
) -> Any:
    """Return econml's fitted causal forest on N rows with given predictions, each of shape (N,)."""
    from econml.dml import CausalForestDML

    from study.heterogeneity.causal_forest import GivenMean, GivenPropensity, controls

    model = CausalForestDML(
        model_y=GivenMean(),
        model_t=GivenPropensity(),
        discrete_treatment=True,
        cv=1,
        drate=False,
        n_estimators=trees,
        min_samples_leaf=leaf(treated),
        subforest_size=IN_A_BAG,
        honest=True,
        n_jobs=1,
        random_state=seed,
    )
    return model.fit(change, treated.astype(int), X=x, W=controls(predicted))


def leaf(treated: FloatArray) -> int:
    """Return the smallest number of units in a leaf: econml's five, or as many as have one treated among them."""
    return max(LEAST_LEAF, int(np.ceil(1 / treated.mean())))


def linear_learner(
    x: FloatArray, change: FloatArray, treated: FloatArray, predicted: Predicted, seed: int
) -> Any:
    """Return econml's fitted linear doubly robust learner on N rows with given predictions, each of shape (N,)."""
    from econml.dr import LinearDRLearner

    from study.heterogeneity.causal_forest import GivenOutcome, GivenPropensity, controls

    model = LinearDRLearner(
        model_propensity=GivenPropensity(),
        model_regression=GivenOutcome(),
        min_propensity=NEAREST,
        cv=1,
        random_state=seed,
    )
    return model.fit(change, treated.astype(int), X=x, W=controls(predicted))


def refuse_proportional(who: str, sample: Sample) -> None:
    """Refuse the scale that has no effect of a single unit."""
    if sample.question.scale == "proportional":
        raise QuestionError(
            f"{who}: scale is proportional, a ratio of two means, which a single unit does not have; ask on the "
            "scale level or log1p."
        )


def standardised(x: FloatArray) -> FloatArray:
    """Return columns with mean 0 and standard deviation 1, or 0 where they are constant."""
    from study.learners.problem import spread

    return (x - x.mean(axis=0)) / spread(x)


def _frame(scores: Scores, trees: int, level: float, seed: int) -> pd.DataFrame:
    """Return each unit's effect by both learners with its interval."""
    import pandas as pd

    x, change, treated = standardised(scores.x), scores.rows.change, scores.rows.treated
    predicted = scores.predicted.mean()
    table = pd.DataFrame({"unit": scores.sample.unit_ids[scores.rows.unit], "treated": treated.astype(int)})
    for name, model in (
        ("forest", causal_forest(x, change, treated, predicted, trees, seed)),
        ("linear", linear_learner(x, change, treated, predicted, seed)),
    ):
        table[name] = model.effect(x)
        table[f"{name}_low"], table[f"{name}_high"] = model.effect_interval(x, alpha=1 - level)
    return table


def _excluding(table: pd.DataFrame, value: float) -> int:
    """Return how many of the forest's intervals exclude a value."""
    return int(((table["forest_low"] > value) | (table["forest_high"] < value)).sum())


def _sentences(table: pd.DataFrame, n_off_mean: int, question: Question, level: float) -> Iterator[str]:
    from scipy.stats import spearmanr

    scale = question.effect_scale
    effect, linear, treated = (table[name].to_numpy() for name in ("forest", "linear", "treated"))
    forest_ends, linear_ends = (
        [scale.text(end) for end in np.quantile(values, [0.05, 0.95])] for values in (effect, linear)
    )
    clusters = (
        f" The intervals take each unit for its own and not its cluster ({question.cluster})."
        if question.cluster is not None
        else ""
    )
    yield (
        f"The causal forest's effects run from {forest_ends[0]} to {forest_ends[1]} {scale.unit} (5th to 95th "
        f"percentile) around a mean of {scale.text(effect.mean())}; {n_off_mean:,} of {len(effect):,} pointwise "
        f"{level:.0%} intervals exclude that mean, taken as known, and {_excluding(table, 0):,} exclude zero.{clusters}"
    )
    yield (
        f"The mean effect is {scale.text(effect[treated == 1].mean())} over the treated units and "
        f"{scale.text(effect[treated == 0].mean())} over the others."
    )
    yield (
        f"The doubly robust learner, linear in the covariates, has effects from {linear_ends[0]} to {linear_ends[1]}; "
        f"its ranking of the units has a correlation of {spearmanr(effect, linear).statistic:.2f} with the forest's."
    )


def _by_group(table: pd.DataFrame, groups: Grouping, scale: Scale) -> str:
    effect, linear = table["forest"].to_numpy(), table["linear"].to_numpy()
    means = [
        f"{label} {scale.text(effect[groups.member == g].mean())} and {scale.text(linear[groups.member == g].mean())}"
        for g, label in enumerate(groups.labels)
        if np.any(groups.member == g)
    ]
    return f"Mean effects of forest and linear learner by {groups.by}: {'; '.join(means)}."


def _chart(frame: pd.DataFrame, ax: Axes | None, prior_name: str, scale: Scale, level: float) -> Figure:
    """Draw the effect on each unit against its prior output: by both learners, or by the forest on given axes."""
    xlabel = f"{prior_name} of the unit, before treatment"
    if ax is not None:
        with on_axes(ax) as (figure, axis):
            _draw_learner(axis, frame, "forest", prior_name, level)
            axis.set_xlabel(xlabel)
            axis.set_ylabel(scale.axis())
        return figure
    with canvas(WIDTH + 1.8, 3.0) as figure:
        axes = figure.subplots(1, 2)
        for axis, learner in zip(axes, LEARNERS, strict=True):
            _draw_learner(axis, frame, learner, prior_name, level)
        figure.supxlabel(xlabel, fontsize=9)
        figure.supylabel(scale.axis(), fontsize=9)
        legend_above(figure, axes[0], 3)
    return figure


def _draw_learner(axis: Axes, frame: pd.DataFrame, learner: str, prior_name: str, level: float) -> None:
    x, effect, treated = (frame[name].to_numpy() for name in (prior_name, learner, "treated"))
    axis.axhline(0, color=GREY, linewidth=0.8)
    axis.vlines(x, frame[f"{learner}_low"], frame[f"{learner}_high"], color=BAND, linewidth=0.6, alpha=0.5)
    axis.plot([], [], color=BAND, linewidth=3, label=f"{level:.0%} interval, pointwise")
    for which, look in ((treated == 0, UNTREATED), (treated == 1, TREATED)):
        axis.plot(x[which], effect[which], linestyle="none", **look)
    if np.nanmin(x) > 0:
        axis.set_xscale("log")
    axis.set_title(LEARNERS[learner])
