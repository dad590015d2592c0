"""Calls on their way to the service: whose turn it is, how each ended, who is told, and who waits.

What a pipeline and a survey have in common; neither rows nor the ledger are known here. Used from one event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.dispatch import Dispatcher
from worker.errors import RowStopped
from worker.models import Step, Verdict
from worker.waits import Waits

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Coroutine

    from worker.execution import Execution
    from worker.lane import Lane
    from worker.models import Attempt, StopCause
    from worker.ports import AttemptObserver
    from worker.window import ShardQueue

__all__ = ["Traffic"]


class Traffic:
    """The calls of one execution.

    Args:
        loop: the one it runs in.
        execution: where calls are counted.
        run_id: for the observers.
        observers: told of every call.
        on_lane_stopped: told once of each lane that stops.
        require_lease: called before each call, it raises where the claim may be gone; None where none can go.
        on_step: told of the named steps around a call; for tests that die there.
    """

    def __init__(  # noqa: PLR0913 - the parts that it joins
        self,
        loop: AbstractEventLoop,
        execution: Execution,
        *,
        run_id: str,
        observers: tuple[AttemptObserver, ...],
        on_lane_stopped: Callable[[Lane], None] = lambda _: None,
        require_lease: Callable[[], None] | None = None,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        self.dispatch = Dispatcher(loop)
        self.waits = Waits(loop)
        self.draining = False
        self._loop = loop
        self._execution = execution
        self._run_id = run_id
        self._observers = observers
        self._on_lane_stopped = on_lane_stopped
        self._require_lease = require_lease
        self._on_step = on_step
        self._queue_of: dict[Lane, ShardQueue] = {}
        self._stopped: set[Lane] = set()

    def add(self, queue: ShardQueue) -> None:
        """Have this shard's calls go through its lane."""
        self._queue_of[queue.lane] = queue

    def remove(self, queue: ShardQueue) -> None:
        """Forget a shard that has ended."""
        del self._queue_of[queue.lane]

    def queue_of(self, lane: Lane) -> ShardQueue:
        """The shard of a lane."""
        return self._queue_of[lane]

    def drain(self) -> None:
        """Begin no more calls, and end all waiting, with `RowStopped`."""
        self.draining = self.dispatch.draining = True
        self._end_waits(None)
        self.dispatch.wake_all()

    def refuse_if_stopped(self, lane: Lane) -> None:
        """Raise `RowStopped` where nothing more may be called in this lane."""
        if self.draining or lane.stop is not None:
            raise RowStopped

    async def turn(self, lane: Lane, *, retry: bool) -> tuple[ShardQueue, float]:
        """A turn ahead of fresh rows, which the lane has begun when it comes; its shard, and the time of sending.

        Raises:
            RowStopped: the lane stops, or all drains.
        """
        self.refuse_if_stopped(lane)
        queue = self._queue_of[lane]
        return queue, await self.dispatch.turn(queue, retry=retry)

    async def sleep(self, lane: Lane, seconds: float) -> None:
        """Wait so long.

        Raises:
            RowStopped: the lane stops, or all drains.
        """
        self.refuse_if_stopped(lane)
        await self.waits.sleep(lane, seconds)

    async def ended(
        self, queue: ShardQueue, call: Coroutine[Any, Any, Attempt], sent_at: float, row: int | None, number: int
    ) -> Attempt:
        """Await a call that the lane has begun, and tell everybody how it ended."""
        lane = queue.lane
        if self._on_step:
            self._on_step(Step.AFTER_SEND)
        try:
            if self._require_lease is not None:
                self._require_lease()
            attempt = await call
        except BaseException:
            call.close()
            lane.abandon(self._loop.time(), sent_at)
            raise
        if self._on_step:
            self._on_step(Step.AFTER_REPLY)
        lane.end(attempt, self._loop.time(), sent_at)
        self._execution.calls[attempt.call] += 1
        for observer in self._observers:
            observer(self._run_id, row, number, attempt)
        if attempt.verdict is not Verdict.DONE:
            self._execution.limited += attempt.verdict is Verdict.LIMITED
            if lane.stop is not None:
                self._note_stopped(lane)
        self.dispatch.ended(queue)
        return attempt

    def halt(self, lane: Lane, cause: StopCause, message: str) -> None:
        """Send no more in a lane, for a reason that no single reply shows; nobody goes on waiting in it."""
        lane.halt(cause, message)
        self._note_stopped(lane)

    def _note_stopped(self, lane: Lane) -> None:
        if lane not in self._stopped:
            self._stopped.add(lane)
            self._on_lane_stopped(lane)
            self._end_waits(lane)
            self.dispatch.wake_all()

    def _end_waits(self, lane: Lane | None) -> None:
        self.waits.end(lane)
        for queue in self._queue_of.values():
            if lane in {None, queue.lane}:
                self.dispatch.release(queue)
