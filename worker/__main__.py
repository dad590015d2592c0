"""The entry point: `assign-worker`, and `python -m worker`."""

from __future__ import annotations

import os
import sys

from worker.cli.group import cli

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process and exit."""
    # A stream that the caller closed is None; nothing is to be written into whatever file takes its number.
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the exit
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the exit
    cli(prog_name="assign-worker")


if __name__ == "__main__":
    main()
