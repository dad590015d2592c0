"""A quick Seam: uvloop, one `asyncio.Protocol`, replies joined from bytes; pinned to a core of its own.

    python server.py CORE DELAY_SECONDS

It prints its port, then serves until it is killed, and prints the monotonic time of the first assign call.

Assign is answered with the full credential of the OpenAPI, which names the ids that the request names: a reply
about another credential would be read back by the worker and so cost it a second call. `list` and `get` are
answered as far as a run asks for them. It parses no HTTP beyond what these clients send: a request line, headers
with Content-Length, a body.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from typing import Final, cast

import uvloop

WORKSPACE: Final = "5a000000-0000-4000-8000-000000000001"
SYSTEM: Final = "5b000000-0000-4000-8000-000000000001"

_ID_LENGTH: Final = 36
_MARKS: Final = (b"@@@CREDENTIAL@@@", b"@@@USER@@@")
_LENGTH: Final = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


def _credential(credential: str, user: str) -> dict[str, object]:
    """All 29 fields of the schema, as a quiet card has them."""
    return {
        "acs_credential_id": credential,
        "access_method": "card",
        "acs_credential_pool_id": None,
        "acs_system_id": SYSTEM,
        "acs_user_id": user,
        "akiles_metadata": None,
        "assa_abloy_vostio_metadata": None,
        "card_number": None,
        "code": None,
        "connected_account_id": "5c000000-0000-4000-8000-000000000001",
        "created_at": "2026-08-21T09:00:00.000Z",
        "display_name": "Card of a resident",
        "ends_at": "2027-08-21T09:00:00.000Z",
        "errors": [],
        "external_type": "salto_ks_credential",
        "external_type_display_name": "Salto KS credential",
        "is_issued": True,
        "is_latest_desired_state_synced_with_provider": True,
        "is_managed": True,
        "is_multi_phone_sync_credential": False,
        "is_one_time_use": False,
        "issued_at": "2026-08-21T09:00:01.000Z",
        "latest_desired_state_synced_with_provider_at": "2026-08-21T09:00:02.000Z",
        "parent_acs_credential_id": None,
        "starts_at": "2026-08-21T09:00:00.000Z",
        "user_identity_id": None,
        "visionline_metadata": None,
        "warnings": [],
        "workspace_id": WORKSPACE,
    }


def _response(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=utf-8\r\n"
        b"seam-request-id: 5d000000-0000-4000-8000-000000000001\r\ncontent-length: %d\r\n\r\n" % len(body)
    ) + body


def _assign_parts() -> tuple[bytes, bytes, bytes]:
    """The whole reply around its two ids."""
    stand_ins = [mark.decode().ljust(_ID_LENGTH, "@") for mark in _MARKS]
    reply = _response(json.dumps({"acs_credential": _credential(*stand_ins), "ok": True}).encode())
    before, _, rest = reply.partition(stand_ins[0].encode())
    between, _, after = rest.partition(stand_ins[1].encode())
    return before, between, after


_BEFORE, _BETWEEN, _AFTER = _assign_parts()
_LIST: Final = _response(
    json.dumps(
        {
            "acs_credentials": [_credential(WORKSPACE, WORKSPACE)],
            "pagination": {"next_page_cursor": None, "has_next_page": False, "next_page_url": None},
            "ok": True,
        }
    ).encode()
)


def _id_after(data: bytes, name: bytes) -> bytes:
    """The value of a key, with or without a blank before it."""
    start = data.index(b'"', data.index(name) + len(name) + 1) + 1
    return data[start : start + _ID_LENGTH]


def answer(request: bytes) -> bytes:
    """The reply to one whole request."""
    path = request[: request.index(b" HTTP/1.1")]
    if path.endswith(b"/list"):
        return _LIST
    credential = _id_after(request, b'"acs_credential_id"')
    user = _id_after(request, b'"acs_user_id"') if path.endswith(b"/assign") else WORKSPACE.encode()
    return b"".join((_BEFORE, credential, _BETWEEN, user, _AFTER))


class Quick(asyncio.Protocol):
    """One connection, without pipelining: no client here uses it."""

    first_assign_told = False

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._data = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer once head and body are there; most requests come whole."""
        self._data = data = self._data + data if self._data else data
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(data, 0, end)
        if len(data) < end + 4 + (int(length[1]) if length else 0):
            return
        self._data = b""
        if not Quick.first_assign_told and b"/assign HTTP" in data:
            Quick.first_assign_told = True
            print(time.monotonic(), flush=True)
        reply = answer(data)
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._send, reply)
        else:
            self._transport.write(reply)

    def _send(self, reply: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(reply)


async def serve(delay: float) -> None:
    """Serve on a free port of the loopback, printed first."""
    server = await asyncio.get_running_loop().create_server(lambda: Quick(delay), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    """Pin to the core that is named, then serve."""
    core, delay = int(sys.argv[1]), float(sys.argv[2])
    os.sched_setaffinity(0, {core})
    uvloop.run(serve(delay))


if __name__ == "__main__":
    main()
