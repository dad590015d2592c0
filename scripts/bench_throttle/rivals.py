# ruff: noqa: D102, ARG002 - the methods are those of `engine.Scheme`, which says what they mean and are given
"""The schemes to beat, written from their published descriptions.

Each answers the calls of `engine.Scheme`. Where a scheme has a Retry-After, the lane obeys it, as ours does:
what is compared is how each one finds the limit.
"""

from __future__ import annotations

import math
import random

__all__ = ["AimdConcurrency", "BotocoreAdaptive", "FixedConcurrency", "RclonePacer"]


class _Gated:
    """What all of them share: a bound on what is in flight, and Retry-After."""

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self.paused_until = -math.inf

    def wait(self, now: float, in_flight: int) -> float:
        if now < self.paused_until:
            return self.paused_until - now
        return 0.0 if in_flight < self.max_in_flight else math.inf

    def sent(self, now: float) -> None:
        pass

    def completed(self, now: float, sent_at: float) -> None:
        pass

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        if retry_after is not None:
            self.paused_until = max(self.paused_until, now + retry_after)

    def lost(self, now: float, sent_at: float) -> None:
        pass


class BotocoreAdaptive(_Gated):
    """AWS's adaptive retry mode: a token bucket whose rate follows a cubic curve, cut to 0.7 by each throttle.

    The measured send rate is smoothed over half seconds; the new rate is at most twice the measured one. Only a
    throttled reply switches the bucket on.
    """

    BETA = 0.7
    SCALE = 0.4
    SMOOTH = 0.8
    MIN_RATE = 0.5

    def __init__(self, max_in_flight: int) -> None:
        super().__init__(max_in_flight)
        self.enabled = False
        self.fill_rate = self.MIN_RATE
        self.capacity = 1.0
        self.tokens = 0.0
        self.filled_at = 0.0
        self.last_max = 0.0
        self.last_throttle = 0.0
        self.window = 0.0
        self.measured = 0.0
        self.slot = 0.0
        self.count = 0

    def _fill(self, now: float) -> None:
        self.tokens = min(self.capacity, self.tokens + (now - self.filled_at) * self.fill_rate)
        self.filled_at = now

    def wait(self, now: float, in_flight: int) -> float:
        delay = super().wait(now, in_flight)
        if delay or not self.enabled:
            return delay
        self._fill(now)
        return 0.0 if self.tokens >= 1.0 - 1e-9 else (1.0 - self.tokens) / self.fill_rate

    def sent(self, now: float) -> None:
        if self.enabled:
            self.tokens -= 1.0

    def _measure(self, now: float) -> None:
        slot = math.floor(now * 2.0) / 2.0
        self.count += 1
        if slot > self.slot:
            rate = self.count / (slot - self.slot)
            self.measured = rate * self.SMOOTH + self.measured * (1.0 - self.SMOOTH)
            self.count = 0
            self.slot = slot

    def _update(self, now: float, rate: float) -> None:
        self._fill(now)
        self.fill_rate = max(min(rate, 2.0 * self.measured), self.MIN_RATE)
        self.capacity = max(self.fill_rate, 1.0)
        self.tokens = min(self.tokens, self.capacity)

    def completed(self, now: float, sent_at: float) -> None:
        del sent_at
        self._measure(now)
        age = now - self.last_throttle
        self._update(now, self.SCALE * (age - self.window) ** 3 + self.last_max)

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        super().limited(now, sent_at, retry_after)
        self._measure(now)
        rate = min(self.measured, self.fill_rate) if self.enabled else self.measured
        self.last_max = rate
        self.window = (rate * (1.0 - self.BETA) / self.SCALE) ** (1.0 / 3.0)
        self.last_throttle = now
        self.enabled = True
        self._update(now, rate * self.BETA)


class AimdConcurrency(_Gated):
    """One more in flight per round trip, half of it at a 429, at most once per round trip (TCP's Reno)."""

    def __init__(self, max_in_flight: int) -> None:
        super().__init__(max_in_flight)
        self.window = 4.0
        self.threshold = math.inf
        self.cut_at = -math.inf

    def wait(self, now: float, in_flight: int) -> float:
        delay = super().wait(now, in_flight)
        return delay or (0.0 if in_flight < self.window else math.inf)

    def completed(self, now: float, sent_at: float) -> None:
        del now, sent_at
        grown = self.window + (1.0 if self.window < self.threshold else 1.0 / self.window)
        self.window = min(grown, float(self.max_in_flight))

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        super().limited(now, sent_at, retry_after)
        if sent_at > self.cut_at:
            self.cut_at = now
            self.window = self.threshold = max(1.0, self.window / 2.0)


class RclonePacer(_Gated):
    """One call per sleep time, which doubles at a 429 and shrinks by a quarter at a success."""

    LEAST = 0.0005
    MOST = 2.0

    def __init__(self, max_in_flight: int) -> None:
        super().__init__(max_in_flight)
        self.sleep = 0.01
        self.next = -math.inf

    def wait(self, now: float, in_flight: int) -> float:
        delay = super().wait(now, in_flight)
        return delay or max(0.0, self.next - now)

    def sent(self, now: float) -> None:
        self.next = max(now, self.next) + self.sleep

    def completed(self, now: float, sent_at: float) -> None:
        del now, sent_at
        self.sleep = max(self.LEAST, self.sleep * 0.75)

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        super().limited(now, sent_at, retry_after)
        self.sleep = min(self.MOST, max(self.LEAST, self.sleep * 2.0))


class FixedConcurrency(_Gated):
    """So many workers, each backing off by itself: exponential with full jitter, as most scripts do it."""

    BASE = 0.1
    MOST = 20.0

    def __init__(self, max_in_flight: int, workers: int, seed: int) -> None:
        super().__init__(min(workers, max_in_flight))
        self.rng = random.Random(seed)  # noqa: S311 - a simulation, and to be repeated
        self.asleep: list[float] = []
        self.streak = 0

    def wait(self, now: float, in_flight: int) -> float:
        delay = super().wait(now, in_flight)
        if delay:
            return delay
        self.asleep = [until for until in self.asleep if until > now]
        if in_flight + len(self.asleep) < self.max_in_flight:
            return 0.0
        return min(self.asleep) - now

    def completed(self, now: float, sent_at: float) -> None:
        del now, sent_at
        self.streak = 0

    def limited(self, now: float, sent_at: float, retry_after: float | None) -> None:
        super().limited(now, sent_at, retry_after)
        self.streak += 1
        bound = min(self.MOST, self.BASE * 2.0 ** min(self.streak / self.max_in_flight, 12.0))
        self.asleep.append(now + self.rng.random() * bound)
