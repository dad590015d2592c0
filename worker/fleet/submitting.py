"""A file handed to the fleet: staged once, opened for sending, and its jobs made. Nothing is sent from here."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from worker.config import Guards
from worker.control import Control
from worker.earlier import refuse_undone
from worker.errors import LedgerHeldError, UsageError
from worker.fleet.engine import install, make_manager
from worker.fleet.jobs import defer_missing, revive
from worker.intake import Intake
from worker.ledger import Ledger
from worker.ledger.mode import How, Mode
from worker.ledger.runs import discard_staging, find_alike
from worker.paths import Paths
from worker.readers import ReadOptions, hash_file
from worker.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from worker.config import Settings
    from worker.control import Progress
    from worker.ledger.runs import Run

__all__ = ["SHARD_ROWS", "Submitted", "submit"]

SHARD_ROWS: Final = 10_000
"""The most rows of one job: what a worker that dies hands on is no more than that."""


@dataclass(frozen=True)
class Submitted:
    """A run that the fleet has, or had."""

    run: Run
    jobs: int
    """Made by this call."""
    is_new: bool
    exit_code: int = 0


async def submit(
    source: Path | None,
    settings: Settings,
    *,
    again: bool = False,
    control: Control | None = None,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Submitted:
    """Stage a file as a run of the fleet and make its jobs; the same call again only makes what is missing.

    Args:
        source: the file of jobs; None reads stdin.
        settings: the ledger is a PostgreSQL URL; no key is needed.
        again: send a finished input once more, as a new run.
        control: ends the staging from outside.
        watch: told how many rows were read.

    Raises:
        UsageError: the settings or the input make no run.
        StoppedError: a stop was asked for before the run was whole; nothing of it stays.
        LedgerHeldError: another process works on the unfinished run of the same name.
    """
    if settings.sending.sync or settings.guards != Guards():
        raise UsageError(
            "a fleet neither syncs nor keeps guards: leave sync, deadline and all under [guards] out of its settings, "
            "or send this file with `assign-worker run`"
        )
    options = ReadOptions.of(settings.input)
    paths = Paths.of(source, settings, options.format_of(source), rehearsal=False)
    around = Surroundings(settings, paths, control or Control(), watch)
    with await asyncio.to_thread(Ledger, paths.ledger, exclusive=True) as ledger:
        engine, manager = ledger.engine, make_manager()
        await asyncio.to_thread(install, engine)
        await asyncio.to_thread(discard_staging, engine)
        mode = Mode(How.FLEET, settings.sending.takeover or "allow")
        intake = Intake(ledger, options, around, mode=mode, shard_rows=SHARD_ROWS)
        run, is_new = None, False
        if source is not None and not again:
            run = await _find(ledger, intake, await asyncio.to_thread(hash_file, source))
        if run is None:
            async with intake.staged() as staged:
                if not again:  # stdin is known only now
                    run = await _find(ledger, intake, staged.sha256)
                if run is None:
                    try:
                        run = await asyncio.to_thread(staged.open, again=again)
                        is_new = True
                    except LedgerHeldError:  # where another submit of it was quicker, there it is
                        run = None if again else await _find(ledger, intake, staged.sha256)
                        if run is None:
                            raise
        if run.state == "open":
            await asyncio.to_thread(revive, engine, run)
        return Submitted(run, await asyncio.to_thread(defer_missing, engine, manager), is_new)


async def _find(ledger: Ledger, intake: Intake, sha256: str) -> Run | None:
    spec = intake.spec()
    run = await asyncio.to_thread(find_alike, ledger.engine, spec, sha256, states=("open", "finished"))
    if run is None or run.state == "finished":
        await asyncio.to_thread(refuse_undone, ledger.engine, spec, sha256)
    return run
