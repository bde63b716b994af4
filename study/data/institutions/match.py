"""The matching rule: pieces of an affiliation -> exact name, campus, other spelling, name within a piece.

By what it finds, which universities a paper or a machine is credited to.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd
from rapidfuzz import fuzz

from study.core import DataError
from study.data.institutions.gazetteer import (
    CODES,
    GENERIC,
    NOBODY,
    SYSTEMS,
    UNIVERSITY,
    UNIVERSITY_WORDS,
    Entity,
    Gazetteer,
    by_spelling,
    clean,
    key,
    pieces,
    squeeze,
    word_set,
)
from study.data.sources import RESTORE, csv_rows

FUZZY_NAME = 88.0
LONGEST_JOIN = 4

# First word and end of a name in a piece, and whose it is.
_Span = tuple[int, int, Entity]


@dataclass(frozen=True)
class Hit:
    """What one piece of an affiliation is.

    Attributes
    ----------
    piece : str
        The piece (or pieces joined) in lookup form.
    entity : Entity or None
        The institution, None if it is a place, a unit, or unknown.
    method : str
        exact, campus, letters, within, legal_form, fuzzy, domain; place, unit, ambiguous or unmatched
        without entity.
    score : float
        Similarity from 0 to 100; 100 except where the spelling differed.
    """

    piece: str
    entity: Entity | None
    method: str
    score: float = 100.0

    def __hash__(self) -> int:
        """Return that of its piece: a text keeps its hash, and several are not put together again."""
        return hash(self.piece)

    @property
    def university(self) -> Entity | None:
        """The institution where it is a university, else None."""
        return self.entity if self.entity is not None and self.entity.kind == UNIVERSITY else None


def universities(hits: Iterable[Hit]) -> list[Entity]:
    """Return the universities among hits, each once, in their order."""
    return list(dict.fromkeys(hit.university for hit in hits if hit.university is not None))


class Matcher:
    """Matches affiliations of authors and sites against a gazetteer, each distinct string once."""

    def __init__(self, gazetteer: Gazetteer) -> None:
        self.gazetteer = gazetteer
        self._matched = cache(self._match)
        self._what_is = cache(self._single)
        self._known_name = cache(self._hit_of_name)
        self._country = cache(self._country_at_end)
        self._exact = gazetteer.exact
        # Length in words of the longest name that begins with a word.
        self._longest: dict[str, int] = defaultdict(int)
        # First letters of the words -> names of universities: a misspelt word keeps its first letter.
        self._by_initials: dict[str, list[str]] = defaultdict(list)
        # Name -> the letters with which it goes on in names of other institutions.
        self._tails: dict[str, list[str]] = defaultdict(list)
        # Letters of a name -> the institutions of that name, in order.
        self._squeezed: dict[str, dict[Entity, None]] = defaultdict(dict)
        for form, entities in sorted(self._exact.items()):
            words = form.split()
            self._longest[words[0]] = max(self._longest[words[0]], len(words))
            if form not in gazetteer.standalone:
                for letters in {squeeze(form), form.replace(" ", "")}:
                    if len(letters) >= 9:
                        self._squeezed[letters].update(dict.fromkeys(entities))
            if any(entity.kind == UNIVERSITY for entity in entities) and LIKE_UNIVERSITY.search(form):
                self._by_initials[_initials(words)].append(form)
            for length in range(2, len(words)):
                start, tail = " ".join(words[:length]), "".join(words[length:])
                if len(tail) >= 6 and not set(entities) & set(self._exact.get(start, entities)):
                    self._tails[start].append(tail)

    def match(self, text: str, country: str = "") -> tuple[Hit, ...]:
        """Return what each piece of one author's affiliation (or of a site's name) is.

        Parameters
        ----------
        text : str
            One author's affiliation as given, several institutions of one author allowed.
        country : str, optional
            ISO2 code where it is known apart from the text.
        """
        return self._matched(text, country)

    def universities(self, text: str, country: str = "") -> list[Entity]:
        """Return the universities that a text names, each once, in their order; see :meth:`match`."""
        return universities(self.match(text, country))

    def only_university(self, text: str, country: str, where: str) -> Entity:
        """Return the one university that a text of a table names; ``where`` says in errors where it stands.

        Raises
        ------
        DataError
            If the text names none, or several.
        """
        named = self.universities(text, country)
        if len(named) != 1:
            raise DataError(f'{where} "{text}" is {len(named)} universities; name just one.')
        return named[0]

    def university(self, name: str, country: str) -> Entity:
        """Return the university of that name, else a new one, which nobody else knows.

        A known name within a longer one is not that of the longer one ("Texas A&M University-Victoria").
        """
        hits = self.match(name, country)
        named = universities(hits) if [hit.method for hit in hits] == ["exact"] else []
        return (named or [Entity(name, UNIVERSITY, country)])[0]

    def domain(self, domain: str) -> Entity | None:
        """Return the university of a mail domain, or of the longest known domain that it ends in."""
        labels = domain.strip().lower().split(".")
        endings = (".".join(labels[start:]) for start in range(len(labels) - 1))
        return next(filter(None, map(self.gazetteer.domains.get, endings)), None)

    def _match(self, text: str, country: str) -> tuple[Hit, ...]:
        matched: list[Hit] = []
        # The lists of papers part several affiliations of one author by "+".
        for affiliation in text.split("+"):
            parts = pieces(affiliation)
            countries = (country,) if country else self._countries(parts)
            place = 0
            hits: list[Hit] = []
            while place < len(parts):
                length, more = self._at(parts, place, countries)
                hits.extend(more)
                place += length
            units = self.gazetteer.units
            named = any(hit.university is not None and hit.piece not in units for hit in hits)
            matched += (hit for hit in hits if not (named and hit.piece in units))
        return tuple(matched)

    def _countries(self, parts: Sequence[str]) -> tuple[str, ...]:
        """Return the countries that a text names: a piece, the end of a piece, or a code as the last piece."""
        codes = list(filter(None, map(self._country, parts)))
        if len(parts) > 1 and parts[-1] in CODES:
            codes.append(CODES[parts[-1]])
        return tuple(dict.fromkeys(codes))

    def _country_at_end(self, part: str) -> str:
        """Return the country that a piece or its end is, nothing where it is none."""
        words = [] if part in self._exact else part.split()
        while len(words) > 1 and words[-1].isdigit():
            words.pop()
        for length in range(min(4, len(words)), 0, -1):
            code = self.gazetteer.countries.get(" ".join(words[-length:]))
            # "American University of Armenia" and "New Mexico" name no country.
            before = words[-length - 1] if length < len(words) else ""
            if code is not None and before not in CONTINUES and before != "new":
                return code
        return ""

    def _at(self, parts: Sequence[str], place: int, countries: tuple[str, ...]) -> tuple[int, list[Hit]]:
        """Return how many pieces from ``place`` on belong together, and what they are."""
        for length in range(min(LONGEST_JOIN, len(parts) - place), 0, -1):
            form = " ".join(parts[place : place + length])
            system = _system(form) if length == 1 else ""
            if system and (campus := self._campus(system, [*parts[place + 1 :], *parts[:place]], countries)):
                return 1, [*self._within(form.removesuffix(system).strip(), countries), campus]
            if form in self._exact:
                return length, [self._known_name(form, form, countries)]
            joined = length > 1 and parts[place + length - 1] not in self.gazetteer.countries
            if joined and (entity := self._respelt(form, countries)):
                return length, [Hit(form, entity, "letters")]
        following = parts[place + 1] if place + 1 < len(parts) else ""
        if across := self._across(parts[place], following, countries):
            return 2, [across]
        return 1, self._what_is(parts[place], following in ALONE, countries)

    def _hit_of_name(self, piece: str, name: str, countries: tuple[str, ...]) -> Hit:
        """Return what a piece is that is a known name as a whole."""
        entity = self._named(name, countries)
        return Hit(piece, entity, "exact" if entity else "ambiguous")

    def _across(self, first: str, second: str, countries: tuple[str, ...]) -> Hit | None:
        """Return the university whose name a comma parts ("Department of X at Massachusetts, Institute of Y")."""
        begins = second.startswith(("university ", "institute ")) or first.endswith(" technische universitat")
        if not begins or second in self._exact:
            return None
        before = first.split()
        for length in range(min(LONGEST_JOIN, len(before) - 1), 0, -1):
            form = " ".join([*before[-length:], second])
            hit = self._known_name(form, form, countries)
            if before[-length - 1] not in CONTINUES and hit.university is not None:
                return hit
        return None

    def _single(self, form: str, incorporated: bool, countries: tuple[str, ...]) -> list[Hit]:
        if form in self.gazetteer.countries or form in PLACES:
            return [Hit(form, None, "place")]
        if form in LEGAL_FORMS:
            return [Hit(form, None, "unit")]
        words = form.split()
        # The number of a footnote that a space parts from the name.
        if len(words) > 2 and words[0].isdigit() and " ".join(words[1:]) in self._exact:
            return [self._known_name(form, " ".join(words[1:]), countries)]
        if entity := self._respelt(form, countries):
            return [Hit(form, entity, "letters")]
        if within := self._within(form, countries):
            return within
        if words[-1] in LEGAL_FORMS or incorporated:
            return [Hit(form, Entity(form, "company", ""), "legal_form")]
        close = self._closest(form, countries) if LIKE_UNIVERSITY.search(form) else None
        method = "unit" if set(words) & UNITS and "university" not in words else "unmatched"
        return [close or Hit(form, None, method)]

    def _named(self, name: str, countries: Sequence[str]) -> Entity | None:
        return self._choose(self._exact.get(name, ()), name, countries)

    def _choose(self, candidates: Sequence[Entity], form: str, countries: Sequence[str]) -> Entity | None:
        """Return the institution of a name: of a country that the text names, else the only or the curated one."""
        if at_home := [entity for entity in candidates if _near(entity.country, countries)]:
            return at_home[0]
        curated = [entity for entity in candidates if entity in self.gazetteer.curated]
        # A listed name abroad is another university; a curated one stands wherever its people sit.
        if countries and (not curated or len(candidates) > 1):
            return None
        for alone in (candidates, curated):
            if len(alone) == 1:
                return alone[0]
        return next((entity for entity in curated if entity.country == DEFAULTS.get(form)), None)

    def _respelt(self, form: str, countries: Sequence[str]) -> Entity | None:
        """Return the institution whose name has the letters of ``form`` (``squeeze``)."""
        if form in WITH_CAMPUS:
            return None
        known = self._squeezed.get(squeeze(form)) or self._squeezed.get(form.replace(" ", ""), {})
        return self._choose(list(known), form, countries) if known else None

    def _campus(self, system: str, others: Sequence[str], countries: Sequence[str]) -> Hit | None:
        places = (" ".join(words[:length]) for words in map(str.split, others) for length in (3, 2, 1))
        forms = (f"{system} {place}" for place in places)
        hits = (Hit(form, self._named(form, countries), "campus") for form in forms)
        return next((hit for hit in hits if hit.entity is not None), None)

    def _within(self, form: str, countries: Sequence[str]) -> list[Hit]:
        """Return the institutions named inside one piece, where what surrounds them is no part of another name."""
        words = form.split()
        spans: list[_Span] = []
        start = 0
        while start < len(words):
            first = "university" if words[start] in UNIVERSITY_WORDS else words[start]
            longest = max(self._longest.get(word, 0) for word in (first, words[start]))
            for end in range(min(len(words), start + longest), start, -1):
                entity = self._begun(words[start:end], countries, words[end:])
                if entity is not None and self._stands(words, start, end, entity, spans):
                    spans.append((start, end, entity))
                    start = end - 1
                    break
            start += 1
        if spans:
            return [Hit(form, entity, "within") for entity in dict.fromkeys(entity for _, _, entity in spans)]
        # A name that is spelt otherwise may end the piece, after the name of a unit.
        starts = (start for start in range(1, len(words) - 1) if words[start - 1] in BEFORE_NAME)
        hits = (Hit(form, self._respelt(" ".join(words[start:]), countries), "letters") for start in starts)
        return [hit for hit in hits if hit.university is not None][:1]

    def _begun(self, words: list[str], countries: Sequence[str], rest: list[str]) -> Entity | None:
        """Return the institution of a name; one that begins with "university" may be in another language."""
        name = " ".join(words)
        if name in self._exact:
            return None if name in self.gazetteer.standalone else self._named(name, countries)
        if words[0] not in UNIVERSITY_WORDS or words[-1] in CONTINUES or JOINS & set(words):
            return None
        # Where another name goes on ("Université Paris Descartes Biomédicale") its beginning names nobody.
        if rest and not rest[0].isdigit() and rest[0] not in UNITS | JOINS and rest[0] not in self._longest:
            return None
        return Hit(name, self._respelt(name, countries), "letters").university

    def _stands(self, words: list[str], start: int, end: int, entity: Entity, spans: list[_Span]) -> bool:
        """Tell whether a name is no part of a longer one, by what stands beside it and the names before it."""
        single = end - start == 1
        before = words[start - 1] if start else "of"
        at_edge = end == len(words) or (bool(spans) and spans[-1][1] == start)
        at_edge = at_edge or before == "of" or before in JOINS or before.isdigit()
        if entity.kind == "company":
            return not single or len(words[start]) > 4 or at_edge
        if single and not at_edge:
            return False
        following = words[end] if end < len(words) else ""
        if following in STREETS or (following in CONTINUES and not self._another(words, end)):
            return False
        if entity.kind != UNIVERSITY:
            return True
        name, rest = " ".join(words[start:end]), "".join(words[end:])
        if following in OTHER_CAMPUS and name in WITH_CAMPUS:
            return False
        # The name goes on as another one misspelt ("... University of Agriculture and Tecknology").
        tails = self._tails.get(name, ()) if rest else ()
        if any(fuzz.ratio(tail, rest[: len(tail) + 1]) >= FUZZY_NAME for tail in tails):
            return False
        left = [word for word in words[spans[-1][1] if spans else 0 : start] if not word.isdigit()]
        if not left or left[-1] in SUBJECTS or left[-1] in JOINS or (spans and left[-1] == "of"):
            return True
        if left[-1] in ADJECTIVES and words[start] in UNIVERSITY_WORDS:
            return False
        # "Samsung AI Center Montreal McGill University"
        after_other = len(left) == 1 and bool(spans) and spans[-1][2].kind != UNIVERSITY
        after_country = not self.gazetteer.countries.keys().isdisjoint((left[-1], " ".join(left[-2:])))
        own = bool(set(left) & UNITS) or not set(left) & self.gazetteer.words
        return after_other or after_country or own

    def _another(self, words: list[str], end: int) -> bool:
        """Tell whether a name ends where another begins, though the next word could continue it.

        "Nanjing University of Finance" is no Nanjing University; "Nanjing University University of Oxford"
        and "CNRS University of Nice" are two names, "Yonsei University College of Medicine" is a name and a unit.
        """
        before = words[:end]
        if words[end : end + 2] == ["college", "of"] and ("university" in before or end <= 2):
            return True
        longest = min(len(words), end + self._longest.get(words[end], 0))
        return any(self._begun(words[end:last], (), words[last:]) for last in range(end + 2, longest + 1))

    def _closest(self, form: str, countries: Sequence[str]) -> Hit | None:
        """Return the university of which ``form`` is a name misspelt, word by word."""
        words = form.split()
        scores: dict[Entity, float] = {}
        for name in self._by_initials.get(_initials(words), ()):
            score = round(fuzz.ratio(form, name, score_cutoff=FUZZY_NAME), 1)
            if score and all(map(self._same_word, words, name.split())):
                entity = self._named(name, countries)
                if entity is not None and (not countries or _near(entity.country, countries)):
                    scores[entity] = max(score, scores.get(entity, 0.0))
        best = max(scores.values(), default=0.0)
        close = [entity for entity, score in scores.items() if score == best]
        return Hit(form, close[0], "fuzzy", best) if len(close) == 1 else None

    def _same_word(self, word: str, known: str) -> bool:
        """Tell whether a word is a known one misspelt; a word of some other name is not ("Henan", "Hunan")."""
        if word == known:
            return True
        if word in self.gazetteer.words or word in GENERIC or word[0] != known[0]:
            return False
        # Short names one letter apart are names of two places as often as a misspelling.
        return (known in GENERIC or len(known) >= 8) and fuzz.ratio(word, known) >= 85


def _system(form: str) -> str:
    """Return the name with campuses in which a piece ends, or nothing."""
    if form in WITH_CAMPUS:
        return form
    if " university of " not in form and " institute of " not in form:
        return ""
    return next((name for name in WITH_CAMPUS if form.endswith(f" {name}")), "")


def _initials(words: Sequence[str]) -> str:
    return "".join(word[0] for word in words)


def _near(country: str, countries: Sequence[str]) -> bool:
    """Tell whether a country is named, where Hong Kong, Macau and Taiwan may be named as China."""
    return country in countries or (country in ("HK", "MO", "TW") and "CN" in countries)


# The legal forms that may stand alone after a comma; the others are also places ("Denver, CO").
ALONE = word_set("inc incorporated ltd limited gmbh corp corporation llc")
LEGAL_FORMS = ALONE | word_set("llp co company plc pte ag kk bv oy ab spa srl sas")
# Names with campuses, some of which are the everyday name of the first campus.
WITH_CAMPUS = SYSTEMS | word_set(
    "university of illinois, university of maryland, university of massachusetts, university of michigan, "
    "university of minnesota, university of wisconsin, university of colorado, university of tennessee, "
    "university of nebraska, university of houston, university of missouri, university of alaska, "
    "university of alabama, university of arkansas, university of hawaii, university of north carolina, "
    "rutgers university, indiana university, insa, inp",
    ", ",
)
# First words of the names of their other campuses and schools that are universities of their own.
OTHER_CAMPUS = word_set(
    "stout milwaukee eau oshkosh platteville parkside river stevens superior whitewater flint dearborn duluth "
    "morris crookston springfield worcester lowell boston dartmouth eastern global denver anschutz springs "
    "martin chattanooga medical health kearney omaha downtown clear kansas st rolla huntsville birmingham little "
    "fort pine hilo wilmington greensboro asheville pembroke purdue south east northwest kokomo southeast"
)
# Places that look like names of universities.
PLACES = frozenset({"university park", "college park", "university city", "university of park"})
# Words with which another name begins ("Technische University Munich" is not the University of Munich).
ADJECTIVES = word_set(
    "technical technische tecnica technological polytechnic medical catholic normal national american open free "
    "agricultural christian islamic azad royal pedagogical federal"
)
# What follows the name of a university after which a street is named.
STREETS = word_set("road rd street avenue ave boulevard blvd drive circle crescent")
# A university's own parts: words that may stand before or after its name in one piece.
UNITS = word_set(
    "department departments school schools laboratory laboratories institute center centers faculty college "
    "division group chair section program programme team unit hospital robotics vision csail ai ece cse eecs "
    "cs computing dep graduate key joint mmlab campus postdoc faculdade facultad facolta faculte fakultat dipartimento "
    "departamento departement laboratoire laboratorio lehrstuhl escuela institut instituto istituto depto dpto fak "
    "station box equipe ag robotik hci ri dei disi dist dibris diten diro deec fct psi iminds csc cluster mmci umr"
)
# What departments are named after: a name that follows such a word begins there.
SUBJECTS = word_set(
    "engineering science sciences informatics mathematics statistics physics psychology robotics medicine "
    "systems automation electronics computation neuroscience learning mechanics linguistics economics biology "
    "chemistry aeronautics mechatronics manufacturing cybernetics intelligence research education "
    "behaviour behavior modelling modeling informatik systeme industrial organisation student undergraduate lecturer "
    "candidate professor fellow university universite institute college hospital academy"
)
JOINS = word_set("and with from to formerly done")
BEFORE_NAME = UNITS | SUBJECTS | JOINS | word_set("of da de di della der del do")
LIKE_UNIVERSITY = re.compile("univ|instit|college|polytec|ecole|school of|hochschule|academy")
CONTINUES = word_set("of for de di da do del della degli du des fur y university college universitat")

# Where two curated universities share a name, the country of the one that is meant if none stands beside it.
DEFAULTS = by_spelling(
    ", ",
    CN="tsing hua university, tsinghua university, hit, hust, soochow university",
    DK="aau, sdu",
    DE="fau",
    FR="isir",
    AU="monash university, university of newcastle",
    NO="ntnu",
    SG="ntu, smu",
    GB="open university, ucl",
    US="uab, uah, uga, unl, northeastern university",
    ES="upm, universidad de cordoba, university of cordoba",
    CA="york university, queens university",
    CO="universidad de los andes, university of los andes, los andes university",
    TW="national defense university",
)


# What is overridden by hand, a text or several -> its university; None where it is none.
Overrides = Mapping[Any, Entity | None]


def read_overrides(path: Path, matcher: Matcher, *items: str) -> dict[Any, Entity | None]:
    """Read what no general rule matches rightly: a table with the columns ``items``, university, country, note.

    Returns
    -------
    dict
        The text of the item (a tuple of texts of several) -> its university, None where there is none. A name that
        the gazetteer knows becomes its canonical name; others stand as they are.

    Raises
    ------
    DataError
        If the table is missing, has another heading, or decides twice about one item.
    """
    rows = csv_rows(path, (*items, "university", "country", "note"), unique=items, remedy=RESTORE)
    decided = ((itemgetter(*items)(row), row["university"], row["country"]) for _, row in rows)
    return {item: matcher.university(name, country) if name else None for item, name, country in decided}


# Name of a site and ISO2 code of its country.
Site = tuple[str, str]
Sites = Mapping[Site, tuple[Hit, ...]]

# The columns that name a university in every table.
UNIT = ["university", "country"]
# Those that a table of events has.
DATED = [*UNIT, "event", "date", "left_censored", "detail"]
_OF_HIT = ["institution", "country_of_institution", "kind", "method", "score"]

# Venues all of whose files have mail domains. In the others a rule that could use them in some years only would
# break the outcome where they end (CVPR and ICCV have none from 2020 on).
WITH_DOMAINS = word_set(
    "3dv acl acml acmmm ai4x aistats alt coling colm colt corl emnlp icml ijcai naacl rss wacv www"
)


@dataclass(frozen=True, eq=False)
class Signed:
    """Who signed which papers.

    Attributes
    ----------
    papers : DataFrame
        One row a paper, in the order given: affiliated (an author has an affiliation), ordered (each affiliation
        can be told to its author), university, institute (a research institute or national centre), company.
    signatures : DataFrame
        One row a paper and university: paper (row number in ``papers``), university, country, first, last (whether
        the first, the last author is there; only where ordered).
    pieces : Counter of Hit
        In how many papers each piece of an affiliation stands.
    """

    papers: pd.DataFrame
    signatures: pd.DataFrame
    pieces: Counter[Hit]


def match_papers(papers: pd.DataFrame, matcher: Matcher) -> Signed:
    """Match the affiliations of all papers (columns venue, author, aff, aff_domain of ``sources.paperlists``)."""
    rows = []
    signatures: list[tuple[int, str, str, bool, bool]] = []
    pieces: Counter[Hit] = Counter()
    # A list of texts is read several times as fast as a column of them.
    columns = [papers[name].tolist() for name in ("venue", "author", "aff", "aff_domain")]
    for paper, (venue, author, aff, mail) in enumerate(zip(*columns, strict=True)):
        by_author = _hits_by_author(matcher, venue, aff, mail)
        hits = dict.fromkeys(hit for author_hits in by_author for hit in author_hits)
        kinds = {hit.entity.kind for hit in hits if hit.entity is not None}
        institute = not kinds.isdisjoint({"research_institute", "national_centre"})
        ordered = len(by_author) in (1, count_authors(author))
        rows.append((any(by_author), ordered, UNIVERSITY in kinds, institute, "company" in kinds))
        first, last = (universities(by_author[end]) if ordered else [] for end in (0, -1))
        for university in universities(hits):
            position = (university in first, university in last)
            signatures.append((paper, university.name, university.country, *position))
        pieces.update(hits.keys())
    return Signed(
        pd.DataFrame(rows, columns=["affiliated", "ordered", "university", "institute", "company"]),
        pd.DataFrame(signatures, columns=["paper", "university", "country", "first", "last"]),
        pieces,
    )


def count_authors(names: str) -> int:
    """Return the number of authors of a list parted by ";", or by "," where there is none; a repeated name counts once.

    >>> count_authors("A. Ito;B. Roy;A. Ito;B. Roy"), count_authors("A. Ito, B. Roy")
    (2, 2)
    """
    return len({name.strip() for name in names.split(";" if ";" in names else ",")})


def _hits_by_author(matcher: Matcher, venue: str, aff: str, mail: str) -> list[tuple[Hit, ...]]:
    """Return what each part of a paper's affiliations is, nothing for an empty part."""
    parts = [part.strip() for part in clean(aff).split(";")]
    domains = [domain.strip() for domain in mail.split(";")]
    if venue not in WITH_DOMAINS or len(domains) != len(parts):
        domains = [""] * len(parts)
    by_author: list[tuple[Hit, ...]] = []
    for part, domain in zip(parts, domains, strict=True):
        hits = matcher.match(part)
        entity = matcher.domain(domain) if part and all(hit.entity is None for hit in hits) else None
        by_author.append(hits if entity is None else (*hits, Hit(domain, entity, "domain")))
    return by_author


def match_sites(systems: pd.DataFrame, matcher: Matcher, overrides: Sites) -> dict[Site, tuple[Hit, ...]]:
    """Match the sites of systems; keys are (site, ISO2 country), values what is credited."""
    sites = dict.fromkeys(zip(systems["site"], systems["country"], strict=True))
    credited = {site: _credited(matcher.match(*site), site[1]) for site in sites}
    return credited | {site: overrides[site] for site in sites if site in overrides}


def _credited(hits: Iterable[Hit], country: str) -> tuple[Hit, ...]:
    """Return what a site is credited to: national centres, else universities of its country, else the rest."""
    known = {hit.entity: hit for hit in hits if hit.entity is not None}
    national = [entity for entity in known if entity.kind == "national_centre"]
    universities = [entity for entity in known if entity.kind == UNIVERSITY and entity.country == country]
    others = [entity for entity in known if entity.kind != UNIVERSITY]
    # A national centre serves a country, also where its host stands beside it.
    chosen = national or universities or others
    return tuple(known[entity] for entity in sorted(chosen, key=lambda entity: entity.name))


def by_university(table: pd.DataFrame, credited: Sequence[Sequence[Entity]]) -> pd.DataFrame:
    """Return each row of a table once for each university credited with it, whose university and country it gets."""
    rows = table.assign(university=credited).explode("university", ignore_index=True)
    rows = rows.dropna(subset="university", ignore_index=True)
    units = list(rows["university"])
    return rows.assign(university=[each.name for each in units], country=[each.country for each in units])


def first_events(rows: Mapping[str, pd.DataFrame], *more: str) -> pd.DataFrame:
    """Return the first row of each university as its event, by university and event.

    Parameters
    ----------
    rows : mapping of str to DataFrame
        By event the rows that are one, the earliest first, with the columns :data:`DATED` but for the event's name.
    *more : str
        Columns that the table has too.
    """
    first = pd.concat([table.drop_duplicates(UNIT).assign(event=event) for event, table in rows.items()])
    return first[[*DATED, *more]].sort_values([*UNIT, "event"], ignore_index=True)


def decisions(path: Path, gazetteer: Gazetteer) -> dict[Site, tuple[Hit, ...]]:
    """Read the decisions about single sites that no general rule could take."""
    overrides: dict[Site, tuple[Hit, ...]] = {}
    for line, row in csv_rows(path, ("site", "country", "university", "note"), remedy=RESTORE):
        site, country, name = row["site"], row["country"], row["university"]
        named = [entity for entity in gazetteer.exact.get(key(name), ()) if entity.name == name]
        chosen = [entity for entity in named if entity.country == country or len(named) == 1]
        if name and not chosen:
            raise DataError(f'{path.name}: university "{name}" is unknown; correct line {line}.')
        hits = (Hit(site, entity, "decision") for entity in chosen)
        overrides[site, country] = (*overrides.get((site, country), ()), *hits)
    return overrides


def sites_crosswalk(matched: Sites) -> pd.DataFrame:
    """Return one row a site of a supercomputer and institution, or one without where none was found."""
    records = [
        (*site, *_of_hit(hit))
        for site, hits in sorted(matched.items())
        for hit in hits or (Hit(site[0], None, "unmatched"),)
    ]
    return pd.DataFrame(records, columns=["site", "country", *_OF_HIT])


def affiliations_crosswalk(pieces: Mapping[Hit, int]) -> pd.DataFrame:
    """Return every piece of an affiliation that was matched, and what stayed unmatched in several papers."""
    # Below three papers most unmatched pieces name a person's own unit or street.
    records = [
        (hit.piece, *_of_hit(hit), count)
        for hit, count in pieces.items()
        if hit.entity is not None or (hit.method in ("ambiguous", "unmatched") and count >= 3)
    ]
    table = pd.DataFrame(records, columns=["segment", *_OF_HIT, "papers"])
    return table.sort_values(["segment", "institution", "country_of_institution"], ignore_index=True)


def _of_hit(hit: Hit) -> tuple[str, str, str, str, str]:
    entity = hit.entity or NOBODY
    return entity.name, entity.country, entity.kind, hit.method, f"{hit.score:.1f}"
