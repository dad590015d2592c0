"""The official SDK's `AsyncSeam`: all calls gathered under a semaphore, as its users would write it, on uvloop."""

from __future__ import annotations

import asyncio

import httpx
import uvloop
from measured import WARM_UP, Clock, body_of, tell
from seam import AsyncSeam


async def _send(rows: range, concurrency: int, seam: AsyncSeam) -> None:
    gate = asyncio.Semaphore(concurrency)

    async def one(row: int) -> None:
        async with gate:
            await seam.acs.credentials.assign(**body_of(row))

    await asyncio.gather(*(one(row) for row in rows))


async def _measure(url: str, requests: int, concurrency: int, clock: Clock) -> None:
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    async with AsyncSeam(
        api_key="seam_bench0000_00000000000000000000",
        endpoint=url,
        timeout=60,
        httpx_options={"limits": limits, "trust_env": False},
    ) as seam:
        await _send(range(int(WARM_UP * requests)), concurrency, seam)
        clock.start()
        await _send(range(requests), concurrency, seam)
        clock.stop()


tell(lambda *arguments: uvloop.run(_measure(*arguments)))
