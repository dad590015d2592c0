"""A worker in this process, whose engine is made to fail where a server that goes away just then would fail it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import pytest
from psycopg import OperationalError
from sqlalchemy import text

from tests.fleet.ground import SHORT
from worker.config import Settings
from worker.control import Control
from worker.errors import LedgerWriteError
from worker.fleet import serving
from worker.fleet.engine import OwnJobs
from worker.ledger import Ledger
from worker.models import Stop, StopCause

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from tests.fleet.ground import FleetGround


def test_a_worker_that_is_stopped_while_it_starts_ends(ground: FleetGround) -> None:
    """SIGTERM came before it took its first job: it takes none."""
    ground.shrink(2)
    ground.submit()

    async def start_and_stop() -> None:
        control = Control()
        control.stop(StopCause.SIGTERM)
        settings = Settings.from_options(environ=ground.environ(), timeout=1.0)
        await asyncio.wait_for(serving.FleetWorker(ground.database, settings, slots=1, timing=SHORT).run(control), 30)

    asyncio.run(start_and_stop())
    assert ground.sent() == 0


def test_the_ledger_is_open_as_long_as_a_thread_uses_it(ground: FleetGround, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is given back to a ledger that was closed stays open, and one taken from it is a new one."""
    events: list[str] = []
    ending = threading.Event()

    class Watched(Control):
        def forward_to(self, stop: Callable[[Stop], None] | None) -> None:
            super().forward_to(stop)
            if stop is None:
                ending.set()

    def close(ledger: Ledger) -> None:
        events.append("closed")
        ledger.engine.dispose()

    async def serve() -> None:
        loop, control = asyncio.get_running_loop(), Watched()

        def look(engine: Engine, _: object) -> None:
            with engine.connect() as connection:
                loop.call_soon_threadsafe(control.stop, StopCause.SIGTERM)
                assert ending.wait(20)
                connection.execute(text("SELECT pg_sleep(0.3)"))
            events.append("looked")

        monkeypatch.setattr(serving, "defer_missing", look)
        settings = Settings.from_options(environ=ground.environ(), timeout=1.0)
        await asyncio.wait_for(serving.FleetWorker(ground.database, settings, slots=1, timing=SHORT).run(control), 30)

    monkeypatch.setattr(Ledger, "close", close)
    asyncio.run(serve())
    assert events == ["looked", "closed"]


@pytest.mark.parametrize("turns", range(4))
async def test_housekeeping_ends_though_a_job_ends_just_then(turns: int) -> None:
    """Told to end in the very turn in which it hears of a job's end, it ends: the worker waits for it."""
    worker = serving.FleetWorker(
        "postgresql://nowhere/x", Settings.from_options(api_key="seam_key"), slots=1, timing=SHORT
    )
    waiting = asyncio.create_task(worker._look_up())
    await asyncio.sleep(0)
    worker._ended.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


def test_a_job_whose_end_cannot_be_noted_ends_its_worker(ground: FleetGround, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would stay that worker's for as long as it lives; so it ends as one that lost its server, and others go on."""
    ground.shrink(2)
    ground.submit()

    async def fail(*_: object) -> None:
        raise OperationalError("couldn't get a connection after 1.00 sec")

    with monkeypatch.context() as patched:
        patched.setattr(OwnJobs, "_change_ours", fail)
        settings = Settings.from_options(environ=ground.environ(), timeout=1.0)
        worker = serving.FleetWorker(ground.database, settings, slots=1, timing=SHORT)
        with pytest.raises(LedgerWriteError, match=r"was lost \(couldn't get a connection"):
            asyncio.run(asyncio.wait_for(worker.run(Control()), 30))
    with ground.worker():
        ground.wait_until_done()
    assert ground.judge().clean
