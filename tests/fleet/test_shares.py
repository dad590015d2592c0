"""The requests in flight of one worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.pipeline.harness import job, send
from worker.fleet.shares import Shares
from worker.testing import MemorySeam, MemoryShards

if TYPE_CHECKING:
    from worker.models import Job

CONCURRENCY = 16


def test_jobs_share_equally() -> None:
    """However many there are, all together have the bound, and each has one."""
    shares = Shares(10)
    first = shares.take()
    assert first.concurrency == 10
    others = [shares.take() for _ in range(2)]
    assert [(each.concurrency, each.sharers) for each in (first, *others)] == [(3, 3)] * 3
    many = [shares.take() for _ in range(20)]
    assert {each.concurrency for each in (first, *many)} == {1}
    for each in (*others, *many):
        shares.give_back(each)
    assert (first.concurrency, first.sharers) == (10, 1)


def test_a_job_takes_what_another_leaves() -> None:
    """It keeps to its half while the other one is under way, and has all of it afterwards."""
    shares = Shares(CONCURRENCY)
    endpoint, other = shares.take(), shares.take()
    seam, ledger = MemorySeam(), MemoryShards([job(row) for row in range(1, 2_001)])
    before: list[int] = []

    def hold(_: Job) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        loop.call_later(0.5, answered.set_result, None)
        return answered

    def leave(_: object) -> None:
        before.append(seam.most_in_flight)
        shares.give_back(other)

    seam.hold = hold
    send(ledger, seam, at={20.0: leave}, endpoint=endpoint, concurrency=CONCURRENCY)
    assert (before, seam.most_in_flight) == ([CONCURRENCY // 2], CONCURRENCY)
    assert len(ledger.results) == 2_000
