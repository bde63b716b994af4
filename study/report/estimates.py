"""How estimates are reported: as a table of designs by outcomes, or each in the format that is asked for."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from study.core import (
    SMALLEST_P,
    QuestionError,
    Text,
    checked,
    counted,
    decimals,
    fixed,
    grouped,
    lines,
    listed,
    p_is,
    refuse_unknown,
    shown,
)
from study.designs import all_designs
from study.estimates import (
    NUMBERS,
    Effect,
    Estimand,
    Estimate,
    VcovWord,
    few_clusters_warning,
    smallest_effect,
)
from study.inference import Comparison, agreement_of, answered
from study.panel import Panel, Question, Sample
from study.report.columns import COLUMNS, POWER_OF, STANDARD_ERRORS, UNCLUSTERED
from study.report.design_table import (
    SCALES,
    STARS,
    WHO,
    Style,
    Terms,
    Words,
    as_tables,
    by_terms,
    degrees_in_words,
    models_table,
    notes_of,
)
from study.report.table import Block, Format, Line, Table, document

if TYPE_CHECKING:
    import pandas as pd

MOST_NOTES = 3  # of a headline that is printed
ADJUSTED = ("p_romano_wolf", "p_holm")
WRITTEN: dict[str, Callable[[float], str]] = {
    "p_value": lambda p: f"<{SMALLEST_P:g}" if p < SMALLEST_P else f"{p:.4f}",
    "df": lambda df: "inf" if math.isinf(df) else f"{df:.1f}",
}
SHOWN = ("estimate", "std_error", "conf_low", "conf_high")


@checked
def table(
    models: Estimate | Comparison | Sequence[Estimate | Comparison] | Mapping[str, Estimate],
    *,
    columns: Literal["designs", "outcomes"] = "designs",
    stars: bool | Sequence[float] = False,
    digits: int = 3,
    labels: Mapping[str, str] | None = None,
    notes: Literal["short", "full", "none"] = "short",
    mde: bool = False,
    terms: Terms = "average",
    vcov: VcovWord | None = None,
    caption: str = "",
    name: str = "models",
) -> Table:
    """Return estimates and comparisons as one table of designs and outcomes, a panel a scale.

    Parameters
    ----------
    models : Estimate, Comparison, sequence of these, or mapping of label to Estimate
        Each estimate is shown as its headline, or by ``terms``.
    columns : {"designs", "outcomes"}
        What stands in columns; the other stands in rows.
    stars : bool or sequence of float
        Levels of stars; 0.1, 0.05 and 0.01 for True.
    digits : int
        Decimals of effects and standard errors.
    labels : mapping of str to str, optional
        What outcomes, events, clusters, covariates, designs and scales are called, and "unit" and "units".
    notes : {"short", "full", "none"}
        With none, only what stars and dashes mean is said.
    mde : bool
        Whether each effect stands over its minimum detectable effect, on its scale and in percent.
    terms : {"average", "event_time", "cohort", "period"}
        What is shown of an estimate: its headline, or a line an event time (up to the question's horizon, and as many
        before), cohort or calendar period.
    vcov : str, optional
        Covariance estimator of the estimates, instead of each one's own. A comparison has that of
        :func:`study.compare`.
    caption, name : str
        Above the table, and in its label in LaTeX.

    Returns
    -------
    Table
        ``print`` shows it as text, ``save`` writes it as LaTeX, HTML, Markdown, Word, CSV or text.

    Raises
    ------
    QuestionError
        If there is no model, two have one name, or a label is of nothing in the table.

    Examples
    --------
    >>> table = study.table([fit, other], stars=True, labels={"papers": "Papers a year"})  # doctest: +SKIP
    >>> table.save("effects.tex")  # doctest: +SKIP
    """
    levels = (STARS if stars else ()) if isinstance(stars, bool) else tuple(stars)
    style, labels = Style(columns, levels, digits, notes, mde, terms), labels or {}
    given = [(label, _under(model, vcov)) for label, model in _given(models)]
    every = [by_terms(_as_comparison(model, label, terms), terms) for label, model in given]
    for comparison in every:
        panel = next((fit.sample.panel for fit in comparison.estimates.values()), None)
        check_labels(labels, panel, comparison.labels, WHO)
    titles = {name: design.title for name, design in all_designs().items()} | dict(labels)
    comparisons = _by_scale(_distinguished([_renamed(comparison, titles) for comparison in every]))
    first = comparisons[0]
    words = Words(name, caption, {outcome: outcome for outcome in first.outcomes}, SCALES).under(labels)
    events = dict.fromkeys(labels.get(c.question.event, c.question.event) for c in every)
    about = f"Effect of {' and of '.join(events)} on {listed(words.outcomes.values())}"
    words = replace(words, caption=caption or about)
    return models_table(words, comparisons, first.labels if columns == "designs" else first.outcomes, style)


def _under(model: Estimate | Comparison, vcov: VcovWord | None) -> Estimate | Comparison:
    """Return an estimate with a covariance estimator, where one is named."""
    if vcov is None:
        return model
    if isinstance(model, Comparison):
        raise QuestionError(f"{WHO}: a comparison has the vcov of study.compare; give it there.")
    return model.with_vcov(vcov)


def check_labels(labels: Mapping[str, str], panel: Panel | None, more: Iterable[str], where: str) -> None:
    """Refuse a label of what is no column of the panel, design or scale, nor one of some more names."""
    known = {"unit", "units", *SCALES, *all_designs(), *more}
    if panel is not None:
        known |= {*panel.outcomes, *panel.events, *panel.covariates, *panel.attributes}
    refuse_unknown("name to label", labels, known, where)


def _given(models: Any) -> list[tuple[str, Estimate | Comparison]]:
    """Return models with their labels, which are empty where they are given without."""
    if isinstance(models, Mapping):
        return list(models.items())
    every = [models] if isinstance(models, Estimate | Comparison) else list(models)
    if not every or any(isinstance(model, str) for model in every):
        raise QuestionError(f"{WHO}: models is {shown(models)}; give estimates or comparisons, one at least.")
    return [("", model) for model in every]


def _as_comparison(model: Estimate | Comparison, label: str, terms: Terms) -> Comparison:
    """Return an estimate as the comparison of one design, whose label is its name where none is given."""
    if isinstance(model, Comparison):
        return model
    question, label = model.sample.question, label or model.design
    key = (question.outcome, label)
    estimates = {key: answered(model.headline)} if terms == "average" else {}
    return Comparison(question, (label,), (question.outcome,), estimates, {}, {}, {}, 0, {key: model})


def _renamed(comparison: Comparison, names: Mapping[str, str]) -> Comparison:
    """Return a comparison whose labels are names where these have one."""
    titles = {label: names.get(label, label) for label in comparison.labels}

    def renamed(cells: Mapping[tuple[str, str], Any]) -> dict[tuple[str, str], Any]:
        return {(outcome, titles[label]): cell for (outcome, label), cell in cells.items()}

    fields = ("estimates", "refusals", "adjusted", "fits")
    by_label: dict[str, Any] = {field: renamed(getattr(comparison, field)) for field in fields}
    return replace(comparison, labels=tuple(titles.values()), **by_label)


def _distinguished(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons whose labels distinguish estimates of one label, outcome and scale by what they differ in."""
    twice = {label for (_, label) in _repeated(comparisons)}
    fits = [(label, fit) for c in comparisons for (_, label), fit in c.estimates.items()]
    specified = {label: [_specification(fit) for name, fit in fits if name == label] for label in twice}
    apart = []
    for comparison in comparisons:
        names = {}
        for (_, label), fit in comparison.estimates.items():
            own = _specification(fit) if label in twice else {}
            differing = [k for k in own if any(other.get(k) != own[k] for other in specified[label])]
            names[label] = label + f" ({', '.join(_part(k, own[k]) for k in differing)})" * bool(differing)
        apart.append(_renamed(comparison, names))
    for (outcome, label), count in _repeated(apart).items():
        raise QuestionError(
            f'{WHO}: {count} models of {outcome} are "{label}"; give each a label: '
            'study.table({"first": fit, "second": other}).'
        )
    return apart


def _repeated(comparisons: Sequence[Comparison]) -> dict[tuple[str, str], int]:
    """Return the outcomes and labels of which there are several estimates on one scale, with their number."""
    cells = Counter((key, c.question.scale) for c in comparisons for key in c.estimates)
    return {key: count for (key, _), count in cells.items() if count > 1}


def _part(name: str, value: Any) -> str:
    """Return the part of a label that has the value of an option."""
    text, words = ", ".join(value) if isinstance(value, tuple) else value, name.replace("_", " ")
    return f"no {words}" if text in (None, "") else f"{words} {text}"


def _specification(fit: Estimate) -> dict[str, Any]:
    """Return what may distinguish an estimate from another by the same design for the same outcome."""
    fields_of = {k: v for k, v in vars(fit.sample.question).items() if k not in ("outcome", "scale")}
    return fields_of | {"vcov": fit.errors_by, "panel": fit.sample.panel.name} | dict(fit.options)


def _by_scale(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons as one a scale, all of the same designs for the same outcomes."""
    labels = tuple(dict.fromkeys(label for c in comparisons for label in c.labels))
    outcomes = tuple(dict.fromkeys(outcome for c in comparisons for outcome in c.outcomes))
    untested = dict.fromkeys(outcomes, replace(agreement_of({}), notes=()))
    return [
        replace(
            own[-1],
            labels=labels,
            outcomes=outcomes,
            estimates={key: fit for comparison in own for key, fit in comparison.estimates.items()},
            refusals={key: why for comparison in own for key, why in comparison.refusals.items()},
            agreement=untested if len(own) > 1 else untested | own[0].agreement,
        )
        for own in grouped((comparison.question.scale, comparison) for comparison in comparisons).values()
    ]


def as_table(fit: Estimate, level: float = 0.95) -> Table:
    """Return one estimate's terms as a table: estimate, standard error, pointwise interval at a level.

    Parameters
    ----------
    fit : Estimate
        Its K terms are the lines.
    level : float
        Of the interval.
    """
    question, scale = fit.sample.question, fit.sample.question.effect_scale
    lines = [
        Line(row["term"], [COLUMNS[name].cell(row[name], scale, row["std_error"]) for name in SHOWN])
        for row in fit.tidy(level).to_dict("records")
    ]
    return Table(
        name="estimate",
        caption=f"Effect of {question.event} on {question.outcome}",
        headings=["Estimate", "Std. error", f"{100 * level:g}% low", f"{100 * level:g}% high"],
        blocks=[Block(f"{design_title(fit)}{f', {scale.column}' * scale.percent}", lines)],
        notes=[f"{sentence}." for sentence in described(fit)],
    )


def estimate_facts(fit: Estimate, level: float = 0.95) -> tuple[str, dict[str, str]]:
    """Return what an estimate is of, as a title, and its headline and what it rests on, by what they are."""
    sample, question = fit.sample, fit.sample.question
    estimand = f"{fit.estimand}, scale {question.scale}, {question.comparison.replace('_', '-')} comparison"
    facts = {"estimand": estimand + _conditions(question)}
    with suppress(QuestionError):  # an average that does not exist is refused where it is requested
        facts[fit.headline.terms[0].replace("_", " ")] = _in_words(fit.headline, level)
    units = f"{counted(sample.n_units, 'unit')} of {sample.panel.name}, {sample.n_treated} treated"
    facts["sample"] = f"{units}{_in_cohorts(sample)}; {counted(fit.n_obs, 'observation')}"
    facts["errors"] = "; ".join([fit.errors_by, *_clusters(fit)])
    facts["terms"] = f"{len(fit.terms)}, {fit.terms[0]} to {fit.terms[-1]}" if len(fit.terms) > 1 else ""
    title = f"{design_title(fit)}: effect of {question.event} on {question.outcome}"
    return title, {name: fact for name, fact in facts.items() if fact}


def _clusters(fit: Estimate) -> list[str]:
    """Say how many clusters errors have and what these are, nothing of errors that have none."""
    by = fit.sample.question.cluster or fit.sample.panel.unit
    return [] if fit.vcov in UNCLUSTERED else [f"{counted(fit.n_clusters, 'cluster')}, by {by}"]


def _conditions(question: Question) -> str:
    """Say given which covariates and with which weights, and of which cohorts averages are where not of all."""
    parts = {
        f", given {', '.join(question.covariates)}": bool(question.covariates),
        f", units weighted by {question.weights}": bool(question.weights),
        f", averaged over cohorts seen up to event time {question.balance}": question.balance is not None,
    }
    return "".join(part for part, holds in parts.items() if holds)


def _in_cohorts(sample: Sample) -> str:
    """Say in how many cohorts units are treated, where they are."""
    return f" in {counted(len(sample.cohorts), 'cohort')}" if sample.first_treated is not None else ""


def design_title(fit: Estimate) -> str:
    """Return the title of an estimate's design, or its name where it is in no catalogue."""
    known = all_designs().get(fit.design)
    return known.title if known else fit.design


def _in_words(average: Estimate, level: float, *, full: bool = False) -> str:
    """Write an estimate of one term with its interval and p-value, in full also with its standard error and t."""
    effect, scale = Effect.of("", average, level), average.sample.question.effect_scale
    if not effect.exists:
        return "no estimate, because a mean to divide by is not positive"
    slope = average.estimand is Estimand.GROUP_TIME_ACRT
    per_dose = f" per unit of {average.sample.question.dose}" if slope else ""
    size, low, high = scale.texts(effect.estimate, effect.conf_low, effect.conf_high)
    error = scale.texts(effect.std_error)[0]
    size += f" {scale.unit}{per_dose}"
    if math.isnan(effect.std_error):
        return f"{size}, no standard error"
    interval, p_value = f"{100 * level:g}% CI {low} to {high}", p_is(effect.p_value)
    if not full:
        return f"{size} ({interval}), {p_value}"
    statistic = f"{effect.estimate / effect.std_error:.2f}"
    t = f"z = {statistic}" if math.isinf(effect.degrees) else f"t = {statistic} on {effect.degrees:.1f} df"
    return f"{size}, std. error {error}, {interval}, {t}, {p_value}"


def headline_summary(fit: Estimate, level: float) -> Text:
    """Return an estimate of one term in at most eight lines."""
    sample, question = fit.sample, fit.sample.question
    notes = notes_of(fit)
    if len(notes) > MOST_NOTES:
        notes = [*notes[: MOST_NOTES - 1], f"{len(notes) - MOST_NOTES + 1} more notes in .notes"]
    power = smallest_effect(fit)
    units = f"{counted(sample.n_units, 'unit')}, {sample.n_treated} treated{_in_cohorts(sample)}"
    found = (
        []
        if math.isnan(power.effect)
        else [
            f"Minimum detectable effect (80% power, 5% size): {power} in units of {question.outcome} and percent of "
            f"{POWER_OF[question.scale]}"
        ]
    )
    about = [
        f"{fit.estimand}, {fit.terms[0]}, scale {question.scale}{_conditions(question)}",
        _in_words(fit, level, full=True),
        f"{units}; {counted(fit.n_obs, 'observation')}; {_errors(fit)}",
        *found,
        *notes,
    ]
    title = f"{design_title(fit)}: effect of {question.event} on {question.outcome}"
    return Text("\n".join([title, *(f"  {line}" for line in about)]))


def _errors(fit: Estimate) -> str:
    """Say what standard errors are, and how many clusters they rest on."""
    treated, compared = (int(number) for number in fit.leave_out.clusters[:, 0])
    by = fit.sample.question.cluster or fit.sample.panel.unit
    if fit.vcov in UNCLUSTERED:
        return f"{fit.errors_by} standard errors"
    return f"{fit.errors_by} standard errors by {by}, {treated} treated and {compared} comparison clusters"


def estimate_summary(fit: Estimate, level: float = 0.95) -> Text:
    """Return what an estimate is, its headline, its path by event time or else its terms, and its notes."""
    import pandas as pd

    if len(fit.terms) == 1:
        return headline_summary(fit, level)
    (title, facts), scale = estimate_facts(fit, level), fit.sample.question.effect_scale
    shown = [by_event_time(fit), *([] if fit.at is None else [fit.aggregate(fit.at_name)])]
    path = pd.concat([part.tidy(level)[["term", *NUMBERS]] for part in shown])
    path[[*SHOWN]] *= scale.factor
    digits = decimals(1 if scale.percent else 4, *path[[*SHOWN]].to_numpy().ravel())
    in_full = dict.fromkeys(SHOWN, lambda value: fixed(value, digits))
    table = path.to_string(
        index=False,
        float_format=lambda value: fixed(value, 4),
        formatters=WRITTEN | in_full,
        na_rep="",
    )
    unit = [f"In {scale.printed}{', each effect of its own' * (len(path) > 1)}:"] if scale.percent else []
    return Text("\n".join([lines(title, facts), *unit, table, *(f"{note}." for note in described(fit)[2:])]))


def by_event_time(fit: Estimate) -> Estimate:
    """Return group-time effects averaged over cohorts by event time, and other estimates as they are."""
    in_cells = fit.estimand.in_cells and np.isfinite(fit.cohort + fit.period).any()
    return fit.by_event_time if in_cells else fit


def described(fit: Estimate) -> list[str]:
    """Say what an estimate is, on whom, with what uncertainty, and what it could have found.

    Returns
    -------
    list of str
        Sentences without their full stops.
    """
    sample, power = fit.sample, []
    with suppress(QuestionError):  # averages by cohort or period have no average of their own
        average = fit if len(fit.terms) == 1 else fit.headline
        power = [
            f"Minimum detectable effect of {average.terms[0]} at 80% power and 5% size: {smallest_effect(average)} in "
            f"units of {sample.question.outcome} and in percent of {POWER_OF[sample.question.scale]}"
            + "; power is less where the effect multiplies errors too"
            * (sample.question.scale == "proportional")
        ]
    return [
        f"Estimand: {fit.estimand}, scale {sample.question.scale}{_conditions(sample.question)}",
        "; ".join(
            [
                f"{counted(sample.n_units, 'unit')}, {sample.n_treated} of them treated{_in_cohorts(sample)}",
                counted(fit.n_obs, "observation"),
                *_clusters(fit),
                STANDARD_ERRORS[fit.errors_by],
                *([f"{degrees} degrees of freedom"] if (degrees := degrees_in_words([fit])) else []),
            ]
        ),
        *power,
        *notes_of(fit),
    ]


def estimates_in(form: str, fits: Sequence[Estimate], level: float = 0.95) -> str:
    """Return estimates one after another, as "text", "latex", "html", "md", "csv" or "json".

    Intervals are at ``level``. The last two have what :meth:`study.Estimate.tidy` has, and JSON besides what
    was asked and what each estimate rests on.
    """
    if form == "json":
        return as_json([_record(fit, level) for fit in fits])
    if form == "csv":
        import pandas as pd

        return pd.concat([fit.tidy(level) for fit in fits], ignore_index=True).to_csv(index=False)
    if form == "text":
        return "\n\n".join(estimate_summary(fit, level) for fit in fits)
    return document([as_table(fit, level) for fit in fits], cast("Format", form)).decode()


def comparison_in(form: str, comparison: Comparison, level: float = 0.95) -> str:
    """Return a comparison as "text", "latex", "html", "md", "csv" (averages) or "json" (tests as well)."""
    if form == "json":
        record = {
            "question": asdict(comparison.question),
            "outcomes": comparison.outcomes,
            "averages": rows_of(comparison.tidy(level)),
            "differences": rows_of(comparison.differences()),
            "tests": rows_of(comparison.tests()),
            "notes": comparison.notes,
            "refused": comparison.refused,
        }
        return as_json(record)
    if form == "csv":
        return comparison.tidy(level).to_csv(index=False)
    if form == "text":
        return comparison_summary(comparison, level)
    return document(as_tables(comparison), cast("Format", form)).decode()


def comparison_summary(comparison: Comparison, level: float) -> Text:
    """Return the averages of a comparison, the tests that they agree, and notes, a block an outcome."""
    question, table = comparison.question, comparison.tidy(level)
    lines = [f"Effect of {question.event} on {listed(comparison.outcomes)}, by design"]
    for outcome in comparison.outcomes:
        rows = table[(table["outcome"] == outcome) & (table["refusal"] == "")]
        if len(comparison.outcomes) > 1:
            lines += ["", f"{outcome}:"]
        lines += [*_averages(rows, comparison), *_agreement(comparison, outcome)]
    fits = list(comparison.estimates.values())
    if fits:
        errors = dict.fromkeys(fit.errors_by for fit in fits)
        by = question.cluster or fits[0].sample.panel.unit
        sample = max((fit.sample for fit in fits), key=lambda sample: sample.n_units)
        units = f"{counted(sample.n_units, 'unit')} of {sample.panel.name}, {sample.n_treated} treated"
        lines.append(f"{units}{_in_cohorts(sample)}; {listed(errors)} standard errors by {by}.")
    notes = [*_warned(comparison), *comparison.notes, *comparison.refused]
    lines += [f"{note.removesuffix('.')}." for note in notes]
    return Text("\n".join(lines))


def _warned(comparison: Comparison) -> list[str]:
    """Return the first warning that few clusters carry a variance, and which other averages have one."""
    several = len(comparison.outcomes) > 1
    warned = {
        f"{label} on {outcome}" if several else label: text
        for (outcome, label), fit in comparison.estimates.items()
        if (text := few_clusters_warning(fit))
    }
    if not warned:
        return []
    _, *others = warned
    return [next(iter(warned.values())), *([f"A like warning holds for {listed(others)}"] if others else [])]


def _averages(rows: pd.DataFrame, comparison: Comparison) -> list[str]:
    """Return the averages of one outcome as lines of a table."""
    if rows.empty:
        return []
    scale = comparison.question.effect_scale
    rows = rows[["design", "term", *NUMBERS, *(name for name in ADJUSTED if name in rows)]].copy()
    rows[[*SHOWN]] *= scale.factor
    digits = decimals(1 if scale.percent else 4, *rows[[*SHOWN]].to_numpy().ravel())
    written = dict.fromkeys(SHOWN, lambda value: fixed(value, digits)) | WRITTEN
    text: str = rows.to_string(index=False, formatters=written, na_rep="", float_format=lambda v: fixed(v, 3))
    return [*([f"In {scale.printed}:"] if scale.percent else []), *text.split("\n")]


def _agreement(comparison: Comparison, outcome: str) -> list[str]:
    """Say what the tests that designs agree on an outcome found."""
    test, wald = comparison.agreement[outcome].sup_t, comparison.agreement[outcome].wald
    if test is None:
        return []
    said = (
        f"Test that designs agree: sup-t {test.statistic:.3f} (95% critical value {test.critical_value:.3f})"
    )
    said += f", {p_is(test.p_value)}"
    if wald is not None:
        said += f"; Wald chi-squared {wald.statistic:.3f} on {wald.rank} df, {p_is(wald.p_value)}"
    return [f"{said}. Their differences: .differences()."]


def _record(fit: Estimate, level: float) -> dict[str, Any]:
    return {
        "design": fit.design,
        "options": dict(fit.options),
        "question": asdict(fit.sample.question),
        "panel": {"name": fit.sample.panel.name, "checksum": fit.sample.panel_checksum},
        "estimand": fit.estimand,
        "vcov": fit.errors_by,
        "level": level,
        "n_units": fit.sample.n_units,
        "n_treated": fit.sample.n_treated,
        "n_obs": fit.n_obs,
        "n_clusters": fit.n_clusters,
        "notes": fit.notes,
        "terms": rows_of(fit.tidy(level)),
    }


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame, None where a cell is empty."""
    return frame.astype(object).where(frame.notna(), None).to_dict(orient="records")


def as_json(record: Any) -> str:
    """Return a record as indented JSON, what JSON does not know as text."""
    return json.dumps(record, indent=2, ensure_ascii=False, default=str)
