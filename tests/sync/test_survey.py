"""The readings of a survey: one connection, one thread at a time, whatever is stopped meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import literal, select, union_all

from worker.config import Sending
from worker.errors import LedgerWriteError
from worker.ledger import Ledger
from worker.ledger.readings import Readings
from worker.ledger.tables import owners
from worker.models import Attempt, Call, StopCause, Verdict
from worker.seam import AcsCredential, AcsUser
from worker.survey import Survey
from worker.testing import MemorySeam

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Select

ROWS = [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "b")]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An empty one."""
    with Ledger(str(tmp_path / "ledger.db"), exclusive=True) as opened:
        yield opened


def wanted(rows: list[tuple[int, str]], **of_row: Callable[[int], str]) -> Select[Any]:
    """As the survey of a run would want these rows; `of_row` gives the user, or the identity."""
    nobody: Callable[[int], None] = lambda _: None  # noqa: E731 - a default
    user, identity = of_row.get("user", nobody), of_row.get("identity", nobody)
    return union_all(  # type: ignore[return-value]  # it is selected from as one is
        *(
            select(
                literal(row).label("row"),
                literal(row),
                literal(ord(workspace)),
                literal(workspace),
                literal(f"cred-{row}"),
                literal(user(row)),
                literal(identity(row)),
            )
            for row, workspace in rows
        )
    )


class SlowReadings(Readings):
    """What is written of row 1 takes until it is told to end."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.entered = threading.Event()
        self.may_end = threading.Event()
        self.inside = 0
        self.most_inside = 0
        self._counting = threading.Lock()

    def settle(self, job: Any, **answer: Any) -> None:
        """`Readings.settle`."""

        def slowly() -> None:
            with self._connection.begin():
                self.entered.set()
                assert self.may_end.wait(30)

        self._count(slowly if job.row == 1 else lambda: Readings.settle(self, job, **answer))

    def next(self, *args: Any) -> Any:
        """`Readings.next`."""
        return self._count(lambda: Readings.next(self, *args))

    def take(self, *args: Any) -> Any:
        """`Readings.take`."""
        return self._count(lambda: Readings.take(self, *args))

    def unsure(self, *args: Any) -> Any:
        """`Readings.unsure`."""
        return self._count(lambda: Readings.unsure(self, *args))

    def _count(self, call: Callable[[], Any]) -> Any:
        with self._counting:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        try:
            return call()
        finally:
            with self._counting:
                self.inside -= 1


class TwoWorkspaces(MemorySeam):
    """Owners are users without an identity; the key of `a` is refused while the first of its rows is written."""

    def __init__(self, readings: SlowReadings) -> None:
        super().__init__()
        self._readings = readings
        self._refused = asyncio.Event()

    async def get(self, workspace_id: str | None, acs_credential_id: str) -> Attempt:
        """`Sender.get`; of `b` once the key of `a` was refused."""
        if workspace_id == "b":
            await self._refused.wait()
            asyncio.get_running_loop().call_later(0.2, self._readings.may_end.set)
        await asyncio.sleep(0)
        credential = AcsCredential.model_construct(
            acs_credential_id=acs_credential_id,
            acs_system_id=f"system-{workspace_id}",
            acs_user_id="somebody",
            workspace_id=workspace_id,
            warnings=(),
            errors=(),
        )
        return Attempt(Call.GET, Verdict.DONE, time.time(), 0.0, 200, "r", credential)

    async def list_page(self, workspace_id: str | None, **_: Any) -> Attempt:  # noqa: ARG002 - `Sender`'s
        """`Sender.list_page`: nothing."""
        return Attempt(Call.LIST, Verdict.DONE, time.time(), 0.0, 200, "r", credentials=())

    async def find_user(self, workspace_id: str | None, **by: Any) -> Attempt:  # noqa: ARG002 - likewise
        """`Sender.find_user`."""
        if by.get("user_identity_id") == "identity-2":
            await asyncio.to_thread(self._readings.entered.wait, 30)
            self._refused.set()
            return Attempt(
                Call.GET_USER,
                Verdict.HALT,
                time.time(),
                0.0,
                401,
                "r",
                error_type="unauthorized",
                stop=StopCause.KEY_REFUSED,
            )
        user = AcsUser.model_construct(acs_user_id="somebody", acs_system_id="s", user_identity_id="i")
        return Attempt(Call.GET_USER, Verdict.DONE, time.time(), 0.0, 200, "r", user=user)


async def test_a_reader_that_is_stopped_leaves_the_connection_when_its_thread_does(ledger: Ledger) -> None:
    """Else the next workspace's thread is in the midst of its transaction."""
    readings = SlowReadings(ledger.engine, 1, owners, wanted(ROWS, identity=lambda row: f"identity-{row}"))
    stops = await Survey(readings, TwoWorkspaces(readings), Sending(concurrency=8)).run()
    await asyncio.to_thread(readings.close)
    assert [(stop.cause, stop.workspace_id) for stop in stops] == [(StopCause.KEY_REFUSED, "a")]
    assert readings.most_inside == 1


async def test_a_disk_that_is_full_while_owners_are_read_is_told_as_such(tmp_path: Path) -> None:
    """Resumable, and no internal error."""
    with pytest.raises(LedgerWriteError, match="full"):
        await _read_onto_a_full_disk(tmp_path / "ledger.db")


async def _read_onto_a_full_disk(path: Path) -> None:
    with Ledger(str(path), exclusive=True) as ledger:
        rows = [(row, "a") for row in range(1, 400)]
        readings = Readings(ledger.engine, 1, owners, wanted(rows, user=lambda row: f"user-{row}"))
        pages = readings._connection.exec_driver_sql("PRAGMA main.page_count").scalar()
        readings._connection.rollback()
        driver = readings._connection.connection.driver_connection
        assert driver is not None
        driver.execute(f"PRAGMA main.max_page_count={pages}")
        seam = MemorySeam(owners={f"cred-{row}": "x" * 200 for row in range(400)})
        try:
            await Survey(readings, seam, Sending(concurrency=16)).run()
        finally:
            await asyncio.to_thread(readings.close)
