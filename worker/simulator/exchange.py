"""One request's connection: replies as bytes, and every way in which a reply can go wrong on the wire.

aiohttp parses the requests; replies are written to the transport by hand, since a library refuses to send
what a broken service sends. Hence `Written`, which tells aiohttp that nothing is left to do.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from worker.simulator.replies import Reply, head

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

__all__ = ["Exchange", "Written", "pre_gzipped_spaces", "reset"]

_LINGER_NONE: Final = struct.pack("ii", 1, 0)
"""A close becomes a reset."""
_GONE_CHECK: Final = 0.05
_ON_ITS_WAY: Final = 0.02
"""Seconds for bytes to reach the peer before a reset would overtake them."""
_CHUNK: Final = 1 << 16


class Written(web.StreamResponse):
    """Already on the wire; only `keep_alive` is left to say."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._stays = keep_alive

    @property
    def keep_alive(self) -> bool | None:
        """Whether aiohttp waits for a next request on the connection."""
        return self._stays

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write nothing."""
        del request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """Write nothing."""


_STAYS: Final = Written(keep_alive=True)
CLOSES: Final = Written(keep_alive=False)


def reset(transport: asyncio.Transport) -> None:
    """End a connection with RST instead of FIN."""
    connection: Any = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    transport.abort()


class Exchange:
    """Writes the reply to one request. Every method gives what the handler returns to aiohttp."""

    __slots__ = ("_keep_alive", "_request", "_transport", "request_id")

    def __init__(self, request: web.BaseRequest, request_id: str) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the caller went")
        self._request = request
        self._transport = transport
        self._keep_alive = request.keep_alive
        self.request_id = request_id

    def reply(self, reply: Reply) -> Written:
        """A complete, correct reply."""
        keep_alive = self._keep_alive
        self._write(head(reply, self.request_id, keep_alive=keep_alive) + reply.body)
        return _STAYS if keep_alive else CLOSES

    def reply_with_length(self, reply: Reply, length: int, *, close: bool) -> Written:
        """A reply whose Content-Length is a lie."""
        self._write(head(reply, self.request_id, length=length) + reply.body)
        return CLOSES if close else _STAYS

    def reply_until_close(self, reply: Reply) -> Written:
        """HTTP/1.0: no length, the end of the connection ends the body."""
        self._write(head(reply._replace(version="1.0"), self.request_id, length=-1) + reply.body)
        return CLOSES

    def reply_and_close(self, reply: Reply) -> Written:
        """A reply that lets the caller keep the connection, which then closes all the same."""
        self._write(head(reply, self.request_id) + reply.body)
        return CLOSES

    def reply_behind_continue(self, reply: Reply) -> Written:
        """An informational reply first, though nobody asked for it."""
        self.continue_()
        return self.reply(reply)

    def continue_(self) -> None:
        """Tell the caller to send the body."""
        self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def reset(self) -> Written:
        """No reply; the connection is reset."""
        reset(self._transport)
        return CLOSES

    async def reset_mid_body(self, reply: Reply) -> Written:
        """Half of the body, then a reset."""
        self._write(head(reply, self.request_id) + reply.body[: len(reply.body) // 2])
        await asyncio.sleep(_ON_ITS_WAY)
        return self.reset()

    async def never(self) -> Written:
        """No reply until the caller goes."""
        while not self._transport.is_closing():  # noqa: ASYNC110 - aiohttp sets no event when a caller goes
            await asyncio.sleep(_GONE_CHECK)
        return CLOSES

    async def drip(self, reply: Reply, interval: float) -> Written:
        """The body byte by byte."""
        self._write(head(reply, self.request_id))
        for at in range(len(reply.body)):
            await asyncio.sleep(interval)
            self._write(reply.body[at : at + 1])
        return _STAYS

    async def huge(self, reply: Reply, size: int) -> Written:
        """The body, then spaces up to `size` bytes, as quickly as the caller takes them."""
        self._write(head(reply, self.request_id, length=size) + reply.body)
        left = size - len(reply.body)
        spaces = b" " * _CHUNK
        while left > 0:
            await self._request.writer.write(spaces[:left])
            await self._request.writer.drain()
            left -= _CHUNK
        return _STAYS

    async def gzip_bomb(self, reply: Reply, size: int) -> Written:
        """The body and spaces up to `size` bytes, gzipped."""
        wire = await asyncio.to_thread(pre_gzipped_spaces, reply.body, size)
        zipped = reply._replace(body=wire, headers=f"{reply.headers}Content-Encoding: gzip\r\n")
        return self.reply(zipped)

    def _write(self, wire: bytes) -> None:
        if self._transport.is_closing():
            raise ConnectionResetError("the caller went")
        self._transport.write(wire)


_BLOCK: Final = 1 << 24


@lru_cache(maxsize=1)
def _zipped_block() -> bytes:
    """16 MiB of spaces as a piece of a deflate stream that refers to nothing before it."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(b" " * _BLOCK) + deflate.flush(zlib.Z_FULL_FLUSH)


def pre_gzipped_spaces(start: bytes, size: int) -> bytes:
    """A gzip file of `start` and spaces behind it, `size` bytes in all, made without making those bytes."""
    blocks, rest = divmod(max(0, size - len(start)), _BLOCK)
    opening = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = start + b" " * rest
    parts = [b"\x1f\x8b\x08\0\0\0\0\0\0\xff", opening.compress(first), opening.flush(zlib.Z_FULL_FLUSH)]
    parts += [_zipped_block()] * blocks
    check = zlib.crc32(first)
    spaces = b" " * _BLOCK if blocks else b""
    for _ in range(blocks):
        check = zlib.crc32(spaces, check)
    ending = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts += [ending.flush(), struct.pack("<II", check, (len(first) + blocks * _BLOCK) & 0xFFFFFFFF)]
    return b"".join(parts)
