"""A write or a sync of the ledger's files fails: a clear end, nothing recorded lost, and the same command goes on.

The soak does it for every one of them (`scripts/soak --disk-faults`); here every third and every fifth.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.disk.shim import How, run_preloaded

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(400)  # dozens of runs, each in a process of its own
@pytest.mark.parametrize(("how", "step"), [(How.FAIL_ONCE, 3), (How.FAIL_ON, 5)])
def test_a_write_that_fails(how: How, step: int, shim: Path, tmp_path: Path) -> None:
    """Once, or from then on for good: exit 3 (2 while nothing was sent), and the run after it ends with the truth."""
    *problems, last = run_preloaded(
        shim, "tests.disk.preloaded", "failing", str(tmp_path / "runs"), how.name, str(step)
    )
    figures = json.loads(last)
    assert (problems, figures["problems"]) == ([], 0)
    assert figures["tried"] > 100 // step
    assert figures["exit 3"] > 0
    assert set(figures) <= {"tried", "problems", "exit 0", "exit 2", "exit 3"}
