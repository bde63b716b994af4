"""The exhibits of the paper and of the report page: one a file, each a function of a setting."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from study.core import unknown
from study.paper.exhibits.exhibit import Exhibit

QUESTION = "Institutions: what is asked of whom"
FACTS = "The facts that the study starts from"
EFFECTS = "Institutions: effects"
OBJECTIONS = "Institutions: what speaks against it"
FIELDS = "Fields"


class Listed(NamedTuple):
    """An exhibit's title and the section of the page that it stands in; its module and function have its name."""

    title: str
    section: str


EXHIBITS: dict[str, Listed] = {
    "facts": Listed("Facts of the seed paper, recomputed", FACTS),
    "sample": Listed("Who is in the sample", QUESTION),
    "timing": Listed("When compute arrives, by family of events", QUESTION),
    "raw_means": Listed("Raw means by cohort", QUESTION),
    "balance": Listed("Treated and comparison units before treatment", QUESTION),
    "designs": Listed("Every design, and whether they agree", EFFECTS),
    "event_studies": Listed("Event studies of several designs", EFFECTS),
    "scales": Listed("Proportional effects beside log(1 + y)", EFFECTS),
    "families": Listed("Families of compute-access events", EFFECTS),
    "venues": Listed("Other venues", EFFECTS),
    "learners": Listed("Double machine learning, by learner", EFFECTS),
    "heterogeneity": Listed("Heterogeneity of the effect", EFFECTS),
    "placebos": Listed("Placebo fields and dates", OBJECTIONS),
    "violations": Listed("Violations of parallel trends", OBJECTIONS),
    "inference": Listed("Inference", OBJECTIONS),
    "specifications": Listed("Specification curve", OBJECTIONS),
    "leave_one_out": Listed("Leaving out one cohort or unit", OBJECTIONS),
    "verdicts": Listed("The verdict of each diagnostic", OBJECTIONS),
    "fields": Listed("Fields whose compute grows", FIELDS),
}


def find_exhibit(name: str) -> Exhibit:
    """Return an exhibit by name.

    Raises
    ------
    QuestionError
        If there is none of that name.
    """
    if name not in EXHIBITS:
        raise unknown("exhibit", name, EXHIBITS, "study.toml, exhibits")
    return Exhibit(name, *EXHIBITS[name], getattr(import_module(f"study.paper.exhibits.{name}"), name))
