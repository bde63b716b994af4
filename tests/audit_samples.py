"""How the samples of the three audits were drawn; ``study data audit`` says what their readers found."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from study.data import grants
from study.data.audits import COLUMNS, CREDITED, HEAVY, KEYS, NONE, REST
from study.data.grants import CC, CLUSTER
from study.data.institutions import Hit, Matcher
from study.data.institutions.gazetteer import clean

# Which university a string names: strings with a credited university, and without.
MATCHED, UNMATCHED = 400, 200

# Which award buys a cluster. Awards are drawn by how near they are to a computer. Those of the last stratum name
# nothing of the kind in title or abstract, so that nobody could read a cluster into them; a few are read all the same.
STRATA = ("cluster", "campus", "near", "mention", "none")
# How many of each the second sample has.
SIZES = {"cluster": 60, "near": 80, "campus": 30, "mention": 20, "none": 10}
AWARDS_SEED = 20261127
# Of the CRI programme, all that the rule calls clusters.
CRI_SIZES = {"cluster": 60, "near": 60, "mention": 20, "none": 10}
CRI_SEED = 20261128

_MENTION = grants.words(
    r"\w*comput\w*, cluster\w*, servers?\b, \w*GPU\w*, processors?\b, HPC\w*, cyber\w*, cores\b"
)

# Which titles are compute-heavy: titles a stratum, and the seed of the second sample.
TITLES, TITLES_SEED = 100, 20261128


def count_strings(affiliations: Iterable[str]) -> Counter[str]:
    """Return the distinct strings of single authors and the number of papers that each stands in."""
    strings: Counter[str] = Counter()
    for text in affiliations:
        strings.update({author.strip() for author in clean(text).split(";")} - {""})
    return strings


def string_strata(strings: Mapping[str, int], matcher: Matcher) -> pd.DataFrame:
    """Return the population of the sample: stratum, strings, papers (one string in one paper counts once)."""
    table = pd.DataFrame({"papers": list(strings.values())})
    table["stratum"] = [_stratum(matcher.match(text)) for text in strings]
    counts = table.groupby("stratum")["papers"].agg(["size", "sum"])
    return counts.set_axis(["strings", "papers"], axis=1).reset_index()


def draw_strings(strings: Mapping[str, int], matcher: Matcher, *, seed: int) -> pd.DataFrame:
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
        *chance.sample(by_stratum[CREDITED], MATCHED),
        *chance.sample(by_stratum[NONE], UNMATCHED),
    ]
    chance.shuffle(chosen)
    records = []
    for number, text in enumerate(chosen, start=1):
        hits = [hit for hit in matcher.match(text) if hit.university]
        names = dict.fromkeys(f"{hit.university.name} ({hit.university.country})" for hit in hits)
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


def _stratum(hits: Sequence[Hit]) -> str:
    return CREDITED if any(hit.university for hit in hits) else NONE


def award_stratum(record: Mapping[str, str]) -> str:
    """Return the stratum of a classified award."""
    if record["kind"] == CLUSTER:
        return "cluster"
    if record["programme"] == CC:
        return "campus"
    title, abstract = record["title"], record["abstract"]
    if grants.HINT.search(title) or grants.COMPUTING.search(title) or grants.BOUGHT.search(abstract):
        return "near"
    return "mention" if _MENTION.search(f"{title} {abstract}") else "none"


def draw_awards(classified: pd.DataFrame, sizes: Mapping[str, int], seed: int) -> pd.DataFrame:
    """Draw a sample by strata.

    Returns
    -------
    DataFrame
        award_id, stratum, population and sampled (awards of the stratum in the table that was drawn from, and
        how many of them were drawn), kind and accelerators (0/1) as the rule says. By number, so
        that the order tells nothing. A stratum of fewer awards is taken whole.
    """
    strata = pd.Series([award_stratum(record) for record in classified.to_dict("records")], classified.index)
    generator = np.random.default_rng(seed)
    parts = []
    for name in STRATA:
        numbers = np.sort(classified.loc[strata == name, "award_id"].to_numpy(str))
        chosen = generator.permutation(numbers)[: sizes.get(name, 0)]
        parts.append(
            pd.DataFrame(
                {"award_id": chosen, "stratum": name, "population": len(numbers), "sampled": len(chosen)}
            )
        )
    said = classified[["award_id", "kind"]].assign(
        accelerators=(classified["accelerators"] != "").astype(int)
    )
    return pd.concat(parts).merge(said, on="award_id").sort_values("award_id", ignore_index=True)


def draw_titles(
    papers: pd.DataFrame, each: int = TITLES, seed: int = TITLES_SEED, seen: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Draw the sample to be judged, shuffled and numbered.

    Parameters
    ----------
    papers
        All papers: venue, year, row, and what `study.data.topics.topics` says of the title, compute_heavy and area.
    each
        Papers a stratum.
    seen
        Papers that are not to be drawn, by venue, year and row: an earlier sample, from which the words have learnt.

    Returns
    -------
    DataFrame
        2 x `each` rows with the columns `COLUMNS`, all answers empty.
    """
    papers = papers.sort_values(KEYS, ignore_index=True)
    if seen is not None:
        known = pd.MultiIndex.from_frame(seen[KEYS])
        papers = papers[~pd.MultiIndex.from_frame(papers[KEYS]).isin(known)]
    rng = np.random.default_rng(seed)
    chosen = []
    for stratum, members in (
        (HEAVY, papers[papers["compute_heavy"]]),
        (REST, papers[~papers["compute_heavy"]]),
    ):
        chosen.append(members.iloc[rng.choice(len(members), each, replace=False)].assign(stratum=stratum))
    sample = pd.concat(chosen).iloc[rng.permutation(2 * each)].reset_index(drop=True)
    sample = sample.rename(columns={"area": "words_area"}).assign(id=range(1, 2 * each + 1))
    return sample.reindex(columns=list(COLUMNS), fill_value="")


def title_strata(papers: pd.DataFrame) -> pd.DataFrame:
    """Return how many papers of each venue and year there were to draw from: venue, year, papers, heavy."""
    counts = papers.groupby(["venue", "year"])["compute_heavy"].agg(["size", "sum"]).reset_index()
    return counts.rename(columns={"size": "papers", "sum": HEAVY})
