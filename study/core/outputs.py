"""Files that appear whole or not at all, and together where they are written together.

What is written is first put beside where it belongs, and a journal in the folder says where that is. Once the journal
has its other name, the files are as good as there: if the process is killed while it renames them, the next one that
writes or reads the folder does so. What a process left that was killed before is taken away.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from study.core.errors import OutputError

try:
    import fcntl
except ImportError:  # there are no such locks on Windows
    fcntl = None  # type: ignore[assignment]

# How the names of journals begin: of files that are not all there yet, and of files that are.
STAGING, COMMITTED = ".writing-", ".written-"
_LEFT = re.compile(f"({re.escape(STAGING)}|{re.escape(COMMITTED)})([0-9a-f]{{16}})")
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


def write_all(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files below a folder; none of them changes unless all can be written, and then all do.

    A symbolic link stays, and what it points to is written; a file that is there keeps its mode.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    files : mapping of str to bytes
        Contents by path below the folder, or by absolute path.

    Returns
    -------
    list of Path
        The files, in order of their names.

    Raises
    ------
    OutputError
        If a place cannot be written to, or holds something else than a file.
    """
    with _refusing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        places = [place_of(folder / name) for name in files]
        with _locked(folder) as alone:
            _settle(folder, alone)
            token, root = secrets.token_hex(8), Path(os.path.realpath(folder))
            journal = root / f"{STAGING}{token}"
            with _taken_back([journal, *_staged(places, token)]):
                below = [
                    str(each.relative_to(root) if each.is_relative_to(root) else each) for each in places
                ]
                _put(journal, json.dumps(below).encode())
                for place, staged, content in zip(
                    places, _staged(places, token), files.values(), strict=True
                ):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    _put(staged, content)
                    with suppress(FileNotFoundError):
                        staged.chmod(stat.S_IMODE(place.stat().st_mode))
                _sync({root, *(place.parent for place in places)})
                journal.rename(journal.with_name(f"{COMMITTED}{token}"))
            _complete(journal.with_name(f"{COMMITTED}{token}"), places)
    return [folder / name for name in sorted(files)]


def write_scratch(path: Path, content: bytes) -> None:
    """Write one file of a folder of what can be had again: whole, but lost perhaps where the machine stops.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with _refusing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_name(f"{STAGING}{secrets.token_hex(8)}")
        with _locked(path.parent, shared=True), _taken_back([staged]):
            staged.write_bytes(content)
            staged.replace(path)


def settle(folder: Path, *, only_if_free: bool = False) -> None:
    """Complete what a process that was killed has written into a folder, and take away what it left half-written.

    Parameters
    ----------
    folder : Path
    only_if_free : bool
        Rather leave it than wait for processes that write there now.

    Raises
    ------
    OutputError
        If there are files to complete, and the folder cannot be written to.
    """
    with _refusing(folder):
        if any(_left(folder)):
            with _locked(folder, wait=not only_if_free) as alone:
                if alone or not only_if_free:
                    _settle(folder, alone)


def place_of(path: Path) -> Path:
    """Return where a file is, or would be, without symbolic links; refuse a place that holds something else.

    Raises
    ------
    OutputError
        If it does, or cannot be looked at.
    """
    with _refusing(path.parent):
        place = Path(os.path.realpath(path))
        try:
            mode = place.stat().st_mode
        except FileNotFoundError:
            return place
        what = next((words for is_kind, words in _KINDS if is_kind(mode)), None)
        if what is not None:
            raise OutputError(f"{path}: this is {what}, and is not replaced by a file; name another file.")
        return place


def refuse_unwritable(folder: Path, *names: str) -> None:
    """Refuse a folder, or files in it, that could not be written: before the work, and with nothing made.

    Raises
    ------
    OutputError
    """
    with _refusing(folder):
        there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    for name in names:
        place_of(folder / name)


def as_typed(path: Path) -> str:
    """Return a path as the user would type it from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


@contextmanager
def _refusing(folder: Path) -> Iterator[None]:
    """Say in one line what the system refuses."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder}: cannot write here ({error.strerror}); name another folder.") from error


@contextmanager
def _locked(folder: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Write into a folder while no other process does, or none but such as share it; yield whether that is sure.

    The system takes the lock from a process that is killed.
    """
    handle, sure = None, False
    try:
        if fcntl is not None:
            with suppress(OSError):  # some network drives have no locks
                handle = os.open(folder, os.O_RDONLY)
                mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                fcntl.flock(handle, mode if wait else mode | fcntl.LOCK_NB)
                sure = True
        yield sure
    finally:
        if handle is not None:
            os.close(handle)


@contextmanager
def _taken_back(paths: Iterable[Path]) -> Iterator[None]:
    """Take files away if what is done inside does not come to its end."""
    try:
        yield
    except BaseException:
        for path in paths:
            with suppress(OSError):
                path.unlink()
        raise


def _left(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if _LEFT.fullmatch(name)]
    except OSError:  # there is no such folder, or it is not for us
        return []


def _settle(folder: Path, alone: bool) -> None:
    """Complete or take away what is left in a folder; what is half-written is nobody's only if we are alone."""
    for journal in _left(folder):
        match = _LEFT.fullmatch(journal.name)
        if match is None or not journal.is_file() or journal.is_symlink():
            continue
        places = _places(journal)
        if match[1] == COMMITTED:
            _complete(journal, places)
        elif alone:
            for path in (*_staged(places, match[2]), journal):
                with suppress(OSError):
                    path.unlink()


def _places(journal: Path) -> list[Path]:
    """Return what a journal lists: nothing if it was not written to its end, and so is of nothing yet."""
    try:
        return [journal.parent / name for name in json.loads(journal.read_bytes())]
    except (ValueError, TypeError, RecursionError):
        return []


def _staged(places: Iterable[Path], token: str) -> list[Path]:
    """Return where files are put first: beside their places, so that no journal can move a file to elsewhere."""
    return [place.with_name(f"{STAGING}{token}-{number}") for number, place in enumerate(places)]


def _complete(journal: Path, places: list[Path]) -> None:
    for staged, place in zip(_staged(places, journal.name.removeprefix(COMMITTED)), places, strict=True):
        with suppress(FileNotFoundError):  # it was done before
            staged.replace(place)
    _sync({journal.parent, *(place.parent for place in places)})
    journal.unlink(missing_ok=True)


def _put(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folders: Iterable[Path]) -> None:
    """Have the disk know the names in folders, where it can be asked to."""
    for folder in folders:
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
