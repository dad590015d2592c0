"""From a fault to the reply that stands in for the true one, and its performance on the wire."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from worker.simulator.exchange import Exchange
from worker.simulator.fault_settings import Fault, ReadFault
from worker.simulator.faults import ALWAYS_APPLIED, NEVER_APPLIED, error_form
from worker.simulator.ids import Draw, share_hits
from worker.simulator.replies import HTML_PAGE, HTML_TYPE, Reply, http_error, seam_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.simulator.exchange import Written
    from worker.simulator.fault_settings import Faults, ReadFaults

__all__ = ["is_applied", "perform", "perform_read", "planned", "planned_read"]

_SERVER_ERRORS: Final[Mapping[str, HTTPStatus]] = {
    "http_500": HTTPStatus.INTERNAL_SERVER_ERROR,
    "http_502": HTTPStatus.BAD_GATEWAY,
    "http_503": HTTPStatus.SERVICE_UNAVAILABLE,
    "http_504": HTTPStatus.GATEWAY_TIMEOUT,
}
_REDIRECTS: Final[Mapping[Fault, HTTPStatus]] = {
    Fault.REDIRECT_301: HTTPStatus.MOVED_PERMANENTLY,
    Fault.REDIRECT_302: HTTPStatus.FOUND,
    Fault.REDIRECT_303: HTTPStatus.SEE_OTHER,
    Fault.REDIRECT_307: HTTPStatus.TEMPORARY_REDIRECT,
    Fault.REDIRECT_308: HTTPStatus.PERMANENT_REDIRECT,
}
_SILENT: Final = frozenset({Fault.RESET_BEFORE, Fault.RESET_AFTER, Fault.NEVER, Fault.LATE})
_LIE: Final = 64
"""Bytes by which a Content-Length is wrong."""

_HTML_SUCCESS: Final = Reply(HTTPStatus.OK, HTML_PAGE, HTML_TYPE, has_request_id=False)
_INSTEAD: Final[Mapping[Fault, Reply]] = {
    Fault.FORBIDDEN_403: seam_error(HTTPStatus.FORBIDDEN, "forbidden", "The key may not do this."),
    Fault.CONFLICT_409: seam_error(HTTPStatus.CONFLICT, "conflict", "The credential is being changed."),
    Fault.TIMEOUT_408: seam_error(HTTPStatus.REQUEST_TIMEOUT, "request_timeout", "It took too long."),
    Fault.NOT_OK: Reply(HTTPStatus.OK, b'{"ok":false}'),
    Fault.HTML_200: _HTML_SUCCESS,
}
"""Faults whose reply owes nothing to the true one."""

_SHAPES: Final[Mapping[Fault, Callable[[Exchange, Reply], Written]]] = {
    Fault.LENGTH_TOO_LONG: lambda exchange, reply: exchange.reply_with_length(
        reply, len(reply.body) + _LIE, close=True
    ),
    Fault.LENGTH_TOO_SHORT: lambda exchange, reply: exchange.reply_with_length(
        reply, max(0, len(reply.body) - _LIE), close=False
    ),
    Fault.HTTP10_CLOSE: Exchange.reply_until_close,
    Fault.STRAY_CLOSE: Exchange.reply_and_close,
    Fault.UNASKED_CONTINUE: Exchange.reply_behind_continue,
}
"""Faults of the reply's form; the others reply in good form."""


def is_applied(fault: Fault, faults: Faults, draws: tuple[int, ...]) -> bool:
    """Whether what was asked for is done before the fault shows."""
    if fault in ALWAYS_APPLIED:
        return True
    return fault not in NEVER_APPLIED and share_hits(draws[Draw.FAULT_APPLIED], faults.applied_share)


def planned(fault: Fault, true: Reply, faults: Faults, draws: tuple[int, ...]) -> Reply | None:
    """The reply that the caller gets to see, as far as it gets; None for none."""
    if fault in _SILENT:
        return None
    if fault in _SERVER_ERRORS:
        return http_error(_SERVER_ERRORS[fault], error_form(faults.error_form, draws[Draw.FAULT_FORM]))
    if fault in _REDIRECTS:
        location = f"Location: {faults.redirect_to}\r\n"
        return Reply(_REDIRECTS[fault], b"", "", has_request_id=False, headers=location)
    if fault is Fault.TRUNCATED_JSON:
        return true._replace(body=true.body[: len(true.body) // 2])
    if fault is Fault.WRONG_TYPE:
        return true._replace(content_type=HTML_TYPE)
    return _INSTEAD.get(fault, true)


async def perform(exchange: Exchange, fault: Fault, reply: Reply | None, faults: Faults) -> Written:
    """Do on the wire what the fault's name says."""
    if reply is None:
        return await exchange.never() if fault in {Fault.NEVER, Fault.LATE} else exchange.reset()
    match fault:
        case Fault.RESET_MID_BODY:
            return await exchange.reset_mid_body(reply)
        case Fault.DRIP:
            return await exchange.drip(reply, faults.drip_interval)
        case Fault.HUGE_BODY:
            return await exchange.huge(reply, faults.huge_bytes)
        case Fault.GZIP_BOMB:
            return await exchange.gzip_bomb(reply, faults.huge_bytes)
        case _:
            return _SHAPES.get(fault, Exchange.reply)(exchange, reply)


def planned_read(fault: ReadFault, faults: ReadFaults, draws: tuple[int, ...]) -> Reply | None:
    """The reply to a read; None for none. The 429 is the limits' business."""
    if fault in _SERVER_ERRORS:
        return http_error(_SERVER_ERRORS[fault], error_form(faults.error_form, draws[Draw.READ_FORM]))
    match fault:
        case ReadFault.INVALID_400:
            return seam_error(HTTPStatus.BAD_REQUEST, "invalid_input", "Refused (simulated).")
        case ReadFault.NOT_FOUND_404:
            return seam_error(HTTPStatus.NOT_FOUND, "acs_credential_not_found", "Not found (simulated).")
        case ReadFault.HTML_200:
            return _HTML_SUCCESS
        case _:
            return None


async def perform_read(exchange: Exchange, fault: ReadFault, reply: Reply | None) -> Written:
    """Do on the wire what the fault's name says."""
    if reply is not None:
        return exchange.reply(reply)
    return await exchange.never() if fault is ReadFault.NEVER else exchange.reset()
