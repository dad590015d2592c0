"""What the tests of the fleet share."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.conftest import _plain_surroundings  # noqa: F401 - a fixture for each test here too
from tests.fleet.ground import TOKEN, FleetGround, make_input
from tests.soak.ground import simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WORKSPACES = 4
ROWS = 30
"""In each."""


@pytest.fixture
def ground(tmp_path: Path, database: str) -> Iterator[FleetGround]:
    """Four workspaces with limits of their own, a service that resets some connections, and 120 rows for them."""
    workspaces = [str(uuid.UUID(int=number)) for number in range(1, WORKSPACES + 1)]
    settings: dict[str, Any] = {
        "access": {
            "personal_access_tokens": {TOKEN: []},
            "api_keys": {f"seam_key_of_{number}": workspace for number, workspace in enumerate(workspaces)},
        },
        "latency": {"median": 0.02},
        "limit": {"kind": "token_bucket", "rate": 15, "burst": 5},
        "faults": {"shares": {"reset_after": 0.01, "http_500": 0.01}},
    }
    with simulator(tmp_path, settings) as server:
        ground = FleetGround(tmp_path, server, database, workspaces)
        ground.rows = make_input(ground.jobs, workspaces, ROWS, seed=11)
        yield ground
