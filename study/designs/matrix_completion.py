"""Matrix completion of Athey, Bayati, Doudchenko, Imbens and Khosravi (2021); interactive fixed effects with gaps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from study.core import BoolArray, Completed, FloatArray, Influence, IntArray, QuestionError, Rank, complete
from study.designs import COMMON, Assumes, Estimand, PredictionErrors, Supports, design
from study.designs.did_cells import Cells, Effects, effects_in_cells, refuse_no_effect
from study.designs.imputation import NO_CARRY_OVER
from study.estimates import Estimate, LeftOut, event_time_effects, refuse_single_units, single_events
from study.panel import Sample, since_onset

NAME = "matrix_completion"
FOLDS = 5
# Penalties that are tried, as shares of the least one with which there are no factors; the search ends when so many in
# a row predict worse.
GRID = 10.0 ** (-3 / 8 * np.arange(9))
PATIENCE = 3
# Mean squared errors that differ by less of themselves are the same to rounding.
TIED = 1e-9


def predictor(
    sample: Sample, penalty: float | None = None, factors: int | None = None, **options: Any
) -> PredictionErrors:
    """Return the function that fits unit, period and interactive effects to given cells."""
    rank, _ = _rank(sample, penalty, factors)
    first: list[FloatArray] = []  # FF' of the first fit, near which those without a unit or a cell end

    def prediction_errors(sample: Sample, seen: BoolArray) -> FloatArray:
        fit = complete(sample.y, sample.x_varying, seen, rank, start=first[0] if first else None)
        if not first:
            first.append(fit.q)
        return fit.beyond

    return prediction_errors


@design(
    title="Matrix completion (Athey et al.)",
    reference="athey2021",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.FACTORS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON | {Supports.NEVER_TREATED, Supports.SWITCHING},
    predictor=predictor,
)
def matrix_completion(
    sample: Sample, *, penalty: float | None = None, factors: int | None = None, leads: int = 0
) -> Estimate:
    """Compare treated cells with what unit, period and interactive effects of all untreated cells predict for them.

    y_it(0) = alpha_i + xi_t + x_it'beta + L_it is fitted to the untreated cells of all units, the treated units' own
    before treatment among them, with the nuclear norm of L penalised (their equation 4.3 with unit and period effects
    that are not), or L of a given rank. The effect is the outcome less the prediction. Without factors this is
    imputation.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed, and treatment may end: all periods without it are then untreated, without carry-over.
        Covariates enter by period. Untreated cells of the cohorts inform the fit under either comparison.
    penalty : float, optional
        lambda, by which n T lambda is taken from singular values of the n x T matrix. Without it the value of a grid,
        from the least with which there are no factors down to a thousandth of it, that predicts untreated cells of the
        treated units best when a fifth of them is held out at a time: those 1, 6, 11, ... periods before treatment,
        then those 2, 7, 12, ... before.
    factors : int, optional
        The rank of L, in place of a penalty (interactive fixed effects: Bai 2009; Gobillon and Magnac 2016; Liu, Wang
        and Xu 2022). Units with as many untreated cells or fewer are left out.
    leads : int
        Number of periods before treatment (less the anticipation) whose effects are estimated, each by a fit from which
        the treated units' cells in it are held out. In-sample residuals are what the fit makes small, and are no terms.

    Returns
    -------
    Estimate
        One term for each cohort and period from treatment on, then the leads; for a treatment that ends, one for each
        number of periods since it began. "CR1" standard errors, which are the jackknife's over units with the penalty
        or the number of factors held.

    Raises
    ------
    QuestionError
        If both a penalty and a number of factors are given, a cohort has one unit and the question does not say what to
        do with it, effects are not identified, or the fit does not settle.

    References
    ----------
    Athey, S., Bayati, M., Doudchenko, N., Imbens, G., and Khosravi, K. (2021). Matrix completion methods for causal
    panel data models. Journal of the American Statistical Association 116(536).
    Bai, J. (2009). Panel data models with interactive fixed effects. Econometrica 77(4).
    Gobillon, L., and Magnac, T. (2016). Regional policy evaluation: interactive fixed effects and synthetic controls.
    Review of Economics and Statistics 98(3).
    Liu, L., Wang, Y., and Xu, Y. (2022). A practical guide to counterfactual estimators for causal inference with
    time-series cross-sectional data. American Journal of Political Science 68(1).
    """
    absorbing = sample.first_treated is not None
    if absorbing:
        refuse_single_units(sample, NAME)
    _refuse(sample, penalty, factors, leads)
    untreated, since = sample.treatment == 0, since_onset(sample.treatment)
    rank, notes = _rank(sample, penalty, factors)
    full = complete(sample.y, sample.x_varying, untreated, rank)
    code = np.where(sample.treatment == 1, _cells(sample, since), -1)
    notes += _lost(sample, full, code, (factors or 0) + 1)
    parts = [_effects(sample, full, code)]
    refuse_no_effect(NAME, len(parts[0].code), notes)
    for lead in range(1, leads + 1):
        held = since == -lead
        if held.any():
            fit = complete(sample.y, sample.x_varying, untreated & ~held, rank, start=full.q)
            parts.append(_effects(sample, fit, np.where(held, _cells(sample, since), -1)))
    codes, effect, mean, size, clusters, influence, of_mean, weights, undefined = (
        np.concatenate(each, axis=-1) for each in zip(*parts, strict=True)
    )
    level, of_outcome = Influence.of(influence), Influence.of(of_mean)
    factor = np.full(len(effect), sample.n_units / (sample.n_units - 1))
    estimable = (clusters.min(axis=0) >= 2) & (size > 1) & ~undefined.any(axis=0)
    if undefined.any():
        unit = sample.unit_ids[undefined.any(axis=1)][0]
        notes.append(f"no standard error where effects are not identified without some unit, such as {unit}")
    fields: dict[str, Any] = {
        "n_obs": int((~np.isnan(full.beyond)).sum()),
        "published": "CR1",
        "cohort_weights": Influence.of(weights),
        "left_out": LeftOut(level.scaled(factor), (of_outcome - level).scaled(factor), clusters, estimable),
        "against": "all_before",
    }
    if not absorbing:
        times = codes.astype(float)
        fields |= {"treated": weights, "notes": (NO_CARRY_OVER, *notes, *single_events(times, size))}
        return event_time_effects(sample, times, effect, level, mean, of_outcome, **fields)
    group, now = np.divmod(codes, len(sample.periods))
    cells = Cells(sample.cohorts[group], sample.periods[now].astype(float), now, np.full(len(now), -1))
    found = Effects(effect, level, mean, of_outcome, size, np.full(len(now), "", dtype=object))
    return effects_in_cells(NAME, sample, cells, found, notes, **fields)


class _Part(NamedTuple):
    """Means over the cells of K codes: beyond the prediction, of the outcome, and what they are without each unit.

    Numbers of units and of clusters on both sides are ``size``, (K,), and ``clusters``, (2, K). The influence of unit i
    is (n - 1) times the mean of the effects without one unit less the effect without unit i, shape (n, K), zero where
    no cell is left; ``weights``, (n, K), count the unit's cells. Where there are cells and no effect without unit
    i, it is ``undefined``, (n, K), and the effect has no influence.
    """

    code: IntArray
    effect: FloatArray
    mean: FloatArray
    size: IntArray
    clusters: IntArray
    influence: FloatArray
    of_mean: FloatArray
    weights: FloatArray
    undefined: BoolArray


def _refuse(sample: Sample, penalty: float | None, factors: int | None, leads: int) -> None:
    """Refuse options that do not go together, or that the panel is too short for."""
    if penalty is not None and factors is not None:
        raise QuestionError(
            f"{NAME}: penalty is {penalty:g} and factors is {factors}; give one, as each holds the factors in."
        )
    if penalty is not None and penalty <= 0:
        raise QuestionError(
            f"{NAME}: penalty is {penalty:g}; it must be above 0, or factors be given in its place."
        )
    most = len(sample.periods) - 2
    if factors is not None and factors > most:
        raise QuestionError(
            f"{NAME}: factors is {factors}, but {len(sample.periods)} periods allow for {max(most, 0)} at most; ask "
            "for fewer."
        )
    known = sample.treatment == 0
    known &= ~np.isnan(sample.outcome_with_covariates)
    untreated = known.sum(axis=1)[sample.ever_treated]
    if not np.any(untreated):
        raise QuestionError(
            f"{NAME}: no treated unit is observed in an untreated period, so no effect is identified; use a window "
            "that begins earlier."
        )
    if factors is not None and not np.any(untreated > factors):
        raise QuestionError(
            f"{NAME}: factors is {factors}, but no treated unit is observed in {factors + 1} untreated periods or "
            "more; ask for fewer, or use callaway_santanna."
        )
    if leads and sample.first_treated is None:
        raise QuestionError(
            f"{NAME}: leads is {leads}, but {sample.question.event} is not absorbing; set it to 0."
        )


def _cells(sample: Sample, since: FloatArray) -> IntArray:
    """Return what cell each unit and period is of, shape (n, T), -1 for none.

    The number of the cohort times T plus that of the period; of a treatment that ends, the periods since it began.
    """
    if sample.first_treated is None:
        return np.where(since >= 0, since, -1).astype(np.int64)
    own, n_periods = np.isin(sample.first_treated, sample.cohorts), len(sample.periods)
    cohort = np.searchsorted(sample.cohorts, np.where(own, sample.first_treated, sample.cohorts[0]))
    return np.where(own[:, None], cohort[:, None] * n_periods + np.arange(n_periods), -1)


def _lost(sample: Sample, fit: Completed, code: IntArray, least: int) -> list[str]:
    """Return a note on treated cells that have an outcome and no prediction."""
    lost = (code >= 0) & sample.observed & np.isnan(fit.beyond)
    if not lost.any():
        return []
    periods = "period" if least == 1 else "periods"
    return [
        f"{lost.sum()} treated unit-periods of {lost.any(axis=1).sum()} units left out: the unit is not observed in "
        f"{least} untreated {periods}, or its covariates are not"
    ]


def _effects(sample: Sample, fit: Completed, code: IntArray) -> _Part:
    """Average over the cells of each code that a unit has a prediction in."""
    used = (code >= 0) & ~np.isnan(fit.beyond)
    codes, labels = np.unique(code[used], return_inverse=True)
    label, n_codes = np.full(code.shape, -1), len(codes)
    label[used] = labels.reshape(-1)
    outcomes = _sums(np.where(used, sample.y, 0.0), label, n_codes)
    cells = _sums(used.astype(float), label, n_codes)
    left = cells.sum(axis=0) - cells
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_without = (outcomes.sum(axis=0) - outcomes) / left
    has, without = cells > 0, fit.without_each(label, n_codes)
    undefined = np.isnan(without) & (left > 0)
    without[:, undefined.any(axis=0)] = np.nan
    fitted = fit.pattern >= 0
    clusters = [
        [len(np.unique(sample.cluster[side])) for side in (own, fitted & ~own)]
        for own in np.asarray(has.T, dtype=bool)
    ]
    return _Part(
        codes,
        fit.effects(label, n_codes),
        outcomes.sum(axis=0) / cells.sum(axis=0),
        has.sum(axis=0),
        np.array(clusters, dtype=np.int64).reshape(n_codes, 2).T,
        _pseudo_values(without),
        _pseudo_values(mean_without),
        cells,
        undefined,
    )


def _sums(values: FloatArray, label: IntArray, n_labels: int) -> FloatArray:
    """Add up each unit's values by label, shape (n, K)."""
    unit, period = np.nonzero(label >= 0)
    sums = np.zeros((len(values), n_labels))
    np.add.at(sums, (unit, label[unit, period]), values[unit, period])
    return sums


def _pseudo_values(without: FloatArray) -> FloatArray:
    """Return the influence of each unit from the effects without it, shape (n, K)."""
    known = ~np.isnan(without)
    mean = np.where(known, without, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known, (len(without) - 1) * (mean - without), 0.0)


def _rank(sample: Sample, penalty: float | None, factors: int | None) -> tuple[Rank, list[str]]:
    """Return how the factors are held in, with the penalty that predicts held-out cells best where neither is given."""
    if factors is not None:
        return Rank(factors=factors), []
    if penalty is not None:
        return Rank(penalty), []
    y, x, untreated, since = sample.y, sample.x_varying, sample.treatment == 0, since_onset(sample.treatment)
    largest = complete(y, x, untreated, Rank()).largest_penalty
    folds = [(since < 0) & (since % FOLDS == fold) for fold in range(FOLDS)]
    folds = [held for held in folds if held.any()]
    starts: list[FloatArray | None] = [None] * len(folds)
    errors: list[float] = []
    for share in GRID:
        squares: list[FloatArray] = []
        try:
            for k, held in enumerate(folds):
                fit = complete(y, x, untreated & ~held, Rank(share * largest), start=starts[k])
                starts[k] = fit.q
                beyond = fit.beyond[held]
                squares.append(beyond[~np.isnan(beyond)] ** 2)
        except QuestionError:  # with hardly a penalty a fit need not settle
            if not errors:
                raise
            break
        left = np.concatenate([np.empty(0), *squares])
        if not len(left):
            raise QuestionError(
                f"{NAME}: no treated unit has untreated cells of which one could be held out to choose a penalty; give "
                "penalty=, or factors=0, which is imputation."
            )
        errors.append(float(left.mean()))
        chosen = int(np.argmax(np.array(errors) <= (1 + TIED) * min(errors)))
        if len(errors) - 1 - chosen >= PATIENCE:
            break
    listed = ", ".join(f"{error:.4g} with {share:.2g}" for share, error in zip(GRID, errors, strict=False))
    best = float(GRID[chosen] * largest)
    note = (
        f"penalty {best:.4g} by cross-validation, {GRID[chosen]:.2g} of the least one with which there are no factors; "
        f"mean squared prediction errors are {listed}"
    )
    return Rank(best), [note]
