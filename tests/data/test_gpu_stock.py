"""The check of what events measure: medians, shares and AUC of a stock of GPUs, and its reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from originals import write_universities
from scipy import stats
from servers import Answer, Server
from sklearn.metrics import roc_auc_score

from study.core.errors import DataError
from study.data.assemble import machines
from study.data.institutions import Matcher, load
from study.data.sources import gpus_per_student, universities
from study.data.sources.fetching import Fetcher
from study.panel import shipped

HOLDINGS = {
    "Stanford University": 90.0,
    "Harvard University": 40.0,
    "Yale University": 0.0,
    "Rice University": 40.0,
}
UNITS = pd.DataFrame({"university": [*HOLDINGS, "ETH Zurich"], "country": [*["US"] * 4, "CH"]})


@pytest.fixture(scope="module")
def matcher(tmp_path_factory: pytest.TempPathFactory) -> Matcher:
    folder = tmp_path_factory.mktemp("universities")
    write_universities(folder, [])
    by_hand = shipped("data", "institutions.csv"), shipped("data", "organisations.csv")
    return Matcher(load(*by_hand, universities.read(folder)))


def test_those_with_an_event_are_compared_with_the_others_and_no_row_of_the_stock_is_left(
    matcher: Matcher,
) -> None:
    stock = pd.DataFrame(
        {"university": [*HOLDINGS, "Duke University"], "h100_equivalent": [*HOLDINGS.values(), 7.0]}
    )
    events = pd.DataFrame(
        [
            ("Stanford University", "US", "first_top500", "1993-06", 1),
            ("Harvard University", "US", "first_top500", "2025-12", 0),
            ("Rice University", "US", "first_top500", "2026-06", 0),
            ("Yale University", "US", "first_3ia", "2019-04", 0),
        ],
        columns=["university", "country", "event", "date", "left_censored"],
    )
    (row,) = machines.totals(stock, matcher, UNITS, events).to_dict("records")
    assert row["event"] == "first_top500"
    assert (row["n_with"], row["some_with"], row["median_with"]) == (2, 1.0, 65.0)
    assert (row["n_without"], row["some_without"], row["median_without"]) == (2, 0.5, 20.0)
    assert row["auc"] == 0.875
    assert not set(row) & {"university", "h100_equivalent"}
    events.loc[2, "left_censored"] = 1  # Rice had it by then, nobody knows since when
    (row,) = machines.totals(stock, matcher, UNITS, events).to_dict("records")
    assert (row["n_with"], row["median_with"]) == (2, 65.0)
    assert (row["n_without"], row["median_without"]) == (1, 0.0)


def test_the_area_and_its_interval_are_those_of_delong() -> None:
    rng = np.random.default_rng(3)
    larger, smaller = rng.poisson(6, 40).astype(float), rng.poisson(3, 60).astype(float)
    area, low, high = machines.auc(larger, smaller)
    labels = np.repeat([1, 0], [40, 60])
    assert area == pytest.approx(roc_auc_score(labels, np.concatenate([larger, smaller])))

    # The same variance from placement values one at a time.
    def placed(x: float, others: np.ndarray) -> float:
        return float(np.mean([(x > y) + 0.5 * (x == y) for y in others]))

    first = np.var([placed(x, smaller) for x in larger], ddof=1) / 40
    second = np.var([1 - placed(y, larger) for y in smaller], ddof=1) / 60
    reach = 1.959963984540054 * np.sqrt(first + second)
    assert (low, high) == pytest.approx((area - reach, area + reach))
    assert np.isnan(machines.auc(larger[:1], smaller)).all()


@pytest.mark.parametrize("n", [6, 7, 26, 90])
def test_the_order_statistics_around_a_median_cover_it_and_the_next_ones_would_not(n: int) -> None:
    middle, low, high = machines.median(np.arange(1.0, n + 1))
    assert (middle, low + high) == ((n + 1) / 2, n + 1)
    missed = 2 * stats.binom.cdf([low - 1, low], n, 0.5)
    assert missed[0] <= 0.05 < missed[1]


def test_five_values_have_no_such_interval() -> None:
    assert np.isnan(machines.median(np.arange(5.0))[1:]).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "master_data.csv: the file is empty"),
        ("university,h100\nA,1\n", "line 1: no column h100_equivalent"),
        ("university,h100_equivalent\n", "no records after the heading"),
        ("university,h100_equivalent\nA,some\n", 'line 2: h100_equivalent is "some"; it must be a number'),
        ("university,h100_equivalent\n,1\n", 'line 2: university is ""; it must be not empty'),
        ("university,h100_equivalent\nA,1\nA,2\n", "line 3: A is also on line 2"),
        ("university,h100_equivalent\nA,1\nB\n", "line 3: 1 fields, the heading has 2"),
    ],
)
def test_a_broken_stock_is_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / gpus_per_student.FILE).write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        gpus_per_student.read(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_stock_comes_from_its_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"university,h100_equivalent\nA,1\n"
    with Server({f"/abc/data/{gpus_per_student.FILE}": [Answer(body=content)]}) as server:
        monkeypatch.setattr(gpus_per_student, "ADDRESS", server.url)
        (path,) = gpus_per_student.fetch(tmp_path, Fetcher(pause=0), version="abc")
    assert path == tmp_path / "gpus_per_student" / gpus_per_student.FILE
    assert path.read_bytes() == content
