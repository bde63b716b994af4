"""The schema of panels: every violation with its row, the columns that ship, and files that are no panel."""

from __future__ import annotations

import bz2
import gzip
import lzma
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study import DataError, Panel, load_panel
from study.data.assemble.build import codebook, heading
from study.panel import files, panel, panel_entries
from study.panel.files import (
    Catalogue,
    broken_rows,
    column_rules,
    describe,
    read_as_panel,
    read_catalogue,
    verdict,
    violations,
)
from study.panel.profile import Profile
from study.panel.rows import Rows
from study.panel.rules import Roles, panel_rules
from study.panel.tables import read_table

DATA = Path(__file__).parents[2] / "data"
PANELS = panel_entries()

ROLES: dict[str, Any] = {
    "unit": "unit",
    "time": "year",
    "first_treated": "event",
    "treatment": "grant",
    "outcomes": "papers",
    "covariates": "staff",
    "attributes": "country",
}


def table() -> pd.DataFrame:
    """Return two units in three years without a fault."""
    return pd.DataFrame(
        {
            "unit": ["ETH", "ETH", "ETH", "MIT", "MIT", "MIT"],
            "year": ["2014", "2015", "2016"] * 2,
            "event": ["2016", "2016", "2016", "", "", ""],
            "grant": ["0", "0", "1", "0", "0", "0"],
            "papers": ["1", "2", "3", "4", "", "6"],
            "staff": ["10", "10", "11", "20", "21", "22"],
            "country": ["CH", "CH", "CH", "US", "US", "US"],
        }
    )


def with_cells(*cells: tuple[int, str, Any]) -> pd.DataFrame:
    data = table().astype(object)
    for row, column, value in cells:
        data.loc[row, column] = value
    return data


def found(data: pd.DataFrame, **options: Any) -> list[tuple[str, int]]:
    """Return the column and the row of each violation."""
    listed = violations(data, Roles.of(**(ROLES | options)))
    return list(zip(listed["column"], listed["line"], strict=True))


def test_a_table_without_a_fault_has_no_violation() -> None:
    roles = Roles.of(**ROLES)
    assert violations(table(), roles).empty
    assert describe(violations(table(), roles)) == "No rule is broken."


FAULTS: dict[str, tuple[tuple[tuple[int, str, Any], ...], list[tuple[str, int]]]] = {
    "period of text": (((1, "year", "x"),), [("year", 2)]),
    "half a period": (((1, "year", "2015.5"),), [("year", 2)]),
    "empty period": (((1, "year", ""),), [("year", 2)]),
    "unit of spaces": (((3, "unit", "  "),), [("unit", 4)]),
    "unit that is not there": (((3, "unit", None),), [("unit", 4)]),
    "unit-period twice": (((1, "year", "2014"),), [("unit", 1), ("unit", 2)]),
    "gap": (((2, "year", "2018"), (5, "year", "2018")), [("year", 3)]),
    "treatment of two": (((4, "grant", "2"),), [("grant", 5)]),
    "treatment of text": (((4, "grant", "yes"),), [("grant", 5)]),
    "event of text": (
        ((0, "event", "never"), (1, "event", ""), (2, "event", "")),
        [("event", 1)],
    ),
    "event in three centuries": (
        ((0, "event", "2316"), (1, "event", "2316"), (2, "event", "2316")),
        [("event", 1), ("event", 2), ("event", 3)],
    ),
    "event that changes": (((2, "event", "2015"),), [("event", 3)]),
    "event that is lost": (((1, "event", ""),), [("event", 2)]),
    "outcome of text": (((0, "papers", "1,000"), (5, "papers", "many")), [("papers", 1), ("papers", 6)]),
    "endless covariate": (((5, "staff", "inf"),), [("staff", 6)]),
    "label that changes": (((4, "country", "CA"),), [("country", 5)]),
    "label that is lost": (((4, "country", None),), [("country", 5)]),
    "label spelt in two ways": (
        ((3, "country", "ch"), (4, "country", "ch"), (5, "country", "ch")),
        [("country", 1), ("country", 4)],
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_faulty_row_is_listed_and_no_other(fault: str) -> None:
    cells, expected = FAULTS[fault]
    assert found(with_cells(*cells)) == expected


def test_faults_of_several_kinds_are_listed_together_with_unit_period_and_value() -> None:
    data = with_cells((1, "papers", "many"), (3, "staff", "few"), (4, "country", "us"), (5, "grant", "5"))
    listed = violations(data, Roles.of(**ROLES), lines=read_lines(2))
    assert list(listed.columns) == ["column", "rule", "unit", "time", "line", "value"]
    assert listed.to_dict("list")["line"] == [7, 3, 5, 6, 5, 6]
    assert listed.iloc[1].to_dict() == {
        "column": "papers",
        "rule": "must be a number such as 1234.5, or empty",
        "unit": "ETH",
        "time": "2015",
        "line": 3,
        "value": "many",
    }


def test_a_covariate_of_labels_is_as_fit_as_a_panel_takes_it() -> None:
    roles: dict[str, Any] = {"covariates": ["staff", "country"], "attributes": ()}
    assert found(table(), **roles) == []
    assert [*Panel.from_long(table(), **(ROLES | roles)).attributes] == ["country"]
    assert found(with_cells((4, "country", "2")), **roles)[0] == ("country", 1)  # neither words nor numbers


def read_lines(first: int) -> Any:
    return pd.RangeIndex(first, first + 6).to_numpy()


def test_violations_read_as_sentences_grouped_by_rule() -> None:
    listed = violations(with_cells((1, "papers", "many"), (2, "papers", "x")), Roles.of(**ROLES))
    assert describe(listed) == (
        "papers must be a number such as 1234.5, or empty; 2 lines break this rule:\n"
        '  line 2 (ETH, 2015): "many"\n'
        '  line 3 (ETH, 2016): "x"'
    )
    one = violations(with_cells((0, "unit", "")), Roles.of(**ROLES))
    assert describe(one) == 'unit must not be empty; 1 line breaks this rule:\n  line 1 (2014): ""'


def test_of_many_rows_in_a_row_that_break_a_rule_the_ends_are_listed() -> None:
    tables = [table().assign(unit=table()["unit"] + f" {k}") for k in range(3)]
    data = pd.concat(tables, ignore_index=True)
    values = [2.0, *[f"n/a {k}" for k in range(12)], *[1.0] * (len(data) - 14), "few"]
    listed = describe(violations(data.assign(papers=values), Roles.of(**ROLES))).splitlines()
    assert listed[0] == "papers must be a number such as 1234.5, or empty; 13 lines break this rule:"
    assert [line.partition(" (")[0] for line in listed[1:]] == [
        "  line 2",
        "  and each line to",
        "  line 13",
        f"  line {len(data)}",
    ]
    assert [line.partition(": ")[2] for line in listed[1::2]] == ['"n/a 0"', '"n/a 11"']
    nine = describe(violations(data.assign(papers=[*["x"] * 9, *[1.0] * (len(data) - 9)]), Roles.of(**ROLES)))
    assert len(nine.splitlines()) == 10


def test_every_missing_column_is_listed_and_the_others_are_checked_all_the_same() -> None:
    data = with_cells((1, "papers", "many"))
    listed = violations(data, Roles.of(**(ROLES | {"covariates": ["staffs", "rooms"]})))
    assert list(listed["column"]) == ["staffs", "rooms", "papers"]
    assert describe(listed).startswith("staffs must be a column of the table.\nrooms must be")
    assert [column for column, _ in found(data.drop(columns="unit"))] == ["unit", "papers"]


def test_an_empty_table_and_two_columns_of_one_name_are_violations() -> None:
    assert found(table().iloc[:0])[0][0] == "the table"
    doubled = pd.concat([table(), table()[["papers"]]], axis=1)
    listed = violations(doubled, Roles.of(**ROLES))
    assert describe(listed) == "papers must be one column only."
    with pytest.raises(DataError, match="panel: 2 columns are called papers; name them apart"):
        Panel.from_long(doubled, **ROLES)


CELLS = st.tuples(
    st.integers(0, 5),
    st.sampled_from(list(table().columns)),
    st.sampled_from(
        ["", " ", None, "2014", "2015", "2016", "2017", "0", "1", "2.5", "inf", "x", "ETH", "ch"]
    ),
)


# The second word of the two messages that name no column, but the unit-period or the periods.
ABOUT = {"1": "unit", "2": "unit", "3": "unit", "periods": "year", "column": ""}


@settings(max_examples=150, deadline=None)
@given(st.lists(CELLS, max_size=3))
def test_a_panel_is_refused_if_and_only_if_a_required_rule_has_a_violation(cells: list[Any]) -> None:
    data, roles = with_cells(*cells), Roles.of(**ROLES)
    listed = violations(data, roles)
    advice = {(rule.column, rule.text) for rule in panel_rules(roles) if not rule.required}
    broken = [key for key in zip(listed["column"], listed["rule"], strict=True) if key not in advice]
    assert [column for column, _ in broken[:1]] == refused_column(data)


def refused_column(data: pd.DataFrame) -> list[str]:
    """Return the column for which a panel is refused, or nothing."""
    try:
        Panel.from_long(data, **ROLES)
    except DataError as error:
        said = str(error)
        return [next((name for name in data.columns if f"column {name} " in said), ABOUT[said.split()[1]])]
    return []


# ---- the columns that ship ----


def shipped_tables() -> list[str]:
    return sorted(str(path.relative_to(DATA).as_posix()) for path in DATA.rglob("*.csv*"))


shipped_catalogue = cache(read_catalogue)


def test_every_table_that_ships_is_in_shipped_catalogue_and_the_other_way_round() -> None:
    assert shipped_tables() == sorted(shipped_catalogue().tables)


def test_every_column_that_ships_is_in_shipped_catalogue_and_the_other_way_round() -> None:
    catalogue = shipped_catalogue()
    used = {catalogue.entry(name, column) for name in shipped_tables() for column in heading(DATA / name)}
    own = {
        (name, key): entry for name, each in catalogue.tables.items() for key, entry in each.columns.items()
    }
    everything = {("", key): entry for key, entry in catalogue.columns.items()} | own
    assert [key for key, entry in everything.items() if entry not in used] == []


@pytest.mark.parametrize("name", [name for name in shipped_tables() if not name.startswith("panels/")])
def test_a_table_that_ships_keeps_the_rules_of_its_columns(name: str) -> None:
    cells, lines = read_table(DATA / name)
    columns = list(cells.columns)
    listed = broken_rows(Rows(cells, lines), columns, column_rules(shipped_catalogue(), name, columns))
    assert describe(listed) == "No rule is broken."


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_that_ships_is_fit_by_the_schema_and_by_the_rules_of_its_columns_and_loads_with_its_sources(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = cache(read_table)
    for module in (files, panel):
        monkeypatch.setattr(module, "read_table", once)
    path = DATA / PANELS[name]["file"]
    text, fit = verdict(path)
    assert fit
    assert f"read as the shipped panel {name}" in text
    assert "this rule" not in text
    loaded = load_panel(name)
    assert once.cache_info().misses == 1
    assert dict(loaded.populations) == PANELS[name].get("populations", {})
    assert loaded.n_units > 1
    assert loaded.events
    assert "paperlists" in loaded.provenance
    years = once(path)[0]["year"].astype(int)
    assert f"{years.min()} to {years.max()}" in shipped_catalogue().rows(PANELS[name]["file"])


def test_the_codebook_is_the_one_that_shipped_catalogue_makes() -> None:
    made = codebook(DATA / "panels.toml", DATA / "columns.toml")
    assert made == (DATA / "codebook.md").read_text(encoding="utf-8")


def test_the_codebook_tells_meaning_type_unit_rules_and_source_and_the_role_in_each_panel(
    tmp_path: Path,
) -> None:
    own_panel(tmp_path)
    text = codebook(tmp_path / "panels.toml", tmp_path / "columns.toml")
    row = (
        "| `papers` | all papers | count | papers | a whole number, 0 or more; the sum of solo and joint "
        "| not held | the lists |"
    )
    assert row in text.splitlines()
    assert "Panel `own`. One row a school and year." in text
    assert "- outcome: `papers`" in text
    assert "- not read: `solo`, `joint`" in text
    assert "- `small`: `size<9`" in text
    assert "| `size` | its \\| of staff |" in text


def test_a_column_or_a_table_without_entry_is_refused_by_name(tmp_path: Path) -> None:
    own_panel(tmp_path)
    names = {"own.csv": ["school", "year", "rooms"]}
    with pytest.raises(DataError, match=r"column rooms of own.csv has no entry; say what it means"):
        codebook(tmp_path / "panels.toml", tmp_path / "columns.toml", names)
    (tmp_path / "own.csv").unlink()
    with pytest.raises(DataError, match=r"own\.csv: there is no such file, but the catalogue"):
        codebook(tmp_path / "panels.toml", tmp_path / "columns.toml")


COLUMNS_TOML = """
[columns.school]
meaning = "name"
type = "label"
source = "the lists"
[columns.year]
meaning = "year"
type = "year"
source = "the lists"
[columns.event]
meaning = "first machine"
type = "year"
empty = "never"
source = "the lists"
[columns.papers]
meaning = "all papers"
type = "count"
unit = "papers"
empty = "not held"
sums = [["solo", "joint"]]
source = "the lists"
[columns.solo]
meaning = "one author"
type = "count"
empty = "not held"
source = "the lists"
[columns.joint]
meaning = "several"
type = "count"
empty = "not held"
at_most = "papers"
source = "the lists"
[tables."own.csv"]
rows = "One row a school and year."
[tables."own.csv".columns.size]
meaning = "its | of staff"
type = "amount"
same_by = "unit"
source = "the school"
"""


def own_panel(folder: Path) -> None:
    """Write a catalogue with one panel, and the panel's heading."""
    (folder / "panels.toml").write_text(
        '[own]\nfile = "own.csv"\nunit = "school"\ntime = "year"\nfirst_treated = "event"\n'
        'outcomes = "papers"\ncovariates = "size"\npopulations = { small = "size<9" }\n',
        encoding="utf-8",
    )
    (folder / "columns.toml").write_text(COLUMNS_TOML, encoding="utf-8")
    (folder / "own.csv").write_text("school,year,event,papers,solo,joint,size\n", encoding="utf-8")


OWN_RULES: dict[str, tuple[str, str, list[str], list[str]]] = {
    "a count": ('type = "count"', "must be a whole number, 0 or more", ["0", "12"], ["-1", "1.5", "x"]),
    "a share": ('type = "share"', "must be a number from 0 to 1", ["0", "0.5", "1"], ["-0.1", "1.01"]),
    "an amount": ('type = "amount"', "must be a number, 0 or more", ["0", "0.5"], ["-0.1"]),
    "a flag": ('type = "flag"', "must be 0 or 1", ["0", "1"], ["2", "0.5"]),
    "a year": ('type = "year"', "must be a whole number", ["2014", "-3"], ["2014.5"]),
    "a country": ('type = "country"', "must be an ISO 3166 alpha-2 code", ["CH", "GB"], ["UK", "ch", "XX"]),
    "a month": ('type = "month"', "must be YYYY-MM", ["2014-06", "2014"], ["2014-13", "06/2014", "14"]),
    "an address": ('type = "address"', "must be a web address", ["https://a.org/b"], ["a.org", "see there"]),
    "labels": ('type = "label"\nvalues = ["a", "b"]', "must be one of a, b", ["a", "b"], ["c", "A"]),
    "no empty cell": ('type = "text"', "must not be empty", ["a"], ["", "  "]),
}


@pytest.mark.parametrize("case", OWN_RULES)
def test_the_type_of_a_column_is_a_rule(case: str, tmp_path: Path) -> None:
    declared, text, right, wrong = OWN_RULES[case]
    catalogue = written(tmp_path, f'[columns.c]\nmeaning = "m"\nsource = "s"\n{declared}\n')
    rules = catalogue.entry("any.csv", "c").rules("c", {})
    assert broken_rows(Rows(pd.DataFrame({"c": right})), ["c"], rules).empty
    listed = broken_rows(Rows(pd.DataFrame({"c": [*right, *wrong]})), ["c"], rules)
    assert sorted(set(listed["line"])) == [len(right) + 1 + row for row in range(len(wrong))]
    assert listed["rule"].str.startswith(text).any()


def test_sums_parts_and_constants_are_rules(tmp_path: Path) -> None:
    own_panel(tmp_path)
    catalogue = read_catalogue(tmp_path / "columns.toml")
    cells = pd.DataFrame(
        {
            "school": ["A", "A", "B", "B"],
            "papers": ["3", "3", "2", ""],
            "solo": ["1", "1", "2", "5"],
            "joint": ["2", "1", "3", ""],
            "size": ["8", "8", "7", "9"],
        }
    )
    rules = [
        rule
        for column in ("papers", "joint", "size")
        for rule in catalogue.entry("own.csv", column).rules(column, {"unit": "school"})
    ]
    listed = broken_rows(Rows(cells, unit="school"), list(cells.columns), rules)
    assert list(zip(listed["column"], listed["rule"], listed["line"], strict=True)) == [
        ("papers", "must be the sum of solo and joint", 2),
        ("papers", "must be the sum of solo and joint", 3),
        ("joint", "must be no more than papers", 3),
        ("size", "must be the same in all rows of a unit", 4),
    ]


def written(folder: Path, text: str) -> Catalogue:
    (folder / "columns.toml").write_text(text, encoding="utf-8")
    return read_catalogue(folder / "columns.toml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[columns.c", "columns.toml: not valid TOML"),
        (
            '[columns.c]\nmeaning = "m"\ntype = "count"',
            "columns.toml, [columns.c]: the key 'source' is missing",
        ),
        (
            '[columns.c]\nmeaning = "m"\nsource = "s"\ntype = "counts"',
            'no type "counts". Did you mean "count"',
        ),
        ('[columns.c]\nmeanings = "m"', 'no key "meanings". Did you mean "meaning"'),
        (
            '[columns.c]\nmeaning = "m"\nsource = "s"\ntype = "count"\nsame_by = "row"',
            'columns.toml, [columns.c]: there is no same_by "row". Known: period, unit',
        ),
        ('[tables."a.csv"]\nlike = "b.csv"', "columns.toml, [tables.a.csv]: the key 'rows' is missing"),
        ('[tables."a.csv"]\nrows = "r"\nlike = "b.csv"', '[tables.a.csv]: there is no table "b.csv"'),
    ],
)
def test_a_damaged_catalogue_is_refused_with_the_place(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        written(tmp_path, text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_name_with_a_star_stands_for_columns_without_an_entry_of_their_own(tmp_path: Path) -> None:
    text = '[columns."first_*"]\nmeaning = "{}"\ntype = "year"\nsource = "s"\n'
    own = '[columns.first_paper]\nmeaning = "own"\ntype = "year"\nsource = "s"\n'
    catalogue = written(tmp_path, text.format("star") + own)
    assert catalogue.entry("a.csv", "first_machine").meaning == "star"
    assert catalogue.entry("a.csv", "first_paper").meaning == "own"
    assert catalogue.key("a.csv", "last_paper") is None


# ---- files ----


def save(path: Path, data: pd.DataFrame) -> Path:
    data.to_csv(path, index=False)
    return path


def test_a_good_file_is_fit_and_its_roles_are_told(tmp_path: Path) -> None:
    text, fit = verdict(save(tmp_path / "own.csv", table()), ROLES)
    assert fit
    assert text.splitlines()[:9] == [
        "own.csv: read as told.",
        "  unit: unit",
        "  year: period",
        "  event: event: first treated period",
        "  grant: event: 0/1 path",
        "  papers: outcome",
        "  staff: covariate",
        "  country: attribute",
        "The file is fit to use: 2 units, periods 2014 to 2016.",
    ]
    panel = Panel.from_long(table(), **ROLES, name="own.csv")
    assert text.endswith(f"\n\n{Profile(panel, ('staff',))}")


def test_a_bad_file_is_not_fit_and_all_its_lines_are_told(tmp_path: Path) -> None:
    path = save(tmp_path / "own.csv", with_cells((1, "papers", "many"), (4, "country", "UK")))
    text, fit = verdict(path, ROLES)
    assert not fit
    assert '  line 3 (ETH, 2015): "many"' in text
    assert '  line 6 (MIT, 2015): "UK"' in text
    assert text.endswith(
        "The file is not fit to use: 2 violations of 2 rules. Mend the rows above and validate it again."
    )
    reading = read_as_panel(path, ROLES)
    assert reading.panel is None
    assert list(reading.violations["line"]) == [3, 6]


def test_units_that_differ_only_in_case_or_spaces_are_told_and_are_no_obstacle(tmp_path: Path) -> None:
    data = with_cells(*((row, "unit", "e th") for row in (3, 4, 5)))
    text, fit = verdict(save(tmp_path / "own.csv", data), ROLES)
    assert fit
    assert "unit should not have labels that differ only in case or spaces; 2 lines break this rule" in text
    assert '  line 2 (ETH, 2014): "ETH"\n  line 5 (e th, 2014): "e th"' in text
    assert "The file is fit to use, if what is said above is as you mean it" in text


@pytest.mark.parametrize("mark", ["\u200b", "\ufeff", "\u00ad"])
def test_units_that_differ_in_a_mark_without_width_are_told(mark: str, tmp_path: Path) -> None:
    broken = read_as_panel(
        save(tmp_path / "own.csv", with_cells((3, "unit", f"E{mark}TH"))), ROLES
    ).violations
    assert list(broken["line"]) == [2, 5]


def test_units_whose_letters_are_composed_in_two_ways_are_told(tmp_path: Path) -> None:
    names = [name.replace("ETH", "Zu\u0308rich") for name in table()["unit"]]
    data = table().assign(
        unit=[name.replace("Zu\u0308", "Zü") if k else name for k, name in enumerate(names)]
    )
    assert (
        "unit should not have labels that differ only" in verdict(save(tmp_path / "own.csv", data), ROLES)[0]
    )


def test_roles_are_taken_from_names_that_are_certain_and_what_was_taken_is_told(tmp_path: Path) -> None:
    path = save(tmp_path / "own.csv", table().rename(columns={"event": "first_treated"}))
    text, fit = verdict(path, {"outcomes": "papers"})
    assert fit
    assert text.startswith(
        "own.csv: the names of the columns tell unit = unit, time = year, first_treated = first_treated.\n"
    )


def test_roles_that_are_not_certain_are_asked_for_in_one_line(tmp_path: Path) -> None:
    path = save(tmp_path / "own.csv", table())
    with pytest.raises(DataError) as error:
        read_as_panel(path)
    assert str(error.value) == (
        "own.csv: which columns are for what is not certain; say it with --outcome, --first-treated (or "
        "--treatment for a 0/1 path). The columns are unit, year, event, grant, papers, staff, country."
    )
    with pytest.raises(DataError, match=r'own\.csv: there is no role "outcome"\. Did you mean "outcomes"\?'):
        read_as_panel(path, {"outcome": "papers"})


def test_a_shipped_file_is_read_with_the_rules_of_its_columns_wherever_it_lies(tmp_path: Path) -> None:
    cells, _ = read_table(DATA / PANELS["cvpr"]["file"])
    cells.loc[7, "papers_with_industry"] = "999"
    cells["remark"] = "mine"
    reading = read_as_panel(save(tmp_path / "cvpr.csv", cells))
    assert reading.panel is None
    listed = reading.violations
    sums = listed[listed["rule"] == "must be the sum of papers_academic_only and papers_with_industry"]
    assert list(sums["line"]) == [9]


def test_a_column_that_is_missing_is_told_with_those_there_are(tmp_path: Path) -> None:
    text, fit = verdict(save(tmp_path / "own.csv", table()), ROLES | {"outcomes": "paper"})
    assert not fit
    assert "paper must be a column of the table." in text
    assert "The columns of the file are unit, year, event, grant, papers, staff, country." in text


def test_a_wide_table_is_told_to_be_made_long(tmp_path: Path) -> None:
    wide = pd.DataFrame({"unit": ["A"], "2014": [1], "2015": [2], "2016": [3], "event": [2015]})
    path = save(tmp_path / "own.csv", wide)
    hint = "The columns 2014, 2015, 2016, ... look like periods: make the table long"
    with pytest.raises(DataError, match=hint):
        read_as_panel(path)
    with pytest.raises(DataError, match=hint):
        Panel.from_long(path, unit="unit", time="year", first_treated="event", outcomes="papers")


BYTES: dict[str, tuple[bytes, str]] = {
    "an Excel workbook": (b"PK\x03\x04\x14\x00", "it is an Excel workbook or another zip archive"),
    "an old Excel workbook": (b"\xd0\xcf\x11\xe0\xa1\xb1", "it is an Excel workbook"),
    "a web page": (b"\n<!DOCTYPE html><html>", "it is a web page or XML"),
    "a Parquet file": (b"PAR1\x15\x04", "it is a Parquet file"),
    "JSON": (b'[{"unit": "A"}]', "it is JSON"),
    "UTF-16": ("unit,year\n".encode("utf-16"), "it is text in UTF-16"),
    "Latin-1": (b"unit,year\nZ\xfcrich,2014\n", "byte 11 on line 2 is not UTF-8"),
    "a zero byte": (b"unit,year\nA,2014\nB,20\x0014\n", "byte 21 on line 3 is zero, which no text has"),
    "bzip2": (bz2.compress(b"unit,year\n"), "it is a bzip2 archive"),
    "xz": (lzma.compress(b"unit,year\n"), "it is an xz archive"),
    "Zstandard": (b"\x28\xb5\x2f\xfd\x04\x00", "it is a Zstandard archive"),
    "SPSS, compressed": (b"$FL3@(#) SPSS\xff", "it is an SPSS file"),
    "SAS": (b"\0" * 12 + b"\xc2\xea\x81\x60\xb3", "it is a SAS file"),
    "SAS transport": (b"HEADER RECORD*******LIBRARY HEADER RECORD!!!", "it is a SAS transport file"),
    "nothing": (b"", "it is empty"),
    "blank lines": (b"\n \n\n", "it is empty"),
    "semicolons": (b"unit;year\nA;2014\n", "its fields are separated by semicolons, not by commas"),
    "tabs": (b"unit\tyear\nA\t2014\n", "its fields are separated by tabs, not by commas"),
    "a quote that does not end": (b'unit,year\n"A,2014\nB,2014\n', "line 2 has 1 fields, the heading has 2"),
    "a file cut off": (b"unit,year,papers\nA,2014,1\nA,20", "line 3 has 2 fields, the heading has 3"),
    "commas without quotes": (
        b"unit,year\nA\nUni, of B,1\n",
        "line 2 has 1 fields, the heading has 2 (and 1 more",
    ),
    "one name twice": (b"unit,year,year\nA,2014,1\n", 'the heading has "year" more than once'),
    "a damaged archive": (gzip.compress(b"unit,year\nA,2014\n")[:-9], "the gzip archive is damaged"),
}


@pytest.mark.parametrize("case", BYTES)
def test_a_file_that_is_no_csv_table_is_named_for_what_it_is(case: str, tmp_path: Path) -> None:
    content, said = BYTES[case]
    path = tmp_path / "own.csv"
    path.write_bytes(content)
    for read in (read_as_panel, lambda file: Panel.from_long(file, **ROLES)):
        with pytest.raises(DataError) as error:
            read(path)
        assert str(error.value).startswith(str(path))
        assert said in str(error.value)
        assert "\n" not in str(error.value)


def test_lines_are_those_of_the_file_whatever_stands_between_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    text = '\ufeffunit,year,papers\n\nA,2014,1\n"B\nof C",2014,0\n\nD,2014,x\n'
    path.write_bytes(text.replace("\n", "\r\n").encode())
    cells, lines = read_table(path)
    assert list(lines) == [3, 4, 7]
    assert list(cells["unit"]) == ["A", "B\r\nof C", "D"]
    with pytest.raises(DataError, match='column papers holds "x" on line 7'):
        Panel.from_long(path, unit="unit", time="year", treatment="papers", outcomes="papers")


@pytest.mark.parametrize("nothing", ["", " ", '""', '" "', ",,", ' ,"",', "\xa0", "\x0c", "\u3000"])
def test_lines_with_nothing_in_them_are_passed_over_wherever_they_stand(nothing: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    start = "" if "," in nothing else nothing  # a heading has a name at least
    path.write_text(
        f"{start}\nunit,year,papers\nA,2014,1\n{nothing}\nB,2014,x\n{nothing}\n", encoding="utf-8"
    )
    cells, lines = read_table(path)
    assert list(lines) == [3, 5]
    assert cells.to_numpy().tolist() == [["A", "2014", "1"], ["B", "2014", "x"]]
    with pytest.raises(DataError, match='column papers holds "x" on line 5'):
        Panel.from_long(path, unit="unit", time="year", treatment="papers", outcomes="papers")


def test_a_gzip_file_is_read_like_a_plain_one(tmp_path: Path) -> None:
    save(tmp_path / "own.csv", table())
    (tmp_path / "own.csv.gz").write_bytes(gzip.compress((tmp_path / "own.csv").read_bytes()))
    plain, packed = (Panel.from_long(tmp_path / name, **ROLES) for name in ("own.csv", "own.csv.gz"))
    assert plain.checksum == packed.checksum


def test_validation_lists_the_units_without_a_certain_adoption_date_with_the_interval(tmp_path: Path) -> None:
    data = table().drop(columns="event")
    data.loc[1, "grant"] = ""
    data.to_csv(tmp_path / "own.csv", index=False)
    roles = {role: column for role, column in ROLES.items() if role != "first_treated"}
    text, fit = verdict(tmp_path / "own.csv", roles)
    assert fit
    assert "Treatment has no certain adoption date: ETH (between 2015 and 2016)." in text
    assert "Such units are left out, unless ambiguous is earliest or latest." in text
    dated, _ = verdict(tmp_path / "own.csv", roles, ambiguous="latest")
    assert "Such units have the latest possible date." in dated
