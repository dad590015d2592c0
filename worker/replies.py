"""What a reply proves: pure functions from status, headers and body to the parts of an `Attempt` (DESIGN 7).

The status decides first, Seam's `error.type` second. A 2xx counts only if its body says nothing else: an HTML
page or `"ok": false` with a 200 leaves it open whether the call was applied.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from worker.lenient import read_leniently
from worker.models import Call, StopCause, Verdict
from worker.seam import AssignReply, ErrorReply, ListReply, UserReply

if TYPE_CHECKING:
    from worker.seam import AcsCredential, AcsUser

__all__ = ["LONGEST_MESSAGE", "Reading", "read_reply", "tidy"]

LONGEST_MESSAGE: Final = 500

SUCCESS: Final = 2
REDIRECTION: Final = 3
CLIENT_ERROR: Final = 4

_NO_CONTENT: Final = HTTPStatus.NO_CONTENT.value
_LONGEST_VOID: Final = 64
"""No longer reply is looked at for being none: a full one takes as long to compare as a tenth of its validation."""
_VOID_BODIES: Final = frozenset({b"", b"{}", b'{"ok":true}', b'{"ok": true}'})
_LONGEST_LOOK: Final = 4096
"""Bytes of a reply that is not Seam's, of which some are told."""
_MOST_UNREADABLE: Final = 0.1
"""Share of characters that are none: more than another encoding than UTF-8 makes of a page."""
_NAME_IN_JSON: Final = re.compile(r"""["'\\]\s*:""")
_REFUSED_BY_ANYBODY: Final = frozenset({400, 405, 413, 422})
"""Refusals of one request, in whatever form; any other 4xx that is not Seam's speaks of the way to it."""
_UNTIDY: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]+")
_NUL: Final = b"\\u0000"
"""How JSON writes it, and the only way in which it can."""
_MODELS: Final[dict[Call, type[AssignReply | UserReply | ListReply]]] = {
    Call.ASSIGN: AssignReply,
    Call.UNASSIGN: AssignReply,
    Call.GET: AssignReply,
    Call.GET_USER: UserReply,
    Call.LIST: ListReply,
}


class Reading(NamedTuple):
    """What one reply says."""

    verdict: Verdict
    credential: AcsCredential | None = None
    user: AcsUser | None = None
    credentials: tuple[AcsCredential, ...] = ()
    next_page_cursor: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    stop: StopCause | None = None


def read_reply(call: Call, status: int, body: bytes, *, has_request_id: bool) -> Reading:
    """Judge a complete reply.

    Args:
        call: the route that was called.
        status: the HTTP status.
        body: the whole body, at most 1 MiB, not decompressed.
        has_request_id: whether the reply carries `seam-request-id`, so that it is Seam's own.
    """
    if status // 100 == SUCCESS:
        return _success(call, status, body)
    error = _error(body)
    is_seams = error is not None or has_request_id
    kind = error.error.type if error is not None else f"http_{status}"
    message = error.error.message if error is not None else _excerpt(body)
    if error is not None and error.error.validation_errors:
        message = f"{message} ({_fields(error.error.validation_errors)})"
    verdict, stop = _judge(status, is_seams=is_seams)
    return Reading(verdict, error_type=tidy(kind), error_message=tidy(message), stop=stop)


def _judge(status: int, *, is_seams: bool) -> tuple[Verdict, StopCause | None]:
    """DESIGN 7's table by status; `is_seams` tells Seam's own refusal from a proxy's or a wrong URL's."""
    match status:
        case 401:
            return Verdict.HALT, StopCause.KEY_REFUSED
        case 403:
            return (Verdict.FORBIDDEN, None) if is_seams else (Verdict.HALT, StopCause.KEY_REFUSED)
        case 404:
            return (Verdict.REFUSED, None) if is_seams else (Verdict.HALT, StopCause.WRONG_URL)
        case 407:
            return Verdict.HALT, StopCause.PROXY
        case 408 | 409 | 425:
            return Verdict.AMBIGUOUS, None
        case 429:
            return Verdict.LIMITED, None
        case _ if status // 100 == REDIRECTION:
            return Verdict.HALT, StopCause.WRONG_URL
        case _ if status // 100 == CLIENT_ERROR:
            if is_seams or status in _REFUSED_BY_ANYBODY:
                return Verdict.REFUSED, None
            return Verdict.HALT, StopCause.WRONG_URL
        case _:
            return Verdict.AMBIGUOUS, None


def _success(call: Call, status: int, body: bytes) -> Reading:
    if (call is Call.ASSIGN or call is Call.UNASSIGN) and (
        status == _NO_CONTENT or (len(body) < _LONGEST_VOID and body.strip() in _VOID_BODIES)
    ):
        return Reading(Verdict.DONE)
    model = _MODELS[call]
    try:
        reply = model.model_validate_json(body)
    except ValidationError as error:
        fit = read_leniently(model, body)
        return _unusable(body, error) if fit is None else _read(call, fit, body)
    if _NUL in body:
        fit = read_leniently(model, body)
        return _said_no(body) if fit is None else _read(call, fit, body)
    return _read(call, reply, body)


def _read(call: Call, reply: AssignReply | UserReply | ListReply, body: bytes) -> Reading:
    """What a success says that has its route's form."""
    if reply.ok is False or reply.error is not None:
        return _said_no(body)
    if isinstance(reply, AssignReply):
        credential = reply.acs_credential
        if credential is None and (call is Call.GET or not (reply.ok or _is_void(reply))):
            return _said_no(body)  # it says something else
        return Reading(Verdict.DONE, credential)
    if isinstance(reply, UserReply):
        return Reading(Verdict.DONE, user=reply.acs_user)
    cursor = reply.pagination.next_page_cursor if reply.pagination.has_next_page else None
    return Reading(Verdict.DONE, credentials=reply.acs_credentials, next_page_cursor=cursor)


def _is_void(reply: AssignReply) -> bool:
    return not reply.model_extra and "error" not in reply.model_fields_set


def _unusable(body: bytes, error: ValidationError) -> Reading:
    """A 2xx that is not what the route answers; the input is never shown, since it may hold PINs."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    what = "is not JSON" if first["type"] == "json_invalid" else f"does not fit at {where or 'its root'}"
    return Reading(
        Verdict.AMBIGUOUS,
        error_type="unusable_reply",
        error_message=tidy(f"a success reply of {len(body)} bytes that {what}"),
    )


def _said_no(body: bytes) -> Reading:
    return Reading(
        Verdict.AMBIGUOUS,
        error_type="unusable_reply",
        error_message=f"a success status, but its body of {len(body)} bytes does not say so",
    )


def _error(body: bytes) -> ErrorReply | None:
    if not body.lstrip().startswith(b"{"):
        return None
    try:
        return ErrorReply.model_validate_json(body)
    except ValidationError:
        return read_leniently(ErrorReply, body)


def _excerpt(body: bytes) -> str:
    """The first words of a reply that is not Seam's, without the tags; of JSON none, since it may hold PINs.

    Nor of a text with JSON in it, such as the second half of one, or one in quotes.
    """
    if body.lstrip()[:1] in {b"{", b"["}:
        return f"a reply of {len(body)} bytes of JSON in no form of Seam's errors"
    text = body[:_LONGEST_LOOK].decode("utf-8", "replace")
    if text.count("\ufffd") + text.count("\0") > len(text) * _MOST_UNREADABLE:
        return f"a reply of {len(body)} bytes that is no text"
    if _NAME_IN_JSON.search(text):
        return f"a reply of {len(body)} bytes with JSON in it, in no form of Seam's errors"
    return re.sub(r"<[^>]*>", " ", text)[:LONGEST_MESSAGE].strip() or "an empty reply"


def _fields(validation_errors: dict[str, object]) -> str:
    """`validation_errors` as `field: message, message; field: …`."""
    said = []
    for field, problem in validation_errors.items():
        listed = problem.get("_errors") if isinstance(problem, dict) else None
        words = ", ".join(str(word) for word in listed) if isinstance(listed, list) else ""
        said.append(f"{field}: {words}" if words else str(field) if field != "_errors" else "")
    return "; ".join(part for part in said if part)


def tidy(text: str) -> str:
    """One line, at most 500 characters, of characters that UTF-8 has and that control nothing."""
    return " ".join(_UNTIDY.sub(" ", text).split())[:LONGEST_MESSAGE]
