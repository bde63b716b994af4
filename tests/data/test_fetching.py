from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from servers import Answer, Request, Server, as_json

from study.commands import cli
from study.core import settings
from study.core.cache import cache_folder
from study.core.errors import DataError, OutputError, QuestionError
from study.data import sources
from study.data.sources import fetching, published
from study.data.sources.fetching import CHUNK, Fetcher, record_checksums

CONTENT = bytes(range(251)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
REST = len(CONTENT) - 4 * CHUNK
TAGGED = {"ETag": '"v1"'}
WHOLE = Answer(body=CONTENT, headers=TAGGED, ranges=True)
BROKEN = Answer(body=CONTENT, headers=TAGGED, cut=4 * CHUNK + 10)
LOGIN_PAGE = b'<!DOCTYPE html><html><form><input name="p" type="password"></form></html>'


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the list of the seconds that would have been waited."""
    seconds: list[float] = []
    monkeypatch.setattr("time.sleep", seconds.append)
    return seconds


def _stop_at(chunks: int):
    calls: list[int] = []

    def stop(url: str, done: int, total: int | None) -> None:
        calls.append(done)
        if len(calls) == chunks:
            raise KeyboardInterrupt

    return stop


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone_in_a_new_folder(tmp_path: Path) -> None:
    with Server({"/a.xls": [WHOLE]}) as server:
        path = Fetcher(pause=0).download(f"{server.url}/a.xls", tmp_path / "new" / "a.xls")
    assert path.read_bytes() == CONTENT
    assert _names(path.parent) == ["a.xls"]


def test_the_client_says_who_asks() -> None:
    with Server({"/": [as_json({})]}) as server:
        Fetcher(pause=0).json(f"{server.url}/")
    assert "compute-access-study/" in server.requests[0].headers["User-Agent"]


def test_files_are_asked_for_as_they_are_and_unpacked_where_they_come_packed(tmp_path: Path) -> None:
    packed = Answer(body=gzip.compress(CONTENT), headers={**TAGGED, "Content-Encoding": "gzip"})
    with Server({"/a": [packed]}) as server:
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
    assert server.requests[0].headers["Accept-Encoding"] == "identity"
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_finished_file_is_not_asked_for_again(tmp_path: Path) -> None:
    with Server({"/a": [WHOLE]}) as server:
        for sha256 in (None, None, SHA256):
            Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a", sha256=sha256)
    assert server.count("/a") == 1


def test_a_file_with_another_checksum_is_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"older")
    with Server({"/a": [WHOLE]}) as server:
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a", sha256=SHA256)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_file_that_is_there_compressed_is_kept(tmp_path: Path) -> None:
    packed = tmp_path / "a.json.gz"
    packed.write_bytes(b"packed")
    with Server({"/a": [Answer(body=b"new")]}) as server:
        assert Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a.json") == packed
    assert server.requests == []
    assert _names(tmp_path) == ["a.json.gz"]


def test_an_interrupted_download_shows_no_file_and_goes_on_at_the_next_call(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with Server({"/a": [BROKEN, WHOLE]}) as server:
        with pytest.raises(KeyboardInterrupt):
            Fetcher(pause=0, progress=_stop_at(3)).download(f"{server.url}/a", path)
        assert not path.exists()
        Fetcher(pause=0).download(f"{server.url}/a", path)
    first, second = server.requests
    assert "Range" not in first.headers
    assert (second.headers["Range"], second.headers["If-Range"]) == (f"bytes={3 * CHUNK}-", '"v1"')
    assert server.sent == 4 * CHUNK + 10 + len(CONTENT) - 3 * CHUNK
    assert path.read_bytes() == CONTENT
    assert _names(tmp_path) == ["a"]


def test_a_broken_connection_costs_only_what_was_not_received(tmp_path: Path, waits: list[float]) -> None:
    with Server({"/a": [BROKEN, WHOLE]}) as server:
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
    assert server.requests[1].headers["Range"] == f"bytes={4 * CHUNK}-"
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert waits == [1.0]


def test_progress_counts_what_was_there_before(tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    with Server({"/a": [BROKEN, WHOLE], "/b": [Answer(body=CONTENT, chunked=True)]}) as server:
        fetcher = Fetcher(pause=0, progress=lambda url, done, total: seen.append((done, total)))
        fetcher.download(f"{server.url}/a", tmp_path / "a")
        steps = [done for done, _ in seen]
        assert steps == sorted(set(steps))
        assert seen[-1] == (len(CONTENT), len(CONTENT))
        fetcher.download(f"{server.url}/b", tmp_path / "b")
    assert seen[-1] == (len(CONTENT), None)


NEW = b"another version" * 30_000


@pytest.mark.parametrize(
    ("second", "content"),
    [
        (Answer(body=CONTENT, headers=TAGGED), CONTENT),
        (Answer(body=NEW, headers={"ETag": '"v2"'}, ranges=True), NEW),
    ],
    ids=["ignores ranges", "has another version by now"],
)
def test_a_download_starts_over_where_the_server(tmp_path: Path, second: Answer, content: bytes) -> None:
    with Server({"/a": [BROKEN, second]}) as server:
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == content
    assert server.count("/a") == 2


@pytest.mark.parametrize(
    "second",
    [
        Answer(
            206,
            CONTENT[9 : 9 + REST],
            {**TAGGED, "Content-Range": f"bytes 9-{8 + REST}/{len(CONTENT)}"},
        ),
        Answer(206, CONTENT[4 * CHUNK :], TAGGED),
        Answer(
            206,
            CONTENT[4 * CHUNK :] + b"more",
            {**TAGGED, "Content-Range": f"bytes {4 * CHUNK}-{len(CONTENT) - 1}/{len(CONTENT)}"},
        ),
        Answer(416, headers={"Content-Range": f"bytes */{len(CONTENT)}"}),
    ],
    ids=["another part", "part without its place", "too long a part", "no part"],
)
def test_a_part_that_does_not_fit_is_not_appended(tmp_path: Path, second: Answer) -> None:
    with Server({"/a": [BROKEN, second, WHOLE]}) as server:
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert "Range" not in server.requests[2].headers


@pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"v1"'}])
def test_without_a_version_a_download_goes_on_only_if_the_checksum_is_known(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    broken, whole = Answer(body=CONTENT, headers=headers, cut=2 * CHUNK), Answer(body=CONTENT, ranges=True)
    with Server({"/a": [broken, whole], "/b": [broken, whole]}) as server:
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
        Fetcher(pause=0).download(f"{server.url}/b", tmp_path / "b", sha256=SHA256)
    assert [request.headers.get("Range") for request in server.requests] == [
        None, None, None, f"bytes={2 * CHUNK}-"
    ]  # fmt: skip
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == CONTENT


def test_a_server_may_give_a_range_piece_by_piece(tmp_path: Path) -> None:
    def pieces(request: Request) -> Answer:
        if "Range" not in request.headers:
            return BROKEN
        start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        end = min(start + 100_000, len(CONTENT))
        return Answer(206, CONTENT[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{len(CONTENT)}"})

    with Server({"/a": pieces}) as server:
        Fetcher(pause=0, retries=1).download(f"{server.url}/a", tmp_path / "a")
    assert server.count("/a") == 4
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_date_does_for_the_version(tmp_path: Path) -> None:
    date = {"Last-Modified": "Mon, 01 Jul 2024 00:00:00 GMT"}
    answers = [
        Answer(body=CONTENT, headers=date, cut=CHUNK + 1),
        Answer(body=CONTENT, headers=date, ranges=True),
    ]
    with Server({"/a": answers}) as server:
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
    assert server.requests[1].headers["If-Range"] == date["Last-Modified"]
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_what_was_downloaded_of_another_address_is_not_gone_on_with(tmp_path: Path) -> None:
    other = bytes(reversed(CONTENT))
    answers = {"/a": [BROKEN], "/b": [Answer(body=other, headers=TAGGED, ranges=True)]}
    with Server(answers) as server:
        with pytest.raises(KeyboardInterrupt):
            Fetcher(pause=0, progress=_stop_at(2)).download(f"{server.url}/a", tmp_path / "x")
        Fetcher(pause=0).download(f"{server.url}/b", tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == other


def test_a_connection_that_always_breaks_is_given_up_and_its_part_kept(
    tmp_path: Path, waits: list[float]
) -> None:
    stuck = Answer(206, b"", {"Content-Range": f"bytes {4 * CHUNK}-{len(CONTENT) - 1}/{len(CONTENT)}",
                              "Content-Length": "9"}, cut=0)  # fmt: skip
    with (
        Server({"/a": [BROKEN, stuck]}) as server,
        pytest.raises(DataError, match=rf"breaks off 4 times in a row, at last at byte {4 * CHUNK}"),
    ):
        Fetcher(pause=0, retries=3).download(f"{server.url}/a", tmp_path / "a")
    assert waits == [1.0, 2.0, 4.0]
    assert _names(tmp_path) == ["a.part", "a.part.from"]


def test_a_wrong_checksum_leaves_nothing(tmp_path: Path) -> None:
    wrong = "0" * 64
    with (
        Server({"/a": [WHOLE]}) as server,
        pytest.raises(DataError, match=f"{SHA256}, but {wrong}") as caught,
    ):
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a", sha256=wrong)
    assert _names(tmp_path) == []
    assert "\n" not in str(caught.value)


def test_a_server_that_asks_to_wait_is_waited_for(waits: list[float]) -> None:
    with Server({"/": [as_json({}, 429, Retry_After="7"), as_json({"x": 1})]}) as server:
        assert Fetcher(pause=0).json(f"{server.url}/") == {"x": 1}
    assert waits == [7]


def test_a_server_that_asks_to_wait_for_long_is_left_alone(waits: list[float]) -> None:
    with Server({"/": [as_json({}, 429, Retry_After="3600"), as_json({})]}) as server:
        with pytest.raises(DataError, match=r"too many requests .*\(429\); it asks to wait 3600 s"):
            Fetcher(pause=0).json(f"{server.url}/")
        assert server.count("/") == 1
    assert waits == []


def test_failures_of_the_server_are_tried_again_after_growing_waits(waits: list[float]) -> None:
    with Server({"/": [Answer(500), Answer(503), Answer(502), as_json({"x": 1})]}) as server:
        assert Fetcher(pause=0).json(f"{server.url}/") == {"x": 1}
    assert waits == [1.0, 2.0, 4.0]


def test_a_server_that_fails_for_good_is_given_up() -> None:
    with Server({"/": [Answer(503)]}) as server:
        with pytest.raises(DataError, match=r"fails again and again \(503\)"):
            Fetcher(pause=0, retries=2).json(f"{server.url}/")
        assert server.count("/") == 3


def test_no_server_is_one_error(waits: list[float]) -> None:
    with Server({}) as server:
        url = server.url
    with pytest.raises(DataError, match=r"no answer \(.*refused\); check the network") as caught:
        Fetcher(pause=0).json(f"{url}/?api_key=geheim")
    assert waits == [1.0, 2.0, 4.0]
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_may_be_slow_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def slow(request: Request) -> Answer:
        released.wait(0.2 if request.query else 5)
        return as_json({"x": 1})

    with Server({"/": slow}) as server:
        assert Fetcher(pause=0).json(f"{server.url}/", {"slow": "1"}) == {"x": 1}
        monkeypatch.setattr(fetching, "TIMEOUT", (1, 0.1))
        with pytest.raises(DataError, match=r"no answer .*timed out"):
            Fetcher(pause=0, retries=0).json(f"{server.url}/")
        released.set()


def test_requests_keep_their_distance(tmp_path: Path, waits: list[float]) -> None:
    with Server({"/": [as_json({})], "/a": [WHOLE]}) as server:
        fetcher = Fetcher(pause=20)
        fetcher.json(f"{server.url}/")
        assert waits == []
        fetcher.json(f"{server.url}/")
        assert waits == [pytest.approx(20, abs=5)]
        fetcher.download(f"{server.url}/a", tmp_path / "a", pause=90)
        assert waits[1:] == [pytest.approx(90, abs=5)]
        fetcher.download(f"{server.url}/a", tmp_path / "a", pause=90)
        assert len(waits) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_where_login_is_needed_the_error_says_what_to_save_where(tmp_path: Path, status: int) -> None:
    with Server({"/a.xls": [Answer(status)]}) as server:
        with pytest.raises(DataError) as caught:
            Fetcher(pause=0).download(f"{server.url}/a.xls", tmp_path / "a.xls")
        assert server.count("/a.xls") == 1
    assert f"login needed ({status})" in str(caught.value)
    assert f"by hand from {server.url}/a.xls and save it as {tmp_path / 'a.xls'}" in str(caught.value)
    assert _names(tmp_path) == []


def test_a_redirection_to_a_login_page_is_login_needed(tmp_path: Path) -> None:
    page = Answer(body=b"<html><body>Welcome</body></html>")
    with (
        Server(
            {"/a": [Answer(302, headers={"Location": "/accounts/login/"})], "/accounts/login/": [page]}
        ) as server,
        pytest.raises(DataError, match=f"^{server.url}/a: login needed"),
    ):
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (LOGIN_PAGE, "login needed"),
        (b"<html><head><title>Sign in</title></head></html>", "login needed"),
        (b"\xef\xbb\xbf\n<HTML><body>We have moved.</body></HTML>", "a web page came in place of data"),
        (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x"><html/>', "a web page came in place of data"),
    ],
)
def test_a_web_page_is_no_data(tmp_path: Path, page: bytes, message: str) -> None:
    with Server({"/a": [Answer(body=page)]}) as server:
        with pytest.raises(DataError, match=message):
            Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
        with pytest.raises(DataError, match=message):
            Fetcher(pause=0).json(f"{server.url}/a")
    assert _names(tmp_path) == []


def test_a_login_page_does_not_cost_what_was_downloaded_before(tmp_path: Path) -> None:
    with Server({"/a": [BROKEN, Answer(body=LOGIN_PAGE), WHOLE]}) as server:
        with pytest.raises(DataError, match="login needed"):
            Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
    assert server.requests[2].headers["Range"] == f"bytes={4 * CHUNK}-"
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(404), r"nothing is there \(404\)"),
        (Answer(204), r"the server refuses \(204\)"),
        (as_json({"message": "per-page\nmust be <= 200"}, 400), r"refuses \(400, .*per-page.*must be <= 200"),
        (as_json({}, 403, X_RateLimit_Remaining="0"), r"too many requests for the server \(403\)"),
        (Answer(body=b""), "the answer is empty"),
    ],
)
def test_what_is_no_answer_is_one_line(tmp_path: Path, answer: Answer, message: str) -> None:
    with Server({"/a": [answer]}) as server, pytest.raises(DataError, match=message) as caught:
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
    assert "\n" not in str(caught.value)
    assert _names(tmp_path) == []


def test_data_may_speak_of_web_pages() -> None:
    with Server({"/": [as_json({"abstract": "<html>"})]}) as server:
        assert Fetcher(pause=0).json(f"{server.url}/") == {"abstract": "<html>"}


def test_queries_are_encoded() -> None:
    query = {"filter": "a:b|c", "cursor": "*", "name": "Zürich & Co"}
    with Server({"/": [as_json([1])]}) as server:
        assert Fetcher(pause=0).json(f"{server.url}/", query) == [1]
        assert Fetcher(pause=0).json(f"{server.url}/?x=1", query) == [1]
    assert server.requests[0].query == query
    assert server.requests[1].query == {"x": "1", **query}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            Answer(body='{"x": "ü", y'.encode()),
            r"broken JSON at byte 12 of 13 \(line 1\): .*, and so at a second try",
        ),
        (Answer(body=b'{"results": [{"id": '), "broken JSON at byte 20 of 20"),
        (Answer(body=b""), "broken JSON at byte 0 of 0"),
        (Answer(body=b'{"x": "\xfc"}'), "byte 7 is not UTF-8"),
        (Answer(body=b'{"x": 1}' * 9, cut=30), "the answer breaks off"),
    ],
)
def test_a_broken_answer_is_asked_for_twice_and_then_named(answer: Answer, message: str) -> None:
    with Server({"/w": [answer]}) as server:
        with pytest.raises(DataError, match=f"^{server.url}/w: {message}"):
            Fetcher(pause=0).json(f"{server.url}/w")
        assert server.count("/w") == 2


def test_a_truncated_answer_is_repaired_by_a_second_request() -> None:
    whole = as_json({"results": list(range(100))})
    with Server({"/": [Answer(body=whole.body, cut=50), whole]}) as server:
        assert Fetcher(pause=0).json(f"{server.url}/") == {"results": list(range(100))}


def test_a_folder_that_cannot_be_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with Server({"/a": [WHOLE]}) as server, pytest.raises(OutputError, match="cannot be written"):
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "file" / "a")


def test_a_full_disk_is_an_output_error_and_the_part_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = fetching._Part.add

    def full(part: fetching._Part, chunk: bytes) -> None:
        if part.size >= 2 * CHUNK:
            raise OSError(errno.ENOSPC, "No space left on device")
        add(part, chunk)

    with Server({"/a": [WHOLE]}) as server:
        monkeypatch.setattr(fetching._Part, "add", full)
        with pytest.raises(OutputError, match="No space left on device"):
            Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
        monkeypatch.setattr(fetching._Part, "add", add)
        assert not (tmp_path / "a").exists()
        Fetcher(pause=0).download(f"{server.url}/a", tmp_path / "a")
    assert server.requests[1].headers["Range"] == f"bytes={2 * CHUNK}-"
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_the_cache_is_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("STUDY_CACHE")
    assert cache_folder().name == "compute-access-study"
    assert cache_folder().is_absolute()


def test_every_source_can_be_fetched_and_read() -> None:
    assert len(set(published.SOURCES)) == len(published.SOURCES)
    for name in published.SOURCES:
        module = published.source(name)
        assert callable(module.fetch), name
        assert callable(module.read), name


def test_an_unknown_source_is_named_before_anything_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match=r'no source "top50"\. Did you mean "top500"\?'):
        sources.fetch(["universities", "top50"], tmp_path, Fetcher())
    assert _names(tmp_path) == []


def test_all_that_assemble_reads_and_has_a_publisher_is_fetched_where_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sources, "fetch", lambda names, *_: asked.extend(names) or [])
    cli.fetch(raw=tmp_path)
    assert set(published.RECORDED) - set(asked) == {"nsf_cri", "entity_list"}
    assert set(asked) <= set(published.SOURCES)


def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put two sources in place of the real ones: one that works and one that needs a login."""

    def works(raw: Path, fetcher: Fetcher) -> list[Path]:
        (raw / "herd").mkdir(exist_ok=True)
        (raw / "herd" / "a.json").write_bytes(b"[]")
        return [raw / "herd" / "a.json"]

    def fails(raw: Path, fetcher: Fetcher) -> list[Path]:
        raise DataError("top500.org: login needed")

    modules = {"herd": SimpleNamespace(fetch=works), "top500": SimpleNamespace(fetch=fails)}
    monkeypatch.setattr(published, "source", modules.__getitem__)


def test_a_source_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _made_up(monkeypatch)
    said: list[str] = []
    with settings(progress=said.append):
        failed, worked = sources.fetch(["top500", "herd"], tmp_path, Fetcher())
    assert (failed.files, failed.error) == ((), "top500.org: login needed")
    assert (worked.files, worked.error) == ((tmp_path / "herd" / "a.json",), "")
    assert said == ["top500", "herd"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed here")
def test_the_recorded_checksums_can_be_checked_with_the_common_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _made_up(monkeypatch)
    sources.fetch(["herd"], tmp_path, Fetcher())
    command = ["sha256sum", "--check", "--strict", fetching.SUMS]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    (tmp_path / "herd" / "a.json").write_bytes(b"[1]")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1


def test_checksums_stay_for_files_that_are_there_and_are_made_anew_for_changed_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, gone = (tmp_path / name for name in ("first", "second", "gone"))
    for path in (first, second, gone):
        path.write_bytes(path.name.encode())
    record_checksums(tmp_path, [first, second, gone])
    gone.unlink()
    second.write_bytes(b"changed")
    old = tmp_path / "old"
    old.write_bytes(b"old")
    os.utime(old, (0, 0))
    read: list[Path] = []
    sha256 = fetching.sha256_of
    monkeypatch.setattr(fetching, "sha256_of", lambda path: (read.append(path), sha256(path))[1])
    place = record_checksums(tmp_path, [first, second, old])
    assert read == [second, old]
    assert place.read_text().splitlines() == [
        f"{hashlib.sha256(b'first').hexdigest()}  first",
        f"{hashlib.sha256(b'old').hexdigest()}  old",
        f"{hashlib.sha256(b'changed').hexdigest()}  second",
    ]
