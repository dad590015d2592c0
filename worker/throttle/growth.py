"""How many requests may be in flight while no limit is in sight.

It grows quickly as long as more in flight brings more per second. A service that only gets slower is left at
the number that brought its full throughput, and asked again now and then.
"""

from __future__ import annotations

import math

__all__ = ["Growth"]

FIRST_WINDOW = 4.0
"""In flight at the start: 256 are then ten round trips away."""
FIRST_SHARE = 0.01
LEAST_WINDOW = 4.0
"""But of a small run no more than this share, and no less than four."""
FACTOR = 1.4
"""Growth per round trip. Replies tell of the window of a trip ago, so a knee is overshot by this squared."""
LONG_FACTOR = 2.0
LONG_TRIP = 0.3
"""Where a round trip takes longer than this many seconds, careful growth would waste the first minute."""
BLIND_FACTOR = 1.5
SAMPLE = 0.75
"""The part of a window whose round trips are measured; none of them was sent into the window before."""
BLIND_PERIOD = 0.5
"""Seconds between steps while the very first reply is still out."""
SLOWER = 1.15
"""A round trip so much longer than the shortest one means that requests queue."""
EFFECT = 0.9
"""The share of the hoped-for throughput that more in flight has to bring."""
TELLING_REPLIES = 32
"""Replies over which a slow round is judged before it is believed."""
SPARE = 1.15
"""More in flight than the throughput needs by Little's law, where the service only gets slower."""
RETRY_PERIOD = 5.0
"""Seconds after which a service that got slower is tried with a little more."""
RETRY_FACTOR = 1.15
RETRY_GAIN = 1.05
RISK = 0.05
"""At most this share of all rows in flight: what a long window rejects at its end is then no more."""
LEAST_RISK = 16.0
"""A short run may have so many in flight all the same."""
SMOOTHING = 0.3
"""Weight of the last round in the smoothed round trip."""


class Growth:
    """The window of requests in flight, judged once per round trip."""

    __slots__ = (
        "_best",
        "_blind_until",
        "_count",
        "_enough",
        "_fresh",
        "_round_start",
        "_shortest",
        "_slow_since",
        "_sum",
        "_trial_from",
        "_trial_rate",
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
        self._enough = SAMPLE * self.window
        self._sum = 0.0
        self._shortest = math.inf
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
        self._sum += now - sent_at
        if self._fresh < self._enough:
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
        self._shortest = min(self._shortest, trip)
        self._blind_until = math.inf
        if self._trial_from:
            self._end_trial(trip, rate)
        elif self.full and self.window < self.bound:
            factor = FACTOR if trip < LONG_TRIP else LONG_FACTOR
            if trip < SLOWER * self._shortest or rate > EFFECT * factor * self._best:
                self._grow(factor)
            elif self._count < TELLING_REPLIES:
                return
            elif self._slow_since == math.inf:
                self._slow_since = now
                self.window = min(self.window, max(LEAST_WINDOW, SPARE * rate * self._shortest))
            elif now > self._slow_since + RETRY_PERIOD:
                self._slow_since = now
                self._trial_from = self.window
                self._trial_rate = rate
                self._grow(RETRY_FACTOR)
        self._best = max(self._best, rate)
        self._round_start = now
        self._count = self._fresh = 0
        self._sum = 0.0
        self._enough = SAMPLE * self.window
        self.full = False

    def _end_trial(self, trip: float, rate: float) -> None:
        """A little more was tried: keep it if it brought something."""
        if rate > RETRY_GAIN * self._trial_rate:
            self._shortest = trip
        else:
            self.window = self._trial_from
        self._trial_from = 0.0

    def _grow(self, factor: float) -> None:
        self.window = min(self.window * factor, self.bound)
