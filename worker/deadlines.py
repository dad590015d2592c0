"""One timer for all calls that may take equally long, in place of one each.

A call that is answered in time, as nearly all are, costs no timer: the one that began first also ends first, so
only that one's end is waited for. What an expiry does is `asyncio.timeout`'s own.
"""

from __future__ import annotations

import asyncio

__all__ = ["Deadlines"]


class Deadlines:
    """Scopes of `seconds` each. Make and use it in one event loop."""

    __slots__ = ("_ends", "_loop", "_seconds", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._ends: dict[asyncio.Timeout, float] = {}
        """Open scopes and when each expires, the first to do so first."""
        self._timer: asyncio.TimerHandle | None = None

    def open(self) -> asyncio.Timeout:
        """A scope to enter at once; give it to `shut` when it was left. It raises `TimeoutError` when it expires."""
        scope = asyncio.timeout(None)
        self._ends[scope] = end = self._loop.time() + self._seconds
        if self._timer is None:
            self._timer = self._loop.call_at(end, self._expire)
        return scope

    def shut(self, scope: asyncio.Timeout) -> None:
        """The scope was left."""
        self._ends.pop(scope, None)

    def close(self) -> None:
        """Let nothing expire any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _expire(self) -> None:
        now = self._loop.time()
        expired = []
        self._timer = None
        for scope, end in self._ends.items():
            if end > now:
                self._timer = self._loop.call_at(end, self._expire)
                break
            expired.append(scope)
        for scope in expired:
            del self._ends[scope]
            scope.reschedule(now)
