"""stdout: the one page, or the one JSON document, that a command is for."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING

from worker.errors import AssignWorkerError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["may_close", "print_json", "silence_stdout", "writing"]


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
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    with may_close():  # what is no UTF-8 in a file's name is written as JSON writes it
        sys.stdout.write(text.encode("utf-8", "backslashreplace").decode())
