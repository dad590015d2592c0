"""POST after POST over aiohttp's connections, without its request and response objects.

aiohttp does what is hard: DNS, TLS, proxies, the pool of connections, and the parser that the network feeds. What
`ClientSession.post` makes anew for each call (a URL, merged headers, a request, a writer, a response, cookies,
redirects) is the same for all of ours, and costs more than everything else that a row needs. So the head is rendered
once per key and route and written with the body in one piece, and there is nothing that could keep a cookie, follow
a redirect, ask the environment for a proxy or unpack a reply.
"""

from __future__ import annotations

import asyncio
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple

import aiohttp
from yarl import URL

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

__all__ = ["LARGEST_BODY", "Reply", "Route", "Wire"]

LARGEST_BODY: Final = 1024 * 1024
"""Bytes of a reply, unless its route says otherwise."""
KEEP_ALIVE: Final = 10.0
"""Seconds; shorter than any usual server's, so that it is rarely the server that closes a connection first."""

_LENGTH: Final = "Content-Length"
_FIRST_FINAL: Final = HTTPStatus.OK.value


class Reply(NamedTuple):
    """A whole reply, as it came."""

    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    body: bytes | None
    """Not decompressed; None where it was larger than the route allows."""


class Route:
    """What is the same for all calls of one route with one key."""

    __slots__ = ("head", "largest", "request")

    def __init__(self, request: aiohttp.ClientRequest, largest: int) -> None:
        self.request = request
        """Tells the pool where to connect; it is never sent itself."""
        self.largest = largest
        """Bytes of a reply."""
        self.head = b""
        """All of the request's head, but the value of its last header, Content-Length."""

    def render(self) -> bytes:
        """The head; made at the first call, since a proxy's connection may add a header."""
        request = self.request
        path = str(request.url) if request.proxy and not request.is_ssl() else request.url.raw_path
        lines = [f"POST {path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in request.headers.items() if name != _LENGTH]
        if any(character in line for line in lines for character in "\r\n\0"):
            raise ValueError("a header must not hold a line break")
        self.head = "\r\n".join((*lines, f"{_LENGTH}: ")).encode()
        return self.head


class Wire:
    """Connections to one service. Make and use it in one event loop.

    Args:
        endpoint: the URL before each route's path.
        limit: the most connections at once.
        connect_timeout: seconds after which a connection is given up as never made.
        trust: certificates to trust; True is the system's.
        proxy: its URL, where there is one.
    """

    def __init__(
        self, endpoint: str, *, limit: int, connect_timeout: float, trust: ssl.SSLContext | bool, proxy: str | None
    ) -> None:
        self._endpoint = endpoint
        self._proxy = URL(proxy) if proxy is not None else None
        self._loop = asyncio.get_running_loop()
        self._timeouts = aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout)
        self._connector = aiohttp.TCPConnector(limit=limit, ssl=trust)
        self._limit = limit
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        """Calls beyond the limit, which go on as others end; the pool knows nothing of the connections kept here."""
        self._spare: deque[tuple[aiohttp.connector.Connection, float]] = deque()
        """Open connections without a call, each with the time of its last reply, the oldest first."""

    async def close(self) -> None:
        """Close every connection."""
        while self._spare:
            self._spare.popleft()[0].close()
        await self._connector.close()

    def route(self, path: str, headers: Mapping[str, str], *, largest: int = LARGEST_BODY) -> Route:
        """A route of the service; `headers` are sent with each call, a reply of more than `largest` bytes is not read.

        Raises:
            aiohttp.InvalidURL: the endpoint is none.
        """
        url = URL(f"{self._endpoint}/{path}")
        request = aiohttp.ClientRequest("POST", url, headers=headers, loop=self._loop, proxy=self._proxy)
        return Route(request, largest)

    async def post(self, route: Route, body: bytes) -> Reply:
        """Send once, and read the whole reply; where the limit is reached, as soon as another call has ended.

        Raises:
            aiohttp.ClientError, aiohttp.http.HttpProcessingError, OSError, ValueError: no reply came, or half of one.
        """
        if self._under_way < self._limit:
            self._under_way += 1
        else:
            await self._turn()
        try:
            return await self._exchange(route, body)
        finally:
            self._pass_on()

    async def _turn(self) -> None:
        turn = self._loop.create_future()
        self._waiting.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():  # it came just as this call was given up
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        """A call has ended: its place goes to the one that has waited longest, if any."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._under_way -= 1

    async def _exchange(self, route: Route, body: bytes) -> Reply:
        connection = self._reusable() or await self._connect(route)
        try:
            protocol, transport = connection.protocol, connection.transport
            if protocol is None or transport is None:
                raise aiohttp.ServerDisconnectedError  # noqa: TRY301 - closed like every other failure
            transport.write(b"%b%d\r\n\r\n%b" % (route.head or route.render(), len(body), body))
            message, content = await protocol.read()
            while message.code < _FIRST_FINAL and message.code != HTTPStatus.SWITCHING_PROTOCOLS:
                message, content = await protocol.read()
            text = await _bounded(content, route.largest)
            if text == b"" and _may_be_cut(message):
                raise aiohttp.ClientPayloadError("the connection ended where a body may have begun")  # noqa: TRY301 - likewise
        except BaseException:
            connection.close()
            raise
        if text is None:
            connection.close()
        else:
            self._spare.append((connection, self._loop.time()))
        return Reply(message.code, message.headers, text)

    def _reusable(self) -> aiohttp.connector.Connection | None:
        """A connection that has served before, if any is still good; those that are not are closed.

        One that the service wants closed, or over which something came unasked, is not good.
        """
        while self._spare:
            connection, since = self._spare.popleft()
            protocol = connection.protocol
            is_good = protocol is not None and protocol.is_connected() and not protocol.should_close
            if is_good and self._loop.time() - since <= KEEP_ALIVE:
                return connection
            connection.close()
        return None

    async def _connect(self, route: Route) -> aiohttp.connector.Connection:
        try:
            connection = await self._connector.connect(route.request, [], self._timeouts)
        except TimeoutError:
            raise aiohttp.ConnectionTimeoutError(f"no connection within {self._timeouts.sock_connect:g} s") from None
        if connection.protocol is not None:
            connection.protocol.set_response_params(read_until_eof=True, auto_decompress=False)
        return connection


def _may_be_cut(message: aiohttp.http.RawResponseMessage) -> bool:
    """Whether no body may be half of a reply: a success that says nothing of its length, so that the end is its end."""
    is_success = HTTPStatus.OK <= message.code < HTTPStatus.MULTIPLE_CHOICES and message.code != HTTPStatus.NO_CONTENT
    return is_success and not message.chunked and _LENGTH not in message.headers


async def _bounded(content: aiohttp.StreamReader, largest: int) -> bytes | None:
    """The whole body, or None where it is too large."""
    body = await content.readany()
    if content.at_eof():
        return body
    chunks, size = [body], len(body)
    while chunk := await content.readany():
        chunks.append(chunk)
        size += len(chunk)
        if size > largest:
            return None
    return b"".join(chunks)
