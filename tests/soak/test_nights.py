"""A sync and its undo under kill -9 at random moments (a short soak; `scripts/soak --nights` is the long one)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.kills import Tally
from tests.soak.nights import move_and_undo

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(2))
def test_a_killed_night_can_be_undone(seed: int, tmp_path: Path) -> None:
    """Six kills each: every owner is restored, every previous owner recorded as it was, nothing sent again unread."""
    tally = Tally()
    move_and_undo(tmp_path, tally, kills=6, seed=seed)
    assert tally.clean, tally.lines()
    assert tally.kills > 0
