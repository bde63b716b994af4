from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from originals import RAW

from study.core import settings
from study.core.errors import DataError
from study.data.assemble import programmes
from study.data.institutions import Matcher, load
from study.data.sources import osg
from study.data.sources.fetching import Fetcher
from study.panel import shipped

needs_originals = pytest.mark.skipif(
    not ((RAW / "osg").is_dir() and (RAW / "universities").is_dir()),
    reason="the originals of the Open Science Grid and of the universities are not on this machine",
)
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

Row = tuple[str, ...]
GROUP = (
    "topology/Lehigh University/Hawk/Hawk.yaml",
    "Lehigh University",
    "Hawk",
    "Hawk",
    "1",
    "2021-03-29",
    "2019035",
)


def write(folder: Path, name: str, heading: Row, *rows: Row) -> Path:
    path = folder / name
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([heading, *rows])
    return path


def groups(folder: Path, *rows: Row) -> Path:
    return write(folder, osg.FILE, osg.HEADING, *rows)


def test_the_table_is_read_with_our_names(tmp_path: Path) -> None:
    groups(tmp_path, GROUP)
    assert osg.read(tmp_path).to_dict("records") == [
        {
            "file": GROUP[0], "facility": "Lehigh University", "site": "Hawk", "group": "Hawk", "ccstar_resources": 1,
            "first_registered": "2021-03-29", "award": "2019035",
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([GROUP, GROUP], "line 3: .* is also on line 2"),
        ([(*GROUP[:5], "March 2021", "")], 'line 2: date "March 2021" is no date'),
        (
            [(*GROUP[:4], "many", "", "")],
            'line 2: n_cc_resources is "many"; it must be a number of resources',
        ),
        ([("", *GROUP[1:])], 'line 2: file is ""; it must be not empty'),
        ([(GROUP[0], "", *GROUP[2:])], 'line 2: facility is ""; it must be not empty'),
        ([GROUP[:5]], "line 2: 5 fields, the heading has 7"),
        ([], "no records after the heading"),
    ],
)
def test_a_damaged_table_of_groups_is_named_with_its_line(
    tmp_path: Path, rows: list[Row], message: str
) -> None:
    groups(tmp_path, *rows)
    with pytest.raises(DataError, match=message) as caught:
        osg.read(tmp_path)
    assert str(caught.value).startswith(osg.FILE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<html>Not found</html>", "a web page and no CSV file"),
        (b"file,facility\nx,y\n", "line 1: no column site, group"),
        (",".join(osg.HEADING).encode() + b"\nx,\xff,,,1,,\n", "line 2: byte .* is not UTF-8"),
    ],
)
def test_what_is_no_table_of_groups_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / osg.FILE).write_bytes(content)
    with pytest.raises(DataError, match=message):
        osg.read(tmp_path)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"osg_topology_ccstar_resource_groups.csv is missing"):
        osg.read(tmp_path)


@pytest.fixture(scope="module")
def matcher() -> Matcher:
    names = ("Lehigh University", "Rice University", "Tufts University", "University of Kansas")
    world = pd.DataFrame([(name, "United States", "US", ()) for name in names])
    world.columns = ["name", "country", "iso2", "domains"]
    return Matcher(load(shipped("data", "institutions.csv"), shipped("data", "organisations.csv"), world))


def resources(*rows: tuple[str, str, str, int, str]) -> pd.DataFrame:
    columns = ["facility", "site", "group", "ccstar_resources", "first_registered"]
    return pd.DataFrame(rows, columns=columns)


def test_the_first_of_several_groups_dates_the_event(matcher: Matcher) -> None:
    rows = resources(
        ("Lehigh University", "L", "new", 1, "2023-05-01"), ("Lehigh University", "L", "old", 2, "2021-03-29")
    )
    assert programmes.registered(rows, matcher, {}).to_dict("records") == [
        {
            "university": "Lehigh University", "country": "US", "event": "first_ccstar", "date": "2021-03",
            "left_censored": 0, "detail": "old",
        }
    ]  # fmt: skip


def test_a_group_whose_date_is_not_known_may_be_the_first(matcher: Matcher) -> None:
    rows = resources(
        ("Lehigh University", "L", "dated", 1, "2021-03-29"),
        ("Lehigh University", "L", "undated", 1, ""),
        ("Rice University", "R", "alone", 1, ""),
    )
    found = programmes.registered(rows, matcher, {})
    assert found[["date", "left_censored"]].values.tolist() == [["2021-03", 1], ["2021-03", 1]]


def test_a_group_without_a_tagged_resource_is_no_event(matcher: Matcher) -> None:
    assert programmes.registered(
        resources(("Tufts University", "T", "T", 0, "2021-03-29")), matcher, {}
    ).empty


def test_in_a_network_the_site_says_which_university_it_is(matcher: Matcher) -> None:
    rows = resources(("Great Plains Network", "University of Kansas", "KU", 1, "2022-05-09"))
    assert programmes.registered(rows, matcher, {})["university"].tolist() == ["University of Kansas"]


def test_a_decision_about_a_facility_outranks_the_rule(matcher: Matcher) -> None:
    rows = resources(("Lehigh University", "L", "L", 1, "2021-03-29"))
    assert programmes.registered(rows, matcher, {"Lehigh University": None}).empty


def _commit(repository: Path, day: str, *arguments: str) -> None:
    environment = {
        **os.environ, "GIT_AUTHOR_DATE": f"{day}T12:00:00Z", "GIT_COMMITTER_DATE": f"{day}T12:00:00Z",
        "GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": os.devnull,
    }  # fmt: skip
    commands = (["add", "--all"], ["commit", "--quiet", "--message", "change"])
    for command in ([list(arguments)] if arguments else []) + list(commands):
        subprocess.run(["git", "-C", str(repository), *command], check=True, env=environment)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A registry in which a group gets its tag a year after it was made, and is renamed after that."""
    root = tmp_path / "registry"
    files = {
        "topology/Université X/Site/Group.yaml": "Resources:\n  ONE:\n    ID: 1\n",
        "topology/Université X/Site/SITE.yaml": "LongName: has CC* in it\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    _commit(root, "2019-01-02")
    group = root / "topology/Université X/Site/Group.yaml"
    group.write_text(
        "GroupDescription: NSF Award ID 2019035\nResources:\n  ONE:\n    ID: 1\n    Tags:\n      - CC*\n"
        "  TWO:\n    ID: 2\n",
        encoding="utf-8",
    )
    _commit(root, "2020-03-04")
    group.rename(group.with_name("Cluster.yaml"))
    _commit(root, "2021-05-06")
    return root


@needs_git
def test_what_is_fetched_can_be_read_and_is_dated_by_the_first_tag(
    tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    monkeypatch.setattr(osg, "REPOSITORY", str(repository))
    with settings(progress=steps.append):
        paths = osg.fetch(tmp_path, Fetcher(pause=0))
    assert [path.name for path in paths] == [osg.FILE]
    (group,) = osg.read(tmp_path / "osg").to_dict("records")
    assert (group["facility"], group["site"], group["group"]) == ("Université X", "Site", "Cluster")
    assert (group["ccstar_resources"], group["first_registered"], group["award"]) == (
        1,
        "2020-03-04",
        "2019035",
    )
    assert len(steps) == 2


@needs_git
@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("topology/Université X/Site/Cluster.yaml", "Tags: [CC*\n", "broken YAML"),
        ("topology/Université X/Site/Cluster.yaml", "Resources: CC*\n", "holds no named resources"),
        ("topology/Université X/Site/Cluster.yaml", "- CC*\n", "holds no named resources"),
    ],
)
def test_a_damaged_file_of_the_registry_is_named_and_nothing_is_written(
    tmp_path: Path, repository: Path, name: str, text: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osg, "REPOSITORY", str(repository))
    (repository / name).write_text(text, encoding="utf-8")
    _commit(repository, "2022-07-08")
    with pytest.raises(DataError, match=message) as caught:
        osg.fetch(tmp_path, Fetcher(pause=0))
    assert str(caught.value).startswith(name)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "osg").exists()


@needs_git
def test_a_registry_that_cannot_be_cloned_gives_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osg, "REPOSITORY", str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="git clone fails"):
        osg.fetch(tmp_path, Fetcher(pause=0))


def test_without_git_the_error_says_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="git is not installed"):
        osg.fetch(tmp_path, Fetcher(pause=0))
