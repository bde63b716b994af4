"""The matching rule: pieces of an affiliation -> exact name, campus, name within a piece, misspelt name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rapidfuzz import fuzz, process

from study.institutions.gazetteer import GENERIC, SYSTEMS, UNIVERSITY, Entity, Gazetteer
from study.institutions.names import pieces
from study.institutions.names import words as word_set

FUZZY_NAME = 88.0
FUZZY_WORD = 85.0
FUZZY_LETTERS = 8
LONGEST_JOIN = 4

LEGAL_FORMS = word_set(
    "inc incorporated ltd limited gmbh corp corporation llc llp co company plc pte ag kk bv oy ab spa srl sas"
)
# The legal forms that may stand alone after a comma; the others are also places ("Denver, CO").
_ALONE = word_set("inc incorporated ltd limited gmbh corp corporation llc")
# Names with campuses, where one is the everyday name of the first campus.
_WITH_CAMPUS = (
    SYSTEMS
    | frozenset(
        f"university of {state}"
        for state in word_set(
            "illinois maryland massachusetts michigan minnesota wisconsin colorado tennessee nebraska houston "
            "missouri alaska alabama arkansas hawaii"
        )
    )
    | {"university of north carolina", "rutgers university"}
)
# A university's own parts: words that may stand before or after its name in one piece.
_UNITS = word_set(
    "department school laboratory laboratories institute center faculty college division group chair section "
    "program programme team unit hospital robotics vision csail ai ece cse eecs cs computing dep "
    "graduate key joint laboratory mmlab campus postdoc"
)
_LIKE_UNIVERSITY = ("univ", "instit", "college", "polytec", "ecole", "school of", "hochschule", "academy")
_CONTINUES = word_set("of for de di da do del della degli du des fur y university college universitat")


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
        exact, campus, within, legal_form, fuzzy, domain; place, unit, ambiguous or unmatched without entity.
    score : float
        Similarity from 0 to 100; 100 except where the spelling differed.
    """

    piece: str
    entity: Entity | None
    method: str
    score: float = 100.0


class Matcher:
    """Matches affiliations of authors and sites against a gazetteer, each distinct string once."""

    def __init__(self, gazetteer: Gazetteer) -> None:
        self.gazetteer = gazetteer
        self._authors: dict[tuple[str, str], tuple[Hit, ...]] = {}
        self._fuzzy: dict[str, tuple[str, float] | None] = {}
        self._longest = max(len(form.split()) for form in gazetteer.exact)
        self._by_length: dict[int, list[str]] = defaultdict(list)
        for form, entities in sorted(gazetteer.exact.items()):
            if any(entity.kind == UNIVERSITY for entity in entities) and any(
                w in form for w in _LIKE_UNIVERSITY
            ):
                self._by_length[len(form.split())].append(form)

    def match(self, text: str, country: str = "") -> tuple[Hit, ...]:
        """Return what each piece of one author's affiliation (or of a site's name) is.

        Parameters
        ----------
        text : str
            One author's affiliation as given, several institutions of one author allowed.
        country : str, optional
            ISO2 code where it is known apart from the text.
        """
        found = self._authors.get((text, country))
        if found is None:
            found = self._authors[text, country] = tuple(self._match(text, country))
        return found

    def domain(self, domain: str) -> Entity | None:
        """Return the university of a mail domain, or of the longest known domain that it ends in."""
        labels = domain.strip().lower().split(".")
        for start in range(len(labels) - 1):
            entity = self.gazetteer.domains.get(".".join(labels[start:]))
            if entity is not None:
                return entity
        return None

    def _match(self, text: str, country: str) -> list[Hit]:
        parts = pieces(text)
        known = self.gazetteer.countries
        countries = [country] if country else [known[part] for part in parts if part in known]
        hits: list[Hit] = []
        place = 0
        while place < len(parts):
            taken, found = self._at(parts, place, countries)
            hits.extend(found)
            place += taken
        return hits

    def _at(self, parts: Sequence[str], place: int, countries: list[str]) -> tuple[int, list[Hit]]:
        """Return how many pieces from ``place`` on belong together, and what they are."""
        for taken in range(min(LONGEST_JOIN, len(parts) - place), 0, -1):
            form = " ".join(parts[place : place + taken])
            if taken == 1 and form in _WITH_CAMPUS:
                campus = self._campus(form, [*parts[place + 1 :], *parts[:place]], countries)
                if campus is not None:
                    return 1, [campus]
            if form in self.gazetteer.exact:
                entity = self._choose(form, countries)
                return taken, [Hit(form, entity, "exact" if entity else "ambiguous")]
        return 1, self._single(parts, place, countries)

    def _single(self, parts: Sequence[str], place: int, countries: list[str]) -> list[Hit]:
        form = parts[place]
        if form in self.gazetteer.countries:
            return [Hit(form, None, "place")]
        if form in LEGAL_FORMS:
            return [Hit(form, None, "unit")]
        within = self._within(form, countries)
        if within:
            return within
        following = parts[place + 1] if place + 1 < len(parts) else ""
        if form.split()[-1] in LEGAL_FORMS or following in _ALONE:
            return [Hit(form, Entity(form, "company", ""), "legal_form")]
        if any(word in form for word in _LIKE_UNIVERSITY):
            close = self._closest(form)
            if close is not None:
                entity = self._choose(close[0], countries)
                if entity is not None:
                    return [Hit(form, entity, "fuzzy", close[1])]
        words = set(form.split())
        return [Hit(form, None, "unit" if words & _UNITS and "university" not in words else "unmatched")]

    def _choose(self, form: str, countries: list[str]) -> Entity | None:
        """Return the institution of a name: of a country that the text names, else the only or the curated one."""
        candidates = self.gazetteer.exact[form]
        at_home = [entity for entity in candidates if entity.country in countries]
        if at_home:
            return at_home[0]
        if len(candidates) == 1:
            return candidates[0]
        curated = [entity for entity in candidates if entity in self.gazetteer.curated]
        if countries or not curated:
            return None
        if len(curated) == 1:
            return curated[0]
        return next((entity for entity in curated if entity.country == DEFAULTS.get(form)), None)

    def _campus(self, system: str, others: Sequence[str], countries: list[str]) -> Hit | None:
        for other in others:
            words = other.split()
            for length in (3, 2, 1):
                form = f"{system} {' '.join(words[:length])}"
                if len(words) >= length and form in self.gazetteer.exact:
                    entity = self._choose(form, countries)
                    if entity is not None:
                        return Hit(form, entity, "campus")
        return None

    def _within(self, form: str, countries: list[str]) -> list[Hit]:
        """Return the institutions named inside one piece, where what surrounds them is no part of another name."""
        words = form.split()
        spans: list[tuple[int, int, Entity]] = []
        start = 0
        while start < len(words):
            for end in range(min(len(words), start + self._longest), start, -1):
                name = " ".join(words[start:end])
                if name in self.gazetteer.exact and name not in self.gazetteer.whole:
                    entity = self._choose(name, countries)
                    if entity is not None and self._stands(words, start, end, entity, spans):
                        spans.append((start, end, entity))
                        start = end - 1
                        break
            start += 1
        entities = dict.fromkeys(entity for _, _, entity in spans)
        return [Hit(form, entity, "within") for entity in entities]

    def _stands(
        self, words: list[str], start: int, end: int, entity: Entity, spans: list[tuple[int, int, Entity]]
    ) -> bool:
        single = end - start == 1
        at_edge = start == 0 or end == len(words) or (bool(spans) and spans[-1][1] == start)
        if entity.kind == "company":
            return not single or len(words[start]) > 4 or at_edge
        if single and not at_edge:
            return False
        if end < len(words) and words[end] in _CONTINUES:
            return False
        if entity.kind != UNIVERSITY:
            return True
        left = words[spans[-1][1] if spans else 0 : start]
        if not left or left[-1] == "and":
            return True
        return bool(set(left) & _UNITS) or not set(left) & self.gazetteer.words

    def _closest(self, form: str) -> tuple[str, float] | None:
        """Return the name of which ``form`` is a misspelling, word by word, and the similarity."""
        if form not in self._fuzzy:
            words = form.split()
            best = process.extractOne(
                form, self._by_length.get(len(words), []), scorer=fuzz.ratio, score_cutoff=FUZZY_NAME
            )
            close = best is not None and all(map(self._same_word, words, best[0].split()))
            self._fuzzy[form] = (best[0], round(best[1], 1)) if best is not None and close else None
        return self._fuzzy[form]

    def _same_word(self, word: str, known: str) -> bool:
        """Tell whether a word is a known one misspelt; a word of some other name is not ("Henan", "Hunan")."""
        if word == known:
            return True
        if word in self.gazetteer.words or word in GENERIC or word[0] != known[0]:
            return False
        # Short names one letter apart are names of two places as often as a misspelling.
        if known not in GENERIC and len(known) < FUZZY_LETTERS:
            return False
        return fuzz.ratio(word, known) >= FUZZY_WORD


# Where two curated universities share a name, the country of the one that is meant if none stands beside it.
DEFAULTS = {
    "northeastern university": "US",
    "soochow university": "CN",
}
