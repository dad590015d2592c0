"""A large input as it comes from outside: ids at random, workspaces mixed; written in flat memory."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["write_mixed"]

_AT_ONCE: Final = 10_000
_DIGITS: Final = 32


def write_mixed(path: Path, rows: int, *, workspaces: int) -> Path:
    """A CSV of so many rows, each of a credential and a user of its own, dealt out to the workspaces in turn."""
    chance = random.Random(6)  # noqa: S311 - sample data
    places = _ids(chance, workspaces)
    with path.open("w", encoding="utf-8") as file:
        file.write("acs_credential_id,acs_user_id,unit,workspace_id\n")
        for first in range(0, rows, _AT_ONCE):
            numbers = range(first, min(first + _AT_ONCE, rows))
            file.writelines(
                f"{credential},{user},Unit {number},{places[number % workspaces]}\n"
                for number, credential, user in zip(
                    numbers, _ids(chance, len(numbers)), _ids(chance, len(numbers)), strict=True
                )
            )
    return path


def _ids(chance: random.Random, count: int) -> list[str]:
    """So many UUIDs of version 4, from one draw: a fifth of the time of one draw for each."""
    text = f"{chance.getrandbits(4 * _DIGITS * count):0{_DIGITS * count}x}"
    return [
        f"{text[at : at + 8]}-{text[at + 8 : at + 12]}-4{text[at + 13 : at + 16]}"
        f"-a{text[at + 17 : at + 20]}-{text[at + 20 : at + 32]}"
        for at in range(0, _DIGITS * count, _DIGITS)
    ]
