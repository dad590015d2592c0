"""What SQLite and PostgreSQL do differently, behind one interface; all else in this package is one code for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from worker.ledger.sqlite_store import SQLITE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Dialect, Engine, Table
    from sqlalchemy.sql.elements import ColumnElement

    from worker.ledger.statements import Bulk
    from worker.models import Result

__all__ = ["ResultWriter", "Session", "Store", "store_of"]

T = TypeVar("T")


class Session(Protocol):
    """One connection that writes. Calls may come from several threads; they take turns."""

    def write(self, work: Callable[[Any, bool], None]) -> None:
        """Do `work(cursor, again)` in one transaction: durable when this returns, or not done at all.

        Where the connection is lost it is made anew and the work done once more, with `again` true: then an earlier
        commit of the same work may have succeeded without an answer, and the work looks for its traces first. For
        that, its first statement must lock what any work of this session locks.

        Raises:
            LedgerWriteError: the database did not come back in time, or is not the one that it was.
        """
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


class ResultWriter(Protocol):
    """Inserts the results of one run."""

    def insert(self, cursor: Any, batch: Sequence[Result]) -> None:  # noqa: ANN401 - any DBAPI cursor
        """Insert them all."""
        ...


class Store(Protocol):
    """One kind of database."""

    @property
    def has_leases(self) -> bool:
        """Whether holders are kept apart by leases; else the lock on the file does it."""
        ...

    @property
    def begin(self) -> str | None:
        """What begins a transaction through the driver, where the driver does not do it by itself."""
        ...

    def greatest(self, *values: Any) -> ColumnElement[Any]:  # noqa: ANN401 - SQL expressions
        """The greatest of some values."""
        ...

    def clock(self) -> ColumnElement[float]:
        """Unix seconds by the database server's clock, as they pass."""
        ...

    def take_turns(self, connection: Connection) -> None:
        """Until the end of this transaction, nobody else opens, claims or recovers a run."""
        ...

    def end_frozen_writes(self, connection: Connection, seconds: float) -> int:
        """End the sessions that have stood still for so long in the midst of writing results; how many.

        Whoever takes over from a process that was frozen there would wait for its locks. One that was only slow writes
        the same again.
        """
        ...

    def note_sizes(self, connection: Connection) -> None:
        """Tell the planner how large the tables have become, where it does not see that by itself in time."""
        ...

    def result_rows(self, dialect: Dialect, run_no: int) -> ResultWriter:
        """What inserts the results of a run."""
        ...

    def bulk(self, table: Table, columns: Sequence[str]) -> Bulk:
        """What inserts many rows of plain values at once."""
        ...

    def session(self, engine: Engine, may_go_on: Callable[[], bool]) -> Session:
        """A connection that writes; `may_go_on` says whether a lost one may still be made anew."""
        ...

    def cursor(self, connection: Any) -> Any:  # noqa: ANN401 - of the driver
        """A cursor that gives its rows as they are read, in flat memory and one consistent view."""
        ...

    def persist(self, read: Callable[[], T], may_go_on: Callable[[], bool]) -> T:
        """What `read` returns; done again where the connection was lost, while `may_go_on` says so."""
        ...


def store_of(dialect: Dialect) -> Store:
    """The store that speaks this dialect."""
    if dialect.name == "sqlite":
        return SQLITE
    from worker.ledger.postgres_store import POSTGRES  # noqa: PLC0415 - its driver is an extra

    return POSTGRES
