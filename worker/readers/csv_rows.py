"""CSV records to input rows."""

from __future__ import annotations

from json.encoder import encode_basestring_ascii  # the C function behind `json.dumps` of a text
from typing import TYPE_CHECKING

from worker.models import InputRow, Job, RejectedRow
from worker.readers.options import CREDENTIAL, IDENTITY, USER, WORKSPACE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.readers.header import Header
    from worker.readers.judge import Judge
    from worker.readers.records import Record

__all__ = ["csv_rows"]

# As in `judge`: once a row, so without the named tuple's own constructor.
_new = tuple.__new__


def csv_rows(records: Iterable[Record], header: Header, judge: Judge) -> Iterator[InputRow]:
    """Every record that is not blank, numbered from 1."""
    width = len(header.names)
    credential_at = header.positions[CREDENTIAL]
    # A column that the file does not have is read from one cell beyond the last, which is always empty.
    user_at, identity_at, workspace_at = (header.positions.get(field, width) for field in (USER, IDENTITY, WORKSPACE))
    decide, quoted = judge.judge, encode_basestring_ascii
    row = 0
    for line, cells, fault in records:
        count = len(cells)
        if fault is None and count != width:
            if not count or (count == 1 and cells[0].isspace()):
                continue
            fault = _count_fault(cells, width)  # noqa: PLW2901 - found here instead of there
        row += 1
        text = "[" + ",".join(map(quoted, cells)) + "]"
        parsed: Job | RejectedRow
        if fault is not None:
            parsed = RejectedRow(row, line, fault)
        else:
            cells.append("")
            parsed = decide(row, line, cells[credential_at], cells[user_at], cells[identity_at], cells[workspace_at])
        yield _new(InputRow, (parsed, text))


def _count_fault(cells: list[str], width: int) -> str:
    count = len(cells)
    few_or_many = "few" if count < width else "many"
    noun = "cell" if count == 1 else "cells"
    fault = f"The row has too {few_or_many} cells: {count} {noun} where the header has {width}."
    if any("\n" in cell or "\r" in cell for cell in cells):
        # Well-formed, so it stays one row: what stands inside quotes is never read as jobs.
        fault += " A quoted cell of it goes over several lines; see that its quote is closed where it should be."
    return fault
