"""One question under every combination of designs, scales, populations, comparison groups and covariates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from itertools import chain, product
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from study.core import QuestionError, counted, p_is, refuse_unknown, tell
from study.designs import find_design
from study.diagnostics import Finding, Section, diagnostic
from study.estimates import EQUAL, FEW, Effect, Estimate, Joint, effective_clusters, treated_clusters
from study.figures import BAND, COLOUR, FULL, GREY, SECOND, Axes, Figure, beside, panels, shortened
from study.inference import LEVEL, SupT, agreement, answered, joined_headlines, kind, variants_of
from study.panel import Comparison, Panel, Question, Scale, ScaleName, population, terms_in

WHO = "specification_curve"
SMALL, ROW = 7.5, 0.18  # points; inches of a line of choices
LONGEST = 40
MANY = 25


class Choice(NamedTuple):
    """How a choice is called: one, several, and as a heading of the figure where it has one."""

    singular: str
    plural: str
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


@diagnostic("All specifications", "What do all specifications say together?", Section.OVERTURNS, shown=3)
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
    weights: Literal["rademacher", "mammen", "webb"] = "rademacher",
) -> Finding:
    """Estimate every specification of a question, and test all of them at once.

    Simonsohn, Simmons and Nelson (2020) compare a curve's median and its number of significant estimates with
    their distribution under no effect, which they get by permuting or bootstrapping the data and estimating all
    specifications again. Here the estimates' influence functions are drawn instead: all specifications have
    the same random weight for a cluster, so that their errors are correlated as they are in the sample, and
    influence has mean zero, so that the draws obey the null. Nothing is estimated again. No specification is
    selected: those that are algebraically equal to another are shown, and counted once in the tests. With few
    treated or comparison clusters the tests reject more often than their level says, the one by the largest t most of
    all, and the band covers too seldom.

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

    Returns
    -------
    Finding
        The frame has a row a specification, by scale in the order asked and then by size, those without an estimate
        last: scale, design, population, comparison, covariates, estimate, std_error, statistic, p_value, conf_low,
        conf_high (pointwise at 95% by the design's own ``vcov``), band_low, band_high (cover all specifications
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
    variants = variants_of(designs, WHO)
    on_scales = _labelled("scales", scales, question.scale)
    groups = _labelled("comparisons", comparisons, question.comparison)
    rules = _labelled("populations", populations, question.population)
    sets = _labelled("covariate_sets", covariate_sets, question.covariates)
    refuse_unknown("scale", on_scales, get_args(ScaleName), WHO)
    refuse_unknown("comparison", groups, get_args(Comparison), WHO)
    for rule in rules.values():
        population(rule, panel)
    for names in sets.values():
        known = [*panel.covariates, *panel.attributes, *filter(terms_in, names)]
        refuse_unknown("covariate", names, known, WHO)
    fits: dict[Specification, Estimate] = {}
    refused: dict[Specification, str] = {}
    kinds: dict[Specification, str] = {}
    sample_of = cache(partial(Question.sample, panel=panel))
    for scale, place, comparison, added, variant in product(on_scales, rules, groups, sets, variants):
        shared = {"comparison": comparison, "population": rules[place], "covariates": sets[added]}
        specification = Specification(scale, variant.label, place, comparison, added)
        try:
            sample = sample_of(question.replace(scale=scale, **shared))
            fit = find_design(variant.name)(sample, **variant.options)
            fits[specification] = _varying(answered(fit.headline))
            kinds[specification] = kind(fit)
        except QuestionError as refusal:
            refused[specification] = str(refusal).removeprefix(f"{variant.name}: ")
        tell(" | ".join(specification))
    if not fits:
        raise QuestionError(
            f"{WHO}: none of {len(refused)} specifications has an estimate; the first says: "
            f"{next(iter(refused.values()))}"
        )
    places = list(on_scales)
    fits = dict(sorted(fits.items(), key=lambda item: (places.index(item[0].scale), item[1].effect[0])))
    joint = joined_headlines({" | ".join(specification): fit for specification, fit in fits.items()}, WHO)
    frame, by_scale, largest, share = _tested(fits, refused, joint, draws=draws, seed=seed, weights=weights)
    of_choices = (on_scales, [variant.label for variant in variants], rules, groups, sets)
    choices = {name: tuple(labels) for name, labels in zip(CHOICES, of_choices, strict=True)}
    counts = [f"{len(labels)} {CHOICES[name][len(labels) > 1]}" for name, labels in choices.items()]
    on_scale = {scale: _on_scale(scale, row, question) for scale, row in by_scale.iterrows()}
    verdict_by_scale = {scale: next(sentences) for scale, sentences in on_scale.items()}
    tests = {"by_scale": by_scale, "largest": largest, "share": share, "joint": joint}
    return Finding.of(
        [
            *verdict_by_scale.values(),
            f"Of {len(frame)} specifications of the effect of {question.event} on {question.outcome}, {len(fits)} "
            f"have an estimate and {len(refused)} are refused.",
            *chain.from_iterable(on_scale.values()),
            f"Over all scales the largest absolute t is {largest.statistic:.2f}, with a critical value of "
            f"{largest.critical_value:.2f} for all at once ({p_is(largest.p_value)} if none had an effect).",
            f"Over all scales {share.significant} of {share.distinct} distinct specifications are significant alone "
            f"({p_is(share.p_value)}).",
            f"They are all combinations of {', '.join(counts)}; the band covers every specification's effect with "
            f"{LEVEL:.0%} at once.",
            "These p-values are from the influence functions of all specifications, which were multiplied by one "
            f"random weight a cluster ({weights}, {draws} draws) in place of permuting the data and estimating "
            "everything again; tests with few treated clusters reject more often than their level says.",
            *_qualifications(fits, kinds, frame),
            *(
                f"Refused, {counted(len(designs), 'specification')} of {', '.join(designs.unique())}: {reason}"
                for reason, designs in frame[len(fits) :].groupby("refusal", sort=False)["design"]
            ),
        ],
        frame,
        partial(_chart, outcome=question.outcome, choices=choices, medians=by_scale["median"]),
        details=tests | {"choices": choices, "verdict_by_scale": verdict_by_scale},
    )


def _labelled(name: str, given: Any, default: Any) -> dict[str, Any]:
    """Return what was given, a list or a mapping, by label; the question's own choice where nothing was."""
    values = (default,) if given is None else given
    if not len(values):
        raise QuestionError(f"{WHO}: {name} is {given!r}; give a list or a mapping of labels.")
    for value in values.values() if isinstance(values, Mapping) else values:
        if not isinstance(value, type(default)):
            raise QuestionError(
                f"{WHO}: {name} has {value!r}; each has to be a {type(default).__name__}, such as {default!r}."
            )
    by_label = dict(values) if isinstance(values, Mapping) else {_label(value): value for value in values}
    if len(set(by_label.values())) < len(values):
        raise QuestionError(f"{WHO}: {name} is {given!r}; give different ones.")
    return by_label


def _label(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else ", ".join(value) or "none"


def _varying(headline: Estimate) -> Estimate:
    """Return an average that has a sampling variance, or refuse."""
    if not headline.joint:
        raise QuestionError(headline.not_joint)
    if headline.n_clusters < 2:
        raise QuestionError("there is one cluster, so there is no sampling variance")
    if not headline.varies[0]:
        raise QuestionError(f"its average is {headline.effect[0]:.4g} without a sampling variance")
    return headline


def _tested(
    fits: Mapping[Specification, Estimate], refused: Mapping[Specification, str], joint: Joint, **drawn: Any
) -> tuple[pd.DataFrame, pd.DataFrame, SupT, agreement.Share]:
    """Test all specifications at once by draws of their joint influence, over all scales and by scale.

    Returns
    -------
    frame : DataFrame
        That of the finding.
    by_scale : DataFrame
        Counts, the range of all estimates, and the tests of those that are distinct. ``positive`` and
        ``excluding_zero`` are shares of all estimates; ``significant`` counts distinct ones, of which a share
        ``expected`` would be if no specification had an effect.
    largest : SupT
    share : Share
    """
    numbers = ["estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]
    answers = pd.DataFrame([Effect.of("", fit, LEVEL) for fit in fits.values()])
    answers["statistic"] = answers["estimate"] / answers["std_error"]
    table = pd.DataFrame(list(fits), columns=Specification._fields).join(answers[numbers])
    effect, error, statistic = (table[name].to_numpy() for name in numbers[:3])
    scale = table["scale"].to_numpy()
    pointwise = np.array([fit.critical_value(LEVEL)[0] for fit in fits.values()])
    first = agreement.first_equal(effect, joint.sums / len(joint.influence), pd.factorize(scale)[0], EQUAL)
    distinct = np.flatnonzero(first == np.arange(len(table)))
    # Draws are of the clusters' sums, and each t is put to its estimate's own small-sample correction.
    null = agreement.null_statistics(joint.sums[:, distinct], **drawn)
    null *= (joint.std_error / error)[distinct]
    largest = agreement.largest_test(statistic[distinct], np.abs(null).max(axis=1), LEVEL)
    half = np.maximum(largest.critical_value, pointwise) * error
    table = table.assign(
        band_low=effect - half,
        band_high=effect + half,
        n_units=[fit.sample.n_units for fit in fits.values()],
        treated_clusters=[treated_clusters(fit) for fit in fits.values()],
        effective_clusters=[effective_clusters(fit)[0] for fit in fits.values()],
        equal_to=first,
        refusal="",
    )
    rows = {}
    for name, shown in table.groupby("scale", sort=False):
        on_scale = scale[distinct] == name
        which, drawn_here = distinct[on_scale], null[:, on_scale]
        alone = agreement.share_test(statistic[which], pointwise[which], drawn_here)._asdict()
        rows[name] = {
            "count": len(shown),
            "smallest": shown["estimate"].min(),
            "median": float(np.median(effect[which])),
            "largest": shown["estimate"].max(),
            "positive": float(np.mean(shown["estimate"] > 0)),
            "excluding_zero": float(np.mean((shown["conf_low"] > 0) | (shown["conf_high"] < 0))),
            "p_median": agreement.median_test(effect[which], error[which], drawn_here),
            "p_share": alone.pop("p_value"),
            **alone,
        }
    others = (specification._asdict() | {"refusal": reason} for specification, reason in refused.items())
    frame = pd.DataFrame([*table.to_dict("records"), *others], columns=table.columns)
    frame = frame.astype(dict.fromkeys(["n_units", "treated_clusters", "equal_to"], "Int64"))
    share = agreement.share_test(statistic[distinct], pointwise[distinct], null)
    return frame, pd.DataFrame.from_dict(rows, orient="index"), largest, share


def _on_scale(scale: str, row: pd.Series, question: Question) -> Iterator[str]:
    """Yield the verdict on the estimates of a scale, and what it rests on."""
    measured, n = Scale(scale, question.outcome), int(row["count"])
    low, median, high = measured.texts(*row[["smallest", "median", "largest"]])
    yield (
        f"Of {n} estimates in {measured.column} {row['positive'] * n:.0f} are positive; their median is {median}."
    )
    yield (
        f"In {measured.column} estimates run from {low} to {high}; their median has {p_is(row['p_median'])} if no "
        "specification had an effect."
    )
    yield (
        f"Of the distinct ones {row['significant'] / row['distinct']:.1%} are significant alone, where "
        f"{row['expected']:.1%} would be without any effect ({p_is(row['p_share'])})."
    )


def _qualifications(
    fits: Mapping[Specification, Estimate], kinds: Mapping[Specification, str], frame: pd.DataFrame
) -> Iterator[str]:
    """Say which specifications are equal, of unlike kinds, of unlike errors, or rest on few clusters."""
    shown = frame.head(len(fits))
    distinct = int((shown["equal_to"] == shown.index).sum())
    if distinct < len(shown):
        yield (
            f"Only {distinct} of the {len(shown)} estimates are distinct, as the others are algebraically equal to one "
            "of them on their sample; all are shown, and each counts once in the median, the shares and the tests."
        )
    by_kind = shown["design"].groupby([kinds[s] for s in fits], sort=False).unique()
    if len(by_kind) > 1:
        listed = "; ".join(f"{of} ({', '.join(designs)})" for of, designs in by_kind.items())
        yield f"The estimates are of different kinds, and none is left out: {listed}."
    variances = {s.design: fit.options.get("variance", "sampling") for s, fit in fits.items()}
    unlike = ", ".join(design for design, variance in variances.items() if variance != "sampling")
    if unlike:
        yield f"The standard errors of {unlike} are not those of sampling, as its option variance says."
    treated, effective = shown["treated_clusters"], shown["effective_clusters"]
    few = int(((effective < FEW) | (treated < FEW)).sum())
    if few:
        yield (
            f"In {few} specifications fewer than {FEW} clusters are treated or carry the variance (at least "
            f"{treated.min()} treated, {effective.min():.0f} effective), so that their standard errors may be too "
            "small; randomization inference holds for them too."
        )


def _chart(
    frame: pd.DataFrame,
    ax: Axes | None,
    outcome: str,
    choices: Mapping[str, Sequence[str]],
    medians: pd.Series,
) -> Figure:
    """Draw a column for each scale: estimates with intervals and band above, the choices made below.

    On given axes there are the estimates on the first scale alone.
    """
    shown = frame[frame["refusal"] == ""]
    rows = dict(iter(shown.groupby("scale", sort=False)))
    varied = [name for name, choice in CHOICES.items() if choice.heading and len(choices[name]) > 1]
    lines: list[tuple[str, str]] = []  # field and label of those below; headings are without a field
    for name in varied or ["design"]:
        lines += [("", CHOICES[name].heading), *((name, label) for label in choices[name])]
    below_inches = ROW * len(lines)
    height, how = min(9.0, max(4.2, 2.7 + below_inches)), dict[str, Any](height_ratios=[2.4, below_inches])
    with panels(ax, 2, len(rows), FULL, height, legend=4, sharex="col", **how) as (figure, axes):
        estimates = zip(axes, medians.items(), strict=False)
        cut = [_draw_estimates(axis, rows[scale], scale, outcome, at) for axis, (scale, at) in estimates]
        below = axes[len(rows) :]
        for axis, scale in zip(below, medians.index, strict=False):
            _draw_choices(axis, rows[scale], lines)
            axis.tick_params(labelleft=axis is below[0])
        if ax is not None:
            return figure
        labels = [shortened(label.replace("_", " "), LONGEST) for _, label in lines]
        below[0].set_yticks(range(len(lines)), labels, fontsize=SMALL)
        for tick, (name, _) in zip(below[0].get_yticklabels(), lines, strict=True):
            tick.set_fontweight("normal" if name else "bold")
        words = "Specifications, by size of the estimate"
        if len(frame) > len(shown):
            words += f"; {len(frame) - len(shown)} refused are not shown"
        if any(cut):
            words += "; arrows: intervals that leave the axis"
        figure.supxlabel(words, fontsize=8, color=GREY)
    return figure


def _draw_estimates(axis: Axes, rows: pd.DataFrame, scale: str, outcome: str, median: float) -> bool:
    """Draw the estimates of a scale; say whether the axis cuts an interval or band."""
    factor, place = Scale(scale).factor, np.arange(1, len(rows) + 1)
    columns = ["estimate", "conf_low", "conf_high", "band_low", "band_high"]
    estimate, low, high, band_low, band_high = factor * rows[columns].to_numpy(dtype=float).T
    axis.bar(place, band_high - band_low, 1.0, band_low, color=BAND, alpha=0.45, label="simultaneous band")
    axis.axhline(0, color=GREY, linewidth=0.8)
    significant = (low > 0) | (high < 0)
    size, halves = float(np.clip(150 / len(rows), 1.2, 3.5)), np.array([estimate - low, high - estimate])
    for which, colour, marker, inside, label in (
        (significant, COLOUR, "o", COLOUR, "significant alone, 95% interval"),
        (~significant, GREY, "s", "white", "not significant"),
    ):
        look: Any = {"fmt": marker, "ms": size, "mfc": inside, "color": colour, "label": label}
        axis.errorbar(place[which], estimate[which], yerr=halves[:, which], linewidth=0.7, **look)
    axis.axhline(factor * median, color=SECOND, linewidth=0.9, linestyle="--", label="median")
    # All estimates and zero are shown, and all but the most extreme ends of the band.
    ends = np.concatenate([band_low, band_high])
    shown = np.concatenate([np.quantile(ends, [0.02, 0.98]), estimate, [0.0]])
    room = 0.04 * np.ptp(shown)
    bottom, top = float(shown.min() - room), float(shown.max() + room)
    axis.set(ylim=(bottom, top), xlim=(0, len(rows) + 1))
    for cut, edge, marker in ((high > top, top - room / 2, "^"), (low < bottom, bottom + room / 2, "v")):
        axis.plot(place[cut], np.full(cut.sum(), edge), marker, color=GREY, markersize=3.5)
    axis.set_title(beside(Scale(scale, outcome.replace("_", " ")).short_axis()), fontsize=8)
    axis.tick_params(labelsize=SMALL)
    axis.locator_params(axis="x", integer=True)
    return bool(ends.min() < bottom or ends.max() > top)


def _draw_choices(axis: Axes, rows: pd.DataFrame, lines: Sequence[tuple[str, str]]) -> None:
    marker, size = ("o", 4.0) if len(rows) <= MANY else ("|", float(np.clip(200 / len(rows), 3.0, 5.5)))
    for height, (name, label) in enumerate(lines):
        if name:
            chosen = 1 + np.flatnonzero(rows[name] == label)
            axis.axhline(height, color="0.92", linewidth=0.6, zorder=0)
            axis.plot(chosen, np.full(len(chosen), height), marker, markersize=size, color=GREY)
    axis.set_ylim(len(lines) - 0.4, -0.6)
    axis.tick_params(labelsize=SMALL)
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
