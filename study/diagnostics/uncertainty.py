"""Whether the uncertainty can be trusted: one estimate under several methods of inference, and under several seeds."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from study.core import QuestionError, counted, p_is, p_text
from study.designs import all_designs, find_design
from study.diagnostics import Finding, Needs, Refits, Section, diagnostic, dots, headline, with_error
from study.estimates import (
    FEW_ON_A_SIDE,
    NAMED,
    SIZE,
    Effect,
    Estimate,
    effective_clusters,
    effects_frame,
    exceeded,
    few_clusters_warning,
    largest_draws,
    treated_clusters,
)
from study.inference import Randomization, cr3, joint, wild_bootstrap
from study.inference.few_treated import few_treated
from study.inference.randomization import randomization as permuted
from study.panel import Sample, Scale

RANDOMIZATION = "randomization of event dates"
CLUSTERED = "clustered by {}"
FEW_TREATED = "errors of comparison units"
SHARES_GIVEN = (
    "CR3 and the wild cluster bootstrap take cohorts' shares as given, which other intervals estimate."
)
SMALL = 0.1  # standard deviation between seeds, of the standard error


@diagnostic(
    "Alternative inference",
    "Do other methods of inference give the same interval?",
    Section.UNCERTAINTY,
    shown=4,
)
def uncertainty(
    sample: Sample,
    design: str,
    *,
    by: str | None = None,
    strata: str | None = None,
    permutations: int = 999,
    randomization: Randomization | None = None,
    draws: int = 9999,
    level: float = 0.95,
    seed: int = 0,
    **options: Any,
) -> Finding:
    """Set the intervals of a design's headline beside one another, with the randomization test.

    The design's own ``vcov``; CR0, CR1 and the like, each with its own critical values; its own with
    larger clusters, where these are named; the multiplier bootstrap-t with Webb's weights; for linear regressions CR3
    with t(G-1) and the restricted wild cluster bootstrap; with fewer than 5 treated clusters
    :func:`study.few_treated`; and without an instrument, for designs that fit no learners, the randomization test.

    Parameters
    ----------
    sample : Sample
    design : str
    by : str, optional
        Attribute that the estimate is clustered by once more.
    strata : str, optional
        Attribute within which event dates are permuted.
    permutations : int
        Of the randomization test; 0 leaves it out.
    randomization : Randomization, optional
        The test where it was made elsewhere, which is taken instead of permuting.
    draws, seed : int
    level : float
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row a method, the design's own first: inference, estimate, std_error, p_value, conf_low,
        conf_high, n_units, n_treated; the randomization test has a p-value only. Details: ``rows``, the effects;
        ``randomization``, the test or None; ``refused``, pairs of a method that the design does not offer and why;
        ``clusters``, by label of the own method and of that with larger clusters, their number, how many of them have
        treated units and their effective number (:func:`study.estimates.vcov.effective_number`).

    Raises
    ------
    QuestionError
        If the design refuses the question, or the headline has no sampling variance.
    """
    chosen, scale = find_design(design), sample.question.effect_scale
    options = chosen.seeded(options, seed)
    fit = headline(sample, design, options)
    if not fit.joint:
        raise QuestionError(f"uncertainty: {fit.not_joint}")
    allowed = NAMED if fit.df_k else NAMED[:2]
    rows = [Effect.of(name, fit.with_vcov(name), level) for name in dict.fromkeys((fit.vcov, *allowed))]
    clusters, refused = {rows[0].label: _clusters(fit)}, list[tuple[str, str]]()
    if by and sample.question.cluster != by:
        label = CLUSTERED.format(by)
        try:
            larger = headline(sample.question.replace(cluster=by).sample(sample.panel), design, options)
            rows.append(Effect.of(label, larger, level))
            clusters[label] = _clusters(larger)
        except QuestionError as reason:
            refused.append((label, str(reason)))
    rows.append(_bootstrapped(fit, draws, level, seed))
    evidence = list[str]()
    try:
        without = cr3(sample, design, **options)
        like = replace(rows[0], label="CR3, t(G-1)")
        rows.append(with_error(like, like.estimate, without.std_error, without.degrees, level))
        evidence += [SHARES_GIVEN] * without.shares_given
        wild = wild_bootstrap(sample, design, draws=draws, level=level, seed=seed, **options)
        like = replace(like, label="wild cluster bootstrap", std_error=wild.std_error, p_value=wild.p_value)
        rows.append(replace(like, conf_low=wild.interval[0], conf_high=wild.interval[1]))
    except QuestionError as reason:
        refused.append(("CR3 and the wild cluster bootstrap", str(reason)))
    _, of_treated, effective = clusters[rows[0].label]
    if of_treated < FEW_ON_A_SIDE:
        try:
            others = few_treated(sample, design, draws=draws, level=level, **options | {"seed": seed})
            like = replace(rows[0], label=FEW_TREATED, std_error=np.nan, p_value=others.p_value)
            rows.append(replace(like, conf_low=others.interval[0], conf_high=others.interval[1]))
        except QuestionError as reason:
            refused.append((FEW_TREATED, str(reason)))
    if randomization is None and permutations and chosen.draws:
        refused.append((RANDOMIZATION, f"{design} would fit its learners anew for each permutation."))
    elif randomization is None and permutations and sample.question.instruments:
        refused.append(
            (RANDOMIZATION, "the instrument is as good as random, and dates, which it permutes, are not.")
        )
    elif randomization is None and permutations:
        drawn: dict[str, Any] = {"strata": strata, "permutations": permutations, "seed": seed}
        randomization = permuted(sample, design, **drawn, **options)
    own, shown, p_value, sentences = rows[0], list(rows), None, []
    objection = tested = title = ""
    if randomization is not None:
        p_value, sentences = randomization.p_value, [randomization.sentences[0]]
        objection = f"the randomization test, which does not reject no effect ({p_is(p_value)})"
        tested = f"; the randomization test has {p_is(p_value)}"
        title = f"Randomization p-value {p_text(p_value)}"
        test = Effect(RANDOMIZATION, own.estimate, p_value=p_value)
        shown.append(replace(test, n_units=own.n_units, n_treated=own.n_treated))
    excluding = [row.label for row in rows if row.excludes_zero]
    conclusion = {0: "No interval excludes zero", len(rows): "All intervals exclude zero"}.get(
        len(excluding), f"Zero is excluded by {', '.join(excluding)} and by no other interval"
    )
    widest = max(rows, key=lambda row: row.conf_high - row.conf_low)
    frame = effects_frame(shown).rename(columns={"label": "inference"})
    with_interval = frame["inference"][np.isfinite(frame["conf_high"] - frame["conf_low"])]
    return Finding.of(
        [
            f"{conclusion}; the widest, {widest.label}, is {widest.interval(scale)}{tested}.",
            f"The design's own method, {own.label}, gives {own.interval(scale)}.",
            *sentences,
            *evidence,
            few_clusters_warning(fit)
            or f"Of {fit.n_clusters} clusters {of_treated} have treated units; the variance rests on about "
            f"{effective:.0f}.",
            *(f"Not offered: {label}, because {reason}" for label, reason in refused),
        ],
        frame,
        dots(scale, level, with_interval, title=title),
        against=None if p_value is None else own.excludes_zero and p_value > SIZE,
        objection=objection,
        details={"rows": tuple(rows), "randomization": randomization}
        | {"refused": tuple(refused), "clusters": clusters},
    )


def _clusters(fit: Estimate) -> tuple[int, int, float]:
    """Return how many clusters there are, how many have treated units, and how many carry the variance."""
    return fit.n_clusters, treated_clusters(fit), float(effective_clusters(fit)[0])


def _bootstrapped(fit: Estimate, draws: int, level: float, seed: int) -> Effect:
    """Return the percentile-t interval, for which each draw has a standard error of its own."""
    own, sums = Effect.of("multiplier bootstrap-t", fit.with_vcov("CR1"), level), fit.influence_map
    drawn = largest_draws(sums.cluster_sums(fit.sample.cluster), draws, seed, "webb", "drawn")
    p_value = float(exceeded(drawn, abs(own.estimate / own.std_error)))
    half = float(np.quantile(drawn, level)) * own.std_error
    return replace(own, p_value=p_value, conf_low=own.estimate - half, conf_high=own.estimate + half)


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
        raise QuestionError(f"seeds: {design} draws nothing at random, so it has no seed; {others} do.")
    chosen.refuse(sample)
    used = chosen.options | options

    numbers = range(used["seed"], used["seed"] + seeds)
    under = {f"seed {seed}": partial(headline, sample, design, options | {"seed": seed}) for seed in numbers}
    refits = Refits.of(under, level, keep=True)
    if len(refits.rows) < 2:
        raise QuestionError(f"seeds: {'; '.join(reason for _, reason in refits.refused)}")
    fits = list(refits.fits.values())
    average = joint(*fits).combined(["average"], np.full((len(fits), 1), 1 / len(fits)))
    like = Effect.of(f"average over {len(fits)} seeds", fits[0], level)
    mean = with_error(like, float(average.effect[0]), float(average.std_error[0]), like.degrees, level)
    return over_seeds(refits, mean, sample.question.effect_scale, level, used.get("repetitions"))


def over_seeds(
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
