from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from originals import RAW
from servers import Answer, Request, Server, as_json

from study.core.errors import DataError
from study.data.sources import nsf
from study.data.sources.fetching import Fetcher

ROOT = Path(__file__).parents[2]
NSF = RAW / "nsf"


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list of the seconds that would have been waited."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def dumped(number: str = "2312345", **fields: Any) -> dict[str, Any]:
    """Return a record as the yearly dumps have had them since 2025."""
    return {
        "awd_id": number, "agcy_id": "NSF", "tran_type": "Grant", "awd_istr_txt": "Standard Grant",
        "awd_titl_txt": "MRI: Acquisition of a GPU Cluster", "cfda_num": "47.070", "po_email": "",
        "po_sign_block_name": "An Officer", "awd_eff_date": "2023-09-01", "awd_exp_date": "2026-08-31",
        "tot_intn_awd_amt": 500000.0, "awd_amount": 450000.0, "awd_min_amd_letter_date": "2023-08-14",
        "awd_max_amd_letter_date": "2024-02-01", "awd_abstract_narration": "A cluster of GPU nodes.\r\n\r\nFor all.",
        "pi": [{"pi_full_name": "A Person", "pi_email_addr": ""}],
        "inst": {
            "inst_name": "Example State University", "inst_city_name": "EXAMPLE", "inst_state_code": "OH",
            "inst_state_name": "Ohio", "inst_country_name": "United States",
        },
        "perf_inst": {"perf_inst_name": "Example State University", "perf_ctry_code": "US"},
        "pgm_ele": [{"pgm_ele_code": "118900", "pgm_ele_name": "Major Research Instrumentation"}],
        "pgm_ref": [{"pgm_ref_code": "1189", "pgm_ref_txt": "MAJOR RESEARCH INSTRUMENTATION"}],
        "por": None,
        **fields,
    }  # fmt: skip


XML = """<?xml version="1.0" encoding="UTF-8"?>

<rootTag>
  <Award>
    <AwardTitle>MRI: Acquisition of a GPU Cluster</AwardTitle>
    <AwardEffectiveDate>09/01/2023</AwardEffectiveDate>
    <AwardExpirationDate>08/31/2026</AwardExpirationDate>
    <AwardAmount>450000</AwardAmount>
    <AwardInstrument><Value>Standard Grant</Value></AwardInstrument>
    <AbstractNarration>A cluster of GPU nodes.&lt;br/&gt;&lt;br/&gt;For all.</AbstractNarration>
    <MinAmdLetterDate>08/14/2023</MinAmdLetterDate>
    <AwardID>2312345</AwardID>
    <Investigator><FirstName>A</FirstName><LastName>Person</LastName></Investigator>
    <Institution>
      <Name>Example State University</Name>
      <CityName>EXAMPLE</CityName>
      <CountryName>United States</CountryName>
      <StateName>Ohio</StateName>
      <StateCode>OH</StateCode>
    </Institution>
    <ProgramElement><Code>118900</Code><Text>Major Research Instrumentation</Text></ProgramElement>
    <ProgramReference><Code>1189</Code><Text>MAJOR RESEARCH INSTRUMENTATION</Text></ProgramReference>
  </Award>
</rootTag>
"""


def packed(members: Mapping[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def put(folder: Path, place: str, members: Mapping[str, bytes]) -> Path:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(members))
    return path


def put_json(folder: Path, year: int, *records: dict[str, Any]) -> Path:
    members = {f"{i}.json": json.dumps(record).encode() for i, record in enumerate(records)}
    return put(folder, f"json/{year}.zip", members)


def test_both_formats_say_the_same_of_one_award(tmp_path: Path) -> None:
    put_json(tmp_path / "dump", 2023, dumped())
    put(tmp_path / "xml", "xml/2023.zip", {"2312345.xml": XML.encode()})
    dump, xml = (nsf.read(tmp_path / name).iloc[0] for name in ("dump", "xml"))
    for column in set(nsf.COLUMNS) - {"performer"}:
        assert dump[column] == xml[column], column
    assert dump["programme_elements"] == "118900 Major Research Instrumentation"
    assert (dump["effective"], dump["letter"], dump["amount"]) == ("2023-09-01", "2023-08-14", 450000)


def test_abstracts_lose_markup_but_keep_what_only_looks_like_it(tmp_path: Path) -> None:
    text = "Films of <5 nm &amp; more.<br/>\r\nGrains &gt;2 nm."
    put_json(tmp_path, 2023, dumped(awd_abstract_narration=text))
    assert nsf.read(tmp_path)["abstract"][0] == "Films of <5 nm & more. Grains >2 nm."


def test_no_person_is_read(tmp_path: Path) -> None:
    put_json(tmp_path, 2023, dumped())
    assert "Person" not in nsf.read(tmp_path).to_csv()


def test_awards_without_programme_elements_or_abstract_are_awards(tmp_path: Path) -> None:
    put_json(tmp_path, 2023, dumped(pgm_ele=[], pgm_ref=None, awd_abstract_narration=None))
    row = nsf.read(tmp_path).iloc[0]
    assert (row["programme_elements"], row["programme_references"], row["abstract"]) == ("", "", "")


def test_collaborative_awards_say_so_at_the_beginning(tmp_path: Path) -> None:
    titles = ("Collaborative Research: CC-NIE Integration: X", "MRI: A Collaborative Laboratory")
    put_json(tmp_path, 2023, *(dumped(f"231234{i}", awd_titl_txt=title) for i, title in enumerate(titles)))
    assert nsf.read(tmp_path)["collaborative"].tolist() == [True, False]


def test_only_what_is_wanted_is_kept(tmp_path: Path) -> None:
    put_json(tmp_path, 2023, dumped(), dumped("2312346", awd_titl_txt="CAREER: Something else"))
    table = nsf.read(tmp_path, keep=lambda row: "MRI" in row["title"])
    assert table["award_id"].tolist() == ["2312345"]


def _change(old: str, new: str) -> dict[str, bytes]:
    assert old in XML
    return {"2312345.xml": XML.replace(old, new).encode()}


@pytest.mark.parametrize(
    ("place", "members", "message"),
    [
        ("json/2023.zip", {"readme.txt": b"x"}, r"json/2023.zip: no file \*\.json"),
        ("json/2023.zip", {"1.json": b'{"awd_id": "23'}, r"2023.zip, 1.json: broken JSON at byte 11 of 14"),
        ("json/2023.zip", {"1.json": b"<html></html>"}, r"1.json: broken JSON at byte 0 of 13"),
        ("json/2023.zip", {"1.json": b'{"awd_id": "\xff"}'}, r"1.json: byte 12 is not UTF-8"),
        ("json/2023.zip", {"1.json": b""}, r"1.json: broken JSON"),
        ("json/2023.zip", {"1.json": b"[]"}, r"1.json: holds no award"),
        ("json/2023.zip", {"1.json": b"{}"}, r"1.json: field awd_id is missing"),
        ("xml/2023.zip", {"1.xml": b"<html>"}, r"xml/2023.zip, 1.xml: broken XML \("),
        ("xml/2023.zip", {"1.xml": XML[:400].encode()}, r"1.xml: broken XML"),
        ("xml/2023.zip", {"1.xml": b"\xff\xfe<a/>"}, r"1.xml: broken XML"),
        ("xml/2023.zip", {"1.xml": b"<rootTag/>"}, r"1.xml: holds no element Award"),
        ("xml/2023.zip", {"1.json": b"{}"}, r"no file \*\.xml"),
        ("xml/2023.zip", _change("AwardAmount>", "Amount>"), r"field AwardAmount is missing"),
        ("xml/2023.zip", _change("<Name>Example State University</Name>", "<Name/>"), r"awardee is empty"),
        ("xml/2023.zip", _change("09/01/2023", "09/31/2023"), r'effective "09/31/2023" is no date'),
        ("xml/2023.zip", _change("09/01/2023", ""), r"effective is empty"),
        ("xml/2023.zip", _change("450000", "much"), r'amount "much" is no number'),
        (
            "xml/2023.zip",
            _change("<AwardID>2312345", "<AwardID>231234"),
            r'number "231234" is no seven digits',
        ),
    ],
)
def test_a_broken_record_is_named(
    tmp_path: Path, place: str, members: dict[str, bytes], message: str
) -> None:
    put(tmp_path, place, members)
    with pytest.raises(DataError, match=message) as caught:
        nsf.read(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["awd_titl_txt", "inst", "pgm_ele", "awd_min_amd_letter_date"])
def test_a_renamed_field_is_named(tmp_path: Path, field: str) -> None:
    record = dumped()
    record[f"{field}_new"] = record.pop(field)
    put_json(tmp_path, 2023, dumped("2312344"), record)
    with pytest.raises(DataError, match=r"json/2023.zip, 1.json: field \w+ is missing"):
        nsf.read(tmp_path)


def test_a_field_of_another_form_is_told(tmp_path: Path) -> None:
    put_json(tmp_path, 2023, dumped(pgm_ele="118900"))
    with pytest.raises(DataError, match=r"0.json: a field is no list of named values"):
        nsf.read(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: b"", r"json/2023.zip: the file is empty"),
        (lambda content: content[: len(content) // 2], r"json/2023.zip: not a whole zip file"),
        (lambda content: b"<!DOCTYPE html><html></html>", r"json/2023.zip: not a whole zip file"),
    ],
)
def test_a_broken_zip_is_named(tmp_path: Path, spoil: Callable[[bytes], bytes], message: str) -> None:
    path = put_json(tmp_path, 2023, dumped())
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        nsf.read(tmp_path)


def test_damaged_bytes_inside_a_zip_are_told(tmp_path: Path) -> None:
    path = put_json(tmp_path, 2023, dumped())
    path.write_bytes(path.read_bytes().replace(b"GPU", b"CPU", 1))
    with pytest.raises(DataError, match="not a whole zip file"):
        nsf.read(tmp_path)


def test_an_award_in_two_zips_names_both(tmp_path: Path) -> None:
    put_json(tmp_path, 2023, dumped())
    put_json(tmp_path, 2024, dumped())
    with pytest.raises(
        DataError, match=r"2024.zip, 0.json: award 2312345 is also in json/2023.zip, 0.json; keep one"
    ):
        nsf.read(tmp_path)


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no json/YYYY.zip or xml/YYYY.zip"):
        nsf.read(tmp_path)


# --- the yearly dumps


def fetched(tmp_path: Path, server: Server, **options: Any) -> list[Path]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(nsf, "CATALOGUE", f"{server.url}/list-files")
        return nsf.fetch(tmp_path, Fetcher(pause=0), **options)


def dumps(server_files: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the answers of a catalogue that lists files of the same server."""

    def catalogue(request: Request) -> Answer:
        base = f"http://{request.headers['Host']}"
        files = [
            {"fileName": name, "downloadUrl": f"{base}/s3/{name}?X=1", "size": 1} for name in server_files
        ]
        return as_json({"files": files})

    return {"/list-files": catalogue} | {
        f"/s3/{name}": [Answer(body=content)] for name, content in server_files.items()
    }


def test_the_dumps_that_are_missing_are_fetched_and_readable(tmp_path: Path) -> None:
    kept = put_json(tmp_path / "nsf", 2022, dumped("2212345")).read_bytes()
    put(tmp_path / "nsf", "xml/2010.zip", _change("2312345", "1012345"))
    one = packed({"1.json": json.dumps(dumped()).encode()})
    names = ("Historical.zip", "2006.zip", "2010.zip", "2022.zip", "2023.zip")
    with Server(dumps(dict.fromkeys(names, one))) as server:
        paths = fetched(tmp_path, server)
        assert [path.parent.name + "/" + path.name for path in paths] == [
            "xml/2010.zip", "json/2022.zip", "json/2023.zip",
        ]  # fmt: skip
        assert [request.path for request in server.requests] == ["/list-files", "/s3/2023.zip"]
    assert (tmp_path / "nsf" / "json" / "2022.zip").read_bytes() == kept
    assert nsf.read(tmp_path / "nsf")["award_id"].tolist() == ["1012345", "2212345", "2312345"]


def test_a_year_that_is_not_listed_is_told(tmp_path: Path) -> None:
    with (
        Server(dumps({"2023.zip": b"x"})) as server,
        pytest.raises(DataError, match=r"no file 2030.zip in it"),
    ):
        fetched(tmp_path, server, years=[2030])


def test_a_dump_that_is_no_zip_does_not_stay(tmp_path: Path) -> None:
    whole = packed({"1.json": json.dumps(dumped()).encode()})
    with (
        Server(dumps({"2023.zip": whole[:-30]})) as server,
        pytest.raises(DataError, match=r"2023.zip is no whole zip file"),
    ):
        fetched(tmp_path, server)
    assert not list((tmp_path / "nsf" / "json").iterdir())


@pytest.mark.parametrize("answer", [as_json({}), as_json([]), as_json({"files": [{"name": "2023.zip"}]})])
def test_a_catalogue_of_another_form_is_told(tmp_path: Path, answer: Answer) -> None:
    with (
        Server({"/list-files": [answer]}) as server,
        pytest.raises(DataError, match=r"no list of files .* by hand from nsf.gov"),
    ):
        fetched(tmp_path, server)


def test_the_page_that_took_the_place_of_the_old_addresses_is_told(tmp_path: Path) -> None:
    page = Answer(body=b"<!DOCTYPE html><html>Award search</html>", headers={"Content-Type": "text/html"})
    with Server({"/list-files": [page]}) as server, pytest.raises(DataError, match="web page"):
        fetched(tmp_path, server)


@pytest.mark.skipif(not NSF.is_dir(), reason=f"the originals are not in {NSF}")
def test_the_originals_are_read_whole() -> None:
    table = nsf.read(NSF)
    assert len(table) == 4434
    assert table["award_id"].is_unique
    assert set(table["country"]) == {"United States"}
    assert (table["letter"] != "").all()
    assert (table["abstract"] == "").sum() == 2
    assert not table["abstract"].str.contains("<br", regex=False).any()
    # The dumps since 2025 hold what was awarded in a fiscal year, those before what was proposed for it.
    assert (table["performer"] == "").sum() == 2273
