"""Coefficient stability and unobserved selection (Oster 2019): delta, and the bias-adjusted coefficient."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.core import FloatArray, QuestionError
from study.designs import find_design
from study.diagnostics import Finding, Needs, Section, diagnostic
from study.diagnostics.omitted_variable_bias import Form, Partialled, partialled, percent, residual, units_of
from study.figures import COLOUR, GREY, SECOND, THIRD, Axes, Figure, beside, draw_legend, on_axes
from study.panel import Sample

WHO = "oster"
REAL = 1e-7
GRID = 200


class Moments(NamedTuple):
    """What the regressions without and with covariates give.

    ``beta_short`` and ``r2_short`` are her beta and R with a circle, of the outcome on treatment; ``beta`` and
    ``r2``, those with a tilde, of the outcome on treatment and covariates. Variances are of outcome and treatment,
    and of what covariates leave of treatment (tau). Everything is after fixed effects, so that R2 are within.
    """

    beta_short: float
    r2_short: float
    beta: float
    r2: float
    var_y: float
    var_d: float
    tau: float

    @property
    def moved(self) -> float:
        """How much larger the coefficient is without covariates."""
        return self.beta_short - self.beta

    def index_covariance(self, beta: FloatArray | float) -> FloatArray:
        """Return the covariance of treatment with the index of the covariates, if beta is the truth."""
        return np.asarray((self.beta - beta) * (self.var_d - self.tau) + self.moved * self.var_d)


@diagnostic(
    title="Selection on unobservables (Oster)",
    question="How much stronger than on covariates would selection on unobservables have to be?",
    section=Section.OVERTURNS,
    needs=(Needs.COVARIATES, Needs.LEVELS),
    reference="oster2019",
)
def oster(
    sample: Sample,
    design: str = "twfe",
    *,
    form: Form | None = None,
    r_max: float | None = None,
    delta: float = 1.0,
    beta: float = 0.0,
    **options: Any,
) -> Finding:
    """Ask how much selection on unobservables, relative to covariates, would explain a coefficient.

    The regression is the one of :func:`study.diagnostics.sensitivity.sensitivity`. Unit and period effects, or the
    constant, are in all regressions and are taken out first (psacalc's ``mcontrol``): R2 are within, and R_max is
    on that scale.

    Parameters
    ----------
    sample : Sample
    design : str
    form : {"within", "long_difference"}, optional
    r_max : float, optional
        Above the R2 with covariates and at most 1; by default the lesser of 1 and 1.3 times that R2.
    delta : float
        Selection on unobservables relative to that on covariates.
    beta : float
        The coefficient to ask the breakdown delta for.
    **options
        Options of the design, checked only.

    Returns
    -------
    Finding
        The frame has a row a quantity: term, estimate, r2, delta (NaN without covariates, where it has no meaning).
        Details: ``moments``; ``r_max``, the R2 of a regression with the unobservables too; ``breakdown``, the delta at
        which the true coefficient is ``beta``, infinite where none is large enough; ``identified_set``, from the
        coefficient with covariates to the bias-adjusted one, ascending.

    Raises
    ------
    QuestionError
        If there are no covariates, they do not move the coefficient, r_max is not above their R2, no coefficient
        fits delta and r_max, or the design has no linear regression with covariates.

    References
    ----------
    Oster, E. (2019). Unobservable selection and coefficient stability: theory and evidence. Journal of Business
    and Economic Statistics 37(2), propositions 2 and 3.
    """
    find_design(design).check_options(options)
    if not sample.question.covariates:
        raise QuestionError(f"{WHO}: the question has no covariates; name some in Question.covariates.")
    regression = partialled(sample, design, form, WHO, options.get("family", "gaussian"))
    m = moments(regression)
    if abs(m.moved) <= 1e-9 * max(abs(m.beta), abs(m.beta_short)):
        raise QuestionError(
            f"{WHO}: {', '.join(regression.names)} do not move the coefficient, so selection on them says nothing."
        )
    # The default is of her section 4.2: the value that 90% of randomized results survive.
    limit = min(1.0, 1.3 * m.r2) if r_max is None else float(r_max)
    if not m.r2 < limit <= 1:
        raise QuestionError(
            f"{WHO}: r_max is {limit:g}; it must be above the R2 with covariates, {m.r2:.3g}, and at most 1."
        )
    solutions = bias_adjusted(m, limit, delta)
    if not solutions:
        raise QuestionError(
            f"{WHO}: no coefficient with delta = {delta:g} and r_max = {limit:.3g} leaves selection on covariates its "
            "direction (Assumption 3); take a smaller delta or r_max."
        )
    adjusted, *others = solutions
    breakdown, unit, within = breakdown_delta(m, limit, beta), units_of(sample), regression.form == "within"
    low, high = sorted((m.beta, adjusted))
    rows = [
        ("without covariates", m.beta_short, m.r2_short, math.nan),
        ("with covariates", m.beta, m.r2, 0.0),
        ("bias-adjusted", adjusted, limit, float(delta)),
        *(("other solution", other, limit, float(delta)) for other in others),
        ("breakdown", float(beta), limit, breakdown),
    ]
    solved = " and ".join(f"{b:.3g}" for b in others)
    on_others = (
        f"Other solutions of the equation are {solved}; the one given keeps the direction of selection on covariates "
        "(her Assumption 3) and among such is nearest to the coefficient with covariates."
    )
    return Finding.of(
        [
            f"For a coefficient of {'zero' if beta == 0 else f'{beta:g}'}, instead of {m.beta:.3g} "
            f"{sample.question.effect_scale.unit}, {_on_breakdown(m, beta, breakdown)}.",
            f"In the regression of {regression.described}, covariates move the coefficient of treatment from "
            f"{m.beta_short:.3g} to {m.beta:.3g} ({unit}) and R2 from {percent(m.r2_short)} to {percent(m.r2)}; this "
            f"is the {'within R2, after unit and period effects' if within else 'R2 of the cross-section'}.",
            f"If selection on unobservables is {'the same as' if delta == 1 else f'{delta:g} times that'} on "
            f"covariates, and all of them together explain {percent(limit)} of the outcome, the coefficient is "
            f"{adjusted:.3g}; the set from {low:.3g} to {high:.3g} "
            f"{'includes' if low <= 0 <= high else 'does not include'} zero.",
            *([on_others] if others else []),
            "These are point estimates; their sampling error is not in them.",
            *regression.notes,
        ],
        pd.DataFrame(rows, columns=["term", "estimate", "r2", "delta"]),
        partial(
            _chart,
            m=m,
            xlabel="R² with the unobservables" + (" (within)" if within else ""),
            ylabel=f"Coefficient ({unit})",
        ),
        details={"moments": m, "r_max": limit, "breakdown": breakdown, "identified_set": (low, high)},
    )


def _on_breakdown(m: Moments, beta: float, breakdown: float) -> str:
    if math.isinf(breakdown):
        return "no finite amount of selection on unobservables is enough"
    against = ", which is in the opposite direction" if breakdown < 0 else ""
    if m.index_covariance(beta) * m.moved < 0:
        against += (
            "; it would then reverse the direction of selection on covariates, against her Assumption 3"
        )
    return f"selection on unobservables would have to be {breakdown:.3g} times that on covariates{against}"


def _chart(frame: pd.DataFrame, ax: Axes | None, m: Moments, xlabel: str, ylabel: str) -> Figure:
    """Draw the bias-adjusted coefficient over R_max, for half, once and twice the delta."""
    r_max, delta = frame.loc[frame["term"] == "bias-adjusted", ["r2", "delta"]].iloc[0]
    grid = np.linspace(m.r2 + (1 - m.r2) / GRID, max(r_max, min(1.0, 3 * m.r2)), GRID)
    deltas = sorted({0.5 * delta, delta, 2 * delta})
    with on_axes(ax, height=3.2) as (figure, axis):
        for each, colour, style in zip(deltas, (THIRD, COLOUR, SECOND), (":", "-", "--"), strict=False):
            path = [next(iter(bias_adjusted(m, r, each)), math.nan) for r in grid]
            axis.plot([m.r2, *grid], [m.beta, *path], color=colour, linestyle=style, label=f"δ = {each:g}")
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.axvline(r_max, color=GREY, linewidth=0.8, linestyle=":", label=f"R²max = {r_max:.3g}")
        axis.plot(m.r2, m.beta, "o", color=COLOUR, label=f"with covariates: {m.beta:.3g}")
        axis.set(xlabel=xlabel, ylabel=beside(ylabel))
        axis.set_title(f"Bias-adjusted coefficient; without covariates {m.beta_short:.3g}", loc="left")
        if ax is None:
            draw_legend(figure, axis, loc="outside lower center", ncols=3, fontsize=8)
    return figure


def moments(form: Partialled) -> Moments:
    """Return the coefficients, R2 and variances of the regressions without and with covariates."""
    y, d = form.y, form.d
    left = residual(d, form.x)
    beta_short, beta = float(d @ y / (d @ d)), float(left @ y / (left @ left))
    error = residual(y, np.column_stack([form.x, d]))
    of_y, of_d, of_error, of_left = (float(column @ column) for column in (y, d, error, left))
    variances = (of_y / len(y), of_d / len(y), of_left / len(y))
    return Moments(beta_short, beta_short**2 * of_d / of_y, beta, 1 - of_error / of_y, *variances)


def selection_terms(m: Moments, r_max: float) -> tuple[FloatArray, FloatArray]:
    """Return the polynomials in the bias, highest power first, of which delta is the ratio.

    Proposition 3: delta times the second polynomial is the first, with the bias the coefficient with covariates
    less the true one. At delta = 1 the cubes cancel, which leaves the quadratic of Proposition 2.
    """
    seen, unseen = (m.r2 - m.r2_short) * m.var_y, (r_max - m.r2) * m.var_y
    cube, square = m.tau * (m.var_d - m.tau), m.tau * m.moved * m.var_d
    observed = [cube, 2 * square, m.tau * seen + m.tau * m.var_d * m.moved**2, 0.0]
    unobserved = [cube, square, unseen * (m.var_d - m.tau), unseen * m.moved * m.var_d]
    return np.array(observed), np.array(unobserved)


def breakdown_delta(m: Moments, r_max: float, beta: float = 0.0) -> float:
    """Return the delta at which beta is the true coefficient, Proposition 3; infinite where none is large enough."""
    observed, unobserved = (float(np.polyval(p, m.beta - beta)) for p in selection_terms(m, r_max))
    return observed / unobserved if unobserved != 0 else math.copysign(math.inf, observed)


def bias_adjusted(m: Moments, r_max: float, delta: float = 1.0) -> tuple[float, ...]:
    """Return the coefficient under a delta, Proposition 2 and its extension to delta other than 1, and other solutions.

    Of several real solutions those count under which selection on covariates keeps its estimated direction
    (Assumption 3), and of these the one nearest to the coefficient with covariates; psacalc selects the same for
    delta above 0, where that direction and the sign of the bias go together. It is the first that is returned, and
    the others follow, ascending; none are where no solution counts. With one covariate there is always a root at
    which selection on it is nil, where delta is no number; it is no solution.
    """
    if delta == 0:
        return (m.beta,)
    observed, unobserved = selection_terms(m, r_max)
    polynomial = observed - delta * unobserved
    if delta == 1:
        polynomial = polynomial[1:]
    roots = np.roots(polynomial)
    bias = np.sort(roots.real[np.abs(roots.imag) <= REAL * (np.abs(roots.real) + abs(m.moved))])
    direction = m.index_covariance(m.beta - bias) / (m.moved * m.var_d)
    bias, direction = bias[np.abs(direction) > REAL], direction[np.abs(direction) > REAL]
    keeps = direction > 0
    if not keeps.any():
        return ()
    chosen = np.argmin(np.where(keeps, np.abs(bias), np.inf))
    others = np.sort(m.beta - np.delete(bias, chosen))
    return (float(m.beta - bias[chosen]), *others.tolist())
