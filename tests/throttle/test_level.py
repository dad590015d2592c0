"""What a 429 makes of a level that had been accepted, and when it is held for chance; as tables."""

from __future__ import annotations

import math

import pytest

from worker.throttle.level import Level
from worker.throttle.pace import Seen
from worker.throttle.tally import Tally

FREE = Seen(accepted=1000, span=10.0, open_span=10.0, gated=False)
GATED = Seen(accepted=1000, span=10.0, open_span=9.0, gated=True)


def confirmed(seen: Seen, gate: float = 0.0) -> Level:
    """A level of some 100/s that was met twice after it had held."""
    level = Level(0.0, 100.0, 1.0)
    for _ in range(2):
        level.met(early=False)
        level.too_fast(103.0, seen, 1, gate)
    assert level.trusted
    return level


def test_the_first_level_that_seems_right_is_soon_tried() -> None:
    """Where a 429 costs nothing but itself: at five a second thirty rows, later a hundred."""
    level, seen = Level(0.0, 9.0, 1.0), Seen(accepted=50, span=10.0, open_span=10.0, gated=False)
    holds = []
    for _ in range(2):
        level.met(early=False)
        level.too_fast(5.2, seen, 1, 0.0)
        level.hold_from(0.0)
        holds.append(level.hold_end * level.rate)
    assert level.trusted
    assert holds == pytest.approx([30.0, 100.0])


def test_guesses_that_keep_missing_are_taken_at_their_word() -> None:
    """Ever too high after too low: the fifth running is held, and what is met next is measured against it."""
    level = Level(0.0, 100.0, 1.0)
    trusted = []
    for high in (300.0, 60.0, 300.0, 60.0, 300.0):
        level.met(early=False)
        level.too_fast(high, Seen(accepted=20, span=20.0, open_span=18.0, gated=True), 1, 1.0)
        trusted.append(level.trusted)
    assert trusted == [False, False, False, False, True]


@pytest.mark.parametrize(("rejected", "part"), [(1, 0.97), (3, 0.9127), (30, 0.7)])
def test_each_429_that_costs_nothing_else_takes_three_per_cent(rejected: int, part: float) -> None:
    """Whoever sends more is told no more often: so workers that share a key come closer."""
    level = confirmed(FREE)
    before = level.rate
    level.met(early=True)
    level.too_fast(before, FREE, rejected, 0.0)
    assert level.rate == pytest.approx(part * before, rel=1e-3)


def test_an_echo_takes_its_part_and_no_more() -> None:
    """Hundreds in flight that come back rejected at once are still one event."""
    level = confirmed(FREE)
    before = level.rate
    level.met(early=True)
    level.too_fast(before, FREE, 1, 0.0)
    level.echoed()
    assert level.rate == pytest.approx(0.97**2 * before)
    for _ in range(500):
        level.echoed()
    assert 0.6 * before < level.rate < 0.7 * before


def test_the_echo_of_a_probe_takes_nothing() -> None:
    """There the limit was sought, and the event itself has set the level."""
    level = confirmed(FREE)
    before = level.rate
    level.echoed()
    assert level.rate == before


def test_a_gated_level_that_fails_goes_halfway_back_to_what_has_held() -> None:
    """Between 100, which has held, and a higher one that has not: a second gate finds out more than a third part."""
    level = confirmed(GATED, 1.0)
    held = level.rate
    level.met(early=False)
    level.too_fast(1.4 * held, GATED, 1, 1.0)
    failed = level.rate
    assert failed > 1.1 * held
    level.met(early=True)
    level.too_fast(failed, GATED, 1, 1.0)
    assert level.rate == pytest.approx(math.sqrt(failed * held))


def test_a_gated_level_that_had_held_is_cut_ever_deeper() -> None:
    """Once may be bad luck; then the limit has fallen, and each further 429 costs a gate."""
    level = confirmed(GATED, 1.0)
    level.met(early=False)
    level.too_fast(1.01 * level.rate, GATED, 1, 1.0)
    parts = []
    for _ in range(5):
        before = level.rate
        level.met(early=True)
        level.too_fast(before, GATED, 1, 1.0)
        parts.append(level.rate / before)
    assert parts == pytest.approx([0.97, 0.9, 0.75, 0.6, 0.6])


@pytest.mark.parametrize(("gate", "longest"), [(0.0, 2.0), (1.0, 8.0)])
def test_a_level_that_failed_early_is_soon_tried_again(gate: float, longest: float) -> None:
    """It may be far too low: a worker that was crowded out must not stay so for half a minute."""
    seen = GATED if gate else FREE
    level = confirmed(seen, gate)
    level.met(early=True)
    level.too_fast(level.rate, seen, 1, gate)
    level.hold_from(1000.0)
    assert 0.0 < level.hold_end - 1000.0 <= longest


@pytest.mark.parametrize(
    ("yes", "no", "chance"),
    [(7, 1, False), (8, 1, True), (10, 2, False), (30, 2, True), (30, 3, False), (63, 3, True), (63, 5, False)],
)
def test_few_429s_are_chance(yes: int, no: int, *, chance: bool) -> None:
    """One is, once eight were accepted; then one in twenty-five of the last replies."""
    tally = Tally(0.0, 0, 0.0)
    for _ in range(yes):
        tally.said_yes()
    tally.no += no
    assert tally.chance(searching=False) == chance


def test_a_lane_that_knows_no_level_takes_more_for_chance() -> None:
    """It may be another worker's doing: whoever is crowded out must not cut at each."""
    tally = Tally(0.0, 0, 0.0)
    for _ in range(60):
        tally.said_yes()
    tally.no += 4
    assert tally.chance(searching=True)
    assert not tally.chance(searching=False)


def test_old_429s_are_forgotten() -> None:
    """What was rejected thousands of replies ago says nothing about now."""
    tally = Tally(0.0, 0, 0.0)
    tally.no = 40
    for _ in range(1000):
        tally.said_yes()
    assert tally.no <= 1


@pytest.mark.parametrize(("closed", "gated", "rate"), [(1.0, False, 70.0), (8.0, False, 50.0), (8.0, True, 44.7)])
def test_a_limit_that_opens_again_tells_what_it_lets_through(closed: float, rate: float, *, gated: bool) -> None:
    """Closed for most of the time: half of what was tried, or what it accepted. Else no less than seven tenths."""
    level = Level(0.0, 100.0 / 0.6, 1.0)
    level.reopened(200, 10.0, closed, gated=gated)
    assert level.rate == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize(("accepted", "part"), [(1, 0.85), (40, 0.5)])
def test_a_confirmed_level_survives_a_closure(accepted: int, part: float) -> None:
    """A stop may be a sharing worker's making; what takes a telling number, and then closes, is a limit far below."""
    level = confirmed(FREE)
    before = level.rate
    level.reopened(accepted, 10.0, 9.0, gated=False)
    assert level.trusted
    assert level.rate == pytest.approx(part * before)


@pytest.mark.parametrize(("accepted", "gated", "hold"), [(200, False, 3.0), (200, True, 0.0), (4, False, 0.0)])
def test_a_window_that_was_spent_is_seen_whole_before_more_is_asked(accepted: int, hold: float, *, gated: bool) -> None:
    """Where the ramp began at its opening, each would be spent at a multiple of its rate."""
    level = Level(0.0, 100.0 / 0.6, 1.0)
    level.reopened(accepted, 4.0, 3.0, gated=gated)
    level.hold_from(0.0)
    assert level.hold_end == hold
