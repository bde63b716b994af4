from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from study.core.errors import DataError
from study.data.assemble import machines, models, panels
from study.data.assemble.panels import DEADLINES, PANELS, PanelSpec, edition, first_year
from study.data.institutions import Entity
from study.data.institutions.match import count_authors
from study.data.sources.paperlists import FILES

OLD, NEW = Entity("Old University", "university", "US"), Entity("New University", "university", "GB")
CVPR = next(spec for spec in PANELS if spec.name == "cvpr")
ICCV = next(spec for spec in PANELS if spec.name == "iccv")
ROBOTICS = next(spec for spec in PANELS if spec.name == "robotics")


@pytest.mark.parametrize(
    ("date", "year"), [("2012-06", 2013), ("2012-11", 2014), ("1993-06", 1994), ("2012", 2014)]
)
def test_an_event_treats_only_papers_whose_deadline_lies_after_its_month(date: str, year: int) -> None:
    assert CVPR.first_period(date) == year


def test_every_paper_of_a_year_must_be_able_to_respond() -> None:
    assert first_year("2012-10", *DEADLINES["iros"]) == 2013
    assert first_year("2012-10", *DEADLINES["icra"]) == ROBOTICS.first_period("2012-10") == 2014


@pytest.mark.parametrize(("date", "year"), [("2012-11", 2013), ("2013-03", 2015), ("2014-01", 2015)])
def test_an_event_waits_for_the_next_edition_of_a_biennial_venue(date: str, year: int) -> None:
    assert ICCV.first_period(date) == year


def test_iccv_of_2013_was_the_fourteenth() -> None:
    assert (edition(1999), edition(2013), edition(2023)) == (7, 14, 19)


def test_every_venue_of_a_panel_has_a_deadline_and_files() -> None:
    for spec in (*PANELS, *panels.FILLED):
        for venue in spec.venues:
            assert venue in DEADLINES
            assert set(FILES[venue]) & set(spec.years)


def test_a_year_counts_only_if_all_venues_of_the_group_have_it_in_full() -> None:
    assert ROBOTICS.observed(2015, "robotics")
    assert not ROBOTICS.observed(2016, "robotics")
    assert not ICCV.observed(2014, "vision")


@pytest.mark.parametrize(
    ("count", "label"),
    [(1, "1 paper"), (2, "2-9 papers"), (9, "2-9 papers"), (10, "10-49 papers"), (50, "50+ papers")],
)
def test_tiers_are_fixed_bands(count: int, label: str) -> None:
    assert panels.tier(count) == label


@pytest.mark.parametrize(
    ("names", "count"),
    [("A. Ito;B. Roy;A. Ito;B. Roy", 2), ("A. Ito; B. Roy", 2), ("A. Ito, B. Roy, C. Lee", 3), ("A. Ito", 1)],
)
def test_authors_are_counted_in_both_styles_and_once_where_the_list_is_doubled(
    names: str, count: int
) -> None:
    assert count_authors(names) == count


def _written(
    *rows: tuple[str, int, tuple[Entity, ...], bool, bool, bool],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return papers of (venue, year, universities, company, heavy, ordered); without either there is no affiliation."""
    table = pd.DataFrame(
        [
            (venue, year, place, 0, heavy, "vision")
            for place, (venue, year, _, _, heavy, _) in enumerate(rows, start=1)
        ],
        columns=["venue", "year", "row", "repeats", "compute_heavy", "area"],
    )
    known = pd.DataFrame(
        [
            (bool(names) or company, ordered, bool(names), False, company)
            for _, _, names, company, _, ordered in rows
        ],
        columns=["affiliated", "ordered", "university", "institute", "company"],
    )
    each = pd.DataFrame(
        [
            (place, name.name, name.country, ordered and name == names[0], ordered and name == names[-1])
            for place, (_, _, names, _, _, ordered) in enumerate(rows)
            for name in names
        ],
        columns=["paper", "university", "country", "first", "last"],
    )
    return table.join(known), each


def _every_year(
    spec: PanelSpec, name: Entity = OLD
) -> list[tuple[str, int, tuple[Entity, ...], bool, bool, bool]]:
    return [
        (venue, year, (name,), False, False, True)
        for venue in spec.venues
        for year in spec.years
        if year in FILES[venue]
    ]


def _counts(
    *rows: tuple[str, int, tuple[Entity, ...], bool, bool, bool], spec: PanelSpec = CVPR
) -> pd.DataFrame:
    table, signed = _written(*rows)
    each = panels.signatures(table, signed)
    units = panels.baseline(each, spec)
    counted = panels.counts(each, panels.venue_years(table), units, spec)
    return counted.set_index(["university", "year"])


def test_the_population_is_who_published_up_to_the_baseline_year_and_zeros_stay() -> None:
    table, signed = _written(
        ("nips", 1990, (OLD,), False, False, True), ("cvpr", 2020, (NEW,), False, False, True)
    )
    units = panels.baseline(panels.signatures(table, signed), CVPR)
    assert units.to_dict("records") == [
        {"university": "Old University", "country": "US", "baseline_papers": 1, "baseline_venue_papers": 0,
         "first_paper_year": 1990}
    ]  # fmt: skip
    counted = _counts(*_every_year(CVPR, NEW), ("nips", 1990, (OLD,), False, False, True))
    assert counted.loc["Old University", "papers"].tolist() == [0] * len(CVPR.years)


def test_entrants_first_published_after_the_baseline_of_the_others() -> None:
    third = Entity("Third University", OLD.kind, "US")
    rows = [
        ("nips", 2013, (OLD,)),
        ("nips", 2014, (OLD, NEW)),
        ("cvpr", 2016, (NEW,)),
        ("cvpr", 2017, (third,)),
    ]
    table, signed = _written(*((*row, False, False, True) for row in rows))
    each = panels.signatures(table, signed)
    units = panels.baseline(each, panels.ENTRANTS)
    assert units[
        ["university", "baseline_papers", "baseline_venue_papers", "first_paper_year"]
    ].values.tolist() == [["New University", 2, 1, 2014]]
    assert panels.baseline(each, CVPR)["university"].tolist() == ["Old University"]


def test_the_years_that_paperlists_lacks_are_known_in_one_panel_only() -> None:
    for spec, missing in zip(panels.FILLED, ([], [2020]), strict=True):
        (venue,) = spec.venues
        assert [year for year in spec.years if not spec.observed(year, "learning")] == missing
        assert set(spec.years) - set(FILES[venue]) - set(missing) == set(panels.GAPS[venue])
        assert not any(year in panels.KNOWN[venue] for year in panels.GAPS[venue])


@pytest.mark.parametrize(("date", "year"), [("2017-08", 2018), ("2017-09", 2019), ("2018", 2020)])
def test_papers_of_iclr_answer_to_what_came_before_september_of_the_year_before(date: str, year: int) -> None:
    assert panels.FILLED[1].first_period(date) == year


def test_teams_and_topics_each_add_up_to_papers() -> None:
    counted = _counts(*_every_year(CVPR), ("cvpr", 2020, (OLD,), True, True, True))
    row = counted.loc[("Old University", 2020)]
    assert (row["papers"], row["papers_academic_only"], row["papers_with_industry"]) == (2, 1, 1)
    assert (row["papers_compute_heavy"], row["papers_other_topics"]) == (1, 1)


def test_a_paper_counts_fully_for_each_university_but_has_one_first_and_one_last_author() -> None:
    both = ("cvpr", 2020, (OLD, NEW), False, False, True)
    counted = _counts(*_every_year(CVPR), ("nips", 1990, (NEW,), False, False, True), both)
    old, new = counted.loc[("Old University", 2020)], counted.loc[("New University", 2020)]
    assert (old["papers"], new["papers"]) == (2, 1)
    assert (old["papers_first_author"], new["papers_first_author"]) == (2, 0)
    assert (old["papers_last_author"], new["papers_last_author"]) == (1, 1)
    assert new["share_of_venue"] == pytest.approx(1 / 2)


def test_counts_by_position_are_empty_where_affiliations_cannot_be_told_to_authors() -> None:
    counted = _counts(*_every_year(CVPR), ("cvpr", 2020, (OLD,), False, False, False))
    assert np.isnan(counted.loc[("Old University", 2020), "papers_first_author"])
    assert counted.loc[("Old University", 2019), "papers_first_author"] == 1
    assert counted.loc[("Old University", 2020), "papers"] == 2


def test_papers_without_affiliation_lower_the_coverage_of_their_year_alone() -> None:
    counted = _counts(*_every_year(CVPR), ("cvpr", 2020, (), False, False, False))
    assert counted.loc[("Old University", 2020), "coverage"] == 0.5
    assert counted.loc[("Old University", 2019), "coverage"] == 1
    assert counted.loc[("Old University", 2020), "venue_papers"] == 2


def test_a_year_without_the_venue_is_empty_and_not_zero() -> None:
    icml = next(spec for spec in PANELS if spec.name == "icml")
    counted = _counts(*_every_year(icml), spec=icml)
    assert counted.loc["Old University", "papers"].isna().tolist() == [
        year in (2020, 2021, 2022) for year in icml.years
    ]


SYSTEM = {"segment": "Academic", "system": "Cluster", "site": "S", "rank": 1, "accelerator": "", "rmax_tflops": 1.0,
          "rmax_share": 0.1, "top_fifth": False, "university": "Old University", "country": "US"}  # fmt: skip


def _hosted(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame([{**SYSTEM, **row} for row in rows])


def test_events_are_first_appearances_and_say_what_they_cannot_know() -> None:
    table = _hosted(
        {"list": "1993-06"},
        {"list": "2011-06", "accelerator": "NVIDIA 2050"},
        {"list": "2012-11", "university": "New University", "accelerator": "NVIDIA K20", "top_fifth": True},
        {"list": "2013-06", "university": "New University", "accelerator": "NVIDIA K40"},
        {"list": "2013-11", "university": "Third University"},
    )
    found = machines.first_systems(table).set_index(["university", "event"])[["date", "left_censored"]]
    assert found.loc[("Old University", "first_top500")].tolist() == ["1993-06", 1]
    assert found.loc[("Old University", "first_accelerator")].tolist() == ["2011-06", 1]
    assert found.loc[("New University", "first_accelerator")].tolist() == ["2012-11", 0]
    assert found.loc[("New University", "first_top_fifth")].tolist() == ["2012-11", 0]
    assert found.loc[("Old University", "left_top500")].tolist() == ["2012-11", 0]
    assert ("Third University", "left_top500") not in found.index
    assert len(found) == 8


UNITS = pd.DataFrame(
    {"university": ["New University", "Old University"], "country": ["GB", "US"], "baseline_papers": [1, 60],
     "baseline_venue_papers": [0, 2], "first_paper_year": [2013, 1990]}
)  # fmt: skip
EVENT = {"event": "first_top500", "left_censored": 0}


def test_a_left_censored_date_inside_the_window_stands_before_it_and_is_no_event() -> None:
    neurips = next(spec for spec in PANELS if spec.name == "neurips")
    events = pd.DataFrame(
        [
            {"university": "Old University", "country": "US", "date": "1993-06", **EVENT, "left_censored": 1},
            {"university": "New University", "country": "GB", "date": "1993-11", **EVENT},
        ]
    )
    found = panels.first_periods(events, neurips, ["first_top500"]).set_index("university")["first_top500"]
    assert found["Old University"] == neurips.years[0] - 1
    assert found["New University"] == 1994


def test_a_university_leaves_the_list_and_comes_back_with_the_lag_of_the_deadline() -> None:
    lists = pd.DataFrame(
        [
            {"university": "Old University", "country": "US", "list": month, "systems": 1, "rmax_share": 0.1}
            for month in ("2012-06", "2014-06")
        ]
    )
    months = ["2011-11", "2012-06", "2012-11", "2013-06", "2013-11", "2014-06"]
    found = panels.lists_by_year(lists.assign(listed=1, gpu_tflops=0.0), months, CVPR)
    assert found["year"].tolist() == [2013, *range(2015, 2025)]


def _attached(outcomes: pd.DataFrame, spec: PanelSpec, events: pd.DataFrame) -> pd.DataFrame:
    lists = pd.DataFrame(
        [
            {
                "university": "Old University",
                "country": "US",
                "list": "2012-06",
                "systems": 2,
                "rmax_share": 0.1,
                "listed": 1,
                "gpu_tflops": 50.0,
            }
        ]
    )
    spending = pd.DataFrame(
        [
            {
                "university": "Old University",
                "country": "US",
                "year": year,
                **dict.fromkeys(panels.SPENDING, 7),
                "cs": cs,
            }
            for year, cs in ((2010, 2), (2011, np.nan), (2012, 4), (2013, 9))
        ]
    )
    return panels.attach(
        outcomes, UNITS, spec, events=events, names=["first_top500"], lists=lists,
        months=["2012-06", "2023-11"], spending=spending,
        roles=UNITS[["university", "country"]].assign(nsf_role=["cluster", None]),
    )  # fmt: skip


def test_everything_known_is_joined_and_iccv_counts_in_editions() -> None:
    outcomes = (
        UNITS[["university", "country"]]
        .merge(pd.DataFrame({"year": ICCV.years}), how="cross")
        .assign(papers=0.0)
    )
    events = pd.DataFrame([{"university": "Old University", "country": "US", "date": "2013-06", **EVENT}])
    table = _attached(outcomes, ICCV, events).set_index(["university", "year"])
    row = table.loc[("Old University", 2013)]
    assert (row["first_top500"], row["edition"], row["listed"], row["systems"], row["herd_total"]) == (
        15,
        14,
        1,
        2,
        7,
    )
    assert (row["gpu_tflops"], row["log_gpu_tflops"]) == (50, pytest.approx(np.log(51)))
    assert (row["herd_cs"], row["herd_cs_before"]) == (9, 3)
    assert (row["tier"], row["region"], row["nsf_role"]) == ("50+ papers", "Americas", "none")
    other = table.loc[("New University", 2015)]
    assert (other["listed"], other["systems"], other["log_gpu_tflops"]) == (0, 0, 0)
    assert pd.isna(other["first_top500"])
    assert pd.isna(other["herd_total"])
    assert len(table) == 2 * len(ICCV.years)


def test_two_universities_of_one_name_are_distinguished_or_refused() -> None:
    twins = UNITS.assign(university="Los Andes")
    with pytest.raises(DataError, match="Los Andes is the name of universities of two countries"):
        panels.attach(
            pd.DataFrame(), twins, ICCV, events=pd.DataFrame(), names=[], lists=pd.DataFrame(),
            months=[], spending=pd.DataFrame(), roles=pd.DataFrame(),
        )  # fmt: skip


def test_before_the_first_list_nobody_is_known_to_be_off_it() -> None:
    outcomes = UNITS[["university", "country"]].merge(
        pd.DataFrame({"year": [2010, 2011, 2012, 2013]}), how="cross"
    )
    spec = PanelSpec("early", {"vision": ("cvpr",)}, (2010, 2011, 2012, 2013), 2013)
    table = _attached(
        outcomes.assign(papers=0.0), spec, pd.DataFrame(columns=["university", "country", "date", *EVENT])
    )
    assert table.set_index(["university", "year"])["listed"]["New University"].isna().tolist() == [
        True,
        True,
        True,
        False,
    ]


def test_teams_of_a_field_add_up_and_an_edition_without_its_papers_is_zero() -> None:
    table, _ = _written(
        ("nips", 2012, (OLD,), False, True, True),
        ("nips", 2012, (OLD,), True, True, True),
        ("nips", 2012, (), True, True, True),
        ("nips", 2013, (OLD,), False, False, True),
        ("nips", 2013, (), False, False, True),
    )
    years = panels.venue_years(table)
    growth = pd.DataFrame({"field": ["all"], "year": [2012], "growth": [0.5]})
    found = models.fields_panel(models.teams(table), years, growth, "topic").set_index(["field", "year"])
    row = found.loc[("NeurIPS, compute-heavy", 2012)]
    assert row[["papers", "academic_only", "collaborative", "industry_only", "other_teams"]].tolist() == [
        3,
        1,
        1,
        1,
        0,
    ]
    assert row["share_collaborative"] == pytest.approx(1 / 3)
    assert (row["gpu_shock"], row["compute_growth"]) == (2013, 0.5)
    later = found.loc[("NeurIPS, compute-heavy", 2013)]
    assert later["papers"] == 0
    assert np.isnan(later["share_academic_only"])
    assert np.isnan(found.loc[("NeurIPS, compute-heavy", 2014), "papers"])
    assert found.loc[("NeurIPS, other", 2013), "papers"] == 1
    assert pd.isna(found.loc[("NeurIPS, other", 2013), "gpu_shock"])
