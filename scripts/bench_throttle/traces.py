"""What one run does over time: what is sent and accepted a second, and what the limit allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from bench_throttle.engine import Client, Simulation
from bench_throttle.evaluate import OURS, SCHEMES
from bench_throttle.scenarios import plain

if TYPE_CHECKING:
    from bench_throttle.scenarios import Scenario

__all__ = ["Trace", "trace_all"]

STEP: Final = 1.0
"""Seconds that are counted together."""
SHOWN: Final = {
    "no Retry-After; the limit rises fourfold": plain(
        "bucket", 100.0, rows=20_000, round_trip=0.05, network=0.01, burst=20.0, spread=0.2, step=(400.0, 30.0)
    ),
    "Retry-After of whole seconds; the limit falls to a quarter": plain(
        "bucket",
        400.0,
        rows=21_000,
        round_trip=0.05,
        network=0.01,
        burst=20.0,
        spread=0.2,
        retry_after="seconds",
        step=(100.0, 40.0),
    ),
}


@dataclass(frozen=True)
class Trace:
    """One run, by seconds."""

    name: str
    limit: list[float]
    """Requests/s that the service lets through."""
    sent: list[int]
    accepted: list[int]


def trace(name: str, scenario: Scenario) -> Trace:
    """Play one scenario and count."""
    client = Client(SCHEMES[OURS](scenario), scenario.rows)
    Simulation(scenario, [client], record=True).run(200.0)
    seconds = int(client.finished / STEP)
    return Trace(
        name,
        [scenario.rate.value(second * STEP) for second in range(seconds)],
        _counts(client.sent_at, seconds),
        _counts(client.done_at, seconds),
    )


def trace_all() -> list[Trace]:
    """All that are shown."""
    return [trace(name, scenario) for name, scenario in SHOWN.items()]


def _counts(times: list[float], seconds: int) -> list[int]:
    counts = [0] * seconds
    for at in times:
        if at < seconds * STEP:
            counts[int(at / STEP)] += 1
    return counts
