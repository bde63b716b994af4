from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from servers import Answer, Server, as_json

from study.core.errors import DataError
from study.data.sources import ror
from study.data.sources.fetching import Fetcher

NAME = "v2.10-2026-07-20-ror-data"
FIRST, SECOND = "https://ror.org/042nb2s44", "https://ror.org/05a28rw58"


def organisation(**fields: Any) -> dict[str, Any]:
    """Return a record as the registry documents it in schema 2.1."""
    return {
        "admin": {
            "created": {"date": "2018-11-14", "schema_version": "1.0"},
            "last_modified": {"date": "2026-07-20", "schema_version": "2.1"},
        },
        "domains": ["mit.edu"],
        "established": 1861,
        "external_ids": [{"type": "grid", "preferred": "grid.116068.8", "all": ["grid.116068.8"]}],
        "id": FIRST,
        "links": [{"type": "website", "value": "https://web.mit.edu"}],
        "locations": [
            {
                "geonames_id": 4931972,
                "geonames_details": {
                    "continent_code": "NA", "continent_name": "North America", "country_code": "US",
                    "country_name": "United States", "country_subdivision_code": "MA",
                    "country_subdivision_name": "Massachusetts", "lat": 42.3751, "lng": -71.10561, "name": "Cambridge",
                },
            }
        ],
        "names": [
            {"value": "MIT", "types": ["acronym"], "lang": None},
            {"value": "Massachusetts Institute of Technology", "types": ["ror_display", "label"], "lang": "en"},
            {"value": "Boston Tech", "types": ["alias"], "lang": None},
            {"value": "Instituto de Tecnología de Massachusetts", "types": ["label"], "lang": "es"},
        ],
        "relationships": [{"label": "Broad Institute", "type": "child", "id": "https://ror.org/05a0ya142"}],
        "status": "active",
        "types": ["education", "funder"],
        **fields,
    }  # fmt: skip


def write_zip(folder: Path, *records: Any, name: str = NAME, members: tuple[str, ...] = ()) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.csv", "id,name\n")
        for member in members or (f"{name}.json",):
            archive.writestr(member, json.dumps(list(records), ensure_ascii=False, indent=4))
    return path


def test_the_displayed_name_is_told_from_aliases_and_acronyms(tmp_path: Path) -> None:
    write_zip(tmp_path, organisation())
    assert ror.read(tmp_path).to_dict("records") == [
        {
            "ror": FIRST,
            "name": "Massachusetts Institute of Technology",
            "aliases": ("Boston Tech", "Instituto de Tecnología de Massachusetts"),
            "acronyms": ("MIT",),
            "country": "US",
            "types": ("education", "funder"),
            "domains": ("mit.edu",),
            "status": "active",
        }
    ]


def test_the_plain_json_says_the_same_as_the_zip(tmp_path: Path) -> None:
    records = [organisation(), organisation(id=SECOND, status="withdrawn", domains=[])]
    write_zip(tmp_path / "zip", *records)
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / f"{NAME}.json").write_text(json.dumps(records), encoding="utf-8")
    assert ror.read(tmp_path / "plain").equals(ror.read(tmp_path / "zip"))


def test_of_a_dump_with_both_schemas_the_second_is_read(tmp_path: Path) -> None:
    name = "v1.50-2024-07-29-ror-data"
    write_zip(tmp_path, organisation(), name=name, members=(f"{name}_schema_v2.json",))
    with zipfile.ZipFile(tmp_path / f"{name}.zip", "a") as archive:
        archive.writestr(f"{name}.json", json.dumps([{"id": FIRST, "name": "MIT"}]))
    assert len(ror.read(tmp_path)) == 1


def test_version_ten_is_newer_than_version_nine(tmp_path: Path) -> None:
    write_zip(tmp_path, organisation(), name="v2.9-2026-06-20-ror-data")
    write_zip(tmp_path, organisation(status="inactive"))
    assert ror.read(tmp_path)["status"].tolist() == ["inactive"]


def _without(field: str) -> dict[str, Any]:
    return {name: value for name, value in organisation().items() if name != field}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"id": FIRST, "name": "MIT", "country": {"country_code": "US"}}, "record 2: this is schema 1"),
        (_without("names"), "record 2: field 'names' is missing"),
        (_without("status"), "record 2: field 'status' is missing"),
        (
            organisation(id=SECOND, locations=[]),
            "record 2: the organisation has no location",
        ),
        (organisation(id=SECOND, names="MIT"), "record 2: a field is of another type"),
        ("text", "record 2: a field is of another type"),
        (organisation(id="042nb2s44"), 'record 2: id "042nb2s44"'),
        (organisation(id=SECOND, names=[]), 'record 2: .* displayed name ""'),
        (organisation(id=SECOND, status="gone"), 'record 2: .* status "gone"'),
        (organisation(), "record 2: https://ror.org/042nb2s44 is there twice"),
    ],
)
def test_a_damaged_record_is_named_with_its_number(tmp_path: Path, record: Any, message: str) -> None:
    write_zip(tmp_path, organisation(), record)
    with pytest.raises(DataError, match=message) as caught:
        ror.read(tmp_path)
    assert str(caught.value).startswith(f"{NAME}.zip, {NAME}.json")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"<html>Not found</html>", "holds no list of organisations"),
        (b'{"items": []}', "holds no list of organisations"),
        (b"[]", "holds no organisations"),
        (json.dumps([organisation()]).encode()[:-30], "broken JSON at character"),
        (json.dumps([organisation()]).encode()[:-1], "broken JSON at character"),
        (json.dumps([organisation()], ensure_ascii=False).encode("latin-1"), "byte .* is not UTF-8"),
    ],
)
def test_a_damaged_file_gives_one_error(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / f"{NAME}.json").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        ror.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-30], "not a whole zip file"),
        (lambda _: b"<html>Not found</html>", "not a whole zip file"),
    ],
)
def test_a_damaged_zip_gives_one_error(tmp_path: Path, spoil: Callable[[bytes], bytes], message: str) -> None:
    path = write_zip(tmp_path, organisation())
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        ror.read(tmp_path)


def test_a_zip_without_json_is_no_dump(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / f"{NAME}.zip", "w") as archive:
        archive.writestr("readme.txt", "x")
    with pytest.raises(DataError, match=r"0 files \*.json in it"):
        ror.read(tmp_path)


def test_an_empty_folder_says_what_to_download(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="download the data dump from Zenodo"):
        ror.read(tmp_path)


def zenodo(server: Server, content: bytes, checksum: str = "", key: str = f"{NAME}.zip") -> None:
    """Let a server answer as Zenodo does: the record of all versions leads to the newest one."""
    md5 = checksum or hashlib.md5(content, usedforsecurity=False).hexdigest()
    link = f"{server.url}/api/records/21458494/files/{key}/content"
    record = {
        "id": 21458494, "conceptrecid": ror.CONCEPT, "metadata": {"publication_date": "2026-07-20", "version": "v2.10"},
        "files": [{"key": key, "size": len(content), "checksum": f"md5:{md5}", "links": {"self": link}}],
    }  # fmt: skip
    server.answers = {
        f"/api/records/{ror.CONCEPT}": [Answer(302, headers={"Location": "/api/records/21458494"})],
        "/api/records/21458494": [as_json(record)],
        f"/api/records/21458494/files/{key}/content": [Answer(body=content)],
    }


def test_what_is_fetched_can_be_read(tmp_path: Path) -> None:
    content = write_zip(tmp_path / "made", organisation()).read_bytes()
    steps: list[str] = []
    with Server({}) as server:
        zenodo(server, content)
        paths = ror.fetch(tmp_path, Fetcher(pause=0), progress=steps.append, base=f"{server.url}/api")
    assert paths == [tmp_path / "ror" / f"{NAME}.zip"]
    assert steps == [f"ROR {NAME}.zip"]
    assert len(ror.read(tmp_path / "ror")) == 1


def test_a_dump_that_differs_from_its_checksum_is_not_kept(tmp_path: Path) -> None:
    with Server({}) as server:
        zenodo(server, b"something else", checksum="0" * 32)
        with pytest.raises(DataError, match="Zenodo states md5:0000"):
            ror.fetch(tmp_path, Fetcher(pause=0), base=f"{server.url}/api")
    assert not (tmp_path / "ror" / f"{NAME}.zip").exists()


def test_a_record_without_a_dump_is_refused(tmp_path: Path) -> None:
    with Server({}) as server:
        zenodo(server, b"x", key="readme.md")
        with pytest.raises(DataError, match=r"no dump among readme.md"):
            ror.fetch(tmp_path, Fetcher(pause=0), base=f"{server.url}/api")


def test_an_answer_that_names_no_files_is_refused(tmp_path: Path) -> None:
    path = f"/api/records/{ror.CONCEPT}"
    answers = {path: [as_json({"message": "maintenance"})]}
    with Server(answers) as server, pytest.raises(DataError, match="the answer names no files"):
        ror.fetch(tmp_path, Fetcher(pause=0), base=f"{server.url}/api")
