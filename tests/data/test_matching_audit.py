from __future__ import annotations

import math
from collections import Counter

import pandas as pd
import pytest
from audit_samples import count_strings, draw_strings, string_strata

from study.core.errors import DataError
from study.data.audit import Share
from study.data.audits import cohens_kappa, matching_audit
from study.data.institutions import Entity, Matcher, load
from study.data.institutions import universities as named_universities
from study.data.institutions.gazetteer import clean
from study.panel import shipped

LISTED = [
    ("Massachusetts Institute of Technology", "United States", "US", ("mit.edu",)),
    ("ETH Zurich", "Switzerland", "CH", ("ethz.ch",)),
    ("Stanford University", "United States", "US", ("stanford.edu",)),
]
POPULATION = pd.DataFrame(
    {"stratum": ["credited", "none"], "strings": [6_000, 4_000], "papers": [30_000, 5_000]}
)


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    table = pd.DataFrame(LISTED, columns=["name", "country", "iso2", "domains"])
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), table))


def judged(verdicts: dict[str, int], papers: dict[str, int] | None = None) -> pd.DataFrame:
    stratum = {"correctly_none": "none", "missed": "none"}
    rows = [
        (stratum.get(verdict, "credited"), (papers or {}).get(verdict, 1), verdict, "")
        for verdict, count in verdicts.items()
        for _ in range(count)
    ]
    table = pd.DataFrame(rows, columns=["stratum", "papers", "verdict", "second_verdict"])
    return table.assign(id=range(1, len(table) + 1))


ALL = {"correct": 380, "incomplete": 12, "wrong": 8, "correctly_none": 190, "missed": 10}


def test_precision_counts_what_is_named_and_recall_weights_the_strata() -> None:
    result = matching_audit(judged(ALL), POPULATION)
    assert (result.precision.successes, result.precision.total) == (392, 400)
    assert (result.complete.successes, result.missed.successes, result.missed.total) == (380, 10, 200)
    assert result.recall.value == pytest.approx(6_000 * 0.95 / (6_000 + 4_000 * 0.05))


def test_the_interval_of_recall_takes_the_worse_ends_of_both_strata() -> None:
    result = matching_audit(judged(ALL), POPULATION)
    (low, high), (few, many) = result.complete.interval, result.missed.interval
    assert result.recall.low == pytest.approx(6_000 * low / (6_000 + 4_000 * many))
    assert result.recall.high == pytest.approx(6_000 * high / (6_000 + 4_000 * few))
    assert result.recall.low < result.recall.value < result.recall.high


def test_equal_numbers_of_papers_weigh_as_plain_counts_do() -> None:
    result = matching_audit(judged(ALL), POPULATION)
    assert result.precision_of_papers.value == pytest.approx(result.precision.value)
    assert (result.precision_of_papers.low, result.precision_of_papers.high) == pytest.approx(
        result.precision.interval
    )


def test_a_wrong_string_of_many_papers_lowers_the_precision_of_papers_alone() -> None:
    result = matching_audit(judged(ALL, {"wrong": 50}), POPULATION)
    assert result.precision.value == pytest.approx(0.98)
    assert result.precision_of_papers.value == pytest.approx(392 / (392 + 8 * 50))
    width = result.precision.interval[1] - result.precision.interval[0]
    assert result.precision_of_papers.high - result.precision_of_papers.low > width


def test_agreement_is_of_the_strings_judged_twice_alone() -> None:
    table = judged({"correct": 4, "wrong": 2, "correctly_none": 3, "missed": 1})
    table.loc[[0, 1, 4, 6], "second_verdict"] = ["correct", "wrong", "wrong", "correctly_none"]
    result = matching_audit(table, POPULATION)
    assert (result.agreement.successes, result.agreement.total) == (3, 4)


def test_kappa_takes_off_what_chance_would_agree_on() -> None:
    # Cohen's own kind of table: 20 + 15 of 50 agree, margins 25/25 and 30/20, so p_e = 0.5.
    first = ["yes"] * 25 + ["no"] * 25
    second = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohens_kappa(first, second) == pytest.approx(0.4)
    assert cohens_kappa(["yes", "no"], ["yes", "no"]) == 1
    assert math.isnan(cohens_kappa(["yes"], ["yes"]))
    assert math.isnan(cohens_kappa([], []))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("verdict", "right", 'id 1: verdict "right"'),
        ("verdict", "missed", 'id 1: verdict "missed"'),
        ("second_verdict", "?", 'second verdict "\\?"'),
        ("stratum", "both", 'id 1: .* none of stratum "both"'),
    ],
)
def test_a_verdict_that_is_none_is_named_with_its_id(column: str, value: str, message: str) -> None:
    table = judged(ALL)
    table.loc[0, column] = value
    with pytest.raises(DataError, match=message):
        matching_audit(table, POPULATION)


def test_a_sample_of_one_stratum_is_refused() -> None:
    with pytest.raises(DataError, match='stratum "none" is missing'):
        matching_audit(judged({"correct": 3}), POPULATION)


def test_a_string_counts_once_a_paper() -> None:
    assert count_strings(["MIT; MIT;ETH Zurich", "MIT;", ""]) == {"MIT": 2, "ETH Zurich": 1}


def test_the_strata_count_strings_and_papers(matcher: Matcher) -> None:
    table = string_strata({"MIT": 5, "ETH Zurich": 2, "Google": 4}, matcher).set_index("stratum")
    assert table.loc["credited"].tolist() == [2, 7]
    assert table.loc["none"].tolist() == [1, 4]


def test_the_sample_is_that_of_its_seed_and_mixes_both_strata(matcher: Matcher) -> None:
    strings = {f"Laboratory {i}, MIT": i for i in range(1, 451)} | {f"Street {i}": i for i in range(1, 251)}
    sample = draw_strings(strings, matcher, seed=1)
    assert sample["stratum"].value_counts().to_dict() == {"credited": 400, "none": 200}
    assert set(sample["id"]) == set(range(1, 601))
    assert sample["stratum"].head(100).nunique() == 2
    assert sample.equals(draw_strings(strings, matcher, seed=1))
    assert not sample["string"].equals(draw_strings(strings, matcher, seed=2)["string"])
    named = set(sample.loc[sample["stratum"] == "credited", "credited"])
    assert named == {"Massachusetts Institute of Technology (US)"}


def test_domains_are_compared_only_where_both_name_one_university(matcher: Matcher) -> None:
    papers = pd.DataFrame(
        [
            ("MIT; Google; ETH Zurich", "csail.mit.edu; google.com; stanford.edu"),
            ("MIT + Stanford University; MIT & ETH Zurich", "mit.edu;mit.edu"),
            ("ETH Zurich", ""),
            ("ETH Zurich; MIT", "ethz.ch"),
            ("ETH Zurich", "ethz.ch"),
        ],
        columns=["aff", "aff_domain"],
    )
    same, differences = check_domains(papers, matcher)
    assert (same.successes, same.total) == (2, 3)
    ((of_text, of_domain),) = differences
    assert (of_text.name, of_domain.name) == ("ETH Zurich", "Stanford University")


def check_domains(papers: pd.DataFrame, matcher: Matcher) -> tuple[Share, Counter[tuple[Entity, Entity]]]:
    """Return how often text and mail domain name the same university, and where they name two.

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
            named = named_universities(matcher.match(author.strip())) if of_domain else []
            if of_domain is None or len(named) != 1:
                continue
            total += 1
            if named[0] == of_domain:
                same += 1
            else:
                differences[named[0], of_domain] += 1
    return Share(same, total), differences


def shipped_sample() -> pd.DataFrame:
    path = shipped("data", "audits", "matching_sample.csv")
    return pd.read_csv(path, dtype={"id": str}, keep_default_na=False)


def test_the_shipped_audit_meets_its_goals() -> None:
    population = pd.read_csv(shipped("data", "audits", "matching_strata.csv"))
    result = matching_audit(shipped_sample(), population)
    assert (result.precision.total, result.missed.total, result.agreement.total) == (400, 200, 100)
    assert result.precision.value >= 0.98
    assert result.recall.value >= 0.95
