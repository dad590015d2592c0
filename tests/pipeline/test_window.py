"""The window that shards share."""

from __future__ import annotations

import pytest

from worker.window import LEAST_AHEAD, LEAST_EACH, Window


@pytest.mark.parametrize("shards", [1, 32, 62, 200, 1_000, 10_000])
def test_there_is_room_for_a_mark_in_every_shard(shards: int) -> None:
    """However many there are: one that has to wait for others' rows to settle sends in fits and starts."""
    window = Window(32, shards)
    assert LEAST_EACH <= window.each <= LEAST_AHEAD
    assert window.each * shards <= window.size


def test_few_shards_have_the_window_of_one() -> None:
    """Four times the requests in flight, and no less than 512."""
    assert [Window(concurrency, 3).size for concurrency in (1, 128, 1_000)] == [512, 512, 4_000]
