"""A ledger that nobody keeps: for what only the database can find out, such as rows that repeat each other."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import create_engine, event
from sqlalchemy.schema import CreateTable

from worker.errors import LedgerError
from worker.ledger.tables import metadata

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.pool import ConnectionPoolEntry

__all__ = ["open_scratch"]

_PAGE_CACHE_KIB: Final = 16 * 1024


@contextmanager
def open_scratch() -> Iterator[Engine]:
    """An empty ledger in a folder of its own (mode 0700), which goes at the end.

    It has no indexes and is not safe against a crash, so it takes rows in half the time.

    Raises:
        LedgerError: there is no place for it.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix="assign-worker-"))
    except OSError as error:
        raise LedgerError(f"cannot make a temporary folder: {error.strerror}; TMPDIR names another place") from None
    engine = create_engine(f"sqlite:///{folder / 'scratch.db'}", connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=OFF",
            "synchronous=OFF",
            "locking_mode=EXCLUSIVE",
            f"cache_size=-{_PAGE_CACHE_KIB}",
            "temp_store=FILE",
        ):
            connection.execute(f"PRAGMA {pragma}")

    try:
        with engine.begin() as connection:
            for table in metadata.sorted_tables:
                connection.execute(CreateTable(table))
        yield engine
    finally:
        engine.dispose()
        shutil.rmtree(folder, ignore_errors=True)
