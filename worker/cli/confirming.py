"""`--confirm`: shows what is about to happen, on stderr, and asks."""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from typing import TYPE_CHECKING, Final

from rich.console import Console

from worker.cli.page import cell, line, plain_table
from worker.cli.words import amount, in_rows
from worker.errors import UsageError
from worker.models import Outcome

if TYPE_CHECKING:
    from rich.table import Table

    from worker.guards import Intent

__all__ = ["ask", "picture", "require_terminal"]

_ANSWERS: Final = {"y": True, "yes": True, "n": False, "no": False, "": False}


def require_terminal(*, reads_stdin: bool) -> None:
    """Make sure that there is somebody to ask, before anything is read.

    Raises:
        UsageError: stdin or stderr is no terminal, or stdin is the input.
    """
    if reads_stdin:
        raise UsageError("--confirm reads the answer from stdin, so JOBS cannot be -; name a file")
    for name, stream in (("stdin", sys.stdin), ("stderr", sys.stderr)):
        if stream is None or not stream.isatty():
            raise UsageError(f"--confirm asks on a terminal, and {name} is none; leave it out where nobody can answer")


async def ask(intent: Intent) -> bool:
    """Show the run and wait for yes or no; Enter alone is no. Cancelled, it leaves stdin alone at once."""
    console = Console(stderr=True, highlight=False, markup=False, emoji=False)
    line(console, f"Run {intent.run_id} of {intent.name}", "bold")
    console.print(picture(intent))
    answer = None
    while answer is None:
        console.print(cell(f"Send {in_rows(intent.to_send)}? [y/N] ", "bold"), end="", soft_wrap=True)
        answer = _ANSWERS.get((await _read_line()).strip().lower())
    return answer


def picture(intent: Intent) -> Table:
    """What is about to happen, beside the last run of that name where there is one."""
    last = intent.last
    headings = ("this run",) if last is None else ("this run", f"last run {last.run_id}")
    table = plain_table("rows", *headings, numbers=headings)

    def add(name: str, now: int | None, before: int | None = None) -> None:
        if now or before:
            table.add_row(
                name, *("" if count is None else amount(count) for count in (now or 0, before)[: len(headings)])
            )

    known = None if last is None else last.outcomes
    add("to send", intent.to_send)
    add("  new", intent.new)
    add("  takeover", intent.takeovers)
    for outcome in Outcome:
        before = None if known is None else known.get(outcome, 0)
        add(outcome.value, intent.decided.get(outcome, 0), before)
    add("all", intent.rows, None if last is None else last.rows)
    return table


async def _read_line() -> str:
    """One line of stdin, read in a thread that ends with the waiting; empty at its end."""
    waiting, ours = socket.socketpair()
    with ours:  # its end wakes the thread
        return await asyncio.to_thread(_read_line_or_wake, waiting)


def _read_line_or_wake(woken: socket.socket) -> str:
    with woken:
        ready, _, _ = select.select([sys.stdin, woken], [], [])
        return sys.stdin.readline() if sys.stdin in ready else ""
