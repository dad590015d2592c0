"""Group commit: the event loop hands over, one thread writes (DESIGN 6).

Results collect while the thread is busy or until they are 500 or 20 ms old; then they go as one transaction.
Where several share a process they take turns: each waits so many times longer, and has so many fewer results by then.
Who waits for a commit, for a mark or for room in the window, has it at once.
A write that fails is never tried again: after a failed sync nobody knows what reached the disk, so the run
ends there and what was recorded before stands.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Final

from worker.claim import Batch
from worker.errors import AssignWorkerError
from worker.ledger.failures import write_failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from worker.models import Result

__all__ = ["GroupCommit"]

_MOST_RESULTS: Final = 500
_WAIT: Final = 0.020
"""Seconds from one commit of the process to the next."""
_LONGEST_WAIT: Final = 0.250
"""However many share a process: who looks into the ledger sees what is going on."""


class GroupCommit:
    """Collects a shard process's writes and commits them in order. Used from one event loop.

    Args:
        write: commits one `Batch` durably, or raises; called in the writer thread only.
        on_durable: called in the loop with each `Batch` once it is on disk.
        on_failure: called in the loop, once, with the error that ended all writing.
        sharers: how many such writers the process has now.
    """

    def __init__(
        self,
        write: Callable[[Batch], None],
        *,
        on_durable: Callable[[Batch], None],
        on_failure: Callable[[AssignWorkerError], None],
        sharers: Callable[[], int] = lambda: 1,
    ) -> None:
        self._write = write
        self._on_durable = on_durable
        self._on_failure = on_failure
        self._sharers = sharers
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._results: list[Result] = []
        self._details: list[Result] = []
        self._marks: dict[int, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing = False
        self._urgent = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.failure: AssignWorkerError | None = None
        self._thread = threading.Thread(target=self._serve, name="ledger-writer", daemon=True)
        self._thread.start()

    def add(self, result: Result) -> None:
        """Record a row's final word with the next commit."""
        collected = self._results
        collected.append(result)
        if self._timer is None or len(collected) >= _MOST_RESULTS:
            self._schedule()

    def add_details(self, result: Result) -> None:
        """Fill the detail columns of a recorded row with the next commit."""
        self._details.append(result)
        self._schedule()

    def raise_mark(self, shard: int, through: int, *, urgent: bool) -> None:
        """Allow a shard's rows up to `through` to be sent, once this is committed; `urgent` does not wait."""
        self._marks[shard] = through
        self._urgent = self._urgent or urgent
        self._schedule()

    def hurry(self, *, least: int) -> None:
        """Somebody waits for room in the window: commit now, if so many results make it worth a commit."""
        if len(self._results) >= least:
            self._urgent = True
            self._schedule()

    def _schedule(self) -> None:
        if self._urgent or len(self._results) >= _MOST_RESULTS:
            self._hand_over()
        elif self._timer is None:
            wait = min(_WAIT * self._sharers(), _LONGEST_WAIT)
            self._timer = self._loop.call_later(wait, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._hand_over()

    def _hand_over(self) -> None:
        """Give the thread what has collected, unless it is still busy: then the end of that commit does it."""
        if self._writing or self.failure is not None:
            self._urgent = True
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._urgent = False
        batch = Batch(self._results, self._details, self._marks)
        if not batch:
            return
        self._results, self._details, self._marks = [], [], {}
        self._begin(batch)

    def _begin(self, batch: Batch) -> None:
        self._writing = True
        self._idle.clear()
        self._queue.put(batch)

    def _serve(self) -> None:
        """The writer thread: one batch after the other, until None."""
        while (batch := self._queue.get()) is not None:
            error: AssignWorkerError | None = None
            try:
                self._write(batch)
            except AssignWorkerError as raised:
                error = raised
            except Exception as raised:  # noqa: BLE001 - whatever a driver raises ends all writing, with its words
                error = write_failure(raised)
            self._loop.call_soon_threadsafe(self._written, batch, error)

    def _written(self, batch: Batch, error: AssignWorkerError | None) -> None:
        self._writing = False
        self._idle.set()
        if error is not None:
            self.failure = error
            self._on_failure(error)
            return
        self._on_durable(batch)
        if self._urgent or len(self._results) >= _MOST_RESULTS:
            self._hand_over()

    async def flush(self, last: Batch | None = None) -> None:
        """Wait until all that was added, and `last` after it, is durable.

        Raises:
            AssignWorkerError: writing has failed, now or before.
        """
        while True:
            while self._writing:  # the end of one commit may have begun the next before this wakes
                await self._idle.wait()
            if self.failure is not None:
                raise self.failure
            if self._results or self._details or self._marks:
                self._hand_over()
            elif last:
                self._begin(last)
                last = None
            else:
                return

    async def close(self) -> None:
        """End the thread; what was not flushed is dropped."""
        if self._timer is not None:
            self._timer.cancel()
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)
