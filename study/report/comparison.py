"""The comparison of designs as text for a terminal, and what is said of it there and below tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from study.core import p_is
from study.estimates import few_clusters_warning, smallest_effect
from study.inference import LEVEL, Comparison
from study.panel import Sample
from study.report.columns import CONVENTIONS, POWER_OF

JOINT = "Standard errors of differences are from the joint influence of the designs."


def comparison_text(comparison: Comparison) -> str:
    """Return the averages, their differences, the tests and the notes as text for a terminal."""
    import pandas as pd

    def cell(outcome: str, label: str) -> str:
        fit = comparison.estimates.get((outcome, label))
        return "refused" if fit is None else f"{fit.effect[0]:.4f} ({fit.std_error[0]:.4f})"

    def text(frame: pd.DataFrame) -> str:
        return frame.to_string(index=False, na_rep="", float_format=lambda value: f"{value:.4f}")

    columns = {
        outcome: [cell(outcome, label) for label in comparison.labels] for outcome in comparison.outcomes
    }
    averages = pd.DataFrame({"design": comparison.labels} | columns)
    parts = [f"{title_of(comparison)}; standard errors in parentheses", text(averages), ""]
    if comparison.adjusted:
        rows = comparison.tidy().dropna(subset="p_holm")
        rows = rows.sort_values("design", key=lambda names: names.map(comparison.labels.index), kind="stable")
        adjusted = rows[["design", "outcome", "p_value", "p_romano_wolf", "p_holm"]]
        parts += ["P-values, of each test alone and adjusted for all outcomes", text(adjusted), ""]
    differences = comparison.differences()
    if len(differences):
        numbers = [f"{difference:.4f}" for difference in differences["difference"]]
        differences["difference"] = np.where(differences["equal"], "equal", numbers)
        title = "Differences, the first less the second; p-values are adjusted for all of them"
        parts += [title, text(differences.drop(columns="equal")), ""]
    parts += [
        f"Do they agree on {outcome}? Differences tested: {agreement.tested}; largest absolute t {test.statistic:.3f}, "
        f"{LEVEL:.0%} critical value {test.critical_value:.3f}, {p_is(test.p_value)} ({test.draws} draws); "
        f"Wald chi-squared {wald.statistic:.3f} of rank {wald.rank}, {p_is(wald.p_value)}."
        for outcome, agreement in comparison.agreement.items()
        if (test := agreement.sup_t) is not None and (wald := agreement.wald) is not None
    ]
    return "\n".join([*parts, *sentences_of(comparison, comparison)])


def title_of(comparison: Comparison) -> str:
    """Say what is compared: the effect of what on what, as which average, on which scale."""
    question, outcomes = comparison.question, ", ".join(comparison.outcomes)
    average = question.average.replace("_", " ")
    if question.average == "event_average" and question.horizon is not None:
        last = [last_event_time(fit.sample) for fit in comparison.estimates.values()]
        average += (
            f" over event times 0 to {max([time for time in last if time is not None] or [question.horizon])}"
        )
    average += "" if question.balance is None else f", balanced to event time {question.balance}"
    return f"Effect of {question.event} on {outcomes}, by design ({average}, scale {question.scale})"


def last_event_time(sample: Sample) -> int | None:
    """Return the last event time of an average: the horizon or, where it is earlier, that of the first cohort."""
    horizon = sample.question.horizon
    if horizon is None or sample.first_treated is None or not len(sample.cohorts):
        return horizon
    return min(horizon, int(sample.periods[-1] - min(sample.cohorts)))


def left_out(sample: Sample) -> list[str]:
    """Say what each rule took out of the sample; one that took out periods counts them in its reason."""
    steps = [step for step in sample.flow if not step.kept]
    return [f"{step.units} {step.reason}" if step.units else step.reason for step in steps]


def sentences_of(comparison: Comparison, family: Comparison) -> list[str]:
    """Say with what uncertainty, what was left out or equal, and what was refused.

    P-values are adjusted for the outcomes of ``family``.
    """
    fits = list(comparison.estimates.values())
    sentences = []
    if fits:
        pairs = dict.fromkeys((fit.convention, fit.design) for fit in fits)
        designs_of = {name: [design for of, design in pairs if of == name] for name, _ in pairs}
        conventions = [f"{', '.join(designs)}: {CONVENTIONS[name]}" for name, designs in designs_of.items()]
        sentences += [
            f"{span_of([fit.sample.n_units for fit in fits])} units, "
            f"{span_of([fit.sample.n_treated for fit in fits])} of them treated; clustered by "
            f"{comparison.question.cluster or 'unit'}. {'; '.join(conventions)}.",
            *(_power(comparison, outcome) for outcome in comparison.outcomes),
            *comparison.each_once(
                {outcome: _few_clusters(comparison, outcome) for outcome in comparison.outcomes}
            ),
        ]
    if any(agreement.sup_t for agreement in comparison.agreement.values()):
        sentences.append(JOINT)
    if comparison.adjusted:
        sentences.append(
            f"The family of each design is its averages for {len(family.outcomes)} outcomes "
            f"({', '.join(family.outcomes)}), less those that it refuses. Rejecting where an adjusted p-value is "
            "below 5% rejects any true hypothesis of the family in at most 5% of large samples: Romano and Wolf's with "
            f"the joint distribution of the outcomes' errors ({comparison.draws} draws), Holm's whatever it is. "
            "Designs answer the same question and are not part of a family."
        )
    return [*sentences, *comparison.notes, *(f"Refused: {sentence}" for sentence in comparison.refused)]


def _power(comparison: Comparison, outcome: str) -> str:
    """Say what each design could have found for an outcome."""
    by_design = [
        f"{label} {smallest_effect(comparison.estimates[outcome, label])}"
        for label in comparison.labels
        if (outcome, label) in comparison.estimates
    ]
    return (
        f"Minimum detectable effects at 80% power and 5% size, in units of {outcome} (percent of "
        f"{POWER_OF[comparison.question.scale]}): {'; '.join(by_design) or 'none'}."
    )


def _few_clusters(comparison: Comparison, outcome: str) -> list[str]:
    """Say for which designs few clusters carry the variance of an outcome's average."""
    fits = [fit for (of, _), fit in comparison.estimates.items() if of == outcome]
    return list(filter(None, map(few_clusters_warning, fits)))


def span_of(values: Sequence[int]) -> str:
    """Write the smallest and the largest of some counts, or the only one."""
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"
