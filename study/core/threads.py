"""One thread for products of long and narrow arrays, which more threads slow down and round in another order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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
        # Asked first, as most processes have one already, and to limit takes ten times as long as to ask.
        several = any(each.num_threads > 1 for each in _blas().lib_controllers)
        with _blas().limit(limits=1) if several else nullcontext():
            yield
    finally:
        _STATE.single = False


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
