"""When a service is down, ask it seldom; when a lane fails too often, retry less.

`Breaker` belongs to an endpoint, `RetryBudget` to a lane. Both decide and never wait: every method takes
`now` in monotonic seconds. Source: DESIGN 7 and 11.9.
"""

from __future__ import annotations

import math
from collections import deque

__all__ = ["Breaker", "RetryBudget"]

OUTAGE_REPLIES = 10
"""So many replies make an outage tellable from a few unlucky rows."""
OUTAGE_WINDOW = 10.0
"""Seconds over which replies are judged together."""
OUTAGE_SHARE = 0.5
"""From this share of failures on, the service is held to be down."""
OUTAGE_SILENCE = 1.0
"""Seconds without a success after which a run of failures alone is an outage."""
PROBE_FIRST = 1.0
PROBE_LAST = 60.0
PROBE_SHARE = 0.1
"""An outage's end is noticed at most a tenth of its length late; doubling would waste up to a half."""
RESTART_IN_FLIGHT = 1.0
RESTART_GROWTH = 2.0
"""In flight after a probe's success, and what every further round of successes multiplies it with."""
RESTART_TRUSTED = 8.0
"""While fewer may be in flight, one failure opens the breaker again."""
RESTART_DONE = 256.0
"""Once so many may be in flight, the restart is over."""

RETRY_COST = 5
"""The budget counts fifths of a retry: a settled row earns one."""
BUDGET_START = 10 * RETRY_COST
"""Retries that are free at the start, and again after a pause."""
BUDGET_CAP = 100 * RETRY_COST
"""An hour of good service must not pay for a storm of retries."""


def probe_interval(down_for: float) -> float:
    """Seconds from one probe to the next, when the outage is `down_for` seconds old."""
    return min(max(PROBE_FIRST, PROBE_SHARE * down_for), PROBE_LAST)


class Breaker:
    """Tells whether an endpoint is up, and lets next to nothing through while it is not.

    Closed: everything may be sent. It opens when half of the last ten seconds' replies are failures, and
    sooner when ten in a row failed and nothing succeeded for a second: at a thousand replies a second the
    good ones of before would hide an outage for too long. Open: one probe at a time, 1 to 60 s apart. After
    the first success it restarts gently: one in flight, doubled each time that as many have succeeded, and
    open again at any failure of the first rounds; then closed.

    A failure is a connect error, a timeout or a 5xx. Every other reply is a success here, a 429 too: whoever
    refuses is alive.
    """

    __slots__ = (
        "_allowed",
        "_failed",
        "_in_a_row",
        "_next_probe",
        "_probing",
        "_slot_end",
        "_slots",
        "_succeeded",
        "_successes",
        "last_success",
        "open_since",
    )

    def __init__(self) -> None:
        self.open_since: float | None = None
        """Since when the endpoint has been down; None while it is up or restarting."""
        self.last_success: float | None = None
        """When the endpoint last answered; None if it never did."""
        # Replies of the last ten seconds as (end of the second, succeeded, failed); the present second apart.
        self._slots: deque[tuple[float, int, int]] = deque()
        self._slot_end = -math.inf
        self._succeeded = 0
        self._failed = 0
        self._in_a_row = 0
        self._next_probe = 0.0
        self._probing = False
        # In flight while restarting, and the successes of the present round; infinite when closed.
        self._allowed = math.inf
        self._successes = 0

    def wait(self, now: float, in_flight: int) -> float:
        """Whether one more request may go, with `in_flight` of them on their way to this endpoint.

        0.0: now. While the endpoint is down that grants the one probe, so ask this gate last. Positive:
        seconds until it is worth asking again. `math.inf`: not before a reply.
        """
        if self.open_since is not None:
            return self._wait_for_probe(now, in_flight, now - self.open_since)
        return 0.0 if in_flight < self._allowed else math.inf

    def succeeded(self, now: float) -> None:
        """The endpoint answered, whatever it said."""
        self.last_success = now
        self._in_a_row = 0
        if now >= self._slot_end:
            self._turn(now)
        self._succeeded += 1
        if self.open_since is not None:
            self._restart()
        elif self._allowed != math.inf:
            self._grow()

    def failed(self, now: float) -> None:
        """A connect error, a timeout or a 5xx."""
        self._probing = False
        if self.open_since is not None:
            return
        if now >= self._slot_end:
            self._turn(now)
        self._failed += 1
        self._in_a_row += 1
        if self._allowed < RESTART_TRUSTED or self._is_outage(now):
            self._open(now)

    def _wait_for_probe(self, now: float, in_flight: int, down_for: float) -> float:
        if now < self._next_probe:
            return self._next_probe - now
        if self._probing and in_flight > 0:
            return math.inf
        self._probing = True
        self._next_probe = now + probe_interval(down_for)
        return 0.0

    def _is_outage(self, now: float) -> bool:
        if self._in_a_row >= OUTAGE_REPLIES and (
            self.last_success is None or now - self.last_success >= OUTAGE_SILENCE
        ):
            return True
        succeeded = self._succeeded + sum(slot[1] for slot in self._slots)
        failed = self._failed + sum(slot[2] for slot in self._slots)
        replies = succeeded + failed
        return replies >= OUTAGE_REPLIES and failed >= OUTAGE_SHARE * replies

    def _turn(self, now: float) -> None:
        """Begin a new second."""
        if self._succeeded or self._failed:
            self._slots.append((self._slot_end, self._succeeded, self._failed))
        while self._slots and self._slots[0][0] <= now - OUTAGE_WINDOW:
            self._slots.popleft()
        self._succeeded = self._failed = 0
        self._slot_end = now + 1.0

    def _open(self, now: float) -> None:
        self.open_since = now
        self._next_probe = now + PROBE_FIRST
        self._allowed = math.inf

    def _restart(self) -> None:
        self.open_since = None
        self._probing = False
        self._allowed = RESTART_IN_FLIGHT
        self._successes = 0
        self._slots.clear()
        self._succeeded = self._failed = 0

    def _grow(self) -> None:
        self._successes += 1
        if self._successes >= self._allowed:
            self._successes = 0
            self._allowed *= RESTART_GROWTH
            if self._allowed > RESTART_DONE:
                self._allowed = math.inf


class RetryBudget:
    """Keeps one lane's retries at a fifth of its rows, plus a few; a 429 is no retry in this sense.

    An empty budget pauses the lane: one probe at a time, 1 s apart at first and up to 60 s. The first row
    that settles then refills it.
    """

    __slots__ = ("_fifths", "_interval", "_next_probe")

    def __init__(self) -> None:
        self._fifths = BUDGET_START
        self._interval = PROBE_FIRST
        self._next_probe = -math.inf

    @property
    def empty(self) -> bool:
        """Whether the lane is paused, but for the probes that `spend` grants."""
        return self._fifths < RETRY_COST

    def earn(self) -> None:
        """A row settled: the service works."""
        if self._fifths < RETRY_COST:
            self._fifths = BUDGET_START
            self._interval = PROBE_FIRST
            self._next_probe = -math.inf
        elif self._fifths < BUDGET_CAP:
            self._fifths += 1

    def spend(self, now: float) -> float:
        """0.0: one retry (or, where the budget is empty, one probe) may be sent now. Else seconds to wait."""
        if self._fifths >= RETRY_COST:
            self._fifths -= RETRY_COST
            if self._fifths < RETRY_COST:
                self._next_probe = now + self._interval
            return 0.0
        if now < self._next_probe:
            return self._next_probe - now
        self._interval = min(2.0 * self._interval, PROBE_LAST)
        self._next_probe = now + self._interval
        return 0.0
