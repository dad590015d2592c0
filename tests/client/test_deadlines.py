"""Many calls, one timer: each ends at its own time, and one that was answered never does."""

from __future__ import annotations

import asyncio

from tests.virtual_time import run_virtually
from worker.deadlines import Deadlines

SECONDS = 30.0


async def call(deadlines: Deadlines, begins: float, takes: float) -> tuple[str, float]:
    """One call that begins after a while; how it ended, and when."""
    loop = asyncio.get_running_loop()
    start = loop.time()
    await asyncio.sleep(begins)
    scope = deadlines.open()
    try:
        async with scope:
            await asyncio.sleep(takes)
        how = "answered"
    except TimeoutError:
        how = "timeout"
    finally:
        deadlines.shut(scope)
    return how, round(loop.time() - start)


def test_each_call_has_its_own_end() -> None:
    """Three that take too long, begun 10 s apart, and one between them that is answered."""

    async def main() -> list[tuple[str, float]]:
        deadlines = Deadlines(SECONDS)
        calls = (call(deadlines, 0, 99), call(deadlines, 5, 1), call(deadlines, 10, 99), call(deadlines, 80, 99))
        return list(await asyncio.gather(*calls))

    assert run_virtually(main()) == [("timeout", 30), ("answered", 6), ("timeout", 40), ("timeout", 110)]


def test_a_cancelled_call_is_no_timeout() -> None:
    """Who cancels it from outside sees just that, and it expires no more."""

    async def main() -> str:
        deadlines = Deadlines(SECONDS)
        task = asyncio.create_task(call(deadlines, 0, 99))
        await asyncio.sleep(1)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            await asyncio.sleep(2 * SECONDS)
            return "cancelled"
        return "ended"

    assert run_virtually(main()) == "cancelled"
