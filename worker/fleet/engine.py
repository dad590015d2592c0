"""Procrastinate on the ledger's database: where its tables are, and a manager of jobs that knows whose a job is.

Its own words end a job without asking who has it. A worker that was taken for dead and wakes up would end the job
that another one works on; `OwnJobs` changes a job only for the worker that holds it.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING, Any, Final

from procrastinate import App, PsycopgConnector, sql
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.schema import SchemaManager
from sqlalchemy import event

from worker.ledger.postgres import CONNECT, SCHEMA
from worker.ledger.store import store_of
from worker.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from psycopg import AsyncConnection
    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = [
    "TASK",
    "Job",
    "OwnJobs",
    "install",
    "is_alive",
    "is_installed",
    "limit_idling",
    "make_app",
    "make_manager",
    "queue_of",
]

TASK: Final = "assign-worker.shard"
_CONNECTIONS: Final = 4

_IS_OURS: Final = (
    "SELECT abort_requested FROM procrastinate_jobs"
    " WHERE id = %(job)s AND status = 'doing' AND worker_id IS NOT DISTINCT FROM %(worker)s FOR UPDATE"
)
_AT_ONCE: Final = dict.fromkeys(("retry_at", "new_priority", "new_queue_name", "new_lock"))


def queue_of(endpoint: str) -> str:
    """The queue of one service: a worker takes only what is for the service that it was told, with its keys."""
    # Short, since PostgreSQL's channels have names of at most 63 bytes.
    return f"seam-{hashlib.sha256(endpoint.encode()).hexdigest()[:16]}"


class OwnJobs(JobManager):
    """Ends and reschedules a job only while the worker that was given it still has it.

    Args:
        connector: to the server.
        on_failure: told of what kept it from that: the job stays with its worker then, and so with nobody as long as
            that one lives.
    """

    def __init__(self, connector: PsycopgConnector, on_failure: Callable[[Exception], None] = lambda _: None) -> None:
        super().__init__(connector)
        self._on_failure = on_failure

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:  # noqa: FBT001 - the base's signature
        """`JobManager.finish_job`, for a job of ours; else nothing.

        One that was cancelled and is wanted again since is taken up once more.
        """
        await self._change(job, "finish_job", status=status.value, delete_job=delete_job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """`JobManager.retry_job`, for a job of ours; else nothing."""
        again = {"retry_at": retry_at, "new_priority": priority, "new_queue_name": queue, "new_lock": lock}
        await self._change(job, "retry_job", **again)

    async def _change(self, job: Job, query: str, **values: Any) -> None:  # noqa: ANN401 - of the driver
        try:
            await self._change_ours(job, query, values)
        except Exception as error:
            self._on_failure(error)
            raise

    async def _change_ours(self, job: Job, query: str, values: dict[str, Any]) -> None:
        connector = self.connector
        assert isinstance(connector, PsycopgConnector)  # noqa: S101 - made below
        async with connector.pool.connection() as connection:
            ours = await connection.execute(_IS_OURS, {"job": job.id, "worker": job.worker_id})
            found = await ours.fetchone()
            if found is None:
                get_logger().info("a job is no longer this worker's", job=job.id)
                return
            (is_cancelled,) = found
            if values.get("status") == Status.ABORTED.value and not is_cancelled:
                query, values = "retry_job", _AT_ONCE
            await connector.execute_query_all_async_with_connection(
                connection, query=sql.queries[query], job_id=job.id, **values
            )


def limit_idling(engine: Engine, seconds: float) -> None:
    """Have the server end a transaction that does nothing for so long: a frozen worker must not hold its locks."""

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _entry: ConnectionPoolEntry) -> None:  # noqa: ANN401 - of the driver
        connection.autocommit = True
        connection.execute(_idle_at_most(seconds))
        connection.autocommit = False

    engine.dispose()  # what is open was made without


def _idle_at_most(seconds: float) -> str:
    return f"SET idle_in_transaction_session_timeout TO {round(seconds * 1000)}"


def make_manager() -> JobManager:
    """What makes jobs on a connection that it is given, and needs none of its own."""
    return JobManager(PsycopgConnector())


def make_app(url: str, *, patience: float, on_failure: Callable[[Exception], None] = lambda _: None) -> App:
    """The engine on the ledger at this URL; to be opened by `open_async`.

    It waits `patience` seconds for a connection, since a server that is gone for longer ends the worker; and the
    server waits as long for it in mid-transaction. `on_failure` is as `OwnJobs` takes it.
    """
    # What its own failures come to is told by the worker, in a sentence.
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)

    async def configure(connection: AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)
        await connection.execute(f"SET search_path TO {SCHEMA}")
        await connection.execute(_idle_at_most(patience))
        await connection.set_autocommit(False)

    connector = PsycopgConnector(
        conninfo=url,
        min_size=1,
        max_size=_CONNECTIONS,
        timeout=patience,
        configure=configure,
        kwargs={**CONNECT, "application_name": "assign-worker fleet"},
    )
    app = App(connector=connector)
    app.job_manager = OwnJobs(connector, on_failure)
    return app


def is_installed(engine: Engine) -> bool:
    """Whether the ledger's schema holds the engine's tables."""
    with engine.connect() as connection:
        found = connection.exec_driver_sql(f"SELECT to_regclass('{SCHEMA}.procrastinate_jobs')")
        return found.scalar() is not None


def install(engine: Engine) -> bool:
    """Make the engine's tables beside the ledger's; False where they were there."""
    with engine.begin() as connection:
        store_of(connection.dialect).take_turns(connection)
        if is_installed(engine):
            return False
        driver: Any = connection.connection.driver_connection
        driver.execute(SchemaManager.get_schema())
    return True


async def is_alive(app: App, worker_id: int) -> bool:
    """Whether nobody has taken this worker for dead."""
    found = await app.connector.execute_query_one_async(
        "SELECT count(*) AS count FROM procrastinate_workers WHERE id = %(worker)s", worker=worker_id
    )
    return bool(found["count"])
