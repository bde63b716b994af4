"""Servers that send too much, too slowly, elsewhere or something else: one error each, and little taken from them."""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servers import Answer, Server, as_json

from study.core.errors import DataError
from study.data.sources import affiliations, fetching, gpus_per_student, json_value, nsf, osg
from study.data.sources.fetching import CHUNK, Fetcher

MEGABYTE = 1 << 20
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


@pytest.fixture(autouse=True)
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LARGEST", 2 * MEGABYTE)
    monkeypatch.setattr(fetching, "LARGEST_ANSWER", 2 * MEGABYTE)
    monkeypatch.setattr(fetching, "HEADINGS", 10_000)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def asked(how: str, server: Server, folder: Path, **options: object) -> object:
    fetcher = Fetcher(pause=0)
    if how == "json":
        return fetcher.json(f"{server.url}/a")
    return fetcher.download(f"{server.url}/a", folder / "a", **options).read_bytes()


def refused(how: str, answer: Answer, folder: Path, message: str) -> Server:
    """Ask for an answer that must be refused in one line, with nothing left, and return the server that was asked."""
    with Server({"/a": [answer]}) as server:
        with pytest.raises(DataError, match=message) as caught:
            asked(how, server, folder)
        assert str(caught.value).startswith(f"{server.url}/a: ")
    assert "\n" not in str(caught.value)
    assert not (folder / "a").exists()
    return server


def endless(piece: bytes, start: bytes = b"") -> Callable[[], Iterator[bytes]]:
    """Return bodies that end long after they must have been left, so that a limit that does not hold fails a test."""
    return lambda: itertools.chain([start], itertools.repeat(piece, 100 * MEGABYTE // len(piece)))


def dripping(start: bytes = b"") -> Callable[[], Iterator[bytes]]:
    """Return bodies that come byte by byte, a hundred a second or fewer."""

    def drops() -> Iterator[bytes]:
        yield start
        for _ in range(200):
            threading.Event().wait(0.01)
            yield b"0"

    return drops


# ---- too much ----


ENDLESS = {
    "body": (Answer(pieces=endless(b"0," * 4096, b"[")), "more than 2,097,152 bytes come, the limit"),
    "headings": (
        Answer(bare=True, pieces=endless(b"x: y\r\n" * 1000, b"HTTP/1.1 200 OK\r\nx: ")),
        "no answer .*got more than 100 headers",
    ),
    "continue": (
        Answer(bare=True, pieces=endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)),
        "more than 2,097,152 bytes come, the limit",
    ),
    # A piece's length has notes beside it, which older versions of urllib3 let have any length.
    "length of a piece": (
        Answer(
            bare=True, pieces=endless(b"0" * 8192, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9;")
        ),
        "more than 2,097,152 bytes come|breaks off",
    ),
}


@pytest.mark.parametrize("how", ["json", "file"])
@pytest.mark.parametrize(("answer", "message"), ENDLESS.values(), ids=ENDLESS)
def test_an_endless_answer_is_left(tmp_path: Path, how: str, answer: Answer, message: str) -> None:
    server = refused(how, answer, tmp_path, message)
    # Each try may cost the limit, and what a socket holds on both sides was sent and not read.
    assert server.sent < server.count("/a") * (2 + 10) * MEGABYTE
    assert list(tmp_path.iterdir()) == []


def test_a_file_whose_told_length_is_too_large_is_not_begun(tmp_path: Path) -> None:
    answer = Answer(body=b"0" * 5 * MEGABYTE)
    refused("file", answer, tmp_path, "more than 2,097,152 bytes")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("how", ["json", "file"])
def test_a_small_packed_answer_may_not_become_a_large_one(tmp_path: Path, how: str) -> None:
    packed = Answer(body=gzip.compress(b"0" * 50 * MEGABYTE), headers={"Content-Encoding": "gzip"})
    refused(how, packed, tmp_path, "more than 2,097,152 bytes")
    twice = Answer(body=gzip.compress(packed.body), headers={"Content-Encoding": "gzip, gzip"})
    refused(how, twice, tmp_path, "packed more than once")


# ---- too slow ----


@pytest.mark.parametrize("how", ["json", "file"])
@pytest.mark.parametrize(
    "answer",
    [
        Answer(pieces=dripping(b"[")),
        Answer(bare=True, pieces=dripping(b"HTTP/1.1 200 OK\r\nx: ")),
        Answer(bare=True, pieces=dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9;")),
    ],
    ids=["body", "headings", "length of a piece"],
)
def test_an_answer_byte_by_byte_is_left(
    tmp_path: Path, how: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "STALL", 0.3)
    server = refused(how, answer, tmp_path, r"less than 1000 bytes a second come over 0.3 s")
    assert server.count("/a") == 1


@pytest.mark.parametrize("how", ["json", "file"])
def test_an_answer_that_is_fast_enough_does_not_last_for_ever(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LONGEST", 0.4)
    refused(how, Answer(pieces=dripping(b"[")), tmp_path, "not whole after .* hours")


def test_a_connection_that_breaks_after_each_piece_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "LONGEST", 0.5)
    cuts = itertools.count(CHUNK + 1, CHUNK)

    def broken(_: object) -> Answer:
        threading.Event().wait(0.1)
        return Answer(body=b"0" * 2 * MEGABYTE, cut=next(cuts))

    with Server({"/a": broken}) as server:
        with pytest.raises(DataError, match=r"not whole after .* hours"):
            asked("file", server, tmp_path)
        assert server.count("/a") > 1


# ---- elsewhere ----


def sent_to(address: str) -> Answer:
    return Answer(302, headers={"Location": address})


@pytest.mark.parametrize("how", ["json", "file"])
def test_another_host_is_asked_only_where_the_source_lists_it(tmp_path: Path, how: str) -> None:
    with (
        Server({"/b": [as_json([1])]}) as other,
        Server({"/a": [sent_to(f"{other.url}/b?api_key=geheim")]}) as server,
    ):
        host = other.url.removeprefix("http://")
        with pytest.raises(DataError, match=f"sends to another host, {host}, which is none") as caught:
            asked(how, server, tmp_path)
        assert other.requests == []
        assert "geheim" not in str(caught.value)
        if how == "file":
            assert asked(how, server, tmp_path, hosts=(host,)) == b"[1]"


def test_a_host_may_send_to_itself_but_not_round_and_round(tmp_path: Path) -> None:
    answers = {"/a": [sent_to("b?x=1")], "/b": [as_json([1])], "/c": [sent_to("/c")]}
    with Server(answers) as server:
        assert Fetcher(pause=0).json(f"{server.url}/a") == [1]
        with pytest.raises(DataError, match="from place to place"):
            Fetcher(pause=0).json(f"{server.url}/c")
        assert server.count("/c") == 6


@pytest.mark.parametrize("scheme", ["file:///etc/hostname", "ftp://127.0.0.1/b", "gopher://127.0.0.1/b"])
def test_what_is_no_web_address_is_not_asked(tmp_path: Path, scheme: str) -> None:
    refused("file", sent_to(scheme), tmp_path, "which is not https")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the file of a key, made for this run, and its certificate for this machine's own address."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no server can speak TLS here")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "certificate.pem"]
    subprocess.run(command, cwd=path.parent, check=True, capture_output=True)
    parts = (path.with_name(name).read_text() for name in ("key.pem", "certificate.pem"))
    path.write_text("".join(parts))
    return path


def test_https_never_falls_to_http(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.with_name("certificate.pem")))
    with Server({"/b": [as_json([1])]}) as plain:
        host = plain.url.removeprefix("http://")
        answers = {"/a": [sent_to(f"{plain.url}/b")], "/c": [as_json([2])], "/d": [sent_to("/c")]}
        with Server(answers, certificate) as server:
            assert Fetcher(pause=0).json(f"{server.url}/c") == [2]
            assert Fetcher(pause=0).json(f"{server.url}/d") == [2]
            with pytest.raises(DataError, match=f"sends to {plain.url}/b, which is not https"):
                asked("file", server, tmp_path, hosts=(host,))
        assert plain.requests == []


def test_the_limits_hold_under_tls(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.with_name("certificate.pem")))
    monkeypatch.setattr(fetching, "STALL", 0.3)
    answers = {"/a": [Answer(pieces=endless(b"0" * 8192))], "/b": [Answer(pieces=dripping())]}
    with Server(answers, certificate) as server:
        with pytest.raises(DataError, match="more than 2,097,152 bytes"):
            asked("file", server, tmp_path)
        with pytest.raises(DataError, match="less than 1000 bytes a second"):
            Fetcher(pause=0).json(f"{server.url}/b")


@pytest.mark.parametrize(
    ("target", "fine"),
    [
        ("https://www.nsf.gov/a", True),
        ("https://nsf.gov/a", True),
        ("https://x.nsf.gov/a", True),
        ("https://codeload.org/a", True),
        ("https://xnsf.gov/a", False),
        ("https://nsf.gov.evil.org/a", False),
        ("https://nsf.gov@evil.org/a", False),
        ("https://nsf.gov:8443/a", False),
        ("https://nsf.gov:port/a", False),
        ("https://x.codeload.org/a", False),
        ("http://nsf.gov/a", False),
        ("https:///a", False),
    ],
)
def test_a_host_is_taken_by_its_whole_name(target: str, fine: bool) -> None:
    asked_for, hosts = "https://nsf.gov/list", (".nsf.gov", "codeload.org")
    if fine:
        fetching.refuse_elsewhere(asked_for, asked_for, target, hosts)
        return
    with pytest.raises(DataError, match="the server sends to"):
        fetching.refuse_elsewhere(asked_for, asked_for, target, hosts)


def test_a_catalogue_may_not_name_files_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server({"/x": [as_json([1])]}) as other:
        listed = as_json({"files": [{"fileName": "2023.zip", "downloadUrl": f"{other.url}/x"}]})
        with Server({"/list": [listed]}) as server:
            monkeypatch.setattr(nsf, "CATALOGUE", f"{server.url}/list")
            with pytest.raises(DataError, match="another host"):
                nsf.fetch(tmp_path, Fetcher(pause=0))
        assert other.requests == []


# ---- something else ----


DEEP = {
    "a little too deep": b"[" * 101 + b"]" * 101,
    "objects": b'{"a":' * 101 + b"1" + b"}" * 101,
    "deeper than the interpreter": b"[" * 200_000 + b"]" * 200_000,
    "a number of many digits": b"1" * 100_000,
}


@pytest.mark.parametrize("body", DEEP.values(), ids=DEEP)
def test_nested_and_endless_values_are_refused(tmp_path: Path, body: bytes) -> None:
    refused("json", Answer(body=body), tmp_path, r"no JSON to read \(.*(nested|digits)")
    with pytest.raises(DataError, match=r"^a.json: no JSON to read"):
        json_value(body, "a.json")


def test_what_is_as_deep_as_may_be_is_read() -> None:
    value = json_value(b"[" * 100 + b"]" * 100, "a.json")
    assert isinstance(value, list)
    assert json_value(b'"text"', "a.json") == "text"


def test_a_huge_text_of_json_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.data.sources.reading.LARGEST_JSON", 10)
    with pytest.raises(DataError, match=r"^a.json: 11 bytes of JSON, at most 10 are read"):
        json_value(b"[1,2,3,4,5]", "a.json")


def test_a_file_of_a_fixed_version_must_have_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def anything(_: object) -> Answer:
        return Answer(body=b"university,h100_equivalent\nX,1\n")

    pages = [place for _, place in affiliations.FILES.values()]
    answers = {f"/{gpus_per_student.VERSION}/data/{gpus_per_student.FILE}": anything}
    with Server(answers | dict.fromkeys((f"/{place}" for place in pages), anything)) as server:
        for source in (gpus_per_student, affiliations):
            monkeypatch.setattr(source, "ADDRESS", server.url)
            with pytest.raises(DataError, match=r"the file has SHA-256 .*, but .* is expected"):
                source.fetch(tmp_path, Fetcher(pause=0))
    assert set(affiliations.SHA256) == {name for name, _ in affiliations.FILES.values()}
    assert set(gpus_per_student.SHA256) == {gpus_per_student.VERSION}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


# ---- git ----


@needs_git
@pytest.mark.parametrize("address", ["--upload-pack=touch {}", "ext::touch {}", "-u touch {}"])
def test_an_address_is_no_option_and_no_command_of_git(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tmp_path / "made"
    monkeypatch.setattr(osg, "REPOSITORY", address.format(made))
    with pytest.raises(DataError, match="git clone fails"):
        osg.fetch(tmp_path, Fetcher(pause=0))
    assert not made.exists()


@needs_git
def test_git_is_told_where_options_end_and_speaks_no_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    run = subprocess.run
    monkeypatch.setattr(
        subprocess, "run", lambda command, **how: (commands.append(command), run(command, **how))[1]
    )
    with Server({}) as server:
        monkeypatch.setattr(osg, "REPOSITORY", f"{server.url}/registry.git")
        with pytest.raises(DataError, match="git clone fails"):
            osg.fetch(tmp_path, Fetcher(pause=0))
        assert server.requests == []
        ((*_, mark, address, _),) = commands
        assert (mark, address) == ("--", osg.REPOSITORY)


def repository(folder: Path) -> Path:
    (folder / "topology" / "F" / "S").mkdir(parents=True)
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "one"]):
        if command[0] == "add":
            (folder / "topology" / "F" / "S" / "G.yaml").symlink_to(folder.parent / "secret.yaml")
            (folder / "large").write_bytes(os.urandom(100_000))
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        subprocess.run(["git", "-C", str(folder), *identity, *command], check=True)
    return folder


@needs_git
def test_a_repository_is_limited_in_size_and_time_and_its_links_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.yaml").write_text("Resources:\n  ONE:\n    Tags: [CC*]\n", encoding="utf-8")
    monkeypatch.setattr(osg, "REPOSITORY", str(repository(tmp_path / "registry")))
    (path,) = osg.fetch(tmp_path, Fetcher(pause=0))
    assert path.read_text(encoding="utf-8").splitlines() == [",".join(osg.HEADING)]
    path.unlink()
    monkeypatch.setattr(fetching, "LARGEST", 50_000)
    with pytest.raises(DataError, match="git clone fails"):
        osg.fetch(tmp_path, Fetcher(pause=0))
    monkeypatch.setattr(fetching, "LONGEST", 0.0)
    with pytest.raises(DataError, match="git clone is not done after 0 hours"):
        osg.fetch(tmp_path, Fetcher(pause=0))
    assert not path.exists()
