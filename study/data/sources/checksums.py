"""The checksums of fetched originals, in the form that ``sha256sum --check`` takes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from study.core import write_all

FILE = "SHA256SUMS"


def record(raw: Path, paths: Iterable[Path]) -> Path:
    """Write the SHA-256 of files below ``raw`` beside those of files recorded before and still there.

    A file is read only if it is not recorded, or changed since the record was written.

    Returns
    -------
    Path
        ``raw / "SHA256SUMS"``: lines "<sha256>  <path below raw>", in the order of the paths.

    Raises
    ------
    OutputError
        If the record cannot be written.
    """
    place = raw / FILE
    known, written = {}, 0
    if place.is_file():
        written = place.stat().st_mtime_ns
        lines = place.read_text(encoding="utf-8").splitlines()
        known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    sums = {name: digest for name, digest in known.items() if (raw / name).is_file()}
    for path in paths:
        name = path.relative_to(raw).as_posix()
        if name not in sums or path.stat().st_mtime_ns >= written:
            sums[name] = sha256(path)
    content = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return write_all(raw, {FILE: content.encode()})[0]


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
