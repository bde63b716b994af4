"""Group-time average treatment effects with learned nuisance functions: doubleml's difference-in-differences."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from study.core import FloatArray, Influence, IntArray, QuestionError, group_mean
from study.designs import Assumes, Estimand, Supports, design
from study.designs.did_cells import Cells, Comparison, cells_of, comparison
from study.estimates import Estimate, cohorts_with_base, group_time_effects, left_out, weights_in_cohorts
from study.learners import Learner
from study.learners.clipping import LEAST, clipped
from study.learners.cross_fitting import (
    Folds,
    Nuisance,
    check_number,
    kind_of_cluster,
)
from study.learners.nuisances import Learning, Nuisances, Part, averaged, outcome_in_words, splits
from study.learners.problem import Rows
from study.panel import Sample

if TYPE_CHECKING:
    from doubleml.did import DoubleMLDIDBinary


Variance = Literal["sampling", "conditional"]


def nuisances(sample: Sample, learning: Learning, *, variance: Variance = "sampling") -> Nuisances:
    """Return, for each set of cells of the same units, who is of the cohort and the change at each event time.

    Arguments and errors are those of the design.
    """
    learning.check("dml_did")
    assigned = _assigned(sample, learning)
    layout, _ = _layout(sample, assigned)
    parts: list[Part] = []
    names: set[str] = set()
    for number, block in enumerate(layout.blocks):
        changes = {
            name: Nuisance(change, learning.learner, among=~block.treated)
            for name, change in layout.changes(sample, block).items()
        }
        names |= changes.keys()
        treatment = Nuisance(block.treated.astype(float), learning.propensity, "probability")
        parts.append(
            Part(
                block.rows,
                sample.x_baseline[block.rows],
                np.zeros(len(block.rows), dtype=np.int64),
                {"treatment": treatment} | changes,
                Folds(assigned.place[block.rows], assigned.number),
                int(np.random.SeedSequence(learning.seed, spawn_key=(number,)).generate_state(1)[0]),
            )
        )
    change = f"the change of {outcome_in_words(sample.question)} among comparison units"
    said = dict.fromkeys(sorted(names), change) | {"treatment": "adoption"}
    limits = (0.0, 1 - learning.trim)
    return Nuisances(tuple(parts), learning.seed, said, without="the mean", limits=limits)


def _assigned(sample: Sample, learning: Learning) -> Folds:
    """Deal the sample's units into folds, cohort after cohort."""
    check_number("dml_did", sample, sample.cluster, learning.folds, "in the sample")
    _refuse_small_cohorts(sample, learning.folds)
    assert sample.first_treated is not None
    cohort = np.unique(sample.first_treated, return_inverse=True)[1]
    return learning.draw(sample.cluster, cohort)


def _refuse_small_cohorts(sample: Sample, folds: int) -> None:
    """Refuse cohorts that cannot be spread over the folds, by name."""
    clusters = {
        g: len(np.unique(sample.cluster[sample.first_treated == g])) for g in cohorts_with_base(sample)[0]
    }
    small = [f"{g:g} ({size})" for g, size in clusters.items() if size < folds]
    if small:
        drop = f"set min_cohort_size={folds}, " if sample.question.cluster is None else ""
        raise QuestionError(
            f"dml_did: {folds} folds need as many {kind_of_cluster(sample)} in each cohort, but there are fewer in "
            f"{', '.join(small)}; {drop}use fewer folds, pool adoption years with cohort_width, or use dml_stacked."
        )


def _layout(sample: Sample, assigned: Folds) -> tuple[Blocks, list[str]]:
    """Return the cells in which there is something to be learned, and notes on the others."""
    cohorts, notes = cohorts_with_base(sample)
    layout = blocks_of(sample, cells_of(sample, cohorts), assigned)
    notes += left_out(layout.cells.cohort, layout.cells.period, layout.reasons)
    if not layout.blocks:
        raise QuestionError(f"dml_did: no effect can be estimated: {'; '.join(notes)}.")
    return layout, notes


@design(
    name="dml_did",
    title="Double machine learning, group-time difference-in-differences",
    reference="chang2020",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(
        Assumes.CONDITIONAL_PARALLEL_TRENDS,
        Assumes.LIMITED_ANTICIPATION,
        Assumes.OVERLAP,
        Assumes.NUISANCE_RATES,
    ),
    supports=(
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.NEVER_TREATED,
        Supports.VARYING_BASE,
        Supports.PROPORTIONAL,
    ),
    nuisances=nuisances,
)
def dml_did(
    sample: Sample,
    *,
    learner: Learner = "lasso",
    propensity: Learner = "lasso",
    folds: int = 5,
    repetitions: int = 5,
    trim: float = 0.01,
    variance: Variance = "sampling",
    seed: int = 0,
) -> Estimate:
    """Compare each cohort's change since its base period with that of comparison units, both given covariates.

    Periods, bases and comparison units are those of ``callaway_santanna``, equations (2.4) and (2.7) of Callaway
    and Sant'Anna (2021). In the cell of cohort g and period t, among the units that are seen in t and in the base,
    with dY the change between the two, D who is of the cohort, g(X) = E[dY | D = 0, X] and p(X) = P(D = 1 | X),

        ATT(g,t) = mean of (D / mean D - w / mean w) (dY - g(X)),    w = (1 - D) p(X) / (1 - p(X)),

    which is doubleml's "observational" score with in-sample normalization (Chang 2020; Sant'Anna and Zhao 2020,
    equation (3.1)). g and p are predicted for each unit by learners that have not seen its fold. Folds are drawn
    once for the sample, so that a unit is in the same fold in all cells. Without covariates g is the mean change
    of comparison units and p the share of the cohort, of the other folds.

    An effect on the treated weights comparison units by p / (1 - p), so only p near 1 makes weights large:
    propensities are bounded by 1 - ``trim`` from above, and ``notes`` count those that are. doubleml bounds them
    by 0.01 from below as well. Where one unit in three hundred is treated, that makes nearly all of them 0.01, and
    weights nearly equal.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. Covariates enter by their first observed value; gaps are allowed.
    learner, propensity : {"lasso", "forest", "lightgbm", "ensemble", "linear"} or scikit-learn estimator
        Of g and of p, in each cell by itself: lasso, or logit with its penalty, on the covariates, their squares
        and products; random forest; boosted trees; the ensemble of these three with the weights that predict
        best; least squares and logit on the covariates; or any regressor and any classifier.
    folds : int
        Folds by unit, or by cluster where the question names clusters, with each cohort spread over them evenly.
    repetitions : int
        Times the folds are drawn; estimates and influence are the averages, where doubleml has medians.
    trim : float
        Above 0 and below 0.5.
    variance : {"sampling", "conditional"}
        Whether averages carry the estimation of cohort shares, or take the shares as given, as doubleml does.
    seed : int
        Of the folds and of learners that draw. Folds are assigned to units in the order of their labels.

    Returns
    -------
    Estimate
        One term for each cohort and period, in that order, with a reference term at the base of each cohort if it
        is universal. The influence of a unit is n times its score over the number of units in the cell, zero for
        those that are not in it; "CR0" standard errors. "Proportional" divides by the treated units' mean in
        the period less ATT(g,t). ``notes`` name each cohort and period that has no estimate, and why.

    Raises
    ------
    QuestionError
        If an option is impossible, a cohort has fewer units (or clusters) than folds, or no effect can be
        estimated.

    Notes
    -----
    doubleml's DoubleMLDIDMulti answers some questions differently. With anticipation d it compares with all units
    not treated by t + d, here with those not treated by the later of t and the base, plus d, which differs before
    treatment if the base is universal; in the last d periods it compares with all that are treated after the
    window. With a varying base and d > 0 its base is min(t, g) - d - 1, here t - 1 for t < g - d and g - d - 1
    from then on. With gaps it averages cohorts by their rows, here by their units. It does not cluster.

    References
    ----------
    Callaway, B., and Sant'Anna, P. H. C. (2021). Difference-in-differences with multiple time periods.
    Journal of Econometrics 225(2).
    Chang, N.-C. (2020). Double/debiased machine learning for difference-in-differences models. Econometrics
    Journal 23(2).
    Sant'Anna, P. H. C., and Zhao, J. (2020). Doubly robust difference-in-differences estimators. Journal of
    Econometrics 219(1).
    """
    learning = Learning(learner, folds, repetitions, seed, propensity, trim)
    asked = nuisances(sample, learning)
    layout, notes = _layout(sample, _assigned(sample, learning))
    predicted = asked.predicted()
    found = _effects(sample, layout, asked, predicted)
    known = layout.known
    cohort, linear, influence = (
        layout.cells.cohort[known],
        found.effect_level[known],
        found.influence[:, known],
    )
    return group_time_effects(
        sample,
        cohort,
        layout.cells.period[known],
        linear,
        Influence.of(influence),
        untreated_mean=layout.mean[known] - linear,
        untreated_influence=Influence.of(layout.mean_influence[:, known] - influence),
        cohort_weights=weights_in_cohorts(sample, cohort),
        shares="estimated" if variance == "sampling" else "fixed",
        reference=layout.cells.reference[known],
        n_obs=layout.n_obs,
        of_draw=found.of_draw[known],
        published="CR0",
        notes=(
            *notes,
            _clipping_note(layout.blocks, [of["treatment"] for of in predicted], 1 - trim),
            *_draws_note(sample, found, known & ~layout.cells.reference),
        ),
    )


class _Effects(NamedTuple):
    """Effects in K cells, shape (K,), with their influence, (n, K), and as they are by draw of the folds, (K, R)."""

    effect_level: FloatArray
    influence: FloatArray
    of_draw: FloatArray


def _effects(
    sample: Sample, layout: Blocks, asked: Nuisances, predicted: tuple[dict[str, FloatArray], ...]
) -> _Effects:
    """Take the effects from doubleml, given what has been learned; those of base periods stay zero."""
    n, n_terms, n_draws = sample.n_units, len(layout.mean), asked.parts[0].folds.place.shape[1]
    found = _Effects(np.zeros(n_terms), np.zeros((n, n_terms)), np.zeros((n_terms, n_draws)))
    for block, part, of in zip(layout.blocks, asked.parts, predicted, strict=True):
        m_hat = clipped(of["treatment"], asked.limits)
        for k, (name, change) in zip(block.cells, layout.changes(sample, block).items(), strict=True):
            made = averaged(doubly_robust(change, block.treated, of[name], m_hat, part.folds), block.rows, n)
            found.effect_level[k], found.of_draw[k] = made.coefficient[0], made.of_draw
            found.influence[:, k] = made.influence[:, 0]
    return found


def _clipping_note(blocks: tuple[Block, ...], propensity: list[FloatArray], most: float) -> str:
    """Say how many propensities of comparison units are clipped."""
    theirs = np.concatenate([p[~block.treated] for block, p in zip(blocks, propensity, strict=True)])
    rows, draws = theirs.shape
    times = f" in each of {draws} draws" if draws > 1 else ""
    return (
        f"Of the {theirs.size} propensities of comparison units ({rows} in {len(blocks)} comparisons of a cohort"
        f"{times}) {int((theirs > most).sum())} above {most:g} are set to that bound. Low ones are left as they are, "
        "since their units weigh next to nothing."
    )


def _draws_note(sample: Sample, found: _Effects, known: Rows) -> tuple[str, ...]:
    """Say how much estimates move with the folds."""
    draws = found.of_draw.shape[1]
    if draws == 1:
        return ()
    error = np.sqrt(Influence.of(found.influence[:, known]).squares(sample.cluster)) / sample.n_units
    spread = found.of_draw[known].std(axis=1, ddof=1) / error
    return (
        f"Over {draws} draws of the folds an effect of one has a standard deviation of {np.median(spread):.2f} "
        f"standard errors in the median cell, of {spread.max():.2f} in the one that moves most.",
    )


def doubly_robust(
    change: FloatArray, treated: Rows, g_hat: FloatArray, m_hat: FloatArray, folds: Folds
) -> DoubleMLDIDBinary:
    """Return doubleml's model of one cell, with its coefficients and scores by repetition, from given predictions.

    Parameters
    ----------
    change : ndarray, shape (m,)
        Change of the outcome of each unit of the cell.
    treated : ndarray of bool, shape (m,)
    g_hat, m_hat : ndarray, shape (m, R)
        Cross-fitted predictions of the change without treatment, and propensities, all inside (0, 1).
    folds : Folds

    Returns
    -------
    DoubleMLDIDBinary
    """
    import pandas as pd
    from doubleml.data import DoubleMLPanelData
    from doubleml.did import DoubleMLDIDBinary
    from doubleml.utils import DMLDummyClassifier, DMLDummyRegressor, PSProcessorConfig

    # doubleml treats an outcome of 0 and 1 differently; less its mean it is none.
    m, centre = len(change), change.mean()
    table = pd.DataFrame(
        {
            "unit": np.repeat(np.arange(m), 2),
            "time": np.tile([0, 1], m),
            "outcome": np.column_stack([np.zeros(m), change - centre]).ravel(),
            "first_treated": np.repeat(treated.astype(int), 2),  # 0 is doubleml's never treated
            "covariate": np.zeros(2 * m),
        }
    )
    data = DoubleMLPanelData(
        table, "outcome", "first_treated", t_col="time", id_col="unit", x_cols="covariate"
    )
    model = DoubleMLDIDBinary(
        data,
        g_value=1,
        t_value_pre=0,
        t_value_eval=1,
        ml_g=DMLDummyRegressor(),
        ml_m=DMLDummyClassifier(),
        n_rep=g_hat.shape[1],
        ps_processor_config=PSProcessorConfig(clipping_threshold=LEAST),
        draw_sample_splitting=False,
    )
    model.set_sample_splitting(splits(folds))
    unused = np.zeros(g_hat.shape)  # what would be learned among the treated, which this score does not need
    given = {"ml_g0": g_hat - centre, "ml_g1": unused, "ml_m": m_hat}
    with warnings.catch_warnings():  # of its sensitivity analysis, which is not asked for here
        warnings.filterwarnings("ignore", "The estimated nu2")
        return model.fit(external_predictions={"first_treated": given})


class Block(NamedTuple):
    """Cells of one cohort whose treated units are the same, and whose comparison units are.

    Attributes
    ----------
    cells : ndarray of int, shape (k,)
        Their numbers among all cells.
    rows : ndarray of int, shape (m,)
        The units, in the sample's order.
    treated : ndarray of bool, shape (m,)
        Which of them are of the cohort.
    """

    cells: IntArray
    rows: IntArray
    treated: Rows


class Blocks(NamedTuple):
    """What there is to be learned in K cells, and what is known before.

    Attributes
    ----------
    cells : Cells
    blocks : tuple of Block
    reasons : dict of int to str
        Why some of the cells are in no block; the base periods are in none either.
    mean : ndarray, shape (K,)
        Mean outcome of the cell's treated units in its period.
    mean_influence : ndarray, shape (n, K)
    n_obs : int
        Unit-periods that the blocks rest on.
    """

    cells: Cells
    blocks: tuple[Block, ...]
    reasons: dict[int, str]
    mean: FloatArray
    mean_influence: FloatArray
    n_obs: int

    @property
    def known(self) -> Rows:
        """Which cells have an estimate, or are a base period, shape (K,)."""
        known = np.ones(len(self.mean), dtype=bool)
        known[list(self.reasons)] = False
        return known

    def changes(self, sample: Sample, block: Block) -> dict[str, FloatArray]:
        """Return the change since the base of each of a block's units, shape (m,), in each of its cells.

        They are named by event time, since learners that draw take their seed from the name.
        """
        y, cells = sample.y[block.rows], self.cells.select(block.cells)
        names = [f"event time {e:g}" for e in cells.period - cells.cohort]
        return dict(zip(names, (y[:, cells.now] - y[:, cells.base]).T, strict=True))


def blocks_of(sample: Sample, cells: Cells, folds: Folds) -> Blocks:
    """Put cells together that rest on the same units.

    Cells in which nothing can be learned outside each fold are left out.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment, no weights.
    cells : Cells
    folds : Folds
        Of the sample's units.
    """
    n, n_terms = sample.n_units, len(cells.cohort)
    y, observed = np.nan_to_num(sample.y).T, sample.observed.T
    few = f"too few {kind_of_cluster(sample)} are seen to learn from outside each of the {folds.number} folds"
    mean, mean_influence = np.zeros(n_terms), np.zeros((n, n_terms))
    used = np.zeros(observed.shape, dtype=bool)
    blocks: list[Block] = []
    reasons: dict[int, str] = {}
    for g in np.unique(cells.cohort):
        own = np.flatnonzero(cells.cohort == g)
        c = comparison(sample, observed, cells.select(own))
        level = group_mean(y[np.ix_(c.now, c.members)], c.treated_now, np.ones(len(c.members)), n)
        mean[own] = level.estimate
        mean_influence[np.ix_(c.members, own)] = level.influence.T
        why = c.unseen
        for alike in c.alike(np.setdiff1d(np.flatnonzero(c.now != c.base), list(why))):
            block = _block(c, alike, own)
            if can_learn(sample.cluster[block.rows], block.treated, folds.fold[block.rows], folds.number):
                blocks.append(block)
                used |= c.used(alike, len(used))
            else:
                why |= dict.fromkeys(map(int, alike), few)
        reasons |= {int(own[k]): reason for k, reason in why.items()}
    return Blocks(cells, tuple(blocks), reasons, mean, mean_influence, int(used.sum()))


def _block(c: Comparison, alike: IntArray, own: IntArray) -> Block:
    """Return the block of some of a cohort's cells, whose numbers among all are ``own``."""
    treated = np.zeros(c.compared_now.shape[1], dtype=bool)
    treated[c.members] = c.treated_now[alike[0]]
    rows = np.flatnonzero(treated | c.compared_now[alike[0]])
    return Block(own[alike], rows, treated[rows])


def can_learn(cluster: IntArray, treated: Rows, fold: IntArray, n_folds: int) -> bool:
    """Say whether each fold, shape (m, R), has a row and leaves two clusters with treated rows and two with others."""
    for of_draw in fold.T:
        for k in range(n_folds):
            train = of_draw != k
            if train.all() or any(len(np.unique(cluster[train & side])) < 2 for side in (treated, ~treated)):
                return False
    return True
