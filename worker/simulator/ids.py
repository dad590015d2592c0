"""Ids as 16 bytes, and the numbers that decide by hash what an id is.

A million credentials fit into memory because no id is kept as text. Every property of a thing comes from one
digest of (seed, kind, id), so that the same seed gives the same world, in whatever order it is asked.
"""

from __future__ import annotations

import re
from enum import IntEnum
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple

__all__ = ["NOBODY", "Draw", "Seeded", "Subject", "canonical", "id_text", "packed", "share_hits"]

NOBODY: Final = bytes(16)
"""Stands where there is no owner, identity or parent."""

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_NUMBERS: Final = Struct("<16I")
_RANGE: Final = 2.0**32


class Draw(IntEnum):
    """Which of a digest's sixteen numbers decides what, so that no two decisions hang together."""

    UNKNOWN = 0
    FOREIGN = 1
    CHILD = 2
    WARNING = 3
    ERROR = 4
    KIND = 5
    SYSTEM = 6
    SECRET = 7
    VOID = 8
    FAULT = 9
    FAULT_APPLIED = 10
    FAULT_FORM = 11
    WHICH_WARNING = 12
    READ_FAULT = 13
    HAS_IDENTITY = 14
    READ_FORM = 15


def canonical(value: object) -> str | None:
    """The id as 36 characters in lower case; None where it is no UUID."""
    if isinstance(value, str) and _UUID.fullmatch(value):
        return value.lower()
    return None


def packed(text: str) -> bytes:
    """A canonical id as 16 bytes."""
    return bytes.fromhex(text.replace("-", ""))


def id_text(raw: bytes) -> str:
    """16 bytes as a canonical id."""
    digits = raw.hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def share_hits(number: int, share: float) -> bool:
    """Whether a 32-bit number falls into a share: never for 0, always for 1."""
    return number < share * _RANGE


class Subject(NamedTuple):
    """A credential or user that a request is about."""

    raw: bytes
    draws: tuple[int, ...]
    workspace: str
    """Of the request."""


class Seeded:
    """Hashes under one seed."""

    __slots__ = ("_key",)

    def __init__(self, seed: int) -> None:
        self._key = str(seed).encode()[:64]

    def draws(self, raw: bytes) -> tuple[int, ...]:
        """Sixteen independent 32-bit numbers for a thing, to be picked by `Draw`."""
        return _NUMBERS.unpack(blake2b(raw, key=self._key).digest())

    def subject(self, raw: bytes, workspace: str) -> Subject:
        """A thing with its numbers."""
        return Subject(raw, self.draws(raw), workspace)

    def derived(self, kind: bytes, raw: bytes) -> bytes:
        """The id (16 bytes) of what belongs to `raw`, e.g. its system; `kind` has at most 16 bytes."""
        return blake2b(raw, key=self._key, digest_size=16, person=kind).digest()
