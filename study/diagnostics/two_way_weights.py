"""What coefficients with two-way effects are weighted sums of: comparisons of groups, and effects of cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import FloatArray, Group, IntArray, QuestionError, Terms, capital, one_thread, regress
from study.designs import find_design
from study.diagnostics import Finding, Section, diagnostic, refuse_no_coefficients
from study.figures import COLOUR, GREY, HEIGHT, SECOND, THIRD, Axes, Figure, beside, draw_heatmap, on_axes
from study.panel import Question, Sample

# Below which a weight is zero: in the static coefficient, and in those of event times.
ZERO, SMALL = 1e-10, 1e-9


class Kind(StrEnum):
    """Who stands for the untreated potential outcome of the treated group in a comparison."""

    NEVER = "never treated"
    AFTER_WINDOW = "treated after the window"
    LATER = "treated later"
    ALREADY = "already treated"


@diagnostic(
    title="Comparisons in the coefficient",
    question="Which comparisons of two groups does the coefficient add up, and which are with treated units?",
    section=Section.AGAINST,
    of_sums=True,
    designs=("twfe",),
    shown=2,
)
def goodman_bacon(sample: Sample) -> Finding:
    """Take the static two-way coefficient apart into comparisons of two groups and two periods.

    Works on means by cohort and period. Units weight the means and the cohorts' shares where the question has
    weights. Units first treated after the window are untreated in it, as the never-treated are, and are shown
    apart from them. Units already treated in the first period are not in a Sample, as in :func:`twfe`.

    Parameters
    ----------
    sample : Sample
        Balanced, without covariates, with an absorbing treatment.

    Returns
    -------
    Finding
        The frame has a row a comparison, the largest weight first: treated and compared, the first treated periods of
        the group whose treatment switches on and of the group that it is compared with (in words where it is never
        treated or after the window); kind, a :class:`Kind`; forbidden, where that group is treated already; estimate,
        the difference in differences of the groups' means on the scale of ``sample.y``, in levels where the scale is
        "proportional"; weight, positive with sum one. Details: ``coefficient``, their weighted sum, that of
        :func:`study.designs.twfe`; ``allowed_average``, that without the forbidden ones; ``by_kind``, a frame of
        kind, forbidden, comparisons, weight and the weighted average estimate.

    Raises
    ------
    QuestionError
        If the event is not absorbing, the question has covariates, the outcome has gaps, or twfe cannot answer
        the question.

    References
    ----------
    Goodman-Bacon, A. (2021). Difference-in-differences with variation in treatment timing. Journal of
    Econometrics 225(2), Theorem 1 with equations (7)-(10).
    """
    if sample.question.covariates:
        raise QuestionError(
            "goodman_bacon: with covariates the comparisons do not add up to the coefficient; ask the question without "
            "covariates, or use negative_weights, which takes account of them."
        )
    refuse_no_coefficients("goodman_bacon", sample, "twfe")
    gaps = ~sample.observed
    if gaps.any():
        raise QuestionError(
            f"goodman_bacon: {sample.question.outcome} is not observed in {gaps.sum()} unit-periods of "
            f"{gaps.any(axis=1).sum()} units, and the decomposition is of a balanced panel; ask the question with "
            'missing="balanced", which leaves these units out, or use negative_weights.'
        )
    anticipation, last = sample.question.anticipation, sample.periods[-1]
    first_treated = np.asarray(sample.first_treated, dtype=float)
    # Groups by first treated period: ascending, then those treated after the window as one, then the never-treated.
    date = np.where(first_treated - anticipation > last, np.inf, first_treated)
    dates, group = np.unique(date, return_inverse=True)
    weight = np.bincount(group, sample.weights)
    mean = pd.DataFrame(sample.weights[:, None] * sample.y).groupby(group).sum().to_numpy() / weight[:, None]
    start = np.sum(~(sample.periods >= dates[:, None] - anticipation), axis=1)
    pairs = comparisons(mean, weight / weight.sum(), start)
    compared = dates[pairs["compared"]]
    is_later = start[pairs["compared"]] > start[pairs["treated"]]
    conditions, kinds = [np.isnan(compared), np.isinf(compared), is_later], [each.value for each in Kind]
    kind = np.select(conditions, kinds[:-1], kinds[-1])
    columns = {
        "treated": dates[pairs["treated"]].astype(np.int64),
        "compared": [f"{d:.0f}" if np.isfinite(d) else str(k) for d, k in zip(compared, kind, strict=True)],
        "kind": kind,
        "forbidden": kind == Kind.ALREADY.value,
    }
    frame = pd.DataFrame(columns | {name: pairs[name] for name in ("estimate", "weight")})
    frame = frame.sort_values("weight", ascending=False, kind="stable", ignore_index=True)
    of_kind = frame.assign(product=frame["weight"] * frame["estimate"]).groupby("kind", sort=False)
    by_kind = of_kind["forbidden"].agg(forbidden="first", comparisons="size")
    by_kind["weight"] = of_kind["weight"].sum()
    by_kind["estimate"] = of_kind["product"].sum() / by_kind["weight"]
    by_kind = by_kind.reindex([each for each in kinds if each in kind]).reset_index()
    allowed = frame[~frame["forbidden"]]
    details = {
        "coefficient": float(frame["weight"] @ frame["estimate"]),
        "allowed_average": float(np.average(allowed["estimate"], weights=allowed["weight"])),
        "by_kind": by_kind,
    }
    return Finding.of(
        _of_comparisons(sample.question, len(frame), **details),
        frame,
        partial(_comparisons_chart, outcome=sample.question.outcome_in_words),
        details=details,
    )


def _of_comparisons(
    question: Question, n_comparisons: int, coefficient: float, allowed_average: float, by_kind: pd.DataFrame
) -> Iterator[str]:
    yield (
        f"The static two-way fixed effects coefficient of {question.outcome_in_words} is {coefficient:.4g}, the "
        f"weighted sum of {n_comparisons} difference{'s' * (n_comparisons > 1)} in differences of two groups."
    )
    if not by_kind["forbidden"].any():
        yield "No comparison is with units that are already treated."
    for row in by_kind.sort_values("forbidden", ascending=False, kind="stable").itertuples():
        carry = f"carry {row.weight:.1%} of the weight and average {row.estimate:.4g}"
        if row.forbidden:
            yield (
                f"Comparisons with units {row.kind}, the forbidden ones, {carry}; under parallel trends they are "
                "biased by every change in the effect on those units."
            )
            yield f"Without the forbidden comparisons the average is {allowed_average:.4g}."
        else:
            yield f"Comparisons with units {row.kind} {carry}."
    if question.scale == "proportional":
        yield "The decomposition is of the coefficient in levels, which the proportional effect is made from."


def _comparisons_chart(frame: pd.DataFrame, ax: Axes | None, outcome: str) -> Figure:
    """Draw each comparison's estimate against its weight, and the coefficient as a line."""
    marks = {
        Kind.NEVER: ("o", COLOUR, COLOUR),
        Kind.AFTER_WINDOW: ("s", "white", COLOUR),
        Kind.LATER: ("^", THIRD, THIRD),
        Kind.ALREADY: ("X", SECOND, SECOND),
    }
    coefficient = frame["weight"] @ frame["estimate"]
    with on_axes(ax, height=HEIGHT + 0.5) as (figure, axis):
        axis.axhline(0, color=GREY, linewidth=0.8)
        line = axis.axhline(coefficient, color=GREY, linewidth=1.2, linestyle="--")
        line.set_label(f"two-way coefficient, {coefficient:.3g}")
        for kind, (marker, face, edge) in marks.items():
            rows = frame[frame["kind"] == kind.value]
            if len(rows):
                look: Any = {"mfc": face, "mec": edge, "ms": 5.5 if len(frame) <= 60 else 3.5, "mew": 0.8}
                label = f"{kind}{', forbidden' * (kind is Kind.ALREADY)}: {rows['weight'].sum():.0%}"
                axis.plot(100 * rows["weight"], rows["estimate"], marker, alpha=0.85, label=label, **look)
        axis.set(xlabel="Weight in the coefficient, percent", xlim=(0, None))
        axis.set_ylabel(beside(f"Difference in differences ({outcome})"))
        if ax is None:
            look = {"ncols": 2, "frameon": False, "fontsize": 8, "title_fontsize": 8, "columnspacing": 1.2}
            title = "Compared with units, and their share of the weight"
            figure.legend(title=title, loc="outside upper center", handletextpad=0.4, **look)
    return figure


def comparisons(mean: FloatArray, share: FloatArray, start: IntArray) -> pd.DataFrame:
    """Return the comparisons of Theorem 1 that have a weight: numbers of the groups, estimate, weight with sum one.

    Of two groups, k early and l late, that are treated in shares D_k > D_l of the periods, group k switches on
    while l is untreated, with weight n_k n_l (1 - D_k)(D_k - D_l), and group l while k is treated, with weight
    n_k n_l D_l (D_k - D_l); equations (10e)-(10g) times the variance of treatment, which their sum is. An
    untreated group is the one with D_l = 0.

    Parameters
    ----------
    mean : ndarray, shape (G, T)
        Mean outcome by group and period.
    share : ndarray, shape (G,)
        Of units, with sum one.
    start : ndarray of int, shape (G,)
        Ascending number of the first treated period, T where there is none.
    """
    early, late = np.nonzero(start[:, None] < start)
    n_periods, difference = mean.shape[1], mean[early] - mean[late]
    period = np.arange(n_periods)
    before, after = period < start[early, None], period >= start[late, None]
    before_mean, between_mean, after_mean = (
        (difference * cells).sum(axis=1) / np.maximum(cells.sum(axis=1), 1)
        for cells in (before, ~before & ~after, after)
    )
    treated = 1 - start / n_periods
    both = share[early] * share[late] * (treated[early] - treated[late])
    table = pd.DataFrame(
        {
            "treated": np.concatenate([early, late]),
            "compared": np.concatenate([late, early]),
            "estimate": np.concatenate([between_mean - before_mean, between_mean - after_mean]),
            "weight": np.concatenate([both * (1 - treated[early]), both * treated[late]]),
        }
    )
    table["weight"] /= table["weight"].sum()
    return table[table["weight"] > 0]


@diagnostic(
    title="Negative weights",
    question="Does the coefficient put negative weights on the effects of some cohorts and periods?",
    section=Section.AGAINST,
    of_sums=True,
    designs=("twfe",),
)
def negative_weights(sample: Sample) -> Finding:
    """Return the weights of treated cells' effects in the static two-way coefficient.

    With e the residual of treatment on the unit effects, period effects and covariates of :func:`twfe`, and w
    the units' weights, the effect of a unit-period counts w e / sum(w e over treated unit-periods); a cell is
    the treated units of a cohort in a period. TwoWayFEWeights reports the same for unit-periods ("feTR").

    Parameters
    ----------
    sample : Sample
        Difference, weights and covariates by period are taken account of as in twfe.

    Returns
    -------
    Finding
        The frame has a row a treated cell: cohort, period, event_time; share, that of the treated observations,
        N_gt / N_1; weight, what the cell's average effect is multiplied with. Both sum to one. Details:
        ``coefficient``, that of treatment on the scale of ``sample.y``, in levels where the scale is "proportional";
        :func:`sigma_zero` and :func:`sigma_opposite`.

    Raises
    ------
    QuestionError
        If the event is not absorbing, twfe cannot answer the question, or treatment is explained by the fixed
        effects and the covariates.

    References
    ----------
    de Chaisemartin, C. and D'Haultfoeuille, X. (2020). Two-way fixed effects estimators with heterogeneous
    treatment effects. American Economic Review 110(9), Theorem 1 and Corollary 1.
    """
    refuse_no_coefficients("negative_weights", sample, "twfe")
    coefficient = float(find_design("twfe")(sample).effect_level[0])
    cohorts, groups = sample.groups
    treatment = np.where(np.isnan(sample.outcome_with_covariates), np.nan, sample.treatment)
    seen, terms = ~np.isnan(treatment), Terms.of_periods(len(groups), len(sample.periods))
    with one_thread():
        residual = regress(treatment, groups, terms, sample.weights, varying=sample.x_varying).residual
    weights = [sample.weights[members] for members in groups]
    product = np.stack([w @ e for w, e in zip(weights, residual, strict=True)])
    size = np.stack([w @ seen[members] for w, members in zip(weights, groups, strict=True)])
    cells = sample.treated_cells & (size > 0)
    group, time = np.nonzero(cells)
    weight, share = product[cells] / product[cells].sum(), size[cells] / size[cells].sum()
    weight[np.abs(weight) < ZERO] = 0.0
    cohort, period = cohorts[group].astype(np.int64), sample.periods[time].astype(np.int64)
    times = {"cohort": cohort, "period": period, "event_time": period - cohort}
    details = {
        "coefficient": coefficient,
        "sigma_zero": sigma_zero(coefficient, weight, share),
        "sigma_opposite": sigma_opposite(coefficient, weight, share),
    }
    alike = not sample.question.covariates and bool(seen.all())
    frame = pd.DataFrame(times | {"share": share, "weight": weight})
    names = {int(t): sample.period_name(t) for t in np.union1d(cohort, sample.periods)}
    chart = partial(_weights_chart, names=names, unit=capital(sample.panel.period_unit))
    return Finding.of(_of_negative(sample.question, weight, alike, details), frame, chart, details=details)


def _of_negative(
    question: Question, weight: FloatArray, alike: bool, details: Mapping[str, Any]
) -> Iterator[str]:
    n, negative = len(weight), weight < 0
    coefficient, spread, opposite = details.values()
    if negative.any():
        yield (
            f"{negative.sum()} of the {n} weights of effects are negative and sum to {weight[negative].sum():.4g}; the "
            f"positive ones sum to {weight[~negative].sum():.4g}."
        )
    else:
        yield "No weight is negative, so effects of one sign give a coefficient of that sign."
    yield (
        f"The static two-way fixed effects coefficient of {question.outcome_in_words} is {coefficient:.4g}, under "
        f"parallel trends a weighted sum of the average effects in {n} treated cell{'s' * (n > 1)} of a cohort and a "
        "period."
    )
    if spread is None:
        yield (
            "All treated cells have the weight of their share, so the coefficient is their average effect however "
            "effects differ, and no spread of effects is compatible with another average."
        )
    else:
        yield (
            f"The average effect can be zero if the effects' standard deviation across cells is {spread:.4g} or more."
        )
    if opposite is not None:
        yield (
            f"The effects of all cells can have the opposite sign of the coefficient if their standard deviation is "
            f"{opposite:.4g} or more."
        )
    if not alike:
        yield (
            "Gaps or covariates give the units of a cell different weights; the cells' weights are exact for effects "
            "that do not differ between the units of a cell."
        )
    if question.scale == "proportional":
        yield "All numbers are in levels, which the proportional effect is made from."


def _weights_chart(frame: pd.DataFrame, ax: Axes | None, names: Mapping[int, str], unit: str) -> Figure:
    """Draw the weights by cohort and period, with a mark on the negative ones."""
    periods = range(frame["period"].min(), frame["period"].max() + 1)
    grid = frame.pivot(index="cohort", columns="period", values="weight").reindex(columns=periods)
    n_cohorts, negative = len(grid), frame[frame["weight"] < 0]
    with on_axes(ax, height=max(2.6, 1.3 + 0.2 * n_cohorts)) as (figure, axis):
        percent = 100 * grid.reset_index(drop=True)
        fewer = 28 // max(map(len, names.values()))  # letters that have room below the axis
        draw_heatmap(axis, percent, label="Weight, percent", ticks=min(6, fewer), signed=True)
        rows = grid.index.get_indexer(negative["cohort"])
        axis.plot(negative["period"], rows, "x", color="black", markersize=5, label="negative")
        axis.set_yticks(range(n_cohorts), [names[g] for g in grid.index])
        axis.xaxis.set_major_formatter(lambda period, _: names.get(int(period), ""))
        axis.set(xlabel=unit, ylabel="First treated")
        if ax is None:
            share = f"{len(negative)} of {len(frame)} cells, sum {negative['weight'].sum():.1%}"
            note = f"x: negative weight, {share}" if len(negative) else "No negative weight"
            figure.suptitle(note, fontsize=8, color=GREY)
    return figure


def sigma_zero(coefficient: float, weight: FloatArray, share: FloatArray) -> float | None:
    """Return the least standard deviation of effects across cells with which their average can be zero.

    Corollary 1 (i): |beta| / sqrt(sum_c share_c (w_c - 1)^2), with w_c = weight_c / share_c.

    Parameters
    ----------
    coefficient : float
        In the units that are returned.
    weight, share : ndarray, shape (C,)
        Each with sum one.

    Returns
    -------
    float or None
        None where weights equal shares: then the coefficient is the average.
    """
    spread = float(share @ (weight / share - 1) ** 2)
    return abs(coefficient) / spread**0.5 if spread > ZERO else None


def sigma_opposite(coefficient: float, weight: FloatArray, share: FloatArray) -> float | None:
    """Return the least standard deviation of effects across cells with which none has the coefficient's sign.

    Corollary 1 (ii): |beta| / sqrt(T_s + S_s^2 / (1 - P_s)). With cells in descending order of w = weight / share,
    P_i, S_i and T_i are the sums from the i-th on of share, share w and share w^2, and s is the first i with
    w_i < -S_i / (1 - P_i).

    Parameters and units are those of :func:`sigma_zero`.

    Returns
    -------
    float or None
        None where no weight is negative or the coefficient is zero: then there is nothing to contradict.
    """
    if coefficient == 0 or not np.any(weight < 0):
        return None
    ratio = weight / share
    order = np.argsort(-ratio, kind="stable")
    ratio, share = ratio[order], share[order]
    s, t = (np.cumsum((share * ratio**power)[::-1])[::-1] for power in (1, 2))
    rest = np.append(0.0, np.cumsum(share)[:-1])  # 1 - P
    first = int(np.argmax(ratio[1:] * rest[1:] < -s[1:])) + 1
    return abs(coefficient) / float(t[first] + s[first] ** 2 / rest[first]) ** 0.5


@diagnostic(
    title="Weights on other event times",
    question="Do coefficients of one event time carry effects of other event times?",
    section=Section.AGAINST,
    of_sums=True,
    designs=("event_study",),
)
def contamination_weights(sample: Sample, *, bin_at: int | None = None) -> Finding:
    """Return the weights of effects by cohort and event time in each coefficient of :func:`event_study`.

    A coefficient is the sum over all cells of weight times effect, also with gaps and unit weights, for effects
    that do not differ between the units of a cell. Over cohorts, weights add to one at the coefficient's own
    event time, to zero at those of other coefficients, and to minus one at the reference.

    Parameters
    ----------
    sample : Sample
        Without covariates, with an absorbing treatment.
    bin_at : int, optional
        As in event_study.

    Returns
    -------
    Finding
        The frame has a row a coefficient and cell: coefficient_time, ascending and without the reference; cohort and
        event_time of the cell, before and after treatment; own, whether it is one of the coefficient's own event time
        (or of its bin); weight, what the cell's effect is multiplied with. Details: ``coefficients``, a frame of
        coefficient_time, estimate (on the scale of ``sample.y``), from_other_effects, the sum of absolute weights on
        treated cells of other event times, and negative_own, that of the negative weights on cells of its own.

    Raises
    ------
    QuestionError
        If the event is not absorbing, the question has covariates, or event_study cannot answer it.

    References
    ----------
    Sun, L. and Abraham, S. (2021). Estimating dynamic treatment effects in event studies with heterogeneous
    treatment effects. Journal of Econometrics 225(2), Proposition 3 and equation (13).
    """
    if sample.question.covariates:
        raise QuestionError(
            "contamination_weights: there are no weights with covariates; ask the question without covariates."
        )
    refuse_no_coefficients("contamination_weights", sample, "event_study")
    fit = find_design("event_study")(sample, bin_at=bin_at)
    times, anticipation = fit.event_time[~fit.reference], sample.question.anticipation
    cohorts, groups = sample.groups
    event_time = sample.periods - cohorts[:, None]
    coefficient_time = event_time if bin_at is None else np.clip(event_time, -anticipation - bin_at, bin_at)
    indicators = (coefficient_time[:, :, None] == times).astype(float)
    data = sample.y, sample.weights, np.ones((sample.n_units, 1)), np.empty((*sample.y.shape, 0))
    with one_thread():
        sums = [Group.of(*data, members).least_squares(True) for members in groups]
        weight = cell_weights(indicators, np.stack([of_group.curvature for of_group in sums]))
    group, time = np.nonzero(np.stack([of_group.raw > 0 for of_group in sums]) & ~np.isnan(event_time))
    frame = pd.DataFrame(
        {
            "coefficient_time": np.repeat(times, len(group)).astype(np.int64),
            "cohort": np.tile(cohorts[group], len(times)).astype(np.int64),
            "event_time": np.tile(event_time[group, time], len(times)).astype(np.int64),
            "own": (indicators[group, time].T == 1).ravel(),
            "weight": weight[:, group, time].ravel(),
        }
    )
    others = ~frame["own"] & (frame["event_time"] >= -anticipation)
    parts = frame[["coefficient_time"]].assign(
        from_other_effects=frame["weight"].abs().where(others, 0.0),
        negative_own=frame["weight"].clip(upper=0).where(frame["own"], 0.0),
    )
    coefficients = parts.groupby("coefficient_time").sum().reset_index()
    coefficients.insert(1, "estimate", fit.effect_level[~fit.reference])
    chart = partial(_event_times_chart, anticipation=anticipation)
    sentences = _of_event_times(sample.question, coefficients)
    return Finding.of(sentences, frame, chart, details={"coefficients": coefficients})


def _of_event_times(question: Question, coefficients: pd.DataFrame) -> Iterator[str]:
    before = coefficients["coefficient_time"] < -question.anticipation
    for which, when in ((before, "before"), (~before, "after")):
        for most in coefficients[which].nlargest(1, "from_other_effects").itertuples():
            if most.from_other_effects <= SMALL:
                yield f"No coefficient {when} treatment carries effects at other event times after treatment."
                continue
            yield (
                f"Of the {which.sum()} coefficients {when} treatment, the one of event time {most.coefficient_time:g} "
                "carries most of the effects at other event times after treatment: its weights on them have the "
                f"absolute sum {most.from_other_effects:.3g}."
            )
    if coefficients["from_other_effects"][before].max() > SMALL:
        yield (
            "Where paths of effects differ between cohorts, coefficients before treatment can therefore differ from "
            "zero although trends are parallel."
        )
    yield (
        f"In {(coefficients['negative_own'] < -SMALL).sum()} of {len(coefficients)} coefficients some cohort's effect "
        "at the coefficient's own event time has a negative weight."
    )
    if question.scale == "proportional":
        yield "The weights are those of the coefficients in levels."


def _event_times_chart(frame: pd.DataFrame, ax: Axes | None, anticipation: int) -> Figure:
    """Draw the sum over cohorts of absolute weights on effects of other event times, by coefficient.

    Left out are the coefficients' own event time and the reference, which is no coefficient either.
    """
    others = frame[~frame["own"] & (frame["event_time"] != -1 - anticipation)]
    sums = others["weight"].abs().groupby([others["coefficient_time"], others["event_time"]]).sum().unstack()
    rows, times = (
        range(frame[name].min(), frame[name].max() + 1) for name in ("coefficient_time", "event_time")
    )
    border = -anticipation - 0.5
    with on_axes(ax, height=3.6) as (figure, axis):
        grid = sums.mask(sums <= SMALL, 0.0).reindex(index=rows, columns=times)
        draw_heatmap(axis, grid, label="Sum over cohorts of |weight|", ticks=8)
        axis.axvline(border, color="black", linewidth=0.8, linestyle=":")
        axis.axhline(border, color="black", linewidth=0.8, linestyle=":")
        axis.set(xlabel="Event time of the effect", ylabel="Event time of the coefficient")
        if ax is None:
            figure.suptitle("Grey: own event time and reference. Dotted: treatment starts.", fontsize=8)
    return figure


def cell_weights(indicators: FloatArray, curvature: FloatArray) -> FloatArray:
    """Return what each cell's effect is multiplied with in coefficients beside unit and period effects.

    With M_g the sum over the units of a group of w_i times what takes out unit means, the residual regressors
    are x* = x - A (A'MA)^- A'Mx, A the period effects, and the weights (x*'Mx*)^-1 x*'M.

    Parameters
    ----------
    indicators : ndarray, shape (G, T, K)
    curvature : ndarray, shape (G, T, T)

    Returns
    -------
    ndarray, shape (K, G, T)
    """
    by_cell = curvature @ indicators
    explained = np.linalg.pinv(curvature.sum(axis=0), hermitian=True) @ by_cell.sum(axis=0)
    residual = by_cell - curvature @ explained
    information = np.einsum("gtk,gtl->kl", indicators, residual)
    weights = np.linalg.solve(information, residual.reshape(-1, len(information)).T)
    return weights.reshape(-1, *curvature.shape[:2])
