"""Populations: the rule by which a question says which units it is about, fixed before any treatment."""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz

from study.core import BoolArray, QuestionError, unknown
from study.panel.panel import Panel
from study.panel.periods import as_float

EVERYONE = "all"


_TERM = re.compile(r"\s*(?P<name>[^=<>!]+?)\s*(?P<sign>!=|>=|<=|=|<|>)\s*(?P<value>.*?)\s*", re.DOTALL)
COMPARED = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}
# From this similarity on (of 100) a label that nobody has is taken for a slip of one that somebody has.
_SLIP = 80


@dataclass(frozen=True)
class Term:
    """One condition: an attribute or covariate, a sign, and what stands right of it."""

    name: str
    sign: str
    value: str

    @property
    def labels(self) -> list[str]:
        """The labels right of the sign, where it is no one label."""
        return [label.strip() for label in self.value.split("|")]

    def __str__(self) -> str:
        """Return the term as its author may have written it."""
        return f"{self.name}{self.sign}{self.value}"


def population(rule: str, panel: Panel) -> BoolArray:
    """Return which units of a panel are in a population.

    A rule is "all", the name of one of the panel's populations, or terms joined by " and ", all of which
    must hold::

        attribute=label       attribute!=label       attribute=label|label|label
        covariate>=number     covariate<=number      covariate>number     covariate<number

    A term may also be the name of one of the panel's populations. A covariate must not change over time
    within a unit, and an outcome cannot stand in a rule: who is in the population would depend on what
    happened after treatment. A unit whose covariate is not observed is not in the population.

    Parameters
    ----------
    rule : str
    panel : Panel

    Returns
    -------
    ndarray of bool, shape (n,)

    Raises
    ------
    QuestionError
        If the rule cannot be read, names something that the panel does not have or that is not fixed before
        treatment, or an attribute's labels are nobody's.
    """
    members = np.ones(panel.n_rows, dtype=bool)
    for term in terms_of(rule, panel):
        if is_attribute(term, panel):
            labels = panel.attributes[term.name].astype(str)
            named = labels_of(term, np.unique(labels).tolist(), panel)
            members &= np.isin(labels, named, invert=term.sign == "!=")
        else:
            members &= _compared(term, panel)
    return members


def terms_of(rule: str, panel: Panel, name: str | None = None) -> Iterator[Term]:
    """Yield the terms of a rule, those of a named population in place of its name."""
    for piece in _pieces(rule, panel.populations):
        if piece == EVERYONE:
            continue
        if term := _term(piece):
            yield term
        elif name is not None:
            raise QuestionError(
                f'{_where(panel)}: population {name} is "{rule}", in which "{piece}" is no term; write it with '
                "attributes and covariates only."
            )
        elif piece in panel.populations:
            yield from terms_of(panel.populations[piece], panel, piece)
        else:
            error = unknown("population", piece, [EVERYONE, *panel.populations], _where(panel))
            names = f", with {', '.join(sorted(panel.attributes))} for attribute" if panel.attributes else ""
            raise QuestionError(
                f'{error} Or write a rule such as "attribute=label" or "covariate>=number"{names}.'
            )


def terms_in(rule: str) -> list[Term]:
    """Return the terms that a rule has of its own, before a panel is read."""
    return [term for piece in _pieces(rule, ()) if (term := _term(piece))]


def _term(piece: str) -> Term | None:
    match = _TERM.fullmatch(piece)
    return Term(match["name"], match["sign"], match["value"]) if match else None


def _pieces(rule: str, named: Collection[str]) -> list[str]:
    """Cut a rule at " and ", unless what follows is no term, but the rest of a label."""
    pieces: list[str] = []
    for part in rule.split(" and "):
        if pieces and not (_TERM.fullmatch(part) or part.strip() in (EVERYONE, *named)):
            pieces[-1] += f" and {part}"
        else:
            pieces.append(part)
    return [piece.strip() for piece in pieces]


def is_attribute(term: Term, panel: Panel) -> bool:
    """Say whether a term is about an attribute or about a covariate; refuse what is neither, and signs of the other."""
    whose, attribute = f"{_where(panel)}: {term.name} is", term.name in panel.attributes
    if attribute or term.name in panel.covariates:
        if attribute == (term.sign in COMPARED):
            kind, signs = ("an attribute", "= or !=") if attribute else ("a covariate", ">=, <=, > or <")
            raise QuestionError(f'{whose} {kind}, so "{term}" has no meaning; use {signs}.')
        return attribute
    if term.name in panel.outcomes:
        raise QuestionError(
            f"{whose} an outcome, and a population is fixed before treatment; "
            "use an attribute, or a covariate that does not change over time."
        )
    if term.name in panel.events:
        raise QuestionError(
            f"{whose} an event, and a population is fixed before treatment; "
            "the question's event and comparison say who is treated and who is not."
        )
    raise unknown("attribute or covariate", term.name, [*panel.attributes, *panel.covariates], _where(panel))


def labels_of(term: Term, known: Collection[str], panel: Panel) -> list[str]:
    """Return the labels that a term names; refuse those that nobody has and that look like a slip."""
    named = [term.value] if term.value in known else term.labels
    absent, others = [label for label in named if label not in known], {*known} - {*named}
    nobody = term.sign == "=" and absent == named
    for label in absent:
        if nobody or any(fuzz.ratio(label.casefold(), other.casefold()) >= _SLIP for other in others):
            raise unknown(term.name, label, known, _where(panel))
    return named


def _compared(term: Term, panel: Panel) -> BoolArray:
    bound = bound_of(term, panel)
    block = panel.covariates[term.name]
    seen = ~np.isnan(block)
    highest = np.where(seen, block, -np.inf).max(axis=1)
    changes = highest > np.where(seen, block, np.inf).min(axis=1)
    if changes.any():
        raise changing(term, panel, panel.units[changes.argmax()])
    return np.asarray(seen.any(axis=1) & COMPARED[term.sign](highest, bound))


def bound_of(term: Term, panel: Panel) -> float:
    """Return the number that a term compares with."""
    bound = as_float(term.value)
    if np.isnan(bound):
        raise QuestionError(f'{_where(panel)}: "{term}" has no number right of {term.sign}.')
    return bound


def changing(term: Term, panel: Panel, unit: str) -> QuestionError:
    """Return the error of a term about a covariate that changes over time, first in some unit."""
    return QuestionError(
        f"{_where(panel)}: covariate {term.name} changes over time (first in {unit}), and later values could be "
        "consequences of treatment; use one that is fixed within each unit."
    )


def _where(panel: Panel) -> str:
    return f"Question about {panel.name}"
