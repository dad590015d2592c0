"""A simulator, a folder and surroundings for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import _plain_surroundings
from tests.cli.service import Service, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["_plain_surroundings"]


@pytest.fixture(scope="package")
def running() -> Iterator[Service]:
    """One simulator for all tests here; each has jobs of its own."""
    with Service() as service:
        yield service


@pytest.fixture
def service(running: Service) -> Service:
    """The simulator, quick and without faults."""
    running.configure(latency={"median": 0.0}, world={"unknown_users": 0.0}, limit={"kind": "none"})
    running.configure(faults={"shares": {"http_503": 0.0, "never": 0.0}})
    wait_for(lambda: running.in_flight() == 0)
    return running


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each test in a folder of its own, with no collector named."""
    monkeypatch.chdir(tmp_path)
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
