"""What the tests of the fleet share."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
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
CROWD = 60
"""Workspaces that have to share jobs."""


@pytest.fixture
def ground(tmp_path: Path, database: str) -> Iterator[FleetGround]:
    """Four workspaces with limits of their own, a service that resets some connections, and 120 rows for them."""
    faults = {"shares": {"reset_after": 0.01, "http_500": 0.01}}
    limit = {"kind": "token_bucket", "rate": 15, "burst": 5}
    with make_ground(tmp_path, database, WORKSPACES, rows=ROWS, limit=limit, faults=faults) as ground:
        yield ground


@pytest.fixture
def crowd(tmp_path: Path, database: str) -> Iterator[FleetGround]:
    """Sixty workspaces of 20 rows, of which the service takes two a second each."""
    limit = {"kind": "token_bucket", "rate": 2, "burst": 4}
    with make_ground(tmp_path, database, CROWD, rows=20, limit=limit) as ground:
        yield ground


@contextmanager
def make_ground(folder: Path, database: str, count: int, *, rows: int, **service: Any) -> Iterator[FleetGround]:
    """So many workspaces with so many rows each, at a service with these settings."""
    workspaces = [str(uuid.UUID(int=number)) for number in range(1, count + 1)]
    access = {
        "personal_access_tokens": {TOKEN: []},
        "api_keys": {f"seam_key_of_{number}": workspace for number, workspace in enumerate(workspaces)},
    }
    with simulator(folder, {"access": access, "latency": {"median": 0.02}, **service}) as server:
        ground = FleetGround(folder, server, database, workspaces)
        ground.rows = make_input(ground.jobs, workspaces, rows, seed=11)
        yield ground
