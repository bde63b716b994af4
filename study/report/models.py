"""The door to tables: estimates and comparisons of any origin as one table of designs and outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from study.core import QuestionError, checked, refuse_unknown, shown
from study.designs import all_designs
from study.estimates import Estimate
from study.inference import Comparison, agreement_of, answered
from study.panel import Panel
from study.report.design_table import SCALES, STARS, WHO, Style, Terms, Words, by_terms, models_table
from study.report.table import Table


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
    every = [by_terms(_as_comparison(model, label, terms), terms) for label, model in _given(models)]
    for comparison in every:
        panel = next((fit.sample.panel for fit in comparison.estimates.values()), None)
        check_labels(labels, panel, comparison.labels, WHO)
    titles = {name: design.title for name, design in all_designs().items()} | dict(labels)
    comparisons = _by_scale(_told_apart([_renamed(comparison, titles) for comparison in every]))
    first = comparisons[0]
    words = Words(name, caption, {outcome: outcome for outcome in first.outcomes}, SCALES).under(labels)
    events = dict.fromkeys(labels.get(c.question.event, c.question.event) for c in every)
    if not caption:
        words = replace(
            words, caption=f"Effect of {' and of '.join(events)} on {', '.join(words.outcomes.values())}"
        )
    return models_table(words, comparisons, first.labels if columns == "designs" else first.outcomes, style)


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
    by_label: dict[str, Any] = {
        field: {
            (outcome, titles[label]): cell for (outcome, label), cell in getattr(comparison, field).items()
        }
        for field in ("estimates", "refusals", "adjusted", "fits")
    }
    return replace(comparison, labels=tuple(titles.values()), **by_label)


def _told_apart(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons whose labels say what estimates of one label, outcome and scale differ by."""
    twice = {label for (_, label) in _repeated(comparisons)}
    fits = [(label, fit) for c in comparisons for (_, label), fit in c.estimates.items()]
    specified = {label: [_specification(fit) for name, fit in fits if name == label] for label in twice}
    apart = []
    for comparison in comparisons:
        names = {}
        for (_, label), fit in comparison.estimates.items():
            own = _specification(fit) if label in twice else {}
            differing = [k for k in own if any(other.get(k) != own[k] for other in specified[label])]
            names[label] = label + f" ({', '.join(_told(k, own[k]) for k in differing)})" * bool(differing)
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


def _told(name: str, value: Any) -> str:
    """Return what an estimate has of a name for its label."""
    told, words = ", ".join(value) if isinstance(value, tuple) else value, name.replace("_", " ")
    return f"no {words}" if told in (None, "") else f"{words} {told}"


def _specification(fit: Estimate) -> dict[str, Any]:
    """Return what may tell an estimate apart from another by the same design for the same outcome."""
    fields_of = {k: v for k, v in vars(fit.sample.question).items() if k not in ("outcome", "scale")}
    return fields_of | {"convention": fit.errors_by, "panel": fit.sample.panel.name} | dict(fit.options)


def _by_scale(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Return comparisons as one a scale, all of the same designs for the same outcomes."""
    labels = tuple(dict.fromkeys(label for c in comparisons for label in c.labels))
    outcomes = tuple(dict.fromkeys(outcome for c in comparisons for outcome in c.outcomes))
    untested = dict.fromkeys(outcomes, replace(agreement_of({}), notes=()))
    joined: dict[str, Comparison] = {}
    for comparison in comparisons:
        scale = comparison.question.scale
        both = joined.get(scale)
        joined[scale] = replace(
            comparison,
            labels=labels,
            outcomes=outcomes,
            estimates=(both.estimates if both else {}) | comparison.estimates,
            refusals=(both.refusals if both else {}) | comparison.refusals,
            agreement=untested if both else untested | comparison.agreement,
        )
    return list(joined.values())
