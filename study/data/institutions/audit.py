"""How good the matching is: a sample to be judged, what the judgements say, and a check against mail domains."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from study.core import DataError
from study.data.audit import Share
from study.data.institutions.gazetteer import UNIVERSITY, Entity
from study.data.institutions.match import Hit, Matcher
from study.data.institutions.names import clean

CREDITED, NONE = "credited", "none"
VERDICTS = {CREDITED: ("correct", "wrong", "incomplete"), NONE: ("correctly_none", "missed")}
MATCHED_SAMPLE, UNMATCHED_SAMPLE = 400, 200


@dataclass(frozen=True)
class Estimate:
    """A share that is no plain count of a sample, with its 95% interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """Return the share and its interval, ready to print."""
        return f"{self.value:.3f} (95% {self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Summary:
    """What the judgements of a sample of affiliation strings say.

    Attributes
    ----------
    precision : Share
        Credited strings whose universities are all named in the string (``correct`` or ``incomplete``).
    complete : Share
        Credited strings whose universities are all those named (``correct``).
    missed : Share
        Strings without credit that name a university.
    recall : Estimate
        Strings credited with all universities that they name, among those that name one: both strata
        weighted by their numbers of strings. A string wrongly credited counts as one that names another.
    precision_of_papers, recall_of_papers : Estimate
        The same with each string weighted by the papers that it stands in.
    agreement : Share
        Strings judged twice whose two verdicts are the same.
    kappa : float
        Cohen's kappa of the two verdicts (Cohen 1960); NaN where chance alone would agree always.
    """

    precision: Share
    complete: Share
    missed: Share
    recall: Estimate
    precision_of_papers: Estimate
    recall_of_papers: Estimate
    agreement: Share
    kappa: float


@dataclass(frozen=True)
class DomainCheck:
    """How often the mail domain of an author names the university that the text names.

    Attributes
    ----------
    same : Share
        Authors with one affiliation in which text and domain each name one university, and the same one.
    differences : Counter
        (university of the text, university of the domain) -> authors.
    """

    same: Share
    differences: Counter[tuple[Entity, Entity]]


def count_strings(affiliations: Iterable[str]) -> Counter[str]:
    """Return the distinct strings of single authors and the number of papers that each stands in."""
    strings: Counter[str] = Counter()
    for text in affiliations:
        strings.update({author.strip() for author in clean(text).split(";")} - {""})
    return strings


def strata(strings: Mapping[str, int], matcher: Matcher) -> pd.DataFrame:
    """Return the population of the sample: stratum, strings, papers (one string in one paper counts once)."""
    table = pd.DataFrame({"papers": list(strings.values())})
    table["stratum"] = [_stratum(matcher.match(text)) for text in strings]
    counts = table.groupby("stratum")["papers"].agg(["size", "sum"])
    return counts.set_axis(["strings", "papers"], axis=1).reset_index()


def draw(strings: Mapping[str, int], matcher: Matcher, *, seed: int) -> pd.DataFrame:
    """Draw the strings to be judged, both strata mixed.

    Returns
    -------
    DataFrame
        One row a string: id (1 to 600), string, credited ("name (country)" joined by "|"), stratum,
        papers, method and score (those of the least certain university, empty without credit).
    """
    chance = random.Random(seed)
    by_stratum: dict[str, list[str]] = {CREDITED: [], NONE: []}
    for text in sorted(strings):
        by_stratum[_stratum(matcher.match(text))].append(text)
    chosen = [
        *chance.sample(by_stratum[CREDITED], MATCHED_SAMPLE),
        *chance.sample(by_stratum[NONE], UNMATCHED_SAMPLE),
    ]
    chance.shuffle(chosen)
    records = []
    for number, text in enumerate(chosen, start=1):
        hits = _universities(matcher.match(text))
        names = dict.fromkeys(f"{hit.entity.name} ({hit.entity.country})" for hit in hits if hit.entity)
        least = min(hits, key=lambda hit: (hit.score, hit.method == "exact"), default=None)
        records.append(
            {
                "id": number,
                "string": text,
                "credited": "|".join(names),
                "stratum": CREDITED if hits else NONE,
                "papers": strings[text],
                "method": least.method if least else "",
                "score": f"{least.score:.1f}" if least else "",
            }
        )
    return pd.DataFrame(records)


def summary(verdicts: pd.DataFrame, population: pd.DataFrame) -> Summary:
    """Return what the judgements say.

    Parameters
    ----------
    verdicts : DataFrame
        One row a judged string: id, stratum, papers, verdict, second_verdict (empty where judged once).
    population : DataFrame
        As of ``strata``.

    Raises
    ------
    DataError
        If a verdict is none of its stratum's, or a stratum is missing.
    """
    _check(verdicts)
    size = population.set_index("stratum")
    for stratum in VERDICTS:
        if stratum not in size.index or not (verdicts["stratum"] == stratum).any():
            raise DataError(f'matching audit: stratum "{stratum}" is missing; draw the sample again.')
    credited = verdicts[verdicts["stratum"] == CREDITED]
    none = verdicts[verdicts["stratum"] == NONE]
    right = credited["verdict"].isin(["correct", "incomplete"])
    complete = credited["verdict"] == "correct"
    missed = none["verdict"] == "missed"
    shares = [Share(int(mark.sum()), len(mark)) for mark in (complete, missed)]
    simple = [Estimate(share.value, *share.interval) for share in shares]
    weighted = [_weighted(complete, credited["papers"]), _weighted(missed, none["papers"])]
    twice = verdicts[verdicts["second_verdict"] != ""]
    return Summary(
        precision=Share(int(right.sum()), len(right)),
        complete=shares[0],
        missed=shares[1],
        recall=_recall(simple[0], simple[1], size["strings"].to_dict()),
        precision_of_papers=_weighted(right, credited["papers"]),
        recall_of_papers=_recall(weighted[0], weighted[1], size["papers"].to_dict()),
        agreement=Share(int((twice["verdict"] == twice["second_verdict"]).sum()), len(twice)),
        kappa=cohens_kappa(list(twice["verdict"]), list(twice["second_verdict"])),
    )


def cohens_kappa(first: list[str], second: list[str]) -> float:
    """Return Cohen's kappa (p_o - p_e) / (1 - p_e) of two lists of verdicts on the same items."""
    total = len(first)
    if not total:
        return math.nan
    observed = sum(one == other for one, other in zip(first, second, strict=True)) / total
    ones, others = Counter(first), Counter(second)
    expected = sum(ones[verdict] * others[verdict] for verdict in ones) / total**2
    return (observed - expected) / (1 - expected) if expected < 1 else math.nan


def check_domains(papers: pd.DataFrame, matcher: Matcher) -> DomainCheck:
    """Compare text and mail domain, where both name one university, in papers with columns aff and aff_domain.

    Authors with several affiliations are left out: a mail address names only one of them.
    """
    same = total = 0
    differences: Counter[tuple[Entity, Entity]] = Counter()
    for text, mail in zip(papers["aff"], papers["aff_domain"], strict=True):
        authors, domains = clean(text).split(";"), mail.split(";")
        if len(authors) != len(domains):
            continue
        for author, domain in zip(authors, domains, strict=True):
            of_domain = matcher.domain(domain) if domain.strip() and "+" not in author else None
            named = {hit.entity for hit in _universities(matcher.match(author.strip()))} if of_domain else ()
            if of_domain is None or len(named) != 1:
                continue
            (of_text,) = named
            total += 1
            if of_text == of_domain:
                same += 1
            elif of_text is not None:
                differences[of_text, of_domain] += 1
    return DomainCheck(Share(same, total), differences)


def _universities(hits: Iterable[Hit]) -> list[Hit]:
    return [hit for hit in hits if hit.entity is not None and hit.entity.kind == UNIVERSITY]


def _stratum(hits: Iterable[Hit]) -> str:
    return CREDITED if _universities(hits) else NONE


def _check(verdicts: pd.DataFrame) -> None:
    columns = zip(
        verdicts["id"], verdicts["stratum"], verdicts["verdict"], verdicts["second_verdict"], strict=True
    )
    for number, stratum, verdict, second in columns:
        allowed = VERDICTS.get(stratum)
        if allowed is None:
            raise DataError(
                f'matching audit, id {number}: stratum "{stratum}" is none of {", ".join(VERDICTS)}.'
            )
        if verdict not in allowed or second not in (*allowed, ""):
            raise DataError(
                f'matching audit, id {number}: verdict "{verdict}" or second verdict "{second}" '
                f"is none of {', '.join(allowed)}; correct it."
            )


def _weighted(mark: pd.Series[bool], weights: pd.Series[int]) -> Estimate:
    """Return the weighted share with Wilson's interval at the effective size (sum w)^2 / sum w^2 (Kish 1965)."""
    total = float(weights.sum())
    value = float(weights[mark].sum()) / total
    effective = total**2 / float((weights**2).sum())
    low, high = proportion_confint(value * effective, effective, method="wilson")
    return Estimate(value, float(low), float(high))


def _recall(complete: Estimate, missed: Estimate, size: Mapping[str, int]) -> Estimate:
    """Return M a / (M + U b) of the shares a and b; its interval takes the worse ends of both together."""

    def of(share: float, lost: float) -> float:
        return size[CREDITED] * share / (size[CREDITED] + size[NONE] * lost)

    return Estimate(
        of(complete.value, missed.value), of(complete.low, missed.high), of(complete.high, missed.low)
    )
