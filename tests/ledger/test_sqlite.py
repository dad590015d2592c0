"""What may be opened as a ledger, who may write it, and what a broken disk does."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.ledger.filling import claimed, result, row, staged
from worker.claim import Batch
from worker.errors import AssignWorkerError, LedgerError, LedgerHeldError, LedgerWriteError
from worker.ledger import Ledger, sqlite
from worker.ledger.group_commit import GroupCommit
from worker.ledger.sqlite import _what_is_wrong
from worker.ledger.tables import SCHEMA_VERSION

if TYPE_CHECKING:
    from pathlib import Path

_HOLD = """
import sys, time
from worker.ledger import Ledger
ledger = Ledger(sys.argv[1], exclusive=True)
print("held", flush=True)
sys.stdin.read()
"""


def test_files_are_private_from_their_first_byte(tmp_path: Path) -> None:
    """Database, WAL, shared memory and lock: 0600 whatever the umask."""
    before = os.umask(0)
    try:
        with Ledger(str(tmp_path / "l.db"), exclusive=True) as ledger:
            staged(ledger.engine, [row(1)])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert set(modes) >= {"l.db", "l.db-wal", "l.db.lock"}
    assert set(modes.values()) == {0o600}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"acs_credential_id,acs_user_id\n1,2\n", "not a ledger"),
        (b"SQLite format 3\x00" + b"\x00" * 20, "not a ledger"),
        (b"\x00" * 4096, "not a ledger"),
    ],
)
def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path, content: bytes, said: str) -> None:
    """A wrong --ledger must not destroy anybody's file."""
    path = tmp_path / "other.db"
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=said):
        Ledger(str(path), exclusive=True)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_no_ledger(tmp_path: Path) -> None:
    """Nothing is put beside it either."""
    folder = tmp_path / "ledgers"
    folder.mkdir()
    with pytest.raises(LedgerError, match="is a folder; name a file in it with --ledger"):
        Ledger(str(folder), exclusive=True)
    assert list(tmp_path.iterdir()) == [folder]


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    """SQLite, but not ours."""
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE runs (x)")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(LedgerError, match="another program"):
        Ledger(str(path), exclusive=True)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_newer_ledger_is_left_alone(tmp_path: Path) -> None:
    """An older program must not write what it does not understand."""
    path = tmp_path / "l.db"
    Ledger(str(path), exclusive=True).close()
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(LedgerError, match="newer"):
        Ledger(str(path), exclusive=True)


def test_a_ledger_that_may_not_be_written_is_not_called_damaged(tmp_path: Path) -> None:
    """SQLite's own words for a folder or a file that is read-only."""
    with pytest.raises(sqlite3.OperationalError) as caught:
        sqlite3.connect(f"file:{tmp_path}/absent.db?mode=ro", uri=True)
    said = _what_is_wrong(caught.value)
    assert said == "cannot be written (unable to open database file). See that this user may write it and its folder"


def test_a_damaged_ledger_is_told(tmp_path: Path) -> None:
    """Bytes overwritten in the middle: a sentence, not a traceback."""
    path = tmp_path / "l.db"
    with Ledger(str(path), exclusive=True) as ledger:
        staged(ledger.engine, [row(1)])
    broken = bytearray(path.read_bytes())
    broken[100:4096] = b"\xff" * (4096 - 100)
    path.write_bytes(broken)
    with pytest.raises(LedgerError, match="damaged"):
        Ledger(str(path), exclusive=True)
    assert path.read_bytes() == broken


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    """Somebody else may have put it there."""
    (tmp_path / "target.db").touch()
    (tmp_path / "l.db").symlink_to(tmp_path / "target.db")
    with pytest.raises(LedgerError, match="symbolic link"):
        Ledger(str(tmp_path / "l.db"), exclusive=True)
    assert (tmp_path / "target.db").read_bytes() == b""


def test_reading_makes_no_ledger(tmp_path: Path) -> None:
    """`show` in the wrong folder says so and leaves nothing behind."""
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger(str(tmp_path / "l.db"), exclusive=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    """The sentence names the folder."""
    with pytest.raises(LedgerError, match="does not exist"):
        Ledger(str(tmp_path / "no" / "l.db"), exclusive=True)


@pytest.mark.parametrize("paused", [False, True])
def test_a_second_process_is_refused_by_name(tmp_path: Path, *, paused: bool) -> None:
    """Held, even by a process that is stopped; free at once when it is killed."""
    path = str(tmp_path / "l.db")
    holder = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdin is not None
    try:
        assert holder.stdout.readline() == "held\n"
        if paused:
            holder.send_signal(signal.SIGSTOP)
        with pytest.raises(LedgerHeldError, match=f"process {holder.pid} "):
            Ledger(path, exclusive=True)
        Ledger(path, exclusive=False).close()
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
        holder.stdin.close()
    Ledger(path, exclusive=True).close()


async def test_a_full_disk_ends_the_writing_and_keeps_what_was_there(tmp_path: Path) -> None:
    """The failed commit is not tried again; after room is made the same rows can be written."""
    with Ledger(str(tmp_path / "l.db"), exclusive=True) as ledger:
        run = staged(ledger.engine, [row(number) for number in range(1, 3001)])
        _, writer = claimed(ledger.engine, run)
        writer.write(Batch(results=[result(1)], marks={0: 3000}))
        cursor = writer._session._connection.cursor()  # type: ignore[attr-defined] # SQLite's  # noqa: RUF100 - the pragma is per connection
        (pages,) = cursor.execute("PRAGMA page_count").fetchone()
        cursor.execute(f"PRAGMA max_page_count={pages + 2}")
        failures: list[AssignWorkerError] = []
        commit = GroupCommit(writer.write, on_durable=lambda _: None, on_failure=failures.append)
        for number in range(2, 3001):
            commit.add(result(number, detail="x" * 200))
        with pytest.raises(LedgerWriteError, match="full"):
            await commit.flush()
        await commit.close()
        assert len(failures) == 1
        cursor.execute("PRAGMA max_page_count=1000000")
        writer.write(Batch(results=[result(2)]))
        writer.close()


async def test_group_commit_writes_groups_in_order(tmp_path: Path) -> None:
    """Durable once told so; a mark rides with the results before it."""
    with Ledger(str(tmp_path / "l.db"), exclusive=True) as ledger:
        run = staged(ledger.engine, [row(number) for number in range(1, 2001)])
        _, writer = claimed(ledger.engine, run)
        batches: list[Batch] = []
        commit = GroupCommit(writer.write, on_durable=batches.append, on_failure=lambda error: pytest.fail(str(error)))
        for number in range(1, 2001):
            commit.add(result(number))
            if number % 100 == 0:
                commit.raise_mark(0, number, urgent=False)
                await asyncio.sleep(0)
        await commit.flush(Batch(lowered={0: 2000}))
        await commit.close()
        writer.close()
        rows = [each.row for batch in batches for each in batch.results]
        assert rows == list(range(1, 2001))
        assert 2 <= len(batches) < 40
        assert batches[-1].lowered == {0: 2000}


def test_who_only_reads_makes_nothing_of_an_empty_file(tmp_path: Path) -> None:
    """It may be one that another process is making, whose rows a ledger put in its place would lose."""
    path = tmp_path / "ledger.db"
    path.touch(0o600)
    with pytest.raises(LedgerError, match="is empty: no run was recorded in it"):
        Ledger(str(path), exclusive=False)
    assert path.stat().st_size == 0


def test_a_ledger_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody ever finds an empty file where one is being made."""
    path, seen = tmp_path / "ledger.db", list[bool]()
    make = sqlite._create_schema

    def look_and_make(place: Path, *, may: bool) -> None:
        seen.append(place.exists())
        make(place, may=may)

    monkeypatch.setattr(sqlite, "_create_schema", look_and_make)
    Ledger(str(path), exclusive=True).close()
    assert seen == [False]
    assert path.stat().st_size > 0
