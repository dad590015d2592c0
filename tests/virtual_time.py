"""An event loop whose clock jumps: where nothing can happen for an hour, the hour is over at once.

Threads are real. The clock stands still while one of them owes the loop an answer, be it from an executor or of a
group commit, so that what they do takes no virtual time, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import selectors
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple
from unittest import mock

from worker.ledger.group_commit import GroupCommit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PATIENCE = 60.0
"""Real seconds that a thread may owe an answer."""


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0
        self.owed = 0
        """Answers that threads owe the loop."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
            return found
        found = super().select(PATIENCE if self.owed else 0)
        if not found:
            if self.owed:
                raise AssertionError(f"a thread has owed an answer for {PATIENCE:.0f} seconds")
            self.jumped += timeout
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`loop.time()` is the sum of the waits that were skipped; nothing else takes any time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._jumping.jumped

    def owe(self, answers: int) -> None:
        """So many more answers are owed by threads, or fewer."""
        self._jumping.owed += answers

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """As every loop does, with the clock standing still until it has answered."""
        future = super().run_in_executor(executor, func, *args)
        self.owe(1)
        future.add_done_callback(lambda _: self.owe(-1))
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ARG002, ASYNC109 - asyncio's
        """Wait for its threads in real time."""
        self.owe(1)
        try:
            await super().shutdown_default_executor()
        finally:
            self.owe(-1)


@contextmanager
def _commits_owed(loop: VirtualTimeLoop) -> Iterator[None]:
    """A group commit owes an answer from when it is handed over until it is reported as written."""
    begin, written = GroupCommit._begin, GroupCommit._written

    def begin_owing(self: GroupCommit, *of: Any) -> None:
        loop.owe(1)
        begin(self, *of)

    def written_and_told(self: GroupCommit, *of: Any) -> None:
        loop.owe(-1)
        written(self, *of)

    with (
        mock.patch.object(GroupCommit, "_begin", begin_owing),
        mock.patch.object(GroupCommit, "_written", written_and_told),
    ):
        yield


def run_virtually(main: Coroutine[object, object, T]) -> T:
    """Run to the end on a virtual clock."""
    loop = VirtualTimeLoop()
    with _commits_owed(loop), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)
