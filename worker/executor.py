"""One execution of a run that the ledger holds: ask the service, open the run, send it, export, report.

    preflight ─> open the run ─> survey (sync) ─> claim ─> send ─> export ─> report

What kind of run it is (a file, a retry, an undo) is decided before, and comes in as the opening: a function that
is told the key's workspace and gives the open run.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from worker.client import SeamClient
from worker.config import KeyKind, MissingKey, resolve_deadline
from worker.control import Control, Progress
from worker.errors import ConfigError
from worker.ledger import holder
from worker.ledger.claimed import ClaimedRun
from worker.ledger.claims import claim_run, doubt_open_rows, has_open_rows
from worker.ledger.intentions import decide_by_owners, unread_shards, wanted_by_sync
from worker.ledger.queries import count_by_workspace
from worker.ledger.readings import Readings
from worker.ledger.runs import get_run, learn_workspace, note_stop, workspace_of
from worker.ledger.staging import reject_other_workspaces
from worker.ledger.tables import owners
from worker.models import StopCause
from worker.pipeline import Pipeline
from worker.preflight import Preflight, ask_workspace
from worker.report import RunReport, build_report
from worker.results import export_results
from worker.survey import Survey
from worker.watching import tell_reading, tell_sending

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from sqlalchemy import Engine, Select, Table

    from worker.config import Settings
    from worker.ledger import Ledger
    from worker.ledger.runs import Run
    from worker.models import Step, Stop
    from worker.paths import Paths
    from worker.ports import AttemptObserver

__all__ = ["Executor", "Surroundings", "check_workspace", "is_for_one_workspace", "reopen"]


def _nobody(_: Progress) -> None:
    """Nobody watches."""


@dataclass(frozen=True)
class Surroundings:
    """What an execution is given, beside the run itself."""

    settings: Settings
    paths: Paths
    control: Control
    watch: Callable[[Progress], None] = _nobody
    """Called in the event loop some ten times a second."""
    observers: tuple[AttemptObserver, ...] = ()
    on_step: Callable[[Step], None] | None = None
    command: Sequence[str] = ()
    """What the report names as the way to go on."""
    rehearsal: bool = False


class Executor:
    """Executes runs of one ledger, which this process holds."""

    def __init__(self, ledger: Ledger, around: Surroundings) -> None:
        self._ledger = ledger
        self._around = around
        self._settings = around.settings
        self._control = around.control

    async def execute(
        self, opening: Callable[[str | None], Run], *, recover: bool = False, note: str | None = None
    ) -> RunReport:
        """Send what is left of a run, then export and report.

        Args:
            opening: told the key's workspace, if that is known, it gives the open run; called in a thread.
            recover: read every unsettled row back before sending it.
            note: a sentence for the report.

        Raises:
            UsageError: from `opening`; nothing was sent.
            LedgerHeldError: another process has taken the run.
            LedgerWriteError: the ledger could not be written; what was recorded is intact.
        """
        async with self.connected() as (client, preflight):
            run = await asyncio.to_thread(opening, preflight.workspace_id)
            stops: Sequence[Stop] = (preflight.stop,) if preflight.stop is not None else ()
            if not stops:
                stops = await self._go(client, run, recover=recover)
        return await self.finish(run, stops=stops, note=note)

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

    async def finish(self, run: Run, *, stops: Sequence[Stop] = (), note: str | None = None) -> RunReport:
        """Export and report, whatever the run's state."""
        around, engine = self._around, self._ledger.engine
        around.watch(Progress("exporting", run.rows, run.rows))
        run = await asyncio.to_thread(get_run, engine, run.run_no)
        if self._control.cause is not None and run.state != "finished" and not stops:
            stops = (self._control.cause,)
        output = self._settings.output
        await asyncio.to_thread(
            export_results,
            engine,
            run,
            around.paths.results,
            format=_results_format(around.paths.results, run),
            include_codes=output.include_codes,
            raw_cells=output.raw_cells,
            on_step=around.on_step,
        )
        return await asyncio.to_thread(
            build_report,
            engine,
            run,
            stops=stops,
            ledger=str(around.paths.ledger),
            results=str(around.paths.results),
            note=note,
            command=around.command,
            rehearsal=around.rehearsal,
        )

    def _arm_deadline(self) -> asyncio.TimerHandle | None:
        """Have the run stopped at `--deadline`."""
        wanted = self._settings.guards.deadline
        if wanted is None:
            return None
        now = datetime.now(UTC)
        moment = resolve_deadline(wanted, now)
        return asyncio.get_running_loop().call_later(
            (moment - now).total_seconds(),
            self._control.stop,
            StopCause.DEADLINE,
            f"--deadline {moment.astimezone():%Y-%m-%d %H:%M:%S} has come; the same command goes on from here",
        )

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

    async def _go(self, client: SeamClient, run: Run, *, recover: bool) -> Sequence[Stop]:
        """Read the present owners, where the run wants that, and send; why it stopped early, if it did."""
        engine = self._ledger.engine
        await self.reject_other_workspaces(run)
        if not run.is_sync:
            return await self._send(client, run, recover=recover)
        wanted = await asyncio.to_thread(wanted_by_sync, engine, run.run_no)
        stops = await self.survey(client, run, owners, wanted)
        await asyncio.to_thread(decide_by_owners, engine, run)
        if any(stop.workspace_id is None for stop in stops):
            return stops
        unread = await asyncio.to_thread(unread_shards, engine, run.run_no)
        return (*stops, *await self._send(client, run, recover=recover, without=unread))

    async def reject_other_workspaces(self, run: Run) -> None:
        """Make `invalid` what names another workspace than the API key's (DESIGN 11.14)."""
        await asyncio.to_thread(_reject_other_workspaces, self._ledger.engine, run, self._settings)

    async def survey(self, client: SeamClient, run: Run, target: Table, wanted: Select[Any]) -> Sequence[Stop]:
        """Read whose credentials are into `target`; `wanted` as for `Readings`. Why some were not read."""
        around, engine = self._around, self._ledger.engine
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

    async def _send(
        self, client: SeamClient, run: Run, *, recover: bool, without: frozenset[int] = frozenset()
    ) -> Sequence[Stop]:
        """Claim the run and send what is left of it; why it stopped early, if it did."""
        around, engine = self._around, self._ledger.engine
        if recover:
            await asyncio.to_thread(doubt_open_rows, engine, run.run_no)
        before = await asyncio.to_thread(count_by_workspace, engine, run.run_no)
        claim = await asyncio.to_thread(claim_run, engine, run.run_no, holder=holder(), now=time.time())
        claim = replace(claim, shards=tuple(shard for shard in claim.shards if shard.shard not in without))
        claimed = ClaimedRun(engine, claim)
        try:
            pipeline = Pipeline(
                claim,
                claimed,
                client,
                self._settings.sending,
                takeover_refused=run.takeover_refused,
                include_codes=self._settings.output.include_codes,
                max_failures=self._settings.guards.max_failures,
                total_rows=run.rows,
                observers=around.observers,
                on_step=around.on_step,
            )
            self._control.forward_to(pipeline.stop)
            watching = asyncio.create_task(tell_sending(around.watch, pipeline, run.rows, before))
            try:
                execution = await pipeline.run()
            finally:
                watching.cancel()
        finally:
            claimed.close()
        finished = not await asyncio.to_thread(has_open_rows, engine, run.run_no)
        stops = () if finished else tuple(execution.stops)
        await asyncio.to_thread(
            note_stop,
            engine,
            run.run_no,
            finished=finished,
            cause=stops[0].cause.value if stops else None,
            message=stops[0].message if stops else None,
            seconds=execution.sending_seconds,
            now=time.time(),
        )
        return stops


def reopen(engine: Engine, run: Run, workspace_id: str | None) -> Run:
    """An unfinished run goes on, if the key is still for the same workspace.

    Raises:
        ConfigError: it is not.
    """
    check_workspace(engine, run, workspace_id)
    return run if workspace_id is None else learn_workspace(engine, run.run_no, workspace_id)


def check_workspace(engine: Engine, run: Run, workspace_id: str | None) -> None:
    """Refuse the key of another workspace than a run was begun in.

    Raises:
        ConfigError: it is one.
    """
    with engine.connect() as connection:
        begun_in = workspace_of(connection, run.run_no)
    if workspace_id is not None and begun_in not in {None, workspace_id}:
        raise ConfigError(
            f"run {run.id} of this input was begun in workspace {begun_in}, and the key is for "
            f"{workspace_id}; use the first key to go on, or another --ledger for a run of its own"
        )


def is_for_one_workspace(settings: Settings) -> bool:
    """Whether all there is is one API key, which opens one workspace."""
    credentials = settings.target.credentials
    default = credentials.default
    return default is not None and default.kind is KeyKind.API_KEY and not credentials.workspaces


def _reject_other_workspaces(engine: Engine, run: Run, settings: Settings) -> None:
    if is_for_one_workspace(settings) and run.workspace_id:
        reject_other_workspaces(engine, run, run.workspace_id, now=time.time())


def _results_format(path: Path, run: Run) -> Literal["csv", "jsonl"]:
    """By the name that the user gave, else as the input is."""
    if path.name.endswith((".jsonl", ".ndjson")):
        return "jsonl"
    return "csv" if path.name.endswith(".csv") or run.input_format == "csv" else "jsonl"
