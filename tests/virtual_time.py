"""An event loop whose clock jumps: where nothing can happen for an hour, the hour is over at once.

Threads are real, so before it jumps the loop gives them a moment to report back, and on a machine that is busy with
other things waits until none of them still wants to run.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

GRACE = 0.004
"""Real seconds for threads to report before the clock jumps."""
TASKS = Path("/proc/self/task")
"""Linux: one folder a thread; elsewhere the grace must do."""


def _a_thread_wants_to_run() -> bool:
    """Whether another thread of this process is at work, or waits for a core."""
    me = threading.get_native_id()
    for task in TASKS.glob("*"):
        if task.name != str(me):
            try:
                stat = (task / "stat").read_text()
            except OSError:  # it has just ended
                continue
            if stat.rpartition(")")[2].split()[0] == "R":
                return True
    return False


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self) -> None:
        super().__init__()
        self.jumped = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            found: list[tuple[selectors.SelectorKey, int]] = super().select(timeout)
            return found
        found = super().select(min(timeout, GRACE))
        while not found and _a_thread_wants_to_run():
            found = super().select(GRACE)
        if not found:
            self.jumped += timeout
        return found


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """`loop.time()` is real time plus every wait that was skipped."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Monotonic seconds, jumps included."""
        return super().time() + self._jumping.jumped


def run_virtually(main: Coroutine[object, object, T]) -> T:
    """Run to the end on a virtual clock."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)
