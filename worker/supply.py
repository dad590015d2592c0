"""Rows from the ledger to the dispatcher, and results back: fetched ahead, marked before they go, written in groups."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Protocol

from worker.claim import Batch
from worker.ledger.group_commit import GroupCommit
from worker.models import Step
from worker.ports import CommitObserver
from worker.window import FETCH_SHARDS, ShardQueue, Window, portion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from worker.claim import OpenRow
    from worker.models import Job
    from worker.ports import AttemptObserver, ShardSource

__all__ = ["Consumer", "Supply"]


class Consumer(Protocol):
    """Who is told what the supply brings about."""

    def on_rows(self, queue: ShardQueue) -> None:
        """More rows of this shard may be sent."""
        ...

    def on_exhausted(self) -> None:
        """A shard has no fresh row left."""
        ...

    def on_window_full(self) -> None:
        """No mark can be raised until rows that are open settle."""
        ...

    def on_broken(self, error: BaseException) -> None:
        """The ledger can be read or written no more."""
        ...


class Supply:
    """The ledger's side of a pipeline. Make it in the event loop.

    Args:
        source: reads open rows, writes batches; called in threads.
        queues: the shards under way, by number.
        window: how many rows may be open.
        consumer: is told of rows, ends and failures.
        sharers: how many supplies write in this process now.
        on_step: told of the named steps around a commit, in the writer's thread; for tests that die there.
        observers: those that are `CommitObserver` are told of each commit, in the writer's thread.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the parts that it joins
        self,
        source: ShardSource,
        queues: Mapping[int, ShardQueue],
        window: Window,
        consumer: Consumer,
        sharers: Callable[[], int],
        on_step: Callable[[Step], None] | None,
        observers: Sequence[AttemptObserver] = (),
    ) -> None:
        self.window = window
        self._source = source
        self._queues = queues
        self._consumer = consumer
        self._on_step = on_step
        self.stopped = False
        """Set: nothing more is fetched or marked."""
        self._unsent = list(queues.values())
        """Shards with fresh rows left, and shards that are over but not looked at since; the last one is looked at."""
        self._portion = portion(len(queues))
        self._hungry: deque[ShardQueue] = deque()
        self._fetching: asyncio.Task[None] | None = None
        self._dry: set[ShardQueue] = set()
        """Shards that ask for a mark as soon as the window has room."""
        self._observers = [observer for observer in observers if isinstance(observer, CommitObserver)]
        write = self._write_timed if self._observers else self._write
        self._commit = GroupCommit(write, on_durable=self._on_durable, on_failure=consumer.on_broken, sharers=sharers)
        self.record = self._commit.add
        self.record_details = self._commit.add_details

    @property
    def over(self) -> bool:
        """Whether no shard has a fresh row left that may be sent."""
        unsent = self._unsent
        while unsent and (unsent[-1].done or unsent[-1].lane.stop is not None):
            unsent.pop()
        return not unsent

    def stop(self) -> None:
        """Fetch and mark nothing more."""
        self.stopped = True

    def refill(self, queue: ShardQueue) -> None:
        """Fetch ahead."""
        if queue.fetching or queue.exhausted or self.stopped or queue.lane.stop is not None:
            return
        queue.fetching = True
        self._hungry.append(queue)
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())

    def raise_mark(self, queue: ShardQueue) -> None:
        """Ask for the next mark where one is due, and for more rows where they run low."""
        if queue.unasked and not self.stopped and queue.lane.stop is None:
            mark = queue.next_mark(self.window.room)
            if mark is not None:
                through, count = mark
                self.window.open += count
                self._commit.raise_mark(queue.shard, through, urgent=not queue.granted)
            elif self.window.room <= 0:
                self._dry.add(queue)
                self._consumer.on_window_full()
                if not queue.granted:
                    self._commit.hurry(least=self.window.size // 16)
        if len(queue.rows) * 2 < self._portion:
            self.refill(queue)

    async def fetch_details_due(self, queue: ShardQueue, *, after_row: int, limit: int) -> Sequence[Job]:
        """Rows of a shard whose details are still to be read, as far as results are durable by now."""
        await self._commit.flush()
        fetch = partial(self._source.fetch_details_due, queue.shard, after_row=after_row, limit=limit)
        return await asyncio.to_thread(fetch)

    async def close(self, notes: Sequence[tuple[int, bool, int]]) -> None:
        """Make everything durable, with the marks as far as rows were in fact taken, and end the writing.

        Args:
            notes: (row, maybe applied, assign calls so far) of every row that was taken and stays open.

        Raises:
            AssignWorkerError: writing has failed, now or before.
        """
        self.stopped = True
        if self._fetching is not None:
            await self._fetching
        lowered = {queue.shard: queue.last_dispatched for queue in self._queues.values()}
        try:
            await asyncio.shield(self._commit.flush(Batch(lowered=lowered, notes=notes)))
        finally:
            await self._commit.close()

    async def _fetch(self) -> None:
        """Fetch for all shards that run low, many in one turn of a thread."""
        try:
            while self._hungry and not self.stopped:
                queues = [self._hungry.popleft() for _ in range(min(len(self._hungry), FETCH_SHARDS))]
                for queue, rows in zip(queues, await asyncio.to_thread(self._fetch_each, queues), strict=True):
                    queue.add(rows, wanted=self._portion)
                    queue.fetching = False
                    self.raise_mark(queue)
                    if queue.done:
                        self._consumer.on_exhausted()
        except Exception as error:  # noqa: BLE001 - whatever a driver raises ends the run, and is raised by it
            self._consumer.on_broken(error)
        finally:
            self._fetching = None

    def _fetch_each(self, queues: Sequence[ShardQueue]) -> list[Sequence[OpenRow]]:
        """In a thread."""
        fetch = partial(self._source.fetch, limit=self._portion)
        return [fetch(queue.shard, after_row=queue.fetched_through) for queue in queues]

    def _write(self, batch: Batch) -> None:
        """In the writer's thread: one commit, with its named steps."""
        if self._on_step:
            self._on_step(Step.BEFORE_COMMIT)
        self._source.write(batch)
        if self._on_step:
            self._on_step(Step.AFTER_MARK if batch.marks else Step.AFTER_COMMIT)

    def _write_timed(self, batch: Batch) -> None:
        began = time.perf_counter()
        self._write(batch)
        seconds = time.perf_counter() - began
        for observer in self._observers:
            observer.committed(seconds)

    def _on_durable(self, batch: Batch) -> None:
        self.window.open -= len(batch.results)
        for shard, through in batch.marks.items():
            queue = self._queues[shard]
            queue.grant(through)
            self._consumer.on_rows(queue)
            if queue.ahead * 2 <= queue.target:
                self.raise_mark(queue)
        self._use_room()

    def give_room(self, rows: int) -> None:
        """So many rows are open no more, though they have no result: they stay for the next run."""
        self.window.open -= rows
        self._use_room()

    def _use_room(self) -> None:
        while self._dry and self.window.room > 0:
            self.raise_mark(self._dry.pop())
