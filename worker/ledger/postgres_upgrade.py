"""A ledger on PostgreSQL that an older assign-worker has made: brought up to date while nobody else works on it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from psycopg import errors
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from worker.errors import LedgerError, LedgerHeldError
from worker.ledger.holders import describe, is_dead
from worker.ledger.migrations import take_steps
from worker.ledger.store import store_of
from worker.ledger.tables import shards

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["upgrade_postgres"]

_LEAVING: Final = 2.0
"""Seconds in which a connection that was closed just now is gone from the server's list."""
_LOOK: Final = 0.1

_OTHERS: Final = text(
    "SELECT count(*) FROM pg_stat_activity, pg_stat_clear_snapshot()"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'assign-worker%'"
    # Who waits for its turn to open the ledger has not looked at it yet.
    " AND (wait_event_type, wait_event) IS DISTINCT FROM ('Lock', 'advisory')"
)


def upgrade_postgres(connection: Connection, version: int, place: str) -> None:
    """Take the steps from `version`, in the transaction in which it is this process's turn; the caller notes it.

    Args:
        connection: of a role that owns the tables.
        version: of the ledger.
        place: the ledger, for people.

    Raises:
        LedgerHeldError: others work on it.
        LedgerError: it belongs to another role.
    """
    _require_alone(connection, version, place)
    try:
        connection.exec_driver_sql("SET LOCAL lock_timeout TO '10s'")
        take_steps(connection, version)
    except DBAPIError as error:
        if isinstance(error.orig, errors.InsufficientPrivilege):
            raise LedgerError(
                f"the ledger {place} is of an older version ({version}), and only the role that owns its tables can "
                "bring it up to date; have that one run `assign-worker fleet init`, or any other command, on it once"
            ) from None
        if isinstance(error.orig, errors.LockNotAvailable):
            raise _held(place, version, "its tables are locked") from None
        raise


def _require_alone(connection: Connection, version: int, place: str) -> None:
    leased = select(shards.c.holder).where(shards.c.lease_until > store_of(connection.dialect).clock())
    for said in connection.execute(leased).scalars():
        if not is_dead(said):
            raise _held(place, version, describe(said))
    until = time.monotonic() + _LEAVING
    while others := connection.execute(_OTHERS).scalar_one():
        if time.monotonic() >= until:
            raise _held(place, version, f"{others} other connection{'' if others == 1 else 's'} of assign-worker")
        time.sleep(_LOOK)


def _held(place: str, version: int, who: str) -> LedgerHeldError:
    return LedgerHeldError(
        f"the ledger {place} is of an older version ({version}) and is brought up to date while nobody works on it, "
        f"but others do ({who}); end them, then run this again"
    )
