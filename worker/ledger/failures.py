"""A disk that is full or broken, or a server that is gone, as the driver tells it, in words for an operator."""

from __future__ import annotations

import sqlite3
import sys

from sqlalchemy import exc

from worker.errors import LedgerWriteError

__all__ = ["is_storage_failure", "write_failure"]

_LONGEST = 200


def is_storage_failure(error: BaseException | None) -> bool:
    """Whether the database could not do its work; a statement that it refuses is a defect of ours instead."""
    if isinstance(error, exc.OperationalError | sqlite3.OperationalError):
        return True
    if _is_servers(error):
        return True
    return type(error) in {exc.DatabaseError, sqlite3.DatabaseError}  # malformed; the subclasses mean other things


def write_failure(error: BaseException) -> LedgerWriteError:
    """The error that ends a run, with what the driver said."""
    cause = getattr(error, "orig", None) or error
    said = (str(cause).splitlines() or [repr(cause)])[0][:_LONGEST]
    if _is_servers(cause):
        return LedgerWriteError(
            f"the ledger's server could not do its work ({said}); what it recorded is intact. "
            "Run the same command again when it is back."
        )
    return LedgerWriteError(
        f"the ledger could not be written ({said}); "
        "what it held before is intact. Make room or mend the disk, then run the same command again."
    )


def _is_servers(error: BaseException | None) -> bool:
    """Whether PostgreSQL's driver, where it is in use at all, says that the server or the way to it failed."""
    psycopg = sys.modules.get("psycopg")
    return psycopg is not None and isinstance(error, psycopg.OperationalError | psycopg.InternalError)
