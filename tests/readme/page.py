"""The README taken apart: fenced blocks, commands with what they print, tables, links."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["README", "TOP", "Block", "Command", "blocks", "commands_of", "section", "table"]

TOP: Final = Path(__file__).parents[2]
README: Final = (TOP / "README.md").read_text(encoding="utf-8")

_FENCED: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT: Final = re.compile(r"exit code (\d+)")
_CELL: Final = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int
    """Where it begins in the README, for messages."""


@dataclass(frozen=True)
class Command:
    """One command of a block, and what the README shows of its end."""

    text: str
    shown: tuple[str, ...] = ()
    """Lines of its output, in their order; those that are left out are not among them."""
    code: int | None = None

    @property
    def words(self) -> list[str]:
        """As a shell would split it."""
        return shlex.split(self.text)


def blocks() -> list[Block]:
    """Every fenced block, in order."""
    return [Block(m[1], m[2], README.count("\n", 0, m.start()) + 1) for m in _FENCED.finditer(README)]


def commands_of(block: Block) -> list[Command]:
    """The commands of a block: every line in `sh`, lines after `$` with their output in `console`."""
    lines = [line for line in block.text.splitlines() if line.strip()]
    if block.language == "sh":
        return [Command(line) for line in lines]
    found: list[Command] = []
    for line in lines:
        if line.startswith("$ "):
            found.append(Command(line[2:]))
            continue
        last = found.pop()
        ended = _EXIT.fullmatch(line)
        shown = last.shown if ended or line == "…" else (*last.shown, line)
        found.append(Command(last.text, shown, int(ended[1]) if ended else last.code))
    return found


def section(title: str) -> str:
    """What stands under a heading of the second level."""
    return README.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def table(text: str, number: int = 0) -> list[list[str]]:
    """The cells of a table's rows, the heading left out."""
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = tables[number].splitlines()[2:]
    return [[cell.strip() for cell in _CELL.split(row)[1:-1]] for row in rows]
