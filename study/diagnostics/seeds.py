"""How far an estimate that draws at random moves with its seed."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from study.core import QuestionError, counted
from study.designs import all_designs, find_design
from study.diagnostics import Finding, Needs, Refits, Section, diagnostic, dots, headline, with_error
from study.estimates import Effect, effects_frame
from study.inference import joint
from study.panel import Sample, Scale

WHO = "seeds"
SMALL = 0.1  # of the standard error


@diagnostic(
    "Sensitivity to the seed",
    "How far does the estimate move with the seed of its random draws?",
    Section.UNCERTAINTY,
    needs=(Needs.DRAWS,),
    shown=2,
)
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
        the standard deviation over seeds in mean standard errors.

    Raises
    ------
    QuestionError
        If the design draws nothing, ``seeds`` is too small, or the design refuses under every seed but one or all.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural parameters.
    Econometrics Journal 21(1), section 3.4.
    """
    chosen = find_design(design)
    chosen.check_options(options)
    if not chosen.draws:
        others = ", ".join(d.name for d in all_designs().values() if d.draws)
        raise QuestionError(f"{WHO}: {design} draws nothing at random, so it has no seed; {others} do.")
    chosen.refuse(sample)
    used = chosen.options | options

    numbers = range(used["seed"], used["seed"] + seeds)
    under = {f"seed {seed}": partial(headline, sample, design, options | {"seed": seed}) for seed in numbers}
    refits = Refits.of(under, level, keep=True)
    if len(refits.rows) < 2:
        raise QuestionError(f"{WHO}: {'; '.join(reason for _, reason in refits.refused)}")
    fits = list(refits.fits.values())
    average = joint(*fits).combined(["average"], np.full((len(fits), 1), 1 / len(fits)))
    like = Effect.of(f"average over {len(fits)} seeds", fits[0], level)
    mean = with_error(like, float(average.effect[0]), float(average.std_error[0]), like.degrees, level)
    return finding_of(refits, mean, sample.question.effect_scale, level, used.get("repetitions"))


def finding_of(
    refits: Refits, mean: Effect, scale: Scale, level: float, repetitions: int | None = None
) -> Finding:
    """Return the finding from the estimates of all seeds, their average, and the draws of folds within a seed."""
    frame = effects_frame(refits.rows)
    labels, estimates, count = frame["label"], frame["estimate"], len(frame)
    excluding, positive = sum(row.excludes_zero for row in refits.rows), int((estimates > 0).sum())
    agree = excluding == 0 or (excluding == count and positive in (0, count))
    spread = float(estimates.std() / frame["std_error"].mean())
    sentences = [
        f"Over {count} seeds the estimate has a standard deviation of {spread:.2f} of its standard error "
        f"(from {scale.text(estimates.min())} to {scale.text(estimates.max())}); the interval excludes zero under "
        f"{excluding} of them.",
        f"It is positive under {positive} of the {count} seeds; its average over them is "
        f"{scale.text(mean.estimate)}, with the interval {mean.interval(scale)}.",
        "The standard error does not count what the seed adds: with it, that of one seed would be "
        f"{np.sqrt(1 + spread**2) - 1:.1%} larger.",
    ]
    if repetitions is not None and spread > SMALL:
        needed = int(np.ceil(repetitions * (spread / SMALL) ** 2))
        sentences.append(
            f"Each seed averages {counted(repetitions, 'draw')} of the folds; about "
            f"{needed:,} would bring the standard deviation to {SMALL:g} of the standard error."
        )
    return Finding.of(
        [*sentences, *refits.refusals],
        frame.rename(columns={"label": "seed"}).assign(seed=labels.str.removeprefix("seed ").astype(int)),
        dots(scale, level, labels, behind=mean),
        against=refits.rows[0].excludes_zero and not agree,
        objection=f"the seed, since the interval excludes zero under {excluding} of {count}",
        details={"rows": refits.rows, "average": mean, "spread": spread},
    )
