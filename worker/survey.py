"""Reads whose credentials are at present: by whole pages of an access system where that is cheaper, else one by one.

    next row ──get──> its access system ──list, page by page──> Readings
       ▲                                        │
       └──────── what no page showed ───────────┘

A row names no access system, so the first row of each is read by itself and tells it. Pages are read while they may
still cost less than reading the remaining rows one by one. Workspaces are read beside each other, each in its lane.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from worker import outcomes
from worker.errors import RowStopped, innermost
from worker.execution import Execution
from worker.lane import Endpoint, Lane
from worker.ledger.readings import Found, Readings, Sought, Unsure
from worker.ledger.tables import DETAIL_COLUMNS
from worker.models import Attempt, Call, Job, Stop, StopCause, UserKey, Verdict
from worker.reading import Owner, OwnerReader, RowState, Rules
from worker.traffic import Traffic
from worker.waits import to_its_end
from worker.window import ShardQueue

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from worker.config import Sending
    from worker.ports import AttemptObserver, Sender
    from worker.seam import AcsCredential

__all__ = ["Survey"]

_WORKSPACES_AT_ONCE: Final = 64
_ROWS_AT_ONCE: Final = 64
"""Rows of a workspace that are read beside each other, once no more pages help."""
_NO_JOB: Final = Job(0, 0, "", UserKey.ACS_USER, "")


class Survey:
    """Reads all that is sought. Make it in the event loop, run it once.

    Args:
        readings: what is to be read, and where it goes; called in threads.
        sender: the service.
        sending: concurrency, rate, timeout, attempts, patience.
        include_codes: keep PINs and card numbers.
        run_id: for the observers.
        observers: told of every call.
    """

    def __init__(  # noqa: PLR0913 - the parts that a survey joins
        self,
        readings: Readings,
        sender: Sender,
        sending: Sending,
        *,
        include_codes: bool = False,
        run_id: str = "",
        observers: tuple[AttemptObserver, ...] = (),
    ) -> None:
        self.done = 0
        """Rows that were read so far."""
        self.execution = Execution()
        """The calls so far."""
        self.total = 0
        self._readings = readings
        self._sender = sender
        self._sending = sending
        self._include_codes = include_codes
        self._endpoint = Endpoint(sending.concurrency)
        self._traffic = Traffic(asyncio.get_running_loop(), self.execution, run_id=run_id, observers=observers)
        self._writing = asyncio.Lock()
        self._stop: Stop | None = None
        self._stopped: list[Stop] = []
        rules = Rules(
            max_attempts=sending.max_attempts,
            timeout=sending.timeout,
            takeover_refused=False,
            include_codes=include_codes,
            details=False,
        )
        self._reader = OwnerReader(sender, self, rules)

    @property
    def in_flight(self) -> int:
        """Requests on their way."""
        return self._endpoint.in_flight

    def stop(self, stop: Stop) -> None:
        """Ask no more; what was read stays. The first reason stays."""
        if self._stop is None:
            self._stop = stop
            self._traffic.drain()

    async def run(self) -> tuple[Stop, ...]:
        """Read until nothing is sought any more; why some of it was not read, where that is so.

        Raises:
            LedgerWriteError: the ledger could not be written.
        """
        shards = await self._locked(self._readings.shards)
        self.total = sum(shard.rows for shard in shards)
        waiting = list(reversed(shards))
        pump = asyncio.create_task(self._pump())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(len(shards), _WORKSPACES_AT_ONCE)):
                    group.create_task(self._read_workspaces(waiting))
        except BaseExceptionGroup as group:
            raise innermost(group) from group
        finally:
            pump.cancel()
        return (self._stop, *self._stopped) if self._stop is not None else tuple(self._stopped)

    async def _pump(self) -> None:
        """Give out turns as lanes allow them; no shard here has fresh rows of its own."""
        while True:
            self._traffic.dispatch.pick()
            await self._traffic.dispatch.park()

    async def _read_workspaces(self, waiting: list[Sought]) -> None:
        while waiting and self._stop is None:
            shard = waiting.pop()
            lane = Lane(shard.workspace_id, self._endpoint, self._sending, rows=shard.rows)
            queue = ShardQueue(shard.shard, lane, dispatched_through=0)
            self._traffic.add(queue)
            with suppress(RowStopped):
                await self._read_workspace(shard, lane)
            self._traffic.remove(queue)
            if lane.stop is not None:
                self._stopped.append(lane.stop)

    async def _read_workspace(self, shard: Sought, lane: Lane) -> None:
        left, together = shard.rows, 1
        listed: set[str | None] = {None}
        while jobs := await self._locked(self._readings.next, shard.shard, together):
            found = await self._beside(self._get, jobs, lane)
            await self._take(found)
            left -= len(found)
            together = min(2 * together, _ROWS_AT_ONCE)
            for system in {each.details.get("acs_system_id") for each in found} - listed:
                listed.add(system)
                left -= await self._list(shard, lane, system, left)
                together = 1
        while unsure := await self._locked(self._readings.unsure, shard.shard, _ROWS_AT_ONCE):
            await self._beside(self._ask_identity, unsure, lane)

    async def _beside(self, read: Callable[[Any, Lane], Awaitable[Any]], items: Sequence[Any], lane: Lane) -> list[Any]:
        """Read several beside each other; the first that is stopped stops them all."""
        tasks = [asyncio.ensure_future(read(item, lane)) for item in items]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _list(self, shard: Sought, lane: Lane, system: str | None, left: int) -> int:
        """Read a system while a further page may cost less than the rows that are left; how many of them it had."""
        state = RowState(_NO_JOB._replace(workspace_id=shard.workspace_id), lane)
        cursor, pages, found = None, 0, 0
        while pages < left - found:
            make = partial(self._sender.list_page, shard.workspace_id, acs_system_id=system, page_cursor=cursor)
            page = await self._reader.until(state, partial(self._reader.ask, state, make))
            if page.verdict is not Verdict.DONE:
                break  # a key that may read credentials and not list them, or a cursor that is refused
            pages += 1
            state.reads_spent = state.failures = 0
            found += await self._take([self._described(credential, page) for credential in page.credentials])
            cursor = page.next_page_cursor
            if cursor is None:
                break
        return found

    async def _get(self, job: Job, lane: Lane) -> Found:
        state = RowState(job, lane)
        attempt = await self._reader.until(state, partial(self._reader.read_credential, state))
        credential = attempt.credential
        if credential is not None and credential.acs_credential_id == job.acs_credential_id:
            return self._described(credential, attempt)
        missing = attempt.verdict is Verdict.REFUSED and attempt.status == 404  # noqa: PLR2004 - not found
        why = f"it could not be read ({attempt.error_type or 'the reply named another credential'})"
        return Found(
            job.acs_credential_id,
            attempt.started_at,
            "missing" if missing else "unknown",
            None if missing else why,
            is_mine=False if missing else None,
            being_deleted=False,
            parent_acs_credential_id=None,
            details=dict.fromkeys(DETAIL_COLUMNS),
        )

    async def _ask_identity(self, unsure: Unsure, lane: Lane) -> None:
        """Whether an owner without an identity is the user of the row's identity."""
        state = RowState(unsure.job, lane)
        seen = Attempt(Call.GET, Verdict.DONE, 0.0, 0.0)
        ask = partial(
            self._reader.read_identity,
            state,
            seen,
            unsure.acs_user_id,
            unsure.acs_system_id,
            identity=unsure.job.user_id,
        )
        reading = await self._reader.until(state, ask)
        told = reading.owner is not Owner.UNTOLD
        detail = None if told else f"its owner has no identity that could be read ({reading.attempt.error_type})"
        await self._locked(
            partial(
                self._readings.settle,
                unsure.job,
                is_mine=reading.owner is Owner.WANTED if told else None,
                detail=detail,
            )
        )

    def _described(self, credential: AcsCredential, attempt: Attempt) -> Found:
        told = outcomes.details(_NO_JOB, attempt._replace(credential=credential), include_codes=self._include_codes)
        owned = credential.acs_user_id is not None or credential.user_identity_id is not None
        return Found(
            credential.acs_credential_id,
            attempt.started_at,
            "owned" if owned else "unowned",
            None,
            is_mine=None,
            being_deleted=any(warning.warning_code == "being_deleted" for warning in credential.warnings),
            parent_acs_credential_id=credential.parent_acs_credential_id,
            details={name: getattr(told, name) for name in DETAIL_COLUMNS},
        )

    async def _take(self, found: list[Found]) -> int:
        taken: int = await self._locked(self._readings.take, found)
        self.done += taken
        return taken

    async def _locked(self, call: Callable[..., Any], *arguments: Any) -> Any:  # noqa: ANN401 - what the call gives
        """Call the readings, which one thread may use at a time."""
        async with self._writing:
            return await to_its_end(asyncio.to_thread(call, *arguments))  # else the next one would be beside it

    # `ReadingRoad`, for the reader.

    async def read(self, row: RowState, make: Callable[[], Coroutine[Any, Any, Attempt]], *, retry: bool) -> Attempt:
        """`ReadingRoad.read`: one reading call, when the lane lets it."""
        queue, sent_at = await self._traffic.turn(row.lane, retry=retry)
        attempt = await self._traffic.ended(queue, make(), sent_at, row.job.row or None, 0)
        self._traffic.dispatch.wake_all()
        return attempt

    async def sleep(self, row: RowState, seconds: float) -> None:
        """`ReadingRoad.sleep`: wait, unless the lane is stopped."""
        await self._traffic.sleep(row.lane, seconds)

    def halt(self, row: RowState, cause: StopCause, message: str) -> None:
        """`ReadingRoad.halt`: end the lane, and whoever waits in it."""
        self._traffic.halt(row.lane, cause, message)
