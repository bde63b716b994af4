"""One question under every combination of designs, scales, populations, comparison groups and covariates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, two_sided_p, unknown
from study.designs import find_design
from study.diagnostics.finding import Finding
from study.diagnostics.registry import Section, diagnostic
from study.estimates import FEW, Estimate, Joint, Weights, distribution, effective_clusters, treated_clusters
from study.figures import BAND, COLOUR, FULL, GREY, SECOND, legend_above, on_axes
from study.figures.canvas import canvas
from study.figures.dots import shortened
from study.inference import (
    EQUAL,
    LEVEL,
    Kind,
    Largest,
    Median,
    Share,
    answered,
    first_equal,
    joined_headlines,
    kind,
    largest_test,
    median_test,
    null_statistics,
    share_test,
    variants_of,
)
from study.panel import Comparison, Panel, Question, Sample, Scale, ScaleName
from study.panel.population import population

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WHO = "specification_curve"
SMALL = 7.5
LONGEST = 38
MANY = 25


class Choice(NamedTuple):
    """How a choice is called: one, several, and as a heading of the figure where it has one."""

    one: str
    several: str
    heading: str = ""


CHOICES = {
    "scale": Choice("scale", "scales"),
    "design": Choice("design", "designs", "Design"),
    "population": Choice("population", "populations", "Population"),
    "comparison": Choice("comparison group", "comparison groups", "Comparison group"),
    "covariates": Choice("set of covariates", "sets of covariates", "Covariates"),
}


class Specification(NamedTuple):
    """One way to answer the question, by the labels of its choices."""

    scale: str
    design: str
    population: str
    comparison: str
    covariates: str


class Answer(NamedTuple):
    """The average of one specification, and what it is of."""

    specification: Specification
    fit: Estimate
    kind: Kind


class Tests(NamedTuple):
    """Tests of all specifications at once, over all scales and by scale.

    ``first`` is the answer that each is algebraically equal to, itself if none, shape (K,); only those count.
    """

    first: NDArray[np.int64]
    largest: Largest
    share: Share
    by_scale: dict[str, tuple[Median, Share]]


@diagnostic(
    "specification_curve",
    title="All specifications",
    question="What do all specifications say together?",
    section=Section.OVERTURNS,
    shown=3,
)
@checked
def specification_curve(
    panel: Panel,
    question: Question,
    *,
    designs: Sequence[str | tuple[Any, ...]] | None = None,
    scales: Sequence[ScaleName] | None = None,
    populations: Sequence[str] | Mapping[str, str] | None = None,
    comparisons: Sequence[Comparison] | None = None,
    covariate_sets: Sequence[tuple[str, ...]] | Mapping[str, tuple[str, ...]] | None = None,
    draws: int = 9999,
    seed: int = 0,
    weights: Weights = "rademacher",
    progress: Callable[[], None] | None = None,
) -> Finding:
    """Estimate every specification of a question, and test all of them at once.

    Simonsohn, Simmons and Nelson (2020) compare a curve's median and its number of significant estimates with
    their distribution under no effect, which they get by permuting or bootstrapping the data and estimating all
    specifications again. Here the estimates' influence functions are drawn instead: all specifications have
    the same random weight for a cluster, so that their errors are correlated as they are in the sample, and
    influence has mean zero, so that the draws obey the null. Nothing is estimated again. No specification is
    selected: those that are algebraically equal to another are shown, and counted once in the tests. With few
    treated clusters the tests reject more often than their level says, the one by the largest t most of all.

    Parameters
    ----------
    panel : Panel
    question : Question
        What all specifications have in common; it has the one choice where no list is given.
    designs : sequence, optional
        Names, or tuples (name, options) or (name, options, label); by default every design that draws nothing
        at random.
    scales, comparisons : sequence of str, optional
    populations : sequence of str, or mapping of label to rule, optional
    covariate_sets : sequence of tuple of str, or mapping of label to tuple of str, optional
        Sets of covariates, in the place of the question's own; () is none.
    draws, seed : int
        Of the multiplier bootstrap.
    weights : {"rademacher", "mammen", "webb"}
    progress : callable, optional
        Called after each specification.

    Returns
    -------
    Finding
        The frame has a row a specification, by scale in the order asked and then by size, those without an estimate
        last: scale, design, population, comparison, covariates, estimate, std_error, statistic, p_value, conf_low,
        conf_high (pointwise at 95% under the design's own convention), band_low, band_high (cover all specifications
        at once with 95%), n_units, treated_clusters, effective_clusters, equal_to (the row that it is algebraically
        equal to, itself if none), refusal. Details: ``by_scale``, a table of what all estimates on a scale say
        together; ``largest``, the test by the largest absolute t, and ``share``, that by the number of significant
        specifications, over all scales; ``joint``, the averages with their influence on the union of the samples'
        units; ``choices``, labels by field; ``verdict_by_scale``, sentences.

    Raises
    ------
    QuestionError
        If a name is unknown, a list is empty or names something twice, there is one cluster, or no
        specification has an estimate.

    References
    ----------
    Simonsohn, Simmons and Nelson (2020), "Specification curve analysis", Nature Human Behaviour 4.
    """
    if draws < 1:
        raise QuestionError(f"{WHO}: draws is {draws}; it must be at least 1.")
    distribution(weights)
    variants = variants_of(designs, WHO)
    asked_scales = _listed("scales", scales, question.scale, get_args(ScaleName))
    asked_comparisons = _listed("comparisons", comparisons, question.comparison, get_args(Comparison))
    rules = _labelled("populations", populations, question.population, str)
    sets = _labelled(
        "covariate_sets", covariate_sets, question.covariates, lambda names: ", ".join(names) or "none"
    )
    for rule in rules.values():
        population(rule, panel)
    answers: list[Answer] = []
    refused: dict[Specification, str] = {}
    for scale, place, comparison, added in product(asked_scales, rules, asked_comparisons, sets):
        changed = question.replace(
            scale=scale, population=rules[place], comparison=comparison, covariates=sets[added]
        )
        sample = _sample(changed, panel)
        for variant in variants:
            specification = Specification(scale, variant.label, place, comparison, added)
            answer = _answer(specification, sample, variant.name, variant.options)
            if isinstance(answer, Answer):
                answers.append(answer)
            else:
                refused[specification] = answer
            if progress is not None:
                progress()
    if not answers:
        raise QuestionError(
            f"{WHO}: none of {len(refused)} specifications has an estimate; the first says: "
            f"{next(iter(refused.values()))}"
        )
    labels = (asked_scales, tuple(v.label for v in variants), tuple(rules), asked_comparisons, tuple(sets))
    choices = dict(zip(Specification._fields, labels, strict=True))
    return _finding(question, choices, answers, refused, draws, seed, weights)


def _finding(
    question: Question,
    choices: Mapping[str, Sequence[str]],
    answers: list[Answer],
    refused: Mapping[Specification, str],
    draws: int,
    seed: int,
    weights: Weights,
) -> Finding:
    """Put the answers in order, test all of them by draws of their joint influence, and say what was found."""
    scales = choices["scale"]
    answers = sorted(answers, key=lambda a: (scales.index(a.specification.scale), a.fit.effect[0]))
    joint = joined_headlines({" | ".join(a.specification): a.fit for a in answers}, WHO)
    tests = _tests(answers, joint, scales, draws, seed, weights)
    frame = _frame(answers, refused, tests)
    by_scale = _by_scale(frame, tests)
    verdict_by_scale = {scale: _scale_sentence(scale, row, question) for scale, row in by_scale.iterrows()}
    return Finding(
        name=WHO,
        title="All specifications",
        verdict=_verdict(question, choices, frame),
        evidence=(
            *verdict_by_scale.values(),
            _test_sentence(tests),
            "These p-values are from the influence functions of all specifications, which were multiplied by one "
            f"random weight a cluster ({weights}, {draws} draws) in place of permuting the data and estimating "
            "everything again; tests with few treated clusters reject more often than their level says.",
            *_qualifications(answers, frame),
            *_refusals(frame),
        ),
        frame=frame,
        chart=partial(_chart, outcome=question.outcome, choices=choices, medians=by_scale["median"]),
        details={
            "by_scale": by_scale,
            "largest": tests.largest,
            "share": tests.share,
            "joint": joint,
            "choices": choices,
            "verdict_by_scale": verdict_by_scale,
        },
    )


def _tests(
    answers: Sequence[Answer], joint: Joint, scales: Sequence[str], draws: int, seed: int, weights: Weights
) -> Tests:
    """Test all specifications at once by draws of their joint influence."""
    sums = joint.sums
    of_scale = np.array([scales.index(a.specification.scale) for a in answers])
    first = first_equal(joint.effect, sums / len(joint.influence), of_scale, EQUAL)
    distinct = np.flatnonzero(first == np.arange(len(answers)))
    error = np.array([answer.fit.std_error[0] for answer in answers])[distinct]
    critical = np.array([answer.fit.critical_value(LEVEL)[0] for answer in answers])[distinct]
    effect = joint.effect[distinct]
    null = null_statistics(sums[:, distinct], draws=draws, seed=seed, weights=weights)
    null *= joint.std_error[distinct] / error  # to each one's own small-sample convention
    by_scale = {}
    for place, scale in enumerate(scales):
        of = of_scale[distinct] == place
        if of.any():
            by_scale[scale] = (
                median_test(effect[of], error[of], null[:, of]),
                share_test(effect[of] / error[of], critical[of], null[:, of]),
            )
    statistics = effect / error
    return Tests(
        first, largest_test(statistics, null, LEVEL), share_test(statistics, critical, null), by_scale
    )


def _frame(answers: Sequence[Answer], refused: Mapping[Specification, str], tests: Tests) -> pd.DataFrame:
    import pandas as pd

    rows = [_row(answer, tests.largest, k) for answer, k in zip(answers, tests.first, strict=True)]
    columns = list(rows[0])
    rows += [specification._asdict() | {"refusal": reason} for specification, reason in refused.items()]
    counts = dict.fromkeys(["n_units", "treated_clusters", "equal_to"], "Int64")
    return pd.DataFrame(rows, columns=columns).astype(counts)


def _row(answer: Answer, largest: Largest, equal_to: int) -> dict[str, Any]:
    fit = answer.fit
    effect, error, pointwise = fit.effect[0], fit.std_error[0], fit.critical_value(LEVEL)[0]
    simultaneous = max(largest.critical_value, pointwise)
    return answer.specification._asdict() | {
        "estimate": effect,
        "std_error": error,
        "statistic": effect / error,
        "p_value": float(two_sided_p(effect / error, fit.degrees_of_freedom[0])),
        "conf_low": effect - pointwise * error,
        "conf_high": effect + pointwise * error,
        "band_low": effect - simultaneous * error,
        "band_high": effect + simultaneous * error,
        "n_units": fit.sample.n_units,
        "treated_clusters": treated_clusters(fit),
        "effective_clusters": effective_clusters(fit)[0],
        "equal_to": equal_to,
        "refusal": "",
    }


def _by_scale(frame: pd.DataFrame, tests: Tests) -> pd.DataFrame:
    """Return a row a scale: counts, the range of all estimates, and the tests of those that are distinct.

    ``positive`` and ``excluding_zero`` are shares of all estimates; ``significant`` counts distinct ones, of which a
    share ``expected`` would be if no specification had an effect.
    """
    import pandas as pd

    rows = {}
    for scale, (median, share) in tests.by_scale.items():
        shown = frame[(frame["scale"] == scale) & (frame["refusal"] == "")]
        estimate = shown["estimate"]
        rows[scale] = {
            "count": len(shown),
            "distinct": share.distinct,
            "smallest": estimate.min(),
            "median": median.value,
            "largest": estimate.max(),
            "positive": float(np.mean(estimate > 0)),
            "excluding_zero": float(np.mean((shown["conf_low"] > 0) | (shown["conf_high"] < 0))),
            "p_median": median.p_value,
            "p_share": share.p_value,
            "significant": share.significant,
            "expected": share.expected,
        }
    return pd.DataFrame.from_dict(rows, orient="index")


def _sample(question: Question, panel: Panel) -> Sample | str:
    """Return the sample, or why there is none."""
    try:
        return question.sample(panel)
    except QuestionError as refusal:
        if not set(question.covariates) <= set(panel.covariates):
            raise  # a name that nobody has is a mistake, not a refusal
        return str(refusal)


def _answer(
    specification: Specification, sample: Sample | str, design: str, options: Mapping[str, Any]
) -> Answer | str:
    """Return a specification's average, or why it has none."""
    if isinstance(sample, str):
        return sample
    try:
        fit = find_design(design)(sample, **options)
        headline = answered(fit.headline)
    except QuestionError as refusal:
        return str(refusal).removeprefix(f"{design}: ")
    if headline.n_clusters < 2:
        return "there is one cluster, so there is no sampling variance"
    if not headline.varies[0]:
        return f"its average is {headline.effect[0]:.4g} without a sampling variance"
    return Answer(specification, headline, kind(fit))


def _listed(name: str, given: Any, default: str, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of a list that was given, each once and known."""
    values = (default,) if given is None else given
    if isinstance(values, str) or not len(values) or len(set(values)) < len(values):
        raise QuestionError(f"{WHO}: {name} is {given!r}; give a list of different names.")
    for value in values:
        if value not in known:
            raise unknown(name.removesuffix("s"), str(value), known, WHO)
    return tuple(values)


def _labelled(name: str, given: Any, default: Any, label: Callable[[Any], str]) -> dict[str, Any]:
    """Return what was given, a list or a mapping, by label."""
    values = (default,) if given is None else given
    kind_of_one = type(default)
    if isinstance(values, str) or not len(values):
        raise QuestionError(f"{WHO}: {name} is {given!r}; give a list or a mapping of labels.")
    items = values.values() if isinstance(values, Mapping) else values
    for one in items:
        if not isinstance(one, kind_of_one):
            raise QuestionError(
                f"{WHO}: {name} has {one!r}; each has to be a {kind_of_one.__name__}, such as {default!r}."
            )
    found = dict(values) if isinstance(values, Mapping) else {label(one): one for one in values}
    if len(set(found.values())) < len(values):
        raise QuestionError(f"{WHO}: {name} is {given!r}; give different ones.")
    return found


def _verdict(question: Question, choices: Mapping[str, Sequence[str]], frame: pd.DataFrame) -> str:
    counts = []
    for name, labels in choices.items():
        choice = CHOICES[name]
        counts.append(f"{len(labels)} {choice.several if len(labels) > 1 else choice.one}")
    refused = int((frame["refusal"] != "").sum())
    return (
        f"Of {len(frame)} specifications of the effect of {question.event} on {question.outcome} "
        f"({', '.join(counts)}), {len(frame) - refused} have an estimate and {refused} are refused."
    )


def _scale_sentence(scale: str, row: pd.Series, question: Question) -> str:
    measured = Scale(scale, question.outcome)
    low, median, high = (f"{measured.factor * row[name]:.3g}" for name in ("smallest", "median", "largest"))
    n = int(row["count"])
    return (
        f"On the scale {scale}, in {measured.column}, the {n} estimates run from {low} to {high}, "
        f"{row['positive'] * n:.0f} of them positive, with the median {median} (p = {row['p_median']:.4f} if no "
        f"specification had an effect); {row['significant']:.0f} of {row['distinct']:.0f} are significant at 5% alone, "
        f"where {row['expected']:.1%} would be without any effect (p = {row['p_share']:.4f})."
    )


def _test_sentence(tests: Tests) -> str:
    largest, share = tests.largest, tests.share
    return (
        f"Over all scales the largest absolute t is {largest.statistic:.2f}, with a critical value of "
        f"{largest.critical_value:.2f} for all {share.distinct} at once (p = {largest.p_value:.4f} if no specification "
        f"had an effect), and {share.significant} of {share.distinct} are significant alone "
        f"(p = {share.p_value:.4f}); the band covers every specification's effect with {LEVEL:.0%} at once."
    )


def _qualifications(answers: Sequence[Answer], frame: pd.DataFrame) -> Iterator[str]:
    """Say which specifications are equal, of unlike kinds, of unlike errors, or rest on few clusters."""
    shown = frame.head(len(answers))
    repeated = int((shown["equal_to"] != shown.index).sum())
    if repeated:
        yield (
            f"Only {len(shown) - repeated} of the {len(shown)} estimates are distinct, as the others are algebraically "
            "equal to one of them on their sample; all are shown, and each counts once in the median, the shares and "
            "the tests."
        )
    kinds: dict[str, dict[str, None]] = {}
    for answer in answers:
        of = str(answer.kind._replace(scale="")).removesuffix(", scale ")
        kinds.setdefault(of, {})[answer.specification.design] = None
    if len(kinds) > 1:
        listed = "; ".join(f"{of} ({', '.join(designs)})" for of, designs in kinds.items())
        yield f"The estimates are of different kinds, and none is left out: {listed}."
    unlike = dict.fromkeys(
        a.specification.design for a in answers if a.fit.options.get("variance", "sampling") != "sampling"
    )
    if unlike:
        yield f"The standard errors of {', '.join(unlike)} are not those of sampling, as its option variance says."
    treated, effective = shown["treated_clusters"], shown["effective_clusters"]
    few = int(((effective < FEW) | (treated < FEW)).sum())
    if few:
        yield (
            f"In {few} specifications fewer than {FEW} clusters are treated or carry the variance (at least "
            f"{treated.min()} treated, {effective.min():.0f} effective), so that their standard errors may be too "
            "small; randomization inference holds for them too."
        )


def _refusals(frame: pd.DataFrame) -> Iterator[str]:
    for reason, designs in frame[frame["refusal"] != ""].groupby("refusal", sort=False)["design"]:
        yield f"Refused, {len(designs)} specifications of {', '.join(designs.unique())}: {reason}"


def _chart(
    frame: pd.DataFrame,
    ax: Axes | None,
    outcome: str,
    choices: Mapping[str, Sequence[str]],
    medians: Mapping[str, float],
) -> Figure:
    """Draw a column for each scale: estimates with intervals and band above, the choices made below.

    On given axes there are the estimates on the first scale alone.
    """
    shown, scales = frame[frame["refusal"] == ""], list(medians.keys())
    rows = {scale: shown[shown["scale"] == scale] for scale in scales}
    if ax is not None:
        with on_axes(ax) as (figure, axis):
            _draw_estimates(axis, rows[scales[0]], scales[0], outcome, medians[scales[0]])
        return figure
    lines = _lines(choices)
    with canvas(FULL, min(9.0, max(4.2, 2.7 + 0.14 * len(lines)))) as figure:
        ratios = [2.4, 0.14 * len(lines)]
        axes = figure.subplots(2, len(scales), squeeze=False, sharex="col", height_ratios=ratios)
        cut = False
        for column, scale in enumerate(scales):
            cut |= _draw_estimates(axes[0, column], rows[scale], scale, outcome, medians[scale])
            _draw_choices(axes[1, column], rows[scale], lines)
            if column:
                axes[1, column].tick_params(labelleft=False)
        labels = [shortened(label.replace("_", " "), LONGEST) for _, label in lines]
        axes[1, 0].set_yticks(range(len(lines)), labels, fontsize=SMALL)
        for tick, (name, _) in zip(axes[1, 0].get_yticklabels(), lines, strict=True):
            tick.set_fontweight("normal" if name else "bold")
        legend_above(figure, axes[0, 0], 4)
        n_refused = len(frame) - len(shown)
        refused = f"; {n_refused} refused are not shown" if n_refused else ""
        too_long = "; intervals that leave the axis are cut" if cut else ""
        below = f"Specifications, by size of the estimate{refused}{too_long}"
        figure.supxlabel(below, fontsize=8, color=GREY)
    return figure


def _lines(choices: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Return field and label of the lower part's lines, headings without a field; one choice has no line."""
    headings = {name: choice.heading for name, choice in CHOICES.items() if choice.heading}
    varied = [name for name in headings if len(choices[name]) > 1] or ["design"]
    return [
        line
        for name in varied
        for line in [("", headings[name]), *((name, label) for label in choices[name])]
    ]


def _draw_estimates(axis: Axes, rows: pd.DataFrame, scale: str, outcome: str, median: float) -> bool:
    """Draw the estimates of a scale; say whether the axis cuts an interval or band."""
    factor, place = Scale(scale).factor, np.arange(1, len(rows) + 1)
    columns = ["estimate", "conf_low", "conf_high", "band_low", "band_high"]
    estimate, low, high, band_low, band_high = factor * rows[columns].to_numpy(dtype=float).T
    axis.bar(
        place,
        band_high - band_low,
        bottom=band_low,
        width=1.0,
        color=BAND,
        alpha=0.45,
        label="simultaneous band",
    )
    axis.axhline(0, color=GREY, linewidth=0.8)
    significant = (low > 0) | (high < 0)
    styles = (
        (significant, COLOUR, "o", COLOUR, "significant alone, 95% interval"),
        (~significant, GREY, "s", "white", "not significant"),
    )
    for which, colour, marker, inside, label in styles:
        axis.errorbar(
            place[which],
            estimate[which],
            yerr=[estimate[which] - low[which], high[which] - estimate[which]],
            fmt=marker,
            markersize=float(np.clip(150 / len(rows), 1.2, 3.5)),
            markerfacecolor=inside,
            color=colour,
            linewidth=0.7,
            label=label,
        )
    axis.axhline(factor * median, color=SECOND, linewidth=0.9, linestyle="--", label="median")
    ends = np.concatenate([band_low, band_high])
    limits = _limits(estimate, ends)
    axis.set_ylim(*limits)
    axis.set_title(Scale(scale, outcome.replace("_", " ")).short_axis(), fontsize=8)
    axis.tick_params(labelsize=SMALL)
    axis.set_xlim(0, len(rows) + 1)
    return bool(ends.min() < limits[0] or ends.max() > limits[1])


def _limits(estimate: FloatArray, ends: FloatArray) -> tuple[float, float]:
    """Return limits that show all estimates and zero, and all but the most extreme ends of the band."""
    low, high = np.quantile(ends, [0.02, 0.98])
    low, high = min(low, estimate.min(), 0.0), max(high, estimate.max(), 0.0)
    room = 0.04 * (high - low)
    return float(low - room), float(high + room)


def _draw_choices(axis: Axes, rows: pd.DataFrame, lines: Sequence[tuple[str, str]]) -> None:
    place = np.arange(1, len(rows) + 1)
    marker, size = ("o", 4.0) if len(rows) <= MANY else ("|", float(np.clip(200 / len(rows), 3.0, 5.5)))
    for height, (name, label) in enumerate(lines):
        if name:
            chosen = place[(rows[name] == label).to_numpy()]
            axis.axhline(height, color="0.92", linewidth=0.6, zorder=0)
            axis.plot(chosen, np.full(len(chosen), height), marker, markersize=size, color=GREY)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.tick_params(labelsize=SMALL)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
