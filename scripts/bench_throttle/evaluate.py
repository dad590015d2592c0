"""Runs schemes through scenarios and measures what the bars are about."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

from bench_throttle.engine import PATIENCE, Client, Scheme, Simulation
from bench_throttle.limiters import Steps
from bench_throttle.rivals import AimdConcurrency, BotocoreAdaptive, FixedConcurrency, RclonePacer
from bench_throttle.scenarios import Scenario, draw, ideal_time
from bench_throttle.told import Told
from worker.throttle import Throttle

Maker = Callable[[Scenario], Scheme]

OURS = "throttle"
TOLD = "told at each 429"
"""No scheme, but what is left of the way to the ideal for one that need not estimate."""
SCHEMES: dict[str, Maker] = {
    "throttle": lambda s: Throttle(max_in_flight=s.max_in_flight, rows=s.rows),
    "botocore adaptive": lambda s: BotocoreAdaptive(s.max_in_flight),
    "AIMD concurrency": lambda s: AimdConcurrency(s.max_in_flight),
    "rclone pacer": lambda s: RclonePacer(s.max_in_flight),
    "fixed 16, backoff": lambda s: FixedConcurrency(s.max_in_flight, 16, s.seed),
    TOLD: Told,
}
LONG = (100.0, 140.0)
SHORT = (1.0, 9.0)
FULL_SHARE = 0.9
FAIR_TIME = 100.0
SETTLING_TIME = 20.0
"""Shares are taken after that, until `FAIR_TIME`."""


@dataclass(frozen=True)
class Outcome:
    """One scheme in one scenario."""

    seed: int
    kind: str
    over_ideal: float
    limited_share: float
    violations: int
    """Requests sent inside a Retry-After."""


@dataclass(frozen=True)
class Summary:
    """One scheme over many scenarios; times are in parts of the ideal, 429s in parts of the rows."""

    scenarios: int
    time_median: float
    time_p95: float
    time_worst: float
    limited_median: float
    limited_p95: float
    limited_worst: float
    violations: int


def play(scenario: Scenario, make: Maker, ideal: float) -> Outcome:
    """One client against one scenario."""
    client = Client(make(scenario), scenario.rows)
    Simulation(scenario, [client]).run(PATIENCE * ideal)
    return Outcome(
        scenario.seed,
        scenario.kind,
        min(client.finished / ideal, PATIENCE),
        client.limited / scenario.rows,
        client.violations,
    )


def play_all(seeds: Iterable[int], names: list[str], *, short: bool = False) -> dict[str, list[Outcome]]:
    """Every named scheme against every seed's scenario; short runs have neither steps nor outages."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in names}
    for seed in seeds:
        scenario = draw(seed, lasting=SHORT, steady=True) if short else draw(seed, lasting=LONG)
        ideal = ideal_time(scenario)
        for name in names:
            outcomes[name].append(play(scenario, SCHEMES[name], ideal))
    return outcomes


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie, of those that occur."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summarise(outcomes: list[Outcome]) -> Summary:
    """Median, 95th percentile and worst."""
    times = [outcome.over_ideal for outcome in outcomes]
    limited = [outcome.limited_share for outcome in outcomes]
    return Summary(
        scenarios=len(outcomes),
        time_median=statistics.median(times),
        time_p95=quantile(times, 0.95),
        time_worst=max(times),
        limited_median=statistics.median(limited),
        limited_p95=quantile(limited, 0.95),
        limited_worst=max(limited),
        violations=sum(outcome.violations for outcome in outcomes),
    )


def fair_share(seed: int, workers: int, make: Maker) -> float:
    """The smallest worker's part of its fair share, where `workers` share one key and do not talk.

    They start within the first seconds, and have more to do than there is time.
    """
    scenario = draw(seed, lasting=LONG, steady=True)
    plenty = scenario.rows * workers
    scenario = replace(scenario, rows=plenty)
    clients = [
        Client(make(scenario), plenty, starts=number * (1.0 + scenario.phase % 1.0)) for number in range(workers)
    ]
    simulation = Simulation(scenario, clients, record=True)
    simulation.run(FAIR_TIME)
    counts = [sum(at > SETTLING_TIME for at in client.done_at) for client in clients]
    return min(counts) * workers / max(sum(counts), 1)


def ramp_time(make: Maker, round_trip: float = 0.005, max_in_flight: int = 256) -> float:
    """Seconds until nine tenths of the full throughput, where there is no limit at all."""
    full = max_in_flight / round_trip
    scenario = _unlimited(round_trip, rows=int(2 * full), max_in_flight=max_in_flight)
    client = Client(make(scenario), scenario.rows)
    Simulation(scenario, [client], record=True).run(20.0)
    span = 0.02
    count = round(FULL_SHARE * full * span)
    for first, last in zip(client.done_at, client.done_at[count:], strict=False):
        if last - first <= span:
            return first
    return float("inf")


def push(make: Maker, seed: int) -> float:
    """The most in flight, in parts of what brings the full throughput, where a service only gets slower."""
    scenario = slow_service(seed)
    client = Client(make(scenario), scenario.rows)
    Simulation(scenario, [client]).run(60.0)
    return client.most_in_flight / (scenario.knee * scenario.round_trip / scenario.service)


def slow_service(seed: int) -> Scenario:
    """A service without a limit whose throughput is full from a knee of 4 to 100 in flight on."""
    drawn = draw(seed, steady=True)
    knee = 4 + seed * 7 % 97
    round_trip = min(drawn.round_trip, 0.5)
    rows = max(1000, round(15.0 * knee / round_trip))
    return replace(
        _unlimited(round_trip, rows=min(rows, 60_000), max_in_flight=256),
        seed=seed,
        knee=float(knee),
        spread=min(drawn.spread, 0.1),
    )


def _unlimited(round_trip: float, *, rows: int, max_in_flight: int) -> Scenario:
    return Scenario(
        seed=1,
        kind="none",
        rate=Steps(float("inf"), float("inf"), float("inf")),
        rows=rows,
        round_trip=round_trip,
        network=0.2 * round_trip,
        spread=0.0,
        max_in_flight=max_in_flight,
    )


def as_json(summary: Summary) -> dict[str, float]:
    """Rounded, for the report."""
    return {key: round(value, 4) for key, value in asdict(summary).items()}
