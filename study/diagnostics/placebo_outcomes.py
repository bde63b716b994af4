"""The same question about placebo outcomes, which the treatment should not move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from study.core import FloatArray, QuestionError, checked, two_sided_p, unknown
from study.diagnostics.refits import (
    Compared,
    Progress,
    Refits,
    answers,
    check,
    headline,
)
from study.estimates import Effect, Estimate, effects_frame
from study.figures import dot_figure
from study.inference import holm, joint
from study.panel import Panel, Question, Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Outcomes = Sequence[str] | Mapping[str, str | tuple[Panel, str]]


@dataclass(frozen=True, eq=False)
class PlaceboOutcomes(Compared):
    """The same question about outcomes that the treatment should not move.

    Attributes
    ----------
    refits : Refits
        The headlines about the K placebo outcomes.
    p_holm : ndarray, shape (K,)
        Adjusted within the placebo outcomes (Holm 1979).
    difference, difference_error, difference_p : ndarray, shape (K,)
        The headline less that about the placebo, by their joint influence, and the
        two-sided p-value.
    """

    refits: Refits
    p_holm: FloatArray
    difference: FloatArray
    difference_error: FloatArray
    difference_p: FloatArray

    @property
    def title(self) -> str:
        """Heading."""
        return "Placebo outcomes"

    @property
    def moved(self) -> list[str]:
        """Labels of the placebos whose adjusted p-value rejects no effect."""
        return [row.label for row, p in zip(self.refits.rows, self.p_holm, strict=True) if p < 1 - self.level]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What the placebo outcomes say."""
        q, rows = self.question, self.refits.rows
        found = [
            f"The effect on {row.label}, which the treatment should not move, is {self.scale.text(row.estimate)} "
            f"({100 * self.level:g}% interval {row.interval(self.scale)}, Holm p-value {p:.2g}); an effect beyond "
            f"{self.scale.text(row.largest_not_excluded)} in absolute value is excluded."
            for row, p in zip(rows, self.p_holm, strict=True)
        ]
        moved = self.moved
        verdict = (
            f"At a familywise error of {100 * (1 - self.level):.2g}%, {len(moved)} of {len(rows)} placebo outcomes "
            f"({', '.join(row.label for row in rows)}) move with the treatment"
            f"{': ' + ', '.join(moved) if moved else ''}."
        )
        apart = [
            f"The effect on {q.outcome} less that on {row.label} is {self.scale.text(gap)} (standard error "
            f"{self.scale.text(error)}, p-value {p:.2g})."
            for row, gap, error, p in zip(
                rows, self.difference, self.difference_error, self.difference_p, strict=True
            )
        ]
        return (
            verdict,
            f"The effect on {q.outcome} is {self.scale.text(self.whole.estimate)} {self.scale.unit}, "
            f"{100 * self.level:g}% interval {self.whole.interval(self.scale)}.",
            *found,
            *apart,
            *self.refits.refusals,
        )

    def tidy(self) -> pd.DataFrame:
        """Return a row for the outcome and one for each placebo.

        The columns p_holm, difference, difference_std_error and difference_p are empty for the outcome itself.
        """
        import pandas as pd

        table = effects_frame((self.whole, *self.refits.rows)).rename(columns={"label": "outcome"})
        table.insert(1, "role", ["outcome", *["placebo"] * len(self.refits.rows)])
        table["largest_not_excluded"] = [row.largest_not_excluded for row in (self.whole, *self.refits.rows)]
        columns = {
            "p_holm": self.p_holm,
            "difference": self.difference,
            "difference_std_error": self.difference_error,
            "difference_p": self.difference_p,
        }
        return table.join(pd.DataFrame(columns, index=range(1, len(table))))

    def plot(self) -> Figure:
        """Draw the outcome's estimate above those of the placebo outcomes."""
        rows = (self.whole, *self.refits.rows)
        return dot_figure(
            rows,
            xlabel=self.scale.axis("the outcome"),
            marked=[row is not self.whole for row in rows],
            names=("outcome", "placebo outcome"),
            percent=self.scale.percent,
            level=self.level,
        )


@checked
def placebo_outcomes(
    panel: Panel,
    question: Question,
    outcomes: Outcomes,
    design: str,
    *,
    level: float = 0.95,
    progress: Progress = None,
    **options: Any,
) -> PlaceboOutcomes:
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
        Coverage of the intervals.
    progress : callable, optional
        Called after each refit.
    **options
        Options of the design.

    Returns
    -------
    PlaceboOutcomes

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
    check("placebo_outcomes", design, options, level)
    asked = _asked(panel, question, outcomes)
    fit = headline(question.sample(panel), design, options)

    def sample(where: Panel, outcome: str) -> Sample:
        return question.replace(outcome=outcome).sample(where)

    made = {label: partial(sample, where, outcome) for label, (where, outcome) in asked.items()}
    found = list(answers(made, design, options, progress))
    refits = Refits.of(found, level)
    refits.refuse_none("placebo_outcomes")
    gaps = [_gap(fit, answer) for _, answer in found if isinstance(answer, Estimate)]
    difference, error = np.array(gaps).T
    return PlaceboOutcomes(
        question,
        design,
        level,
        Effect.of(question.outcome, fit, level),
        refits,
        holm(np.array([row.p_value for row in refits.rows])),
        difference,
        error,
        two_sided_p(difference / error),
    )


def _asked(panel: Panel, question: Question, outcomes: Outcomes) -> dict[str, tuple[Panel, str]]:
    """Return panel and outcome by label, all of which exist."""
    if isinstance(outcomes, str) or not outcomes:
        raise QuestionError(
            f"placebo_outcomes: outcomes is {outcomes!r}; give a list of names, or a mapping from label to "
            "(panel, outcome)."
        )
    given = outcomes if isinstance(outcomes, Mapping) else {name: name for name in outcomes}
    asked = {k: (panel, v) if isinstance(v, str) else (v[0], v[1]) for k, v in given.items()}
    for label, (where, outcome) in asked.items():
        if outcome not in where.outcomes:
            raise unknown("outcome", outcome, where.outcomes, f"placebo_outcomes about {where.name}")
        if where is panel and outcome == question.outcome:
            raise QuestionError(
                f"placebo_outcomes: {label} is the question's own outcome; name one that the treatment should "
                "not move."
            )
    return asked


def _gap(first: Estimate, second: Estimate) -> tuple[float, float]:
    """Return the first headline less the second, with its standard error."""
    apart = joint(second, first).differences()
    error = float(np.sqrt(apart.covariance()[0, 0]))
    if not error > 0:
        raise QuestionError("placebo_outcomes: a placebo outcome moves exactly as the outcome; leave it out.")
    return float(apart.effect[0]), error
