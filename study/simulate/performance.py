"""How designs perform on simulated panels: measures of their answers, each with its Monte-Carlo standard error.

The measures are those of Morris, White and Crowther (2019), and so are their standard errors, except that the error of
the truth, which is an average over the same panels, is part of those of bias and RMSE.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from study.core import BoolArray, FloatArray, quantile
from study.estimates import POWER, SIZE
from study.simulate.replications import Answer, Replications

# Ends the name of the column with a measure's Monte-Carlo standard error.
ERROR = "_mc"


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
            Of intervals under the default convention and that of the design's reference implementation.
        centred_coverage, published_centred_coverage
            How often they have the mean estimate in them ("bias-eliminated coverage"), which judges errors alone.
        error_ratio
            Mean standard error over the standard deviation of the estimates.
        rejects
            How often the interval excludes zero: size where there is no effect, power elsewhere.
        mde, mde_by_error
            Effect that is found with 80% power, by the standard deviation of the estimates, or by what the designs'
            intervals and standard errors say on average.
        pretest_rejects, wald_rejects
            How often the joint test of the leads rejects at 5%, by the largest t and by Wald's.
        passing, bias_after, coverage_after
            How many panels pass the first of these tests, and what estimates and intervals are on these.

        Each measure is followed by its Monte-Carlo standard error, with the ending ``_mc``.
    """
    frames = [_frame(name, one) for name, one in replications.items()]
    return pd.concat(frames, ignore_index=True)


def _frame(process: str, one: Replications) -> pd.DataFrame:
    known, measured = answers_of(one), measures(one)
    there = ~np.isnan(known["estimate"])
    columns = {"process": process, "design": one.labels, "effect": one.dials["effect"]}
    columns |= {"truth": truth_of(one)[0], "repetitions": one.ran}
    columns |= {"without_answer": one.ran - there.sum(axis=1)}
    columns |= {"without_interval": (there & np.isnan(known["low"])).sum(axis=1)}
    for name, measure in measured.items():
        if name == "bias_after":
            columns["passing"] = (known["p_largest"] > SIZE).sum(axis=1)
        columns |= {name: measure.value, name + ERROR: measure.error}
    return pd.DataFrame(columns)


def answers_of(one: Replications) -> dict[str, FloatArray]:
    """Return each field of the answers, shape (D, R), by its name."""
    return dict(zip(Answer._fields, np.moveaxis(one.answers, 2, 0), strict=True))


def measures(one: Replications) -> dict[str, Measure]:
    """Return the measures of one process by name, as :func:`performance` explains them."""
    known, (truth, of_truth) = answers_of(one), truth_of(one)
    estimate, p_largest = known["estimate"], known["p_largest"]
    default, published = (known["low"], known["high"]), (known["published_low"], known["published_high"])
    mean, spread = mean_of(estimate), deviation(estimate)
    # The quantile of the test is the intervals' own; an unbounded one says nothing.
    said = (known["high"] - known["low"]) / 2 + quantile(POWER) * known["std_error"]
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
        "mde": spread.times(quantile((1 + one.level) / 2) + quantile(POWER)),
        "mde_by_error": mean_of(np.where(np.isfinite(said), said, np.nan)),
        "pretest_rejects": mean_of(_rejects(p_largest)),
        "wald_rejects": mean_of(_rejects(known["p_wald"])),
        "bias_after": bias(np.where(passes, estimate, np.nan), truth, of_truth),
        "coverage_after": mean_of(np.where(passes, covers(*default, truth), np.nan)),
    }


def truth_of(one: Replications) -> tuple[float, FloatArray]:
    """Return the effect of the process, and what each panel adds to its Monte-Carlo error, shape (R,)."""
    effect, untreated = (mean_of(values[None]) for values in one.truths.T)
    known = ratio(effect, untreated) if one.scale == "proportional" else effect
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
