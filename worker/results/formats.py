"""One exported row as CSV cells or as a JSON line: the columns of DESIGN 5, in their order.

Both formats run once per row over a million rows, so they work on positions and look at each cell once.
"""

from __future__ import annotations

import csv
import io
import json
import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from worker.ledger.tables import RESULT_COLUMNS
from worker.masking import MASK
from worker.results.safety import PLAIN_FIRST, defuse, mask_result

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import TextIO

    from worker.ledger.queries import ExportRow
    from worker.models import Result

__all__ = ["CsvFormat", "JsonlFormat"]

_FIRST: Final = ("row", "line")
_LAST: Final = (*(name for name in RESULT_COLUMNS if name not in {"row", "details_due"}), "run_id")

_FIELDS: Final = RESULT_COLUMNS
_FLAGS: Final = tuple(
    _FIELDS.index(name) for name in ("retryable", "read_back", "is_issued", "is_synced_with_provider")
)
_TIMES: Final = tuple(_FIELDS.index(name) for name in ("started_at", "finished_at"))
_NUMBERS: Final = tuple(_FIELDS.index(name) for name in ("row", "http_status", "attempts", "duration_ms"))
_DUE: Final = _FIELDS.index("details_due")
_TEXTS: Final = tuple(
    position for position in range(len(_FIELDS)) if position not in {*_FLAGS, *_TIMES, *_NUMBERS, _DUE}
)
_WARNING_CODES: Final = _FIELDS.index("warning_codes")
_JSON_LISTS: Final = tuple(_FIELDS.index(name) for name in ("warnings", "credential_errors"))
_JSON_TEXTS: Final = tuple(position for position in _TEXTS if position not in {_WARNING_CODES, *_JSON_LISTS})
_SECRETS: Final = tuple(_FIELDS.index(name) for name in ("code", "card_number"))
_CSV_FLAGS: Final = {"": "", 0: "false", 1: "true"}
_JSON_FLAGS: Final = {None: "null", 0: "false", 1: "true"}
_quoted: Final = json.encoder.encode_basestring
_QUOTED_MASK: Final = _quoted(MASK)


_MILLISECONDS: Final = tuple(f".{number:03d}Z" for number in range(1000))


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def _moment(seconds: float) -> str:
    """`2026-11-24T01:53:12.345Z`."""
    milliseconds = int(seconds * 1000.0 + 0.5)
    return _second(milliseconds // 1000) + _MILLISECONDS[milliseconds % 1000]


def _distinct(names: Iterable[str], taken: Iterable[str]) -> list[str]:
    """The input's column names: one that clashes becomes `input_NAME`, a repeated one gets a number."""
    used, chosen = set(taken), []
    for name in names:
        free = candidate = name if name not in taken else f"input_{name}"
        number = 2
        while free in used:
            free, number = f"{candidate}_{number}", number + 1
        used.add(free)
        chosen.append(free)
    return chosen


class CsvFormat:
    """CSV after RFC 4180; a JSONL input's objects stand in one column, `input`."""

    def __init__(self, header: Sequence[str] | None, *, include_codes: bool, raw_cells: bool) -> None:
        self._is_csv = header is not None
        self._include_codes = include_codes
        self._raw_cells = raw_cells
        columns = ["input"] if header is None else _distinct(header, (*_FIRST, *_LAST))
        self._width = len(columns)
        if not raw_cells:
            columns = [defuse(name) for name in columns]
        heading = io.StringIO()
        csv.writer(heading).writerow([*_FIRST, *columns, *_LAST])
        self.heading = heading.getvalue()

    def write(self, file: TextIO, rows: Iterable[ExportRow]) -> int:
        """Write the rows; how many there were."""
        write, write_quoted = file.write, csv.writer(file).writerow
        commas = 1 + self._width + len(_LAST)
        written = 0
        for row in rows:
            cells = self._record(row)
            joined = ",".join(cells)
            # Where no cell needs quotes or a second look, joining them is all there is to do, at a tenth of the time.
            if joined.count(",") == commas and not self._is_special(joined):
                write(joined + "\r\n")
            else:
                write_quoted(cells if self._raw_cells else map(_looked_at, cells))
            written += 1
        return written

    def _is_special(self, joined: str) -> bool:
        if '"' in joined or "\n" in joined or "\r" in joined:
            return True
        return not self._raw_cells and _DOUBTFUL_CELL.search(joined) is not None

    def _record(self, entry: ExportRow) -> list[str]:
        line, read, result, run_id = entry
        given: list[str] = json.loads(read) if self._is_csv else [read]
        if len(given) != self._width:
            given = _fit(given, self._width)
        values = self._told(result if self._include_codes else mask_result(result))
        values[_DUE] = run_id  # the last column takes the place of the one that is not exported
        return [values[0], str(line), *given, *values[1:]]

    def _told(self, result: Result) -> list[str]:
        values: list[Any] = ["" if value is None else value for value in result]
        for position in _NUMBERS:
            values[position] = str(values[position])
        for position in _FLAGS:
            values[position] = _CSV_FLAGS[values[position]]
        for position in _TIMES:
            if (seconds := values[position]) != "":
                values[position] = _moment(seconds)
        return values


_DOUBTFUL_CELL: Final = re.compile(f",[^,{re.escape(''.join(PLAIN_FIRST))}]")
"""A cell other than the first, whose first character may be one that a spreadsheet runs."""


def _looked_at(cell: str) -> str:
    return cell if cell[:1] in PLAIN_FIRST else defuse(cell)


def _fit(given: list[str], width: int) -> list[str]:
    """A row with too few or too many cells under the header's columns; the ledger has it whole."""
    return [*given, *[""] * (width - len(given))][:width]


_MORE_CELLS: Final = "more_cells"
"""Where JSONL keeps the cells of a CSV row that no column names."""


class JsonlFormat:
    """One JSON object a line; `input` is the row of the input as an object, lists are lists, secrets null."""

    heading = ""

    def __init__(self, header: Sequence[str] | None, *, include_codes: bool) -> None:
        self._include_codes = include_codes
        self._names = None if header is None else _distinct(header, ())
        self._input = _template(self._names or ())
        self._record = _template((*_FIRST, "input", *_LAST)) + "\n"

    def write(self, file: TextIO, rows: Iterable[ExportRow]) -> int:
        """Write the rows; how many there were."""
        write_line = file.write
        written = 0
        for row in rows:
            write_line(self._line(row))
            written += 1
        return written

    def _line(self, entry: ExportRow) -> str:
        line, read, result, run_id = entry
        if not self._include_codes:
            result = mask_result(result)
        values: list[Any] = list(result)
        for position in _NUMBERS:
            if values[position] is None:
                values[position] = "null"
        for position in _FLAGS:
            values[position] = _JSON_FLAGS[values[position]]
        for position in _TIMES:
            values[position] = "null" if (seconds := values[position]) is None else f'"{_moment(seconds)}"'
        values[_WARNING_CODES] = _list(values[_WARNING_CODES])
        for position in _JSON_TEXTS:
            values[position] = "null" if (text := values[position]) is None else _quoted(text)
        for position in _SECRETS:
            if values[position] == _QUOTED_MASK:
                values[position] = "null"
        for position in _JSON_LISTS:
            values[position] = values[position] or "[]"
        values[_DUE] = _quoted(run_id)
        return self._record % (values[0], line, self._given(read), *values[1:])

    def _given(self, read: str) -> str:
        """The input's row as an object; a JSONL row goes in as it is stored, so that nothing is lost."""
        if self._names is None:
            return read
        cells: list[str] = json.loads(read)
        if len(cells) == len(self._names):
            return self._input % tuple(map(_quoted, cells))
        given: dict[str, object] = dict(zip(self._names, cells, strict=False))
        if len(cells) > len(self._names):
            given[_MORE_CELLS] = cells[len(self._names) :]
        return json.dumps(given, ensure_ascii=False)


def _template(names: Iterable[str]) -> str:
    """A JSON object with a place for each value."""
    return "{" + ", ".join(_quoted(name).replace("%", "%%") + ": %s" for name in names) + "}"


def _list(codes: str | None) -> str:
    return "[" + ", ".join(map(_quoted, codes.split(";"))) + "]" if codes else "[]"
