"""One execution of a run that the ledger holds: ask the service, open the run, send it, export, report.

    preflight ─> open the run ─> survey (sync) ─> guards, question ─> send ─> export ─> report

What kind of run it is (a file, a retry, an undo) is decided before, and comes in as the opening: a function that
is told of the key's workspace and gives the open run.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING

from worker.config import hide_password
from worker.control import Progress
from worker.earlier import check_workspace
from worker.execution import Execution
from worker.guards import Intent, LastRun, declined, hold_back
from worker.hold import Hold
from worker.ledger.ahead import count_intentions
from worker.ledger.chains import chain_before
from worker.ledger.doubts import doubt_open_rows
from worker.ledger.intentions import Intention, decide_by_owners, unread_shards, wanted_by_sync
from worker.ledger.queries import count_by_workspace, group_rows
from worker.ledger.retries import recall_owners
from worker.ledger.runs import RETRY, RUN, get_run, learn_workspace, note_stop
from worker.ledger.shards import has_open_rows
from worker.ledger.tables import owners
from worker.models import Outcome, StopCause
from worker.report import RunReport, build_report
from worker.results import export_results
from worker.sending import OpenRows
from worker.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Engine

    from worker.claim import Claim
    from worker.client import SeamClient
    from worker.config import Credentials
    from worker.ledger import Ledger
    from worker.ledger.runs import Run
    from worker.models import Stop
    from worker.preflight import Preflight
    from worker.surroundings import Surroundings

__all__ = ["Executor", "reopen"]


class Executor:
    """Executes runs of one ledger, which this process holds; made before the input is read, as a `Session`.

    Raises:
        ConfigError: `--deadline` is a time of day too far ahead.
    """

    def __init__(self, ledger: Ledger, around: Surroundings) -> None:
        self._ledger = ledger
        self._around = around
        self._settings = around.settings
        self._control = around.control
        self._session = Session(ledger.engine, around)

    async def execute(
        self,
        opening: Callable[[Preflight], Run],
        *,
        recover: bool = False,
        note: str | None = None,
        leave: Callable[[Run, Claim | None], str | None] | None = None,
    ) -> RunReport:
        """Send what is left of a run, then export and report.

        Args:
            opening: told what is known of the key's workspace, it gives the open run; called in a thread.
            recover: read every unsettled row back before sending it.
            note: a sentence for the report.
            leave: called in a thread once others are kept off the run: decides the rows that other runs have taken in
                hand, under the claim that it is given, and gives a sentence for the report.

        Raises:
            UsageError: from `opening`; nothing was sent.
            LedgerHeldError: another process has taken the run.
            LedgerWriteError: the ledger could not be written; what was recorded is intact.
            ResultsWriteError: the results could not be written; the ledger holds every row.
        """
        async with self._session.connected() as (client, preflight):
            run = await asyncio.to_thread(opening, preflight)
            stops: Sequence[Stop] = (preflight.stop,) if preflight.stop is not None else ()
            notes = [note]
            if not stops:
                stops = await self._go(client, run, leave, notes, recover=recover)
        return await self.finish(run, stops=stops, note="; ".join(filter(None, notes)) or None)

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
            include_codes=output.include_codes,
            raw_cells=output.raw_cells,
            on_step=around.on_step,
        )
        return await asyncio.to_thread(
            build_report,
            engine,
            run,
            stops=stops,
            ledger=hide_password(around.paths.ledger),
            results=str(around.paths.results),
            note=note,
            command=around.command,
            rehearsal=around.rehearsal,
        )

    async def _go(
        self,
        client: SeamClient,
        run: Run,
        leave: Callable[[Run, Claim | None], str | None] | None,
        notes: list[str | None],
        *,
        recover: bool,
    ) -> Sequence[Stop]:
        """Read the present owners, where the run wants that, and send; why it stopped early, if it did."""
        engine = self._ledger.engine
        async with Hold(engine, run.run_no, timeout=self._settings.sending.timeout) as hold:
            if leave is not None:
                notes.append(await asyncio.to_thread(leave, run, hold.claim))
            await self._session.judge_workspaces(run, claim=hold.claim)
            read, unread = Execution(), frozenset[int]()
            if run.is_sync:
                wanted = await asyncio.to_thread(wanted_by_sync, engine, run.run_no)
                read.stops += await self._session.survey(client, run, owners, wanted)
                await asyncio.to_thread(decide_by_owners, engine, run, claim=hold.claim)
                unread = await asyncio.to_thread(unread_shards, engine, run.run_no)
            if any(stop.workspace_id is None for stop in read.stops):
                return await self._note_end(run, read, hold)
            if recover:
                await asyncio.to_thread(doubt_open_rows, engine, run.run_no, claim=hold.claim)
            before = await asyncio.to_thread(count_by_workspace, engine, run.run_no)
            decided = sum(before.values(), Counter[Outcome]())
            intent = await asyncio.to_thread(_intent_of, engine, run, decided, in_full=self._around.confirm is not None)
            held_back = await self._hold_back(intent)
            if held_back is not None:
                read.stops.append(held_back)
                return await self._note_end(run, read, hold, held_back=True)
            rows = OpenRows(engine, client, run, self._around, before=before, hold=hold, without=unread)
            sent = await rows.send()
            sent.add(read)
            return await self._note_end(run, sent, hold)

    async def _hold_back(self, intent: Intent) -> Stop | None:
        """Why nothing of the run is to be sent now: a guard, an answer, a signal meanwhile; or None."""
        around, control = self._around, self._control
        stop = hold_back(intent, self._settings.guards)
        if stop is not None or around.confirm is None or not intent.to_send or control.cause is not None:
            return stop
        around.watch(Progress("confirming", intent.rows, intent.rows - intent.to_send))
        agreed = await control.unless_stopped(around.confirm(intent))
        if agreed is None:
            return control.cause
        return None if agreed else declined()

    async def _note_end(self, run: Run, execution: Execution, hold: Hold, *, held_back: bool = False) -> Sequence[Stop]:
        """Enter how an execution ended; why it stopped early, if it did."""
        engine = self._ledger.engine
        finished = not held_back and not await asyncio.to_thread(has_open_rows, engine, run.run_no)
        # A warning that is to end the run is told even where it came too late to hold any row back.
        stops = tuple(each for each in execution.stops if not finished or each.cause is StopCause.FAIL_ON_WARNING)
        if run.kind == RETRY:
            await asyncio.to_thread(recall_owners, engine, run, claim=hold.claim)
        await asyncio.to_thread(
            note_stop,
            engine,
            run.run_no,
            finished=finished,
            cause=stops[0].cause.value if stops else None,
            message=stops[0].message if stops else None,
            seconds=execution.sending_seconds,
            now=time.time(),
            claim=hold.claim,
        )
        return stops


def reopen(engine: Engine, run: Run, preflight: Preflight, *, credentials: Credentials | None = None) -> Run:
    """An unfinished run goes on, if the key is still for the same workspace; `credentials` as for `check_workspace`.

    Raises:
        ConfigError: it is not.
    """
    check_workspace(engine, run, preflight, credentials=credentials)
    home = preflight.workspace_id
    return run if home is None else learn_workspace(engine, run.run_no, home)


def _intent_of(engine: Engine, run: Run, decided: Counter[Outcome], *, in_full: bool) -> Intent:
    """What the ledger knows of the run before it is sent; in full for somebody who is shown it."""
    ahead = count_intentions(engine, run.run_no) if run.is_sync else None
    return Intent(
        run_id=run.id,
        name=run.name,
        rows=run.rows,
        to_send=run.rows - decided.total(),
        decided=decided,
        begun=run.started_at is not None,
        last=_last_run(engine, run, in_full=in_full) if run.kind == RUN else None,
        new=None if ahead is None else ahead[Intention.NEW],
        takeovers=None if ahead is None else ahead[Intention.TAKEOVER],
    )


def _last_run(engine: Engine, run: Run, *, in_full: bool) -> LastRun | None:
    before = chain_before(engine, run)
    if before is None:
        return None
    last = before.root
    if not in_full:
        return LastRun(last.id, last.rows)
    outcomes: Counter[Outcome] = Counter()
    for group in group_rows(engine, before):
        outcomes[group.outcome] += group.rows
    return LastRun(last.id, last.rows, outcomes)
