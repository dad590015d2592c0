"""The rate over time after a 429, and what each 429 teaches about the limit. Pure functions.

A limiter of requests rejects without queueing, so the lane keeps a level just under the limit, holds it for a
while, and then ramps up ever faster until the next 429 shows where the limit is now.
"""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Seen", "estimate", "hold_for", "rate_at", "settle_for"]

TELLING = 8
"""Accepted requests from which on their rate says something about the limit."""

TELLING_EARLY = 30
"""The same where the level had held before."""

SETTLE_FACTOR = 0.8
"""Of the level, right after an event: what was sent too fast is still being held against us."""
SETTLE_TRIPS = 2.0
SETTLE_ROWS = 8.0
SETTLE_LEAST = 0.1
"""Seconds, round trips and rows for which 429s belong to the event that was answered already."""

CRUISE_RAMP = 6.0
CRUISE_TRIPS = 8.0
CRUISE_ROWS = 20.0
"""Seconds, round trips or rows until a cruise's ramp has doubled the rate: slow, as its 429s come a trip late."""
SEARCH_RAMP = 0.7
SEARCH_TRIPS = 1.5
SEARCH_ROWS = 10.0
SEARCH_SLOWEST = 4.0
SEARCH_ROWS_LEAST = 3.0
"""The same while the limit is unknown within a factor. Beyond so many seconds fewer rows do, lest a lane that
was crowded out hardly ever asks for more; but never less than the last."""

LEAN = 0.7
"""How far an estimate leans to the rate at which the 429 came (right where bursts are small), away from the
rate accepted on average (right where bursts are large, but too low where a gate shut the lane)."""
DOUBTFUL = 1.5
"""Where the two are further apart than this, the estimate is but a guess between them."""
LEAN_TRUSTED = 0.8
LEAN_GATED = 0.6
LEAN_FREE = 0.3
BELOW = 0.97
"""A new level, of the rate that was just too high."""
EARLY_CUTS = (0.97, 0.9, 0.75, 0.6)
"""Where a level that has held turns out too high, once may be bad luck: for the first time running, the second,
the third, and from the fourth on."""
SEARCH_CUT = 0.85
"""The same where no level has held before."""

HOLD_FREE = 4.0
HOLD_FREE_ROWS = 100.0
HOLD_FREE_MOST = 30.0
"""Seconds and rows on one level where a 429 costs nothing but itself: one row in a hundred; and at most."""
HOLD_MOVED = 2.0
"""Seconds on a level far from the one before."""
HOLD_STEP = 4.0
"""Each event that confirms a level lets it hold so much longer."""
HOLD_PER_GATE = 45.0
"""At most so many times the gate that a 429 brings: two per cent of the time behind gates."""


def rate_at(level: float, age: float, *, searching: bool, round_trip: float) -> float:
    """Requests/s, `age` seconds after the hold of `level` ended; `level` before that."""
    if age <= 0.0:
        return level
    if searching:
        rows = min(SEARCH_ROWS / level, max(SEARCH_SLOWEST, SEARCH_ROWS_LEAST / level))
        doubling = max(SEARCH_RAMP, SEARCH_TRIPS * round_trip, rows)
    else:
        doubling = max(CRUISE_RAMP, CRUISE_TRIPS * round_trip, CRUISE_ROWS / level)
    return level * math.exp2(min((age / doubling) ** 2, 60.0))


class Seen(NamedTuple):
    """What was seen from one event to the next."""

    accepted: int
    span: float
    """Seconds."""
    open_span: float
    """Seconds that no gate held the lane."""
    gated: bool
    """Whether this service sends a Retry-After."""
    early: int = 0
    """How many times running the 429 came before the level had held for its time."""
    trusted: bool = False
    """Whether the level before had been confirmed."""


def estimate(level: float, rate: float, seen: Seen) -> float:
    """The new level (requests/s) after a 429 at `rate`, the one before having been `level`."""
    low = seen.accepted / seen.span
    if not seen.early:
        high = BELOW * rate
    elif seen.trusted and seen.accepted < TELLING_EARLY:
        return EARLY_CUTS[-1] * level
    elif seen.accepted < TELLING:
        return SEARCH_CUT * level
    else:
        high = min(seen.accepted / seen.open_span, EARLY_CUTS[0] * level)
    if seen.trusted:
        lean = LEAN_TRUSTED if seen.gated else LEAN
    elif high > DOUBTFUL * low:
        lean = LEAN_GATED if seen.gated else LEAN_FREE
    else:
        lean = LEAN
    return float(low ** (1.0 - lean) * high**lean)


def hold_for(hold: float, level: float, gate: float, *, moved: bool) -> float:
    """Seconds for which to keep `level`, after `hold` for the one before; `gate` seconds is what a 429 costs."""
    if gate <= 0.0:
        return max(HOLD_MOVED if moved else HOLD_FREE, min(HOLD_FREE_ROWS / level, HOLD_FREE_MOST))
    if moved:
        return HOLD_MOVED
    return min(max(HOLD_STEP * hold, HOLD_MOVED), max(HOLD_FREE, HOLD_PER_GATE * gate))


def settle_for(level: float, round_trip: float) -> float:
    """Seconds after an event within which further 429s are its echo."""
    return max(SETTLE_LEAST, SETTLE_TRIPS * round_trip, SETTLE_ROWS / level)
