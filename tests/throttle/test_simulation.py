"""The throttle against some forty services on a virtual clock: `scripts/bench --throttle` in small.

The seeds are those of the evaluation, on which no constant was tuned. So few scenarios need slack beside what
the evaluation shows.
"""

from __future__ import annotations

import pytest
from bench_throttle import evaluate
from bench_throttle.engine import Client, Simulation
from bench_throttle.limiters import FixedWindow, SlidingWindow, Steps, TokenBucket
from bench_throttle.scenarios import EVALUATION_SEED, Scenario, draw, ideal_time

OURS = evaluate.SCHEMES[evaluate.OURS]
MOST_ROWS = 25_000
"""Larger runs would take the tests too long, and are easier."""


def small_scenarios(count: int) -> list[Scenario]:
    """The first long scenarios that are quick to play."""
    found: list[Scenario] = []
    seed = EVALUATION_SEED
    while len(found) < count:
        scenario = draw(seed, lasting=evaluate.LONG)
        if scenario.rows <= MOST_ROWS:
            found.append(scenario)
        seed += 1
    return found


@pytest.fixture(scope="module")
def summary() -> evaluate.Summary:
    """Forty long runs."""
    return evaluate.summarise([evaluate.play(one, OURS, ideal_time(one)) for one in small_scenarios(40)])


def test_runs_are_close_to_the_ideal(summary: evaluate.Summary) -> None:
    """Few per cent over what a client would need that knows the limit."""
    assert summary.time_median <= 1.15
    assert summary.time_p95 <= 1.8


def test_few_requests_are_rejected(summary: evaluate.Summary) -> None:
    """429s stay a small part of the rows."""
    assert summary.limited_median <= 0.03
    assert summary.limited_p95 <= 0.17
    assert summary.limited_worst <= 0.25


def test_nothing_is_sent_inside_a_retry_after(summary: evaluate.Summary) -> None:
    """The gate holds for every request, in every scenario."""
    assert summary.violations == 0


def test_without_a_limit_the_lane_is_at_full_speed_within_a_second() -> None:
    """Nine tenths of 256 in flight at 5 ms."""
    assert evaluate.ramp_time(OURS) < 1.0


@pytest.mark.parametrize("seed", [2, 9, 16])
def test_a_slowing_service_is_not_pushed(seed: int) -> None:
    """Not much more in flight than what brings its full throughput."""
    assert evaluate.push(OURS, EVALUATION_SEED + seed) <= 3.0


def test_two_workers_on_one_key_share_it() -> None:
    """They do not talk, and neither starves at a token bucket."""
    seed = next(s for s in range(EVALUATION_SEED, EVALUATION_SEED + 99) if draw(s, steady=True).kind == "bucket")
    assert evaluate.fair_share(seed, 2, OURS) >= 0.4


def test_a_short_outage_costs_little_more_than_itself() -> None:
    """The breaker finds the end of an outage soon."""
    scenario = next(one for one in small_scenarios(60) if one.outage is not None and one.kind != "cap")
    client = Client(OURS(scenario), scenario.rows)
    Simulation(scenario, [client]).run(20 * ideal_time(scenario))
    assert client.done == scenario.rows
    assert client.finished <= 1.6 * ideal_time(scenario)


def test_the_limiters_keep_their_limits() -> None:
    """Asked all the time, each lets its rate through, and its burst."""
    rate = Steps(10.0, 10.0, float("inf"))
    bucket = TokenBucket(rate, 20.0, rejects_count=False)
    fixed = FixedWindow(rate, 2.0, 0.0)
    sliding = SlidingWindow(rate, 2.0, rejects_count=False)
    for limiter, expected in ((bucket, 119), (fixed, 100), (sliding, 100)):
        accepted = sum(limiter.decide(number * 0.01) is None for number in range(1000))
        assert abs(accepted - expected) <= 1
