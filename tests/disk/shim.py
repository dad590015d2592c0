"""The preloaded shim (`shim.c`): built where there is a C compiler, and told what to do from inside."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ABSENT", "How", "Shim", "build", "run_preloaded"]

_SOURCE = Path(__file__).with_name("shim.c")
COMPILER = shutil.which("gcc") or shutil.which("cc")

ABSENT = (
    "no C compiler here, so no failing disk"
    if COMPILER is None
    else ""
    if sys.platform == "linux"
    else "the shim is preloaded the way of Linux"
)
"""Why there is no shim; empty where there is one."""


class How(IntEnum):
    """What happens to the n-th write or sync."""

    COUNT = 0
    FAIL_ONCE = 1
    FAIL_ON = 2
    """It and all after it."""
    DIE = 3


def build(folder: Path) -> Path:
    """Compile it."""
    made = folder / "shim.so"
    if COMPILER is None:
        raise RuntimeError(ABSENT)
    flags = ["-O1", "-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run([COMPILER, *flags, "-o", str(made), str(_SOURCE), "-ldl", "-lpthread"], check=True)  # noqa: S603 - our own source
    return made


def run_preloaded(shim: Path, module: str, *arguments: str) -> Iterator[str]:
    """Run a module with the shim in it; its lines as they come.

    Raises:
        subprocess.CalledProcessError: it did not end with 0.
    """
    command = [sys.executable, "-m", module, *arguments]
    environ = {**os.environ, "LD_PRELOAD": str(shim)}
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - our own interpreter
        if process.stdout is not None:
            for line in process.stdout:
                yield line.rstrip("\n")
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


class Shim:
    """The shim, from inside the process that it was preloaded into."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)

    def watch(self, folder: Path, name: str, *, at: int = 0, how: How = How.COUNT, record_to: int = -1) -> None:
        """Count writes and syncs of files in `folder` whose name holds `name`, from now on.

        Args:
            folder: resolved.
            name: of the ledger.
            at: which of them `how` happens to, from 1.
            how: see there.
            record_to: a descriptor for the record (`tests.disk.lost`).
        """
        self._library.shim_watch(os.fsencode(folder), os.fsencode(name), ctypes.c_long(at), int(how), record_to)

    def count(self) -> int:
        """How many there were, in this process or the last forked child."""
        self._library.shim_count.restype = ctypes.c_long
        return int(self._library.shim_count())

    def note(self, text: str) -> None:
        """Put a note into the record."""
        data = text.encode()
        self._library.shim_note(data, ctypes.c_size_t(len(data)))
