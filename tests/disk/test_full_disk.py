"""No room: for staging, for results, for the export; or no right to write at all (DESIGN 6)."""

from __future__ import annotations

import os
import resource
import sqlite3
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from tests.faults.ground import Place
from tests.soak.ground import simulator
from worker.errors import LedgerError, LedgerWriteError, ResultsWriteError
from worker.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.soak.ground import Server

ROWS = 400
ROOMS = 15
"""How many sizes of a disk are tried."""
MOST = 0.9
"""Of what one run needs; the next one may need a few pages less, as they are split in another order."""
NOBODY = 65534


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A simulator in a process of its own."""
    with simulator(tmp_path_factory.mktemp("simulator"), {}) as running:
        yield running


@contextmanager
def pages(most: int) -> Iterator[None]:
    """No database of this process may grow beyond so many pages."""

    def limit(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={most}")

    event.listen(Pool, "checkout", limit)
    try:
        yield
    finally:
        event.remove(Pool, "checkout", limit)


def count_pages(ledger: Path) -> int:
    """As it is on the disk."""
    with closing(sqlite3.connect(ledger)) as connection:
        (count,) = connection.execute("PRAGMA page_count").fetchone()
    return int(count)


def leftovers(folder: Path) -> list[str]:
    """Files that an unfinished export left."""
    return [path.name for path in folder.iterdir() if path.name.endswith(".partial")]


async def test_a_disk_that_is_full_anywhere(server: Server, tmp_path: Path) -> None:
    """Room for nothing, for half of the input, for some of the results: exit 3, no row twice, and resumed."""
    (tmp_path / "whole").mkdir()
    place = Place.make(tmp_path / "whole", server, seed=1, rows=ROWS)
    Ledger(str(place.ground.ledger), exclusive=True).close()
    least = count_pages(place.ground.ledger)
    assert (await place.run(timeout=5)).findings.clean
    needed = count_pages(place.ground.ledger) - least
    sent = []
    for number in range(ROOMS):
        room = int(needed * MOST * number / (ROOMS - 1))
        folder = tmp_path / str(number)
        folder.mkdir()
        place = Place.make(folder, server, seed=100 + number, rows=ROWS)
        Ledger(str(place.ground.ledger), exclusive=True).close()
        with pages(least + room), pytest.raises(LedgerWriteError, match=r"full.*Make room.*same command") as failure:
            await place.run(timeout=5)
        assert failure.value.exit_code == 3
        with closing(sqlite3.connect(place.ground.ledger)) as connection:
            recorded = connection.execute("SELECT row, finished_at FROM results").fetchall()
        ran = await place.run(timeout=5)
        assert ran.findings.clean, ran.findings
        assert (ran.report.exit_code, ran.outcomes, ran.sends()) == (0, {"assigned": ROWS}, ROWS)
        with closing(sqlite3.connect(place.ground.ledger)) as connection:
            assert set(recorded) <= set(connection.execute("SELECT row, finished_at FROM results").fetchall())
        sent.append(len(recorded))
    assert sent[0] == 0
    assert 0 < sent[-1] < ROWS, "the last ones were to be sending"


async def test_an_export_without_room(server: Server, tmp_path: Path) -> None:
    """Exit 3 with the way to write it elsewhere; the former export stays, and no half of a new one."""
    place = Place.make(tmp_path, server, seed=2, rows=ROWS)
    assert (await place.run(timeout=5)).report.exit_code == 0
    before = place.ground.results.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(ResultsWriteError, match="The ledger holds every row") as failure:
            await place.run(timeout=5)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failure.value.exit_code == 3
    assert place.ground.results.read_bytes() == before
    assert leftovers(tmp_path) == []
    ran = await place.run(timeout=5)
    assert (ran.report.exit_code, ran.sends()) == (0, ROWS)


@contextmanager
def no_super_user() -> Iterator[None]:
    """Rights that hold: those of nobody, where the tests run as root."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if was == 0:
            os.seteuid(was)


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_a_ledger_that_may_not_be_written(closed: str) -> None:
    """Exit 2 with its name; it is as it was, and usable once it may be written."""
    with tempfile.TemporaryDirectory() as named:  # open to others on its way, unlike tmp_path
        folder = Path(named)
        ledger = folder / "ledger.db"
        Ledger(str(ledger), exclusive=True).close()
        (folder / "ledger.db.lock").unlink()
        before = ledger.read_bytes()
        ledger.chmod(0o444)
        folder.chmod(0o777 if closed == "file" else 0o555)
        with no_super_user(), pytest.raises(LedgerError, match="Permission denied") as failure:
            Ledger(str(ledger), exclusive=True)
        assert failure.value.exit_code == 2
        assert str(ledger) in str(failure.value)
        assert ledger.read_bytes() == before
        folder.chmod(0o700)
        ledger.chmod(0o600)
        (folder / "ledger.db.lock").unlink(missing_ok=True)
        Ledger(str(ledger), exclusive=True).close()


async def test_a_ledger_on_a_disk_that_became_read_only(server: Server, tmp_path: Path) -> None:
    """In the middle of it all: exit 3 with the driver's words, and resumed."""

    def forbid(connection: Any, *_: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    place = Place.make(tmp_path, server, seed=3, rows=50)
    Ledger(str(place.ground.ledger), exclusive=True).close()
    event.listen(Pool, "checkout", forbid)
    try:
        with pytest.raises(LedgerWriteError, match="readonly database"):
            await place.run()
    finally:
        event.remove(Pool, "checkout", forbid)
    ran = await place.run()
    assert ran.findings.clean, ran.findings
    assert (ran.report.exit_code, ran.sends()) == (0, 50)
