"""The throttle against some forty services on a virtual clock: `scripts/bench --throttle` in small.

The seeds are those of the tuning: a change that loses what was reached shows here, in seconds. What is reached
on services that nothing was tuned on, the bench tells. So few scenarios need a little slack.
"""

from __future__ import annotations

import statistics

import pytest
from bench_throttle import evaluate, losses
from bench_throttle.engine import Client, Simulation
from bench_throttle.limiters import FixedWindow, SlidingWindow, Steps, TokenBucket
from bench_throttle.scenarios import TUNING_SEED, Kind, RetryAfter, Scenario, draw, ideal_time, plain

OURS = evaluate.SCHEMES[evaluate.OURS]
MOST_ROWS = 12_000
"""Larger runs would take the tests too long, and are easier."""


def small_scenarios(count: int) -> list[Scenario]:
    """The first long scenarios that are quick to play."""
    found: list[Scenario] = []
    seed = TUNING_SEED
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
    assert summary.time_median <= 1.08
    assert summary.time_p95 <= 1.4
    assert summary.time_worst <= 1.5


def test_few_requests_are_rejected(summary: evaluate.Summary) -> None:
    """429s stay a small part of the rows."""
    assert summary.limited_median <= 0.04
    assert summary.limited_p95 <= 0.11
    assert summary.limited_worst <= 0.15


def test_nothing_is_sent_inside_a_retry_after(summary: evaluate.Summary) -> None:
    """The gate holds for every request, in every scenario."""
    assert summary.violations == 0


@pytest.mark.parametrize(
    ("scenario", "most"),
    [
        (plain("bucket", 100.0, rows=10_000, round_trip=0.05, network=0.01, burst=10.0), 1.03),
        (plain("bucket", 100.0, rows=10_000, round_trip=0.05, network=0.01, burst=10.0, retry_after="seconds"), 1.15),
        (plain("fixed", 100.0, rows=10_000, round_trip=0.05, network=0.01), 1.1),
        (plain("sliding", 100.0, rows=10_000, round_trip=0.05, network=0.01, window=2.0), 1.08),
        (
            plain("sliding", 150.0, rows=9_000, round_trip=0.25, network=0.1, spread=0.1, rejects_count=True),
            1.22,
        ),
        (plain("cap", 100.0, rows=10_000, round_trip=0.1, network=0.01, spread=0.2), 1.15),
        (plain("bucket", 50.0, rows=15_500, round_trip=0.05, network=0.01, burst=10.0, step=(200.0, 30.0)), 1.15),
    ],
    ids=[
        "bucket",
        "bucket with Retry-After",
        "fixed window",
        "sliding window",
        "sliding window that counts what it rejects",
        "at once",
        "a step up",
    ],
)
def test_each_kind_of_limit_is_found(scenario: Scenario, most: float) -> None:
    """A service of a hundred a second, of each kind."""
    outcome = evaluate.play(scenario, OURS, ideal_time(scenario))
    assert outcome.over_ideal <= most
    assert outcome.limited_share <= 0.1


def test_a_limit_of_one_a_second_is_not_asked_for_more_all_the_time() -> None:
    """As where each of many workspaces has its own: every step is one row, so that guesses are tried slowly."""
    scenarios = [
        plain("bucket", 1.0 + 0.025 * step, rows=400, round_trip=0.02, network=0.006, burst=5.0) for step in range(20)
    ]
    outcomes = evaluate.summarise([evaluate.play(each, OURS, ideal_time(each)) for each in scenarios])
    assert outcomes.time_worst <= 1.02
    assert outcomes.limited_median <= 0.2


@pytest.mark.parametrize("a_minute", [3.0, 12.0])
def test_a_limit_of_a_few_a_minute_is_asked_patiently(a_minute: float) -> None:
    """About one 429 for each row, where whoever asks ever sooner would meet three."""
    scenario = plain("bucket", a_minute / 60.0, rows=60, round_trip=0.1, network=0.05)
    outcome = evaluate.play(scenario, OURS, ideal_time(scenario))
    assert outcome.over_ideal <= 1.8
    assert outcome.limited_share <= 1.2


@pytest.mark.parametrize(("rate", "trip"), [(9.0, 0.035), (100.0, 0.235)])
def test_a_window_of_some_seconds_is_not_spent_at_its_opening(rate: float, trip: float) -> None:
    """Its end is no quota to wait for, and in every one of them a burst of 429s would tell nothing new."""
    scenario = plain("fixed", rate, rows=round(120 * rate), round_trip=trip, network=0.3 * trip, window=4.0)
    outcome = evaluate.play(scenario, OURS, ideal_time(scenario))
    assert outcome.over_ideal <= 1.1
    assert outcome.limited_share <= 0.15


@pytest.mark.parametrize(
    ("seed", "most"),
    [(796, 1.06), (592, 1.12), (743, 1.14), (641, 1.2)],
    ids=["opens for early probes", "closed for most of a minute", "found late", "guesses that alternate"],
)
def test_no_lane_is_caught_in_a_circle(seed: int, most: float) -> None:
    """Long windows without a Retry-After, and a bucket with one, which took 1.34, 1.22, 1.16 and 1.50 once."""
    scenario = draw(TUNING_SEED + seed, lasting=evaluate.LONG)
    outcome = evaluate.play(scenario, OURS, ideal_time(scenario))
    assert outcome.over_ideal <= most
    assert outcome.limited_share <= 0.06


@pytest.mark.parametrize("kind", ["bucket", "fixed", "sliding", "cap"])
def test_a_lane_that_is_told_the_limit_is_nearly_ideal(kind: Kind) -> None:
    """What ours is measured by, in the bench, is no straw man: all it loses is the one Retry-After."""
    scenario = plain(kind, 100.0, rows=10_000, round_trip=0.05, network=0.01, burst=10.0, retry_after="seconds")
    outcome = evaluate.play(scenario, evaluate.SCHEMES[evaluate.TOLD], ideal_time(scenario))
    assert 1.0 <= outcome.over_ideal <= 1.06
    assert outcome.limited_share <= 0.01


def test_the_ideal_spends_the_smallest_bucket() -> None:
    """A bucket of one that fills every millisecond lets 1 000/s through, and not one for each step of a clock."""
    scenario = plain("bucket", 1000.0, rows=5_000, round_trip=0.05, network=0.01)
    assert ideal_time(scenario) == pytest.approx(5.05, rel=0.01)


def test_without_a_limit_the_lane_is_at_full_speed_within_a_second() -> None:
    """Nine tenths of 256 in flight at 5 ms."""
    assert evaluate.ramp_time(OURS) < 1.0


@pytest.mark.parametrize("seed", [2, 9, 15, 16, 57])
def test_a_slowing_service_is_not_pushed(seed: int) -> None:
    """Not much more in flight than what brings its full throughput."""
    assert evaluate.push(OURS, TUNING_SEED + seed) <= 2.1


def test_two_workers_on_one_key_share_it() -> None:
    """They do not talk; the smaller one gets well over half of its fair share in most services, though not in all."""
    seeds = [seed for seed in range(TUNING_SEED, TUNING_SEED + 40) if draw(seed, steady=True).rate.first < 100.0]
    shares = [evaluate.fair_share(seed, 2, OURS) for seed in seeds[:15]]
    assert statistics.median(shares) >= 0.65


def test_a_short_outage_costs_little_more_than_itself() -> None:
    """The breaker finds the end of an outage soon."""
    scenario = next(one for one in small_scenarios(60) if one.outage is not None and one.kind != "cap")
    client = Client(OURS(scenario), scenario.rows)
    Simulation(scenario, [client]).run(20 * ideal_time(scenario))
    assert client.done == scenario.rows
    assert client.finished <= 1.6 * ideal_time(scenario)


@pytest.mark.parametrize("retry_after", ["none", "seconds"])
def test_the_time_that_is_lost_is_told_by_what_held_the_lane(retry_after: RetryAfter) -> None:
    """Where 429s shut the lane it is the gates, else never; what no reply accounts for is next to nothing."""
    scenario = plain("bucket", 100.0, rows=10_000, round_trip=0.05, network=0.01, burst=10.0, retry_after=retry_after)
    lost = losses.measure(scenario, "bucket")
    assert lost.over_ideal == evaluate.play(scenario, OURS, ideal_time(scenario)).over_ideal
    assert sum(lost.parts.values()) == pytest.approx(lost.over_ideal - 1.0)
    assert abs(lost.parts["start"]) < 0.01
    assert (max(lost.parts, key=lost.parts.__getitem__) == "gate") == (retry_after == "seconds")
    assert (lost.parts["gate"] > 0.03) == (retry_after == "seconds")


def test_the_limiters_keep_their_limits() -> None:
    """Asked all the time, each lets its rate through, and its burst."""
    rate = Steps(10.0, 10.0, float("inf"))
    bucket = TokenBucket(rate, 20.0, rejects_count=False)
    fixed = FixedWindow(rate, 2.0, 0.0)
    sliding = SlidingWindow(rate, 2.0, rejects_count=False)
    for limiter, expected in ((bucket, 119), (fixed, 100), (sliding, 100)):
        accepted = sum(limiter.decide(number * 0.01) is None for number in range(1000))
        assert abs(accepted - expected) <= 1


@pytest.mark.parametrize("rate", [10.0, 100.0, 1000.0])
def test_the_ideal_is_no_quicker_than_the_limit(rate: float) -> None:
    """Tokens that come in with every step of its clock are counted once."""
    scenario = plain("bucket", rate, rows=int(20 * rate), round_trip=0.05, network=0.01, burst=1.0)
    assert ideal_time(scenario) >= 19.9
