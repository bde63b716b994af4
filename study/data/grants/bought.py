"""What an award bought and which contest it won: its kind, the phrase that says so, the programme and year."""

from __future__ import annotations

import re
from collections.abc import Iterable

from study.data.grants import words

CLUSTER, STORAGE, NETWORK = "cluster", "storage", "network"
OTHER_INSTRUMENT, OTHER = "other_instrument", "other"
KINDS = (CLUSTER, STORAGE, NETWORK, OTHER_INSTRUMENT, OTHER)

# The tracks of CC* as its titles name them, before the colon. The first row that fits decides.
TRACKS = (
    (
        OTHER,
        words.words(
            r"planning\b", r"strategy\b", r"C[RI]{2}A\b", r"(?:cyber ?)?team\b", r"engineer\b", r"IAM\b"
        ),
    ),
    (CLUSTER, words.words(r"compute\b", r"(?:regional|campus) computing\b")),
    (STORAGE, words.words(r"(?:data )?storage\b")),
    (OTHER, words.words(r"integration\b", r"data\b", r"DIBBs\b", r"NPEO\b")),
    (NETWORK, words.words(r"network\w*", r"campus design\b", r"region(?:al)?\b", r"DMZ\b")),
)

# A thing without a name of its own ("instrument", "resource") that is for these is no computer.
_NOT_FOR = ((STORAGE, words.STORING), (OTHER_INSTRUMENT, words.STUDIED))

# What stands before the thing that is bought: the programme's words, then "Acquisition of a".
_MARKERS = re.compile(
    r"^\W*(?:(?:equipment|research infrastructure|collaborative(?: research)?|RUI|NSF|RAPID|MRI|R-?2|RI2?|CSAM"
    r"|consortium|track)\b\W*|(?:[1-3]|I{1,3})\b\W*)+",
    re.IGNORECASE,
)
_VERB = re.compile(
    r"^\W*(?:the )?(?:ac?q\w*|aquis\w*|develop\w*|deveop\w*|upgrad\w*|purchase|addition|expansion|enhanc\w*"
    r"|construction|implementation|establishment)\b(?: and \w+)?[\s:,-]*(?:of |to |for )?\s*(?:an? |the )?",
    re.IGNORECASE,
)
# Where the thing ends and its purpose begins.
_PURPOSE = re.compile(
    r"\s(?:for|to|in|at|that|which|enabling|supporting|among|by|via|through|using|on|with|as|driving)\s",
    re.IGNORECASE,
)
# "Expansion of a consortium via addition of computers": what is bought comes last.
_MEANS = re.compile(
    r"\b(?:via|by|through) (?:the )?(?=addition of|ac?quisition of|purchase of)", re.IGNORECASE
)
_BRACKETS = re.compile(r"\([^)]*\)")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-Z(])")


def bought(programme: str, title: str, abstract: str) -> tuple[str, str]:
    """Return the kind of an award and the reason: where a phrase stands, and the phrase.

    Titles of CC* name a track, and the track decides; few have none, and then only an abstract that tells
    of a purchase does. For MRI the thing that the title names decides, what it is for does not. If the
    title leaves it open (a laboratory, a platform, the name of a project), a sentence of the abstract that
    tells of getting a computer does: in any words under a title that hints at computing, else only where the
    computer follows at once on the verb. Meetings, studies and plans are set aside in both.
    """
    nothing = words.NO_PURCHASE.search(title)
    if programme == CC:
        track = _track(title)
        found = _first(TRACKS, track, "track") if track else None
        if found is None and nothing is None:
            found = _by_abstract(abstract, words.PURCHASED)
        return found or (OTHER, f"title: {nothing[0]}" if nothing else "no track")
    if nothing:
        return OTHER, f"title: {nothing[0]}"
    verb, thing, purpose = _parts(title)
    found = _by_development(thing + purpose, abstract) if verb.startswith("deve") else None
    found = found or _by_thing(thing) or _first(_NOT_FOR, purpose, "title")
    if found is None:
        found = _by_abstract(abstract, words.ACQUIRED if words.HINT.search(title) else words.STATED)
    return found or (OTHER_INSTRUMENT, "no computing named")


def accelerators(title: str, abstract: str) -> str:
    """Return the first word for an accelerator in title or abstract; empty if none is named."""
    match = words.ACCELERATOR.search(title) or words.ACCELERATOR.search(abstract)
    return match[0] if match else ""


def _track(title: str) -> str:
    """Return what a title of CC* says between the programme's name and the next colon."""
    match = CC_TITLE.search(title)
    rest = title[match.end() :] if match else ""
    return next((part for part in rest.split(":") if re.sub(r"\W|NIE|IIE|DNI", "", part)), "")


def _parts(title: str) -> tuple[str, str, str]:
    """Return whether a title says "acquisition" or "development", of what thing, and whom or what it is for."""
    means = _MEANS.search(title)
    text = _BRACKETS.sub(" ", _MARKERS.sub("", title[means.end() :] if means else title))
    verb = _VERB.match(text)
    text = text[verb.end() :] if verb else text
    cut = _PURPOSE.search(text)
    thing, purpose = (text[: cut.start()], text[cut.start() :]) if cut else (text, "")
    return (verb[0].strip().lower() if verb else ""), thing, purpose


def _by_development(title: str, abstract: str) -> tuple[str, str] | None:
    """Set aside what is developed to be studied, to serve one instrument, or to show pictures."""
    return _first(
        [(OTHER_INSTRUMENT, words.INSTRUMENT), (OTHER_INSTRUMENT, words.DISPLAY)], title, "title"
    ) or _first([(OTHER_INSTRUMENT, words.TESTBED)], abstract, "abstract")


def _by_thing(thing: str) -> tuple[str, str] | None:
    instrument = words.INSTRUMENT.search(thing) or words.STUDIED.search(thing)
    if instrument:
        return OTHER_INSTRUMENT, f"title: {instrument[0]}"
    computing = words.COMPUTING.search(thing)
    storing = words.STORING.search(thing)
    display = words.DISPLAY.search(thing)
    if display and not words.COMPUTER_ROOM.search(thing):
        return OTHER_INSTRUMENT, f"title: {display[0]}"
    if storing and (computing is None or (computing.end() <= storing.end() and _is_only_size(computing[0]))):
        return STORAGE, f"title: {storing[0]}"
    networking = words.NETWORKING.search(thing)
    if networking and (computing is None or computing.start() < networking.start()):
        return NETWORK, f"title: {networking[0]}"
    return (CLUSTER, f"title: {computing[0]}") if computing else None


def _is_only_size(phrase: str) -> bool:
    """Tell whether a phrase is the size of something ("petascale"), of a disk as well as of a computer."""
    return re.fullmatch(r"(?:tera|peta)-?(?:scale|flops?)", phrase, re.IGNORECASE) is not None


def _by_abstract(abstract: str, verbs: re.Pattern[str]) -> tuple[str, str] | None:
    for sentence in _SENTENCE.split(abstract):
        match = words.BOUGHT.search(sentence) if verbs.search(sentence) else None
        if match:
            return CLUSTER, f"abstract: {match[0]}"
    return None


def _first(rows: Iterable[tuple[str, re.Pattern[str]]], text: str, place: str) -> tuple[str, str] | None:
    for kind, pattern in rows:
        match = pattern.search(text)
        if match:
            return kind, f"{place}: {match[0]}"
    return None


MRI, CC = "MRI", "CC*"

# Since April 2024 NSF writes its four-digit codes of program elements with two zeros more.
ELEMENTS = {MRI: {"1189", "118900"}, CC: {"8080", "808000"}}

CC_TITLE = re.compile(r"\bCC\s?\*|\bCC-?(?:NIE|IIE|DNI)\b|\bCC(?= (?:Campus|Integration))")
MRI_TITLE = re.compile(r"\bMRI\b|\bMRI(?=Consort)|\bMajor Research Instr")

# Years with two contests of a programme: from which proposal number on it is the second, and its name.
SECOND_CONTESTS = {
    (MRI, 2009): ("0957000", "MRI-R2 2009"),
    (CC, 2022): ("2230000", "CC* 2022 second"),
    (CC, 2023): ("2330000", "CC* 2023 second"),
}
# Awards outside of the contests name their mechanism, in capitals or at the beginning.
_OUTSIDE = re.compile(
    r"(?<!\()\b(?:RAPID|EAGER|RCN)\b|\b[Ww]orkshops?\b|^(?:Conference|Travel)\b|^Intergovernmental"
)
# What NSF put before the abstracts of 2009 and 2010, and what else differs between copies of one abstract.
_PREAMBLE = re.compile(r"this award is funded under.*?public law 111-?5\W*", re.IGNORECASE)
_NOISE = re.compile(r"collaborative(?: research)?|\W+", re.IGNORECASE)
_SAME = 200
# Proposals of one deadline are numbered within a few thousand; the next deadline is further away.
_TOGETHER = 10_000


def programme(title: str, elements: str, references: str) -> str:
    """Return "MRI", "CC*", or an empty text for other programmes.

    The title counts first, since awards of one programme are often paid from another's money; then the
    codes of program elements and, for MRI, of program references.
    """
    if CC_TITLE.search(title):
        return CC
    if MRI_TITLE.search(title):
        return MRI
    if _codes(elements) & ELEMENTS[CC]:
        return CC
    return MRI if (_codes(elements) | _codes(references)) & ELEMENTS[MRI] else ""


def contest(programme: str, award_id: str, title: str) -> str:
    """Return the competition: programme and fiscal year in which the proposals were numbered.

    The first two digits of an award's number are the fiscal year in which its proposal came in; that is
    the year of the competition also where the award began a year later. Empty for awards outside of any
    competition: rapid response, exploratory, meetings.

    >>> contest("MRI", "0960300", "MRI-R2: Acquisition of a Mobile Profiling System")
    'MRI-R2 2009'
    """
    if _OUTSIDE.search(title):
        return ""
    year = 2000 + int(award_id[:2])
    first, name = SECOND_CONTESTS.get((programme, year), ("", ""))
    if first and (award_id >= first or "R2" in title):
        return name
    return f"{programme} {year}"


def first_issues(awards: Iterable[tuple[str, str, str, str]]) -> dict[str, str]:
    """Return for every award that is re-issued the number of the one that it continues.

    A project that moves with its head gets a new number at the new university, with the same title and the
    same abstract. Collaborative awards, one a campus, share both as well, but were proposed together, so that
    their numbers are close. Where one of several collaborative awards moves, it continues the one that
    ended first.

    Parameters
    ----------
    awards : iterable of (award_id, title, abstract, expires)
    """
    projects: dict[tuple[str, str], list[tuple[str, str]]] = {}
    again: dict[str, str] = {}
    for number, title, abstract, expires in sorted(awards):
        project = projects.setdefault((_plain(title), _plain(_PREAMBLE.sub("", abstract))[:_SAME]), [])
        before = [(end, earlier) for end, earlier in project if int(number) - int(earlier) > _TOGETHER]
        if before:
            again[number] = min(before)[1]
        project.append((expires, number))
    return again


def _codes(elements: str) -> set[str]:
    return {element.split(" ")[0] for element in elements.split("|")}


def _plain(text: str) -> str:
    return _NOISE.sub(" ", text.lower()).strip()
