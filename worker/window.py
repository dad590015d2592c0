"""One shard under way: rows fetched ahead, rows that may be sent, rows that wait; and the write-ahead mark.

The marks of all shards share one window: rows within a mark that have no durable result are never more than
it holds, so that a crash leaves at most that many in doubt.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Sequence

    from worker.claim import OpenRow
    from worker.lane import Lane

__all__ = ["FETCH_SHARDS", "ShardQueue", "Window", "portion"]

FETCH: Final = 1_000
"""Rows of a shard that are read from the ledger at a time; half of them left, more are."""
FETCH_ALL: Final = 8_000
"""Rows that all shards have read ahead, about: memory does not grow with their number."""
FETCH_SHARDS: Final = 100
"""Shards that are read for in one turn of the thread; the first may send while the others' rows are read."""
LEAST_WINDOW: Final = 512
"""Rows that few but quick workers have open between two commits, 20 ms apart."""
LEAST_AHEAD: Final = 16
"""Rows that the mark runs ahead of a shard at first, as long as there are few shards."""
LEAST_EACH: Final = 8
"""But so many the window has room for in every shard: one that waits for room sends in fits and starts, which its
throttle takes for the service's doing."""


def portion(shards: int) -> int:
    """Rows to read at a time for each of so many shards."""
    return max(LEAST_AHEAD, min(FETCH, FETCH_ALL // max(shards, 1)))


class Window:
    """Counts rows that a crash now would leave in doubt, against the most that may be.

    Args:
        concurrency: most requests in flight.
        shards: that share it.
    """

    __slots__ = ("each", "open", "size")

    def __init__(self, concurrency: int, shards: int = 1) -> None:
        self.size: Final = max(4 * concurrency, LEAST_WINDOW, LEAST_EACH * shards)
        self.each: Final = min(LEAST_AHEAD, self.size // max(shards, 1))
        """Rows that the mark runs ahead of each shard at first."""
        self.open = 0
        """Rows within a mark (committed or asked for) without a durable result."""

    @property
    def room(self) -> int:
        """How many more rows may be marked."""
        return self.size - self.open


class ShardQueue:
    """The rows of one shard on their way from the ledger to the service."""

    __slots__ = (
        "_asked",
        "_sent_since_ask",
        "ahead",
        "details_due",
        "exhausted",
        "fetched_through",
        "fetching",
        "granted",
        "in_ring",
        "lane",
        "last_dispatched",
        "rows",
        "shard",
        "target",
        "unasked",
        "waiting",
        "wakes_at",
    )

    def __init__(self, shard: int, lane: Lane, *, dispatched_through: int, least: int = LEAST_AHEAD) -> None:
        self.shard = shard
        self.lane = lane
        self.details_due = dispatched_through > 0
        """Whether some of its rows may have been recorded without the credential's details."""
        self.rows: deque[OpenRow] = deque()
        """Fetched; the first `granted` of them may be sent, the last `unasked` are beyond any mark asked for."""
        self.granted = 0
        self.unasked = 0
        self.ahead = 0
        """Rows within a mark, committed or asked for, that were not taken."""
        self.target = least
        """Rows that the mark should run ahead."""
        self.fetched_through = dispatched_through
        self.last_dispatched = dispatched_through
        self._asked: deque[tuple[int, int]] = deque()
        self._sent_since_ask = 0
        self.exhausted = False
        self.fetching = False
        self.in_ring = False
        self.waiting: deque[tuple[Future[float], bool]] = deque()
        """(turn, whether it is a retry) of settling rows' calls; they go before fresh rows."""
        self.wakes_at = -1.0
        """When a timer will have this shard looked at again."""

    def add(self, fetched: Sequence[OpenRow], *, wanted: int) -> None:
        """Append what was fetched; less than what was wanted means the shard's end."""
        self.exhausted = len(fetched) < wanted
        if not fetched:
            return
        self.rows.extend(fetched)
        self.unasked += len(fetched)
        self.fetched_through = fetched[-1].job.row

    def next_mark(self, room: int) -> tuple[int, int] | None:
        """The row up to which the mark should be raised now and how many more rows that lets go, or None.

        The mark runs `target` rows ahead. A shard that runs dry before the commit is back doubles its target: a quick
        service never waits for a mark, and a slow one leaves few rows in doubt.
        """
        ahead = self.ahead
        if not self.granted and self._sent_since_ask and ahead <= self.target:
            self.target = min(2 * self.target, FETCH)
        if ahead * 2 > self.target:
            return None
        count = min(self.unasked, room, self.target - ahead)
        if count <= 0:
            return None
        self._sent_since_ask = 0
        through = self.rows[ahead + count - 1].job.row
        self.unasked -= count
        self.ahead += count
        self._asked.append((through, count))
        return through, count

    def grant(self, through: int) -> None:
        """The mark is durable up to `through`: so far may be sent."""
        while self._asked and self._asked[0][0] <= through:
            self.granted += self._asked.popleft()[1]

    def take(self) -> OpenRow:
        """The next row that may be sent."""
        self.granted -= 1
        self.ahead -= 1
        self._sent_since_ask += 1
        row = self.rows.popleft()
        self.last_dispatched = row.job.row
        return row

    @property
    def done(self) -> bool:
        """Whether no fresh row is left."""
        return self.exhausted and not self.rows
