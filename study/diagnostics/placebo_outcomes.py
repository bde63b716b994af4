"""The same question about placebo outcomes, which the treatment should not move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import QuestionError, p_text, refuse_unknown, two_sided_p
from study.diagnostics import Finding, Needs, Section, diagnostic, dots, headline, refit
from study.estimates import SIZE, Effect, effects_frame
from study.inference import holm, joint
from study.panel import Panel, Question, Scale

Outcomes = Sequence[str] | Mapping[str, str | tuple[Panel, str]]

WHO = "placebo_outcomes"


@diagnostic(
    "Placebo outcomes",
    "Does the treatment move outcomes that it should not move?",
    Section.AGAINST,
    needs=(Needs.PLACEBO_PANELS,),
)
def placebo_outcomes(
    panel: Panel, question: Question, outcomes: Outcomes, design: str, *, level: float = 0.95, **options: Any
) -> Finding:
    """Ask the same question about outcomes that the treatment should not move.

    Parameters
    ----------
    panel : Panel
    question : Question
    outcomes : sequence of str, or mapping
        Outcomes of the panel; or by label an outcome of the panel, or a pair of another panel and its outcome
        (``{"robotics papers": (study.load_panel("robotics"), "papers")}``).
    design : str
    level : float
        Coverage of the intervals; the familywise error is 5%.
    **options
        Options of the design.

    Returns
    -------
    Finding
        The frame has a row for the question's outcome and one a placebo, named in role: outcome, role, estimate,
        std_error, p_value, conf_low, conf_high, n_units, n_treated, largest_not_excluded; and of the placebos p_holm,
        adjusted within them (Holm 1979), and difference, difference_std_error and difference_p, of the effect on the
        outcome less that on the placebo, by their joint influence. Details: ``full_sample`` and ``rows``, the effects
        on the outcome and on the placebos; ``moved``, the placebos whose adjusted p-value rejects no effect.

    Raises
    ------
    QuestionError
        If there is no outcome, one is unknown or is the question's own, or the design refuses the question or
        all placebo outcomes. One that the design refuses is listed.

    References
    ----------
    Holm, S. (1979). A simple sequentially rejective multiple test procedure. Scandinavian Journal of
    Statistics 6(2).
    """
    placebos = _placebos(panel, question, outcomes)
    fit = headline(question.sample(panel), design, options)
    full = Effect.of(question.outcome, fit, level)
    samples = {k: partial(question.replace(outcome=y).sample, where) for k, (where, y) in placebos.items()}
    refits = refit(samples, design, options, level, keep=True)
    refits.refuse_none(WHO)
    frame = effects_frame((full, *refits.rows)).rename(columns={"label": "outcome"})
    frame.insert(1, "role", ["outcome", *["placebo"] * len(refits.rows)])
    frame["largest_not_excluded"] = [row.largest_not_excluded for row in (full, *refits.rows)]
    differences = [joint(placebo, fit).differences() for placebo in refits.fits.values()]
    each = ((d.effect[0], d.std_error[0], d.degrees_of_freedom[0]) for d in differences)
    difference, error, degrees = np.array(list(each)).T
    if not (error > 0).all():
        raise QuestionError(f"{WHO}: a placebo outcome moves exactly as the outcome; leave it out.")
    p_holm = holm(np.array([row.p_value for row in refits.rows]))
    columns = ["p_holm", "difference", "difference_std_error", "difference_p"]
    values = np.column_stack([p_holm, difference, error, two_sided_p(difference / error, degrees)])
    frame[columns] = np.vstack([np.full(len(columns), np.nan), values])
    moved, scale = list(frame["outcome"][frame["p_holm"] < SIZE]), question.effect_scale
    look = {"marked": list(frame["role"] == "placebo"), "names": ("outcome", "placebo outcome")}
    return Finding.of(
        [*_sentences(scale, level, frame, moved), *refits.refusals],
        frame,
        dots(scale, level, frame["outcome"], xlabel=scale.axis("the outcome"), **look),
        against=bool(moved),
        objection=f"effects on outcomes that should have none ({', '.join(moved)})",
        details={"full_sample": full, "rows": refits.rows, "moved": moved},
    )


def _placebos(panel: Panel, question: Question, outcomes: Outcomes) -> dict[str, tuple[Panel, str]]:
    """Return panel and outcome by label, all of which exist."""
    if not outcomes:
        raise QuestionError(
            f"{WHO}: outcomes is {outcomes!r}; give a list of names, or a mapping from label to (panel, outcome)."
        )
    given = outcomes if isinstance(outcomes, Mapping) else {name: name for name in outcomes}
    placebos = {k: (panel, v) if isinstance(v, str) else (v[0], v[1]) for k, v in given.items()}
    for label, (where, outcome) in placebos.items():
        refuse_unknown("outcome", outcome, where.outcomes, f"{WHO} about {where.name}")
        if where is panel and outcome == question.outcome:
            raise QuestionError(f"{WHO}: {label} is the question's own outcome; name another.")
    return placebos


def _sentences(scale: Scale, level: float, frame: pd.DataFrame, moved: Sequence[str]) -> Iterator[str]:
    full, *placebos = frame.itertuples()
    percent = f"{100 * level:g}%"
    yield from (
        f"At a familywise error of {SIZE:.0%}, {len(moved)} of {len(placebos)} placebo outcomes "
        f"({', '.join(row.outcome for row in placebos)}) move with the treatment"
        f"{': ' + ', '.join(moved) if moved else ''}.",
        f"The effect on {full.outcome} is {scale.text(full.estimate)} {scale.unit}, {percent} interval "
        f"{scale.interval(full.conf_low, full.conf_high)}.",
    )
    for row in placebos:
        yield (
            f"The effect on {row.outcome}, which the treatment should not move, is {scale.text(row.estimate)} "
            f"({percent} interval {scale.interval(row.conf_low, row.conf_high)}, Holm p-value {p_text(row.p_holm)}); "
            f"an effect beyond {scale.text(row.largest_not_excluded)} in absolute value is excluded."
        )
    for row in placebos:
        yield (
            f"The effect on {full.outcome} less that on {row.outcome} is {scale.text(row.difference)} (standard error "
            f"{scale.text(row.difference_std_error)}, p-value {p_text(row.difference_p)})."
        )
