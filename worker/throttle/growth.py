"""How many requests may be in flight while no limit is in sight.

It grows quickly as long as more in flight brings more per second. A service that only gets slower is left at
the number that brought its full throughput, and asked again now and then.
"""

from __future__ import annotations

import math

__all__ = ["Growth"]

FIRST_WINDOW = 6.0
"""In flight at the start: 256 are then twelve round trips away."""
FIRST_SHARE = 0.02
LEAST_WINDOW = 4.0
"""But of a small run no more than this share, and no less than four."""
FACTOR = 1.38
"""Growth per round trip. A window just below a knee passes for quick, and the next but one is twice the knee."""
LONG_FACTOR = 2.0
LONG_TRIP = 0.6
"""Where a round trip takes longer than this many seconds, careful growth would waste the first minute."""
BLIND_FACTOR = 1.5
BLIND_PERIOD = 1.0
"""Seconds between steps while the very first reply is still out."""
SLOWER = 1.15
"""A round trip so much longer than the one without a queue means that requests queue."""
QUICK_TRIP = 0.004
"""Shorter round trips (seconds) count as this long: with a service that answers at once the queue is this
process's own, and some 50 requests in flight keep a core busy."""
WORSE = 1.1
"""A step that makes the round trip no longer than this brought nearly all the throughput hoped for."""
SURE = 2.0
"""In standard errors: so far beyond that, a round is slower for certain."""
TELLING_REPLIES = 32
"""Replies after which a slow round that is not certain is held for chance."""
QUICK_ROUND = 1.3
QUICK_REPLIES = 8
QUICK_SHARE = 0.25
"""A round ends after so many round trips, replies and parts of its window, instead of some two round trips and the
whole of it, where these already show for certain that nothing queues."""
QUICK_SLOWER = 1.04
"""What `SLOWER` is for a whole round: the first replies met only half of what the window has grown by."""
FADING = 0.9
"""The weight of earlier rounds in the round trip without a queue."""
SPARE = 1.15
"""More in flight than the throughput needs by Little's law, where the service only gets slower."""
RETRY_PERIOD = 5.0
"""Seconds after which a service that got slower is tried with a little more."""
RETRY_FACTOR = 1.15
RETRY_GAIN = 1.05
RISK = 0.05
"""At most this share of all rows in flight: what a long window rejects at its end is then no more."""
LEAST_RISK = 32.0
"""A short run may have so many in flight all the same."""
SMOOTHING = 0.3
"""Weight of the last round in the smoothed round trip."""


class Growth:
    """The window of requests in flight, judged once per round trip."""

    __slots__ = (
        "_best",
        "_blind_until",
        "_count",
        "_doubted",
        "_enough",
        "_fresh",
        "_quick_from",
        "_quiet_count",
        "_quiet_sum",
        "_round_start",
        "_slow_since",
        "_squares",
        "_sum",
        "_trial_from",
        "_trial_rate",
        "_trip_before",
        "bound",
        "full",
        "round_trip",
        "window",
    )

    def __init__(self, bound: int, rows: int | None) -> None:
        self.bound = float(bound) if rows is None else min(float(bound), max(LEAST_RISK, RISK * rows))
        first = FIRST_WINDOW if rows is None else min(FIRST_WINDOW, max(LEAST_WINDOW, FIRST_SHARE * rows))
        self.window = min(first, self.bound)
        self.full = False
        """Whether the window has held anything back in this round."""
        self.round_trip = 0.0
        """Smoothed, in seconds; 0.0 before the first reply."""
        self._round_start = math.inf
        self._blind_until = math.inf
        self._count = self._fresh = 0
        self._enough = self.window
        self._quick_from = math.inf
        self._sum = 0.0
        self._squares = 0.0
        self._quiet_sum = 0.0
        self._quiet_count = 0.0
        self._trip_before = 0.0
        self._doubted = False
        self._best = 0.0
        self._slow_since = math.inf
        self._trial_from = 0.0
        self._trial_rate = 0.0

    def start(self, now: float) -> None:
        """The first request is being sent."""
        self._round_start = now
        self._blind_until = now + BLIND_PERIOD

    def held(self, now: float) -> float:
        """The window is full: 0.0 if it grew, else seconds until it may grow; `math.inf`: not before a reply."""
        self.full = True
        if self._blind_until == math.inf:
            return math.inf
        if now < self._blind_until:
            return self._blind_until - now
        self._blind_until = now + BLIND_PERIOD
        if self.window >= self.bound:
            return math.inf
        self._grow(BLIND_FACTOR)
        return 0.0

    def replied(self, now: float, sent_at: float) -> bool:
        """A request was served. Whether that ended a round."""
        self._count += 1
        if sent_at < self._round_start:
            return False
        self._fresh += 1
        trip = now - sent_at
        self._sum += trip
        self._squares += trip * trip
        if self._fresh < self._enough and (now < self._quick_from or not self._surely_quick()):
            return False
        self._end_round(now)
        return True

    def refused(self) -> None:
        """A 429 came: no more steps in the dark."""
        self._blind_until = math.inf

    def delivered(self, now: float) -> float:
        """Replies per second in the best round so far, or in this one."""
        return max(self._best, self._count / max(now - self._round_start, self.round_trip, 1e-3))

    def _end_round(self, now: float) -> None:
        trip = self._sum / self._fresh
        rate = self._count / max(now - self._round_start, 1e-6)
        self.round_trip = trip if self.round_trip == 0.0 else self.round_trip + SMOOTHING * (trip - self.round_trip)
        self._blind_until = math.inf
        if self._trial_from:
            self._end_trial(rate)
        elif self.full and self.window < self.bound:
            if self._slow_since == math.inf:
                if not self._go_on(trip, rate, now):
                    return
            elif now > self._slow_since + RETRY_PERIOD:
                self._slow_since = now
                self._trial_from = self.window
                self._trial_rate = rate
                self._grow(RETRY_FACTOR)
        self._best = max(self._best, rate)
        self._round_start = now
        self._count = self._fresh = 0
        self._sum = self._squares = 0.0
        self._enough = self.window
        known = self._quiet_count and self._slow_since == math.inf and not self._trial_from
        self._quick_from = now + QUICK_ROUND * self._base if known and self.window < self.bound else math.inf
        self.full = False

    @property
    def _base(self) -> float:
        """The round trip without a queue (seconds)."""
        return max(self._quiet_sum / max(self._quiet_count, 1.0), QUICK_TRIP)

    def _surely_quick(self) -> bool:
        """Whether the replies of this round until now leave no doubt that nothing queues."""
        fresh = self._fresh
        if not self.full or fresh < max(QUICK_REPLIES, QUICK_SHARE * self.window):
            return False
        trip = self._sum / fresh
        return trip + SURE * self._error(trip) < QUICK_SLOWER * self._base

    def _error(self, trip: float) -> float:
        """Of this round's mean against the round trip without a queue (seconds)."""
        variance = max(self._squares / self._fresh - trip * trip, 0.0)
        return math.sqrt(variance * (1.0 / self._fresh + 1.0 / self._quiet_count))

    def _go_on(self, trip: float, rate: float, now: float) -> bool:
        """Grow, or find that the service only gets slower; False where this round has not told yet."""
        base = self._base
        if self._quiet_count and trip > max(SLOWER * base, WORSE * self._trip_before):
            if trip > SLOWER * base + SURE * self._error(trip):
                if not self._doubted:
                    self._doubted = True  # replies that wait for one thing are late together: once is no proof
                    return True
                self._slow_since = now
                self.window = min(self.window, max(LEAST_WINDOW, SPARE * rate * base))
                return True
            if self._fresh < TELLING_REPLIES:
                return False
        self._doubted = False
        self._trip_before = trip
        self._quiet_sum = FADING * self._quiet_sum + self._sum
        self._quiet_count = FADING * self._quiet_count + self._fresh
        self._grow(FACTOR if trip < LONG_TRIP else LONG_FACTOR)
        return True

    def _end_trial(self, rate: float) -> None:
        """A little more was tried: keep it if it brought something, and then try again at once."""
        if rate > RETRY_GAIN * self._trial_rate:
            self._slow_since = -math.inf
        else:
            self.window = self._trial_from
        self._trial_from = 0.0

    def _grow(self, factor: float) -> None:
        self.window = min(self.window * factor, self.bound)
