"""The first record of a CSV file: which delimiter, and where the known columns are."""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.errors import InputError
from worker.readers.judge import shown
from worker.readers.limits import MAX_FIELD, MAX_RECORD
from worker.readers.options import CREDENTIAL, FIELDS, IDENTITY, USER, ReadOptions
from worker.readers.text import Batch, stain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Header", "read_header"]

_DELIMITERS: Final = (",", ";", "\t", "|")
_NAMES_SHOWN: Final = 8


@dataclass(frozen=True)
class Header:
    """What the first record says."""

    names: tuple[str, ...]
    """All column names, without the spaces around them."""
    delimiter: str
    positions: dict[str, int]
    """Field -> index of its column, for the fields that the file has."""


def read_header(batches: Iterator[Batch], options: ReadOptions, label: str) -> tuple[Header, Batch]:
    """Take the header off the first lines.

    Returns:
        The header, and what is left of the batch that held it.

    Raises:
        InputError: There is none, or it does not name what is needed; the message suggests what is there.
    """
    batch = next(batches)
    while True:
        skipped = next((i for i, line in enumerate(batch.lines) if not line.isspace()), None)
        complete = batch.final or batch.cut is not None
        if skipped is None:
            if batch.cut is not None:
                raise InputError(f"{label} begins with a line of over {MAX_RECORD:,} characters, so it is no CSV file.")
            if batch.final:
                raise InputError(f"{label} is empty: a CSV file needs a header line that names its columns.")
            batch = next(batches)
            continue
        lines = batch.lines[skipped:]
        names, delimiter, taken = _split(lines, options)
        if options.column(CREDENTIAL) in names or complete or batch.size > MAX_RECORD:
            break
        batch = _joined(batch, next(batches))  # a quoted name may go over the end of a batch
    if not batch.clean and (fault := stain("".join(lines[:taken]), options.encoding)):
        raise InputError(f"The header of {label} cannot be used. {fault}")
    if lines[0].lstrip().startswith(("{", "[")) and options.column(CREDENTIAL) not in names:
        raise InputError(f"{label} has no CSV header but JSON: give --format jsonl if it holds one object a line.")
    if not names or max(map(len, names)) > MAX_FIELD:
        raise InputError(
            f"The header of {label} cannot be read as CSV: a quote in it is not closed, or closed too early."
        )
    header = Header(names, delimiter, _positions(names, options, label))
    used = skipped + taken
    return header, batch._replace(first_line=batch.first_line + used, lines=batch.lines[used:])


def _joined(one: Batch, other: Batch) -> Batch:
    return other._replace(
        first_line=one.first_line,
        lines=one.lines + other.lines,
        size=one.size + other.size,
        clean=one.clean and other.clean,
    )


def _split(lines: list[str], options: ReadOptions) -> tuple[tuple[str, ...], str, int]:
    """The names, the delimiter that shows most known ones, and the lines taken; no names if quotes are wrong."""
    credential = options.column(CREDENTIAL)
    wanted = {options.column(field) for field in FIELDS}
    best: tuple[tuple[str, ...], str, int] = (), ",", 1
    best_score = (False, 0, 0)
    broken = False
    for delimiter in _DELIMITERS:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            names = tuple(name.strip() for name in next(reader))
        except csv.Error:
            broken = True
            continue
        score = (credential in names, len(wanted.intersection(names)), len(names))
        if score > best_score:
            best, best_score = (names, delimiter, reader.line_num), score
    if broken and not best_score[0] and credential in lines[0]:
        return (), ",", 1  # right but for its quotes: other delimiters find one long name in it
    return best


def _positions(names: tuple[str, ...], options: ReadOptions, label: str) -> dict[str, int]:
    taken = {column.strip() for column in options.mapping.values()}
    positions = {}
    for field in FIELDS:
        column = options.column(field)
        mapped = field in options.mapping
        if column not in names or (column in taken and not mapped):
            if mapped:
                raise InputError(
                    f"{label} has no column {shown(column)!r}, to which {field} is mapped{_nearest(column, names)}."
                )
            continue
        if names.count(column) > 1:
            raise InputError(f"{label} has {names.count(column)} columns named {shown(column)!r}; keep one.")
        positions[field] = names.index(column)
    if CREDENTIAL not in positions:
        raise InputError(
            f"{label} has no column {CREDENTIAL!r}{_nearest(CREDENTIAL, names)}."
            f" Another name is given by --map {CREDENTIAL}=COLUMN."
        )
    if USER not in positions and IDENTITY not in positions:
        free = [name for name in names if name not in taken and name != CREDENTIAL]
        raise InputError(
            f"{label} has neither a column {USER!r} nor {IDENTITY!r}{_nearest(USER, free, IDENTITY)}."
            f" Another name is given by --map {USER}=COLUMN or --map {IDENTITY}=COLUMN."
        )
    return positions


def _nearest(wanted: str, names: Sequence[str], or_else: str | None = None) -> str:
    plain = {name.lower().replace(" ", "_").replace("-", "_"): name for name in reversed(names) if name}
    for target in filter(None, (wanted.lower().replace(" ", "_"), or_else)):
        close = difflib.get_close_matches(target, [name[:200] for name in plain], n=1)
        if close and close[0] in plain:
            return f"; the nearest is {shown(plain[close[0]])!r}"
    some = ", ".join(repr(shown(name)) for name in names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return f"; it has {some}{more}" if some else ""
