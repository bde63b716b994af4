from __future__ import annotations

import gzip
import json
import random
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import openalex as benchmark
import pandas as pd
import pytest
from servers import Answer, Request, Server, as_json
from typer.testing import CliRunner

from study import Panel
from study.commands.cli import app
from study.core import settings
from study.core.errors import DataError, OutputError, QuestionError, StudyError
from study.data.sources import openalex, openalex_works
from study.data.sources.fetching import Fetcher
from study.data.sources.openalex_works import COLUMNS, aggregate

OLD, NEW = "2024-01-01", "2024-06-01"
KEYS = ["ror", "year", "topic"]
KINDS = ("education", "education", "education", "company", "facility")

packed = partial(gzip.compress, mtime=0)  # without the time, so that parallel workers collect the same tests
Record = dict[str, Any]


def institution(number: int, kind: str = "education", **changed: Any) -> Record:
    return {
        "id": f"https://openalex.org/I{number}",
        "display_name": f"Institution {number}",
        "ror": f"https://ror.org/0{number:08d}",
        "country_code": "CH",
        "type": kind,
        "lineage": [f"https://openalex.org/I{number}"],
        **changed,
    }


def authorship(position: str, *institutions: Record) -> Record:
    return {
        "author_position": position,
        "author": {"id": "https://openalex.org/A1", "display_name": "Somebody", "orcid": None},
        "institutions": list(institutions),
        "countries": ["CH"],
        "is_corresponding": position == "first",
        "raw_author_name": "Somebody",
        "raw_affiliation_strings": ["A department"],
    }


def topic(number: int = 10, subfield: int = 1702, field: int = 17) -> Record:
    return {
        "id": f"https://openalex.org/T{number}",
        "display_name": "A topic",
        "score": 0.99,
        "subfield": {"id": f"https://openalex.org/subfields/{subfield}", "display_name": "A subfield"},
        "field": {"id": f"https://openalex.org/fields/{field}", "display_name": "A field"},
        "domain": {"id": "https://openalex.org/domains/3", "display_name": "A domain"},
    }


def work(number: int, *authorships: Record, **changed: Any) -> Record:
    return {
        "id": f"https://openalex.org/W{number}",
        "doi": None,
        "display_name": "A title",
        "publication_year": 2020,
        "type": "article",
        "is_retracted": False,
        "is_xpac": False,
        "primary_topic": topic(),
        "primary_location": {"is_oa": False, "source": {"id": "https://openalex.org/S7", "type": "journal"}},
        "authorships": list(authorships) or [authorship("first", institution(1))],
        "referenced_works": ["https://openalex.org/W1"],
        "updated_date": "2024-01-01T03:00:00.000000",
        **changed,
    }


def write(path: Path, *records: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (record if isinstance(record, str) else json.dumps(record) for record in records)
    path.write_bytes(packed("".join(line + "\n" for line in lines).encode()))
    return path


def partition(folder: Path, date: str, *records: Any, part: int = 0) -> Path:
    return write(folder / f"updated_date={date}" / f"part_{part:04d}.gz", *records)


def counted(folder: Path, *records: Record, **options: Any) -> pd.DataFrame:
    return aggregate([partition(folder, OLD, *records)], **options)


def everything(table: pd.DataFrame) -> dict[str, Record]:
    """Return the rows of all papers by institution, where there is one year."""
    rows = table[table["topic"] == "all"]
    assert rows["ror"].is_unique
    return {row["ror"].lstrip("0"): row for row in rows.to_dict("records")}


def test_a_paper_counts_once_for_each_institution_however_many_authors_are_there(tmp_path: Path) -> None:
    team = [
        authorship("first", institution(1)),
        authorship("middle", institution(1)),
        authorship("last", institution(2)),
    ]
    rows = everything(counted(tmp_path, work(1, *team)))
    assert {name: row["papers"] for name, row in rows.items()} == {"1": 1, "2": 1}
    assert [rows["1"]["papers_first_author"], rows["1"]["papers_last_author"]] == [1, 0]
    assert [rows["2"]["papers_first_author"], rows["2"]["papers_last_author"]] == [0, 1]


def test_fractions_share_a_paper_among_authors_and_an_author_among_institutions(tmp_path: Path) -> None:
    team = [
        authorship("first", institution(1), institution(2)),
        authorship("middle"),
        authorship("middle", institution(1), institution(3, "facility")),
        authorship("last", institution(2)),
    ]
    rows = everything(counted(tmp_path, work(1, *team)))
    assert rows["1"]["papers_fractional"] == pytest.approx(1 / 4)
    assert rows["2"]["papers_fractional"] == pytest.approx(1 / 8 + 1 / 4)


def test_the_only_author_is_first_and_last(tmp_path: Path) -> None:
    row = everything(counted(tmp_path, work(1)))["1"]
    assert (row["papers_first_author"], row["papers_last_author"], row["papers_collaborative"]) == (1, 1, 0)


def test_a_company_has_no_row_but_makes_a_paper_one_with_industry(tmp_path: Path) -> None:
    team = [authorship("first", institution(1)), authorship("last", institution(9, "company"))]
    rows = everything(counted(tmp_path, work(1, *team), work(2)))
    assert set(rows) == {"1"}
    names = ("papers", "papers_academic_only", "papers_with_industry", "papers_collaborative")
    assert [rows["1"][name] for name in names] == [2, 1, 1, 1]


def test_a_laboratory_makes_a_collaboration_and_no_industry(tmp_path: Path) -> None:
    team = [authorship("first", institution(1)), authorship("last", institution(8, "facility"))]
    row = everything(counted(tmp_path, work(1, *team)))["1"]
    assert [row["papers_academic_only"], row["papers_collaborative"]] == [1, 1]


def test_an_institution_without_ror_is_seen_as_partner_but_has_no_row(tmp_path: Path) -> None:
    partner = institution(5, "company", ror=None)
    rows = everything(
        counted(tmp_path, work(1, authorship("first", institution(1)), authorship("last", partner)))
    )
    assert set(rows) == {"1"}
    assert [rows["1"]["papers_with_industry"], rows["1"]["papers_collaborative"]] == [1, 1]


@pytest.mark.parametrize(
    "changed",
    [
        {"is_retracted": True},
        {"is_xpac": True},
        {"type": "dataset"},
        {"type": "paratext"},
        {"publication_year": None},
        {"authorships": []},
    ],
)
def test_what_is_no_paper_does_not_count(tmp_path: Path, changed: Record) -> None:
    rows = everything(counted(tmp_path, work(1), work(2, **changed)))
    assert rows["1"]["papers"] == 1


def test_topics_subfields_fields_and_venues_get_rows_of_their_own(tmp_path: Path) -> None:
    records = [work(1), work(2, primary_topic=topic(11, 1707)), work(3, primary_topic=None)]
    names = ("T11", "subfields/1702", "fields/17", "S7", "T99")
    table = counted(tmp_path, *records, topics=names)
    found = dict(zip(table["topic"], table["papers"], strict=True))
    assert found == {"all": 3, "T11": 1, "subfields/1702": 1, "fields/17": 2, "S7": 3}


def test_years_stand_apart(tmp_path: Path) -> None:
    table = counted(tmp_path, work(1), work(2, publication_year=2021), work(3, publication_year=2021))
    rows = table[table["topic"] == "all"]
    assert list(zip(rows["year"], rows["papers"], strict=True)) == [(2020, 1), (2021, 2)]


@pytest.mark.parametrize("order", [(OLD, NEW), (NEW, OLD)])
def test_the_newest_partition_of_a_work_wins(tmp_path: Path, order: Sequence[str]) -> None:
    records = {
        OLD: [work(1), work(2), work(3)],
        NEW: [work(1, authorship("first", institution(2))), work(2, is_retracted=True)],
    }
    paths = [partition(tmp_path, date, *records[date]) for date in order]
    rows = everything(aggregate(paths))
    assert {name: row["papers"] for name, row in rows.items()} == {"1": 1, "2": 1}


def test_of_two_records_in_a_partition_the_later_update_wins(tmp_path: Path) -> None:
    late = work(1, authorship("first", institution(2)), updated_date="2024-01-01T09:00:00.000000")
    assert set(everything(counted(tmp_path, late, work(1)))) == {"2"}


def test_a_record_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    assert everything(counted(tmp_path, work(1), work(1)))["1"]["papers"] == 1


def test_works_that_were_merged_into_others_do_not_count(tmp_path: Path) -> None:
    merged = tmp_path / "2022-06-07.csv.gz"
    merged.write_bytes(packed(b"merge_date,id,merge_into_id\n2022-06-07,W2,W1\n"))
    assert everything(counted(tmp_path, work(1), work(2), merged=[merged]))["1"]["papers"] == 1


def test_a_list_of_merged_works_that_is_none_is_named(tmp_path: Path) -> None:
    merged = tmp_path / "2022-06-07.csv.gz"
    merged.write_bytes(packed(b"<html>\n<body>\n"))
    with pytest.raises(DataError, match=r"merged_ids/2022-06-07.csv.gz"):
        counted(tmp_path, work(1), merged=[merged])


def drawn(seed: int, works: int = 400) -> dict[str, list[Record]]:
    """Return records by partition: drawn teams of 1 to 6 authors, some works in both partitions."""
    rng = random.Random(seed)
    places = [institution(number, KINDS[number % 5]) for number in range(1, 30)]
    places[4]["ror"] = None

    def draw(number: int) -> Record:
        size = rng.randint(1, 6)
        positions = ["first", *["middle"] * (size - 2), "last"] if size > 1 else ["first"]
        return work(
            number,
            *[authorship(position, *rng.sample(places, rng.randint(0, 3))) for position in positions],
            publication_year=rng.choice([2019, 2020, 2021, None]),
            type=rng.choice(["article", "preprint", "editorial"]),
            is_retracted=rng.random() < 0.05,
            is_xpac=rng.random() < 0.05,
            primary_topic=rng.choice([topic(), topic(11, 1707), topic(12, 2000, 20), None]),
        )

    return {
        OLD: [draw(number) for number in range(works)],
        NEW: [draw(number) for number in range(0, works, 7)],
    }


def twin(records: dict[str, list[Record]], topics: Iterable[str]) -> pd.DataFrame:
    """Count record by record in Python: the slow twin of the expression."""
    newest = {record["id"]: record for date in sorted(records) for record in records[date]}
    sums: dict[tuple[str, int, str], dict[str, Any]] = {}
    papers = ("article", "preprint")
    for record in newest.values():
        if record["is_retracted"] or record["is_xpac"] or record["type"] not in papers:
            continue
        if record["publication_year"] is None:
            continue
        team = record["authorships"]
        places = {place["id"]: place for author in team for place in author["institutions"]}
        company = any(place["type"] == "company" for place in places.values())
        about = record["primary_topic"] or {"id": "", "subfield": {"id": ""}}
        names = [
            name
            for name in topics
            if any(part.endswith(f"/{name}") for part in (about["id"], about["subfield"]["id"]))
        ]
        for place in places.values():
            if place["type"] != "education" or place["ror"] is None:
                continue
            members = [author for author in team if place in author["institutions"]]
            values = {
                "papers": 1,
                "papers_fractional": sum(1 / len(team) / len(author["institutions"]) for author in members),
                "papers_academic_only": int(not company),
                "papers_with_industry": int(company),
                "papers_first_author": int(team[0] in members),
                "papers_last_author": int(team[-1] in members),
                "papers_collaborative": int(len(places) > 1),
            }
            for name in ["all", *names]:
                row = sums.setdefault(
                    (place["ror"].rsplit("/", 1)[1], record["publication_year"], name),
                    {"institution": place["display_name"], "country": place["country_code"]},
                )
                for column, value in values.items():
                    row[column] = row.get(column, 0) + value
    rows = [{**dict(zip(KEYS, key, strict=True)), **row} for key, row in sums.items()]
    return pd.DataFrame(rows)[list(COLUMNS)].sort_values(KEYS, ignore_index=True)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, check_dtype=False, rtol=1e-12)


@pytest.fixture(scope="module")
def records() -> dict[str, list[Record]]:
    return drawn(20261124)


@pytest.fixture(scope="module")
def snapshot(records: dict[str, list[Record]], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("snapshot")
    return [
        partition(folder, OLD, *records[OLD][:150]),
        partition(folder, OLD, *records[OLD][150:], part=1),
        partition(folder, NEW, *records[NEW]),
    ]


TOPICS = ("subfields/1702", "T11")


def test_the_counts_are_those_of_a_slow_twin(records: dict[str, list[Record]], snapshot: list[Path]) -> None:
    table = aggregate(snapshot, topics=TOPICS)
    assert len(table) > 100
    same(table, twin(records, TOPICS))


def test_assigning_works_to_parts_and_batches_changes_nothing(
    snapshot: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = aggregate(snapshot)
    monkeypatch.setattr(openalex_works, "PART_BYTES", 4000)
    monkeypatch.setattr(openalex_works, "BATCH_BYTES", 1)
    said: list[str] = []
    with settings(progress=said.append):
        same(whole, aggregate(snapshot))
    assert [text for text in said if "file" in text] == [
        f"OpenAlex works: to file {number} of 3" for number in (1, 2, 3)
    ]
    assert sum("part" in text for text in said) > 5


def as_parquet(source: Path, target: Path) -> Path:
    """Write a file of JSON lines as Parquet, as OpenAlex's other copy has it: typed and with a timestamp."""
    target.parent.mkdir(parents=True, exist_ok=True)
    duckdb.sql(
        f"COPY (SELECT * REPLACE (CAST(updated_date AS TIMESTAMP) AS updated_date) FROM "
        f"read_json('{source}', hive_partitioning = false)) TO '{target}' (FORMAT parquet, COMPRESSION snappy)"
    )
    return target


def test_parquet_reads_as_json_lines_do(snapshot: list[Path], tmp_path: Path) -> None:
    paths = [as_parquet(path, tmp_path / path.parent.name / f"{path.stem}.parquet") for path in snapshot]
    same(aggregate(snapshot), aggregate(paths))
    same(aggregate(snapshot), aggregate([paths[0], *snapshot[1:]]))


def listed(works: Path) -> None:
    """Write the manifest of a snapshot's files."""
    files = {str(path.relative_to(works)): path.read_bytes() for path in works.rglob("*.gz")}
    (works / "manifest.json").write_text(json.dumps(manifest(files)))


def test_the_command_writes_what_was_fetched_as_a_panel_of_ones_own(
    snapshot: list[Path], tmp_path: Path
) -> None:
    works = tmp_path / "raw" / "openalex" / "works"
    for path in snapshot:
        (works / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, works / path.parent.name)
    listed(works)
    written = tmp_path / "somebody's folder" / "counts.csv"
    given = ["data", "outcomes", "--raw", str(tmp_path / "raw"), "--output", str(written), "--topic", "T10"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    table = aggregate(snapshot, topics=["T10"])
    same(table, pd.read_csv(written, dtype={"ror": str, "country": str}))
    everywhere = table[table["topic"] == "all"]
    adopters = everywhere["ror"].isin(everywhere["ror"].unique()[:2])
    events = everywhere.assign(cluster=np.where(adopters, everywhere["year"].max(), np.nan))
    panel = Panel.from_long(events, unit="ror", time="year", first_treated="cluster", outcomes=["papers"])
    assert panel.n_units == everywhere["ror"].nunique()


def test_where_nothing_can_be_written_nothing_is_left(tmp_path: Path) -> None:
    partition(tmp_path / "raw" / "openalex" / "works", OLD, work(1))
    listed(tmp_path / "raw" / "openalex" / "works")
    (tmp_path / "counts.csv").mkdir()
    given = ["data", "outcomes", "--raw", str(tmp_path / "raw"), "--output", str(tmp_path / "counts.csv")]
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, OutputError)
    assert re.search("counts.csv: this is a folder, and is not replaced", str(done.exception))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["counts.csv", "raw"]


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        ("1MB", OutputError, "give a larger memory_limit"),
        ("much", QuestionError, "write memory_limit as in 4GB"),
    ],
)
def test_too_little_memory_is_said_in_one_line(
    snapshot: list[Path], limit: str, error: type[StudyError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        aggregate(snapshot, memory_limit=limit)
    assert "\n" not in str(caught.value)


GOOD = json.dumps(work(1))
WHOLE = packed("".join(json.dumps(work(number)) + "\n" for number in range(3000)).encode())


def _changed(**changed: Any) -> bytes:
    return packed(f"{GOOD}\n{json.dumps(work(2, **changed))}\n".encode())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (packed(b""), "line 1: no record"),
        (packed(b"\n\n"), "line 1: no record"),
        (b"<!DOCTYPE html><html>Not found</html>", "line 1: this is a web page"),
        (packed(b"<html>\n</html>"), "line 1: broken JSON"),
        (GOOD.encode(), "line 1: Not a gzipped file"),
        (WHOLE[:-2000], r"line \d+: the compressed file is cut off or damaged there"),
        (WHOLE[:-4], r"line 3001: the compressed file is cut off"),
        (WHOLE[:1500] + b"\xff" * 40 + WHOLE[1540:], r"line \d+: "),
        (packed(f"{GOOD}\n{GOOD[:-30]}\n{GOOD}\n".encode()), "line 2: broken JSON"),
        (packed(f"{GOOD}\n{GOOD[:-30]}".encode()), "line 2: broken JSON"),
        (
            packed(f"{GOOD}\n[1, 2]\n".encode()),
            r"line 2: the record is \[1, 2\], an object is expected",
        ),
        (packed(f"{GOOD}\nnull\n".encode()), "line 2: the record is null"),
        (
            packed(GOOD.encode().replace(b"Institution", b"Institut\xfc")),
            "line 1: byte .* is not UTF-8",
        ),
        (_changed(id=None), "line 2: id is null"),
        (_changed(id="https://openalex.org/A5"), "line 2: id is .*A5.* and none of a work"),
        (_changed(publication_year="soon"), 'line 2: publication_year is "soon", a whole number'),
        (_changed(publication_year=2020.5), "line 2: publication_year is 2020.5, a whole number"),
        (_changed(publication_year=-5), "line 2: publication_year is -5"),
        (_changed(is_retracted="perhaps"), 'line 2: is_retracted is "perhaps", true or false'),
        (_changed(primary_topic="T1"), 'line 2: primary_topic is "T1", an object'),
        (_changed(authorships={"a": 1}), "line 2: authorships is .*, a list"),
        (
            _changed(authorships=[{"author_position": "first", "institutions": "MIT"}]),
            r'line 2: authorships\[0\].institutions is "MIT", a list',
        ),
    ],
)
def test_a_damaged_file_is_named_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    good = partition(tmp_path, OLD, work(1))
    path = tmp_path / f"updated_date={NEW}" / "part_0000.gz"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        aggregate([good, path], temp=tmp_path)
    assert str(caught.value).startswith(f"updated_date={NEW}/part_0000.gz")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("field", ["publication_year", "type", "authorships", "primary_topic"])
def test_a_renamed_field_is_missed(tmp_path: Path, field: str) -> None:
    records = [work(1), work(2)]
    for record in records:
        record["new_" + field] = record.pop(field)
    with pytest.raises(DataError, match=f"none of 2 works has {field}; has OpenAlex renamed it"):
        counted(tmp_path, *records)


def test_without_ibis_nothing_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ibis", None)
    with pytest.raises(QuestionError, match=r"^OpenAlex: .*ibis-framework is not installed"):
        counted(tmp_path, work(1))


def test_institutions_without_ror_are_not_taken_for_no_papers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no paper names an academic institution with a ROR id"):
        counted(tmp_path, work(1, authorship("first", institution(1, ror=None))))


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def _no_parquet(path: Path) -> None:
    path.write_bytes(b"PAR2" + path.read_bytes()[4:])


def _page(path: Path) -> None:
    path.write_bytes(b"<html>Not found</html>")


def _renamed(path: Path) -> None:
    duckdb.sql(
        f"COPY (SELECT * RENAME (authorships AS authors) FROM '{path}') TO '{path}.new' (FORMAT parquet)"
    )
    Path(f"{path}.new").replace(path)


def _text(path: Path) -> None:
    duckdb.sql(f"COPY (SELECT * REPLACE ('x' AS authorships) FROM '{path}') TO '{path}.new' (FORMAT parquet)")
    Path(f"{path}.new").replace(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut, "not readable as Parquet"),
        (_no_parquet, "no Parquet file"),
        (_page, "this is a web page"),
        (_renamed, "no column authorships; has OpenAlex renamed it"),
        (_text, "not as documented .*; has OpenAlex changed its format"),
    ],
)
def test_a_damaged_parquet_file_is_named(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    source = partition(tmp_path / "json", OLD, *[work(number) for number in range(50)])
    path = as_parquet(source, tmp_path / f"updated_date={OLD}" / "part_0000.parquet")
    spoil(path)
    with pytest.raises(DataError, match=message) as caught:
        aggregate([path])
    assert f"updated_date={OLD}/part_0000.parquet" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        ([], {}, "no files of works"),
        (["gone.gz"], {}, "gone.gz is missing"),
        (["works.csv"], {}, "works.csv: neither JSON lines"),
        (["gone.gz"], {"topics": ["vision"]}, '"vision" is no topic'),
    ],
)
def test_what_cannot_be_counted_is_said_at_once(
    tmp_path: Path, paths: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        aggregate([tmp_path / name for name in paths], **options)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list of the seconds that would have been waited."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def _client() -> Fetcher:
    return Fetcher(pause=0, retries=2)


def paged(
    pages: Sequence[Sequence[Any]], count: int | None = None, name: str = "results"
) -> Callable[[Request], Answer]:
    """Answer as the API does: a page for each cursor, the cursor of the next page, and an empty page at the end."""

    def answer(request: Request) -> Answer:
        cursor = request.query["cursor"]
        place = 0 if cursor == "*" else int(cursor.removeprefix("after-"))
        records = list(pages[place]) if place < len(pages) else []
        following = f"after-{place + 1}" if records else None
        meta = {"count": sum(map(len, pages)), "per_page": 100, "next_cursor": following}
        return as_json({"meta": meta, "results": [], "group_by": [], name: records})

    return answer


PAGES = [[work(1), work(2)], [work(3), work(4)], [work(5)]]


def fetched(raw: Path, server: Server, **options: Any) -> list[Path]:
    """Fetch works from a server in place of OpenAlex's own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(openalex, "API", server.url)
        return openalex.fetch(raw, _client(), **{"key": "secret"} | options)


def test_works_are_fetched_page_by_page_to_the_end(tmp_path: Path) -> None:
    with Server({"/works": paged(PAGES)}) as server:
        paths = fetched(tmp_path, server, filter="primary_topic.id:T10")
        queries = [request.query for request in server.requests]
    assert [path.name for path in paths] == ["page_00001.gz", "page_00002.gz", "page_00003.gz", "state.json"]
    assert [query["cursor"] for query in queries] == ["*", "after-1", "after-2", "after-3"]
    assert {query["filter"] for query in queries} == {"primary_topic.id:T10"}
    assert {query["per_page"] for query in queries} == {"100"}
    assert "authorships" in queries[0]["select"].split(",")
    table = openalex.read(tmp_path / "openalex")
    assert everything(table)["1"]["papers"] == 5


def test_nothing_on_persons_and_no_key_is_kept(tmp_path: Path) -> None:
    with Server({"/works": paged(PAGES)}) as server:
        paths = fetched(tmp_path, server)
    kept = b"".join(gzip.decompress(path.read_bytes()) for path in paths[:-1]) + paths[-1].read_bytes()
    assert b"Institution 1" in kept
    for trace in (b"Somebody", b"A title", b"secret", b"A department"):
        assert trace not in kept


def test_fetching_goes_on_at_the_stored_cursor(tmp_path: Path) -> None:
    answer = paged(PAGES)

    def breaks(request: Request) -> Answer:
        return Answer(404) if request.query["cursor"] == "after-2" else answer(request)

    with Server({"/works": breaks}) as server, pytest.raises(DataError, match="nothing is there"):
        fetched(tmp_path, server)
    with pytest.raises(DataError, match="4 of 5 works are fetched; go on"):
        openalex.read(tmp_path / "openalex")
    with Server({"/works": answer}) as server:
        fetched(tmp_path, server)
        assert [request.query["cursor"] for request in server.requests] == ["after-2", "after-3"]
        fetched(tmp_path, server)
        assert len(server.requests) == 2
    assert everything(openalex.read(tmp_path / "openalex"))["1"]["papers"] == 5


def test_another_query_does_not_mix_with_the_one_there(tmp_path: Path) -> None:
    with Server({"/works": paged(PAGES)}) as server:
        fetched(tmp_path, server, filter="a:1")
        with pytest.raises(DataError, match="holds the works of another query"):
            fetched(tmp_path, server, filter="a:2")


def test_too_many_requests_are_waited_for_as_asked(tmp_path: Path, waits: list[float]) -> None:
    answers = [as_json({}, 429, Retry_After="7"), paged(PAGES[:1])(Request("", {"cursor": "*"}, {}))]
    empty = as_json({"meta": {"count": 2, "next_cursor": None}, "results": []})
    with Server({"/works": [*answers, empty]}) as server:
        assert len(fetched(tmp_path, server)) == 2
    assert 7 in waits


def test_a_spent_day_ends_the_fetching_and_keeps_the_pages(tmp_path: Path, waits: list[float]) -> None:
    first = paged(PAGES)(Request("", {"cursor": "*"}, {}))
    with (
        Server(
            {"/works": [first, as_json({"error": "Rate limit exceeded"}, 429, Retry_After="40000")]}
        ) as server,
        pytest.raises(DataError, match=r"too many requests .*40000 s; fetch again later") as caught,
    ):
        fetched(tmp_path, server)
    assert "secret" not in str(caught.value)
    assert 40000 not in waits
    assert (tmp_path / "openalex" / "api" / "page_00001.gz").is_file()


def test_a_missing_or_refused_key_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(openalex.KEY, raising=False)
    with Server({"/works": [Answer(401)]}) as server:
        with pytest.raises(DataError, match=r"needs a key; get one .* set OPENALEX_API_KEY"):
            fetched(tmp_path, server, key=None)
        assert server.requests == []
        monkeypatch.setenv(openalex.KEY, "secret")
        with pytest.raises(DataError, match="login needed"):
            fetched(tmp_path, server, key=None)
        assert server.requests[0].query["api_key"] == "secret"


def _answer(**parts: Any) -> Answer:
    return as_json({"meta": {"count": 1, "next_cursor": None}, "results": [work(1)], **parts})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(body=b'{"meta": {"count": 1'), "broken JSON"),
        (Answer(body=b'{"meta": {"count": 1}, "results": []}', cut=20), "breaks off"),
        (Answer(body=b"<!DOCTYPE html><html></html>"), "a web page came"),
        (Answer(400, b'{"error": "Invalid filter"}'), "refuses .*Invalid filter"),
        (as_json([]), "page 1: no answer of a list"),
        (_answer(meta=None), "page 1: no answer of a list"),
        (_answer(results=None), "page 1: no results"),
        (_answer(meta={"count": 1, "next_cursor": 5}), "page 1: no count or next_cursor"),
        (_answer(meta={"count": 9, "next_cursor": None}), "page 1: the list ends after 1 of 9 works"),
        (_answer(meta={"count": 9, "next_cursor": "*"}), "page 1: the cursor does not move on"),
        (_answer(results=[], meta={"count": 9, "next_cursor": "x"}), "page 1: the list ends after 0 of 9"),
        (_answer(results=[], meta={"count": 0, "next_cursor": None}), "has no works"),
        (_answer(results=[work(1), work(2, id=5)]), "page 1, record 2: id is 5, text is expected"),
        (_answer(results=[work(1, authorships="x")]), "page 1, record 1: authorships is"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_refused(
    tmp_path: Path, waits: list[float], answer: Answer, message: str
) -> None:
    with Server({"/works": [answer]}) as server, pytest.raises(DataError, match=message) as caught:
        fetched(tmp_path, server)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "openalex").rglob("page_*"))


def manifest(contents: dict[str, bytes], kind: str = "jsonl") -> Record:
    files = [
        {
            "url": f"s3://openalex/data/{kind}/works/{name}",
            "meta": {"content_length": len(content), "record_count": 1},
        }
        for name, content in contents.items()
    ]
    return {
        "date": "2026-06-25",
        "format": kind,
        "entity": "works",
        "record_count": len(files),
        "files": files,
    }


FILES = {
    f"updated_date={OLD}/part_0000.gz": packed(f"{GOOD}\n".encode()),
    f"updated_date={NEW}/part_0000.gz": packed(json.dumps(work(2)).encode()),
}


def whole_snapshot(folder: Path) -> Path:
    """Write a snapshot of two files with its manifest, and return its folder of works."""
    works = folder / "jsonl" / "works"
    for name, content in FILES.items():
        (works / name).parent.mkdir(parents=True)
        (works / name).write_bytes(content)
    (works / "manifest.json").write_text(json.dumps(manifest(FILES)))
    return works


def test_a_file_of_an_older_snapshot_is_left_out(tmp_path: Path) -> None:
    works = whole_snapshot(tmp_path)
    write(works / "updated_date=2023-01-01" / "part_0000.gz", work(9))
    assert everything(openalex.read(tmp_path))["1"]["papers"] == 2


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ({"files": []}, "no list of files"),
        ([], "no list of files"),
        ({"files": [{"url": "s3://openalex/data/jsonl/works/part.gz"}]}, "file 1: no address with its size"),
        (manifest({"updated_date=2024-01-01/../../../x.gz": b"x"}), "file 1: no address with its size"),
        (manifest({"part_0000.gz": b"x"}), "file 1: no address with its size"),
    ],
)
def test_a_manifest_that_is_not_as_documented_is_refused(tmp_path: Path, listed: Any, message: str) -> None:
    (whole_snapshot(tmp_path) / "manifest.json").write_text(json.dumps(listed))
    with pytest.raises(DataError, match=message):
        openalex.read(tmp_path)


def test_the_layout_before_2026_is_read_too(tmp_path: Path) -> None:
    whole_snapshot(tmp_path).rename(tmp_path / "works")
    (tmp_path / "jsonl").rmdir()
    (tmp_path / "works" / "manifest.json").unlink()
    entries = [
        {"url": f"s3://openalex/data/works/{name}", "meta": {"content_length": len(content)}}
        for name, content in FILES.items()
    ]
    (tmp_path / "works" / "manifest").write_text(json.dumps({"entries": entries}))
    merged = tmp_path / "merged_ids" / "works" / "2022-06-07.csv.gz"
    merged.parent.mkdir(parents=True)
    merged.write_bytes(packed(b"merge_date,id,merge_into_id\n2022-06-07,W2,W1\n"))
    assert everything(openalex.read(tmp_path))["1"]["papers"] == 1


def _without_file(works: Path) -> None:
    (works / f"updated_date={NEW}" / "part_0000.gz").unlink()


def _shorter_file(works: Path) -> None:
    path = works / f"updated_date={NEW}" / "part_0000.gz"
    path.write_bytes(path.read_bytes()[:-1])


def _without_manifest(works: Path) -> None:
    (works / "manifest.json").unlink()


def _broken_manifest(works: Path) -> None:
    (works / "manifest.json").write_text('{"files": [')


def _twice(works: Path) -> None:
    (works.parents[1] / "api").mkdir()


def _only_pages(works: Path) -> None:
    works.rename(works.parents[1] / "api")


def _damaged_state(works: Path) -> None:
    _only_pages(works)
    (works.parents[1] / "api" / "state.json").write_text("{}")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without_file, "part_0000.gz is missing"),
        (_shorter_file, r"has \d+ bytes, the manifest says \d+"),
        (_without_manifest, r"manifest.json is missing .* not whole"),
        (_broken_manifest, "manifest.json: broken JSON"),
        (_twice, r"several times \(jsonl/works, api\)"),
        (_only_pages, "state.json is missing"),
        (_damaged_state, "is no record of fetched works"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(
    tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    spoil(whole_snapshot(tmp_path))
    with pytest.raises(DataError, match=message):
        openalex.read(tmp_path)


def test_a_folder_without_works_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no works in"):
        openalex.read(tmp_path)


def test_the_benchmark_counts_a_simulated_snapshot_and_deletes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--works", "2000", "--folder", str(tmp_path), "--repeats", "1", "--processes", "1"]
    monkeypatch.setattr("sys.argv", ["openalex.py", *options, "--sizes", "1", "20"])
    benchmark.main()
    said = capsys.readouterr().out
    assert said.startswith("Simulated snapshot: 2,000 works")
    rows = [line.split("|") for line in said.splitlines() if line.startswith("| ")][1:]
    assert [row[1].strip() for row in rows] == ["100", "2,000"]
    assert "Cost grows with works to the power" in said
    assert list(tmp_path.iterdir()) == []
