"""The seed paper's descriptive facts, recomputed beside the published values."""

from study.paper.facts.fact import Difference, Fact
from study.paper.facts.fields import Topics, by_period, load_fields, topics
from study.paper.facts.models import (
    Definition,
    Doubling,
    Release,
    Years,
    by_class,
    definition,
    doubling_time,
    large_scale,
    load_models,
    of_vintage,
    releases,
    shares,
    vintages,
)
from study.paper.facts.published import NOT_RECOMPUTED, PUBLISHED, NotRecomputed, Published
from study.paper.facts.recomputed import Data, load, recomputed

__all__ = [
    "NOT_RECOMPUTED",
    "PUBLISHED",
    "Data",
    "Definition",
    "Difference",
    "Doubling",
    "Fact",
    "NotRecomputed",
    "Published",
    "Release",
    "Topics",
    "Years",
    "by_class",
    "by_period",
    "definition",
    "doubling_time",
    "large_scale",
    "load",
    "load_fields",
    "load_models",
    "of_vintage",
    "recomputed",
    "releases",
    "shares",
    "topics",
    "vintages",
]
