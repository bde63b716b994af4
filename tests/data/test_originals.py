"""What holds of the publishers' originals: they are assembled once for all tests here, which look at it on the way."""

from __future__ import annotations

import gzip
import shutil
import time
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from audit_samples import AWARDS_SEED, CRI_SEED, CRI_SIZES, SIZES, draw_awards, draw_titles, title_strata
from originals import RAW
from test_matching_audit import check_domains, shipped_sample
from test_topics import FIRST_SAMPLE, SAMPLE, STRATA

from study import load_panel
from study.data import audits, grants, topics
from study.data.assemble import build, csmetrics, panels, programmes
from study.data.assemble.panels import match_survey, signatures, spending_by_university
from study.data.institutions import Matcher, read_overrides
from study.data.institutions.match import match_papers
from study.data.sources import content_of, paperlists, top500
from study.data.sources import csmetrics as source
from study.panel import shipped

NEEDS = pytest.mark.skipif(not RAW.is_dir(), reason="the originals are absent: set STUDY_RAW to their folder")


class Run(NamedTuple):
    """What `assemble` reads, makes of it and writes."""

    originals: SimpleNamespace
    matcher: Matcher
    # Those of the programmes, classified.
    awards: pd.DataFrame
    # All accepted ones of the main track with their topics, and the seconds that the words took.
    papers: pd.DataFrame
    seconds: float
    out: Path
    written: list[Path]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    if not RAW.is_dir():
        pytest.skip("the originals are absent: set STUDY_RAW to their folder")
    out = tmp_path_factory.mktemp("assembled") / "data"
    shutil.copytree(shipped("data"), out)
    # Name of a function -> what it returned, call by call, and how many seconds it took.
    calls: dict[str, list[tuple[Any, float]]] = defaultdict(list)

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            start = time.process_time()
            value = function(*args)
            calls[function.__name__].append((value, time.process_time() - start))
            return value

        return called

    steps: list[tuple[Any, str]] = [
        (build, "_read"), (build, "Matcher"), (grants, "classify"), (paperlists, "published"), (topics, "topics")
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for module, name in steps:
            patch.setattr(module, name, watched(getattr(module, name)))
        written = build.assemble(RAW, out)
    # The papers of paperlists come before those that others copied.
    originals, matcher, awards, published, topical = (calls[name][0][0] for _, name in steps)
    return Run(originals, matcher, awards, published.join(topical), calls["topics"][0][1], out, written)


def test_the_committed_files_are_what_assemble_writes(run: Run) -> None:
    for path in run.written:
        name = path.relative_to(run.out).as_posix()
        # Builds of zlib compress alike and not the same.
        assert content_of(path) == content_of(shipped("data", *name.split("/"))), name


def test_the_rule_still_credits_what_was_judged(run: Run) -> None:
    sample = shipped_sample()
    for text, judged_as in sample.loc[sample["string"] != "", ["string", "credited"]].itertuples(index=False):
        hits = [hit.entity for hit in run.matcher.match(text) if hit.entity is not None]
        names = dict.fromkeys(f"{e.name} ({e.country})" for e in hits if e.kind == "university")
        assert "|".join(names) == judged_as, text


def test_text_and_mail_domain_agree_as_often_as_the_readme_of_the_data_says(run: Run) -> None:
    same, _ = check_domains(run.papers, run.matcher)
    said = " ".join(shipped("data", "README.md").read_text(encoding="utf-8").split())
    assert f"name the same one in {same.value:.1%} of {same.total:,} authors" in said


def test_the_readme_of_the_data_counts_holders_of_gpus_and_records_with_names_for_affiliations(
    run: Run,
) -> None:
    said = " ".join(shipped("data", "README.md").read_text(encoding="utf-8").split())
    stock = run.originals.gpus_per_student["university"]
    matched = {entity for name in stock for entity in run.matcher.universities(name, "US")}
    assert f"of {len(matched)} US universities that were matched" in said
    columns = [run.papers[name].str.split(r"; *", regex=True).map(frozenset) for name in ("author", "aff")]
    swapped = run.papers[(run.papers["aff"] != "") & (columns[0] == columns[1])]
    assert set(swapped["venue"]) == {"icra", "iros"}
    assert f"In {len(swapped)} of their records the authors' names stand" in said
    of_editions = swapped.groupby(["venue", "year"]).size().sort_values()
    assert of_editions.index[-1] == ("iros", 2006)
    assert f"({of_editions.iloc[-1]} at IROS 2006, {of_editions.iloc[-2]} or fewer elsewhere)" in said


def test_the_words_still_say_of_the_audited_titles_what_they_said_when_these_were_drawn(run: Run) -> None:
    columns = [*audits.KEYS, "stratum", "words_area"]
    papers = run.papers[run.papers["status"] != ""]  # those in no session came in after the sample was drawn
    now = draw_titles(papers, seen=audits.read_titles(FIRST_SAMPLE)).set_index("id")[columns]
    then = audits.read_titles(SAMPLE).set_index("id")[columns]
    pd.testing.assert_frame_equal(now, then, check_dtype=False)
    pd.testing.assert_frame_equal(title_strata(papers), pd.read_csv(STRATA), check_dtype=False)


def test_eighty_thousand_titles_take_a_few_seconds(run: Run) -> None:
    # Three seconds on a quiet core; the limit leaves room for a busy one.
    assert run.seconds / len(run.papers) * 80_000 < 6


def test_heavy_topics_are_rare_before_2012_and_in_learning_theory_and_common_in_vision_today(
    run: Run,
) -> None:
    share = run.papers.groupby(["venue", "year"])["compute_heavy"].mean()
    assert share[share.index.get_level_values("year") < 2012].max() < 0.06
    assert share["colt"].max() < 0.06
    assert share["cvpr", 2013] < 0.05 < 0.4 < share["cvpr", 2024]


def test_the_originals_hold_the_contests_of_every_year(run: Run) -> None:
    assert run.awards["programme"].value_counts().to_dict() == {"MRI": 3806, "CC*": 538, "CRI": 245}
    assert {f"CRI {year}" for year in (2007, 2018)} <= set(run.awards["contest"])
    assert set(run.awards["kind"]) == {"cluster", "storage", "network", "other_instrument", "other"}
    assert {f"MRI {year}" for year in range(2007, 2025)} | {"MRI-R2 2009"} <= set(run.awards["contest"])
    assert (run.awards["reason"] != "").all()


def test_the_sample_that_ships_is_drawn_by_the_rule_as_it_stands(run: Run) -> None:
    first = pd.read_csv(shipped("data", "audits", "nsf_first_design.csv"), dtype={"award_id": str})
    others = run.awards[(run.awards["programme"] != "CRI") & ~run.awards["award_id"].isin(first["award_id"])]
    design = pd.read_csv(shipped("data", "audits", "nsf_design.csv"), dtype={"award_id": str})
    pd.testing.assert_frame_equal(design, draw_awards(others, SIZES, AWARDS_SEED), check_dtype=False)
    assert design.groupby("stratum")["population"].first().sum() == len(others) == 4344 - len(first)
    design = pd.read_csv(shipped("data", "audits", "cri_design.csv"), dtype={"award_id": str})
    of_cri = run.awards[run.awards["programme"] == "CRI"]
    pd.testing.assert_frame_equal(design, draw_awards(of_cri, CRI_SIZES, CRI_SEED), check_dtype=False)


def test_descriptions_name_the_accelerators_as_often_as_stated(run: Run) -> None:
    systems = run.originals.top500
    said = systems[systems["list"].between(top500.FIRST_ACCELERATOR_LIST, "2026-06")]
    named = said["system"].str.contains(top500._NAMED_ACCELERATOR)
    told = said["accelerator"] != ""
    assert (int((named & told).sum()), int(told.sum()), int(named.sum())) == (3946, 3986, 3974)
    assert systems["year_installed"].notna().all()


def test_the_editions_are_whole_and_all_papers_have_an_affiliation_but_two(run: Run) -> None:
    table = run.originals.affiliations
    assert table.groupby(["venue", "year"], sort=False).size().tolist() == [1429, 1899, 336, 501]
    assert (table["aff"].str.replace(r"[;+]", "", regex=True) == "").groupby(
        table["venue"]
    ).sum().to_dict() == {
        "iclr": 2,
        "nips": 0,
    }


# Counted by reading the table: papers, with a company, of the first author, of the last one.
BY_HAND = {
    ("University of Tokyo", 2018): (4, 0, 3, 3),
    ("Heidelberg University", 2019): (2, 0, 2, 1),
    ("University of Rochester", 2019): (2, 2, 1, 1),
    ("Purdue University", 2019): (2, 1, 2, 2),
    ("Aalto University", 2018): (2, 2, 0, 1),
}


def test_counts_of_iclr_are_those_counted_by_hand(run: Run) -> None:
    table = run.originals.affiliations.query("venue == 'iclr'").reset_index(drop=True)
    signed = match_papers(table, run.matcher)
    each = signatures(table.join(signed.papers).assign(compute_heavy=False), signed.signatures)
    columns = ["papers", "papers_with_industry", "papers_first_author", "papers_last_author"]
    counts = each.groupby(["university", "year"])[columns].sum()
    assert {key: tuple(counts.loc[key]) for key in BY_HAND} == BY_HAND
    assert ("Purdue University", 2018) not in counts.index


def test_the_copy_adds_up_to_what_the_agency_published(run: Run) -> None:
    totals = run.originals.herd.groupby("fiscal_year")["total"].sum() / 1e6
    published = {2010: 61.3, 2019: 83.7, 2021: 89.8, 2022: 97.8, 2023: 108.8, 2024: 117.7}
    for year, billions in published.items():
        assert totals[year] == pytest.approx(billions, rel=0.005)


def test_nine_tenths_of_the_spending_are_of_universities_that_are_known(run: Run) -> None:
    rows = run.originals.herd
    exceptions = read_overrides(shipped("data", "herd_institutions.csv"), run.matcher, "inst_id")
    crosswalk = match_survey(rows, run.matcher, exceptions)
    found = spending_by_university(rows, crosswalk)
    assert len(crosswalk) == 1004
    assert (crosswalk["university"] != "").sum() >= 800
    assert found["total"].sum() / rows["total"].sum() >= 0.96
    assert not found.duplicated(["university", "country", "fiscal_year"]).any()
    of = crosswalk.set_index("inst_id")["university"]
    assert of["008800"].startswith("Miami University")
    # Humboldt's newest name is Pomona's but for the town, and Maine and Indiana each have a Saint Joseph's.
    assert (of["001144"], of["001149"], of["002051"]) == ("Cal Poly Pomona", "Humboldt State University", "")


def test_universities_are_linked_over_the_surveys_change_of_2010(run: Run) -> None:
    known = read_overrides(shipped("data", "herd_field_institutions.csv"), run.matcher, "name")
    table = run.originals.herd_fields
    assert set(known) <= set(table["name"])
    crosswalk = panels.match_survey(table, run.matcher, known)
    by_year = panels.spending_by_university(table, crosswalk, ["total"])
    wide = by_year.pivot(index="university", columns="fiscal_year", values="total")
    before, after = wide[[2007, 2008, 2009]].mean(axis=1), wide[[2010, 2011, 2012]].mean(axis=1)
    large = np.fmax(before, after) > 2000
    # None is lost at the change; one that begins there is a university that reported nothing before.
    assert after[large & before.notna()].notna().all()
    assert wide.index[large & before.isna()].tolist() == ["Dakota State University"]
    # Where the name changes (PURDUE UNIVERSITY, Purdue University, West Lafayette) the amounts go on as elsewhere.
    names = by_year.merge(crosswalk[["inst_id", "name"]]).pivot(
        index="university", columns="fiscal_year", values="name"
    )
    renamed = (names[2009] != names[2010]) & names[2009].notna() & names[2010].notna() & large
    assert {"Purdue University", "University of Washington", "University of Michigan"} <= set(
        names.index[renamed]
    )
    assert (after / before)[renamed].between(1 / 3, 3).all()
    # One number of the agency for education statistics is one university.
    numbers = table[table["ipeds"] != ""].merge(crosswalk, on="inst_id")
    numbers = numbers[numbers["university"] != ""]
    assert (numbers.groupby("ipeds")["university"].nunique() == 1).all()


def test_most_tagged_groups_are_of_a_known_university_and_some_have_no_date(run: Run) -> None:
    rows = run.originals.osg
    assert (len(rows), int((rows["ccstar_resources"] > 0).sum())) == (101, 83)
    exceptions = read_overrides(shipped("data", "osg_facilities.csv"), run.matcher, "facility")
    found = programmes.registered(rows, run.matcher, exceptions)
    assert len(found) >= 66
    assert not found.duplicated(["university", "country"]).any()
    assert found.loc[found["left_censored"] == 0, "date"].between("2020-01", "2026-12").all()
    assert set(found["country"]) == {"US"}


def test_nearly_all_papers_of_institutions_of_education_are_some_universitys(run: Run) -> None:
    institutions, _ = run.originals.csmetrics
    papers_of = institutions["papers"].where(institutions["type"] == "Education", 0)
    matched = [bool(each) for each in csmetrics.credited(institutions, run.matcher)]
    assert papers_of[matched].sum() / papers_of.sum() == pytest.approx(0.9875, abs=0.001)


def test_venues_without_affiliations_in_some_year_stay_out(run: Run) -> None:
    entering = csmetrics.covered(run.originals.csmetrics[1])
    assert {"cvpr", "iccv", "eccv", "nips", "icml", "uai", "acl", "emnlp", "icra"} <= set(entering)
    assert {"stoc", "focs", "soda", "sigmod", "icde", "chi", "infocom"} <= set(entering)
    # No COLT of 2011-12, no IROS of 2018, half of RSS 2008, no SIGCOMM of 2014, VLDB's proceedings from 2008 on.
    assert not {"colt", "iros", "rss", "sigcomm", "pvldb", "naacl"} & set(entering)


@cache
def csmetrics_lines() -> list[str]:
    path = RAW / "csmetrics" / f"{source.FILE}.gz"
    return gzip.decompress(path.read_bytes()).decode().splitlines()


@NEEDS
@pytest.mark.parametrize(
    ("panel", "university", "year", "lines"),
    [
        # "grep ^cvpr,2018,stanford" and so on in the original, read by eye.
        (
            "vision_2007",
            "Stanford University",
            2018,
            ["cvpr,2018,stanford university,", "eccv,2018,stanford university,"],
        ),
        (
            "ml_2007",
            "ETH Zurich",
            2012,
            ["nips,2012,eth zurich,", "icml,2012,eth zurich,", "uai,2012,eth zurich,"],
        ),
        (
            "cs_2007",
            "University of Toronto: theory",
            2010,
            [f"{v},2010,university of toronto," for v in ("stoc", "focs", "soda")],
        ),
    ],
)
def test_cells_of_the_panels_are_the_sums_of_the_originals_lines(
    panel: str, university: str, year: int, lines: list[str]
) -> None:
    heading, *rest = csmetrics_lines()
    place = heading.split(",").index("papers")
    papers_of = [int(line.split(",")[place]) for line in rest if line.startswith(tuple(lines))]
    read = load_panel(panel)
    count = read.outcomes["papers"][read.units == university, read.periods == year]
    assert papers_of
    assert count == sum(papers_of)


def test_the_comparison_that_ships_is_what_both_sources_say(run: Run) -> None:
    """CVPR's row, from the panels that ship and the original, by other means."""
    shipped_rows = pd.read_csv(shipped("data", "outcome_comparison.csv")).set_index(["venue", "year"])
    institutions, _ = run.originals.csmetrics
    chosen = institutions[(institutions["venue"] == "cvpr") & (institutions["year"] == 2015)]
    here: dict[str, int] = {}
    for count, names in zip(chosen["papers"], csmetrics.credited(chosen, run.matcher), strict=True):
        for university in names:
            here[university.name] = here.get(university.name, 0) + count
    assert shipped_rows.loc[("cvpr", 2015), "csmetrics_credited"] == sum(here.values())
    panel = pd.read_csv(shipped("data", "panels", "cvpr.csv"))
    there = panel[panel["year"] == 2015].set_index("university")["papers"]
    both = pd.concat([there[there > 0], pd.Series(here)], axis=1).fillna(0)
    both = both[both.index.isin(there.index)]
    # The panel lacks the few universities that first published after 2013.
    assert both.corr().iloc[0, 1] == pytest.approx(shipped_rows.loc[("cvpr", 2015), "correlation"], abs=0.02)
