"""Normal forms of institution names: mistyped words put right, and what is compared when two are compared."""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache, lru_cache

from rapidfuzz import fuzz


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
