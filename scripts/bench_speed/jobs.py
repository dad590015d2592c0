"""Input files of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["workspace_id", "write_jobs"]


def workspace_id(number: int) -> str:
    """Of the workspaces of a file, from 0."""
    return f"5a000000-0000-4000-8000-{number:012d}"


def write_jobs(path: Path, rows: int, *, workspaces: int = 0) -> Path:
    """A CSV of so many rows, each of a credential and a user of its own, with a column that is carried along.

    With `workspaces`, each row names the one it belongs to; the rows of one follow each other.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write(f"acs_credential_id,acs_user_id,unit{',workspace_id' if workspaces else ''}\n")
        for row in range(1, rows + 1):
            ids = f"c0000000-0000-4000-8000-{row:012d},a0000000-0000-4000-8000-{row:012d}"
            workspace = f",{workspace_id((row - 1) * workspaces // rows)}" if workspaces else ""
            file.write(f"{ids},Unit {row}{workspace}\n")
    return path
