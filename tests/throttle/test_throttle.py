"""The lane's gate, told every moment in time."""

from __future__ import annotations

import heapq
import math
import random
import sys
from collections import deque
from typing import TYPE_CHECKING

import pytest

from worker.throttle import Throttle
from worker.throttle.limit import Limit

if TYPE_CHECKING:
    from types import FrameType

CALLS_PER_ROW = 6
"""Python calls of wait, sent and completed together while no limit is in sight, with some left for rounds."""


def serve(throttle: Throttle, now: float, rows: int, round_trip: float = 0.01) -> float:
    """Send `rows` as fast as the throttle lets, each served after `round_trip`; returns the time at the end."""
    flying: list[float] = []
    while rows or flying:
        if rows:
            delay = throttle.wait(now, len(flying))
            if delay == 0.0:
                throttle.sent(now)
                flying.append(now)
                rows -= 1
                continue
        else:
            delay = math.inf
        due = flying[0] + round_trip if flying else math.inf
        if now + delay < due:
            now += delay
        else:
            now = due
            throttle.completed(now, flying.pop(0))
    return now


def test_it_starts_small_and_grows_to_the_bound() -> None:
    """A few in flight at first, then more each round trip, never more than allowed."""
    throttle = Throttle(max_in_flight=256)
    first = throttle.limit
    serve(throttle, 100.0, 20_000)
    assert first <= 16
    assert throttle.limit == 256
    assert not throttle.throttled
    assert throttle.rate is None


def test_round_trips_that_vary_little_let_it_grow_soon() -> None:
    """A step takes little more than one round trip where its first replies leave no doubt; a whole round takes two."""
    rng = random.Random(7)  # noqa: S311 - chance that must repeat
    throttle = Throttle(max_in_flight=256)
    due: list[tuple[float, float]] = []
    now = 100.0
    while throttle.limit < 256:
        while throttle.wait(now, len(due)) == 0.0:
            throttle.sent(now)
            heapq.heappush(due, (now + 0.1 * rng.uniform(0.95, 1.05), now))
        now, sent_at = heapq.heappop(due)
        throttle.completed(now, sent_at)
    assert now - 100.0 < 2.0


def test_a_window_at_its_bound_before_the_first_reply() -> None:
    """It grew in the dark, so no round trip without a queue is known, and there is nothing left to grow to."""
    throttle = Throttle(max_in_flight=32)
    ended = serve(throttle, 100.0, 320, round_trip=12.0)
    assert throttle.limit == 32
    assert ended - 100.0 < 13 * 12.0


@pytest.mark.parametrize("work", [40e-6, 80e-6, 120e-6])
def test_a_service_that_answers_at_once_keeps_a_core_busy(work: float) -> None:
    """Where the queue is this process's own, dozens are in flight: with fewer it would wait for the network."""
    throttle = Throttle(max_in_flight=256)
    flying: list[float] = []
    now = 100.0
    for _ in range(10_000):
        while throttle.wait(now, len(flying)) == 0.0:
            throttle.sent(now)
            flying.append(now)
            now += work / 2
        throttle.completed(now, flying.pop(0))
        now += work / 2
    assert 32 <= throttle.limit <= 128


def test_chance_does_not_end_the_growth() -> None:
    """Round trips that vary by half look longer now and then; a service without a limit is used all the same."""
    rng = random.Random(7)  # noqa: S311 - chance that must repeat
    throttle = Throttle(max_in_flight=256)
    due: list[tuple[float, float]] = []
    now = 100.0
    while now < 103.0:
        while throttle.wait(now, len(due)) == 0.0:
            throttle.sent(now)
            heapq.heappush(due, (now + 0.05 * rng.lognormvariate(-0.125, 0.5), now))
        now, sent_at = heapq.heappop(due)
        throttle.completed(now, sent_at)
    assert throttle.limit >= 200


@pytest.mark.parametrize("stall_at", [0.05, 0.08, 0.11, 0.14, 0.17, 0.2])
def test_a_stall_of_this_process_does_not_end_the_growth(stall_at: float) -> None:
    """All that is in flight is late by the same moment, which once is no sign of a queue at the service."""
    throttle = Throttle(max_in_flight=256)
    flying: deque[float] = deque()
    began = now = 100.0
    while now < began + 1.0:
        while throttle.wait(now, len(flying)) == 0.0:
            throttle.sent(now)
            flying.append(now)
        reply = flying[0] + 0.02
        stalled = began + stall_at <= reply < began + stall_at + 0.02
        now = max(now, began + stall_at + 0.02 if stalled else reply)
        throttle.completed(now, flying.popleft())
    assert throttle.limit == 256


@pytest.mark.parametrize("bound", [1, 3, 40])
def test_the_bound_on_what_is_in_flight_holds(bound: int) -> None:
    """A full window waits for a completion."""
    throttle = Throttle(max_in_flight=bound)
    serve(throttle, 100.0, 3000)
    assert throttle.limit == bound
    assert throttle.wait(1000.0, bound) == math.inf


def test_a_rate_bound_is_kept() -> None:
    """A thousand rows at a hundred a second take ten seconds, limit or not."""
    throttle = Throttle(max_in_flight=256, max_rate=100.0)
    assert serve(throttle, 100.0, 1000) - 100.0 == pytest.approx(10.0, rel=0.02)
    assert not throttle.throttled


def test_a_small_run_keeps_little_in_flight() -> None:
    """At most a twentieth of the rows, but thirty-two are always allowed."""
    throttle = Throttle(max_in_flight=256, rows=1000)
    serve(throttle, 100.0, 3000)
    assert throttle.limit <= 50


def test_the_first_429_throttles() -> None:
    """From then on there is a rate, and it is below the one before."""
    throttle = Throttle(max_in_flight=64)
    now = serve(throttle, 100.0, 5000)
    throttle.sent(now)
    throttle.limited(now + 0.01, now, None)
    assert throttle.throttled
    assert throttle.rate is not None
    assert throttle.rate < 64 / 0.01


@pytest.mark.parametrize("retry_after", [0.5, 1.0, 30.0, 500.0])
def test_a_retry_after_shuts_the_lane(retry_after: float) -> None:
    """Nothing may be sent before it ends, and something soon after."""
    throttle = Throttle(max_in_flight=64)
    now = serve(throttle, 100.0, 500)
    throttle.sent(now)
    throttle.limited(now + 0.01, now, retry_after)
    end = now + 0.01 + retry_after
    assert throttle.paused_until == pytest.approx(end)
    assert throttle.wait(now + 0.02, 0) >= retry_after - 0.02
    assert throttle.wait(end - 0.001, 0) > 0.0
    assert throttle.wait(end + 5.0, 0) == 0.0


@pytest.mark.parametrize(("retry_after", "part"), [(1.0, 1.0), (0.05, 0.8)])
def test_behind_a_gate_time_counts(retry_after: float, part: float) -> None:
    """A limiter forgets there too: the first request goes at its end, and caution is kept for what the gate left."""
    throttle = Throttle(max_in_flight=64)
    now, tokens, since_429, held = 100.0, 5.0, 0, 0
    while held < 4:
        wait = throttle.wait(now, 0)
        now += wait + 0.001
        tokens = min(5.0, tokens + 100.0 * (wait + 0.001))
        throttle.sent(now)
        if tokens >= 1.0:
            tokens -= 1.0
            since_429 += 1
            throttle.completed(now, now)
        else:
            held += since_429 > 50
            since_429 = 0
            throttle.limited(now, now, retry_after)
    now = throttle.paused_until
    assert throttle.wait(now, 0) == 0.0
    throttle.sent(now)
    assert throttle.rate is not None
    assert 1.0 / throttle.wait(now, 0) == pytest.approx(part * throttle.rate)


def test_the_longest_retry_after_counts() -> None:
    """A later, shorter one does not open the lane."""
    throttle = Throttle(max_in_flight=64)
    for sent_at in (100.0, 100.01):
        throttle.sent(sent_at)
    throttle.limited(100.1, 100.0, 10.0)
    throttle.limited(100.2, 100.01, 1.0)
    assert throttle.wait(105.0, 0) > 5.0


def test_what_else_holds_the_lane_does_not_raise_its_pace() -> None:
    """One of hundreds that waits for its turn, not for its pace, learns nothing of its limit by that."""
    throttle = Throttle(max_in_flight=64)
    now = serve(throttle, 100.0, 30, round_trip=0.5)
    throttle.sent(now)
    throttle.limited(now + 0.5, now, None)
    before = throttle.rate
    assert before is not None
    assert before > 5.0
    for _ in range(300):
        now += 1.0
        assert throttle.wait(now, 0) == 0.0
        throttle.sent(now)
        throttle.completed(now + 0.01, now)
    assert 1.0 / throttle.wait(now, 0) == pytest.approx(before, rel=0.1)


@pytest.mark.parametrize(("raised", "cap"), [(1.02, 1.0), (2.5, math.inf)])
def test_a_crowd_that_the_rate_does_not_explain_is_a_cap(raised: float, cap: float) -> None:
    """Two at once are rejected though the level was hardly left: a cap of one. At 2.5 times the rate they had to be."""
    limit, now = Limit(0.0, -0.01, 100.0, 50, -1.0), 0.0
    limit.round_trip = 0.01
    for _ in range(3):
        now += 10.0  # the echo of the last event is over
        limit.level.leave_to(100.0, 0.0)
        limit.level.hold_end = math.inf
        for _ in range(64):
            now += 0.01
            limit.sent(now, 1)
            limit.accepted(now + 0.008, now)
        limit.level.hold_end = now + 0.01 - 6.0 * math.sqrt(math.log2(raised))
        limit.sent(now + 0.01, 2)
        limit.rejected(now + 0.012, now + 0.01, now + 1.012, 1.0)
    assert limit.crowd.cap == cap


def test_a_lost_request_changes_nothing() -> None:
    """Timeouts and 5xx say nothing about the limit."""
    throttle = Throttle(max_in_flight=64)
    now = serve(throttle, 100.0, 500)
    before = throttle.limit
    for _ in range(50):
        throttle.sent(now)
        throttle.lost(now + 0.01, now)
    assert throttle.limit == before
    assert not throttle.throttled


def test_a_closed_limit_is_asked_by_one_request_at_a_time() -> None:
    """When everything is rejected, one probe goes, and the next only after its reply and a pause."""
    throttle = Throttle(max_in_flight=64)
    now = serve(throttle, 100.0, 500)
    for _ in range(4):
        now += throttle.wait(now, 0)
        throttle.sent(now)
        throttle.limited(now + 0.01, now, None)
        now += 0.01
    sends = 0
    for _ in range(200):
        delay = throttle.wait(now, 0)
        now += delay
        throttle.sent(now)
        sends += 1
        assert throttle.wait(now + 0.001, 1) > 0.0
        throttle.limited(now + 0.01, now, None)
        now += 0.01
        if now > 160.0:
            break
    assert now > 160.0
    assert sends < 60


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_back_the_lane_goes_on(seed: int) -> None:
    """Replies of every kind in any order: waits are sensible times, and some request may always be sent soon."""
    rng = random.Random(seed)  # noqa: S311 - chance that must repeat
    throttle = Throttle(max_in_flight=rng.choice([1, 4, 64]), rows=rng.choice([None, 10, 5000]))
    flying: list[float] = []
    now, gate, sends = 100.0, 0.0, 0
    for _ in range(5000):
        delay = throttle.wait(now, len(flying))
        assert delay >= 0.0
        if delay == 0.0:
            throttle.sent(now)
            flying.append(now)
            sends += 1
            now += rng.choice([0.0, 1e-6])
            continue
        assert delay < math.inf or flying
        if flying and (delay == math.inf or rng.random() < 0.7):
            now += rng.choice([0.0, 1e-4, 0.01, 1.0])
            sent_at = flying.pop(rng.randrange(len(flying)))
            kind = rng.random()
            if kind < 0.4:
                throttle.completed(now, sent_at)
            elif kind < 0.8:
                gate = rng.choice([None, 0.0, 1.0, 30.0]) or 0.0
                throttle.limited(now, sent_at, gate or None)
            else:
                throttle.lost(now, sent_at)
        else:
            assert delay <= 201.0
            now += delay
    assert sends > 500
    assert len(flying) <= 64


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_service_is_like_all_rows_get_through(seed: int) -> None:
    """Bounds of all sizes, round trips of a millisecond to twenty seconds, a few 429s and losses by chance."""
    rng = random.Random(seed)  # noqa: S311 - chance that must repeat
    throttle = Throttle(
        max_in_flight=rng.choice([1, 3, 9, 32, 256]),
        max_rate=rng.choice([None, 50.0]),
        rows=rng.choice([None, 20, 1000]),
    )
    trip, spread = 10.0 ** rng.uniform(-3.0, 1.3), rng.choice([0.0, 0.05, 0.5])
    limited, lost, retry_after = rng.choice([0.0, 0.1]), rng.choice([0.0, 0.1]), rng.choice([None, 0.3, 7.0])
    due: list[tuple[float, float]] = []
    now, rows = 100.0, 400
    while rows or due:
        delay = throttle.wait(now, len(due)) if rows else math.inf
        if delay == 0.0:
            throttle.sent(now)
            heapq.heappush(due, (now + trip * rng.lognormvariate(0.0, spread), now))
            rows -= 1
        elif due and due[0][0] <= now + delay:
            now, sent_at = heapq.heappop(due)
            kind = rng.random()
            if kind < limited:
                throttle.limited(now, sent_at, retry_after)
            elif kind < limited + lost:
                throttle.lost(now, sent_at)
            else:
                throttle.completed(now, sent_at)
                continue
            rows += 1
        else:
            assert delay < math.inf
            now += delay + 1e-6
    assert now < 100.0 + 400 * 60.0


def test_a_tiny_limit_is_met_with_patience() -> None:
    """Three requests a minute, whatever is tried between: all rows go, at not much less than that."""
    throttle = Throttle(max_in_flight=64, rows=30)
    now, done, rejected = 100.0, 0, 0
    flying: list[float] = []
    tokens, filled_at = 1.0, 100.0
    while done < 30:
        delay = throttle.wait(now, len(flying))
        if delay == 0.0:
            throttle.sent(now)
            flying.append(now)
            continue
        if flying:
            now += 0.05
            tokens, filled_at = min(1.0, tokens + (now - filled_at) / 20.0), now
            sent_at = flying.pop(0)
            if tokens >= 1.0:
                tokens -= 1.0
                done += 1
                throttle.completed(now, sent_at)
            else:
                rejected += 1
                throttle.limited(now, sent_at, None)
        else:
            now += delay
    assert now - 100.0 < 2.0 * 30 * 20.0
    assert rejected < 10 * 30


@pytest.mark.parametrize(("share", "least"), [(0.005, 900.0), (0.02, 700.0)])
def test_429s_by_chance_do_not_slow_the_lane(share: float, least: float) -> None:
    """A service that says no to one in fifty, whatever the rate, is still used at a good part of its 1 000/s."""
    rng = random.Random(3)  # noqa: S311 - chance that must repeat
    throttle = Throttle(max_in_flight=64, rows=None)
    due: list[tuple[float, float]] = []
    now, served = 100.0, 0
    while now < 140.0:
        delay = throttle.wait(now, len(due))
        if delay == 0.0:
            throttle.sent(now)
            heapq.heappush(due, (now + 0.064 * rng.lognormvariate(-0.02, 0.2), now))
        elif due and due[0][0] <= now + delay:
            now, sent_at = heapq.heappop(due)
            if rng.random() < share:
                throttle.limited(now, sent_at, None)
            else:
                served += 1
                throttle.completed(now, sent_at)
        else:
            now += delay
    assert served / 40.0 > least


def test_memory_stays_flat() -> None:
    """What is kept per request goes with its reply."""
    throttle = Throttle(max_in_flight=64)
    throttle.sent(100.0)
    throttle.limited(100.1, 100.0, None)
    serve(throttle, 200.0, 3000)
    assert throttle._limit is not None
    assert len(throttle._limit._flying) == 0


def test_the_quick_path_is_short() -> None:
    """While no limit is in sight a row costs a handful of calls."""
    throttle = Throttle(max_in_flight=64)
    now = serve(throttle, 100.0, 3000)
    calls = 0

    def count(frame: FrameType, event: str, arg: object) -> None:
        nonlocal calls
        del frame, arg
        calls += event == "call"

    sys.setprofile(count)
    try:
        for row in range(1000):
            at = now + row * 0.001
            throttle.wait(at, 3)
            throttle.sent(at)
            throttle.completed(at + 0.005, at)
    finally:
        sys.setprofile(None)
    assert calls / 1000 <= CALLS_PER_ROW
