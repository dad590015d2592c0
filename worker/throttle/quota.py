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
GAP_SHARE_LEAST = 0.05
ROWS_A_PROBE = 50.0
"""A limit that lets many through is asked oftener, down to that part: about once for so many rows of a cycle."""
EDGE = 0.03
"""Of the period, before and between the probes near the expected opening."""
EARLIEST = 0.24
"""Where the first of them is accepted, the next begin twice as early, but at most by so much of the period."""
OUTLIER = 1.5
SPARE = 2
"""Left of the quota for probes that count."""
SHARE_IN_FLIGHT = 0.05
LEAST_IN_FLIGHT = 4.0
"""Of the quota in flight: what is rejected where it shrank."""
HASTE = 2.0
"""In flight, in times of what would spread the quota over its whole window."""
UNPROVEN = 0.125
"""Of that, until a request sent after the opening is accepted: it may have opened for one alone."""
UNSPENT = 0.1
OVER = 0.9
"""A window that closes with more than this part of the quota left, before this part of its time is over, will go on: a
sliding one hands back what was sent a period ago as it was sent."""


def probe_gap(closed_for: float, level: float, accepted: int, *, trusted: bool) -> float:
    """Seconds until the next probe of a limit that has accepted nothing for `closed_for` seconds, and so many before.

    At `level` requests/s more than one probe for each that can be accepted is no use, if the level is about right.
    """
    least = (TRUSTED_GAP if trusted else DOUBTFUL_GAP) / level
    # Gaps of a share of the closure are ln(GAP_MOST / GAP_LEAST) / share until it has become a long one.
    share = ROWS_A_PROBE * math.log(GAP_MOST / GAP_LEAST) / max(accepted, 1)
    share = min(max(GAP_SHARE_LEAST, share), GAP_SHARE)
    return min(max(GAP_LEAST, share * closed_for, least), GAP_MOST)


class Quota:
    """So many requests per period, both learnt."""

    __slots__ = (
        "_asked",
        "_last",
        "_lead",
        "_left",
        "_opened_at",
        "_period",
        "_proven",
        "_resumed",
        "_span",
        "_step",
        "_window",
    )

    def __init__(self) -> None:
        self._opened_at = math.nan
        self._period = math.nan
        self._span = 0.0
        self._last = math.inf
        self._left = 0.0
        self._step = 1
        self._window = 0.0
        self._proven = False
        self._lead = EDGE
        self._asked = 0
        self._resumed = 0

    @property
    def window(self) -> float:
        """At most so many in flight."""
        return self._window if self._proven else max(1.0, UNPROVEN * self._window)

    def opened(self, now: float, accepted: int, span: float, round_trip: float) -> None:
        """A window opened; the one before let `accepted` through, `span` seconds from opening to opening."""
        if not math.isnan(self._opened_at):
            period = now - self._opened_at
            # Longer ones had an outage in them.
            if not period > OUTLIER * self._period:
                self._lead = min(2.0 * self._lead, EARLIEST) if self._asked == 1 else EDGE
                self._period = period
        self._opened_at = now
        self._span = span
        self._left = min(accepted, self._last) - SPARE
        self._last = accepted
        self._step = 1
        self._proven = False
        self._asked = self._resumed = 0
        self._window = max(LEAST_IN_FLIGHT, SHARE_IN_FLIGHT * accepted, HASTE * accepted / span * round_trip)

    def goes_on(self, now: float) -> bool:
        """Whether what has closed is only a pause of the window, and an opening its continuation."""
        length = self._span if math.isnan(self._period) else self._period
        return self._left > UNSPENT * self._last and now < self._opened_at + OVER * length

    def resumed(self) -> None:
        """It went on."""
        self._resumed += 1
        self._proven = False

    def proven(self) -> None:
        """A request sent after the opening was accepted."""
        self._proven = True

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

    def next_probe(self, now: float, closed_for: float) -> float:
        """When to ask next; `math.nan` where the quota gives no reason for one time or another."""
        if self.goes_on(now):
            rest = EDGE * self._span * 2.0 ** (1 + self._resumed)
            return now + max(GAP_LEAST, rest, GAP_SHARE * closed_for)
        if math.isnan(self._period):
            return math.nan
        self._asked += 1
        edge = self._opened_at + self._period
        return max(edge - self._lead * self._period, now + max(EDGE * self._period, GAP_SHARE * (now - edge)))
