"""A run over several workspaces in memory, and a service that refuses the keys of some of them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from worker.claim import Claim, OpenRow, ShardClaim
from worker.models import Attempt, Call, Job, StopCause, UserKey, Verdict
from worker.testing import MemorySeam

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.claim import Batch
    from worker.models import Result

__all__ = ["Refusing", "Workspaces", "job"]


def job(row: int, workspace: str) -> Job:
    """A row of a workspace."""
    return Job(row, row + 1, f"cred-{row}", UserKey.ACS_USER, f"user-{row}", workspace)


@dataclass
class Workspaces:
    """A `ShardSource`: each workspace is a shard, with rows that an earlier execution left in doubt, and fresh ones."""

    carried: Mapping[str, Sequence[int]]
    fresh: Mapping[str, Sequence[int]]
    results: dict[int, Result] = field(default_factory=dict)
    notes: list[tuple[int, bool, int]] = field(default_factory=list)

    def claim(self) -> Claim:
        """All of them."""
        shards = []
        for number, name in enumerate(self._names()):
            left = [OpenRow(job(row, name), maybe_applied=True, attempts=1) for row in self.carried.get(name, ())]
            through = max((opened.job.row for opened in left), default=0)
            shards.append(ShardClaim(number, name, 1, through, len(left) + len(self.fresh.get(name, ())), tuple(left)))
        return Claim(1, "memory", tuple(shards))

    def _names(self) -> list[str]:
        return sorted({*self.carried, *self.fresh})

    def fetch(self, shard: int, *, after_row: int, limit: int) -> Sequence[OpenRow]:
        """`ShardSource.fetch`."""
        name = self._names()[shard]
        rows = [row for row in self.fresh.get(name, ()) if row > after_row][:limit]
        return [OpenRow(job(row, name), maybe_applied=False, attempts=0) for row in rows]

    def fetch_details_due(self, shard: int, *, after_row: int, limit: int) -> Sequence[Job]:
        """`ShardSource.fetch_details_due`."""
        name = self._names()[shard]
        due = [row for row, result in sorted(self.results.items()) if result.details_due and row > after_row]
        return [job(row, name) for row in due if row in self.fresh.get(name, ())][:limit]

    def write(self, batch: Batch) -> None:
        """`ShardSource.write`."""
        self.results.update((result.row, result) for result in batch.results)
        self.notes += batch.notes


class Refusing(MemorySeam):
    """Refuses the keys of these workspaces; each call takes as long as is said."""

    def __init__(self, *refused: str, takes: Callable[[], float] = lambda: 0.0) -> None:
        super().__init__()
        self._refused = refused
        self._takes = takes

    async def assign(self, job: Job) -> Attempt:
        """`Sender.assign`."""
        await asyncio.sleep(self._takes())
        return self._no(Call.ASSIGN) if job.workspace_id in self._refused else await super().assign(job)

    async def get(self, workspace_id: str | None, acs_credential_id: str) -> Attempt:
        """`Sender.get`."""
        await asyncio.sleep(self._takes())
        if workspace_id in self._refused:
            return self._no(Call.GET)
        return await super().get(workspace_id, acs_credential_id)

    @staticmethod
    def _no(call: Call) -> Attempt:
        return Attempt(
            call, Verdict.HALT, time.time(), 0.0, 401, "r", error_type="unauthorized", stop=StopCause.KEY_REFUSED
        )
