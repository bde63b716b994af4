"""A process calibrated to a panel and a question: the cells that are not yet treated, and the hazard of adoption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import gammaincinv, softmax

from study.core import (
    BoolArray,
    FloatArray,
    IntArray,
    QuestionError,
    checked,
    counted,
    listed,
    refuse_unknown,
)
from study.diagnostics import Finding, titled
from study.figures import Axes, Figure, dot_figure
from study.panel import Panel, Question, Sample
from study.simulate.process import Draw, Family, Process, log_size, recent_growth
from study.simulate.untreated_cells import TINY, Cells, fit, gamma_of

# Standard deviation of the prior of a log hazard ratio, for a standard deviation of what it is of: one adopter, or
# adopters that are larger than all others, leave a likelihood without a maximum.
PRIOR = 3.0
NEWTON_STEPS, CONVERGED, TURNED = 50, 1e-10, 0.1
# Of those treated, how many hold the share of the outcome that is a moment.
LARGEST = 10
# A targeted moment is met if simulated panels have it, on average, up to this share of it or up to as many standard
# deviations as one simulated panel has. Fixed before anything was calibrated.
SHARE, DEVIATIONS = 0.15, 3.0
# Simulated panels by which the hazard is made to find adopters as large as the real ones, and how often it is changed.
DRAWS, STEPS, NEAR = 30, 10, 0.01
FIRST_STEP, LARGEST_STEP = 0.5, 2.0
QUANTILES = 20
WHO = "calibrate"


class RiskSet(NamedTuple):
    """Those who may adopt in a period: what the hazard depends on, shape (n, p), and who does, shape (n,)."""

    x: FloatArray
    adopts: BoolArray


class Hazard(NamedTuple):
    """Log hazard ratios and their standard errors, shape (p,) each."""

    ratios: FloatArray
    std_errors: FloatArray


def adoption_hazard(risk_sets: Sequence[RiskSet], prior: float = PRIOR) -> Hazard:
    """Return the log hazard ratios that maximize the partial likelihood.

    With A_t the adopters of period t and R_t those at risk, ties as Breslow (1974) has them, it is

        sum_t sum_{i in A_t} [h'x_it - log sum_{j in R_t} exp(h'x_jt)] - sum_k (h_k sd_k / prior)^2 / 2

    where sd_k is the standard deviation of x_k within risk sets. The standard errors are of its second derivatives.

    Parameters
    ----------
    risk_sets : sequence of RiskSet
        One a period with adopters, of the same p columns. Values that are not observed (NaN) stand at the mean of
        their risk set.
    prior : float
        Standard deviation of the normal prior; infinite for none.
    """
    centred = [_centred(risk.x) for risk in risk_sets]
    variance = np.mean([x.var(axis=0) for x in centred], axis=0)
    ratios = np.zeros(len(variance))
    precision = np.diag(variance / prior**2)
    # What does not vary in any risk set has a ratio of zero.
    precision[variance <= 1e-12, variance <= 1e-12] = 1.0
    step, slope = np.zeros(len(variance)), 0.0
    for _ in range(NEWTON_STEPS):
        score, information = _derivatives(ratios + step, centred, risk_sets)
        score -= precision @ (ratios + step)
        # Concave, so that a step is too long where the slope along it has turned, but for what curvature leaves.
        if score @ step < -TURNED * slope:
            step, slope = step / 2, slope / 2
            continue
        ratios = ratios + step
        step = np.asarray(np.linalg.solve(information + precision, score))
        slope = float(score @ step)
        if np.abs(step).max() < CONVERGED:
            break
    return Hazard(ratios, np.sqrt(np.diag(np.linalg.inv(information + precision))))


def _centred(x: FloatArray) -> FloatArray:
    """Return columns less their means, zero where not observed, shape (n, p)."""
    seen = ~np.isnan(x)
    means = np.where(seen, x, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(seen, x - means, 0.0)


def _derivatives(
    ratios: FloatArray, centred: Sequence[FloatArray], risk_sets: Sequence[RiskSet]
) -> tuple[FloatArray, FloatArray]:
    """Return the gradient of the log partial likelihood, shape (p,), and its negative Hessian, shape (p, p)."""
    p = len(ratios)
    score, information = np.zeros(p), np.zeros((p, p))
    for x, risk in zip(centred, risk_sets, strict=True):
        share = softmax(x @ ratios)
        adopters = int(risk.adopts.sum())
        mean = share @ x
        score += x[risk.adopts].sum(axis=0) - adopters * mean
        information += adopters * ((x * share[:, None]).T @ x - np.outer(mean, mean))
    return score, information


class Moment(NamedTuple):
    """A value, NaN where the panel has none, and whether the calibration aims at it."""

    value: float
    targeted: bool


@dataclass(frozen=True, eq=False)
class Adoption:
    """When units are first treated, less the anticipation.

    Attributes
    ----------
    start : ndarray of int, shape (n,)
        Period counted from 0; the number of periods or more for those treated later, -1 for never.
    untreated : ndarray of bool, shape (n, T)
        Cells before it.
    """

    start: IntArray
    untreated: BoolArray

    @classmethod
    def of(cls, sample: Sample) -> Adoption:
        """Return who is treated when in a sample."""
        periods, shape = sample.periods, sample.y.shape
        if sample.first_treated is not None:
            since = sample.first_treated - periods[0] - sample.question.anticipation
            start = np.where(np.isnan(since), -1, np.nan_to_num(since))
            ends = np.where(start < 0, shape[1], start)
        else:
            assert sample.path is not None
            on = np.nan_to_num(sample.path, nan=1.0) != 0
            known = np.nan_to_num(sample.path) != 0
            # A cell is not known to be untreated from the first missing value of the path on.
            ends = np.where(on.any(axis=1), on.argmax(axis=1), shape[1])
            start = np.where(known.any(axis=1), known.argmax(axis=1), -1)
        return cls(start.astype(np.int64), np.arange(shape[1]) < ends[:, None])

    @property
    def in_window(self) -> IntArray:
        """Units that are treated in a period of the panel, after its first."""
        return np.flatnonzero((self.start > 0) & (self.start < self.untreated.shape[1]))


def moments(
    cells: Cells, adoption: Adoption, names: Sequence[str], spread: float, logs: bool
) -> dict[str, Moment]:
    """Return the moments of a panel by name.

    Parameters
    ----------
    cells : Cells
    adoption : Adoption
    names : sequence of str, length T
        What the periods are called.
    spread : float
        In which growth of a continuous outcome is measured.
    logs : bool
        Whether adopters are to be as large in logs, as the question is, or in levels.
    """
    by_name = {f"mean, {name}": Moment(mean, True) for name, mean in zip(names, cells.means, strict=True)}
    by_name["standard deviation"] = Moment(cells.spread, False)
    by_name |= _products(cells)
    if cells.family == "count":
        by_name["share of zeros"] = Moment(cells.zeros, True)
    by_name |= _within(cells) | _changes(cells) | _adopters(cells, adoption, spread, logs)
    for start, name in enumerate(names):
        if (number := int((adoption.start == start).sum())) > 0:
            by_name[f"treated from {name} on"] = Moment(float(number), False)
    return by_name


def _products(cells: Cells) -> dict[str, Moment]:
    """Return what the dials are fitted to: averages over pairs of periods of products over the product of means.

    Of a continuous outcome they are covariances, over the squared standard deviation.
    """
    name = "products over means" if cells.family == "count" else "covariance over variance"
    ratio = cells.ratios
    far, periods = cells.distance >= cells.distance.max() * 2 / 3, len(ratio)
    late = np.add.outer(np.arange(periods), np.arange(periods)) >= periods
    near = cells.distance <= 1
    parts = {
        "same period": cells.distance == 0,
        "adjacent": cells.distance == 1,
        "distant": far,
        "first half": near & ~late,
        "second half": near & late,
    }
    return {f"{name}, {part}": Moment(_mean(ratio[which]), True) for part, which in parts.items()}


def _mean(values: FloatArray) -> float:
    seen = values[np.isfinite(values)]
    return float(seen.mean()) if len(seen) else np.nan


def _within(cells: Cells) -> dict[str, Moment]:
    """Return how values depart from what a unit's total and the common path make of them, and for how long."""
    y = cells.values
    if cells.family == "count":
        path = np.nan_to_num(cells.means)
        total = cells.seen @ path
        level = y.sum(axis=1) / np.where(total > 0, total, 1.0)
        expected = cells.seen * path * level[:, None]
        residual = y - expected
        scaled = np.divide(residual, np.sqrt(expected), out=np.zeros_like(y), where=expected > 0)
        expected_sum = (cells.weights @ expected).sum()
        dispersion = (cells.weights @ residual**2).sum() / expected_sum if expected_sum > 0 else np.nan
        by_name = {"variance within units over mean": Moment(float(dispersion), False)}
    else:
        level = cells.away.sum(axis=1) / np.maximum(cells.seen.sum(axis=1), 1)
        scaled = cells.seen * (cells.away - level[:, None])
        variance = (cells.weights @ scaled**2).sum() / cells.shares.sum()
        by_name = {"standard deviation within units": Moment(float(np.sqrt(variance)), False)}
    for lag in dict.fromkeys((1, 2, y.shape[1] // 2)):
        lead, lagged = scaled[:, lag:], scaled[:, :-lag]
        both = cells.seen[:, lag:] * cells.seen[:, :-lag]
        size = np.sqrt((cells.weights @ (both * lead**2)).sum() * (cells.weights @ (both * lagged**2)).sum())
        value = (cells.weights @ (lead * lagged)).sum() / size if size > 0 else np.nan
        by_name[f"autocorrelation within, lag {lag}"] = Moment(float(value), False)
    return by_name


def _changes(cells: Cells) -> dict[str, Moment]:
    """Return variances of changes over one period, over half of them and over all; of counts on the log scale."""
    count = cells.family == "count"
    y, periods, by_name = np.log1p(cells.values) if count else cells.values, cells.y.shape[1], {}
    for lag in dict.fromkeys((1, periods // 2, periods - 1)):
        both = cells.shares[:, lag:] * cells.seen[:, :-lag]
        change, weight = y[:, lag:] - y[:, :-lag], both.sum(axis=0)
        mean = (both * change).sum(axis=0) / np.maximum(weight, 1e-300)
        variance = (both * (change - mean) ** 2).sum() / weight.sum() if weight.sum() > 0 else np.nan
        what = "log change" if count else "change"
        by_name[f"variance of {what}, {counted(lag, 'period')}"] = Moment(float(variance), False)
    return by_name


def _adopters(cells: Cells, adoption: Adoption, spread: float, logs: bool) -> dict[str, Moment]:
    """Return how large adopters are and how they grow before treatment, against all who are untreated then."""
    units = adoption.in_window
    before = adoption.start[units] - 1
    seen = cells.untreated[units, before]
    units, before = units[seen], before[seen]
    w, by_name = cells.weights[units], {}
    own, of_all = cells.values[units, before], cells.means[before]
    if cells.family == "count":
        ratio = float(w @ own / (w @ of_all)) if (w @ of_all) > 0 else np.nan
        by_name["adopters' mean over that of all"] = Moment(ratio, not logs)
        on_log = replace(cells, y=np.log1p(cells.y))
        away = on_log.values[units, before] - on_log.means[before]
        name = "adopters' log(1 + y) less that of all"
        by_name[name] = Moment(_average(away, w), logs)
        if own.sum() > 0 and len(own) > LARGEST:
            share = float(np.sort(own)[-LARGEST:].sum() / own.sum())
            by_name[f"share of the {LARGEST} largest adopters"] = Moment(share, False)
    else:
        name = "adopters' mean less that of all, in sd"
        by_name[name] = Moment(_average(own - of_all, w) / spread, True)
    by_name["adopters' growth less that of all"] = Moment(_adopters_growth(cells, adoption, spread), True)
    return by_name


def _average(values: FloatArray, weights: FloatArray) -> float:
    return float(np.average(values, weights=weights)) if len(values) else np.nan


def _adopters_growth(cells: Cells, adoption: Adoption, spread: float) -> float:
    """Return the recent growth of adopters before treatment less that of all who are untreated then, NaN for none."""
    y = np.where(cells.untreated, cells.y, np.nan)
    total = weight = 0.0
    for start in np.unique(adoption.start[adoption.in_window]):
        if start < 2:
            continue
        growth = recent_growth(y, int(start), cells.family, spread)
        known = ~np.isnan(growth)
        adopts = known & (adoption.start == start)
        if adopts.any():
            mean = np.average(growth[known], weights=cells.weights[known])
            total += float(cells.weights[adopts] @ (growth[adopts] - mean))
            weight += float(cells.weights[adopts].sum())
    return total / weight if weight else np.nan


@checked
def calibrate(panel: Panel, question: Question, *, neighbours: str | None = None, seed: int = 0) -> Process:
    """Fit a data-generating process to the untreated cells of a panel, for a question's event and outcome.

    Common growth, the distribution of units' sizes, and the dials ``size_growth``, ``shocks``, ``persistence``,
    ``factor`` and ``zeros`` are fitted to the cells before treatment, less the anticipation, and those of units that
    are never treated; ``selection`` is 1, other dials are neutral. Adoption is by a hazard in a unit's size and recent
    growth, fitted by partial likelihood and then moved until simulated adopters are as large before treatment as the
    real ones (in logs where the question is), and have grown as much: sizes are known with error.

    Parameters
    ----------
    panel : Panel
    question : Question
    neighbours : str, optional
        Attribute within whose labels treatment spills over; without it all units are neighbours.
    seed : int
        Of the simulated panels that the calibration is held to.

    Returns
    -------
    Process
        :func:`study.calibration` shows moments of the panel beside those of panels that it draws.

    Raises
    ------
    QuestionError
        If the question has an instrument or a group, the calibration is not identified, or simulated panels do not
        have a moment that it aims at: beyond 15% of it and three standard deviations of one simulated panel.
    """
    sample = _identified(panel, question)
    group = None if neighbours is None else _neighbours(sample, neighbours)
    cells = _cells(sample)
    fitted = fit(cells)
    size = fitted.sizes
    count = cells.family == "count"
    process = Process(
        sample=sample,
        family=cells.family,
        size=np.array(gamma_of(size) if count else (size.mean, np.sqrt(size.variance))),
        growth=fitted.growth,
        mean_size=fitted.mean_size,
        spread=cells.spread,
        hazard=np.zeros(2),
        dials=fitted.dials | {"selection": 1.0},
        neighbours=group,
    )
    process = replace(process, hazard=_hazard(process).ratios)
    process, simulated = _adopters_met(process, moments_of(process), seed)
    unmet = _unmet(_frame(moments_of(process), simulated))
    if len(unmet):
        row = unmet.iloc[0]
        raise QuestionError(
            f"{WHO}: {row['moment']}: {row['panel']:.3g} in {panel.name}, but {row['simulated']:.3g} in simulated "
            f"panels (standard deviation {row['spread']:.2g}); no process of this kind is like this panel."
        )
    return process


def _identified(panel: Panel, question: Question) -> Sample:
    """Return the sample, or refuse a question of which the calibration is not identified."""
    for name in ("instrument", "group"):
        if getattr(question, name) is not None:
            raise QuestionError(
                f"{WHO}: the question has the {name} {getattr(question, name)}, and no process has one; leave it out."
            )
    sample = question.sample(panel)
    adoption = Adoption.of(sample)
    seen = sample.observed & adoption.untreated
    where, outcome = f"{WHO}: of {panel.name}", question.outcome
    starts = adoption.start[(adoption.start >= 0) & (adoption.start < len(sample.periods))]
    if starts.max(initial=0) <= 1:
        raise QuestionError(
            f"{where}, all who are treated have at most one period before treatment, so how units grow without it is "
            "not identified; choose a longer window or another event."
        )
    if sample.first_treated is not None and not (sample.first_treated <= sample.periods[-1]).any():
        raise QuestionError(
            f"{where}, nobody is treated by {sample.period_name(sample.periods[-1])}, the last period, but for "
            "anticipation; choose a longer window or another event."
        )
    few = np.flatnonzero(sample.observed.any(axis=0) & (seen.sum(axis=0) < 2))
    if len(few):
        number, period = seen[:, few[0]].sum(), sample.period_name(sample.periods[few[0]])
        raise QuestionError(
            f"{where}, the untreated units that are observed in {period} are {number}, so how they grow without "
            "treatment is not identified; at least two are needed in each period."
        )
    values = sample.y[seen]
    if np.ptp(values) == 0:
        raise QuestionError(
            f"{where}, {outcome} is {values[0]:g} in every untreated cell; nothing varies, so there is nothing to "
            "calibrate; choose another outcome or a longer window."
        )
    return sample


def level_outcome(sample: Sample) -> FloatArray:
    """Return the outcome in its own units, shape (n, T)."""
    if sample.question.scale != "log1p":
        return sample.y
    y = np.expm1(sample.y)
    rounded = np.rint(y)
    return np.where(np.abs(y - rounded) <= 1e-12 * np.abs(y), rounded, y)


def _cells(sample: Sample) -> Cells:
    """Return what is fitted: counts where all values are whole and none is negative."""
    y = level_outcome(sample)
    seen = y[sample.observed]
    family: Family = "count" if (seen >= 0).all() and (seen == np.rint(seen)).all() else "continuous"
    return Cells(y, sample.observed & Adoption.of(sample).untreated, sample.weights, family)


def _neighbours(sample: Sample, name: str) -> IntArray:
    """Return the number of each unit's label, shape (n,); units without one have no neighbours."""
    refuse_unknown("attribute", name, sample.attributes, f"{WHO}: neighbours")
    labels = sample.attributes[name].astype(str)
    alone = np.char.add("\0", sample.unit_ids.astype(str))
    return np.unique(np.where(labels == "", alone, labels), return_inverse=True)[1].astype(np.int64)


def _hazard(process: Process) -> Hazard:
    """Fit the hazard of adoption by what is known of sizes, and by recent growth before treatment.

    Where treatment is assigned by cluster, those who adopt are clusters, by the means of their units.
    """
    size = _expected_log_size(process)
    size = (size - size.mean()) / (size.std() or 1.0)
    of, y = process.places.assigned, level_outcome(process.sample)
    start, risk_sets = Adoption.of(process.sample).start[np.unique(of, return_index=True)[1]], []
    for period in np.unique(start[start >= 0]):
        growth = recent_growth(y, int(period), process.family, process.spread)
        x = np.column_stack([_mean_by(of, size), _mean_by(of, growth)])
        at_risk = (start < 0) | (start >= period)
        risk_sets.append(RiskSet(x[at_risk], (start == period)[at_risk]))
    return adoption_hazard(risk_sets)


def _mean_by(of: IntArray, values: FloatArray) -> FloatArray:
    """Return the mean of the values that are known by group, NaN where none is."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.bincount(of, np.where(known, values, 0.0)) / np.bincount(of, known))


def _expected_log_size(process: Process) -> FloatArray:
    """Return the expectation of what adoption by size is about, over what is known of each unit's size, shape (n,)."""
    if process.family == "continuous":
        return process.size[0]
    shape, rate = process.size[:, :, None]
    quantiles = gammaincinv(shape, (np.arange(QUANTILES) + 0.5) / QUANTILES) / rate
    return np.asarray(log_size(quantiles, "count").mean(axis=1))


def moments_of(process: Process, draw: Draw | None = None) -> dict[str, Moment]:
    """Return the moments of a panel that a process draws, or of the panel that it is calibrated to."""
    sample = process.sample
    drawn = sample if draw is None else replace(sample, first_treated=draw.first_treated, path=draw.path)
    y = level_outcome(sample) if draw is None else draw.y
    adoption = Adoption.of(drawn)
    cells = Cells(y, ~np.isnan(y) & adoption.untreated, sample.weights, process.family)
    names = [sample.period_name(period) for period in sample.periods]
    return moments(cells, adoption, names, process.spread, sample.question.scale == "log1p")


def _simulated(process: Process, draws: int, seed: int) -> list[dict[str, Moment]]:
    streams = np.random.SeedSequence(seed).spawn(draws)
    return [moments_of(process, process.draw(np.random.default_rng(stream))) for stream in streams]


def _adopters_met(
    process: Process, panel: Mapping[str, Moment], seed: int
) -> tuple[Process, list[dict[str, Moment]]]:
    """Move the hazard until simulated adopters are as large, and have grown as much, as the real ones.

    By Broyden's method, with the same random numbers at each step; the nearest is returned with what it draws.
    """
    names = [name for name, moment in panel.items() if "adopters" in name and moment.targeted]
    aims = np.array([panel[name].value for name in names])
    aimed = np.isfinite(aims)

    def drawn(hazard: FloatArray) -> tuple[FloatArray, list[dict[str, Moment]]]:
        simulated = _simulated(replace(process, hazard=hazard), DRAWS, seed)
        values = np.array([[draw[name].value for name in names] for draw in simulated])
        misfit = np.zeros(len(names))
        for k in np.flatnonzero(aimed):
            known = values[np.isfinite(values[:, k]), k]
            if len(known):
                misfit[k] = (known.mean() - aims[k]) / max(abs(aims[k]), known.std(), TINY)
        return misfit, simulated

    hazard = process.hazard
    misfit, simulated = drawn(hazard)
    best = (float(np.abs(misfit).max()), hazard, simulated)
    slope = np.eye(2)
    for k in np.flatnonzero(aimed):
        slope[:, k] = (drawn(hazard + FIRST_STEP * np.eye(2)[k])[0] - misfit) / FIRST_STEP
    for _ in range(STEPS):
        if best[0] < NEAR:
            break
        step = np.clip(-np.linalg.lstsq(slope, misfit, rcond=1e-3)[0], -LARGEST_STEP, LARGEST_STEP)
        hazard, before = hazard + step, misfit
        misfit, simulated = drawn(hazard)
        slope = slope + np.outer(misfit - before - slope @ step, step) / max(step @ step, 1e-12)
        best = min(best, (float(np.abs(misfit).max()), hazard, simulated), key=lambda each: each[0])
    return replace(process, hazard=best[1]), best[2]


def _frame(panel: dict[str, Moment], simulated: Sequence[dict[str, Moment]]) -> pd.DataFrame:
    """Return the moments of a panel beside those simulated."""
    drawn = pd.DataFrame([{name: moment.value for name, moment in draw.items()} for draw in simulated])
    drawn = drawn.where(np.isfinite(drawn))
    frame = pd.DataFrame([*panel.values()], index=[*panel]).rename(columns={"value": "panel"})
    frame = frame.assign(simulated=drawn.mean(), mc_error=drawn.sem(), spread=drawn.std())
    known = frame[np.isfinite(frame["panel"]) & frame["simulated"].notna()].rename_axis("moment")
    return known.reset_index()[["moment", "panel", "simulated", "mc_error", "spread", "targeted"]]


def _unmet(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the targeted moments that simulated panels do not have, the furthest first."""
    tolerance = np.maximum(SHARE * frame["panel"].abs(), DEVIATIONS * frame["spread"].fillna(0.0))
    away = (frame["simulated"] - frame["panel"]).abs() / tolerance.where(tolerance > 0, np.inf)
    order = away[frame["targeted"] & (away > 1)].sort_values(ascending=False).index
    return frame.loc[order]


@titled("Calibration")
def calibration(process: Process, *, draws: int = 100, seed: int = 0) -> Finding:
    """Show moments of the panel that a process is calibrated to beside those of panels that it draws.

    All are of untreated cells, or of adopters in the period before treatment. Products of a unit's values in two
    periods, over the product of the means of both, are free of Poisson noise; a log change is one of log(1 + y).

    Parameters
    ----------
    process : Process
    draws, seed : int
        Of the simulated panels.

    Returns
    -------
    Finding
        The frame has a row a moment: moment, panel, simulated (mean over panels), mc_error (of that mean), spread
        (standard deviation of one panel), targeted (whether the calibration aims at it). Details: ``dials``;
        ``hazard`` and ``hazard_std_error``, the log hazard ratios as fitted by partial likelihood, before they are
        moved; ``moved``, the process's; ``unmet``, the targeted moments that simulated panels do not have.
    """
    frame = _frame(moments_of(process), _simulated(process, draws, seed))
    hazard, unmet = _hazard(process), list(_unmet(frame)["moment"])
    return Finding.of(
        _sentences(process, frame, hazard, unmet, draws),
        frame,
        _chart,
        details={
            "dials": dict(process.dials),
            "hazard": hazard.ratios,
            "hazard_std_error": hazard.std_errors,
            "moved": process.hazard,
            "unmet": unmet,
        },
    )


def _sentences(
    process: Process, frame: pd.DataFrame, hazard: Hazard, unmet: Sequence[str], draws: int
) -> Iterator[str]:
    targeted, panel = int(frame["targeted"].sum()), process.sample.panel.name
    missed = f": not {listed(unmet)}" if unmet else ""
    yield (
        f"Simulated panels have {targeted - len(unmet)} of the {targeted} moments of {panel} that the calibration aims "
        f"at, within {100 * SHARE:.0f}% or {DEVIATIONS:g} standard deviations of one panel{missed}."
    )
    others = frame[~frame["targeted"] & (frame["spread"] > 0)]
    beyond = others[(others["simulated"] - others["panel"]).abs() > DEVIATIONS * others["spread"]]
    yield (
        f"Of {len(others)} moments that it does not aim at, {len(others) - len(beyond)} are within {DEVIATIONS:g} "
        f"standard deviations{': not ' + listed(beyond['moment']) if len(beyond) else ''}."
    )
    turned = {name: value for name, value in process.turned_dials.items() if name != "selection"}
    if turned:
        yield f"Dials: {', '.join(f'{name} {value:.2f}' for name, value in turned.items())}."
    size = "log size" if process.family == "count" else "size"
    (a, b), (c, d), (e, f) = hazard.ratios, hazard.std_errors, process.hazard
    yield (
        f"The log hazard ratio of adoption is {a:.2f} (standard error {c:.2f}) for a standard deviation of {size}, and "
        f"{b:.2f} ({d:.2f}) for recent growth; {e:.2f} and {f:.2f} make simulated adopters like the real ones."
    )
    yield f"Means of {draws} simulated panels; moments are of cells that are not yet treated."


def _chart(frame: pd.DataFrame, ax: Axes | None) -> Figure:
    """Draw what simulated panels have over what the panel has, with intervals of one simulated panel."""
    shown = frame[(frame["panel"] != 0) & (frame["spread"] > 0)]
    half = 1.96 * shown["spread"]
    rows = pd.DataFrame({"label": shown["moment"]})
    for name, value in (("estimate", 0.0), ("conf_low", -half), ("conf_high", half)):
        rows[name] = (shown["simulated"] + value) / shown["panel"]
    return dot_figure(
        rows,
        ax,
        xlabel="Simulated over the panel's",
        null=1.0,
        marked=list(~shown["targeted"]),
        names=("targeted", "not targeted"),
    )
