"""Runs as processes of their own: neither a crash nor an exit code of one night reaches the scheduler."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from worker.schedule.profiles import Profile

__all__ = ["Children"]

_NO_BAR: Final = "ASSIGN_WORKER_PROGRESS"
"""On a terminal, the bars of two runs and the scheduler's log would write over each other."""


class Children:
    """The processes under way.

    Each is in a session of its own: Ctrl-C at a terminal reaches whole groups, and a run that hears of it both from
    there and from here would take the second signal for "leave at once".

    Args:
        folder: where the commands run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, int] = {}
        self._ending = False

    async def run(self, profile: Profile) -> int:
        """Run a profile's command to its end; its exit code, 128 + the signal where one ended it.

        Raises:
            OSError: no process could be started.
        """
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "worker"),  # -P: no module is taken from the folder of the data
            *profile.command,
            cwd=self._folder,
            env={_NO_BAR: "false", **os.environ},
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        self._running[profile.name] = process.pid
        try:
            if self._ending:
                _send(process.pid, signal.SIGTERM)
            code = await process.wait()
        finally:
            del self._running[profile.name]
        return code if code >= 0 else 128 - code

    def end(self) -> None:
        """Hand SIGTERM on to all of them, and to any that is just starting: they end in order."""
        self._ending = True
        for pid in self._running.values():
            _send(pid, signal.SIGTERM)

    def leave(self) -> None:
        """Have all of them leave at once; may be called by a signal handler."""
        for pid in list(self._running.values()):
            # Two signals, whatever it has had: of one kind, the second is lost while the first is not yet taken.
            _send(pid, signal.SIGTERM)
            _send(pid, signal.SIGINT)


def _send(pid: int, number: signal.Signals) -> None:
    # A child that has ended keeps its number until it was waited for, so no stranger is hit.
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
