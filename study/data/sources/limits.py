"""What an answer of a server may cost in bytes and time, held at the socket, below whatever HTTP makes of its bytes."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

from study.core import DataError

# A file and an answer of an API; the largest file of a source (a year of NSF awards) has some 100 MB.
LARGEST, LARGEST_ANSWER = 1 << 30, 32 << 20
# Seconds for all tries of one file.
LONGEST = 2 * 3600.0
# Bytes a second, over so many seconds of waiting.
SLOWEST, STALL = 1000, 60.0
# What the headings of an answer and the marks between its pieces may have beside its content.
HEADINGS = 1 << 20

_PORTS = {"http": 80, "https": 443}


class TooLarge(DataError):
    """More bytes come than may."""


class Limits:
    """What the download that is under way may still cost.

    Attributes
    ----------
    address : str
        The address, as messages show it.
    largest : int
        Bytes that the content may have.
    until : float
        When it must be whole, by the monotonic clock.
    """

    def __init__(self) -> None:
        self.begin("", LARGEST)

    def begin(self, address: str, largest: int) -> None:
        """Set the limits of the next download."""
        self.address, self.largest, self.until = address, largest, time.monotonic() + LONGEST

    def refuse_size(self, size: int) -> None:
        """Raise TooLarge where there are more bytes than may be."""
        if size > self.largest:
            fault = f"{self.address}: more than {self.largest:,} bytes come, the limit for this source"
            raise TooLarge(f"{fault}; see in a browser what it is.")

    def refuse_late(self) -> None:
        """Raise where the time is over."""
        if time.monotonic() > self.until:
            fault = f"{self.address}: not whole after {LONGEST / 3600:g} hours"
            raise DataError(f"{fault}; fetch again from a faster network, what came of a file is kept.")


class Adapter(requests.adapters.HTTPAdapter):
    """Sends requests over connections whose answers keep within limits."""

    def __init__(self, limits: Limits, **options: Any) -> None:
        def limited(sock: Any, **how: Any) -> HTTPResponse:
            response = HTTPResponse(sock, **how)
            # SocketIO is what a reader of a socket has inside.
            response.fp = io.BufferedReader(_Limited(response.fp.detach(), limits), 1 << 16)
            return response

        self._pools = {}
        for scheme, pool in (("http", HTTPConnectionPool), ("https", HTTPSConnectionPool)):
            connection = type("Limited", (pool.ConnectionCls,), {"response_class": staticmethod(limited)})
            self._pools[scheme] = type("LimitedPool", (pool,), {"ConnectionCls": connection})
        super().__init__(**options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *place: Any, **options: Any) -> Any:
        """Return the pools of connections by way of a proxy."""
        manager = super().proxy_manager_for(*place, **options)
        manager.pool_classes_by_scheme = self._pools
        return manager


def refuse_elsewhere(address: str, source: str, target: str, hosts: Sequence[str] = ()) -> None:
    """Raise where a server sends to an address that its source does not list, or from https to http.

    Parameters
    ----------
    address : str
        The address that was asked for, for the message.
    source, target : str
        The address that sends, and the one that it sends to.
    hosts : sequence of str
        Hosts beside that of ``address`` (with or without "www.") to which it may; ".nsf.gov" is all below nsf.gov.
    """
    here, there = urlsplit(source), urlsplit(target)
    if there.scheme not in _PORTS or (here.scheme == "https" and there.scheme != "https"):
        fault = f"{address}: the server sends to {target[:200]}, which is not https"
        raise DataError(f"{fault}; download it by hand if you trust that.")
    # Another port is another server, but for that of https in place of http's.
    host = _host(target)
    if host != _host(address) and not any(
        host == name or (name[0] == "." and host.endswith(name)) for name in hosts
    ):
        fault = f"{address}: the server sends to another host, {host}, which is none of this source's"
        raise DataError(f"{fault}; download it by hand if you trust that.")


def _host(address: str) -> str:
    parts = urlsplit(address)
    try:
        port = "" if parts.port in (None, _PORTS.get(parts.scheme)) else f":{parts.port}"
    except ValueError:
        port = ":?"
    return (parts.hostname or "").removeprefix("www.") + port


class _Limited(io.RawIOBase):
    """The bytes of one answer as they come, from the first of its headings on."""

    def __init__(self, stream: io.RawIOBase, limits: Limits) -> None:
        self._stream, self._limits = stream, limits
        self._all = self._lately = 0
        self._waited: float | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._limits.refuse_late()
        began = time.monotonic()
        count = self._stream.readinto(buffer) or 0
        self._limits.refuse_late()
        self._all += count
        if self._all > self._limits.largest + HEADINGS:
            self._limits.refuse_size(self._all)
        # A server may think before the first byte; the socket's own limit is for that.
        waited = 0.0 if self._waited is None else self._waited + time.monotonic() - began
        self._waited, self._lately = waited, self._lately + count
        if waited > STALL:
            if self._lately < SLOWEST * waited:
                fault = f"{self._limits.address}: less than {SLOWEST} bytes a second come over {STALL:g} s"
                raise DataError(f"{fault}; fetch again later, what came of a file is kept.")
            self._waited, self._lately = 0.0, 0
        return count

    def close(self) -> None:
        self._stream.close()
        super().close()
