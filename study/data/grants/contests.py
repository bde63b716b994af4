"""Which contest an award won: its programme, the year of the competition, and whether it is only a re-issue."""

from __future__ import annotations

import re
from collections.abc import Iterable

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
