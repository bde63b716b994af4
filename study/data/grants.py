"""Awards of NSF's instrument and campus programmes: what each bought, which contest it won, whose it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import pandas as pd

from study.data.institutions import NOBODY, TERRITORIES, UNIT, Entity, Matcher, Overrides, first_events

# Up to three words may stand between the parts of a phrase: "computer (HPC) cluster".
_BETWEEN = r"\W+(?:[\w/-]+\W+){0,3}?"


def words(patterns: str) -> re.Pattern[str]:
    """Return one pattern for several, parted by ", ", none of which begins inside a word; case does not count.

    Where " ... " stands in a pattern, up to three words may be between.
    """
    either = patterns.replace(", ", "|").replace(" ... ", _BETWEEN)
    return re.compile(rf"(?<!\w)(?:{either})", re.IGNORECASE)


# Meetings, people, plans: nothing is bought.
NO_PURCHASE = words(
    r"workshops?\b, conference\b, travel\b, intergovernmental, technical assistance, toolkit, planning\b, "
    r"a study\b"
)

COMPUTING = words(
    r"super-?\s?comput\w*, high[- ]?performance[- ](?:(?:central|hybrid|parallel|research|scientific|campus"
    r"|cloud|and|data) )*(?:comput\w+|cluster), HPC\b, GPUs?\b, graphics?[- ]process\w+, beowulf, "
    r"(?:comput\w+|linux|PC|parallel|data|CPU|cores?|hadoop|analytics?|memory|\w*informatics?|shared|primary"
    r"|nodes?|heterogeneous|virtual\w*) ... clusters?\b(?! tool), cluster[- ](?:comput\w+|grid|nodes?), "
    r"comput\w+\s+(?:[\w/-]+\s+){0,2}?(?:facilit\w+|resources?|infrastructure|hardware|equipment|systems?"
    r"|platforms?|capabilit\w+|capacity|instrument\w*|environments?|servers?|nodes?|cent(?:er|re)s?|cloud"
    r"|laborator\w+|power|engine|grid)\b, (?:cloud|scientific|parallel|shared[- ]memory|distributed|grid"
    r"|reconfigurable|big data|intensive|scale|research|multi-?core|many-?core) comput\w+, (?:campus|parallel"
    r"|shared|memory|multi-?processor|performance|vector) computers?\b, shared[- ]memory, "
    r"cyber-?\s?(?:infrastructure|instrument), (?:tera|peta)-?(?:scale|flops?), "
    r"computers?(?=\s*$|\s+(?:for|to)\b), informatics (?:\w+ )?cloud, "
    r"(?:comput\w+|data|AI|GPU|application|rack|blade) servers?, data analy\w+ (?:platforms?|systems?"
    r"|cluster)"
)

TESTBED = words(r"test-?\s?beds?\b")
# Computing that is itself what is studied.
STUDIED = words(
    r"test-?\s?beds?\b, emulat\w+, architecture\b, dependab\w+, assured\b, cyber-?physical, edge computing"
)

INSTRUMENT = words(
    r"\w*microscop\w*, \w*spectro\w*, \w*tomogra\w*, velocimet\w*, interferomet\w*, \w*diffract\w*, NMRs?\b, "
    r"EPR\b, PIV\b, [fs]?MRI\b, EEG\b, \w*chromatogra\w*, \w*sequenc\w+, \w*cytomet\w*, \w*sorter\w*, "
    r"\w*lithogra\w*, lasers?\b, radars?\b, lidars?\b, telescop\w*, detectors?\b, \w*sensors?\b, sensing, "
    r"\w*robot\w*, \w*beam\w*, x-rays?\b, imag(?:ing|er)\b, cameras?\b, scann\w+, cluster tool, deposition, "
    r"sputter\w*, probes?\b, vibromet\w*, reactor\w*, chambers?\b, profiler\w*, antennas?\b, magnet\w*, "
    r"motion capture, haptic\w*, \w*vehicles?\b, buoys?\b, seism\w*, \w*simulators?\b, hardware-in-the-loop, "
    r"drones?\b, vessels?\b, greenhouse, quantum, gesture\w*, holodeck, observator\w+"
)

# Pictures and rooms to look at them, whatever computer draws them.
DISPLAY = words(
    r"visuali[sz]\w+, visual\b, virtual (?:reality|environment|world)\w*, virtualized attentive, immersive, "
    r"CAVE\w*, displays?\b, augment\w+, telepresence, power ?wall, tables?\b, video"
)
# Named beside pictures, these say that the computer may be the thing.
COMPUTER_ROOM = words(
    r"clusters?\b(?! tool), super-?comput\w*, comput\w+ (?:and \w+ )?facilit\w+, cyber-?\s?infrastructure, "
    r"model(?:l?ing)?\b"
)

STORING = words(r"(?<!energy )(?<!hydrogen )(?<!gas )(?<!heat )(?<!power )storage, archiv\w+, data lifecycle")
NETWORKING = words(
    r"network(?:ing)? (?:equipment|infrastructure|hardware), dynamic network, "
    r"(?:high-bandwidth|campus|optical|research) networks?\b"
)

# Without one of these a title gives no reason to look for more than a plain statement in the abstract.
HINT = words(
    r"comput\w*, HPC\b, data\b, cyber\w*, \w*informati\w*, hardware, servers?\b, cloud, simulation, "
    r"learning, AI\b, \w*intelligen\w*, analytics?\b, model(?:l?ing)?\b, hybrid, grid"
)
BOUGHT = words(
    r"super-?comput(?:er|ing)s?\b(?! cent), (?:comput\w+|HPC|GPU|linux|beowulf|CPU|servers?|nodes?|cores?"
    r"|memory|data|hadoop) ... clusters?\b, cluster\W+(?:of|with|comput\w+|consist\w+"
    r"|compris\w+) ... (?:comput\w+|servers?|nodes?|GPUs?|processors?|cores?|CPUs?|PCs?|workstations?"
    r"|machines|tesla)\b, (?:compute|computing|computational|GPU|CPU) nodes?\b, "
    r"high[- ]performance comput(?:ing|ers?|ational|e)\b ... (?:system|cluster|facilit\w+|resource"
    r"|infrastructure|hardware|equipment|platform|instrument|environment), HPC (?:system|cluster|facilit\w+"
    r"|resource|infrastructure|hardware|equipment|platform|instrument), (?:tera|peta)-?flops?\b, GPUs\b, "
    r"\d+ (?:cores|processors|servers)\b, blade (?:server|system), "
    r"shared[- ]memory (?:comput\w+|system|machine|subsystem), parallel computers?\b, comput\w+ (?:servers?"
    r"|hardware|equipment|facility|instrument|system|infrastructure|resources?|needs)\b, latest computing, "
    r"comput\w+ devices\b, (?:instrument|system|platform)s? for high[- ]performance comput\w+, "
    r"GPU\)?[- ](?:based|accelerated|enabled) (?:comput\w+|instrument|platform|servers?|systems?), "
    r"deep[- ]learning (?:platform|servers?|hardware|workstations?|appliance)\b, "
    r"composable (?:\w+[- ]){0,3}?(?:platform|infrastructure|system|comput\w+), "
    r"(?:existing|current) (?:\w+ )?cluster\b"
)
PURCHASED = words(r"acqui\w+, purchas\w+, procur\w+, deploy\w*, instal\w+")
ACQUIRED = words(
    r"acqui\w+, purchas\w+, procur\w+, deploy\w*, instal\w+, build\w*, construct\w*, upgrad\w+, expan\w+, "
    r"provid\w+, consist\w*, includ\w*, fund\w*, support\w*, develop\w*, enabl\w*, establish\w*, address\w*, "
    r"integrat\w*, compris\w+, will be, equip\w*, enhanc\w+, instrument, award, is an?\b"
)
# A computer that follows at once on the verb is what is bought, whatever the title calls it.
STATED = re.compile(
    r"(?<!\w)(?:acqui\w+|purchas\w+|procur\w+|deploy\w*|instal\w+|build(?:s|ing)?\b(?! (?:up)?on\b)"
    r"|upgrad\w+|expan\w+)"
    r"\W+(?:[\w/'-]+\W+){0,8}?" + BOUGHT.pattern,
    re.IGNORECASE,
)

ACCELERATOR = words(
    r"\w*GPUs?\b, graphics?[- ]process\w+, graphical process\w+, nvidia, tesla\b, CUDA\b, xeon phi, "
    r"knights (?:landing|corner), many integrated core, co-?processors?\b, DGX, [AHV]100s?\b, "
    r"tensor (?:core|process)\w*, TPUs?\b, cell (?:BE|broadband), FPGAs?\b, field[- ]programmable gate, "
    r"(?:hardware|graphics|comput\w+|AI|learning|many-?core|CPU|node|mixed) accelerators?\b, "
    r"accelerator[- ](?:based|enabled|equipped|nodes?|cards?|hardware)"
)


CLUSTER, STORAGE, NETWORK = "cluster", "storage", "network"
OTHER_INSTRUMENT, OTHER = "other_instrument", "other"

# The tracks of CC* as its titles name them, before the colon. The first row that fits decides.
TRACKS = (
    (OTHER, words(r"planning\b, strategy\b, C[RI]{2}A\b, (?:cyber ?)?team\b, engineer\b, IAM\b")),
    (CLUSTER, words(r"compute\b, (?:regional|campus) computing\b")),
    (STORAGE, words(r"(?:data )?storage\b")),
    (OTHER, words(r"integration\b, data\b, DIBBs\b, NPEO\b")),
    (NETWORK, words(r"network\w*, campus design\b, region(?:al)?\b, DMZ\b")),
)

# A thing without a name of its own ("instrument", "resource") that is for these is no computer.
_NOT_FOR = ((STORAGE, STORING), (OTHER_INSTRUMENT, STUDIED))

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


def of_programmes(record: Mapping[str, str]) -> bool:
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
        kind (of :func:`bought`), reason (where the phrase stands that decided, and the phrase),
        accelerators (the first word for one in title or abstract, or empty) and reissue_of (the number of the
        award of which this one is the re-issue, or empty).
    """

    records = [record for record in awards.to_dict("records") if of_programmes(record)]
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
    set_aside = _first([(OTHER, NO_PURCHASE)], title, "title")
    if programme == CC:
        purchase = _first(TRACKS, _track(title), "track") or set_aside
        return purchase or _by_abstract(abstract, PURCHASED) or (OTHER, "no track")
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
        shown = ((OTHER_INSTRUMENT, INSTRUMENT), (OTHER_INSTRUMENT, DISPLAY))
        testbed = [(OTHER_INSTRUMENT, TESTBED)]
        purchase = _first(shown, thing + purpose, "title") or _first(testbed, abstract, "abstract")
    purchase = purchase or _by_thing(thing) or _first(_NOT_FOR, purpose, "title")
    verbs = ACQUIRED if HINT.search(title) else STATED
    return purchase or _by_abstract(abstract, verbs) or (OTHER_INSTRUMENT, "no computing named")


def accelerators(title: str, abstract: str) -> str:
    """Return the first word for an accelerator in title or abstract; empty if none is named."""
    match = ACCELERATOR.search(title) or ACCELERATOR.search(abstract)
    return match[0] if match else ""


def _track(title: str) -> str:
    """Return what a title of CC* says between the programme's name and the next colon."""
    match = TITLES[CC].search(title)
    rest = title[match.end() :] if match else ""
    return next((part for part in rest.split(":") if re.sub(r"\W|NIE|IIE|DNI", "", part)), "")


def _by_thing(thing: str) -> tuple[str, str] | None:
    computing, storing = COMPUTING.search(thing), STORING.search(thing)
    networking, room = NETWORKING.search(thing), COMPUTER_ROOM.search(thing)
    sized = computing and storing and computing.end() <= storing.end() and _ONLY_SIZE.fullmatch(computing[0])
    later = computing and networking and computing.start() < networking.start()
    phrases = (
        (OTHER_INSTRUMENT, INSTRUMENT.search(thing) or STUDIED.search(thing)),
        (OTHER_INSTRUMENT, None if room else DISPLAY.search(thing)),
        (STORAGE, storing if sized or not computing else None),
        (NETWORK, networking if later or not computing else None),
        (CLUSTER, computing),
    )
    return next(((kind, f"title: {phrase[0]}") for kind, phrase in phrases if phrase), None)


def _by_abstract(abstract: str, verbs: re.Pattern[str]) -> tuple[str, str] | None:
    sentences = filter(verbs.search, _SENTENCE.split(abstract))
    match = next(filter(None, map(BOUGHT.search, sentences)), None)
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


# Programmes whose awards are one contest's, their events (first cluster, with accelerators, other instrument) and role.
CONTESTS = (
    ((MRI, CC), ("first_cluster_grant", "first_gpu_grant", "first_other_instrument"), "nsf_role"),
    ((CRI,), ("first_cri_cluster", "first_cri_gpu", "first_cri_other"), "cri_role"),
)
EVENTS = tuple(event for _, events, _ in CONTESTS for event in events)
CLUSTERS = tuple(events[0] for _, events, _ in CONTESTS)

_MOVED = pd.Timedelta(days=365)
_AWARDS = [
    "award_id", "university", "country", "awardee", "state", "programme", "contest", "kind", "accelerators", "amount",
    "effective", "letter", "title", "collaborative", "reissue_of", "reason",
]  # fmt: skip


def university(record: Mapping[str, str], matcher: Matcher, by_hand: Overrides) -> Entity | None:
    """Return the university of an award: by hand, else the one that the awardee names, else where the work is done.

    None if the awardee is no university, or several are named.
    """
    place = (record["awardee"], record["state"])
    if place in by_hand:
        return by_hand[place]
    country = record["state"] if record["state"] in TERRITORIES else "US"
    for name in (record["awardee"], record["performer"]):
        named = [entity for entity in matcher.universities(name, country) if entity.country == country]
        if named:
            return named[0] if len(named) == 1 else None
    return None


def awards_table(classified: pd.DataFrame, matcher: Matcher, by_hand: Overrides) -> pd.DataFrame:
    """Return the awards that ship: no abstracts, no names of persons.

    Returns
    -------
    DataFrame
        One row an award of MRI, CC* or CRI, by number: award_id, university and country (empty where the awardee
        matched none), awardee, state, programme, contest, kind, accelerators (0/1: named in title or
        abstract), amount (dollars obligated so far), effective, letter, title, collaborative (0/1: one of several
        awards for one project), reissue_of, reason.
    """
    entities = [university(record, matcher, by_hand) or NOBODY for record in classified.to_dict("records")]
    table = classified.assign(
        university=[entity.name for entity in entities],
        country=[entity.country for entity in entities],
        accelerators=classified["accelerators"] != "",
        amount=classified["amount"].round(),
    ).astype(dict.fromkeys(("accelerators", "amount", "collaborative"), int))
    return table[_AWARDS].sort_values("award_id", ignore_index=True)


def events(awards: pd.DataFrame) -> pd.DataFrame:
    """Return each university's first cluster, first cluster naming accelerators and first other instrument by contest.

    Awards outside of any contest (rapid response, meetings) are no wins. Each campus of a collaborative
    project has an award, and so an event, of its own. A re-issue is no second win: where the project moved within
    a year of its beginning, the award counts for the later university, which got the machine; where it moved
    later, for the first one. A first award of the contests of the first fiscal year in the table is marked as
    left-censored: the university may have had one before.

    Parameters
    ----------
    awards : DataFrame
        Of ``awards_table``.

    Returns
    -------
    DataFrame
        university, country, event, date ("YYYY-MM", the effective date), left_censored (0/1), detail, and of
        that award: award_id, programme, contest, amount, letter; sorted by university and event.
    """
    won = _won(awards)
    # A number begins with the fiscal year of the proposal.
    censored = (won["award_id"].str[:2] <= awards["award_id"].str[:2].min()).astype(int)
    won = won.assign(date=won["effective"].str[:7], left_censored=censored, detail=won["title"])
    clusters = won["kind"] == CLUSTER
    kinds = (clusters, clusters & (won["accelerators"] == 1), won["kind"] == OTHER_INSTRUMENT)
    rows = {
        event: won[kind & won["programme"].isin(programmes)]
        for programmes, names, _ in CONTESTS
        for event, kind in zip(names, kinds, strict=True)
    }
    return first_events(rows, "award_id", "programme", "contest", "amount", "letter")


def roles(events: pd.DataFrame) -> pd.DataFrame:
    """Return what each university won in each contest: "cluster" if ever one, else "other_instrument".

    Parameters
    ----------
    events : DataFrame
        Of :func:`events`.

    Returns
    -------
    DataFrame
        university, country and the roles of ``CONTESTS``, empty where a contest brought it nothing; universities
        without an event are not in it.
    """
    places = {
        name: (role, kind)
        for _, (cluster, _, other), role in CONTESTS
        for name, kind in ((cluster, "cluster"), (other, "other_instrument"))
    }
    known = events[events["event"].isin(places)]
    named = pd.DataFrame(known["event"].map(places).tolist(), known.index, ["role", "kind"])
    table = known[UNIT].join(named).sort_values("kind").drop_duplicates([*UNIT, "role"])
    return table.pivot(index=UNIT, columns="role", values="kind").rename_axis(columns=None).reset_index()


def programmes_won(awards: pd.DataFrame) -> pd.DataFrame:
    """Return of which programmes each university won a purchase, of any kind.

    Parameters
    ----------
    awards : DataFrame
        Of :func:`awards_table`.

    Returns
    -------
    DataFrame
        university, country, contests: the programmes in order of the alphabet, joined by "+".
    """
    won = _won(awards)
    of_unit = won[won["kind"] != OTHER].groupby(UNIT)["programme"]
    return of_unit.agg(lambda each: "+".join(sorted(set(each)))).rename("contests").reset_index()


def _won(awards: pd.DataFrame) -> pd.DataFrame:
    """Return the awards of universities in the contests, by date."""
    won = held(awards)
    won = won[(won["university"] != "") & (won["contest"] != "")]
    return won.sort_values(["effective", "award_id"])


def held(awards: pd.DataFrame) -> pd.DataFrame:
    """Return one award for each that was won: the re-issue if it began within a year, else the first issue."""
    began = pd.to_datetime(awards.set_index("award_id")["effective"])
    again = awards[awards["reissue_of"] != ""]
    soon = again["award_id"].map(began) - again["reissue_of"].map(began) <= _MOVED
    moved = again[soon].drop_duplicates("reissue_of")
    late = again.index.difference(moved.index)
    return awards[~awards["award_id"].isin(moved["reissue_of"]) & ~awards.index.isin(late)]
