"""The service as one command knows it: a connection, the workspace of its key, its deadline, and what is read first."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from worker.client import SeamClient
from worker.config import MissingKey
from worker.control import Progress
from worker.earlier import is_for_one_workspace
from worker.guards import resolve_end
from worker.ledger.elsewhere import judge_workspaces
from worker.ledger.readings import Readings
from worker.preflight import Preflight, ask_workspace
from worker.survey import Survey
from worker.watching import tell_reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy import Engine, Select, Table

    from worker.claim import Claim
    from worker.ledger.runs import Run
    from worker.models import Stop
    from worker.surroundings import Surroundings

__all__ = ["Session"]


class Session:
    """One command's way to the service. A span in `--deadline` counts from its making.

    Raises:
        ConfigError: `--deadline` is a time of day too far ahead.
    """

    def __init__(self, engine: Engine, around: Surroundings) -> None:
        self._engine = engine
        self._around = around
        self._settings = around.settings
        self._control = around.control
        # Now, before the input is read: a time of day must not be gone by, nor a span begin, when that has been done.
        self._end = resolve_end(self._settings.guards, datetime.now(UTC))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[SeamClient, Preflight]]:
        """The service, after one cheap reading; `--deadline` stops whatever goes on within the block."""
        deadline = self._arm_deadline()
        sending = self._settings.sending
        try:
            async with SeamClient(
                self._settings.target, concurrency=sending.concurrency, timeout=sending.timeout
            ) as client:
                yield client, await self._ask_workspace(client)
        finally:
            self._control.forward_to(None)
            if deadline is not None:
                deadline.cancel()

    async def judge_workspaces(self, run: Run, *, claim: Claim | None = None) -> None:
        """Decide what the API key's workspace decides, where the service has told it (DESIGN 11.14)."""
        if run.workspace_id:
            only = is_for_one_workspace(self._settings)
            engine, home = self._engine, run.workspace_id
            judge = partial(judge_workspaces, engine, run, home, only=only, now=time.time(), claim=claim)
            await asyncio.to_thread(judge)

    async def survey(self, client: SeamClient, run: Run, target: Table, wanted: Select[Any]) -> Sequence[Stop]:
        """Read whose credentials are into `target`; `wanted` as for `Readings`. Why some were not read."""
        around, engine = self._around, self._engine
        readings = await asyncio.to_thread(Readings, engine, run.run_no, target, wanted)
        try:
            survey = Survey(
                readings,
                client,
                self._settings.sending,
                include_codes=self._settings.output.include_codes,
                run_id=run.id,
                observers=around.observers,
            )
            self._control.forward_to(survey.stop)
            watching = asyncio.create_task(tell_reading(around.watch, survey))
            try:
                return await survey.run()
            finally:
                watching.cancel()
        finally:
            await asyncio.to_thread(readings.close)

    def _arm_deadline(self) -> asyncio.TimerHandle | None:
        """Have the run stopped at `--deadline`."""
        if self._end is None:
            return None
        moment, stop = self._end
        rest = (moment - datetime.now(UTC)).total_seconds()
        return asyncio.get_running_loop().call_later(rest, self._control.stop, stop.cause, stop.message)

    async def _ask_workspace(self, client: SeamClient) -> Preflight:
        credentials = self._settings.target.credentials
        if credentials.default is None or self._control.cause is not None:
            return Preflight()
        if isinstance(credentials.resolve(None), MissingKey):
            return Preflight()  # a personal access token without a default: each row names its workspace
        self._around.watch(Progress("connecting", None, 0))
        return await ask_workspace(
            client,
            None,
            patience=self._settings.sending.outage_patience,
            sleep=self._control.sleep,
            clock=time.monotonic,
        )
