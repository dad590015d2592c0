"""One job: a shard of a run, worked on as far as this process can, under the ledger's fence."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

from worker.config import KeyKind, MissingKey, Settings
from worker.errors import ConfigError, FenceLostError, LedgerError, LedgerHeldError
from worker.executor import reopen
from worker.ledger import holder
from worker.ledger.claimed import ClaimedRun
from worker.ledger.claims import claim_shards
from worker.ledger.runs import get_run
from worker.ledger.shards import look_at
from worker.logs import get_logger
from worker.models import Stop, StopCause
from worker.pipeline import Pipeline
from worker.preflight import ask_workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine

    from worker.client import SeamClient
    from worker.config import Sending
    from worker.control import Control
    from worker.fleet.timing import Timing
    from worker.ledger.claims import Claim
    from worker.ledger.runs import Run
    from worker.ports import AttemptObserver

__all__ = ["LaterError", "Workshop"]

_UNREACHABLE: Final = frozenset({StopCause.OUTAGE, StopCause.TLS, StopCause.PROXY, StopCause.WRONG_URL})
"""Why a worker may fail where others do not: what lies between it and the service."""


class LaterError(Exception):
    """The shard is not done; its job is to be taken again after `pause` seconds, by whichever worker."""

    def __init__(self, message: str, pause: float) -> None:
        super().__init__(message)
        self.pause = pause


class Workshop:
    """Where a worker's jobs are done, several at a time.

    Args:
        engine: the ledger.
        client: a session with the service.
        settings: of this worker: its keys, its service, how it sends.
        sending: the same for one shard.
        timing: of the fleet.
        observers: told of every call.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what a worker has
        self,
        engine: Engine,
        client: SeamClient,
        settings: Settings,
        sending: Sending,
        timing: Timing,
        observers: tuple[AttemptObserver, ...] = (),
    ) -> None:
        self._engine = engine
        self._client = client
        self._credentials = settings.target.credentials
        self._sending = sending
        self._timing = timing
        self._observers = observers
        self._home: str | None = None
        """Of the default API key, once the service has told."""
        self._unwell = False
        """The last shard ended since the service was out of reach from here."""
        self._said: set[str] = set()

    async def do(self, run_no: int, shard: int, control: Control) -> None:
        """Send what is left of a shard; return when nothing is.

        Raises:
            LaterError: it cannot be done now, or not here.
            FenceLostError: this process was taken for dead, and another one has the shard.
            LedgerWriteError: the ledger's server did not come back in time.
        """
        run = await asyncio.to_thread(get_run, self._engine, run_no)
        found = await asyncio.to_thread(look_at, self._engine, run_no, shard)
        if run.state != "open" or found is None or not found.is_open:
            return
        run = await self._with_key(run, found.workspace_id, control)
        try:
            claim = await asyncio.to_thread(
                claim_shards, self._engine, run_no, [shard], holder=holder(), now=time.time(), lease=self._timing.lease
            )
        except LedgerHeldError as error:
            raise self._later(str(error)) from None
        stops = await self._send(claim, run, control)
        self._unwell = any(stop.cause in _UNREACHABLE for stop in stops)
        found = await asyncio.to_thread(look_at, self._engine, run_no, shard)
        if found is None or not found.is_open:
            return
        if control.cause is not None:
            raise LaterError(control.cause.message, 0.0)
        raise self._later(stops[0].message if stops else "rows are left")

    async def _with_key(self, run: Run, workspace_id: str | None, control: Control) -> Run:
        """See that this worker has the workspace's key, and that the service is there where it was not."""
        key = self._credentials.resolve(workspace_id)
        if isinstance(key, MissingKey):
            raise self._later(f"{key.reason} Until then the shards of this workspace wait, or go to other workers")
        home, must_ask = key.workspace_id, key.kind is KeyKind.API_KEY and key.workspace_id is None
        if must_ask:
            home = self._home
        if self._unwell or (must_ask and home is None):
            told = await ask_workspace(
                self._client, workspace_id, patience=0.0, sleep=control.sleep, clock=time.monotonic
            )
            if told.stop is not None:
                raise self._later(told.stop.message)
            if must_ask:
                home = self._home = told.workspace_id
        if workspace_id is not None:
            if must_ask and home != workspace_id:
                raise self._later(
                    f"the key from {key.origin} is for workspace {home or 'unknown'}, not {workspace_id}; the shards "
                    "of that one wait, or go to other workers"
                )
            return run
        try:
            return await asyncio.to_thread(reopen, self._engine, run, home)
        except ConfigError as error:
            raise self._later(str(error)) from None

    async def _send(self, claim: Claim, run: Run, control: Control) -> Sequence[Stop]:
        """Work on a claim; why it stopped early, if it did."""
        submitted = Settings(**json.loads(run.settings))
        claimed = await asyncio.to_thread(ClaimedRun, self._engine, claim)
        try:
            await self._let_lapse(claim, control)
            pipeline = Pipeline(
                claim,
                claimed,
                self._client,
                self._sending,
                takeover_refused=run.takeover_refused,
                include_codes=submitted.output.include_codes,
                require_lease=claimed.require_lease,
                observers=self._observers,
            )
            control.forward_to(pipeline.stop)
            return (await pipeline.run()).stops
        except LedgerError as error:
            # Whoever was frozen for longer than its lease learns by its clock, or by the fence; the fence decides.
            (taken,) = claim.shards
            found = await asyncio.to_thread(look_at, self._engine, claim.run_no, taken.shard)
            if found is None or found.epoch != taken.epoch:
                raise FenceLostError(
                    f"another worker has taken over shard {taken.shard} of run {run.id} while this process was "
                    "stopped or cut off; it has written nothing since, and ends"
                ) from error
            raise
        finally:
            control.forward_to(None)
            await asyncio.to_thread(claimed.close)

    async def _let_lapse(self, claim: Claim, control: Control) -> None:
        """Give the last requests of a holder whose lease ran out the time in which they may still be executed."""
        rest = 0.0 if claim.lapsed is None else self._sending.timeout - claim.lapsed
        if rest > 0 and any(shard.carried for shard in claim.shards):
            await control.sleep(rest)

    def _later(self, message: str) -> LaterError:
        if message not in self._said:
            self._said.add(message)
            get_logger().warning("a shard is put off, and tried again here or elsewhere", reason=message)
        return LaterError(message, self._timing.pause)
