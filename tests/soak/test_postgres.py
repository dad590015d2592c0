"""The promise under kill -9 with the ledger on a PostgreSQL server, as `test_crashes` for a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.kills import Tally, die_at_steps, kill_until_done
from worker.models import Step

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import Server


@pytest.mark.parametrize("step", list(Step))
def test_death_at_a_named_step(step: Step, tmp_path: Path, postgres: Server) -> None:
    """Killed there four times, resumed each time at once: nothing lost, doubled or untrue."""
    tally = Tally()
    die_at_steps(tmp_path, tally, step, times=4, seed=12, new_database=lambda: postgres.url(postgres.new_database()))
    assert tally.clean, tally.lines()
    assert tally.kills == 4, "the step was not reached each time"


@pytest.mark.timeout(300)
def test_kill_at_random_moments(tmp_path: Path, database: str) -> None:
    """Ten kills of one run, over rows with every fault."""
    tally = Tally()
    kill_until_done(tmp_path, tally, kills=10, seed=5, database=database)
    assert tally.clean, tally.lines()
    assert tally.kills > 0
