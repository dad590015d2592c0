"""When results are committed: in groups, and sooner where somebody waits for room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from worker.ledger.group_commit import GroupCommit
from worker.models import Outcome, Result

if TYPE_CHECKING:
    from worker.ledger.claims import Batch


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
