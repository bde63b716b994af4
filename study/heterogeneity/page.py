"""Heterogeneity on one page: groups, units, calibration, the allocation of grants, and what has to hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from study.core import QuestionError, capital, checked, one_thread, paragraph, refuse_unknown, section
from study.diagnostics import Finding
from study.figures import Figure
from study.heterogeneity.allocation import policy
from study.heterogeneity.causal_forest import calibration, forest
from study.heterogeneity.group_effects import effects_by_group, excludes_zero, group_figure
from study.heterogeneity.scored import grouping, prior, score
from study.learners import Learner
from study.panel import Sample

ANALYSES = ("groups", "forest", "calibration", "policy")


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

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return each finding's table, and that of all pairs of groups or rules."""
        pairs = {f"{name}_pairs": finding.details.get("pairs") for name, finding in self.findings.items()}
        tables = {name: finding.tidy() for name, finding in self.findings.items()}
        return tables | {name: each.tidy() for name, each in pairs.items() if each is not None}

    def figures(self) -> dict[str, Figure]:
        """Return the figures: all groupings in one, and one for each other finding."""
        figures = {"groups": group_figure(self.groups)} if self.groups else {}
        rest = {name: finding for name, finding in self.findings.items() if finding not in self.groups}
        return figures | {name: finding.plot() for name, finding in rest.items()}

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
        """Return the page, each figure as PDF and PNG and each table as CSV, by file name."""
        from study.figures import figure_files

        files = {"page.txt": f"{self.text()}\n".encode()}
        for name, figure in self.figures().items():
            files |= figure_files(name, figure)
        for name, table in self.tables().items():
            files[f"{name}.csv"] = table.to_csv(index=False).encode()
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
    progress: Callable[[str], None] | None = None,
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
    progress : callable, optional
        Called with the name of each part once it is done.
    analyses : tuple of str
        Those that are made: "groups", "forest", "calibration", "policy".

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
            if progress is not None:
                progress(part)
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
