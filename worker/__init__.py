"""Assign thousands of Seam ACS credentials from a file: bounded, retried, resumable, recorded row by row.

    from worker import Settings, run_batch

    report = await run_batch("jobs.csv", Settings.from_options(api_key=key))
    print(report.exit_code, report.outcomes)

Everything here is loaded when it is first asked for, so that `assign-worker --version` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worker.batch import run_batch
    from worker.config import Settings, load_settings
    from worker.control import Control, Progress
    from worker.errors import AssignWorkerError
    from worker.guards import Intent
    from worker.models import Outcome
    from worker.report import RunReport
    from worker.retrying import retry_run

__all__ = [
    "AssignWorkerError",
    "Control",
    "Intent",
    "Outcome",
    "Progress",
    "RunReport",
    "Settings",
    "load_settings",
    "retry_run",
    "run_batch",
]

_HOME = {
    "AssignWorkerError": "worker.errors",
    "Control": "worker.control",
    "Intent": "worker.guards",
    "Outcome": "worker.models",
    "Progress": "worker.control",
    "RunReport": "worker.report",
    "Settings": "worker.config",
    "load_settings": "worker.config",
    "retry_run": "worker.retrying",
    "run_batch": "worker.batch",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
