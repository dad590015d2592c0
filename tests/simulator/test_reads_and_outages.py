"""Faults of reads, and a service that is down."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.simulator.calls import ASSIGN, GET, GET_USER, LIST, a_user, an_id, running
from worker.simulator import OutageMode

NOW = 1_800_000_000.0
GET_BODY = {"acs_credential_id": an_id(1)}


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("http_500", 500),
        ("http_502", 502),
        ("http_503", 503),
        ("http_504", 504),
        ("limited_429", 429),
        ("invalid_400", 400),
        ("not_found_404", 404),
        ("html_200", 200),
    ],
)
@pytest.mark.parametrize(
    ("route", "body"), [(GET, GET_BODY), (LIST, {"limit": 5}), (GET_USER, {"acs_user_id": a_user(1)})]
)
async def test_read_faults(fault: str, status: int, route: str, body: dict[str, object]) -> None:
    """Each read is hit once, then works; assigns are not hit."""
    async with running(read_faults={"shares": {fault: 1}}) as caller:
        assert (await caller.assign(1)).status == 200
        first, second = [await caller.send(route, body) for _ in range(2)]
        assert (first.status, second.status) == (status, 200)
        assert first.body.startswith(b"{") is (fault != "html_200")
        assert second.json["ok"] is True
        assert ("Retry-After" in first.headers) is (status == 429)


async def test_reads_that_are_reset_or_hang() -> None:
    """RST without a byte, or nothing until the caller goes."""
    async with running(read_faults={"shares": {"reset": 1}}) as caller:
        assert await caller.wire(GET, GET_BODY) == (b"", "reset")
    async with running(read_faults={"shares": {"never": 1}}) as caller:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await caller.wire(GET, GET_BODY)


async def test_outage_window() -> None:
    """Down between its two times: 503 for every route, with Retry-After, and nothing is applied."""
    now = NOW
    async with running(clock=lambda: now, outage={"windows": [[10, 20]], "retry_after": 7}) as caller:
        assert (await caller.assign(1)).status == 200
        now += 10
        down = await caller.assign(2)
        assert (down.status, down.headers["Retry-After"]) == (503, "7")
        assert (await caller.get(1)).status == 503
        now += 10
        assert (await caller.get(2)).credential.get("acs_user_id") is None


async def test_outage_switched_over_http() -> None:
    """On, and off again; the control routes stay up."""
    async with running() as caller:
        assert (await caller.control("outage", {"mode": "http_503"})).status == 200
        assert (await caller.assign(1)).status == 503
        await caller.control("outage", {"mode": None})
        assert (await caller.assign(1)).status == 200


async def test_outage_by_reset() -> None:
    """Every connection is reset once a request has come."""
    async with running(outage={"mode": "reset", "windows": [[0, 100]]}) as caller:
        body = {"acs_credential_id": an_id(1), "acs_user_id": a_user(1)}
        assert await caller.wire(ASSIGN, body) == (b"", "reset")
        assert caller.applied() == []


async def test_outage_by_refusal() -> None:
    """Nobody listens, open connections are reset; afterwards it is there again, on the same port."""
    async with running() as caller:
        assert (await caller.assign(1)).status == 200
        caller.server.outage(OutageMode.REFUSED)
        async with asyncio.timeout(5):
            while True:
                try:
                    await caller.wire(GET, GET_BODY, until=bool)
                except ConnectionRefusedError:
                    break
                except ConnectionResetError:  # it stood in the queue of those who listened
                    continue
        with pytest.raises(aiohttp.ClientConnectorError):
            await caller.assign(2)
        caller.server.outage(None)
        async with asyncio.timeout(5):
            while True:
                try:
                    assert (await caller.assign(2)).status == 200
                    break
                except aiohttp.ClientConnectorError:
                    await asyncio.sleep(0.01)


async def test_refusal_over_http_needs_an_end() -> None:
    """Nobody could switch it off over HTTP."""
    async with running() as caller:
        answer = await caller.control("outage", {"mode": "refused"})
        assert (answer.status, "seconds is needed" in answer.json["error"]) == (400, True)


async def test_latency_grows_with_the_crowd() -> None:
    """One alone is quick; ten at once wait for each other's presence."""
    async with running(latency={"median": 0.03, "per_in_flight": 0.02, "free_in_flight": 1}) as caller:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await caller.get(1)
        alone = loop.time() - began
        began = loop.time()
        await asyncio.gather(*(caller.get(number) for number in range(10)))
        assert loop.time() - began >= 0.15
        assert alone < 0.15
        stats = caller.server.stats()
        assert stats["max_in_flight"] == 10


async def test_latency_is_taken_by_every_reply() -> None:
    """Around the median, 429 and errors too."""
    limit = {"kind": "fixed_window", "rate": 0.001, "window": 1000}
    async with running(latency={"median": 0.05, "sigma": 0.1}, limit=limit) as caller:
        loop = asyncio.get_running_loop()
        for status in (200, 429):
            began = loop.time()
            assert (await caller.get(1)).status == status
            assert loop.time() - began > 0.03
