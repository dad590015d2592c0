"""Workers of a fleet, kept running as a service manager would: what ends is noted, and started again."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Collection

    from tests.fleet.ground import WorkerProcess

__all__ = ["End", "Post", "left_behind"]

RESTART: Final = 0.5
"""Seconds from an end to the next start."""


class End(NamedTuple):
    """Of one worker process."""

    pid: int
    code: int
    at: float
    """By `time.monotonic`."""
    was_asked: bool
    """It is what was done to it that it ended with this code."""
    said: str


class Post:
    """A place where a worker is kept running.

    Args:
        start: starts a worker.
    """

    def __init__(self, start: Callable[[], WorkerProcess]) -> None:
        self.start = start
        self.is_kept = True
        self.ends: list[End] = []
        self._worker: WorkerProcess | None = start()
        self._asked: set[int] = set()
        self._next = 0.0

    @property
    def pid(self) -> int | None:
        """Of the present worker, if there is one."""
        return None if self._worker is None else self._worker.process.pid

    def send(self, number: signal.Signals, *, ends_with: Collection[int]) -> None:
        """Send a signal after which the present worker may end so."""
        assert self._worker is not None
        self._asked.update(ends_with)
        self._worker.send(number)

    def end_of(self, pid: int) -> End | None:
        """How that worker ended; None while it lives."""
        return next((end for end in self.ends if end.pid == pid), None)

    def tend(self) -> None:
        """Note an end; start again what has ended and is kept."""
        now = time.monotonic()
        if self._worker is not None and (code := self._worker.process.poll()) is not None:
            pid = self._worker.process.pid
            self.ends.append(End(pid, code, now, code in self._asked, self._worker.said()))
            self._worker, self._asked, self._next = None, set(), now + RESTART
        if self._worker is None and self.is_kept and now >= self._next:
            self._worker = self.start()

    def clear(self) -> None:
        """Leave no process, whatever has happened."""
        if self._worker is not None:
            self._worker.process.kill()
            self._worker.process.wait()


def left_behind(word: str) -> list[str]:
    """Command lines of other processes in whose environment a word stands."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "environ"]):
        values = (process.info["environ"] or {}).values()
        if process.info["pid"] != os.getpid() and any(word in value for value in values):
            found.append(" ".join(process.info["cmdline"] or ()))
    return found
