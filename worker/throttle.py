"""Decides when one lane may send its next request: as fast as helps, and just under a limit nobody told us."""

from __future__ import annotations

import math

__all__ = ["Throttle"]

START_WINDOW = 4.0
GROWTH = 1.5
GROWTH_PERIOD = 0.5
CRUISE_SCALE = 10.0
CATCH_UP = 0.005


def cruise_rate(base: float, age: float) -> float:
    """Requests/s, `age` seconds after the last cut: a little under `base`, level with it, then ever bolder."""
    return base * (1.0 + 0.05 * ((age - CRUISE_SCALE) / CRUISE_SCALE) ** 3)


class Throttle:
    """Decides when one lane (one workspace's key) may send its next request."""

    __slots__ = (
        "_accepted",
        "_base",
        "_cut_at",
        "_max_in_flight",
        "_max_rate",
        "_next",
        "_paced",
        "_window",
        "paused_until",
    )

    def __init__(self, *, max_in_flight: int, max_rate: float | None = None) -> None:
        self._max_in_flight = float(max_in_flight)
        self._max_rate = math.inf if max_rate is None else max_rate
        self._window = min(START_WINDOW, self._max_in_flight)
        self._paced = max_rate is not None
        self._next = -math.inf
        self._base = math.inf
        self._cut_at = -math.inf
        self._accepted = 0
        self.paused_until = -math.inf
        """A Retry-After holds until then (monotonic seconds)."""

    @property
    def throttled(self) -> bool:
        """Whether a limit is in sight."""
        return self._base != math.inf

    @property
    def rate(self) -> float | None:
        """The rate found (requests/s); None while no limit is in sight."""
        return self._base if self._base != math.inf else None

    @property
    def limit(self) -> int:
        """How many may be in flight at present."""
        return int(self._window)

    def wait(self, now: float, in_flight: int) -> float:
        """0.0: send. Positive: ask again in so many seconds. `math.inf`: not before a completion."""
        if now < self._next:
            return self._next - now
        return 0.0 if in_flight < self._window else math.inf

    def sent(self, now: float) -> None:
        """A request is being sent now."""
        if self._paced:
            rate = min(cruise_rate(self._base, now - self._cut_at), self._max_rate)
            self._next = max(self._next, now - CATCH_UP) + 1.0 / rate

    def completed(self, now: float, sent_at: float) -> None:
        """Answered by the service, and not by 429."""
        self._accepted += 1
        if self._window < self._max_in_flight:
            self._window = min(self._window + 0.5, self._max_in_flight)

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        """Answered by 429."""
        if sent_at > self._cut_at:
            if self._paced and self._base != math.inf:
                self._base *= 0.8
            else:
                self._base = max(1.0, 0.7 * self._window / max(now - sent_at, 0.001))
                self._paced = True
            self._cut_at = now
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + retry_after)
            self._next = max(self._next, self.paused_until)

    def lost(self, now: float, sent_at: float) -> None:
        """Timeout, reset or 5xx: says nothing about the limit."""
