"""The bar: aiohttp on uvloop in the shortest loop there is. JSON decoded, nothing validated, nothing recorded."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import uvloop
from measured import WARM_UP, Clock, body_of, tell


async def _send(url: str, rows: range, concurrency: int, session: aiohttp.ClientSession) -> None:
    left = iter(rows)

    async def work() -> None:
        for row in left:
            async with session.post(url, json=body_of(row)) as response:
                json.loads(await response.read())

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def _measure(url: str, requests: int, concurrency: int, clock: Clock) -> None:
    connector = aiohttp.TCPConnector(limit=concurrency)
    headers = {"Authorization": "Bearer seam_bench0000_00000000000000000000"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        assign = f"{url}/acs/credentials/assign"
        await _send(assign, range(int(WARM_UP * requests)), concurrency, session)
        clock.start()
        await _send(assign, range(requests), concurrency, session)
        clock.stop()


tell(lambda *arguments: uvloop.run(_measure(*arguments)))
