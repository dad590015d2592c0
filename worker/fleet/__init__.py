"""The same run over many machines (DESIGN 10): Procrastinate schedules, the ledger's fence decides.

    submit ──rows──> ledger <──jobs, for its shards──> worker, worker, worker ──> service

`submit` stages a file; `serving.FleetWorker` takes shards until it is stopped, and is imported from there since it
alone needs a client. Nothing that matters is in the engine's tables: they are made again from the ledger.
"""

from __future__ import annotations

from worker.fleet.engine import install, is_installed
from worker.fleet.jobs import cancel, is_fleets
from worker.fleet.submitting import Submitted, submit
from worker.fleet.timing import Timing

__all__ = ["Submitted", "Timing", "cancel", "install", "is_fleets", "is_installed", "submit"]
