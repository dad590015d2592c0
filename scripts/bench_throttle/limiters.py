"""What may stand before a service: each limiter decides on one request at the moment that it arrives.

`decide(t)` takes the arrival in seconds and answers None for accepted, else the seconds after which a request
might be accepted. `room(t)` only looks: how many could be accepted at `t` at once. `leave(t)` tells that an
accepted request has been served.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Steps:
    """A rate (requests/s) that changes at most once."""

    first: float
    second: float
    at: float

    def value(self, t: float) -> float:
        """The rate at `t`."""
        return self.first if t < self.at else self.second

    def integral(self, t: float) -> float:
        """Requests that the rate allows from 0 to `t`."""
        return self.first * min(t, self.at) + self.second * max(0.0, t - self.at)


class Limiter(Protocol):
    """One key's limit."""

    def decide(self, t: float) -> float | None:
        """None: accepted."""

    def room(self, t: float) -> float:
        """How many would be accepted at `t`."""

    def leave(self, t: float) -> None:
        """An accepted request was served."""


class NoLimit:
    """Accepts everything."""

    def decide(self, t: float) -> None:
        """None: accepted."""
        del t

    def room(self, t: float) -> float:
        """As many as one likes."""
        del t
        return math.inf

    def leave(self, t: float) -> None:
        """Of no interest."""


class TokenBucket:
    """`rate` tokens a second, `burst` at most; where rejects count they run up a debt of a second at most."""

    def __init__(self, rate: Steps, burst: float, *, rejects_count: bool) -> None:
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._at = 0.0
        self._rejects_count = rejects_count

    def _refill(self, t: float) -> None:
        if t > self._at:
            gained = self._rate.integral(t) - self._rate.integral(self._at)
            self._tokens = min(self._burst, self._tokens + gained)
            self._at = t

    def decide(self, t: float) -> float | None:
        """None: accepted."""
        self._refill(t)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return None
        rate = self._rate.value(t)
        if self._rejects_count:
            self._tokens = max(self._tokens - 1.0, -min(self._burst, rate))
        return (1.0 - self._tokens) / rate

    def room(self, t: float) -> float:
        """Whole tokens."""
        self._refill(t)
        return math.floor(self._tokens)

    def leave(self, t: float) -> None:
        """Of no interest."""


class FixedWindow:
    """So many in each window of `length` seconds; the first one began `phase` seconds before the run."""

    def __init__(self, rate: Steps, length: float, phase: float) -> None:
        self._rate = rate
        self._length = length
        self._phase = phase
        self._window = -1
        self._left = 0.0

    def _turn(self, t: float) -> None:
        window = math.floor((t + self._phase) / self._length)
        if window > self._window:
            self._window = window
            self._left = max(1.0, round(self._rate.value(t) * self._length))

    def decide(self, t: float) -> float | None:
        """None: accepted."""
        self._turn(t)
        if self._left >= 1.0:
            self._left -= 1.0
            return None
        return (self._window + 1) * self._length - self._phase - t

    def room(self, t: float) -> float:
        """What the window has left."""
        self._turn(t)
        return self._left

    def leave(self, t: float) -> None:
        """Of no interest."""


class SlidingWindow:
    """So many in the last `length` seconds, by a log of arrivals; where rejects count they are logged too."""

    def __init__(self, rate: Steps, length: float, *, rejects_count: bool) -> None:
        self._rate = rate
        self._length = length
        self._log: deque[float] = deque()
        self._rejects_count = rejects_count

    def _quota(self, t: float) -> float:
        log = self._log
        while log and log[0] <= t - self._length:
            log.popleft()
        return max(1.0, round(self._rate.value(t) * self._length))

    def decide(self, t: float) -> float | None:
        """None: accepted."""
        quota = self._quota(t)
        if len(self._log) < quota:
            self._log.append(t)
            return None
        if self._rejects_count:
            self._log.append(t)
        return self._log[len(self._log) - int(quota)] + self._length - t

    def room(self, t: float) -> float:
        """What the last `length` seconds have left."""
        return max(0.0, self._quota(t) - len(self._log))

    def leave(self, t: float) -> None:
        """Of no interest."""


class ConcurrencyCap:
    """At most `rate` x `round_trip` requests being served at once."""

    def __init__(self, rate: Steps, round_trip: float) -> None:
        self._rate = rate
        self._round_trip = round_trip
        self._busy = 0

    def _cap(self, t: float) -> int:
        return max(1, round(self._rate.value(t) * self._round_trip))

    def decide(self, t: float) -> float | None:
        """None: accepted."""
        if self._busy < self._cap(t):
            self._busy += 1
            return None
        return 0.0

    def room(self, t: float) -> float:
        """Free places."""
        return max(0, self._cap(t) - self._busy)

    def leave(self, t: float) -> None:
        """One place less is taken."""
        del t
        self._busy -= 1
