"""A rehearsal: the built-in look-alike of Seam, as a process of its own, for the time of one run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from typing import TYPE_CHECKING, Final

from worker.errors import StoppedError

if TYPE_CHECKING:
    from worker.config import Settings

__all__ = ["Rehearsal"]

_START_SECONDS: Final = 20.0
_END_SECONDS: Final = 5.0
_SECRET: Final = ("SEAM_", "ASSIGN_WORKER_", "OTEL_")
"""Variables that may hold secrets, and mean nothing to the look-alike."""


class Rehearsal:
    """Starts the look-alike, and ends it with the block."""

    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, settings: Settings) -> Settings:
        """Start it; the settings with its address and key in place of their own.

        Raises:
            StoppedError: it did not start.
        """
        from worker.config import Credentials, Target  # noqa: PLC0415 - slow to import

        # In a group of its own: a Ctrl-C is for the run, which still has requests to end. -P: a folder that
        # happens to be called `worker` where the command was started is not this package. No real key is
        # handed on. Its stdin is a pipe that closes when this process dies.
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-P", "-m", "worker", "simulate", "--port", "0", "--end-with-stdin"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={name: value for name, value in os.environ.items() if not name.startswith(_SECRET)},
            start_new_session=True,
        )
        assert self._process.stdout is not None  # noqa: S101 - a pipe, by the call above
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), _START_SECONDS)
            told = json.loads(line)
            target = Target(endpoint=told["url"], credentials=Credentials.of(api_key=told["api_key"]))
            return settings.model_copy(update={"target": target})
        except (TimeoutError, ValueError, KeyError, TypeError):
            await self.end()
            raise StoppedError("the simulator did not start; `assign-worker simulate` says why") from None

    async def end(self) -> None:
        """End it, by force where it does not end by itself."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), _END_SECONDS)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End it at once; may be called from a signal handler."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
