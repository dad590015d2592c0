"""Windows so long that the lane does best to spend each one's quota at once and to wait for the next."""

from __future__ import annotations

import math

__all__ = ["CLOSED_LEAST", "Quota", "probe_gap"]

CLOSED_LEAST = 5.0
"""Seconds of nothing but 429s that make a limit a quota; shorter windows are better spread evenly."""
CLOSED_STILL = 1.0
"""A quota that closes for less than this many seconds has become a rate."""
LEAST_ACCEPTED = 4
GAP_SHARE = 0.3
"""Probes of a closed limit: its opening is noticed late by at most this share of the time it was closed."""
GAP_LEAST = 0.1
GAP_MOST = 60.0
TRUSTED_GAP = 2.0
DOUBTFUL_GAP = 0.3
"""Seconds between probes at least and at most; and in times of what one request takes at the level."""
EDGE = 0.03
"""Of the period, before and between the probes near the expected opening."""
OUTLIER = 1.5
SPARE = 2
"""Left of the quota for probes that count."""
SHARE_IN_FLIGHT = 0.05
LEAST_IN_FLIGHT = 4.0
"""Of the quota in flight: what is rejected where it shrank."""
HASTE = 2.0
"""In flight, in times of what would spread the quota over its whole window."""


def probe_gap(closed_for: float, level: float, *, trusted: bool) -> float:
    """Seconds until the next probe of a limit that has accepted nothing for `closed_for` seconds.

    At `level` requests/s more than one probe for each that can be accepted is no use, if the level is about right.
    """
    least = (TRUSTED_GAP if trusted else DOUBTFUL_GAP) / level
    return min(max(GAP_LEAST, GAP_SHARE * closed_for, least), GAP_MOST)


class Quota:
    """So many requests per period, both learnt."""

    __slots__ = ("_last", "_left", "_opened_at", "_period", "_step", "window")

    def __init__(self) -> None:
        self._opened_at = math.nan
        self._period = math.nan
        self._last = math.inf
        self._left = 0.0
        self._step = 1
        self.window = 0.0
        """At most so many in flight."""

    def opened(self, now: float, accepted: int, span: float, round_trip: float) -> None:
        """A window opened; the one before let `accepted` through, `span` seconds from opening to opening."""
        if not math.isnan(self._opened_at):
            period = now - self._opened_at
            # Longer ones had an outage in them.
            if not period > OUTLIER * self._period:
                self._period = period
        self._opened_at = now
        self._left = min(accepted, self._last) - SPARE
        self._last = accepted
        self._step = 1
        self.window = max(LEAST_IN_FLIGHT, SHARE_IN_FLIGHT * accepted, HASTE * accepted / span * round_trip)

    def spend(self) -> None:
        """A request is being sent."""
        self._left -= 1

    def allows(self, in_flight: int) -> bool:
        """Whether one more may be sent. Beyond the known quota it takes ever bolder steps, each awaited."""
        if self._left <= 0:
            if in_flight > 0:
                return False
            self._left = self._step
            self._step *= 2
        return in_flight < self.window

    @property
    def outgrown(self) -> bool:
        """Whether twice the quota went through: it is no quota any more."""
        return self._step > max(16.0, self._last)

    def next_probe(self, now: float) -> float:
        """The time of the first sensible probe, where the period is known; else `now`."""
        if math.isnan(self._period):
            return now
        edge = self._opened_at + self._period
        return max(edge, now + 2 * EDGE * self._period) - EDGE * self._period
