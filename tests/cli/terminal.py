"""A command on a real pseudo-terminal, for what is asked and answered there."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

_PATIENCE: Final = 30.0
_CONTROLS: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class OnTerminal:
    """A command whose stdin and stderr are a terminal of its own, its controlling one; ended with its block."""

    def __init__(self, arguments: Iterable[object], environ: Mapping[str, str], folder: Path, **options: Any) -> None:
        self._ours, theirs = pty.openpty()
        settings: dict[str, Any] = {"stdin": theirs, "stderr": theirs, **options}
        self.process = subprocess.Popen(  # noqa: S603 - this interpreter, our own command
            # It makes the terminal its own first, so that Ctrl-C there reaches it as it would a user's command.
            [sys.executable, "-c", _WITH_TERMINAL, *map(str, arguments)],
            cwd=folder,
            env={**environ, "TERM": "xterm", "COLUMNS": "100"},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **settings,
        )
        os.close(theirs)
        self._shown = ""

    def __enter__(self) -> Self:
        """It runs since it was made."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        if self.process.poll() is None:
            self.process.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.wait(_PATIENCE)
        os.close(self._ours)

    @property
    def shown(self) -> str:
        """What the terminal has been sent so far, without colours and movements."""
        return _CONTROLS.sub("", self._shown)

    def until(self, text: str) -> str:
        """Read until this is shown; all that was."""
        deadline = time.monotonic() + _PATIENCE
        while text not in self.shown:
            assert time.monotonic() < deadline, f"{text!r} was not shown, but:\n{self.shown}"
            self._read(0.1)
        return self.shown

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def end(self) -> tuple[int, str]:
        """Wait for the end; the exit code, and stdout."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + _PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"it did not end:\n{self.shown}"
            self._read(0.1)
        while self._read(0.0):
            pass
        return self.process.returncode, self.process.stdout.read()

    def _read(self, seconds: float) -> bool:
        if not select.select([self._ours], [], [], seconds)[0]:
            return False
        try:
            piece = os.read(self._ours, 65_536)
        except OSError:  # the other end is closed
            return False
        self._shown += piece.decode(errors="replace")
        return bool(piece)


_WITH_TERMINAL: Final = (
    "import fcntl, runpy, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "sys.argv[0] = 'assign-worker'\n"
    "runpy.run_module('worker', run_name='__main__', alter_sys=True)\n"
)
