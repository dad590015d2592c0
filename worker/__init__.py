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
    from worker.planning import PlanReport, make_plan
    from worker.report import RunReport
    from worker.retrying import retry_run
    from worker.undoing import UndoPlan, plan_undo, undo_run
    from worker.verifying import VerifyReport, verify_run

__all__ = [
    "AssignWorkerError",
    "Control",
    "Intent",
    "Outcome",
    "PlanReport",
    "Progress",
    "RunReport",
    "Settings",
    "UndoPlan",
    "VerifyReport",
    "load_settings",
    "make_plan",
    "plan_undo",
    "retry_run",
    "run_batch",
    "undo_run",
    "verify_run",
]

_HOME = {
    "AssignWorkerError": "worker.errors",
    "Control": "worker.control",
    "Intent": "worker.guards",
    "Outcome": "worker.models",
    "PlanReport": "worker.planning",
    "Progress": "worker.control",
    "RunReport": "worker.report",
    "Settings": "worker.config",
    "UndoPlan": "worker.undoing",
    "VerifyReport": "worker.verifying",
    "load_settings": "worker.config",
    "make_plan": "worker.planning",
    "plan_undo": "worker.undoing",
    "retry_run": "worker.retrying",
    "run_batch": "worker.batch",
    "undo_run": "worker.undoing",
    "verify_run": "worker.verifying",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
