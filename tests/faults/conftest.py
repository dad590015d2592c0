"""One simulator in a process of its own for all tests of a worker; each test has rows of its own."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import pytest

from tests.faults.ground import Place
from tests.soak.ground import simulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.soak.ground import Server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running simulator."""
    with simulator(tmp_path_factory.mktemp("simulator"), {}) as running:
        yield running


@pytest.fixture
def place(tmp_path: Path, server: Server, request: pytest.FixtureRequest) -> Place:
    """Fifty rows, alike in no two tests, and a service that does nothing wrong yet."""
    return Place.make(tmp_path, server, seed=zlib.crc32(request.node.nodeid.encode()))


@pytest.fixture(autouse=True)
def _shorter_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff and probes at a tenth of their length: what they decide stays the same."""
    monkeypatch.setattr("worker.retry.BACKOFF_BASE", 0.05)
    monkeypatch.setattr("worker.breaker.PROBE_FIRST", 0.1)
