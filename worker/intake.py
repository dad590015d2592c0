"""An input on its way into the ledger: every row, in one pass, before anything is sent."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from worker.errors import InterruptedEarlyError, TerminatedEarlyError
from worker.ledger.mode import How, Mode
from worker.ledger.opening import finish_staging
from worker.ledger.runs import Run, RunSpec, create_run, discard_run
from worker.ledger.staging import stage
from worker.models import StopCause
from worker.readers import open_input
from worker.watching import tell_staging

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from sqlalchemy import Engine

    from worker.config import Sending
    from worker.ledger import Ledger
    from worker.models import InputRow
    from worker.readers import ReadOptions
    from worker.surroundings import Surroundings

__all__ = ["Intake", "Staged"]


class Staged:
    """An input that was read into the ledger: a run in state `staging`."""

    def __init__(self, engine: Engine, run: Run, sha256: str) -> None:
        self._engine = engine
        self.run = run
        self.sha256 = sha256
        """Of the input's bytes."""
        self.is_open = False

    def open(self, *, again: bool, workspace_id: str | None = None) -> Run:
        """`finish_staging`, of this run.

        Raises:
            LedgerHeldError: from there; nothing is opened.
        """
        run = finish_staging(
            self._engine, self.run, sha256=self.sha256, now=time.time(), workspace_id=workspace_id, again=again
        )
        self.is_open = True
        return run


class Intake:
    """Stages one input, once.

    Args:
        ledger: where to.
        options: how it is read.
        around: settings, paths, who watches and who may stop it.
        mode: of the run; None is `plain` or `sync`, as the settings say.
        shard_rows: the most rows of a shard; None: a workspace is one shard.
    """

    def __init__(
        self,
        ledger: Ledger,
        options: ReadOptions,
        around: Surroundings,
        *,
        mode: Mode | None = None,
        shard_rows: int | None = None,
    ) -> None:
        self._engine = ledger.engine
        self._options = options
        self._around = around
        self._settings = around.settings
        self._input = around.paths.input
        self._mode = mode or _mode_of(around.settings.sending)
        self._shard_rows = shard_rows
        self._staged_rows = 0

    def spec(self, header: tuple[str, ...] | None = None) -> RunSpec:
        """What makes it the same run as another one."""
        settings = self._settings
        name = "stdin"
        if self._input is not None:  # bytes that are no UTF-8 are shown, since no ledger takes them
            name = os.fsencode(self._input.name).decode("utf-8", "backslashreplace")
        input_format = self._options.format_of(self._input)
        parse = {
            "format": input_format,
            "encoding": settings.input.encoding,
            "mapping": dict(sorted(settings.input.mapping.items())),
        }
        return RunSpec(
            name=settings.output.name or name,
            input_name=name,
            input_format=input_format,
            header=header,
            parse_options=json.dumps(parse, sort_keys=True),
            mode=self._mode,
            endpoint=settings.target.endpoint,
            workspace_id=settings.target.credentials.default_workspace_id,
            settings=json.dumps(settings.public(), sort_keys=True),
        )

    async def stage(self) -> tuple[Run, str]:
        """Read it all, in a thread; the run in state `staging`, and the input's SHA-256.

        Raises:
            InputError: it cannot be read as jobs; nothing of it stays.
            StoppedError: a stop was asked for meanwhile; likewise.
        """
        control = self._around.control

        def read_all() -> tuple[Run, str] | None:
            with open_input(self._input, self._options) as rows:
                run = create_run(self._engine, self.spec(rows.header), now=time.time())
                try:
                    if not stage(
                        self._engine,
                        run,
                        self._counted(rows),
                        now=time.time(),
                        keep_going=lambda: control.cause is None,
                        shard_rows=self._shard_rows,
                    ):
                        discard_run(self._engine, run.run_no)
                        return None
                except BaseException:
                    discard_run(self._engine, run.run_no)
                    raise
                return run, rows.sha256

        watching = asyncio.create_task(tell_staging(self._around.watch, lambda: self._staged_rows))
        try:
            staged = await asyncio.to_thread(read_all)
        finally:
            watching.cancel()
        if staged is None:
            cause = control.cause
            early = TerminatedEarlyError if cause and cause.cause is StopCause.SIGTERM else InterruptedEarlyError
            raise early("stopped while the input was being read; nothing was sent")
        return staged

    @asynccontextmanager
    async def staged(self) -> AsyncIterator[Staged]:
        """`stage`; whatever ends the block, nothing of the run stays unless it was opened there."""
        run, sha256 = await self.stage()
        staged = Staged(self._engine, run, sha256)
        try:
            yield staged
        finally:
            if not staged.is_open:
                with suppress(Exception):  # a ledger that cannot be written says so itself; a later command clears it
                    await asyncio.to_thread(discard_run, self._engine, run.run_no)

    def _counted(self, rows: Iterable[InputRow]) -> Iterator[InputRow]:
        for row in rows:
            self._staged_rows += 1
            yield row


def _mode_of(sending: Sending) -> Mode:
    """Plain or sync, with the rule for credentials that somebody else has."""
    if sending.sync:
        return Mode(How.SYNC, sending.takeover or "refuse")
    return Mode(How.PLAIN, sending.takeover or "allow")
