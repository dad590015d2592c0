"""How far a fleet's run is: by workspace, by worker, and what stands still."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Column, DateTime, MetaData, Table, extract, func, select

from worker.fleet.jobs import jobs_of
from worker.fleet.timing import Timing
from worker.ledger.holders import describe
from worker.ledger.store import store_of
from worker.ledger.tables import inputs, results, shards
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine

    from worker.ledger.runs import Run

__all__ = ["FleetStatus", "Place", "Standing", "WorkerStatus", "look"]

SPAN: Final = 60.0
"""Seconds over which the present rate is taken."""

_workers = Table(
    "procrastinate_workers",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("last_heartbeat", DateTime(timezone=True)),
)


class Standing(StrEnum):
    """How a shard stands."""

    DONE = "done"
    WORKING = "working"
    WAITING = "waiting"
    """For a worker, or for another shard of its workspace."""
    PUT_OFF = "put off"
    """A worker could not do it and said why in its log: no key, no service. It is tried again, anywhere."""
    ORPHANED = "orphaned"
    """Its worker gives no sign of life; others take it over when it counts as dead."""
    CANCELLED = "cancelled"


@dataclass
class Place:
    """One workspace."""

    workspace_id: str | None
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    shards: Counter[Standing] = field(default_factory=Counter)
    recent: int = 0
    """Rows that were settled in the last minute."""


@dataclass
class WorkerStatus:
    """One worker that holds shards of the run."""

    name: str
    shards: int = 0
    recent: int = 0
    """Rows of these shards that were settled in the last minute."""


@dataclass(frozen=True)
class FleetStatus:
    """A run as it is now."""

    run: Run
    places: tuple[Place, ...]
    workers: tuple[WorkerStatus, ...]
    workers_alive: int
    """All that gave a sign of life lately, whatever they work on."""

    @property
    def outcomes(self) -> Counter[Outcome]:
        """Rows by outcome; `pending` has no result yet."""
        return sum((place.outcomes for place in self.places), Counter())

    @property
    def rate(self) -> float:
        """Rows a second, over the last minute."""
        return sum(place.recent for place in self.places) / SPAN

    @property
    def seconds_left(self) -> float | None:
        """At the present rate; None where nothing moves, or nothing is left."""
        left = self.outcomes[Outcome.PENDING]
        return left / self.rate if left and self.rate else None

    def as_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return {
            "run_id": self.run.id,
            "state": self.run.state,
            "stop_cause": self.run.stop_cause,
            "rows": self.run.rows,
            "outcomes": _words(self.outcomes),
            "rows_per_second": round(self.rate, 2),
            "seconds_left": None if self.seconds_left is None else round(self.seconds_left),
            "workers_alive": self.workers_alive,
            "workers": [
                {"worker": worker.name, "shards": worker.shards, "rows_per_second": round(worker.recent / SPAN, 2)}
                for worker in self.workers
            ],
            "workspaces": [
                {
                    "workspace_id": place.workspace_id,
                    "outcomes": _words(place.outcomes),
                    "shards": _words(place.shards),
                    "rows_per_second": round(place.recent / SPAN, 2),
                }
                for place in self.places
            ],
        }


def _words(counts: Mapping[Any, int]) -> dict[str, int]:
    return {str(word): count for word, count in counts.items() if count}


def look(engine: Engine, run: Run, timing: Timing | None = None) -> FleetStatus:
    """Read how far a run of a fleet is. It counts all rows of the run, so it takes a while on a large one."""
    stale = (timing or Timing()).stale
    clock = store_of(engine.dialect).clock()
    counted = (
        select(
            inputs.c.shard,
            results.c.outcome,
            func.count().label("rows"),
            func.count().filter(results.c.finished_at > clock - SPAN).label("recent"),
        )
        .select_from(inputs.outerjoin(results, (results.c.run_no == inputs.c.run_no) & (results.c.row == inputs.c.row)))
        .where(inputs.c.run_no == run.run_no)
        .group_by(inputs.c.shard, results.c.outcome)
    )
    job = jobs_of(run).subquery()
    standing = (
        select(
            shards.c.shard,
            shards.c.workspace_id,
            shards.c.holder,
            (shards.c.lease_until > clock).label("is_held"),
            job.c.status,
            job.c.scheduled_at,
        )
        .select_from(shards.outerjoin(job, job.c.shard == shards.c.shard))
        .where(shards.c.run_no == run.run_no)
        .order_by(shards.c.shard)
    )
    age = clock - extract("epoch", _workers.c.last_heartbeat)
    with engine.connect() as connection:
        counts = connection.execute(counted).all()
        found = connection.execute(standing).all()
        alive = connection.execute(select(func.count()).select_from(_workers).where(age < stale)).scalar_one()
    places: dict[str | None, Place] = {}
    workers: dict[str, WorkerStatus] = {}
    place_of: dict[int | None, Place] = {}
    worker_of: dict[int | None, WorkerStatus] = {}
    for shard in found:
        place = place_of[shard.shard] = places.setdefault(shard.workspace_id, Place(shard.workspace_id))
        place.shards[_standing(run, shard)] += 1
        if shard.is_held:
            name = describe(shard.holder)
            worker = worker_of[shard.shard] = workers.setdefault(name, WorkerStatus(name))
            worker.shards += 1
    for count in counts:
        if count.shard is None and None not in place_of:
            place_of[None] = places.setdefault(None, Place(None))
        outcome = Outcome.PENDING if count.outcome is None else Outcome(count.outcome)
        place_of[count.shard].outcomes[outcome] += count.rows
        place_of[count.shard].recent += count.recent
        if count.shard in worker_of:
            worker_of[count.shard].recent += count.recent
    return FleetStatus(run, tuple(places.values()), tuple(workers.values()), alive)


def _standing(run: Run, shard: Any) -> Standing:  # noqa: ANN401 - a record of the query above
    if run.state == "finished" or shard.status == "succeeded":
        return Standing.DONE
    if shard.is_held:
        return Standing.WORKING
    if run.state == "superseded":
        return Standing.CANCELLED
    if shard.status == "doing":
        return Standing.ORPHANED
    if shard.status in {"cancelled", "aborted", "failed"}:
        return Standing.CANCELLED
    return Standing.PUT_OFF if shard.scheduled_at is not None else Standing.WAITING
