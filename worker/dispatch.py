"""Whose turn it is: shards in a ring, each served when its lane lets it, workers woken as needed.

A shard stands in the ring while it may have something to send. One that its lane holds back leaves the ring
and comes back by a timer, by the end of one of its calls, or, where the whole endpoint holds it back, by the
end of anybody's: one after another, until one of them finds the endpoint full again. So a turn costs the same with
one shard and with a thousand.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from worker.errors import RowStopped

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from worker.window import ShardQueue

__all__ = ["Dispatcher"]


class Dispatcher:
    """Gives out turns, fairly by shard. Used from one event loop."""

    __slots__ = ("_blocked", "_full", "_idle", "_loop", "_ring", "draining")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._ring: deque[ShardQueue] = deque()
        self._idle: deque[Future[None]] = deque()
        self._blocked: dict[ShardQueue, None] = {}
        """Held back by the endpoint, the longest first."""
        self._full = False
        """Whether the endpoint has held one back since a call ended."""
        self.draining = False
        """Set it to give out no more turns."""

    def pick(self) -> ShardQueue | None:
        """The next shard that may send a fresh row now, or None. Serves waiting calls on the way.

        The caller takes a row and begins its call before it awaits anything.
        """
        ring = self._ring
        if self.draining or not (ring or self._blocked):
            return None
        now = self._loop.time()
        self._full = False
        while ring or self._admit():
            queue = ring[0]
            if not self._may_go(queue, now):
                continue
            if len(ring) > 1:
                ring.rotate(-1)
            if not queue.waiting:
                return queue
            queue.lane.begin(now)
            queue.waiting.popleft()[0].set_result(now)
        return None

    def began(self, now: float) -> None:
        """A fresh row is on its way: if there is a turn left, an idle worker takes it.

        It looks before it wakes one, so that a worker that comes back to a full window costs no other's look.
        """
        if self._idle and self._ring:
            queue = self._ring[0]
            if len(self._ring) > 1 or queue.waiting or queue.lane.probing or self._may_go(queue, now):
                self.wake()

    def _may_go(self, queue: ShardQueue, now: float) -> bool:
        """Whether the shard at the ring's head may send; if not, it leaves the ring."""
        waiting = queue.waiting
        while waiting and waiting[0][0].done():
            waiting.popleft()
        lane = queue.lane
        if lane.stop is not None or not (waiting or queue.granted):
            self._leave(queue)
            return False
        delay = lane.wait(now, retry=bool(waiting) and waiting[0][1])
        if delay:
            self._leave(queue)
            self._come_back(queue, now, delay)
            return False
        return True

    def turn(self, queue: ShardQueue, *, retry: bool) -> Future[float]:
        """A turn for a call of this shard's, ahead of its fresh rows; the lane has begun it when it comes.

        It gives the time of sending; it raises `RowStopped` when the shard stops or the run drains.
        """
        turn: Future[float] = self._loop.create_future()
        queue.waiting.append((turn, retry))
        self.ready(queue)
        return turn

    def ready(self, queue: ShardQueue) -> None:
        """This shard may have something to send: look at it again."""
        if self._enter(queue):
            self.wake()

    def ended(self, queue: ShardQueue) -> None:
        """A call of this shard's has ended, so it, or one that the endpoint held back, may go on.

        Nobody is woken for it: the worker whose call it was picks next, and anybody else calls `wake`.
        """
        if not queue.in_ring:
            self._enter(queue)
        self._full = False
        if self._blocked:
            self._admit()

    def _admit(self) -> bool:
        """Let the next into the ring that the endpoint held back and that still has something to send."""
        while self._blocked and not self._full:
            queue = next(iter(self._blocked))
            del self._blocked[queue]
            if self._enter(queue):
                return True
        return False

    def _enter(self, queue: ShardQueue) -> bool:
        if queue.in_ring or not (queue.waiting or queue.granted) or queue.lane.stop is not None:
            return False
        queue.in_ring = True
        self._ring.append(queue)
        return True

    def release(self, queue: ShardQueue) -> None:
        """End all waiting for turns of this shard, with `RowStopped`."""
        while queue.waiting:
            turn, _ = queue.waiting.popleft()
            if not turn.done():
                turn.set_exception(RowStopped())

    async def park(self) -> None:
        """Wait until there may be a turn."""
        waiting: Future[None] = self._loop.create_future()
        self._idle.append(waiting)
        await waiting

    def wake_all(self) -> None:
        """Let every parked worker look again."""
        while self._idle:
            self.wake()

    def wake(self) -> None:
        """Have one parked worker look for a turn."""
        while self._idle:
            waiting = self._idle.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return

    def _leave(self, queue: ShardQueue) -> None:
        queue.in_ring = False
        self._ring.popleft()

    def _come_back(self, queue: ShardQueue, now: float, delay: float) -> None:
        if delay == math.inf:
            if not queue.lane.in_flight:
                self._full = True
                self._blocked[queue] = None
        elif not now < queue.wakes_at <= now + delay:
            queue.wakes_at = now + delay
            self._loop.call_later(delay, self._wake_queue, queue)

    def _wake_queue(self, queue: ShardQueue) -> None:
        queue.wakes_at = -1.0
        self.ready(queue)
