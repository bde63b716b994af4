"""How far an estimate that draws at random moves with its seed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import QuestionError, checked, telling, two_sided_p
from study.designs import all_designs, find_design
from study.diagnostics.refits import Compared, Refits, check, headline
from study.estimates import Effect, Estimate, effects_frame
from study.estimates.covariance import covariance
from study.figures import dot_figure
from study.learners.cross_fitting import check_counts
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WHO = "seeds"
SMALL = 0.1  # of the standard error


@dataclass(frozen=True, eq=False)
class Seeds(Compared):
    """One estimate under several seeds.

    ``whole`` is the average over seeds: its influence is the average of theirs.

    Attributes
    ----------
    refits : Refits
        One row a seed.
    repetitions : int, optional
        Draws of the folds within each seed, where the design has such an option.
    """

    refits: Refits
    repetitions: int | None

    @property
    def title(self) -> str:
        """Heading."""
        return f"How far does {self.design} move with its seed?"

    @property
    def spread(self) -> float:
        """Standard deviation over seeds, in mean standard errors."""
        error = float(np.mean([row.std_error for row in self.refits.rows]))
        return float(self.refits.estimates.std(ddof=1)) / error

    @property
    def excluding(self) -> int:
        """Number of seeds under which the interval excludes zero."""
        return sum(row.excludes_zero for row in self.refits.rows)

    @property
    def positive(self) -> int:
        """Number of seeds under which the estimate is above zero."""
        return int((self.refits.estimates > 0).sum())

    @property
    def agrees(self) -> bool:
        """Whether the intervals of all seeds exclude zero on one side, or none does."""
        return self.excluding in (0, len(self.refits.rows)) and (
            self.excluding == 0 or self.positive in (0, len(self.refits.rows))
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found."""
        count = len(self.refits.rows)
        ends = (
            self.scale.text(float(end)) for end in (self.refits.estimates.min(), self.refits.estimates.max())
        )
        widened = np.sqrt(1 + self.spread**2) - 1
        return (
            f"Over {count} seeds the estimate has a standard deviation of {self.spread:.2f} of its standard error "
            f"(from {' to '.join(ends)}); the interval excludes zero under {counted(self.excluding, count)} of them.",
            f"It is positive under {counted(self.positive, count)} of the seeds; its average over them is "
            f"{self.scale.text(self.whole.estimate)}, with the interval {self.whole.interval(self.scale)}.",
            f"The standard error does not count what the seed adds: with it, that of one seed would be {widened:.1%} "
            "larger.",
            *self._needed(),
            *self.refits.refusals,
        )

    def _needed(self) -> tuple[str, ...]:
        """Say how many repetitions would make the seed matter little."""
        if self.repetitions is None or self.spread <= SMALL:
            return ()
        needed = int(np.ceil(self.repetitions * (self.spread / SMALL) ** 2))
        return (
            f"Each seed averages {self.repetitions} {'draw' if self.repetitions == 1 else 'draws'} of the folds; about "
            f"{needed:,} would bring the standard deviation to {SMALL:g} of the standard error.",
        )

    def tidy(self) -> pd.DataFrame:
        """Return one row a seed: seed, estimate, std_error, p_value, conf_low, conf_high, units, treated."""
        table = effects_frame(self.refits.rows).rename(columns={"label": "seed"})
        return table.assign(seed=table["seed"].str.removeprefix("seed ").astype(int))

    def plot(self) -> Figure:
        """Draw the intervals by seed, with the average over seeds behind them."""
        return dot_figure(
            self.refits.rows,
            xlabel=self.scale.axis(),
            whole=self.whole,
            percent=self.scale.percent,
            level=self.level,
        )


@checked
def seeds(
    sample: Sample,
    design: str,
    *,
    seeds: int = 20,
    level: float = 0.95,
    **options: Any,
) -> Seeds:
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
    Seeds

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
    check_counts(WHO, seed=used["seed"])
    fits: list[Estimate] = []
    answers: list[tuple[str, Estimate | str]] = []
    for seed in range(used["seed"], used["seed"] + seeds):
        try:
            with telling(f"seed {seed}"):
                fits.append(headline(sample, design, options | {"seed": seed}))
            answers.append((f"seed {seed}", fits[-1]))
        except QuestionError as reason:
            answers.append((f"seed {seed}", str(reason)))
    if len(fits) < 2:
        raise QuestionError(f"{WHO}: {'; '.join(reason for _, reason in answers if isinstance(reason, str))}")
    return Seeds(
        sample.question,
        design,
        level,
        average(fits, level),
        Refits.of(answers, level),
        used.get("repetitions"),
    )


def average(fits: list[Estimate], level: float) -> Effect:
    """Return the mean of estimates of one term, whose influence is the mean of theirs."""
    first = fits[0]
    effect = float(np.mean([fit.effect[0] for fit in fits]))
    influence = np.mean([fit.errors.dense() for fit in fits], axis=0)
    error = float(np.sqrt(covariance(influence, first.sample.cluster)[0, 0]))
    half = float(first.critical_value(level)[0]) * error
    p_value = float(two_sided_p(effect / error, first.degrees_of_freedom[0]))
    like = Effect.of(f"average over {len(fits)} seeds", first, level)
    return replace(
        like,
        estimate=effect,
        std_error=error,
        p_value=p_value,
        conf_low=effect - half,
        conf_high=effect + half,
    )


def counted(number: int, whole: int) -> str:
    """Write a number of seeds."""
    return "none" if number == 0 else "all" if number == whole else f"{number}"
