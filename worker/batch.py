"""What a run is: an input, staged once, sent until every row has its result, resumed by the same call.

open ledger ─> find the run ─┬─ none ──> stage the input ─┐
                             ├─ open ────────────────────┴─> preflight ─> claim ─> send ─> export ─> report
                             └─ finished ──────────────────────────────────────────────> export ─> report
"""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from worker.advice import command_on
from worker.control import Control, Progress
from worker.earlier import refuse_undone
from worker.errors import UsageError
from worker.executor import Executor, reopen
from worker.intake import Intake, Staged
from worker.ledger import Ledger
from worker.ledger.runs import Run, discard_staging, find_alike
from worker.paths import Paths
from worker.readers import ReadOptions, hash_file
from worker.results import check_destination
from worker.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from worker.config import Settings
    from worker.guards import Intent
    from worker.ledger.runs import RunState
    from worker.models import Step
    from worker.ports import AttemptObserver
    from worker.preflight import Preflight
    from worker.report import RunReport

__all__ = ["run_batch"]


async def run_batch(  # noqa: PLR0913 - keywords, each of them optional
    source: Path | str | None,
    settings: Settings,
    *,
    again: bool = False,
    recover: bool = False,
    rehearsal: bool = False,
    control: Control | None = None,
    watch: Callable[[Progress], None] | None = None,
    observers: tuple[AttemptObserver, ...] = (),
    command: Sequence[str] = (),
    on_step: Callable[[Step], None] | None = None,
    confirm: Callable[[Intent], Awaitable[bool]] | None = None,
) -> RunReport:
    """Send every assignment of a file; the same call again goes on where the last one stopped.

    Args:
        source: the file of jobs; None reads stdin.
        settings: `Settings.from_options(...)` or `load_settings(...)`.
        again: send a finished input once more, as a new run.
        recover: the ledger may be older than what was sent (restored from a backup): read every unsettled row back
            before sending it.
        rehearsal: use a ledger and results file apart from the real ones.
        control: ends the run in order from outside, for example on a signal.
        watch: called in the event loop some ten times a second.
        observers: told of every HTTP call.
        command: what the report names as the way to go on.
        on_step: told of every named step of the protocol; for tests.
        confirm: asked before the first send, told what is about to happen; False leaves the rows pending. It is
            cancelled when `control` stops the run meanwhile.

    Returns:
        The report: counts by outcome, where the results are, and the exit code that the command would give. Rows that
        failed are in there; they raise nothing.

    Raises:
        UsageError: the settings, the input or the ledger make no run; nothing was sent.
        LedgerError: the ledger cannot be used, and was left as it was.
        LedgerHeldError: another process works on this ledger, run or workspace.
        LedgerWriteError: the disk is full or failed; what was recorded is intact, and the same call resumes.
        ResultsWriteError: the results could not be written; the ledger holds every row, and the same call writes them.
        StoppedError: it was stopped while the input was being read; nothing was sent.
    """
    source = None if source is None else Path(source)
    options = ReadOptions.of(settings.input)
    paths = Paths.of(source, settings, options.format_of(source), rehearsal=rehearsal)
    settings.target.credentials.require_any()
    require_sync(settings)
    await asyncio.to_thread(check_destination, paths.results)
    around = Surroundings(
        settings,
        paths,
        control or Control(),
        watch or (lambda _: None),
        observers,
        on_step,
        command,
        rehearsal=rehearsal,
        confirm=confirm,
    )
    with await asyncio.to_thread(Ledger, paths.ledger, exclusive=True) as ledger:
        return await _Batch(ledger, options, around).go(again=again, recover=recover)


def require_sync(settings: Settings) -> None:
    """Refuse what only a sync can keep.

    Raises:
        UsageError: `--max-takeovers` without `--sync`: a plain run does not know whose the credentials are.
    """
    if settings.guards.max_takeovers is not None and not settings.sending.sync:
        raise UsageError("--max-takeovers goes with --sync; a plain run does not know whom it takes from")


class _Batch:
    """One call of `run_batch`: finds the input's run, or makes it."""

    def __init__(self, ledger: Ledger, options: ReadOptions, around: Surroundings) -> None:
        self._ledger = ledger
        self._engine = ledger.engine
        self._around = around
        self._settings = around.settings
        self._input = around.paths.input
        self._intake = Intake(ledger, options, around)

    async def go(self, *, again: bool, recover: bool) -> RunReport:
        """Find or stage the run, send it, export it, report."""
        await asyncio.to_thread(discard_staging, self._engine)
        executor = Executor(self._ledger, self._around)
        run = None
        # Not of a pipe under a name (`<(...)`, /dev/stdin): it can be read but once, and is hashed as it is staged.
        if self._input is not None and not again and not self._input.is_fifo():
            run = await self._find_alike(await asyncio.to_thread(hash_file, self._input))
        if run is None:
            async with self._intake.staged() as staged:
                if not again:  # stdin is known only now; a file may have changed since it was hashed
                    run = await self._find_alike(staged.sha256)
                if run is None:
                    return await executor.execute(partial(self._open, staged, again), recover=recover)
        if run.state == "finished":
            note = (
                f"run {run.id} has already sent this input; --again sends it once more, "
                f"`{command_on('retry', run, self._around.paths.ledger)}` only what did not succeed"
            )
            return await executor.finish(run, note=note)
        keys = self._settings.target.credentials
        return await executor.execute(partial(reopen, self._engine, run, credentials=keys), recover=recover)

    async def _find_alike(self, sha256: str) -> Run | None:
        # What a sync found last night says nothing of tonight: a finished one is no reason not to look again.
        states: tuple[RunState, ...] = ("open",) if self._settings.sending.sync else ("open", "finished")
        spec = self._intake.spec()
        run = await asyncio.to_thread(find_alike, self._engine, spec, sha256, states=states)
        if run is None or run.state == "finished":
            await asyncio.to_thread(refuse_undone, self._engine, spec, sha256)
        return run

    def _open(self, staged: Staged, again: bool, preflight: Preflight) -> Run:  # noqa: FBT001 - bound by name
        return staged.open(again=again, workspace_id=preflight.workspace_id)
