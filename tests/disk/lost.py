"""Disks after the power went, made from a record of writes and syncs.

What was synced is there. Of the writes to a file since its last sync, any may be there, in part or not at all:
the cache writes in an order of its own, by sectors.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from random import Random

__all__ = ["Kind", "Operation", "after_power_loss", "notes_before", "read_record"]

_HEAD: Final = struct.Struct("<BBQQ")
_SECTOR: Final = 512
_NAMES: Final = ("", "-wal")


class Kind(IntEnum):
    """What was done."""

    WRITE = 1
    SYNC = 2
    TRUNCATE = 3
    NOTE = 4


class Operation(NamedTuple):
    """One thing that was done to a file, or a note between."""

    kind: Kind
    file: int
    """0 the database, 1 its WAL, 2 anything else."""
    offset: int
    """Of a write; of a truncation, the size."""
    data: bytes


def read_record(path: Path) -> list[Operation]:
    """The record; a last entry that is cut short by a kill is left out."""
    content = path.read_bytes()
    operations, at = [], 0
    while at + _HEAD.size <= len(content):
        kind, file, offset, size = _HEAD.unpack_from(content, at)
        at += _HEAD.size
        if at + size > len(content):
            break
        operations.append(Operation(Kind(kind), file, offset, content[at : at + size]))
        at += size
    return operations


def notes_before(operations: Sequence[Operation]) -> list[str]:
    """The notes."""
    return [operation.data.decode() for operation in operations if operation.kind is Kind.NOTE]


def after_power_loss(operations: Sequence[Operation], base: bytes, ledger: Path, random: Random) -> None:
    """Write the database and its WAL as they might be after the power went behind these operations.

    Args:
        operations: from the start of the process to the moment.
        base: the database as it was before them, without a WAL.
        ledger: where to write; its WAL beside it.
        random: which of the unsynced writes are there.
    """
    for file, name in enumerate(_NAMES):
        own = [operation for operation in operations if operation.file == file]
        synced = max((place for place, operation in enumerate(own, 1) if operation.kind is Kind.SYNC), default=0)
        content = bytearray(base if file == 0 else b"")
        for operation in own[:synced]:
            _apply(content, operation)
        for operation in _surviving(own[synced:], random):
            _apply(content, operation)
        path = ledger.with_name(ledger.name + name)
        if file == 0 or synced or (own and random.random() < 0.5):
            path.write_bytes(content)
        else:
            path.unlink(missing_ok=True)
    ledger.with_name(ledger.name + "-shm").unlink(missing_ok=True)


def _surviving(unsynced: Sequence[Operation], random: Random) -> Iterator[Operation]:
    """All, none, the first few, or any of them, in any order, whole or in part."""
    chance = random.choice((0.0, 0.3, 0.5, 0.7, 1.0))
    kept = [operation for operation in unsynced if random.random() < chance]
    if random.random() < 0.5:
        random.shuffle(kept)
    for operation in kept:
        if operation.kind is Kind.WRITE and random.random() < 0.5:
            yield from _torn(operation, random)
        else:
            yield operation


def _torn(operation: Operation, random: Random) -> Iterator[Operation]:
    """Some of the sectors that a write touches."""
    end = operation.offset + len(operation.data)
    first = operation.offset - operation.offset % _SECTOR + _SECTOR
    for start, stop in pairwise([operation.offset, *range(first, end, _SECTOR), end]):
        if random.random() < 0.5:
            yield operation._replace(
                offset=start, data=operation.data[start - operation.offset : stop - operation.offset]
            )


def _apply(content: bytearray, operation: Operation) -> None:
    if operation.kind is Kind.WRITE:
        end = operation.offset + len(operation.data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        content[operation.offset : end] = operation.data
    elif operation.kind is Kind.TRUNCATE:
        del content[operation.offset :]
        content.extend(bytes(operation.offset - len(content)))
