"""The entry point: `assign-worker`, and `python -m worker`."""

from __future__ import annotations

import io
import os
import sys

from worker.cli.group import cli

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and exit."""
    _occupy_closed_streams()
    _show_whatever_there_is()
    cli(prog_name="assign-worker")


def _occupy_closed_streams() -> None:
    """Let no other file take the number of a stream that the caller closed.

    What is said would be written into that file, and libuv gives up on a socket that has such a number.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003 - takes the lowest free number
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the exit
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the exit


def _show_whatever_there_is() -> None:
    """Write as an escape what the terminal's encoding does not have: an arrow or a file's name must not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
