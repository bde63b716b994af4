"""From strings that people typed to institutions: names, the gazetteer of known ones, and the matching rule."""

from study.institutions.gazetteer import Entity, Gazetteer, load
from study.institutions.match import Hit, Matcher
from study.institutions.names import key, pieces

__all__ = ["Entity", "Gazetteer", "Hit", "Matcher", "key", "load", "pieces"]
