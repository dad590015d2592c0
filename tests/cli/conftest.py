"""What the tests of the command line share."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of whoever runs the tests, and logging as it was afterwards."""
    for name in [name for name in os.environ if name.startswith(("SEAM_", "ASSIGN_WORKER_"))]:
        monkeypatch.delenv(name)
    # It cannot be undone, and the process here is the tests'.
    monkeypatch.setattr("worker.cli.loading.forbid_cores", lambda: None)
    root = logging.getLogger()
    handlers = list(root.handlers)
    yield
    for handler in set(root.handlers) - set(handlers):
        root.removeHandler(handler)
    structlog.reset_defaults()
