"""What a row costs on the quick path, counted in calls and not in time: a slow-down is seen in review.

Calls of Python functions and of C functions from Python, in the event loop's thread, on uvloop, against a service
in a process of its own. They are the same on every machine, but for a few per cent that hang on how replies fall
together. A budget is the count when it was last lowered, and a twentieth; lower it when the path got shorter. Who
has to raise it says in the commit what a row gets for it.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import uvloop
from bench_speed.ladder import Memory, job_of, settings_for, stage_rows
from bench_speed.processes import Service

from worker.claim import Batch, Claim, OpenRow, ShardClaim
from worker.client import SeamClient
from worker.config import Settings
from worker.ledger import Ledger
from worker.ledger.claimed import ClaimedRun
from worker.models import Outcome, Result
from worker.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ROWS = 2_000
IN_FLIGHT = 32
TOKEN = "seam_at1bench0000_00000000000000000000"

CLIENT_BUDGET = 98
PIPELINE_BUDGET = 144
LEDGER_BUDGET = 5.7


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The bench's quick server."""
    quick = Service(0.0)
    yield quick.url
    quick.stop()


class Counter:
    """Counts the calls of one thread."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _frame: object, event: str, _argument: object) -> None:
        """`sys.setprofile`'s hook."""
        if event in {"call", "c_call"}:
            self.calls += 1


@contextmanager
def counting() -> Iterator[Counter]:
    """Count this thread's calls."""
    counter = Counter()
    sys.setprofile(counter)
    try:
        yield counter
    finally:
        sys.setprofile(None)


def assert_budget(calls: int, budget: float) -> None:
    """Assert that so many calls for `ROWS` rows keep the budget, and that the budget is no loose one."""
    per_row = calls / ROWS
    assert per_row <= budget, f"{per_row:.1f} calls a row; the budget is {budget}"
    assert per_row > 0.8 * budget, f"{per_row:.1f} calls a row: lower the budget of {budget}"


def memory_claim() -> Claim:
    """One shard of rows that no ledger holds."""
    shard = ShardClaim(shard=0, workspace_id=None, epoch=1, dispatched_through=0, rows=ROWS, carried=())
    return Claim(1, "guard", (shard,))


def test_the_client(service: str) -> None:
    """One assign call: request body, connection, reply, validation, `Attempt`."""

    async def main() -> int:
        settings = settings_for(service, IN_FLIGHT)
        async with SeamClient(settings.target, concurrency=IN_FLIGHT, timeout=30.0) as client:
            await client.assign(job_of(1))
            with counting() as counter:
                for row in range(ROWS):
                    await client.assign(job_of(row))
        return counter.calls

    assert_budget(uvloop.run(main()), CLIENT_BUDGET)


def test_the_pipeline(service: str) -> None:
    """A row from the queue to the group commit, its assign call within."""

    async def main() -> int:
        settings = settings_for(service, IN_FLIGHT)
        async with SeamClient(settings.target, concurrency=IN_FLIGHT, timeout=30.0) as client:
            source = Memory(ROWS)
            pipeline = Pipeline(memory_claim(), source, client, settings.sending)
            with counting() as counter:
                await pipeline.run()
        assert source.recorded == ROWS
        return counter.calls

    assert_budget(uvloop.run(main()), PIPELINE_BUDGET)


class Fleet(Memory):
    """Rows of many workspaces, so many of each, one after the other; it counts how often it is asked."""

    def __init__(self, each: int) -> None:
        super().__init__(ROWS)
        self._each = each
        self.reads = 0
        self.commits = 0

    def fetch(self, shard: int, *, after_row: int, limit: int) -> Sequence[OpenRow]:
        """Those of one workspace."""
        self.reads += 1
        first, last = shard * self._each, (shard + 1) * self._each
        rows = range(max(after_row, first) + 1, min(max(after_row, first) + limit, last) + 1)
        return [OpenRow(job_of(row)._replace(workspace_id=f"{shard}"), maybe_applied=False, attempts=0) for row in rows]

    def write(self, batch: Batch) -> None:
        """Count the commit too."""
        super().write(batch)
        self.commits += 1


def test_many_workspaces_cost_no_more_than_one(service: str) -> None:
    """200 workspaces of 10 rows beside one of 2 000, in calls, reads and commits."""

    async def main(shards: int) -> tuple[int, Fleet]:
        settings = Settings.from_options(personal_access_token=TOKEN, endpoint=service, concurrency=IN_FLIGHT)
        each = ROWS // shards
        fleet = Fleet(each)
        claim = Claim(1, "guard", tuple(ShardClaim(shard, f"{shard}", 1, 0, each, ()) for shard in range(shards)))
        async with SeamClient(settings.target, concurrency=IN_FLIGHT, timeout=30.0) as client:
            pipeline = Pipeline(claim, fleet, client, settings.sending)
            with counting() as counter:
                await pipeline.run()
        assert fleet.recorded == ROWS
        return counter.calls, fleet

    one, _ = uvloop.run(main(1))
    many, fleet = uvloop.run(main(200))
    assert many < 1.15 * one, f"{many / one:.2f} times the calls"
    assert fleet.reads == 200, "each is read once"
    assert fleet.commits < 150, "the marks of several share a commit; how many do is the clock's business"


def test_the_ledger(tmp_path: Path) -> None:
    """A row's share of fetching and of a group commit of 200 results."""
    with Ledger(str(tmp_path / "guard.db"), exclusive=True) as ledger:
        source = ClaimedRun(ledger.engine, stage_rows(ledger, ROWS))
        results = [Result(row, Outcome.ASSIGNED, attempts=1) for row in range(1, ROWS + 1)]
        source.write(Batch(results[:1], marks={0: 1}))
        with counting() as counter:
            for first in range(1, ROWS, 200):
                source.write(Batch(results[first : first + 200], marks={0: first + 200}))
                source.fetch(0, after_row=first, limit=200)
    assert_budget(counter.calls, LEDGER_BUDGET)
