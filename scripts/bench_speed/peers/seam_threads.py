"""The official SDK's `Seam` in threads, one client for all; one thread is its plain loop."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
from measured import WARM_UP, Clock, body_of, tell
from seam import Seam


def _send(rows: range, threads: int, seam: Seam) -> None:
    def work(first: int) -> None:
        for row in rows[first::threads]:
            seam.acs.credentials.assign(**body_of(row))

    if threads == 1:
        work(0)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def _measure(url: str, requests: int, concurrency: int, clock: Clock) -> None:
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    with Seam(
        api_key="seam_bench0000_00000000000000000000",
        endpoint=url,
        timeout=60,
        httpx_options={"limits": limits, "trust_env": False},
    ) as seam:
        _send(range(int(WARM_UP * requests)), concurrency, seam)
        clock.start()
        _send(range(requests), concurrency, seam)
        clock.stop()


tell(_measure)
