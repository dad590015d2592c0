"""A worker of the fleet: takes jobs from the engine, does them side by side, and looks after what others left.

Procrastinate's worker ──job──> Workshop ──shards──> Pipeline ──> service, ledger
housekeeping: the work of the dead, runs without jobs, runs that are done
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from procrastinate import RetryDecision
from procrastinate.exceptions import ConnectorException
from procrastinate.job_context import AbortReason, JobContext
from procrastinate.retry import BaseRetryStrategy
from procrastinate.worker import Worker
from psycopg import Error as PostgresError
from sqlalchemy.exc import DBAPIError, OperationalError

from worker.client import SeamClient
from worker.control import Control
from worker.errors import FenceLostError, LedgerError, LedgerHeldError, LedgerWriteError
from worker.fleet.engine import (
    TASK,
    install,
    is_alive,
    limit_idling,
    make_app,
    make_manager,
    queue_of,
)
from worker.fleet.jobs import defer_missing, finish_runs, put_off
from worker.fleet.timing import Timing
from worker.fleet.work import LaterError, Workshop
from worker.ledger import Ledger
from worker.ledger.store import store_of
from worker.logs import get_logger
from worker.models import Stop, StopCause

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from procrastinate import App
    from procrastinate.jobs import Job
    from sqlalchemy import Engine

    from worker.config import Settings
    from worker.ledger.runs import Run
    from worker.ports import AttemptObserver

__all__ = ["FleetWorker"]

_SOON: Final = 0.1
"""Seconds from the end of a job until it is entered."""
_DATABASE_ERRORS: Final = (ConnectorException, PostgresError, DBAPIError, LedgerError)


class _TakeAgain(BaseRetryStrategy):
    """Whatever a job did not end with, it is taken again: a shard is done when its rows are."""

    def __init__(self, pause: float) -> None:
        self._pause = pause

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision:  # noqa: ARG002 - the base's
        """When."""
        pause = self._pause
        if isinstance(exception, LaterError):
            pause = exception.pause
        elif isinstance(
            exception, asyncio.CancelledError | LedgerError | OperationalError
        ):  # this worker ends, others may go on
            pause = 0.0
        return RetryDecision(retry_in={"milliseconds": round(pause * 1000)})


@asynccontextmanager
async def _threads(number: int) -> AsyncIterator[None]:
    """This loop's threads; at the end none is at work, also for those who were cancelled while they waited for one."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(number))
    try:
        yield
    finally:
        await loop.shutdown_default_executor()


class FleetWorker:
    """One worker process's part in a fleet.

    Args:
        url: of the ledger, on PostgreSQL.
        settings: of this worker: its keys, its service, how it sends.
        slots: jobs worked on at a time; they share `concurrency`.
        timing: of the fleet; every worker's must be the same.
        observers: told of every call.
    """

    def __init__(
        self,
        url: str,
        settings: Settings,
        *,
        slots: int,
        timing: Timing | None = None,
        observers: tuple[AttemptObserver, ...] = (),
    ) -> None:
        self._url = url
        self._settings = settings
        self._slots = slots
        self._timing = timing or Timing()
        self._observers = observers
        self._controls: set[Control] = set()
        self._stop: Stop | None = None
        self._broken: BaseException | None = None
        self._ended = asyncio.Event()
        self._engine: Engine
        self._app: App
        self._worker: Worker
        self._workshop: Workshop

    async def run(self, control: Control) -> None:
        """Work until `control` says stop; what is under way ends in order, and its jobs are free for others.

        Raises:
            LedgerError: the ledger cannot be used.
            FenceLostError: this worker was taken for dead, and others have its work.
            LedgerWriteError: the ledger's server is gone; start the worker again when it is back.
        """
        settings, timing = self._settings, self._timing
        threads = 2 * self._slots + 4
        sending = settings.sending.model_copy(
            update={
                "outage_patience": min(settings.sending.outage_patience, timing.patience),
            }
        )
        with Ledger(self._url, exclusive=True, connections=threads) as ledger:
            self._engine = ledger.engine
            limit_idling(ledger.engine, timing.lease)
            async with _threads(threads):  # they use the ledger, so they end before it is closed
                await asyncio.to_thread(install, ledger.engine)
                self._app = make_app(self._url, patience=timing.heartbeat, on_failure=self._break)
                self._app.task(
                    name=TASK,
                    queue=queue_of(settings.target.endpoint),
                    retry=_TakeAgain(timing.pause),
                    pass_context=True,
                )(self._do)
                async with (
                    self._app.open_async(),
                    SeamClient(
                        settings.target, concurrency=settings.sending.concurrency, timeout=settings.sending.timeout
                    ) as client,
                ):
                    self._workshop = Workshop(ledger.engine, client, settings, sending, timing, self._observers)
                    await self._work(control)
        if self._broken is not None:
            raise self._broken

    async def _work(self, control: Control) -> None:
        timing = self._timing
        self._worker = Worker(
            self._app,
            queues=[queue_of(self._settings.target.endpoint)],
            concurrency=self._slots,
            install_signal_handlers=False,
            fetch_job_polling_interval=timing.poll,
            abort_job_polling_interval=timing.poll,
            shutdown_graceful_timeout=timing.grace,
            update_heartbeat_interval=timing.heartbeat,
            stalled_worker_timeout=timing.stale,
        )
        working = asyncio.create_task(self._worker.run())  # type: ignore[no-untyped-call]  # it takes nothing
        housekeeping = asyncio.create_task(self._keep_house())
        await asyncio.sleep(0)  # the engine begins, and forgets a stop that was asked for before
        control.forward_to(self._drain)
        try:
            await working
        except _DATABASE_ERRORS as error:
            self._break(error)
        finally:
            control.forward_to(None)
            housekeeping.cancel()
            await asyncio.gather(housekeeping, return_exceptions=True)
        if self._stop is None and self._broken is None:  # the engine ended by itself: it lost the database
            self._break(None)

    # Jobs.

    async def _do(self, context: JobContext, *, run: int, shards: Sequence[int] = (), shard: int | None = None) -> None:
        """One job: `shards`, or the one `shard` of a job that was made before there were groups.

        A request to end it early drains it; the end of the grace cuts it off.
        """
        control = Control()
        if self._stop is not None:
            raise LaterError(self._stop.message, 0.0)
        self._controls.add(control)
        numbers = tuple(shards) if shard is None else (shard,)
        put_off = partial(self._put_off, context.job)
        doing = asyncio.create_task(self._workshop.do(run, numbers, control, put_off))
        try:
            await asyncio.shield(doing)
        except asyncio.CancelledError:
            if context.abort_reason() is AbortReason.SHUTDOWN:
                doing.cancel()
            control.stop(StopCause.CANCELLED, "the run was cancelled")
            await asyncio.gather(doing, return_exceptions=True)
            raise
        except (FenceLostError, LedgerWriteError, OperationalError) as error:
            self._break(error)
            raise
        except LaterError:
            raise
        except Exception as error:
            get_logger().error("a job ended with an internal error; it is tried again", exc_info=error)
            raise
        finally:
            self._controls.discard(control)
            self._ended.set()

    async def _put_off(self, job: Job, run: Run, numbers: Sequence[int]) -> None:
        """Some of its shards are not for now, or not for here."""
        manager = make_manager()
        await asyncio.to_thread(put_off, self._engine, manager, job, run, numbers, pause=self._timing.pause)

    # Ends.

    def _drain(self, stop: Stop) -> None:
        """Take no more jobs, let those under way end in order."""
        if self._stop is not None:
            return
        self._stop = stop
        for control in tuple(self._controls):
            control.stop(stop.cause, stop.message)
        self._worker.stop()  # type: ignore[no-untyped-call]  # likewise

    def _break(self, error: BaseException | None) -> None:
        """End since something is wrong; the first error of ours is raised by `run`."""
        if error is None or (isinstance(error, _DATABASE_ERRORS) and not isinstance(error, LedgerError)):
            error = _lost(error)
        if self._broken is None or isinstance(error, FenceLostError):
            self._broken = error
        self._drain(Stop(StopCause.LEDGER, str(self._broken)))

    # What others left.

    async def _keep_house(self) -> None:
        """A loop of the worker's, since a job of the engine's would starve behind full slots."""
        manager, maker, timing = self._app.job_manager, make_manager(), self._timing
        try:
            while True:
                if await asyncio.to_thread(self._end_frozen_writes):
                    get_logger().warning("ended what a frozen worker was writing, as it held up others")
                for job in await manager.get_stalled_jobs(task_name=TASK, seconds_since_heartbeat=timing.stale):
                    get_logger().warning("taking over what a dead worker had", job=job.task_kwargs)
                    await manager.retry_job(job)
                await asyncio.to_thread(defer_missing, self._engine, maker)
                for run_no in await asyncio.to_thread(finish_runs, self._engine):
                    get_logger().info("a run is done", run=run_no)
                await self._see_that_we_live()
                await self._look_up()
        except Exception as error:  # noqa: BLE001 - raised by `run`
            self._break(error)

    def _end_frozen_writes(self) -> int:
        """In a thread: also for those who wait for such a write already."""
        with self._engine.connect() as connection:
            return store_of(connection.dialect).end_frozen_writes(connection, self._timing.lease)

    async def _see_that_we_live(self) -> None:
        worker_id = self._worker.worker_id
        if worker_id is None or await is_alive(self._app, worker_id):
            return
        if self._stop is None:  # one that ends takes itself off the list
            raise LedgerHeldError(
                "this worker was stopped or cut off for so long that it was taken for dead; start it again"
            )

    async def _look_up(self) -> None:
        """Wait for the next look, which is soon after a job's end."""
        try:
            # Not `wait_for`: before Python 3.12 it forgets that it was cancelled, where a job ends at that moment.
            async with asyncio.timeout(self._timing.look):
                await self._ended.wait()
        except TimeoutError:
            return
        self._ended.clear()
        await asyncio.sleep(_SOON)


def _lost(error: BaseException | None) -> LedgerWriteError:
    cause = getattr(error, "orig", None) or getattr(error, "__cause__", None) or error
    said = (str(cause).strip().splitlines() or [""])[0][:200]
    return LedgerWriteError(
        f"the ledger's server was lost{f' ({said})' if said else ''}; what it recorded is safe. Start the worker "
        "again when it is back: it goes on from there"
    )
