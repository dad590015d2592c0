"""Details after void replies: the outcome is recorded already, only the detail columns are still to come."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from worker import outcomes
from worker.errors import RowStopped, innermost
from worker.reading import RowState
from worker.retry import until_settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.lane import Lane
    from worker.models import Attempt, Job, Result
    from worker.reading import Rules
    from worker.settling import Road, Settler
    from worker.supply import Supply
    from worker.window import ShardQueue

__all__ = ["read_details"]

_PAGE: Final = 500


async def read_details(  # noqa: PLR0913 - the parts that it joins
    supply: Supply,
    settler: Settler,
    road: Road,
    queues: Iterable[ShardQueue],
    rules: Rules,
    *,
    record: Callable[[Result], None],
) -> None:
    """Read every credential whose assign reply carried none; what a stop leaves unread, the next run reads.

    Args:
        supply: tells which rows they are.
        settler: reads one.
        road: the way to the service.
        queues: the shards.
        rules: what the run allows its rows.
        record: takes the details.
    """

    async def read(job: Job, lane: Lane) -> None:
        state = RowState(job, lane)
        with suppress(RowStopped):
            reading = await until_settled(
                partial(settler.reader.read_credential, state),
                failures=lambda: state.failures,
                sleep=partial(road.sleep, state),
            )
            record(_given(job, outcomes.details(job, reading, include_codes=rules.include_codes), reading))

    for queue in [queue for queue in queues if queue.details_due]:
        after_row = 0
        while queue.lane.stop is None and not supply.stopped:
            jobs = await supply.fetch_details_due(queue, after_row=after_row, limit=_PAGE)
            if not jobs:
                break
            after_row = jobs[-1].row
            try:
                async with asyncio.TaskGroup() as group:
                    for job in jobs:
                        group.create_task(read(job, queue.lane))
            except BaseExceptionGroup as group:
                raise innermost(group) from group


def _given(job: Job, result: Result, reading: Attempt) -> Result:
    """The details without the person, if another one has the credential by now: this row gave it to nobody else."""
    if not outcomes.names_another(job, reading.credential):
        return result
    return result._replace(assigned_acs_user_id=None, assigned_user_identity_id=None)
