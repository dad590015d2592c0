"""Seam over aiohttp: one method a route, each giving an `Attempt` and raising nothing for what the net did.

The one place that knows aiohttp's exceptions. The key goes to the configured origin only: no redirect is
followed, no cookie kept, no proxy taken from the environment, nothing decompressed, at most 1 MiB read (`wire`).
"""

from __future__ import annotations

import json
import platform
import re
import ssl
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Self

import aiohttp
from aiohttp.http import HttpProcessingError

from worker.config import MissingKey
from worker.deadlines import Deadlines
from worker.masking import mask_spelt, spellings_of
from worker.models import Attempt, Call, Job, StopCause, Verdict
from worker.replies import read_reply, tidy
from worker.retry import parse_retry_after
from worker.wire import LARGEST_BODY, Route, Wire

if TYPE_CHECKING:
    from worker.config import Target

__all__ = ["SeamClient"]

CONNECT_SHARE: Final = 0.5
"""Of an attempt's time; a connection that takes longer is given up as never made."""
PAGE_SIZE: Final = 500
LARGEST_PAGE: Final = 16 * LARGEST_BODY
"""Bytes of a list's reply: 500 credentials with their metadata are more than other replies may be."""


class SeamClient:
    """A session with the service. Use it as an async context manager.

    Args:
        target: endpoint, keys, proxy and CA file.
        concurrency: the most connections at once.
        timeout: seconds for one whole attempt, from the connection to the last byte of the reply.
    """

    def __init__(self, target: Target, *, concurrency: int, timeout: float) -> None:
        self._target = target
        self._concurrency = concurrency
        self._timeout = timeout
        self._spellings = spellings_of(target.secret_values())
        self._routes: dict[tuple[str | None, Call], tuple[Route, bytes] | MissingKey] = {}
        """Each with the key that is sent."""
        self._wire: Wire
        self._deadlines: Deadlines

    async def __aenter__(self) -> Self:
        """Be ready to send; no connection is made yet."""
        context: ssl.SSLContext | bool = True
        if self._target.ca_file is not None:
            context = ssl.create_default_context(cafile=self._target.ca_file)
        self._deadlines = Deadlines(self._timeout)
        self._wire = Wire(
            self._target.endpoint,
            limit=self._concurrency,
            connect_timeout=self._timeout * CONNECT_SHARE,
            trust=context,
            proxy=self._target.proxy,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        self._deadlines.close()
        await self._wire.close()

    async def assign(self, job: Job) -> Attempt:
        """Give the credential to the person, once."""
        return await self._call(Call.ASSIGN, job.workspace_id, _assign_body(job))

    async def unassign(self, job: Job) -> Attempt:
        """Take the credential from the person, once."""
        return await self._call(Call.UNASSIGN, job.workspace_id, _assign_body(job))

    async def get(self, workspace_id: str | None, acs_credential_id: str) -> Attempt:
        """Read a credential, and so its owner."""
        return await self._read(Call.GET, workspace_id, acs_credential_id=acs_credential_id)

    async def find_user(
        self,
        workspace_id: str | None,
        *,
        acs_user_id: str | None = None,
        user_identity_id: str | None = None,
        acs_system_id: str | None = None,
    ) -> Attempt:
        """Read a user, by its own id or by an identity in one access system."""
        return await self._read(
            Call.GET_USER,
            workspace_id,
            acs_user_id=acs_user_id,
            user_identity_id=user_identity_id,
            acs_system_id=acs_system_id,
        )

    async def list_page(
        self,
        workspace_id: str | None,
        *,
        acs_system_id: str | None = None,
        page_cursor: str | None = None,
        limit: int = PAGE_SIZE,
    ) -> Attempt:
        """Read one page of the workspace's credentials; follow `next_page_cursor` with the same arguments."""
        return await self._read(
            Call.LIST, workspace_id, acs_system_id=acs_system_id, limit=limit, page_cursor=page_cursor
        )

    async def _read(self, call: Call, workspace_id: str | None, **parameters: str | int | None) -> Attempt:
        given = {name: value for name, value in parameters.items() if value is not None}
        return await self._call(call, workspace_id, json.dumps(given).encode())

    def _route(self, call: Call, workspace_id: str | None) -> tuple[Route, bytes] | MissingKey:
        key = self._target.credentials.resolve(workspace_id)
        if isinstance(key, MissingKey):
            return key
        largest = LARGEST_PAGE if call is Call.LIST else LARGEST_BODY
        route = self._wire.route(call.value, {**_HEADERS, **key.headers()}, largest=largest)
        return route, key.secret.get_secret_value().encode()

    async def _call(self, call: Call, workspace_id: str | None, body: bytes) -> Attempt:
        began, clock = time.time(), time.perf_counter()
        try:
            known = self._routes.get((workspace_id, call))
            if known is None:
                known = self._routes[workspace_id, call] = self._route(call, workspace_id)
            if isinstance(known, MissingKey):
                return _no_key(call, workspace_id, began, known)
            route, key = known
            scope = self._deadlines.open()
            try:
                async with scope:
                    status, headers, reply = await self._wire.post(route, body)
            finally:
                self._deadlines.shut(scope)
        except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
            verdict, kind, stop = _failure(error)
            return Attempt(
                call,
                verdict,
                began,
                time.perf_counter() - clock,
                error_type=kind,
                error_message=tidy(self._masked(_told(error))),
                stop=stop,
                workspace_id=workspace_id,
            )
        duration = time.perf_counter() - clock
        request_id = headers.get("seam-request-id")
        if request_id is not None and not _PLAIN_ID.fullmatch(request_id):
            request_id = tidy(self._masked(request_id))
        if reply is None:
            return Attempt(
                call,
                Verdict.AMBIGUOUS,
                began,
                duration,
                error_type="reply_too_large",
                error_message=f"a reply with status {status} of more than {route.largest} bytes",
                workspace_id=workspace_id,
            )
        if key in reply:  # whatever the reply says, and if only in a name
            reply = self._masked_body(reply)
        reading = read_reply(call, status, reply, has_request_id=request_id is not None)
        if reading.verdict is Verdict.DONE:
            return Attempt(
                call,
                Verdict.DONE,
                began,
                duration,
                status,
                request_id,
                reading.credential,
                reading.user,
                reading.credentials,
                reading.next_page_cursor,
                workspace_id=workspace_id,
            )
        # Masked before a long message is cut, which might leave the first half of a key; the verdict is the reply's.
        words = read_reply(call, status, self._masked_body(reply), has_request_id=request_id is not None)
        return Attempt(
            call,
            reading.verdict,
            began,
            duration,
            status,
            request_id,
            error_type=self._masked(words.error_type or "") or None,
            error_message=self._masked(words.error_message or "") or None,
            retry_after=parse_retry_after(headers.get("Retry-After"), now=datetime.now(UTC))
            if reading.verdict is Verdict.LIMITED
            else None,
            stop=reading.stop,
            workspace_id=workspace_id,
        )

    def _masked(self, text: str) -> str:
        return mask_spelt(text, self._spellings)

    def _masked_body(self, reply: bytes) -> bytes:
        """Whatever its encoding, the other bytes stay as they are."""
        return self._masked(reply.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _assign_body(job: Job) -> bytes:
    """The JSON of assign and unassign, whose ids are UUIDs; the id that is not used is left out: null is refused."""
    return f'{{"acs_credential_id":"{job.acs_credential_id}","{job.user_key}":"{job.user_id}"}}'.encode()


def _no_key(call: Call, workspace_id: str | None, began: float, missing: MissingKey) -> Attempt:
    return Attempt(
        call,
        Verdict.HALT,
        began,
        0.0,
        error_type="missing_key",
        error_message=missing.reason,
        stop=StopCause.MISSING_KEY,
        workspace_id=workspace_id,
    )


_PLAIN_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
"""A request id with nothing in it to tidy or to mask; a key holds an underscore."""

_HEADERS: Final = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": f"assign-worker/{version('assign-worker')} "
    f"(Python {platform.python_version()}; aiohttp {aiohttp.__version__})",
    "seam-sdk-name": "assign-worker",
    "seam-sdk-version": version("assign-worker"),
}

_FAILURES: Final[tuple[tuple[type[BaseException], Verdict, str, StopCause | None], ...]] = (
    # The most specific first: a certificate error is also a connector error, which is also an OS error, and
    # connect and read timeouts share a parent.
    (aiohttp.ClientConnectorCertificateError, Verdict.HALT, "certificate_refused", StopCause.TLS),
    (aiohttp.ClientConnectorSSLError, Verdict.HALT, "tls_failed", StopCause.TLS),
    (aiohttp.ServerFingerprintMismatch, Verdict.HALT, "certificate_refused", StopCause.TLS),
    (aiohttp.ClientConnectorDNSError, Verdict.NEVER_SENT, "dns_failed", None),
    (aiohttp.ClientProxyConnectionError, Verdict.NEVER_SENT, "proxy_unreachable", None),
    (aiohttp.ClientConnectorError, Verdict.NEVER_SENT, "connection_refused", None),
    (aiohttp.ConnectionTimeoutError, Verdict.NEVER_SENT, "connect_timeout", None),
    (aiohttp.InvalidURL, Verdict.HALT, "invalid_url", StopCause.WRONG_URL),
    (aiohttp.ServerDisconnectedError, Verdict.AMBIGUOUS, "connection_closed", None),
    (aiohttp.ClientPayloadError, Verdict.AMBIGUOUS, "reply_cut_short", None),
    (HttpProcessingError, Verdict.AMBIGUOUS, "broken_reply", None),
    (TimeoutError, Verdict.AMBIGUOUS, "timeout", None),
    (ConnectionResetError, Verdict.AMBIGUOUS, "connection_reset", None),
    (OSError, Verdict.AMBIGUOUS, "connection_reset", None),
)


_QUOTES_THE_REPLY: Final = (HttpProcessingError, aiohttp.ClientPayloadError, ValueError)


def _told(error: BaseException) -> str:
    """An exception in its own words, unless they may quote the reply, and with it a PIN, or a URL and its password."""
    name = type(error).__name__
    if isinstance(error, aiohttp.ClientHttpProxyError):  # its own words end with the proxy's URL
        return f"{error.status} {error.message}"
    if isinstance(error, _QUOTES_THE_REPLY) and not isinstance(error, aiohttp.InvalidURL):
        return f"the reply could not be read ({name})"
    return str(error) or name


def _failure(error: BaseException) -> tuple[Verdict, str, StopCause | None]:
    """What an exception proves. Anything unknown may have been sent."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        if error.status in {401, 403, 407}:
            return Verdict.HALT, f"proxy_{error.status}", StopCause.PROXY
        return Verdict.NEVER_SENT, f"proxy_{error.status}", None
    for kind, verdict, word, stop in _FAILURES:
        if isinstance(error, kind):
            return verdict, word, stop
    return Verdict.AMBIGUOUS, "broken_connection", None
