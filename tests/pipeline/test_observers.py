"""Who is told of calls and commits."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from tests.pipeline.harness import job
from tests.virtual_time import run_virtually
from worker.config import Sending
from worker.pipeline import Pipeline
from worker.ports import CommitObserver
from worker.testing import Fault, MemorySeam, MemoryShards

if TYPE_CHECKING:
    from worker.models import Attempt
    from worker.supply import Supply


class Listening:
    """Observes attempts and commits."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.commits: list[float] = []

    def __call__(self, _run: str, _row: int | None, _number: int, attempt: Attempt) -> None:
        """`AttemptObserver`."""
        self.calls[attempt.verdict.value] += 1

    def committed(self, seconds: float) -> None:
        """`CommitObserver`."""
        self.commits.append(seconds)


def test_every_call_and_every_commit_is_told() -> None:
    """As many as the service got, and as the ledger wrote."""
    shards, seam, listening = MemoryShards([job(row) for row in range(1, 31)]), MemorySeam(), Listening()
    seam.script(job(3).acs_credential_id, Fault.LIMITED)
    assert isinstance(listening, CommitObserver)

    async def main() -> None:
        await Pipeline(shards.claim(), shards, seam, Sending(), observers=(listening,)).run()

    run_virtually(main())
    assert listening.calls == {"done": 30, "limited": 1}
    assert len(listening.commits) == shards.commits > 0
    assert all(seconds >= 0 for seconds in listening.commits)


def test_commits_are_not_timed_where_nobody_listens() -> None:
    """An observer of attempts alone costs the ledger's thread nothing."""
    shards = MemoryShards([job(1)])

    async def main() -> Supply:
        pipeline = Pipeline(shards.claim(), shards, MemorySeam(), Sending(), observers=(lambda *_: None,))
        await pipeline.run()
        return pipeline._supply

    supply = asyncio.run(main())
    assert supply._commit._write == supply._write
