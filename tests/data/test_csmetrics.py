from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from study.core.errors import DataError
from study.data.assemble import csmetrics
from study.data.institutions import Matcher, load
from study.data.sources import csmetrics as source
from study.data.sources.fetching import Fetcher
from study.panel import shipped

HEADING = "venue,year,institution,name,type,country,papers,first_author,last_author,papers_with_company\n"
LINES = (
    "cvpr,2007,stanford university,Stanford University,Education,United States,4,2,1,1\n"
    "cvpr,2008,google,Google,Company,United States,3,1,1,3\n"
)
OF_VENUES = "venue,year,papers,papers_with_affiliation,papers_with_company\n"
VENUES = [venue for venues in csmetrics.FIELDS.values() for venue in venues]
EDUCATION = "Education"


def write(folder: Path, lines: str = LINES, covered: list[str] | None = None) -> Path:
    """Write both tables; the given venues (all of the fields) have ten papers a year, nine with an affiliation."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{source.FILE}.gz").write_bytes(gzip.compress((HEADING + lines).encode(), mtime=0))
    editions = [f"{v},{y},10,9,2\n" for v in covered or VENUES for y in source.YEARS]
    (folder / source.COVERAGE).write_text(OF_VENUES + "".join(editions), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    names = [("Stanford University", "United States", "US"), ("Rice University", "United States", "US")]
    world = pd.DataFrame([(*row, ()) for row in names], columns=["name", "country", "iso2", "domains"])
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))


def test_both_tables_are_read_and_what_has_no_name_is_called_by_its_key(tmp_path: Path) -> None:
    nameless = "cvpr,2007,somewhere,,,,1,0,0,0\ncvpr,2019,google,Google,Company,United States,3,1,1,3\n"
    institutions, venues = source.read(write(tmp_path, LINES + nameless))
    assert institutions["name"].tolist() == ["Stanford University", "Google", "somewhere"]
    assert institutions.loc[0, ["papers", "first_author", "last_author", "papers_with_company"]].tolist() == [
        4,
        2,
        1,
        1,
    ]
    assert venues.groupby("year").size().tolist() == [len(VENUES)] * len(source.YEARS)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "no records after the heading"),
        (LINES + LINES, r"line 4: cvpr, 2007, stanford university is also on line 2"),
        (LINES[:-20], r"line 3: \d fields, the heading has 10"),
        (LINES.replace(",4,2", ",four,2"), 'line 2: papers is "four"; it must be a number of papers'),
        (LINES.replace(",4,2", ",4,5"), "line 2: a count is larger than that of all papers"),
        (LINES.replace("2007", "07"), 'line 2: year is "07"; it must be a year'),
    ],
)
def test_a_damaged_table_is_named_with_file_and_line(tmp_path: Path, lines: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        source.read(write(tmp_path, lines))
    assert str(caught.value).startswith(source.FILE)
    assert "\n" not in str(caught.value)


def test_a_renamed_column_and_a_cut_off_file_are_named(tmp_path: Path) -> None:
    path = write(tmp_path) / f"{source.FILE}.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-15])
    with pytest.raises(DataError, match="truncated or damaged gzip"):
        source.read(tmp_path)
    path.write_bytes(gzip.compress((HEADING.replace("papers,", "n,") + LINES).encode(), mtime=0))
    with pytest.raises(DataError, match="line 1: no column papers; has it been renamed"):
        source.read(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match=r"venue_year_institution_2007_2019\.csv is missing"):
        source.read(tmp_path)


def _archive(
    folder: Path, records: object, listed: str = "google,Google,Company,NA,United States,x\n"
) -> Path:
    path = folder / "csmetrics" / f"csmetrics-{source.VERSION}.zip"
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("repository/data/filtered_papers/cvpr_2010.json", json.dumps(records))
        archive.writestr("repository/data/inst_full_clean.csv", listed)
    return path


def test_what_is_fetched_counts_papers_once_for_each_institution(tmp_path: Path) -> None:
    signed = [["google", "stanford university", None], ["stanford university", "stanford university"], [None]]
    records = [{"MAG papers": [{"Affiliations": each}]} for each in signed] + [{"MAG papers": []}]
    _archive(tmp_path, records)
    source.fetch(tmp_path, Fetcher(pause=0))
    institutions, venues = source.read(tmp_path / "csmetrics")
    rows = institutions.set_index("institution")
    counts = ["papers", "first_author", "last_author", "papers_with_company"]
    assert rows.loc["google", [*counts, "type"]].tolist() == [1, 1, 0, 1, "Company"]
    assert rows.loc["stanford university", counts].tolist() == [2, 1, 1, 1]
    assert venues.iloc[0].tolist() == ["cvpr", 2010, 4, 2, 1]


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"papers": []}], "cvpr_2010.json: no list of papers"),
        ({"a": 1}, "cvpr_2010.json: no list of papers"),
    ],
)
def test_a_repository_of_another_layout_is_refused(tmp_path: Path, records: object, message: str) -> None:
    _archive(tmp_path, records)
    with pytest.raises(DataError, match=message):
        source.fetch(tmp_path, Fetcher(pause=0))


def _editions(venue: str, years: range, share: float = 0.9) -> pd.DataFrame:
    rows = [(venue, year, 100, round(100 * share)) for year in years]
    return pd.DataFrame(rows, columns=["venue", "year", "papers", "papers_with_affiliation"])


@pytest.mark.parametrize(
    ("editions", "enters"),
    [
        (_editions("x", range(2007, 2019)), True),
        (_editions("x", range(2007, 2019, 2)), True),
        (_editions("x", range(2008, 2019, 2)), True),
        (_editions("x", range(2008, 2019)), False),
        (_editions("x", range(2007, 2018)), False),
        (_editions("x", range(2007, 2019, 3)), False),
        (_editions("x", range(2010, 2019, 2)), False),
        (_editions("x", range(2007, 2019)).drop(index=4), False),
        (_editions("x", range(2007, 2019), 2 / 3 - 0.02), False),
        (pd.concat([_editions("x", range(2007, 2018)), _editions("x", range(2018, 2019), 0.5)]), False),
    ],
)
def test_a_venue_enters_if_every_edition_of_an_even_calendar_is_covered(
    editions: pd.DataFrame, enters: bool
) -> None:
    assert csmetrics.covered(editions) == ["x"] * enters


def test_a_field_without_a_covered_venue_is_an_error() -> None:
    with pytest.raises(DataError, match="no venue of vision is covered"):
        csmetrics.specs(["nips", "acl", "icra"])


def test_venues_that_enter_and_are_of_no_field_are_together() -> None:
    vision, learning, fields = csmetrics.specs([*VENUES, "osdi"])
    assert (vision.venues, learning.venues) == (("cvpr", "iccv", "eccv"), ("nips", "icml", "uai", "colt"))
    assert fields.groups["other"] == ("osdi",)
    assert vision.observed(2014, "vision")
    # Deadlines: CVPR's is November of the year before, that of venues without one of their own June.
    assert (vision.first_period("2012-06"), fields.first_period("2012-06")) == (2013, 2014)


def test_institutions_of_one_university_are_added_and_companies_papers_are_industrys(
    matcher: Matcher,
) -> None:
    rows = [
        ("cvpr", 2010, "a", "Stanford University", "Education", "United States", 5, 3, 2, 1),
        ("cvpr", 2010, "b", "Dept. of Computer Science, Stanford University", "", "", 2, 0, 1, 2),
        ("cvpr", 2010, "g", "Google", "Company", "United States", 9, 9, 9, 9),
    ]
    columns = HEADING.strip().split(",")
    table = csmetrics.signatures(pd.DataFrame(rows, columns=columns), matcher)
    assert table.to_dict("records") == [
        {
            "venue": "cvpr", "year": 2010, "university": "Stanford University", "country": "US", "papers": 7,
            "papers_academic_only": 4, "papers_with_industry": 3, "papers_first_author": 3, "papers_last_author": 3,
        }
    ]  # fmt: skip


def test_the_population_published_in_a_field_in_2007_and_for_fields_in_one_that_needs_few_accelerators() -> (
    None
):
    rows = [("cvpr", 2007, "Both"), ("stoc", 2007, "Both"), ("cvpr", 2007, "Vision"), ("stoc", 2008, "Vision"),
            ("osdi", 2007, "Systems"), ("chi", 2007, "People")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["venue", "year", "university"]).assign(country="US", papers=2)
    vision, _, fields = csmetrics.specs([*VENUES, "osdi"])
    of_vision = csmetrics.units(table, vision).set_index("university")
    assert of_vision["baseline_papers"].to_dict() == {"Both": 4, "People": 2, "Vision": 2}
    assert of_vision["baseline_venue_papers"].to_dict() == {"Both": 2, "People": 0, "Vision": 2}
    assert csmetrics.units(table, fields)["university"].tolist() == ["Both", "People"]


def _counted(*rows: tuple[str, int]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["university", "papers"])
    return table.assign(venue="cvpr", year=2013, country="US")


def test_the_comparison_is_over_universities_with_a_paper_in_either_source() -> None:
    years = pd.DataFrame({"venue": ["cvpr"], "year": [2013], "papers": [10], "with_affiliation": [8]})
    only_here = pd.concat([years, years.assign(year=2012)])
    here, there = _counted(("A", 4), ("B", 1), ("C", 1)), _counted(("A", 5), ("B", 2))
    (row,) = csmetrics.comparison(here, there, only_here, years).to_dict("records")
    assert (row["csmetrics_credited"], row["paperlists_credited"], row["universities"]) == (6, 7, 3)
    assert row["zero_in_one"] == pytest.approx(1 / 3)
    assert row["correlation"] == pytest.approx(pd.Series([4, 1, 1]).corr(pd.Series([5, 2, 0])))
    assert (row["csmetrics_coverage"], row["paperlists_papers"]) == (0.8, 10)


def test_no_year_is_missing_and_coverage_is_that_of_the_venues_together() -> None:
    table = pd.read_csv(shipped("data", "panels", "cs_2007.csv.gz"))
    assert table["papers"].notna().all()
    shares = pd.read_csv(shipped("data", "csmetrics_coverage.csv"))
    together = shares[shares["venue"].isna()].set_index(["field", "year"])["coverage"]
    known = table.groupby(["group", "year"])["coverage"].first()
    pd.testing.assert_series_equal(known, together.loc[known.index], check_names=False, rtol=1e-5)
