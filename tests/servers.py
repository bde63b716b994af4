"""A web server on this machine that gives the answers written for it: use it as ``with Server({...}) as server``.

``Answer`` is one answer. ``Server({"/works": [Answer(body=b"{}"), Answer(429)]})`` gives the answers of a
path one after the other, and the last of them to all later requests. A callable in place of a list gets
the ``Request`` and returns an ``Answer``. Paths that are not listed answer 404. ``server.url`` is the address
without a slash at its end; ``server.requests`` are the requests so far, which unpack as (path, query, headers);
with the file of a certificate and its key, ``Server(answers, certificate)``, it speaks TLS;
``server.sent`` counts the bytes of all bodies, whether or not the client stayed for them. The clients wait
between tries with ``time.sleep``: a test that does not want to wait sets it aside with
``monkeypatch.setattr("time.sleep", waits.append)``.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit

import pytest


class Request(NamedTuple):
    """One request: path, decoded query, headers (of any case)."""

    path: str
    query: dict[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """One answer.

    ``cut`` ends the body after so many bytes and breaks the connection. ``ranges`` answers requests of a range
    with 206 and that part (if an If-Range names the ETag or date in ``headers``). Content-Length is added
    unless ``headers`` has one, or ``chunked`` asks for a body of untold length. ``pieces`` makes a body that comes
    piece by piece, without its length, for as long as the client stays; with ``bare`` they are all that is sent, status
    and headings with them.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    ranges: bool = False
    chunked: bool = False
    pieces: Callable[[], Iterable[bytes]] | None = None
    bare: bool = False


def as_json(value: Any, status: int = 200, **headers: str) -> Answer:
    """Return an answer of JSON; headers are written with underscores (``Retry_After="1"``)."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})


Answers = Sequence[Answer] | Callable[[Request], Answer]


class Server:
    """A server on a free port of this machine, for as long as the ``with`` lasts."""

    def __init__(self, answers: Mapping[str, Answers], certificate: Path | None = None) -> None:
        self.answers = answers
        self.certificate = certificate
        self.requests: list[Request] = []
        self.sent = 0
        self._lock = threading.Lock()
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = self.url.replace("http", "https")
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self._patch.setenv("NO_PROXY", "127.0.0.1")
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)

    def answer(self, request: Request) -> Answer:
        """Record a request and return the answer to it."""
        answers = self.answers.get(request.path, (Answer(404),))
        with self._lock:
            number = self.count(request.path)
            self.requests.append(request)
        return answers(request) if callable(answers) else answers[min(number, len(answers) - 1)]

    def count(self, path: str) -> int:
        """Return how many requests came to a path."""
        return sum(request.path == path for request in self.requests)


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            request = Request(parts.path, dict(parse_qsl(parts.query, keep_blank_values=True)), self.headers)
            answer = _part(server.answer(request), request)
            if answer.bare:
                self._send(answer)
                return
            self.send_response(answer.status)
            for name, text in answer.headers.items():
                self.send_header(name, text)
            if answer.chunked:
                self.send_header("Transfer-Encoding", "chunked")
            elif "Content-Length" not in answer.headers and answer.pieces is None:
                self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            if answer.pieces is not None:
                self._send(answer)
                return
            body = answer.body[: answer.cut]
            server.sent += len(body)
            if answer.cut is not None:
                self.close_connection = True
            if answer.chunked:
                piece = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
                body = piece if answer.cut is not None else piece + b"0\r\n\r\n"
            with suppress(ConnectionError):
                self.wfile.write(body)

        def _send(self, answer: Answer) -> None:
            self.close_connection = True
            with suppress(OSError):
                for piece in answer.pieces() if answer.pieces else ():
                    self.wfile.write(piece)
                    server.sent += len(piece)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler


def _part(answer: Answer, request: Request) -> Answer:
    """Return the answer to a request of a range, where the answer allows one."""
    match = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
    if not answer.ranges or match is None:
        return answer
    version = request.headers.get("If-Range")
    if version is not None and version not in (
        answer.headers.get("ETag"),
        answer.headers.get("Last-Modified"),
    ):
        return answer
    start, size = int(match[1]), len(answer.body)
    if start >= size:
        return Answer(416, headers={"Content-Range": f"bytes */{size}"})
    headers = {**answer.headers, "Content-Range": f"bytes {start}-{size - 1}/{size}"}
    return replace(answer, status=206, body=answer.body[start:], headers=headers)
