"""One job: some shards of a run, worked on as far as this process can, under the ledger's fence."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

from worker.config import MissingKey, Settings
from worker.errors import ConfigError, FenceLostError, LedgerError, LedgerHeldError, RunNotFoundError
from worker.executor import reopen
from worker.fleet.shares import Shares
from worker.fleet.sorting import is_home_wanted, sort_by_key
from worker.ledger import holder
from worker.ledger.claimed import ClaimedRun
from worker.ledger.claims import claim_free
from worker.ledger.runs import get_run
from worker.ledger.shards import look_at
from worker.logs import get_logger
from worker.models import Stop, StopCause
from worker.pipeline import Pipeline
from worker.preflight import Preflight, ask_workspace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine

    from worker.claim import Claim
    from worker.client import SeamClient
    from worker.config import Sending
    from worker.control import Control
    from worker.fleet.sorting import Sorted
    from worker.fleet.timing import Timing
    from worker.ledger.runs import Run
    from worker.ports import AttemptObserver

__all__ = ["LaterError", "Workshop"]

_UNREACHABLE: Final = frozenset({StopCause.OUTAGE, StopCause.TLS, StopCause.PROXY, StopCause.WRONG_URL})
"""Why a worker may fail where others do not: what lies between it and the service."""


class LaterError(Exception):
    """The shards are not all done; their job is to be taken again after `pause` seconds, by whichever worker."""

    def __init__(self, message: str, pause: float) -> None:
        super().__init__(message)
        self.pause = pause


class PutOff(Protocol):
    """Gives shards of the job under way a job of their own, for later."""

    async def __call__(self, run: Run, numbers: Sequence[int], /) -> None:
        """These."""
        ...


class Workshop:
    """Where a worker's jobs are done, several at a time.

    Args:
        engine: the ledger.
        client: a session with the service.
        settings: of this worker: its keys, its service, how it sends.
        sending: how a job sends; the jobs under way share its `concurrency`.
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
        self._shares = Shares(sending.concurrency)
        self._timing = timing
        self._observers = observers
        self._home: str | None = None
        """Of the default API key, once the service has told."""
        self._unwell = False
        """The last job ended since the service was out of reach from here."""
        self._said: set[str] = set()

    async def do(self, run_no: int, numbers: Sequence[int], control: Control, put_off: PutOff) -> None:
        """Send what is left of some shards of a run; return when nothing is.

        What cannot be done now or here neither waits for the rest nor holds it up. A workspace is in one place at a
        time, whatever jobs and runs its shards belong to, since a claim takes only those of which nobody else has the
        workspace in hand, by the ledger: not another worker, not another job of this one (each claim is a holder of
        its own), not a `run`. The engine's locks only save vain claims.

        Raises:
            LaterError: some of them cannot be done now, or not here.
            FenceLostError: this process was taken for dead, and another one has a shard.
            LedgerWriteError: the ledger's server did not come back in time.
        """
        try:
            run = await asyncio.to_thread(get_run, self._engine, run_no)
        except RunNotFoundError:  # pruned, after a changed file had taken it over
            return
        found = await asyncio.to_thread(look_at, self._engine, run_no, numbers)
        wanted = {shard: state.workspace_id for shard, state in found.items() if state.is_open}
        if run.state != "open" or run.stop_cause is not None or not wanted:
            return
        sorted_ = await self._sort(run, wanted, control)
        claim, held = None, dict[int, str]()
        if sorted_.ready:
            claim, held = await self._claim(run_no, sorted_.ready)
        later = {**sorted_.put_off, **held}
        for reason in dict.fromkeys(later.values()):
            self._tell(reason)
        if claim is None:
            raise LaterError(next(iter(later.values())), self._timing.pause)
        if later:
            await put_off(run, tuple(later))
        stops = await self._send(claim, run, control)
        self._unwell = any(stop.cause in _UNREACHABLE for stop in stops)
        found = await asyncio.to_thread(look_at, self._engine, run_no, sorted_.ready)
        left = [shard for shard, state in found.items() if state.is_open and shard not in held]
        if not left:
            return
        if control.cause is not None:
            raise LaterError(control.cause.message, 0.0)
        for stop in stops:
            self._tell(stop.message)
        raise LaterError(stops[0].message if stops else "rows are left", self._timing.pause)

    async def _sort(self, run: Run, wanted: Mapping[int, str | None], control: Control) -> Sorted:
        """See which workspaces this worker has keys for, and that the service is there where it was not."""
        must_ask = self._home is None and is_home_wanted(wanted, self._credentials)
        if self._unwell or must_ask:
            whose = None if must_ask else next(iter(wanted.values()))
            told = await ask_workspace(self._client, whose, patience=0.0, sleep=control.sleep, clock=time.monotonic)
            if told.stop is not None and (must_ask or told.stop.cause in _UNREACHABLE):
                self._tell(told.stop.message)
                raise LaterError(told.stop.message, self._timing.pause)
            if must_ask:
                self._home = told.workspace_id
        sorted_ = sort_by_key(wanted, self._credentials, self._home)
        nameless = [shard for shard in sorted_.ready if wanted[shard] is None]
        if not nameless:
            return sorted_
        key = self._credentials.resolve(None)
        assert not isinstance(key, MissingKey)  # noqa: S101 - it is ready
        try:
            await asyncio.to_thread(reopen, self._engine, run, Preflight(key.workspace_id or self._home))
        except ConfigError as error:
            return sorted_.without(nameless, str(error))
        return sorted_

    async def _claim(self, run_no: int, numbers: Sequence[int]) -> tuple[Claim | None, dict[int, str]]:
        try:
            claim, held = await asyncio.to_thread(
                claim_free,
                self._engine,
                run_no,
                numbers,
                holder=holder(timeout=self._sending.timeout, part=uuid4().hex),
                now=time.time(),
                lease=self._timing.lease,
            )
        except LedgerHeldError as error:
            return None, dict.fromkeys(numbers, str(error))
        return claim, dict(held)

    async def _send(self, claim: Claim, run: Run, control: Control) -> Sequence[Stop]:
        """Work on a claim; why it stopped early, if it did."""
        submitted = Settings(**json.loads(run.settings))
        claimed = await asyncio.to_thread(ClaimedRun, self._engine, claim)
        endpoint = self._shares.take()
        try:
            await self._let_lapse(claim, control)
            pipeline = Pipeline(
                claim,
                claimed,
                self._client,
                self._sending,
                takeover_refused=run.mode.takeover_refused,
                include_codes=submitted.output.include_codes,
                require_lease=claimed.require_lease,
                endpoint=endpoint,
                observers=self._observers,
            )
            control.forward_to(pipeline.stop)
            return (await pipeline.run()).stops
        except LedgerError as error:
            # Whoever was frozen for longer than its lease learns by its clock, or by the fence; the fence decides.
            epochs = {taken.shard: taken.epoch for taken in claim.shards}
            found = await asyncio.to_thread(look_at, self._engine, claim.run_no, tuple(epochs))
            for shard, epoch in epochs.items():
                if shard not in found or found[shard].epoch != epoch:
                    raise FenceLostError(
                        f"another worker has taken over shard {shard} of run {run.id} while this process was "
                        "stopped or cut off; it has written nothing since, and ends"
                    ) from error
            raise
        except asyncio.CancelledError:
            claimed.cut_off(self._sending.timeout)
            raise
        finally:
            control.forward_to(None)
            self._shares.give_back(endpoint)
            await asyncio.to_thread(claimed.close)

    async def _let_lapse(self, claim: Claim, control: Control) -> None:
        """Give the last requests of a holder whose lease ran out the time in which they may still be executed."""
        if claim.settles_in > 0:
            await control.sleep(claim.settles_in)

    def _tell(self, reason: str) -> None:
        """Why shards are put off; each reason once, since they are tried again and again."""
        if reason not in self._said:
            self._said.add(reason)
            get_logger().warning("shards are put off, and tried again here or elsewhere", reason=reason)
