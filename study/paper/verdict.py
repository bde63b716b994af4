"""The verdict on an answer as one page of text."""

from __future__ import annotations

from study.core import paragraph, section
from study.designs import Assumes
from study.diagnostics import Section
from study.estimates import Effect, smallest_effect
from study.paper.diagnose import Verdict
from study.report import POWER_OF

ASSUMED: dict[Assumes, str] = {
    Assumes.PARALLEL_TRENDS: "Without the event the treated {units} would have changed as the others did.",
    Assumes.CONDITIONAL_PARALLEL_TRENDS: "Without the event the treated {units} would have changed as others with the "
    "same covariates did.",
    Assumes.INDEX_PARALLEL_TRENDS: "Without the event the mean outcome of the treated {units} would have changed by "
    "the same percentage as that of the others.",
    Assumes.WEIGHTED_TRENDS: "Without the event the treated {units} would have changed as those others did that, "
    "weighted, moved as they did before.",
    Assumes.FACTORS: "Without the event the outcomes of all {units} would have been their own level, a path "
    "common to all, and a few factors that each follows with a loading of its own.",
    Assumes.LIMITED_ANTICIPATION: "The event has no effect before it, less the anticipation that the question allows.",
    Assumes.OVERLAP: "At every covariate value of the treated there are comparison {units}.",
    Assumes.HOMOGENEOUS_EFFECTS: "The effect is the same in every cohort and event time; where it is not, the "
    "coefficient is no average of effects.",
    Assumes.HOMOGENEOUS_COHORTS: "The path of effects is the same in every cohort.",
    Assumes.NUISANCE_RATES: "The learners find the nuisance functions fast enough for their errors not to matter.",
    Assumes.RANDOM_INSTRUMENT: "Among {units} with the same covariates the instrument is as good as random.",
    Assumes.EXCLUSION: "The instrument moves who is treated, and the outcome in no other way.",
    Assumes.MONOTONICITY: "The instrument keeps none of the {units} from treatment that would be treated without it.",
}


def verdict_text(verdict: Verdict) -> str:
    """Return the page: what is asked and assumed, what speaks against it, what would overturn it."""
    task = verdict.task
    parts = [
        paragraph(
            f"Question: the effect of the {task.event.title} on {task.outcome} ({task.question.scale}); "
            f"{task.row.label} ({verdict.design.name}), panel {verdict.fit.sample.panel.name}, checksum "
            f"{verdict.fit.sample.panel_checksum}, seed {task.seed}."
        ),
        section("Verdict", conclusion(verdict)),
        section("What the design assumes", assumptions(verdict)),
    ]
    for place in Section:
        checks = [check for check in verdict.checks if check.diagnostic.section == place]
        if checks:
            sentences = [s for check in checks for s in check.sentences[: check.diagnostic.shown]]
            parts.append(section(place, sentences))
    return "\n\n".join(parts)


def details(verdict: Verdict) -> str:
    """Return everything that the diagnostics say, each under its title."""
    return "\n\n".join(section(check.diagnostic.title, check.sentences) for check in verdict.checks)


def assumptions(verdict: Verdict) -> list[str]:
    """Return what the design assumes, in sentences, with what the question makes of it."""
    question = verdict.task.question
    trends = [Assumes.CONDITIONAL_PARALLEL_TRENDS, Assumes.PARALLEL_TRENDS]
    other, own = trends[::-1] if question.covariates else trends
    assumed = dict.fromkeys(own if a is other else a for a in verdict.design.assumes)
    if not question.covariates:
        assumed.pop(Assumes.OVERLAP, None)
    sentences = [ASSUMED[a].format(units=verdict.plan.text.units) for a in assumed]
    if Assumes.EXCLUSION in assumed:
        return sentences
    scale = {"log1p": "log(1 + outcome)"}.get(question.scale, "the outcome itself")
    given = f", given {', '.join(question.covariates)}" if question.covariates else ""
    group = question.comparison.replace("_", " ")
    return [*sentences, f"Trends are those of {scale}{given}; the comparison group is {group}."]


def conclusion(verdict: Verdict) -> list[str]:
    """Return the estimate, what it could have found, and what may be concluded from it."""
    question, average = verdict.task.question, verdict.fit.headline
    scale = question.effect_scale
    row = Effect.of(average.terms[0], average, verdict.task.level)
    objections = [c.finding.objection for c in verdict.checks if c.finding is not None and c.finding.against]
    sentences = [
        f"The estimate is {scale.text(row.estimate)} {scale.unit}, {verdict.task.level:.0%} interval "
        f"{row.interval(scale)}; the minimum detectable effect (80% power) is {smallest_effect(average)} in "
        f"{verdict.plan.text.outcomes_with_units} (percent of {POWER_OF[question.scale]})."
    ]
    if not verdict.fit.estimand.has_path:
        sentences.append(
            f"It is {verdict.fit.estimand.with_article} and no average of effects by event time."
        )
    if not row.excludes_zero:
        sentences.append(
            "Its sign is not established: the interval has zero in it, even if all assumptions hold."
        )
    if objections:
        sentences.append(f"What speaks against the assumptions: {'; '.join(objections)}.")
        if row.excludes_zero:
            sentences.append(
                "So the estimate is not to be read as an effect of the event without a reason why this does not matter."
            )
    elif row.excludes_zero:
        sentences.append(f"Nothing that was looked at speaks against the assumptions. {_bound(verdict)}")
    return sentences


def _bound(verdict: Verdict) -> str:
    honest = verdict.finding("honest_relative_magnitudes")
    if honest is None or honest["breakdown"] is None:
        return "How strong a violation of parallel trends would overturn it could not be bounded."
    return (
        f"Its sign holds unless trends differ after treatment by more than {honest['breakdown']:.2g} times as much a "
        "period as the largest change seen before."
    )
