"""JSON Lines to input rows: one object a line, checked more strictly than the `json` module does by itself."""

from __future__ import annotations

import json
import re
from collections import Counter
from json.encoder import encode_basestring_ascii  # the C function behind `json.dumps` of a text
from typing import TYPE_CHECKING, Final, NoReturn

from worker.models import InputRow, Job, RejectedRow
from worker.readers.judge import shown
from worker.readers.limits import MAX_FIELD, MAX_RECORD, TOO_LONG, excerpt
from worker.readers.options import FIELDS, ReadOptions
from worker.readers.text import NUL, Batch, stain

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from worker.readers.judge import Judge

__all__ = ["jsonl_rows"]

_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7f]+")
_TYPES: Final = {bool: "true or false", int: "a number", float: "a number", list: "an array", dict: "an object"}

# As in `judge`: once a row, so without the named tuple's own constructor.
_new = tuple.__new__


class _UnfitError(Exception):
    """The line is no job; the message is the reason."""


def jsonl_rows(batches: Iterable[Batch], options: ReadOptions, judge: Judge) -> Iterator[InputRow]:
    """Every line that is not blank, numbered from 1.

    The cells are the line's own text, so that numbers stay as they are written; it is a JSON string where
    the line is no object, or none that has one meaning (a key twice) or a bearable length.
    """
    columns = tuple(options.column(field) for field in FIELDS)
    decide = judge.judge
    row = 0
    for batch in batches:
        for line, physical in enumerate(batch.lines, batch.first_line):
            text = physical.strip(" \t\r\n")
            if not text:
                continue
            row += 1
            fault = None if batch.clean else stain(text, options.encoding)
            cells = None
            parsed: Job | RejectedRow
            try:
                values = _values(text)
                cells = _ascii(text)
                if fault is None and "\\u0000" in text and any("\0" in string for string in _strings(values)):
                    fault = NUL
                parsed = RejectedRow(row, line, fault) if fault else decide(row, line, *_ids(values, columns))
            except _UnfitError as unfit:
                parsed = RejectedRow(row, line, fault or str(unfit))
            yield _new(InputRow, (parsed, cells or encode_basestring_ascii(excerpt(text))))
        if batch.cut is not None:
            row += 1
            rejected = RejectedRow(row, batch.first_line + len(batch.lines), TOO_LONG)
            yield InputRow(rejected, encode_basestring_ascii(batch.cut + "…"))


def _no_constant(name: str) -> NoReturn:
    raise _UnfitError(f"The line is not JSON, which knows no {name}.")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise _UnfitError(f'The object has the key "{shown(twice)}" more than once.')
    return values


_parse: Final = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_constant=_no_constant,
    parse_int=lambda _: 0,  # the type alone matters, and `int` refuses more than 4,300 digits
).raw_decode


def _values(text: str) -> dict[str, object]:
    """The object that a line holds."""
    if len(text) > MAX_RECORD:
        raise _UnfitError(TOO_LONG)
    try:
        values, end = _parse(text)
    except json.JSONDecodeError as error:
        raise _UnfitError(f"The line is not JSON: {error.msg} at character {error.pos + 1}.") from None
    except RecursionError:
        raise _UnfitError("The line is nested too deeply.") from None
    if end != len(text):
        raise _UnfitError(f"The line is not one JSON object: more follows at character {end + 1}.")
    if not isinstance(values, dict):
        raise _UnfitError(f"The line is not a JSON object but {_TYPES.get(type(values), 'a plain value')}.")
    if len(text) > MAX_FIELD:
        for string in _strings(values):
            if len(string) > MAX_FIELD:
                raise _UnfitError(f"A text in the object holds more than {MAX_FIELD:,} characters.")
    return values


def _ids(values: dict[str, object], columns: tuple[str, ...]) -> list[str]:
    """The four cells; null and a missing key are an empty one."""
    ids = []
    for column in columns:
        value = values.get(column)
        if value is None:
            value = ""
        elif not isinstance(value, str):
            raise _UnfitError(f"{shown(column)} is {_TYPES[type(value)]}; a UUID in quotes is needed.")
        ids.append(value)
    return ids


def _strings(value: object) -> Iterator[str]:
    """Every text inside a JSON value, keys too."""
    left = [value]
    while left:
        value = left.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            left.extend(value)
            left.extend(value.values())


def _ascii(text: str) -> str:
    """The same JSON in ASCII; what lies beyond it can only stand inside strings."""
    if text.isascii():
        return text
    return _BEYOND_ASCII.sub(lambda found: encode_basestring_ascii(found.group())[1:-1], text)
