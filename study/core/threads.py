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
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        _STATE.single = False


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
