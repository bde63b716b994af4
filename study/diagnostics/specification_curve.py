"""One question under every combination of designs, scales, populations, comparison groups and covariates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from study.core import FloatArray, QuestionError, checked, two_sided_p, unknown
from study.designs import find_design
from study.estimates import FEW, Estimate, Joint, Weights, distribution, effective_clusters, treated_clusters
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

HEADINGS = {
    "design": "Design",
    "population": "Population",
    "comparison": "Comparison group",
    "covariates": "Covariates",
}
SMALL = 7.5
LONGEST = 38
MANY = 25


CHOICES = {
    "scale": ("scale", "scales"),
    "design": ("design", "designs"),
    "population": ("population", "populations"),
    "comparison": ("comparison group", "comparison groups"),
    "covariates": ("set of covariates", "sets of covariates"),
}


WHO = "specification_curve"


class Specification(NamedTuple):
    """One way to answer the question, by the labels of its choices."""

    scale: str
    design: str
    population: str
    comparison: str
    covariates: str


class Answer(NamedTuple):
    """The average of one specification, and what it rests on."""

    specification: Specification
    fit: Estimate
    kind: Kind

    @property
    def statistic(self) -> float:
        """The average over its standard error."""
        return float(self.fit.effect[0] / self.fit.std_error[0])


@dataclass(frozen=True, eq=False)
class SpecificationCurve:
    """Estimates of all specifications of one question, with tests of all of them at once.

    Attributes
    ----------
    question : Question
    choices : dict of str to tuple of str
        For each field of :class:`Specification` the labels that were asked for.
    answers : tuple of Answer, length K
        By scale in the order asked, then by the size of the estimate.
    first : ndarray of int, shape (K,)
        The answer that each is algebraically equal to, itself if none; only those count in the tests.
    joint : Joint
        The K averages with their influence on the union of the samples' units.
    largest : Largest
        The sup-t test that no specification has an effect, over all scales.
    share : Share
        The number of significant specifications, over all scales, and its test.
    medians, shares : dict of scale to Median and Share
    refused : dict of Specification to str
        Why the others have no estimate.
    draws, seed : int
    weights : {"rademacher", "mammen", "webb"}
    """

    question: Question
    choices: dict[str, tuple[str, ...]]
    answers: tuple[Answer, ...]
    first: NDArray[np.int64]
    joint: Joint
    largest: Largest
    share: Share
    medians: dict[str, Median]
    shares: dict[str, Share]
    refused: dict[Specification, str]
    draws: int
    seed: int
    weights: Weights

    @property
    def title(self) -> str:
        """What was looked at."""
        return f"Specification curve of the effect of {self.question.event} on {self.question.outcome}"

    def of_scale(self, scale: str) -> NDArray[np.int64]:
        """Return which answers are on a scale."""
        return np.flatnonzero([a.specification.scale == scale for a in self.answers])

    def tidy(self) -> pd.DataFrame:
        """Return one row a specification, those without an estimate last.

        The interval is pointwise at 95% under the design's own convention; the band covers all specifications
        at once with 95%. ``equal_to`` is the row of the answer that it is algebraically equal to, itself if none.
        """
        import pandas as pd

        rows = [self._row(k) for k in range(len(self.answers))]
        rows += [s._asdict() | {"refusal": why} for s, why in self.refused.items()]
        columns = [*self._row(0)]
        whole = dict.fromkeys(["n_units", "treated_clusters", "equal_to"], "Int64")
        return pd.DataFrame(rows, columns=columns).astype(whole)

    def _row(self, k: int) -> dict[str, Any]:
        specification, fit, _ = self.answers[k]
        effect, error, pointwise = fit.effect[0], fit.std_error[0], fit.critical_value(LEVEL)[0]
        wide = max(self.largest.critical_value, pointwise)
        return specification._asdict() | {
            "estimate": effect,
            "std_error": error,
            "statistic": effect / error,
            "p_value": float(two_sided_p(effect / error, fit.degrees_of_freedom[0])),
            "conf_low": effect - pointwise * error,
            "conf_high": effect + pointwise * error,
            "band_low": effect - wide * error,
            "band_high": effect + wide * error,
            "n_units": fit.sample.n_units,
            "treated_clusters": treated_clusters(fit),
            "effective_clusters": effective_clusters(fit)[0],
            "equal_to": self.first[k],
            "refusal": "",
        }

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, by scale and over all, and what was refused."""
        return sentences(self)

    def plot(self) -> Figure:
        """Draw the estimates in order of size by scale, and below them what each specification is."""
        return curve_figure(self)


@checked
def specification_curve(
    panel: Panel,
    question: Question,
    *,
    designs: Sequence[str | tuple[Any, ...]] | None = None,
    scales: Sequence[ScaleName] | None = None,
    populations: Sequence[str] | Mapping[str, str] | None = None,
    comparisons: Sequence[Comparison] | None = None,
    covariates: Sequence[tuple[str, ...]] | Mapping[str, tuple[str, ...]] | None = None,
    draws: int = 9999,
    seed: int = 0,
    weights: Weights = "rademacher",
    progress: Callable[[], None] | None = None,
) -> SpecificationCurve:
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
    covariates : sequence of tuple of str, or mapping of label to tuple of str, optional
        Sets of covariates; () is none.
    draws, seed : int
        Of the multiplier bootstrap.
    weights : {"rademacher", "mammen", "webb"}
    progress : callable, optional
        Called after each specification.

    Returns
    -------
    SpecificationCurve

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
    sets = _labelled("covariates", covariates, question.covariates, lambda names: ", ".join(names) or "none")
    for rule in rules.values():
        population(rule, panel)
    answers, refused = [], {}
    for scale, place, comparison, added in product(asked_scales, rules, asked_comparisons, sets):
        changed = question.replace(
            scale=scale, population=rules[place], comparison=comparison, covariates=sets[added]
        )
        sample = _sample(changed, panel)
        for variant in variants:
            specification = Specification(scale, variant.label, place, comparison, added)
            found = _answer(specification, sample, variant.name, variant.options)
            if isinstance(found, Answer):
                answers.append(found)
            else:
                refused[specification] = found
            if progress is not None:
                progress()
    choices = (asked_scales, tuple(v.label for v in variants), tuple(rules), asked_comparisons, tuple(sets))
    if not answers:
        raise QuestionError(
            f"{WHO}: none of {len(refused)} specifications has an estimate; the first says: "
            f"{next(iter(refused.values()))}"
        )
    return _tested(
        question,
        dict(zip(Specification._fields, choices, strict=True)),
        answers,
        refused,
        draws,
        seed,
        weights,
    )


def _tested(
    question: Question,
    choices: dict[str, tuple[str, ...]],
    answers: Sequence[Answer],
    refused: dict[Specification, str],
    draws: int,
    seed: int,
    weights: Weights,
) -> SpecificationCurve:
    """Put the answers in order and test all of them by draws of their joint influence."""
    scales = choices["scale"]
    ordered = sorted(answers, key=lambda a: (scales.index(a.specification.scale), a.fit.effect[0]))
    joint = joined_headlines({" | ".join(a.specification): a.fit for a in ordered}, WHO)
    sums = joint.sums
    of_scale = np.array([scales.index(a.specification.scale) for a in ordered])
    first = first_equal(joint.effect, sums / len(joint.influence), of_scale, EQUAL)
    counted = np.flatnonzero(first == np.arange(len(ordered)))
    fits = [ordered[k].fit for k in counted]
    error = np.array([fit.std_error[0] for fit in fits])
    critical = np.array([fit.critical_value(LEVEL)[0] for fit in fits])
    effect = joint.effect[counted]
    null = null_statistics(sums[:, counted], draws=draws, seed=seed, weights=weights)
    null *= np.sqrt(np.diag(joint.covariance()))[counted] / error  # to each one's own small-sample convention
    medians, shares = {}, {}
    for place, scale in enumerate(scales):
        of = of_scale[counted] == place
        if of.any():
            medians[scale] = median_test(effect[of], error[of], null[:, of])
            shares[scale] = share_test(effect[of] / error[of], critical[of], null[:, of])
    return SpecificationCurve(
        question=question,
        choices=choices,
        answers=tuple(ordered),
        first=first,
        joint=joint,
        largest=largest_test(effect / error, null, LEVEL),
        share=share_test(effect / error, critical, null),
        medians=medians,
        shares=shares,
        refused=refused,
        draws=draws,
        seed=seed,
        weights=weights,
    )


def _sample(question: Question, panel: Panel) -> Sample | str:
    """Return the sample, or why there is none."""
    for name in question.covariates:
        if name not in panel.covariates:
            question.sample(panel)  # a name that nobody has is a mistake, not a refusal
    try:
        return question.sample(panel)
    except QuestionError as refusal:
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


def sentences(curve: SpecificationCurve) -> tuple[str, ...]:
    """Return what was asked, what was found by scale and over all, and what qualifies it."""
    return (
        _asked(curve),
        *(_of_scale(curve, scale) for scale in curve.medians),
        _over_all(curve),
        "These p-values are from the influence functions of all specifications, which were multiplied by one random "
        f"weight a cluster ({curve.weights}, {curve.draws} draws) in place of permuting the data and estimating "
        "everything again; tests with few treated clusters reject more often than their level says.",
        *_qualified(curve),
        *_refused(curve),
    )


def _asked(curve: SpecificationCurve) -> str:
    counts = {name: len(labels) for name, labels in curve.choices.items()}
    told = ", ".join(f"{n} {CHOICES[name][n > 1]}" for name, n in counts.items())
    answered, refused = len(curve.answers), len(curve.refused)
    return (
        f"Of {answered + refused} specifications of the effect of {curve.question.event} on "
        f"{curve.question.outcome} ({told}), {answered} have an estimate and {refused} are refused."
    )


def _of_scale(curve: SpecificationCurve, scale: str) -> str:
    effects = np.array([curve.answers[k].fit.effect[0] for k in curve.of_scale(scale)])
    median, share = curve.medians[scale], curve.shares[scale]
    measured = Scale(scale, curve.question.outcome)
    low, middle, high = (f"{measured.factor * v:.3g}" for v in (effects.min(), median.value, effects.max()))
    return (
        f"On the scale {scale}, in {measured.column}, the {len(effects)} estimates run from {low} to {high}, "
        f"{np.sum(effects > 0)} of them positive, with the median {middle} (p = {median.p_value:.4f} if no "
        "specification had an effect); "
        f"{share.significant} of {share.distinct} are significant at 5% alone, where {share.expected:.1%} would be "
        f"without any effect (p = {share.p_value:.4f})."
    )


def _over_all(curve: SpecificationCurve) -> str:
    largest, share = curve.largest, curve.share
    return (
        f"Over all scales the largest absolute t is {largest.statistic:.2f}, with a critical value of "
        f"{largest.critical_value:.2f} for all {share.distinct} at once (p = {largest.p_value:.4f} if no specification "
        f"had an effect), and {share.significant} of {share.distinct} are significant alone "
        f"(p = {share.p_value:.4f}); the band covers every specification's effect with {LEVEL:.0%} at once."
    )


def _qualified(curve: SpecificationCurve) -> Iterator[str]:
    """Say which specifications are equal, of unlike kinds, of unlike errors, or rest on few clusters."""
    repeated = int(np.sum(curve.first != np.arange(len(curve.first))))
    if repeated:
        whole = len(curve.answers)
        yield (
            f"Only {whole - repeated} of the {whole} estimates are distinct, as the others are algebraically equal to "
            "one of them on their sample; all are shown, and each counts once in the median, the shares and the tests."
        )
    kinds: dict[str, list[str]] = {}
    for answer in curve.answers:
        kinds.setdefault(str(answer.kind._replace(scale="")).removesuffix(", scale "), []).append(
            answer.specification.design
        )
    if len(kinds) > 1:
        told = "; ".join(f"{k} ({', '.join(dict.fromkeys(designs))})" for k, designs in kinds.items())
        yield f"The estimates are of different kinds, and none is left out: {told}."
    unlike = Counter(
        a.specification.design
        for a in curve.answers
        if a.fit.options.get("variance", "sampling") != "sampling"
    )
    if unlike:
        yield f"The standard errors of {', '.join(unlike)} are not those of sampling, as its option variance says."
    table = curve.tidy().iloc[: len(curve.answers)]
    treated, effective = table["treated_clusters"].min(), table["effective_clusters"]
    few = int(((effective < FEW) | (table["treated_clusters"] < FEW)).sum())
    if few:
        yield (
            f"In {few} specifications fewer than {FEW} clusters are treated or carry the variance (at least {treated} "
            f"treated, {effective.min():.0f} effective), so that their standard errors may be too small; "
            "randomization inference holds for them too."
        )


def _refused(curve: SpecificationCurve) -> Iterator[str]:
    reasons: dict[str, list[str]] = {}
    for specification, reason in curve.refused.items():
        reasons.setdefault(reason, []).append(specification.design)
    for reason, designs in reasons.items():
        yield f"Refused, {len(designs)} specifications of {', '.join(dict.fromkeys(designs))}: {reason}"


def curve_figure(curve: SpecificationCurve) -> Figure:
    """Draw a column for each scale: estimates with intervals and band above, the choices made below."""
    from study.figures import FULL, GREY
    from study.figures.canvas import canvas, legend_above

    lines = _lines(curve)
    with canvas(FULL, min(9.0, max(4.2, 2.7 + 0.14 * len(lines)))) as figure:
        scales, cut = list(curve.medians), False
        ratios = [2.4, 0.14 * len(lines)]
        axes = figure.subplots(2, len(scales), squeeze=False, sharex="col", height_ratios=ratios)
        table = curve.tidy()
        for column, scale in enumerate(scales):
            rows = table.iloc[curve.of_scale(scale)]
            cut |= _estimates(axes[0, column], rows, scale, curve)
            _choices(axes[1, column], rows, lines)
            if column:
                axes[1, column].tick_params(labelleft=False)
        axes[1, 0].set_yticks(range(len(lines)), [_short(label) for _, label, _ in lines], fontsize=SMALL)
        for tick, (_, _, is_heading) in zip(axes[1, 0].get_yticklabels(), lines, strict=True):
            tick.set_fontweight("bold" if is_heading else "normal")
        legend_above(figure, axes[0, 0], 4, SMALL)
        refused = f"; {len(curve.refused)} refused are not shown" if curve.refused else ""
        too_long = "; intervals that leave the axis are cut" if cut else ""
        told = f"Specifications, by size of the estimate{refused}{too_long}"
        figure.supxlabel(told, fontsize=8, color=GREY)
    return figure


def _lines(curve: SpecificationCurve) -> list[tuple[str, str, bool]]:
    """Return field and label of the lower part's lines and whether they are headings; one choice has none."""
    varied = [name for name in HEADINGS if len(curve.choices[name]) > 1] or ["design"]
    lines = []
    for name in varied:
        lines.append((name, HEADINGS[name], True))
        lines += [(name, label, False) for label in curve.choices[name]]
    return lines


def _estimates(axis: Axes, rows: pd.DataFrame, scale: str, curve: SpecificationCurve) -> bool:
    """Draw the estimates of a scale; say whether the axis cuts an interval or band."""
    from study.figures import BAND, COLOUR, GREY, SECOND

    factor = Scale(scale).factor
    place = np.arange(1, len(rows) + 1)
    estimate, low, high, band_low, band_high = (
        factor * rows[c].to_numpy(dtype=float)
        for c in ("estimate", "conf_low", "conf_high", "band_low", "band_high")
    )
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
    shown: list[tuple[Any, str, str]] = [
        (significant, COLOUR, "significant alone, 95% interval"),
        (~significant, GREY, "not significant"),
    ]
    size = float(np.clip(150 / len(rows), 1.2, 3.5))
    for which, colour, label in shown:
        axis.errorbar(
            place[which],
            estimate[which],
            yerr=[estimate[which] - low[which], high[which] - estimate[which]],
            fmt="o" if colour == COLOUR else "s",
            markersize=size,
            markerfacecolor=colour if colour == COLOUR else "white",
            color=colour,
            linewidth=0.7,
            label=label,
        )
    axis.axhline(
        factor * curve.medians[scale].value, color=SECOND, linewidth=0.9, linestyle="--", label="median"
    )
    ends = np.concatenate([band_low, band_high])
    limits = _limits(estimate, ends)
    axis.set_ylim(*limits)
    title = Scale(scale, curve.question.outcome.replace("_", " ")).short_axis()
    axis.set_title(title, fontsize=8)
    axis.tick_params(labelsize=SMALL)
    axis.set_xlim(0, len(rows) + 1)
    return bool(ends.min() < limits[0] or ends.max() > limits[1])


def _limits(estimate: FloatArray, ends: FloatArray) -> tuple[float, float]:
    """Return limits that show all estimates and zero, and all but the most extreme ends of the band."""
    low, high = np.quantile(ends, [0.02, 0.98])
    low, high = min(low, estimate.min(), 0.0), max(high, estimate.max(), 0.0)
    room = 0.04 * (high - low)
    return float(low - room), float(high + room)


def _choices(axis: Axes, rows: pd.DataFrame, lines: list[tuple[str, str, bool]]) -> None:
    from study.figures import GREY

    place = np.arange(1, len(rows) + 1)
    marker, size = ("o", 4.0) if len(rows) <= MANY else ("|", float(np.clip(200 / len(rows), 3.0, 5.5)))
    for height, (name, label, is_heading) in enumerate(lines):
        if not is_heading:
            chosen = place[(rows[name] == label).to_numpy()]
            axis.axhline(height, color="0.92", linewidth=0.6, zorder=0)
            axis.plot(chosen, np.full(len(chosen), height), marker, markersize=size, color=GREY)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.tick_params(labelsize=SMALL)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)


def _short(label: str) -> str:
    label = label.replace("_", " ")
    return label if len(label) <= LONGEST else f"{label[: LONGEST - 1]}…"
