"""A retry and a verification under kill -9 at random moments (`scripts/soak --retries` is the long soak)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.soak.kills import Tally
from tests.soak.retries import retry_and_verify

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(300)
def test_a_killed_retry_goes_on(tmp_path: Path) -> None:
    """Six kills: what failed or was in doubt is settled, what was well is left alone; then it is verified likewise."""
    tally = Tally()
    retry_and_verify(tmp_path, tally, kills=6, seed=31, rows=600)
    assert tally.clean, tally.lines()
    assert tally.kills > 3
