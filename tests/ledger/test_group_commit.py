"""When results are committed: in groups, and sooner where somebody waits for room."""

from __future__ import annotations

import asyncio
import queue

import pytest

from worker.claim import Batch
from worker.errors import AssignWorkerError, LedgerWriteError
from worker.ledger.group_commit import GroupCommit
from worker.models import Outcome, Result


async def test_who_waits_for_room_has_a_commit_at_once() -> None:
    """But only for as many results as make it worth one; the others wait for their group."""
    written: list[Batch] = []
    failed: list[Exception] = []
    commit = GroupCommit(written.append, on_durable=lambda _: None, on_failure=failed.append)
    for row in range(1, 11):
        commit.add(Result(row, Outcome.ASSIGNED))
    under_way = []
    for least in (11, 10):
        commit.hurry(least=least)
        under_way.append(commit._writing)
    assert under_way == [False, True]
    await commit.flush()
    await commit.close()
    assert [len(batch.results) for batch in written] == [10]
    assert not failed


class _Disk:
    """A disk on which each write takes until it is told how it ends."""

    def __init__(self) -> None:
        self.began: queue.SimpleQueue[Batch] = queue.SimpleQueue()
        self.ends: queue.SimpleQueue[AssignWorkerError | None] = queue.SimpleQueue()

    def write(self, batch: Batch) -> None:
        """One write."""
        self.began.put(batch)
        if error := self.ends.get():
            raise error


async def _on_a_slow_disk() -> tuple[_Disk, GroupCommit]:
    """Row 1 is being written, and row 2 is to follow at once."""
    disk = _Disk()
    commit = GroupCommit(disk.write, on_durable=lambda _: None, on_failure=lambda _: None)
    for row in (1, 2):
        commit.add(Result(row, Outcome.ASSIGNED))
        commit.hurry(least=1)
    await asyncio.to_thread(disk.began.get)
    return disk, commit


async def test_a_flush_waits_for_the_write_that_follows_the_one_under_way() -> None:
    """Else whoever reads the ledger after it misses rows, and nobody hears that their write failed."""
    disk, commit = await _on_a_slow_disk()
    flushing = asyncio.create_task(commit.flush())
    disk.ends.put(None)
    second = await asyncio.to_thread(disk.began.get)
    assert [result.row for result in second.results] == [2]
    assert not flushing.done()
    disk.ends.put(LedgerWriteError("the disk is full"))
    with pytest.raises(LedgerWriteError, match="full"):
        await flushing
    await commit.close()


async def test_the_last_write_is_waited_for_too() -> None:
    """Its failure is told, whatever was under way when it was asked for."""
    disk, commit = await _on_a_slow_disk()
    flushing = asyncio.create_task(commit.flush(Batch(lowered={0: 2})))
    for _ in range(2):
        disk.ends.put(None)
        await asyncio.to_thread(disk.began.get)
    assert not flushing.done()
    disk.ends.put(LedgerWriteError("the disk is full"))
    with pytest.raises(LedgerWriteError, match="full"):
        await flushing
    await commit.close()


@pytest.mark.parametrize(("sharers", "wait"), [(1, 0.020), (8, 0.160), (64, 0.250)])
async def test_several_in_a_process_commit_as_often_as_one(sharers: int, wait: float) -> None:
    """Each waits for its turn, but never so long that people would wait for what is in the ledger."""
    commit = GroupCommit(
        lambda _: None,
        on_durable=lambda _: None,
        on_failure=lambda error: pytest.fail(str(error)),
        sharers=lambda: sharers,
    )
    now = asyncio.get_running_loop().time()
    commit.add(Result(1, Outcome.ASSIGNED))
    timer = commit._timer
    assert timer is not None
    assert timer.when() - now == pytest.approx(wait, abs=0.010)
    await commit.flush()
    await commit.close()
