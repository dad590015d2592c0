"""Ledgers on both stores: what is said of one is tested on the other too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers import Server, postgres_server
from worker.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for all tests of this process."""
    with postgres_server() as server:
        yield server


@pytest.fixture
def database(postgres: Server) -> Iterator[str]:
    """The URL of an empty database."""
    name = postgres.new_database()
    yield postgres.url(name)
    postgres.drop(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a ledger may be made, on each store in turn."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("database")
        return url
    return str(tmp_path / "ledger.db")


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An empty ledger, held by this process."""
    with Ledger(ledger_url, exclusive=True) as opened:
        yield opened
