"""Physical lines to CSV records, by the `csv` module's strict rules, going on after every broken one.

A record is broken where a quote is never closed or text follows a closing quote, and where it or a cell is
too long. Only the line on which it starts is given up: reading goes on from the next physical line, so that
a stray quote costs one row and not all rows up to the next quote. Quotes inside an unquoted cell (`5" pipe`)
are text, as the module has it.

`csv.field_size_limit` belongs to the whole process, so it is never lowered here: cells are measured after
parsing, and the lines fed to one record are bounded. It is raised where somebody set it below `MAX_FIELD`,
since good cells would be refused else.
"""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Final

from worker.readers.judge import shown
from worker.readers.limits import CUT, MAX_FIELD, MAX_RECORD, TOO_LONG, excerpt
from worker.readers.text import Batch, stain

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from worker.readers.header import Header

__all__ = ["Record", "Records", "allow_long_cells"]

Record = tuple[int, list[str], str | None]
"""The line on which it starts, its cells (none for a blank line), and what is wrong with it."""

_QUOTED: Final = re.compile(r'"(?:[^"]++|"")*+"')
_ALLOWANCE: Final = 4 * MAX_RECORD
_WASTE_SHARE: Final = 2


def allow_long_cells() -> None:
    """Raise the `csv` module's limit where it would refuse good cells."""
    if csv.field_size_limit() < MAX_FIELD:
        csv.field_size_limit(MAX_FIELD)


class Records:
    """All records after the header; iterate once."""

    def __init__(self, batches: Iterable[Batch], header: Header, encoding: str | None) -> None:
        self._batches = batches
        self._names = header.names
        self._delimiter = header.delimiter
        self._encoding = encoding
        self._seen = 0
        self._wasted = 0

    def __iter__(self) -> Iterator[Record]:
        carried: list[str] = []  # an unfinished record at the end of the last batch
        carried_clean = True
        for batch in self._batches:
            self._seen += batch.size
            lines, first = carried + batch.lines, batch.first_line - len(carried)
            clean = batch.clean and carried_clean
            ends_here = batch.final or batch.cut is not None
            start = yield from self._batch(lines, first, clean=clean, ends_here=ends_here)
            carried = lines[start:]
            carried_clean = clean or not carried
            if batch.cut is not None:
                yield first + len(lines), [batch.cut + "…"], TOO_LONG

    def _batch(self, lines: list[str], first: int, *, clean: bool, ends_here: bool) -> Generator[Record, None, int]:
        """Yield the records of some lines; return the index where an unfinished one starts."""
        start = 0
        some_long = max(map(len, lines), default=0) > MAX_FIELD
        while start < len(lines):
            # Lines such as `a","` open a quote each, and every one would be read up to a limit in vain. Work
            # in vain is held to a share of all work: beyond it, no record may go over several lines.
            alone = self._wasted > _ALLOWANCE + _WASTE_SHARE * self._seen
            begun, taken = start, (lines[start],) if alone else _from(lines, start)
            reader = csv.reader(taken, delimiter=self._delimiter, strict=True)
            try:
                for cells in reader:
                    end = begun + reader.line_num
                    fault = None
                    if some_long or end - start > 1:
                        fault = self._too_long(cells)
                        if fault is not None and end - start > 1:
                            break
                    if fault is None and not clean:
                        fault = stain("".join(cells), self._encoding)
                    yield first + start, cells, fault
                    start = end
                else:
                    continue
            except csv.Error:
                end, fault = begun + reader.line_num, None
                if not (alone or ends_here) and end == len(lines) and _size(lines[start:]) <= MAX_RECORD:
                    return start
            record = lines[start:end]
            if len(record) > 1:
                self._wasted += _size(record)
            yield first + start, self._cells(record[0]), self._why(record, first + start, fault)
            start += 1
        return start

    def _too_long(self, cells: list[str]) -> str | None:
        """Say what is too long, and cut it."""
        size, long = 0, None
        for index, cell in enumerate(cells):
            size += len(cell)
            if len(cell) > MAX_FIELD:
                long = long or self._long_cell(index)
                cells[index] = excerpt(cell)
        if size > MAX_RECORD:
            cells[:] = [excerpt(self._delimiter.join(cells), CUT)]
            return TOO_LONG
        return long

    def _long_cell(self, index: int) -> str:
        column = shown(self._names[index]) if index < len(self._names) else ""
        return f"{column or f'Cell {index + 1}'} holds more than {MAX_FIELD:,} characters."

    def _cells(self, line: str) -> list[str]:
        """The cells of a line that is no record by itself, as far as they can be told."""
        if len(line) > MAX_RECORD:
            return [excerpt(line, CUT)]
        try:
            cells = next(csv.reader([line.rstrip("\r\n")], delimiter=self._delimiter))
        except csv.Error:
            return [excerpt(line, CUT)]
        return [excerpt(cell) for cell in cells]

    def _why(self, record: list[str], line: int, fault: str | None) -> str:
        text = "".join(record)
        opened, is_closed = self._bad_quote(text)
        if opened is None:
            return fault or f"The row has a cell of more than {MAX_FIELD:,} characters."
        at = 0
        for number, physical in enumerate(record, line):
            at += len(physical)
            if opened < at:
                line = number
                break
        if is_closed:
            return (
                f"The quote that opens on line {line} is closed in the middle of a text:"
                " close it where the cell ends, and double the quotes that belong to the text."
            )
        until = f"within {MAX_FIELD:,} characters" if len(text) - opened > MAX_FIELD else "where its row ends"
        return (
            f"The quote that opens on line {line} is not closed {until}:"
            " close it, or double it if it belongs to the text."
        )

    def _bad_quote(self, text: str) -> tuple[int | None, bool]:
        """Where the quote opens that breaks a record (None: no quote does), and whether it is closed."""
        at = 0
        while at <= len(text):
            if text.startswith('"', at):
                quoted = _QUOTED.match(text, at)
                if quoted is None:
                    return at, False
                if text[quoted.end() : quoted.end() + 1] not in ("", "\r", "\n", self._delimiter):
                    return at, True
                at = quoted.end()
            at = text.find(self._delimiter, at) + 1
            if not at:
                break
        return None, False


def _from(lines: list[str], start: int) -> Iterator[str]:
    if not start:
        return iter(lines)
    return (lines[index] for index in range(start, len(lines)))  # no copy: there may be a fault in every line


def _size(lines: list[str]) -> int:
    return sum(map(len, lines))
