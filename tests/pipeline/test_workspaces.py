"""Workspaces that share a window and an endpoint: what stops or holds up one of them holds up no other."""

from __future__ import annotations

import asyncio
import queue
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.pipeline.workspaces import Refusing, Workspaces
from tests.virtual_time import run_virtually
from worker.config import Sending
from worker.errors import LedgerWriteError
from worker.models import Call, Stop, StopCause
from worker.pipeline import Pipeline
from worker.testing import Fault, MemorySeam

if TYPE_CHECKING:
    from worker.claim import Batch
    from worker.execution import Execution

LONG = 3600.0


def send(source: Workspaces, seam: MemorySeam, **sending: object) -> Execution:
    """Send it all, in virtual time; a run that has not ended after hours of that never will."""

    async def main() -> Execution:
        pipeline = Pipeline(source.claim(), source, seam, Sending(**sending))
        return await asyncio.wait_for(pipeline.run(), LONG)

    return run_virtually(main())


@pytest.mark.parametrize("left", [511, 512, 600])
def test_a_window_that_a_refused_workspace_had_filled_is_for_the_others(left: int) -> None:
    """Its rows in doubt stay open, and what waited for their room goes on, though nothing is committed for it."""
    source = Workspaces({"a": range(1, left + 1)}, {"b": range(10_001, 10_006)})
    execution = send(source, Refusing("a"), concurrency=64)
    assert sorted(source.results) == [*range(10_001, 10_006)]
    assert [stop.workspace_id for stop in execution.stops] == ["a"]
    assert len(source.notes) == left


@pytest.mark.parametrize("concurrency", [1, 2, 4])
@pytest.mark.parametrize("seed", range(5))
def test_refused_workspaces_take_no_turns_of_others(seed: int, concurrency: int) -> None:
    """The endpoint is full: the turn that comes free goes to a shard that can use it."""
    random = Random(seed)  # noqa: S311 - a schedule, no secret
    names = [f"w{number:02}" for number in range(40)]
    carried = {name: range(at * 1000 + 1, at * 1000 + random.randint(2, 4)) for at, name in enumerate(names)}
    fresh = {name: range(at * 1000 + 101, at * 1000 + random.randint(102, 107)) for at, name in enumerate(names)}
    source = Workspaces(carried, fresh)
    seam = Refusing(*names[::3], takes=lambda: random.uniform(0.001, 0.02))
    execution = send(source, seam, concurrency=concurrency)
    well = [name for name in names if name not in names[::3]]
    assert sorted(source.results) == sorted(row for name in well for row in (*carried[name], *fresh[name]))
    assert sorted(str(stop.workspace_id) for stop in execution.stops) == names[::3]


async def test_who_is_cancelled_at_the_end_loses_nothing_that_is_known() -> None:
    """The end of a grace cuts off just there: while the last results wait for the commit under way."""
    began: queue.SimpleQueue[None] = queue.SimpleQueue()
    may_end: queue.SimpleQueue[None] = queue.SimpleQueue()

    class Slow(Workspaces):
        def write(self, batch: Batch) -> None:
            if batch.results and not self.results:
                began.put(None)
                may_end.get()
            super().write(batch)

    source = Slow({}, {"a": range(1, 2001)})
    pipeline = Pipeline(source.claim(), source, MemorySeam(), Sending(concurrency=16))
    running = asyncio.create_task(pipeline.run())
    await asyncio.to_thread(began.get)
    while not pipeline._supply._commit._results:  # noqa: ASYNC110 - that came since the commit began
        await asyncio.sleep(0)
    pipeline.stop(Stop(StopCause.SIGTERM, "stopped"))
    while pipeline.in_flight:  # noqa: ASYNC110 - likewise
        await asyncio.sleep(0)
    for _ in range(20):  # it winds up by now
        await asyncio.sleep(0)
    running.cancel()
    for _ in range(3):
        await asyncio.sleep(0)
    may_end.put(None)
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len(source.results) == pipeline.execution.outcomes.total() > 0
    assert not pipeline._supply._commit._thread.is_alive()


def test_a_lease_that_is_lost_while_details_are_read_is_told_as_such() -> None:
    """Not inside a group, which nobody above would know."""
    source = Workspaces({}, {"a": range(1, 5)})
    seam = MemorySeam()
    for row in range(1, 5):
        seam.faults[Call.ASSIGN, f"cred-{row}"].append(Fault.VOID)

    def require_lease() -> None:
        if len(source.results) == 4:
            raise LedgerWriteError("no word from the server")

    async def main() -> None:
        pipeline = Pipeline(source.claim(), source, seam, Sending(), require_lease=require_lease)
        await pipeline.run()

    with pytest.raises(LedgerWriteError, match="no word"):
        run_virtually(main())
