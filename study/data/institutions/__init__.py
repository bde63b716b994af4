"""From strings that people typed to institutions: names, the gazetteer of known ones, and the matching rule."""

from study.data.institutions.gazetteer import Entity as Entity
from study.data.institutions.gazetteer import Gazetteer as Gazetteer
from study.data.institutions.gazetteer import load as load
from study.data.institutions.match import Hit as Hit
from study.data.institutions.match import Matcher as Matcher
from study.data.institutions.match import Overrides as Overrides
from study.data.institutions.match import overridden as overridden
from study.data.institutions.match import read_overrides as read_overrides
from study.data.institutions.match import universities as universities
from study.data.institutions.names import key as key
from study.data.institutions.names import pieces as pieces
