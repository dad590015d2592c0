# ruff: noqa: D102 - the methods are those of `engine.Scheme`, which says what they mean and are given
"""How near a lane could come that need not learn: at each 429 it is told the limit whole.

Until the first 429 it grows as ours does. From then on it counts along with the service and sends as soon as its
copy of the limiter has room, whatever the limit's make: bursts and long windows are spent to the last request. What
is left is what no estimate can save: Retry-After, the limit's moves, and 429s to look for them. That a limit has
risen it learns at the price of one request, paid every `LOOK` seconds in vain.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from bench_throttle.limiters import Steps
from worker.throttle.growth import Growth

if TYPE_CHECKING:
    from bench_throttle.limiters import Limiter
    from bench_throttle.scenarios import Scenario

__all__ = ["Told"]

LOOK = 30.0
"""Seconds between two looks for a limit that has risen."""
CARE = 0.985
"""Of the rate that it is told, is sent: requests overtake each other on the way."""
MEMORY = 61.0
"""Seconds of its own requests that a limiter may still hold against it."""
NAP = 0.002
"""Seconds until a full limiter is looked at again, at least."""


class Told:
    """One lane against a scenario that is open to it once a 429 has come."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._growth = Growth(scenario.max_in_flight, scenario.rows)
        self._half = scenario.network / 2
        self._sent: deque[tuple[float, float]] = deque()
        """(sent, arrived) of what was accepted, or may still be, and of rejects where they count."""
        self._limiter: Limiter | None = None
        self._rate = math.inf
        self._told_at = -math.inf
        self._look_at = math.inf
        self._paused_until = -math.inf

    # -- the scheme ---------------------------------------------------------------------------------------

    def wait(self, now: float, in_flight: int) -> float:
        if now < self._paused_until:
            return self._paused_until - now
        if self._limiter is None:
            return self._growth.held(now) if in_flight >= self._growth.window else 0.0
        if in_flight >= self._scenario.max_in_flight:
            return math.inf
        if now >= self._look_at:
            self._look(now)
            return 0.0
        if self._scenario.kind == "cap":
            return 0.0 if in_flight < round(self._rate * self._scenario.round_trip) else math.inf
        return 0.0 if self._limiter.room(now + self._half) >= 1.0 else max(NAP, 0.5 / self._rate)

    def sent(self, now: float) -> None:
        if not self._sent:
            self._growth.start(now)
        self._sent.append((now, now + self._half))
        while self._sent[0][0] < now - MEMORY:
            self._sent.popleft()
        if self._limiter is not None:
            self._limiter.decide(now + self._half)

    def completed(self, now: float, sent_at: float) -> None:
        self._growth.replied(now, sent_at)

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        self._growth.refused()
        self._paused_until = max(self._paused_until, now + (retry_after or 0.0))
        if not self._scenario.rejects_count:
            self._forget(sent_at)
        if sent_at > self._told_at:
            self._tell(now, full=True)

    def lost(self, now: float, sent_at: float) -> None:
        del now
        self._forget(sent_at)

    # -- what it is told ------------------------------------------------------------------------------------

    def _look(self, now: float) -> None:
        """Send one too many, unless the limit has risen."""
        if self._scenario.rate.value(now) > self._rate:
            self._tell(now, full=False)
        self._look_at = now + LOOK

    def _tell(self, now: float, *, full: bool) -> None:
        """The limit as it is now, with what it holds against this lane; `full`: it has just said no."""
        self._told_at = now
        self._look_at = max(now, self._paused_until) + LOOK
        self._rate = self._scenario.rate.value(now)
        steady = Steps(CARE * self._rate, CARE * self._rate, math.inf)
        self._limiter = replace(self._scenario, rate=steady).limiter()
        for _, arrived in self._sent:
            self._limiter.decide(arrived)
        if full and self._scenario.kind == "fixed":  # what its window had was settled when that began
            while self._limiter.decide(now) is None:
                pass

    def _forget(self, sent_at: float) -> None:
        for at, (sent, _) in enumerate(self._sent):
            if sent == sent_at:
                del self._sent[at]
                return
