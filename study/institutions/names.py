"""Normal forms of institution names: what is compared when two spellings are compared."""

from __future__ import annotations

import html
import re
import unicodedata

# PDF text has accents beside their letters ("Z ¨urich", "T´el´ecom"): the accent goes, the letters close up.
_LOOSE_ACCENT = re.compile(r"(?<=\w)\s?[¨´`ˆ˜˚¸ˇ]\s?(?=[a-zıøåæß])|[¨´`ˆ˜˚¸ˇ]\s?")
_APOSTROPHES = re.compile(r"['’‘ʼ`´]")
_INITIALS = re.compile(r"\b(\w)\.(?=\w\b)")
_NOT_WORD = re.compile(r"[^\w]+|_+")
# Commas and the like, the marks of footnotes, and dashes with space around them.
_SPLIT = re.compile(r"[,;+/|@:()\[\]{}•·†‡∗§¶\n\t]|\s[-–—]+\s|[–—]")
_FOOTNOTE = re.compile(r"\b\d(?=[^\W\d]{5,}\b)|(?<=[^\W\d]{5})\d\b")
_UNIVERSITY_OF = re.compile(r"\bu\.? of\b")
# A space that cannot break, in the wrong encoding.
_BROKEN_SPACE = "\uc2a0"

_LETTERS = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i", "ð": "d"})

_WORDS = {
    "univ": "university",
    "uni": "university",
    "univeristy": "university",
    "univerisity": "university",
    "universtiy": "university",
    "univerity": "university",
    "unversity": "university",
    "universiy": "university",
    "universit": "university",
    "universty": "university",
    "inst": "institute",
    "insitute": "institute",
    "institue": "institute",
    "tech": "technology",
    "technol": "technology",
    "techn": "technology",
    "sci": "science",
    "eng": "engineering",
    "dept": "department",
    "dep": "department",
    "natl": "national",
    "nat": "national",
    "acad": "academy",
    "lab": "laboratory",
    "labs": "laboratories",
    "ctr": "center",
    "centre": "center",
    "saint": "st",
    "universitaet": "universitat",
    "muenchen": "munchen",
    "zuerich": "zurich",
    "koeln": "koln",
    "tuebingen": "tubingen",
    "goettingen": "gottingen",
    "wuerzburg": "wurzburg",
    "nuernberg": "nurnberg",
    "saarbruecken": "saarbrucken",
    "fuer": "fur",
    "hongkong": "hong kong",
}
_STOP = {"the", "at", "in"}


def words(text: str) -> frozenset[str]:
    """Return the set of the words of ``text``: long word lists read better as text."""
    return frozenset(text.split())


def clean(text: str) -> str:
    """Return ``text`` without what scraping left in it: character references, broken spaces."""
    return html.unescape(html.unescape(text)).replace(_BROKEN_SPACE, " ")


def fold(text: str) -> str:
    """Return ``text`` in plain small letters: accents, ligatures and apostrophes gone, "&" spelt out."""
    text = _LOOSE_ACCENT.sub("", text)
    text = unicodedata.normalize("NFKD", text)
    text = "".join(letter for letter in text if not unicodedata.combining(letter))
    text = _APOSTROPHES.sub("", text.casefold().translate(_LETTERS))
    text = _UNIVERSITY_OF.sub("university of", _FOOTNOTE.sub("", text))
    return _INITIALS.sub(r"\1", text.replace("&", " and "))


def key(text: str) -> str:
    """Return the form under which a name is looked up: folded, abbreviations spelt out, without articles.

    >>> key("Univ. of Maryland at College Park") == key("University of Maryland, College Park")
    True
    """
    spelt = (_WORDS.get(word, word) for word in _NOT_WORD.split(fold(text)) if word)
    return " ".join(word for word in spelt if word not in _STOP and not (word.isdigit() and len(word) > 3))


def pieces(text: str) -> list[str]:
    """Return the lookup forms of the parts of one author's affiliation, in order: departments, names, places."""
    # The accents come before the split, since a loose one may stand beside a separator.
    parts = (key(part) for part in _SPLIT.split(_LOOSE_ACCENT.sub("", text)))
    return [part for part in parts if part]
