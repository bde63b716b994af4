"""Heterogeneity on one page: groups, units, calibration, the allocation of grants, and what has to hold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from study.core import (
    BoolArray,
    Influence,
    IntArray,
    QuestionError,
    capital,
    checked,
    one_thread,
    p_is,
    paragraph,
    refuse_unknown,
    section,
    tell,
)
from study.diagnostics import Finding, titled
from study.estimates import Estimate, Wald
from study.figures import BAND, ROW_HEIGHT, WIDTH, Axes, Figure, draw_dots, on_axes, panels
from study.heterogeneity.allocation import policy
from study.heterogeneity.causal_forest import calibration, forest
from study.heterogeneity.scored import (
    LEAST_IN_GROUP,
    Grouping,
    Pairs,
    Scores,
    all_pairs,
    averaged,
    grouping,
    plain,
    prior,
    score,
    without_error,
)
from study.inference import joint
from study.learners import Learner
from study.panel import Sample, Scale

Of = Literal["treated", "all"]
ANALYSES = ("groups", "forest", "calibration", "policy")


@titled("Effects by group")
def effects_by_group(
    scores: Scores, by: str, *, of: Of = "treated", level: float = 0.95, draws: int = 9999, seed: int = 0
) -> Finding:
    """Return the average effect on the long change within groups that are fixed before treatment.

    The effect on the treated of a group is the sum of its scores (D - (1 - D) e/(1 - e)) (Y - mu_0) over its treated
    units; that on all is the mean of its doubly robust scores (Chernozhukov et al. 2018, section 5). The first is
    the default: where few are treated the weights 1/e of the second reach a hundred, and E[Y | X, D = 1] has to be
    said of units whose like are hardly ever treated, while the odds e/(1 - e) of the first stay small.

    Parameters
    ----------
    scores : Scores
        Of :func:`study.heterogeneity.score`, best with this attribute or rule among its ``groups``.
    by : str
        An attribute, a rule or a covariate; see :func:`study.heterogeneity.scored.grouping`.
    of : {"treated", "all"}
    level : float
        Of the simultaneous band over groups and of all pairs.
    draws, seed : int
        Of normal errors, for the band and the test of all pairs.

    Returns
    -------
    Finding
        The frame has a row a group, those that are not estimated with NaN: by, group, estimate, std_error, conf_low,
        conf_high, band_low, band_high (simultaneous over the groups), n_units, n_treated. Details: ``by``; ``fit``,
        the estimate with a term for each group that has one; ``pairs``, all differences of two groups, or None with one
        that has a standard error; ``p_equal``, of the Wald test that all effects with one are equal; ``differ``,
        whether the test of all pairs rejects.

    Raises
    ------
    QuestionError
        If there is no such group, a number is impossible, no group has five treated and five other units, or the
        scale is proportional for ``of="all"``, which implies no untreated mean.

    References
    ----------
    Chernozhukov, V. et al. (2018). Double/debiased machine learning for treatment and structural parameters.
    Econometrics Journal 21(1).
    """
    question = scores.sample.question
    if question.scale == "proportional" and of == "all":
        raise QuestionError(
            'effects_by_group: of is "all", which implies no counterfactual mean to divide by; take of="treated" '
            "or the scale level."
        )
    groups = scores.groups(by)
    n_units, n_treated = groups.sizes(), groups.sizes(scores.rows.treated)
    estimated = np.minimum(n_treated, n_units - n_treated) >= LEAST_IN_GROUP
    if not estimated.any():
        raise QuestionError(
            f"effects_by_group: no group by {by} has {LEAST_IN_GROUP} treated and {LEAST_IN_GROUP} other units; take "
            "larger groups."
        )
    fit = _estimate(scores, groups, np.flatnonzero(estimated), of)
    pairs, equal = None, None
    if fit.varies.sum() > 1:
        pairs, differences = all_pairs(fit, level=level, draws=draws, seed=seed), joint(fit).differences()
        # Effects that are the same number are not tested.
        equal = differences.test() if np.all(differences.std_error > 0) else None
    order = np.concatenate([np.flatnonzero(estimated), np.flatnonzero(~estimated & (n_units > 0))])
    columns = ["estimate", "std_error", "conf_low", "conf_high", "band_low", "band_high"]
    bands = fit.band(level, draws=draws, seed=seed)[["band_low", "band_high"]]
    table = fit.tidy(level).join(bands)[columns].reindex(range(len(order)))
    table.insert(0, "by", by)
    table.insert(1, "group", [groups.labels[g] for g in order])
    table["n_units"], table["n_treated"] = n_units[order], n_treated[order]
    whom = "the treated" if of == "treated" else "all units"
    each_group = _each_group(table, whom, level, question.effect_scale)
    return Finding.of(
        [_verdict(by, fit, pairs, equal), *each_group, *without_error(fit), scores.overlap, *fit.notes],
        table,
        partial(_chart, scale=question.effect_scale, level=level),
        title=f"Effects on {whom} by {by}",
        details={
            "by": by,
            "fit": fit,
            "pairs": pairs,
            "p_equal": np.nan if equal is None else equal.p_value,
            "differ": pairs is not None and pairs.differ,
        },
    )


def _estimate(scores: Scores, groups: Grouping, chosen: IntArray, of: Of) -> Estimate:
    """Return the averages by group with their influence, both averaged over the draws of the folds."""
    n, rows = scores.sample.n_units, scores.rows
    member = (groups.member[:, None] == chosen).astype(float)
    weights = member * rows.treated[:, None] if of == "treated" else member
    total = weights.sum(axis=0)
    values = scores.on_treated if of == "treated" else scores.effects
    of_draw = member.T @ values / total[:, None]
    effects = of_draw.mean(axis=1)
    influence = n / total * (member * values.mean(axis=1, keepdims=True) - weights * effects)
    untreated: dict[str, Any] = {}
    if of == "treated":
        mean = weights.T @ rows.at_end / total
        of_mean = n / total * weights * (rows.at_end[:, None] - mean)
        untreated["untreated_mean"] = mean - effects
        untreated["untreated_influence"] = Influence.of(scores.to_units(of_mean - influence))
    labels = tuple(groups.labels[g] for g in chosen)
    return averaged(scores, labels, of_draw, influence, design="effects_by_group", **untreated)


def excludes_zero(table: pd.DataFrame) -> BoolArray:
    """Return for which groups of a frame the simultaneous band excludes zero."""
    return np.asarray((table["band_low"] > 0) | (table["band_high"] < 0))


def _verdict(by: str, fit: Estimate, pairs: Pairs | None, equal: Wald | None) -> str:
    if pairs is None:
        return f"Groups by {by} are not compared: 1 of them has an effect with a standard error."
    if np.isnan(pairs.p_value):
        return f"Groups by {by} are not compared: their effects are the same number."
    scale, k = fit.sample.question.effect_scale, pairs.largest
    first, second = pairs.pairs[k]
    wald = f", the Wald test that all are equal {p_is(equal.p_value)} (rank {equal.rank})" if equal else ""
    return (
        f"Effects by {by} {'differ' if pairs.differ else 'do not differ significantly'}: the test of all pairs has "
        f"{p_is(pairs.p_value)}{wald}; the largest t is that of {first} less {second}, "
        f"{scale.text(pairs.difference[k])} {scale.unit}; its minimum detectable difference is "
        f"{scale.text(pairs.detectable[k])}."
    )


def _each_group(table: pd.DataFrame, whom: str, level: float, scale: Scale) -> Iterator[str]:
    """Yield the effects of the groups, and which groups are too small for one."""
    known, rest = table[table["estimate"].notna()], table[table["estimate"].isna()]
    effects = [
        f"{row.group} {scale.text(row.estimate)} {scale.interval(row.band_low, row.band_high)} "
        f"({row.n_treated} treated of {row.n_units:,})"
        for row in known.itertuples()
    ]
    nonzero = ", ".join(known["group"][excludes_zero(known)]) or "none of them"
    units = "the treated units" if whom == "the treated" else whom
    yield (
        f"Average effects on {units} with a simultaneous {100 * level:g}% band, {scale.unit}: {'; '.join(effects)}. "
        f"The band excludes zero for {nonzero}."
    )
    if len(rest):
        sizes = zip(rest["group"], rest["n_treated"], rest["n_units"], strict=True)
        named = ", ".join(f"{group} ({treated} treated of {n:,})" for group, treated, n in sizes)
        mean = " or a counterfactual mean that is not positive" * scale.percent
        few = f"fewer than {LEAST_IN_GROUP} treated or {LEAST_IN_GROUP} other units"
        yield f"Not estimated, with {few}{mean}: {named}."


def short_label(by: str, group: str) -> str:
    """Return what a group is called where it is said what groups units."""
    return group.removeprefix(by).strip() or plain(group)


def _chart(frame: pd.DataFrame, ax: Axes | None, scale: Scale, level: float) -> Figure:
    """Draw the groups that have an effect with simultaneous bands and pointwise intervals."""
    known = frame[frame["estimate"].notna()]
    by = known["by"].iloc[0]
    sizes = zip(known["group"], known["n_treated"], known["n_units"], strict=True)
    labels = [f"{short_label(by, group)} ({treated} of {n:,})" for group, treated, n in sizes]
    low, high = (scale.factor * known[side].to_numpy() for side in ("band_low", "band_high"))
    with on_axes(ax, height=_height([known]), legend=2) as (figure, axis):
        axis.use_sticky_edges = False
        band: Any = {"height": 0.5, "color": BAND, "label": "simultaneous band"}
        axis.barh(np.arange(len(known)), high - low, left=low, **band)
        names = ("effect, pointwise interval", "")
        draw_dots(axis, known.assign(label=labels), names=names, percent=scale.percent)
        axis.set_title(f"By {plain(by)}", loc="left")
        axis.set_xlabel(f"{scale.axis()}\n({100 * level:g}%; in parentheses treated of all)")
    return figure


def _height(tables: Sequence[pd.DataFrame]) -> float:
    return 1.1 + sum(0.38 + ROW_HEIGHT * len(table) for table in tables)


def group_figure(findings: Sequence[Finding]) -> Figure:
    """Draw effects by group, a panel for each grouping."""
    tables = [finding.frame[finding.frame["estimate"].notna()] for finding in findings]
    how: Any = {"sharex": True, "height_ratios": [len(table) + 0.6 for table in tables]}
    with panels(None, len(tables), 1, WIDTH, _height(tables), legend=2, **how) as (figure, axes):
        for axis, finding in zip(axes, findings, strict=True):
            finding.plot(axis)
        for axis in axes[:-1]:
            axis.set_xlabel("")
    return figure


@dataclass(frozen=True, eq=False)
class Report:
    """For whom the effect is larger, and who should be given a grant.

    Attributes
    ----------
    sample : Sample
    event : str
        What it is called.
    findings : mapping of str to Finding
        By name: "groups_" and what groups units, "forest", "calibration" and "policy", those that could be made.
    refused : mapping of str to str
        Why the others could not be made.
    """

    sample: Sample
    event: str
    findings: Mapping[str, Finding]
    refused: Mapping[str, str]

    @property
    def groups(self) -> tuple[Finding, ...]:
        """The findings by group."""
        return tuple(finding for finding in self.findings.values() if finding.name == "effects_by_group")

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict, and what has to hold for it to be about effects."""
        compared = [finding for finding in self.groups if finding["pairs"] is not None]
        differ, others = ([each["by"] for each in compared if each["differ"] == it] for it in (True, False))
        parts = []
        if differ:
            parts.append(f"effects differ between groups by {' and by '.join(differ)}")
        if others:
            groupings = ", ".join(others)
            parts.append(f"between groups by {groupings} no difference is statistically different from zero")
        if self.groups:
            frames = [(finding["by"], finding.frame) for finding in self.groups]
            nonzero = [f"{g} (by {by})" for by, frame in frames for g in frame["group"][excludes_zero(frame)]]
            named = ", ".join(nonzero) or "no group"
            parts.append(f"within its grouping the simultaneous band excludes a zero effect for {named}")
        if "policy" in self.findings:
            rules = self.findings["policy"]
            named = " and ".join(rules["differ_from_random"])
            verb = f"{named} differ" if named else "no rule differs"
            parts.append(f"for {rules['budget']:,} grants {verb} significantly from giving them at random")
        if "calibration" in self.findings:
            there = "are there" if self.findings["calibration"]["rejects"] else "cannot be found"
            differences = f"predicted differences between units {there}"
            parts.append(f"{differences} in units that were not used to predict them")
        verdict = capital("; ".join(parts) or "nothing can be said of heterogeneity")
        return (f"{verdict}.", *caveats(self.sample, self.event))

    def text(self) -> str:
        """Return the page."""
        question = self.sample.question
        verdict, *conditions = self.sentences
        page = [
            paragraph(
                f"Question: heterogeneity of the effect of {self.event} on {question.outcome} ({question.scale}), "
                f"panel {self.sample.panel.name}, checksum {self.sample.panel_checksum}."
            ),
            section("Verdict", [verdict]),
            section("What has to hold for these to be effects", conditions),
        ]
        printed = {verdict, *conditions}
        for finding in self.findings.values():
            page.append(section(finding.title, [s for s in finding.sentences if s not in printed]))
            printed.update(finding.sentences)
        if self.refused:
            refusals = [f"Not made: {reason}" for reason in self.refused.values()]
            page.append(section("What could not be made", refusals))
        return "\n\n".join(page)

    def files(self) -> dict[str, bytes]:
        """Return the page, figures as PDF and PNG (all groupings in one), and tables as CSV, those of all pairs too."""
        from study.figures import figure_files

        files = {"page.txt": f"{self.text()}\n".encode()}
        if self.groups:
            files |= figure_files("groups", group_figure(self.groups))
        for name, finding in self.findings.items():
            tables = {name: finding, f"{name}_pairs": finding.details.get("pairs")}
            for each, table in tables.items():
                if table is not None:
                    files[f"{each}.csv"] = table.tidy().to_csv(index=False).encode()
            if finding not in self.groups:
                files |= figure_files(name, finding.plot())
        return files


@checked
def report(
    sample: Sample,
    *,
    by: tuple[str, ...],
    prior_name: str | None = None,
    budget: int | None = None,
    learner: Learner = "forest",
    propensity: Learner | None = None,
    before: int = 1,
    after: int = 1,
    folds: int = 5,
    repetitions: int = 10,
    trees: int = 1000,
    level: float = 0.95,
    draws: int = 9999,
    seed: int = 0,
    event: str | None = None,
    analyses: tuple[str, ...] = ANALYSES,
) -> Report:
    """Return heterogeneity by groups, by unit and by rules of allocation, from the same scores.

    Parameters
    ----------
    sample : Sample
    by : tuple of str
        Groupings, fixed before treatment; those by attributes and rules are covariates of the nuisance functions.
    prior_name : str, optional
        The covariate that says how large a unit was; the question's last number where none is given.
    budget : int, optional
        Grants; as many as units were treated where none is given.
    learner, propensity, before, after, folds, repetitions, seed
        As in :func:`study.heterogeneity.score`.
    trees : int
        Of the causal forest.
    level, draws
        Of bands and of tests of all pairs.
    event : str, optional
        What the event is called in sentences, with its article; its name in the panel where none is given.
    analyses : tuple of str
        Those that are made: "groups", "forest", "calibration", "policy".

    Returns
    -------
    Report
        ``findings`` by name, and in ``refused`` why others could not be made.

    Raises
    ------
    QuestionError
        As in :func:`study.heterogeneity.score`, or if an analysis, a grouping or ``prior_name`` is unknown. What
        else cannot be made is said on the page.
    """
    refuse_unknown("analysis", analyses, ANALYSES, "heterogeneity")
    for name in by:
        grouping(sample, name)
    if prior_name is not None:
        prior(sample, prior_name)
    ends: dict[str, Any] = {"before": before, "after": after, "learner": learner, "propensity": propensity}
    ends["groups"] = tuple(name for name in by if name not in sample.panel.covariates)
    shown: dict[str, Any] = {"prior_name": prior_name, "level": level, "seed": seed}
    findings: dict[str, Finding] = {}
    refused: dict[str, str] = {}
    with one_thread():
        scores = score(sample, folds=folds, repetitions=repetitions, seed=seed, **ends)
        of_groups = partial(effects_by_group, scores, level=level, draws=draws, seed=seed)
        rest = {
            "forest": partial(forest, scores, by=by, trees=trees, **shown),
            "calibration": partial(calibration, sample, level=level, seed=seed, **ends),
            "policy": partial(policy, scores, budget, draws=draws, **shown),
        }
        parts = {f"groups by {name}": partial(of_groups, by=name) for name in by if "groups" in analyses}
        parts |= {name: make for name, make in rest.items() if name in analyses}
        for part, make in parts.items():
            name = re.sub(r"\W", "_", part.replace("groups by ", "groups_", 1))
            while name in findings or name in refused:  # "size<1" and "size>1" have one name
                name += "_"
            try:
                findings[name] = make()
            except QuestionError as reason:
                refused[name] = str(reason)
            tell(part)
    return Report(sample, event or sample.question.event, findings, refused)


def usual_groupings(sample: Sample, strata: str | None) -> tuple[str, ...]:
    """Return the groupings of a page that names none.

    The strata, the region, the country with most treated units against all others, and thirds of prior output.
    """
    places = ["region"] if "region" in sample.attributes else []
    if "country" in sample.attributes:
        treated = sample.attributes["country"][(sample.treatment == 1).any(axis=1)].astype(str)
        countries, counts = np.unique(treated[treated != ""], return_counts=True)
        places += [f"country={countries[counts.argmax()]}"] if len(counts) else []
    first = [] if strata is None else [strata]
    return tuple(dict.fromkeys((*first, *places, *sample.question.covariates[-1:])))


def caveats(sample: Sample, event: str) -> tuple[str, ...]:
    """Return what has to hold for differences to be effects, in sentences."""
    question = sample.question
    outcome = question.outcome_in_words
    return (
        f"Without {event} treated units would have changed in {outcome} from the first to the last period as "
        f"others with the same {', '.join(question.covariates)} and in the same groups did (conditional parallel "
        "trends of long changes).",
        "Units may be treated because they grow: where growth came first, it is counted here as an effect, and more "
        "of it where units that grow are more common.",
        "Treated units of a kind may differ from others of that kind in what is not seen, large ones most of all, and "
        "then a difference between groups is one of who was treated and not one of effects.",
        "A grant here is the event itself, in the window and at the prices of its time; a rule is judged by the units' "
        "covariates at its start.",
    )
