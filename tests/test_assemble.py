from __future__ import annotations

import os
import shutil
import tomllib
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from originals import write_all

from study.assemble import BASELINE_END, YEARS, assemble, first_events, panel, paper_files, tier, treats_from
from study.errors import DataError
from study.institutions import Entity, Hit, Matcher, load
from study.institutions.credit import Paper, decisions, match_sites
from study.shipped import shipped
from study.sources import universities

ROOT = Path(__file__).parents[1]
RAW = Path(os.environ.get("STUDY_RAW", ROOT.parent / "shared" / "data" / "raw"))
DERIVED = (
    "panels/cvpr.csv",
    "panels/cvpr_years.csv",
    "events/top500.csv",
    "crosswalks/sites.csv",
    "crosswalks/affiliations.csv",
    "sources.toml",
)
OLD, NEW = Entity("Old University", "university", "US"), Entity("New University", "university", "US")


@pytest.mark.parametrize(("month", "year"), [("2012-06", 2013), ("2012-11", 2014), ("1993-06", 1994)])
def test_a_list_treats_only_papers_whose_deadline_lies_after_its_month(month: str, year: int) -> None:
    assert treats_from(month) == year


@pytest.mark.parametrize(
    ("papers", "label"),
    [(1, "1 paper"), (2, "2-9 papers"), (9, "2-9 papers"), (10, "10-49 papers"), (50, "50+ papers")],
)
def test_tiers_are_fixed_bands(papers: int, label: str) -> None:
    assert tier(papers) == label


def _papers(*extra: Paper) -> list[Paper]:
    every_year = [Paper("cvpr", year, frozenset({OLD}), False, True) for year in YEARS]
    return [*every_year, *extra]


NO_EVENTS = pd.DataFrame(columns=["university", "country", "event", "treats_from"])


def test_the_population_is_who_published_up_to_the_baseline_year_and_zeros_stay() -> None:
    late = Paper("cvpr", 2020, frozenset({NEW}), False, True)
    early = Paper("nips", 1990, frozenset({OLD}), False, True)
    signed = _papers(late, early)
    baseline = Counter(u for paper in signed if paper.year <= BASELINE_END for u in paper.universities)
    table = panel(signed, baseline, NO_EVENTS)
    assert set(table["university"]) == {"Old University"}
    assert table["year"].tolist() == list(YEARS)
    assert set(table["baseline_papers"]) == {2}


def test_a_university_without_a_later_paper_has_zeros() -> None:
    table = panel(_papers(), Counter({OLD: 1, NEW: 1}), NO_EVENTS)
    assert table.loc[table["university"] == "New University", "papers"].tolist() == [0] * len(YEARS)


def test_teams_with_and_without_a_company_add_up() -> None:
    table = panel(_papers(Paper("cvpr", 2020, frozenset({OLD}), True, True)), Counter({OLD: 1}), NO_EVENTS)
    row = table[table["year"] == 2020].iloc[0]
    assert (row["papers"], row["papers_academic_only"], row["papers_with_industry"]) == (2, 1, 1)


def test_a_paper_counts_fully_for_each_of_its_universities() -> None:
    table = panel(
        _papers(Paper("cvpr", 2020, frozenset({OLD, NEW}), False, True)), Counter({OLD: 1, NEW: 1}), NO_EVENTS
    )
    assert table.loc[table["year"] == 2020, "papers"].tolist() == [1, 2]


def test_papers_without_affiliation_lower_the_coverage_of_their_year_alone() -> None:
    table = panel(_papers(Paper("cvpr", 2020, frozenset(), False, False)), Counter({OLD: 1}), NO_EVENTS)
    assert table.loc[table["year"] == 2020, "coverage"].tolist() == ["0.5000"]
    assert table.loc[table["year"] == 2019, "coverage"].tolist() == ["1.0000"]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_all(tmp_path_factory.mktemp("raw"))


@pytest.fixture(scope="module")
def matcher(originals: Path) -> Matcher:
    world = universities.read(originals / "universities")
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))


def _systems(*rows: tuple[str, str, str]) -> pd.DataFrame:
    columns = ["list", "site", "accelerator"]
    return pd.DataFrame(rows, columns=columns).assign(
        country="United States", system="Cluster", segment="Academic"
    )


def test_events_are_first_appearances_and_say_what_they_cannot_know(matcher: Matcher) -> None:
    systems = _systems(
        ("1993-06", "Stanford University", ""),
        ("2011-06", "Stanford University", "NVIDIA 2050"),
        ("2012-11", "Cornell University", "NVIDIA K20"),
        ("2014-06", "Cornell University", "NVIDIA K40"),
    )
    events = first_events(systems, match_sites(systems, matcher, {}), matcher.gazetteer)
    rows = events.set_index(["university", "event"])[["list", "treats_from", "left_censored"]]
    assert rows.loc[("Stanford University", "first_top500")].tolist() == ["1993-06", 1994, 1]
    assert rows.loc[("Stanford University", "first_accelerator")].tolist() == ["2011-06", 2012, 1]
    assert rows.loc[("Cornell University", "first_accelerator")].tolist() == ["2012-11", 2014, 0]
    assert len(events) == 4


def test_a_national_centre_outranks_the_host_beside_it(matcher: Matcher) -> None:
    systems = _systems(("2012-11", "National Center for Atmospheric Research/Stanford University", ""))
    ((hit,),) = match_sites(systems, matcher, {}).values()
    assert hit.entity is not None
    assert hit.entity.kind == "national_centre"


def test_a_site_is_never_credited_to_a_university_of_another_country(matcher: Matcher) -> None:
    systems = _systems(("2012-11", "ETH Zurich", ""))
    ((hits),) = match_sites(systems, matcher, {}).values()
    assert hits == ()


def test_a_decision_about_a_site_outranks_the_rule(matcher: Matcher) -> None:
    systems = _systems(("2012-11", "Stanford University", ""))
    decided: dict[tuple[str, str], tuple[Hit, ...]] = {("Stanford University", "US"): ()}
    assert match_sites(systems, matcher, decided) == decided


def test_a_decision_for_an_unknown_university_is_refused(tmp_path: Path, matcher: Matcher) -> None:
    path = tmp_path / "site_decisions.csv"
    path.write_text("site,country,university,note\nX,US,Nowhere University,\n", encoding="utf-8")
    with pytest.raises(DataError, match="Nowhere University"):
        decisions(path, matcher.gazetteer)


def _files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_assemble_writes_the_same_bytes_twice(tmp_path: Path, originals: Path) -> None:
    steps: list[str] = []
    first, second = tmp_path / "first", tmp_path / "second"
    written = assemble(originals, first, progress=steps.append)
    assemble(originals, second)
    assert _files(first) == _files(second)
    assert (
        sorted(_files(first)) == sorted(DERIVED) == sorted(p.relative_to(first).as_posix() for p in written)
    )
    assert "cvpr 2020" in steps
    rows = pd.read_csv(first / "panels" / "cvpr.csv")
    assert set(rows["university"]) == {"Stanford University", "Brigham Young University"}
    assert tomllib.loads((first / "sources.toml").read_text(encoding="utf-8"))["paperlists"]["files"] == len(
        paper_files()
    )


def test_rejected_papers_and_those_without_affiliation_are_not_counted(
    tmp_path: Path, originals: Path
) -> None:
    assemble(originals, tmp_path)
    years = pd.read_csv(tmp_path / "panels" / "cvpr_years.csv").set_index("year")
    assert years.loc[2020, ["papers", "with_affiliation"]].tolist() == [3, 2]
    assert years.loc[2020, "share_company"] == 0.5


@pytest.mark.parametrize(
    "spoil",
    [
        "top500/TOP500_199306.xlsx",
        "universities/world_universities_and_domains.json",
        "paperlists/cvpr/cvpr2020.json.gz",
        "paperlists/nips/nips1995.json.gz",
    ],
)
@pytest.mark.parametrize("how", ["missing", "truncated"])
def test_a_bad_original_is_named_and_nothing_is_written(
    tmp_path: Path, originals: Path, spoil: str, how: str
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    shutil.copytree(originals, raw)
    if how == "missing":
        (raw / spoil).unlink()
    else:
        (raw / spoil).write_bytes((raw / spoil).read_bytes()[:50])
    named = "TOP500" if spoil.startswith("top500") else Path(spoil).name.removesuffix(".gz")
    with pytest.raises(DataError, match=named) as caught:
        assemble(raw, out)
    assert "\n" not in str(caught.value)
    assert not out.exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="folder top500 is missing"):
        assemble(tmp_path, tmp_path / "out")


def test_shipped_tables_hold_no_titles_names_or_addresses() -> None:
    for name in ("crosswalks/affiliations.csv", "panels/cvpr.csv", "events/top500.csv"):
        header = shipped("data", *name.split("/")).read_text(encoding="utf-8").partition("\n")[0].split(",")
        assert not {"title", "author", "abstract", "email"} & set(header)
    assert "@" not in pd.read_csv(shipped("data", "crosswalks", "affiliations.csv"))["segment"].str.cat()


def test_the_panel_is_balanced_and_consistent() -> None:
    table = pd.read_csv(shipped("data", "panels", "cvpr.csv"), keep_default_na=False)
    assert not table.duplicated(["university", "year"]).any()
    assert (table.groupby("university")["year"].nunique() == len(YEARS)).all()
    assert (table["papers"] == table["papers_academic_only"] + table["papers_with_industry"]).all()
    assert (table["baseline_papers"] >= 1).all()


def test_no_shipped_file_exceeds_two_mebibytes() -> None:
    for path in shipped("data").rglob("*"):
        assert not path.is_file() or path.stat().st_size <= 2 * 1024**2, path.name


@pytest.mark.skipif(not RAW.is_dir(), reason="the originals are absent: set STUDY_RAW to their folder")
def test_the_committed_files_are_what_assemble_writes(tmp_path: Path) -> None:
    for name in ("institutions.csv", "organisations.csv", "site_decisions.csv"):
        shutil.copy(shipped("data", name), tmp_path / name)
    assemble(RAW, tmp_path)
    for name in DERIVED:
        assert (tmp_path / name).read_bytes() == shipped("data", *name.split("/")).read_bytes(), name
