"""What an award bought and which contest it won: its kind, the phrase that says so, the programme and year."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pandas as pd

from study.data.grants import words

CLUSTER, STORAGE, NETWORK = "cluster", "storage", "network"
OTHER_INSTRUMENT, OTHER = "other_instrument", "other"
KINDS = (CLUSTER, STORAGE, NETWORK, OTHER_INSTRUMENT, OTHER)

# The tracks of CC* as its titles name them, before the colon. The first row that fits decides.
TRACKS = (
    (OTHER, words.words(r"planning\b, strategy\b, C[RI]{2}A\b, (?:cyber ?)?team\b, engineer\b, IAM\b")),
    (CLUSTER, words.words(r"compute\b, (?:regional|campus) computing\b")),
    (STORAGE, words.words(r"(?:data )?storage\b")),
    (OTHER, words.words(r"integration\b, data\b, DIBBs\b, NPEO\b")),
    (NETWORK, words.words(r"network\w*, campus design\b, region(?:al)?\b, DMZ\b")),
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
_MEANS = re.compile(r"\b(?:via|by|through) (?:the )?(?=(?:addition|ac?quisition|purchase) of)", re.IGNORECASE)
_BRACKETS = re.compile(r"\([^)]*\)")
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[A-Z(])")
# The size of something, of a disk as well as of a computer.
_ONLY_SIZE = re.compile(r"(?:tera|peta)-?(?:scale|flops?)", re.IGNORECASE)

_ISSUE = ("award_id", "title", "abstract", "expires")
_JUDGED = ("programme", "contest", "kind", "reason", "accelerators", "reissue_of")


def concerned(record: Mapping[str, str]) -> bool:
    """Tell whether an award is of one of the two programmes: what ``study.data.sources.nsf.read`` may ``keep``."""
    return bool(programme(record["title"], record["programme_elements"], record["programme_references"]))


def classify(awards: pd.DataFrame) -> pd.DataFrame:
    """Tell what each award of the two programmes bought.

    Parameters
    ----------
    awards : DataFrame
        The table of ``study.data.sources.nsf.read``.

    Returns
    -------
    DataFrame
        The awards of MRI and CC* with all their columns, and: programme ("MRI" or "CC*"), contest,
        kind (one of ``bought.KINDS``), reason (where the phrase stands that decided, and the phrase),
        accelerators (the first word for one in title or abstract, or empty) and reissue_of (the number of the
        award of which this one is the re-issue, or empty).
    """

    records = [record for record in awards.to_dict("records") if concerned(record)]
    again = first_issues(tuple(record[name] for name in _ISSUE) for record in records)
    for record in records:
        number, title, abstract = record["award_id"], record["title"], record["abstract"]
        of = programme(title, record["programme_elements"], record["programme_references"])
        won, (kind, reason) = contest(of, again.get(number, number), title), bought(of, title, abstract)
        values = (of, won, kind, reason, accelerators(title, abstract), again.get(number, ""))
        record |= zip(_JUDGED, values, strict=True)
    return pd.DataFrame(records, columns=[*awards.columns, *_JUDGED])


def bought(programme: str, title: str, abstract: str) -> tuple[str, str]:
    """Return the kind of an award and the reason: where a phrase stands, and the phrase.

    Titles of CC* name a track, and the track decides; few have none, and then only an abstract that tells
    of a purchase does. For MRI the thing that the title names decides, what it is for does not. If the
    title leaves it open (a laboratory, a platform, the name of a project), a sentence of the abstract that
    tells of getting a computer does: in any words under a title that hints at computing, else only where the
    computer follows at once on the verb. Meetings, studies and plans are set aside in both.
    """
    set_aside = _first([(OTHER, words.NO_PURCHASE)], title, "title")
    if programme == CC:
        purchase = _first(TRACKS, _track(title), "track") or set_aside
        return purchase or _by_abstract(abstract, words.PURCHASED) or (OTHER, "no track")
    if set_aside:
        return set_aside
    text = _BRACKETS.sub(" ", _MARKERS.sub("", _MEANS.split(title, maxsplit=1)[-1]))
    verb = _VERB.match(text)
    text = text[verb.end() :] if verb else text
    cut = _PURPOSE.search(text)
    thing, purpose = (text[: cut.start()], text[cut.start() :]) if cut else (text, "")
    purchase = None
    if verb and verb[0].strip().lower().startswith("deve"):
        # What is developed to serve one instrument, to show pictures or to be studied is no computer.
        shown = ((OTHER_INSTRUMENT, words.INSTRUMENT), (OTHER_INSTRUMENT, words.DISPLAY))
        testbed = [(OTHER_INSTRUMENT, words.TESTBED)]
        purchase = _first(shown, thing + purpose, "title") or _first(testbed, abstract, "abstract")
    purchase = purchase or _by_thing(thing) or _first(_NOT_FOR, purpose, "title")
    verbs = words.ACQUIRED if words.HINT.search(title) else words.STATED
    return purchase or _by_abstract(abstract, verbs) or (OTHER_INSTRUMENT, "no computing named")


def accelerators(title: str, abstract: str) -> str:
    """Return the first word for an accelerator in title or abstract; empty if none is named."""
    match = words.ACCELERATOR.search(title) or words.ACCELERATOR.search(abstract)
    return match[0] if match else ""


def _track(title: str) -> str:
    """Return what a title of CC* says between the programme's name and the next colon."""
    match = TITLES[CC].search(title)
    rest = title[match.end() :] if match else ""
    return next((part for part in rest.split(":") if re.sub(r"\W|NIE|IIE|DNI", "", part)), "")


def _by_thing(thing: str) -> tuple[str, str] | None:
    computing, storing = words.COMPUTING.search(thing), words.STORING.search(thing)
    networking, room = words.NETWORKING.search(thing), words.COMPUTER_ROOM.search(thing)
    sized = computing and storing and computing.end() <= storing.end() and _ONLY_SIZE.fullmatch(computing[0])
    later = computing and networking and computing.start() < networking.start()
    phrases = (
        (OTHER_INSTRUMENT, words.INSTRUMENT.search(thing) or words.STUDIED.search(thing)),
        (OTHER_INSTRUMENT, None if room else words.DISPLAY.search(thing)),
        (STORAGE, storing if sized or not computing else None),
        (NETWORK, networking if later or not computing else None),
        (CLUSTER, computing),
    )
    return next(((kind, f"title: {phrase[0]}") for kind, phrase in phrases if phrase), None)


def _by_abstract(abstract: str, verbs: re.Pattern[str]) -> tuple[str, str] | None:
    sentences = filter(verbs.search, _SENTENCE.split(abstract))
    match = next(filter(None, map(words.BOUGHT.search, sentences)), None)
    return (CLUSTER, f"abstract: {match[0]}") if match else None


def _first(rows: Iterable[tuple[str, re.Pattern[str]]], text: str, place: str) -> tuple[str, str] | None:
    matches = ((kind, pattern.search(text)) for kind, pattern in rows)
    return next(((kind, f"{place}: {match[0]}") for kind, match in matches if match), None)


MRI, CC, CRI = "MRI", "CC*", "CRI"

# Since April 2024 NSF writes its four-digit codes of program elements with two zeros more.
ELEMENTS = {MRI: {"1189", "118900"}, CC: {"8080", "808000"}}

# How titles name their programme; the first one that they name is it.
TITLES = {
    CC: re.compile(r"\bCC\s?\*|\bCC-?(?:NIE|IIE|DNI)\b|\bCC(?= (?:Campus|Integration))"),
    MRI: re.compile(r"\bMRI\b|\bMRI(?=Consort)|\bMajor Research Instr"),
    # The institutional tracks of CRI, or none; those for a community (CI, CRD) equip no department.
    CRI: re.compile(r"(?i)\bII\W{0,3}(?:NEW|EN)\b|\bCRI\b(?:\W*IAD\b|(?!.*\b(?:CI|CRD|Collaborative)\b))"),
}

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
    """Return "MRI", "CC*", "CRI" (its institutional tracks), or an empty text for other programmes.

    The title counts first, since awards of one programme are often paid from another's money; then the
    codes of program elements and, for MRI, of program references. CRI is known by its titles alone, since its code
    stands on awards of many kinds.
    """
    codes = {element.split(" ")[0] for element in elements.split("|")}
    of_mri = codes | {reference.split(" ")[0] for reference in references.split("|")}
    paid_by = CC if codes & ELEMENTS[CC] else MRI if of_mri & ELEMENTS[MRI] else ""
    return next((name for name, pattern in TITLES.items() if pattern.search(title)), paid_by)


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
    return name if first and (award_id >= first or "R2" in title) else f"{programme} {year}"


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
        if before := [earlier for earlier in project if int(number) - int(earlier[1]) > _TOGETHER]:
            again[number] = min(before)[1]
        project.append((expires, number))
    return again


def _plain(text: str) -> str:
    return _NOISE.sub(" ", text.lower()).strip()
