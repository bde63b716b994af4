"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from study.core.errors import OutputError

STAGING = ".writing-"  # begins the names of folders of what is not yet whole


def write_all(folder: Path, files: Mapping[str, bytes]) -> list[Path]:
    """Write files below a folder; none of them appears unless all could be written.

    Parameters
    ----------
    folder : Path
        Made if it does not exist.
    files : mapping of str to bytes
        Contents by path below the folder.

    Returns
    -------
    list of Path
        The files, in order of their names.

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in files:
            if (folder / name).is_dir():
                raise IsADirectoryError(0, f"{name} is a folder")
        with tempfile.TemporaryDirectory(dir=folder, prefix=STAGING) as staging:
            for name, content in files.items():
                staged = Path(staging) / name
                staged.parent.mkdir(parents=True, exist_ok=True)
                staged.write_bytes(content)
            for name in files:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                os.replace(Path(staging) / name, folder / name)
    except OSError as error:
        raise OutputError(f"{folder}: cannot write here ({error.strerror}); name another folder.") from error
    return [folder / name for name in sorted(files)]


def check_place(path: Path) -> None:
    """Refuse a file that could not be written, before the work for it is done.

    Raises
    ------
    OutputError
        If it is a folder, or the folder that it is in, or would be made in, cannot be written to.
    """
    try:
        if path.is_dir():
            raise OutputError(f"{path}: it is a folder; name a file in it.")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
    except OSError as error:
        raise OutputError(f"{path}: cannot write here ({error.strerror}); name another file.") from None
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        why = os.strerror(errno.EACCES if folder.is_dir() else errno.ENOTDIR)
        raise OutputError(f"{path.parent}: cannot write here ({why}); name another folder.")


def as_typed(path: Path) -> str:
    """Return a path as the user would type it from here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
