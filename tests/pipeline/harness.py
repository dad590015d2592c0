"""Runs a pipeline over the in-memory service and ledger, on a virtual clock."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

from tests.virtual_time import run_virtually
from worker.config import Guards, Sending
from worker.guards import RowGuard
from worker.models import Attempt, Job, UserKey
from worker.pipeline import Execution, Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from worker.lane import Endpoint
    from worker.testing import MemorySeam, MemoryShards

PERSON = "00000000-0000-0000-0000-00000000000a"


def job(row: int, key: UserKey = UserKey.ACS_USER) -> Job:
    """A row's job: credential `row`, always for the same person."""
    return Job(row, row + 1, str(UUID(int=row)), key, PERSON)


def send(  # noqa: PLR0913 - keywords of a test harness
    shards: MemoryShards,
    seam: MemorySeam,
    *,
    at: Mapping[float, Callable[[Pipeline], object]] | None = None,
    on_attempt: Callable[[Pipeline, Attempt], None] | None = None,
    takeover_refused: bool = False,
    guards: Guards = Guards(),  # noqa: B008 - frozen
    endpoint: Endpoint | None = None,
    **sending: object,
) -> Execution:
    """Run the pipeline to its end; `at` calls things at virtual seconds after the start."""

    async def main() -> Execution:
        def observe(_run: str, _row: int | None, _number: int, attempt: Attempt) -> None:
            if on_attempt is not None:
                on_attempt(pipeline, attempt)

        pipeline = Pipeline(
            shards.claim(),
            shards,
            seam,
            Sending(**{"timeout": 30.0, **sending}),
            takeover_refused=takeover_refused,
            guard=RowGuard.of(guards, len(shards.jobs)),
            endpoint=endpoint,
            observers=(observe,),
        )
        loop = asyncio.get_running_loop()
        for seconds, action in (at or {}).items():
            loop.call_later(seconds, partial(action, pipeline))
        return await pipeline.run()

    return run_virtually(main())
