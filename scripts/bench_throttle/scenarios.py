"""Seeded scenarios: a service, its limit and its moods. Tuning and evaluation take disjoint seeds."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any, Literal

from bench_throttle.limiters import (
    ConcurrencyCap,
    FixedWindow,
    Limiter,
    NoLimit,
    SlidingWindow,
    Steps,
    TokenBucket,
)

Kind = Literal["bucket", "fixed", "sliding", "cap", "none"]
RetryAfter = Literal["none", "seconds", "date", "garbage"]
Mood = Literal["5xx", "refused", "timeout"]

TUNING_SEED = 1_000_000
EVALUATION_SEED = 31_000_000
MAX_IN_FLIGHT = 256
RATES = (5.0, 2000.0)
ROUND_TRIPS = (0.005, 2.0)
HALF = 0.5
STEPS = 0.25
OUTAGES = 0.2
REJECTS_COUNT = 0.4
"""How many scenarios have which."""
LONGEST_NETWORK = 0.3
"""A longer round trip is the service's own time: no network is slower."""


@dataclass(frozen=True)
class Outage:
    """The service answers nothing but `mood` from `start` to `end`."""

    start: float
    end: float
    mood: Mood


@dataclass(frozen=True)
class Scenario:
    """One service and one amount of work; times in seconds, rates in requests/s."""

    seed: int
    kind: Kind
    rate: Steps
    rows: int
    round_trip: float
    network: float
    """The part of the round trip that is the network's, both ways; a 429 takes no more."""
    spread: float
    """Sigma of the service time's log-normal spread."""
    burst: float = 1.0
    window: float = 1.0
    phase: float = 0.0
    retry_after: RetryAfter = "none"
    rejects_count: bool = False
    outage: Outage | None = None
    knee: float = math.inf
    """From so many being served at once on, the service only gets slower."""
    max_in_flight: int = MAX_IN_FLIGHT

    def limiter(self) -> Limiter:
        """A fresh limiter of this scenario."""
        if self.kind == "bucket":
            return TokenBucket(self.rate, self.burst, rejects_count=self.rejects_count)
        if self.kind == "fixed":
            return FixedWindow(self.rate, self.window, self.phase)
        if self.kind == "sliding":
            return SlidingWindow(self.rate, self.window, rejects_count=self.rejects_count)
        if self.kind == "cap":
            return ConcurrencyCap(self.rate, self.round_trip)
        return NoLimit()

    @property
    def service(self) -> float:
        """Mean seconds that the service itself takes."""
        return self.round_trip - self.network


def log_uniform(rng: random.Random, low: float, high: float) -> float:
    """A value whose logarithm is uniform."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def draw(seed: int, *, lasting: tuple[float, float] = (100.0, 140.0), steady: bool = False) -> Scenario:
    """The scenario of `seed`, with work for `lasting` seconds; `steady` leaves out steps and outages."""
    rng = random.Random(seed)  # noqa: S311 - a simulation, and to be repeated
    while True:
        kind: Kind = rng.choices(("bucket", "fixed", "sliding", "cap"), (40, 20, 20, 20))[0]
        round_trip = log_uniform(rng, *ROUND_TRIPS)
        duration = rng.uniform(*lasting)
        rate = log_uniform(rng, *RATES)
        second = rate
        step_at = math.inf
        if not steady and rng.random() < STEPS:
            second = rate * 4 if rng.random() < HALF else rate / 4
            step_at = duration * rng.uniform(0.2, 0.7)
        # Beyond that our own bound on what is in flight is the limit, and no 429 is ever seen.
        if max(rate, second) * round_trip <= MAX_IN_FLIGHT and RATES[0] <= second <= RATES[1]:
            break
    network = min(round_trip * rng.uniform(0.1, 0.7), LONGEST_NETWORK)
    if kind == "cap":
        network = min(network, 0.3 * round_trip)
        # A cap is a whole number of places, and nobody knows that one is free before its reply has come: the
        # best rate is a place's round trip, not its service time.
        places = max(1, round(min(rate, second) * round_trip))
        ratio = max(rate, second) / min(rate, second)
        low = places / round_trip
        rate, second = (low if rate <= second else low * ratio), (low if second <= rate else low * ratio)
    steps = Steps(rate, second, step_at)
    outage = None
    if not steady and rng.random() < OUTAGES:
        length = log_uniform(rng, 1.0, 5.0) if rng.random() < HALF else log_uniform(rng, 15.0, 90.0)
        start = duration * rng.uniform(0.1, 0.8)
        outage = Outage(start, start + length, rng.choice(("5xx", "refused", "timeout")))
    window = rng.choices((1.0, rng.uniform(2.0, 5.0), 10.0, 60.0), (40, 15, 25, 20))[0]
    return Scenario(
        seed=seed,
        kind=kind,
        rate=steps,
        rows=max(10, round(steps.integral(duration))),
        round_trip=round_trip,
        network=network,
        spread=rng.choice((0.0, 0.1, 0.25, 0.5)),
        burst=log_uniform(rng, 1.0, 2.0 * rate),
        window=window,
        phase=rng.uniform(0.0, window),
        retry_after=rng.choices(("none", "seconds", "date", "garbage"), (30, 35, 20, 15))[0],
        rejects_count=rng.random() < REJECTS_COUNT,
        outage=outage,
    )


def plain(kind: Kind, rate: float, *, rows: int, step: tuple[float, float] | None = None, **rest: Any) -> Scenario:  # noqa: ANN401 - fields
    """A scenario that is not drawn: a limit of `rate`, which `step` (new rate, seconds) may change; no spread."""
    rates = Steps(rate, rate, math.inf) if step is None else Steps(rate, *step)
    return Scenario(seed=1, kind=kind, rate=rates, rows=rows, **({"spread": 0.0} | rest))


def ideal_time(scenario: Scenario) -> float:
    """Seconds that a client needs that knows everything: greedy, bounded by what may be in flight."""
    outage = scenario.outage
    gap = (outage.start, outage.end) if outage else (math.inf, math.inf)
    reach = scenario.max_in_flight / scenario.round_trip
    step = min(0.01, 0.2 * scenario.round_trip)
    if scenario.kind == "bucket":  # no longer than the smallest bucket takes to fill
        step = min(step, 0.5 * scenario.burst / max(scenario.rate.first, scenario.rate.second))
    limiter = scenario.limiter()
    done = 0.0
    credit = 1.0
    tokens = scenario.burst
    t = 0.0
    while done < scenario.rows:
        t += step
        # A bucket is taken for a fluid: what a request must wait for its last drop is no loss, as others follow.
        tokens = min(scenario.burst, tokens + scenario.rate.integral(t) - scenario.rate.integral(t - step))
        if gap[0] <= t < gap[1]:
            credit = 0.0
            continue
        if scenario.kind == "cap":
            done += step * min(scenario.rate.value(t), reach)
            continue
        credit = min(credit + reach * step, scenario.max_in_flight)
        if scenario.kind == "bucket":
            take = min(tokens, credit, scenario.rows - done)
            tokens -= take
        else:
            take = int(min(limiter.room(t), credit, scenario.rows - done))
            for _ in range(take):
                limiter.decide(t)
        credit -= take
        done += take
    return t + scenario.round_trip
