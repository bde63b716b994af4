"""Extended two-way fixed effects of Wooldridge (2021, 2023), linear and Poisson."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from study.core import (
    ESTIMABLE,
    BoolArray,
    Family,
    FloatArray,
    Influence,
    IntArray,
    Regression,
    Terms,
    by_feature,
    period_effects,
    regress,
)
from study.designs import COMMON, Assumes, Estimand, Sample, Supports, design
from study.designs.did_cells import (
    Cells,
    Effects,
    baseline_matrix,
    cells_of,
    effects_in_cells,
    of_estimated_cohorts,
)
from study.designs.poisson_twfe import refuse_not_counts, without_empty_cells, without_empty_units
from study.designs.twfe import fields_of
from study.estimates import CohortMeans, Contrast, Estimate, cohort_means


@design(
    title="Extended two-way fixed effects (Wooldridge)",
    reference="wooldridge2023",
    estimand=Estimand.GROUP_TIME_ATT,
    assumes=(Assumes.CONDITIONAL_PARALLEL_TRENDS, Assumes.LIMITED_ANTICIPATION),
    supports=COMMON | {Supports.SUMS, Supports.WEIGHTS, Supports.NEVER_TREATED},
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
        Absorbing treatment. Covariates enter by their first observed value. Gaps are allowed, but with cohort
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
        If a covariate is explained by those before it, no effect can be estimated, or for "poisson" the outcome is
        negative or zero everywhere or the likelihood has no maximum.

    References
    ----------
    Wooldridge, J. M. (2021). Two-way fixed effects, the two-way Mundlak regression, and
    difference-in-differences estimators.
    Wooldridge, J. M. (2023). Simple approaches to nonlinear difference-in-differences with panel data.
    Econometrics Journal 26(3).
    """
    cells = cells_of(sample, sample.cohorts)
    used, notes = sample, list[str]()
    if family == "poisson":
        sample.needs_units('etwfe with family="poisson"')
        refuse_not_counts(sample, "etwfe")
        if effects == "unit":
            used, notes = without_empty_units(sample)
    means, regressed = cohort_means(used), used
    if sample.question.comparison == "not_yet_treated":
        cells = cells.select(cells.now > cells.base)
    empty = baseless = np.zeros(len(cells.cohort), dtype=bool)
    if family == "poisson":
        regressed, empty, baseless = _without_empty(used, means, cells)
    has_term = ~(cells.reference | empty)
    model = _Model(used, regressed, means, cells, has_term, family, effects == "unit")
    att, treated, estimable, place = (model.linear if family == "gaussian" else model.exponential)(variance)

    size, outcome = means.sizes(cells.cohort, cells.now), sample.question.outcome
    missing = [
        "no treated unit is observed",
        f"{outcome} is zero in all that is seen of its base, or of its comparison units then",
        "no comparison unit or no base period is observed, or the covariates do not identify it",
    ]
    lacks = [size == 0, baseless & ~cells.reference, ~(cells.reference | estimable)]
    reasons = np.select(lacks, missing, "").astype(object)
    why = f"{outcome} is zero for all of its treated units, a share of -100% without a standard error"
    minus_all = dict.fromkeys(map(int, np.flatnonzero(empty & (reasons == ""))), why)
    fit = effects_in_cells(
        "etwfe",
        sample,
        cells,
        Effects(*att, *treated, size, reasons, unlike=minus_all),
        notes,
        cohort_weights=means.cohort_weights(means.cells(cells.cohort, cells.now)),
        shares="estimated" if variance == "sampling" else "fixed",
        contrast=Contrast(
            sizes=np.nansum(sample.y, axis=1) if (family, effects) == ("poisson", "unit") else None,
            treated_then=sample.groups[0][:, None] <= cells.period + sample.question.anticipation,
        ),
        **fields_of(sample, model.fit, place),
    )
    return of_estimated_cohorts(fit)


def _without_empty(sample: Sample, means: CohortMeans, cells: Cells) -> tuple[Sample, BoolArray, BoolArray]:
    """Take out what a Poisson regression learns nothing from: sets of cells in which nobody has any outcome.

    These are the cells of a term, and those without a term of a group or of a period. Returns the sample, which
    terms have no outcome, and which are shares of nothing, shape (K,): no other cell of their cohort or period has.
    """
    own = means.cells(cells.cohort, cells.now) & ~cells.reference
    compared = ~own.any(axis=2, keepdims=True)
    by_group, by_period = np.eye(len(means.dates), dtype=bool), np.eye(len(sample.periods), dtype=bool)
    sets = np.concatenate([own, compared & by_group[:, None], compared & by_period], axis=2)
    regressed, empty = without_empty_cells(sample, sets)
    of_term, of_group, of_period = np.split(empty, np.cumsum([len(cells.cohort), len(means.dates)]))
    baseless = of_group[np.searchsorted(means.dates, cells.cohort)] | of_period[cells.now]
    return regressed, of_term, baseless


@dataclass(frozen=True, eq=False)
class _Model:
    """The regression, and how its K terms follow from it.

    ``sample`` has the outcomes of the effects, ``regressed`` those of the regression. ``has_term`` says which terms
    have coefficients, shape (K,): not those that are zero by normalisation, nor treated cells without any outcome, of
    which a Poisson regression learns nothing.
    """

    sample: Sample
    regressed: Sample
    means: CohortMeans
    cells: Cells
    has_term: BoolArray
    family: Family
    unit_effects: bool

    @cached_property
    def features(self) -> FloatArray:
        """The constant and the covariates of units, shape (n, f)."""
        return baseline_matrix(self.sample, "etwfe")

    @cached_property
    def regressors(self) -> FloatArray:
        """Indicators of terms, periods and, without unit effects, groups, each times the features, (G, f T, P)."""
        n_groups, n_periods = self.means.mean.shape
        terms = self.means.cells(self.cells.cohort[self.has_term], self.cells.now[self.has_term])
        columns = [terms, period_effects(n_groups, n_periods)]
        if not self.unit_effects:
            columns.append(np.repeat(np.eye(n_groups)[:, None, :], n_periods, axis=1))
        return by_feature(np.concatenate(columns, axis=2).astype(float), self.features.shape[1])

    @cached_property
    def fit(self) -> Regression:
        """The regression on all of these."""
        return regress(
            self.regressed.y,
            self.means.rows,
            Terms(self.regressors, np.empty((*self.regressors.shape[:2], 0))),
            self.sample.weights,
            features=self.features,
            unit_effects=self.unit_effects,
            group_effects=not self.unit_effects,
            family=self.family,
        )

    def cohorts(self) -> Iterator[tuple[IntArray, int, IntArray, FloatArray]]:
        """Yield each cohort's terms, its number among groups, its units, and their shares in its terms, (m, k)."""
        for g in np.unique(self.cells.cohort):
            own = np.flatnonzero(self.cells.cohort == g)
            number = int(np.searchsorted(self.means.dates, g))
            members = self.means.rows[number]
            seen = self.sample.weights[members][:, None] * self.sample.observed[members]
            weight = seen[:, self.cells.now[own]]
            yield own, number, members, weight / np.maximum(weight.sum(axis=0), np.finfo(float).tiny)

    def columns(self, terms: IntArray) -> IntArray:
        """Return the columns of the regressors of terms, one for each feature, shape (k, f)."""
        f = self.features.shape[1]
        return f * (np.cumsum(self.has_term)[terms][:, None] - 1) + np.arange(f)

    def placed(self, members: IntArray, values: FloatArray, own: IntArray) -> Influence:
        """Return the influence of a cohort's units on its own terms."""
        return Influence.of(values, members, self.sample.n_rows) @ np.eye(len(self.cells.cohort))[own]

    def linear(self, variance: str) -> _Effects:
        """Return the cells' effects at the mean features of their units."""
        fit, n_terms = self.fit, len(self.cells.cohort)
        place, estimable = np.zeros((len(fit.coefficient), n_terms)), np.ones(n_terms, dtype=bool)
        spread = []
        for terms, _, members, shares in self.cohorts():
            own, share = terms[self.has_term[terms]], shares[:, self.has_term[terms]]
            features, columns = self.features[members], self.columns(own)
            at = share.T @ features
            # At the features of each unit, not of their mean alone: else the estimate would have no sampling variance.
            unknown = np.abs(features @ fit.null[columns]).max(axis=2, initial=0.0) > ESTIMABLE
            estimable[own] = ~np.any(unknown & (share.T > 0), axis=1)
            place[columns, own[:, None]] = at
            if features.shape[1] > 1 and variance == "sampling":
                slope = fit.coefficient[columns]
                deviation = features @ slope.T - np.einsum("ka,ka->k", at, slope)
                spread.append(self.placed(members, self.sample.n_rows * share * deviation, own))
        linear, influence = fit.coefficient @ place, fit.influence @ place
        for of_features in spread:
            influence = influence + of_features
        mean = self.means.pooled(self.means.cells(self.cells.cohort, self.cells.now))
        return (linear, influence), mean, estimable, place

    def exponential(self, variance: str) -> _Effects:
        """Return the cells' mean outcomes less their fitted means without the effect of treatment.

        Those are exp(index without the effect) of each unit, times its unit effect: its outcomes over the sum of
        exp(index) in the periods of the regression.
        """
        fit, now, n, n_terms = self.fit, self.cells.now, self.sample.n_rows, len(self.cells.cohort)
        untreated, slope = np.zeros(n_terms), np.zeros((n_terms, len(fit.coefficient)))
        own_mean = implied = Influence.none(n, n_terms)
        estimable = np.ones(n_terms, dtype=bool)
        for own, number, members, share in self.cohorts():
            features, f = self.features[members], self.features.shape[1]
            rows = self.regressors[number].reshape(f, len(self.sample.periods), -1)
            index = features @ (self.regressors[number] @ fit.coefficient).reshape(f, -1)
            level, part = np.ones(len(index)), np.zeros(index.shape)
            if self.unit_effects:
                index = index - index.max(axis=1, keepdims=True)
                part = np.exp(index) * self.regressed.observed[members]
                total = np.maximum(part.sum(axis=1), np.finfo(float).tiny)
                level, part = np.nansum(self.regressed.y[members], axis=1) / total, part / total[:, None]
            at_zero = np.empty(share.shape)
            for j, k in enumerate(own):
                regressor, at = rows[:, now[k]].copy(), index[:, now[k]]
                if self.has_term[k]:
                    columns = self.columns(own[[j]])[0]
                    regressor[:, columns] = 0.0
                    at = at - features @ fit.coefficient[columns]
                    unknown = np.abs(features[share[:, j] > 0] @ fit.null[columns]).max(initial=0.0)
                    estimable[k] = unknown < ESTIMABLE
                at_zero[:, j] = level * np.exp(at)
                loading = features * (share[:, j] * at_zero[:, j])[:, None]
                slope[k] = np.einsum("a,ap->p", loading.sum(axis=0), regressor)
                if self.unit_effects:
                    slope[k] -= np.einsum("at,atp->p", loading.T @ part, rows)
                moved = np.abs(fit.null.T @ slope[k]).max(initial=0.0)
                estimable[k] &= moved <= ESTIMABLE * np.abs(slope[k]).max(initial=0.0)
            untreated[own] = np.einsum("ik,ik->k", share, at_zero)
            own_mean += self.placed(members, n * share * fit.residual[number][:, now[own]], own)
            implied += self.placed(members, n * share * (at_zero - untreated[own]), own)
        mean, sampled = self.means.pooled(self.means.cells(self.cells.cohort, now))
        given = fit.influence @ slope.T
        if variance == "sampling":
            own_mean, given = sampled, given + implied
        return (mean - untreated, own_mean - given), (mean, own_mean), estimable, None


# ATT(g,t) and the treated units' mean with their influence, which have an estimate, and their map from coefficients.
_Effects = tuple[tuple[FloatArray, Influence], tuple[FloatArray, Influence], BoolArray, FloatArray | None]
