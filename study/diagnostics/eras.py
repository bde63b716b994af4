"""Effects by era of adoption, and the average without each era, from the effects by cohort of one estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np

from study.core import IntArray, QuestionError, p_is, shown
from study.diagnostics import Finding, Needs, Refits, Section, diagnostic, dots
from study.estimates import SIZE, Effect, Estimand, Estimate, effects_frame
from study.inference import agreement_of


@diagnostic(
    "Effects by era of adoption",
    "Is the average of one era of adopters alone?",
    Section.OVERTURNS,
    needs=(Needs.ERAS,),
    shown=3,
)
def eras(
    fit: Estimate, eras: Sequence[Sequence[int]], *, level: float = 0.95, draws: int = 9999, seed: int = 0
) -> Finding:
    """Average the effects of the cohorts of each era alone, and of all others, and test that the eras' are equal.

    Nothing is fitted anew: averages of one estimate's effects by cohort have their errors from its influence. So the
    comparison group of each effect is that of the full estimate, and adopters of an era that is left out stand in it
    until their own event.

    Parameters
    ----------
    fit : Estimate
        With effects by cohort.
    eras : sequence of (int, int)
        First and last adoption period of each era.
    level : float
        Coverage of the intervals; the test is at 5%.
    draws, seed : int
        Of the normal draws of the largest ``|t|``.

    Returns
    -------
    Finding
        The frame has a row an era and one without each era: label, without (whether it is left out), estimate,
        std_error, p_value, conf_low, conf_high, n_units, n_treated (of the average). Details: ``full_sample``, the
        headline; ``rows``, those of the frame; ``p_equal`` and ``p_wald``, of the test that the average is the same in
        all eras, NaN with one era; ``parts``, the effects by cohort of each row; ``refused``, label and reason of each
        that has no average.

    Raises
    ------
    QuestionError
        If the estimate has no effects by cohort, eras overlap or are empty, or none has an average.
    """
    sample, scale = fit.sample, fit.sample.question.effect_scale
    if fit.estimand is not Estimand.GROUP_TIME_ATT or np.isnan(fit.cohort).all():
        raise QuestionError(f"eras: {fit.design} has no effects by cohort; use a design that has.")
    if not len(eras) or any(isinstance(era, str) or len(era) != 2 for era in eras):
        raise QuestionError(
            f"eras: eras is {shown(eras)}; give first and last periods, as in [(2014, 2016), (2017, 2019)]."
        )
    name = sample.period_name
    for first, last in eras:
        if first > last:
            raise QuestionError(
                f"eras: an era begins in {name(first)} and ends in {name(last)}; turn it round."
            )
    for (_, last), (first, _) in pairwise(sorted(map(tuple, eras))):
        if first <= last:
            raise QuestionError(f"eras: two eras have {name(first)} in them; each adopter is of one.")
    own = {
        sample.panel.window(np.array(era)): (fit.cohort >= era[0]) & (fit.cohort <= era[1]) for era in eras
    }
    parts = {era: fit.select(which) for era, which in own.items()}
    parts |= {f"without {era}": fit.select(~which) for era, which in own.items() if which.any()}
    averages = Refits.of({label: partial(_average, part) for label, part in parts.items()}, level, keep=True)
    averages.refuse_none("eras")
    rows = [replace(row, n_treated=int(treated_units(averages.fits[row.label])[0])) for row in averages.rows]
    frame = effects_frame(rows)
    frame.insert(1, "without", ~frame["label"].isin(own))
    full = Effect.of("all eras", fit.headline, level)
    if math.isnan(full.std_error):
        raise QuestionError(f"eras: {fit.design}'s average over all eras has no sampling variance.")
    alone = {era: average for era, average in averages.fits.items() if era in own}
    test = agreement_of(alone, force=True, draws=draws, seed=seed)
    p_equal, p_wald = (t.p_value if t else np.nan for t in (test.sup_t, test.wald))

    def phrase(row: Effect, where: str) -> str:
        return f"{scale.text(row.estimate)} {scale.unit} (interval {row.interval(scale)}) {where}"

    equal = "There is no test that eras of adoption have the same effect."
    if test.sup_t and test.wald:
        equal = (
            f"The test that eras of adoption have the same effect {'rejects' if p_equal < SIZE else 'does not reject'} "
            f"at {SIZE:.0%} by the largest t ({p_is(p_equal)}); the Wald test has {p_is(p_wald)}."
        )
    by_era = "; ".join(phrase(r, f"in {r.label} ({r.n_treated} treated)") for r in rows if r.label in own)
    left_out = "".join(f"; {phrase(row, row.label)}" for row in rows if row.label not in own)
    marked, names = frame["without"].tolist(), ("the era alone", "all others")
    return Finding.of(
        [
            equal,
            f"By era of adoption the effect is {by_era}."
            if by_era
            else "No era of adoption alone has an average.",
            f"It is {phrase(full, 'with all eras')}{left_out}.",
            "All are averages of one estimate by cohort, and nothing is fitted anew: the comparison group is that "
            "of the full estimate, in which adopters of an era that is left out stand until their own event.",
            *averages.refusals,
        ],
        frame,
        dots(scale, level, frame["label"], behind=full, marked=marked, names=names),
        details={"full_sample": full, "p_equal": p_equal, "p_wald": p_wald, "refused": averages.refused}
        | {"rows": tuple(rows), "parts": parts},
    )


def _average(part: Estimate) -> Estimate:
    """Return the question's average of an estimate of some cohorts."""
    if not part.terms:
        raise QuestionError("nobody is first treated in it.")
    if not part.headline.varies[0]:
        raise QuestionError("its average has no sampling variance.")
    return part.headline


def treated_units(fit: Estimate) -> IntArray:
    """Return how many treated units are in the cohorts that each term is of, shape (K,)."""
    assert fit.treated is not None
    sizes = np.array([fit.sample.ever_treated[rows].sum() for rows in fit.sample.groups[1]])
    return np.asarray(sizes @ (fit.treated > 0))
