"""Joint tests that effects before treatment are zero, and their power and what passing them does: Roth (2022)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from study.core import FloatArray, QuestionError, listed, p_is, quantile, t_quantile
from study.diagnostics import Finding, Needs, Section, at_each, diagnostic, dots
from study.diagnostics.event_path import EventPath, event_path, of_one_mean
from study.estimates import SIZE, Estimate, effects, effects_frame, pre_test
from study.figures import COLOUR, GREY, SECOND, THIRD, Axes, Figure, beside, draw_intervals, on_axes, since
from study.panel import Question

# By number of directions of the product Gauss rule: its nodes in each, and the least conditional standard deviation
# (of variables with variance one) at which they leave an error below 1e-6. Elsewhere, so many points of a lattice.
GAUSS = ((1, 0.0), (80, 0.07), (60, 0.1), (40, 0.2), (20, 0.3))
LATTICE = 50_000
FAR = 8.5
RARE = 1e-6  # share of samples that pass, below which no mean over them is computed
WHO = "pretrends"


def box_probability(
    low: FloatArray, high: FloatArray, mean: FloatArray, covariance: FloatArray, seed: int = 0
) -> float:
    """Return P(low <= X <= high) for X normal.

    Each variable is conditioned on those before it, and the last is integrated in closed form (Genz 1992). The
    others are integrated by a product Gauss rule for K up to 5, unless a variable is almost explained by those
    before it: the error is below 1e-6, and mostly 1e-12. Else they are integrated after
    Genz's transformation to the unit cube, by a lattice, with an error of about 1e-5.

    Parameters
    ----------
    low, high, mean : ndarray, shape (K,)
    covariance : ndarray, shape (K, K)
        Positive definite.
    seed : int
        Moves the lattice; the Gauss rule draws nothing.

    References
    ----------
    Genz, A. (1992). Numerical computation of multivariate normal probabilities. Journal of Computational and
    Graphical Statistics 1(2).
    """
    if not len(low):
        return 1.0
    spread = np.sqrt(np.diag(covariance))
    low, high = (low - mean) / spread, (high - mean) / spread
    order = np.argsort(_between(low, high), kind="stable")  # the least likely first: the rest varies less
    lower = np.linalg.cholesky((covariance / np.outer(spread, spread))[np.ix_(order, order)])
    if len(low) <= len(GAUSS) and lower.diagonal().min() >= GAUSS[len(low) - 1][1]:
        return _by_gauss(low[order], high[order], lower)
    return _by_lattice(low[order], high[order], lower, seed)


def _by_gauss(low: FloatArray, high: FloatArray, lower: FloatArray) -> float:
    """Integrate a standardised box direction by direction; lower is the Cholesky factor of the correlation."""
    nodes, weights = np.polynomial.legendre.leggauss(GAUSS[len(low) - 1][0])
    drawn, product = np.empty((0, 1)), np.ones(1)
    for _ in range(len(low) - 1):
        start, end = (np.clip(edge, -FAR, FAR) for edge in _limits(low, high, lower, drawn))
        values = start + np.outer((nodes + 1) / 2, end - start)
        density = np.exp(-(values**2) / 2) / np.sqrt(2 * np.pi)
        product = (np.outer(weights / 2, product * (end - start)) * density).ravel()
        drawn = np.vstack([np.tile(drawn, len(nodes)), values.ravel()])
    return float(product @ _between(*_limits(low, high, lower, drawn)))


def _by_lattice(low: FloatArray, high: FloatArray, lower: FloatArray, seed: int) -> float:
    """Average a standardised box's conditional probabilities over the points of a lattice."""
    dimensions, drawn, product = len(low) - 1, np.empty((0, LATTICE)), np.ones(LATTICE)
    # Richtmyer's lattice in the unit cube, moved at random and folded; the n-th prime is at most n^2 + 1.
    primes = [k for k in range(2, dimensions**2 + 2) if all(k % d for d in range(2, k))][:dimensions]
    steps = np.sqrt(np.array(primes, dtype=float))[:, None] * np.arange(1, LATTICE + 1)
    shift = np.random.default_rng(seed).random(dimensions)
    for points in np.abs(2 * ((steps + shift[:, None]) % 1) - 1):
        start, end = _limits(low, high, lower, drawn)
        width = _between(start, end)
        product *= width
        values = special.ndtri(special.ndtr(start) + points * width)
        drawn = np.vstack([drawn, np.clip(values, np.maximum(start, -FAR), np.minimum(end, FAR))])
    return float(np.mean(product * _between(*_limits(low, high, lower, drawn))))


def _limits(
    low: FloatArray, high: FloatArray, lower: FloatArray, drawn: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the limits of the next variable given those drawn, shape (k, m), in its conditional units."""
    k = len(drawn)
    shift, scale = lower[k, :k] @ drawn, lower[k, k]
    return (low[k] - shift) / scale, (high[k] - shift) / scale


def _between(start: FloatArray, end: FloatArray) -> FloatArray:
    """Return standard normal probabilities of intervals, with all digits in the upper tail too."""
    upper = start > 0
    return np.asarray(special.ndtr(np.where(upper, -start, end)) - special.ndtr(np.where(upper, -end, start)))


def box_pull(low: FloatArray, high: FloatArray, mean: FloatArray, covariance: FloatArray) -> FloatArray:
    """Return v with E[X | low <= X <= high] = mean + covariance @ v, shape (K,).

    v_k = (f_k(low_k) - f_k(high_k)) / P, where f_k is the density of X_k times the probability that the others
    are in the box given X_k, and P the box's probability (Tallis 1961; Kan and Robotti 2017). As other variables
    depend on X linearly, E[Y | X in the box] = E[Y] + Cov(Y, X) @ v for Y jointly normal with X.

    Raises
    ------
    ValueError
        If the box has a probability below 1e-100.

    References
    ----------
    Tallis, G. M. (1961). The moment generating function of the truncated multi-normal distribution. Journal of
    the Royal Statistical Society B 23(1).
    """
    total = box_probability(low, high, mean, covariance)
    if total < 1e-100:
        raise ValueError("box_pull: the box has no probability, so no mean inside it can be computed")
    pull = np.empty(len(low))
    for k in range(len(low)):
        others = np.arange(len(low)) != k
        variance, slope = covariance[k, k], covariance[others, k] / covariance[k, k]
        given = covariance[np.ix_(others, others)] - np.outer(slope, covariance[k, others])
        parts = []
        for off in (low[k] - mean[k], high[k] - mean[k]):
            density = np.exp(-(off**2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
            of_rest = box_probability(low[others], high[others], mean[others] + slope * off, given)
            parts.append(density * of_rest)
        pull[k] = (parts[0] - parts[1]) / total
    return pull


@diagnostic(
    title="Pre-trend test and its power (Roth)",
    question="Is any effect before the event significant, and which pre-existing trends would the test not detect?",
    section=Section.AGAINST,
    of_sums=True,
    needs=(Needs.PATH,),
    reference="roth2022",
    shown=3,
)
def pretrends(
    fit: Estimate,
    *,
    slope: float | None = None,
    violation: Mapping[float, float] | Sequence[float] | FloatArray | None = None,
    power: float | Sequence[float] = (0.5, 0.8),
    before: int | None = None,
    after: int | None = None,
    level: float = 0.95,
) -> Finding:
    """Return the power of the test for pre-trends, and the bias among estimates that pass it.

    The test rejects if any coefficient before treatment is significant by its own t test, as one reads an event-study
    figure. Its power is that of normal coefficients with their covariance by the estimate's ``vcov``, for t
    statistics that are put on the normal scale by their p-values. The Wald test alone takes the covariance as
    estimated, with the degrees of freedom that :meth:`study.Estimate.test` has. With few clusters on a side the t tests
    have less power than that and find larger trends only.

    Parameters
    ----------
    fit : Estimate
        With effects by event time and a universal base.
    slope : float, optional
        Of a linear violation of parallel trends, in the effects' unit a period: at event time e it amounts to
        slope x (e - reference). By default the slope that the test detects with the first power of ``power``,
        with the sign of the mean effect after treatment.
    violation : mapping of event time to value, or array of shape (K,), optional
        Any other violation; its values for all event times used but the reference, where it is zero.
    power : float or sequence of float
        For which to find the slopes of linear trends.
    before, after : int, optional
        Number of event times before the reference (by default at most as many as after it), and the last one
        (by default the question's horizon).
    level : float
        One less the size of each t test.

    Returns
    -------
    Finding
        The frame has a row a coefficient, but for the reference, which is zero by normalisation: event_time, estimate,
        std_error, violation (the difference in trends, which is the coefficient's bias), unless fewer than one
        estimate in a million passes, after_passing (the expected coefficient if there is no effect, over estimates
        that pass the test), and conf_low and conf_high, of the t test. Details: ``reference``, the event time;
        ``rejected``, which coefficients before treatment are significant by it, shape (n_pre,); ``slopes``, by power,
        of the linear trends that the test detects with it;
        ``slope`` of the violation, None where it is given by event time; ``pretest``, what the test does under the
        violation; ``left_out``, which event times are left out and why.

    Raises
    ------
    QuestionError
        If the estimate has no coefficients before treatment, another base than the universal one, one cluster
        or a singular covariance; if a power is not above the test's size; or if the violation does not fit.

    References
    ----------
    Roth, J. (2022). Pretest with caution: event-study estimates after testing for parallel trends. American
    Economic Review: Insights 4(3).
    """
    powers = tuple(np.atleast_1d(np.asarray(power, dtype=float)).tolist())
    if not powers:
        raise QuestionError(f"{WHO}: power is empty; give at least one number between 0 and 1.")
    if slope is not None and violation is not None:
        raise QuestionError(f"{WHO}: slope and violation are both given; give one of them.")
    path = event_path(fit, WHO, before=before, after=after)
    n_pre, times, std_error = path.n_pre, path.event_time, np.sqrt(np.diag(path.covariance))
    critical = quantile((1 + level) / 2)
    slopes = detectable_slopes(path, powers, critical)
    if violation is not None:
        hypothesised = _violation(violation, path)
    else:
        sign = 1.0 if path.effect[n_pre:].mean() >= 0 else -1.0
        slope = sign * slopes[powers[0]] if slope is None else float(slope)
        hypothesised = slope * (times - path.reference)
    frame = pd.DataFrame(
        {"event_time": times, "estimate": path.effect, "std_error": std_error, "violation": hypothesised}
    )
    every = fit.by_event_time
    degrees = every.test(np.isin(every.event_time, times[:n_pre])).degrees
    test = pretest(path, hypothesised, critical, degrees)
    if 1 - test.power >= RARE:
        frame["after_passing"] = mean_after_passing(path, hypothesised, critical)
    half = t_quantile((1 + level) / 2, path.degrees) * std_error
    frame = frame.assign(conf_low=path.effect - half, conf_high=path.effect + half)
    rejected = (np.abs(path.effect) > half)[:n_pre]
    question = fit.sample.question
    label = (
        "violation" if slope is None else f"violation, {question.effect_scale.factor * slope:.3g} a period"
    )
    several = f"any of the event times {times[0]:g} to {times[n_pre - 1]:g}"
    which = f"at {several if n_pre > 1 else f'event time {times[0]:g}'}"
    answer = "does not pass the pre-trend test" if rejected.any() else "passes the pre-trend test"
    details = {"reference": path.reference, "rejected": rejected}
    details |= {"slopes": slopes, "slope": slope, "pretest": test, "left_out": path.left_out}
    verdict = (
        f"The estimate {answer}: {rejected.sum()} of {n_pre} effects before the event "
        f"{'is' if rejected.sum() == 1 else 'are'} significant at {1 - level:.2g} alone."
    )
    rule = f"The test rejects parallel trends before treatment if the effect {which} is significant"
    rule += "; what is expected after passing does not describe this estimate." if rejected.any() else "."
    return Finding.of(
        [path.qualified(verdict), rule, *_evidence(path, frame, question, details), *of_one_mean(question)],
        frame,
        partial(
            _chart, question=question, level=level, label=label, xlabel=since(fit.sample.panel.period_unit)
        ),
        against=bool(rejected.any()),
        objection=f"{rejected.sum()} of {n_pre} effects before treatment significant on their own at "
        f"{100 * (1 - level):.2g}%",
        details=details,
    )


def _evidence(
    path: EventPath, frame: pd.DataFrame, question: Question, details: Mapping[str, Any]
) -> Iterator[str]:
    times, last, slope, test = path.event_time, path.effect[-1], details["slope"], details["pretest"]
    scale = question.effect_scale

    def amount(value: float) -> str:
        """Write an effect with its unit."""
        return f"{scale.factor * value:.3g}{'' if scale.percent else ' '}{scale.column}"

    for power, detected in details["slopes"].items():
        by_last = detected * (times[-1] - path.reference)
        share = f", {abs(by_last / last):.0%} of the effect estimated there" if last else ""
        yield (
            f"A linear trend of {amount(detected)} a period, up or down, would pass this test in {1 - power:.0%} of "
            f"samples; by event time {times[-1]:g} it would amount to {amount(by_last)}{share} ({amount(last)})."
        )
    trend = "the hypothesised violation" if slope is None else f"a linear trend of {amount(slope)} a period"
    mean, passing, wald = frame[path.n_pre :].mean(), "", f" with {test.wald_power:.2f}"
    if np.isnan(test.wald_power):
        wald = ", for which clusters are too few, never"
    rare = " Fewer than one sample in a million would pass the test, so no mean after passing is computed."
    if "after_passing" in frame:
        passing, rare = f", and of {amount(mean['after_passing'])} in samples that pass the test", ""
    yield from (
        f"Under {trend} the test would reject with probability {test.power:.2f}, and the joint Wald test of the same "
        f"coefficients{wald}; under parallel trends the test rejects with {test.size:.2f}.",
        f"To pass the test is {_times(test.bayes_factor)} as likely under that violation as under parallel trends, and "
        f"the coefficients estimated before treatment are {_times(test.likelihood_ratio)} as likely.",
        f"The violation alone would give the coefficients at event times {times[path.n_pre]:g} to {times[-1]:g} a mean "
        f"of {amount(mean['violation'])}{passing}; the mean estimate is {amount(mean['estimate'])}.{rare}",
    )


def _chart(
    frame: pd.DataFrame, ax: Axes | None, question: Question, level: float, label: str, xlabel: str
) -> Figure:
    """Draw the estimates, the violation, and what it would make of estimates that pass the test."""
    from matplotlib.ticker import MaxNLocator

    shown = question.effect_scale.factor * frame.set_index("event_time")
    reference = question.reference
    with on_axes(ax, height=3.3, legend=2, size=8) as (figure, axis):
        axis.axhline(0, color=GREY, linewidth=0.8)
        axis.axvline(reference + 0.5, color=GREY, linewidth=0.8, linestyle=":")
        ends, words = [shown["conf_low"], shown["conf_high"]], f"estimate, {100 * level:g}% interval"
        draw_intervals(axis, shown["estimate"], shown.index, ends, upright=True, linewidth=1.1, label=words)
        shown.loc[reference] = 0.0
        for column, words, look, colour, width in (
            ("violation", label, "--", SECOND, 1.2),
            ("after_passing", "expected after passing, no effect", "-^", THIRD, 0.9),
        ):
            if column in shown:
                path = shown[column].sort_index()
                axis.plot(path.index, path, look, color=colour, linewidth=width, markersize=4, label=words)
        axis.plot(reference, 0, "o", markersize=4, mfc="white", mec=COLOUR)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel(xlabel)
        axis.set_ylabel(beside(question.effect_scale.axis()))
    return figure


def _violation(given: Mapping[float, float] | Sequence[float] | FloatArray, path: EventPath) -> FloatArray:
    """Return the violation in the order of the path's event times."""
    used = ", ".join(f"{e:g}" for e in path.event_time)
    if isinstance(given, Mapping):
        values = {float(e): v for e, v in given.items()}
        if values.pop(float(path.reference), 0.0) != 0:
            raise QuestionError(f"{WHO}: violation is zero at the reference {path.reference} by definition.")
        odd = sorted(set(values) ^ set(path.event_time.tolist()))
        if odd:
            which = "has no value for" if odd[0] in path.event_time else "has a value for the unknown"
            raise QuestionError(f"{WHO}: violation {which} event time {odd[0]:g}; give it for {used}.")
        given = [values[e] for e in path.event_time.tolist()]
    array: FloatArray = np.asarray(given, dtype=float)
    if array.shape != path.event_time.shape:
        raise QuestionError(
            f"{WHO}: violation has shape {array.shape}; give {len(path.event_time)} values, for event times {used}."
        )
    if not np.isfinite(array).all():
        raise QuestionError(f"{WHO}: violation has a value that is not a finite number.")
    return array


def _times(ratio: float) -> str:
    """Return a ratio in words."""
    if not 1e-6 <= ratio <= 1e6:
        return f"{'less than a millionth' if ratio < 1 else 'more than a million'} times"
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


class Pretest(NamedTuple):
    """What the test of the coefficients before treatment does under a violation of parallel trends.

    Attributes
    ----------
    power, size : float
        Probability that any |t| exceeds the critical value, under the violation and under parallel trends.
    wald_power : float
        Probability that the joint Wald test of the same coefficients rejects, under the violation; NaN where the
        clusters leave no test.
    bayes_factor : float
        Probability of passing under the violation over that under parallel trends.
    likelihood_ratio : float
        Likelihood of the estimated coefficients under the violation over that under parallel trends.
    """

    power: float
    size: float
    wald_power: float
    bayes_factor: float
    likelihood_ratio: float


def rejection_probability(violation: FloatArray, covariance: FloatArray, critical: float) -> float:
    """Return the probability that any |t| exceeds the critical value, for coefficients with these means."""
    edge = critical * np.sqrt(np.diag(covariance))
    return 1 - box_probability(-edge, edge, violation, covariance)


def wald_rejection_probability(
    violation: FloatArray, covariance: FloatArray, level: float, degrees: float = np.inf
) -> float:
    """Return the probability that the joint Wald test rejects, NaN where the degrees of freedom leave no test.

    It is from the non-central chi-squared distribution, or with degrees of freedom nu of the covariance from that of F.
    Then the inverse of the covariance is nu / (nu - K - 1) times too large on average.
    """
    rank, left = len(violation), degrees - len(violation) + 1
    noncentrality = float(violation @ np.linalg.solve(covariance, violation))
    if np.isinf(degrees):
        return float(1 - special.chndtr(special.chdtri(rank, 1 - level), rank, noncentrality))
    if left <= 0:
        return np.nan
    noncentrality *= max(left - 2, 0.0) / degrees
    return float(1 - special.ncfdtr(rank, left, noncentrality, special.fdtri(rank, left, level)))


def detectable_slopes(path: EventPath, powers: Sequence[float], critical: float) -> dict[float, float]:
    """Return, by power, the slope of the linear trend that the test detects with it.

    The probability that a normal variable lies in a box around zero falls as its mean moves away along a line
    (Anderson 1955), so there is one such slope; the sign does not matter.

    Raises
    ------
    QuestionError
        If a power is not above the test's size and below one.
    """
    from scipy.optimize import brentq

    direction = path.event_time[: path.n_pre] - path.reference
    covariance = path.covariance[: path.n_pre, : path.n_pre]
    unit = float(np.min(np.sqrt(np.diag(covariance)) / np.abs(direction)))

    def power_at(multiple: float) -> float:
        return rejection_probability(multiple * unit * direction, covariance, critical)

    size, slopes = power_at(0.0), {}
    for power in powers:
        if not size < power < 1:
            raise QuestionError(
                f"{WHO}: power {power:g} is not above {size:.3f}, the probability that the {path.n_pre} t tests "
                "reject under parallel trends, and below 1."
            )
        most = critical + quantile(power) + 1.0  # one coefficient alone has the power by then
        slopes[power] = unit * float(brentq(lambda x, p=power: power_at(x) - p, 0.0, most, xtol=1e-10))
    return slopes


def pretest(path: EventPath, violation: FloatArray, critical: float, degrees: float = np.inf) -> Pretest:
    """Return what the test does under a violation, shape (K,); ``degrees`` of freedom are of the covariance."""
    n = path.n_pre
    covariance, mean = path.covariance[:n, :n], violation[:n]
    power = rejection_probability(mean, covariance, critical)
    size = rejection_probability(np.zeros(n), covariance, critical)
    level = 1 - 2 * float(special.ndtr(-critical))
    wald_power = wald_rejection_probability(mean, covariance, level, degrees)
    log_ratio = float(np.linalg.solve(covariance, mean) @ (path.effect[:n] - mean / 2))
    likelihood_ratio = float(np.exp(np.clip(log_ratio, -700.0, 700.0)))
    return Pretest(power, size, wald_power, (1 - power) / (1 - size), likelihood_ratio)


def mean_after_passing(path: EventPath, violation: FloatArray, critical: float) -> FloatArray:
    """Return the expected coefficients under a violation over estimates that pass the test, shape (K,).

    Roth (2022), Proposition 1, with the mean of the truncated normal in closed form.
    """
    n = path.n_pre
    covariance, mean = path.covariance[:n, :n], violation[:n]
    edge = critical * np.sqrt(np.diag(covariance))
    return np.asarray(violation + path.covariance[:, :n] @ box_pull(-edge, edge, mean, covariance))


@diagnostic(
    "Joint test of effects before the event",
    "Are all effects before the event zero?",
    Section.AGAINST,
    of_sums=True,
    needs=(Needs.PATH,),
)
def leads(
    fit: Estimate, *, bound: float | None = None, level: float = 0.95, draws: int = 9999, seed: int = 0
) -> Finding:
    """Test jointly that all effects before treatment are zero, by the largest ``|t|`` and by Wald's statistic.

    Parameters
    ----------
    fit : Estimate
        With effects by event time.
    bound : float, optional
        Effect that counts as small, on the question's scale, for an equivalence test of each effect.
    level : float
        Coverage of the intervals; the tests are at 5%.
    draws, seed : int
        Of the normal draws of the largest ``|t|``.

    Returns
    -------
    Finding
        The frame has a row an event time before treatment: event_time, estimate, std_error, p_value, conf_low,
        conf_high and, with a bound, p_equivalence (of an effect at or beyond it). Details: ``p_largest`` and ``p_wald``
        with its ``rank``.

    Raises
    ------
    QuestionError
        If the estimate has no effect before treatment that varies.
    """
    if not fit.estimand.has_path:
        raise QuestionError(f"leads: {fit.design} has one {fit.estimand} and no effects by event time.")
    path = fit.by_event_time
    test = pre_test(path, draws=draws, seed=seed)
    before = [row for row, pre in zip(effects(path, level), path.pre & path.varies, strict=True) if pre]
    if test.rank and not before:
        raise QuestionError(
            'leads: effects before it are shares of no positive mean; ask with scale="level".'
        )
    if not test.rank:
        raise QuestionError(f"leads: {fit.design} has no effect before treatment that varies.")
    against, p_largest, p_wald = test.p_largest < SIZE, p_is(test.p_largest), p_is(test.p_value)
    table = effects_frame(before).drop(columns=["label", "n_units", "n_treated"])
    table.insert(0, "event_time", [row.event_time for row in before])
    lacking = [*compress(path.terms, path.pre & ~path.reference & np.isnan(path.level_scores))]
    but = f", but for {listed(lacking)} that rest on one unit or have no standard error," if lacking else ""
    verdict = (
        f"The joint test that all effects before the event{but} are zero {'rejects' if against else 'does not reject'} "
        f"at {SIZE:.0%} by the largest t ({p_largest}); the Wald test has {p_wald}."
    )
    scale, sentences = fit.sample.question.effect_scale, [verdict]
    if bound is not None:
        table["p_equivalence"], sentence = at_each(before, bound, scale, "event time before it")
        sentences.append(sentence)
    if scale.percent:
        sentences.append(
            "Each effect is divided by the counterfactual mean at its own event time; the tests are of effects in "
            "levels."
        )
    return Finding.of(
        sentences,
        table,
        dots(scale, level, table["event_time"].map("event time {:g}".format)),
        against=against,
        objection=f"the joint test of all effects before treatment (largest t: {p_largest}; Wald: "
        f"{p_wald}, rank {test.rank})",
        details={"p_largest": test.p_largest, "p_wald": test.p_value, "rank": test.rank},
    )
