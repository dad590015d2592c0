"""Rate limits on a clock that the caller brings: what is accepted, and when to come back.

All limiters see the rate as it is at the time of asking, so that steps of the limit need nothing further.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING, Protocol

from worker.simulator.settings import LimitKind, LimitScope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.simulator.settings import Limit

__all__ = ["Limiter", "Limits", "limiter"]

_EVERYBODY = ""


class Limiter(Protocol):
    """Counts the requests of those who share a limit. `age` is seconds since the start."""

    def take(self, age: float) -> float | None:
        """None: accepted. Else the seconds after which a request could be."""

    def release(self) -> None:
        """An accepted request has been served; only a cap on what is being served counts that."""
        return


class _Unlimited(Limiter):
    def take(self, age: float) -> float | None:
        del age
        return None


class _TokenBucket(Limiter):
    """Where rejects count they run up a debt, of one second's tokens at most."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._tokens = self._burst(limit.rate)
        self._at = 0.0

    def _burst(self, rate: float) -> float:
        return self._limit.burst if self._limit.burst is not None else max(1.0, rate)

    def take(self, age: float) -> float | None:
        rate = self._limit.rate_at(age)
        burst = self._burst(rate)
        if age > self._at:
            self._tokens = min(burst, self._tokens + (age - self._at) * rate)
            self._at = age
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return None
        if self._limit.counts_rejects:
            self._tokens = max(self._tokens - 1.0, -min(burst, rate))
        return (1.0 - self._tokens) / rate


class _FixedWindow(Limiter):
    """A quota for every window, counted from the start; it is full, so a reject can take nothing more."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._window = -1
        self._left = 0.0

    def take(self, age: float) -> float | None:
        length = self._limit.window
        window = math.floor(age / length)
        if window != self._window:
            self._window = window
            self._left = max(1.0, round(self._limit.rate_at(age) * length))
        if self._left >= 1.0:
            self._left -= 1.0
            return None
        return (window + 1) * length - age


class _SlidingWindow(Limiter):
    """A quota for the last `window` seconds; where rejects count, knocking keeps the door shut."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._seen: deque[float] = deque()

    def take(self, age: float) -> float | None:
        length, seen = self._limit.window, self._seen
        while seen and seen[0] <= age - length:
            seen.popleft()
        quota = max(1, round(self._limit.rate_at(age) * length))
        if len(seen) < quota:
            seen.append(age)
            return None
        if self._limit.counts_rejects:
            seen.append(age)
        return max(0.0, seen[len(seen) - quota] + length - age)


class _ConcurrencyCap(Limiter):
    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._busy = 0

    def take(self, age: float) -> float | None:
        del age
        if self._busy >= self._limit.concurrency:
            return 0.0
        self._busy += 1
        return None

    def release(self) -> None:
        self._busy -= 1


_KINDS: Mapping[LimitKind, type[_TokenBucket | _FixedWindow | _SlidingWindow | _ConcurrencyCap]] = {
    LimitKind.TOKEN_BUCKET: _TokenBucket,
    LimitKind.FIXED_WINDOW: _FixedWindow,
    LimitKind.SLIDING_WINDOW: _SlidingWindow,
    LimitKind.CONCURRENCY: _ConcurrencyCap,
}


def limiter(limit: Limit) -> Limiter:
    """A fresh counter for a limit."""
    kind = _KINDS.get(limit.kind)
    return _Unlimited() if kind is None else kind(limit)


class Limits:
    """Who is counted where: one limiter for all, or one a workspace, made when it is first seen."""

    def __init__(self, scope: LimitScope, general: Limit, own: Mapping[str, Limit]) -> None:
        self._scope = scope
        self._general = general
        self._own = own
        self._limiters: dict[str, tuple[Limit, Limiter]] = {}

    def of(self, workspace: str) -> tuple[Limit, Limiter]:
        """The limit that a workspace's requests are under, and its counter."""
        limit = self._own.get(workspace)
        if limit is None:
            limit = self._general
            if self._scope is LimitScope.GLOBAL:
                workspace = _EVERYBODY
        found = self._limiters.get(workspace)
        if found is None:
            found = self._limiters[workspace] = (limit, limiter(limit))
        return found
