"""The service's replies, and their bytes on the wire."""

from __future__ import annotations

import json
import math
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from worker.simulator.fault_settings import ErrorForm
from worker.simulator.settings import RetryAfterForm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.settings import Limit

__all__ = [
    "HTML_PAGE",
    "HTML_TYPE",
    "TEXT_TYPE",
    "VOID_BODIES",
    "Reply",
    "head",
    "http_error",
    "invalid",
    "limited",
    "plain_not_found",
    "seam_error",
]

JSON_TYPE: Final = "application/json; charset=utf-8"
HTML_TYPE: Final = "text/html; charset=utf-8"
TEXT_TYPE: Final = "text/plain; charset=utf-8"

HTML_PAGE: Final = b"<!DOCTYPE html><html><head><title>Proxy</title></head><body>This is not Seam.</body></html>"
VOID_BODIES: Final[Mapping[str, bytes]] = {
    "ok_only": b'{"ok":true}',
    "empty_object": b"{}",
    "empty_body": b"",
    "no_content_204": b"",
}


class Reply(NamedTuple):
    """One reply; the request id and the connection are the wire's business."""

    status: int
    body: bytes = b""
    content_type: str = JSON_TYPE
    has_request_id: bool = True
    headers: str = ""
    """Further header lines, each with its CRLF."""
    version: str = "1.1"


_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


def head(reply: Reply, request_id: str, *, keep_alive: bool = True, length: int | None = None) -> bytes:
    """Status line and headers. `length` stands in place of the body's own; -1 leaves the header out."""
    size = len(reply.body) if length is None else length
    said = "" if size < 0 or reply.status == HTTPStatus.NO_CONTENT else f"Content-Length: {size}\r\n"
    kind = f"Content-Type: {reply.content_type}\r\n" if reply.content_type else ""
    named = f"seam-request-id: {request_id}\r\n" if reply.has_request_id else ""
    closing = "" if keep_alive else "Connection: close\r\n"
    return (
        f"HTTP/{reply.version} {reply.status} {_REASONS[reply.status]}\r\n"
        f"{kind}{named}{reply.headers}{said}{closing}\r\n"
    ).encode()


def seam_error(status: int, kind: str, message: str, **more: object) -> Reply:
    """Seam's own error shape; `more` stands beside type and message."""
    body = {"error": {"type": kind, "message": message, **more}, "ok": False}
    return Reply(status, json.dumps(body).encode())


def invalid(field: str, message: str) -> Reply:
    """400 for a field of the body."""
    return seam_error(
        HTTPStatus.BAD_REQUEST,
        "invalid_input",
        f"Invalid input: {field}",
        validation_errors={"_errors": [], field: {"_errors": [message]}},
    )


def plain_not_found() -> Reply:
    """What a URL that is not Seam's gives: no JSON, no request id."""
    return Reply(HTTPStatus.NOT_FOUND, b"Not Found", TEXT_TYPE, has_request_id=False)


def http_error(status: int, form: ErrorForm, headers: str = "") -> Reply:
    """A 5xx, 408 or 409: Seam's own where it is JSON, else somebody's on the way."""
    match form:
        case ErrorForm.HTML:
            return Reply(status, HTML_PAGE, HTML_TYPE, has_request_id=False, headers=headers)
        case ErrorForm.TEXT:
            return Reply(status, _REASONS[status].encode(), TEXT_TYPE, has_request_id=False, headers=headers)
        case ErrorForm.EMPTY:
            return Reply(status, b"", "", has_request_id=False, headers=headers)
        case _:
            kind = _REASONS[status].lower().replace(" ", "_")
            return seam_error(status, kind, f"{_REASONS[status]} (simulated)")._replace(headers=headers)


def limited(limit: Limit, wait: float, now: float) -> tuple[Reply, float | None]:
    """A 429, and the seconds from `now` that it tells to wait (None where it tells nothing usable)."""
    seconds = max(1, math.ceil(wait)) if limit.retry_after_seconds is None else limit.retry_after_seconds
    told: float | None = None
    header = ""
    match limit.retry_after:
        case RetryAfterForm.SECONDS:
            told = float(math.ceil(seconds))
            header = f"Retry-After: {math.ceil(seconds)}\r\n"
        case RetryAfterForm.DATE:
            until = math.ceil(now + seconds)
            told = until - now
            header = f"Retry-After: {formatdate(until, usegmt=True)}\r\n"
        case RetryAfterForm.GARBAGE:
            header = "Retry-After: in a little while\r\n"
        case RetryAfterForm.NONE:
            pass
    if limit.html:
        return (
            Reply(HTTPStatus.TOO_MANY_REQUESTS, HTML_PAGE, HTML_TYPE, has_request_id=False, headers=header),
            told,
        )
    reply = seam_error(HTTPStatus.TOO_MANY_REQUESTS, "rate_limit_exceeded", "Too many requests.")
    return reply._replace(headers=header), told
