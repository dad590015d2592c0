"""The durable record of every run (DESIGN 6): runs, shards, inputs, results.

`Ledger` opens the database and takes the lock; the functions of `runs`, `staging`, `claims` and `queries` do one
thing each on its engine. The promise of the layer: a row has at most one final result, and what a commit
reported as durable is there after any crash.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from worker.config import hide_password
from worker.errors import LedgerError
from worker.ledger.failures import is_storage_failure, write_failure
from worker.ledger.holders import holder
from worker.ledger.sqlite import FileLock, check_place, open_sqlite

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["Ledger", "hold_existing", "holder"]

_POSTGRES: Final = frozenset({"postgresql", "postgres"})


class Ledger:
    """An open ledger.

    Args:
        url: a path or a `sqlite:///` URL of an SQLite file, or a `postgresql://` URL.
        exclusive: for a process that sends: makes the ledger where there is none, and on SQLite takes the lock of
            the one sending process. On PostgreSQL each claim has a lease of its own instead.
        connections: at most, to a PostgreSQL server; None: enough for one run.

    Raises:
        LedgerError: the ledger cannot be used, and was left as it was.
        LedgerHeldError: with `exclusive`, another process works on it.
    """

    engine: Engine

    def __init__(self, url: str, *, exclusive: bool, connections: int | None = None) -> None:
        self._lock: FileLock | None = None
        if url.partition("://")[0] in _POSTGRES:
            from worker.ledger.postgres import open_postgres  # noqa: PLC0415 - its driver is an extra

            self.place = hide_password(url)
            self.engine = open_postgres(url, place=self.place, create=exclusive, connections=connections)
            return
        path = _sqlite_path(url)
        self.place = str(path)
        check_place(path)
        if exclusive:
            self._lock = FileLock(path)
            self._lock.acquire()
        try:
            self.engine = open_sqlite(path, create=exclusive)
        except BaseException:
            self.close()
            raise

    @property
    def is_rehearsal(self) -> bool:
        """Whether its runs went to the simulator: rehearsals have ledgers of their own, by name."""
        return self.place.endswith(".rehearsal.db")

    def close(self) -> None:
        """Close the database, then give the lock back."""
        if hasattr(self, "engine"):
            self.engine.dispose()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        """The ledger itself."""
        return self

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        """Close it.

        Raises:
            LedgerWriteError: the block ended because the database could not do its work.
        """
        self.close()
        if error is not None and is_storage_failure(error):
            raise write_failure(error) from error


def hold_existing(url: str) -> Ledger:
    """The ledger that is there already, opened as exclusive: for what goes on with its runs.

    Raises:
        LedgerError: there is none, or it cannot be used; nothing was made or changed.
        LedgerHeldError: another process works on it.
    """
    Ledger(url, exclusive=False).close()
    return Ledger(url, exclusive=True)


def _sqlite_path(url: str) -> Path:
    if "://" not in url:
        return Path(url)
    scheme, _, rest = url.partition("://")
    if scheme != "sqlite" or not rest.startswith("/"):
        raise LedgerError(
            f"the ledger URL {scheme}://… is not known; give a path, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
        )
    return Path(rest[1:])
