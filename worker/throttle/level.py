"""The rate that is held under a limit: how sure it is, how long it is kept, and what each 429 makes of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from worker.throttle import pace

if TYPE_CHECKING:
    from worker.throttle.pace import Seen

__all__ = ["Level"]

FIRST_CUT = 0.6
"""Of the rate delivered until the first 429."""
LEAST_RATE = 0.01
"""Requests/s: even a limit of some a minute is left room to be found again."""
MOVED_DOWN = 0.75
MOVED_UP = 1.5
"""A new level beyond these parts of the old one means that the limit itself moved."""
CEILING_PASSED = 1.5
"""A level that failed bounds the next ones, until so many times of it has been reached."""
NEAR_FLOOR = 1.08
"""A level no more than this above the last one that has held is that one."""
PER_429 = 0.97
"""What each 429 makes of a level that had been accepted, where it costs no more than itself. Of workers that
share a key the larger one is told no more often, so they come closer; in proportion they never would."""
MOST_CUT = 0.7
"""Of the level, at least, for all 429s that come at once."""
GUESSES = 4
"""Times running that a level was but a guess. The next one is held as if it were none, lest guesses too high and too
low alternate for ever."""
TRUST_LOST_AFTER = 3
"""Times running that a level failed early."""
FRESH_HOLD = 2.0
FRESH_HOLD_ROWS = 30.0
"""Seconds, or rows, at most on the first level that seems about right, where a 429 costs nothing but itself."""
EARLY_HOLD = 2.0
EARLY_HOLD_ROWS = 100.0
EARLY_HOLD_GATED = 8.0
"""Seconds (rows) at most on a level after one that failed early: it may be too low."""
SEARCH_HOLD_GATED = 1.0
SEARCH_HOLD_ROWS = 20.0
SEARCH_HOLD_MOST = 3.0
"""Seconds (where a 429 brings a gate) and rows on a level that is only a guess; no longer than the last, lest a
lane that was crowded out never asks for more."""
ECHO_CUT = 0.5
"""Of the level, where the echo of a 429 drowns what is accepted."""
KEPT_AT_OPENING = 0.85
"""Of a trusted level, at least, when the limit opens again."""
KEPT_IN_DOUBT = 0.7
"""The same of one that is only a guess."""
SATURATED = 0.5
"""Closed for more than this part of a cycle: the cycle shows the limit, and not our own pace."""
KEPT_SATURATED = 0.5
"""Of the level, at least, all the same: a lane may only be crowded out. Of a guess only where a 429 costs nothing but
itself."""


class Level:
    """A rate in requests/s and what is known of it."""

    __slots__ = (
        "_ceiling",
        "_early",
        "_echo_floor",
        "_floor",
        "_guesses",
        "_hold",
        "_searching",
        "hold_end",
        "rate",
        "trusted",
    )

    def __init__(self, now: float, delivered: float, least: float) -> None:
        self.rate = max(FIRST_CUT * delivered, least)
        self.trusted = False
        """Whether it is known to be about right."""
        self.hold_end = now
        """Until then it is kept; then it rises until the next 429."""
        self._searching = True
        self._hold = 0.0
        self._early = self._guesses = 0
        self._floor = 0.0
        self._ceiling = math.inf
        self._echo_floor = math.inf
        """Further 429s of an event lower the level no further than this."""

    def at(self, now: float, round_trip: float) -> float:
        """The rate to send at."""
        return pace.rate_at(self.rate, now - self.hold_end, searching=self._searching, round_trip=round_trip)

    def idled(self, now: float, seconds: float) -> None:
        """For so long, until now, something else than the pace held the lane: no time to have raised the rate in."""
        self.hold_end += max(0.0, min(seconds, now - self.hold_end))

    @property
    def unlucky(self) -> bool:
        """Whether it has failed early so often that the reason must be another one."""
        return self._early > TRUST_LOST_AFTER

    def met(self, *, early: bool) -> None:
        """The limit was met, `early` if within the hold."""
        self._early = self._early + 1 if early else 0

    def too_fast(self, rate: float, seen: Seen, rejected: int, gate: float) -> None:
        """It was met at `rate`, by `rejected` requests; a 429 shuts the lane for `gate` seconds, which may be 0."""
        early, before, fresh = bool(self._early), self.rate, not self.trusted
        telling = seen.accepted >= pace.TELLING
        if early:
            self._ceiling = before
        elif rate > CEILING_PASSED * self._ceiling:
            self._ceiling = math.inf
        high = min(rate, self._ceiling)
        self._echo_floor = math.inf
        if early and self.trusted and not seen.gated and not self.unlucky:
            found = before * max(PER_429**rejected, MOST_CUT)
            self._echo_floor = found * MOST_CUT
        elif early and self.trusted and seen.gated:
            found = self._halfway()
        else:
            found = pace.estimate(before, high, seen._replace(early=self._early, trusted=self.trusted))
        self.rate = max(LEAST_RATE, found)
        moved = not MOVED_DOWN * before < self.rate < MOVED_UP * before
        if early:
            # One 429 at a level that has held is bad luck; after some more it is no level to hold.
            self.trusted = self.trusted and (seen.gated or not self.unlucky)
        else:
            self._floor = before
            consistent = high < pace.DOUBTFUL * seen.accepted / seen.open_span
            self.trusted = telling and (consistent or not moved)
        self._guesses = 0 if self.trusted else self._guesses + 1
        if self._guesses > GUESSES and telling:
            self.trusted, self._guesses = True, 0
        self._keep(gate, moved=moved, fresh=fresh)

    def leave_to(self, rate: float, gate: float) -> None:
        """Something else than the rate is the limit: a `rate` that leaves it to that."""
        before, self.rate = self.rate, rate
        self.trusted = True
        self._keep(gate, moved=not MOVED_DOWN * before < rate < MOVED_UP * before)

    def echoed(self) -> None:
        """One more 429 of the same event."""
        if self.rate > self._echo_floor:
            self.rate *= PER_429

    def drowned(self) -> None:
        """A 429 costs a gate each, and more come than requests are accepted: better too low than one by one."""
        self.trusted = False
        self._searching = True
        self.rate *= ECHO_CUT
        self._hold = SEARCH_HOLD_GATED

    def reopened(self, accepted: int, span: float, closed: float, *, gated: bool) -> None:
        """The limit was closed for `closed` seconds of a `span` in which it accepted so many."""
        rate = accepted / span
        saturated = closed > SATURATED * span
        telling = accepted >= pace.TELLING
        if self.trusted:
            self.rate = max(rate, (KEPT_SATURATED if saturated and telling else KEPT_AT_OPENING) * self.rate)
            return
        found = max(rate, KEPT_IN_DOUBT * self.rate)
        if saturated:
            # Closed for the most part: what was accepted is all that the limiter lets through.
            found = math.sqrt(self.rate * rate) if gated else max(rate, KEPT_SATURATED * self.rate)
        self.rate = max(LEAST_RATE, min(self.rate, found))
        self._searching = gated or saturated or not telling
        if saturated and telling and not gated:
            self._hold = closed  # a window as short as that is seen whole before more is asked of it
        else:
            self._hold = 0.0 if self._searching else pace.HOLD_MOVED

    def guess(self, accepted: int, span: float) -> None:
        """Nothing is known but that so many were accepted in `span` seconds."""
        self.rate = max(LEAST_RATE, accepted / span)
        self.trusted = False
        self._searching = True
        self._hold = 0.0

    def hold_from(self, now: float) -> None:
        """Keep it for its time from `now` on."""
        self.hold_end = now + self._hold

    def hold_beyond(self, gate_end: float) -> None:
        """The lane is shut until then, which is no part of the hold."""
        self.hold_end = max(self.hold_end, gate_end + self._hold)

    def _keep(self, gate: float, *, moved: bool, fresh: bool = False) -> None:
        """How long from now on."""
        self._searching = not self.trusted
        if not self.trusted:
            rows = min(SEARCH_HOLD_ROWS / self.rate, SEARCH_HOLD_MOST)
            self._hold = max(SEARCH_HOLD_GATED, rows) if gate else rows
            return
        self._hold = pace.hold_for(self._hold, self.rate, gate, moved=moved)
        if fresh and not gate:
            self._hold = min(self._hold, max(FRESH_HOLD, FRESH_HOLD_ROWS / self.rate))
        if self._early:
            self._hold = min(self._hold, EARLY_HOLD_GATED if gate else max(EARLY_HOLD, EARLY_HOLD_ROWS / self.rate))

    def _halfway(self) -> float:
        """Back to the middle between a level that failed and what has held; where that was it, ever deeper."""
        if self.rate > NEAR_FLOOR * self._floor:
            return math.sqrt(self.rate * self._floor) if self._floor else pace.SEARCH_CUT * self.rate
        self._floor = self.rate * pace.EARLY_CUTS[min(self._early, len(pace.EARLY_CUTS)) - 1]
        return self._floor
