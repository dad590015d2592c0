"""The breaker and the retry budget, told every moment in time."""

from __future__ import annotations

import math

import pytest

from worker.breaker import Breaker, RetryBudget, probe_interval


def broken(now: float = 100.0) -> Breaker:
    """A breaker that has just opened at `now`."""
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(now)
    return breaker


@pytest.mark.parametrize(("down_for", "interval"), [(0.0, 1.0), (10.0, 1.0), (100.0, 10.0), (3600.0, 60.0)])
def test_probes_are_a_tenth_of_the_outage_apart(down_for: float, interval: float) -> None:
    """Between 1 and 60 seconds."""
    assert probe_interval(down_for) == interval


def test_nine_failures_do_not_open() -> None:
    """Fewer than ten replies are no outage."""
    breaker = Breaker()
    for number in range(9):
        breaker.failed(100.0 + number)
    assert breaker.open_since is None
    assert breaker.wait(109.0, 3) == 0.0


def test_ten_failures_open() -> None:
    """Ten failures without a success are an outage."""
    assert broken().open_since == 100.0


@pytest.mark.parametrize(("good", "bad", "opens"), [(10, 10, True), (30, 10, False), (5, 5, True), (100, 30, False)])
def test_half_of_the_last_ten_seconds_opens(good: int, bad: int, *, opens: bool) -> None:
    """Ten or more replies within ten seconds, of which half failed."""
    breaker = Breaker()
    for number in range(good):
        breaker.succeeded(100.8 + number * 0.001)
    for number in range(bad):
        breaker.failed(101.0 + number * 0.001)
    assert (breaker.open_since is not None) == opens


def test_a_silent_second_of_failures_opens_however_good_it_was_before() -> None:
    """A thousand good replies do not hide an outage for ten seconds."""
    breaker = Breaker()
    for number in range(1000):
        breaker.succeeded(100.0 + number * 0.001)
    for number in range(12):
        breaker.failed(101.0 + number * 0.1)
    assert breaker.open_since is not None


def test_old_failures_are_forgotten() -> None:
    """Replies older than ten seconds count no more."""
    breaker = Breaker()
    for _ in range(6):
        breaker.failed(100.0)
    for number in range(3):
        breaker.succeeded(105.0 + number)
    for _ in range(4):
        breaker.failed(112.0)
    assert breaker.open_since is None


def test_one_probe_at_a_time() -> None:
    """While open, one request a second at most, and none while a probe is out."""
    breaker = broken(100.0)
    assert breaker.wait(100.5, 0) == pytest.approx(0.5)
    assert breaker.wait(101.0, 0) == 0.0
    assert breaker.wait(101.5, 1) > 0.0
    assert breaker.wait(102.5, 1) == math.inf
    breaker.failed(102.6)
    assert breaker.wait(102.6, 0) == 0.0


def test_probes_get_rarer() -> None:
    """An outage of half an hour is asked about forty to eighty times."""
    breaker = broken(0.0)
    now, probes = 0.0, 0
    while now < 1800.0:
        delay = breaker.wait(now, 0)
        if delay:
            now += delay
            continue
        probes += 1
        breaker.failed(now)
    assert 40 <= probes <= 80
    assert breaker.open_since == 0.0


def test_a_restart_is_gentle() -> None:
    """After a success one in flight, then two, four, eight; in the end any number."""
    breaker = broken(100.0)
    assert breaker.wait(101.0, 0) == 0.0
    breaker.succeeded(101.1)
    assert breaker.open_since is None
    allowed = []
    for round_ in range(10):
        most = next((n for n in range(600) if breaker.wait(102.0 + round_, n) == math.inf), 600)
        allowed.append(most)
        for _ in range(most):
            breaker.succeeded(102.0 + round_)
    assert allowed[:5] == [1, 2, 4, 8, 16]
    assert allowed[-1] == 600


def test_a_failure_early_in_the_restart_opens_again() -> None:
    """The first rounds are not trusted."""
    breaker = broken(100.0)
    breaker.wait(101.0, 0)
    breaker.succeeded(101.1)
    breaker.failed(101.2)
    assert breaker.open_since == 101.2
    assert breaker.last_success == 101.1


def test_the_budget_lets_ten_and_a_fifth_of_the_rows_through() -> None:
    """Ten retries are free, and every settled row earns a fifth of one."""
    budget = RetryBudget()
    for _ in range(50):
        budget.earn()
    granted = sum(budget.spend(100.0) == 0.0 for _ in range(40))
    assert granted == 20
    assert budget.empty


def test_the_budget_does_not_save_up_for_a_storm() -> None:
    """However many rows went well, a hundred retries are the most."""
    budget = RetryBudget()
    for _ in range(100_000):
        budget.earn()
    assert sum(budget.spend(5.0) == 0.0 for _ in range(1000)) <= 101


def test_an_empty_budget_probes_ever_more_seldom_and_a_success_refills_it() -> None:
    """1, 2, 4 … at most 60 seconds between probes; then ten retries again."""
    budget = RetryBudget()
    while not budget.empty:
        budget.spend(0.0)
    now, gaps = 0.0, []
    for _ in range(8):
        delay = budget.spend(now)
        assert delay > 0.0
        gaps.append(delay)
        now += delay
        assert budget.spend(now) == 0.0
    assert gaps == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    budget.earn()
    assert [budget.spend(now) for _ in range(9)] == [0.0] * 9
