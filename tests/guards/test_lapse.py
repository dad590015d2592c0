"""After another holder's lease ran out, its last requests are waited for before anything is read back."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from worker import Control, Settings
from worker.claim import Claim, OpenRow, ShardClaim
from worker.models import Job, UserKey
from worker.paths import Paths
from worker.sending import OpenRows
from worker.surroundings import Surroundings

OPEN = OpenRow(Job(9, 10, "c", UserKey.ACS_USER, "u"), maybe_applied=True, attempts=1)


class Waiting(Control):
    """Notes how long it is asked to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> bool:
        """Wait no time at all."""
        self.waits.append(seconds)
        return True


@pytest.mark.parametrize(
    ("settles_in", "carried", "waits"),
    [(0.0, (OPEN,), []), (25.0, (OPEN,), [25.0]), (25.0, (), [25.0])],
)
async def test_the_timeout_of_a_lapsed_holder(
    *, settles_in: float, carried: tuple[OpenRow, ...], waits: list[float]
) -> None:
    """Also where no row was carried over: the holder may have sent, in a run of its own, what is fresh in this one."""
    control = Waiting()
    paths = Paths(None, "ledger.db", Path("results.csv"))
    unused: Any = None
    run: Any = SimpleNamespace(rows=10)
    rows = OpenRows(
        unused,
        unused,
        run,
        Surroundings(Settings(), paths, control),
        before={None: Counter()},
        hold=unused,
    )
    claim = Claim(1, "r", (ShardClaim(0, None, 2, 9, 10, carried),), settles_in=settles_in)
    await rows._let_lapse(claim)
    assert control.waits == waits
