"""When results are committed: in groups, and sooner where somebody waits for room."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
