"""A ledger to export from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from worker.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger, held by this process."""
    with Ledger(str(tmp_path / "ledger.db"), exclusive=True) as opened:
        yield opened
