"""Bounded workers between the ledger and the service (DESIGN 6 to 9).

    source ──fetch──> ShardQueue ──mark durable──> worker ──first call──> result ──group commit──> source
                                                      └── anything else ──> Settler, one task a row ──┘

A row that succeeds at once takes the short way: taken, sent, recorded. All else is a `Settler`'s business, in a
task of its own, so that no worker waits for a row that is in trouble.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from worker import outcomes
from worker.details import read_details
from worker.errors import AssignWorkerError, RowStopped
from worker.execution import Execution
from worker.lane import Endpoint, Lane
from worker.models import Stop, StopCause, Verdict
from worker.reading import RowState, Rules
from worker.settling import Settler, must_read
from worker.supply import Supply
from worker.traffic import Traffic
from worker.waits import to_its_end
from worker.window import ShardQueue, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from worker.claim import Claim, OpenRow
    from worker.config import Sending
    from worker.guards import RowGuard
    from worker.models import Attempt, Result, Step
    from worker.ports import AttemptObserver, Sender, ShardSource

__all__ = ["Execution", "Pipeline"]


class Pipeline:
    """Sends what is left of a claim's shards. Make it in the event loop, run it once.

    Args:
        claim: the shards, as taken.
        source: reads open rows, writes batches.
        sender: the service.
        sending: concurrency, rate, timeout, attempts, patience.
        takeover_refused: leave a credential alone that has another owner.
        include_codes: keep PINs and card numbers.
        require_lease: called before each call, it raises where the claim may be gone; None where none can go.
        guard: told of every result; may end the execution.
        endpoint: of this execution alone, where others in this process send too; its bound may change on the way.
        observers: told of every call; those that are `CommitObserver` too, of every commit.
        on_step: told of every named step of the protocol; for tests that die there.
    """

    def __init__(  # noqa: PLR0913 - the parts that a pipeline joins
        self,
        claim: Claim,
        source: ShardSource,
        sender: Sender,
        sending: Sending,
        *,
        takeover_refused: bool = False,
        include_codes: bool = False,
        require_lease: Callable[[], None] | None = None,
        guard: RowGuard | None = None,
        endpoint: Endpoint | None = None,
        observers: tuple[AttemptObserver, ...] = (),
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        self.execution = Execution()
        self._claim = claim
        self._sender = sender
        self._rules = Rules(
            max_attempts=sending.max_attempts,
            timeout=sending.timeout,
            takeover_refused=takeover_refused,
            include_codes=include_codes,
            details=sending.details,
        )
        self._guard = guard
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint or Endpoint(sending.concurrency)
        self._most_workers = sending.concurrency
        self._settler = Settler(sender, self, self._rules)
        self._traffic = Traffic(
            self._loop,
            self.execution,
            run_id=claim.run_id,
            observers=observers,
            on_lane_stopped=self._on_lane_stopped,
            require_lease=require_lease,
            on_step=on_step,
        )
        self._dispatch = self._traffic.dispatch
        window = Window(sending.concurrency, len(claim.shards))
        self._queues = {
            shard.shard: ShardQueue(
                shard.shard,
                Lane(shard.workspace_id, self._endpoint, sending, rows=shard.rows),
                dispatched_through=shard.dispatched_through,
                least=window.each,
            )
            for shard in claim.shards
        }
        self._supply = Supply(source, self._queues, window, self, lambda: self._endpoint.sharers, on_step, observers)
        self._waits = self._traffic.waits
        for queue in self._queues.values():
            self._traffic.add(queue)
        self._tasks: dict[asyncio.Task[None], RowState] = {}
        self._notes: list[tuple[int, bool, int]] = []
        self._closing = False
        self._all_sent = asyncio.Event()
        self._broken: BaseException | None = None

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """All lanes, for whoever shows the progress."""
        return tuple(queue.lane for queue in self._queues.values())

    @property
    def in_flight(self) -> int:
        """Requests on their way."""
        return self._endpoint.in_flight

    @property
    def trouble(self) -> str | None:
        """Why nothing moves at present, for people; None while things move."""
        if self._traffic.draining:
            return f"stopping: {self.in_flight} requests still in flight"
        breaker = self._endpoint.breaker
        if breaker.open_since is not None:
            return f"the service has not answered for {self._loop.time() - breaker.open_since:.0f} s; probing"
        if self._tasks and self._supply.over:
            return f"the last {len(self._tasks)} rows are tried again or read back"
        return None

    def stop(self, stop: Stop) -> None:
        """Drain: send nothing new, let calls end, keep the rest resumable. The first reason stays."""
        if self._traffic.draining:
            return
        self.execution.stops.append(stop)
        self._supply.stop()
        self._traffic.drain()
        self._look_for_the_end()

    async def run(self) -> Execution:
        """Send until nothing is left or something stops it; all that is known is durable at the end.

        Raises:
            LedgerWriteError: the ledger could not be written; what was durable before is intact.
            FenceLostError: another process has taken over a shard; this one has written nothing more.
        """
        began = self._loop.time()
        workers: list[asyncio.Task[None]] = []
        try:
            for shard in self._claim.shards:
                queue = self._queues[shard.shard]
                self._supply.window.open += len(shard.carried)
                for opened in shard.carried:
                    self._start_settling(self._state(queue.lane, opened, sent_before=opened.maybe_applied))
                self._supply.refill(queue)
            workers = [asyncio.create_task(self._work()) for _ in range(self._most_workers)]
            self._look_for_the_end()
            await self._all_sent.wait()
            if self._rules.details and not self._traffic.draining:
                queues = self._queues.values()
                await read_details(self._supply, self._settler, self, queues, self._rules, record=self._detail)
        finally:
            await to_its_end(self._wind_up(workers))
            self.execution.sending_seconds = self._loop.time() - began
        return self.execution

    async def _wind_up(self, workers: list[asyncio.Task[None]]) -> None:
        """End every task, then make durable what is known, even if `run` itself is being cancelled."""
        self._closing = True
        self._dispatch.wake_all()
        if not self._all_sent.is_set():
            for task in (*workers, *self._tasks):
                task.cancel()
        await asyncio.gather(*workers, *self._tasks, return_exceptions=True)
        self.execution.stops += [lane.stop for lane in self.lanes if lane.stop is not None]
        await self._supply.close(self._notes)
        if self._broken is not None:
            raise self._broken

    # The short way of a row.

    async def _work(self) -> None:
        """One worker: take, send, record, until the end."""
        try:
            while not (self._closing or self._traffic.draining):
                queue = self._dispatch.pick()
                if queue is None:
                    self._look_for_the_end()
                    await self._dispatch.park()
                else:
                    await self._take_one(queue)
        except Exception as error:  # noqa: BLE001 - a defect of ours ends the run in order, and is raised by it
            self.on_broken(error)
        finally:
            self._look_for_the_end()

    async def _take_one(self, queue: ShardQueue) -> None:
        opened = queue.take()
        if queue.ahead * 2 <= queue.target:
            self._supply.raise_mark(queue)
        lane = queue.lane
        if opened.maybe_applied or self._reads_first(opened):
            self._start_settling(self._state(lane, opened, sent_before=opened.attempts > 0))
            return
        job, owner = opened.job, opened.owner
        sent_at = self._loop.time()
        lane.begin(sent_at)
        self._dispatch.began(sent_at)
        attempt = await self._traffic.ended(queue, self._sender.assign(job), sent_at, job.row, opened.attempts + 1)
        credential = attempt.credential
        if attempt.verdict is Verdict.DONE and not outcomes.names_another(job, credential):
            rules = self._rules
            self._record(
                lane,
                outcomes.assigned(
                    job,
                    attempt,
                    credential,
                    include_codes=rules.include_codes,
                    details_due=credential is None and rules.details,
                    attempts=opened.attempts + 1,
                    previous_acs_user_id=None if owner is None else owner.acs_user_id,
                    previous_owner_state=None if owner is None else owner.state,
                ),
            )
            return
        state = self._state(lane, opened, sent_before=True)
        state.attempts += 1
        state.unjudged = attempt
        state.last_sent_at = sent_at
        state.started_at = attempt.started_at
        self._start_settling(state)

    def _reads_first(self, opened: OpenRow) -> bool:
        owner, refused = opened.owner, self._rules.takeover_refused
        if owner is None and not refused:
            return False
        return must_read(owner, takeover_refused=refused, now=time.time())

    # The longer way of a row: `Road`, for the settler.

    @staticmethod
    def _state(lane: Lane, opened: OpenRow, *, sent_before: bool) -> RowState:
        state = RowState(opened.job, lane, attempts=opened.attempts)
        state.sent_before = sent_before
        state.maybe_applied = state.ever_ambiguous = opened.maybe_applied
        state.seen_successes = -1 if lane.successes else 0
        if opened.owner is not None:
            state.owner = opened.owner
            state.knew(opened.owner)
        return state

    def _start_settling(self, state: RowState) -> None:
        if state.last_sent_at == 0.0:
            state.last_sent_at = self._loop.time()
        task = asyncio.create_task(self._settle(state))
        self._tasks[task] = state
        task.add_done_callback(self._on_settled)

    async def _settle(self, state: RowState) -> None:
        self._record(state.lane, await self._settler.settle(state))

    def _on_settled(self, task: asyncio.Task[None]) -> None:
        state = self._tasks.pop(task)
        error = None if task.cancelled() else task.exception()
        if error is not None or task.cancelled():
            self._supply.give_room(1)
            surely_not = isinstance(error, RowStopped) and not (state.maybe_applied or state.ever_ambiguous)
            self._notes.append((state.job.row, not surely_not, state.attempts))
            if error is not None and not isinstance(error, RowStopped):
                self.on_broken(error)
        self._look_for_the_end()

    async def send(self, row: RowState, *, retry: bool) -> Attempt:
        """`Road.send`: one assign call, when the lane lets it."""
        queue, sent_at = await self._traffic.turn(row.lane, retry=retry)
        row.attempts += 1
        row.sent_before = True
        row.last_sent_at = sent_at
        row.maybe_applied = True  # until the reply says otherwise: a cancelled call may have been applied
        make = self._sender.unassign if row.job.unassign else self._sender.assign
        attempt = await self._traffic.ended(queue, make(row.job), sent_at, row.job.row, row.attempts)
        row.maybe_applied = False
        self._dispatch.wake()
        if row.started_at is None:
            row.started_at = attempt.started_at
        return attempt

    async def read(self, row: RowState, make: Callable[[], Coroutine[Any, Any, Attempt]], *, retry: bool) -> Attempt:
        """`Road.read`: one reading call, when the lane lets it."""
        queue, sent_at = await self._traffic.turn(row.lane, retry=retry)
        attempt = await self._traffic.ended(queue, make(), sent_at, row.job.row, row.attempts)
        self._dispatch.wake()
        return attempt

    async def sleep(self, row: RowState, seconds: float) -> None:
        """`Road.sleep`: wait, unless the row is stopped."""
        await self._traffic.sleep(row.lane, seconds)

    async def until_settling(self, row: RowState, not_before: float) -> None:
        """`Road.until_settling`: the end of fresh rows, or a window full of rows that wait; then `not_before`."""
        self._traffic.refuse_if_stopped(row.lane)
        if not self._supply.over:
            if self._is_clogged(self._waits.for_the_end + 1):
                self._waits.tell_over()  # no later row can ask for room
            else:
                await self._waits.until_over(row.lane)
        await self.sleep(row, not_before - self._loop.time())

    def halt(self, row: RowState, cause: StopCause, message: str) -> None:
        """`Road.halt`: end the row's lane, and whoever waits in it."""
        self._traffic.halt(row.lane, cause, message)

    # Ends: of fresh rows, of a lane, of the run.

    def _look_for_the_end(self) -> None:
        """Called whenever something has ended: is everything?"""
        if self._waits.for_the_end and self._supply.over:
            self._waits.tell_over()
        if self._tasks or self._endpoint.in_flight:
            return
        if self._traffic.draining or self._supply.over:
            self._all_sent.set()

    def _on_lane_stopped(self, lane: Lane) -> None:
        self._supply.give_room(self._traffic.queue_of(lane).ahead)

    # `Consumer`, for the supply.

    def on_rows(self, queue: ShardQueue) -> None:
        """`Consumer.on_rows`: let the dispatcher look at the shard."""
        self._dispatch.ready(queue)

    def on_exhausted(self) -> None:
        """`Consumer.on_exhausted`: perhaps that was the last."""
        self._look_for_the_end()

    def on_window_full(self) -> None:
        """`Consumer.on_window_full`: rows that wait for the end of sending must not keep it from coming."""
        if self._is_clogged(self._waits.for_the_end):
            self._waits.tell_over()

    def _is_clogged(self, waiting: int) -> bool:
        window = self._supply.window
        return window.room <= 0 and waiting * 2 >= window.size

    def on_broken(self, error: BaseException) -> None:
        """`Consumer.on_broken`: something that is no row's business went wrong; drain, and raise it from `run`."""
        self._broken = self._broken or error
        self.stop(Stop(StopCause.LEDGER if isinstance(error, AssignWorkerError) else StopCause.INTERNAL, str(error)))

    def _record(self, lane: Lane, result: Result) -> None:
        """A row's final word: to the ledger, and into the counts."""
        self._supply.record(result)
        if result.details_due:
            self._traffic.queue_of(lane).details_due = True
        lane.outcomes[result.outcome] += 1
        self.execution.outcomes[result.outcome] += 1
        if self._guard is not None and (stop := self._guard(result)) is not None:
            self.stop(stop)

    def _detail(self, result: Result) -> None:
        self._supply.record_details(result)
        if self._guard is not None and (stop := self._guard.look_at_warnings(result)) is not None:
            self.stop(stop)
