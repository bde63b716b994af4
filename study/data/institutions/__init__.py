"""From strings that people typed to institutions: names, the gazetteer of known ones, and the matching rule."""

from study.data.institutions.gazetteer import Entity, Gazetteer, load
from study.data.institutions.match import Hit, Matcher, universities
from study.data.institutions.names import key, pieces

__all__ = ["Entity", "Gazetteer", "Hit", "Matcher", "key", "load", "pieces", "universities"]
