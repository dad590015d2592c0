"""The first record of a CSV file: which delimiter, and where the known columns are."""

from __future__ import annotations

import csv
import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.errors import InputError
from worker.readers.judge import shown
from worker.readers.limits import MAX_FIELD
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
    for batch in batches:
        skipped = next((i for i, line in enumerate(batch.lines) if not line.isspace()), None)
        if skipped is not None:
            lines = batch.lines[skipped:]
            names, delimiter, taken = _split(lines, options, label)
            if not batch.clean and (fault := stain("".join(lines[:taken]), options.encoding)):
                raise InputError(f"The header of {label} cannot be used. {fault}")
            header = Header(names, delimiter, _positions(names, options, label))
            used = skipped + taken
            rest = batch._replace(first_line=batch.first_line + used, lines=batch.lines[used:])
            return header, rest
        if batch.cut is not None:
            raise InputError(f"{label} begins with a line of over a million characters, so it is no CSV file.")
    raise InputError(f"{label} is empty: a CSV file needs a header line that names its columns.")


def _split(lines: list[str], options: ReadOptions, label: str) -> tuple[tuple[str, ...], str, int]:
    wanted = {options.column(field) for field in FIELDS}
    best: tuple[tuple[bool, int, int], tuple[str, ...], str, int] | None = None
    for delimiter in _DELIMITERS:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            names = tuple(name.strip() for name in next(reader))
        except csv.Error:
            continue
        score = (options.column(CREDENTIAL) in names, len(wanted.intersection(names)), len(names))
        if best is None or score > best[0]:
            best = score, names, delimiter, reader.line_num
    if best is None or max(map(len, best[1])) > MAX_FIELD:
        raise InputError(
            f"The header of {label} cannot be read as CSV: a quote in it is not closed, or closed too early."
        )
    return best[1:]


def _positions(names: tuple[str, ...], options: ReadOptions, label: str) -> dict[str, int]:
    if names[0].startswith(("{", "[")) and options.column(CREDENTIAL) not in names:
        raise InputError(f"{label} has no CSV header but JSON: give --format jsonl if it holds one object a line.")
    taken = {column.strip() for column in options.mapping.values()}
    positions = {}
    for field in FIELDS:
        column = options.column(field)
        mapped = field in options.mapping
        if column not in names or (column in taken and not mapped):
            if mapped:
                raise InputError(
                    f"{label} has no column {shown(column)!r}, which --map {field}={shown(column)} names"
                    f"{_nearest(column, names)}."
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
