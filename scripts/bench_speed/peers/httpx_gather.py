"""httpx, with as many tasks as are in flight, on uvloop."""

from __future__ import annotations

import asyncio

import httpx
import uvloop
from measured import WARM_UP, Clock, body_of, tell


async def _send(url: str, rows: range, concurrency: int, client: httpx.AsyncClient) -> None:
    left = iter(rows)

    async def work() -> None:
        for row in left:
            (await client.post(url, json=body_of(row))).json()

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def _measure(url: str, requests: int, concurrency: int, clock: Clock) -> None:
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    headers = {"Authorization": "Bearer seam_bench0000_00000000000000000000"}
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=60, trust_env=False) as client:
        assign = f"{url}/acs/credentials/assign"
        await _send(assign, range(int(WARM_UP * requests)), concurrency, client)
        clock.start()
        await _send(assign, range(requests), concurrency, client)
        clock.stop()


tell(lambda *arguments: uvloop.run(_measure(*arguments)))
