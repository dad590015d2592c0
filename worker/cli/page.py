"""stdout: the one page, or the one JSON document, that a command is for."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING

from worker.cli.failures import silence_stdout
from worker.logs import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

__all__ = ["amount", "cell", "moment", "open_page", "plain_table", "print_json", "span"]

_PLAIN_WIDTH = 120
"""Columns where stdout is no terminal."""


@contextlib.contextmanager
def _may_close() -> Iterator[None]:
    """A reader that has seen enough (`| head`) changes nothing but what is seen: the exit code stays."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()


@contextlib.contextmanager
def open_page() -> Iterator[Console]:
    """A console on stdout; colours and width as the terminal has them, and NO_COLOR is honoured."""
    from rich.console import Console  # noqa: PLC0415 - slow to import

    with _may_close():
        yield Console(
            width=None if sys.stdout.isatty() else _PLAIN_WIDTH,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
        )


def print_json(document: object) -> None:
    """Write one JSON document, and nothing else, to stdout."""
    with _may_close():
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def plain_table(*columns: str, numbers: tuple[str, ...] = ()) -> Table:
    """A table with a rule under its header; the columns in `numbers` stand to the right."""
    from rich import box  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415 - likewise

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        if column in numbers:
            table.add_column(column, justify="right", no_wrap=True)
        else:
            table.add_column(column, overflow="fold")
    return table


def cell(text: object, style: str = "") -> Text:
    """Text of foreign origin, safe to show: no markup and no control character in it is obeyed."""
    from rich.text import Text  # noqa: PLC0415 - slow to import

    return Text("" if text is None else escape_controls(str(text)), style=style)


def amount(number: float) -> str:
    """A number of things with its thousands apart: `12 345`."""
    return f"{number:,.0f}".replace(",", " ")


def moment(at: float | None) -> str:
    """A time of day, on the clock of this machine: `2026-11-24 01:53:12`."""
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def span(seconds: float) -> str:
    """A duration: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 14 min`."""
    if seconds < 10:  # noqa: PLR2004 - above, tenths say nothing
        return f"{seconds:.1f} s"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minute} min"
    return f"{minute} min {second} s" if minute else f"{second} s"
