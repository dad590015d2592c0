"""Short ways to read a text as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from worker.models import InputRow, RejectedRow
from worker.readers import ReadOptions, open_input

if TYPE_CHECKING:
    from pathlib import Path

A: Final = "aaaaaaaa-0000-4000-8000-00000000000a"
B: Final = "bbbbbbbb-0000-4000-8000-00000000000b"
C: Final = "cccccccc-0000-4000-8000-00000000000c"
HEADER: Final = "acs_credential_id,acs_user_id,note\n"
GOOD: Final = f"{A},{B},fine\n"


def read(folder: Path, content: str | bytes, name: str = "jobs.csv", **options: Any) -> list[InputRow]:
    """All rows of a file of that content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_input(path, ReadOptions(**options)) as source:
        return list(source)


def brief(rows: list[InputRow]) -> list[tuple[int, int, str]]:
    """Row, line and reason of each row; `ok` for a job."""
    return [(p.row, p.line, p.reason if isinstance(p, RejectedRow) else "ok") for p in (row.parsed for row in rows)]
