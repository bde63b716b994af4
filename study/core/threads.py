"""One thread for products of long and narrow arrays, which more threads slow down and round in another order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from threading import local
from typing import Any

_STATE = local()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let linear algebra use one thread; inside another such context, which is cheap, nothing changes."""
    if getattr(_STATE, "single", False):
        yield
        return
    # A limit of threadpoolctl's looks up all there is to know of all libraries, every time.
    before = [(library, library.num_threads) for library in _libraries()]
    _STATE.single = True
    try:
        for library, _ in before:
            library.set_num_threads(1)
        yield
    finally:
        for library, threads in before:
            library.set_num_threads(threads)
        _STATE.single = False


@cache
def _libraries() -> list[Any]:
    """Return the libraries of linear algebra that are loaded."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").lib_controllers
