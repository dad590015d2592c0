"""stdout: the one page, or the one JSON document, that a command is for."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
from typing import TYPE_CHECKING, Final

from worker.errors import AssignWorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["as_json", "may_close", "print_json", "silence_stdout", "writing"]

_BEYOND_ASCII: Final = re.compile(r"[^\x00-\x7e]+")


def silence_stdout() -> None:
    """Write no more to a stdout whose reader has gone, not even what is still buffered."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Name stdout in what a write to it may raise.

    Raises:
        AssignWorkerError: it cannot be written, for example to a full disk.
        BrokenPipeError: its reader has gone.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        silence_stdout()
        raise AssignWorkerError(
            f"stdout cannot be written: {error.strerror or error}; what was recorded is safe, and "
            "`assign-worker show` tells it again"
        ) from None


@contextlib.contextmanager
def may_close() -> Iterator[None]:
    """A reader that has seen enough (`| head`) changes nothing but what is seen: the exit code stays."""
    try:
        with writing():
            yield
    except BrokenPipeError:
        silence_stdout()


def print_json(document: object) -> None:
    """Write one JSON document, and nothing else, to stdout."""
    with may_close():
        sys.stdout.write(as_json(document, indent=2) + "\n")


def as_json(document: object, *, indent: int | None = None) -> str:
    """JSON for stdout: names in any script stay as they are, where it can hold them.

    What drives a terminal, turns its text round or is no character is written as JSON's escapes.
    """
    encoding = sys.stdout.encoding or "utf-8"  # a text in memory, where somebody has put one in its place, has none
    holds_all = encoding.lower().startswith("utf")
    text = json.dumps(document, indent=indent, ensure_ascii=not holds_all)
    return _BEYOND_ASCII.sub(_printable, text)


def _printable(match: re.Match[str]) -> str:
    text = match.group()
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() else json.dumps(mark)[1:-1] for mark in text)
