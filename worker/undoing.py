"""An undo: what a run assigned is given back to whom it belonged before, as a run of its own in the same ledger.

    find the chain ─┬─ its undo is open ──> go on with it ──┐
                    └─ none ──> stage the undo ──> open it ─┴─> execute, reading each owner before it is changed

Rows whose owner has changed since, or of which nobody recorded who had them before or whom the run gave them to, are
left as they are. No user that Seam created for an identity is deleted.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.control import Control, Progress
from worker.earlier import check_workspace, hold_earlier
from worker.errors import LedgerHeldError
from worker.executor import Executor, reopen
from worker.ledger.children import spec_of_child
from worker.ledger.mode import UNDOING
from worker.ledger.overtaken import leave_overtaken
from worker.ledger.runs import UNDO, RunSpec, discard_run
from worker.ledger.tables import verifications
from worker.ledger.undos import (
    begin_undo,
    create_undo,
    discard_unbegun,
    find_undo,
    group_undo,
    has_rest,
    wanted_by_undo,
)
from worker.models import Outcome
from worker.paths import Paths
from worker.report import exit_code_of
from worker.results import check_destination
from worker.session import Session
from worker.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Engine

    from worker.claim import Claim
    from worker.config import Settings
    from worker.ledger.chains import Chain
    from worker.ledger.runs import Run
    from worker.ledger.undos import UndoGroup
    from worker.models import Step, Stop
    from worker.ports import AttemptObserver
    from worker.preflight import Preflight
    from worker.report import RunReport

__all__ = ["UndoPlan", "plan_undo", "undo_run"]


@dataclass(frozen=True)
class UndoPlan:
    """What an undo would do, by what was read just now."""

    run_id: str
    name: str
    rows: int
    """Rows that the run and its retries assigned."""
    give_back: int
    """Rows that go back to the person who had them before."""
    unassign: int
    """Rows that nobody had before."""
    changed_since: int
    """Rows whose owner somebody changed after the run; they stay as they are."""
    missing: int
    """Rows whose credential is not there any more."""
    unreadable: int
    not_undoable: int
    """Rows of which nobody recorded who had them before, or whom the run gave them to."""
    undone_by: str | None = None
    """The undo that was made of the run already: an undo now would only tell it."""
    stops: tuple[Stop, ...] = ()

    @property
    def exit_code(self) -> int:
        """0: every row would be undone; 1: some would not; 3, 130 or 143: not all could be read."""
        if self.stops:
            return exit_code_of({}, (stop.cause for stop in self.stops), finished=False)
        return int(self.give_back + self.unassign != self.rows)

    def as_dict(self) -> dict[str, Any]:
        """The plan for `--json`."""
        return {**asdict(self), "stops": [stop.as_dict() for stop in self.stops], "exit_code": self.exit_code}


async def undo_run(  # noqa: PLR0913 - keywords, each of them optional
    reference: str | None,
    settings: Settings,
    *,
    recover: bool = False,
    control: Control | None = None,
    watch: Callable[[Progress], None] | None = None,
    observers: tuple[AttemptObserver, ...] = (),
    command: Sequence[str] = (),
    on_step: Callable[[Step], None] | None = None,
) -> RunReport:
    """Give back what a run and its retries assigned; the same call again goes on where the last one stopped.

    Args:
        reference: the run's id, or one of its retries'; None is the latest.
        settings: as for `run_batch`; the ledger is `assign-ledger.db` in the current folder unless they name one.
        recover: the ledger may be older than what was sent: read every row back before sending it.
        control: ends the undo in order from outside.
        watch: called in the event loop some ten times a second.
        observers: told of every HTTP call.
        command: what the report names as the way to go on.
        on_step: told of every named step of the protocol; for tests.

    Returns:
        The undo's own report: `assigned` rows were given back, `unassigned` ones taken back, `conflict` ones had been
        changed since, `failed` ones could not be undone.

    Raises:
        UsageError: there is no such run, it is itself an undo, or it went to another endpoint.
        LedgerError: the ledger cannot be used, and was left as it was.
        LedgerHeldError: another process works on this ledger, run or workspace.
        LedgerWriteError: the disk is full or failed; what was recorded is intact, and the same call resumes.
        ResultsWriteError: the results could not be written; the ledger holds every row, and the same call writes them.
    """
    async with hold_earlier(reference, settings, verb="undo", done="undone") as (ledger, chain):
        paths = _paths(settings, chain)
        await asyncio.to_thread(check_destination, paths.results)
        around = Surroundings(
            settings, paths, control or Control(), watch or (lambda _: None), observers, on_step, command
        )
        executor = Executor(ledger, around)
        leave = partial(_leave, ledger.engine, chain, recover)
        undo = await asyncio.to_thread(find_undo, ledger.engine, chain)
        if undo is not None and undo.state == "open":
            go_on = partial(reopen, ledger.engine, undo, credentials=settings.target.credentials)
            report = await executor.execute(go_on, recover=recover, leave=leave)
            return await asyncio.to_thread(_with_rest, ledger.engine, chain, report)
        if undo is not None and not await asyncio.to_thread(has_rest, ledger.engine, chain):
            # The one before may have ended before its results were written: they are written again.
            return await executor.finish(undo, note=f"run {chain.root.id} was undone already, by run {undo.id}")
        opening = _Opening(ledger.engine, chain, settings, earlier=undo)
        try:
            return await executor.execute(opening, recover=recover, note=_note(chain), leave=leave)
        except LedgerHeldError:  # somebody took the workspace in between: an undo left open would be gone on with later
            await asyncio.to_thread(opening.discard)
            raise


async def plan_undo(  # noqa: PLR0913 - keywords, each of them optional
    reference: str | None,
    settings: Settings,
    *,
    control: Control | None = None,
    watch: Callable[[Progress], None] | None = None,
    observers: tuple[AttemptObserver, ...] = (),
    command: Sequence[str] = (),
) -> UndoPlan:
    """Read whose the credentials are now, and say what an undo would do; nothing is sent or kept.

    Arguments and errors are those of `undo_run`.
    """
    async with hold_earlier(reference, settings, verb="undo", done="undone") as (ledger, chain):
        engine = ledger.engine
        around = Surroundings(
            settings,
            _paths(settings, chain),
            control or Control(),
            watch or (lambda _: None),
            observers,
            command=command,
        )
        session = Session(engine, around)
        earlier = await asyncio.to_thread(find_undo, engine, chain)
        run = await asyncio.to_thread(create_undo, engine, chain, _spec(chain, settings), now=time.time())
        try:
            async with session.connected() as (client, preflight):
                keys = settings.target.credentials
                await asyncio.to_thread(check_workspace, engine, chain.root, preflight, credentials=keys)
                stops: Sequence[Stop] = () if preflight.stop is None else (preflight.stop,)
                if not stops:
                    stops = await session.survey(client, run, verifications, wanted_by_undo(run.run_no))
            groups = await asyncio.to_thread(group_undo, engine, run.run_no)
        finally:
            await asyncio.to_thread(discard_run, engine, run.run_no)
    return _plan(chain, groups, tuple(stops), undone_by=None if earlier is None else earlier.id)


def _with_rest(engine: Engine, chain: Chain, report: RunReport) -> RunReport:
    """The report of an undo that was begun when the run had assigned less: it is not all."""
    if report.exit_code not in {0, 1} or report.outcomes.get(Outcome.FAILED) or not has_rest(engine, chain):
        return report
    note = f"run {chain.root.id} assigned more after this undo was begun; the same command gives that back too"
    return replace(report, exit_code=3, notes=(*report.notes, note))


def _paths(settings: Settings, chain: Chain) -> Paths:
    """As of the run, but for the results: the run's own stay."""
    paths = Paths.beside_ledger(settings, chain.root)
    if settings.output.results is not None:
        return paths
    name = paths.results.name.replace(".results.", ".undone.")
    return Paths(None, paths.ledger, Path(paths.results.parent) / name)


def _spec(chain: Chain, settings: Settings) -> RunSpec:
    public = json.dumps(settings.public(), sort_keys=True)
    return spec_of_child(chain.root, kind=UNDO, mode=UNDOING, settings=public, workspace_id=chain.root.workspace_id)


class _Opening:
    """Opens an undo that is made only when the workspace of the key is known.

    Args:
        engine: the ledger.
        chain: what is undone.
        settings: of this call.
        earlier: the latest undo of it so far, which has ended.
    """

    def __init__(self, engine: Engine, chain: Chain, settings: Settings, *, earlier: Run | None) -> None:
        self._engine = engine
        self._chain = chain
        self._settings = settings
        self._earlier = earlier
        self._opened: Run | None = None

    def __call__(self, preflight: Preflight) -> Run:
        """Make the undo."""
        chain, credentials = self._chain, self._settings.target.credentials
        check_workspace(self._engine, chain.root, preflight, credentials=credentials)
        self._opened = begin_undo(
            self._engine,
            chain,
            _spec(chain, self._settings),
            earlier=self._earlier,
            workspace_id=preflight.workspace_id,
            now=time.time(),
        )
        return self._opened

    def discard(self) -> None:
        """Remove it again, where nobody has begun it."""
        if self._opened is not None:
            discard_unbegun(self._engine, self._opened.run_no)


def _leave(engine: Engine, chain: Chain, recover: bool, undo: Run, claim: Claim | None) -> str | None:  # noqa: FBT001 - bound by position
    """Leave alone what later runs assigned while it was interrupted, or while the service was waited for."""
    return _left_alone(leave_overtaken(engine, chain, undo, recover=recover, now=time.time(), claim=claim))


def _left_alone(count: int) -> str | None:
    if not count:
        return None
    rows = "1 row is" if count == 1 else f"{count} rows are"
    return f"{rows} left alone, since a later run has assigned the credential anew"


def _note(chain: Chain) -> str | None:
    unfinished = [run.id for run in chain.runs if run.state == "open"]
    if not unfinished:
        return None
    return f"run {unfinished[0]} is not finished; only what it has assigned so far is undone"


def _plan(chain: Chain, groups: Iterable[UndoGroup], stops: tuple[Stop, ...], *, undone_by: str | None) -> UndoPlan:
    counts = {"give_back": 0, "unassign": 0, "changed_since": 0, "missing": 0, "unreadable": 0, "not_undoable": 0}
    for group in groups:
        if group.decided:
            word = "not_undoable"
        elif group.state == "missing":
            word = "missing"
        elif group.is_still_so:
            word = "unassign" if group.unassign else "give_back"
        else:
            word = "changed_since" if group.is_still_so is False else "unreadable"
        counts[word] += group.rows
    return UndoPlan(chain.root.id, chain.root.name, sum(counts.values()), **counts, undone_by=undone_by, stops=stops)
