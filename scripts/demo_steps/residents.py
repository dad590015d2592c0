"""A sample of the file that a property system exports: some 1 000 residents, a few of their rows not right."""

from __future__ import annotations

import csv
import io
from random import Random
from typing import TYPE_CHECKING, Final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["COLUMNS", "write_residents"]

COLUMNS: Final = ("unit", "name", "email", "phone", "acs_credential_id", "acs_user_id", "user_identity_id")

_FIRST: Final = ("Amara", "Bo", "Chloé", "Dmitri", "Elif", "Farah", "Gus", "Hana", "Íñigo", "Jia", "Kofi", "Leïla")
_LAST: Final = ("Adler", "Bianchi", "Castro", "Dvořák", "Evans", "Fischer", "García", "Haddad", "Ito", "Jensen")
_IDENTITY_EACH: Final = 8
"""Every so many rows name a person by identity: somebody who is new to the building."""


def write_residents(path: Path, *, residents: int = 1000, seed: int = 7) -> int:
    """Write a CSV of so many residents, and two rows more: a duplicate, and one that makes a conflict.

    Args:
        path: the file to write.
        residents: at least 40, since the rows that are not right stand at fixed places.
        seed: the same seed writes the same file.

    Returns:
        The number of data rows.
    """
    random = Random(seed)  # noqa: S311 - test data
    rows = [_resident(number, random) for number in range(1, residents + 1)]
    rows[2]["acs_user_id"] = "unknown"
    rows[4]["acs_credential_id"] = ""
    rows[16]["acs_user_id"] = rows[16]["user_identity_id"] = str(UUID(int=random.getrandbits(128)))
    rows[20]["name"] = "Bianchi, Hana\nc/o Ito"  # quoted, and right: a cell may hold commas and line ends
    rows[30]["acs_credential_id"] = rows[30]["acs_credential_id"][:-1]
    rows.append(dict(rows[10]))
    rows.append({**rows[11], "name": "Gus Evans", "acs_user_id": rows[12]["acs_user_id"]})
    lines = [_line(row.values()) for row in rows]
    lines[24] = b"Unit 25,moved out\r\n"
    lines[34] = lines[34].replace(rows[34]["name"].encode(), "J\xfcrgen Müller".encode("cp1252"))
    path.write_bytes(b"".join([_line(COLUMNS), *lines]))
    return len(lines)


def _resident(number: int, random: Random) -> dict[str, str]:
    name = f"{random.choice(_FIRST)} {random.choice(_LAST)}"
    user = str(UUID(int=random.getrandbits(128)))
    by_identity = number % _IDENTITY_EACH == 0
    return {
        "unit": f"{(number - 1) // 20 + 1}{(number - 1) % 20 + 1:02}",
        "name": name,
        "email": f"resident{number}@example.com",
        "phone": f"+1 555 {number:07}",
        "acs_credential_id": str(UUID(int=random.getrandbits(128))),
        "acs_user_id": "" if by_identity else user,
        "user_identity_id": user if by_identity else "",
    }


def _line(cells: Iterable[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
