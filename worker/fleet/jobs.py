"""What a fleet's run has to do, as the engine's jobs: one a shard.

The engine's table holds the jobs of open runs alone, and is brought in line with the ledger by the same few
statements whatever has happened: a run that was opened by a process that died before it made jobs gets them from
whoever looks next, and the last shard of a run ends it, whoever worked on it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from procrastinate import sql
from sqlalchemy import BigInteger, Boolean, Column, Integer, MetaData, Table, Text, and_, cast, select
from sqlalchemy.dialects.postgresql import JSONB

from worker.fleet.engine import TASK, Job, queue_of
from worker.ledger.claims import has_open_rows
from worker.ledger.runs import RUN, end_execution
from worker.ledger.store import store_of
from worker.ledger.tables import runs, shards
from worker.models import StopCause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate.manager import JobManager
    from sqlalchemy import Connection, Engine, Select

    from worker.ledger.runs import Run

__all__ = ["FLEET", "cancel", "defer_missing", "finish_runs", "is_fleets", "jobs_of", "revive"]

FLEET: Final = "fleet"
"""How `runs.mode` begins, of a run over many machines; a retry of one is a run of one process, as any."""
_AT_ONCE: Final = 1_000


_table = Table(
    "procrastinate_jobs",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("task_name", Text),
    Column("args", JSONB),
    Column("status", Text),
    Column("attempts", Integer),
    Column("abort_requested", Boolean),
)
_status = cast(_table.c.status, Text)
_run_no = _table.c.args["run"].as_integer()
_is_ours = _table.c.task_name == TASK
_jobs: Final = (
    select(_run_no.label("run_no"), _table.c.args["shard"].as_integer().label("shard"), _status.label("status"))
    .where(_is_ours)
    .subquery("jobs")
)
_with_job: Final = shards.outerjoin(_jobs, and_(_jobs.c.run_no == shards.c.run_no, _jobs.c.shard == shards.c.shard))
_is_open: Final = and_(runs.c.kind == RUN, runs.c.mode.startswith(f"{FLEET}:"), runs.c.state == "open")
_MISSING: Final = (
    select(runs.c.id, runs.c.endpoint, shards.c.run_no, shards.c.shard, shards.c.workspace_id)
    .select_from(_with_job.join(runs, runs.c.run_no == shards.c.run_no))
    .where(_is_open, _jobs.c.status.is_(None))
    .order_by(shards.c.run_no, shards.c.shard)
)
_DONE: Final = select(runs.c.run_no, runs.c.staged_at).where(
    _is_open,
    ~select(shards.c.shard)
    .select_from(_with_job)
    .where(shards.c.run_no == runs.c.run_no, _jobs.c.status.is_distinct_from("succeeded"))
    .correlate(runs)
    .exists(),
)
_ENDED: Final = ("succeeded", "failed", "cancelled", "aborted")


def is_fleets(run: Run) -> bool:
    """Whether workers of a fleet send it."""
    return run.kind == RUN and run.mode.startswith(f"{FLEET}:")


def jobs_of(run: Run) -> Select[Any]:
    """(shard, status, attempts) of the run's jobs; a run that is done has none."""
    shard = _table.c.args["shard"].as_integer().label("shard")
    return select(shard, _status.label("status"), _table.c.attempts).where(_is_ours, _run_no == run.run_no)


def defer_missing(engine: Engine, manager: JobManager) -> int:
    """Make the jobs that open runs lack, all at once; how many."""
    with engine.connect() as connection:
        if connection.execute(_MISSING).first() is None:
            return 0
    with engine.begin() as connection:
        store_of(connection.dialect).take_turns(connection)
        missing = connection.execute(_MISSING).all()
        for first in range(0, len(missing), _AT_ONCE):
            jobs = [_job(row) for row in missing[first : first + _AT_ONCE]]
            manager.batch_defer_jobs(jobs, connection=_driver(connection))
    return len(missing)


def _job(row: Any) -> Job:  # noqa: ANN401 - a record of `_MISSING`
    return Job(
        task_name=TASK,
        queue=queue_of(row.endpoint),
        # One workspace is in one place at a time, whatever run its shards belong to: so its limit is.
        lock=f"{row.endpoint} {row.workspace_id or 'default'}",
        queueing_lock=f"{row.id} {row.shard}",
        task_kwargs={"run": row.run_no, "shard": row.shard},
    )


def _driver(connection: Connection) -> Any:  # noqa: ANN401 - psycopg's connection
    return connection.connection.driver_connection


def finish_runs(engine: Engine) -> list[int]:
    """End the open runs whose every shard is done, and forget their jobs; their numbers."""
    with engine.connect() as connection:
        done = connection.execute(_DONE).all()
    for row in done:
        _finish(engine, row.run_no, time.time() - row.staged_at)
    return [row.run_no for row in done]


def _finish(engine: Engine, run_no: int, seconds: float) -> None:
    """Once, whoever else tries; a run that has open rows after all gets new jobs instead."""
    is_done = not has_open_rows(engine, run_no)
    with engine.begin() as connection:
        store_of(connection.dialect).take_turns(connection)
        if not _is_still_open(connection, run_no):
            return
        _forget(connection, run_no, _ENDED)
        if is_done:  # in the same transaction, since an open run without jobs gets new ones
            end_execution(connection, run_no, finished=True, cause=None, message=None, seconds=seconds, now=time.time())
    with engine.begin() as connection:
        store_of(connection.dialect).note_sizes(connection)


def _is_still_open(connection: Connection, run_no: int) -> bool:
    return connection.execute(select(runs.c.run_no).where(runs.c.run_no == run_no, _is_open)).first() is not None


def cancel(engine: Engine, run: Run, message: str) -> int:
    """Have no more of a run sent: waiting jobs go, jobs under way are told to drain; how many jobs that were.

    A run that has ended meanwhile stays as it is.
    """
    with engine.begin() as connection:
        store_of(connection.dialect).take_turns(connection)
        if not _is_still_open(connection, run.run_no):
            return 0
        under_way = connection.execute(
            select(_table.c.id).where(_is_ours, _run_no == run.run_no, _status.in_(["todo", "doing"]))
        )
        driver = _driver(connection)
        numbers = under_way.scalars().all()
        for number in numbers:
            driver.execute(sql.queries["cancel_job"], {"job_id": number, "abort": True, "delete_job": False})
        end_execution(
            connection,
            run.run_no,
            finished=False,
            cause=StopCause.CANCELLED.value,
            message=message,
            seconds=0.0,
            now=time.time(),
        )
    return len(numbers)


def revive(engine: Engine, run: Run) -> None:
    """Let a run that was cancelled get jobs again; what is done stays done.

    A job that still drains, or whose worker died meanwhile, is not to end as cancelled any more: see `OwnJobs`.
    """
    with engine.begin() as connection:
        store_of(connection.dialect).take_turns(connection)
        _forget(connection, run.run_no, ("failed", "cancelled", "aborted"))
        connection.execute(
            _table.update()
            .where(_is_ours, _run_no == run.run_no, _table.c.abort_requested)
            .values(abort_requested=False)
        )


def _forget(connection: Connection, run_no: int, statuses: Sequence[str]) -> None:
    connection.execute(_table.delete().where(_is_ours, _run_no == run_no, _status.in_(statuses)))
