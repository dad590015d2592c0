"""What `worker.wire` does itself: heads, interim replies, and when a connection may be used again."""

from __future__ import annotations

import asyncio
import base64

import aiohttp
import pytest
from aiohttp.http import HttpProcessingError

from tests.client.raw_server import reply, says, serving
from worker.wire import Wire


def wire_to(endpoint: str, *, proxy: str | None = None) -> Wire:
    """A wire with one connection."""
    return Wire(endpoint, limit=1, connect_timeout=2.0, trust=True, proxy=proxy)


async def test_a_connection_serves_one_call_after_the_other() -> None:
    """Three calls, one connection, each with its own body and length."""
    async with serving(says(reply(b"{}"))) as server:
        wire = wire_to(server.url)
        route = wire.route("acs/credentials/get", {"X-One": "1"})
        replies = [await wire.post(route, b"x" * size) for size in (0, 1, 1000)]
        await wire.close()
    assert [(answer.status, answer.body) for answer in replies] == [(200, b"{}")] * 3
    assert server.connections == 1
    assert [request.partition(b"\r\n\r\n")[2] for request in server.requests] == [b"", b"x", b"x" * 1000]
    for request in server.requests:
        assert request.lower().count(b"content-length:") == 1
        assert request.lower().count(b"host: 127.0.0.1:") == 1


async def test_interim_replies_are_passed_over() -> None:
    """A 100 and a 103 come before the reply that counts."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n"
    async with serving(says(*interim, reply(b"{}", status="201 Created"))) as server:
        wire = wire_to(server.url)
        answer = await wire.post(wire.route("a", {}), b"{}")
        await wire.close()
    assert (answer.status, answer.body) == (201, b"{}")


async def test_what_follows_a_reply_unasked_is_never_read_as_the_next_one() -> None:
    """A second reply to one request ends the connection; the next call gets its own answer."""
    seen = 0

    async def twice(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.write(reply(b"%d" % seen) + reply(b"stray"))
        await writer.drain()

    async with serving(twice) as server:
        wire = wire_to(server.url)
        route = wire.route("a", {})
        bodies = [(await wire.post(route, b"{}")).body for _ in range(2)]
        await wire.close()
    assert bodies == [b"1", b"2"]
    assert server.connections == 2


async def test_what_comes_unasked_while_a_connection_has_no_call_ends_it() -> None:
    """Late and whole: the connection is looked at before it is used again."""
    seen, first_read = 0, asyncio.Event()

    async def later(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        writer.write(reply(b"%d" % seen))
        await first_read.wait()
        writer.write(reply(b"stray"))
        await writer.drain()

    async with serving(later) as server:
        wire = wire_to(server.url)
        route = wire.route("a", {})
        first = await wire.post(route, b"{}")
        first_read.set()
        ((connection, _),) = wire._spare
        async with asyncio.timeout(5):
            while connection.protocol is None or not connection.protocol.should_close:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
        second = await wire.post(route, b"{}")
        await wire.close()
    assert (first.body, second.body) == (b"1", b"2")
    assert server.connections == 2


async def test_all_kinds_of_replies_on_one_connection() -> None:
    """Without a body, in chunks, of a length: each is read to its end, and the next call begins afresh."""
    kinds = iter(
        (
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
            reply(b"", status="500 Internal Server Error"),
            reply(b"[1]"),
        )
    )

    async def each(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(next(kinds))
        await writer.drain()

    async with serving(each) as server:
        wire = wire_to(server.url)
        route = wire.route("a", {})
        replies = [await wire.post(route, b"{}") for _ in range(4)]
        await wire.close()
    assert [(answer.status, answer.body) for answer in replies] == [(204, b""), (200, b"{}"), (500, b""), (200, b"[1]")]
    assert server.connections == 1


async def test_a_service_that_wants_a_connection_closed_has_its_way() -> None:
    """Although it leaves the closing to us."""
    async with serving(says(reply(headers="Connection: close\r\n"))) as server:
        wire = wire_to(server.url)
        route = wire.route("a", {})
        for _ in range(3):
            await wire.post(route, b"{}")
        await wire.close()
    assert server.connections == 3


async def test_a_cancelled_call_takes_its_connection_with_it() -> None:
    """A reply that comes too late must not answer the next call."""
    seen = 0

    async def late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        if seen == 1:
            await asyncio.sleep(0.1)
        writer.write(reply(b"%d" % seen))

    async with serving(late) as server:
        wire = wire_to(server.url)
        route = wire.route("a", {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await wire.post(route, b"{}")
        answer = await wire.post(route, b"{}")
        await wire.close()
    assert answer.body == b"2"
    assert server.connections == 2


async def test_a_broken_head_is_told_and_ends_the_connection() -> None:
    """No HTTP at all."""
    async with serving(says(b"SSH-2.0-OpenSSH_9.6\r\n")) as server:
        wire = wire_to(server.url)
        with pytest.raises((HttpProcessingError, aiohttp.ClientError)):
            await wire.post(wire.route("a", {}), b"{}")
        await wire.close()
    assert server.connections == 1


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\nb", "a\0b"])
async def test_a_header_cannot_break_its_line(value: str) -> None:
    """Nothing is sent."""
    async with serving(says(reply())) as server:
        wire = wire_to(server.url)
        with pytest.raises(ValueError, match="line break"):
            await wire.post(wire.route("a", {"X-Some": value}), b"{}")
        await wire.close()
    assert server.requests == []


async def test_a_plain_proxy_gets_the_whole_url_and_its_own_password() -> None:
    """As RFC 9112 3.2.2 asks, on a connection's first call and on its second."""
    async with serving(says(reply())) as proxy:
        wire = wire_to("http://127.0.0.1:9", proxy=proxy.url.replace("//", "//someone:secret@"))
        route = wire.route("a", {})
        for _ in range(2):
            await wire.post(route, b"{}")
        await wire.close()
    password = base64.b64encode(b"someone:secret")
    for request in proxy.requests:
        assert request.startswith(b"POST http://127.0.0.1:9/a HTTP/1.1\r\nHost: 127.0.0.1:9\r\n")
        assert b"Proxy-Authorization: Basic " + password in request
