"""Words that names of institutions share, put right where they are mistyped or misread ("univcrsite")."""

from __future__ import annotations

from functools import cache

from rapidfuzz import fuzz

LETTERS_OFF = 2

# First letter -> the words that are put right, and from which similarity on.
_COMMON = {
    "u": ("university universite universitat universita universidad universidade universiteit", 82.0),
    "t": ("technology technological technical technische", 80.0),
    "i": ("institute institut instituto istituto", 82.0),
    "p": ("polytechnic polytechnique polytechnical politecnico politecnica", 84.0),
}
_TARGETS = {first: (text.split(), least) for first, (text, least) in _COMMON.items()}
# The first letter lost, or misread.
_TARGETS |= dict.fromkeys("nvw", _TARGETS["u"])
# Words of their own that are as close.
_OTHER_WORDS = (
    "universities universites universitaire universitaires universitair universitari universitario universitaria "
    "universitatea universitate universitas universitats universitet universitetet universiteti universitesi "
    "universiti universal universum univerzita univerza uniwersytet technologies technologie technologia "
    "technologique technologiques technologist technologic tecnologia tecnologie tecnologies tecnologico "
    "tecnologica tecnologias tecnologic institutes institution institutions institutet institutul institutionen "
    "institucio instituttet instituut institutional istituti polytech polytechnics politehnica politechnika "
    "politehnic terminology technicolor technicians techniques technique techniken technically"
)
_OTHERS = frozenset(_OTHER_WORDS.split())
_LONGEST = 16


@cache
def put_right(word: str) -> str:
    """Return the common word that ``word`` (in small letters) is misspelt, else the word itself.

    >>> put_right("technolozy"), put_right("univcrsite"), put_right("biodiversity")
    ('technology', 'universite', 'biodiversity')
    """
    targets, least = _TARGETS.get(word[:1], ((), 0.0))
    if not targets or word in targets or word in _OTHERS or not 7 <= len(word) <= _LONGEST:
        return word
    near = [target for target in targets if abs(len(target) - len(word)) <= LETTERS_OFF]
    best = max(near, key=lambda target: fuzz.ratio(word, target), default=word)
    return best if fuzz.ratio(word, best) >= least else word
