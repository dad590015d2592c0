"""A report, as runs give it."""

from __future__ import annotations

from typing import Any

from worker.models import Outcome
from worker.report import Failure, RunReport


def report(**changes: Any) -> RunReport:
    """A finished run of 1 000 rows with 13 failures, or what `changes` make of it."""
    told: dict[str, Any] = {
        "run_id": "20261124-035853-ab6e",
        "name": "residents.csv",
        "state": "finished",
        "rows": 1_000,
        "outcomes": {Outcome.ASSIGNED: 987, Outcome.FAILED: 13},
        "warnings": {},
        "failures": (Failure(Outcome.FAILED, "acs_user_not_found", 13, 76, "ACS user not found.", "look it up"),),
        "latency": None,
        "attempts": 1_000,
        "retried_rows": 0,
        "sending_seconds": 2.0,
        "rows_per_second": 500.0,
        "workspaces": (),
        "stops": (),
        "ledger": "assign-ledger.db",
        "results": "residents.results.csv",
        "exit_code": 1,
        "next_steps": ("13 rows need a look: column detail in residents.results.csv, says what to do",),
    }
    return RunReport(**told | changes)
