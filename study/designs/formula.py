"""A formula as users of fixest and pyfixest write it, for one panel, one question and one design."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import Any

from study.core import QuestionError, checked, refuse_unknown
from study.designs import estimate, find_design
from study.estimates import Estimate, VcovWord, refuse_other_arguments
from study.panel import PeriodUnit, Question, panel_for

FORM = "outcome ~ covariates | unit + time"
_NAME = re.compile(r"[^\W\d][\w.]*|`[^`]+`")


@checked
def did(
    formula: str,
    data: Any,
    *,
    first_treated: str | None = None,
    treatment: str | None = None,
    design: str = "callaway_santanna",
    vcov: VcovWord = "jackknife",
    period: PeriodUnit | None = None,
    never: float | str | None = None,
    **options: Any,
) -> Estimate:
    """Estimate the effect that a formula asks for: build a panel and a question, and apply a design.

    Parameters
    ----------
    formula : str
        ``"papers ~ 1 | lab + year"``, or with covariates ``"papers ~ size + age | lab + year"``: the
        outcome, the covariates, and the unit and the period. Names that are not plain stand in backticks.
        Each unit is its own cluster unless ``cluster`` names a column.
    data, period, never
        As in :meth:`study.Panel.from_long`.
    first_treated, treatment : str
        The event: a column of first treated periods, or of 0/1 treatment; one of them.
    design, vcov
        As in :func:`study.estimate`.
    **options
        Fields of :class:`study.Question` (cluster, scale, weights, ...) and options of the design.

    Returns
    -------
    Estimate

    Raises
    ------
    DataError, QuestionError
        If the formula has anything but names, or as :func:`study.estimate`.

    Examples
    --------
    >>> import pandas as pd
    >>> import study
    >>> labs = pd.DataFrame({"lab": [1, 1, 2, 2, 3, 3, 4, 4], "year": [2019, 2020] * 4})
    >>> labs = labs.assign(entry=[2020] * 4 + [0] * 4, papers=[3, 5, 2, 6, 4, 4, 1, 2])
    >>> study.did("papers ~ 1 | lab + year", data=labs, first_treated="entry").headline.effect
    array([2.5])
    """
    event = first_treated or treatment
    if event is None or (first_treated and treatment):
        raise QuestionError(
            "did: give one of first_treated= (a column of dates) and treatment= (a column of 0 and 1)."
        )
    outcome, covariates, (unit, time) = read_formula(formula)
    known = {field.name for field in fields(Question)} - {"outcome", "event", "covariates"}
    refuse_other_arguments("did", options.keys() - find_design(design).options.keys())
    refuse_unknown("option", options, [*known, *find_design(design).options], "did")
    of_question = {name: options.pop(name) for name in known & options.keys()}
    if of_question.get("cluster") == unit:
        of_question["cluster"] = None
    question = Question(outcome=outcome, event=event, covariates=covariates, **of_question)
    path = first_treated is None
    panel = panel_for(question, data, path=path, unit=unit, time=time, period=period, never=never)
    return estimate(panel, question, design, vcov=vcov, **options)


def read_formula(formula: str) -> tuple[str, tuple[str, ...], tuple[str, str]]:
    """Return the outcome, the covariates, and the unit and period of a formula.

    Raises
    ------
    QuestionError
        If it is not of the form ``outcome ~ covariates | unit + time``.
    """
    sides = _split(formula, "~")
    parts = _split(sides[-1], "|")
    if len(sides) != 2 or len(parts) != 2:
        why = "it has no ~" if len(sides) < 2 else "it has more than one ~"
        if len(sides) == 2:
            why = (
                "it does not say | unit + time" if len(parts) < 2 else "instruments are named by instrument="
            )
        raise _refusal(formula, why)
    outcomes, covariates, effects = (
        [name.strip() for name in _split(part, "+")] for part in (sides[0], *parts)
    )
    if len(outcomes) > 1:
        raise _refusal(formula, "it has several outcomes; give them to study.compare")
    if len(effects) != 2:
        raise _refusal(formula, "after | stand the unit and the period, and nothing else")
    named = [name for name in covariates if name != "1"]
    for name in (*outcomes, *named, *effects):
        if not name:
            raise _refusal(formula, "a name is missing; write 1 where there is no covariate")
        if not _NAME.fullmatch(name):
            raise _refusal(
                formula, f'"{name}" is no column name; make a column of it, or set scale= for logs'
            )
    (outcome,), named, (unit, time) = (
        [name.strip("`") for name in part] for part in (outcomes, named, effects)
    )
    return outcome, tuple(named), (unit, time)


def _split(text: str, sign: str) -> list[str]:
    """Split a text at a sign that does not stand within backticks."""
    return re.split(rf"\{sign}(?=(?:[^`]*`[^`]*`)*[^`]*$)", text)


def _refusal(formula: str, why: str) -> QuestionError:
    return QuestionError(f'did: the formula "{formula}" is not of the form {FORM}: {why}.')
