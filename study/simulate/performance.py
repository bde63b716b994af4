"""How designs perform on simulated panels, each measure with its Monte-Carlo error, so that one is recommended.

The measures are those of Morris, White and Crowther (2019), and so are their standard errors, except that the error of
the truth, which is an average over the same panels, is part of those of bias and RMSE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from study.core import BoolArray, FloatArray, QuestionError, counted, first_of, listed, quantile, significant
from study.designs import all_designs, find_design
from study.diagnostics import Finding, titled
from study.estimates import POWER, SIZE
from study.figures import performance_figure
from study.panel import Panel, Question, Scale
from study.simulate.calibrate import calibrate, calibration
from study.simulate.process import NO_EFFECT, Process, checked_dials, effect_title
from study.simulate.replications import (
    Answer,
    Entrant,
    Replications,
    Task,
    block,
    is_slow,
    replicate,
    samples_of,
)

# Ends the name of the column with a measure's Monte-Carlo standard error.
ERROR = "_mc"
# The rule's constants, fixed before any tournament was run: how much coverage may be below nominal beside so many
# Monte-Carlo errors, and how often an interval has to be there.
TOLERANCE, ERRORS, ANSWERED = 0.02, 2.0, 0.95
# Estimates that are no further apart are equal.
ROUNDING = 1e-8
# Fewer panels than these say little of coverage.
FEW = 100


class Measure(NamedTuple):
    """A measure of D designs on R panels.

    Attributes
    ----------
    value : ndarray, shape (D,)
        NaN where no panel tells.
    parts : ndarray, shape (D, R)
        What each panel adds to the difference of the measure from its limit, to first order. Measures of designs and
        processes on the same panels are dependent, and so are their parts.
    """

    value: FloatArray
    parts: FloatArray

    @property
    def error(self) -> FloatArray:
        """Monte-Carlo standard errors, shape (D,)."""
        return np.where(np.isnan(self.value), np.nan, np.sqrt((self.parts**2).sum(axis=1)))

    def times(self, factor: float | FloatArray) -> Measure:
        """Return the measure in another unit."""
        factor = np.broadcast_to(factor, self.value.shape)
        return Measure(factor * self.value, factor[:, None] * self.parts)


def performance(replications: Mapping[str, Replications]) -> pd.DataFrame:
    """Return how each design performs on the panels of each process.

    Parameters
    ----------
    replications : mapping of str to Replications
        By process.

    Returns
    -------
    DataFrame
        A row a process and design, of R' panels that it was asked of. Effects and RMSE are on the question's scale, all
        else are shares. Columns:

        process, design, effect
            The last as the dial has it.
        truth
            The effect of the process: the mean of the panels' effects, or in proportion the ratio of the means of
            effects and of untreated outcomes.
        repetitions, without_answer, without_interval
            Panels: R', those without an estimate, and those with an estimate alone.
        bias, rmse
            Of the estimates.
        coverage, published_coverage
            Of intervals with default standard errors and with those of the design's reference implementation.
        centred_coverage, published_centred_coverage
            How often they have the mean estimate in them ("bias-eliminated coverage"), which judges errors alone.
        error_ratio
            Mean standard error over the standard deviation of the estimates.
        rejects
            How often the interval excludes zero: size where there is no effect, power elsewhere.
        mde, mde_by_error
            Effect that is found with 80% power, by the standard deviation of the estimates, or by the mean of what
            each estimate says could have been found (:attr:`study.estimates.Effect.mde`).
        pretest_rejects, wald_rejects
            How often the joint test of the leads rejects at 5%, by the largest t and by Wald's.
        passing, bias_after, coverage_after
            How many panels pass the first of these tests, and what estimates and intervals are on these.

        Each measure is followed by its Monte-Carlo standard error, with the ending ``_mc``.
    """
    frames = [_frame(name, run) for name, run in replications.items()]
    return pd.concat(frames, ignore_index=True)


def _frame(process: str, run: Replications) -> pd.DataFrame:
    known, measured = answers_of(run), measures(run)
    there = ~np.isnan(known["estimate"])
    columns = {"process": process, "design": run.labels, "effect": run.dials["effect"]}
    columns |= {"truth": truth_of(run)[0], "repetitions": run.ran}
    columns |= {"without_answer": run.ran - there.sum(axis=1)}
    columns |= {"without_interval": (there & np.isnan(known["low"])).sum(axis=1)}
    for name, measure in measured.items():
        if name == "bias_after":
            columns["passing"] = (known["p_largest"] > SIZE).sum(axis=1)
        columns |= {name: measure.value, name + ERROR: measure.error}
    return pd.DataFrame(columns)


def answers_of(run: Replications) -> dict[str, FloatArray]:
    """Return each field of the answers, shape (D, R), by its name."""
    return dict(zip(Answer._fields, np.moveaxis(run.answers, 2, 0), strict=True))


def measures(run: Replications) -> dict[str, Measure]:
    """Return the measures of one process by name, as :func:`performance` explains them."""
    known, (truth, of_truth) = answers_of(run), truth_of(run)
    estimate, p_largest = known["estimate"], known["p_largest"]
    default, published = (known["low"], known["high"]), (known["published_low"], known["published_high"])
    mean, spread = mean_of(estimate), deviation(estimate)
    passes = p_largest > SIZE
    return {
        "bias": bias(estimate, truth, of_truth),
        "rmse": rmse(estimate, truth, of_truth),
        "coverage": mean_of(covers(*default, truth)),
        "published_coverage": mean_of(covers(*published, truth)),
        "centred_coverage": mean_of(covers(*default, mean.value[:, None])),
        "published_centred_coverage": mean_of(covers(*published, mean.value[:, None])),
        "error_ratio": ratio(mean_of(known["std_error"]), spread),
        "rejects": mean_of(1 - covers(*default, 0.0)),
        "mde": spread.times(quantile((1 + run.level) / 2) + quantile(POWER)),
        "mde_by_error": mean_of(np.where(np.isfinite(known["mde"]), known["mde"], np.nan)),
        "pretest_rejects": mean_of(_rejects(p_largest)),
        "wald_rejects": mean_of(_rejects(known["p_wald"])),
        "bias_after": bias(np.where(passes, estimate, np.nan), truth, of_truth),
        "coverage_after": mean_of(np.where(passes, covers(*default, truth), np.nan)),
    }


def truth_of(run: Replications) -> tuple[float, FloatArray]:
    """Return the effect of the process, and what each panel adds to its Monte-Carlo error, shape (R,)."""
    effect, untreated = (mean_of(values[None]) for values in run.truths.T)
    known = ratio(effect, untreated) if run.scale == "proportional" else effect
    return float(known.value[0]), known.parts[0]


def mean_of(values: FloatArray) -> Measure:
    """Return means over panels of values, shape (D, R), NaN where there is none."""
    there = ~np.isnan(values)
    count = there.sum(axis=1)
    some = np.where(count > 0, count, np.nan)
    mean = np.nansum(values, axis=1) / some
    return Measure(mean, np.nan_to_num(np.where(there, values - mean[:, None], 0) / some[:, None]))


def ratio(first: Measure, second: Measure) -> Measure:
    """Return the ratio of two measures."""
    value = first.value / second.value
    parts = (first.parts - value[:, None] * second.parts) / second.value[:, None]
    return Measure(value, np.nan_to_num(parts))


def deviation(estimates: FloatArray) -> Measure:
    """Return standard deviations between panels of estimates, shape (D, R)."""
    count = (~np.isnan(estimates)).sum(axis=1)
    squares = mean_of((estimates - mean_of(estimates).value[:, None]) ** 2)
    variance = squares.times(count / np.where(count > 1, count - 1, np.nan))
    return _root(variance)


def bias(estimates: FloatArray, truth: float, of_truth: FloatArray) -> Measure:
    """Return mean errors of estimates, shape (D, R), about a truth with its own Monte-Carlo error, shape (R,)."""
    mean = mean_of(estimates)
    return Measure(mean.value - truth, mean.parts - of_truth)


def rmse(estimates: FloatArray, truth: float, of_truth: FloatArray) -> Measure:
    """Return root mean squared errors of estimates, as :func:`bias` takes them."""
    squares = mean_of((estimates - truth) ** 2)
    of_squares = squares.parts - 2 * np.outer(mean_of(estimates).value - truth, of_truth)
    return _root(Measure(squares.value, np.nan_to_num(of_squares)))


def covers(low: FloatArray, high: FloatArray, value: float | FloatArray) -> FloatArray:
    """Return whether intervals have a value in them, 1 or 0; NaN where there is no interval."""
    inside: BoolArray = (low <= value) & (value <= high)
    return np.where(np.isnan(low) | np.isnan(high), np.nan, inside)


def _rejects(p_values: FloatArray) -> FloatArray:
    """Return whether tests reject at 5%, NaN where there is none."""
    return np.where(np.isnan(p_values), np.nan, p_values <= SIZE)


def _root(measure: Measure) -> Measure:
    root = np.sqrt(measure.value)
    return Measure(root, np.nan_to_num(measure.parts / np.where(root > 0, 2 * root, np.nan)[:, None]))


class Recommendation(NamedTuple):
    """The design that is recommended, and how close the next one is.

    Attributes
    ----------
    design, runner_up : str or None
        None where no design is to be trusted, or only one.
    trusted : tuple of str
        Designs whose intervals cover, the smallest RMSE first.
    rmse, difference, error : float
        Its RMSE averaged over processes, how much larger that of the runner-up is, and the Monte-Carlo standard error
        of this difference.
    nearest : str
        The design whose lowest coverage over processes is highest.
    same : tuple of str
        Others that have its estimates on all panels, and are no runner-up.
    """

    design: str | None
    runner_up: str | None
    trusted: tuple[str, ...]
    rmse: float
    difference: float
    error: float
    nearest: str
    same: tuple[str, ...] = ()


def standing(frame: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Return where each design stands by the rule, those to be trusted first and then by RMSE.

    The rule. A design is to be trusted if in every process it gives an interval on 95% of its panels or more, and its
    coverage is not below nominal by more than two Monte-Carlo errors plus two points. Of these designs the one with the
    smallest RMSE, averaged over processes, is recommended; of none, the nearest is the one whose lowest coverage is
    highest.

    Parameters
    ----------
    frame : DataFrame
        As :func:`performance` returns it.
    level : float
        Nominal coverage.

    Returns
    -------
    DataFrame
        A row a design: trusted; covers, whether coverage is as the rule asks; answered, the lowest share of panels with
        an interval; rmse, and bias without its sign, averaged over processes, and rmse_mc, the average error, which
        that of the average cannot exceed; repetitions, the fewest; coverage, the lowest, with its error, and the
        process that has it as lowest_in.
    """
    without = frame["without_answer"] + frame["without_interval"]
    rows = frame.assign(
        covers=frame["coverage"] + ERRORS * frame["coverage_mc"] + TOLERANCE >= level,
        answered=1 - without / frame["repetitions"],
        bias=frame["bias"].abs(),
    )
    by_design = rows.groupby("design", sort=False)
    # No interval in any panel of a process is no coverage.
    lowest = rows.loc[rows["coverage"].fillna(-1.0).groupby(rows["design"], sort=False).idxmin()]
    columns = by_design[["covers", "answered", "repetitions"]].min()
    columns[["rmse", "rmse_mc", "bias"]] = by_design[["rmse", "rmse_mc", "bias"]].mean()
    columns.insert(0, "trusted", columns["covers"] & (columns["answered"] >= ANSWERED))
    of_lowest = lowest.set_index("design")[["coverage", "coverage_mc", "process"]]
    table = columns.join(of_lowest.rename(columns={"process": "lowest_in"}))
    # Designs that are algebraically equal stand as they were given, and not as their rounding has it.
    order = table["rmse"].map(significant)
    return table.iloc[np.lexsort([order, ~table["trusted"]])]


def recommendation(replications: Mapping[str, Replications], table: pd.DataFrame) -> Recommendation:
    """Recommend a design by the rule of :func:`standing`.

    Parameters
    ----------
    replications : mapping of str to Replications
        By process.
    table : DataFrame
        What :func:`standing` says of them.

    Returns
    -------
    Recommendation
        The error of the difference takes account of designs and processes having the same panels.
    """
    trusted = tuple(table.index[table["trusted"]])
    nearest = str(table["coverage"].fillna(-1.0).idxmax())
    if not trusted:
        return Recommendation(None, None, trusted, np.nan, np.nan, np.nan, nearest)
    best, *others = trusted
    smallest = float(table.loc[best, "rmse"])
    same = tuple(name for name in others if _equal(replications, best, name))
    different = [name for name in others if name not in same]
    if not different:
        return Recommendation(best, None, trusted, smallest, np.nan, np.nan, nearest, same)
    difference, error = _difference(replications, different[0], best)
    return Recommendation(best, different[0], trusted, smallest, difference, error, nearest, same)


def _equal(replications: Mapping[str, Replications], first: str, second: str) -> bool:
    """Return whether two designs have the same estimates, but for rounding."""
    pairs = (run.answers[_places(run, first, second), :, 0] for run in replications.values())
    return all(
        np.allclose(own, other, 0, ROUNDING * np.nanmax(np.abs([own, other]), initial=0), equal_nan=True)
        for own, other in pairs
    )


def _places(run: Replications, *designs: str) -> list[int]:
    return [run.labels.index(design) for design in designs]


def _difference(replications: Mapping[str, Replications], first: str, second: str) -> tuple[float, float]:
    """Return the difference of two designs' RMSE averaged over processes, with its Monte-Carlo error."""
    pairs = [(measures(run)["rmse"], _places(run, first, second)) for run in replications.values()]
    value = np.mean([each.value[a] - each.value[b] for each, (a, b) in pairs])
    # The same panels, by their seeds, are in all processes.
    parts: FloatArray = np.mean([each.parts[a] - each.parts[b] for each, (a, b) in pairs], axis=0)
    return float(value), float(np.sqrt(np.sum(parts**2)))


def findings_of(replications: Mapping[str, Replications], scale: Scale) -> Finding:
    """Return what a tournament finds: which design to use, how each performs, and a chart of both.

    Parameters
    ----------
    replications : mapping of str to Replications
        By process.
    scale : Scale
        Of the question.

    Returns
    -------
    Finding
        Its frame is that of :func:`performance`. Details: ``recommendation``, a :class:`Recommendation`; ``standing``,
        the frame of :func:`standing`; ``refused``, a frame of process, design, reason and panels.
    """
    frame, level = performance(replications), next(iter(replications.values())).level
    table = standing(frame, level)
    refused = [(name, *each) for name, run in replications.items() for each in run.refused]
    details = {
        "recommendation": recommendation(replications, table),
        "standing": table,
        "refused": pd.DataFrame(refused, columns=["process", "design", "reason", "panels"]),
    }
    return Finding.of(
        _sentences(replications, frame, scale, details),
        frame,
        partial(performance_figure, table=table, scale=scale, level=level),
        details=details,
    )


def _verdict(chosen: Recommendation, table: pd.DataFrame, scale: Scale) -> str:
    if chosen.design is None:
        lowest = table.loc[chosen.nearest]
        coverage = "never" if np.isnan(lowest["coverage"]) else f"{lowest['coverage']:.1%} of the time"
        return (
            "No design is to be trusted on panels like this one: intervals of each are missing or cover too seldom in "
            f"some process. The nearest is {chosen.nearest}, whose intervals cover {coverage} ({lowest['lowest_in']})."
        )
    size = f"{scale.text(chosen.rmse)} {scale.unit}"
    others = len(chosen.trusted) - len(chosen.same)
    same = f" (and {listed(chosen.same)}, with the same estimates)" if chosen.same else ""
    if chosen.runner_up is None:
        return (
            f"On panels like this one {chosen.design}{same} is the only one of {counted(len(table), 'design')} whose "
            f"intervals cover; its RMSE is {size}."
        )
    return (
        f"On panels like this one {chosen.design}{same} has the smallest RMSE ({size}) of the "
        f"{counted(others, 'design')} whose intervals cover."
    )


def runner_up_sentence(chosen: Recommendation, scale: Scale) -> str:
    """Say how much larger the RMSE of the runner-up is; nothing where there is none."""
    if chosen.runner_up is None:
        return ""
    close = "" if chosen.difference > ERRORS * chosen.error else ", which is no clear difference"
    return (
        f"The RMSE of the runner-up, {chosen.runner_up}, is {_points(chosen.difference, scale)} larger "
        f"(Monte-Carlo error {_points(chosen.error, scale)}){close}."
    )


def _sentences(
    replications: Mapping[str, Replications], frame: pd.DataFrame, scale: Scale, details: Mapping[str, Any]
) -> Iterator[str]:
    chosen, table, refused = (details[name] for name in ("recommendation", "standing", "refused"))
    level = next(iter(replications.values())).level
    yield _verdict(chosen, table, scale)
    if second := runner_up_sentence(chosen, scale):
        yield second
    few, low = table[table["answered"] < ANSWERED], table[~table["covers"] & table["coverage"].notna()]
    if len(low) and chosen.design is not None:
        lowest = low.loc[low["coverage"].idxmin()]
        which = "" if len(low) == 1 else f" for {lowest.name}"
        yield (
            f"Intervals of {first_of(map(str, low.index))} cover too seldom: {lowest['coverage']:.1%} of the time"
            f"{which} ({lowest['lowest_in']})."
        )
    if len(few):
        named = first_of(map(str, few.index))
        yield f"Without an interval on more than {1 - ANSWERED:.0%} of the panels of some process: {named}."
    best = frame[frame["design"] == (chosen.design or chosen.nearest)]
    yield from _power(best, scale, level)
    yield from _after_pretest(best, scale)
    yield from _conventions(replications, frame, level)
    panels = table.loc[list(chosen.trusted), "repetitions"].min()
    if panels < FEW:
        error = np.sqrt(level * (1 - level) / panels)
        yield (
            f"On {panels} panels a coverage of {100 * level:g}% has a Monte-Carlo error of {100 * error:.1f} points, "
            "so that intervals may cover too seldom without being noticed: simulate more panels."
        )
    fewer = table[table["repetitions"] < table["repetitions"].max()]
    if len(fewer):
        takes, were, their = ("takes", "was", "its") if len(fewer) == 1 else ("take", "were", "their")
        yield (
            f"{listed(map(str, fewer.index))}, which {takes} long, {were} asked of {fewer['repetitions'].min():,} "
            f"panels and not of {table['repetitions'].max():,}, so that {their} Monte-Carlo errors are larger."
        )
    for design, rows in refused.groupby("design", sort=False):
        panels, reason = counted(rows["panels"].sum(), "panel", ","), rows["reason"].iloc[0].rstrip(".")
        yield f"{design} has no answer on {panels}: {reason}."


def _power(best: pd.DataFrame, scale: Scale, level: float) -> Iterator[str]:
    """Say how often a design's test rejects without an effect, and what it finds."""
    name, none, some = best["design"].iloc[0], best[best["truth"] == 0], best[best["truth"] != 0]
    if len(none):
        worst = none.loc[none["rejects"].idxmax()] if none["rejects"].notna().any() else none.iloc[0]
        size = 100 * (1 - level)
        yield f"The {size:.3g}% test of {name} rejects in {worst['rejects']:.1%} of panels without an effect."
    if len(some):
        smallest = some["mde"].min(), some["mde"].max()
        yield (
            f"The effect that it finds with 80% power is {_range(smallest, scale)} {scale.unit}, by the spread of its "
            "estimates."
        )


def _after_pretest(best: pd.DataFrame, scale: Scale) -> Iterator[str]:
    tested = best[best["pretest_rejects"].notna() & (best["passing"] > 0)]
    if len(tested):
        row = tested.loc[tested["pretest_rejects"].idxmax()]
        yield (
            f"Its pre-test rejects in {row['pretest_rejects']:.1%} of panels ({row['process']}); on those that pass, "
            f"the bias is {scale.text(row['bias_after'])}, and on all {scale.text(row['bias'])}."
        )


def _conventions(
    replications: Mapping[str, Replications], frame: pd.DataFrame, level: float
) -> Iterator[str]:
    """Say with which standard errors intervals have the mean estimate in them nearer to nominal, over designs."""
    pair = ["centred_coverage", "published_centred_coverage"]
    both = frame.dropna(subset=pair)
    if both.empty:
        return
    off = (both[pair] - level).abs().groupby(both["design"], sort=False).mean()
    nearer = int((off[pair[0]] < off[pair[1]]).sum())
    default, published = both[pair].mean()
    # A design and process without one of them has no part in it.
    measured = [[each[name] for name in pair] for each in map(measures, replications.values())]
    parts = np.sum([~np.isnan(a.value + b.value) @ (a.parts - b.parts) for a, b in measured], axis=0)
    error = np.sqrt(np.sum(parts**2)) / len(both)
    if (off[pair[0]] != off[pair[1]]).any():
        yield (
            f"Leaving bias aside, intervals cover {default:.1%} with default standard errors and {published:.1%} with "
            f"those of the designs' references (Monte-Carlo error of the difference {100 * error:.2g} points)."
        )
        of_designs = f"{nearer} of {counted(len(off), 'design')}"
        yield f"The default standard errors are nearer to {100 * level:g}% for {of_designs}."


def _range(ends: Sequence[float], scale: Scale) -> str:
    low, high = map(scale.text, ends)
    return low if low == high else f"{low} to {high}"


def _points(value: float, scale: Scale) -> str:
    """Write a difference of effects: in percentage points where they are shares."""
    return f"{scale.factor * value:.2g} points" if scale.percent else scale.text(value)


EFFECTS = (0.0, 0.1, 0.2, 0.4)
# By how much fewer panels slow designs are asked of, where nobody says.
SLOW_SHARE = 10
# Panels on which a design that nobody named is tried before it takes part.
TRIED = 3
PARALLEL: dict[str, float] = {"factor": 0.0, "selection": 0.0}
EFFECT: dict[str, float] = {"effect": 0.2}
# Processes in which one assumption fails that a design's paper warns of, and those in which none does, by their dials.
VIOLATIONS: Mapping[str, Mapping[str, float]] = {
    "as calibrated": EFFECT,
    "trends parallel in levels": EFFECT | PARALLEL | {"size_growth": 0.0},
    "trends parallel in proportion": EFFECT | PARALLEL | {"size_growth": 1.0},
    "adopters' own trends": EFFECT | {"trends": 0.2},
    "anticipation": EFFECT | {"anticipation": 0.5},
    "heterogeneous, dynamic effects": EFFECT | {"heterogeneity": 1.0, "dynamics": 0.25, "early": 0.1},
    "linear confounding": EFFECT | {"linear": 0.2},
    "nonlinear confounding": EFFECT | {"nonlinear": 0.2},
    "spillovers": EFFECT | {"spillovers": 0.25},
    "hidden treatment": EFFECT | {"hidden": 0.1},
    "unfounded events": EFFECT | {"unfounded": 0.15},
    "reversal": EFFECT | {"reversal": 0.1},
}


@titled("Design tournament")
def tournament(
    panel: Panel,
    question: Question,
    designs: Sequence[str | Entrant] | None = None,
    *,
    dials: Mapping[str, float] | None = None,
    effects: Sequence[float] = EFFECTS,
    processes: Mapping[str, Mapping[str, float]] | None = None,
    neighbours: str | None = None,
    repetitions: int = 1000,
    slow_repetitions: int | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Finding:
    """Simulate panels like this one, and see which design would have found the truth on them.

    Panels are drawn from processes calibrated to the panel (:func:`study.calibrate`) whose effects are known; every
    design answers the question on every panel. Draws are the same for all designs and do not depend on the number of
    jobs. With a folder for its cache (``study.settings(cache=...)``) a tournament that was killed goes on where it was.

    Parameters
    ----------
    panel : Panel
    question : Question
    designs : sequence of str or Entrant, optional
        Those that take part; an :class:`~study.simulate.replications.Entrant` has options, and changes of the question
        such as covariates. By default all that can answer the question and are not slow.
    dials : mapping of str to float, optional
        What is other than calibrated, in all processes; see :data:`study.simulate.process.DIALS`.
    effects : sequence of float
        Of the processes, in shares of the counterfactual mean, or of the outcome's standard deviation where it is
        negative or no count.
    processes : mapping of str to mapping, optional
        The processes' names and dials, in place of one for each of ``effects``;
        :data:`study.simulate.performance.VIOLATIONS` has one for each assumption that designs make.
    neighbours : str, optional
        Attribute whose labels are the groups in which treatment spills over.
    repetitions, slow_repetitions : int
        Panels a process, and a tenth of it, at least 2, for slow designs, which learn, draw, or search for weights,
        factors or ranks, or which linearmodels fits.
    level : float
        Of the intervals.
    seed : int

    Returns
    -------
    Finding
        The verdict recommends a design; the frame has a row a process and design, as
        :func:`study.simulate.performance.performance` explains them. Details: ``calibration`` (a Finding),
        ``processes`` (dials by name), ``panels`` (by design, how many of each process it was asked of), ``left_out``
        (by design, why it does not take part), and those of :func:`study.simulate.performance.findings_of`.

    Raises
    ------
    QuestionError
        If an argument is not as above, the panel cannot be calibrated to, or a design that is named cannot answer;
        all before any panel is drawn.

    Examples
    --------
    >>> import study
    >>> panel = study.load_panel("cvpr")
    >>> question = study.Question("papers", "first_accelerator", scale="proportional")
    >>> finding = study.tournament(panel, question, ["twfe", "sun_abraham"], effects=[0, 0.2], repetitions=2)
    >>> list(finding["panels"].items())
    [('twfe', 2), ('sun_abraham', 2)]
    """
    for name, number in (("repetitions", repetitions), ("slow_repetitions", slow_repetitions)):
        if number is not None and number < 2:
            raise QuestionError(f"tournament: {name} is {number}; it must be a whole number, at least 2.")
    slow_repetitions = max(2, repetitions // SLOW_SHARE) if slow_repetitions is None else slow_repetitions
    of_processes = _dials(effects, processes, dials or {})
    entrants = None if designs is None else _entrants(designs)
    if entrants is not None:
        samples_of(question.sample(panel), entrants)
    calibrated = calibrate(panel, question, neighbours=neighbours, seed=seed)
    if processes is None and calibrated.family == "continuous":
        of_processes = {_in_deviations(each): each for each in of_processes.values()}
    drawn = {name: calibrated.turned(**given) for name, given in of_processes.items()}
    left_out: dict[str, str] = {}
    if entrants is None:
        entrants, left_out = able(calibrated, seed)
    of_calibration = calibration(calibrated, seed=seed)
    numbers = {"repetitions": repetitions, "slow_repetitions": slow_repetitions}
    replications = replicate(drawn, entrants, **numbers, seed=seed, level=level)
    finding = findings_of(replications, question.effect_scale)
    first = next(iter(replications.values()))
    details = {
        "calibration": of_calibration,
        "processes": {name: dict(process.dials) for name, process in drawn.items()},
        "panels": dict(zip(first.labels, first.ran.tolist(), strict=True)),
        "left_out": left_out,
    }
    remarks = [f"Not asked, since they cannot answer the question: {listed(left_out)}."] if left_out else []
    evidence = (*finding.evidence, *remarks, of_calibration.verdict)
    return replace(finding, evidence=evidence, details={**finding.details, **details})


def _dials(
    effects: Sequence[float], processes: Mapping[str, Mapping[str, float]] | None, shared: Mapping[str, float]
) -> dict[str, dict[str, float]]:
    """Return the dials of every process by its name, checked."""
    shared = checked_dials(shared, "tournament")
    if processes is None:
        if "effect" in shared:
            raise QuestionError("tournament: dial effect is set; name it in effects= instead.")
        processes = {effect_title(each): {"effect": each} for each in effects}
        if len(processes) < len(effects):
            raise QuestionError("tournament: effects has one effect twice; name each once.")
    if not processes:
        raise QuestionError("tournament: there is no process; name effects, or processes with their dials.")
    return {
        name: shared | checked_dials(given, f'tournament, process "{name}"')
        for name, given in processes.items()
    }


def _in_deviations(dials: Mapping[str, float]) -> str:
    return f"effect of {dials['effect']:g} standard deviations" if dials["effect"] else NO_EFFECT


def _entrants(designs: Sequence[str | Entrant]) -> list[Entrant]:
    """Return designs as entrants, each known and each under a label of its own."""
    if isinstance(designs, str | Entrant) or not len(designs):
        raise QuestionError(
            'tournament: designs is a list of names, such as ["twfe", "imputation"]; name some.'
        )
    entrants = [each if isinstance(each, Entrant) else Entrant(each, each) for each in designs]
    labels = [entrant.label for entrant in entrants]
    for entrant in entrants:
        find_design(entrant.design)
        if labels.count(entrant.label) > 1:
            raise QuestionError(
                f"tournament: {entrant.label} is in designs more than once; label each entrant."
            )
    return entrants


def able(process: Process, seed: int) -> tuple[list[Entrant], dict[str, str]]:
    """Return all designs but slow ones that answer on some of the first panels, and why others do not."""
    able, left_out = [], {}
    for entrant in (Entrant(name, name) for name in all_designs()):
        if is_slow(entrant):
            continue
        try:
            samples = samples_of(process.sample, [entrant])
        except QuestionError as refusal:
            left_out[entrant.label] = str(refusal)
            continue
        tried = block({"": process}, [entrant], {"": samples}, seed, 0.95, Task("", (0,), 0, TRIED))
        if np.isnan(tried.answers[:, :, 0]).all():
            left_out[entrant.label] = tried.reasons[0][1]
        else:
            able.append(entrant)
    if not able:
        raise QuestionError(f"tournament: no design can answer the question: {next(iter(left_out.values()))}")
    return able, left_out
