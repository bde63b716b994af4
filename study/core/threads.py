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
    _STATE.single = True
    try:
        several = [(library, n) for library in _libraries() if (n := library.num_threads) not in (None, 1)]
        for library, _ in several:
            library.set_num_threads(1)
        try:
            yield
        finally:
            for library, n in several:
                library.set_num_threads(n)
    finally:
        _STATE.single = False


@cache
def _libraries() -> list[Any]:
    from threadpoolctl import ThreadpoolController

    return [each for each in ThreadpoolController().lib_controllers if each.user_api == "blas"]
