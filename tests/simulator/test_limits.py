"""Rate limits: the counting on a clock of our own, the 429 on the wire."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from tests.simulator.calls import running
from worker.simulator import Limit, LimitKind, LimitStep
from worker.simulator.limits import limiter

NOW = 1_800_000_000.25


def accepted(limit: Limit, arrivals: list[float]) -> list[bool]:
    """Which arrivals pass."""
    counter = limiter(limit)
    return [counter.take(age) is None for age in arrivals]


def test_token_bucket() -> None:
    """A full bucket at once, then as it fills, and the wait is exact."""
    counter = limiter(Limit(kind=LimitKind.TOKEN_BUCKET, rate=10, burst=3))
    assert [counter.take(0.0) for _ in range(4)] == [None, None, None, pytest.approx(0.1)]
    assert counter.take(0.05) == pytest.approx(0.05)
    assert [counter.take(0.1) is None, counter.take(0.1) is None] == [True, False]
    assert [counter.take(100.0) is None for _ in range(4)] == [True, True, True, False]


def test_token_bucket_debt() -> None:
    """Where rejects count, they delay; a second's tokens is the most that they take."""
    counter = limiter(Limit(kind=LimitKind.TOKEN_BUCKET, rate=2, burst=1, counts_rejects=True))
    waits = [counter.take(0.0) for _ in range(5)]
    assert waits == [None, pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0)]


def test_fixed_window() -> None:
    """A quota a window; the wait ends with it."""
    counter = limiter(Limit(kind=LimitKind.FIXED_WINDOW, rate=1, window=2))
    assert [counter.take(1.5) for _ in range(3)] == [None, None, pytest.approx(0.5)]
    assert [counter.take(2.0) is None for _ in range(3)] == [True, True, False]


def test_sliding_window() -> None:
    """A quota in any two seconds; the wait ends when the oldest leaves."""
    counter = limiter(Limit(kind=LimitKind.SLIDING_WINDOW, rate=1, window=2))
    assert [counter.take(age) for age in (0.0, 1.5, 1.9)] == [None, None, pytest.approx(0.1)]
    assert counter.take(2.0) is None


def test_sliding_window_that_counts_rejects() -> None:
    """Knocking every tenth of a second keeps it shut; without counting it opens."""
    knocks = [number / 10 for number in range(40)]
    limit = Limit(kind=LimitKind.SLIDING_WINDOW, rate=1, window=1)
    assert sum(accepted(limit, knocks)) == 4
    assert sum(accepted(limit.model_copy(update={"counts_rejects": True}), knocks)) == 1


def test_concurrency_cap() -> None:
    """Only so many at once; a release makes room."""
    counter = limiter(Limit(kind=LimitKind.CONCURRENCY, concurrency=2))
    assert [counter.take(0.0) for _ in range(3)] == [None, None, 0.0]
    counter.release()
    assert counter.take(0.0) is None


@pytest.mark.parametrize("kind", [LimitKind.TOKEN_BUCKET, LimitKind.FIXED_WINDOW, LimitKind.SLIDING_WINDOW])
def test_steps_change_the_rate(kind: LimitKind) -> None:
    """From the step on, four times as many pass."""
    limit = Limit(kind=kind, rate=10, burst=1, steps=(LimitStep(at=10, rate=40),))
    passed = accepted(limit, [number / 200 for number in range(4000)])
    before, after = sum(passed[:2000]), sum(passed[2000:])
    assert before == pytest.approx(100, abs=10)
    assert after == pytest.approx(400, abs=41)


async def _limited(clock: float = NOW, **limit: Any) -> tuple[Any, dict[str, Any]]:
    """The first 429 under a limit of one, and its event."""
    settings = {"kind": "fixed_window", "rate": 0.1, "window": 10, **limit}
    async with running(clock=lambda: clock, limit=settings) as caller:
        assert (await caller.assign(1)).status == 200
        answer = await caller.assign(2)
        event = list(caller.server.events())[-1]
        assert [one["credential"] for one in caller.applied()] != [event["credential"]]
        return answer, event


async def test_retry_after_in_seconds() -> None:
    """Whole seconds, rounded up, the same as in the log; Seam's error shape."""
    answer, event = await _limited()
    assert (answer.status, answer.error) == (429, "rate_limit_exceeded")
    assert answer.headers["Retry-After"] == "10"
    assert (event["kind"], event["retry_after"]) == ("limited", 10.0)


async def test_retry_after_as_date() -> None:
    """An HTTP date not before the time that it takes."""
    answer, event = await _limited(retry_after="date")
    until = parsedate_to_datetime(answer.headers["Retry-After"]).timestamp()
    assert until == NOW + event["retry_after"]
    assert 10 <= event["retry_after"] < 11


async def test_retry_after_garbage_and_none() -> None:
    """Neither tells a time, and the log says so."""
    garbage, event = await _limited(retry_after="garbage")
    assert (garbage.headers["Retry-After"], event["retry_after"]) == ("in a little while", None)
    none, event = await _limited(retry_after="none")
    assert ("Retry-After" in none.headers, event["retry_after"]) == (False, None)


async def test_retry_after_of_ones_own_and_html() -> None:
    """The time may be a lie, and the page a proxy's."""
    answer, _ = await _limited(retry_after_seconds=900, html=True)
    assert (answer.headers["Retry-After"], "seam-request-id" in answer.headers) == ("900", False)
    assert answer.body.startswith(b"<!DOCTYPE html>")


@pytest.mark.parametrize(("scope", "second"), [("workspace", 200), ("global", 429)])
async def test_scope(scope: str, second: int) -> None:
    """A limit counts a workspace each, or all together."""
    access = {"api_keys": {"seam_other": "5eed0000-0000-4000-8000-000000000002"}}
    limit = {"kind": "fixed_window", "rate": 0.001, "window": 1000}
    async with running(clock=lambda: NOW, access=access, limit=limit, limit_scope=scope) as caller:
        assert (await caller.assign(1)).status == 200
        assert (await caller.assign(2, key="seam_other")).status == second


async def test_a_workspace_of_its_own_limit() -> None:
    """The override wins over the general limit."""
    limit = {"kind": "fixed_window", "rate": 0.001, "window": 1000}
    own = {"5eed0000-0000-4000-8000-000000000001": {"kind": "none"}}
    async with running(clock=lambda: NOW, limit=limit, workspace_limits=own) as caller:
        assert [(await caller.assign(number)).status for number in range(3)] == [200, 200, 200]


async def test_limit_changed_at_run_time() -> None:
    """A patch takes the limit away."""
    async with running(clock=lambda: NOW, limit={"kind": "fixed_window", "rate": 0.001, "window": 1000}) as caller:
        assert [(await caller.assign(number)).status for number in range(2)] == [200, 429]
        patched = await caller.control("settings", {"limit": {"kind": "none"}})
        assert patched.json["limit"]["kind"] == "none"
        assert (await caller.assign(3)).status == 200
