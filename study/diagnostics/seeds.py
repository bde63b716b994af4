"""How far an estimate that draws at random moves with its seed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, QuestionError, checked, telling, two_sided_p
from study.designs import all_designs, find_design
from study.diagnostics.finding import Finding
from study.diagnostics.refits import Refits, attempts, check, headline, with_interval
from study.diagnostics.registry import Needs, Section, diagnostic
from study.estimates import Effect, Estimate, effects_frame
from study.estimates.covariance import covariance
from study.figures import dot_figure
from study.panel import Sample, Scale

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHO = "seeds"
SMALL = 0.1  # of the standard error


@diagnostic(
    WHO,
    title="Sensitivity to the seed",
    question="How far does the estimate move with the seed of its random draws?",
    section=Section.UNCERTAINTY,
    needs=(Needs.DRAWS,),
    shown=2,
)
@checked
def seeds(sample: Sample, design: str, *, seeds: int = 20, level: float = 0.95, **options: Any) -> Finding:
    """Estimate anew under several seeds, each of which draws its own folds and seeds its own learners.

    Seeds are that of the options, zero where they give none, and the numbers that follow it. Within each seed the
    design averages as many draws of the folds as its options say. What is left between seeds is noise of the
    computation, which no standard error of the design counts.

    Parameters
    ----------
    sample : Sample
    design : str
        One that draws at random.
    seeds : int
        How many, at least 2.
    level : float
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row a seed: seed, estimate, std_error, p_value, conf_low, conf_high, n_units, n_treated.
        Details: ``rows``, the effects; ``average`` over seeds, whose influence is the average of theirs; ``spread``,
        the standard deviation over seeds in mean standard errors; ``excluding`` and ``positive``, the numbers of seeds
        under which the interval excludes zero and under which the estimate is above zero; ``agree``, whether the
        intervals of all seeds exclude zero on one side, or none does.

    Raises
    ------
    QuestionError
        If the design draws nothing, ``seeds`` is too small, or the design refuses under every seed but one or all.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural parameters.
    Econometrics Journal 21(1), section 3.4.
    """
    check(WHO, design, options, level)
    chosen = find_design(design)
    if not chosen.draws:
        others = ", ".join(d.name for d in all_designs().values() if d.draws)
        raise QuestionError(f"{WHO}: {design} draws nothing at random, so it has no seed; {others} do.")
    if isinstance(seeds, bool) or not isinstance(seeds, (int, np.integer)) or seeds < 2:
        raise QuestionError(f"{WHO}: seeds is {seeds!r}; it must be a whole number, at least 2.")
    refusal = chosen.refusal(sample)
    if refusal is not None:
        raise QuestionError(refusal)
    used = chosen.options | options
    each = range(used["seed"], used["seed"] + seeds)
    refit = partial(_under_seed, sample, design, options)
    answered = list(attempts({f"seed {seed}": partial(refit, seed) for seed in each}))
    fits = [answer for _, answer in answered if isinstance(answer, Estimate)]
    if len(fits) < 2:
        raise QuestionError(
            f"{WHO}: {'; '.join(reason for _, reason in answered if isinstance(reason, str))}"
        )
    refits, scale = Refits.of(answered, level), sample.question.effect_scale
    return finding_of(refits, average(fits, level), scale, level, used.get("repetitions"))


def _under_seed(sample: Sample, design: str, options: dict[str, Any], seed: int) -> Estimate:
    with telling(f"seed {seed}"):
        return headline(sample, design, options | {"seed": seed})


def average(fits: list[Estimate], level: float) -> Effect:
    """Return the mean of estimates of one term, whose influence is the mean of theirs."""
    first = fits[0]
    effect = float(np.mean([fit.effect[0] for fit in fits]))
    influence = np.mean([fit.errors.dense() for fit in fits], axis=0)
    error = float(np.sqrt(covariance(influence, first.sample.cluster)[0, 0]))
    half = float(first.critical_value(level)[0]) * error
    degrees = float(first.degrees_of_freedom[0])
    p_value = float(two_sided_p(effect / error, degrees))
    like = Effect.of(f"average over {len(fits)} seeds", first, level)
    return with_interval(like, effect, error, p_value, half, degrees)


def finding_of(
    refits: Refits, mean: Effect, scale: Scale, level: float, repetitions: int | None = None
) -> Finding:
    """Return the finding from the estimates of all seeds, their average, and the draws of folds within a seed."""
    count, estimates = len(refits.rows), refits.estimates
    excluding, positive = sum(row.excludes_zero for row in refits.rows), int((estimates > 0).sum())
    agree = excluding == 0 or (excluding == count and positive in (0, count))
    details = {
        "rows": refits.rows,
        "average": mean,
        "spread": float(estimates.std(ddof=1)) / float(np.mean([row.std_error for row in refits.rows])),
        "excluding": excluding,
        "positive": positive,
        "agree": agree,
    }
    verdict, *evidence = _sentences(estimates, scale, details, repetitions)
    table = effects_frame(refits.rows).rename(columns={"label": "seed"})
    return Finding(
        name=WHO,
        title="Sensitivity to the seed",
        verdict=verdict,
        evidence=(*evidence, *refits.refusals),
        frame=table.assign(seed=table["seed"].str.removeprefix("seed ").astype(int)),
        chart=partial(_chart, scale=scale, behind=mean, level=level),
        against=refits.rows[0].excludes_zero and not agree,
        objection=f"the seed, since the interval excludes zero under {excluding} of {count}",
        details=details,
    )


def _sentences(
    estimates: FloatArray, scale: Scale, details: Mapping[str, Any], repetitions: int | None
) -> Iterator[str]:
    count, spread, mean = len(estimates), details["spread"], details["average"]
    yield (
        f"Over {count} seeds the estimate has a standard deviation of {spread:.2f} of its standard error (from "
        f"{scale.text(estimates.min())} to {scale.text(estimates.max())}); the interval excludes zero under "
        f"{_counted(details['excluding'], count)} of them."
    )
    yield (
        f"It is positive under {_counted(details['positive'], count)} of the seeds; its average over them is "
        f"{scale.text(mean.estimate)}, with the interval {mean.interval(scale)}."
    )
    yield (
        "The standard error does not count what the seed adds: with it, that of one seed would be "
        f"{np.sqrt(1 + spread**2) - 1:.1%} larger."
    )
    if repetitions is not None and spread > SMALL:
        needed = int(np.ceil(repetitions * (spread / SMALL) ** 2))
        yield (
            f"Each seed averages {repetitions} {'draw' if repetitions == 1 else 'draws'} of the folds; about "
            f"{needed:,} would bring the standard deviation to {SMALL:g} of the standard error."
        )


def _counted(number: int, count: int) -> str:
    return {0: "none", count: "all"}.get(number, f"{number}")


def _chart(frame: pd.DataFrame, ax: Axes | None, scale: Scale, behind: Effect, level: float) -> Figure:
    rows = frame.assign(label=[f"seed {seed}" for seed in frame["seed"]])
    return dot_figure(rows, ax, xlabel=scale.axis(), behind=behind, percent=scale.percent, level=level)
