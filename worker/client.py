"""Seam over aiohttp: one method a route, each giving an `Attempt` and raising nothing for what the net did.

The one place that knows aiohttp's exceptions. The key goes to the configured origin only: no redirect is
followed, no cookie kept, no proxy taken from the environment, nothing decompressed, at most 1 MiB read.
"""

from __future__ import annotations

import asyncio
import json
import platform
import ssl
import time
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Self

import aiohttp

from worker.config import MissingKey
from worker.masking import mask_in
from worker.models import Attempt, Call, Job, StopCause, UserKey, Verdict
from worker.replies import read_reply, tidy
from worker.retry import parse_retry_after
from worker.seam import AssignRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.config import Target

__all__ = ["SeamClient"]

LARGEST_BODY: Final = 1024 * 1024
KEEP_ALIVE: Final = 10.0
"""Seconds; shorter than any usual server's, so that it is rarely the server that closes a connection first."""
CONNECT_SHARE: Final = 0.5
"""Of an attempt's time; a connection that takes longer is given up as never made."""
PAGE_SIZE: Final = 500

_TOO_LARGE: Final = b"\x00"


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
        self._urls = {call: f"{target.endpoint}/{call.value}" for call in Call}
        self._headers: dict[str | None, Mapping[str, str] | MissingKey] = {}
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        """Open the session; no connection is made yet."""
        context: ssl.SSLContext | bool = True
        if self._target.ca_file is not None:
            context = ssl.create_default_context(cafile=self._target.ca_file)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._concurrency, keepalive_timeout=KEEP_ALIVE, ssl=context
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout * CONNECT_SHARE),
            proxy=self._target.proxy,
            headers={
                "Accept": "application/json",
                "Accept-Encoding": "identity",
                "Content-Type": "application/json",
                "User-Agent": f"assign-worker/{version('assign-worker')} "
                f"(Python {platform.python_version()}; aiohttp {aiohttp.__version__})",
                "seam-sdk-name": "assign-worker",
                "seam-sdk-version": version("assign-worker"),
            },
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection."""
        await self._session.close()

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

    def _headers_of(self, workspace_id: str | None) -> Mapping[str, str] | MissingKey:
        known = self._headers.get(workspace_id)
        if known is None:
            key = self._target.credentials.resolve(workspace_id)
            known = self._headers[workspace_id] = key if isinstance(key, MissingKey) else key.headers()
        return known

    async def _call(self, call: Call, workspace_id: str | None, body: bytes) -> Attempt:
        headers = self._headers_of(workspace_id)
        began, clock = time.time(), time.perf_counter()
        if isinstance(headers, MissingKey):
            return Attempt(
                call,
                Verdict.HALT,
                began,
                0.0,
                error_type="missing_key",
                error_message=headers.reason,
                stop=StopCause.MISSING_KEY,
            )
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.post(
                    self._urls[call], data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                reply = await _bounded(response)
        except (aiohttp.ClientError, OSError, TimeoutError, asyncio.TimeoutError, ValueError) as error:
            verdict, kind, stop = _failure(error)
            return Attempt(
                call,
                verdict,
                began,
                time.perf_counter() - clock,
                error_type=kind,
                error_message=mask_in(tidy(str(error) or type(error).__name__), self._secrets()),
                stop=stop,
            )
        duration = time.perf_counter() - clock
        request_id = response.headers.get("seam-request-id")
        if reply is _TOO_LARGE:
            return Attempt(
                call,
                Verdict.AMBIGUOUS,
                began,
                duration,
                error_type="reply_too_large",
                error_message=f"a reply with status {response.status} of more than {LARGEST_BODY} bytes",
            )
        reading = read_reply(call, response.status, reply, has_request_id=request_id is not None)
        if reading.verdict is Verdict.DONE:
            return Attempt(
                call,
                Verdict.DONE,
                began,
                duration,
                response.status,
                request_id,
                reading.credential,
                reading.user,
                reading.credentials,
                reading.next_page_cursor,
            )
        return Attempt(
            call,
            reading.verdict,
            began,
            duration,
            response.status,
            tidy(request_id) if request_id else None,
            error_type=reading.error_type,
            error_message=mask_in(reading.error_message, self._secrets()),
            retry_after=parse_retry_after(response.headers.get("Retry-After"), now=datetime.now(UTC))
            if reading.verdict is Verdict.LIMITED
            else None,
            stop=reading.stop,
        )

    def _secrets(self) -> tuple[str, ...]:
        return self._target.credentials.secret_values()


def _assign_body(job: Job) -> bytes:
    if job.user_key is UserKey.ACS_USER:
        return AssignRequest(acs_credential_id=job.acs_credential_id, acs_user_id=job.user_id).body()  # type: ignore[arg-type] # pydantic makes the UUIDs
    return AssignRequest(acs_credential_id=job.acs_credential_id, user_identity_id=job.user_id).body()  # type: ignore[arg-type] # likewise


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    """The whole body, or `_TOO_LARGE`: then the connection is dropped with what is left."""
    stream = response.content
    body = await stream.readany()
    if stream.at_eof():
        return body
    chunks, size = [body], len(body)
    while chunk := await stream.readany():
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_BODY:
            response.close()
            return _TOO_LARGE
    return b"".join(chunks)


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
    (aiohttp.ClientResponseError, Verdict.AMBIGUOUS, "broken_reply", None),
    (TimeoutError, Verdict.AMBIGUOUS, "timeout", None),
    (ConnectionResetError, Verdict.AMBIGUOUS, "connection_reset", None),
    (OSError, Verdict.AMBIGUOUS, "connection_reset", None),
)


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
