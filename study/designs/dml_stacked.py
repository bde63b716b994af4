"""Double machine learning for staggered adoption: cohorts pooled by event time, cross-fitted by unit."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from study.core import BoolArray, FloatArray, Influence, IntArray, QuestionError, counted, sums_by, with_ties
from study.designs import COMMON, OF_LEARNERS, Estimand, Sample, Supports, design
from study.designs.did_cells import Cells, compared_with, event_times, refuse_no_effect, whole_cohorts
from study.estimates import Estimate, event_effects, group_time_effects, left_out
from study.learners import (
    Folds,
    Learner,
    Learning,
    Nuisance,
    Nuisances,
    Part,
    refuse_separated,
    spread_of_draws,
)


def nuisances(sample: Sample, learning: Learning, *, before: int | None, after: int | None) -> Nuisances:
    """Return the nuisance functions: of treatment first, then of the outcome at each event time but the reference.

    Arguments and errors are those of the design.
    """
    learning.check("dml_stacked", least_folds=1)
    layout = stacks(sample, before, after, least=1 if learning.folds == 1 else 2)
    base = layout.at_base
    cohort = np.where(layout.own < 0, base.number, layout.own)[base.unit]
    drawn = learning.draw("dml_stacked", sample, base.unit, cohort, "in a stack")
    drawn.check_both("dml_stacked", sample, base.unit, base.treated, "treated")
    place = np.zeros((sample.n_units, learning.repetitions), dtype=np.int64)
    place[base.unit] = drawn.place
    folds = drawn._replace(place=place)

    def part(rows: StackRows, period: IntArray, name: str, function: Nuisance) -> Part:
        x = sample.x_baseline[rows.unit]
        return Part(rows.unit, x, period, {name: function}, folds.of(rows.unit), learning.seed)

    treatment = Nuisance(base.treated.astype(float), learning.propensity, "probability", words="adoption")
    parts = [part(base, np.zeros_like(base.stack), "treatment", treatment)]
    words, limits = f"the change of {sample.question.outcome_in_words}", (0.0, 1 - learning.trim)
    for at in layout.compared:
        if learning.folds > 1:
            _check_compared(sample, layout, at, folds)
        outcome = Nuisance(at.change(sample), learning.learner, among=~at.treated, words=words)
        parts.append(part(at, at.stack, at.name, outcome))
    return Nuisances(tuple(parts), layout=layout, without="its stack's mean", limits=limits)


@design(
    title="Double machine learning, cohorts pooled by event time",
    reference="chang2020",
    estimand=Estimand.EVENT_TIME_ATT,
    assumes=OF_LEARNERS,
    supports=COMMON | {Supports.NEVER_TREATED},
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
        less ATT(e). ``notes`` say how many units are pooled, what is left out and why, how many units the
        comparison rests on, how many propensity scores are trimmed, and how much the draws differ.

    Raises
    ------
    QuestionError
        If an option is impossible, there are too few clusters for the folds, among the treated or to compare a
        cohort with, no effect can be estimated, or covariates nearly tell who adopts.

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
    functions = nuisances(sample, learning, before=before, after=after)
    layout, n = functions.layout, sample.n_units
    of_treatment, *of_outcomes = functions.predicted()
    predicted = {name: values for of_event in of_outcomes for name, values in of_event.items()}
    score = np.zeros((n, repetitions))
    score[layout.at_base.unit] = of_treatment["treatment"]
    likely, base = np.minimum(score, 1 - trim), layout.at_base
    odds = likely / (1 - likely)
    parts = []
    for at in layout.events:
        treated = at.treated[:, None].astype(float)
        mean, of_mean = stack_means(at, treated, sample.y[at.unit, at.now][:, None])
        effect, of_effect = np.zeros((at.number, repetitions)), np.zeros(treated.shape)
        if not at.is_reference:
            residual = at.change(sample)[:, None] - predicted[at.name]
            ours, of_ours = stack_means(at, treated, residual)
            theirs, of_theirs = stack_means(at, _comparison_odds(at, odds), residual)
            effect, of_effect = ours - theirs, of_ours - of_theirs
        influences = (n * at.by_unit(of_row.mean(axis=1), n) for of_row in (of_effect, of_mean))
        parts.append([values[..., at.present] for values in (effect.T, mean.T, *influences)])
    refuse_separated(
        "dml_stacked", "adoption", base.treated, likely[base.unit], functions.parts[0].x, both=False
    )
    of_draw, (mean,), influence, of_mean = (
        np.concatenate(values, axis=-1) for values in zip(*parts, strict=True)
    )
    compared = np.unique(base.unit[~base.treated])
    used = np.zeros(sample.y.shape, dtype=bool)
    for at in layout.compared:
        used[at.unit, at.now] = used[at.unit, at.base] = True
    notes = [
        *_units_pooled(sample, layout, odds),
        *layout.notes,
        functions.clipping_note(score[compared], "predictions of adoption among comparison units"),
    ]
    cells = layout.cells(sample)
    effect = of_draw.mean(axis=0)
    by_cohort = group_time_effects(
        sample,
        cells.cohort,
        cells.period,
        effect,
        Influence.of(influence),
        untreated_mean=mean - effect,
        untreated_influence=Influence.of(of_mean - influence),
        reference=cells.reference,
        n_obs=int(used.sum()),
        of_draw=of_draw.T,
        contrast=whole_cohorts(sample, cells),
    )
    fit = replace(event_effects(by_cohort), estimand=Estimand.EVENT_TIME_ATT)
    if repetitions > 1:
        assert fit.of_draw is not None
        spread = spread_of_draws(sample, fit.of_draw, fit.level_influence)
        notes.append(
            f"over {repetitions} draws of the folds the effect of one has a standard deviation of up to "
            f"{spread.max():.2f} CR0 standard errors (event {fit.event_time[spread.argmax()]:g})"
        )
    return replace(fit, remarks=tuple(notes))


def _check_compared(sample: Sample, layout: Stacks, at: StackRows, folds: Folds) -> None:
    """Refuse folds that hold all units that a cohort is compared with."""
    stack = at.stack[~at.treated]
    of_stack = np.bincount(stack)
    for train in folds.of(at.unit[~at.treated]).training():
        lost = np.flatnonzero((of_stack > 0) & (np.bincount(stack[train], minlength=len(of_stack)) == 0))
        if lost.size:
            number, cohort = of_stack[lost[0]], layout.cohorts[lost[0]]
            raise QuestionError(
                f"dml_stacked: the {number} units that cohort {sample.period_name(cohort)} is compared with at event "
                f"{at.event} are all in one of the {folds.number} folds; use fewer folds, or leave the event out by "
                "before or after."
            )


def _comparison_odds(rows: StackRows, odds: FloatArray) -> FloatArray:
    """Return the odds of comparison rows, zero for treated ones, shape (N, R)."""
    theirs = np.where(rows.treated[:, None], 0.0, odds[rows.unit])
    if not np.all(rows.sums(theirs)[rows.present] > 0):
        raise QuestionError(
            "dml_stacked: the propensity learner gives all units that a cohort is compared with a score of zero; use "
            "another one."
        )
    return theirs


def _units_pooled(sample: Sample, layout: Stacks, odds: FloatArray) -> list[str]:
    """Say how many units are pooled, and how many units of equal weight the comparison is worth."""
    rows = layout.at_base
    notes = [f"{rows.treated.sum()} treated units of {counted(rows.present.sum(), 'cohort')} are pooled"]
    for at in (at for at in layout.compared if at.event == 0):
        weight = cohort_shares(layout, at)[at.stack, None] * at.normalised(_comparison_odds(at, odds))
        of_unit = sums_by(weight, at.unit, sample.n_units)
        worth = 1 / (of_unit**2).sum(axis=0)
        lowest, highest = f"{worth.min():.0f}", f"{worth.max():.0f}"
        share = of_unit.max(axis=1)
        heaviest = sample.unit_ids[with_ties(share).argmax()]
        notes.append(
            f"at event 0 the {len(np.unique(at.unit[~at.treated]))} comparison units are worth "
            f"{lowest if lowest == highest else f'{lowest} to {highest}, by draw of the folds,'} of equal weight; "
            f"the heaviest, {heaviest}, has up to {share.max():.0%} of it"
        )
    return notes


class StackRows(NamedTuple):
    """One row a unit and stack at an event time, arrays of shape (N,), by unit and then stack.

    Attributes
    ----------
    unit, stack : ndarray of int
        Rows of the sample, and numbers of cohorts.
    treated : ndarray of bool
        Whether the unit is of the stack's cohort; if not, the cohort is compared with it.
    number : int
        Number of stacks G, with those that have no row.
    event : int
    now, base : ndarray of int
        Numbers of the period and of the base.
    """

    unit: IntArray
    stack: IntArray
    treated: BoolArray
    number: int
    event: int
    now: IntArray
    base: IntArray

    @property
    def is_reference(self) -> bool:
        """Whether the event time is that of the base."""
        return np.array_equal(self.now, self.base)

    @property
    def name(self) -> str:
        """What its changes are called among the functions that are learned."""
        return f"change at event {self.event}"

    @property
    def present(self) -> BoolArray:
        """Which stacks have a row, shape (G,)."""
        return np.bincount(self.stack, minlength=self.number) > 0

    def change(self, sample: Sample) -> FloatArray:
        """Return the change of the outcome since the base, shape (N,)."""
        return sample.y[self.unit, self.now] - sample.y[self.unit, self.base]

    def sums(self, values: FloatArray) -> FloatArray:
        """Add up the rows of each stack, shape (G, R), for values of shape (N, R)."""
        return sums_by(values, self.stack, self.number)

    def by_unit(self, values: FloatArray, n: int) -> FloatArray:
        """Lay out values of the rows, shape (N,), by unit and stack, shape (n, G); zero where there is no row."""
        laid = np.zeros((n, self.number))
        laid[self.unit, self.stack] = values
        return laid

    def normalised(self, weight: FloatArray) -> FloatArray:
        """Divide weights by their sum in the stack, shape (N, R), unless that is zero."""
        total = self.sums(weight)
        return weight / np.where(total > 0, total, 1.0)[self.stack]


class Stacks(NamedTuple):
    """Stacks of a sample's cohorts.

    Attributes
    ----------
    cohorts : ndarray, shape (G,)
        First treated period of each stack's cohort.
    own : ndarray of int, shape (n,)
        The number of each unit's cohort, -1 for units of none of these.
    at_base : StackRows
        Each cohort that is in an event time, and those not yet treated (or never) just before it, among units that
        are seen in its base period.
    events : tuple of StackRows
        Ascending; their comparisons are among those of ``at_base``.
    notes : tuple of str
        Which cells are left out, and why.
    """

    cohorts: FloatArray
    own: IntArray
    at_base: StackRows
    events: tuple[StackRows, ...]
    notes: tuple[str, ...]

    @property
    def compared(self) -> list[StackRows]:
        """Event times other than the reference."""
        return [at for at in self.events if not at.is_reference]

    def cells(self, sample: Sample) -> Cells:
        """Return the stacks of each event time as cells of cohorts and periods."""
        cohort = np.concatenate([self.cohorts[at.present] for at in self.events])
        event = np.repeat([at.event for at in self.events], [at.present.sum() for at in self.events])
        base = (cohort + sample.question.reference - sample.periods[0]).astype(np.int64)
        return Cells(cohort, cohort + event, base - sample.question.reference + event, base)


def stacks(sample: Sample, before: int | None, after: int | None, least: int) -> Stacks:
    """Lay out the stacks of all cohorts; ``least`` are the clusters that a cell is compared with.

    Raises
    ------
    QuestionError
        If no cohort can be compared.
    """
    assert sample.first_treated is not None
    first, last = sample.first_treated, sample.question.reference
    cohorts = sample.cohorts
    times = event_times(sample, cohorts, before, after)
    place = np.searchsorted(cohorts, first)
    own = np.where(np.append(cohorts, np.nan)[place] == first, place, -1)
    base = (cohorts + last - sample.periods[0]).astype(np.int64)
    treated = first[:, None] == cohorts

    def comparison(now: IntArray) -> BoolArray:
        """Return who each cohort is compared with between its base and a period, shape (n, G)."""
        return compared_with(sample, Cells(cohorts, sample.periods[now].astype(float), now, base), first)

    def rows(event: int, now: IntArray, compared: BoolArray, used: BoolArray) -> StackRows:
        unit, stack = np.nonzero((treated | compared) & used)
        return StackRows(unit, stack, treated[unit, stack], len(cohorts), event, now[stack], base[stack])

    kind = "unit" if sample.question.cluster is None else f"cluster ({sample.question.cluster})"
    reasons = [
        "no treated unit is observed",
        "no comparison unit is observed",
        f"it is compared with one {kind} only, which cannot be in more than one fold",
    ]
    events, missing = list[StackRows](), dict[tuple[float, float], str]()
    for event in times:
        now = base - last + event
        inside = (now >= 0) & (now < len(sample.periods))
        now = np.where(inside, now, base)
        seen = sample.observed[:, now] & sample.observed[:, base] & inside
        # At the base nobody is compared.
        compared, needed = (comparison(now), least) if event != last else (np.zeros_like(treated), 0)
        n_clusters = np.array([len(np.unique(sample.cluster[who])) for who in (compared & seen).T])
        lacks = [~np.any(treated & seen, axis=0), n_clusters < min(needed, 1), n_clusters < needed]
        why = np.select(lacks, reasons, "")
        missing |= {(cohorts[g], cohorts[g] + event): why[g] for g in np.flatnonzero(inside & (why != ""))}
        at = rows(event, now, compared, seen & (why == ""))
        if len(at.now):
            events.append(at)
    cohort, period = np.array(list(missing), dtype=float).reshape(-1, 2).T
    notes = left_out(sample, cohort, period, dict(enumerate(missing.values())))
    refuse_no_effect("dml_stacked", not all(at.is_reference for at in events), notes)
    compared_at_all = np.any([at.present & (not at.is_reference) for at in events], axis=0)
    at_base = rows(last, base, comparison(base), sample.observed[:, base] & compared_at_all)
    return Stacks(cohorts, own, at_base, tuple(events), tuple(notes))


def stack_means(rows: StackRows, weight: FloatArray, value: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the weighted mean of each stack's rows, shape (G, R), and what each row adds to its error, (N, R).

    Weights are made to add up to one within a stack. Shapes: weight and value (N, R), or (N, 1) for what does not
    change with the draw.
    """
    share = rows.normalised(weight)
    mean = rows.sums(share * value)
    return mean, share * (value - mean[rows.stack])


def cohort_shares(layout: Stacks, rows: StackRows) -> FloatArray:
    """Return the share of each stack's cohort in all those that have rows, shape (G,)."""
    size = np.bincount(layout.own[layout.own >= 0], minlength=rows.number) * rows.present
    return np.asarray(size / size.sum())
