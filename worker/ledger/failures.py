"""A disk that is full or broken, as the database's driver tells it, in words for an operator."""

from __future__ import annotations

import sqlite3

from sqlalchemy import exc

from worker.errors import LedgerWriteError

__all__ = ["is_storage_failure", "write_failure"]

_LONGEST = 200


def is_storage_failure(error: BaseException | None) -> bool:
    """Whether the database could not do its work; a statement that it refuses is a defect of ours instead."""
    if isinstance(error, exc.OperationalError | sqlite3.OperationalError):
        return True
    return type(error) in {exc.DatabaseError, sqlite3.DatabaseError}  # malformed; the subclasses mean other things


def write_failure(error: BaseException) -> LedgerWriteError:
    """The error that ends a run, with what the driver said."""
    cause = getattr(error, "orig", None) or error
    said = (str(cause).splitlines() or [repr(cause)])[0][:_LONGEST]
    return LedgerWriteError(
        f"the ledger could not be written ({said}); "
        "what it held before is intact. Make room or mend the disk, then run the same command again."
    )
