"""The institutions that are known: two curated tables and the list of world universities, under one index.

What is one university is decided in the curated table ``data/institutions.csv``:

- A university that merged into another is credited to its successor (Pierre et Marie Curie to Sorbonne
  University), and so are former names.
- A school that keeps its own legal person keeps its own name, also inside a federation (École Polytechnique,
  Télécom Paris, Grenoble INP, the colleges of London); the federation alone is credited to the federation.
- Campuses and hospitals under one name are one university (Cornell Tech and Weill Cornell, Rutgers Newark);
  separately accredited or overseas ones with their own name are not (UMBC, NYU Shanghai, CUHK-Shenzhen).
- The name of a system without its campus is nobody's (``SYSTEMS``), and a laboratory of several universities
  names none of them (``data/organisations.csv``).

An alias that begins with "=" counts only as a whole piece of an affiliation. One that begins with "~" is a unit of
the university: it counts as a whole piece too, and only where no university is named beside it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

import pandas as pd
from rapidfuzz import fuzz

from study.core import DataError
from study.data.sources import RESTORE, Rule, csv_rows, one_of


def word_set(text: str, between: str | None = None) -> frozenset[str]:
    """Return the set of the words of ``text``, or of the names in it: long lists read better as text."""
    return frozenset(text.split(between))


def by_spelling(between: str | None = None, /, **spellings: str) -> dict[str, str]:
    """Return the word or code that each of its spellings stands for."""
    return {spelling: word for word, listed in spellings.items() for spelling in listed.split(between)}


_APOSTROPHES = re.compile(r"['’‘ʼ`´]")
_NOT_WORD = re.compile(r"[\W_]+")
# Commas and the like, the marks of footnotes, and dashes with space around them.
_SPLIT = re.compile(r"[,;+/|@:()\[\]{}•·†‡∗§¶♠♣♥♦♡♢♤♧♮★☆⋆◇◆△▲○●、\n\t]|\s[-–—]+\s|[–—]")
# A footnote's number, a laboratory's or a post code without space on either side parts two names
# ("Princeton University1POSTECH2", "UMR6596ENSMM").
_GLUED = re.compile(r"\d(?=[^\W\d]{4})(?:(?<=[^\W\d]{3}\d)|(?<=\d{4}))")
# A search is several times as fast for a pattern that begins with letters or a set of them, rather than with what
# stands before them: here that is looked back at.
# What is mended, in this order, before accents and capitals go.
_MENDED = (
    # Two words of which the second's capital tells where it begins.
    (re.compile(r"niversityof(?=[A-Z])"), "niversity of "),
    (re.compile(r"([UI])(?<=[a-zé][UI])(?=(?:niversity|niversit[éàä]t?|nstitute)\b)"), r" \1"),
    # A syllable at the end of a line that is an abbreviation too, or a vowel parted from its word ("Universit à").
    (re.compile(r"(?i)-(?:(?<=\buni-) ?(?=v[ec]r)|(?<=\buniv-) ?(?=er)|(?<=\btech-) ?(?=nol|nic))"), ""),
    (re.compile(r"(?i)-(?:(?<=\binst-) ?(?=itu)|(?<=\bin-) ?(?=stitu))"), ""),
    (re.compile(r"(?i) (?:(?<=niversit )(?=[aeàáâäéè]t?\b)|(?<=niversit[aä] )(?=t\b))"), ""),
    (re.compile(r"[dDlL](?<=\b[dDlL])['’‘ʼ]{1,2}´?\s?(?i:(?=univ|[eé]cole|inst|insa))"), " "),
)
# What only texts with other letters need, and with a grave accent.
_OF_LETTERS = (
    # PDF text has accents beside their letters ("Z ¨urich", "T´el´ecom"): the accent goes, the letters close up.
    (re.compile(r"(?<=\w)\s?[¨´`ˆ˜˚¸ˇ]\s?(?=[a-zıøåæß])|[¨´`ˆ˜˚¸ˇ]\s?"), ""),
    # Letters of other alphabets that serve as marks of footnotes.
    (re.compile(r"[α-ωℜℑ](?:(?<=\b[α-ωℜℑ])(?=[A-Z][a-z])|(?<=[a-z]{3}[α-ωℜℑ])\b)"), ""),
)
# What is put right, in this order, in plain small letters; first the numbers of footnotes.
_SPELT_OUT = (
    (re.compile(r"\d(?<=\b\d)(?=[^\W\d]{3,}|(?:tu|uc)\b)"), ""),
    (re.compile(r"\d\b(?<=[^\W\d]{4}\d)(?<!lyon\d)(?<!paris\d)(?<!lille\d)"), ""),
    (re.compile(r"u(?<=\bu)(?:\.? of \b|(?<!k u)(?<!k\.u)(?<!k\. u)\.? (?=[a-z]{4}))"), "university of "),
    (re.compile(r"tech(?<=\btech)n?\.? (?=univ)"), "technical "),
    (re.compile(r"of cal(?:if)?\b\.?"), "of california"),
    (re.compile(r"&"), " and "),
    (re.compile(r"\.(?<=\b\w\.)(?=\w\b)"), ""),
)
# UTF-8 read as Latin-1: "Ã" and its like, and the continuation bytes after it.
_MISREAD = re.compile(r"[\xc2-\xc5][\x80-\xbf](?:[\xc2-\xc5][\x80-\xbf])*")
# The same bytes as hexadecimal numbers, or the letter's number in escapes that were not undone.
_HEX = re.compile(r"E2(8[0-9A-F])([89AB][0-9A-F])")
_ESCAPE = re.compile(r"[\\u#](?:(?:(?<=\w\\)u|(?<=\wu))00([c-f][0-9a-f])|(?<=#)x00([C-F][0-9A-F]);?)")
_TEX_ACCENT = re.compile(r"\\[\"'`^~.=]\{?([A-Za-z])\}?")

_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ð": "d"})

_WORDS = {"uoas": "university of applied sciences", "hongkong": "hong kong"} | by_spelling(
    university="univ uni uinv universit",
    institute="inst",
    technology="tech technol techn",
    science="sci",
    information="info",
    politecnico="politec",
    ciudad="cd",
    college="coll",
    engineering="eng",
    department="dept dep",
    national="natl nat",
    academy="acad",
    laboratory="lab",
    laboratories="labs",
    center="ctr centre",
    st="saint",
    universitat="universitaet",
    munchen="muenchen miinchen",
    zurich="zuerich",
    koln="koeln",
    tubingen="tuebingen tiibingen",
    gottingen="goettingen",
    wurzburg="wuerzburg wiirzburg",
    nurnberg="nuernberg niirnberg",
    saarbrucken="saarbruecken",
    fur="fuer fiir",
)
_STOP = {"the", "at", "in"}

# What languages and haste change in a name without changing whose name it is.
_SMALL = "of and for de di da do dos del della dell degli studi du des la le les y et e und zu fur"
_ENGLISH = dict.fromkeys(_SMALL.split(), "") | by_spelling(
    university="universite universita universitat universidad universidade universiteit universitet "
    "universitetet universiti universitas universitate universitatea universitesi univerzita univerza uniwersytet "
    "universitaria daigaku",
    institute="institut instituto istituto institutes institution",
    technical="technische technischen tecnica technique teknik",
    polytechnic="politecnica polytechnique politecnico polytechnical polytechnics politechnico politechnical "
    "politechnic",
    national="nacional",
    autonomous="autonoma",
    science="sciences",
    technology="technological",
    telecommunications="telecommunication",
)
UNIVERSITY_WORDS = frozenset({"university", *(word for word in _ENGLISH if _ENGLISH[word] == "university")})


def clean(text: str) -> str:
    """Return ``text`` without what scraping left in it: character references, broken spaces, misread UTF-8."""
    # A space that cannot break, in the wrong encoding.
    text = html.unescape(html.unescape(text)).replace("\uc2a0", " ")
    text = _MISREAD.sub(lambda code: code[0].encode("latin-1").decode("utf-8"), text)
    text = _HEX.sub(lambda code: bytes.fromhex(code[0]).decode("utf-8"), text)
    text = _ESCAPE.sub(lambda code: chr(int(code[1] or code[2], 16)), text)
    return _TEX_ACCENT.sub(r"\1", text)


def fold(text: str) -> str:
    """Return ``text`` in plain small letters: accents, ligatures and apostrophes gone, "&" spelt out."""
    for pattern, replacement in _MENDED:
        text = pattern.sub(replacement, text)
    if not text.isascii() or "`" in text:
        for pattern, replacement in _OF_LETTERS:
            text = pattern.sub(replacement, text)
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    text = _APOSTROPHES.sub("", text.casefold().translate(_LETTERS))
    for pattern, replacement in _SPELT_OUT:
        text = pattern.sub(replacement, text)
    return text


@lru_cache(100_000)
def key(text: str) -> str:
    """Return the form under which a name is looked up: folded, abbreviations spelt out, without articles.

    >>> key("Univ. of Maryland at College Park") == key("University of Maryland, College Park")
    True
    """
    return _spelt(fold(text))


def pieces(text: str) -> list[str]:
    """Return the lookup forms of the parts of one author's affiliation, in order: departments, names, places."""
    # All is folded before the split, since a loose accent may stand beside a separator.
    parts = (_spelt(part) for part in _SPLIT.split(_GLUED.sub(",", fold(text))))
    return [part for part in parts if part]


@lru_cache(100_000)
def squeeze(form: str) -> str:
    """Return the letters of a lookup form in one word, small words left out, "university" in English.

    >>> squeeze("universita degli studi della basilicata") == squeeze("university of basili cata")
    True
    """
    return "".join(_ENGLISH.get(word, word) for word in form.split())


# Departments and places stand in many affiliations.
@lru_cache(100_000)
def _spelt(folded: str) -> str:
    return " ".join(filter(None, map(_word, _NOT_WORD.split(folded))))


@cache
def _word(word: str) -> str:
    """Return a word spelt out and put right; nothing of an article or of a long number."""
    spelt = _WORDS.get(word) or put_right(word)
    return "" if spelt in _STOP or (len(spelt) > 3 and spelt.isdigit()) else spelt


# First letter -> the words that are put right, and from which similarity on.
_COMMON = {
    "u": ("university universite universitat universita universidad universidade universiteit", 82.0),
    "t": ("technology technological technical technische", 80.0),
    "i": ("institute institut instituto istituto", 82.0),
    "p": ("polytechnic polytechnique polytechnical politecnico politecnica", 84.0),
}
# The first letter lost, or misread.
_COMMON |= dict.fromkeys("nvw", _COMMON["u"])
# Words of their own that are as close.
_OTHERS = word_set(
    "universities universites universitaire universitaires universitair universitari universitario universitaria "
    "universitatea universitate universitas universitats universitet universitetet universiteti universitesi "
    "universiti universal universum univerzita univerza uniwersytet technologies technologie technologia "
    "technologique technologiques technologist technologic tecnologia tecnologie tecnologies tecnologico "
    "tecnologica tecnologias tecnologic institutes institution institutions institutet institutul institutionen "
    "institucio instituttet instituut institutional istituti polytech polytechnics politehnica politechnika "
    "politehnic terminology technicolor technicians techniques technique techniken technically"
)


def put_right(word: str) -> str:
    """Return the common word that ``word`` (in small letters) is misspelt, else the word itself.

    >>> put_right("technolozy"), put_right("univcrsite"), put_right("biodiversity")
    ('technology', 'universite', 'biodiversity')
    """
    common, least = _COMMON.get(word[:1], ("", 0.0))
    targets = common.split()
    if word in targets or word in _OTHERS or not 7 <= len(word) <= 16:
        return word
    near = [target for target in targets if abs(len(target) - len(word)) <= 2]
    best = max(near, key=lambda target: fuzz.ratio(word, target), default=word)
    return best if fuzz.ratio(word, best) >= least else word


UNIVERSITY = "university"
_ISO2: Rule = (re.compile(".."), "an ISO2 code")
_ROR: Rule = (re.compile(r"(https://ror\.org/0[a-z0-9]{6}\d\d)?"), "like https://ror.org/03vek6s52, or empty")
KINDS = (UNIVERSITY, "company", "national_centre", "research_institute", "government")

# Words of which many names consist; a name of nothing else ("Institute of Technology") identifies nobody.
GENERIC = word_set(
    "university universitat universite universidad universita universiteit institute institut instituto college "
    "school academy national international state technical technology science sciences of and for de la di "
    "des del medical engineering polytechnic faculty department center research graduate higher federal central "
    "business management arts applied law education health medicine tecnologia computer studies advanced "
    "northern southern eastern western american european city open free new general information system systems "
    "laboratory laboratories labs study"
)

# Of these words alone not even a curated name may consist.
_EMPTY = word_set(
    "university institute college school department center research laboratory laboratories and of"
)

# Names of systems of universities: without its campus such a name is nobody's.
SYSTEMS = word_set(
    "university of california, university of texas, state university of new york, "
    "state university of new york system, city university of new york, "
    "california state university, university of quebec, university of london, university of wales, "
    "vietnam national university, indian institute of information technology, "
    "indian institute of science education and research, university of nevada, indian institute of technology, "
    "national institute of technology, national university of ireland",
    ", ",
)

# A name in its own language for which the list of universities has no English one, and that name.
_TRANSLATED = (
    (re.compile("(?:universitat|universite de|universita(?: degli studi)? di) (.*)"), r"university of \1"),
    (re.compile("(?:universidad de|universidade d[eo]|universiteit van) (.*)"), r"university of \1"),
    (re.compile("universidade federal d[aeo] (.*)"), r"federal university of \1"),
    (re.compile("universidade estadual d[aeo] (.*)"), r"state university of \1"),
    (re.compile("universidad nacional de (.*)"), r"national university of \1"),
    (re.compile("technische universitat (.*)"), r"technical university of \1"),
)
_KIND = "university of (?:technology|applied sciences|science and technology)|institute of technology"
# A name, and the other order of its words; the first form that fits decides.
_TURNED = (
    (re.compile(r"(\S+) university"), r"university of \1"),
    (re.compile(r"university of (\S+)"), r"\1 university"),
    (re.compile(rf"(.+) ({_KIND})"), r"\2 \1"),
    (re.compile(r"technical university of (\S+)"), r"\1 technical university"),
)

# Names that the publisher of the supercomputer lists spells in other ways than the list of universities.
_COUNTRIES = by_spelling(
    ", ",
    KR="korea south, south korea, korea, republic of korea, s korea, rep of korea, rok",
    RU="russia, russian federation",
    SA="saudia arabia, saudi arabia",
    SK="slovak republic",
    CZ="czechia",
    TW="taiwan, r o c",
    TR="turkey, turkiye",
    VE="venezuela",
    US="usa, us, united states of america, u s a, u s",
    GB="uk, england, scotland, great britain, northern ireland, wales, u k",
    AE="uae, united arab emirates",
    CN="pr china, p r china, prc, peoples republic of china, pr of china, p r c",
    NL="netherlands, the netherlands, holland",
    DE="deutschland, germania",
    VN="vietnam, viet nam",
    IR="iran",
    HK="hongkong, hong kong sar, hksar, hong kong",
    MO="macau, macao",
    SG="republic of singapore",
    ES="espana",
    BR="brasil",
    IT="italia",
)

# Codes that close an affiliation: of countries, and of states of the US; those that stand for one of each are left out.
_CODES = (
    "jp cn kr fr gb se cz ch es nl be au sg tw hk pt pl dk fi gr tr ir br mx ru nz ie sa no hu ro at lu us"
)
_STATES = "ny nj tx mi ga oh nc va wa md fl tn wi mn az ct or ut ok mo ks ky la nm nv ri nh wv ia"
CODES = {code: code.upper() for code in _CODES.split()} | dict.fromkeys(_STATES.split(), "US")

# Territories of the US whose universities the list of universities has under codes of their own.
TERRITORIES = ("AS", "GU", "MP", "PR", "VI")

# Domains that the list of universities gives to another name or to the parent of another country.
_DOMAINS = {
    "cuhk.edu.cn": ("Chinese University of Hong Kong, Shenzhen", "CN"),
    "ist.ac.at": ("Institute of Science and Technology Austria", "AT"),
    "uclouvain.be": ("UCLouvain", "BE"),
    "city.ac.uk": ("City, University of London", "GB"),
}


@dataclass(frozen=True)
class Entity:
    """An institution: canonical name, kind (one of KINDS), ISO2 country (empty for organisations)."""

    name: str
    kind: str
    country: str

    def __hash__(self) -> int:
        """Return that of its name: a text keeps its hash, and several are not put together again."""
        return hash(self.name)


_Names = dict[str, list[Entity]]
# What stands in a table where there is no institution.
NOBODY = Entity("", "", "")


@dataclass(frozen=True, eq=False)
class Gazetteer:
    """All known institutions and the ways to find them.

    Attributes
    ----------
    exact : dict
        Lookup form -> the institutions of that name, curated ones first.
    curated : frozenset of Entity
        The institutions of the curated tables.
    standalone : frozenset of str
        Forms that count only where they are a whole piece of an affiliation.
    units : frozenset of str
        Forms that count only where no university is named beside them.
    domains : dict
        Internet domain -> university.
    words : frozenset of str
        Words of names (of other names, where several institutions share them): no misspellings of others.
    countries : dict
        Lookup form of a country's name -> ISO2.
    """

    exact: dict[str, tuple[Entity, ...]]
    curated: frozenset[Entity]
    standalone: frozenset[str]
    units: frozenset[str]
    domains: dict[str, Entity]
    words: frozenset[str]
    countries: dict[str, str]

    def country_code(self, name: str) -> str:
        """Return the ISO2 code of a country's name, empty where it is not known."""
        return self.countries.get(key(name), "")

    def country(self, name: str, where: str) -> str:
        """Return the ISO2 code of a country's name, which must be known."""
        code = self.country_code(name)
        if not code:
            raise DataError(f'{where}: country "{name}" is unknown; correct it, or add it to the gazetteer.')
        return code


def load(institutions: Path, organisations: Path, universities: pd.DataFrame) -> Gazetteer:
    """Build the gazetteer from the curated tables and the list of universities (``sources.universities``).

    Raises
    ------
    DataError
        If a curated table is malformed or gives one name to two institutions of a country.
    """
    exact: _Names = defaultdict(list)
    marked: dict[str, set[str]] = {"=": set(), "~": set()}

    def add(path: Path, columns: Sequence[str], rules: Mapping[str, Rule]) -> None:
        for line, row in csv_rows(path, (*columns, "aliases"), rules=rules, remedy=RESTORE):
            entity = Entity(row["name"], row.get("kind", UNIVERSITY), row.get("country", ""))
            for alias in [entity.name, *filter(None, row["aliases"].split("|"))]:
                form = key(alias.lstrip("=~"))
                where = f'{path.name}, line {line}: "{alias}"'
                if set(form.split()) <= _EMPTY:
                    raise DataError(f"{where} identifies nobody; remove it.")
                if alias[0] in marked:
                    marked[alias[0]].add(form)
                for other in exact[form]:
                    abroad = entity.kind == other.kind == UNIVERSITY and other.country != entity.country
                    if other != entity and not abroad:
                        raise DataError(f"{where} is also a name of {other.name}; keep it at one of them.")
                if entity not in exact[form]:
                    exact[form].append(entity)

    add(institutions, ("name", "country", "ror"), {"country": _ISO2, "ror": _ROR})
    add(organisations, ("name", "kind"), {"kind": one_of(KINDS[1:])})
    curated = frozenset(entity for entities in exact.values() for entity in entities)
    listed = dict(zip(map(key, universities["country"]), universities["iso2"], strict=True))
    countries = listed | _COUNTRIES
    # In an affiliation it is the state of the US.
    countries.pop("georgia", None)
    domains = _add_universities(exact, universities, set(countries))
    names = {form: tuple(entities) for form, entities in exact.items() if entities}
    units = frozenset(marked["~"])
    return Gazetteer(names, curated, units | marked["="], units, domains, _words(names), countries)


def _words(exact: Mapping[str, Iterable[Entity]]) -> frozenset[str]:
    """Return the words of names; one in other names of a single institution may be a misspelling or a unit."""
    holders: dict[str, set[Entity]] = defaultdict(set)
    names = {entity.name for entities in exact.values() for entity in entities}
    known = {word for name in names for word in key(name).split()}
    for form, entities in exact.items():
        if " " in form:
            for word in form.split():
                holders[word].update(entities)
    return frozenset(word for word, entities in holders.items() if word in known or len(entities) > 1)


def _add_universities(exact: _Names, universities: pd.DataFrame, places: set[str]) -> dict[str, Entity]:
    """Add the list behind the curated names, and return the domains; same name or domain, same university."""
    domains: dict[str, Entity] = {}
    nobodys = places | SYSTEMS
    later = []
    for name, iso2, own in universities[["name", "iso2", "domains"]].itertuples(index=False, name=None):
        # A listed name as it is, and without what stands in brackets.
        forms = [form for form in dict.fromkeys((key(name), key(name.split("(")[0]))) if form]
        entity = _holder(exact, forms, iso2)
        if entity is None:
            forms = [form for form in forms if not set(form.split()) <= GENERIC and form not in nobodys]
            later.append((Entity(name, UNIVERSITY, iso2), own, forms))
        else:
            domains.update((domain, entity) for domain in own if domain not in domains)
    for listed, own, forms in later:
        entity = next((domains[domain] for domain in own if domain in domains), None)
        if entity is None or entity.country != listed.country:
            entity = _holder(exact, forms, listed.country) or listed
        domains.update((domain, entity) for domain in own if domain not in domains)
        for form in forms:
            # An organisation of that name was curated as no university, and stays so.
            if entity not in exact[form] and all(other.kind == UNIVERSITY for other in exact[form]):
                exact[form].append(entity)
    _add_forms(exact, _TRANSLATED)
    _add_forms(exact, _TURNED)
    for domain, (name, iso2) in _DOMAINS.items():
        if entity := _holder(exact, [key(name)], iso2):
            domains[domain] = entity
    return domains


def _add_forms(exact: _Names, forms: Sequence[tuple[re.Pattern[str], str]]) -> None:
    """Add other forms of the names of universities, where they are nobody's own and no generic words."""
    added: _Names = defaultdict(list)
    for name, entities in exact.items():
        matches = ((pattern.fullmatch(name), form) for pattern, form in forms)
        other = next((match.expand(form) for match, form in matches if match), name)
        if other not in exact and not set(other.split()) <= GENERIC:
            added[other] += [entity for entity in entities if entity.kind == UNIVERSITY]
    exact.update(added)


def _holder(exact: _Names, forms: list[str], iso2: str) -> Entity | None:
    # The list of universities has some of Puerto Rico under the US too.
    codes = (iso2, *TERRITORIES) if iso2 == "US" else (iso2,)
    entities = [each for form in forms for each in exact.get(form, ()) if each.kind == UNIVERSITY]
    return next((each for code in codes for each in entities if each.country == code), None)
