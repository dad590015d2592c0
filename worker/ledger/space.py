"""The room that removed runs leave in an SQLite file, given back to the disk."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sqlalchemy import Engine

__all__ = ["Space", "give_back"]

_WORTH: Final = 0.2
"""The part of the file that has to be free before it is written anew."""


@dataclass(frozen=True)
class Space:
    """What became of the file; bytes."""

    before: int
    after: int
    free_inside: int
    """For later runs."""
    needs: int = 0
    """So much was missing on the disk to make the file smaller."""


def give_back(engine: Engine) -> Space | None:
    """Write the file anew without its free pages, where that is worth it; None for a database server's ledger.

    Call it on a ledger that this process holds.
    """
    if engine.dialect.name != "sqlite" or engine.url.database is None:
        return None
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()

        def number(pragma: str) -> int:
            return int(cursor.execute(f"PRAGMA {pragma}").fetchone()[0])

        page = number("page_size")
        before, free = number("page_count") * page, number("freelist_count") * page
        if free < _WORTH * before:
            return Space(before, before, free)
        needs = 2 * (before - free)  # a copy beside it, and then the write-ahead log
        room = shutil.disk_usage(Path(engine.url.database).parent).free
        if room < needs:
            return Space(before, before, free, needs - room)
        cursor.execute("VACUUM")
        cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return Space(before, number("page_count") * page, number("freelist_count") * page)
    finally:
        connection.close()
