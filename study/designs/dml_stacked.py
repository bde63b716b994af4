"""Double machine learning for staggered adoption: cohorts pooled by event time, cross-fitted by unit."""

from __future__ import annotations

import numpy as np

from study.core import FloatArray, Influence, IntArray, QuestionError
from study.designs import Assumes, Estimand, Supports, design
from study.designs.stacks import (
    ByStack,
    EventRows,
    Pooled,
    StackRows,
    Stacks,
    cohort_shares,
    event_times,
    of_units,
    pooled,
    stack_means,
    stacks,
)
from study.estimates import Estimate, cohorts_with_base, event_time_effects, events_on_one
from study.learners import Learner
from study.learners.clipping import clipping_note
from study.learners.cross_fitting import Folds, Nuisance, check_both, check_number
from study.learners.nuisances import Learning, Nuisances, Part, outcome_in_words
from study.panel import Sample


def nuisances(sample: Sample, learning: Learning, *, before: int | None, after: int | None) -> Nuisances:
    """Return the nuisance functions: of treatment first, then of the outcome at each event time but the reference.

    Arguments and errors are those of the design.
    """
    learning.check("dml_stacked", least_folds=1)
    _check_ends(before, after)
    layout = _layout(sample, learning.folds, before, after)
    assigned = _assigned(sample, layout, learning)
    rows = layout.at_base
    treatment = Nuisance(rows.treated.astype(float), learning.propensity, "probability")
    parts = [_part(sample, rows, np.zeros_like(rows.stack), {"treatment": treatment}, assigned)]
    said = {"treatment": "adoption"}
    for at in layout.compared:
        outcome = Nuisance(at.change(sample), learning.learner, among=~at.rows.treated)
        parts.append(_part(sample, at.rows, at.rows.stack, {at.name: outcome}, assigned))
        said[at.name] = f"the change of {outcome_in_words(sample.question)}"
    limits = (0.0, 1 - learning.trim)
    return Nuisances(tuple(parts), learning.seed, said, without="its stack's mean", limits=limits)


def _part(
    sample: Sample, rows: StackRows, period: IntArray, functions: dict[str, Nuisance], assigned: Folds
) -> Part:
    folds = Folds(assigned.place[rows.unit], assigned.number)
    return Part(rows.unit, sample.x_baseline[rows.unit], period, functions, folds)


@design(
    name="dml_stacked",
    title="Double machine learning, cohorts pooled by event time",
    reference="chang2020",
    estimand=Estimand.EVENT_TIME_ATT,
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
        Supports.PROPORTIONAL,
    ),
    nuisances=nuisances,
)
def dml_stacked(
    sample: Sample,
    *,
    learner: Learner = "lasso",
    propensity: Learner = "lasso",
    folds: int = 5,
    repetitions: int = 5,
    trim: float = 0.01,
    before: int | None = None,
    after: int | None = None,
    seed: int = 0,
) -> Estimate:
    """Compare each cohort's change with what is learned of those not yet treated, pooled by event time.

    The stack of cohort g holds its units and, for event time e and anticipation d, those that are not treated,
    less the anticipation, by the later of g+e and the base g-1-d (or never), with the change dY from the base
    to g+e of all that are seen in both. Cohorts of one to a few units are too small for learners, so that stacks
    are learned from together: mu(x, g) = E[dY | x, g] among the comparison rows of all stacks, less the mean of
    each, and p(x), the probability of being the treated row. Both are predicted for each unit by learners that
    have seen none of its rows. With residuals r = dY - mu, odds p / (1 - p), and weights w_jg in proportion
    to the odds that add up to one over the comparison rows of stack g,

        ATT(g, e) = mean of r over the treated of g - sum_j w_jg r_jg,
        ATT(e) = sum_g s_g ATT(g, e),

    with s_g the cohort's share of the treated units whose cohort has such an effect, seen or not. This is
    the doubly robust score of Sant'Anna and Zhao (2020), made orthogonal in the sense of Chernozhukov et al. (2018):
    small errors of mu and p do not move it, and it is consistent if one of them is right. Odds that differ
    between cohorts by a factor leave the weights as they are, so p has no cohort in it; it is
    learned once, from each cohort and those not treated just before it, and serves all event times.

    Without covariates and with one fold it is :func:`callaway_santanna`, averaged by event time.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. Covariates enter by their first observed value.
    learner : {"lasso", "forest", "lightgbm", "ensemble", "linear"} or scikit-learn regressor
        Of the comparison units' changes, given covariates and the number of the stack; "linear" is least squares
        in each stack by itself. See :func:`study.designs.dml_panel.dml_panel`.
    propensity : {"lasso", "forest", "lightgbm", "ensemble", "linear"} or scikit-learn classifier
        Of being treated, given covariates; "linear" is a maximum-likelihood logit.
    folds : int
        Folds by unit, or by cluster where the question names clusters, into which each cohort is spread evenly.
        With one fold everything is learned from all units, which suits "linear" only.
    repetitions : int
        Times the folds are drawn; estimates and influence are the averages.
    trim : float
        Propensity scores above 1 - ``trim`` are taken to be that.
    before, after : int, optional
        How many event times before treatment less the anticipation, the reference among them, and the last
        event time; all that the panel has where they are not given.
    seed : int
        Of the folds and of learners that draw. Folds are assigned to units in the order of their labels: other
        labels, other folds.

    Returns
    -------
    Estimate
        One term for each event time, ascending, the reference among them; "CR0" standard errors from the
        orthogonal score, which carry the estimation of the shares s_g and of the sums of the odds. doubleml's
        score takes these sums as known. "Proportional" divides by the treated units' mean at the event time
        less ATT(e). ``notes`` say how many units are pooled, what is left out and why, which event times
        rest on one treated unit, how many units the comparison rests on, how many propensity scores are
        trimmed, and how much the draws differ.

    Raises
    ------
    QuestionError
        If an option is impossible, there are too few clusters for the folds, among the treated or to compare a
        cohort with, or no effect can be estimated.

    References
    ----------
    Chang, N.-C. (2020). Double/debiased machine learning for difference-in-differences models. Econometrics
    Journal 23(2).
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural
    parameters. Econometrics Journal 21(1).
    Sant'Anna, P. H. C., and Zhao, J. (2020). Doubly robust difference-in-differences estimators. Journal of
    Econometrics 219(1).
    """
    learning = Learning(learner, folds, repetitions, seed, propensity, trim)
    asked = nuisances(sample, learning, before=before, after=after)
    layout = _layout(sample, folds, before, after)
    of_treatment, *of_outcomes = asked.predicted()
    score = np.zeros((sample.n_units, repetitions))
    score[layout.at_base.unit] = of_treatment["treatment"]
    likely = np.minimum(score, 1 - trim)
    odds = likely / (1 - likely)
    predicted = {name: values for of_event in of_outcomes for name, values in of_event.items()}
    effects = [_effect(sample, layout, at, odds, predicted.get(at.name)) for at in layout.events]
    levels = [pooled(layout, at.rows, _treated_level(sample, at)) for at in layout.events]
    times = np.array([at.event for at in layout.events])
    size = np.array([at.rows.treated.sum() for at in layout.events])
    compared = np.unique(layout.at_base.unit[~layout.at_base.treated])
    reference = times == -1 - sample.question.anticipation
    return event_time_effects(
        sample,
        times.astype(float),
        *_columns(effects),
        *_columns(levels),
        reference=reference,
        n_obs=_cells_used(sample, layout),
        published="CR0",
        of_draw=np.array([effect.of_draw for effect in effects]),
        notes=(
            *_units_pooled(sample, layout, odds),
            *layout.notes,
            *events_on_one(times[~reference], size[~reference]),
            clipping_note(score[compared], asked.limits, "adoption among comparison units"),
            *_differing_draws(sample, times, effects),
        ),
    )


def _check_ends(before: int | None, after: int | None) -> None:
    for name, value, least in (("before", before, 1), ("after", after, 0)):
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
        if value is not None and not (whole and value >= least):
            raise QuestionError(
                f"dml_stacked: {name} is {value!r}; it must be a whole number, at least {least}."
            )


def _layout(sample: Sample, folds: int, before: int | None, after: int | None) -> Stacks:
    """Return the stacks, with a comparison unit outside each fold wherever that is possible."""
    cohorts, notes = cohorts_with_base(sample)
    if len(cohorts):
        times = event_times(sample, cohorts, before, after)
        layout = stacks(sample, cohorts, times, least=1 if folds == 1 else 2)
        layout = layout._replace(notes=(*notes, *layout.notes))
        if layout.compared:
            return layout
        notes = list(layout.notes)
    raise QuestionError(f"dml_stacked: no effect can be estimated: {'; '.join(notes)}.")


def _assigned(sample: Sample, layout: Stacks, learning: Learning) -> Folds:
    """Deal the units that are in a stack into folds, cohort after cohort; the rows are all of the sample's."""
    rows = layout.at_base
    cluster = sample.cluster[rows.unit]
    check_number("dml_stacked", sample, cluster, learning.folds, "in a stack")
    stratum = np.where(layout.own < 0, rows.number, layout.own)[rows.unit]
    drawn = learning.draw(cluster, stratum)
    check_both("dml_stacked", sample, rows.treated, cluster, drawn, "treated")
    place = np.zeros((sample.n_units, learning.repetitions), dtype=np.int64)
    place[rows.unit] = drawn.place
    assigned = Folds(place, learning.folds)
    if learning.folds > 1:
        for at in layout.compared:
            _check_compared(layout, at, assigned)
    return assigned


def _check_compared(layout: Stacks, at: EventRows, assigned: Folds) -> None:
    """Refuse folds that hold all units that a cohort is compared with."""
    compared = ~at.rows.treated
    stack, n_stacks = at.rows.stack[compared], at.rows.number
    total = np.bincount(stack, minlength=n_stacks)
    for fold in assigned.fold[at.rows.unit[compared]].T:
        counts = np.bincount(stack * assigned.number + fold, minlength=n_stacks * assigned.number)
        most = counts.reshape(n_stacks, -1).max(axis=1)
        for g in np.flatnonzero((total > 0) & (most == total)):
            raise QuestionError(
                f"dml_stacked: the {total[g]} units that cohort {layout.cohorts[g]:g} is compared with at event "
                f"{at.event} are all in one of the {assigned.number} folds; use fewer folds, or leave the event out by "
                "before or after."
            )


def _effect(
    sample: Sample, layout: Stacks, at: EventRows, odds: FloatArray, predicted: FloatArray | None
) -> Pooled:
    """Return ATT(e) from the predicted changes, shape (N, R); without these, at the reference, it is zero."""
    if predicted is None:
        return Pooled(0.0, np.zeros(sample.n_units), np.zeros(odds.shape[1]))
    residual = at.change(sample)[:, None] - predicted
    ours = stack_means(at.rows, at.rows.treated[:, None].astype(float), residual)
    theirs = stack_means(at.rows, _comparison_odds(at.rows, odds), residual)
    return pooled(layout, at.rows, ours - theirs)


def _comparison_odds(rows: StackRows, odds: FloatArray) -> FloatArray:
    """Return the odds of comparison rows, zero for treated ones, shape (N, R)."""
    theirs = np.where(rows.treated[:, None], 0.0, odds[rows.unit])
    if not np.all(rows.sums(theirs)[rows.present] > 0):
        raise QuestionError(
            "dml_stacked: the propensity learner gives all units that a cohort is compared with a score of zero; use "
            "another one."
        )
    return theirs


def _treated_level(sample: Sample, at: EventRows) -> ByStack:
    """Return the mean outcome of each stack's treated units."""
    level = sample.y[at.rows.unit, at.now][:, None]
    return stack_means(at.rows, at.rows.treated[:, None].astype(float), level)


def _columns(terms: list[Pooled]) -> tuple[FloatArray, Influence]:
    estimate = np.array([term.estimate for term in terms])
    return estimate, Influence.of(np.column_stack([term.influence for term in terms]))


def _cells_used(sample: Sample, layout: Stacks) -> int:
    """Count the unit-periods that some effect rests on."""
    used = np.zeros(sample.y.shape, dtype=bool)
    for at in layout.compared:
        used[at.rows.unit, at.now] = used[at.rows.unit, at.base] = True
    return int(used.sum())


def _units_pooled(sample: Sample, layout: Stacks, odds: FloatArray) -> list[str]:
    """Say how many units are pooled, and how many units of equal weight the comparison is worth."""
    rows = layout.at_base
    notes = [f"{rows.treated.sum()} treated units of {rows.present.sum()} cohorts are pooled"]
    for at in layout.compared:
        if at.event == 0:
            share = cohort_shares(layout, at.rows)[at.rows.stack, None]
            weight = share * at.rows.normalised(_comparison_odds(at.rows, odds))
            of_unit = of_units(at.rows, weight, sample.n_units)
            worth = 1 / (of_unit**2).sum(axis=0)
            lowest, highest = f"{worth.min():.0f}", f"{worth.max():.0f}"
            heaviest = of_unit.max(axis=1).argmax()
            notes.append(
                f"at event 0 the {len(np.unique(at.rows.unit[~at.rows.treated]))} comparison units are worth "
                f"{lowest if lowest == highest else f'{lowest} to {highest}, by draw of the folds,'} of equal weight; "
                f"the heaviest, {sample.unit_ids[heaviest]}, has up to {of_unit.max():.0%} of it"
            )
    return notes


def _differing_draws(sample: Sample, times: IntArray, effects: list[Pooled]) -> list[str]:
    """Say how much the effects move with the folds."""
    draws = np.column_stack([effect.of_draw for effect in effects])
    if len(draws) == 1:
        return []
    error = np.sqrt(_columns(effects)[1].squares(sample.cluster)) / sample.n_units
    ratio = np.divide(draws.std(axis=0, ddof=1), error, out=np.zeros(len(error)), where=error > 0)
    return [
        f"over {len(draws)} draws of the folds the effect of one has a standard deviation of up to "
        f"{ratio.max():.2f} standard errors (event {times[ratio.argmax()]})"
    ]
