from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from study.core.errors import DataError
from study.data.assemble import machines, programmes
from study.data.audits import readings_agree
from study.data.institutions import Matcher, load
from study.data.institutions.gazetteer import key
from study.data.institutions.match import match_sites
from study.panel import shipped

SHIPPED = machines.read(shipped("data", "machines.csv"))
PRICES = machines.read_prices(shipped("data", "gpu_prices.csv"))


def line(**values: str) -> str:
    row = {
        "machine": "top500:2015-06:9", "source": "top500", "university": "A University", "country": "US",
        "device": "gpu", "owner": "own", "partners": "", "evidence": "K80 named", "device_1": "gpu", "owner_1": "own",
        "device_2": "gpu", "owner_2": "own", "listed_as": "",
    }  # fmt: skip
    return ",".join((row | values).values())


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join((",".join(machines.COLUMNS), *lines)) + "\n", encoding="utf-8")
    return path


def matcher(names: pd.DataFrame) -> Matcher:
    """Return a matcher that knows the universities of a table of machines by these very names."""
    pairs = {
        (name, row["country"])
        for row in names.to_dict("records")
        for name in _members(row)
        if key(name) and name.isascii()
    }
    world = pd.DataFrame(sorted(pairs), columns=["name", "iso2"]).assign(
        country="", domains=[()] * len(pairs)
    )
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))


def _members(row: dict[str, str]) -> dict[str, str]:
    """Return who holds a machine, with the date from which on the table says so (empty: as the machine)."""
    listed = [name.strip() for name in f"{row['university']};{row['partners']}".split(";") if name.strip()]
    return {name.split(" (2")[0]: f"2{name[:-1].split(' (2')[1]}" if " (2" in name else "" for name in listed}


def began(**dates: str) -> pd.DataFrame:
    """Return when machines began: dates by the names of machines."""
    rows = [(machine, date, 0, machine, 298_000.0) for machine, date in dates.items()]
    return pd.DataFrame(rows, columns=["machine", "date", "left_censored", "detail", "amount"])


MACHINES = [
    line(),
    line(machine="top500:2013-06:1", owner="national"),
    line(machine="top500:2014-06:2", owner="shared", university="B University",
         partners="C University;D University (2016-03)"),
    line(machine="top500:2014-11:5", university="D University", device="other", owner="field"),
    line(machine="nsf:1700001", source="nsf", owner="shared", university="A University", partners="E University"),
    line(machine="nsf:1500001", source="nsf", university="B University", listed_as="top500:2014-06:2"),
    line(machine="nsf:0700001", source="nsf", university="F University"),
    line(machine="osg:E", source="osg", university="E University", device="none"),
]  # fmt: skip
DATES = {
    "top500:2015-06:9": "2015-06", "top500:2013-06:1": "2013-06", "top500:2014-06:2": "2014-06",
    "top500:2014-11:5": "2014-11", "nsf:1700001": "2017-11", "nsf:1500001": "2013-09",
    "nsf:0700001": "2007-09", "osg:E": "2012-01",
}  # fmt: skip


@pytest.fixture
def holders(tmp_path: Path) -> pd.DataFrame:
    table = machines.read(write(tmp_path / "machines.csv", *MACHINES))
    return machines.held(table, began(**DATES), matcher(table))


def test_partners_are_treated_at_their_dates_and_hosts_of_national_machines_are_not(
    holders: pd.DataFrame,
) -> None:
    found = machines.events(holders)
    assert {(row.event, row.university): (row.date, row.owner) for row in found.itertuples()} == {
        ("first_gpu_system", "A University"): ("2015-06", "own"),
        ("first_gpu_system", "B University"): ("2014-06", "shared"),
        ("first_gpu_system", "C University"): ("2014-06", "shared"),
        ("first_gpu_system", "D University"): ("2016-03", "shared"),
        ("first_own_gpu_system", "A University"): ("2015-06", "own"),
        ("first_other_accelerator", "D University"): ("2014-11", "field"),
        ("first_gpu_access", "A University"): ("2015-06", "own"),
        ("first_gpu_access", "B University"): ("2013-09", "own"),
        ("first_gpu_access", "C University"): ("2014-06", "shared"),
        ("first_gpu_access", "D University"): ("2016-03", "shared"),
        ("first_gpu_access", "E University"): ("2017-11", "shared"),
        ("first_gpu_access", "F University"): ("2007-09", "own"),
    }


def test_a_year_alone_counts_as_its_last_month(tmp_path: Path) -> None:
    rows = line(machine="programme:P", source="programme"), line(machine="nsf:1900001", source="nsf")
    table = machines.read(write(tmp_path / "machines.csv", *rows))
    dates = began(**{"programme:P": "2019", "nsf:1900001": "2019-10"})
    found = machines.events(machines.held(table, dates, matcher(table)))
    assert found["machine"].tolist() == ["nsf:1900001"]


def test_who_joins_in_a_year_is_not_treated_before_its_end(tmp_path: Path) -> None:
    partners = {"partners": "B University (2019);C University (2019-03)", "owner": "shared"}
    table = machines.read(write(tmp_path / "machines.csv", line(machine="programme:P", **partners)))
    for began_in, joined in (("2019-06", ["2019-06", "2019", "2019-06"]), ("2019", ["2019", "2019", "2019"])):
        found = machines.held(table, began(**{"programme:P": began_in}), matcher(table))
        assert found["date"].tolist() == joined


def test_a_shared_machine_counts_once_in_equal_parts_and_an_award_only_if_it_is_not_listed(
    holders: pd.DataFrame,
) -> None:
    on_lists = pd.DataFrame(
        [
            ("top500:2014-06:2", "2014-06", 300.0),
            ("top500:2014-06:2", "2016-06", 300.0),
            ("top500:2015-06:9", "2016-06", 40.0),
            ("top500:2013-06:1", "2016-06", 900.0),
        ],
        columns=["machine", "date", "rpeak_tflops"],
    )
    months = ["2009-06", "2014-06", "2016-06", "2017-06", "2017-11", "2022-06", "2022-11"]
    found = machines.capacity(holders, on_lists, PRICES, months).set_index(["university", "list"])
    # $298,000 of 2017 buy two servers of 62.4 teraflop/s at $149,000, one for each of the two that share them.
    assert found["gpu_tflops"].round(6).to_dict() == {
        ("A University", "2016-06"): 40.0,
        ("A University", "2017-11"): 62.4,
        ("A University", "2022-06"): 62.4,
        ("B University", "2014-06"): 100.0,
        ("B University", "2016-06"): 100.0,
        ("C University", "2014-06"): 100.0,
        ("C University", "2016-06"): 100.0,
        ("D University", "2016-06"): 100.0,
        ("E University", "2017-11"): 62.4,
        ("E University", "2022-06"): 62.4,
        # At the oldest price there is, half for the host: 298,000 / 2 / 7,995 x 0.345.
        ("F University", "2009-06"): 6.429644,
    }
    assert found.loc[("A University", "2017-11"), ["listed_gpu_tflops", "granted_gpu_tflops"]].tolist() == [
        0,
        62.4,
    ]


def test_the_site_and_not_the_segment_of_a_list_says_whose_a_system_is() -> None:
    columns = ["list", "rank", "site", "country", "segment", "system", "rmax_tflops"]
    systems = pd.DataFrame(
        [
            ("2010-06", 369, "IIT Kanpur", "IN", "Industry", "X", 1.0),
            ("2010-06", 370, "IT Provider", "IN", "Industry", "Y", 1.0),
        ],
        columns=columns,
    )
    sites = match_sites(systems, matcher(SHIPPED[:0]), {})
    found = machines.credited(systems, sites)
    assert found[["university", "rank"]].to_numpy().tolist() == [
        ["Indian Institute of Technology Kanpur", 369]
    ]


def test_machines_begin_when_their_sources_say() -> None:
    systems = pd.DataFrame(
        [
            ("2011-06", 3, "S", "US", "X"),
            ("2011-11", 9, "S", "US", "X"),
            ("2011-11", 12, "S", "US", "Y"),
        ],
        columns=["list", "rank", "site", "country", "system"],
    ).assign(rpeak_tflops=1.0)
    awards = pd.DataFrame(
        [("0700001", "2007-09-01", "", "First", 1), ("1200001", "2012-08-01", "", "Later", 2)],
        columns=["award_id", "effective", "reissue_of", "title", "amount"],
    )
    resources = pd.DataFrame(
        [("G", 1, "2020-03-01"), ("H", 2, ""), ("I", 0, "2019-01-01")],
        columns=["group", "ccstar_resources", "first_registered"],
    )
    families = programmes.families(shipped("data", "programmes.toml"))
    columns = ["programme", "institution", "role", "announced", "operational"]
    facebook = next(iter(families["facebook_gpu"].programmes))
    access = pd.DataFrame(
        [
            (facebook, "TU", "winner", "2016-02", ""),
            ("JADE", "Oxford", "winner", "2016-01", "2017-10"),
            ("JADE", "Leeds", "winner", "2016-01", ""),
            ("JADE", "Hull", "loser", "2016-01", "2017-10"),
        ],
        columns=columns,
    )
    found = machines.dated(machines.listed(systems), awards, resources, access, families)
    assert found.set_index("machine")[["date", "left_censored"]].apply(tuple, axis=1).to_dict() == {
        "top500:2011-06:3": ("2011-06", 1),
        "top500:2011-11:12": ("2011-11", 0),
        "nsf:0700001": ("2007-09", 1),
        "nsf:1200001": ("2012-08", 0),
        "osg:G": ("2020-03", 0),
        "osg:H": ("2020-03", 1),
        f"programme:{facebook}: TU": ("2016-02", 0),
        "programme:JADE: Oxford": ("2017-10", 0),
    }


def test_the_events_of_the_whole_table_are_those_of_a_plain_count_over_its_lines() -> None:
    # A made-up date for what carries none in its name; what is checked is who is treated when by whose machine.
    dates = {
        machine: machine[7:14] if machine.startswith("top500:") else f"20{10 + place % 14}-0{1 + place % 9}"
        for place, machine in enumerate(SHIPPED["machine"])
    }
    table = machines.events(machines.held(SHIPPED, began(**dates), matcher(SHIPPED)))
    expected: dict[tuple[str, str, str], str] = {}
    for row in SHIPPED.to_dict("records"):
        ours = row["owner"] in ("own", "shared") and row["device"] == "gpu"
        listed = row["source"] == "top500"
        kinds = {
            "first_gpu_access": ours,
            "first_gpu_system": ours and listed,
            "first_own_gpu_system": ours and listed and row["owner"] == "own",
            "first_other_accelerator": row["device"] == "other",
        }
        for name, joined in _members(row).items():
            for event in (event for event, holds in kinds.items() if holds):
                unit, date = (event, name, row["country"]), max(dates[row["machine"]], joined)
                expected[unit] = min(date, expected.get(unit, date))
    columns = ["event", "university", "country"]
    assert table.set_index(columns)["date"].to_dict() == expected
    assert len(table) > 300


def test_the_listed_twin_of_an_award_is_a_gpu_system_of_the_same_university() -> None:
    by_name = SHIPPED.set_index("machine")
    twins = SHIPPED[SHIPPED["listed_as"] != ""]
    assert len(twins) >= 9
    for row in twins.itertuples():
        twin = by_name.loc[row.listed_as]
        assert (twin["source"], twin["device"], twin["university"]) == ("top500", "gpu", row.university)


def test_agreement_and_kappa_of_readings() -> None:
    pairs = [("gpu", "gpu")] * 6 + [("none", "none")] * 2 + [("gpu", "none"), ("none", "gpu"), ("gpu", "")]
    table = pd.DataFrame(pairs, columns=["device_1", "device_2"])
    share, kappa = readings_agree(table, "device")
    assert (share.successes, share.total) == (8, 10)
    # Chance alone: 0.7 x 0.7 + 0.3 x 0.3 = 0.58.
    assert kappa == pytest.approx((0.8 - 0.58) / 0.42)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ((line(), line()), r"machines\.csv, line 3: top500:2015-06:9 is also on line 2; keep one"),
        ((line(device="tpu"),), r'machines\.csv, line 2: device is "tpu"; it must be one of .gpu'),
        ((line(owner_2="mine"),), r'line 2: owner_2 is "mine"'),
        ((line(source="cloud"),), r'line 2: source is "cloud"'),
        ((line(owner="shared"),), r'line 2: owner is "shared", partners ""; a shared machine names'),
        ((line(partners="B University"),), r'line 2: owner is "own", partners "B University"'),
        ((line(listed_as="top500:1:1"),), r'line 2: listed_as "top500:1:1" is no machine of the table'),
        ((line()[:40],), r"machines\.csv, line 2: \d+ fields, the heading has 13"),
    ],
)
def test_a_malformed_table_is_refused_with_its_line(
    tmp_path: Path, rows: tuple[str, ...], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        machines.read(write(tmp_path / "machines.csv", *rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"machines\.csv: the file is empty"),
        (",".join(machines.COLUMNS).replace("owner,", "holder,"), r"machines\.csv, line 1: no column owner"),
    ],
)
def test_an_empty_or_renamed_table_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "machines.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        machines.read(path)


def test_a_price_must_be_a_number(tmp_path: Path) -> None:
    path = tmp_path / "gpu_prices.csv"
    path.write_text(f"{','.join(machines.PRICES)}\n2020,A100,free,1,1,here\n", encoding="utf-8")
    with pytest.raises(DataError, match=r'gpu_prices\.csv, line 2: tflops is "free"; it must be a number'):
        machines.read_prices(path)


def test_a_dollar_buys_more_than_ten_times_as_much_at_the_end_as_at_the_beginning() -> None:
    per_dollar = PRICES["tflops"] * PRICES["share_of_amount"] / PRICES["dollars"]
    assert PRICES["year"].is_monotonic_increasing
    assert per_dollar.iloc[-1] > 10 * per_dollar.iloc[0]
