"""Who gains, on one page: groups, units, calibration, the allocation of grants, and what has to hold."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from study.core import QuestionError, checked, one_thread
from study.diagnostics.finding import Finding
from study.heterogeneity.allocation import Policy, policy
from study.heterogeneity.calibrated import Calibration, calibration
from study.heterogeneity.causal_forest import ForestEffects, forest
from study.heterogeneity.group_effects import GroupEffects, effects_by_group
from study.heterogeneity.grouping import grouping, prior
from study.heterogeneity.scored import score
from study.learners import Learner
from study.panel import Sample

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

WIDTH = 100

Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Gains:
    """Who gains, and who should be given a grant.

    Attributes
    ----------
    sample : Sample
    event : str
        What it is called.
    groups : tuple of GroupEffects
    forest : ForestEffects or None
    calibration : Calibration or None
    policy : Policy or None
    refused : tuple of (str, str)
        What could not be made, by name, with the reason.
    """

    sample: Sample
    event: str
    groups: tuple[GroupEffects, ...]
    forest: ForestEffects | None
    calibration: Calibration | None
    policy: Policy | None
    refused: tuple[tuple[str, str], ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The verdict, and what has to hold for it to be about effects."""
        return (self._verdict(), *caveats(self.sample, self.event))

    def _verdict(self) -> str:
        apart = [one.groups.by for one in self.groups if one.apart]
        compared = [one.groups.by for one in self.groups if one.pairs is not None]
        parts = []
        if apart:
            parts.append(f"effects differ between groups by {' and by '.join(apart)}")
        if len(compared) > len(apart):
            rest = [by for by in compared if by not in apart]
            parts.append(
                f"between groups by {', '.join(rest)} no difference in the effect can be told from zero"
            )
        nonzero = [f"{group} (by {one.groups.by})" for one in self.groups for group in one.nonzero]
        if self.groups:
            named = ", ".join(nonzero) or "no group"
            parts.append(f"within its grouping the simultaneous band excludes a zero effect for {named}")
        if self.policy is not None:
            best = self.policy.apart_from_random
            rules = f"{' and '.join(best)} differ" if best else "no rule differs"
            parts.append(
                f"for {self.policy.budget:,} grants {rules} significantly from giving them at random"
            )
        if self.calibration is not None:
            there = "are there" if self.calibration.rejects else "cannot be found"
            parts.append(
                f"predicted differences between units {there} in units that were not used to predict them"
            )
        told = "; ".join(parts) or "who gains cannot be said"
        return f"{told[0].upper()}{told[1:]}."

    @property
    def findings(self) -> dict[str, Finding]:
        """What was made, by name."""
        made: dict[str, Finding] = {f"groups_{_plain(one.groups.by)}": one for one in self.groups}
        for name in ("forest", "calibration", "policy"):
            found = getattr(self, name)
            if found is not None:
                made[name] = found
        return made

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return each finding's table, and that of all pairs of rules."""
        made = {name: found.tidy() for name, found in self.findings.items()}
        for name, found in self.findings.items():
            pairs = getattr(found, "pairs", None)
            if pairs is not None:
                made[f"{name}_pairs"] = pairs.tidy()
        return made

    def figures(self) -> dict[str, Figure]:
        """Return the figures: all groupings in one, and one for each other finding."""
        from study.heterogeneity.group_effects import group_figure

        made = {"groups": group_figure(self.groups)} if self.groups else {}
        rest = {name: found for name, found in self.findings.items() if not name.startswith("groups_")}
        return made | {name: found.plot() for name, found in rest.items()}

    def text(self) -> str:
        """Return the page."""
        question = self.sample.question
        head = (
            f"Question: who gains in {question.outcome} ({question.scale}) from the {self.event}, panel "
            f"{self.sample.panel.name}, checksum {self.sample.panel_checksum}."
        )
        told = dict.fromkeys(self.sentences)
        sections = []
        for found in self.findings.values():
            new = [sentence for sentence in found.sentences if sentence not in told]
            told |= dict.fromkeys(new)
            sections.append(_section(found.title, new))
        refused = [f"Not made: {why}" for _, why in self.refused]
        return "\n\n".join(
            [
                _wrapped(head),
                _section("Verdict", self.sentences[:1]),
                _section("What has to hold for these to be effects", self.sentences[1:]),
                *sections,
                *([_section("What could not be made", refused)] if refused else []),
            ]
        )

    def files(self) -> dict[str, bytes]:
        """Return the page, each figure as PDF and PNG and each table as CSV, by file name."""
        from study.figures import drawn

        made = {"page.txt": f"{self.text()}\n".encode()}
        for name, figure in self.figures().items():
            made |= {f"{name}.{kind}": drawn(figure, kind) for kind in ("pdf", "png")}
        return made | {
            f"{name}.csv": table.to_csv(index=False).encode() for name, table in self.tables().items()
        }


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
) -> Gains:
    """Return who gains, by groups, by unit and by rules of allocation, from the same scores.

    Parameters
    ----------
    sample : Sample
    by : tuple of str
        Groupings, fixed before treatment; those by attributes and rules are covariates of the nuisance functions.
    prior_name : str, optional
        The covariate that says how large a unit was; the question's last where none is given.
    budget : int, optional
        Grants; as many as units were treated where none is given.
    learner, propensity, before, after, folds, repetitions, seed
        As in :func:`study.heterogeneity.score`.
    trees : int
        Of the causal forest.
    level, draws
        Of bands and of tests of all pairs.
    event : str, optional
        What the event is called in sentences; its name in the panel where none is given.
    progress : callable, optional
        Called with the name of each part once it is done.

    Raises
    ------
    QuestionError
        As in :func:`study.heterogeneity.score`, or if a grouping or ``prior_name`` is unknown. What else cannot be made
        is said on the page.
    """
    for one in by:
        grouping(sample, one)
    if prior_name is not None:
        prior(sample, prior_name)
    within = tuple(one for one in by if one not in sample.panel.covariates)
    ends: dict[str, Any] = {
        "before": before,
        "after": after,
        "learner": learner,
        "propensity": propensity,
        "groups": within,
    }
    refused: list[tuple[str, str]] = []

    def made(name: str, make: Callable[[], Found]) -> Found | None:
        try:
            found = make()
        except QuestionError as why:
            refused.append((name, str(why)))
            return None
        finally:
            if progress is not None:
                progress(name)
        return found

    with one_thread():
        scores = score(sample, folds=folds, repetitions=repetitions, seed=seed, **ends)
        tests: dict[str, Any] = {"level": level, "draws": draws, "seed": seed}
        groups = [made(f"groups by {one}", partial(effects_by_group, scores, one, **tests)) for one in by]
        shown: dict[str, Any] = {"prior_name": prior_name, "level": level, "seed": seed}
        units = made("forest", partial(forest, scores, by=by, trees=trees, **shown))
        judged = made("calibration", partial(calibration, sample, level=level, seed=seed, **ends))
        allocation = made("policy", partial(policy, scores, budget, draws=draws, **shown))
    return Gains(
        sample,
        event or sample.question.event,
        tuple(one for one in groups if one is not None),
        units,
        judged,
        allocation,
        tuple(refused),
    )


def usual_groupings(sample: Sample, strata: str) -> tuple[str, ...]:
    """Return the groupings of a page that names none.

    The strata, the region, the country with most treated units against all others, and thirds of prior output.
    """
    places = ["region"] if "region" in sample.attributes else []
    if "country" in sample.attributes:
        treated = sample.attributes["country"][(sample.treatment == 1).any(axis=1)]
        countries, counts = np.unique(treated.astype(str), return_counts=True)
        places.append(f"country={countries[counts.argmax()]}")
    return tuple(dict.fromkeys((strata, *places, *sample.question.covariates[-1:])))


def caveats(sample: Sample, event: str) -> tuple[str, ...]:
    """Return what has to hold for differences to be effects, in sentences."""
    question = sample.question
    outcome = f"log(1 + {question.outcome})" if question.scale == "log1p" else question.outcome
    return (
        f"Without the {event} treated units would have changed in {outcome} from the first to the last period as "
        f"others with the same {', '.join(question.covariates)} and in the same groups did (conditional parallel "
        "trends of long changes).",
        "Departments that grow buy machines: where growth came first, it is counted here as an effect, and more of it "
        "where departments that grow are more common.",
        "Treated units of a kind may differ from others of that kind in what is not seen, large ones most of all, and "
        "then a difference between groups is one of who was treated and not of who gains.",
        "A grant here is the event itself, in the window and at the prices of its time; a rule is judged by the units' "
        "covariates at its start.",
    )


def _plain(by: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in by)


def _section(title: str, sentences: Iterable[str]) -> str:
    return "\n".join([title, *(_wrapped(sentence, "  - ") for sentence in dict.fromkeys(sentences))])


def _wrapped(text: str, bullet: str = "") -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=bullet, subsequent_indent=" " * len(bullet), break_long_words=False
    )
