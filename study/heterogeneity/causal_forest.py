"""The effect on each unit, by a causal forest and by a doubly robust linear learner, both of econml."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked
from study.figures import BAND, COLOUR, GREY, SECOND, WIDTH, legend_above
from study.figures.canvas import canvas
from study.heterogeneity.grouping import Grouping, prior
from study.heterogeneity.scored import NEAREST, Predicted, Scores, check_level
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


TREATED = {"color": SECOND, "mec": "black", "mew": 0.4, "ms": 3.6, "label": "treated unit"}
LEAST_LEAF = 5
IN_A_BAG = 4  # trees of one half sample, whose spread tells the error of the trees from that of sampling


@dataclass(frozen=True, eq=False)
class ForestEffects:
    """Effects by unit.

    Attributes
    ----------
    sample : Sample
    units : ndarray of str, shape (N,)
    treated : ndarray, shape (N,)
    prior_name : str
    prior : ndarray, shape (N,)
        What the figure has on its horizontal axis.
    effect, low, high : ndarray, shape (N,)
        Of the causal forest, with pointwise intervals.
    linear, linear_low, linear_high : ndarray, shape (N,)
        Of the doubly robust learner that is linear in the covariates.
    groupings : tuple of Grouping
        By row.
    level : float
    """

    sample: Sample
    units: NDArray[Any]
    treated: FloatArray
    prior_name: str
    prior: FloatArray
    effect: FloatArray
    low: FloatArray
    high: FloatArray
    linear: FloatArray
    linear_low: FloatArray
    linear_high: FloatArray
    groupings: tuple[Grouping, ...]
    level: float

    title = "Effects by unit, causal forest and doubly robust learner"

    @property
    def apart(self) -> int:
        """Number of units whose interval excludes the forest's mean effect."""
        mean = self.effect.mean()
        return int(np.sum((self.low > mean) | (self.high < mean)))

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found; the first is the verdict."""
        scale = self.sample.question.effect_scale
        mean, ends = self.effect.mean(), np.quantile(self.effect, [0.05, 0.95])
        nonzero = int(np.sum((self.low > 0) | (self.high < 0)))
        order = np.corrcoef(_ranks(self.effect), _ranks(self.linear))[0, 1]
        clusters = (
            f" The intervals take each unit for its own and not its cluster ({self.sample.question.cluster})."
            if self.sample.question.cluster is not None
            else ""
        )
        return (
            f"The causal forest's effects run from {scale.text(ends[0])} to {scale.text(ends[1])} {scale.unit} (5th "
            f"to 95th percentile) around a mean of {scale.text(mean)}; {self.apart:,} of {len(self.effect):,} "
            f"pointwise {self.level:.0%} intervals exclude that mean, taken as known, and {nonzero:,} "
            f"exclude zero.{clusters}",
            f"The mean effect is {scale.text(self.effect[self.treated == 1].mean())} over the treated units and "
            f"{scale.text(self.effect[self.treated == 0].mean())} over the others.",
            f"The doubly robust learner, linear in the covariates, has effects from "
            f"{scale.text(np.quantile(self.linear, 0.05))} to {scale.text(np.quantile(self.linear, 0.95))}; "
            f"its ranking of the units has a correlation of {order:.2f} with the forest's.",
            *(self._by(groups) for groups in self.groupings),
        )

    def _by(self, groups: Grouping) -> str:
        scale = self.sample.question.effect_scale
        told = [
            f"{label} {scale.text(self.effect[groups.member == g].mean())} and "
            f"{scale.text(self.linear[groups.member == g].mean())}"
            for g, label in enumerate(groups.labels)
            if np.any(groups.member == g)
        ]
        return f"Mean effects of forest and linear learner by {groups.by}: {'; '.join(told)}."

    def tidy(self) -> pd.DataFrame:
        """Return one row a unit."""
        import pandas as pd

        table = {
            "unit": self.units,
            "treated": self.treated.astype(int),
            self.prior_name: self.prior,
            "forest": self.effect,
            "forest_low": self.low,
            "forest_high": self.high,
            "linear": self.linear,
            "linear_low": self.linear_low,
            "linear_high": self.linear_high,
        }
        groups = {
            g.by: np.array([*g.labels, ""])[g.member] for g in self.groupings if g.by != self.prior_name
        }
        return pd.DataFrame(table | groups)

    def plot(self) -> Figure:
        """Draw the effects against prior output."""
        return forest_figure(self)


@checked
def forest(
    scores: Scores,
    *,
    by: tuple[str, ...] = (),
    prior_name: str | None = None,
    trees: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> ForestEffects:
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
    name = prior_name or scores.sample.question.covariates[-1]
    output = prior(scores.sample, name)[scores.rows.unit]
    groupings = tuple(scores.groups(one) for one in by)
    predicted = scores.predicted.mean()
    x = standardised(scores.x)
    made = causal_forest(x, scores.rows.change, scores.rows.treated, predicted, trees, seed)
    line = linear_learner(x, scores.rows.change, scores.rows.treated, predicted, seed)
    low, high = made.effect_interval(x, alpha=1 - level)
    linear_low, linear_high = line.effect_interval(x, alpha=1 - level)
    return ForestEffects(
        sample=scores.sample,
        units=scores.sample.unit_ids[scores.rows.unit],
        treated=scores.rows.treated,
        prior_name=name,
        prior=output,
        effect=made.effect(x),
        low=low,
        high=high,
        linear=line.effect(x),
        linear_low=linear_low,
        linear_high=linear_high,
        groupings=groupings,
        level=level,
    )


def causal_forest(
    x: FloatArray, change: FloatArray, treated: FloatArray, predicted: Predicted, trees: int, seed: int
) -> Any:
    """Return econml's fitted causal forest on N rows with given predictions, each of shape (N,)."""
    from econml.dml import CausalForestDML

    from study.heterogeneity.given import GivenMean, GivenPropensity, controls

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

    from study.heterogeneity.given import GivenOutcome, GivenPropensity, controls

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


def _ranks(values: FloatArray) -> FloatArray:
    from scipy.stats import rankdata

    return np.asarray(rankdata(values))


def forest_figure(found: ForestEffects) -> Figure:
    """Draw the effect on each unit against its prior output, by both learners, with pointwise intervals."""
    learners = {
        "Causal forest": (found.effect, found.low, found.high),
        "Linear doubly robust learner": (found.linear, found.linear_low, found.linear_high),
    }
    with canvas(WIDTH + 1.8, 3.0) as figure:
        axes = figure.subplots(1, 2)
        for axis, (title, (effect, low, high)) in zip(axes, learners.items(), strict=True):
            axis.axhline(0, color=GREY, linewidth=0.8)
            axis.vlines(found.prior, low, high, color=BAND, linewidth=0.6, alpha=0.5)
            axis.plot([], [], color=BAND, linewidth=3, label=f"{found.level:.0%} interval, pointwise")
            for which, marker, look in (
                (found.treated == 0, "o", {"color": COLOUR, "ms": 2, "label": "untreated unit"}),
                (
                    found.treated == 1,
                    "s",
                    TREATED,
                ),
            ):
                axis.plot(found.prior[which], effect[which], marker, linestyle="none", **look)
            if np.nanmin(found.prior) > 0:
                axis.set_xscale("log")
            axis.set_title(title)
        figure.supxlabel(f"{found.prior_name} of the unit, before treatment", fontsize=9)
        figure.supylabel(found.sample.question.effect_scale.axis(), fontsize=9)
        legend_above(figure, axes[0], 3)
    return figure
