"""The gate that a lane asks before it sends, and tells what came back."""

from __future__ import annotations

import math

from worker.throttle.growth import Growth
from worker.throttle.limit import Limit

__all__ = ["Throttle"]


class Throttle:
    """Decides when one lane (one workspace's key) may send its next request.

    While no 429 has come it is only a window of requests in flight. After the first one a `Limit` decides.

    Args:
        max_in_flight: never more than so many at once.
        max_rate: never more than so many a second.
        rows: about how many rows the lane has to send, where that is known. It keeps what is in flight small
            beside the whole, so that a quota that ends cannot reject a large part of a small run.
    """

    __slots__ = (
        "_growth",
        "_in_flight",
        "_limit",
        "_min_gap",
        "_next",
        "_started_at",
        "_total",
        "paused_until",
    )

    def __init__(self, *, max_in_flight: int, max_rate: float | None = None, rows: int | None = None) -> None:
        self._growth = Growth(max_in_flight, rows)
        self._limit: Limit | None = None
        self._min_gap = 0.0 if max_rate is None else 1.0 / max_rate
        self._next = -math.inf
        self._in_flight = 0
        self._total = 0
        self._started_at = math.nan
        self.paused_until = -math.inf
        """A Retry-After holds the whole lane until then (monotonic seconds)."""

    @property
    def throttled(self) -> bool:
        """Whether a limit was met."""
        return self._limit is not None

    @property
    def rate(self) -> float | None:
        """The rate found (requests/s); None while no limit of the rate is in sight."""
        if self._limit is None or self._limit.quota is not None or self._limit.crowd.cap != math.inf:
            return None
        return self._limit.level.rate

    @property
    def limit(self) -> int:
        """How many may be in flight at present."""
        window = self._growth.window
        if self._limit is not None:
            window = min(window, self._limit.crowd.cap)
            if self._limit.quota is not None:
                window = min(window, self._limit.quota.window)
        return int(window)

    def wait(self, now: float, in_flight: int) -> float:
        """0.0: one request may be sent now. Positive: seconds until it is worth asking again.

        `math.inf`: not before one of the `in_flight` requests has come back.
        """
        if now < self._next:
            return self._next - now
        limit = self._limit
        if in_flight >= self._growth.window and (limit is None or in_flight >= min(limit.room, self._growth.bound)):
            return self._growth.held(now)
        return 0.0 if limit is None else limit.wait(in_flight)

    def sent(self, now: float) -> None:
        """A request is being sent now."""
        self._in_flight += 1
        if self._limit is not None:
            self._next = max(self._limit.sent(now, self._in_flight), now + self._min_gap)
        elif self._min_gap:
            self._next = max(self._next, now - self._min_gap) + self._min_gap
        if self._total == 0 and self._started_at != self._started_at:
            self._started_at = now
            self._growth.start(now)

    def completed(self, now: float, sent_at: float) -> None:
        """Answered by the service, and not by 429: the limiter accepted it, whatever the service said."""
        self._in_flight -= 1
        self._total += 1
        ended = self._growth.replied(now, sent_at)
        if self._limit is not None:
            if ended:
                self._limit.round_ended(now, self._growth.round_trip)
            self._limit.accepted(now, sent_at)

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        """Answered by 429; `retry_after` in seconds, None where the service named no sensible time."""
        self._in_flight -= 1
        gate = retry_after or 0.0
        self.paused_until = max(self.paused_until, now + gate)
        if self._limit is None:
            self._growth.refused()
            rate = max(self._growth.delivered(now), self._in_flight / max(now - sent_at, self._growth.round_trip, 1e-3))
            self._limit = Limit(now, sent_at, rate, self._total, self._started_at)
            self._limit.round_trip = self._growth.round_trip
        nxt = self._limit.rejected(now, sent_at, self.paused_until, gate)
        self._next = max(nxt, self.paused_until)

    def lost(self, now: float, sent_at: float) -> None:
        """Timeout, reset or 5xx: says nothing about the limit."""
        del now
        self._in_flight -= 1
        if self._limit is not None:
            self._limit.lost(sent_at)
