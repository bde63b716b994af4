"""Instrumental variables with unit and period effects by linearmodels: two-stage least squares, LIML and GMM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np

from study.core import (
    BoolArray,
    FloatArray,
    IntArray,
    QuestionError,
    Terms,
    by_feature,
    linear_form,
    listed,
    p_is,
    period_effects,
    refuse_unidentified,
    regress,
)
from study.designs import COMMON, Assumes, Estimand, Supports, design
from study.designs.twfe import counted, on_columns, placed
from study.estimates import (
    Estimate,
    Given,
    anderson_rubin,
    coefficients,
    effective_f,
    in_words,
    strength,
)
from study.panel import Sample

Method = Literal["2sls", "liml", "gmm"]
Stage = Literal["structural", "first", "reduced"]


@design(
    title="Instrumental variables with two-way fixed effects",
    reference="angrist1996",
    estimand=Estimand.COEFFICIENT,
    assumes=(
        Assumes.RANDOM_INSTRUMENT,
        Assumes.EXCLUSION,
        Assumes.MONOTONICITY,
        Assumes.LIMITED_ANTICIPATION,
    ),
    supports=COMMON - {Supports.PROPORTIONAL}
    | {Supports.WEIGHTS, Supports.SWITCHING, Supports.LEVELS, Supports.INSTRUMENT, Supports.INSTRUMENTS},
)
def iv(
    sample: Sample,
    *,
    method: Method = "2sls",
    stage: Stage = "structural",
) -> Estimate:
    """Regress the outcome on treatment, moved by instruments, covariates by period, unit and period effects.

    y_it = alpha_i + lambda_t + beta D_it + x_it'gamma + e_it, with E[z_it e_it] = 0. Unit and period effects are taken
    out of every column exactly, with gaps too, and IV2SLS, IVLIML or IVGMM of linearmodels is asked about what is left.
    D is 0 or 1, or the amount of treatment where the event is a dose. Where effects differ, beta is a weighted average
    over those whom the instruments move.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed; instruments and covariates enter by period.
    method : {"2sls", "liml", "gmm"}
        Two-stage least squares, limited information maximum likelihood, or two-step GMM with moments weighted by the
        inverse of their covariance by cluster.
    stage : {"structural", "first", "reduced"}
        The effect of treatment; what the instruments do to treatment; or what they do to the outcome. An instrument
        that is fixed in time has no effect beyond that of the unit: the structural stage refuses it, and the other two
        take it by period, as an event study against the last period in which nobody is treated (Duflo 2001).

    Returns
    -------
    Estimate
        The coefficient of treatment or of the instruments, then those of covariates, "CR1_fixest" standard errors; of a
        fixed instrument one for each period, at the event time since anybody was treated. The influence is the
        derivative by the weight of a unit: with more instruments than one it has what estimating the first stage, the
        LIML root and the weights of GMM add, which is not zero where the instruments' effects differ (Lee 2018).
        linearmodels' own covariances leave that out and are there as "unadjusted", "robust", "clustered" and, but for
        GMM, "twoway" (by cluster and by period). Notes have the effective F of the first stage and the Anderson-Rubin
        set, both by cluster, which holds the level with weak instruments and with few clusters.

    Raises
    ------
    QuestionError
        If an instrument is fixed within units, or a column is explained by fixed effects and the others.

    Examples
    --------
    A lottery that was drawn once becomes an instrument as a column of the table that starts with the treatment::

        table["lottery_post"] = table["lottery"] * (table["year"] >= 2012)
        panel = study.Panel.from_long(table, ..., covariates=["lottery", "lottery_post"])
        study.estimate(panel, study.Question("papers", "cluster", instrument="lottery_post"), "iv")
        study.estimate(panel, study.Question("papers", "cluster", instrument="lottery"), "iv", stage="first").plot()

    References
    ----------
    Angrist, J. D., G. W. Imbens and D. B. Rubin (1996). Identification of causal effects using instrumental variables.
    Journal of the American Statistical Association 91(434).
    Duflo, E. (2001). Schooling and labor market consequences of school construction in Indonesia. American Economic
    Review 91(4).
    Lee, S. (2018). A consistent variance estimator for 2SLS when instruments identify different LATEs. Journal of
    Business and Economic Statistics 36(3).
    """
    names, regressors = sample.question.instruments, ("treatment", *sample.covariates)
    columns = np.stack([sample.treatment, *sample.x_by_period, *sample.instruments_by_period], axis=2)
    seen = sample.observed & ~np.isnan(columns).any(axis=2)
    sample, k = replace(sample, y=np.where(seen, sample.y, np.nan)), len(regressors)
    fixed = [name for name, z in zip(names, sample.instruments_by_period, strict=True) if is_fixed(z, seen)]
    if stage != "structural":
        of_stage = sample if stage == "reduced" else of_treatment(sample)
        return by_period(of_stage, seen, fixed) if fixed else on_instruments(of_stage, columns[:, :, 1:])
    if fixed:
        start = sample.period_name(sample.periods[first_period(sample, seen)])
        raise QuestionError(
            f"iv: the instrument {fixed[0]} is fixed within units, so that unit effects absorb it; make "
            f'{fixed[0]} x (period >= {start}) a column and the instrument, or ask for stage="first" or '
            'stage="reduced", which take it by period.'
        )
    if method == "gmm" and len(np.unique(sample.cluster)) < columns.shape[2] - 1:
        raise QuestionError(
            f"iv: GMM cannot weigh {columns.shape[2] - 1} moments by the covariance of "
            f'{len(np.unique(sample.cluster))} clusters; use method="liml" or "2sls", or fewer instruments.'
        )
    first = on_instruments(of_treatment(sample), columns[:, :, 1:])
    ols = on_columns(sample, columns[:, :, :k], regressors)
    rows = rows_of(sample, columns, seen, k)
    made = linearmodels_fits(rows, method)
    fit, order = made["robust"], [k - 1, *range(k - 1)]
    n, b, exogenous = len(names), fit.params.to_numpy(), rows.less_covariates()
    cov, gram = first.covariance("CR1_fixest")[:n, :n], exogenous.z.T @ exogenous.z
    scores = exogenous.z * exogenous.y[:, None], -exogenous.z * exogenous.d[:, None]
    notes = [
        strength(effective_f(first.effect[:n], cov, gram), listed(names)),
        in_words(anderson_rubin(*scores, rows.cluster)),
    ]
    if method == "gmm" and n > 1:
        notes.append(
            f"Hansen's test that all instruments have one effect: J = {fit.j_stat.stat:.3g} with {n - 1} degrees of "
            f"freedom ({p_is(fit.j_stat.pval)})."
        )
    influence = np.zeros((sample.n_units, k))
    changes = gmm_changes(rows, b) if method == "gmm" else k_class_changes(rows, b, method)
    np.add.at(influence, rows.unit, sample.n_units * changes[:, order])
    return coefficients(
        sample,
        regressors,
        b[order],
        influence,
        given={name: each.cov.to_numpy()[np.ix_(order, order)] for name, each in made.items()},
        notes=tuple(notes),
        **counted(sample, ols) | {"r_squared": np.nan},
    )


class Rows(NamedTuple):
    """Unit-periods, less fixed effects and times the root of their weights.

    Attributes
    ----------
    y, d : ndarray, shape (N,)
    x : ndarray, shape (N, p)
    z : ndarray, shape (N, L)
        Instruments.
    unit, period, cluster : ndarray of int, shape (N,)
    root : ndarray, shape (N,)
        Of the weights.
    """

    y: FloatArray
    d: FloatArray
    x: FloatArray
    z: FloatArray
    unit: IntArray
    period: IntArray
    cluster: IntArray
    root: FloatArray

    @property
    def period_effects(self) -> FloatArray:
        """F, indicators of periods less their means by unit, shape (N, T)."""
        seen = np.zeros((self.unit.max() + 1, self.period.max() + 1))
        seen[self.unit, self.period] = 1
        means = seen / np.maximum(seen.sum(axis=1, keepdims=True), 1)
        return self.root[:, None] * (np.eye(seen.shape[1])[self.period] - means[self.unit])

    @property
    def regressors(self) -> FloatArray:
        """X, covariates and treatment, shape (N, p + 1)."""
        return np.column_stack([self.x, self.d])

    @property
    def moments(self) -> FloatArray:
        """Z, covariates and instruments, shape (N, p + L)."""
        return np.column_stack([self.x, self.z])

    def less_covariates(self) -> Rows:
        """Return the rows less what covariates explain."""
        return self._replace(**{name: less(getattr(self, name), self.x) for name in ("y", "d", "z")})


def less(column: FloatArray, x: FloatArray) -> FloatArray:
    """Return what least squares on columns, shape (N, p), leave of one column or several."""
    return column - x @ np.linalg.lstsq(x, column, rcond=None)[0] if x.shape[1] else column


def rows_of(sample: Sample, columns: FloatArray, seen: BoolArray, n_regressors: int) -> Rows:
    """Return the observed cells of the outcome and of treatment, covariates and instruments, shape (n, T, K)."""
    n, n_periods = sample.y.shape
    terms = Terms(np.empty((1, n_periods, 0)), period_effects(1, n_periods))

    def left(block: FloatArray) -> FloatArray:
        cells = np.where(seen, block, np.nan)
        return regress(cells, [np.arange(n)], terms, sample.weights).residual[0][seen]

    unit, period = np.nonzero(seen)
    root = np.sqrt(sample.weights[unit])
    y, d, *others = (root * left(block) for block in (sample.y, *np.moveaxis(columns, 2, 0)))
    x, z = np.split(np.column_stack(others), [n_regressors - 1], axis=1)
    return Rows(y, d, x, z, unit, period, sample.cluster[unit], root)


def linearmodels_fits(rows: Rows, method: Method) -> dict[Given, Any]:
    """Return the results of linearmodels by the name of the covariance; covariates come before treatment."""
    from linearmodels.iv import IV2SLS, IVGMM, IVLIML

    data = rows.y, rows.x if rows.x.shape[1] else None, rows.d, rows.z
    by_cluster = {"cov_type": "clustered", "clusters": rows.cluster}
    how: dict[Given, dict[str, Any]] = {
        "unadjusted": {"cov_type": "unadjusted"},
        "robust": {"cov_type": "robust"},
        "clustered": by_cluster,
    }
    if method == "gmm":
        model = IVGMM(*data, weight_type="clustered", clusters=rows.cluster)
        return {name: model.fit(iter_limit=2, **covariance) for name, covariance in how.items()}
    how["twoway"] = by_cluster | {"clusters": np.column_stack([rows.cluster, rows.period])}
    model = (IV2SLS if method == "2sls" else IVLIML)(*data)
    return {name: model.fit(**covariance) for name, covariance in how.items()}


def k_class_changes(rows: Rows, b: FloatArray, method: Method) -> FloatArray:
    """Return the derivative of 2SLS or LIML estimates b, (K,), by each row's weight, shape (N, K).

    b solves X'P e = l X'M e, with P the projection on Z, M = I - P, e = y - X b, and l zero for 2SLS and the least
    e'P e / e'M e for LIML. A row's weight moves X'P e by Px e + Mx Pe, X'M e by Mx Me, e'P e by e^2 - (Me)^2 and e'M e
    by (Me)^2.
    """
    x, z, e = rows.regressors, rows.moments, rows.y - rows.regressors @ b
    explained = z @ np.linalg.lstsq(z, np.column_stack([x, e]), rcond=None)[0]
    px, pe = explained[:, :-1], explained[:, -1:]
    mx, me, e = x - px, e[:, None] - pe, e[:, None]
    moved, root = px * e + mx * pe, 0.0
    if method == "liml":
        size = np.sum(me**2)
        root = np.sum(pe**2) / size
        moved -= root * mx * me + (e**2 - (1 + root) * me**2) / size * (mx.T @ me).T
    return moved @ np.linalg.inv(px.T @ px - root * mx.T @ mx)


def gmm_changes(rows: Rows, b: FloatArray) -> FloatArray:
    """Return the derivative of two-step GMM estimates b, (K,), by how often each row's unit is drawn, shape (N, K).

    b solves X'Z W Z'(y - X b) = 0 with W^-1 = S = sum_c s_c s_c', s_c = Z_c' e_c, e = y - X b1 and b1 from 2SLS. Beside
    the moments, S moves by a unit's own s_i, by the change of b1 (Windmeijer 2005), and by those of the period effects
    in Z and e, whose columns less unit effects are F.
    """
    x, z, y, f = rows.regressors, rows.moments, rows.y, rows.period_effects
    px = z @ np.linalg.lstsq(z, x, rcond=None)[0]
    b1 = np.linalg.solve(px.T @ x, px.T @ y)
    e, e_of_b = (y - x @ b1)[:, None], (y - x @ b)[:, None]
    sums = np.zeros((int(rows.cluster.max()) + 1, z.shape[1]))
    np.add.at(sums, rows.cluster, z * e)
    a, h = (np.linalg.solve(sums.T @ sums, z.T @ each) for each in (x, e_of_b))  # W Z'X, W Z'(y - X b)
    (s_a, s_h), z_a, z_h = ((sums @ each)[rows.cluster] for each in (a, h)), z @ a, z @ h
    of_s = z_a * s_h + s_a * z_h
    moved = x * z_h + z_a * e_of_b - of_s * e / 2 + k_class_changes(rows, b1, "2sls") @ (x.T @ of_s)
    for left, right in ((e, of_s), (z_a, e * s_h), (z_h, e * s_a)):
        moved += left * (right - less(right, f))
    return moved @ np.linalg.inv(a.T @ z.T @ x)


def of_treatment(sample: Sample) -> Sample:
    """Return the sample whose outcome is the treatment, where the outcome is seen."""
    question = sample.question.replace(outcome=sample.question.event, scale="level")
    return replace(sample, question=question, y=np.where(sample.observed, sample.treatment, np.nan))


def on_instruments(sample: Sample, columns: FloatArray) -> Estimate:
    """Regress the sample's outcome on covariates and instruments, shape (n, T, p + L), instruments first."""
    names, p = (*sample.question.instruments, *sample.covariates), len(sample.covariates)
    fit = on_columns(sample, np.roll(columns, -p, axis=2), names)
    form = linear_form(fit.equations, np.eye(len(names)))
    return coefficients(sample, names, fit.coefficient, fit.influence, form=form, **counted(sample, fit))


def is_fixed(z: FloatArray, seen: BoolArray) -> bool:
    """Say whether an instrument, shape (n, T), has one value for each unit."""
    least, most = (np.where(seen, z, bound).T for bound in (np.inf, -np.inf))
    return bool(np.all(most.max(axis=0) <= least.min(axis=0)))


def first_period(sample: Sample, seen: BoolArray) -> int:
    """Return the number of the first period in which some unit is treated."""
    return int(np.any(seen & (sample.treatment != 0), axis=0).argmax())


def by_period(sample: Sample, seen: BoolArray, fixed: Sequence[str]) -> Estimate:
    """Regress the sample's outcome on a fixed instrument by period, covariates, unit and period effects."""
    start, n_periods = first_period(sample, seen), len(sample.periods)
    if len(sample.question.instruments) > 1:
        raise QuestionError(
            f"iv: {fixed[0]} is fixed within units and taken by period, as an event study of it alone; name one "
            "instrument."
        )
    if start == 0:
        raise QuestionError(
            f"iv: {fixed[0]} is fixed within units and some unit is treated in {sample.period_name(sample.periods[0])}, "
            "so no period is before treatment to compare with; name an instrument that varies within units."
        )
    assert sample.instrument is not None
    used = np.arange(n_periods) != start - 1
    by = by_feature(period_effects(1, n_periods), 2)
    terms = Terms(by[:, :, 1::2][:, :, used], by[:, :, ::2])
    features = np.column_stack([np.ones(sample.n_units), sample.instrument])
    rows = [np.arange(sample.n_units)]
    fit = regress(sample.y, rows, terms, sample.weights, features=features, varying=sample.x_varying)
    times = sample.periods - (sample.periods[start] + sample.question.anticipation)
    labels = [f"event {e:g}" for e in times]
    refuse_unidentified([*np.array(labels)[used], *sample.covariates], fit.identified)
    place, zero = placed(fit, used), sample.period_name(sample.periods[start])
    return coefficients(
        sample,
        tuple(labels),
        fit.coefficient @ place,
        fit.influence @ place,
        estimand=Estimand.EVENT_TIME_ATT,
        event_time=times.astype(float),
        reference=~used,
        form=linear_form(fit.equations, place),
        notes=(
            f"Effects of one more of {fixed[0]} on {sample.question.outcome_in_words}, against the last period before "
            f"anybody is treated; event time {times[start]} is {zero}.",
        ),
        **counted(sample, fit),
    )
