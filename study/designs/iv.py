"""Instrumental variables with unit and period effects by linearmodels: two-stage least squares, LIML and GMM."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import numpy as np

from study.core import (
    BoolArray,
    FloatArray,
    Influence,
    IntArray,
    QuestionError,
    Terms,
    by_feature,
    listed,
    p_is,
    period_effects,
    refuse_unidentified,
    regress,
    sums_by,
)
from study.designs import COMMON, Assumes, Estimand, Supports, design
from study.designs.panel_ols import clustered, less_effects
from study.designs.twfe import fields_of, on_columns, placed
from study.estimates import (
    Contrast,
    Estimate,
    anderson_rubin,
    coefficients,
    effective_f,
    in_words,
    lottery_sides,
    only_row,
    strength,
)
from study.panel import Sample, first_observed

Method = Literal["2sls", "liml", "gmm"]
Stage = Literal["structural", "first", "reduced"]


@design(
    title="Instrumental variables with two-way fixed effects",
    reference="angrist1996",
    estimand=Estimand.COEFFICIENT,
    assumes=(
        Assumes.RANDOM_INSTRUMENT,
        Assumes.EXCLUSION,
        Assumes.LIMITED_ANTICIPATION,
        Assumes.HOMOGENEOUS_EFFECTS,
    ),
    supports=COMMON - {Supports.PROPORTIONAL}
    | {Supports.WEIGHTS, Supports.SWITCHING, Supports.LEVELS, Supports.INSTRUMENT, Supports.INSTRUMENTS},
)
def iv(sample: Sample, *, method: Method = "2sls", stage: Stage = "structural") -> Estimate:
    """Regress the outcome on treatment, moved by instruments, covariates by period, unit and period effects.

    y_it = alpha_i + lambda_t + beta D_it + x_it'gamma + e_it, with E[z_it e_it] = 0. Unit and period effects are taken
    out of every column exactly, with gaps too, and IV2SLS, IVLIML or IVGMM of linearmodels is asked about what is left.
    D is 0 or 1, or the amount of treatment where the event is a dose. Where effects differ, beta is a weighted average
    over those whom the instruments move, if they move nobody away from treatment; with treatment at several dates some
    of its weights can be negative, as those of ``twfe``.

    Parameters
    ----------
    sample : Sample
        Gaps are allowed; instruments and covariates enter by period.
    method : {"2sls", "liml", "gmm"}
        Two-stage least squares, limited information maximum likelihood, or two-step GMM with moments weighted by the
        inverse of their covariance by cluster.
    stage : {"structural", "first", "reduced"}
        The effect of treatment; what the instruments do to treatment; or what they do to the outcome. Unit effects
        absorb an instrument that is fixed in time: the structural stage refuses it, and the other two take it by
        period, as an event study against the last period in which nobody is treated (Duflo 2001).

    Returns
    -------
    Estimate
        The coefficient of treatment or of the instruments, then those of covariates; of a fixed instrument one for each
        period, at the event time since anybody was treated. The influence is the derivative by the weight of a unit.
        With several instruments that includes what estimating the first stage, the root of LIML and the weights of GMM
        adds, which counts where the instruments' effects differ (Lee 2018). linearmodels' own covariances leave it out;
        they are "unadjusted", "robust", "clustered" and, but for GMM, "twoway" (by cluster and by period). The sides of
        "jackknife" errors are winners and losers, where the instrument is a lottery and the stage not the first. Notes
        have the effective F of the first stage, counted as "CR1_fixest", and the Anderson-Rubin set, both by cluster.

    Raises
    ------
    QuestionError
        If an instrument is fixed within units, a column is explained by fixed effects and the others, GMM has fewer
        clusters than moments, the outcome leaves LIML or GMM nothing, treatment and instruments are uncorrelated, or
        ``method`` is of the first or reduced stage.

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
    Hudson, S., P. Hull and J. Liebersohn (2017). Interpreting instrumented difference-in-differences.
    Lee, S. (2018). A consistent variance estimator for 2SLS when instruments identify different LATEs. Journal of
    Business and Economic Statistics 36(3).
    """
    columns = np.stack([sample.treatment, *sample.x_by_period, *sample.instruments_by_period], axis=2)
    seen = sample.observed & ~np.isnan(columns).any(axis=2)
    sample = replace(sample, y=np.where(seen, sample.y, np.nan))
    refuse(sample, seen, method, stage)
    if stage == "reduced":
        return by_lottery(on_instruments(sample, seen), seen)
    first = on_instruments(of_treatment(sample), seen)
    if stage == "first":
        return first
    names = ("treatment", *sample.covariates)
    least_squares = on_columns(sample, columns[:, :, : len(names)], names)
    if method == "liml" and first.n_obs < first.df_k + first.n_fixed_effects:
        raise QuestionError(
            f"iv: {first.n_obs} observations leave LIML no degree of freedom beside instruments, covariates and fixed "
            'effects; use method="2sls".'
        )
    rows = rows_of(sample, columns, seen)
    _, d, z = rows.less_covariates()
    if not np.abs(d - less(d, z)).max() > 1e-10 * np.abs(d).max():
        raise QuestionError(
            f"iv: less fixed effects and covariates, {listed(sample.question.instruments)} and treatment are "
            "uncorrelated, so no effect is identified; name another instrument."
        )
    if method != "2sls" and not np.abs(rows.y).max() > 1e-10 * np.nanmax(np.abs(sample.y)):
        raise QuestionError(
            f"iv: unit and period effects explain all of {sample.question.outcome}, so {method.upper()} has nothing to "
            "weigh moments by; name another outcome."
        )
    try:
        fit, covariances = linearmodels_fit(rows, method)
    except ValueError as error:
        raise QuestionError(f"iv: linearmodels finds no answer, since {error}") from error
    b = fit.params.to_numpy()
    changes = gmm_changes(rows, b) if method == "gmm" else k_class_changes(rows, b, method)
    influence = sums_by(sample.n_units * changes, rows.unit, sample.n_units)
    answer = coefficients(
        sample,
        names,
        np.roll(b, 1),
        np.roll(influence, 1, axis=1),
        given={name: np.roll(cov, 1, axis=(0, 1)) for name, cov in covariances.items()},
        notes=(*weakness(first, rows), *overidentification(fit, method)),
        **fields_of(sample, least_squares, None) | {"r_squared": np.nan},
    )
    return by_lottery(answer, seen)


def by_lottery(fit: Estimate, seen: BoolArray) -> Estimate:
    """Return the estimate with the sides of a lottery; with several instruments those of the treated stay.

    Those of a first stage stay too: where all winners are treated, nothing varies between them.
    """
    blocks = fit.sample.instruments_by_period
    sides = lottery_sides(blocks[0], seen, len(fit.terms)) if len(blocks) == 1 else None
    if sides is None:
        return fit
    return replace(fit, contrast=replace(fit.contrast, group=sides.group, treated=sides.treated))


def refuse(sample: Sample, seen: BoolArray, method: Method, stage: Stage) -> None:
    """Refuse instruments that fixed effects absorb, and methods that they or the stage do not allow."""
    names, clusters = sample.question.instruments, len(np.unique(sample.cluster[seen.any(axis=1)]))
    fixed, start = fixed_instruments(sample, seen), first_period(sample, seen)
    when, moments = sample.period_name(sample.periods[start]), len(names) + len(sample.covariates)
    if stage != "structural" and method != "2sls":
        raise QuestionError(f'iv: stage="{stage}" is by least squares; leave method="{method}" out.')
    if fixed and stage == "structural":
        raise QuestionError(
            f"iv: the instrument {fixed[0]} is fixed within units, so that unit effects absorb it; make "
            f'{fixed[0]} x (period >= {when}) a column and the instrument, or ask for stage="first" or '
            'stage="reduced", which take it by period.'
        )
    if fixed and len(names) > 1:
        raise QuestionError(
            f"iv: {fixed[0]} is fixed within units and taken by period, in an event study of its own; name one "
            "instrument."
        )
    if fixed and start == 0:
        raise QuestionError(
            f"iv: {fixed[0]} is fixed within units and some unit is treated in {when}, so no period is before "
            "treatment to compare with; name an instrument that varies within units."
        )
    if method == "gmm" and clusters < moments:
        raise QuestionError(
            f"iv: GMM cannot weigh {moments} moments by the covariance of {clusters} clusters; use "
            'method="liml" or "2sls", or fewer instruments and covariates.'
        )


def weakness(first: Estimate, rows: Rows) -> tuple[str, str]:
    """Say how much the instruments move treatment, and which effects they do not exclude if that is little."""
    names, n = first.sample.question.instruments, rows.z.shape[1]
    y, d, z = rows.less_covariates()
    f = effective_f(first.effect[:n], first.covariance("CR1_fixest")[:n, :n], z.T @ z)
    accepted = anderson_rubin(z * y[:, None], -z * d[:, None], rows.cluster)
    return strength(f, listed(names)), in_words(accepted)


def overidentification(fit: Any, method: Method) -> Iterator[str]:
    """Say, for GMM, whether the instruments agree."""
    spare = fit.j_stat.df if method == "gmm" else 0
    if spare:
        yield (
            f"Hansen's test that the instruments agree on the effect: J = {fit.j_stat.stat:.3g} with {spare} "
            f"degree{'s' if spare > 1 else ''} of freedom ({p_is(fit.j_stat.pval)})."
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

    def less_covariates(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return y, d and z less what covariates explain."""
        return less(self.y, self.x), less(self.d, self.x), less(self.z, self.x)


def less(column: FloatArray, x: FloatArray) -> FloatArray:
    """Return what least squares on columns, shape (N, p), leave of one column or several."""
    return column - x @ np.linalg.lstsq(x, column, rcond=None)[0] if x.shape[1] else column


def rows_of(sample: Sample, columns: FloatArray, seen: BoolArray) -> Rows:
    """Return the observed cells of the outcome and of treatment, covariates and instruments, shape (n, T, K)."""
    unit, period = np.nonzero(seen)
    blocks = sample.y, *np.moveaxis(columns, 2, 0)
    y, d, *others = (less_effects(sample, block, seen) for block in blocks)
    x, z = np.split(np.column_stack(others), [len(sample.covariates)], axis=1)
    return Rows(y, d, x, z, unit, period, sample.cluster[unit], np.sqrt(sample.weights[unit]))


def linearmodels_fit(rows: Rows, method: Method) -> tuple[Any, dict[str, FloatArray]]:
    """Return the results of linearmodels and its covariances by name; covariates come before treatment."""
    from linearmodels.iv import IV2SLS, IVGMM, IVLIML
    from linearmodels.iv import covariance as kinds
    from linearmodels.iv.gmm import IVGMMCovariance

    data = rows.y, rows.x if rows.x.shape[1] else None, rows.d, rows.z
    if method == "gmm":
        fit: Any = IVGMM(*data, weight_type="clustered", clusters=rows.cluster).fit(iter_limit=2)
        common = {"w": fit.weight_matrix.to_numpy()}
    else:
        fit = (IV2SLS if method == "2sls" else IVLIML)(*data).fit()
        common = {"kappa": fit.kappa}
    columns = rows.regressors, rows.y[:, None], rows.moments, fit.params.to_numpy()[:, None]

    def of(kind: Any, **options: Any) -> FloatArray:
        return np.asarray(kind(*columns, **common, **options).cov)

    if method == "gmm":
        asked = {"unadjusted": {}, "robust": {}, "clustered": {"clusters": rows.cluster}}
        return fit, {name: of(IVGMMCovariance, cov_type=name, **by) for name, by in asked.items()}
    made = {"unadjusted": of(kinds.HomoskedasticCovariance), "robust": of(kinds.HeteroskedasticCovariance)}
    return fit, made | clustered(of, kinds, rows.cluster, rows.period)


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
    b1 = np.asarray(np.linalg.solve(px.T @ x, px.T @ y))
    e, e_of_b = (y - x @ b1)[:, None], (y - x @ b)[:, None]
    sums = sums_by(z * e, rows.cluster)
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


def on_instruments(sample: Sample, seen: BoolArray) -> Estimate:
    """Regress the sample's outcome on its instruments, by period where they are fixed, and covariates."""
    if fixed_instruments(sample, seen):
        return by_period(sample, first_period(sample, seen))
    names = (*sample.question.instruments, *sample.covariates)
    fit = on_columns(sample, np.stack([*sample.instruments_by_period, *sample.x_by_period], axis=2), names)
    fields = fields_of(sample, fit, np.eye(len(names)))
    return coefficients(sample, names, fit.coefficient, fit.influence, **fields)


def fixed_instruments(sample: Sample, seen: BoolArray) -> list[str]:
    """Return the names of the instruments that have one value for each unit."""
    names = []
    for name, z in zip(sample.question.instruments, sample.instruments_by_period, strict=True):
        least, most = (np.where(seen, z, bound) for bound in (np.inf, -np.inf))
        if np.all(most.max(axis=1) <= least.min(axis=1)):
            names.append(name)
    return names


def first_period(sample: Sample, seen: BoolArray) -> int:
    """Return the number of the first period in which some unit is treated."""
    return int(np.any(seen & (sample.treatment != 0), axis=0).argmax())


def by_period(sample: Sample, start: int) -> Estimate:
    """Regress the sample's outcome on a fixed instrument by period, against the period before one, and covariates."""
    n, n_periods = sample.y.shape
    z = first_observed(np.where(sample.observed, sample.instruments_by_period[0], np.nan))
    used, features = np.arange(n_periods) != start - 1, np.column_stack([np.ones(n), np.nan_to_num(z)])
    both = by_feature(period_effects(1, n_periods), 2)
    terms = Terms(both[:, :, 1::2][:, :, used], both[:, :, ::2])
    times = sample.periods - (sample.periods[start] + sample.question.anticipation)
    names = np.array([f"event {e:g}" for e in times])
    fit = regress(
        sample.y, [np.arange(n)], terms, sample.weights, features=features, varying=sample.x_varying
    )
    refuse_unidentified([*names[used], *sample.covariates], fit.identified)
    place, zero = placed(fit, used), sample.period_name(sample.periods[start])
    sides = [z == value for value in np.unique(z[~np.isnan(z)])]
    only, alone = np.full(n_periods, -1), []
    if len(sides) == 2:
        of_sides = [
            [only_row(sample, np.flatnonzero(side & seen)) for seen in sample.observed.T] for side in sides
        ]
        only = np.max(of_sides, axis=0)
        alone = [
            f"{name} rests on one unit or cluster with one of the values of {sample.question.instrument}, so that "
            f"{'it has no' if regressed else 'no event time has a'} standard error by leaving units out"
            for name, regressed in zip(names[only >= 0], used[only >= 0], strict=True)
        ]
    return coefficients(
        sample,
        tuple(names),
        fit.coefficient @ place,
        fit.influence @ place,
        estimand=Estimand.EVENT_TIME_ATT,
        event_time=times.astype(float),
        reference=~used,
        cohort_weights=Influence.of(sample.weights[:, None] * sample.observed),
        contrast=Contrast(only=np.maximum(only, only[start - 1])),
        notes=(
            f"What one more of {sample.question.instrument} does to {sample.question.outcome_in_words}, against the "
            f"last period before anybody is treated; event time {times[start]} is {zero}.",
            *alone,
        ),
        **fields_of(sample, fit, place),
    )
