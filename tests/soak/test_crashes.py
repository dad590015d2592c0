"""The promise under kill -9, SIGTERM and deaths at every named step (a short soak; `scripts/soak` is the long one)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.kills import Tally, die_at_steps, kill_until_done, terminate_until_done
from worker.models import Step

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("step", list(Step))
def test_death_at_a_named_step(step: Step, tmp_path: Path) -> None:
    """Killed there twenty times, resumed each time: nothing lost, doubled or untrue."""
    tally = Tally()
    die_at_steps(tmp_path, tally, step, times=20, seed=11)
    assert tally.clean, tally.lines()
    assert tally.kills == 20, "the step was not reached each time"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(4))
def test_kill_at_random_moments(seed: int, tmp_path: Path) -> None:
    """Ten kills a run, over rows with every fault."""
    tally = Tally()
    kill_until_done(tmp_path, tally, kills=10, seed=seed)
    assert tally.clean, tally.lines()
    assert tally.kills > 0


@pytest.mark.timeout(300)
def test_termination_is_orderly(tmp_path: Path) -> None:
    """Ten SIGTERMs: each drains in time, exits with 143, and the run is resumed to its end."""
    tally = Tally()
    terminate_until_done(tmp_path, tally, terms=10, seed=21, rows=4000)
    assert tally.clean, tally.lines()
    assert tally.terms >= 3
