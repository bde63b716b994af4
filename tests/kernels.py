"""Other kernels of linear algebra and of arrays that this processor can run, for a process of their own.

Two processors add in another order because OpenBLAS and numpy choose kernels by what they support; older ones can
be asked for by environment variables. Run as a program, it makes the whole paper under the oldest kernels, compares
every file with the committed one, and runs the tests.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
BLAS, ARRAYS = "OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES"
# Kernels that any processor of the kind has; the first one that is not its own is taken, and the last one with numpy's
# oldest loops.
OLDER = {"x86_64": ("Haswell", "Sandybridge", "Prescott"), "aarch64": ("CORTEXA57", "ARMV8")}


def report() -> str:
    """Say which kernels this process has, a line each: threadpoolctl's report and numpy's features."""
    import scipy.linalg  # noqa: F401  (has a library of its own)
    from threadpoolctl import threadpool_info

    blas = sorted(
        f"{Path(info['filepath']).name}: {info['internal_api']} {info['version']}, {info.get('architecture')}"
        for info in threadpool_info()
        if info["user_api"] == "blas"
    )
    return "\n".join([*blas, f"numpy's loops: {', '.join(_loops()) or 'baseline'}"])


def _loops() -> list[str]:
    """Return the features that numpy has loops for and this process uses."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return [name for name in __cpu_dispatch__ if __cpu_features__[name]]


def environments() -> dict[str, dict[str, str]]:
    """Return environments by name: this process's kernels, another one's, and the oldest ones.

    Those of which the report shows no difference are left out: a processor or a library has no choice of kernels.
    """
    own = dict(os.environ)
    older = OLDER.get(platform.machine(), ())
    tried = {"own": own}
    for name, core in zip(("other", "oldest"), (older[:1], older[-1:]), strict=True):
        if core:
            tried[name] = own | {BLAS: core[0]}
    if _loops() and "oldest" in tried:
        tried["oldest"] |= {ARRAYS: " ".join(_loops())}
    seen: dict[str, dict[str, str]] = {}
    reports: set[str] = set()
    for name, environment in tried.items():
        shown = report() if name == "own" else in_kernels(environment, "report")
        if shown not in reports:
            seen[name] = environment
        reports.add(shown)
    return seen


def in_kernels(environment: Mapping[str, str], what: str) -> str:
    """Return what a function of this module prints in a process with an environment."""
    command = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import kernels; print(kernels.{what}())"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", command],
        env=dict(environment), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


def differing(one: Path, other: Path) -> list[str]:
    """Return the files that two folders have not both with the same content.

    Figures are compared as they are before compression, which is the work of other libraries.
    """
    left, right = (
        {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (one, other)
    )
    return sorted(name for name in left.keys() | right.keys() if not _same(left.get(name), right.get(name)))


def _same(one: bytes | None, other: bytes | None) -> bool:
    if one is None or other is None:
        return False
    return one == other or _content(one) == _content(other)


def _content(file: bytes) -> object:
    """Return a file without its compression: the streams of a PDF, the dots of a PNG, else its bytes."""
    if file.startswith(b"%PDF"):
        return [_inflated(part) for part in re.split(rb"stream\r?\n|\r?\nendstream", _without_offsets(file))]
    if file.startswith(b"\x89PNG"):
        from PIL import Image

        return np.asarray(Image.open(BytesIO(file))).tobytes()
    return file


def _without_offsets(pdf: bytes) -> bytes:
    body = pdf[: pdf.rindex(b"\nxref")]
    return re.sub(rb"/Length \d+|^\d+$", b"", body, flags=re.MULTILINE)


def _inflated(part: bytes) -> bytes:
    try:
        return zlib.decompress(part)
    except zlib.error:
        return part


def main() -> None:
    """Make the paper under the oldest kernels, say which files differ from the committed ones, and run the tests."""
    found = environments()
    for name, environment in found.items():
        print(f"Kernels, {name}:", in_kernels(environment, "report"), sep="\n  ", flush=True)
    if "oldest" not in found:
        print("This processor, or its libraries, has no other kernels to choose: nothing is compared.")
        return
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "paper"
        run = ["run", "--output", str(fresh), "--cache", str(Path(scratch) / "cache")]
        command = [sys.executable, "-c", "from study.commands.cli import main; main()", *run]
        subprocess.run(command, cwd=ROOT, env=found["oldest"], check=True)
        apart = [
            name
            for name in differing(fresh, ROOT / "paper")
            if name.startswith(("tables/", "figures/", "estimates", "numbers"))
        ]
    print(
        "\n".join(f"Differs from the committed file: {name}" for name in apart)
        or "Every file has the same content.",
        flush=True,
    )
    tests = ["-m", "pytest", "--numprocesses", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    failed = subprocess.run([sys.executable, *tests], cwd=ROOT, env=found["oldest"], check=False).returncode
    sys.exit(bool(apart or failed))


if __name__ == "__main__":
    main()
