"""The shim, compiled once a test process; without a compiler its tests are skipped in sight."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.disk.shim import ABSENT, build

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled shim."""
    if ABSENT:
        pytest.skip(ABSENT)
    return build(tmp_path_factory.mktemp("shim"))
