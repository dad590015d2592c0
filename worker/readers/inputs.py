"""One open input: what is known of it, and its rows."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from worker.readers.csv_rows import csv_rows
from worker.readers.header import read_header
from worker.readers.jsonl_rows import jsonl_rows
from worker.readers.judge import Judge
from worker.readers.records import Records, allow_long_cells
from worker.readers.sources import Source
from worker.readers.text import read_batches

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from worker.models import InputRow
    from worker.readers.options import Format, ReadOptions

__all__ = ["Input", "open_input"]


class Input:
    """Rows to be iterated once, in file order; a context manager. Made by `open_input`."""

    def __init__(self, source: Source, path: Path | None, options: ReadOptions) -> None:
        self._source = source
        self.format: Format = options.format_of(path)
        self.header: tuple[str, ...] | None = None
        """The column names of a CSV file, without the spaces around them; None for JSON Lines."""
        judge = Judge(options)
        batches = read_batches(source, options.encoding)
        if self.format == "csv":
            allow_long_cells()
            header, rest = read_header(batches, options, source.label)
            self.header = header.names
            self._rows = csv_rows(Records(chain((rest,), batches), header, options.encoding), header, judge)
        else:
            first = next(batches)  # so that a file in a wrong encoding fails here, not at its first row
            self._rows = jsonl_rows(chain((first,), batches), options, judge)

    @property
    def sha256(self) -> str:
        """Hex digest of the file as stored, still compressed; known once the rows are exhausted.

        Raises:
            RuntimeError: Asked for earlier.
        """
        return self._source.sha256

    @property
    def bytes_read(self) -> int:
        """Bytes of the file as stored that were read so far, buffers ahead of the rows included."""
        return self._source.bytes_read

    def __iter__(self) -> Iterator[InputRow]:
        """The rows that are left.

        Raises:
            InputError: The file fails, or its compressed stream is damaged or cut short.
        """
        return self._rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; standard input stays open."""
        self._source.close()


def open_input(path: Path | None, options: ReadOptions) -> Input:
    """Open a file of jobs and check it as a whole: its encoding, and for CSV its header.

    Args:
        path: None is standard input.
        options: What the file does not say of itself.

    Raises:
        InputError: It cannot be read as jobs; no row was given yet.
    """
    options.format_of(path)
    source = Source(path)
    try:
        return Input(source, path, options)
    except BaseException:
        source.close()
        raise
