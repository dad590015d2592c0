"""A page for people on stdout, by rich."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.stdout import may_close
from worker.logs import escape_controls
from worker.models import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from worker.models import Stop

__all__ = ["OUTCOME_STYLES", "cell", "line", "open_page", "plain_table", "stops"]

OUTCOME_STYLES: Final[Mapping[Outcome, str]] = {
    Outcome.ASSIGNED: "green",
    Outcome.UNASSIGNED: "green",
    Outcome.UNCHANGED: "green",
    Outcome.FAILED: "red",
    Outcome.IN_DOUBT: "red",
    Outcome.INVALID: "yellow",
    Outcome.CONFLICT: "yellow",
}
_PLAIN_WIDTH: Final = 120
"""Columns where stdout is no terminal."""


class _Page(Console):
    """A console that leaves a reader who went away to `may_close`; rich's own would exit with 1."""

    def on_broken_pipe(self) -> None:
        """Pass the error on."""
        raise BrokenPipeError


@contextlib.contextmanager
def open_page() -> Iterator[Console]:
    """A console on stdout; colours and width as the terminal has them, and NO_COLOR is honoured."""
    with may_close():
        yield _Page(width=None if sys.stdout.isatty() else _PLAIN_WIDTH, highlight=False, markup=False, emoji=False)


def plain_table(*columns: str, numbers: tuple[str, ...] = (), whole: tuple[str, ...] = ()) -> Table:
    """A table with a rule under its header.

    Args:
        columns: their headings.
        numbers: those that stand to the right.
        whole: those whose words are never broken, since people copy them.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        if column in numbers:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold", no_wrap=column in whole)
    return table


def cell(text: object, style: str = "") -> Text:
    """Text of foreign origin, safe to show: no markup and no control character in it is obeyed."""
    return Text("" if text is None else escape_controls(str(text)), style=style)


def stops(console: Console, why: Iterable[Stop]) -> None:
    """Why it ended early, a line each."""
    for stop in why:
        whose = f" (workspace {stop.workspace_id})" if stop.workspace_id else ""
        line(console, f"Stopped{whose}: {stop.message}", "red")


def line(console: Console, text: str, style: str = "") -> None:
    """Write a line that is never broken: a path in it stays whole for whoever copies it."""
    console.print(cell(text, style), soft_wrap=True)
