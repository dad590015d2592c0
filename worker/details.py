"""Details after void replies: the outcome is recorded already, only the detail columns are still to come.

A reading that speaks against the outcome is told in a sentence, and shows nobody as the row's person.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from worker import outcomes
from worker.errors import RowStopped, innermost
from worker.models import Verdict
from worker.reading import Owner, Reading, RowState
from worker.retry import until_settled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from worker.lane import Lane
    from worker.models import Attempt, Job, Result
    from worker.reading import OwnerReader, Rules
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
            attempt, found = await until_settled(
                partial(_look, settler.reader, state),
                failures=lambda: state.failures,
                sleep=partial(road.sleep, state),
            )
            doubt = _doubt(job, found)
            told = found.owner is Owner.UNTOLD  # nothing speaks against whom the credential tells
            details = outcomes.details(job, attempt, include_codes=rules.include_codes, doubt=doubt, keep_person=told)
            record(details)

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


async def _look(reader: OwnerReader, row: RowState) -> tuple[Attempt, Reading] | None:
    """The credential as it is, and whose that makes it; None: try again."""
    attempt = await reader.read_credential(row)
    if attempt is None:
        return None
    if attempt.credential is None:
        is_gone = attempt.verdict is Verdict.REFUSED and attempt.status == HTTPStatus.NOT_FOUND
        return attempt, Reading(Owner.GONE if is_gone else Owner.UNTOLD, attempt)
    found = await reader.judge_owner(row, attempt)
    if attempt.credential.acs_credential_id != row.job.acs_credential_id:
        attempt = attempt._replace(credential=None)  # what it says is of another one
    return None if found is None else (attempt, found)


def _doubt(job: Job, found: Reading) -> str | None:
    """What speaks against the outcome that is recorded, which stays as it is: the service did accept the row."""
    match found.owner:
        case Owner.WANTED:
            return None
        case Owner.GONE:
            return "a reading afterwards showed no such credential"
        case Owner.UNTOLD:
            return f"whose it is could not be read afterwards ({found.attempt.error_type})"
        case Owner.NOBODY:
            return "a reading afterwards showed that nobody has it"
        case Owner.OTHER:
            whose = "somebody" if job.unassign else "somebody else"
            whose = f"user {found.acs_user_id}" if found.acs_user_id is not None else whose
            return f"a reading afterwards showed that {whose} has it"
