"""Files that are written: what stands in their place, links and modes, and what a killed process leaves."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from study.core import OutputError, outputs, place_of, refuse_unwritable, settle, write_all

TOKEN = "0123456789abcdef"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def left(folder: Path, begins: str, files: dict[str, bytes], places: list[str] | None = None) -> None:
    """Leave what a process leaves that is killed: a journal of places, and files beside them."""
    folder.mkdir(exist_ok=True)
    (folder / f"{begins}{TOKEN}").write_text(json.dumps([*files] if places is None else places))
    for number, (name, content) in enumerate(files.items()):
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.with_name(f"{outputs.STAGING}{TOKEN}-{number}").write_bytes(content)


def device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def unix_socket(path: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(path))


@pytest.mark.parametrize(
    ("make", "what"),
    [(Path.mkdir, "a folder"), (os.mkfifo, "a pipe"), (unix_socket, "a socket"), (device, "a device")],
    ids=["folder", "pipe", "socket", "device"],
)
@pytest.mark.parametrize("linked", [False, True])
def test_what_is_no_file_is_not_replaced(tmp_path, monkeypatch, make, what, linked):
    monkeypatch.chdir(tmp_path)
    try:
        make(Path("place"))
    except PermissionError:
        pytest.skip("only root makes devices")
    kind = stat.S_IFMT(Path("place").stat().st_mode)
    if linked:
        Path("link").symlink_to("place")
    name = "link" if linked else "place"
    for refused in (
        lambda: write_all(Path(), {"other": b"x", name: b"x"}),
        lambda: refuse_unwritable(Path(), name),
    ):
        with pytest.raises(
            OutputError, match=f"^{name}: this is {what}, and is not replaced by a file; name"
        ):
            refused()
    assert stat.S_IFMT(Path("place").stat().st_mode) == kind
    assert names(tmp_path) == (["link", "place"] if linked else ["place"])


def test_a_link_stays_and_what_it_points_to_is_written_and_keeps_its_mode(tmp_path):
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "target"
    target.write_bytes(b"old")
    target.chmod(0o640)
    (tmp_path / "link").symlink_to("far/target")
    (tmp_path / "again").symlink_to("link")
    (tmp_path / "dangling").symlink_to("far/new")
    write_all(tmp_path, {"again": b"new", "dangling": b"made", "plain": b"p"})
    assert (tmp_path / "link").is_symlink()
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"new", 0o640)
    assert (tmp_path / "far" / "new").read_bytes() == b"made"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o666 & ~umask
    assert names(tmp_path / "far") == ["new", "target"]


@pytest.mark.parametrize("end", ["loop", "gone/far"])
def test_a_link_to_nowhere_is_one_line(tmp_path, end):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to(end)
    if end == "loop":
        with pytest.raises(OutputError, match="cannot write here"):
            write_all(tmp_path, {"link": b"x"})
    else:
        write_all(tmp_path, {"link": b"x"})
        assert (tmp_path / "gone" / "far").read_bytes() == b"x"
    assert not [name for name in names(tmp_path) if "writ" in name]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_made(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/1/made")):
        with pytest.raises(OutputError, match="cannot write here"):
            refuse_unwritable(folder)
    refuse_unwritable(tmp_path / "new" / "below", "name")
    assert names(tmp_path) == ["file"]


def test_what_a_killed_process_had_written_is_completed_and_its_rest_taken_away(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    files = {"a": b"1", "deep/b": b"2", str(elsewhere / "c"): b"3"}
    left(tmp_path / "done", outputs.COMMITTED, files)
    left(tmp_path / "half", outputs.STAGING, files)
    # Of the first, a rename was done.
    (tmp_path / "done" / f".writing-{TOKEN}-0").rename(tmp_path / "done" / "a")
    (elsewhere / f".writing-{TOKEN}-2").write_bytes(b"3")
    settle(tmp_path / "done")
    assert names(tmp_path / "done") == ["a", "deep", "deep/b"]
    assert names(elsewhere) == ["c"]
    assert [(tmp_path / "done" / name).read_bytes() for name in files] == [b"1", b"2", b"3"]
    settle(tmp_path / "half")
    assert names(tmp_path / "half") == ["deep"]
    for content in (b"", b'["a', b"3", b"[1]", b"\xff", b"[" * 100_000):  # a journal that is not whole
        (tmp_path / "half" / f".writing-{TOKEN}").write_bytes(content)
        write_all(tmp_path / "half", {"x": content})
        assert names(tmp_path / "half") == ["deep", "x"]


def test_what_a_killed_process_had_written_whole_is_put_in_place(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    elsewhere = tmp_path / "elsewhere" / "c"
    files = {"a": b"1", "below/b": b"2", str(elsewhere): b"3"}
    monkeypatch.setattr(outputs, "_complete", killed)
    with pytest.raises(KeyboardInterrupt):
        write_all(tmp_path / "here", files)
    monkeypatch.undo()
    assert not elsewhere.exists()
    settle(tmp_path / "here")
    assert {name: (tmp_path / "here" / name).read_bytes() for name in files} == files
    assert names(tmp_path) == ["elsewhere", "elsewhere/c", "here", "here/a", "here/below", "here/below/b"]


def test_a_journal_from_elsewhere_moves_nothing_into_other_folders(tmp_path):
    """One that came with a folder from a stranger names places there; only what lies beside a place can go there."""
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "home").mkdir()
    for begins in (outputs.COMMITTED, outputs.STAGING):
        left(tmp_path / "theirs", begins, {"a": b"evil"}, ["../victim", str(tmp_path / "home" / "made")])
        settle(tmp_path / "theirs")
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert names(tmp_path / "home") == []


def test_what_a_living_process_writes_is_waited_for_and_not_swept(tmp_path):
    left(tmp_path, outputs.STAGING, {"a": b"half"})
    with outputs._locked(tmp_path):
        settle(tmp_path, only_if_free=True)
        assert len(names(tmp_path)) == 2
        waiting = threading.Thread(target=write_all, args=(tmp_path, {"a": b"whole"}))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        assert len(names(tmp_path)) == 2
    waiting.join(60)
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_without_locks_files_are_written_and_nothing_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(outputs, "fcntl", None)
    left(tmp_path, outputs.STAGING, {"a": b"half"})
    write_all(tmp_path, {"a": b"whole"})
    assert (tmp_path / "a").read_bytes() == b"whole"
    assert len(names(tmp_path)) == 3


def test_a_place_is_what_a_link_points_to(tmp_path):
    (tmp_path / "link").symlink_to("file")
    assert place_of(tmp_path / "link") == Path(os.path.realpath(tmp_path)) / "file"
