"""Input files of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_jobs"]


def write_jobs(path: Path, rows: int) -> Path:
    """A CSV of so many rows, each of a credential and a user of its own, with a column that is carried along."""
    with path.open("w", encoding="utf-8") as file:
        file.write("acs_credential_id,acs_user_id,unit\n")
        for row in range(1, rows + 1):
            file.write(f"c0000000-0000-4000-8000-{row:012d},a0000000-0000-4000-8000-{row:012d},Unit {row}\n")
    return path
