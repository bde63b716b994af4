"""Downloads that are polite, are retried, go on where they stopped, and appear whole or not at all.

What an answer of a server may cost in bytes and time is held at the socket, below whatever HTTP makes of its bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import requests
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import MaxRetryError
from urllib3.util.retry import Retry

from study.core import PACKAGE, DataError, OutputError, __version__, tell, write_all
from study.data.sources.reading import parsed

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


Progress = Callable[[str, int, int | None], None]

CHUNK = 1 << 16
TIMEOUT = (10, 60)
FIRST_WAIT, LONGEST_WAIT = 1.0, 120.0
FAILURES = (500, 502, 503, 504)
RETRIED = (429, *FAILURES)
REDIRECTIONS = 5

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Fetcher:
    """One polite client for all sources, which no server can hold for ever or fill the disk of.

    Parameters
    ----------
    pause : float
        Seconds between the starts of two requests, at the least.
    retries : int
        How often a request is tried again after 429, 500, 502, 503, 504 or a broken connection
        (three times at most where none could be made).
    progress : callable, optional
        Called with the address, the bytes that are there, and the bytes of the whole (None = not told).
    """

    def __init__(self, *, pause: float = 0.5, retries: int = 6, progress: Progress | None = None) -> None:
        self.pause = pause
        self.retries = retries
        self.progress = progress or (lambda url, done, total: None)
        self._last = -float("inf")
        self._session = requests.Session()
        purpose = "data of a study of compute access in machine-learning research"
        self._session.headers["User-Agent"] = f"{PACKAGE}/{__version__} ({purpose})"
        patience = _Patience(
            total=retries,
            connect=min(retries, 3),
            other=0,  # a certificate that is not trusted will not be trusted the next time
            status_forcelist=RETRIED,
            backoff_factor=FIRST_WAIT,
            raise_on_status=False,
        )
        self._limits = Limits()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, Adapter(self._limits, max_retries=patience))

    def download(
        self,
        url: str,
        path: Path,
        *,
        sha256: str | None = None,
        pause: float | None = None,
        hosts: Sequence[str] = (),
    ) -> Path:
        """Download a file; a finished one is kept, an interrupted one goes on from its ``.part`` file.

        An interrupted download goes on only if it is sure to be the same file: the server named its
        version (ETag or date), or the checksum is known.

        Parameters
        ----------
        url : str
            Address of the file.
        path : Path
            Where it shall be; its folders are made. A file that is there is downloaded again only
            if it has not the given checksum; one that is there as ``.gz`` is kept as it is.
        sha256 : str, optional
            Checksum that the file must have.
        pause : float, optional
            Seconds since the start of the request before, where a server wants more than usual.
        hosts : sequence of str
            Other hosts to which the server may send, as in :func:`~study.data.sources.fetching.refuse_elsewhere`.

        Returns
        -------
        Path
            ``path``, or the same with ``.gz``.

        Raises
        ------
        DataError
            If the server refuses, sends a web page or nothing, breaks off again and again, sends too much or
            too slowly or to another host, or the checksum differs.
        OutputError
            If the file cannot be written.
        """
        try:
            if path.is_file() and (sha256 is None or sha256_of(path) == sha256):
                return path
            if (packed := path.with_name(f"{path.name}.gz")).is_file():
                return packed
            tell(path.name)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = _Part(path)
            failures, furthest = 0, part.size
            self._limits.begin(shown(url), LARGEST)
            while not self._append(url, part, sha256 is not None, pause, hosts):
                self._limits.refuse_late()
                failures = 1 if part.size > furthest else failures + 1
                furthest = max(furthest, part.size)
                if failures > self.retries:
                    fault = f"the download breaks off {failures} times in a row, at last at byte {part.size}"
                    raise DataError(f"{shown(url)}: {fault}; fetch again later.")
                time.sleep(min(FIRST_WAIT * 2 ** (failures - 1), LONGEST_WAIT))
            if sha256 is not None and (came := sha256_of(part.content)) != sha256:
                part.discard()
                fault = f"{shown(url)}: the file has SHA-256 {came}, but {sha256} is expected"
                raise DataError(f"{fault}; fetch again, and if it stays, the publisher has changed the file.")
            os.replace(part.content, path)
            part.note.unlink(missing_ok=True)
        except TooLarge:
            part.discard()
            raise
        except OSError as error:
            fault = f"{path}: cannot be written ({error.strerror or error})"
            raise OutputError(f"{fault}; free space or name another folder.") from error
        return path

    def json(self, url: str, params: Mapping[str, str] | None = None) -> Any:
        """Return one answer of an API; where its body is broken it is asked for a second time.

        Raises
        ------
        DataError
            If the server refuses, sends a web page, too much, too slowly or to another host, or twice a body that is
            no whole JSON.
        """
        address = str(requests.Request("GET", url, params=params).prepare().url)
        problem = ""
        self._limits.begin(shown(address), LARGEST_ANSWER)
        for _ in range(2):
            try:
                content = b""
                with self._get(address, {}) as response:
                    for chunk in response.iter_content(CHUNK):
                        content += chunk
                        self._limits.refuse_size(len(content))
                refuse_page(response, shown(address), content, None)
                self.progress(shown(address), len(content), len(content))
                return parsed(content)
            except requests.RequestException as error:
                problem = f"the answer breaks off ({reason(error)})"
            except ValueError as error:
                problem = str(error)
        raise DataError(f"{shown(address)}: {problem}, and so at a second try; fetch again later.")

    def _append(
        self, address: str, part: _Part, checked: bool, pause: float | None, hosts: Sequence[str]
    ) -> bool:
        """Add to the part what the server still has, and say whether it is whole now."""
        have, validator = part.standing(address)
        if not validator and not checked:
            have = 0
        headers = {"Accept-Encoding": "identity"}
        if have:
            headers |= {"Range": f"bytes={have}-", **({"If-Range": validator} if validator else {})}
        with self._get(address, headers, part.path, pause, hosts) as response:
            fresh = response.status_code == 200
            place = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if not fresh and (place is None or int(place[1]) != have):
                part.discard()
                return False
            # A packed body is another one on disk: its length and its version say nothing there.
            packed = response.headers.get("Content-Encoding", "identity") != "identity"
            length = response.headers.get("Content-Length", "") if place is None else place[2]
            total = int(length) if length.isdigit() and not packed else None
            self._limits.refuse_size(total or 0)
            try:
                for chunk in response.iter_content(CHUNK):
                    if fresh:
                        refuse_page(response, shown(address), chunk, part.path)
                        part.start(address, "" if packed else _version(response))
                        fresh = False
                    self._limits.refuse_size(part.size + len(chunk))
                    part.add(chunk)
                    self.progress(shown(address), part.size, total)
            except requests.RequestException:
                return False
        if fresh:
            raise DataError(f"{shown(address)}: the answer is empty; fetch again later.")
        if total is not None and part.size > total:
            part.discard()
        return total in (None, part.size)

    def _get(
        self,
        address: str,
        headers: dict[str, str],
        by_hand: Path | None = None,
        pause: float | None = None,
        hosts: Sequence[str] = (),
    ) -> requests.Response:
        """Return an answer whose body is not read yet, or raise the one error that says why there is none."""
        wait = self._last + (self.pause if pause is None else pause) - time.monotonic()
        if wait > 0:
            time.sleep(wait)
        self._last = time.monotonic()
        place, asked = address, shown(address)
        for _ in range(REDIRECTIONS + 1):
            try:
                response = self._session.get(
                    place, headers=headers, timeout=TIMEOUT, stream=True, allow_redirects=False
                )
            except requests.RequestException as error:
                raise DataError(f"{asked}: no answer ({reason(error)}); check the network.") from None
            following = self._session.get_redirect_target(response)
            if following is None:
                break
            response.close()
            source, place = place, urljoin(place, following)
            if _LOGIN_ADDRESS.search(place):
                raise _login(asked, f"the server sends to {shown(place)[:200]}", by_hand)
            refuse_elsewhere(asked, source, shown(place), hosts)
        else:
            raise DataError(f"{asked}: the server sends from place to place; fetch again later.")
        # Each of several packings can make a thousand bytes of one.
        if "," in response.headers.get("Content-Encoding", ""):
            response.close()
            raise DataError(f"{asked}: the answer is packed more than once; fetch again later.")
        if response.status_code not in ((200, 206, 416) if "Range" in headers else (200,)):
            with response:
                refuse_status(response, asked, by_hand)
        return response


class _Part:
    """A file that is not whole yet, with a note of where it comes from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.content = path.with_name(path.name + ".part")
        self.note = path.with_name(path.name + ".part.from")

    @property
    def size(self) -> int:
        return self.content.stat().st_size if self.content.is_file() else 0

    def standing(self, address: str) -> tuple[int, str]:
        """Return the bytes that are there of this address, and the version that they are of ("" = not told)."""
        lines = self.note.read_text(encoding="utf-8").splitlines() if self.note.is_file() else []
        return (self.size, lines[1]) if len(lines) == 2 and lines[0] == shown(address) else (0, "")

    def start(self, address: str, validator: str) -> None:
        self.content.write_bytes(b"")
        self.note.write_text(f"{shown(address)}\n{validator}\n", encoding="utf-8")

    def add(self, chunk: bytes) -> None:
        with self.content.open("ab") as stream:
            stream.write(chunk)

    def discard(self) -> None:
        self.content.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)


class _Patience(Retry):
    """Waits as long as a server asks, within reason, and never tries again at once."""

    def get_backoff_time(self) -> float:
        return max(FIRST_WAIT, super().get_backoff_time())

    def increment(self, *request: Any, **outcome: Any) -> _Patience:
        response = outcome.get("response")
        if response is not None and (self.get_retry_after(response) or 0) > LONGEST_WAIT:
            raise MaxRetryError(outcome["_pool"], request[1])
        return super().increment(*request, **outcome)


def _version(response: requests.Response) -> str:
    """Return what If-Range takes as the file's version: a strong ETag or the date."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified", "")


_SECRET = re.compile(r"((?:key|token|password)=)[^&\s]+", re.IGNORECASE)
_LOGIN_ADDRESS = re.compile(r"log-?in|sign-?in", re.IGNORECASE)
_LOGIN_PAGE = re.compile(r"type=[\"']?password|<title>[^<]*(?:log|sign)[ -]?in", re.IGNORECASE)


def shown(url: str) -> str:
    """Return an address without the keys in it, fit for messages and records."""
    return _SECRET.sub(r"\1...", url)


def reason(error: requests.RequestException) -> str:
    """Return the innermost cause of a failed request, in a few words."""
    cause: Any = error
    while isinstance(cause, Exception):
        innermost, cause = cause, getattr(cause, "reason", None) or next(iter(cause.args), None)
    return shown(" ".join(str(innermost).split()).rsplit(": ", 1)[-1])


def _login(address: str, sign: str, path: Path | None) -> DataError:
    remedy = "use the publisher's account or key."
    if path is not None:
        remedy = f"log in with a browser, download it by hand from {address} and save it as {path}."
    return DataError(f"{address}: login needed ({sign}); {remedy}")


def refuse_page(response: requests.Response, address: str, start: bytes, by_hand: Path | None) -> None:
    """Raise where a web page comes in place of the data of an address."""
    page = start[:65536].decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t").lower()
    if not (page.startswith("<") and ("<html" in page or "<!doctype html" in page)):
        return
    if _LOGIN_ADDRESS.search(response.url) or _LOGIN_PAGE.search(page):
        raise _login(address, "a login page came", by_hand)
    raise DataError(f"{address}: a web page came in place of data; see in a browser what it says.")


def refuse_status(response: requests.Response, address: str, by_hand: Path | None) -> NoReturn:
    """Raise the error of an answer that is none."""
    status, wait = response.status_code, response.headers.get("Retry-After", "")
    if status == 429 or (status == 403 and response.headers.get("X-RateLimit-Remaining") == "0"):
        asked = f"; it asks to wait {wait} s" if wait.isdigit() else ""
        raise DataError(f"{address}: too many requests for the server ({status}){asked}; fetch again later.")
    if status in (401, 403):
        raise _login(address, str(status), by_hand)
    if status in (404, 410):
        raise DataError(f"{address}: nothing is there ({status}); see on the publisher's site where it is.")
    if status in FAILURES:
        raise DataError(f"{address}: the server fails again and again ({status}); fetch again later.")
    start = b""
    with suppress(requests.RequestException):
        start = next(response.iter_content(1000), b"")
    answer = " ".join(start.decode("utf-8", errors="replace").split())[:200]
    raise DataError(f"{address}: the server refuses ({status}{answer and ', ' + answer}); check the request.")


SUMS = "SHA256SUMS"


def record_checksums(raw: Path, paths: Iterable[Path]) -> Path:
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
    place = raw / SUMS
    lines = place.read_text(encoding="utf-8").splitlines() if place.is_file() else []
    recorded = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    sums = {name: digest for name, digest in recorded.items() if (raw / name).is_file()}
    written = place.stat().st_mtime_ns if lines else 0
    for path in paths:
        name = path.relative_to(raw).as_posix()
        if name not in sums or path.stat().st_mtime_ns >= written:
            sums[name] = sha256_of(path)
    content = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
    return write_all(raw, {SUMS: content.encode()})[0]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
