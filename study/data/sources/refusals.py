"""Answers of a server that are no data, each as the one error that says what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NoReturn

import requests

from study.core import DataError

FAILURES = (500, 502, 503, 504)

_SECRET = re.compile(r"((?:key|token|password)=)[^&\s]+", re.IGNORECASE)
_LOGIN_ADDRESS = re.compile(r"log-?in|sign-?in", re.IGNORECASE)
_LOGIN_PAGE = re.compile(r"type=[\"']?password|<title>[^<]*(?:log|sign)[ -]?in", re.IGNORECASE)


def shown(url: str) -> str:
    """Return an address without the keys in it, fit for messages and records."""
    return _SECRET.sub(r"\1...", url)


def reason(error: requests.RequestException) -> str:
    """Return the innermost cause of a failed request, in a few words."""
    cause: Any = error
    while isinstance(inner := _inner(cause), Exception):
        cause = inner
    return shown(" ".join(str(cause).split()).rsplit(": ", 1)[-1])


def _inner(error: Any) -> Any:
    return getattr(error, "reason", None) or next(iter(error.args), None)


def _asked(response: requests.Response) -> str:
    """Return the address that was asked for, before any redirection."""
    return shown((response.history or [response])[0].url)


def _by_hand(address: str, path: Path | None) -> str:
    if path is None:
        return "use the publisher's account or key."
    return f"log in with a browser, download it by hand from {address} and save it as {path}."


def refuse_page(response: requests.Response, start: bytes, by_hand: Path | None) -> None:
    """Raise where a web page comes in place of data."""
    page = start[:65536].decode("utf-8", errors="replace").lstrip("\ufeff \r\n\t").lower()
    if not (page.startswith("<") and ("<html" in page or "<!doctype html" in page)):
        return
    address = _asked(response)
    if _LOGIN_ADDRESS.search(response.url) or _LOGIN_PAGE.search(page):
        raise DataError(f"{address}: login needed (a login page came); {_by_hand(address, by_hand)}")
    raise DataError(
        f"{address}: a web page came in place of data; open the address in a browser to see what it says."
    )


def refuse_status(response: requests.Response, by_hand: Path | None) -> NoReturn:
    """Raise the error of an answer that is none."""
    status, address = response.status_code, _asked(response)
    wait = response.headers.get("Retry-After")
    if status == 429 or (status == 403 and response.headers.get("X-RateLimit-Remaining") == "0"):
        asked = f"; it asks to wait {wait} s" if wait and wait.isdigit() else ""
        raise DataError(f"{address}: too many requests for the server ({status}){asked}; fetch again later.")
    if status in (401, 403):
        raise DataError(f"{address}: login needed ({status}); {_by_hand(address, by_hand)}")
    if status in (404, 410):
        raise DataError(
            f"{address}: nothing is there ({status}); see on the publisher's site where it is now."
        )
    if status in FAILURES:
        raise DataError(f"{address}: the server fails again and again ({status}); fetch again later.")
    said = " ".join(_start(response).decode("utf-8", errors="replace").split())[:200]
    raise DataError(
        f"{address}: the server refuses ({status}{', ' + said if said else ''}); check the request."
    )


def _start(response: requests.Response) -> bytes:
    try:
        return next(response.iter_content(1000), b"")
    except requests.RequestException:
        return b""
