"""What a fleet's run has to do, as the engine's jobs: each covers some of its shards, and every shard has one.

The engine's table holds the jobs of open runs alone, and is brought in line with the ledger by the same few
statements whatever has happened: a run that was opened by a process that died before it made jobs gets them from
whoever looks next, and the last shard of a run ends it, whoever worked on it.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from procrastinate import sql
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Integer, MetaData, Table, Text, and_, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB

from worker.fleet.engine import TASK, Job, queue_of
from worker.fleet.groups import SizedShard, make_groups
from worker.ledger.mode import How, Mode
from worker.ledger.runs import RUN, end_execution
from worker.ledger.shards import has_open_rows
from worker.ledger.store import store_of
from worker.ledger.tables import runs, same_shard, shards
from worker.models import StopCause

if TYPE_CHECKING:
    from collections.abc import Sequence

    from procrastinate.manager import JobManager
    from sqlalchemy import Connection, Engine, Select

    from worker.ledger.runs import Run

__all__ = ["cancel", "defer_missing", "finish_runs", "is_fleets", "jobs_of", "put_off", "revive"]

_AT_ONCE: Final = 1_000


_table = Table(
    "procrastinate_jobs",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("task_name", Text),
    Column("args", JSONB),
    Column("status", Text),
    Column("scheduled_at", DateTime(timezone=True)),
    Column("queueing_lock", Text),
    Column("worker_id", BigInteger),
    Column("abort_requested", Boolean),
)
_status = cast(_table.c.status, Text)
_run_no = _table.c.args["run"].as_integer()
_is_ours = _table.c.task_name == TASK
# A job that was made before there were groups names its one shard.
_covered = func.jsonb_array_elements_text(
    func.coalesce(_table.c.args["shards"], func.jsonb_build_array(_table.c.args["shard"]))
).column_valued("covered", joins_implicitly=True)
_shard = cast(_covered, Integer).label("shard")
_unfolded: Final = select(_run_no.label("run_no"), _shard, _status.label("status")).select_from(_table)
_jobs: Final = _unfolded.where(_is_ours).subquery("jobs")
_with_job: Final = shards.outerjoin(_jobs, same_shard(_jobs, shards))
_MODES: Final = (Mode(How.FLEET, "allow"), Mode(How.FLEET, "refuse"))
_is_open: Final = and_(runs.c.kind == RUN, runs.c.mode.in_(_MODES), runs.c.state == "open")
_MISSING: Final = (
    select(runs.c.id, runs.c.endpoint, shards.c.run_no, shards.c.shard)
    .select_from(_with_job.join(runs, runs.c.run_no == shards.c.run_no))
    .where(_is_open, runs.c.stop_cause.is_(None), _jobs.c.status.is_(None))  # a cancelled one waits for `revive`
    .order_by(shards.c.run_no, shards.c.shard)
)
_DONE: Final = select(runs.c.run_no).where(
    _is_open,
    ~select(shards.c.shard)
    .select_from(_with_job)
    .where(shards.c.run_no == runs.c.run_no, _jobs.c.status.is_distinct_from("succeeded"))
    .correlate(runs)
    .exists(),
)
_ENDED: Final = ("succeeded", "failed", "cancelled", "aborted")
_of_gone: Final = and_(_is_ours, _status.in_(_ENDED), _run_no.not_in(select(runs.c.run_no).where(_is_open)))
"""Jobs that nobody will look at again: their run was taken over, or pruned."""


def is_fleets(run: Run) -> bool:
    """Whether workers of a fleet send it."""
    return run.kind == RUN and run.mode.how is How.FLEET


def jobs_of(run: Run) -> Select[Any]:
    """(run_no, shard, status, scheduled_at) by the run's jobs; a run that is done has none."""
    return _unfolded.add_columns(_table.c.scheduled_at).where(_is_ours, _run_no == run.run_no)


def defer_missing(engine: Engine, manager: JobManager) -> int:
    """Make the jobs that open runs lack, all at once; how many."""
    with engine.connect() as connection:
        if connection.execute(_MISSING).first() is None:
            return 0
    with engine.begin() as connection:
        store_of(connection.dialect).take_turns(connection)
        missing: dict[tuple[int, str, str], set[int]] = {}
        for row in connection.execute(_MISSING):
            missing.setdefault((row.run_no, row.id, row.endpoint), set()).add(row.shard)
        jobs = [
            _job(run, covered)
            for run, lacking in missing.items()
            for group in make_groups(_sizes(connection, run[0]))
            if (covered := [each for each in group if each.shard in lacking])
        ]
        for first in range(0, len(jobs), _AT_ONCE):
            manager.batch_defer_jobs(jobs[first : first + _AT_ONCE], connection=_driver(connection))
    return len(jobs)


def _sizes(connection: Connection, run_no: int) -> list[SizedShard]:
    found = connection.execute(
        select(shards.c.shard, shards.c.workspace_id, shards.c.rows)
        .where(shards.c.run_no == run_no)
        .order_by(shards.c.shard)
    )
    return [SizedShard(*row) for row in found]


def _job(run: tuple[int, str, str], covered: Sequence[SizedShard], *, not_before: datetime | None = None) -> Job:
    """One job for some shards of a run, which comes as its number, its id and its endpoint."""
    run_no, run_id, endpoint = run
    lock = None
    if len(covered) == 1:
        # Saves workers from finding out by the ledger that they have to wait for each other's shards of a workspace.
        lock = f"{endpoint} {covered[0].workspace_id or 'default'}"
    return Job(
        task_name=TASK,
        queue=queue_of(endpoint),
        lock=lock,
        queueing_lock=_queueing_lock(run_id, covered[0].shard),
        task_kwargs={"run": run_no, "shards": [each.shard for each in covered]},
        scheduled_at=not_before,
    )


def _queueing_lock(run_id: str, first: int) -> str:
    return f"{run_id} {first}"


def put_off(  # noqa: PLR0913 - whose job, and what becomes of it
    engine: Engine, manager: JobManager, job: Job, run: Run, numbers: Sequence[int], *, pause: float
) -> None:
    """Take shards out of a job under way and give them a job of their own, for whoever has time after `pause` seconds.

    So they neither hold up the others of their group nor wait for them. A job that is no longer this worker's, or is
    to be cancelled, stays as it is.
    """
    with engine.begin() as connection:
        store_of(connection.dialect).take_turns(connection)
        kept = connection.execute(
            _unfolded.where(
                _table.c.id == job.id,
                _status == "doing",
                _table.c.worker_id == job.worker_id,
                _table.c.abort_requested.is_(False),
            ).with_for_update(of=_table)
        )
        rest = [row.shard for row in kept if row.shard not in numbers]
        if not rest:
            return
        connection.execute(
            _table.update()
            .where(_table.c.id == job.id)
            .values(args={"run": run.run_no, "shards": rest}, queueing_lock=_queueing_lock(run.id, rest[0]))
        )
        sizes = {each.shard: each for each in _sizes(connection, run.run_no)}
        later = _job(
            (run.run_no, run.id, run.endpoint),
            [sizes[number] for number in numbers],
            not_before=datetime.now(UTC) + timedelta(seconds=pause),
        )
        manager.batch_defer_jobs([later], connection=_driver(connection))


def _driver(connection: Connection) -> Any:  # noqa: ANN401 - psycopg's connection
    return connection.connection.driver_connection


def finish_runs(engine: Engine) -> list[int]:
    """End the open runs whose every shard is done, and forget their jobs, and those of runs that are gone; numbers."""
    with engine.connect() as connection:
        done = connection.execute(_DONE).all()
        gone = connection.execute(select(_table.c.id).where(_of_gone).limit(1)).first()
    for row in done:
        _finish(engine, row.run_no)
    if gone is not None:
        with engine.begin() as connection:
            connection.execute(_table.delete().where(_of_gone))
    return [row.run_no for row in done]


def _finish(engine: Engine, run_no: int) -> None:
    """Once, whoever else tries; a run that has open rows after all gets new jobs instead."""
    is_done = not has_open_rows(engine, run_no)
    with engine.begin() as connection:
        store_of(connection.dialect).take_turns(connection)
        if not _is_still_open(connection, run_no):
            return
        _forget(connection, run_no, _ENDED)
        if is_done:  # in the same transaction, since an open run without jobs gets new ones
            _end(connection, run_no, finished=True)
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
        _end(connection, run.run_no, finished=False, cause=StopCause.CANCELLED.value, message=message)
    return len(numbers)


def _end(
    connection: Connection, run_no: int, *, finished: bool, cause: str | None = None, message: str | None = None
) -> None:
    """It has been sent since its first claim, or its revival, unless it was ended before and is no more."""
    now = time.time()
    began, ended = connection.execute(select(runs.c.started_at, runs.c.stop_cause).where(runs.c.run_no == run_no)).one()
    seconds = 0.0 if began is None or ended is not None else max(now - began, 0.0)
    end_execution(connection, run_no, finished=finished, cause=cause, message=message, seconds=seconds, now=now)


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
        connection.execute(
            runs.update()
            .where(runs.c.run_no == run.run_no, runs.c.stop_cause.is_not(None))
            .values(started_at=time.time(), stopped_at=None, stop_cause=None, stop_message=None)
        )


def _forget(connection: Connection, run_no: int, statuses: Sequence[str]) -> None:
    connection.execute(_table.delete().where(_is_ours, _run_no == run_no, _status.in_(statuses)))
