from __future__ import annotations

import hashlib
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from drawings import drawn_as
from originals import RAW
from typer.testing import CliRunner

from study.commands.cli import app
from study.core.errors import DataError, QuestionError
from study.data.assemble import models as assembled
from study.data.audit import Share
from study.data.sources import epoch
from study.panel import shipped
from study.panel.files import TYPES
from study.paper.exhibits import facts as exhibited
from study.paper.exhibits.exhibit import Exhibited, Setting
from study.paper.exhibits.facts import (
    NOT_RECOMPUTED,
    PERIODS,
    PUBLISHED,
    UNITS,
    VENUES,
    Data,
    Years,
    all_tables,
    by_class,
    by_period,
    definition,
    difference,
    doubling_time,
    large_scale,
    load,
    load_models,
    peak,
    recomputed,
    releases,
    shares,
    topics,
)

needs_originals = pytest.mark.skipif(
    not (RAW / "epoch").is_dir(), reason="the originals of Epoch are not on this machine"
)
EARLY, LATE, YEAR = Years(2010, 2014), Years(2020, 2022), Years(2022, 2022)
Z = 1.959963984540054


@pytest.fixture(scope="module")
def data() -> Data:
    return load()


@pytest.fixture(scope="module")
def shown() -> Exhibited:
    with drawn_as("png"):
        return exhibited.facts(cast("Setting", SimpleNamespace()))


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what the command of the exhibit's numbers prints, without line breaks."""
    kept = str(tmp_path_factory.mktemp("kept"))
    with drawn_as("png"):
        done = CliRunner().invoke(app, [*exhibited.COMMAND.split()[1:], "--jobs", "1", "--cache", kept])
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


def models(*rows: tuple[str, str, float], **columns: Any) -> pd.DataFrame:
    """Return a table of models written by hand: date, sector, log10 compute."""
    table = pd.DataFrame(rows, columns=["date", "sector", "log10_training_compute"])
    table = table.assign(vintage="2023-12", notable=True, seed_criteria=True, weights="")
    return table.assign(year=table["date"].str[:4].astype("Int64"), **columns)


def wilson(count: int, total: int) -> tuple[float, float]:
    """Return Wilson's interval as Wilson (1927) writes it."""
    share = count / total
    middle = (share + Z**2 / (2 * total)) / (1 + Z**2 / total)
    half = Z / (1 + Z**2 / total) * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    return middle - half, middle + half


# ---- what is known of the table of December 2023 ----


@pytest.mark.parametrize(
    ("threshold", "early", "late", "year"),
    [("known", (16, 24), (8, 84), (20, 30)), ("seed", (16, 24), (8, 82), (19, 29))],
)
def test_academia_alone_made_two_thirds_of_the_models_of_2010_to_2014_and_a_tenth_of_2020_to_2022(
    data: Data, threshold: str, early: tuple[int, int], late: tuple[int, int], year: tuple[int, int]
) -> None:
    used = large_scale(data.models["2023-12"], definition(threshold))
    found = [
        shares(used, EARLY)["academia"],
        shares(used, LATE)["academia"],
        shares(used, YEAR)["industry"],
    ]
    assert [(share.successes, share.total) for share in found] == [early, late, year]


def test_compute_of_models_of_the_seed_papers_criteria_doubled_in_five_and_three_quarters_months(
    data: Data,
) -> None:
    found = doubling_time(large_scale(data.models["2023-12"], definition("seed")), Years(2010, 2022))
    assert found.months == pytest.approx(5.75, abs=0.005)
    assert found.models == 227


def test_the_published_share_of_industry_is_met_in_2021_the_year_of_its_largest_share(
    shown: Exhibited,
) -> None:
    values = {traced.address: traced.value for traced in shown.numbers}
    at = "facts/industry_only_peak"
    assert [values[f"{at}/{name}"] for name in ("year", "count", "denominator")] == ["2021", "27", "33"]
    assert float(values[f"{at}/share"]) == pytest.approx(100 * PUBLISHED["industry_only"], abs=1)
    (table,) = (table for table in shown.tables if table.name == "facts")
    (line,) = (line for line in table.lines if "(2021)" in line.label)
    assert line.cells[4] == "27/33"


def test_the_largest_share_is_of_the_last_of_equal_years_and_years_without_models_have_none() -> None:
    years = models(
        *((f"20{k}-01-01", s, 17.0) for k, s in ((11, "industry"), (12, "academia"), (14, "industry")))
    )
    assert peak(years, "industry", 2010, 2015) == (Years(2014, 2014), Share(1, 1))
    assert peak(years, "industry", 2010, 2013) == (Years(2011, 2011), Share(1, 1))
    assert peak(years, "industry", 2015, 2016) == (Years(2015, 2016), Share(0, 0))


@needs_originals
@pytest.mark.parametrize(("vintage", "month"), [("december_2023", "2023-12"), ("current", "2025-11")])
def test_the_shipped_models_count_as_the_originals_do(data: Data, vintage: epoch.Vintage, month: str) -> None:
    original, ours = epoch.read(RAW / "epoch", vintage), data.models[month]
    assert len(ours) == len(original)
    assert ours["notable"].sum() == original["notable"].sum()
    assert ours["log10_training_compute"].notna().sum() == original["training_compute"].notna().sum()
    access = original["accessibility"].str.lower()
    released = access.str.startswith("open weights") | access.isin(
        ["fully open-source", "permissive license"]
    )
    assert ours["weights"].isin(["unrestricted", "restricted"]).sum() == released.sum()
    assert (ours["weights"] != "").sum() == (access != "").sum()
    sides = original["categories"].map(lambda kinds: {"academia", "industry"} & set(kinds))
    assert (ours["sector"] == "collaboration").sum() == (sides.map(len) == 2).sum()
    assert (ours["sector"] == "other").sum() == (sides.map(len) == 0).sum()


# ---- definitions ----


def test_a_government_beside_a_university_changes_nothing_and_a_company_makes_a_collaboration() -> None:
    assert assembled.sector(("academia", "government")) == "academia"
    assert assembled.sector(("industry", "research collective")) == "industry"
    assert assembled.sector(("academia", "industry", "government")) == "collaboration"
    assert assembled.sector(("government",)) == assembled.sector(()) == "other"


def test_models_of_other_makers_are_in_no_count_and_in_no_denominator() -> None:
    table = models(("2012-01-01", "academia", 17), ("2012", "other", 18), ("2013-02", "industry", 19))
    found = shares(table, EARLY)
    assert [(each.successes, each.total) for each in found.values()] == [(1, 2), (0, 2), (1, 2)]


def test_both_ends_of_a_window_are_in_it_and_models_without_a_date_in_none() -> None:
    dates = ("2009-12-31", "2010-01-01", "2014-12-31", "2015-01-01")
    table = models(*((date, "academia", 17.0) for date in dates))
    table = pd.concat([table, table.head(1).assign(date="", year=pd.NA)], ignore_index=True)
    assert shares(table, EARLY)["academia"].total == 2
    assert len(large_scale(table, definition("all"))) == 4


def test_large_scale_models_have_known_compute_and_meet_the_criteria() -> None:
    table = models(*(("2012-01-01", "academia", value) for value in (17.0, math.nan, 19.0, 20.0)))
    table["seed_criteria"] = [True, True, False, False]
    table["notable"] = [True, True, True, False]
    sizes = {name: len(large_scale(table, definition(name))) for name in ("seed", "known", "all")}
    assert sizes == {"seed": 1, "known": 2, "all": 3}


def test_the_largest_models_are_those_of_their_own_year() -> None:
    early = [("2012-01-01", "academia", float(k)) for k in range(11, 21)]
    late = [("2020-01-01", "industry", float(k)) for k in range(31, 41)]
    kept = large_scale(models(*early, *late), definition("top20"))
    assert sorted(kept["log10_training_compute"]) == [19, 20, 39, 40]


def test_an_absolute_threshold_keeps_the_models_that_reach_it() -> None:
    table = models(*(("2020-01-01", "academia", value) for value in (20.9, 21.0, 22.5)))
    assert list(large_scale(table, definition("1e21"))["log10_training_compute"]) == [21.0, 22.5]


@pytest.mark.parametrize("text", ["", "top0", "top100", "top", "1e", "1e+21", "-1", "Seed", "1e 21"])
def test_an_unknown_threshold_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(QuestionError, match="facts: there is no threshold") as caught:
        definition(text)
    assert "\n" not in str(caught.value)


def test_thirds_are_of_the_models_of_one_year_and_add_up_to_all() -> None:
    early = [("2012-01-01", "academia", value) for value in (1.0, 2.0, 3.0)]
    late = [("2013-01-01", "industry", value) for value in (11.0, 12.0, 13.0, 14.0, 15.0, 16.0)]
    found = by_class(models(*early, *late), EARLY)
    assert [(each["academia"].successes, each["industry"].successes) for each in found.values()] == [
        (1, 2)
    ] * 3


def test_compute_that_doubles_every_half_year_has_a_doubling_time_of_six_months() -> None:
    """On exact data the slope is exact; the dates are first days of months, of unlike length."""
    dates = pd.date_range("2010-01-01", periods=40, freq="MS")
    days = (dates - dates[0]).days.to_numpy()
    compute = 15 + math.log10(2) * days / (365.25 / 2)
    table = models(*zip(dates.strftime("%Y-%m-%d"), ["other"] * 40, compute, strict=True))
    found = doubling_time(table, Years(2010, 2013))
    assert found.months == pytest.approx(6, rel=1e-9)
    assert found.std_error == pytest.approx(0, abs=1e-9)
    assert found.models == 40


def test_the_doubling_times_error_is_that_of_white_by_formula(data: Data) -> None:
    used = large_scale(data.models["2025-11"], definition("known"))
    used = used[used["year"].between(2010, 2022)]
    months = (pd.to_datetime(used["date"]) - pd.Timestamp("2010-01-01")).dt.days.to_numpy() / (365.25 / 12)
    log2 = used["log10_training_compute"].to_numpy() / math.log10(2)
    x, y = months - months.mean(), log2 - log2.mean()
    slope = (x @ y) / (x @ x)
    error = math.sqrt(((x * (y - slope * x)) ** 2).sum() / (x @ x) ** 2 * len(x) / (len(x) - 2))
    found = doubling_time(used, Years(2010, 2022))
    assert found.months == pytest.approx(1 / slope)
    assert found.std_error == pytest.approx(error / slope**2)
    assert found.low < found.months < found.high


def test_few_models_or_falling_compute_have_no_doubling_time() -> None:
    dates = [f"20{k}-01-01" for k in range(10, 25)]
    falling = models(*((date, "academia", 30.0 - k + 0.1 * (k % 2)) for k, date in enumerate(dates)))
    assert math.isnan(doubling_time(falling, Years(2010, 2024)).months)
    rising = models(*((date, "academia", 10.0 + k) for k, date in enumerate(dates[:9])))
    assert math.isnan(doubling_time(rising, Years(2010, 2024)).months)


def test_rates_of_release_are_of_models_of_which_access_is_known() -> None:
    kinds = ["unrestricted", "restricted", "hosted", "unreleased", "", ""]
    table = models(*[("2021-05-05", "academia", math.nan)] * 6, weights=kinds)
    found = releases(table, LATE)["academia"]
    assert (found.open.successes, found.open.total, found.models) == (2, 4, 6)
    assert (found.unrestricted, found.hosted, found.unreleased) == (1, 1, 1)


def test_a_word_about_weights_that_is_not_known_is_refused_with_its_model() -> None:
    table = pd.DataFrame({"model": ["A", "B"], "accessibility": ["API access", "On paper"]})
    with pytest.raises(DataError, match='model "B" has accessibility "On paper"'):
        assembled.fact_models([table])


def test_topics_pool_the_known_years_of_a_period() -> None:
    rows = [
        ("cvpr", "compute_heavy", 2019, 10, 4),
        ("cvpr", "compute_heavy", 2020, 30, 6),
        ("cvpr", "compute_heavy", 2021, math.nan, math.nan),
        ("cvpr", "other", 2020, 20, 15),
        ("icml", "other", 2020, 99, 99),
    ]
    fields = pd.DataFrame(rows, columns=["venue", "topic", "year", "papers", "academic_only"])
    found = topics(fields, "cvpr", Years(2019, 2021))
    assert (found.heavy.successes, found.heavy.total) == (10, 40)
    assert (found.other.successes, found.other.total) == (15, 20)
    assert found.difference.value == pytest.approx(-0.5)
    assert found.seen == "2019-2020"


@pytest.mark.parametrize(
    ("text", "right"),
    [("2023-12-20", True), ("2023-12", True), ("2023", True), ("2023-13-01", False), ("20 Dec 2023", False)],
)
def test_a_day_in_a_column_is_written_from_the_year_down(text: str, right: bool) -> None:
    allowed = TYPES["day"].label
    assert allowed is not None
    assert allowed(text) == right


def test_growth_of_collaboration_is_the_last_periods_share_less_the_first_ones(data: Data) -> None:
    fields = data.fields[data.fields["venue"].eq("nips") & data.fields["papers"].notna()]
    seen = fields.set_index("year").sort_index()
    early, late = seen.loc[2010:2014], seen.loc[2020:2024]
    growth = late["collaborative"].sum() / late["papers"].sum()
    growth -= early["collaborative"].sum() / early["papers"].sum()
    (fact,) = (each for each in recomputed(data) if each.name == "collaboration_nips")
    assert fact.value == pytest.approx(growth)
    assert fact.counts[1] == late["papers"].sum()


# ---- intervals ----


def test_intervals_of_shares_are_wilsons_by_formula(data: Data) -> None:
    told = [fact for fact in recomputed(data) if fact.unit == "share"]
    assert len(told) == 9
    for fact in told:
        assert fact.interval == pytest.approx(wilson(*fact.counts))


def test_intervals_of_differences_are_newcombes_by_formula(data: Data) -> None:
    for periods in by_period(data.fields, [LATE]).values():
        for each in periods:
            first, second = each.heavy, each.other
            a, b = wilson(first.successes, first.total), wilson(second.successes, second.total)
            less = first.value - second.value
            low = less - math.hypot(first.value - a[0], b[1] - second.value)
            high = less + math.hypot(a[1] - first.value, second.value - b[0])
            assert difference(first, second).interval == pytest.approx((low, high))


# ---- the facts and their page ----


def test_every_share_comes_with_its_count_and_denominator(data: Data) -> None:
    for vintage in data.models:
        for fact in recomputed(data, vintage):
            (count, denominator), (low, high) = fact.counts, fact.interval
            if fact.unit == "share":
                assert fact.value == count / denominator
            assert 0 <= count <= denominator
            assert low <= fact.value <= high
            assert fact.definition
            assert fact.vintage


def test_every_published_value_says_where_it_was_read_and_is_recomputed(data: Data) -> None:
    told = {fact.name: fact for fact in recomputed(data)}
    assert set(PUBLISHED) <= set(told)
    for name, fact in told.items():
        assert math.isnan(fact.published) == (name not in PUBLISHED)
    assert "2401.02452" in exhibited.SUMMARY
    for _, _, reason, source in NOT_RECOMPUTED:
        assert reason.endswith(".")
        assert "2401.02452" in source


def test_the_other_reading_of_the_criteria_stands_beside_each_share_of_models(data: Data) -> None:
    told = {fact.name: fact.beside for fact in recomputed(data)}
    assert told["academic_only_late"] == "8/84"
    other = {fact.name: fact.beside for fact in recomputed(data, chosen=definition("known"))}
    assert other["academic_only_late"] == "8/82"


def test_a_threshold_on_compute_gives_no_doubling_time_and_says_why(data: Data) -> None:
    told = {fact.name: fact for fact in recomputed(data, chosen=definition("1e23"))}
    assert math.isnan(told["doubling_time"].value)
    assert "below the threshold" in told["doubling_time"].note
    assert told["academic_only_early"].counts[1] == 0
    assert math.isnan(told["academic_only_early"].interval[0])


def test_the_command_prints_every_fact_and_what_cannot_be_recomputed(data: Data, printed: str) -> None:
    for fact in recomputed(data):
        assert fact.sentence in printed
    for claim, _, reason, _ in NOT_RECOMPUTED:
        assert claim in printed
        assert reason in printed
    assert "9.8% (95% 5.0 to 18.1). Counted: 8 of 82. Published: 10.0%." in printed


def test_a_missing_table_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="study data assemble"):
        load_models(tmp_path / "models.csv")


# ---- the exhibit ----


def test_numbers_of_the_exhibit_have_one_address_and_are_traced_to_the_files_that_ship(
    shown: Exhibited,
) -> None:
    numbers = {traced.address: traced for traced in shown.numbers}
    assert len(numbers) == len(shown.numbers)
    assert all(address.startswith("facts/") for address in numbers)
    assert numbers["facts/academic_only_late/share"].value == "9.8"
    assert numbers["facts/academic_only_late/published"].value == "10.0"
    assert numbers["facts/2023_12/known/academic_only_late/count"].value == "8"
    for traced in numbers.values():
        content = shipped(*traced.source.data.split("/")).read_bytes()
        assert traced.source.checksum == hashlib.sha256(content).hexdigest()[:16]
        assert traced.source.command == "study run --only facts"
        assert "nan" not in traced.value
        assert "inf" not in traced.value


def test_every_value_among_the_numbers_has_its_count_denominator_and_interval(shown: Exhibited) -> None:
    addresses = {traced.address for traced in shown.numbers}
    for address in addresses:
        row, _, column = address.rpartition("/")
        if column in UNITS:
            parts = ("count", "denominator", "conf_low", "conf_high")
            assert {f"{row}/{part}" for part in parts} <= addresses


def test_the_command_of_a_number_prints_the_number(shown: Exhibited, printed: str) -> None:
    numbers = {traced.address: traced.value for traced in shown.numbers}
    for row in ("academic_only_early", "2025_11/seed/industry_only", "2025_11/top10/industry_only"):
        share, count, of = (numbers[f"facts/{row}/{part}"] for part in ("share", "count", "denominator"))
        assert re.search(
            rf"\b{share} +{count}/{of}\b|\b{share}% .{{,30}}Counted: {count} of {of}\.", printed
        ), row


def test_tables_and_figure_have_the_names_that_the_paper_uses(shown: Exhibited) -> None:
    assert {"facts", "facts_vintage", "facts_fields", "facts_weights"} <= {
        table.name for table in shown.tables
    }
    assert [figure.name for figure in shown.figures] == ["facts_shares"]
    assert shown.sentences[0].startswith("Of 4 published values")
    assert "none of them says why" in shown.sentences[0]


def test_every_definition_and_vintage_is_a_line_of_the_table_that_shows_how_facts_move(data: Data) -> None:
    table = exhibited.vintage_table(data)
    labels = [line.label for line in table.lines]
    for text in exhibited.THRESHOLDS:
        assert labels.count(definition(text).label) == len(data.models)


def test_topics_have_each_period_and_each_known_year_once(data: Data) -> None:
    table = exhibited.topics_table(data)
    for block, venue in zip(table.blocks, VENUES, strict=True):
        known = data.fields[data.fields["venue"].eq(venue) & data.fields["papers"].notna()]
        labels = [line.label for line in block.lines]
        years = {str(year) for year in known["year"] if year >= PERIODS[0].first}
        assert len(labels) == len(set(labels))
        assert {label for label in labels if "-" not in label and "," not in label} == years


def test_the_last_year_of_a_vintage_is_not_full_and_no_peak(data: Data) -> None:
    rows = data.models["2023-12"]
    last = rows["year"].max()
    by_industry = rows[~(rows["year"].eq(last) & rows["sector"].ne("industry"))]
    shown = shares(large_scale(by_industry, definition("seed")), Years(last, last))
    assert shown["industry"].value == 1
    (before, after) = (
        next(fact for fact in recomputed(replace(data, models=models)) if fact.name == "industry_only_peak")
        for models in (data.models, data.models | {"2023-12": by_industry})
    )
    assert before.values["year"] == after.values["year"] < last


def test_makers_of_the_bars_are_named_in_the_order_of_their_counts(data: Data) -> None:
    used = large_scale(data.models["2023-12"], definition("seed"))
    top = next(fact for fact in recomputed(data) if fact.name == "industry_only_peak")
    legend = exhibited.shares_figure(used, top).axes[1].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        "Academia only",
        "With industry",
        "Industry only",
    ]


def test_the_tables_are_the_same_bytes_twice(shown: Exhibited) -> None:
    again = all_tables(load(), "2023-12", definition("seed"))
    assert [table.latex() for table in again] == [table.latex() for table in shown.tables]
