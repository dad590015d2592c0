"""The pure decisions, as tables."""

from __future__ import annotations

import math

import pytest

from worker.throttle import pace
from worker.throttle.crowd import MEMORY, Crowd
from worker.throttle.pace import Seen
from worker.throttle.quota import Quota, probe_gap

HUNDRED = Seen(accepted=1000, span=10.0, open_span=10.0, gated=False, trusted=True)
"""A hundred a second, at a service without Retry-After."""


@pytest.mark.parametrize(
    ("age", "low", "high"), [(-5.0, 100.0, 100.0), (0.0, 100.0, 100.0), (1.0, 101.9, 102.0), (6.0, 200.0, 200.0)]
)
def test_the_level_is_held_and_then_left_ever_faster(age: float, low: float, high: float) -> None:
    """Level until the hold ends, two per cent more after a second, double after six."""
    rate = pace.rate_at(100.0, age, searching=False, round_trip=0.01)
    assert low <= rate <= high


def test_long_round_trips_ramp_slower() -> None:
    """A 429 comes a round trip late: what is sent until then must not be too much."""
    near = pace.rate_at(100.0, 2.0, searching=False, round_trip=0.01)
    far = pace.rate_at(100.0, 2.0, searching=False, round_trip=2.0)
    assert far < 1.02 * 100.0 < near


def test_a_search_ramps_faster() -> None:
    """Where the limit is unknown, the rate doubles within a second."""
    assert pace.rate_at(100.0, 0.7, searching=True, round_trip=0.01) == pytest.approx(200.0)


def test_a_confirmed_level_stays() -> None:
    """A 429 just above a level that was accepted puts the next one between the two."""
    level = pace.estimate(100.0, 105.0, HUNDRED)
    assert 100.0 < level < 105.0


def test_a_free_guess_leans_to_what_was_accepted() -> None:
    """Without gates a limiter that says no lets exactly its rate through."""
    level = pace.estimate(100.0, 400.0, HUNDRED._replace(trusted=False))
    assert level < 200.0


def test_a_gated_guess_leans_to_the_rate_of_the_429() -> None:
    """What a gate shut out was not accepted either."""
    level = pace.estimate(100.0, 400.0, HUNDRED._replace(trusted=False, gated=True))
    assert level > 200.0


def test_holds_grow_with_confirmation_and_with_the_price_of_a_429() -> None:
    """A free 429 may come every few seconds, one that shuts the lane for a second may not."""
    free = pace.hold_for(4.0, 100.0, 0.0, moved=False)
    holds = [pace.hold_for(hold, 100.0, 1.0, moved=False) for hold in (1.0, 4.0, 16.0, 30.0)]
    assert free == 4.0
    assert holds == [4.0, 16.0, 45.0, 45.0]
    assert pace.hold_for(30.0, 100.0, 1.0, moved=True) == 2.0


def test_few_rows_a_second_hold_longer() -> None:
    """At most one 429 in a hundred rows."""
    assert pace.hold_for(0.0, 5.0, 0.0, moved=False) == 20.0


@pytest.mark.parametrize(
    ("closed", "level", "accepted", "trusted", "gap"),
    [
        (0.0, 1000.0, 50, False, 0.1),
        (1.0, 1000.0, 50, False, 0.3),
        (50.0, 1000.0, 0, False, 15.0),
        (900.0, 1000.0, 50, False, 60.0),
        (0.0, 0.05, 50, False, 6.0),
        (0.0, 0.5, 50, True, 4.0),
        (0.0, 0.01, 50, True, 60.0),
        (50.0, 1000.0, 3200, False, 5.0),
        (50.0, 1000.0, 100_000, False, 2.5),
    ],
)
def test_closed_limits_are_probed_ever_more_seldom(
    closed: float, level: float, accepted: int, gap: float, *, trusted: bool
) -> None:
    """Three tenths of the time closed, less where many were accepted; as the level allows; at least once a minute."""
    assert probe_gap(closed, level, accepted, trusted=trusted) == pytest.approx(gap, rel=0.01)


def test_a_metis_blamed_only_if_rejections_meet_larger_ones() -> None:
    """Ten in flight always pass, eleven never do: a cap of ten."""
    crowd = Crowd()
    for _ in range(100):
        crowd.accepted(10)
    assert not crowd.blamed(11, probing=False, gated=False)
    for _ in range(6):
        crowd.rejected(11)
    assert crowd.blamed(11, probing=False, gated=False)
    assert crowd.cap == 10


def test_a_cap_that_failed_is_not_set_again_before_a_level_has_held() -> None:
    """Otherwise a bucket whose limit fell would be taken for one cap after the other."""
    crowd = Crowd()
    crowd.acquit()
    for _ in range(100):
        crowd.accepted(10)
    for _ in range(6):
        crowd.rejected(11)
    assert crowd.blamed(11, probing=False, gated=False)
    assert not crowd.blamed(2, probing=False, gated=False)
    assert crowd.cap == math.inf
    for _ in range(6):
        crowd.rejected(11)
    assert not crowd.blamed(11, probing=False, gated=False)
    assert crowd.blamed(11, probing=True, gated=False)


@pytest.mark.parametrize(
    ("gated", "met", "cap"),
    [
        pytest.param(True, 53, 50.0, id="what-held-is-right"),
        pytest.param(True, 80, 78.0, id="far-more-went-through"),
        pytest.param(False, 53, 51.0, id="a-429-is-cheap"),
    ],
)
def test_a_probe_of_the_cap_that_fails(met: int, cap: float, *, gated: bool) -> None:
    """Where a 429 shuts the lane, one that shows that what held is right is enough; the next would cost as much."""
    crowd = Crowd()
    for _ in range(6):
        crowd.rejected(51)
    assert crowd.blamed(51, probing=False, gated=gated)
    assert crowd.cap == 50.0
    assert crowd.blamed(met, probing=True, gated=gated)
    assert crowd.cap == cap


def test_a_limit_of_the_rate_is_not_blamed_on_the_crowd() -> None:
    """Rejections that meet crowds like those of the accepted are the rate's."""
    crowd = Crowd()
    for number in range(100):
        crowd.accepted(5 + number % 10)
        crowd.rejected(5 + number % 10)
    assert not crowd.blamed(9, probing=False, gated=False)


def test_a_quota_is_spent_and_then_probed_by_ones() -> None:
    """Fifty a window: some are kept for probes, and beyond them each step is awaited."""
    quota = Quota()
    quota.opened(100.0, 50, 10.0, 0.1)
    quota.proven()
    sent = 0
    while quota.allows(0):
        quota.spend()
        sent += 1
        if not quota.allows(1):
            break
    assert sent == 48
    assert quota.allows(0)
    quota.spend()
    assert not quota.allows(1)


def spent(*openings: float) -> Quota:
    """Fifty a window, which is used up; windows opened at these times."""
    quota = Quota()
    for at in openings:
        quota.opened(at, 50, 10.0, 0.1)
        for _ in range(48):
            quota.spend()
    return quota


def test_a_quota_learns_its_period() -> None:
    """Openings ten seconds apart: the next probes come a little before the next one, and near it as often."""
    quota = spent(100.0, 110.0)
    assert quota.next_probe(112.0, 1.0) == pytest.approx(119.7)
    assert quota.next_probe(119.8, 8.8) == pytest.approx(120.1)
    assert quota.next_probe(123.0, 12.0) == pytest.approx(123.9)


def test_a_first_probe_that_is_accepted_came_too_late() -> None:
    """The opening was before it: the next first probe goes twice as early, until one is rejected."""
    quota = spent(100.0, 110.0)
    leads = []
    for end in (120.0, 130.0, 140.0):
        leads.append(end - quota.next_probe(end - 5.0, 1.0))
        quota.opened(end, 50, 10.0, 0.1)
        for _ in range(48):
            quota.spend()
    quota.next_probe(145.0, 1.0)
    quota.next_probe(149.9, 1.0)
    quota.opened(150.0, 50, 10.0, 0.1)
    for _ in range(48):
        quota.spend()
    leads.append(160.0 - quota.next_probe(155.0, 1.0))
    assert leads == pytest.approx([0.3, 0.6, 1.2, 0.3])


def test_a_window_that_closes_too_early_goes_on() -> None:
    """With most of the quota left it is asked again soon, ever more seldom, and until its time is nearly over."""
    quota = spent(100.0)
    quota.opened(110.0, 50, 10.0, 0.1)
    quota.spend()
    assert quota.goes_on(111.0)
    gaps = []
    for _ in range(3):
        gaps.append(quota.next_probe(111.0, 0.0) - 111.0)
        quota.resumed()
    assert gaps == pytest.approx([0.6, 1.2, 2.4])
    assert not quota.goes_on(119.1)
    assert not spent(100.0, 110.0).goes_on(111.0)


def test_an_opening_is_proven_before_much_is_sent() -> None:
    """It may be for one request alone: until the next one is accepted an eighth is in flight."""
    quota = Quota()
    quota.opened(100.0, 1600, 10.0, 0.1)
    assert quota.window == 10
    quota.proven()
    assert quota.window == 80
    quota.resumed()
    assert quota.window == 10


def test_where_replies_stalled_a_cap_lets_the_rate_double_at_most() -> None:
    """By the round trip of before, what had piled up in flight would stand for hundreds of requests a second."""
    crowd = Crowd()
    for _ in range(MEMORY):
        crowd.accepted(1)
    for _ in range(4):
        crowd.rejected(9)
    assert crowd.blamed(9, probing=False, gated=False)
    assert crowd.rate(1.5, round_trip=0.02) == 3.0
    assert crowd.rate(1000.0, round_trip=0.02) == 1000.0
