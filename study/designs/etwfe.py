"""Extended two-way fixed effects of Wooldridge (2021, 2023), linear and Poisson."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.core import (
    ESTIMABLE,
    Family,
    FloatArray,
    Influence,
    LinearForm,
    QuestionError,
    Regression,
    Terms,
    by_feature,
    linear_form,
    period_effects,
    regress,
)
from study.designs import Assumes, Estimand, Supports, design
from study.designs.covariates import baseline_matrix
from study.designs.poisson import refuse_empty, refuse_negative, without_empty_cells, without_empty_units
from study.estimates import (
    Cells,
    CohortMeans,
    Estimate,
    cohort_means,
    cohorts_with_base,
    group_time_effects,
    left_out,
    refuse_single_units,
    rests_on_one,
    told,
)
from study.panel import Sample


@design(
    name="etwfe",
    title="Extended two-way fixed effects (Wooldridge)",
    reference="wooldridge2023",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.CONDITIONAL_PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=(
        Supports.COVARIATES,
        Supports.MISSING_CELLS,
        Supports.ANTICIPATION,
        Supports.CLUSTERS,
        Supports.WEIGHTS,
        Supports.NEVER_TREATED,
        Supports.PROPORTIONAL,
    ),
)
def etwfe(
    sample: Sample,
    *,
    family: Family = "gaussian",
    effects: Literal["cohort", "unit"] = "cohort",
    variance: Literal["sampling", "conditional"] = "sampling",
) -> Estimate:
    """Regress the outcome on an effect for each cohort and treated period, cohort and period effects.

    Wooldridge (2021), equation (6.33), and for "poisson" Wooldridge (2023), equation (3.2), where parallel
    trends hold for the logarithm of the mean. Covariates multiply the period effects, the cohort effects and
    the effects of treatment. ATT(g,t) is the mean over the cohort's units of the fitted outcome less the
    fitted outcome without the effect of treatment, in units of the outcome.

    Parameters
    ----------
    sample : Sample
        Absorbing treatment. Covariates enter by their first observed value. Difference are allowed, but with cohort
        effects the cohort's composition must not change with them in a way that matters for its trend. With
        comparison="never_treated" periods before treatment have effects too, and the period before treatment
        less the anticipation is each cohort's reference.
    family : {"gaussian", "poisson"}
        Least squares, or Poisson quasi-likelihood with a logarithmic link.
    effects : {"cohort", "unit"}
        One constant for each cohort, as in the papers, or one for each unit.
    variance : {"sampling", "conditional"}
        Whether standard errors carry the sampling of covariates and of cohort shares, or take both as given,
        as the delta method of the R package etwfe does.

    Returns
    -------
    Estimate
        One term for each cohort and period, in that order; "CR1_fixest" standard errors. Averages weight by
        the unit-periods that are seen. "Proportional" divides by the counterfactual mean: under "poisson"
        it is exp(coefficient) - 1, and -1 for a treated cell without any outcome. An effect over nothing has no
        value: a cohort without outcomes at its base is left out, and so are periods in which nobody that it is
        compared with has any. ``notes`` name each cohort
        and period without an estimate.

    Raises
    ------
    QuestionError
        If a cohort has one unit and the question does not say what to do with it, a covariate is explained by
        those before it, no effect can be estimated, or for "poisson" the outcome is negative or zero everywhere
        or the likelihood has no maximum.

    References
    ----------
    Wooldridge, J. M. (2021). Two-way fixed effects, the two-way Mundlak regression, and
    difference-in-differences estimators.
    Wooldridge, J. M. (2023). Simple approaches to nonlinear difference-in-differences with panel data.
    Econometrics Journal 26(3).
    """
    refuse_single_units(sample, "etwfe")
    used: Sample = sample
    notes: list[str] = []
    if family == "poisson":
        refuse_negative(sample, "etwfe")
        refuse_empty(sample, "etwfe")
        if effects == "unit":
            used, notes = without_empty_units(sample)
    cohorts, early = cohorts_with_base(sample)
    notes += early
    cell, means, regressed = _cells(used, cohorts), cohort_means(used), used
    baseless = np.zeros(len(cell.cohort), dtype=bool)
    if family == "poisson":
        regressed, empty, baseless = _without_empty(used, means, cell)
        cell = cell._replace(empty=empty)
    model = _fit(regressed, means, cell, effects, family)
    if family == "gaussian":
        estimated = _linear(used, means, cell, model, variance)
    else:
        estimated = _exponential(used, regressed, means, cell, model, variance)
    known = cell.reference | (estimated.estimable & ~baseless)
    size = means.sizes(cell.cohort, cell.position)
    reasons = {int(k): "no treated unit is observed" for k in np.flatnonzero(size == 0)}
    why = "no comparison unit or no base period is observed, or the covariates do not identify it"
    reasons |= {int(k): why for k in np.flatnonzero(~known & (size > 0))}
    why = (
        f"{sample.question.outcome} is zero in all that is seen of its base, or of its comparison units then"
    )
    reasons |= {int(k): why for k in np.flatnonzero(baseless & ~cell.reference & (size > 0))}
    notes += left_out(cell.cohort, cell.period, reasons)
    known &= (size > 0) | cell.reference
    why = f"{sample.question.outcome} is zero for all of its treated units, a share of -100% without a standard error"
    notes += told(cell.cohort, cell.period, dict.fromkeys(map(int, np.flatnonzero(cell.empty & known)), why))
    known &= np.isin(cell.cohort, cell.cohort[known & ~cell.reference])
    if not known.any():
        raise QuestionError(f"etwfe: no effect can be estimated: {'; '.join(notes)}.")
    notes += rests_on_one(cell.cohort, cell.period, known & ~cell.reference & (size == 1))
    cell = cell.select(known)
    return group_time_effects(
        sample,
        cell.cohort,
        cell.period,
        estimated.effect_level[known],
        estimated.influence.select(known),
        reference=cell.reference,
        untreated_mean=estimated.untreated[known],
        untreated_influence=estimated.untreated_influence.select(known),
        cohort_weights=means.cohort_weights(_sets(means, cell)),
        shares="estimated" if variance == "sampling" else "fixed",
        n_obs=model.fit.n_obs,
        df_k=model.fit.df_k,
        n_fixed_effects=model.fit.n_fixed_effects,
        clusters=model.fit.n_clusters(sample.cluster),
        published="CR1_fixest",
        sizes=np.nansum(sample.y, axis=1) if (family, effects) == ("poisson", "unit") else None,
        form=None if estimated.form is None else estimated.form.select(known),
        notes=tuple(notes),
    )


class _Cell(NamedTuple):
    """Cohort, period and number of the period of each term, shape (K,).

    ``reference`` are zero by normalisation; ``empty`` are treated cells without any outcome, of which a Poisson
    regression learns nothing. Neither have a coefficient.
    """

    cohort: FloatArray
    period: FloatArray
    position: NDArray[np.int64]
    reference: NDArray[np.bool_]
    empty: NDArray[np.bool_]

    @property
    def regressed(self) -> NDArray[np.bool_]:
        """Which terms have a coefficient."""
        return ~(self.reference | self.empty)

    def select(self, kept: NDArray[np.bool_]) -> _Cell:
        """Return some of the terms."""
        return _Cell(
            self.cohort[kept],
            self.period[kept],
            self.position[kept],
            self.reference[kept],
            self.empty[kept],
        )


class _Model(NamedTuple):
    """The regression, its regressors (G, f T, P), the units' features (n, f), the groups used (G,), its effects."""

    fit: Regression
    regressors: FloatArray
    features: FloatArray
    groups: Cells
    unit_effects: bool


class _Att(NamedTuple):
    """ATT(g,t) and the counterfactual mean, shape (K,), which of them have an estimate, and their linear form."""

    effect_level: FloatArray
    influence: Influence
    untreated: FloatArray
    untreated_influence: Influence
    estimable: NDArray[np.bool_]
    form: LinearForm | None = None


def _without_empty(sample: Sample, means: CohortMeans, cell: _Cell) -> tuple[Sample, Cells, Cells]:
    """Take out what a Poisson regression learns nothing from: sets of cells in which nobody has any outcome.

    These are the cells of a term, and those without a term of a group or of a period. Returns the sample, which
    terms have no outcome, and which are shares of nothing, shape (K,): no other cell of their cohort or period has.
    """
    own = _sets(means, cell) & ~cell.reference
    compared = (_groups(sample, means, cell)[:, None] & ~own.any(axis=2))[:, :, None]
    by_group, by_period = np.eye(len(means.dates), dtype=bool), np.eye(len(sample.periods), dtype=bool)
    sets = np.concatenate([own, compared & by_group[:, None], compared & by_period], axis=2)
    regressed, empty = without_empty_cells(sample, sets)
    of_term, of_group, of_period = np.split(empty, np.cumsum([len(cell.cohort), len(means.dates)]))
    baseless = of_group[np.searchsorted(means.dates, cell.cohort)] | of_period[cell.position]
    return regressed, of_term, baseless


def _sets(means: CohortMeans, cell: _Cell) -> Cells:
    return means.cells(cell.cohort, cell.position)


def _cells(sample: Sample, cohorts: FloatArray) -> _Cell:
    """Return the treated cells, or with never-treated comparison all cells of the cohorts."""
    base = cohorts - 1 - sample.question.anticipation
    all_periods = sample.question.comparison == "never_treated"
    which = np.ones((len(cohorts), len(sample.periods)), dtype=bool)
    if not all_periods:
        which = sample.periods > base[:, None]
    number, position = np.nonzero(which)
    period = sample.periods[position].astype(float)
    return _Cell(cohorts[number], period, position, period == base[number], np.zeros(len(period), dtype=bool))


def _groups(sample: Sample, means: CohortMeans, cell: _Cell) -> Cells:
    """Return which groups are in the regression, shape (G,): cohorts with a base, and the untreated."""
    return np.isin(means.dates, cell.cohort) | means.untreated(sample)


def _fit(sample: Sample, means: CohortMeans, cell: _Cell, effects: str, family: Family) -> _Model:
    """Regress on cells, periods and cohorts, each times the unit's features."""
    groups = _groups(sample, means, cell)
    n_groups, n_periods = int(groups.sum()), len(sample.periods)
    features = baseline_matrix(sample, "etwfe")
    columns = [
        means.cells(cell.cohort[cell.regressed], cell.position[cell.regressed])[groups],
        period_effects(n_groups, n_periods),
    ]
    if effects == "cohort":
        columns.append(np.repeat(np.eye(n_groups)[:, None, :], n_periods, axis=1))
    regressors = by_feature(np.concatenate(columns, axis=2).astype(float), features.shape[1])
    fit = regress(
        sample.y,
        [rows for rows, used in zip(means.rows, groups, strict=True) if used],
        Terms(regressors, np.empty((*regressors.shape[:2], 0))),
        sample.weights,
        features=features,
        unit_effects=effects == "unit",
        group_effects=effects == "cohort",
        family=family,
    )
    return _Model(fit, regressors, features, groups, effects == "unit")


def _linear(sample: Sample, means: CohortMeans, cell: _Cell, model: _Model, variance: str) -> _Att:
    """Return the cells' effects at the mean features of their units."""
    f, n = model.features.shape[1], sample.n_units
    place = np.zeros((len(model.fit.coefficient), len(cell.cohort)))
    regressed = list(map(int, np.flatnonzero(cell.regressed)))
    estimable = np.ones(len(cell.cohort), dtype=bool)
    blocks = []
    for g, members in _members(means, cell):
        own = [k for k in regressed if cell.cohort[k] == g]
        weight = _seen_weights(sample, members)[:, cell.position[own]]
        share = weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
        features = model.features[members]
        at = share.T @ features
        columns = f * np.searchsorted(regressed, own)[:, None] + np.arange(f)
        # At the features of each unit, not of their mean alone: else the estimate would have no sampling variance.
        unknown = np.abs(features @ model.fit.null[columns]).max(axis=2, initial=0.0) > ESTIMABLE
        estimable[own] = ~np.any(unknown & (share.T > 0), axis=1)
        place[columns, np.array(own)[:, None]] = at
        if f > 1 and variance == "sampling":
            slope = model.fit.coefficient[columns]
            blocks.append((members, n * share * (features @ slope.T - np.einsum("ka,ka->k", at, slope)), own))
    linear, influence = model.fit.coefficient @ place, model.fit.influence @ place
    for members, values, own in blocks:
        influence = influence + _block(n, members, values, own, len(cell.cohort))
    mean, mean_influence = means.pooled(_sets(means, cell))
    form = linear_form(model.fit.equations, place)
    return _Att(linear, influence, mean - linear, mean_influence - influence, estimable, form)


def _exponential(
    sample: Sample, regressed: Sample, means: CohortMeans, cell: _Cell, model: _Model, variance: str
) -> _Att:
    """Return the cells' mean outcomes less their fitted means without the effect of treatment.

    Those are exp(index without the effect) of each unit, times its unit effect: its outcomes over the sum of
    exp(index) in the periods of the regression.
    """
    n, n_terms = sample.n_units, len(cell.cohort)
    untreated, slope = np.zeros(n_terms), np.zeros((n_terms, len(model.fit.coefficient)))
    own_mean, implied = Influence.none(n, n_terms), Influence.none(n, n_terms)
    estimable = np.ones(n_terms, dtype=bool)
    mean, sampled = means.pooled(_sets(means, cell))
    place = np.flatnonzero(model.groups)
    for g, members in _members(means, cell):
        own = [k for k in range(n_terms) if cell.cohort[k] == g]
        number = int(np.searchsorted(place, np.searchsorted(means.dates, g)))
        weight = _seen_weights(sample, members)[:, cell.position[own]]
        share = weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)
        at_zero = np.empty(share.shape)
        fitted = _fitted(model, number, regressed, members)
        for j, k in enumerate(own):
            at_zero[:, j], slope[k], known = _without_effect(
                model, number, fitted, members, cell, k, share[:, j]
            )
            moved = np.abs(model.fit.null.T @ slope[k]).max(initial=0.0)
            estimable[k] = known and moved <= ESTIMABLE * np.abs(slope[k]).max(initial=0.0)
        untreated[own] = np.einsum("ik,ik->k", share, at_zero)
        residual = model.fit.residual[number][:, cell.position[own]]
        own_mean += _block(n, members, n * share * residual, own, n_terms)
        implied += _block(n, members, n * share * (at_zero - untreated[own]), own, n_terms)
    given = model.fit.influence @ slope.T
    if variance == "sampling":
        own_mean, given = sampled, given + implied
    return _Att(mean - untreated, own_mean - given, untreated, given, estimable)


class _Fitted(NamedTuple):
    """The linear index of a group's units, shape (m, T), their unit effects (m,), each period's part (m, T)."""

    effect_level: FloatArray
    level: FloatArray
    part: FloatArray


def _fitted(model: _Model, number: int, regressed: Sample, members: NDArray[np.int64]) -> _Fitted:
    f = model.features.shape[1]
    by_feature = (model.regressors[number] @ model.fit.coefficient).reshape(f, -1)
    index = model.features[members] @ by_feature
    if not model.unit_effects:
        return _Fitted(index, np.ones(len(index)), np.zeros(index.shape))
    index = index - index.max(axis=1, keepdims=True)
    part = np.exp(index) * regressed.observed[members]
    total = np.maximum(part.sum(axis=1), np.finfo(float).tiny)
    return _Fitted(index, np.nansum(regressed.y[members], axis=1) / total, part / total[:, None])


def _without_effect(
    model: _Model,
    number: int,
    fitted: _Fitted,
    members: NDArray[np.int64],
    cell: _Cell,
    k: int,
    share: FloatArray,
) -> tuple[FloatArray, FloatArray, bool]:
    """Return units' means without the effect of term k, (m,), their mean's derivative, and whether it is known."""
    features, fit = model.features[members], model.fit
    f = features.shape[1]
    rows = model.regressors[number].reshape(f, fitted.effect_level.shape[1], -1)
    regressor, index, known = rows[:, cell.position[k]].copy(), fitted.effect_level[:, cell.position[k]], True
    if cell.regressed[k]:
        columns = f * int(cell.regressed[:k].sum()) + np.arange(f)
        regressor[:, columns] = 0.0
        index = index - features @ fit.coefficient[columns]
        known = bool(np.abs(features[share > 0] @ fit.null[columns]).max(initial=0.0) < ESTIMABLE)
    at_zero = fitted.level * np.exp(index)
    loading = features * (share * at_zero)[:, None]
    slope = np.einsum("a,ap->p", loading.sum(axis=0), regressor)
    if model.unit_effects:
        slope -= np.einsum("at,atp->p", loading.T @ fitted.part, rows)
    return at_zero, slope, known


def _members(means: CohortMeans, cell: _Cell) -> list[tuple[float, NDArray[np.int64]]]:
    return [(g, means.rows[np.searchsorted(means.dates, g)]) for g in np.unique(cell.cohort)]


def _seen_weights(sample: Sample, members: NDArray[np.int64]) -> FloatArray:
    return sample.weights[members][:, None] * sample.observed[members]


def _block(n: int, members: NDArray[np.int64], values: FloatArray, own: list[int], n_terms: int) -> Influence:
    """Return the influence of one group on its own terms."""
    return Influence.of(values, members, n) @ np.eye(n_terms)[own]
