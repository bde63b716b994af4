from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from originals import RAW
from servers import Answer, Server

from study.core import settings
from study.core.errors import DataError
from study.data.sources import epoch
from study.data.sources.fetching import Fetcher

needs_originals = pytest.mark.skipif(
    not (RAW / "epoch").is_dir(), reason="the originals of Epoch are not on this machine"
)

CURRENT = (
    "Model", "Organization", "Publication date", "Domain", "Training compute (FLOP)", "Organization categorization",
    "Notability criteria", "Model accessibility",
)  # fmt: skip
DECEMBER = (
    "System", "Organization", "Publication date", "Domain", "Training compute (FLOP)", "Organization categorization",
    "Notability criteria", "Open-source",
)  # fmt: skip
JOINT = (
    "Joint", "Stanford University,Google", "2021-03-04", "Language,Vision", "2.5e21", "Academia,Industry",
    "Highly cited,SOTA improvement", "Open weights (unrestricted)",
)  # fmt: skip
OLD = ("Old", "MIT", "1986", "Vision", "", "Academia", "Historical significance", "")

Row = tuple[str, ...]


def write(folder: Path, name: str, heading: Row, *rows: Row) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([heading, *rows])
    return path


def current(folder: Path, *rows: Row, day: str = "2025-11-24") -> Path:
    return write(folder, f"notable_ai_models_{day}.csv", CURRENT, *rows)


def december(folder: Path, *rows: Row) -> Path:
    return write(folder, epoch.DECEMBER_FILE, DECEMBER, *rows)


def changed(row: Row, **values: str) -> Row:
    """Return a row with other values, named as our columns."""
    names = list(epoch.LAYOUTS["current"].values())
    keys = {heading: name for name, heading in epoch.LAYOUTS["current"].items()}
    assert set(values) <= set(keys.values())
    assert len(names) == len(CURRENT)
    return tuple(values.get(keys[heading], old) for heading, old in zip(CURRENT, row, strict=True))


def test_a_collaboration_names_the_category_of_each_of_its_organisations(tmp_path: Path) -> None:
    current(tmp_path, JOINT)
    model = epoch.read(tmp_path).iloc[0]
    assert model["organisations"] == ("Stanford University", "Google")
    assert model["kinds"] == ("academia", "industry")
    assert model["categories"] == ("academia", "industry")
    assert model["domains"] == ("language", "vision")
    assert (model["date"], model["year"], model["training_compute"]) == ("2021-03-04", 2021, 2.5e21)
    assert (model["notable"], model["vintage"]) == (True, "2025-11-24")


def test_a_leaning_collaboration_of_2023_is_of_both_and_says_nothing_of_its_members(tmp_path: Path) -> None:
    label = "Industry - Academia Collaboration (Industry leaning)"
    december(tmp_path, changed(JOINT, categories=label))
    model = epoch.read(tmp_path, "december_2023").iloc[0]
    assert model["categories"] == ("academia", "industry")
    assert model["kinds"] == ("", "")


def test_a_model_with_fewer_categories_than_organisations_says_nothing_of_its_members(tmp_path: Path) -> None:
    current(tmp_path, changed(JOINT, organisations="A,B,C"))
    assert epoch.read(tmp_path)["kinds"][0] == ("", "", "")


def test_what_is_not_known_is_missing_and_not_zero(tmp_path: Path) -> None:
    current(tmp_path, OLD)
    model = epoch.read(tmp_path).iloc[0]
    assert pd.isna(model["training_compute"])
    assert (model["year"], model["accessibility"]) == (1986, "")


def test_free_text_in_the_column_of_criteria_makes_no_model_notable(tmp_path: Path) -> None:
    december(tmp_path, changed(OLD, criteria="Winner of a competition"), changed(OLD, model="Other"))
    assert epoch.read(tmp_path, "december_2023")["notable"].tolist() == [False, True]


def test_the_newest_current_table_is_read(tmp_path: Path) -> None:
    current(tmp_path, OLD, day="2024-01-31")
    current(tmp_path, JOINT, day="2025-11-24")
    assert epoch.read(tmp_path)["model"].tolist() == ["Joint"]


def test_a_byte_order_mark_belongs_to_no_column(tmp_path: Path) -> None:
    path = current(tmp_path, JOINT)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert epoch.read(tmp_path)["model"].tolist() == ["Joint"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"date": "2021-02-30"}, 'line 3: date "2021-02-30" is no date'),
        ({"date": "March 2021"}, 'line 3: date "March 2021" is no date'),
        ({"date": "1821-03-04"}, 'line 3: date "1821-03-04" is not between 1940 and 2026'),
        ({"date": "2031-03-04"}, 'line 3: date "2031-03-04" is not between'),
        ({"training_compute": "much"}, 'line 3: training compute "much" is no number'),
        ({"training_compute": "-1"}, "line 3: training compute -1 is not above 0"),
        ({"training_compute": "nan"}, "line 3: training compute nan is not above 0"),
        ({"training_compute": "1e40"}, "line 3: training compute 1e40 is not above 0 and at most 1e"),
        ({"categories": "Alien"}, 'line 3: category "alien" is none of academia'),
        ({"model": ""}, 'line 3: Model is ""; it must be not empty'),
    ],
)
def test_an_impossible_value_is_named_with_its_line(
    tmp_path: Path, values: dict[str, str], message: str
) -> None:
    current(tmp_path, JOINT, changed(OLD, **values))
    with pytest.raises(DataError, match=message) as caught:
        epoch.read(tmp_path)
    assert str(caught.value).startswith("notable_ai_models_2025-11-24.csv, ")


def test_a_model_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    current(tmp_path, JOINT, OLD, JOINT)
    with pytest.raises(DataError, match=r"line 4: Joint, .* is also on line 2"):
        epoch.read(tmp_path)


def _renamed(content: bytes) -> bytes:
    return content.replace(b"Training compute (FLOP)", b"Compute")


def _latin(content: bytes) -> bytes:
    return content.replace(b"Stanford", "Universität".encode("latin-1"))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_renamed, r"line 1: no column Training compute \(FLOP\); has it been renamed"),
        (_latin, "line 2: byte .* is not UTF-8"),
        (lambda content: content[:-40], "line 3: 4 fields, the heading has 8; the file is cut off"),
        (lambda content: content[: content.index(b'"Academia,') + 4], "the file is cut off"),
        (lambda _: b"<!DOCTYPE html><html>Just a moment</html>", "this is a web page and no CSV file"),
        (lambda _: b"\n", "the file is empty"),
        (lambda content: content.splitlines()[0], "no records after the heading"),
    ],
)
@pytest.mark.parametrize("vintage", ["current", "december_2023"])
def test_a_damaged_table_gives_one_error(
    tmp_path: Path, vintage: epoch.Vintage, spoil: Callable[[bytes], bytes], message: str
) -> None:
    path = (current if vintage == "current" else december)(tmp_path, JOINT, OLD)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        epoch.read(tmp_path, vintage)
    assert str(caught.value).startswith(path.name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("vintage", "message"),
    [("current", "no notable_ai_models_YYYY-MM-DD.csv"), ("december_2023", "is missing")],
)
def test_a_missing_table_says_what_to_download(tmp_path: Path, vintage: epoch.Vintage, message: str) -> None:
    with pytest.raises(DataError, match=message):
        epoch.read(tmp_path, vintage)


def test_what_is_fetched_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    tables = {
        "/data/notable_ai_models.csv": current(made, JOINT),
        "/old.csv": december(made, OLD),
    }
    answers = {path: [Answer(body=file.read_bytes())] for path, file in tables.items()}
    checksum = hashlib.sha256(tables["/old.csv"].read_bytes()).hexdigest()
    steps: list[str] = []
    with Server(answers) as server, settings(progress=steps.append):
        monkeypatch.setattr(epoch, "ADDRESS", f"{server.url}/data")
        monkeypatch.setattr(epoch, "DECEMBER_ADDRESS", f"{server.url}/old.csv")
        monkeypatch.setattr(epoch, "DECEMBER_SHA256", checksum)
        paths = epoch.fetch(tmp_path, Fetcher(pause=0))
    vintage = paths[0].stem[-10:]
    assert [path.name for path in paths] == [f"notable_ai_models_{vintage}.csv", epoch.DECEMBER_FILE]
    assert abs(date.fromisoformat(vintage) - date.today()).days <= 1
    assert len(steps) == 2
    assert epoch.read(tmp_path / "epoch")["vintage"].tolist() == [vintage]
    assert epoch.read(tmp_path / "epoch", "december_2023")["model"].tolist() == ["Old"]


def test_a_changed_table_of_2023_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {f"/{name}": [Answer(body=b"x")] for name in ("notable_ai_models.csv", "old")}
    with Server(answers) as server:
        monkeypatch.setattr(epoch, "ADDRESS", server.url)
        monkeypatch.setattr(epoch, "DECEMBER_ADDRESS", f"{server.url}/old")
        with pytest.raises(DataError, match="SHA-256"):
            epoch.fetch(tmp_path, Fetcher(pause=0))
    assert not (tmp_path / "epoch" / epoch.DECEMBER_FILE).exists()


@needs_originals
def test_the_tables_have_the_sizes_that_their_publisher_gives() -> None:
    models, systems = epoch.read(RAW / "epoch"), epoch.read(RAW / "epoch", "december_2023")
    assert (len(models), models["training_compute"].notna().sum()) == (965, 515)
    assert (len(systems), systems["training_compute"].notna().sum()) == (1135, 419)


@needs_originals
def test_academia_alone_made_two_thirds_of_the_notable_models_of_2010_to_2014_and_a_tenth_of_2020_to_2022() -> (
    None
):
    table = epoch.read(RAW / "epoch", "december_2023")
    known = table[table["notable"] & table["training_compute"].notna()]
    known = known[[bool({"academia", "industry"} & set(kinds)) for kinds in known["categories"]]]
    academic = known["categories"].map(lambda kinds: kinds == ("academia",))
    early, late = known["year"].between(2010, 2014), known["year"].between(2020, 2022)
    assert (int(academic[early].sum()), int(early.sum())) == (16, 24)
    assert (int(academic[late].sum()), int(late.sum())) == (8, 84)
